/* WebSocket: the same frames and messages come out however the bytes are cut; each frame, written
 * again, is what was read, since there is only one way to write it. The first byte chooses the side
 * and whether compression is on. */
#include "fuzz/fuzz.h"
#include "proto/ws.h"
#include "proto/ws_deflate.h"

enum { PAYLOAD_MAX = 70000, MESSAGE_MAX = 80000 };

static void check_frame(const uint8_t *wire, size_t used, const struct ws_frame *frame, bool masked)
{
    struct bytes again = {0};
    const uint8_t *mask = masked ? wire + used - frame->payload.len - 4 : NULL;
    uint8_t first =
        (uint8_t)(frame->opcode | (frame->fin ? WS_FIN : 0) | (frame->rsv1 ? WS_RSV1 : 0));

    CHECK(ws_append_frame(&again, first, frame->payload, mask) == 0);
    CHECK(span_equal(span_of(again.data, again.len), span_of(wire, used)));
    bytes_fini(&again);
}

static void check_close(struct bytes *record, struct span payload)
{
    uint16_t code = 0;
    struct span reason;
    int err = ws_close_parse(payload, &code, &reason);

    fuzz_note(record, err ? "bad close" : "close", err ? (uint64_t)-err : code, payload);
    if (!err) {
        uint8_t out[WS_CONTROL_BYTES_MAX];
        size_t len = ws_close_payload(out, code, reason);
        CHECK(span_equal(span_of(out, len), payload));
    }
}

/* What a connection does with a frame; 0, or minus a close code. */
static int take_frame(struct bytes *record, struct ws_message *msg, const struct ws_frame *frame,
    struct ws_inflater *inflater)
{
    uint8_t opcode = 0;
    struct span payload;

    if (ws_is_control(frame->opcode)) {
        CHECK(frame->fin && !frame->rsv1 && frame->payload.len <= WS_CONTROL_BYTES_MAX);
        if (frame->opcode == WS_CLOSE) {
            check_close(record, frame->payload);
        } else {
            fuzz_note(record, "control", frame->opcode, frame->payload);
        }
        return 0;
    }
    bool alone = ws_is_whole(frame) && !ws_message_open(msg);
    int got = ws_message_push(msg, frame, inflater, MESSAGE_MAX, &opcode, &payload);
    if (alone) {
        CHECK(got == 1 ? ws_text_ok(frame) && payload.data == frame->payload.data
                       : got == -WS_CODE_BAD_DATA && !ws_text_ok(frame));
    }
    if (got == 1) {
        CHECK(payload.len <= MESSAGE_MAX && !ws_message_open(msg));
        CHECK(opcode != WS_TEXT || utf8_valid(payload.data, payload.len));
        fuzz_note(record, "message", opcode, payload);
        return 0;
    }
    return got;
}

static void read_all(struct bytes *record, const uint8_t *data, size_t size, int how,
    const struct ws_rules *rules, struct ws_inflater *inflater)
{
    struct fuzz_cuts cuts = fuzz_cuts_of(how, size);
    struct ws_message msg = {0};
    size_t start = 0, seen = 0;
    int got = 0;

    while (got >= 0 && (seen < size || start == 0) && size > 0) {
        seen += fuzz_piece(&cuts, size - seen);
        do {
            size_t have = seen - start;
            uint8_t *copy = fuzz_copy(data + start, have);
            struct ws_frame frame;
            size_t used = 0, need = 0;
            got = ws_frame_parse(copy, have, rules, &frame, &used, &need);
            if (got == 0) {
                CHECK(need > have && need <= PAYLOAD_MAX + WS_HEADER_BYTES_MAX);
                CHECK(have == 0 || memcmp(copy, data + start, have) == 0); /* Nothing unmasked. */
            } else if (got == 1) {
                CHECK(used <= have && used == need);
                check_frame(data + start, used, &frame, rules->masked);
                start += used;
                int err = take_frame(record, &msg, &frame, inflater);
                got = err ? err : got;
            }
            mem_free(copy);
        } while (got == 1 && start < seen);
        if (got == 0 && seen == size) {
            break;
        }
    }
    if (got < 0) {
        fuzz_note(record, "refused", (uint64_t)-got, (struct span){0});
    }
    ws_message_fini(&msg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes whole = {0}, cut = {0};
    struct ws_inflater *inflater = NULL;

    if (size == 0) {
        return 0;
    }
    struct ws_rules rules = {
        .masked = data[0] & 1, .rsv1 = data[0] & 2, .payload_max = PAYLOAD_MAX};
    CHECK(ws_inflater_create(&inflater) == 0);
    read_all(&whole, data + 1, size - 1, FUZZ_WHOLE, &rules, rules.rsv1 ? inflater : NULL);
    for (int how = FUZZ_BYTES; how <= FUZZ_RANDOM; how++) {
        if (how == FUZZ_BYTES && size > 2000) {
            continue; /* Quadratic here, since each try copies. */
        }
        cut.len = 0;
        read_all(&cut, data + 1, size - 1, how, &rules, rules.rsv1 ? inflater : NULL);
        fuzz_check_same(&whole, &cut);
    }
    ws_inflater_destroy(inflater);
    bytes_fini(&whole);
    bytes_fini(&cut);
    return 0;
}
