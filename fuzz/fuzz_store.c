/* The store's decoders: bytes from a disk are foreign bytes.
 *
 * The first byte chooses the decoder. What one accepts, its encoder writes again as the same bytes, so a
 * checksum cannot hide a field that was misread. */
#include "fuzz/fuzz.h"
#include "store/db_file.h"
#include "store/format.h"

static void meta(struct span in)
{
    struct format_meta meta = {0};
    uint8_t again[FORMAT_META_LEN];

    if (format_decode_meta(in, &meta) == 0) {
        format_encode_meta(&meta, again);
        CHECK(in.len == sizeof(again));
        CHECK(memcmp(again, in.data, sizeof(again) - 8) ==
              0); /* Then four spare bytes and the CRC. */
    }
}

/* A one-byte length, the channel's name, the row. */
static void channel(struct span in)
{
    struct format_channel row;
    uint8_t again[FORMAT_CHANNEL_LEN];

    if (in.len == 0 || in.len - 1 < in.data[0]) {
        return;
    }
    struct span name = span_of(in.data + 1, in.data[0]);
    struct span raw = span_of(name.data + name.len, in.len - 1 - name.len);
    if (format_decode_channel(raw, name, &row) == 0) {
        format_encode_channel(&row, name, again);
        CHECK(span_equal(raw, span_of(again, sizeof(again))));
    }
}

static void record(struct span in)
{
    struct format_record record, same;
    struct format_record_key key;
    uint8_t head[FORMAT_RECORD_HEAD_LEN];
    struct span rest;

    if (format_decode_record_key(in, &key) == 0) {
        CHECK(key.part <= FORMAT_PARTS_MAX);
    }
    if (format_decode_record(in, &record, &rest) != 0) {
        return;
    }
    CHECK(rest.len <= record.payload_len);
    CHECK(rest.data + rest.len == in.data + in.len);
    if (rest.len == record.payload_len && format_check_record(&record, 1, 2, rest.data) == 0) {
        same = record;
        format_encode_record(&same, 1, 2, rest.data, head);
        CHECK(memcmp(head, in.data, sizeof(head)) == 0);
    }
}

static void once(struct span in)
{
    struct format_once once;
    uint64_t expiry_ms, key[2];
    uint8_t key_again[FORMAT_ONCE_KEY_LEN], again[FORMAT_ONCE_LEN];

    if (in.len < FORMAT_ONCE_KEY_LEN) {
        CHECK(format_decode_once_key(in, &expiry_ms, key) != 0);
        return;
    }
    struct span raw_key = span_of(in.data, FORMAT_ONCE_KEY_LEN);
    struct span raw = span_of(in.data + FORMAT_ONCE_KEY_LEN, in.len - FORMAT_ONCE_KEY_LEN);
    CHECK(format_decode_once_key(raw_key, &expiry_ms, key) == 0);
    format_once_key(expiry_ms, key, key_again);
    CHECK(span_equal(raw_key, span_of(key_again, sizeof(key_again))));
    if (format_decode_once(raw, raw_key, &once) == 0) {
        format_encode_once(&once, raw_key, again);
        CHECK(span_equal(raw, span_of(again, sizeof(again))));
    }
}

/* What the look at a file lets through is sane enough to be mapped. */
static void file(struct span in)
{
    struct db_file_head head = {0};

    if (db_file_decode(in, &head) == 0) {
        CHECK(!head.foreign && head.page_bytes >= 256 && head.page_bytes <= 32768);
        CHECK(head.last_page < UINT64_MAX / head.page_bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const decoders[])(struct span in) = {meta, channel, record, once, file};

    if (size > 0) {
        uint8_t *exact = fuzz_copy(data + 1, size - 1);
        decoders[data[0] % COUNT_OF(decoders)](span_of(exact, size - 1));
        mem_free(exact);
    }
    return 0;
}
