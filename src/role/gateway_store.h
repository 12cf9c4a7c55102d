/* The gateway's durable history: where it lies, opening it, and its answers on their way to shards. */
#ifndef ROLE_GATEWAY_STORE_H
#define ROLE_GATEWAY_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct gateway;
struct gateway_shard;

enum { GATEWAY_PATH_BYTES = 1024 };

#define GATEWAY_STORE_NO_DIR "neither HOME nor XDG_STATE_HOME is set"

enum gateway_dir {
    GATEWAY_DIR_NONE,    /* All is to be in memory. */
    GATEWAY_DIR_CHOSEN,  /* The option data says where. */
    GATEWAY_DIR_USUAL,   /* The platform's directory, a part of it for each port. */
    GATEWAY_DIR_UNKNOWN, /* The platform has none. */
};

/* Where what is durable lies. Fills out for CHOSEN and USUAL. After the listeners. */
enum gateway_dir gateway_store_dir(const struct gateway *gateway, char *out, size_t cap);

/* Makes what is above dir. Returns 0 or negative errno. */
MUST_USE int gateway_store_make_parents(const char *dir);

/* Is this a failure that a place chosen for them may have without their doing wrong? */
bool gateway_store_is_usual(int err);

/* Opens the store unless nothing is durable; settings get its identity. Before the shards, after the
 * listeners (the directory is named after the port). Logs what it did, or why not. Returns 0, or
 * negative errno when the gateway should not start. */
MUST_USE int gateway_store_open(struct gateway *gateway);

/* A shard on its own thread gets its store. */
void gateway_store_attach(struct gateway_shard *gs);

/* The wall clock moves; once a tick. */
void gateway_store_tick(struct gateway_shard *gs);

/* Everything that was given to it is answered: the answers are in the mailboxes. */
void gateway_store_close(struct gateway *gateway);

#endif
