#include "link/redis_subs.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "link/redis_resp.h"

static const struct hash_key key = {1, 2};

static struct span name_of(unsigned number, char text[32])
{
    snprintf(text, 32, "c:%u", number);
    return span_str(text);
}

static int want(struct redis_subs *subs, unsigned number)
{
    char text[32];
    return redis_subs_want(subs, name_of(number, text), span_of(NULL, 0));
}

/* Every other one has a second name, which is the first with a '+' before it. */
static int want_some_twice(struct redis_subs *subs, unsigned number)
{
    char text[32], also[40];

    struct span name = name_of(number, text);
    snprintf(also, sizeof(also), "+%s", text);
    return redis_subs_want(subs, name, number % 2 ? span_str(also) : span_of(NULL, 0));
}

static void unwant(struct redis_subs *subs, unsigned number, uint64_t now_ms)
{
    char text[32];
    redis_subs_unwant(subs, name_of(number, text), now_ms);
}

/* Plays Redis: answers the first max names of the commands in out, which are then gone. Gives how
 * many became live; *ret_commands counts the commands. */
static size_t answer(
    struct redis_subs *subs, struct bytes *out, uint64_t now_ms, size_t max, size_t *ret_commands)
{
    size_t live = 0, answered = 0;
    struct span items[1 + REDIS_SUBS_CHUNK];

    *ret_commands = 0;
    while (out->len > 0 && answered < max) {
        struct resp_scan scan = {0};
        size_t used = 0;
        assert_int_equal(resp_scan(&scan, span_of(out->data, out->len), &used), 1);
        int count = resp_flat(span_of(out->data, used), items, COUNT_OF(items));
        assert_true(count >= 2);
        bool subscribe = span_equal(items[0], span_str(subs->subscribe_verb));
        assert_true(subscribe || span_equal(items[0], span_str(subs->unsubscribe_verb)));
        for (int i = 1; i < count; i++) {
            bool second = items[i].data[0] == '+';
            items[i] = span_of(items[i].data + second, items[i].len - second);
            if (subscribe) {
                live += redis_subs_confirmed(subs, items[i], now_ms);
            } else {
                assert_true(redis_subs_left(subs, items[i]));
            }
        }
        answered += (size_t)count - 1;
        *ret_commands += 1;
        bytes_consume(out, used);
    }
    return live;
}

static size_t exchange(struct redis_subs *subs, uint64_t now_ms)
{
    struct bytes out = {0};
    size_t live = 0, commands;

    do {
        assert_int_equal(redis_subs_pump(subs, now_ms, &out), 0);
        live += answer(subs, &out, now_ms, SIZE_MAX, &commands);
    } while (commands > 0);
    bytes_fini(&out);
    return live;
}

static void many_wishes_go_out_in_windows(void **state)
{
    (void)state;
    struct redis_subs subs;
    struct bytes out = {0};
    size_t commands, live = 0;
    enum { COUNT = 20000 };

    redis_subs_init(&subs, &key, 30000, false);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(want(&subs, i), 0);
        assert_int_equal(want(&subs, i), 0);
    }
    assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
    assert_int_equal(subs.sent_count, REDIS_SUBS_WINDOW);
    size_t len = out.len;
    assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
    assert_int_equal(out.len, len);
    while (out.len > 0) {
        live += answer(&subs, &out, 0, 1, &commands);
        assert_int_equal(commands, 1);
        assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
        assert_true(subs.sent_count <= REDIS_SUBS_WINDOW);
    }
    assert_int_equal(live, COUNT);
    assert_int_equal(subs.live_count, COUNT);
    assert_int_equal(want(&subs, 5), 1);
    bytes_fini(&out);
    redis_subs_fini(&subs);
}

static void sharded_names_go_out_one_a_command(void **state)
{
    (void)state;
    struct redis_subs subs;
    struct bytes out = {0};
    size_t commands;

    redis_subs_init(&subs, &key, 30000, true);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(want(&subs, i), 0);
    }
    assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
    assert_memory_equal(out.data, "*2\r\n$10\r\nSSUBSCRIBE\r\n", 21);
    assert_int_equal(answer(&subs, &out, 0, SIZE_MAX, &commands), 10);
    assert_int_equal(commands, 10);
    bytes_fini(&out);
    redis_subs_fini(&subs);
}

static void an_unwanted_channel_lingers_and_may_be_wanted_again(void **state)
{
    (void)state;
    struct redis_subs subs;

    redis_subs_init(&subs, &key, 1000, false);
    assert_int_equal(want(&subs, 1), 0);
    assert_int_equal(want(&subs, 2), 0);
    assert_int_equal(exchange(&subs, 0), 2);
    assert_true(redis_subs_linger_end_ms(&subs) == UINT64_MAX);
    unwant(&subs, 1, 100);
    unwant(&subs, 1, 500);
    assert_int_equal(redis_subs_linger_end_ms(&subs), 1100);
    exchange(&subs, 1099);
    assert_int_equal(want(&subs, 1), 1);
    unwant(&subs, 1, 1099);
    exchange(&subs, 2098);
    assert_int_equal(subs.live_count, 2);
    exchange(&subs, 2099);
    assert_int_equal(subs.live_count, 1);
    assert_int_equal(subs.table.count, 1);
    assert_int_equal(want(&subs, 1), 0);
    unwant(&subs, 1, 3000); /* Never said to Redis at all. */
    assert_int_equal(subs.table.count, 1);
    unwant(&subs, 99, 3000);
    redis_subs_fini(&subs);
}

/* Which names of a command are there, in order, as text. */
static void assert_says(struct bytes *out, const char *expected)
{
    struct span items[1 + REDIS_SUBS_CHUNK];
    struct bytes text = {0};

    while (out->len > 0) {
        struct resp_scan scan = {0};
        size_t used = 0;
        assert_int_equal(resp_scan(&scan, span_of(out->data, out->len), &used), 1);
        int count = resp_flat(span_of(out->data, used), items, COUNT_OF(items));
        for (int i = 0; i < count; i++) {
            assert_int_equal(bytes_appendf(&text, "%.*s%s", (int)items[i].len,
                                 (const char *)items[i].data, i + 1 < count ? " " : ";"),
                0);
        }
        bytes_consume(out, used);
    }
    assert_int_equal(bytes_append_byte(&text, 0), 0);
    assert_string_equal(text.data, expected);
    bytes_fini(&text);
}

static void a_second_name_comes_first_and_leaves_last(void **state)
{
    (void)state;
    const struct span a = span_str("a"), also = span_str("pub:a");

    for (int sharded = 0; sharded < 2; sharded++) {
        struct redis_subs subs;
        struct bytes out = {0};
        redis_subs_init(&subs, &key, 100, sharded);
        assert_int_equal(redis_subs_want(&subs, a, also), 0);
        assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
        assert_says(&out, sharded ? "SSUBSCRIBE pub:a;SSUBSCRIBE a;" : "SUBSCRIBE pub:a a;");
        assert_int_equal(subs.unconfirmed, 2);
        assert_false(redis_subs_confirmed(&subs, a, 0));
        assert_int_equal(redis_subs_want(&subs, a, also), 0); /* Not yet. */
        assert_true(redis_subs_confirmed(&subs, a, 0));
        assert_false(redis_subs_confirmed(&subs, a, 0));
        assert_int_equal(subs.unconfirmed, 0);
        assert_int_equal(redis_subs_want(&subs, a, also), 1);
        assert_false(redis_subs_left(&subs, a)); /* Either of them, by itself. */

        redis_subs_unwant(&subs, a, 0);
        assert_int_equal(redis_subs_pump(&subs, 100, &out), 0);
        assert_says(&out, sharded ? "SUNSUBSCRIBE a;SUNSUBSCRIBE pub:a;" : "UNSUBSCRIBE a pub:a;");
        assert_int_equal(redis_subs_want(&subs, a, also), 0);
        assert_true(redis_subs_left(&subs, a));
        assert_int_equal(subs.queued_count, 0); /* The other name is still leaving. */
        assert_true(redis_subs_left(&subs, a));
        assert_int_equal(subs.queued_count, 1);
        assert_int_equal(subs.unconfirmed, 0);
        bytes_fini(&out);
        redis_subs_fini(&subs);
    }
}

static void names_of_two_keep_within_the_windows(void **state)
{
    (void)state;
    struct redis_subs subs;
    struct bytes out = {0};
    char text[32];

    redis_subs_init(&subs, &key, 100, false);
    assert_int_equal(want(&subs, 5000), 0); /* So that a pair would cross the edge. */
    for (unsigned i = 0; i < 2000; i++) {
        assert_int_equal(redis_subs_want(&subs, name_of(i, text), span_str("also")), 0);
    }
    assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
    assert_true(subs.unconfirmed <= REDIS_SUBS_WINDOW);
    assert_true(subs.unconfirmed >= REDIS_SUBS_WINDOW - 1);
    while (out.len > 0) {
        struct resp_scan scan = {0};
        struct span items[1 + REDIS_SUBS_CHUNK];
        size_t used = 0;
        assert_int_equal(resp_scan(&scan, span_of(out.data, out.len), &used), 1);
        assert_true(resp_flat(span_of(out.data, used), items, COUNT_OF(items)) >= 2);
        bytes_consume(&out, used);
    }
    redis_subs_reset(&subs);
    assert_int_equal(subs.unconfirmed, 0);
    assert_int_equal(subs.queued_count, 2001);
    bytes_fini(&out);
    redis_subs_fini(&subs);
}

static void minds_change_while_redis_answers(void **state)
{
    (void)state;
    struct redis_subs subs;
    struct bytes out = {0};
    size_t commands;

    redis_subs_init(&subs, &key, 1000, false);
    assert_int_equal(want(&subs, 1), 0);
    assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
    unwant(&subs, 1, 0);
    assert_int_equal(answer(&subs, &out, 10, SIZE_MAX, &commands), 0); /* Live, but unwanted. */
    assert_int_equal(redis_subs_linger_end_ms(&subs), 1010);

    assert_int_equal(redis_subs_pump(&subs, 1010, &out), 0);
    assert_int_equal(subs.leaving_count, 1);
    assert_int_equal(want(&subs, 1), 0); /* Too late to stay; it comes back. */
    assert_int_equal(answer(&subs, &out, 1020, SIZE_MAX, &commands), 0);
    assert_int_equal(subs.queued_count, 1);
    assert_int_equal(exchange(&subs, 1030), 1);

    /* Redis ends it by itself. */
    char text[32];
    assert_false(redis_subs_left(&subs, name_of(1, text)));
    assert_true(redis_subs_left(&subs, name_of(9, text)));
    bytes_fini(&out);
    redis_subs_fini(&subs);
}

static void after_a_loss_the_wanted_come_back_and_the_rest_is_forgotten(void **state)
{
    (void)state;
    struct redis_subs subs;
    struct bytes out = {0};
    size_t commands;

    redis_subs_init(&subs, &key, 1000, false);
    for (unsigned i = 0; i < 3000; i++) {
        assert_int_equal(want(&subs, i), 0);
    }
    assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
    answer(&subs, &out, 0, 1000, &commands);
    assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
    for (unsigned i = 0; i < 3000; i += 3) {
        unwant(&subs, i, 0);
    }
    redis_subs_reset(&subs);
    assert_int_equal(subs.queued_count, 2000);
    assert_int_equal(subs.live_count + subs.sent_count + subs.leaving_count, 0);
    assert_int_equal(subs.table.count, 2000);
    assert_false(redis_subs_restored(&subs));

    /* New wishes meanwhile do not delay the restoration; old ones given up do not block it. */
    assert_int_equal(want(&subs, 5000), 0);
    unwant(&subs, 1, 0);
    out.len = 0;
    while (!redis_subs_restored(&subs)) {
        assert_int_equal(redis_subs_pump(&subs, 0, &out), 0);
        assert_true(answer(&subs, &out, 0, 1, &commands) > 0);
    }
    assert_true(subs.live_count >= 1999);
    bytes_fini(&out);
    redis_subs_fini(&subs);
}

static void random_minds_end_with_exactly_what_is_wanted(void **state)
{
    (void)state;
    enum { NAMES = 60 };

    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct redis_subs subs;
        struct bytes out = {0};
        struct rng rng;
        bool wanted[NAMES] = {false};
        uint64_t now_ms = 0;
        size_t commands, count = 0;
        rng_init(&rng, seed);
        redis_subs_init(&subs, &key, 100, rng_below(&rng, 2));
        for (int step = 0; step < 3000; step++) {
            unsigned name = (unsigned)rng_below(&rng, NAMES);
            now_ms += rng_below(&rng, 20);
            switch (rng_below(&rng, 8)) {
            case 0:
            case 1:
            case 2:
                assert_true(want_some_twice(&subs, name) >= 0);
                wanted[name] = true;
                break;
            case 3:
            case 4:
                unwant(&subs, name, now_ms);
                wanted[name] = false;
                break;
            case 5:
                assert_int_equal(redis_subs_pump(&subs, now_ms, &out), 0);
                break;
            case 6:
                answer(&subs, &out, now_ms, rng_below(&rng, 10), &commands);
                break;
            default:
                if (rng_below(&rng, 50) == 0) {
                    redis_subs_reset(&subs);
                    out.len = 0;
                }
            }
        }
        answer(&subs, &out, now_ms, SIZE_MAX, &commands);
        exchange(&subs, now_ms);
        exchange(&subs, now_ms + 100);
        for (unsigned i = 0; i < NAMES; i++) {
            count += wanted[i];
            assert_true(!wanted[i] || want(&subs, i) == 1);
        }
        assert_int_equal(subs.live_count, count);
        assert_int_equal(subs.table.count, count);
        assert_int_equal(subs.queued_count + subs.sent_count + subs.leaving_count, 0);
        assert_int_equal(subs.unconfirmed, 0);
        assert_true(redis_subs_restored(&subs));
        bytes_fini(&out);
        redis_subs_fini(&subs);
    }
}

static void no_memory_leaves_no_trace(void **state)
{
    (void)state;
    struct redis_subs subs;

    redis_subs_init(&subs, &key, 100, false);
    for (int n = 0; n < 2; n++) {
        mem_fail_after(n);
        assert_int_equal(want(&subs, 1), -ENOMEM);
        mem_fail_after(-1);
        assert_int_equal(subs.queued_count, 0);
        assert_int_equal(subs.table.count, 0);
    }
    assert_int_equal(want(&subs, 1), 0);
    struct bytes out = {0};
    mem_fail_after(0);
    assert_int_equal(redis_subs_pump(&subs, 0, &out), -ENOMEM);
    mem_fail_after(-1);
    assert_int_equal(subs.queued_count, 1);
    bytes_fini(&out);
    redis_subs_fini(&subs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_wishes_go_out_in_windows),
        cmocka_unit_test(sharded_names_go_out_one_a_command),
        cmocka_unit_test(an_unwanted_channel_lingers_and_may_be_wanted_again),
        cmocka_unit_test(a_second_name_comes_first_and_leaves_last),
        cmocka_unit_test(names_of_two_keep_within_the_windows),
        cmocka_unit_test(minds_change_while_redis_answers),
        cmocka_unit_test(after_a_loss_the_wanted_come_back_and_the_rest_is_forgotten),
        cmocka_unit_test(random_minds_end_with_exactly_what_is_wanted),
        cmocka_unit_test(no_memory_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
