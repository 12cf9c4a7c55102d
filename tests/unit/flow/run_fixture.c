#include "tests/unit/flow/run_fixture.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/mem.h"
#include "flow/canon.h"
#include "flow/run_own.h"

void rig_init(struct rig *rig, const char *nodes, const char *edges)
{
    struct workflow_faults faults = {0};
    struct bytes text = {0};

    *rig = (struct rig){.now_ms = RIG_NOW_MS};
    CHECK(bytes_appendf(&text, "{\"nodes\":%s,\"edges\":%s}", nodes, edges) == 0);
    int err = workflow_compile(span_of(text.data, text.len), NULL, NULL, &rig->workflow, &faults);
    if (err) {
        fprintf(stderr, "%s\n", faults.count ? faults.lines[0] : "no fault");
    }
    CHECK(err == 0);
    bytes_fini(&text);
    workflow_faults_fini(&faults);
    CHECK(run_create(rig->workflow, span_str("r"), span_str("t"), span_str("u"), &rig->run) == 0);
    rig->run->task_types = "function";
}

static int stepped(struct rig *rig, int err)
{
    const char *broken = run_check(rig->run);

    if (broken) {
        fprintf(stderr, "run_check: %s\n", broken);
    }
    CHECK(!broken);
    CHECK(err == 0 || rig->changes.count == 0);
    return err;
}

void rig_start(struct rig *rig, const char *nodes, const char *edges)
{
    rig_init(rig, nodes, edges);
    CHECK(stepped(rig, run_start(rig->run, span_str("{}"), rig->now_ms, &rig->changes)) == 0);
}

void rig_fini(struct rig *rig)
{
    run_free(rig->run);
    workflow_unref(rig->workflow);
    changes_fini(&rig->changes);
    bytes_fini(&rig->text);
}

int rig_complete(struct rig *rig, const char *token, const char *json)
{
    char ref[FLOW_REF_LEN + 1];
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);

    CHECK(value);
    canon_ref(span_str(json), ref);
    changes_reset(&rig->changes);
    struct run_result result = {.ref = ref, .value = value, .blob = span_str(json)};
    int err = run_complete(rig->run, span_str(token), &result, rig->now_ms, &rig->changes);
    json_decref(value);
    return stepped(rig, err);
}

int rig_fail(struct rig *rig, const char *token, const char *error, bool final)
{
    changes_reset(&rig->changes);
    return stepped(
        rig, run_fail(rig->run, span_str(token), error, final, rig->now_ms, &rig->changes));
}

int rig_wait(struct rig *rig, const char *token, bool human, uint64_t due_ms)
{
    changes_reset(&rig->changes);
    return stepped(rig, run_wait(rig->run, span_str(token), human, span_str("may it?"), due_ms,
                            rig->now_ms, &rig->changes));
}

int rig_progress(struct rig *rig, const char *token, double percent, const char *message)
{
    changes_reset(&rig->changes);
    return stepped(rig, run_progress(rig->run, span_str(token), percent, span_str(message),
                            rig->now_ms, &rig->changes));
}

int rig_timer(struct rig *rig, const char *node, enum run_due *ret_due)
{
    changes_reset(&rig->changes);
    return stepped(rig, run_timer(rig->run, workflow_find(rig->workflow, span_str(node)),
                            rig->now_ms, ret_due, &rig->changes));
}

int rig_cancel(struct rig *rig, const char *by)
{
    changes_reset(&rig->changes);
    return stepped(rig, run_cancel(rig->run, span_str(by), rig->now_ms, &rig->changes));
}

static void put(struct rig *rig, const char *format, ...) PRINTF_LIKE(2, 3);

static void put(struct rig *rig, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    CHECK(bytes_appendv(&rig->text, format, args) == 0);
    va_end(args);
}

static void put_span(struct rig *rig, const char *before, struct span text)
{
    if (text.len) {
        put(rig, "%s%.*s", before, (int)text.len, (const char *)text.data);
    }
}

static const char *text_of(struct rig *rig)
{
    CHECK(bytes_append_byte(&rig->text, 0) == 0);
    return (const char *)rig->text.data;
}

static void put_event(struct rig *rig, struct span body)
{
    json_t *event = json_loadb((const char *)body.data, body.len, JSON_REJECT_DUPLICATES, NULL);
    const json_t *node = json_object_get(event, "node_id");

    CHECK(event);
    put(rig, "%s", json_string_value(json_object_get(event, "type")));
    if (node) {
        put(rig, " %s", json_string_value(node));
    }
    json_decref(event);
}

const char *rig_ops(struct rig *rig)
{
    static const char *const names[] = {"OPEN", "CONSUME", "EMIT", "QUEUE", "UNQUEUE", "HEADER",
        "NODE", "OUTPUT", "ARRIVE", "JOINED", "BLOB", "TIMER", "UNTIMER", "APPROVAL", "EVENT",
        "SIGNAL", "CLOSE"};

    rig->text.len = 0;
    for (uint32_t i = 0; i < rig->changes.count; i++) {
        const struct flow_op *op = &rig->changes.ops[i];
        put(rig, "%s%s", i ? "; " : "", names[op->kind]);
        put_span(rig, " ", op->node);
        if (op->kind == FLOW_CONSUME || op->kind == FLOW_EMIT || op->kind == FLOW_ARRIVE) {
            put_span(rig, " ", op->id);
        } else if (op->kind == FLOW_EVENT) {
            put(rig, " ");
            put_event(rig, op->body);
        } else if (op->kind == FLOW_HEADER) {
            put(rig, " %llu", (unsigned long long)op->n);
        } else if (op->kind == FLOW_TIMER) {
            put(rig, " +%llu", (unsigned long long)(op->n - rig->now_ms));
        } else if (op->kind != FLOW_OPEN) {
            put_span(rig, op->node.len ? "@" : " ", op->name);
        }
    }
    return text_of(rig);
}

const char *rig_events(struct rig *rig)
{
    rig->text.len = 0;
    for (uint32_t i = 0; i < rig->changes.count; i++) {
        if (rig->changes.ops[i].kind == FLOW_EVENT) {
            put_span(rig, rig->text.len ? "\n" : "", rig->changes.ops[i].body);
        }
    }
    return text_of(rig);
}

const char *rig_story(struct rig *rig)
{
    rig->text.len = 0;
    for (uint32_t i = 0; i < rig->changes.count; i++) {
        if (rig->changes.ops[i].kind == FLOW_EVENT) {
            put(rig, "%s", rig->text.len ? ", " : "");
            put_event(rig, rig->changes.ops[i].body);
        }
    }
    return text_of(rig);
}

const char *rig_body(struct rig *rig, enum flow_op_kind kind, const char *node)
{
    rig->text.len = 0;
    for (uint32_t i = rig->changes.count; i-- > 0;) {
        const struct flow_op *op = &rig->changes.ops[i];
        if (op->kind == kind && (!node || span_equal(op->node, span_str(node)))) {
            put_span(rig, "", op->body);
            break;
        }
    }
    return text_of(rig);
}

struct run_node *rig_node(struct rig *rig, const char *id)
{
    uint32_t node = workflow_find(rig->workflow, span_str(id));
    CHECK(node != UINT32_MAX);
    return &rig->run->nodes[node];
}

const char *rig_state(struct rig *rig, const char *id)
{
    return node_state_name(rig_node(rig, id)->state);
}

void rig_reload(struct rig *rig)
{
    struct bytes header = {0};
    struct bytes bodies[64] = {{0}};
    struct flow_record records[64];
    struct run *copy;
    char why[200] = "";

    CHECK(rig->workflow->node_count <= 64 && record_header(rig->run, &header) == 0);
    for (uint32_t i = 0; i < rig->workflow->node_count; i++) {
        CHECK(record_node(rig->run, i, &bodies[i]) == 0);
        records[i] = (struct flow_record){.node = span_str(rig->workflow->nodes[i].id),
            .body = span_of(bodies[i].data, bodies[i].len)};
    }
    struct flow_load load = {.run_id = span_str("r"),
        .version = rig->run->version,
        .header = span_of(header.data, header.len),
        .nodes = records,
        .node_count = rig->workflow->node_count};
    int err = run_restore(rig->workflow, &load, &copy, why, sizeof(why));
    if (err) {
        fprintf(stderr, "%s\n", why);
    }
    CHECK(err == 0);
    for (uint32_t i = 0; i < rig->workflow->node_count; i++) {
        rig->text.len = 0;
        CHECK(record_node(copy, i, &rig->text) == 0);
        CHECK(span_equal(records[i].body, span_of(rig->text.data, rig->text.len)));
        bytes_fini(&bodies[i]);
    }
    bytes_fini(&header);
    copy->task_types = rig->run->task_types;
    copy->task_timeout_ms = rig->run->task_timeout_ms;
    run_free(rig->run);
    rig->run = copy;
}
