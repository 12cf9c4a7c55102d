/* Table: an open-addressing hash table of pointers, one tag byte beside each.
 *
 * An item starts with its 64-bit hash (from hash_bytes(), so a peer cannot aim collisions); the
 * table never owns items. The tag holds seven bits of the hash, so a probe touches an item only
 * when it very probably is the one. Deleting shifts the run back, so there are no tombstones and
 * look-ups do not slow down with age. Grows by doubling at 7/8. One thread.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct table_item {
    uint64_t hash;
};

struct table {
    uint8_t *tags; /* 0: empty. */
    struct table_item **items;
    size_t mask; /* Slots - 1; 0 slots when tags is NULL. */
    size_t count;
};

/* Does the item carry this key? */
typedef bool table_equal_fn(const struct table_item *item, const void *key);

/* The item with this key, or NULL. */
struct table_item *table_find(
    const struct table *table, uint64_t hash, table_equal_fn *equal, const void *key);

/* Adds an item that is not in the table. Returns 0 or -ENOMEM. */
MUST_USE int table_add(struct table *table, struct table_item *item);

/* Removes this very item, which must be in the table. */
void table_remove(struct table *table, struct table_item *item);

/* Walks all items: start with *cursor = 0; NULL at the end. The table must not change meanwhile. */
struct table_item *table_next(const struct table *table, size_t *cursor);

void table_fini(struct table *table);

#endif
