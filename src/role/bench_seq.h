/* Sequence numbers as one subscriber sees them from one sender: what is missing, what came twice,
 * what came late. A window of the last 32 numbers tells a late arrival from a duplicate; what is
 * older than that counts as a duplicate. */
#ifndef ROLE_BENCH_SEQ_H
#define ROLE_BENCH_SEQ_H

#include <stdint.h>

struct bench_seq {
    uint32_t next; /* The number expected now; the first is 0. */
    uint32_t seen; /* Bit k: number next - 1 - k has come. */
};

enum bench_seq_verdict { BENCH_SEQ_NEW, BENCH_SEQ_LATE, BENCH_SEQ_TWICE };

/* *missing counts the numbers that were jumped over and have not come since. */
static inline enum bench_seq_verdict bench_seq_take(
    struct bench_seq *s, uint32_t seq, uint64_t *missing)
{
    uint32_t ahead = seq - s->next;

    if (__builtin_expect(ahead == 0, 1)) {
        s->seen = s->seen << 1 | 1;
        s->next = seq + 1;
        return BENCH_SEQ_NEW;
    }
    if (ahead < UINT32_MAX / 2) {
        *missing += ahead;
        s->seen = ahead + 1 < 32 ? s->seen << (ahead + 1) | 1 : 1;
        s->next = seq + 1;
        return BENCH_SEQ_NEW;
    }
    uint32_t age = s->next - 1 - seq;
    if (age >= 32 || s->seen >> age & 1) {
        return BENCH_SEQ_TWICE;
    }
    s->seen |= 1u << age;
    *missing -= 1;
    return BENCH_SEQ_LATE;
}

#endif
