#include "conn/server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "conn/commands.h"
#include "conn/publish.h"
#include "conn/report.h"
#include "conn/ws.h"
#include "core/name.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "rt/sock.h"

enum {
    ACCEPT_A_TURN = 64,
    REFUSING_MAX = 32, /* Clients kept for a moment only to hear their 503. */
    LINGER_MS = 1000,
    DEFLATE_WINDOW_BITS = 12,
    DEFLATE_LEVEL = 1,
};

static const char refusal[] = "HTTP/1.1 503 Service Unavailable\r\n"
                              "Content-Type: application/json\r\nRetry-After: 1\r\n"
                              "Connection: close\r\nContent-Length: 81\r\n\r\n"
                              "{\"error\":{\"code\":\"full\",\"message\":\"the connection limit "
                              "is reached, try later\"}}\n";

/* ---- names ---- */

uint32_t conn_tick_now(const struct conn_server *server)
{
    return (uint32_t)(loop_now_ms(server->loop) / CONN_TICK_MS);
}

uint64_t conn_client_id(const struct conn_server *server, const struct client *client)
{
    return (uint64_t)server->shard->index << 56 |
           (uint64_t)(client->sub.generation & 0xffffff) << 32 | client->sub.slot;
}

static struct client *find(struct conn_server *server, uint32_t slot, uint32_t generation)
{
    if (slot >= server->clients.high_count || !(server->generations[slot] & 1) ||
        (server->generations[slot] & 0xffffff) != generation) {
        return NULL;
    }
    return slab_at(&server->clients, slot);
}

struct client *conn_client_find(struct conn_server *server, uint64_t id)
{
    return id >> 56 == server->shard->index ? find(server, (uint32_t)id, id >> 32 & 0xffffff)
                                            : NULL;
}

struct client *conn_client_next(struct conn_server *server, uint32_t *slot)
{
    while (*slot < server->clients.high_count) {
        uint32_t at = (*slot)++;
        if (server->generations[at] & 1) {
            return slab_at(&server->clients, at);
        }
    }
    return NULL;
}

/* ---- a client's life ---- */

struct client *client_open(struct conn_server *server, int fd)
{
    uint32_t slot = slab_alloc(&server->clients);

    if (slot == SLAB_NONE) {
        return NULL;
    }
    if (slot >= server->generations_cap) {
        uint32_t cap = server->generations_cap ? server->generations_cap * 2 : 256;
        uint32_t *generations = mem_try_realloc(server->generations, cap * sizeof(*generations));
        if (!generations) {
            slab_free(&server->clients, slot);
            return NULL;
        }
        memset(generations + server->generations_cap, 0,
            (cap - server->generations_cap) * sizeof(*generations));
        server->generations = generations;
        server->generations_cap = cap;
    }
    uint32_t generation = ++server->generations[slot] & 0xffffff;
    struct client *client = slab_at(&server->clients, slot);
    shard_adopt(server->shard, &client->sub, slot, generation, fd, true);
    client->sub.life_tick = client->opened_tick = conn_tick_now(server);
    server->stats.clients += 1;
    uint64_t id = (uint64_t)generation << 32 | slot;
    if (loop_watch(server->loop, fd, server->options.loop_kind_client, id,
            LOOP_WATCH_IN | LOOP_WATCH_OUT | LOOP_WATCH_EDGE) != 0) {
        client->sub.handle = -1; /* Still the caller's. */
        client_close(server, client);
        return NULL;
    }
    return client;
}

static void uncount(struct conn_server *server, const struct client *client)
{
    server->stats.websockets[client->kind] -= client->protocol == CLIENT_WS;
    server->stats.slow_ended += (client->sub.flags & SUB_DROPPING) != 0;
}

void client_close(struct conn_server *server, struct client *client)
{
    uint32_t slot = client->sub.slot;
    int fd = client->sub.handle;

    uncount(server, client);
    http_session_end(client->session);
    client->session = NULL;
    shard_close(server->shard, &client->sub);
    ws_extra_free(client);
    mem_free(client->partial);
    client->partial = NULL;
    if (client->flags & CLIENT_COUNTED) {
        gauge_sub(server->gauge);
    }
    server->refusing -= client->state == CLIENT_REFUSED;
    server->generations[slot] += 1;
    server->stats.clients -= 1;
    server->stats.closed += 1;
    slab_free(&server->clients, slot);
    if (fd >= 0) {
        sock_close(fd);
    }
}

bool client_write(struct conn_server *server, struct client *client, const void *data, size_t len)
{
    if (shard_control(server->shard, &client->sub, data, len) != 0) {
        shard_doom(server->shard, &client->sub);
        return false;
    }
    return true;
}

/* Those in front that need no deadline any more make room for new ones. */
static void greeting_trim(struct conn_server *server)
{
    struct deadlines *queue = &server->greeting;

    while (queue->count) {
        const struct deadline *due = &queue->ring[queue->head];
        const struct client *client = find(server, due->slot, due->generation);
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
        struct client *client = find(server, due.slot, due.generation);
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

/* All is sent: say so to the peer, and let it hang up first. Closing with unread input would
 * destroy our own last words on their way. */
static void linger(struct conn_server *server, struct client *client)
{
    client->state = CLIENT_LINGER;
    sock_shutdown_write(client->sub.handle);
    client_read_again(server, client);
}

void client_finish(struct conn_server *server, struct client *client)
{
    if (client->state == CLIENT_LINGER || client->state == CLIENT_FINISH) {
        return;
    }
    server->refusing -= client->state == CLIENT_REFUSED;
    client->state = CLIENT_FINISH;
    client_set_deadline(server, client);
    if (!client->sub.outbox) {
        linger(server, client);
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
        if (client_write(server, client, refusal, sizeof(refusal) - 1)) {
            client_finish(server, client);
        }
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

static void expire_deadlines(struct conn_server *server)
{
    struct client *client;

    while ((client = deadline_pop(server, &server->closing))) {
        closing_expired(server, client);
    }
    while ((client = deadline_pop(server, &server->greeting))) {
        greeting_expired(server, client);
    }
}

/* ---- reading ---- */

void client_read_again(struct conn_server *server, struct client *client)
{
    if (client->flags & CLIENT_AGAIN) {
        return;
    }
    if (server->again_count == server->again_cap) {
        server->again_cap = server->again_cap ? server->again_cap * 2 : 64;
        server->again = mem_realloc(server->again, server->again_cap * sizeof(*server->again));
    }
    client->flags |= CLIENT_AGAIN;
    server->again[server->again_count++] = client->sub.slot;
}

/* A handler made a WebSocket of it (or is about to): the session's work is done, and what came
 * behind the request is frames. */
static bool http_taken(struct conn_server *server, struct client *client, uint8_t *data, size_t len)
{
    http_session_end(client->session);
    client->session = NULL;
    if (client->protocol == CLIENT_WS) {
        return len == 0 || ws_input(server, client, data, len);
    }
    return ws_keep_early(server, client, span_of(data, len));
}

/* The same for an upgrade that was pipelined behind another request. */
static bool take_held(struct conn_server *server, struct client *client)
{
    struct span held;

    if (!client->session || !http_session_taken(client->session, &held)) {
        return true;
    }
    if (!ws_keep_early(server, client, held)) {
        return false;
    }
    http_session_end(client->session);
    client->session = NULL;
    if (client->protocol == CLIENT_WS && client->partial) {
        client->flags |= CLIENT_EARLY;
    }
    return true;
}

/* The session is dropped between requests; the head timeout of the next one runs from its first
 * byte. */
static bool http_input(struct conn_server *server, struct client *client, uint8_t *data, size_t len)
{
    size_t used;

    if (!client->session) {
        client->session = http_session_begin(server->http, conn_client_id(server, client));
        if (!client->session) {
            client_close(server, client);
            return false;
        }
    }
    switch (http_session_input(client->session, data, len, &used)) {
    case HTTP_INPUT_MORE:
    case HTTP_INPUT_CLOSED:
        return true;
    case HTTP_INPUT_BUSY:
        return false;
    case HTTP_INPUT_IDLE:
        if (client->state == CLIENT_OPEN) {
            http_session_end(client->session);
            client->session = NULL;
        }
        return true;
    case HTTP_INPUT_TAKEN:
        return http_taken(server, client, data + used, len - used);
    }
    return true;
}

/* Hands bytes to whoever reads this client. False: read no more of it now. */
static bool client_input(
    struct conn_server *server, struct client *client, uint8_t *data, size_t len)
{
    server->stats.bytes_in += len;
    client->flags |= CLIENT_SPOKE;
    if (client->state == CLIENT_OPEN) {
        client->sub.life_tick = conn_tick_now(server); /* Later only reading counts. */
    }
    if (client->sub.flags & SUB_DOOMED) {
        return false;
    }
    switch ((enum client_state)client->state) {
    case CLIENT_FINISH:
    case CLIENT_LINGER:
        return true; /* Forgotten. */
    case CLIENT_REFUSED:
        if (client_write(server, client, refusal, sizeof(refusal) - 1)) {
            client_finish(server, client);
        }
        return true;
    case CLIENT_OPEN:
    case CLIENT_CLOSING:
        break;
    }
    if (client->protocol == CLIENT_WS) {
        return ws_input(server, client, data, len);
    }
    if (ws_upgrading(client)) {
        return ws_keep_early(server, client, span_of(data, len));
    }
    return http_input(server, client, data, len);
}

/* The peer will send no more. A request it has made is still answered, and the answer still sent. */
static void input_ended(struct conn_server *server, struct client *client)
{
    bool owed = client->session && http_session_busy(client->session);

    if (client->protocol == CLIENT_HTTP && client->state == CLIENT_OPEN && owed) {
        http_session_last(client->session);
    } else if (client->protocol == CLIENT_HTTP && client->sub.outbox &&
               client->state != CLIENT_LINGER) {
        client_finish(server, client);
    } else {
        client_close(server, client);
    }
}

/* A reply that came late left its session behind. */
static void http_rest(struct client *client)
{
    if (client->session && client->state == CLIENT_OPEN && http_session_idle(client->session)) {
        http_session_end(client->session);
        client->session = NULL;
    }
}

/* Edge-triggered: reads until the kernel has no more, or the client had its share of the turn. A
 * read that fills less than the buffer has emptied the socket. */
static void client_readable(struct conn_server *server, struct client *client, bool hup)
{
    enum { READS_A_TURN = 4 };
    uint32_t slot = client->sub.slot, generation = client->sub.generation;

    if (!take_held(server, client) ||
        ((client->flags & CLIENT_EARLY) && !ws_early_input(server, client))) {
        return;
    }
    for (int i = 0; i < READS_A_TURN; i++) {
        long got = sock_recv(client->sub.handle, server->input, CONN_INPUT_BYTES);
        if (got == -EAGAIN) {
            http_rest(client);
            return;
        }
        if (got == 0) {
            input_ended(server, client);
            return;
        }
        if (got < 0) {
            client_close(server, client);
            return;
        }
        bool on = client_input(server, client, server->input, (size_t)got);
        if (!on || find(server, slot, generation) != client) {
            return;
        }
        if (got < CONN_INPUT_BYTES && !hup) {
            return;
        }
    }
    client_read_again(server, client);
}

static void client_event(void *ctx, uint64_t id, uint32_t events)
{
    struct conn_server *server = ctx;
    struct client *client = find(server, (uint32_t)id, (uint32_t)(id >> 32));

    if (!client) {
        return; /* Closed earlier in this turn. */
    }
    shard_begin_turn(server->shard, loop_now_ns(server->loop));
    if ((events & LOOP_OUT) && (client->sub.flags & SUB_BLOCKED)) {
        /* It takes what waited for it: slow, but not dead. */
        client->sub.life_tick = conn_tick_now(server);
        shard_writable(server->shard, &client->sub);
    }
    if (events & (LOOP_IN | LOOP_HUP)) {
        client_readable(server, client, events & LOOP_HUP);
    }
}

bool conn_server_turn(struct conn_server *server)
{
    uint32_t count = server->again_count;
    uint32_t *slots = server->again;

    if (count == 0) {
        return false;
    }
    server->again = NULL;
    server->again_count = server->again_cap = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (server->generations[slots[i]] & 1) {
            struct client *client = slab_at(&server->clients, slots[i]);
            if (client->flags & CLIENT_AGAIN) {
                client->flags &= (uint8_t)~CLIENT_AGAIN;
                client_readable(server, client, true);
            }
        }
    }
    mem_free(slots);
    return server->again_count > 0;
}

/* ---- accepting ---- */

static void refuse_at_once(struct conn_server *server, int fd)
{
    server->stats.refused += 1;
    if (sock_send(fd, refusal, sizeof(refusal) - 1) < 0) {
        /* It will see a closed connection instead. */
    }
    sock_shutdown_write(fd);
    sock_close(fd);
}

static void welcome(struct conn_server *server, int fd)
{
    bool room = gauge_try_add(server->gauge, server->options.connections_max);

    if (!room && server->refusing >= REFUSING_MAX) {
        refuse_at_once(server, fd);
        return;
    }
    struct client *client = client_open(server, fd);
    if (!client) {
        if (room) {
            gauge_sub(server->gauge);
        }
        refuse_at_once(server, fd);
        return;
    }
    if (room) {
        client->flags |= CLIENT_COUNTED;
        server->stats.accepted += 1;
        client_set_greeting(server, client);
    } else {
        client->state = CLIENT_REFUSED;
        server->refusing += 1;
        server->stats.refused += 1;
        client_set_deadline(server, client);
    }
}

/* Out of descriptors: the spare one takes the next connection, which is told and closed. */
static bool accept_with_spare(struct conn_server *server, int listener)
{
    fds_spare_release(&server->spare);
    int fd = sock_accept(listener);
    if (fd >= 0) {
        refuse_at_once(server, fd);
    }
    fds_spare_hold(&server->spare);
    return fd >= 0;
}

static void listener_event(void *ctx, uint64_t id, uint32_t events)
{
    struct conn_server *server = ctx;
    int listener = server->listeners[id];

    (void)events;
    for (int i = 0; i < ACCEPT_A_TURN && server->listening; i++) {
        int fd = sock_accept(listener);
        if (fd >= 0) {
            welcome(server, fd);
        } else if (fd == -EMFILE || fd == -ENFILE) {
            if (!accept_with_spare(server, listener)) {
                return;
            }
        } else if (fd != -ECONNABORTED) {
            return;
        }
    }
}

int conn_server_listen(struct conn_server *server, int fd, bool exclusive)
{
    if (server->listener_count == CONN_LISTENERS_MAX) {
        return -ENOSPC;
    }
    server->listeners[server->listener_count] = fd;
    server->listening = true;
    return loop_watch(server->loop, fd, server->options.loop_kind_listener,
        server->listener_count++, LOOP_WATCH_IN | (exclusive ? LOOP_WATCH_EXCLUSIVE : 0));
}

uint32_t conn_server_unlisten(struct conn_server *server, int *fds)
{
    uint32_t count = server->listener_count;

    for (uint32_t i = 0; i < count; i++) {
        fds[i] = server->listeners[i];
        loop_unwatch(server->loop, fds[i]);
    }
    server->listener_count = 0;
    server->listening = false;
    return count;
}

/* ---- heartbeats ---- */

static void heartbeat_http(struct conn_server *server, struct client *client, uint64_t silent_ms)
{
    /* A session has its own timer; between requests there is only this. */
    if (!client->session && client->state == CLIENT_OPEN &&
        silent_ms > server->options.keepalive_timeout_ms) {
        client_finish(server, client);
    }
}

static void heartbeat(struct conn_server *server, struct client *client)
{
    uint32_t silent_ticks = conn_tick_now(server) - client->sub.life_tick;
    uint64_t silent_ms = (uint64_t)silent_ticks * CONN_TICK_MS;

    if (client->protocol == CLIENT_HTTP) {
        heartbeat_http(server, client, silent_ms);
        return;
    }
    if (client->state != CLIENT_OPEN) {
        return;
    }
    if (server->options.idle_timeout_ms && silent_ms > server->options.idle_timeout_ms) {
        server->stats.idle_closed += 1;
        ws_close(server, client, WS_CODE_GOING_AWAY, "no sign of life");
        return;
    }
    if (server->options.ping_interval_ms && (client->sub.flags & SUB_BLOCKED) == 0) {
        ws_ping(server, client);
    }
}

/* Each ping interval every slot comes by once, a few of them a tick: no timer per connection. */
static void scan(struct conn_server *server)
{
    uint64_t interval = server->options.ping_interval_ms ? server->options.ping_interval_ms : 25000;
    uint64_t slots = server->clients.high_count;
    server->scan_debt +=
        slots * CONN_TICK_MS; /* In slots × ms: what a tick owes is rarely whole. */
    uint64_t count = server->scan_debt / interval;

    server->scan_debt -= count * interval;
    for (uint64_t i = 0; i < count && i < slots; i++) {
        if (server->scan_next >= slots) {
            server->scan_next = 0;
        }
        uint32_t slot = server->scan_next++;
        if (server->generations[slot] & 1) {
            heartbeat(server, slab_at(&server->clients, slot));
        }
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
    scan(server);
    if (server->draining) {
        drain_step(server);
    }
}

/* ---- the core's ports ---- */

static int port_encode(void *ctx, uint8_t framing, const struct publication *pub, struct bytes *out)
{
    return framing_encode(&((struct conn_server *)ctx)->framing, framing, pub, out);
}

static int port_encode_gap(void *ctx, const struct gap *gap, struct bytes *out)
{
    return framing_encode_gap(&((struct conn_server *)ctx)->framing, gap, out);
}

static bool port_wants_gaps(void *ctx, uint8_t framing)
{
    (void)ctx;
    return framing_wants_gaps(framing);
}

static void port_subscribed(void *ctx, struct subscriber *sub, const struct mail_subscribe *answer)
{
    struct conn_server *server = ctx;

    commands_subscribed(server, answer, sub);
    if (sub) {
        ws_subscribed(server, client_of(sub), answer);
    }
}

static void port_published(void *ctx, const struct publish_result *result)
{
    conn_published(ctx, result);
}

static void port_slow(void *ctx, struct subscriber *sub, bool dropping)
{
    struct conn_server *server = ctx;

    server->stats.slow_began += dropping;
    server->stats.slow_ended += !dropping;
    report_slow(server, client_of(sub), dropping);
}

static void port_doomed(void *ctx, struct subscriber *sub)
{
    struct conn_server *server = ctx;
    struct client *client = client_of(sub);

    if ((sub->flags & SUB_DOOMED_SLOW) && client->protocol == CLIENT_WS) {
        server->stats.cut_policy += 1;
        report_cut(server, client, "slow, and the policy is disconnect");
    }
    client_close(server, client);
}

/* An outbox ran empty: whoever waited for that goes on. */
static void port_flushed(void *ctx, struct subscriber *sub)
{
    struct client *client = client_of(sub);

    if (client->state == CLIENT_FINISH) {
        linger(ctx, client);
    }
}

/* Each channel has one home, so that what homes count adds up to distinct users and rooms. */
static void count_channel(struct conn_stats *stats, struct span name, bool wanted)
{
    struct span ns = name_namespace(name);
    uint32_t one = wanted ? 1 : UINT32_MAX;

    stats->channels += one;
    if (span_equal(ns, span_str("user"))) {
        stats->user_channels += one;
    } else if (span_equal(ns, span_str("room"))) {
        stats->room_channels += one;
    }
}

static bool port_interest(void *ctx, struct span name, bool wanted)
{
    struct conn_server *server = ctx;

    count_channel(&server->stats, name, wanted);
    return !server->ports.interest || server->ports.interest(server->ports.ctx, name, wanted);
}

static void port_post(void *ctx, uint16_t shard, struct mail *mail)
{
    struct conn_server *server = ctx;
    server->ports.post(server->ports.ctx, shard, mail);
}

/* ---- http's ports ---- */

static bool http_port_write(void *ctx, uint64_t peer, const void *data, size_t len)
{
    struct client *client = conn_client_find(ctx, peer);
    return client && client_write(ctx, client, data, len);
}

static void http_port_finish(void *ctx, uint64_t peer)
{
    struct client *client = conn_client_find(ctx, peer);
    if (client) {
        client_finish(ctx, client);
    }
}

static void http_port_resume(void *ctx, uint64_t peer)
{
    struct client *client = conn_client_find(ctx, peer);
    if (client) {
        client_read_again(ctx, client);
    }
}

/* ---- making and unmaking ---- */

static struct http_options http_options_of(
    const struct conn_options *options, const struct route *routes, void *app)
{
    return (struct http_options){
        .limits = options->http_limits,
        .head_timeout_ms = options->head_timeout_ms,
        .body_timeout_ms = options->body_timeout_ms,
        .routes = routes,
        .app = app,
    };
}

int conn_server_create(const struct conn_setup *setup, struct conn_server **ret_server)
{
    struct conn_server *server = mem_zalloc_aligned(sizeof(*server));
    const struct core_ports ports = {
        .ctx = server,
        .encode = port_encode,
        .encode_gap = port_encode_gap,
        .wants_gaps = port_wants_gaps,
        .deliver = conn_deliver,
        .write = conn_write,
        .subscribed = port_subscribed,
        .published = port_published,
        .slow = port_slow,
        .doomed = port_doomed,
        .flushed = port_flushed,
        .interest = port_interest,
        .post = port_post,
    };
    const struct http_ports http_ports = {
        server, http_port_write, http_port_finish, http_port_resume};
    struct http_options http = http_options_of(setup->options, setup->routes, server);

    slab_init(&server->clients, sizeof(struct client));
    server->loop = setup->loop;
    server->options = *setup->options;
    server->ports = *setup->ports;
    server->gauge = setup->gauge;
    server->routes = setup->routes;
    server->spare.fd = -1;
    rng_init(&server->rng, setup->seed);
    server->input = mem_alloc(CONN_INPUT_BYTES);
    server->cork = mem_alloc(CONN_CORK_BYTES);
    server->framing.deflate_min_bytes = setup->options->compression_min_bytes;
    publish_init(server);
    int err =
        shard_create(setup->shard_index, setup->settings, &ports, &server->clients, &server->shard);
    err = err ? err : http_server_create(setup->loop, &http, &http_ports, &server->http);
    if (!err && setup->options->compression) {
        err = ws_deflater_create(DEFLATE_LEVEL, DEFLATE_WINDOW_BITS, &server->framing.deflater);
        err = err ? err : ws_inflater_create(&server->inflater);
    }
    if (err) {
        conn_server_destroy(server);
        return err;
    }
    fds_spare_hold(&server->spare);
    loop_handle(setup->loop, setup->options->loop_kind_client, client_event, server);
    loop_handle(setup->loop, setup->options->loop_kind_listener, listener_event, server);
    *ret_server = server;
    return 0;
}

void conn_server_reload(struct conn_server *server, const struct conn_options *options)
{
    bool compression = server->options.compression;
    struct http_options http = http_options_of(options, server->routes, server);

    http_server_reload(server->http, &http);
    server->options = *options;
    server->options.compression = compression;
    server->framing.deflate_min_bytes = options->compression_min_bytes;
}

void conn_server_destroy(struct conn_server *server)
{
    struct client *client;
    uint32_t slot = 0;

    if (!server) {
        return;
    }
    while ((client = conn_client_next(server, &slot))) {
        client_close(server, client);
    }
    for (uint32_t i = 0; i < server->listener_count; i++) {
        sock_close(server->listeners[i]);
    }
    if (server->shard) {
        shard_drain(server->shard);
        while (shard_sweep(server->shard)) {
        }
        shard_drain(server->shard);
    }
    commands_fini(server);
    publish_fini(server);
    shard_destroy(server->shard);
    http_server_destroy(server->http);
    framing_context_fini(&server->framing);
    ws_deflater_destroy(server->framing.deflater);
    ws_inflater_destroy(server->inflater);
    fds_spare_release(&server->spare);
    slab_fini(&server->clients);
    bytes_fini(&server->text);
    mem_free(server->generations);
    mem_free(server->again);
    mem_free(server->closing.ring);
    mem_free(server->greeting.ring);
    mem_free(server->input);
    mem_free(server->cork);
    mem_free(server);
}
