/* Bundle: events of one class, gathered for its view's batch_ms and then sent as one frame.
 *
 * A bundle that is finished becomes one message of the class's open batch, and one in the books. It is
 * finished when its time is up or it is large, and before anything that must come after it: a new
 * subscriber, a gap, a new epoch, a subscriber that moves. Runs on the shard's thread.
 */
#ifndef CORE_BUNDLE_H
#define CORE_BUNDLE_H

#include <stdint.h>

#include "base/bytes.h"

struct bundle;
struct class;
struct flow;
struct publication;
struct shard;

/* The times there are: a client gets the longest that is no longer than it asked for, so a shard has
 * few lists to look at. */
enum { BUNDLE_STEPS = 10, BATCH_MS_MAX = 1000 };

struct bundles { /* By step; in each, in the order they are due. */
    struct bundle *first[BUNDLE_STEPS], *last[BUNDLE_STEPS];
    uint32_t count;
    uint64_t wake_ns; /* ports.wake() was asked for then; 0: not. */
};

/* What a client that asks for so many ms gets; 0 for 0. */
uint16_t bundle_step_ms(uint32_t batch_ms);

/* Adds an event to the class's bundle. Returns 0 or -ENOMEM (nothing changed). */
int bundle_add(struct shard *shard, struct class *class, const struct publication *pub);

/* The class's bundle, if it has one, goes into its open batch. */
void bundle_finish(struct shard *shard, struct class *class);

/* Nobody is left to get it. */
void bundle_drop(struct shard *shard, struct class *class);

/* Finishes those whose time has come and asks to be woken for the next. */
void bundles_run(struct shard *shard);

/* Finishes all of them: before a snapshot. */
void bundles_finish_all(struct shard *shard);

/* One frame around events that lie side by side: a replay's page. Returns 0 or -ENOMEM. */
int bundle_append_event(
    struct shard *shard, uint8_t framing, const struct publication *pub, struct bytes *text);

#endif
