/* Subscribing: a letter to the channel's home, and its answer worked in.
 *
 * What was asked for is remembered until home answers; the answer brings the replay and makes the
 * subscriber one of its class, in one step, behind all that is already on the way.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/channel.h"
#include "core/shard.h"

/* A subscription asked for: home's answer finds its way back by the id. */
struct pending {
    uint64_t hash; /* First: this is a struct table_item. The id, spread. */
    uint64_t id;
    uint64_t channel_hash;
    uint32_t slot;               /* SLAB_NONE: history, or the subscriber is gone. */
    struct pending *next, *prev; /* Of the same subscriber. */
    struct since since;
    uint8_t framing;
    uint16_t name_len;
    char name[];
};

static uint64_t spread(uint64_t id)
{
    return id * 0x9e3779b97f4a7c15ull;
}

static bool pending_equal(const struct table_item *item, const void *key)
{
    return ((const struct pending *)item)->id == *(const uint64_t *)key;
}

/* Each subscriber has a list of its own: while a broker is slow to answer very many wait, and a walk
 * over all of them for each client that leaves would hold up the shard. */
static void pending_link(struct subscriber *sub, struct pending *pending)
{
    pending->prev = NULL;
    pending->next = sub->pending;
    if (pending->next) {
        pending->next->prev = pending;
    }
    sub->pending = pending;
    sub->pending_count += 1;
}

/* Its answer will find nobody. */
static void pending_unlink(struct subscriber *sub, struct pending *pending)
{
    *(pending->prev ? &pending->prev->next : &sub->pending) = pending->next;
    if (pending->next) {
        pending->next->prev = pending->prev;
    }
    pending->next = pending->prev = NULL;
    pending->slot = SLAB_NONE;
    sub->pending_count -= 1;
}

/* The replay goes into batches of its own, straight to the one subscriber who asked. */
static void queue_replay(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, const struct mail_subscribe *answer)
{
    struct batch *batch = NULL;

    sub->accepted += answer->replay_count;
    shard->stats.books.accepted += answer->replay_count;
    shard->ns_stats[channel->ns].accepted += answer->replay_count;
    for (uint32_t i = 0; i < answer->replay_count; i++) {
        const struct publication *pub = answer->replay[i];
        if (!batch) {
            batch = batch_get(&shard->batches);
            if (batch) {
                batch->channel = channel;
                channel->batch_count += 1;
                batch->framing = framing;
                batch->ns = channel->ns;
                batch->flags = BATCH_REPLAY;
            }
        }
        if (!batch || batch_reserve_message(batch) != 0 ||
            shard->ports.encode(shard->ports.ctx, framing, pub, &batch->data) != 0) {
            shard_count_drop(shard, sub, channel->ns, DROP_MEMORY, 1);
            continue;
        }
        batch->messages[batch->count++] = (struct batch_message){
            .offset = pub->offset, .time_ns = pub->time_ns, .end = (uint32_t)batch->data.len};
        if (batch_full(batch) || i + 1 == answer->replay_count) {
            shard_deliver_queued(shard, sub, batch, 0);
            batch_unref(shard, batch);
            batch = NULL;
        }
    }
    if (batch && batch->count) {
        shard_deliver_queued(shard, sub, batch, 0);
    }
    if (batch) {
        batch_unref(shard, batch);
    }
}

static void attach(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, const struct mail_subscribe *answer)
{
    channel->pending_count += 1; /* Keeps the channel while the answer is worked in. */
    struct class *class = answer->failed ? NULL : class_get(shard, channel, framing);
    if (class && class_join(shard, class, sub) == 0) {
        shard->ports.subscribed(shard->ports.ctx, sub, answer);
        queue_replay(shard, sub, channel, framing, answer);
    } else {
        shard_doom(shard, sub); /* No memory to serve it: it may try again elsewhere. */
        if (class) {
            class_release(shard, class);
        }
    }
    channel->pending_count -= 1;
    channel_release(shard, channel);
}

void shard_hear_subscribed(struct shard *shard, struct mail_subscribe *answer)
{
    uint64_t id = answer->request_id;
    struct pending *pending =
        (struct pending *)table_find(&shard->pending, spread(id), pending_equal, &id);

    CHECK(pending);
    table_remove(&shard->pending, (struct table_item *)pending);
    if (!answer->interest) {
        shard->ports.subscribed(shard->ports.ctx, NULL, answer);
    } else {
        struct span name = span_of(answer->name, answer->name_len);
        struct channel *channel = channel_find(shard, answer->hash, name);
        CHECK(channel && channel->pending_count);
        channel->pending_count -= 1;
        if (pending->slot != SLAB_NONE) {
            struct subscriber *sub = shard_subscriber(shard, pending->slot);
            pending_unlink(sub, pending);
            attach(shard, sub, channel, pending->framing, answer);
        } else {
            shard->ports.subscribed(shard->ports.ctx, NULL, answer);
            channel_release(shard, channel);
        }
    }
    mem_free(pending);
    answer->mail.kind = MAIL_REPLAY_BACK;
    shard_post(shard, answer->mail.from, &answer->mail);
}

/* Both kinds of request: interest for a subscriber, or a look at history. */
static int ask_home(struct shard *shard, struct subscriber *sub, uint8_t framing, struct span name,
    uint64_t hash, struct since since, uint32_t limit, uint64_t *ret_id)
{
    struct pending *pending = mem_try_alloc(sizeof(*pending) + name.len);
    struct mail_subscribe *mail = mem_try_alloc(sizeof(*mail) + name.len);
    uint64_t id = ++shard->next_pending;

    if (pending) {
        *pending = (struct pending){.hash = spread(id),
            .id = id,
            .channel_hash = hash,
            .slot = sub ? sub->slot : SLAB_NONE,
            .since = since,
            .framing = framing,
            .name_len = (uint16_t)name.len};
        memcpy(pending->name, name.data, name.len);
    }
    if (!pending || !mail || table_add(&shard->pending, (struct table_item *)pending) != 0) {
        mem_free(pending);
        mem_free(mail);
        return -ENOMEM;
    }
    *mail = (struct mail_subscribe){
        .mail = {.kind = MAIL_SUBSCRIBE},
        .hash = hash,
        .request_id = id,
        .since = since,
        .interest = sub != NULL,
        .limit = limit,
        .name_len = (uint16_t)name.len,
    };
    memcpy(mail->name, name.data, name.len);
    if (sub) {
        pending_link(sub, pending);
    }
    *ret_id = id;
    shard_post(shard, shard_home_of(shard, hash), &mail->mail);
    return 0;
}

void shard_each_pending(
    const struct subscriber *sub, void (*fn)(void *ctx, const struct shard_asked *asked), void *ctx)
{
    for (const struct pending *pending = sub->pending; pending; pending = pending->next) {
        const struct shard_asked asked = {.request_id = pending->id,
            .name = span_of(pending->name, pending->name_len),
            .framing = pending->framing,
            .since = pending->since};
        fn(ctx, &asked);
    }
}

static struct pending *find_pending(struct subscriber *sub, struct span name, uint8_t framing)
{
    struct pending *pending = sub->pending;

    while (pending && !(pending->framing == framing &&
                          span_equal(span_of(pending->name, pending->name_len), name))) {
        pending = pending->next;
    }
    return pending;
}

static bool has_subscription(struct subscriber *sub, const struct channel *channel, uint8_t framing)
{
    for (uint32_t i = 0; i < sub->subscription_count; i++) {
        const struct class *class = subscriber_at(sub, i)->class;
        if (class->channel == channel && class->framing == framing) {
            return true;
        }
    }
    return false;
}

int shard_subscribe(struct shard *shard, struct subscriber *sub, struct span name, uint8_t framing,
    struct since since, uint64_t *ret_id)
{
    uint64_t hash = shard_hash(shard, name);
    struct channel *channel = channel_get(shard, hash, name);

    if (!channel) {
        return -ENOMEM;
    }
    bool doubled = has_subscription(sub, channel, framing) || find_pending(sub, name, framing);
    int err = doubled ? -EEXIST : ask_home(shard, sub, framing, name, hash, since, 0, ret_id);
    if (err) {
        channel_release(shard, channel);
        return err;
    }
    channel->pending_count += 1;
    return 0;
}

int shard_unsubscribe(
    struct shard *shard, struct subscriber *sub, struct span name, uint8_t framing)
{
    struct channel *channel = channel_find(shard, shard_hash(shard, name), name);

    for (uint32_t i = 0; channel && i < sub->subscription_count; i++) {
        struct class *class = subscriber_at(sub, i)->class;
        if (class->channel == channel && class->framing == framing) {
            class_leave(shard, class, sub);
            return 0;
        }
    }
    struct pending *pending = find_pending(sub, name, framing);
    if (pending) {
        pending_unlink(sub, pending);
    }
    return pending ? 0 : -ENOENT;
}

int shard_history(
    struct shard *shard, struct span name, struct since since, uint32_t limit, uint64_t *ret_id)
{
    return ask_home(shard, NULL, 0, name, shard_hash(shard, name), since, limit, ret_id);
}

void shard_forget_asked(struct subscriber *sub)
{
    while (sub->pending) {
        pending_unlink(sub, sub->pending);
    }
}
