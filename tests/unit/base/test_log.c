#include "base/log.h"

#include "tests/support/unit.h"

static uint32_t allowed(struct log_burst *limit, uint64_t now_ms, uint32_t tries)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < tries; i++) {
        count += log_allow_burst(limit, now_ms, 1000, 3);
    }
    return count;
}

static void a_burst_is_written_and_the_rest_of_it_summed_up(void **state)
{
    (void)state;
    struct log_burst limit = {0};
    assert_int_equal(allowed(&limit, 5000, 10), 3);
    assert_int_equal(log_burst_over(&limit, 5999), 0); /* It may grow. */
    assert_int_equal(allowed(&limit, 5999, 2), 0);
    assert_int_equal(log_burst_over(&limit, 6000), 9);
    assert_int_equal(log_burst_over(&limit, 6000), 0);
    assert_int_equal(allowed(&limit, 6000, 10), 3);
}

static void nothing_is_held_back_below_the_bound(void **state)
{
    (void)state;
    struct log_burst limit = {0};
    for (uint64_t now = 0; now < 10000; now += 400) {
        assert_int_equal(allowed(&limit, now, 1), 1);
        assert_int_equal(log_burst_over(&limit, now), 0);
    }
}

static void what_was_held_back_is_told_before_more_is_written(void **state)
{
    (void)state;
    struct log_burst limit = {0};
    assert_int_equal(allowed(&limit, 0, 5), 3);
    assert_int_equal(allowed(&limit, 2000, 5), 0);
    assert_int_equal(log_burst_over(&limit, 2000), 7);
    assert_int_equal(allowed(&limit, 2000, 5), 3);
}

static void a_limit_counts_what_it_holds_back(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    uint64_t held = 0;
    assert_true(log_allow(&limit, 10, 1000, &held));
    assert_false(log_allow(&limit, 11, 1000, &held));
    assert_false(log_allow(&limit, 1009, 1000, &held));
    assert_true(log_allow(&limit, 1010, 1000, &held));
    assert_int_equal(held, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_is_written_and_the_rest_of_it_summed_up),
        cmocka_unit_test(nothing_is_held_back_below_the_bound),
        cmocka_unit_test(what_was_held_back_is_told_before_more_is_written),
        cmocka_unit_test(a_limit_counts_what_it_holds_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
