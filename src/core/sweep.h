/* Sweep: brings sealed batches to the subscribers of their class, a slice at a time.
 *
 * Small classes are swept whole; large ones take turns, a slice each, so that new publications are
 * read (and fill the next batch) between slices. Nothing is freed or unsubscribed inside a slice.
 */
#ifndef CORE_SWEEP_H
#define CORE_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slab.h"
#include "core/channel.h"
#include "core/subscriber.h"

enum { SWEEP_SLICE = 128 };

struct shard;

/* What conn's deliver() is given: bring `batch` to entries[0..count). */
struct slice {
    struct batch *batch;
    struct entry *entries;
    uint32_t count;
    uint64_t whole;     /* Out: entries that got the whole batch at once. */
    uint64_t delivered; /* Out: messages wholly taken by the kernel, those of `whole` included. */
    uint64_t taken;     /* Out: messages no longer pending (delivered, queued or dropped). */
    uint64_t bytes;     /* Out: taken by the kernel. */
    uint64_t now_ns;    /* Out: the time after the last send. */
};

/* Seals and sweeps what is ready. True when large classes still have work: come back soon. */
bool sweep_run(struct shard *shard);

/* Sweeps everything into outboxes without sending: before an export, or the last turn. */
void sweep_all_to_outboxes(struct shard *shard);

/* The first message of the batch that this entry has not had; batch->count when it had all.
 * Clears the entry's mark once it is past it. */
static inline uint32_t slice_first(const struct batch *batch, struct entry *entry)
{
    if (__builtin_expect(entry->from == 0, 1)) {
        return 0;
    }
    uint32_t before = batch_before(batch, entry->from);
    if (before < batch->count) {
        entry->from = 0;
    }
    return before;
}

#endif
