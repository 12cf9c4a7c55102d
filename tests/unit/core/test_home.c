/* Home: offsets, what is kept of a channel, and the answer to "where was I?". */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/home.h"
#include "core/once.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

static struct rig rig;
static const char channel[] = "room:x";

static void start(uint16_t shards)
{
    rig_init(&rig, shards);
    rig_start(&rig);
}

static struct shard *shard0(void)
{
    return rig.shards[0].shard;
}

static void publish_many(unsigned first, unsigned last)
{
    char payload[16];

    for (unsigned i = first; i <= last; i++) {
        snprintf(payload, sizeof(payload), "m%u", i);
        assert_int_equal(rig_publish(&rig, 0, channel, payload), 0);
    }
    rig_run(&rig);
}

/* Asks for history; the answer is in rig.history*. */
static const char *history(const char *since, uint32_t limit)
{
    uint64_t id;
    uint32_t before = rig.history_answers;

    assert_int_equal(shard_history(shard0(), span_str(channel), since_parse(span_str(since)),
                         limit ? limit : UINT32_MAX, UINT32_MAX, &id),
        0);
    rig_run(&rig);
    assert_int_equal(rig.history_answers, before + 1);
    return rig.history.len ? (const char *)rig.history.data : "";
}

/* "epoch:offset" of the channel as it is now, with another offset. */
static const char *cursor_at(uint64_t offset)
{
    static char text[CURSOR_TEXT_MAX];

    history("", 0);
    cursor_format((struct cursor){rig.history_cursor.epoch, offset}, text);
    return text;
}

static void advance(uint64_t ms)
{
    rig.now_ns += ms * 1000000;
    shard_begin_turn(shard0(), rig.now_ns);
}

static void offsets_begin_at_one_and_have_no_holes(void **state)
{
    (void)state;
    start(1);
    struct rig_client *client = rig_client(&rig, 0);

    rig_subscribe(client, channel, RIG_TOLD, "");
    publish_many(1, 5);
    assert_string_equal(rig_sent(client), "1=m1;2=m2;3=m3;4=m4;5=m5;");
    rig_fini(&rig);
}

static void history_is_kept_by_count(void **state)
{
    (void)state;
    start(1);
    rig.settings.ns[0].history_messages = 3;
    publish_many(1, 5);
    assert_string_equal(history("begin", 0), "3=m3;4=m4;5=m5;");
    publish_many(6, 30);
    assert_string_equal(history("begin", 0), "28=m28;29=m29;30=m30;");
    rig_fini(&rig);
}

static void history_is_kept_by_bytes(void **state)
{
    (void)state;
    start(1);
    rig.settings.ns[0].history_bytes = 2 * (sizeof(struct publication) + sizeof(channel) - 1 + 2);
    publish_many(1, 5);
    assert_string_equal(history("begin", 0), "4=m4;5=m5;");
    assert_int_equal(shard0()->stats.history_messages, 2);
    rig_fini(&rig);
}

static void the_newest_is_kept_however_large_it_is(void **state)
{
    (void)state;
    start(1);
    rig.settings.ns[0].history_bytes = sizeof(struct publication);
    publish_many(1, 5);
    assert_string_equal(history("begin", 0), "5=m5;");
    assert_int_equal(shard0()->stats.history_messages, 1);
    rig_fini(&rig);
}

static void history_is_kept_by_age(void **state)
{
    (void)state;
    start(1);
    rig.settings.ns[0].history_age_ms = 1000;
    publish_many(1, 2);
    advance(600);
    publish_many(3, 3);
    advance(600);
    assert_string_equal(history("begin", 0), "3=m3;");
    advance(600);
    home_tick(shard0());
    assert_int_equal(shard0()->homes.count, 0);
    rig_fini(&rig);
}

/* Another shard took it in, and its clock is a little ahead of home's turn. */
static void a_publication_from_the_near_future_is_not_old(void **state)
{
    (void)state;
    start(2);
    const char *name = rig_name_at(&rig, 0, 1);

    shard_begin_turn(rig.shards[1].shard, rig.now_ns + 5000000);
    assert_int_equal(rig_publish(&rig, 1, name, "m1"), 0);
    rig_run(&rig);
    assert_int_equal(shard0()->stats.history_messages, 1);
    rig_fini(&rig);
}

static void history_is_kept_within_the_budget_of_all_channels(void **state)
{
    (void)state;
    start(1);
    for (unsigned i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof(name), "room:%u", i);
        assert_int_equal(rig_publish(&rig, 0, name, "m"), 0);
        rig_run(&rig);
    }
    rig.settings.history_bytes_total = shard0()->stats.history_bytes / 2;
    assert_int_equal(rig_publish(&rig, 0, "room:0", "m"), 0);
    rig_run(&rig);
    home_tick(shard0());
    assert_true(shard0()->stats.history_bytes <= rig.settings.history_bytes_total);
    /* The one used last is kept, those not used for longest went. */
    uint64_t id;
    assert_int_equal(shard_history(shard0(), span_str("room:0"), since_parse(span_str("begin")),
                         UINT32_MAX, UINT32_MAX, &id),
        0);
    rig_run(&rig);
    assert_string_equal((const char *)rig.history.data, "1=m;2=m;");
    rig_fini(&rig);
}

/* A channel for each event, as runs have, and one that outgrows the budget all by itself. */
static void the_budget_holds_however_fast_publishers_are(void **state)
{
    (void)state;
    rig_init(&rig, 1);
    rig.settings.history_bytes_total = 20000;
    rig_start(&rig);
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "room:%u", i);
        assert_int_equal(rig_publish(&rig, 0, name, "m"), 0);
        rig_receive(&rig, 0);
        assert_true(shard0()->stats.history_bytes <= rig.settings.history_bytes_total);
    }
    assert_true(shard0()->stats.history_bytes > rig.settings.history_bytes_total / 2);
    assert_true(shard0()->stats.homes < 500);
    static char large[15000];
    memset(large, 'm', sizeof(large) - 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(rig_publish(&rig, 0, "room:0", large), 0);
        rig_receive(&rig, 0);
        assert_true(shard0()->stats.history_bytes <= rig.settings.history_bytes_total);
    }
    assert_int_equal(shard0()->stats.history_messages, 1);
    rig_fini(&rig);
}

/* More rings than one tick looks at, the youngest namespace with the shortest age behind them. */
static void a_tick_goes_on_where_the_last_one_stopped(void **state)
{
    (void)state;
    rig_init(&rig, 1);
    rig.settings.ns_count = 2;
    rig.settings.ns[1] = rig.settings.ns[0];
    strcpy(rig.settings.ns[1].name, "brief");
    rig.settings.ns[1].history_age_ms = 10;
    rig_start(&rig);
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "room:%u", i);
        assert_int_equal(rig_publish(&rig, 0, name, "m"), 0);
    }
    assert_int_equal(rig_publish(&rig, 0, "brief:x", "m"), 0);
    rig_run(&rig);
    advance(100);
    for (int i = 0; i < 5; i++) {
        home_tick(shard0());
    }
    assert_int_equal(shard0()->homes.count, 1000);
    rig_fini(&rig);
}

static void a_channel_without_history_and_listeners_leaves_only_its_number(void **state)
{
    (void)state;
    start(1);
    rig.settings.ns[0].history_messages = 0;
    publish_many(1, 3);
    assert_int_equal(shard0()->homes.count, 0);
    struct rig_client *client = rig_client(&rig, 0);
    rig_subscribe(client, channel, RIG_TOLD, "");
    assert_int_equal(client->cursor.offset, 3);
    publish_many(4, 4);
    assert_string_equal(rig_sent(client), "4=m4;");
    rig_fini(&rig);
}

static void history_switched_off_and_on_again_has_no_hole(void **state)
{
    (void)state;
    start(1);
    publish_many(1, 3);
    rig.settings.ns[0].history_messages = 0;
    publish_many(4, 5);
    rig.settings.ns[0].history_messages = 10;
    publish_many(6, 6);
    assert_string_equal(history("begin", 0), "6=m6;");
    history(cursor_at(4), 0);
    assert_int_equal(rig.history_state, SUBSCRIBE_RESET);
    rig_fini(&rig);
}

static void a_cursor_is_answered_live_replayed_or_reset(void **state)
{
    static const struct {
        uint64_t offset;
        uint8_t state;
        const char *replay;
    } rows[] = {
        {8, SUBSCRIBE_LIVE, ""},                            /* The newest: nothing missed. */
        {7, SUBSCRIBE_REPLAYED, "8=m8;"},                   /* The one before. */
        {5, SUBSCRIBE_REPLAYED, "6=m6;7=m7;8=m8;"},         /* Exactly the trim boundary. */
        {4, SUBSCRIBE_RESET, ""},                           /* 5 is gone. */
        {0, SUBSCRIBE_RESET, ""}, {9, SUBSCRIBE_RESET, ""}, /* Nobody was given that number. */
    };
    (void)state;
    start(1);
    rig.settings.ns[0].history_messages = 3;
    publish_many(1, 8);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct rig_client *client = rig_client(&rig, 0);
        rig_subscribe(client, channel, RIG_TOLD, cursor_at(rows[i].offset));
        assert_int_equal(client->state, rows[i].state);
        assert_string_equal(rig_sent(client), rows[i].replay);
        assert_int_equal(client->cursor.offset, 8);
        rig_close(client);
    }
    rig_fini(&rig);
}

static void begin_replays_all_that_is_kept(void **state)
{
    (void)state;
    start(1);
    struct rig_client *empty = rig_client(&rig, 0), *full = rig_client(&rig, 0);

    rig_subscribe(empty, channel, RIG_TOLD, "begin");
    assert_int_equal(empty->state, SUBSCRIBE_LIVE);
    publish_many(1, 3);
    rig_subscribe(full, channel, RIG_TOLD, "begin");
    assert_int_equal(full->state, SUBSCRIBE_REPLAYED);
    publish_many(4, 4);
    assert_string_equal(rig_sent(full), "1=m1;2=m2;3=m3;4=m4;");
    assert_string_equal(rig_sent(empty), "1=m1;2=m2;3=m3;4=m4;");
    rig_fini(&rig);
}

static void what_is_no_cursor_or_of_another_epoch_is_reset(void **state)
{
    static const char *const texts[] = {"nonsense", "e1:1", ":", "1:", "zzzzzzzzzzzzzz:1"};
    (void)state;
    start(1);
    publish_many(1, 3);
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        history(texts[i], 0);
        assert_int_equal(rig.history_state, SUBSCRIBE_RESET);
        assert_int_equal(rig.history.len, 0);
    }
    rig_fini(&rig);
}

static void a_new_epoch_resets_the_affected_channels_only(void **state)
{
    (void)state;
    start(1);
    char old[CURSOR_TEXT_MAX];

    publish_many(1, 3);
    assert_int_equal(rig_publish(&rig, 0, "room:y", "y1"), 0);
    rig_run(&rig);
    strcpy(old, cursor_at(3));
    home_new_epoch(shard0(), span_str(channel));
    history(old, 0);
    assert_int_equal(rig.history_state, SUBSCRIBE_RESET);
    publish_many(4, 4);
    assert_string_equal(history("begin", 0), "4=m4;");
    assert_int_not_equal(rig.history_cursor.epoch, since_parse(span_str(old)).cursor.epoch);
    uint64_t id;
    assert_int_equal(shard_history(shard0(), span_str("room:y"), since_parse(span_str("begin")),
                         UINT32_MAX, UINT32_MAX, &id),
        0);
    rig_run(&rig);
    assert_string_equal((const char *)rig.history.data, "1=y1;");
    rig_fini(&rig);
}

static void a_channel_emptied_by_a_new_epoch_is_forgotten(void **state)
{
    (void)state;
    start(1);
    publish_many(1, 3);
    home_new_epoch(shard0(), span_str(""));
    home_tick(shard0());
    assert_int_equal(shard0()->homes.count, 0);
    rig_fini(&rig);
}

static void a_forgotten_channel_comes_back_above_every_number_it_gave(void **state)
{
    (void)state;
    start(1);
    char old[CURSOR_TEXT_MAX];

    publish_many(1, 7);
    strcpy(old, cursor_at(5));
    advance(24 * 3600 * 1000);
    home_tick(shard0());
    assert_int_equal(shard0()->homes.count, 0);
    history(old, 0);
    assert_int_equal(rig.history_state, SUBSCRIBE_RESET);
    publish_many(8, 8);
    assert_string_equal(history("begin", 0), "8=m8;");
    rig_fini(&rig);
}

static void history_is_cut_at_the_limit_and_says_so(void **state)
{
    (void)state;
    start(1);
    publish_many(1, 5);
    assert_string_equal(history("begin", 2), "1=m1;2=m2;");
    assert_true(rig.history_more);
    assert_int_equal(rig.history_cursor.offset, 2);
    assert_string_equal(history(cursor_at(2), 3), "3=m3;4=m4;5=m5;");
    assert_false(rig.history_more);
    assert_int_equal(rig.history_cursor.offset, 5);
    rig_fini(&rig);
}

/* ---- several shards ---- */

/* Publications cross the subscription's letters in both directions. */
static void between_replay_and_live_nothing_falls_and_nothing_doubles(void **state)
{
    (void)state;
    for (int before = 0; before < 4; before++) {
        start(2);
        const char *name = rig_name_at(&rig, 0, 1);
        struct rig_client *other = rig_client(&rig, 1), *client = rig_client(&rig, 1);
        rig_subscribe(other, name, RIG_TOLD, "");
        assert_int_equal(rig_publish(&rig, 0, name, "m1"), 0);
        assert_int_equal(rig_ask(client, name, RIG_TOLD, "begin"), 0);
        for (int i = 0; i < before; i++) {
            rig_receive(&rig, i & 1);
        }
        assert_int_equal(rig_publish(&rig, 1, name, "m2"), 0);
        rig_receive(&rig, 0);
        assert_int_equal(rig_publish(&rig, 0, name, "m3"), 0);
        rig_run(&rig);
        assert_int_equal(rig_publish(&rig, 1, name, "m4"), 0);
        rig_run(&rig);
        assert_int_equal(client->sent.len, strlen("1=m1;2=m2;3=m3;4=m4;"));
        assert_string_equal(rig_sent(client), rig_sent(other));
        rig_fini(&rig);
    }
}

static void interest_is_asked_for_with_the_first_and_given_up_with_the_last(void **state)
{
    (void)state;
    start(2);
    struct rig_client *a = rig_client(&rig, 0), *b = rig_client(&rig, 1), *c = rig_client(&rig, 1);

    rig_subscribe(a, channel, RIG_PLAIN, "");
    rig_subscribe(b, channel, RIG_PLAIN, "");
    rig_subscribe(c, channel, RIG_PLAIN, "");
    assert_int_equal(rig.wanted, 1);
    rig_close(a);
    rig_close(b);
    rig_run(&rig);
    assert_int_equal(rig.unwanted, 0);
    rig_close(c);
    rig_run(&rig);
    assert_int_equal(rig.unwanted, 1);
    rig_fini(&rig);
}

static void listeners_wait_until_the_broker_feeds_the_channel(void **state)
{
    (void)state;
    start(2);
    rig.closed_channels = true;
    const char *name = rig_name_at(&rig, 0, 1);
    struct rig_client *a = rig_client(&rig, 0), *b = rig_client(&rig, 1);

    assert_int_equal(rig_ask(a, name, RIG_TOLD, ""), 0);
    assert_int_equal(rig_ask(b, name, RIG_TOLD, ""), 0);
    rig_run(&rig);
    rig_close(b);
    rig_run(&rig);
    assert_int_equal(a->answers, 0);
    home_opened(shard0(), span_str(name));
    rig_run(&rig);
    assert_int_equal(a->answers, 1);
    assert_int_equal(rig_publish(&rig, 1, name, "m1"), 0);
    rig_run(&rig);
    assert_string_equal(rig_sent(a), "1=m1;");
    rig_fini(&rig);
}

static void each_request_that_waits_can_be_taken_back_alone(void **state)
{
    (void)state;
    static const char *const names[] = {"a:0", "a:1", "a:2", "a:3"};
    for (unsigned taken_back = 0; taken_back < COUNT_OF(names); taken_back++) {
        start(1);
        rig.closed_channels = true;
        struct rig_client *client = rig_client(&rig, 0), *other = rig_client(&rig, 0);
        for (unsigned i = 0; i < COUNT_OF(names); i++) {
            assert_int_equal(rig_ask(client, names[i], RIG_TOLD, ""), 0);
            assert_int_equal(rig_ask(other, names[i], RIG_TOLD, ""), 0);
            assert_int_equal(rig_ask(client, names[i], RIG_TOLD, ""), -EEXIST);
        }
        struct span name = span_str(names[taken_back]);
        assert_int_equal(shard_unsubscribe(shard0(), &client->sub, name, RIG_TOLD), 0);
        assert_int_equal(shard_unsubscribe(shard0(), &client->sub, name, RIG_TOLD), -ENOENT);
        rig_close(other);
        rig_run(&rig);
        home_opened(shard0(), span_of(NULL, 0));
        rig_run(&rig);
        assert_int_equal(client->answers, COUNT_OF(names) - 1);
        assert_int_equal(client->sub.subscription_count, COUNT_OF(names) - 1);
        assert_int_equal(other->answers, 0);
        rig_fini(&rig);
    }
}

/* ---- idempotency ---- */

static struct publish_order keyed_order(uint64_t key, uint64_t reply_id)
{
    return (struct publish_order){.name = span_str(channel),
        .payload = span_str("m"),
        .once = {key, key},
        .reply_id = reply_id};
}

static void a_key_used_twice_publishes_once_and_gets_the_same_cursor(void **state)
{
    (void)state;
    start(1);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(rig_order(&rig, 0, keyed_order(i == 3 ? 8 : 7, i)), 0);
        rig_run(&rig);
    }
    assert_int_equal(rig.result_count, 3);
    assert_false(rig.results[0].duplicate);
    assert_true(rig.results[1].duplicate);
    assert_false(rig.results[2].duplicate);
    assert_int_equal(rig.results[0].cursor.offset, 1);
    assert_int_equal(rig.results[1].cursor.offset, 1);
    assert_int_equal(rig.results[2].cursor.offset, 2);
    rig_fini(&rig);
}

static void a_key_is_forgotten_after_ten_minutes(void **state)
{
    (void)state;
    start(1);
    assert_int_equal(rig_order(&rig, 0, keyed_order(7, 1)), 0);
    rig_run(&rig);
    advance(ONCE_AGE_NS / 1000000);
    assert_int_equal(rig_order(&rig, 0, keyed_order(7, 2)), 0);
    rig_run(&rig);
    assert_true(rig.results[1].duplicate);
    advance(2);
    assert_int_equal(rig_order(&rig, 0, keyed_order(7, 3)), 0);
    rig_run(&rig);
    assert_false(rig.results[2].duplicate);
    rig_fini(&rig);
}

static void the_oldest_keys_go_first(void **state)
{
    (void)state;
    struct once once = {0};

    for (uint64_t i = 1; i <= ONCE_MAX + 10; i++) {
        once_add(&once, (uint64_t[2]){i * 0x9e3779b97f4a7c15ull, i}, 0, i, (struct cursor){1, i});
    }
    assert_int_equal(once.entries.count, ONCE_MAX);
    for (uint64_t i = 1; i <= 11; i++) {
        uint64_t key[2] = {i * 0x9e3779b97f4a7c15ull, i};
        const struct once_entry *entry = once_find(&once, key, ONCE_MAX);
        assert_int_equal(entry ? entry->cursor.offset : 0, i > 10 ? i : 0);
    }
    once_fini(&once);
}

static void a_key_from_the_near_future_is_not_old(void **state)
{
    (void)state;
    struct once once = {0};
    const uint64_t key[2] = {5, 6};

    once_add(&once, key, 0, 1000, (struct cursor){1, 3});
    assert_non_null(once_find(&once, key, 999));
    assert_non_null(once_find(&once, key, 1000 + ONCE_AGE_NS));
    assert_null(once_find(&once, key, 1001 + ONCE_AGE_NS));
    once_fini(&once);
}

static void no_key_is_never_remembered(void **state)
{
    (void)state;
    struct once once = {0};
    const uint64_t none[2] = {0, 0};

    once_add(&once, none, 0, 2, (struct cursor){1, 3});
    assert_null(once_find(&once, none, 2));
    once_fini(&once);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(offsets_begin_at_one_and_have_no_holes),
        cmocka_unit_test(history_is_kept_by_count),
        cmocka_unit_test(history_is_kept_by_bytes),
        cmocka_unit_test(the_newest_is_kept_however_large_it_is),
        cmocka_unit_test(history_is_kept_by_age),
        cmocka_unit_test(a_publication_from_the_near_future_is_not_old),
        cmocka_unit_test(history_is_kept_within_the_budget_of_all_channels),
        cmocka_unit_test(the_budget_holds_however_fast_publishers_are),
        cmocka_unit_test(a_tick_goes_on_where_the_last_one_stopped),
        cmocka_unit_test(a_channel_without_history_and_listeners_leaves_only_its_number),
        cmocka_unit_test(history_switched_off_and_on_again_has_no_hole),
        cmocka_unit_test(a_cursor_is_answered_live_replayed_or_reset),
        cmocka_unit_test(begin_replays_all_that_is_kept),
        cmocka_unit_test(what_is_no_cursor_or_of_another_epoch_is_reset),
        cmocka_unit_test(a_new_epoch_resets_the_affected_channels_only),
        cmocka_unit_test(a_channel_emptied_by_a_new_epoch_is_forgotten),
        cmocka_unit_test(a_forgotten_channel_comes_back_above_every_number_it_gave),
        cmocka_unit_test(history_is_cut_at_the_limit_and_says_so),
        cmocka_unit_test(between_replay_and_live_nothing_falls_and_nothing_doubles),
        cmocka_unit_test(interest_is_asked_for_with_the_first_and_given_up_with_the_last),
        cmocka_unit_test(listeners_wait_until_the_broker_feeds_the_channel),
        cmocka_unit_test(each_request_that_waits_can_be_taken_back_alone),
        cmocka_unit_test(a_key_used_twice_publishes_once_and_gets_the_same_cursor),
        cmocka_unit_test(a_key_from_the_near_future_is_not_old),
        cmocka_unit_test(a_key_is_forgotten_after_ten_minutes),
        cmocka_unit_test(the_oldest_keys_go_first),
        cmocka_unit_test(no_key_is_never_remembered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
