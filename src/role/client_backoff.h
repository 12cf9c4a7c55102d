/* Backoff with full jitter: after the n-th failure in a row, wait a random time between 0 and
 * min(cap, base * 2^n). Thousands of clients that lost one server come back spread out, and each
 * of them soon. */
#ifndef ROLE_CLIENT_BACKOFF_H
#define ROLE_CLIENT_BACKOFF_H

#include <stdint.h>

#include "base/rng.h"

struct client_backoff {
    uint32_t base_ms;
    uint32_t cap_ms;
    uint32_t failures; /* In a row. */
    struct rng rng;
};

static inline void client_backoff_init(
    struct client_backoff *b, uint32_t base_ms, uint32_t cap_ms, uint64_t seed)
{
    *b = (struct client_backoff){.base_ms = base_ms, .cap_ms = cap_ms};
    rng_init(&b->rng, seed);
}

/* One more failure: how long to wait, in milliseconds. hint_ms is the server's wish (0: none); it
 * is taken as the least, and spread by half as much again. */
static inline uint64_t client_backoff_next(struct client_backoff *b, uint64_t hint_ms)
{
    uint64_t most = b->failures < 20 ? (uint64_t)b->base_ms << b->failures : b->cap_ms;

    most = most < b->cap_ms ? most : b->cap_ms;
    b->failures += 1;
    if (hint_ms) {
        return hint_ms + rng_below(&b->rng, hint_ms / 2 + 1);
    }
    return rng_below(&b->rng, most + 1);
}

/* A connection held: the next failure starts anew. */
static inline void client_backoff_reset(struct client_backoff *b)
{
    b->failures = 0;
}

#endif
