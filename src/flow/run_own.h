/* What the files of run.h share: one step of a run, from its first change to its ops.
 *
 * A step changes the run first, and adds what tokens, blobs and joins it needs as it goes; then
 * step_records() adds the records of all nodes it touched, their timers and the header; then come
 * the events, and step_end(). An error sticks to the step, and the rest of it does nothing.
 */
#ifndef FLOW_RUN_OWN_H
#define FLOW_RUN_OWN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/run.h"

enum { RUN_NONE = UINT32_MAX };

/* Lives with the run, so that a step allocates nothing but what it says. */
struct run_scratch {
    struct bytes text; /* What is being written. */
    uint8_t *marks;    /* A node each: MARK_… */
    uint32_t *touched; /* Nodes whose record changed, in that order. */
    uint32_t *begun;   /* Nodes that begin, in that order. */
    uint32_t *work;    /* Nodes that are over and have to settle. */
    uint8_t *edges;    /* Memory of run_node.edges … */
    uint32_t *loops;   /* … and of run_node.loops, of all nodes. */
    uint32_t *slots;   /* Where in edges an edge of the workflow is. */
    uint32_t touched_count, begun_count;
};

struct run_step {
    struct run *run;
    struct changes *changes;
    uint64_t now_ms;
    uint32_t consume_at; /* Where the next FLOW_CONSUME goes: they come first. */
    uint32_t header_at;  /* Of the header, which is filled in when the events are counted. */
    int err;
    bool looped; /* A loop edge was taken, and this is what it carries. */
    char loop_ref[FLOW_REF_LEN + 1];
};

/* run_step.c */
void step_open(struct run_step *step, struct run *run, struct changes *changes, uint64_t now_ms);
void step_op(struct run_step *step, const struct flow_op *op);
void step_touch(struct run_step *step, uint32_t node);
/* The node's timer from now on; 0: none. */
void step_due(struct run_step *step, uint32_t node, uint64_t due_ms);
/* The node's present token is used up, or comes to be. */
void step_consume(struct run_step *step, uint32_t node);
void step_emit(struct run_step *step, uint32_t node);
/* Its task goes to the workers, or nobody is to work on it any more. */
void step_queue(struct run_step *step, uint32_t node);
/* The same when it is to be worked on from now: its state, and its time-out. */
void step_enqueue(struct run_step *step, uint32_t node);
void step_unqueue(struct run_step *step, uint32_t node);
/* A human who was asked and did not answer is not asked any more. */
void step_unask(struct run_step *step, uint32_t node);
/* The next visit of a node. payload_ref is copied. */
void step_begin(struct run_step *step, uint32_t node, uint32_t from, const char *payload_ref);
void step_records(struct run_step *step);
/* Fills in the header. Returns the step's error. */
MUST_USE int step_end(struct run_step *step);

/* The run ends: everything in flight is consumed, every join is void. */
void step_stop(struct run_step *step);

/* run_edges.c: the node is over. Its forward edges settle, or a loop edge is taken; the nodes that
 * are to begin because of it are in scratch->begun, and their from is set. value: its result, when
 * it completed. */
void edges_settle(struct run_step *step, uint32_t node, const json_t *value);
/* Would an edge handle the failure of this node? */
bool edges_handle(const struct run *run, uint32_t node);
/* Begins what edges_settle() found. */
void edges_begin(struct run_step *step);
/* FLOW_ARRIVE and FLOW_JOINED of it. */
void edges_joins(struct run_step *step, uint32_t node);

/* run_complete.c: run_fail() of a node in flight. Returns as it does. */
MUST_USE int run_fail_node(struct run *run, uint32_t node, const char *error, bool final,
    uint64_t now_ms, struct changes *changes);

/* An attempt that failed, when the node itself may be further already. */
struct run_told {
    uint32_t attempt;
    const char *error; /* Clean. */
};

/* run_event.c: each adds one event. */
void event_started(struct run_step *step);
void event_node_started(struct run_step *step, uint32_t node);
void event_node_completed(
    struct run_step *step, uint32_t node, const char *result_ref, uint64_t counter);
void event_node_failed(
    struct run_step *step, uint32_t node, const struct run_told *told, bool will_retry);
void event_progress(struct run_step *step, uint32_t node, double percent, struct span message);
void event_approval_requested(struct run_step *step, uint32_t node, struct span message);
void event_approval_decided(struct run_step *step, uint32_t node, bool approved, struct span by);
/* By the run's status: workflow_completed, workflow_failed or workflow_cancelled; and FLOW_CLOSE. */
void event_over(struct run_step *step);

/* run_record.c */
MUST_USE int record_header(const struct run *run, struct bytes *out);
MUST_USE int record_node(const struct run *run, uint32_t node, struct bytes *out);
MUST_USE int record_token(const struct run *run, uint32_t node, struct bytes *out);
MUST_USE int record_approval(
    const struct run *run, uint32_t node, struct span message, uint64_t now_ms, struct bytes *out);

/* run_text.c: text of somebody else's, as text of ours: UTF-8 without NUL, what is none replaced,
 * cut at a character so that it has at most max bytes. */
MUST_USE int text_append_clean(struct bytes *out, struct span text, size_t max);
/* Gives it as a string; NULL without memory. */
MUST_USE char *text_clean(struct span text, size_t max);
/* Appends it as a JSON string. */
MUST_USE int text_append_json(struct bytes *out, struct span text, size_t max);

/* JSON of ours, piece by piece; an error sticks. printf() took more than half the time of a step. */
struct run_writer {
    struct bytes *out;
    int err;
};
static inline void put_raw(struct run_writer *w, const char *text)
{
    if (!w->err) {
        w->err = bytes_append_str(w->out, text);
    }
}
void put_digits(struct run_writer *w, uint64_t value);
/* ,"name":value */
void put_number(struct run_writer *w, const char *name, uint64_t value);
void put_text(struct run_writer *w, const char *name, const char *text); /* UTF-8. */
void put_clean(struct run_writer *w, const char *name, struct span text, size_t max);

/* How long the node's attempt may be with the workers; 0: for ever. */
uint64_t run_timeout_ms(const struct run *run, uint32_t node);

static inline bool node_in_flight(enum node_state state)
{
    return state == NODE_QUEUED || state == NODE_WAITING || state == NODE_BACKOFF;
}

static inline bool node_over(enum node_state state)
{
    return state == NODE_COMPLETED || state == NODE_FAILED || state == NODE_SKIPPED;
}

static inline enum edge_state edge_state(const struct run *run, uint32_t edge)
{
    return (enum edge_state)run->scratch->edges[run->scratch->slots[edge]];
}

static inline const struct workflow_node *run_workflow_node(const struct run *run, uint32_t node)
{
    return &run->workflow->nodes[node];
}

#endif
