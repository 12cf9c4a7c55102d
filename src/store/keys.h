/* Keys: idempotency keys that outlive a restart, in the transaction of the append they came with.
 *
 * They are looked up in memory (core/once.h), so on disk they stand by expiry only. */
#ifndef STORE_KEYS_H
#define STORE_KEYS_H

#include <stdint.h>

#include "base/attr.h"
#include "core/publication.h"
#include "store/db.h"
#include "store/store.h"

enum {
    KEYS_AGE_MS = 10 * 60 * 1000, /* As ONCE_AGE_NS. */
    KEYS_MAX = 100000,            /* As ONCE_MAX. */
};

/* Remembers a numbered publication's key; does nothing when it has none. */
MUST_USE int keys_add(
    const struct db *db, MDB_txn *txn, const struct publication *pub, uint64_t time_ms);

/* Deletes what is expired, and the oldest past KEYS_MAX; at most `deletes`. */
MUST_USE int keys_trim(const struct db *db, MDB_txn *txn, uint64_t now_ms, uint32_t deletes);

/* Those that are not expired, the oldest first; damaged ones are left out. */
MUST_USE int keys_each(const struct db *db, uint64_t now_ms, store_key_fn *fn, void *ctx);

#endif
