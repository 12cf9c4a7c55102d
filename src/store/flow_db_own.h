/* What the files of flow_db share. */
#ifndef STORE_FLOW_DB_OWN_H
#define STORE_FLOW_DB_OWN_H

#include <sqlite3.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/table.h"
#include "store/flow_db.h"

/* ---- the file: flow_db_schema.c ---- */

enum db_statement {
    DB_BEGIN,
    DB_COMMIT,
    DB_RUN_GET,
    DB_RUN_ADD,
    DB_RUN_SET,
    DB_RUN_CLOSE,
    DB_RUN_PUBLISHED,
    DB_RUN_DELETE,
    DB_RUNS_OPEN,
    DB_RUNS_OVER,
    DB_PART_GET,
    DB_PART_PUT,
    DB_PART_DELETE,
    DB_IR_GET,
    DB_IR_PUT,
    DB_IR_DELETE,
    DB_LOG_PUT,
    DB_LOG_GET,
    DB_LOG_TOKENS,
    DB_LOG_FIRST,
    DB_LOG_DELETE,
    DB_BLOB_HAS,
    DB_BLOB_PUT,
    DB_BLOB_GET,
    DB_BLOB_DELETE,
    DB_LIST_ALL,
    DB_LIST_STATUS,
    DB_LIST_TAG,
    DB_LIST_USER,
    DB_LIST_PLACE,
    DB_SHELF_PUT,
    DB_SHELF_GET,
    DB_SHELF_DELETE,
    DB_SHELF_LIST,
    DB_DEAD_PUT,
    DB_DEAD_TRIM,
    DB_DEAD_COUNT,
    DB_PAGES,
    DB_PAGE_BYTES,
    DB_STATEMENTS,
};

/* Rows of log and blobs that belong to a run have the ids (run << DB_ROW_BITS) and up: a run's
 * rows lie side by side, and go as one range. */
enum { DB_ROW_BITS = 24, DB_PART_NODES = 16, DB_REF_LEN = 32 };

/* Opens, makes or checks the file; as flow_db_open(). */
MUST_USE int schema_open(struct flow_db *db, char why[FLOW_DB_WHY_MAX]);
void schema_close(struct flow_db *db);

/* The statement, with nothing bound: db_bind_*(), then db_step() or db_run(). */
sqlite3_stmt *db_statement(struct flow_db *db, enum db_statement which);
void db_bind_text(sqlite3_stmt *stmt, int at, struct span text);
void db_bind_blob(sqlite3_stmt *stmt, int at, struct span blob);
void db_bind_int(sqlite3_stmt *stmt, int at, uint64_t n);
/* The next row: 1, 0 behind the last, or negative errno. Not 1: the statement is reset. */
MUST_USE int db_step(struct flow_db *db, sqlite3_stmt *stmt);
/* To the end. Returns 0 or negative errno. */
MUST_USE int db_run(struct flow_db *db, sqlite3_stmt *stmt);
/* A column's bytes, until the next step or reset. */
struct span db_column(sqlite3_stmt *stmt, int at);
uint64_t db_column_int(sqlite3_stmt *stmt, int at);
void db_reset(sqlite3_stmt *stmt);

/* ---- runs in memory: flow_db_runs.c ---- */

/* Everything of a node; all spans are owned, {NULL, 0} is none. */
struct db_node {
    struct span id, record;
    struct span type, token, task; /* While it is queued. */
    struct span approval;
    uint64_t due_ms; /* 0: no timer. */
};

/* Events that follow one another, in memory: so that publishing need not read back what was just written. */
struct db_news {
    struct bytes bodies, spans; /* struct span each; their data is NULL while bodies may grow. */
    uint64_t first;             /* Number of the first, from 0. */
    uint32_t count;
};

struct db_run {
    struct table_item item; /* Of the id. First. */
    uint64_t row;
    uint8_t id_len;
    char id[FLOW_RUN_ID_MAX + 1];
    struct span user, tag, status, header; /* Owned. */
    uint64_t version, created_ms, finished_ms;
    uint64_t events;     /* Recorded. */
    uint64_t published;  /* As it is in the row; db_pub knows better while there is one. */
    uint64_t blobs;      /* Numbers given to rows of blobs. */
    struct db_news news; /* Recorded by this transaction; maybe not all of them. */
    struct db_node *nodes;
    uint32_t node_count, node_cap;
    uint64_t *tokens; /* Hashes of those consumed, a table of its own; 0: free. */
    uint32_t token_count, token_slots;
    bool tokens_known; /* They were read. */
    bool fresh;        /* There is no row yet. */
    bool dirty;        /* To be written at the end of this transaction. */
    uint64_t dirty_parts;
    struct db_run *dirty_next;
    struct db_run *older, *newer; /* By use. */
    size_t bytes;                 /* Counted in cache_bytes. */
};

/* The run if it is in memory, or NULL. Both borrow it until other runs are asked for after the end of
 * this transaction. */
struct db_run *runs_find(const struct flow_db *db, struct span id);
/* The run, read if need be. Returns 0, -ENOENT, or another: it could not be read. */
MUST_USE int runs_get(struct flow_db *db, struct span id, struct db_run **ret_run);
/* A run that is not there, as of this transaction. */
MUST_USE int runs_add(struct flow_db *db, struct span id, struct db_run **ret_run);
struct db_node *runs_node(struct db_run *run, struct span id);
/* The same, made if need be; NULL: no memory. */
struct db_node *runs_node_make(struct db_run *run, struct span id);
/* To be called before a node is changed; and for the rest of a run with NULL. */
void runs_touch(struct flow_db *db, struct db_run *run, const struct db_node *node);
/* Was the token consumed? Returns 0, 1, or negative errno. */
MUST_USE int runs_consumed(struct flow_db *db, struct db_run *run, uint64_t token);
MUST_USE int runs_consume(struct db_run *run, uint64_t token);
/* Replaces an owned span by a copy. Returns false without memory. */
MUST_USE bool runs_set(struct span *slot, struct span value);
void runs_clear(struct span *slot);
/* Writes the rows of all runs that were touched. */
MUST_USE int runs_write(struct flow_db *db);
/* The transaction is over: they are as they are in the file; or they are not, and are forgotten. */
void runs_settle(struct flow_db *db, bool committed);
/* Is not in the file any more. */
void runs_forget(struct flow_db *db, struct span id);
/* Keeps to the bound. */
void runs_evict(struct flow_db *db);
void runs_free_all(struct flow_db *db);

/* ---- nodes as text: flow_db_part.c ---- */

/* A node as it is written in a part. */
struct db_node_text {
    struct span id, record, type, token, task, approval; /* Raw JSON; empty: none. */
    uint64_t due_ms;
};
typedef int part_node_fn(void *ctx, const struct db_node_text *node);
/* Calls fn for each node of a part. Returns 0, -EBADMSG, or what fn returned when not 0. */
MUST_USE int part_each_node(struct span part, part_node_fn *fn, void *ctx);
/* Writes the run's nodes of that part to out, from its beginning. */
MUST_USE int part_write(const struct db_run *run, uint32_t part, struct bytes *out);

/* ---- what is due: flow_db_due.c, a heap ---- */

enum db_due_kind { DB_DUE_TIMER, DB_DUE_LATER, DB_DUE_PUBLISH };

struct db_due {
    uint64_t at_ms;
    uint32_t place; /* In the heap, from 1; 0: not in it. */
    uint8_t kind;
};

struct db_heap {
    struct db_due **items;
    uint32_t count, cap;
};

/* Puts it in or moves it. Returns 0 or -ENOMEM (then it is not in it). */
MUST_USE int due_set(struct db_heap *heap, struct db_due *due, uint64_t at_ms);
void due_unset(struct db_heap *heap, struct db_due *due); /* Fine when it is not in it. */

/* ---- tasks and timers: flow_db_work.c ---- */

enum db_task_state { DB_TASK_NONE, DB_TASK_WAITING, DB_TASK_GIVEN, DB_TASK_LATER };

struct db_given;

/* A node of a run that has a task or a timer. */
struct db_spot {
    struct table_item item; /* Of run and node. First. */
    struct db_due timer;    /* .kind DB_DUE_TIMER */
    struct db_due later;
    struct db_given *given;      /* GIVEN: what flow has. */
    struct db_type *type;        /* Unless NONE. */
    struct db_spot *prev, *next; /* WAITING: in its type's queue. */
    uint8_t state;               /* enum db_task_state */
    bool again;
    uint8_t run_len, node_len;
    char names[]; /* The run's id, then the node's. */
};

/* A type's queue. */
struct db_type {
    struct db_type *next; /* Around all of them. */
    struct db_spot *first, *last;
    uint8_t name_len;
    char name[];
};

/* A task that flow has, or gave back and that is not written yet. */
struct db_given {
    struct flow_task task;
    struct db_spot *spot;            /* NULL: the node has another task by now, or none. */
    struct db_given *prev, *next;    /* In given; next only: in released. */
    struct span run_id, node, token; /* Within text. */
    bool dead;
    char why[200];
    char text[];
};

/* The ops of a commit that is in the file: queues and timers follow. */
void work_apply(struct flow_db *db, const struct flow_commit *commit);
/* Reads all that waits, and adds what is not known yet. */
MUST_USE int work_rebuild(struct flow_db *db);
void work_release(
    struct flow_db *db, struct flow_task *task, enum flow_release how, const char *why);
/* Tasks that came back lose their place in the file, with this transaction; then they are freed. */
MUST_USE int work_write_released(struct flow_db *db);
void work_settle_released(struct flow_db *db);
/* A timer or a put-off task is due. */
void work_due(struct flow_db *db, struct db_due *due);
void work_hand_out(struct flow_db *db);
void work_free_all(struct flow_db *db);

/* ---- publishing: flow_db_publish.c ---- */

struct db_pub;

/* An event is recorded by this transaction: its number and its body. Fine without memory. */
void publish_recorded(struct flow_db *db, struct db_run *run, uint64_t number, struct span body);
/* Events were committed: of a run that is in memory. */
void publish_committed(struct flow_db *db, struct db_run *run);
void news_free(struct db_news *news);
/* At opening. */
MUST_USE int publish_found(struct flow_db *db, struct span run_id, struct span user, uint64_t row,
    uint64_t published, uint64_t events, bool over);
/* How far the run's events are published, for its row. */
uint64_t publish_progress(const struct flow_db *db, const struct db_run *run);
/* Writes progress that waits for it, with this transaction. */
bool publish_wants_writing(const struct flow_db *db);
MUST_USE int publish_write(struct flow_db *db, bool all);
void publish_settle(struct flow_db *db, bool committed);
void publish_due(struct flow_db *db, struct db_due *due);
void publications_turn(struct flow_db *db);
uint64_t publish_next_ms(const struct flow_db *db);
void publish_free_all(struct flow_db *db);

/* ---- requests: flow_db_commit.c, flow_db_read.c ---- */

/* Applies to memory and rows. Returns 0 and the commit's answer in err, or negative errno: the
 * transaction has failed. */
MUST_USE int commit_apply(struct flow_db *db, struct flow_commit *commit);
/* "sha256:<hex>" as bytes. */
bool commit_ref(struct span text, uint8_t out[DB_REF_LEN]);

void read_load(struct flow_db *db, struct flow_load *load);
void read_blob(struct flow_db *db, struct flow_get *get);
void read_approval(struct flow_db *db, struct flow_get *get);
void read_events(struct flow_db *db, struct flow_events *events);
void read_list(struct flow_db *db, struct flow_list *list);
void read_shelf(struct flow_db *db, struct flow_shelf *shelf);
/* Returns as commit_apply(). */
MUST_USE int shelf_apply(struct flow_db *db, struct flow_shelf *shelf);

/* Calls fn with the bodies of a run's events from number `since` on, in order; fn returns false
 * when it has enough. Returns 0 or negative errno. */
typedef bool read_event_fn(void *ctx, struct span body);
MUST_USE int read_each_event(struct flow_db *db, uint64_t row, uint64_t version, uint64_t since,
    read_event_fn *fn, void *ctx);

/* Runs whose time is over go. Returns true when there may be more. */
bool reap_turn(struct flow_db *db);

/* ---- all of it ---- */

enum db_request_kind {
    DB_REQUEST_COMMIT,
    DB_REQUEST_LOAD,
    DB_REQUEST_BLOB,
    DB_REQUEST_APPROVAL,
    DB_REQUEST_EVENTS,
    DB_REQUEST_LIST,
    DB_REQUEST_SHELF,       /* A question … */
    DB_REQUEST_SHELF_WRITE, /* … and a change. */
};

struct db_request {
    enum db_request_kind kind;
    void *request;
};

/* Requests in the order they came: an array that is kept. */
struct db_queue {
    struct db_request *items;
    size_t count, cap;
};

struct flow_db {
    struct flow_db_options options;
    char *path;
    int lock_fd;
    sqlite3 *sqlite;
    sqlite3_stmt *statements[DB_STATEMENTS];
    struct hash_key hash_key;
    uint64_t now_ms;
    uint64_t next_row; /* Of runs. */
    bool told_up;
    bool rescan; /* Something of what waits could not be kept in memory. */

    struct db_queue queue, batch;

    struct table runs;
    struct db_run *dirty, *dirty_last, *newest, *oldest;
    uint64_t cache_bytes;

    struct table spots;
    struct db_heap heap;
    struct db_type *types; /* Where handing out goes on. */
    struct db_given *given, *released;
    uint32_t waiting_count, given_count, timer_count;

    struct table pubs;
    struct db_pub *ready_first, *ready_last;
    struct db_pub *stale_first,
        *stale_last; /* Their progress is not in the file yet, oldest first. */
    uint32_t pub_busy_count;
    size_t news_bytes; /* Of events that wait in memory to be published. */

    struct bytes scratch, scratch2;
    uint64_t reap_at_ms;
    uint64_t wal_pages;
    struct flow_db_stats stats;
};

/* Ends a transaction that failed. */
void db_rollback(struct flow_db *db);

uint64_t db_hash(const struct flow_db *db, struct span name);

#endif
