/* View: how some subscribers of a channel want it, beyond the framing: filtered, or packed.
 *
 * Most want neither; that is view 0 and costs nothing. The others share one small object a shard for
 * each combination, named by a number that fits in a class. One thread.
 */
#ifndef CORE_VIEW_H
#define CORE_VIEW_H

#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/table.h"

struct view {
    uint64_t hash; /* First: this is a struct table_item. */
    uint32_t refs;
    uint16_t id;
    uint16_t batch_ms; /* Events are gathered for so long into one frame; 0: one frame each. */
    uint16_t types_len;
    char types[]; /* The filter, see core/filter.h; empty: every event. */
};

struct views {
    struct table table;
    struct view **by_id; /* [0] is not used. */
    uint32_t cap;
};

/* Finds or makes a view and takes a reference. No filter and no packing: 0. Returns the number, or
 * negative: -ENOMEM, or -ENFILE when there are too many. */
MUST_USE int view_get(
    struct views *views, const struct hash_key *key, struct span types, uint16_t batch_ms);

/* One more, one less reference; 0 is fine. */
uint16_t view_ref(struct views *views, uint16_t id);
void view_unref(struct views *views, uint16_t id);

static inline const struct view *view_at(const struct views *views, uint16_t id)
{
    return id ? views->by_id[id] : NULL;
}

static inline struct span view_types(const struct views *views, uint16_t id)
{
    const struct view *view = view_at(views, id);
    return view ? span_of(view->types, view->types_len) : span_of(NULL, 0);
}

static inline uint16_t view_batch_ms(const struct views *views, uint16_t id)
{
    const struct view *view = view_at(views, id);
    return view ? view->batch_ms : 0;
}

void views_fini(struct views *views);

#endif
