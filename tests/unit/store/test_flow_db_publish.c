/* Publishing: every event once and in order per run, whatever the publisher does, also after a
 * restart; and no run goes before all its events are out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/store/flow_db_rig.h"

struct test {
    struct rig rig;
    struct suite suite;
};

static int set_up(void **state)
{
    struct test *test = calloc(1, sizeof(*test));

    assert_non_null(test);
    rig_init(&test->rig, true);
    rig_publish(&test->rig);
    suite_open(&test->suite, &test->rig.port);
    *state = test;
    return 0;
}

static int tear_down(void **state)
{
    struct test *test = *state;

    rig_fini(&test->rig);
    free(test);
    return 0;
}

/* One event more of a run, with its number in it. */
static uint64_t tell(struct suite *suite, const char *run_id, uint64_t version, unsigned n)
{
    char body[64];

    snprintf(body, sizeof(body), "{\"n\":%u}", n);
    struct flow_op op = op_event(body);
    assert_int_equal(suite_commit(suite, run_id, version, &op, 1, &version), 0);
    return version;
}

/* The run's events 1..count were taken, in order, each once (or again from further back, at a
 * restart). */
static void check_taken(const struct rig *rig, const char *run_id, unsigned count, bool restarted)
{
    char *text = rig->publisher.text ? strdup(rig->publisher.text) : strdup("");
    unsigned next = 1, furthest = 0;
    char *rest = NULL;

    assert_non_null(text);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char id[80];
        unsigned seq, n;
        assert_int_equal(sscanf(line, "%79s %u {\"n\":%u}", id, &seq, &n), 3);
        if (strcmp(id, run_id) != 0) {
            continue;
        }
        assert_int_equal(seq, n);
        if (restarted && seq < next) {
            next = seq;
        }
        assert_int_equal(seq, next);
        next += 1;
        furthest = seq > furthest ? seq : furthest;
    }
    assert_int_equal(furthest, count);
    free(text);
}

static void pump(struct suite *suite)
{
    suite->port->pump(suite->port->ctx);
}

static void pass(struct suite *suite, uint64_t ms)
{
    suite->port->pass(suite->port->ctx, ms);
    suite_turns(suite);
}

static void events_go_out_in_order_several_together(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct rig_publisher *publisher = &test->rig.publisher;

    publisher->hold = true;
    uint64_t v = suite_r1(suite), v2 = suite_run(suite, "r2", "bob", "t", suite_now(suite));
    for (unsigned n = 1; n <= 200; n++) {
        v = tell(suite, "r1", v, n);
        if (n <= 3) {
            v2 = tell(suite, "r2", v2, n);
        }
    }
    for (uint32_t i = 0; i < 50 && publisher->taken < 203; i++) {
        rig_publisher_answer(&test->rig);
        pump(suite);
    }
    check_taken(&test->rig, "r1", 200, false);
    check_taken(&test->rig, "r2", 3, false);
    assert_int_equal(publisher->at_once_max, 1);
    assert_true(publisher->calls < 20);
}

static void a_publisher_that_fails_is_asked_again_later(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct rig_publisher *publisher = &test->rig.publisher;

    publisher->err = -EIO;
    uint64_t v = tell(suite, "r1", suite_r1(suite), 1);
    suite_turns(suite);
    uint32_t calls = publisher->calls;
    assert_int_equal(calls, 1);
    assert_in_range(flow_db_next_ms(test->rig.db, test->rig.now_ms), 1, 100);
    pass(suite, 100);
    assert_int_equal(publisher->calls, 2);
    pass(suite, 100); /* It doubles. */
    assert_int_equal(publisher->calls, 2);
    v = tell(suite, "r1", v, 2);
    assert_int_equal(publisher->calls, 2);
    for (uint32_t i = 0; i < 20; i++) {
        pass(suite, 10000);
    }
    assert_int_equal(publisher->calls, 22);
    publisher->err = 0;
    pass(suite, 10000);
    check_taken(&test->rig, "r1", 2, false);
    tell(suite, "r1", v, 3);
    check_taken(&test->rig, "r1", 3, false);
}

static void what_was_taken_in_part_goes_on_behind_it(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;

    test->rig.publisher.take_max = 2;
    test->rig.publisher.hold = true;
    uint64_t v = suite_r1(suite);
    for (unsigned n = 1; n <= 11; n++) {
        v = tell(suite, "r1", v, n);
    }
    test->rig.publisher.hold = false;
    rig_publisher_answer(&test->rig);
    suite_turns(suite);
    check_taken(&test->rig, "r1", 11, false);
}

/* More than one publication takes, some of them while one is under way: no matter from where they are had. */
static void many_events_of_one_commit_are_all_told(void **state)
{
    enum { COUNT = 150, COMMITS = 4 };
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct rig_publisher *publisher = &test->rig.publisher;
    struct flow_op ops[COUNT];
    char bodies[COUNT][24];
    uint64_t v = suite_r1(suite);

    publisher->hold = true;
    for (unsigned n = 1; n <= COUNT * COMMITS; n++) {
        unsigned at = (n - 1) % COUNT;
        snprintf(bodies[at], sizeof(bodies[at]), "{\"n\":%u}", n);
        ops[at] = op_event(bodies[at]);
        if (at == COUNT - 1) {
            publisher->take_max = n == 2 * COUNT ? 7 : 0;
            assert_int_equal(suite_commit(suite, "r1", v, ops, COUNT, &v), 0);
            rig_publisher_answer(&test->rig);
            pump(suite);
        }
    }
    for (unsigned i = 0; i < 100 && publisher->taken < COUNT * COMMITS; i++) {
        rig_publisher_answer(&test->rig);
        pump(suite);
        pass(suite, 1000);
    }
    check_taken(&test->rig, "r1", COUNT * COMMITS, false);
}

static void one_run_s_trouble_holds_up_no_other(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct rig_publisher *publisher = &test->rig.publisher;

    publisher->err = -EIO;
    tell(suite, "r1", suite_r1(suite), 1);
    suite_turns(suite);
    publisher->err = 0;
    tell(suite, "r2", suite_run(suite, "r2", "bob", "t", suite_now(suite)), 1);
    check_taken(&test->rig, "r2", 1, false);
    check_taken(&test->rig, "r1", 0, false);
}

static void what_was_not_published_is_at_the_next_opening(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;

    uint64_t v = suite_r1(suite);
    for (unsigned n = 1; n <= 5; n++) {
        v = tell(suite, "r1", v, n);
    }
    check_taken(&test->rig, "r1", 5, false);
    test->rig.publisher.err = -EIO;
    v = tell(suite, "r1", v, 6);
    v = tell(suite, "r1", v, 7);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_event("{\"n\":8}"), op_close("completed", suite_now(suite))), &v),
        0);
    rig_reopen(&test->rig, suite);
    suite_turns(suite);
    check_taken(&test->rig, "r1", 5, false);
    test->rig.publisher.err = 0;
    pass(suite, 10000);
    check_taken(&test->rig, "r1", 8, false);
}

/* A clean end writes how far it came: nothing is published twice. */
static void what_was_published_is_not_again(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;

    uint64_t v = suite_r1(suite);
    for (unsigned n = 1; n <= 5; n++) {
        v = tell(suite, "r1", v, n);
    }
    for (uint32_t i = 0; i < 3; i++) {
        rig_reopen(&test->rig, suite);
        suite_turns(suite);
    }
    assert_int_equal(test->rig.publisher.taken, 5);
    v = tell(suite, "r1", v, 6);
    check_taken(&test->rig, "r1", 6, false);
}

/* Without an end: progress is in the file within a second or so, even if nothing else happens. */
static void progress_is_written_before_long(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct flow_db_stats before, after;

    tell(suite, "r1", suite_r1(suite), 1);
    suite_turns(suite);
    flow_db_stats(test->rig.db, &before);
    assert_int_equal(before.unpublished_runs, 1);
    assert_in_range(flow_db_next_ms(test->rig.db, test->rig.now_ms), 1, 1000);
    pass(suite, 1000);
    flow_db_stats(test->rig.db, &after);
    assert_int_equal(after.transactions, before.transactions + 1);
    assert_int_equal(after.unpublished_runs, 0);
    pass(suite, 10000);
    flow_db_stats(test->rig.db, &after);
    assert_int_equal(after.transactions, before.transactions + 1);
}

static void a_run_stays_until_its_events_are_out(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;

    test->rig.publisher.err = -EIO;
    uint64_t v = tell(suite, "r1", suite_r1(suite), 1);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_close("failed", suite_now(suite))), &v), 0);
    for (uint32_t i = 0; i < 10; i++) {
        pass(suite, 10 * FLOW_SUITE_RETENTION_MS);
    }
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->err, 0);
    free(run);
    test->rig.publisher.err = 0;
    pass(suite, 10000);
    check_taken(&test->rig, "r1", 1, false);
    pass(suite, 2000);
    pass(suite, 2000);
    run = suite_load(suite, "r1");
    assert_int_equal(run->err, -ENOENT);
    free(run);
}

static void a_large_event_goes_alone(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    enum { LEN = 400 << 10 };
    char *large = malloc(LEN + 1);

    assert_non_null(large);
    int head = snprintf(large, LEN, "{\"n\":1,\"large\":\"");
    memset(large + head, 'x', (size_t)(LEN - head));
    memcpy(large + LEN - 2, "\"}", 3);
    uint64_t v = suite_r1(suite);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_event(large), op_event("{\"n\":2}")), &v), 0);
    suite_turns(suite);
    assert_int_equal(test->rig.publisher.taken, 2);
    assert_int_equal(test->rig.publisher.calls, 2);
    check_taken(&test->rig, "r1", 2, false);
    free(large);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(events_go_out_in_order_several_together),
        TEST(a_publisher_that_fails_is_asked_again_later),
        TEST(what_was_taken_in_part_goes_on_behind_it),
        TEST(many_events_of_one_commit_are_all_told),
        TEST(one_run_s_trouble_holds_up_no_other),
        TEST(what_was_not_published_is_at_the_next_opening),
        TEST(what_was_published_is_not_again),
        TEST(progress_is_written_before_long),
        TEST(a_run_stays_until_its_events_are_out),
        TEST(a_large_event_goes_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
