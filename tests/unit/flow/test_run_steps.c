/* Tokens through chains, fans, joins and branches: which ops a step makes, in which order. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "tests/support/unit.h"
#include "tests/unit/flow/run_fixture.h"

#define NODE(id) "{\"id\":\"" id "\",\"type\":\"function\"}"
#define EDGE(from, to) "{\"from\":\"" from "\",\"to\":\"" to "\"}"
#define WHEN(from, to, when) "{\"from\":\"" from "\",\"to\":\"" to "\",\"when\":\"" when "\"}"

static const char diamond_nodes[] = "[" NODE("a") "," NODE("b") "," NODE("c") "," NODE("d") "]";
static const char diamond_edges[] =
    "[" EDGE("a", "b") "," EDGE("a", "c") "," EDGE("b", "d") "," EDGE("c", "d") "]";

static void a_start_opens_the_run_and_queues_its_entries(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "]", "[]");
    assert_string_equal(rig_ops(&rig),
        "OPEN; BLOB; EMIT r:a:1:1; QUEUE a@function; EMIT r:b:1:1; QUEUE b@function; NODE a; "
        "NODE b; HEADER 2; EVENT workflow_started; EVENT node_started a; EVENT node_started b");
    assert_int_equal(rig.changes.ops[0].n, RIG_NOW_MS);
    assert_true(span_equal(rig.changes.ops[0].id, span_str("u")));
    assert_true(span_equal(rig.changes.ops[0].name, span_str("t")));
    rig_fini(&rig);
}

static void a_chain_of_two_counts_one_then_nought(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "]", "[" EDGE("a", "b") "]");
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "{\"x\":1}"), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; UNQUEUE a@function; EMIT r:b:1:1; QUEUE b@function; BLOB; OUTPUT a; "
        "NODE a; NODE b; HEADER 1; EVENT node_completed a; EVENT node_started b");
    assert_string_equal(rig_node(&rig, "b")->payload_ref, rig_node(&rig, "a")->result_ref);
    rig_reload(&rig);
    assert_int_equal(rig_complete(&rig, "r:b:1:1", "{\"x\":2}"), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:b:1:1; UNQUEUE b@function; BLOB; OUTPUT b; NODE b; HEADER 0; "
        "EVENT node_completed b; EVENT workflow_completed; CLOSE completed");
    assert_int_equal(rig.run->status, RUN_COMPLETED);
    rig_reload(&rig);
    rig_fini(&rig);
}

static void a_join_waits_for_all_and_is_given_their_results(void **state)
{
    struct rig rig;
    char expected[400];

    (void)state;
    rig_start(&rig, diamond_nodes, diamond_edges);
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    assert_int_equal(rig_complete(&rig, "r:c:1:1", "3"), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:c:1:1; UNQUEUE c@function; BLOB; OUTPUT c; ARRIVE d c; NODE c; HEADER 1; "
        "EVENT node_completed c");
    rig_reload(&rig);
    assert_int_equal(rig_complete(&rig, "r:b:1:1", "2"), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:b:1:1; UNQUEUE b@function; BLOB; EMIT r:d:1:1; QUEUE d@function; BLOB; "
        "OUTPUT b; ARRIVE d b; JOINED d; NODE b; NODE d; HEADER 1; EVENT node_completed b; "
        "EVENT node_started d");
    assert_int_equal(rig.changes.ops[2].kind, FLOW_BLOB);
    snprintf(expected, sizeof(expected), "{\"b\":\"%s\",\"c\":\"%s\"}",
        rig_node(&rig, "b")->result_ref, rig_node(&rig, "c")->result_ref);
    assert_true(span_equal(rig.changes.ops[2].body, span_str(expected)));
    assert_true(span_equal(rig.changes.ops[2].id, span_str(rig_node(&rig, "d")->payload_ref)));
    assert_non_null(strstr(rig_body(&rig, FLOW_QUEUE, "d"), "\"from_node\":\"b\""));
    rig_fini(&rig);
}

static void the_token_of_a_join_names_the_predecessor_that_came_last(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("c") "," NODE("d") "]",
        "[" EDGE("a", "d") "," EDGE("b", "d") "," WHEN("c", "d", "failed") "]");
    assert_int_equal(rig_complete(&rig, "r:b:1:1", "2"), 0);
    rig.now_ms += 5;
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    rig.now_ms += 5;
    assert_int_equal(rig_complete(&rig, "r:c:1:1", "3"), 0); /* It settles d, and does not come. */
    assert_non_null(strstr(rig_body(&rig, FLOW_QUEUE, "d"), "\"from_node\":\"a\""));
    rig_fini(&rig);
}

static void a_branch_that_is_not_taken_holds_no_join_up(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, diamond_nodes,
        "[" WHEN("a", "b", "/x < 5") "," WHEN("a", "c", "else") "," EDGE("b", "d") "," EDGE(
            "c", "d") "]");
    assert_true(run_wants_value(rig.run, 0));
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "{\"x\":9}"), 0);
    assert_string_equal(rig_story(&rig), "node_completed a, node_started c");
    assert_string_equal(rig_state(&rig, "b"), "skipped");
    assert_string_equal(rig_state(&rig, "d"), "idle");
    assert_false(run_wants_value(rig.run, 2));
    assert_int_equal(rig_complete(&rig, "r:c:1:1", "1"), 0);
    assert_string_equal(rig_story(&rig), "node_completed c, node_started d");
    assert_int_equal(rig_complete(&rig, "r:d:1:1", "1"), 0);
    assert_string_equal(rig_story(&rig), "node_completed d, workflow_completed");
    rig_reload(&rig);
    rig_fini(&rig);
}

static void when_no_condition_holds_everything_behind_is_skipped_and_the_run_completes(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, diamond_nodes,
        "[" WHEN("a", "b", "/x < 5") "," WHEN("a", "c", "/x < 3") "," EDGE("b", "d") "," EDGE(
            "c", "d") "]");
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "{\"x\":9}"), 0);
    assert_string_equal(rig_story(&rig), "node_completed a, workflow_completed");
    assert_string_equal(rig_state(&rig, "d"), "skipped");
    rig_fini(&rig);
}

/* A list and no recursion: the stack would not do. */
static void a_thousand_nodes_are_skipped_in_one_step(void **state)
{
    struct bytes nodes = {0}, edges = {0};
    struct rig rig;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(
            bytes_appendf(&nodes, "%s{\"id\":\"n%d\",\"type\":\"function\"}", i ? "," : "[", i), 0);
    }
    for (int i = 0; i < 999; i++) {
        assert_int_equal(bytes_appendf(&edges, "%s{\"from\":\"n%d\",\"to\":\"n%d\"%s}",
                             i ? "," : "[", i, i + 1, i ? "" : ",\"when\":\"/go == true\""),
            0);
    }
    assert_int_equal(bytes_append(&nodes, "]", 2), 0);
    assert_int_equal(bytes_append(&edges, "]", 2), 0);
    rig_start(&rig, (const char *)nodes.data, (const char *)edges.data);
    assert_int_equal(rig_complete(&rig, "r:n0:1:1", "{}"), 0);
    assert_int_equal(rig.run->status, RUN_COMPLETED);
    assert_string_equal(rig_state(&rig, "n999"), "skipped");
    rig_fini(&rig);
    bytes_fini(&nodes);
    bytes_fini(&edges);
}

static void a_token_is_used_once_and_nothing_else_is_a_token(void **state)
{
    static const char *const nonsense[] = {"", "r", "r:a", "r:a:1", "r:a:1:", "r:a:0:1", "r:a:1:0",
        "r:a:01:1", "r:a:1:1:1", "r:a:1:1 ", "q:a:1:1", "r:z:1:1", "r:a:2:1", "r:a:1:2", "r:a:+1:1",
        "r:a:4294967297:1", "r:a:1:99999999999", "r::1:1"};
    struct rig rig;
    uint32_t node;

    (void)state;
    rig_start(&rig, diamond_nodes, diamond_edges);
    for (size_t i = 0; i < COUNT_OF(nonsense); i++) {
        assert_int_equal(rig_complete(&rig, nonsense[i], "1"), -EINVAL);
    }
    assert_int_equal(run_token(rig.run, span_str("r:a:1:1"), &node), 0);
    assert_int_equal(rig_complete(&rig, "r:b:1:1", "1"), -EINVAL); /* Not yet. */
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), -EALREADY);
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "x", true), -EALREADY);
    assert_int_equal(rig_cancel(&rig, "ann"), 0);
    assert_int_equal(rig_complete(&rig, "r:b:1:1", "1"), -ESHUTDOWN);
    assert_int_equal(rig_complete(&rig, "r:b:x:1", "1"), -EINVAL);
    rig_fini(&rig);
}

static void steps_in_one_commit_consume_first(void **state)
{
    struct rig rig;
    struct run_result result = {
        .ref = "sha256:0000000000000000000000000000000000000000000000000000000000000000"};

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "]", "[]");
    changes_reset(&rig.changes);
    assert_int_equal(
        run_complete(rig.run, span_str("r:a:1:1"), &result, rig.now_ms, &rig.changes), 0);
    assert_int_equal(
        run_complete(rig.run, span_str("r:b:1:1"), &result, rig.now_ms, &rig.changes), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; CONSUME r:b:1:1; UNQUEUE a@function; OUTPUT a; NODE a; HEADER 1; "
        "EVENT node_completed a; UNQUEUE b@function; OUTPUT b; NODE b; HEADER 0; "
        "EVENT node_completed b; EVENT workflow_completed; CLOSE completed");
    rig_fini(&rig);
}

/* Nobody else can have used that one. */
static void a_token_that_the_commit_emits_itself_is_consumed_behind_that(void **state)
{
    struct rig rig;
    struct run_result result = {
        .ref = "sha256:0000000000000000000000000000000000000000000000000000000000000000"};

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("c") "]", "[" EDGE("a", "b") "]");
    changes_reset(&rig.changes);
    assert_int_equal(
        run_complete(rig.run, span_str("r:a:1:1"), &result, rig.now_ms, &rig.changes), 0);
    assert_int_equal(
        run_fail(rig.run, span_str("r:c:1:1"), "no", true, rig.now_ms, &rig.changes), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; CONSUME r:c:1:1; UNQUEUE a@function; EMIT r:b:1:1; QUEUE b@function; "
        "OUTPUT a; NODE a; NODE b; HEADER 2; EVENT node_completed a; EVENT node_started b; "
        "UNQUEUE c@function; CONSUME r:b:1:1; UNQUEUE b@function; NODE c; NODE b; HEADER 0; "
        "EVENT node_failed c; EVENT workflow_failed c; CLOSE failed");
    rig_fini(&rig);
}

static void the_task_says_all_that_a_worker_needs(void **state)
{
    struct rig rig;
    char expected[800];

    (void)state;
    rig_init(&rig,
        "[{\"id\":\"a\",\"type\":\"agent\",\"config\":{\"q\":[1,\"z\"]},\"timeout_ms\":700}," NODE(
            "b") "]",
        "[" EDGE("a", "b") "]");
    rig.run->task_timeout_ms = 9000;
    assert_int_equal(run_start(rig.run, span_str("{}"), rig.now_ms, &rig.changes), 0);
    snprintf(expected, sizeof(expected),
        "{\"id\":\"r:a:1:1\",\"run_id\":\"r\",\"from_node\":\"\",\"to_node\":\"a\","
        "\"payload_ref\":\"%s\",\"hop\":0,\"metadata\":{\"type\":\"agent\",\"attempt\":1,"
        "\"visit\":1,\"config\":{\"q\":[1,\"z\"]},\"username\":\"u\",\"tag\":\"t\","
        "\"timeout_ms\":700}}",
        rig.run->inputs_ref);
    assert_string_equal(rig_body(&rig, FLOW_QUEUE, "a"), expected);
    assert_int_equal(rig_node(&rig, "a")->due_ms, rig.now_ms + 700);
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    assert_non_null(strstr(rig_body(&rig, FLOW_QUEUE, "b"),
        "\"hop\":1,\"metadata\":{\"type\":\"function\",\"attempt\":1,\"visit\":1,\"config\":{},"
        "\"username\":\"u\",\"tag\":\"t\",\"timeout_ms\":9000}}"));
    rig_fini(&rig);
}

static void names_that_are_none_are_refused(void **state)
{
    struct rig rig;
    struct run *run = NULL;
    char long_id[FLOW_RUN_ID_MAX + 1];

    (void)state;
    memset(long_id, 'x', sizeof(long_id));
    rig_init(&rig, "[" NODE("a") "]", "[]");
    const struct span good = span_str("r");
    const struct span bad[] = {
        span_str(""), span_str("\xff"), span_of("a\0b", 3), span_of(long_id, sizeof(long_id))};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(run_create(rig.workflow, bad[i], good, good, &run), -EINVAL);
        if (i < 3) {
            assert_int_equal(run_create(rig.workflow, good, bad[i], good, &run), -EINVAL);
            assert_int_equal(run_create(rig.workflow, good, good, bad[i], &run), -EINVAL);
        }
    }
    assert_null(run);
    rig_fini(&rig);
}

/* The run is thrown away then; what matters is that it can be, and that the error is told. */
static void every_step_survives_a_lack_of_memory_anywhere(void **state)
{
    (void)state;
    for (int64_t n = 0;; n++) {
        struct rig rig;
        struct run *run = NULL;
        int err;

        rig_init(&rig, diamond_nodes, diamond_edges);
        mem_fail_after(n);
        err = run_create(rig.workflow, span_str("q"), span_str("t"), span_str("u"), &run);
        if (!err) {
            err = run_start(run, span_str("{}"), RIG_NOW_MS, &rig.changes);
        }
        static const char *const tokens[] = {"q:a:1:1", "q:b:1:1", "q:c:1:1", "q:d:1:1"};
        struct run_result result = {
            .ref = "sha256:0000000000000000000000000000000000000000000000000000000000000000",
            .blob = span_str("1")};
        for (size_t i = 0; i < COUNT_OF(tokens) && !err; i++) {
            err = run_progress(
                run, span_str(tokens[i]), 50, span_str("half"), RIG_NOW_MS, &rig.changes);
            if (!err && i == 1) {
                err = run_wait(run, span_str(tokens[i]), true, span_str("may it?"), 0, RIG_NOW_MS,
                    &rig.changes);
            }
            if (!err) {
                err =
                    i == 3
                        ? run_fail(run, span_str(tokens[i]), "x", true, RIG_NOW_MS, &rig.changes)
                        : run_complete(run, span_str(tokens[i]), &result, RIG_NOW_MS, &rig.changes);
            }
        }
        mem_fail_after(-1);
        run_free(run);
        rig_fini(&rig);
        assert_true(err == 0 || err == -ENOMEM);
        if (err == 0) {
            assert_true(n > 30);
            break;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_opens_the_run_and_queues_its_entries),
        cmocka_unit_test(a_chain_of_two_counts_one_then_nought),
        cmocka_unit_test(a_join_waits_for_all_and_is_given_their_results),
        cmocka_unit_test(the_token_of_a_join_names_the_predecessor_that_came_last),
        cmocka_unit_test(a_branch_that_is_not_taken_holds_no_join_up),
        cmocka_unit_test(
            when_no_condition_holds_everything_behind_is_skipped_and_the_run_completes),
        cmocka_unit_test(a_thousand_nodes_are_skipped_in_one_step),
        cmocka_unit_test(a_token_is_used_once_and_nothing_else_is_a_token),
        cmocka_unit_test(steps_in_one_commit_consume_first),
        cmocka_unit_test(a_token_that_the_commit_emits_itself_is_consumed_behind_that),
        cmocka_unit_test(the_task_says_all_that_a_worker_needs),
        cmocka_unit_test(names_that_are_none_are_refused),
        cmocka_unit_test(every_step_survives_a_lack_of_memory_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
