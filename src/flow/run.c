#include "flow/run.h"

#include <errno.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "flow/canon.h"
#include "flow/changes.h"
#include "flow/nodes.h"
#include "flow/run_own.h"

static bool is_name(struct span text, size_t max)
{
    return text.len > 0 && text.len <= max && !memchr(text.data, 0, text.len) &&
           utf8_valid(text.data, text.len);
}

static char *copy_name(struct span text)
{
    char *copy = mem_try_alloc(text.len + 1);
    if (copy) {
        memcpy(copy, text.data, text.len);
        copy[text.len] = '\0';
    }
    return copy;
}

static void free_scratch(struct run_scratch *scratch)
{
    if (scratch) {
        bytes_fini(&scratch->text);
        mem_free(scratch->marks);
        mem_free(scratch->touched);
        mem_free(scratch->begun);
        mem_free(scratch->work);
        mem_free(scratch->edges);
        mem_free(scratch->loops);
        mem_free(scratch->slots);
        mem_free(scratch);
    }
}

static struct run_scratch *make_scratch(const struct workflow *workflow)
{
    size_t nodes = workflow->node_count, edges = workflow->edge_count;
    struct run_scratch *scratch = mem_try_zalloc(sizeof(*scratch));

    if (!scratch) {
        return NULL;
    }
    /* One more than there are: nobody asks for no bytes. */
    scratch->marks = mem_try_zalloc(nodes + 1);
    scratch->touched = mem_try_alloc((nodes + 1) * sizeof(*scratch->touched));
    scratch->begun = mem_try_alloc((nodes + 1) * sizeof(*scratch->begun));
    scratch->work = mem_try_alloc((nodes + 1) * sizeof(*scratch->work));
    scratch->edges = mem_try_zalloc(edges + 1);
    scratch->loops = mem_try_zalloc((edges + 1) * sizeof(*scratch->loops));
    scratch->slots = mem_try_zalloc((edges + 1) * sizeof(*scratch->slots));
    if (!scratch->marks || !scratch->touched || !scratch->begun || !scratch->work ||
        !scratch->edges || !scratch->loops || !scratch->slots) {
        free_scratch(scratch);
        return NULL;
    }
    return scratch;
}

static void make_nodes(struct run *run)
{
    struct run_scratch *scratch = run->scratch;
    uint32_t slot = 0;

    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        const struct workflow_node *spec = run_workflow_node(run, i);
        run->nodes[i] = (struct run_node){.from = RUN_NONE,
            .percent = -1,
            .edges = scratch->edges + slot,
            .loops = scratch->loops + slot};
        for (uint32_t k = 0; k < spec->out_count; k++) {
            scratch->slots[spec->out[k]] = slot++;
        }
    }
}

int run_create(struct workflow *workflow, struct span id, struct span tag, struct span user,
    struct run **ret_run)
{
    if (!is_name(id, FLOW_RUN_ID_MAX) || !is_name(tag, FLOW_TAG_MAX) ||
        !is_name(user, RUN_USER_MAX)) {
        return -EINVAL;
    }
    struct run *run = mem_try_zalloc(sizeof(*run));
    if (!run) {
        return -ENOMEM;
    }
    run->workflow = workflow_ref(workflow);
    run->failed_node = RUN_NONE;
    memcpy(run->id, id.data, id.len);
    run->tag = copy_name(tag);
    run->user = copy_name(user);
    run->scratch = make_scratch(workflow);
    run->nodes = mem_try_zalloc((workflow->node_count + 1) * sizeof(*run->nodes));
    if (!run->tag || !run->user || !run->scratch || !run->nodes) {
        run_free(run);
        return -ENOMEM;
    }
    make_nodes(run);
    *ret_run = run;
    return 0;
}

void run_free(struct run *run)
{
    if (!run) {
        return;
    }
    for (uint32_t i = 0; run->nodes && i < run->workflow->node_count; i++) {
        mem_free(run->nodes[i].error);
    }
    mem_free(run->nodes);
    mem_free(run->tag);
    mem_free(run->user);
    mem_free(run->error);
    mem_free(run->by);
    free_scratch(run->scratch);
    workflow_unref(run->workflow);
    mem_free(run);
}

static void open_run(struct run_step *step, struct span inputs)
{
    struct run *run = step->run;
    struct bytes *ir = &run->scratch->text;

    ir->len = 0;
    step->err = workflow_ir(run->workflow, span_str(run->user), span_str(run->tag), ir);
    step_op(step, &(struct flow_op){.kind = FLOW_OPEN,
                      .id = span_str(run->user),
                      .name = span_str(run->tag),
                      .body = span_of(ir->data, ir->len),
                      .n = step->now_ms});
    step_op(step,
        &(struct flow_op){.kind = FLOW_BLOB, .id = span_str(run->inputs_ref), .body = inputs});
}

int run_start(struct run *run, struct span inputs, uint64_t now_ms, struct changes *changes)
{
    struct run_step step;

    CHECK(run->status == RUN_RUNNING && run->emits == 0);
    canon_ref(inputs, run->inputs_ref);
    run->created_ms = now_ms;
    step_open(&step, run, changes, now_ms);
    open_run(&step, inputs);
    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        if (run->workflow->nodes[i].entry) {
            step_begin(&step, i, RUN_NONE, run->inputs_ref);
        }
    }
    step_records(&step);
    event_started(&step);
    for (uint32_t i = 0; i < run->workflow->node_count; i++) {
        if (run->workflow->nodes[i].entry) {
            event_node_started(&step, i);
        }
    }
    return step_end(&step);
}

/* Takes a number as we write them: no sign, no leading zero, not 0. 0: it is none. */
static uint32_t take_number(struct span *text)
{
    uint64_t value = 0;
    size_t len = 0;

    while (len < text->len && len < 10 && text->data[len] >= '0' && text->data[len] <= '9') {
        value = value * 10 + (uint64_t)(text->data[len] - '0');
        len++;
    }
    if (len == 0 || text->data[0] == '0' || value > UINT32_MAX) {
        return 0;
    }
    *text = span_of(text->data + len, text->len - len);
    return (uint32_t)value;
}

static bool take_colon(struct span *text)
{
    if (text->len == 0 || text->data[0] != ':') {
        return false;
    }
    *text = span_of(text->data + 1, text->len - 1);
    return true;
}

/* Reads "{run_id}:{node_id}:{visit}:{attempt}" of this run. */
static bool read_token(const struct run *run, struct span token, uint32_t *ret_node,
    uint32_t *ret_visit, uint32_t *ret_attempt)
{
    size_t id_len = strlen(run->id);

    if (token.len < id_len || memcmp(token.data, run->id, id_len) != 0) {
        return false;
    }
    struct span rest = span_of(token.data + id_len, token.len - id_len);
    if (!take_colon(&rest)) {
        return false;
    }
    const uint8_t *end = rest.len ? memchr(rest.data, ':', rest.len) : NULL;
    if (!end) {
        return false;
    }
    size_t node_len = (size_t)(end - rest.data);
    *ret_node = workflow_find(run->workflow, span_of(rest.data, node_len));
    rest = span_of(end + 1, rest.len - node_len - 1);
    *ret_visit = take_number(&rest);
    if (!*ret_visit || !take_colon(&rest)) {
        return false;
    }
    *ret_attempt = take_number(&rest);
    return *ret_attempt && rest.len == 0 && *ret_node != RUN_NONE;
}

int run_token(const struct run *run, struct span token, uint32_t *ret_node)
{
    uint32_t index, visit, attempt;

    if (!read_token(run, token, &index, &visit, &attempt)) {
        return -EINVAL;
    }
    if (run->status != RUN_RUNNING) {
        return -ESHUTDOWN;
    }
    const struct run_node *node = &run->nodes[index];
    if (visit != node->visit) {
        return visit < node->visit ? -EALREADY : -EINVAL;
    }
    if (node->state == NODE_IDLE || node->state == NODE_SKIPPED) {
        return -EALREADY; /* Of an earlier round of a loop: its attempts are forgotten. */
    }
    if (attempt != node->attempt) {
        return attempt < node->attempt ? -EALREADY : -EINVAL;
    }
    if (node->state == NODE_BACKOFF) { /* Nobody was given it yet. */
        return -EINVAL;
    }
    if (!node_in_flight(node->state)) {
        return -EALREADY;
    }
    *ret_node = index;
    return 0;
}

int run_token_id(const struct run *run, uint32_t node, struct bytes *out)
{
    struct run_writer w = {.out = out};

    put_raw(&w, run->id);
    put_raw(&w, ":");
    put_raw(&w, run_workflow_node(run, node)->id);
    put_raw(&w, ":");
    put_digits(&w, run->nodes[node].visit);
    put_raw(&w, ":");
    put_digits(&w, run->nodes[node].attempt);
    return w.err;
}

bool run_wants_value(const struct run *run, uint32_t node)
{
    const struct workflow_node *spec = run_workflow_node(run, node);

    for (uint32_t i = 0; i < spec->out_count; i++) {
        if (run->workflow->edges[spec->out[i]].condition) {
            return true;
        }
    }
    return false;
}

uint64_t run_timeout_ms(const struct run *run, uint32_t node)
{
    const struct workflow_node *spec = run_workflow_node(run, node);
    const struct node_type *type = node_type_find(span_str(spec->type));

    if (spec->timeout_ms || type->timeout_ms) {
        return spec->timeout_ms ? spec->timeout_ms : type->timeout_ms;
    }
    return type->work == NODE_WORK_OUTSIDE ? run->task_timeout_ms : 0;
}

const char *run_status_name(enum run_status status)
{
    static const char *const names[] = {"running", "completed", "failed", "cancelled"};
    return names[status];
}

const char *node_state_name(enum node_state state)
{
    static const char *const names[] = {
        "idle", "queued", "waiting", "backoff", "completed", "failed", "skipped"};
    return names[state];
}
