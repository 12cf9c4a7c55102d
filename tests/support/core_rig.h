/* Core rig: shards of the core without sockets, for unit tests.
 *
 * Plays conn (subscribers that remember what they were sent) and role (mail between the shards).
 * Framing RIG_PLAIN writes a publication as `payload;`, RIG_TOLD as `offset=payload;` and gaps as
 * `!channel from-to reason;`, so that a test can say in one string what somebody should have seen.
 */
#ifndef TESTS_SUPPORT_CORE_RIG_H
#define TESTS_SUPPORT_CORE_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/slab.h"
#include "core/settings.h"
#include "core/shard.h"
#include "tests/support/store_model.h"

enum { RIG_SHARDS_MAX = 4, RIG_RESULTS_MAX = 64 };
enum rig_framing { RIG_PLAIN, RIG_TOLD };

struct rig;

struct rig_client {
    struct subscriber sub;
    struct rig *rig;
    uint16_t shard;
    bool closed;            /* By the core: what it was sent can still be read. */
    const char *last_words; /* Said to it when a policy ends it; NULL: it is closed at once. */
    long room;              /* Bytes its socket still takes; -1: all. */
    int error;              /* Negative errno of the next write; 0: none. */
    struct bytes sent;      /* What its socket took. */
    uint32_t writes;
    uint32_t slow_began, slow_ended, flushed;
    uint32_t answers;
    uint32_t restarts; /* Epochs that began while it listened. */
    uint8_t state;     /* Of the last answer. */
    struct cursor cursor;
};

struct rig_shard {
    struct rig *rig;
    struct shard *shard;
    struct slab clients;
    struct mail_chain in; /* From other shards. */
};

struct rig {
    struct core_settings settings;
    struct rig_shard shards[RIG_SHARDS_MAX];
    uint64_t now_ns;
    uint32_t history_answers;
    struct bytes history; /* `offset=payload;` of the last shard_history(). */
    bool history_more;
    uint8_t history_state;
    struct cursor history_cursor;
    struct publish_result results[RIG_RESULTS_MAX];
    uint32_t result_count;
    struct store_model *store; /* Set before rig_start(): namespaces may be durable. */
    bool store_waits;          /* rig_run() does not let it carry out letters. */
    uint64_t wake_ms;          /* Last asked for; 0: never. */
    bool closed_channels;      /* interest() says: not fed yet. */
    uint32_t wanted, unwanted;
    bool moved; /* By rig_transfer(). */
};

/* One namespace settings[0]: history of 100, a large outbox, drop_oldest. */
void rig_init(struct rig *rig, uint16_t shard_count);

/* Makes the shards; the settings may have been changed in between. */
void rig_start(struct rig *rig);

/* Closes everybody, checks that nothing is left. */
void rig_fini(struct rig *rig);

struct rig_client *rig_client(struct rig *rig, uint16_t shard);
void rig_close(struct rig_client *client);

/* Asks, without a turn. since: text, see since_parse(). Returns shard_subscribe()'s result. */
int rig_ask(struct rig_client *client, const char *channel, uint8_t framing, const char *since);

/* Asks and runs until it is answered. */
void rig_subscribe(
    struct rig_client *client, const char *channel, uint8_t framing, const char *since);

/* Publishes on a shard, without a turn. Returns shard_publish()'s result. */
int rig_publish(struct rig *rig, uint16_t shard, const char *channel, const char *payload);
int rig_publish_keyed(
    struct rig *rig, uint16_t shard, const char *channel, const char *payload, uint32_t key);
int rig_order(struct rig *rig, uint16_t shard, struct publish_order order);

/* A channel name whose home is this shard; n tells several apart. Static, 8 at a time. */
const char *rig_name_at(struct rig *rig, uint16_t shard, uint32_t n);

/* One shard takes its mail in; the other half sweeps. rig_turn() does both for all, once. */
void rig_receive(struct rig *rig, uint16_t shard);
bool rig_sweep(struct rig *rig, uint16_t shard);
void rig_turn(struct rig *rig);

/* Turns until nothing moves any more. */
void rig_run(struct rig *rig);

/* The socket takes that many bytes more (-1: all), and the core hears of it. */
void rig_writable(struct rig_client *client, long room);

/* Exports all shards and clients and takes them up again in this many shards, client i in shard
 * i % shard_count. The clients' addresses change. Needs rig_run() before. */
void rig_transfer(
    struct rig *rig, uint16_t shard_count, struct rig_client **clients, uint32_t count);

/* What was sent so far, as text; rig_forget() starts anew. */
const char *rig_sent(struct rig_client *client);
void rig_forget(struct rig_client *client);

/* The books of each subscriber and each shard balance, and agree. */
void rig_check_books(struct rig *rig);
struct books rig_books(struct rig_client *client);

#endif
