/* Views: filters by type, events gathered into bundles, and that neither changes what is owed. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/channel.h"
#include "core/filter.h"
#include "core/home.h"
#include "core/view.h"
#include "tests/support/core_rig.h"
#include "tests/support/unit.h"

static struct rig rig;

static const char *check(const char *text)
{
    return filter_check(span_str(text));
}

static void a_filter_is_names_and_beginnings_of_names(void **state)
{
    char many[200] = "a";
    (void)state;
    assert_null(check(""));
    assert_null(check("node_failed"));
    assert_null(check("node_failed,workflow_*,*"));
    assert_non_null(check(","));
    assert_non_null(check("a,"));
    assert_non_null(check(",a"));
    assert_non_null(check("a,,b"));
    assert_non_null(check("*a"));
    assert_non_null(check("a*b,c"));
    assert_non_null(check("a**"));
    for (int i = 1; i < 32; i++) {
        strcat(many, ",a");
    }
    assert_null(check(many));
    strcat(many, ",a");
    assert_non_null(check(many));
    assert_null(check("1234567890123456789012345678901234567890123456789012345678901234"));
    assert_non_null(check("12345678901234567890123456789012345678901234567890123456789012345"));
}

static void a_type_passes_when_a_name_fits(void **state)
{
    static const struct {
        const char *filter, *type;
        bool passes;
    } rows[] = {
        {"a", "a", true},
        {"a", "ab", false},
        {"ab", "a", false},
        {"a*", "a", true},
        {"a*", "abc", true},
        {"a*", "b", false},
        {"b,a*", "ab", true},
        {"*", "x", true},
        {"*", "", false},
        {"a", "", false},
        {"workflow_*,node_failed", "node_failed", true},
        {"workflow_*,node_failed", "node_completed", false},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        bool passes = filter_match(span_str(rows[i].filter), span_str(rows[i].type));
        assert_int_equal(passes, rows[i].passes);
    }
}

static void a_type_is_the_top_level_string_member(void **state)
{
    static const struct {
        const char *payload, *type;
    } rows[] = {
        {"{\"type\":\"a\"}", "a"},
        {" { \"x\" : {\"type\":\"b\"}, \"type\" : \"a\" } ", "a"},
        {"{\"type\":\"a\\u0062\\n\"}", "ab\n"},
        {"{\"type\":7}", ""},
        {"{\"x\":{\"type\":\"b\"}}", ""},
        {"[\"type\",\"a\"]", ""},
        {"\"type\"", ""},
        {"no json", ""},
        {"", ""},
        {"{\"type\":\"a\",\"type\":\"b\"}", ""},
        {"{\"type\":\"a\"} x", ""},
        {"{\"type\":\"\"}", ""},
    };
    struct bytes scratch = {0};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span type = filter_type(span_str(rows[i].payload), &scratch);
        assert_int_equal(type.len, strlen(rows[i].type));
        assert_memory_equal(type.len ? (const char *)type.data : "", rows[i].type, type.len);
    }
    bytes_fini(&scratch);
}

static void equal_views_are_one_and_go_with_their_last_user(void **state)
{
    const struct hash_key key = {1, 2};
    struct views views = {0};
    (void)state;
    assert_int_equal(view_get(&views, &key, span_str(""), 0), 0);
    int a = view_get(&views, &key, span_str("a"), 0), b = view_get(&views, &key, span_str("a"), 50);
    assert_true(a > 0 && b > 0 && a != b);
    assert_int_equal(view_get(&views, &key, span_str("a"), 0), a);
    assert_int_equal(view_batch_ms(&views, (uint16_t)b), 50);
    assert_int_equal(view_types(&views, (uint16_t)b).len, 1);
    view_unref(&views, (uint16_t)a);
    assert_non_null(view_at(&views, (uint16_t)a));
    view_unref(&views, (uint16_t)a);
    view_unref(&views, (uint16_t)b);
    assert_int_equal(views.table.count, 0);
    assert_int_equal(view_get(&views, &key, span_str("c"), 0), a); /* Numbers are used again. */
    views_fini(&views);
}

static void so_many_views_and_no_more(void **state)
{
    const struct hash_key key = {1, 2};
    struct views views = {0};
    char text[16];
    (void)state;
    for (int i = 1; i <= UINT16_MAX; i++) {
        snprintf(text, sizeof(text), "%d", i);
        assert_true(view_get(&views, &key, span_str(text), 0) > 0);
    }
    assert_int_equal(view_get(&views, &key, span_str("x"), 0), -ENFILE);
    view_unref(&views, 4711);
    assert_int_equal(view_get(&views, &key, span_str("x"), 0), 4711);
    views_fini(&views);
}

/* ---- in a shard ---- */

static struct shard *shard0(void)
{
    return rig.shards[0].shard;
}

static struct rig_client *follow(const char *types, uint16_t batch_ms, const char *since)
{
    struct rig_client *client = rig_client(&rig, 0);
    const struct shard_asked asked = {.name = span_str("room:x"),
        .framing = RIG_TOLD,
        .since = since_parse(span_str(since)),
        .types = span_str(types),
        .batch_ms = batch_ms};
    uint64_t id;

    assert_int_equal(shard_subscribe_from(shard0(), &client->sub, &asked, &id), 0);
    rig_run(&rig);
    return client;
}

static void publish(const char *payload)
{
    assert_int_equal(rig_publish(&rig, 0, "room:x", payload), 0);
    rig_run(&rig);
}

static void pass(uint64_t ms)
{
    rig.now_ns += ms * 1000000;
    shard_begin_turn(shard0(), rig.now_ns);
    rig_run(&rig);
}

static void start(void)
{
    rig_init(&rig, 1);
    rig_start(&rig);
}

static void only_what_passes_is_delivered_and_owed(void **state)
{
    (void)state;
    start();
    struct rig_client *all = follow("", 0, ""), *some = follow("a,b*", 0, "");
    publish("{\"type\":\"a\"}");
    publish("{\"type\":\"c\"}");
    publish("no json");
    publish("{\"type\":\"bb\"}");
    assert_int_equal(all->sub.delivered, 4);
    assert_string_equal(rig_sent(some), "1={\"type\":\"a\"};4={\"type\":\"bb\"};");
    assert_int_equal(rig_books(some).accepted, 2);
    struct rig_client *later = follow("a,b*", 0, "begin");
    assert_string_equal(rig_sent(later), rig_sent(some));
    rig_check_books(&rig);
    rig_fini(&rig);
}

/* The offset of the client's place, or 0. */
static uint64_t place(struct rig_client *client)
{
    uint64_t hash;
    struct cursor cursor;

    assert_int_equal(client->sub.subscription_count, 1);
    return shard_place(rig.shards[client->shard].shard, &client->sub, 0, &hash, &cursor)
               ? cursor.offset
               : 0;
}

static void a_filtered_place_moves_with_the_channel(void **state)
{
    (void)state;
    start();
    publish("{\"type\":\"c\"}");
    struct rig_client *all = follow("", 0, "begin"), *some = follow("a", 0, "begin");
    assert_int_equal(place(some), 1); /* What was replayed did not fit. */
    publish("{\"type\":\"b\"}");
    assert_int_equal(place(some), 2);
    publish("{\"type\":\"a\"}");
    publish("{\"type\":\"b\"}");
    assert_int_equal(place(some), 4);
    assert_string_equal(rig_sent(some), "3={\"type\":\"a\"};");
    assert_int_equal(place(all), 0); /* Its events say so. */
    home_new_epoch(shard0(), span_str("room:x"));
    rig_run(&rig);
    publish("{\"type\":\"b\"}");
    assert_int_equal(place(some), 5);
    rig_fini(&rig);
}

/* The reader was told of the gap: an older cursor behind that would take it back. */
static void a_filtered_place_is_behind_what_was_declared_lost(void **state)
{
    (void)state;
    start();
    struct rig_client *some = follow("a", 0, "");
    publish("{\"type\":\"b\"}");
    assert_int_equal(place(some), 1);
    class_append_lost(shard0(), some->sub.first.class, 2, 4, 3);
    rig_run(&rig);
    assert_int_equal(place(some), 4);
    rig_fini(&rig);
}

/* Whoever came back with such a cursor would miss what is still under way. */
static void a_place_is_not_told_while_something_is_on_the_way(void **state)
{
    (void)state;
    start();
    struct rig_client *slow = follow("a", 0, ""), *packed = follow("a", 1000, "");
    slow->room = 0;
    publish("{\"type\":\"a\"}");
    publish("{\"type\":\"b\"}");
    assert_int_equal(place(slow), 0);
    assert_int_equal(place(packed), 0);
    rig_writable(slow, -1);
    pass(1000);
    assert_int_equal(place(slow), 2);
    assert_int_equal(place(packed), 2);
    rig_transfer(&rig, 2, (struct rig_client *[]){slow, packed}, 2);
    rig_fini(&rig);
}

static void events_are_gathered_until_the_time_is_up(void **state)
{
    (void)state;
    start();
    struct rig_client *plain = follow("", 0, ""), *client = follow("", 60, "");
    publish("1");
    publish("2");
    assert_string_equal(rig_sent(client), "");
    assert_string_equal(rig_sent(plain), "1=1;2=2;");
    assert_int_equal(rig.wake_ms, 50); /* Of the steps, the longest that is no longer. */
    pass(49);
    publish("3");
    assert_string_equal(rig_sent(client), "");
    pass(1);
    assert_string_equal(rig_sent(client), "[1=1,2=2,3=3];");
    publish("4");
    pass(50);
    assert_string_equal(rig_sent(client), "[1=1,2=2,3=3];[4=4];");
    assert_int_equal(rig_books(client).delivered, 2);
    rig_fini(&rig);
}

static void who_comes_late_gets_no_event_twice(void **state)
{
    (void)state;
    start();
    struct rig_client *first = follow("", 100, "");
    publish("1");
    struct rig_client *second = follow("", 100, "begin");
    publish("2");
    pass(100);
    assert_string_equal(rig_sent(first), "[1=1];[2=2];");
    assert_string_equal(rig_sent(second), "[1=1];[2=2];");
    rig_fini(&rig);
}

static void a_replay_is_one_bundle_a_page(void **state)
{
    (void)state;
    start();
    for (int i = 0; i < 5; i++) {
        publish("m");
    }
    assert_string_equal(rig_sent(follow("", 100, "begin")), "[1=m,2=m,3=m,4=m,5=m];");
    rig_fini(&rig);
}

static void the_last_to_leave_takes_the_bundle_along(void **state)
{
    (void)state;
    start();
    struct rig_client *client = follow("", 100, "");
    publish("1");
    assert_int_equal(shard0()->bundles.count, 1);
    rig_close(client);
    assert_int_equal(shard0()->bundles.count, 0);
    rig_run(&rig);
    assert_int_equal(shard0()->views.table.count, 0);
    rig_fini(&rig);
}

static void a_dropped_bundle_is_a_gap_of_all_its_events(void **state)
{
    (void)state;
    start();
    rig.settings.ns[0].outbox_messages = 1;
    struct rig_client *client = follow("", 1, "");
    client->room = 0;
    for (int i = 0; i < 3; i++) {
        publish("a");
        publish("b");
        pass(1);
    }
    rig_writable(client, -1);
    rig_run(&rig);
    assert_string_equal(rig_sent(client), "!room:x 1-4 slow;[5=a,6=b];");
    rig_check_books(&rig);
    rig_fini(&rig);
}

static void a_new_epoch_comes_behind_what_was_gathered(void **state)
{
    (void)state;
    start();
    struct rig_client *client = follow("", 1000, "");
    publish("1");
    home_new_epoch(shard0(), span_str("room:x"));
    rig_run(&rig);
    assert_string_equal(rig_sent(client), "[1=1];");
    assert_int_equal(client->restarts, 1);
    rig_fini(&rig);
}

static void a_view_moves_with_its_subscriber(void **state)
{
    (void)state;
    start();
    struct rig_client *client = follow("a*", 100, "");
    publish("{\"type\":\"a\"}");
    rig_transfer(&rig, 2, &client, 1);
    assert_int_equal(rig_publish(&rig, 0, "room:x", "{\"type\":\"ab\"}"), 0);
    assert_int_equal(rig_publish(&rig, 0, "room:x", "{\"type\":\"b\"}"), 0);
    rig_run(&rig);
    bundles_finish_all(rig.shards[client->shard].shard);
    rig_run(&rig);
    assert_string_equal(rig_sent(client), "[1={\"type\":\"a\"}];[2={\"type\":\"ab\"}];");
    rig_fini(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_filter_is_names_and_beginnings_of_names),
        cmocka_unit_test(a_type_passes_when_a_name_fits),
        cmocka_unit_test(a_type_is_the_top_level_string_member),
        cmocka_unit_test(equal_views_are_one_and_go_with_their_last_user),
        cmocka_unit_test(so_many_views_and_no_more),
        cmocka_unit_test(only_what_passes_is_delivered_and_owed),
        cmocka_unit_test(a_filtered_place_moves_with_the_channel),
        cmocka_unit_test(a_filtered_place_is_behind_what_was_declared_lost),
        cmocka_unit_test(a_place_is_not_told_while_something_is_on_the_way),
        cmocka_unit_test(events_are_gathered_until_the_time_is_up),
        cmocka_unit_test(who_comes_late_gets_no_event_twice),
        cmocka_unit_test(a_replay_is_one_bundle_a_page),
        cmocka_unit_test(the_last_to_leave_takes_the_bundle_along),
        cmocka_unit_test(a_dropped_bundle_is_a_gap_of_all_its_events),
        cmocka_unit_test(a_new_epoch_comes_behind_what_was_gathered),
        cmocka_unit_test(a_view_moves_with_its_subscriber),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
