/* A run as the store has it. What is read is somebody else's until all of it was judged: each
 * member has its kind and bounds, there is no other, and run_check() has the last word. */
#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "flow/canon.h"
#include "flow/run_own.h"
#include "flow/run_record.h"

/* One object. What is wrong first sticks. */
struct reader {
    json_t *object;
    size_t taken; /* Members asked for and found. */
    const char *bad;
};

static const json_t *take(struct reader *r, const char *name)
{
    const json_t *value = json_object_get(r->object, name);

    r->taken += value != NULL;
    return value;
}

static void fault(struct reader *r, const char *what)
{
    if (!r->bad) {
        r->bad = what;
    }
}

static uint64_t take_number(struct reader *r, const char *name, uint64_t max)
{
    const json_t *value = take(r, name);

    if (!value) {
        return 0;
    }
    json_int_t number = json_is_integer(value) ? json_integer_value(value) : -1;
    if (number < 0 || (uint64_t)number > max) {
        fault(r, name);
        return 0;
    }
    return (uint64_t)number;
}

/* NULL: there is none. */
static const char *take_text(struct reader *r, const char *name)
{
    const json_t *value = take(r, name);

    if (value && !json_is_string(value)) {
        fault(r, name);
        return NULL;
    }
    return json_string_value(value);
}

static void take_copy(struct reader *r, const char *name, char **ret_copy, int *err)
{
    const char *text = take_text(r, name);

    if (text) {
        *ret_copy = text_clean(span_str(text), strlen(text));
        if (!*ret_copy) {
            *err = -ENOMEM;
        }
    }
}

static void take_ref(struct reader *r, const char *name, char ref[FLOW_REF_LEN + 1])
{
    const char *text = take_text(r, name);

    if (text && (strlen(text) != FLOW_REF_LEN || !canon_ref_parse(span_str(text), ref) ||
                    strcmp(text, ref) != 0)) {
        fault(r, name);
    }
}

static uint32_t take_node(struct reader *r, const char *name, const struct workflow *workflow)
{
    const char *text = take_text(r, name);
    uint32_t node = text ? workflow_find(workflow, span_str(text)) : RUN_NONE;

    if (text && node == RUN_NONE) {
        fault(r, name);
    }
    return node;
}

static void want_text(struct reader *r, const char *name, const char *wanted)
{
    const char *text = take_text(r, name);

    if (!text || strcmp(text, wanted) != 0) {
        fault(r, name);
    }
}

/* Opens an object and its version. NULL: it is none. */
static json_t *open_object(struct span text, struct reader *r)
{
    json_t *object = json_loadb((const char *)text.data, text.len, JSON_REJECT_DUPLICATES, NULL);

    *r = (struct reader){.object = object};
    if (!json_is_object(object)) {
        json_decref(object);
        return NULL;
    }
    if (take_number(r, "v", RECORD_VERSION) != RECORD_VERSION) {
        fault(r, "v");
    }
    return object;
}

static void close_object(struct reader *r)
{
    if (r->taken != json_object_size(r->object)) {
        fault(r, "a member nobody knows");
    }
}

static int read_header(struct run *run, struct reader *r)
{
    int err = 0;
    const char *status = take_text(r, "status");

    run->status = RUN_RUNNING;
    while (run->status <= RUN_CANCELLED &&
           (!status || strcmp(status, run_status_name(run->status)) != 0)) {
        run->status++;
    }
    if (run->status > RUN_CANCELLED) {
        run->status = RUN_RUNNING;
        fault(r, "status");
    }
    want_text(r, "workflow_ref", run->workflow->ref);
    take_ref(r, "inputs_ref", run->inputs_ref);
    run->created_ms = take_number(r, "created_ms", INT64_MAX);
    run->finished_ms = take_number(r, "finished_ms", INT64_MAX);
    run->emits = take_number(r, "emits", RUN_TOKENS_MAX);
    run->consumes = take_number(r, "consumes", RUN_TOKENS_MAX);
    run->events = take_number(r, "events", INT64_MAX);
    if (take_number(r, "counter", RUN_TOKENS_MAX) != run->emits - run->consumes) {
        fault(r, "counter");
    }
    if (take_number(r, "nodes", WORKFLOW_NODES_MAX) != run->workflow->node_count) {
        fault(r, "nodes");
    }
    take_copy(r, "error", &run->error, &err);
    take_copy(r, "by", &run->by, &err);
    run->failed_node = take_node(r, "failed_node", run->workflow);
    return err;
}

static void read_state(struct run_node *node, struct reader *r)
{
    const char *state = take_text(r, "state");

    for (node->state = NODE_IDLE; node->state <= NODE_SKIPPED; node->state++) {
        if (state && strcmp(state, node_state_name(node->state)) == 0) {
            return;
        }
    }
    node->state = NODE_IDLE;
    fault(r, "state");
}

static void read_edges(struct run_node *node, uint32_t out_count, struct reader *r)
{
    const char *edges = take_text(r, "edges");
    const json_t *loops = take(r, "loops");

    if (edges && strlen(edges) != out_count) {
        fault(r, "edges");
        return;
    }
    for (uint32_t i = 0; edges && i < out_count; i++) {
        const char *letter = strchr(RECORD_LETTERS, edges[i]);
        if (letter) {
            node->edges[i] = (uint8_t)(letter - RECORD_LETTERS);
        } else {
            fault(r, "edges");
        }
    }
    if (loops && (!json_is_array(loops) || json_array_size(loops) != out_count)) {
        fault(r, "loops");
        return;
    }
    for (uint32_t i = 0; loops && i < out_count; i++) {
        const json_t *count = json_array_get(loops, i);
        json_int_t value = json_is_integer(count) ? json_integer_value(count) : -1;
        if (value < 0 || value > UINT32_MAX) {
            fault(r, "loops");
        } else {
            node->loops[i] = (uint32_t)value;
        }
    }
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void read_progress(struct run_node *node, struct reader *r)
{
    bool has_percent = json_object_get(r->object, "percent") != NULL;
    uint64_t thousandths = take_number(r, "percent", 100000);
    const char *notes = take_text(r, "notes");
    size_t len = notes ? strlen(notes) : 0;

    if (has_percent) {
        node->percent = (double)thousandths / 1000;
    }
    if (len % 16 || len / 16 > RUN_NOTES_MAX) {
        fault(r, "notes");
        return;
    }
    for (size_t i = 0; i < len; i++) {
        int digit = hex_digit(notes[i]);
        if (digit < 0) {
            fault(r, "notes");
            return;
        }
        node->notes[i / 16] = node->notes[i / 16] << 4 | (uint64_t)digit;
    }
}

static int read_node(struct run *run, uint32_t index, struct reader *r)
{
    struct run_node *node = &run->nodes[index];
    int err = 0;

    read_state(node, r);
    node->visit = (uint32_t)take_number(r, "visit", RUN_TOKENS_MAX);
    node->attempt = (uint32_t)take_number(r, "attempt", RUN_TOKENS_MAX);
    node->hop = (uint32_t)take_number(r, "hop", UINT32_MAX);
    node->from = take_node(r, "from", run->workflow);
    node->queued_ms = take_number(r, "queued_ms", INT64_MAX);
    node->finished_ms = take_number(r, "finished_ms", INT64_MAX);
    node->due_ms = take_number(r, "due_ms", INT64_MAX);
    const json_t *human = take(r, "human");
    if (human && !json_is_boolean(human)) {
        fault(r, "human");
    }
    node->human = json_is_true(human);
    take_ref(r, "payload_ref", node->payload_ref);
    take_ref(r, "result_ref", node->result_ref);
    take_copy(r, "error", &node->error, &err);
    read_edges(node, run_workflow_node(run, index)->out_count, r);
    read_progress(node, r);
    close_object(r);
    return err;
}

static int bad(char *why, size_t why_cap, const char *where, const char *what)
{
    snprintf(why, why_cap, "%s: %s is not as it was written", where, what);
    return -EBADMSG;
}

static int restore_header(struct workflow *workflow, const struct flow_load *load,
    struct run **ret_run, char *why, size_t why_cap)
{
    struct reader r;
    json_t *object = open_object(load->header, &r);
    struct run *run = NULL;

    if (!object) {
        return bad(why, why_cap, "the run's header", "the JSON");
    }
    const char *id = take_text(&r, "run_id"), *tag = take_text(&r, "tag"),
               *user = take_text(&r, "user");
    int err = -EINVAL;
    if (id && tag && user && span_equal(span_str(id), load->run_id)) {
        err = run_create(workflow, span_str(id), span_str(tag), span_str(user), &run);
    }
    if (err == -EINVAL) {
        err = bad(why, why_cap, "the run's header", "run_id, tag or user");
    }
    if (!err) {
        err = read_header(run, &r);
        close_object(&r);
        run->version = load->version;
    }
    if (!err && r.bad) {
        err = bad(why, why_cap, "the run's header", r.bad);
    }
    json_decref(object);
    *ret_run = run;
    return err;
}

static int restore_node(
    struct run *run, const struct flow_record *record, char *why, size_t why_cap)
{
    struct reader r;
    uint32_t index = workflow_find(run->workflow, record->node);

    if (index == RUN_NONE || run->scratch->marks[index]) {
        return bad(why, why_cap, "a node's record", "the node's name");
    }
    run->scratch->marks[index] = 1;
    json_t *object = open_object(record->body, &r);
    const char *name = run_workflow_node(run, index)->id;
    if (!object) {
        return bad(why, why_cap, name, "the JSON");
    }
    int err = read_node(run, index, &r);
    if (!err && r.bad) {
        err = bad(why, why_cap, name, r.bad);
    }
    json_decref(object);
    return err;
}

int run_restore(struct workflow *workflow, const struct flow_load *load, struct run **ret_run,
    char *why, size_t why_cap)
{
    struct run *run = NULL;
    int err = restore_header(workflow, load, &run, why, why_cap);

    for (uint32_t i = 0; i < load->node_count && !err; i++) {
        err = restore_node(run, &load->nodes[i], why, why_cap);
    }
    if (!err) {
        memset(run->scratch->marks, 0, workflow->node_count);
        const char *broken = run_check(run);
        if (broken) {
            snprintf(why, why_cap, "the run's records do not agree: %s", broken);
            err = -EBADMSG;
        }
    }
    if (err) {
        run_free(run);
        return err;
    }
    *ret_run = run;
    return 0;
}
