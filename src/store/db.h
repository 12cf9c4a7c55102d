/* Db: the LMDB environment of a store: its directory, lock, tables and room.
 *
 * One process holds a directory at a time. The map is as large as the budget from the start, which
 * costs address space only: the file grows as pages are written and reuses those that are free.
 */
#ifndef STORE_DB_H
#define STORE_DB_H

#include <lmdb.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "store/format.h"

enum { DB_WHY_MAX = 512 };

struct db {
    MDB_env *env;
    MDB_dbi meta, channels, records, recent, once;
    uint32_t page_bytes;
    uint32_t part_max;     /* The longest value that needs no second page. */
    uint64_t budget_bytes; /* The file's greatest length. */
    int lock_fd;
    char *data_path;
};

/* Opens the directory (made when it is not there; its parent must be), begins a generation and makes
 * that durable. Returns 0, or negative errno and a sentence in why: what was found where, and what
 * to do. -EBUSY: another process has it. */
MUST_USE int db_open(const char *dir, uint64_t budget_bytes, uint32_t readers_max, struct db *db,
    struct format_meta *ret_meta, char why[DB_WHY_MAX]);

/* No transaction may be open. leave_env: after a fault inside LMDB its memory cannot be trusted. */
void db_close(struct db *db, bool leave_env);

MUST_USE int db_put_meta(const struct db *db, MDB_txn *txn, const struct format_meta *meta);
MUST_USE int db_get_meta(const struct db *db, MDB_txn *txn, struct format_meta *ret_meta);

/* The next generation; when there is none, a new identity, and the tables are emptied. */
MUST_USE int db_next_generation(const struct db *db, MDB_txn *txn, struct format_meta *meta);

/* Bytes of the pages in use, as this transaction sees them. */
MUST_USE int db_used_bytes(const struct db *db, MDB_txn *txn, uint64_t *ret_bytes);

/* LMDB's codes as negative errno: -ENOENT (not found), -ENOBUFS (the map is full: trim), -ENOSPC
 * (the disk is), -ENOMEM; all else says that the file or the disk cannot be relied on. */
int db_err(int code);

/* Is there hardly any room for the file to grow? LMDB reports a write that was cut short by a full disk
 * as an error of the disk. */
bool db_looks_full(const struct db *db);

static inline MDB_val db_val(const void *data, size_t len)
{
    return (MDB_val){.mv_size = len, .mv_data = (void *)data};
}

static inline struct span db_span(MDB_val val)
{
    return span_of(val.mv_data, val.mv_size);
}

#endif
