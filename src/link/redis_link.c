#include "link/redis_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "link/redis_link_own.h"
#include "rt/loop.h"

/* ---- What the connections tell ---- */

static void conn_ready(void *ctx, struct redis_conn *conn)
{
    struct redis_link *link = ctx;

    if (redis_link_version_fits(link, conn) && link->conns[REDIS_SUB].state == REDIS_CONN_READY &&
        link->conns[REDIS_CMD].state == REDIS_CONN_READY) {
        /* The replies to the greeting are of no more use. */
        redis_inbox_drop_all(&link->inboxes[REDIS_CMD]);
        redis_link_subscribe(link);
    }
}

static bool conn_reply(void *ctx, struct redis_conn *conn, struct span reply)
{
    struct redis_link *link = ctx;

    return conn == &link->conns[REDIS_SUB] ? redis_link_heard(link, reply)
                                           : redis_link_answered(link, reply);
}

static void conn_failed(void *ctx, struct redis_conn *conn, const char *sentence)
{
    (void)conn;
    redis_link_fail(ctx, sentence);
}

static void socket_event(void *ctx, uint64_t id, uint32_t events)
{
    struct redis_link *link = ctx;
    uint8_t slot = redis_conn_slot(id);

    if (slot < REDIS_CONNS && link->conns[slot].id == id) {
        redis_conn_event(&link->conns[slot], events);
    }
}

/* Replies on the command connection are taken as they come; nothing waits there. */
static void command_dropped(void *ctx, struct span reply)
{
    (void)ctx;
    (void)reply;
}

/* ---- From outside ---- */

static void set_instance(struct redis_link *link, uint64_t seed)
{
    struct hash_key key;

    rng_init(&link->rng, redis_draw_seed(seed));
    key.k0 = rng_next(&link->rng);
    key.k1 = rng_next(&link->rng);
    link->twin_key = (struct hash_key){rng_next(&link->rng), rng_next(&link->rng)};
    for (enum redis_script i = 0; i < REDIS_SCRIPTS; i++) {
        redis_script_sha(i, link->sha[i]);
    }
    unsigned long long instance = rng_next(&link->rng);
    snprintf(link->client_name, sizeof(link->client_name), "fanout-%016llx", instance);
    snprintf(link->canary_text, sizeof(link->canary_text), "workflow:events:fanout-canary:%016llx",
        instance);
    link->canary_channel = span_str(link->canary_text);
    redis_subs_init(
        &link->subs, &key, link->options.linger_ms, link->options.mode == REDIS_MODE_SHARDED);
}

int redis_link_create(struct loop *loop, uint8_t socket_kind, uint8_t resolve_kind,
    const struct redis_options *options, const struct redis_events *events,
    struct redis_link **ret_link, char *err, size_t err_cap)
{
    int r = redis_options_check(options, err, err_cap);
    if (r != 0) {
        return r;
    }
    struct redis_link *link = mem_zalloc(sizeof(*link));
    *link = (struct redis_link){.loop = loop, .events = *events, .options = *options};
    link->state = REDIS_DOWN;
    link->conn_events = (struct redis_conn_events){link, conn_ready, conn_reply, conn_failed};
    r = redis_target_init(&link->target, options, link->client_name, err, err_cap);
    set_instance(link, options->seed);
    redis_inbox_init(&link->inboxes[REDIS_SUB], options->buffer_bytes, redis_link_dropped, link);
    /* With a history its pages come here; one event alone may be large. */
    redis_inbox_init(&link->inboxes[REDIS_CMD],
        options->history ? options->buffer_bytes : REDIS_INBOX_ROOM * 4, command_dropped, link);
    for (int i = 0; i < REDIS_CONNS; i++) {
        redis_conn_init(&link->conns[i], loop, socket_kind, resolve_kind, (uint8_t)i, &link->target,
            &link->conn_events, &link->inboxes[i]);
    }
    redis_canary_init(&link->canary, options->canary_interval_ms, loop_now_ms(loop));
    r = r ? r
          : redis_map_create(options->mappings, options->mapping_count, &link->map, err, err_cap);
    for (size_t i = 0; r == 0 && options->history && i < options->mapping_count; i++) {
        if (redis_pattern_overlap(options->mappings[i].pattern, redis_history_pattern)) {
            snprintf(err, err_cap, "mapping %s: its pattern overlaps with %s of the shared history",
                options->mappings[i].pattern, redis_history_pattern);
            r = -EINVAL;
        }
    }
    if (r == 0 && options->mode != REDIS_MODE_PATTERN) {
        r = redis_subs_want(&link->subs, link->canary_channel, span_of(NULL, 0));
        snprintf(err, err_cap, "%s", r < 0 ? "no memory" : "");
    }
    if (r != 0) {
        redis_link_destroy(link);
        return r;
    }
    loop_handle(loop, socket_kind, socket_event, link);
    *ret_link = link;
    return 0;
}

void redis_link_start(struct redis_link *link)
{
    link->down_since_ms = loop_now_ms(link->loop);
    timer_start(link->loop, &link->retry_timer, 0, redis_link_retry, link);
}

void redis_link_destroy(struct redis_link *link)
{
    if (!link) {
        return;
    }
    timer_stop(&link->retry_timer);
    timer_stop(&link->tick_timer);
    timer_stop(&link->busy_timer);
    for (int i = 0; i < REDIS_CONNS; i++) {
        redis_conn_fini(&link->conns[i]);
        redis_inbox_fini(&link->inboxes[i]);
    }
    redis_subs_fini(&link->subs);
    redis_link_free_calls(link);
    redis_pending_fini(&link->pending);
    redis_map_destroy(link->map);
    redis_target_fini(&link->target);
    bytes_fini(&link->payload);
    bytes_fini(&link->envelope);
    mem_free(link);
}

bool redis_link_turn(struct redis_link *link)
{
    struct redis_conn *sub = &link->conns[REDIS_SUB];
    struct redis_conn *cmd = &link->conns[REDIS_CMD];

    if (sub->more) {
        redis_conn_read(sub);
    }
    if (cmd->more) {
        redis_conn_read(cmd);
    }
    bool more = redis_link_hand_over(link);
    if (link->phase >= REDIS_PHASE_SUBSCRIBING &&
        redis_subs_pump(&link->subs, loop_now_ms(link->loop), &sub->out) != 0) {
        redis_link_fail(link, "no memory to subscribe");
    }
    for (int i = 0; i < REDIS_CONNS; i++) {
        if (link->conns[i].out.len > 0) {
            redis_conn_flush(&link->conns[i]);
        }
    }
    return more || sub->more || cmd->more;
}

/* The name in Redis of a channel that somebody here may listen to. */
static int wanted_name(
    const struct redis_link *link, struct span channel, struct redis_name *ret_name)
{
    enum redis_map_kind kind;

    int r = redis_map_out(link->map, channel, ret_name, &kind);
    if (r == 0 && redis_link_is_canary(span_of(ret_name->text, ret_name->len))) {
        r = -EINVAL;
    }
    return r;
}

int redis_link_want(struct redis_link *link, struct span channel, bool numbered)
{
    struct redis_name name;
    struct redis_key also = {0};

    int r = wanted_name(link, channel, &name);
    if (r == 0 && numbered) {
        r = redis_history_key(REDIS_KEY_PUB, channel, span_of(NULL, 0), &also);
    }
    if (r != 0) {
        return r;
    }
    if (link->options.mode == REDIS_MODE_PATTERN) {
        return link->state == REDIS_UP;
    }
    return redis_subs_want(&link->subs, span_of(name.text, name.len), span_of(also.text, also.len));
}

void redis_link_unwant(struct redis_link *link, struct span channel)
{
    struct redis_name name;

    if (link->options.mode != REDIS_MODE_PATTERN && wanted_name(link, channel, &name) == 0) {
        redis_subs_unwant(&link->subs, span_of(name.text, name.len), loop_now_ms(link->loop));
    }
}

enum redis_state redis_link_state(const struct redis_link *link)
{
    return link->state;
}

void redis_link_stats(const struct redis_link *link, struct redis_stats *ret_stats)
{
    uint64_t now_ms = loop_now_ms(link->loop);
    const struct redis_inbox *inbox = &link->inboxes[REDIS_SUB];

    *ret_stats = link->stats;
    ret_stats->state = link->state;
    ret_stats->has_history = link->options.history;
    if (link->state != REDIS_UP && link->down_since_ms > 0) {
        ret_stats->outage_ms += now_ms - link->down_since_ms;
    }
    ret_stats->dropped_large = inbox->passed_count;
    ret_stats->canaries = link->canary.count;
    ret_stats->canary_age_ms = now_ms - link->canary.back_ms;
    ret_stats->canary_round_ms = link->canary.round_ms;
    ret_stats->queue_bytes = redis_inbox_bytes(inbox);
    ret_stats->queue_bytes_max = inbox->bytes_max;
    ret_stats->unanswered_bytes = link->pending.bytes + link->held_bytes;
    ret_stats->subscriptions = link->pattern_count + link->subs.live_count;
    ret_stats->subscriptions_pending = link->subs.queued_count + link->subs.sent_count;
}
