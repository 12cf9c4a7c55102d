/* Bytes: a growing byte buffer, and a borrowed view of bytes.
 *
 * A `struct bytes` of all zeroes is empty and valid. It grows by doubling through
 * mem_try_realloc(); an append that cannot grow returns -ENOMEM and leaves the content as it was.
 * Not thread-safe.
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/attr.h"

struct bytes {
    uint8_t *data;
    size_t len; /* Bytes in use. */
    size_t cap; /* Bytes allocated. */
};

/* A view; the bytes belong to someone else. Not NUL-terminated. */
struct span {
    const uint8_t *data;
    size_t len;
};

static inline struct span span_of(const void *data, size_t len)
{
    return (struct span){.data = data, .len = len};
}

static inline struct span span_str(const char *text)
{
    return span_of(text, strlen(text));
}

static inline bool span_equal(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* ASCII case is ignored; header names and tokens. */
bool span_equal_nocase(struct span a, struct span b);

/* Makes room for `more` bytes behind len. Returns 0 or -ENOMEM. */
MUST_USE int bytes_reserve(struct bytes *b, size_t more);

MUST_USE int bytes_append(struct bytes *b, const void *data, size_t len);
/* Inline, so that the length of a literal is known where it is written. */
MUST_USE static inline int bytes_append_str(struct bytes *b, const char *text)
{
    return bytes_append(b, text, strlen(text));
}
MUST_USE int bytes_append_byte(struct bytes *b, uint8_t byte);
MUST_USE int bytes_appendf(struct bytes *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
MUST_USE int bytes_appendv(struct bytes *b, const char *fmt, va_list args) PRINTF_LIKE(2, 0);

/* Removes the first `count` bytes (at most len). */
void bytes_consume(struct bytes *b, size_t count);

/* Frees the memory and leaves an empty, valid buffer. */
void bytes_fini(struct bytes *b);

#endif
