#include "base/rng.h"
#include "role/schedule.h"
#include "tests/support/unit.h"

static const uint64_t NS = 1000000000;

static void messages_are_evenly_spread(void **state)
{
    struct schedule s = schedule_of(5 * NS, 100);

    assert_int_equal(schedule_due_ns(&s, 0), 5 * NS);
    assert_int_equal(schedule_due_ns(&s, 1), 5 * NS + NS / 100);
    assert_int_equal(schedule_due_ns(&s, 100), 6 * NS);
    assert_int_equal(schedule_due_count(&s, 5 * NS - 1), 0);
    assert_int_equal(schedule_due_count(&s, 5 * NS), 1);
    assert_int_equal(schedule_due_count(&s, 6 * NS - 1), 100);
    assert_int_equal(schedule_due_count(&s, 6 * NS), 101);
}

/* Message k is due exactly when the count of due messages passes k, for awkward rates too. */
static void due_time_and_due_count_agree(void **state)
{
    static const double rates[] = {0.1, 1, 3, 7.77, 333.333, 999, 1e5, 1234567, 1e9};
    struct rng rng;

    rng_init(&rng, 3);
    for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
        struct schedule s = schedule_of(123456789, rates[r]);
        for (int i = 0; i < 2000; i++) {
            uint64_t k = rng_below(&rng, 1u << 30);
            uint64_t due = schedule_due_ns(&s, k);
            assert_true(schedule_due_count(&s, due) > k);
            if (k) {
                assert_true(schedule_due_count(&s, due - 1) <= k);
            }
        }
    }
}

/* A year of a third of a hertz ends where it should. */
static void rounding_does_not_add_up(void **state)
{
    struct schedule s = schedule_of(0, 3);
    uint64_t k = 3ull * 365 * 86400;

    assert_int_equal(schedule_due_ns(&s, k), 365ull * 86400 * NS);
}

static void no_rate_means_all_at_once(void **state)
{
    struct schedule s = schedule_of(10, 0);

    assert_true(schedule_due_count(&s, 10) == UINT64_MAX);
    assert_int_equal(schedule_due_count(&s, 9), 0);
    assert_int_equal(schedule_due_ns(&s, 1000), 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_evenly_spread),
        cmocka_unit_test(due_time_and_due_count_agree),
        cmocka_unit_test(rounding_does_not_add_up),
        cmocka_unit_test(no_rate_means_all_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
