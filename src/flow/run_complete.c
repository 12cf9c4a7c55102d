/* How a node's attempt ends, and a run. */
#include <errno.h>
#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/mem.h"
#include "flow/canon.h"
#include "flow/run_own.h"

/* Its token is used up, and nobody works or waits for it any more. */
static void end_attempt(struct run_step *step, uint32_t index)
{
    struct run_node *node = &step->run->nodes[index];

    step_consume(step, index);
    if (node->state == NODE_QUEUED) {
        step_unqueue(step, index);
    }
    step_unask(step, index);
    step_due(step, index, 0);
    step_touch(step, index);
}

/* Not from the node: a loop may have taken its result away already. */
static void add_output(struct run_step *step, uint32_t index, const struct run_result *result)
{
    struct span ref = span_str(result->ref);

    if (result->blob.len) {
        step_op(step, &(struct flow_op){.kind = FLOW_BLOB, .id = ref, .body = result->blob});
    }
    step_op(step, &(struct flow_op){.kind = FLOW_OUTPUT,
                      .node = span_str(run_workflow_node(step->run, index)->id),
                      .id = ref});
}

static void set_error(struct run_step *step, char **where, struct span text)
{
    char *copy = text_clean(text, RUN_ERROR_MAX);

    if (!copy) {
        step->err = -ENOMEM;
        return;
    }
    mem_free(*where);
    *where = copy;
}

/* The run fails of this node. Everything else that is in flight ends. */
static void fail_run(struct run_step *step, uint32_t index, const char *error)
{
    step->run->status = RUN_FAILED;
    step->run->failed_node = index;
    set_error(step, &step->run->error, span_str(error));
    step_stop(step);
}

/* The node is over and its result is known: what begins of it? Nothing, when the run fails of being
 * too long. *ret_counter: tokens in flight before anything ended with the run. */
static void go_on(
    struct run_step *step, uint32_t index, const struct run_result *result, uint64_t *ret_counter)
{
    struct run *run = step->run;
    char error[120];

    edges_settle(step, index, result->value);
    bool fits = run->emits + run->scratch->begun_count <= RUN_TOKENS_MAX;
    if (!fits) {
        run->scratch->begun_count = 0;
    }
    edges_begin(step);
    add_output(step, index, result);
    edges_joins(step, index);
    *ret_counter = run->emits - run->consumes;
    if (!fits) {
        snprintf(error, sizeof(error),
            "the run would need more than %d tokens; is a loop too long?", RUN_TOKENS_MAX);
        fail_run(step, index, error);
    } else if (*ret_counter == 0) {
        run->status = RUN_COMPLETED;
        run->finished_ms = step->now_ms;
    }
}

static void tell_begun(struct run_step *step)
{
    struct run_scratch *scratch = step->run->scratch;

    for (uint32_t i = 0; i < scratch->begun_count; i++) {
        event_node_started(step, scratch->begun[i]);
    }
    if (step->run->status != RUN_RUNNING) {
        event_over(step);
    }
}

int run_complete(struct run *run, struct span token, const struct run_result *result,
    uint64_t now_ms, struct changes *changes)
{
    struct run_step step;
    uint32_t index;
    uint64_t counter;
    int err = run_token(run, token, &index);

    if (err) {
        return err;
    }
    CHECK(strlen(result->ref) == FLOW_REF_LEN);
    CHECK(result->value || !run_wants_value(run, index));
    step_open(&step, run, changes, now_ms);
    end_attempt(&step, index);
    run->nodes[index].state = NODE_COMPLETED;
    run->nodes[index].finished_ms = now_ms;
    memcpy(run->nodes[index].result_ref, result->ref, FLOW_REF_LEN + 1);
    go_on(&step, index, result, &counter);
    step_records(&step);
    /* The result as it came: a loop may have taken the node's own away. */
    event_node_completed(&step, index, result->ref, counter);
    tell_begun(&step);
    return step_end(&step);
}

/* {"attempt","error","node_id"}: what a handled failure gives. */
static void failure_result(
    struct run_step *step, uint32_t index, struct bytes *text, char ref[FLOW_REF_LEN + 1])
{
    const struct run_node *node = &step->run->nodes[index];
    json_t *value = step->err ? NULL
                              : json_pack("{s:s,s:s,s:I}", "error", node->error, "node_id",
                                    run_workflow_node(step->run, index)->id, "attempt",
                                    (json_int_t)node->attempt);

    if (!value) {
        step->err = -ENOMEM;
        return;
    }
    step->err = canon_blob(value, text, ref);
    json_decref(value);
}

static void fail_for_good(struct run_step *step, uint32_t index)
{
    struct run *run = step->run;
    struct run_node *node = &run->nodes[index];
    struct bytes text = {0};
    char ref[FLOW_REF_LEN + 1] = "";
    struct run_told told = {.attempt = node->attempt, .error = node->error};

    node->state = NODE_FAILED;
    node->finished_ms = step->now_ms;
    if (!edges_handle(run, index)) {
        fail_run(step, index, node->error ? node->error : "");
        step_records(step);
        event_node_failed(step, index, &told, false);
        event_over(step);
        return;
    }
    failure_result(step, index, &text, ref);
    memcpy(node->result_ref, ref, sizeof(ref));
    struct run_result result = {.ref = ref, .blob = span_of(text.data, text.len)};
    uint64_t counter;
    /* A loop edge resets the node, and the error goes with it. */
    char *error = node->error ? text_clean(span_str(node->error), RUN_ERROR_MAX) : NULL;
    told.error = error;
    if (!error) {
        step->err = -ENOMEM;
    }
    go_on(step, index, &result, &counter);
    step_records(step);
    event_node_failed(step, index, &told, false);
    tell_begun(step);
    mem_free(error);
    bytes_fini(&text);
}

/* Backoff grows by factor and is capped; up to a tenth more keeps attempts of many runs apart. The
 * token decides how much, so that every coordinator says the same. */
static uint64_t retry_at(struct run_step *step, uint32_t index)
{
    static const struct hash_key key = {0x66616e6f7574, 0x6261636b6f6666};
    const struct workflow_retry *retry = &run_workflow_node(step->run, index)->retry;
    struct bytes *text = &step->run->scratch->text;
    double backoff =
        (double)retry->backoff_ms * pow(retry->factor, (double)step->run->nodes[index].attempt - 1);

    uint64_t backoff_ms = retry->max_backoff_ms;
    if (backoff < (double)retry->max_backoff_ms) {
        backoff_ms = backoff > 0 ? (uint64_t)backoff : 0;
    }
    text->len = 0;
    if (run_token_id(step->run, index, text)) {
        step->err = -ENOMEM;
    }
    uint64_t jitter_ms = hash_bytes(&key, text->data, text->len) % (backoff_ms / 10 + 1);
    uint64_t at_ms = step->now_ms + backoff_ms + jitter_ms;
    return at_ms ? at_ms : 1;
}

static void retry(struct run_step *step, uint32_t index)
{
    struct run_node *node = &step->run->nodes[index];
    struct run_told told = {.attempt = node->attempt, .error = node->error};
    uint64_t due_ms = retry_at(step, index);

    node->attempt++;
    node->state = NODE_BACKOFF;
    step_emit(step, index);
    step_due(step, index, due_ms);
    step_records(step);
    event_node_failed(step, index, &told, true);
}

int run_fail_node(struct run *run, uint32_t index, const char *error, bool final, uint64_t now_ms,
    struct changes *changes)
{
    struct run_node *node = &run->nodes[index];
    struct run_step step;

    step_open(&step, run, changes, now_ms);
    end_attempt(&step, index);
    set_error(&step, &node->error, span_str(error ? error : ""));
    if (!final && node->attempt < run_workflow_node(run, index)->retry.max_attempts &&
        run->emits < RUN_TOKENS_MAX) {
        retry(&step, index);
    } else {
        fail_for_good(&step, index);
    }
    return step_end(&step);
}

int run_fail(struct run *run, struct span token, const char *error, bool final, uint64_t now_ms,
    struct changes *changes)
{
    uint32_t index;
    int err = run_token(run, token, &index);

    return err ? err : run_fail_node(run, index, error, final, now_ms, changes);
}

int run_cancel(struct run *run, struct span by, uint64_t now_ms, struct changes *changes)
{
    struct run_step step;

    if (run->status != RUN_RUNNING) {
        return -ESHUTDOWN;
    }
    step_open(&step, run, changes, now_ms);
    run->status = RUN_CANCELLED;
    run->by = text_clean(by, RUN_USER_MAX);
    if (!run->by) {
        step.err = -ENOMEM;
    }
    step_stop(&step);
    step_records(&step);
    event_over(&step);
    return step_end(&step);
}
