/* What nodes look at: which of the other nodes' results, and whether those can be there. */
#include "base/nearest.h"
#include "flow/nodes.h"
#include "flow/nodes_config.h"
#include "flow/pointer.h"
#include "flow/why.h"

enum { SUGGESTIONS_MAX = 10 }; /* Faults that come with a node's name that may be meant. */

/* Calls look's fn with everything a node of ours looks at by name. */
static void look_at_node(
    const struct config_look *look, const char *place, const struct workflow_node *node)
{
    const struct config_member *members = config_members(node->type);
    char inner[CONFIG_PLACE_MAX];

    for (; members && members->name; members++) {
        const json_t *value = json_object_get(node->config, members->name);
        if (value) {
            why_say(inner, sizeof(inner), "%s.%s", place, members->name);
            config_look(look, inner, value, members->kind);
        }
    }
}

/* ---- what a node needs ---- */

struct needs {
    const struct workflow *workflow;
    uint32_t node;
    struct node_needs *needs;
    bool seen[WORKFLOW_NODES_MAX];
};

static void need_results(struct needs *needs, struct span pointer)
{
    const struct workflow *workflow = needs->workflow;
    struct span segment;

    if (pointer_next(&pointer, &segment)) {
        uint32_t found = workflow_find(workflow, segment);
        if (found < WORKFLOW_NODES_MAX) {
            needs->seen[found] = true;
        }
        return;
    }
    /* "/results": of all nodes that are before it. */
    for (uint32_t i = 0; i < workflow->node_count && i < WORKFLOW_NODES_MAX; i++) {
        needs->seen[i] |= workflow_before(workflow, i, needs->node);
    }
}

static const char *note_need(void *ctx, struct span pointer)
{
    struct needs *needs = ctx;
    struct span segment;

    if (!pointer_next(&pointer, &segment)) {
        return NULL;
    }
    if (pointer_names(segment, span_str("results"))) {
        need_results(needs, pointer);
    }
    needs->needs->payload |= pointer_names(segment, span_str("payload"));
    needs->needs->inputs |= pointer_names(segment, span_str("inputs"));
    return NULL;
}

uint32_t nodes_needs(const struct workflow *workflow, uint32_t node, struct node_needs *ret_needs,
    uint32_t *results, uint32_t cap)
{
    const struct workflow_node *at = &workflow->nodes[node];
    struct needs needs = {.workflow = workflow, .node = node, .needs = ret_needs};
    struct config_look look = {.fn = note_need, .ctx = &needs};
    uint32_t count = 0;

    *ret_needs = (struct node_needs){0};
    look_at_node(&look, "", at);
    if (strcmp(at->type, "transform") == 0 && !json_object_get(at->config, "output")) {
        ret_needs->payload = true;
    }
    if (strcmp(at->type, "filter") == 0 && !json_object_get(at->config, "items")) {
        ret_needs->payload = true;
    }
    if (strcmp(at->type, "aggregate") == 0 && !json_object_get(at->config, "from")) {
        ret_needs->predecessors = true;
    }
    for (uint32_t i = 0; i < workflow->node_count && i < WORKFLOW_NODES_MAX; i++) {
        if (needs.seen[i] && count++ < cap) {
            results[count - 1] = i;
        }
    }
    return count;
}

/* ---- whether it can be there ---- */

struct references {
    const struct workflow *workflow;
    uint32_t node;
    const struct workflow_faults *faults;
    char said[NODES_WHY_MAX];
};

static const char *check_reference(void *ctx, struct span pointer)
{
    struct references *references = ctx;
    const struct workflow *workflow = references->workflow;
    struct nearest nearest = {0};
    struct span segment, id;

    if (!pointer_next(&pointer, &segment) || !pointer_names(segment, span_str("results")) ||
        !pointer_next(&pointer, &id)) {
        return NULL;
    }
    uint32_t found = workflow_find(workflow, id);
    if (found == UINT32_MAX) {
        /* A definition made to cost would have us look for thousands of times. */
        bool worth = references->faults->count < SUGGESTIONS_MAX;
        for (uint32_t i = 0; worth && i < workflow->node_count; i++) {
            nearest_try(&nearest, id, workflow->nodes[i].id);
        }
        if (!nearest.name[0]) {
            return "names no node";
        }
        why_say(references->said, sizeof(references->said), "names no node; did you mean \"%s\"?",
            nearest.name);
        return references->said;
    }
    return workflow_before(workflow, found, references->node)
               ? NULL
               : "looks at a node that is not before this one";
}

void nodes_check_references(const struct workflow *workflow, struct workflow_faults *faults)
{
    struct references references = {.workflow = workflow, .faults = faults};
    struct config_look look = {.fn = check_reference, .ctx = &references, .faults = faults};
    char place[64];

    for (uint32_t i = 0; i < workflow->node_count; i++) {
        references.node = i;
        why_say(place, sizeof(place), "nodes[%u].config", i);
        look_at_node(&look, place, &workflow->nodes[i]);
    }
}
