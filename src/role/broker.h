/* Broker: the gateway's side of the link to Redis. Lives on shard 0; the other shards reach it by
 * mail. */
#ifndef ROLE_BROKER_H
#define ROLE_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "core/publication.h"
#include "link/redis_link.h"
#include "link/redis_options.h"

struct broker;
struct config;
struct config_redis;
struct gateway;
struct store_read;

/* Gives a broker and begins to connect. Returns 0 or negative errno with a sentence in why. */
MUST_USE int broker_create(
    struct gateway *gateway, struct broker **ret_broker, char *why, size_t why_cap);
void broker_destroy(struct broker *broker);

/* Once a turn of shard 0. True: come back at once. */
bool broker_turn(struct broker *broker);

/* From shard 0: publishes for a client of shard `from`, which hears the outcome by mail. Returns as
 * conn's port does. */
MUST_USE int broker_publish(
    struct broker *broker, uint16_t from, const struct publish_order *order);

/* From shard 0: a home has its first listener, or lost its last. */
void broker_interest(struct broker *broker, uint16_t home, struct span name, bool wanted);

/* From shard 0: a page of a shared history for shard `from`, which gets the letter back, filled in
 * (core/shared.h); and a new epoch. */
void broker_read(struct broker *broker, uint16_t from, struct store_read *letter);
void broker_renew(struct broker *broker, struct span name, struct cursor last);

void broker_stats(const struct broker *broker, struct redis_stats *ret_stats);

/* How Redis is reached, mappings excepted. Its strings are the configuration's. */
struct redis_options broker_redis_options(const struct config_redis *redis);

/* "redis://host:port" or what embedded means, for the start line. Valid until the next call. */
const char *broker_describe(const struct config *config);

#endif
