/* Store: a durable history in one directory, behind core's store port.
 *
 * Only its own threads touch the file, since a page that is not in memory is a wait for the disk. One
 * writer takes all that waits as one transaction with one sync (group commit) while the next ones
 * queue; readers see snapshots and never wait for the writer. What was answered is there after
 * kill -9 and after a power cut, as far as the disk keeps its word.
 *
 * An error of a commit is an answer; a sync that failed is never tried again, since the kernel may
 * have forgotten the pages: the store then takes no more appends, while reads go on. A full disk is
 * no such failure: that append is refused, later ones may succeed.
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "core/store.h"

struct store;

enum { STORE_WHY_MAX = 512, STORE_READERS_MAX = 16 };

#define STORE_DISK_BYTES_MIN (16ull << 20)

enum store_event {
    STORE_FAILED,     /* No more appends until a restart. Once. */
    STORE_FULL,       /* The disk is: appends are refused from here on … */
    STORE_ROOM_AGAIN, /* … to here. */
    STORE_EVICTING,   /* The budget is reached: the oldest goes before its time. Once. */
    STORE_DAMAGED,    /* Something could not be read. Once; damaged_count counts on. */
};

struct store_options {
    const char *dir;     /* Made (0700) when it is not there; its parent must be. Borrowed. */
    uint64_t disk_bytes; /* The file's greatest length; at least STORE_DISK_BYTES_MIN. */
    uint64_t pending_bytes_max; /* Of appends that are not answered yet; past it: -EBUSY. */
    uint32_t pending_reads_max;
    uint32_t reader_count; /* Threads; 1 to STORE_READERS_MAX. */
    void *ctx;
    /* Gives answers to a shard. From the store's threads; must not wait (mailbox_post()). */
    void (*post)(void *ctx, uint16_t shard, struct mail_chain *chain);
    /* Something to log, as a sentence. From the store's threads; text is borrowed. */
    void (*event)(void *ctx, enum store_event event, int err, const char *text);
};

/* What it is without being told: dir, post and event are left out. */
struct store_options store_options_default(void);

/* Opens the history and begins a generation, durably. Returns 0, or negative errno and in why a
 * sentence for whoever started us: -EBUSY another process has it, -EBADMSG damaged or foreign,
 * -EPROTONOSUPPORT a newer version's. Does not take longer for a longer history. */
MUST_USE int store_open(
    const struct store_options *options, struct store **ret_store, char why[STORE_WHY_MAX]);

/* Answers everything it took, then closes. Nobody may call the ports any more; the answers are in the
 * mailboxes. NULL is fine. */
void store_close(struct store *store);

/* The descriptors that threads which use its ports, or close it, wake its threads by: for threads with a table of their
 * own. Returns how many; at most STORE_READERS_MAX + 1. */
uint32_t store_wake_fds(const struct store *store, int out[STORE_READERS_MAX + 1]);

/* As of opening: it stays until it is closed. */
struct store_identity store_identity(const struct store *store);

/* For the shards; valid until store_close(). */
struct store_ports store_ports(struct store *store);

/* An idempotency key that is not ten minutes old. */
struct store_key {
    uint64_t key[2];
    uint64_t channel; /* The channel name's hash, as in struct publication. */
    struct cursor cursor;
    uint64_t age_ms;
};

typedef void store_key_fn(void *ctx, const struct store_key *key);

/* Calls fn for each key, the oldest first; at most 100,000. For start-up: reads the file on the
 * caller's thread. Returns 0 or negative errno. */
MUST_USE int store_each_key(struct store *store, store_key_fn *fn, void *ctx);

struct store_stats {
    uint64_t records;        /* Written since opening, and so on. */
    uint64_t commits;        /* Transactions that are durable. */
    uint64_t commit_ns;      /* What they took, in sum … */
    uint64_t commit_ns_max;  /* … and the longest. */
    uint64_t trimmed;        /* Records that went by number, bytes or age, or were cleared. */
    uint64_t evicted;        /* Records that went to keep the budget. */
    uint64_t reads;          /* Pages and look-ups answered. */
    uint64_t read_records;   /* Records in them. */
    uint64_t read_ns;        /* What they took, in sum. */
    uint64_t refused;        /* Appends answered with an error, of all or of some. */
    uint64_t damaged;        /* Rows and records that could not be read. */
    uint64_t pending_bytes;  /* Of appends not answered yet. */
    uint64_t pending_reads;  /* Reads not answered yet. */
    uint64_t used_bytes;     /* Of the file's pages that hold something … */
    uint64_t disk_bytes_max; /* … and the budget. */
    bool failed, full;
};

/* Any thread. */
void store_stats(const struct store *store, struct store_stats *ret_stats);

#endif
