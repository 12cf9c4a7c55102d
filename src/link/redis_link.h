/* The link to Redis Pub/Sub: one connection that listens and one that publishes.
 *
 * It connects, and reconnects for ever with growing, jittered pauses. It is UP only while events
 * demonstrably get through: all subscriptions are confirmed, and a canary published on the command
 * connection came back on the listening one not long ago. A socket that is open but dead, or a
 * subscription that got lost, is therefore noticed within max(2 intervals, 2.5 s).
 *
 * Redis cuts subscribers that read slowly, so each turn empties the socket first into a bounded
 * buffer; the consumer is called afterwards, from redis_link_turn(). When it is busy for so long
 * that the bound is reached, the oldest messages are dropped, counted and declared (on_dropped).
 *
 * Runs on the loop's thread; callbacks come from loop_poll() and redis_link_turn() there, and from
 * nowhere else. They may call everything here but redis_link_destroy().
 */
#ifndef LINK_REDIS_LINK_H
#define LINK_REDIS_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "link/redis_history.h"
#include "link/redis_options.h"

struct loop;
struct redis_link;

enum redis_state {
    REDIS_DOWN,    /* Nothing arrives, publishing is refused; it is being tried again. */
    REDIS_UP,      /* Events get through, both ways. */
    REDIS_REFUSED, /* This server can never serve us (too old); met at the first connection, and
                      nothing more is tried. */
};

/* Spans are borrowed until the call returns. Every member but ctx must be set; the last ones only with
 * options.history. */
struct redis_events {
    void *ctx;

    /* A message on one of our channels, its payload bare. False: busy, the same message comes
     * again in a later turn, and nothing else before it. Between DOWN and UP only messages come
     * that were read before the loss: the gap is where UP is told. */
    bool (*on_message)(void *ctx, struct span channel, struct span payload);

    /* The state changed, or the reason why it is down. A whole sentence without secrets. */
    void (*on_state)(void *ctx, enum redis_state state, const char *sentence);

    /* Exact and sharded mode: from now on every message of this channel arrives. Comes again after
     * each reconnection. In pattern mode every channel is live while the state is UP, and this is
     * not called. */
    void (*on_live)(void *ctx, struct span channel);

    /* A message published with this id (not 0) was answered. err 0: receivers is how many
     * subscribers Redis knows of. Otherwise negative errno, and why is a sentence; -ECONNRESET
     * means the link broke first and nobody knows. Comes once for each accepted publication. */
    void (*on_published)(void *ctx, uint64_t id, int err, int64_t receivers, const char *why);

    /* count messages of this channel, older than whatever on_message gives next, were dropped
     * because the buffer was full. */
    void (*on_dropped)(void *ctx, struct span channel, uint64_t count);

    /* As on_message, for an event of a shared history: Redis has numbered it. The bare message that
     * the script published for others is not handed over. */
    bool (*on_numbered)(
        void *ctx, struct span channel, struct span payload, struct redis_cursor cursor);

    /* The answer to redis_link_append(), as on_published. duplicate: the idempotency key was used
     * before, and the cursor is what it got then. */
    void (*on_appended)(void *ctx, uint64_t id, int err, struct redis_cursor cursor, bool duplicate,
        const char *why);

    /* The answer to redis_link_read(): err 0 and a page, or negative errno and a sentence. */
    void (*on_page)(
        void *ctx, uint64_t id, int err, const struct redis_page *page, const char *why);
};

/* Of shared histories. */
struct redis_history_stats {
    uint64_t appended;      /* Numbered by the script for us. */
    uint64_t duplicates;    /* Not numbered: their idempotency keys had been used. */
    uint64_t append_failed; /* Answered with an error, or never. */
    uint64_t numbered;      /* Messages with a number handed over. */
    uint64_t twins;         /* Bare messages swallowed. */
    uint64_t pages;         /* Read. */
    uint64_t page_events;   /* In them. */
    uint64_t read_failed;
    uint64_t reloads;  /* Times that Redis had forgotten the scripts. */
    uint64_t renewals; /* Epochs that we had ended. */
};

struct redis_stats {
    enum redis_state state;
    uint64_t up_since_ms;       /* Loop time; 0 while not UP. */
    uint64_t reconnects;        /* Times it came UP after the first. */
    uint64_t outage_ms;         /* Not UP since redis_link_start(), the current outage included. */
    uint64_t messages;          /* Handed over. */
    uint64_t message_bytes;     /* Payloads handed over. */
    uint64_t dropped_full;      /* The buffer was full. */
    uint64_t dropped_channel;   /* The name makes no channel of ours. */
    uint64_t dropped_malformed; /* A room's message without a proper envelope. */
    uint64_t dropped_large;     /* Larger than the buffer. */
    uint64_t dropped_lost;      /* Read, but the connection was given up before its turn. */
    uint64_t published;         /* Answered by Redis without an error. */
    uint64_t publish_failed;    /* Answered with an error, or never. */
    uint64_t publish_busy;      /* Refused: too much was unanswered. */
    uint64_t canaries;          /* Ours, came back. */
    uint64_t canary_age_ms;     /* Since the last one came back (or since the start). */
    uint64_t canary_round_ms;   /* How long the last one took. */
    uint64_t queue_bytes;       /* In the buffer now. */
    uint64_t queue_bytes_max;   /* Its bound. */
    uint64_t unanswered_bytes;  /* Published, not answered yet. */
    uint64_t subscriptions;     /* Confirmed patterns or channels. */
    uint64_t subscriptions_pending;
    bool has_history;
    struct redis_history_stats history;
};

/* Gives a link that does nothing yet. The loop's kinds socket_kind and resolve_kind become its
 * own. events is copied. Returns 0, or negative errno with a sentence in err. */
MUST_USE int redis_link_create(struct loop *loop, uint8_t socket_kind, uint8_t resolve_kind,
    const struct redis_options *options, const struct redis_events *events,
    struct redis_link **ret_link, char *err, size_t err_cap);

/* Begins to connect. */
void redis_link_start(struct redis_link *link);

/* Closes everything; no callback comes from it or after it. NULL is fine. */
void redis_link_destroy(struct redis_link *link);

/* Once a turn, after loop_poll(): hands messages over and sends what was asked for. True: there is
 * more to do, so the next loop_poll() should not wait. (After "busy" it is false; a timer brings
 * the message again, or any turn that comes before.) */
MUST_USE bool redis_link_turn(struct redis_link *link);

/* Somebody here listens to this channel of ours. numbered: it has a shared history, of which it may hear,
 * too; the same at each call. Returns 1 (it is live now), 0 (it will be:
 * on_live in exact and sharded mode, the state UP in pattern mode), -EINVAL (no valid channel) or
 * -ENOMEM. Asking twice is the same as once. */
MUST_USE int redis_link_want(struct redis_link *link, struct span channel, bool numbered);

/* Nobody here listens any more; unsubscribed after linger_ms unless wanted again. */
void redis_link_unwant(struct redis_link *link, struct span channel);

/* Publishes on one of our channels. from: the client's name in a room's envelope, ignored
 * elsewhere. id 0: no answer is wanted. Returns 0 (the answer comes by on_published), -ENOTCONN
 * (not UP), -EBUSY (too much is unanswered), -EMSGSIZE (larger than publish_bytes), -EINVAL (no
 * valid channel, or from is not UTF-8) or -ENOMEM. */
MUST_USE int redis_link_publish(struct redis_link *link, struct span channel, struct span from,
    struct span payload, uint64_t id);

/* An event for a channel with a shared history. Spans are borrowed. */
struct redis_append {
    struct span channel, from, payload;
    struct span once;  /* The idempotency key, as text without blanks; empty: none. */
    uint32_t messages; /* What is kept of the channel, about; 0: nothing. */
    uint64_t bytes;    /* The same; 0: no bound. */
    uint64_t age_ms;   /* The same; 0: no bound. */
};

/* Appends to the history and publishes, in one step; on_appended answers (if id is not 0). Errors as
 * redis_link_publish(). What this link appends is appended in the order of the calls. */
MUST_USE int redis_link_append(
    struct redis_link *link, const struct redis_append *append, uint64_t id);

/* Reads events after an offset (begin: all that are kept), at most count and about so many bytes of
 * them, but always one; on_page answers. Sees all that was appended before the call. Returns 0,
 * -ENOTCONN, -EBUSY, -EINVAL or -ENOMEM. */
MUST_USE int redis_link_read(struct redis_link *link, struct span channel, bool begin,
    uint64_t after, uint32_t count, uint32_t bytes, uint64_t id);

/* If this is still the channel's epoch another one begins there, and its offsets are above `last`.
 * Nobody is answered; a failure changes nothing. */
void redis_link_renew(struct redis_link *link, struct span channel, struct redis_cursor last);

enum redis_state redis_link_state(const struct redis_link *link);
void redis_link_stats(const struct redis_link *link, struct redis_stats *ret_stats);

#endif
