/* Outbox: what waits to leave one connection. Exists only while something does.
 *
 * A queue of runs. A run is a stretch of messages of one batch (shared, not copied), a piece of
 * control bytes (acknowledgements, pongs, close frames, HTTP replies) or a gap notice. Messages are
 * bounded in number and bytes by the namespace of the message that arrives; what happens at the
 * bound is that namespace's policy, and only its own messages may be evicted. A message that is
 * partly written is never touched. Control bytes have a bound of their own; gaps coalesce.
 *
 * Runs on the shard's thread. Nothing here sends: outbox_flush() hands spans to a port.
 */
#ifndef CORE_OUTBOX_H
#define CORE_OUTBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

struct batch;
struct shard;
struct subscriber;

struct run {
    union {
        struct batch *batch;
        struct control *control;
        struct gap *gap;
        void *any;
    };
    uint32_t first; /* RUN_BATCH: message index; RUN_CONTROL: bytes already sent. */
    uint16_t count; /* RUN_BATCH: messages; at most BATCH_MESSAGES_MAX. */
    uint8_t kind;
    uint8_t reserved;
};

enum run_kind { RUN_BATCH, RUN_CONTROL, RUN_GAP, RUN_HOLE };

struct control {
    uint32_t len;
    uint8_t data[];
};

/* "Messages from..to of this channel are missing." Inclusive offsets. */
struct gap {
    struct channel *channel; /* Shares (batch_count). */
    uint64_t from, to;
    uint8_t framing;
    uint8_t reason; /* enum drop_reason */
};

struct outbox {
    struct run *runs; /* [head, tail) are in use. */
    uint32_t head, tail, cap;
    uint32_t run_base; /* Runs that once stood before runs[0]: place + base = number. */
    uint32_t inserted; /* Runs put in between since the numbers were given. */
    uint32_t skip;     /* Bytes of the head run's first message that are already sent. */
    uint32_t messages; /* Waiting: the books' `queued`. */
    uint32_t message_bytes;
    uint32_t control_bytes;        /* Without the one below. */
    uint32_t large_bytes;          /* Of the piece of control bytes that is OUTBOX_CONTROL_LARGE. */
    struct conflation *conflation; /* NULL until a namespace with that policy needs it. */
};

enum {
    OUTBOX_CONTROL_BYTES_MAX = 256 * 1024, /* All together, … */
    /* … beside one piece that is larger than this by itself: a reply to a request that was within its
     * own limits. A second one has to wait for the first to be gone. */
    OUTBOX_CONTROL_LARGE = 128 * 1024,
};

static inline uint32_t *outbox_control_counter(struct outbox *box, size_t len)
{
    return len > OUTBOX_CONTROL_LARGE ? &box->large_bytes : &box->control_bytes;
}

/* Queues messages [first, batch->count) of the batch; the policy may drop some of them or others.
 * The books are kept. Shares the batch. */
void outbox_push(struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first);

/* The same after the kernel took `sent` bytes of [first, count) and not all. */
void outbox_push_rest(struct shard *shard, struct subscriber *sub, struct batch *batch,
    uint32_t first, uint32_t sent);

/* Is there room for that many control bytes? */
bool outbox_control_fits(const struct subscriber *sub, size_t len);

/* Queues control bytes (copied). Returns 0, -ENOBUFS past the bound, or -ENOMEM. */
MUST_USE int outbox_control(
    struct shard *shard, struct subscriber *sub, const void *data, size_t len);

/* Queues a gap notice at the end, merged with one that is already there. */
void outbox_gap(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, uint64_t from, uint64_t to, uint8_t reason);

/* After an import: puts the whole batch at the end, exempt from bounds, newly accepted by the shard
 * (the subscriber's own books know it). Shares the batch. Returns 0 or -ENOMEM. */
MUST_USE int outbox_restore(struct shard *shard, struct subscriber *sub, struct batch *batch);

/* After an import: as outbox_control(), without a bound. */
MUST_USE int outbox_restore_control(
    struct shard *shard, struct subscriber *sub, const void *data, size_t len);

/* After an import: so many bytes of the first message, the only run so far, are already sent.
 * Returns 0, or -EBADMSG when there is no such message. */
MUST_USE int outbox_restore_skip(struct subscriber *sub, uint32_t skip);

/* Sends what the port takes. Returns 1 when nothing is left (the outbox is gone), 0 when it is
 * blocked or had its share of this turn (then the subscriber is dirty again), negative errno when
 * the connection failed. */
MUST_USE int outbox_flush(struct shard *shard, struct subscriber *sub);

/* Drops what waits, messages with this reason, but for a frame that is partly written and control bytes
 * at the front, which may be: they are all that is left. */
void outbox_drop_rest(struct shard *shard, struct subscriber *sub, uint8_t reason);

/* Drops all that waits, messages with this reason. */
void outbox_drop(struct shard *shard, struct subscriber *sub, uint8_t reason);

#endif
