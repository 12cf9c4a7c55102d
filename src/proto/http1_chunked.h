/* The chunked transfer coding (RFC 9112, section 7.1), decoded where it lies.
 *
 * Pieces of body are spans of what was fed: nothing is copied or kept, and the state is a few
 * words. Strict, since a body's end is where requests are smuggled: hex digits and CR LF exactly,
 * no white space around sizes, extensions and trailers bounded. Trailers are checked and dropped;
 * one that speaks of the message's length is refused.
 */
#ifndef PROTO_HTTP1_CHUNKED_H
#define PROTO_HTTP1_CHUNKED_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum {
    HTTP1_CHUNK_EXT_BYTES_MAX = 1024, /* Extensions, over the whole body. */
    HTTP1_TRAILER_BYTES_MAX = 8192,   /* All trailer lines. */
};

/* All zeroes stands at a body's start. */
struct http1_chunked {
    uint64_t left; /* Bytes of the current chunk still to come; its size while that is read. */
    uint32_t ext_bytes;
    uint32_t trailer_bytes;
    uint8_t digits;
    uint8_t name_len;  /* Of the trailer being read, as far as it may be a refused one. */
    uint8_t name_bits; /* Which refused names its start fits. */
    uint8_t state;
};

/* Returns 2 with a piece of body, 1 at the end of the message, 0 when all len bytes are used and
 * more are needed, -EBADMSG for what is not this coding. *ret_used bytes are done with; call on
 * with the rest. *ret_piece points into data. */
MUST_USE int http1_chunked_feed(struct http1_chunked *chunked, const uint8_t *data, size_t len,
    size_t *ret_used, struct span *ret_piece);

#endif
