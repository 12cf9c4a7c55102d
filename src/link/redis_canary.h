/* Canary: is the way through Redis and back alive?
 *
 * Every interval a numbered message is published on one connection and must come back on the
 * other. The path is dead when none came back for max(2 intervals, 2.5 s). Time in which we
 * ourselves did not run (a stopped process, a stalled loop) is not held against Redis.
 *
 * Pure: the caller gives the time and does the sending. redis_canary_tick() wants to be called
 * every tick_ms.
 */
#ifndef LINK_REDIS_CANARY_H
#define LINK_REDIS_CANARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct redis_canary {
    uint32_t interval_ms;
    uint32_t limit_ms;
    uint32_t tick_ms;
    uint64_t number;   /* Of the last one sent. */
    uint64_t sent_ms;  /* When that was. */
    uint64_t back;     /* Number of the last one that came back. */
    uint64_t back_ms;  /* When that was, or when we began to wait. */
    uint64_t judge_ms; /* Silence counts from here. */
    uint64_t tick_last_ms;
    uint64_t round_ms; /* How long the last one took. */
    uint64_t count;    /* Came back, ever. */
};

enum redis_canary_word {
    REDIS_CANARY_WAIT, /* Nothing to do. */
    REDIS_CANARY_SEND, /* Publish redis_canary_next(). */
    REDIS_CANARY_DEAD, /* The path is down. */
};

void redis_canary_init(struct redis_canary *canary, uint32_t interval_ms, uint64_t now_ms);

/* A path was set up: silence counts from now, and the first tick sends. */
void redis_canary_begin(struct redis_canary *canary, uint64_t now_ms);

/* Another sign of life, while no canary flies yet. */
void redis_canary_alive(struct redis_canary *canary, uint64_t now_ms);

enum redis_canary_word redis_canary_tick(struct redis_canary *canary, uint64_t now_ms);

/* One is being sent now; its number. */
uint64_t redis_canary_next(struct redis_canary *canary, uint64_t now_ms);

/* One came back. True when it proves something: a number that was sent since the path was set up
 * and had not come back before. */
bool redis_canary_came(struct redis_canary *canary, struct span payload, uint64_t now_ms);

#endif
