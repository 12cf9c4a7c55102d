/* The IR of contracts.md 3: a workflow for one run, for others to read and for us to read back. */
#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "flow/canon.h"
#include "flow/workflow.h"

static int append_text(struct bytes *out, const char *text)
{
    return json_append_string(out, text, strlen(text));
}

/* "NAME":["id",…] — the other ends of the node's edges, loop edges apart. */
static int append_ends(struct bytes *out, const struct workflow *workflow, const char *member,
    const uint32_t *edges, uint32_t count, bool from)
{
    bool first = true;
    int err = bytes_appendf(out, ",\"%s\":[", member);

    for (uint32_t i = 0; i < count && !err; i++) {
        const struct workflow_edge *edge = &workflow->edges[edges[i]];
        if (edge->max_iterations) {
            continue;
        }
        err = first ? 0 : bytes_append_byte(out, ',');
        err = err ? err : append_text(out, workflow->nodes[from ? edge->from : edge->to].id);
        first = false;
    }
    return err ? err : bytes_append_byte(out, ']');
}

/* A member as the definition has it, if it has. */
static int append_given(struct bytes *out, const json_t *given, const char *member)
{
    const json_t *value = json_object_get(given, member);
    int err = value ? bytes_appendf(out, ",\"%s\":", member) : 0;

    return err || !value ? err : canon_append(out, value);
}

static int append_node(struct bytes *out, const struct workflow *workflow, uint32_t index)
{
    const struct workflow_node *node = &workflow->nodes[index];
    const json_t *given = json_array_get(json_object_get(workflow->definition, "nodes"), index);
    int err = append_text(out, node->id);

    err = err ? err : bytes_append_str(out, ":{\"type\":");
    err = err ? err : append_text(out, node->type);
    err = err ? err : bytes_append_str(out, ",\"config\":");
    err = err ? err : canon_append(out, node->config);
    err = err ? err : append_ends(out, workflow, "dependencies", node->in, node->in_count, true);
    err = err ? err : append_ends(out, workflow, "dependents", node->out, node->out_count, false);
    err = err ? err : append_given(out, given, "retry");
    err = err ? err : append_given(out, given, "timeout_ms");
    return err ? err
               : bytes_appendf(out, ",\"is_terminal\":%s}", node->terminal ? "true" : "false");
}

static int append_ir(
    struct bytes *out, const struct workflow *workflow, struct span username, struct span tag)
{
    const json_t *edges = json_object_get(workflow->definition, "edges");
    int err = bytes_append_str(out, "{\"nodes\":{");

    for (uint32_t i = 0; i < workflow->node_count && !err; i++) {
        err = i ? bytes_append_byte(out, ',') : 0;
        err = err ? err : append_node(out, workflow, i);
    }
    err = err ? err : bytes_append_str(out, "},\"edges\":");
    err = err ? err : edges ? canon_append(out, edges) : bytes_append_str(out, "[]");
    err = err ? err : bytes_append_str(out, ",\"metadata\":{\"username\":");
    err = err ? err : json_append_string(out, username.data, username.len);
    err = err ? err : bytes_append_str(out, ",\"tag\":");
    err = err ? err : json_append_string(out, tag.data, tag.len);
    return err ? err : bytes_appendf(out, ",\"workflow_ref\":\"%s\"}}", workflow->ref);
}

int workflow_ir(
    const struct workflow *workflow, struct span username, struct span tag, struct bytes *out)
{
    size_t before = out->len;
    int err = append_ir(out, workflow, username, tag);

    if (err) {
        out->len = before;
    }
    return err;
}

/* Adds the members of `from` that are named to `to`. */
static int copy_members(json_t *to, const json_t *from, const char *const *names)
{
    for (; *names; names++) {
        json_t *value = json_object_get(from, *names);
        if (value && json_object_set(to, *names, value)) {
            return -ENOMEM;
        }
    }
    return 0;
}

/* The IR has nodes by id, in the order of the definition; jansson keeps it. */
static int restore_nodes(const json_t *ir, json_t *nodes)
{
    static const char *const names[] = {"type", "config", "retry", "timeout_ms", NULL};
    json_t *given = json_object_get(ir, "nodes");

    for (void *i = json_object_iter(given); i; i = json_object_iter_next(given, i)) {
        json_t *node = json_object();
        if (json_object_set_new(node, "id", json_string(json_object_iter_key(i))) ||
            copy_members(node, json_object_iter_value(i), names) ||
            json_array_append(nodes, node)) {
            json_decref(node);
            return -ENOMEM;
        }
        json_decref(node);
    }
    return 0;
}

static int restore_edges(const json_t *ir, json_t *edges)
{
    static const char *const names[] = {"from", "to", "when", "max_iterations", NULL};
    const json_t *given = json_object_get(ir, "edges");

    for (size_t i = 0; i < json_array_size(given); i++) {
        json_t *edge = json_object();
        if (!edge || copy_members(edge, json_array_get(given, i), names) ||
            json_array_append(edges, edge)) {
            json_decref(edge);
            return -ENOMEM;
        }
        json_decref(edge);
    }
    return 0;
}

/* Gives a definition that means what the IR does. */
static int restore(const json_t *ir, json_t **ret_definition)
{
    json_t *definition = json_object(), *nodes = json_array(), *edges = json_array();
    int err = -ENOMEM;

    if (nodes && edges && !json_object_set(definition, "nodes", nodes) &&
        !json_object_set(definition, "edges", edges)) {
        err = restore_nodes(ir, nodes);
        err = err ? err : restore_edges(ir, edges);
    }
    json_decref(nodes);
    json_decref(edges);
    if (err) {
        json_decref(definition);
        return err;
    }
    *ret_definition = definition;
    return 0;
}

static int compile_ir(const json_t *ir, struct workflow **ret_workflow)
{
    const json_t *given = json_object_get(json_object_get(ir, "metadata"), "workflow_ref");
    char ref[FLOW_REF_LEN + 1];
    struct workflow_faults faults = {0};
    json_t *definition;

    if (!given || !json_is_object(json_object_get(ir, "nodes")) ||
        !json_is_array(json_object_get(ir, "edges")) || !json_is_string(given) ||
        !canon_ref_parse(span_of(json_string_value(given), json_string_length(given)), ref)) {
        return -EINVAL;
    }
    int err = restore(ir, &definition);
    if (err) {
        return err;
    }
    err = workflow_compile_json(definition, NULL, NULL, ret_workflow, &faults);
    if (!err) {
        memcpy((*ret_workflow)->ref, ref, sizeof ref);
    }
    workflow_faults_fini(&faults);
    json_decref(definition);
    return err;
}

int workflow_from_ir(struct span ir, struct workflow **ret_workflow)
{
    char why[200];
    json_t *value = json_read(ir, why, sizeof why);

    if (!value) {
        return errno == ENOMEM ? -ENOMEM : -EINVAL;
    }
    int err = compile_ir(value, ret_workflow);
    json_decref(value);
    return err;
}
