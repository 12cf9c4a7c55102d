/* A client's life: its slot and names, its end. */
#include "conn/server.h"

#include <string.h>

#include "base/mem.h"
#include "conn/poll.h"
#include "conn/positions.h"
#include "conn/target.h"
#include "conn/ws.h"
#include "rt/loop.h"
#include "rt/sock.h"

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

struct client *client_at(struct conn_server *server, uint32_t slot, uint32_t generation)
{
    if (slot >= server->clients.high_count || !(server->generations[slot] & 1) ||
        (server->generations[slot] & 0xffffff) != generation) {
        return NULL;
    }
    return slab_at(&server->clients, slot);
}

struct client *conn_client_find(struct conn_server *server, uint64_t id)
{
    return id >> 56 == server->shard->index ? client_at(server, (uint32_t)id, id >> 32 & 0xffffff)
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

bool client_subscribe(
    struct conn_server *server, struct client *client, const struct target *target, uint8_t framing)
{
    uint64_t id;

    for (uint32_t i = 0; i < target->count; i++) {
        const struct shard_asked asked = {.name = target_name(target, i),
            .framing = framing,
            .since = target->channels[i].since,
            .types = span_of(target->types.data, target->types.len),
            .batch_ms = target->batch_ms};
        if (shard_subscribe_from(server->shard, &client->sub, &asked, &id) != 0) {
            return false;
        }
    }
    return true;
}

static void uncount(struct conn_server *server, const struct client *client)
{
    server->stats.websockets[client->kind] -= client->protocol == CLIENT_WS;
    server->stats.streams[client->kind] -= client->protocol == CLIENT_SSE;
    server->stats.slow_ended += (client->sub.flags & SUB_DROPPING) != 0;
}

static void free_extra(struct conn_server *server, struct client *client)
{
    switch ((enum client_protocol)client->protocol) {
    case CLIENT_HTTP:
    case CLIENT_WS:
        ws_extra_free(client);
        break;
    case CLIENT_SSE:
        positions_free(client->positions);
        client->positions = NULL;
        break;
    case CLIENT_POLL:
        poll_free(server, client);
        break;
    case CLIENT_PROTOCOLS:
        break;
    }
}

void client_close(struct conn_server *server, struct client *client)
{
    uint32_t slot = client->sub.slot;
    int fd = client->sub.handle;

    uncount(server, client);
    http_session_end(client->session);
    client->session = NULL;
    shard_close(server->shard, &client->sub);
    free_extra(server, client);
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

/* All is sent: say so to the peer, and let it hang up first. Closing with unread input would
 * destroy our own last words on their way. */
void client_linger(struct conn_server *server, struct client *client)
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
        client_linger(server, client);
    }
}
