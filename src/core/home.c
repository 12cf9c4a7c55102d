#include "core/home.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/name.h"
#include "core/shard.h"

enum {
    RING_CAP_MIN = 8,
    TICK_RINGS_MAX = 256, /* Rings looked at in one tick. */
};

struct behind {
    uint64_t hash; /* First: this is a struct table_item. */
    uint64_t from, to;
    uint32_t count;
    uint16_t name_len;
    char name[];
};

static struct span home_name(const struct home *home)
{
    return span_of(home->name, home->name_len);
}

static bool home_equal(const struct table_item *item, const void *key)
{
    return span_equal(home_name((const struct home *)item), *(const struct span *)key);
}

static bool behind_equal(const struct table_item *item, const void *key)
{
    const struct behind *behind = (const struct behind *)item;
    return span_equal(span_of(behind->name, behind->name_len), *(const struct span *)key);
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

/* ---- the ring ---- */

static void ring_unlink(struct shard *shard, struct ring *ring)
{
    if (shard->ring_tick == ring) {
        shard->ring_tick = ring->newer;
    }
    *(ring->older ? &ring->older->newer : &shard->ring_oldest) = ring->newer;
    *(ring->newer ? &ring->newer->older : &shard->ring_newest) = ring->older;
    ring->older = ring->newer = NULL;
}

static void ring_link(struct shard *shard, struct ring *ring)
{
    ring->older = shard->ring_newest;
    ring->newer = NULL;
    *(shard->ring_newest ? &shard->ring_newest->newer : &shard->ring_oldest) = ring;
    shard->ring_newest = ring;
}

static void ring_pop(struct shard *shard, struct ring *ring)
{
    struct publication *pub = ring->slots[ring->head];
    size_t size = publication_size(pub);

    ring->head = (ring->head + 1) & (ring->cap - 1);
    ring->count -= 1;
    ring->bytes -= size;
    shard->stats.history_bytes -= size;
    shard->stats.history_messages -= 1;
    publication_unref(pub);
}

/* The empty ring, and perhaps its home, go at the next tick. */
static void ring_clear(struct shard *shard, struct ring *ring)
{
    while (ring && ring->count) {
        ring_pop(shard, ring);
    }
}

static void ring_drop(struct shard *shard, struct home *home)
{
    struct ring *ring = home->ring;

    if (!ring) {
        return;
    }
    ring_clear(shard, ring);
    ring_unlink(shard, ring);
    mem_free(ring);
    home->ring = NULL;
}

static struct ring *ring_resize(struct shard *shard, struct home *home, uint32_t cap)
{
    struct ring *old = home->ring;
    struct ring *ring = mem_try_alloc(sizeof(*ring) + cap * sizeof(ring->slots[0]));

    if (!ring) {
        return NULL;
    }
    *ring = (struct ring){.home = home, .cap = cap};
    if (old) {
        ring->bytes = old->bytes;
        ring->count = old->count;
        for (uint32_t i = 0; i < old->count; i++) {
            ring->slots[i] = old->slots[(old->head + i) & (old->cap - 1)];
        }
        ring_unlink(shard, old);
        mem_free(old);
    }
    ring_link(shard, ring);
    home->ring = ring;
    return ring;
}

static void ring_trim(struct shard *shard, struct ring *ring, const struct ns_settings *ns)
{
    while (ring->count) {
        const struct publication *oldest = ring->slots[ring->head];
        /* Another shard took it in: its clock may be ahead of this turn's. */
        bool old = shard->now_ns > oldest->time_ns &&
                   shard->now_ns - oldest->time_ns > ns->history_age_ms * 1000000;
        if (ring->count <= ns->history_messages && ring->bytes <= ns->history_bytes && !old) {
            return;
        }
        ring_pop(shard, ring);
    }
}

/* History is best effort in memory: without room the publication is delivered and not kept, and
 * then what was kept before must go too, since a ring has no holes. */
void home_keep(struct shard *shard, struct home *home, struct publication *pub)
{
    const struct ns_settings *ns = &shard->settings->ns[home->ns];
    struct ring *ring = home->ring;

    if (ns->history_messages == 0) {
        ring_clear(shard, ring); /* Until a reload there was one, and it may not have holes. */
        return;
    }
    if (!ring || ring->count == ring->cap) {
        if (ring && ring->count >= ns->history_messages) {
            ring_pop(shard, ring);
        } else {
            ring = ring_resize(shard, home, ring ? ring->cap * 2 : RING_CAP_MIN);
        }
    }
    if (!ring) {
        ring_drop(shard, home);
        return;
    }
    pub->refs += 1;
    ring->slots[(ring->head + ring->count) & (ring->cap - 1)] = pub;
    ring->count += 1;
    ring->bytes += publication_size(pub);
    shard->stats.history_bytes += publication_size(pub);
    shard->stats.history_messages += 1;
    ring_unlink(shard, ring);
    ring_link(shard, ring);
    ring_trim(shard, ring, ns);
}

/* ---- lending publications to listening shards ---- */

static void chunk_post(struct shard *shard, uint16_t to)
{
    struct mail_chunk *chunk = shard->peers[to].open;

    if (chunk) {
        shard->peers[to].open = NULL;
        shard_post(shard, to, &chunk->mail);
    }
}

static void post_behind(struct shard *shard, uint16_t to, const struct behind *behind)
{
    struct mail_behind *mail = mem_alloc(sizeof(*mail) + behind->name_len);

    *mail = (struct mail_behind){.mail = {.kind = MAIL_BEHIND},
        .hash = behind->hash,
        .from = behind->from,
        .to = behind->to,
        .count = behind->count,
        .name_len = behind->name_len};
    memcpy(mail->name, behind->name, behind->name_len);
    shard_post(shard, to, &mail->mail);
}

/* Past the bound the listener is told what it misses instead. */
static void note_behind(struct shard *shard, uint16_t to, const struct home *home, uint64_t offset)
{
    struct span name = home_name(home);
    struct table *table = &shard->peers[to].behind;
    struct behind *behind = (struct behind *)table_find(table, home->hash, behind_equal, &name);

    if (behind) {
        behind->to = offset;
        behind->count += 1;
        return;
    }
    behind = mem_alloc(sizeof(*behind) + name.len);
    *behind = (struct behind){
        .hash = home->hash, .from = offset, .to = offset, .count = 1, .name_len = home->name_len};
    memcpy(behind->name, name.data, name.len);
    if (table_add(table, (struct table_item *)behind) != 0) {
        post_behind(shard, to, behind); /* No room to gather more: told at once. */
        mem_free(behind);
    }
}

static bool is_behind(const struct shard *shard, uint16_t to)
{
    const struct peer_shard *peer = &shard->peers[to];
    return peer->behind.count || peer->in_flight > shard->settings->overload_bytes;
}

static void lend(struct shard *shard, uint16_t to, const struct home *home, struct publication *pub)
{
    struct peer_shard *peer = &shard->peers[to];

    if (!peer->open && !is_behind(shard, to)) {
        peer->open = mem_try_alloc(sizeof(*peer->open));
        if (peer->open) {
            *peer->open = (struct mail_chunk){.mail = {.kind = MAIL_CHUNK}};
        }
    }
    if (!peer->open || is_behind(shard, to)) {
        chunk_post(shard, to);
        note_behind(shard, to, home, pub->offset);
        return;
    }
    struct mail_chunk *chunk = peer->open;
    pub->refs += 1;
    chunk->pubs[chunk->count++] = pub;
    chunk->bytes += publication_size(pub);
    peer->in_flight += publication_size(pub);
    if (chunk->count == CHUNK_PUBLICATIONS) {
        chunk_post(shard, to);
    }
}

/* Half the bound is free again: say what was missed, and go on. */
static void report_behind(struct shard *shard, uint16_t to)
{
    struct peer_shard *peer = &shard->peers[to];
    size_t cursor = 0;
    struct behind *behind;

    while ((behind = (struct behind *)table_next(&peer->behind, &cursor))) {
        post_behind(shard, to, behind);
        mem_free(behind);
    }
    table_fini(&peer->behind);
}

static bool may_report(const struct shard *shard, uint16_t to)
{
    const struct peer_shard *peer = &shard->peers[to];
    return peer->behind.count && peer->in_flight <= shard->settings->overload_bytes / 2;
}

void home_post_chunks(struct shard *shard)
{
    for (uint16_t to = 0; to < shard->settings->shard_count; to++) {
        chunk_post(shard, to);
        if (may_report(shard, to)) {
            report_behind(shard, to); /* Nothing is out whose return would do it. */
        }
        uint64_t credit = shard->peers[to].credit;
        struct mail_credit *mail = credit ? mem_try_alloc(sizeof(*mail)) : NULL;
        if (mail) {
            *mail = (struct mail_credit){.mail = {.kind = MAIL_CREDIT}, .bytes = credit};
            shard->peers[to].credit = 0;
            shard_post(shard, to, &mail->mail);
        }
    }
}

void home_chunk_back(struct shard *shard, struct mail_chunk *chunk)
{
    struct peer_shard *peer = &shard->peers[chunk->mail.from];

    CHECK(peer->in_flight >= chunk->bytes);
    peer->in_flight -= chunk->bytes;
    for (uint32_t i = 0; i < chunk->count; i++) {
        publication_unref(chunk->pubs[i]);
    }
    if (may_report(shard, chunk->mail.from)) {
        report_behind(shard, chunk->mail.from);
    }
    mem_free(chunk);
}

/* ---- letters ---- */

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

/* A listener that joins now has what was missed before in its replay, or asked for none of it. */
static void report_channel(struct shard *shard, uint16_t to, const struct home *home)
{
    struct span name = home_name(home);
    struct table *table = &shard->peers[to].behind;
    struct behind *behind = (struct behind *)table_find(table, home->hash, behind_equal, &name);

    if (behind) {
        table_remove(table, (struct table_item *)behind);
        post_behind(shard, to, behind);
        mem_free(behind);
    }
}

static bool any_behind(const struct shard *shard, const struct home *home)
{
    for (uint64_t left = home->shards; left; left &= left - 1) {
        if (is_behind(shard, (uint16_t)__builtin_ctzll(left))) {
            return true;
        }
    }
    return false;
}

static void home_release(struct shard *shard, struct home *home)
{
    if (home->shards || home->ring || home->waiting) {
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
    home_keep(shard, home, pub);
    /* At once, not only at a tick: publishers are faster. What goes here was once put in by one
     * publication each, so it does not add up to more than those. */
    keep_budget(shard, home, UINT32_MAX);
    for (uint64_t left = home->shards; left; left &= left - 1) {
        lend(shard, (uint16_t)__builtin_ctzll(left), home, pub);
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
    chunk_post(shard, to); /* What was published before goes before. */
    report_channel(shard, to, home);
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
            mail->mail.next = home->waiting;
            home->waiting = &mail->mail;
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

/* Waiting letters were pushed on a stack; they are answered oldest first. */
static void open_one(struct shard *shard, struct home *home)
{
    struct mail *oldest = NULL;

    home->closed = false;
    while (home->waiting) {
        struct mail *mail = home->waiting;
        home->waiting = mail->next;
        mail->next = oldest;
        oldest = mail;
    }
    while (oldest) {
        struct mail *mail = oldest;
        oldest = mail->next;
        answer_subscriber(shard, home, (struct mail_subscribe *)mail);
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
    size_t cursor = 0;
    struct home *home;

    while ((home = (struct home *)table_next(&shard->homes, &cursor))) {
        ring_drop(shard, home);
        while (home->waiting) {
            struct mail *mail = home->waiting;
            home->waiting = mail->next;
            mem_free(mail);
        }
        mem_free(home);
    }
    table_fini(&shard->homes);
    for (uint16_t to = 0; to < CORE_SHARDS_MAX; to++) {
        struct behind *behind;
        cursor = 0;
        while ((behind = (struct behind *)table_next(&shard->peers[to].behind, &cursor))) {
            mem_free(behind);
        }
        table_fini(&shard->peers[to].behind);
        CHECK(!shard->peers[to].open);
    }
}
