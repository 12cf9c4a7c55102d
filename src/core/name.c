#include "core/name.h"

#include <stdbool.h>

/* The smallest code point a sequence of this length may carry (RFC 3629). */
static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};

/* Length of the well-formed character at p, 0 when it is none or a control character. */
static size_t character(const uint8_t *p, size_t left)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] >> 5 == 6 ? 2 : p[0] >> 4 == 14 ? 3 : p[0] >> 3 == 30 ? 4 : 0;

    if (len == 0 || len > left) {
        return 0;
    }
    uint32_t code = len == 1 ? p[0] : p[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (p[i] >> 6 != 2) {
            return 0;
        }
        code = code << 6 | (p[i] & 0x3f);
    }
    bool surrogate = code >= 0xd800 && code <= 0xdfff;
    bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
    return code < smallest[len] || code > 0x10ffff || surrogate || control ? 0 : len;
}

static bool namespace_byte(uint8_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

struct span name_namespace(struct span name)
{
    const uint8_t *colon = name.len ? memchr(name.data, ':', name.len) : NULL;
    return span_of(name.data, colon ? (size_t)(colon - name.data) : 0);
}

const char *name_check(struct span name)
{
    struct span ns = name_namespace(name);

    if (ns.len == 0) {
        return "a channel is namespace:name, e.g. room:lobby";
    }
    if (ns.len > NAME_NAMESPACE_MAX) {
        return "the namespace before the first ':' is at most 64 bytes";
    }
    for (size_t i = 0; i < ns.len; i++) {
        if (!namespace_byte(ns.data[i])) {
            return "the namespace before the first ':' is made of a-z, 0-9, '_' and '-'";
        }
    }
    size_t rest = name.len - ns.len - 1;
    if (rest == 0) {
        return "nothing after the first ':'; 1 to 255 bytes expected";
    }
    if (rest > NAME_REST_MAX) {
        return "more than 255 bytes after the first ':'";
    }
    for (size_t i = ns.len + 1, len; i < name.len; i += len) {
        len = character(name.data + i, name.len - i);
        if (len == 0) {
            return "a channel is UTF-8 without control characters";
        }
    }
    return NULL;
}
