/* Ingest: what clients publish goes to the broker, wherever that is. */
#ifndef ROLE_INGEST_H
#define ROLE_INGEST_H

#include <stdbool.h>

#include "base/bytes.h"
#include "core/publication.h"

/* For conn's table of ports; ctx is a struct gateway_shard. */
int ingest_publish(void *ctx, const struct publish_order *order);
bool ingest_interest(void *ctx, struct span name, bool wanted);

#endif
