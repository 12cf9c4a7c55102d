#include "role/bench_sender.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/clock.h"

enum {
    QUEUED_BYTES_MAX = 256 * 1024, /* Behind this a connection counts as busy. */
    PENDING_MAX = 1 << 16,         /* Publications without an answer, a connection. */
};

/* What a publication must be remembered for until it is answered. */
struct bench_pending {
    uint64_t sent_ns;
    uint32_t channel;
    bool measured;
};

static void remember_error(struct bench_sender_set *set, const char *why)
{
    BENCH_ADD(set->totals->errors_ever, 1);
    if (!set->totals->why[0]) {
        snprintf(set->totals->why, sizeof set->totals->why, "%s", why);
    }
}

static void come_up(struct bench_sender *sender)
{
    if (!sender->up) {
        sender->up = true;
        sender->set->up_count += 1;
    }
}

static void push_pending(
    struct bench_sender *sender, uint32_t channel, uint64_t now_ns, bool measured)
{
    uint32_t tail = (sender->pending_head + sender->pending_count) % PENDING_MAX;

    sender->pending[tail] = (struct bench_pending){now_ns, channel, measured};
    sender->pending_count += 1;
}

static void count_accepted(struct bench_sender_set *set, uint32_t channel, bool measured)
{
    if (measured) {
        BENCH_ADD(set->totals->accepted, 1);
        BENCH_ADD(set->totals->expected, set->listeners[channel]);
    }
}

/* The oldest publication of the connection was answered. */
static void pop_pending(struct bench_sender *sender, const char *err)
{
    struct bench_sender_set *set = sender->set;

    if (sender->pending_count == 0) {
        return; /* A peer that answers what was not asked. */
    }
    struct bench_pending *oldest = &sender->pending[sender->pending_head];
    sender->pending_head = (sender->pending_head + 1) % PENDING_MAX;
    sender->pending_count -= 1;
    if (err) {
        remember_error(set, err);
        return;
    }
    if (oldest->measured) {
        hist_record(&set->totals->answer, clock_now_ns() - oldest->sent_ns);
    }
    count_accepted(set, oldest->channel, oldest->measured);
}

static void http_response(void *ctx, int status, struct span body)
{
    char why[BENCH_WHY_MAX];

    if (status / 100 == 2) {
        pop_pending(ctx, NULL);
    } else {
        client_error_sentence(status, body, why, sizeof why);
        pop_pending(ctx, why);
    }
}

static void http_failed(void *ctx, const char *why)
{
    pop_pending(ctx, why);
}

static void redis_opened(void *ctx)
{
    come_up(ctx);
}

static void redis_answered(void *ctx, int64_t receivers, const char *err)
{
    pop_pending(ctx, err);
}

/* A load run does not outlive its publisher: what was on its way is lost, and is told. */
static void lost(struct bench_sender *sender, const char *why)
{
    struct bench_sender_set *set = sender->set;

    remember_error(set, why);
    while (sender->pending_count) {
        pop_pending(sender, why);
    }
    if (sender->up) {
        sender->up = false;
        set->up_count -= 1;
    }
    if (BENCH_GET(set->ready) == 0) {
        __atomic_store_n(&set->ready, -1, __ATOMIC_RELEASE); /* With totals.why. */
    }
}

static void redis_closed(void *ctx, const char *why)
{
    lost(ctx, why);
}

static void ws_target(void *ctx, struct bytes *target)
{
    struct bench_sender *sender = ctx;
    char path[BENCH_PATH_MAX];
    const struct bench_plan *plan = sender->set->plan;
    uint64_t channel = plan->ws_command ? sender->index : sender->index % plan->channel_count;

    CHECK(bench_expand(plan->publish.path, channel, sender->index, path, sizeof path) >= 0);
    CHECK(bytes_append_str(target, path) == 0);
}

static void ws_opened(void *ctx, const struct http_response *resp)
{
    come_up(ctx);
}

static void ws_message(void *ctx, bool text, struct span payload)
{
    struct bench_sender *sender = ctx;

    /* Of everything a publisher hears only answers to its commands matter. */
    if (sender->set->plan->ws_command && payload.len > 6 &&
        memcmp(payload.data, "{\"id\":", 6) == 0) {
        bool error = memmem(payload.data, payload.len, "\"error\":", 8) != NULL;
        char why[BENCH_WHY_MAX];
        client_error_sentence(0, payload, why, sizeof why);
        pop_pending(sender, error ? why : NULL);
    }
}

static void ws_down(void *ctx, const char *why, uint64_t retry_ms)
{
    lost(ctx, why);
}

static void ws_ended(void *ctx, const char *why)
{
    lost(ctx, why);
}

static const struct client_http_events http_events = {http_response, http_failed};
static const struct client_redis_events redis_events = {redis_opened, redis_answered, redis_closed};
static const struct client_ws_events ws_events = {
    ws_target, ws_opened, ws_message, ws_down, ws_ended};

int bench_sender_headers(struct bench_sender_set *set)
{
    const struct arg_list *list = &set->plan->options->headers;
    int len = 0;

    for (size_t i = 0; i < list->count; i++) {
        const char *colon = strchr(list->items[i], ':');
        if (!colon) {
            return -EINVAL;
        }
        const char *value = colon + 1 + strspn(colon + 1, " ");
        set->headers[i] = (struct http_header){
            span_of(list->items[i], (size_t)(colon - list->items[i])), span_str(value)};
        len += snprintf(
            set->head_lines + len, sizeof set->head_lines - (size_t)len, "%s\r\n", list->items[i]);
        if (len >= (int)sizeof set->head_lines) {
            return -EINVAL;
        }
    }
    set->header_count = list->count;
    int room = (int)sizeof set->head_lines - len;
    len = snprintf(set->head_lines + len, (size_t)room, "Content-Type: application/json\r\n");
    return len < room ? 0 : -EINVAL;
}

int bench_sender_open(struct bench_sender *sender, struct bench_sender_set *set, uint32_t index)
{
    const struct client_url *url = &set->plan->publish.url;
    int err = 0;

    sender->set = set;
    sender->index = index;
    sender->seqs = mem_zalloc(set->plan->channel_count * sizeof *sender->seqs);
    sender->pending = mem_alloc(PENDING_MAX * sizeof *sender->pending);
    switch (set->plan->via) {
    case BENCH_HTTP:
        err = client_http_init(&sender->http, &set->hub, url, &http_events, sender);
        come_up(sender);
        break;
    case BENCH_REDIS:
        err = client_redis_init(&sender->redis, &set->hub, url, &redis_events, sender);
        err = err ? err : client_redis_open(&sender->redis);
        break;
    case BENCH_WS:
        err = client_ws_init(&sender->ws, &set->hub, url, &ws_events, sender);
        sender->ws.protocols = set->plan->ws_command ? "fanout.v1" : NULL;
        sender->ws.headers = set->headers;
        sender->ws.header_count = set->header_count;
        if (!err) {
            client_ws_start(&sender->ws);
        }
        break;
    }
    return err;
}

bool bench_sender_free(const struct bench_sender *sender)
{
    if (!sender->up) {
        return false;
    }
    switch (sender->set->plan->via) {
    case BENCH_HTTP:
        return !client_http_busy(&sender->http);
    case BENCH_REDIS:
        return client_conn_queued(&sender->redis.conn) < QUEUED_BYTES_MAX &&
               sender->pending_count < PENDING_MAX;
    default:
        return client_conn_queued(&sender->ws.conn) < QUEUED_BYTES_MAX &&
               sender->pending_count < PENDING_MAX;
    }
}

static void send_redis(struct bench_sender *sender, uint32_t channel, struct span payload)
{
    struct bench_sender_set *set = sender->set;
    char name[BENCH_PATH_MAX];
    int len = bench_expand(set->plan->redis_channel, channel, 0, name, sizeof name);

    CHECK(len >= 0);
    if (set->plan->redis_room) {
        struct span room = span_of(name + strlen("room:"), (size_t)len - strlen("room:"));
        set->scratch.len = 0;
        CHECK(client_room_envelope(&set->scratch, room, span_str(""), payload) == 0);
        payload = span_of(set->scratch.data, set->scratch.len);
    }
    CHECK(client_redis_publish(&sender->redis, span_of(name, (size_t)len), payload) == 0);
}

static void send_ws(struct bench_sender *sender, uint32_t channel, struct span payload)
{
    struct bench_sender_set *set = sender->set;

    if (set->plan->ws_command) {
        set->scratch.len = 0;
        CHECK(bytes_appendf(&set->scratch,
                  "{\"id\":%u,\"publish\":{\"channel\":\"%s%u\",\"data\":%.*s}}",
                  sender->pending_count, set->plan->mode == BENCH_USERS ? "user:bench-" : "bench:",
                  channel, (int)payload.len, (const char *)payload.data) == 0);
        payload = span_of(set->scratch.data, set->scratch.len);
    }
    client_ws_send(&sender->ws, true, payload);
}

static void send_http(struct bench_sender *sender, uint32_t channel, struct span payload)
{
    struct bench_sender_set *set = sender->set;
    char path[BENCH_PATH_MAX];

    CHECK(bench_expand(set->plan->publish.path, channel, channel, path, sizeof path) >= 0);
    int err = client_http_post(&sender->http, path, set->head_lines, payload.data, payload.len);
    if (err) {
        pop_pending(sender, strerror(-err));
    }
}

void bench_sender_publish(struct bench_sender *sender, uint32_t channel, struct span payload,
    uint64_t now_ns, bool measured)
{
    const struct bench_plan *plan = sender->set->plan;

    if (plan->via != BENCH_WS || plan->ws_command) {
        push_pending(sender, channel, now_ns, measured);
    } else {
        count_accepted(sender->set, channel, measured);
    }
    switch (plan->via) {
    case BENCH_HTTP:
        send_http(sender, channel, payload);
        break;
    case BENCH_REDIS:
        send_redis(sender, channel, payload);
        break;
    case BENCH_WS:
        send_ws(sender, channel, payload);
        break;
    }
}

void bench_sender_close(struct bench_sender *sender)
{
    if (!sender->set) {
        return;
    }
    switch (sender->set->plan->via) {
    case BENCH_HTTP:
        client_http_fini(&sender->http);
        break;
    case BENCH_REDIS:
        client_redis_fini(&sender->redis);
        break;
    case BENCH_WS:
        client_ws_fini(&sender->ws);
        break;
    }
    mem_free(sender->seqs);
    mem_free(sender->pending);
}
