/* The stamp of a load message, and what a subscriber makes of the sequence numbers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "role/bench_seq.h"
#include "role/bench_stamp.h"
#include "tests/support/unit.h"

static char payload[70000];

static void what_is_written_is_read(void **state)
{
    static const size_t sizes[] = {0, 1, 60, 64, 70, 80, 100, 128, 4096, 65536};
    static const struct bench_stamp stamps[] = {
        {0, 0, 0, 0}, {123456789012345, 1500, 17, 3}, {UINT64_MAX, UINT64_MAX, UINT32_MAX, 255}};

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (size_t k = 0; k < COUNT_OF(stamps); k++) {
            struct bench_stamp back;
            uint32_t hint = 0;
            size_t len = bench_stamp_write(&stamps[k], sizes[i], payload);
            assert_true(len == sizes[i] || (len > sizes[i] && len < BENCH_STAMP_MAX) ||
                        sizes[i] - len < 12);
            assert_true(json_valid(payload, len));
            assert_true(bench_stamp_read((uint8_t *)payload, len, &hint, &back));
            assert_memory_equal(&back, &stamps[k], sizeof back);
        }
    }
}

static void a_stamp_is_found_inside_an_envelope(void **state)
{
    char frame[400];
    struct bench_stamp stamp = {42, 7, 5, 1}, back;
    uint32_t hint = 0;

    for (int cursor = 1; cursor < 100000; cursor *= 10) {
        size_t len = bench_stamp_write(&stamp, 128, payload);
        int frame_len = snprintf(frame, sizeof frame,
            "{\"channel\":\"bench:0\",\"cursor\":\"e1:%d\",\"data\":%.*s}", cursor, (int)len,
            payload);
        assert_true(bench_stamp_read((uint8_t *)frame, (size_t)frame_len, &hint, &back));
        assert_int_equal(back.seq, 5);
        assert_true(hint > 0);
    }
}

/* Cut anywhere or garbled, a message has no stamp rather than a wrong one, and reading stays
 * inside.
 */
static void other_messages_have_no_stamp(void **state)
{
    struct bench_stamp stamp = {42, 7, 5, 1}, back;
    size_t len = bench_stamp_write(&stamp, 128, payload);
    size_t last = (size_t)(strstr(payload, ",\"pub\":") - payload) + strlen(",\"pub\":");

    for (size_t cut = 0; cut < last; cut++) {
        uint8_t *exact = malloc(cut + 1);
        uint32_t hint = 0;
        memcpy(exact, payload, cut);
        assert_false(bench_stamp_read(exact, cut, &hint, &back));
        hint = 4000000000u;
        assert_false(bench_stamp_read(exact, cut, &hint, &back));
        free(exact);
    }
    uint32_t hint = 0;
    assert_true(len == 128);
    assert_false(bench_stamp_read((const uint8_t *)"{\"state\":\"live\"}", 16, &hint, &back));
}

static struct bench_seq seq;
static uint64_t missing;

static void fresh(void)
{
    seq = (struct bench_seq){0};
    missing = 0;
}

static void numbers_in_order_are_new(void **state)
{
    fresh();
    for (uint32_t i = 0; i < 1000; i++) {
        assert_int_equal(bench_seq_take(&seq, i, &missing), BENCH_SEQ_NEW);
    }
    assert_int_equal(missing, 0);
}

static void a_gap_counts_until_it_is_filled(void **state)
{
    fresh();
    assert_int_equal(bench_seq_take(&seq, 0, &missing), BENCH_SEQ_NEW);
    assert_int_equal(bench_seq_take(&seq, 4, &missing), BENCH_SEQ_NEW);
    assert_int_equal(missing, 3);
    assert_int_equal(bench_seq_take(&seq, 2, &missing), BENCH_SEQ_LATE);
    assert_int_equal(missing, 2);
    assert_int_equal(bench_seq_take(&seq, 2, &missing), BENCH_SEQ_TWICE);
    assert_int_equal(bench_seq_take(&seq, 4, &missing), BENCH_SEQ_TWICE);
    assert_int_equal(bench_seq_take(&seq, 5, &missing), BENCH_SEQ_NEW);
    assert_int_equal(missing, 2);
}

static void the_first_numbers_can_be_missing(void **state)
{
    fresh();
    assert_int_equal(bench_seq_take(&seq, 3, &missing), BENCH_SEQ_NEW);
    assert_int_equal(missing, 3);
    assert_int_equal(bench_seq_take(&seq, 0, &missing), BENCH_SEQ_LATE);
    assert_int_equal(missing, 2);
}

static void a_long_gap_forgets_the_window(void **state)
{
    fresh();
    assert_int_equal(bench_seq_take(&seq, 0, &missing), BENCH_SEQ_NEW);
    assert_int_equal(bench_seq_take(&seq, 31, &missing), BENCH_SEQ_NEW);
    assert_int_equal(bench_seq_take(&seq, 0, &missing), BENCH_SEQ_TWICE);
    assert_int_equal(bench_seq_take(&seq, 100, &missing), BENCH_SEQ_NEW);
    assert_int_equal(bench_seq_take(&seq, 68, &missing), BENCH_SEQ_TWICE);
    assert_int_equal(bench_seq_take(&seq, 69, &missing), BENCH_SEQ_LATE);
    assert_int_equal(missing, 30 + 68 - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_stamp_is_found_inside_an_envelope),
        cmocka_unit_test(other_messages_have_no_stamp),
        cmocka_unit_test(numbers_in_order_are_new),
        cmocka_unit_test(a_gap_counts_until_it_is_filled),
        cmocka_unit_test(the_first_numbers_can_be_missing),
        cmocka_unit_test(a_long_gap_forgets_the_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
