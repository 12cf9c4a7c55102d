/* Overload: a shard that cannot keep up is told what it misses, and publishers hear of it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

enum { BOUND = 2000 };

static struct rig rig;
static const char *name; /* At home on shard 0. */

static void start(void)
{
    rig_init(&rig, 2);
    rig.settings.overload_bytes = BOUND;
    rig_start(&rig);
    name = rig_name_at(&rig, 0, 1);
}

static struct rig_client *listener(uint16_t shard)
{
    struct rig_client *client = rig_client(&rig, shard);
    rig_subscribe(client, name, RIG_TOLD, "");
    return client;
}

/* Shard 1 takes nothing in while home publishes. */
static void publish_past_the_bound(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(rig_publish(&rig, 0, name, "m"), 0);
        rig_receive(&rig, 0);
    }
}

static void bring_back(void)
{
    rig_run(&rig);
}

/* Offsets received and told missing, without a hole or an overlap, up to `last`. */
static void check_complete(struct rig_client *client, uint64_t first, uint64_t last)
{
    unsigned long long from, to, next = first;
    int used;

    for (const char *text = rig_sent(client); *text; text += used) {
        used = 0;
        if (sscanf(text, "!%*[^ ] %llu-%llu overload;%n", &from, &to, &used) == 2 && used) {
            assert_int_equal(from, next);
            next = to + 1;
        } else {
            used = 0;
            assert_int_equal(sscanf(text, "%llu=%*[^;];%n", &from, &used), 1);
            assert_int_equal(from, next);
            next += 1;
        }
    }
    assert_int_equal(next, last + 1);
}

static void past_the_bound_a_listener_is_told_what_it_misses(void **state)
{
    (void)state;
    start();
    struct rig_client *near = listener(0), *far = listener(1);

    publish_past_the_bound(60);
    bring_back();
    publish_past_the_bound(1);
    bring_back();
    check_complete(near, 1, 61);
    check_complete(far, 1, 61);
    assert_non_null(strstr(rig_sent(far), "overload"));
    assert_null(strstr(rig_sent(near), "overload"));
    struct books books = rig_books(far);
    assert_int_equal(books.accepted, 61);
    assert_int_equal(books.delivered + books.dropped[DROP_OVERLOAD], 61);
    rig_fini(&rig);
}

static void a_publisher_who_can_wait_is_refused_and_nothing_is_published(void **state)
{
    (void)state;
    start();
    struct rig_client *near = listener(0), *far = listener(1);
    struct publish_order order = {.name = span_str(name),
        .payload = span_str("m"),
        .flags = PUBLICATION_MAY_REFUSE,
        .reply_id = 9};

    publish_past_the_bound(60);
    assert_true(shard_busy(rig.shards[0].shard, span_str(name)));
    assert_int_equal(rig_order(&rig, 0, order), 0);
    rig_receive(&rig, 0);
    assert_int_equal(rig.result_count, 1);
    assert_int_equal(rig.results[0].err, -EBUSY);
    bring_back();
    assert_false(shard_busy(rig.shards[0].shard, span_str(name)));
    assert_int_equal(rig_order(&rig, 0, order), 0);
    bring_back();
    assert_int_equal(rig.results[1].err, 0);
    check_complete(near, 1, 61);
    check_complete(far, 1, 61);
    rig_fini(&rig);
}

static void refuses_while_home_does_not_take_in(uint32_t flags)
{
    start();
    struct rig_client *near = listener(0);
    struct publish_order order = {.name = span_str(name), .payload = span_str("m"), .flags = flags};
    int err = 0;
    unsigned taken = 0;

    while (!(err = rig_order(&rig, 1, order))) {
        taken += 1;
        assert_true(taken < 100);
    }
    assert_int_equal(err, -EBUSY);
    assert_true(shard_busy(rig.shards[1].shard, span_str(name)));
    bring_back();
    check_complete(near, 1, taken);
    assert_int_equal(rig_order(&rig, 1, order), 0);
    bring_back();
    rig_fini(&rig);
}

/* Also those who publish into a room and are never told: mail has a bound. */
static void an_ingesting_shard_refuses_while_home_does_not_take_in(void **state)
{
    (void)state;
    refuses_while_home_does_not_take_in(PUBLICATION_MAY_REFUSE);
    refuses_while_home_does_not_take_in(0);
}

/* Its replay covers what the others are about to be told missing. */
static void one_who_joins_while_its_shard_is_behind_is_told_nothing_twice(void **state)
{
    (void)state;
    start();
    struct rig_client *far = listener(1), *late = rig_client(&rig, 1), *live = rig_client(&rig, 1);

    publish_past_the_bound(60);
    assert_int_equal(rig_ask(late, name, RIG_TOLD, "begin"), 0);
    assert_int_equal(rig_ask(live, name, RIG_TOLD, ""), 0);
    rig_receive(&rig, 0);
    publish_past_the_bound(5);
    bring_back();
    publish_past_the_bound(1);
    bring_back();
    check_complete(far, 1, 66);
    check_complete(late, 1, 66);
    check_complete(live, live->cursor.offset + 1, 66);
    rig_fini(&rig);
}

static void a_shard_whose_batches_are_full_makes_home_feel_it(void **state)
{
    (void)state;
    enum { CROWD = 300 };
    start();
    struct rig_client *crowd[CROWD];

    for (int i = 0; i < CROWD; i++) {
        crowd[i] = listener(1);
    }
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(rig_publish(&rig, 0, name, "m"), 0);
        rig_receive(&rig, 0);
        rig_receive(&rig, 1);
    }
    assert_true(rig.shards[0].shard->peers[1].behind.count > 0);
    bring_back();
    check_complete(crowd[0], 1, 3000);
    check_complete(crowd[CROWD - 1], 1, 3000);
    rig_fini(&rig);
}

/* Nothing is out whose return could end it. */
static void without_memory_for_a_chunk_the_listener_is_behind_only_for_a_moment(void **state)
{
    (void)state;
    start();
    struct rig_client *far = listener(1);

    assert_int_equal(rig_publish(&rig, 0, name, "m"), 0);
    mem_fail_after(0);
    rig_receive(&rig, 0);
    mem_fail_after(-1);
    bring_back();
    publish_past_the_bound(1);
    bring_back();
    check_complete(far, 1, 2);
    rig_fini(&rig);
}

static void one_random_run(uint64_t seed)
{
    enum { LISTENERS = 6 };
    struct rng rng;
    struct rig_client *listeners[LISTENERS] = {0};
    uint64_t firsts[LISTENERS] = {0};
    unsigned published = 0;

    rng_init(&rng, seed);
    rig_init(&rig, 3);
    rig.settings.overload_bytes = 200 + rng_below(&rng, 3000);
    rig_start(&rig);
    name = rig_name_at(&rig, 0, 1);
    for (int step = 0; step < 1000; step++) {
        uint64_t what = rng_below(&rng, 10);
        uint16_t shard = (uint16_t)rng_below(&rng, 3);
        if (what < 5) {
            int err = rig_publish(&rig, shard, name, "m");
            assert_true(err == 0 || (err == -EBUSY && shard != 0));
            published += err == 0;
        } else if (what < 7) {
            rig_receive(&rig, shard);
        } else if (what < 9) {
            rig_sweep(&rig, shard);
        } else {
            uint64_t which = rng_below(&rng, LISTENERS);
            if (!listeners[which]) {
                listeners[which] = rig_client(&rig, shard);
                assert_int_equal(rig_ask(listeners[which], name, RIG_TOLD, ""), 0);
            }
        }
        rig_check_books(&rig);
    }
    rig_run(&rig);
    for (int i = 0; i < LISTENERS; i++) {
        if (listeners[i]) {
            firsts[i] = listeners[i]->cursor.offset + 1;
            check_complete(listeners[i], firsts[i], published);
        }
    }
    rig_fini(&rig);
}

static void whatever_the_order_of_mail_each_listener_knows_what_it_missed(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++) {
        one_random_run(seed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(past_the_bound_a_listener_is_told_what_it_misses),
        cmocka_unit_test(a_publisher_who_can_wait_is_refused_and_nothing_is_published),
        cmocka_unit_test(an_ingesting_shard_refuses_while_home_does_not_take_in),
        cmocka_unit_test(one_who_joins_while_its_shard_is_behind_is_told_nothing_twice),
        cmocka_unit_test(a_shard_whose_batches_are_full_makes_home_feel_it),
        cmocka_unit_test(without_memory_for_a_chunk_the_listener_is_behind_only_for_a_moment),
        cmocka_unit_test(whatever_the_order_of_mail_each_listener_knows_what_it_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
