/* What the files of the Redis link share: redis_link.c (what others call), redis_link_path.c
 * (attempts and state), redis_link_in.c (what arrives), redis_link_out.c (what is published).
 * Nobody else includes it. */
#ifndef LINK_REDIS_LINK_OWN_H
#define LINK_REDIS_LINK_OWN_H

#include "base/log.h"
#include "base/rng.h"
#include "link/redis_canary.h"
#include "link/redis_conn.h"
#include "link/redis_inbox.h"
#include "link/redis_link.h"
#include "link/redis_pending.h"
#include "link/redis_subs.h"

enum { REDIS_SUB, REDIS_CMD, REDIS_CONNS }; /* Slots of the two connections. */

enum redis_phase {
    REDIS_PHASE_IDLE,        /* Before the start, between attempts, after a refusal. */
    REDIS_PHASE_GREETING,    /* Both connections are being made. */
    REDIS_PHASE_SUBSCRIBING, /* Waiting for confirmations. */
    REDIS_PHASE_PROVING,     /* Waiting for the first canary. */
    REDIS_PHASE_UP,
};

struct redis_link {
    struct loop *loop;
    struct redis_events events;
    struct redis_options options; /* Its pointers are not valid any more. */
    struct redis_target target;
    char *address, *username, *password, *server_name;
    char client_name[32];
    struct redis_map *map;
    struct redis_conn_events conn_events;
    struct redis_conn conns[REDIS_CONNS];
    struct redis_inbox inboxes[REDIS_CONNS];
    struct redis_subs subs;
    struct redis_pending pending;
    struct redis_canary canary;
    struct span canary_channel;
    char canary_text[64];
    struct rng rng;

    enum redis_phase phase;
    enum redis_state state;
    bool was_up;            /* Ever. */
    uint64_t down_since_ms; /* While not UP and started. */
    size_t pattern_count;   /* Confirmed. */
    uint32_t attempt;       /* Failed since it was UP. */
    char sentence[REDIS_SENTENCE_MAX];

    /* Messages of a connection that is not proven yet wait, so that what comes between DOWN and
     * UP is always from before the loss, and the gap has one place. */
    bool withhold;
    bool losing; /* The inbox gives up a lost connection's messages, not for want of room. */
    struct redis_name drop_channel; /* Of the messages dropped last and not declared yet. */
    uint64_t drop_count;
    struct bytes payload;  /* Of a room's message, bare; scratch. */
    struct bytes envelope; /* Scratch of publishing. */

    struct timer retry_timer, tick_timer, busy_timer;
    struct log_limit down_limit, drop_limit;
    uint64_t drop_logged; /* Drops told so far. */
    struct redis_stats stats;
};

/* ---- redis_link_path.c ---- */

/* Begins an attempt; a timer's function. */
void redis_link_retry(struct timer *timer, void *ctx);

/* Is this server new enough? False: the link failed on it, or refused it. */
bool redis_link_version_fits(struct redis_link *link, const struct redis_conn *conn);

/* Both connections are greeted: subscribes. */
void redis_link_subscribe(struct redis_link *link);

/* The attempt, or the path, is over: drops both connections, tells, and tries again later. */
void redis_link_fail(struct redis_link *link, const char *sentence);

/* Everything asked for is confirmed: the canary flies. */
void redis_link_prove(struct redis_link *link);

/* The first canary is back. */
void redis_link_came_up(struct redis_link *link);

/* ---- redis_link_in.c ---- */

/* Is this name of Redis a canary's, ours or another gateway's? */
bool redis_link_is_canary(struct span redis_channel);

/* A reply on the listening connection is whole. False: the link failed on it. */
bool redis_link_heard(struct redis_link *link, struct span reply);

/* The inbox gives a reply up. */
void redis_link_dropped(void *ctx, struct span reply);

/* Tells the consumer of drops; runs of one channel are summed until then. */
void redis_link_declare_drops(struct redis_link *link);

/* Gives messages to the consumer. True: there are more. */
bool redis_link_hand_over(struct redis_link *link);

/* ---- redis_link_out.c ---- */

/* A reply on the command connection is whole. False: the link failed on it. */
bool redis_link_answered(struct redis_link *link, struct span reply);

/* Returns 0 or -ENOMEM. */
MUST_USE int redis_link_send_canary(struct redis_link *link);

/* Nothing pending will be answered any more. */
void redis_link_fail_pending(struct redis_link *link, const char *why);

#endif
