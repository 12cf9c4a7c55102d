/* From the configuration snapshot to what the modules are told. */
#ifndef ROLE_GATEWAY_OPTIONS_H
#define ROLE_GATEWAY_OPTIONS_H

#include <stdint.h>

#include "conn/server.h"
#include "core/settings.h"
#include "ctl/config.h"

struct gateway;

struct snapshot;

/* Gives a snapshot. Takes config. before: the one in force, whose namespaces keep their indexes,
 * store id and hash key; NULL at the start. fd_limit: descriptors of one table. */
struct snapshot *snapshot_create(struct config *config, struct snapshot *before, uint32_t fd_limit);

/* Nothing is durable: there is no place for it. */
void gateway_options_forget_durability(struct snapshot *snapshot);

/* Takes the newest snapshot and frees it with all before it. */
void snapshot_free_all(struct snapshot *snapshot);

/* SIGHUP: reads the configuration anew and hands it to every shard. */
void gateway_reload(struct gateway *gateway);

/* The conflation key of a payload under these settings, hashed; 0: none. */
uint32_t gateway_conflation_key(const struct config *config, const struct core_settings *settings,
    struct span channel, struct span payload);

#endif
