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
void report_slow(const struct conn_server *server, const struct client *client, bool dropping);

/* We end it, and not because it asked (info). */
void report_cut(const struct conn_server *server, const struct client *client, const char *reason);

#endif
