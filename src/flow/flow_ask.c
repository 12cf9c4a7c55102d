/* Questions: the HTTP API, without HTTP. Most are one errand to the store; starting, cancelling and approving are items of
 * a run. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "base/mem.h"
#include "flow/canon.h"
#include "flow/flow_own.h"

enum { LIST_DEFAULT = 50, LIST_MAX = 1000 };

/* ---- answers ---- */

void ask_done(struct flow *flow, struct flow_ask *ask, int code)
{
    (void)flow;
    ask->code = code;
    ask->done(ask);
}

void ask_reply(struct flow *flow, struct flow_ask *ask, int code, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(body);
    if (!text || bytes_append_str(&ask->reply, text) != 0 ||
        bytes_append_byte(&ask->reply, '\n') != 0) {
        mem_free(text);
        ask->reply.len = 0;
        ask_store_error(flow, ask, -ENOMEM);
        return;
    }
    mem_free(text);
    ask_done(flow, ask, code);
}

void ask_error(
    struct flow *flow, struct flow_ask *ask, int code, const char *word, const char *text)
{
    struct bytes *out = &ask->reply;

    out->len = 0;
    if (bytes_appendf(out, "{\"error\":{\"code\":\"%s\",\"message\":", word) != 0 ||
        json_append_string(out, text, strlen(text)) != 0 || bytes_append_str(out, "}}\n") != 0) {
        out->len = 0;
    }
    ask_done(flow, ask, code);
}

void ask_store_error(struct flow *flow, struct flow_ask *ask, int err)
{
    char text[400];

    switch (err) {
    case -ENOSPC:
        ask_error(flow, ask, 503, "store_full", "the store of runs is full");
        return;
    case -ENOMEM:
        ask_error(flow, ask, 503, "no_memory", "no memory for it, try again");
        return;
    case -ESHUTDOWN:
    case -ECANCELED:
        ask_error(flow, ask, 503, "draining", "this coordinator is shutting down");
        return;
    default:
        snprintf(text, sizeof(text), "the store of runs cannot be used%s%s",
            flow->stats.why[0] ? ": " : "", flow->stats.why);
        ask_error(flow, ask, 503, "store_down", text);
    }
}

/* ---- items that came with a question ---- */

void ask_item_over(struct flow *flow, struct item *item, int err)
{
    struct flow_ask *ask = item->ask;

    if (err == -ESHUTDOWN) {
        ask_error(flow, ask, 409, "run_over", "the run is over");
    } else if (item->kind == ITEM_CANCEL) {
        ask_error(flow, ask, 404, "unknown_run", "there is no such run");
    } else if (err == -EALREADY) {
        ask_error(flow, ask, 409, "already_decided",
            "it was decided before, or nobody waits for it any more");
    } else {
        ask_error(flow, ask, 404, "unknown_approval", "nobody is asked there");
    }
}

void ask_item_done(struct flow *flow, struct item *item)
{
    const struct run *run = item->live->run;
    struct flow_ask *ask = item->ask;

    item->ask = NULL;
    if (item->kind == ITEM_START) {
        ask_reply(flow, ask, 201, reply_started(run));
    } else if (item->kind == ITEM_CANCEL) {
        ask_reply(
            flow, ask, 200, json_pack("{s:s, s:s}", "run_id", run->id, "status", "cancelled"));
    } else {
        bool approved = json_is_true(json_object_get(item->message, "approved"));
        ask_reply(flow, ask, 200,
            json_pack("{s:s, s:s, s:s}", "run_id", run->id, "node_id", item->node, "status",
                approved ? "approved" : "rejected"));
    }
}

static void send_item(
    struct flow *flow, struct flow_ask *ask, struct item *item, struct span run_id)
{
    if (item) {
        item->ask = ask;
    }
    if (!item || !item_send(item, run_id)) {
        if (item) {
            item_free(item);
        }
        ask_store_error(flow, ask, -ENOMEM);
    }
}

static void ask_cancel(struct flow *flow, struct flow_ask *ask)
{
    if (ask->name.len == 0 || ask->name.len > FLOW_RUN_ID_MAX) {
        ask_error(flow, ask, 404, "unknown_run", "there is no such run");
        return;
    }
    send_item(flow, ask, item_new(flow, ITEM_CANCEL), ask->name);
}

/* ---- approvals ---- */

static void approval_read(struct flow_get *get)
{
    struct errand *errand = get->owner;
    struct flow *flow = errand->flow;
    struct flow_ask *ask = errand->ask;
    char why[200];
    json_t *record = get->err ? NULL : json_read(get->body, why, sizeof(why));
    const char *status = json_string_value(json_object_get(record, "status"));

    if (get->err && get->err != -ENOENT) {
        ask_store_error(flow, ask, get->err);
    } else if (status && strcmp(status, "pending") != 0) {
        ask_error(flow, ask, 409, "already_decided", "it was decided before");
    } else {
        /* Without a record, too: it goes when nobody waits any more, and the run knows whether it was asked. */
        struct item *item = item_new(flow, ITEM_APPROVAL);
        if (item) {
            item->message = json_incref(errand->message);
            json_object_del(item->message, "record");
            if (json_is_object(record)) {
                json_object_set(item->message, "record", record);
            }
            item->node = mem_strdup(errand->node);
        }
        send_item(flow, ask, item, span_str(errand->run_id));
    }
    json_decref(record);
    errand_free(errand);
}

/* What is wrong with an approval; NULL: nothing. */
static const char *approval_fault(const json_t *message)
{
    const json_t *run = json_object_get(message, "run_id");
    const json_t *node = json_object_get(message, "node_id");
    const json_t *comment = json_object_get(message, "comment");

    if (!json_is_object(message)) {
        return "an object is expected";
    }
    if (!json_is_string(run) || json_string_length(run) == 0) {
        return "run_id: a string is expected";
    }
    if (!json_is_string(node) || json_string_length(node) == 0) {
        return "node_id: a string is expected";
    }
    if (!json_is_boolean(json_object_get(message, "approved"))) {
        return "approved: true or false is expected";
    }
    if (comment && !json_is_null(comment) &&
        (!json_is_string(comment) || json_string_length(comment) > 4000)) {
        return "comment: a string of at most 4000 bytes is expected";
    }
    return NULL;
}

static void ask_approval(struct flow *flow, struct flow_ask *ask)
{
    char why[FLOW_WHY_MAX];
    json_t *message = json_read(ask->body, why, sizeof(why));
    const char *fault = message ? approval_fault(message) : why;

    if (fault) {
        ask_error(flow, ask, 400, message ? "bad_approval" : "bad_json", fault);
        json_decref(message);
        return;
    }
    json_t *run = json_object_get(message, "run_id"), *node = json_object_get(message, "node_id");
    if (json_string_length(run) > FLOW_RUN_ID_MAX || json_string_length(node) > FLOW_NODE_ID_MAX) {
        ask_error(flow, ask, 404, "unknown_approval", "nobody is asked there");
        json_decref(message);
        return;
    }
    struct errand *errand = errand_new(flow, ask, NULL);
    if (!errand) {
        json_decref(message);
        ask_store_error(flow, ask, -ENOMEM);
        return;
    }
    errand->message = message;
    snprintf(errand->run_id, sizeof(errand->run_id), "%s", json_string_value(run));
    errand->node = mem_strdup(json_string_value(node));
    snprintf(errand->key, sizeof(errand->key), "%s:%s", errand->run_id, errand->node);
    errand->get =
        (struct flow_get){.done = approval_read, .owner = errand, .key = span_str(errand->key)};
    flow->store->approval(flow->store->ctx, &errand->get);
}

/* ---- looking at runs ---- */

static void run_loaded(struct flow_load *load)
{
    struct errand *errand = load->owner;
    struct flow *flow = errand->flow;
    struct flow_ask *ask = errand->ask;
    struct workflow *workflow = NULL;
    struct run *run = NULL;
    char why[200] = "its workflow";
    int err = load->err;

    if (err == -ENOENT) {
        ask_error(flow, ask, 404, "unknown_run", "there is no such run");
    } else if (err) {
        ask_store_error(flow, ask, err);
    } else {
        err = workflow_from_ir(load->ir, &workflow);
        err = err ? err : run_restore(workflow, load, &run, why, sizeof(why));
        if (err) {
            char text[300];
            snprintf(text, sizeof(text), "what the store has of the run cannot be read: %s", why);
            ask_error(flow, ask, err == -ENOMEM ? 503 : 500, "unreadable_run", text);
        } else {
            ask_reply(flow, ask, 200, reply_run(run, flow->now_ms));
        }
    }
    run_free(run);
    workflow_unref(workflow);
    errand_free(errand);
}

static void ask_run(struct flow *flow, struct errand *errand)
{
    errand->load = (struct flow_load){
        .done = run_loaded, .owner = errand, .run_id = errand->ask->name, .want_ir = true};
    flow->store->load(flow->store->ctx, &errand->load);
}

/* The status of a header, raw with its quotes. */
static struct span header_status(struct span header)
{
    const struct span key = span_str("status");
    struct span raw;

    if (json_find_members(header.data, header.len, &key, 1, &raw) != 0 || raw.len < 3) {
        return span_str("\"running\"");
    }
    return raw;
}

static int write_events(struct bytes *out, const struct flow_events *events)
{
    struct span status = header_status(events->header);
    int err = bytes_append_str(out, "{\"run_id\":");

    err = err ? err : json_append_string(out, events->run_id.data, events->run_id.len);
    err = err ? err : bytes_append_str(out, ",\"events\":[");
    for (uint32_t i = 0; !err && i < events->count; i++) {
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err : bytes_append(out, events->bodies[i].data, events->bodies[i].len);
    }
    err = err ? err : bytes_append_str(out, "],\"status\":");
    err = err ? err : bytes_append(out, status.data, status.len);
    return err ? err : bytes_append_str(out, "}\n");
}

static void events_read(struct flow_events *events)
{
    struct errand *errand = events->owner;
    struct flow *flow = errand->flow;
    struct flow_ask *ask = errand->ask;

    if (events->err == -ENOENT) {
        ask->unknown_run = true;
        ask_error(flow, ask, 404, "unknown_run", "there is no such run");
    } else if (events->err) {
        ask_store_error(flow, ask, events->err);
    } else {
        char id[FLOW_RUN_ID_MAX + 1] = "";
        memcpy(id, events->run_id.data, events->run_id.len);
        snprintf(
            ask->etag, sizeof(ask->etag), "\"%s-%llu\"", id, (unsigned long long)events->total);
        if (ask->tag.len &&
            (span_equal(ask->tag, span_str("*")) ||
                memmem(ask->tag.data, ask->tag.len, ask->etag, strlen(ask->etag)))) {
            ask_done(flow, ask, 304);
        } else if (write_events(&ask->reply, events) != 0) {
            ask_store_error(flow, ask, -ENOMEM);
        } else {
            ask_done(flow, ask, 200);
        }
    }
    errand_free(errand);
}

static void ask_events(struct flow *flow, struct errand *errand)
{
    errand->events = (struct flow_events){.done = events_read,
        .owner = errand,
        .run_id = errand->ask->name,
        .since = errand->ask->since,
        .limit = errand->ask->limit};
    flow->store->events(flow->store->ctx, &errand->events);
}

static void runs_listed(struct flow_list *list)
{
    struct errand *errand = list->owner;
    struct flow *flow = errand->flow;
    struct flow_ask *ask = errand->ask;

    if (list->err) {
        ask_store_error(flow, ask, list->err);
        errand_free(errand);
        return;
    }
    json_t *rows = json_array();
    for (uint32_t i = 0; rows && i < list->count; i++) {
        json_array_append_new(rows, reply_run_row(list->headers[i], flow->now_ms));
    }
    ask_reply(flow, ask, 200,
        json_pack("{s:o, s:o}", "runs", rows, "next",
            list->more ? json_string(list->last) : json_null()));
    errand_free(errand);
}

static void ask_runs(struct flow *flow, struct errand *errand)
{
    struct flow_ask *ask = errand->ask;
    const char *const known[] = {"running", "completed", "failed", "cancelled"};
    bool good = ask->status.len == 0;

    for (size_t i = 0; i < COUNT_OF(known); i++) {
        good = good || span_equal(ask->status, span_str(known[i]));
    }
    if (!good || ask->limit > LIST_MAX) {
        ask_error(flow, ask, 400, "bad_query",
            good ? "limit: 1 to 1000 is expected"
                 : "status: running, completed, failed or cancelled is expected");
        errand_free(errand);
        return;
    }
    errand->list = (struct flow_list){.done = runs_listed,
        .owner = errand,
        .status = ask->status,
        .tag = ask->tag,
        .user = ask->filter_user,
        .after = ask->after,
        .limit = ask->limit ? (uint32_t)ask->limit : LIST_DEFAULT};
    flow->store->list(flow->store->ctx, &errand->list);
}

static void result_read(struct flow_get *get)
{
    struct errand *errand = get->owner;
    struct flow *flow = errand->flow;
    struct flow_ask *ask = errand->ask;

    if (get->err == -ENOENT) {
        ask_error(flow, ask, 404, "unknown_result", "there is no such result");
    } else if (get->err || bytes_append(&ask->reply, get->body.data, get->body.len) != 0) {
        ask_store_error(flow, ask, get->err ? get->err : -ENOMEM);
    } else {
        snprintf(ask->etag, sizeof(ask->etag), "\"%.*s\"", FLOW_REF_LEN, errand->key);
        ask_done(flow, ask, 200);
    }
    errand_free(errand);
}

static void ask_result(struct flow *flow, struct errand *errand)
{
    if (!canon_ref_parse(errand->ask->name, errand->key)) {
        ask_error(flow, errand->ask, 404, "unknown_result",
            "sha256: and 64 hexadecimal digits are expected");
        errand_free(errand);
        return;
    }
    errand->get =
        (struct flow_get){.done = result_read, .owner = errand, .key = span_str(errand->key)};
    flow->store->blob(flow->store->ctx, &errand->get);
}

void ask_begin(struct flow *flow, struct flow_ask *ask)
{
    if (flow->draining) {
        ask_store_error(flow, ask, -ESHUTDOWN);
        return;
    }
    if (ask->what == FLOW_ASK_START) {
        start_begin(flow, ask, NULL);
        return;
    }
    if (ask->what == FLOW_ASK_CANCEL) {
        ask_cancel(flow, ask);
        return;
    }
    if (ask->what == FLOW_ASK_APPROVAL) {
        ask_approval(flow, ask);
        return;
    }
    bool of_run = ask->what == FLOW_ASK_RUN || ask->what == FLOW_ASK_EVENTS;
    if (of_run && (ask->name.len == 0 || ask->name.len > FLOW_RUN_ID_MAX)) {
        ask->unknown_run = true;
        ask_error(flow, ask, 404, "unknown_run", "there is no such run");
        return;
    }
    struct errand *errand = errand_new(flow, ask, NULL);
    if (!errand) {
        ask_store_error(flow, ask, -ENOMEM);
        return;
    }
    switch (ask->what) {
    case FLOW_ASK_RUN:
        ask_run(flow, errand);
        return;
    case FLOW_ASK_EVENTS:
        ask_events(flow, errand);
        return;
    case FLOW_ASK_RUNS:
        ask_runs(flow, errand);
        return;
    case FLOW_ASK_RESULT:
        ask_result(flow, errand);
        return;
    default:
        ask_shelf(flow, errand);
    }
}
