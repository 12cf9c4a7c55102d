/* A reader: answers one page after the other, each from a snapshot of its own.
 *
 * A snapshot keeps the writer from using freed pages again, so it is held for one page only. */
#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "rt/clock.h"
#include "store/guard.h"
#include "store/own.h"

#define NS_PER_MS 1000000ull

struct reader {
    struct store_worker *worker;
    struct store *store;
    MDB_txn *txn; /* Reset between two pages. */
    MDB_cursor *cursor;
    struct bytes payload; /* Of a record in parts. */
    /* The page at hand. */
    struct store_read *letter;
    struct format_channel row;
    uint64_t bytes;
    uint64_t seen; /* No record up to here is missing. */
    uint32_t cap;
};

/* ---- The bounds ---- */

/* Up to here nothing is shown: what is left there is about to be trimmed. */
static uint64_t hidden(const struct reader *reader)
{
    uint64_t start = reader->letter->bounds.epoch_start, boundary = reader->row.boundary;

    return boundary > start ? boundary : start;
}

static void fill_bounds(struct reader *reader, const struct format_meta *meta)
{
    struct history_bounds *bounds = &reader->letter->bounds;
    const struct format_channel *row = &reader->row;
    uint64_t start = history_start(meta->epoch_generation);

    *bounds = (struct history_bounds){
        .epoch = history_epoch(meta->store_id, meta->serial),
        .epoch_start = start,
        .generation = meta->generation,
        .known_from = row->known_from,
    };
    if (row->count > 0 && row->last > start) {
        bounds->first = row->first > hidden(reader) ? row->first : 0; /* 0: to be looked up. */
    }
    bounds->last = row->last > start ? row->last : 0;
    bounds->boundary = row->boundary > start ? row->boundary : 0;
}

static int load_row(struct reader *reader, const struct format_meta *meta)
{
    struct span name = span_of(reader->letter->name, reader->letter->name_len);
    MDB_val key = db_val(name.data, name.len), val;

    reader->row = (struct format_channel){.known_from = meta->known_from};
    if (name.len == 0) {
        return 0;
    }
    int r = db_err(mdb_get(reader->txn, reader->store->db.channels, &key, &val));
    if (r == -ENOENT) {
        return 0;
    }
    return r ? r : format_decode_channel(db_span(val), name, &reader->row);
}

/* ---- Moving the cursor ---- */

/* 0: on a record's first part, *ret_at says which; -ENOENT: beyond the channel's records. */
static int move(struct reader *reader, MDB_cursor_op op, MDB_val *key, MDB_val *val,
    struct format_record_key *ret_at)
{
    do {
        int r = db_err(mdb_cursor_get(reader->cursor, key, val, op));
        if (r < 0) {
            return r;
        }
        if (format_decode_record_key(db_span(*key), ret_at) != 0 || ret_at->id != reader->row.id) {
            return -ENOENT;
        }
        op = op == MDB_PREV || op == MDB_LAST ? MDB_PREV : MDB_NEXT;
    } while (ret_at->part != 0);
    return 0;
}

/* To the first record at or behind an offset. */
static int seek(struct reader *reader, uint64_t offset, MDB_val *val, struct format_record_key *at)
{
    uint8_t raw[FORMAT_RECORD_KEY_LEN];
    MDB_val key = db_val(raw, sizeof(raw));

    format_record_key(reader->row.id, offset, raw);
    return move(reader, MDB_SET_RANGE, &key, val, at);
}

static size_t size_of(const struct reader *reader, uint32_t payload_len)
{
    return sizeof(struct publication) + reader->letter->name_len + payload_len;
}

/* To the newest record. */
static int seek_newest(struct reader *reader, MDB_val *val, struct format_record_key *at)
{
    uint8_t raw[FORMAT_RECORD_KEY_LEN];
    MDB_val key = db_val(raw, sizeof(raw));

    format_record_key(reader->row.id, UINT64_MAX, raw);
    int r = db_err(mdb_cursor_get(reader->cursor, &key, val, MDB_SET_RANGE));
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    return move(reader, r == 0 ? MDB_PREV : MDB_LAST, &key, val, at);
}

/* To the record from which the newest ones fill the page. */
static int seek_last(
    struct reader *reader, uint64_t floor, MDB_val *val, struct format_record_key *at)
{
    const struct store_read *letter = reader->letter;
    uint64_t bytes = 0, from = 0;
    struct format_record record;
    struct span rest;
    MDB_val key;

    int r = seek_newest(reader, val, at);
    for (uint32_t count = 0; r == 0 && count < letter->count_max && at->offset >= floor; count++) {
        bool good = format_decode_record(db_span(*val), &record, &rest) == 0;
        bytes += good ? size_of(reader, record.payload_len) : 0;
        if (count > 0 && (!good || bytes > letter->bytes_max)) {
            break; /* A damaged one is only met when it is the newest. */
        }
        from = at->offset;
        r = move(reader, MDB_PREV, &key, val, at);
    }
    if (r < 0 && r != -ENOENT) {
        return r;
    }
    return from ? seek(reader, from, val, at) : -ENOENT;
}

/* ---- Records ---- */

/* *ret_payload is valid until the cursor moves or the next call. */
static int read_payload(struct reader *reader, const struct format_record *record,
    struct span first, const struct format_record_key *at, struct span *ret_payload)
{
    MDB_val key, val;
    struct format_record_key part_at;

    if (first.len == record->payload_len) {
        *ret_payload = first;
        return 0;
    }
    reader->payload.len = 0;
    int r = bytes_append(&reader->payload, first.data, first.len);
    for (uint32_t part = 1; r == 0 && reader->payload.len < record->payload_len; part++) {
        r = db_err(mdb_cursor_get(reader->cursor, &key, &val, MDB_NEXT));
        if (r == -ENOENT || (r == 0 && format_decode_record_key(db_span(key), &part_at) != 0)) {
            return -EBADMSG;
        }
        if (r == 0 &&
            (part_at.id != at->id || part_at.offset != at->offset || part_at.part != part ||
                val.mv_size == 0 || val.mv_size > record->payload_len - reader->payload.len)) {
            return -EBADMSG;
        }
        r = r ? r : bytes_append(&reader->payload, val.mv_data, val.mv_size);
    }
    *ret_payload = span_of(reader->payload.data, reader->payload.len);
    return r;
}

static uint64_t monotonic_ns(uint64_t time_ms)
{
    uint64_t now_ns = clock_now_ns(), age_ns = clock_wall_ns();

    age_ns = age_ns > time_ms * NS_PER_MS ? age_ns - time_ms * NS_PER_MS : 0;
    return now_ns > age_ns ? now_ns - age_ns : 0;
}

static int give(struct reader *reader, const struct format_record *record,
    const struct format_record_key *at, struct span payload)
{
    struct store_read *letter = reader->letter;
    struct publish_order order = {
        .name = span_of(letter->name, letter->name_len),
        .payload = payload,
        .flags = record->flags & PUBLICATION_UTF8,
        .key = record->key,
    };

    if (letter->count == reader->cap) {
        uint32_t cap = reader->cap ? 2 * reader->cap : 16;
        void *grown = mem_try_realloc(letter->pubs, cap * sizeof(struct publication *));
        if (!grown) {
            return -ENOMEM;
        }
        letter->pubs = grown;
        reader->cap = cap;
    }
    struct publication *pub =
        publication_create(&order, letter->hash, monotonic_ns(record->time_ms));
    if (!pub) {
        return -ENOMEM;
    }
    pub->epoch = letter->bounds.epoch;
    pub->offset = at->offset;
    letter->pubs[letter->count++] = pub;
    return 0;
}

/* 1: the page is full before this record. Else *ret_damaged is what cannot be read. */
static int read_record(
    struct reader *reader, MDB_val val, const struct format_record_key *at, uint64_t *ret_damaged)
{
    struct store_read *letter = reader->letter;
    struct format_record record;
    struct span first, payload;

    *ret_damaged = at->offset;
    int r = format_decode_record(db_span(val), &record, &first);
    if (r < 0) {
        return r;
    }
    if (at->offset <= reader->seen) {
        *ret_damaged =
            reader->row.newest; /* The tree is out of order: what it has is anybody's guess. */
        return -EBADMSG;
    }
    if (record.before > reader->seen && record.before < at->offset) {
        *ret_damaged = record.before; /* It was there; the tree does not lead to it any more. */
        return -EBADMSG;
    }
    reader->bytes += size_of(reader, record.payload_len);
    if (letter->count > 0 && reader->bytes > letter->bytes_max) {
        return 1;
    }
    r = read_payload(reader, &record, first, at, &payload);
    if (r == 0) {
        r = format_check_record(&record, at->id, at->offset, payload.data);
    }
    return r ? r : give(reader, &record, at, payload);
}

static int end_page(struct reader *reader, int r, uint64_t damaged)
{
    struct store_read *letter = reader->letter;

    if (r == 1 || (r < 0 && letter->count > 0)) {
        letter->more = true;
        return 0;
    }
    if (r == -EBADMSG) {
        letter->damaged = damaged;
    }
    return r;
}

/* What came before an error is given, with `more`: the next page finds the error again. */
static int read_records(struct reader *reader, MDB_val val, struct format_record_key at)
{
    struct store_read *letter = reader->letter;
    uint64_t damaged = 0;
    MDB_val key;
    int r = 0;

    while (r == 0) {
        if (letter->count == letter->count_max) {
            r = 1;
            break;
        }
        r = read_record(reader, val, &at, &damaged);
        if (r == 0) {
            reader->seen = at.offset;
            r = move(reader, MDB_NEXT, &key, &val, &at);
        }
    }
    if (r == -ENOENT) {
        damaged = reader->row.newest;
        r = reader->seen < damaged ? -EBADMSG : 0;
    }
    return end_page(reader, r, damaged);
}

static int read_page(struct reader *reader)
{
    struct store_read *letter = reader->letter;
    struct history_bounds *bounds = &letter->bounds;
    uint64_t floor = hidden(reader) + 1;
    struct format_record_key at;
    MDB_val val;

    reader->seen = hidden(reader);
    if (reader->row.count == 0) {
        return 0;
    }
    int r = 0;
    if (bounds->first == 0 && reader->row.newest >= floor) { /* Some before it are still there. */
        r = seek(reader, floor, &val, &at);
        bounds->first = r == 0 ? at.offset : 0;
        if (r == -ENOENT) {
            return end_page(reader, -EBADMSG, reader->row.newest);
        }
    }
    if (r == 0 && letter->from == STORE_FROM_AFTER) {
        r = seek(reader, letter->after, &val, &at);
        bounds->found = r == 0 && at.offset == letter->after && at.offset >= floor;
        floor = letter->after >= floor ? letter->after + 1 : floor;
        reader->seen = letter->after > reader->seen ? letter->after : reader->seen;
    }
    if (letter->count_max == 0 || bounds->first == 0 || (r < 0 && r != -ENOENT)) {
        return r == -ENOENT ? 0 : r;
    }
    if (letter->from == STORE_FROM_LAST) {
        r = seek_last(reader, floor, &val, &at);
        reader->seen = r == 0 ? at.offset - 1 : reader->seen; /* It begins where it begins. */
    } else {
        r = seek(reader, floor, &val, &at);
    }
    if (r == 0) {
        return read_records(reader, val, at);
    }
    if (r == -ENOENT) {
        r = reader->seen < reader->row.newest ? -EBADMSG : 0;
    }
    return end_page(reader, r, reader->row.newest);
}

static int renew(struct reader *reader)
{
    int r;

    if (reader->txn) {
        r = db_err(mdb_txn_renew(reader->txn));
    } else {
        r = db_err(mdb_txn_begin(reader->store->db.env, NULL, MDB_RDONLY, &reader->txn));
    }
    if (r < 0) {
        return r;
    }
    if (reader->cursor) {
        return db_err(mdb_cursor_renew(reader->txn, reader->cursor));
    }
    return db_err(mdb_cursor_open(reader->txn, reader->store->db.records, &reader->cursor));
}

/* Within the guard. */
static int read_letter(void *arg)
{
    struct reader *reader = arg;
    struct format_meta meta;

    int r = renew(reader);
    if (r == 0) {
        r = db_get_meta(&reader->store->db, reader->txn, &meta);
    }
    if (r == 0) {
        r = load_row(reader, &meta);
        fill_bounds(reader, &meta);
    }
    return r ? r : read_page(reader);
}

/* ---- The thread ---- */

static void answer(struct reader *reader, struct store_read *letter)
{
    uint64_t start_ns = clock_now_ns();

    letter->pubs = NULL;
    letter->count = 0;
    letter->more = false;
    letter->damaged = 0;
    if (letter->bytes_max == 0 || letter->bytes_max > STORE_PAGE_BYTES) {
        letter->bytes_max = STORE_PAGE_BYTES;
    }
    reader->letter = letter;
    reader->row = (struct format_channel){0};
    reader->bytes = 0;
    reader->cap = 0;
    int r = guard_run(read_letter, reader);
    if (reader->txn) {
        mdb_txn_reset(reader->txn);
    }
    if (r == -EFAULT || r == -EBADMSG) {
        store_tell_damage(reader->store, 1, "a page or a record");
    }
    if (r == -EBADMSG && letter->damaged == 0) {
        letter->damaged = reader->row.newest; /* The tree itself: nothing further can be found. */
    }
    if (r < 0 && r != -EBADMSG && r != -ENOMEM) {
        r = -EIO;
    }
    store_add(&reader->store->counts.reads, 1);
    store_add(&reader->store->counts.read_records, letter->count);
    store_add(&reader->store->counts.read_ns, clock_now_ns() - start_ns);
    store_sub(&reader->store->counts.pending_reads, 1);
    worker_answer(reader->worker, &letter->letter, r);
}

void reader_run(void *arg)
{
    struct store_worker *worker = arg;
    struct reader reader = {.worker = worker, .store = worker->store};
    bool stopping = false;

    while (!stopping) {
        struct mail *mail = mailbox_take(worker->box);
        if (!mail) {
            worker_post(worker);
            worker_wait(worker, UINT64_MAX);
            continue;
        }
        if (((struct store_letter *)mail)->request == STORE_STOP) {
            stopping = true;
        } else {
            answer(&reader, (struct store_read *)mail);
            worker_post(worker); /* A page is worth waking for: it took longer than that. */
        }
    }
    if (reader.cursor) {
        mdb_cursor_close(reader.cursor);
    }
    if (reader.txn) {
        mdb_txn_abort(reader.txn);
    }
    bytes_fini(&reader.payload);
}
