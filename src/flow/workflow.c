#include "flow/workflow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "flow/canon.h"
#include "flow/condition.h"
#include "flow/workflow_own.h"

static void free_workflow(struct workflow *workflow)
{
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        mem_free(workflow->nodes[i].id);
        mem_free(workflow->nodes[i].type);
        json_decref(workflow->nodes[i].config);
    }
    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        condition_free(workflow->edges[i].condition);
        mem_free(workflow->edges[i].body);
    }
    mem_free(workflow->nodes);
    mem_free(workflow->edges);
    mem_free(workflow->by_id);
    mem_free(workflow->links);
    mem_free(workflow->before);
    json_decref(workflow->definition);
    mem_free(workflow);
}

struct workflow *workflow_ref(struct workflow *workflow)
{
    workflow->refs++;
    return workflow;
}

void workflow_unref(struct workflow *workflow)
{
    if (!workflow) {
        return;
    }
    CHECK(workflow->refs > 0);
    if (--workflow->refs == 0) {
        free_workflow(workflow);
    }
}

static int compare_id(struct span id, const char *other)
{
    size_t len = strlen(other), least = id.len < len ? id.len : len;
    int order = least ? memcmp(id.data, other, least) : 0;

    return order ? order : (id.len > len) - (id.len < len);
}

uint32_t workflow_find(const struct workflow *workflow, struct span id)
{
    uint32_t low = 0, high = workflow->node_count;

    /* The first that is not below: of two with the same id (a fault) the first one. */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_id(id, workflow->nodes[workflow->by_id[middle]].id) > 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == workflow->node_count ||
        compare_id(id, workflow->nodes[workflow->by_id[low]].id) != 0) {
        return UINT32_MAX;
    }
    return workflow->by_id[low];
}

bool workflow_before(const struct workflow *workflow, uint32_t ancestor, uint32_t node)
{
    size_t words = (workflow->node_count + 63) / 64;

    return workflow->before[node * words + ancestor / 64] >> (ancestor % 64) & 1;
}

/* The hash of what it says; then no two that differ in a space only are two. */
static void give_ref(struct draft *draft)
{
    struct bytes text = {0};
    int err = canon_blob(draft->workflow->definition, &text, draft->workflow->ref);

    if (err == -ERANGE) {
        workflow_faults_add(draft->faults, "definition: it is nested too deep; expected at most "
                                           "64 levels");
    } else if (err) {
        draft->no_memory = true;
    }
    bytes_fini(&text);
}

int workflow_compile_json(json_t *definition, workflow_check_fn *check, void *ctx,
    struct workflow **ret_workflow, struct workflow_faults *faults)
{
    uint32_t before = faults->count + faults->more_count, told = faults->count;
    struct draft draft = {.faults = faults, .check = check, .check_ctx = ctx};

    if (!json_is_object(definition)) {
        workflow_faults_add(faults,
            "definition: %s; expected an object with \"nodes\" and \"edges\"",
            workflow_is(definition).text);
        return faults->count > told ? -EINVAL : -ENOMEM;
    }
    draft.workflow = mem_try_zalloc(sizeof *draft.workflow);
    if (!draft.workflow) {
        return -ENOMEM;
    }
    draft.workflow->refs = 1;
    draft.workflow->definition = json_incref(definition);
    give_ref(&draft);
    workflow_parse(&draft);
    if (!draft.no_memory) {
        workflow_link(&draft);
    }
    bool faulty = faults->count + faults->more_count > before;
    if (draft.no_memory || faulty) {
        workflow_unref(draft.workflow);
        /* A fault of which nothing could be kept is told to nobody. */
        return draft.no_memory || (faults->count == 0) ? -ENOMEM : -EINVAL;
    }
    *ret_workflow = draft.workflow;
    return 0;
}

int workflow_compile(struct span text, workflow_check_fn *check, void *ctx,
    struct workflow **ret_workflow, struct workflow_faults *faults)
{
    char why[200];
    json_t *definition = json_read(text, why, sizeof why);

    if (!definition) {
        if (errno == ENOMEM) {
            return -ENOMEM;
        }
        uint32_t told = faults->count;
        workflow_faults_add(faults, "definition: %s", why);
        return faults->count > told ? -EINVAL : -ENOMEM;
    }
    int err = workflow_compile_json(definition, check, ctx, ret_workflow, faults);
    json_decref(definition);
    return err;
}
