/* Pack: numbers and bytes side by side, little-endian, for state that moves between processes.
 *
 * Both ends are sticky: after a failure nothing more happens and the error is asked for once, at the
 * end. Reading is safe with any input; a number that cannot be read is 0, bytes are empty.
 */
#ifndef BASE_PACK_H
#define BASE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct pack {
    struct bytes *out;
    int err; /* 0 or -ENOMEM. */
};

void pack_u8(struct pack *pack, uint8_t value);
void pack_u16(struct pack *pack, uint16_t value);
void pack_u32(struct pack *pack, uint32_t value);
void pack_u64(struct pack *pack, uint64_t value);

/* A 32-bit length, then the bytes. */
void pack_span(struct pack *pack, struct span span);

/* A piece of its own, which unpack_span() reads whole: the mark goes to pack_end(). */
size_t pack_begin(struct pack *pack);
void pack_end(struct pack *pack, size_t mark);

struct unpack {
    struct span rest;
    bool failed;
};

uint8_t unpack_u8(struct unpack *in);
uint16_t unpack_u16(struct unpack *in);
uint32_t unpack_u32(struct unpack *in);
uint64_t unpack_u64(struct unpack *in);

/* Borrowed from the input. Also reads a piece that pack_begin() began. */
struct span unpack_span(struct unpack *in);

/* How many records follow; fails when even the smallest would not fit (each_min bytes). */
uint32_t unpack_count(struct unpack *in, size_t each_min);

/* Marks the input as bad, for what only the reader can judge. */
void unpack_fail(struct unpack *in);

/* 0, or -EBADMSG when something could not be read. */
int unpack_error(const struct unpack *in);

#endif
