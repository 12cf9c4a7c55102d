/* The rules of run.h, as statements about a run between two steps. Each has its sentence. */
#include <stddef.h>

#include "flow/run_own.h"

static const char *check_in_flight(const struct run *run, uint32_t index)
{
    const struct run_node *node = &run->nodes[index];

    if (node->visit == 0 || node->attempt == 0) {
        return "a node in flight never began";
    }
    if (node->attempt > run_workflow_node(run, index)->retry.max_attempts) {
        return "a node has more attempts than it may";
    }
    if (!node->payload_ref[0]) {
        return "a node in flight has no payload";
    }
    if (node->finished_ms || node->result_ref[0]) {
        return "a node in flight is finished";
    }
    if (node->state == NODE_BACKOFF && (node->due_ms == 0 || node->attempt < 2)) {
        return "a node waits for an attempt that nothing begins";
    }
    if (node->state == NODE_WAITING && !node->human && node->due_ms == 0) {
        return "a node waits for a time that is not said";
    }
    return NULL;
}

/* What a node may say by its state alone. */
static const char *check_node(const struct run *run, uint32_t index)
{
    const struct run_node *node = &run->nodes[index];

    if (node->human && node->state != NODE_WAITING) {
        return "a human is asked by a node that does not wait";
    }
    if (node_in_flight(node->state)) {
        return check_in_flight(run, index);
    }
    if (node->due_ms) {
        return "a node has a timer and is not in flight";
    }
    if (node->state == NODE_COMPLETED || node->state == NODE_FAILED) {
        if (node->visit == 0 || node->attempt == 0 || node->finished_ms == 0) {
            return "a node is over and never was begun or finished";
        }
        if (node->state == NODE_COMPLETED && !node->result_ref[0]) {
            return "a node is completed and has no result";
        }
        if (node->state == NODE_FAILED && !node->error) {
            return "a node failed of nothing";
        }
    }
    if (node->state == NODE_IDLE && node->result_ref[0]) {
        return "a node that did not begin has a result";
    }
    return NULL;
}

/* Must, may or cannot this edge be taken, by its node's state? */
static bool edge_fits(enum node_state state, enum edge_when when, bool taken, bool any_condition)
{
    bool failed = state == NODE_FAILED;

    if (state == NODE_SKIPPED) {
        return !taken;
    }
    switch (when) {
    case EDGE_PLAIN:
        return taken == !failed;
    case EDGE_CONDITION:
        return !failed || !taken;
    case EDGE_ELSE:
        return taken == (!failed && !any_condition);
    case EDGE_FAILED:
        return taken == failed;
    case EDGE_ALWAYS:
        return taken;
    }
    return false;
}

static const char *check_loops(const struct run *run, uint32_t index)
{
    const struct workflow_node *spec = run_workflow_node(run, index);
    const struct run_node *node = &run->nodes[index];

    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        if (node->loops[i] > edge->max_iterations) {
            return "a loop was taken more often than it may";
        }
        if (edge->max_iterations && node->edges[i] != EDGE_OPEN) {
            return "a loop edge is settled";
        }
    }
    return NULL;
}

/* A run that failed or was cancelled stopped where it was: some of its nodes settled nothing. */
static bool may_be_unsettled(const struct run *run, const struct run_node *node)
{
    return (run->status == RUN_FAILED || run->status == RUN_CANCELLED) &&
           (node->state == NODE_SKIPPED || node->state == NODE_FAILED);
}

static const char *check_edges(const struct run *run, uint32_t index)
{
    const struct workflow_node *spec = run_workflow_node(run, index);
    const struct run_node *node = &run->nodes[index];
    uint32_t forward = 0, open = 0;
    bool any_condition = false, handled = false;

    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        bool taken = node->edges[i] == EDGE_TAKEN;
        forward += edge->max_iterations == 0;
        open += edge->max_iterations == 0 && node->edges[i] == EDGE_OPEN;
        any_condition |= taken && edge->when == EDGE_CONDITION;
        handled |= taken;
    }
    if (!node_over(node->state) || (open == forward && may_be_unsettled(run, node))) {
        return open == forward ? NULL : "an edge of a node that is not over is settled";
    }
    if (open) {
        return "an edge of a node that is over is open";
    }
    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        if (!edge->max_iterations &&
            !edge_fits(node->state, edge->when, node->edges[i] == EDGE_TAKEN, any_condition)) {
            return "an edge is taken or skipped against its `when`";
        }
    }
    if (node->state == NODE_FAILED && !(run->status == RUN_FAILED && run->failed_node == index) &&
        !(handled && node->result_ref[0])) {
        return "a failure nobody handles did not fail the run";
    }
    return NULL;
}

/* Does what leads here agree with what the node is? Of a run that goes on, or completed. */
static const char *check_arrivals(const struct run *run, uint32_t index)
{
    const struct workflow_node *spec = run_workflow_node(run, index);
    enum node_state state = run->nodes[index].state;
    uint32_t open = 0, taken = 0;

    for (uint32_t i = 0; i < spec->in_count; i++) {
        open += edge_state(run, spec->in[i]) == EDGE_OPEN;
        taken += edge_state(run, spec->in[i]) == EDGE_TAKEN;
    }
    if (open) {
        return state == NODE_IDLE ? NULL : "a node began before all that leads to it was settled";
    }
    if (taken || spec->in_count == 0) {
        return state != NODE_IDLE && state != NODE_SKIPPED ? NULL
                                                           : "a node that is to begin did not";
    }
    return state == NODE_SKIPPED ? NULL : "a node that nothing leads to was not skipped";
}

static const char *check_run(const struct run *run, uint64_t in_flight, uint64_t visits)
{
    if (run->consumes > run->emits || run->emits - run->consumes != in_flight) {
        return "the counter is not the number of tokens in flight";
    }
    if (visits > run->emits) {
        return "nodes began more often than tokens were emitted";
    }
    if (run->emits == 0 || !run->inputs_ref[0]) {
        return "the run did not begin";
    }
    if ((run->status == RUN_RUNNING) != (in_flight > 0)) {
        return "the run goes on without a token, or is over with one";
    }
    if ((run->status == RUN_RUNNING) != (run->finished_ms == 0)) {
        return "the run goes on and is finished, or the other way round";
    }
    if ((run->status == RUN_FAILED) != (run->failed_node != RUN_NONE) ||
        (run->status == RUN_FAILED) != (run->error != NULL)) {
        return "the run failed of nothing, or did not fail of something";
    }
    if ((run->status == RUN_CANCELLED) != (run->by != NULL)) {
        return "the run was cancelled by nobody, or was not";
    }
    return NULL;
}

const char *run_check(const struct run *run)
{
    bool whole = run->status == RUN_RUNNING || run->status == RUN_COMPLETED;
    uint64_t in_flight = 0, visits = 0;
    const char *broken = NULL;

    for (uint32_t i = 0; i < run->workflow->node_count && !broken; i++) {
        in_flight += node_in_flight(run->nodes[i].state);
        visits += run->nodes[i].visit;
        broken = check_node(run, i);
        if (!broken) {
            broken = check_loops(run, i);
        }
        if (!broken) {
            broken = check_edges(run, i);
        }
        if (!broken && whole) {
            broken = check_arrivals(run, i);
        }
    }
    return broken ? broken : check_run(run, in_flight, visits);
}
