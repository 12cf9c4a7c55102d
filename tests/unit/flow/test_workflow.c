/* A definition becomes a graph that can be run, or is told everything that is wrong with it. */
#include "flow/workflow.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "flow/canon.h"
#include "tests/unit/flow/workflow_fixture.h"

static const char chain[] = "{\"nodes\":[{\"id\":\"search\",\"type\":\"http\","
                            "\"config\":{\"url\":\"http://h/\"},\"retry\":{\"max_attempts\":3},"
                            "\"timeout_ms\":5000,\"description\":\"flights\"},"
                            "{\"id\":\"format\",\"type\":\"transform\"}],"
                            "\"edges\":[{\"from\":\"search\",\"to\":\"format\"}],"
                            "\"description\":\"two\",\"example_inputs\":{\"city\":\"NYC\"}}";

/* a -> b -> c -> d -> e, with c -> b again up to 3 times within d -> a again up to 2 times; b's
 * result chooses whether x comes between d and e. */
static const char loops[] =
    "{\"nodes\":[{\"id\":\"a\",\"type\":\"t\"},{\"id\":\"b\",\"type\":\"t\"},"
    "{\"id\":\"c\",\"type\":\"t\"},{\"id\":\"d\",\"type\":\"t\"},{\"id\":\"e\",\"type\":\"t\"},"
    "{\"id\":\"x\",\"type\":\"t\"}],"
    "\"edges\":[{\"from\":\"c\",\"to\":\"b\",\"max_iterations\":3,\"when\":\"/again == true\"},"
    "{\"from\":\"a\",\"to\":\"b\"},{\"from\":\"b\",\"to\":\"c\"},{\"from\":\"c\",\"to\":\"d\"},"
    "{\"from\":\"d\",\"to\":\"a\",\"max_iterations\":2,\"when\":\"failed\"},"
    "{\"from\":\"d\",\"to\":\"e\",\"when\":{\"pointer\":\"/n\",\"op\":\"<\",\"value\":3}},"
    "{\"from\":\"d\",\"to\":\"x\",\"when\":\"else\"},"
    "{\"from\":\"x\",\"to\":\"e\",\"when\":\"always\"}]}";

static uint32_t find(const struct workflow *workflow, const char *id)
{
    return workflow_find(workflow, span_str(id));
}

static void a_chain_is_compiled(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(chain);
    assert_int_equal(w->node_count, 2);
    assert_int_equal(w->edge_count, 1);
    assert_int_equal(w->entry_count, 1);
    const struct workflow_node *search = &w->nodes[0], *format = &w->nodes[1];
    assert_string_equal(search->id, "search");
    assert_string_equal(search->type, "http");
    assert_string_equal(json_string_value(json_object_get(search->config, "url")), "http://h/");
    assert_int_equal(search->retry.max_attempts, 3);
    assert_int_equal(search->retry.backoff_ms, 1000);
    assert_int_equal(search->retry.max_backoff_ms, 60000);
    assert_true(search->retry.factor == 2);
    assert_int_equal(search->timeout_ms, 5000);
    assert_true(search->entry && !search->terminal);
    assert_true(!format->entry && format->terminal);
    assert_int_equal(format->retry.max_attempts, 1);
    assert_int_equal(format->timeout_ms, 0);
    assert_true(json_is_object(format->config));
    assert_int_equal(search->out_count, 1);
    assert_int_equal(search->out[0], 0);
    assert_int_equal(search->in_count, 0);
    assert_int_equal(format->in_count, 1);
    assert_int_equal(format->in[0], 0);
    assert_int_equal(w->edges[0].from, 0);
    assert_int_equal(w->edges[0].to, 1);
    assert_int_equal(w->edges[0].when, EDGE_PLAIN);
    workflow_unref(w);
}

static void nodes_are_found_by_id(void **state)
{
    (void)state;
    struct workflow *w =
        fixture_compile("{\"nodes\":[{\"id\":\"b\",\"type\":\"t\"},{\"id\":\"ab\",\"type\":\"t\"},"
                        "{\"id\":\"a\",\"type\":\"t\"},{\"id\":\"B\",\"type\":\"t\"}]}");
    assert_int_equal(find(w, "b"), 0);
    assert_int_equal(find(w, "ab"), 1);
    assert_int_equal(find(w, "a"), 2);
    assert_int_equal(find(w, "B"), 3);
    static const char *const absent[] = {"", "c", "abc", "aa", "A"};
    for (size_t i = 0; i < COUNT_OF(absent); i++) {
        assert_true(find(w, absent[i]) == UINT32_MAX);
    }
    assert_int_equal(w->entry_count, 4);
    workflow_unref(w);
}

static void loop_edges_lead_back_and_have_a_body(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(loops);
    const struct workflow_edge *inner = &w->edges[0], *outer = &w->edges[4];
    assert_int_equal(inner->max_iterations, 3);
    assert_int_equal(inner->when, EDGE_CONDITION);
    assert_non_null(inner->condition);
    assert_int_equal(inner->body_count, 2);
    assert_int_equal(inner->body[0], 1);
    assert_int_equal(inner->body[1], 2);
    assert_int_equal(outer->when, EDGE_FAILED);
    assert_int_equal(outer->body_count, 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(outer->body[i], i);
    }
    assert_int_equal(w->edges[5].when, EDGE_CONDITION);
    assert_int_equal(w->edges[6].when, EDGE_ELSE);
    assert_null(w->edges[6].condition);
    assert_int_equal(w->edges[7].when, EDGE_ALWAYS);
    assert_null(w->edges[7].body);
    /* in is without loop edges, out is with them. */
    assert_int_equal(w->entry_count, 1);
    assert_true(w->nodes[0].entry);
    assert_int_equal(w->nodes[0].in_count, 0);
    assert_int_equal(w->nodes[1].in_count, 1);
    assert_int_equal(w->nodes[2].out_count, 2);
    assert_int_equal(w->nodes[2].out[0], 0);
    assert_int_equal(w->nodes[2].out[1], 3);
    assert_true(w->nodes[4].terminal);
    assert_false(w->nodes[3].terminal);
    workflow_unref(w);
}

/* A node may repeat itself, and end with that: nothing leads on. */
static void a_loop_may_be_one_node(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile("{\"nodes\":[{\"id\":\"a\",\"type\":\"t\"}],\"edges\":[{"
                                         "\"from\":\"a\",\"to\":\"a\",\"max_iterations\":10000}]}");
    assert_int_equal(w->edges[0].body_count, 1);
    assert_int_equal(w->edges[0].body[0], 0);
    assert_true(w->nodes[0].entry && w->nodes[0].terminal);
    workflow_unref(w);
}

static void ancestors_are_known_over_any_distance(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(loops);
    static const char order[] = "abcdxe";
    for (size_t i = 0; order[i]; i++) {
        for (size_t j = 0; order[j]; j++) {
            uint32_t x = workflow_find(w, span_of(order + i, 1));
            uint32_t y = workflow_find(w, span_of(order + j, 1));
            assert_int_equal(workflow_before(w, x, y), i < j);
        }
    }
    workflow_unref(w);
}

static void a_long_chain_is_within_the_bounds(void **state)
{
    (void)state;
    struct bytes text = fixture_chain(WORKFLOW_NODES_MAX);
    struct workflow *w = fixture_compile((const char *)text.data);
    assert_true(workflow_before(w, 0, WORKFLOW_NODES_MAX - 1));
    assert_true(workflow_before(w, 63, 64));
    assert_false(workflow_before(w, 64, 63));
    workflow_unref(w);
    bytes_fini(&text);
}

static void its_ref_is_that_of_what_it_says(void **state)
{
    (void)state;
    struct workflow *one = fixture_compile("{\"nodes\":[{\"id\":\"a\",\"type\":\"t\"}]}");
    struct workflow *same =
        fixture_compile(" {\"nodes\" : [{\"type\":\"t\", \"id\":\"\\u0061\"}]}");
    struct workflow *other = fixture_compile("{\"nodes\":[{\"id\":\"a\",\"type\":\"u\"}]}");
    char ref[FLOW_REF_LEN + 1];
    canon_ref(span_str("{\"nodes\":[{\"id\":\"a\",\"type\":\"t\"}]}"), ref);
    assert_string_equal(one->ref, ref);
    assert_string_equal(same->ref, ref);
    assert_string_not_equal(other->ref, ref);
    assert_ptr_equal(workflow_ref(one), one);
    workflow_unref(one);
    workflow_unref(one);
    workflow_unref(same);
    workflow_unref(other);
    workflow_unref(NULL);
}

/* ---- the IR ---- */

static void the_ir_is_that_of_the_contract(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(chain);
    struct bytes out = {0};
    assert_int_equal(workflow_ir(w, span_str("ann \"x\""), span_str("flights"), &out), 0);
    char want[700];
    snprintf(want, sizeof want,
        "{\"nodes\":{\"search\":{\"type\":\"http\",\"config\":{\"url\":\"http://h/\"},"
        "\"dependencies\":[],\"dependents\":[\"format\"],\"retry\":{\"max_attempts\":3},"
        "\"timeout_ms\":5000,\"is_terminal\":false},"
        "\"format\":{\"type\":\"transform\",\"config\":{},\"dependencies\":[\"search\"],"
        "\"dependents\":[],\"is_terminal\":true}},"
        "\"edges\":[{\"from\":\"search\",\"to\":\"format\"}],"
        "\"metadata\":{\"username\":\"ann "
        "\\\"x\\\"\",\"tag\":\"flights\",\"workflow_ref\":\"%s\"}}",
        w->ref);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data, want, out.len);
    workflow_unref(w);
    bytes_fini(&out);
}

static void assert_round_trip(const char *text)
{
    struct workflow *w = fixture_compile(text), *back = NULL;
    struct bytes out = {0}, again = {0};
    assert_int_equal(workflow_ir(w, span_str("u"), span_str("t"), &out), 0);
    assert_int_equal(workflow_from_ir(span_of(out.data, out.len), &back), 0);
    fixture_assert_same(w, back);
    assert_int_equal(workflow_ir(back, span_str("u"), span_str("t"), &again), 0);
    assert_true(span_equal(span_of(out.data, out.len), span_of(again.data, again.len)));
    workflow_unref(w);
    workflow_unref(back);
    bytes_fini(&out);
    bytes_fini(&again);
}

static void an_ir_reads_back_as_it_was(void **state)
{
    (void)state;
    assert_round_trip(chain);
    assert_round_trip(loops);
    assert_round_trip("{\"nodes\":[{\"id\":\"z\",\"type\":\"t\",\"retry\":{\"max_attempts\":100,"
                      "\"backoff_ms\":0,\"factor\":1.5,\"max_backoff_ms\":2592000000}},"
                      "{\"id\":\"a\",\"type\":\"t\",\"timeout_ms\":2592000000}]}");
    struct bytes text = fixture_chain(WORKFLOW_NODES_MAX);
    assert_round_trip((const char *)text.data);
    bytes_fini(&text);
}

static void an_ir_of_a_later_version_is_read(void **state)
{
    (void)state;
    struct workflow *w = NULL;
    struct bytes text = {0};
    const char *ref = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_int_equal(bytes_appendf(&text,
                         "{\"version\":9,\"nodes\":{\"b\":{\"type\":\"t\",\"colour\":1},"
                         "\"a\":{\"type\":\"t\"}},\"edges\":[{\"from\":\"b\",\"to\":\"a\","
                         "\"weight\":1}],\"metadata\":{\"workflow_ref\":\"%s\"}}",
                         ref),
        0);
    assert_int_equal(workflow_from_ir(span_of(text.data, text.len), &w), 0);
    assert_string_equal(w->nodes[0].id, "b");
    assert_string_equal(w->nodes[1].id, "a");
    assert_string_equal(w->ref, ref);
    workflow_unref(w);
    bytes_fini(&text);
}

static void what_is_no_ir_is_refused(void **state)
{
    (void)state;
#define META                                                                                       \
    "\"metadata\":{\"workflow_ref\":"                                                              \
    "\"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}"
    static const char *const bad[] = {"", "{", "[]", "{}", "{\"nodes\":{},\"edges\":[]," META "}",
        "{\"nodes\":{\"a\":{\"type\":\"t\"}},\"edges\":[]}",
        "{\"nodes\":{\"a\":{\"type\":\"t\"}},\"edges\":[],\"metadata\":{\"workflow_ref\":\"x\"}}",
        "{\"nodes\":{\"a\":5},\"edges\":[]," META "}",
        "{\"nodes\":[{\"id\":\"a\",\"type\":\"t\"}],\"edges\":[]," META "}",
        "{\"nodes\":{\"a\":{\"type\":\"t\"}}," META "}",
        "{\"nodes\":{\"a\":{\"type\":\"t\"}},\"edges\":[5]," META "}",
        "{\"nodes\":{\"a\":{\"type\":\"t\"}},\"edges\":[{\"from\":\"a\",\"to\":\"a\"}]," META "}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct workflow *w = NULL;
        assert_int_equal(workflow_from_ir(span_str(bad[i]), &w), -EINVAL);
        assert_null(w);
    }
}

static void an_ir_needs_names_that_are_text(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(chain);
    struct bytes out = {0};
    assert_int_equal(workflow_ir(w, span_str("\xff"), span_str("t"), &out), -EILSEQ);
    assert_int_equal(out.len, 0);
    workflow_unref(w);
    bytes_fini(&out);
}

/* ---- memory ---- */

static void compiling_survives_each_failing_allocation(void **state)
{
    (void)state;
    int err = -ENOMEM;
    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct workflow *w = NULL;
        struct workflow_faults faults = {0};
        assert_true(n < 10000);
        mem_fail_after(n);
        err = workflow_compile(span_str(loops), NULL, NULL, &w, &faults);
        mem_fail_after(-1);
        assert_true((err == 0) == (w != NULL));
        workflow_unref(w);
        workflow_faults_fini(&faults);
    }
    assert_int_equal(err, 0);
}

static void faults_survive_each_failing_allocation(void **state)
{
    (void)state;
    static const char bad[] = "{\"nodes\":[{\"id\":\"a\",\"type\":\"\"},{\"id\":\"b\",\"type\":"
                              "\"t\"}],\"edges\":[{\"from\":\"a\",\"to\":\"b\"},{\"from\":\"b\","
                              "\"to\":\"a\"},{\"from\":\"b\",\"to\":\"c\"}]}";
    int err = -ENOMEM;
    uint32_t told = 0;
    for (int64_t n = 0; err == -ENOMEM || told < 4; n++) {
        struct workflow *w = NULL;
        struct workflow_faults faults = {0};
        assert_true(n < 10000);
        mem_fail_after(n);
        err = workflow_compile(span_str(bad), NULL, NULL, &w, &faults);
        mem_fail_after(-1);
        assert_null(w);
        assert_true(err == -ENOMEM || (err == -EINVAL && faults.count > 0));
        told = faults.count;
        workflow_faults_fini(&faults);
    }
    assert_int_equal(told, 4);
}

static void an_ir_survives_each_failing_allocation(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(loops);
    struct bytes whole = {0};
    int err = -ENOMEM;
    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct bytes out = {0};
        mem_fail_after(n);
        err = workflow_ir(w, span_str("u"), span_str("t"), &out);
        mem_fail_after(-1);
        assert_true(err == 0 || out.len == 0);
        bytes_fini(&whole);
        whole = out;
    }
    assert_int_equal(err, 0);
    err = -ENOMEM;
    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct workflow *back = NULL;
        mem_fail_after(n);
        err = workflow_from_ir(span_of(whole.data, whole.len), &back);
        mem_fail_after(-1);
        assert_true((err == 0) == (back != NULL));
        workflow_unref(back);
    }
    assert_int_equal(err, 0);
    bytes_fini(&whole);
    workflow_unref(w);
}

static long jansson_left;

static void *jansson_alloc(size_t size)
{
    return jansson_left-- > 0 ? malloc(size) : NULL;
}

static void reading_an_ir_survives_jansson_without_memory(void **state)
{
    (void)state;
    struct workflow *w = fixture_compile(loops);
    struct bytes out = {0};
    assert_int_equal(workflow_ir(w, span_str("u"), span_str("t"), &out), 0);
    int err = -ENOMEM;
    for (long n = 0; err == -ENOMEM; n++) {
        struct workflow *back = NULL;
        jansson_left = n;
        json_set_alloc_funcs(jansson_alloc, free);
        err = workflow_from_ir(span_of(out.data, out.len), &back);
        json_set_alloc_funcs(malloc, free);
        assert_true((err == 0) == (back != NULL));
        workflow_unref(back);
    }
    assert_int_equal(err, 0);
    workflow_unref(w);
    bytes_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_chain_is_compiled),
        cmocka_unit_test(nodes_are_found_by_id),
        cmocka_unit_test(loop_edges_lead_back_and_have_a_body),
        cmocka_unit_test(a_loop_may_be_one_node),
        cmocka_unit_test(ancestors_are_known_over_any_distance),
        cmocka_unit_test(a_long_chain_is_within_the_bounds),
        cmocka_unit_test(its_ref_is_that_of_what_it_says),
        cmocka_unit_test(the_ir_is_that_of_the_contract),
        cmocka_unit_test(an_ir_reads_back_as_it_was),
        cmocka_unit_test(an_ir_of_a_later_version_is_read),
        cmocka_unit_test(what_is_no_ir_is_refused),
        cmocka_unit_test(an_ir_needs_names_that_are_text),
        cmocka_unit_test(compiling_survives_each_failing_allocation),
        cmocka_unit_test(faults_survive_each_failing_allocation),
        cmocka_unit_test(an_ir_survives_each_failing_allocation),
        cmocka_unit_test(reading_an_ir_survives_jansson_without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
