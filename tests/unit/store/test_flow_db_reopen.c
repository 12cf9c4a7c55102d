/* What is in the file is there again: runs, tokens, tasks, timers, events. And what cannot be opened
 * is refused with a sentence. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

static bool is(struct span got, const char *expected)
{
    return span_equal(got, span_str(expected));
}

static void a_run_is_as_it_was(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct suite_events events;
    char out[SUITE_TEXT_MAX];

    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_node("a", "{\"n\":1}"), op_event(EVENT(1)), op_event(EVENT(2)),
                             op_blob(REF_A, "\"blob\""), op_token(FLOW_CONSUME, "t1"),
                             op_plain(FLOW_APPROVAL, "ask", NULL, "{\"status\":\"pending\"}"),
                             op_header("{\"run_id\":\"r1\",\"n\":2}", 1)),
                         &v),
        0);
    for (uint32_t times = 0; times < 2; times++) {
        rig_reopen(&test->rig, suite);
        struct suite_loaded *run = suite_load(suite, "r1");
        assert_int_equal(run->err, 0);
        assert_int_equal(run->version, v);
        assert_string_equal(run->header, "{\"run_id\":\"r1\",\"n\":2}");
        assert_int_equal(run->node_count, 1);
        assert_string_equal(run->nodes[0][1], "{\"n\":1}");
        assert_non_null(strstr(run->ir, "metadata"));
        free(run);
        suite_events(suite, "r1", 1, 0, &events);
        assert_int_equal(events.total, 2);
        assert_string_equal(events.text, EVENT(2) "\n");
        assert_int_equal(suite_get(suite, suite->store.blob, REF_A, 0, out), 0);
        assert_int_equal(suite_get(suite, suite->store.approval, "r1:ask", 0, out), 0);
        assert_int_equal(
            suite_commit(suite, "r1", v, OPS(op_token(FLOW_CONSUME, "t1")), NULL), -EALREADY);
    }
    assert_int_equal(suite_commit(suite, "r1", v, OPS(op_token(FLOW_CONSUME, "t2")), &v), 0);
}

/* Also when the run had to leave memory while others were used. */
static void a_run_that_left_memory_is_read_again(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct flow_db_stats stats;
    char id[16];

    test->rig.options.cache_bytes_max = 20000;
    rig_reopen(&test->rig, suite);
    uint64_t v[100];
    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "run%u", i);
        v[i] = suite_run(suite, id, "alice", "flights", suite_now(suite));
        assert_int_equal(suite_commit(suite, id, v[i],
                             OPS(op_node("a", "{\"n\":1}"), op_token(FLOW_CONSUME, "t")), &v[i]),
            0);
    }
    flow_db_stats(test->rig.db, &stats);
    assert_true(stats.runs_cached < 50);
    assert_true(stats.cache_bytes <= 20000);
    for (unsigned i = 0; i < 100; i++) {
        snprintf(id, sizeof(id), "run%u", i);
        assert_int_equal(
            suite_commit(suite, id, v[i], OPS(op_token(FLOW_CONSUME, "t")), NULL), -EALREADY);
        assert_int_equal(suite_commit(suite, id, v[i], OPS(op_node("b", "{\"n\":2}")), &v[i]), 0);
        struct suite_loaded *run = suite_load(suite, id);
        assert_int_equal(run->node_count, 2);
        free(run);
    }
}

static void tasks_that_were_not_done_come_again(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;

    uint64_t v = suite_r1(suite);
    assert_int_equal(suite_commit(suite, "r1", v,
                         OPS(op_queue("done", FLOW_SUITE_TYPE_A, "t1", "1"),
                             op_queue("given", FLOW_SUITE_TYPE_A, "t2", "2"),
                             op_queue("taken", FLOW_SUITE_TYPE_B, "t3", "3"),
                             op_queue("dropped", FLOW_SUITE_TYPE_B, "t4", "4"),
                             op_queue("waits", FLOW_SUITE_TYPE_B, "t5", "5")),
                         &v),
        0);
    suite_until_tasks(suite, FLOW_SUITE_TASKS_MAX);
    for (uint32_t i = 0; i < suite->task_count; i++) {
        if (is(suite->tasks[i]->body, "4")) {
            suite_release(suite, i, FLOW_DROP, "");
        }
    }
    assert_int_equal(
        suite_commit(suite, "r1", v,
            OPS(op_token(FLOW_CONSUME, "t1"), op_unqueue("taken", FLOW_SUITE_TYPE_B)), &v),
        0);
    rig_reopen(&test->rig, suite);
    suite_until_tasks(suite, 2);
    suite_turns(suite);
    assert_int_equal(suite->task_count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        assert_true(is(suite->tasks[i]->body, "2") || is(suite->tasks[i]->body, "5"));
        assert_true(suite->tasks[i]->again);
    }
    assert_false(span_equal(suite->tasks[0]->body, suite->tasks[1]->body));
}

static void timers_are_due_as_before(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct flow_op ops[40];
    char nodes[40][16];

    uint64_t v = suite_r1(suite);
    /* More than one part. */
    for (unsigned i = 0; i < 40; i++) {
        snprintf(nodes[i], sizeof(nodes[i]), "n%u", i);
        ops[i] = op_timer(nodes[i], suite_now(suite) + 1000 * (40 - i));
    }
    assert_int_equal(suite_commit(suite, "r1", v, ops, 40, &v), 0);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_plain(FLOW_UNTIMER, "n38", NULL, NULL)), &v), 0);
    rig_reopen(&test->rig, suite);
    suite_turns(suite);
    assert_int_equal(suite->timer_count, 0);
    assert_int_equal(flow_db_next_ms(test->rig.db, test->rig.now_ms), 1000);
    suite->port->pass(suite->port->ctx, 1000);
    suite_turns(suite);
    assert_int_equal(suite->timer_count, 1);
    assert_string_equal(suite->timers[0].node, "n39");
    suite->port->pass(suite->port->ctx, 2000);
    suite_turns(suite);
    assert_int_equal(suite->timer_count, 3);
    /* The first came again, and the next one but that which was taken back. */
    assert_true(
        strcmp(suite->timers[1].node, "n37") == 0 || strcmp(suite->timers[2].node, "n37") == 0);
}

static void events_behind_many_are_found(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct suite_events events;
    char body[64], expected[128];

    uint64_t v = suite_r1(suite);
    for (unsigned i = 0; i < 900; i++) {
        snprintf(body, sizeof(body), "{\"n\":%u}", i);
        struct flow_op op = op_event(body);
        if (i % 7 == 0) { /* Versions without events lie between. */
            assert_int_equal(suite_commit(suite, "r1", v, OPS(op_node("a", "{}")), &v), 0);
        }
        assert_int_equal(suite_commit(suite, "r1", v, &op, 1, &v), 0);
    }
    for (uint64_t since = 0; since < 900; since += 13) {
        suite_events(suite, "r1", since, 2, &events);
        assert_int_equal(events.total, 900);
        snprintf(expected, sizeof(expected), "{\"n\":%llu}\n{\"n\":%llu}\n",
            (unsigned long long)since, (unsigned long long)since + 1);
        assert_string_equal(events.text, expected);
    }
}

/* ---- what cannot be opened ---- */

static void path_in(const struct rig *rig, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", rig->dir, name);
}

static void a_second_process_is_refused(void **state)
{
    struct test *test = *state;
    struct flow_db_options options = test->rig.options;
    struct flow_db *second = NULL;
    char why[FLOW_DB_WHY_MAX], pid[64];

    assert_int_equal(flow_db_open(&options, &second, why), -EBUSY);
    snprintf(pid, sizeof(pid), "in use by process %ld;", (long)getpid());
    assert_non_null(strstr(why, pid));
    assert_non_null(strstr(why, test->rig.dir));
    rig_reopen(&test->rig, &test->suite);
}

static void the_file_is_its_owner_s_only(void **state)
{
    struct test *test = *state;
    const char *const names[] = {"runs.db", "runs.db-wal", "runs.db-shm", "runs.lock"};
    struct stat st;
    char path[128];

    suite_r1(&test->suite);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        path_in(&test->rig, names[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
}

/* Closes, damages the file by fn, and expects this refusal. */
static void refused(struct test *test, void (*fn)(const char *path), int err, const char *sentence)
{
    char path[128];

    flow_db_destroy(test->rig.db);
    test->rig.db = NULL;
    path_in(&test->rig, "runs.db", path);
    fn(path);
    assert_int_equal(rig_try_open(&test->rig, &test->suite.in), err);
    if (!strstr(test->rig.why, sentence) || !strstr(test->rig.why, path)) {
        fail_msg("%s", test->rig.why);
    }
}

static void execute(const char *path, const char *sql)
{
    sqlite3 *sqlite = NULL;

    assert_int_equal(sqlite3_open(path, &sqlite), SQLITE_OK);
    assert_int_equal(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sqlite);
}

static void make_newer(const char *path)
{
    execute(path, "PRAGMA user_version=2");
}

static void a_newer_version_s_file_is_refused(void **state)
{
    refused(*state, make_newer, -EPROTONOSUPPORT, "newer version");
}

static void make_foreign(const char *path)
{
    unlink(path);
    execute(path, "CREATE TABLE t(a)");
}

static void a_foreign_database_is_refused(void **state)
{
    refused(*state, make_foreign, -EBADMSG, "not one of fanout's runs");
}

static void write_at(const char *path, long at, const char *bytes, size_t len)
{
    FILE *file = fopen(path, "r+");

    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    fclose(file);
}

static void spoil_head(const char *path)
{
    write_at(path, 0, "no database at all", 18);
}

static void a_file_that_is_no_database_is_refused(void **state)
{
    refused(*state, spoil_head, -EBADMSG, "is no database of runs");
}

static void spoil_pages(const char *path)
{
    char junk[4096];
    struct stat st;

    memset(junk, 0xa5, sizeof(junk));
    assert_int_equal(stat(path, &st), 0);
    for (long at = 4096; at < st.st_size; at += 4096) {
        write_at(path, at, junk, sizeof(junk));
    }
}

static void a_damaged_file_is_refused(void **state)
{
    struct test *test = *state;

    suite_r1(&test->suite);
    refused(test, spoil_pages, -EBADMSG, "damaged");
}

static void spoil_nodes(const char *path)
{
    execute(path, "UPDATE runs SET nodes='[[\"a\",{}' WHERE run_id='r1'");
}

static void a_run_that_makes_no_sense_is_told_at_opening(void **state)
{
    struct test *test = *state;

    suite_r1(&test->suite);
    refused(test, spoil_nodes, -EBADMSG, "its runs cannot be read");
}

static void cut_off(const char *path)
{
    assert_int_equal(truncate(path, 6000), 0);
}

static void a_file_that_is_cut_off_is_refused(void **state)
{
    struct test *test = *state;

    suite_r1(&test->suite);
    refused(test, cut_off, -EBADMSG, "damaged");
}

static void a_directory_that_cannot_be_made_is_refused(void **state)
{
    struct test *test = *state;
    struct flow_db_options options = test->rig.options;
    struct flow_db *second = NULL;
    char why[FLOW_DB_WHY_MAX];

    options.dir = "/dev/null/runs";
    assert_true(flow_db_open(&options, &second, why) < 0);
    assert_non_null(strstr(why, "/dev/null/runs"));
}

static void note(struct flow_commit *commit)
{
    *(uint32_t *)commit->owner += 1;
}

static void after_shutting_requests_are_refused_at_once(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    uint32_t answered = 0;
    const struct flow_op ops[] = {op_header("{\"last\":1}", 0)};

    uint64_t v = suite_r1(suite);
    assert_int_equal(
        suite_commit(suite, "r1", v, OPS(op_queue("a", FLOW_SUITE_TYPE_A, "t1", "1")), &v), 0);
    suite_until_tasks(suite, 1);
    struct flow_commit last = {.done = note,
        .owner = &answered,
        .run_id = span_str("r1"),
        .user = span_str("alice"),
        .version = v,
        .ops = ops,
        .op_count = 1};
    suite->store.commit(suite->store.ctx, &last);
    flow_db_shut(test->rig.db);
    assert_int_equal(answered, 1);
    assert_int_equal(last.err, 0);
    assert_false(suite->up);
    struct flow_commit late = last;
    suite->store.commit(suite->store.ctx, &late);
    assert_int_equal(answered, 2);
    assert_int_equal(late.err, -ENOTCONN);
    suite_release(suite, 0, FLOW_LATER, "");
    rig_reopen(&test->rig, suite);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_string_equal(run->header, "{\"last\":1}");
    free(run);
    suite_until_tasks(suite, 1);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_run_is_as_it_was),
        TEST(a_run_that_left_memory_is_read_again),
        TEST(tasks_that_were_not_done_come_again),
        TEST(timers_are_due_as_before),
        TEST(events_behind_many_are_found),
        TEST(a_second_process_is_refused),
        TEST(the_file_is_its_owner_s_only),
        TEST(a_newer_version_s_file_is_refused),
        TEST(a_foreign_database_is_refused),
        TEST(a_file_that_is_no_database_is_refused),
        TEST(a_damaged_file_is_refused),
        TEST(a_run_that_makes_no_sense_is_told_at_opening),
        TEST(a_file_that_is_cut_off_is_refused),
        TEST(a_directory_that_cannot_be_made_is_refused),
        TEST(after_shutting_requests_are_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
