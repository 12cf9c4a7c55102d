/* Attempts that fail: retries and their time, handlers, the end of a run; and cancelling it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"
#include "tests/unit/flow/run_fixture.h"

#define NODE(id) "{\"id\":\"" id "\",\"type\":\"function\"}"
#define EDGE(from, to) "{\"from\":\"" from "\",\"to\":\"" to "\"}"
#define WHEN(from, to, when) "{\"from\":\"" from "\",\"to\":\"" to "\",\"when\":\"" when "\"}"

static const char retry_node[] =
    "[{\"id\":\"a\",\"type\":\"function\",\"retry\":{\"max_attempts\":3,\"backoff_ms\":1000,"
    "\"factor\":10,\"max_backoff_ms\":5000}}]";

static void a_failed_attempt_is_tried_again_after_a_while(void **state)
{
    struct rig rig;
    enum run_due due;

    (void)state;
    rig_start(&rig, retry_node, "[]");
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "broke", false), 0);
    uint64_t due_ms = rig_node(&rig, "a")->due_ms;
    assert_true(due_ms >= rig.now_ms + 1000 && due_ms <= rig.now_ms + 1100);
    char expected[300];
    snprintf(expected, sizeof(expected),
        "CONSUME r:a:1:1; UNQUEUE a@function; EMIT r:a:1:2; NODE a; TIMER a +%llu; HEADER 1; "
        "EVENT node_failed a",
        (unsigned long long)(due_ms - rig.now_ms));
    assert_string_equal(rig_ops(&rig), expected);
    rig_reload(&rig);
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), -EALREADY);
    assert_int_equal(rig_complete(&rig, "r:a:1:2", "1"), -EINVAL); /* Nobody was given it. */

    rig.now_ms = due_ms - 1;
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(due, RUN_DUE_NOTHING);
    assert_string_equal(rig_ops(&rig), "TIMER a +1");
    rig.now_ms = due_ms;
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(due, RUN_DUE_ATTEMPT);
    assert_string_equal(
        rig_ops(&rig), "QUEUE a@function; NODE a; UNTIMER a; HEADER 1; EVENT node_started a");
    assert_non_null(strstr(rig_events(&rig), "\"attempt\":2"));
    rig_reload(&rig);

    assert_int_equal(rig_fail(&rig, "r:a:1:2", "broke", false), 0);
    due_ms = rig_node(&rig, "a")->due_ms; /* Ten times as long, and capped. */
    assert_true(due_ms >= rig.now_ms + 5000 && due_ms <= rig.now_ms + 5500);
    rig.now_ms = due_ms;
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(rig_fail(&rig, "r:a:1:3", "broke", false), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:3; UNQUEUE a@function; NODE a; HEADER 0; EVENT node_failed a; "
        "EVENT workflow_failed a; CLOSE failed");
    rig_reload(&rig);
    rig_fini(&rig);
}

static void every_coordinator_waits_the_same_time(void **state)
{
    struct rig a, b;

    (void)state;
    rig_start(&a, retry_node, "[]");
    rig_start(&b, retry_node, "[]");
    assert_int_equal(rig_fail(&a, "r:a:1:1", "broke", false), 0);
    assert_int_equal(rig_fail(&b, "r:a:1:1", "broke in another way", false), 0);
    assert_int_equal(rig_node(&a, "a")->due_ms, rig_node(&b, "a")->due_ms);
    rig_fini(&a);
    rig_fini(&b);
}

static void a_backoff_of_nothing_still_goes_by_the_timer(void **state)
{
    struct rig rig;
    enum run_due due;

    (void)state;
    rig_start(&rig,
        "[{\"id\":\"a\",\"type\":\"function\",\"retry\":{\"max_attempts\":2,\"backoff_ms\":0}}]",
        "[]");
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "broke", false), 0);
    assert_string_equal(rig_state(&rig, "a"), "backoff");
    assert_int_equal(rig_node(&rig, "a")->due_ms, rig.now_ms);
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(due, RUN_DUE_ATTEMPT);
    rig_fini(&rig);
}

static void a_final_failure_is_not_tried_again(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, retry_node, "[]");
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "broke", true), 0);
    assert_string_equal(rig_story(&rig), "node_failed a, workflow_failed a");
    rig_fini(&rig);
}

static void a_handled_failure_goes_on_with_what_happened(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "," NODE("c") "," NODE("d") "]",
        "[" EDGE("a", "b") "," WHEN("a", "c", "failed") "," WHEN("a", "d", "always") "]");
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "broke", false), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; UNQUEUE a@function; EMIT r:c:1:1; QUEUE c@function; EMIT r:d:1:1; "
        "QUEUE d@function; BLOB; OUTPUT a; NODE a; NODE b; NODE c; NODE d; HEADER 2; "
        "EVENT node_failed a; EVENT node_started c; EVENT node_started d");
    assert_string_equal(
        rig_body(&rig, FLOW_BLOB, NULL), "{\"attempt\":1,\"error\":\"broke\",\"node_id\":\"a\"}");
    assert_string_equal(rig_node(&rig, "c")->payload_ref, rig_node(&rig, "a")->result_ref);
    assert_string_equal(rig_state(&rig, "b"), "skipped");
    rig_reload(&rig);
    rig_fini(&rig);
}

static void a_handler_of_what_did_not_fail_is_skipped(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("c") "," NODE("d") "]",
        "[" WHEN("a", "c", "failed") "," WHEN("a", "d", "always") "]");
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    assert_string_equal(rig_story(&rig), "node_completed a, node_started d");
    assert_string_equal(rig_state(&rig, "c"), "skipped");
    rig_fini(&rig);
}

static void a_run_that_fails_leaves_nothing_in_flight(void **state)
{
    struct rig rig;
    enum run_due due;

    (void)state;
    rig_start(&rig,
        "[" NODE("a") "," NODE(
            "b") ",{\"id\":\"c\",\"type\":\"delay\"},{\"id\":\"d\",\"type\":"
                 "\"function\",\"retry\":{\"max_attempts\":2}},{\"id\":\"e\",\"type\":\"function\","
                 "\"timeout_ms\":5000}," NODE("x") "," NODE("j") "]",
        "[" EDGE("a", "j") "," EDGE("x", "j") "]");
    assert_int_equal(rig_wait(&rig, "r:c:1:1", false, rig.now_ms + 50), 0);
    assert_int_equal(rig_fail(&rig, "r:d:1:1", "once", false), 0);
    assert_int_equal(rig_complete(&rig, "r:x:1:1", "1"), 0);
    assert_int_equal(rig_fail(&rig, "r:b:1:1", "broke", false), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:b:1:1; CONSUME r:a:1:1; CONSUME r:c:1:1; CONSUME r:d:1:2; CONSUME r:e:1:1; "
        "UNQUEUE b@function; UNQUEUE a@function; UNQUEUE e@function; JOINED j; NODE b; NODE a; "
        "NODE c; NODE d; NODE e; UNTIMER c; UNTIMER d; UNTIMER e; HEADER 0; EVENT node_failed b; "
        "EVENT workflow_failed b; CLOSE failed");
    assert_string_equal(rig_state(&rig, "c"), "skipped");
    assert_string_equal(rig_state(&rig, "b"), "failed");
    rig_reload(&rig);
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), -ESHUTDOWN);
    assert_int_equal(rig_timer(&rig, "c", &due), -ESHUTDOWN);
    assert_int_equal(rig_cancel(&rig, "ann"), -ESHUTDOWN);
    rig_fini(&rig);
}

static void a_cancelled_run_says_who_did_it(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, "[" NODE("a") "," NODE("b") "]", "[" EDGE("a", "b") "]");
    rig.now_ms += 1500;
    assert_int_equal(rig_cancel(&rig, "ann \"x\" \xff"), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; UNQUEUE a@function; NODE a; HEADER 0; EVENT workflow_cancelled; "
        "CLOSE cancelled");
    assert_string_equal(rig_events(&rig),
        "{\"type\":\"workflow_cancelled\",\"run_id\":\"r\",\"by\":\"ann \\\"x\\\" \xef\xbf\xbd\","
        "\"counter\":0,\"duration_ms\":1500,\"timestamp\":1697234568}");
    rig_reload(&rig);
    rig_fini(&rig);
}

static void an_attempt_that_takes_too_long_failed(void **state)
{
    struct rig rig;
    enum run_due due;

    (void)state;
    rig_init(&rig, "[" NODE("a") "]", "[]");
    rig.run->task_timeout_ms = 2000;
    assert_int_equal(run_start(rig.run, span_str("{}"), rig.now_ms, &rig.changes), 0);
    assert_non_null(strstr(rig_ops(&rig), "NODE a; TIMER a +2000; HEADER 1"));
    rig.now_ms += 2000;
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(due, RUN_DUE_TIMEOUT);
    assert_string_equal(rig_story(&rig), "node_failed a, workflow_failed a");
    assert_string_equal(rig.run->error, "timed out");
    rig_fini(&rig);
}

static void a_timer_of_nothing_is_taken_away(void **state)
{
    struct rig rig;
    enum run_due due;

    (void)state;
    rig_start(&rig, "[" NODE("a") "]", "[]");
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(due, RUN_DUE_NOTHING);
    assert_string_equal(rig_ops(&rig), "UNTIMER a");
    assert_int_equal(rig_timer(&rig, "nobody", &due), -EINVAL);
    rig_fini(&rig);
}

static void an_error_is_text_and_bounded(void **state)
{
    struct rig rig;
    char error[1200];

    (void)state;
    memset(error, 'x', sizeof(error));
    memcpy(error, "\xc3\x28 ", 3);
    memcpy(error + 996, "\xe2\x82\xac", 3); /* The euro sign would end at 1001. */
    error[sizeof(error) - 1] = '\0';
    rig_start(&rig, "[" NODE("a") "]", "[]");
    assert_int_equal(rig_fail(&rig, "r:a:1:1", error, false), 0);
    assert_int_equal(strlen(rig.run->error), 998);
    assert_memory_equal(rig.run->error, "\xef\xbf\xbd( x", 6);
    rig_reload(&rig);
    rig_fini(&rig);

    rig_start(&rig, "[" NODE("a") "]", "[]");
    assert_int_equal(rig_fail(&rig, "r:a:1:1", "", false), 0);
    rig_reload(&rig); /* Even one that says nothing. */
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_attempt_is_tried_again_after_a_while),
        cmocka_unit_test(every_coordinator_waits_the_same_time),
        cmocka_unit_test(a_backoff_of_nothing_still_goes_by_the_timer),
        cmocka_unit_test(a_final_failure_is_not_tried_again),
        cmocka_unit_test(a_handled_failure_goes_on_with_what_happened),
        cmocka_unit_test(a_handler_of_what_did_not_fail_is_skipped),
        cmocka_unit_test(a_run_that_fails_leaves_nothing_in_flight),
        cmocka_unit_test(a_cancelled_run_says_who_did_it),
        cmocka_unit_test(an_attempt_that_takes_too_long_failed),
        cmocka_unit_test(a_timer_of_nothing_is_taken_away),
        cmocka_unit_test(an_error_is_text_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
