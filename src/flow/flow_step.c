/* Steps: what an item does to its run. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "flow/canon.h"
#include "flow/flow_own.h"

/* Nobody else changes runs of this store: what is in memory is how it is. */
static bool exclusive(const struct flow *flow)
{
    return !flow->store->outside_workers;
}

/* Is what is in memory younger than the item? Only then may it be told that it is nothing. */
static bool is_fresh(const struct live *live, const struct item *item)
{
    return exclusive(live->flow) || live->known_seq >= item->seq;
}

static const char *verdict_text(const struct live *live, int err)
{
    return live->unreadable ? "what the store has of its run cannot be read"
           : err == -ENOENT ? "there is no such run"
                            : "the run has no such token";
}

enum step work_verdict(struct live *live, struct item *item, int err)
{
    if (err == 0) {
        return STEP_CHANGED;
    }
    if (err == -ENOMEM) {
        return STEP_FAILED;
    }
    /* Steps in front of it are not stored yet, and may be refused: it is judged again afterwards. */
    if (live->changes.count > 0) {
        return STEP_RELOAD;
    }
    /* What is used up stays so; what is unknown here may have been made by another coordinator, and a human may have
     * been asked again. */
    bool lasting = err == -ESHUTDOWN || (err == -EALREADY && item->kind != ITEM_APPROVAL);
    if (!lasting && !is_fresh(live, item)) {
        return STEP_RELOAD;
    }
    if (item->ask) {
        ask_item_over(live->flow, item, err);
        item->ask = NULL;
    }
    bool poison = (err == -EINVAL || err == -ENOENT) && (item->task || item->signal);
    item_finish(item, poison ? FLOW_DEAD : FLOW_DROP, poison ? verdict_text(live, err) : NULL);
    return STEP_OVER;
}

/* ---- signals ---- */

static const char *failure_text(const json_t *message)
{
    const json_t *metadata = json_object_get(message, "metadata");
    const json_t *data = json_object_get(message, "result_data");
    const char *text = json_string_value(json_object_get(metadata, "error"));

    text = text ? text : json_string_value(json_object_get(message, "error"));
    text = text ? text : json_string_value(json_object_get(data, "error"));
    text = text ? text : json_string_value(data);
    return text && *text ? text : "its worker gave no reason";
}

static bool failure_final(const json_t *message)
{
    const json_t *retryable = json_object_get(json_object_get(message, "metadata"), "retryable");
    return json_is_false(retryable);
}

static enum step signal_progress(struct live *live, struct item *item)
{
    const json_t *metadata = json_object_get(item->message, "metadata");
    const json_t *percent = json_object_get(metadata, "percent");
    const json_t *text = json_object_get(metadata, "message");
    double value = json_is_number(percent) ? json_number_value(percent) : -1;
    struct span message = {0};

    if (!isfinite(value) || value > 100) {
        value = value > 100 ? 100 : -1;
    }
    if (json_is_string(text)) {
        message = span_of(json_string_value(text), json_string_length(text));
    }
    int err = run_progress(
        live->run, span_str(item->token), value, message, live->flow->now_ms, &live->changes);
    return work_verdict(live, item, err);
}

static enum step signal_fail(struct live *live, struct item *item, const char *error, bool final)
{
    int err = run_fail(
        live->run, span_str(item->token), error, final, live->flow->now_ms, &live->changes);
    return work_verdict(live, item, err);
}

/* The worker stored the result itself, or sent it along. */
static enum step signal_complete(struct live *live, struct item *item)
{
    const json_t *ref = json_object_get(item->message, "result_ref");
    json_t *data = json_object_get(item->message, "result_data");
    char parsed[FLOW_REF_LEN + 1];

    if (!json_is_string(ref) || json_string_length(ref) == 0) {
        return work_complete(live, item, data ? json_incref(data) : json_null());
    }
    if (!canon_ref_parse(span_of(json_string_value(ref), json_string_length(ref)), parsed)) {
        return signal_fail(live, item, "its result_ref is none", false);
    }
    if (data && !json_is_null(data)) {
        return work_complete(live, item, json_incref(data));
    }
    int have = work_need(live, item, parsed);
    if (have == 0) {
        return STEP_PARKED;
    }
    if (have < 0) {
        return have == -ENOMEM ? STEP_FAILED : signal_fail(live, item, item->why, false);
    }
    const struct run_result result = {.ref = parsed, .value = json_object_get(item->held, parsed)};
    return work_verdict(live, item,
        run_complete(
            live->run, span_str(item->token), &result, live->flow->now_ms, &live->changes));
}

/* What makes a signal worth a reload must be known before it changes anything. */
static int take_signal(struct live *live, struct item *item, uint32_t *ret_node)
{
    int err = run_token(live->run, span_str(item->token), ret_node);

    if (!err && strcmp(json_string_value(json_object_get(item->message, "node_id")),
                    live->run->workflow->nodes[*ret_node].id) != 0) {
        return -EINVAL;
    }
    return err;
}

static enum step step_signal(struct live *live, struct item *item)
{
    const char *status = json_string_value(json_object_get(item->message, "status"));
    uint32_t node;
    int err = take_signal(live, item, &node);

    if (err) {
        return work_verdict(live, item, err);
    }
    enum step step =
        strcmp(status, "progress") == 0 ? signal_progress(live, item)
        : strcmp(status, "failed") == 0
            ? signal_fail(live, item, failure_text(item->message), failure_final(item->message))
            : signal_complete(live, item);
    if (step == STEP_CHANGED) {
        const struct flow_op op = {.kind = FLOW_SIGNAL, .body = item->signal->body};
        return changes_add(&live->changes, &op) == 0 ? STEP_CHANGED : STEP_FAILED;
    }
    return step;
}

/* ---- tasks, timers ---- */

static enum step step_task(struct live *live, struct item *item)
{
    uint32_t node;
    int err = run_token(live->run, span_str(item->token), &node);

    if (!err && live->run->nodes[node].state != NODE_QUEUED) {
        /* It waits for a human or a delay: this task is done with. Or for its next attempt, and another coordinator
         * began that. */
        bool backoff = live->run->nodes[node].state == NODE_BACKOFF;
        err = -EALREADY;
        if (backoff && !is_fresh(live, item)) {
            return STEP_RELOAD;
        }
    }
    return err ? work_verdict(live, item, err) : work_task(live, item, node);
}

static enum step step_timer(struct live *live, struct item *item)
{
    struct run *run = live->run;
    uint32_t node = workflow_find(run->workflow, span_str(item->node));
    enum run_due due;

    if (node == UINT32_MAX) {
        return work_verdict(live, item, -EINVAL);
    }
    const struct run_node *at = &run->nodes[node];
    if (at->state == NODE_WAITING && !at->human && at->due_ms <= live->flow->now_ms) {
        return work_delay_over(live, item, node);
    }
    uint32_t before = live->changes.count;
    int err = run_timer(run, node, live->flow->now_ms, &due, &live->changes);
    if (!err && live->changes.count == before) { /* Not due, as far as is known here. */
        if (!is_fresh(live, item)) {
            return STEP_RELOAD;
        }
        err = -EALREADY;
    }
    return work_verdict(live, item, err);
}

/* ---- people ---- */

static enum step step_cancel(struct live *live, struct item *item)
{
    return work_verdict(
        live, item, run_cancel(live->run, item->ask->user, live->flow->now_ms, &live->changes));
}

/* {"approved","by","comment"?,"data"?}: the result. */
static json_t *decision_result(const struct item *item, bool approved)
{
    json_t *comment = json_object_get(item->message, "comment");
    json_t *data = json_object_get(item->message, "data");
    json_t *out = json_pack("{s:b, s:s%}", "approved", approved, "by",
        (const char *)item->ask->user.data, item->ask->user.len);
    int err = out ? 0 : -1;

    if (!err && comment && !json_is_null(comment)) {
        err = json_object_set(out, "comment", comment);
    }
    if (!err && data) {
        err = json_object_set(out, "data", data);
    }
    if (err) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* The record of what was asked, and what came of it, as text; NULL without memory. */
static char *decision_record(
    const struct item *item, json_t *result, bool approved, uint64_t now_ms)
{
    json_t *record = json_object_get(item->message, "record");
    char *text = NULL;

    record = record ? json_deep_copy(record) : json_object();
    if (record && json_object_update(record, result) == 0 &&
        json_object_del(record, "approved") == 0 &&
        json_object_set_new(record, "status", json_string(approved ? "approved" : "rejected")) ==
            0 &&
        json_object_set_new(record, "decided_at", json_integer((json_int_t)(now_ms / 1000))) == 0) {
        text = json_dumps(record, JSON_COMPACT);
    }
    json_decref(record);
    return text;
}

static enum step reject(struct live *live, struct item *item)
{
    const char *comment = json_string_value(json_object_get(item->message, "comment"));
    char why[RUN_ERROR_MAX + 100]; /* Longer than what is kept, which is cut at a character. */

    snprintf(why, sizeof(why), "rejected by %.*s%s%s", (int)item->ask->user.len,
        (const char *)item->ask->user.data, comment ? ": " : "", comment ? comment : "");
    return work_verdict(live, item,
        run_fail(live->run, span_str(item->token), why, true, live->flow->now_ms, &live->changes));
}

static enum step step_approval(struct live *live, struct item *item)
{
    struct run *run = live->run;
    uint32_t node = workflow_find(run->workflow, span_str(item->node));
    bool approved = json_is_true(json_object_get(item->message, "approved"));

    if (node == UINT32_MAX) {
        return work_verdict(live, item, -EINVAL);
    }
    json_t *result = decision_result(item, approved);
    char *record = result ? decision_record(item, result, approved, live->flow->now_ms) : NULL;
    if (!record || !work_token(live, item, node)) {
        json_decref(result);
        free(record);
        return STEP_FAILED;
    }
    int err = run_decide(
        run, node, approved, item->ask->user, span_str(record), live->flow->now_ms, &live->changes);
    free(record);
    if (err || (!approved && nodes_reject_fails(&run->workflow->nodes[node]))) {
        json_decref(result);
        return err ? work_verdict(live, item, err) : reject(live, item);
    }
    return work_complete(live, item, result);
}

/* ---- starting ---- */

static enum step step_start(struct live *live, struct item *item)
{
    if (live->run) {
        if (item->ask) {
            ask_error(
                live->flow, item->ask, 409, "run_exists", "there is a run of this id already");
            item->ask = NULL;
        }
        item_finish(item, FLOW_DROP, NULL);
        return STEP_OVER;
    }
    const struct span inputs = span_of(item->inputs.data, item->inputs.len);
    struct run *run;
    int err = run_create(item->fresh->workflow, span_str(item->fresh->id),
        span_str(item->fresh->tag), span_str(item->fresh->user), &run);
    if (!err) {
        run->task_types = live->flow->options.task_types;
        run->task_timeout_ms = live->flow->options.task_timeout_ms;
        live->run = run;
        if (!live->workflow) {
            live->workflow = workflow_ref(run->workflow);
        }
        err = run_start(run, inputs, live->flow->now_ms, &live->changes);
    }
    return err ? STEP_FAILED : STEP_CHANGED;
}

enum step item_step(struct live *live, struct item *item)
{
    if (item->kind == ITEM_START) {
        return step_start(live, item);
    }
    if (!live->run) {
        return work_verdict(live, item, -ENOENT);
    }
    switch (item->kind) {
    case ITEM_TASK:
        return step_task(live, item);
    case ITEM_SIGNAL:
        return step_signal(live, item);
    case ITEM_TIMER:
        return step_timer(live, item);
    case ITEM_CANCEL:
        return step_cancel(live, item);
    default:
        return step_approval(live, item);
    }
}
