#include "core/replay.h"

#include "core/channel.h"
#include "core/shard.h"

static void count_accepted(struct shard *shard, struct subscriber *sub, uint8_t ns, uint64_t count)
{
    sub->accepted += count;
    shard->stats.books.accepted += count;
    shard->ns_stats[ns].accepted += count;
}

/* The client read its pages more slowly than history forgets. */
static void declare_lost(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, const struct mail_subscribe *answer)
{
    if (answer->lost == 0) {
        return;
    }
    count_accepted(shard, sub, channel->ns, answer->lost);
    shard_count_drop(shard, sub, channel->ns, DROP_SLOW, answer->lost);
    if (shard->ports.wants_gaps(shard->ports.ctx, framing)) {
        outbox_gap(shard, sub, channel, framing, answer->from.offset - answer->lost + 1,
            answer->from.offset, DROP_SLOW);
    }
}

static struct batch *page_batch(struct shard *shard, struct channel *channel, uint8_t framing)
{
    struct batch *batch = batch_get(&shard->batches);

    if (batch) {
        batch->channel = channel;
        channel->batch_count += 1;
        batch->framing = framing;
        batch->ns = channel->ns;
        batch->flags = BATCH_REPLAY;
    }
    return batch;
}

/* Returns 0 or -ENOMEM. */
static int append(struct shard *shard, struct batch *batch, const struct publication *pub)
{
    int err = batch_reserve_message(batch);

    err = err ? err : shard->ports.encode(shard->ports.ctx, batch->framing, pub, &batch->data);
    if (!err) {
        batch->messages[batch->count++] = (struct batch_message){
            .offset = pub->offset, .time_ns = pub->time_ns, .end = (uint32_t)batch->data.len};
    }
    return err;
}

static void deliver(struct shard *shard, struct subscriber *sub, struct batch *batch)
{
    if (batch->count) {
        shard_deliver_queued(shard, sub, batch, 0);
    }
    batch_unref(shard, batch);
}

void replay_queue(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, const struct mail_subscribe *answer)
{
    struct batch *batch = NULL;

    declare_lost(shard, sub, channel, framing, answer);
    count_accepted(shard, sub, channel->ns, answer->replay_count);
    for (uint32_t i = 0; i < answer->replay_count; i++) {
        if (!batch) {
            batch = page_batch(shard, channel, framing);
        }
        if (!batch || append(shard, batch, answer->replay[i]) != 0) {
            shard_count_drop(shard, sub, channel->ns, DROP_MEMORY, 1);
        } else if (batch_full(batch)) {
            deliver(shard, sub, batch);
            batch = NULL;
        }
    }
    if (batch) {
        deliver(shard, sub, batch);
    }
}
