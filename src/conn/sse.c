#include "conn/sse.h"

#include <errno.h>
#include <string.h>

#include "base/check.h"
#include "conn/positions.h"
#include "conn/report.h"
#include "conn/server.h"
#include "conn/target.h"
#include "conn/ws.h"
#include "core/outbox.h"
#include "proto/http1_write.h"
#include "proto/sse.h"

enum {
    PADDING_BYTES = 2048, /* Proxies and old readers that hold back the first so many bytes. */
    RETRY_MIN_MS = 1000,
    RETRY_SPREAD_MS = 2000, /* Those who were cut together come back apart. */
};

static const struct http_header stream_headers[] = {
    {{(const uint8_t *)"Cache-Control", 13}, {(const uint8_t *)"no-cache, no-transform", 22}},
    {{(const uint8_t *)"X-Accel-Buffering", 17}, {(const uint8_t *)"no", 2}},
    {{(const uint8_t *)"Content-Type", 12}, {(const uint8_t *)"text/event-stream", 17}},
    {{(const uint8_t *)"Connection", 10}, {(const uint8_t *)"close", 5}},
};

/* ---- sending ---- */

static bool send(struct conn_server *server, struct client *client, int err)
{
    if (err) {
        shard_doom(server->shard, &client->sub);
        return false;
    }
    return client_write(server, client, server->text.data, server->text.len);
}

static int append_padding(struct bytes *out)
{
    int err = bytes_reserve(out, PADDING_BYTES);

    if (!err) {
        memset(out->data + out->len, ' ', PADDING_BYTES);
        out->data[out->len] = ':';
        out->len += PADDING_BYTES;
    }
    return err ? err : bytes_append_str(out, "\n\n");
}

static bool send_head(struct conn_server *server, struct client *client)
{
    struct bytes *text = &server->text;
    unsigned retry_ms = RETRY_MIN_MS + (unsigned)rng_below(&server->rng, RETRY_SPREAD_MS);

    text->len = 0;
    int err = http_reply_head(text, 200, stream_headers, COUNT_OF(stream_headers), HTTP_NO_LENGTH);
    err = err ? err : bytes_appendf(text, "retry: %u\n", retry_ms);
    return send(server, client, err ? err : append_padding(text));
}

static int append_positions(struct client *client, struct bytes *out)
{
    int err = bytes_append_str(out, "id: ");

    err = err ? err : positions_append(out, client->positions);
    client->positions->changed = false;
    return err ? err : bytes_append_byte(out, '\n');
}

static bool send_positions(struct conn_server *server, struct client *client)
{
    struct bytes *text = &server->text;

    text->len = 0;
    int err = append_positions(client, text);
    return send(server, client, err ? err : bytes_append_byte(text, '\n'));
}

/* Until every channel is answered the list would have holes, and who came back with it would miss what
 * it asked for. */
static bool owes_positions(const struct client *client)
{
    return client->positions && client->positions->changed && !client->positions->unanswered;
}

void sse_flush(struct conn_server *server, struct client *client, bool done)
{
    const struct outbox *box = client->sub.outbox;

    /* While one waits, for a reader that is slow, there is no second one. */
    if (client->state == CLIENT_OPEN && owes_positions(client) &&
        (done || (box && box->control_bytes == 0))) {
        send_positions(server, client);
    }
}

/* With one channel the notice moves the reader's last id as well: else it would come back with one
 * that is no longer good. */
static void send_state(struct conn_server *server, struct client *client, struct span channel,
    uint8_t state, struct cursor cursor)
{
    struct bytes *text = &server->text;
    char id[CURSOR_TEXT_MAX];

    text->len = 0;
    cursor_format(cursor, id);
    int err = client->positions ? 0 : bytes_appendf(text, "id: %s\n", id);
    err = err ? err : bytes_append_str(text, "event: state\ndata: ");
    err = err ? err : ws_append_state(text, channel, state, cursor);
    if (!send(server, client, err ? err : bytes_append_str(text, "\n\n")) || !client->positions) {
        return;
    }
    positions_set(client->positions, channel, state, cursor);
    if (owes_positions(client)) {
        send_positions(server, client);
    }
}

void sse_subscribed(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer)
{
    send_state(
        server, client, span_of(answer->name, answer->name_len), answer->state, answer->from);
}

void sse_restarted(
    struct conn_server *server, struct client *client, struct span channel, struct cursor cursor)
{
    if (client->state == CLIENT_OPEN) {
        send_state(server, client, channel, SUBSCRIBE_RESET, cursor);
    }
}

/* A filter lets most events go by in silence. Whoever comes back with the id of the last one that fitted
 * would have all of them looked through again or, once that is forgotten, hear reset for no reason: so
 * the heartbeat says how far the stream has come. A block without data moves the reader's last id and
 * dispatches nothing. */
static int append_progress(struct conn_server *server, struct client *client, struct bytes *out)
{
    struct cursor cursor;
    uint64_t hash;

    if (client->positions) {
        positions_follow(client->positions, server->shard, &client->sub);
        return owes_positions(client) ? append_positions(client, out) : 0;
    }
    if (client->sub.subscription_count != 1 ||
        !shard_place(server->shard, &client->sub, 0, &hash, &cursor)) {
        return 0;
    }
    char id[CURSOR_TEXT_MAX];
    cursor_format(cursor, id);
    return bytes_appendf(out, "id: %s\n", id);
}

/* A reader that takes nothing needs none: what waits for it is sign enough. */
void sse_heartbeat(struct conn_server *server, struct client *client)
{
    if (client->state != CLIENT_OPEN || (client->sub.flags & (SUB_DOOMED | SUB_BLOCKED))) {
        return;
    }
    client->sub.life_tick = conn_tick_now(server);
    if (client->sub.outbox) {
        return;
    }
    struct bytes *text = &server->text;
    text->len = 0;
    int err = bytes_append_str(text, ":\n");
    err = err ? err : append_progress(server, client, text);
    send(server, client, err ? err : bytes_append_byte(text, '\n'));
}

void sse_end(
    struct conn_server *server, struct client *client, const char *reason, uint32_t retry_ms)
{
    struct bytes *text = &server->text;

    if (client->state != CLIENT_OPEN) {
        return;
    }
    shard_leave_all(server->shard, &client->sub, true);
    if (owes_positions(client) && !send_positions(server, client)) {
        return;
    }
    text->len = 0;
    int err = bytes_appendf(text, ": %s\n", reason);
    err = err || !retry_ms ? err : bytes_appendf(text, "retry: %u\n", (unsigned)retry_ms);
    if (send(server, client, err ? err : bytes_append_byte(text, '\n'))) {
        client_finish(server, client);
    }
}

/* The last list it got is the one to come back with: the positions had run ahead, to the end of what
 * waited. */
void sse_overrun(struct conn_server *server, struct client *client)
{
    if (client->positions) {
        client->positions->changed = false;
    }
    sse_end(server, client, "too slow: what waited for this connection is lost", 0);
}

/* ---- the request ---- */

static enum client_kind kind_of(const struct target *target)
{
    return target->kind == TARGET_USER   ? CLIENT_USER
           : target->kind == TARGET_ROOM ? CLIENT_ROOM
                                         : CLIENT_CHANNELS;
}

static uint8_t framing_of(const struct client *client)
{
    if (client->positions) {
        return FRAMING_SSE_LIST;
    }
    return client->kind == CLIENT_CHANNELS ? FRAMING_SSE_ENVELOPE : FRAMING_SSE_RAW;
}

static void begin(struct conn_server *server, struct client *client, struct http_exchange *x,
    const struct target *target)
{
    const struct hash_key *key = &server->shard->settings->hash_key;
    bool list = target->count > 1 || target->batch_ms;
    struct positions *positions = list ? positions_create(key, target) : NULL;

    if (list && !positions) {
        http_reply_error(x, 503, "no_memory", "no memory for another connection");
        return;
    }
    client->protocol = CLIENT_SSE;
    client->kind = (uint8_t)kind_of(target);
    client->positions = positions;
    server->stats.streams[client->kind] += 1;
    server->stats.streams_opened += 1;
    http_take_over(x);
    if (!send_head(server, client)) {
        return;
    }
    shard_watch(&client->sub, list);
    if (!client_subscribe(server, client, target, framing_of(client))) {
        shard_doom(server->shard, &client->sub);
        return;
    }
    report_open(server, client);
}

void sse_handler(struct http_exchange *x)
{
    struct conn_server *server = x->app;
    struct client *client = conn_client_find(server, x->peer);
    struct span last_id = http_request_header(x->request, "Last-Event-ID");
    struct target target = {0};

    CHECK(client);
    int err = target_read(&target, x->request->query, server->options.subscriptions_max);
    if (err == -EINVAL) {
        http_reply_error(x, 400, target.code, target.why);
    } else if (err) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    } else if (target.kind == TARGET_NONE) {
        http_reply_error(x, 400, "bad_query",
            "username: missing or empty; one of ?username=, ?room= or ?channel= is expected");
    } else if (server->draining) {
        http_reply_error(x, 503, "draining", "this gateway is shutting down; connect again");
    } else if (x->head_only) {
        http_reply_with(x, 200, "text/event-stream", stream_headers, 2, NULL, HTTP_NO_LENGTH);
    } else {
        if (last_id.len) {
            target_resume(&target, last_id);
        }
        begin(server, client, x, &target);
    }
    target_fini(&target);
}
