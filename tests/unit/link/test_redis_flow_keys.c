/* What each op becomes in a real Redis, looked at with plain commands: this is what workers in other
 * languages rely on. */
#include "tests/unit/link/redis_flow_rig.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define REF_A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static struct server server;
static struct rig rig;

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

static void a_run_begins_with_all_its_keys(void **state)
{
    char text[4096];

    (void)state;
    rig_begin(&rig, "r1");
    rig_expect(&server, "HGET run:r1 version", "1");
    rig_expect(&server, "HGET run:r1 header", "{\"status\":\"running\"}");
    rig_expect(&server, "HMGET run:r1 user tag created status", "[u tag 1000 running]");
    rig_expect(&server, "GET run:started:r1", "1");
    assert_in_range(server_do(&server, "TTL run:started:r1"), 86000, 86400);
    rig_expect(&server, "GET ir:r1", "{\"ir\":1}");
    assert_in_range(server_do(&server, "TTL ir:r1"), 86000, 86400);
    rig_expect(&server, "GET counter:r1", "1");
    rig_expect(&server, "SMEMBERS applied:r1", "[emit:t1]");
    rig_expect(&server, "HGETALL nodes:r1", "[a {\"state\":\"queued\"}]");
    rig_expect(&server, "LRANGE events:r1 0 -1", "[{\"type\":\"workflow_started\"}]");
    rig_expect(&server, "ZRANGE wf.runs 0 -1 WITHSCORES", "[r1 1000]");
    rig_expect(&server, "ZRANGE wf.runs.running 0 -1 WITHSCORES", "[r1 1000]");
    rig_expect(&server, "TTL run:r1", "-1");
    rig_ask(&server, "XRANGE wf.tasks.transform - +", text, sizeof(text));
    assert_non_null(strstr(text, "[token {\"id\":\"t1\"}]"));
}

/* As a worker that knows nothing of us sees it. */
static void work_waits_in_the_consumer_group_of_its_type(void **state)
{
    static const char *const types[] = {"transform", "http", "delay", "search", "default"};
    char words[128], text[4096];
    const struct flow_op ops[] = {
        {.kind = FLOW_HEADER, .body = s("h"), .n = 2},
        {.kind = FLOW_EMIT, .id = s("t2")},
        {.kind = FLOW_QUEUE, .id = s("t2"), .name = s("search"), .node = s("b"), .body = s("{2}")},
        {.kind = FLOW_EMIT, .id = s("t3")},
        {.kind = FLOW_QUEUE, .id = s("t3"), .name = s("odd"), .node = s("c"), .body = s("{3}")},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        snprintf(words, sizeof(words), "XINFO GROUPS wf.tasks.%s", types[i]);
        rig_ask(&server, words, text, sizeof(text));
        snprintf(words, sizeof(words), "[[name %s_workers ", types[i]);
        assert_int_equal(strncmp(text, words, strlen(words)), 0);
    }
    rig_ask(&server, "XINFO GROUPS wf.run.requests", text, sizeof(text));
    assert_int_equal(strncmp(text, "[[name run_executors ", 21), 0);
    rig_begin(&rig, "r1");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    rig_ask(
        &server, "XREADGROUP GROUP search_workers w STREAMS wf.tasks.search >", text, sizeof(text));
    assert_non_null(strstr(text, "[token {2}]"));
    rig_ask(&server, "XREADGROUP GROUP default_workers w STREAMS wf.tasks.default >", text,
        sizeof(text));
    assert_non_null(strstr(text, "[token {3}]"));
}

static void a_step_changes_all_it_says(void **state)
{
    char words[200];
    const struct flow_op ops[] = {
        {.kind = FLOW_CONSUME, .id = s("t1")},
        {.kind = FLOW_UNQUEUE, .name = s("transform"), .node = s("a")},
        {.kind = FLOW_NODE, .node = s("a"), .body = s("{1}")},
        {.kind = FLOW_NODE, .node = s("b"), .body = s("{2}")},
        {.kind = FLOW_OUTPUT, .node = s("a"), .id = s(REF_A)},
        {.kind = FLOW_BLOB, .id = s(REF_A), .body = s("{\"x\":1}")},
        {.kind = FLOW_ARRIVE, .node = s("j"), .id = s("a")},
        {.kind = FLOW_ARRIVE, .node = s("k"), .id = s("a")},
        {.kind = FLOW_JOINED, .node = s("k")},
        {.kind = FLOW_TIMER, .node = s("b"), .n = 4102444800000},
        {.kind = FLOW_TIMER, .node = s("c"), .n = 4102444800000},
        {.kind = FLOW_UNTIMER, .node = s("c")},
        {.kind = FLOW_APPROVAL, .node = s("b"), .body = s("{\"status\":\"pending\"}")},
        {.kind = FLOW_APPROVAL, .node = s("d"), .body = s("{\"status\":\"pending\"}")},
        {.kind = FLOW_APPROVAL, .node = s("d")},
        {.kind = FLOW_HEADER, .body = s("{h}"), .n = 0},
        {.kind = FLOW_EVENT, .body = s("{e1}")},
        {.kind = FLOW_EVENT, .body = s("{e2}")},
    };

    (void)state;
    rig_begin(&rig, "r1");
    rig_wait(&rig, &rig.task_count, 1);
    assert_int_equal(rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0), 2);
    rig_expect(&server, "HMGET run:r1 version header", "[2 {h}]");
    rig_expect(&server, "GET counter:r1", "0");
    rig_expect(&server, "SCARD applied:r1", "2");
    rig_expect(&server, "SISMEMBER applied:r1 consume:t1", "1");
    rig_expect(&server, "HMGET nodes:r1 a b", "[{1} {2}]");
    rig_expect(&server, "HGETALL context:r1", "[a:output " REF_A "]");
    rig_expect(&server, "GET cas:" REF_A, "{\"x\":1}");
    snprintf(words, sizeof(words), "TTL cas:%s", REF_A);
    assert_in_range(server_do(&server, words), 86300, 86400);
    rig_expect(&server, "SMEMBERS pending_tokens:r1:j", "[a]");
    rig_expect(&server, "EXISTS pending_tokens:r1:k", "0");
    rig_expect(&server, "ZRANGE wf.timers 0 -1 WITHSCORES", "[r1:b 4102444800000]");
    rig_expect(&server, "GET hitl:approval:r1:b", "{\"status\":\"pending\"}");
    rig_expect(&server, "EXISTS hitl:approval:r1:d", "0");
    rig_expect(&server, "HEXISTS entries:r1 :human:d", "0");
    rig_expect(&server, "LRANGE events:r1 0 -1", "[{\"type\":\"workflow_started\"} {e1} {e2}]");
    rig_expect(&server, "XLEN wf.tasks.transform", "0");
    rig_expect(&server, "XPENDING wf.tasks.transform transform_workers", "[0 (nil) (nil) (nil)]");
    rig.store.release_task(rig.store.ctx, rig.tasks[0], FLOW_DONE, NULL);
}

/* Watchers and pollers of the gateway see the coordinator's events as any other's. */
static void events_reach_the_users_channel_and_history(void **state)
{
    struct timeval patience = {.tv_sec = 5};
    char text[4096];
    const char *const expected[] = {"workflow:events:u {\"type\":\"workflow_started\"}",
        "workflow:events:u {e1}", "workflow:events:u {e2}"};
    const struct flow_op ops[] = {
        {.kind = FLOW_HEADER, .body = s("h"), .n = 1},
        {.kind = FLOW_EVENT, .body = s("{e1}")},
        {.kind = FLOW_EVENT, .body = s("{e2}")},
    };

    (void)state;
    redisContext *listener = redisConnectUnix(server.unix_path);
    redisSetTimeout(listener, patience);
    freeReplyObject(redisCommand(listener, "SUBSCRIBE workflow:events:u"));
    rig_begin(&rig, "r1");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        redisReply *reply = NULL;
        assert_int_equal(redisGetReply(listener, (void **)&reply), REDIS_OK);
        snprintf(text, sizeof(text), "%s %s", reply->element[1]->str, reply->element[2]->str);
        assert_string_equal(text, expected[i]);
        freeReplyObject(reply);
    }
    redisFree(listener);
    rig_expect(&server, "HGET fanout:meta:{user:u} last", "3");
    rig_ask(&server, "XRANGE fanout:history:{user:u} 3 3", text, sizeof(text));
    assert_int_equal(strncmp(text, "[[3-0 [d {e2} t ", 16), 0);
}

/* Nothing at all may change: the whole data set is compared. */
static void digest(char *text, size_t cap)
{
    rig_ask(&server, "DEBUG DIGEST", text, cap);
}

static void what_is_stale_or_twice_leaves_no_trace(void **state)
{
    char before[128], after[128];
    const struct flow_op ops[] = {
        {.kind = FLOW_CONSUME, .id = s("t1")},
        {.kind = FLOW_EMIT, .id = s("t2")},
        {.kind = FLOW_QUEUE, .id = s("t2"), .name = s("search"), .node = s("b"), .body = s("{2}")},
        {.kind = FLOW_HEADER, .body = s("{h}"), .n = 1},
        {.kind = FLOW_NODE, .node = s("b"), .body = s("{2}")},
        {.kind = FLOW_BLOB, .id = s(REF_A), .body = s("{\"x\":1}")},
        {.kind = FLOW_EVENT, .body = s("{e1}")},
    };
    const struct flow_op open[] = {
        {.kind = FLOW_OPEN, .id = s("u"), .name = s("tag"), .body = s("{}"), .n = 5},
        {.kind = FLOW_HEADER, .body = s("{other}"), .n = 1},
    };

    (void)state;
    rig_begin(&rig, "r1");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    rig_wait(&rig, &rig.task_count, 1);
    /* Life signs would change it, too. */
    server_do(&server, "DEL wf.coordinators");
    digest(before, sizeof(before));
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), -ESTALE);
    rig_commit(&rig, "r1", 3, ops, COUNT_OF(ops), -ESTALE);
    rig_commit(&rig, "r9", 1, ops, COUNT_OF(ops), -ESTALE);
    rig_commit(&rig, "r1", 2, ops, COUNT_OF(ops), -EALREADY);
    rig_commit(&rig, "r1", 0, open, COUNT_OF(open), -EEXIST);
    server_do(&server, "DEL wf.coordinators");
    digest(after, sizeof(after));
    assert_string_equal(before, after);
}

static void a_run_that_was_once_started_is_not_started_again(void **state)
{
    const struct flow_op open[] = {
        {.kind = FLOW_OPEN, .id = s("u"), .name = s("tag"), .body = s("{}"), .n = 5},
        {.kind = FLOW_HEADER, .body = s("{}"), .n = 1},
    };

    (void)state;
    server_do(&server, "SET run:started:r1 1");
    rig_commit(&rig, "r1", 0, open, COUNT_OF(open), -EEXIST);
    rig_expect(&server, "EXISTS run:r1", "0");
}

static void a_token_emitted_before_is_not_queued_again(void **state)
{
    const struct flow_op ops[] = {
        {.kind = FLOW_EMIT, .id = s("t1")},
        {.kind = FLOW_QUEUE, .id = s("t1"), .name = s("search"), .node = s("a"), .body = s("{}")},
        {.kind = FLOW_HEADER, .body = s("{}"), .n = 1},
    };

    (void)state;
    rig_begin(&rig, "r1");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    rig_expect(&server, "XLEN wf.tasks.search", "0");
    rig_expect(&server, "SCARD applied:r1", "1");
}

/* Several steps of a run in one commit: what one of them queued or let arrive, a later one takes away again. */
static void of_several_steps_in_one_commit_the_last_word_counts(void **state)
{
    char text[4096];
    const struct flow_op ops[] = {
        {.kind = FLOW_UNQUEUE, .name = s("transform"), .node = s("a")},
        {.kind = FLOW_QUEUE, .id = s("b1"), .name = s("search"), .node = s("b"), .body = s("{b1}")},
        {.kind = FLOW_QUEUE, .id = s("c1"), .name = s("search"), .node = s("c"), .body = s("{c1}")},
        {.kind = FLOW_ARRIVE, .node = s("j"), .id = s("a")},
        {.kind = FLOW_ARRIVE, .node = s("j"), .id = s("x")},
        {.kind = FLOW_JOINED, .node = s("j")},
        {.kind = FLOW_ARRIVE, .node = s("k"), .id = s("a")},
        {.kind = FLOW_JOINED, .node = s("k")},
        {.kind = FLOW_HEADER, .body = s("{h1}"), .n = 7},
        {.kind = FLOW_UNQUEUE, .name = s("search"), .node = s("b")},
        {.kind = FLOW_QUEUE, .id = s("b2"), .name = s("search"), .node = s("b"), .body = s("{b2}")},
        {.kind = FLOW_UNQUEUE, .name = s("search"), .node = s("c")},
        {.kind = FLOW_UNQUEUE, .name = s("search"), .node = s("c")},
        {.kind = FLOW_ARRIVE, .node = s("j"), .id = s("y")},
        {.kind = FLOW_ARRIVE, .node = s("j"), .id = s("z")},
        {.kind = FLOW_HEADER, .body = s("{h2}"), .n = 1},
    };

    (void)state;
    rig_begin(&rig, "r1");
    rig_wait(&rig, &rig.task_count, 1);
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    rig_expect(&server, "HMGET run:r1 version header", "[2 {h2}]");
    rig_expect(&server, "GET counter:r1", "1");
    rig_expect(&server, "XLEN wf.tasks.transform", "0");
    rig_expect(&server, "XPENDING wf.tasks.transform transform_workers", "[0 (nil) (nil) (nil)]");
    rig_expect(&server, "XLEN wf.tasks.search", "1");
    rig_ask(&server, "XRANGE wf.tasks.search - +", text, sizeof(text));
    assert_non_null(strstr(text, "[token {b2}]"));
    rig_expect(&server, "SISMEMBER pending_tokens:r1:j y", "1");
    rig_expect(&server, "SISMEMBER pending_tokens:r1:j z", "1");
    rig_expect(&server, "SCARD pending_tokens:r1:j", "2");
    rig_expect(&server, "EXISTS pending_tokens:r1:k", "0");
    /* What the run's end has to find. */
    rig_expect(&server, "HLEN entries:r1", "2");
    rig_expect(&server, "HGET entries:r1 :join:j", "");
    rig_ask(&server, "HGET entries:r1 b", text, sizeof(text));
    assert_int_equal(strncmp(text, "search ", 7), 0);
    const struct flow_op end[] = {
        {.kind = FLOW_HEADER, .body = s("{h3}"), .n = 0},
        {.kind = FLOW_CLOSE, .name = s("failed"), .n = 2000},
    };
    rig_commit(&rig, "r1", 2, end, COUNT_OF(end), 0);
    rig_expect(&server, "XLEN wf.tasks.search", "0");
    rig_expect(&server, "HGETALL entries:r1", "[:join:j ]");
    assert_in_range(server_do(&server, "TTL pending_tokens:r1:j"), 1, 86400);
    rig.store.release_task(rig.store.ctx, rig.tasks[0], FLOW_DONE, NULL);
}

/* Redis's Lua takes no more than some thousand values at once; a workflow has up to 1,000 nodes. */
static void a_commit_may_have_many_thousand_ops(void **state)
{
    enum { COUNT = 9000, TASKS = 4500 };
    static struct flow_op ops[3 * COUNT + 1];
    static char names[COUNT][24];
    uint32_t count = 0;

    (void)state;
    rig_begin(&rig, "r1");
    ops[count++] = (struct flow_op){.kind = FLOW_HEADER, .body = s("{}"), .n = COUNT};
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof(names[i]), "n%u", i);
        ops[count++] = (struct flow_op){.kind = FLOW_EMIT, .id = s(names[i])};
        ops[count++] =
            (struct flow_op){.kind = FLOW_NODE, .node = s(names[i]), .body = s(names[i])};
        ops[count++] = (struct flow_op){.kind = FLOW_EVENT, .body = s(names[i])};
    }
    assert_int_equal(rig_commit(&rig, "r1", 1, ops, count, 0), 2);
    rig_expect(&server, "HGET nodes:r1 n8999", "n8999");
    rig_expect(&server, "SISMEMBER applied:r1 emit:n8999", "1");
    rig_expect(&server, "LLEN events:r1", "9001");
    rig_expect(&server, "LINDEX events:r1 4500", "n4499");
    rig_expect(&server, "HGET fanout:meta:{user:u} last", "9001");

    count = 0;
    ops[count++] = (struct flow_op){.kind = FLOW_HEADER, .body = s("{}"), .n = TASKS};
    for (uint32_t i = 0; i < TASKS; i++) {
        ops[count++] = (struct flow_op){.kind = FLOW_QUEUE,
            .id = s("other"),
            .name = s("search"),
            .node = s(names[i]),
            .body = s("{}")};
        ops[count++] = (struct flow_op){.kind = FLOW_ARRIVE, .node = s("j"), .id = s(names[i])};
        ops[count++] =
            (struct flow_op){.kind = FLOW_UNQUEUE, .name = s("search"), .node = s(names[i & ~1u])};
    }
    assert_int_equal(rig_commit(&rig, "r1", 2, ops, count, 0), 3);
    rig_expect(&server, "SCARD pending_tokens:r1:j", "4500");
    rig_expect(&server, "XLEN wf.tasks.search", "2250"); /* Those of an odd number. */
    rig_expect(&server, "HLEN entries:r1", "2252");      /* And a's, and the join. */
}

/* A commit must not fail for what is wrong with a user's history, or with a user. */
static void a_broken_history_does_not_break_a_commit(void **state)
{
    (void)state;
    server_do(&server, "SET fanout:meta:{user:u} nonsense");
    rig_begin(&rig, "r1");
    rig_expect(&server, "LLEN events:r1", "1");
    server_do(&server, "DEL fanout:meta:{user:u}");
    server_do(&server, "SET fanout:history:{user:u} nonsense");
    rig_begin(&rig, "r2");
    rig_expect(&server, "LLEN events:r2", "1");
}

static long long wall_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void close_run(const char *run, uint64_t version)
{
    const struct flow_op ops[] = {
        {.kind = FLOW_CONSUME, .id = s("t1")},
        {.kind = FLOW_HEADER, .body = s("{\"inputs_ref\":\"" REF_A "\"}"), .n = 0},
        {.kind = FLOW_EVENT, .body = s("{\"type\":\"workflow_completed\"}")},
        {.kind = FLOW_CLOSE, .name = s("completed"), .n = (uint64_t)wall_ms()},
    };

    rig_commit(&rig, run, version, ops, COUNT_OF(ops), 0);
}

static void a_run_that_is_over_changes_its_index_and_expires(void **state)
{
    static const char *const kept[] = {"run:r1", "ir:r1", "counter:r1", "applied:r1", "nodes:r1",
        "events:r1", "pending_tokens:r1:j", "hitl:approval:r1:h", "cas:" REF_A};
    char words[200];
    const struct flow_op ops[] = {
        {.kind = FLOW_ARRIVE, .node = s("j"), .id = s("a")},
        {.kind = FLOW_APPROVAL, .node = s("h"), .body = s("{}")},
        {.kind = FLOW_HEADER, .body = s("{}"), .n = 1},
    };

    (void)state;
    rig_begin(&rig, "r1");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    server_do(&server, "SET cas:" REF_A " {}"); /* A worker's, without an end. */
    close_run("r1", 2);
    rig_expect(&server, "ZCARD wf.runs.running", "0");
    rig_expect(&server, "ZRANGE wf.runs.completed 0 -1 WITHSCORES", "[r1 1000]");
    rig_expect(&server, "ZRANGE wf.runs 0 -1", "[r1]");
    rig_expect(&server, "HGET run:r1 status", "completed");
    rig_expect(&server, "XLEN wf.tasks.transform", "0"); /* Though nobody unqueued it. */
    for (size_t i = 0; i < COUNT_OF(kept); i++) {
        snprintf(words, sizeof(words), "PTTL %s", kept[i]);
        long long ttl = server_do(&server, words);
        if (ttl < 86000000 || ttl > 86400000) {
            fail_msg("%s: %lld", words, ttl);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_run_begins_with_all_its_keys, begin, end),
        cmocka_unit_test_setup_teardown(work_waits_in_the_consumer_group_of_its_type, begin, end),
        cmocka_unit_test_setup_teardown(a_step_changes_all_it_says, begin, end),
        cmocka_unit_test_setup_teardown(events_reach_the_users_channel_and_history, begin, end),
        cmocka_unit_test_setup_teardown(what_is_stale_or_twice_leaves_no_trace, begin, end),
        cmocka_unit_test_setup_teardown(
            a_run_that_was_once_started_is_not_started_again, begin, end),
        cmocka_unit_test_setup_teardown(a_token_emitted_before_is_not_queued_again, begin, end),
        cmocka_unit_test_setup_teardown(
            of_several_steps_in_one_commit_the_last_word_counts, begin, end),
        cmocka_unit_test_setup_teardown(a_commit_may_have_many_thousand_ops, begin, end),
        cmocka_unit_test_setup_teardown(a_broken_history_does_not_break_a_commit, begin, end),
        cmocka_unit_test_setup_teardown(
            a_run_that_is_over_changes_its_index_and_expires, begin, end),
    };
    const char *const debug[] = {"--enable-debug-command", "yes", NULL};

    server_start(&server, debug, false);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    server_stop(&server);
    return failed;
}
