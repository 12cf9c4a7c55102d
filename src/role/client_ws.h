/* WebSocket client: connects, stays connected, hands over whole messages.
 *
 * A lost connection is made again after a backoff with full jitter, or after the time a server
 * named in its close reason (retry_ms=N). A refused handshake is repeated only where trying again
 * can help (408, 429, 5xx); otherwise `refused` tells and the client rests. Runs on the hub's loop.
 */
#ifndef ROLE_CLIENT_WS_H
#define ROLE_CLIENT_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "proto/ws.h"
#include "proto/ws_handshake.h"
#include "role/client_backoff.h"
#include "role/client_conn.h"
#include "role/client_url.h"
#include "rt/timer.h"

enum { CLIENT_WS_MESSAGE_MAX = 16 * 1024 * 1024, CLIENT_WS_SILENCE_MS_MAX = 75000 };

struct client_ws_events {
    /* Appends the request target: it may differ from one connection to the next (since=…). */
    void (*target)(void *ctx, struct bytes *target);
    void (*opened)(void *ctx, const struct http_response *resp);
    void (*message)(void *ctx, bool text, struct span payload);
    /* The connection is gone; it is tried again after retry_ms. */
    void (*down)(void *ctx, const char *why, uint64_t retry_ms);
    /* It is gone and stays so: refused for good, or closed as asked. */
    void (*ended)(void *ctx, const char *why);
};

struct client_ws {
    struct client_conn conn;
    const struct client_ws_events *events;
    void *ctx;
    const struct client_url *url;
    const char *protocols; /* NULL: none. */
    const struct http_header *headers;
    size_t header_count;
    struct http_response_reader *reader;
    struct ws_inflater *inflater;
    struct ws_message message;
    struct bytes body; /* Of a refusal. */
    struct client_backoff backoff;
    struct rng mask_rng;
    struct timer retry;
    struct timer alive;
    uint64_t heard_ms;
    uint8_t nonce[WS_NONCE_BYTES];
    bool open;    /* The handshake is done. */
    bool closing; /* We asked for the end. */
    bool deflate;
    bool no_retry; /* Report the first loss as `ended`. */
};

/* Shares hub, url, events and ctx; set protocols, headers and no_retry before the start. Returns 0
 * or -ENOMEM. */
MUST_USE int client_ws_init(struct client_ws *ws, struct client_hub *hub,
    const struct client_url *url, const struct client_ws_events *events, void *ctx);
void client_ws_fini(struct client_ws *ws);

/* Begins to connect; `opened`, `down` or `ended` follows, never from inside this call. */
void client_ws_start(struct client_ws *ws);

/* Sends a text or binary message; only while open. */
void client_ws_send(struct client_ws *ws, bool text, struct span payload);

/* Asks for the end (1000); `ended` follows when the server agrees. */
void client_ws_close(struct client_ws *ws);

/* N of "retry_ms=N" in a close reason; 0 when it is not there or above an hour. */
uint64_t client_ws_retry_hint(struct span reason);

#endif
