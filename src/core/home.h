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
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "core/mail.h"
#include "core/ring.h"

struct shard;
struct shared_home;

struct home {
    uint64_t hash; /* First: this is a struct table_item. */
    uint64_t next_offset;
    uint64_t shards;   /* Bit per listening shard. */
    struct ring *ring; /* NULL: nothing kept. */
    union {
        struct {             /* Numbered here. */
            uint32_t serial; /* Tells its epochs apart; the shard's at the last new beginning. */
            uint32_t
                unshown; /* Numbers after the newest that was shown: not stored yet, or never. */
        };
        struct shared_home *shared; /* is_shared: the broker numbers, see core/shared.h. */
    };
    uint16_t name_len;
    uint8_t ns;
    bool closed : 1;  /* Not fed by the broker yet: listeners wait (core/waiting.h). */
    bool durable : 1; /* Kept in the store. */
    bool stores : 1;  /* It gave the store an event already. */
    bool is_shared : 1;
    bool announce : 1; /* Imported when its epoch had just begun: who listens is to hear of it. */
    char name[];
};

_Static_assert(
    offsetof(struct home, name) <= 44, "a channel named in 12 bytes fits 64 of malloc's");

/* The offset of the newest that was shown. */
static inline uint64_t home_last(const struct home *home)
{
    return home->next_offset - 1 - (home->is_shared ? 0 : home->unshown);
}

static inline bool home_has_unshown(const struct home *home)
{
    return !home->is_shared && home->unshown;
}

static inline struct span home_name(const struct home *home)
{
    return span_of(home->name, home->name_len);
}

/* Handles a letter to home; takes it. home.c: */
void home_publish(struct shard *shard, struct publication *pub);
/* home_subscribe.c: */
void home_subscribe(struct shard *shard, struct mail_subscribe *mail);
void home_unsubscribe(struct shard *shard, struct mail_unsubscribe *mail);
void home_listen(struct shard *shard, struct mail_unsubscribe *mail);
void home_replay_back(struct shard *shard, struct mail_subscribe *mail);

/* The broker feeds this channel now: answers those who wait. An empty name: all channels. */
void home_opened(struct shard *shard, struct span name);

/* This channel (an empty name: every channel) may have missed publications: its history begins
 * anew, and who listens is told. For every channel that happens when it is next used, or within the
 * next ticks: a broker that comes back must not stop the shard. */
void home_new_epoch(struct shard *shard, struct span name);

/* Trims by age and budget, forgets quiet channels. Every 100 ms or so; bounded work a call. */
void home_tick(struct shard *shard);

void home_fini(struct shard *shard);

/* Internal to the files of home, durable and snapshot: */

/* Numbers a publication and shows it, now or when it is stored. Takes it. */
void home_take(struct shard *shard, struct publication *pub);
/* From here on everybody sees it; its offset becomes home's last. Borrowed. */
void home_show(struct shard *shard, struct home *home, struct publication *pub);
/* It will not be published, and its publisher hears why. Takes it. */
void home_refuse(struct shard *shard, struct publication *pub, int err);
/* The store gives a publication back, stored or not. Takes the reference. */
void home_hear_stored(struct shard *shard, struct publication *pub, int err);
/* The store's page for a letter; takes the letter, and the page's publications. */
struct store_read;
void home_hear_read(struct shard *shard, struct mail_subscribe *mail, struct store_read *page);

/* Answers from memory. Takes it. */
void home_answer(struct shard *shard, struct home *home, struct mail_subscribe *mail);

struct home *home_find(struct shard *shard, uint64_t hash, struct span name);
/* Finds or makes one; NULL without memory. */
struct home *home_get(struct shard *shard, uint64_t hash, struct span name);
/* Forgets it when nobody listens and nothing is kept. */
void home_release(struct shard *shard, struct home *home);
uint64_t home_epoch(const struct shard *shard, const struct home *home);
/* Has every channel begun a new epoch, and this one not yet? Then it does now. */
bool home_is_stale(const struct shard *shard, const struct home *home);
void home_freshen(struct shard *shard, struct home *home);
/* Tells one listening shard that an epoch began. */
void home_post_epoch(struct shard *shard, const struct home *home, uint16_t listener);

#endif
