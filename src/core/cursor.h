/* Cursor: where in a channel's history somebody stands, `epoch:offset`.
 *
 * The epoch names the store and how often the channel's history began anew; offsets grow for ever
 * inside it. Opaque to clients. Text form: base 36 epoch, ':', decimal offset.
 */
#ifndef CORE_CURSOR_H
#define CORE_CURSOR_H

#include <stdint.h>

#include "base/bytes.h"

struct cursor {
    uint64_t epoch;
    uint64_t offset; /* Of the last publication seen; below 2^53. */
};

enum { CURSOR_TEXT_MAX = 32 };

/* Writes the text with a NUL; returns its length. */
size_t cursor_format(struct cursor cursor, char out[CURSOR_TEXT_MAX]);

/* What a subscriber asked to continue from. */
enum since_kind {
    SINCE_NONE,  /* Live only. */
    SINCE_BEGIN, /* All that is kept. */
    SINCE_CURSOR,
    SINCE_BAD, /* Not a cursor of ours: answered with reset. */
};

struct since {
    uint8_t kind; /* enum since_kind */
    struct cursor cursor;
};

/* Never fails: what is no cursor is SINCE_BAD, an empty text or "-" is SINCE_NONE. */
struct since since_parse(struct span text);

#endif
