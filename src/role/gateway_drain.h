/* Leaving: what a signal begins, until every part of the gateway is done. On shard 0. */
#ifndef ROLE_GATEWAY_DRAIN_H
#define ROLE_GATEWAY_DRAIN_H

#include <stdint.h>

/* Handler of the loop: a signal came. ctx: the gateway. */
void gateway_on_signal(void *ctx, uint64_t id, uint32_t events);

#endif
