#include "link/redis_envelope.h"
#include "tests/support/unit.h"

#include <errno.h>

#include "base/mem.h"

static void encodes(struct span data, const char *expected)
{
    struct bytes out = {0};

    assert_int_equal(redis_envelope_encode(&out, span_str("42"), span_str("al\"ice"), data), 0);
    assert_int_equal(out.len, strlen(expected));
    assert_memory_equal(out.data, expected, out.len);

    struct bytes back = {0};
    assert_int_equal(redis_envelope_decode(span_of(out.data, out.len), &back), 0);
    assert_true(span_equal(span_of(back.data, back.len), data));
    bytes_fini(&back);
    bytes_fini(&out);
}

static void decodes(const char *envelope, const char *expected)
{
    struct bytes out = {0};

    assert_int_equal(redis_envelope_decode(span_str(envelope), &out), 0);
    assert_true(span_equal(span_of(out.data, out.len), span_str(expected)));
    bytes_fini(&out);
}

static void refuses(const char *envelope)
{
    struct bytes out = {0};

    assert_int_equal(bytes_append_str(&out, "before"), 0);
    assert_int_equal(redis_envelope_decode(span_str(envelope), &out), -EBADMSG);
    assert_int_equal(out.len, 6);
    bytes_fini(&out);
}

static void text_travels_as_a_string_in_the_contracts_order(void **state)
{
    (void)state;
    encodes(span_str("hi \"you\"\n\xc3\xa4"),
        "{\"room\":\"42\",\"from\":\"al\\\"ice\",\"data\":\"hi \\\"you\\\"\\n\xc3\xa4\"}");
    encodes(span_str(""), "{\"room\":\"42\",\"from\":\"al\\\"ice\",\"data\":\"\"}");
    encodes(span_str("{\"a\":1}"),
        "{\"room\":\"42\",\"from\":\"al\\\"ice\",\"data\":\"{\\\"a\\\":1}\"}");
}

static void bytes_that_are_no_text_travel_as_base64(void **state)
{
    (void)state;
    encodes(span_of("\xff\x00\x01", 3),
        "{\"room\":\"42\",\"from\":\"al\\\"ice\",\"data\":\"/wAB\",\"enc\":\"base64\"}");
}

static void every_byte_survives_the_round_trip(void **state)
{
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        const uint8_t data[3] = {'a', (uint8_t)byte, 'b'};
        struct bytes out = {0}, back = {0};
        assert_int_equal(
            redis_envelope_encode(&out, span_str("r"), span_str(""), span_of(data, 3)), 0);
        assert_int_equal(redis_envelope_decode(span_of(out.data, out.len), &back), 0);
        assert_true(span_equal(span_of(back.data, back.len), span_of(data, 3)));
        bytes_fini(&out);
        bytes_fini(&back);
    }
}

static void envelopes_of_other_writers_are_read(void **state)
{
    (void)state;
    decodes("{\"data\":\"x\"}", "x");
    decodes(" {\"enc\" : \"\", \"ts\":1, \"data\" : \"\\u003cb\\u003e\", \"room\":\"1\"} ", "<b>");
    decodes("{\"data\":\"YWJj\",\"enc\":\"base64\"}", "abc");
    decodes("{\"data\":\"YWJj\",\"enc\":\"text\"}", "YWJj");
}

static void malformed_envelopes_are_refused_without_a_trace(void **state)
{
    (void)state;
    refuses("");
    refuses("hello");
    refuses("[]");
    refuses("{\"room\":\"1\",\"from\":\"x\"}");
    refuses("{\"data\":1}");
    refuses("{\"data\":null}");
    refuses("{\"data\":{\"a\":\"b\"}}");
    refuses("{\"data\":\"a\",\"data\":\"b\"}");
    refuses("{\"data\":\"a\"");
    refuses("{\"data\":\"a\"}x");
    refuses("{\"data\":\"\xff\"}");
    refuses("{\"data\":\"***\",\"enc\":\"base64\"}");
    refuses("{\"data\":\"a\",\"enc\":\"rot13\"}");
    refuses("{\"data\":\"a\",\"enc\":1}");
}

static void a_name_that_is_no_text_is_refused(void **state)
{
    (void)state;
    struct bytes out = {0};

    assert_int_equal(
        redis_envelope_encode(&out, span_str("1"), span_str("\xff"), span_str("x")), -EILSEQ);
    assert_int_equal(out.len, 0);
    bytes_fini(&out);
}

static void running_out_of_memory_leaves_the_output_alone(void **state)
{
    (void)state;
    int r = -ENOMEM;

    for (int n = 0; r == -ENOMEM; n++) {
        struct bytes out = {0};
        mem_fail_after(n);
        r = redis_envelope_encode(&out, span_str("1"), span_str("c"), span_of("\xff\xfe", 2));
        mem_fail_after(-1);
        assert_true(r == 0 || (r == -ENOMEM && out.len == 0));
        bytes_fini(&out);
    }
    r = -ENOMEM;
    for (int n = 0; r == -ENOMEM; n++) {
        struct bytes out = {0};
        mem_fail_after(n);
        r = redis_envelope_decode(span_str("{\"data\":\"YWJj\",\"enc\":\"base64\"}"), &out);
        mem_fail_after(-1);
        assert_true(r == 0 || (r == -ENOMEM && out.len == 0));
        bytes_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_travels_as_a_string_in_the_contracts_order),
        cmocka_unit_test(bytes_that_are_no_text_travel_as_base64),
        cmocka_unit_test(every_byte_survives_the_round_trip),
        cmocka_unit_test(envelopes_of_other_writers_are_read),
        cmocka_unit_test(malformed_envelopes_are_refused_without_a_trace),
        cmocka_unit_test(a_name_that_is_no_text_is_refused),
        cmocka_unit_test(running_out_of_memory_leaves_the_output_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
