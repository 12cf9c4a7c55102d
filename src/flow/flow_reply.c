/* What the API says of a run. */
#include <string.h>

#include "flow/flow_own.h"

static json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

static json_t *ms_or_null(uint64_t ms)
{
    return ms ? json_integer((json_int_t)ms) : json_null();
}

static uint64_t duration(uint64_t created_ms, uint64_t finished_ms, uint64_t now_ms)
{
    uint64_t end = finished_ms ? finished_ms : now_ms;
    return end > created_ms ? end - created_ms : 0;
}

json_t *reply_started(const struct run *run)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "run_id", run->id, "tag", run->tag, "user",
        run->user, "status", run_status_name(run->status), "created_ms",
        (json_int_t)run->created_ms, "workflow_ref", run->workflow->ref);
}

static const char *waits_for(const struct run_node *node)
{
    return node->state != NODE_WAITING ? NULL : node->human ? "approval" : "delay";
}

static json_t *reply_node(const struct run *run, uint32_t i)
{
    const struct workflow_node *node = &run->workflow->nodes[i];
    const struct run_node *at = &run->nodes[i];
    json_t *out = json_pack("{s:s, s:s, s:s, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "id",
        node->id, "type", node->type, "state", node_state_name(at->state), "visits", (int)at->visit,
        "attempt", (int)at->attempt, "max_attempts", (int)node->retry.max_attempts, "queued_ms",
        ms_or_null(at->queued_ms), "finished_ms", ms_or_null(at->finished_ms), "result_ref",
        text_or_null(at->result_ref), "error", text_or_null(at->error), "waits_for",
        text_or_null(waits_for(at)), "due_ms", ms_or_null(at->due_ms));

    if (out && at->state == NODE_QUEUED && at->percent >= 0) {
        json_object_set_new(out, "percent", json_real(at->percent));
    }
    return out;
}

static json_t *reply_edge(const struct run *run, const struct workflow_edge *edge, uint32_t out)
{
    static const char *const states[] = {"open", "taken", "skipped"};
    const struct run_node *from = &run->nodes[edge->from];
    const json_t *given = json_array_get(
        json_object_get(run->workflow->definition, "edges"), edge - run->workflow->edges);
    json_t *when = json_object_get(given, "when");
    json_t *reply = json_pack("{s:s, s:s}", "from", run->workflow->nodes[edge->from].id, "to",
        run->workflow->nodes[edge->to].id);

    if (reply && when) {
        json_object_set(reply, "when", when);
    }
    if (reply && edge->max_iterations) {
        json_object_set_new(reply, "max_iterations", json_integer(edge->max_iterations));
        json_object_set_new(reply, "iterations", json_integer(from->loops[out]));
    } else if (reply) {
        json_object_set_new(reply, "state", json_string(states[from->edges[out]]));
    }
    return reply;
}

json_t *reply_run(const struct run *run, uint64_t now_ms)
{
    const struct workflow *workflow = run->workflow;
    json_t *nodes = json_array(), *edges = json_array();
    const char *failed =
        run->failed_node == UINT32_MAX ? NULL : workflow->nodes[run->failed_node].id;

    for (uint32_t i = 0; nodes && edges && i < workflow->node_count; i++) {
        json_array_append_new(nodes, reply_node(run, i));
        for (uint32_t k = 0; k < workflow->nodes[i].out_count; k++) {
            json_array_append_new(
                edges, reply_edge(run, &workflow->edges[workflow->nodes[i].out[k]], k));
        }
    }
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:o, s:o}",
        "run_id", run->id, "tag", run->tag, "user", run->user, "status",
        run_status_name(run->status), "workflow_ref", workflow->ref, "inputs_ref", run->inputs_ref,
        "created_ms", (json_int_t)run->created_ms, "finished_ms", ms_or_null(run->finished_ms),
        "duration_ms", (json_int_t)duration(run->created_ms, run->finished_ms, now_ms), "counter",
        (json_int_t)(run->emits - run->consumes), "error", text_or_null(run->error), "failed_node",
        text_or_null(failed), "cancelled_by", text_or_null(run->by), "nodes", nodes, "edges",
        edges);
}

json_t *reply_run_row(struct span header, uint64_t now_ms)
{
    json_t *from = json_loadb((const char *)header.data, header.len, JSON_ALLOW_NUL, NULL);
    static const char *const copied[] = {
        "run_id", "tag", "user", "status", "created_ms", "finished_ms", "error"};
    json_t *out = json_object();

    for (size_t i = 0; out && i < sizeof(copied) / sizeof(copied[0]); i++) {
        json_t *value = json_object_get(from, copied[i]);
        bool none =
            !value || (strcmp(copied[i], "finished_ms") == 0 && json_integer_value(value) == 0);
        if (strcmp(copied[i], "error") != 0 || !none) {
            json_object_set_new(out, copied[i], none ? json_null() : json_incref(value));
        }
    }
    if (out) {
        uint64_t created = (uint64_t)json_integer_value(json_object_get(from, "created_ms"));
        uint64_t finished = (uint64_t)json_integer_value(json_object_get(from, "finished_ms"));
        json_object_set_new(
            out, "duration_ms", json_integer((json_int_t)duration(created, finished, now_ms)));
    }
    json_decref(from);
    return out;
}
