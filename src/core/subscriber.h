/* Subscriber: what the core knows of one connection.
 *
 * The first 64 bytes are all that a delivery touches. conn embeds this at the start of its slab
 * slot; the slot's index is the subscriber's name inside the shard. A subscription is the
 * subscriber's end of one entry in a class: where the entry stands, and the class's sequence number
 * when it was made. The first subscription is inline, others live in a list that most connections
 * never have.
 */
#ifndef CORE_SUBSCRIBER_H
#define CORE_SUBSCRIBER_H

#include <stdbool.h>
#include <stdint.h>

#include "core/books.h"

struct class;
struct outbox;
struct pending;
struct shard;

struct subscription {
    struct class *class; /* NULL: none. */
    uint32_t index;      /* Of the entry in the class. */
    uint32_t joined;     /* The class's sequence number then; accepted is counted from it. */
};

struct subscription_list {
    uint32_t count, cap;
    struct subscription items[];
};

enum {                 /* subscriber.flags */
    SUB_DIRECT = 1,    /* Exactly one subscription, plain socket, nothing queued: send at once. */
    SUB_PLAIN = 2,     /* The socket takes plain bytes (no TLS). */
    SUB_DIRTY = 4,     /* On the shard's list of connections to flush. */
    SUB_BLOCKED = 8,   /* The kernel took less than it was given: wait until it is writable. */
    SUB_DROPPING = 16, /* Lost messages since its outbox was last empty. */
    SUB_DOOMED = 32,   /* Will be closed at the end of the turn: nothing more goes in or out. */
    SUB_DOOMED_SLOW = 64, /* … because of the policy `disconnect`. */
    SUB_PAGED = 128,      /* A page of a replay is asked for. */
    SUB_WATCHED = 256,    /* conn follows what waits for it: nothing goes past its outbox. */
};

struct subscriber {
    int32_t handle; /* conn's: the descriptor. */
    uint16_t flags;
    uint16_t subscription_count;
    struct outbox *outbox; /* NULL unless bytes wait. */
    uint64_t delivered;
    uint32_t life_tick; /* conn's: when the peer last gave a sign of life. */
    uint32_t slot;
    struct subscription first;
    struct subscription_list *more;
    uint32_t generation; /* conn's: tells a reused slot from its former owner. */
    uint32_t next_dirty; /* Slot; SLAB_NONE ends the list. */
    /* Second line. */
    uint64_t accepted;       /* From subscriptions that ended, and replays. */
    uint64_t *dropped;       /* By reason; NULL until the first drop. */
    uint32_t pending_count;  /* Subscriptions asked for and not live yet. */
    uint32_t prev_dirty;     /* Slot; SLAB_NONE at the head of the list. */
    struct pending *pending; /* Those, the newest first. */
};

_Static_assert(sizeof(struct subscriber) == 96, "the hot line is 64 bytes, the rest 32");

/* Books of one subscriber, counted afresh by walking what is queued for it: O(subscriptions). */
struct books subscriber_books(const struct shard *shard, const struct subscriber *sub);

/* The subscription to this class, or NULL. */
struct subscription *subscriber_find(struct subscriber *sub, const struct class *class);

/* Adds a subscription; -EMFILE never, -ENOMEM possible. */
int subscriber_add(struct subscriber *sub, struct class *class, uint32_t index, uint32_t joined);

/* Forgets a subscription (its entry is already out of the class). */
void subscriber_remove(struct subscriber *sub, struct subscription *subscription);

/* The i-th subscription, 0 ≤ i < subscription_count. */
static inline struct subscription *subscriber_at(struct subscriber *sub, uint32_t i)
{
    return i == 0 ? &sub->first : &sub->more->items[i - 1];
}

#endif
