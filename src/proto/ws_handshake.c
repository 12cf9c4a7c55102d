#include "proto/ws_handshake.h"

#include <errno.h>
#include <string.h>

#include "base/base64.h"
#include "base/check.h"
#include "base/sha1.h"
#include "proto/http1_write.h"

#define ACCEPT_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define TOKEN_PREFIX "fanout.token."

enum { KEY_CHARS = 24, HEADERS_MAX = 32 };

/* base64(SHA-1(key, GUID)), in the caller's memory (4.2.2, item 5.4). */
static void accept_of(struct span key, char out[WS_ACCEPT_CHARS])
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t text[KEY_CHARS + sizeof ACCEPT_GUID - 1];
    uint8_t hash[SHA1_BYTES + 1] = {0}; /* One zero more, so that seven groups of three fit. */

    CHECK(key.len == KEY_CHARS);
    memcpy(text, key.data, KEY_CHARS);
    memcpy(text + KEY_CHARS, ACCEPT_GUID, sizeof ACCEPT_GUID - 1);
    sha1(text, sizeof text, hash);
    for (int i = 0; i < 7; i++) {
        const uint8_t *group = hash + 3 * i;
        uint32_t bits = (uint32_t)group[0] << 16 | (uint32_t)group[1] << 8 | group[2];
        for (int j = 0; j < 4; j++) {
            out[4 * i + j] = alphabet[bits >> (18 - 6 * j) & 63];
        }
    }
    out[WS_ACCEPT_CHARS - 1] = '=';
}

/* Sixteen bytes in base64: 22 characters, the last of which has four unused bits, and "==". */
static bool key_ok(struct span key)
{
    if (key.len != KEY_CHARS || key.data[22] != '=' || key.data[23] != '=') {
        return false;
    }
    for (size_t i = 0; i < 22; i++) {
        uint8_t c = key.data[i];
        uint8_t low = c | 0x20;
        if (!(low >= 'a' && low <= 'z') && !(c >= '0' && c <= '9') && c != '+' && c != '/') {
            return false;
        }
    }
    uint8_t last = key.data[21];
    return last == 'A' || last == 'Q' || last == 'g' || last == 'w';
}

static int refuse(int status, const char *reason, const char **ret_reason)
{
    *ret_reason = reason;
    return status;
}

static bool is_header(const struct http_header *header, const char *name)
{
    return span_equal_nocase(header->name, span_str(name));
}

/* Notes what one offered subprotocol means. Names are case-sensitive (4.1, item 10). */
static void read_protocol(struct span offered, const struct ws_server_options *options,
    struct ws_upgrade *upgrade, size_t *best)
{
    const size_t prefix_len = sizeof TOKEN_PREFIX - 1;

    if (offered.len > prefix_len && memcmp(offered.data, TOKEN_PREFIX, prefix_len) == 0) {
        upgrade->token = span_of(offered.data + prefix_len, offered.len - prefix_len);
        return;
    }
    for (size_t i = 0; i < options->protocol_count && i < *best; i++) {
        if (span_equal(offered, span_str(options->protocols[i]))) {
            *best = i;
            upgrade->protocol = options->protocols[i];
        }
    }
}

int ws_upgrade_read(const struct http_request *req, const struct ws_server_options *options,
    struct ws_upgrade *ret_upgrade, const char **ret_reason)
{
    if (req->method != HTTP_METHOD_GET) {
        return refuse(405, "a WebSocket begins with GET", ret_reason);
    }
    if (!req->upgrade || !http_request_has_token(req, "Upgrade", "websocket")) {
        return refuse(426, "this is a WebSocket: ask for an upgrade", ret_reason);
    }
    if (req->minor < 1) {
        return refuse(400, "a WebSocket needs HTTP/1.1", ret_reason);
    }
    if (req->chunked || req->content_length > 0) {
        return refuse(400, "a WebSocket request has no body", ret_reason);
    }
    if (http_header_occurs(req->headers, req->header_count, "Sec-WebSocket-Version") > 1 ||
        http_header_occurs(req->headers, req->header_count, "Sec-WebSocket-Key") > 1) {
        return refuse(400, "a Sec-WebSocket field is repeated", ret_reason);
    }
    if (!span_equal(http_request_header(req, "Sec-WebSocket-Version"), span_str("13"))) {
        return refuse(426, "Sec-WebSocket-Version must be 13", ret_reason);
    }
    struct span key = http_request_header(req, "Sec-WebSocket-Key");
    if (!key_ok(key)) {
        return refuse(400, "Sec-WebSocket-Key must be 16 bytes in base64", ret_reason);
    }
    *ret_upgrade = (struct ws_upgrade){0};
    accept_of(key, ret_upgrade->accept);
    size_t best = options->protocol_count;
    for (size_t i = 0; i < req->header_count; i++) {
        const struct http_header *header = &req->headers[i];
        if (is_header(header, "Sec-WebSocket-Protocol")) {
            struct span list = header->value;
            struct span offered;
            while (http_list_next(&list, &offered)) {
                read_protocol(offered, options, ret_upgrade, &best);
            }
        } else if (options->deflate_window_bits > 0 &&
                   is_header(header, "Sec-WebSocket-Extensions")) {
            ws_deflate_negotiate(
                &ret_upgrade->deflate, header->value, options->deflate_window_bits);
        }
    }
    return 0;
}

int ws_upgrade_reply(struct bytes *out, const struct ws_upgrade *upgrade,
    const struct http_header *headers, size_t header_count)
{
    struct http_header all[HEADERS_MAX];
    size_t count = 0;
    struct bytes extension = {0};
    int err = 0;

    if (header_count > HEADERS_MAX - 5) {
        return -EINVAL;
    }
    all[count++] = http_header_of("Upgrade", "websocket");
    all[count++] = http_header_of("Connection", "Upgrade");
    all[count++] = (struct http_header){.name = span_str("Sec-WebSocket-Accept"),
        .value = span_of(upgrade->accept, WS_ACCEPT_CHARS)};
    if (upgrade->protocol) {
        all[count++] = http_header_of("Sec-WebSocket-Protocol", upgrade->protocol);
    }
    if (upgrade->deflate.agreed) {
        err = ws_deflate_answer(&extension, &upgrade->deflate);
        all[count++] = (struct http_header){.name = span_str("Sec-WebSocket-Extensions"),
            .value = span_of(extension.data, extension.len)};
    }
    for (size_t i = 0; i < header_count; i++) {
        all[count++] = headers[i];
    }
    if (!err) {
        err = http_reply_head(out, 101, all, count, HTTP_NO_LENGTH);
    }
    bytes_fini(&extension);
    return err;
}

int ws_connect_request(struct bytes *out, struct span target, const char *host,
    const uint8_t nonce[WS_NONCE_BYTES], const char *protocols, bool deflate,
    const struct http_header *headers, size_t header_count)
{
    struct http_header all[HEADERS_MAX];
    size_t count = 0;
    struct bytes key = {0};

    if (header_count > HEADERS_MAX - 7) {
        return -EINVAL;
    }
    int err = base64_encode(&key, nonce, WS_NONCE_BYTES);
    all[count++] = http_header_of("Host", host);
    all[count++] = http_header_of("Upgrade", "websocket");
    all[count++] = http_header_of("Connection", "Upgrade");
    all[count++] = http_header_of("Sec-WebSocket-Version", "13");
    all[count++] = (struct http_header){
        .name = span_str("Sec-WebSocket-Key"), .value = span_of(key.data, key.len)};
    if (protocols) {
        all[count++] = http_header_of("Sec-WebSocket-Protocol", protocols);
    }
    if (deflate) {
        all[count++] = http_header_of("Sec-WebSocket-Extensions",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    }
    for (size_t i = 0; i < header_count; i++) {
        all[count++] = headers[i];
    }
    if (!err) {
        err = http_request_head(out, "GET", target, all, count, HTTP_NO_LENGTH);
    }
    bytes_fini(&key);
    return err;
}

int ws_connect_check(const struct http_response *resp, const uint8_t nonce[WS_NONCE_BYTES],
    bool deflate_offered, bool *ret_deflate, const char **ret_reason)
{
    struct bytes key = {0};
    char accept[WS_ACCEPT_CHARS];

    if (resp->status != 101 || !resp->upgrade ||
        !http_header_has_token(resp->headers, resp->header_count, "Upgrade", "websocket")) {
        return refuse(-EBADMSG, "the server did not upgrade to WebSocket", ret_reason);
    }
    if (base64_encode(&key, nonce, WS_NONCE_BYTES)) {
        return refuse(-ENOMEM, "there is no memory", ret_reason);
    }
    accept_of(span_of(key.data, key.len), accept);
    bytes_fini(&key);
    struct span got = http_response_header(resp, "Sec-WebSocket-Accept");
    if (!span_equal(got, span_of(accept, sizeof accept))) {
        return refuse(-EBADMSG, "Sec-WebSocket-Accept does not match the key", ret_reason);
    }
    struct span extensions = http_response_header(resp, "Sec-WebSocket-Extensions");
    if (extensions.len > 0 && (!deflate_offered || !ws_deflate_answer_ok(extensions))) {
        return refuse(-EBADMSG, "the server chose an extension that was not offered", ret_reason);
    }
    *ret_deflate = extensions.len > 0;
    return 0;
}
