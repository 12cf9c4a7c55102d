/* The file and its statements.
 *
 * `open` is 1 while a run is running or has events that are not published: those rows are read at
 * opening, and never deleted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/flow_db_own.h"

enum {
    SCHEMA_VERSION = 1,
    APPLICATION_ID = 0x66616e72, /* "fanr", for file(1) and for us. */
    PAGE_BYTES = 8192,           /* A run of seven nodes fits: a fifth less time than with 4096. */
    CACHE_KIB = 32768,
    WAL_PAGES_MAX = 8192, /* Then a commit waits until they are in the database. */
    BUSY_MS = 5000,       /* Somebody else's hand in the file, by sqlite3(1). */
};

static const char schema[] =
    "CREATE TABLE runs(id INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, open INTEGER NOT NULL,"
    " status TEXT NOT NULL, tag TEXT NOT NULL, user TEXT NOT NULL, created_ms INTEGER NOT NULL,"
    " finished_ms INTEGER NOT NULL, version INTEGER NOT NULL, events INTEGER NOT NULL,"
    " published INTEGER NOT NULL, blobs INTEGER NOT NULL, header TEXT NOT NULL,"
    " nodes TEXT NOT NULL);"
    "CREATE INDEX runs_open ON runs(id) WHERE open=1;"
    "CREATE INDEX runs_over ON runs(finished_ms) WHERE open=0;"
    "CREATE INDEX runs_by_time ON runs(created_ms, run_id);"
    "CREATE INDEX runs_by_status ON runs(status, created_ms, run_id);"
    "CREATE INDEX runs_by_tag ON runs(tag, created_ms, run_id);"
    "CREATE INDEX runs_by_user ON runs(user, created_ms, run_id);"
    "CREATE TABLE parts(run INTEGER NOT NULL, part INTEGER NOT NULL, nodes TEXT NOT NULL,"
    " PRIMARY KEY(run, part)) WITHOUT ROWID;"
    "CREATE TABLE irs(run INTEGER PRIMARY KEY, body TEXT NOT NULL);"
    "CREATE TABLE log(id INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL,"
    " tokens TEXT NOT NULL, events TEXT NOT NULL);"
    "CREATE TABLE blobs(id INTEGER PRIMARY KEY, ref BLOB NOT NULL, body TEXT NOT NULL);"
    "CREATE INDEX blobs_by_ref ON blobs(ref);"
    "CREATE TABLE workflows(tag TEXT PRIMARY KEY, body TEXT NOT NULL, updated_ms INTEGER NOT NULL)"
    " WITHOUT ROWID;"
    "CREATE TABLE dead(id INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER NOT NULL,"
    " kind TEXT NOT NULL, reason TEXT NOT NULL, body BLOB NOT NULL);";

#define LIST_COLUMNS "SELECT run_id, status, tag, user, header FROM runs WHERE "
#define LIST_ORDER                                                                                 \
    " AND (created_ms, run_id) < (?2, ?3) ORDER BY created_ms DESC, run_id DESC LIMIT ?4"

static const char *const texts[DB_STATEMENTS] = {
    [DB_BEGIN] = "BEGIN IMMEDIATE",
    [DB_COMMIT] = "COMMIT",
    [DB_RUN_GET] = "SELECT id, status, tag, user, created_ms, finished_ms, version, events,"
                   " published, blobs, header, nodes FROM runs WHERE run_id=?1",
    [DB_RUN_ADD] = "INSERT INTO runs(id, run_id, open, status, tag, user, created_ms, finished_ms,"
                   " version, events, published, blobs, header, nodes)"
                   " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14)",
    [DB_RUN_SET] = "UPDATE runs SET version=?2, events=?3, published=?4, blobs=?5, header=?6,"
                   " nodes=?7 WHERE id=?1",
    [DB_RUN_CLOSE] = "UPDATE runs SET status=?2, finished_ms=?3, open=?4 WHERE id=?1",
    [DB_RUN_PUBLISHED] = "UPDATE runs SET published=?2, open=?3 WHERE id=?1",
    [DB_RUN_DELETE] = "DELETE FROM runs WHERE id=?1",
    [DB_RUNS_OPEN] = "SELECT r.id, r.run_id, r.user, r.status, r.published, r.events, r.nodes,"
                     " p.nodes, r.version FROM runs r LEFT JOIN parts p ON p.run=r.id"
                     " WHERE r.open=1 ORDER BY r.id",
    [DB_RUNS_OVER] = "SELECT id, run_id, finished_ms FROM runs WHERE open=0"
                     " ORDER BY finished_ms LIMIT 1",
    [DB_PART_GET] = "SELECT nodes FROM parts WHERE run=?1 ORDER BY part",
    [DB_PART_PUT] = "INSERT OR REPLACE INTO parts(run, part, nodes) VALUES(?1,?2,?3)",
    [DB_PART_DELETE] = "DELETE FROM parts WHERE run=?1",
    [DB_IR_GET] = "SELECT body FROM irs WHERE run=?1",
    [DB_IR_PUT] = "INSERT INTO irs(run, body) VALUES(?1,?2)",
    [DB_IR_DELETE] = "DELETE FROM irs WHERE run=?1",
    [DB_LOG_PUT] = "INSERT INTO log(id, first, count, tokens, events) VALUES(?1,?2,?3,?4,?5)",
    [DB_LOG_GET] = "SELECT first, count, events FROM log WHERE id>=?1 AND id<?2 ORDER BY id",
    [DB_LOG_TOKENS] = "SELECT tokens FROM log WHERE id>=?1 AND id<?2 ORDER BY id",
    [DB_LOG_FIRST] = "SELECT id, first FROM log WHERE id>=?1 AND id<?2 ORDER BY id LIMIT 1",
    [DB_LOG_DELETE] = "DELETE FROM log WHERE id>=?1 AND id<?2",
    [DB_BLOB_HAS] = "SELECT 1 FROM blobs WHERE ref=?1 AND id>=?2 AND id<?3",
    [DB_BLOB_PUT] = "INSERT INTO blobs(id, ref, body) VALUES(?1,?2,?3)",
    [DB_BLOB_GET] = "SELECT body FROM blobs WHERE ref=?1 LIMIT 1",
    [DB_BLOB_DELETE] = "DELETE FROM blobs WHERE id>=?1 AND id<?2",
    [DB_LIST_ALL] = LIST_COLUMNS "?1=?1" LIST_ORDER,
    [DB_LIST_STATUS] = LIST_COLUMNS "status=?1" LIST_ORDER,
    [DB_LIST_TAG] = LIST_COLUMNS "tag=?1" LIST_ORDER,
    [DB_LIST_USER] = LIST_COLUMNS "user=?1" LIST_ORDER,
    [DB_LIST_PLACE] = "SELECT created_ms FROM runs WHERE run_id=?1",
    [DB_SHELF_PUT] = "INSERT OR REPLACE INTO workflows(tag, body, updated_ms) VALUES(?1,?2,?3)",
    [DB_SHELF_GET] = "SELECT tag, body, updated_ms FROM workflows WHERE tag=?1",
    [DB_SHELF_DELETE] = "DELETE FROM workflows WHERE tag=?1",
    [DB_SHELF_LIST] = "SELECT tag, body, updated_ms FROM workflows ORDER BY tag",
    [DB_DEAD_PUT] = "INSERT INTO dead(at_ms, kind, reason, body) VALUES(?1,?2,?3,?4)",
    [DB_DEAD_TRIM] = "DELETE FROM dead WHERE id <= (SELECT max(id) FROM dead) - ?1",
    [DB_DEAD_COUNT] = "SELECT count(*) FROM dead",
    [DB_PAGES] = "PRAGMA page_count",
    [DB_PAGE_BYTES] = "PRAGMA page_size",
};

/* ---- statements ---- */

static bool is_no_room(int os)
{
    return os == ENOSPC || os == EFBIG || os == EDQUOT;
}

/* SQLite knows a full disk by ENOSPC only; else it must be asked what its two files met last, since
 * errno may be another's by now. */
static bool met_no_room(sqlite3 *sqlite)
{
    const int files[] = {SQLITE_FCNTL_FILE_POINTER, SQLITE_FCNTL_JOURNAL_POINTER};
    bool met = is_no_room(sqlite3_system_errno(sqlite));

    for (size_t i = 0; i < COUNT_OF(files) && !met; i++) {
        sqlite3_file *file = NULL;
        int os = 0;
        if (sqlite3_file_control(sqlite, "main", files[i], &file) == SQLITE_OK && file &&
            file->pMethods) {
            (void)file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &os);
        }
        met = is_no_room(os);
    }
    return met;
}

static int error_of(sqlite3 *sqlite, int code)
{
    switch (code & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_IOERR:
        return (code == SQLITE_IOERR_WRITE || code == SQLITE_IOERR_TRUNCATE) && met_no_room(sqlite)
                   ? -ENOSPC
                   : -EIO;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    default:
        return -EIO;
    }
}

sqlite3_stmt *db_statement(struct flow_db *db, enum db_statement which)
{
    return db->statements[which];
}

/* What cannot be bound is NULL to the statement, and no column of ours may be: it fails. */
void db_bind_text(sqlite3_stmt *stmt, int at, struct span text)
{
    (void)sqlite3_bind_text64(
        stmt, at, text.len ? (const char *)text.data : "", text.len, SQLITE_STATIC, SQLITE_UTF8);
}

void db_bind_blob(sqlite3_stmt *stmt, int at, struct span blob)
{
    (void)sqlite3_bind_blob64(
        stmt, at, blob.len ? blob.data : (const void *)"", blob.len, SQLITE_STATIC);
}

void db_bind_int(sqlite3_stmt *stmt, int at, uint64_t n)
{
    (void)sqlite3_bind_int64(stmt, at, n > INT64_MAX ? INT64_MAX : (sqlite3_int64)n);
}

void db_reset(sqlite3_stmt *stmt)
{
    (void)sqlite3_reset(stmt);
    (void)sqlite3_clear_bindings(stmt);
}

int db_step(struct flow_db *db, sqlite3_stmt *stmt)
{
    int code = sqlite3_step(stmt);

    if (code == SQLITE_ROW) {
        return 1;
    }
    int r = code == SQLITE_DONE ? 0 : error_of(db->sqlite, code);
    db_reset(stmt);
    return r;
}

int db_run(struct flow_db *db, sqlite3_stmt *stmt)
{
    int r = 1;

    while (r == 1) {
        r = db_step(db, stmt);
    }
    return r;
}

struct span db_column(sqlite3_stmt *stmt, int at)
{
    const void *data = sqlite3_column_blob(stmt, at);

    return span_of(data, data ? (size_t)sqlite3_column_bytes(stmt, at) : 0);
}

uint64_t db_column_int(sqlite3_stmt *stmt, int at)
{
    sqlite3_int64 n = sqlite3_column_int64(stmt, at);

    return n < 0 ? 0 : (uint64_t)n;
}

/* ---- opening ---- */

static void say(char why[FLOW_DB_WHY_MAX], const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(char why[FLOW_DB_WHY_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, FLOW_DB_WHY_MAX, fmt, args);
    va_end(args);
}

/* As the history beside it, but a lock of our own: either may be used without the other. */
static int lock(struct flow_db *db, char why[FLOW_DB_WHY_MAX])
{
    const char *dir = db->options.dir;
    struct stat st;
    char path[4096], pid[32] = {0};

    if (mkdir(dir, 0700) < 0) {
        int err = errno != EEXIST       ? -errno
                  : stat(dir, &st) < 0  ? -errno
                  : S_ISDIR(st.st_mode) ? 0
                                        : -ENOTDIR;
        if (err) {
            say(why, "%s: cannot be used as the directory of runs: %s", dir, strerror(-err));
            return err;
        }
    }
    snprintf(path, sizeof(path), "%s/runs.lock", dir);
    db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (db->lock_fd < 0) {
        int err = -errno;
        say(why, "%s: cannot be opened for writing: %s", path, strerror(-err));
        return err;
    }
    if (flock(db->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t len = pread(db->lock_fd, pid, sizeof(pid) - 1, 0);
        say(why,
            "%s: its runs are in use by process %ld; they have one coordinator at a time: stop "
            "that "
            "one, give this one a directory of its own, or let both use one Redis",
            dir, len > 0 ? strtol(pid, NULL, 10) : 0);
        return -EBUSY;
    }
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(db->lock_fd, 0) < 0 || pwrite(db->lock_fd, pid, (size_t)len, 0) < 0) {
        return 0; /* A full disk: then nobody learns our number, which only makes a poorer sentence. */
    }
    return 0;
}

/* SQLite would make it with the umask's permissions. */
static int make_private(const char *path, char why[FLOW_DB_WHY_MAX])
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    if (fd < 0) {
        int err = -errno;
        say(why, "%s: cannot be opened for writing: %s", path, strerror(-err));
        return err;
    }
    close(fd);
    return 0;
}

static int say_sqlite(struct flow_db *db, int code, char why[FLOW_DB_WHY_MAX])
{
    int err = error_of(db->sqlite, code);

    if ((code & 0xff) == SQLITE_NOTADB) {
        say(why,
            "%s: is no database of runs, or its beginning is damaged; restore it from a copy, or "
            "move it away to begin without runs",
            db->path);
    } else if (err == -EBADMSG) {
        say(why,
            "%s: is damaged (%s); restore it from a copy, or move it away to begin without runs",
            db->path, sqlite3_errmsg(db->sqlite));
    } else {
        say(why, "%s: cannot be used: %s", db->path, sqlite3_errmsg(db->sqlite));
    }
    return err;
}

static int exec(struct flow_db *db, const char *sql, char why[FLOW_DB_WHY_MAX])
{
    int code = sqlite3_exec(db->sqlite, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : say_sqlite(db, code, why);
}

static int number(struct flow_db *db, const char *sql, int64_t *ret, char why[FLOW_DB_WHY_MAX])
{
    sqlite3_stmt *stmt = NULL;

    int code = sqlite3_prepare_v2(db->sqlite, sql, -1, &stmt, NULL);
    if (code == SQLITE_OK) {
        code = sqlite3_step(stmt);
    }
    if (code == SQLITE_ROW) {
        *ret = sqlite3_column_int64(stmt, 0);
        code = SQLITE_OK;
    }
    sqlite3_finalize(stmt);
    return code == SQLITE_OK ? 0 : say_sqlite(db, code, why);
}

/* Both numbers are written with the tables: what has one has all. */
static int make_or_check(struct flow_db *db, char why[FLOW_DB_WHY_MAX])
{
    int64_t application = 0, version = 0, tables = 0;
    char sql[128];

    int r = number(db, "PRAGMA application_id", &application, why);
    r = r ? r : number(db, "PRAGMA user_version", &version, why);
    r = r ? r : number(db, "SELECT count(*) FROM sqlite_schema", &tables, why);
    if (r) {
        return r;
    }
    if (tables == 0 && application == 0) {
        snprintf(sql, sizeof(sql), "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT",
            APPLICATION_ID, SCHEMA_VERSION);
        r = exec(db, "BEGIN IMMEDIATE", why);
        r = r ? r : exec(db, schema, why);
        return r ? r : exec(db, sql, why);
    }
    if (application != APPLICATION_ID) {
        say(why, "%s: is a database, but not one of fanout's runs; move it away", db->path);
        return -EBADMSG;
    }
    if (version > SCHEMA_VERSION) {
        say(why,
            "%s: was written by a newer version of fanout (format %lld; this one knows %d); use "
            "that version, or another directory",
            db->path, (long long)version, SCHEMA_VERSION);
        return -EPROTONOSUPPORT;
    }
    return 0;
}

/* Called by SQLite after each commit to its log. */
static int wal_grew(void *ctx, sqlite3 *sqlite, const char *name, int pages)
{
    struct flow_db *db = ctx;

    db->wal_pages = (uint64_t)pages;
    if (pages > WAL_PAGES_MAX) {
        (void)sqlite3_wal_checkpoint_v2(sqlite, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    }
    return SQLITE_OK;
}

static int set_up(struct flow_db *db, char why[FLOW_DB_WHY_MAX])
{
    char sql[256];
    int64_t ignored = 0;

    (void)sqlite3_busy_timeout(db->sqlite, BUSY_MS);
    (void)sqlite3_extended_result_codes(db->sqlite, 1);
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)sqlite3_db_config(db->sqlite, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    snprintf(sql, sizeof(sql), "PRAGMA page_size=%d; PRAGMA cache_size=-%d; PRAGMA temp_store=2;",
        PAGE_BYTES, CACHE_KIB);
    int r = exec(db, sql, why);
    if (r == 0 && db->options.dir) {
        r = exec(db,
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA journal_size_limit=67108864;",
            why);
        (void)sqlite3_wal_hook(db->sqlite, wal_grew, db);
    }
    r = r ? r : make_or_check(db, why);
    if (r == 0 && db->options.bytes_max) {
        uint64_t pages = db->options.bytes_max / PAGE_BYTES;
        snprintf(sql, sizeof(sql), "PRAGMA max_page_count=%llu",
            (unsigned long long)(pages < 64          ? 64
                                 : pages > INT32_MAX ? INT32_MAX
                                                     : pages));
        r = number(db, sql, &ignored, why);
    }
    return r;
}

static int prepare(struct flow_db *db, char why[FLOW_DB_WHY_MAX])
{
    for (int i = 0; i < DB_STATEMENTS; i++) {
        int code = sqlite3_prepare_v3(
            db->sqlite, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL);
        if (code != SQLITE_OK) {
            return say_sqlite(db, code, why);
        }
    }
    return 0;
}

static char *path_of(const char *dir)
{
    if (!dir) {
        return mem_strdup(":memory:");
    }
    size_t len = strlen(dir) + sizeof("/runs.db");
    char *path = mem_alloc(len);
    snprintf(path, len, "%s/runs.db", dir);
    return path;
}

int schema_open(struct flow_db *db, char why[FLOW_DB_WHY_MAX])
{
    int64_t last = 0;
    int r = 0;

    /* Counting its memory would cost a lock for each piece. Refused when it is in use already. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    db->path = path_of(db->options.dir);
    if (db->options.dir) {
        r = lock(db, why);
        r = r ? r : make_private(db->path, why);
    }
    if (r) {
        return r;
    }
    int code = sqlite3_open_v2(db->path, &db->sqlite,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (code != SQLITE_OK) {
        return say_sqlite(db, code, why);
    }
    r = set_up(db, why);
    r = r ? r : prepare(db, why);
    r = r ? r : number(db, "SELECT coalesce(max(id), 0) FROM runs", &last, why);
    db->next_row = (uint64_t)last + 1;
    return r;
}

void schema_close(struct flow_db *db)
{
    for (int i = 0; i < DB_STATEMENTS; i++) {
        (void)sqlite3_finalize(db->statements[i]);
        db->statements[i] = NULL;
    }
    /* The last one out empties the log into the database. */
    (void)sqlite3_close(db->sqlite);
    db->sqlite = NULL;
    if (db->lock_fd >= 0) {
        close(db->lock_fd);
        db->lock_fd = -1;
    }
}
