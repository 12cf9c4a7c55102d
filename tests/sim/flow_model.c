#include "tests/sim/flow_model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "flow/run_own.h"

void model_init(struct model *model, struct workflow *workflow, const char *run_id)
{
    *model = (struct model){.workflow = workflow, .run_id = mem_strdup(run_id)};
    model->tokens = mem_zalloc(MODEL_TOKENS_MAX * sizeof(*model->tokens));
    model->events = mem_zalloc(MODEL_EVENTS_MAX * sizeof(*model->events));
    model->blobs = mem_zalloc(MODEL_BLOBS_MAX * sizeof(*model->blobs));
}

void model_fini(struct model *model)
{
    for (uint32_t i = 0; i < model->token_count; i++) {
        mem_free(model->tokens[i].id);
    }
    for (uint32_t i = 0; i < model->event_count; i++) {
        mem_free(model->events[i]);
    }
    for (uint32_t i = 0; i < MAKE_NODES_MAX; i++) {
        mem_free(model->nodes[i].record);
        mem_free(model->nodes[i].queued);
        mem_free(model->nodes[i].task);
        mem_free(model->nodes[i].approval);
    }
    mem_free(model->tokens);
    mem_free(model->events);
    mem_free(model->blobs);
    mem_free(model->run_id);
    mem_free(model->ir);
    mem_free(model->header);
}

static char *text_of(struct span span)
{
    return mem_strndup(span.len ? (const char *)span.data : "", span.len);
}

static void replace(char **where, struct span span)
{
    mem_free(*where);
    *where = text_of(span);
}

static void drop(char **where)
{
    mem_free(*where);
    *where = NULL;
}

static struct model_token *find_token(const struct model *model, struct span id)
{
    for (uint32_t i = model->token_count; i-- > 0;) {
        if (span_equal(span_str(model->tokens[i].id), id)) {
            return &model->tokens[i];
        }
    }
    return NULL;
}

bool model_has_blob(const struct model *model, const char *ref)
{
    for (uint32_t i = model->blob_count; i-- > 0;) {
        if (strcmp(model->blobs[i], ref) == 0) {
            return true;
        }
    }
    return false;
}

void model_add_blob(struct model *model, struct span ref)
{
    char *text = text_of(ref);

    CHECK(ref.len == FLOW_REF_LEN && model->blob_count < MODEL_BLOBS_MAX);
    if (!model_has_blob(model, text)) {
        memcpy(model->blobs[model->blob_count++], text, FLOW_REF_LEN + 1);
    }
    mem_free(text);
}

static void add_event(struct model *model, struct span body)
{
    CHECK(model->event_count < MODEL_EVENTS_MAX);
    CHECK(!model->status[0]); /* Nothing after the end. */
    model->events[model->event_count++] = text_of(body);
}

static void emit(struct model *model, struct span id)
{
    CHECK(model->token_count < MODEL_TOKENS_MAX);
    CHECK(!find_token(model, id)); /* Once. */
    model->tokens[model->token_count++] = (struct model_token){.id = text_of(id)};
}

static void consume(struct model *model, struct span id)
{
    struct model_token *token = find_token(model, id);

    CHECK(token && !token->consumed);
    token->consumed = true;
    model->consumed_count++;
}

static void queue(struct model *model, struct model_node *node, const struct flow_op *op)
{
    struct model_token *token = find_token(model, op->id);

    CHECK(token && !token->consumed && !node->queued);
    CHECK(span_equal(op->name, span_str("function")) || span_equal(op->name, span_str("delay")) ||
          span_equal(op->name, span_str("hitl")));
    replace(&node->queued, op->id);
    replace(&node->task, op->body);
}

static void apply_to_node(struct model *model, uint32_t index, const struct flow_op *op)
{
    struct model_node *node = &model->nodes[index];

    CHECK(index < model->workflow->node_count);
    switch (op->kind) {
    case FLOW_QUEUE:
        queue(model, node, op);
        break;
    case FLOW_UNQUEUE:
        CHECK(node->queued);
        drop(&node->queued);
        break;
    case FLOW_NODE:
        replace(&node->record, op->body);
        break;
    case FLOW_OUTPUT:
        CHECK(op->id.len == FLOW_REF_LEN);
        memcpy(node->output, op->id.data, FLOW_REF_LEN);
        break;
    case FLOW_ARRIVE:
        CHECK(model->workflow->nodes[index].in_count >= 2);
        node->arrived[workflow_find(model->workflow, op->id)] = true;
        break;
    case FLOW_JOINED:
        CHECK(model->workflow->nodes[index].in_count >= 2);
        memset(node->arrived, 0, sizeof(node->arrived));
        break;
    case FLOW_TIMER:
        CHECK(op->n > 0);
        node->timer_ms = op->n;
        break;
    case FLOW_UNTIMER:
        node->timer_ms = 0;
        break;
    case FLOW_APPROVAL:
        if (op->body.len == 0) {
            CHECK(node->approval);
            drop(&node->approval);
        } else {
            replace(&node->approval, op->body);
        }
        break;
    default:
        CHECK(!"an op that is not of a node");
    }
}

static void apply(struct model *model, const struct flow_op *op)
{
    switch (op->kind) {
    case FLOW_OPEN:
        CHECK(model->version == 0 && !model->ir);
        replace(&model->ir, op->body);
        break;
    case FLOW_CONSUME:
        consume(model, op->id);
        break;
    case FLOW_EMIT:
        emit(model, op->id);
        break;
    case FLOW_HEADER:
        CHECK(op->body.len > 0);
        replace(&model->header, op->body);
        model->counter = op->n;
        break;
    case FLOW_BLOB:
        CHECK(op->body.len > 0);
        model_add_blob(model, op->id);
        break;
    case FLOW_EVENT:
        add_event(model, op->body);
        break;
    case FLOW_SIGNAL:
        model->signals_taken++;
        break;
    case FLOW_CLOSE:
        CHECK(!model->status[0] && op->name.len < sizeof(model->status));
        memcpy(model->status, op->name.data, op->name.len);
        break;
    default:
        apply_to_node(model, workflow_find(model->workflow, op->node), op);
    }
}

static bool emitted_in(const struct changes *changes, uint32_t before)
{
    for (uint32_t i = 0; i < before; i++) {
        if (changes->ops[i].kind == FLOW_EMIT &&
            span_equal(changes->ops[i].id, changes->ops[before].id)) {
            return true;
        }
    }
    return false;
}

int model_commit(
    struct model *model, uint64_t version, const struct changes *changes, uint64_t *ret_version)
{
    if (version != model->version) {
        model->refused++;
        return version == 0 ? -EEXIST : -ESTALE;
    }
    bool open = changes->count && changes->ops[0].kind == FLOW_OPEN;
    CHECK(open == (version == 0));
    for (uint32_t i = 0; i < changes->count; i++) {
        const struct flow_op *op = &changes->ops[i];
        if (op->kind == FLOW_CONSUME) {
            /* First of all, or it came to be in this very commit. */
            CHECK(i == 0 || changes->ops[i - 1].kind == FLOW_CONSUME || emitted_in(changes, i));
            const struct model_token *token = find_token(model, op->id);
            if (token && token->consumed) {
                CHECK(i == 0); /* Only the step's own token may be late. */
                return -EALREADY;
            }
        }
    }
    for (uint32_t i = 0; i < changes->count; i++) {
        apply(model, &changes->ops[i]);
    }
    model->commits++;
    *ret_version = ++model->version;
    return 0;
}

static struct run *load(const struct model *model, struct workflow *workflow)
{
    struct flow_record records[MAKE_NODES_MAX];
    struct flow_load load = {.run_id = span_str(model->run_id), .version = model->version};
    struct run *run = NULL;
    char why[200] = "";

    if (model->version == 0) {
        return NULL;
    }
    for (uint32_t i = 0; i < model->workflow->node_count; i++) {
        if (model->nodes[i].record) {
            records[load.node_count++] =
                (struct flow_record){.node = span_str(model->workflow->nodes[i].id),
                    .body = span_str(model->nodes[i].record)};
        }
    }
    load.nodes = records;
    load.header = span_str(model->header);
    int err = run_restore(workflow, &load, &run, why, sizeof(why));
    if (err) {
        fprintf(stderr, "cannot be loaded: %s\n", why);
    }
    CHECK(err == 0);
    return run;
}

struct run *model_load(const struct model *model)
{
    return load(model, model->workflow);
}

struct run *model_load_by_ir(const struct model *model)
{
    struct workflow *workflow;

    CHECK(workflow_from_ir(span_str(model->ir), &workflow) == 0);
    struct run *run = load(model, workflow);
    workflow_unref(workflow);
    return run;
}

static void check_node(const struct model *model, const struct run *run, uint32_t index)
{
    const struct model_node *node = &model->nodes[index];
    const struct run_node *now = &run->nodes[index];
    const struct workflow_node *spec = &model->workflow->nodes[index];
    struct bytes token = {0};

    CHECK((now->state == NODE_QUEUED) == (node->queued != NULL));
    CHECK(node->timer_ms == now->due_ms);
    CHECK(now->human == (node->approval && strstr(node->approval, "\"status\":\"pending\"")));
    if (node_in_flight(now->state)) {
        CHECK(run_token_id(run, index, &token) == 0);
        const struct model_token *emitted = find_token(model, span_of(token.data, token.len));
        CHECK(emitted && !emitted->consumed);
        CHECK(!node->queued || span_equal(span_str(node->queued), span_of(token.data, token.len)));
        CHECK(model_has_blob(model, now->payload_ref));
        bytes_fini(&token);
    }
    if (now->result_ref[0]) {
        CHECK(strcmp(now->result_ref, node->output) == 0);
        CHECK(model_has_blob(model, now->result_ref));
    }
    bool expected[MAKE_NODES_MAX] = {false};
    for (uint32_t i = 0; i < spec->in_count; i++) {
        uint32_t from = model->workflow->edges[spec->in[i]].from;
        expected[from] |= run->status == RUN_RUNNING && spec->in_count >= 2 &&
                          now->state == NODE_IDLE && edge_state(run, spec->in[i]) == EDGE_TAKEN;
    }
    CHECK(memcmp(expected, node->arrived, sizeof(expected)) == 0);
}

void model_check(const struct model *model, const struct run *run)
{
    uint64_t in_flight = 0;
    const char *broken = run_check(run);

    if (broken) {
        fprintf(stderr, "run_check: %s\n", broken);
    }
    CHECK(!broken);
    for (uint32_t i = 0; i < model->workflow->node_count; i++) {
        in_flight += node_in_flight(run->nodes[i].state);
        check_node(model, run, i);
    }
    CHECK(model->counter == in_flight);
    CHECK(model->counter == model->token_count - model->consumed_count);
    CHECK(run->emits == model->token_count && run->consumes == model->consumed_count);
    CHECK(run->events == model->event_count);
    CHECK((model->status[0] != 0) == (run->status != RUN_RUNNING));
    CHECK(!model->status[0] || strcmp(model->status, run_status_name(run->status)) == 0);
}
