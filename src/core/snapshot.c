#include "core/snapshot.h"

#include <errno.h>

#include "base/check.h"
#include "core/home.h"
#include "core/name.h"
#include "core/once.h"
#include "core/shard.h"

enum {
    MAGIC = 0x504e5346, /* "FSNP" */
    NS_BYTES_MIN = 4,
    HOME_BYTES_MIN = 20,
    KEPT_BYTES_MIN = 28,
    ONCE_BYTES = 48,
};

/* A time in the future (another shard's clock) is as good as now. */
uint64_t snapshot_age(const struct shard *shard, uint64_t time_ns)
{
    return shard->now_ns > time_ns ? shard->now_ns - time_ns : 0;
}

uint64_t snapshot_time(const struct shard *shard, uint64_t age_ns)
{
    return shard->now_ns > age_ns ? shard->now_ns - age_ns : 0;
}

/* ---- export ---- */

static void pack_counters(const struct shard_stats *stats, struct pack *out)
{
    const struct books *books = &stats->books;

    /* What is queued is accepted anew by the shard that takes the subscriber up. */
    pack_u64(out, books->accepted - books->queued);
    pack_u64(out, books->delivered);
    pack_u32(out, DROP_REASONS);
    for (int i = 0; i < DROP_REASONS; i++) {
        pack_u64(out, books->dropped[i]);
    }
    pack_u64(out, stats->publications);
    pack_u64(out, stats->publication_bytes);
    pack_u64(out, stats->refused);
    pack_u64(out, stats->replayed);
}

static void pack_ns_counters(const struct shard *shard, struct pack *out)
{
    pack_u32(out, shard->settings->ns_count);
    for (uint32_t i = 0; i < shard->settings->ns_count; i++) {
        const struct ns_stats *stats = &shard->ns_stats[i];
        pack_span(out, span_str(shard->settings->ns[i].name));
        pack_u64(out, stats->accepted);
        pack_u64(out, stats->delivered);
        for (int reason = 0; reason < DROP_REASONS; reason++) {
            pack_u64(out, stats->dropped[reason]);
        }
        pack_u64(out, stats->publications);
        pack_u64(out, stats->publication_bytes);
    }
}

static void pack_kept(const struct shard *shard, const struct publication *pub, struct pack *out)
{
    pack_u64(out, pub->offset);
    pack_u64(out, snapshot_age(shard, pub->time_ns));
    pack_u32(out, pub->flags);
    pack_u32(out, pub->key);
    pack_span(out, publication_payload(pub));
}

/* Publications of an epoch that is over are gone from the ring, so one serial serves them all. */
static void pack_home(const struct shard *shard, const struct home *home, struct pack *out)
{
    bool stale = home_is_stale(shard, home);
    const struct ring *ring = stale ? NULL : home->ring;

    pack_span(out, span_of(home->name, home->name_len));
    pack_u64(out, home->next_offset);
    pack_u32(out, stale ? shard->serial : home->serial);
    pack_u8(out, stale || home->announce);
    pack_u32(out, ring ? ring->count : 0);
    for (uint32_t i = 0; ring && i < ring->count; i++) {
        pack_kept(shard, ring->slots[(ring->head + i) & (ring->cap - 1)], out);
    }
}

/* What the store has, the store keeps: whoever takes over opens it and begins a generation. */
static uint32_t count_homes(const struct shard *shard)
{
    size_t cursor = 0;
    uint32_t count = 0;
    const struct home *home;

    while ((home = (const struct home *)table_next(&shard->homes, &cursor))) {
        count += !home->durable && !home->is_shared;
    }
    return count;
}

static void pack_homes(struct shard *shard, struct pack *out)
{
    size_t cursor = 0;
    const struct home *home;

    pack_u32(out, count_homes(shard));
    while ((home = (const struct home *)table_next(&shard->homes, &cursor))) {
        if (!home->ring && !home->durable && !home->is_shared) {
            pack_home(shard, home, out);
        }
    }
    /* Those used least recently first: so they stand again in the importing shard. */
    for (const struct ring *ring = shard->ring_oldest; ring; ring = ring->newer) {
        if (!ring->home->durable && !ring->home->is_shared) {
            pack_home(shard, ring->home, out);
        }
    }
}

static void pack_once(const struct shard *shard, struct pack *out)
{
    pack_u32(out, (uint32_t)shard->once.entries.count);
    for (const struct once_entry *entry = shard->once.oldest; entry; entry = entry->newer) {
        pack_u64(out, entry->hash);
        pack_u64(out, entry->rest);
        pack_u64(out, entry->channel);
        pack_u64(out, snapshot_age(shard, entry->time_ns));
        pack_u64(out, entry->cursor.epoch);
        pack_u64(out, entry->cursor.offset);
    }
}

void snapshot_export_shard(struct shard *shard, struct pack *out)
{
    CHECK(!shard->self.first && !shard->flow_first && !shard->held_first && !shard->bundles.count);
    pack_u32(out, MAGIC);
    pack_u16(out, SNAPSHOT_VERSION);
    pack_u64(out, shard->settings->store_id);
    pack_u64(out, shard->settings->hash_key.k0);
    pack_u64(out, shard->settings->hash_key.k1);
    pack_u64(out, shard->floor);
    pack_u32(out, shard->serial);
    pack_counters(&shard->stats, out);
    pack_ns_counters(shard, out);
    pack_homes(shard, out);
    pack_once(shard, out);
}

/* ---- import ---- */

static void unpack_counters(struct shard_stats *stats, struct unpack *in, bool take)
{
    struct shard_stats from = {0};

    from.books.accepted = unpack_u64(in);
    from.books.delivered = unpack_u64(in);
    uint32_t reasons = unpack_u32(in);
    if (reasons != DROP_REASONS) {
        unpack_fail(in);
    }
    for (uint32_t i = 0; i < DROP_REASONS; i++) {
        from.books.dropped[i] = unpack_u64(in);
    }
    from.publications = unpack_u64(in);
    from.publication_bytes = unpack_u64(in);
    from.refused = unpack_u64(in);
    from.replayed = unpack_u64(in);
    if (books_difference(&from.books) != 0) {
        unpack_fail(in);
    }
    if (!take || in->failed) {
        return;
    }
    stats->books.accepted += from.books.accepted;
    stats->books.delivered += from.books.delivered;
    for (int i = 0; i < DROP_REASONS; i++) {
        stats->books.dropped[i] += from.books.dropped[i];
    }
    stats->publications += from.publications;
    stats->publication_bytes += from.publication_bytes;
    stats->refused += from.refused;
    stats->replayed += from.replayed;
}

/* A namespace that has no settings any more is counted with the unnamed ones. */
static void unpack_ns_counters(struct shard *shard, struct unpack *in, bool take)
{
    uint32_t count = unpack_count(in, NS_BYTES_MIN);

    for (uint32_t i = 0; i < count; i++) {
        struct ns_stats unused = {0}, *stats = &unused;
        uint8_t ns = settings_ns(shard->settings, unpack_span(in));
        if (take) {
            stats = &shard->ns_stats[ns];
        }
        stats->accepted += unpack_u64(in);
        stats->delivered += unpack_u64(in);
        for (int reason = 0; reason < DROP_REASONS; reason++) {
            stats->dropped[reason] += unpack_u64(in);
        }
        stats->publications += unpack_u64(in);
        stats->publication_bytes += unpack_u64(in);
    }
}

/* home NULL: another shard's, only read over. */
static int unpack_kept(
    struct shard *shard, struct home *home, uint64_t hash, struct span name, struct unpack *in)
{
    uint64_t offset = unpack_u64(in);
    uint64_t time_ns = snapshot_time(shard, unpack_u64(in));
    uint32_t flags = unpack_u32(in), key = unpack_u32(in);
    struct span payload = unpack_span(in);

    if (!home || in->failed) {
        return unpack_error(in);
    }
    const struct publish_order order = {
        .name = name, .payload = payload, .flags = flags, .key = key};
    struct publication *pub = publication_create(&order, hash, time_ns);
    if (!pub) {
        return -ENOMEM;
    }
    pub->offset = offset;
    pub->epoch = home_epoch(shard, home);
    ring_keep(shard, home, pub);
    publication_unref(pub);
    return 0;
}

static int unpack_home(struct shard *shard, struct unpack *in)
{
    struct span name = unpack_span(in);
    uint64_t next_offset = unpack_u64(in);
    uint32_t serial = unpack_u32(in);
    bool announce = unpack_u8(in);
    uint32_t kept = unpack_count(in, KEPT_BYTES_MIN);
    struct home *home = NULL;
    int err = unpack_error(in);

    if (err || name_check(name) || next_offset == 0 || kept >= next_offset) {
        unpack_fail(in);
        return -EBADMSG;
    }
    uint64_t hash = shard_hash(shard, name);
    if (shard_home_of(shard, hash) == shard->index) {
        home = home_get(shard, hash, name);
        if (!home) {
            return -ENOMEM;
        }
        home->durable = false; /* It goes on as it was. */
        shared_free(home);
        home->next_offset = next_offset;
        home->unshown = 0;
        home->serial = serial;
        home->announce = announce;
    }
    for (uint32_t i = 0; !err && i < kept; i++) {
        err = unpack_kept(shard, home, hash, name, in);
    }
    return err;
}

static void unpack_once(struct shard *shard, struct unpack *in)
{
    uint32_t count = unpack_count(in, ONCE_BYTES);

    for (uint32_t i = 0; i < count; i++) {
        uint64_t key[2], channel, age;
        struct cursor cursor;
        key[0] = unpack_u64(in);
        key[1] = unpack_u64(in);
        channel = unpack_u64(in);
        age = unpack_u64(in);
        cursor.epoch = unpack_u64(in);
        cursor.offset = unpack_u64(in);
        if (!in->failed && shard_home_of(shard, channel) == shard->index) {
            once_add(&shard->once, key, channel, snapshot_time(shard, age), cursor);
        }
    }
}

int snapshot_import_shard(struct shard *shard, struct unpack *in, bool counters)
{
    bool ours = unpack_u32(in) == MAGIC && unpack_u16(in) == SNAPSHOT_VERSION;

    ours = unpack_u64(in) == shard->settings->store_id && ours;
    ours = unpack_u64(in) == shard->settings->hash_key.k0 && ours;
    ours = unpack_u64(in) == shard->settings->hash_key.k1 && ours;
    uint64_t floor = unpack_u64(in);
    uint32_t serial = unpack_u32(in);
    if (!ours || in->failed) {
        return -EBADMSG;
    }
    /* A channel forgotten there may come back here: above every number that was given. */
    shard->floor = floor > shard->floor ? floor : shard->floor;
    shard->serial = serial > shard->serial ? serial : shard->serial;
    unpack_counters(&shard->stats, in, counters);
    unpack_ns_counters(shard, in, counters);
    uint32_t count = unpack_count(in, HOME_BYTES_MIN);
    for (uint32_t i = 0; i < count; i++) {
        int err = unpack_home(shard, in);
        if (err) {
            return err;
        }
    }
    unpack_once(shard, in);
    return unpack_error(in);
}
