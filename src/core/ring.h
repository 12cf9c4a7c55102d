/* Ring: the last publications of one channel, oldest first, in memory.
 *
 * Allocated at the first publication; bounded by the namespace in number, bytes (the newest stays, however large) and age, and with all
 * the shard's rings by a budget (home_tick()). A ring has no holes: what cannot be kept takes what was
 * kept before with it. Runs on the home shard's thread.
 */
#ifndef CORE_RING_H
#define CORE_RING_H

#include <stdint.h>

struct home;
struct ns_settings;
struct publication;
struct shard;

struct ring {
    struct home *home;
    struct ring *newer, *older; /* Of all the shard's rings, by last use. */
    uint64_t bytes;
    uint32_t head, count, cap; /* cap: power of two. */
    struct publication *slots[];
};

/* Keeps a numbered publication (shares it) as far as the namespace and memory allow. */
void ring_keep(struct shard *shard, struct home *home, struct publication *pub);

/* Forgets what is over the namespace's bounds. */
void ring_trim(struct shard *shard, struct ring *ring, const struct ns_settings *ns);

/* Forgets the oldest; there must be one. */
void ring_pop(struct shard *shard, struct ring *ring);

/* Forgets everything. The empty ring, and perhaps its home, go at the next tick. NULL is fine. */
void ring_clear(struct shard *shard, struct ring *ring);

/* Frees home->ring; fine when there is none. */
void ring_drop(struct shard *shard, struct home *home);

#endif
