/* What leaves a history: over its limits, past its age, cleared, or to make room. */
#include <errno.h>
#include <string.h>

#include "store/channels.h"

/* A row without records is kept as long as somebody may come back with a cursor to it. */
enum { FORGET_AFTER_MINUTES = 24 * 60 };

/* What is to go besides what lies before the boundary: older than a time, over a number or over bytes. */
struct trim {
    uint64_t before_ms;
    uint64_t count_max, bytes_max;
};

static const struct trim trim_none = {.count_max = UINT64_MAX, .bytes_max = UINT64_MAX};

static bool trim_wants(const struct trim *trim, const struct format_channel *row)
{
    return row->count > 0 && (row->first <= row->boundary || row->first_ms < trim->before_ms ||
                                 row->count > trim->count_max || row->bytes > trim->bytes_max);
}

/* Reads where the cursor stands. 0: on a record of this channel; -ENOENT: behind its last. */
static int at_record(int r, struct span key, uint64_t id, struct format_record_key *ret_key)
{
    r = db_err(r);
    if (r == 0 && (format_decode_record_key(key, ret_key) != 0 || ret_key->id != id)) {
        return -ENOENT;
    }
    return r;
}

/* Deletes the record under the cursor with its parts and moves on to the next one. */
static int delete_one(struct channels *channels, struct format_channel *row,
    struct format_record_key *at, MDB_val *key, MDB_val *val)
{
    uint64_t offset = at->offset;
    uint64_t bytes = 0;
    int r;

    do {
        bytes += val->mv_size;
        r = db_err(mdb_cursor_del(channels->cursor, 0));
        if (r < 0) {
            return r;
        }
        r = mdb_cursor_get(channels->cursor, key, val, MDB_NEXT);
        r = at_record(r, r ? span_of(NULL, 0) : db_span(*key), row->id, at);
    } while (r == 0 && at->offset == offset);
    row->count -= row->count > 0;
    row->bytes -= bytes < row->bytes ? bytes : row->bytes;
    row->boundary = offset > row->boundary ? offset : row->boundary;
    channels->deletes_left -= 1;
    return r;
}

static void row_empty(struct format_channel *row)
{
    row->first = 0;
    row->newest = 0;
    row->first_ms = 0;
    row->count = 0;
    row->bytes = 0;
}

/* *ret_count: how many went. */
static int row_trim(struct channels *channels, struct channel_row *channel, const struct trim *trim,
    uint64_t *ret_count)
{
    struct format_channel *row = &channel->row;
    struct format_record_key at;
    uint8_t raw[FORMAT_RECORD_KEY_LEN];
    MDB_val key = db_val(raw, sizeof(raw)), val;

    *ret_count = 0;
    if (!trim_wants(trim, row) || channels->deletes_left == 0) {
        return 0;
    }
    int r = channels->cursor
                ? 0
                : db_err(mdb_cursor_open(channels->txn, channels->db->records, &channels->cursor));
    if (r < 0) {
        return r;
    }
    channel->dirty = true;
    format_record_key(row->id, row->first, raw);
    r = mdb_cursor_get(channels->cursor, &key, &val, MDB_SET_RANGE);
    r = at_record(r, r ? span_of(NULL, 0) : db_span(key), row->id, &at);
    while (r == 0 && trim_wants(trim, row) && channels->deletes_left > 0) {
        r = delete_one(channels, row, &at, &key, &val);
        *ret_count += 1;
        if (r == 0) {
            struct format_record record;
            struct span rest;
            row->first = at.offset;
            if (format_decode_record(db_span(val), &record, &rest) == 0) {
                row->first_ms = record.time_ms;
            } /* Else its age stays its elder's, and the reader says what is wrong with it. */
        }
    }
    if (r == -ENOENT) {
        if (row->count > 0) { /* The row knows of more than the tree leads to: that is lost. */
            channels->rows_damaged += 1;
            row->boundary = row->newest > row->boundary ? row->newest : row->boundary;
        }
        row_empty(row);
        r = 0;
    }
    return r;
}

int channels_clear(struct channels *channels, struct span name, uint64_t up_to)
{
    struct channel_row *channel;
    uint64_t count;

    int r = channels_row(channels, name, &channel);
    if (r < 0) {
        return r;
    }
    if (channel->row.boundary < up_to) {
        channels_hide(channel, up_to);
        channel->row.minute = (uint32_t)(channels->now_ms / CHANNELS_MINUTE_MS) | 1;
    }
    r = row_trim(channels, channel, &trim_none, &count);
    channels->records_trimmed += count;
    return r;
}

int channels_trim(struct channels *channels)
{
    int r = 0;

    for (struct channel_row *channel = channels->first; channel && r == 0;
         channel = channel->next) {
        const struct store_limits *limits = &channel->limits;
        uint64_t count;
        if (!channel->has_limits) {
            continue;
        }
        struct trim trim = {
            .count_max = limits->messages,
            .bytes_max = limits->bytes ? limits->bytes : UINT64_MAX,
            .before_ms = limits->age_ms && limits->age_ms < channels->now_ms
                             ? channels->now_ms - limits->age_ms
                             : 0,
        };
        r = row_trim(channels, channel, &trim, &count);
        channels->records_trimmed += count;
    }
    return r;
}

/* ---- Making room ---- */

/* Names are copied out of the page: what follows writes to pages. */
static int take_name(struct bytes *name, MDB_val val)
{
    name->len = 0;
    return bytes_append(name, val.mv_data, val.mv_size);
}

/* *ret_stray: this line of `recent` belongs to a row that is no more. */
static int evict_from(struct channels *channels, struct span name, const uint8_t *recent_key,
    uint64_t *left, bool *ret_stray)
{
    uint8_t expected[FORMAT_RECENT_KEY_LEN];
    struct channel_row *channel;
    struct trim trim = trim_none;
    uint64_t count;

    int r = channels_row(channels, name, &channel);
    if (r < 0) {
        return r;
    }
    format_recent_key(channel->listed_minute, channel->row.id, expected);
    *ret_stray = memcmp(expected, recent_key, sizeof(expected)) != 0;
    if (*ret_stray) {
        return 0;
    }
    trim.count_max = channel->row.count > *left ? channel->row.count - *left : 0;
    r = row_trim(channels, channel, &trim, &count);
    channels->records_evicted += count;
    *left -= count < *left ? count : *left;
    return r;
}

int channels_evict(struct channels *channels, uint32_t records)
{
    MDB_cursor *cursor;
    MDB_val key, val;
    struct bytes name = {0};
    uint64_t left = records;
    uint8_t raw[FORMAT_RECENT_KEY_LEN];

    int r = db_err(mdb_cursor_open(channels->txn, channels->db->recent, &cursor));
    if (r < 0) {
        return r;
    }
    int found = mdb_cursor_get(cursor, &key, &val, MDB_FIRST);
    while (found == 0 && r == 0 && left > 0 && channels->deletes_left > 0) {
        bool stray = key.mv_size != sizeof(raw);
        if (!stray) {
            memcpy(raw, key.mv_data, sizeof(raw));
            r = take_name(&name, val);
        }
        if (!stray && r == 0) {
            r = evict_from(channels, span_of(name.data, name.len), raw, &left, &stray);
        }
        if (stray && r == 0) {
            r = db_err(mdb_cursor_del(cursor, 0));
        }
        found = mdb_cursor_get(cursor, &key, &val, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    bytes_fini(&name);
    return r ? r : found == MDB_NOTFOUND ? 0 : db_err(found);
}

static int walk_one(struct channels *channels, struct span name)
{
    struct channel_row *channel;
    struct trim trim = trim_none;
    uint64_t count;

    int r = channels_row(channels, name, &channel);
    if (r < 0) {
        return r;
    }
    if (!channel->stored) {
        return 0; /* It cannot be read: a look leaves it as it is, the next append begins anew. */
    }
    struct format_channel *row = &channel->row;
    if (row->age_ms && row->age_ms < channels->now_ms) {
        trim.before_ms = channels->now_ms - row->age_ms;
    }
    r = row_trim(channels, channel, &trim, &count);
    channels->records_trimmed += count;
    uint64_t now_minute = channels->now_ms / CHANNELS_MINUTE_MS;
    if (r == 0 && row->count == 0 && !channel->has_limits &&
        now_minute > (uint64_t)row->minute + FORGET_AFTER_MINUTES) {
        channel->forget = true;
        channel->dirty = true;
    }
    return r;
}

/* Rows that are due are few: the others cost no look at their records and no write. */
int channels_walk(struct channels *channels, struct bytes *name, uint32_t rows_max)
{
    MDB_cursor *cursor;
    MDB_val key = db_val(name->data, name->len), val;

    int r = db_err(mdb_cursor_open(channels->txn, channels->db->channels, &cursor));
    if (r < 0) {
        return r;
    }
    int found = mdb_cursor_get(cursor, &key, &val, name->len ? MDB_SET_RANGE : MDB_FIRST);
    while (found == 0 && r == 0 && rows_max > 0 && channels->deletes_left > 0) {
        rows_max -= 1;
        r = take_name(name, key);
        if (r == 0) {
            r = walk_one(channels, span_of(name->data, name->len));
        }
        found = mdb_cursor_get(cursor, &key, &val, MDB_NEXT);
    }
    if (found == 0 && r == 0) {
        r = take_name(name, key); /* The next walk begins here. */
    } else {
        name->len = 0;
    }
    mdb_cursor_close(cursor);
    return r ? r : found == MDB_NOTFOUND ? 0 : db_err(found);
}
