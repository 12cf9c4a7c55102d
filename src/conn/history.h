/* What a channel keeps, page by page: asked for by the command `history` and by
 * GET /api/v1/channels/{c}/history.
 */
#ifndef CONN_HISTORY_H
#define CONN_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "core/cursor.h"
#include "core/mail.h"
#include "http/session.h"

struct client;
struct conn_server;

enum { HISTORY_LIMIT = 100, HISTORY_LIMIT_MAX = 1000 };

/* Asks home; the answer comes to commands_subscribed() under *ret_request_id. False: no memory. */
MUST_USE bool history_ask(struct conn_server *server, struct span channel, struct since since,
    uint32_t limit, uint64_t *ret_request_id);

/* {"channel":…,"events":[{"cursor","data"},…],"cursor":…,"state":…,"more":…} */
MUST_USE int history_append(struct bytes *out, const struct mail_subscribe *answer);

/* Replies to the request that waits, if it still does. */
void history_answer_http(struct client *client, const struct mail_subscribe *answer);

/* Route handler of GET /api/v1/channels/{c}/history. */
void history_handler(struct http_exchange *x);

#endif
