#include "core/cursor.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

size_t cursor_format(struct cursor cursor, char out[CURSOR_TEXT_MAX])
{
    static const char digits[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    char reversed[16];
    size_t count = 0;
    uint64_t left = cursor.epoch;

    do {
        reversed[count++] = digits[left % 36];
        left /= 36;
    } while (left);
    size_t len = 0;
    while (count) {
        out[len++] = reversed[--count];
    }
    len += (size_t)snprintf(out + len, CURSOR_TEXT_MAX - len, ":%" PRIu64, cursor.offset);
    return len;
}

static bool add_digit(uint64_t *value, uint64_t base, uint64_t digit)
{
    return !__builtin_mul_overflow(*value, base, value) &&
           !__builtin_add_overflow(*value, digit, value);
}

struct since since_parse(struct span text)
{
    struct since since = {.kind = SINCE_BAD};
    size_t i = 0;

    if (text.len == 0 || (text.len == 1 && text.data[0] == '-')) {
        since.kind = SINCE_NONE;
        return since;
    }
    if (text.len == 5 && memcmp(text.data, "begin", 5) == 0) {
        since.kind = SINCE_BEGIN;
        return since;
    }
    for (; i < text.len && text.data[i] != ':'; i++) {
        uint8_t c = text.data[i];
        bool digit = c >= '0' && c <= '9';
        if (!digit && (c < 'a' || c > 'z')) {
            return since;
        }
        if (!add_digit(&since.cursor.epoch, 36, (uint64_t)(digit ? c - '0' : c - 'a' + 10))) {
            return since;
        }
    }
    if (i == 0 || i + 1 >= text.len) {
        return since;
    }
    for (i += 1; i < text.len; i++) {
        uint8_t c = text.data[i];
        if (c < '0' || c > '9' || !add_digit(&since.cursor.offset, 10, c - '0')) {
            return since;
        }
    }
    if (since.cursor.offset < 1ull << 53) {
        since.kind = SINCE_CURSOR;
    }
    return since;
}
