/* Timers: an intrusive hierarchical wheel, 10 ms ticks, for deadlines that exist by the thousand.
 *
 * A timer lives inside the struct it belongs to and costs nothing while stopped. It fires once,
 * never early, at most one tick late when the loop is not busy. Not for heartbeats: those scan.
 * Runs on the loop's thread.
 */
#ifndef RT_TIMER_H
#define RT_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct timer;

typedef void timer_fn(struct timer *timer, void *ctx);

struct timer {
    struct timer *next, **link; /* link is NULL while stopped. */
    uint64_t due_ms;
    timer_fn *fn;
    void *ctx;
};

/* (Re)arms timer to call fn(timer, ctx) after delay_ms. The timer must stay in place meanwhile. */
void timer_start(
    struct loop *loop, struct timer *timer, uint64_t delay_ms, timer_fn *fn, void *ctx);

/* Stopping a stopped (or zeroed) timer is fine, also inside its own call. */
void timer_stop(struct timer *timer);

static inline bool timer_armed(const struct timer *timer)
{
    return timer->link != 0;
}

#endif
