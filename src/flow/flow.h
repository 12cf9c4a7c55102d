/* Flow: the coordinator. Takes tasks, signals, timers and questions, decides by run.h, commits to
 * a store.
 *
 * A run is worked on by one commit at a time here; what comes meanwhile waits in its queue. Runs
 * are kept in memory while they are worked on, and a while longer; the store is the truth: when
 * its version is another, or an answer got lost, the run is loaded again and everything in its
 * queue is judged anew. So several coordinators may share a store, and any of them may stop
 * anywhere.
 *
 * Runs on the coordinator's thread. role drives it:
 *
 *   loop_poll               the store's, the HTTP client's and the mailbox's events: on_task(),
 * flow_ask() …
 *   flow_turn(now)          what can go on, goes on; commits are handed to the store
 *   the store's turn
 */
#ifndef FLOW_FLOW_H
#define FLOW_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/hist.h"
#include "flow/ports.h"

struct flow;

struct flow_options {
    /* More types with streams of their own, separated by commas; may be NULL. */
    const char *task_types;
    size_t inputs_bytes_max, result_bytes_max; /* Of canonical JSON. */
    /* Of an outside worker's attempt, unless its node says otherwise; 0: none. */
    uint64_t task_timeout_ms;
    uint32_t runs_max;        /* Kept in memory when nothing waits for them … */
    size_t runs_bytes_max;    /* … and about how much memory they may take. */
    uint64_t cache_bytes_max; /* Of results kept in memory. */
    uint64_t seed;            /* For ids. */
};

/* What role must bring along; shared, and must outlive the flow. */
struct flow_needs {
    const struct flow_store *store;
    const struct flow_http_client *http; /* NULL: http nodes fail. */
    uint64_t (*clock_us)(void);          /* Monotonic, for step_us; NULL: it is not measured. */
};

/* Gives a flow. Its part for the store is flow_events_in(). */
MUST_USE int flow_create(
    const struct flow_options *options, const struct flow_needs *needs, struct flow **ret_flow);
/* The store is shut and has answered everything. */
void flow_destroy(struct flow *flow);
struct flow_events_in flow_events_in(struct flow *flow);

/* Once a turn. Returns how many ms it may wait for the next one if nothing else happens. */
uint64_t flow_turn(struct flow *flow, uint64_t now_ms);

/* No work is begun from now on: tasks and signals are left to others. flow_idle(): nothing is
 * under way any more. */
void flow_drain(struct flow *flow);
bool flow_idle(const struct flow *flow);

/* ---- questions: the HTTP API, contracts.md 3 ---- */

enum flow_question {
    FLOW_ASK_START,  /* name: a tag, or empty: it is in the body. body: {"tag"?,"inputs"?}. user. */
    FLOW_ASK_RUN,    /* name: a run's id */
    FLOW_ASK_EVENTS, /* name; since, limit; tag: If-None-Match */
    FLOW_ASK_RUNS,   /* status, tag, filter_user, after, limit */
    FLOW_ASK_CANCEL, /* name; user */
    FLOW_ASK_APPROVAL,  /* body: {"run_id","node_id","approved","comment"?,"data"?}; user */
    FLOW_ASK_RESULT,    /* name: a reference */
    FLOW_ASK_WORKFLOWS, /* all of them */
    FLOW_ASK_WORKFLOW,  /* name: a tag */
    FLOW_ASK_PUT,       /* name: a tag; body: a definition */
    FLOW_ASK_DELETE,    /* name: a tag */
};

/* One question. The caller owns it until done() comes, once, on the coordinator's thread. */
struct flow_ask {
    void (*done)(struct flow_ask *ask);
    void *owner;
    enum flow_question what;
    struct span name, user, body, status, tag, filter_user, after;
    uint64_t since, limit; /* limit 0: the default. */
    /* The answer. code 304: no body; 404 of FLOW_ASK_EVENTS for a run that is not known: unknown_run is true, so
     * that a gateway may look into its own history. */
    int code;
    bool unknown_run;
    struct bytes reply; /* JSON; the flow fills it, the caller frees it. */
    char etag[160];     /* "" : none. */
    struct flow_ask *next;
};

void flow_ask(struct flow *flow, struct flow_ask *ask);

/* ---- how it is ---- */

struct flow_stats {
    bool up; /* The store can be used. */
    char why[256];
    uint64_t runs_started, runs_completed, runs_failed, runs_cancelled;
    uint64_t nodes_completed, nodes_failed, nodes_retried;
    uint64_t tokens_emitted, tokens_consumed;
    uint64_t signals, signals_stale, signals_dead;
    uint64_t tasks, tasks_stale, tasks_dead;
    uint64_t commits, conflicts, commit_failed;
    uint64_t events;
    uint32_t runs_cached, runs_busy;
    uint64_t cache_bytes;
    struct hist step_us; /* From a task's or signal's coming to its commit's answer. */
};

void flow_stats(const struct flow *flow, struct flow_stats *ret_stats);

#endif
