/* WebSocket connections: from the upgrade to the close frame (RFC 6455; contracts.md 1 and 2). */
#ifndef CONN_WS_H
#define CONN_WS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "conn/client.h"
#include "core/mail.h"
#include "http/session.h"
#include "proto/ws.h"
#include "proto/ws_handshake.h"

struct conn_server;

/* What a plain listener never needs. */
struct ws_extra {
    struct ws_message message; /* One in fragments, or compressed. */
    struct bytes client_id;    /* A room client's name for itself. */
    struct ws_upgrade upgrade; /* Until the 101 is out. */
    bool upgrading;
};

/* Is the 101 still to come? */
static inline bool ws_upgrading(const struct client *client)
{
    return client->protocol == CLIENT_HTTP && client->extra && client->extra->upgrading;
}

/* Route handler of GET /ws. */
void ws_upgrade_handler(struct http_exchange *x);

/* Bytes from the peer. The client may be gone afterwards (false). */
bool ws_input(struct conn_server *server, struct client *client, uint8_t *data, size_t len);

/* Bytes that came before the 101 was out, or out of their turn: kept unparsed, at most
 * CONN_INPUT_BYTES of them, and read later. False: the client is doomed; not to be read on. */
bool ws_keep_early(struct conn_server *server, struct client *client, struct span early);
bool ws_early_input(struct conn_server *server, struct client *client);

/* The gateway shuts down: says 503 instead of the 101 that is still to come, and finishes. */
void ws_refuse_draining(struct conn_server *server, struct client *client);

/* Home answered one of this client's subscriptions. */
void ws_subscribed(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer);

/* The history of a channel it follows began anew: a state notice, where the framing has those. */
void ws_restarted(
    struct conn_server *server, struct client *client, struct span channel, struct cursor cursor);

/* Sends a close frame behind what waits and begins the closing handshake. */
void ws_close(struct conn_server *server, struct client *client, uint16_t code, const char *reason);

/* One text frame, behind what waits. */
bool ws_send_text(struct conn_server *server, struct client *client, struct span text);
void ws_ping(struct conn_server *server, struct client *client);

/* Frees client->extra. */
void ws_extra_free(struct client *client);

/* Appends a state notice; that of an answer. */
MUST_USE int ws_append_state(
    struct bytes *out, struct span channel, uint8_t state, struct cursor cursor);
MUST_USE int ws_append_answer(struct bytes *out, const struct mail_subscribe *answer);
const char *ws_state_name(uint8_t state);

/* The framing for a WebSocket client. */
uint8_t ws_framing(const struct client *client);

#endif
