#include "link/redis_history.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sha1.h"
#include "link/redis_resp.h"

#define OFFSET_MAX (1ull << 53)

static const char *const prefixes[] = {
    [REDIS_KEY_STREAM] = "fanout:history:{",
    [REDIS_KEY_META] = "fanout:meta:{",
    [REDIS_KEY_ONCE] = "fanout:once:{",
    [REDIS_KEY_PUB] = "fanout:pub:{",
};

static bool is_escaped(uint8_t c)
{
    return c == '%' || c == '{' || c == '}';
}

int redis_history_key(
    enum redis_key_kind kind, struct span channel, struct span more, struct redis_key *ret_key)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t len = strlen(prefixes[kind]);

    memcpy(ret_key->text, prefixes[kind], len);
    for (size_t i = 0; i < channel.len; i++) {
        uint8_t c = channel.data[i];
        if (len + 4 > REDIS_KEY_MAX) {
            return -EINVAL;
        }
        if (is_escaped(c)) {
            ret_key->text[len++] = '%';
            ret_key->text[len++] = hex[c >> 4];
            ret_key->text[len++] = hex[c & 15];
        } else {
            ret_key->text[len++] = (char)c;
        }
    }
    if (len + 1 + more.len > REDIS_KEY_MAX) {
        return -EINVAL;
    }
    ret_key->text[len++] = '}';
    if (more.len) {
        memcpy(ret_key->text + len, more.data, more.len);
    }
    ret_key->len = len + more.len;
    return 0;
}

/* The character behind '%'; -1: not one that we write so. */
static int unescape(const uint8_t *text, size_t len)
{
    if (len >= 3 && memcmp(text, "%25", 3) == 0) {
        return '%';
    }
    if (len >= 3 && memcmp(text, "%7B", 3) == 0) {
        return '{';
    }
    return len >= 3 && memcmp(text, "%7D", 3) == 0 ? '}' : -1;
}

int redis_history_channel(struct span redis_channel, char *out, size_t cap, size_t *ret_len)
{
    const char *prefix = prefixes[REDIS_KEY_PUB];
    size_t head = strlen(prefix), len = 0;

    if (redis_channel.len <= head || memcmp(redis_channel.data, prefix, head - 1) != 0) {
        return -ENOENT;
    }
    size_t end = redis_channel.len - 1;
    if (redis_channel.data[head - 1] != '{' || redis_channel.data[end] != '}') {
        return -EINVAL;
    }
    for (size_t i = head; i < end; i++) {
        int c = redis_channel.data[i];
        if (is_escaped((uint8_t)c)) {
            c = unescape(redis_channel.data + i, end - i);
            i += 2;
        }
        if (c < 0 || len == cap) {
            return -EINVAL;
        }
        out[len++] = (char)c;
    }
    *ret_len = len;
    return 0;
}

/* ---- numbers ---- */

/* Digits of base 10 or 36, one at least, no others; false past `max`. */
static bool read_number(struct span text, unsigned base, uint64_t max, uint64_t *ret)
{
    uint64_t value = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        unsigned digit = 36;
        if (c >= '0' && c <= '9') {
            digit = c - '0';
        } else if (c >= 'a' && c <= 'z') {
            digit = c - 'a' + 10;
        }
        if (digit >= base || __builtin_mul_overflow(value, base, &value) ||
            __builtin_add_overflow(value, digit, &value) || value > max) {
            return false;
        }
    }
    *ret = value;
    return text.len > 0;
}

int redis_cursor_parse(struct span text, struct redis_cursor *ret_cursor)
{
    const uint8_t *colon = text.len ? memchr(text.data, ':', text.len) : NULL;

    if (!colon) {
        return -EINVAL;
    }
    size_t head = (size_t)(colon - text.data);
    bool good = read_number(span_of(text.data, head), 36, UINT64_MAX, &ret_cursor->epoch) &&
                read_number(span_of(colon + 1, text.len - head - 1), 10, OFFSET_MAX - 1,
                    &ret_cursor->offset);
    return good && ret_cursor->epoch && ret_cursor->offset ? 0 : -EINVAL;
}

int redis_history_split(
    struct span message, struct redis_cursor *ret_cursor, struct span *ret_payload)
{
    enum { HEAD_MAX = 40 };
    size_t most = message.len < HEAD_MAX ? message.len : HEAD_MAX;
    const uint8_t *end = most ? memchr(message.data, '\n', most) : NULL;

    if (!end) {
        return -EINVAL;
    }
    size_t head = (size_t)(end - message.data);
    *ret_payload = span_of(end + 1, message.len - head - 1);
    return redis_cursor_parse(span_of(message.data, head), ret_cursor);
}

/* The text of a whole bulk reply ("$5\r\n…\r\n"); empty when it is something else. */
static struct span bulk_text(struct span reply)
{
    const uint8_t *line =
        reply.len > 5 && reply.data[0] == '$' ? memmem(reply.data, reply.len, "\r\n", 2) : NULL;
    size_t head = line ? (size_t)(line - reply.data) + 2 : 0;

    return head && head + 2 < reply.len ? span_of(reply.data + head, reply.len - head - 2)
                                        : (struct span){0};
}

int redis_history_outcome(struct span *text, struct redis_cursor *ret_cursor, bool *ret_duplicate)
{
    static const char mark[] = " duplicate";
    size_t mark_len = sizeof(mark) - 1;

    *ret_duplicate =
        text->len > mark_len && memcmp(text->data + text->len - mark_len, mark, mark_len) == 0;
    text->len -= *ret_duplicate ? mark_len : 0;
    return redis_cursor_parse(*text, ret_cursor);
}

int redis_history_answer(struct span reply, struct redis_cursor *ret_cursor, bool *ret_duplicate)
{
    struct span text = bulk_text(reply);

    return redis_history_outcome(&text, ret_cursor, ret_duplicate);
}

struct span redis_once_digits(struct span key, char out[REDIS_ONCE_DIGITS + 1])
{
    uint8_t sha[SHA1_BYTES];

    sha1(key.data, key.len, sha);
    for (size_t i = 0; i < sizeof(sha); i++) {
        snprintf(out + 2 * i, 3, "%02x", sha[i]);
    }
    return span_of(out, REDIS_ONCE_DIGITS);
}

int redis_history_page(struct span reply, struct redis_page *ret_page)
{
    enum { HEAD = 4, PER_EVENT = 3 };
    struct span items[HEAD + PER_EVENT * REDIS_PAGE_EVENTS];
    uint64_t more, before = 0;

    int count = resp_flat(reply, items, COUNT_OF(items));
    if (count < HEAD || (count - HEAD) % PER_EVENT != 0 ||
        !read_number(items[0], 36, UINT64_MAX, &ret_page->epoch) || ret_page->epoch == 0 ||
        !read_number(items[1], 10, OFFSET_MAX - 1, &ret_page->last) ||
        !read_number(items[2], 10, OFFSET_MAX - 1, &ret_page->first) ||
        !read_number(items[3], 10, 1, &more)) {
        return -EINVAL;
    }
    ret_page->more = more;
    ret_page->count = (uint32_t)(count - HEAD) / PER_EVENT;
    for (uint32_t i = 0; i < ret_page->count; i++) {
        const struct span *at = &items[HEAD + i * PER_EVENT];
        struct redis_event *event = &ret_page->events[i];
        if (!read_number(at[0], 10, OFFSET_MAX - 1, &event->offset) || event->offset <= before ||
            event->offset > ret_page->last || event->offset < ret_page->first ||
            !read_number(at[1], 10, UINT64_MAX, &event->age_ms)) {
            return -EINVAL;
        }
        event->payload = at[2];
        before = event->offset;
    }
    return 0;
}
