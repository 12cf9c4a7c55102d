/* What the files of the runtime share. See flow.h for what it is and flow_live.c for its shape. */
#ifndef FLOW_FLOW_OWN_H
#define FLOW_FLOW_OWN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/table.h"
#include "flow/changes.h"
#include "flow/flow.h"
#include "flow/nodes.h"
#include "flow/run.h"
#include "flow/workflow.h"

struct live;

enum {
    FLOW_WHY_MAX = 400,
    FLOW_RETRY_MS = 250, /* After the store failed; it doubles … */
    FLOW_RETRY_MAX_MS = 8000,
};

/* One thing that happens to a run. */
enum item_kind { ITEM_START, ITEM_TASK, ITEM_SIGNAL, ITEM_TIMER, ITEM_CANCEL, ITEM_APPROVAL };

/* What came of work that takes longer than a step. */
enum outcome { OUTCOME_NONE, OUTCOME_RESULT, OUTCOME_FAILED, OUTCOME_FINAL };

struct item {
    struct item *next;
    struct flow *flow;
    struct live *live;
    enum item_kind kind;
    uint64_t seq; /* When it came, by flow->seq. */
    uint64_t since_us;
    uint32_t tries; /* Commits with it that were refused. */
    /* Where it came from, and is answered to; at most one is set. */
    struct flow_task *task;
    struct flow_signal *signal;
    struct flow_ask *ask;
    char *token;         /* Task, signal: the token's id. */
    char *node;          /* Timer, approval: the node's. */
    json_t *message;     /* Signal, approval: what it says. */
    struct run *fresh;   /* Start: the run that is to begin … */
    struct bytes inputs; /* … and its inputs, canonical. */
    /* Values it has gathered, by reference; what it waits for. */
    json_t *held;
    struct flow_get *get;
    bool gone;              /* The last reference asked for is not there: why. */
    struct work_http *http; /* Under way. */
    uint32_t work_node;     /* Of whom. */
    enum outcome outcome;
    json_t *result;
    char why[FLOW_WHY_MAX];
};

struct item_queue {
    struct item *first, *last;
};

enum live_state {
    LIVE_COLD, /* Nothing is known of the run. */
    LIVE_LOADING,
    LIVE_WARM,       /* It is in memory. */
    LIVE_COMMITTING, /* What it would be is in memory. */
    LIVE_PAUSED,     /* The store failed: again later. */
};

/* A run that is worked on here, or was lately. */
struct live {
    struct table_item item;     /* First. */
    struct live *newer, *older; /* In flow->idle, when nothing waits for it. */
    struct live *ready_next;
    bool idle, ready;
    size_t idle_bytes; /* About what it takes, while it is idle. */
    bool unreadable;   /* What the store has of it is not what was written: nobody can go on. */
    bool singly;       /* A commit of several items was refused: one at a time. */
    enum live_state state;
    uint64_t known_seq; /* What is in memory was true when this many items had come. */
    uint64_t retry_ms;  /* PAUSED. */
    uint32_t failures;  /* Of the store, in a row. */
    struct run *run;
    struct workflow *workflow; /* The run's; kept when the run is let go of. */
    struct item_queue waiting, committing;
    uint32_t parked;      /* Items that gather values, or wait for HTTP … */
    struct item *on_http; /* … the latter, by next. */
    struct changes changes;
    struct flow_commit commit;
    struct flow_load load;
    size_t id_len;
    char id[FLOW_RUN_ID_MAX + 1];
    struct flow *flow;
};

/* A value by its reference. */
struct kept {
    struct table_item item; /* First. */
    struct kept *newer, *older;
    json_t *value;
    size_t size;
    char ref[FLOW_REF_LEN + 1];
};

/* A workflow by its tag, as the shelf had it last. */
struct tagged {
    struct table_item item; /* First. */
    struct workflow *workflow;
    char *tag;
    struct bytes body;
};

struct flow {
    struct flow_options options;
    const struct flow_store *store;
    const struct flow_http_client *http;
    uint64_t (*clock_us)(void);
    uint64_t now_ms;
    uint64_t seq;
    bool up, draining;
    struct hash_key hash_key;
    struct rng rng;
    uint64_t id_ms; /* Of the last id that was made, and its number within the ms. */
    uint32_t id_count;
    struct table runs;
    struct live *idle_oldest, *idle_newest;
    uint32_t idle_count;
    size_t idle_bytes;
    struct live *ready_first, *ready_last;
    uint32_t paused;    /* Runs in LIVE_PAUSED. */
    uint64_t wake_ms;   /* When the first of them is due. */
    uint32_t under_way; /* Items, questions and errands that are not answered. */
    struct flow_ask *asks_first, *asks_last; /* Not looked at yet. */
    struct table values;
    struct kept *oldest, *newest;
    struct table tags;
    uint32_t *scratch_nodes; /* WORKFLOW_NODES_MAX of them. */
    struct bytes text;
    struct log_burst dead_burst;
    struct log_limit full_limit;
    struct flow_stats stats;
};

/* ---- flow_live.c ---- */

/* It has its turn in this flow_turn(), or the next. */
void live_ready(struct live *live);
void live_turn(struct live *live);
void lives_fini(struct flow *flow);

/* Gives an item of a run; NULL without memory. */
MUST_USE struct item *item_new(struct flow *flow, enum item_kind kind);
/* Puts it into the queue of its run. Takes it. False: no memory (it is still the caller's). */
MUST_USE bool item_send(struct item *item, struct span run_id);
/* Does a timer of the node wait already? */
bool item_timer_waits(struct flow *flow, struct span run_id, struct span node);
/* It waited for something that has come. */
void item_resume(struct item *item);
/* It is over: hands back what it came with. err: 0, or what it came to; why may be NULL. */
void item_finish(struct item *item, enum flow_release how, const char *why);
void item_free(struct item *item);
/* The store failed its run: no step for a while, if there is none under way. */
void live_pause(struct live *live);

/* ---- flow_count.c ---- */

void count_changes(struct flow *flow, const struct changes *changes);

/* ---- flow_step.c: what an item does to its run ---- */

enum step {
    STEP_CHANGED, /* Its changes are in live->changes. */
    STEP_PARKED,  /* It waits for something; item_resume(). */
    STEP_OVER,    /* It is finished, and freed. */
    STEP_RELOAD, /* What is in memory may be out of date, or not stored yet: commit, or load, and ask again. */
    STEP_FAILED, /* No memory: the run in memory is not to be used. */
};
enum step item_step(struct live *live, struct item *item);

/* ---- flow_work.c: tasks of our own ---- */

enum step work_task(struct live *live, struct item *item, uint32_t node);
/* The run is over: nobody waits for its requests any more. */
void work_end_http(struct live *live);
/* A result of the token's node: stores it, and completes; takes value. */
enum step work_complete(struct live *live, struct item *item, json_t *value);
/* The delay of a node is over: completes it with its payload. */
enum step work_delay_over(struct live *live, struct item *item, uint32_t node);
/* item->token is the one the node has in flight. False: no memory. */
MUST_USE bool work_token(struct live *live, struct item *item, uint32_t node);
/* The result of a code of run.h. */
enum step work_verdict(struct live *live, struct item *item, int err);
/* Makes sure that the item holds a value: 1 it does; 0 it is being fetched, the step is STEP_PARKED; -ENOENT it
 * cannot be had (item->why); -ENOMEM. */
int work_need(struct live *live, struct item *item, const char *ref);

/* ---- flow_values.c ---- */

/* The value, borrowed until the next call, or NULL. */
json_t *values_find(struct flow *flow, const char *ref);
/* Shares value. Fine without memory. */
void values_keep(struct flow *flow, const char *ref, json_t *value, size_t size);
void values_fini(struct flow *flow);

/* ---- flow_ids.c ---- */

/* A UUIDv7. */
void flow_make_id(struct flow *flow, char out[37]);

/* ---- flow_in.c: what the store hands out ---- */

void in_task(void *ctx, struct flow_task *task);
void in_signal(void *ctx, struct flow_signal *signal);
void in_timer(void *ctx, struct span run_id, struct span node);
/* Poison: to wf.dead, and a line in the log. */
void in_dead_task(struct flow *flow, struct flow_task *task, const char *why);
void in_dead_signal(struct flow *flow, struct flow_signal *signal, const char *why);

/* ---- flow_start.c: from a tag to a run ---- */

/* Begins a run for a question or a run request; takes neither, answers both. */
void start_begin(struct flow *flow, struct flow_ask *ask, struct flow_signal *signal);
/* The workflow of a definition as it is on the shelf: shared, until the next call. Returns 0, or -EINVAL or
 * -ENOMEM with a sentence in why. */
MUST_USE int start_workflow(struct flow *flow, struct span tag, struct span body,
    struct workflow **ret_workflow, char *why, size_t why_cap);
void start_fini(struct flow *flow);
/* Judges a definition in full. */
MUST_USE int start_compile(
    json_t *definition, struct workflow **ret_workflow, struct workflow_faults *faults);

/* A question, or a run request, on its way to the store. */
struct errand {
    struct flow *flow;
    struct flow_ask *ask;       /* Either … */
    struct flow_signal *signal; /* … or. */
    json_t *message;            /* What was sent along. */
    char *tag, *user;
    char run_id[FLOW_RUN_ID_MAX + 1];
    char *node;
    char key[FLOW_RUN_ID_MAX + FLOW_NODE_ID_MAX + 80];
    struct bytes body;
    union {
        struct flow_shelf shelf;
        struct flow_events events;
        struct flow_list list;
        struct flow_get get;
        struct flow_load load;
    };
};
MUST_USE struct errand *errand_new(
    struct flow *flow, struct flow_ask *ask, struct flow_signal *signal);
void errand_free(struct errand *errand);

/* ---- flow_ask.c, flow_reply.c ---- */

void ask_begin(struct flow *flow, struct flow_ask *ask);
/* A question about workflows; takes the errand. */
void ask_shelf(struct flow *flow, struct errand *errand);
/* Answers: an error, or what reply holds. */
void ask_error(
    struct flow *flow, struct flow_ask *ask, int code, const char *word, const char *text);
void ask_store_error(struct flow *flow, struct flow_ask *ask, int err);
void ask_done(struct flow *flow, struct flow_ask *ask, int code);
/* Takes body and answers with it. */
void ask_reply(struct flow *flow, struct flow_ask *ask, int code, json_t *body);
/* An item that came with a question is over: err of run.h. */
void ask_item_over(struct flow *flow, struct item *item, int err);
void ask_item_done(struct flow *flow, struct item *item);

json_t *reply_run(const struct run *run, uint64_t now_ms);
json_t *reply_run_row(struct span header, uint64_t now_ms);
json_t *reply_started(const struct run *run);

static inline uint64_t flow_hash(const struct flow *flow, const void *data, size_t len)
{
    return hash_bytes(&flow->hash_key, data, len);
}

#endif
