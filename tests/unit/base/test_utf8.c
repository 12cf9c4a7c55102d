#include "base/utf8.h"

#include "base/bytes.h"
#include "tests/support/unit.h"

static bool valid(const char *text)
{
    return utf8_valid(text, strlen(text));
}

static void the_first_and_last_character_of_each_length_is_valid(void **state)
{
    (void)state;
    assert_true(utf8_valid("\x00", 1));
    assert_true(valid("\x7f"));
    assert_true(valid("\xc2\x80\xdf\xbf"));
    assert_true(valid("\xe0\xa0\x80\xef\xbf\xbf"));
    assert_true(valid("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"));
    assert_true(valid("\xed\x9f\xbf\xee\x80\x80")); /* On both sides of the surrogates. */
    assert_true(utf8_valid(NULL, 0));
}

static void overlong_surrogate_and_too_high_forms_are_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\x80",
        "\xc2", "\xe2\x82", "\xf0\x9f\x8e", "\xc2 ", "\xe2\x82 ", "long enough to skip \xfe"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(valid(bad[i]));
    }
}

static void a_cut_character_may_go_on_but_not_end(void **state)
{
    (void)state;
    struct utf8_state utf8 = {0};
    const char *text = "\xf0\x9f\x8e\x89";
    for (int i = 0; i < 4; i++) {
        assert_true(utf8_done(&utf8) == (i == 0));
        assert_true(utf8_feed(&utf8, text + i, 1));
    }
    assert_true(utf8_done(&utf8));
    assert_true(sizeof utf8 <= 4);
}

/* The WebSocket closes with 1007 at this byte; waiting for the message's end would be allowed, but
 * would let a peer send the rest for nothing. */
static void a_violation_is_told_at_its_first_impossible_byte(void **state)
{
    (void)state;
    struct utf8_state utf8 = {0};
    assert_true(utf8_feed(&utf8, "\xf4", 1));
    assert_false(utf8_feed(&utf8, "\x90", 1));
    assert_false(utf8_feed(&utf8, "a", 1));
    assert_false(utf8_feed(&utf8, "", 0));
    assert_false(utf8_done(&utf8));
}

static void every_character_survives_encoding(void **state)
{
    (void)state;
    for (uint32_t code = 0; code <= 0x10ffff; code++) {
        uint8_t out[4];
        if (code == 0xd800) {
            code = 0xe000;
        }
        size_t len = utf8_encode(code, out);
        assert_int_equal(utf8_char_len(out, 4), len);
        assert_true(utf8_valid(out, len));
        assert_int_equal(utf8_char_len(out, len - 1), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_and_last_character_of_each_length_is_valid),
        cmocka_unit_test(overlong_surrogate_and_too_high_forms_are_refused),
        cmocka_unit_test(a_cut_character_may_go_on_but_not_end),
        cmocka_unit_test(a_violation_is_told_at_its_first_impossible_byte),
        cmocka_unit_test(every_character_survives_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
