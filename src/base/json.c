#include "base/json.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/json_scan.h"
#include "base/utf8.h"

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

static int hex4(const uint8_t *at)
{
    int value = 0;

    for (int i = 0; i < 4; i++) {
        uint8_t c = at[i];
        uint8_t low = c | 0x20;
        if (c >= '0' && c <= '9') {
            value = value << 4 | (c - '0');
        } else if (low >= 'a' && low <= 'f') {
            value = value << 4 | (low - 'a' + 10);
        } else {
            return -1;
        }
    }
    return value;
}

/* Takes \uXXXX, or two of them where the first is a high surrogate. */
static size_t unescape_code(struct json_scan *s, uint8_t out[4])
{
    int code = s->end - s->at >= 6 ? hex4(s->at + 2) : -1;

    if (code < 0 || (code >= 0xdc00 && code <= 0xdfff)) {
        return 0;
    }
    s->at += 6;
    if (code < 0xd800 || code > 0xdbff) {
        return utf8_encode((uint32_t)code, out);
    }
    if (s->end - s->at < 6 || s->at[0] != '\\' || s->at[1] != 'u') {
        return 0;
    }
    int low = hex4(s->at + 2);
    if (low < 0xdc00 || low > 0xdfff) {
        return 0;
    }
    s->at += 6;
    return utf8_encode((uint32_t)(0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00)), out);
}

size_t json_scan_escape(struct json_scan *s, uint8_t out[4])
{
    if (s->end - s->at < 2) {
        return 0;
    }
    switch (s->at[1]) {
    case '"':
    case '\\':
    case '/':
        out[0] = s->at[1];
        break;
    case 'b':
        out[0] = '\b';
        break;
    case 'f':
        out[0] = '\f';
        break;
    case 'n':
        out[0] = '\n';
        break;
    case 'r':
        out[0] = '\r';
        break;
    case 't':
        out[0] = '\t';
        break;
    case 'u':
        return unescape_code(s, out);
    default:
        return 0;
    }
    s->at += 2;
    return 1;
}

void json_scan_plain(struct json_scan *s)
{
    while (s->end - s->at >= 8) {
        uint64_t word;
        memcpy(&word, s->at, 8);
        word = le64toh(word);
        uint64_t quote = word ^ EACH_BYTE('"');
        uint64_t slash = word ^ EACH_BYTE('\\');
        /* Each term raises the top bit of a byte; a borrow can raise it wrongly only above a byte
         * that is raised rightly, so the lowest one is exact. */
        uint64_t stop = ((word - EACH_BYTE(0x20)) & ~word) | ((quote - EACH_BYTE(1)) & ~quote) |
                        ((slash - EACH_BYTE(1)) & ~slash) | word;
        stop &= EACH_BYTE(0x80);
        if (stop) {
            s->at += __builtin_ctzll(stop) / 8;
            return;
        }
        s->at += 8;
    }
    while (s->at < s->end && *s->at >= 0x20 && *s->at < 0x80 && *s->at != '"' && *s->at != '\\') {
        s->at++;
    }
}

bool json_scan_string(struct json_scan *s)
{
    uint8_t unused[4];

    if (!json_scan_take(s, '"')) {
        return false;
    }
    for (;;) {
        json_scan_plain(s);
        if (json_scan_take(s, '"')) {
            return true;
        }
        if (s->at == s->end) {
            return false;
        }
        if (*s->at == '\\') {
            if (json_scan_escape(s, unused) == 0) {
                return false;
            }
        } else {
            size_t len = *s->at < 0x20 ? 0 : utf8_char_len(s->at, (size_t)(s->end - s->at));
            if (len == 0) {
                return false;
            }
            s->at += len;
        }
    }
}

static bool skip_digits(struct json_scan *s)
{
    const uint8_t *start = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        s->at++;
    }
    return s->at > start;
}

bool json_scan_number(struct json_scan *s)
{
    (void)json_scan_take(s, '-');
    if (!json_scan_take(s, '0') && !skip_digits(s)) {
        return false;
    }
    if (json_scan_take(s, '.') && !skip_digits(s)) {
        return false;
    }
    if (json_scan_take(s, 'e') || json_scan_take(s, 'E')) {
        (void)(json_scan_take(s, '+') || json_scan_take(s, '-'));
        return skip_digits(s);
    }
    return true;
}

static bool skip_word(struct json_scan *s, const char *word, size_t len)
{
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0) {
        return false;
    }
    s->at += len;
    return true;
}

static bool skip_scalar(struct json_scan *s)
{
    switch (*s->at) {
    case '"':
        return json_scan_string(s);
    case 't':
        return skip_word(s, "true", 4);
    case 'f':
        return skip_word(s, "false", 5);
    case 'n':
        return skip_word(s, "null", 4);
    default:
        return json_scan_number(s);
    }
}

/* Takes a name and its colon. */
static bool skip_name(struct json_scan *s)
{
    json_scan_space(s);
    if (!json_scan_string(s)) {
        return false;
    }
    json_scan_space(s);
    return json_scan_take(s, ':');
}

/* The open levels are bits of one word, lowest the innermost: 1 an object, 0 an array. There is no
 * recursion, so no peer can choose our stack. */
bool json_scan_value(struct json_scan *s, unsigned depth_max)
{
    uint64_t objects = 0;
    unsigned depth = 0;

    _Static_assert(JSON_DEPTH_MAX <= 64, "one bit a level");
    for (;;) {
        json_scan_space(s);
        if (s->at == s->end) {
            return false;
        }
        bool object = *s->at == '{';
        if (object || *s->at == '[') {
            if (depth == depth_max) {
                return false;
            }
            s->at++;
            json_scan_space(s);
            if (!json_scan_take(s, object ? '}' : ']')) {
                depth++;
                objects = objects << 1 | object;
                if (object && !skip_name(s)) {
                    return false;
                }
                continue;
            }
        } else if (!skip_scalar(s)) {
            return false;
        }
        /* A value has ended: so may the levels around it, until a comma asks for another. */
        for (;;) {
            if (depth == 0) {
                return true;
            }
            json_scan_space(s);
            if (json_scan_take(s, ',')) {
                break;
            }
            if (!json_scan_take(s, objects & 1 ? '}' : ']')) {
                return false;
            }
            objects >>= 1;
            depth--;
        }
        if ((objects & 1) && !skip_name(s)) {
            return false;
        }
    }
}

bool json_valid(const void *data, size_t len)
{
    struct json_scan s = json_scan_of(data, len);

    if (!json_scan_value(&s, JSON_DEPTH_MAX)) {
        return false;
    }
    json_scan_space(&s);
    return s.at == s.end;
}

int json_scan_member(struct json_scan *s, bool first, struct span *ret_name)
{
    json_scan_space(s);
    if (json_scan_take(s, '}')) {
        return first ? 0 : -EBADMSG;
    }
    const uint8_t *start = s->at;
    if (!json_scan_string(s)) {
        return -EBADMSG;
    }
    *ret_name = span_of(start, (size_t)(s->at - start));
    json_scan_space(s);
    if (!json_scan_take(s, ':')) {
        return -EBADMSG;
    }
    json_scan_space(s);
    return 1;
}

int json_scan_comma(struct json_scan *s, uint8_t close)
{
    json_scan_space(s);
    return json_scan_take(s, ',') ? 1 : json_scan_take(s, close) ? 0 : -EBADMSG;
}

int json_find_members(const void *data, size_t len, const struct span *keys, size_t key_count,
    struct span *ret_values)
{
    struct json_scan s = json_scan_of(data, len);

    json_scan_space(&s);
    if (!json_scan_take(&s, '{')) {
        return json_valid(data, len) ? -EINVAL : -EBADMSG;
    }
    /* Validation goes on after a double, so that -EEXIST always means JSON. */
    for (size_t i = 0; i < key_count; i++) {
        ret_values[i] = (struct span){0};
    }
    bool twice = false;
    struct span name;
    int more = json_scan_member(&s, true, &name);
    while (more == 1) {
        const uint8_t *start = s.at;
        if (!json_scan_value(&s, JSON_DEPTH_MAX - 1)) {
            more = -EBADMSG;
            break;
        }
        for (size_t i = 0; i < key_count; i++) {
            if (json_string_equal(name, keys[i])) {
                twice |= ret_values[i].data != NULL;
                ret_values[i] = span_of(start, (size_t)(s.at - start));
                break;
            }
        }
        more = json_scan_comma(&s, '}');
        if (more == 1) {
            more = json_scan_member(&s, false, &name);
        }
    }
    json_scan_space(&s);
    int err = more < 0 || s.at != s.end ? -EBADMSG : twice ? -EEXIST : 0;
    for (size_t i = 0; err && i < key_count; i++) {
        ret_values[i] = (struct span){0};
    }
    return err;
}

int json_array_begin(const void *data, size_t len, struct json_array *ret_array)
{
    struct json_scan s = json_scan_of(data, len);

    json_scan_space(&s);
    if (!json_scan_take(&s, '[')) {
        return -EINVAL;
    }
    *ret_array = (struct json_array){.rest = span_of(s.at, (size_t)(s.end - s.at))};
    return 0;
}

int json_array_next(struct json_array *array, struct span *ret_value)
{
    struct json_scan s = json_scan_of(array->rest.data, array->rest.len);

    json_scan_space(&s);
    int more = array->begun ? json_scan_comma(&s, ']') : json_scan_take(&s, ']') ? 0 : 1;
    json_scan_space(&s);
    if (more <= 0) {
        return s.at == s.end ? more : -EBADMSG;
    }
    const uint8_t *start = s.at;
    if (!json_scan_value(&s, JSON_DEPTH_MAX - 1)) {
        return -EBADMSG;
    }
    *ret_value = span_of(start, (size_t)(s.at - start));
    array->begun = true;
    array->rest = span_of(s.at, (size_t)(s.end - s.at));
    return 1;
}
