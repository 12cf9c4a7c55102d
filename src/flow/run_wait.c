/* Waiting: delays, humans, timers; and what a worker tells meanwhile. */
#include <errno.h>
#include <math.h>

#include "base/hash.h"
#include "base/mem.h"
#include "flow/nodes.h"
#include "flow/run_own.h"

static void ask_human(struct run_step *step, uint32_t index, struct span message)
{
    struct bytes text = {0};

    if (!step->err) {
        step->err = record_approval(step->run, index, message, step->now_ms, &text);
    }
    step_op(step, &(struct flow_op){.kind = FLOW_APPROVAL,
                      .node = span_str(run_workflow_node(step->run, index)->id),
                      .body = span_of(text.data, text.len)});
    bytes_fini(&text);
}

int run_wait(struct run *run, struct span token, bool human, struct span message, uint64_t due_ms,
    uint64_t now_ms, struct changes *changes)
{
    struct run_step step;
    uint32_t index;
    int err = run_token(run, token, &index);

    if (err || run->nodes[index].state == NODE_WAITING) {
        return err ? err : -EALREADY;
    }
    if (due_ms == 0) {
        uint64_t timeout_ms = run_timeout_ms(run, index);
        /* A delay that is over when it begins still goes by its timer. */
        due_ms = !human ? (now_ms ? now_ms : 1) : timeout_ms ? now_ms + timeout_ms : 0;
    }
    step_open(&step, run, changes, now_ms);
    run->nodes[index].state = NODE_WAITING;
    run->nodes[index].human = human;
    step_unqueue(&step, index);
    step_due(&step, index, due_ms);
    step_touch(&step, index);
    if (human) {
        ask_human(&step, index, message);
    }
    step_records(&step);
    if (human) {
        event_approval_requested(&step, index, message);
    }
    return step_end(&step);
}

static int timer_set_right(
    struct run *run, uint32_t index, uint64_t now_ms, struct changes *changes)
{
    struct run_step step;
    uint64_t due_ms = run->nodes[index].due_ms;

    step_open(&step, run, changes, now_ms);
    step_op(&step, &(struct flow_op){.kind = due_ms ? FLOW_TIMER : FLOW_UNTIMER,
                       .node = span_str(run_workflow_node(run, index)->id),
                       .n = due_ms});
    return step.err;
}

static int next_attempt(struct run *run, uint32_t index, uint64_t now_ms, struct changes *changes)
{
    struct run_step step;

    step_open(&step, run, changes, now_ms);
    step_due(&step, index, 0);
    step_enqueue(&step, index);
    step_records(&step);
    event_node_started(&step, index);
    return step_end(&step);
}

int run_timer(
    struct run *run, uint32_t node, uint64_t now_ms, enum run_due *ret_due, struct changes *changes)
{
    *ret_due = RUN_DUE_NOTHING;
    if (node >= run->workflow->node_count) {
        return -EINVAL;
    }
    if (run->status != RUN_RUNNING) {
        return -ESHUTDOWN;
    }
    const struct run_node *at = &run->nodes[node];
    if (at->due_ms == 0 || at->due_ms > now_ms) {
        return timer_set_right(run, node, now_ms, changes);
    }
    switch (at->state) {
    case NODE_BACKOFF:
        *ret_due = RUN_DUE_ATTEMPT;
        return next_attempt(run, node, now_ms, changes);
    case NODE_WAITING:
        if (!at->human) {
            *ret_due = RUN_DUE_DELAY;
            return 0;
        }
        *ret_due = RUN_DUE_TIMEOUT;
        return run_fail_node(run, node, "nobody decided in time", false, now_ms, changes);
    default: /* QUEUED: the others have no timer. */
        *ret_due = RUN_DUE_TIMEOUT;
        return run_fail_node(run, node, "timed out", false, now_ms, changes);
    }
}

/* Was this told lately, at this percent? If not, it is now. */
static bool told_before(struct run_node *node, struct span message)
{
    /* The same for all coordinators, and on purpose no secret: whoever finds two messages of one
     * hash hides a message of their own. */
    static const struct hash_key key = {0x66616e6f7574, 0x70726f6772657373};
    uint64_t hash = hash_bytes(&key, message.data, message.len) | 1;

    for (int i = 0; i < RUN_NOTES_MAX; i++) {
        if (node->notes[i] == hash) {
            return true;
        }
    }
    memmove(&node->notes[1], &node->notes[0], (RUN_NOTES_MAX - 1) * sizeof(node->notes[0]));
    node->notes[0] = hash;
    return false;
}

int run_progress(struct run *run, struct span token, double percent, struct span message,
    uint64_t now_ms, struct changes *changes)
{
    struct run_step step;
    uint32_t index;
    int err = run_token(run, token, &index);

    if (err) {
        return err;
    }
    struct run_node *node = &run->nodes[index];
    bool said = percent >= 0; /* Neither is a NaN. */
    double furthest = node->percent >= 0 ? node->percent : 0;
    /* As it is told and recorded: thousandths. */
    double now_at = said ? round(fmin(percent, 100) * 1000) / 1000 : furthest;
    if (run->events >= RUN_EVENTS_MAX || (!said && message.len == 0) ||
        (said && now_at < node->percent)) {
        return -EALREADY;
    }
    if (said && now_at > node->percent) {
        node->percent = now_at;
        memset(node->notes, 0, sizeof(node->notes));
    }
    if (told_before(node, message)) {
        return -EALREADY;
    }
    step_open(&step, run, changes, now_ms);
    step_touch(&step, index);
    step_records(&step);
    event_progress(&step, index, now_at, message);
    return step_end(&step);
}

int run_decide(struct run *run, uint32_t index, bool approved, struct span by, struct span approval,
    uint64_t now_ms, struct changes *changes)
{
    struct run_step step;

    if (index >= run->workflow->node_count) {
        return -EINVAL;
    }
    struct run_node *node = &run->nodes[index];
    const struct workflow_node *spec = run_workflow_node(run, index);
    if (node->state != NODE_WAITING || !node->human) {
        bool asked = node_type_find(span_str(spec->type))->work == NODE_WORK_HUMAN &&
                     (node_over(node->state) || node->state == NODE_WAITING) && node->visit > 0;
        return !asked ? -EINVAL : run->status == RUN_RUNNING ? -EALREADY : -ESHUTDOWN;
    }
    step_open(&step, run, changes, now_ms);
    node->human = false; /* The step that completes or fails it writes its record. */
    step_op(&step,
        &(struct flow_op){.kind = FLOW_APPROVAL, .node = span_str(spec->id), .body = approval});
    event_approval_decided(&step, index, approved, by);
    return step.err;
}
