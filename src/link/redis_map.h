/* Mappings between Redis channels and ours, both ways.
 *
 *   workflow:events:U  <->  user:U        payload as it is
 *   room:R             <->  room:R        payload in the rooms' envelope
 *   fanout:ch:C        <->  C             every other channel
 *
 * Rows of the configuration come on top: a Redis pattern with at most one '*' and a template with
 * {1} where the star stood ("orders:*" and "order:{1}"), or two plain names. A row with the
 * pattern of a built-in one replaces it. Whatever comes in goes out under the same name again:
 * rows that overlap on either side are refused, since Redis would deliver such an event twice.
 *
 * Immutable once created; any thread may read it.
 */
#ifndef LINK_REDIS_MAP_H
#define LINK_REDIS_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

/* How the payload travels in Redis. */
enum redis_map_kind {
    REDIS_MAP_RAW,  /* As it is. */
    REDIS_MAP_ROOM, /* Inside {"room":R,"from":C,"data":"..."}: redis_envelope.h. */
};

/* One row of the configuration. */
struct redis_mapping {
    const char *pattern; /* Of Redis: "orders:*". */
    const char *channel; /* Ours: "order:{1}". */
    enum redis_map_kind kind;
};

enum { REDIS_NAME_MAX = 640, REDIS_PATTERN_MAX = 255 };

/* A name in either world. Not NUL-terminated. */
struct redis_name {
    size_t len;
    char text[REDIS_NAME_MAX];
};

struct redis_map;

/* Gives a map of the built-in rows and these. Returns 0, or -EINVAL with a sentence in err that
 * names the row. */
MUST_USE int redis_map_create(const struct redis_mapping *rows, size_t row_count,
    struct redis_map **ret_map, char *err, size_t err_cap);
void redis_map_destroy(struct redis_map *map);

/* The patterns to subscribe to. They live as long as the map. */
size_t redis_map_pattern_count(const struct redis_map *map);
const char *redis_map_pattern(const struct redis_map *map, size_t index);

/* Our channel for a channel of Redis. Returns 0, -ENOENT (no row wants it, or it is not the name
 * under which we would publish), or -EINVAL (the name makes no valid channel of ours). */
MUST_USE int redis_map_in(const struct redis_map *map, struct span redis_channel,
    struct redis_name *ret_channel, enum redis_map_kind *ret_kind);

/* The channel of Redis for one of ours. Returns 0, or -EINVAL (not a valid channel). */
MUST_USE int redis_map_out(const struct redis_map *map, struct span channel,
    struct redis_name *ret_redis_channel, enum redis_map_kind *ret_kind);

/* Can any name match both? Each has at most one '*'. */
bool redis_pattern_overlap(const char *a, const char *b);

#endif
