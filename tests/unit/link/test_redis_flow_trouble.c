/* Redis dies, forgets, is full, cuts us off, or answers nonsense. */
#include "tests/unit/link/redis_flow_rig.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/attr.h"

static struct server server;
static struct rig rig;

static const char *const durable[] = {
    "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes", NULL};

static int begin(void **state)
{
    struct redis_flow_options options = rig_options("one");

    (void)state;
    server_do(&server, "FLUSHALL");
    rig_start(&rig, &server, &options);
    rig_up(&rig);
    return 0;
}

static int end(void **state)
{
    (void)state;
    rig_stop(&rig);
    return 0;
}

static const struct flow_op step[] = {
    {.kind = FLOW_HEADER, .body = {(const uint8_t *)"{}", 2}, .n = 1},
    {.kind = FLOW_EVENT, .body = {(const uint8_t *)"{e}", 3}},
};

struct load {
    struct flow_load load;
    uint32_t done;
    uint64_t version;
};

static void loaded(struct flow_load *load)
{
    struct load *mine = load->owner;

    mine->version = load->version;
    mine->done += 1;
}

static uint64_t version_of(const char *run)
{
    struct load mine = {.load = {.done = loaded, .owner = &mine, .run_id = s(run)}};

    rig.store.load(rig.store.ctx, &mine.load);
    rig_wait(&rig, &mine.done, 1);
    assert_int_equal(mine.load.err, 0);
    return mine.version;
}

enum { MANY = 200 };

struct many {
    struct flow_commit commits[MANY];
    char runs[MANY][16];
    uint32_t done, lost, applied;
};

static void one_of_many(struct flow_commit *commit)
{
    struct many *many = commit->owner;

    many->done += 1;
    many->lost += commit->err == -ENOTCONN;
    many->applied += commit->err == 0;
}

/* Each of a run of its own, at version 1. */
static void commit_many(struct many *many)
{
    *many = (struct many){0};
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(many->runs[i], sizeof(many->runs[i]), "m%u", i);
        rig_begin(&rig, many->runs[i]);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        many->commits[i] = (struct flow_commit){
            .done = one_of_many,
            .owner = many,
            .run_id = s(many->runs[i]),
            .user = s("u"),
            .version = 1,
            .ops = step,
            .op_count = COUNT_OF(step),
        };
        rig.store.commit(rig.store.ctx, &many->commits[i]);
    }
}

/* What was answered is there after kill -9; what was not is there whole or not at all. */
static void a_killed_server_loses_nothing_that_was_answered(void **state)
{
    static struct many many;
    uint32_t downs = rig.downs, applied = 0;

    (void)state;
    commit_many(&many);
    rig_wait(&rig, &many.done, 1);
    server_kill(&server, SIGKILL);
    rig_wait(&rig, &many.done, MANY);
    rig_wait(&rig, &rig.downs, downs + 1);
    assert_int_equal(many.lost + many.applied, MANY);
    assert_int_equal(rig_commit(&rig, "m0", 1, step, COUNT_OF(step), -ENOTCONN), 0);
    server_run_again(&server, durable);
    rig_up(&rig);
    for (uint32_t i = 0; i < MANY; i++) {
        char words[64];
        uint64_t version = version_of(many.runs[i]);
        applied += version == 2;
        assert_in_range(version, 1, 2);
        if (many.commits[i].err == 0) {
            assert_int_equal(version, 2);
        }
        snprintf(words, sizeof(words), "LLEN events:%s", many.runs[i]);
        assert_int_equal(server_do(&server, words), (long long)version);
    }
    assert_true(applied >= many.applied);
    uint64_t version = version_of("m0");
    assert_int_equal(rig_commit(&rig, "m0", version, step, COUNT_OF(step), 0), version + 1);
}

static void a_cut_connection_is_made_again_and_nothing_is_handed_out_twice(void **state)
{
    uint32_t ups = rig.ups;

    (void)state;
    rig_begin(&rig, "r1");
    rig_wait(&rig, &rig.task_count, 1);
    for (uint32_t i = 1; i <= 3; i++) {
        server_do(&server, "CLIENT KILL TYPE normal SKIPME yes");
        rig_wait(&rig, &rig.ups, ups + i);
        assert_int_equal(rig.downs, i);
        assert_string_equal(rig.why, "");
    }
    rig_run_ms(&rig, 100); /* The task is still ours: it is no leftover. */
    assert_int_equal(rig.task_count, 1);
    rig_commit(&rig, "r1", 1, step, COUNT_OF(step), 0);
    rig.store.release_task(rig.store.ctx, rig.tasks[0], FLOW_DONE, NULL);
    rig_run_ms(&rig, 50);
    rig_expect(&server, "XLEN wf.tasks.transform", "0");
    assert_int_equal(redis_flow_stats(rig.flow).reconnects, 3);
}

/* Commits under way when the scripts are gone are carried out once each. */
static void forgotten_scripts_are_loaded_again(void **state)
{
    static struct many many;

    (void)state;
    commit_many(&many);
    server_do(&server, "SCRIPT FLUSH");
    rig_wait(&rig, &many.done, MANY);
    assert_int_equal(many.applied, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        char words[64];
        snprintf(words, sizeof(words), "LLEN events:m%u", i);
        rig_expect(&server, words, "2");
    }
    assert_true(redis_flow_stats(rig.flow).reloads > 0);
    assert_int_equal(rig.downs, 0);
    server_do(&server, "SCRIPT FLUSH");
    server_do(&server, "RPUSH completion_signals a b c");
    rig_wait(&rig, &rig.signal_count, 3);
}

/* maxmemory reached: commits say so, leave no trace, and work when there is room again. */
static void a_full_redis_refuses_whole_commits(void **state)
{
    char before[64], after[64];
    const struct flow_op ops[] = {
        {.kind = FLOW_CONSUME, .id = s("t1")},
        {.kind = FLOW_UNQUEUE, .name = s("transform"), .node = s("a")},
        {.kind = FLOW_SIGNAL, .body = s("x")},
        {.kind = FLOW_UNTIMER, .node = s("a")},
        {.kind = FLOW_HEADER, .body = s("{}"), .n = 0},
        {.kind = FLOW_EVENT, .body = s("{e}")},
    };

    (void)state;
    rig_begin(&rig, "r1");
    rig_wait(&rig, &rig.task_count, 1);
    server_do(&server, "CONFIG SET maxmemory 1");
    server_do(&server, "DEL wf.coordinators");
    rig_ask(&server, "DEBUG DIGEST", before, sizeof(before));
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), -ENOSPC);
    server_do(&server, "DEL wf.coordinators");
    rig_ask(&server, "DEBUG DIGEST", after, sizeof(after));
    assert_string_equal(before, after);
    assert_true(rig.up);
    assert_int_equal(version_of("r1"), 1);
    /* Who lives says so all the same. */
    rig_run_ms(&rig, 2500);
    rig_expect(&server, "ZRANGE wf.coordinators 0 -1", "[one]");
    server_do(&server, "CONFIG SET maxmemory 0");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    server_do(&server, "RPUSH completion_signals a");
    rig_wait(&rig, &rig.signal_count, 1);
    assert_int_equal(rig.downs, 0);
}

static void lost_groups_are_made_again(void **state)
{
    (void)state;
    server_do(&server, "FLUSHALL");
    rig_run_ms(&rig, 1500);
    rig_begin(&rig, "r1");
    rig_wait(&rig, &rig.task_count, 1);
    assert_int_equal(rig.downs, 0);
}

static void a_key_of_another_kind_is_told_as_a_sentence(void **state)
{
    struct redis_flow_options options = rig_options("other");
    struct rig other;

    (void)state;
    server_do(&server, "DEL wf.tasks.search");
    server_do(&server, "SET wf.tasks.search x");
    rig_start(&other, &server, &options);
    rig_wait(&other, &other.downs, 1);
    assert_non_null(strstr(other.why, "WRONGTYPE"));
    server_do(&server, "DEL wf.tasks.search");
    rig_up(&other);
    rig_stop(&other);
}

/* A replica takes no commits; that it became one is an outage with a reason. */
static void a_read_only_replica_is_an_outage(void **state)
{
    uint32_t ups = rig.ups;

    (void)state;
    rig_begin(&rig, "r1");
    server_do(&server, "REPLICAOF 127.0.0.1 1");
    rig_commit(&rig, "r1", 1, step, COUNT_OF(step), -ENOTCONN);
    for (int i = 0; i < 2000 && !strstr(rig.why, "READONLY"); i++) {
        rig_turn(&rig);
    }
    assert_false(rig.up);
    assert_non_null(strstr(rig.why, "READONLY"));
    server_do(&server, "REPLICAOF NO ONE");
    rig_wait(&rig, &rig.ups, ups + 1);
    rig_commit(&rig, "r1", 1, step, COUNT_OF(step), 0);
}

struct get {
    struct flow_get get;
    uint32_t done;
};

static void got(struct flow_get *get)
{
    ((struct get *)get->owner)->done += 1;
}

/* An answer larger than what we keep belongs to one ask; the next ones are answered all the same. */
static void an_answer_that_is_too_large_is_one_asks_trouble(void **state)
{
    struct get large = {.get = {.done = got, .owner = &large, .key = s("sha256:x")}};
    const char *const argv[] = {"SETRANGE", "cas:sha256:x", "60000000", "x"};

    (void)state;
    freeReplyObject(server_ask(&server, 4, (const char **)argv, NULL));
    rig_begin(&rig, "r1");
    rig.store.blob(rig.store.ctx, &large.get);
    rig_commit(&rig, "r1", 1, step, COUNT_OF(step), 0);
    assert_int_equal(large.done, 1);
    assert_int_equal(large.get.err, -EMSGSIZE);
    large.get.bytes_max = 10;
    rig.store.blob(rig.store.ctx, &large.get);
    rig_wait(&rig, &large.done, 2);
    assert_int_equal(large.get.err, -EMSGSIZE);
    /* The records of a run, which nobody measured before. */
    struct load mine = {.load = {.done = loaded, .owner = &mine, .run_id = s("r1")}};
    const char *const more[] = {"SETRANGE", "big", "70000000", "x"};
    freeReplyObject(server_ask(&server, 4, (const char **)more, NULL));
    freeReplyObject(redisCommand(server.control, "EVAL %s 0",
        "redis.call('HSET', 'nodes:r1', 'b', redis.call('GET', 'big'))"));
    rig.store.load(rig.store.ctx, &mine.load);
    rig_wait(&rig, &mine.done, 1);
    assert_int_equal(mine.load.err, -EMSGSIZE);
    rig_commit(&rig, "r1", 2, step, COUNT_OF(step), 0);
    assert_int_equal(rig.downs, 0);
}

/* What lives is renewed, and what is over is gone to the last key. */
static void a_living_run_is_renewed_and_a_dead_one_is_gone(void **state)
{
    static const char ref[] =
        "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    struct redis_flow_options options = rig_options("short");
    char text[4096], words[128];
    const struct flow_op ops[] = {
        {.kind = FLOW_HEADER, .body = s("{}"), .n = 1},
        {.kind = FLOW_BLOB, .id = s(ref), .body = s("1")},
        {.kind = FLOW_OUTPUT, .node = s("a"), .id = s(ref)},
        {.kind = FLOW_ARRIVE, .node = s("j"), .id = s("a")},
        {.kind = FLOW_TIMER, .node = s("a"), .n = 1},
    };
    const struct flow_op over[] = {
        {.kind = FLOW_HEADER, .body = s("{}"), .n = 0},
        {.kind = FLOW_CLOSE, .name = s("failed"), .n = 1000},
    };

    (void)state;
    rig_stop(&rig);
    server_do(&server, "FLUSHALL");
    options.retention_ms = 800;
    options.history_limits = "100 100000 1000";
    rig_start(&rig, &server, &options);
    rig_up(&rig);
    rig_begin(&rig, "r1");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    server_do(&server, "EXPIRE ir:r1 3");
    rig_run_ms(&rig, 1700);
    snprintf(words, sizeof(words), "GET cas:%s", ref);
    rig_expect(&server, words, "1");
    assert_in_range(server_do(&server, "TTL ir:r1"), 86000, 86400);
    assert_true(rig.timer_count > 0);
    assert_string_equal(rig.timer, "r1:a");
    rig_commit(&rig, "r1", 2, over, COUNT_OF(over), 0);
    rig_run_ms(&rig, 2500);
    snprintf(words, sizeof(words), "EXISTS cas:%s", ref);
    rig_expect(&server, words, "0");
    rig_ask(&server, "KEYS *r1*", text, sizeof(text));
    assert_string_equal(text, "[run:started:r1]");
    rig_expect(&server, "EXISTS wf.runs wf.runs.failed wf.runs.finished wf.timers", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            a_killed_server_loses_nothing_that_was_answered, begin, end),
        cmocka_unit_test_setup_teardown(
            a_cut_connection_is_made_again_and_nothing_is_handed_out_twice, begin, end),
        cmocka_unit_test_setup_teardown(forgotten_scripts_are_loaded_again, begin, end),
        cmocka_unit_test_setup_teardown(a_full_redis_refuses_whole_commits, begin, end),
        cmocka_unit_test_setup_teardown(lost_groups_are_made_again, begin, end),
        cmocka_unit_test_setup_teardown(a_key_of_another_kind_is_told_as_a_sentence, begin, end),
        cmocka_unit_test_setup_teardown(a_read_only_replica_is_an_outage, begin, end),
        cmocka_unit_test_setup_teardown(
            an_answer_that_is_too_large_is_one_asks_trouble, begin, end),
        cmocka_unit_test_setup_teardown(a_living_run_is_renewed_and_a_dead_one_is_gone, begin, end),
    };

    server_start(&server, durable, false);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    server_stop(&server);
    return failed;
}
