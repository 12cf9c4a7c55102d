/* The gateway's durable history: where it lies, opening it, and its answers on their way to shards. */
#ifndef ROLE_GATEWAY_STORE_H
#define ROLE_GATEWAY_STORE_H

#include "base/attr.h"

struct gateway;
struct gateway_shard;

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
