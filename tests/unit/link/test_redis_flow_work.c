/* Work, signals and run requests as outside programs bring them, and what happens when the
 * coordinator that took them is gone. */
#include "tests/unit/link/redis_flow_rig.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

#include "base/attr.h"

static struct server server;

static int begin(void **state)
{
    (void)state;
    server_do(&server, "FLUSHALL");
    return 0;
}

static struct redis_flow_options quick_options(const char *name)
{
    struct redis_flow_options options = rig_options(name);

    options.beat_ms = 100;
    options.dead_ms = 5000;
    return options;
}

static void push_signals(const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        freeReplyObject(
            redisCommand(server.control, "RPUSH completion_signals {\"%s\":%d}", prefix, i));
    }
}

static bool same(struct span span, const char *text)
{
    return span_equal(span, s(text));
}

static void drop_task(struct rig *rig, uint32_t index)
{
    rig->store.release_task(rig->store.ctx, rig->tasks[index], FLOW_DROP, NULL);
}

static void drop_signal(struct rig *rig, uint32_t index)
{
    rig->store.release_signal(rig->store.ctx, rig->signals[index], FLOW_DROP, NULL);
}

static void wait_for(struct rig *rig, const char *words, const char *answer)
{
    char text[4096] = "";

    for (uint64_t end_ms = now_ms() + 20000; now_ms() < end_ms;) {
        rig_ask(&server, words, text, sizeof(text));
        if (strcmp(text, answer) == 0) {
            return;
        }
        rig_turn(rig);
    }
    fail_msg("%s: %s; expected %s", words, text, answer);
}

static void a_signal_is_on_our_list_until_a_commit_removes_it(void **state)
{
    struct redis_flow_options options = rig_options("one");
    struct rig rig;

    (void)state;
    rig_start(&rig, &server, &options);
    rig_up(&rig);
    rig_begin(&rig, "r1");
    server_do(&server, "RPUSH completion_signals {\"job\":1}");
    rig_wait(&rig, &rig.signal_count, 1);
    assert_true(same(rig.signals[0]->body, "{\"job\":1}"));
    assert_false(rig.signals[0]->request);
    rig_expect(&server, "LRANGE completion_signals:one 0 -1", "[{\"job\":1}]");
    const struct flow_op ops[] = {
        {.kind = FLOW_HEADER, .body = s("{}"), .n = 1},
        {.kind = FLOW_SIGNAL, .body = rig.signals[0]->body},
    };
    rig_commit(&rig, "r1", 7, ops, COUNT_OF(ops), -ESTALE);
    rig_expect(&server, "LLEN completion_signals:one", "1");
    rig_commit(&rig, "r1", 1, ops, COUNT_OF(ops), 0);
    rig_expect(&server, "LLEN completion_signals:one", "0");
    rig.store.release_signal(rig.store.ctx, rig.signals[0], FLOW_DONE, NULL);
    rig_stop(&rig);
}

static void signals_come_in_their_order_and_only_so_many(void **state)
{
    struct redis_flow_options options = rig_options("one");
    struct rig rig;
    char body[32];

    (void)state;
    options.signals_max = 50;
    push_signals("s", 200);
    rig_start(&rig, &server, &options);
    rig_up(&rig);
    for (uint32_t done = 0; done < 200; done += 50) {
        rig_wait(&rig, &rig.signal_count, done + 50);
        rig_run_ms(&rig, 30);
        assert_int_equal(rig.signal_count, done + 50);
        for (uint32_t i = done; i < done + 50; i++) {
            snprintf(body, sizeof(body), "{\"s\":%u}", i);
            assert_true(same(rig.signals[i]->body, body));
            drop_signal(&rig, i);
        }
    }
    wait_for(&rig, "LLEN completion_signals:one", "0");
    assert_int_equal(redis_flow_stats(rig.flow).signals_under_way, 0);
    rig_stop(&rig);
}

static void a_signal_put_off_comes_again_and_poison_goes_to_dead(void **state)
{
    struct redis_flow_options options = rig_options("one");
    struct rig rig;
    char text[4096];

    (void)state;
    server_do(&server, "RPUSH completion_signals nonsense");
    rig_start(&rig, &server, &options);
    rig_wait(&rig, &rig.signal_count, 1);
    rig.store.release_signal(rig.store.ctx, rig.signals[0], FLOW_LATER, NULL);
    rig_wait(&rig, &rig.signal_count, 2);
    assert_true(same(rig.signals[1]->body, "nonsense"));
    rig.store.release_signal(rig.store.ctx, rig.signals[1], FLOW_DEAD, "not JSON");
    wait_for(&rig, "XLEN wf.dead", "1");
    rig_expect(&server, "LLEN completion_signals:one", "0");
    rig_ask(&server, "XRANGE wf.dead - +", text, sizeof(text));
    assert_non_null(strstr(text, "[kind signal reason not JSON body nonsense at "));
    rig_stop(&rig);
}

/* With any client: XADD wf.run.requests * request … */
static void a_run_request_comes_from_its_stream(void **state)
{
    struct redis_flow_options options = rig_options("one");
    struct rig rig;

    (void)state;
    rig_start(&rig, &server, &options);
    rig_up(&rig);
    rig_ask(&server, "XADD wf.run.requests * request {\"run_id\":\"r1\"}", (char[64]){0}, 64);
    rig_wait(&rig, &rig.signal_count, 1);
    assert_true(rig.signals[0]->request);
    assert_true(same(rig.signals[0]->body, "{\"run_id\":\"r1\"}"));
    rig_expect(&server, "XLEN wf.run.requests", "1");
    rig.store.release_signal(rig.store.ctx, rig.signals[0], FLOW_DONE, NULL);
    wait_for(&rig, "XLEN wf.run.requests", "0");
    rig_expect(&server, "XPENDING wf.run.requests run_executors", "[0 (nil) (nil) (nil)]");
    rig_stop(&rig);
}

static void an_entry_that_is_no_token_goes_to_dead(void **state)
{
    struct redis_flow_options options = rig_options("one");
    struct rig rig;
    char text[4096];

    (void)state;
    rig_start(&rig, &server, &options);
    rig_up(&rig);
    rig_ask(&server, "XADD wf.tasks.http * other x", text, sizeof(text));
    rig_ask(&server, "XADD wf.run.requests * a b c d", text, sizeof(text));
    rig_ask(&server, "XADD wf.tasks.http * token {} token second", text, sizeof(text));
    rig_wait(&rig, &rig.task_count, 1);
    wait_for(&rig, "XLEN wf.dead", "2");
    rig_ask(&server, "XRANGE wf.dead - +", text, sizeof(text));
    assert_non_null(strstr(text, "[kind task reason the entry has no field token body  at "));
    assert_non_null(strstr(text, "[kind request reason the entry has no field request body  at "));
    assert_true(same(rig.tasks[0]->body, "{}"));
    assert_int_equal(rig.task_count, 1);
    drop_task(&rig, 0);
    wait_for(&rig, "XLEN wf.tasks.http", "0");
    rig_expect(&server, "XPENDING wf.tasks.http http_workers", "[0 (nil) (nil) (nil)]");
    rig_stop(&rig);
}

/* kill -9 of one of two coordinators. */
static void what_a_dead_coordinator_had_is_taken_over(void **state)
{
    struct redis_flow_options options = quick_options("dead");
    struct rig dead, other;
    char text[4096];

    (void)state;
    rig_start(&dead, &server, &options);
    rig_up(&dead);
    push_signals("s", 3);
    rig_begin(&dead, "r1");
    rig_ask(&server, "XADD wf.run.requests * request {}", text, sizeof(text));
    rig_wait(&dead, &dead.signal_count, 4);
    rig_wait(&dead, &dead.task_count, 1);
    rig_die(&dead);
    options = quick_options("other");
    rig_start(&other, &server, &options);
    rig_up(&other);
    push_signals("later", 1);
    rig_wait(&other, &other.task_count, 1);
    assert_true(other.tasks[0]->again);
    assert_true(same(other.tasks[0]->body, "{\"id\":\"t1\"}"));
    rig_wait(&other, &other.signal_count, 5);
    rig_expect(&server, "EXISTS completion_signals:dead", "0");
    rig_expect(&server, "ZRANGE wf.coordinators 0 -1", "[other]");
    rig_expect(&server, "ZRANGE wf.coordinators.dead 0 -1", "[dead]");
    for (uint32_t i = 0; i < 5; i++) {
        drop_signal(&other, i);
    }
    drop_task(&other, 0);
    wait_for(&other, "XLEN wf.tasks.transform", "0");
    assert_int_equal(redis_flow_stats(other.flow).reclaimed, 1);
    rig_stop(&other);
}

static void who_leaves_need_not_be_waited_for(void **state)
{
    struct redis_flow_options options = rig_options("gone");
    struct rig gone, other;

    (void)state;
    rig_start(&gone, &server, &options);
    rig_up(&gone);
    push_signals("s", 3);
    rig_begin(&gone, "r1");
    rig_wait(&gone, &gone.signal_count, 3);
    rig_wait(&gone, &gone.task_count, 1);
    rig_stop(&gone);
    rig_expect(&server, "LRANGE completion_signals 0 -1", "[{\"s\":0} {\"s\":1} {\"s\":2}]");
    rig_expect(&server, "ZRANGE wf.coordinators 0 -1 WITHSCORES", "[gone 0]");
    options = rig_options("other");
    rig_start(&other, &server, &options);
    rig_wait(&other, &other.task_count, 1);
    rig_wait(&other, &other.signal_count, 3);
    rig_stop(&other);
}

/* After a restart: its own leftovers are there at once. */
static void one_that_comes_back_under_its_name_finds_what_it_had(void **state)
{
    struct redis_flow_options options = rig_options("same");
    struct rig first, second;

    (void)state;
    rig_start(&first, &server, &options);
    rig_up(&first);
    push_signals("s", 2);
    rig_begin(&first, "r1");
    rig_wait(&first, &first.signal_count, 2);
    rig_wait(&first, &first.task_count, 1);
    rig_die(&first);
    rig_start(&second, &server, &options);
    rig_wait(&second, &second.task_count, 1);
    assert_true(second.tasks[0]->again);
    rig_wait(&second, &second.signal_count, 2);
    rig_run_ms(&second, 100);
    assert_int_equal(second.signal_count, 2);
    rig_stop(&second);
}

/* SIGSTOP, and what it held is done by another meanwhile: what it does then changes nothing. */
static void a_paused_coordinator_does_no_harm(void **state)
{
    struct redis_flow_options options = quick_options("paused");
    struct rig paused, other;
    const struct flow_op ops[] = {
        {.kind = FLOW_CONSUME, .id = s("t1")},
        {.kind = FLOW_UNQUEUE, .name = s("transform"), .node = s("a")},
        {.kind = FLOW_HEADER, .body = s("{done}"), .n = 0},
        {.kind = FLOW_SIGNAL, .body = s("{\"s\":0}")},
        {.kind = FLOW_EVENT, .body = s("{e}")},
    };

    (void)state;
    rig_start(&paused, &server, &options);
    rig_up(&paused);
    push_signals("s", 1);
    rig_begin(&paused, "r1");
    rig_wait(&paused, &paused.signal_count, 1);
    rig_wait(&paused, &paused.task_count, 1);
    options = quick_options("other");
    rig_start(&other, &server, &options);
    rig_wait(&other, &other.task_count, 1); /* The first one is not turned meanwhile. */
    rig_wait(&other, &other.signal_count, 1);
    rig_commit(&other, "r1", 1, ops, COUNT_OF(ops), 0);
    rig_begin(&other, "r2");
    rig_wait(&other, &other.task_count, 2);
    push_signals("s", 1); /* Like the one before, byte for byte. */
    rig_wait(&other, &other.signal_count, 2);

    rig_commit(&paused, "r1", 1, ops, COUNT_OF(ops), -ESTALE);
    drop_task(&paused, 0);
    drop_signal(&paused, 0);
    rig_run_ms(&paused, 300);
    rig_expect(&server, "LRANGE completion_signals:other 0 -1", "[{\"s\":0}]");
    rig_expect(&server, "XLEN wf.tasks.transform", "1");
    rig_expect(&server, "HMGET run:r1 version header", "[2 {done}]");
    rig_expect(&server, "LLEN events:r1", "2");
    rig_expect(&server, "ZCARD wf.coordinators", "2");
    assert_int_equal(paused.task_count, 1);
    rig_stop(&paused);
    rig_stop(&other);
}

static void two_coordinators_share_the_work(void **state)
{
    struct redis_flow_options options = rig_options("one");
    struct rig one, two;
    char text[64];

    (void)state;
    options.type_tasks_max = 5;
    rig_start(&one, &server, &options);
    rig_up(&one);
    options.name = "two";
    rig_start(&two, &server, &options);
    rig_up(&two);
    for (int i = 0; i < 10; i++) {
        rig_ask(&server, "XADD wf.tasks.delay * token {}", text, sizeof(text));
        rig_turn(&one);
        rig_turn(&two);
    }
    for (int i = 0; i < 200 && one.task_count + two.task_count < 10; i++) {
        rig_turn(&one);
        rig_turn(&two);
    }
    assert_int_equal(one.task_count, 5);
    assert_int_equal(two.task_count, 5);
    rig_stop(&one);
    rig_stop(&two);
}

static void nothing_is_handed_out_while_draining(void **state)
{
    struct redis_flow_options options = rig_options("one");
    struct rig one, two;

    (void)state;
    rig_start(&one, &server, &options);
    rig_up(&one);
    rig_run_ms(&one, 50); /* Its questions wait in Redis. */
    redis_flow_drain(one.flow);
    push_signals("s", 2);
    rig_begin(&one, "r1");
    rig_run_ms(&one, 200);
    assert_int_equal(one.signal_count + one.task_count, 0);
    rig_stop(&one);
    options.name = "two";
    rig_start(&two, &server, &options);
    rig_wait(&two, &two.signal_count, 2);
    rig_wait(&two, &two.task_count, 1);
    rig_stop(&two);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_signal_is_on_our_list_until_a_commit_removes_it, begin),
        cmocka_unit_test_setup(signals_come_in_their_order_and_only_so_many, begin),
        cmocka_unit_test_setup(a_signal_put_off_comes_again_and_poison_goes_to_dead, begin),
        cmocka_unit_test_setup(a_run_request_comes_from_its_stream, begin),
        cmocka_unit_test_setup(an_entry_that_is_no_token_goes_to_dead, begin),
        cmocka_unit_test_setup(what_a_dead_coordinator_had_is_taken_over, begin),
        cmocka_unit_test_setup(who_leaves_need_not_be_waited_for, begin),
        cmocka_unit_test_setup(one_that_comes_back_under_its_name_finds_what_it_had, begin),
        cmocka_unit_test_setup(a_paused_coordinator_does_no_harm, begin),
        cmocka_unit_test_setup(two_coordinators_share_the_work, begin),
        cmocka_unit_test_setup(nothing_is_handed_out_while_draining, begin),
    };

    server_start(&server, NULL, false);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    server_stop(&server);
    return failed;
}
