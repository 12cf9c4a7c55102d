/* The policies: what gives way when a message arrives at a full outbox. */

#include "base/check.h"
#include "core/batch.h"
#include "core/channel.h"
#include "core/conflation.h"
#include "core/outbox.h"
#include "core/outbox_own.h"
#include "core/shard.h"

/* ---- evicting ---- */

static bool is_victim(const struct outbox *box, uint32_t place, uint8_t ns)
{
    const struct run *run = &box->runs[place];

    if (run->kind != RUN_BATCH || run->batch->ns != ns || (run->batch->flags & BATCH_REPLAY)) {
        return false;
    }
    return !(place == box->head && box->skip); /* Partly written. */
}

/* Messages that an arriving one of this namespace may not evict. */
static bool is_foreign(const struct run *run, uint8_t ns)
{
    return run->kind == RUN_BATCH && (run->batch->ns != ns || (run->batch->flags & BATCH_REPLAY));
}

/* Takes the first `count` messages off the run at `place`. There must be room for a run. */
static void evict(
    struct shard *shard, struct subscriber *sub, uint32_t place, uint32_t count, uint8_t reason)
{
    struct outbox *box = sub->outbox;
    struct run *run = &box->runs[place];
    struct batch *batch = run->batch;
    struct run part = {.batch = batch, .first = run->first, .count = (uint16_t)count};
    uint64_t from = batch_first_offset(batch, run->first);
    uint64_t to = batch->messages[run->first + count - 1].offset;
    struct channel *channel = batch->channel;
    uint8_t framing = batch->framing;
    bool tell = (batch->flags & BATCH_GAPS) && reason != DROP_CONFLATED;

    run_count(shard, box, &part, -1);
    shard_count_drop(shard, sub, batch->ns, reason, count);
    if (tell) {
        channel->batch_count += 1; /* Stays while we look at it. */
    }
    run->first += count;
    run->count -= (uint16_t)count;
    if (run->count == 0) {
        run_release(shard, run);
    }
    if (tell) {
        run_add_gap(box, place, channel, framing, reason, from, to);
        channel->batch_count -= 1;
        channel_release(shard, channel);
    }
    if (run_is_quiet(&box->runs[place])) {
        run_merge_gaps(shard, box, place);
    }
}

/* The same without a word to the client: there is no memory for one. */
static void evict_silently(
    struct shard *shard, struct subscriber *sub, uint32_t place, uint32_t count)
{
    struct run *run = &sub->outbox->runs[place];
    struct run part = {.batch = run->batch, .first = run->first, .count = (uint16_t)count};

    run_count(shard, sub->outbox, &part, -1);
    shard_count_drop(shard, sub, part.batch->ns, DROP_MEMORY, count);
    run->first += count;
    run->count -= (uint16_t)count;
    if (run->count == 0) {
        run_release(shard, run);
    }
}

static bool over(const struct outbox *box, const struct ns_settings *ns)
{
    return box->messages > ns->outbox_messages || box->message_bytes > ns->outbox_bytes;
}

/* How many of the run's first messages must go, at most all of them. */
static uint32_t excess(
    const struct outbox *box, const struct ns_settings *ns, const struct run *run)
{
    uint32_t messages = box->messages, bytes = box->message_bytes, count = 0;

    while (count < run->count && (messages > ns->outbox_messages || bytes > ns->outbox_bytes)) {
        uint32_t at = run->first + count;
        bytes -= batch_bytes(run->batch, at, at + 1);
        messages -= 1;
        count += 1;
    }
    return count;
}

/* Drops the oldest of the namespace until the bounds hold. `newest` is the arriving batch: when it
 * must go because the room is taken by what it may not evict, its loss is the lack of a victim. */
static void drop_oldest(
    struct shard *shard, struct subscriber *sub, uint8_t ns_index, const struct batch *newest)
{
    const struct ns_settings *ns = &shard->settings->ns[ns_index];
    struct outbox *box = sub->outbox;
    bool evicted = false, foreign = false;

    for (uint32_t place = box->head; over(box, ns) && place < box->tail; place++) {
        if (!is_victim(box, place, ns_index)) {
            foreign = foreign || is_foreign(&box->runs[place], ns_index);
            continue;
        }
        bool own = box->runs[place].batch == newest;
        uint32_t count = excess(box, ns, &box->runs[place]);
        uint32_t tail = box->tail;
        if (tail == box->cap) {
            /* Room for a gap notice first: the search starts over where everything now stands. */
            if (run_reserve(box) != 0) {
                evict_silently(shard, sub, place, count);
                continue;
            }
            if (box->tail != tail) {
                place = box->head - 1;
                continue;
            }
        }
        evict(shard, sub, place, count, own && foreign && !evicted ? DROP_NO_VICTIM : DROP_SLOW);
        evicted = evicted || !own;
        place += box->tail - tail; /* A gap may have been put in front. */
    }
}

/* ---- pushing ---- */

/* How many of [first, count) fit as they are. */
static uint32_t fitting(const struct outbox *box, const struct ns_settings *ns,
    const struct batch *batch, uint32_t first)
{
    uint32_t messages = box->messages, bytes = box->message_bytes, last = first;

    while (last < batch->count) {
        uint32_t size = batch_bytes(batch, last, last + 1);
        if (messages + 1 > ns->outbox_messages || bytes + size > ns->outbox_bytes) {
            break;
        }
        messages += 1;
        bytes += size;
        last += 1;
    }
    return last - first;
}

static void push_newest_dropped(
    struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first)
{
    struct outbox *box = sub->outbox;
    uint32_t count = fitting(box, &shard->settings->ns[batch->ns], batch, first);

    if (count && run_append(shard, box, batch, first, count) != 0) {
        shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        return;
    }
    uint32_t lost = batch->count - first - count;
    if (lost == 0) {
        return;
    }
    shard_count_drop(shard, sub, batch->ns, DROP_SLOW, lost);
    if ((batch->flags & BATCH_GAPS) && run_reserve(box) == 0) {
        run_add_gap(box, box->tail, batch->channel, batch->framing, DROP_SLOW,
            batch_first_offset(batch, first + count), batch->messages[batch->count - 1].offset);
    }
}

/* Does the run at `place` wait whole, alone, and for the same key as the newer one? */
static bool is_older(
    const struct outbox *box, uint32_t place, const struct batch *newer, uint32_t key)
{
    const struct run *run = &box->runs[place];

    return run->kind == RUN_BATCH && run->count == 1 && !(place == box->head && box->skip) &&
           run->batch->channel == newer->channel && run->batch->framing == newer->framing &&
           run->batch->messages[run->first].key == key;
}

/* Gaps that were put in since the runs were numbered may have moved it that much to the front of where
 * its number points. A stale number finds nothing. */
static void drop_conflated(struct shard *shard, struct subscriber *sub, uint32_t run_number,
    const struct batch *newer, uint32_t key)
{
    struct outbox *box = sub->outbox;
    uint32_t place = run_number - box->run_base;

    for (uint32_t i = 0; i <= box->inserted && place >= box->head; i++, place--) {
        if (place < box->tail - 1 && is_older(box, place, newer, key)) {
            evict(shard, sub, place, 1, DROP_CONFLATED);
            return;
        }
        if (place == 0) {
            return;
        }
    }
}

/* Message by message, so that each can be replaced by itself. The older one goes and the newer one
 * joins the end: the order of offsets a client sees is kept. */
static void push_conflated(
    struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first)
{
    struct outbox *box = sub->outbox;

    for (uint32_t i = first; i < batch->count; i++) {
        uint32_t key = run_key(batch, i);
        uint32_t old;
        if (run_append(shard, box, batch, i, 1) != 0) {
            shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - i);
            return;
        }
        uint32_t number = box->run_base + box->tail - 1;
        if (key && conflation_put(&box->conflation, key, number, &old) == 1) {
            drop_conflated(shard, sub, old, batch, batch->messages[i].key);
        }
    }
    drop_oldest(shard, sub, batch->ns, batch);
}

static void push_or_disconnect(
    struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first)
{
    uint32_t count = batch->count - first;

    if (fitting(sub->outbox, &shard->settings->ns[batch->ns], batch, first) < count) {
        shard_count_drop(shard, sub, batch->ns, DROP_SLOW, count);
        sub->flags |= SUB_DOOMED_SLOW;
        shard_doom(shard, sub);
    } else if (run_append(shard, sub->outbox, batch, first, count) != 0) {
        shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, count);
    }
}

void outbox_push(struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first)
{
    struct outbox *box = outbox_get(sub);

    CHECK(first < batch->count);
    if (!box) {
        shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        return;
    }
    if (batch->flags & BATCH_REPLAY) {
        if (run_append(shard, box, batch, first, batch->count - first) != 0) {
            shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        }
        return;
    }
    switch ((enum outbox_policy)shard->settings->ns[batch->ns].policy) {
    case OUTBOX_DROP_OLDEST:
        if (run_append(shard, box, batch, first, batch->count - first) != 0) {
            shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        } else {
            drop_oldest(shard, sub, batch->ns, batch);
        }
        break;
    case OUTBOX_DROP_NEWEST:
        push_newest_dropped(shard, sub, batch, first);
        break;
    case OUTBOX_CONFLATE:
        push_conflated(shard, sub, batch, first);
        break;
    case OUTBOX_DISCONNECT:
        push_or_disconnect(shard, sub, batch, first);
        break;
    }
}

void outbox_push_rest(
    struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first, uint32_t sent)
{
    while (first < batch->count && sent >= batch_bytes(batch, first, first + 1)) {
        sent -= batch_bytes(batch, first, first + 1);
        first += 1;
    }
    CHECK(first < batch->count);
    struct outbox *box = outbox_get(sub);
    if (!box) {
        shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        shard_doom(shard, sub); /* Half a frame is out: nothing sensible can follow it. */
        return;
    }
    CHECK(box->head == box->tail);
    if (sent == 0) {
        outbox_push(shard, sub, batch, first);
        return;
    }
    /* A message that has begun must be finished: it stands alone, exempt from the bounds. */
    if (run_append(shard, box, batch, first, 1) != 0) {
        shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        shard_doom(shard, sub);
        return;
    }
    box->skip = sent;
    if (first + 1 < batch->count) {
        outbox_push(shard, sub, batch, first + 1);
    }
}
