/* Loops: each has a body that is entered and left at its ends only, so that beginning it anew
 * leaves no token behind and makes none too many. */
#include <string.h>

#include "base/mem.h"
#include "flow/workflow_own.h"

bool workflow_in_body(
    const struct workflow *workflow, const struct workflow_edge *loop, uint32_t node)
{
    return (node == loop->to || workflow_before(workflow, loop->to, node)) &&
           (node == loop->from || workflow_before(workflow, node, loop->from));
}

static struct quote name(const struct draft *draft, uint32_t node)
{
    const char *id = draft->workflow->nodes[node].id;
    return workflow_quote(id, strlen(id));
}

/* Does `to` lead to `from`? */
static bool is_closed(const struct workflow *workflow, const struct workflow_edge *loop)
{
    return loop->from == loop->to || workflow_before(workflow, loop->to, loop->from);
}

static bool are_apart_or_nested(const struct workflow *workflow, const struct workflow_edge *outer,
    const struct workflow_edge *inner)
{
    return workflow_in_body(workflow, outer, inner->from) ==
           workflow_in_body(workflow, outer, inner->to);
}

/* Returns whether there is no overlap. More of them than can be told are not looked for. */
static bool judge_overlaps(struct draft *draft)
{
    const struct workflow *workflow = draft->workflow;
    const struct workflow_edge *edges = workflow->edges;
    bool fine = true;

    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        for (uint32_t j = 0; j < i && edges[i].max_iterations; j++) {
            if (!edges[j].max_iterations ||
                (are_apart_or_nested(workflow, &edges[i], &edges[j]) &&
                    are_apart_or_nested(workflow, &edges[j], &edges[i]))) {
                continue;
            }
            fine = false;
            workflow_faults_add(draft->faults,
                "edges[%u]: this loop overlaps that of edges[%u]; expected one within the other or "
                "both apart, without a common end",
                i, j);
            if (draft->faults->more_count > 0) {
                return false;
            }
        }
    }
    return fine;
}

/* No other edge leads in or out. Nor does a run begin within: behind `to` no node is an entry. */
static void judge_body(struct draft *draft, uint32_t index)
{
    const struct workflow *workflow = draft->workflow;
    const struct workflow_edge *loop = &workflow->edges[index];

    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        const struct workflow_edge *edge = &workflow->edges[i];
        if (edge->max_iterations) {
            continue;
        }
        bool from = workflow_in_body(workflow, loop, edge->from);
        bool to = workflow_in_body(workflow, loop, edge->to);
        if (from && !to && edge->from != loop->from) {
            workflow_faults_add(draft->faults,
                "edges[%u]: leads out of the loop of edges[%u] from \"%s\"; expected only \"%s\" "
                "to "
                "lead out",
                i, index, name(draft, edge->from).text, name(draft, loop->from).text);
        } else if (!from && to && edge->to != loop->to) {
            workflow_faults_add(draft->faults,
                "edges[%u]: leads into the loop of edges[%u] at \"%s\"; expected only \"%s\" to be "
                "led to",
                i, index, name(draft, edge->to).text, name(draft, loop->to).text);
        }
    }
}

static bool fill_body(const struct workflow *workflow, struct workflow_edge *loop)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < workflow->node_count; i++) {
        count += workflow_in_body(workflow, loop, i);
    }
    loop->body = mem_try_alloc(count * sizeof *loop->body);
    if (!loop->body) {
        return false;
    }
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        if (workflow_in_body(workflow, loop, i)) {
            loop->body[loop->body_count++] = i;
        }
    }
    return true;
}

void workflow_judge_loops(struct draft *draft)
{
    struct workflow *workflow = draft->workflow;
    bool closed = true;

    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        const struct workflow_edge *edge = &workflow->edges[i];
        if (edge->max_iterations && !is_closed(workflow, edge)) {
            closed = false;
            workflow_faults_add(draft->faults,
                "edges[%u]: does not lead back: \"%s\" is not before \"%s\"; expected no "
                "\"max_iterations\" on it",
                i, name(draft, edge->to).text, name(draft, edge->from).text);
        }
    }
    /* From here on no two loops have an end in common, so there are no more than nodes. */
    if (!closed || !judge_overlaps(draft)) {
        return;
    }
    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        if (workflow->edges[i].max_iterations) {
            judge_body(draft, i);
            draft->no_memory |= !fill_body(workflow, &workflow->edges[i]);
        }
    }
}
