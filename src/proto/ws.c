#include "proto/ws.h"

#include <errno.h>
#include <string.h>

#include "proto/ws_deflate.h"

/* Sixteen bytes that the compiler keeps in one register; loaded and stored by memcpy, so they need
 * no alignment. */
typedef uint32_t wide __attribute__((vector_size(16)));

void ws_mask(uint8_t *data, size_t len, const uint8_t mask[4])
{
    size_t at = 0;

    if (len >= sizeof(wide)) {
        uint32_t word;
        memcpy(&word, mask, sizeof word);
        wide key = {word, word, word, word};
        for (; at + 4 * sizeof(wide) <= len; at += 4 * sizeof(wide)) {
            wide block[4];
            memcpy(block, data + at, sizeof block);
            block[0] ^= key;
            block[1] ^= key;
            block[2] ^= key;
            block[3] ^= key;
            memcpy(data + at, block, sizeof block);
        }
        for (; at + sizeof(wide) <= len; at += sizeof(wide)) {
            wide block;
            memcpy(&block, data + at, sizeof block);
            block ^= key;
            memcpy(data + at, &block, sizeof block);
        }
    }
    /* Each step above was a multiple of four, so the mask's phase is still at % 4. */
    for (; at < len; at++) {
        data[at] ^= mask[at % 4];
    }
}

static uint64_t load_be(const uint8_t *at, size_t bytes)
{
    uint64_t value = 0;

    for (size_t i = 0; i < bytes; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static bool first_byte_ok(uint8_t first, const struct ws_rules *rules)
{
    uint8_t opcode = first & 0x0f;

    if ((first & 0x30) || (opcode > WS_BINARY && opcode < WS_CLOSE) || opcode > WS_PONG) {
        return false;
    }
    if (ws_is_control(opcode)) {
        return (first & WS_FIN) && !(first & WS_RSV1);
    }
    /* Only the first frame of a message says whether it is compressed (RFC 7692, 6). */
    return !(first & WS_RSV1) || (rules->rsv1 && opcode != WS_CONTINUATION);
}

int ws_frame_parse(uint8_t *data, size_t len, const struct ws_rules *rules,
    struct ws_frame *ret_frame, size_t *ret_used, size_t *ret_need)
{
    *ret_need = 2;
    if (len >= 1 && !first_byte_ok(data[0], rules)) {
        return -WS_CODE_PROTOCOL;
    }
    if (len < 2) {
        return 0;
    }
    bool masked = data[1] & 0x80;
    uint8_t short_len = data[1] & 0x7f;
    uint8_t opcode = data[0] & 0x0f;
    if (masked != rules->masked || (ws_is_control(opcode) && short_len > WS_CONTROL_BYTES_MAX)) {
        return -WS_CODE_PROTOCOL;
    }
    size_t len_bytes = short_len < 126 ? 0 : short_len == 126 ? 2 : 8;
    size_t header_len = 2 + len_bytes + (masked ? 4 : 0);
    *ret_need = header_len;
    if (len < 2 + len_bytes) {
        return 0;
    }
    uint64_t payload_len = len_bytes ? load_be(data + 2, len_bytes) : short_len;
    /* The shortest form is required, and 64 bits keep their highest one clear (5.2). */
    if ((len_bytes == 2 && payload_len < 126) || (len_bytes == 8 && payload_len <= UINT16_MAX) ||
        payload_len > INT64_MAX) {
        return -WS_CODE_PROTOCOL;
    }
    if (payload_len > rules->payload_max || payload_len > SIZE_MAX - header_len) {
        return -WS_CODE_TOO_LARGE;
    }
    *ret_need = header_len + (size_t)payload_len;
    if (len < *ret_need) {
        return 0;
    }
    uint8_t *payload = data + header_len;
    if (masked) {
        ws_mask(payload, (size_t)payload_len, payload - 4);
    }
    *ret_frame = (struct ws_frame){
        .opcode = opcode,
        .fin = data[0] & WS_FIN,
        .rsv1 = data[0] & WS_RSV1,
        .payload = span_of(payload, (size_t)payload_len),
    };
    *ret_used = *ret_need;
    return 1;
}

size_t ws_frame_header(
    uint8_t out[WS_HEADER_BYTES_MAX], uint8_t first, uint64_t len, const uint8_t mask[4])
{
    size_t len_bytes = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;
    uint8_t short_len = len_bytes == 0 ? (uint8_t)len : len_bytes == 2 ? 126 : 127;

    out[0] = first;
    out[1] = (uint8_t)(short_len | (mask ? 0x80 : 0));
    for (size_t i = 0; i < len_bytes; i++) {
        out[2 + i] = (uint8_t)(len >> (8 * (len_bytes - 1 - i)));
    }
    if (!mask) {
        return 2 + len_bytes;
    }
    memcpy(out + 2 + len_bytes, mask, 4);
    return 2 + len_bytes + 4;
}

int ws_append_frame(struct bytes *out, uint8_t first, struct span payload, const uint8_t mask[4])
{
    uint8_t header[WS_HEADER_BYTES_MAX];
    size_t header_len = ws_frame_header(header, first, payload.len, mask);

    if (payload.len > SIZE_MAX - header_len || bytes_reserve(out, header_len + payload.len)) {
        return -ENOMEM;
    }
    memcpy(out->data + out->len, header, header_len);
    out->len += header_len;
    if (payload.len > 0) {
        memcpy(out->data + out->len, payload.data, payload.len);
        if (mask) {
            ws_mask(out->data + out->len, payload.len, mask);
        }
        out->len += payload.len;
    }
    return 0;
}

/* The whole compressed message is here. */
static int inflate_message(struct ws_message *msg, struct ws_inflater *inflater, struct span packed,
    size_t bytes_max, struct span *ret_payload)
{
    msg->inflated.len = 0;
    int err = ws_inflate_message(inflater, packed, bytes_max, &msg->inflated);
    if (err) {
        return err;
    }
    *ret_payload = span_of(msg->inflated.data, msg->inflated.len);
    if (msg->opcode == WS_TEXT && !utf8_valid(ret_payload->data, ret_payload->len)) {
        return -WS_CODE_BAD_DATA;
    }
    return 1;
}

int ws_message_push(struct ws_message *msg, const struct ws_frame *frame,
    struct ws_inflater *inflater, size_t bytes_max, uint8_t *ret_opcode, struct span *ret_payload)
{
    bool first = frame->opcode != WS_CONTINUATION;

    if (ws_is_control(frame->opcode) || first == ws_message_open(msg) ||
        (frame->rsv1 && (!first || !inflater))) {
        return -WS_CODE_PROTOCOL;
    }
    if (first) {
        msg->opcode = frame->opcode;
        msg->compressed = frame->rsv1;
        msg->utf8 = (struct utf8_state){0};
        msg->gathered.len = 0;
    }
    if (frame->payload.len > bytes_max || msg->gathered.len > bytes_max - frame->payload.len) {
        return -WS_CODE_TOO_LARGE;
    }
    if (msg->opcode == WS_TEXT && !msg->compressed &&
        (!utf8_feed(&msg->utf8, frame->payload.data, frame->payload.len) ||
            (frame->fin && !utf8_done(&msg->utf8)))) {
        return -WS_CODE_BAD_DATA;
    }
    struct span whole = frame->payload;
    if (!first || !frame->fin) {
        if (bytes_append(&msg->gathered, frame->payload.data, frame->payload.len)) {
            return -WS_CODE_INTERNAL;
        }
        whole = span_of(msg->gathered.data, msg->gathered.len);
    }
    if (!frame->fin) {
        return 0;
    }
    if (msg->compressed) {
        int got = inflate_message(msg, inflater, whole, bytes_max, &whole);
        if (got < 0) {
            return got;
        }
    }
    *ret_opcode = msg->opcode;
    *ret_payload = whole;
    msg->opcode = 0;
    return 1;
}

void ws_message_fini(struct ws_message *msg)
{
    bytes_fini(&msg->gathered);
    bytes_fini(&msg->inflated);
    *msg = (struct ws_message){0};
}

bool ws_close_code_ok(uint16_t code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

int ws_close_parse(struct span payload, uint16_t *ret_code, struct span *ret_reason)
{
    *ret_reason = (struct span){0};
    if (payload.len == 0) {
        *ret_code = WS_CODE_NONE;
        return 0;
    }
    if (payload.len == 1) {
        return -WS_CODE_PROTOCOL;
    }
    uint16_t code = (uint16_t)load_be(payload.data, 2);
    if (!ws_close_code_ok(code)) {
        return -WS_CODE_PROTOCOL;
    }
    struct span reason = span_of(payload.data + 2, payload.len - 2);
    if (!utf8_valid(reason.data, reason.len)) {
        return -WS_CODE_BAD_DATA;
    }
    *ret_code = code;
    *ret_reason = reason;
    return 0;
}

size_t ws_close_payload(uint8_t out[WS_CONTROL_BYTES_MAX], uint16_t code, struct span reason)
{
    size_t len = reason.len;

    if (code == WS_CODE_NONE) {
        return 0;
    }
    out[0] = (uint8_t)(code >> 8);
    out[1] = (uint8_t)code;
    if (len > WS_CONTROL_BYTES_MAX - 2) {
        len = WS_CONTROL_BYTES_MAX - 2;
        while (len > 0 && (reason.data[len] & 0xc0) == 0x80) {
            len--;
        }
    }
    if (len > 0) {
        memcpy(out + 2, reason.data, len);
    }
    return 2 + len;
}
