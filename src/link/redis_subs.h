/* Subs: which channels should be subscribed, which are, and what to say next to get there.
 *
 * Wanted channels wait in a queue and go out in commands of at most 512 names, at most 2048 names
 * unconfirmed at any time: one command for a million names would stall Redis and overrun the 32 MB
 * it keeps for us. A channel nobody wants any more stays for a while, since its listener is often
 * just reconnecting.
 *
 *   want -> QUEUED -> SENT -> LIVE -> (unwant) LINGER -> LEAVING -> gone
 *                                 <- (want) --'            '- (want) -> QUEUED
 *
 * A channel may go by two names, which come and go together: `also` is subscribed to before the name and
 * left after it, in one command unless the channels are sharded. So whoever is heard by the name is heard
 * by the other one, too.
 *
 * Pure: names are Redis's, commands are written to a buffer, the caller gives the time.
 */
#ifndef LINK_REDIS_SUBS_H
#define LINK_REDIS_SUBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/table.h"

enum { REDIS_SUBS_CHUNK = 512, REDIS_SUBS_WINDOW = 2048 };

struct redis_sub;
struct redis_sub_list {
    struct redis_sub *first, *last;
};

struct redis_subs {
    struct table table;
    struct hash_key key;
    struct redis_sub_list queued;
    struct redis_sub_list lingering; /* By the time they end, since that is the same for all. */
    uint32_t linger_ms;
    bool single; /* One name a command: in a cluster, names of one command must share a slot. */
    const char *subscribe_verb, *unsubscribe_verb;
    size_t queued_count, sent_count, live_count, leaving_count;
    size_t unconfirmed;  /* Names in commands that Redis has not confirmed. */
    size_t restore_left; /* Of those wanted at the last reset, not confirmed yet. */
};

void redis_subs_init(
    struct redis_subs *subs, const struct hash_key *key, uint32_t linger_ms, bool sharded);
void redis_subs_fini(struct redis_subs *subs);

/* also: the second name; empty: it has none. Returns 1: live; 0: will be; -ENOMEM. */
MUST_USE int redis_subs_want(struct redis_subs *subs, struct span name, struct span also);
void redis_subs_unwant(struct redis_subs *subs, struct span name, uint64_t now_ms);

/* Appends the commands that may be sent now. Returns 0 or -ENOMEM (out may hold some). */
MUST_USE int redis_subs_pump(struct redis_subs *subs, uint64_t now_ms, struct bytes *out);

/* Redis confirmed one of its names; `name` is the first. True: the channel is live now and was not before. */
bool redis_subs_confirmed(struct redis_subs *subs, struct span name, uint64_t now_ms);

/* Redis confirmed an UNSUBSCRIBE of one of its names. False: nobody asked for it, and the channel is
 * wanted. */
MUST_USE bool redis_subs_left(struct redis_subs *subs, struct span name);

/* The connection is gone: nothing is live, what is wanted is queued, the rest forgotten. */
void redis_subs_reset(struct redis_subs *subs);

/* Is everything back that was wanted at the last reset? */
static inline bool redis_subs_restored(const struct redis_subs *subs)
{
    return subs->restore_left == 0;
}

/* When the next lingering channel ends; UINT64_MAX: none. */
uint64_t redis_subs_linger_end_ms(const struct redis_subs *subs);

#endif
