#include "base/utf8.h"

#include <string.h>

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* What may follow a lead byte: Unicode, table 3-7. Only the second byte has bounds of its own. */
static inline bool lead(uint8_t byte, struct utf8_state *state)
{
    state->lo = 0x80;
    state->hi = 0xbf;
    if (byte >= 0xc2 && byte <= 0xdf) {
        state->need = 1;
    } else if (byte >= 0xe0 && byte <= 0xef) {
        state->need = 2;
        if (byte == 0xe0) {
            state->lo = 0xa0; /* Lower would be overlong. */
        } else if (byte == 0xed) {
            state->hi = 0x9f; /* Higher would be a surrogate. */
        }
    } else if (byte >= 0xf0 && byte <= 0xf4) {
        state->need = 3;
        if (byte == 0xf0) {
            state->lo = 0x90; /* Lower would be overlong. */
        } else if (byte == 0xf4) {
            state->hi = 0x8f; /* Higher would pass U+10FFFF. */
        }
    } else {
        return false;
    }
    return true;
}

static inline const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        if (word & HIGH_BITS) {
            break;
        }
        at += 8;
    }
    while (at < end && *at < 0x80) {
        at++;
    }
    return at;
}

bool utf8_feed(struct utf8_state *state, const void *data, size_t len)
{
    const uint8_t *at = data;
    const uint8_t *end = len ? at + len : at;
    struct utf8_state now = *state;

    if (now.need > 0 && now.lo > now.hi) {
        return false;
    }
    while (at < end) {
        if (now.need > 0) {
            if (*at < now.lo || *at > now.hi) {
                break;
            }
            now.need -= 1;
            now.lo = 0x80;
            now.hi = 0xbf;
            at++;
        } else if (*at < 0x80) {
            at = skip_ascii(at, end);
        } else if (lead(*at, &now)) {
            at++;
        } else {
            break;
        }
    }
    if (at < end) {
        *state = (struct utf8_state){.need = 1, .lo = 1, .hi = 0}; /* No byte fits any more. */
        return false;
    }
    *state = now;
    return true;
}

bool utf8_valid(const void *data, size_t len)
{
    struct utf8_state state = {0};
    return utf8_feed(&state, data, len) && utf8_done(&state);
}

size_t utf8_char_len(const uint8_t *data, size_t len)
{
    struct utf8_state state = {0};

    if (len == 0) {
        return 0;
    }
    if (data[0] < 0x80) {
        return 1;
    }
    if (!lead(data[0], &state) || len <= state.need) {
        return 0;
    }
    size_t count = (size_t)state.need + 1;
    return utf8_feed(&state, data + 1, count - 1) ? count : 0;
}

size_t utf8_encode(uint32_t code, uint8_t out[4])
{
    if (code < 0x80) {
        out[0] = (uint8_t)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (uint8_t)(0xc0 | code >> 6);
        out[1] = (uint8_t)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (uint8_t)(0xe0 | code >> 12);
        out[1] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | code >> 18);
    out[1] = (uint8_t)(0x80 | (code >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (code >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (code & 0x3f));
    return 4;
}
