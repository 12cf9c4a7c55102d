/* Wheel: where armed timers wait. Inside rt only; the rest of the program sees rt/timer.h.
 *
 * Every loop, real or simulated, owns one. Runs on the loop's thread.
 */
#ifndef RT_WHEEL_H
#define RT_WHEEL_H

#include <stdint.h>

struct timer;

enum {
    WHEEL_TICK_MS = 10,
    WHEEL_LEVEL_BITS = 6,
    WHEEL_SLOTS = 1 << WHEEL_LEVEL_BITS,
    WHEEL_LEVELS = 8, /* 2^48 ticks: 89,000 years, so no timer is ever beyond the wheel. */
};

struct wheel_level {
    uint64_t used; /* One bit a slot. A set bit may be stale (timer_stop() knows no wheel). */
    struct timer *slots[WHEEL_SLOTS];
};

struct wheel {
    uint64_t tick;      /* Everything due up to here has been called. */
    uint64_t tick_next; /* The earliest tick that a timer started now may take. */
    struct timer *due;  /* Taken out of their slot, being called. */
    struct wheel_level levels[WHEEL_LEVELS];
};

void wheel_init(struct wheel *wheel, uint64_t now_ns);

/* Calls what is due. */
void wheel_advance(struct wheel *wheel, uint64_t now_ns);

/* When wheel_advance() must be called at the latest, in monotonic nanoseconds; UINT64_MAX: never.
 * May be earlier than the first timer (when a coarse slot has to be spread), never later. */
uint64_t wheel_next_ns(struct wheel *wheel);

#endif
