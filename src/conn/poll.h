/* Long polls: GET /poll, answered with what has happened since a cursor, or after a while with nothing
 * (wire.md "Poll").
 *
 * While it waits a poll is a subscriber like any other, only that what is written to it goes into its
 * answer. Pages of the replay come first; the first events that are there answer it, and it leaves its
 * channels. What arrives between two polls is in history, where the cursor continues. If more comes
 * at once than the namespace's outbox holds, the answer stops before it and the next one replays it, so
 * a poll loses nothing that history keeps. What a filter leaves out is behind the answer's cursor as
 * well, so that the next poll does not look through it again.
 */
#ifndef CONN_POLL_H
#define CONN_POLL_H

#include <stdbool.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "conn/client.h"
#include "core/mail.h"
#include "http/session.h"

struct conn_server;
struct positions;

/* Route handler of GET /poll. */
void poll_handler(struct http_exchange *x);

/* Home answered one of its subscriptions. */
void poll_subscribed(
    struct conn_server *server, struct client *client, const struct mail_subscribe *answer);

/* The history of a channel began anew. */
void poll_restarted(
    struct conn_server *server, struct client *client, struct span channel, struct cursor cursor);

/* In place of the socket. Returns the bytes taken (all of them), or -ENOMEM. */
long poll_capture(struct client *client, const struct iovec *iov, int count);

/* All that waited is in the answer. */
void poll_flushed(struct conn_server *server, struct client *client);

/* More came at once than may wait: the answer stops before that. */
void poll_overrun(struct conn_server *server, struct client *client);

/* The peer will say no more, and may be gone: answers it as soon as home has. */
void poll_wait_no_more(struct conn_server *server, struct client *client);

/* Answers it soon with what there is. */
void poll_hurry(struct conn_server *server, struct client *client);
void poll_hurry_all(struct conn_server *server);

/* Answers those that can be. Once a turn. */
void poll_turn(struct conn_server *server);

struct positions *poll_positions(const struct client *client);

/* Its connection closes. */
void poll_free(struct conn_server *server, struct client *client);

#endif
