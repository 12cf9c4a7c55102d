/* Once: which idempotency keys were used in the last ten minutes, and what came of it.
 *
 * Keys are remembered by 128 bits of keyed hash, so no peer can aim two at each other. At most
 * ONCE_MAX are kept: past that the oldest go first, as they do by age. One thread.
 */
#ifndef CORE_ONCE_H
#define CORE_ONCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/table.h"
#include "core/cursor.h"

enum { ONCE_MAX = 100000 };
#define ONCE_AGE_NS (10ull * 60 * 1000000000)

struct once_entry;

struct once {
    struct table entries;
    struct once_entry *oldest, *newest;
};

struct once_entry {
    uint64_t hash; /* First: this is a struct table_item. The key's first half. */
    uint64_t rest;
    uint64_t channel; /* The channel's hash: it names the home that remembers. */
    uint64_t time_ns;
    struct cursor cursor;
    bool forgotten;
    bool open; /* On its way to the store: whoever repeats it may have to wait. */
    struct once_entry *newer;
};

/* Was this key used before? NULL: no; a key of zeroes never was. Valid until the next call. */
const struct once_entry *once_find(struct once *once, const uint64_t key[2], uint64_t now_ns);

/* Remembers it for this channel (its hash); without memory it is simply not remembered. */
void once_add(struct once *once, const uint64_t key[2], uint64_t channel, uint64_t now_ns,
    struct cursor cursor);

/* Marks it; fine when it is not (any more) there. */
void once_set_open(struct once *once, const uint64_t key[2], bool open);

/* It failed: the key is as good as new. */
void once_forget(struct once *once, const uint64_t key[2]);

void once_fini(struct once *once);

#endif
