/* What the store hands out: tasks, signals, run requests, timers. Anybody may have written them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "flow/canon.h"
#include "flow/flow_own.h"

enum { DEAD_BURST = 10, DEAD_INTERVAL_MS = 10000, MESSAGE_BYTES_MAX = 16 * 1024 * 1024 };

/* ---- poison ---- */

static void log_dead(struct flow *flow, const char *what, const char *why)
{
    if (log_allow_burst(&flow->dead_burst, flow->now_ms, DEAD_INTERVAL_MS, DEAD_BURST)) {
        LOG(LOG_WARN, "flow.dead", LOG_S("what", what), LOG_S("why", why));
    }
}

void in_dead_task(struct flow *flow, struct flow_task *task, const char *why)
{
    flow->stats.tasks_dead += 1;
    log_dead(flow, "task", why);
    flow->store->release_task(flow->store->ctx, task, FLOW_DEAD, why);
}

void in_dead_signal(struct flow *flow, struct flow_signal *signal, const char *why)
{
    flow->stats.signals_dead += 1;
    log_dead(flow, signal->request ? "request" : "signal", why);
    flow->store->release_signal(flow->store->ctx, signal, FLOW_DEAD, why);
}

/* ---- reading ---- */

static json_t *read_object(struct span body, char *why, size_t why_cap)
{
    if (body.len > MESSAGE_BYTES_MAX) {
        snprintf(why, why_cap, "it has %zu bytes; at most %d", body.len, MESSAGE_BYTES_MAX);
        return NULL;
    }
    json_t *value = json_read(body, why, why_cap);

    if (value && !json_is_object(value)) {
        snprintf(why, why_cap, "it is no JSON object");
        json_decref(value);
        return NULL;
    }
    return value;
}

/* A member that must be a string of 1..max bytes, without NUL. */
static const char *text_member(
    const json_t *object, const char *name, size_t max, char *why, size_t why_cap)
{
    const json_t *value = json_object_get(object, name);
    size_t len = json_is_string(value) ? json_string_length(value) : 0;

    if (len == 0 || len > max || strlen(json_string_value(value)) != len) {
        snprintf(why, why_cap, "%s: a string of 1 to %zu bytes is expected", name, max);
        return NULL;
    }
    return json_string_value(value);
}

enum { TOKEN_MAX = FLOW_RUN_ID_MAX + FLOW_NODE_ID_MAX + 32 };

/* ---- tasks ---- */

/* The text of a raw JSON string that is written as it reads, of 1..max bytes. */
static bool plain_text(struct span raw, size_t max, struct span *ret_text)
{
    if (raw.len < 3 || raw.len - 2 > max || raw.data[0] != '"' || memchr(raw.data, '\\', raw.len)) {
        return false;
    }
    *ret_text = span_of(raw.data + 1, raw.len - 2);
    return true;
}

/* The two names of nearly every task, without a tree of its config and the rest, which the run knows anyway. */
static bool read_plain(struct span body, struct span *ret_id, struct span *ret_run_id)
{
    const struct span keys[] = {span_str("id"), span_str("run_id")};
    struct span values[2];

    return body.len <= MESSAGE_BYTES_MAX &&
           json_find_members(body.data, body.len, keys, 2, values) == 0 &&
           plain_text(values[0], TOKEN_MAX, ret_id) &&
           plain_text(values[1], FLOW_RUN_ID_MAX, ret_run_id);
}

/* Any task, or what is wrong with it. Gives the tree that the names are in, or NULL. */
static json_t *read_token(
    struct span body, struct span *ret_id, struct span *ret_run_id, char *why, size_t why_cap)
{
    json_t *token = read_object(body, why, why_cap);
    const char *id = token ? text_member(token, "id", TOKEN_MAX, why, why_cap) : NULL;
    const char *run_id = id ? text_member(token, "run_id", FLOW_RUN_ID_MAX, why, why_cap) : NULL;

    if (!run_id) {
        json_decref(token);
        return NULL;
    }
    *ret_id = span_str(id);
    *ret_run_id = span_str(run_id);
    return token;
}

void in_task(void *ctx, struct flow_task *task)
{
    struct flow *flow = ctx;
    json_t *token = NULL;
    struct span id, run_id;
    char why[FLOW_WHY_MAX];

    if (flow->draining) {
        flow->store->release_task(
            flow->store->ctx, task, FLOW_LATER, "this coordinator is stopping");
        return;
    }
    flow->stats.tasks += 1;
    if (!read_plain(task->body, &id, &run_id)) {
        token = read_token(task->body, &id, &run_id, why, sizeof(why));
        if (!token) {
            in_dead_task(flow, task, why);
            return;
        }
    }
    struct item *item = item_new(flow, ITEM_TASK);
    if (item) {
        item->task = task;
        item->token = mem_strndup((const char *)id.data, id.len);
    }
    if (!item || !item_send(item, run_id)) {
        if (item) {
            item_free(item);
        }
        flow->store->release_task(flow->store->ctx, task, FLOW_LATER, "no memory");
    }
    json_decref(token);
}

/* ---- signals ---- */

static bool status_known(const char *status)
{
    return strcmp(status, "completed") == 0 || strcmp(status, "failed") == 0 ||
           strcmp(status, "progress") == 0;
}

/* Is it a signal as contracts.md 3 has it? */
static bool signal_good(const json_t *signal, char *why, size_t why_cap)
{
    const char *id = text_member(signal, "job_id", TOKEN_MAX, why, why_cap);
    const char *run_id = id ? text_member(signal, "run_id", FLOW_RUN_ID_MAX, why, why_cap) : NULL;
    const char *node =
        run_id ? text_member(signal, "node_id", FLOW_NODE_ID_MAX, why, why_cap) : NULL;
    const char *status = node ? text_member(signal, "status", 32, why, why_cap) : NULL;
    const json_t *ref = json_object_get(signal, "result_ref");
    const json_t *metadata = json_object_get(signal, "metadata");
    char parsed[FLOW_REF_LEN + 1];

    if (!status) {
        return false;
    }
    if (!status_known(status)) {
        snprintf(why, why_cap, "status: \"%s\"; completed, failed or progress is expected", status);
        return false;
    }
    if (metadata && !json_is_object(metadata) && !json_is_null(metadata)) {
        snprintf(why, why_cap, "metadata: an object is expected");
        return false;
    }
    if (ref && !json_is_null(ref) && (!json_is_string(ref) || json_string_length(ref)) &&
        (!json_is_string(ref) ||
            !canon_ref_parse(span_of(json_string_value(ref), json_string_length(ref)), parsed))) {
        snprintf(why, why_cap, "result_ref: sha256: and 64 hexadecimal digits are expected");
        return false;
    }
    return true;
}

void in_signal(void *ctx, struct flow_signal *signal)
{
    struct flow *flow = ctx;
    char why[FLOW_WHY_MAX];

    if (flow->draining) {
        flow->store->release_signal(
            flow->store->ctx, signal, FLOW_LATER, "this coordinator is stopping");
        return;
    }
    if (signal->request) {
        start_begin(flow, NULL, signal);
        return;
    }
    flow->stats.signals += 1;
    json_t *message = read_object(signal->body, why, sizeof(why));
    if (!message || !signal_good(message, why, sizeof(why))) {
        in_dead_signal(flow, signal, why);
        json_decref(message);
        return;
    }
    struct item *item = item_new(flow, ITEM_SIGNAL);
    if (item) {
        item->signal = signal;
        item->token = mem_strdup(json_string_value(json_object_get(message, "job_id")));
        item->message = json_incref(message);
    }
    const char *run_id = json_string_value(json_object_get(message, "run_id"));
    if (!item || !item_send(item, span_str(run_id))) {
        if (item) {
            item_free(item);
        }
        flow->store->release_signal(flow->store->ctx, signal, FLOW_LATER, "no memory");
    }
    json_decref(message);
}

/* ---- timers ---- */

/* Without memory, or when we stop: it comes again, here or elsewhere. */
void in_timer(void *ctx, struct span run_id, struct span node)
{
    struct flow *flow = ctx;

    if (flow->draining || run_id.len == 0 || run_id.len > FLOW_RUN_ID_MAX ||
        node.len > FLOW_NODE_ID_MAX || item_timer_waits(flow, run_id, node)) {
        return;
    }
    struct item *item = item_new(flow, ITEM_TIMER);
    if (item) {
        item->node = mem_strndup((const char *)node.data, node.len);
        if (!item_send(item, run_id)) {
            item_free(item);
        }
    }
}
