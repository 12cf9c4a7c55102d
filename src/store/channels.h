/* Channels: the writer's view of channel rows and their records within one transaction.
 *
 * A row is read at most once and written at most once a transaction, however many records came. What is
 * deleted in one transaction is bounded by `deletes_left`, so that a commit stays short; what could
 * not be trimmed is trimmed by the next append or the walk. What lies before a row's boundary is forgotten,
 * deleted or not: readers do not show it. Writer's thread only.
 */
#ifndef STORE_CHANNELS_H
#define STORE_CHANNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/hash.h"
#include "base/table.h"
#include "core/store.h"
#include "store/db.h"

enum { CHANNELS_MINUTE_MS = 60000 };

struct channel_row {
    uint64_t hash; /* First: this is a struct table_item. */
    struct channel_row *next;
    struct format_channel row;
    struct store_limits limits; /* Valid when has_limits. */
    uint32_t listed_minute;     /* Under which it stands in `recent`; 0: it does not. */
    bool has_limits;
    bool dirty;
    bool stored; /* It has a row already. */
    bool forget;
    uint16_t name_len;
    char name[];
};

struct channels {
    const struct db *db;
    MDB_txn *txn;
    MDB_cursor *cursor; /* Over records; NULL until needed. */
    struct format_meta *meta;
    struct hash_key hash_key;
    struct table rows;
    struct channel_row *first;
    uint32_t deletes_left;
    uint64_t now_ms;
    /* What happened, for the figures. */
    uint64_t records_added, records_trimmed, records_evicted, rows_damaged;
};

/* Begins work in this transaction; meta is changed along. */
void channels_init(struct channels *channels, const struct db *db, MDB_txn *txn,
    struct format_meta *meta, uint64_t now_ms, uint32_t deletes_max);

/* Before the transaction ends. */
void channels_fini(struct channels *channels);

/* All of these return 0 or negative errno as db_err() gives them; after an error the transaction is to
 * be aborted. */

/* Writes one record, or none with limits.messages 0. entry->err -EINVAL: the publication cannot be
 * written (its offset did not grow, it is too large); nothing was done. */
MUST_USE int channels_append(
    struct channels *channels, struct store_entry *entry, uint64_t time_ms);

/* Forgets up to and including an offset. */
MUST_USE int channels_clear(struct channels *channels, struct span name, uint64_t up_to);

/* Trims what is over the limits of the channels that were appended to. */
MUST_USE int channels_trim(struct channels *channels);

/* Deletes the oldest records of those channels that were written to least recently. */
MUST_USE int channels_evict(struct channels *channels, uint32_t records);

/* Looks at some rows behind *name (and sets it; empty: begin, or the end was reached): records past
 * their age and before the boundary go, and rows that say nothing any more. */
MUST_USE int channels_walk(struct channels *channels, struct bytes *name, uint32_t rows_max);

/* Writes the rows. */
MUST_USE int channels_flush(struct channels *channels);

/* Internal to channels and channels_trim: all up to this offset is forgotten; what is there is trimmed
 * later. */
void channels_hide(struct channel_row *channel, uint64_t up_to);

/* As internal: the channel's row, a new one when there is none. */
MUST_USE int channels_row(
    struct channels *channels, struct span name, struct channel_row **ret_channel);

#endif
