/* The bytes on disk: what was written is read, what was changed or cut is noticed. */
#include "store/format.h"

#include <errno.h>
#include <string.h>

#include "tests/support/unit.h"

static const struct format_meta meta = {
    .version = FORMAT_VERSION,
    .generation = 3,
    .epoch_generation = 2,
    .serial = 1,
    .store_id = 0xa1b2c3d4e5,
    .secret = {0x1122334455667788, 0x99aabbccddeeff00},
    .next_channel_id = 77,
    .known_from = 1ull << 41,
};

static const struct format_channel channel = {1, 2, 3, 31, 4, 5, 6, 7, 8, 9, 10};

static void every_row_comes_back_as_it_was(void **state)
{
    (void)state;
    uint8_t raw[FORMAT_CHANNEL_LEN], raw_meta[FORMAT_META_LEN], raw_once[FORMAT_ONCE_LEN];
    struct format_meta meta_read = {0};
    struct format_channel channel_read;
    struct format_once once = {1, 2, 3}, once_read;

    format_encode_meta(&meta, raw_meta);
    assert_int_equal(format_decode_meta(span_of(raw_meta, sizeof(raw_meta)), &meta_read), 0);
    assert_memory_equal(&meta_read, &meta, sizeof(meta));
    format_encode_channel(&channel, span_str("a:1"), raw);
    memset(&channel_read, 0, sizeof(channel_read));
    assert_int_equal(
        format_decode_channel(span_of(raw, sizeof(raw)), span_str("a:1"), &channel_read), 0);
    assert_int_equal(channel_read.id, 1);
    assert_int_equal(channel_read.first, 2);
    assert_int_equal(channel_read.last, 3);
    assert_int_equal(channel_read.newest, 31);
    assert_int_equal(channel_read.boundary, 4);
    assert_int_equal(channel_read.known_from, 5);
    assert_int_equal(channel_read.count, 6);
    assert_int_equal(channel_read.bytes, 7);
    assert_int_equal(channel_read.first_ms, 8);
    assert_int_equal(channel_read.age_ms, 9);
    assert_int_equal(channel_read.minute, 10);
    format_encode_once(&once, span_str("key"), raw_once);
    assert_int_equal(
        format_decode_once(span_of(raw_once, sizeof(raw_once)), span_str("key"), &once_read), 0);
    assert_memory_equal(&once_read, &once, sizeof(once));
}

/* The layout is a promise to files that exist: this one was written by hand from format.h. */
static void a_record_is_these_bytes(void **state)
{
    (void)state;
    static const uint8_t behind_crc[] = {1, 2, 0, 0, 0x78, 0x56, 0x34, 0x12, 5, 0, 0, 0, 0xef, 0xcd,
        0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 2, 0, 0, 0, 0, 1, 0, 0};
    struct format_record record = {.flags = 2,
        .key = 0x12345678,
        .payload_len = 5,
        .time_ms = 0x0123456789abcdef,
        .before = (1ull << 40) + 2};
    uint8_t head[FORMAT_RECORD_HEAD_LEN], key[FORMAT_PART_KEY_LEN];

    format_encode_record(&record, 258, 3, "hello", head);
    assert_memory_equal(head + 4, behind_crc, sizeof(behind_crc));
    format_part_key(258, 3, 513, key);
    assert_memory_equal(key, "\0\0\0\0\0\0\1\2\0\0\0\0\0\0\0\3\2\1", sizeof(key));
}

static void any_changed_bit_is_noticed(void **state)
{
    (void)state;
    uint8_t raw[FORMAT_CHANNEL_LEN], raw_meta[FORMAT_META_LEN];
    uint8_t raw_record[FORMAT_RECORD_HEAD_LEN + 5];
    struct format_record record = {.payload_len = 5, .time_ms = 1}, read;
    struct format_meta meta_read;
    struct format_channel channel_read;
    struct span rest;

    format_encode_meta(&meta, raw_meta);
    format_encode_channel(&channel, span_str("a:1"), raw);
    format_encode_record(&record, 1, 2, "hello", raw_record);
    memcpy(raw_record + FORMAT_RECORD_HEAD_LEN, "hello", 5);
    struct span in = span_of(raw_record, sizeof(raw_record));
    assert_int_equal(format_decode_record(in, &read, &rest), 0);
    assert_int_equal(format_check_record(&read, 1, 2, rest.data), 0);
    assert_int_equal(format_check_record(&read, 1, 3, rest.data), -EBADMSG); /* Not its place. */
    for (size_t bit = 0; bit < 8 * sizeof(raw_record); bit++) {
        raw_record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        bool noticed = format_decode_record(in, &read, &rest) != 0 || read.payload_len != 5 ||
                       format_check_record(&read, 1, 2, rest.data) != 0;
        assert_true(noticed);
        raw_record[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof(raw); bit++) {
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(
            format_decode_channel(span_of(raw, sizeof(raw)), span_str("a:1"), &channel_read),
            -EBADMSG);
        raw[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(
        format_decode_channel(span_of(raw, sizeof(raw)), span_str("a:2"), &channel_read), -EBADMSG);
    for (size_t bit = 0; bit < 8 * sizeof(raw_meta); bit++) {
        raw_meta[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_not_equal(
            format_decode_meta(span_of(raw_meta, sizeof(raw_meta)), &meta_read), 0);
        raw_meta[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void a_newer_version_is_told_from_damage(void **state)
{
    (void)state;
    uint8_t raw[FORMAT_META_LEN];
    struct format_meta newer = meta, read = {0};

    newer.version = FORMAT_VERSION + 1;
    format_encode_meta(&newer, raw);
    assert_int_equal(format_decode_meta(span_of(raw, sizeof(raw)), &read), -EPROTONOSUPPORT);
    assert_int_equal(read.version, FORMAT_VERSION + 1);
    assert_int_equal(format_decode_meta(span_of(raw, 12), &read), -EPROTONOSUPPORT);
    assert_int_equal(format_decode_meta(span_of(raw, 7), &read), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_comes_back_as_it_was),
        cmocka_unit_test(a_record_is_these_bytes),
        cmocka_unit_test(any_changed_bit_is_noticed),
        cmocka_unit_test(a_newer_version_is_told_from_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
