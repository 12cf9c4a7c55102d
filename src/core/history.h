/* History: the rules of offsets and cursors that a durable history must keep. Pure.
 *
 * An offset is generation * 2^40 + n. Each opening of the store is a new generation, so a number that
 * was handed out and then lost in a crash is never given to another event. An epoch is a store's
 * identity and a serial; a new serial says that history began anew.
 */
#ifndef CORE_HISTORY_H
#define CORE_HISTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/cursor.h"

enum {
    HISTORY_GENERATION_SHIFT = 40,
    HISTORY_GENERATION_MAX = 8191, /* Offsets stay below 2^53. */
    HISTORY_STORE_ID_BITS = 40,
};

/* What a channel's durable history reaches from and to. Offsets; 0 where there is none. */
struct history_bounds {
    uint64_t epoch;       /* The present one; nothing older is shown or judged good. */
    uint64_t epoch_start; /* Where it began: the start of its first generation. */
    uint64_t generation;  /* The present one. */
    uint64_t first;       /* Oldest record kept. */
    uint64_t last;        /* Newest record that was ever written. */
    uint64_t boundary;    /* Newest record that was trimmed away. */
    uint64_t known_from;  /* Of what came before this nothing is remembered. */
    bool found;           /* There is a record at the very offset that was asked for. */
};

static inline uint64_t history_epoch(uint64_t store_id, uint32_t serial)
{
    return (uint64_t)serial << HISTORY_STORE_ID_BITS | store_id;
}

/* The position before a generation's first record. */
static inline uint64_t history_start(uint64_t generation)
{
    return generation << HISTORY_GENERATION_SHIFT;
}

static inline uint64_t history_generation(uint64_t offset)
{
    return offset >> HISTORY_GENERATION_SHIFT;
}

/* May somebody who stands at this cursor go on from there and miss nothing? bounds are those that were
 * asked for with this very cursor's offset. True only when the cursor's record exists, or is exactly
 * the trim boundary, or the cursor is a generation's start and nothing after it was trimmed. */
bool history_continues(const struct history_bounds *bounds, struct cursor cursor);

#endif
