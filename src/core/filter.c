#include "core/filter.h"

#include <string.h>

#include "base/json.h"

/* Takes the next name off the text. */
static struct span next_name(struct span *text)
{
    const uint8_t *comma = text->len ? memchr(text->data, ',', text->len) : NULL;
    size_t len = comma ? (size_t)(comma - text->data) : text->len;
    struct span name = span_of(text->data, len);

    *text = comma ? span_of(comma + 1, text->len - len - 1) : span_of(text->data + len, 0);
    return name;
}

const char *filter_check(struct span text)
{
    uint32_t count = 1;

    if (text.len == 0) {
        return NULL;
    }
    if (text.len > FILTER_TEXT_MAX) {
        return "longer than 1024 bytes";
    }
    if (text.data[text.len - 1] == ',') {
        return "a name is expected behind the last comma";
    }
    while (text.len) {
        struct span name = next_name(&text);
        const uint8_t *star = name.len ? memchr(name.data, '*', name.len) : NULL;
        if (name.len == 0 || name.len > FILTER_NAME_MAX) {
            return "names of 1 to 64 bytes are expected, separated by commas";
        }
        if (star && star != name.data + name.len - 1) {
            return "'*' may only stand at the end of a name";
        }
        if (count++ > FILTER_NAMES_MAX) {
            return "more than 32 names";
        }
    }
    return NULL;
}

bool filter_match(struct span text, struct span type)
{
    while (text.len) {
        struct span name = next_name(&text);
        bool prefix = name.len && name.data[name.len - 1] == '*';
        size_t len = name.len - prefix;
        bool fits = prefix ? type.len >= len : type.len == len;
        if (type.len && fits && memcmp(name.data, type.data, len) == 0) {
            return true;
        }
    }
    return false;
}

struct span filter_type(struct span payload, struct bytes *scratch)
{
    const struct span key = span_str("type");
    struct span raw;

    if (json_find_members(payload.data, payload.len, &key, 1, &raw) != 0 || raw.len < 2 ||
        raw.data[0] != '"') {
        return span_of(NULL, 0);
    }
    if (!memchr(raw.data, '\\', raw.len)) {
        return span_of(raw.data + 1, raw.len - 2);
    }
    scratch->len = 0;
    if (json_string_decode(raw, scratch) != 0) {
        return span_of(NULL, 0);
    }
    return span_of(scratch->data, scratch->len);
}
