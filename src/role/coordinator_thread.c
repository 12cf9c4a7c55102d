#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/mem.h"
#include "ctl/config.h"
#include "link/http_client.h"
#include "role/coordinator_own.h"
#include "rt/clock.h"
#include "rt/fds.h"
#include "rt/loop.h"
#include "rt/mailbox.h"

enum {
    NS_PER_MS = 1000000,
    WAIT_MAX_MS = 1000,
    START_MAX_MS = 2000,
    HTTP_CONNECTIONS = 256,
    HTTP_CONNECTIONS_HOST = 32,
    RUNS_MAX = 10000,
    RUNS_BYTES = 128 << 20,
    CACHE_BYTES = 64 << 20,
};

static uint64_t now_ms(void)
{
    return clock_wall_ns() / NS_PER_MS;
}

static uint64_t now_us(void)
{
    return clock_now_ns() / 1000;
}

/* ---- the shards and the log are told how it is ---- */

struct state_letter {
    struct coordinator_letter letter;
    bool up;
    char why[COORDINATOR_WHY_MAX];
};

static void hear_state(struct shard *shard, struct mail_call *call)
{
    struct state_letter *news = (struct state_letter *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);

    gs->coordinator_up = news->up;
    memcpy(gs->coordinator_why, news->why, sizeof(gs->coordinator_why));
    mem_free(news);
}

static void tell_shards(struct coordinator *coordinator, bool up, const char *why)
{
    coordinator->up = up;
    snprintf(coordinator->why, sizeof(coordinator->why), "%s", why);
    for (uint16_t i = 0; i < coordinator->gateway->shard_count; i++) {
        struct state_letter *news = mem_zalloc(sizeof(*news));
        news->up = up;
        memcpy(news->why, coordinator->why, sizeof(news->why));
        coordinator_to_shard(coordinator, i, hear_state, &news->letter);
    }
}

/* Ready means that a run can be started and its events get out, of the workflows there are, too. */
static void look_how_it_is(struct coordinator *coordinator)
{
    const char *why = !coordinator->store_up                    ? coordinator->store_why
                      : !coordinator->gateway_up                ? coordinator->gateway_why
                      : !coordinator_files_settled(coordinator) ? "workflows are being read"
                                                                : "";
    bool up = !why[0];

    if (up != coordinator->up || strcmp(why, coordinator->why) != 0) {
        tell_shards(coordinator, up, why);
    }
}

/* ---- what the store hands out is the flow's, which is made after it ---- */

static void on_task(void *ctx, struct flow_task *task)
{
    struct coordinator *coordinator = ctx;
    struct flow_events_in in = flow_events_in(coordinator->flow);
    in.on_task(in.ctx, task);
}

static void on_signal(void *ctx, struct flow_signal *signal)
{
    struct coordinator *coordinator = ctx;
    struct flow_events_in in = flow_events_in(coordinator->flow);
    in.on_signal(in.ctx, signal);
}

static void on_timer(void *ctx, struct span run_id, struct span node)
{
    struct coordinator *coordinator = ctx;
    struct flow_events_in in = flow_events_in(coordinator->flow);
    in.on_timer(in.ctx, run_id, node);
}

static const char opening[] = "the store of runs is not open yet";

/* Down is said once, also when it was never up. */
static void on_state(void *ctx, bool up, const char *why)
{
    struct coordinator *coordinator = ctx;
    struct flow_events_in in = flow_events_in(coordinator->flow);

    in.on_state(in.ctx, up, why);
    if (coordinator->stopping) {
        return;
    }
    if (up && !coordinator->store_up) {
        LOG(LOG_INFO, "coordinator.store_up", LOG_S("store", coordinator_store_name(coordinator)));
    } else if (!up && (coordinator->store_up || strcmp(coordinator->store_why, opening) == 0)) {
        LOG(LOG_WARN, "coordinator.store_down", LOG_S("store", coordinator_store_name(coordinator)),
            LOG_S("why", why));
    }
    coordinator->store_up = up;
    snprintf(coordinator->store_why, sizeof(coordinator->store_why), "%s",
        up              ? ""
        : why && why[0] ? why
                        : "the store of runs cannot be used");
}

/* ---- opening ---- */

static int own_table(struct coordinator *coordinator)
{
    struct gateway *gateway = coordinator->gateway;
    int keep[CORE_SHARDS_MAX + 1];
    uint32_t count = 0;

    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        keep[count++] = mailbox_wake_fd(gateway->shards[i].mailbox);
    }
    keep[count++] = mailbox_wake_fd(coordinator->mailbox);
    return fds_own_table(keep, count);
}

static void on_mailbox(void *ctx, uint64_t id, uint32_t events)
{
    struct coordinator *coordinator = ctx;

    (void)id;
    (void)events;
    mailbox_awake(coordinator->mailbox);
}

static int open_loop(struct coordinator *coordinator)
{
    int err = coordinator->config->fd_tables ? own_table(coordinator) : 0;

    err = err ? err : loop_create(&coordinator->loop);
    if (err) {
        return err;
    }
    loop_handle(coordinator->loop, COORDINATOR_KIND_MAILBOX, on_mailbox, coordinator);
    return loop_watch(coordinator->loop, mailbox_wake_fd(coordinator->mailbox),
        COORDINATOR_KIND_MAILBOX, 0, LOOP_WATCH_IN);
}

static int open_http(struct coordinator *coordinator)
{
    const struct http_client_options options = {
        .connections_max = HTTP_CONNECTIONS,
        .connections_per_host_max = HTTP_CONNECTIONS_HOST,
        .allow_private =
            coordinator->config->flow.http_private ? HTTP_PRIVATE_NETWORKS : HTTP_PRIVATE_REFUSE,
    };
    int err =
        http_client_create(coordinator->loop, COORDINATOR_KIND_HTTP, &options, &coordinator->http);

    if (!err) {
        coordinator->http_port = http_client_port(coordinator->http);
    }
    return err;
}

static int open_flow(struct coordinator *coordinator)
{
    const struct config *config = coordinator->config;
    struct flow_options options = {
        .task_types = config->flow.task_types,
        .inputs_bytes_max = config->flow.inputs_bytes,
        .result_bytes_max = config->flow.result_bytes,
        .task_timeout_ms = config->flow.task_timeout_ms,
        .runs_max = RUNS_MAX,
        .runs_bytes_max = RUNS_BYTES,
        .cache_bytes_max = CACHE_BYTES,
    };
    const struct flow_needs needs = {
        .store = &coordinator->store,
        .http = &coordinator->http_port,
        .clock_us = now_us,
    };

    if (getrandom(&options.seed, sizeof(options.seed), 0) < 0) {
        return -errno;
    }
    return flow_create(&options, &needs, &coordinator->flow);
}

/* Everything is made on the thread that uses it. */
static int open_all(struct coordinator *coordinator)
{
    const struct flow_events_in in = {coordinator, on_task, on_signal, on_timer, on_state};
    char why[600] = "";

    snprintf(coordinator->store_why, sizeof(coordinator->store_why), "%s", opening);
    coordinator->gateway_up = true;
    int err = open_loop(coordinator);

    err = err ? err : open_http(coordinator);
    err = err ? err : coordinator_store_open(coordinator, &in, why, sizeof(why));
    err = err ? err : open_flow(coordinator);
    if (err) {
        LOG(LOG_ERROR, "start.failed", LOG_S("error", why[0] ? why : strerror(-err)));
        return err;
    }
    coordinator->gateway_up = !coordinator->outside;
    coordinator_store_start(coordinator, &in);
    coordinator_files_open(coordinator);
    LOG(LOG_INFO, "coordinator.started", LOG_S("name", coordinator->name),
        LOG_S("store", coordinator_store_name(coordinator)),
        LOG_S("events", coordinator->redis     ? "redis"
                        : coordinator->outside ? coordinator->config->gateway
                                               : "this process"));
    return 0;
}

/* ---- turns ---- */

static void hear_letters(struct coordinator *coordinator)
{
    struct mail *mail;

    while ((mail = mailbox_take(coordinator->mailbox))) {
        struct coordinator_letter *letter = (struct coordinator_letter *)mail;
        letter->hear(coordinator, letter);
    }
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What is under way comes to its end; then the gateway may go. */
static void look_whether_drained(struct coordinator *coordinator, uint64_t now)
{
    if (!coordinator->draining || coordinator->drained) {
        return;
    }
    coordinator->drain_ms = coordinator->drain_ms ? coordinator->drain_ms : now;
    if (flow_idle(coordinator->flow) && !coordinator_files_busy(coordinator) &&
        coordinator_store_leave(coordinator, now)) {
        coordinator->drained = true;
        gateway_report_drained(coordinator->gateway);
    }
}

/* One turn. Returns after how many ms the next one is due. */
static uint64_t turn(struct coordinator *coordinator, uint64_t wait_ms)
{
    bool asleep = wait_ms > 0 && mailbox_sleep(coordinator->mailbox);

    loop_poll(coordinator->loop, asleep ? (int)least(wait_ms, WAIT_MAX_MS) : 0);
    mailbox_awake(coordinator->mailbox);
    hear_letters(coordinator);
    uint64_t now = now_ms();
    /* The flow hands its commits to the store, and the store's answers are the flow's work again: the
     * store comes first so that a commit waits for the others of this turn. */
    uint64_t next = coordinator_store_turn(coordinator, now);
    next = least(next, coordinator_files_turn(coordinator, now));
    next = least(next, coordinator_outside_turn(coordinator, now));
    next = least(next, flow_turn(coordinator->flow, now));
    next = least(next, coordinator_store_next(coordinator, now));
    look_how_it_is(coordinator);
    look_whether_drained(coordinator, now);
    return coordinator->draining && !coordinator->drained ? least(next, 20) : next;
}

/* Also of what was opened in part. */
static void close_all(struct coordinator *coordinator)
{
    if (coordinator->flow) {
        flow_drain(coordinator->flow);
        flow_turn(coordinator->flow, now_ms());
    }
    coordinator_store_shut(coordinator);
    http_client_destroy(coordinator->http);
    if (coordinator->flow) {
        flow_turn(coordinator->flow, now_ms());
    }
    flow_destroy(coordinator->flow);
    coordinator->flow = NULL;
    coordinator_questions_end(coordinator);
    coordinator_files_close(coordinator);
    coordinator_store_close(coordinator);
    if (coordinator->loop) {
        loop_destroy(coordinator->loop);
    }
}

void coordinator_thread(void *arg)
{
    struct coordinator *coordinator = arg;
    uint64_t wait_ms = 0, begin = now_ms();
    int err = open_all(coordinator);

    /* Who is told that we are there finds the workflows there, too. Redis may be away for long. */
    while (!err && coordinator->db && !coordinator_files_settled(coordinator) &&
           now_ms() - begin < START_MAX_MS) {
        wait_ms = turn(coordinator, wait_ms);
    }
    /* The sentence is in the log already. */
    gateway_report_start(coordinator->gateway, err ? -ECANCELED : 0);
    while (!err && !coordinator->stopping) {
        wait_ms = turn(coordinator, wait_ms);
    }
    close_all(coordinator);
}
