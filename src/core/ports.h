/* Ports: what the core needs done by others, batch-shaped, one table for a shard.
 *
 * conn fills in the client side, role the mail. All calls come on the shard's thread.
 */
#ifndef CORE_PORTS_H
#define CORE_PORTS_H

#include <stdint.h>
#include <sys/uio.h>

#include "base/bytes.h"
#include "base/mail.h"
#include "core/cursor.h"
#include "core/outbox.h"
#include "core/publication.h"
#include "core/sweep.h"

struct channel;
struct subscriber;
struct mail_subscribe;

struct core_ports {
    void *ctx;

    /* Appends the publication as one frame of this framing. Returns 0 or -ENOMEM; out is unchanged
     * on failure. */
    int (*encode)(void *ctx, uint8_t framing, const struct publication *pub, struct bytes *out);

    /* Appends the publication as one event among several of a frame, and puts the frame around events
     * with commas between them. For framings whose subscribers may ask for batch_ms; as above. */
    int (*encode_event)(
        void *ctx, uint8_t framing, const struct publication *pub, struct bytes *out);
    int (*encode_events)(void *ctx, uint8_t framing, struct span events, struct bytes *out);

    /* Appends a gap notice; nothing when the framing has none. */
    int (*encode_gap)(void *ctx, const struct gap *gap, struct bytes *out);

    /* Does this framing tell its subscribers of gaps? */
    bool (*wants_gaps)(void *ctx, uint8_t framing);

    /* Sends the slice's batch to each of its entries; see struct slice. */
    void (*deliver)(void *ctx, struct slice *slice);

    /* Writes spans to one connection: bytes taken or negative errno. */
    long (*write)(void *ctx, struct subscriber *sub, const struct iovec *iov, int count);

    /* The answer to shard_subscribe(); answer is borrowed. Called before the replay is queued, so
     * whatever is written here goes first. sub is NULL for shard_history(), and when the subscriber
     * is gone. Pages after the first are not told. */
    void (*subscribed)(void *ctx, struct subscriber *sub, const struct mail_subscribe *answer);

    /* The history of a channel that sub follows began anew: what it missed cannot be said. */
    void (*restarted)(void *ctx, struct subscriber *sub, uint8_t framing, struct span channel,
        struct cursor cursor);

    /* The answer to shard_publish() with a reply_id. */
    void (*published)(void *ctx, const struct publish_result *result);

    /* The subscriber began to lose messages, or caught up again. */
    void (*slow)(void *ctx, struct subscriber *sub, bool dropping);

    /* For subscribers that are watched (shard_watch()). All of the channel up to this offset waits for
     * it now, or a word that it is lost: what is said about it now comes behind that. */
    void (*queued)(
        void *ctx, struct subscriber *sub, const struct channel *channel, uint64_t offset);

    /* For those, too: what waits is sent next. What is added now goes with it. */
    void (*flushing)(void *ctx, struct subscriber *sub);

    /* Everything that waited for this subscriber is sent. */
    void (*flushed)(void *ctx, struct subscriber *sub);

    /* The subscriber was doomed during this turn: shard_close() it now, or shard_reprieve() it. */
    void (*doomed)(void *ctx, struct subscriber *sub);

    /* At home: the first listener anywhere came, or the last one left. Returns true when the
     * channel is fed already; false: answer listeners after home_opened(). */
    bool (*interest)(void *ctx, struct span name, bool wanted);

    /* A turn is wanted after so many ms, whatever else happens; one call replaces the last. */
    void (*wake)(void *ctx, uint64_t ms);

    /* Gives mail to another shard (never to this one). Sent at the latest at the end of the turn. */
    void (*post)(void *ctx, uint16_t shard, struct mail *mail);

    /* What was posted to this shard leaves now: before what is answered next can cause anything there.
     * NULL: it does so anyway. */
    void (*post_now)(void *ctx, uint16_t shard);
};

#endif
