/* What the store keeps of a run, as text. Read back by run_restore.c. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "flow/run_own.h"
#include "flow/run_record.h"

/* A member with nothing to say is left out. */
static void put_number_if(struct run_writer *w, const char *name, uint64_t value)
{
    if (value) {
        put_number(w, name, value);
    }
}

static const char *node_name(const struct run *run, uint32_t node)
{
    return run_workflow_node(run, node)->id;
}

int record_header(const struct run *run, struct bytes *out)
{
    struct run_writer w = {.out = out};

    put_raw(&w, "{\"v\":");
    put_digits(&w, RECORD_VERSION);
    put_text(&w, "run_id", run->id);
    put_text(&w, "tag", run->tag);
    put_text(&w, "user", run->user);
    put_text(&w, "status", run_status_name(run->status));
    put_text(&w, "workflow_ref", run->workflow->ref);
    put_text(&w, "inputs_ref", run->inputs_ref);
    put_number(&w, "created_ms", run->created_ms);
    put_number(&w, "finished_ms", run->finished_ms);
    put_number(&w, "counter", run->emits - run->consumes);
    put_number(&w, "emits", run->emits);
    put_number(&w, "consumes", run->consumes);
    put_number(&w, "events", run->events);
    put_number(&w, "nodes", run->workflow->node_count);
    if (run->error) {
        put_text(&w, "error", run->error);
    }
    if (run->failed_node != RUN_NONE) {
        put_text(&w, "failed_node", node_name(run, run->failed_node));
    }
    if (run->by) {
        put_text(&w, "by", run->by);
    }
    put_raw(&w, "}");
    return w.err;
}

static bool any_edge(const struct run *run, uint32_t index)
{
    for (uint32_t i = 0; i < run_workflow_node(run, index)->out_count; i++) {
        if (run->nodes[index].edges[i] != EDGE_OPEN) {
            return true;
        }
    }
    return false;
}

static bool any_loop(const struct run *run, uint32_t index)
{
    for (uint32_t i = 0; i < run_workflow_node(run, index)->out_count; i++) {
        if (run->nodes[index].loops[i]) {
            return true;
        }
    }
    return false;
}

/* A letter each, see run_record.h. */
static void put_edges(struct run_writer *w, const struct run *run, uint32_t index)
{
    const struct run_node *node = &run->nodes[index];
    uint32_t out_count = run_workflow_node(run, index)->out_count;

    if (any_edge(run, index)) {
        put_raw(w, ",\"edges\":\"");
        for (uint32_t i = 0; i < out_count; i++) {
            const char letter[2] = {RECORD_LETTERS[node->edges[i]]};
            put_raw(w, letter);
        }
        put_raw(w, "\"");
    }
    if (any_loop(run, index)) {
        put_raw(w, ",\"loops\":[");
        for (uint32_t i = 0; i < out_count; i++) {
            put_raw(w, i ? "," : "");
            put_digits(w, node->loops[i]);
        }
        put_raw(w, "]");
    }
}

/* Hashes as text: a JSON number is exact to 53 bits only. */
static void put_progress(struct run_writer *w, const struct run_node *node)
{
    if (node->percent >= 0) {
        put_number(w, "percent", (uint64_t)(node->percent * 1000 + 0.5));
    }
    if (node->notes[0]) {
        put_raw(w, ",\"notes\":\"");
        for (int i = 0; i < RUN_NOTES_MAX && node->notes[i]; i++) {
            char hex[17];
            snprintf(hex, sizeof(hex), "%016" PRIx64, node->notes[i]);
            put_raw(w, hex);
        }
        put_raw(w, "\"");
    }
}

int record_node(const struct run *run, uint32_t index, struct bytes *out)
{
    const struct run_node *node = &run->nodes[index];
    struct run_writer w = {.out = out};

    put_raw(&w, "{\"v\":");
    put_digits(&w, RECORD_VERSION);
    put_text(&w, "state", node_state_name(node->state));
    put_number_if(&w, "visit", node->visit);
    put_number_if(&w, "attempt", node->attempt);
    put_number_if(&w, "hop", node->hop);
    if (node->from != RUN_NONE) {
        put_text(&w, "from", node_name(run, node->from));
    }
    put_number_if(&w, "queued_ms", node->queued_ms);
    put_number_if(&w, "finished_ms", node->finished_ms);
    put_number_if(&w, "due_ms", node->due_ms);
    if (node->human) {
        put_raw(&w, ",\"human\":true");
    }
    if (node->payload_ref[0]) {
        put_text(&w, "payload_ref", node->payload_ref);
    }
    if (node->result_ref[0]) {
        put_text(&w, "result_ref", node->result_ref);
    }
    if (node->error) {
        put_text(&w, "error", node->error);
    }
    put_edges(&w, run, index);
    put_progress(&w, node);
    put_raw(&w, "}");
    return w.err;
}

static int append_json(const char *data, size_t len, void *out)
{
    return bytes_append(out, data, len);
}

static void put_config(struct run_writer *w, const json_t *config)
{
    put_raw(w, ",\"config\":");
    if (!w->err && json_dump_callback(config, append_json, w->out, JSON_COMPACT)) {
        w->err = -ENOMEM;
    }
}

int record_token(const struct run *run, uint32_t index, struct bytes *out)
{
    const struct run_node *node = &run->nodes[index];
    const struct workflow_node *spec = run_workflow_node(run, index);
    struct run_writer w = {.out = out};
    struct bytes id = {0};

    w.err = run_token_id(run, index, &id);
    put_raw(&w, "{\"id\":");
    if (!w.err) {
        w.err = json_append_string(out, id.data, id.len);
    }
    bytes_fini(&id);
    put_text(&w, "run_id", run->id);
    put_text(&w, "from_node", node->from == RUN_NONE ? "" : node_name(run, node->from));
    put_text(&w, "to_node", spec->id);
    put_text(&w, "payload_ref", node->payload_ref);
    put_number(&w, "hop", node->hop);
    put_raw(&w, ",\"metadata\":{\"type\":\"");
    put_raw(&w, spec->type);
    put_raw(&w, "\"");
    put_number(&w, "attempt", node->attempt);
    put_number(&w, "visit", node->visit);
    put_config(&w, spec->config);
    put_text(&w, "username", run->user);
    put_text(&w, "tag", run->tag);
    put_number_if(&w, "timeout_ms", run_timeout_ms(run, index));
    put_raw(&w, "}}");
    return w.err;
}

int record_approval(
    const struct run *run, uint32_t index, struct span message, uint64_t now_ms, struct bytes *out)
{
    struct run_writer w = {.out = out};

    put_raw(&w, "{\"status\":\"pending\"");
    put_text(&w, "run_id", run->id);
    put_text(&w, "node_id", node_name(run, index));
    put_clean(&w, "message", message, RUN_MESSAGE_MAX);
    put_number(&w, "requested_at", now_ms / 1000);
    put_raw(&w, "}");
    return w.err;
}
