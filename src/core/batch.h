/* Batch: publications of one class, encoded side by side.
 *
 * Frames lie next to each other in `data`, so any run of messages is one span and goes out with one
 * send(). A batch is open while publications are appended, then sealed and swept; outbox runs share
 * it until they are sent. Counts are plain: a batch never leaves its shard.
 */
#ifndef CORE_BATCH_H
#define CORE_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

struct channel;
struct batch_pool;

struct batch_message {
    uint64_t offset;  /* The publication's. */
    uint64_t time_ns; /* When it came in. */
    uint32_t end;     /* Where its frame ends in data. */
    union {
        uint32_t key;   /* Conflation key; 0: none. */
        uint32_t spans; /* BATCH_BUNDLES: it holds events from `offset` less this on. */
    };
};

enum {
    BATCH_REPLAY = 1,  /* Belongs to one subscriber's replay: never evicted. */
    BATCH_LOST = 2,    /* Stands for `count` publications that nobody here gets. */
    BATCH_GAPS = 4,    /* Its subscribers are told of gaps. */
    BATCH_BUNDLES = 8, /* Each message is a bundle of events. */
};

enum {
    BATCH_BYTES_MAX = 64 * 1024, /* An open batch is sealed past this … */
    BATCH_MESSAGES_MAX = 1024,   /* … or at this. */
};

struct batch {
    uint32_t refs;
    uint32_t count;     /* Messages. */
    uint32_t first_seq; /* The class's sequence number of the first. */
    uint32_t message_cap;
    struct batch_message *messages;
    struct bytes data;
    struct channel *channel;   /* Shares: the channel stays while a batch names it. */
    struct batch *next;        /* Sealed, waiting for their sweep. */
    uint64_t gap_from, gap_to; /* BATCH_LOST: offsets. */
    uint8_t framing;
    uint8_t ns;
    uint8_t flags;
    uint8_t reason; /* BATCH_LOST: enum drop_reason. */
};

static inline uint32_t batch_start(const struct batch *batch, uint32_t message)
{
    return message ? batch->messages[message - 1].end : 0;
}

/* The offset of the first event in a message. */
static inline uint64_t batch_first_offset(const struct batch *batch, uint32_t message)
{
    const struct batch_message *m = &batch->messages[message];
    return batch->flags & BATCH_BUNDLES ? m->offset - m->spans : m->offset;
}

/* Bytes of messages [first, last). */
static inline uint32_t batch_bytes(const struct batch *batch, uint32_t first, uint32_t last)
{
    return last > first ? batch->messages[last - 1].end - batch_start(batch, first) : 0;
}

static inline bool batch_full(const struct batch *batch)
{
    return batch->data.len >= BATCH_BYTES_MAX || batch->count >= BATCH_MESSAGES_MAX;
}

/* A small store of batches with their buffers, so that a quiet channel allocates nothing. The last
 * BATCH_SPARE are for telling what is lost when memory runs out. */
enum { BATCH_SPARE = 16 };

struct batch_pool {
    struct batch *free;
    uint32_t count;
};

/* Gives an empty batch with one reference; NULL without memory. */
MUST_USE struct batch *batch_get(struct batch_pool *pool);

/* The same for a batch that is BATCH_LOST: it may be one of the spare ones. */
MUST_USE struct batch *batch_get_spare(struct batch_pool *pool);

/* Room for one more message. Returns 0 or -ENOMEM. */
MUST_USE int batch_reserve_message(struct batch *batch);

/* Frees the contents for good or puts the batch back; the caller has dropped the last reference
 * and released the channel. */
void batch_put(struct batch_pool *pool, struct batch *batch);

void batch_pool_fini(struct batch_pool *pool);

#endif
