#include "rt/resolve.h"

#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "rt/loop.h"
#include "tests/support/unit.h"

enum { KIND = 7 };

struct answer {
    uint32_t call_count;
    size_t count;
    char first[128], second[128], why[400];
};

static void note(void *ctx, const char *const *addresses, size_t count, const char *why)
{
    struct answer *answer = ctx;

    answer->call_count += 1;
    answer->count = count;
    snprintf(answer->first, sizeof(answer->first), "%s", count > 0 ? addresses[0] : "");
    snprintf(answer->second, sizeof(answer->second), "%s", count > 1 ? addresses[1] : "");
    snprintf(answer->why, sizeof(answer->why), "%s", why);
}

static struct loop *new_loop(void)
{
    struct loop *loop = NULL;

    assert_int_equal(loop_create(&loop), 0);
    return loop;
}

static void expect_at_once(struct loop *loop, const char *name, const char *first, size_t count)
{
    struct answer answer = {0};
    struct resolve *resolve = (struct resolve *)&answer;

    assert_int_equal(resolve_start(loop, KIND, name, note, &answer, &resolve), 0);
    assert_null(resolve);
    assert_int_equal(answer.call_count, 1);
    assert_int_equal(answer.count, count);
    assert_string_equal(answer.first, first);
}

static void what_needs_no_resolver_is_answered_inside_the_call(void **state)
{
    (void)state;
    struct loop *loop = new_loop();

    expect_at_once(loop, "127.0.0.1:6379", "127.0.0.1:6379", 1);
    expect_at_once(loop, "[2001:db8::1]:80", "[2001:db8::1]:80", 1);
    expect_at_once(loop, "localhost:80", "127.0.0.1:80", 2);
    expect_at_once(loop, ":80", "127.0.0.1:80", 2);
    expect_at_once(loop, "unix:/run/redis.sock", "unix:/run/redis.sock", 1);
    loop_destroy(loop);
}

static void what_is_no_name_and_port_is_refused(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct resolve *resolve = NULL;
    struct answer answer = {0};

    assert_int_equal(resolve_start(loop, KIND, "redis", note, &answer, &resolve), -EINVAL);
    assert_int_equal(resolve_start(loop, KIND, "redis:x", note, &answer, &resolve), -EINVAL);
    assert_int_equal(resolve_start(loop, KIND, "unix:", note, &answer, &resolve), -EINVAL);
    assert_int_equal(answer.call_count, 0);
    resolve_cancel(NULL);
    loop_destroy(loop);
}

/* The machine's own name stands in /etc/hosts nearly everywhere; where it does not, only that there
 * is one answer can be said. */
static void a_name_is_answered_on_the_loop_once(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct answer answers[3] = {0};
    struct resolve *resolve = NULL;
    char name[300];

    assert_int_equal(gethostname(name, 200), 0);
    strcat(name, ":4711");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(resolve_start(loop, KIND, name, note, &answers[i], &resolve), 0);
    }
    assert_int_equal(answers[0].call_count, 0);
    for (int turn = 0; turn < 1000; turn++) {
        if (answers[0].call_count && answers[1].call_count && answers[2].call_count) {
            break;
        }
        loop_poll(loop, 100);
    }
    loop_poll(loop, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(answers[i].call_count, 1);
        if (answers[i].count) {
            assert_non_null(strstr(answers[i].first, ":4711"));
            assert_string_equal(answers[i].why, "");
        } else {
            assert_non_null(strstr(answers[i].why, "has no address"));
        }
    }
    loop_destroy(loop);
}

static void a_name_without_address_is_a_sentence(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct answer answer = {0};
    struct resolve *resolve = NULL;

    assert_int_equal(
        resolve_start(loop, KIND, "no such name.invalid:1", note, &answer, &resolve), 0);
    for (int turn = 0; turn < 600 && !answer.call_count; turn++) {
        loop_poll(loop, 100);
    }
    assert_int_equal(answer.call_count, 1);
    assert_int_equal(answer.count, 0);
    assert_non_null(strstr(answer.why, "the name no such name.invalid has no address: "));
    loop_destroy(loop);
}

struct again {
    struct loop *loop;
    struct answer answer;
    struct resolve *resolve;
};

static void ask_again(void *ctx, const char *const *addresses, size_t count, const char *why)
{
    struct again *again = ctx;

    (void)addresses;
    (void)count;
    (void)why;
    assert_int_equal(resolve_start(again->loop, KIND, "not.a.name.invalid:2", note, &again->answer,
                         &again->resolve),
        0);
}

static void the_answer_may_ask_the_next_question(void **state)
{
    (void)state;
    struct again again = {.loop = new_loop()};
    struct resolve *resolve = NULL;

    assert_int_equal(
        resolve_start(again.loop, KIND, "not.a.name.invalid:1", ask_again, &again, &resolve), 0);
    for (int turn = 0; turn < 600 && !again.answer.call_count; turn++) {
        loop_poll(again.loop, 100);
    }
    assert_int_equal(again.answer.call_count, 1);
    loop_destroy(again.loop);
}

/* Some are cancelled while their thread runs, some after it has answered and before the loop saw
 * it; the loop goes away while threads may still be asking. */
static void cancelled_questions_stay_unanswered(void **state)
{
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct loop *loop = new_loop();
        struct answer answers[10] = {0};
        struct resolve *resolves[10];
        for (int i = 0; i < 10; i++) {
            assert_int_equal(
                resolve_start(loop, KIND, "no.name.invalid:1", note, &answers[i], &resolves[i]), 0);
        }
        if (round % 2) {
            usleep(2000);
        }
        for (int i = 0; i < 10; i++) {
            resolve_cancel(resolves[(i * 7) % 10]);
        }
        loop_poll(loop, 0);
        for (int i = 0; i < 10; i++) {
            assert_int_equal(answers[i].call_count, 0);
        }
        loop_destroy(loop);
    }
    usleep(200000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_needs_no_resolver_is_answered_inside_the_call),
        cmocka_unit_test(what_is_no_name_and_port_is_refused),
        cmocka_unit_test(a_name_is_answered_on_the_loop_once),
        cmocka_unit_test(a_name_without_address_is_a_sentence),
        cmocka_unit_test(the_answer_may_ask_the_next_question),
        cmocka_unit_test(cancelled_questions_stay_unanswered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
