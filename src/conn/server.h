/* Server: the client side of one shard. Accepts, reads, writes, keeps alive and closes.
 *
 * Runs on the shard's thread. role drives it: loop_poll() calls it with events, then
 * conn_server_turn() reads on where a client had more than its share, and conn_server_tick() (every
 * 100 ms) scans for heartbeats and silent clients and closes what has lingered long enough.
 */
#ifndef CONN_SERVER_H
#define CONN_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/gauge.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/slab.h"
#include "conn/client.h"
#include "conn/framing.h"
#include "conn/runs.h"
#include "core/shard.h"
#include "http/session.h"
#include "proto/ws.h"
#include "proto/ws_deflate.h"
#include "rt/fds.h"
#include "rt/timer.h"

struct loop;
struct target;
struct conn_server;

enum { CONN_TICK_MS = 100, CONN_LISTENERS_MAX = 16 };

/* What conn needs of others. */
struct conn_ports {
    void *ctx;

    /* Publishes on behalf of a client. With a reply_id conn_published() is called once, on this
     * thread, with the outcome. Returns 0, -EBUSY, -ENOTCONN (the broker is not there) or -ENOMEM;
     * then nobody is called. */
    int (*publish)(void *ctx, const struct publish_order *order);

    /* As in core/ports.h; interest may be NULL. */
    void (*post)(void *ctx, uint16_t shard, struct mail *mail);
    void (*post_now)(void *ctx, uint16_t shard); /* May be NULL. */
    bool (*interest)(void *ctx, struct span name, bool wanted);
};

struct conn_options {
    uint32_t connections_max; /* In the process (own_limit: in this shard). */
    uint32_t subscriptions_max;
    uint64_t ping_interval_ms;
    uint64_t sse_heartbeat_ms;
    uint64_t idle_timeout_ms; /* 0: never. */
    uint64_t keepalive_timeout_ms;
    uint32_t read_bytes_user; /* WebSocket messages from clients, by endpoint. */
    uint32_t read_bytes_room;
    uint32_t read_bytes_v1;
    bool compression;
    uint32_t compression_min_bytes;
    struct http_limits http_limits;
    uint64_t head_timeout_ms;
    uint64_t body_timeout_ms;
    uint8_t loop_kind_client; /* Two of the loop's kinds are ours. */
    uint8_t loop_kind_listener;
};

struct conn_stats {
    uint64_t accepted;
    uint64_t refused; /* Over the limit, or out of descriptors. */
    uint64_t closed;
    uint64_t handshakes;  /* WebSocket upgrades answered 101. */
    uint64_t messages_in; /* WebSocket messages from clients. */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t pings;
    uint64_t idle_closed;
    uint64_t silent;          /* Connected and never sent a byte. */
    uint64_t violations;      /* WebSocket protocol errors. */
    uint64_t publish_dropped; /* From room clients, with nobody to tell. */
    uint64_t slow_began, slow_ended;
    uint64_t cut_policy, cut_operator;
    uint32_t clients;                  /* Now, HTTP included. */
    uint32_t websockets[CLIENT_KINDS]; /* Now, by endpoint. */
    uint32_t streams[CLIENT_KINDS];    /* The same of SSE. */
    uint32_t polls;                    /* Waiting now. */
    uint64_t streams_opened, polls_answered;
    /* Channels somebody listens to, on whichever shard, of which this one is the home. */
    uint32_t user_channels, room_channels, channels;
};

/* Deadlines that are all equally far away when they are set: a queue, no timer each. */
struct deadlines {
    struct deadline *ring;
    uint32_t head, count, cap; /* cap: power of two. */
};

struct deadline {
    uint32_t slot, generation;
    uint64_t due_ms;
};

/* Where a scan through all slots has come. */
struct scan {
    uint32_t next; /* Slot. */
    uint64_t debt; /* In slots × ms: what a tick owes is rarely whole. */
};

struct conn_server {
    struct loop *loop;
    struct runs runs;        /* That are polled. */
    struct timer wake_timer; /* The core wants a turn. */
    struct shard *shard;
    struct slab clients;
    uint32_t *generations; /* By slot; odd while the slot is in use. */
    uint32_t generations_cap;
    struct conn_options options;
    struct conn_ports ports;
    struct http_server *http;
    struct framing_context framing;
    struct ws_inflater *inflater;
    struct gauge *gauge; /* Connections of the process; shared. */
    const struct route *routes;
    struct fds_spare spare;
    int listeners[CONN_LISTENERS_MAX];
    uint32_t listener_count;
    bool listening;
    struct conn_stats stats;
    struct log_burst slow_burst, recovered_burst, cut_burst;
    struct rng rng;

    struct scan pings; /* And whoever is silent. */
    struct scan stream_heartbeats;
    struct poll *polls_due; /* To be looked at in the next turn. */
    uint32_t *again;        /* Slots with more to read. */
    uint32_t again_count, again_cap;
    uint32_t history_events;   /* Asked for by fanout.v1 clients in this turn. */
    struct deadlines closing;  /* One second: closing and lingering. */
    struct deadlines greeting; /* The head timeout: accepted, and silent so far. */
    struct deadlines quiet;    /* One second: those with CLIENT_QUIET. */
    uint32_t refusing;         /* Clients in CLIENT_REFUSED. */

    bool draining;
    uint64_t drain_pace;     /* Close frames a tick. */
    uint32_t drain_next;     /* Slot. */
    uint32_t drain_retry_ms; /* Spread of the hint to come back. */

    struct slab publishes;              /* Of pointers to struct publish_request, see publish.h. */
    struct publish_request *publishing; /* All of them. */
    struct publish_request *publishes_due; /* That go on in the next turn. */
    uint64_t publish_kept_bytes;           /* Of payloads kept for channels that wait. */
    struct table subscribes;               /* Commands waiting for home, see commands.h. */
    uint8_t *input;                        /* CONN_INPUT_BYTES + cork. */
    uint8_t *cork;
    struct bytes text; /* Scratch for notices and replies. */
};

enum { CONN_INPUT_BYTES = 64 * 1024, CONN_CORK_BYTES = 16 * 1024 };

/* What a server is made of; everything pointed at is shared. seed: for jitter. */
struct conn_setup {
    struct loop *loop;
    uint16_t shard_index;
    const struct core_settings *settings;
    const struct conn_options *options;
    const struct conn_ports *ports;
    const struct route *routes; /* Handlers get the server as x->app. */
    struct gauge *gauge;
    uint64_t seed;
};

/* Gives a server, with its shard inside. Returns 0 or negative errno. */
MUST_USE int conn_server_create(const struct conn_setup *setup, struct conn_server **ret_server);

/* Closes everything that is left, at once. */
void conn_server_destroy(struct conn_server *server);

/* Takes a listening descriptor. exclusive: other shards watch it too. */
MUST_USE int conn_server_listen(struct conn_server *server, int fd, bool exclusive);

/* Once a turn, after loop_poll(). */
void conn_server_turn(struct conn_server *server);

/* At the end of it: is there something to do in the next turn, whatever else happens? */
static inline bool conn_server_more(const struct conn_server *server)
{
    return server->again_count > 0 || server->polls_due;
}

/* Every CONN_TICK_MS. */
void conn_server_tick(struct conn_server *server);

/* New options for what comes; limits of the listener and compression stay. */
void conn_server_reload(struct conn_server *server, const struct conn_options *options);

/* Stops accepting and closes clients (1012, with a hint when to come back), spread over spread_ms.
 * Done when conn_server_count() is 0. */
void conn_server_drain(struct conn_server *server, uint64_t spread_ms);
static inline uint32_t conn_server_count(const struct conn_server *server)
{
    return server->stats.clients;
}

/* Gives up the listening descriptors without closing them: they move. fds has room for
 * CONN_LISTENERS_MAX; returns how many. */
uint32_t conn_server_unlisten(struct conn_server *server, int *fds);

/* The public name of a connection: shard, generation, slot. */
uint64_t conn_client_id(const struct conn_server *server, const struct client *client);

/* The connection of that name, or NULL when it is gone (or another shard's). */
struct client *conn_client_find(struct conn_server *server, uint64_t id);

/* The next connection at or behind *slot, or NULL; moves *slot behind it. */
struct client *conn_client_next(struct conn_server *server, uint32_t *slot);

/* ---- between the files of conn ---- */

uint32_t conn_tick_now(const struct conn_server *server);

/* Gives a client for a connected descriptor, which it takes; NULL without memory: then it is still
 * the caller's. */
struct client *client_open(struct conn_server *server, int fd);

/* Bytes behind whatever waits. False: the connection is doomed. */
bool client_write(struct conn_server *server, struct client *client, const void *data, size_t len);

/* The connection in a slot, if it is still this generation's; else NULL. */
struct client *client_at(struct conn_server *server, uint32_t slot, uint32_t generation);

/* Says 503 and finishes: one connection too many. */
void client_refuse(struct conn_server *server, struct client *client);

/* Does one who is too many ask how we are? Whoever watches us must not take full for dead. */
bool client_probes(struct span request);

/* All is sent: closes for writing, and reads what still comes until the peer hangs up. */
void client_linger(struct conn_server *server, struct client *client);

/* Handlers of the loop. */
void conn_client_event(void *ctx, uint64_t id, uint32_t events);
void conn_listener_event(void *ctx, uint64_t id, uint32_t events);

/* Closes for writing once all is sent, then lingers. */
void client_finish(struct conn_server *server, struct client *client);

/* Gone at once. The slot is free afterwards. */
void client_close(struct conn_server *server, struct client *client);

/* Asks home for each of the target's channels. False: there is no memory. */
bool client_subscribe(struct conn_server *server, struct client *client,
    const struct target *target, uint8_t framing);

/* Fresh from accept(): what it has sent already is read, before the next one is accepted. */
void client_read_first(struct conn_server *server, struct client *client);
/* Reads on even without an event. */
void client_read_again(struct conn_server *server, struct client *client);

/* Within a second the connection is closed, come what may. */
void client_set_deadline(struct conn_server *server, struct client *client);

/* It must say something before the head timeout. */
void client_set_greeting(struct conn_server *server, struct client *client);

/* For core's table of ports. */
void conn_deliver(void *ctx, struct slice *slice);
long conn_write(void *ctx, struct subscriber *sub, const struct iovec *iov, int count);

#endif
