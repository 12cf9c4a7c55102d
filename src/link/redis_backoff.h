/* How long to wait before the next attempt: doubling from min to max, with full jitter, so that
 * the gateways of one Redis do not all come back in the same instant. */
#ifndef LINK_REDIS_BACKOFF_H
#define LINK_REDIS_BACKOFF_H

#include <stdint.h>

#include "base/rng.h"

/* attempt: 0 for the first after a success. */
static inline uint64_t redis_backoff_ms(
    uint32_t attempt, uint32_t min_ms, uint32_t max_ms, struct rng *rng)
{
    uint64_t top_ms = (uint64_t)min_ms << (attempt < 30 ? attempt + 1 : 31);

    top_ms = top_ms < max_ms ? top_ms : max_ms;
    return min_ms + rng_below(rng, top_ms - min_ms + 1);
}

#endif
