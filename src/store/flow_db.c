/* The turn: what was queued, then what is due. */
#include "store/flow_db.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/check.h"
#include "base/mem.h"
#include "store/flow_db_own.h"

enum {
    BATCH_MAX = 1000,      /* Requests of one transaction. */
    DUE_MAX = 1000,        /* Of one turn. */
    WAL_PAGES_IDLE = 1000, /* From here on, an idle turn moves the log into the database. */
};

struct flow_db_options flow_db_options_default(void)
{
    return (struct flow_db_options){
        .retention_ms = 7ull * 24 * 3600 * 1000,
        .cache_bytes_max = 64 << 20,
        .tasks_max = 256,
        .publications_max = 64,
    };
}

uint64_t db_hash(const struct flow_db *db, struct span name)
{
    uint64_t hash = hash_bytes(&db->hash_key, name.data, name.len);

    return hash ? hash : 1; /* 0 marks a free place. */
}

/* ---- the queue ---- */

static int queue_push(struct db_queue *queue, enum db_request_kind kind, void *request)
{
    if (queue->count == queue->cap) {
        size_t cap = queue->cap ? queue->cap * 2 : 64;
        struct db_request *items = mem_try_realloc(queue->items, cap * sizeof(*items));
        if (!items) {
            return -ENOMEM;
        }
        queue->items = items;
        queue->cap = cap;
    }
    queue->items[queue->count++] = (struct db_request){kind, request};
    return 0;
}

/* Answers without carrying out. */
static void refuse(enum db_request_kind kind, void *request, int err)
{
#define REFUSE(type)                                                                               \
    do {                                                                                           \
        struct type *it = request;                                                                 \
        it->err = err;                                                                             \
        it->done(it);                                                                              \
    } while (0)
    switch (kind) {
    case DB_REQUEST_COMMIT:
        REFUSE(flow_commit);
        break;
    case DB_REQUEST_LOAD:
        REFUSE(flow_load);
        break;
    case DB_REQUEST_BLOB:
    case DB_REQUEST_APPROVAL:
        REFUSE(flow_get);
        break;
    case DB_REQUEST_EVENTS:
        REFUSE(flow_events);
        break;
    case DB_REQUEST_LIST:
        REFUSE(flow_list);
        break;
    case DB_REQUEST_SHELF:
    case DB_REQUEST_SHELF_WRITE:
        REFUSE(flow_shelf);
        break;
    }
#undef REFUSE
}

static void ask(struct flow_db *db, enum db_request_kind kind, void *request)
{
    int r = db->sqlite ? queue_push(&db->queue, kind, request) : -ENOTCONN;

    if (r < 0) {
        refuse(kind, request, r);
    }
}

/* Known without looking into the request: once that is answered it may be gone. */
static bool is_write(const struct db_request *item)
{
    return item->kind == DB_REQUEST_COMMIT || item->kind == DB_REQUEST_SHELF_WRITE;
}

/* Reads are carried out behind all writes of their batch, so they see all that came before them,
 * and maybe a little more. Nobody minds, but with definitions: there, a batch ends before a write
 * that comes behind a read. */
static void take_batch(struct flow_db *db)
{
    struct db_queue *queue = &db->queue, *batch = &db->batch;
    bool shelf_read = false;
    size_t count = 0;

    batch->count = 0;
    while (count < queue->count && count < BATCH_MAX) {
        const struct db_request *item = &queue->items[count];
        bool shelf = item->kind == DB_REQUEST_SHELF;
        if (shelf_read && item->kind == DB_REQUEST_SHELF_WRITE) {
            break;
        }
        if (queue_push(batch, item->kind, item->request) < 0) {
            break;
        }
        shelf_read = shelf_read || shelf;
        count += 1;
    }
    if (count == 0 && queue->count) {
        /* No memory even for one: it would be tried for ever. */
        struct db_request first = queue->items[0];
        queue->count -= 1;
        memmove(queue->items, queue->items + 1, queue->count * sizeof(*queue->items));
        refuse(first.kind, first.request, -ENOMEM);
        return;
    }
    queue->count -= count;
    if (queue->count) {
        memmove(queue->items, queue->items + count, queue->count * sizeof(*queue->items));
    }
}

/* ---- the transaction ---- */

void db_rollback(struct flow_db *db)
{
    if (!sqlite3_get_autocommit(db->sqlite)) { /* Some errors have rolled back already. */
        (void)sqlite3_exec(db->sqlite, "ROLLBACK", NULL, NULL, NULL);
    }
}

static int apply_writes(struct flow_db *db)
{
    int r = 0;

    for (size_t i = 0; i < db->batch.count && r == 0; i++) {
        const struct db_request *item = &db->batch.items[i];
        if (is_write(item)) {
            r = item->kind == DB_REQUEST_COMMIT ? commit_apply(db, item->request)
                                                : shelf_apply(db, item->request);
        }
    }
    return r;
}

static int transact(struct flow_db *db, bool all_progress)
{
    int r = db_run(db, db_statement(db, DB_BEGIN));

    if (r < 0) {
        return r;
    }
    r = work_write_released(db);
    r = r ? r : apply_writes(db);
    r = r ? r : runs_write(db);
    r = r ? r : publish_write(db, all_progress);
    return r ? r : db_run(db, db_statement(db, DB_COMMIT));
}

static int told(int err)
{
    return err == -EBADMSG || err == -EBUSY || err == -EILSEQ ? -EIO : err;
}

static void answer_writes(struct flow_db *db, int err)
{
    for (size_t i = 0; i < db->batch.count; i++) {
        const struct db_request *item = &db->batch.items[i];
        if (!is_write(item)) {
            continue;
        }
        if (err) {
            refuse(item->kind, item->request, told(err));
        } else if (item->kind == DB_REQUEST_COMMIT) {
            struct flow_commit *commit = item->request;
            commit->done(commit);
        } else {
            struct flow_shelf *shelf = item->request;
            shelf->done(shelf);
        }
    }
}

/* Queues and timers follow in the order of the commits, before anybody hears of them. */
static void settle(struct flow_db *db, bool committed)
{
    for (size_t i = 0; committed && i < db->batch.count; i++) {
        const struct db_request *item = &db->batch.items[i];
        const struct flow_commit *commit = item->request;
        if (item->kind == DB_REQUEST_COMMIT && commit->err == 0) {
            work_apply(db, commit);
            db->stats.commits += 1;
        }
    }
    if (committed) {
        work_settle_released(db);
    }
    runs_settle(db, committed);
    publish_settle(db, committed);
}

static void write_batch(struct flow_db *db, bool all_progress)
{
    bool writes = db->released || (all_progress && db->stale_first) || publish_wants_writing(db);

    for (size_t i = 0; i < db->batch.count && !writes; i++) {
        writes = is_write(&db->batch.items[i]);
    }
    if (!writes) {
        return;
    }
    int r = transact(db, all_progress);
    if (r < 0) {
        db_rollback(db);
        db->stats.failed += 1;
    } else {
        db->stats.transactions += 1;
    }
    db->stats.full = r == -ENOSPC;
    settle(db, r == 0);
    answer_writes(db, r);
}

static void read_batch(struct flow_db *db)
{
    for (size_t i = 0; i < db->batch.count; i++) {
        void *request = db->batch.items[i].request;
        if (is_write(&db->batch.items[i])) {
            continue;
        }
        switch (db->batch.items[i].kind) {
        case DB_REQUEST_LOAD:
            read_load(db, request);
            break;
        case DB_REQUEST_BLOB:
            read_blob(db, request);
            break;
        case DB_REQUEST_APPROVAL:
            read_approval(db, request);
            break;
        case DB_REQUEST_EVENTS:
            read_events(db, request);
            break;
        case DB_REQUEST_LIST:
            read_list(db, request);
            break;
        case DB_REQUEST_SHELF:
            read_shelf(db, request);
            break;
        case DB_REQUEST_COMMIT:
        case DB_REQUEST_SHELF_WRITE:
            break;
        }
    }
}

/* ---- the turn ---- */

static void run_due(struct flow_db *db)
{
    for (uint32_t i = 0; i < DUE_MAX && db->heap.count; i++) {
        struct db_due *due = db->heap.items[0];
        if (due->at_ms > db->now_ms) {
            break;
        }
        if (due->kind == DB_DUE_PUBLISH) {
            publish_due(db, due);
        } else {
            work_due(db, due);
        }
    }
}

/* Nothing else to do: the log goes into the database before it is long. */
static void checkpoint(struct flow_db *db)
{
    if (db->wal_pages > WAL_PAGES_IDLE && db->queue.count == 0) {
        (void)sqlite3_wal_checkpoint_v2(db->sqlite, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        db->wal_pages = 0; /* The next commit says what it is. */
    }
}

bool flow_db_turn(struct flow_db *db, uint64_t now_ms)
{
    if (!db->sqlite) {
        return false;
    }
    db->now_ms = now_ms;
    if (!db->told_up) {
        db->told_up = true;
        db->options.in.on_state(db->options.in.ctx, true, "");
    }
    take_batch(db);
    bool idle = db->batch.count == 0;
    write_batch(db, false);
    read_batch(db);
    runs_evict(db);
    run_due(db);
    work_hand_out(db);
    publications_turn(db);
    bool more = reap_turn(db);
    if (db->rescan && work_rebuild(db) < 0) {
        db->rescan = true; /* Reading failed. What memory was not enough for has set it itself. */
    }
    if (idle) {
        checkpoint(db);
    }
    return more || db->queue.count > 0;
}

uint64_t flow_db_next_ms(const struct flow_db *db, uint64_t now_ms)
{
    uint64_t at = db->reap_at_ms, publish_at = publish_next_ms(db);

    if (!db->sqlite) {
        return UINT64_MAX;
    }
    if (db->queue.count || !db->told_up || db->released) {
        return 0;
    }
    if (db->waiting_count && db->given_count < db->options.tasks_max) {
        return 0;
    }
    at = publish_at < at ? publish_at : at;
    if (db->heap.count && db->heap.items[0]->at_ms < at) {
        at = db->heap.items[0]->at_ms;
    }
    return at > now_ms ? at - now_ms : 0;
}

/* ---- the port ---- */

static void port_commit(void *ctx, struct flow_commit *commit)
{
    ask(ctx, DB_REQUEST_COMMIT, commit);
}

static void port_load(void *ctx, struct flow_load *load)
{
    ask(ctx, DB_REQUEST_LOAD, load);
}

static void port_blob(void *ctx, struct flow_get *get)
{
    ask(ctx, DB_REQUEST_BLOB, get);
}

static void port_approval(void *ctx, struct flow_get *get)
{
    ask(ctx, DB_REQUEST_APPROVAL, get);
}

static void port_events(void *ctx, struct flow_events *events)
{
    ask(ctx, DB_REQUEST_EVENTS, events);
}

static void port_list(void *ctx, struct flow_list *list)
{
    ask(ctx, DB_REQUEST_LIST, list);
}

static void port_shelf(void *ctx, struct flow_shelf *shelf)
{
    bool write = shelf->act == FLOW_SHELF_PUT || shelf->act == FLOW_SHELF_DELETE;

    ask(ctx, write ? DB_REQUEST_SHELF_WRITE : DB_REQUEST_SHELF, shelf);
}

static void port_release_task(
    void *ctx, struct flow_task *task, enum flow_release how, const char *why)
{
    work_release(ctx, task, how, why);
}

/* There are no signals: all workers are flow's own. */
static void port_release_signal(
    void *ctx, struct flow_signal *signal, enum flow_release how, const char *why)
{
    (void)ctx;
    (void)signal;
    (void)how;
    (void)why;
}

struct flow_store flow_db_store(struct flow_db *db)
{
    return (struct flow_store){
        .ctx = db,
        .commit = port_commit,
        .load = port_load,
        .blob = port_blob,
        .approval = port_approval,
        .events = port_events,
        .list = port_list,
        .shelf = port_shelf,
        .release_task = port_release_task,
        .release_signal = port_release_signal,
        .outside_workers = false,
    };
}

/* ---- opening and shutting ---- */

static void close_file(struct flow_db *db)
{
    schema_close(db);
    runs_free_all(db);
}

int flow_db_open(
    const struct flow_db_options *options, struct flow_db **ret_db, char why[FLOW_DB_WHY_MAX])
{
    struct flow_db *db = mem_zalloc(sizeof(*db));

    db->options = *options;
    db->lock_fd = -1;
    why[0] = '\0';
    int r = getrandom(&db->hash_key, sizeof(db->hash_key), 0) == sizeof(db->hash_key) ? 0 : -EIO;
    r = r ? r : schema_open(db, why);
    if (r == 0) {
        r = work_rebuild(db);
        if (r < 0) {
            snprintf(why, FLOW_DB_WHY_MAX,
                "%s: its runs cannot be read: %s; restore it from a copy, or move it away to begin "
                "without runs",
                db->path, r == -EBADMSG ? "the file is damaged" : strerror(-r));
        }
    }
    if (r < 0) {
        flow_db_destroy(db);
        return r;
    }
    *ret_db = db;
    return 0;
}

void flow_db_shut(struct flow_db *db)
{
    if (!db->sqlite) {
        return;
    }
    do {
        take_batch(db);
        write_batch(db, db->queue.count == 0);
        read_batch(db);
        runs_evict(db);
    } while (db->queue.count);
    close_file(db);
    if (db->told_up) {
        db->options.in.on_state(db->options.in.ctx, false, "it is shut");
    }
}

void flow_db_destroy(struct flow_db *db)
{
    if (!db) {
        return;
    }
    flow_db_shut(db);
    schema_close(db);
    work_free_all(db);
    publish_free_all(db);
    runs_free_all(db);
    bytes_fini(&db->scratch);
    bytes_fini(&db->scratch2);
    mem_free(db->queue.items);
    mem_free(db->batch.items);
    mem_free(db->path);
    mem_free(db);
}

/* ---- figures ---- */

static uint64_t read_number(struct flow_db *db, enum db_statement which)
{
    sqlite3_stmt *stmt = db_statement(db, which);
    uint64_t n = 0;

    if (db_step(db, stmt) == 1) {
        n = db_column_int(stmt, 0);
        db_reset(stmt);
    }
    return n;
}

void flow_db_stats(struct flow_db *db, struct flow_db_stats *ret_stats)
{
    struct flow_db_stats stats = db->stats;

    if (db->sqlite) {
        stats.dead = read_number(db, DB_DEAD_COUNT);
        stats.file_bytes = read_number(db, DB_PAGES) * read_number(db, DB_PAGE_BYTES);
    }
    stats.cache_bytes = db->cache_bytes;
    stats.wal_pages = db->wal_pages;
    stats.runs_cached = (uint32_t)db->runs.count;
    stats.tasks_waiting = db->waiting_count;
    stats.tasks_given = db->given_count;
    stats.timers = db->timer_count;
    stats.unpublished_runs = (uint32_t)db->pubs.count;
    *ret_stats = stats;
}
