/* Inbox: what Redis sent and nobody has taken yet, as raw replies in a bounded buffer.
 *
 * Redis drops subscribers that do not read, so bytes come in first and are handed over later. A
 * reply passes two points: it is *new* once, as soon as it is whole (for whoever must not wait:
 * confirmations, canaries), and stays until it is the *oldest* and popped. At the bound the oldest
 * whole replies are given up, a quarter of the bound at a time; one that alone is larger than the
 * bound passes by without being kept. The memory is at most five quarters of the bound.
 *
 * One thread; no system calls.
 */
#ifndef LINK_REDIS_INBOX_H
#define LINK_REDIS_INBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "link/redis_resp.h"

/* A reply is given up for want of room. */
typedef void redis_inbox_drop_fn(void *ctx, struct span reply);

struct redis_inbox {
    uint8_t *data;
    size_t cap;
    size_t head;  /* The oldest whole reply. */
    size_t whole; /* Behind the last whole one. */
    size_t seen;  /* Up to here the scan has come; [whole, seen) is the start of a reply. */
    size_t len;
    size_t bytes_max;
    struct resp_scan scan;
    bool passing_by;       /* The current reply is too large to be kept. */
    uint64_t passed_count; /* Replies that were too large. */
    redis_inbox_drop_fn *drop;
    void *drop_ctx;
};

enum { REDIS_INBOX_ROOM = 64 * 1024 };

/* bytes_max: at least REDIS_INBOX_ROOM. */
void redis_inbox_init(
    struct redis_inbox *inbox, size_t bytes_max, redis_inbox_drop_fn *drop, void *drop_ctx);
void redis_inbox_fini(struct redis_inbox *inbox);

/* Gives room for at least a quarter of REDIS_INBOX_ROOM, giving up old replies if needed. Every new
 * reply must have been taken before. Returns 0 or -ENOMEM. */
MUST_USE int redis_inbox_room(struct redis_inbox *inbox, uint8_t **ret_room, size_t *ret_len);

/* The first len bytes of the room were filled. */
void redis_inbox_filled(struct redis_inbox *inbox, size_t len);

/* Gives a view of the next new reply, valid until the next call here. Returns 1; 0: none is whole;
 * negative: as resp_scan(), the stream is broken. */
MUST_USE int redis_inbox_new(struct redis_inbox *inbox, struct span *ret_reply);

/* Gives a view of the oldest whole reply, valid until the next call here; false: none. */
bool redis_inbox_oldest(const struct redis_inbox *inbox, struct span *ret_reply);

/* Takes away the oldest reply, as redis_inbox_oldest() gave it. */
void redis_inbox_pop(struct redis_inbox *inbox, struct span reply);

/* The stream ended: forgets the half reply at its end, keeps the whole ones. */
void redis_inbox_cut(struct redis_inbox *inbox);

/* Gives up everything, calling drop for each whole reply. */
void redis_inbox_drop_all(struct redis_inbox *inbox);

static inline size_t redis_inbox_bytes(const struct redis_inbox *inbox)
{
    return inbox->len - inbox->head;
}

#endif
