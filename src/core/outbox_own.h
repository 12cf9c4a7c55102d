/* What the files of the outbox share: its runs. Not for others. */
#ifndef CORE_OUTBOX_OWN_H
#define CORE_OUTBOX_OWN_H

#include <stdbool.h>
#include <stdint.h>

#include "core/outbox.h"

/* The subscriber's outbox, made if need be; NULL without memory. */
struct outbox *outbox_get(struct subscriber *sub);
void outbox_free(struct shard *shard, struct subscriber *sub);

/* Room for one more run at the end; may move and renumber all runs. Returns 0 or -ENOMEM. */
MUST_USE int run_reserve(struct outbox *box);

/* Puts a run in front of the one at `place`; there must be room. */
void run_insert(struct outbox *box, uint32_t place, struct run run);

/* All messages of a batch from `first` on, at the end. Shares the batch. Returns 0 or -ENOMEM. */
MUST_USE int run_append(
    struct shard *shard, struct outbox *box, struct batch *batch, uint32_t first, uint32_t count);

/* Drops what the run refers to and leaves a hole. */
void run_release(struct shard *shard, struct run *run);

/* The run's messages are queued (1) or no longer (-1). */
void run_count(struct shard *shard, struct outbox *box, const struct run *run, int sign);

/* The conflation key of a message, its channel and framing included; 0: none. */
uint32_t run_key(const struct batch *batch, uint32_t message);

/* A gap in front of the run at `place`, or in its stead when it is a hole; there must be room. */
void run_add_gap(struct outbox *box, uint32_t place, struct channel *channel, uint8_t framing,
    uint8_t reason, uint64_t from, uint64_t to);

/* The run at `place` is gone: gaps on both sides of it have become neighbours, and one. */
void run_merge_gaps(struct shard *shard, struct outbox *box, uint32_t place);

/* No message and no control bytes. */
static inline bool run_is_quiet(const struct run *run)
{
    return run->kind == RUN_GAP || run->kind == RUN_HOLE;
}

#endif
