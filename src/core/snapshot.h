/* Snapshot: a shard's state as plain bytes, to be taken up by another process or by another number
 * of shards.
 *
 * Between turns everything is plain data. Exporting wants the shards at rest first: no letters under
 * way, bundles finished (bundles_finish_all()), batches swept (shard_sweep() until it has no more to do, on all shards, until nothing moves).
 * Then every shard writes one piece with what it is home of, and each subscriber one of its own.
 *
 * Taking up happens in three steps: every new shard reads the shard pieces of all old ones and keeps
 * the channels it is now home of; then subscribers are read, each by any shard; then the letters
 * that this caused are delivered, all of them before anything is swept, closed or published: a home
 * knows no listeners until then, and would forget its channel if one of them left first. The new shards must have the same
 * store id and hash key, and may have other policies; namespaces are found by name.
 *
 * Times are kept as ages, so the two clocks need not agree. Books: what is queued moves with its
 * subscriber, all else stays with the shard's piece, so the identity holds for every new shard.
 */
#ifndef CORE_SNAPSHOT_H
#define CORE_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "base/pack.h"

struct shard;
struct subscriber;

enum { SNAPSHOT_VERSION = 2 };

/* Appends the shard's piece: channels at home here, idempotency keys, counters. */
void snapshot_export_shard(struct shard *shard, struct pack *out);

/* Reads such a piece. counters: this shard goes on counting where that one stopped; exactly one new
 * shard does so for each old one. Returns 0, -EBADMSG (not ours, another store, damaged) or
 * -ENOMEM; after a failure the shard is good only for shard_destroy(). */
MUST_USE int snapshot_import_shard(struct shard *shard, struct unpack *in, bool counters);

/* Appends a subscriber's piece: books, subscriptions, those asked for, and what waits. It is not
 * changed. */
void snapshot_export_subscriber(struct shard *shard, struct subscriber *sub, struct pack *out);

/* A subscription that was asked for and not answered has been asked for anew, under another id. */
typedef void snapshot_asked_fn(void *ctx, uint64_t former_id, uint64_t id);

/* Reads it into a fresh subscriber (shard_adopt()). What waits is sent in the next turn. Results as
 * above; after a failure the subscriber must be closed. */
MUST_USE int snapshot_import_subscriber(struct shard *shard, struct subscriber *sub,
    struct unpack *in, snapshot_asked_fn *asked, void *ctx);

/* Internal to the files of snapshot: a time as an age, and back. */
uint64_t snapshot_age(const struct shard *shard, uint64_t time_ns);
uint64_t snapshot_time(const struct shard *shard, uint64_t age_ns);

#endif
