#include "proto/http1_response.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "tests/support/unit.h"

static struct http_response_reader *reader(bool no_body)
{
    struct http_response_reader *r = NULL;
    assert_int_equal(http_response_create(1024, 10, &r), 0);
    http_response_reset(r, no_body);
    return r;
}

/* Feeds text in pieces of `step` bytes and gathers the body, until the response is complete,
 * refused, or the text ends. */
static int feed(struct http_response_reader *r, const char *text, size_t step, struct bytes *body,
    size_t *ret_used)
{
    size_t len = strlen(text), at = 0;
    int got = 0;

    body->len = 0;
    while (got >= 0 && got != HTTP_RESPONSE_DONE) {
        size_t used;
        size_t size = step < len - at ? step : len - at;
        got = http_response_feed(r, (const uint8_t *)text + at, size, &used);
        at += used;
        if (got == HTTP_RESPONSE_BODY) {
            struct span piece = http_response_of(r)->body;
            assert_int_equal(bytes_append(body, piece.data, piece.len), 0);
        }
        if (got == HTTP_RESPONSE_MORE && at == len) {
            break;
        }
    }
    *ret_used = at;
    return got;
}

static void assert_response(
    const char *text, bool no_body, int status, const char *want_body, bool keep_alive, size_t rest)
{
    struct bytes body = {0};
    for (size_t step = 1; step <= strlen(text); step++) {
        struct http_response_reader *r = reader(no_body);
        size_t used;
        int got = feed(r, text, step, &body, &used);
        if (got == HTTP_RESPONSE_MORE) {
            got = http_response_finish(r);
        }
        assert_int_equal(got, HTTP_RESPONSE_DONE);
        assert_int_equal(used, strlen(text) - rest);
        assert_int_equal(http_response_of(r)->status, status);
        assert_true(http_response_of(r)->keep_alive == keep_alive);
        assert_true(span_equal(span_of(body.data, body.len), span_str(want_body)));
        assert_int_equal(http_response_feed(r, (const uint8_t *)"x", 1, &used), 1);
        assert_int_equal(used, 0);
        http_response_destroy(r);
    }
    bytes_fini(&body);
}

static void each_kind_of_body_ends_where_it_should(void **state)
{
    (void)state;
    assert_response(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhellorest", false, 200, "hello", true, 4);
    assert_response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                    "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\nrest",
        false, 200, "hello", true, 4);
    assert_response("HTTP/1.1 200 OK\r\n\r\nuntil the end", false, 200, "until the end", false, 0);
    assert_response("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\nrest", false, 200, "", true, 4);
    assert_response("HTTP/1.1 204 No Content\r\n\r\nrest", false, 204, "", true, 4);
    assert_response(
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\nrest", false, 304, "", true, 4);
    assert_response("HTTP/1.1 100 Continue\r\n\r\nrest", false, 100, "", true, 4);
    assert_response("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nrest", true, 200, "", true, 4);
    assert_response("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", false, 200, "ok", false, 0);
    assert_response("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", false,
        200, "ok", false, 0);
}

static void an_upgrade_leaves_what_follows_alone(void **state)
{
    (void)state;
    const char *text = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\n\r\n\x81\x02hi";
    struct http_response_reader *r = reader(false);
    struct bytes body = {0};
    size_t used;
    assert_int_equal(feed(r, text, 1000, &body, &used), HTTP_RESPONSE_DONE);
    assert_int_equal(used, strlen(text) - 4);
    assert_true(http_response_of(r)->upgrade);
    assert_true(
        span_equal(http_response_header(http_response_of(r), "upgrade"), span_str("websocket")));
    http_response_destroy(r);
}

static void a_violation_is_told_with_a_sentence(void **state)
{
    (void)state;
    const char *const bad[] = {"HTTP/2.0 200 OK\r\n\r\n", "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n", "HTTP/1.1 099 OK\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 200 OK\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        for (size_t step = 1; step < 1000; step += 998) {
            struct http_response_reader *r = reader(false);
            struct bytes body = {0};
            size_t used;
            assert_int_equal(feed(r, bad[i], step, &body, &used), -EBADMSG);
            assert_true(strlen(http_response_reason(r)) > 5);
            assert_int_equal(http_response_finish(r), -EBADMSG);
            http_response_destroy(r);
        }
    }
}

static void a_body_cut_off_is_an_error(void **state)
{
    (void)state;
    const char *const cut[] = {"", "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"};
    for (size_t i = 0; i < COUNT_OF(cut); i++) {
        struct http_response_reader *r = reader(false);
        struct bytes body = {0};
        size_t used;
        assert_int_equal(feed(r, cut[i], 1000, &body, &used), HTTP_RESPONSE_MORE);
        assert_int_equal(http_response_finish(r), -EBADMSG);
        bytes_fini(&body);
        http_response_destroy(r);
    }
}

static void heads_are_bounded(void **state)
{
    (void)state;
    char text[3000];
    struct http_response_reader *r = reader(false);
    struct bytes body = {0};
    size_t used;
    snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nA: %01024d\r\n\r\n", 0);
    assert_int_equal(feed(r, text, 1000, &body, &used), -EBADMSG);
    http_response_reset(r, false);
    assert_int_equal(feed(r,
                         "HTTP/1.1 200 OK\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n"
                         "A:\r\nA:\r\nA:\r\n\r\n",
                         1, &body, &used),
        -EBADMSG);
    http_response_destroy(r);
    assert_int_equal(http_response_create(0, 10, &r), -EINVAL);
    mem_fail_after(0);
    assert_int_equal(http_response_create(1024, 10, &r), -ENOMEM);
    mem_fail_after(1);
    assert_int_equal(http_response_create(1024, 10, &r), 0);
    assert_int_equal(feed(r, "HTTP/1.1 200 OK\r\n", 5, &body, &used), -ENOMEM);
    mem_fail_after(-1);
    http_response_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_of_body_ends_where_it_should),
        cmocka_unit_test(an_upgrade_leaves_what_follows_alone),
        cmocka_unit_test(a_violation_is_told_with_a_sentence),
        cmocka_unit_test(a_body_cut_off_is_an_error),
        cmocka_unit_test(heads_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
