/* Loops: bodies that begin anew, how often, and what they carry. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"
#include "tests/unit/flow/run_fixture.h"

#define NODE(id) "{\"id\":\"" id "\",\"type\":\"function\"}"
#define EDGE(from, to) "{\"from\":\"" from "\",\"to\":\"" to "\"}"
#define LOOP(from, to, times)                                                                      \
    "{\"from\":\"" from "\",\"to\":\"" to "\",\"max_iterations\":" times "}"

static void complete(struct rig *rig, const char *node, uint32_t visit, const char *json)
{
    char token[100];

    snprintf(token, sizeof(token), "r:%s:%u:1", node, visit);
    assert_int_equal(rig_complete(rig, token, json), 0);
    rig_reload(rig);
}

static void a_loop_begins_its_body_anew_and_ends_at_its_bound(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("z") "]",
        "[" EDGE("a", "b") "," EDGE("b", "z") "," LOOP("b", "a", "2") "]");
    for (uint32_t visit = 1; visit <= 2; visit++) {
        complete(&rig, "a", visit, "1");
        complete(&rig, "b", visit, "2");
        assert_string_equal(rig_story(&rig), "node_completed b, node_started a");
        assert_string_equal(rig_state(&rig, "b"), "idle");
        assert_int_equal(rig_node(&rig, "a")->visit, visit + 1);
        assert_non_null(strstr(rig_body(&rig, FLOW_QUEUE, "a"), "\"from_node\":\"b\""));
    }
    complete(&rig, "a", 3, "1");
    complete(&rig, "b", 3, "2");
    assert_string_equal(rig_story(&rig), "node_completed b, node_started z");
    assert_int_equal(rig_node(&rig, "b")->loops[1], 0); /* It was left. */
    assert_int_equal(rig_complete(&rig, "r:b:2:1", "2"), -EALREADY);
    complete(&rig, "z", 1, "3");
    assert_int_equal(rig.run->status, RUN_COMPLETED);
    rig_fini(&rig);
}

static void a_loop_carries_the_result_of_its_end(void **state)
{
    struct rig rig;
    char payload[FLOW_REF_LEN + 1];

    (void)state;
    rig_start(&rig, "[" NODE("a") "]", "[" LOOP("a", "a", "1") "]");
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "\"first\""), 0);
    for (uint32_t i = 0; i < rig.changes.count; i++) {
        if (rig.changes.ops[i].kind == FLOW_OUTPUT) {
            memcpy(payload, rig.changes.ops[i].id.data, FLOW_REF_LEN);
            payload[FLOW_REF_LEN] = '\0';
        }
    }
    assert_string_equal(rig_node(&rig, "a")->payload_ref, payload);
    assert_string_equal(rig_node(&rig, "a")->result_ref, "");
    assert_string_equal(rig_story(&rig), "node_completed a, node_started a");
    assert_int_equal(rig_node(&rig, "a")->hop, 1);
    assert_int_equal(rig_complete(&rig, "r:a:2:1", "2"), 0);
    assert_int_equal(rig.run->status, RUN_COMPLETED);
    rig_fini(&rig);
}

static void an_inner_loop_counts_anew_in_each_round_of_the_outer(void **state)
{
    struct rig rig;
    uint32_t begun = 0;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("c") "]",
        "[" EDGE("a", "b") "," EDGE("b", "c") "," LOOP("b", "b", "2") "," LOOP("c", "a", "1") "]");
    for (uint32_t round = 1; round <= 2; round++) {
        complete(&rig, "a", round, "1");
        for (int i = 0; i < 3; i++) {
            complete(&rig, "b", ++begun, "1");
        }
        complete(&rig, "c", round, "1");
    }
    assert_int_equal(begun, 6);
    assert_int_equal(rig.run->status, RUN_COMPLETED);
    rig_fini(&rig);
}

static void a_condition_ends_a_loop_early(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "]",
        "[{\"from\":\"a\",\"to\":\"a\",\"max_iterations\":100,\"when\":\"/more == true\"}," EDGE(
            "a", "b") "]");
    complete(&rig, "a", 1, "{\"more\":true}");
    complete(&rig, "a", 2, "{\"more\":false}");
    assert_string_equal(rig_story(&rig), "node_completed a, node_started b");
    rig_fini(&rig);
}

static void a_join_within_a_body_waits_again_in_each_round(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("c") "," NODE("d") "]",
        "[" EDGE("a", "b") "," EDGE("a", "c") "," EDGE("b", "d") "," EDGE("c", "d") "," LOOP(
            "d", "a", "1") "]");
    for (uint32_t visit = 1; visit <= 2; visit++) {
        complete(&rig, "a", visit, "1");
        complete(&rig, "b", visit, "1");
        assert_string_equal(rig_state(&rig, "d"), "idle");
        complete(&rig, "c", visit, "1");
        assert_string_equal(rig_state(&rig, "d"), "queued");
        complete(&rig, "d", visit, "1");
    }
    assert_int_equal(rig.run->status, RUN_COMPLETED);
    assert_int_equal(rig.run->emits, 8);
    rig_fini(&rig);
}

/* It began in the first round and is skipped in the second: a late signal is late, and no poison. */
static void a_token_of_an_earlier_round_stays_used_up(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("c") "]",
        "[{\"from\":\"a\",\"to\":\"b\",\"when\":\"/x < 5\"}," EDGE(
            "b", "c") ","
                      "{\"from\":\"a\",\"to\":\"c\",\"when\":\"always\"}," LOOP("c", "a", "1") "]");
    complete(&rig, "a", 1, "{\"x\":1}");
    complete(&rig, "b", 1, "1");
    complete(&rig, "c", 1, "1");
    assert_int_equal(rig_complete(&rig, "r:b:1:1", "1"), -EALREADY);
    complete(&rig, "a", 2, "{\"x\":9}");
    assert_string_equal(rig_state(&rig, "b"), "skipped");
    assert_int_equal(rig_complete(&rig, "r:b:1:1", "1"), -EALREADY);
    assert_int_equal(rig_complete(&rig, "r:b:2:1", "1"), -EINVAL);
    rig_fini(&rig);
}

static void a_failure_may_go_round_a_loop(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "]",
        "[{\"from\":\"a\",\"to\":\"a\",\"max_iterations\":1,\"when\":\"failed\"}]");
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "no", false), 0);
    assert_string_equal(rig_story(&rig), "node_failed a, node_started a");
    assert_non_null(strstr(rig_events(&rig), "\"error\":\"no\",\"will_retry\":false"));
    rig_reload(&rig);
    assert_int_equal(rig_fail(&rig, "r:a:2:1", "no again", false), 0);
    assert_string_equal(rig_story(&rig), "node_failed a, workflow_failed a");
    rig_reload(&rig);
    rig_fini(&rig);
}

static void a_loop_without_end_fails_the_run_at_the_bound_of_tokens(void **state)
{
    struct rig rig;
    struct run_result result = {
        .ref = "sha256:0000000000000000000000000000000000000000000000000000000000000000"};
    uint32_t steps = 0;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("other") "]",
        "[" EDGE("a", "b") "," LOOP("a", "a", "10000") "," LOOP("b", "b", "10000") "]");
    rig.run->emits += RUN_TOKENS_MAX - 20; /* As if it had gone on for long. */
    rig.run->consumes += RUN_TOKENS_MAX - 20;
    while (rig.run->status == RUN_RUNNING) {
        char token[40];
        snprintf(token, sizeof(token), "r:a:%u:1", ++steps);
        changes_reset(&rig.changes);
        assert_int_equal(
            run_complete(rig.run, span_str(token), &result, rig.now_ms, &rig.changes), 0);
        assert_null(run_check(rig.run));
    }
    assert_int_equal(steps, 19);
    assert_int_equal(rig.run->emits, RUN_TOKENS_MAX);
    assert_string_equal(rig_story(&rig), "node_completed a, workflow_failed a");
    assert_string_equal(
        rig.run->error, "the run would need more than 100000 tokens; is a loop too long?");
    assert_string_equal(rig_state(&rig, "other"), "skipped");
    rig_reload(&rig);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_begins_its_body_anew_and_ends_at_its_bound),
        cmocka_unit_test(a_loop_carries_the_result_of_its_end),
        cmocka_unit_test(an_inner_loop_counts_anew_in_each_round_of_the_outer),
        cmocka_unit_test(a_condition_ends_a_loop_early),
        cmocka_unit_test(a_join_within_a_body_waits_again_in_each_round),
        cmocka_unit_test(a_token_of_an_earlier_round_stays_used_up),
        cmocka_unit_test(a_failure_may_go_round_a_loop),
        cmocka_unit_test(a_loop_without_end_fails_the_run_at_the_bound_of_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
