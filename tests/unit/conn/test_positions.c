#include "conn/positions.h"

#include "base/mem.h"
#include "conn/target.h"
#include "core/mail.h"
#include "tests/support/unit.h"

static const struct hash_key key = {1, 2};

static struct positions *positions_of(const char *query)
{
    struct target target = {0};

    assert_int_equal(target_read(&target, span_str(query), 100), 0);
    struct positions *positions = positions_create(&key, &target);
    target_fini(&target);
    return positions;
}

static uint64_t hash(const char *name)
{
    return hash_bytes(&key, name, strlen(name));
}

static void assert_list(const struct positions *positions, const char *want)
{
    struct bytes out = {0};

    assert_int_equal(positions_append(&out, positions), 0);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data, want, out.len);
    bytes_fini(&out);
}

static void cursors_stand_in_the_order_of_the_request(void **state)
{
    struct positions *p = positions_of("channel=b:y&channel=a:x");

    (void)state;
    assert_int_equal(p->unanswered, 2);
    positions_set(p, span_str("a:x"), SUBSCRIBE_REPLAYED, (struct cursor){36, 5});
    assert_int_equal(p->unanswered, 1);
    positions_set(p, span_str("b:y"), SUBSCRIBE_LIVE, (struct cursor){37, 0});
    assert_int_equal(p->unanswered, 0);
    assert_list(p, "11:0,10:5");
    assert_int_equal(positions_state(p), SUBSCRIBE_REPLAYED);
    positions_set(p, span_str("other:z"), SUBSCRIBE_RESET, (struct cursor){1, 1});
    assert_list(p, "11:0,10:5");
    positions_free(p);
}

static void a_position_moves_on_and_never_back(void **state)
{
    struct positions *p = positions_of("channel=a:x&channel=b:y");

    (void)state;
    positions_set(p, span_str("a:x"), SUBSCRIBE_LIVE, (struct cursor){36, 5});
    positions_set(p, span_str("b:y"), SUBSCRIBE_LIVE, (struct cursor){36, 5});
    p->changed = false;
    positions_reach(p, hash("a:x"), 4);
    positions_reach(p, hash("c:z"), 9);
    assert_false(p->changed);
    positions_reach(p, hash("b:y"), 8);
    assert_true(p->changed);
    assert_list(p, "10:5,10:8");
    /* A new epoch counts from where it says. */
    positions_set(p, span_str("b:y"), SUBSCRIBE_RESET, (struct cursor){37, 2});
    assert_list(p, "10:5,11:2");
    positions_free(p);
}

static void they_move_as_bytes_and_damage_is_noticed(void **state)
{
    struct positions *p = positions_of("channel=a:x&channel=b:longer");
    struct bytes bytes = {0};
    struct pack out = {.out = &bytes};

    (void)state;
    positions_set(p, span_str("b:longer"), SUBSCRIBE_REPLAYED, (struct cursor){36, 5});
    positions_export(p, &out);
    assert_int_equal(out.err, 0);
    positions_free(p);
    struct unpack in = {.rest = span_of(bytes.data, bytes.len)};
    p = positions_import(&key, &in);
    assert_non_null(p);
    assert_int_equal(in.rest.len, 0);
    assert_true(p->changed);
    assert_int_equal(p->unanswered, 1);
    positions_reach(p, hash("b:longer"), 6);
    assert_true(span_equal(positions_name(p, 1), span_str("b:longer")));
    assert_int_equal(positions_find(p, span_str("b:longer"))->cursor.offset, 6);
    positions_free(p);
    for (size_t len = 0; len < bytes.len; len++) {
        struct unpack part = {.rest = span_of(bytes.data, len)};
        assert_null(positions_import(&key, &part));
        assert_true(part.failed);
    }
    bytes_fini(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cursors_stand_in_the_order_of_the_request),
        cmocka_unit_test(a_position_moves_on_and_never_back),
        cmocka_unit_test(they_move_as_bytes_and_damage_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
