/* The scanner under base/json.h: a cursor over JSON text, and steps that take one piece each.
 *
 * Only json.c, json_string.c and json_pointer.c include this. A step that fails leaves the cursor
 * anywhere; no step looks at or behind end.
 */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct json_scan {
    const uint8_t *at;
    const uint8_t *end;
};

static inline struct json_scan json_scan_of(const void *data, size_t len)
{
    const uint8_t *at = data;
    return (struct json_scan){
        .at = at, .end = len ? at + len : at}; /* NULL has no NULL + 0 in C. */
}

static inline void json_scan_space(struct json_scan *s)
{
    while (
        s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t')) {
        s->at++;
    }
}

/* Takes this byte if it is next. */
static inline bool json_scan_take(struct json_scan *s, uint8_t byte)
{
    if (s->at == s->end || *s->at != byte) {
        return false;
    }
    s->at++;
    return true;
}

/* Takes the escape at s->at (a backslash). Returns how many bytes of out it became, 0 if invalid. */
size_t json_scan_escape(struct json_scan *s, uint8_t out[4]);

/* Skips bytes that stand for themselves: ASCII but control bytes, quote and backslash. */
void json_scan_plain(struct json_scan *s);

bool json_scan_string(struct json_scan *s);
bool json_scan_number(struct json_scan *s);

/* Takes one value of at most depth_max levels, and white space before it. */
bool json_scan_value(struct json_scan *s, unsigned depth_max);

/* Takes the next member's name. 1: *ret_name is its raw name and s stands at its value; 0: the object
 * has ended; negative: not JSON. */
int json_scan_member(struct json_scan *s, bool first, struct span *ret_name);

/* After a member or element: 1 another follows, 0 the end, negative: not JSON. */
int json_scan_comma(struct json_scan *s, uint8_t close);

#endif
