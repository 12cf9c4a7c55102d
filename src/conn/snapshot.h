/* Snapshot: a connection as plain bytes, to go on in another process or on another shard.
 *
 * The descriptor travels beside it (role passes it on); here is all else: what the client is, bytes
 * of an unfinished frame, message or request, commands that wait, times as time left, and the core's
 * piece (core/snapshot.h says when shards are at rest). Names of connections change with the move.
 */
#ifndef CONN_SNAPSHOT_H
#define CONN_SNAPSHOT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/pack.h"

struct client;
struct conn_server;

/* Asks whatever only waits to come to an end: polls are answered in the next turns. */
void conn_snapshot_prepare(struct conn_server *server);

/* May all of this server's connections move now? Not while a request or a publication is being
 * answered: a few turns later. */
bool conn_snapshot_ready(const struct conn_server *server);

/* Appends one connection's piece. */
void conn_snapshot_export(struct conn_server *server, struct client *client, struct pack *out);

/* Gives up the connection without closing its descriptor, which it returns. */
int conn_snapshot_release(struct conn_server *server, struct client *client);

/* Takes the connection up. Takes fd; after a failure (-EBADMSG, -ENOMEM) it is closed. */
MUST_USE int conn_snapshot_import(struct conn_server *server, int fd, struct unpack *in);

#endif
