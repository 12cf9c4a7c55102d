#include "proto/url.h"

#include <errno.h>

/* Cuts *rest at the first `mark` and gives what stood before it; the mark itself goes. */
static struct span cut(struct span *rest, uint8_t mark)
{
    const uint8_t *found = rest->len ? memchr(rest->data, mark, rest->len) : NULL;
    struct span before = *rest;

    if (!found) {
        *rest = (struct span){0};
        return before;
    }
    before.len = (size_t)(found - rest->data);
    *rest = span_of(found + 1, rest->len - before.len - 1);
    return before;
}

void url_split(struct span target, struct span *ret_path, struct span *ret_query)
{
    *ret_query = target;
    *ret_path = cut(ret_query, '?');
}

bool url_query_next(struct span *cursor, struct span *ret_name, struct span *ret_value)
{
    while (cursor->len > 0) {
        struct span pair = cut(cursor, '&');
        if (pair.len > 0) {
            *ret_value = pair;
            *ret_name = cut(ret_value, '=');
            return true;
        }
    }
    return false;
}

bool url_path_next(struct span *cursor, struct span *ret_segment)
{
    if (cursor->len == 0 || cursor->data[0] != '/') {
        return false;
    }
    struct span rest = span_of(cursor->data + 1, cursor->len - 1);
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    size_t len = slash ? (size_t)(slash - rest.data) : rest.len;
    *ret_segment = span_of(rest.data, len);
    *cursor = span_of(rest.data + len, rest.len - len);
    return true;
}

static int hex_digit(uint8_t c)
{
    uint8_t low = c | 0x20;

    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

static int decode(struct bytes *out, struct span raw, bool plus_is_space)
{
    if (raw.len == 0) {
        return 0;
    }
    if (bytes_reserve(out, raw.len)) {
        return -ENOMEM;
    }
    uint8_t *to = out->data + out->len;
    for (size_t i = 0; i < raw.len; i++) {
        uint8_t byte = raw.data[i];
        if (byte == '%') {
            int high = raw.len - i > 2 ? hex_digit(raw.data[i + 1]) : -1;
            int low = raw.len - i > 2 ? hex_digit(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return -EBADMSG;
            }
            byte = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (byte == '+' && plus_is_space) {
            byte = ' ';
        }
        *to++ = byte;
    }
    out->len = (size_t)(to - out->data);
    return 0;
}

int url_decode_query(struct bytes *out, struct span raw)
{
    return decode(out, raw, true);
}

int url_decode_path(struct bytes *out, struct span raw)
{
    return decode(out, raw, false);
}

static bool unreserved(uint8_t c)
{
    uint8_t low = c | 0x20;
    return (c >= '0' && c <= '9') || (low >= 'a' && low <= 'z') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

int url_encode(struct bytes *out, struct span data)
{
    static const char digits[] = "0123456789ABCDEF";
    size_t size;

    if (__builtin_mul_overflow(data.len, 3, &size) || bytes_reserve(out, size)) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < data.len; i++) {
        uint8_t byte = data.data[i];
        if (unreserved(byte)) {
            out->data[out->len++] = byte;
        } else {
            out->data[out->len++] = '%';
            out->data[out->len++] = (uint8_t)digits[byte >> 4];
            out->data[out->len++] = (uint8_t)digits[byte & 15];
        }
    }
    return 0;
}
