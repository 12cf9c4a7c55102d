/* Pace: when a fanout.v1 client is read on.
 *
 * A command of a few bytes may have an answer of a megabyte, so reading is what is held back: one
 * history at a time for a client, nothing more while many bytes of answers wait to leave, and so many
 * commands, and publications of histories, a turn. What came and is not read yet stays with the kernel,
 * or in client->partial (CLIENT_EARLY).
 */
#ifndef CONN_PACE_H
#define CONN_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "conn/client.h"

struct conn_server;

/* May no command be read now? Then this client is read on as soon as one may. */
bool pace_waits(struct conn_server *server, struct client *client);

/* The same after so many frames of this input. */
bool pace_waits_after(struct conn_server *server, struct client *client, uint32_t frames);

/* A history is asked for, of at most so many publications; and answered. */
void pace_asked(struct conn_server *server, struct client *client, uint32_t limit);
void pace_answered(struct conn_server *server, struct client *client);

/* Does the answer to a history fit, whatever its size? It does where pace_waits() let the command
 * pass, unless many notices came since. */
bool pace_has_room(const struct client *client);

/* It is closing: what it says now is wanted, however much waits. */
void pace_let_go(struct conn_server *server, struct client *client);

#endif
