/* Redis publisher: one connection, PUBLISH or the script of a shared history pipelined, answers in order.
 * RESP2 (hiredis writes and reads it). The connection is not made again by itself. Runs on the hub's loop. */
#ifndef ROLE_CLIENT_REDIS_H
#define ROLE_CLIENT_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "role/client_conn.h"
#include "role/client_history.h"
#include "role/client_url.h"

struct redisReader;

struct client_redis_events {
    void (*opened)(void *ctx); /* Logged in; publishing may begin. */
    /* One for each publication, in order. receivers: how many the server counted, or -1 with a
     * sentence in err. */
    void (*answered)(void *ctx, int64_t receivers, const char *err);
    /* The connection is gone, with what was not answered. */
    void (*closed)(void *ctx, const char *why);
    /* As answered, for each client_redis_append(): what the script said, or a sentence in err. NULL without
     * history. */
    void (*appended)(void *ctx, struct span answer, const char *err);
};

struct client_redis {
    struct client_conn conn;
    const struct client_redis_events *events;
    void *ctx;
    const struct client_url *url;
    bool history; /* Set before it is opened: only client_redis_append() is used. */
    bool sharded; /* Set before it is opened: client_redis_publish() is SPUBLISH. */
    struct redisReader *reader;
    uint32_t greetings; /* Answers to come before the connection is ours. */
    bool up;
};

/* Shares hub, url, events and ctx. Returns 0 or -ENOMEM. */
MUST_USE int client_redis_init(struct client_redis *redis, struct client_hub *hub,
    const struct client_url *url, const struct client_redis_events *events, void *ctx);
void client_redis_fini(struct client_redis *redis);

/* Connects and logs in; `opened` or `closed` follows. Returns 0 or negative errno. */
MUST_USE int client_redis_open(struct client_redis *redis);

/* Appends PUBLISH (or SPUBLISH) channel payload to out, as RESP. Returns 0 or -ENOMEM. */
MUST_USE int client_redis_encode(
    struct bytes *out, bool sharded, struct span channel, struct span payload);

/* Publishes; only after `opened`. Returns 0 or -ENOMEM. */
MUST_USE int client_redis_publish(
    struct client_redis *redis, struct span channel, struct span payload);

/* Publishes into a shared history; only after `opened`. Returns 0, -EINVAL or -ENOMEM. */
MUST_USE int client_redis_append(struct client_redis *redis, const struct client_append *append);

/* Appends {"room":R,"from":F,"data":D}, the envelope that rooms travel in; data that is not UTF-8
 * goes as base64 with "enc". Returns 0, -EILSEQ (room or from are not UTF-8) or -ENOMEM. */
MUST_USE int client_room_envelope(
    struct bytes *out, struct span room, struct span from, struct span data);

#endif
