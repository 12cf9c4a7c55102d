/* WebSocket frames and messages (RFC 6455, 5 to 7), for both sides.
 *
 * An idle connection holds no state here: frames are parsed and unmasked in the caller's buffer,
 * and a whole, uncompressed message is its frame's payload. Only a message in fragments or
 * compressed needs a struct ws_message, which the caller makes when the first such frame comes and
 * may drop when the message is complete.
 *
 * Violations are returned as the negative of the close code that answers them: -1002, -1007, -1009,
 * and -1011 when there is no memory.
 */
#ifndef PROTO_WS_H
#define PROTO_WS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/utf8.h"

struct ws_inflater;

enum ws_opcode {
    WS_CONTINUATION = 0x0,
    WS_TEXT = 0x1,
    WS_BINARY = 0x2,
    WS_CLOSE = 0x8,
    WS_PING = 0x9,
    WS_PONG = 0xa,
};

/* First byte of a header: an opcode with these. */
enum {
    WS_FIN = 0x80,
    WS_RSV1 = 0x40, /* Compressed (RFC 7692); on a message's first frame only. */
};

enum {
    WS_HEADER_BYTES_MAX = 14,
    WS_CONTROL_BYTES_MAX = 125,
};

enum {
    WS_CODE_NORMAL = 1000,
    WS_CODE_GOING_AWAY = 1001,
    WS_CODE_PROTOCOL = 1002,
    WS_CODE_NONE = 1005, /* Never sent: the close frame had no code. */
    WS_CODE_BAD_DATA = 1007,
    WS_CODE_POLICY = 1008,
    WS_CODE_TOO_LARGE = 1009,
    WS_CODE_INTERNAL = 1011,
    WS_CODE_RESTART = 1012,
};

struct ws_rules {
    bool masked;          /* A server's peer must mask; a client's must not. */
    bool rsv1;            /* permessage-deflate was negotiated. */
    uint64_t payload_max; /* Bytes in one frame, refused at its header. */
};

struct ws_frame {
    uint8_t opcode; /* enum ws_opcode. */
    bool fin;
    bool rsv1;
    struct span payload; /* Unmasked, in the caller's buffer. */
};

static inline bool ws_is_control(uint8_t opcode)
{
    return opcode >= WS_CLOSE;
}

/* Parses the frame at data and unmasks it there, once it is whole. Returns 1 with *ret_frame and
 * the *ret_used bytes it took; 0 when more is needed, with *ret_need the bytes the frame has in all
 * (or its header, as long as that is cut off); or minus a close code. */
MUST_USE int ws_frame_parse(uint8_t *data, size_t len, const struct ws_rules *rules,
    struct ws_frame *ret_frame, size_t *ret_used, size_t *ret_need);

/* Writes the shortest header for len bytes of payload; first is an opcode with WS_FIN, WS_RSV1.
 * With a mask (clients) the payload must be passed through ws_mask(). Returns the header's length.
 */
size_t ws_frame_header(
    uint8_t out[WS_HEADER_BYTES_MAX], uint8_t first, uint64_t len, const uint8_t mask[4]);

/* Masks or unmasks in place (RFC 6455, 5.3). */
void ws_mask(uint8_t *data, size_t len, const uint8_t mask[4]);

/* Appends a whole frame, masked if mask is given. Returns 0 or -ENOMEM (out unchanged). */
MUST_USE int ws_append_frame(
    struct bytes *out, uint8_t first, struct span payload, const uint8_t mask[4]);

/* Is this frame a message of its own? If so it needs no struct ws_message, unless one is open: then
 * only ws_message_push() can tell that it is out of order. */
static inline bool ws_is_whole(const struct ws_frame *frame)
{
    return frame->fin && !frame->rsv1 && (frame->opcode == WS_TEXT || frame->opcode == WS_BINARY);
}

/* The check such a frame still needs: text must be UTF-8. */
static inline bool ws_text_ok(const struct ws_frame *frame)
{
    return frame->opcode != WS_TEXT || utf8_valid(frame->payload.data, frame->payload.len);
}

/* A message in the making; all zeroes is none. */
struct ws_message {
    uint8_t opcode; /* WS_TEXT or WS_BINARY while open, 0 otherwise. */
    bool compressed;
    struct utf8_state utf8;
    struct bytes gathered;
    struct bytes inflated;
};

/* Takes a frame that is not a control frame. Returns 1 when the message is complete, with its
 * opcode and payload (a view of the frame or of msg, until the next push or fini); 0 when it goes
 * on; or minus a close code: 1002 out of order, 1007 not UTF-8 (told by the first fragment that
 * shows it) or not deflate, 1009 above bytes_max, which counts inflated bytes. inflater may be NULL
 * if rsv1 was not negotiated. */
MUST_USE int ws_message_push(struct ws_message *msg, const struct ws_frame *frame,
    struct ws_inflater *inflater, size_t bytes_max, uint8_t *ret_opcode, struct span *ret_payload);

/* Is a message open? If not, msg may be dropped. */
static inline bool ws_message_open(const struct ws_message *msg)
{
    return msg->opcode != 0;
}

/* Frees what was gathered; msg is none again. */
void ws_message_fini(struct ws_message *msg);

/* May this code stand in a close frame (RFC 6455, 7.4, and the registry)? */
bool ws_close_code_ok(uint16_t code);

/* Reads a close frame's payload. Empty gives WS_CODE_NONE. Returns 0, -1002 or -1007. */
MUST_USE int ws_close_parse(struct span payload, uint16_t *ret_code, struct span *ret_reason);

/* Writes a close frame's payload; WS_CODE_NONE writes none. A reason that does not fit is cut
 * between characters. Returns its length. */
size_t ws_close_payload(uint8_t out[WS_CONTROL_BYTES_MAX], uint16_t code, struct span reason);

#endif
