/* Target: what a client asks for in the query of /ws, /sse and /poll.
 *
 * Exactly one of username, room (+ client_id) or channel (repeatable), with since for each channel, and
 * types and batch_ms for all of them (wire.md "Subscribing by URL", "Cursor").
 */
#ifndef CONN_TARGET_H
#define CONN_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "core/cursor.h"

enum target_kind { TARGET_NONE, TARGET_USER, TARGET_ROOM, TARGET_CHANNELS };

struct target_channel {
    uint32_t start, len; /* In target.names. */
    struct since since;
};

struct target {
    uint8_t kind; /* enum target_kind */
    uint32_t count;
    uint32_t cap;
    struct target_channel *channels;
    struct bytes types;     /* A filter for all of them, see core/filter.h. */
    uint16_t batch_ms;      /* For all of them; 0: a frame each. */
    struct bytes names;     /* Channel names, one behind the other. */
    struct bytes client_id; /* Rooms: how the client calls itself. */
    const char *code;       /* After -EINVAL: the error's code … */
    char why[160];          /* … and its sentence. */
};

/* Reads a query. Returns 0; -EINVAL with target->why; or -ENOMEM. Start with all zeroes; end with
 * target_fini() in every case. */
MUST_USE int target_read(struct target *target, struct span query, uint32_t channels_max);

/* Continues from a cursor, or a list of them, in place of `since`: what EventSource sends back as
 * Last-Event-ID. */
void target_resume(struct target *target, struct span cursors);

static inline struct span target_name(const struct target *target, uint32_t i)
{
    return span_of(target->names.data + target->channels[i].start, target->channels[i].len);
}

void target_fini(struct target *target);

#endif
