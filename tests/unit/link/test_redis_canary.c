#include "link/redis_canary.h"
#include "tests/support/unit.h"

#include <stdio.h>

#include "link/redis_backoff.h"

static bool came(struct redis_canary *canary, uint64_t number, uint64_t now_ms)
{
    char text[24];

    snprintf(text, sizeof(text), "%llu", (unsigned long long)number);
    return redis_canary_came(canary, span_str(text), now_ms);
}

/* Ticks as the link does until something is to be done; gives what, and when. */
static enum redis_canary_word tick_until_word(
    struct redis_canary *canary, uint64_t *now_ms, uint64_t end_ms)
{
    enum redis_canary_word word = REDIS_CANARY_WAIT;

    while (word == REDIS_CANARY_WAIT && *now_ms < end_ms) {
        *now_ms += canary->tick_ms;
        word = redis_canary_tick(canary, *now_ms);
    }
    return word;
}

static void one_flies_every_interval(void **state)
{
    (void)state;
    struct redis_canary canary;
    uint64_t now_ms = 1000;
    uint64_t number = 0;

    redis_canary_init(&canary, 1000, now_ms);
    redis_canary_begin(&canary, now_ms);
    for (int i = 0; i < 10; i++) {
        uint64_t before_ms = now_ms;
        assert_int_equal(tick_until_word(&canary, &now_ms, UINT64_MAX), REDIS_CANARY_SEND);
        assert_true(i == 0 || now_ms - before_ms == 1000);
        number = redis_canary_next(&canary, now_ms);
        assert_true(came(&canary, number, now_ms + 3));
        assert_int_equal(canary.round_ms, 3);
    }
    assert_int_equal(canary.count, 10);
    assert_int_equal(number, 10);
}

static void silence_kills_within_the_limit(void **state)
{
    (void)state;
    const struct {
        uint32_t interval_ms;
        uint64_t limit_ms;
    } cases[] = {{200, 2500}, {1000, 2500}, {1250, 2500}, {5000, 10000}};

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct redis_canary canary;
        uint64_t now_ms = 77;
        enum redis_canary_word word;
        redis_canary_init(&canary, cases[i].interval_ms, now_ms);
        redis_canary_begin(&canary, now_ms);
        while ((word = tick_until_word(&canary, &now_ms, UINT64_MAX)) == REDIS_CANARY_SEND) {
            (void)redis_canary_next(&canary, now_ms);
        }
        assert_int_equal(word, REDIS_CANARY_DEAD);
        assert_true(now_ms - 77 >= cases[i].limit_ms);
        assert_true(now_ms - 77 <= cases[i].limit_ms + canary.tick_ms);
        assert_true(cases[i].interval_ms > 1250 || now_ms - 77 < 3000);
    }
}

static void only_what_we_sent_on_this_path_proves_anything(void **state)
{
    (void)state;
    struct redis_canary canary;

    redis_canary_init(&canary, 1000, 0);
    redis_canary_begin(&canary, 0);
    uint64_t first = redis_canary_next(&canary, 10);
    uint64_t second = redis_canary_next(&canary, 20);
    assert_false(came(&canary, second + 1, 30));
    assert_true(came(&canary, second, 30));
    assert_false(came(&canary, second, 31));
    assert_false(came(&canary, first, 31));
    assert_false(redis_canary_came(&canary, span_str("x"), 40));
    assert_false(redis_canary_came(&canary, span_str(""), 40));
    assert_false(redis_canary_came(&canary, span_str("99999999999999999999"), 40));

    /* A new path: one still under way from the old one does not count. */
    uint64_t third = redis_canary_next(&canary, 50);
    redis_canary_begin(&canary, 60);
    assert_false(came(&canary, third, 70));
    assert_true(came(&canary, redis_canary_next(&canary, 80), 90));
}

static void time_in_which_we_did_not_run_is_not_held_against_redis(void **state)
{
    (void)state;
    struct redis_canary canary;
    uint64_t now_ms = 0;

    redis_canary_init(&canary, 1000, now_ms);
    redis_canary_begin(&canary, now_ms);
    assert_int_equal(tick_until_word(&canary, &now_ms, UINT64_MAX), REDIS_CANARY_SEND);
    assert_true(came(&canary, redis_canary_next(&canary, now_ms), now_ms));
    now_ms += 60000; /* Stopped by somebody. */
    assert_int_equal(redis_canary_tick(&canary, now_ms), REDIS_CANARY_SEND);
    (void)redis_canary_next(&canary, now_ms);
    uint64_t woke_ms = now_ms;
    enum redis_canary_word word;
    while ((word = tick_until_word(&canary, &now_ms, UINT64_MAX)) == REDIS_CANARY_SEND) {
        (void)redis_canary_next(&canary, now_ms);
    }
    assert_int_equal(word, REDIS_CANARY_DEAD);
    assert_true(now_ms - woke_ms <= canary.limit_ms + canary.tick_ms);
}

static void confirmations_keep_a_long_resubscription_alive(void **state)
{
    (void)state;
    struct redis_canary canary;

    redis_canary_init(&canary, 1000, 0);
    redis_canary_begin(&canary, 0);
    for (uint64_t now_ms = 250; now_ms < 20000; now_ms += 250) {
        assert_int_not_equal(redis_canary_tick(&canary, now_ms), REDIS_CANARY_DEAD);
        redis_canary_alive(&canary, now_ms);
    }
}

static void pauses_grow_with_jitter_between_their_bounds(void **state)
{
    (void)state;
    struct rng rng;
    uint64_t least = UINT64_MAX, most = 0;

    rng_init(&rng, 1);
    for (int i = 0; i < 1000; i++) {
        uint64_t first_ms = redis_backoff_ms(0, 100, 5000, &rng);
        assert_true(first_ms >= 100 && first_ms <= 200);
        uint64_t late_ms = redis_backoff_ms(40, 100, 5000, &rng);
        assert_true(late_ms >= 100 && late_ms <= 5000);
        least = late_ms < least ? late_ms : least;
        most = late_ms > most ? late_ms : most;
    }
    assert_true(least < 300 && most > 4800);
    assert_int_equal(redis_backoff_ms(3, 700, 700, &rng), 700);
    assert_true(redis_backoff_ms(UINT32_MAX, UINT32_MAX, UINT32_MAX, &rng) == UINT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_flies_every_interval),
        cmocka_unit_test(silence_kills_within_the_limit),
        cmocka_unit_test(only_what_we_sent_on_this_path_proves_anything),
        cmocka_unit_test(time_in_which_we_did_not_run_is_not_held_against_redis),
        cmocka_unit_test(confirmations_keep_a_long_resubscription_alive),
        cmocka_unit_test(pauses_grow_with_jitter_between_their_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
