/* Nodes: the types of node that the coordinator itself can work on, and what their config may say.
 *
 *   transform  {"output"?:TEMPLATE}
 *     The template filled in; without output the payload.
 *
 *   filter     {"items"?:POINTER, "where"?:WHEN, "sort"?:{"by":POINTER,"order"?:"asc"|"desc"},
 *               "limit"?:N}
 *     {"items":[…],"count":N,"dropped":N}: those of an array (of the payload, without items) for
 *     which WHEN (condition.h) holds, then sorted, then the first N; dropped are all others. `by`
 *     goes through an item. All kinds of values sort: null, false, true, numbers, strings, the rest;
 *     items without one come last. Equal ones keep their order.
 *     Items times the parts of WHEN are at most 10 million.
 *
 *   aggregate  {"from"?:POINTER|[POINTER…], "op"?:OP, "field"?:POINTER}
 *     Of values: the items of the array that POINTER finds; or what each of at most 100 POINTERs
 *     finds; or, without from, what each predecessor that came gave. field goes through a value to
 *     what is meant; values without it, and pointers that find nothing, are skipped.
 *       collect (the default)     the array of values; without from {predecessor: value}
 *       merge                     objects into one, later members win
 *       concat                    arrays into one
 *       count sum min max avg     {"op","value","count":N,"skipped":N}, of numbers (count: of
 *                                 anything); of no values sum is 0, and min, max and avg are null
 *
 *   delay      {"ms":N|TEMPLATE}                        the payload, after a while
 *
 *   hitl       {"message":TEMPLATE, "on_reject"?:"fail"|"continue"}
 *     {"approved":bool,"by","comment"?,"data"?}
 *
 *   http       {"url":TEMPLATE, "method"?, "headers"?:{NAME:TEMPLATE}, "body"?:TEMPLATE,
 *               "expect"?:[STATUS…], "max_bytes"?}
 *     {"status","headers":{},"body"}. The method is GET, or POST with a body. A header that is
 *     filled in with null is left out. A body that is text goes as text/plain, anything else as
 *     application/json, unless Content-Type says otherwise. Expected is 2xx. The answer's body is
 *     JSON if its type says so and it is, else text, else {"base64":…}; its headers have names in
 *     lower case, at most 64 of them, and those of one name are joined with ", ".
 *
 *   fail       {"message"?:TEXT, "times"?:N}
 *     Fails, or fails N attempts and then gives its payload.
 *
 * POINTERs go through the document of template.h unless it says otherwise. agent, classifier,
 * search, function and the types named by the option flow.task_types belong to outside workers; so
 * does every other type, by way of wf.tasks.default, and their config is any object.
 *
 * Pure.
 */
#ifndef FLOW_NODES_H
#define FLOW_NODES_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "flow/ports.h"
#include "flow/workflow.h"

enum node_work {
    NODE_WORK_OUTSIDE, /* Not ours. */
    NODE_WORK_EVAL,    /* nodes_eval() does it at once. */
    NODE_WORK_DELAY,
    NODE_WORK_HUMAN,
    NODE_WORK_HTTP,
    NODE_WORK_FAIL,
};

enum {
    NODES_WHY_MAX = 300,
    NODES_QUESTION_MAX = 16384, /* Bytes of what a human is asked. */
};

struct node_type {
    const char *name; /* Also of the stream: wf.tasks.{name} */
    enum node_work work;
    uint64_t timeout_ms; /* Of an attempt, unless the node says otherwise; 0: none. */
};

/* All types with a stream of their own in the contract; ends with a NULL name. */
extern const struct node_type node_types[];

/* The stream a node's task goes to: the type itself, or "default". extra: more types that have
 * one, separated by commas; may be NULL. */
struct span node_stream(struct span type, const char *extra);
/* Its row; "default", of outside workers, for types that have none. */
const struct node_type *node_type_find(struct span type);

/* A workflow_check_fn: is config what the type wants? ctx is not used. */
void nodes_check(void *ctx, const char *place, const char *type, const json_t *config,
    struct workflow_faults *faults);

/* Faults of pointers that look at results of nodes which are not before this one. */
void nodes_check_references(const struct workflow *workflow, struct workflow_faults *faults);

/* What a node's config looks at: so much of the document must be there when it is worked on.
 * results: indexes of nodes, ascending; at most cap are written, and the number there is is
 * returned. A node that only passes its payload on (delay, fail) does not look at it. */
struct node_needs {
    bool payload, inputs;
    bool predecessors; /* All that came: of an aggregate without from. */
};
MUST_USE uint32_t nodes_needs(const struct workflow *workflow, uint32_t node,
    struct node_needs *ret_needs, uint32_t *results, uint32_t cap);

/* Works on a node of NODE_WORK_EVAL. document: template.h's; predecessors: {id: result} of those
 * that came, in the order in which they are to be merged, or NULL: none. Returns 0 and gives the
 * result, which may share parts with the document (so nobody may change any of them) and is at most
 * 64 levels deep; -EINVAL (the data is not what config expects, or the result's JSON would be more
 * than bytes_max; why is one sentence); or -ENOMEM. */
MUST_USE int nodes_eval(const struct workflow_node *node, const json_t *document,
    const json_t *predecessors, size_t bytes_max, json_t **ret_result, char why[NODES_WHY_MAX]);

/* The delay of a node, in ms, at most a year. Returns as nodes_eval(). */
MUST_USE int nodes_delay(const struct workflow_node *node, const json_t *document, uint64_t *ret_ms,
    char why[NODES_WHY_MAX]);

/* What a human is asked: text, or JSON. Appends to out. Returns as nodes_eval(). */
MUST_USE int nodes_question(const struct workflow_node *node, const json_t *document,
    struct bytes *out, char why[NODES_WHY_MAX]);
/* Does a rejection fail the node? */
bool nodes_reject_fails(const struct workflow_node *node);

/* What a `fail` node does in this attempt: true and the message, or false: gives its payload. */
bool nodes_fails(const struct workflow_node *node, uint32_t attempt, const char **ret_message);

/* An HTTP request, filled in. */
struct node_http {
    char method[16];
    struct bytes url; /* Ends with a NUL that len does not count. */
    struct bytes body;
    json_t *headers;  /* Object of strings, without line breaks. */
    size_t bytes_max; /* Of the answer's body. */
};
/* bytes_max: of the request's body, and of the answer's unless config wants less. Spaces and what
 * is not ASCII are percent-encoded in the URL. Returns as nodes_eval(); *ret_http is written only on
 * 0, and is to be freed then. */
MUST_USE int nodes_http(const struct workflow_node *node, const json_t *document, size_t bytes_max,
    struct node_http *ret_http, char why[NODES_WHY_MAX]);
void nodes_http_fini(struct node_http *http);

/* Its answer as a result. Returns 0 and gives it; -EINVAL with a sentence (there is no answer, or
 * its status is not expected), worth another attempt if *ret_again: 408, 425, 429, 5xx, and all that
 * went wrong on the way but an answer that is too large; or -ENOMEM. */
MUST_USE int nodes_http_result(const struct workflow_node *node, const struct flow_http *answer,
    json_t **ret_result, bool *ret_again, char why[NODES_WHY_MAX]);

#endif
