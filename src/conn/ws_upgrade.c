/* GET /ws: who wants what, and the 101.
 *
 * A raw socket (username, room) gets its 101 once the channel's home has answered, since the answer
 * stands in a header; an envelope socket gets it at once and a notice for each channel.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "conn/commands.h"
#include "conn/report.h"
#include "conn/server.h"
#include "conn/target.h"
#include "conn/ws.h"
#include "core/name.h"
#include "proto/http1_write.h"

enum { DEFLATE_WINDOW_BITS = 12 };

static const char *const state_names[] = {
    [SUBSCRIBE_LIVE] = "live",
    [SUBSCRIBE_REPLAYED] = "replayed",
    [SUBSCRIBE_RESET] = "reset",
};

const char *ws_state_name(uint8_t state)
{
    return state_names[state];
}

int ws_append_state(struct bytes *out, struct span channel, uint8_t state, struct cursor cursor)
{
    char text[CURSOR_TEXT_MAX];

    cursor_format(cursor, text);
    int err = bytes_append_str(out, "{\"channel\":");
    err = err ? err : json_append_string(out, channel.data, channel.len);
    return err ? err
               : bytes_appendf(
                     out, ",\"state\":\"%s\",\"cursor\":\"%s\"}", state_names[state], text);
}

/* The notice comes before the replay: it says where that begins to count from. */
int ws_append_answer(struct bytes *out, const struct mail_subscribe *answer)
{
    return ws_append_state(
        out, span_of(answer->name, answer->name_len), answer->state, answer->from);
}

static bool send_101(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer)
{
    struct http_header header = {span_str("Fanout-State"), {0}};

    server->text.len = 0;
    if (answer) {
        header.value = span_str(state_names[answer->state]);
    }
    if (ws_upgrade_reply(&server->text, &client->extra->upgrade, &header, answer ? 1 : 0) != 0) {
        shard_doom(server->shard, &client->sub);
        return false;
    }
    client->extra->upgrading = false;
    return client_write(server, client, server->text.data, server->text.len);
}

/* From here on the bytes are frames. */
static void become_websocket(struct conn_server *server, struct client *client)
{
    client->protocol = CLIENT_WS;
    server->stats.handshakes += 1;
    server->stats.websockets[client->kind] += 1;
    if (client->kind != CLIENT_ROOM || client->extra->client_id.len == 0) {
        ws_extra_free(client);
    }
    report_open(server, client);
}

/* The late 101 of a raw socket; frames that came meanwhile are read in the next turn. */
static void finish_upgrade(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer)
{
    if (send_101(server, client, answer)) {
        become_websocket(server, client);
        if (client->partial) {
            client->flags |= CLIENT_EARLY;
            client_read_again(server, client);
        }
    }
}

static void send_state(struct conn_server *server, struct client *client, struct span channel,
    uint8_t state, struct cursor cursor)
{
    struct bytes text = {0};

    if (ws_append_state(&text, channel, state, cursor) != 0 ||
        !ws_send_text(server, client, span_of(text.data, text.len))) {
        shard_doom(server->shard, &client->sub);
    }
    bytes_fini(&text);
}

static bool hears_notices(const struct client *client)
{
    return client->protocol == CLIENT_WS &&
           (client->kind == CLIENT_CHANNELS || client->kind == CLIENT_V1);
}

void ws_restarted(
    struct conn_server *server, struct client *client, struct span channel, struct cursor cursor)
{
    if (hears_notices(client) && client->state == CLIENT_OPEN) {
        send_state(server, client, channel, SUBSCRIBE_RESET, cursor);
    }
}

void ws_subscribed(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer)
{
    if (client->extra && client->extra->upgrading) {
        finish_upgrade(server, client, answer);
        return;
    }
    if (hears_notices(client)) {
        send_state(
            server, client, span_of(answer->name, answer->name_len), answer->state, answer->from);
    }
}

static const char draining[] = "this gateway is shutting down; connect again";

/* Its session is gone: from the take-over on the connection is ours. */
void ws_refuse_draining(struct conn_server *server, struct client *client)
{
    const struct http_header headers[] = {
        {span_str("Content-Type"), span_str("application/json")},
        {span_str("Retry-After"), span_str("1")},
        {span_str("Connection"), span_str("close")},
    };
    struct bytes *text = &server->text;
    char body[128];
    int len = snprintf(
        body, sizeof(body), "{\"error\":{\"code\":\"draining\",\"message\":\"%s\"}}\n", draining);

    text->len = 0;
    shard_leave_all(server->shard, &client->sub, false);
    if (http_reply_head(text, 503, headers, COUNT_OF(headers), (uint64_t)len) != 0 ||
        bytes_append(text, body, (size_t)len) != 0) {
        shard_doom(server->shard, &client->sub);
    } else if (client_write(server, client, text->data, text->len)) {
        client_finish(server, client);
    }
}

static void refuse_upgrade(struct http_exchange *x, int status, const char *reason)
{
    const struct http_header headers[] = {
        {span_str("Upgrade"), span_str("websocket")},
        {span_str("Sec-WebSocket-Version"), span_str("13")},
    };
    struct bytes body = {0};

    if (status != 426) {
        http_reply_error(x, status, "bad_upgrade", reason);
        return;
    }
    if (bytes_append_str(&body, "{\"error\":{\"code\":\"bad_upgrade\",\"message\":") != 0 ||
        json_append_string(&body, reason, strlen(reason)) != 0 ||
        bytes_append_str(&body, "}}\n") != 0) {
        body.len = 0;
    }
    http_reply_with(x, 426, "application/json", headers, 2, body.data, body.len);
    bytes_fini(&body);
}

static enum client_kind kind_of(const struct target *target, const struct ws_upgrade *upgrade)
{
    switch ((enum target_kind)target->kind) {
    case TARGET_USER:
        return CLIENT_USER;
    case TARGET_ROOM:
        return CLIENT_ROOM;
    default:
        return upgrade->protocol ? CLIENT_V1 : CLIENT_CHANNELS;
    }
}

static void begin(struct conn_server *server, struct client *client, struct http_exchange *x,
    const struct ws_upgrade *upgrade, struct target *target)
{
    struct ws_extra *extra = mem_try_zalloc(sizeof(*extra));

    if (!extra) {
        http_reply_error(x, 503, "no_memory", "no memory for another connection");
        return;
    }
    extra->upgrade = *upgrade;
    extra->upgrade.token = (struct span){0};
    extra->upgrading = true;
    extra->client_id = target->client_id;
    target->client_id = (struct bytes){0};
    client->extra = extra;
    client->kind = (uint8_t)kind_of(target, upgrade);
    client->flags |= upgrade->deflate.agreed ? CLIENT_DEFLATE : 0;
    http_take_over(x);
    bool raw = client->kind == CLIENT_USER || client->kind == CLIENT_ROOM;
    if (!raw) {
        if (!send_101(server, client, NULL)) {
            return;
        }
        become_websocket(server, client);
    }
    if (!client_subscribe(server, client, target, ws_framing(client))) {
        shard_doom(server->shard, &client->sub);
    }
}

void ws_upgrade_handler(struct http_exchange *x)
{
    struct conn_server *server = x->app;
    struct client *client = conn_client_find(server, x->peer);
    static const char *const protocols[] = {"fanout.v1"};
    struct ws_server_options options = {
        .protocols = protocols,
        .deflate_window_bits = server->options.compression ? DEFLATE_WINDOW_BITS : 0,
    };
    struct ws_upgrade upgrade;
    struct target target = {0};
    const char *reason;

    CHECK(client);
    /* What is asked for is judged first: a plain GET learns what a socket would have to say. */
    int err = target_read(&target, x->request->query, server->options.subscriptions_max);
    /* A raw socket speaks no protocol, whatever is offered: a room's members would get commands, and
     * the tokens in them, as messages. Whoever insists on one fails the connection (RFC 6455, 4.1). */
    bool raw = target.kind == TARGET_USER || target.kind == TARGET_ROOM;
    options.protocol_count = raw ? 0 : COUNT_OF(protocols);
    int status = err ? 0 : ws_upgrade_read(x->request, &options, &upgrade, &reason);
    if (err == -EINVAL) {
        http_reply_error(x, 400, target.code, target.why);
    } else if (err) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    } else if (target.kind == TARGET_NONE && !(status == 0 && upgrade.protocol)) {
        http_reply_error(x, 400, "bad_query",
            "username: missing or empty; one of ?username=, ?room= or ?channel= is expected");
    } else if (status) {
        refuse_upgrade(x, status, reason);
    } else if (server->draining) {
        http_reply_error(x, 503, "draining", draining);
    } else {
        begin(server, client, x, &upgrade, &target);
    }
    target_fini(&target);
}
