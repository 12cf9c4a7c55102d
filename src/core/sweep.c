#include "core/sweep.h"

#include "base/check.h"
#include "core/outbox.h"
#include "core/shard.h"

static uint32_t latency_bucket(uint64_t ns)
{
    uint64_t units = ns >> 14; /* 16.384 µs */
    uint32_t bucket = units ? 64u - (uint32_t)__builtin_clzll(units) : 0;
    return bucket < SHARD_LATENCY_BUCKETS ? bucket : SHARD_LATENCY_BUCKETS - 1;
}

/* `times` deliveries of a message at this time. */
static void record(struct shard *shard, const struct batch_message *message, uint64_t times)
{
    uint64_t ns = shard->now_ns > message->time_ns ? shard->now_ns - message->time_ns : 0;

    shard->stats.latency[latency_bucket(ns)] += times;
    shard->stats.latency_sum_seconds += (double)ns * 1e-9 * (double)times;
}

/* How old a replayed message is says nothing of us. */
void shard_count_latency(
    struct shard *shard, const struct batch *batch, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count && !(batch->flags & BATCH_REPLAY); i++) {
        record(shard, &batch->messages[i], 1);
    }
}

/* Whoever did not get all of it at once is counted where the rest is sent. */
static void record_slice(struct shard *shard, const struct slice *slice)
{
    shard->now_ns = slice->now_ns > shard->now_ns ? slice->now_ns : shard->now_ns;
    for (uint32_t i = 0; slice->whole && i < slice->batch->count; i++) {
        record(shard, &slice->batch->messages[i], slice->whole);
    }
}

/* Publications that are lost: nothing to send but the word that they are missing. */
static void lose_slice(struct shard *shard, struct slice *slice)
{
    struct batch *batch = slice->batch;

    for (uint32_t i = 0; i < slice->count; i++) {
        struct entry *entry = &slice->entries[i];
        struct subscriber *sub = shard_subscriber(shard, entry->slot);
        uint32_t count = batch->count - slice_first(batch, entry);
        if (count == 0) {
            continue;
        }
        slice->taken += count;
        shard_count_drop(shard, sub, batch->ns, batch->reason, count);
        if (batch->flags & BATCH_GAPS) {
            uint64_t from = batch->gap_from + (batch->count - count); /* Who came in between. */
            outbox_gap(shard, sub, batch->channel, batch->framing,
                from < batch->gap_to ? from : batch->gap_to, batch->gap_to, batch->reason);
        }
    }
}

static void queue_slice(struct shard *shard, struct slice *slice)
{
    for (uint32_t i = 0; i < slice->count; i++) {
        struct entry *entry = &slice->entries[i];
        uint32_t first = slice_first(slice->batch, entry);
        if (first < slice->batch->count) {
            slice->taken += slice->batch->count - first;
            shard_deliver_queued(shard, shard_subscriber(shard, entry->slot), slice->batch, first);
        }
    }
}

/* One slice of the flow's oldest batch. */
static void sweep_slice(struct shard *shard, struct flow *flow, bool send)
{
    struct class *class = flow->class;
    uint32_t left = class->count - flow->index;
    struct slice slice = {
        .batch = flow->head,
        .entries = class_entries(class) + flow->index,
        .count = left < SWEEP_SLICE ? left : SWEEP_SLICE,
    };

    if (slice.batch->flags & BATCH_LOST) {
        lose_slice(shard, &slice);
    } else if (send) {
        shard->ports.deliver(shard->ports.ctx, &slice);
        record_slice(shard, &slice);
    } else {
        queue_slice(shard, &slice);
    }
    flow->index += slice.count;
    shard->stats.books.delivered += slice.delivered;
    shard->ns_stats[slice.batch->ns].delivered += slice.delivered;
    shard->stats.books.pending -= slice.taken;
    shard->stats.sweeps += 1;
}

static void finish_batch(struct shard *shard, struct flow *flow)
{
    struct batch *batch = flow->head;

    flow->head = batch->next;
    if (!flow->head) {
        flow->tail = NULL;
    }
    flow->index = 0;
    shard->unswept_bytes -= batch->data.len;
    batch_unref(shard, batch);
}

/* Sweeps until the flow is empty or, when it is large, for one slice. True when work is left. */
static bool sweep_flow(struct shard *shard, struct flow *flow, bool send)
{
    bool large = flow->class->count > SWEEP_SLICE;

    for (;;) {
        if (!flow->head) {
            flow_seal(flow);
        }
        if (!flow->head) {
            return false;
        }
        if (flow->index < flow->class->count) {
            sweep_slice(shard, flow, send);
        }
        if (flow->index >= flow->class->count) {
            finish_batch(shard, flow);
        }
        if (large && send && (flow->head || flow->open)) {
            return true;
        }
    }
}

static void run(struct shard *shard, bool send)
{
    struct flow *flow = shard->flow_first;

    shard->flow_first = shard->flow_last = NULL;
    while (flow) {
        struct flow *next = flow->next;
        flow->next = NULL;
        if (sweep_flow(shard, flow, send)) {
            if (shard->flow_last) {
                shard->flow_last->next = flow;
            } else {
                shard->flow_first = flow;
            }
            shard->flow_last = flow;
        } else {
            flow->queued = false;
            flow_release(shard, flow);
        }
        flow = next;
    }
}

bool sweep_run(struct shard *shard)
{
    run(shard, true);
    return shard->flow_first != NULL;
}

void sweep_all_to_outboxes(struct shard *shard)
{
    run(shard, false);
    CHECK(!shard->flow_first);
}
