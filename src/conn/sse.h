/* Server-sent events: GET /sse, a stream that EventSource reads (wire.md "SSE").
 *
 * The answer ends with the connection: no lengths, no chunks, so frames are the same for every client,
 * HTTP/1.0 ones and those behind proxies included. Each event of one channel carries its cursor as its
 * id. With several channels (or events packed by batch_ms) the connection has positions, and after
 * each flush comes one block that is only an id: the list of its cursors. What a client sends back as
 * Last-Event-ID, it continues from.
 */
#ifndef CONN_SSE_H
#define CONN_SSE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "conn/client.h"
#include "core/mail.h"
#include "http/session.h"

struct conn_server;

/* Route handler of GET /sse. */
void sse_handler(struct http_exchange *x);

/* Home answered one of this client's subscriptions: a state notice. */
void sse_subscribed(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer);

/* The history of a channel it follows began anew. */
void sse_restarted(
    struct conn_server *server, struct client *client, struct span channel, struct cursor cursor);

/* What waits is sent now, or (done) is all sent: the cursor list goes behind it. */
void sse_flush(struct conn_server *server, struct client *client, bool done);

/* A comment, so that proxies see life; of a filtered stream also how far it has come. */
void sse_heartbeat(struct conn_server *server, struct client *client);

/* The policy `disconnect` ends it: what waited is lost. */
void sse_overrun(struct conn_server *server, struct client *client);

/* Ends the stream behind what waits: a comment with the reason and, when retry_ms is not 0, the time
 * to wait before coming back. */
void sse_end(
    struct conn_server *server, struct client *client, const char *reason, uint32_t retry_ms);

#endif
