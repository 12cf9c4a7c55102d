/* Durable: home's side of the store port (core/store.h).
 *
 * In a namespace with a durable history home numbers from the store's identity and gives what it
 * numbers to the store, many at a time. `async`: delivered and acknowledged at once, stored soon.
 * `sync`: delivered and acknowledged when it is stored, in order. What the store could not take leaves a
 * hole: history before it is cleared, so that a cursor from there is answered with reset and nothing is
 * skipped in silence. A crash before that is done changes nothing: each event tells the store which number
 * it follows, so the next one that is stored takes the history before the hole with it.
 *
 * Runs on the home shard's thread; nothing here waits for a disk.
 */
#ifndef CORE_DURABLE_H
#define CORE_DURABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/table.h"
#include "core/followers.h"
#include "core/holes.h"
#include "core/store.h"

struct append;
struct home;
struct mail_subscribe;
struct shard;

struct durable {
    const struct store_ports *ports; /* NULL: there is no store. */
    struct store_identity identity;
    int64_t wall_ms; /* The wall clock (Unix time) less the shard's clock, ms. */
    uint64_t floor;  /* Offsets of this generation up to this were used by homes now forgotten. */
    struct append *open; /* Being filled. */
    struct followers followers;
    struct holes holes;
    uint32_t letters;        /* At the store, of all kinds. */
    bool refusing;           /* The store took no more: publishers are told to come back. */
    struct mail_chain reads; /* struct mail_subscribe that the store had no room for yet. */
    uint64_t failed;         /* Publications that could not be stored. */
};

/* Gives the shard its store, before anything is published. ports are shared and outlive the shard. */
void durable_open(
    struct shard *shard, const struct store_ports *ports, struct store_identity identity);

/* The store takes no more letters. */
void durable_close(struct shard *shard);

/* An idempotency key that was used before the restart. */
void durable_remember_key(struct shard *shard, const uint64_t key[2], uint64_t channel_hash,
    struct cursor cursor, uint64_t age_ms);

/* Does this home keep its history in the store? And wait for it? */
bool durable_is(const struct shard *shard, const struct home *home);
bool durable_is_sync(const struct shard *shard, const struct home *home);

/* Gives a numbered publication to the store (shares it). */
void durable_append(struct shard *shard, struct home *home, struct publication *pub);

/* What was gathered goes out. End of a drain. */
void durable_post_all(struct shard *shard);

/* Asks the store for the page that the letter wants (gives it); home_hear_read() answers. */
void durable_read(struct shard *shard, struct mail_subscribe *mail);

/* Tries again what the store had no room for. */
void durable_tick(struct shard *shard);

/* The store's answers, and what follows from one of them; take the letter. */
void durable_hear_append(struct shard *shard, struct mail *mail);
void durable_hear_read(struct shard *shard, struct mail *mail);

void durable_fini(struct shard *shard);

#endif
