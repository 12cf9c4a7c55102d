#include "proto/url.h"

#include <errno.h>

#include "base/mem.h"
#include "tests/support/unit.h"

static void assert_span(struct span got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    if (got.len > 0) {
        assert_memory_equal(got.data, want, got.len);
    }
}

static void a_target_splits_at_its_first_question_mark(void **state)
{
    (void)state;
    struct span path, query;
    url_split(span_str("/ws?a=b?c"), &path, &query);
    assert_span(path, "/ws");
    assert_span(query, "a=b?c");
    url_split(span_str("/ws"), &path, &query);
    assert_span(path, "/ws");
    assert_int_equal(query.len, 0);
    url_split(span_str("?"), &path, &query);
    assert_int_equal(path.len + query.len, 0);
}

static void parameters_come_raw_and_in_order(void **state)
{
    (void)state;
    struct span cursor = span_str("&a=1&&b&c==x%26&=v&"), name, value;
    const char *const want[][2] = {{"a", "1"}, {"b", ""}, {"c", "=x%26"}, {"", "v"}};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_true(url_query_next(&cursor, &name, &value));
        assert_span(name, want[i][0]);
        assert_span(value, want[i][1]);
    }
    assert_false(url_query_next(&cursor, &name, &value));
    assert_false(url_query_next(&cursor, &name, &value));
}

static void a_path_walks_by_segments_and_keeps_encoded_slashes(void **state)
{
    (void)state;
    struct span cursor = span_str("/api/user%3Aa%2Fb//"), segment;
    const char *const want[] = {"api", "user%3Aa%2Fb", "", ""};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_true(url_path_next(&cursor, &segment));
        assert_span(segment, want[i]);
    }
    assert_false(url_path_next(&cursor, &segment));
    cursor = span_str("*");
    assert_false(url_path_next(&cursor, &segment));
}

static void plus_is_a_space_in_a_query_only(void **state)
{
    (void)state;
    struct bytes out = {0};
    assert_int_equal(url_decode_query(&out, span_str("a+b%2Bc%00%c3%BC")), 0);
    assert_int_equal(out.len, 8);
    assert_memory_equal(out.data, "a b+c\0\xc3\xbc", 8);
    out.len = 0;
    assert_int_equal(url_decode_path(&out, span_str("a+b")), 0);
    assert_span(span_of(out.data, out.len), "a+b");
    bytes_fini(&out);
}

static void a_bad_escape_is_an_error_and_leaves_no_trace(void **state)
{
    (void)state;
    const char *const bad[] = {"%", "a%", "%4", "%zz", "%4g", "%g4", "ok%20%"};
    struct bytes out = {0};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(url_decode_query(&out, span_str(bad[i])), -EBADMSG);
        assert_int_equal(out.len, 0);
    }
    bytes_fini(&out);
}

static void every_byte_survives_encoding(void **state)
{
    (void)state;
    uint8_t all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    struct bytes out = {0}, back = {0};
    assert_int_equal(url_encode(&out, span_of(all, 256)), 0);
    assert_int_equal(url_decode_query(&back, span_of(out.data, out.len)), 0);
    assert_true(span_equal(span_of(back.data, back.len), span_of(all, 256)));
    out.len = 0;
    assert_int_equal(url_encode(&out, span_str("aZ0-._~ :/")), 0);
    assert_span(span_of(out.data, out.len), "aZ0-._~%20%3A%2F");
    bytes_fini(&out);
    bytes_fini(&back);
    mem_fail_after(0);
    assert_int_equal(url_encode(&out, span_str("a")), -ENOMEM);
    assert_int_equal(url_decode_path(&out, span_str("a")), -ENOMEM);
    mem_fail_after(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_target_splits_at_its_first_question_mark),
        cmocka_unit_test(parameters_come_raw_and_in_order),
        cmocka_unit_test(a_path_walks_by_segments_and_keeps_encoded_slashes),
        cmocka_unit_test(plus_is_a_space_in_a_query_only),
        cmocka_unit_test(a_bad_escape_is_an_error_and_leaves_no_trace),
        cmocka_unit_test(every_byte_survives_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
