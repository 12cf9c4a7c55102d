#include "link/redis_history.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <string.h>

static void assert_span(struct span got, const char *expected)
{
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.data, expected, got.len);
}

static void names_have_one_hash_tag(void **state)
{
    (void)state;
    static const struct {
        const char *channel, *stream;
    } rows[] = {
        {"user:alice", "fanout:history:{user:alice}"},
        {"a:x{y}z", "fanout:history:{a:x%7By%7Dz}"},
        {"a:}", "fanout:history:{a:%7D}"},
        {"a:100%", "fanout:history:{a:100%25}"},
    };
    struct redis_key key;
    char channel[320];
    size_t len;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct span name = span_str(rows[i].channel);
        assert_int_equal(redis_history_key(REDIS_KEY_STREAM, name, span_of(NULL, 0), &key), 0);
        assert_span(span_of(key.text, key.len), rows[i].stream);
        assert_int_equal(redis_history_key(REDIS_KEY_PUB, name, span_of(NULL, 0), &key), 0);
        assert_int_equal(
            redis_history_channel(span_of(key.text, key.len), channel, sizeof(channel), &len), 0);
        assert_span(span_of(channel, len), rows[i].channel);
    }
    assert_int_equal(redis_history_key(REDIS_KEY_ONCE, span_str("a:x"), span_str("k}"), &key), 0);
    assert_span(span_of(key.text, key.len), "fanout:once:{a:x}k}");
}

static void the_longest_name_has_room(void **state)
{
    (void)state;
    char name[320];
    struct redis_key key;

    memset(name, '{', sizeof(name)); /* 64 bytes of namespace, ':', 255 of the rest. */
    assert_int_equal(
        redis_history_key(REDIS_KEY_ONCE, span_of(name, sizeof(name)), span_of(name, 40), &key), 0);
    char too_long[400];
    memset(too_long, '{', sizeof(too_long));
    assert_int_equal(redis_history_key(REDIS_KEY_STREAM, span_of(too_long, sizeof(too_long)),
                         span_of(NULL, 0), &key),
        -EINVAL);
}

static void other_names_are_none_of_ours(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int result;
    } rows[] = {
        {"fanout:ch:a:x", -ENOENT},
        {"fanout:pub:", -ENOENT},
        {"fanout:pub:a:x", -EINVAL},
        {"fanout:pub:{a:x", -EINVAL},
        {"fanout:pub:{a:x}y", -EINVAL},
        {"fanout:pub:{a:{}", -EINVAL},
        {"fanout:pub:{a:%7b}", -EINVAL},
        {"fanout:pub:{a:%2}", -EINVAL},
    };
    char channel[320];
    size_t len;

    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_int_equal(
            redis_history_channel(span_str(rows[i].name), channel, sizeof(channel), &len),
            rows[i].result);
    }
    assert_int_equal(
        redis_history_channel(span_str("fanout:pub:{a:xyz}"), channel, 2, &len), -EINVAL);
}

static void a_message_is_cursor_and_payload(void **state)
{
    (void)state;
    struct redis_cursor cursor;
    struct span payload;

    assert_int_equal(redis_history_split(span_str("10:42\na\nb"), &cursor, &payload), 0);
    assert_int_equal(cursor.epoch, 36);
    assert_int_equal(cursor.offset, 42);
    assert_span(payload, "a\nb");
    assert_int_equal(redis_history_split(span_str("z:9007199254740991\n"), &cursor, &payload), 0);
    assert_int_equal(payload.len, 0);
    static const char *const bad[] = {"", "\n", "1:1", ":1\n", "1:\n", "1:0\n", "0:1\n", "A:1\n",
        "1:1 \n", "1:a\n", "1:9007199254740992\n", "zzzzzzzzzzzzzz:1\n", "1:1:1\n",
        "1:0000000000000000000000000000000000000001\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(redis_history_split(span_str(bad[i]), &cursor, &payload), -EINVAL);
    }
}

static void the_answer_tells_of_a_duplicate(void **state)
{
    (void)state;
    struct redis_cursor cursor;
    bool duplicate;

    assert_int_equal(redis_history_answer(span_str("$5\r\nab:17\r\n"), &cursor, &duplicate), 0);
    assert_false(duplicate);
    assert_int_equal(cursor.offset, 17);
    assert_int_equal(
        redis_history_answer(span_str("$15\r\nab:17 duplicate\r\n"), &cursor, &duplicate), 0);
    assert_true(duplicate);
    assert_int_equal(cursor.offset, 17);
    static const char *const bad[] = {
        "$-1\r\n", ":17\r\n", "+ab:17\r\n", "$0\r\n\r\n", "$10\r\n duplicate\r\n", "*0\r\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(redis_history_answer(span_str(bad[i]), &cursor, &duplicate), -EINVAL);
    }
}

static void a_page_is_bounds_and_events(void **state)
{
    (void)state;
    static struct redis_page page;

    assert_int_equal(
        redis_history_page(span_str("*10\r\n$2\r\ne1\r\n$1\r\n9\r\n$1\r\n3\r\n$1\r\n1\r\n"
                                    "$1\r\n4\r\n$2\r\n15\r\n$1\r\nx\r\n"
                                    "$1\r\n6\r\n$1\r\n0\r\n$0\r\n\r\n"),
            &page),
        0);
    assert_int_equal(page.epoch, 14 * 36 + 1);
    assert_int_equal(page.last, 9);
    assert_int_equal(page.first, 3);
    assert_true(page.more);
    assert_int_equal(page.count, 2);
    assert_int_equal(page.events[0].offset, 4);
    assert_int_equal(page.events[0].age_ms, 15);
    assert_span(page.events[0].payload, "x");
    assert_int_equal(page.events[1].payload.len, 0);
    static const char *const bad[] = {"$2\r\nok\r\n", "*0\r\n",
        "*4\r\n$1\r\n0\r\n$1\r\n9\r\n$1\r\n3\r\n$1\r\n0\r\n",
        "*4\r\n$1\r\ne\r\n$1\r\n9\r\n$1\r\n3\r\n$1\r\n2\r\n",
        "*5\r\n$1\r\ne\r\n$1\r\n9\r\n$1\r\n3\r\n$1\r\n0\r\n$1\r\n4\r\n",
        /* Offsets beyond the last, below the first, and that do not grow. */
        "*7\r\n$1\r\ne\r\n$1\r\n9\r\n$1\r\n3\r\n$1\r\n0\r\n$2\r\n10\r\n$1\r\n0\r\n$1\r\nx\r\n",
        "*7\r\n$1\r\ne\r\n$1\r\n9\r\n$1\r\n3\r\n$1\r\n0\r\n$1\r\n2\r\n$1\r\n0\r\n$1\r\nx\r\n",
        "*10\r\n$1\r\ne\r\n$1\r\n9\r\n$1\r\n3\r\n$1\r\n0\r\n$1\r\n4\r\n$1\r\n0\r\n$1\r\nx\r\n"
        "$1\r\n4\r\n$1\r\n0\r\n$1\r\nx\r\n"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(redis_history_page(span_str(bad[i]), &page), -EINVAL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_one_hash_tag),
        cmocka_unit_test(the_longest_name_has_room),
        cmocka_unit_test(other_names_are_none_of_ours),
        cmocka_unit_test(a_message_is_cursor_and_payload),
        cmocka_unit_test(the_answer_tells_of_a_duplicate),
        cmocka_unit_test(a_page_is_bounds_and_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
