#include "core/shard.h"

#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/channel.h"
#include "core/filter.h"
#include "core/lend.h"

int shard_create(uint16_t index, const struct core_settings *settings,
    const struct core_ports *ports, struct slab *subscribers, struct shard **ret_shard)
{
    if (settings->shard_count == 0 || settings->shard_count > CORE_SHARDS_MAX ||
        index >= settings->shard_count || settings->ns_count == 0) {
        return -EINVAL;
    }
    struct shard *shard = mem_zalloc_aligned(sizeof(*shard));
    shard->index = index;
    shard->settings = settings;
    shard->ports = *ports;
    shard->subscribers = subscribers;
    shard->dirty = SLAB_NONE;
    shard->serial = shard->serial_all = settings->serial;
    slab_init(&shard->flows, sizeof(struct flow));
    *ret_shard = shard;
    return 0;
}

void shard_destroy(struct shard *shard)
{
    if (!shard) {
        return;
    }
    CHECK(!shard->flow_first && !shard->self.first && !shard->held_first);
    home_fini(shard);
    size_t cursor = 0;
    struct table_item *item;
    while ((item = table_next(&shard->channels, &cursor))) {
        mem_free(item);
    }
    table_fini(&shard->channels);
    cursor = 0;
    while ((item = table_next(&shard->pending, &cursor))) {
        mem_free(item);
    }
    table_fini(&shard->pending);
    slab_fini(&shard->flows);
    batch_pool_fini(&shard->batches);
    views_fini(&shard->views);
    bytes_fini(&shard->type_scratch);
    mem_free(shard->doomed);
    mem_free(shard);
}

void shard_reload(struct shard *shard, const struct core_settings *settings)
{
    CHECK(settings->shard_count == shard->settings->shard_count &&
          settings->ns_count >= shard->settings->ns_count);
    shard->settings = settings;
}

void shard_begin_turn(struct shard *shard, uint64_t now_ns)
{
    shard->now_ns = now_ns;
}

uint64_t shard_hash(const struct shard *shard, struct span name)
{
    return hash_bytes(&shard->settings->hash_key, name.data, name.len);
}

/* ---- letters ---- */

void shard_post(struct shard *shard, uint16_t to, struct mail *mail)
{
    mail->from = shard->index;
    if (to == shard->index) {
        mail_chain_add(&shard->self, mail);
    } else {
        shard->ports.post(shard->ports.ctx, to, mail);
    }
}

/* Back to its home, unless our batches are so full that home should feel it. */
static void return_chunk(struct shard *shard, struct mail *mail)
{
    if (shard->unswept_bytes <= shard->settings->overload_bytes) {
        shard_post(shard, mail->from, mail);
        return;
    }
    mail->next = NULL;
    if (shard->held_last) {
        shard->held_last->next = mail;
    } else {
        shard->held_first = mail;
    }
    shard->held_last = mail;
}

static void return_held(struct shard *shard)
{
    while (shard->held_first && shard->unswept_bytes <= shard->settings->overload_bytes / 2) {
        struct mail *mail = shard->held_first;
        shard->held_first = mail->next;
        if (!shard->held_first) {
            shard->held_last = NULL;
        }
        shard_post(shard, mail->from, mail);
    }
}

/* The type is looked for when the first class wants it. */
static void append_to_classes(
    struct shard *shard, struct channel *channel, const struct publication *pub)
{
    struct span type = {0};
    bool typed = false;

    for (struct class *class = &channel->first; class; class = class->next) {
        struct span types = view_types(&shard->views, class->view);
        if (types.len && !typed) {
            type = filter_type(publication_payload(pub), &shard->type_scratch);
            typed = true;
        }
        if (class->place != CLASS_UNUSED && (types.len == 0 || filter_match(types, type))) {
            class_append(shard, class, pub);
        }
        if (types.len && !(pub->flags & PUBLICATION_EPHEMERAL)) {
            class_pass(shard, class, (struct cursor){pub->epoch, pub->offset});
        }
    }
}

static void receive_chunk(struct shard *shard, struct mail_chunk *chunk)
{
    for (uint32_t i = 0; i < chunk->count; i++) {
        const struct publication *pub = chunk->pubs[i];
        struct channel *channel = channel_find(shard, pub->hash, publication_name(pub));
        if (!channel) {
            continue;
        }
        append_to_classes(shard, channel, pub);
    }
    chunk->mail.kind = MAIL_CHUNK_BACK;
    return_chunk(shard, &chunk->mail);
}

static void receive_behind(struct shard *shard, struct mail_behind *mail)
{
    struct channel *channel = channel_find(shard, mail->hash, span_of(mail->name, mail->name_len));

    if (channel && channel->first.place != CLASS_UNUSED) {
        class_append_lost(shard, &channel->first, mail->from, mail->to, mail->count);
    }
    for (struct class *class = channel ? channel->first.next : NULL; class; class = class->next) {
        class_append_lost(shard, class, mail->from, mail->to, mail->count);
    }
    mem_free(mail);
}

void shard_receive(struct shard *shard, struct mail *mail)
{
    switch ((enum mail_kind)mail->kind) {
    case MAIL_PUBLISH:
        home_publish(shard, (struct publication *)mail);
        break;
    case MAIL_PUBLISHED: {
        struct mail_published *answer = (struct mail_published *)mail;
        shard->ports.published(shard->ports.ctx, &answer->result);
        mem_free(answer);
        break;
    }
    case MAIL_CREDIT: {
        struct mail_credit *credit = (struct mail_credit *)mail;
        shard->ingest_in_flight[mail->from] -= credit->bytes;
        mem_free(credit);
        break;
    }
    case MAIL_CHUNK:
        receive_chunk(shard, (struct mail_chunk *)mail);
        break;
    case MAIL_CHUNK_BACK:
        lend_chunk_back(shard, (struct mail_chunk *)mail);
        break;
    case MAIL_BEHIND:
        receive_behind(shard, (struct mail_behind *)mail);
        break;
    case MAIL_SUBSCRIBE:
        home_subscribe(shard, (struct mail_subscribe *)mail);
        break;
    case MAIL_SUBSCRIBED:
        shard_hear_subscribed(shard, (struct mail_subscribe *)mail);
        break;
    case MAIL_REPLAY_BACK:
        home_replay_back(shard, (struct mail_subscribe *)mail);
        break;
    case MAIL_UNSUBSCRIBE:
        home_unsubscribe(shard, (struct mail_unsubscribe *)mail);
        break;
    case MAIL_LISTEN:
        home_listen(shard, (struct mail_unsubscribe *)mail);
        break;
    case MAIL_EPOCH:
        shard_hear_epoch(shard, (struct mail_epoch *)mail);
        break;
    case MAIL_STORE_APPEND:
        durable_hear_append(shard, mail);
        break;
    case MAIL_STORE_READ:
        durable_hear_read(shard, mail);
        break;
    case MAIL_STORE_CLEAR:
        holes_hear_clear(shard, mail);
        break;
    case MAIL_SHARED_READ:
        shared_hear_read(shard, mail);
        break;
    case MAIL_CALL: {
        struct mail_call *call = (struct mail_call *)mail;
        call->fn(shard, call);
        break;
    }
    }
}

void shard_drain(struct shard *shard)
{
    for (;;) {
        struct mail *mail = shard->self.first;
        if (!mail) {
            durable_post_all(shard);
            lend_post_all(shard);
            if (!shard->self.first) {
                return;
            }
            continue;
        }
        shard->self = (struct mail_chain){0};
        while (mail) {
            struct mail *next = mail->next;
            shard_receive(shard, mail);
            mail = next;
        }
    }
}

/* ---- publishing ---- */

bool shard_busy(const struct shard *shard, struct span name)
{
    uint16_t home = shard_home_of(shard, shard_hash(shard, name));
    uint64_t bound = shard->settings->overload_bytes;

    if (home != shard->index) {
        return shard->ingest_in_flight[home] > bound;
    }
    for (uint16_t i = 0; i < shard->settings->shard_count; i++) {
        if (shard->peers[i].in_flight > bound) {
            return true;
        }
    }
    return false;
}

int shard_publish(struct shard *shard, const struct publish_order *order)
{
    uint64_t hash = shard_hash(shard, order->name);
    uint16_t home = shard_home_of(shard, hash);

    if (shard->ingest_in_flight[home] > shard->settings->overload_bytes) {
        shard->stats.refused += 1;
        return -EBUSY;
    }
    struct publication *pub = publication_create(order, hash, shard->now_ns);
    if (!pub) {
        return -ENOMEM;
    }
    pub->mail.kind = MAIL_PUBLISH;
    if (home != shard->index) {
        shard->ingest_in_flight[home] += publication_size(pub);
    }
    shard_post(shard, home, &pub->mail);
    return 0;
}

/* ---- connections ---- */

void shard_adopt(struct shard *shard, struct subscriber *sub, uint32_t slot, uint32_t generation,
    int32_t handle, bool plain)
{
    (void)shard;
    sub->slot = slot;
    sub->generation = generation;
    sub->handle = handle;
    sub->flags = plain ? SUB_PLAIN : 0;
    sub->next_dirty = SLAB_NONE;
}

void shard_update_direct(struct subscriber *sub)
{
    bool direct = !sub->outbox && sub->subscription_count == 1 && (sub->flags & SUB_PLAIN) &&
                  !(sub->flags & (SUB_DOOMED | SUB_WATCHED));

    sub->flags = (uint16_t)(direct ? sub->flags | SUB_DIRECT : sub->flags & ~SUB_DIRECT);
}

void shard_watch(struct subscriber *sub, bool watched)
{
    sub->flags = (uint16_t)(watched ? sub->flags | SUB_WATCHED : sub->flags & ~SUB_WATCHED);
    shard_update_direct(sub);
}

void shard_mark_dirty(struct shard *shard, struct subscriber *sub)
{
    if (!(sub->flags & (SUB_DIRTY | SUB_BLOCKED | SUB_DOOMED))) {
        sub->flags |= SUB_DIRTY;
        sub->prev_dirty = SLAB_NONE;
        sub->next_dirty = shard->dirty;
        if (shard->dirty != SLAB_NONE) {
            shard_subscriber(shard, shard->dirty)->prev_dirty = sub->slot;
        }
        shard->dirty = sub->slot;
    }
}

void shard_count_drop(
    struct shard *shard, struct subscriber *sub, uint8_t ns, uint8_t reason, uint64_t count)
{
    if (count == 0) {
        return;
    }
    shard->stats.books.dropped[reason] += count;
    shard->ns_stats[ns].dropped[reason] += count;
    if (!sub->dropped) {
        sub->dropped = mem_zalloc(DROP_REASONS * sizeof(*sub->dropped));
    }
    sub->dropped[reason] += count;
    if ((reason == DROP_SLOW || reason == DROP_NO_VICTIM) && !(sub->flags & SUB_DROPPING)) {
        sub->flags |= SUB_DROPPING;
        shard->ports.slow(shard->ports.ctx, sub, true);
    }
}

void shard_doom(struct shard *shard, struct subscriber *sub)
{
    if (sub->flags & SUB_DOOMED) {
        return;
    }
    sub->flags |= SUB_DOOMED;
    shard_update_direct(sub);
    if (shard->doomed_count == shard->doomed_cap) {
        shard->doomed_cap = shard->doomed_cap ? shard->doomed_cap * 2 : 64;
        shard->doomed = mem_realloc(shard->doomed, shard->doomed_cap * sizeof(*shard->doomed));
    }
    shard->doomed[shard->doomed_count++] = sub->slot;
}

/* Never inside flush_dirty(), which takes the list apart. */
static void forget_dirty(struct shard *shard, struct subscriber *sub)
{
    if (!(sub->flags & SUB_DIRTY)) {
        return;
    }
    if (sub->prev_dirty == SLAB_NONE) {
        CHECK(shard->dirty == sub->slot);
        shard->dirty = sub->next_dirty;
    } else {
        shard_subscriber(shard, sub->prev_dirty)->next_dirty = sub->next_dirty;
    }
    if (sub->next_dirty != SLAB_NONE) {
        shard_subscriber(shard, sub->next_dirty)->prev_dirty = sub->prev_dirty;
    }
    sub->flags &= (uint16_t)~SUB_DIRTY;
}

/* From the end, where reap() takes them. */
static void forget_doomed(struct shard *shard, struct subscriber *sub)
{
    for (uint32_t i = shard->doomed_count; (sub->flags & SUB_DOOMED) && i-- > 0;) {
        if (shard->doomed[i] == sub->slot) {
            shard->doomed[i] = shard->doomed[--shard->doomed_count];
            return;
        }
    }
}

bool shard_place(const struct shard *shard, struct subscriber *sub, uint32_t i, uint64_t *ret_hash,
    struct cursor *ret_cursor)
{
    const struct class *class = subscriber_at(sub, i)->class;

    *ret_hash = class_channel(class)->hash;
    return !sub->outbox && class_passed(shard, class, ret_cursor);
}

void shard_leave_all(struct shard *shard, struct subscriber *sub, bool deliver)
{
    while (sub->subscription_count) {
        struct subscription *last = subscriber_at(sub, sub->subscription_count - 1u);
        if (deliver) {
            class_hand_over(shard, last->class, sub);
        }
        class_leave(shard, last->class, sub);
    }
    shard_forget_asked(shard, sub);
}

void shard_close(struct shard *shard, struct subscriber *sub)
{
    shard_leave_all(shard, sub, false);
    outbox_drop(shard, sub, DROP_CLOSED);
    forget_dirty(shard, sub);
    forget_doomed(shard, sub);
    mem_free(sub->dropped);
    sub->dropped = NULL;
}

void shard_reprieve(struct shard *shard, struct subscriber *sub)
{
    CHECK(sub->flags & SUB_DOOMED);
    shard_leave_all(shard, sub, false);
    outbox_drop_rest(shard, sub, DROP_CLOSED);
    forget_doomed(shard, sub);
    sub->flags &= (uint16_t) ~(SUB_DOOMED | SUB_DOOMED_SLOW);
    if (sub->outbox) {
        shard_mark_dirty(shard, sub);
    }
}

int shard_control(struct shard *shard, struct subscriber *sub, const void *data, size_t len)
{
    size_t sent = 0;

    if (sub->flags & SUB_DOOMED) {
        return -EPIPE;
    }
    if (!sub->outbox) {
        struct iovec iov = {(void *)(uintptr_t)data, len};
        long taken = shard->ports.write(shard->ports.ctx, sub, &iov, 1);
        if (taken < 0 && taken != -EAGAIN) {
            return (int)taken;
        }
        sent = taken < 0 ? 0 : (size_t)taken;
        if (sent == len) {
            return 0;
        }
    }
    return outbox_control(shard, sub, (const uint8_t *)data + sent, len - sent);
}

void shard_writable(struct shard *shard, struct subscriber *sub)
{
    sub->flags &= (uint16_t)~SUB_BLOCKED;
    if (sub->outbox) {
        shard_mark_dirty(shard, sub);
    }
}

/* ---- deliveries ---- */

void shard_deliver_queued(
    struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first)
{
    if (sub->flags & SUB_DOOMED) {
        shard_count_drop(shard, sub, batch->ns, DROP_CLOSED, batch->count - first);
        return;
    }
    outbox_push(shard, sub, batch, first);
    shard_mark_dirty(shard, sub);
    if ((sub->flags & (SUB_WATCHED | SUB_DOOMED)) == SUB_WATCHED) {
        uint64_t last = batch->messages[batch->count - 1].offset;
        shard->ports.queued(shard->ports.ctx, sub, batch->channel, last);
    }
}

void shard_deliver_partial(struct shard *shard, struct subscriber *sub, struct batch *batch,
    uint32_t first, long sent, struct slice *slice)
{
    if (sent == -EAGAIN) {
        sent = 0;
    }
    if (sent < 0) {
        shard_count_drop(shard, sub, batch->ns, DROP_CLOSED, batch->count - first);
        shard_doom(shard, sub);
        return;
    }
    for (uint32_t left = (uint32_t)sent; first < batch->count; first++) {
        uint32_t size = batch_bytes(batch, first, first + 1);
        if (left < size) {
            sent = left;
            break;
        }
        left -= size;
        shard_count_latency(shard, batch, first, 1);
        sub->delivered += 1;
        slice->delivered += 1;
    }
    outbox_push_rest(shard, sub, batch, first, (uint32_t)sent);
    sub->flags |= SUB_BLOCKED;
}

static void flush_dirty(struct shard *shard)
{
    uint32_t slot = shard->dirty;

    shard->dirty = SLAB_NONE;
    while (slot != SLAB_NONE) {
        struct subscriber *sub = shard_subscriber(shard, slot);
        slot = sub->next_dirty;
        sub->next_dirty = SLAB_NONE;
        if ((sub->flags & (SUB_WATCHED | SUB_DOOMED)) == SUB_WATCHED) {
            shard->ports.flushing(shard->ports.ctx, sub);
        }
        sub->flags &= (uint16_t)~SUB_DIRTY;
        if (sub->flags & SUB_DOOMED) {
            continue;
        }
        int result = outbox_flush(shard, sub);
        if (result < 0) {
            shard_doom(shard, sub);
            continue;
        }
        if (result == 1 && (sub->flags & SUB_DROPPING)) {
            sub->flags &= (uint16_t)~SUB_DROPPING;
            shard->ports.slow(shard->ports.ctx, sub, false);
        }
        if (result == 1) {
            shard->ports.flushed(shard->ports.ctx, sub);
            if (sub->pending) {
                shard_continue_replay(shard, sub);
            }
        }
    }
}

/* A port closes each: the list shrinks by the call to shard_close(). */
static void reap(struct shard *shard)
{
    while (shard->doomed_count) {
        uint32_t slot = shard->doomed[shard->doomed_count - 1];
        struct subscriber *sub = shard_subscriber(shard, slot);
        shard->ports.doomed(shard->ports.ctx, sub);
        CHECK(shard->doomed_count == 0 || shard->doomed[shard->doomed_count - 1] != slot);
    }
}

bool shard_sweep(struct shard *shard)
{
    bundles_run(shard);
    bool more = sweep_run(shard);

    flush_dirty(shard);
    return_held(shard);
    reap(shard);
    return more || shard->dirty != SLAB_NONE || shard->self.first;
}
