/* Flow db: the embedded store of runs, flow's store port on SQLite.
 *
 * One file, DIR/runs.db, or memory. What a turn finds queued becomes one transaction with one sync
 * (group commit), and is answered after it: what was answered is there after kill -9 and, as far as
 * the disk keeps its word, after a power cut. A transaction that fails leaves nothing, in the file
 * or in memory; the next one may succeed.
 *
 * How an op becomes rows (flow_db_schema.c): a run is one row with its header, and everything that
 * is known of its nodes in parts of 16 nodes each, the first of them in the same row. A part holds
 * a node's record, its task while it is queued, its timer and its approval. Events of a commit are
 * one row of `log`, together with the tokens it consumed. EMIT, OUTPUT, ARRIVE, JOINED and SIGNAL
 * need no row: the header's and the records' say the same, and there are no workers but ours.
 *
 * In memory are the queues, the timers, and runs that were used lately; all of it is made anew at
 * opening. Events go out through a publisher behind their transaction, in order, until each is
 * said to be published; how far that came is durable a little later, so some are published again
 * after a crash.
 *
 * Runs on the coordinator's thread, and blocks it for the disk.
 */
#ifndef STORE_FLOW_DB_H
#define STORE_FLOW_DB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "flow/ports.h"

struct flow_db;

enum {
    FLOW_DB_WHY_MAX = 512,
    FLOW_DB_DEAD_MAX = 10000, /* Rows of poison that are kept. */
    FLOW_DB_LATER_MS = 1000,  /* FLOW_LATER comes again after this … */
    FLOW_DB_TIMER_MS = 2000,  /* … and a timer that nobody replaces, every so often. */
};

struct flow_db_options {
    const char *dir;          /* Made (0700) when it is not there; NULL: in memory. Borrowed. */
    struct flow_events_in in; /* Called from flow_db_turn() only. */
    const struct flow_publisher *publisher; /* Outlives the db; NULL: events are only kept. */
    uint64_t retention_ms;                  /* Of a run that is over and published. */
    uint64_t bytes_max;                     /* The file's greatest length; 0: no bound. */
    uint64_t cache_bytes_max;               /* Of runs kept in memory. */
    uint32_t tasks_max;                     /* Handed out at once. */
    uint32_t publications_max;              /* Under way at once, of a run each. */
};

/* What it is without being told: dir, in and publisher are left out. */
struct flow_db_options flow_db_options_default(void);

/* Opens the file and reads what waits. Returns 0, or negative errno and in why a sentence for
 * whoever started us: -EBUSY another process has it, -EBADMSG damaged or foreign, -EPROTONOSUPPORT
 * a newer version's. */
MUST_USE int flow_db_open(
    const struct flow_db_options *options, struct flow_db **ret_db, char why[FLOW_DB_WHY_MAX]);

/* Carries out and answers everything it took, and closes the file. From then on requests are
 * answered with -ENOTCONN at once, and tasks may still be released. A publication under way counts
 * as not published. */
void flow_db_shut(struct flow_db *db);

/* Shuts if need be, and frees all, tasks that were not released included. The publisher has
 * answered everything. NULL is fine. */
void flow_db_destroy(struct flow_db *db);

/* Its port; valid until flow_db_destroy(). */
struct flow_store flow_db_store(struct flow_db *db);

/* Once a turn of the loop: everything queued is carried out and answered; then what is due is
 * handed out. now_ms: Unix ms. Returns true when there is more to do at once. */
bool flow_db_turn(struct flow_db *db, uint64_t now_ms);

/* How many ms from now until a turn is wanted again if nothing else happens; UINT64_MAX: never. */
uint64_t flow_db_next_ms(const struct flow_db *db, uint64_t now_ms);

struct flow_db_stats {
    uint64_t transactions, commits; /* That succeeded, since opening. */
    uint64_t failed;                /* Transactions that did not. */
    uint64_t published;             /* Events, since opening. */
    uint64_t publish_failed;        /* Publications that were not wholly taken. */
    uint64_t reaped;                /* Runs whose time was over. */
    uint64_t dead;                  /* Rows of poison there are. */
    uint64_t cache_bytes;
    uint64_t file_bytes; /* Pages of the database, without its log. */
    uint64_t wal_pages;  /* Not in the database yet. */
    uint32_t runs_cached, tasks_waiting, tasks_given, timers, unpublished_runs;
    bool full; /* The last transaction failed for want of room. */
};

void flow_db_stats(struct flow_db *db, struct flow_db_stats *ret_stats);

#endif
