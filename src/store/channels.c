#include "store/channels.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"

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

int channels_row(struct channels *channels, struct span name, struct channel_row **ret_channel)
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

void channels_hide(struct channel_row *channel, uint64_t up_to)
{
    struct format_channel *row = &channel->row;

    if (row->boundary < up_to) {
        row->boundary = up_to;
        row->last = row->last > up_to ? row->last : up_to;
        channel->dirty = true;
    }
}

int channels_append(struct channels *channels, struct store_entry *entry, uint64_t time_ms)
{
    const struct publication *pub = entry->pub;
    const struct store_limits *limits = &entry->limits;
    struct channel_row *channel;

    bool bad = pub->name_len == 0 || pub->name_len > NAME_MAX_BYTES ||
               pub->payload_len > (uint64_t)FORMAT_PARTS_MAX * channels->db->part_max / 2;
    entry->err = bad ? -EINVAL : 0;
    if (bad) {
        return 0;
    }
    int r = channels_row(channels, publication_name(pub), &channel);
    if (r < 0) {
        return r;
    }
    struct format_channel *row = &channel->row;
    if (pub->offset <= row->last || pub->offset <= row->boundary) {
        entry->err = -EINVAL;
        return 0;
    }
    if (entry->follows > row->last && entry->follows < pub->offset) {
        channels_hide(channel, entry->follows); /* That event did not come. */
    }
    if (row->known_from == UINT64_MAX) {
        row->known_from = pub->offset;
    }
    channel->limits = *limits;
    channel->has_limits = true;
    channel->dirty = true;
    row->age_ms = limits->age_ms;
    row->minute =
        (uint32_t)(time_ms / CHANNELS_MINUTE_MS) | 1; /* Never 0; two minutes are near enough. */
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
