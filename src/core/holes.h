/* Holes: channels with events that were delivered and never stored.
 *
 * History up to a hole's end is to be forgotten in the store; until that is done, nobody goes on from
 * before it. What the store refuses, or has no room for, is asked for again: some a tick, and after a
 * refusal with a growing pause, which ends with the first event that the store takes again. Runs on the home
 * shard's thread.
 */
#ifndef CORE_HOLES_H
#define CORE_HOLES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/mail.h"
#include "base/table.h"

struct home;
struct shard;

enum { HOLES_TICK_MAX = 256, HOLES_PAUSE_MIN_MS = 200, HOLES_PAUSE_MAX_MS = 30000 };

struct holes {
    struct table channels; /* struct hole, by channel. */
    size_t cursor, mask;   /* How far ticks have looked, and in a table of which size. */
    uint64_t pause_ms;     /* After the last refusal; 0: there was none. */
    uint64_t ask_ns;       /* Nothing is asked before. */
};

/* The event of this offset is missing: the channel's history up to it is to be forgotten. */
void holes_add(struct shard *shard, uint64_t hash, struct span name, uint64_t up_to);

/* Would somebody who stands here step over one? */
bool holes_skips(const struct shard *shard, const struct home *home, uint64_t offset);

/* The store took an event. */
void holes_hope(struct shard *shard);

/* Asks again. */
void holes_tick(struct shard *shard);

/* The store's answer; takes the letter. */
void holes_hear_clear(struct shard *shard, struct mail *mail);

void holes_fini(struct holes *holes);

#endif
