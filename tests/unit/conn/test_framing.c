#include "conn/framing.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "core/books.h"
#include "core/channel.h"
#include "core/outbox.h"
#include "proto/ws.h"
#include "proto/ws_deflate.h"
#include "tests/support/unit.h"

static struct framing_context ctx;
static struct ws_inflater *inflater;

static int set_up(void **state)
{
    (void)state;
    ctx = (struct framing_context){.deflate_min_bytes = 20};
    assert_int_equal(ws_deflater_create(1, 12, &ctx.deflater), 0);
    return ws_inflater_create(&inflater);
}

static int tear_down(void **state)
{
    (void)state;
    framing_context_fini(&ctx);
    ws_deflater_destroy(ctx.deflater);
    ws_inflater_destroy(inflater);
    return 0;
}

static struct publication *publication(struct span payload, uint32_t flags)
{
    const struct publish_order order = {
        .name = span_str("room:a\"b"), .payload = payload, .flags = flags};
    struct publication *pub = publication_create(&order, 1, 0);

    assert_non_null(pub);
    pub->epoch = 36;
    pub->offset = 7;
    return pub;
}

/* Encodes, reads the one frame back, and compares its message. */
static void assert_message(
    uint8_t framing, struct span payload, uint32_t flags, uint8_t opcode, struct span want)
{
    struct publication *pub = publication(payload, flags);
    struct ws_rules rules = {.rsv1 = true, .payload_max = 1 << 20};
    struct ws_message message = {0};
    struct bytes out = {0};
    struct ws_frame frame;
    size_t used, need;
    uint8_t got_opcode;
    struct span got;

    assert_int_equal(framing_encode(&ctx, framing, pub, &out), 0);
    assert_int_equal(ws_frame_parse(out.data, out.len, &rules, &frame, &used, &need), 1);
    assert_int_equal(used, out.len);
    assert_int_equal(ws_message_push(&message, &frame, inflater, 1 << 20, &got_opcode, &got), 1);
    assert_int_equal(got_opcode, opcode);
    assert_true(span_equal(got, want));
    ws_message_fini(&message);
    bytes_fini(&out);
    publication_unref(pub);
}

static void a_raw_frame_is_the_payload_byte_for_byte(void **state)
{
    static const char text[] = "{ \"a\" : 1 }", binary[] = "\x00\xff\xfe";
    (void)state;
    assert_message(FRAMING_RAW, span_str(text), PUBLICATION_UTF8, WS_TEXT, span_str(text));
    assert_message(FRAMING_RAW, span_of(binary, 3), 0, WS_BINARY, span_of(binary, 3));
    assert_message(FRAMING_RAW, span_of(NULL, 0), PUBLICATION_UTF8, WS_TEXT, span_of(NULL, 0));
}

static void an_envelope_splices_json_quotes_text_and_wraps_bytes(void **state)
{
    static const struct {
        const char *payload, *want;
    } rows[] = {
        {"{ \"a\": [1,2] }", "\"data\":{ \"a\": [1,2] }}"},
        {"12", "\"data\":12}"},
        {"hello \"you\"", "\"data\":\"hello \\\"you\\\"\",\"enc\":\"text\"}"},
        {"\xff\xfe", "\"data\":\"//4=\",\"enc\":\"base64\"}"},
        {"", "\"data\":\"\",\"enc\":\"text\"}"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char want[200] = "{\"channel\":\"room:a\\\"b\",\"cursor\":\"10:7\",";
        strcat(want, rows[i].want);
        assert_message(
            FRAMING_ENVELOPE, span_str(rows[i].payload), PUBLICATION_UTF8, WS_TEXT, span_str(want));
    }
}

static void compressed_framings_carry_the_same_message(void **state)
{
    char long_text[3000];
    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    struct span text = span_of(long_text, sizeof(long_text));
    assert_message(FRAMING_RAW_DEFLATE, text, PUBLICATION_UTF8, WS_TEXT, text);
    struct publication *pub = publication(text, PUBLICATION_UTF8);
    struct bytes out = {0};
    assert_int_equal(framing_encode(&ctx, FRAMING_RAW_DEFLATE, pub, &out), 0);
    assert_true(out.len < 100 && (out.data[0] & WS_RSV1));
    out.len = 0;
    assert_int_equal(framing_encode(&ctx, FRAMING_ENVELOPE_DEFLATE, pub, &out), 0);
    assert_true(out.len < 200 && (out.data[0] & WS_RSV1));
    bytes_fini(&out);
    publication_unref(pub);
    /* What would not get shorter goes as it is. */
    assert_message(
        FRAMING_RAW_DEFLATE, span_str("short"), PUBLICATION_UTF8, WS_TEXT, span_str("short"));
}

static void gaps_are_told_in_envelopes_and_streams(void **state)
{
    struct channel *channel = mem_zalloc(sizeof(*channel) + 8);
    struct gap gap = {.channel = channel, .from = 40, .to = 52, .framing = FRAMING_ENVELOPE};
    struct bytes out = {0};
    (void)state;
    memcpy(channel->name, "room:x", 6);
    channel->name_len = 6;
    gap.reason = DROP_SLOW;
    assert_int_equal(framing_encode_gap(&ctx, &gap, &out), 0);
    static const char want[] =
        "{\"gap\":{\"channel\":\"room:x\",\"from\":40,\"to\":52,\"reason\":\"slow\"}}";
    assert_int_equal(out.len, 2 + sizeof(want) - 1);
    assert_memory_equal(out.data + 2, want, sizeof(want) - 1);
    static const uint8_t streams[] = {FRAMING_SSE_RAW, FRAMING_SSE_ENVELOPE, FRAMING_SSE_LIST};
    for (size_t i = 0; i < COUNT_OF(streams); i++) {
        static const char begin[] = "event: gap\ndata: ";
        out.len = 0;
        gap.framing = streams[i];
        assert_true(framing_wants_gaps(streams[i]));
        assert_int_equal(framing_encode_gap(&ctx, &gap, &out), 0);
        assert_memory_equal(out.data, begin, sizeof(begin) - 1);
        assert_memory_equal(out.data + sizeof(begin) - 1, want, sizeof(want) - 1);
        assert_memory_equal(out.data + out.len - 2, "\n\n", 2);
    }
    out.len = 0;
    gap.framing = FRAMING_RAW;
    assert_false(framing_wants_gaps(FRAMING_RAW) || framing_wants_gaps(FRAMING_POLL));
    assert_int_equal(framing_encode_gap(&ctx, &gap, &out), 0);
    assert_int_equal(out.len, 0);
    bytes_fini(&out);
    mem_free(channel);
}

static void assert_text(uint8_t framing, struct span payload, uint32_t flags, const char *want)
{
    struct publication *pub = publication(payload, flags);
    struct bytes out = {0};

    assert_int_equal(framing_encode(&ctx, framing, pub, &out), 0);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data, want, out.len);
    bytes_fini(&out);
    publication_unref(pub);
}

static void a_stream_event_names_its_cursor_and_splits_its_lines(void **state)
{
    static const char head[] = "{\"channel\":\"room:a\\\"b\",\"cursor\":\"10:7\",";
    char want[200];

    (void)state;
    assert_text(FRAMING_SSE_RAW, span_str("a\r\nb\n"), PUBLICATION_UTF8,
        "id: 10:7\ndata: a\ndata: b\ndata: \n\n");
    assert_text(FRAMING_SSE_RAW, span_of(NULL, 0), PUBLICATION_UTF8, "id: 10:7\ndata: \n\n");
    assert_text(FRAMING_SSE_RAW, span_str("\xff\n"), 0, "id: 10:7\nevent: binary\ndata: /wo=\n\n");
    /* Line ends between JSON's tokens do not end the line of the event. */
    snprintf(want, sizeof(want), "id: 10:7\ndata: %s\"data\":{  \"a\": 1 }}\n\n", head);
    assert_text(FRAMING_SSE_ENVELOPE, span_str("{\r\n\"a\":\n1\r}"), PUBLICATION_UTF8, want);
    snprintf(want, sizeof(want), "data: %s\"data\":1}\n\n", head);
    assert_text(FRAMING_SSE_LIST, span_str("1"), PUBLICATION_UTF8, want);
    snprintf(want, sizeof(want), "%s\"data\":1},", head);
    assert_text(FRAMING_POLL, span_str("1"), PUBLICATION_UTF8, want);
}

static void packed_events_are_one_array_on_one_line(void **state)
{
    static const char want[] = "data: [{\"a\": 1},2]\n\n";
    struct bytes out = {0};

    (void)state;
    assert_int_equal(
        framing_encode_events(&ctx, FRAMING_SSE_LIST, span_str("{\"a\":\n1},2"), &out), 0);
    assert_int_equal(out.len, sizeof(want) - 1);
    assert_memory_equal(out.data, want, out.len);
    bytes_fini(&out);
}

static void memory_that_runs_out_leaves_the_batch_as_it_was(void **state)
{
    (void)state;
    struct publication *pub = publication(span_str("{\"a\":\"some text to encode\"}"), 0);

    for (uint8_t framing = 0; framing < FRAMINGS; framing++) {
        int err = -ENOMEM;
        for (int points = 0; err == -ENOMEM; points++) {
            struct bytes out = {0};
            assert_int_equal(bytes_append_str(&out, "before"), 0);
            framing_context_fini(&ctx); /* Its scratch must grow again. */
            mem_fail_after(points);
            err = framing_encode(&ctx, framing, pub, &out);
            mem_fail_after(-1);
            assert_true(err == 0 || out.len == 6);
            assert_memory_equal(out.data, "before", 6);
            bytes_fini(&out);
        }
        assert_int_equal(err, 0);
    }
    publication_unref(pub);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_raw_frame_is_the_payload_byte_for_byte),
        cmocka_unit_test(an_envelope_splices_json_quotes_text_and_wraps_bytes),
        cmocka_unit_test(compressed_framings_carry_the_same_message),
        cmocka_unit_test(gaps_are_told_in_envelopes_and_streams),
        cmocka_unit_test(a_stream_event_names_its_cursor_and_splits_its_lines),
        cmocka_unit_test(packed_events_are_one_array_on_one_line),
        cmocka_unit_test(memory_that_runs_out_leaves_the_batch_as_it_was),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
