#include "core/home.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/lend.h"
#include "core/name.h"
#include "core/shard.h"

enum { TICK_RINGS_MAX = 256 }; /* Rings looked at in one tick. */

static bool home_equal(const struct table_item *item, const void *key)
{
    return span_equal(home_name((const struct home *)item), *(const struct span *)key);
}

static struct home *home_find(struct shard *shard, uint64_t hash, struct span name)
{
    return (struct home *)table_find(&shard->homes, hash, home_equal, &name);
}

struct home *home_get(struct shard *shard, uint64_t hash, struct span name)
{
    struct home *home = home_find(shard, hash, name);

    if (home) {
        return home;
    }
    home = mem_try_alloc(sizeof(*home) + name.len);
    if (!home) {
        return NULL;
    }
    *home = (struct home){
        .hash = hash,
        .next_offset = shard->floor + 1,
        .serial = shard->serial,
        .name_len = (uint16_t)name.len,
        .ns = settings_ns(shard->settings, name_namespace(name)),
    };
    memcpy(home->name, name.data, name.len);
    if (table_add(&shard->homes, (struct table_item *)home) != 0) {
        mem_free(home);
        return NULL;
    }
    shard->stats.homes += 1;
    return home;
}

/* Epochs of a channel differ by the serial, those of stores by the id. */
uint64_t home_epoch(const struct shard *shard, const struct home *home)
{
    return (uint64_t)home->serial << 40 | shard->settings->store_id;
}

static struct cursor home_cursor(const struct shard *shard, const struct home *home)
{
    return (struct cursor){home_epoch(shard, home), home->next_offset - 1};
}

static void answer_publisher(struct shard *shard, const struct publication *pub,
    struct cursor cursor, int err, bool duplicate)
{
    if (!pub->reply_id) {
        return;
    }
    struct mail_published *mail = mem_alloc(sizeof(*mail));
    *mail = (struct mail_published){
        .mail = {.kind = MAIL_PUBLISHED},
        .result = {.reply_id = pub->reply_id,
            .cursor = cursor,
            .has_cursor = !err,
            .duplicate = duplicate,
            .err = err},
    };
    shard_post(shard, pub->mail.from, &mail->mail);
}

static bool any_behind(const struct shard *shard, const struct home *home)
{
    for (uint64_t left = home->shards; left; left &= left - 1) {
        if (lend_is_behind(shard, (uint16_t)__builtin_ctzll(left))) {
            return true;
        }
    }
    return false;
}

static void home_release(struct shard *shard, struct home *home)
{
    if (home->shards || home->ring) {
        return;
    }
    if (home->next_offset - 1 > shard->floor) {
        shard->floor = home->next_offset - 1;
    }
    table_remove(&shard->homes, (struct table_item *)home);
    shard->stats.homes -= 1;
    mem_free(home);
}

/* Over the budget, what was used least recently goes first: whole rings, and of the one that is just
 * being used (NULL: none) its oldest. */
static void keep_budget(struct shard *shard, struct home *in_use, uint32_t rings_max)
{
    const uint64_t *bytes = &shard->stats.history_bytes;
    uint64_t budget = shard->settings->history_bytes_total;

    for (uint32_t i = 0; *bytes > budget && i < rings_max && shard->ring_oldest; i++) {
        struct home *home = shard->ring_oldest->home;
        if (home == in_use) {
            break;
        }
        ring_drop(shard, home);
        home_release(shard, home);
    }
    struct ring *ring = in_use ? in_use->ring : NULL;
    while (ring && ring->count && *bytes > budget) {
        ring_pop(shard, ring);
    }
}

void home_publish(struct shard *shard, struct publication *pub)
{
    struct home *home = home_get(shard, pub->hash, publication_name(pub));

    if (pub->mail.from != shard->index) {
        shard->peers[pub->mail.from].credit += publication_size(pub);
    }
    bool refuse = home && (pub->flags & PUBLICATION_MAY_REFUSE) && any_behind(shard, home);
    if (!home || refuse) {
        answer_publisher(shard, pub, (struct cursor){0}, home ? -EBUSY : -ENOMEM, false);
        shard->stats.refused += 1;
        publication_unref(pub);
        return;
    }
    struct cursor first;
    if (once_find(&shard->once, pub->once, shard->now_ns, &first)) {
        answer_publisher(shard, pub, first, 0, true);
        publication_unref(pub);
        home_release(shard, home);
        return;
    }
    pub->epoch = home_epoch(shard, home);
    pub->offset = home->next_offset++;
    shard->stats.publications += 1;
    shard->stats.publication_bytes += pub->payload_len;
    shard->ns_stats[home->ns].publications += 1;
    shard->ns_stats[home->ns].publication_bytes += pub->payload_len;
    once_add(&shard->once, pub->once, pub->hash, shard->now_ns, home_cursor(shard, home));
    answer_publisher(shard, pub, home_cursor(shard, home), 0, false);
    ring_keep(shard, home, pub);
    /* At once, not only at a tick: publishers are faster. What goes here was once put in by one
     * publication each, so it does not add up to more than those. */
    keep_budget(shard, home, UINT32_MAX);
    for (uint64_t left = home->shards; left; left &= left - 1) {
        lend_publication(shard, (uint16_t)__builtin_ctzll(left), home, pub);
    }
    publication_unref(pub);
    home_release(shard, home); /* Without history and listeners only its number was needed. */
}

/* What the ring has for this cursor: how many of its last entries to replay. */
static enum subscribe_state judge(
    const struct shard *shard, const struct home *home, struct since since, uint32_t *ret_count)
{
    uint32_t kept = home->ring ? home->ring->count : 0;

    *ret_count = 0;
    switch ((enum since_kind)since.kind) {
    case SINCE_NONE:
        return SUBSCRIBE_LIVE;
    case SINCE_BEGIN:
        *ret_count = kept;
        return kept ? SUBSCRIBE_REPLAYED : SUBSCRIBE_LIVE;
    case SINCE_CURSOR:
        break;
    case SINCE_BAD:
        return SUBSCRIBE_RESET;
    }
    uint64_t last = home->next_offset - 1;
    if (since.cursor.epoch != home_epoch(shard, home) || since.cursor.offset > last ||
        since.cursor.offset < last - kept) {
        return SUBSCRIBE_RESET;
    }
    *ret_count = (uint32_t)(last - since.cursor.offset);
    return *ret_count ? SUBSCRIBE_REPLAYED : SUBSCRIBE_LIVE;
}

static void fill_replay(
    struct shard *shard, struct home *home, struct mail_subscribe *mail, uint32_t count)
{
    struct ring *ring = home->ring;
    uint32_t skip = ring ? ring->count - count : 0;

    mail->cursor = home_cursor(shard, home);
    if (mail->limit && count > mail->limit) {
        mail->more = true;
        count = mail->limit;
    }
    if (count == 0) {
        return;
    }
    mail->replay = mem_try_alloc(count * sizeof(struct publication *));
    if (!mail->replay) {
        mail->state = SUBSCRIBE_RESET;
        mail->more = false;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct publication *pub = ring->slots[(ring->head + skip + i) & (ring->cap - 1)];
        pub->refs += 1;
        mail->replay[i] = pub;
    }
    mail->replay_count = count;
    shard->stats.replayed += count;
    if (mail->more) {
        mail->cursor.offset = mail->replay[count - 1]->offset;
    }
}

/* The answer and the interest are one step: every publication from here on is mailed after it. */
static void answer_subscriber(struct shard *shard, struct home *home, struct mail_subscribe *mail)
{
    uint32_t count;
    uint16_t to = mail->mail.from;

    if (home->ring) {
        ring_trim(shard, home->ring, &shard->settings->ns[home->ns]);
    }
    mail->state = (uint8_t)judge(shard, home, mail->since, &count);
    fill_replay(shard, home, mail, count);
    mail->mail.kind = MAIL_SUBSCRIBED;
    lend_post(shard, to); /* What was published before goes before. */
    lend_report(shard, to, home);
    shard_post(shard, to, &mail->mail);
}

void home_subscribe(struct shard *shard, struct mail_subscribe *mail)
{
    struct span name = span_of(mail->name, mail->name_len);
    struct home *home = home_get(shard, mail->hash, name);

    if (!home) {
        mail->state = SUBSCRIBE_RESET;
        mail->failed = true;
        mail->mail.kind = MAIL_SUBSCRIBED;
        shard_post(shard, mail->mail.from, &mail->mail);
        return;
    }
    if (mail->interest) {
        bool first = home->shards == 0;
        home->shards |= 1ull << mail->mail.from;
        if (first && shard->ports.interest) {
            home->closed = !shard->ports.interest(shard->ports.ctx, name, true);
        }
        if (home->closed) {
            waiting_add(&shard->waiting, home, mail);
            return;
        }
    }
    answer_subscriber(shard, home, mail);
    home_release(shard, home); /* A look at history leaves nothing behind. */
}

/* Comes while an import is worked in, before anything is published: nothing can be missed. */
void home_listen(struct shard *shard, struct mail_unsubscribe *mail)
{
    struct span name = span_of(mail->name, mail->name_len);
    struct home *home = home_get(shard, mail->hash, name);

    CHECK(home); /* Start-up: without memory there is nothing to start. */
    bool first = home->shards == 0;
    home->shards |= 1ull << mail->mail.from;
    if (first && shard->ports.interest) {
        home->closed = !shard->ports.interest(shard->ports.ctx, name, true);
    }
    mem_free(mail);
}

void home_unsubscribe(struct shard *shard, struct mail_unsubscribe *mail)
{
    struct home *home = home_find(shard, mail->hash, span_of(mail->name, mail->name_len));
    uint64_t bit = 1ull << mail->mail.from;

    if (home && (home->shards & bit)) {
        home->shards &= ~bit;
        if (home->shards == 0 && shard->ports.interest) {
            shard->ports.interest(shard->ports.ctx, home_name(home), false);
        }
        home_release(shard, home);
    }
    mem_free(mail);
}

void home_replay_back(struct shard *shard, struct mail_subscribe *mail)
{
    (void)shard;
    for (uint32_t i = 0; i < mail->replay_count; i++) {
        publication_unref(mail->replay[i]);
    }
    mem_free(mail->replay);
    mem_free(mail);
}

static void open_one(struct shard *shard, struct home *home)
{
    struct mail *mail = waiting_take(&shard->waiting, home);

    home->closed = false;
    while (mail) {
        struct mail *next = mail->next;
        answer_subscriber(shard, home, (struct mail_subscribe *)mail);
        mail = next;
    }
}

void home_opened(struct shard *shard, struct span name)
{
    size_t cursor = 0;
    struct home *home;

    if (name.len) {
        home = home_find(shard, shard_hash(shard, name), name);
        if (home && home->closed) {
            open_one(shard, home);
        }
        return;
    }
    while ((home = (struct home *)table_next(&shard->homes, &cursor))) {
        if (home->closed) {
            open_one(shard, home);
        }
    }
}

static void begin_epoch(struct shard *shard, struct home *home)
{
    home->serial = shard->serial;
    ring_clear(shard, home->ring);
}

void home_new_epoch(struct shard *shard, struct span name)
{
    size_t cursor = 0;
    struct home *home;

    shard->serial += 1;
    if (name.len) {
        home = home_find(shard, shard_hash(shard, name), name);
        if (home) {
            begin_epoch(shard, home);
        }
        return;
    }
    while ((home = (struct home *)table_next(&shard->homes, &cursor))) {
        begin_epoch(shard, home);
    }
}

void home_tick(struct shard *shard)
{
    keep_budget(shard, NULL, TICK_RINGS_MAX);
    struct ring *ring = shard->ring_tick ? shard->ring_tick : shard->ring_oldest;
    for (int i = 0; i < TICK_RINGS_MAX && ring; i++) {
        struct home *home = ring->home;
        struct ring *newer = ring->newer;
        ring_trim(shard, ring, &shard->settings->ns[home->ns]);
        if (ring->count == 0) {
            ring_drop(shard, home);
            home_release(shard, home);
        }
        ring = newer;
    }
    shard->ring_tick = ring;
}

void home_fini(struct shard *shard)
{
    once_fini(&shard->once);
    waiting_fini(&shard->waiting);
    size_t cursor = 0;
    struct home *home;

    while ((home = (struct home *)table_next(&shard->homes, &cursor))) {
        ring_drop(shard, home);
        mem_free(home);
    }
    table_fini(&shard->homes);
    lend_fini(shard);
}
