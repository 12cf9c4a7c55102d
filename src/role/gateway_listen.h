/* Where the gateway listens: sockets of its own, one per shard, or ones it was handed. */
#ifndef ROLE_GATEWAY_LISTEN_H
#define ROLE_GATEWAY_LISTEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct config;
struct gateway;

/* Opens all listeners and deals them out. Returns 0 or negative errno with a sentence in why. */
MUST_USE int gateway_listen(struct gateway *gateway, char *why, size_t why_cap);

/* Removes the files of our unix sockets, while we still listen: once nobody does, they may be those
 * of a gateway that has taken our place. */
void gateway_unlisten(struct gateway *gateway);

/* "127.0.0.1:8084, unix:/run/fanout.sock" for people. port: what the system picked for port 0. */
void gateway_listen_text(const struct config *config, uint32_t port, char *out, size_t cap);

#endif
