/* Tasks and timers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/flow_suite_rig.h"

/* ---- tasks ---- */

static uint64_t queue(struct suite *suite, uint64_t version, const char *node, const char *type,
    const char *token, const char *body)
{
    assert_int_equal(
        suite_commit(suite, "r1", version,
            OPS(op_token(FLOW_EMIT, token), op_queue(node, type, token, body)), &version),
        0);
    return version;
}

static bool is(struct span got, const char *expected)
{
    return span_equal(got, span_str(expected));
}

static void a_task_is_handed_out_once_and_is_done(void **state)
{
    struct suite *suite = *state;

    uint64_t v = queue(suite, suite_r1(suite), "a", FLOW_SUITE_TYPE_A, "t1", TOKEN("t1", "a"));
    suite_until_tasks(suite, 1);
    assert_true(is(suite->tasks[0]->type, FLOW_SUITE_TYPE_A));
    assert_true(is(suite->tasks[0]->body, TOKEN("t1", "a")));
    assert_false(suite->tasks[0]->again);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_token(FLOW_CONSUME, "t1"), op_token(FLOW_EMIT, "t2"),
                             op_queue("b", FLOW_SUITE_TYPE_B, "t2", TOKEN("t2", "b"))),
                         &v),
        0);
    /* The body is ours until it is given back. */
    suite_until_tasks(suite, 2);
    assert_true(is(suite->tasks[0]->body, TOKEN("t1", "a")));
    suite_release(suite, 0, FLOW_DONE, "");
    suite_turns(suite);
    assert_int_equal(suite->task_count, 1);
    assert_true(is(suite->tasks[0]->type, FLOW_SUITE_TYPE_B));
    assert_true(is(suite->tasks[0]->body, TOKEN("t2", "b")));
}

static void only_so_many_tasks_are_under_way(void **state)
{
    struct suite *suite = *state;
    char token[16], node[16];

    uint64_t v = suite_r1(suite);
    for (unsigned i = 0; i < 3 * FLOW_SUITE_TASKS_MAX; i++) {
        snprintf(token, sizeof(token), "t%u", i);
        snprintf(node, sizeof(node), "n%u", i);
        v = queue(
            suite, v, node, i % 2 ? FLOW_SUITE_TYPE_A : FLOW_SUITE_TYPE_B, token, TOKEN("t", "a"));
    }
    suite_until_tasks(suite, FLOW_SUITE_TASKS_MAX);
    for (unsigned i = 0; i < 2 * FLOW_SUITE_TASKS_MAX; i++) {
        suite_turns(suite);
        assert_int_equal(suite->task_count, FLOW_SUITE_TASKS_MAX);
        suite_release(suite, 0, FLOW_DONE, "");
        suite_until_tasks(suite, FLOW_SUITE_TASKS_MAX);
    }
    while (suite->task_count) {
        suite_release(suite, 0, FLOW_DONE, "");
    }
    suite_turns(suite);
    assert_int_equal(suite->task_count, 0);
}

static void a_task_that_waits_can_be_taken_back(void **state)
{
    struct suite *suite = *state;
    char token[16], node[16];

    uint64_t v = suite_r1(suite);
    for (unsigned i = 0; i < FLOW_SUITE_TASKS_MAX; i++) {
        snprintf(token, sizeof(token), "t%u", i);
        snprintf(node, sizeof(node), "n%u", i);
        v = queue(suite, v, node, FLOW_SUITE_TYPE_A, token, TOKEN("t", "n"));
    }
    suite_until_tasks(suite, FLOW_SUITE_TASKS_MAX);
    v = queue(suite, v, "waits", FLOW_SUITE_TYPE_A, "w1", TOKEN("w1", "waits"));
    v = queue(suite, v, "stays", FLOW_SUITE_TYPE_A, "w2", TOKEN("w2", "stays"));
    /* One that waits, and one that is with us: we keep that, and give it back as always. */
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_unqueue("waits", FLOW_SUITE_TYPE_A), op_unqueue("n0", FLOW_SUITE_TYPE_A),
                op_unqueue("unknown", FLOW_SUITE_TYPE_A)),
            &v),
        0);
    suite_turns(suite);
    assert_int_equal(suite->task_count, FLOW_SUITE_TASKS_MAX);
    for (unsigned i = 0; i < FLOW_SUITE_TASKS_MAX; i++) {
        suite_release(suite, 0, FLOW_DONE, "");
    }
    suite_until_tasks(suite, 1);
    suite_turns(suite);
    assert_int_equal(suite->task_count, 1);
    assert_true(is(suite->tasks[0]->body, TOKEN("w2", "stays")));
}

static void a_task_put_off_comes_again(void **state)
{
    struct suite *suite = *state;

    queue(suite, suite_r1(suite), "a", FLOW_SUITE_TYPE_A, "t1", TOKEN("t1", "a"));
    suite_until_tasks(suite, 1);
    suite_release(suite, 0, FLOW_LATER, "busy");
    suite->port->pass(suite->port->ctx, FLOW_SUITE_LATER_MS_MAX);
    suite_until_tasks(suite, 1);
    assert_true(is(suite->tasks[0]->body, TOKEN("t1", "a")));
    assert_true(suite->tasks[0]->again);
}

static void a_dropped_or_poisonous_task_never_comes_again(void **state)
{
    struct suite *suite = *state;

    uint64_t v = queue(suite, suite_r1(suite), "a", FLOW_SUITE_TYPE_A, "t1", TOKEN("t1", "a"));
    v = queue(suite, v, "b", FLOW_SUITE_TYPE_A, "t2", "{\"poison\":true}");
    suite_until_tasks(suite, 2);
    uint64_t before = suite->port->dead_count(suite->port->ctx);
    uint32_t poison = is(suite->tasks[0]->body, "{\"poison\":true}") ? 0 : 1;
    suite_release(suite, poison, FLOW_DEAD, "it names no run");
    suite_release(suite, 0, FLOW_DROP, "");
    suite_turns(suite);
    suite->port->pass(suite->port->ctx, FLOW_SUITE_LATER_MS_MAX);
    suite_turns(suite);
    assert_int_equal(suite->task_count, 0);
    assert_int_equal(suite->port->dead_count(suite->port->ctx), before + 1);
    /* The node may be queued again. */
    queue(suite, v, "a", FLOW_SUITE_TYPE_A, "t3", TOKEN("t3", "a"));
    suite_until_tasks(suite, 1);
    assert_true(is(suite->tasks[0]->body, TOKEN("t3", "a")));
}

/* ---- timers ---- */

static void a_timer_comes_when_it_is_due_and_until_it_is_removed(void **state)
{
    struct suite *suite = *state;

    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_timer("later", suite_now(suite) + 3600000),
                             op_timer("soon", suite_now(suite) + 300)),
                         &v),
        0);
    suite->port->pass(suite->port->ctx, 400);
    suite_until_timers(suite, 1);
    assert_string_equal(suite->timers[0].run_id, "r1");
    assert_string_equal(suite->timers[0].node, "soon");
    /* Nobody did anything about it. */
    suite->port->pass(suite->port->ctx, FLOW_SUITE_LATER_MS_MAX);
    suite_until_timers(suite, 2);
    assert_string_equal(suite->timers[1].node, "soon");
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_plain(FLOW_UNTIMER, "soon", NULL, NULL)), &v), 0);
    uint32_t count = suite->timer_count;
    suite->port->pass(suite->port->ctx, FLOW_SUITE_LATER_MS_MAX);
    suite_turns(suite);
    assert_int_equal(suite->timer_count, count);
}

static void a_timer_in_the_past_comes_at_once(void **state)
{
    struct suite *suite = *state;

    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v, OPS(op_timer("a", 1)), &v), 0);
    suite_until_timers(suite, 1);
    assert_string_equal(suite->timers[0].node, "a");
}

static void another_timer_of_a_node_replaces_the_first(void **state)
{
    struct suite *suite = *state;

    uint64_t v = suite_r1(suite);
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_timer("a", suite_now(suite) + 1000), op_timer("b", suite_now(suite) + 1200)),
            &v),
        0);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_timer("a", suite_now(suite) + 3600000)), &v), 0);
    suite->port->pass(suite->port->ctx, 1300);
    suite_until_timers(suite, 1);
    assert_string_equal(suite->timers[0].node, "b");
    /* And to an earlier time. */
    uint32_t count = suite->timer_count;
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_plain(FLOW_UNTIMER, "b", NULL, NULL), op_timer("a", suite_now(suite))), &v),
        0);
    suite_until_timers(suite, count + 1);
    assert_string_equal(suite->timers[count].node, "a");
}

const struct suite_case suite_work_cases[] = {
    SUITE_CASE(a_task_is_handed_out_once_and_is_done),
    SUITE_CASE(only_so_many_tasks_are_under_way),
    SUITE_CASE(a_task_that_waits_can_be_taken_back),
    SUITE_CASE(a_task_put_off_comes_again),
    SUITE_CASE(a_dropped_or_poisonous_task_never_comes_again),
    SUITE_CASE(a_timer_comes_when_it_is_due_and_until_it_is_removed),
    SUITE_CASE(a_timer_in_the_past_comes_at_once),
    SUITE_CASE(another_timer_of_a_node_replaces_the_first),
    {NULL, NULL},
};
