#include "base/base64.h"

#include <errno.h>

static const char alphabet[65] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int base64_encode(struct bytes *out, const void *data, size_t len)
{
    const uint8_t *in = data;
    size_t groups = len / 3 + (len % 3 != 0);
    size_t size;

    if (__builtin_mul_overflow(groups, 4, &size) || bytes_reserve(out, size)) {
        return -ENOMEM;
    }
    uint8_t *to = out->data + out->len;
    size_t at = 0;
    for (; at + 3 <= len; at += 3) {
        uint32_t bits = (uint32_t)in[at] << 16 | (uint32_t)in[at + 1] << 8 | in[at + 2];
        *to++ = (uint8_t)alphabet[bits >> 18];
        *to++ = (uint8_t)alphabet[bits >> 12 & 63];
        *to++ = (uint8_t)alphabet[bits >> 6 & 63];
        *to++ = (uint8_t)alphabet[bits & 63];
    }
    if (at < len) {
        bool two = len - at == 2;
        uint32_t bits = (uint32_t)in[at] << 16 | (two ? (uint32_t)in[at + 1] << 8 : 0);
        *to++ = (uint8_t)alphabet[bits >> 18];
        *to++ = (uint8_t)alphabet[bits >> 12 & 63];
        *to++ = two ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        *to++ = '=';
    }
    out->len += size;
    return 0;
}

/* The six bits a character stands for, or -1. */
static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

int base64_decode(struct bytes *out, const void *data, size_t len)
{
    const uint8_t *in = data;

    if (len % 4 != 0) {
        return -EBADMSG;
    }
    if (len == 0) {
        return 0;
    }
    if (bytes_reserve(out, len / 4 * 3)) {
        return -ENOMEM;
    }
    size_t pad = in[len - 1] != '=' ? 0 : in[len - 2] != '=' ? 1 : 2;
    uint8_t *to = out->data + out->len;
    for (size_t at = 0; at < len; at += 4) {
        size_t held = at + 4 == len ? 4 - pad : 4;
        uint32_t bits = 0;
        for (size_t i = 0; i < 4; i++) {
            int value = i < held ? value_of(in[at + i]) : 0;
            if (value < 0) {
                return -EBADMSG;
            }
            bits = bits << 6 | (uint32_t)value;
        }
        uint32_t unused = held == 4 ? 0 : held == 3 ? 0xff : 0xffff;
        if (bits & unused) {
            return -EBADMSG;
        }
        for (size_t i = 0; i + 1 < held; i++) {
            *to++ = (uint8_t)(bits >> (16 - 8 * i));
        }
    }
    out->len = (size_t)(to - out->data);
    return 0;
}
