#include <string.h>

#include "base/hist.h"
#include "base/rng.h"
#include "tests/support/unit.h"

static struct hist a, b, both;

static void empty_answers_zero(void **state)
{
    memset(&a, 0, sizeof a);
    assert_int_equal(hist_quantile(&a, 0.5), 0);
    assert_int_equal(hist_quantile(&a, 1), 0);
    assert_int_equal(hist_min(&a), 0);
    assert_true(hist_mean(&a) == 0);
    assert_int_equal(hist_count_at_most(&a, UINT64_MAX), 0);
}

/* Every value lies in its own bucket, buckets touch without gap or overlap, and none is wider than
 * 1.6 % of what it stands for. */
static void buckets_tile_the_line(void **state)
{
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        uint64_t low = hist_bucket_low(i), high = hist_bucket_high(i);
        assert_true(low <= high);
        assert_int_equal(hist_index(low), i);
        assert_int_equal(hist_index(high), i);
        assert_true((high - low) * 64 <= low || low == high);
        if (i + 1 < HIST_BUCKETS) {
            assert_int_equal(hist_bucket_low(i + 1), high + 1);
        }
    }
    assert_int_equal(hist_bucket_high(HIST_BUCKETS - 1), HIST_VALUE_MAX);
}

static void small_values_are_exact(void **state)
{
    memset(&a, 0, sizeof a);
    for (uint64_t v = 1; v <= 100; v++) {
        hist_record(&a, v);
    }
    assert_int_equal(hist_quantile(&a, 0), 1);
    assert_int_equal(hist_quantile(&a, 0.5), 50);
    assert_int_equal(hist_quantile(&a, 0.99), 99);
    assert_int_equal(hist_quantile(&a, 0.995), 100);
    assert_int_equal(hist_quantile(&a, 1), 100);
    assert_int_equal(hist_min(&a), 1);
    assert_true(hist_mean(&a) == 50.5);
}

static void quantiles_are_within_a_percent(void **state)
{
    memset(&a, 0, sizeof a);
    for (uint64_t v = 1; v <= 1000000; v++) {
        hist_record(&a, v * 1000);
    }
    static const double quantiles[] = {0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 0.9999};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        double truth = quantiles[i] * 1e9;
        double found = (double)hist_quantile(&a, quantiles[i]);
        assert_true(found > truth * 0.99 && found < truth * 1.01);
    }
    assert_int_equal(hist_quantile(&a, 1), 1000000000);
}

static void too_large_values_keep_their_maximum(void **state)
{
    memset(&a, 0, sizeof a);
    hist_record(&a, 5);
    hist_record(&a, UINT64_MAX);
    assert_int_equal(a.count, 2);
    assert_int_equal(hist_quantile(&a, 1), UINT64_MAX);
    assert_int_equal(hist_min(&a), 5);
    assert_int_equal(a.buckets[HIST_BUCKETS - 1], 1);
}

static void merging_equals_recording_into_one(void **state)
{
    struct rng rng;
    rng_init(&rng, 7);
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    memset(&both, 0, sizeof both);
    for (int i = 0; i < 10000; i++) {
        uint64_t value = rng_next(&rng) >> (rng_below(&rng, 40) + 24);
        hist_record(i % 3 ? &a : &b, value);
        hist_record(&both, value);
    }
    hist_merge(&a, &b);
    assert_memory_equal(&a, &both, sizeof a);
}

static void recording_many_equals_recording_often(void **state)
{
    memset(&a, 0, sizeof a);
    memset(&b, 0, sizeof b);
    hist_record_many(&a, 12345, 3);
    for (int i = 0; i < 3; i++) {
        hist_record(&b, 12345);
    }
    assert_memory_equal(&a, &b, sizeof a);
}

static void counting_at_most_is_cumulative(void **state)
{
    memset(&a, 0, sizeof a);
    hist_record(&a, 10);
    hist_record(&a, 20);
    hist_record(&a, 1000000);
    assert_int_equal(hist_count_at_most(&a, 9), 0);
    assert_int_equal(hist_count_at_most(&a, 10), 1);
    assert_int_equal(hist_count_at_most(&a, 999999), 2);
    assert_int_equal(hist_count_at_most(&a, UINT64_MAX), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_answers_zero),
        cmocka_unit_test(buckets_tile_the_line),
        cmocka_unit_test(small_values_are_exact),
        cmocka_unit_test(quantiles_are_within_a_percent),
        cmocka_unit_test(too_large_values_keep_their_maximum),
        cmocka_unit_test(merging_equals_recording_into_one),
        cmocka_unit_test(recording_many_equals_recording_often),
        cmocka_unit_test(counting_at_most_is_cumulative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
