/* A full disk, a file that may not grow, no memory: the commit is refused and leaves nothing, and when
 * there is room again all goes on. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/mem.h"
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

static char *large(size_t len)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)('a' + (i * 2654435761u >> 9) % 26);
    }
    text[0] = text[len - 1] = '"';
    text[len] = '\0';
    return text;
}

static void make_ref(char out[FLOW_REF_LEN + 1], unsigned n)
{
    snprintf(out, FLOW_REF_LEN + 1, "sha256:%064x", n);
}

/* A commit of a large blob and everything else, to the run. */
static int big_commit(
    struct suite *suite, const char *run_id, uint64_t *version, unsigned n, const char *body)
{
    char ref[FLOW_REF_LEN + 1], header[64], waits[16];

    make_ref(ref, n);
    snprintf(waits, sizeof(waits), "waits%u", n);
    snprintf(header, sizeof(header), "{\"run_id\":\"%s\",\"n\":%u}", run_id, n);
    return suite_commit(suite, run_id, *version,
        OPS(op_header(header, 1), op_node("a", header), op_event(EVENT(1)),
            op_token(FLOW_CONSUME, ref), op_timer(waits, suite_now(suite)),
            op_queue(waits, FLOW_SUITE_TYPE_A, "t", "{}"), op_blob(ref, body)),
        version);
}

/* The run is as after commit n. */
static void check(struct suite *suite, const char *run_id, uint64_t version, unsigned n)
{
    struct suite_events events;
    char header[64], ref[FLOW_REF_LEN + 1], out[SUITE_TEXT_MAX];

    snprintf(header, sizeof(header), "{\"run_id\":\"%s\",\"n\":%u}", run_id, n);
    struct suite_loaded *run = suite_load(suite, run_id);
    assert_int_equal(run->err, 0);
    assert_int_equal(run->version, version);
    assert_string_equal(run->header, header);
    assert_int_equal(run->node_count, 1);
    assert_string_equal(run->nodes[0][1], header);
    free(run);
    suite_events(suite, run_id, 0, 0, &events);
    assert_int_equal(events.total, n);
    assert_int_equal(events.count, n);
    make_ref(ref, n);
    assert_int_equal(suite_get(suite, suite->store.blob, ref, 1, out), -EMSGSIZE);
    make_ref(ref, n + 1);
    assert_int_equal(suite_get(suite, suite->store.blob, ref, 1, out), -ENOENT);
}

static void a_file_at_its_bound_refuses_until_there_is_room(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    struct flow_db_stats stats;
    char *body = large(200000);
    unsigned n = 0;
    int err = 0;

    test->rig.options.bytes_max = 3 << 20;
    rig_reopen(&test->rig, suite);
    uint64_t old = suite_run(suite, "old", "u", "t", suite_now(suite)), v = suite_r1(suite);
    for (unsigned i = 1; i <= 5; i++) {
        assert_int_equal(big_commit(suite, "old", &old, i, body), 0);
    }
    while ((err = big_commit(suite, "r1", &v, n + 1, body)) == 0) {
        n += 1;
        assert_true(n < 20);
    }
    assert_int_equal(err, -ENOSPC);
    assert_true(n > 3);
    flow_db_stats(test->rig.db, &stats);
    assert_true(stats.full);
    assert_true(stats.file_bytes <= 3 << 20);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(big_commit(suite, "r1", &v, n + 1, body), -ENOSPC);
        check(suite, "r1", v, n);
    }
    /* Small ones of other runs find the room that is left; a run that ends makes more of it. */
    assert_int_equal(
        suite_commit(suite, "old", old, OPS(op_close("completed", suite_now(suite))), &old), 0);
    suite->port->pass(suite->port->ctx, FLOW_SUITE_RETENTION_MS + 1500);
    suite_turns(suite);
    assert_int_equal(big_commit(suite, "r1", &v, n + 1, body), 0);
    check(suite, "r1", v, n + 1);
    flow_db_stats(test->rig.db, &stats);
    assert_false(stats.full);
    rig_reopen(&test->rig, suite);
    check(suite, "r1", v, n + 1);
    free(body);
}

static void set_file_limit(rlim_t bytes)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The system refuses the write, as on a full disk. */
static void a_write_that_fails_leaves_nothing(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    char *body = large(200000), path[128];
    struct rlimit limit;
    struct stat st;

    uint64_t v = suite_r1(suite);
    assert_int_equal(big_commit(suite, "r1", &v, 1, body), 0);
    snprintf(path, sizeof(path), "%s/runs.db-wal", test->rig.dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_IGN);
    /* At every place within the commit. */
    for (rlim_t more = 0; more < 200000; more += 9000) {
        set_file_limit((rlim_t)st.st_size + more);
        assert_int_equal(big_commit(suite, "r1", &v, 2, body), -ENOSPC);
        check(suite, "r1", v, 1);
    }
    set_file_limit(limit.rlim_cur);
    suite_turns(suite);
    assert_int_equal(suite->task_count, 1); /* Of the first commit only. */
    assert_int_equal(big_commit(suite, "r1", &v, 2, body), 0);
    check(suite, "r1", v, 2);
    rig_reopen(&test->rig, suite);
    check(suite, "r1", v, 2);
    free(body);
}

/* Memory that ends at the N-th allocation, for every N. */
static void without_memory_a_commit_is_refused_whole(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    char *body = large(3000);
    unsigned n = 1, refused = 0;

    test->rig.options.cache_bytes_max = 0; /* Each commit begins with reading. */
    rig_reopen(&test->rig, suite);
    uint64_t v = suite_r1(suite);
    assert_int_equal(big_commit(suite, "r1", &v, 1, body), 0);
    for (int64_t left = 0; n == 1; left++) {
        assert_true(left < 1000);
        /* Without buffers that have grown already. */
        rig_reopen(&test->rig, suite);
        suite_turns(suite);
        mem_fail_after(left);
        int err = big_commit(suite, "r1", &v, 2, body);
        mem_fail_after(-1);
        if (err) {
            assert_int_equal(err, -ENOMEM);
            refused += 1;
            check(suite, "r1", v, 1);
        } else {
            n = 2;
        }
    }
    assert_true(refused > 5);
    check(suite, "r1", v, 2);
    /* What could not be put into memory behind the commit was found in the file. */
    suite_until_tasks(suite, 2);
    uint32_t timers = suite->timer_count;
    suite->port->pass(suite->port->ctx, FLOW_DB_TIMER_MS);
    suite_until_timers(suite, timers + 2);
    free(body);
}

static void unsound_commits_are_refused(void **state)
{
    struct test *test = *state;
    struct suite *suite = &test->suite;
    char too_long[FLOW_RUN_ID_MAX + 2];

    memset(too_long, 'x', sizeof(too_long) - 1);
    too_long[sizeof(too_long) - 1] = '\0';
    uint64_t v = suite_r1(suite);
    const struct flow_op ops[] = {
        op_header("{", 0),
        op_node("a", "{}}"),
        op_node("", "{}"),
        op_node(too_long, "{}"),
        op_node("\xff", "{}"),
        op_event(""),
        op_event("{\"a\":tru}"),
        op_blob("sha256:nonsense", "{}"),
        op_queue("a", "", "t", "{}"),
        op_queue("a", FLOW_SUITE_TYPE_A, "\xc3", "{}"),
        op_token(FLOW_CONSUME, "\xff"),
        op_plain(FLOW_APPROVAL, "a", NULL, "no"),
        op_close("", 1),
        op_open("u", "t", 1),
    };
    for (size_t i = 0; i < COUNT_OF(ops); i++) {
        assert_int_equal(suite_commit(suite, "r1", v, &ops[i], 1, NULL), -EINVAL);
    }
    assert_int_equal(suite_commit(suite, too_long, 0, OPS(op_open("u", "t", 1)), NULL), -EINVAL);
    assert_int_equal(suite_commit(suite, "", 0, OPS(op_open("u", "t", 1)), NULL), -EINVAL);
    assert_int_equal(suite_commit(suite, "r2", 0, OPS(op_header("{}", 1)), NULL), -EINVAL);
    struct suite_loaded *run = suite_load(suite, "r1");
    assert_int_equal(run->version, v);
    free(run);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_file_at_its_bound_refuses_until_there_is_room),
        TEST(a_write_that_fails_leaves_nothing),
        TEST(without_memory_a_commit_is_refused_whole),
        TEST(unsound_commits_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
