#include "proto/http1_write.h"

#include <errno.h>

#include "base/mem.h"
#include "tests/support/unit.h"

static void assert_bytes(const struct bytes *got, const char *want)
{
    assert_int_equal(got->len, strlen(want));
    assert_memory_equal(got->data, want, got->len);
}

static void a_reply_has_status_line_fields_and_length(void **state)
{
    (void)state;
    const struct http_header headers[] = {
        http_header_of("Content-Type", "text/plain"), http_header_of("X-Empty", "")};
    struct bytes out = {0};
    assert_int_equal(http_reply_head(&out, 404, headers, 2, 12), 0);
    assert_bytes(&out, "HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nX-Empty: \r\n"
                       "Content-Length: 12\r\n\r\n");
    out.len = 0;
    assert_int_equal(http_reply_head(&out, 299, NULL, 0, HTTP_NO_LENGTH), 0);
    assert_bytes(&out, "HTTP/1.1 299 Unknown\r\n\r\n");
    bytes_fini(&out);
}

static void a_request_is_written_alike(void **state)
{
    (void)state;
    const struct http_header host = http_header_of("Host", "a");
    struct bytes out = {0};
    assert_int_equal(http_request_head(&out, "POST", span_str("/a?b"), &host, 1, 0), 0);
    assert_bytes(&out, "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    bytes_fini(&out);
}

static void nothing_can_break_out_of_its_line(void **state)
{
    (void)state;
    const struct http_header bad[] = {
        http_header_of("A", "b\r\nSet-Cookie: x"),
        http_header_of("A", "b\n"),
        http_header_of("A", "b\r"),
        {.name = span_str("A"), .value = span_of("a\0b", 3)},
        http_header_of("A\r\nB", "c"),
        http_header_of("A:", "c"),
        http_header_of("A B", "c"),
        http_header_of("", "c"),
    };
    struct bytes out = {0};
    assert_int_equal(bytes_append_str(&out, "before"), 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(http_reply_head(&out, 200, &bad[i], 1, 0), -EINVAL);
        assert_int_equal(http_request_head(&out, "GET", span_str("/"), &bad[i], 1, 0), -EINVAL);
    }
    const char *const targets[] = {"", "/a b", "/a\r\n", "/\xc3\xbc"};
    for (size_t i = 0; i < COUNT_OF(targets); i++) {
        assert_int_equal(http_request_head(&out, "GET", span_str(targets[i]), NULL, 0, 0), -EINVAL);
    }
    assert_int_equal(http_request_head(&out, "G T", span_str("/"), NULL, 0, 0), -EINVAL);
    assert_int_equal(http_reply_head(&out, 99, NULL, 0, 0), -EINVAL);
    assert_int_equal(http_reply_head(&out, 600, NULL, 0, 0), -EINVAL);
    assert_bytes(&out, "before");
    bytes_fini(&out);
}

static void without_memory_out_keeps_its_content(void **state)
{
    (void)state;
    char value[300];
    memset(value, 'v', sizeof value);
    const struct http_header header = {
        .name = span_str("A"), .value = span_of(value, sizeof value)};
    int err = -ENOMEM;
    for (int64_t n = 0; err; n++) {
        struct bytes out = {0};
        assert_int_equal(bytes_append_str(&out, "before"), 0);
        mem_fail_after(n);
        err = http_reply_head(&out, 200, &header, 1, 5);
        mem_fail_after(-1);
        assert_true(err == 0 || (err == -ENOMEM && out.len == 6));
        bytes_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_has_status_line_fields_and_length),
        cmocka_unit_test(a_request_is_written_alike),
        cmocka_unit_test(nothing_can_break_out_of_its_line),
        cmocka_unit_test(without_memory_out_keeps_its_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
