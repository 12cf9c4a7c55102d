/* A step's plumbing: which op goes where. The rules are in run_complete.c, run_wait.c and
 * run_edges.c. */
#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "flow/changes.h"
#include "flow/nodes.h"
#include "flow/run_own.h"

enum {
    MARK_TOUCHED = 1, /* Its record is to be written. */
    MARK_TIMER = 2,   /* Its timer, too. */
};

void step_open(struct run_step *step, struct run *run, struct changes *changes, uint64_t now_ms)
{
    *step = (struct run_step){.run = run, .changes = changes, .now_ms = now_ms};
    while (
        step->consume_at < changes->count && changes->ops[step->consume_at].kind == FLOW_CONSUME) {
        step->consume_at++;
    }
    run->scratch->touched_count = 0;
    run->scratch->begun_count = 0;
}

void step_op(struct run_step *step, const struct flow_op *op)
{
    if (!step->err) {
        step->err = changes_add(step->changes, op);
    }
}

void step_touch(struct run_step *step, uint32_t node)
{
    struct run_scratch *scratch = step->run->scratch;

    if (!(scratch->marks[node] & MARK_TOUCHED)) {
        scratch->marks[node] |= MARK_TOUCHED;
        scratch->touched[scratch->touched_count++] = node;
    }
}

void step_due(struct run_step *step, uint32_t node, uint64_t due_ms)
{
    if (step->run->nodes[node].due_ms != due_ms) {
        step->run->nodes[node].due_ms = due_ms;
        step->run->scratch->marks[node] |= MARK_TIMER;
        step_touch(step, node);
    }
}

static struct span node_id(const struct run_step *step, uint32_t node)
{
    return span_str(run_workflow_node(step->run, node)->id);
}

static struct span stream_of(const struct run_step *step, uint32_t node)
{
    return node_stream(span_str(run_workflow_node(step->run, node)->type), step->run->task_types);
}

/* The token's id, in the scratch text: until the next one. */
static struct span token_of(struct run_step *step, uint32_t node)
{
    struct bytes *text = &step->run->scratch->text;

    text->len = 0;
    if (!step->err) {
        step->err = run_token_id(step->run, node, text);
    }
    return span_of(text->data, text->len);
}

/* Did an earlier step of these changes emit the token of the last op? */
static bool emitted_here(const struct changes *changes)
{
    const struct flow_op *last = &changes->ops[changes->count - 1];

    for (const struct flow_op *op = changes->ops; op < last; op++) {
        if (op->kind == FLOW_EMIT && span_equal(op->id, last->id)) {
            return true;
        }
    }
    return false;
}

void step_consume(struct run_step *step, uint32_t node)
{
    struct changes *changes = step->changes;
    struct span token = token_of(step, node);

    step_op(step, &(struct flow_op){.kind = FLOW_CONSUME, .id = token});
    step->run->consumes++;
    if (step->err || emitted_here(changes)) {
        return;
    }
    /* A store that sees a used token refuses the whole commit, and had better not begun it. */
    struct flow_op op = changes->ops[changes->count - 1];
    memmove(&changes->ops[step->consume_at + 1], &changes->ops[step->consume_at],
        (changes->count - 1 - step->consume_at) * sizeof(op));
    changes->ops[step->consume_at++] = op;
}

void step_emit(struct run_step *step, uint32_t node)
{
    struct span token = token_of(step, node);

    step_op(step, &(struct flow_op){.kind = FLOW_EMIT, .id = token});
    step->run->emits++;
}

void step_queue(struct run_step *step, uint32_t node)
{
    struct bytes body = {0};
    struct span token = token_of(step, node);

    if (!step->err) {
        step->err = record_token(step->run, node, &body);
    }
    step_op(step, &(struct flow_op){.kind = FLOW_QUEUE,
                      .id = token,
                      .name = stream_of(step, node),
                      .node = node_id(step, node),
                      .body = span_of(body.data, body.len)});
    bytes_fini(&body);
}

void step_unqueue(struct run_step *step, uint32_t node)
{
    step_op(step,
        &(struct flow_op){
            .kind = FLOW_UNQUEUE, .name = stream_of(step, node), .node = node_id(step, node)});
}

void step_unask(struct run_step *step, uint32_t node)
{
    if (step->run->nodes[node].human) {
        step->run->nodes[node].human = false;
        step_op(step, &(struct flow_op){.kind = FLOW_APPROVAL, .node = node_id(step, node)});
    }
}

/* A delay's time is its own, and a human's begins when they are asked. */
static uint64_t due_when_queued(const struct run_step *step, uint32_t node)
{
    const struct node_type *type =
        node_type_find(span_str(run_workflow_node(step->run, node)->type));
    uint64_t timeout_ms = run_timeout_ms(step->run, node);

    if (type->work == NODE_WORK_DELAY || type->work == NODE_WORK_HUMAN || !timeout_ms) {
        return 0;
    }
    return step->now_ms + timeout_ms;
}

void step_enqueue(struct run_step *step, uint32_t index)
{
    struct run_node *node = &step->run->nodes[index];

    node->state = NODE_QUEUED;
    node->queued_ms = step->now_ms;
    node->percent = -1;
    memset(node->notes, 0, sizeof(node->notes));
    step_due(step, index, due_when_queued(step, index));
    step_queue(step, index);
    step_touch(step, index);
}

void step_begin(struct run_step *step, uint32_t index, uint32_t from, const char *payload_ref)
{
    struct run_node *node = &step->run->nodes[index];

    node->visit++;
    node->attempt = 1;
    node->from = from;
    node->hop = from == RUN_NONE ? 0 : step->run->nodes[from].hop + 1;
    node->finished_ms = 0;
    memmove(node->payload_ref, payload_ref, FLOW_REF_LEN + 1); /* It may be the node's own. */
    node->result_ref[0] = '\0';
    mem_free(node->error);
    node->error = NULL;
    step_emit(step, index);
    step_enqueue(step, index);
}

static void add_records(struct run_step *step)
{
    struct run_scratch *scratch = step->run->scratch;

    for (uint32_t i = 0; i < scratch->touched_count; i++) {
        scratch->text.len = 0;
        if (!step->err) {
            step->err = record_node(step->run, scratch->touched[i], &scratch->text);
        }
        step_op(step, &(struct flow_op){.kind = FLOW_NODE,
                          .node = node_id(step, scratch->touched[i]),
                          .body = span_of(scratch->text.data, scratch->text.len)});
    }
}

static void add_timers(struct run_step *step)
{
    struct run_scratch *scratch = step->run->scratch;

    for (uint32_t i = 0; i < scratch->touched_count; i++) {
        uint32_t node = scratch->touched[i];
        if (scratch->marks[node] & MARK_TIMER) {
            uint64_t due_ms = step->run->nodes[node].due_ms;
            step_op(step, &(struct flow_op){.kind = due_ms ? FLOW_TIMER : FLOW_UNTIMER,
                              .node = node_id(step, node),
                              .n = due_ms});
        }
        scratch->marks[node] = 0;
    }
    scratch->touched_count = 0;
}

void step_records(struct run_step *step)
{
    add_records(step);
    add_timers(step);
    step->header_at = step->changes->count;
    step_op(
        step, &(struct flow_op){.kind = FLOW_HEADER, .n = step->run->emits - step->run->consumes});
}

int step_end(struct run_step *step)
{
    struct bytes *text = &step->run->scratch->text;

    text->len = 0;
    if (!step->err) {
        step->err = record_header(step->run, text);
    }
    if (!step->err && !changes_keep(step->changes, span_of(text->data, text->len),
                          &step->changes->ops[step->header_at].body)) {
        step->err = -ENOMEM;
    }
    return step->err;
}

static bool join_pending(const struct run *run, uint32_t index)
{
    const struct workflow_node *spec = run_workflow_node(run, index);

    if (run->nodes[index].state != NODE_IDLE || spec->in_count < 2) {
        return false;
    }
    for (uint32_t i = 0; i < spec->in_count; i++) {
        if (edge_state(run, spec->in[i]) == EDGE_TAKEN) {
            return true;
        }
    }
    return false;
}

void step_stop(struct run_step *step)
{
    struct run *run = step->run;

    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        if (node_in_flight(run->nodes[i].state)) {
            step_consume(step, i);
        }
    }
    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        struct run_node *node = &run->nodes[i];
        if (join_pending(run, i)) {
            step_op(step, &(struct flow_op){.kind = FLOW_JOINED, .node = node_id(step, i)});
        }
        if (node_in_flight(node->state)) {
            if (node->state == NODE_QUEUED) {
                step_unqueue(step, i);
            }
            step_unask(step, i);
            step_due(step, i, 0);
            node->state = NODE_SKIPPED;
            node->finished_ms = step->now_ms;
            step_touch(step, i);
        }
    }
    run->finished_ms = step->now_ms;
}
