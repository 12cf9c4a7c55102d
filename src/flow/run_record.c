/* What the store keeps of a run, as text. Read back by run_restore.c. */
#include <errno.h>
#include <inttypes.h>

#include "base/json.h"
#include "flow/run_own.h"
#include "flow/run_record.h"

struct writer {
    struct bytes *out;
    int err;
};

static void put(struct writer *w, const char *format, ...) PRINTF_LIKE(2, 3);

static void put(struct writer *w, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (!w->err) {
        w->err = bytes_appendv(w->out, format, args);
    }
    va_end(args);
}

static void put_text(struct writer *w, const char *name, const char *text)
{
    put(w, ",\"%s\":", name);
    if (!w->err) {
        w->err = json_append_string(w->out, text, strlen(text));
    }
}

static void put_number(struct writer *w, const char *name, uint64_t value)
{
    put(w, ",\"%s\":%" PRIu64, name, value);
}

/* A member with nothing to say is left out. */
static void put_number_if(struct writer *w, const char *name, uint64_t value)
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
    struct writer w = {.out = out};

    put(&w, "{\"v\":%d", RECORD_VERSION);
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
    put(&w, "}");
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
static void put_edges(struct writer *w, const struct run *run, uint32_t index)
{
    const struct run_node *node = &run->nodes[index];
    uint32_t out_count = run_workflow_node(run, index)->out_count;

    if (any_edge(run, index)) {
        put(w, ",\"edges\":\"");
        for (uint32_t i = 0; i < out_count; i++) {
            put(w, "%c", RECORD_LETTERS[node->edges[i]]);
        }
        put(w, "\"");
    }
    if (any_loop(run, index)) {
        put(w, ",\"loops\":[");
        for (uint32_t i = 0; i < out_count; i++) {
            put(w, "%s%u", i ? "," : "", node->loops[i]);
        }
        put(w, "]");
    }
}

/* Hashes as text: a JSON number is exact to 53 bits only. */
static void put_progress(struct writer *w, const struct run_node *node)
{
    if (node->percent >= 0) {
        put(w, ",\"percent\":%" PRIu64, (uint64_t)(node->percent * 1000 + 0.5));
    }
    if (node->notes[0]) {
        put(w, ",\"notes\":\"");
        for (int i = 0; i < RUN_NOTES_MAX && node->notes[i]; i++) {
            put(w, "%016" PRIx64, node->notes[i]);
        }
        put(w, "\"");
    }
}

int record_node(const struct run *run, uint32_t index, struct bytes *out)
{
    const struct run_node *node = &run->nodes[index];
    struct writer w = {.out = out};

    put(&w, "{\"v\":%d", RECORD_VERSION);
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
        put(&w, ",\"human\":true");
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
    put(&w, "}");
    return w.err;
}

static int append_json(const char *data, size_t len, void *out)
{
    return bytes_append(out, data, len);
}

static void put_config(struct writer *w, const json_t *config)
{
    put(w, ",\"config\":");
    if (!w->err && json_dump_callback(config, append_json, w->out, JSON_COMPACT)) {
        w->err = -ENOMEM;
    }
}

int record_token(const struct run *run, uint32_t index, struct bytes *out)
{
    const struct run_node *node = &run->nodes[index];
    const struct workflow_node *spec = run_workflow_node(run, index);
    struct writer w = {.out = out};
    struct bytes id = {0};

    w.err = run_token_id(run, index, &id);
    put(&w, "{\"id\":");
    if (!w.err) {
        w.err = json_append_string(out, id.data, id.len);
    }
    bytes_fini(&id);
    put_text(&w, "run_id", run->id);
    put_text(&w, "from_node", node->from == RUN_NONE ? "" : node_name(run, node->from));
    put_text(&w, "to_node", spec->id);
    put_text(&w, "payload_ref", node->payload_ref);
    put_number(&w, "hop", node->hop);
    put(&w, ",\"metadata\":{\"type\":\"%s\"", spec->type);
    put_number(&w, "attempt", node->attempt);
    put_number(&w, "visit", node->visit);
    put_config(&w, spec->config);
    put_text(&w, "username", run->user);
    put_text(&w, "tag", run->tag);
    put_number_if(&w, "timeout_ms", run_timeout_ms(run, index));
    put(&w, "}}");
    return w.err;
}

int record_approval(
    const struct run *run, uint32_t index, struct span message, uint64_t now_ms, struct bytes *out)
{
    struct writer w = {.out = out};

    put(&w, "{\"status\":\"pending\"");
    put_text(&w, "run_id", run->id);
    put_text(&w, "node_id", node_name(run, index));
    put(&w, ",\"message\":");
    if (!w.err) {
        w.err = text_append_json(out, message, RUN_MESSAGE_MAX);
    }
    put(&w, ",\"requested_at\":%" PRIu64 "}", now_ms / 1000);
    return w.err;
}
