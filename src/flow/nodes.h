/* Nodes: the types of node that the coordinator itself can work on, and what their config may say.
 *
 *   transform  {"output":TEMPLATE}                      the template filled in; without output:
 * the payload
 *   filter
 * {"items":POINTER,"where"?:WHEN,"sort"?:{"by":POINTER,"order"?:"asc"|"desc"},"limit"?:N}
 *                                                       {"items":[…],"count":N,"dropped":N}
 *   aggregate
 * {"from"?:POINTER|[POINTER…],"op"?:"collect"|"merge"|"concat"|"count"|"sum"|"min"|"max"|"avg",
 *               "field"?:POINTER}                       without from: of all that the node's
 * predecessors gave
 *   delay      {"ms":N|TEMPLATE}                        the payload, after a while
 *   hitl       {"message":TEMPLATE,"on_reject"?:"fail"|"continue"}
 *                                                       {"approved":bool,"by","comment"?,"data"?}
 *   http
 * {"url":TEMPLATE,"method"?,"headers"?:{NAME:TEMPLATE},"body"?:TEMPLATE,"expect"?:[STATUS…],
 *               "max_bytes"?}                           {"status","headers":{},"body":JSON or text}
 *   fail       {"message"?:TEXT,"times"?:N}             fails, or fails N attempts and then gives
 * its payload
 *
 * POINTERs go through the document of template.h. agent, classifier, search, function and the
 * types named by the option flow.task_types belong to outside workers; so does every other type,
 * by way of wf.tasks.default.
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
#include "flow/workflow.h"

enum node_work {
    NODE_WORK_OUTSIDE, /* Not ours. */
    NODE_WORK_EVAL,    /* nodes_eval() does it at once. */
    NODE_WORK_DELAY,
    NODE_WORK_HUMAN,
    NODE_WORK_HTTP,
    NODE_WORK_FAIL,
};

enum { NODES_WHY_MAX = 300 };

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
/* Its row, or that of outside workers' types. */
const struct node_type *node_type_find(struct span type);

/* A workflow_check_fn: is config what the type wants? ctx is not used. */
void nodes_check(void *ctx, const char *place, const char *type, const json_t *config,
    struct workflow_faults *faults);

/* Faults of pointers that look at results of nodes which are not before this one. */
void nodes_check_references(const struct workflow *workflow, struct workflow_faults *faults);

/* What a node's config looks at. results: indexes of nodes, at most cap; the number there is is
 * returned. */
struct node_needs {
    bool payload, inputs;
    bool predecessors; /* All that came: of an aggregate without from. */
};
MUST_USE uint32_t nodes_needs(const struct workflow *workflow, uint32_t node,
    struct node_needs *ret_needs, uint32_t *results, uint32_t cap);

/* Works on a node of NODE_WORK_EVAL. document: template.h's; predecessors: {id: result} of those
 * that came, or NULL. Returns 0 and gives the result; -EINVAL (the data is not what config
 * expects; why is one sentence); or -ENOMEM. */
MUST_USE int nodes_eval(const struct workflow_node *node, const json_t *document,
    const json_t *predecessors, size_t bytes_max, json_t **ret_result, char why[NODES_WHY_MAX]);

/* The delay of a node, in ms, at most a year. */
MUST_USE int nodes_delay(const struct workflow_node *node, const json_t *document, uint64_t *ret_ms,
    char why[NODES_WHY_MAX]);

/* What a human is asked. Appends to out. */
MUST_USE int nodes_question(const struct workflow_node *node, const json_t *document,
    struct bytes *out, char why[NODES_WHY_MAX]);
/* Does a rejection fail the node? */
bool nodes_reject_fails(const struct workflow_node *node);

/* What a `fail` node does in this attempt: true and the message, or false: gives its payload. */
bool nodes_fails(const struct workflow_node *node, uint32_t attempt, const char **ret_message);

/* An HTTP request, filled in. */
struct node_http {
    char method[16];
    struct bytes url, body;
    json_t *headers; /* Object of strings; NULL: none. */
    size_t bytes_max;
};
MUST_USE int nodes_http(const struct workflow_node *node, const json_t *document, size_t bytes_max,
    struct node_http *ret_http, char why[NODES_WHY_MAX]);
void nodes_http_fini(struct node_http *http);

/* Its answer as a result. Returns 0 and gives it; -EINVAL (a status that is not expected: why;
 * worth another attempt if *ret_again) or -ENOMEM. */
MUST_USE int nodes_http_result(const struct workflow_node *node, const struct flow_http *answer,
    json_t **ret_result, bool *ret_again, char why[NODES_WHY_MAX]);

#endif
