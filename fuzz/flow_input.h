/* What the targets of flow share: an input is lines, each of them JSON; and what holds for every
 * sentence and every result. */
#ifndef FUZZ_FLOW_INPUT_H
#define FUZZ_FLOW_INPUT_H

#include <jansson.h>

#include "base/utf8.h"
#include "flow/canon.h"
#include "flow/value.h"
#include "fuzz/fuzz.h"

/* Takes the next line off *rest; the last one may be empty. */
static inline struct span flow_line(struct span *rest)
{
    const uint8_t *end = rest->len ? memchr(rest->data, '\n', rest->len) : NULL;
    size_t len = end ? (size_t)(end - rest->data) : rest->len;
    struct span line = span_of(rest->data, len);

    *rest = end ? span_of(end + 1, rest->len - len - 1) : span_of(NULL, 0);
    return line;
}

/* Gives its JSON; NULL when it is none. */
static inline json_t *flow_json(struct span text)
{
    char why[200] = "";
    json_t *value = json_read(text, why, sizeof(why));

    CHECK(value || why[0]);
    return value;
}

/* A sentence is there, ends within its buffer, and is one line of UTF-8. */
static inline void flow_check_sentence(const char *why, size_t cap)
{
    size_t len = strnlen(why, cap);

    CHECK(len > 0 && len < cap && utf8_valid(why, len));
    for (size_t i = 0; i < len; i++) {
        CHECK((uint8_t)why[i] >= 0x20 && why[i] != 0x7f);
    }
}

/* What was made is no larger than it may be; it can be stored, and what is read back is the same.
 * Gives that. */
static inline json_t *flow_check_result(const json_t *value, size_t bytes_max)
{
    struct bytes text = {0};

    CHECK(value_fits(value, VALUE_DEPTH_MAX, &bytes_max));
    CHECK(canon_append(&text, value) == 0);
    json_t *again = flow_json(span_of(text.data, text.len));
    CHECK(again && value_equal(value, again));
    bytes_fini(&text);
    return again;
}

#endif
