/* Publishing from a terminal into a history that Redis keeps: the same script that gateways call, so that
 * events get their cursors. Commands and answers only; client_redis.h has the connection. */
#ifndef ROLE_CLIENT_HISTORY_H
#define ROLE_CLIENT_HISTORY_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/bytes.h"

/* An event. Spans are borrowed. */
struct client_append {
    struct span channel, payload;
    struct span twin, bare; /* What others listen to, and what they hear there. */
    struct span once;       /* The idempotency key; empty: none. */
    bool sharded;           /* By SPUBLISH. */
};

/* Appends what makes the script known to Redis. Returns 0 or -ENOMEM. */
MUST_USE int client_history_load(struct bytes *out);

/* Appends the call. Returns 0, -EINVAL (a name is too long for a channel) or -ENOMEM. */
MUST_USE int client_history_append(struct bytes *out, const struct client_append *append);

/* Reads the answer of a call. Returns 0 and the cursor as text, a view into the answer; or -EINVAL. */
MUST_USE int client_history_answer(
    struct span answer, struct span *ret_cursor, bool *ret_duplicate);

#endif
