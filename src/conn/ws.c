#include "conn/ws.h"

#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "conn/commands.h"
#include "conn/pace.h"
#include "conn/server.h"
#include "core/channel.h"
#include "core/publication.h"

void ws_extra_free(struct client *client)
{
    if (client->extra) {
        ws_message_fini(&client->extra->message);
        bytes_fini(&client->extra->client_id);
        mem_free(client->extra);
        client->extra = NULL;
    }
}

static struct ws_extra *extra_get(struct client *client)
{
    if (!client->extra) {
        client->extra = mem_try_zalloc(sizeof(*client->extra));
    }
    return client->extra;
}

uint8_t ws_framing(const struct client *client)
{
    bool deflate = client->flags & CLIENT_DEFLATE;

    if (client->kind == CLIENT_USER || client->kind == CLIENT_ROOM) {
        return deflate ? FRAMING_RAW_DEFLATE : FRAMING_RAW;
    }
    return deflate ? FRAMING_ENVELOPE_DEFLATE : FRAMING_ENVELOPE;
}

/* ---- sending ---- */

static bool send_frame(
    struct conn_server *server, struct client *client, uint8_t opcode, struct span payload)
{
    uint8_t small[WS_HEADER_BYTES_MAX + WS_CONTROL_BYTES_MAX];
    size_t header = ws_frame_header(small, (uint8_t)(opcode | WS_FIN), payload.len, NULL);

    if (payload.len <= WS_CONTROL_BYTES_MAX) {
        if (payload.len) {
            memcpy(small + header, payload.data, payload.len);
        }
        return client_write(server, client, small, header + payload.len);
    }
    struct bytes frame = {0};
    bool ok = ws_append_frame(&frame, (uint8_t)(opcode | WS_FIN), payload, NULL) == 0 &&
              client_write(server, client, frame.data, frame.len);
    bytes_fini(&frame);
    return ok;
}

bool ws_send_text(struct conn_server *server, struct client *client, struct span text)
{
    return send_frame(server, client, WS_TEXT, text);
}

void ws_ping(struct conn_server *server, struct client *client)
{
    server->stats.pings += 1;
    send_frame(server, client, WS_PING, span_of(NULL, 0));
}

static bool send_close(
    struct conn_server *server, struct client *client, uint16_t code, struct span reason)
{
    uint8_t payload[WS_CONTROL_BYTES_MAX];
    size_t len = ws_close_payload(payload, code, reason);
    return send_frame(server, client, WS_CLOSE, span_of(payload, len));
}

void ws_close(struct conn_server *server, struct client *client, uint16_t code, const char *reason)
{
    if (client->state != CLIENT_OPEN) {
        return;
    }
    shard_leave_all(server->shard, &client->sub, true);
    if (send_close(server, client, code, span_str(reason))) {
        client->state = CLIENT_CLOSING;
        pace_let_go(server, client);
        client_set_deadline(server, client);
    }
}

/* The peer broke the protocol: say how, and expect nothing sensible any more. */
static bool fail(
    struct conn_server *server, struct client *client, uint16_t code, const char *reason)
{
    server->stats.violations += 1;
    if (client->state == CLIENT_OPEN && !send_close(server, client, code, span_str(reason))) {
        return false;
    }
    shard_leave_all(server->shard, &client->sub, false);
    client_finish(server, client);
    return false;
}

/* ---- receiving ---- */

static uint32_t read_limit(const struct conn_server *server, const struct client *client)
{
    switch ((enum client_kind)client->kind) {
    case CLIENT_USER:
        return server->options.read_bytes_user;
    case CLIENT_ROOM:
        return server->options.read_bytes_room;
    default:
        return server->options.read_bytes_v1;
    }
}

static void room_message(struct conn_server *server, struct client *client, struct span payload)
{
    const struct class *class = client->sub.first.class;
    struct span from = {0};

    if (!class) {
        return;
    }
    if (client->extra) {
        from = span_of(client->extra->client_id.data, client->extra->client_id.len);
    }
    uint32_t flags = utf8_valid(payload.data, payload.len) ? PUBLICATION_UTF8 : 0;
    const struct publish_order order = {.name = channel_name(class_channel(class)),
        .payload = payload,
        .from = from,
        .flags = flags};
    server->stats.publish_dropped += server->ports.publish(server->ports.ctx, &order) != 0;
}

static void message(
    struct conn_server *server, struct client *client, uint8_t opcode, struct span payload)
{
    server->stats.messages_in += 1;
    if (client->state != CLIENT_OPEN) {
        return;
    }
    if (client->kind == CLIENT_ROOM) {
        room_message(server, client, payload);
    } else if (client->kind == CLIENT_V1 && opcode == WS_TEXT) {
        commands_message(server, client, payload);
    } else if (client->kind == CLIENT_V1) {
        commands_binary(server, client);
    }
}

static const char *reason_of(int code)
{
    switch (code) {
    case WS_CODE_BAD_DATA:
        return "a text message must be UTF-8";
    case WS_CODE_TOO_LARGE:
        return "the message is larger than this endpoint reads";
    case WS_CODE_INTERNAL:
        return "no memory";
    default:
        return "not a WebSocket frame that fits here";
    }
}

static bool data_frame(
    struct conn_server *server, struct client *client, const struct ws_frame *frame)
{
    bool open = client->extra && ws_message_open(&client->extra->message);
    uint32_t slot = client->sub.slot;
    uint8_t opcode;
    struct span payload;

    if (ws_is_whole(frame) && !open) {
        if (!ws_text_ok(frame)) {
            return fail(server, client, WS_CODE_BAD_DATA, reason_of(WS_CODE_BAD_DATA));
        }
        message(server, client, frame->opcode, frame->payload);
        return (server->generations[slot] & 1) && !(client->sub.flags & SUB_DOOMED);
    }
    struct ws_extra *extra = extra_get(client);
    if (!extra) {
        return fail(server, client, WS_CODE_INTERNAL, reason_of(WS_CODE_INTERNAL));
    }
    int got = ws_message_push(
        &extra->message, frame, server->inflater, read_limit(server, client), &opcode, &payload);
    if (got < 0) {
        return fail(server, client, (uint16_t)-got, reason_of(-got));
    }
    if (got == 1) {
        message(server, client, opcode, payload);
        ws_message_fini(&extra->message);
        if (client->kind == CLIENT_USER || client->kind == CLIENT_CHANNELS) {
            ws_extra_free(client);
        }
    }
    return !(client->sub.flags & SUB_DOOMED);
}

static bool close_frame(
    struct conn_server *server, struct client *client, const struct ws_frame *frame)
{
    uint16_t code;
    struct span reason;
    int err = ws_close_parse(frame->payload, &code, &reason);

    if (err) {
        return fail(server, client, (uint16_t)-err, reason_of(-err));
    }
    if (client->state == CLIENT_OPEN) {
        send_close(server, client, code, span_of(NULL, 0)); /* Echoed (RFC 6455, 5.5.1). */
    }
    shard_leave_all(server->shard, &client->sub, false);
    client_finish(server, client);
    return false;
}

static bool one_frame(
    struct conn_server *server, struct client *client, const struct ws_frame *frame)
{
    switch (frame->opcode) {
    case WS_PING:
        return client->state != CLIENT_OPEN || send_frame(server, client, WS_PONG, frame->payload);
    case WS_PONG:
        return true;
    case WS_CLOSE:
        return close_frame(server, client, frame);
    default:
        return data_frame(server, client, frame);
    }
}

enum parsed {
    PARSED_ALL,
    PARSED_WAITS, /* What is left is not read now, see conn/pace.h. */
    PARSED_LAST,  /* The client takes no more input. */
};

/* Parses frames in place. *ret_used bytes are done with; *ret_need is what the next frame has in
 * all. */
static enum parsed parse(struct conn_server *server, struct client *client, uint8_t *data,
    size_t len, size_t *ret_used, size_t *ret_need)
{
    struct ws_rules rules = {
        .masked = true,
        .rsv1 = client->flags & CLIENT_DEFLATE,
        .payload_max = read_limit(server, client),
    };
    struct ws_frame frame;
    uint32_t frames = 0;
    size_t used = 0;

    *ret_need = 0;
    for (*ret_used = 0; *ret_used < len; *ret_used += used) {
        int got =
            ws_frame_parse(data + *ret_used, len - *ret_used, &rules, &frame, &used, ret_need);
        if (got == 0) {
            return PARSED_ALL;
        }
        if (got < 0) {
            fail(server, client, (uint16_t)-got, reason_of(-got));
            return PARSED_LAST;
        }
        if (!one_frame(server, client, &frame)) {
            return PARSED_LAST;
        }
        if (pace_waits_after(server, client, ++frames)) {
            *ret_used += used;
            return PARSED_WAITS;
        }
    }
    return PARSED_ALL;
}

/* Keeps the beginning of a frame until the rest comes; need is bounded by the read limit. */
static bool keep(
    struct conn_server *server, struct client *client, const uint8_t *data, size_t len, size_t need)
{
    size_t cap = need > len ? need : len;
    struct partial *partial = mem_try_alloc(sizeof(*partial) + cap);

    if (!partial) {
        return fail(server, client, WS_CODE_INTERNAL, reason_of(WS_CODE_INTERNAL));
    }
    memcpy(partial->data, data, len);
    partial->len = (uint32_t)len;
    partial->cap = (uint32_t)cap;
    client->partial = partial;
    return true;
}

/* Keeps what is not read now. The client is read no further until it is. */
static bool keep_for_later(
    struct conn_server *server, struct client *client, const uint8_t *data, size_t len)
{
    if (len && ws_keep_early(server, client, span_of(data, len))) {
        client->flags |= CLIENT_EARLY;
    }
    return false;
}

/* Moves as much as the gathered frame still lacks, then tries it. */
static bool continue_partial(
    struct conn_server *server, struct client *client, uint8_t **data, size_t *len)
{
    struct partial *partial = client->partial;
    size_t room = partial->cap - partial->len, used, need;
    size_t take = *len < room ? *len : room;

    memcpy(partial->data + partial->len, *data, take);
    partial->len += (uint32_t)take;
    *data += take;
    *len -= take;
    client->partial = NULL; /* Ours while it is parsed: the client may go meanwhile. */
    enum parsed parsed = parse(server, client, partial->data, partial->len, &used, &need);
    bool on = parsed == PARSED_ALL;
    if (on && used < partial->len) {
        on = keep(server, client, partial->data + used, partial->len - used, need);
    } else if (parsed == PARSED_WAITS) { /* It held that one frame. */
        on = keep_for_later(server, client, *data, *len);
    }
    mem_free(partial);
    return on;
}

bool ws_input(struct conn_server *server, struct client *client, uint8_t *data, size_t len)
{
    size_t used, need;

    while (client->partial && len) {
        if (!continue_partial(server, client, &data, &len)) {
            return false;
        }
    }
    if (len == 0) {
        return true;
    }
    enum parsed parsed = parse(server, client, data, len, &used, &need);
    if (parsed == PARSED_WAITS) {
        return keep_for_later(server, client, data + used, len - used);
    }
    return parsed == PARSED_ALL &&
           (used == len || keep(server, client, data + used, len - used, need));
}

bool ws_early_input(struct conn_server *server, struct client *client)
{
    struct partial *early = client->partial;

    client->flags &= (uint8_t)~CLIENT_EARLY;
    client->partial = NULL;
    bool on = ws_input(server, client, early->data, early->len);
    mem_free(early);
    return on;
}

bool ws_keep_early(struct conn_server *server, struct client *client, struct span early)
{
    size_t have = client->partial ? client->partial->len : 0;
    struct partial *partial = NULL;

    if (early.len == 0) {
        return true;
    }
    if (have + early.len <= CONN_INPUT_BYTES) {
        partial = mem_try_realloc(client->partial, sizeof(*partial) + have + early.len);
    }
    if (!partial) {
        shard_doom(server->shard, &client->sub);
        return false;
    }
    memcpy(partial->data + have, early.data, early.len);
    partial->len = partial->cap = (uint32_t)(have + early.len);
    client->partial = partial;
    return true;
}
