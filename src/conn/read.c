/* Reading from clients, edge-triggered, and handing what came to HTTP or WebSocket. */
#include "conn/server.h"

#include <errno.h>

#include "base/mem.h"
#include "conn/pace.h"
#include "conn/poll.h"
#include "conn/publish.h"
#include "conn/ws.h"
#include "rt/loop.h"
#include "rt/sock.h"

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

/* A handler made a WebSocket of it (or is about to), or a stream: the session's work is done, and what
 * came behind the request is frames, or nothing. */
static bool http_taken(struct conn_server *server, struct client *client, uint8_t *data, size_t len)
{
    http_session_end(client->session);
    client->session = NULL;
    if (client->protocol == CLIENT_SSE) {
        return true; /* The answer has no end, so there is no next request. */
    }
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
    if (client->protocol != CLIENT_SSE && !ws_keep_early(server, client, held)) {
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

/* Over the connection limit: one answer, and that is 503 unless it only asks how we are. */
static bool refused_input(
    struct conn_server *server, struct client *client, uint8_t *data, size_t len)
{
    if (client_probes(span_of(data, len))) {
        client->session = http_session_begin(server->http, conn_client_id(server, client));
    }
    if (!client->session) {
        client_refuse(server, client);
        return true;
    }
    client->state = CLIENT_OPEN;
    server->refusing -= 1;
    http_session_last(client->session);
    return http_input(server, client, data, len);
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
        return refused_input(server, client, data, len);
    case CLIENT_OPEN:
    case CLIENT_CLOSING:
        break;
    }
    if (client->protocol == CLIENT_WS) {
        return ws_input(server, client, data, len);
    }
    if (client->protocol == CLIENT_SSE) {
        return true; /* It has nothing to say; read on, to hear when it goes. */
    }
    if (ws_upgrading(client)) {
        return ws_keep_early(server, client, span_of(data, len));
    }
    return http_input(server, client, data, len);
}

/* The peer will send no more. What it has asked for is still answered, and the answers still sent. */
static void input_ended(struct conn_server *server, struct client *client)
{
    bool asks = client->protocol == CLIENT_HTTP || client->protocol == CLIENT_POLL;

    if (asks && client->state == CLIENT_OPEN && client->session &&
        http_session_ended(client->session)) {
        if (client->protocol == CLIENT_POLL) {
            poll_wait_no_more(server, client);
        }
        return;
    }
    if (client->protocol == CLIENT_HTTP && client->sub.outbox && client->state != CLIENT_LINGER) {
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
 * read that fills less than the buffer has emptied the socket (epoll(7)), and whatever comes after the
 * event is another one, the end of the stream included; an end that came before it is in the event as
 * LOOP_HUP, and then we read on to it. Only TCP's urgent data makes a read short with more behind it:
 * who sends that is heard with his next byte. */
static void client_readable(struct conn_server *server, struct client *client, bool hup)
{
    enum { READS_A_TURN = 4 };
    uint32_t slot = client->sub.slot, generation = client->sub.generation;

    if (pace_waits(server, client)) {
        return;
    }
    if (client->session && !client->sub.outbox) {
        http_session_continue(client->session);
    }
    if (!take_held(server, client) ||
        ((client->flags & CLIENT_EARLY) && !ws_early_input(server, client))) {
        return;
    }
    if (client->session && http_session_full(client->session)) {
        return; /* Whatever woke us: the reply, or its flush, reads on. */
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
        if (!on || client_at(server, slot, generation) != client) {
            return;
        }
        if (got < CONN_INPUT_BYTES && !hup) {
            return;
        }
    }
    client_read_again(server, client);
}

void client_read_first(struct conn_server *server, struct client *client)
{
    client_readable(server, client, false);
}

void conn_client_event(void *ctx, uint64_t id, uint32_t events)
{
    struct conn_server *server = ctx;
    struct client *client = client_at(server, (uint32_t)id, (uint32_t)(id >> 32));

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

void conn_server_turn(struct conn_server *server)
{
    poll_turn(server);
    publish_turn(server);
    server->history_events = 0;
    uint32_t count = server->again_count;
    uint32_t *slots = server->again;
    if (count == 0) {
        return;
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
}
