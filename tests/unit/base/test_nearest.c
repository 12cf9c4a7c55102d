#include "base/nearest.h"

#include <string.h>

#include "tests/support/unit.h"

static const char *nearest_of(const char *wrong)
{
    static const char *const names[] = {"duration", "count", "choice", "size", "drain_timeout"};
    static struct nearest best;

    best = (struct nearest){0};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        nearest_try(&best, span_str(wrong), names[i]);
    }
    return best.name;
}

static void a_slip_of_the_fingers_is_understood(void **state)
{
    (void)state;
    assert_string_equal(nearest_of("cuont"), "count"); /* A swap is one slip. */
    assert_string_equal(nearest_of("sizes"), "size");
    assert_string_equal(nearest_of("durration"), "duration");
    assert_string_equal(nearest_of("drain-timeout"), "drain_timeout");
}

static void an_abbreviation_is_understood(void **state)
{
    (void)state;
    assert_string_equal(nearest_of("dur"), "duration");
    assert_string_equal(nearest_of("cho"), "choice");
    assert_string_equal(nearest_of("dr"), "");
}

static void what_is_far_from_all_is_near_nothing(void **state)
{
    (void)state;
    char long_name[NEAREST_NAME_MAX + 10];
    assert_string_equal(nearest_of("zzzzzzzz"), "");
    assert_string_equal(nearest_of("zebra"), "");
    assert_string_equal(nearest_of(""), "");
    memset(long_name, 'a', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = 0;
    assert_string_equal(nearest_of(long_name), "");
    struct nearest best = {0};
    nearest_try(&best, span_str("aaa"), long_name);
    assert_string_equal(best.name, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slip_of_the_fingers_is_understood),
        cmocka_unit_test(an_abbreviation_is_understood),
        cmocka_unit_test(what_is_far_from_all_is_near_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
