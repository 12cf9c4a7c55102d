#include "conn/snapshot.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "conn/commands.h"
#include "conn/poll.h"
#include "conn/positions.h"
#include "conn/server.h"
#include "conn/ws.h"
#include "core/snapshot.h"
#include "rt/loop.h"
#include "rt/sock.h"

/* Flags that mean the same anywhere; the others are about lists of one server. */
enum { FLAGS_MOVED = CLIENT_DEFLATE | CLIENT_COUNTED | CLIENT_EARLY | CLIENT_SPOKE };

/* Later nobody reads requests any more. */
static bool has_session(const struct client *client)
{
    return client->session && client->state == CLIENT_OPEN;
}

void conn_snapshot_prepare(struct conn_server *server)
{
    poll_hurry_all(server);
}

bool conn_snapshot_ready(const struct conn_server *server)
{
    struct client *client;
    uint32_t slot = 0;

    if (server->publishing) {
        return false;
    }
    while ((client = conn_client_next((struct conn_server *)server, &slot))) {
        if ((has_session(client) && !http_session_movable(client->session)) ||
            (client->sub.flags & SUB_DOOMED) || (client->flags & CLIENT_ASKS)) {
            return false;
        }
    }
    return true;
}

/* ---- export ---- */

static void export_extra(const struct ws_extra *extra, struct pack *out)
{
    pack_u8(out, extra != NULL);
    if (!extra) {
        return;
    }
    const struct ws_message *message = &extra->message;
    pack_u8(out, message->opcode);
    pack_u8(out, message->compressed);
    pack_u8(out, message->utf8.need);
    pack_u8(out, message->utf8.lo);
    pack_u8(out, message->utf8.hi);
    pack_span(out, span_of(message->gathered.data, message->gathered.len));
    pack_span(out, span_of(extra->client_id.data, extra->client_id.len));
    pack_u8(out, extra->upgrading);
    pack_span(out, span_of(extra->upgrade.accept, sizeof(extra->upgrade.accept)));
    pack_u8(out, extra->upgrade.deflate.agreed);
    pack_u8(out, extra->upgrade.deflate.server_max_window_bits);
}

static void export_positions(const struct positions *positions, struct pack *out)
{
    pack_u8(out, positions != NULL);
    if (positions) {
        positions_export(positions, out);
    }
}

void conn_snapshot_export(struct conn_server *server, struct client *client, struct pack *out)
{
    const struct partial *partial = client->partial;
    uint32_t now = conn_tick_now(server);

    pack_u8(out, client->protocol);
    pack_u8(out, client->state);
    pack_u8(out, client->kind);
    pack_u8(out, client->flags & FLAGS_MOVED);
    pack_u32(out, now - client->sub.life_tick);
    pack_u32(out, now - client->opened_tick);
    pack_span(out, partial ? span_of(partial->data, partial->len) : span_of(NULL, 0));
    pack_u32(out, partial ? partial->cap : 0);
    if (client->protocol == CLIENT_SSE) {
        export_positions(client->positions, out);
    } else {
        export_extra(client->extra, out);
    }
    pack_u8(out, has_session(client));
    if (has_session(client)) {
        http_session_export(client->session, out);
    }
    size_t mark = pack_begin(out);
    commands_export(server, client, out);
    pack_end(out, mark);
    snapshot_export_subscriber(server->shard, &client->sub, out);
}

int conn_snapshot_release(struct conn_server *server, struct client *client)
{
    int fd = client->sub.handle;

    loop_unwatch(server->loop, fd);
    client->sub.handle = -1;
    client_close(server, client);
    return fd;
}

/* ---- import ---- */

static int import_partial(struct client *client, struct unpack *in)
{
    struct span data = unpack_span(in);
    uint32_t cap = unpack_u32(in);

    if (in->failed || (cap && cap < data.len) || cap > 1u << 30) {
        return -EBADMSG;
    }
    if (cap == 0) {
        return 0;
    }
    client->partial = mem_try_alloc(sizeof(*client->partial) + cap);
    if (!client->partial) {
        return -ENOMEM;
    }
    client->partial->len = (uint32_t)data.len;
    client->partial->cap = cap;
    memcpy(client->partial->data, data.data, data.len);
    return 0;
}

static int import_extra(struct client *client, struct unpack *in)
{
    if (!unpack_u8(in)) {
        return unpack_error(in);
    }
    struct ws_extra *extra = mem_try_zalloc(sizeof(*extra));
    if (!extra) {
        return -ENOMEM;
    }
    client->extra = extra;
    extra->message.opcode = unpack_u8(in);
    extra->message.compressed = unpack_u8(in);
    extra->message.utf8.need = unpack_u8(in);
    extra->message.utf8.lo = unpack_u8(in);
    extra->message.utf8.hi = unpack_u8(in);
    struct span gathered = unpack_span(in), client_id = unpack_span(in);
    extra->upgrading = unpack_u8(in);
    struct span accept = unpack_span(in);
    extra->upgrade.deflate.agreed = unpack_u8(in);
    extra->upgrade.deflate.server_max_window_bits = unpack_u8(in);
    if (in->failed || accept.len != sizeof(extra->upgrade.accept)) {
        return -EBADMSG;
    }
    memcpy(extra->upgrade.accept, accept.data, accept.len);
    int err = bytes_append(&extra->message.gathered, gathered.data, gathered.len);
    return err ? err : bytes_append(&extra->client_id, client_id.data, client_id.len);
}

static int import_positions(struct conn_server *server, struct client *client, struct unpack *in)
{
    if (!unpack_u8(in)) {
        return unpack_error(in);
    }
    client->positions = positions_import(&server->shard->settings->hash_key, in);
    return client->positions ? 0 : in->failed ? -EBADMSG : -ENOMEM;
}

struct moving {
    struct conn_server *server;
    struct client *client;
    struct span commands;
    bool failed;
};

static void asked_anew(void *ctx, uint64_t former_id, uint64_t id)
{
    struct moving *moving = ctx;

    if (!commands_import(moving->server, moving->client, moving->commands, former_id, id)) {
        moving->failed = true;
    }
}

/* Lists and counts of the server it is now in. */
static void enrol(struct conn_server *server, struct client *client)
{
    server->stats.websockets[client->kind] += client->protocol == CLIENT_WS;
    server->stats.streams[client->kind] += client->protocol == CLIENT_SSE;
    if (client->flags & CLIENT_COUNTED) {
        client->flags &= (uint8_t)~CLIENT_COUNTED;
        if (gauge_try_add(server->gauge, UINT32_MAX)) {
            client->flags |= CLIENT_COUNTED;
        }
    }
    server->refusing += client->state == CLIENT_REFUSED;
    if (client->state != CLIENT_OPEN) {
        client_set_deadline(server, client);
    } else if (!(client->flags & CLIENT_SPOKE)) {
        client_set_greeting(server, client);
    }
    client_read_again(server, client); /* What came meanwhile raises no event. */
}

static int import_client(struct conn_server *server, struct client *client, struct unpack *in)
{
    uint8_t protocol = unpack_u8(in), state = unpack_u8(in), kind = unpack_u8(in);
    uint8_t flags = unpack_u8(in) & FLAGS_MOVED;

    if (in->failed || protocol > CLIENT_SSE || state > CLIENT_LINGER || kind >= CLIENT_KINDS) {
        return -EBADMSG;
    }
    client->protocol = protocol;
    client->state = state;
    client->kind = kind;
    client->flags |= flags;
    enrol(server, client);
    client->sub.life_tick = conn_tick_now(server) - unpack_u32(in);
    client->opened_tick = conn_tick_now(server) - unpack_u32(in);
    int err = import_partial(client, in);
    if (!err && protocol == CLIENT_SSE) {
        err = import_positions(server, client, in);
    } else {
        err = err ? err : import_extra(client, in);
    }
    if (!err && (flags & CLIENT_EARLY) && !client->partial) {
        err = -EBADMSG;
    }
    if (!err && unpack_u8(in)) {
        client->session = http_session_import(server->http, conn_client_id(server, client), in);
        err = client->session ? 0 : in->failed ? -EBADMSG : -ENOMEM;
    }
    struct moving moving = {.server = server, .client = client};
    moving.commands = err ? span_of(NULL, 0) : unpack_span(in);
    err = err ? err
              : snapshot_import_subscriber(server->shard, &client->sub, in, asked_anew, &moving);
    if (!err && protocol == CLIENT_SSE) {
        shard_watch(&client->sub, client->positions); /* Where it stands is known without a look. */
    }
    return err ? err : moving.failed ? -ENOMEM : 0;
}

int conn_snapshot_import(struct conn_server *server, int fd, struct unpack *in)
{
    struct client *client = client_open(server, fd);

    if (!client) {
        sock_close(fd);
        return -ENOMEM;
    }
    int err = import_client(server, client, in);
    if (err) {
        client_close(server, client);
    }
    return err;
}
