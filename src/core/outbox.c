#include "core/outbox.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/channel.h"
#include "core/conflation.h"
#include "core/outbox_own.h"
#include "core/shard.h"

enum { RUNS_MIN = 4 };

struct outbox *outbox_get(struct subscriber *sub)
{
    if (!sub->outbox) {
        sub->outbox = mem_try_zalloc(sizeof(*sub->outbox));
        shard_update_direct(sub);
    }
    return sub->outbox;
}

/* The same key in another channel, or in another framing of it, is another thing. 0: no key. */
uint32_t run_key(const struct batch *batch, uint32_t message)
{
    uint64_t mixed = batch->channel->hash + batch->framing;

    if ((batch->flags & BATCH_BUNDLES) || !batch->messages[message].key) {
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
        uint32_t key = single ? run_key(run->batch, run->first) : 0;
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
int run_reserve(struct outbox *box)
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

/* Puts a run in front of the one at `place`; there must be room (run_reserve()). Those behind it keep
 * their numbers; those before it are now found one place too late, see drop_conflated(). */
void run_insert(struct outbox *box, uint32_t place, struct run run)
{
    CHECK(box->tail < box->cap);
    memmove(box->runs + place + 1, box->runs + place, (box->tail - place) * sizeof(run));
    box->runs[place] = run;
    box->tail += 1;
    box->run_base -= 1;
    box->inserted += 1;
}

void run_release(struct shard *shard, struct run *run)
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

void run_count(struct shard *shard, struct outbox *box, const struct run *run, int sign)
{
    uint32_t bytes = batch_bytes(run->batch, run->first, run->first + run->count);

    box->messages += (uint32_t)(sign * (int)run->count);
    box->message_bytes += (uint32_t)sign * bytes;
    shard->stats.books.queued += (uint64_t)(int64_t)(sign * (int)run->count);
}

/* ---- gaps ---- */

/* Extends a gap of the same channel among the gaps that stand right before `place` (an index into
 * runs). No message lies between them, so what they skip together was dropped too; and there is one
 * for each channel however drops of several channels alternate. It keeps its first reason. */
static bool extend_gap(struct outbox *box, uint32_t place, const struct channel *channel,
    uint8_t framing, uint64_t from, uint64_t to)
{
    while (place > box->head && run_is_quiet(&box->runs[place - 1])) {
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
void run_merge_gaps(struct shard *shard, struct outbox *box, uint32_t place)
{
    for (; place < box->tail && run_is_quiet(&box->runs[place]); place++) {
        struct run *run = &box->runs[place];
        if (run->kind == RUN_GAP && extend_gap(box, place, run->gap->channel, run->gap->framing,
                                        run->gap->from, run->gap->to)) {
            run_release(shard, run);
        }
    }
}

/* A gap in front of the run at `place`, or in its stead when it is a hole. One that cannot be told
 * for want of memory is still in the books. There must be room for a run. */
void run_add_gap(struct outbox *box, uint32_t place, struct channel *channel, uint8_t framing,
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
        run_insert(box, place, run);
    }
    channel->batch_count += 1;
}

void outbox_gap(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, uint64_t from, uint64_t to, uint8_t reason)
{
    struct outbox *box = outbox_get(sub);

    if (box && run_reserve(box) == 0) {
        run_add_gap(box, box->tail, channel, framing, reason, from, to);
    }
    if (box) {
        shard_mark_dirty(shard, sub);
    }
    if (sub->flags & SUB_WATCHED) {
        shard->ports.queued(shard->ports.ctx, sub, channel, to);
    }
}

/* ---- runs from outside ---- */

int run_append(
    struct shard *shard, struct outbox *box, struct batch *batch, uint32_t first, uint32_t count)
{
    struct run run = {.batch = batch, .first = first, .count = (uint16_t)count, .kind = RUN_BATCH};
    int err = run_reserve(box);

    if (err) {
        return err;
    }
    box->runs[box->tail++] = run;
    batch_ref(batch);
    run_count(shard, box, &run, 1);
    return 0;
}

int outbox_restore(struct shard *shard, struct subscriber *sub, struct batch *batch)
{
    struct outbox *box = outbox_get(sub);
    int err = box ? run_append(shard, box, batch, 0, batch->count) : -ENOMEM;
    uint32_t key = batch->count == 1 ? run_key(batch, 0) : 0, old;

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

    if (!box || run_reserve(box) != 0) {
        return -ENOMEM;
    }
    struct control *control = mem_try_alloc(sizeof(*control) + len);
    if (!control) {
        return -ENOMEM;
    }
    control->len = (uint32_t)len;
    memcpy(control->data, data, len);
    box->runs[box->tail++] = (struct run){.control = control, .kind = RUN_CONTROL};
    *outbox_control_counter(box, len) += (uint32_t)len;
    shard_mark_dirty(shard, sub);
    return 0;
}

bool outbox_control_fits(const struct subscriber *sub, size_t len)
{
    const struct outbox *box = sub->outbox;

    if (len > OUTBOX_CONTROL_LARGE) {
        return !box || box->large_bytes == 0;
    }
    return !box || box->control_bytes + len <= OUTBOX_CONTROL_BYTES_MAX;
}

int outbox_control(struct shard *shard, struct subscriber *sub, const void *data, size_t len)
{
    if (!outbox_control_fits(sub, len)) {
        return -ENOBUFS;
    }
    return outbox_restore_control(shard, sub, data, len);
}

void outbox_free(struct shard *shard, struct subscriber *sub)
{
    struct outbox *box = sub->outbox;

    for (uint32_t i = box->head; i < box->tail; i++) {
        run_release(shard, &box->runs[i]);
    }
    mem_free(box->runs);
    mem_free(box->conflation);
    mem_free(box);
    sub->outbox = NULL;
    shard_update_direct(sub);
}

/* May part of the head be out? Of control bytes nobody knows: what was sent of them at once was never
 * queued. */
static bool is_begun(const struct outbox *box)
{
    const struct run *head = &box->runs[box->head];

    return box->head < box->tail &&
           (head->kind == RUN_BATCH ? box->skip > 0 : head->kind == RUN_CONTROL);
}

static void drop_run(struct shard *shard, struct subscriber *sub, struct run *run, uint8_t reason)
{
    struct outbox *box = sub->outbox;

    if (run->kind == RUN_BATCH) {
        run_count(shard, box, run, -1);
        shard_count_drop(shard, sub, run->batch->ns, reason, run->count);
    } else if (run->kind == RUN_CONTROL) {
        *outbox_control_counter(box, run->control->len) -= run->control->len - run->first;
    }
    run_release(shard, run);
}

void outbox_drop_rest(struct shard *shard, struct subscriber *sub, uint8_t reason)
{
    struct outbox *box = sub->outbox;

    if (!box || !is_begun(box)) {
        outbox_drop(shard, sub, reason);
        return;
    }
    struct run *head = &box->runs[box->head];
    if (head->kind == RUN_BATCH && head->count > 1) {
        struct run rest = {.batch = batch_ref(head->batch),
            .first = head->first + 1,
            .count = (uint16_t)(head->count - 1),
            .kind = RUN_BATCH};
        head->count = 1;
        drop_run(shard, sub, &rest, reason);
    }
    while (box->tail > box->head + 1) {
        drop_run(shard, sub, &box->runs[--box->tail], reason);
    }
    mem_free(box->conflation);
    box->conflation = NULL;
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
