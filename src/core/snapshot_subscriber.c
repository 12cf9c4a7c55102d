#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/batch.h"
#include "core/channel.h"
#include "core/filter.h"
#include "core/name.h"
#include "core/outbox.h"
#include "core/shard.h"
#include "core/snapshot.h"

enum { SUBSCRIPTION_BYTES_MIN = 11, ASKED_BYTES_MIN = 37, RUN_BYTES_MIN = 5, MESSAGE_BYTES = 24 };

/* ---- export ---- */

static void pack_batch_run(const struct shard *shard, const struct run *run, struct pack *out)
{
    const struct batch *batch = run->batch;
    uint32_t start = batch_start(batch, run->first);

    pack_span(out, channel_name(batch->channel));
    pack_u8(out, batch->framing);
    pack_u8(out, batch->flags);
    pack_u32(out, run->count);
    for (uint32_t i = run->first; i < run->first + run->count; i++) {
        pack_u64(out, batch->messages[i].offset);
        pack_u64(out, snapshot_age(shard, batch->messages[i].time_ns));
        pack_u32(out, batch_bytes(batch, i, i + 1));
        pack_u32(out, batch->messages[i].key);
    }
    pack_span(out,
        span_of(batch->data.data + start, batch_bytes(batch, run->first, run->first + run->count)));
}

static void pack_run(const struct shard *shard, const struct run *run, struct pack *out)
{
    pack_u8(out, run->kind);
    switch ((enum run_kind)run->kind) {
    case RUN_BATCH:
        pack_batch_run(shard, run, out);
        break;
    case RUN_CONTROL:
        pack_span(out, span_of(run->control->data + run->first, run->control->len - run->first));
        break;
    case RUN_GAP:
        pack_span(out, channel_name(run->gap->channel));
        pack_u64(out, run->gap->from);
        pack_u64(out, run->gap->to);
        pack_u8(out, run->gap->framing);
        pack_u8(out, run->gap->reason);
        break;
    case RUN_HOLE:
        break;
    }
}

static void pack_outbox(const struct shard *shard, const struct outbox *box, struct pack *out)
{
    uint32_t count = 0;

    for (uint32_t i = box ? box->head : 0; box && i < box->tail; i++) {
        count += box->runs[i].kind != RUN_HOLE;
    }
    pack_u32(out, count);
    pack_u32(out, box ? box->skip : 0);
    for (uint32_t i = box ? box->head : 0; box && i < box->tail; i++) {
        if (box->runs[i].kind != RUN_HOLE) {
            pack_run(shard, &box->runs[i], out);
        }
    }
}

/* What it wants beyond the framing. */
static void pack_view(struct pack *out, struct span types, uint16_t batch_ms)
{
    pack_span(out, types);
    pack_u16(out, batch_ms);
}

static void unpack_view(struct unpack *in, struct span *ret_types, uint16_t *ret_batch_ms)
{
    *ret_types = unpack_span(in);
    *ret_batch_ms = unpack_u16(in);
    if (!in->failed && (filter_check(*ret_types) || *ret_batch_ms > BATCH_MS_MAX)) {
        unpack_fail(in);
    }
}

static void pack_asked(void *ctx, const struct shard_asked *asked)
{
    struct pack *out = ctx;

    pack_u64(out, asked->request_id);
    pack_span(out, asked->name);
    pack_u8(out, asked->framing);
    pack_u8(out, asked->continued);
    pack_view(out, asked->types, asked->batch_ms);
    pack_u8(out, asked->since.kind);
    pack_u64(out, asked->since.cursor.epoch);
    pack_u64(out, asked->since.cursor.offset);
}

void snapshot_export_subscriber(struct shard *shard, struct subscriber *sub, struct pack *out)
{
    struct books books = subscriber_books(shard, sub);

    CHECK(books.pending == 0 && !(sub->flags & SUB_DOOMED));
    pack_u64(out, books.accepted);
    pack_u64(out, books.delivered);
    pack_u8(out, sub->dropped ? DROP_REASONS : 0);
    for (int i = 0; sub->dropped && i < DROP_REASONS; i++) {
        pack_u64(out, books.dropped[i]);
    }
    pack_u16(out, sub->flags & SUB_DROPPING);
    pack_u32(out, sub->subscription_count);
    for (uint32_t i = 0; i < sub->subscription_count; i++) {
        const struct class *class = subscriber_at(sub, i)->class;
        pack_span(out, channel_name(class_channel(class)));
        pack_u8(out, class->framing);
        pack_view(
            out, view_types(&shard->views, class->view), view_batch_ms(&shard->views, class->view));
    }
    pack_outbox(shard, sub->outbox, out);
    pack_u32(out, sub->pending_count);
    shard_each_pending(shard, sub, pack_asked, out);
}

/* ---- import ---- */

/* Home, which may be anywhere now, must go on sending. */
static void tell_home(struct shard *shard, const struct channel *channel)
{
    struct mail_unsubscribe *mail = mem_alloc(sizeof(*mail) + channel->name_len);

    *mail = (struct mail_unsubscribe){
        .mail = {.kind = MAIL_LISTEN}, .hash = channel->hash, .name_len = channel->name_len};
    memcpy(mail->name, channel->name, channel->name_len);
    shard_post(shard, shard_home_of(shard, channel->hash), &mail->mail);
}

/* The channel's local half, held by batch_count until channel_drop(). NULL: no memory, or no name. */
static struct channel *channel_hold(struct shard *shard, struct span name, struct unpack *in)
{
    if (in->failed || name_check(name)) {
        unpack_fail(in);
        return NULL;
    }
    struct channel *channel = channel_get(shard, shard_hash(shard, name), name);
    if (channel) {
        channel->batch_count += 1;
    }
    return channel;
}

static void channel_drop(struct shard *shard, struct channel *channel)
{
    channel->batch_count -= 1;
    channel_release(shard, channel);
}

static int hold_error(const struct unpack *in)
{
    return in->failed ? -EBADMSG : -ENOMEM;
}

static int unpack_subscription(struct shard *shard, struct subscriber *sub, struct unpack *in)
{
    struct span name = unpack_span(in);
    uint8_t framing = unpack_u8(in);
    struct span types;
    uint16_t batch_ms;

    unpack_view(in, &types, &batch_ms);
    struct channel *channel = channel_hold(shard, name, in);
    if (!channel) {
        return hold_error(in);
    }
    bool first = channel->first.place == CLASS_UNUSED && !channel->first.next;
    int view = view_get(&shard->views, &shard->settings->hash_key, types, batch_ms);
    struct class *class = view < 0 ? NULL : class_get(shard, channel, framing, (uint16_t)view);
    if (view > 0) {
        view_unref(&shard->views, (uint16_t)view); /* The class has its own. */
    }
    int err = class ? class_join(shard, class, sub) : -ENOMEM;
    if (err && class) {
        class_release(shard, class);
    }
    if (!err && first) {
        tell_home(shard, channel);
    }
    channel_drop(shard, channel);
    return err;
}

static int unpack_asked(struct shard *shard, struct subscriber *sub, struct unpack *in,
    snapshot_asked_fn *asked, void *ctx)
{
    uint64_t former_id = unpack_u64(in), id;
    struct shard_asked asking = {.name = unpack_span(in)};

    asking.framing = unpack_u8(in);
    asking.continued = unpack_u8(in);
    unpack_view(in, &asking.types, &asking.batch_ms);
    asking.since.kind = unpack_u8(in);
    asking.since.cursor.epoch = unpack_u64(in);
    asking.since.cursor.offset = unpack_u64(in);
    bool sound =
        asking.since.kind <= SINCE_BAD && (!asking.continued || asking.since.kind == SINCE_CURSOR);
    if (in->failed || name_check(asking.name) || !sound) {
        unpack_fail(in);
        return -EBADMSG;
    }
    int err = shard_subscribe_from(shard, sub, &asking, &id);
    if (!err && !asking.continued) {
        asked(ctx, former_id, id);
    }
    return err == -EEXIST ? -EBADMSG : err;
}

static int unpack_message(struct shard *shard, struct batch *batch, struct unpack *in)
{
    struct batch_message message = {.offset = unpack_u64(in)};

    message.time_ns = snapshot_time(shard, unpack_u64(in));
    message.end = batch_start(batch, batch->count) + unpack_u32(in);
    message.key = unpack_u32(in);
    if (in->failed || message.end <= batch_start(batch, batch->count)) {
        unpack_fail(in);
        return -EBADMSG;
    }
    int err = batch_reserve_message(batch);
    if (!err) {
        batch->messages[batch->count++] = message;
    }
    return err;
}

/* Every run becomes a batch of its own; how they were shared does not move. */
static int unpack_batch_run(struct shard *shard, struct subscriber *sub, struct unpack *in)
{
    struct span name = unpack_span(in);
    struct channel *channel = channel_hold(shard, name, in);
    struct batch *batch = channel ? batch_get(&shard->batches) : NULL;

    if (!batch) {
        if (channel) {
            channel_drop(shard, channel);
        }
        return hold_error(in);
    }
    batch->channel = channel; /* The hold is the batch's now. */
    batch->ns = channel->ns;
    batch->framing = unpack_u8(in);
    batch->flags = unpack_u8(in);
    uint32_t count = unpack_count(in, MESSAGE_BYTES);
    int err = count == 0 || count > BATCH_MESSAGES_MAX ? -EBADMSG : unpack_error(in);
    for (uint32_t i = 0; !err && i < count; i++) {
        err = unpack_message(shard, batch, in);
    }
    struct span data = unpack_span(in);
    if (!err && data.len != batch_start(batch, batch->count)) {
        err = -EBADMSG;
    }
    err = err ? err : bytes_append(&batch->data, data.data, data.len);
    err = err ? err : outbox_restore(shard, sub, batch);
    batch_unref(shard, batch);
    return err;
}

static int unpack_gap(struct shard *shard, struct subscriber *sub, struct unpack *in)
{
    struct span name = unpack_span(in);
    uint64_t from = unpack_u64(in), to = unpack_u64(in);
    uint8_t framing = unpack_u8(in), reason = unpack_u8(in);
    struct channel *channel = channel_hold(shard, name, in);

    if (!channel) {
        return hold_error(in);
    }
    if (reason < DROP_REASONS && from <= to) {
        outbox_gap(shard, sub, channel, framing, from, to, reason);
    } else {
        unpack_fail(in);
    }
    channel_drop(shard, channel);
    return unpack_error(in);
}

static int unpack_run(struct shard *shard, struct subscriber *sub, struct unpack *in)
{
    switch (unpack_u8(in)) {
    case RUN_BATCH:
        return unpack_batch_run(shard, sub, in);
    case RUN_CONTROL: {
        struct span data = unpack_span(in);
        return in->failed ? -EBADMSG : outbox_restore_control(shard, sub, data.data, data.len);
    }
    case RUN_GAP:
        return unpack_gap(shard, sub, in);
    default:
        unpack_fail(in);
        return -EBADMSG;
    }
}

static int unpack_outbox(struct shard *shard, struct subscriber *sub, struct unpack *in)
{
    uint32_t count = unpack_count(in, RUN_BYTES_MIN), skip = unpack_u32(in);
    int err = unpack_error(in);

    for (uint32_t i = 0; !err && i < count; i++) {
        err = unpack_run(shard, sub, in);
        if (!err && i == 0 && skip) {
            err = outbox_restore_skip(sub, skip);
        }
    }
    if (!err && sub->outbox) {
        shard_mark_dirty(shard, sub);
    }
    return err;
}

static void unpack_books(struct subscriber *sub, struct unpack *in)
{
    sub->accepted = unpack_u64(in);
    sub->delivered = unpack_u64(in);
    uint8_t reasons = unpack_u8(in);
    if (reasons && reasons != DROP_REASONS) {
        unpack_fail(in);
        return;
    }
    if (reasons) {
        sub->dropped = mem_zalloc(DROP_REASONS * sizeof(*sub->dropped));
    }
    for (uint8_t i = 0; i < reasons; i++) {
        sub->dropped[i] = unpack_u64(in);
    }
    sub->flags |= unpack_u16(in) & SUB_DROPPING;
}

int snapshot_import_subscriber(struct shard *shard, struct subscriber *sub, struct unpack *in,
    snapshot_asked_fn *asked, void *ctx)
{
    unpack_books(sub, in);
    uint32_t count = unpack_count(in, SUBSCRIPTION_BYTES_MIN);
    int err = unpack_error(in);

    for (uint32_t i = 0; !err && i < count; i++) {
        err = unpack_subscription(shard, sub, in);
    }
    err = err ? err : unpack_outbox(shard, sub, in);
    count = err ? 0 : unpack_count(in, ASKED_BYTES_MIN);
    for (uint32_t i = 0; !err && i < count; i++) {
        err = unpack_asked(shard, sub, in, asked, ctx);
    }
    err = err ? err : unpack_error(in);
    struct books books = subscriber_books(shard, sub);
    return !err && books_difference(&books) != 0 ? -EBADMSG : err;
}
