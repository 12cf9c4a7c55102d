/* Nodes and edges, each by itself. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "flow/workflow_own.h"

#define LETTERS_LOW "abcdefghijklmnopqrstuvwxyz"
#define LETTERS LETTERS_LOW "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

enum { PLACE_MAX = 64, ATTEMPTS_MAX = 100 };

static const uint64_t ms_max = UINT64_C(30) * 24 * 3600 * 1000;
static const uint64_t backoff_default_ms = 1000, backoff_most_default_ms = 60000;

static bool is_number_between(const json_t *value, double min, double max)
{
    return json_is_number(value) && json_number_value(value) >= min &&
           json_number_value(value) <= max;
}

static void parse_backoff(
    struct draft *draft, uint32_t index, const json_t *given, struct workflow_retry *retry)
{
    char place[PLACE_MAX];
    const json_t *backoff = json_object_get(given, "backoff_ms");
    const json_t *factor = json_object_get(given, "factor");
    const json_t *most = json_object_get(given, "max_backoff_ms");

    if (backoff) {
        snprintf(place, sizeof place, "nodes[%u].retry.backoff_ms", index);
        (void)workflow_number(draft, place, backoff, 0, ms_max, &retry->backoff_ms);
    }
    if (factor && is_number_between(factor, 1, ATTEMPTS_MAX)) {
        retry->factor = json_number_value(factor);
    } else if (factor) {
        workflow_faults_add(draft->faults,
            "nodes[%u].retry.factor: %s; expected a number from 1 to 100", index,
            workflow_is(factor).text);
    }
    snprintf(place, sizeof place, "nodes[%u].retry.max_backoff_ms", index);
    if (!most && retry->backoff_ms > retry->max_backoff_ms) {
        retry->max_backoff_ms = retry->backoff_ms;
    } else if (most) {
        (void)workflow_number(
            draft, place, most, retry->backoff_ms, ms_max, &retry->max_backoff_ms);
    }
}

static void parse_retry(
    struct draft *draft, uint32_t index, const json_t *given, struct workflow_retry *retry)
{
    static const char *const names[] = {
        "max_attempts", "backoff_ms", "factor", "max_backoff_ms", NULL};
    char place[PLACE_MAX];
    uint64_t attempts = 1;

    *retry = (struct workflow_retry){.max_attempts = 1,
        .backoff_ms = backoff_default_ms,
        .max_backoff_ms = backoff_most_default_ms,
        .factor = 2};
    if (!given) {
        return;
    }
    if (!json_is_object(given)) {
        workflow_faults_add(draft->faults,
            "nodes[%u].retry: %s; expected an object with \"max_attempts\"", index,
            workflow_is(given).text);
        return;
    }
    snprintf(place, sizeof place, "nodes[%u].retry", index);
    workflow_check_members(draft, place, given, names);
    snprintf(place, sizeof place, "nodes[%u].retry.max_attempts", index);
    (void)workflow_number(
        draft, place, json_object_get(given, "max_attempts"), 1, ATTEMPTS_MAX, &attempts);
    retry->max_attempts = (uint32_t)attempts;
    parse_backoff(draft, index, given, retry);
}

/* A copy, or "" of what is no string; NULL: no memory. */
static char *copy_string(struct draft *draft, const json_t *value)
{
    size_t len = json_string_length(value);
    char *copy = mem_try_zalloc(len + 1);

    if (!copy) {
        draft->no_memory = true;
    } else if (len > 0) {
        memcpy(copy, json_string_value(value), len);
    }
    return copy;
}

static void check_description(struct draft *draft, const char *place, const json_t *object)
{
    const json_t *text = json_object_get(object, "description");

    if (text && !json_is_string(text)) {
        workflow_faults_add(
            draft->faults, "%s: %s; expected a string", place, workflow_is(text).text);
    }
}

/* What it does: its type, and what the type says of its config. */
static void parse_work(
    struct draft *draft, uint32_t index, const json_t *given, struct workflow_node *node)
{
    char place[PLACE_MAX];
    const json_t *type = json_object_get(given, "type");
    json_t *config = json_object_get(given, "config");

    snprintf(place, sizeof place, "nodes[%u].type", index);
    bool known =
        workflow_word(draft, place, type, LETTERS_LOW DIGITS "_-", FLOW_TYPE_MAX, "a-z 0-9 _ -");
    node->type = copy_string(draft, type);
    snprintf(place, sizeof place, "nodes[%u].config", index);
    if (config && !json_is_object(config)) {
        workflow_faults_add(
            draft->faults, "%s: %s; expected an object", place, workflow_is(config).text);
        known = false;
    }
    node->config = config ? json_incref(config) : json_object();
    if (!node->config || !node->type) {
        draft->no_memory = true;
    } else if (known && draft->check) {
        draft->check(draft->check_ctx, place, node->type, node->config, draft->faults);
    }
}

static void parse_node(struct draft *draft, uint32_t index, const json_t *given)
{
    static const char *const names[] = {
        "id", "type", "config", "retry", "timeout_ms", "description", NULL};
    struct workflow_node *node = &draft->workflow->nodes[index];
    char place[PLACE_MAX];

    /* Of an id that is no string nothing is left, and no edge can mean it. */
    const json_t *id = json_object_get(given, "id");
    node->id = copy_string(draft, id);
    snprintf(place, sizeof place, "nodes[%u]", index);
    if (!json_is_object(given)) {
        workflow_faults_add(draft->faults, "%s: %s; expected an object with \"id\" and \"type\"",
            place, workflow_is(given).text);
        return;
    }
    workflow_check_members(draft, place, given, names);
    snprintf(place, sizeof place, "nodes[%u].id", index);
    (void)workflow_word(
        draft, place, id, LETTERS DIGITS "_.-", FLOW_NODE_ID_MAX, "A-Z a-z 0-9 _ . -");
    parse_work(draft, index, given, node);
    parse_retry(draft, index, json_object_get(given, "retry"), &node->retry);
    const json_t *timeout = json_object_get(given, "timeout_ms");
    if (timeout) {
        snprintf(place, sizeof place, "nodes[%u].timeout_ms", index);
        (void)workflow_number(draft, place, timeout, 1, ms_max, &node->timeout_ms);
    }
    snprintf(place, sizeof place, "nodes[%u].description", index);
    check_description(draft, place, given);
}

static int compare_by_id(const void *a, const void *b, void *ctx)
{
    const struct workflow_node *nodes = ctx;
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = strcmp(nodes[x].id, nodes[y].id);

    return order ? order : (x > y) - (x < y);
}

static void sort_ids(struct draft *draft)
{
    struct workflow *workflow = draft->workflow;
    struct workflow_node *nodes = workflow->nodes;

    workflow->by_id = mem_try_alloc(workflow->node_count * sizeof *workflow->by_id);
    if (!workflow->by_id) {
        draft->no_memory = true;
        return;
    }
    for (uint32_t i = 0; i < workflow->node_count; i++) {
        workflow->by_id[i] = i;
    }
    qsort_r(workflow->by_id, workflow->node_count, sizeof *workflow->by_id, compare_by_id, nodes);
    for (uint32_t i = 1, first = 0; i < workflow->node_count; i++) {
        uint32_t node = workflow->by_id[i], other = workflow->by_id[first];
        if (strcmp(nodes[node].id, nodes[other].id) != 0) {
            first = i;
        } else if (nodes[node].id[0]) {
            workflow_faults_add(draft->faults, "nodes[%u].id: \"%s\" is nodes[%u] already", node,
                workflow_quote(nodes[node].id, strlen(nodes[node].id)).text, other);
        }
    }
}

static void parse_nodes(struct draft *draft, const json_t *given)
{
    struct workflow *workflow = draft->workflow;
    size_t count = json_array_size(given);

    if (!json_is_array(given)) {
        workflow_faults_add(draft->faults, "nodes: %s; expected an array of 1 to %d nodes",
            workflow_is(given).text, WORKFLOW_NODES_MAX);
        return;
    }
    if (count == 0 || count > WORKFLOW_NODES_MAX) {
        workflow_faults_add(
            draft->faults, "nodes: there are %zu; expected 1 to %d", count, WORKFLOW_NODES_MAX);
        return;
    }
    workflow->nodes = mem_try_zalloc(count * sizeof *workflow->nodes);
    if (!workflow->nodes) {
        draft->no_memory = true;
        return;
    }
    workflow->node_count = (uint32_t)count;
    for (uint32_t i = 0; i < count; i++) {
        parse_node(draft, i, json_array_get(given, i));
    }
    if (!draft->no_memory) {
        sort_ids(draft);
    }
}

void workflow_parse(struct draft *draft)
{
    static const char *const names[] = {"nodes", "edges", "description", "example_inputs", NULL};
    const json_t *definition = draft->workflow->definition;

    workflow_check_members(draft, "definition", definition, names);
    check_description(draft, "description", definition);
    parse_nodes(draft, json_object_get(definition, "nodes"));
    if (!draft->no_memory) {
        workflow_parse_edges(draft, json_object_get(definition, "edges"));
    }
}
