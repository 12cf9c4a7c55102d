/* The hierarchical timing wheel (Varghese and Lauck 1987), levels chosen by difference.
 *
 * Time is counted in ticks of 10 ms, a tick number read as eight digits of six bits. A timer due at
 * tick `due` hangs on the level of the highest digit in which `due` and the current tick differ, in
 * the slot named by that digit of `due`. From that follow all properties we need:
 *
 *   - Start and stop are O(1): a few bit operations and a list link.
 *   - On each level only slots after the current digit can hold timers, and all of a level come
 *     before all of the levels above. The next thing to do is therefore the first used slot of the
 *     lowest used level: two bit scans, no rotation, no walking through empty slots, so an idle
 *     loop sleeps as long as it may.
 *   - When time reaches a slot of a higher level, its timers are hung up again; they differ from
 *     the new current tick in a lower digit only, so each timer moves at most once a level.
 *
 * A single ring with round counters was the other choice; it looks at every timer on every round
 * and wakes an idle loop for slots whose timers are rounds away.
 *
 * A timer may stop or restart itself or any other from inside a call: the slot being called is
 * moved to wheel->due first and taken apart from the front, so unlinking any of its timers is an
 * ordinary list operation; and a timer started meanwhile is due at tick_next at the earliest, which
 * lies beyond the present turn.
 */
#include "rt/timer.h"

#include <stddef.h>

#include "base/check.h"
#include "rt/loop.h"
#include "rt/loop_own.h"
#include "rt/wheel.h"

static const uint64_t NS_PER_MS = 1000000;

/* 2^50 ms are 35,000 years; keeps the sum with the time far from wrapping and inside the wheel. */
static const uint64_t DELAY_MS_MAX = 1ull << 50;

static void link_timer(struct timer **head, struct timer *timer)
{
    timer->next = *head;
    if (timer->next) {
        timer->next->link = &timer->next;
    }
    timer->link = head;
    *head = timer;
}

static void unlink_timer(struct timer *timer)
{
    *timer->link = timer->next;
    if (timer->next) {
        timer->next->link = timer->link;
    }
    timer->next = NULL;
    timer->link = NULL;
}

/* Hangs timer up at its tick, which is not before the current one. */
static void place(struct wheel *wheel, struct timer *timer, uint64_t tick)
{
    uint64_t differing = (tick ^ wheel->tick) | 1;
    uint32_t level_index = (63u - (uint32_t)__builtin_clzll(differing)) / WHEEL_LEVEL_BITS;
    CHECK(level_index < WHEEL_LEVELS && tick >= wheel->tick);

    uint32_t slot_index = (tick >> (level_index * WHEEL_LEVEL_BITS)) & (WHEEL_SLOTS - 1);
    struct wheel_level *level = &wheel->levels[level_index];
    level->used |= 1ull << slot_index;
    link_timer(&level->slots[slot_index], timer);
}

static uint64_t due_tick(const struct timer *timer)
{
    return (timer->due_ms + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;
}

/* Finds the first slot with timers; clears stale bits on the way. False when there is none. */
static bool find_first(
    struct wheel *wheel, uint32_t *ret_level, uint32_t *ret_slot, uint64_t *ret_tick)
{
    for (uint32_t i = 0; i < WHEEL_LEVELS; i++) {
        struct wheel_level *level = &wheel->levels[i];
        while (level->used) {
            uint32_t slot = (uint32_t)__builtin_ctzll(level->used);
            if (!level->slots[slot]) {
                level->used &= ~(1ull << slot);
                continue;
            }
            uint32_t shift = i * WHEEL_LEVEL_BITS;
            uint64_t above = (wheel->tick >> shift) & ~(uint64_t)(WHEEL_SLOTS - 1);
            *ret_level = i;
            *ret_slot = slot;
            *ret_tick = (above | slot) << shift;
            return true;
        }
    }
    return false;
}

static void call_due(struct wheel *wheel)
{
    while (wheel->due) {
        struct timer *timer = wheel->due;
        unlink_timer(timer);
        timer->fn(timer, timer->ctx);
    }
}

/* Hangs the timers of a coarse slot, whose time has begun, on the levels below. */
static void spread_due(struct wheel *wheel)
{
    while (wheel->due) {
        struct timer *timer = wheel->due;
        uint64_t tick = due_tick(timer);
        unlink_timer(timer);
        place(wheel, timer, tick < wheel->tick ? wheel->tick : tick);
    }
}

void wheel_init(struct wheel *wheel, uint64_t now_ns)
{
    *wheel = (struct wheel){0};
    wheel->tick = now_ns / NS_PER_MS / WHEEL_TICK_MS;
    wheel->tick_next = wheel->tick + 1;
}

void wheel_advance(struct wheel *wheel, uint64_t now_ns)
{
    uint64_t now_tick = now_ns / NS_PER_MS / WHEEL_TICK_MS;
    uint32_t level, slot;
    uint64_t tick;

    if (now_tick <= wheel->tick) {
        return;
    }
    wheel->tick_next = now_tick + 1;
    while (find_first(wheel, &level, &slot, &tick) && tick <= now_tick) {
        struct timer **head = &wheel->levels[level].slots[slot];
        CHECK(tick >= wheel->tick);
        wheel->tick = tick;
        wheel->levels[level].used &= ~(1ull << slot);
        wheel->due = *head;
        wheel->due->link = &wheel->due;
        *head = NULL;
        if (level == 0) {
            call_due(wheel);
        } else {
            spread_due(wheel);
        }
    }
    wheel->tick = now_tick;
}

uint64_t wheel_next_ns(struct wheel *wheel)
{
    uint32_t level, slot;
    uint64_t tick;

    if (!find_first(wheel, &level, &slot, &tick)) {
        return UINT64_MAX;
    }
    uint64_t next_ns;
    if (__builtin_mul_overflow(tick, WHEEL_TICK_MS * NS_PER_MS, &next_ns)) {
        return UINT64_MAX;
    }
    return next_ns;
}

void timer_start(struct loop *loop, struct timer *timer, uint64_t delay_ms, timer_fn *fn, void *ctx)
{
    struct wheel *wheel = loop_wheel(loop);
    uint64_t now_ms = (loop_now_ns(loop) + NS_PER_MS - 1) / NS_PER_MS; /* Up: never early. */

    timer_stop(timer);
    timer->due_ms = now_ms + (delay_ms < DELAY_MS_MAX ? delay_ms : DELAY_MS_MAX);
    if (timer->due_ms < wheel->tick_next * WHEEL_TICK_MS) {
        timer->due_ms = wheel->tick_next * WHEEL_TICK_MS; /* Also when spread later. */
    }
    timer->fn = fn;
    timer->ctx = ctx;
    place(wheel, timer, due_tick(timer));
}

void timer_stop(struct timer *timer)
{
    if (timer->link) {
        unlink_timer(timer);
    }
}
