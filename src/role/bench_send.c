#include "role/bench_send.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#include "base/bytes.h"
#include "base/check.h"
#include "base/mem.h"
#include "base/rng.h"
#include "role/bench_stamp.h"
#include "role/client_conn.h"
#include "role/client_http.h"
#include "role/client_redis.h"
#include "role/client_ws.h"
#include "role/schedule.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/thread.h"

enum {
    QUEUED_BYTES_MAX = 256 * 1024, /* Behind this a connection counts as busy. */
    PENDING_MAX = 1 << 16,         /* Publications without an answer, a connection. */
    NAP_NS = 70000,
    ANSWER_WAIT_NS = 2000000000,
};

/* What a publication must be remembered for until it is answered. */
struct pending {
    uint64_t sent_ns;
    uint32_t channel;
    bool measured;
};

struct sender {
    struct bench_send *send;
    uint32_t index;
    bool up;
    uint32_t *seqs; /* Next sequence number of each channel. */
    struct pending *pending;
    uint32_t pending_head, pending_count;
    struct client_http http;
    struct client_redis redis;
    struct client_ws ws;
};

struct bench_send {
    const struct bench_plan *plan;
    const struct bench_shared *shared;
    struct bench_send_totals totals;
    struct thread *thread;
    struct loop *loop;
    struct client_hub hub;
    struct sender *senders;
    uint32_t sender_turn;
    uint32_t up_count;
    uint64_t channel_turn;
    uint32_t *listeners;
    struct rng rng;
    char *payload;
    struct bytes scratch;
    char head_lines[2048];
    struct http_header headers[ARGS_LIST_MAX]; /* For WebSocket senders. */
    size_t header_count;
    struct schedule schedule;
    uint64_t run_end_ns, run_sent;
    bool run_measured;
    /* Written by the main thread, read by ours. */
    uint64_t order_start_ns, order_duration_ns;
    bool order_measured;
    uint32_t order_count;
    bool stop;
    /* Written by ours, read by the main thread. */
    uint32_t done_count;
    int ready;
};

static void remember_error(struct bench_send *send, const char *why)
{
    BENCH_ADD(send->totals.errors_ever, 1);
    if (!send->totals.why[0]) {
        snprintf(send->totals.why, sizeof send->totals.why, "%s", why);
    }
}

static void come_up(struct sender *sender)
{
    if (!sender->up) {
        sender->up = true;
        sender->send->up_count += 1;
    }
}

static void push_pending(struct sender *sender, uint32_t channel, uint64_t now_ns)
{
    uint32_t tail = (sender->pending_head + sender->pending_count) % PENDING_MAX;

    sender->pending[tail] = (struct pending){now_ns, channel, sender->send->run_measured};
    sender->pending_count += 1;
}

static void count_accepted(struct bench_send *send, uint32_t channel, bool measured)
{
    if (measured) {
        BENCH_ADD(send->totals.accepted, 1);
        BENCH_ADD(send->totals.expected, send->listeners[channel]);
    }
}

/* The oldest publication of the connection was answered. */
static void pop_pending(struct sender *sender, const char *err)
{
    struct bench_send *send = sender->send;

    if (sender->pending_count == 0) {
        return; /* A peer that answers what was not asked. */
    }
    struct pending *oldest = &sender->pending[sender->pending_head];
    sender->pending_head = (sender->pending_head + 1) % PENDING_MAX;
    sender->pending_count -= 1;
    if (err) {
        remember_error(send, err);
        return;
    }
    if (oldest->measured) {
        hist_record(&send->totals.answer, clock_now_ns() - oldest->sent_ns);
    }
    count_accepted(send, oldest->channel, oldest->measured);
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
static void lost(struct sender *sender, const char *why)
{
    struct bench_send *send = sender->send;

    remember_error(send, why);
    while (sender->pending_count) {
        pop_pending(sender, why);
    }
    if (sender->up) {
        sender->up = false;
        send->up_count -= 1;
    }
    if (BENCH_GET(send->ready) == 0) {
        __atomic_store_n(&send->ready, -1, __ATOMIC_RELEASE); /* With totals.why. */
    }
}

static void redis_closed(void *ctx, const char *why)
{
    lost(ctx, why);
}

static void ws_target(void *ctx, struct bytes *target)
{
    struct sender *sender = ctx;
    char path[BENCH_PATH_MAX];
    const struct bench_plan *plan = sender->send->plan;
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
    struct sender *sender = ctx;

    /* Of everything a publisher hears only answers to its commands matter. */
    if (sender->send->plan->ws_command && payload.len > 6 &&
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

static int open_sender(struct bench_send *send, uint32_t index)
{
    struct sender *sender = &send->senders[index];
    const struct client_url *url = &send->plan->publish.url;
    int err = 0;

    sender->send = send;
    sender->index = index;
    sender->seqs = mem_zalloc(send->plan->channel_count * sizeof *sender->seqs);
    sender->pending = mem_alloc(PENDING_MAX * sizeof *sender->pending);
    switch (send->plan->via) {
    case BENCH_HTTP:
        err = client_http_init(&sender->http, &send->hub, url, &http_events, sender);
        come_up(sender);
        break;
    case BENCH_REDIS:
        err = client_redis_init(&sender->redis, &send->hub, url, &redis_events, sender);
        err = err ? err : client_redis_open(&sender->redis);
        break;
    case BENCH_WS:
        err = client_ws_init(&sender->ws, &send->hub, url, &ws_events, sender);
        sender->ws.protocols = send->plan->ws_command ? "fanout.v1" : NULL;
        sender->ws.headers = send->headers;
        sender->ws.header_count = send->header_count;
        if (!err) {
            client_ws_start(&sender->ws);
        }
        break;
    }
    return err;
}

static bool sender_free(const struct sender *sender)
{
    if (!sender->up) {
        return false;
    }
    switch (sender->send->plan->via) {
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

static struct sender *find_free(struct bench_send *send)
{
    for (uint32_t i = 0; i < send->plan->sender_count; i++) {
        struct sender *sender = &send->senders[(send->sender_turn + i) % send->plan->sender_count];
        if (sender_free(sender)) {
            send->sender_turn = (sender->index + 1) % send->plan->sender_count;
            return sender;
        }
    }
    return NULL;
}

/* Users are hit at random, rooms in turn. A plain WebSocket publishes where it is a member. */
static uint32_t choose_channel(struct bench_send *send, const struct sender *sender)
{
    const struct bench_plan *plan = send->plan;

    if (plan->via == BENCH_WS && !plan->ws_command) {
        return (uint32_t)(sender->index % plan->channel_count);
    }
    if (plan->mode == BENCH_USERS) {
        return (uint32_t)rng_below(&send->rng, plan->channel_count);
    }
    return (uint32_t)(send->channel_turn++ % plan->channel_count);
}

static void send_redis(struct sender *sender, uint32_t channel, struct span payload)
{
    struct bench_send *send = sender->send;
    char name[BENCH_PATH_MAX];
    int len = bench_expand(send->plan->redis_channel, channel, 0, name, sizeof name);

    CHECK(len >= 0);
    if (send->plan->redis_room) {
        struct span room = span_of(name + strlen("room:"), (size_t)len - strlen("room:"));
        send->scratch.len = 0;
        CHECK(client_room_envelope(&send->scratch, room, span_str(""), payload) == 0);
        payload = span_of(send->scratch.data, send->scratch.len);
    }
    CHECK(client_redis_publish(&sender->redis, span_of(name, (size_t)len), payload) == 0);
}

static void send_ws(struct sender *sender, uint32_t channel, struct span payload)
{
    struct bench_send *send = sender->send;

    if (send->plan->ws_command) {
        send->scratch.len = 0;
        CHECK(bytes_appendf(&send->scratch,
                  "{\"id\":%u,\"publish\":{\"channel\":\"%s%u\",\"data\":%.*s}}",
                  sender->pending_count, send->plan->mode == BENCH_USERS ? "user:bench-" : "bench:",
                  channel, (int)payload.len, (const char *)payload.data) == 0);
        payload = span_of(send->scratch.data, send->scratch.len);
    }
    client_ws_send(&sender->ws, true, payload);
}

static void send_http(struct sender *sender, uint32_t channel, struct span payload)
{
    struct bench_send *send = sender->send;
    char path[BENCH_PATH_MAX];

    CHECK(bench_expand(send->plan->publish.path, channel, channel, path, sizeof path) >= 0);
    int err = client_http_post(&sender->http, path, send->head_lines, payload.data, payload.len);
    if (err) {
        pop_pending(sender, strerror(-err));
    }
}

static void send_one(struct bench_send *send, struct sender *sender, uint64_t k)
{
    uint32_t channel = choose_channel(send, sender);
    uint64_t now_ns = clock_now_ns();
    uint64_t due_ns = send->schedule.rate_uhz ? schedule_due_ns(&send->schedule, k) : now_ns;
    uint64_t late_ns = now_ns > due_ns ? now_ns - due_ns : 0;
    const struct bench_stamp stamp = {due_ns, late_ns, sender->seqs[channel]++, sender->index};
    size_t len = bench_stamp_write(&stamp, send->plan->options->size, send->payload);
    struct span payload = span_of(send->payload, len);
    bool answered = send->plan->via != BENCH_WS || send->plan->ws_command;

    if (answered) {
        push_pending(sender, channel, now_ns);
    } else {
        count_accepted(send, channel, send->run_measured);
    }
    BENCH_ADD(send->totals.sent_ever, 1);
    if (send->run_measured) {
        const struct bench_shared *shared = send->shared;
        uint64_t bin = (now_ns - send->schedule.start_ns) / shared->bin_ns;
        send->totals.bins[bin < BENCH_BINS_MAX ? bin : BENCH_BINS_MAX - 1] += 1;
        hist_record(&send->totals.late, late_ns);
        BENCH_ADD(send->totals.sent, 1);
    }
    switch (send->plan->via) {
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

/* Waits until the next message is due, or for an answer while all connections are busy.
 *
 * In short naps, not in one sleep: a processor that goes idle between messages makes every wake-up
 * of a load thread dearer, and on a virtual machine the server pays part of it (10 to 15 % of its
 * CPU for a delivery at 100 messages a second was seen). One that naps disturbs what it measures
 * alike at every rate. */
static void wait_for(struct bench_send *send, bool blocked, uint64_t due_ns)
{
    uint64_t now_ns = clock_now_ns();

    if (blocked) {
        loop_poll(send->loop, 5);
        return;
    }
    uint64_t wake_ns = due_ns < now_ns + NAP_NS ? due_ns : now_ns + NAP_NS;
    if (wake_ns > now_ns) {
        const struct timespec until = {
            (time_t)(wake_ns / 1000000000u), (long)(wake_ns % 1000000000u)};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    loop_poll(send->loop, 0);
}

/* One measured or warm-up run, until its time is over. */
static void run(struct bench_send *send)
{
    uint64_t due = 0;

    send->run_sent = 0;
    while (!BENCH_GET(send->stop)) {
        uint64_t now_ns = clock_now_ns();
        if (now_ns >= send->run_end_ns) {
            break;
        }
        due = schedule_due_count(&send->schedule, now_ns);
        bool blocked = false;
        /* Back to the loop now and then, or answers would pile up. */
        for (int burst = 0; send->run_sent < due && burst < 64; burst++) {
            struct sender *sender = find_free(send);
            if (!sender) {
                blocked = true;
                break;
            }
            send_one(send, sender, send->run_sent++);
        }
        uint64_t behind = due == UINT64_MAX ? 0 : due - send->run_sent;
        if (send->run_measured && behind > send->totals.behind_max) {
            BENCH_SET(send->totals.behind_max, behind);
        }
        if (send->run_sent < due && !blocked) {
            loop_poll(send->loop, 0);
        } else {
            uint64_t next_ns = schedule_due_ns(&send->schedule, send->run_sent);
            wait_for(send, blocked, next_ns < send->run_end_ns ? next_ns : send->run_end_ns);
        }
    }
    due = schedule_due_count(&send->schedule, send->run_end_ns - 1);
    if (send->run_measured && due != UINT64_MAX) {
        send->totals.unsent = due > send->run_sent ? due - send->run_sent : 0;
    }
}

static bool answers_missing(const struct bench_send *send)
{
    for (uint32_t i = 0; i < send->plan->sender_count; i++) {
        if (send->senders[i].pending_count) {
            return true;
        }
    }
    return false;
}

static void send_thread(void *arg)
{
    struct bench_send *send = arg;
    uint32_t done = 0;

    /* Sleeps end when they should, not up to 50 us later. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
    while (!BENCH_GET(send->stop)) {
        if (__atomic_load_n(&send->order_count, __ATOMIC_ACQUIRE) == done) {
            loop_poll(send->loop, 5);
            if (send->up_count == send->plan->sender_count && BENCH_GET(send->ready) == 0) {
                BENCH_SET(send->ready, 1);
            }
            continue;
        }
        send->schedule = schedule_of(send->order_start_ns, send->plan->rate);
        send->run_end_ns = send->order_start_ns + send->order_duration_ns;
        send->run_measured = send->order_measured;
        while (clock_now_ns() < send->schedule.start_ns && !BENCH_GET(send->stop)) {
            wait_for(send, false, send->schedule.start_ns);
        }
        run(send);
        uint64_t give_up_ns = clock_now_ns() + ANSWER_WAIT_NS;
        while (answers_missing(send) && clock_now_ns() < give_up_ns && !BENCH_GET(send->stop)) {
            loop_poll(send->loop, 5);
        }
        done += 1;
        __atomic_store_n(&send->done_count, done, __ATOMIC_RELEASE);
    }
}

/* The --header lines, for both kinds of request. Returns 0 or -EINVAL. */
static int read_headers(struct bench_send *send)
{
    const struct arg_list *list = &send->plan->options->headers;
    int len = 0;

    for (size_t i = 0; i < list->count; i++) {
        const char *colon = strchr(list->items[i], ':');
        if (!colon) {
            return -EINVAL;
        }
        const char *value = colon + 1 + strspn(colon + 1, " ");
        send->headers[i] = (struct http_header){
            span_of(list->items[i], (size_t)(colon - list->items[i])), span_str(value)};
        len += snprintf(send->head_lines + len, sizeof send->head_lines - (size_t)len, "%s\r\n",
            list->items[i]);
        if (len >= (int)sizeof send->head_lines) {
            return -EINVAL;
        }
    }
    send->header_count = list->count;
    int room = (int)sizeof send->head_lines - len;
    len = snprintf(send->head_lines + len, (size_t)room, "Content-Type: application/json\r\n");
    return len < room ? 0 : -EINVAL;
}

int bench_send_create(
    const struct bench_plan *plan, const struct bench_shared *shared, struct bench_send **ret_send)
{
    struct bench_send *send = mem_zalloc(sizeof *send);

    send->plan = plan;
    send->shared = shared;
    send->listeners = mem_zalloc(plan->channel_count * sizeof *send->listeners);
    send->senders = mem_zalloc(plan->sender_count * sizeof *send->senders);
    size_t size = plan->options->size > BENCH_STAMP_MAX ? plan->options->size : BENCH_STAMP_MAX;
    send->payload = mem_alloc(size + 1);
    rng_init(&send->rng, 1);
    int err = read_headers(send);
    err = err ? err : loop_create(&send->loop);
    if (!err) {
        client_hub_init(&send->hub, send->loop, false);
    }
    for (uint32_t i = 0; !err && i < plan->sender_count; i++) {
        err = open_sender(send, i);
    }
    err = err ? err : thread_start("bench-send", -1, send_thread, send, &send->thread);
    if (err) {
        bench_send_destroy(send);
        return err;
    }
    *ret_send = send;
    return 0;
}

int bench_send_ready(const struct bench_send *send)
{
    return __atomic_load_n(&send->ready, __ATOMIC_ACQUIRE);
}

void bench_send_listeners(struct bench_send *send, const uint32_t *listeners)
{
    memcpy(send->listeners, listeners, send->plan->channel_count * sizeof *listeners);
}

void bench_send_run(struct bench_send *send, uint64_t start_ns, uint64_t duration_ns, bool measured)
{
    send->order_start_ns = start_ns;
    send->order_duration_ns = duration_ns;
    send->order_measured = measured;
    __atomic_store_n(&send->order_count, send->order_count + 1, __ATOMIC_RELEASE);
}

bool bench_send_idle(const struct bench_send *send)
{
    return __atomic_load_n(&send->done_count, __ATOMIC_ACQUIRE) == send->order_count;
}

const struct bench_send_totals *bench_send_totals(const struct bench_send *send)
{
    return &send->totals;
}

void bench_send_stop(struct bench_send *send)
{
    if (send && send->thread) {
        BENCH_SET(send->stop, true);
        loop_wake(send->loop);
        thread_join(send->thread);
        send->thread = NULL;
    }
}

void bench_send_destroy(struct bench_send *send)
{
    if (!send) {
        return;
    }
    bench_send_stop(send);
    for (uint32_t i = 0; i < send->plan->sender_count; i++) {
        struct sender *sender = &send->senders[i];
        if (!sender->send) {
            continue;
        }
        if (send->plan->via == BENCH_HTTP) {
            client_http_fini(&sender->http);
        } else if (send->plan->via == BENCH_REDIS) {
            client_redis_fini(&sender->redis);
        } else {
            client_ws_fini(&sender->ws);
        }
        mem_free(sender->seqs);
        mem_free(sender->pending);
    }
    client_hub_fini(&send->hub);
    loop_destroy(send->loop);
    bytes_fini(&send->scratch);
    mem_free(send->senders);
    mem_free(send->listeners);
    mem_free(send->payload);
    mem_free(send);
}
