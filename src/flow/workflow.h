/* Workflow: what a definition says, judged and compiled. Immutable once made; counted.
 *
 * A definition is JSON:
 *
 *   {"nodes":[{"id","type","config"?,"retry"?,"timeout_ms"?,"description"?}],
 *    "edges"?:[{"from","to","when"?,"max_iterations"?}],
 *    "description"?, "example_inputs"?}
 *
 * retry: {"max_attempts":1..100, "backoff_ms"?:1000, "factor"?:2, "max_backoff_ms"?:60000}; factor
 * is 1..100, the others are up to 30 days, as timeout_ms is. An edge with max_iterations
 * (1..10000) is a *loop edge*: it leads back, is taken at most so often in a row, and begins its
 * body anew. example_inputs is any JSON, for whoever offers to start it. Without its loop edges the
 * graph has no cycle. when: condition.h, or one of "else"
 * (of a node that has a condition on another edge, and not on a loop edge), "failed", "always".
 *
 * A loop's *body* are the nodes on the ways from its `to` to its `from`. It is entered at `to`
 * and left at `from` only, and two loops have neither end in common, lie apart or one within the
 * other.
 *
 * Runs anywhere; a struct workflow belongs to one thread.
 */
#ifndef FLOW_WORKFLOW_H
#define FLOW_WORKFLOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"

struct condition;

enum {
    WORKFLOW_NODES_MAX = 1000,
    WORKFLOW_EDGES_MAX = 10000,
    WORKFLOW_FAULTS_MAX = 100, /* Told; the rest is counted. */
};

enum edge_when {
    EDGE_PLAIN,     /* The node completed. */
    EDGE_CONDITION, /* … and `when` holds for its result. */
    EDGE_ELSE,      /* … and no EDGE_CONDITION of the node was taken. */
    EDGE_FAILED,    /* The node failed, for good. */
    EDGE_ALWAYS,    /* Either. */
};

struct workflow_edge {
    uint32_t from, to; /* Indexes of nodes. */
    enum edge_when when;
    struct condition *condition; /* EDGE_CONDITION (or a loop edge with one). */
    uint32_t max_iterations;     /* Not 0: a loop edge. */
    uint32_t *body;              /* Loop edge: the nodes from `to` to `from`, both included. */
    uint32_t body_count;
};

struct workflow_retry {
    uint32_t max_attempts; /* 1: no retry. */
    uint64_t backoff_ms, max_backoff_ms;
    double factor;
};

struct workflow_node {
    char *id, *type;
    json_t *config; /* An object. */
    struct workflow_retry retry;
    uint64_t timeout_ms; /* Of one attempt; 0: the type's default. */
    uint32_t *in,
        *out; /* Edges: in without loop edges, out with them, both in the order written. */
    uint32_t in_count, out_count;
    bool entry;    /* Nothing leads here (loop edges apart). */
    bool terminal; /* Nothing leads on (loop edges apart). */
};

struct workflow {
    uint32_t refs;
    char ref[FLOW_REF_LEN + 1]; /* Of its canonical definition. */
    struct workflow_node *nodes;
    struct workflow_edge *edges;
    uint32_t node_count, edge_count, entry_count;
    json_t *definition; /* As it was given. */
    /* Its own: nodes' indexes sorted by id; what nodes' in and out point into; whom each is behind. */
    uint32_t *by_id, *links;
    uint64_t *before;
};

/* Every fault with its place, e.g. `edges[2].to: there is no node "formt"; did you mean
 * "format"?`. */
struct workflow_faults {
    char *lines[WORKFLOW_FAULTS_MAX];
    uint32_t count, more_count;
};
/* Starts as all zeroes. */
void workflow_faults_fini(struct workflow_faults *faults);
void workflow_faults_add(struct workflow_faults *faults, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* What a type of node demands of its config, if anybody knows: adds faults, with `place` in front,
 * e.g. "nodes[3].config". Such a check is nodes_check() of nodes.h. */
typedef void workflow_check_fn(void *ctx, const char *place, const char *type, const json_t *config,
    struct workflow_faults *faults);

/* Judges and compiles. Returns 0 and gives the workflow (one reference), -EINVAL with at least one
 * fault, or -ENOMEM. check may be NULL. */
MUST_USE int workflow_compile(struct span text, workflow_check_fn *check, void *ctx,
    struct workflow **ret_workflow, struct workflow_faults *faults);

/* The same of a definition that was parsed already; shares it. */
MUST_USE int workflow_compile_json(json_t *definition, workflow_check_fn *check, void *ctx,
    struct workflow **ret_workflow, struct workflow_faults *faults);

struct workflow *workflow_ref(struct workflow *workflow);
void workflow_unref(struct workflow *workflow); /* NULL is fine. */

/* The node of that id, or UINT32_MAX. */
uint32_t workflow_find(const struct workflow *workflow, struct span id);

/* Is `ancestor` before `node` on some way (loop edges apart)? */
bool workflow_before(const struct workflow *workflow, uint32_t ancestor, uint32_t node);

/* Appends the IR of contracts.md 3 for one run. Beside what the contract names: a node's "retry"
 * and "timeout_ms", "edges" as in the definition, metadata.workflow_ref. Loop edges make nobody
 * dependent. Returns 0, -EILSEQ (username or tag is not UTF-8) or -ENOMEM; out keeps its content
 * on failure. */
MUST_USE int workflow_ir(
    const struct workflow *workflow, struct span username, struct span tag, struct bytes *out);

/* Compiles an IR that workflow_ir() wrote (of any version: members it does not know are passed
 * over). Returns as workflow_compile(). Nodes and edges have the indexes they had; its ref is that
 * of the definition, which is not kept whole (no description). */
MUST_USE int workflow_from_ir(struct span ir, struct workflow **ret_workflow);

#endif
