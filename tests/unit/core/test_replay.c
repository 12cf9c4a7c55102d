/* Replay in pages: what is on its way to one connection is bounded, and live follows without a gap. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/home.h"
#include "core/outbox.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

enum { PAGE = 400, PAYLOAD = 8 }; /* Two or three publications a page. */

static struct rig rig;

static void start(uint16_t shards)
{
    rig_init(&rig, shards);
    rig.settings.replay_page_bytes = PAGE;
    rig.settings.ns[0].history_messages = 1000;
    rig_start(&rig);
}

static void publish_many(const char *channel, unsigned first, unsigned last)
{
    char payload[16];

    for (unsigned i = first; i <= last; i++) {
        snprintf(payload, sizeof(payload), "m%07u", i);
        assert_int_equal(rig_publish(&rig, 0, channel, payload), 0);
    }
    rig_run(&rig);
}

static void assert_sent(struct rig_client *client, unsigned first, unsigned last)
{
    struct bytes text = {0};

    for (unsigned i = first; i <= last; i++) {
        assert_int_equal(bytes_appendf(&text, "%u=m%07u;", i, i), 0);
    }
    assert_string_equal(rig_sent(client), (const char *)text.data);
    bytes_fini(&text);
}

static void all_pages_come_in_order_and_then_live(void **state)
{
    (void)state;
    for (uint16_t shards = 1; shards <= 2; shards++) {
        start(shards);
        const char *name = rig_name_at(&rig, (uint16_t)(shards - 1), 1);
        publish_many(name, 1, 200);
        struct rig_client *client = rig_client(&rig, 0);
        rig_subscribe(client, name, RIG_TOLD, "begin");
        assert_int_equal(client->answers, 1);
        assert_int_equal(client->state, SUBSCRIBE_REPLAYED);
        publish_many(name, 201, 203);
        assert_sent(client, 1, 203);
        assert_int_equal(rig.shards[0].shard->pending.count, 0);
        rig_fini(&rig);
    }
}

static void what_is_published_during_the_replay_comes_once_and_in_its_place(void **state)
{
    (void)state;
    start(2);
    const char *name = rig_name_at(&rig, 1, 1);
    publish_many(name, 1, 20);
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, name, RIG_TOLD, "begin"), 0);
    for (unsigned i = 21; i <= 60; i++) {
        char payload[16];
        snprintf(payload, sizeof(payload), "m%07u", i);
        assert_int_equal(rig_publish(&rig, i & 1, name, payload), 0);
        rig_receive(&rig, i & 1);
        rig_sweep(&rig, i & 1);
    }
    rig_run(&rig);
    unsigned count = 0;
    for (const char *at = rig_sent(client); *at; at = strchr(at, ';') + 1) {
        count += 1;
        assert_int_equal(strtoul(at, NULL, 10), count);
    }
    assert_int_equal(count, 60);
    rig_fini(&rig);
}

/* Who does not read has one page waiting, however many channels it asked for from the beginning. */
static void one_page_waits_for_a_connection_that_does_not_read(void **state)
{
    (void)state;
    start(1);
    char name[16];
    for (unsigned i = 0; i < 11; i++) {
        snprintf(name, sizeof(name), "room:%u", i);
        publish_many(name, 1, 100);
    }
    struct rig_client *client = rig_client(&rig, 0);
    client->room = 0;
    for (unsigned i = 0; i < 11; i++) {
        snprintf(name, sizeof(name), "room:%u", i);
        assert_int_equal(rig_ask(client, name, RIG_TOLD, "begin"), 0);
    }
    rig_run(&rig);
    assert_int_equal(client->answers, 11);
    assert_in_range(client->sub.outbox->messages, 1, 3);
    rig_writable(client, -1);
    rig_run(&rig);
    assert_int_equal(client->sub.delivered, 1100);
    assert_int_equal(client->sub.subscription_count, 11);
    rig_fini(&rig);
}

static void asking_and_leaving_again_gathers_nothing(void **state)
{
    (void)state;
    start(1);
    publish_many("room:x", 1, 100);
    struct rig_client *client = rig_client(&rig, 0);
    client->room = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(rig_ask(client, "room:x", RIG_TOLD, "begin"), 0);
        if (i % 2) {
            rig_run(&rig);
        }
        assert_int_equal(
            shard_unsubscribe(rig.shards[0].shard, &client->sub, span_str("room:x"), RIG_TOLD), 0);
    }
    rig_run(&rig);
    assert_in_range(client->sub.outbox->messages, 1, 3);
    assert_int_equal(rig.shards[0].shard->pending.count, 0);
    assert_int_equal(rig.shards[0].shard->channels.count, 1); /* Of what waits. */
    rig_writable(client, -1);
    rig_run(&rig);
    assert_int_equal(rig.shards[0].shard->channels.count, 0);
    rig_fini(&rig);
}

/* The page that is on its way finds nobody: what waited behind it must not wait for it any longer. */
static void leaving_a_page_on_its_way_lets_the_next_channel_go_on(void **state)
{
    (void)state;
    start(2);
    const char *left = rig_name_at(&rig, 1, 1), *kept = rig_name_at(&rig, 0, 2);
    publish_many(left, 1, 100);
    publish_many(kept, 1, 100);
    struct rig_client *client = rig_client(&rig, 0);
    assert_int_equal(rig_ask(client, left, RIG_TOLD, "begin"), 0);
    assert_int_equal(rig_ask(client, kept, RIG_TOLD, "begin"), 0);
    rig_receive(&rig, 0); /* Answered, without a page: one is on its way from the other shard. */
    assert_int_equal(client->answers, 1);
    assert_string_equal(rig_sent(client), "");
    struct shard *shard = rig.shards[0].shard;
    assert_int_equal(shard_unsubscribe(shard, &client->sub, span_str(left), RIG_TOLD), 0);
    rig_run(&rig);
    assert_sent(client, 1, 100);
    publish_many(kept, 101, 102);
    assert_sent(client, 1, 102);
    assert_int_equal(shard->pending.count, 0);
    rig_check_books(&rig);
    rig_fini(&rig);
}

static void a_reader_slower_than_history_forgets_is_told_what_it_missed(void **state)
{
    (void)state;
    start(1);
    rig.settings.ns[0].history_messages = 10;
    publish_many("room:x", 1, 10);
    struct rig_client *client = rig_client(&rig, 0);
    client->room = 0;
    rig_subscribe(client, "room:x", RIG_TOLD, "begin");
    uint32_t waiting = client->sub.outbox->messages;
    publish_many("room:x", 11, 30);
    rig_writable(client, -1);
    rig_run(&rig);
    struct books books = rig_books(client);
    assert_int_equal(books.dropped[DROP_SLOW], 20 - waiting);
    assert_int_equal(books.delivered, waiting + 10);
    char gap[32];
    snprintf(gap, sizeof(gap), "!room:x %u-20 slow;21=", waiting + 1);
    assert_non_null(strstr(rig_sent(client), gap));
    assert_non_null(strstr(rig_sent(client), "21=m0000021;"));
    assert_non_null(strstr(rig_sent(client), "30=m0000030;"));
    rig_check_books(&rig);
    rig_fini(&rig);
}

static void a_new_epoch_in_the_middle_of_a_replay_is_told_once(void **state)
{
    (void)state;
    start(1);
    publish_many("room:x", 1, 50);
    struct rig_client *client = rig_client(&rig, 0);
    client->room = 0;
    rig_subscribe(client, "room:x", RIG_TOLD, "begin");
    home_new_epoch(rig.shards[0].shard, span_str(""));
    home_tick(rig.shards[0].shard);
    rig_run(&rig);
    assert_int_equal(client->restarts, 0); /* Told when its turn comes, not before what waits. */
    rig_writable(client, -1);
    rig_run(&rig);
    assert_int_equal(client->restarts, 1);
    assert_int_equal(client->answers, 1);
    rig_forget(client);
    publish_many("room:x", 51, 52);
    assert_sent(client, 51, 52);
    rig_fini(&rig);
}

static void live_listeners_hear_of_a_new_epoch_at_a_tick_or_before_its_first_event(void **state)
{
    (void)state;
    start(2);
    struct rig_client *a = rig_client(&rig, 0), *b = rig_client(&rig, 1);
    const char *quiet = rig_name_at(&rig, 0, 1), *busy = rig_name_at(&rig, 0, 2);
    rig_subscribe(a, quiet, RIG_TOLD, "");
    rig_subscribe(b, busy, RIG_TOLD, "");
    uint64_t before = b->cursor.epoch;
    home_new_epoch(rig.shards[0].shard, span_str(""));
    assert_int_equal(rig_publish(&rig, 1, busy, "m"), 0);
    rig_run(&rig);
    assert_int_equal(b->restarts, 1);
    assert_int_not_equal(b->cursor.epoch, before);
    assert_int_equal(a->restarts, 0);
    home_tick(rig.shards[0].shard);
    rig_run(&rig);
    assert_int_equal(a->restarts, 1);
    assert_int_equal(b->restarts, 1);
    rig_fini(&rig);
}

static void a_listener_hears_of_an_epoch_that_began_just_before_the_move(void **state)
{
    (void)state;
    start(1);
    struct rig_client *client = rig_client(&rig, 0);
    rig_subscribe(client, "room:x", RIG_TOLD, "");
    publish_many("room:x", 1, 3);
    home_new_epoch(rig.shards[0].shard, span_str(""));
    rig_transfer(&rig, 2, &client, 1);
    rig_run(&rig);
    assert_int_equal(client->restarts, 1);
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_pages_come_in_order_and_then_live),
        cmocka_unit_test(what_is_published_during_the_replay_comes_once_and_in_its_place),
        cmocka_unit_test(one_page_waits_for_a_connection_that_does_not_read),
        cmocka_unit_test(asking_and_leaving_again_gathers_nothing),
        cmocka_unit_test(leaving_a_page_on_its_way_lets_the_next_channel_go_on),
        cmocka_unit_test(a_reader_slower_than_history_forgets_is_told_what_it_missed),
        cmocka_unit_test(a_new_epoch_in_the_middle_of_a_replay_is_told_once),
        cmocka_unit_test(live_listeners_hear_of_a_new_epoch_at_a_tick_or_before_its_first_event),
        cmocka_unit_test(a_listener_hears_of_an_epoch_that_began_just_before_the_move),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
