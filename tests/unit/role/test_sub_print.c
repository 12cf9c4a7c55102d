#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "role/sub_print.h"
#include "role/term.h"
#include "tests/support/unit.h"

static struct bytes out;

static const char *text(void)
{
    assert_int_equal(bytes_append_byte(&out, 0), 0);
    return (const char *)out.data;
}

static int clear(void **state)
{
    bytes_fini(&out);
    return 0;
}

static void an_envelope_is_one_readable_line(void **state)
{
    const char *frame =
        "{\"channel\":\"room:x\",\"cursor\":\"e1:42\",\"data\":{\"a\":[1,\"b c\"]}}";
    struct sub_item item = sub_item_read(span_str(frame));

    assert_int_equal(item.kind, SUB_EVENT);
    sub_print_human(&out, &item, 45296123000000, false);
    assert_string_equal(text(), "12:34:56.123  room:x  e1:42  {\"a\":[1,\"b c\"]}\n");
}

static void notices_are_told_apart(void **state)
{
    struct sub_item live = sub_item_read(
        span_str("{\"channel\":\"room:x\",\"state\":\"replayed\",\"cursor\":\"e1:41\"}"));
    struct sub_item gap = sub_item_read(
        span_str("{\"gap\":{\"channel\":\"room:x\",\"from\":40,\"to\":52,\"reason\":\"slow\"}}"));

    assert_int_equal(live.kind, SUB_STATE);
    assert_int_equal(gap.kind, SUB_GAP);
    sub_print_human(&out, &live, 0, false);
    sub_print_human(&out, &gap, 0, false);
    assert_string_equal(text(), "00:00:00.000  room:x  e1:41  state replayed\n"
                                "00:00:00.000  gap {\"channel\":\"room:x\",\"from\":40,\"to\":"
                                "52,\"reason\":\"slow\"}\n");
}

/* A payload must not move the cursor, change colours or start a line of its own. */
static void payloads_cannot_steer_the_terminal(void **state)
{
    static const char *const evil[] = {"\033[2Jgone\n", "\"del\x7f c1 \xc2\x9b\"", "\xff\xfe",
        "{\"a\":\"\xc2\x85\"}", "a\r\nb\bc"};

    for (size_t i = 0; i < COUNT_OF(evil); i++) {
        struct sub_item item = {.raw = true, .data = span_str(evil[i]), .whole = span_str(evil[i])};
        out.len = 0;
        sub_print_human(&out, &item, 0, false);
        for (size_t k = 0; k + 1 < out.len; k++) {
            assert_true(out.data[k] >= 0x20 && out.data[k] != 0x7f);
            assert_false(out.data[k] == 0xc2 && out.data[k + 1] < 0xa0);
        }
        assert_int_equal(out.data[out.len - 1], '\n');
    }
}

static void raw_payloads_become_envelopes(void **state)
{
    static const struct {
        const char *payload, *expected;
    } cases[] = {
        {"{\"a\": 1,\n \"b\":\"x y\"}",
            "{\"channel\":\"user:u\",\"cursor\":null,\"data\":{\"a\": 1, \"b\":\"x y\"}}\n"},
        {"plain \"text\"", "{\"channel\":\"user:u\",\"cursor\":null,\"data\":\"plain "
                           "\\\"text\\\"\",\"enc\":\"text\"}\n"},
        {"\xff", "{\"channel\":\"user:u\",\"cursor\":null,\"data\":\"/w==\",\"enc\":\"base64\"}\n"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct sub_item item = {.raw = true,
            .channel = span_str("user:u"),
            .data = span_str(cases[i].payload),
            .whole = span_str(cases[i].payload)};
        out.len = 0;
        sub_print_json(&out, &item);
        assert_true(json_valid(out.data, out.len));
        assert_string_equal(text(), cases[i].expected);
    }
}

static void envelopes_stay_on_one_line(void **state)
{
    struct sub_item item =
        sub_item_read(span_str("{ \"channel\" : \"a:b\",\n\"data\" : \"x\\n y\" }"));

    sub_print_json(&out, &item);
    assert_string_equal(text(), "{ \"channel\" : \"a:b\",\"data\" : \"x\\n y\" }\n");
}

static void print_each(void *ctx, const struct sub_item *item)
{
    *(int *)ctx += 1;
    sub_print_json(&out, item);
}

static void batches_are_taken_apart(void **state)
{
    int count = 0;

    sub_items(
        span_str("[{\"channel\":\"a:b\",\"data\":[1,\"],[\"]}, {\"channel\":\"a:c\",\"data\":2}]"),
        print_each, &count);
    assert_int_equal(count, 2);
    assert_string_equal(
        text(), "{\"channel\":\"a:b\",\"data\":[1,\"],[\"]}\n{\"channel\":\"a:c\",\"data\":2}\n");
    count = 0;
    out.len = 0;
    sub_items(span_str("[]"), print_each, &count);
    assert_int_equal(count, 0);
    sub_items(span_str("[broken"), print_each, &count);
    assert_int_equal(count, 1);
}

static void json_is_shown_byte_for_byte(void **state)
{
    static const struct {
        const char *json, *shown;
    } cases[] = {
        {"{\"x\":1,\"y\":[1,2 ]}", "{\"x\":1,\"y\":[1,2 ]}"},
        {" {\"x\" : 1 ,  \"y\":{}}", " {\"x\" : 1 ,  \"y\":{}}"},
        {"[1,\r\n\t2]", "[1,\\x0d\\n\\t2]"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        out.len = 0;
        sub_print_value(&out, span_str(cases[i].json), false);
        assert_string_equal(text(), cases[i].shown);
    }
}

static void colours_leave_the_text_as_it_is(void **state)
{
    const char *json = "{\"a\": [1, -2.5, true,null, \"x\"],  \"b\":{}}";
    sub_print_value(&out, span_str(json), true);
    size_t kept = 0;
    for (size_t i = 0; i < out.len; i++) {
        if (out.data[i] == 033) {
            while (out.data[i] != 'm') {
                i++;
            }
        } else {
            out.data[kept++] = out.data[i];
        }
    }
    out.len = kept;
    assert_string_equal(text(), json);
}

static void figures_read_well(void **state)
{
    char line[32];

    assert_string_equal(term_count(0, line), "0");
    assert_string_equal(term_count(999, line), "999");
    assert_string_equal(term_count(1234567, line), "1,234,567");
    assert_string_equal(term_time(850, line), "850 ns");
    assert_string_equal(term_time(1234567, line), "1.23 ms");
    assert_string_equal(term_time(999999, line), "1.00 ms");
    assert_string_equal(term_time(12345678901, line), "12.3 s");
    assert_string_equal(term_size(512, line), "512 B");
    assert_string_equal(term_size(1048576, line), "1.00 MiB");
    assert_string_equal(term_size(-2048, line), "-2.00 KiB");
}

int main(void)
{
    setenv("TZ", "UTC", 1);
    tzset();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(an_envelope_is_one_readable_line, clear),
        cmocka_unit_test_teardown(notices_are_told_apart, clear),
        cmocka_unit_test_teardown(payloads_cannot_steer_the_terminal, clear),
        cmocka_unit_test_teardown(raw_payloads_become_envelopes, clear),
        cmocka_unit_test_teardown(envelopes_stay_on_one_line, clear),
        cmocka_unit_test_teardown(batches_are_taken_apart, clear),
        cmocka_unit_test_teardown(colours_leave_the_text_as_it_is, clear),
        cmocka_unit_test_teardown(json_is_shown_byte_for_byte, clear),
        cmocka_unit_test_teardown(colours_leave_the_text_as_it_is, clear),
        cmocka_unit_test(figures_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
