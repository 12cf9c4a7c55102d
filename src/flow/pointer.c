#include "flow/pointer.h"

enum {
    INDEX_DIGITS_MAX = 9,
    NAME_MAX_BYTES = 256, /* Longer ones with a tilde are looked for one by one. */
};

bool pointer_valid(struct span pointer)
{
    for (size_t i = 0; i < pointer.len; i++) {
        if (pointer.data[i] == '~' &&
            (i + 1 == pointer.len || (pointer.data[i + 1] != '0' && pointer.data[i + 1] != '1'))) {
            return false;
        }
    }
    return pointer.len == 0 || pointer.data[0] == '/';
}

bool pointer_next(struct span *cursor, struct span *ret_segment)
{
    if (cursor->len == 0) {
        return false;
    }
    struct span rest = span_of(cursor->data + 1, cursor->len - 1);
    const uint8_t *slash = rest.len ? memchr(rest.data, '/', rest.len) : NULL;
    size_t len = slash ? (size_t)(slash - rest.data) : rest.len;

    *ret_segment = span_of(rest.data, len);
    *cursor = span_of(rest.data + len, rest.len - len);
    return true;
}

bool pointer_names(struct span segment, struct span name)
{
    size_t used = 0;

    for (size_t i = 0; i < segment.len; i++) {
        uint8_t want = segment.data[i];
        if (want == '~' && i + 1 < segment.len) {
            want = segment.data[++i] == '0' ? '~' : '/';
        }
        if (used == name.len || name.data[used++] != want) {
            return false;
        }
    }
    return used == name.len;
}

static const json_t *get_member(const json_t *object, struct span segment)
{
    const char *key;
    char name[NAME_MAX_BYTES];
    size_t key_len, len = 0;
    json_t *value;

    if (segment.len == 0 || !memchr(segment.data, '~', segment.len)) {
        return json_object_getn(object, segment.len ? (const char *)segment.data : "", segment.len);
    }
    if (segment.len <= sizeof(name)) {
        for (size_t i = 0; i < segment.len; i++) {
            uint8_t c = segment.data[i];
            if (c == '~') {
                c = segment.data[++i] == '0' ? '~' : '/';
            }
            name[len++] = (char)c;
        }
        return json_object_getn(object, name, len);
    }
    json_object_keylen_foreach((json_t *)object, key, key_len, value)
    {
        if (pointer_names(segment, span_of(key, key_len))) {
            return value;
        }
    }
    return NULL;
}

static const json_t *get_element(const json_t *array, struct span segment)
{
    size_t index = 0;

    if (segment.len == 0 || segment.len > INDEX_DIGITS_MAX ||
        (segment.data[0] == '0' && segment.len > 1)) {
        return NULL;
    }
    for (size_t i = 0; i < segment.len; i++) {
        if (segment.data[i] < '0' || segment.data[i] > '9') {
            return NULL;
        }
        index = index * 10 + (segment.data[i] - '0');
    }
    return json_array_get(array, index);
}

const json_t *pointer_get(const json_t *root, struct span pointer)
{
    struct span segment;

    if (!pointer_valid(pointer)) {
        return NULL;
    }
    while (root && pointer_next(&pointer, &segment)) {
        root = json_is_object(root)  ? get_member(root, segment)
               : json_is_array(root) ? get_element(root, segment)
                                     : NULL;
    }
    return root;
}
