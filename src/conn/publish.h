/* Publishing by clients: POST /api/v1/publish, POST /api/v1/channels/{c}, and the publish command.
 *
 * A request names one or many channels; it is answered once all of them are, each with its cursor
 * or its error. A large payload for many channels goes out in portions, as the answers come.
 */
#ifndef CONN_PUBLISH_H
#define CONN_PUBLISH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "core/publication.h"
#include "http/session.h"

struct client;
struct conn_server;

/* Route handlers. */
void publish_handler(struct http_exchange *x);
void publish_raw_handler(struct http_exchange *x);

/* What a publish command asks for. */
struct publish_asked {
    struct span channel, payload;
    struct span also; /* publish_inside(): another channel, in front of that one; empty: none. */
    struct span key;  /* Idempotency key; empty: none. */
    bool durable;     /* Answered once the store has it. */
};

/* The publish command. id: the client's, raw JSON. Answers through commands_published(). */
void publish_command(struct conn_server *server, struct client *client, struct span id,
    const struct publish_asked *asked);

/* Publishes for this process itself. done() is called once on this thread, now or later, with what
 * became of it, of the first channel that did not take it; -EINVAL: the channel is no channel; -ENOTSUP: durable, and
 * its history is not on this disk. Spans are borrowed until this returns. */
void publish_inside(struct conn_server *server, const struct publish_asked *asked,
    void (*done)(void *ctx, const struct publish_result *result), void *ctx);

/* May an idempotency key have this many bytes? */
bool publish_key_ok(size_t len);

/* The outcome of one publication. */
void conn_published(struct conn_server *server, const struct publish_result *result);

/* Once a turn: goes on with requests that are too large to be under way at once. */
void publish_turn(struct conn_server *server);

/* The code and the sentence of a failed publication. */
const char *publish_error_code(int err);
const char *publish_error_text(int err);

void publish_init(struct conn_server *server);

/* Ends all requests; nobody is answered but this process itself: -ESHUTDOWN. */
void publish_fini(struct conn_server *server);

#endif
