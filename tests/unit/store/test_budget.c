/* The disk budget: the file does not outgrow it, the quietest channels pay, appends go on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "base/rng.h"
#include "rt/clock.h"
#include "tests/unit/store/store_rig.h"

static int open_rig(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));

    rig_init(rig);
    rig->options.disk_bytes = STORE_DISK_BYTES_MIN;
    rig_open(rig);
    *state = rig;
    return 0;
}

static int close_rig(void **state)
{
    rig_fini(*state);
    mem_free(*state);
    return 0;
}

static uint64_t file_bytes(const struct rig *rig)
{
    char path[300];
    struct stat st;

    snprintf(path, sizeof(path), "%s/data.mdb", rig->dir);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static uint32_t count_from(struct rig *rig, const char *name)
{
    struct store_read *read = rig_read(rig, name, STORE_FROM_LAST, 0, 10);
    uint32_t count = read->count;

    rig_read_free(read);
    return count;
}

static void the_quietest_channels_oldest_records_make_room(void **state)
{
    struct rig *rig = *state;
    struct store_limits limits = {.messages = UINT32_MAX};
    uint64_t long_ago_ms = clock_wall_ns() / 1000000 - 3600000;
    struct store_stats stats;

    for (uint64_t n = 1; n <= 10; n++) { /* Written to an hour ago. */
        assert_int_equal(
            rig_append_limited(rig, "quiet:1", rig_offset(rig, n), "q", &limits, long_ago_ms), 0);
    }
    assert_int_equal(count_from(rig, "quiet:1"), 10);
    /* Four times the budget, in one busy channel. */
    uint32_t total = (uint32_t)(4 * STORE_DISK_BYTES_MIN / 1000);
    assert_int_equal(rig_append_many(rig, "busy:1", rig_offset(rig, 1), total, 1000, &limits), 0);
    assert_true(file_bytes(rig) <= STORE_DISK_BYTES_MIN);
    assert_int_equal(count_from(rig, "quiet:1"), 0);
    assert_int_equal(rig->events[STORE_EVICTING], 1);
    assert_int_equal(rig->events[STORE_FAILED], 0);
    assert_int_equal(rig->events[STORE_FULL], 0);

    store_stats(rig->store, &stats);
    assert_true(stats.evicted > total / 2);
    assert_true(stats.used_bytes <= STORE_DISK_BYTES_MIN);
    assert_true(stats.used_bytes > STORE_DISK_BYTES_MIN / 2); /* No more went than had to. */
    struct store_read *read = rig_read(rig, "busy:1", STORE_FROM_LAST, 0, 5);
    assert_int_equal(read->count, 5);
    assert_int_equal(read->pubs[4]->offset, rig_offset(rig, total));
    assert_int_equal(read->bounds.first, read->bounds.boundary + 1);
    rig_read_free(read);
    read = rig_read(rig, "quiet:1", STORE_FROM_AFTER, rig_offset(rig, 10), 5);
    struct cursor cursor = {read->bounds.epoch, rig_offset(rig, 10)};
    assert_true(history_continues(&read->bounds, cursor)); /* It stood at the boundary. */
    cursor.offset -= 1;
    assert_false(history_continues(&read->bounds, cursor));
    rig_read_free(read);
}

/* Holes of every size, and records up to many pages: what LMDB alone would call a full map. */
static void a_fragmented_file_can_always_be_written_to(void **state)
{
    struct rig *rig = *state;
    struct rng rng;
    uint64_t next[40] = {0}, written = 0;
    char name[16];

    rng_init(&rng, 1);
    while (written < 6 * STORE_DISK_BYTES_MIN) {
        size_t channel = (size_t)rng_below(&rng, COUNT_OF(next));
        size_t len = (size_t)rng_below(&rng, 1ull << rng_below(&rng, 19));
        uint32_t count = len < 4096 ? 20 : 2;
        snprintf(name, sizeof(name), "c:%zu", channel);
        assert_int_equal(rig_append_many(rig, name, rig_offset(rig, next[channel] + 1), count, len,
                             &rig_no_limits),
            0);
        next[channel] += count;
        written += count * len;
    }
    assert_true(file_bytes(rig) <= STORE_DISK_BYTES_MIN);
    assert_int_equal(rig->events[STORE_FAILED], 0);
    assert_int_equal(rig->events[STORE_FULL], 0);
    rig_reopen(rig);
    uint32_t records = 0;
    for (size_t channel = 0; channel < COUNT_OF(next); channel++) {
        uint64_t after = 0;
        bool more = true;
        snprintf(name, sizeof(name), "c:%zu", channel);
        while (more) { /* Every record that is left is whole. */
            struct store_read *read = rig_read(rig, name, STORE_FROM_AFTER, after, 1000);
            assert_int_equal(read->letter.err, 0);
            for (uint32_t i = 0; i < read->count; i++) {
                uint8_t *expected = mem_alloc(read->pubs[i]->payload_len + 1);
                rig_fill(expected, read->pubs[i]->payload_len, read->pubs[i]->offset);
                assert_memory_equal(
                    publication_payload(read->pubs[i]).data, expected, read->pubs[i]->payload_len);
                mem_free(expected);
                after = read->pubs[i]->offset;
            }
            records += read->count;
            more = read->more;
            rig_read_free(read);
        }
    }
    assert_true(records > 100);
}

static void a_smaller_budget_takes_effect_after_a_restart(void **state)
{
    struct rig *rig = *state;
    struct store_stats stats;

    rig_close(rig);
    rig->options.disk_bytes = 4 * STORE_DISK_BYTES_MIN;
    rig_open(rig);
    uint32_t total = (uint32_t)(2 * STORE_DISK_BYTES_MIN / 1000);
    assert_int_equal(
        rig_append_many(rig, "busy:1", rig_offset(rig, 1), total, 1000, &rig_no_limits), 0);
    uint64_t last = rig_offset(rig, total);
    rig_close(rig);
    rig->options.disk_bytes = STORE_DISK_BYTES_MIN;
    rig_open(rig);
    for (uint64_t n = 1; n <= 40; n++) {
        assert_int_equal(rig_append(rig, "busy:1", rig_offset(rig, n), "x"), 0);
    }
    store_stats(rig->store, &stats);
    assert_true(stats.used_bytes <= STORE_DISK_BYTES_MIN);
    struct store_read *read = rig_read(rig, "busy:1", STORE_FROM_AFTER, last, 100);
    assert_true(read->bounds.found);
    assert_int_equal(read->count, 40);
    rig_read_free(read);
}

/* It must not cost the others their history either. */
static void what_can_never_fit_is_not_taken(void **state)
{
    struct rig *rig = *state;
    struct store_stats stats;

    assert_int_equal(rig_append(rig, "big:1", rig_offset(rig, 1), "x"), 0);
    assert_int_equal(rig_append_many(rig, "big:1", rig_offset(rig, 2), 1,
                         STORE_DISK_BYTES_MIN / STORE_LETTER_SHARE, &rig_no_limits),
        -EMSGSIZE);
    store_stats(rig->store, &stats);
    assert_int_equal(stats.evicted, 0);
    assert_int_equal(rig_append(rig, "big:1", rig_offset(rig, 2), "x"), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(the_quietest_channels_oldest_records_make_room),
        CASE(a_fragmented_file_can_always_be_written_to),
        CASE(a_smaller_budget_takes_effect_after_a_restart),
        CASE(what_can_never_fit_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
