/* The payload of a load message and the way back: {"ts":T,"late":L,"seq":S,"pub":P,"pad":"xx"}
 *
 * T is when the message was due and L how much later it was handed to the kernel, both in
 * nanoseconds of the monotonic clock; S counts the messages of sender P on that channel. Other
 * load generators that stamp {"ts":…} can read it. Reading is a handful of comparisons at a place
 * that the previous message suggested, because it happens for every delivery.
 */
#ifndef ROLE_BENCH_STAMP_H
#define ROLE_BENCH_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct bench_stamp {
    uint64_t due_ns;
    uint64_t late_ns;
    uint32_t seq;
    uint32_t sender;
};

enum { BENCH_STAMP_MAX = 112 }; /* Bytes of a payload without padding, at most. */

/* Writes a payload of `size` bytes (or the least that holds the stamp) to out, which has room for
 * the larger of size and BENCH_STAMP_MAX. Returns its length. */
size_t bench_stamp_write(const struct bench_stamp *stamp, size_t size, char *out);

/* Finds the stamp in a message that may carry other things around it. *hint is where the last one
 * was; start with 0. False when there is none. */
MUST_USE bool bench_stamp_read(
    const uint8_t *data, size_t len, uint32_t *hint, struct bench_stamp *ret);

#endif
