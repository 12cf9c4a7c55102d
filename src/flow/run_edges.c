/* What follows of a node that is over: which edges are taken, which nodes begin or are skipped. */
#include <errno.h>

#include "base/mem.h"
#include "flow/canon.h"
#include "flow/condition.h"
#include "flow/run_own.h"

/* Does `when` alone say that it is taken? `else` is told by the others. */
static bool edge_holds(const struct workflow_edge *edge, bool failed, const json_t *value)
{
    switch (edge->when) {
    case EDGE_PLAIN:
        return !failed;
    case EDGE_CONDITION:
        return !failed && condition_holds(edge->condition, value);
    case EDGE_FAILED:
        return failed;
    case EDGE_ALWAYS:
        return true;
    case EDGE_ELSE:
        return false;
    }
    return false;
}

/* The loop edge that is taken, as an index into the node's out; RUN_NONE: none. */
static uint32_t find_loop(const struct run *run, uint32_t node, bool failed, const json_t *value)
{
    const struct workflow_node *spec = run_workflow_node(run, node);

    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        if (edge->max_iterations && run->nodes[node].loops[i] < edge->max_iterations &&
            edge_holds(edge, failed, value)) {
            return i;
        }
    }
    return RUN_NONE;
}

bool edges_handle(const struct run *run, uint32_t node)
{
    const struct workflow_node *spec = run_workflow_node(run, node);

    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        if (!edge->max_iterations && edge_holds(edge, true, NULL)) {
            return true;
        }
    }
    return find_loop(run, node, true, NULL) != RUN_NONE;
}

static void reset_node(struct run_step *step, uint32_t index)
{
    struct run_node *node = &step->run->nodes[index];
    uint32_t out_count = run_workflow_node(step->run, index)->out_count;

    node->state = NODE_IDLE;
    node->attempt = 0;
    node->queued_ms = 0;
    node->finished_ms = 0;
    node->payload_ref[0] = '\0';
    node->result_ref[0] = '\0';
    mem_free(node->error);
    node->error = NULL;
    memset(node->edges, EDGE_OPEN, out_count);
    step_touch(step, index);
}

/* The body of the loop is as if it had never been. Loops within it count from 0 already: all their
 * nodes are over, so they were left. */
static void take_loop(struct run_step *step, uint32_t index, uint32_t out_index)
{
    struct run *run = step->run;
    const struct workflow_edge *edge =
        &run->workflow->edges[run_workflow_node(run, index)->out[out_index]];

    step->looped = true;
    memcpy(step->loop_ref, run->nodes[index].result_ref, sizeof(step->loop_ref));
    run->nodes[index].loops[out_index]++;
    for (uint32_t i = 0; i < edge->body_count; i++) {
        reset_node(step, edge->body[i]);
    }
    run->nodes[edge->to].from = index;
    run->scratch->begun[run->scratch->begun_count++] = edge->to;
}

/* The predecessor that came last: this step's, if it came; else the one that was over last. */
static uint32_t last_to_come(const struct run_step *step, uint32_t node, uint32_t just_now)
{
    const struct run *run = step->run;
    const struct workflow_node *spec = run_workflow_node(run, node);
    uint32_t last = RUN_NONE;

    for (uint32_t i = 0; i < spec->in_count; i++) {
        uint32_t from = run->workflow->edges[spec->in[i]].from;
        if (edge_state(run, spec->in[i]) != EDGE_TAKEN) {
            continue;
        }
        if (from == just_now) {
            return from;
        }
        if (last == RUN_NONE || run->nodes[from].finished_ms > run->nodes[last].finished_ms) {
            last = from;
        }
    }
    return last;
}

/* All its incoming edges are settled? Then *ret_taken says whether one is taken. */
static bool is_settled(const struct run *run, uint32_t node, bool *ret_taken)
{
    const struct workflow_node *spec = run_workflow_node(run, node);

    *ret_taken = false;
    for (uint32_t i = 0; i < spec->in_count; i++) {
        enum edge_state state = edge_state(run, spec->in[i]);
        if (state == EDGE_OPEN) {
            return false;
        }
        *ret_taken |= state == EDGE_TAKEN;
    }
    return true;
}

/* The forward edges of a node that was skipped, or is over and takes no loop edge. */
static void decide_edges(struct run *run, uint32_t index, const json_t *value)
{
    const struct workflow_node *spec = run_workflow_node(run, index);
    struct run_node *node = &run->nodes[index];
    bool condition_taken = false;

    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        node->loops[i] = 0;
        if (!edge->max_iterations) {
            bool taken =
                node->state != NODE_SKIPPED && edge_holds(edge, node->state == NODE_FAILED, value);
            node->edges[i] = taken ? EDGE_TAKEN : EDGE_SKIPPED;
            condition_taken |= taken && edge->when == EDGE_CONDITION;
        }
    }
    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        if (edge->when == EDGE_ELSE && !edge->max_iterations && node->state == NODE_COMPLETED &&
            !condition_taken) {
            node->edges[i] = EDGE_TAKEN;
        }
    }
}

/* A node that an edge of this one leads to, and that waited for nothing else. */
static void settle_target(
    struct run_step *step, uint32_t target, uint32_t just_now, uint32_t *work_count)
{
    struct run *run = step->run;
    struct run_node *node = &run->nodes[target];
    bool taken;

    /* Two edges from here may lead there; it is told once. */
    if (node->state != NODE_IDLE || !is_settled(run, target, &taken)) {
        return;
    }
    if (taken) {
        for (uint32_t i = 0; i < run->scratch->begun_count; i++) {
            if (run->scratch->begun[i] == target) {
                return;
            }
        }
        node->from = last_to_come(step, target, just_now);
        run->scratch->begun[run->scratch->begun_count++] = target;
        return;
    }
    node->state = NODE_SKIPPED;
    node->finished_ms = step->now_ms;
    step_touch(step, target);
    run->scratch->work[(*work_count)++] = target;
}

void edges_settle(struct run_step *step, uint32_t node, const json_t *value)
{
    struct run *run = step->run;
    uint32_t loop = find_loop(run, node, run->nodes[node].state == NODE_FAILED, value);
    uint32_t work_count = 0;

    if (loop != RUN_NONE) {
        take_loop(step, node, loop);
        return;
    }
    /* A list and no recursion: a thousand nodes may be skipped at once. Each node is over once, so
     * the list holds them all. */
    run->scratch->work[work_count++] = node;
    for (uint32_t at = 0; at < work_count; at++) {
        uint32_t over = run->scratch->work[at];
        const struct workflow_node *spec = run_workflow_node(run, over);

        decide_edges(run, over, value);
        step_touch(step, over);
        for (uint32_t i = 0; i < spec->out_count; i++) {
            const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
            if (!edge->max_iterations) {
                settle_target(step, edge->to, node, &work_count);
            }
        }
    }
}

/* {predecessor: "sha256:…"} of those that came, as a blob. */
static void join_payload(struct run_step *step, uint32_t index, char ref[FLOW_REF_LEN + 1])
{
    const struct run *run = step->run;
    const struct workflow_node *spec = run_workflow_node(run, index);
    struct bytes text = {0};
    json_t *came = json_object();

    if (!came) {
        step->err = -ENOMEM;
        return;
    }
    for (uint32_t i = 0; i < spec->in_count && !step->err; i++) {
        uint32_t from = run->workflow->edges[spec->in[i]].from;
        if (edge_state(run, spec->in[i]) == EDGE_TAKEN &&
            json_object_set_new(
                came, run_workflow_node(run, from)->id, json_string(run->nodes[from].result_ref))) {
            step->err = -ENOMEM;
        }
    }
    if (!step->err) {
        step->err = canon_blob(came, &text, ref);
    }
    step_op(
        step, &(struct flow_op){
                  .kind = FLOW_BLOB, .id = span_str(ref), .body = span_of(text.data, text.len)});
    bytes_fini(&text);
    json_decref(came);
}

void edges_begin(struct run_step *step)
{
    struct run *run = step->run;

    for (uint32_t i = 0; i < run->scratch->begun_count && !step->err; i++) {
        uint32_t index = run->scratch->begun[i];
        uint32_t from = run->nodes[index].from;
        char ref[FLOW_REF_LEN + 1] = "";

        if (step->looped) {
            step_begin(step, index, from, step->loop_ref);
        } else if (run_workflow_node(run, index)->in_count < 2) {
            step_begin(step, index, from, run->nodes[from].result_ref);
        } else {
            join_payload(step, index, ref);
            step_begin(step, index, from, ref);
        }
    }
}

void edges_joins(struct run_step *step, uint32_t node)
{
    struct run *run = step->run;
    const struct workflow_node *spec = run_workflow_node(run, node);

    for (uint32_t i = 0; i < spec->out_count; i++) {
        const struct workflow_edge *edge = &run->workflow->edges[spec->out[i]];
        const struct workflow_node *to = run_workflow_node(run, edge->to);
        if (run->nodes[node].edges[i] == EDGE_TAKEN && to->in_count >= 2) {
            step_op(
                step, &(struct flow_op){
                          .kind = FLOW_ARRIVE, .node = span_str(to->id), .id = span_str(spec->id)});
        }
    }
    for (uint32_t i = 0; i < run->scratch->begun_count && !step->looped; i++) {
        const struct workflow_node *begun = run_workflow_node(run, run->scratch->begun[i]);
        if (begun->in_count >= 2) {
            step_op(step, &(struct flow_op){.kind = FLOW_JOINED, .node = span_str(begun->id)});
        }
    }
}
