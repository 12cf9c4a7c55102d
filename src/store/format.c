#include "store/format.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "base/check.h"
#include "base/pack.h"

/* Writing into an array whose length the caller's constant fixed. */
struct put {
    uint8_t *at;
};

static void put_number(struct put *put, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        *put->at++ = (uint8_t)(value >> 8 * i);
    }
}

static void put_big(struct put *put, uint64_t value, size_t len)
{
    for (size_t i = len; i-- > 0;) {
        *put->at++ = (uint8_t)(value >> 8 * i);
    }
}

static uint64_t get_big(const uint8_t *at, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static uint32_t crc_add(uint32_t crc, const void *data, size_t len)
{
    return len ? (uint32_t)crc32_z(crc, data, len) : crc;
}

/* A row is sealed by the CRC of its key and of what stands before the CRC. */
static void seal(struct put *put, const uint8_t *start, struct span key)
{
    uint32_t crc = crc_add(crc_add(0, key.data, key.len), start, (size_t)(put->at - start));

    put_number(put, crc, 4);
}

static bool is_sealed(struct span row, struct span key)
{
    if (row.len < 4) {
        return false;
    }
    struct unpack tail = {.rest = span_of(row.data + row.len - 4, 4)};
    uint32_t crc = crc_add(crc_add(0, key.data, key.len), row.data, row.len - 4);
    return unpack_u32(&tail) == crc;
}

/* ---- meta ---- */

static const uint8_t magic[8] = "fanout\r\n";

void format_encode_meta(const struct format_meta *meta, uint8_t out[FORMAT_META_LEN])
{
    struct put put = {out};

    memcpy(put.at, magic, sizeof(magic));
    put.at += sizeof(magic);
    put_number(&put, meta->version, 4);
    put_number(&put, meta->generation, 4);
    put_number(&put, meta->epoch_generation, 4);
    put_number(&put, meta->serial, 4);
    put_number(&put, meta->store_id, 8);
    put_number(&put, meta->secret[0], 8);
    put_number(&put, meta->secret[1], 8);
    put_number(&put, meta->next_channel_id, 8);
    put_number(&put, meta->known_from, 8);
    put_number(&put, 0, 4);
    seal(&put, out, span_of(NULL, 0));
    CHECK(put.at == out + FORMAT_META_LEN);
}

int format_decode_meta(struct span in, struct format_meta *ret_meta)
{
    struct format_meta meta = {0};
    struct unpack rest;

    if (in.len < sizeof(magic) || memcmp(in.data, magic, sizeof(magic)) != 0) {
        return -EBADMSG;
    }
    rest.failed = false;
    rest.rest = span_of(in.data + sizeof(magic), in.len - sizeof(magic));
    meta.version = unpack_u32(&rest);
    if (meta.version > FORMAT_VERSION) {
        *ret_meta = meta;
        return -EPROTONOSUPPORT; /* Its length and checksum are for that version to know. */
    }
    meta.generation = unpack_u32(&rest);
    meta.epoch_generation = unpack_u32(&rest);
    meta.serial = unpack_u32(&rest);
    meta.store_id = unpack_u64(&rest);
    meta.secret[0] = unpack_u64(&rest);
    meta.secret[1] = unpack_u64(&rest);
    meta.next_channel_id = unpack_u64(&rest);
    meta.known_from = unpack_u64(&rest);
    if (in.len != FORMAT_META_LEN || meta.version == 0 || !is_sealed(in, span_of(NULL, 0))) {
        return -EBADMSG;
    }
    *ret_meta = meta;
    return 0;
}

/* ---- channels ---- */

void format_encode_channel(
    const struct format_channel *row, struct span name, uint8_t out[FORMAT_CHANNEL_LEN])
{
    struct put put = {out};

    put_number(&put, row->id, 8);
    put_number(&put, row->first, 8);
    put_number(&put, row->last, 8);
    put_number(&put, row->newest, 8);
    put_number(&put, row->boundary, 8);
    put_number(&put, row->known_from, 8);
    put_number(&put, row->count, 8);
    put_number(&put, row->bytes, 8);
    put_number(&put, row->first_ms, 8);
    put_number(&put, row->age_ms, 8);
    put_number(&put, row->minute, 4);
    seal(&put, out, name);
    CHECK(put.at == out + FORMAT_CHANNEL_LEN);
}

int format_decode_channel(struct span in, struct span name, struct format_channel *ret_row)
{
    struct unpack rest = {.rest = in};

    if (in.len != FORMAT_CHANNEL_LEN || !is_sealed(in, name)) {
        return -EBADMSG;
    }
    struct format_channel row = {.id = unpack_u64(&rest)};
    row.first = unpack_u64(&rest);
    row.last = unpack_u64(&rest);
    row.newest = unpack_u64(&rest);
    row.boundary = unpack_u64(&rest);
    row.known_from = unpack_u64(&rest);
    row.count = unpack_u64(&rest);
    row.bytes = unpack_u64(&rest);
    row.first_ms = unpack_u64(&rest);
    row.age_ms = unpack_u64(&rest);
    row.minute = unpack_u32(&rest);
    *ret_row = row;
    return 0;
}

/* ---- records ---- */

void format_record_key(uint64_t id, uint64_t offset, uint8_t out[FORMAT_RECORD_KEY_LEN])
{
    struct put put = {out};

    put_big(&put, id, 8);
    put_big(&put, offset, 8);
}

void format_part_key(uint64_t id, uint64_t offset, uint16_t part, uint8_t out[FORMAT_PART_KEY_LEN])
{
    struct put put = {out};

    put_big(&put, id, 8);
    put_big(&put, offset, 8);
    put_big(&put, part, 2);
}

int format_decode_record_key(struct span in, struct format_record_key *ret_key)
{
    if (in.len != FORMAT_RECORD_KEY_LEN && in.len != FORMAT_PART_KEY_LEN) {
        return -EBADMSG;
    }
    struct format_record_key key = {get_big(in.data, 8), get_big(in.data + 8, 8), 0};
    if (in.len == FORMAT_PART_KEY_LEN) {
        key.part = (uint32_t)get_big(in.data + 16, 2);
        if (key.part == 0) {
            return -EBADMSG;
        }
    }
    *ret_key = key;
    return 0;
}

/* The head from behind its CRC. */
static void put_record(struct put *put, const struct format_record *record)
{
    put_number(put, FORMAT_VERSION, 1);
    put_number(put, record->flags, 1);
    put_number(put, 0, 2);
    put_number(put, record->key, 4);
    put_number(put, record->payload_len, 4);
    put_number(put, record->time_ms, 8);
    put_number(put, record->before, 8);
}

static uint32_t record_crc(const uint8_t head[FORMAT_RECORD_HEAD_LEN], uint64_t id, uint64_t offset,
    const void *payload, size_t payload_len)
{
    uint8_t key[FORMAT_RECORD_KEY_LEN];

    format_record_key(id, offset, key);
    uint32_t crc = crc_add(0, key, sizeof(key));
    crc = crc_add(crc, head + 4, FORMAT_RECORD_HEAD_LEN - 4);
    return crc_add(crc, payload, payload_len);
}

void format_encode_record(struct format_record *record, uint64_t id, uint64_t offset,
    const void *payload, uint8_t out[FORMAT_RECORD_HEAD_LEN])
{
    struct put put = {out + 4};

    put_record(&put, record);
    CHECK(put.at == out + FORMAT_RECORD_HEAD_LEN);
    record->crc = record_crc(out, id, offset, payload, record->payload_len);
    put.at = out;
    put_number(&put, record->crc, 4);
}

int format_decode_record(struct span in, struct format_record *ret_record, struct span *ret_rest)
{
    struct unpack rest = {.rest = in};
    struct format_record record = {.crc = unpack_u32(&rest)};

    uint8_t version = unpack_u8(&rest);
    record.flags = unpack_u8(&rest);
    uint16_t reserved = unpack_u16(&rest);
    record.key = unpack_u32(&rest);
    record.payload_len = unpack_u32(&rest);
    record.time_ms = unpack_u64(&rest);
    record.before = unpack_u64(&rest);
    if (unpack_error(&rest) || version != FORMAT_VERSION || reserved != 0 ||
        rest.rest.len > record.payload_len) {
        return -EBADMSG;
    }
    *ret_record = record;
    *ret_rest = rest.rest;
    return 0;
}

int format_check_record(
    const struct format_record *record, uint64_t id, uint64_t offset, const void *payload)
{
    uint8_t head[FORMAT_RECORD_HEAD_LEN];
    struct put put = {head + 4};

    put_record(&put, record);
    uint32_t crc = record_crc(head, id, offset, payload, record->payload_len);
    return crc == record->crc ? 0 : -EBADMSG;
}

/* ---- recent, once ---- */

void format_recent_key(uint32_t minute, uint64_t id, uint8_t out[FORMAT_RECENT_KEY_LEN])
{
    struct put put = {out};

    put_big(&put, minute, 4);
    put_big(&put, id, 8);
}

void format_once_key(uint64_t expiry_ms, const uint64_t key[2], uint8_t out[FORMAT_ONCE_KEY_LEN])
{
    struct put put = {out};

    put_big(&put, expiry_ms, 8);
    put_big(&put, key[0], 8);
    put_big(&put, key[1], 8);
}

int format_decode_once_key(struct span in, uint64_t *ret_expiry_ms, uint64_t ret_key[2])
{
    if (in.len != FORMAT_ONCE_KEY_LEN) {
        return -EBADMSG;
    }
    *ret_expiry_ms = get_big(in.data, 8);
    ret_key[0] = get_big(in.data + 8, 8);
    ret_key[1] = get_big(in.data + 16, 8);
    return 0;
}

void format_encode_once(
    const struct format_once *once, struct span key, uint8_t out[FORMAT_ONCE_LEN])
{
    struct put put = {out};

    put_number(&put, once->channel, 8);
    put_number(&put, once->epoch, 8);
    put_number(&put, once->offset, 8);
    seal(&put, out, key);
    CHECK(put.at == out + FORMAT_ONCE_LEN);
}

int format_decode_once(struct span in, struct span key, struct format_once *ret_once)
{
    struct unpack rest = {.rest = in};

    if (in.len != FORMAT_ONCE_LEN || !is_sealed(in, key)) {
        return -EBADMSG;
    }
    ret_once->channel = unpack_u64(&rest);
    ret_once->epoch = unpack_u64(&rest);
    ret_once->offset = unpack_u64(&rest);
    return 0;
}
