#include "conn/target.h"

#include <errno.h>
#include <string.h>

#include "base/mem.h"
#include "tests/support/unit.h"

enum { MANY = 3 };

static int read_query(struct target *target, const char *query)
{
    *target = (struct target){0};
    return target_read(target, span_str(query), MANY);
}

static void assert_channel(const struct target *target, uint32_t i, const char *name, int since)
{
    assert_true(i < target->count);
    assert_true(span_equal(target_name(target, i), span_str(name)));
    assert_int_equal(target->channels[i].since.kind, since);
}

static void each_kind_is_told_by_its_parameter(void **state)
{
    (void)state;
    struct target target;

    assert_int_equal(read_query(&target, "username=bob%40example.com"), 0);
    assert_int_equal(target.kind, TARGET_USER);
    assert_channel(&target, 0, "user:bob@example.com", SINCE_NONE);
    target_fini(&target);
    assert_int_equal(read_query(&target, "room=a+b&client_id=%C3%BC&x=1"), 0);
    assert_int_equal(target.kind, TARGET_ROOM);
    assert_channel(&target, 0, "room:a b", SINCE_NONE);
    assert_int_equal(target.client_id.len, 2);
    target_fini(&target);
    assert_int_equal(read_query(&target, "channel=a:x&channel=b:y"), 0);
    assert_int_equal(target.kind, TARGET_CHANNELS);
    assert_channel(&target, 1, "b:y", SINCE_NONE);
    target_fini(&target);
    assert_int_equal(read_query(&target, ""), 0);
    assert_int_equal(target.kind, TARGET_NONE);
    target_fini(&target);
}

static void cursors_belong_to_the_channels_in_their_order(void **state)
{
    (void)state;
    struct target target;

    assert_int_equal(
        read_query(&target, "channel=a:x&since=1:5%2C-,begin&channel=b:y&channel=c:z"), 0);
    assert_channel(&target, 0, "a:x", SINCE_CURSOR);
    assert_int_equal(target.channels[0].since.cursor.offset, 5);
    assert_channel(&target, 1, "b:y", SINCE_NONE);
    assert_channel(&target, 2, "c:z", SINCE_BEGIN);
    target_fini(&target);
    assert_int_equal(read_query(&target, "channel=a:x&channel=b:y&since=begin"), 0);
    assert_channel(&target, 1, "b:y", SINCE_BEGIN);
    target_fini(&target);
    assert_int_equal(read_query(&target, "username=u&since=nonsense"), 0);
    assert_channel(&target, 0, "user:u", SINCE_BAD);
    target_fini(&target);
}

static void what_cannot_be_meant_is_refused_with_a_sentence(void **state)
{
    static const struct {
        const char *query, *code;
    } rows[] = {
        {"username=", "bad_query"},
        {"room=", "bad_query"},
        {"username=a&room=b", "bad_query"},
        {"username=a&username=b", "bad_query"},
        {"channel=a:x&username=b", "bad_query"},
        {"channel=nocolon", "bad_channel"},
        {"channel=a:", "bad_channel"},
        {"channel=A:x", "bad_channel"},
        {"channel=a:%ff", "bad_channel"},
        {"channel=a:%0a", "bad_channel"},
        {"username=%zz", "bad_query"},
        {"channel=a:x&channel=a:x", "bad_query"},
        {"channel=a:1&channel=a:2&channel=a:3&channel=a:4", "bad_query"},
        {"room=a&client_id=%ff", "bad_query"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct target target;
        assert_int_equal(read_query(&target, rows[i].query), -EINVAL);
        assert_true(strlen(target.why) > 10);
        assert_string_equal(target.code, rows[i].code);
        target_fini(&target);
    }
}

static void names_may_have_255_bytes_and_not_one_more(void **state)
{
    char query[300] = "username=";
    struct target target;
    (void)state;
    memset(query + 9, 'x', 255);
    assert_int_equal(read_query(&target, query), 0);
    target_fini(&target);
    query[9 + 255] = 'x';
    assert_int_equal(read_query(&target, query), -EINVAL);
    target_fini(&target);
}

static void the_last_event_id_beats_since(void **state)
{
    struct target target = {0};

    (void)state;
    assert_int_equal(read_query(&target, "channel=a:x&channel=b:y&since=begin"), 0);
    target_resume(&target, span_str("1:5,-"));
    assert_channel(&target, 0, "a:x", SINCE_CURSOR);
    assert_int_equal(target.channels[0].since.cursor.offset, 5);
    assert_channel(&target, 1, "b:y", SINCE_NONE);
    /* The id of a stream of one channel says nothing of a second one. */
    target_resume(&target, span_str("1:5"));
    assert_channel(&target, 1, "b:y", SINCE_BAD);
    target_fini(&target);
}

static void memory_that_runs_out_is_told(void **state)
{
    (void)state;
    int err = -ENOMEM;

    for (int points = 0; err == -ENOMEM; points++) {
        struct target target;
        assert_true(points < 100);
        mem_fail_after(points);
        err = read_query(&target, "channel=a:x&channel=b:y&channel=c:z&since=begin");
        mem_fail_after(-1);
        target_fini(&target);
    }
    assert_int_equal(err, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_told_by_its_parameter),
        cmocka_unit_test(cursors_belong_to_the_channels_in_their_order),
        cmocka_unit_test(what_cannot_be_meant_is_refused_with_a_sentence),
        cmocka_unit_test(names_may_have_255_bytes_and_not_one_more),
        cmocka_unit_test(the_last_event_id_beats_since),
        cmocka_unit_test(memory_that_runs_out_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
