/* Replay: a page of history on its way to the one subscriber who asked for it.
 *
 * Pages go into batches of their own, are counted in the books when they arrive, and are never
 * evicted: the next is only asked for when the last is written. Runs on the shard's thread.
 */
#ifndef CORE_REPLAY_H
#define CORE_REPLAY_H

#include <stdint.h>

struct channel;
struct mail_subscribe;
struct shard;
struct subscriber;

/* Queues what the answer holds, after a word about what history had lost before it. */
void replay_queue(struct shard *shard, struct subscriber *sub, struct channel *channel,
    uint8_t framing, uint16_t view, const struct mail_subscribe *answer);

#endif
