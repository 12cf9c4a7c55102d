#include "link/redis_canary.h"

enum { LIMIT_MIN_MS = 2500, TICK_MIN_MS = 10, TICK_MAX_MS = 250 };

void redis_canary_init(struct redis_canary *canary, uint32_t interval_ms, uint64_t now_ms)
{
    uint64_t limit_ms = (uint64_t)interval_ms * 2;
    uint32_t tick_ms = interval_ms / 4;

    limit_ms = limit_ms > LIMIT_MIN_MS ? limit_ms : (uint64_t)LIMIT_MIN_MS;
    *canary = (struct redis_canary){
        .interval_ms = interval_ms,
        .limit_ms = limit_ms < UINT32_MAX ? (uint32_t)limit_ms : UINT32_MAX,
        .tick_ms = tick_ms < TICK_MIN_MS   ? (uint32_t)TICK_MIN_MS
                   : tick_ms > TICK_MAX_MS ? (uint32_t)TICK_MAX_MS
                                           : tick_ms,
        .back_ms = now_ms,
    };
}

void redis_canary_begin(struct redis_canary *canary, uint64_t now_ms)
{
    /* One of an earlier path, late, proves nothing about this one's beginning. */
    canary->back = canary->number;
    canary->sent_ms = 0;
    canary->judge_ms = now_ms;
    canary->tick_last_ms = now_ms;
}

void redis_canary_alive(struct redis_canary *canary, uint64_t now_ms)
{
    canary->judge_ms = now_ms;
}

enum redis_canary_word redis_canary_tick(struct redis_canary *canary, uint64_t now_ms)
{
    uint64_t away_ms = now_ms - canary->tick_last_ms;

    canary->tick_last_ms = now_ms;
    if (away_ms > (uint64_t)canary->tick_ms + LIMIT_MIN_MS / 5) {
        canary->judge_ms += away_ms; /* We did not run: neither sent nor read. */
        canary->judge_ms = canary->judge_ms < now_ms ? canary->judge_ms : now_ms;
    }
    if (now_ms - canary->judge_ms >= canary->limit_ms) {
        return REDIS_CANARY_DEAD;
    }
    /* Half a tick early is nearer to the interval than half a tick late. */
    bool due = canary->sent_ms == 0 ||
               now_ms + canary->tick_ms / 2 >= canary->sent_ms + canary->interval_ms;
    return due ? REDIS_CANARY_SEND : REDIS_CANARY_WAIT;
}

uint64_t redis_canary_next(struct redis_canary *canary, uint64_t now_ms)
{
    canary->number += 1;
    canary->sent_ms = now_ms;
    return canary->number;
}

static bool parse_number(struct span text, uint64_t *ret)
{
    uint64_t number = 0;

    if (text.len == 0 || text.len > 19) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        number = number * 10 + (uint64_t)(text.data[i] - '0');
    }
    *ret = number;
    return true;
}

bool redis_canary_came(struct redis_canary *canary, struct span payload, uint64_t now_ms)
{
    uint64_t number;

    if (!parse_number(payload, &number) || number <= canary->back || number > canary->number) {
        return false;
    }
    canary->back = number;
    canary->back_ms = now_ms;
    canary->judge_ms = now_ms;
    canary->count += 1;
    if (number == canary->number) {
        canary->round_ms = now_ms - canary->sent_ms;
    }
    return true;
}
