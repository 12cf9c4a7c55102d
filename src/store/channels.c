#include "store/channels.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

enum {
    MS_PER_MINUTE = 60000,
    /* A row without records is kept as long as somebody may come back with a cursor to it. */
    FORGET_AFTER_MINUTES = 24 * 60,
};

void channels_init(struct channels *channels, const struct db *db, MDB_txn *txn,
    struct format_meta *meta, uint64_t now_ms, uint32_t deletes_max)
{
    *channels = (struct channels){
        .db = db,
        .txn = txn,
        .meta = meta,
        .hash_key = {meta->secret[0], meta->secret[1]},
        .deletes_left = deletes_max,
        .now_ms = now_ms,
    };
}

void channels_fini(struct channels *channels)
{
    while (channels->first) {
        struct channel_row *next = channels->first->next;
        mem_free(channels->first);
        channels->first = next;
    }
    table_fini(&channels->rows);
    if (channels->cursor) {
        mdb_cursor_close(channels->cursor);
        channels->cursor = NULL;
    }
}

/* ---- Rows ---- */

static struct span row_name(const struct channel_row *channel)
{
    return span_of(channel->name, channel->name_len);
}

static bool row_equal(const struct table_item *item, const void *key)
{
    return span_equal(row_name((const struct channel_row *)item), *(const struct span *)key);
}

static struct channel_row *row_add(struct channels *channels, uint64_t hash, struct span name)
{
    struct channel_row *channel = mem_try_zalloc(sizeof(*channel) + name.len);

    if (!channel) {
        return NULL;
    }
    channel->hash = hash;
    channel->name_len = (uint16_t)name.len;
    memcpy(channel->name, name.data, name.len);
    if (table_add(&channels->rows, (struct table_item *)channel) != 0) {
        mem_free(channel);
        return NULL;
    }
    channel->next = channels->first;
    channels->first = channel;
    return channel;
}

/* A row that cannot be read is as good as none, but then nothing is known of its past. */
static int row_load(struct channels *channels, struct channel_row *channel)
{
    struct span name = row_name(channel);
    MDB_val key = db_val(name.data, name.len), val;

    int r = db_err(mdb_get(channels->txn, channels->db->channels, &key, &val));
    if (r == 0 && format_decode_channel(db_span(val), name, &channel->row) == 0) {
        channel->stored = true;
        channel->listed_minute = channel->row.count ? channel->row.minute : 0;
        return 0;
    }
    if (r == 0) {
        channels->rows_damaged += 1;
        channel->row.known_from = UINT64_MAX;
    } else if (r != -ENOENT) {
        return r;
    } else {
        channel->row.known_from = channels->meta->known_from;
    }
    channel->row.id = channels->meta->next_channel_id++;
    return 0;
}

/* *ret_channel: its row, a new one when there is none. */
static int row_get(struct channels *channels, struct span name, struct channel_row **ret_channel)
{
    uint64_t hash = hash_bytes(&channels->hash_key, name.data, name.len);

    *ret_channel = (struct channel_row *)table_find(&channels->rows, hash, row_equal, &name);
    if (*ret_channel) {
        return 0;
    }
    struct channel_row *channel = row_add(channels, hash, name);
    if (!channel) {
        return -ENOMEM;
    }
    *ret_channel = channel;
    return row_load(channels, channel);
}

/* ---- Records: adding ---- */

static int put(struct channels *channels, const void *key, size_t key_len, const void *head,
    size_t head_len, const void *payload, size_t payload_len)
{
    MDB_val k = db_val(key, key_len), v = db_val(NULL, head_len + payload_len);

    int r = db_err(mdb_put(channels->txn, channels->db->records, &k, &v, MDB_RESERVE));
    if (r < 0) {
        return r;
    }
    if (head_len) {
        memcpy(v.mv_data, head, head_len);
    }
    if (payload_len) {
        memcpy((uint8_t *)v.mv_data + head_len, payload, payload_len);
    }
    return 0;
}

static int put_record(struct channels *channels, const struct format_channel *row,
    const struct publication *pub, uint64_t time_ms)
{
    struct span payload = publication_payload(pub);
    struct format_record record = {
        .flags = (uint8_t)(pub->flags & PUBLICATION_UTF8),
        .key = pub->key,
        .payload_len = pub->payload_len,
        .time_ms = time_ms,
        .before = row->newest,
    };
    uint8_t head[FORMAT_RECORD_HEAD_LEN], key[FORMAT_PART_KEY_LEN];
    size_t part_max = channels->db->part_max, at = part_max - sizeof(head);

    format_encode_record(&record, row->id, pub->offset, payload.data, head);
    format_record_key(row->id, pub->offset, key);
    if (at > payload.len) {
        at = payload.len;
    }
    int r = put(channels, key, FORMAT_RECORD_KEY_LEN, head, sizeof(head), payload.data, at);
    for (uint16_t part = 1; at < payload.len && r == 0; part++) {
        size_t len = payload.len - at < part_max ? payload.len - at : part_max;
        format_part_key(row->id, pub->offset, part, key);
        r = put(channels, key, FORMAT_PART_KEY_LEN, NULL, 0, payload.data + at, len);
        at += len;
    }
    return r;
}

int channels_append(struct channels *channels, const struct publication *pub,
    const struct store_limits *limits, uint64_t time_ms, bool *ret_bad)
{
    struct channel_row *channel;

    *ret_bad = pub->name_len == 0 || pub->name_len > NAME_MAX_BYTES ||
               pub->payload_len > (uint64_t)FORMAT_PARTS_MAX * channels->db->part_max / 2;
    if (*ret_bad) {
        return 0;
    }
    int r = row_get(channels, publication_name(pub), &channel);
    if (r < 0) {
        return r;
    }
    struct format_channel *row = &channel->row;
    if (pub->offset <= row->last || pub->offset <= row->boundary) {
        *ret_bad = true;
        return 0;
    }
    if (row->known_from == UINT64_MAX) {
        row->known_from = pub->offset;
    }
    channel->limits = *limits;
    channel->has_limits = true;
    channel->dirty = true;
    row->age_ms = limits->age_ms;
    row->minute =
        (uint32_t)(time_ms / MS_PER_MINUTE) | 1; /* Never 0; two minutes are near enough. */
    row->last = pub->offset;
    if (limits->messages == 0) {
        row->boundary =
            pub->offset; /* Trimmed as it came; what was kept goes in channels_trim(). */
        return 0;
    }
    r = put_record(channels, row, pub, time_ms);
    if (r < 0) {
        return r;
    }
    if (row->count == 0) {
        row->first = pub->offset;
        row->first_ms = time_ms;
    }
    row->newest = pub->offset;
    row->count += 1;
    row->bytes += FORMAT_RECORD_HEAD_LEN + pub->payload_len;
    channels->records_added += 1;
    return 0;
}

/* ---- Records: trimming ---- */

/* What is to go: everything up to an offset, older than a time, over a number or over bytes. */
struct trim {
    uint64_t up_to;
    uint64_t before_ms;
    uint64_t count_max, bytes_max;
};

static const struct trim trim_none = {.count_max = UINT64_MAX, .bytes_max = UINT64_MAX};

static bool trim_wants(const struct trim *trim, const struct format_channel *row)
{
    return row->count > 0 && (row->first <= trim->up_to || row->first_ms < trim->before_ms ||
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
    if (r == -ENOENT) { /* Nothing is left, whatever the row believed. */
        row_empty(row);
        r = 0;
    }
    return r;
}

int channels_clear(struct channels *channels, struct span name, uint64_t up_to, bool *ret_done)
{
    struct trim trim = trim_none;
    struct channel_row *channel;
    uint64_t count;

    int r = row_get(channels, name, &channel);
    if (r < 0) {
        return r;
    }
    trim.up_to = up_to;
    r = row_trim(channels, channel, &trim, &count);
    *ret_done = !trim_wants(&trim, &channel->row);
    if (*ret_done && channel->row.boundary < up_to) {
        channel->row.boundary = up_to;
        channel->row.last = channel->row.last > up_to ? channel->row.last : up_to;
        channel->row.minute = (uint32_t)(channels->now_ms / MS_PER_MINUTE) | 1;
        channel->dirty = true;
    }
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

    int r = row_get(channels, name, &channel);
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

    int r = row_get(channels, name, &channel);
    if (r < 0) {
        return r;
    }
    if (!channel->stored) {
        return 0; /* It cannot be read: a look leaves it as it is, the next append begins anew. */
    }
    struct format_channel *row = &channel->row;
    /* -1: nothing a client may still hold lies there, and the boundary stays of the old epoch. */
    trim.up_to = history_start(channels->meta->epoch_generation) - 1;
    if (row->age_ms && row->age_ms < channels->now_ms) {
        trim.before_ms = channels->now_ms - row->age_ms;
    }
    r = row_trim(channels, channel, &trim, &count);
    channels->records_trimmed += count;
    uint64_t now_minute = channels->now_ms / MS_PER_MINUTE;
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

/* ---- Writing rows ---- */

static int list_recent(struct channels *channels, struct channel_row *channel)
{
    uint32_t wanted =
        channel->row.count ? channel->row.minute : 0; /* Others have no room to give. */
    uint8_t raw[FORMAT_RECENT_KEY_LEN];
    MDB_val key = db_val(raw, sizeof(raw));
    MDB_val val = db_val(channel->name, channel->name_len);
    int r = 0;

    if (wanted == channel->listed_minute) {
        return 0;
    }
    if (channel->listed_minute) {
        format_recent_key(channel->listed_minute, channel->row.id, raw);
        r = db_err(mdb_del(channels->txn, channels->db->recent, &key, NULL));
        if (r == -ENOENT) {
            r = 0;
        }
    }
    if (r == 0 && wanted) {
        format_recent_key(wanted, channel->row.id, raw);
        r = db_err(mdb_put(channels->txn, channels->db->recent, &key, &val, 0));
    }
    channel->listed_minute = wanted;
    return r;
}

static int row_forget(struct channels *channels, struct channel_row *channel)
{
    struct format_channel *row = &channel->row;
    MDB_val key = db_val(channel->name, channel->name_len);
    uint64_t highest = row->last > row->boundary ? row->last : row->boundary;

    if (highest > channels->meta->known_from) {
        channels->meta->known_from = highest;
    }
    int r = db_err(mdb_del(channels->txn, channels->db->channels, &key, NULL));
    return r == -ENOENT ? 0 : r;
}

static int row_store(struct channels *channels, struct channel_row *channel)
{
    uint8_t raw[FORMAT_CHANNEL_LEN];
    MDB_val key = db_val(channel->name, channel->name_len), val = db_val(raw, sizeof(raw));

    int r = list_recent(channels, channel);
    if (r < 0) {
        return r;
    }
    channel->dirty = false;
    if (channel->forget) {
        return row_forget(channels, channel);
    }
    format_encode_channel(&channel->row, row_name(channel), raw);
    return db_err(mdb_put(channels->txn, channels->db->channels, &key, &val, 0));
}

int channels_flush(struct channels *channels)
{
    int r = 0;

    for (struct channel_row *channel = channels->first; channel && r == 0;
         channel = channel->next) {
        if (channel->dirty) {
            r = row_store(channels, channel);
        }
    }
    return r;
}
