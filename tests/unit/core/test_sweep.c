/* Classes and sweeps: who sees which message when people come and go in the middle. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"
#include "core/channel.h"
#include "core/sweep.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

enum { CROWD = 3 * SWEEP_SLICE };

static struct rig rig;

static void start(void)
{
    rig_init(&rig, 1);
    rig_start(&rig);
}

static struct rig_client *follower(uint8_t framing)
{
    struct rig_client *client = rig_client(&rig, 0);
    rig_subscribe(client, "room:x", framing, "");
    return client;
}

static void crowd(struct rig_client **clients, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        clients[i] = follower(RIG_PLAIN);
    }
}

static void publish(const char *payload)
{
    assert_int_equal(rig_publish(&rig, 0, "room:x", payload), 0);
    rig_receive(&rig, 0);
}

static void messages_of_a_turn_go_out_as_one_span(void **state)
{
    (void)state;
    start();
    struct rig_client *client = follower(RIG_PLAIN);

    publish("m1");
    publish("m2");
    publish("m3");
    assert_int_equal(rig_books(client).pending, 3);
    rig_run(&rig);
    assert_string_equal(rig_sent(client), "m1;m2;m3;");
    assert_int_equal(client->writes, 1);
    rig_fini(&rig);
}

static void each_framing_is_a_class_of_its_own(void **state)
{
    (void)state;
    start();
    struct rig_client *plain = follower(RIG_PLAIN), *told = follower(RIG_TOLD);

    publish("m1");
    rig_run(&rig);
    rig_close(plain);
    publish("m2");
    rig_run(&rig);
    plain = follower(RIG_PLAIN);
    publish("m3");
    rig_run(&rig);
    assert_string_equal(rig_sent(told), "1=m1;2=m2;3=m3;");
    assert_string_equal(rig_sent(plain), "m3;");
    rig_fini(&rig);
}

static void one_who_joins_sees_exactly_what_comes_after(void **state)
{
    (void)state;
    start();
    struct rig_client *clients[CROWD];

    crowd(clients, CROWD);
    publish("m1");
    rig_sweep(&rig, 0); /* One slice of three. */
    struct rig_client *late = rig_client(&rig, 0);
    publish("m2");
    assert_int_equal(rig_ask(late, "room:x", RIG_PLAIN, ""), 0);
    rig_receive(&rig, 0);
    publish("m3");
    rig_run(&rig);
    assert_string_equal(rig_sent(late), "m3;");
    assert_string_equal(rig_sent(clients[0]), "m1;m2;m3;");
    assert_string_equal(rig_sent(clients[CROWD - 1]), "m1;m2;m3;");
    rig_fini(&rig);
}

/* Behind the sweep, at its edge, ahead of it, the last one: nobody else is skipped or served twice. */
static void one_who_leaves_in_the_middle_of_a_sweep_disturbs_nobody(void **state)
{
    static const uint32_t places[] = {
        0, 5, SWEEP_SLICE - 1, SWEEP_SLICE, SWEEP_SLICE + 1, CROWD - 2, CROWD - 1};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(places); i++) {
        start();
        struct rig_client *clients[CROWD];
        crowd(clients, CROWD);
        publish("m1");
        publish("m2");
        rig_sweep(&rig, 0);
        rig_close(clients[places[i]]);
        publish("m3");
        rig_run(&rig);
        for (uint32_t c = 0; c < CROWD; c++) {
            const char *want = c != places[i]            ? "m1;m2;m3;"
                               : places[i] < SWEEP_SLICE ? "m1;m2;"
                                                         : "";
            assert_string_equal(rig_sent(clients[c]), want);
        }
        rig_fini(&rig);
    }
}

static void what_was_on_the_way_to_one_who_leaves_is_dropped_closed(void **state)
{
    (void)state;
    start();
    struct rig_client *client = follower(RIG_PLAIN);
    struct shard *shard = rig.shards[0].shard;

    publish("m1");
    publish("m2");
    assert_int_equal(shard_unsubscribe(shard, &client->sub, span_str("room:x"), RIG_PLAIN), 0);
    rig_run(&rig);
    struct books books = rig_books(client);
    assert_int_equal(books.accepted, 2);
    assert_int_equal(books.dropped[DROP_CLOSED], 2);
    assert_int_equal(books.delivered, 0);
    assert_int_equal(shard->stats.channels, 0);
    rig_fini(&rig);
}

static void leaving_with_deliver_hands_over_what_is_on_the_way(void **state)
{
    (void)state;
    start();
    struct rig_client *clients[CROWD];

    crowd(clients, CROWD);
    publish("m1");
    rig_sweep(&rig, 0);
    publish("m2");
    shard_leave_all(rig.shards[0].shard, &clients[0]->sub, true);
    shard_leave_all(rig.shards[0].shard, &clients[CROWD - 1]->sub, true);
    publish("m3");
    rig_run(&rig);
    assert_string_equal(rig_sent(clients[0]), "m1;m2;");
    assert_string_equal(rig_sent(clients[CROWD - 1]), "m1;m2;");
    assert_string_equal(rig_sent(clients[1]), "m1;m2;m3;");
    rig_fini(&rig);
}

static void a_subscription_can_be_taken_back_before_it_is_answered(void **state)
{
    (void)state;
    start();
    struct rig_client *client = rig_client(&rig, 0);
    struct shard *shard = rig.shards[0].shard;

    assert_int_equal(rig_ask(client, "room:x", RIG_PLAIN, ""), 0);
    assert_int_equal(rig_ask(client, "room:x", RIG_PLAIN, ""), -EEXIST);
    assert_int_equal(shard_unsubscribe(shard, &client->sub, span_str("room:x"), RIG_PLAIN), 0);
    assert_int_equal(
        shard_unsubscribe(shard, &client->sub, span_str("room:x"), RIG_PLAIN), -ENOENT);
    assert_int_equal(rig_ask(client, "room:x", RIG_PLAIN, ""), 0);
    publish("m1");
    rig_run(&rig);
    assert_int_equal(client->answers, 1);
    assert_int_equal(client->sub.subscription_count, 1);
    rig_fini(&rig);
}

static void one_who_closes_before_the_answer_leaves_nothing_behind(void **state)
{
    (void)state;
    start();
    struct rig_client *client = rig_client(&rig, 0);

    assert_int_equal(rig_ask(client, "room:x", RIG_PLAIN, ""), 0);
    rig_close(client);
    rig_run(&rig);
    assert_int_equal(rig.shards[0].shard->stats.channels, 0);
    assert_int_equal(rig.shards[0].shard->homes.count, 0);
    rig_fini(&rig);
}

/* Sequence numbers have 32 bits: what happens around the end of their range is no different. */
static void the_books_survive_the_end_of_the_sequence_numbers(void **state)
{
    (void)state;
    for (uint32_t before = 0; before < 8; before++) {
        start();
        struct rig_client *early = follower(RIG_PLAIN);
        struct class *class = early->sub.first.class;
        class->published = early->sub.first.joined = UINT32_MAX - before;
        publish("m1");
        publish("m2");
        struct rig_client *late = rig_client(&rig, 0);
        assert_int_equal(rig_ask(late, "room:x", RIG_PLAIN, ""), 0);
        rig_receive(&rig, 0);
        publish("m3");
        publish("m4");
        publish("m5");
        publish("m6");
        rig_check_books(&rig);
        rig_run(&rig);
        assert_string_equal(rig_sent(early), "m1;m2;m3;m4;m5;m6;");
        assert_string_equal(rig_sent(late), "m3;m4;m5;m6;");
        assert_int_equal(rig_books(early).accepted, 6);
        assert_int_equal(rig_books(late).accepted, 4);
        rig_fini(&rig);
    }
}

static void a_round_of_sequence_numbers_is_not_lost_from_the_books(void **state)
{
    (void)state;
    start();
    struct rig_client *client = follower(RIG_PLAIN);
    struct class *class = client->sub.first.class;

    class->published = INT32_MAX;
    publish("m1");
    publish("m2");
    rig_sweep(&rig, 0);
    assert_int_equal(rig_books(client).accepted, (uint64_t)INT32_MAX + 1);
    class->published = UINT32_MAX;
    publish("m3");
    publish("m4");
    rig_sweep(&rig, 0);
    assert_int_equal(rig_books(client).accepted, (uint64_t)UINT32_MAX + 1);
    client->sub.accepted -= rig_books(client).accepted - 4; /* As many as there really were. */
    rig_run(&rig);
    rig_fini(&rig);
}

static void a_large_class_does_not_hold_up_a_small_one(void **state)
{
    (void)state;
    start();
    struct rig_client *clients[CROWD];
    struct rig_client *small = rig_client(&rig, 0);

    crowd(clients, CROWD);
    rig_subscribe(small, "room:small", RIG_PLAIN, "");
    publish("m1");
    assert_int_equal(rig_publish(&rig, 0, "room:small", "s1"), 0);
    rig_receive(&rig, 0);
    assert_true(rig_sweep(&rig, 0));
    assert_string_equal(rig_sent(small), "s1;");
    assert_string_equal(rig_sent(clients[CROWD - 1]), "");
    rig_run(&rig);
    assert_string_equal(rig_sent(clients[CROWD - 1]), "m1;");
    rig_fini(&rig);
}

static void sweeping_into_outboxes_leaves_nothing_on_the_way(void **state)
{
    (void)state;
    start();
    struct rig_client *clients[CROWD];
    struct shard *shard = rig.shards[0].shard;

    crowd(clients, CROWD);
    publish("m1");
    publish("m2");
    sweep_all_to_outboxes(shard);
    assert_int_equal(shard->stats.books.pending, 0);
    assert_int_equal(shard->stats.books.queued, 2 * CROWD);
    rig_run(&rig);
    assert_string_equal(rig_sent(clients[CROWD - 1]), "m1;m2;");
    rig_fini(&rig);
}

/* Everybody's messages are numbered by what is published: each must see a run without holes from
 * when the answer came to when it left. */
static uint64_t latencies(void)
{
    uint64_t sum = 0;

    for (int i = 0; i < SHARD_LATENCY_BUCKETS; i++) {
        sum += rig.shards[0].shard->stats.latency[i];
    }
    return sum;
}

static void a_latency_is_recorded_when_the_message_is_sent_and_once(void **state)
{
    (void)state;
    start();
    const struct shard_stats *stats = &rig.shards[0].shard->stats;
    struct rig_client *fast = follower(RIG_PLAIN), *slow = follower(RIG_PLAIN);
    struct rig_client *partly = follower(RIG_PLAIN);
    slow->room = 0;
    partly->room = 4; /* The first message and a byte. */
    publish("m1");
    publish("m2");
    rig_run(&rig);
    assert_string_equal(rig_sent(fast), "m1;m2;");
    assert_string_equal(rig_sent(partly), "m1;m");
    assert_int_equal(latencies(), 3);
    assert_true(stats->latency_sum_seconds < 0.001);

    rig.now_ns += 2000000000;
    rig_run(&rig);
    rig_writable(slow, -1);
    rig_writable(partly, -1);
    assert_int_equal(latencies(), 6);
    assert_true(stats->latency_sum_seconds > 5.999 && stats->latency_sum_seconds < 6.001);

    /* A replay is as old as it is. */
    struct rig_client *late = rig_client(&rig, 0);
    rig_subscribe(late, "room:x", RIG_PLAIN, "begin");
    assert_string_equal(rig_sent(late), "m1;m2;");
    assert_int_equal(latencies(), 6);
    rig_fini(&rig);
}

static void one_random_run(uint64_t seed)
{
    enum { PEOPLE = 200 };
    struct rng rng;
    struct rig_client *people[PEOPLE] = {0};
    unsigned published = 0;

    rng_init(&rng, seed);
    start();
    uint64_t join_bias = 1 + rng_below(&rng, 6);
    for (int step = 0; step < 2000; step++) {
        uint64_t what = rng_below(&rng, 10);
        struct rig_client **one = &people[rng_below(&rng, PEOPLE)];
        if (what < join_bias && !*one) {
            *one = rig_client(&rig, 0);
            (*one)->room = rng_below(&rng, 4) ? -1 : (long)rng_below(&rng, 50);
            assert_int_equal(rig_ask(*one, "room:x", RIG_TOLD, ""), 0);
        } else if (what < 6) {
            char payload[16];
            snprintf(payload, sizeof(payload), "%u", ++published);
            assert_int_equal(rig_publish(&rig, 0, "room:x", payload), 0);
        } else if (what < 7) {
            rig_receive(&rig, 0);
        } else if (what < 9) {
            rig_sweep(&rig, 0);
        } else if (*one && !(*one)->closed) {
            rig_close(*one);
        }
        rig_check_books(&rig);
    }
    rig_run(&rig);
    for (int i = 0; i < PEOPLE; i++) {
        struct rig_client *client = people[i];
        if (!client) {
            continue;
        }
        unsigned long long offset, next = client->cursor.offset + 1;
        unsigned number;
        int used = 0;
        for (const char *text = rig_sent(client);; text += used) {
            used = 0;
            if (sscanf(text, "%llu=%u;%n", &offset, &number, &used) != 2 || !used) {
                break; /* The end, or a frame its socket did not take whole. */
            }
            assert_int_equal(offset, next);
            assert_int_equal(number, next);
            next += 1;
        }
        if (!client->closed && client->room < 0) {
            assert_int_equal(next, published + 1);
        }
    }
    rig_fini(&rig);
}

static void whoever_comes_and_goes_each_sees_a_run_without_holes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        one_random_run(seed);
    }
}

/* Between a socket that takes bytes again and the flush some of those to be flushed may go. */
static void one_who_closes_before_its_flush_takes_nobody_along(void **state)
{
    (void)state;
    enum { CLIENTS = 4 };
    for (unsigned gone = 0; gone < 1u << CLIENTS; gone++) {
        struct rig_client *clients[CLIENTS];
        start();
        crowd(clients, CLIENTS);
        for (unsigned i = 0; i < CLIENTS; i++) {
            clients[i]->room = 0;
        }
        publish("m1");
        rig_run(&rig);
        for (unsigned i = 0; i < CLIENTS; i++) {
            clients[i]->room = -1;
            shard_writable(rig.shards[0].shard, &clients[i]->sub);
        }
        for (unsigned i = 0; i < CLIENTS; i++) {
            if (gone & 1u << i) {
                rig_close(clients[i]);
            }
        }
        rig_run(&rig);
        for (unsigned i = 0; i < CLIENTS; i++) {
            assert_string_equal(rig_sent(clients[i]), gone & 1u << i ? "" : "m1;");
        }
        rig_fini(&rig);
    }
}

static void those_whose_sockets_fail_are_closed_one_by_one(void **state)
{
    (void)state;
    static struct rig_client *clients[CROWD];
    start();
    crowd(clients, CROWD);
    for (uint32_t i = 0; i < CROWD; i++) {
        clients[i]->error = i % 3 ? -EPIPE : 0;
    }
    publish("m1");
    for (uint32_t i = 1; i < CROWD; i += 7) {
        shard_doom(rig.shards[0].shard, &clients[i]->sub);
    }
    rig_close(clients[1]); /* Doomed, but gone before its turn to be reaped. */
    rig_run(&rig);
    for (uint32_t i = 0; i < CROWD; i++) {
        assert_int_equal(clients[i]->closed, i % 3 || i % 7 == 1);
    }
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_a_turn_go_out_as_one_span),
        cmocka_unit_test(each_framing_is_a_class_of_its_own),
        cmocka_unit_test(one_who_joins_sees_exactly_what_comes_after),
        cmocka_unit_test(one_who_leaves_in_the_middle_of_a_sweep_disturbs_nobody),
        cmocka_unit_test(what_was_on_the_way_to_one_who_leaves_is_dropped_closed),
        cmocka_unit_test(leaving_with_deliver_hands_over_what_is_on_the_way),
        cmocka_unit_test(a_subscription_can_be_taken_back_before_it_is_answered),
        cmocka_unit_test(one_who_closes_before_the_answer_leaves_nothing_behind),
        cmocka_unit_test(the_books_survive_the_end_of_the_sequence_numbers),
        cmocka_unit_test(a_round_of_sequence_numbers_is_not_lost_from_the_books),
        cmocka_unit_test(a_latency_is_recorded_when_the_message_is_sent_and_once),
        cmocka_unit_test(a_large_class_does_not_hold_up_a_small_one),
        cmocka_unit_test(sweeping_into_outboxes_leaves_nothing_on_the_way),
        cmocka_unit_test(whoever_comes_and_goes_each_sees_a_run_without_holes),
        cmocka_unit_test(one_who_closes_before_its_flush_takes_nobody_along),
        cmocka_unit_test(those_whose_sockets_fail_are_closed_one_by_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
