#include "proto/http1.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "tests/support/unit.h"

#define HOST "Host: example.org\r\n"

static const struct http_limits small = {
    .head_bytes_max = 512, .header_count_max = 5, .target_bytes_max = 100, .body_bytes_max = 20};

static struct http_reader *reader(void)
{
    struct http_reader *r = NULL;
    assert_int_equal(http_reader_create(&small, &r), 0);
    return r;
}

static void assert_span(struct span got, const char *want)
{
    assert_int_equal(got.len, strlen(want));
    if (got.len > 0) {
        assert_memory_equal(got.data, want, got.len);
    }
}

/* Feeds text in pieces of `step` bytes until a request is complete or refused. Each piece is a
 * fresh buffer that is gone afterwards, but for the last. */
static int feed(
    struct http_reader *r, const char *text, size_t step, uint8_t **ret_last, size_t *ret_used)
{
    size_t len = strlen(text), at = 0;
    uint8_t *piece = NULL;
    int got = 0;

    while (at < len && got != HTTP_READER_REQUEST && got >= 0) {
        size_t size = step < len - at ? step : len - at;
        size_t done = 0;
        mem_free(piece);
        piece = mem_alloc(size);
        memcpy(piece, text + at, size);
        do {
            size_t used;
            got = http_reader_feed(r, piece + done, size - done, &used);
            done += used;
        } while (got == HTTP_READER_HEAD && done < size);
        at += done;
    }
    *ret_last = piece;
    *ret_used = at;
    return got;
}

/* Refused with this status, whole or byte by byte. */
static void assert_refused(const char *text, int status)
{
    const size_t steps[] = {1000000, 1, 7};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct http_reader *r = reader();
        uint8_t *last;
        size_t used;
        int got = feed(r, text, steps[i], &last, &used);
        if (got != -EBADMSG || http_reader_status(r) != status) {
            fail_msg("%s: %d %d %s", text, got, http_reader_status(r), http_reader_reason(r));
        }
        assert_true(strlen(http_reader_reason(r)) > 5);
        assert_int_equal(http_reader_feed(r, last, 1, &used), -EBADMSG);
        mem_free(last);
        http_reader_destroy(r);
    }
}

static void a_request_reads_the_same_however_it_is_cut(void **state)
{
    (void)state;
    const char *text = "POST /p%20q?a=b&c HTTP/1.1\r\n" HOST
                       "X-One: 1 \r\nx-one:\t2\r\nContent-Length: 11\r\n\r\nhello worldGET";
    for (size_t step = 1; step <= strlen(text); step++) {
        struct http_reader *r = reader();
        uint8_t *last;
        size_t used;
        assert_false(http_reader_busy(r));
        assert_int_equal(feed(r, text, step, &last, &used), HTTP_READER_REQUEST);
        assert_int_equal(used, strlen(text) - 3);
        const struct http_request *req = http_reader_request(r);
        assert_int_equal(req->method, HTTP_METHOD_POST);
        assert_span(req->method_name, "POST");
        assert_span(req->target, "/p%20q?a=b&c");
        assert_span(req->path, "/p%20q");
        assert_span(req->query, "a=b&c");
        assert_span(req->host, "example.org");
        assert_int_equal(req->minor, 1);
        assert_int_equal(req->header_count, 4);
        assert_span(req->headers[1].name, "X-One");
        assert_span(req->headers[1].value, "1");
        assert_span(req->headers[2].value, "2");
        assert_span(http_request_header(req, "x-ONE"), "1");
        assert_null(http_request_header(req, "X-On").data);
        assert_int_equal(http_header_occurs(req->headers, req->header_count, "X-One"), 2);
        assert_span(req->body, "hello world");
        assert_true(req->keep_alive);
        assert_false(req->upgrade || req->chunked || req->expect_continue);
        mem_free(last);
        http_reader_destroy(r);
    }
}

static void a_request_in_one_buffer_is_not_copied(void **state)
{
    (void)state;
    const char *text = "PUT / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello";
    struct http_reader *r = reader();
    size_t used;
    mem_fail_after(0);
    assert_int_equal(http_reader_feed(r, (const uint8_t *)text, strlen(text), &used), 1);
    mem_fail_after(-1);
    assert_ptr_equal(http_reader_request(r)->method_name.data, text);
    assert_ptr_equal(http_reader_request(r)->body.data, text + used - 5);
    http_reader_destroy(r);
}

static void pipelined_requests_come_one_by_one(void **state)
{
    (void)state;
    const char *text = "GET /1 HTTP/1.1\r\n" HOST "\r\n\r\nGET /2 HTTP/1.1\r\n" HOST "\r\n";
    struct http_reader *r = reader();
    size_t first, second;
    assert_int_equal(http_reader_feed(r, (const uint8_t *)text, strlen(text), &first), 1);
    assert_span(http_reader_request(r)->path, "/1");
    http_reader_reset(r);
    /* An empty line between requests is tolerated (RFC 9112, 2.2). */
    assert_int_equal(
        http_reader_feed(r, (const uint8_t *)text + first, strlen(text) - first, &second), 1);
    assert_span(http_reader_request(r)->path, "/2");
    assert_int_equal(first + second, strlen(text));
    http_reader_destroy(r);
}

static void the_head_is_told_before_a_body_that_is_still_to_come(void **state)
{
    (void)state;
    const char *head =
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nExpect: 100-Continue\r\n\r\n";
    struct http_reader *r = reader();
    size_t used;
    assert_int_equal(http_reader_feed(r, (const uint8_t *)head, strlen(head), &used), 2);
    assert_int_equal(used, strlen(head));
    assert_true(http_reader_request(r)->expect_continue);
    assert_int_equal(http_reader_request(r)->content_length, 5);
    assert_true(http_reader_busy(r));
    assert_int_equal(http_reader_feed(r, (const uint8_t *)"hel", 3, &used), 0);
    assert_int_equal(http_reader_feed(r, (const uint8_t *)"lo!", 3, &used), 1);
    assert_int_equal(used, 2);
    assert_span(http_reader_request(r)->body, "hello");
    assert_span(http_reader_request(r)->host, "example.org");
    http_reader_reset(r);
    assert_false(http_reader_busy(r));
    http_reader_destroy(r);
}

static void a_chunked_body_is_joined(void **state)
{
    (void)state;
    const char *text = "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n"
                       "5\r\nhello\r\n1\r\n!\r\n0\r\nT: v\r\n\r\nrest";
    for (size_t step = 1; step <= strlen(text); step++) {
        struct http_reader *r = reader();
        uint8_t *last;
        size_t used;
        assert_int_equal(feed(r, text, step, &last, &used), HTTP_READER_REQUEST);
        assert_int_equal(used, strlen(text) - 4);
        assert_true(http_reader_request(r)->chunked);
        assert_span(http_reader_request(r)->body, "hello!");
        mem_free(last);
        http_reader_destroy(r);
    }
}

static void bytes_behind_an_upgrade_are_untouched(void **state)
{
    (void)state;
    const char *text = "GET /ws HTTP/1.1\r\n" HOST
                       "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x80xxxx";
    for (size_t step = 1; step <= strlen(text); step++) {
        struct http_reader *r = reader();
        uint8_t *last;
        size_t used;
        assert_int_equal(feed(r, text, step, &last, &used), HTTP_READER_REQUEST);
        assert_int_equal(used, strlen(text) - 6);
        const struct http_request *req = http_reader_request(r);
        assert_true(req->upgrade && req->keep_alive);
        assert_true(http_request_has_token(req, "connection", "upgrade"));
        assert_false(http_request_has_token(req, "connection", "keep"));
        mem_free(last);
        http_reader_destroy(r);
    }
}

static void what_a_proxy_could_read_differently_is_refused(void **state)
{
    (void)state;
    const char *const bad[] = {
        "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1, 1\r\n",
        "Content-Length: +1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1a\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\t\r\n",
        "A: b\r\n c\r\n",
        " A: b\r\n",
        "A: b\n",
        "A: b\rC: d\r\n",
        "A : b\r\n",
        "A\r\n",
        ": b\r\n",
        "A: \x01\r\n",
        "A: \x7f\r\n",
        "A(: b\r\n",
        "Host: again.example\r\n",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char text[300];
        snprintf(text, sizeof text, "POST / HTTP/1.1\r\n" HOST "%s\r\n", bad[i]);
        assert_refused(text, 400);
    }
}

static void a_malformed_start_line_is_refused(void **state)
{
    (void)state;
    assert_refused("GET /\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1 \r\n" HOST "\r\n", 400);
    assert_refused("GET  / HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("GET /a b HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("GET /\xc3\xbc HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("GET a HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("GET * HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("G(T / HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("\x16\x03\x01\x02", 400); /* A TLS hello, at its first byte. */
    assert_refused("GET / RTSP/1.0\r\n" HOST "\r\n", 400);
    assert_refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
    assert_refused("GET / HTTP/1.2\r\n" HOST "\r\n", 505);
    assert_refused("GET / HTTP/0.9\r\n" HOST "\r\n", 505);
    assert_refused("FROB / HTTP/1.1\r\n" HOST "\r\n", 501);
    assert_refused("CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 501);
}

static void other_violations_have_their_own_status(void **state)
{
    (void)state;
    char text[1000];
    assert_refused("GET / HTTP/1.1\r\nA: b\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    assert_refused("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400);
    assert_refused("GET http:///x HTTP/1.1\r\n" HOST "\r\n", 400);
    assert_refused("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    assert_refused("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    assert_refused("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 501);
    assert_refused("POST / HTTP/1.1\r\n" HOST "Content-Length: 21\r\n\r\n", 413);
    assert_refused("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                   "a\r\n0123456789\r\nb\r\n0123456789x\r\n",
        413);
    assert_refused("POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400);
    assert_refused(
        "POST / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nExpect: a-miracle\r\n\r\n", 417);
    snprintf(text, sizeof text, "GET /%0100d HTTP/1.1\r\n" HOST "\r\n", 0);
    assert_refused(text, 414);
    snprintf(text, sizeof text, "GET /%0500d", 0); /* No end in sight. */
    assert_refused(text, 414);
    snprintf(text, sizeof text, "GET / HTTP/1.1\r\n" HOST "A: %0500d\r\n\r\n", 0);
    assert_refused(text, 431);
    assert_refused("GET / HTTP/1.1\r\n" HOST "A: 1\r\nA: 2\r\nA: 3\r\nA: 4\r\nA: 5\r\n\r\n", 431);
}

static void limits_are_exact(void **state)
{
    (void)state;
    char text[1000];
    const size_t steps[] = {1000000, 1};
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct http_reader *r = reader();
        uint8_t *last;
        size_t used;
        /* 99 digits and a slash make the longest target, five fields the most; 512 bytes in all. */
        snprintf(
            text, sizeof text, "GET /%099d HTTP/1.1\r\n" HOST "A: 1\r\nA: 2\r\nA: 3\r\nA: ", 0);
        while (strlen(text) < 512 - 4) {
            strcat(text, "x");
        }
        strcat(text, "\r\n\r\n");
        assert_int_equal(feed(r, text, steps[i], &last, &used), HTTP_READER_REQUEST);
        assert_int_equal(used, 512);
        mem_free(last);
        http_reader_destroy(r);
    }
}

static void an_absolute_target_gives_its_own_host_and_path(void **state)
{
    (void)state;
    const char *const texts[] = {"GET HTTP://a.example:80/x?y HTTP/1.1\r\n" HOST "\r\n",
        "GET http://a.example?y HTTP/1.1\r\n" HOST "\r\n", "OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n"};
    const char *const want[][3] = {
        {"a.example:80", "/x", "y"}, {"a.example", "/", "y"}, {"", "*", ""}};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        struct http_reader *r = reader();
        size_t used;
        assert_int_equal(
            http_reader_feed(r, (const uint8_t *)texts[i], strlen(texts[i]), &used), 1);
        assert_span(http_reader_request(r)->host, want[i][0]);
        assert_span(http_reader_request(r)->path, want[i][1]);
        assert_span(http_reader_request(r)->query, want[i][2]);
        http_reader_destroy(r);
    }
}

static void keep_alive_follows_version_and_connection(void **state)
{
    (void)state;
    const struct {
        const char *head;
        bool keep;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST, true},
        {"GET / HTTP/1.1\r\n" HOST "Connection: Close\r\n", false},
        {"GET / HTTP/1.1\r\n" HOST "Connection: a\r\nConnection: b , close\r\n", false},
        {"GET / HTTP/1.0\r\n", false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", true},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n", false},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char text[200];
        struct http_reader *r = reader();
        size_t used;
        snprintf(text, sizeof text, "%s\r\n", cases[i].head);
        assert_int_equal(http_reader_feed(r, (const uint8_t *)text, strlen(text), &used), 1);
        assert_true(http_reader_request(r)->keep_alive == cases[i].keep);
        http_reader_destroy(r);
    }
}

static void lists_are_walked_around_blanks_and_quotes(void **state)
{
    (void)state;
    struct span cursor = span_str(" , a,\tb c ,\"d,\\\"e\" ,,f"), element;
    const char *const want[] = {"a", "b c", "\"d,\\\"e\"", "f"};
    for (size_t i = 0; i < COUNT_OF(want); i++) {
        assert_true(http_list_next(&cursor, &element));
        assert_span(element, want[i]);
    }
    assert_false(http_list_next(&cursor, &element));
}

static void without_memory_a_request_is_refused_with_503(void **state)
{
    (void)state;
    const char *text = "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                       "5\r\nhello\r\n0\r\n\r\n";
    for (int64_t n = 0;; n++) {
        struct http_reader *r = reader();
        size_t at = 0, used;
        int got = 0;
        mem_fail_after(n);
        while (at < strlen(text) && got >= 0 && got != HTTP_READER_REQUEST) {
            got = http_reader_feed(r, (const uint8_t *)text + at, 1, &used);
            at += used;
        }
        mem_fail_after(-1);
        if (got < 0) {
            assert_int_equal(got, -ENOMEM);
            assert_int_equal(http_reader_status(r), 503);
        }
        http_reader_destroy(r);
        if (got == HTTP_READER_REQUEST) {
            assert_true(n >= 2);
            break;
        }
    }
    mem_fail_after(0);
    struct http_reader *none = NULL;
    assert_int_equal(http_reader_create(&small, &none), -ENOMEM);
    mem_fail_after(-1);
    assert_null(none);
    http_reader_destroy(NULL);
}

static void a_limit_of_nothing_is_no_limit_to_create_with(void **state)
{
    (void)state;
    struct http_limits limits = http_limits_default();
    struct http_reader *r = NULL;
    limits.head_bytes_max = 0;
    assert_int_equal(http_reader_create(&limits, &r), -EINVAL);
    limits = http_limits_default();
    limits.header_count_max = UINT32_MAX;
    assert_int_equal(http_reader_create(&limits, &r), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_reads_the_same_however_it_is_cut),
        cmocka_unit_test(a_request_in_one_buffer_is_not_copied),
        cmocka_unit_test(pipelined_requests_come_one_by_one),
        cmocka_unit_test(the_head_is_told_before_a_body_that_is_still_to_come),
        cmocka_unit_test(a_chunked_body_is_joined),
        cmocka_unit_test(bytes_behind_an_upgrade_are_untouched),
        cmocka_unit_test(what_a_proxy_could_read_differently_is_refused),
        cmocka_unit_test(a_malformed_start_line_is_refused),
        cmocka_unit_test(other_violations_have_their_own_status),
        cmocka_unit_test(limits_are_exact),
        cmocka_unit_test(an_absolute_target_gives_its_own_host_and_path),
        cmocka_unit_test(keep_alive_follows_version_and_connection),
        cmocka_unit_test(lists_are_walked_around_blanks_and_quotes),
        cmocka_unit_test(without_memory_a_request_is_refused_with_503),
        cmocka_unit_test(a_limit_of_nothing_is_no_limit_to_create_with),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
