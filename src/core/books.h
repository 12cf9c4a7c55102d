/* Books: every delivery is accounted for.
 *
 *   accepted = delivered + dropped (by reason) + queued
 *
 * A delivery is one publication for one subscriber. It is accepted when the publication is appended
 * to the subscriber's class, long before anybody tries to send it, so that the identity is a check
 * and not a definition. Delivered means: wholly taken by the kernel.
 */
#ifndef CORE_BOOKS_H
#define CORE_BOOKS_H

#include <stdint.h>

enum drop_reason {
    DROP_SLOW,      /* The outbox was full. */
    DROP_CONFLATED, /* A newer one of the same key took its place. */
    DROP_OVERLOAD,  /* The shard fell behind its mail. */
    DROP_NO_VICTIM, /* The outbox was full of other namespaces' messages. */
    DROP_CLOSED,    /* Still queued when the connection or subscription ended. */
    DROP_MEMORY,    /* No memory to encode or queue it. */
    DROP_REASONS,
};

/* As used in metrics, gap notices and listings. */
extern const char *const drop_reason_names[DROP_REASONS];

struct books {
    uint64_t accepted;
    uint64_t delivered;
    uint64_t dropped[DROP_REASONS];
    uint64_t queued;  /* In outboxes. */
    uint64_t pending; /* In batches that a sweep has not brought to the subscriber yet. */
};

static inline uint64_t books_dropped(const struct books *books)
{
    uint64_t sum = 0;
    for (int i = 0; i < DROP_REASONS; i++) {
        sum += books->dropped[i];
    }
    return sum;
}

/* Zero when the books balance; anything else is our bug. */
static inline int64_t books_difference(const struct books *books)
{
    return (int64_t)(books->accepted - books->delivered - books_dropped(books) - books->queued -
                     books->pending);
}

#endif
