/* Listing row: one connection as the listing of connections shows it. On the connection's shard. */
#ifndef ROLE_LISTING_ROW_H
#define ROLE_LISTING_ROW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "role/listing_query.h"

struct channel;
struct client;
struct conn_server;

/* What a step compares with: found anew each turn, since channels come and go. */
struct listing_filter {
    const struct listing_query *query;
    const struct channel *channel, *user; /* NULL: not asked for. */
    bool nobody;                          /* Nobody on this shard can meet it. */
};

struct listing_filter listing_filter_make(
    struct conn_server *server, const struct listing_query *query);

/* Is the connection asked for? Only open ones that listen to events ever are. */
bool listing_matches(const struct listing_filter *filter, const struct client *client);

/* Where it stands in the order. */
struct listing_place listing_place_of(
    const struct conn_server *server, const struct client *client, uint8_t sort);

/* Appends its JSON object. boot_ms: wall-clock time of the loop's time 0. Returns 0 or -ENOMEM. */
MUST_USE int listing_append_row(struct bytes *out, const struct conn_server *server,
    const struct client *client, int64_t boot_ms);

#endif
