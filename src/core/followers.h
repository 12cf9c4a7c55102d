/* Followers: publishers who repeat an idempotency key while the first event under it is on its way to the
 * store.
 *
 * They hear what becomes of the first; of their own event nothing is kept, so however large it is and
 * however long the disk takes, one costs a few words. Past FOLLOWERS_MAX they are to come back. Runs on the
 * home shard's thread.
 */
#ifndef CORE_FOLLOWERS_H
#define CORE_FOLLOWERS_H

#include <stdint.h>

#include "base/attr.h"
#include "base/table.h"

struct publication;

enum { FOLLOWERS_MAX = 16384 };

struct followers {
    struct table keys; /* struct follower, the first of each key. */
    uint32_t count;
};

struct follower {
    uint64_t hash; /* First: this is a struct table_item. The key's first half. */
    uint64_t rest;
    struct follower *next; /* Of the same key. */
    uint64_t reply_id;
    uint16_t from; /* The shard where the publisher waits. */
};

/* Its publisher waits, too. Returns 0, -ENOMEM, or -EBUSY past the bound. */
MUST_USE int followers_add(struct followers *followers, const struct publication *pub);

/* Gives those of a key, NULL: nobody; each is to be freed with mem_free(). */
struct follower *followers_take(struct followers *followers, const uint64_t key[2]);

/* Nobody waits any more. */
void followers_fini(struct followers *followers);

#endif
