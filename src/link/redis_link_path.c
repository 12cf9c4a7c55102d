/* The life of the link: one attempt after the other, each through the same phases.
 *
 *   IDLE -> GREETING -> SUBSCRIBING -> PROVING -> UP
 *     ^________|____________|_____________|_______|   redis_link_fail(), then a jittered pause
 *
 * Whatever goes wrong on either connection ends the attempt for both: half a path is no path, and
 * one way back to health is easier to trust than many.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "link/redis_backoff.h"
#include "link/redis_link_own.h"
#include "rt/loop.h"

enum {
    VERSION_MIN = 60200,
    VERSION_SHARDED = 70000,
    LOG_DOWN_MS = 30000, /* Repeated failures: at most a line in so long. */
    LOG_DROP_MS = 10000,
};

static const char *const mode_names[] = {"pattern", "exact", "sharded"};

static void tick(struct timer *timer, void *ctx);

static void set_state(struct redis_link *link, enum redis_state state, const char *sentence)
{
    bool same = link->state == state && strcmp(link->sentence, sentence) == 0;
    uint64_t now_ms = loop_now_ms(link->loop);

    if (link->state == REDIS_UP && state != REDIS_UP) {
        link->down_since_ms = now_ms;
        link->stats.up_since_ms = 0;
    } else if (link->state != REDIS_UP && state == REDIS_UP) {
        link->stats.outage_ms += now_ms - link->down_since_ms;
        link->stats.up_since_ms = now_ms;
    }
    link->state = state;
    snprintf(link->sentence, sizeof(link->sentence), "%s", sentence);
    if (!same) {
        link->events.on_state(link->events.ctx, state, link->sentence);
    }
}

static void drop_attempt(struct redis_link *link)
{
    link->phase = REDIS_PHASE_IDLE;
    timer_stop(&link->tick_timer);
    for (int i = 0; i < REDIS_CONNS; i++) {
        redis_conn_close(&link->conns[i]);
    }
    redis_inbox_drop_all(&link->inboxes[REDIS_CMD]);
    redis_subs_reset(&link->subs);
    link->pattern_count = 0;
}

/* What was heard on a connection that was never proven, or is too late to come before the gap. */
static void lose_messages(struct redis_link *link)
{
    link->losing = true;
    redis_inbox_drop_all(&link->inboxes[REDIS_SUB]);
    link->losing = false;
}

static void log_down(struct redis_link *link, const char *sentence, uint64_t pause_ms)
{
    uint64_t held;

    if (strcmp(link->sentence, sentence) != 0) {
        link->down_limit.next_ms = 0; /* Another reason is news. */
    }
    if (log_allow(&link->down_limit, loop_now_ms(link->loop), LOG_DOWN_MS, &held)) {
        LOG(LOG_WARN, "redis.down", LOG_S("address", link->target.address), LOG_S("why", sentence),
            LOG_U("retry_ms", pause_ms), LOG_U("repeats", held));
    }
}

void redis_link_fail(struct redis_link *link, const char *sentence)
{
    char copy[REDIS_SENTENCE_MAX];

    snprintf(copy, sizeof(copy), "%s", sentence);
    drop_attempt(link);
    uint64_t pause_ms = redis_backoff_ms(
        link->attempt, link->options.reconnect_min_ms, link->options.reconnect_max_ms, &link->rng);
    link->attempt += 1;
    timer_start(link->loop, &link->retry_timer, pause_ms, redis_link_retry, link);
    log_down(link, copy, pause_ms);
    set_state(link, REDIS_DOWN, copy);
    redis_link_fail_pending(link, copy);
    if (link->withhold) {
        lose_messages(link);
    }
}

void redis_link_came_up(struct redis_link *link)
{
    uint64_t outage_ms = loop_now_ms(link->loop) - link->down_since_ms;

    link->phase = REDIS_PHASE_UP;
    link->withhold = false;
    link->attempt = 0;
    link->down_limit = (struct log_limit){0}; /* The next loss is news. */
    link->stats.reconnects += link->was_up;
    link->was_up = true;
    /* Told only now, so that attempts in vain leave one line each at most. */
    LOG(LOG_INFO, "redis.connected", LOG_S("address", link->target.address),
        LOG_S("version", link->conns[REDIS_SUB].greeting.version_text),
        LOG_S("tls", link->target.tls ? "yes" : "no"));
    LOG(LOG_INFO, "redis.subscribed", LOG_S("address", link->target.address),
        LOG_S("mode", mode_names[link->options.mode]),
        LOG_U("subscriptions", link->pattern_count + link->subs.live_count),
        LOG_U("outage_ms", outage_ms));
    set_state(link, REDIS_UP, "");
}

void redis_link_retry(struct timer *timer, void *ctx)
{
    struct redis_link *link = ctx;

    (void)timer;
    link->phase = REDIS_PHASE_GREETING;
    for (int i = 0; i < REDIS_CONNS && link->phase == REDIS_PHASE_GREETING; i++) {
        redis_conn_open(&link->conns[i]);
    }
}

static void refuse(struct redis_link *link, const char *sentence)
{
    drop_attempt(link);
    LOG(LOG_ERROR, "redis.refused", LOG_S("address", link->target.address), LOG_S("why", sentence));
    set_state(link, REDIS_REFUSED, sentence);
}

void redis_link_unfit(struct redis_link *link, const char *sentence)
{
    if (link->was_up) {
        redis_link_fail(link, sentence);
    } else {
        refuse(link, sentence);
    }
}

/* A version that was not told (an access list may forbid INFO) is given the benefit of the doubt:
 * the commands themselves will show. */
bool redis_link_version_fits(struct redis_link *link, const struct redis_conn *conn)
{
    uint32_t version = conn->greeting.version;
    bool sharded = link->options.mode == REDIS_MODE_SHARDED;
    char why[REDIS_SENTENCE_MAX];

    if (version == 0 || version >= (uint32_t)(sharded ? VERSION_SHARDED : VERSION_MIN)) {
        return true;
    }
    snprintf(why, sizeof(why), "%s is Redis %s; %s", link->target.address,
        conn->greeting.version_text,
        sharded ? "redis.mode=sharded needs 7.0 or newer" : "fanout needs 6.2 or newer");
    redis_link_unfit(link, why);
    return false;
}

static int subscribe_patterns(struct redis_link *link)
{
    size_t count = redis_map_pattern_count(link->map);
    struct span *args = mem_alloc((2 + count) * sizeof(*args));

    args[0] = span_str("PSUBSCRIBE");
    for (size_t i = 0; i < count; i++) {
        args[1 + i] = span_str(redis_map_pattern(link->map, i));
    }
    args[1 + count] = span_str(redis_history_pattern);
    count += link->options.history;
    int r = resp_command(&link->conns[REDIS_SUB].out, args, 1 + count);
    mem_free(args);
    return r;
}

void redis_link_subscribe(struct redis_link *link)
{
    int r = link->options.history ? redis_link_load_scripts(link) : 0;

    link->phase = REDIS_PHASE_SUBSCRIBING;
    lose_messages(link);
    link->withhold = true;
    link->twin_due = false;
    link->conns[REDIS_SUB].backlogged = true;
    redis_canary_begin(&link->canary, loop_now_ms(link->loop));
    timer_start(link->loop, &link->tick_timer, link->canary.tick_ms, tick, link);
    if (link->options.mode == REDIS_MODE_PATTERN) {
        r = r ? r : subscribe_patterns(link);
    } /* The other modes: redis_link_turn() pumps what is queued, the canary's channel first. */
    if (r != 0) {
        redis_link_fail(link, "no memory to subscribe");
    }
}

void redis_link_prove(struct redis_link *link)
{
    link->phase = REDIS_PHASE_PROVING;
    redis_canary_begin(&link->canary, loop_now_ms(link->loop));
    if (redis_link_send_canary(link) != 0) {
        redis_link_fail(link, "no memory for the canary");
    }
}

static void log_drops(struct redis_link *link)
{
    const struct redis_stats *stats = &link->stats;
    uint64_t large = link->inboxes[REDIS_SUB].passed_count;
    uint64_t total = stats->dropped_full + stats->dropped_channel + stats->dropped_malformed +
                     stats->dropped_lost + large;
    uint64_t held;

    if (total == link->drop_logged ||
        !log_allow(&link->drop_limit, loop_now_ms(link->loop), LOG_DROP_MS, &held)) {
        return;
    }
    LOG(LOG_WARN, "redis.dropped", LOG_U("count", total - link->drop_logged),
        LOG_U("total_full", stats->dropped_full), LOG_U("total_channel", stats->dropped_channel),
        LOG_U("total_malformed", stats->dropped_malformed),
        LOG_U("total_lost", stats->dropped_lost), LOG_U("total_large", large));
    link->drop_logged = total;
}

static void tick(struct timer *timer, void *ctx)
{
    struct redis_link *link = ctx;

    timer_start(link->loop, timer, link->canary.tick_ms, tick, link);
    log_drops(link);
    switch (redis_canary_tick(&link->canary, loop_now_ms(link->loop))) {
    case REDIS_CANARY_WAIT:
        return;
    case REDIS_CANARY_SEND:
        if (link->phase >= REDIS_PHASE_PROVING && redis_link_send_canary(link) != 0) {
            redis_link_fail(link, "no memory for the canary");
        }
        return;
    case REDIS_CANARY_DEAD:
        redis_link_fail(link, link->phase == REDIS_PHASE_SUBSCRIBING
                                  ? "Redis does not confirm the subscriptions"
                                  : "Redis does not deliver: no canary came back in time");
        return;
    }
}
