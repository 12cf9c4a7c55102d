/* Shard: one thread's share of everything. Owns its channels, subscribers, batches and books.
 *
 * A turn, driven by role:
 *
 *   shard_begin_turn(now)   the time, for all that follows
 *   … conn reads: shard_publish(), shard_subscribe(), shard_close() …
 *   shard_receive(mail)     for each letter from other shards
 *   shard_drain()           letters to itself, until there are none
 *   shard_sweep()           batches out, blocked connections flushed, the doomed reported
 *
 * Not thread-safe: everything on the shard's own thread.
 */
#ifndef CORE_SHARD_H
#define CORE_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/mail.h"
#include "base/slab.h"
#include "base/table.h"
#include "core/batch.h"
#include "core/books.h"
#include "core/bundle.h"
#include "core/durable.h"
#include "core/home.h"
#include "core/mail.h"
#include "core/once.h"
#include "core/ports.h"
#include "core/settings.h"
#include "core/shared.h"
#include "core/subscriber.h"
#include "core/view.h"
#include "core/waiting.h"

enum { SHARD_LATENCY_BUCKETS = 24 };

struct shard_stats {
    struct books books;
    uint64_t publications; /* Numbered by this home. */
    uint64_t publication_bytes;
    uint64_t refused;      /* Publishers told "busy". */
    uint64_t index_failed; /* Events that could not be kept under their run. */
    uint64_t sweeps;
    uint64_t spans; /* Sends asked of the kernel by sweeps and flushes. */
    uint64_t replayed;
    uint64_t history_bytes;
    uint64_t history_messages;
    uint64_t channels, homes, subscriptions;
    /* Publication in → taken by the kernel, one count per delivery, replays excepted; bucket i: below
     * 2^i × 16 µs. */
    uint64_t latency[SHARD_LATENCY_BUCKETS];
    double latency_sum_seconds;
};

/* The same by namespace, at the index of its settings. What is queued is counted in all only. */
struct ns_stats {
    uint64_t accepted;
    uint64_t delivered;
    uint64_t dropped[DROP_REASONS];
    uint64_t publications;
    uint64_t publication_bytes;
};

struct peer_shard { /* What home knows of a listening shard. */
    struct mail_chunk *open;
    uint64_t in_flight;  /* Bytes lent out and not come back. */
    struct table behind; /* struct behind, by channel. */
    uint64_t credit;     /* Bytes to report to it as an ingesting shard. */
};

struct epoch_walk { /* Through the homes, after all channels began a new epoch. */
    bool going;
    size_t mask; /* Of the table: another one, another order. */
    size_t cursor;
};

struct shard {
    uint16_t index;
    const struct core_settings *settings;
    struct core_ports ports;
    struct slab *subscribers; /* conn's slots; each starts with a struct subscriber. */
    uint64_t now_ns;          /* When the turn began, or later: a sweep brings it up to date. */
    struct shard_stats stats;
    struct ns_stats ns_stats[CORE_NAMESPACES_MAX];

    struct table channels;
    struct table homes;
    struct slab flows;
    struct flow *flow_first, *flow_last; /* With work. */
    struct batch_pool batches;
    uint64_t unswept_bytes; /* In open and sealed batches. */
    struct bundles bundles;
    struct views views;
    struct bytes type_scratch;           /* Of the publication that is being filtered. */
    struct mail *held_first, *held_last; /* Chunks that go back once batches have drained. */

    struct mail_chain self; /* Letters to itself. */
    uint32_t dirty;         /* Slot of the first connection to flush. */
    uint32_t doomed_count;
    uint32_t *doomed;
    uint32_t doomed_cap;

    struct table pending; /* struct pending: subscriptions asked for. */
    uint32_t asked;       /* Letters about them that are at home or on the way. */
    uint64_t next_pending;

    struct peer_shard peers[CORE_SHARDS_MAX];
    uint64_t ingest_in_flight[CORE_SHARDS_MAX]; /* Bytes sent to a home and not yet taken in. */
    uint64_t floor;      /* Offsets up to this were used by channels now forgotten. */
    uint32_t serial;     /* How often channels began a new epoch. */
    uint32_t serial_all; /* What it was when all of them last did. */
    struct epoch_walk epoch_walk;
    struct ring *ring_oldest, *ring_newest;
    struct ring *ring_tick; /* Where home_tick() goes on; NULL: at the oldest. */
    struct durable durable;
    struct shared shared;
    struct table waiting; /* Letters of listeners, by home; see waiting.h. */
    struct once once;     /* Idempotency keys this home has seen. */
};

/* settings and subscribers are shared and must outlive the shard. */
MUST_USE int shard_create(uint16_t index, const struct core_settings *settings,
    const struct core_ports *ports, struct slab *subscribers, struct shard **ret_shard);
/* All subscribers must be closed and all letters delivered. */
void shard_destroy(struct shard *shard);

/* New settings, see settings.h for what may differ. */
void shard_reload(struct shard *shard, const struct core_settings *settings);

void shard_begin_turn(struct shard *shard, uint64_t now_ns);

/* Takes one letter from another shard. */
void shard_receive(struct shard *shard, struct mail *mail);
void shard_drain(struct shard *shard);

/* True when there is more to sweep: do not wait for events. */
bool shard_sweep(struct shard *shard);

/* Sends a letter, also to this shard itself. Takes it. */
void shard_post(struct shard *shard, uint16_t to, struct mail *mail);

uint64_t shard_hash(const struct shard *shard, struct span name);
static inline uint16_t shard_home_of(const struct shard *shard, uint64_t hash)
{
    return (uint16_t)(((hash >> 32) * shard->settings->shard_count) >> 32);
}

/* Publishes. With a reply_id ports.published() is called once, later. Returns 0, -EBUSY (its home
 * does not take in what was sent to it: also without PUBLICATION_MAY_REFUSE, which is about what home
 * does when a listener is behind) or -ENOMEM. */
MUST_USE int shard_publish(struct shard *shard, const struct publish_order *order);

/* Is this channel's home so far behind that a link had better wait? */
bool shard_busy(const struct shard *shard, struct span name);

/* A subscription asked for and not live yet. */
struct shard_asked {
    uint64_t request_id;
    struct span name;
    uint8_t framing;
    bool continued; /* It was answered; since is how far its replay has come. */
    struct since since;
    struct span types; /* A filter, checked by filter_check(); empty: every event. */
    uint16_t batch_ms; /* Gather events for so long; 0: a frame each. */
};

/* Asks for a subscription; ports.subscribed() answers, with NULL if the subscriber is gone by then.
 * What it missed since `since` follows in pages, the next when the last is written, and then what is
 * published. *ret_id names the request. Returns 0, -EEXIST (has it, or asked already), or -ENOMEM. */
MUST_USE int shard_subscribe(struct shard *shard, struct subscriber *sub, struct span name,
    uint8_t framing, struct since since, uint64_t *ret_id);

/* The same in full, and after an import: goes on with a replay that had begun (`continued`: nothing is
 * answered any more). asked->request_id is not looked at. */
MUST_USE int shard_subscribe_from(
    struct shard *shard, struct subscriber *sub, const struct shard_asked *asked, uint64_t *ret_id);

/* Also takes back one that is not answered yet: ports.subscribed() then comes with NULL. Returns 0,
 * or -ENOENT when there is no such subscription. */
int shard_unsubscribe(
    struct shard *shard, struct subscriber *sub, struct span name, uint8_t framing);

/* Asks home for history, at most so many publications and about so many bytes of them;
 * ports.subscribed() answers with sub NULL and *ret_id. */
MUST_USE int shard_history(struct shard *shard, struct span name, struct since since,
    uint32_t count_max, uint32_t bytes_max, uint64_t *ret_id);

/* Calls fn for each subscription of this subscriber that is asked for and not live, the oldest first. */
void shard_each_pending(const struct shard *shard, const struct subscriber *sub,
    void (*fn)(void *ctx, const struct shard_asked *asked), void *ctx);

/* Where the subscriber stands in its i-th subscription, if that has a filter and nothing of it is on the
 * way or waits: ahead of the last event it got, most likely. *ret_hash is the channel's. */
bool shard_place(const struct shard *shard, struct subscriber *sub, uint32_t i, uint64_t *ret_hash,
    struct cursor *ret_cursor);

/* Leaves all channels. deliver: what is on its way to this subscriber still goes into its outbox;
 * otherwise it is dropped(closed). */
void shard_leave_all(struct shard *shard, struct subscriber *sub, bool deliver);

/* Leaves all channels and drops what waits, with reason closed. The slot may be freed after. */
void shard_close(struct shard *shard, struct subscriber *sub);

/* Control bytes to one connection: at once when nothing waits, else behind it. Returns 0, or
 * negative errno: then the connection is beyond help and should be closed. */
MUST_USE int shard_control(
    struct shard *shard, struct subscriber *sub, const void *data, size_t len);

/* The kernel can take more. */
void shard_writable(struct shard *shard, struct subscriber *sub);

/* The subscriber will be closed at the end of the turn. Also from inside deliver(). */
void shard_doom(struct shard *shard, struct subscriber *sub);

/* Takes a doomed one back for its last words: it has left all channels, and of what waited only
 * what may have begun is left, see outbox_drop_rest(); the rest is dropped(closed). From ports.doomed() only. */
void shard_reprieve(struct shard *shard, struct subscriber *sub);

/* A fresh connection: zeroed slot, its index, the descriptor; plain: no TLS. */
void shard_adopt(struct shard *shard, struct subscriber *sub, uint32_t slot, uint32_t generation,
    int32_t handle, bool plain);

/* conn follows what waits for this subscriber, see ports.queued(); or no longer. */
void shard_watch(struct subscriber *sub, bool watched);

/* For conn's deliver(): the entry cannot take the batch directly. */
void shard_deliver_queued(
    struct shard *shard, struct subscriber *sub, struct batch *batch, uint32_t first);
/* … the kernel took `sent` bytes (≥ 0) of messages [first, count) and not all, or failed. */
void shard_deliver_partial(struct shard *shard, struct subscriber *sub, struct batch *batch,
    uint32_t first, long sent, struct slice *slice);

static inline struct subscriber *shard_subscriber(const struct shard *shard, uint32_t slot)
{
    return slab_at(shard->subscribers, slot);
}

/* Internal: home answered; takes the letter. */
void shard_hear_subscribed(struct shard *shard, struct mail_subscribe *answer);
/* Internal: home began a new epoch; takes the letter. */
void shard_hear_epoch(struct shard *shard, struct mail_epoch *mail);
/* Internal: nothing waits for this subscriber any more: the next page of a replay. */
void shard_continue_replay(struct shard *shard, struct subscriber *sub);
/* Internal: the subscriber's requests will find nobody. */
void shard_forget_asked(struct shard *shard, struct subscriber *sub);

/* Internal: marks for the flush phase. */
void shard_mark_dirty(struct shard *shard, struct subscriber *sub);
/* Internal: counts dropped messages. */
void shard_count_drop(
    struct shard *shard, struct subscriber *sub, uint8_t ns, uint8_t reason, uint64_t count);
/* Internal: messages [first, first + count) have just been delivered to one subscriber. */
void shard_count_latency(
    struct shard *shard, const struct batch *batch, uint32_t first, uint32_t count);
/* Internal: is the subscriber fit for direct sends? */
void shard_update_direct(struct subscriber *sub);

#endif
