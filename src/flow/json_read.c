/* jansson, with what it leaves open closed: a bound of the depth, a NUL behind a number, and
 * integers past 64 bits, which canonical JSON has (1e20 is written 100000000000000000000) and
 * jansson refuses. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "flow/canon.h"

enum {
    READ_FLAGS = JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES,
    DOUBLE_DIGITS = 17,   /* Enough for any double. */
    INTEGER_DIGITS = 310, /* From here on no double has room. */
};

/* Walks over what is outside of strings. */
struct walk {
    const uint8_t *at, *end;
};

/* The next byte that is in no string, or -1. */
static int walk_next(struct walk *walk)
{
    if (walk->at == walk->end) {
        return -1;
    }
    uint8_t byte = *walk->at++;
    if (byte != '"') {
        return byte;
    }
    while (walk->at < walk->end && *walk->at != '"') {
        walk->at += *walk->at == '\\' && walk->end - walk->at > 1 ? 2 : 1;
    }
    walk->at += walk->at < walk->end;
    return '"';
}

/* Where the text is deeper than JSON_DEPTH_MAX, or NULL. */
static const uint8_t *too_deep(struct span text)
{
    struct walk walk = {.at = text.data, .end = text.data + text.len};
    size_t depth = 0;

    for (int byte = walk_next(&walk); byte >= 0; byte = walk_next(&walk)) {
        if (byte == '{' || byte == '[') {
            if (++depth > JSON_DEPTH_MAX) {
                return walk.at - 1;
            }
        } else if ((byte == '}' || byte == ']') && depth > 0) {
            depth--;
        }
    }
    return NULL;
}

/* Writes an integer of len digits that no int64_t holds as the double it is: 17 digits, an
 * exponent and spaces, in the place it has, so that every line and column stays. */
static void rewrite_integer(char *digits, size_t len)
{
    char text[INTEGER_DIGITS + 1], number[2 * DOUBLE_DIGITS];

    if (len >= sizeof text) {
        return;
    }
    memcpy(text, digits, len);
    text[len] = '\0';
    errno = 0;
    (void)strtoll(text, NULL, 10);
    if (errno == 0) {
        return; /* It fits. */
    }
    double value = strtod(text, NULL);
    if (!isfinite(value)) {
        return;
    }
    int used = snprintf(number, sizeof number, "%.*e", DOUBLE_DIGITS - 1, value);
    int exponent = (int)strtol(strchr(number, 'e') + 1, NULL, 10);
    memmove(number + 1, number + 2, (size_t)used - 1); /* Without its point. */
    used = snprintf(number + DOUBLE_DIGITS, sizeof number - DOUBLE_DIGITS, "e%d",
        exponent - (DOUBLE_DIGITS - 1));
    memset(digits, ' ', len);
    memcpy(digits, number, DOUBLE_DIGITS + (size_t)used);
}

/* Length of the number that begins at walk->at - 1, passed over; *ret_real: it is no integer. */
static size_t walk_number(struct walk *walk, bool *ret_real)
{
    const uint8_t *begin = walk->at - 1;

    *ret_real = false;
    while (walk->at < walk->end && *walk->at && strchr("0123456789.eE+-", *walk->at)) {
        *ret_real = *ret_real || *walk->at < '0' || *walk->at > '9';
        walk->at++;
    }
    return (size_t)(walk->at - begin);
}

/* Gives a copy in which no integer is too big for jansson. NULL: no memory. */
static char *without_big_integers(struct span text)
{
    char *copy = mem_try_alloc(text.len);

    if (!copy) {
        return NULL;
    }
    memcpy(copy, text.data, text.len);
    struct walk walk = {.at = text.data, .end = text.data + text.len};
    for (int byte = walk_next(&walk); byte >= 0; byte = walk_next(&walk)) {
        const uint8_t *begin = walk.at - 1;
        bool real;
        if (byte < '0' || byte > '9') {
            continue; /* A sign goes before the digits, and stays. */
        }
        size_t len = walk_number(&walk, &real);
        if (!real && byte != '0') {
            rewrite_integer(copy + (begin - text.data), len);
        }
    }
    return copy;
}

/* Lines and columns from 1, columns in characters. */
static void say_place(struct span text, const uint8_t *at, const char *what, char *why, size_t cap)
{
    size_t line = 1, column = 1;

    for (const uint8_t *p = text.data; p < at; p++) {
        if (*p == '\n') {
            line++;
            column = 1;
        } else {
            column += (*p & 0xc0) != 0x80;
        }
    }
    snprintf(why, cap, "line %zu, column %zu: %s", line, column, what);
}

/* The sentence quotes the text, which may hold anything, and may be cut anywhere. */
static void make_printable(char *why)
{
    size_t len = strlen(why);

    for (size_t i = 0; i < len;) {
        size_t step = utf8_char_len((const uint8_t *)why + i, len - i);
        if (step == 0 || (uint8_t)why[i] < ' ' || why[i] == 0x7f) {
            why[i] = '?';
            step = 1;
        }
        i += step;
    }
}

/* jansson calls many a failed allocation an invalid token. Gives true when the text is fine. */
static bool lacks_memory(struct span text, const json_error_t *error)
{
    enum json_error_code code = json_error_code(error);

    return code == json_error_out_of_memory ||
           (code != json_error_duplicate_key && code != json_error_numeric_overflow &&
               code != json_error_null_byte_in_key && json_valid(text.data, text.len));
}

static json_t *load(struct span text, json_error_t *error)
{
    json_t *value = json_loadb((const char *)text.data, text.len, READ_FLAGS, error);

    if (value || json_error_code(error) != json_error_numeric_overflow) {
        return value;
    }
    char *copy = without_big_integers(text);
    if (!copy) {
        *error = (json_error_t){0};
        return NULL;
    }
    value = json_loadb(copy, text.len, READ_FLAGS, error);
    mem_free(copy);
    return value;
}

json_t *json_read(struct span text, char *why, size_t why_cap)
{
    json_error_t error = {0};
    const uint8_t *at = text.len ? memchr(text.data, 0, text.len) : NULL;

    errno = EBADMSG;
    if (text.len == 0) {
        snprintf(why, why_cap, "there is no JSON: the text is empty");
        return NULL;
    }
    if (at) {
        say_place(text, at, "a NUL byte cannot stand in JSON", why, why_cap);
        return NULL;
    }
    at = too_deep(text);
    if (at) {
        say_place(text, at, "JSON is taken 64 levels deep at most", why, why_cap);
        return NULL;
    }
    json_t *value = load(text, &error);
    if (value) {
        return value;
    }
    if (lacks_memory(text, &error)) {
        snprintf(why, why_cap, "there is no memory for it");
        errno = ENOMEM;
        return NULL;
    }
    snprintf(why, why_cap, "line %d, column %d: %s", error.line, error.column, error.text);
    make_printable(why);
    errno = EBADMSG;
    return NULL;
}
