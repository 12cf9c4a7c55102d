#include "store/keys.h"

#include <errno.h>

int keys_add(const struct db *db, MDB_txn *txn, const struct publication *pub, uint64_t time_ms)
{
    struct format_once once = {pub->hash, pub->epoch, pub->offset};
    uint8_t raw_key[FORMAT_ONCE_KEY_LEN], raw[FORMAT_ONCE_LEN];
    MDB_val key = db_val(raw_key, sizeof(raw_key)), val = db_val(raw, sizeof(raw));

    if (!(pub->once[0] | pub->once[1])) {
        return 0;
    }
    format_once_key(time_ms + KEYS_AGE_MS, pub->once, raw_key);
    format_encode_once(&once, db_span(key), raw);
    return db_err(mdb_put(txn, db->once, &key, &val, 0));
}

int keys_trim(const struct db *db, MDB_txn *txn, uint64_t now_ms, uint32_t deletes)
{
    MDB_cursor *cursor;
    MDB_val key, val;
    MDB_stat stat;

    int r = db_err(mdb_stat(txn, db->once, &stat));
    if (r < 0 || stat.ms_entries == 0) {
        return r;
    }
    r = db_err(mdb_cursor_open(txn, db->once, &cursor));
    if (r < 0) {
        return r;
    }
    size_t left = stat.ms_entries;
    r = db_err(mdb_cursor_get(cursor, &key, &val, MDB_FIRST));
    while (r == 0 && deletes-- > 0) {
        uint64_t expiry_ms, once[2];
        bool good = format_decode_once_key(db_span(key), &expiry_ms, once) == 0;
        if (good && expiry_ms > now_ms && left <= KEYS_MAX) {
            break;
        }
        left -= 1;
        r = db_err(mdb_cursor_del(cursor, 0));
        if (r == 0) {
            r = db_err(mdb_cursor_get(cursor, &key, &val, MDB_NEXT));
        }
    }
    mdb_cursor_close(cursor);
    return r == -ENOENT ? 0 : r;
}

static void give(MDB_val key, MDB_val val, uint64_t now_ms, store_key_fn *fn, void *ctx)
{
    struct store_key found;
    struct format_once once;
    uint64_t expiry_ms;

    if (format_decode_once_key(db_span(key), &expiry_ms, found.key) != 0 || expiry_ms <= now_ms ||
        format_decode_once(db_span(val), db_span(key), &once) != 0) {
        return;
    }
    uint64_t left_ms = expiry_ms - now_ms;
    found.age_ms = left_ms < KEYS_AGE_MS ? KEYS_AGE_MS - left_ms : 0;
    found.channel = once.channel;
    found.cursor = (struct cursor){once.epoch, once.offset};
    fn(ctx, &found);
}

int keys_each(const struct db *db, uint64_t now_ms, store_key_fn *fn, void *ctx)
{
    MDB_txn *txn;
    MDB_cursor *cursor;
    MDB_val key, val;

    int r = db_err(mdb_txn_begin(db->env, NULL, MDB_RDONLY, &txn));
    if (r < 0) {
        return r;
    }
    r = db_err(mdb_cursor_open(txn, db->once, &cursor));
    if (r == 0) {
        r = db_err(mdb_cursor_get(cursor, &key, &val, MDB_FIRST));
        while (r == 0) {
            give(key, val, now_ms, fn, ctx);
            r = db_err(mdb_cursor_get(cursor, &key, &val, MDB_NEXT));
        }
        mdb_cursor_close(cursor);
    }
    mdb_txn_abort(txn);
    return r == -ENOENT ? 0 : r;
}
