#include "link/redis_inbox.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"

enum { BOUND = 256 * 1024 };

struct drops {
    uint64_t count;
    uint64_t next; /* The number that the next reply to be dropped must carry. */
};

/* Replies are integers, so that order can be checked; padding makes them large. */
static uint64_t number_of(struct span reply)
{
    struct span items[2];

    assert_int_equal(resp_flat(reply, items, 2), 2);
    char digits[24] = "";
    assert_true(items[0].len < sizeof(digits));
    memcpy(digits, items[0].data, items[0].len);
    return strtoull(digits, NULL, 10);
}

static void dropped(void *ctx, struct span reply)
{
    struct drops *drops = ctx;

    assert_int_equal(number_of(reply), drops->next);
    drops->next += 1;
    drops->count += 1;
}

static void make_reply(struct bytes *out, uint64_t number, size_t pad)
{
    assert_int_equal(
        bytes_appendf(out, "*2\r\n:%llu\r\n$%zu\r\n", (unsigned long long)number, pad), 0);
    assert_int_equal(bytes_reserve(out, pad + 2), 0);
    memset(out->data + out->len, 'x', pad);
    out->len += pad;
    assert_int_equal(bytes_append_str(out, "\r\n"), 0);
}

/* Pours data in, in pieces of at most step bytes; gives how many replies were new. */
static uint64_t pour(struct redis_inbox *inbox, struct span data, size_t step)
{
    uint64_t count = 0;

    for (size_t at = 0; at < data.len;) {
        uint8_t *room = NULL;
        size_t len = 0;
        struct span reply;
        assert_int_equal(redis_inbox_room(inbox, &room, &len), 0);
        assert_true(len >= REDIS_INBOX_ROOM / 4);
        size_t part = data.len - at < step ? data.len - at : step;
        part = part < len ? part : len;
        memcpy(room, data.data + at, part);
        redis_inbox_filled(inbox, part);
        at += part;
        int r;
        while ((r = redis_inbox_new(inbox, &reply)) == 1) {
            count += 1;
        }
        assert_int_equal(r, 0);
        assert_true(redis_inbox_bytes(inbox) <= BOUND);
        assert_true(inbox->cap <= BOUND + BOUND / 4 + REDIS_INBOX_ROOM);
    }
    return count;
}

static void replies_come_out_in_order_however_they_are_cut(void **state)
{
    (void)state;
    const size_t steps[] = {1, 2, 7, 100, 5000, 1000000};

    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct redis_inbox inbox;
        struct drops drops = {0};
        struct bytes data = {0};
        struct span reply;
        redis_inbox_init(&inbox, BOUND, dropped, &drops);
        for (uint64_t n = 0; n < 50; n++) {
            make_reply(&data, n, (size_t)n * 3);
        }
        assert_int_equal(pour(&inbox, span_of(data.data, data.len), steps[i]), 50);
        for (uint64_t n = 0; n < 50; n++) {
            assert_true(redis_inbox_oldest(&inbox, &reply));
            assert_int_equal(number_of(reply), n);
            redis_inbox_pop(&inbox, reply);
        }
        assert_false(redis_inbox_oldest(&inbox, &reply));
        assert_int_equal(redis_inbox_bytes(&inbox), 0);
        assert_int_equal(drops.count, 0);
        bytes_fini(&data);
        redis_inbox_fini(&inbox);
    }
}

static void at_the_bound_the_oldest_are_dropped_and_each_is_told(void **state)
{
    (void)state;
    struct redis_inbox inbox;
    struct drops drops = {0};
    struct bytes data = {0};
    struct span reply;
    enum { COUNT = 20000 };

    redis_inbox_init(&inbox, BOUND, dropped, &drops);
    for (uint64_t n = 0; n < COUNT; n++) {
        data.len = 0;
        make_reply(&data, n, 100);
        assert_int_equal(pour(&inbox, span_of(data.data, data.len), 1 << 20), 1);
    }
    assert_true(drops.count > COUNT / 2);
    uint64_t n = drops.count;
    while (redis_inbox_oldest(&inbox, &reply)) {
        assert_int_equal(number_of(reply), n);
        redis_inbox_pop(&inbox, reply);
        n += 1;
    }
    assert_int_equal(n, COUNT);
    bytes_fini(&data);
    redis_inbox_fini(&inbox);
}

static void a_reply_beyond_the_bound_passes_by(void **state)
{
    (void)state;
    const size_t steps[] = {10000, 1 << 20};

    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct redis_inbox inbox;
        struct drops drops = {0};
        struct bytes data = {0};
        struct span reply;
        redis_inbox_init(&inbox, BOUND, dropped, &drops);
        make_reply(&data, 0, 10);
        make_reply(&data, 1000, 3 * BOUND);
        make_reply(&data, 1, 10);
        assert_int_equal(pour(&inbox, span_of(data.data, data.len), steps[i]), 2);
        assert_int_equal(inbox.passed_count, 1);
        assert_int_equal(drops.count, 1); /* It made room in vain. */
        assert_true(redis_inbox_oldest(&inbox, &reply));
        assert_int_equal(number_of(reply), 1);
        bytes_fini(&data);
        redis_inbox_fini(&inbox);
    }
}

static void a_lost_stream_leaves_its_whole_replies(void **state)
{
    (void)state;
    struct redis_inbox inbox;
    struct drops drops = {0};
    struct bytes data = {0};
    struct span reply;

    redis_inbox_init(&inbox, BOUND, dropped, &drops);
    make_reply(&data, 0, 10);
    make_reply(&data, 1, 10);
    assert_int_equal(pour(&inbox, span_of(data.data, data.len - 5), 1000), 1);
    redis_inbox_cut(&inbox);
    data.len = 0;
    make_reply(&data, 2, 10);
    assert_int_equal(pour(&inbox, span_of(data.data, data.len), 1000), 1);
    assert_true(redis_inbox_oldest(&inbox, &reply));
    assert_int_equal(number_of(reply), 0);
    redis_inbox_pop(&inbox, reply);
    assert_true(redis_inbox_oldest(&inbox, &reply));
    assert_int_equal(number_of(reply), 2);

    drops.next = 2;
    redis_inbox_drop_all(&inbox);
    assert_int_equal(drops.count, 1);
    assert_false(redis_inbox_oldest(&inbox, &reply));
    bytes_fini(&data);
    redis_inbox_fini(&inbox);
}

static void a_broken_stream_is_told(void **state)
{
    (void)state;
    struct redis_inbox inbox;
    struct drops drops = {0};
    uint8_t *room = NULL;
    size_t len = 0;
    struct span reply;

    redis_inbox_init(&inbox, BOUND, dropped, &drops);
    assert_int_equal(redis_inbox_room(&inbox, &room, &len), 0);
    memcpy(room, "+OK\r\nHTTP/1.1", 13);
    redis_inbox_filled(&inbox, 13);
    assert_int_equal(redis_inbox_new(&inbox, &reply), 1);
    assert_int_equal(redis_inbox_new(&inbox, &reply), -EPROTO);
    redis_inbox_fini(&inbox);

    redis_inbox_init(&inbox, BOUND, dropped, &drops);
    mem_fail_after(0);
    assert_int_equal(redis_inbox_room(&inbox, &room, &len), -ENOMEM);
    mem_fail_after(-1);
    redis_inbox_fini(&inbox);
}

/* Random sizes, cuts and appetites: what comes out and what is dropped is everything, in order. */
static void nothing_is_lost_or_doubled_in_random_traffic(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct redis_inbox inbox;
        struct drops drops = {0};
        struct bytes data = {0};
        struct span reply;
        struct rng rng;
        uint64_t sent = 0, taken = 0;
        rng_init(&rng, seed);
        redis_inbox_init(&inbox, BOUND, dropped, &drops);
        for (int round = 0; round < 400; round++) {
            data.len = 0;
            for (uint64_t i = rng_below(&rng, 20); i > 0; i--) {
                make_reply(&data, sent++, rng_below(&rng, 1 + (1u << rng_below(&rng, 14))));
            }
            pour(&inbox, span_of(data.data, data.len), 1 + rng_below(&rng, 70000));
            uint64_t appetite = rng_below(&rng, 2) * rng_below(&rng, 40);
            while (appetite-- > 0 && redis_inbox_oldest(&inbox, &reply)) {
                assert_int_equal(number_of(reply), drops.next);
                drops.next += 1;
                taken += 1;
                redis_inbox_pop(&inbox, reply);
            }
        }
        redis_inbox_drop_all(&inbox);
        assert_int_equal(drops.next, sent);
        assert_int_equal(drops.count + taken, sent);
        bytes_fini(&data);
        redis_inbox_fini(&inbox);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_come_out_in_order_however_they_are_cut),
        cmocka_unit_test(at_the_bound_the_oldest_are_dropped_and_each_is_told),
        cmocka_unit_test(a_reply_beyond_the_bound_passes_by),
        cmocka_unit_test(a_lost_stream_leaves_its_whole_replies),
        cmocka_unit_test(a_broken_stream_is_told),
        cmocka_unit_test(nothing_is_lost_or_doubled_in_random_traffic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
