/* Canonical JSON is what RFC 8785 says, and reads back; references are the hashes of it. */
#include "flow/canon.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "flow/canon_number.h"
#include "tests/support/unit.h"

static json_t *read_text(const char *text)
{
    char why[200] = "";
    json_t *value = json_read(span_str(text), why, sizeof why);

    if (!value) {
        fail_msg("%s: %s", text, why);
    }
    return value;
}

static void assert_canon(const char *text, const char *want)
{
    json_t *value = read_text(text);
    struct bytes out = {0};

    assert_int_equal(canon_append(&out, value), 0);
    assert_int_equal(bytes_append_byte(&out, 0), 0);
    assert_string_equal((const char *)out.data, want);
    bytes_fini(&out);
    json_decref(value);
}

static void assert_refused(struct span text, const char *want)
{
    char why[200] = "";

    errno = 0;
    assert_null(json_read(text, why, sizeof why));
    assert_int_equal(errno, EBADMSG);
    assert_string_equal(why, want);
}

/* RFC 8785, appendix B; then powers of two, where the nearest decimal is not always the right one
 * (of V8), and doubles with few digits. */
static const struct {
    uint64_t bits;
    const char *text;
} numbers[] = {
    {0x0000000000000000, "0"}, {0x8000000000000000, "0"}, {0x0000000000000001, "5e-324"},
    {0x8000000000000001, "-5e-324"}, {0x7fefffffffffffff, "1.7976931348623157e+308"},
    {0xffefffffffffffff, "-1.7976931348623157e+308"}, {0x4340000000000000, "9007199254740992"},
    {0xc340000000000000, "-9007199254740992"}, {0x4430000000000000, "295147905179352830000"},
    {0x44b52d02c7e14af5, "9.999999999999997e+22"}, {0x44b52d02c7e14af6, "1e+23"},
    {0x44b52d02c7e14af7, "1.0000000000000001e+23"}, {0x444b1ae4d6e2ef4e, "999999999999999700000"},
    {0x444b1ae4d6e2ef4f, "999999999999999900000"}, {0x444b1ae4d6e2ef50, "1e+21"},
    {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"}, {0x3eb0c6f7a0b5ed8d, "0.000001"},
    {0x41b3de4355555553, "333333333.3333332"}, {0x41b3de4355555554, "333333333.33333325"},
    {0x41b3de4355555555, "333333333.3333333"}, {0x41b3de4355555556, "333333333.3333334"},
    {0x41b3de4355555557, "333333333.33333343"}, {0xbecbf647612f3696, "-0.0000033333333333333333"},
    {0x43143ff3c1cb0959, "1424953923781206.2"},
    {0x3d30000000000000, "5.684341886080802e-14"},   /* 2^-44 */
    {0x3e70000000000000, "5.960464477539063e-8"},    /* 2^-24 */
    {0x4580000000000000, "6.189700196426902e+26"},   /* 2^89 */
    {0x4830000000000000, "5.444517870735016e+39"},   /* 2^132 */
    {0x7cf0000000000000, "6.386688990511104e+293"},  /* 2^976 */
    {0x0010000000000000, "2.2250738585072014e-308"}, /* 2^-1022 */
    {0x0000000000000002, "1e-323"},                  /* 2^-1073 */
};

static void numbers_are_written_as_ecmascript_does(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(numbers); i++) {
        struct bytes out = {0};
        double value;
        memcpy(&value, &numbers[i].bits, sizeof value);
        assert_int_equal(canon_append_real(&out, value), 0);
        assert_int_equal(bytes_append_byte(&out, 0), 0);
        assert_string_equal((const char *)out.data, numbers[i].text);
        bytes_fini(&out);
    }
}

static void no_infinity_is_written(void **state)
{
    (void)state;
    struct bytes out = {0};
    assert_int_equal(canon_append_real(&out, INFINITY), -ERANGE);
    assert_int_equal(canon_append_real(&out, -INFINITY), -ERANGE);
    assert_int_equal(canon_append_real(&out, NAN), -ERANGE);
    assert_int_equal(out.len, 0);
}

static void integers_past_2_53_are_the_doubles_they_are_nearest_to(void **state)
{
    (void)state;
    assert_canon("[9007199254740991,9007199254740992,9007199254740993,-9007199254740993]",
        "[9007199254740991,9007199254740992,9007199254740992,-9007199254740992]");
    assert_canon(
        "[9223372036854775807,-9223372036854775808]", "[9223372036854776000,-9223372036854776000]");
    assert_canon("[1,-1,0,-0,1.0,-0.0,10e-1]", "[1,-1,0,0,1,0,1]");
}

/* 1e20 is written as an integer that jansson alone refuses. */
static void integers_past_64_bits_are_read(void **state)
{
    (void)state;
    assert_canon("[1e20,1e21,9223372036854775808,-9223372036854776000]",
        "[100000000000000000000,1e+21,9223372036854776000,-9223372036854776000]");
    assert_canon("[100000000000000000000 , \"100000000000000000000\"]",
        "[100000000000000000000,\"100000000000000000000\"]");
    assert_canon("{\"a\\\"10000000000000000000\":99999999999999999999,\"b\":9999999999999999999}",
        "{\"a\\\"10000000000000000000\":100000000000000000000,\"b\":10000000000000000000}");
    assert_canon("[12345678901234567890,1.12345678901234567890,1e00000000000000000005,"
                 "12345678901234567890.5]",
        "[12345678901234567000,1.1234567890123457,100000,12345678901234567000]");
    /* What fits stays exact, though another one does not. */
    json_t *both = read_text("[9223372036854775807,9223372036854775808]");
    assert_true(json_is_integer(json_array_get(both, 0)));
    assert_true(json_integer_value(json_array_get(both, 0)) == INT64_MAX);
    json_decref(both);
}

static void the_examples_of_the_rfc_come_out_as_it_says(void **state)
{
    (void)state;
    assert_canon("{\n  \"numbers\": [333333333.33333329, 1E30, 4.50, 2e-3, "
                 "0.000000000000000000000000001],\n"
                 "  \"string\": \"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\",\n"
                 "  \"literals\": [null, true, false]\n}",
        "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],"
        "\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
    assert_canon("{\"\\u20ac\":1,\"\\r\":2,\"\\ufb33\":3,\"1\":4,\"\\ud83d\\ude00\":5,"
                 "\"\\u0080\":6,\"\\u00f6\":7}",
        "{\"\\r\":2,\"1\":4,\"\xc2\x80\":6,\"\xc3\xb6\":7,\"\xe2\x82\xac\":1,"
        "\"\xf0\x9f\x98\x80\":5,\"\xef\xac\xb3\":3}");
}

static void names_sort_by_utf16_code_units(void **state)
{
    (void)state;
    assert_canon("{\"ab\":1,\"a\":2,\"\":3,\"\\ud7ff\":4,\"\\ue000\":5,\"\\uffff\":6,"
                 "\"\\ud800\\udc00\":7,\"\\udbff\\udfff\":8,\"x\\ue000\":9,"
                 "\"x\\ud800\\udc00\":10}",
        "{\"\":3,\"a\":2,\"ab\":1,\"x\xf0\x90\x80\x80\":10,\"x\xee\x80\x80\":9,"
        "\"\xed\x9f\xbf\":4,\"\xf0\x90\x80\x80\":7,\"\xf4\x8f\xbf\xbf\":8,\"\xee\x80\x80\":5,"
        "\"\xef\xbf\xbf\":6}");
}

static void strings_have_the_shortest_escapes(void **state)
{
    (void)state;
    assert_canon("\"\\u0008\\u0009\\u000a\\u000b\\u000c\\u000d\\u0000\\u001F\\u007f\\/\"",
        "\"\\b\\t\\n\\u000b\\f\\r\\u0000\\u001f\x7f/\"");
    assert_canon(" [ [] , {} , \"\" ] ", "[[],{},\"\"]");
}

/* The deepest that can be read can be written, and no deeper is: it could not be read back. */
static void depth_is_bounded_both_ways(void **state)
{
    (void)state;
    char text[2 * JSON_DEPTH_MAX + 1];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    text[2 * JSON_DEPTH_MAX] = '\0';
    assert_canon(text, text);
    json_t *deeper = json_array();
    assert_int_equal(json_array_append_new(deeper, read_text(text)), 0);
    struct bytes out = {0};
    assert_int_equal(bytes_append_str(&out, "kept"), 0);
    assert_int_equal(canon_append(&out, deeper), -ERANGE);
    assert_int_equal(out.len, 4);
    bytes_fini(&out);
    json_decref(deeper);

    char too_deep[] = "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
                      "\n {\"a\":1}";
    assert_refused(span_str(too_deep), "line 2, column 2: JSON is taken 64 levels deep at most");
    /* Brackets in strings are no levels. */
    assert_canon("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"\"",
        "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"\"");
}

static void what_is_no_json_is_refused_with_its_place(void **state)
{
    (void)state;
    assert_refused(span_str(""), "there is no JSON: the text is empty");
    assert_refused(span_of("1\0", 2), "line 1, column 2: a NUL byte cannot stand in JSON");
    assert_refused(
        span_of("[\n\"\xc3\xbc\0\"]", 7), "line 2, column 3: a NUL byte cannot stand in JSON");
    assert_refused(
        span_str("{\"a\":1,\n \"a\":2}"), "line 2, column 4: duplicate object key near '\"a\"'");
    assert_refused(span_str("[1,]"), "line 1, column 4: unexpected token near ']'");
    assert_refused(span_str("[1e400]"), "line 1, column 6: real number overflow near '1e400'");
    assert_refused(span_str("[\"\x01\"]"), "line 1, column 2: control character 0x1 near '\"'");
    assert_refused(
        span_str("[99999999999999999999, x]"), "line 1, column 24: invalid token near 'x'");
}

/* A peer's bytes come back in the sentence, which goes into JSON and into a log line. */
static void the_sentence_is_printable_even_when_it_is_cut(void **state)
{
    (void)state;
    for (size_t cap = 1; cap < 80; cap++) {
        char why[80];
        assert_null(json_read(span_str("[ \xc3\xbc\x7f\xe2\x82\xac ]"), why, cap));
        json_t *sentence = json_string(why);
        assert_non_null(sentence);
        json_decref(sentence);
        for (const char *at = why; *at; at++) {
            assert_true((uint8_t)*at >= ' ' && *at != 0x7f);
        }
    }
}

static void a_reference_is_the_hash_of_the_canonical_text(void **state)
{
    (void)state;
    json_t *value = read_text("{\"b\":[],\"a\":1}");
    struct bytes out = {0};
    char ref[FLOW_REF_LEN + 1], again[FLOW_REF_LEN + 1];
    assert_int_equal(canon_blob(value, &out, ref), 0);
    /* printf '{"a":1,"b":[]}' | sha256sum */
    assert_string_equal(
        ref, "sha256:f87e4099e9be5e75094e0a4f46d3dc18a9c37429314a5a2490fb78d31e7e170c");
    canon_ref(span_of(out.data, out.len), again);
    assert_string_equal(again, ref);
    canon_ref(span_of(NULL, 0), ref);
    assert_string_equal(
        ref, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    bytes_fini(&out);
    json_decref(value);
}

static void references_are_read_in_both_spellings(void **state)
{
    (void)state;
    const char *low = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    char out[FLOW_REF_LEN + 1];
    assert_true(canon_ref_parse(span_str(low), out));
    assert_string_equal(out, low);
    assert_true(canon_ref_parse(
        span_str("cas://sha256:E3B0C44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        out));
    assert_string_equal(out, low);
    static const char *const bad[] = {"", "cas://", "sha256:", "cas://cas://sha256:",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85",
        "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b8555",
        "sha256:g3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "SHA256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(canon_ref_parse(span_str(bad[i]), out));
    }
}

static void writing_survives_each_failing_allocation(void **state)
{
    (void)state;
    json_t *value = read_text("{\"b\":[1.5,\"\\n\"],\"a\":{\"c\":1e20,\"d\":null},\"longer\":"
                              "\"so that the buffer has to grow, and then to grow again\"}");
    int err = -ENOMEM;
    for (int64_t n = 0; err == -ENOMEM; n++) {
        struct bytes out = {0};
        mem_fail_after(n);
        err = canon_append(&out, value);
        mem_fail_after(-1);
        assert_true(err == 0 || out.len == 0);
        bytes_fini(&out);
    }
    assert_int_equal(err, 0);
    json_decref(value);
}

static long jansson_left;

static void *jansson_alloc(size_t size)
{
    return jansson_left-- > 0 ? malloc(size) : NULL;
}

/* jansson reports a failed allocation as bad syntax here and there: no peer is told that. (It
 * asserts when its buffer cannot grow within a number, so there is no long number here.) */
static void reading_says_when_memory_is_missing(void **state)
{
    (void)state;
    static const char text[] = "{\"b\":[1.5,\"\\n\"],\"a\":{\"c\":1e20,\"d\":null}}";
    char why[200];
    json_t *value = NULL;
    for (long n = 0; !value; n++) {
        jansson_left = n;
        json_set_alloc_funcs(jansson_alloc, free);
        value = json_read(span_str(text), why, sizeof why);
        int error = errno;
        json_set_alloc_funcs(malloc, free);
        assert_true(value || error == ENOMEM);
    }
    json_decref(value);
    mem_fail_after(0);
    assert_null(json_read(span_str("100000000000000000000"), why, sizeof why));
    assert_int_equal(errno, ENOMEM);
    mem_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_written_as_ecmascript_does),
        cmocka_unit_test(no_infinity_is_written),
        cmocka_unit_test(integers_past_2_53_are_the_doubles_they_are_nearest_to),
        cmocka_unit_test(integers_past_64_bits_are_read),
        cmocka_unit_test(the_examples_of_the_rfc_come_out_as_it_says),
        cmocka_unit_test(names_sort_by_utf16_code_units),
        cmocka_unit_test(strings_have_the_shortest_escapes),
        cmocka_unit_test(depth_is_bounded_both_ways),
        cmocka_unit_test(what_is_no_json_is_refused_with_its_place),
        cmocka_unit_test(the_sentence_is_printable_even_when_it_is_cut),
        cmocka_unit_test(a_reference_is_the_hash_of_the_canonical_text),
        cmocka_unit_test(references_are_read_in_both_spellings),
        cmocka_unit_test(writing_survives_each_failing_allocation),
        cmocka_unit_test(reading_says_when_memory_is_missing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
