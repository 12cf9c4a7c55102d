#include "proto/ws_handshake.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "proto/http1_write.h"
#include "tests/support/unit.h"

#define GOOD                                                                                       \
    "Host: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"        \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

static const char *const protocols[] = {"fanout.v1", "old"};
static const struct ws_server_options options = {
    .protocols = protocols, .protocol_count = 2, .deflate_window_bits = 12};

struct handshake {
    struct http_reader *reader;
    char text[1000];
    struct ws_upgrade upgrade;
};

/* Judges a request; its text and reader stay in h until done(). */
static int judge(struct handshake *h, const char *line, const char *fields)
{
    struct http_limits limits = http_limits_default();
    const char *reason = NULL;
    size_t used;
    int got;

    assert_int_equal(http_reader_create(&limits, &h->reader), 0);
    snprintf(h->text, sizeof h->text, "%s\r\n%s\r\n", line, fields);
    got = http_reader_feed(h->reader, (const uint8_t *)h->text, strlen(h->text), &used);
    assert_true(got > 0);
    int status = ws_upgrade_read(http_reader_request(h->reader), &options, &h->upgrade, &reason);
    assert_true(status == 0 || strlen(reason) > 5);
    return status;
}

static void done(struct handshake *h)
{
    http_reader_destroy(h->reader);
}

static void assert_status(const char *line, const char *fields, int status)
{
    struct handshake h;
    assert_int_equal(judge(&h, line, fields), status);
    done(&h);
}

static void the_example_of_the_rfc_is_accepted(void **state)
{
    (void)state;
    struct handshake h;
    struct bytes out = {0};
    const struct http_header more = http_header_of("Fanout-State", "live");
    assert_int_equal(judge(&h, "GET /ws HTTP/1.1", GOOD), 0);
    assert_memory_equal(h.upgrade.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_CHARS);
    assert_null(h.upgrade.protocol);
    assert_null(h.upgrade.token.data);
    assert_false(h.upgrade.deflate.agreed);
    assert_int_equal(ws_upgrade_reply(&out, &h.upgrade, &more, 1), 0);
    const char *want = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                       "Connection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
                       "Fanout-State: live\r\n\r\n";
    assert_true(span_equal(span_of(out.data, out.len), span_str(want)));
    bytes_fini(&out);
    done(&h);
}

static void each_missing_part_has_its_status(void **state)
{
    (void)state;
    assert_status("POST /ws HTTP/1.1", GOOD, 405);
    assert_status("GET /ws HTTP/1.0", GOOD, 400);
    assert_status("GET /ws HTTP/1.1", "Host: a\r\n", 426);
    assert_status("GET /ws HTTP/1.1", "Host: a\r\nUpgrade: websocket\r\n", 426);
    assert_status("GET /ws HTTP/1.1", "Host: a\r\nUpgrade: h2c\r\nConnection: upgrade\r\n", 426);
    assert_status("GET /ws HTTP/1.1", GOOD "Content-Length: 5\r\n", 400);
    assert_status("GET /ws HTTP/1.1", GOOD "Sec-WebSocket-Version: 13\r\n", 400);
    assert_status("GET /ws HTTP/1.1", GOOD "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 400);
}

static void version_and_key_are_checked_to_the_letter(void **state)
{
    (void)state;
    char fields[300];
    const char *const versions[] = {"12", "013", "13, 8", ""};
    const char *const keys[] = {"", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZR==",
        "dGhlIHNhbXBsZSBub25jZQA=", "dGhlIHNhbXBsZSBub25j ZQ=", "dGhlIHNhbXBsZSBub25jZ-=="};
    const char *head = "Host: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n";
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        snprintf(fields, sizeof fields,
            "%sSec-WebSocket-Version: %s\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", head,
            versions[i]);
        assert_status("GET / HTTP/1.1", fields, 426);
    }
    for (size_t i = 0; i < COUNT_OF(keys); i++) {
        snprintf(fields, sizeof fields, "%sSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n",
            head, keys[i]);
        assert_status("GET / HTTP/1.1", fields, 400);
    }
}

static void our_preference_decides_and_a_token_is_never_echoed(void **state)
{
    (void)state;
    struct handshake h;
    struct bytes out = {0};
    assert_int_equal(judge(&h, "GET /ws HTTP/1.1",
                         GOOD "Sec-WebSocket-Protocol: x, old\r\n"
                              "Sec-WebSocket-Protocol: fanout.token.abc.def, fanout.v1\r\n"),
        0);
    assert_string_equal(h.upgrade.protocol, "fanout.v1");
    assert_true(span_equal(h.upgrade.token, span_str("abc.def")));
    assert_int_equal(ws_upgrade_reply(&out, &h.upgrade, NULL, 0), 0);
    assert_non_null(memmem(out.data, out.len, "Sec-WebSocket-Protocol: fanout.v1\r\n", 35));
    assert_null(memmem(out.data, out.len, "abc", 3));
    bytes_fini(&out);
    done(&h);
    assert_int_equal(
        judge(&h, "GET /ws HTTP/1.1", GOOD "Sec-WebSocket-Protocol: Fanout.V1, fanout.token.\r\n"),
        0);
    assert_null(h.upgrade.protocol);
    assert_null(h.upgrade.token.data);
    done(&h);
}

static void client_and_server_understand_each_other(void **state)
{
    (void)state;
    const uint8_t nonce[WS_NONCE_BYTES] = {1, 2, 3, 250};
    for (int with = 0; with < 2; with++) {
        struct bytes ask = {0}, answer = {0};
        const struct http_header more = http_header_of("Authorization", "Bearer x");
        assert_int_equal(ws_connect_request(&ask, span_str("/ws?a=b"), "a:80", nonce,
                             with ? "fanout.v1" : NULL, with, &more, 1),
            0);
        struct http_limits limits = http_limits_default();
        struct http_reader *r;
        size_t used;
        assert_int_equal(http_reader_create(&limits, &r), 0);
        assert_int_equal(http_reader_feed(r, ask.data, ask.len, &used), HTTP_READER_REQUEST);
        struct ws_upgrade upgrade;
        const char *reason;
        assert_int_equal(ws_upgrade_read(http_reader_request(r), &options, &upgrade, &reason), 0);
        assert_true(upgrade.deflate.agreed == with);
        assert_int_equal(ws_upgrade_reply(&answer, &upgrade, NULL, 0), 0);

        struct http_response_reader *rr;
        assert_int_equal(http_response_create(4096, 20, &rr), 0);
        assert_int_equal(
            http_response_feed(rr, answer.data, answer.len, &used), HTTP_RESPONSE_HEAD);
        bool deflate = !with;
        const struct http_response *resp = http_response_of(rr);
        assert_int_equal(ws_connect_check(resp, nonce, with, &deflate, &reason), 0);
        assert_true(deflate == with);
        uint8_t other[WS_NONCE_BYTES] = {0};
        assert_int_equal(ws_connect_check(resp, other, with, &deflate, &reason), -EBADMSG);
        if (with) {
            assert_int_equal(ws_connect_check(resp, nonce, false, &deflate, &reason), -EBADMSG);
        }
        http_response_destroy(rr);
        http_reader_destroy(r);
        bytes_fini(&ask);
        bytes_fini(&answer);
    }
}

static void without_memory_nothing_is_written(void **state)
{
    (void)state;
    const uint8_t nonce[WS_NONCE_BYTES] = {0};
    struct ws_upgrade upgrade = {.deflate = {.agreed = true}};
    memset(upgrade.accept, 'a', sizeof upgrade.accept);
    int asked = -ENOMEM, answered = -ENOMEM;
    for (int64_t n = 0; asked || answered; n++) {
        struct bytes ask = {0}, answer = {0};
        mem_fail_after(n);
        asked = ws_connect_request(&ask, span_str("/"), "a", nonce, "p", true, NULL, 0);
        mem_fail_after(n);
        answered = ws_upgrade_reply(&answer, &upgrade, NULL, 0);
        mem_fail_after(-1);
        assert_true(asked == 0 || (asked == -ENOMEM && ask.len == 0));
        assert_true(answered == 0 || (answered == -ENOMEM && answer.len == 0));
        bytes_fini(&ask);
        bytes_fini(&answer);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_of_the_rfc_is_accepted),
        cmocka_unit_test(each_missing_part_has_its_status),
        cmocka_unit_test(version_and_key_are_checked_to_the_letter),
        cmocka_unit_test(our_preference_decides_and_a_token_is_never_echoed),
        cmocka_unit_test(client_and_server_understand_each_other),
        cmocka_unit_test(without_memory_nothing_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
