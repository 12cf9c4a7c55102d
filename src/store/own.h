/* What store.c, writer.c and reader.c share. */
#ifndef STORE_OWN_H
#define STORE_OWN_H

#include <stdatomic.h>

#include "core/settings.h" /* CORE_SHARDS_MAX */
#include "rt/mailbox.h"
#include "rt/thread.h"
#include "store/db.h"
#include "store/store.h"

enum store_request { STORE_APPEND, STORE_READ, STORE_CLEAR, STORE_STOP };

typedef _Atomic uint64_t store_count;

/* The figures: written by one thread or another, read by any. */
struct store_counts {
    store_count records, commits, commit_ns, commit_ns_max, trimmed, evicted;
    store_count reads, read_records, read_ns, refused, damaged;
    store_count pending_bytes, pending_reads, used_bytes;
    atomic_bool failed, full, evicting, closing;
};

static inline void store_add(store_count *count, uint64_t more)
{
    atomic_fetch_add_explicit(count, more, memory_order_relaxed);
}

static inline void store_sub(store_count *count, uint64_t less)
{
    atomic_fetch_sub_explicit(count, less, memory_order_relaxed);
}

/* Answers on their way, gathered so that a shard is woken once. */
struct store_answers {
    struct mail_chain chains[CORE_SHARDS_MAX];
};

/* A thread with a mailbox. */
struct store_worker {
    struct store *store;
    struct mailbox *box;
    struct thread *thread;
    struct store_answers answers;
};

struct store {
    struct store_options options;
    struct db db;
    struct store_identity identity; /* As of opening. */
    struct format_meta meta;        /* The writer's, once it runs. */
    struct store_counts counts;
    struct store_letter stop; /* The writer's last letter. */
    struct store_letter reader_stop[STORE_READERS_MAX];
    struct store_worker writer;
    struct store_worker readers[STORE_READERS_MAX];
    uint32_t reader_count; /* That run. */
    bool leave_env;        /* The writer was stopped by a fault. */
};

/* The threads' bodies; arg: struct store_worker *. They end at STORE_STOP. */
void writer_run(void *arg);
void reader_run(void *arg);

/* Waits for mail, at most until the time (UINT64_MAX: no bound). */
void worker_wait(struct store_worker *worker, uint64_t until_ns);

void worker_answer(struct store_worker *worker, struct store_letter *letter, int err);
void worker_post(struct store_worker *worker);

void store_tell(const struct store *store, enum store_event event, int err, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* Counts what could not be read, and tells of the first. */
void store_tell_damage(struct store *store, uint64_t count, const char *what);

struct store_identity store_identity_of(const struct format_meta *meta);

#endif
