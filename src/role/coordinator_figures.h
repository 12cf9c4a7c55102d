/* The coordinator's figures, for a scrape on a shard. */
#ifndef ROLE_COORDINATOR_FIGURES_H
#define ROLE_COORDINATOR_FIGURES_H

#include <stdint.h>

#include "base/attr.h"
#include "ctl/figures.h"

struct coordinator;
struct gateway_shard;

/* Asks for them; hear() comes later on the same shard, with what is borrowed until it returns. Returns 0
 * or -ENOMEM. */
MUST_USE int coordinator_figures_ask(struct gateway_shard *gs, uint64_t peer,
    void (*hear)(struct gateway_shard *gs, uint64_t peer, const struct figures_flow *flow));

#endif
