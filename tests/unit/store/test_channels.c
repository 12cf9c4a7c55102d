/* The writer's view of rows, one transaction at a time and with a clock of its own: who is evicted first,
 * what is forgotten when, and that running out of memory undoes everything. */
#include "store/channels.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/keys.h"
#include "tests/support/unit.h"

#define MINUTE_MS 60000ull
#define START_MS (28000000ull * MINUTE_MS)

struct rig {
    char dir[64];
    struct db db;
    struct format_meta meta;
};

static int open_rig(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));
    char why[DB_WHY_MAX];

    snprintf(rig->dir, sizeof(rig->dir), "/tmp/fanout-channels-XXXXXX");
    assert_non_null(mkdtemp(rig->dir));
    assert_int_equal(db_open(rig->dir, 64 << 20, 2, &rig->db, &rig->meta, why), 0);
    *state = rig;
    return 0;
}

static int close_rig(void **state)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "lock"};
    struct rig *rig = *state;
    char path[128];

    db_close(&rig->db, false);
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", rig->dir, names[i]);
        unlink(path);
    }
    rmdir(rig->dir);
    mem_free(rig);
    return 0;
}

static void begin(struct rig *rig, struct channels *channels, uint64_t now_ms)
{
    MDB_txn *txn;

    assert_int_equal(mdb_txn_begin(rig->db.env, NULL, 0, &txn), 0);
    channels_init(channels, &rig->db, txn, &rig->meta, now_ms, 1000);
}

static void commit(struct channels *channels)
{
    assert_int_equal(channels_flush(channels), 0);
    channels_fini(channels);
    assert_int_equal(db_put_meta(channels->db, channels->txn, channels->meta), 0);
    assert_int_equal(mdb_txn_commit(channels->txn), 0);
}

static struct publication *publication(const struct rig *rig, const char *name, uint64_t n)
{
    struct publish_order order = {.name = span_str(name), .payload = span_str("payload")};
    struct publication *pub = publication_create(&order, 1, 0);

    assert_non_null(pub);
    pub->offset = history_start(rig->meta.generation) + n;
    pub->once[0] = n;
    return pub;
}

static int append_one(struct channels *channels, struct publication *pub,
    const struct store_limits *limits, uint64_t now_ms)
{
    struct store_entry entry = {.pub = pub, .limits = *limits};
    int r = channels_append(channels, &entry, now_ms);

    assert_int_equal(entry.err, 0);
    return r;
}

/* Records first to last. */
static void append(struct rig *rig, const char *name, uint64_t first, uint64_t last,
    const struct store_limits *limits, uint64_t now_ms)
{
    struct channels channels;

    begin(rig, &channels, now_ms);
    for (uint64_t n = first; n <= last; n++) {
        struct publication *pub = publication(rig, name, n);
        assert_int_equal(append_one(&channels, pub, limits, now_ms), 0);
        publication_unref(pub);
    }
    assert_int_equal(channels_trim(&channels), 0);
    commit(&channels);
}

/* False when there is no row. */
static bool row_of(struct rig *rig, const char *name, struct format_channel *ret_row)
{
    MDB_val key = db_val(name, strlen(name)), val;
    MDB_txn *txn;

    assert_int_equal(mdb_txn_begin(rig->db.env, NULL, MDB_RDONLY, &txn), 0);
    int r = mdb_get(txn, rig->db.channels, &key, &val);
    if (r == 0) {
        assert_int_equal(format_decode_channel(db_span(val), span_str(name), ret_row), 0);
    }
    mdb_txn_abort(txn);
    return r == 0;
}

static size_t entries(struct rig *rig, MDB_dbi dbi)
{
    MDB_txn *txn;
    MDB_stat stat;

    assert_int_equal(mdb_txn_begin(rig->db.env, NULL, MDB_RDONLY, &txn), 0);
    assert_int_equal(mdb_stat(txn, dbi, &stat), 0);
    mdb_txn_abort(txn);
    return stat.ms_entries;
}

static const struct store_limits no_limits = {.messages = UINT32_MAX};

static void who_was_quiet_longest_is_evicted_first_and_its_oldest_first(void **state)
{
    struct rig *rig = *state;
    struct channels channels;
    struct format_channel row;

    append(rig, "c:late", 1, 10, &no_limits, START_MS + 20 * MINUTE_MS);
    append(rig, "c:early", 1, 10, &no_limits, START_MS);
    append(rig, "c:middle", 1, 10, &no_limits, START_MS + 10 * MINUTE_MS);
    begin(rig, &channels, START_MS + 30 * MINUTE_MS);
    assert_int_equal(channels_evict(&channels, 14), 0);
    assert_int_equal(channels.records_evicted, 14);
    commit(&channels);
    assert_true(row_of(rig, "c:early", &row));
    assert_int_equal(row.count, 0);
    assert_int_equal(row.bytes, 0);
    assert_int_equal(row.boundary, history_start(1) + 10);
    assert_true(row_of(rig, "c:middle", &row));
    assert_int_equal(row.count, 6);
    assert_int_equal(row.first, history_start(1) + 5);
    assert_int_equal(row.boundary, history_start(1) + 4);
    assert_true(row_of(rig, "c:late", &row));
    assert_int_equal(row.count, 10);
    assert_int_equal(entries(rig, rig->db.recent), 2); /* Who has nothing is not asked again. */

    /* Who was quiet and writes again goes to the end of the line. */
    append(rig, "c:middle", 11, 11, &no_limits, START_MS + 40 * MINUTE_MS);
    begin(rig, &channels, START_MS + 40 * MINUTE_MS);
    assert_int_equal(channels_evict(&channels, 10), 0);
    commit(&channels);
    assert_true(row_of(rig, "c:late", &row));
    assert_int_equal(row.count, 0);
    assert_true(row_of(rig, "c:middle", &row));
    assert_int_equal(row.count, 7);
}

static void walk_to_the_end(struct rig *rig, uint64_t now_ms, uint32_t rows_max)
{
    struct channels channels;
    struct bytes name = {0};

    do {
        begin(rig, &channels, now_ms);
        assert_int_equal(channels_walk(&channels, &name, rows_max), 0);
        commit(&channels);
    } while (name.len > 0);
    bytes_fini(&name);
}

static void the_walk_finds_what_is_past_its_age_a_few_rows_at_a_time(void **state)
{
    struct rig *rig = *state;
    struct store_limits by_age = {.messages = UINT32_MAX, .age_ms = 5 * MINUTE_MS};
    struct format_channel row;
    char name[16];

    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "c:%d", i);
        append(rig, name, 1, 3, i == 4 ? &no_limits : &by_age, START_MS);
        append(rig, name, 4, 4, i == 4 ? &no_limits : &by_age, START_MS + 3 * MINUTE_MS);
    }
    walk_to_the_end(rig, START_MS + 6 * MINUTE_MS, 2);
    for (int i = 0; i < 7; i++) {
        snprintf(name, sizeof(name), "c:%d", i);
        assert_true(row_of(rig, name, &row));
        assert_int_equal(row.count, i == 4 ? 4 : 1);
    }
    assert_int_equal(entries(rig, rig->db.records), 4 + 6);
}

static void an_empty_channel_is_forgotten_after_a_day_and_then_nothing_old_continues(void **state)
{
    struct rig *rig = *state;
    struct store_limits by_age = {.messages = UINT32_MAX, .age_ms = MINUTE_MS};
    struct format_channel row;

    append(rig, "c:1", 1, 50, &by_age, START_MS);
    walk_to_the_end(rig, START_MS + 60 * MINUTE_MS, 100);
    assert_true(row_of(rig, "c:1", &row)); /* Somebody may still come with its boundary. */
    assert_int_equal(row.count, 0);
    walk_to_the_end(rig, START_MS + 25 * 60 * MINUTE_MS, 100);
    assert_false(row_of(rig, "c:1", &row));
    assert_int_equal(entries(rig, rig->db.channels), 0);
    assert_int_equal(entries(rig, rig->db.recent), 0);
    assert_int_equal(rig->meta.known_from, history_start(1) + 50);
    append(rig, "c:1", 60, 60, &by_age, START_MS);
    assert_true(row_of(rig, "c:1", &row));
    assert_int_equal(row.known_from, history_start(1) + 50);
}

static void a_transaction_deletes_only_its_share(void **state)
{
    struct rig *rig = *state;
    struct store_limits ten = {.messages = 10};
    struct channels channels;
    struct format_channel row;

    append(rig, "c:1", 1, 500, &no_limits, START_MS);
    for (uint64_t n = 501; n <= 503; n++) {
        begin(rig, &channels, START_MS);
        channels.deletes_left = 200;
        struct publication *pub = publication(rig, "c:1", n);
        assert_int_equal(append_one(&channels, pub, &ten, START_MS), 0);
        publication_unref(pub);
        assert_int_equal(channels_trim(&channels), 0);
        commit(&channels);
        assert_true(row_of(rig, "c:1", &row));
        assert_int_equal(row.count, n == 501 ? 301 : n == 502 ? 102 : 10);
        assert_int_equal(row.first, row.boundary + 1);
    }
    assert_int_equal(row.bytes, 10 * (FORMAT_RECORD_HEAD_LEN + 7));
    assert_int_equal(entries(rig, rig->db.records), 10);
}

/* What is to be forgotten is so at once; its space is won back a share at a time, by the walk too. */
static void a_long_history_is_cleared_at_once_and_deleted_bit_by_bit(void **state)
{
    struct rig *rig = *state;
    struct channels channels;
    struct format_channel row;
    struct bytes name = {0};

    append(rig, "c:1", 1, 500, &no_limits, START_MS);
    for (uint32_t left = 490; left > 90; left -= 200) {
        begin(rig, &channels, START_MS);
        channels.deletes_left = 200;
        if (left == 490) {
            assert_int_equal(channels_clear(&channels, span_str("c:1"), history_start(1) + 490), 0);
        } else {
            assert_int_equal(channels_walk(&channels, &name, 10), 0);
        }
        commit(&channels);
        assert_true(row_of(rig, "c:1", &row));
        assert_int_equal(row.boundary, history_start(1) + 490);
        assert_int_equal(row.count, left - 200 + 10);
    }
    walk_to_the_end(rig, START_MS, 10);
    assert_true(row_of(rig, "c:1", &row));
    assert_int_equal(row.count, 10);
    assert_int_equal(row.first, history_start(1) + 491);
    assert_int_equal(row.bytes, 10 * (FORMAT_RECORD_HEAD_LEN + 7));
    bytes_fini(&name);
}

/* A tree that lost them must not look like a history that was trimmed in order. */
static void records_that_are_gone_without_us_count_as_trimmed(void **state)
{
    struct rig *rig = *state;
    struct store_limits none = {0};
    struct format_channel row;
    struct channels channels;
    MDB_txn *txn;

    append(rig, "c:1", 1, 10, &no_limits, START_MS);
    assert_int_equal(mdb_txn_begin(rig->db.env, NULL, 0, &txn), 0);
    assert_int_equal(mdb_drop(txn, rig->db.records, 0), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    begin(rig, &channels, START_MS);
    struct publication *pub = publication(rig, "c:2", 1);
    assert_int_equal(append_one(&channels, pub, &none, START_MS), 0);
    publication_unref(pub);
    assert_int_equal(channels_evict(&channels, 1), 0);
    assert_int_equal(channels.rows_damaged, 1);
    commit(&channels);
    assert_true(row_of(rig, "c:1", &row));
    assert_int_equal(row.count, 0);
    assert_int_equal(row.boundary, history_start(1) + 10);
}

static void without_memory_nothing_is_half_done(void **state)
{
    struct rig *rig = *state;
    struct channels channels;
    int r = -ENOMEM;

    for (int64_t fail = 0; r == -ENOMEM && fail < 100; fail++) {
        struct publication *pub = publication(rig, "c:1", 1);
        begin(rig, &channels, START_MS);
        mem_fail_after(fail);
        r = append_one(&channels, pub, &no_limits, START_MS);
        mem_fail_after(-1);
        publication_unref(pub);
        if (r < 0) {
            assert_int_equal(r, -ENOMEM);
            channels_fini(&channels);
            mdb_txn_abort(channels.txn);
            assert_int_equal(entries(rig, rig->db.records), 0);
        } else {
            assert_true(fail > 0);
            commit(&channels);
        }
    }
    assert_int_equal(r, 0);
    assert_int_equal(entries(rig, rig->db.records), 1);
}

static void keys_are_bounded_in_number_and_time(void **state)
{
    struct rig *rig = *state;
    MDB_txn *txn;

    assert_int_equal(mdb_txn_begin(rig->db.env, NULL, 0, &txn), 0);
    struct publication *pub = publication(rig, "c:1", 1);
    for (uint64_t key = 1; key <= KEYS_MAX + 500; key++) {
        pub->once[0] = key;
        assert_int_equal(keys_add(&rig->db, txn, pub, START_MS + key), 0);
    }
    pub->once[0] = 0;
    assert_int_equal(keys_add(&rig->db, txn, pub, START_MS), 0); /* None. */
    assert_int_equal(keys_trim(&rig->db, txn, START_MS, 300), 0);
    assert_int_equal(keys_trim(&rig->db, txn, START_MS, 300), 0);
    publication_unref(pub);
    assert_int_equal(mdb_txn_commit(txn), 0);
    assert_int_equal(entries(rig, rig->db.once), KEYS_MAX);
    assert_int_equal(mdb_txn_begin(rig->db.env, NULL, 0, &txn), 0);
    assert_int_equal(keys_trim(&rig->db, txn, START_MS + 1500 + KEYS_AGE_MS, UINT32_MAX), 0);
    assert_int_equal(mdb_txn_commit(txn), 0);
    assert_int_equal(entries(rig, rig->db.once), KEYS_MAX - 1000);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(who_was_quiet_longest_is_evicted_first_and_its_oldest_first),
        CASE(the_walk_finds_what_is_past_its_age_a_few_rows_at_a_time),
        CASE(an_empty_channel_is_forgotten_after_a_day_and_then_nothing_old_continues),
        CASE(a_transaction_deletes_only_its_share),
        CASE(a_long_history_is_cleared_at_once_and_deleted_bit_by_bit),
        CASE(records_that_are_gone_without_us_count_as_trimmed),
        CASE(without_memory_nothing_is_half_done),
        CASE(keys_are_bounded_in_number_and_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
