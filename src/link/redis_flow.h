/* Redis flow: the coordinator's store of runs on Redis (flow/ports.h), in the layout of contracts.md
 * 3, so that workers in any language may join and many coordinators may share one Redis.
 *
 * A commit is one call of one script. What an op becomes:
 *
 *   OPEN      run:started:{run} (NX, 24 h), run:{run} user, tag, created, status; ir:{run} (24 h);
 *             wf.runs and wf.runs.running, sorted sets by creation
 *   CONSUME   applied:{run} gets consume:{token}
 *   EMIT      applied:{run} gets emit:{token}; a token that was emitted before is not queued again
 *   QUEUE     wf.tasks.{type} gets an entry with the field token; entries:{run} remembers it by node
 *   UNQUEUE   the entry is acknowledged and deleted
 *   HEADER    run:{run} header; counter:{run}
 *   NODE      nodes:{run} {node}          OUTPUT    context:{run} {node}:output
 *   ARRIVE    pending_tokens:{run}:{node} JOINED    it is deleted
 *   BLOB      cas:sha256:{hex}            APPROVAL  hitl:approval:{run}:{node}
 *   TIMER     wf.timers, a sorted set of {run}:{node} by Unix ms
 *   EVENT     events:{run}, a list; published on user:{user} as fanout_publish does
 *   SIGNAL    removed from completion_signals:{coordinator}
 *   CLOSE     run:{run} status, the indexes, wf.runs.finished; all keys of the run expire
 *
 * run:{run} version counts commits. While a run lives, what of it could expire is renewed by a slow
 * sweep; after its retention it leaves the indexes, too. Definitions are in the hash wf.workflows,
 * by tag; what cannot be read goes to the stream wf.dead.
 *
 * Work is handed out by consumer groups, signals by a list of our own. A coordinator says that it
 * lives in the sorted set wf.coordinators, by Redis's clock; one that is silent for long is dead, and
 * whoever sees that first takes over what it had. It may yet come back: whatever it still does is
 * judged by the run's version, or removes what is done.
 *
 * Runs on the loop's thread. A connection for commands, one for signals, one for run requests, one
 * for each type that is worked on here: what blocks, blocks alone. When one of them breaks, all are
 * made anew, after a pause that grows.
 */
#ifndef LINK_REDIS_FLOW_H
#define LINK_REDIS_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "flow/ports.h"
#include "link/redis_options.h"

struct loop;
struct redis_flow;

enum { REDIS_FLOW_NAME_MAX = 64, REDIS_FLOW_TYPES_MAX = 100 };

/* A type of task with a stream of its own. */
struct redis_flow_type {
    const char *name;
    bool work; /* This process works on it. */
};

/* Plain data; strings are borrowed by redis_flow_create(). */
struct redis_flow_options {
    const char *name; /* The coordinator's: its consumers', and its list's. [A-Za-z0-9_.-] */
    const struct redis_flow_type *types; /* Others go to wf.tasks.default, which there always is. */
    size_t type_count;
    uint64_t retention_ms;      /* Of a run that is over, and of its results. */
    uint32_t tasks_max;         /* Handed out and not released. */
    uint32_t type_tasks_max;    /* … and of each type: a slow one leaves room for others. */
    uint32_t signals_max;       /* As above; run requests are counted by themselves. */
    uint32_t later_ms;          /* FLOW_LATER comes again after so long. */
    uint32_t beat_ms;           /* We say that we live so often. */
    uint32_t dead_ms;           /* A coordinator silent for so long is dead; at least 4 beats. */
    uint32_t answer_timeout_ms; /* Redis owes an answer for so long: the connection is broken. */
    size_t unanswered_bytes;    /* Sent to Redis and not answered; what is beyond waits. */
    const char *history_limits; /* Of user:{user}, "messages bytes age_ms"; NULL: as it is. */
    bool sharded;               /* Events are published by SPUBLISH. */
};

/* Nothing to work on; a day of retention. */
struct redis_flow_options redis_flow_options_default(void);

/* Gives a store. Of redis only the address, the credentials, TLS, times and buffer_bytes count.
 * Returns 0, or -EINVAL or another negative errno with a sentence in err. Both kinds of the loop are
 * this store's alone. */
MUST_USE int redis_flow_create(struct loop *loop, uint8_t socket_kind, uint8_t resolve_kind,
    const struct redis_options *redis, const struct redis_flow_options *options,
    struct redis_flow **ret_flow, char *err, size_t err_cap);

/* Connects; `in` hears of everything from now on, on_state() first. */
void redis_flow_start(struct redis_flow *flow, const struct flow_events_in *in);

/* The port; valid until redis_flow_destroy(). */
struct flow_store redis_flow_store(struct redis_flow *flow);

/* Sends what the turn brought. Once a turn, behind everything else. */
void redis_flow_turn(struct redis_flow *flow);

/* Nothing is handed out any more: what comes is left to others. */
void redis_flow_drain(struct redis_flow *flow);

/* Leaves: what is still ours is for the others to take at once. True: that is said, or cannot be.
 * To be called once a turn until it is true; requests are answered meanwhile. */
bool redis_flow_leave(struct redis_flow *flow);

/* Closes the connections and answers all that is unanswered (-ENOTCONN). From now on every request
 * is answered so at once; tasks and signals may still be released. */
void redis_flow_shut(struct redis_flow *flow);

/* Shut, and everything was released or never will be. NULL is fine. */
void redis_flow_destroy(struct redis_flow *flow);

struct redis_flow_stats {
    uint64_t commits, stale, refused; /* Answered so; refused: any other error. */
    uint64_t reloads;                 /* Redis had forgotten a script. */
    uint64_t reconnects;
    uint64_t tasks, tasks_again, signals, requests, dead; /* Handed out; sent to wf.dead. */
    uint64_t reclaimed; /* Coordinators whose work we took over. */
    uint32_t unanswered;
    uint32_t tasks_under_way, signals_under_way;
};
struct redis_flow_stats redis_flow_stats(const struct redis_flow *flow);

#endif
