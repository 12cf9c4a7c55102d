#include "core/outbox.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/channel.h"
#include "core/conflation.h"
#include "core/shard.h"

enum {
    RUNS_MIN = 4,
    FLUSH_SPANS_MAX = 64,
    FLUSH_BYTES_MAX = 256 * 1024, /* A turn: one connection must not hold up the others. */
};

static struct outbox *outbox_get(struct subscriber *sub)
{
    if (!sub->outbox) {
        sub->outbox = mem_try_zalloc(sizeof(*sub->outbox));
        shard_update_direct(sub);
    }
    return sub->outbox;
}

/* The same key in another channel, or in another framing of it, is another thing. 0: no key. */
static uint32_t conflation_key(const struct batch *batch, uint32_t message)
{
    uint64_t mixed = batch->channel->hash + batch->framing;

    if (!batch->messages[message].key) {
        return 0;
    }
    mixed = (mixed ^ batch->messages[message].key) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(mixed >> 32) | 1;
}

/* Closes the holes that evictions left, so that the queue grows with what waits, not with what was
 * dropped. Runs get new numbers, so the conflation map is written anew. */
static void compact(struct outbox *box)
{
    uint32_t tail = 0;

    for (uint32_t i = box->head; i < box->tail; i++) {
        if (box->runs[i].kind != RUN_HOLE) {
            box->runs[tail++] = box->runs[i];
        }
    }
    box->head = 0;
    box->tail = tail;
    box->run_base = 0;
    box->inserted = 0;
    if (!box->conflation) {
        return;
    }
    conflation_clear(box->conflation);
    for (uint32_t i = 0; i < tail; i++) {
        const struct run *run = &box->runs[i];
        bool single = run->kind == RUN_BATCH && run->count == 1;
        uint32_t key = single ? conflation_key(run->batch, run->first) : 0;
        uint32_t old;
        if (key && conflation_put(&box->conflation, key, i, &old) < 0) {
            return; /* Those left out are not conflated. */
        }
    }
}

static uint32_t unused_runs(const struct outbox *box)
{
    uint32_t count = box->head;

    for (uint32_t i = box->head; i < box->tail; i++) {
        count += box->runs[i].kind == RUN_HOLE;
    }
    return count;
}

/* Room for one more run at the end. */
static int reserve_run(struct outbox *box)
{
    if (box->tail < box->cap) {
        return 0;
    }
    if (box->cap && unused_runs(box) >= box->cap / 2) {
        compact(box);
        return 0;
    }
    uint32_t cap = box->cap ? box->cap * 2 : RUNS_MIN;
    struct run *runs = mem_try_realloc(box->runs, cap * sizeof(*runs));
    if (!runs) {
        return -ENOMEM;
    }
    box->runs = runs;
    box->cap = cap;
    return 0;
}

/* Puts a run in front of the one at `place`; there must be room (reserve_run()). Those behind it keep
 * their numbers; those before it are now found one place too late, see drop_conflated(). */
static void insert_run(struct outbox *box, uint32_t place, struct run run)
{
    CHECK(box->tail < box->cap);
    memmove(box->runs + place + 1, box->runs + place, (box->tail - place) * sizeof(run));
    box->runs[place] = run;
    box->tail += 1;
    box->run_base -= 1;
    box->inserted += 1;
}

static void release_run(struct shard *shard, struct run *run)
{
    switch (run->kind) {
    case RUN_BATCH:
        batch_unref(shard, run->batch);
        break;
    case RUN_CONTROL:
        mem_free(run->control);
        break;
    case RUN_GAP:
        run->gap->channel->batch_count -= 1;
        channel_release(shard, run->gap->channel);
        mem_free(run->gap);
        break;
    case RUN_HOLE:
        break;
    }
    run->kind = RUN_HOLE;
    run->any = NULL;
}

static void count_queued(struct shard *shard, struct outbox *box, const struct run *run, int sign)
{
    uint32_t bytes = batch_bytes(run->batch, run->first, run->first + run->count);

    box->messages += (uint32_t)(sign * (int)run->count);
    box->message_bytes += (uint32_t)sign * bytes;
    shard->stats.books.queued += (uint64_t)(int64_t)(sign * (int)run->count);
}

/* ---- gaps ---- */

/* No message and no control bytes. */
static bool is_quiet(const struct run *run)
{
    return run->kind == RUN_GAP || run->kind == RUN_HOLE;
}

/* Extends a gap of the same channel among the gaps that stand right before `place` (an index into
 * runs). No message lies between them, so what they skip together was dropped too; and there is one
 * for each channel however drops of several channels alternate. It keeps its first reason. */
static bool extend_gap(struct outbox *box, uint32_t place, const struct channel *channel,
    uint8_t framing, uint64_t from, uint64_t to)
{
    while (place > box->head && is_quiet(&box->runs[place - 1])) {
        place -= 1;
        struct gap *gap = box->runs[place].gap;
        if (box->runs[place].kind == RUN_GAP && gap->channel == channel &&
            gap->framing == framing) {
            gap->from = from < gap->from ? from : gap->from;
            gap->to = to > gap->to ? to : gap->to;
            return true;
        }
    }
    return false;
}

/* The run at `place` is gone: gaps on both sides of it have become neighbours. Without this a
 * client that never reads would collect gaps without end. */
static void merge_gaps(struct shard *shard, struct outbox *box, uint32_t place)
{
    for (; place < box->tail && is_quiet(&box->runs[place]); place++) {
        struct run *run = &box->runs[place];
        if (run->kind == RUN_GAP && extend_gap(box, place, run->gap->channel, run->gap->framing,
                                        run->gap->from, run->gap->to)) {
            release_run(shard, run);
        }
    }
}

/* A gap in front of the run at `place`, or in its stead when it is a hole. One that cannot be told
 * for want of memory is still in the books. There must be room for a run. */
static void add_gap(struct outbox *box, uint32_t place, struct channel *channel, uint8_t framing,
    uint8_t reason, uint64_t from, uint64_t to)
{
    if (extend_gap(box, place, channel, framing, from, to)) {
        return;
    }
    struct gap *gap = mem_try_alloc(sizeof(*gap));
    if (!gap) {
        return;
    }
    *gap = (struct gap){
        .channel = channel, .from = from, .to = to, .framing = framing, .reason = reason};
    struct run run = {.gap = gap, .kind = RUN_GAP};
    if (place < box->tail && box->runs[place].kind == RUN_HOLE) {
        box->runs[place] = run;
    } else {
        insert_run(box, place, run);
    }
    channel->batch_count += 1;
}

void outbox_gap(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, uint64_t from, uint64_t to, uint8_t reason)
{
    struct outbox *box = outbox_get(sub);

    if (box && reserve_run(box) == 0) {
        add_gap(box, box->tail, channel, framing, reason, from, to);
    }
    if (box) {
        shard_mark_dirty(shard, sub);
    }
}

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
    uint64_t from = batch->messages[run->first].offset;
    uint64_t to = batch->messages[run->first + count - 1].offset;
    struct channel *channel = batch->channel;
    uint8_t framing = batch->framing;
    bool tell = (batch->flags & BATCH_GAPS) && reason != DROP_CONFLATED;

    count_queued(shard, box, &part, -1);
    shard_count_drop(shard, sub, batch->ns, reason, count);
    if (tell) {
        channel->batch_count += 1; /* Stays while we look at it. */
    }
    run->first += count;
    run->count -= (uint16_t)count;
    if (run->count == 0) {
        release_run(shard, run);
    }
    if (tell) {
        add_gap(box, place, channel, framing, reason, from, to);
        channel->batch_count -= 1;
        channel_release(shard, channel);
    }
    if (is_quiet(&box->runs[place])) {
        merge_gaps(shard, box, place);
    }
}

/* The same without a word to the client: there is no memory for one. */
static void evict_silently(
    struct shard *shard, struct subscriber *sub, uint32_t place, uint32_t count)
{
    struct run *run = &sub->outbox->runs[place];
    struct run part = {.batch = run->batch, .first = run->first, .count = (uint16_t)count};

    count_queued(shard, sub->outbox, &part, -1);
    shard_count_drop(shard, sub, part.batch->ns, DROP_MEMORY, count);
    run->first += count;
    run->count -= (uint16_t)count;
    if (run->count == 0) {
        release_run(shard, run);
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
            if (reserve_run(box) != 0) {
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

/* One run at the end, merged with the last one when it continues it. */
static int append_run(
    struct shard *shard, struct outbox *box, struct batch *batch, uint32_t first, uint32_t count)
{
    struct run run = {.batch = batch, .first = first, .count = (uint16_t)count, .kind = RUN_BATCH};
    int err = reserve_run(box);

    if (err) {
        return err;
    }
    box->runs[box->tail++] = run;
    batch_ref(batch);
    count_queued(shard, box, &run, 1);
    return 0;
}

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

    if (count && append_run(shard, box, batch, first, count) != 0) {
        shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        return;
    }
    uint32_t lost = batch->count - first - count;
    if (lost == 0) {
        return;
    }
    shard_count_drop(shard, sub, batch->ns, DROP_SLOW, lost);
    if ((batch->flags & BATCH_GAPS) && reserve_run(box) == 0) {
        add_gap(box, box->tail, batch->channel, batch->framing, DROP_SLOW,
            batch->messages[first + count].offset, batch->messages[batch->count - 1].offset);
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
        uint32_t key = conflation_key(batch, i);
        uint32_t old;
        if (append_run(shard, box, batch, i, 1) != 0) {
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
    } else if (append_run(shard, sub->outbox, batch, first, count) != 0) {
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
        if (append_run(shard, box, batch, first, batch->count - first) != 0) {
            shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        }
        return;
    }
    switch ((enum outbox_policy)shard->settings->ns[batch->ns].policy) {
    case OUTBOX_DROP_OLDEST:
        if (append_run(shard, box, batch, first, batch->count - first) != 0) {
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
    if (append_run(shard, box, batch, first, 1) != 0) {
        shard_count_drop(shard, sub, batch->ns, DROP_MEMORY, batch->count - first);
        shard_doom(shard, sub);
        return;
    }
    box->skip = sent;
    if (first + 1 < batch->count) {
        outbox_push(shard, sub, batch, first + 1);
    }
}

int outbox_restore(struct shard *shard, struct subscriber *sub, struct batch *batch)
{
    struct outbox *box = outbox_get(sub);
    int err = box ? append_run(shard, box, batch, 0, batch->count) : -ENOMEM;
    uint32_t key = batch->count == 1 ? conflation_key(batch, 0) : 0, old;

    if (err) {
        return err;
    }
    shard->stats.books.accepted += batch->count;
    if (key && shard->settings->ns[batch->ns].policy == OUTBOX_CONFLATE &&
        conflation_put(&box->conflation, key, box->run_base + box->tail - 1, &old) < 0) {
        return -ENOMEM;
    }
    return 0;
}

int outbox_restore_skip(struct subscriber *sub, uint32_t skip)
{
    struct outbox *box = sub->outbox;
    const struct run *run = box ? &box->runs[box->head] : NULL;

    if (!run || run->kind != RUN_BATCH || skip >= batch_bytes(run->batch, 0, 1)) {
        return -EBADMSG;
    }
    box->skip = skip;
    return 0;
}

int outbox_restore_control(
    struct shard *shard, struct subscriber *sub, const void *data, size_t len)
{
    struct outbox *box = outbox_get(sub);

    if (!box || reserve_run(box) != 0) {
        return -ENOMEM;
    }
    struct control *control = mem_try_alloc(sizeof(*control) + len);
    if (!control) {
        return -ENOMEM;
    }
    control->len = (uint32_t)len;
    memcpy(control->data, data, len);
    box->runs[box->tail++] = (struct run){.control = control, .kind = RUN_CONTROL};
    box->control_bytes += (uint32_t)len;
    shard_mark_dirty(shard, sub);
    return 0;
}

/* A single piece may be of any size: a reply to a request that was within its own limits. */
int outbox_control(struct shard *shard, struct subscriber *sub, const void *data, size_t len)
{
    uint64_t waiting = sub->outbox ? sub->outbox->control_bytes : 0;

    if (waiting && waiting + len > OUTBOX_CONTROL_BYTES_MAX) {
        return -ENOBUFS;
    }
    return outbox_restore_control(shard, sub, data, len);
}

/* ---- sending ---- */

/* Gaps become control bytes when their turn comes; a framing without gap notices yields none. */
static void encode_gap(struct shard *shard, struct outbox *box, struct run *run)
{
    struct bytes text = {0};
    int err = shard->ports.encode_gap(shard->ports.ctx, run->gap, &text);
    struct control *control = NULL;

    if (!err && text.len) {
        control = mem_try_alloc(sizeof(*control) + text.len);
    }
    release_run(shard, run);
    if (control) {
        control->len = (uint32_t)text.len;
        memcpy(control->data, text.data, text.len);
        *run = (struct run){.control = control, .kind = RUN_CONTROL};
        box->control_bytes += control->len;
    }
    bytes_fini(&text);
}

/* The bytes of a run that are still to be sent. */
static struct iovec run_span(const struct outbox *box, const struct run *run, bool is_head)
{
    if (run->kind == RUN_CONTROL) {
        return (struct iovec){run->control->data + run->first, run->control->len - run->first};
    }
    uint32_t start = batch_start(run->batch, run->first) + (is_head ? box->skip : 0);
    uint32_t end = run->batch->messages[run->first + run->count - 1].end;
    return (struct iovec){run->batch->data.data + start, end - start};
}

static int gather(struct shard *shard, struct outbox *box, struct iovec *iov, size_t *ret_total)
{
    int count = 0;
    size_t total = 0;
    bool first = true;

    for (uint32_t i = box->head; i < box->tail; i++) {
        struct run *run = &box->runs[i];
        if (run->kind == RUN_GAP) {
            encode_gap(shard, box, run);
        }
        if (run->kind == RUN_HOLE) {
            continue;
        }
        struct iovec span = run_span(box, run, first);
        first = false;
        if (count == FLUSH_SPANS_MAX || (count && total + span.iov_len > FLUSH_BYTES_MAX)) {
            break;
        }
        iov[count++] = span;
        total += span.iov_len;
    }
    *ret_total = total;
    return count;
}

/* Whole messages leave the run; what is left of the next one is remembered as skip. */
static void advance_batch(
    struct shard *shard, struct subscriber *sub, struct run *run, size_t *taken)
{
    struct outbox *box = sub->outbox;

    while (run->count) {
        uint32_t left = batch_bytes(run->batch, run->first, run->first + 1) - box->skip;
        if (*taken < left) {
            box->skip += (uint32_t)*taken;
            *taken = 0;
            return;
        }
        *taken -= left;
        struct run one = {.batch = run->batch, .first = run->first, .count = 1};
        count_queued(shard, box, &one, -1);
        box->skip = 0;
        run->first += 1;
        run->count -= 1;
        sub->delivered += 1;
        shard->stats.books.delivered += 1;
        shard->ns_stats[run->batch->ns].delivered += 1;
    }
    release_run(shard, run);
}

static void advance(struct shard *shard, struct subscriber *sub, size_t taken)
{
    struct outbox *box = sub->outbox;

    while (box->head < box->tail) {
        struct run *run = &box->runs[box->head];
        if (run->kind == RUN_BATCH) {
            advance_batch(shard, sub, run, &taken);
        } else if (run->kind == RUN_CONTROL) {
            size_t left = run->control->len - run->first;
            size_t part = taken < left ? taken : left;
            run->first += (uint32_t)part;
            box->control_bytes -= (uint32_t)part;
            taken -= part;
            if (part == left) {
                release_run(shard, run);
            }
        }
        if (run->kind != RUN_HOLE) {
            return;
        }
        box->head += 1;
    }
}

/* A run that is partly written stands alone, so that the policy may evict what follows it. */
static int isolate_head(struct outbox *box)
{
    struct run *run = &box->runs[box->head];

    if (!box->skip || run->kind != RUN_BATCH || run->count == 1) {
        return 0;
    }
    struct run rest = *run;
    rest.first += 1;
    rest.count -= 1;
    int err = reserve_run(box);
    if (err) {
        return err;
    }
    insert_run(box, box->head + 1, rest);
    batch_ref(rest.batch);
    box->runs[box->head].count = 1;
    return 0;
}

static void outbox_free(struct shard *shard, struct subscriber *sub)
{
    struct outbox *box = sub->outbox;

    for (uint32_t i = box->head; i < box->tail; i++) {
        release_run(shard, &box->runs[i]);
    }
    mem_free(box->runs);
    mem_free(box->conflation);
    mem_free(box);
    sub->outbox = NULL;
    shard_update_direct(sub);
}

int outbox_flush(struct shard *shard, struct subscriber *sub)
{
    struct outbox *box = sub->outbox;
    struct iovec iov[FLUSH_SPANS_MAX];
    size_t total;

    if (!box) {
        return 1;
    }
    int count = gather(shard, box, iov, &total);
    if (count) {
        long taken = shard->ports.write(shard->ports.ctx, sub, iov, count);
        shard->stats.spans += 1;
        if (taken == -EAGAIN) {
            taken = 0;
        }
        if (taken < 0) {
            return (int)taken;
        }
        advance(shard, sub, (size_t)taken);
        if ((size_t)taken < total) {
            sub->flags |= SUB_BLOCKED;
            return isolate_head(box);
        }
    } else {
        advance(shard, sub, 0); /* Only holes are left. */
    }
    if (box->head < box->tail) {
        shard_mark_dirty(shard, sub);
        return 0;
    }
    outbox_free(shard, sub);
    return 1;
}

void outbox_drop(struct shard *shard, struct subscriber *sub, uint8_t reason)
{
    struct outbox *box = sub->outbox;

    if (!box) {
        return;
    }
    shard->stats.books.queued -= box->messages;
    for (uint32_t i = box->head; i < box->tail; i++) {
        const struct run *run = &box->runs[i];
        if (run->kind == RUN_BATCH) {
            shard_count_drop(shard, sub, run->batch->ns, reason, run->count);
        }
    }
    box->messages = 0;
    outbox_free(shard, sub);
}
