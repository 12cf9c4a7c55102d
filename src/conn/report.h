/* Report: what the log says of a connection, one line an event.
 *
 * Each names the connection as the listing of connections does (conn, address, channel), so that an
 * operator can go from the one to the other. Payloads and tokens stay out.
 */
#ifndef CONN_REPORT_H
#define CONN_REPORT_H

#include <stdbool.h>

#include "base/bytes.h"

struct client;
struct conn_server;

/* The channel of its first subscription; empty when it has none. Valid until it leaves. */
struct span report_channel(const struct client *client);

/* A WebSocket is there (debug). */
void report_open(const struct conn_server *server, const struct client *client);

/* It began to lose messages (warn), or caught up again (info). */
void report_slow(struct conn_server *server, const struct client *client, bool dropping);

/* We end it, and not because it asked (info). */
void report_cut(const struct conn_server *server, const struct client *client, const char *reason);

/* The same because of the policy `disconnect`. */
void report_cut_slow(struct conn_server *server, const struct client *client);

/* Of those that began to lose messages, recovered, or were cut for being slow, REPORT_BURST each are
 * named in a second. This tells, once the second is over, how many were not (conn.slow_more, …): the
 * listing of connections has their names. To be called every tick. */
enum { REPORT_BURST = 1000 };
void report_tick(struct conn_server *server);

#endif
