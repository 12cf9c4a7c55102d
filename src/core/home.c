#include "core/home.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "core/lend.h"
#include "core/name.h"
#include "core/run_index.h"
#include "core/shard.h"

enum {
    TICK_RINGS_MAX = 256,   /* Rings looked at in one tick. */
    TICK_EPOCHS_MAX = 4096, /* Homes looked at in one tick after all began a new epoch. */
    DURABLE_HOMES_MAX = 1 << 20,
};

static bool home_equal(const struct table_item *item, const void *key)
{
    return span_equal(home_name((const struct home *)item), *(const struct span *)key);
}

struct home *home_find(struct shard *shard, uint64_t hash, struct span name)
{
    return (struct home *)table_find(&shard->homes, hash, home_equal, &name);
}

/* What an offset stands on before anything is published. */
static uint64_t floor_of(const struct shard *shard, bool durable)
{
    return durable ? shard->durable.floor : shard->floor;
}

static void set_serial(struct home *home, uint32_t serial)
{
    *(home->is_shared ? &home->shared->serial : &home->serial) = serial;
}

struct home *home_get(struct shard *shard, uint64_t hash, struct span name)
{
    struct home *home = home_find(shard, hash, name);

    if (home) {
        return home;
    }
    home = mem_try_alloc(MEM_FLEX(struct home, name, name.len));
    if (!home) {
        return NULL;
    }
    *home = (struct home){
        .hash = hash,
        .name_len = (uint16_t)name.len,
        .ns = settings_ns(shard->settings, name_namespace(name)),
    };
    if (shared_is(shard, home) && shared_init(home) != 0) {
        mem_free(home);
        return NULL;
    }
    set_serial(home, shard->serial);
    home->durable = !home->is_shared && durable_is(shard, home);
    home->next_offset = home->is_shared ? 1 : floor_of(shard, home->durable) + 1;
    memcpy(home->name, name.data, name.len);
    if (table_add(&shard->homes, (struct table_item *)home) != 0) {
        shared_free(home);
        mem_free(home);
        return NULL;
    }
    shard->stats.homes += 1;
    return home;
}

/* Epochs of a channel differ by the serial, those of stores by the id. */
uint64_t home_epoch(const struct shard *shard, const struct home *home)
{
    if (home->is_shared) {
        return home->shared->epoch;
    }
    uint64_t store_id =
        home->durable ? shard->durable.identity.store_id : shard->settings->store_id;

    return history_epoch(store_id, home->serial);
}

static struct cursor home_cursor(const struct shard *shard, const struct home *home)
{
    return (struct cursor){home_epoch(shard, home), home_last(home)};
}

/* result has no reply_id yet. */
static void answer(
    struct shard *shard, uint16_t to, uint64_t reply_id, struct publish_result result)
{
    struct mail_published *mail = mem_alloc(sizeof(*mail));

    *mail = (struct mail_published){.mail = {.kind = MAIL_PUBLISHED}, .result = result};
    mail->result.reply_id = reply_id;
    mail->result.has_cursor = !result.err;
    shard_post(shard, to, &mail->mail);
}

static void answer_publisher(struct shard *shard, const struct publication *pub,
    struct cursor cursor, int err, bool duplicate)
{
    if (pub->reply_id) {
        answer(shard, pub->mail.from, pub->reply_id,
            (struct publish_result){.cursor = cursor, .err = err, .duplicate = duplicate});
    }
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

/* A durable channel that comes back in the same generation would leave a hole in its numbers, so it is
 * remembered unless there are very many. */
static bool worth_remembering(const struct shard *shard, const struct home *home)
{
    return home->durable && shard->stats.homes <= DURABLE_HOMES_MAX &&
           home->next_offset - 1 > history_start(shard->durable.identity.generation);
}

void home_release(struct shard *shard, struct home *home)
{
    if (home->shards || home->ring || home_has_unshown(home) || worth_remembering(shard, home) ||
        shared_is_busy(home)) {
        return;
    }
    uint64_t *floor = home->durable ? &shard->durable.floor : &shard->floor;
    if (!home->is_shared && home->next_offset - 1 > *floor) { /* Else its numbers are Redis's. */
        *floor = home->next_offset - 1;
    }
    table_remove(&shard->homes, (struct table_item *)home);
    shard->stats.homes -= 1;
    shared_free(home);
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

void home_refuse(struct shard *shard, struct publication *pub, int err)
{
    shard->stats.refused += 1;
    answer_publisher(shard, pub, (struct cursor){0}, err, false);
    publication_unref(pub);
}

static int reason_to_refuse(
    const struct shard *shard, const struct home *home, const struct publication *pub)
{
    bool may = pub->flags & PUBLICATION_MAY_REFUSE;

    if (!home) {
        return -ENOMEM;
    }
    if ((pub->flags & PUBLICATION_ACK_STORED) && !home->durable) {
        return -ENOTSUP;
    }
    bool busy = any_behind(shard, home) || (home->durable && shard->durable.refusing);
    return may && busy ? -EBUSY : 0;
}

void home_show(struct shard *shard, struct home *home, struct publication *pub)
{
    if (home->is_shared) {
        home->next_offset = pub->offset + 1;
    } else {
        home->unshown = (uint32_t)(home->next_offset - 1 - pub->offset);
    }
    shard->stats.publications += 1;
    shard->stats.publication_bytes += pub->payload_len;
    shard->ns_stats[home->ns].publications += 1;
    shard->ns_stats[home->ns].publication_bytes += pub->payload_len;
    if (pub->flags & PUBLICATION_INDEX) {
        run_index(shard, pub);
    }
    if (!(pub->flags & PUBLICATION_EPHEMERAL)) {
        ring_keep(shard, home, pub);
    }
    /* At once, not only at a tick: publishers are faster. What goes here was once put in by one
     * publication each, so it does not add up to more than those. */
    keep_budget(shard, home, UINT32_MAX);
    for (uint64_t left = home->shards; left; left &= left - 1) {
        lend_publication(shard, (uint16_t)__builtin_ctzll(left), home, pub);
    }
}

/* Nothing is kept of an event whose key is under way already, but who waits for it. Takes it. */
static void follow(struct shard *shard, struct publication *pub)
{
    int err = pub->reply_id ? followers_add(&shard->durable.followers, pub) : 0;

    if (err) {
        home_refuse(shard, pub, err);
    } else {
        publication_unref(pub);
    }
}

/* Whoever repeated a key hears what became of the first. */
static void answer_followers(
    struct shard *shard, const uint64_t key[2], struct cursor cursor, int err)
{
    struct follower *follower = followers_take(&shard->durable.followers, key);

    while (follower) {
        struct follower *next = follower->next;
        shard->stats.refused += err != 0;
        answer(shard, follower->from, follower->reply_id,
            (struct publish_result){.cursor = cursor, .err = err, .duplicate = !err});
        mem_free(follower);
        follower = next;
    }
}

/* The key of one that is shown, or of one that may be. True: there is nothing more to do. Who awaits the store, or
 * an event that is shown once it is stored, awaits the first one's. */
static bool is_repeated(struct shard *shard, const struct home *home, struct publication *pub)
{
    const struct once_entry *entry = once_find(&shard->once, pub->once, shard->now_ns);

    if (!entry) {
        return false;
    }
    if (entry->open && ((pub->flags & PUBLICATION_ACK_STORED) || durable_is_sync(shard, home))) {
        follow(shard, pub);
        return true;
    }
    answer_publisher(shard, pub, entry->cursor, 0, true);
    publication_unref(pub);
    return true;
}

void home_take(struct shard *shard, struct publication *pub)
{
    struct home *home = home_get(shard, pub->hash, publication_name(pub));
    int err = reason_to_refuse(shard, home, pub);

    if (err) {
        home_refuse(shard, pub, err);
    } else if (home->is_shared) {
        home_freshen(shard, home);
        shared_take(shard, home, pub);
    } else if (!is_repeated(shard, home, pub)) {
        home_freshen(shard, home);
        bool wait = home->durable && durable_is_sync(shard, home);
        pub->epoch = home_epoch(shard, home);
        pub->offset = home->next_offset++;
        struct cursor cursor = {pub->epoch, pub->offset};
        once_add(&shard->once, pub->once, pub->hash, shard->now_ns, cursor);
        once_set_open(&shard->once, pub->once, home->durable);
        if (wait) {
            pub->flags |= PUBLICATION_SHOW_STORED;
            home->unshown += 1;
        } else {
            home_show(shard, home, pub);
            if (!(pub->flags & PUBLICATION_ACK_STORED)) {
                answer_publisher(shard, pub, cursor, 0, false);
            }
        }
        if (home->durable) {
            durable_append(shard, home, pub);
        }
        publication_unref(pub);
    }
    if (home) {
        home_release(shard, home); /* Without history and listeners only its number was needed. */
    }
}

void home_publish(struct shard *shard, struct publication *pub)
{
    if (pub->mail.from != shard->index) {
        shard->peers[pub->mail.from].credit += publication_size(pub);
    }
    home_take(shard, pub);
}

/* ---- what the store says ---- */

static void hear_awaited(struct shard *shard, struct publication *pub, int err)
{
    struct home *home = home_find(shard, pub->hash, publication_name(pub));

    CHECK(home && home->unshown);
    pub->flags &= ~(uint32_t)PUBLICATION_SHOW_STORED;
    home_freshen(shard, home);
    pub->epoch = home_epoch(shard, home); /* That of the moment it is shown. */
    const uint64_t key[2] = {pub->once[0], pub->once[1]};
    struct cursor cursor = {pub->epoch, pub->offset};
    if (err) {
        once_forget(&shard->once, pub->once);
        ring_clear(shard, home->ring); /* Its number is missing now, and a ring has no holes. */
        home_refuse(shard, pub, err);
    } else {
        once_set_open(&shard->once, pub->once, false);
        home_show(shard, home, pub);
        answer_publisher(shard, pub, cursor, 0, false);
        publication_unref(pub);
    }
    answer_followers(shard, key, err ? (struct cursor){0} : cursor, err);
    home_release(shard, home);
}

void home_hear_stored(struct shard *shard, struct publication *pub, int err)
{
    if (pub->flags & PUBLICATION_SHOW_STORED) {
        hear_awaited(shard, pub, err);
        return;
    }
    if (err) {
        holes_add(shard, pub->hash, publication_name(pub), pub->offset);
    }
    const struct cursor cursor = {pub->epoch, pub->offset};
    if (pub->flags & PUBLICATION_ACK_STORED) {
        answer_publisher(shard, pub, cursor, err, false);
    }
    if (pub->once[0] | pub->once[1]) {
        once_set_open(&shard->once, pub->once, false);
        answer_followers(shard, pub->once, cursor, err);
    }
    publication_unref(pub);
}

/* ---- epochs ---- */

void home_post_epoch(struct shard *shard, const struct home *home, uint16_t listener)
{
    struct mail_epoch *mail = mem_alloc(sizeof(*mail) + home->name_len);

    *mail = (struct mail_epoch){.mail = {.kind = MAIL_EPOCH},
        .hash = home->hash,
        .cursor = home_cursor(shard, home),
        .name_len = home->name_len};
    memcpy(mail->name, home->name, home->name_len);
    lend_post(shard, listener); /* What belongs to the former epoch goes before. */
    shard_post(shard, listener, &mail->mail);
}

/* What a store kept stays: it is shown from the beginning, though no cursor from before goes on. */
static void begin_epoch(struct shard *shard, struct home *home)
{
    set_serial(home, shard->serial);
    if (home->is_shared) {
        shared_doubt(shard, home); /* What was missed is in Redis. */
        return;
    }
    ring_clear(shard, home->ring);
    for (uint64_t left = home->shards; left; left &= left - 1) {
        home_post_epoch(shard, home, (uint16_t)__builtin_ctzll(left));
    }
}

bool home_is_stale(const struct shard *shard, const struct home *home)
{
    uint32_t serial = home->is_shared ? home->shared->serial : home->serial;

    return serial < shard->serial_all;
}

void home_freshen(struct shard *shard, struct home *home)
{
    if (home_is_stale(shard, home)) {
        begin_epoch(shard, home);
    }
}

void home_new_epoch(struct shard *shard, struct span name)
{
    shard->serial += 1;
    if (name.len == 0) {
        shard->serial_all = shard->serial;
        shard->epoch_walk = (struct epoch_walk){.going = true};
        return;
    }
    struct home *home = home_find(shard, shard_hash(shard, name), name);
    if (home) {
        begin_epoch(shard, home);
    }
}

/* Whoever is published to or asked for is freshened on the way; this finds the others, so that their
 * listeners hear of it and their history is freed. When the table grows meanwhile it starts over. */
static void walk_epochs(struct shard *shard)
{
    struct epoch_walk *walk = &shard->epoch_walk;

    if (walk->mask != shard->homes.mask) {
        *walk = (struct epoch_walk){.going = true, .mask = shard->homes.mask};
    }
    for (int i = 0; i < TICK_EPOCHS_MAX; i++) {
        struct home *home = (struct home *)table_next(&shard->homes, &walk->cursor);
        if (!home) {
            walk->going = false;
            return;
        }
        home_freshen(shard, home);
    }
}

void home_tick(struct shard *shard)
{
    if (shard->epoch_walk.going) {
        walk_epochs(shard);
    }
    durable_tick(shard);
    shared_tick(shard);
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
        shared_free(home);
        mem_free(home);
    }
    table_fini(&shard->homes);
    shared_fini(shard);
    lend_fini(shard);
    durable_fini(shard);
}
