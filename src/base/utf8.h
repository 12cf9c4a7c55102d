/* UTF-8: is this text? (RFC 3629)
 *
 * Overlong forms, surrogates, and anything above U+10FFFF are refused, at the first byte that can
 * no longer belong to a character. Text may come in pieces cut anywhere; what is carried between
 * them is three bytes. A state of all zeroes stands at a character's start. No allocation.
 */
#ifndef BASE_UTF8_H
#define BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct utf8_state {
    uint8_t need;   /* Bytes the current character still lacks. */
    uint8_t lo, hi; /* Bounds of the next byte while need is not 0. */
};

/* Takes the next piece. False: no continuation can make this text valid; it stays false. */
MUST_USE bool utf8_feed(struct utf8_state *state, const void *data, size_t len);

/* May the text end here? */
static inline bool utf8_done(const struct utf8_state *state)
{
    return state->need == 0;
}

MUST_USE bool utf8_valid(const void *data, size_t len);

/* Bytes of the character that begins at data; 0 when it is invalid or cut off by len. */
size_t utf8_char_len(const uint8_t *data, size_t len);

/* Writes a character below U+110000 that is no surrogate. Returns its length, 1 to 4. */
size_t utf8_encode(uint32_t code, uint8_t out[4]);

#endif
