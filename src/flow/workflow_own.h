/* Workflow: what its files share while one is made.
 *
 * A fault does not end the judging: what is wrong is left out (an edge without its nodes has
 * UINT32_MAX in their place), and the rest is judged as far as it makes sense.
 */
#ifndef FLOW_WORKFLOW_OWN_H
#define FLOW_WORKFLOW_OWN_H

#include "flow/workflow.h"

enum {
    QUOTE_MAX = 64,        /* Bytes of a peer's text that a fault repeats. */
    SUGGESTIONS_MAX = 2000 /* Names compared, one definition: each may cost 10 us. */
};

struct draft {
    struct workflow *workflow;
    struct workflow_faults *faults;
    workflow_check_fn *check; /* May be NULL. */
    void *check_ctx;
    uint32_t suggestions; /* Names compared so far. */
    bool no_memory;
};

/* Reads nodes and edges, and all that can be wrong with one of them alone: workflow_parse.c */
void workflow_parse(struct draft *draft);
/* One edge, behind all nodes: workflow_edge.c */
void workflow_parse_edges(struct draft *draft, const json_t *edges);

/* Links nodes and edges; judges cycles, ways and loops: workflow_graph.c, workflow_loop.c */
void workflow_link(struct draft *draft);
void workflow_judge_loops(struct draft *draft);

/* Does a loop's body hold the node? The graph is linked, and `to` leads to `from`. */
bool workflow_in_body(
    const struct workflow *workflow, const struct workflow_edge *loop, uint32_t node);

/* ---- what a fault says ---- */

/* Text of a peer, fit for a sentence: cut, and without control bytes. */
struct quote {
    char text[QUOTE_MAX + 8];
};
struct quote workflow_quote(const char *text, size_t len);
/* What a value is, e.g. `is "abc"`, `is an array`; NULL: `missing`. */
struct quote workflow_is(const json_t *value);

/* Faults for members of object that nobody knows; names end with NULL. */
void workflow_check_members(
    struct draft *draft, const char *place, const json_t *object, const char *const *names);

/* A whole number from min to max, or a fault that says so; value NULL is one, too. */
bool workflow_number(struct draft *draft, const char *place, const json_t *value, uint64_t min,
    uint64_t max, uint64_t *ret_number);

/* Is it a string of 1 to max characters out of these? Else a fault. `classes` is their name. */
bool workflow_word(struct draft *draft, const char *place, const json_t *value, const char *chars,
    size_t max, const char *classes);

#endif
