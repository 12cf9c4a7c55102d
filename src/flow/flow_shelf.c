/* Questions about workflows: kept by tag, judged before they are kept. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "flow/canon.h"
#include "flow/flow_own.h"

/* The types of its nodes, each once, in the order of the nodes. */
static json_t *types_of(const struct workflow *workflow)
{
    json_t *seen = json_object(), *out = json_array();

    for (uint32_t i = 0; seen && out && i < workflow->node_count; i++) {
        if (!json_object_get(seen, workflow->nodes[i].type)) {
            json_object_set_new(seen, workflow->nodes[i].type, json_true());
            json_array_append_new(out, json_string(workflow->nodes[i].type));
        }
    }
    json_decref(seen);
    return out;
}

static json_t *row_of(struct flow *flow, const struct flow_shelf_item *item)
{
    char why[FLOW_WHY_MAX];
    struct workflow *workflow;

    if (start_workflow(flow, item->tag, item->body, &workflow, why, sizeof(why)) != 0) {
        /* Stored by somebody else, or by another version. */
        return json_pack("{s:s%, s:s, s:I}", "tag", (const char *)item->tag.data, item->tag.len,
            "fault", why, "updated_ms", (json_int_t)item->updated_ms);
    }
    json_t *row = json_pack("{s:s%, s:s, s:i, s:o, s:I}", "tag", (const char *)item->tag.data,
        item->tag.len, "ref", workflow->ref, "nodes", (int)workflow->node_count, "types",
        types_of(workflow), "updated_ms", (json_int_t)item->updated_ms);
    json_t *description = json_object_get(workflow->definition, "description");
    if (row && json_is_string(description)) {
        json_object_set(row, "description", description);
    }
    return row;
}

static void reply_all(struct flow *flow, struct flow_ask *ask, const struct flow_shelf *shelf)
{
    json_t *rows = json_array();

    for (uint32_t i = 0; rows && i < shelf->count; i++) {
        json_array_append_new(rows, row_of(flow, &shelf->items[i]));
    }
    ask_reply(flow, ask, 200, json_pack("{s:o}", "workflows", rows));
}

static void reply_one(struct flow *flow, struct flow_ask *ask, const struct flow_shelf_item *item)
{
    json_t *row = row_of(flow, item);
    json_t *definition = json_loadb(
        (const char *)item->body.data, item->body.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);

    if (row && definition) {
        json_object_set_new(row, "definition", definition);
    }
    ask_reply(flow, ask, 200, row);
}

static void shelf_answered(struct flow_shelf *shelf)
{
    struct errand *errand = shelf->owner;
    struct flow *flow = errand->flow;
    struct flow_ask *ask = errand->ask;

    if (shelf->err == -ENOENT) {
        ask_error(flow, ask, 404, "unknown_workflow", "there is no workflow of that tag");
    } else if (shelf->err) {
        ask_store_error(flow, ask, shelf->err);
    } else if (shelf->act == FLOW_SHELF_LIST) {
        reply_all(flow, ask, shelf);
    } else if (shelf->act == FLOW_SHELF_GET) {
        reply_one(flow, ask, &shelf->items[0]);
    } else if (shelf->act == FLOW_SHELF_DELETE) {
        ask_done(flow, ask, 204);
    } else {
        json_object_set_new(errand->message, "created", json_boolean(shelf->created));
        ask_reply(flow, ask, shelf->created ? 201 : 200, json_incref(errand->message));
    }
    errand_free(errand);
}

static void reply_faults(
    struct flow *flow, struct flow_ask *ask, const struct workflow_faults *faults)
{
    json_t *lines = json_array();

    for (uint32_t i = 0; lines && i < faults->count; i++) {
        json_array_append_new(lines, json_string(faults->lines[i]));
    }
    ask_reply(flow, ask, 400,
        json_pack("{s:{s:s, s:s}, s:o, s:i}", "error", "code", "bad_workflow", "message",
            faults->count ? faults->lines[0] : "it cannot be compiled", "faults", lines, "more",
            (int)faults->more_count));
}

/* Judges what is to be put; false: it is answered. errand->body becomes what is stored, message the answer. */
static bool judge(struct flow *flow, struct errand *errand)
{
    struct flow_ask *ask = errand->ask;
    struct workflow_faults faults = {0};
    struct workflow *workflow = NULL;
    char why[FLOW_WHY_MAX];
    json_t *definition = json_read(ask->body, why, sizeof(why));

    if (!definition) {
        ask_error(flow, ask, 400, "bad_json", why);
        return false;
    }
    int err = start_compile(definition, &workflow, &faults);
    char *text = err ? NULL : json_dumps(definition, JSON_COMPACT);
    json_decref(definition);
    if (err == -EINVAL) {
        reply_faults(flow, ask, &faults);
    } else if (!text || bytes_append_str(&errand->body, text) != 0) {
        ask_store_error(flow, ask, -ENOMEM);
        err = -ENOMEM;
    } else {
        errand->message = json_pack("{s:s%, s:s, s:i}", "tag", (const char *)ask->name.data,
            ask->name.len, "ref", workflow->ref, "nodes", (int)workflow->node_count);
    }
    mem_free(text);
    if (workflow && err != -EINVAL) {
        workflow_unref(workflow);
    }
    workflow_faults_fini(&faults);
    return err == 0;
}

static bool tag_good(struct span tag)
{
    bool good = tag.len > 0 && tag.len <= FLOW_TAG_MAX;

    for (size_t i = 0; good && i < tag.len; i++) {
        uint8_t c = tag.data[i];
        good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
               c == '_' || c == '.' || c == '-';
    }
    return good;
}

void ask_shelf(struct flow *flow, struct errand *errand)
{
    struct flow_ask *ask = errand->ask;
    enum flow_shelf_act act = ask->what == FLOW_ASK_WORKFLOWS  ? FLOW_SHELF_LIST
                              : ask->what == FLOW_ASK_WORKFLOW ? FLOW_SHELF_GET
                              : ask->what == FLOW_ASK_PUT      ? FLOW_SHELF_PUT
                                                               : FLOW_SHELF_DELETE;

    if (act != FLOW_SHELF_LIST && !tag_good(ask->name)) {
        ask_error(flow, ask, act == FLOW_SHELF_PUT ? 400 : 404,
            act == FLOW_SHELF_PUT ? "bad_tag" : "unknown_workflow",
            "a tag has 1 to 128 of A-Z a-z 0-9 _ . -");
        errand_free(errand);
        return;
    }
    if (act == FLOW_SHELF_PUT && !judge(flow, errand)) {
        errand_free(errand);
        return;
    }
    errand->shelf = (struct flow_shelf){.done = shelf_answered,
        .owner = errand,
        .act = act,
        .tag = ask->name,
        .body = span_of(errand->body.data, errand->body.len),
        .now_ms = flow->now_ms};
    flow->store->shelf(flow->store->ctx, &errand->shelf);
}
