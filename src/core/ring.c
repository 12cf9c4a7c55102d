#include "core/ring.h"

#include "base/mem.h"
#include "core/home.h"
#include "core/shard.h"

enum { RING_CAP_MIN = 8 };

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

void ring_pop(struct shard *shard, struct ring *ring)
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
void ring_clear(struct shard *shard, struct ring *ring)
{
    while (ring && ring->count) {
        ring_pop(shard, ring);
    }
}

void ring_drop(struct shard *shard, struct home *home)
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

/* Memory holds the newest of a durable channel; the rest is read from the store. */
enum { TAIL_MESSAGES = 1024, TAIL_BYTES = 1024 * 1024 };

static uint32_t messages_max(const struct home *home, const struct ns_settings *ns)
{
    bool tail = home->durable && ns->history_messages > TAIL_MESSAGES;
    return tail ? TAIL_MESSAGES : ns->history_messages;
}

static uint64_t bytes_max(const struct home *home, const struct ns_settings *ns)
{
    bool tail = home->durable && ns->history_bytes > TAIL_BYTES;
    return tail ? TAIL_BYTES : ns->history_bytes;
}

void ring_trim(struct shard *shard, struct ring *ring, const struct ns_settings *ns)
{
    while (ring->count) {
        const struct publication *oldest = ring->slots[ring->head];
        /* Another shard took it in: its clock may be ahead of this turn's. */
        bool old = shard->now_ns > oldest->time_ns &&
                   shard->now_ns - oldest->time_ns > ns->history_age_ms * 1000000;
        /* The newest stays however large it is: whoever reads on from the one before must get it. What a
         * publisher may send bounds it. */
        bool large =
            ring->bytes > bytes_max(ring->home, ns) && (ring->count > 1 || ns->history_bytes == 0);
        if (ring->count <= messages_max(ring->home, ns) && !large && !old) {
            return;
        }
        ring_pop(shard, ring);
    }
}

/* History is best effort in memory: without room the publication is delivered and not kept, and
 * then what was kept before must go too, since a ring has no holes. */
void ring_keep(struct shard *shard, struct home *home, struct publication *pub)
{
    const struct ns_settings *ns = &shard->settings->ns[home->ns];
    struct ring *ring = home->ring;

    if (ns->history_messages == 0) {
        ring_clear(shard, ring); /* Until a reload there was one, and it may not have holes. */
        return;
    }
    if (!ring || ring->count == ring->cap) {
        if (ring && ring->count >= messages_max(home, ns)) {
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
