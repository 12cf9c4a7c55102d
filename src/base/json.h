/* JSON where every event passes (RFC 8259): one pass, no tree, no allocation.
 *
 * A payload is forwarded as the bytes it came in; routing needs to know only that it is JSON and
 * the raw text of a few members. Every function validates what it walks over. Accepted is what
 * jansson accepts with JSON_DECODE_ANY | JSON_ALLOW_NUL, so lone surrogate escapes are refused,
 * with five differences: at most JSON_DEPTH_MAX levels; numbers are checked by grammar only and
 * never overflow; \u0000 may stand in a member's name; an unwanted name may occur twice; a NUL byte
 * behind a number is refused (jansson 2.14 overlooks it).
 *
 * Spans given back point into the text and live as long as it does.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"

enum { JSON_DEPTH_MAX = 64 };

/* Is the whole text one JSON value, with white space around it at most? */
MUST_USE bool json_valid(const void *data, size_t len);

/* Finds members of the object that the text must be. ret_values[i] becomes the raw value of the
 * member named keys[i] (a string keeps its quotes), or {NULL, 0} when there is none. Names are
 * compared after un-escaping; the keys are UTF-8 and differ. Validates the whole text.
 * Returns 0, -EBADMSG (not JSON), -EINVAL (JSON, but no object), or -EEXIST (a wanted name occurs
 * twice, so readers could disagree about it). On failure every ret_values[i] is {NULL, 0}. */
MUST_USE int json_find_members(const void *data, size_t len, const struct span *keys,
    size_t key_count, struct span *ret_values);

/* A walk through the elements of an array. */
struct json_array {
    struct span rest;
    bool begun;
};

/* Begins a walk. Returns 0, or -EINVAL when the text does not begin as an array. */
MUST_USE int json_array_begin(const void *data, size_t len, struct json_array *ret_array);

/* Takes the next element's raw value. Returns 1; 0 behind the last one, and then the whole text was
 * JSON; or -EBADMSG (no JSON from here on). Not to be called again after 0 or -EBADMSG. */
MUST_USE int json_array_next(struct json_array *array, struct span *ret_value);

/* Finds a value by its pointer (RFC 6901): "" is the whole text, "/a/0" the first of member a.
 * Validates the whole text first. Returns 0, -ENOENT, -EBADMSG (not JSON), -EINVAL (bad pointer),
 * or -EEXIST (a name on the way occurs twice in its object). */
MUST_USE int json_pointer(
    const void *data, size_t len, struct span pointer, struct span *ret_value);

/* Appends what a raw JSON string, quotes included, stands for. Returns 0, -EBADMSG (not exactly a
 * string) or -ENOMEM; out keeps its content on failure. */
MUST_USE int json_string_decode(struct span raw, struct bytes *out);

/* Does the raw JSON string stand for this text? False also when raw is no string. */
bool json_string_equal(struct span raw, struct span text);

/* Appends text as a JSON string with its quotes; control bytes, quote and backslash are escaped.
 * Returns 0, -EILSEQ (not UTF-8) or -ENOMEM; out keeps its content on failure. */
MUST_USE int json_append_string(struct bytes *out, const void *data, size_t len);

/* Reads a raw JSON number without fraction or exponent. Returns 0, -EINVAL, or -ERANGE. */
MUST_USE int json_int64(struct span raw, int64_t *ret);

#endif
