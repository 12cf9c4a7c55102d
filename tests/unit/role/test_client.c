/* The pure parts of the client layer: URLs, backoff, Redis commands, close reasons, errors. */
#include <errno.h>
#include <string.h>

#include "role/client_backoff.h"
#include "role/client_http.h"
#include "role/client_redis.h"
#include "role/client_url.h"
#include "role/client_ws.h"
#include "tests/support/unit.h"

static struct client_url url;
static char err[CLIENT_URL_ERR_MAX];

static void urls_are_taken_apart(void **state)
{
    assert_int_equal(client_url_parse("http://localhost:8084/a?b=c", CLIENT_HTTP, &url, err), 0);
    assert_string_equal(url.address, "localhost:8084");
    assert_string_equal(url.host_header, "localhost:8084");
    assert_string_equal(url.target, "/a?b=c");
    assert_false(url.tls);

    assert_int_equal(client_url_parse("WSS://Example.com", CLIENT_WS, &url, err), 0);
    assert_string_equal(url.address, "Example.com:443");
    assert_string_equal(url.host_header, "Example.com");
    assert_string_equal(url.target, "");
    assert_true(url.tls);

    assert_int_equal(client_url_parse("ws://[::1]:9000/x", CLIENT_WS, &url, err), 0);
    assert_string_equal(url.address, "[::1]:9000");
    assert_string_equal(url.host, "::1");

    assert_int_equal(
        client_url_parse("redis://us%40er:p%3Aa%2Fss@r:1/0", CLIENT_REDIS, &url, err), 0);
    assert_string_equal(url.user, "us@er");
    assert_string_equal(url.password, "p:a/ss");
    assert_string_equal(url.address, "r:1");
    assert_int_equal(client_url_parse("redis://:secret@r", CLIENT_REDIS, &url, err), 0);
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "secret");
    assert_int_equal(url.port, 6379);
}

static void http_and_ws_stand_for_each_other(void **state)
{
    assert_int_equal(client_url_parse("https://a/", CLIENT_WS, &url, err), 0);
    assert_int_equal(url.scheme, CLIENT_WS);
    assert_true(url.tls);
    assert_int_equal(client_url_parse("ws://a/", CLIENT_HTTP, &url, err), 0);
    assert_int_equal(url.scheme, CLIENT_HTTP);
    assert_true(client_url_parse("redis://a/", CLIENT_HTTP, &url, err) < 0);
}

static void bad_urls_are_refused(void **state)
{
    static const char *const bad[] = {"", "localhost:8084", "http://", "http://:80", "http://a:0",
        "http://a:65536", "http://a:", "http://a:8x", "ftp://a", "http://[::1", "http://%zz@a"};

    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        err[0] = 0;
        assert_true(client_url_parse(bad[i], CLIENT_HTTP, &url, err) < 0);
        assert_true(err[0] != 0);
    }
}

static void parameters_are_encoded(void **state)
{
    struct bytes target = {0};

    assert_int_equal(client_url_join(&target, "/base/?x=y", "/ws"), 0);
    assert_int_equal(client_url_add_param(&target, "username", "bob@example.com", 15), 0);
    assert_int_equal(client_url_add_param(&target, "since", "a&b", 3), 0);
    assert_int_equal(bytes_append_byte(&target, 0), 0);
    assert_string_equal(
        (const char *)target.data, "/base/ws?username=bob%40example.com&since=a%26b");
    bytes_fini(&target);
}

static void waits_are_spread_and_bounded(void **state)
{
    struct client_backoff b;
    uint64_t largest = 0;

    client_backoff_init(&b, 250, 15000, 1);
    for (uint32_t i = 0; i < 100; i++) {
        uint64_t most = i < 6 ? 250u << i : 15000, wait = client_backoff_next(&b, 0);
        assert_true(wait <= (most < 15000 ? most : 15000));
        largest = wait > largest ? wait : largest;
    }
    assert_true(largest > 10000);
    client_backoff_reset(&b);
    assert_true(client_backoff_next(&b, 0) <= 250);
    for (int i = 0; i < 100; i++) {
        uint64_t wait = client_backoff_next(&b, 2000);
        assert_true(wait >= 2000 && wait <= 3000);
    }
}

static void a_close_reason_may_name_the_wait(void **state)
{
    assert_int_equal(client_ws_retry_hint(span_str("retry_ms=1500")), 1500);
    assert_int_equal(client_ws_retry_hint(span_str("restarting; retry_ms=7;")), 7);
    assert_int_equal(client_ws_retry_hint(span_str("retry_ms=")), 0);
    assert_int_equal(client_ws_retry_hint(span_str("retry_ms=99999999999999999999")), 0);
    assert_int_equal(client_ws_retry_hint(span_str("")), 0);
}

static void publish_is_encoded_as_bytes(void **state)
{
    struct bytes out = {0};
    const char payload[] = "a\0b\r\n";

    assert_int_equal(
        client_redis_encode(&out, false, span_str("workflow:events:u"), span_of(payload, 5)), 0);
    static const char expected[] =
        "*3\r\n$7\r\nPUBLISH\r\n$17\r\nworkflow:events:u\r\n$5\r\na\0b\r\n\r\n";
    assert_int_equal(out.len, sizeof expected - 1);
    assert_memory_equal(out.data, expected, out.len);
    bytes_fini(&out);
}

static void room_messages_travel_in_an_envelope(void **state)
{
    struct bytes out = {0};

    assert_int_equal(
        client_room_envelope(&out, span_str("lobby"), span_str(""), span_str("say \"hi\"\n")), 0);
    assert_int_equal(bytes_append_byte(&out, 0), 0);
    assert_string_equal((const char *)out.data,
        "{\"room\":\"lobby\",\"from\":\"\",\"data\":\"say \\\"hi\\\"\\n\"}");
    out.len = 0;
    assert_int_equal(
        client_room_envelope(&out, span_str("r"), span_str("f"), span_of("\xff\xfe", 2)), 0);
    assert_int_equal(bytes_append_byte(&out, 0), 0);
    assert_string_equal((const char *)out.data,
        "{\"room\":\"r\",\"from\":\"f\",\"data\":\"//4=\",\"enc\":\"base64\"}");
    out.len = 0;
    assert_int_equal(
        client_room_envelope(&out, span_of("\xff", 1), span_str(""), span_str("x")), -EILSEQ);
    assert_int_equal(out.len, 0);
    bytes_fini(&out);
}

static void errors_become_one_safe_line(void **state)
{
    char text[200];
    const char *json = "{\"error\":{\"code\":\"bad_channel\",\"message\":\"channel: 300 bytes\"}}";

    client_error_sentence(400, span_str(json), text, sizeof text);
    assert_string_equal(text, "channel: 300 bytes (400)");
    client_error_sentence(404, span_str("<html>nope</html>"), text, sizeof text);
    assert_string_equal(text, "404 Not Found");
    client_error_sentence(503, span_str("redis\tdown\r\n"), text, sizeof text);
    assert_string_equal(text, "redis down (503)");
    client_error_sentence(
        400, span_str("{\"error\":{\"message\":\"\\u001b[31m\"}}"), text, sizeof text);
    assert_string_equal(text, " [31m (400)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(urls_are_taken_apart),
        cmocka_unit_test(http_and_ws_stand_for_each_other),
        cmocka_unit_test(bad_urls_are_refused),
        cmocka_unit_test(parameters_are_encoded),
        cmocka_unit_test(waits_are_spread_and_bounded),
        cmocka_unit_test(a_close_reason_may_name_the_wait),
        cmocka_unit_test(publish_is_encoded_as_bytes),
        cmocka_unit_test(room_messages_travel_in_an_envelope),
        cmocka_unit_test(errors_become_one_safe_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
