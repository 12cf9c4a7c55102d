/* A small seeded generator (xoshiro256**, Blackman and Vigna 2018) for jitter, simulation and
 * sampling. Not for secrets: those come from getrandom(). */
#ifndef BASE_RNG_H
#define BASE_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

void rng_init(struct rng *rng, uint64_t seed);
uint64_t rng_next(struct rng *rng);

/* A number in [0, bound); 0 when bound is 0. */
uint64_t rng_below(struct rng *rng, uint64_t bound);

#endif
