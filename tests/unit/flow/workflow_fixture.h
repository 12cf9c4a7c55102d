/* What tests of workflows share: compiling what must compile, and comparing what came of it. */
#ifndef TESTS_UNIT_FLOW_WORKFLOW_FIXTURE_H
#define TESTS_UNIT_FLOW_WORKFLOW_FIXTURE_H

#include "base/bytes.h"
#include "flow/workflow.h"
#include "tests/support/unit.h"

/* Gives the workflow; a fault fails the test. */
static inline struct workflow *fixture_compile(const char *text)
{
    struct workflow *workflow = NULL;
    struct workflow_faults faults = {0};
    int err = workflow_compile(span_str(text), NULL, NULL, &workflow, &faults);

    if (err) {
        fail_msg("%d: %s", err, faults.count ? faults.lines[0] : "no fault told");
    }
    assert_int_equal(faults.count + faults.more_count, 0);
    workflow_faults_fini(&faults);
    return workflow;
}

/* Gives the definition of a chain n0 -> n1 -> ...; ends with a NUL behind its bytes. */
static inline struct bytes fixture_chain(unsigned nodes)
{
    struct bytes text = {0};

    assert_int_equal(bytes_append_str(&text, "{\"nodes\":["), 0);
    for (unsigned i = 0; i < nodes; i++) {
        assert_int_equal(
            bytes_appendf(&text, "%s{\"id\":\"n%u\",\"type\":\"t\"}", i ? "," : "", i), 0);
    }
    assert_int_equal(bytes_append_str(&text, "],\"edges\":["), 0);
    for (unsigned i = 1; i < nodes; i++) {
        assert_int_equal(
            bytes_appendf(&text, "%s{\"from\":\"n%u\",\"to\":\"n%u\"}", i > 1 ? "," : "", i - 1, i),
            0);
    }
    assert_int_equal(bytes_appendf(&text, "]}"), 0);
    return text;
}

static inline void fixture_assert_same(const struct workflow *a, const struct workflow *b)
{
    assert_string_equal(a->ref, b->ref);
    assert_int_equal(a->node_count, b->node_count);
    assert_int_equal(a->edge_count, b->edge_count);
    assert_int_equal(a->entry_count, b->entry_count);
    for (uint32_t i = 0; i < a->node_count; i++) {
        const struct workflow_node *x = &a->nodes[i], *y = &b->nodes[i];
        assert_string_equal(x->id, y->id);
        assert_string_equal(x->type, y->type);
        assert_true(json_equal(x->config, y->config));
        assert_int_equal(x->retry.max_attempts, y->retry.max_attempts);
        assert_int_equal(x->retry.backoff_ms, y->retry.backoff_ms);
        assert_int_equal(x->retry.max_backoff_ms, y->retry.max_backoff_ms);
        assert_true(x->retry.factor == y->retry.factor);
        assert_int_equal(x->timeout_ms, y->timeout_ms);
        assert_int_equal(x->entry, y->entry);
        assert_int_equal(x->terminal, y->terminal);
        assert_int_equal(x->in_count, y->in_count);
        assert_int_equal(x->out_count, y->out_count);
        for (uint32_t j = 0; j < x->in_count; j++) {
            assert_int_equal(x->in[j], y->in[j]);
        }
        for (uint32_t j = 0; j < x->out_count; j++) {
            assert_int_equal(x->out[j], y->out[j]);
        }
    }
    for (uint32_t i = 0; i < a->edge_count; i++) {
        const struct workflow_edge *x = &a->edges[i], *y = &b->edges[i];
        assert_int_equal(x->from, y->from);
        assert_int_equal(x->to, y->to);
        assert_int_equal(x->when, y->when);
        assert_int_equal(x->condition != NULL, y->condition != NULL);
        assert_int_equal(x->max_iterations, y->max_iterations);
        assert_int_equal(x->body_count, y->body_count);
        for (uint32_t j = 0; j < x->body_count; j++) {
            assert_int_equal(x->body[j], y->body[j]);
        }
    }
}

#endif
