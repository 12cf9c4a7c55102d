#include "conn/publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "conn/commands.h"
#include "conn/publish_own.h"
#include "conn/server.h"
#include "core/name.h"
#include "proto/url.h"

enum { KEY_MAX = 255 };

/* ---- answers ---- */

static const char *error_text(int err)
{
    switch (err) {
    case -EBUSY:
        return "too much is under way, try again";
    case -ENOTCONN:
    case -ECONNRESET:
        return "the broker cannot be reached";
    case -ENOMEM:
        return "no memory";
    case -ENOTSUP:
        return "ack=durable: this channel's history is not kept on this gateway's disk";
    case -EMSGSIZE:
        return "the payload is larger than the broker, or the durable history, may be given";
    case -ENOSPC:
        return "the disk, or what may be used of it, is full";
    case -EIO:
        return "the durable history failed and takes nothing until a restart";
    case -ESHUTDOWN:
        return "this gateway is shutting down";
    default:
        return "the broker refused it";
    }
}

static const char *error_code(int err)
{
    switch (err) {
    case -EBUSY:
        return "busy";
    case -ENOMEM:
        return "no_memory";
    case -ENOTSUP:
        return "not_durable";
    case -EMSGSIZE:
        return "too_large";
    case -ENOSPC:
        return "storage_full";
    case -EIO:
        return "storage_failed";
    case -ESHUTDOWN:
        return "draining";
    default:
        return "broker";
    }
}

static int append_result(
    struct bytes *out, const struct publish_request *request, const struct publish_item *item)
{
    int err = bytes_append_str(out, "{\"channel\":");

    err = err ? err : json_append_string(out, request->names.data + item->start, item->len);
    if (!err && item->result.has_cursor) {
        char cursor[CURSOR_TEXT_MAX];
        cursor_format(item->result.cursor, cursor);
        err = bytes_appendf(out, ",\"cursor\":\"%s\"", cursor);
    } else {
        err = err ? err : bytes_append_str(out, ",\"cursor\":null");
    }
    if (!err && item->result.err) {
        err = bytes_appendf(out, ",\"error\":{\"code\":\"%s\",\"message\":\"%s\"}",
            error_code(item->result.err), error_text(item->result.err));
    }
    return err ? err : bytes_append_byte(out, '}');
}

/* 200 as soon as one channel took it; each says for itself what came of it. */
static void answer_http(struct conn_server *server, struct publish_request *request)
{
    struct client *client = conn_client_find(server, request->peer);
    struct http_exchange *x =
        client && client->session ? http_session_exchange(client->session) : NULL;
    struct bytes *out = &server->text;
    bool duplicate = true, failed = true;
    int err;

    if (!x) {
        return;
    }
    out->len = 0;
    err = bytes_append_str(out, "{\"results\":[");
    for (uint32_t i = 0; !err && i < request->count; i++) {
        const struct publish_item *item = &request->items[i];
        duplicate = duplicate && item->result.duplicate;
        failed = failed && item->result.err;
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err : append_result(out, request, item);
    }
    err = err ? err : bytes_appendf(out, "],\"duplicate\":%s}\n", duplicate ? "true" : "false");
    if (err || failed) {
        int why = err ? err : request->items[0].result.err;
        int status = why == -ENOTSUP ? 400 : why == -EMSGSIZE ? 413 : 503;
        http_reply_error(x, status, error_code(why), error_text(why));
        return;
    }
    http_reply(x, 200, "application/json", out->data, out->len);
}

void publish_answer(struct conn_server *server, struct publish_request *request)
{
    struct client *client = conn_client_find(server, request->peer);

    if (request->done) {
        uint32_t i = 0;
        while (i + 1 < request->count && !request->items[i].result.err) {
            i += 1;
        }
        request->done(request->done_ctx, &request->items[i].result);
    } else if (!request->command) {
        answer_http(server, request);
    } else if (client && client->state == CLIENT_OPEN) {
        commands_published(
            server, client, span_of(request->id.data, request->id.len), &request->items[0].result);
    }
}

const char *publish_error_code(int err)
{
    return error_code(err);
}

const char *publish_error_text(int err)
{
    return error_text(err);
}

/* ---- requests ---- */

static bool reserve_item(struct publish_request *request)
{
    if (request->count < request->cap) {
        return true;
    }
    struct publish_item *items = mem_try_zalloc(PUBLISH_CHANNELS_MAX * sizeof(*items));
    if (items) {
        items[0] = request->one;
        request->items = items;
        request->cap = PUBLISH_CHANNELS_MAX;
    }
    return items;
}

/* Adds a channel; NULL, or the sentence that says what is wrong with it. */
static const char *add_channel(struct publish_request *request, struct span name)
{
    const char *why = name_check(name);

    if (why) {
        return why;
    }
    if (request->count == PUBLISH_CHANNELS_MAX) {
        return "more than 100 channels";
    }
    if (!reserve_item(request)) {
        return "no memory";
    }
    struct publish_item *item = &request->items[request->count];
    item->start = (uint32_t)request->names.len;
    item->len = (uint32_t)name.len;
    if (bytes_append(&request->names, name.data, name.len) != 0) {
        return "no memory";
    }
    request->count += 1;
    return NULL;
}

static const char *add_json_channel(struct publish_request *request, struct span raw)
{
    struct bytes name = {0};
    const char *why = "a string is expected";

    if (json_string_decode(raw, &name) == 0) {
        why = add_channel(request, span_of(name.data, name.len));
    }
    bytes_fini(&name);
    return why;
}

/* ret_index: of the element that is at fault, if one is. */
static const char *add_json_channels(
    struct publish_request *request, struct span raw, int *ret_index)
{
    struct json_array array;
    struct span element;
    const char *why = NULL;

    if (json_array_begin(raw.data, raw.len, &array) != 0) {
        return "an array of strings is expected";
    }
    for (int i = 0; !why && json_array_next(&array, &element) == 1; i++) {
        why = add_json_channel(request, element);
        *ret_index = why ? i : -1;
    }
    return why || request->count ? why : "at least one channel is expected";
}

static void reply_fault(
    struct http_exchange *x, const char *code, const char *where, const char *why)
{
    char text[200];

    snprintf(text, sizeof(text), "%s: %s", where, why);
    http_reply_error(x, 400, code, text);
}

static bool duplicate_names(const struct publish_request *request)
{
    for (uint32_t i = 1; i < request->count; i++) {
        const struct publish_item *a = &request->items[i];
        for (uint32_t j = 0; j < i; j++) {
            const struct publish_item *b = &request->items[j];
            if (a->len == b->len && memcmp(request->names.data + a->start,
                                        request->names.data + b->start, a->len) == 0) {
                return true;
            }
        }
    }
    return false;
}

bool publish_key_ok(size_t len)
{
    return len > 0 && len <= KEY_MAX;
}

/* Fills the request from the members; false: answered with what is wrong. */
static bool read_body(struct http_exchange *x, struct publish_request *request,
    const struct span *members, struct bytes *key)
{
    bool one = members[0].len, many = members[1].len;
    int index = -1;
    const char *why = one    ? add_json_channel(request, members[0])
                      : many ? add_json_channels(request, members[1], &index)
                             : NULL;

    if (one == many) {
        http_reply_error(x, 400, "bad_body", "either \"channel\" or \"channels\" is expected");
    } else if (why) {
        char where[32];
        snprintf(
            where, sizeof(where), index < 0 ? "%s" : "%s[%d]", one ? "channel" : "channels", index);
        reply_fault(x, "bad_channel", where, why);
    } else if (duplicate_names(request)) {
        http_reply_error(x, 400, "bad_channel", "channels: the same channel is named twice");
    } else if (members[2].len == 0) {
        http_reply_error(x, 400, "bad_body", "data: missing; any JSON value is expected");
    } else if (members[3].len &&
               (json_string_decode(members[3], key) != 0 || !publish_key_ok(key->len))) {
        http_reply_error(
            x, 400, "bad_body", "idempotency_key: a string of 1 to 255 bytes is expected");
    } else {
        return true;
    }
    return false;
}

/* ?ack=durable; false: answered with what is wrong. */
static bool read_ack(struct http_exchange *x, struct publish_request *request)
{
    struct bytes text = {0};
    int got = http_query(x, "ack", &text);
    bool durable = got > 0 && span_equal(span_of(text.data, text.len), span_str("durable"));

    bytes_fini(&text);
    request->flags = durable ? PUBLICATION_ACK_STORED : 0;
    if (got != 0 && !durable) {
        http_reply_error(x, 400, "bad_query", "ack: durable is expected, or nothing");
        return false;
    }
    return true;
}

void publish_handler(struct http_exchange *x)
{
    static const struct span keys[] = {
        {(const uint8_t *)"channel", 7},
        {(const uint8_t *)"channels", 8},
        {(const uint8_t *)"data", 4},
        {(const uint8_t *)"idempotency_key", 15},
    };
    struct span members[4] = {{0}};
    struct span body = x->request->body;
    struct bytes key = {0};

    if (json_find_members(body.data, body.len, keys, 4, members) != 0) {
        http_reply_error(x, 400, "bad_json", "the body must be one JSON object, each member once");
        return;
    }
    struct publish_request *request = publish_request_new(x->peer);
    if (!request) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
        return;
    }
    if (read_ack(x, request) && read_body(x, request, members, &key)) {
        publish_send(x->app, request, members[2], span_of(key.data, key.len));
    } else {
        publish_request_free(request);
    }
    bytes_fini(&key);
}

void publish_raw_handler(struct http_exchange *x)
{
    struct bytes name = {0};
    struct span key = http_request_header(x->request, "Idempotency-Key");
    struct publish_request *request = publish_request_new(x->peer);
    int err = url_decode_path(&name, x->params[0]);
    const char *why = err == -EBADMSG ? "a '%' must be followed by two hex digits" : NULL;

    why = why || err || !request ? why : add_channel(request, span_of(name.data, name.len));
    if (why) {
        reply_fault(x, "bad_channel", "channel", why);
    } else if (err || !request) {
        http_reply_error(x, 503, "no_memory", "no memory for the request");
    } else if (key.len > KEY_MAX) {
        http_reply_error(x, 400, "bad_header", "Idempotency-Key: at most 255 bytes");
    } else if (read_ack(x, request)) {
        publish_send(x->app, request, x->request->body, key);
        request = NULL;
    }
    if (request) {
        publish_request_free(request);
    }
    bytes_fini(&name);
}

void publish_command(struct conn_server *server, struct client *client, struct span id,
    const struct publish_asked *asked)
{
    struct publish_request *request = publish_request_new(conn_client_id(server, client));

    if (!request) {
        shard_doom(server->shard, &client->sub);
        return;
    }
    request->command = true;
    request->flags = asked->durable ? PUBLICATION_ACK_STORED : 0;
    if (add_channel(request, asked->channel) || bytes_append(&request->id, id.data, id.len) != 0) {
        publish_request_free(request);
        shard_doom(server->shard, &client->sub);
        return;
    }
    publish_send(server, request, asked->payload, asked->key);
}

void publish_inside(struct conn_server *server, const struct publish_asked *asked,
    void (*done)(void *ctx, const struct publish_result *result), void *ctx)
{
    struct publish_request *request = publish_request_new(0);
    struct publish_result result = {.err = request ? -EINVAL : -ENOMEM};

    if (!request || (asked->also.len && add_channel(request, asked->also)) ||
        add_channel(request, asked->channel)) {
        if (request) {
            publish_request_free(request);
        }
        done(ctx, &result);
        return;
    }
    request->done = done;
    request->done_ctx = ctx;
    request->flags = asked->durable ? PUBLICATION_ACK_STORED : 0;
    publish_send(server, request, asked->payload, asked->key);
}
