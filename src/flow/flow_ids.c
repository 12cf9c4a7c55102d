/* UUIDv7 (RFC 9562, 5.7): the time in ms, a counter within it, and random bits. */
#include <stdio.h>

#include "flow/flow_own.h"

void flow_make_id(struct flow *flow, char out[37])
{
    uint64_t random = rng_next(&flow->rng);

    /* Time may be set back; ids of one coordinator still grow, a counter that is full borrows from the next ms. */
    if (flow->now_ms > flow->id_ms) {
        flow->id_ms = flow->now_ms;
        flow->id_count = 0;
    } else if (++flow->id_count > 0xfff) {
        flow->id_ms += 1;
        flow->id_count = 0;
    }
    snprintf(out, 37, "%08x-%04x-7%03x-%04x-%04x%08x", (unsigned)(flow->id_ms >> 16) & 0xffffffffu,
        (unsigned)flow->id_ms & 0xffffu, flow->id_count & 0xfffu,
        0x8000u | ((unsigned)random & 0x3fffu), (unsigned)(random >> 16) & 0xffffu,
        (unsigned)(random >> 32));
}
