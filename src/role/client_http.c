#include "role/client_http.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "proto/http1_response.h"
#include "proto/http1_write.h"

enum { HEAD_BYTES_MAX = 16 * 1024, HEADERS_MAX = 64 };

static void http_opened(void *ctx)
{
    struct client_http *http = ctx;

    http->fresh = true;
    if (http->busy) {
        client_conn_send(&http->conn, http->request.data, http->request.len);
    }
}

static void http_failed(struct client_http *http, const char *why)
{
    if (http->busy) {
        http->busy = false;
        http->events->failed(http->ctx, why);
    }
}

static int reopen(struct client_http *http)
{
    http_response_reset(http->reader, false);
    http->body.len = 0;
    return client_conn_open(&http->conn, http->url->address, http->url->tls, http->url->host);
}

static void http_closed(void *ctx, const char *why)
{
    struct client_http *http = ctx;

    if (!http->busy) {
        return;
    }
    if (http_response_finish(http->reader) == HTTP_RESPONSE_DONE) {
        http->busy = false;
        http->events->response(http->ctx, http_response_of(http->reader)->status,
            span_of(http->body.data, http->body.len));
        return;
    }
    /* A kept connection may end just as the next request is on its way: that one may be repeated,
     * since the server has not begun to answer it. */
    if (!http->fresh && http->body.len == 0) {
        http->fresh = true;
        if (reopen(http) == 0) {
            return;
        }
    }
    http_failed(http, why);
}

static void complete(struct client_http *http)
{
    const struct http_response *resp = http_response_of(http->reader);
    int status = resp->status;
    bool keep = resp->keep_alive;

    http_response_reset(http->reader, false);
    if (status < 200) {
        return; /* Interim: the real one follows. */
    }
    http->fresh = false;
    http->busy = false;
    if (!keep) {
        client_conn_close(&http->conn);
    }
    http->events->response(http->ctx, status, span_of(http->body.data, http->body.len));
}

static size_t http_bytes(void *ctx, const uint8_t *data, size_t len)
{
    struct client_http *http = ctx;
    size_t at = 0;

    while (http->busy) {
        size_t used = 0;
        int result = http_response_feed(http->reader, data + at, len - at, &used);
        if (result < 0) {
            const char *reason = http_response_reason(http->reader);
            client_conn_close(&http->conn);
            http_failed(http, reason ? reason : "the answer is no HTTP");
            return len;
        }
        at += used;
        if (result == HTTP_RESPONSE_BODY) {
            struct span piece = http_response_of(http->reader)->body;
            size_t room = CLIENT_HTTP_BODY_MAX - http->body.len;
            CHECK(bytes_append(&http->body, piece.data, piece.len < room ? piece.len : room) == 0);
        } else if (result == HTTP_RESPONSE_DONE) {
            complete(http);
            http->body.len = http->busy ? http->body.len : 0;
        } else if (result == HTTP_RESPONSE_MORE) {
            break;
        }
    }
    return at;
}

static const struct client_conn_events conn_events = {http_opened, http_bytes, http_closed};

int client_http_init(struct client_http *http, struct client_hub *hub, const struct client_url *url,
    const struct client_http_events *events, void *ctx)
{
    *http = (struct client_http){.url = url, .events = events, .ctx = ctx};
    client_conn_init(&http->conn, hub, &conn_events, http);
    return http_response_create(HEAD_BYTES_MAX, HEADERS_MAX, &http->reader);
}

void client_http_fini(struct client_http *http)
{
    client_conn_fini(&http->conn);
    http_response_destroy(http->reader);
    bytes_fini(&http->request);
    bytes_fini(&http->body);
    http->reader = NULL;
}

int client_http_post(struct client_http *http, const char *target, const char *head_lines,
    const void *body, size_t body_len)
{
    struct bytes *out = &http->request;

    CHECK(!http->busy);
    out->len = 0;
    http->body.len = 0;
    int err = bytes_appendf(out, "POST %s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n",
        target, http->url->host_header, head_lines, body_len);
    err = err ? err : bytes_append(out, body, body_len);
    if (err) {
        return err;
    }
    if (http->conn.state == CLIENT_UP) {
        http->busy = true;
        client_conn_send(&http->conn, out->data, out->len);
        return 0;
    }
    if (http->conn.state == CLIENT_IDLE) {
        err = reopen(http);
    }
    http->busy = err == 0;
    return err;
}

/* The raw value of error.message, or nothing. */
static struct span find_message(struct span body)
{
    static const char pointer[] = "/error/message";
    struct span raw = {0};

    if (json_pointer(body.data, body.len, span_str(pointer), &raw)) {
        raw = (struct span){0};
    }
    return raw;
}

void client_error_sentence(int status, struct span body, char *out, size_t cap)
{
    struct bytes text = {0};
    struct span raw = find_message(body);

    if (!raw.data || json_string_decode(raw, &text)) {
        text.len = 0;
        size_t line = body.len < 160 ? body.len : 160;
        CHECK(bytes_append(&text, body.data, line) == 0);
    }
    while (text.len && (text.data[text.len - 1] == '\n' || text.data[text.len - 1] == '\r')) {
        text.len--;
    }
    for (size_t i = 0; i < text.len; i++) {
        text.data[i] = text.data[i] < 0x20 || text.data[i] == 0x7f ? ' ' : text.data[i];
    }
    if (text.len && text.data[0] != '<') {
        snprintf(out, cap, "%.*s (%d)", (int)text.len, (const char *)text.data, status);
    } else {
        snprintf(out, cap, "%d %s", status, http_status_text(status));
    }
    bytes_fini(&text);
}
