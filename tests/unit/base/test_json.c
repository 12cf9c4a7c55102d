#include "base/json.h"

#include <errno.h>
#include <jansson.h>

#include "base/mem.h"
#include "tests/support/unit.h"

static bool valid(const char *text)
{
    return json_valid(text, strlen(text));
}

static void assert_span(struct span got, const char *want)
{
    assert_non_null(got.data);
    assert_int_equal(got.len, strlen(want));
    assert_memory_equal(got.data, want, got.len);
}

static const char *const accepted[] = {"0", "-0", "1.5", "1e5", "1E+5", "-1.25e-7", "true", "false",
    "null", "\"\"", "\"\\u00e9\\n\"", "\"\\ud83d\\ude00\"", "\"\x7f\"", "[]", "{}", "[ ]", "{ }",
    " [1 , 2]\r\n\t", "{\"a\":{\"b\":[{}]}}", "[[],[],{}]", "\"\\u0000\"", "{\"a\":1,\"a\":2}",
    "\"more than eight plain bytes, \xc3\xbc and so on\""};

static const char *const refused[] = {"", " ", "01", "-", "+1", "1.", ".5", "1e", "1e+", "0x1",
    "tru", "True", "nul", "\"", "\"\\\"", "\"\\x\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\udc00\"",
    "\"\\ud800\\u0041\"", "\"\t\"", "\"\n\"", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "[",
    "]", "[1,]", "[,1]", "[1 2]", "[1}", "{", "{]", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{a:1}",
    "{\"a\" 1}", "{1:1}", "1 2", "[] []", "\xef\xbb\xbf{}", "'a'", "// c\n1", "NaN", "\"\\u12\"",
    "\"more than eight plain bytes and then \x01 \"", "\"unfinished, more than eight"};

static void the_grammar_of_the_rfc_is_accepted_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        assert_true(valid(accepted[i]));
    }
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_false(valid(refused[i]));
    }
    assert_false(json_valid(NULL, 0));
    assert_false(json_valid("1\0", 2));
}

static bool jansson_accepts(const char *text)
{
    json_t *root = json_loadb(text, strlen(text), JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool ok = root != NULL;
    json_decref(root);
    return ok;
}

static void jansson_judges_the_same_texts_alike(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(accepted); i++) {
        assert_true(jansson_accepts(accepted[i]));
    }
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        assert_false(jansson_accepts(refused[i]));
    }
}

/* Where we knowingly differ: the header names these. */
static void numbers_are_judged_by_grammar_and_never_overflow(void **state)
{
    (void)state;
    assert_true(valid("1e999") && !jansson_accepts("1e999"));
    assert_true(valid("92233720368547758080") && !jansson_accepts("92233720368547758080"));
    assert_true(valid("{\"\\u0000\":1}") && !jansson_accepts("{\"\\u0000\":1}"));
}

static void nesting_ends_at_its_bound(void **state)
{
    (void)state;
    char text[2 * (JSON_DEPTH_MAX + 1) + 1];
    for (int depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_true(json_valid(text, (size_t)(2 * depth)) == (depth == JSON_DEPTH_MAX));
    }
    char object[JSON_DEPTH_MAX * 6 + 8] = "";
    for (int depth = 0; depth < JSON_DEPTH_MAX; depth++) {
        strcat(object, "{\"a\":");
    }
    size_t opened = strlen(object);
    strcat(object, "1");
    for (int depth = 0; depth < JSON_DEPTH_MAX; depth++) {
        strcat(object, "}");
    }
    struct span key = span_str("a"), value;
    assert_int_equal(json_find_members(object, strlen(object), &key, 1, &value), 0);
    strcpy(object + opened, "[]");
    for (int depth = 0; depth < JSON_DEPTH_MAX; depth++) {
        strcat(object, "}");
    }
    assert_int_equal(json_find_members(object, strlen(object), &key, 1, &value), -EBADMSG);
}

static void wanted_members_are_found_in_one_pass(void **state)
{
    (void)state;
    const char *text = " {\"type\": \"done\", \"deep\":{\"run_id\":7}, \"run\\u005fid\" :\"x\\n\" ,"
                       "\"n\":-1.5e3,\"list\":[1, {}]} ";
    const struct span keys[] = {
        span_str("run_id"), span_str("type"), span_str("list"), span_str("none"), span_str("n")};
    struct span got[5];
    assert_int_equal(json_find_members(text, strlen(text), keys, 5, got), 0);
    assert_span(got[0], "\"x\\n\"");
    assert_span(got[1], "\"done\"");
    assert_span(got[2], "[1, {}]");
    assert_null(got[3].data);
    assert_span(got[4], "-1.5e3");
    assert_int_equal(json_find_members("{}", 2, keys, 5, got), 0);
    assert_null(got[0].data);
}

static void a_wanted_name_that_occurs_twice_is_an_error(void **state)
{
    (void)state;
    struct span key = span_str("a"), got;
    const char *twice = "{\"a\":1,\"b\":2,\"\\u0061\":3}";
    assert_int_equal(json_find_members(twice, strlen(twice), &key, 1, &got), -EEXIST);
    assert_null(got.data);
    key = span_str("b");
    assert_int_equal(json_find_members(twice, strlen(twice), &key, 1, &got), 0);
    /* Not JSON comes first. */
    const char *broken = "{\"b\":1,\"b\":2,}";
    assert_int_equal(json_find_members(broken, strlen(broken), &key, 1, &got), -EBADMSG);
}

static void members_are_looked_for_only_in_objects(void **state)
{
    (void)state;
    struct span key = span_str("a"), got;
    assert_int_equal(json_find_members("[1]", 3, &key, 1, &got), -EINVAL);
    assert_int_equal(json_find_members("[1", 2, &key, 1, &got), -EBADMSG);
    assert_int_equal(json_find_members("{\"a\":1}x", 8, &key, 1, &got), -EBADMSG);
    assert_int_equal(json_find_members("", 0, &key, 1, &got), -EBADMSG);
    assert_null(got.data);
}

static int walk(const char *text, const char *const *want, size_t want_count)
{
    struct json_array array;
    struct span value;
    int got = json_array_begin(text, strlen(text), &array);

    for (size_t i = 0; got == 0 && i < want_count; i++) {
        assert_int_equal(json_array_next(&array, &value), 1);
        assert_span(value, want[i]);
    }
    return got ? got : json_array_next(&array, &value);
}

static void an_array_is_walked_element_by_element(void **state)
{
    (void)state;
    const char *const mixed[] = {"1", "\"a,]\"", "[2, [3]]", "{\"b\" : [4]}", "null"};
    assert_int_equal(walk(" [1 ,\"a,]\", [2, [3]],{\"b\" : [4]}\n,\tnull ] ", mixed, 5), 0);
    assert_int_equal(walk("[]", NULL, 0), 0);
    assert_int_equal(walk("[ ]", NULL, 0), 0);
}

static void a_walk_through_what_is_no_array_says_so(void **state)
{
    (void)state;
    const char *const one[] = {"1"};
    const char *const not_arrays[] = {"", " ", "{}", "1", ",1]", "]", "\"[\""};
    for (size_t i = 0; i < COUNT_OF(not_arrays); i++) {
        assert_int_equal(walk(not_arrays[i], NULL, 0), -EINVAL);
    }
    const char *const broken[] = {"[1", "[1,", "[1,]", "[1 2]", "[1}", "[1] x", "[1]]"};
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        assert_int_equal(walk(broken[i], one, 1), -EBADMSG);
    }
    const char *const empty[] = {"[", "[,1]", "[tru]", "[}", "[] []"};
    for (size_t i = 0; i < COUNT_OF(empty); i++) {
        assert_int_equal(walk(empty[i], NULL, 0), -EBADMSG);
    }
}

static void an_array_counts_as_a_level_of_its_elements(void **state)
{
    (void)state;
    char text[2 * (JSON_DEPTH_MAX + 1) + 1] = "";
    struct json_array array;
    struct span value;
    for (int depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(json_array_begin(text, (size_t)(2 * depth), &array), 0);
        int got = json_array_next(&array, &value);
        assert_int_equal(got, depth == JSON_DEPTH_MAX ? 1 : -EBADMSG);
    }
}

static void assert_pointer(const char *text, const char *pointer, int err, const char *want)
{
    struct span got = {0};
    assert_int_equal(json_pointer(text, strlen(text), span_str(pointer), &got), err);
    if (want) {
        assert_span(got, want);
    }
}

/* RFC 6901, section 5. */
static void the_pointers_of_the_rfc_lead_where_it_says(void **state)
{
    (void)state;
    const char *text = "{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,\"g|h\":4,"
                       "\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}";
    assert_pointer(text, "", 0, text);
    assert_pointer(text, "/foo", 0, "[\"bar\",\"baz\"]");
    assert_pointer(text, "/foo/0", 0, "\"bar\"");
    assert_pointer(text, "/foo/1", 0, "\"baz\"");
    assert_pointer(text, "/", 0, "0");
    assert_pointer(text, "/a~1b", 0, "1");
    assert_pointer(text, "/c%d", 0, "2");
    assert_pointer(text, "/e^f", 0, "3");
    assert_pointer(text, "/g|h", 0, "4");
    assert_pointer(text, "/i\\j", 0, "5");
    assert_pointer(text, "/k\"l", 0, "6");
    assert_pointer(text, "/ ", 0, "7");
    assert_pointer(text, "/m~0n", 0, "8");
}

static void a_pointer_that_leads_nowhere_says_why(void **state)
{
    (void)state;
    assert_pointer("[1]", "/1", -ENOENT, NULL);
    assert_pointer("[]", "/0", -ENOENT, NULL);
    assert_pointer("[1]", "/00", -ENOENT, NULL);
    assert_pointer("[1]", "/-", -ENOENT, NULL);
    assert_pointer("[1]", "/", -ENOENT, NULL);
    assert_pointer("{\"a\":1}", "/b", -ENOENT, NULL);
    assert_pointer("{\"a\":1}", "/a/b", -ENOENT, NULL);
    assert_pointer("{\"a\":1}", "a", -EINVAL, NULL);
    assert_pointer("{\"a\":1}", "/~", -EINVAL, NULL);
    assert_pointer("{\"a\":1}", "/~2", -EINVAL, NULL);
    assert_pointer("{\"a\":1", "/a", -EBADMSG, NULL);
    assert_pointer("{\"a\":1,\"a\":2}", "/a", -EEXIST, NULL);
}

static void strings_decode_to_text_and_back(void **state)
{
    (void)state;
    struct bytes out = {0};
    const char *raw = "\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20ac\\ud83d\\ude00 end\"";
    const char *want = "a\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 end";
    assert_int_equal(json_string_decode(span_str(raw), &out), 0);
    assert_span(span_of(out.data, out.len), want);
    assert_true(json_string_equal(span_str(raw), span_str(want)));
    assert_false(json_string_equal(span_str(raw), span_str("a")));
    assert_false(json_string_equal(span_str("7"), span_str("7")));

    out.len = 0;
    assert_int_equal(json_append_string(&out, "\x01\x1f\"\\\n\r\t\xc3\xa9\x7f", 10), 0);
    assert_span(span_of(out.data, out.len), "\"\\u0001\\u001f\\\"\\\\\\n\\r\\t\xc3\xa9\x7f\"");
    out.len = 0;
    assert_int_equal(json_append_string(&out, NULL, 0), 0);
    assert_span(span_of(out.data, out.len), "\"\"");
    assert_int_equal(json_append_string(&out, "\xff", 1), -EILSEQ);
    assert_int_equal(json_string_decode(span_str("\"a\" "), &out), -EBADMSG);
    assert_int_equal(json_string_decode(span_str("1"), &out), -EBADMSG);
    assert_span(span_of(out.data, out.len), "\"\"");
    bytes_fini(&out);
}

static void integers_are_read_to_their_bounds(void **state)
{
    (void)state;
    int64_t n;
    assert_int_equal(json_int64(span_str("9223372036854775807"), &n), 0);
    assert_true(n == INT64_MAX);
    assert_int_equal(json_int64(span_str("-9223372036854775808"), &n), 0);
    assert_true(n == INT64_MIN);
    assert_int_equal(json_int64(span_str("-0"), &n), 0);
    assert_true(n == 0);
    assert_int_equal(json_int64(span_str("9223372036854775808"), &n), -ERANGE);
    assert_int_equal(json_int64(span_str("-9223372036854775809"), &n), -ERANGE);
    assert_int_equal(json_int64(span_str("1.0"), &n), -EINVAL);
    assert_int_equal(json_int64(span_str("1e2"), &n), -EINVAL);
    assert_int_equal(json_int64(span_str("\"1\""), &n), -EINVAL);
    assert_int_equal(json_int64(span_str(""), &n), -EINVAL);
}

/* The text needs several growths, and each in turn finds no memory. */
static void without_memory_out_keeps_its_content(void **state)
{
    (void)state;
    char text[200];
    memset(text, '\n', sizeof text);
    for (int64_t n = 0;; n++) {
        struct bytes out = {0};
        assert_int_equal(bytes_append_str(&out, "before"), 0);
        mem_fail_after(n);
        int err = json_append_string(&out, text, sizeof text);
        mem_fail_after(-1);
        assert_int_equal(out.len, err ? 6 : 6 + 2 + 2 * sizeof text);
        bytes_fini(&out);
        if (!err) {
            assert_true(n > 1);
            break;
        }
        assert_int_equal(err, -ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_grammar_of_the_rfc_is_accepted_and_nothing_else),
        cmocka_unit_test(jansson_judges_the_same_texts_alike),
        cmocka_unit_test(numbers_are_judged_by_grammar_and_never_overflow),
        cmocka_unit_test(nesting_ends_at_its_bound),
        cmocka_unit_test(wanted_members_are_found_in_one_pass),
        cmocka_unit_test(a_wanted_name_that_occurs_twice_is_an_error),
        cmocka_unit_test(members_are_looked_for_only_in_objects),
        cmocka_unit_test(an_array_is_walked_element_by_element),
        cmocka_unit_test(a_walk_through_what_is_no_array_says_so),
        cmocka_unit_test(an_array_counts_as_a_level_of_its_elements),
        cmocka_unit_test(the_pointers_of_the_rfc_lead_where_it_says),
        cmocka_unit_test(a_pointer_that_leads_nowhere_says_why),
        cmocka_unit_test(strings_decode_to_text_and_back),
        cmocka_unit_test(integers_are_read_to_their_bounds),
        cmocka_unit_test(without_memory_out_keeps_its_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
