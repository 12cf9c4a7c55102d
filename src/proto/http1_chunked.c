#include "proto/http1_chunked.h"

#include <errno.h>
#include <stdbool.h>

#include "proto/http1_head.h"

enum {
    SIZE, /* Zero is the start state. */
    EXT,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    END,
    BROKEN,
};

enum { SIZE_DIGITS_MAX = 15 }; /* 2^60: no overflow, and more than anyone may send. */

static bool text_byte(uint8_t c)
{
    return (c >= 0x20 && c != 0x7f) || c == '\t';
}

static uint8_t in_size(struct http1_chunked *chunked, uint8_t c)
{
    uint8_t low = c | 0x20;
    bool digit = c >= '0' && c <= '9';

    if (digit || (low >= 'a' && low <= 'f')) {
        chunked->left = chunked->left << 4 | (uint64_t)(digit ? c - '0' : low - 'a' + 10);
        chunked->digits += 1;
        return chunked->digits > SIZE_DIGITS_MAX ? BROKEN : SIZE;
    }
    if (chunked->digits == 0) {
        return BROKEN;
    }
    return c == '\r' ? SIZE_LF : c == ';' ? EXT : BROKEN;
}

/* Takes a byte of a trailer's name. A trailer cannot say how long the message was (RFC 9110, 6.5.1),
 * but there are readers who would believe it. */
static uint8_t in_name(struct http1_chunked *chunked, uint8_t c)
{
    static const char *const refused[] = {"transfer-encoding", "content-length"};

    for (unsigned i = 0; i < COUNT_OF(refused); i++) {
        bool fits = chunked->name_bits >> i & 1;
        uint8_t want = fits ? (uint8_t)refused[i][chunked->name_len] : 0;
        if (fits && c == ':' && want == 0) {
            return BROKEN;
        }
        if (fits && (c >= 'A' && c <= 'Z' ? c | 0x20 : c) != want) {
            chunked->name_bits &= (uint8_t) ~(1u << i);
        }
    }
    chunked->name_len += chunked->name_bits != 0;
    return c == ':' ? TRAILER_VALUE : http_token_char(c) ? TRAILER_NAME : BROKEN;
}

static uint8_t in_trailer(struct http1_chunked *chunked, uint8_t state, uint8_t c)
{
    chunked->trailer_bytes += 1;
    if (chunked->trailer_bytes > HTTP1_TRAILER_BYTES_MAX) {
        return BROKEN;
    }
    if (state == TRAILER) {
        chunked->name_len = 0;
        chunked->name_bits = 3;
        return c == '\r' ? LAST_LF : c == ':' ? BROKEN : in_name(chunked, c);
    }
    if (state == TRAILER_NAME) {
        return in_name(chunked, c);
    }
    return c == '\r' ? TRAILER_LF : text_byte(c) ? TRAILER_VALUE : BROKEN;
}

/* The state after one byte that is not body. */
static uint8_t step(struct http1_chunked *chunked, uint8_t c)
{
    switch (chunked->state) {
    case SIZE:
        return in_size(chunked, c);
    case EXT:
        chunked->ext_bytes += 1;
        if (chunked->ext_bytes > HTTP1_CHUNK_EXT_BYTES_MAX) {
            return BROKEN;
        }
        return c == '\r' ? SIZE_LF : text_byte(c) ? EXT : BROKEN;
    case SIZE_LF:
        chunked->digits = 0;
        return c != '\n' ? BROKEN : chunked->left > 0 ? DATA : TRAILER;
    case DATA_CR:
        return c == '\r' ? DATA_LF : BROKEN;
    case DATA_LF:
        return c == '\n' ? SIZE : BROKEN;
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return in_trailer(chunked, chunked->state, c);
    case TRAILER_LF:
        return c == '\n' ? TRAILER : BROKEN;
    case LAST_LF:
        return c == '\n' ? END : BROKEN;
    default:
        return BROKEN;
    }
}

int http1_chunked_feed(struct http1_chunked *chunked, const uint8_t *data, size_t len,
    size_t *ret_used, struct span *ret_piece)
{
    size_t at = 0;

    while (at < len && chunked->state != END) {
        if (chunked->state == DATA) {
            size_t piece = chunked->left < len - at ? (size_t)chunked->left : len - at;
            *ret_piece = span_of(data + at, piece);
            *ret_used = at + piece;
            chunked->left -= piece;
            chunked->state = chunked->left > 0 ? DATA : DATA_CR;
            return 2;
        }
        chunked->state = step(chunked, data[at]);
        at++;
        if (chunked->state == BROKEN) {
            *ret_used = at;
            return -EBADMSG;
        }
    }
    *ret_used = at;
    return chunked->state == END ? 1 : chunked->state == BROKEN ? -EBADMSG : 0;
}
