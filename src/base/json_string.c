#include <errno.h>
#include <string.h>

#include "base/json.h"
#include "base/json_scan.h"
#include "base/utf8.h"

static bool is_string(struct span raw)
{
    struct json_scan s = json_scan_of(raw.data, raw.len);
    return json_scan_string(&s) && s.at == s.end;
}

int json_string_decode(struct span raw, struct bytes *out)
{
    if (!is_string(raw)) {
        return -EBADMSG;
    }
    /* No escape is shorter than what it stands for, so this is room enough. */
    if (bytes_reserve(out, raw.len - 2)) {
        return -ENOMEM;
    }
    struct json_scan s = {.at = raw.data + 1, .end = raw.data + raw.len - 1};
    uint8_t *to = out->data ? out->data + out->len : NULL;
    while (s.at < s.end) {
        const uint8_t *slash = memchr(s.at, '\\', (size_t)(s.end - s.at));
        size_t plain = (size_t)((slash ? slash : s.end) - s.at);
        /* Reserved, since there is something to copy. NOLINTNEXTLINE(clang-analyzer-core.NonNull*) */
        memcpy(to, s.at, plain);
        to += plain;
        s.at += plain;
        if (slash) {
            uint8_t piece[4];
            size_t len = json_scan_escape(&s, piece);
            memcpy(to, piece, len);
            to += len;
        }
    }
    if (to) {
        out->len = (size_t)(to - out->data);
    }
    return 0;
}

bool json_string_equal(struct span raw, struct span text)
{
    if (raw.len < 2 || raw.data[0] != '"') {
        return false;
    }
    if (!memchr(raw.data, '\\', raw.len)) {
        return raw.data[raw.len - 1] == '"' && span_equal(span_of(raw.data + 1, raw.len - 2), text);
    }
    if (!is_string(raw)) {
        return false;
    }
    struct json_scan s = {.at = raw.data + 1, .end = raw.data + raw.len - 1};
    size_t used = 0;
    while (s.at < s.end) {
        uint8_t piece[4];
        size_t len = 1;
        if (*s.at == '\\') {
            len = json_scan_escape(&s, piece);
        } else {
            piece[0] = *s.at++;
        }
        if (len > text.len - used || memcmp(piece, text.data + used, len) != 0) {
            return false;
        }
        used += len;
    }
    return used == text.len;
}

static int append_escaped(struct bytes *out, uint8_t byte)
{
    switch (byte) {
    case '"':
        return bytes_append(out, "\\\"", 2);
    case '\\':
        return bytes_append(out, "\\\\", 2);
    case '\n':
        return bytes_append(out, "\\n", 2);
    case '\r':
        return bytes_append(out, "\\r", 2);
    case '\t':
        return bytes_append(out, "\\t", 2);
    default: {
        const char *digits = "0123456789abcdef";
        char code[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
        return bytes_append(out, code, sizeof code);
    }
    }
}

int json_append_string(struct bytes *out, const void *data, size_t len)
{
    size_t before = out->len;

    if (!utf8_valid(data, len)) {
        return -EILSEQ;
    }
    /* The usual string needs no escape: room for it and its quotes at once. */
    struct json_scan s = json_scan_of(data, len);
    int err = len > SIZE_MAX - 2 ? -ENOMEM : bytes_reserve(out, len + 2);
    if (!err) {
        err = bytes_append_byte(out, '"');
    }
    while (!err && s.at < s.end) {
        const uint8_t *start = s.at;
        for (;;) {
            json_scan_plain(&s);
            if (s.at == s.end || *s.at < 0x80) {
                break;
            }
            s.at++;
        }
        err = bytes_append(out, start, (size_t)(s.at - start));
        if (!err && s.at < s.end) {
            err = append_escaped(out, *s.at++);
        }
    }
    if (!err) {
        err = bytes_append_byte(out, '"');
    }
    if (err) {
        out->len = before;
    }
    return err;
}

int json_int64(struct span raw, int64_t *ret)
{
    struct json_scan s = json_scan_of(raw.data, raw.len);
    int64_t value = 0;

    if (!json_scan_number(&s) || s.at != s.end) {
        return -EINVAL;
    }
    bool negative = raw.data[0] == '-';
    for (size_t i = negative; i < raw.len; i++) {
        if (raw.data[i] < '0' || raw.data[i] > '9') {
            return -EINVAL;
        }
        /* Downwards, since the lowest number has no positive twin. */
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, raw.data[i] - '0', &value)) {
            return -ERANGE;
        }
    }
    if (!negative && __builtin_sub_overflow(0, value, &value)) {
        return -ERANGE;
    }
    *ret = value;
    return 0;
}
