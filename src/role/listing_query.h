/* Listing query: which connections are asked for, in which order, from where on. */
#ifndef ROLE_LISTING_QUERY_H
#define ROLE_LISTING_QUERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "core/name.h"
#include "http/session.h"
#include "rt/sock.h"

enum listing_sort { LISTING_BY_ID, LISTING_BY_QUEUED, LISTING_BY_DROPPED, LISTING_BY_AGE };

/* A place in the order: by rank, then by id. */
struct listing_place {
    uint64_t rank;
    uint64_t id;
};

struct listing_text {
    uint16_t len; /* 0: any. */
    char data[NAME_MAX_BYTES];
};

/* Without pointers: it travels by mail. */
struct listing_query {
    uint8_t sort; /* enum listing_sort */
    bool has_after;
    bool nobody; /* A filter is longer than what it is compared with can be. */
    uint32_t limit;
    struct listing_place after;
    struct listing_text user, channel, address;
};

/* Reads the parameters. Returns 0, or -EINVAL with a sentence in why, or -ENOMEM. */
MUST_USE int listing_query_read(
    struct listing_query *query, const struct http_exchange *x, char *why, size_t why_cap);

static inline bool listing_before(struct listing_place a, struct listing_place b)
{
    return a.rank < b.rank || (a.rank == b.rank && a.id < b.id);
}

/* Writes the token that stands for a place, at most LISTING_TOKEN_MAX bytes with the NUL. */
enum { LISTING_TOKEN_MAX = 40 };
void listing_token(uint8_t sort, struct listing_place place, char *out);

/* Reads lower-case hexadecimal without leading zeros, as ids are written. */
MUST_USE bool listing_hex(struct span text, uint64_t *ret_value);

#endif
