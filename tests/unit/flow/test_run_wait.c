/* Delays, humans, progress; and the exact text of the events (contracts.md 1). */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"
#include "tests/unit/flow/run_fixture.h"

static const char delay[] = "[{\"id\":\"a\",\"type\":\"delay\",\"config\":{\"ms\":100}}]";
static const char human[] = "[{\"id\":\"a\",\"type\":\"hitl\",\"config\":{\"message\":\"?\"},"
                            "\"timeout_ms\":7000,\"retry\":{\"max_attempts\":2}}]";
static const char plain[] = "[{\"id\":\"a\",\"type\":\"function\"}]";

static void a_delay_is_over_when_its_timer_says_so(void **state)
{
    struct rig rig;
    enum run_due due;

    (void)state;
    rig_start(&rig, delay, "[]");
    assert_int_equal(rig_node(&rig, "a")->due_ms, 0);
    assert_int_equal(rig_wait(&rig, "r:a:1:1", false, rig.now_ms + 100), 0);
    assert_string_equal(rig_ops(&rig), "UNQUEUE a@delay; NODE a; TIMER a +100; HEADER 1");
    assert_int_equal(rig_wait(&rig, "r:a:1:1", false, rig.now_ms + 900), -EALREADY);
    rig_reload(&rig);
    rig.now_ms += 100;
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(due, RUN_DUE_DELAY);
    assert_int_equal(rig.changes.count, 0);
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "{}"), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; BLOB; OUTPUT a; NODE a; UNTIMER a; HEADER 0; EVENT node_completed a; "
        "EVENT workflow_completed; CLOSE completed");
    rig_fini(&rig);
}

static void a_human_is_asked_and_their_word_ends_the_wait(void **state)
{
    struct rig rig;
    const struct span record = span_str("{\"status\":\"approved\"}");

    (void)state;
    rig_start(&rig, human, "[]");
    assert_int_equal(rig_node(&rig, "a")->due_ms, 0); /* Nobody is asked yet. */
    assert_int_equal(
        run_decide(rig.run, 0, true, span_str("ann"), record, rig.now_ms, &rig.changes), -EINVAL);
    assert_int_equal(rig_wait(&rig, "r:a:1:1", true, 0), 0);
    assert_string_equal(rig_ops(&rig),
        "UNQUEUE a@hitl; APPROVAL a; NODE a; TIMER a +7000; HEADER 1; EVENT approval_requested a");
    assert_string_equal(rig_body(&rig, FLOW_APPROVAL, "a"),
        "{\"status\":\"pending\",\"run_id\":\"r\",\"node_id\":\"a\",\"message\":\"may it?\","
        "\"requested_at\":1697234567}");
    assert_string_equal(rig_events(&rig),
        "{\"type\":\"approval_requested\",\"run_id\":\"r\",\"node_id\":\"a\","
        "\"message\":\"may it?\",\"timestamp\":1697234567}");
    rig_reload(&rig);

    struct run_result result = {.ref = rig.run->inputs_ref};
    changes_reset(&rig.changes);
    assert_int_equal(
        run_decide(rig.run, 0, true, span_str("ann"), record, rig.now_ms, &rig.changes), 0);
    assert_int_equal(
        run_decide(rig.run, 0, false, span_str("bob"), record, rig.now_ms, &rig.changes),
        -EALREADY);
    assert_int_equal(
        run_complete(rig.run, span_str("r:a:1:1"), &result, rig.now_ms, &rig.changes), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; APPROVAL a; EVENT approval_decided a; OUTPUT a; NODE a; UNTIMER a; "
        "HEADER 0; EVENT node_completed a; EVENT workflow_completed; CLOSE completed");
    assert_memory_equal(rig_events(&rig),
        "{\"type\":\"approval_decided\",\"run_id\":\"r\",\"node_id\":\"a\",\"approved\":true,"
        "\"by\":\"ann\",\"timestamp\":1697234567}\n",
        strlen("{\"type\":\"approval_decided\",\"run_id\":\"r\",\"node_id\":\"a\","
               "\"approved\":true,\"by\":\"ann\",\"timestamp\":1697234567}\n"));
    assert_int_equal(rig.run->events, 6);
    assert_null(run_check(rig.run));
    rig_reload(&rig);
    assert_int_equal(
        run_decide(rig.run, 0, true, span_str("ann"), record, rig.now_ms, &rig.changes),
        -ESHUTDOWN);
    rig_fini(&rig);
}

static void a_human_who_says_nothing_is_asked_again(void **state)
{
    struct rig rig;
    enum run_due due;

    (void)state;
    rig_start(&rig, human, "[]");
    assert_int_equal(rig_wait(&rig, "r:a:1:1", true, 0), 0);
    rig.now_ms += 7000;
    assert_int_equal(rig_timer(&rig, "a", &due), 0);
    assert_int_equal(due, RUN_DUE_TIMEOUT);
    assert_string_equal(rig_state(&rig, "a"), "backoff");
    assert_string_equal(rig_node(&rig, "a")->error, "nobody decided in time");
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; APPROVAL a; EMIT r:a:1:2; NODE a; TIMER a +1053; HEADER 1; "
        "EVENT node_failed a");
    assert_string_equal(rig_body(&rig, FLOW_APPROVAL, "a"), ""); /* Nobody is asked meanwhile. */
    assert_int_equal(
        run_decide(rig.run, 0, true, span_str("ann"), span_str("{}"), rig.now_ms, &rig.changes),
        -EINVAL);
    rig_reload(&rig);
    rig_fini(&rig);
}

static void who_was_asked_is_not_when_the_run_is_over(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, human, "[]");
    assert_int_equal(rig_wait(&rig, "r:a:1:1", true, 0), 0);
    assert_int_equal(rig_cancel(&rig, "bob"), 0);
    assert_string_equal(rig_ops(&rig),
        "CONSUME r:a:1:1; APPROVAL a; NODE a; UNTIMER a; HEADER 0; EVENT workflow_cancelled; "
        "CLOSE cancelled");
    assert_string_equal(rig_body(&rig, FLOW_APPROVAL, "a"), "");
    assert_int_equal(
        run_decide(rig.run, 0, true, span_str("ann"), span_str("{}"), rig.now_ms, &rig.changes),
        -ESHUTDOWN);
    rig_reload(&rig);
    rig_fini(&rig);
}

static void nobody_decides_where_nobody_is_asked(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, plain, "[]");
    for (uint32_t node = 0; node < 2; node++) {
        assert_int_equal(run_decide(rig.run, node, true, span_str("ann"), span_str("{}"),
                             rig.now_ms, &rig.changes),
            -EINVAL);
    }
    rig_fini(&rig);
}

static void progress_is_told_forward_and_once(void **state)
{
    struct rig rig;

    (void)state;
    rig_start(&rig, plain, "[]");
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 40, "half \"way\""), 0);
    assert_string_equal(rig_ops(&rig), "NODE a; HEADER 1; EVENT node_progress a");
    assert_string_equal(rig_events(&rig),
        "{\"type\":\"node_progress\",\"run_id\":\"r\",\"node_id\":\"a\",\"percent\":40,"
        "\"message\":\"half \\\"way\\\"\",\"timestamp\":1697234567}");
    rig_reload(&rig);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 40, "half \"way\""), -EALREADY);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 39.9, "behind"), -EALREADY);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 40, "more"), 0);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", -1, "more"), -EALREADY);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", -1, "and more"), 0);
    assert_non_null(strstr(rig_events(&rig), "\"percent\":40,"));
    assert_int_equal(rig_progress(&rig, "r:a:1:1", -1, ""), -EALREADY);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 40.5, ""), 0);
    assert_non_null(strstr(rig_events(&rig), "\"percent\":40.500,\"message\":\"\""));
    assert_int_equal(rig_progress(&rig, "r:a:1:1", NAN, ""), -EALREADY);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 1e300, "over"), 0);
    assert_non_null(strstr(rig_events(&rig), "\"percent\":100,"));
    assert_int_equal(rig_progress(&rig, "r:a:1:1", INFINITY, "over"), -EALREADY);
    assert_int_equal(rig_progress(&rig, "r:a:2:1", 1, "x"), -EINVAL);
    rig_reload(&rig);
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 100, "late"), -ESHUTDOWN);
    rig_fini(&rig);
}

static void messages_without_a_percent_are_remembered_for_a_while(void **state)
{
    struct rig rig;
    char message[20];

    (void)state;
    rig_start(&rig, plain, "[]");
    for (int i = 0; i < RUN_NOTES_MAX + 2; i++) {
        snprintf(message, sizeof(message), "step %d", i);
        assert_int_equal(rig_progress(&rig, "r:a:1:1", -1, message), 0);
        assert_int_equal(rig_progress(&rig, "r:a:1:1", -1, message), -EALREADY);
        rig_reload(&rig);
    }
    assert_int_equal(rig_progress(&rig, "r:a:1:1", -1, "step 2"), -EALREADY);
    rig.run->events = RUN_EVENTS_MAX;
    assert_int_equal(rig_progress(&rig, "r:a:1:1", 50, "too much"), -EALREADY);
    rig_fini(&rig);
}

static void the_other_events_are_those_of_the_contract(void **state)
{
    struct rig rig;
    char expected[800];

    (void)state;
    rig_start(&rig,
        "[{\"id\":\"a\",\"type\":\"function\"},{\"id\":\"b\",\"type\":\"function\","
        "\"retry\":{\"max_attempts\":2}}]",
        "[{\"from\":\"a\",\"to\":\"b\"}]");
    assert_string_equal(rig_events(&rig),
        "{\"type\":\"workflow_started\",\"run_id\":\"r\",\"tag\":\"t\",\"nodes\":2,"
        "\"entry_nodes\":1,\"timestamp\":1697234567}\n"
        "{\"type\":\"node_started\",\"run_id\":\"r\",\"node_id\":\"a\",\"attempt\":1,"
        "\"timestamp\":1697234567}");
    rig.now_ms += 1000;
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    snprintf(expected, sizeof(expected),
        "{\"type\":\"node_completed\",\"run_id\":\"r\",\"node_id\":\"a\",\"status\":\"completed\","
        "\"counter\":1,\"result_ref\":\"%s\",\"timestamp\":1697234568}\n"
        "{\"type\":\"node_started\",\"run_id\":\"r\",\"node_id\":\"b\",\"attempt\":1,"
        "\"timestamp\":1697234568}",
        rig_node(&rig, "a")->result_ref);
    assert_string_equal(rig_events(&rig), expected);
    assert_int_equal(rig_fail(&rig, "r:b:1:1", "no", false), 0);
    assert_string_equal(rig_events(&rig),
        "{\"type\":\"node_failed\",\"run_id\":\"r\",\"node_id\":\"b\",\"status\":\"failed\","
        "\"attempt\":1,\"error\":\"no\",\"will_retry\":true,\"timestamp\":1697234568}");
    enum run_due due;
    rig.now_ms += 3000;
    assert_int_equal(rig_timer(&rig, "b", &due), 0);
    assert_int_equal(rig_fail(&rig, "r:b:1:2", "no", false), 0);
    assert_string_equal(rig_events(&rig),
        "{\"type\":\"node_failed\",\"run_id\":\"r\",\"node_id\":\"b\",\"status\":\"failed\","
        "\"attempt\":2,\"error\":\"no\",\"will_retry\":false,\"timestamp\":1697234571}\n"
        "{\"type\":\"workflow_failed\",\"run_id\":\"r\",\"node_id\":\"b\",\"error\":\"no\","
        "\"counter\":0,\"duration_ms\":4000,\"timestamp\":1697234571}");
    rig_fini(&rig);

    rig_start(&rig, plain, "[]");
    rig.now_ms -= 10000; /* A clock that is behind. */
    assert_int_equal(rig_complete(&rig, "r:a:1:1", "1"), 0);
    assert_non_null(strstr(rig_events(&rig),
        "{\"type\":\"workflow_completed\",\"run_id\":\"r\",\"counter\":0,\"duration_ms\":0,"
        "\"timestamp\":1697234557}"));
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delay_is_over_when_its_timer_says_so),
        cmocka_unit_test(a_human_is_asked_and_their_word_ends_the_wait),
        cmocka_unit_test(a_human_who_says_nothing_is_asked_again),
        cmocka_unit_test(who_was_asked_is_not_when_the_run_is_over),
        cmocka_unit_test(nobody_decides_where_nobody_is_asked),
        cmocka_unit_test(progress_is_told_forward_and_once),
        cmocka_unit_test(messages_without_a_percent_are_remembered_for_a_while),
        cmocka_unit_test(the_other_events_are_those_of_the_contract),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
