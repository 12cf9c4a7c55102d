#include "core/view.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"

struct wanted {
    struct span types;
    uint16_t batch_ms;
};

static bool equal(const struct table_item *item, const void *key)
{
    const struct view *view = (const struct view *)item;
    const struct wanted *wanted = key;

    return view->batch_ms == wanted->batch_ms &&
           span_equal(span_of(view->types, view->types_len), wanted->types);
}

/* A free number; 0 without memory, or when there is none. */
static uint16_t free_id(struct views *views)
{
    for (uint32_t id = 1; id < views->cap; id++) {
        if (!views->by_id[id]) {
            return (uint16_t)id;
        }
    }
    uint32_t cap = views->cap ? views->cap * 2 : 8;
    struct view **by_id =
        cap > UINT16_MAX + 1u ? NULL : mem_try_realloc(views->by_id, cap * sizeof(struct view *));
    if (!by_id) {
        return 0;
    }
    uint32_t id = views->cap ? views->cap : 1;
    memset(by_id + views->cap, 0, (cap - views->cap) * sizeof(struct view *));
    views->by_id = by_id;
    views->cap = cap;
    return (uint16_t)id;
}

int view_get(struct views *views, const struct hash_key *key, struct span types, uint16_t batch_ms)
{
    const struct wanted wanted = {types, batch_ms};
    uint64_t hash = hash_bytes(key, types.data, types.len) + batch_ms;

    if (types.len == 0 && batch_ms == 0) {
        return 0;
    }
    struct view *view = (struct view *)table_find(&views->table, hash, equal, &wanted);
    if (view) {
        view->refs += 1;
        return view->id;
    }
    uint16_t id = free_id(views);
    view = id ? mem_try_alloc(sizeof(*view) + types.len) : NULL;
    if (!view) {
        return views->cap > UINT16_MAX / 2 ? -ENFILE : -ENOMEM;
    }
    *view = (struct view){
        .hash = hash, .refs = 1, .id = id, .batch_ms = batch_ms, .types_len = (uint16_t)types.len};
    if (types.len) {
        memcpy(view->types, types.data, types.len);
    }
    if (table_add(&views->table, (struct table_item *)view) != 0) {
        mem_free(view);
        return -ENOMEM;
    }
    views->by_id[id] = view;
    return id;
}

uint16_t view_ref(struct views *views, uint16_t id)
{
    if (id) {
        views->by_id[id]->refs += 1;
    }
    return id;
}

void view_unref(struct views *views, uint16_t id)
{
    struct view *view = id ? views->by_id[id] : NULL;

    if (!view) {
        return;
    }
    CHECK(view->refs);
    view->refs -= 1;
    if (view->refs == 0) {
        views->by_id[id] = NULL;
        table_remove(&views->table, (struct table_item *)view);
        mem_free(view);
    }
}

void views_fini(struct views *views)
{
    for (uint32_t id = 1; id < views->cap; id++) {
        mem_free(views->by_id[id]);
    }
    mem_free(views->by_id);
    table_fini(&views->table);
}
