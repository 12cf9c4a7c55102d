#include "role/client_ws.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "proto/ws.h"
#include "role/client_http.h"
#include "rt/clock.h"
#include "rt/loop.h"

enum {
    HEAD_BYTES_MAX = 16 * 1024,
    HEADERS_MAX = 64,
    BACKOFF_BASE_MS = 250,
    BACKOFF_CAP_MS = 15000,
    RETRY_HINT_MS_MAX = 3600 * 1000,
    ALIVE_CHECK_MS = 5000,
};

static void start_again(struct timer *timer, void *ctx);

uint64_t client_ws_retry_hint(struct span reason)
{
    static const char key[] = "retry_ms=";
    const uint8_t *at = memmem(reason.data, reason.len, key, sizeof key - 1);
    uint64_t value = 0;

    if (!at) {
        return 0;
    }
    for (at += sizeof key - 1; at < reason.data + reason.len && *at >= '0' && *at <= '9'; at++) {
        value = value * 10 + (uint64_t)(*at - '0');
        if (value > RETRY_HINT_MS_MAX) {
            return 0;
        }
    }
    return value;
}

/* One end for every way a connection can go. hint_ms: the server's wish; fatal: do not try again.
 */
static void lose(struct client_ws *ws, const char *why, uint64_t hint_ms, bool fatal)
{
    char text[CLIENT_WHY_MAX];

    /* why may live in a buffer that closing frees. */
    snprintf(text, sizeof text, "%s", why);
    client_conn_close(&ws->conn);
    timer_stop(&ws->alive);
    ws->open = false;
    ws_message_fini(&ws->message);
    if (fatal || ws->closing || ws->no_retry) {
        ws->events->ended(ws->ctx, text);
        return;
    }
    uint64_t delay_ms = client_backoff_next(&ws->backoff, hint_ms);
    timer_start(ws->conn.hub->loop, &ws->retry, delay_ms, start_again, ws);
    ws->events->down(ws->ctx, text, delay_ms);
}

static void send_frame(struct client_ws *ws, uint8_t opcode, struct span payload)
{
    struct bytes frame = {0};
    uint64_t random = rng_next(&ws->mask_rng);
    uint8_t mask[4];

    memcpy(mask, &random, sizeof mask);
    CHECK(ws_append_frame(&frame, opcode | WS_FIN, payload, mask) == 0);
    client_conn_send(&ws->conn, frame.data, frame.len);
    bytes_fini(&frame);
}

/* A server that says nothing for 75 seconds, not even a ping, is taken for dead. */
static void check_alive(struct timer *timer, void *ctx)
{
    struct client_ws *ws = ctx;
    uint64_t now_ms = loop_now_ms(ws->conn.hub->loop);

    if (now_ms - ws->heard_ms > CLIENT_WS_SILENCE_MS_MAX) {
        lose(ws, "no sign of life from the server for 75 s", 0, false);
        return;
    }
    timer_start(ws->conn.hub->loop, &ws->alive, ALIVE_CHECK_MS, check_alive, ws);
}

static void ws_conn_opened(void *ctx)
{
    struct client_ws *ws = ctx;
    struct bytes target = {0}, request = {0};

    ws->events->target(ws->ctx, &target);
    http_response_reset(ws->reader, false);
    ws->body.len = 0;
    int err = getrandom(ws->nonce, sizeof ws->nonce, 0) == sizeof ws->nonce ? 0 : -EIO;
    err = err ? err
              : ws_connect_request(&request, span_of(target.data, target.len), ws->url->host_header,
                    ws->nonce, ws->protocols, ws->inflater != NULL, ws->headers, ws->header_count);
    if (err) {
        lose(ws, "the URL or a header holds what HTTP does not allow", 0, true);
    } else {
        client_conn_send(&ws->conn, request.data, request.len);
    }
    bytes_fini(&target);
    bytes_fini(&request);
}

/* The server said no; it may be worth asking again. */
static void refused(struct client_ws *ws, int status)
{
    char why[CLIENT_WHY_MAX];
    bool again = status == 408 || status == 429 || status >= 500;

    client_error_sentence(status, span_of(ws->body.data, ws->body.len), why, sizeof why);
    lose(ws, why, 0, !again);
}

/* Returns how many bytes were used, or -1 when the connection is gone. */
static long read_handshake(struct client_ws *ws, const uint8_t *data, size_t len)
{
    size_t at = 0;

    for (;;) {
        size_t used = 0;
        int result = http_response_feed(ws->reader, data + at, len - at, &used);
        if (result < 0) {
            lose(ws, "the answer to the handshake is no HTTP", 0, false);
            return -1;
        }
        at += used;
        const struct http_response *resp = http_response_of(ws->reader);
        const char *reason = NULL;
        char why[CLIENT_WHY_MAX];
        switch (result) {
        case HTTP_RESPONSE_MORE:
            return (long)at;
        case HTTP_RESPONSE_BODY:
            if (ws->body.len + resp->body.len <= CLIENT_HTTP_BODY_MAX) {
                CHECK(bytes_append(&ws->body, resp->body.data, resp->body.len) == 0);
            }
            break;
        case HTTP_RESPONSE_DONE:
            if (!resp->upgrade) {
                refused(ws, resp->status);
                return -1;
            }
            break;
        case HTTP_RESPONSE_HEAD:
            if (resp->status / 100 == 2) {
                /* Some other resource, and its body may never end: an event stream's does not. */
                snprintf(why, sizeof why, "the server answered %d: this is no WebSocket's address",
                    resp->status);
                lose(ws, why, 0, true);
                return -1;
            }
            if (!resp->upgrade && resp->status != 101) {
                break; /* The body tells why. */
            }
            if (ws_connect_check(resp, ws->nonce, ws->inflater != NULL, &ws->deflate, &reason)) {
                lose(ws, reason, 0, false);
                return -1;
            }
            ws->open = true;
            ws->heard_ms = loop_now_ms(ws->conn.hub->loop);
            timer_start(ws->conn.hub->loop, &ws->alive, ALIVE_CHECK_MS, check_alive, ws);
            ws->events->opened(ws->ctx, resp);
            return ws->conn.state == CLIENT_UP ? (long)at : -1;
        default:
            break;
        }
    }
}

static void server_closes(struct client_ws *ws, struct span payload)
{
    uint16_t code = WS_CODE_NONE;
    struct span reason = {0};
    char why[CLIENT_WHY_MAX];

    if (ws_close_parse(payload, &code, &reason)) {
        reason.len = 0;
    }
    if (!ws->closing) {
        send_frame(ws, WS_CLOSE, span_of(payload.data, payload.len < 2 ? 0 : 2));
    }
    snprintf(why, sizeof why, "closed by the server, code %u%s%.*s", code, reason.len ? ": " : "",
        (int)reason.len, reason.len ? (const char *)reason.data : "");
    lose(ws, why, client_ws_retry_hint(reason), false);
}

/* Returns false when the connection is gone. */
static bool take_frame(struct client_ws *ws, const struct ws_frame *frame)
{
    uint8_t opcode = 0;
    struct span payload = {0};

    switch (frame->opcode) {
    case WS_PING:
        send_frame(ws, WS_PONG, frame->payload);
        return true;
    case WS_PONG:
        return true;
    case WS_CLOSE:
        server_closes(ws, frame->payload);
        return false;
    default:
        break;
    }
    int result = ws_message_push(
        &ws->message, frame, ws->inflater, CLIENT_WS_MESSAGE_MAX, &opcode, &payload);
    if (result < 0) {
        uint8_t close[2] = {(uint8_t)(-result >> 8), (uint8_t)-result};
        send_frame(ws, WS_CLOSE, span_of(close, sizeof close));
        lose(ws, "the server broke the WebSocket protocol", 0, false);
        return false;
    }
    if (result == 1) {
        /* Messages that flow are the proof that the connection is good. */
        client_backoff_reset(&ws->backoff);
        ws->events->message(ws->ctx, opcode == WS_TEXT, payload);
    }
    return ws->conn.state == CLIENT_UP && ws->open;
}

static size_t ws_conn_bytes(void *ctx, const uint8_t *data, size_t len)
{
    struct client_ws *ws = ctx;
    size_t at = 0;

    ws->heard_ms = loop_now_ms(ws->conn.hub->loop);
    if (!ws->open) {
        long used = read_handshake(ws, data, len);
        if (used < 0 || !ws->open) {
            return used < 0 ? len : (size_t)used;
        }
        at = (size_t)used;
    }
    const struct ws_rules rules = {.rsv1 = ws->deflate, .payload_max = CLIENT_WS_MESSAGE_MAX};
    while (at < len) {
        struct ws_frame frame;
        size_t used = 0, need = 0;
        /* Nothing is unmasked in place: servers do not mask. */
        int result = ws_frame_parse(
            (uint8_t *)(uintptr_t)(data + at), len - at, &rules, &frame, &used, &need);
        if (result == 0) {
            break;
        }
        if (result < 0) {
            uint8_t close[2] = {(uint8_t)(-result >> 8), (uint8_t)-result};
            send_frame(ws, WS_CLOSE, span_of(close, sizeof close));
            lose(ws, "the server broke the WebSocket protocol", 0, false);
            return len;
        }
        at += used;
        if (!take_frame(ws, &frame)) {
            return len;
        }
    }
    return at;
}

static void ws_conn_closed(void *ctx, const char *why)
{
    struct client_ws *ws = ctx;
    bool refused_body = !ws->open && http_response_of(ws->reader)->status >= 300;

    /* A refusal may end with the connection instead of a length. */
    if (refused_body && http_response_finish(ws->reader) == HTTP_RESPONSE_DONE) {
        refused(ws, http_response_of(ws->reader)->status);
        return;
    }
    lose(ws, why, 0, false);
}

static const struct client_conn_events conn_events = {
    ws_conn_opened, ws_conn_bytes, ws_conn_closed};

static void connect_now(struct client_ws *ws)
{
    int err = client_conn_open(&ws->conn, ws->url->address, ws->url->tls, ws->url->host);

    if (err) {
        char why[CLIENT_WHY_MAX];
        snprintf(why, sizeof why, "connecting: %s", strerror(-err));
        lose(ws, why, 0, false);
    }
}

static void start_again(struct timer *timer, void *ctx)
{
    connect_now(ctx);
}

int client_ws_init(struct client_ws *ws, struct client_hub *hub, const struct client_url *url,
    const struct client_ws_events *events, void *ctx)
{
    uint64_t seed;

    *ws = (struct client_ws){.url = url, .events = events, .ctx = ctx};
    client_conn_init(&ws->conn, hub, &conn_events, ws);
    if (getrandom(&seed, sizeof seed, 0) != sizeof seed) {
        seed = clock_wall_ns();
    }
    client_backoff_init(&ws->backoff, BACKOFF_BASE_MS, BACKOFF_CAP_MS, seed);
    rng_init(&ws->mask_rng, ~seed);
    int err = http_response_create(HEAD_BYTES_MAX, HEADERS_MAX, &ws->reader);
    return err ? err : ws_inflater_create(&ws->inflater);
}

void client_ws_fini(struct client_ws *ws)
{
    timer_stop(&ws->retry);
    timer_stop(&ws->alive);
    client_conn_fini(&ws->conn);
    ws_message_fini(&ws->message);
    http_response_destroy(ws->reader);
    ws_inflater_destroy(ws->inflater);
    bytes_fini(&ws->body);
    ws->reader = NULL;
    ws->inflater = NULL;
}

void client_ws_start(struct client_ws *ws)
{
    ws->closing = false;
    timer_start(ws->conn.hub->loop, &ws->retry, 0, start_again, ws);
}

void client_ws_send(struct client_ws *ws, bool text, struct span payload)
{
    CHECK(ws->open);
    send_frame(ws, text ? WS_TEXT : WS_BINARY, payload);
}

void client_ws_close(struct client_ws *ws)
{
    uint8_t payload[2] = {WS_CODE_NORMAL >> 8, WS_CODE_NORMAL & 0xff};

    ws->closing = true;
    timer_stop(&ws->retry);
    if (ws->open) {
        send_frame(ws, WS_CLOSE, span_of(payload, sizeof payload));
    } else {
        lose(ws, "not connected", 0, true);
    }
}
