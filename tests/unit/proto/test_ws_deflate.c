#include "proto/ws_deflate.h"

#include <errno.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "proto/ws.h"
#include "tests/support/unit.h"

static void every_message_survives_at_every_level_and_window(void **state)
{
    (void)state;
    const size_t lengths[] = {0, 1, 2, 100, 5000, 100000};
    struct ws_inflater *inflater;
    struct rng rng;
    rng_init(&rng, 1);
    assert_int_equal(ws_inflater_create(&inflater), 0);
    for (int level = 1; level <= 9; level += 4) {
        for (int bits = 9; bits <= 15; bits++) {
            struct ws_deflater *deflater;
            assert_int_equal(ws_deflater_create(level, bits, &deflater), 0);
            for (size_t i = 0; i < COUNT_OF(lengths); i++) {
                struct bytes text = {0}, packed = {0}, plain = {0};
                while (text.len < lengths[i]) {
                    /* Half chance, half pattern. */
                    uint8_t byte = text.len % 2 ? (uint8_t)rng_next(&rng) : (uint8_t)text.len;
                    assert_int_equal(bytes_append_byte(&text, byte), 0);
                }
                struct span want = span_of(text.data, text.len);
                assert_int_equal(ws_deflate_message(deflater, want, &packed), 0);
                struct span payload = span_of(packed.data, packed.len);
                assert_int_equal(ws_inflate_message(inflater, payload, text.len, &plain), 0);
                assert_true(span_equal(span_of(plain.data, plain.len), want));
                bytes_fini(&text);
                bytes_fini(&packed);
                bytes_fini(&plain);
            }
            ws_deflater_destroy(deflater);
        }
    }
    ws_inflater_destroy(inflater);
}

/* RFC 7692, section 7.2.3. */
static void the_payloads_of_the_rfc_inflate(void **state)
{
    (void)state;
    const struct span payloads[] = {
        span_of("\xf2\x48\xcd\xc9\xc9\x07\x00", 7),
        span_of("\x00\x05\x00\xfa\xffHello\x00", 11),                        /* No compression. */
        span_of("\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8),                      /* A final block. */
        span_of("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00", 13), /* Two blocks. */
    };
    struct ws_inflater *inflater;
    assert_int_equal(ws_inflater_create(&inflater), 0);
    for (size_t i = 0; i < COUNT_OF(payloads); i++) {
        struct bytes plain = {0};
        assert_int_equal(ws_inflate_message(inflater, payloads[i], 5, &plain), 0);
        assert_true(span_equal(span_of(plain.data, plain.len), span_str("Hello")));
        bytes_fini(&plain);
    }
    ws_inflater_destroy(inflater);
}

static void an_empty_message_is_one_zero_byte(void **state)
{
    (void)state;
    struct ws_deflater *deflater;
    struct ws_inflater *inflater;
    struct bytes out = {0}, plain = {0};
    assert_int_equal(ws_deflater_create(6, 12, &deflater), 0);
    assert_int_equal(ws_inflater_create(&inflater), 0);
    assert_int_equal(ws_deflate_message(deflater, span_of(NULL, 0), &out), 0);
    assert_int_equal(out.len, 1);
    assert_int_equal(out.data[0], 0);
    assert_int_equal(ws_inflate_message(inflater, span_of("\x00", 1), 0, &plain), 0);
    assert_int_equal(ws_inflate_message(inflater, span_of("", 0), 0, &plain), 0);
    assert_int_equal(plain.len, 0);
    ws_deflater_destroy(deflater);
    ws_inflater_destroy(inflater);
    bytes_fini(&out);
}

static void damage_and_truncation_are_1007(void **state)
{
    (void)state;
    const struct span bad[] = {
        span_of("\xff", 1),
        span_of("\xf2\x48\xcd\xc9\xc9", 5),
        span_of("\x07\xff\xff", 3),
        span_of("\x00\x05\x00\xfa\xffHel", 8),
        span_of("\x00\x05\x00\x00\x00Hello", 10),
    };
    struct ws_inflater *inflater;
    struct bytes plain = {0};
    assert_int_equal(ws_inflater_create(&inflater), 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(ws_inflate_message(inflater, bad[i], 1000, &plain), -WS_CODE_BAD_DATA);
        assert_int_equal(plain.len, 0);
    }
    /* And the next message is read as if nothing had been. */
    struct span good = span_of("\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    assert_int_equal(ws_inflate_message(inflater, good, 5, &plain), 0);
    ws_inflater_destroy(inflater);
    bytes_fini(&plain);
}

static void a_bomb_is_1009_before_memory_is_spent_on_it(void **state)
{
    (void)state;
    struct ws_deflater *deflater;
    struct ws_inflater *inflater;
    struct bytes zeroes = {0}, packed = {0}, plain = {0};
    assert_int_equal(ws_deflater_create(9, 15, &deflater), 0);
    assert_int_equal(ws_inflater_create(&inflater), 0);
    assert_int_equal(bytes_reserve(&zeroes, 4 << 20), 0);
    memset(zeroes.data, 0, 4 << 20);
    assert_int_equal(ws_deflate_message(deflater, span_of(zeroes.data, 4 << 20), &packed), 0);
    assert_true(packed.len < 10000);
    struct span payload = span_of(packed.data, packed.len);
    assert_int_equal(ws_inflate_message(inflater, payload, 65536, &plain), -WS_CODE_TOO_LARGE);
    assert_true(plain.len == 0 && plain.cap <= 65536);
    assert_int_equal(
        ws_inflate_message(inflater, payload, (4 << 20) - 1, &plain), -WS_CODE_TOO_LARGE);
    assert_int_equal(ws_inflate_message(inflater, payload, 4 << 20, &plain), 0);
    assert_int_equal(plain.len, 4 << 20);
    ws_deflater_destroy(deflater);
    ws_inflater_destroy(inflater);
    bytes_fini(&zeroes);
    bytes_fini(&packed);
    bytes_fini(&plain);
}

static void a_compressed_message_counts_what_it_inflates_to(void **state)
{
    (void)state;
    struct ws_inflater *inflater;
    struct ws_message msg = {0};
    struct span payload;
    uint8_t opcode;
    assert_int_equal(ws_inflater_create(&inflater), 0);
    struct ws_frame first = {
        .opcode = WS_TEXT, .rsv1 = true, .payload = span_of("\xf2\x48\xcd", 3)};
    struct ws_frame last = {
        .opcode = WS_CONTINUATION, .fin = true, .payload = span_of("\xc9\xc9\x07\x00", 4)};
    assert_int_equal(ws_message_push(&msg, &first, inflater, 7, &opcode, &payload), 0);
    assert_int_equal(ws_message_push(&msg, &last, inflater, 7, &opcode, &payload), 1);
    assert_true(opcode == WS_TEXT && span_equal(payload, span_str("Hello")));
    struct ws_frame whole = {.opcode = WS_TEXT,
        .rsv1 = true,
        .fin = true,
        .payload = span_of("\x00\x03\x00\xfc\xff\xff\xff\xff\x00", 9)};
    assert_int_equal(
        ws_message_push(&msg, &whole, inflater, 20, &opcode, &payload), -WS_CODE_BAD_DATA);
    ws_message_fini(&msg);
    ws_inflater_destroy(inflater);
}

static void assert_offer(const char *offer, const char *want)
{
    struct ws_deflate_terms terms = {0};
    struct bytes answer = {0};
    ws_deflate_negotiate(&terms, span_str(offer), 12);
    assert_true(terms.agreed == (want != NULL));
    if (want) {
        char text[200];
        snprintf(text, sizeof text,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover%s", want);
        assert_int_equal(ws_deflate_answer(&answer, &terms), 0);
        assert_true(span_equal(span_of(answer.data, answer.len), span_str(text)));
        assert_true(ws_deflate_answer_ok(span_of(answer.data, answer.len)));
        bytes_fini(&answer);
    }
}

static void the_first_offer_that_can_be_met_is_taken(void **state)
{
    (void)state;
    assert_offer("permessage-deflate", "");
    assert_offer("permessage-deflate; client_max_window_bits", "");
    assert_offer("PerMessage-Deflate ;client_max_window_bits=15; server_no_context_takeover", "");
    assert_offer("permessage-deflate; server_max_window_bits=15", "; server_max_window_bits=12");
    assert_offer(
        "permessage-deflate; server_max_window_bits=\"12\"", "; server_max_window_bits=12");
    assert_offer("permessage-deflate; server_max_window_bits=10, permessage-deflate", "");
    assert_offer("x-webkit-deflate-frame, permessage-deflate; client_no_context_takeover", "");
}

static void illegal_offers_are_declined(void **state)
{
    (void)state;
    assert_offer("", NULL);
    assert_offer("x-webkit-deflate-frame", NULL);
    assert_offer("permessage-deflate; server_max_window_bits=11", NULL); /* Ours needs 12. */
    assert_offer("permessage-deflate; server_max_window_bits", NULL);
    assert_offer("permessage-deflate; server_max_window_bits=7", NULL);
    assert_offer("permessage-deflate; server_max_window_bits=16", NULL);
    assert_offer("permessage-deflate; server_max_window_bits=015", NULL);
    assert_offer("permessage-deflate; client_max_window_bits=", NULL);
    assert_offer("permessage-deflate; client_max_window_bits=x", NULL);
    assert_offer("permessage-deflate; server_no_context_takeover=1", NULL);
    assert_offer(
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover", NULL);
    assert_offer("permessage-deflate; unheard_of", NULL);
    assert_offer("permessage-deflate2", NULL);
}

static void a_client_accepts_only_what_it_offered(void **state)
{
    (void)state;
    assert_true(ws_deflate_answer_ok(span_str("permessage-deflate; server_no_context_takeover")));
    assert_false(ws_deflate_answer_ok(span_str("permessage-deflate")));
    assert_false(ws_deflate_answer_ok(
        span_str("permessage-deflate; server_no_context_takeover; client_max_window_bits=10")));
    assert_false(
        ws_deflate_answer_ok(span_str("permessage-deflate; server_no_context_takeover, x")));
    assert_false(ws_deflate_answer_ok(span_str("")));
}

static void each_missing_allocation_is_survived(void **state)
{
    (void)state;
    bool done = false;
    for (int64_t n = 0; !done; n++) {
        struct ws_deflater *deflater = NULL;
        struct ws_inflater *inflater = NULL;
        struct bytes packed = {0}, plain = {0};
        mem_fail_after(n);
        if (ws_deflater_create(6, 12, &deflater) == 0 && ws_inflater_create(&inflater) == 0 &&
            ws_deflate_message(deflater, span_str("Hello Hello Hello"), &packed) == 0) {
            int err = ws_inflate_message(inflater, span_of(packed.data, packed.len), 100, &plain);
            assert_true(err == 0 || err == -WS_CODE_INTERNAL);
            done = err == 0;
        }
        mem_fail_after(-1);
        ws_deflater_destroy(deflater);
        ws_inflater_destroy(inflater);
        bytes_fini(&packed);
        bytes_fini(&plain);
    }
    struct ws_deflater *none = NULL;
    assert_int_equal(ws_deflater_create(0, 12, &none), -EINVAL);
    assert_int_equal(ws_deflater_create(6, 8, &none), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_at_every_level_and_window),
        cmocka_unit_test(the_payloads_of_the_rfc_inflate),
        cmocka_unit_test(an_empty_message_is_one_zero_byte),
        cmocka_unit_test(damage_and_truncation_are_1007),
        cmocka_unit_test(a_bomb_is_1009_before_memory_is_spent_on_it),
        cmocka_unit_test(a_compressed_message_counts_what_it_inflates_to),
        cmocka_unit_test(the_first_offer_that_can_be_met_is_taken),
        cmocka_unit_test(illegal_offers_are_declined),
        cmocka_unit_test(a_client_accepts_only_what_it_offered),
        cmocka_unit_test(each_missing_allocation_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
