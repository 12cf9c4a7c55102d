/* A number that several threads raise and lower, with a bound (connections of the process). */
#ifndef BASE_GAUGE_H
#define BASE_GAUGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct gauge {
    _Atomic uint32_t value;
};

/* Adds one unless that would exceed max. */
static inline bool gauge_try_add(struct gauge *gauge, uint32_t max)
{
    if (atomic_fetch_add_explicit(&gauge->value, 1, memory_order_relaxed) < max) {
        return true;
    }
    atomic_fetch_sub_explicit(&gauge->value, 1, memory_order_relaxed);
    return false;
}

static inline void gauge_sub(struct gauge *gauge)
{
    atomic_fetch_sub_explicit(&gauge->value, 1, memory_order_relaxed);
}

static inline uint32_t gauge_value(const struct gauge *gauge)
{
    return atomic_load_explicit(&gauge->value, memory_order_relaxed);
}

#endif
