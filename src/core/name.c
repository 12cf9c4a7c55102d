#include "core/name.h"

#include <stdbool.h>

#include "base/utf8.h"

/* C0, DEL and C1 control characters: one byte, or c2 80..9f. */
static bool is_control(const uint8_t *p, size_t len)
{
    return (len == 1 && (p[0] < 0x20 || p[0] == 0x7f)) || (len == 2 && p[0] == 0xc2 && p[1] < 0xa0);
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
        len = utf8_char_len(name.data + i, name.len - i);
        if (len == 0 || is_control(name.data + i, len)) {
            return "a channel is UTF-8 without control characters";
        }
    }
    return NULL;
}
