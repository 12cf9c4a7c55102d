/* Run: one execution of a workflow, by token counting. Pure: a state, what happens to it, and what
 * that changes.
 *
 * A token is one task of one node: emitted when the node is to be worked on, consumed when the
 * work is over. The counter is emits less consumes; the run completes when it is 0 and nothing is
 * pending.
 *
 * Nodes. Each of a node's outgoing edges is *open*, *taken* or *skipped*. When a node is over
 * (completed, failed for good, or skipped) it settles all its forward edges; a node whose incoming
 * forward edges are all settled begins if one was taken, else it is skipped itself, and settles
 * its own as skipped. So a join waits for exactly those predecessors that can still come, and a
 * branch that is not taken holds nobody up.
 *
 *   IDLE -> QUEUED -> COMPLETED | FAILED          QUEUED: its token is with the workers
 *           QUEUED -> WAITING -> …                 a delay runs, or a human is asked
 *           QUEUED | WAITING -> BACKOFF -> QUEUED  an attempt failed, the next one has its token
 * and waits
 *   IDLE -> SKIPPED
 *
 * A node that completes and has a loop edge that is taken (its `when` holds, max_iterations is not
 * reached) settles nothing else: the loop's body becomes IDLE with open edges, and `to` begins
 * again (its visit grows). Loop edges are tried in the order written, before the others; the first
 * that is taken is the only one. A failed node may have loop edges, too (when "failed" or
 * "always"). An inner loop begins to count anew whenever an outer one does, and each loop does
 * when it is left.
 *
 * A node fails for good when an attempt fails and no attempt is left (or the failure is final). If
 * then an edge with when "failed" or "always" is taken, the failure is handled: its result is
 * {"error","node_id","attempt"}. Else the run fails: everything else in flight is consumed, the
 * counter is 0. So it is when a run is cancelled.
 *
 * Tokens are named "{run_id}:{node_id}:{visit}:{attempt}", so that emitting or consuming one twice
 * is seen.
 *
 * A node's payload: at an entry node the inputs; with one incoming forward edge (or begun by a
 * loop edge) the predecessor's result; else (a join) the canonical JSON object {predecessor:
 * "sha256:…"} of those that came.
 *
 * Each function appends what it changes to `changes` and changes the run in place, which is what
 * the run will be once that commit is applied. When it is not, throw the run away and load it
 * again. Results:
 *
 *   0            it happened; the changes are to be committed
 *   -EALREADY    the token is used up, or of a visit or attempt that is past: nothing changed,
 *                take the signal off
 *   -ESHUTDOWN   the run is over: as above
 *   -EINVAL      there is no such node or token: poison. Not before it was asked of a run fresh
 *                from the store: another coordinator may have emitted that token since this copy
 *                was loaded. The first two stay true whatever happened meanwhile.
 *   -ENOMEM      the run is not to be used any more
 *
 * Several steps may go into the same changes, and so into one commit: tokens that are consumed
 * come first in it (those that it emitted itself behind their emit), all else is in the order of
 * the steps, and the last header is the right one.
 * What is refused behind a step that is not committed yet is not refused for good: ask again when
 * it is.
 */
#ifndef FLOW_RUN_H
#define FLOW_RUN_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"
#include "flow/workflow.h"

struct changes; /* changes.h */

enum run_status { RUN_RUNNING, RUN_COMPLETED, RUN_FAILED, RUN_CANCELLED };
enum node_state {
    NODE_IDLE,
    NODE_QUEUED,
    NODE_WAITING,
    NODE_BACKOFF,
    NODE_COMPLETED,
    NODE_FAILED,  /* And an edge handles it; or it is what the run failed of. */
    NODE_SKIPPED, /* Or in flight when the run failed or was cancelled. */
};
enum edge_state { EDGE_OPEN, EDGE_TAKEN, EDGE_SKIPPED };

enum {
    RUN_USER_MAX = 255,      /* Bytes of a user's name. */
    RUN_ERROR_MAX = 1000,    /* Bytes of an error's text that are kept; cut at a code point. */
    RUN_MESSAGE_MAX = 16384, /* The same of what progress and approvals say. */
    RUN_TOKENS_MAX = 100000, /* Emits of one run; past it the run fails. */
    RUN_EVENTS_MAX = 500000, /* Events of one run; past it no progress is told any more. */
    RUN_NOTES_MAX = 8,       /* Messages remembered of the furthest percent. */
};

struct run_node {
    enum node_state state;
    uint32_t visit;                  /* How often it began; 0: never. */
    uint32_t attempt;                /* Of this visit, from 1. */
    uint32_t hop;                    /* Of its token: edges from the start. */
    uint32_t from;                   /* The predecessor whose coming began it; UINT32_MAX: none. */
    uint64_t queued_ms, finished_ms; /* This visit's; 0: not yet. Unix ms. */
    uint64_t
        due_ms; /* Of its timer; 0: none. What it means is the state's: QUEUED or WAITING for a human: time-out;
                       * WAITING, delay: over; BACKOFF: the next attempt. */
    bool human; /* WAITING for a human. */
    char payload_ref[FLOW_REF_LEN + 1];
    char result_ref[FLOW_REF_LEN + 1]; /* "" : none. */
    char *error;                       /* Of the last attempt that failed; NULL: none. */
    uint8_t *edges;  /* enum edge_state of each of workflow_node.out; of loop edges: OPEN. */
    uint32_t *loops; /* Times taken in a row, of each of workflow_node.out that is a loop edge. */
    double percent;  /* Furthest progress of this attempt; negative: none. */
    uint64_t notes[RUN_NOTES_MAX]; /* Hashes of the last messages told at this percent; 0: free. */
};

struct run_scratch; /* run_own.h: what a step works with. */

struct run {
    struct workflow *workflow; /* Shared. */
    char id[FLOW_RUN_ID_MAX + 1];
    char *tag, *user;
    enum run_status status;
    uint64_t version; /* The store's: of the last commit. */
    uint64_t created_ms, finished_ms;
    uint64_t emits, consumes; /* The counter is their difference. */
    uint64_t events;          /* Recorded so far. */
    char inputs_ref[FLOW_REF_LEN + 1];
    char *error;          /* Why it failed. */
    char *by;             /* Who cancelled it. */
    uint32_t failed_node; /* UINT32_MAX: none. */
    struct run_node *nodes;
    /* The runtime's settings; it sets them after run_create() and run_restore(). */
    const char *task_types;   /* Borrowed: more types with a stream of their own; may be NULL. */
    uint64_t task_timeout_ms; /* Of outside workers' attempts, unless the node says; 0: none. */
    struct run_scratch *scratch;
};

/* What a worker said a node's result is. */
struct run_result {
    const char *ref; /* "sha256:…" */
    const json_t
        *value; /* What the ref stands for: conditions look at it. May be NULL when the node has no
                          * conditions, see run_wants_value(). */
    struct span blob; /* Its canonical text, if it is to be stored with this; empty: it is there. */
};

/* Gives a run that has not begun. Returns 0, -EINVAL (id, tag or user is empty or longer than it
 * may be, is no UTF-8, or has a NUL in it), or -ENOMEM. */
MUST_USE int run_create(struct workflow *workflow, struct span id, struct span tag,
    struct span user, struct run **ret_run);
void run_free(struct run *run); /* NULL is fine. */

/* Begins: workflow_started, a token for each entry node, node_started for each. inputs: canonical
 * JSON, stored. */
MUST_USE int run_start(
    struct run *run, struct span inputs, uint64_t now_ms, struct changes *changes);

/* Gives a run as the store has it. Returns 0, -EBADMSG (not what we wrote; why says where), or
 * -ENOMEM. */
MUST_USE int run_restore(struct workflow *workflow, const struct flow_load *load,
    struct run **ret_run, char *why, size_t why_cap);
/* What a header says without its workflow: enough for a list, and to find the workflow
 * ("workflow_ref"). Parsed JSON:
 * {"v":1,"run_id","tag","user","status","workflow_ref","inputs_ref","created_ms","finished_ms","counter","emits","consumes",
 * "events","nodes","error"?,"failed_node"?,"by"?}. */

/* The token's node if the token is in flight now: 0 and *ret_node; else as above. */
MUST_USE int run_token(const struct run *run, struct span token, uint32_t *ret_node);
/* Appends the id of the node's present token. */
MUST_USE int run_token_id(const struct run *run, uint32_t node, struct bytes *out);

/* Does an edge of this node look at its result? */
bool run_wants_value(const struct run *run, uint32_t node);

/* The task of this token is done. node_completed, then what follows of it; workflow_completed. */
MUST_USE int run_complete(struct run *run, struct span token, const struct run_result *result,
    uint64_t now_ms, struct changes *changes);

/* It failed. final: whatever attempts are left, there is no other. node_failed; then what follows.
 * */
MUST_USE int run_fail(struct run *run, struct span token, const char *error, bool final,
    uint64_t now_ms, struct changes *changes);

/* Its worker waits: until due_ms (then run_timer() says that the delay is over), or for a human
 * (human: the message is what they are asked; due_ms 0: for the node's timeout_ms, without one for
 * ever): approval_requested, the approval's record. -EALREADY also when it waits already. */
MUST_USE int run_wait(struct run *run, struct span token, bool human, struct span message,
    uint64_t due_ms, uint64_t now_ms, struct changes *changes);

/* How far it is: 0..100, or negative: not said. message may be empty. Tells of progress only: what
 * is behind the furthest percent, or was among the last RUN_NOTES_MAX told at this percent, is
 * -EALREADY; so is all of it past RUN_EVENTS_MAX. */
MUST_USE int run_progress(struct run *run, struct span token, double percent, struct span message,
    uint64_t now_ms, struct changes *changes);

enum run_due {
    RUN_DUE_NOTHING, /* Not due, or nothing waits: the store's timer is to be set right (changes may say so). */
    RUN_DUE_TIMEOUT, /* The attempt took too long: it failed, and what follows of that is in changes. */
    RUN_DUE_ATTEMPT, /* The next attempt was queued: node_started. */
    RUN_DUE_DELAY, /* The delay is over: complete the node (its payload is its result) with run_complete(). */
};
/* The node's timer. Returns 0 with what it was, or as above. */
MUST_USE int run_timer(struct run *run, uint32_t node, uint64_t now_ms, enum run_due *ret_due,
    struct changes *changes);

/* A human decided; approval: the record as JSON text. approval_decided. Then call run_complete()
 * or run_fail() with the node's token, into the same changes. -EALREADY: decided before; -EINVAL:
 * nobody is asked there. Both are to be believed of a fresh copy only: a loop may have asked again
 * since. */
MUST_USE int run_decide(struct run *run, uint32_t node, bool approved, struct span by,
    struct span approval, uint64_t now_ms, struct changes *changes);

/* workflow_cancelled. */
MUST_USE int run_cancel(struct run *run, struct span by, uint64_t now_ms, struct changes *changes);

/* For tests and run-time checks: is everything as the rules above say? NULL, or which rule is
 * broken. */
const char *run_check(const struct run *run);

const char *run_status_name(enum run_status status);
const char *node_state_name(enum node_state state);

#endif
