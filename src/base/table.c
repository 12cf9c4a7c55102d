#include "base/table.h"

#include <errno.h>

#include "base/check.h"
#include "base/mem.h"

enum { TABLE_SLOTS_MIN = 16 };

static inline uint8_t tag_of(uint64_t hash)
{
    return (uint8_t)(hash >> 57) | 0x80;
}

struct table_item *table_find(
    const struct table *table, uint64_t hash, table_equal_fn *equal, const void *key)
{
    if (!table->tags) {
        return NULL;
    }
    uint8_t tag = tag_of(hash);
    for (size_t i = hash & table->mask; table->tags[i]; i = (i + 1) & table->mask) {
        struct table_item *item = table->items[i];
        if (table->tags[i] == tag && item->hash == hash && equal(item, key)) {
            return item;
        }
    }
    return NULL;
}

static void place(struct table *table, struct table_item *item)
{
    size_t i = item->hash & table->mask;

    while (table->tags[i]) {
        i = (i + 1) & table->mask;
    }
    table->tags[i] = tag_of(item->hash);
    table->items[i] = item;
}

static int grow(struct table *table)
{
    size_t slots = table->tags ? (table->mask + 1) * 2 : TABLE_SLOTS_MIN;
    struct table bigger = {.mask = slots - 1, .count = table->count};

    bigger.tags = mem_try_zalloc(slots);
    bigger.items = mem_try_alloc(slots * sizeof(*bigger.items));
    if (!bigger.tags || !bigger.items) {
        mem_free(bigger.tags);
        mem_free(bigger.items);
        return -ENOMEM;
    }
    for (size_t i = 0; table->tags && i <= table->mask; i++) {
        if (table->tags[i]) {
            place(&bigger, table->items[i]);
        }
    }
    table_fini(table);
    *table = bigger;
    return 0;
}

int table_add(struct table *table, struct table_item *item)
{
    if (!table->tags || table->count + 1 > (table->mask + 1) / 8 * 7) {
        int err = grow(table);
        if (err) {
            return err;
        }
    }
    place(table, item);
    table->count += 1;
    return 0;
}

void table_remove(struct table *table, struct table_item *item)
{
    CHECK(table->tags);
    size_t i = item->hash & table->mask;
    while (table->items[i] != item || !table->tags[i]) {
        CHECK(table->tags[i]);
        i = (i + 1) & table->mask;
    }
    /* Shift back what follows, so that no probe meets a hole before its item. */
    for (size_t next = (i + 1) & table->mask; table->tags[next]; next = (next + 1) & table->mask) {
        size_t home = table->items[next]->hash & table->mask;
        if (((next - home) & table->mask) >= ((next - i) & table->mask)) {
            table->tags[i] = table->tags[next];
            table->items[i] = table->items[next];
            i = next;
        }
    }
    table->tags[i] = 0;
    table->count -= 1;
}

struct table_item *table_next(const struct table *table, size_t *cursor)
{
    for (; table->tags && *cursor <= table->mask; *cursor += 1) {
        if (table->tags[*cursor]) {
            return table->items[(*cursor)++];
        }
    }
    return NULL;
}

void table_fini(struct table *table)
{
    mem_free(table->tags);
    mem_free(table->items);
    *table = (struct table){0};
}
