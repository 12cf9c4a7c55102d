#include "proto/ws.h"

#include <errno.h>

#include "base/mem.h"
#include "tests/support/unit.h"

static const struct ws_rules server = {.masked = true, .payload_max = 100000};
static const struct ws_rules client = {.masked = false, .payload_max = 100000};
static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};

/* Parses a copy of exactly these bytes. */
static int parse(const void *wire, size_t len, const struct ws_rules *rules)
{
    uint8_t *copy = mem_alloc(len);
    struct ws_frame frame;
    size_t used, need;
    memcpy(copy, wire, len);
    int got = ws_frame_parse(copy, len, rules, &frame, &used, &need);
    mem_free(copy);
    return got;
}

/* RFC 6455, section 5.7. */
static void the_examples_of_the_rfc_parse(void **state)
{
    (void)state;
    uint8_t plain[] = "\x81\x05Hello";
    uint8_t masked[] = "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    struct ws_frame frame;
    size_t used, need;
    assert_int_equal(ws_frame_parse(plain, 7, &client, &frame, &used, &need), 1);
    assert_true(frame.fin && frame.opcode == WS_TEXT && !frame.rsv1 && used == 7);
    assert_true(span_equal(frame.payload, span_str("Hello")));
    assert_int_equal(ws_frame_parse(masked, 11, &server, &frame, &used, &need), 1);
    assert_true(span_equal(frame.payload, span_str("Hello")));
    assert_true(ws_is_whole(&frame) && ws_text_ok(&frame));
    assert_int_equal(parse("\x81\x05Hello", 7, &server), -WS_CODE_PROTOCOL);
    assert_int_equal(
        parse("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", 11, &client), -WS_CODE_PROTOCOL);
}

static void a_frame_of_any_length_survives_and_asks_for_exactly_its_bytes(void **state)
{
    (void)state;
    const size_t lengths[] = {
        0, 1, 3, 15, 16, 17, 63, 64, 65, 125, 126, 127, 200, 65535, 65536, 70000};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        for (int masked = 0; masked < 2; masked++) {
            struct bytes payload = {0}, wire = {0};
            for (size_t j = 0; j < lengths[i]; j++) {
                assert_int_equal(bytes_append_byte(&payload, (uint8_t)(j * 7)), 0);
            }
            struct span want = span_of(payload.data, payload.len);
            const struct ws_rules *rules = masked ? &server : &client;
            assert_int_equal(
                ws_append_frame(&wire, WS_FIN | WS_BINARY, want, masked ? mask : NULL), 0);
            struct ws_frame frame;
            size_t used = 0, need = 0, at = 0;
            /* The caller reads what it is told is needed, and gets there in a few steps. */
            for (int steps = 0; at < wire.len; steps++) {
                assert_int_equal(ws_frame_parse(wire.data, at, rules, &frame, &used, &need), 0);
                assert_true(need > at && need <= wire.len && steps < 4);
                at = need;
            }
            assert_int_equal(ws_frame_parse(wire.data, at, rules, &frame, &used, &need), 1);
            assert_int_equal(used, wire.len);
            assert_true(span_equal(frame.payload, want));
            bytes_fini(&payload);
            bytes_fini(&wire);
        }
    }
}

static void masking_is_right_at_every_length_and_alignment(void **state)
{
    (void)state;
    uint8_t data[200], want[200];
    for (size_t start = 0; start < 17; start++) {
        for (size_t len = 0; len <= 150; len++) {
            for (size_t i = 0; i < sizeof data; i++) {
                data[i] = want[i] = (uint8_t)(i * 13);
            }
            for (size_t i = 0; i < len; i++) {
                want[start + i] ^= mask[i % 4];
            }
            ws_mask(data + start, len, mask);
            assert_memory_equal(data, want, sizeof data);
        }
    }
}

static void illegal_headers_are_refused_as_early_as_they_show(void **state)
{
    (void)state;
    const struct ws_rules deflate = {.masked = false, .rsv1 = true, .payload_max = 1000};
    assert_int_equal(parse("\xc1", 1, &client), -WS_CODE_PROTOCOL); /* RSV1, not negotiated. */
    assert_int_equal(parse("\xc1", 1, &deflate), 0);
    assert_int_equal(parse("\xc0", 1, &deflate), -WS_CODE_PROTOCOL); /* RSV1, continuation. */
    assert_int_equal(parse("\xc9", 1, &deflate), -WS_CODE_PROTOCOL); /* RSV1, control. */
    assert_int_equal(parse("\xa1", 1, &deflate), -WS_CODE_PROTOCOL); /* RSV2. */
    assert_int_equal(parse("\x91", 1, &deflate), -WS_CODE_PROTOCOL); /* RSV3. */
    for (int opcode = 0; opcode < 16; opcode++) {
        uint8_t first = (uint8_t)(WS_FIN | opcode);
        bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
        assert_int_equal(parse(&first, 1, &client), known ? 0 : -WS_CODE_PROTOCOL);
    }
    assert_int_equal(parse("\x09", 1, &client), -WS_CODE_PROTOCOL);     /* A ping in fragments. */
    assert_int_equal(parse("\x89\x7e", 2, &client), -WS_CODE_PROTOCOL); /* A long ping. */
    assert_int_equal(parse("\x82\x7e\x00\x7d", 4, &client), -WS_CODE_PROTOCOL);
    assert_int_equal(
        parse("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 10, &client), -WS_CODE_PROTOCOL);
    assert_int_equal(
        parse("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00", 10, &client), -WS_CODE_PROTOCOL);
    assert_int_equal(
        parse("\x82\x7f\x00\x00\x00\x00\x00\x01\x86\xa1", 10, &client), -WS_CODE_TOO_LARGE);
    assert_int_equal(parse("\x82\x7f\x00\x00\x00\x00\x00\x01\x86\xa0", 10, &client), 0);
    assert_int_equal(parse("", 0, &client), 0);
}

static struct ws_frame frame_of(uint8_t first, const char *payload)
{
    return (struct ws_frame){.opcode = first & 15,
        .fin = first & WS_FIN,
        .rsv1 = first & WS_RSV1,
        .payload = span_str(payload)};
}

static int push(struct ws_message *msg, uint8_t first, const char *payload, struct span *ret)
{
    struct ws_frame frame = frame_of(first, payload);
    uint8_t opcode = 0;
    int got = ws_message_push(msg, &frame, NULL, 10, &opcode, ret);
    if (got == 1) {
        assert_true(opcode == WS_TEXT || opcode == WS_BINARY);
    }
    return got;
}

static void fragments_join_and_characters_may_cross_them(void **state)
{
    (void)state;
    struct ws_message msg = {0};
    struct span payload;
    assert_int_equal(push(&msg, WS_TEXT, "a\xe2", &payload), 0);
    assert_true(ws_message_open(&msg));
    assert_int_equal(push(&msg, WS_CONTINUATION, "\x82", &payload), 0);
    assert_int_equal(push(&msg, WS_CONTINUATION, "", &payload), 0);
    assert_int_equal(push(&msg, WS_FIN | WS_CONTINUATION, "\xac z", &payload), 1);
    assert_true(span_equal(payload, span_str("a\xe2\x82\xac z")));
    assert_false(ws_message_open(&msg));
    /* The next message starts afresh, and a whole one is a view. */
    struct ws_frame whole = frame_of(WS_FIN | WS_TEXT, "hi");
    uint8_t opcode;
    assert_int_equal(ws_message_push(&msg, &whole, NULL, 10, &opcode, &payload), 1);
    assert_ptr_equal(payload.data, whole.payload.data);
    ws_message_fini(&msg);
}

static void a_bad_sequence_text_or_size_has_its_code(void **state)
{
    (void)state;
    const struct {
        uint8_t first[2];
        const char *payload[2];
        int want[2];
    } cases[] = {
        {{WS_CONTINUATION}, {"a"}, {-WS_CODE_PROTOCOL}},
        {{WS_FIN | WS_CONTINUATION}, {"a"}, {-WS_CODE_PROTOCOL}},
        {{WS_TEXT, WS_TEXT}, {"a", "b"}, {0, -WS_CODE_PROTOCOL}},
        {{WS_TEXT, WS_FIN | WS_BINARY}, {"a", "b"}, {0, -WS_CODE_PROTOCOL}},
        {{WS_FIN | WS_PING}, {"a"}, {-WS_CODE_PROTOCOL}},
        {{WS_FIN | WS_RSV1 | WS_TEXT}, {"a"}, {-WS_CODE_PROTOCOL}},
        {{WS_FIN | WS_TEXT}, {"\xff"}, {-WS_CODE_BAD_DATA}},
        {{WS_TEXT}, {"a\xff"}, {-WS_CODE_BAD_DATA}}, /* Not only at the end. */
        {{WS_TEXT, WS_CONTINUATION}, {"\xf4", "\x90"}, {0, -WS_CODE_BAD_DATA}},
        {{WS_TEXT, WS_FIN | WS_CONTINUATION}, {"\xe2", "\x82"}, {0, -WS_CODE_BAD_DATA}},
        {{WS_FIN | WS_BINARY}, {"\xff"}, {1}},
        {{WS_FIN | WS_BINARY}, {"12345678901"}, {-WS_CODE_TOO_LARGE}},
        {{WS_BINARY, WS_CONTINUATION}, {"123456", "78901"}, {0, -WS_CODE_TOO_LARGE}},
        {{WS_BINARY, WS_FIN | WS_CONTINUATION}, {"123456", "7890"}, {0, 1}},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct ws_message msg = {0};
        struct span payload;
        for (int j = 0; j < 2 && cases[i].payload[j]; j++) {
            assert_int_equal(
                push(&msg, cases[i].first[j], cases[i].payload[j], &payload), cases[i].want[j]);
        }
        ws_message_fini(&msg);
    }
}

static void without_memory_a_message_ends_with_1011(void **state)
{
    (void)state;
    struct ws_message msg = {0};
    struct span payload;
    mem_fail_after(0);
    assert_int_equal(push(&msg, WS_TEXT, "a", &payload), -WS_CODE_INTERNAL);
    struct bytes out = {0};
    assert_int_equal(ws_append_frame(&out, WS_TEXT, span_str("a"), NULL), -ENOMEM);
    mem_fail_after(-1);
    assert_int_equal(out.len, 0);
    ws_message_fini(&msg);
}

static void close_codes_are_those_of_the_registry(void **state)
{
    (void)state;
    for (int code = 0; code <= 65535; code++) {
        bool legal =
            (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
            (code >= 3000 && code <= 4999);
        assert_true(ws_close_code_ok((uint16_t)code) == legal);
    }
}

static void close_payloads_read_back(void **state)
{
    (void)state;
    uint8_t out[WS_CONTROL_BYTES_MAX];
    uint16_t code;
    struct span reason;
    size_t len = ws_close_payload(out, WS_CODE_RESTART, span_str("retry_ms=5"));
    assert_int_equal(ws_close_parse(span_of(out, len), &code, &reason), 0);
    assert_int_equal(code, WS_CODE_RESTART);
    assert_true(span_equal(reason, span_str("retry_ms=5")));
    assert_int_equal(ws_close_payload(out, WS_CODE_NONE, span_str("")), 0);
    assert_int_equal(ws_close_parse(span_of(out, 0), &code, &reason), 0);
    assert_int_equal(code, WS_CODE_NONE);
    assert_int_equal(ws_close_parse(span_of("\x03", 1), &code, &reason), -WS_CODE_PROTOCOL);
    assert_int_equal(ws_close_parse(span_of("\x03\xed", 2), &code, &reason), -WS_CODE_PROTOCOL);
    assert_int_equal(ws_close_parse(span_of("\x03\xe8\xff", 3), &code, &reason), -WS_CODE_BAD_DATA);

    /* 122 letters leave one byte for a character of three: it goes as a whole. */
    char text[200];
    memset(text, 'x', 122);
    memcpy(text + 122, "\xe2\x82\xac and more", 12);
    len = ws_close_payload(out, WS_CODE_POLICY, span_str(text));
    assert_int_equal(len, 2 + 122);
    assert_int_equal(ws_close_parse(span_of(out, len), &code, &reason), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc_parse),
        cmocka_unit_test(a_frame_of_any_length_survives_and_asks_for_exactly_its_bytes),
        cmocka_unit_test(masking_is_right_at_every_length_and_alignment),
        cmocka_unit_test(illegal_headers_are_refused_as_early_as_they_show),
        cmocka_unit_test(fragments_join_and_characters_may_cross_them),
        cmocka_unit_test(a_bad_sequence_text_or_size_has_its_code),
        cmocka_unit_test(without_memory_a_message_ends_with_1011),
        cmocka_unit_test(close_codes_are_those_of_the_registry),
        cmocka_unit_test(close_payloads_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
