/* Home: the half of a channel that numbers and remembers.
 *
 * hash(channel) names the home shard. It gives each publication its offset, keeps a ring of the
 * last ones, knows which shards listen and mails them chunks. Offsets of a channel only grow: when
 * a quiet channel is forgotten its numbers go into the shard's floor, and a channel that comes
 * (back) starts above the floor, so a number never means two events in one epoch.
 */
#ifndef CORE_HOME_H
#define CORE_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "core/mail.h"
#include "core/ring.h"

struct shard;

struct home {
    uint64_t hash; /* First: this is a struct table_item. */
    uint64_t next_offset;
    uint64_t shards;   /* Bit per listening shard. */
    struct ring *ring; /* NULL: nothing kept. */
    uint32_t serial;   /* Tells its epochs apart; the shard's at the last new beginning. */
    uint16_t name_len;
    uint8_t ns;
    bool closed; /* Not fed by the broker yet: listeners wait (core/waiting.h). */
    char name[];
};

static inline struct span home_name(const struct home *home)
{
    return span_of(home->name, home->name_len);
}

/* Handles a letter to home; takes it. */
void home_publish(struct shard *shard, struct publication *pub);
void home_subscribe(struct shard *shard, struct mail_subscribe *mail);
void home_unsubscribe(struct shard *shard, struct mail_unsubscribe *mail);
void home_listen(struct shard *shard, struct mail_unsubscribe *mail);
void home_replay_back(struct shard *shard, struct mail_subscribe *mail);

/* The broker feeds this channel now: answers those who wait. An empty name: all channels. */
void home_opened(struct shard *shard, struct span name);

/* This channel (an empty name: every channel) may have missed publications: its history begins
 * anew. */
void home_new_epoch(struct shard *shard, struct span name);

/* Trims by age and budget, forgets quiet channels. Every 100 ms or so; bounded work a call. */
void home_tick(struct shard *shard);

void home_fini(struct shard *shard);

/* Internal to home and snapshot: finds or makes a home (NULL without memory); its epoch. */
struct home *home_get(struct shard *shard, uint64_t hash, struct span name);
uint64_t home_epoch(const struct shard *shard, const struct home *home);

#endif
