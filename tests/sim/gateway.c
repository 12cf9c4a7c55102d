#include "tests/sim/gateway.h"

#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/pack.h"
#include "conn/history.h"
#include "conn/poll.h"
#include "conn/publish.h"
#include "conn/snapshot.h"
#include "conn/sse.h"
#include "conn/ws.h"
#include "core/name.h"
#include "core/snapshot.h"
#include "rt/loop.h"
#include "rt/mailbox.h"
#include "rt/sock.h"

enum { KIND_CLIENT, KIND_LISTENER, KIND_MAILBOX };

static const struct route routes[] = {
    {"/ws", ROUTE_GET, ws_upgrade_handler},
    {"/sse", ROUTE_GET, sse_handler},
    {"/poll", ROUTE_GET, poll_handler},
    {"/api/v1/publish", ROUTE_POST, publish_handler},
    {"/api/v1/channels/{}", ROUTE_POST, publish_raw_handler},
    {"/api/v1/channels/{}/history", ROUTE_GET, history_handler},
    {0},
};

/* ---- what role does ---- */

/* The conflation key is member k of the payload. */
static int port_publish(void *ctx, const struct publish_order *order)
{
    struct gateway_shard *gs = ctx;
    struct publish_order keyed = *order;
    struct span value;
    int64_t key;

    if (json_pointer(order->payload.data, order->payload.len, span_str("/k"), &value) == 0 &&
        json_int64(value, &key) == 0) {
        keyed.key = (uint32_t)key;
    }
    return shard_publish(gs->server->shard, &keyed);
}

static void port_post(void *ctx, uint16_t shard, struct mail *mail)
{
    mail_chain_add(&((struct gateway_shard *)ctx)->out[shard], mail);
}

static void send_mail(struct gateway_shard *gs)
{
    for (uint16_t to = 0; to < gs->gateway->shard_count; to++) {
        mailbox_post(gs->gateway->shards[to].mailbox, &gs->out[to]);
    }
}

static void tick(struct timer *timer, void *ctx)
{
    struct gateway_shard *gs = ctx;

    timer_start(gs->loop, timer, CONN_TICK_MS, tick, gs);
    shard_begin_turn(gs->server->shard, loop_now_ns(gs->loop));
    conn_server_tick(gs->server);
    home_tick(gs->server->shard);
}

static void on_mailbox(void *ctx, uint64_t id, uint32_t events)
{
    (void)id;
    (void)events;
    mailbox_awake(((struct gateway_shard *)ctx)->mailbox);
}

static void deliver_letters(struct gateway_shard *gs)
{
    struct shard *shard = gs->server->shard;
    struct mail *mail;

    while ((mail = mailbox_take(gs->mailbox))) {
        shard_receive(shard, mail);
    }
    shard_drain(shard);
    send_mail(gs);
}

/* A turn without reading. */
static bool settle(struct gateway_shard *gs)
{
    deliver_letters(gs);
    bool busy = shard_sweep(gs->server->shard);
    shard_drain(gs->server->shard);
    send_mail(gs);
    return busy;
}

static bool work(struct gateway_shard *gs)
{
    shard_begin_turn(gs->server->shard, loop_now_ns(gs->loop));
    conn_server_turn(gs->server);
    bool busy = settle(gs);
    return conn_server_more(gs->server) || busy;
}

static void turn(void *ctx)
{
    struct gateway_shard *gs = ctx;

    loop_poll(gs->loop, -1);
    mailbox_awake(gs->mailbox);
    if (work(gs) || !mailbox_sleep(gs->mailbox)) {
        loop_wake(gs->loop);
    }
}

/* ---- start ---- */

static uint64_t draw(struct sim *sim, uint64_t bound)
{
    return sim_random(sim, bound);
}

static void draw_namespace(struct gateway *gateway, const char *name)
{
    static const uint32_t messages[] = {1, 3, 10, 100, 10000};
    static const uint32_t bytes[] = {200, 2000, 20000, 1 << 20};
    static const uint32_t kept[] = {0, 5, 100000, 100000};
    struct ns_settings *ns = &gateway->settings.ns[gateway->settings.ns_count++];

    *ns = (struct ns_settings){
        .policy = (uint8_t)draw(gateway->sim, 4),
        .outbox_messages = messages[draw(gateway->sim, COUNT_OF(messages))],
        .outbox_bytes = bytes[draw(gateway->sim, COUNT_OF(bytes))],
        .history_messages = kept[draw(gateway->sim, COUNT_OF(kept))],
        .history_bytes = 1 << 26,
        .history_age_ms = draw(gateway->sim, 4) ? 3600000 : 5000,
    };
    memcpy(ns->name, name, strlen(name) + 1);
}

static void draw_settings(struct gateway *gateway)
{
    static const uint64_t overloads[] = {2000, 20000, 1 << 20, 8 << 20};
    static const uint32_t pages[] = {1, 300, 1000, 5000, REPLAY_PAGE_BYTES};
    struct sim *sim = gateway->sim;

    gateway->shard_count = (uint16_t)(1 + draw(sim, GATEWAY_SHARDS_MAX));
    gateway->settings = (struct core_settings){
        .shard_count = gateway->shard_count,
        .store_id = 1 + draw(sim, 1 << 30),
        .hash_key = {draw(sim, UINT64_MAX), draw(sim, UINT64_MAX)},
        .history_bytes_total = 1 << 28,
        .overload_bytes = overloads[draw(sim, COUNT_OF(overloads))],
        .replay_page_bytes = pages[draw(sim, COUNT_OF(pages))],
    };
    draw_namespace(gateway, "default");
    draw_namespace(gateway, "user");
    draw_namespace(gateway, "room");
    draw_namespace(gateway, "a");
    draw_namespace(gateway, "b");
    draw_namespace(gateway, "c");
    gateway->options = (struct conn_options){
        .connections_max = draw(sim, 10) ? 10000 : GATEWAY_CLIENTS_FEW,
        .subscriptions_max = 100,
        .ping_interval_ms = 1000 + draw(sim, 20000),
        .sse_heartbeat_ms = 1000 + draw(sim, 20000),
        .idle_timeout_ms = draw(sim, 3) ? 60000 : 0,
        .keepalive_timeout_ms = 30000,
        .read_bytes_user = 4096,
        .read_bytes_room = 65536,
        .read_bytes_v1 = 65536,
        .compression = draw(sim, 4) != 0,
        .compression_min_bytes = 20,
        .http_limits = http_limits_default(),
        .head_timeout_ms = 10000,
        .body_timeout_ms = 10000,
        .loop_kind_client = KIND_CLIENT,
        .loop_kind_listener = KIND_LISTENER,
    };
}

static void open_shard(struct gateway *gateway, uint16_t index)
{
    struct gateway_shard *gs = &gateway->shards[index];
    const struct conn_ports ports = {.ctx = gs, .publish = port_publish, .post = port_post};

    *gs = (struct gateway_shard){.gateway = gateway, .index = index};
    CHECK(loop_create(&gs->loop) == 0);
    CHECK(mailbox_create(&gs->mailbox) == 0);
    const struct conn_setup setup = {
        .loop = gs->loop,
        .shard_index = index,
        .settings = &gateway->settings,
        .options = &gateway->options,
        .ports = &ports,
        .routes = routes,
        .gauge = &gateway->connections,
        .seed = draw(gateway->sim, UINT64_MAX),
    };
    CHECK(conn_server_create(&setup, &gs->server) == 0);
    loop_handle(gs->loop, KIND_MAILBOX, on_mailbox, gs);
    CHECK(loop_watch(gs->loop, mailbox_wake_fd(gs->mailbox), KIND_MAILBOX, 0, LOOP_WATCH_IN) == 0);
    timer_start(gs->loop, &gs->tick, CONN_TICK_MS, tick, gs);
    sim_drive(gs->loop, turn, gs);
}

static void listen_on(struct gateway_shard *gs)
{
    const struct sock_listen_options options = {.backlog = 1000, .reuse_port = true};
    int fd;

    CHECK(sock_listen(GATEWAY_ADDRESS, &options, &fd, NULL) == 0);
    CHECK(conn_server_listen(gs->server, fd, false) == 0);
}

void gateway_start(struct gateway *gateway, struct sim *sim)
{
    memset(gateway, 0, sizeof(*gateway));
    gateway->sim = sim;
    draw_settings(gateway);
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        open_shard(gateway, i);
        listen_on(&gateway->shards[i]);
    }
}

/* ---- end ---- */

void gateway_drain(struct gateway *gateway)
{
    gateway->draining = true;
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        conn_server_drain(gateway->shards[i].server, 1000);
    }
}

static void close_clients(struct gateway_shard *gs)
{
    struct client *client;
    uint32_t slot = 0;

    while ((client = conn_client_next(gs->server, &slot))) {
        client_close(gs->server, client);
    }
}

/* By hand, as after the last turn. Letters may still be in mailboxes, or half posted: quiet is what
 * stays so. */
static void work_off(struct gateway *gateway)
{
    for (int rounds = 0, quiet = 0; quiet < 5; rounds++) {
        bool more = false;
        CHECK(rounds < 10000);
        for (uint16_t i = 0; i < gateway->shard_count; i++) {
            more = work(&gateway->shards[i]) || more;
        }
        sim_run_ms(gateway->sim, 10);
        quiet = more || !gateway_quiet(gateway) ? 0 : quiet + 1;
    }
}

void gateway_stop(struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        sim_drive(gateway->shards[i].loop, NULL, NULL);
        close_clients(&gateway->shards[i]);
    }
    work_off(gateway);
    gateway_check_books(gateway);
    CHECK(gauge_value(&gateway->connections) == 0);
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct gateway_shard *gs = &gateway->shards[i];
        CHECK(gs->server->shard->stats.channels == 0);
        CHECK(gs->server->shard->stats.subscriptions == 0);
        timer_stop(&gs->tick);
        conn_server_destroy(gs->server);
        loop_destroy(gs->loop);
    }
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        mailbox_destroy(gateway->shards[i].mailbox);
    }
}

/* ---- moving ---- */

/* No letters, no batches; outboxes may wait for their sockets. */
static bool at_rest(const struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        const struct gateway_shard *gs = &gateway->shards[i];
        const struct shard *shard = gs->server->shard;
        for (uint16_t to = 0; to < gateway->shard_count; to++) {
            if (gs->out[to].first || shard->peers[to].in_flight || shard->ingest_in_flight[to] ||
                shard->peers[to].behind.count) {
                return false;
            }
        }
        if (shard->self.first || shard->flow_first || shard->held_first ||
            shard->stats.books.pending || shard->asked) {
            return false;
        }
    }
    return true;
}

/* Letters may still be half posted: rest is what stays so. */
static void come_to_rest(struct gateway *gateway)
{
    for (int rounds = 0, rest = 0; rest < 3; rounds++) {
        CHECK(rounds < 10000);
        for (uint16_t i = 0; i < gateway->shard_count; i++) {
            bundles_finish_all(gateway->shards[i].server->shard);
            settle(&gateway->shards[i]);
        }
        sim_run_ms(gateway->sim, 1);
        rest = at_rest(gateway) ? rest + 1 : 0;
    }
}

/* Polls are answered before a move; that takes some turns. */
static void end_polls(struct gateway *gateway)
{
    for (int rounds = 0; rounds < 5; rounds++) {
        for (uint16_t i = 0; i < gateway->shard_count; i++) {
            conn_snapshot_prepare(gateway->shards[i].server);
            work(&gateway->shards[i]);
        }
        sim_run_ms(gateway->sim, 1);
    }
}

static bool ready(const struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        if (!conn_snapshot_ready(gateway->shards[i].server)) {
            return false;
        }
    }
    return true;
}

static void drive(struct gateway *gateway, bool on)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct gateway_shard *gs = &gateway->shards[i];
        sim_drive(gs->loop, on ? turn : NULL, gs);
    }
}

struct cargo {
    struct bytes shards, clients;
    int fds[2000];
    uint32_t fd_count;
    int listeners[GATEWAY_SHARDS_MAX * CONN_LISTENERS_MAX];
    uint32_t listener_count;
};

static void load(struct gateway *gateway, struct cargo *cargo)
{
    struct pack shards = {.out = &cargo->shards}, clients = {.out = &cargo->clients};

    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct conn_server *server = gateway->shards[i].server;
        struct client *client;
        uint32_t slot = 0;
        snapshot_export_shard(server->shard, &shards);
        while ((client = conn_client_next(server, &slot))) {
            conn_snapshot_export(server, client, &clients);
            CHECK(cargo->fd_count < COUNT_OF(cargo->fds));
            cargo->fds[cargo->fd_count++] = conn_snapshot_release(server, client);
        }
        cargo->listener_count +=
            conn_server_unlisten(server, cargo->listeners + cargo->listener_count);
    }
    CHECK(!shards.err && !clients.err);
}

static void end_shards(struct gateway *gateway)
{
    come_to_rest(gateway);
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        timer_stop(&gateway->shards[i].tick);
        conn_server_destroy(gateway->shards[i].server);
        loop_destroy(gateway->shards[i].loop);
    }
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        mailbox_destroy(gateway->shards[i].mailbox);
    }
}

static void unload(struct gateway *gateway, const struct cargo *cargo, uint16_t former_count)
{
    struct unpack clients = {.rest = span_of(cargo->clients.data, cargo->clients.len)};

    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct unpack shards = {.rest = span_of(cargo->shards.data, cargo->shards.len)};
        struct shard *shard = gateway->shards[i].server->shard;
        shard_begin_turn(shard, loop_now_ns(gateway->shards[i].loop));
        for (uint16_t k = 0; k < former_count; k++) {
            CHECK(snapshot_import_shard(shard, &shards, k % gateway->shard_count == i) == 0);
        }
        CHECK(shards.rest.len == 0);
    }
    for (uint32_t i = 0; i < cargo->fd_count; i++) {
        uint64_t to = draw(gateway->sim, gateway->shard_count);
        CHECK(conn_snapshot_import(gateway->shards[to].server, cargo->fds[i], &clients) == 0);
    }
    CHECK(clients.rest.len == 0);
    for (uint32_t i = 0; i < cargo->listener_count; i++) {
        struct conn_server *server = gateway->shards[i % gateway->shard_count].server;
        CHECK(conn_server_listen(server, cargo->listeners[i], false) == 0);
    }
}

bool gateway_move(struct gateway *gateway, uint16_t shard_count)
{
    uint16_t former_count = gateway->shard_count;

    drive(gateway, false);
    end_polls(gateway);
    come_to_rest(gateway);
    if (gateway->draining || !ready(gateway)) {
        drive(gateway, true);
        return false;
    }
    struct cargo *cargo = mem_zalloc(sizeof(*cargo));
    load(gateway, cargo);
    end_shards(gateway);
    gateway->shard_count = gateway->settings.shard_count = shard_count;
    for (uint16_t i = 0; i < shard_count; i++) {
        open_shard(gateway, i);
    }
    drive(gateway, false);
    unload(gateway, cargo, former_count);
    for (uint32_t i = cargo->listener_count; i < shard_count; i++) {
        listen_on(&gateway->shards[i]);
    }
    for (int rounds = 0; rounds < 5; rounds++) {
        for (uint16_t i = 0; i < shard_count; i++) {
            deliver_letters(&gateway->shards[i]);
        }
        sim_run_ms(gateway->sim, 1); /* A letter may be half posted. */
    }
    come_to_rest(gateway);
    drive(gateway, true);
    bytes_fini(&cargo->shards);
    bytes_fini(&cargo->clients);
    mem_free(cargo);
    gateway->moves += 1;
    return true;
}

/* ---- looking inside ---- */

bool gateway_quiet(const struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        const struct gateway_shard *gs = &gateway->shards[i];
        const struct shard *shard = gs->server->shard;
        for (uint16_t to = 0; to < gateway->shard_count; to++) {
            if (gs->out[to].first || shard->peers[to].in_flight || shard->ingest_in_flight[to] ||
                shard->peers[to].behind.count) {
                return false;
            }
        }
        if (shard->self.first || shard->stats.books.queued || shard->stats.books.pending ||
            shard->pending.count) {
            return false;
        }
    }
    return true;
}

void gateway_check_books(struct gateway *gateway)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct conn_server *server = gateway->shards[i].server;
        struct books sum = {0};
        struct client *client;
        uint32_t slot = 0;
        while ((client = conn_client_next(server, &slot))) {
            struct books books = subscriber_books(server->shard, &client->sub);
            CHECK(books_difference(&books) == 0);
            sum.queued += books.queued;
            sum.pending += books.pending;
        }
        const struct books *all = &server->shard->stats.books;
        CHECK(books_difference(all) == 0);
        CHECK(sum.queued == all->queued && sum.pending == all->pending);
    }
}

bool gateway_books(struct gateway *gateway, const char *peer, struct books *ret_books)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct conn_server *server = gateway->shards[i].server;
        struct client *client;
        uint32_t slot = 0;
        while ((client = conn_client_next(server, &slot))) {
            char name[SOCK_NAME_MAX];
            sock_peer_name(client->sub.handle, name, sizeof(name));
            if (strcmp(name, peer) == 0) {
                *ret_books = subscriber_books(server->shard, &client->sub);
                return true;
            }
        }
    }
    return false;
}

void gateway_each_kept(
    struct gateway *gateway, void (*fn)(void *ctx, const struct publication *pub), void *ctx)
{
    for (uint16_t i = 0; i < gateway->shard_count; i++) {
        struct shard *shard = gateway->shards[i].server->shard;
        for (struct ring *ring = shard->ring_oldest; ring; ring = ring->newer) {
            for (uint32_t k = 0; k < ring->count; k++) {
                fn(ctx, ring->slots[(ring->head + k) & (ring->cap - 1)]);
            }
        }
    }
}
