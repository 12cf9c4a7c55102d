/* Which cursors a durable history takes up again, and which it must not. */
#include "core/history.h"

#include "tests/support/unit.h"

enum { STORE_ID = 0xabc, SERIAL = 3 };

static struct history_bounds bounds_of(void)
{
    return (struct history_bounds){
        .epoch = history_epoch(STORE_ID, SERIAL),
        .epoch_start = history_start(5),
        .generation = 7,
        .first = history_start(6) + 11,
        .last = history_start(7) + 2,
        .boundary = history_start(6) + 10,
    };
}

static bool continues(const struct history_bounds *bounds, uint64_t offset)
{
    return history_continues(bounds, (struct cursor){bounds->epoch, offset});
}

static void a_record_that_is_there_can_be_continued_from(void **state)
{
    (void)state;
    struct history_bounds bounds = bounds_of();

    bounds.found = true;
    assert_true(continues(&bounds, history_start(6) + 12));
    assert_true(continues(&bounds, history_start(7) + 2));
}

static void a_number_that_was_lost_in_a_crash_cannot(void **state)
{
    (void)state;
    struct history_bounds bounds = bounds_of();

    assert_false(continues(&bounds, history_start(6) + 500));
    assert_false(continues(&bounds, history_start(7) + 3));
    assert_false(continues(&bounds, history_start(6) + 9));
    assert_false(continues(&bounds, 0));
}

static void the_trim_boundary_can(void **state)
{
    (void)state;
    struct history_bounds bounds = bounds_of();

    assert_true(continues(&bounds, history_start(6) + 10));
}

static void a_generations_start_can_unless_something_after_it_is_gone(void **state)
{
    (void)state;
    struct history_bounds bounds = bounds_of();

    assert_true(continues(&bounds, history_start(7)));
    assert_false(continues(&bounds, history_start(6))); /* 6:1 to 6:10 were trimmed. */
    assert_false(continues(&bounds, history_start(8))); /* There was no such generation. */
    bounds.boundary = 0;
    assert_true(continues(&bounds, history_start(6)));
    assert_true(continues(&bounds, history_start(5)));
    assert_false(continues(&bounds, history_start(4))); /* Before this epoch. */
    bounds.known_from = history_start(6) + 1;
    assert_false(continues(&bounds, history_start(6))); /* Nobody knows what was trimmed then. */
    assert_true(continues(&bounds, history_start(7)));
}

static void another_epochs_cursor_cannot(void **state)
{
    (void)state;
    struct history_bounds bounds = bounds_of();
    struct cursor cursor = {history_epoch(STORE_ID, SERIAL - 1), history_start(6) + 10};

    bounds.found = true;
    assert_false(history_continues(&bounds, cursor));
    cursor.epoch = history_epoch(STORE_ID + 1, SERIAL);
    assert_false(history_continues(&bounds, cursor));
    cursor.epoch = history_epoch(STORE_ID, SERIAL);
    assert_true(history_continues(&bounds, cursor));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_that_is_there_can_be_continued_from),
        cmocka_unit_test(a_number_that_was_lost_in_a_crash_cannot),
        cmocka_unit_test(the_trim_boundary_can),
        cmocka_unit_test(a_generations_start_can_unless_something_after_it_is_gone),
        cmocka_unit_test(another_epochs_cursor_cannot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
