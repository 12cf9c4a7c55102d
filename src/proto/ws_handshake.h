/* The WebSocket opening handshake (RFC 6455, section 4), both sides.
 *
 * The server side judges a request and writes the 101; whether this peer may connect at all
 * (origin, token, limits) is decided above. A browser cannot set headers, so a token may travel as
 * an offered subprotocol "fanout.token.<jwt>"; it is handed over and never echoed.
 */
#ifndef PROTO_WS_HANDSHAKE_H
#define PROTO_WS_HANDSHAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "proto/http1.h"
#include "proto/http1_response.h"
#include "proto/ws_deflate.h"

enum { WS_NONCE_BYTES = 16, WS_ACCEPT_CHARS = 28 };

/* What a server will agree to. */
struct ws_server_options {
    const char *const *protocols; /* Subprotocols served, the preferred one first. */
    size_t protocol_count;
    uint8_t deflate_window_bits; /* 9..15 as the deflater's; 0: no compression. */
};

struct ws_upgrade {
    char accept[WS_ACCEPT_CHARS]; /* Sec-WebSocket-Accept; not terminated. */
    const char *protocol; /* One of the options', or NULL: none was offered that we serve. */
    struct span token;    /* The <jwt> of "fanout.token.<jwt>"; {NULL, 0} when not sent. */
    struct ws_deflate_terms deflate;
};

/* Judges a request. Returns 0 with *ret_upgrade, or the status to answer with and a sentence: 400,
 * 405 (not GET; Allow: GET), 426 (no upgrade asked for, or another version: answer with
 * Upgrade: websocket and Sec-WebSocket-Version: 13). Spans are the request's. */
MUST_USE int ws_upgrade_read(const struct http_request *req,
    const struct ws_server_options *options, struct ws_upgrade *ret_upgrade,
    const char **ret_reason);

/* Appends the whole 101, with more fields of the caller's. Returns 0, -EINVAL (see
 * http_reply_head()) or -ENOMEM; out keeps its content on failure. */
MUST_USE int ws_upgrade_reply(struct bytes *out, const struct ws_upgrade *upgrade,
    const struct http_header *headers, size_t header_count);

/* Client: appends a whole GET that asks for an upgrade. The nonce is random; protocols is a
 * comma-separated list or NULL. Returns as http_request_head() does. */
MUST_USE int ws_connect_request(struct bytes *out, struct span target, const char *host,
    const uint8_t nonce[WS_NONCE_BYTES], const char *protocols, bool deflate,
    const struct http_header *headers, size_t header_count);

/* Client: judges the answer to such a request (4.1). *ret_deflate: compression is on. Returns 0, or
 * -EBADMSG with a sentence in *ret_reason. */
MUST_USE int ws_connect_check(const struct http_response *resp, const uint8_t nonce[WS_NONCE_BYTES],
    bool deflate_offered, bool *ret_deflate, const char **ret_reason);

#endif
