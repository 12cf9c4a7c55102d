/* permessage-deflate for WebSocket (RFC 7692), without context takeover.
 *
 * Every message is compressed on its own, so one compressed frame serves all subscribers and a
 * connection keeps no window. Deflaters and inflaters are heavy (tens of KiB): one of each per
 * thread serves all connections, because each message starts afresh.
 */
#ifndef PROTO_WS_DEFLATE_H
#define PROTO_WS_DEFLATE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/bytes.h"

/* What a server agrees to, from the Sec-WebSocket-Extensions it was sent. */
struct ws_deflate_terms {
    bool agreed;
    uint8_t server_max_window_bits; /* Told to the client; 0: not mentioned. */
};

/* Reads the offers in order and takes the first that can be met: known parameters, each at most
 * once, with legal values, and a server window of at least window_bits. Call once per field with
 * the same terms (all zeroes first). */
void ws_deflate_negotiate(
    struct ws_deflate_terms *terms, struct span extensions, uint8_t window_bits);

/* Appends the value of the answering Sec-WebSocket-Extensions. Returns 0 or -ENOMEM. */
MUST_USE int ws_deflate_answer(struct bytes *out, const struct ws_deflate_terms *terms);

/* Client: is the server's answer to "permessage-deflate; client_no_context_takeover;
 * server_no_context_takeover" one we can live with? Only that extension, and no takeover. */
MUST_USE bool ws_deflate_answer_ok(struct span extensions);

struct ws_deflater;
struct ws_inflater;

/* Gives a deflater; level 1..9, window_bits 9..15 (what was negotiated with). Memory: at 12 bits 39
 * KiB, at 15 bits 268 KiB. Returns 0, -EINVAL or -ENOMEM. */
MUST_USE int ws_deflater_create(int level, int window_bits, struct ws_deflater **ret_deflater);
void ws_deflater_destroy(struct ws_deflater *deflater);

/* Appends the payload of a compressed message: raw deflate up to a sync flush, without its
 * 00 00 ff ff tail. Returns 0 or -ENOMEM (out unchanged). */
MUST_USE int ws_deflate_message(
    struct ws_deflater *deflater, struct span message, struct bytes *out);

/* Gives an inflater for any client. Returns 0 or -ENOMEM. */
MUST_USE int ws_inflater_create(struct ws_inflater **ret_inflater);
void ws_inflater_destroy(struct ws_inflater *inflater);

/* Appends the message that a compressed payload stands for. Returns 0, -1007 (not deflate, or cut
 * off), -1009 (more than bytes_max; found without growing out beyond that, up to the doubling of
 * struct bytes), or -1011 (no memory). out keeps its content on failure. */
MUST_USE int ws_inflate_message(
    struct ws_inflater *inflater, struct span payload, size_t bytes_max, struct bytes *out);

#endif
