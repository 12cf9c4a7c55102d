#include <errno.h>

#include "base/json.h"
#include "base/json_scan.h"

/* Does the raw string equal a pointer's token, in which ~1 is a slash and ~0 a tilde? */
static bool name_is_token(struct span raw, struct span token)
{
    struct json_scan s = {.at = raw.data + 1, .end = raw.data + raw.len - 1};
    size_t used = 0;
    uint8_t piece[4];

    while (s.at < s.end) {
        size_t len = 1;
        if (*s.at == '\\') {
            len = json_scan_escape(&s, piece);
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
static int enter_member(struct json_scan *s, struct span token)
{
    const uint8_t *found = NULL;
    struct span name;

    s->at++;
    int more = json_scan_member(s, true, &name);
    while (more == 1) {
        if (name_is_token(name, token)) {
            if (found) {
                return -EEXIST;
            }
            found = s->at;
        }
        if (!json_scan_value(s, JSON_DEPTH_MAX)) {
            return -EBADMSG;
        }
        more = json_scan_comma(s, '}');
        if (more == 1) {
            more = json_scan_member(s, false, &name);
        }
    }
    if (!found) {
        return -ENOENT;
    }
    s->at = found;
    return 0;
}

/* Moves from an array at s->at to an element. Indexes have no sign and no leading zero. */
static int enter_element(struct json_scan *s, struct span token)
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
    json_scan_space(s);
    if (s->at < s->end && *s->at == ']') {
        return -ENOENT;
    }
    for (; index > 0; index--) {
        if (!json_scan_value(s, JSON_DEPTH_MAX)) {
            return -EBADMSG;
        }
        if (json_scan_comma(s, ']') != 1) {
            return -ENOENT;
        }
    }
    json_scan_space(s);
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
    struct json_scan s = json_scan_of(data, len);
    size_t used = 0;

    if (!pointer_ok(pointer)) {
        return -EINVAL;
    }
    if (!json_valid(data, len)) {
        return -EBADMSG;
    }
    json_scan_space(&s);
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
    if (!json_scan_value(&s, JSON_DEPTH_MAX)) {
        return -EBADMSG;
    }
    *ret_value = span_of(start, (size_t)(s.at - start));
    return 0;
}
