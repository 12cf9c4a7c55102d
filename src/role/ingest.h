/* Ingest: what clients publish goes to the broker, wherever that is. */
#ifndef ROLE_INGEST_H
#define ROLE_INGEST_H

#include <stdbool.h>

#include "base/bytes.h"
#include "core/publication.h"
#include "core/shared.h"

struct gateway_shard;

/* For conn's table of ports; ctx is a struct gateway_shard. */
int ingest_publish(void *ctx, const struct publish_order *order);
bool ingest_interest(void *ctx, struct span name, bool wanted);

/* core/shared.h's ports for a shard; ctx is the gateway shard. */
struct shared_ports ingest_shared_ports(struct gateway_shard *gs);

#endif
