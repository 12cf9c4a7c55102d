#include "core/cursor.h"

#include <string.h>

#include "tests/support/unit.h"

static void what_is_written_is_read_back(void **state)
{
    static const struct cursor cursors[] = {{0, 0}, {1, 1}, {35, 9}, {36, 10}, {42, 12345},
        {UINT64_MAX, (1ull << 53) - 1}, {1ull << 40 | 77, 1ull << 40}};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cursors); i++) {
        char text[CURSOR_TEXT_MAX];
        size_t len = cursor_format(cursors[i], text);
        assert_int_equal(len, strlen(text));
        struct since since = since_parse(span_of(text, len));
        assert_int_equal(since.kind, SINCE_CURSOR);
        assert_int_equal(since.cursor.epoch, cursors[i].epoch);
        assert_int_equal(since.cursor.offset, cursors[i].offset);
    }
}

static void nothing_and_a_dash_mean_live_only(void **state)
{
    (void)state;
    assert_int_equal(since_parse(span_str("")).kind, SINCE_NONE);
    assert_int_equal(since_parse(span_str("-")).kind, SINCE_NONE);
    assert_int_equal(since_parse(span_str("begin")).kind, SINCE_BEGIN);
}

static void what_is_no_cursor_is_bad_and_never_a_failure(void **state)
{
    static const char *const texts[] = {"e", "e:", ":1", ":", "E:1", "e:1x", "e:-1", "e:+1", "e 1",
        "e:1:2", "e:9007199254740992", "e:18446744073709551616", "3w5e11264sgsg:1", "Begin",
        "beginn", "--", "\xc3\xa9:1"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        assert_int_equal(since_parse(span_str(texts[i])).kind, SINCE_BAD);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_back),
        cmocka_unit_test(nothing_and_a_dash_mean_live_only),
        cmocka_unit_test(what_is_no_cursor_is_bad_and_never_a_failure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
