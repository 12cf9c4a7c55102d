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

    /* Shared history: redis_link_script.c, redis_link_twin.c. */
    char sha[REDIS_SCRIPTS][41];
    struct redis_command *held_first, *held_last; /* Wait until the scripts are loaded again. */
    size_t held_bytes;
    uint32_t calls; /* Of scripts, unanswered. */
    bool reloading; /* Redis has forgotten a script. */
    struct hash_key twin_key;
    struct redis_name twin_channel; /* The message after the one just taken may be its twin. */
    uint64_t twin_hash;
    size_t twin_len;
    bool twin_due;

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

/* This server (its version, its access list) can never serve us: at the first connection that is said
 * and nothing more is tried, later it is an outage. */
void redis_link_unfit(struct redis_link *link, const char *sentence);

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

/* ---- redis_link_twin.c ---- */

extern const char redis_history_pattern[];

/* The channel and the bare payload of a message on one of our history's channels. Returns 0, -ENOENT
 * (another channel), or -EINVAL. */
MUST_USE int redis_link_numbered(struct redis_link *link, struct span redis_channel,
    struct span message, struct redis_name *ret_channel, struct redis_cursor *ret_cursor,
    struct span *ret_payload);

/* Gives the bare name of a channel that Redis calls so: of one of our history's channels the other name
 * under which it is subscribed, else the name itself. */
struct span redis_link_bare_name(
    struct redis_link *link, struct span redis_channel, struct redis_name *ret_name);

/* Such a message was taken: the next one may be its twin. */
void redis_link_expect_twin(struct redis_link *link, struct span channel, struct span payload);

/* A message was taken that is no such one. True: it is the twin. payload: bare. */
MUST_USE bool redis_link_is_twin(struct redis_link *link, struct span channel, struct span payload);

/* ---- redis_link_script.c ---- */

/* Loads the scripts, and sees whether they may be called. Returns 0 or -ENOMEM. */
MUST_USE int redis_link_load_scripts(struct redis_link *link);

/* A reply to what is not a plain publication. False: the link failed on it. */
bool redis_link_script_answered(
    struct redis_link *link, const struct redis_asked *asked, struct span reply);

/* It will not be answered any more. */
void redis_link_fail_call(
    struct redis_link *link, const struct redis_asked *asked, const char *why);
void redis_link_fail_held(struct redis_link *link, const char *why);

/* Nobody is told any more. */
void redis_link_free_calls(struct redis_link *link);

/* ---- redis_link_out.c ---- */

/* PUBLISH, or SPUBLISH in sharded mode. */
const char *redis_link_verb(const struct redis_link *link);

/* What travels in Redis on the bare channel: the payload itself, or a room's envelope around it.
 * Returns 0, -EINVAL or -ENOMEM; it is valid until the next call. */
MUST_USE int redis_link_wrap(struct redis_link *link, struct span channel, struct span from,
    enum redis_map_kind kind, struct span *payload);

/* A reply on the command connection is whole. False: the link failed on it. */
bool redis_link_answered(struct redis_link *link, struct span reply);

/* Returns 0 or -ENOMEM. */
MUST_USE int redis_link_send_canary(struct redis_link *link);

/* Nothing pending will be answered any more. */
void redis_link_fail_pending(struct redis_link *link, const char *why);

#endif
