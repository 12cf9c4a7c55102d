/* Tasks that this coordinator works on itself: what a node's config looks at is gathered, then the node is worked out
 * (nodes.h), and what it came to completes or fails it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "flow/canon.h"
#include "flow/flow_own.h"

/* One HTTP request of an http node. */
struct work_http {
    struct flow_http http;
    struct node_http request;
    struct flow_http_header *headers;
};

bool work_token(struct live *live, struct item *item, uint32_t node)
{
    struct bytes id = {0};
    bool good = run_token_id(live->run, node, &id) == 0;

    if (good) {
        mem_free(item->token);
        item->token = mem_strndup((const char *)id.data, id.len);
    }
    bytes_fini(&id);
    return good;
}

/* ---- gathering ---- */

static void fetched(struct flow_get *get)
{
    struct item *item = get->owner;
    struct flow *flow = item->flow;
    char ref[FLOW_REF_LEN + 1], why[200];

    snprintf(ref, sizeof(ref), "%.*s", (int)get->key.len, (const char *)get->key.data);
    item->gone = false;
    if (get->err == -ENOENT) {
        item->gone = true;
        snprintf(item->why, sizeof(item->why), "%s is not in the store (any more)", ref);
    } else if (get->err == -EMSGSIZE) {
        item->gone = true;
        snprintf(item->why, sizeof(item->why), "%s is larger than the %zu bytes a result may have",
            ref, flow->options.result_bytes_max);
    } else if (get->err == 0) {
        json_t *value = json_read(get->body, why, sizeof(why));
        if (!value) {
            item->gone = true;
            snprintf(item->why, sizeof(item->why), "%s is no JSON: %s", ref, why);
        } else {
            values_keep(flow, ref, value, get->body.len);
            if (!item->held) {
                item->held = json_object();
            }
            json_object_set_new(item->held, ref, value);
        }
    }
    if (get->err && !item->gone) {
        live_pause(item->live); /* The store failed: it is asked for again. */
    }
    item_resume(item);
}

struct fetch { /* A flow_get and the key it looks at. */
    struct flow_get get;
    char ref[FLOW_REF_LEN + 1];
};

int work_need(struct live *live, struct item *item, const char *ref)
{
    struct flow *flow = live->flow;
    json_t *value;

    if (json_object_get(item->held, ref)) {
        return 1;
    }
    if (item->gone) {
        item->gone = false;
        return -ENOENT;
    }
    if (!item->held && !(item->held = json_object())) {
        return -ENOMEM;
    }
    value = values_find(flow, ref);
    if (value) {
        return json_object_set(item->held, ref, value) == 0 ? 1 : -ENOMEM;
    }
    struct fetch *fetch = item->get ? (struct fetch *)item->get : mem_try_zalloc(sizeof(*fetch));
    if (!fetch) {
        return -ENOMEM;
    }
    item->get = &fetch->get;
    snprintf(fetch->ref, sizeof(fetch->ref), "%s", ref);
    fetch->get = (struct flow_get){
        .done = fetched,
        .owner = item,
        .key = span_str(fetch->ref),
        .bytes_max = flow->options.result_bytes_max,
    };
    live->parked += 1;
    flow->store->blob(flow->store->ctx, &fetch->get);
    return 0;
}

/* Did several predecessors come, each with its own result? Not if a loop edge began it. */
static bool is_join(const struct run *run, uint32_t node)
{
    const struct workflow_node *at = &run->workflow->nodes[node];
    uint32_t from = run->nodes[node].from;

    if (at->in_count < 2 || from == UINT32_MAX) {
        return false;
    }
    for (uint32_t i = 0; i < at->in_count; i++) {
        if (run->workflow->edges[at->in[i]].from == from) {
            return true;
        }
    }
    return false;
}

/* Was this incoming edge taken? */
static bool edge_taken(const struct run *run, uint32_t edge)
{
    uint32_t from = run->workflow->edges[edge].from;
    const struct workflow_node *node = &run->workflow->nodes[from];

    for (uint32_t i = 0; i < node->out_count; i++) {
        if (node->out[i] == edge) {
            return run->nodes[from].edges[i] == EDGE_TAKEN;
        }
    }
    return false;
}

/* The results of all that came to a join. As work_need(). */
static int need_predecessors(struct live *live, struct item *item, uint32_t node)
{
    const struct run *run = live->run;
    const struct workflow_node *at = &run->workflow->nodes[node];
    int have = 1;

    for (uint32_t i = 0; have == 1 && i < at->in_count; i++) {
        uint32_t from = run->workflow->edges[at->in[i]].from;
        if (edge_taken(run, at->in[i])) {
            have = work_need(live, item, run->nodes[from].result_ref);
        }
    }
    return have;
}

static int need_payload(struct live *live, struct item *item, uint32_t node)
{
    return is_join(live->run, node) ? need_predecessors(live, item, node)
                                    : work_need(live, item, live->run->nodes[node].payload_ref);
}

static int need_all(
    struct live *live, struct item *item, uint32_t node, struct node_needs *ret_needs)
{
    const struct run *run = live->run;
    uint32_t *results = live->flow->scratch_nodes;
    uint32_t count = nodes_needs(run->workflow, node, ret_needs, results, WORKFLOW_NODES_MAX);
    int have = ret_needs->payload || ret_needs->predecessors ? need_payload(live, item, node) : 1;

    if (have == 1 && ret_needs->inputs) {
        have = work_need(live, item, run->inputs_ref);
    }
    for (uint32_t i = 0; have == 1 && i < count && i < WORKFLOW_NODES_MAX; i++) {
        if (run->nodes[results[i]].result_ref[0]) {
            have = work_need(live, item, run->nodes[results[i]].result_ref);
        }
    }
    return have;
}

/* {predecessor: result}; NULL without memory. */
static json_t *predecessors(const struct live *live, const struct item *item, uint32_t node)
{
    const struct run *run = live->run;
    const struct workflow_node *at = &run->workflow->nodes[node];
    uint32_t from = run->nodes[node].from;
    json_t *out = json_object();
    int err = out ? 0 : -1;

    if (!is_join(run, node)) {
        json_t *value = json_object_get(item->held, run->nodes[node].payload_ref);
        if (!err && from != UINT32_MAX && value) {
            err = json_object_set(out, run->workflow->nodes[from].id, value);
        }
    } else {
        for (uint32_t i = 0; !err && i < at->in_count; i++) {
            uint32_t pred = run->workflow->edges[at->in[i]].from;
            json_t *value = json_object_get(item->held, run->nodes[pred].result_ref);
            if (edge_taken(run, at->in[i]) && value) {
                err = json_object_set(out, run->workflow->nodes[pred].id, value);
            }
        }
    }
    if (err) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* The payload as a value, of a node whose payload was needed: a new reference. */
static json_t *payload(const struct live *live, const struct item *item, uint32_t node)
{
    if (is_join(live->run, node)) {
        return predecessors(live, item, node);
    }
    return json_incref(json_object_get(item->held, live->run->nodes[node].payload_ref));
}

/* What templates and pointers go through; see template.h. */
static json_t *document(
    const struct live *live, const struct item *item, uint32_t node, const struct node_needs *needs)
{
    const struct run *run = live->run;
    uint32_t *results = live->flow->scratch_nodes;
    struct node_needs unused;
    uint32_t count = nodes_needs(run->workflow, node, &unused, results, WORKFLOW_NODES_MAX);
    json_t *out =
        json_pack("{s:{s:s, s:s, s:s}}", "run", "id", run->id, "tag", run->tag, "user", run->user);
    json_t *gathered = json_object();
    int err = out && gathered ? 0 : -1;

    for (uint32_t i = 0; !err && i < count && i < WORKFLOW_NODES_MAX; i++) {
        json_t *value = json_object_get(item->held, run->nodes[results[i]].result_ref);
        if (value) {
            err = json_object_set(gathered, run->workflow->nodes[results[i]].id, value);
        }
    }
    err = err ? err : json_object_set(out, "results", gathered);
    if (!err && needs->inputs) {
        err = json_object_set(out, "inputs", json_object_get(item->held, run->inputs_ref));
    }
    if (!err && needs->payload) {
        err = json_object_set_new(out, "payload", payload(live, item, node));
    }
    json_decref(gathered);
    if (err) {
        json_decref(out);
        return NULL;
    }
    return out;
}

/* ---- what it came to ---- */

static enum step fail(struct live *live, struct item *item, const char *why, bool final)
{
    return work_verdict(live, item,
        run_fail(live->run, span_str(item->token), why, final, live->flow->now_ms, &live->changes));
}

enum step work_complete(struct live *live, struct item *item, json_t *value)
{
    struct flow *flow = live->flow;
    struct bytes blob = {0};
    char ref[FLOW_REF_LEN + 1];
    enum step step;
    int err = canon_blob(value, &blob, ref);

    if (err == -ENOMEM) {
        step = STEP_FAILED;
    } else if (err) {
        step = fail(live, item, "its result cannot be written as JSON", true);
    } else if (blob.len > flow->options.result_bytes_max) {
        char why[128];
        snprintf(why, sizeof(why), "its result has %zu bytes; at most %zu (flow.result_bytes)",
            blob.len, flow->options.result_bytes_max);
        step = fail(live, item, why, true);
    } else {
        const struct run_result result = {
            .ref = ref, .value = value, .blob = span_of(blob.data, blob.len)};
        values_keep(flow, ref, value, blob.len);
        step = work_verdict(live, item,
            run_complete(live->run, span_str(item->token), &result, flow->now_ms, &live->changes));
    }
    bytes_fini(&blob);
    json_decref(value);
    return step;
}

/* Its payload is its result: as it is, or, of a join, put together. */
static enum step pass(struct live *live, struct item *item, uint32_t node)
{
    json_t *value = payload(live, item, node);

    if (!value || is_join(live->run, node)) {
        return value ? work_complete(live, item, value) : STEP_FAILED;
    }
    const struct run_result result = {.ref = live->run->nodes[node].payload_ref, .value = value};
    enum step step = work_verdict(live, item,
        run_complete(
            live->run, span_str(item->token), &result, live->flow->now_ms, &live->changes));
    json_decref(value);
    return step;
}

/* A value that is not there: the attempt failed, or the step waits for it. */
static enum step not_had(struct live *live, struct item *item, int have)
{
    return have == 0         ? STEP_PARKED
           : have == -ENOMEM ? STEP_FAILED
                             : fail(live, item, item->why, false);
}

enum step work_delay_over(struct live *live, struct item *item, uint32_t node)
{
    enum run_due due;
    int have;

    if (!work_token(live, item, node)) {
        return STEP_FAILED;
    }
    have = need_payload(live, item, node);
    if (have != 1) {
        return not_had(live, item, have);
    }
    int err = run_timer(live->run, node, live->flow->now_ms, &due, &live->changes);
    return err ? work_verdict(live, item, err) : pass(live, item, node);
}

/* ---- http ---- */

static void work_http_free(struct work_http *work)
{
    if (work) {
        nodes_http_fini(&work->request);
        mem_free(work->headers);
        mem_free(work);
    }
}

static void leave_http(struct item *item)
{
    struct item **at = &item->live->on_http;

    while (*at != item) {
        at = &(*at)->next;
    }
    *at = item->next;
}

void work_end_http(struct live *live)
{
    struct flow *flow = live->flow;

    while (live->on_http) {
        flow->http->cancel(flow->http->ctx, &live->on_http->http->http);
    }
}

static void http_done(struct flow_http *http)
{
    struct item *item = http->owner;
    const struct workflow_node *node = &item->live->workflow->nodes[item->work_node];
    bool again = true;

    leave_http(item);
    if (http->err == -ECANCELED) {
        item->outcome =
            OUTCOME_NONE; /* By us: the run is over, or we stop and others begin it anew. */
    } else if (http->err) {
        /* A URL that is none, or leads where it may not, is no better next time. */
        bool final = http->err == -EINVAL || http->err == -EPERM;
        item->outcome = final ? OUTCOME_FINAL : OUTCOME_FAILED;
        snprintf(item->why, sizeof(item->why), "%s",
            http->err == -EMSGSIZE ? "the answer is larger than its max_bytes" : http->why);
    } else {
        int err = nodes_http_result(node, http, &item->result, &again, item->why);
        item->outcome = err == 0 ? OUTCOME_RESULT : again ? OUTCOME_FAILED : OUTCOME_FINAL;
        if (err == -ENOMEM) {
            item->outcome = OUTCOME_FAILED;
            snprintf(item->why, sizeof(item->why), "no memory for the answer");
        }
    }
    work_http_free(item->http);
    item->http = NULL;
    item_resume(item);
}

static uint32_t copy_headers(struct work_http *work)
{
    const char *name;
    json_t *value;
    uint32_t count = 0;

    work->headers =
        mem_try_zalloc((json_object_size(work->request.headers) + 1) * sizeof(*work->headers));
    json_object_foreach(work->request.headers, name, value)
    {
        if (work->headers) {
            work->headers[count++] = (struct flow_http_header){
                span_str(name), span_of(json_string_value(value), json_string_length(value))};
        }
    }
    return count;
}

static enum step begin_http(struct live *live, struct item *item, uint32_t node, const json_t *doc)
{
    struct flow *flow = live->flow;
    const struct workflow_node *at = &live->run->workflow->nodes[node];
    struct work_http *work = mem_try_zalloc(sizeof(*work));
    char why[NODES_WHY_MAX];
    int err =
        work ? nodes_http(at, doc, flow->options.result_bytes_max, &work->request, why) : -ENOMEM;

    if (err || !flow->http) {
        work_http_free(work);
        return err == -ENOMEM ? STEP_FAILED
                              : fail(live, item, err ? why : "there is no HTTP client here", true);
    }
    uint32_t header_count = copy_headers(work);
    work->http = (struct flow_http){
        .done = http_done,
        .owner = item,
        .method = work->request.method,
        .url = (const char *)work->request.url.data,
        .headers = work->headers,
        .header_count = header_count,
        .body = span_of(work->request.body.data, work->request.body.len),
        .timeout_ms =
            at->timeout_ms ? at->timeout_ms : node_type_find(span_str(at->type))->timeout_ms,
        .bytes_max = work->request.bytes_max,
    };
    item->http = work;
    item->work_node = node;
    item->next = live->on_http;
    live->on_http = item;
    live->parked += 1;
    flow->http->begin(flow->http->ctx, &work->http);
    return STEP_PARKED;
}

/* ---- a task ---- */

static enum step wait_delay(struct live *live, struct item *item, uint32_t node, const json_t *doc)
{
    char why[NODES_WHY_MAX];
    uint64_t ms;
    int err = nodes_delay(&live->run->workflow->nodes[node], doc, &ms, why);

    if (err) {
        return err == -ENOMEM ? STEP_FAILED : fail(live, item, why, true);
    }
    if (ms == 0) {
        return pass(live, item, node);
    }
    return work_verdict(live, item,
        run_wait(live->run, span_str(item->token), false, span_of(NULL, 0), live->flow->now_ms + ms,
            live->flow->now_ms, &live->changes));
}

static enum step wait_human(struct live *live, struct item *item, uint32_t node, const json_t *doc)
{
    struct flow *flow = live->flow;
    char why[NODES_WHY_MAX];

    flow->text.len = 0;
    int err = nodes_question(&live->run->workflow->nodes[node], doc, &flow->text, why);
    if (err) {
        return err == -ENOMEM ? STEP_FAILED : fail(live, item, why, true);
    }
    return work_verdict(live, item,
        run_wait(live->run, span_str(item->token), true, span_of(flow->text.data, flow->text.len),
            0, flow->now_ms, &live->changes));
}

static enum step evaluate(struct live *live, struct item *item, uint32_t node, const json_t *doc,
    const struct node_needs *needs)
{
    json_t *came = needs->predecessors ? predecessors(live, item, node) : NULL;
    char why[NODES_WHY_MAX];
    json_t *result;

    if (needs->predecessors && !came) {
        return STEP_FAILED;
    }
    int err = nodes_eval(&live->run->workflow->nodes[node], doc, came,
        live->flow->options.result_bytes_max, &result, why);
    json_decref(came);
    if (err) {
        return err == -ENOMEM ? STEP_FAILED : fail(live, item, why, true);
    }
    return work_complete(live, item, result);
}

/* HTTP answered. */
static enum step use_outcome(struct live *live, struct item *item)
{
    enum outcome outcome = item->outcome;

    if (outcome == OUTCOME_RESULT) {
        return work_complete(live, item, json_incref(item->result));
    }
    return fail(live, item, item->why[0] ? item->why : "it failed", outcome == OUTCOME_FINAL);
}

enum step work_task(struct live *live, struct item *item, uint32_t node)
{
    const struct workflow_node *at = &live->run->workflow->nodes[node];
    enum node_work work = node_type_find(span_str(at->type))->work;
    struct node_needs needs = {0};
    const char *message;
    int have;

    if (item->outcome != OUTCOME_NONE) {
        return use_outcome(live, item);
    }
    if (work == NODE_WORK_OUTSIDE) { /* Somebody put it into the wrong stream. */
        item_finish(item, FLOW_DEAD, "its type is worked on by others");
        return STEP_OVER;
    }
    if (work == NODE_WORK_FAIL && nodes_fails(at, live->run->nodes[node].attempt, &message)) {
        return fail(live, item, message, false);
    }
    have = need_all(live, item, node, &needs);
    if (have == 1 && (work == NODE_WORK_DELAY || work == NODE_WORK_FAIL)) {
        have = need_payload(live, item, node);
    }
    if (have != 1) {
        return not_had(live, item, have);
    }
    if (work == NODE_WORK_FAIL) {
        return pass(live, item, node);
    }
    json_t *doc = document(live, item, node, &needs);
    if (!doc) {
        return STEP_FAILED;
    }
    enum step step = work == NODE_WORK_DELAY   ? wait_delay(live, item, node, doc)
                     : work == NODE_WORK_HUMAN ? wait_human(live, item, node, doc)
                     : work == NODE_WORK_HTTP  ? begin_http(live, item, node, doc)
                                               : evaluate(live, item, node, doc, &needs);
    json_decref(doc);
    return step;
}
