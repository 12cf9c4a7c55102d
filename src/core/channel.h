/* Channel and class: who on this shard listens to what, and how they want it written.
 *
 * A channel's local half exists while somebody here listens (or is about to). A class is the set of
 * its subscribers that want the same bytes; a publication is encoded once per class. The first
 * class lives inside the channel, and a single subscriber inside its class, so that a million
 * channels with one listener each stay small. A class with publications on the way borrows a flow
 * (open batch, sealed batches, sweep position) and gives it back when it has drained.
 */
#ifndef CORE_CHANNEL_H
#define CORE_CHANNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "core/batch.h"
#include "core/cursor.h"

struct channel;
struct shard;
struct subscriber;

/* One subscriber's place in a class. */
struct entry {
    uint32_t slot;
    uint32_t from; /* Skip what is numbered before this; 0: nothing to skip. */
};

enum class_place {
    CLASS_UNUSED, /* The room for a first class, and nobody there. */
    CLASS_FIRST,  /* Inside its channel. */
    CLASS_FURTHER,
};

struct class
{
    struct class *next;
    union {
        struct entry one; /* cap == 0 */
        struct entry *many;
    } entries;
    struct flow *flow; /* NULL while nothing is on the way. */
    uint32_t count;
    uint32_t cap;
    uint32_t published; /* Sequence number of the next publication; never 0. */
    uint8_t framing;    /* conn's: an index in its table of framings. */
    uint8_t place;      /* enum class_place */
    uint16_t view;      /* Shares it. */
};

/* Only these need to be told whose they are. */
struct further_class {
    struct class class;
    struct channel *channel;
};

/* What a class with a filter is allocated as; never inside its channel. */
struct filtered_class {
    struct further_class further; /* First. */
    /* All of the channel up to here is in the class's flow or passed it by. Its listeners hear of the
     * few that fit: without this their cursors would stay behind the channel for as long as none does. */
    struct cursor passed;
    bool known; /* passed says something: not yet, after an import. */
};

struct flow {
    struct class *class;
    struct batch *open;        /* Publications go here; NULL until one comes. */
    struct batch *head, *tail; /* Sealed, oldest first; head is being swept. */
    uint32_t index;            /* Next entry of the sweep through head. */
    struct bundle *bundle;     /* Events that are being gathered; NULL: none. */
    struct flow *next;         /* In the shard's queue of flows with work. */
    uint32_t slot;             /* Its own, in the shard's slab of flows. */
    bool queued;               /* Is in that queue. */
};

struct channel {
    uint64_t hash; /* First: this is a struct table_item. */
    struct class first;
    uint32_t batch_count;   /* Batches that name this channel. */
    uint32_t pending_count; /* Subscriptions asked for and not yet answered by home. */
    uint16_t name_len;
    uint8_t ns;
    char name[];
};

_Static_assert(
    offsetof(struct channel, name) <= 59, "a channel named in 13 bytes fits 80 of malloc's");

static inline struct span channel_name(const struct channel *channel)
{
    return span_of(channel->name, channel->name_len);
}

/* The channel of a class in use. */
static inline struct channel *class_channel(const struct class *class)
{
    if (class->place == CLASS_FIRST) {
        return (struct channel *)((uintptr_t) class - offsetof(struct channel, first));
    }
    return ((const struct further_class *)class)->channel;
}

static inline struct entry *class_entries(struct class *class)
{
    return class->cap ? class->entries.many : &class->entries.one;
}

/* Sequence numbers skip 0; how many publications lie between two of them. */
static inline uint32_t class_distance(uint32_t from, uint32_t to)
{
    return to - from - (to < from);
}

/* How many of the batch's messages are numbered before `from` (0: none). */
static inline uint32_t batch_before(const struct batch *batch, uint32_t from)
{
    uint32_t ahead = from ? class_distance(batch->first_seq, from) : 0;

    if (ahead > INT32_MAX) {
        return 0; /* `from` lies behind the batch's first. */
    }
    return ahead < batch->count ? ahead : batch->count;
}

/* The channel's local half, or NULL. */
struct channel *channel_find(struct shard *shard, uint64_t hash, struct span name);

/* Finds or makes it; NULL without memory. */
struct channel *channel_get(struct shard *shard, uint64_t hash, struct span name);

/* Frees the channel, and tells home, once nobody needs it any more. */
void channel_release(struct shard *shard, struct channel *channel);

/* Finds or makes the class for a framing and a view (shares it); NULL without memory. */
struct class *class_get(
    struct shard *shard, struct channel *channel, uint8_t framing, uint16_t view);

/* Adds the subscriber behind all that is on its way. Returns 0 or -ENOMEM. */
int class_join(struct shard *shard, struct class *class, struct subscriber *sub);

/* An empty class with nothing on the way goes; its channel perhaps with it. */
void class_release(struct shard *shard, struct class *class);

/* Takes the subscriber out; what was on the way to it is dropped(closed). May free the class. */
void class_leave(struct shard *shard, struct class *class, struct subscriber *sub);

/* Puts what is on the way to the subscriber into its outbox, before it leaves. */
void class_hand_over(struct shard *shard, struct class *class, struct subscriber *sub);

/* Encodes and appends one publication, or gathers it. Without memory it is dropped for everyone, and those
 * who want gap notices get one. */
struct publication;
void class_append(struct shard *shard, struct class *class, const struct publication *pub);

/* Events that were gathered, as one message. */
struct bundle_message {
    struct span events;
    uint64_t from, to; /* Offsets of the first and the last. */
    uint64_t time_ns;
};
void class_append_bundle(
    struct shard *shard, struct class *class, const struct bundle_message *bundle);

/* Notes that publications from..to (offsets, count of them) never got here. Takes no memory where a batch
 * is spare. */
void class_append_lost(
    struct shard *shard, struct class *class, uint64_t from, uint64_t to, uint32_t count);

/* Internal to channel, bundle and sweep: the class's flow, made if need be (NULL without memory); closes
 * the open batch; gives the flow back if nothing is in it, waiting to be swept or not. */
struct flow *flow_get(struct shard *shard, struct class *class);
void flow_seal(struct flow *flow);
void flow_release(struct shard *shard, struct flow *flow);

/* The channel has come to this cursor, whether the publication is in the class's flow or does not fit.
 * Nothing for a class without a filter. */
void class_pass(struct shard *shard, struct class *class, struct cursor cursor);

/* How far its listeners have come, if the class has a filter and nothing is on the way to them. */
bool class_passed(const struct shard *shard, const struct class *class, struct cursor *ret_cursor);

/* How many messages are on the way to entry `index` of the class and not yet brought to it. */
uint32_t class_pending(const struct class *class, uint32_t index);

/* One more reference to, or one less of, a batch. */
static inline struct batch *batch_ref(struct batch *batch)
{
    batch->refs += 1;
    return batch;
}
void batch_unref(struct shard *shard, struct batch *batch);

#endif
