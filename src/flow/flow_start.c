/* From a tag and inputs to a run: the definition comes off the shelf, is compiled (once, while it stays the same), and the
 * run's first commit waits in its queue like any other. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/name.h"
#include "flow/canon.h"
#include "flow/flow_own.h"

enum { TAGS_MAX = 1000 }; /* Compiled workflows that are kept. */

/* ---- compiled workflows ---- */

static bool tagged_equal(const struct table_item *item, const void *key)
{
    return span_equal(span_str(((const struct tagged *)item)->tag), *(const struct span *)key);
}

static void tagged_free(struct tagged *tagged)
{
    workflow_unref(tagged->workflow);
    bytes_fini(&tagged->body);
    mem_free(tagged->tag);
    mem_free(tagged);
}

void start_fini(struct flow *flow)
{
    size_t cursor = 0;
    struct table_item *item;

    while ((item = table_next(&flow->tags, &cursor))) {
        table_remove(&flow->tags, item);
        tagged_free((struct tagged *)item);
        cursor = 0;
    }
    table_fini(&flow->tags);
}

int start_compile(
    json_t *definition, struct workflow **ret_workflow, struct workflow_faults *faults)
{
    int err = workflow_compile_json(definition, nodes_check, NULL, ret_workflow, faults);

    if (!err) {
        nodes_check_references(*ret_workflow, faults);
        if (faults->count) {
            workflow_unref(*ret_workflow);
            err = -EINVAL;
        }
    }
    return err;
}

/* As start_workflow(). */
static int compile(struct span body, struct workflow **ret_workflow, char *why, size_t why_cap)
{
    struct workflow_faults faults = {0};
    json_t *definition = json_read(body, why, why_cap);

    if (!definition) {
        return errno == ENOMEM ? -ENOMEM : -EINVAL;
    }
    int err = start_compile(definition, ret_workflow, &faults);
    if (err) {
        snprintf(why, why_cap, "%s", faults.count ? faults.lines[0] : "no memory");
    }
    workflow_faults_fini(&faults);
    json_decref(definition);
    return err;
}

int start_workflow(struct flow *flow, struct span tag, struct span body,
    struct workflow **ret_workflow, char *why, size_t why_cap)
{
    uint64_t hash = flow_hash(flow, tag.data, tag.len);
    struct tagged *tagged = (struct tagged *)table_find(&flow->tags, hash, tagged_equal, &tag);

    if (tagged && span_equal(span_of(tagged->body.data, tagged->body.len), body)) {
        *ret_workflow = tagged->workflow;
        return 0;
    }
    if (tagged) {
        table_remove(&flow->tags, &tagged->item);
        tagged_free(tagged);
    } else if (flow->tags.count >= TAGS_MAX) {
        start_fini(flow);
    }
    struct workflow *workflow;
    int err = compile(body, &workflow, why, why_cap);
    if (err) {
        return err;
    }
    tagged = mem_zalloc(sizeof(*tagged));
    tagged->item.hash = hash;
    tagged->tag = mem_strndup((const char *)tag.data, tag.len);
    tagged->workflow = workflow;
    if (bytes_append(&tagged->body, body.data, body.len) != 0 ||
        table_add(&flow->tags, &tagged->item) != 0) {
        tagged_free(tagged);
        snprintf(why, why_cap, "no memory");
        return -ENOMEM;
    }
    *ret_workflow = workflow;
    return 0;
}

/* ---- errands ---- */

struct errand *errand_new(struct flow *flow, struct flow_ask *ask, struct flow_signal *signal)
{
    struct errand *errand = mem_try_zalloc(sizeof(*errand));

    if (errand) {
        errand->flow = flow;
        errand->ask = ask;
        errand->signal = signal;
        flow->under_way += 1;
    }
    return errand;
}

void errand_free(struct errand *errand)
{
    errand->flow->under_way -= 1;
    json_decref(errand->message);
    mem_free(errand->tag);
    mem_free(errand->user);
    mem_free(errand->node);
    bytes_fini(&errand->body);
    mem_free(errand);
}

/* ---- starting ---- */

static void refuse(struct errand *errand, int code, const char *word, const char *text)
{
    struct flow *flow = errand->flow;

    if (errand->ask) {
        ask_error(flow, errand->ask, code, word, text);
    } else if (code == 503) {
        flow->store->release_signal(flow->store->ctx, errand->signal, FLOW_LATER, text);
    } else {
        in_dead_signal(flow, errand->signal, text);
    }
    errand_free(errand);
}

static void refuse_err(struct errand *errand, int err)
{
    if (errand->ask) {
        ask_store_error(errand->flow, errand->ask, err);
        errand_free(errand);
    } else {
        refuse(errand, 503, "store_down", "the store failed");
    }
}

/* On the embedded store nobody would ever take such a task. */
static const char *outside_type(const struct flow *flow, const struct workflow *workflow)
{
    for (uint32_t i = 0; !flow->store->outside_workers && i < workflow->node_count; i++) {
        const char *type = workflow->nodes[i].type;
        if (node_type_find(span_str(type))->work == NODE_WORK_OUTSIDE) {
            return type;
        }
    }
    return NULL;
}

static void send_start(struct errand *errand, struct workflow *workflow)
{
    struct flow *flow = errand->flow;
    struct item *item = item_new(flow, ITEM_START);
    json_t *inputs = json_object_get(errand->message, "inputs");
    char ref[FLOW_REF_LEN + 1];
    int err = item ? 0 : -ENOMEM;

    inputs = inputs && !json_is_null(inputs) ? json_incref(inputs) : json_object();
    err = err ? err : inputs ? canon_blob(inputs, &item->inputs, ref) : -ENOMEM;
    if (!err && item->inputs.len > flow->options.inputs_bytes_max) {
        char why[128];
        snprintf(why, sizeof(why), "inputs: %zu bytes; at most %zu (flow.inputs_bytes)",
            item->inputs.len, flow->options.inputs_bytes_max);
        item_free(item);
        json_decref(inputs);
        refuse(errand, 413, "too_large", why);
        return;
    }
    if (!err) {
        values_keep(flow, ref, inputs, item->inputs.len);
        err = run_create(workflow, span_str(errand->run_id), span_str(errand->tag),
            span_str(errand->user), &item->fresh);
    }
    json_decref(inputs);
    if (!err && !item_send(item, span_str(errand->run_id))) {
        err = -ENOMEM;
    }
    if (err) {
        if (item) {
            item_free(item);
        }
        refuse(errand, err == -EINVAL ? 400 : 503, err == -EINVAL ? "bad_run" : "no_memory",
            err == -EINVAL ? "run_id, tag or user: too long, or no UTF-8"
                           : "no memory for the run");
        return;
    }
    item->ask = errand->ask;
    item->signal = errand->signal;
    errand_free(errand);
}

static void use_definition(struct errand *errand, struct span body)
{
    struct flow *flow = errand->flow;
    char why[FLOW_WHY_MAX], text[FLOW_WHY_MAX + 100];
    struct workflow *workflow;
    int err = start_workflow(flow, span_str(errand->tag), body, &workflow, why, sizeof(why));

    if (err) {
        snprintf(text, sizeof(text), "the workflow cannot be run: %s", why);
        refuse(errand, err == -ENOMEM ? 503 : 409, err == -ENOMEM ? "no_memory" : "bad_workflow",
            text);
        return;
    }
    const char *type = outside_type(flow, workflow);
    if (type) {
        snprintf(text, sizeof(text),
            "a node has the type \"%s\", which outside workers do: they join over Redis, so start "
            "with --redis-host",
            type);
        refuse(errand, 409, "needs_workers", text);
        return;
    }
    send_start(errand, workflow);
}

static void refuse_unknown(struct errand *errand)
{
    char text[FLOW_TAG_MAX + 64];

    snprintf(text, sizeof(text), "there is no workflow \"%s\"", errand->tag);
    refuse(errand, 404, "unknown_workflow", text);
}

static void shelved(struct flow_shelf *shelf)
{
    struct errand *errand = shelf->owner;

    if (shelf->err == -ENOENT) {
        refuse_unknown(errand);
    } else if (shelf->err) {
        refuse_err(errand, shelf->err);
    } else {
        use_definition(errand, shelf->items[0].body);
    }
}

static void artifact_read(struct flow_get *get)
{
    struct errand *errand = get->owner;

    if (get->err == -ENOENT || get->err == -EMSGSIZE) {
        refuse(errand, 404, "unknown_workflow", "artifact_id: it is not in the store");
    } else if (get->err) {
        refuse_err(errand, get->err);
    } else {
        use_definition(errand, get->body);
    }
}

/* A copy of a string; "", which is no name of anything, when it has a NUL: what is before that is another name. */
static char *text_of(const json_t *string)
{
    const char *text = json_string_value(string);
    size_t len = json_string_length(string);

    return mem_strndup(text, strlen(text) == len ? len : 0);
}

/* What a run request has and a question has not; NULL, or what is wrong. */
static const char *read_request(struct errand *errand)
{
    const char *id = json_string_value(json_object_get(errand->message, "run_id"));
    const char *user = json_string_value(json_object_get(errand->message, "username"));
    size_t id_len = json_string_length(json_object_get(errand->message, "run_id"));

    if (!id || id_len == 0 || id_len > FLOW_RUN_ID_MAX ||
        id_len != strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-")) {
        return "run_id: 1 to 64 of A-Z a-z 0-9 _ . - are expected";
    }
    snprintf(errand->run_id, sizeof(errand->run_id), "%s", id);
    errand->user = user ? text_of(json_object_get(errand->message, "username")) : NULL;
    return user ? NULL : "username: a string is expected";
}

static bool user_good(const char *user)
{
    struct bytes name = {0};
    bool good = *user && bytes_appendf(&name, "user:%s", user) == 0 &&
                name_check(span_of(name.data, name.len)) == NULL;

    bytes_fini(&name);
    return good;
}

/* Fills in errand from what was sent; false: it is answered. */
static bool read_start(struct errand *errand)
{
    struct flow_ask *ask = errand->ask;
    struct span body = ask ? ask->body : errand->signal->body;
    char why[FLOW_WHY_MAX];
    const char *fault = NULL;
    json_t *inputs;

    errand->message = ask && body.len == 0 ? json_object() : json_read(body, why, sizeof(why));
    if (!errand->message || !json_is_object(errand->message)) {
        refuse(errand, 400, "bad_json", errand->message ? "an object is expected" : why);
        return false;
    }
    if (ask) {
        flow_make_id(errand->flow, errand->run_id);
        errand->user = mem_strndup((const char *)ask->user.data, ask->user.len);
    } else {
        fault = read_request(errand);
    }
    const json_t *tag = json_object_get(errand->message, "tag");
    if (ask && ask->name.len) {
        const char *end = memchr(ask->name.data, 0, ask->name.len);
        errand->tag = mem_strndup((const char *)ask->name.data, end ? 0 : ask->name.len);
    } else if (json_is_string(tag)) {
        errand->tag = text_of(tag);
    }
    inputs = json_object_get(errand->message, "inputs");
    if (!fault && (!errand->tag || !*errand->tag || strlen(errand->tag) > FLOW_TAG_MAX)) {
        fault = "tag: the tag of a workflow is expected, a string of 1 to 128 bytes";
    } else if (!fault && inputs && !json_is_object(inputs) && !json_is_null(inputs)) {
        fault = "inputs: an object is expected";
    } else if (!fault && !user_good(errand->user)) {
        fault =
            "the user is no name for a channel: 1 to 255 bytes of UTF-8 without control characters";
    }
    if (fault) {
        refuse(errand, 400, "bad_run", fault);
        return false;
    }
    return true;
}

void start_begin(struct flow *flow, struct flow_ask *ask, struct flow_signal *signal)
{
    struct errand *errand = errand_new(flow, ask, signal);
    const char *artifact;

    if (!errand) {
        if (ask) {
            ask_store_error(flow, ask, -ENOMEM);
        } else {
            flow->store->release_signal(flow->store->ctx, signal, FLOW_LATER, "no memory");
        }
        return;
    }
    if (!read_start(errand)) {
        return;
    }
    artifact = signal ? json_string_value(json_object_get(errand->message, "artifact_id")) : NULL;
    if (artifact && canon_ref_parse(span_str(artifact), errand->key)) {
        errand->get = (struct flow_get){
            .done = artifact_read,
            .owner = errand,
            .key = span_str(errand->key),
            .bytes_max = flow->options.result_bytes_max,
        };
        flow->store->blob(flow->store->ctx, &errand->get);
        return;
    }
    errand->shelf = (struct flow_shelf){
        .done = shelved, .owner = errand, .act = FLOW_SHELF_GET, .tag = span_str(errand->tag)};
    flow->store->shelf(flow->store->ctx, &errand->shelf);
}
