/* Edges: which nodes they join, and when they are taken. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/nearest.h"
#include "flow/condition.h"
#include "flow/workflow_own.h"

enum { PLACE_MAX = 64, ITERATIONS_MAX = 10000 };

/* The node at one end, or UINT32_MAX and a fault. */
static uint32_t parse_end(struct draft *draft, uint32_t index, const char *end, const json_t *value)
{
    const struct workflow *workflow = draft->workflow;
    const char *id = json_string_value(value);
    size_t len = json_string_length(value);
    struct nearest nearest = {0};

    if (!id) {
        workflow_faults_add(draft->faults, "edges[%u].%s: %s; expected the id of a node", index,
            end, workflow_is(value).text);
        return UINT32_MAX;
    }
    /* "" is the id of all nodes without one, and meant by nobody. */
    uint32_t node = len ? workflow_find(workflow, span_of(id, len)) : UINT32_MAX;
    if (node != UINT32_MAX) {
        return node;
    }
    for (uint32_t i = 0; i < workflow->node_count && draft->suggestions < SUGGESTIONS_MAX; i++) {
        draft->suggestions++;
        nearest_try(&nearest, span_of(id, len), workflow->nodes[i].id);
    }
    workflow_faults_add(draft->faults, "edges[%u].%s: there is no node \"%s\"%s%s%s", index, end,
        workflow_quote(id, len).text, nearest.name[0] ? "; did you mean \"" : "", nearest.name,
        nearest.name[0] ? "\"?" : "");
    return UINT32_MAX;
}

static void parse_when(
    struct draft *draft, uint32_t index, const json_t *when, struct workflow_edge *edge)
{
    static const struct {
        const char *word;
        enum edge_when when;
    } words[] = {{"else", EDGE_ELSE}, {"failed", EDGE_FAILED}, {"always", EDGE_ALWAYS}};
    char why[CONDITION_WHY_MAX];

    if (!when) {
        return;
    }
    for (size_t i = 0; i < COUNT_OF(words); i++) {
        if (json_is_string(when) && strcmp(json_string_value(when), words[i].word) == 0) {
            edge->when = words[i].when;
            return;
        }
    }
    edge->when = EDGE_CONDITION;
    int err = condition_compile(when, &edge->condition, why);
    if (err == -ENOMEM) {
        draft->no_memory = true;
    } else if (err) {
        workflow_faults_add(draft->faults, "edges[%u].when: %s", index, why);
    }
}

static void parse_edge(struct draft *draft, uint32_t index, const json_t *given)
{
    static const char *const names[] = {"from", "to", "when", "max_iterations", NULL};
    struct workflow_edge *edge = &draft->workflow->edges[index];
    char place[PLACE_MAX];
    uint64_t iterations = 1;

    edge->from = edge->to = UINT32_MAX;
    snprintf(place, sizeof place, "edges[%u]", index);
    if (!json_is_object(given)) {
        workflow_faults_add(draft->faults, "%s: %s; expected an object with \"from\" and \"to\"",
            place, workflow_is(given).text);
        return;
    }
    workflow_check_members(draft, place, given, names);
    edge->from = parse_end(draft, index, "from", json_object_get(given, "from"));
    edge->to = parse_end(draft, index, "to", json_object_get(given, "to"));
    parse_when(draft, index, json_object_get(given, "when"), edge);
    const json_t *most = json_object_get(given, "max_iterations");
    if (most) {
        snprintf(place, sizeof place, "edges[%u].max_iterations", index);
        (void)workflow_number(draft, place, most, 1, ITERATIONS_MAX, &iterations);
        edge->max_iterations = (uint32_t)iterations;
        if (edge->when == EDGE_ELSE) {
            workflow_faults_add(draft->faults,
                "edges[%u].when: is \"else\" on a loop edge; expected a condition, \"failed\" or "
                "\"always\"",
                index);
        }
    }
}

/* "else" without a condition beside it would be the same as no `when`: it was meant otherwise. */
static void check_else(struct draft *draft)
{
    const struct workflow *workflow = draft->workflow;
    bool *conditional = mem_try_zalloc(workflow->node_count * sizeof *conditional + 1);

    if (!conditional) {
        draft->no_memory = true;
        return;
    }
    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        const struct workflow_edge *edge = &workflow->edges[i];
        if (edge->when == EDGE_CONDITION && edge->from != UINT32_MAX) {
            conditional[edge->from] = true;
        }
    }
    for (uint32_t i = 0; i < workflow->edge_count; i++) {
        const struct workflow_edge *edge = &workflow->edges[i];
        if (edge->when == EDGE_ELSE && edge->from != UINT32_MAX && !edge->max_iterations &&
            !conditional[edge->from]) {
            const char *id = workflow->nodes[edge->from].id;
            workflow_faults_add(draft->faults,
                "edges[%u].when: is \"else\", but no edge from \"%s\" has a condition", i,
                workflow_quote(id, strlen(id)).text);
        }
    }
    mem_free(conditional);
}

void workflow_parse_edges(struct draft *draft, const json_t *edges)
{
    struct workflow *workflow = draft->workflow;
    size_t count = json_array_size(edges);

    if (edges && !json_is_array(edges)) {
        workflow_faults_add(draft->faults, "edges: %s; expected an array of at most %d edges",
            workflow_is(edges).text, WORKFLOW_EDGES_MAX);
        return;
    }
    if (count > WORKFLOW_EDGES_MAX) {
        workflow_faults_add(
            draft->faults, "edges: there are %zu; expected at most %d", count, WORKFLOW_EDGES_MAX);
        return;
    }
    /* Without nodes each edge would be a fault more, and none the reader's. */
    if (workflow->node_count == 0 || count == 0) {
        return;
    }
    workflow->edges = mem_try_zalloc(count * sizeof *workflow->edges);
    if (!workflow->edges) {
        draft->no_memory = true;
        return;
    }
    workflow->edge_count = (uint32_t)count;
    for (uint32_t i = 0; i < count && !draft->no_memory; i++) {
        parse_edge(draft, i, json_array_get(edges, i));
    }
    check_else(draft);
}
