/* Listing part: one shard's share of a page, the first rows in the order that was asked for. */
#ifndef ROLE_LISTING_PART_H
#define ROLE_LISTING_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "role/gather.h"
#include "role/listing_query.h"

enum {
    LISTING_SLOTS_A_TURN = 4096,
    LISTING_ROWS_A_TURN = 128,
    LISTING_BYTES_MAX = 1024 * 1024, /* 1000 ordinary rows fit several times over. */
};

struct listing_row {
    struct listing_place place;
    uint32_t start, len; /* In text; len 0: the connection went before its row was written. */
};

struct listing_part {
    struct gather_part part;
    struct listing_query query;
    int64_t boot_ms;  /* Wall-clock time of the loops' time 0. */
    uint32_t slot;    /* Next one to look at. */
    uint32_t written; /* Rows. */
    uint32_t count;   /* Rows; a heap, the last in the order on top, until all slots are seen. */
    bool sorted;
    bool more; /* There are others behind the last row. */
    int err;
    struct listing_row *rows; /* query.limit of them. */
    struct bytes text;
};

/* For gather_question. */
bool listing_part_fill(struct gateway_shard *gs, struct gather_part *part);
void listing_part_fini(struct gather_part *part);

#endif
