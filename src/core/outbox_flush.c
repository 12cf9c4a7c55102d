/* Flushing: an outbox's runs as spans for the kernel, and what it took of them. */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "core/batch.h"
#include "core/channel.h"
#include "core/outbox.h"
#include "core/outbox_own.h"
#include "core/shard.h"

enum {
    FLUSH_SPANS_MAX = 64,
    FLUSH_BYTES_MAX = 256 * 1024, /* A turn: one connection must not hold up the others. */
};

/* Gaps become control bytes when their turn comes; a framing without gap notices yields none. */
static void encode_gap(struct shard *shard, struct outbox *box, struct run *run)
{
    struct bytes text = {0};
    int err = shard->ports.encode_gap(shard->ports.ctx, run->gap, &text);
    struct control *control = NULL;

    if (!err && text.len) {
        control = mem_try_alloc(sizeof(*control) + text.len);
    }
    run_release(shard, run);
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
        run_count(shard, box, &one, -1);
        shard_count_latency(shard, run->batch, run->first, 1);
        box->skip = 0;
        run->first += 1;
        run->count -= 1;
        sub->delivered += 1;
        shard->stats.books.delivered += 1;
        shard->ns_stats[run->batch->ns].delivered += 1;
    }
    run_release(shard, run);
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
            *outbox_control_counter(box, run->control->len) -= (uint32_t)part;
            taken -= part;
            if (part == left) {
                run_release(shard, run);
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
    int err = run_reserve(box);
    if (err) {
        return err;
    }
    run_insert(box, box->head + 1, rest);
    batch_ref(rest.batch);
    box->runs[box->head].count = 1;
    return 0;
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
