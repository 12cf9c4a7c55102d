/* Positions: how far one connection has come in each of the channels it named, in that order.
 *
 * What the cursor list of a stream of several channels says, and the cursor of a poll's answer. A
 * position is where the end of what waits for the connection stands: all before it is sent first, or
 * declared lost. One thread.
 */
#ifndef CONN_POSITIONS_H
#define CONN_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/pack.h"
#include "core/cursor.h"

struct shard;
struct subscriber;
struct target;

struct position {
    uint64_t hash; /* Of the channel's name. */
    struct cursor cursor;
    uint32_t start; /* Of the name, in names. */
    uint16_t len;
    uint8_t state; /* enum subscribe_state: the worst it was told. */
    bool answered; /* Home has said where it begins. */
};

struct positions {
    uint32_t count;
    uint32_t unanswered;
    bool changed; /* Since somebody last cleared it. */
    char *names;  /* Behind the items. */
    struct position items[];
};

/* Gives positions for the target's channels, none of them answered; NULL without memory. */
struct positions *positions_create(const struct hash_key *key, const struct target *target);
void positions_free(struct positions *positions);

static inline struct span positions_name(const struct positions *positions, uint32_t i)
{
    return span_of(positions->names + positions->items[i].start, positions->items[i].len);
}

/* The channel of that name, or NULL. */
struct position *positions_find(struct positions *positions, struct span name);

/* Home answered, or history began anew: it stands there now. */
void positions_set(
    struct positions *positions, struct span name, uint8_t state, struct cursor cursor);

/* All up to this offset waits or is lost. */
void positions_reach(struct positions *positions, uint64_t hash, uint64_t offset);

/* Moves on past what the filters of its subscriptions let go by (shard_place()). */
void positions_follow(
    struct positions *positions, const struct shard *shard, struct subscriber *sub);

/* The state that is worst. */
uint8_t positions_state(const struct positions *positions);

/* Appends the cursors, with commas between them. */
MUST_USE int positions_append(struct bytes *out, const struct positions *positions);

void positions_export(const struct positions *positions, struct pack *out);

/* Gives what was exported. NULL: no memory, or (in->failed) bad input. */
struct positions *positions_import(const struct hash_key *key, struct unpack *in);

#endif
