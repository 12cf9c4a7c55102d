/* What is appended is read again, in pages, within its limits, and after a restart. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "rt/clock.h"
#include "tests/unit/store/store_rig.h"

static int open_rig(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));

    rig_init(rig);
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

static void expect_payload(const struct publication *pub, const char *payload)
{
    assert_true(span_equal(publication_payload(pub), span_str(payload)));
}

static void expect_filled(const struct publication *pub, size_t len)
{
    uint8_t *expected = mem_alloc(len + 1);

    rig_fill(expected, len, pub->offset);
    assert_int_equal(pub->payload_len, len);
    assert_memory_equal(publication_payload(pub).data, expected, len);
    mem_free(expected);
}

static uint64_t now_ms(void)
{
    return clock_wall_ns() / 1000000;
}

static void a_record_comes_back_as_it_was(void **state)
{
    struct rig *rig = *state;
    struct store_append letter = {.count = 1, .time_ms = now_ms() - 5000};
    struct publication *pub = rig_publication(rig, "orders:1", rig_offset(rig, 1), "hello", 5);

    pub->flags = PUBLICATION_UTF8 | PUBLICATION_MAY_REFUSE;
    pub->key = 0x12345678;
    letter.letter.mail.kind = 77;
    letter.entries[0] = (struct store_entry){pub, rig_no_limits};
    assert_int_equal(rig->ports.append(rig->ports.ctx, &letter), 0);
    assert_ptr_equal(rig_answer(rig), &letter);
    assert_int_equal(letter.letter.err, 0);
    assert_int_equal(letter.letter.mail.kind, 77);

    struct store_read *read = rig_read(rig, "orders:1", STORE_FROM_BEGIN, 0, 10);
    assert_int_equal(read->letter.err, 0);
    assert_int_equal(read->count, 1);
    assert_false(read->more);
    struct publication *found = read->pubs[0];
    expect_payload(found, "hello");
    assert_true(span_equal(publication_name(found), span_str("orders:1")));
    assert_int_equal(found->flags, PUBLICATION_UTF8); /* Nobody waits for it any more. */
    assert_int_equal(found->key, pub->key);
    assert_int_equal(found->epoch, pub->epoch);
    assert_int_equal(found->offset, pub->offset);
    assert_int_equal(found->refs, 1);
    assert_int_equal(found->hash, 7);
    uint64_t age_ns = clock_now_ns() - found->time_ns;
    assert_true(age_ns >= 5000000000ull && age_ns < 60000000000ull);
    rig_read_free(read);
    publication_unref(pub);
}

static void an_unknown_channel_is_empty_and_a_generations_start_continues(void **state)
{
    struct rig *rig = *state;
    struct store_read *read = rig_read(rig, "orders:none", STORE_FROM_BEGIN, 0, 10);
    struct cursor cursor = {history_epoch(rig->identity.store_id, rig->identity.serial),
        history_start(rig->identity.generation)};

    assert_int_equal(read->letter.err, 0);
    assert_int_equal(read->count, 0);
    assert_int_equal(read->bounds.last, 0);
    assert_int_equal(read->bounds.epoch, cursor.epoch);
    assert_true(history_continues(&read->bounds, cursor));
    cursor.offset += 1;
    assert_false(history_continues(&read->bounds, cursor));
    rig_read_free(read);
}

static void pages_are_bounded_by_number_and_bytes_and_join_without_a_seam(void **state)
{
    struct rig *rig = *state;
    const uint32_t total = 300;
    uint64_t after = history_start(rig->identity.generation), seen = 0;
    bool more = true;

    assert_int_equal(
        rig_append_many(rig, "orders:1", rig_offset(rig, 1), total, 1000, &rig_no_limits), 0);
    while (more) {
        struct store_read *read = rig_read(rig, "orders:1", STORE_FROM_AFTER, after, 1000);
        size_t bytes = 0;
        assert_int_equal(read->letter.err, 0);
        assert_true(read->count > 0);
        for (uint32_t i = 0; i < read->count; i++) {
            seen += 1;
            assert_int_equal(read->pubs[i]->offset, rig_offset(rig, seen));
            expect_filled(read->pubs[i], 1000);
            bytes += publication_size(read->pubs[i]);
        }
        assert_true(bytes <= STORE_PAGE_BYTES);
        assert_int_equal(read->bounds.found, seen > read->count);
        after = read->pubs[read->count - 1]->offset;
        more = read->more;
        rig_read_free(read);
    }
    assert_int_equal(seen, total);

    struct store_read *read = rig_read(rig, "orders:1", STORE_FROM_AFTER, rig_offset(rig, 10), 7);
    assert_int_equal(read->count, 7);
    assert_true(read->more);
    assert_int_equal(read->pubs[0]->offset, rig_offset(rig, 11));
    rig_read_free(read);
    read = rig_read(rig, "orders:1", STORE_FROM_LAST, 0, 5);
    assert_int_equal(read->count, 5);
    assert_false(read->more);
    assert_int_equal(read->pubs[0]->offset, rig_offset(rig, total - 4));
    rig_read_free(read);
    read = rig_read(rig, "orders:1", STORE_FROM_LAST, 0, 1000);
    assert_true(read->count > 10 && read->count < total);
    assert_false(read->more);
    assert_int_equal(read->pubs[read->count - 1]->offset, rig_offset(rig, total));
    rig_read_free(read);
    read = rig_read(rig, "orders:1", STORE_FROM_AFTER, rig_offset(rig, total), 5);
    assert_int_equal(read->count, 0);
    assert_true(read->bounds.found);
    rig_read_free(read);
}

/* Channels stand side by side in the file; a page must not run into the neighbour. */
static void channels_do_not_mix(void **state)
{
    struct rig *rig = *state;
    static const char *const names[] = {"a:1", "a:2", "a:3"};

    for (uint64_t n = 1; n <= 20; n++) {
        for (size_t i = 0; i < COUNT_OF(names); i++) {
            assert_int_equal(rig_append(rig, names[i], rig_offset(rig, n), names[i]), 0);
        }
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        for (int from = STORE_FROM_BEGIN; from <= STORE_FROM_LAST; from++) {
            struct store_read *read = rig_read(rig, names[i], (enum store_from)from, 0, 100);
            assert_int_equal(read->count, 20);
            assert_false(read->more);
            for (uint32_t k = 0; k < read->count; k++) {
                expect_payload(read->pubs[k], names[i]);
                assert_int_equal(read->pubs[k]->offset, rig_offset(rig, k + 1));
            }
            rig_read_free(read);
        }
    }
}

static void payloads_of_every_size_come_back(void **state)
{
    struct rig *rig = *state;
    static const size_t sizes[] = {
        0, 1, 2000, 2010, 2040, 4047, 4048, 4049, 4080, 8128, 8129, 65536, 1 << 20};

    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_int_equal(
            rig_append_many(rig, "big:1", rig_offset(rig, i + 1), 1, sizes[i], &rig_no_limits), 0);
    }
    uint64_t after = 0;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        struct store_read *read = rig_read(rig, "big:1", STORE_FROM_AFTER, after, 1);
        assert_int_equal(read->letter.err, 0);
        assert_int_equal(read->count, 1);
        expect_filled(read->pubs[0], sizes[i]);
        assert_int_equal(read->more, i + 1 < COUNT_OF(sizes));
        after = read->pubs[0]->offset;
        rig_read_free(read);
    }
    struct store_read *read = rig_read(rig, "big:1", STORE_FROM_LAST, 0, 3);
    assert_int_equal(read->count, 1); /* One in any case, and no more bytes than a page. */
    expect_filled(read->pubs[0], 1 << 20);
    rig_read_free(read);
}

static void limits_by_number_bytes_and_age_are_kept_with_the_append(void **state)
{
    struct rig *rig = *state;
    struct store_limits by_number = {.messages = 10};
    struct store_limits by_bytes = {.messages = UINT32_MAX, .bytes = 5 * (32 + 100)};
    struct store_limits by_age = {.messages = UINT32_MAX, .age_ms = 60000};

    assert_int_equal(rig_append_many(rig, "n:1", rig_offset(rig, 1), 100, 10, &by_number), 0);
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_AFTER, rig_offset(rig, 90), 100);
    assert_int_equal(read->count, 10);
    assert_int_equal(read->bounds.first, rig_offset(rig, 91));
    assert_int_equal(read->bounds.boundary, rig_offset(rig, 90));
    assert_int_equal(read->bounds.last, rig_offset(rig, 100));
    struct cursor cursor = {read->bounds.epoch, rig_offset(rig, 90)};
    assert_true(history_continues(&read->bounds, cursor));
    cursor.offset -= 1;
    assert_false(history_continues(&read->bounds, cursor));
    rig_read_free(read);

    assert_int_equal(rig_append_many(rig, "b:1", rig_offset(rig, 1), 50, 100, &by_bytes), 0);
    read = rig_read(rig, "b:1", STORE_FROM_BEGIN, 0, 100);
    assert_int_equal(read->count, 5);
    rig_read_free(read);

    for (uint64_t n = 1; n <= 4; n++) {
        uint64_t time_ms = now_ms() - (n <= 3 ? 61000 : 0);
        assert_int_equal(
            rig_append_limited(rig, "t:1", rig_offset(rig, n), "x", &by_age, time_ms), 0);
    }
    read = rig_read(rig, "t:1", STORE_FROM_BEGIN, 0, 100);
    assert_int_equal(read->count, 1);
    assert_int_equal(read->bounds.boundary, rig_offset(rig, 3));
    rig_read_free(read);
}

static void a_channel_that_keeps_nothing_leaves_no_record(void **state)
{
    struct rig *rig = *state;
    struct store_limits some = {.messages = 10}, none = {0};

    assert_int_equal(rig_append_many(rig, "n:1", rig_offset(rig, 1), 5, 10, &some), 0);
    assert_int_equal(rig_append_many(rig, "n:1", rig_offset(rig, 6), 5, 10, &none), 0);
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_LAST, 0, 100);
    assert_int_equal(read->count, 0);
    assert_int_equal(read->bounds.first, 0);
    assert_int_equal(read->bounds.last, rig_offset(rig, 10));
    assert_int_equal(read->bounds.boundary, rig_offset(rig, 10));
    rig_read_free(read);
}

/* Nobody appends here any more: only the walk can find them. */
static void records_past_their_age_go_by_themselves(void **state)
{
    struct rig *rig = *state;
    struct store_limits by_age = {.messages = UINT32_MAX, .age_ms = 1500};
    uint64_t end_ns = clock_now_ns() + 20000000000ull;
    uint32_t count = 3;

    assert_int_equal(rig_append_many(rig, "t:1", rig_offset(rig, 1), 3, 10, &by_age), 0);
    while (count > 0 && clock_now_ns() < end_ns) {
        struct store_read *read = rig_read(rig, "t:1", STORE_FROM_BEGIN, 0, 100);
        count = read->count;
        rig_read_free(read);
        usleep(50000);
    }
    assert_int_equal(count, 0);
    struct store_read *read = rig_read(rig, "t:1", STORE_FROM_AFTER, rig_offset(rig, 3), 100);
    assert_true(
        history_continues(&read->bounds, (struct cursor){read->bounds.epoch, rig_offset(rig, 3)}));
    rig_read_free(read);
}

static struct store_clear *clear(struct rig *rig, const char *name, uint64_t up_to)
{
    struct store_clear *letter = mem_zalloc(sizeof(*letter));

    letter->up_to = up_to;
    letter->name_len = (uint16_t)strlen(name);
    memcpy(letter->name, name, strlen(name));
    assert_int_equal(rig->ports.clear(rig->ports.ctx, letter), 0);
    return letter;
}

static void clearing_moves_the_boundary_however_long_the_history(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_append_many(rig, "n:1", rig_offset(rig, 1), 12000, 10, &rig_no_limits), 0);
    struct store_clear *letter = clear(rig, "n:1", rig_offset(rig, 11990));
    assert_ptr_equal(rig_answer(rig), letter);
    assert_int_equal(letter->letter.err, 0);
    mem_free(letter);
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_BEGIN, 0, 100);
    assert_int_equal(read->count, 10);
    assert_int_equal(read->bounds.boundary, rig_offset(rig, 11990));
    rig_read_free(read);

    /* A number that no record had: whoever stood before it begins anew. */
    letter = clear(rig, "n:1", rig_offset(rig, 12001));
    assert_ptr_equal(rig_answer(rig), letter);
    assert_int_equal(letter->letter.err, 0);
    mem_free(letter);
    read = rig_read(rig, "n:1", STORE_FROM_AFTER, rig_offset(rig, 12000), 100);
    assert_int_equal(read->count, 0);
    struct cursor cursor = {read->bounds.epoch, rig_offset(rig, 12000)};
    assert_false(history_continues(&read->bounds, cursor));
    cursor.offset += 1;
    assert_true(history_continues(&read->bounds, cursor));
    rig_read_free(read);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 12001), "x"), -EINVAL);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 12002), "x"), 0);
}

static int append_behind(struct rig *rig, uint64_t n, uint64_t follows)
{
    struct store_append letter = {.count = 1, .time_ms = now_ms()};
    struct publication *pub = rig_publication(rig, "n:1", rig_offset(rig, n), "x", 1);

    letter.entries[0] = (struct store_entry){
        .pub = pub, .limits = rig_no_limits, .follows = rig_offset(rig, follows)};
    assert_int_equal(rig->ports.append(rig->ports.ctx, &letter), 0);
    rig_answer(rig);
    publication_unref(pub);
    return letter.letter.err ? letter.letter.err : letter.entries[0].err;
}

static bool continues_after(struct rig *rig, uint64_t n, uint32_t *ret_count)
{
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_AFTER, rig_offset(rig, n), 100);
    bool continues =
        history_continues(&read->bounds, (struct cursor){read->bounds.epoch, rig_offset(rig, n)});

    assert_int_equal(read->letter.err, 0);
    *ret_count = read->count;
    rig_read_free(read);
    return continues;
}

/* In one step with the append: there is no moment at which somebody could go on over the missing one. */
static void an_append_behind_one_that_did_not_come_forgets_what_was_before(void **state)
{
    struct rig *rig = *state;
    uint32_t count;

    /* More than one transaction deletes, so some are still in the file. */
    assert_int_equal(rig_append_many(rig, "n:1", rig_offset(rig, 1), 9000, 10, &rig_no_limits), 0);
    assert_int_equal(append_behind(rig, 9001, 9000), 0);
    assert_true(continues_after(rig, 9000, &count));
    assert_int_equal(count, 1);
    assert_int_equal(append_behind(rig, 9003, 9002), 0);
    assert_false(continues_after(rig, 1, &count));
    assert_false(continues_after(rig, 9001, &count));
    assert_true(continues_after(rig, 9002, &count));
    assert_int_equal(count, 1);
    for (int from = STORE_FROM_BEGIN; from <= STORE_FROM_LAST; from++) {
        struct store_read *read = rig_read(rig, "n:1", (enum store_from)from, 0, 100);
        assert_int_equal(read->letter.err, 0);
        assert_int_equal(read->count, 1);
        assert_int_equal(read->bounds.first, rig_offset(rig, 9003));
        assert_int_equal(read->bounds.boundary, rig_offset(rig, 9002));
        rig_read_free(read);
    }
    assert_int_equal(rig->events[STORE_DAMAGED], 0);
}

static void offsets_that_are_not_ours_or_do_not_grow_are_refused(void **state)
{
    struct rig *rig = *state;

    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 5), "x"), 0);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 5), "y"), -EINVAL);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 4), "y"), -EINVAL);
    assert_int_equal(
        rig_append(rig, "n:1", history_start(rig->identity.generation + 1) + 1, "y"), -ESTALE);
    struct store_clear *letter = clear(rig, "n:1", UINT64_MAX);
    rig_answer(rig);
    assert_int_equal(letter->letter.err, -ESTALE);
    mem_free(letter);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 6), "z"), 0);
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_BEGIN, 0, 10);
    assert_int_equal(read->count, 2);
    expect_payload(read->pubs[0], "x");
    expect_payload(read->pubs[1], "z");
    rig_read_free(read);
}

/* Each entry of a letter has its own answer. */
static void what_is_refused_of_a_letter_does_not_take_the_rest_with_it(void **state)
{
    struct rig *rig = *state;
    const uint64_t offsets[] = {rig_offset(rig, 1), rig_offset(rig, 1),
        history_start(rig->identity.generation + 1) + 1, rig_offset(rig, 2)};
    struct store_append letter = {.count = COUNT_OF(offsets), .time_ms = now_ms()};
    struct store_stats stats;

    for (uint32_t i = 0; i < letter.count; i++) {
        letter.entries[i] = (struct store_entry){
            .pub = rig_publication(rig, "n:1", offsets[i], "x", 1), .limits = rig_no_limits};
    }
    assert_int_equal(rig->ports.append(rig->ports.ctx, &letter), 0);
    assert_ptr_equal(rig_answer(rig), &letter);
    assert_int_equal(letter.letter.err, 0);
    assert_int_equal(letter.entries[0].err, 0);
    assert_int_equal(letter.entries[1].err, -EINVAL);
    assert_int_equal(letter.entries[2].err, -ESTALE);
    assert_int_equal(letter.entries[3].err, 0);
    store_stats(rig->store, &stats);
    assert_int_equal(stats.refused, 1);
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_BEGIN, 0, 10);
    assert_int_equal(read->count, 2);
    rig_read_free(read);
    for (uint32_t i = 0; i < letter.count; i++) {
        publication_unref(letter.entries[i].pub);
    }
}

static void a_restart_is_a_new_generation_of_the_same_epoch(void **state)
{
    struct rig *rig = *state;
    struct store_identity before = rig->identity;
    uint64_t first = rig_offset(rig, 1);

    assert_int_equal(before.generation, 1);
    assert_int_equal(rig_append(rig, "n:1", first, "old"), 0);
    rig_reopen(rig);
    assert_int_equal(rig->identity.store_id, before.store_id);
    assert_memory_equal(rig->identity.secret, before.secret, sizeof(before.secret));
    assert_int_equal(rig->identity.serial, before.serial);
    assert_int_equal(rig->identity.generation, 2);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 1), "new"), 0);
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_AFTER, first, 10);
    assert_true(history_continues(&read->bounds, (struct cursor){read->bounds.epoch, first}));
    assert_int_equal(read->count, 1);
    expect_payload(read->pubs[0], "new");
    rig_read_free(read);
    /* What the crash might have taken. */
    read = rig_read(rig, "n:1", STORE_FROM_AFTER, first + 1, 10);
    assert_false(history_continues(&read->bounds, (struct cursor){read->bounds.epoch, first + 1}));
    rig_read_free(read);
}

struct keys {
    uint32_t count;
    struct store_key last;
};

static void note_key(void *ctx, const struct store_key *key)
{
    struct keys *keys = ctx;

    keys->count += 1;
    keys->last = *key;
}

static void append_keyed(struct rig *rig, uint64_t n, uint64_t key, uint64_t time_ms)
{
    struct store_append letter = {.count = 1, .time_ms = time_ms};
    struct publication *pub = rig_publication(rig, "n:1", rig_offset(rig, n), "x", 1);

    pub->once[0] = key;
    pub->once[1] = ~key;
    letter.entries[0] = (struct store_entry){pub, {0}};
    assert_int_equal(rig->ports.append(rig->ports.ctx, &letter), 0);
    rig_answer(rig);
    assert_int_equal(letter.letter.err, 0);
    publication_unref(pub);
}

static void idempotency_keys_outlive_a_restart_for_ten_minutes(void **state)
{
    struct rig *rig = *state;
    struct keys keys = {0};

    append_keyed(rig, 1, 111, now_ms() - 601000);
    append_keyed(rig, 2, 222, now_ms() - 300000);
    append_keyed(rig, 3, 333, now_ms());
    uint64_t third = rig_offset(rig, 3);
    rig_reopen(rig);
    assert_int_equal(store_each_key(rig->store, note_key, &keys), 0);
    assert_int_equal(keys.count, 2);
    assert_int_equal(keys.last.key[0], 333);
    assert_int_equal(keys.last.key[1], ~333ull);
    assert_int_equal(keys.last.channel, 7);
    assert_int_equal(keys.last.cursor.offset, third);
    assert_int_equal(
        keys.last.cursor.epoch, history_epoch(rig->identity.store_id, rig->identity.serial));
    assert_true(keys.last.age_ms < 60000);
}

static void appends_past_the_bound_are_refused_and_counted(void **state)
{
    struct rig *rig = *state;
    struct store_append letters[200];
    uint32_t taken = 0, busy = 0;

    rig_close(rig);
    rig->options.pending_bytes_max = 2000;
    rig_open(rig);
    for (uint32_t i = 0; i < COUNT_OF(letters); i++) {
        memset(&letters[i], 0, sizeof(letters[i]));
        letters[i].count = 1;
        letters[i].time_ms = now_ms();
        letters[i].entries[0] = (struct store_entry){
            rig_publication(rig, "n:1", rig_offset(rig, i + 1), "x", 1), rig_no_limits};
        int r = rig->ports.append(rig->ports.ctx, &letters[i]);
        assert_true(r == 0 || r == -EBUSY);
        taken += r == 0;
        busy += r == -EBUSY;
    }
    assert_true(taken > 0 && busy > 0);
    for (uint32_t i = 0; i < taken; i++) {
        assert_int_equal(rig_answer(rig)->err, 0);
    }
    struct store_stats stats;
    store_stats(rig->store, &stats);
    assert_int_equal(stats.pending_bytes, 0);
    assert_int_equal(stats.records, taken);
    for (uint32_t i = 0; i < COUNT_OF(letters); i++) {
        publication_unref(letters[i].entries[0].pub);
    }
}

static void closing_answers_everything_that_was_taken(void **state)
{
    struct rig *rig = *state;
    struct store_append letters[100] = {0};

    for (uint32_t i = 0; i < COUNT_OF(letters); i++) {
        letters[i].count = 1;
        letters[i].time_ms = now_ms();
        letters[i].entries[0] = (struct store_entry){
            rig_publication(rig, "n:1", rig_offset(rig, i + 1), "x", 1), rig_no_limits};
        assert_int_equal(rig->ports.append(rig->ports.ctx, &letters[i]), 0);
    }
    rig_reopen(rig);
    for (uint32_t i = 0; i < COUNT_OF(letters); i++) {
        assert_ptr_equal(rig_answer(rig), &letters[i]);
        assert_int_equal(letters[i].letter.err, 0);
        publication_unref(letters[i].entries[0].pub);
    }
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_LAST, 0, 1000);
    assert_int_equal(read->count, COUNT_OF(letters));
    rig_read_free(read);
}

static void a_second_process_is_refused_with_the_firsts_number(void **state)
{
    struct rig *rig = *state;
    char expected[32];
    struct rig second = {.options = rig->options};
    struct stat st;

    snprintf(expected, sizeof(expected), "process %ld;", (long)getpid());
    assert_int_equal(rig_try_open(&second), -EBUSY);
    assert_non_null(strstr(second.why, expected));
    assert_non_null(strstr(second.why, rig->dir));
    assert_int_equal(stat(rig->dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    rig_close(rig);
    assert_int_equal(rig_try_open(&second), 0);
    rig_close(&second);
}

static void a_directory_that_cannot_be_is_a_sentence(void **state)
{
    struct rig *rig = *state;
    struct rig other = {.options = rig->options};

    other.options.dir = "/dev/null";
    assert_int_equal(rig_try_open(&other), -ENOTDIR);
    assert_non_null(strstr(other.why, "/dev/null"));
    other.options.dir = "/nowhere/at/all";
    assert_int_equal(rig_try_open(&other), -ENOENT);
    assert_non_null(strstr(other.why, "/nowhere/at/all"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_record_comes_back_as_it_was),
        CASE(an_unknown_channel_is_empty_and_a_generations_start_continues),
        CASE(pages_are_bounded_by_number_and_bytes_and_join_without_a_seam),
        CASE(channels_do_not_mix),
        CASE(payloads_of_every_size_come_back),
        CASE(limits_by_number_bytes_and_age_are_kept_with_the_append),
        CASE(a_channel_that_keeps_nothing_leaves_no_record),
        CASE(records_past_their_age_go_by_themselves),
        CASE(clearing_moves_the_boundary_however_long_the_history),
        CASE(an_append_behind_one_that_did_not_come_forgets_what_was_before),
        CASE(offsets_that_are_not_ours_or_do_not_grow_are_refused),
        CASE(what_is_refused_of_a_letter_does_not_take_the_rest_with_it),
        CASE(a_restart_is_a_new_generation_of_the_same_epoch),
        CASE(idempotency_keys_outlive_a_restart_for_ten_minutes),
        CASE(appends_past_the_bound_are_refused_and_counted),
        CASE(closing_answers_everything_that_was_taken),
        CASE(a_second_process_is_refused_with_the_firsts_number),
        CASE(a_directory_that_cannot_be_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
