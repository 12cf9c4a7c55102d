/* Commands of the subprotocol fanout.v1 (wire.md): one JSON object a frame, with the client's id.
 */
#ifndef CONN_COMMANDS_H
#define CONN_COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "conn/client.h"
#include "core/publication.h"
#include "core/mail.h"

struct conn_server;

/* A message from a fanout.v1 client. */
void commands_message(struct conn_server *server, struct client *client, struct span text);
void commands_binary(struct conn_server *server, struct client *client);

/* Home answered: acknowledges the command or the HTTP request that asked, if one did. attached: the
 * subscription is in force; it may have been taken back meanwhile. */
void commands_subscribed(
    struct conn_server *server, const struct mail_subscribe *answer, bool attached);

/* A publish command's outcome. */
void commands_published(struct conn_server *server, struct client *client, struct span id,
    const struct publish_result *result);

/* Home's answer to this will be for an HTTP request of this peer. False: no memory. */
bool commands_wait_http(struct conn_server *server, uint64_t request_id, uint64_t peer);

/* Moving: appends the commands of a client that wait for an answer; finds the one that waited under
 * a former id among them and makes it wait under its new one. */
struct pack;
void commands_export(
    const struct conn_server *server, const struct client *client, struct pack *out);
bool commands_import(struct conn_server *server, const struct client *client, struct span exported,
    uint64_t former_id, uint64_t id);

/* Forgets what waits. */
void commands_fini(struct conn_server *server);

#endif
