/* What fuzz targets share: the entry point, and ways to cut and copy an input.
 *
 * A property is a CHECK(): it holds for every input, or the target stops with the input at hand.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/bytes.h"
#include "base/check.h" /* IWYU pragma: export */
#include "base/mem.h"
#include "base/rng.h"

/* Called by libFuzzer, or by replay_main.c for each file. Returns 0. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Gives a copy of exactly len bytes, so that AddressSanitizer sees the first one too many. */
static inline uint8_t *fuzz_copy(const void *data, size_t len)
{
    uint8_t *copy = mem_alloc(len);
    if (len > 0) {
        memcpy(copy, data, len);
    }
    return copy;
}

/* How an input is cut into pieces: whole, bytes one by one, or by chance from a seed. */
struct fuzz_cuts {
    enum { FUZZ_WHOLE, FUZZ_BYTES, FUZZ_RANDOM } how;
    struct rng rng;
};

static inline struct fuzz_cuts fuzz_cuts_of(int how, size_t seed)
{
    struct fuzz_cuts cuts = {.how = how};
    rng_init(&cuts.rng, seed);
    return cuts;
}

/* The length of the next piece; 1 to left. */
static inline size_t fuzz_piece(struct fuzz_cuts *cuts, size_t left)
{
    if (cuts->how == FUZZ_WHOLE || left == 0) {
        return left;
    }
    if (cuts->how == FUZZ_BYTES) {
        return 1;
    }
    return 1 + (size_t)rng_below(&cuts->rng, rng_below(&cuts->rng, 4) ? 16 % (left + 1) : left);
}

/* Two records of what happened, made with different cuts, must agree. */
static inline void fuzz_check_same(const struct bytes *a, const struct bytes *b)
{
    CHECK(span_equal(span_of(a->data, a->len), span_of(b->data, b->len)));
}

/* Notes one thing that happened: a name, a number and bytes. */
static inline void fuzz_note(struct bytes *record, const char *what, uint64_t number, struct span s)
{
    int err = bytes_appendf(record, "%s %llu %zu:", what, (unsigned long long)number, s.len);
    if (!err) {
        err = bytes_append(record, s.data, s.len);
    }
    CHECK(!err);
}

#endif
