#include "base/json.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "base/utf8.h"

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

struct scan {
    const uint8_t *at;
    const uint8_t *end;
};

static inline struct scan scan_of(const void *data, size_t len)
{
    const uint8_t *at = data;
    return (struct scan){.at = at, .end = len ? at + len : at}; /* NULL has no NULL + 0 in C. */
}

static inline void skip_space(struct scan *s)
{
    while (
        s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) {
        s->at++;
    }
}

/* Takes this byte if it is next. */
static inline bool take(struct scan *s, uint8_t byte)
{
    if (s->at == s->end || *s->at != byte) {
        return false;
    }
    s->at++;
    return true;
}

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
static size_t unescape_code(struct scan *s, uint8_t out[4])
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

/* Takes the escape at s->at (a backslash). Returns how many bytes of out it became, 0 if invalid.
 */
static size_t unescape(struct scan *s, uint8_t out[4])
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

/* Skips bytes that stand for themselves: ASCII but control bytes, quote and backslash. */
static inline void skip_plain(struct scan *s)
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

static bool skip_string(struct scan *s)
{
    uint8_t unused[4];

    if (!take(s, '"')) {
        return false;
    }
    for (;;) {
        skip_plain(s);
        if (take(s, '"')) {
            return true;
        }
        if (s->at == s->end) {
            return false;
        }
        if (*s->at == '\\') {
            if (unescape(s, unused) == 0) {
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

static bool skip_digits(struct scan *s)
{
    const uint8_t *start = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9') {
        s->at++;
    }
    return s->at > start;
}

static bool skip_number(struct scan *s)
{
    (void)take(s, '-');
    if (!take(s, '0') && !skip_digits(s)) {
        return false;
    }
    if (take(s, '.') && !skip_digits(s)) {
        return false;
    }
    if (take(s, 'e') || take(s, 'E')) {
        (void)(take(s, '+') || take(s, '-'));
        return skip_digits(s);
    }
    return true;
}

static bool skip_word(struct scan *s, const char *word, size_t len)
{
    if ((size_t)(s->end - s->at) < len || memcmp(s->at, word, len) != 0) {
        return false;
    }
    s->at += len;
    return true;
}

static bool skip_scalar(struct scan *s)
{
    switch (*s->at) {
    case '"':
        return skip_string(s);
    case 't':
        return skip_word(s, "true", 4);
    case 'f':
        return skip_word(s, "false", 5);
    case 'n':
        return skip_word(s, "null", 4);
    default:
        return skip_number(s);
    }
}

/* Takes a name and its colon. */
static bool skip_name(struct scan *s)
{
    skip_space(s);
    if (!skip_string(s)) {
        return false;
    }
    skip_space(s);
    return take(s, ':');
}

/* Takes one value of at most depth_max levels. The open levels are bits of one word, lowest the
 * innermost: 1 an object, 0 an array; no recursion, so no peer can choose our stack. */
static bool skip_value(struct scan *s, unsigned depth_max)
{
    uint64_t objects = 0;
    unsigned depth = 0;

    _Static_assert(JSON_DEPTH_MAX <= 64, "one bit a level");
    for (;;) {
        skip_space(s);
        if (s->at == s->end) {
            return false;
        }
        bool object = *s->at == '{';
        if (object || *s->at == '[') {
            if (depth == depth_max) {
                return false;
            }
            s->at++;
            skip_space(s);
            if (!take(s, object ? '}' : ']')) {
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
            skip_space(s);
            if (take(s, ',')) {
                break;
            }
            if (!take(s, objects & 1 ? '}' : ']')) {
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
    struct scan s = scan_of(data, len);

    if (!skip_value(&s, JSON_DEPTH_MAX)) {
        return false;
    }
    skip_space(&s);
    return s.at == s.end;
}

/* Takes the next member. 1: *ret_name is its raw name and s stands at its value; 0: the object has
 * ended; negative: not JSON. */
static int next_member(struct scan *s, bool first, struct span *ret_name)
{
    skip_space(s);
    if (take(s, '}')) {
        return first ? 0 : -EBADMSG;
    }
    const uint8_t *start = s->at;
    if (!skip_string(s)) {
        return -EBADMSG;
    }
    *ret_name = span_of(start, (size_t)(s->at - start));
    skip_space(s);
    if (!take(s, ':')) {
        return -EBADMSG;
    }
    skip_space(s);
    return 1;
}

/* After a member or element: 1 another follows, 0 the end, negative: not JSON. */
static int next_comma(struct scan *s, uint8_t close)
{
    skip_space(s);
    return take(s, ',') ? 1 : take(s, close) ? 0 : -EBADMSG;
}

int json_find_members(const void *data, size_t len, const struct span *keys, size_t key_count,
    struct span *ret_values)
{
    struct scan s = scan_of(data, len);

    skip_space(&s);
    if (!take(&s, '{')) {
        return json_valid(data, len) ? -EINVAL : -EBADMSG;
    }
    /* Validation goes on after a double, so that -EEXIST always means JSON. */
    for (size_t i = 0; i < key_count; i++) {
        ret_values[i] = (struct span){0};
    }
    bool twice = false;
    struct span name;
    int more = next_member(&s, true, &name);
    while (more == 1) {
        const uint8_t *start = s.at;
        if (!skip_value(&s, JSON_DEPTH_MAX - 1)) {
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
        more = next_comma(&s, '}');
        if (more == 1) {
            more = next_member(&s, false, &name);
        }
    }
    skip_space(&s);
    int err = more < 0 || s.at != s.end ? -EBADMSG : twice ? -EEXIST : 0;
    for (size_t i = 0; err && i < key_count; i++) {
        ret_values[i] = (struct span){0};
    }
    return err;
}

/* Does the raw string equal a pointer's token, in which ~1 is a slash and ~0 a tilde? */
static bool name_is_token(struct span raw, struct span token)
{
    struct scan s = {.at = raw.data + 1, .end = raw.data + raw.len - 1};
    size_t used = 0;
    uint8_t piece[4];

    while (s.at < s.end) {
        size_t len = 1;
        if (*s.at == '\\') {
            len = unescape(&s, piece);
        } else {
            piece[0] = *s.at++;
        }
        for (size_t i = 0; i < len; i++) {
            if (used == token.len) {
                return false;
            }
            uint8_t want = token.data[used++];
            if (want == '~') {
                want = token.data[used++] == '0' ? '~' : '/';
            }
            if (piece[i] != want) {
                return false;
            }
        }
    }
    return used == token.len;
}

/* Moves from an object at s->at to its member. The text is known to be valid here. */
static int enter_member(struct scan *s, struct span token)
{
    const uint8_t *found = NULL;
    struct span name;

    s->at++;
    int more = next_member(s, true, &name);
    while (more == 1) {
        if (name_is_token(name, token)) {
            if (found) {
                return -EEXIST;
            }
            found = s->at;
        }
        if (!skip_value(s, JSON_DEPTH_MAX)) {
            return -EBADMSG;
        }
        more = next_comma(s, '}');
        if (more == 1) {
            more = next_member(s, false, &name);
        }
    }
    if (!found) {
        return -ENOENT;
    }
    s->at = found;
    return 0;
}

/* Moves from an array at s->at to an element. Indexes have no sign and no leading zero. */
static int enter_element(struct scan *s, struct span token)
{
    size_t index = 0;

    if (token.len == 0 || token.len > 9 || (token.data[0] == '0' && token.len > 1)) {
        return -ENOENT;
    }
    for (size_t i = 0; i < token.len; i++) {
        if (token.data[i] < '0' || token.data[i] > '9') {
            return -ENOENT;
        }
        index = index * 10 + (token.data[i] - '0');
    }
    s->at++;
    skip_space(s);
    if (s->at < s->end && *s->at == ']') {
        return -ENOENT;
    }
    for (; index > 0; index--) {
        if (!skip_value(s, JSON_DEPTH_MAX)) {
            return -EBADMSG;
        }
        if (next_comma(s, ']') != 1) {
            return -ENOENT;
        }
    }
    skip_space(s);
    return 0;
}

static bool pointer_ok(struct span pointer)
{
    for (size_t i = 0; i < pointer.len; i++) {
        if (pointer.data[i] == '~' &&
            (i + 1 == pointer.len || (pointer.data[i + 1] != '0' && pointer.data[i + 1] != '1'))) {
            return false;
        }
    }
    return pointer.len == 0 || pointer.data[0] == '/';
}

int json_pointer(const void *data, size_t len, struct span pointer, struct span *ret_value)
{
    struct scan s = scan_of(data, len);
    size_t used = 0;

    if (!pointer_ok(pointer)) {
        return -EINVAL;
    }
    if (!json_valid(data, len)) {
        return -EBADMSG;
    }
    skip_space(&s);
    while (used < pointer.len) {
        struct span token = {.data = pointer.data + used + 1};
        for (used++; used < pointer.len && pointer.data[used] != '/'; used++) {
            token.len++;
        }
        int err = *s.at == '{'   ? enter_member(&s, token)
                  : *s.at == '[' ? enter_element(&s, token)
                                 : -ENOENT;
        if (err) {
            return err;
        }
    }
    const uint8_t *start = s.at;
    if (!skip_value(&s, JSON_DEPTH_MAX)) {
        return -EBADMSG;
    }
    *ret_value = span_of(start, (size_t)(s.at - start));
    return 0;
}

static bool is_string(struct span raw)
{
    struct scan s = scan_of(raw.data, raw.len);
    return skip_string(&s) && s.at == s.end;
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
    struct scan s = {.at = raw.data + 1, .end = raw.data + raw.len - 1};
    uint8_t *to = out->data ? out->data + out->len : NULL;
    while (s.at < s.end) {
        const uint8_t *slash = memchr(s.at, '\\', (size_t)(s.end - s.at));
        size_t plain = (size_t)((slash ? slash : s.end) - s.at);
        memcpy(to, s.at, plain);
        to += plain;
        s.at += plain;
        if (slash) {
            uint8_t piece[4];
            size_t len = unescape(&s, piece);
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
    struct scan s = {.at = raw.data + 1, .end = raw.data + raw.len - 1};
    size_t used = 0;
    while (s.at < s.end) {
        uint8_t piece[4];
        size_t len = 1;
        if (*s.at == '\\') {
            len = unescape(&s, piece);
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
    struct scan s = scan_of(data, len);
    int err = len > SIZE_MAX - 2 ? -ENOMEM : bytes_reserve(out, len + 2);
    if (!err) {
        err = bytes_append_byte(out, '"');
    }
    while (!err && s.at < s.end) {
        const uint8_t *start = s.at;
        for (;;) {
            skip_plain(&s);
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
    struct scan s = scan_of(raw.data, raw.len);
    int64_t value = 0;

    if (!skip_number(&s) || s.at != s.end) {
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
