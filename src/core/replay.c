#include "core/replay.h"

#include <errno.h>

#include "core/bundle.h"
#include "core/channel.h"
#include "core/filter.h"
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

/* A page that is being written: frames side by side in a batch, or the events of one frame. */
struct page {
    struct channel *channel;
    struct batch *batch;
    uint8_t framing;
    bool bundled;
    struct bytes events;
    uint64_t from, to, time_ns; /* Of the events. */
    uint32_t count;
};

static int need_batch(struct shard *shard, struct page *page)
{
    if (!page->batch) {
        page->batch = batch_get(&shard->batches);
        if (!page->batch) {
            return -ENOMEM;
        }
        page->batch->channel = page->channel;
        page->channel->batch_count += 1;
        page->batch->framing = page->framing;
        page->batch->ns = page->channel->ns;
        page->batch->flags = BATCH_REPLAY | (page->bundled ? BATCH_BUNDLES : 0);
    }
    return batch_reserve_message(page->batch);
}

static void deliver(struct shard *shard, struct subscriber *sub, struct page *page)
{
    if (page->batch && page->batch->count) {
        shard_deliver_queued(shard, sub, page->batch, 0);
    }
    if (page->batch) {
        batch_unref(shard, page->batch);
    }
    page->batch = NULL;
}

static void lose(struct shard *shard, struct subscriber *sub, const struct page *page)
{
    count_accepted(shard, sub, page->channel->ns, 1);
    shard_count_drop(shard, sub, page->channel->ns, DROP_MEMORY, 1);
}

/* The frame is in the batch's data. */
static void add_message(
    struct shard *shard, struct subscriber *sub, struct page *page, struct batch_message message)
{
    message.end = (uint32_t)page->batch->data.len;
    page->batch->messages[page->batch->count++] = message;
    count_accepted(shard, sub, page->channel->ns, 1);
    if (batch_full(page->batch)) {
        deliver(shard, sub, page);
    }
}

static void add_frame(
    struct shard *shard, struct subscriber *sub, struct page *page, const struct publication *pub)
{
    if (need_batch(shard, page) != 0 ||
        shard->ports.encode(shard->ports.ctx, page->framing, pub, &page->batch->data) != 0) {
        lose(shard, sub, page);
        return;
    }
    add_message(
        shard, sub, page, (struct batch_message){.offset = pub->offset, .time_ns = pub->time_ns});
}

static void add_event(
    struct shard *shard, struct subscriber *sub, struct page *page, const struct publication *pub)
{
    if (bundle_append_event(shard, page->framing, pub, &page->events) != 0) {
        lose(shard, sub, page);
        return;
    }
    page->from = page->count ? page->from : pub->offset;
    page->time_ns = page->count ? page->time_ns : pub->time_ns;
    page->to = pub->offset;
    page->count += 1;
}

static void finish(struct shard *shard, struct subscriber *sub, struct page *page)
{
    struct span events = span_of(page->events.data, page->events.len);

    if (page->count) {
        if (need_batch(shard, page) == 0 && shard->ports.encode_events(shard->ports.ctx,
                                                page->framing, events, &page->batch->data) == 0) {
            add_message(shard, sub, page,
                (struct batch_message){.offset = page->to,
                    .time_ns = page->time_ns,
                    .spans = (uint32_t)(page->to - page->from)});
        } else {
            lose(shard, sub, page);
        }
    }
    deliver(shard, sub, page);
    bytes_fini(&page->events);
}

void replay_queue(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, uint16_t view, const struct mail_subscribe *answer)
{
    struct span types = view_types(&shard->views, view);
    struct page page = {
        .channel = channel, .framing = framing, .bundled = view_batch_ms(&shard->views, view) != 0};

    declare_lost(shard, sub, channel, framing, answer);
    for (uint32_t i = 0; i < answer->replay_count; i++) {
        const struct publication *pub = answer->replay[i];
        if (types.len &&
            !filter_match(types, filter_type(publication_payload(pub), &shard->type_scratch))) {
            continue;
        }
        if (page.bundled) {
            add_event(shard, sub, &page, pub);
        } else {
            add_frame(shard, sub, &page, pub);
        }
    }
    finish(shard, sub, &page);
}
