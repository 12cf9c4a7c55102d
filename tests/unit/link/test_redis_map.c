#include "link/redis_map.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <stdio.h>

static struct redis_map *make(const struct redis_mapping *rows, size_t count)
{
    struct redis_map *map = NULL;
    char err[256] = "";

    if (redis_map_create(rows, count, &map, err, sizeof(err)) != 0) {
        fail_msg("%s", err);
    }
    return map;
}

static void refused(const struct redis_mapping *rows, size_t count, const char *word)
{
    struct redis_map *map = NULL;
    char err[256] = "";

    assert_int_equal(redis_map_create(rows, count, &map, err, sizeof(err)), -EINVAL);
    assert_null(map);
    assert_non_null(strstr(err, rows[0].pattern));
    if (!strstr(err, word)) {
        fail_msg("\"%s\" does not mention \"%s\"", err, word);
    }
}

static void both_ways(
    const struct redis_map *map, const char *redis, const char *ours, enum redis_map_kind expected)
{
    struct redis_name name;
    enum redis_map_kind kind;

    assert_int_equal(redis_map_in(map, span_str(redis), &name, &kind), 0);
    assert_true(span_equal(span_of(name.text, name.len), span_str(ours)));
    assert_int_equal(kind, expected);
    assert_int_equal(redis_map_out(map, span_str(ours), &name, &kind), 0);
    assert_true(span_equal(span_of(name.text, name.len), span_str(redis)));
    assert_int_equal(kind, expected);
}

static int in(const struct redis_map *map, const char *redis)
{
    struct redis_name name;
    enum redis_map_kind kind;

    return redis_map_in(map, span_str(redis), &name, &kind);
}

static void built_in_names_map_both_ways(void **state)
{
    (void)state;
    struct redis_map *map = make(NULL, 0);

    both_ways(map, "workflow:events:bob@example.com", "user:bob@example.com", REDIS_MAP_RAW);
    both_ways(map, "workflow:events:a:b*?[c]", "user:a:b*?[c]", REDIS_MAP_RAW);
    both_ways(map, "room:42", "room:42", REDIS_MAP_ROOM);
    both_ways(map, "fanout:ch:run:7f3", "run:7f3", REDIS_MAP_RAW);
    assert_int_equal(redis_map_pattern_count(map), 3);
    assert_string_equal(redis_map_pattern(map, 0), "workflow:events:*");
    redis_map_destroy(map);
}

static void a_user_of_255_bytes_fits_and_one_of_256_does_not(void **state)
{
    (void)state;
    struct redis_map *map = make(NULL, 0);
    char redis[300], ours[300], tail[257] = "";

    for (int i = 0; i < 127; i++) {
        strcat(tail, "\xc3\xa4"); /* 127 x 2 bytes. */
    }
    strcat(tail, "x");
    snprintf(redis, sizeof(redis), "workflow:events:%s", tail);
    snprintf(ours, sizeof(ours), "user:%s", tail);
    both_ways(map, redis, ours, REDIS_MAP_RAW);

    strcat(redis, "y");
    assert_int_equal(in(map, redis), -EINVAL);
    redis_map_destroy(map);
}

static void tails_that_make_no_channel_are_refused(void **state)
{
    (void)state;
    struct redis_map *map = make(NULL, 0);
    struct redis_name name;
    enum redis_map_kind kind;

    assert_int_equal(in(map, "workflow:events:"), -EINVAL);
    assert_int_equal(in(map, "workflow:events:\xff"), -EINVAL);
    assert_int_equal(in(map, "workflow:events:a\nb"), -EINVAL);
    assert_int_equal(in(map, "workflow:events:\x7f"), -EINVAL);
    assert_int_equal(in(map, "workflow:events:\xc2\x85"), -EINVAL);
    assert_int_equal(in(map, "fanout:ch:nocolon"), -EINVAL);
    assert_int_equal(in(map, "fanout:ch:Upper:x"), -EINVAL);
    assert_int_equal(redis_map_in(map, span_of("room:a\0b", 8), &name, &kind), -EINVAL);
    assert_int_equal(redis_map_out(map, span_str("nocolon"), &name, &kind), -EINVAL);
    assert_int_equal(redis_map_out(map, span_of(NULL, 0), &name, &kind), -EINVAL);
    redis_map_destroy(map);
}

static void a_second_name_of_a_channel_is_not_ours(void **state)
{
    (void)state;
    struct redis_map *map = make(NULL, 0);

    assert_int_equal(in(map, "fanout:ch:user:bob"), -ENOENT);
    assert_int_equal(in(map, "fanout:ch:room:1"), -ENOENT);
    assert_int_equal(in(map, "something:else"), -ENOENT);
    assert_int_equal(in(map, ""), -ENOENT);
    redis_map_destroy(map);
}

static void configured_rows_come_on_top(void **state)
{
    (void)state;
    const struct redis_mapping rows[] = {
        {"orders:*:events", "order:{1}", REDIS_MAP_RAW},
        {"news", "news:all", REDIS_MAP_RAW},
        {"lobby:*", "lobby:x-{1}-y", REDIS_MAP_ROOM},
    };
    struct redis_map *map = make(rows, 3);

    both_ways(map, "orders:17:events", "order:17", REDIS_MAP_RAW);
    both_ways(map, "news", "news:all", REDIS_MAP_RAW);
    both_ways(map, "lobby:1", "lobby:x-1-y", REDIS_MAP_ROOM);
    both_ways(map, "fanout:ch:lobby:1", "lobby:1", REDIS_MAP_RAW);
    both_ways(map, "fanout:ch:news:other", "news:other", REDIS_MAP_RAW);
    assert_int_equal(in(map, "newspaper"), -ENOENT);
    assert_int_equal(in(map, "orders::events"), -EINVAL);
    redis_map_destroy(map);
}

static void a_row_may_replace_a_built_in_one(void **state)
{
    (void)state;
    const struct redis_mapping rows[] = {{"room:*", "room:{1}", REDIS_MAP_RAW}};
    struct redis_map *map = make(rows, 1);

    both_ways(map, "room:1", "room:1", REDIS_MAP_RAW);
    assert_int_equal(redis_map_pattern_count(map), 3);
    redis_map_destroy(map);
}

static void rows_that_would_deliver_twice_are_refused(void **state)
{
    (void)state;
    const struct redis_mapping wide[] = {{"workflow:*", "flow:{1}", REDIS_MAP_RAW}};
    const struct redis_mapping all[] = {{"*", "all:{1}", REDIS_MAP_RAW}};
    const struct redis_mapping twins[] = {
        {"a:*", "x:{1}", REDIS_MAP_RAW}, {"a:b", "y:b", REDIS_MAP_RAW}};
    const struct redis_mapping same_goal[] = {
        {"a:*", "x:{1}", REDIS_MAP_RAW}, {"b:*", "x:{1}", REDIS_MAP_RAW}};
    const struct redis_mapping fallback[] = {{"fanout:*", "f:{1}", REDIS_MAP_RAW}};

    refused(wide, 1, "workflow:events:*");
    refused(all, 1, "overlaps");
    refused(twins, 2, "pattern overlaps");
    refused(same_goal, 2, "channel overlaps");
    refused(fallback, 1, "fanout:ch:*");
}

static void rows_nobody_can_follow_are_refused(void **state)
{
    (void)state;
    const struct redis_mapping stars[] = {{"a:*:*", "x:{1}", REDIS_MAP_RAW}};
    const struct redis_mapping glob[] = {{"a:[ab]", "x:y", REDIS_MAP_RAW}};
    const struct redis_mapping no_hole[] = {{"a:*", "x:y", REDIS_MAP_RAW}};
    const struct redis_mapping no_star[] = {{"a:b", "x:{1}", REDIS_MAP_RAW}};
    const struct redis_mapping no_namespace[] = {{"a:*", "{1}", REDIS_MAP_RAW}};
    const struct redis_mapping holes[] = {{"a:*", "x:{1}{1}", REDIS_MAP_RAW}};

    refused(stars, 1, "one '*'");
    refused(glob, 1, "wildcard");
    refused(no_hole, 1, "{1}");
    refused(no_star, 1, "{1}");
    refused(no_namespace, 1, "namespace");
    refused(holes, 1, "once");
}

static void overlap_is_judged_by_what_both_can_match(void **state)
{
    (void)state;
    assert_true(redis_pattern_overlap("a:*", "a:b:*"));
    assert_true(redis_pattern_overlap("a:*", "*:z"));
    assert_true(redis_pattern_overlap("a:*", "a:b"));
    assert_true(redis_pattern_overlap("a", "a"));
    assert_false(redis_pattern_overlap("a:*", "b:*"));
    assert_false(redis_pattern_overlap("a:*:x", "a:*:y"));
    assert_false(redis_pattern_overlap("a:*", "a"));
    assert_false(redis_pattern_overlap("ab*ba", "aba"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(built_in_names_map_both_ways),
        cmocka_unit_test(a_user_of_255_bytes_fits_and_one_of_256_does_not),
        cmocka_unit_test(tails_that_make_no_channel_are_refused),
        cmocka_unit_test(a_second_name_of_a_channel_is_not_ours),
        cmocka_unit_test(configured_rows_come_on_top),
        cmocka_unit_test(a_row_may_replace_a_built_in_one),
        cmocka_unit_test(rows_that_would_deliver_twice_are_refused),
        cmocka_unit_test(rows_nobody_can_follow_are_refused),
        cmocka_unit_test(overlap_is_judged_by_what_both_can_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
