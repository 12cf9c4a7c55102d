/* Pending: what was asked on the command connection and is not answered yet. Redis answers in the
 * order of asking, so it is a queue. Bounded by the bytes of the commands; one thread. */
#ifndef LINK_REDIS_PENDING_H
#define LINK_REDIS_PENDING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct redis_command;

enum redis_asked_kind {
    REDIS_ASKED_PUBLISH,
    REDIS_ASKED_CANARY, /* Ours; nobody waits for its answer. */
    REDIS_ASKED_SETUP,  /* Loads or tries a script. */
    REDIS_ASKED_EXTRA,  /* May fail. */
    REDIS_ASKED_CALL,   /* Calls a script. */
};

struct redis_asked {
    uint64_t id;
    uint32_t bytes;
    uint8_t kind;                  /* enum redis_asked_kind */
    struct redis_command *command; /* REDIS_ASKED_CALL: borrowed from redis_link_script.c. */
};

struct redis_pending {
    struct redis_asked *ring;
    size_t cap; /* A power of two. */
    size_t head, count;
    size_t bytes;
};

void redis_pending_fini(struct redis_pending *pending);

/* Makes room for one more. Returns 0 or -ENOMEM. */
MUST_USE int redis_pending_reserve(struct redis_pending *pending);

/* Room must have been reserved. */
void redis_pending_push(struct redis_pending *pending, struct redis_asked asked);

/* The oldest; false: there is none. */
bool redis_pending_pop(struct redis_pending *pending, struct redis_asked *ret_asked);

#endif
