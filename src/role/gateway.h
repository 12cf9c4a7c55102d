/* Gateway: the shards of one process and what connects them.
 *
 * Each shard runs its turns on a thread of its own (shard 0 on the main thread, with the signals and
 * the link to the broker). They share nothing but the configuration snapshot, the gauge of
 * connections and their mailboxes.
 */
#ifndef ROLE_GATEWAY_H
#define ROLE_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/gauge.h"
#include "base/mail.h"
#include "conn/server.h"
#include "core/settings.h"
#include "core/shared.h"
#include "ctl/config.h"
#include "rt/timer.h"

struct broker;
struct coordinator;
struct gateway;
struct mailbox;
struct thread;

enum gateway_kind { /* Kinds of descriptors in a shard's loop. */
    KIND_CLIENT,
    KIND_LISTENER,
    KIND_MAILBOX,
    KIND_SIGNALS,
    KIND_REDIS,
    KIND_RESOLVE,
};

enum { GATEWAY_LISTENERS_MAX = 8, BROKER_WHY_MAX = 160, COORDINATOR_WHY_MAX = 256 };

/* The settings in force. A reload makes a new one and mails it to every shard; the former ones are
 * kept to the end, since a reload is rare and a shard may be in the middle of a turn. */
struct snapshot {
    struct snapshot *before;
    struct config *config;
    struct core_settings *settings;
    struct conn_options options;
};

struct gateway_shard {
    struct gateway *gateway;
    struct shared_ports shared_ports;
    const struct snapshot *snapshot;
    uint16_t index;
    struct loop *loop;
    struct mailbox *mailbox;
    struct conn_server *server;
    struct thread *thread; /* NULL for shard 0. */
    struct mail_chain out[CORE_SHARDS_MAX];
    uint64_t out_bits; /* Which chains hold mail. */
    struct timer tick;
    int listeners[GATEWAY_LISTENERS_MAX];
    bool exclusive[GATEWAY_LISTENERS_MAX];
    uint32_t listener_count;
    bool stopping;
    bool drained;              /* Told shard 0 that no client is left. */
    uint32_t gather_weight;    /* Of our questions under way, see gather.h. */
    uint64_t orders_in_flight; /* Bytes mailed to shard 0 for the broker and not come back. */
    /* What shard 0 last said of the broker. */
    bool broker_up;
    char broker_why[BROKER_WHY_MAX];
    /* Of the coordinator: what it last said, and our questions that it has not answered. */
    bool coordinator_up;
    char coordinator_why[COORDINATOR_WHY_MAX];
    uint32_t questions;
    uint64_t question_bytes;
    uint64_t turns;
    uint64_t busy_ns; /* Inside turns, waiting excluded. */
};

struct gateway {
    struct snapshot *snapshot; /* The newest; shard 0's to read and change. */
    struct gauge connections;
    struct gateway_shard shards[CORE_SHARDS_MAX];
    uint16_t shard_count;
    struct broker *broker;           /* Runs on shard 0; NULL: embedded. */
    struct coordinator *coordinator; /* Runs on a thread of its own; NULL: there is none. */
    struct store *store;             /* The durable history; NULL: all is in memory. */
    struct store_ports store_ports;
    int signal_fd;
    struct timer drain_timer;
    uint32_t started_count, drained_count;
    int start_error;
    uint64_t drain_began_ns;
    bool draining;
    bool unix_bound; /* Files of unix sockets are ours to remove. */
    int exit_code;
    uint64_t started_wall_ns;
    uint64_t started_ns;
    const struct gateway_role *with;
    const char *role; /* Its name, for the log. */
    int argc;         /* For a reload. */
    char **argv;
    uint32_t port; /* The first TCP port we listen on. */
};

/* What makes one role of the gateway another; outlives the run. */
struct gateway_role {
    const char *name; /* "serve", "demo" or "coordinator". */
    const char *help; /* What --help says before the flags. */
    enum config_role settings;
    const struct route *routes;
    bool coordinates; /* A coordinator runs beside the shards. */
    bool no_clients;  /* Nobody subscribes: no link to a broker, no history. */
    /* Says on stderr what is wrong with settings that are well-formed. Returns 0, or -1: it is of no use
     * to go on. May be NULL. */
    int (*check)(const struct config *config);
    void (*started)(const struct gateway *gateway); /* Everything is up; may be NULL. */
};

/* Do events come from Redis? */
static inline bool gateway_linked(const struct gateway *gateway)
{
    return gateway->snapshot->config->broker == CONFIG_BROKER_REDIS && !gateway->with->no_clients;
}

/* Threads that start, and drain: the shards, and the coordinator's. */
static inline uint32_t gateway_part_count(const struct gateway *gateway)
{
    return gateway->shard_count + (gateway->coordinator ? 1u : 0u);
}

/* Runs until a signal ends it. Takes config. Returns the exit code. */
int gateway_run(const struct gateway_role *role, struct config *config, int argc, char **argv);

/* The shard a request is on. */
static inline struct gateway_shard *gateway_shard_of(const struct conn_server *server)
{
    return server->ports.ctx;
}

/* Sends a letter from one shard to another, itself included; sent at the end of the turn. */
void gateway_post(struct gateway_shard *from, uint16_t to, struct mail *mail);

/* Runs fn on a shard's thread. The struct is the callee's to free. */
void gateway_call(struct gateway_shard *from, uint16_t to,
    void (*fn)(struct shard *shard, struct mail_call *call), struct mail_call *call);

/* Runs fn on this same shard in its next turn: for work in steps, so that clients are served in
 * between. */
void gateway_call_later(struct gateway_shard *gs,
    void (*fn)(struct shard *shard, struct mail_call *call), struct mail_call *call);

/* On every shard: what to say of the broker from now on. From shard 0. */
void gateway_announce_broker(struct gateway *gateway, bool up, const char *why);

/* The gateway shard of a core shard inside a call. */
struct gateway_shard *gateway_of_shard(struct shard *shard);

/* One of the parts is up, or why not; there is nothing left to do for it. From any thread. */
void gateway_report_start(struct gateway *gateway, int err);
void gateway_report_drained(struct gateway *gateway);

/* Every shard ends its turns. From shard 0. */
void gateway_stop_all(struct gateway *gateway);

/* Stops at once with this exit code. From shard 0. */
void gateway_abort(struct gateway *gateway, int exit_code);

#endif
