#include "role/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/check.h"
#include "base/log.h"
#include "base/mem.h"
#include "role/broker.h"
#include "role/coordinator.h"
#include "role/gateway_drain.h"
#include "role/gateway_listen.h"
#include "role/gateway_store.h"
#include "role/gateway_options.h"
#include "role/ingest.h"
#include "rt/clock.h"
#include "rt/fds.h"
#include "rt/loop.h"
#include "rt/mailbox.h"
#include "rt/thread.h"
#include "store/store.h"

/* ---- mail ---- */

void gateway_post(struct gateway_shard *from, uint16_t to, struct mail *mail)
{
    if (to == from->index) {
        shard_post(from->server->shard, to, mail);
        return;
    }
    mail->from = from->index;
    mail_chain_add(&from->out[to], mail);
    from->out_bits |= 1ull << to;
}

static void send_mail(struct gateway_shard *gs)
{
    for (; gs->out_bits; gs->out_bits &= gs->out_bits - 1) {
        int to = __builtin_ctzll(gs->out_bits);
        mailbox_post(gs->gateway->shards[to].mailbox, &gs->out[to]);
    }
}

static void port_post(void *ctx, uint16_t shard, struct mail *mail)
{
    gateway_post(ctx, shard, mail);
}

static void port_post_now(void *ctx, uint16_t to)
{
    struct gateway_shard *gs = ctx;

    if (gs->out_bits & (1ull << to)) {
        mailbox_post(gs->gateway->shards[to].mailbox, &gs->out[to]);
        gs->out_bits &= ~(1ull << to);
    }
}

void gateway_call(struct gateway_shard *from, uint16_t to,
    void (*fn)(struct shard *shard, struct mail_call *call), struct mail_call *call)
{
    call->mail.kind = MAIL_CALL;
    call->fn = fn;
    gateway_post(from, to, &call->mail);
}

/* By the mailbox, which is read once a turn; the shard's own chain is read until it is empty. */
void gateway_call_later(struct gateway_shard *gs,
    void (*fn)(struct shard *shard, struct mail_call *call), struct mail_call *call)
{
    call->mail.kind = MAIL_CALL;
    call->mail.from = gs->index;
    call->fn = fn;
    mail_chain_add(&gs->out[gs->index], &call->mail);
    gs->out_bits |= 1ull << gs->index;
}

struct gateway_shard *gateway_of_shard(struct shard *shard)
{
    struct conn_server *server = shard->ports.ctx;
    return server->ports.ctx;
}

/* ---- what shards tell each other ---- */

struct broker_call {
    struct mail_call call;
    bool up;
    char why[BROKER_WHY_MAX];
};

static void hear_broker(struct shard *shard, struct mail_call *call)
{
    struct broker_call *news = (struct broker_call *)call;
    struct gateway_shard *gs = gateway_of_shard(shard);

    gs->broker_up = news->up;
    memcpy(gs->broker_why, news->why, sizeof(gs->broker_why));
    mem_free(news);
}

void gateway_announce_broker(struct gateway *gateway, bool up, const char *why)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct broker_call *news = mem_zalloc(sizeof(*news));
        news->up = up;
        snprintf(news->why, sizeof(news->why), "%s", why);
        gateway_call(&gateway->shards[0], i, hear_broker, &news->call);
    }
}

struct report_call {
    struct mail_call call;
    int err;
};

static void stop_shard(struct shard *shard, struct mail_call *call)
{
    gateway_of_shard(shard)->stopping = true;
    mem_free(call);
}

void gateway_stop_all(struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct mail_call *call = mem_zalloc(sizeof(*call));
        gateway_call(&gateway->shards[0], i, stop_shard, call);
    }
}

void gateway_abort(struct gateway *gateway, int exit_code)
{
    gateway->exit_code = exit_code;
    gateway_stop_all(gateway);
}

static const char *gateway_describe(const struct gateway *gateway)
{
    return gateway->with->no_clients ? "-" : broker_describe(gateway->snapshot->config);
}

static void announce_start(struct gateway *gateway)
{
    char listen[256];

    gateway_listen_text(gateway->snapshot->config, gateway->port, listen, sizeof(listen));
    LOG(LOG_INFO, "start", LOG_S("role", gateway->role), LOG_S("version", FANOUT_VERSION),
        LOG_S("listen", listen), LOG_U("shards", gateway->shard_count),
        LOG_S("broker", gateway->broker             ? "redis"
                        : gateway->with->no_clients ? "-"
                                                    : "embedded"),
        LOG_S("broker_detail", gateway_describe(gateway)),
        LOG_U("connections_max", gateway->snapshot->options.connections_max),
        LOG_F("ready_ms", (double)(clock_now_ns() - gateway->started_ns) / 1e6));
    notify_service("READY=1\nSTATUS=serving");
    if (gateway->with->started) {
        gateway->with->started(gateway);
    }
}

static void hear_started(struct shard *shard, struct mail_call *call)
{
    struct gateway *gateway = gateway_of_shard(shard)->gateway;
    struct report_call *report = (struct report_call *)call;

    gateway->started_count += 1;
    gateway->start_error = gateway->start_error ? gateway->start_error : report->err;
    mem_free(report);
    if (gateway->started_count < gateway_part_count(gateway)) {
        return;
    }
    if (gateway->start_error) {
        if (gateway->start_error != -ECANCELED) { /* Else it was said already. */
            LOG(LOG_ERROR, "start.failed", LOG_S("error", strerror(-gateway->start_error)));
        }
        gateway_abort(gateway, 1);
        return;
    }
    announce_start(gateway);
}

/* ---- turns ---- */

static void tick(struct timer *timer, void *ctx)
{
    struct gateway_shard *gs = ctx;

    timer_start(gs->loop, timer, CONN_TICK_MS, tick, gs);
    shard_begin_turn(gs->server->shard, loop_now_ns(gs->loop));
    conn_server_tick(gs->server);
    gateway_store_tick(gs);
    home_tick(gs->server->shard);
    if (gs->server->draining && conn_server_count(gs->server) == 0 && !gs->drained) {
        gs->drained = true;
        gateway_report_drained(gs->gateway);
    }
}

static void on_mailbox(void *ctx, uint64_t id, uint32_t events)
{
    struct gateway_shard *gs = ctx;

    (void)id;
    (void)events;
    mailbox_awake(gs->mailbox);
}

/* One turn; true when there is more to do at once. */
static bool turn(struct gateway_shard *gs, bool busy)
{
    struct shard *shard = gs->server->shard;
    struct mail *mail;
    int timeout = busy || !mailbox_sleep(gs->mailbox) ? 0 : -1;

    loop_poll(gs->loop, timeout);
    mailbox_awake(gs->mailbox);
    shard_begin_turn(shard, loop_now_ns(gs->loop));
    conn_server_turn(gs->server);
    busy = false;
    if (gs->index == 0 && gs->gateway->broker) {
        busy = broker_turn(gs->gateway->broker);
    }
    while ((mail = mailbox_take(gs->mailbox))) {
        shard_receive(shard, mail);
    }
    shard_drain(shard);
    send_mail(gs); /* Others can go on while we sweep. */
    busy = shard_sweep(shard) || busy;
    shard_drain(shard);
    send_mail(gs);
    busy = conn_server_more(gs->server) || busy;
    gs->turns += 1;
    gs->busy_ns += clock_now_ns() - loop_now_ns(gs->loop);
    return busy;
}

static int shard_open(struct gateway_shard *gs)
{
    struct gateway *gateway = gs->gateway;
    const struct conn_ports ports = {
        .ctx = gs,
        .publish = ingest_publish,
        .post = port_post,
        .post_now = port_post_now,
        .interest =
            gateway_linked(gateway) && gs->snapshot->config->redis.mode != CONFIG_REDIS_PATTERN
                ? ingest_interest
                : NULL,
    };
    uint64_t seed = 0;
    int err = getrandom(&seed, sizeof(seed), 0) < 0 ? -errno : loop_create(&gs->loop);

    if (err) {
        return err;
    }
    const struct conn_setup setup = {
        .loop = gs->loop,
        .shard_index = gs->index,
        .settings = gs->snapshot->settings,
        .options = &gs->snapshot->options,
        .ports = &ports,
        .routes = gateway->with->routes,
        .gauge = &gateway->connections,
        .seed = seed,
    };
    err = conn_server_create(&setup, &gs->server);
    if (err) {
        return err;
    }
    gateway_store_attach(gs);
    if (gateway_linked(gateway)) {
        gs->shared_ports = ingest_shared_ports(gs);
        shared_open(gs->server->shard, &gs->shared_ports);
    }
    for (uint32_t i = 0; i < gs->listener_count; i++) {
        err = conn_server_listen(gs->server, gs->listeners[i], gs->exclusive[i]);
        if (err) {
            return err;
        }
    }
    loop_handle(gs->loop, KIND_MAILBOX, on_mailbox, gs);
    timer_start(gs->loop, &gs->tick, CONN_TICK_MS, tick, gs);
    return loop_watch(gs->loop, mailbox_wake_fd(gs->mailbox), KIND_MAILBOX, 0, LOOP_WATCH_IN);
}

/* Letters still under way belong to shards that are still there. */
static void shard_shut(struct gateway_shard *gs)
{
    if (gs->server) {
        conn_server_destroy(gs->server);
        gs->server = NULL;
    }
    timer_stop(&gs->tick);
    if (gs->loop) {
        loop_destroy(gs->loop);
    }
}

static void shard_run(struct gateway_shard *gs)
{
    bool busy = false;

    while (!gs->stopping) {
        busy = turn(gs, busy);
    }
}

/* With a table of its own a shard keeps what it uses and what it wakes others by. */
static int own_table(struct gateway_shard *gs)
{
    int keep[CORE_SHARDS_MAX + GATEWAY_LISTENERS_MAX + STORE_READERS_MAX + 3];
    uint32_t count = 0;

    for (uint16_t i = 0; i < gs->gateway->shard_count; i++) {
        keep[count++] = mailbox_wake_fd(gs->gateway->shards[i].mailbox);
    }
    for (uint32_t i = 0; i < gs->listener_count; i++) {
        keep[count++] = gs->listeners[i];
    }
    if (gs->gateway->coordinator) {
        keep[count++] = coordinator_wake_fd(gs->gateway->coordinator);
    }
    if (gs->gateway->store) {
        count += store_wake_fds(gs->gateway->store, keep + count);
    }
    if (gs->index == 0) {
        keep[count++] = gs->gateway->signal_fd;
    }
    return fds_own_table(keep, count);
}

void gateway_report_start(struct gateway *gateway, int err)
{
    struct report_call *report = mem_zalloc(sizeof(*report));
    struct mail_chain chain = {0};

    report->err = err;
    report->call.fn = hear_started;
    report->call.mail.kind = MAIL_CALL;
    mail_chain_add(&chain, &report->call.mail);
    mailbox_post(gateway->shards[0].mailbox, &chain);
}

static void shard_thread(void *arg)
{
    struct gateway_shard *gs = arg;
    int err = gs->snapshot->config->fd_tables ? own_table(gs) : 0;

    err = err ? err : shard_open(gs);
    gateway_report_start(gs->gateway, err);
    if (!err) {
        shard_run(gs);
    }
}

/* ---- the process ---- */

static int start_threads(struct gateway *gateway)
{
    int started = gateway->coordinator ? coordinator_start(gateway->coordinator) : 0;

    if (started) {
        return started;
    }
    for (uint16_t i = 1; i < gateway->shard_count; i++) {
        char name[16];
        snprintf(name, sizeof(name), "shard-%u", i);
        int err = thread_start(name, gateway->snapshot->config->pin ? i : -1, shard_thread,
            &gateway->shards[i], &gateway->shards[i].thread);
        if (err) {
            return err;
        }
    }
    return 0;
}

static int prepare(struct gateway *gateway)
{
    char why[256];
    int err = signals_open(&gateway->signal_fd);

    for (uint16_t i = 0; !err && i < gateway->shard_count; i++) {
        struct gateway_shard *gs = &gateway->shards[i];
        gs->gateway = gateway;
        gs->index = i;
        gs->snapshot = gateway->snapshot;
        gs->broker_up = !gateway_linked(gateway);
        snprintf(gs->broker_why, sizeof(gs->broker_why), "connecting");
        snprintf(
            gs->coordinator_why, sizeof(gs->coordinator_why), "the store of runs is not open yet");
        err = mailbox_create(&gs->mailbox);
    }
    if (err) {
        LOG(LOG_ERROR, "start.failed", LOG_S("error", strerror(-err)));
        return err;
    }
    err = gateway_listen(gateway, why, sizeof(why));
    if (err) {
        LOG(LOG_ERROR, "start.failed", LOG_S("error", why));
    }
    return err;
}

static int open_first(struct gateway *gateway)
{
    struct gateway_shard *first = &gateway->shards[0];
    int err = gateway->snapshot->config->fd_tables ? own_table(first) : 0;
    char why[256];

    err = err ? err : shard_open(first);
    if (err) {
        LOG(LOG_ERROR, "start.failed", LOG_S("error", strerror(-err)));
        return err;
    }
    loop_handle(first->loop, KIND_SIGNALS, gateway_on_signal, gateway);
    err = loop_watch(first->loop, gateway->signal_fd, KIND_SIGNALS, 0, LOOP_WATCH_IN);
    if (!err && gateway_linked(gateway)) {
        err = broker_create(gateway, &gateway->broker, why, sizeof(why));
        if (err) {
            LOG(LOG_ERROR, "start.failed", LOG_S("error", why));
        }
    }
    return err;
}

/* Every shard is stopped and joined: what is left in mailboxes is worked off by hand, so that
 * nothing leaks and the books close. */
static void deliver_last_mail(struct gateway *gateway)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (uint16_t i = 0; i < gateway->shard_count; i++) {
            struct gateway_shard *gs = &gateway->shards[i];
            struct mail *mail;
            while (gs->server && (mail = mailbox_take(gs->mailbox))) {
                shard_receive(gs->server->shard, mail);
                moved = true;
            }
            if (gs->server) {
                shard_drain(gs->server->shard);
                shard_sweep(gs->server->shard);
                shard_drain(gs->server->shard);
                moved = moved || gs->out_bits;
                send_mail(gs);
            }
        }
    }
}

static void close_clients(struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct gateway_shard *gs = &gateway->shards[i];
        struct client *client;
        uint32_t slot = 0;
        while (gs->server && (client = conn_client_next(gs->server, &slot))) {
            client_close(gs->server, client);
        }
    }
}

static void finish(struct gateway *gateway)
{
    for (uint16_t i = 1; i < gateway->shard_count; i++) {
        if (gateway->shards[i].thread) {
            thread_join(gateway->shards[i].thread);
        }
    }
    if (gateway->coordinator) {
        coordinator_stop(gateway->coordinator);
    }
    broker_destroy(gateway->broker);
    gateway->broker = NULL;
    gateway_unlisten(gateway);
    if (!gateway->snapshot->config->fd_tables) {
        /* With tables per shard the descriptors are gone with their threads. */
        close_clients(gateway);
        deliver_last_mail(gateway);
        gateway_store_close(gateway);
        deliver_last_mail(gateway);
        for (uint16_t i = 0; i < gateway->shard_count; i++) {
            shard_shut(&gateway->shards[i]);
        }
        coordinator_destroy(gateway->coordinator);
        for (uint16_t i = 0; i < gateway->shard_count; i++) {
            mailbox_destroy(gateway->shards[i].mailbox);
        }
    } else {
        gateway_store_close(gateway);
    }
}

int gateway_run(const struct gateway_role *role, struct config *config, int argc, char **argv)
{
    struct gateway *gateway = mem_zalloc_aligned(sizeof(*gateway));
    int err;

    gateway->started_ns = clock_now_ns();
    gateway->started_wall_ns = clock_wall_ns();
    gateway->with = role;
    gateway->role = role->name;
    gateway->argc = argc;
    gateway->argv = argv;
    gateway->shard_count = (uint16_t)config_shard_count(config);
    gateway->exit_code = 0;
    log_configure(config->log.level, config->log.format);
    gateway->snapshot = snapshot_create(config, NULL, fds_raise_limit());
    err = prepare(gateway);
    err = err ? err : gateway_store_open(gateway);
    if (!err && role->coordinates) {
        err = coordinator_create(gateway, &gateway->coordinator);
    }
    err = err ? err : start_threads(gateway);
    err = err ? err : open_first(gateway);
    if (err) {
        /* Threads may wait for mail that never comes: the process ends here and now. */
        _exit(1);
    }
    gateway_report_start(gateway, 0);
    shard_run(&gateway->shards[0]);
    finish(gateway);
    int code = gateway->exit_code;
    LOG(LOG_INFO, "exit", LOG_I("code", code));
    snapshot_free_all(gateway->snapshot);
    mem_free(gateway);
    return code;
}
