/* Shape: a name with at most one hole, "room:*" and "room:{1}" alike. Inside link only. */
#ifndef LINK_REDIS_SHAPE_H
#define LINK_REDIS_SHAPE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "link/redis_map.h"

struct redis_shape {
    char *text; /* As it was written; mem_free() ends the shape. */
    struct span prefix, suffix;
    bool has_hole;
};

/* Gives the shape of a text in which hole ("*" or "{1}") may occur; the first one counts. */
struct redis_shape redis_shape_of(const char *text, const char *hole);

/* Does name have this shape? *ret_tail is what stands in the hole. */
bool redis_shape_match(const struct redis_shape *shape, struct span name, struct span *ret_tail);

/* Is there a name that has both? */
bool redis_shape_overlap(const struct redis_shape *a, const struct redis_shape *b);

/* The name with tail in the hole. Returns 0 or -EINVAL (too long). */
MUST_USE int redis_shape_fill(
    const struct redis_shape *shape, struct span tail, struct redis_name *ret_name);

#endif
