#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <strings.h>

#include "base/check.h"
#include "base/mem.h"

enum { BYTES_CAP_MIN = 64 };

bool span_equal_nocase(struct span a, struct span b)
{
    return a.len == b.len &&
           (a.len == 0 || strncasecmp((const char *)a.data, (const char *)b.data, a.len) == 0);
}

int bytes_reserve(struct bytes *b, size_t more)
{
    size_t need;

    if (__builtin_add_overflow(b->len, more, &need)) {
        return -ENOMEM;
    }
    if (need <= b->cap) {
        return 0;
    }
    size_t cap = b->cap ? b->cap : BYTES_CAP_MIN;
    while (cap < need) {
        if (__builtin_mul_overflow(cap, 2, &cap)) {
            return -ENOMEM;
        }
    }
    uint8_t *data = mem_try_realloc(b->data, cap);
    if (!data) {
        return -ENOMEM;
    }
    b->data = data;
    b->cap = cap;
    return 0;
}

int bytes_append(struct bytes *b, const void *data, size_t len)
{
    int err = bytes_reserve(b, len);

    if (err) {
        return err;
    }
    if (len) {
        memcpy(b->data + b->len, data, len);
        b->len += len;
    }
    return 0;
}

int bytes_append_byte(struct bytes *b, uint8_t byte)
{
    return bytes_append(b, &byte, 1);
}

int bytes_appendv(struct bytes *b, const char *fmt, va_list args)
{
    va_list again;

    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    CHECK(len >= 0);
    int err = bytes_reserve(b, (size_t)len + 1);
    if (err) {
        return err;
    }
    vsnprintf((char *)b->data + b->len, (size_t)len + 1, fmt, args);
    b->len += (size_t)len;
    return 0;
}

int bytes_appendf(struct bytes *b, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int err = bytes_appendv(b, fmt, args);
    va_end(args);
    return err;
}

void bytes_consume(struct bytes *b, size_t count)
{
    if (count >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + count, b->len - count);
    b->len -= count;
}

void bytes_fini(struct bytes *b)
{
    mem_free(b->data);
    *b = (struct bytes){0};
}
