/* Retention: a run goes as a whole, in a transaction of its own, so that a full disk can be made
 * room on. */
#include <errno.h>

#include "store/flow_db_own.h"

enum {
    RUNS_MAX = 50,  /* Of one transaction. */
    LOOK_MS = 1000, /* Until there is another look. */
};

static int delete_range(struct flow_db *db, enum db_statement which, uint64_t row)
{
    sqlite3_stmt *stmt = db_statement(db, which);

    db_bind_int(stmt, 1, row << DB_ROW_BITS);
    db_bind_int(stmt, 2, (row + 1) << DB_ROW_BITS);
    return db_run(db, stmt);
}

static int delete_row(struct flow_db *db, enum db_statement which, uint64_t row)
{
    sqlite3_stmt *stmt = db_statement(db, which);

    db_bind_int(stmt, 1, row);
    return db_run(db, stmt);
}

static int delete_run(struct flow_db *db, uint64_t row)
{
    int r = delete_range(db, DB_LOG_DELETE, row);

    r = r ? r : delete_range(db, DB_BLOB_DELETE, row);
    r = r ? r : delete_row(db, DB_PART_DELETE, row);
    r = r ? r : delete_row(db, DB_IR_DELETE, row);
    return r ? r : delete_row(db, DB_RUN_DELETE, row);
}

/* The oldest run, if its time is over: 1 and it is gone (within the transaction), 0, or negative
 * errno. */
static int reap_one(struct flow_db *db)
{
    sqlite3_stmt *stmt = db_statement(db, DB_RUNS_OVER);

    int r = db_step(db, stmt);
    if (r <= 0) {
        return r;
    }
    uint64_t row = db_column_int(stmt, 0), finished_ms = db_column_int(stmt, 2);
    bool over = finished_ms + db->options.retention_ms < db->now_ms;
    if (over) {
        /* A reader of it in memory would bring its row back. */
        runs_forget(db, db_column(stmt, 1));
    }
    db_reset(stmt);
    if (!over) {
        return 0;
    }
    r = delete_run(db, row);
    return r ? r : 1;
}

/* Is there one? So that looking costs no transaction. */
static bool is_due(struct flow_db *db)
{
    sqlite3_stmt *stmt = db_statement(db, DB_RUNS_OVER);
    bool due = false;

    if (db_step(db, stmt) == 1) {
        due = db_column_int(stmt, 2) + db->options.retention_ms < db->now_ms;
        db_reset(stmt);
    }
    return due;
}

bool reap_turn(struct flow_db *db)
{
    uint32_t count = 0;
    int reaped = 1;

    if (db->now_ms < db->reap_at_ms) {
        return false;
    }
    db->reap_at_ms = db->now_ms + LOOK_MS;
    if (!is_due(db) || db_run(db, db_statement(db, DB_BEGIN)) < 0) {
        return false;
    }
    while (count < RUNS_MAX && (reaped = reap_one(db)) == 1) {
        count += 1;
    }
    int r = reaped < 0 ? reaped : db_run(db, db_statement(db, DB_COMMIT));
    if (r < 0) {
        db_rollback(db);
        return false;
    }
    db->stats.reaped += count;
    if (count == RUNS_MAX) {
        db->reap_at_ms = db->now_ms;
    }
    return count == RUNS_MAX;
}
