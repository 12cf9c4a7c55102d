#include "store/db.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "core/history.h"
#include "store/db_file.h"
#include "store/guard.h"

enum {
    TABLES_MAX = 5,
    READERS_SPARE = 8,
    PAGE_OVERHEAD = 16,  /* Of a page that holds part of one value. */
    ROOM_MIN = 16 << 20, /* Bytes; about what the largest commit takes. */
};

static const char remedy[] =
    "restore the directory from a copy, or move it away to begin with an empty history";

static void say(char why[DB_WHY_MAX], const char *fmt, ...) PRINTF_LIKE(2, 3);

static void say(char why[DB_WHY_MAX], const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, DB_WHY_MAX, fmt, args);
    va_end(args);
}

/* What LMDB holds to be impossible is possible in a damaged file. */
static void asserted(MDB_env *env, const char *text)
{
    (void)env;
    (void)text;
    guard_fail();
}

int db_err(int code)
{
    switch (code) {
    case 0:
        return 0;
    case MDB_NOTFOUND:
        return -ENOENT;
    case MDB_MAP_FULL:
    case MDB_TXN_FULL:
        return -ENOBUFS;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return -ENOSPC;
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_BAD_TXN:
        return -EBADMSG;
    default:
        return code > 0 ? -code : -EIO;
    }
}

/* The holder's process id is its lock file's content. */
static int lock(struct db *db, const char *dir, char why[DB_WHY_MAX])
{
    char path[4096];
    char pid[32] = {0};

    snprintf(path, sizeof(path), "%s/lock", dir);
    db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (db->lock_fd < 0) {
        int err = -errno;
        say(why, "%s: cannot be opened for writing: %s", path, strerror(-err));
        return err;
    }
    if (flock(db->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        ssize_t len = pread(db->lock_fd, pid, sizeof(pid) - 1, 0);
        long holder = len > 0 ? strtol(pid, NULL, 10) : 0;
        say(why,
            "%s: is in use by process %ld; a history has one process at a time: stop that one, or "
            "give this one a directory of its own",
            dir, holder);
        return -EBUSY;
    }
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(db->lock_fd, 0) < 0 || pwrite(db->lock_fd, pid, (size_t)len, 0) < 0) {
        return 0; /* A full disk: then nobody learns our number, which only makes a poorer sentence. */
    }
    return 0;
}

static int open_dir(const char *dir, char why[DB_WHY_MAX])
{
    struct stat st;

    if (mkdir(dir, 0700) == 0) {
        return 0;
    }
    int err = -errno;
    if (err == -EEXIST) {
        err = stat(dir, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    }
    if (err) {
        say(why, "%s: cannot be used as the history's directory: %s", dir, strerror(-err));
    }
    return err;
}

/* ---- Tables ---- */

int db_put_meta(const struct db *db, MDB_txn *txn, const struct format_meta *meta)
{
    uint8_t raw[FORMAT_META_LEN];
    MDB_val key = db_val("fanout", 6), val = db_val(raw, sizeof(raw));

    format_encode_meta(meta, raw);
    return db_err(mdb_put(txn, db->meta, &key, &val, 0));
}

int db_get_meta(const struct db *db, MDB_txn *txn, struct format_meta *ret_meta)
{
    MDB_val key = db_val("fanout", 6), val;

    int r = db_err(mdb_get(txn, db->meta, &key, &val));
    return r ? r : format_decode_meta(db_span(val), ret_meta);
}

static int draw_identity(struct format_meta *meta)
{
    uint64_t random[3];

    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        return -EIO;
    }
    *meta = (struct format_meta){
        .version = FORMAT_VERSION,
        .epoch_generation = 1,
        .store_id = random[0] & ((1ull << HISTORY_STORE_ID_BITS) - 1),
        .secret = {random[1], random[2]},
        .next_channel_id = 1,
    };
    return 0;
}

int db_next_generation(const struct db *db, MDB_txn *txn, struct format_meta *meta)
{
    const MDB_dbi tables[] = {db->channels, db->records, db->recent, db->once};
    struct format_meta next = *meta;
    int r = 0;

    if (next.generation >= HISTORY_GENERATION_MAX) {
        r = draw_identity(&next);
        for (size_t i = 0; i < COUNT_OF(tables) && r == 0; i++) {
            r = db_err(mdb_drop(txn, tables[i], 0));
        }
    }
    next.generation += 1;
    if (r == 0) {
        r = db_put_meta(db, txn, &next);
    }
    if (r == 0) {
        *meta = next;
    }
    return r;
}

static int open_tables(struct db *db, MDB_txn *txn, unsigned flags)
{
    struct {
        const char *name;
        MDB_dbi *dbi;
    } tables[TABLES_MAX] = {
        {"meta", &db->meta},
        {"channels", &db->channels},
        {"records", &db->records},
        {"recent", &db->recent},
        {"once", &db->once},
    };
    int r = 0;

    for (size_t i = 0; i < TABLES_MAX && r == 0; i++) {
        r = db_err(mdb_dbi_open(txn, tables[i].name, flags, tables[i].dbi));
    }
    return r;
}

/* The tables are made together with the identity: what has one has all. */
static int make_or_open(struct db *db, MDB_txn *txn, struct format_meta *meta, char why[DB_WHY_MAX])
{
    MDB_stat stat;

    mdb_env_stat(db->env, &stat);
    bool empty = stat.ms_entries == 0;
    int r = open_tables(db, txn, empty ? MDB_CREATE : 0);
    if (r == -ENOENT || r == -EINVAL) {
        say(why, "%s: is an LMDB file, but not a history of fanout; %s", db->data_path, remedy);
        return -EBADMSG;
    }
    if (r == 0) {
        r = empty ? draw_identity(meta) : db_get_meta(db, txn, meta);
    }
    if (r == -EPROTONOSUPPORT) {
        say(why,
            "%s: was written by a newer fanout, in format %u; this one knows formats up to %d: "
            "start "
            "the newer one, or move the directory away to begin with an empty history",
            db->data_path, meta->version, FORMAT_VERSION);
        return r;
    }
    if (r == -EBADMSG || r == -ENOENT) {
        say(why, "%s: is damaged: who wrote it cannot be read; %s", db->data_path, remedy);
        return -EBADMSG;
    }
    return r ? r : db_next_generation(db, txn, meta);
}

static int begin(struct db *db, struct format_meta *meta, char why[DB_WHY_MAX])
{
    MDB_txn *txn;

    int r = db_err(mdb_txn_begin(db->env, NULL, 0, &txn));
    if (r == 0) {
        r = make_or_open(db, txn, meta, why);
        if (r == 0) {
            r = db_err(mdb_txn_commit(txn));
        } else {
            mdb_txn_abort(txn);
        }
    }
    if (r < 0 && !*why) {
        say(why, "%s: cannot be written to: %s", db->data_path, strerror(-r));
    }
    return r;
}

/* ---- Open and close ---- */

/* LMDB locks a byte of its lock file for the first reader of a process, and uses no descriptor for any other: a thread
 * with a descriptor table of its own does not have that file. */
static int first_read(struct db *db)
{
    MDB_txn *txn;
    int r = db_err(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn));

    if (r == 0) {
        mdb_txn_abort(txn);
    }
    return r;
}

static int open_env(struct db *db, const char *dir, uint32_t readers_max, char why[DB_WHY_MAX])
{
    char half[DB_FILE_WHY_MAX] = {0};
    struct db_file file;
    MDB_stat stat;

    int r = db_file_look(db->data_path, &file, half);
    if (r == -EBADMSG) {
        say(why, "%s: %s; %s", db->data_path, half, remedy);
    }
    if (r == 0) {
        r = db_err(mdb_env_create(&db->env));
    }
    if (r < 0) {
        return r;
    }
    /* A budget below what is there does not cut: trimming brings the use down, not the length. */
    uint64_t map = db->budget_bytes > file.bytes ? db->budget_bytes : file.bytes;
    mdb_env_set_assert(db->env, asserted);
    mdb_env_set_mapsize(db->env, map);
    mdb_env_set_maxdbs(db->env, TABLES_MAX);
    mdb_env_set_maxreaders(db->env, readers_max + READERS_SPARE);
    /* Records of a channel are not neighbours in the file: reading ahead reads somebody else's. */
    r = db_err(mdb_env_open(db->env, dir, MDB_NOTLS | MDB_NORDAHEAD, 0600));
    if (r == 0) {
        mdb_env_stat(db->env, &stat);
        db->page_bytes = stat.ms_psize;
        db->part_max = stat.ms_psize - PAGE_OVERHEAD;
        r = first_read(db);
    }
    return r;
}

int db_open(const char *dir, uint64_t budget_bytes, uint32_t readers_max, struct db *db,
    struct format_meta *ret_meta, char why[DB_WHY_MAX])
{
    char path[4096];

    why[0] = '\0';
    *db = (struct db){.lock_fd = -1, .budget_bytes = budget_bytes};
    if (snprintf(path, sizeof(path), "%s/data.mdb", dir) >= (int)sizeof(path)) {
        say(why, "the history's directory has too long a name");
        return -ENAMETOOLONG;
    }
    db->data_path = mem_strdup(path);
    int r = open_dir(dir, why);
    if (r == 0) {
        r = lock(db, dir, why);
    }
    if (r == 0) {
        r = open_env(db, dir, readers_max, why);
    }
    if (r == 0) {
        r = begin(db, ret_meta, why);
    }
    if (r < 0) {
        if (!*why) {
            say(why, "%s: cannot be opened: %s", path, strerror(-r));
        }
        db_close(db, false);
    }
    return r;
}

void db_close(struct db *db, bool leave_env)
{
    if (db->env && !leave_env) {
        mdb_env_close(db->env);
    }
    if (db->lock_fd >= 0) {
        close(db->lock_fd);
    }
    mem_free(db->data_path);
    *db = (struct db){.lock_fd = -1};
}

int db_used_bytes(const struct db *db, MDB_txn *txn, uint64_t *ret_bytes)
{
    const MDB_dbi tables[] = {0, 1, db->meta, db->channels, db->records, db->recent, db->once};
    uint64_t pages = 2;
    MDB_stat stat;

    for (size_t i = 0; i < COUNT_OF(tables); i++) { /* 0: free pages, 1: the names of the tables. */
        int r = db_err(mdb_stat(txn, tables[i], &stat));
        if (r < 0) {
            return r;
        }
        pages += stat.ms_branch_pages + stat.ms_leaf_pages + stat.ms_overflow_pages;
    }
    *ret_bytes = pages * db->page_bytes;
    return 0;
}

bool db_looks_full(const struct db *db)
{
    struct statvfs disk;
    struct rlimit limit;
    struct stat file;

    if (stat(db->data_path, &file) < 0 || statvfs(db->data_path, &disk) < 0 ||
        getrlimit(RLIMIT_FSIZE, &limit) < 0) {
        return false;
    }
    return (uint64_t)disk.f_bavail * disk.f_frsize < ROOM_MIN ||
           limit.rlim_cur < (uint64_t)file.st_size + ROOM_MIN;
}
