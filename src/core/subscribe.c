/* Subscribing: a letter to the channel's home, and its answers worked in.
 *
 * A subscription is a position with a state. LOADING: a letter is at home. PAUSED: a page came that
 * was not the last, and is not written yet. The page that reaches the end makes the subscriber one of
 * its class, in one step, behind all that is already on the way; then nothing is left here. A
 * connection has at most one page on the way or waiting, however many channels it follows.
 */
#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/channel.h"
#include "core/replay.h"
#include "core/shard.h"

/* A subscription (or a look at history) asked for: home's answer finds its way back by the id. */
struct pending {
    uint64_t hash; /* First: this is a struct table_item. The id, spread. */
    uint64_t id;
    uint64_t channel_hash;
    uint32_t slot;               /* SLAB_NONE: history, or the subscriber is gone. */
    struct pending *next, *prev; /* Of the same subscriber. */
    struct since since;          /* How far it has come. */
    uint8_t framing;
    uint16_t view; /* Shares it. */
    bool interest;
    bool paused;
    bool continued; /* The first answer was given. */
    bool paged;     /* The letter at home may come back with a page. */
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

static struct span pending_name(const struct pending *pending)
{
    return span_of(pending->name, pending->name_len);
}

static void pending_free(struct shard *shard, struct pending *pending)
{
    table_remove(&shard->pending, (struct table_item *)pending);
    view_unref(&shard->views, pending->view);
    mem_free(pending);
}

/* Takes it off its subscriber's list: an answer that is under way will find nobody. */
static void pending_unlink(struct subscriber *sub, struct pending *pending)
{
    *(pending->prev ? &pending->prev->next : &sub->pending) = pending->next;
    if (pending->next) {
        pending->next->prev = pending->prev;
    }
    pending->next = pending->prev = NULL;
    pending->slot = SLAB_NONE;
    sub->pending_count -= 1;
    if (pending->paged) {
        sub->flags &= (uint16_t)~SUB_PAGED;
    }
}

static struct channel *pending_channel(struct shard *shard, const struct pending *pending)
{
    struct channel *channel = channel_find(shard, pending->channel_hash, pending_name(pending));

    CHECK(channel && channel->pending_count);
    return channel;
}

/* The channel need not be kept for it any longer. */
static void let_channel_go(struct shard *shard, struct channel *channel)
{
    channel->pending_count -= 1;
    channel_release(shard, channel);
}

/* The client does not want it any more. */
static void pending_cancel(struct shard *shard, struct subscriber *sub, struct pending *pending)
{
    pending_unlink(sub, pending);
    if (pending->paused) {
        let_channel_go(shard, pending_channel(shard, pending));
        pending_free(shard, pending);
    }
}

/* ---- asking ---- */

/* Posts the letter for what `pending` wants next. Returns 0 or -ENOMEM. */
static int ask_home(
    struct shard *shard, const struct pending *pending, uint32_t page_count, uint32_t page_bytes)
{
    struct mail_subscribe *mail = mem_try_alloc(sizeof(*mail) + pending->name_len);

    if (!mail) {
        return -ENOMEM;
    }
    *mail = (struct mail_subscribe){
        .mail = {.kind = MAIL_SUBSCRIBE},
        .hash = pending->channel_hash,
        .request_id = pending->id,
        .since = pending->since,
        .interest = pending->interest,
        .continued = pending->continued,
        .page_count = page_count,
        .page_bytes = page_bytes,
        .name_len = pending->name_len,
    };
    memcpy(mail->name, pending->name, pending->name_len);
    shard->asked += 1;
    shard_post(shard, shard_home_of(shard, pending->channel_hash), &mail->mail);
    return 0;
}

/* The first letter brings a page only when no other one is on the way or waits to be written. */
static int ask_for_subscription(
    struct shard *shard, struct subscriber *sub, struct pending *pending)
{
    pending->paged = pending->since.kind != SINCE_NONE && !sub->outbox && !(sub->flags & SUB_PAGED);
    int err = ask_home(
        shard, pending, pending->paged ? UINT32_MAX : 0, shard->settings->replay_page_bytes);
    if (err) {
        return err;
    }
    if (pending->paged) {
        sub->flags |= SUB_PAGED;
    }
    pending->slot = sub->slot;
    pending_link(sub, pending);
    return 0;
}

static struct pending *pending_create(struct shard *shard, struct span name, uint64_t hash)
{
    struct pending *pending = mem_try_alloc(sizeof(*pending) + name.len);

    if (!pending) {
        return NULL;
    }
    *pending = (struct pending){.id = ++shard->next_pending,
        .channel_hash = hash,
        .slot = SLAB_NONE,
        .name_len = (uint16_t)name.len};
    pending->hash = spread(pending->id);
    memcpy(pending->name, name.data, name.len);
    if (table_add(&shard->pending, (struct table_item *)pending) != 0) {
        mem_free(pending);
        return NULL;
    }
    return pending;
}

void shard_continue_replay(struct shard *shard, struct subscriber *sub)
{
    struct pending *pending = sub->flags & (SUB_PAGED | SUB_DOOMED) ? NULL : sub->pending;

    while (pending && !pending->paused) {
        pending = pending->next;
    }
    if (!pending) {
        return;
    }
    if (ask_home(shard, pending, UINT32_MAX, shard->settings->replay_page_bytes) != 0) {
        shard_doom(shard, sub); /* No memory to serve it: it may try again elsewhere. */
        return;
    }
    pending->paused = false;
    pending->paged = true;
    sub->flags |= SUB_PAGED;
}

/* ---- answers ---- */

/* Home has more than this page: the rest waits until the client has taken it. */
static void pause_replay(
    struct subscriber *sub, struct pending *pending, const struct mail_subscribe *answer)
{
    pending->since = (struct since){.kind = SINCE_CURSOR, .cursor = answer->cursor};
    pending->continued = true;
    pending->paused = true;
    if (pending->paged) {
        pending->paged = false;
        sub->flags &= (uint16_t)~SUB_PAGED;
    }
}

/* Makes it a member of its class. Returns 0 or -ENOMEM. */
static int attach(struct shard *shard, struct subscriber *sub, struct channel *channel,
    const struct pending *pending, const struct mail_subscribe *answer)
{
    struct class *class = class_get(shard, channel, pending->framing, pending->view);
    int err = class ? class_join(shard, class, sub) : -ENOMEM;

    if (err && class) {
        class_release(shard, class);
    } else if (class) {
        class_pass(shard, class, answer->cursor);
    }
    return err;
}

/* A continued subscription has nothing new to be told, unless history began anew under it. */
static void tell_answer(struct shard *shard, struct subscriber *sub, const struct pending *pending,
    const struct mail_subscribe *answer)
{
    if (!pending->continued) {
        shard->ports.subscribed(shard->ports.ctx, sub, answer);
    } else if (sub && answer->state == SUBSCRIBE_RESET) {
        shard->ports.restarted(
            shard->ports.ctx, sub, pending->framing, pending_name(pending), answer->cursor);
    }
}

static void work_in(struct shard *shard, struct subscriber *sub, struct pending *pending,
    const struct mail_subscribe *answer)
{
    struct channel *channel = pending_channel(shard, pending);
    bool more = answer->more;

    if (answer->failed || (!more && attach(shard, sub, channel, pending, answer) != 0)) {
        tell_answer(shard, NULL, pending, answer);
        shard_doom(shard, sub); /* No memory to serve it: it may try again elsewhere. */
        more = false;
    } else {
        tell_answer(shard, sub, pending, answer);
        replay_queue(shard, sub, channel, pending->framing, pending->view, answer);
    }
    if (more) {
        pause_replay(sub, pending, answer);
    } else {
        pending_unlink(sub, pending);
        pending_free(shard, pending);
        let_channel_go(shard, channel);
    }
    if (!sub->outbox) {
        shard_continue_replay(shard, sub);
    }
}

/* Nobody waits for it here any more, or nobody but whoever looked at history. */
static void drop_answer(
    struct shard *shard, struct pending *pending, const struct mail_subscribe *answer)
{
    tell_answer(shard, NULL, pending, answer);
    if (pending->interest) {
        let_channel_go(shard, pending_channel(shard, pending));
    }
    pending_free(shard, pending);
}

void shard_hear_subscribed(struct shard *shard, struct mail_subscribe *answer)
{
    uint64_t id = answer->request_id;
    struct pending *pending =
        (struct pending *)table_find(&shard->pending, spread(id), pending_equal, &id);

    CHECK(pending && !pending->paused);
    shard->asked -= 1;
    if (pending->slot != SLAB_NONE) {
        work_in(shard, shard_subscriber(shard, pending->slot), pending, answer);
    } else {
        drop_answer(shard, pending, answer);
    }
    answer->mail.kind = MAIL_REPLAY_BACK;
    shard_post(shard, answer->mail.from, &answer->mail);
}

static void restart_class(struct shard *shard, struct class *class, struct cursor cursor)
{
    const struct entry *entries = class_entries(class);

    for (uint32_t i = 0; i < class->count; i++) {
        struct subscriber *sub = shard_subscriber(shard, entries[i].slot);
        class_hand_over(shard, class, sub); /* Of the former epoch. */
        shard->ports.restarted(
            shard->ports.ctx, sub, class->framing, channel_name(class_channel(class)), cursor);
    }
    class_pass(shard, class, cursor);
}

void shard_hear_epoch(struct shard *shard, struct mail_epoch *mail)
{
    struct channel *channel = channel_find(shard, mail->hash, span_of(mail->name, mail->name_len));

    if (channel && channel->first.place != CLASS_UNUSED) {
        restart_class(shard, &channel->first, mail->cursor);
    }
    for (struct class *class = channel ? channel->first.next : NULL; class; class = class->next) {
        restart_class(shard, class, mail->cursor);
    }
    mem_free(mail);
}

/* ---- what a connection asks for ---- */

void shard_each_pending(const struct shard *shard, const struct subscriber *sub,
    void (*fn)(void *ctx, const struct shard_asked *asked), void *ctx)
{
    const struct pending *pending = sub->pending;

    while (pending && pending->next) {
        pending = pending->next;
    }
    for (; pending; pending = pending->prev) {
        const struct shard_asked asked = {.request_id = pending->id,
            .name = pending_name(pending),
            .framing = pending->framing,
            .continued = pending->continued,
            .types = view_types(&shard->views, pending->view),
            .batch_ms = view_batch_ms(&shard->views, pending->view),
            .since = pending->since};
        fn(ctx, &asked);
    }
}

static struct pending *find_pending(struct subscriber *sub, struct span name, uint8_t framing)
{
    struct pending *pending = sub->pending;

    while (pending && !(pending->framing == framing && span_equal(pending_name(pending), name))) {
        pending = pending->next;
    }
    return pending;
}

static bool has_subscription(struct subscriber *sub, const struct channel *channel, uint8_t framing)
{
    for (uint32_t i = 0; i < sub->subscription_count; i++) {
        const struct class *class = subscriber_at(sub, i)->class;
        if (class_channel(class) == channel && class->framing == framing) {
            return true;
        }
    }
    return false;
}

int shard_subscribe_from(
    struct shard *shard, struct subscriber *sub, const struct shard_asked *asked, uint64_t *ret_id)
{
    uint64_t hash = shard_hash(shard, asked->name);
    struct channel *channel = channel_get(shard, hash, asked->name);

    if (!channel) {
        return -ENOMEM;
    }
    bool doubled = has_subscription(sub, channel, asked->framing) ||
                   find_pending(sub, asked->name, asked->framing);
    int view = doubled ? -EEXIST
                       : view_get(&shard->views, &shard->settings->hash_key, asked->types,
                             bundle_step_ms(asked->batch_ms));
    struct pending *pending = view < 0 ? NULL : pending_create(shard, asked->name, hash);
    int err = view < 0 ? view : -ENOMEM;
    if (view > 0 && !pending) {
        view_unref(&shard->views, (uint16_t)view);
    }
    if (pending) {
        pending->view = (uint16_t)view;
        pending->since = asked->since;
        pending->framing = asked->framing;
        pending->continued = asked->continued;
        pending->interest = true;
        err = ask_for_subscription(shard, sub, pending);
    }
    if (err) {
        if (pending) {
            pending_free(shard, pending);
        }
        channel_release(shard, channel);
        return err;
    }
    channel->pending_count += 1;
    *ret_id = pending->id;
    return 0;
}

int shard_subscribe(struct shard *shard, struct subscriber *sub, struct span name, uint8_t framing,
    struct since since, uint64_t *ret_id)
{
    const struct shard_asked asked = {.name = name, .framing = framing, .since = since};

    return shard_subscribe_from(shard, sub, &asked, ret_id);
}

int shard_unsubscribe(
    struct shard *shard, struct subscriber *sub, struct span name, uint8_t framing)
{
    struct channel *channel = channel_find(shard, shard_hash(shard, name), name);

    for (uint32_t i = 0; channel && i < sub->subscription_count; i++) {
        struct class *class = subscriber_at(sub, i)->class;
        if (class_channel(class) == channel && class->framing == framing) {
            class_leave(shard, class, sub);
            return 0;
        }
    }
    struct pending *pending = find_pending(sub, name, framing);
    if (!pending) {
        return -ENOENT;
    }
    pending_cancel(shard, sub, pending);
    /* It may have been the page that others wait behind, and no outbox will run empty to wake them. */
    if (!sub->outbox) {
        shard_continue_replay(shard, sub);
    }
    return 0;
}

int shard_history(struct shard *shard, struct span name, struct since since, uint32_t count_max,
    uint32_t bytes_max, uint64_t *ret_id)
{
    struct pending *pending = pending_create(shard, name, shard_hash(shard, name));

    if (!pending) {
        return -ENOMEM;
    }
    pending->since = since;
    int err = ask_home(shard, pending, count_max, bytes_max);
    if (err) {
        pending_free(shard, pending);
        return err;
    }
    *ret_id = pending->id;
    return 0;
}

void shard_forget_asked(struct shard *shard, struct subscriber *sub)
{
    while (sub->pending) {
        pending_cancel(shard, sub, sub->pending);
    }
}
