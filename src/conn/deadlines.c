/* Deadlines and heartbeats: what happens to clients when nothing else does, and draining. */
#include "conn/server.h"

#include <stdio.h>

#include "base/mem.h"
#include "conn/poll.h"
#include "conn/report.h"
#include "conn/sse.h"
#include "conn/ws.h"
#include "rt/loop.h"
#include "rt/sock.h"

enum { LINGER_MS = 1000, QUIET_MS = 1000 };

/* Those in front that need no deadline any more make room for new ones. */
static void greeting_trim(struct conn_server *server)
{
    struct deadlines *queue = &server->greeting;

    while (queue->count) {
        const struct deadline *due = &queue->ring[queue->head];
        const struct client *client = client_at(server, due->slot, due->generation);
        if (client && !(client->flags & CLIENT_SPOKE)) {
            return;
        }
        queue->head = (queue->head + 1) & (queue->cap - 1);
        queue->count -= 1;
    }
}

static void deadline_push(
    struct conn_server *server, struct deadlines *queue, const struct client *client, uint64_t ms)
{
    if (queue->count == queue->cap) {
        uint32_t cap = queue->cap ? queue->cap * 2 : 64;
        struct deadline *ring = mem_alloc(cap * sizeof(*ring));
        for (uint32_t i = 0; i < queue->count; i++) {
            ring[i] = queue->ring[(queue->head + i) & (queue->cap - 1)];
        }
        mem_free(queue->ring);
        queue->ring = ring;
        queue->head = 0;
        queue->cap = cap;
    }
    queue->ring[(queue->head + queue->count) & (queue->cap - 1)] =
        (struct deadline){client->sub.slot, client->sub.generation, loop_now_ms(server->loop) + ms};
    queue->count += 1;
}

/* The next client whose time is over, or NULL. Skips those that are gone. */
static struct client *deadline_pop(struct conn_server *server, struct deadlines *queue)
{
    while (queue->count && queue->ring[queue->head].due_ms <= loop_now_ms(server->loop)) {
        struct deadline due = queue->ring[queue->head];
        queue->head = (queue->head + 1) & (queue->cap - 1);
        queue->count -= 1;
        struct client *client = client_at(server, due.slot, due.generation);
        if (client) {
            return client;
        }
    }
    return NULL;
}

void client_set_deadline(struct conn_server *server, struct client *client)
{
    deadline_push(server, &server->closing, client, LINGER_MS);
}

void client_set_greeting(struct conn_server *server, struct client *client)
{
    if (server->options.head_timeout_ms) {
        greeting_trim(server);
        deadline_push(server, &server->greeting, client, server->options.head_timeout_ms);
    }
}

/* What waits goes out as long as the peer takes some of it now and then. */
static bool still_taking(const struct conn_server *server, const struct client *client)
{
    uint32_t ticks = conn_tick_now(server) - client->sub.life_tick;
    return !(client->sub.flags & SUB_BLOCKED) || ticks <= LINGER_MS / CONN_TICK_MS;
}

static void closing_expired(struct conn_server *server, struct client *client)
{
    if (client->state == CLIENT_REFUSED) {
        client_refuse(server, client);
    } else if (client->sub.outbox && still_taking(server, client)) {
        client_set_deadline(server, client);
    } else if (client->state != CLIENT_OPEN) {
        client_close(server, client);
    }
}

/* Connected and never said a word; a session has its own timer from the first byte on. */
static void greeting_expired(struct conn_server *server, struct client *client)
{
    if (!(client->flags & CLIENT_SPOKE) && client->state == CLIENT_OPEN) {
        server->stats.silent += 1;
        client_close(server, client);
    }
}

/* ---- heartbeats ---- */

static uint64_t scan_interval_ms(const struct conn_server *server)
{
    return server->options.ping_interval_ms ? server->options.ping_interval_ms : 25000;
}

static uint64_t silent_ms(const struct conn_server *server, const struct client *client)
{
    return (uint64_t)(conn_tick_now(server) - client->sub.life_tick) * CONN_TICK_MS;
}

/* How long this client may be silent; 0: for ever, or it is being closed already. */
static uint64_t silence_max_ms(const struct conn_server *server, const struct client *client)
{
    if (client->state != CLIENT_OPEN) {
        return 0;
    }
    switch ((enum client_protocol)client->protocol) {
    case CLIENT_WS: /* While a history is asked for we do not listen. */
        return client->flags & CLIENT_ASKS ? 0 : server->options.idle_timeout_ms;
    case CLIENT_SSE: /* Says nothing, ever. Whose kernel takes what we send is there. */
        return client->sub.flags & SUB_BLOCKED ? server->options.idle_timeout_ms : 0;
    case CLIENT_HTTP:
        return server->options.keepalive_timeout_ms;
    case CLIENT_POLL: /* Waits for us. */
    case CLIENT_PROTOCOLS:
        break;
    }
    return 0;
}

static bool silent_too_long(const struct conn_server *server, const struct client *client)
{
    uint64_t max_ms = silence_max_ms(server, client);
    /* A session has its own timer; between requests, and for a peer that takes no reply, there is
     * only this. */
    bool timed =
        client->protocol == CLIENT_HTTP && client->session && !http_session_waits(client->session);

    return max_ms && !timed && silent_ms(server, client) > max_ms;
}

static void close_silent(struct conn_server *server, struct client *client)
{
    if (client->protocol == CLIENT_WS) {
        server->stats.idle_closed += 1;
        ws_close(server, client, WS_CODE_GOING_AWAY, "no sign of life");
    } else if (client->protocol == CLIENT_SSE) {
        server->stats.idle_closed += 1;
        client_close(server, client); /* It takes nothing, so there is nothing to tell it. */
    } else {
        client_finish(server, client);
    }
}

/* The scan comes by too rarely to close in time who may be due before it comes again. */
static void watch_quiet(struct conn_server *server, struct client *client)
{
    uint64_t max_ms = silence_max_ms(server, client);

    if (max_ms && silent_ms(server, client) + scan_interval_ms(server) >= max_ms) {
        client->flags |= CLIENT_QUIET;
        deadline_push(server, &server->quiet, client, QUIET_MS);
    }
}

static void quiet_expired(struct conn_server *server, struct client *client)
{
    client->flags &= (uint8_t)~CLIENT_QUIET;
    if (silent_too_long(server, client)) {
        close_silent(server, client);
    } else {
        watch_quiet(server, client);
    }
}

static void heartbeat(struct conn_server *server, struct client *client)
{
    if (silent_too_long(server, client)) {
        close_silent(server, client);
        return;
    }
    if (!(client->flags & CLIENT_QUIET)) {
        watch_quiet(server, client);
    }
    if (client->protocol == CLIENT_WS && client->state == CLIENT_OPEN &&
        server->options.ping_interval_ms && (client->sub.flags & SUB_BLOCKED) == 0) {
        ws_ping(server, client);
    }
}

/* Each interval every slot comes by once, a few of them a tick: no timer per connection. */
static void scan(struct conn_server *server, struct scan *scan, uint64_t interval_ms,
    void (*look)(struct conn_server *server, struct client *client))
{
    uint64_t slots = server->clients.high_count;

    scan->debt += slots * CONN_TICK_MS;
    uint64_t count = scan->debt / interval_ms;
    scan->debt -= count * interval_ms;
    for (uint64_t i = 0; i < count && i < slots; i++) {
        if (scan->next >= slots) {
            scan->next = 0;
        }
        uint32_t slot = scan->next++;
        if (server->generations[slot] & 1) {
            look(server, slab_at(&server->clients, slot));
        }
    }
}

static bool any_streams(const struct conn_server *server)
{
    uint32_t count = 0;

    for (int kind = 0; kind < CLIENT_KINDS; kind++) {
        count += server->stats.streams[kind];
    }
    return count;
}

static void stream_heartbeat(struct conn_server *server, struct client *client)
{
    if (client->protocol == CLIENT_SSE) {
        sse_heartbeat(server, client);
    }
}

static void expire_deadlines(struct conn_server *server)
{
    struct client *client;

    while ((client = deadline_pop(server, &server->closing))) {
        closing_expired(server, client);
    }
    while ((client = deadline_pop(server, &server->greeting))) {
        greeting_expired(server, client);
    }
    while ((client = deadline_pop(server, &server->quiet))) {
        quiet_expired(server, client);
    }
}

/* ---- draining ---- */

static void drain_one(struct conn_server *server, struct client *client)
{
    char reason[40];

    if (client->state != CLIENT_OPEN) {
        return;
    }
    if (client->protocol == CLIENT_WS) {
        snprintf(reason, sizeof(reason), "retry_ms=%u",
            (unsigned)(100 + rng_below(&server->rng, server->drain_retry_ms)));
        ws_close(server, client, WS_CODE_RESTART, reason);
    } else if (client->protocol == CLIENT_SSE) {
        sse_end(server, client, "restarting",
            (uint32_t)(100 + rng_below(&server->rng, server->drain_retry_ms)));
    } else if (ws_upgrading(client)) {
        ws_refuse_draining(server, client);
    } else if (client->protocol == CLIENT_POLL) {
        poll_hurry(server, client);
    } else if (client->session && http_session_busy(client->session)) {
        http_session_last(client->session);
    } else {
        client_finish(server, client);
    }
}

void conn_server_drain(struct conn_server *server, uint64_t spread_ms)
{
    if (server->draining) {
        return;
    }
    server->draining = true;
    server->listening = false;
    for (uint32_t i = 0; i < server->listener_count; i++) {
        loop_unwatch(server->loop, server->listeners[i]);
        sock_close(server->listeners[i]);
    }
    server->listener_count = 0;
    poll_hurry_all(server);
    /* At least 1000 a second, so that few clients do not wait for many ticks. */
    uint64_t ticks = spread_ms / CONN_TICK_MS;
    uint64_t pace = server->stats.clients / (ticks ? ticks : 1) + 1;
    server->drain_pace = pace > 100 ? pace : 100;
    server->drain_retry_ms = 500 + server->stats.clients / 10;
}

static void drain_step(struct conn_server *server)
{
    struct client *client;

    for (uint64_t i = 0; i < server->drain_pace; i++) {
        client = conn_client_next(server, &server->drain_next);
        if (!client) {
            server->drain_next = 0; /* Those that were busy get their turn again. */
            return;
        }
        drain_one(server, client);
    }
}

void conn_server_tick(struct conn_server *server)
{
    expire_deadlines(server);
    scan(server, &server->pings, scan_interval_ms(server), heartbeat);
    if (any_streams(server)) {
        scan(
            server, &server->stream_heartbeats, server->options.sse_heartbeat_ms, stream_heartbeat);
    }
    report_tick(server);
    if (server->draining) {
        drain_step(server);
    }
}
