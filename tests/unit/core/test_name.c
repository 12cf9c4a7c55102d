#include "core/name.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"

static void good_names_are_taken(void **state)
{
    static const char *const names[] = {"room:lobby", "a:b", "user:bob@example.com",
        "user:J\xc3\xbcrgen", "x_y-9::", "room:a b", "run:\xf0\x9f\x98\x80", "room:\xc2\xa0"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_null(name_check(span_str(names[i])));
    }
}

static void bad_names_are_refused_with_a_sentence(void **state)
{
    static const char *const names[] = {"", ":", "room", "room:", ":x", "Room:x", "ro om:x",
        "room:\n", "room:\x7f", "room:\xc2\x85", "room:\xff", "room:\xc3", "r\xc3\xb6om:x",
        "room:\xed\xa0\x80"};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_non_null(name_check(span_str(names[i])));
    }
    assert_non_null(name_check(span_of("room:\0x", 7)));
}

static void lengths_are_exact(void **state)
{
    char name[NAME_MAX_BYTES + 2];
    (void)state;
    for (int ns = 63; ns <= 65; ns++) {
        for (int rest = 254; rest <= 256; rest++) {
            memset(name, 'a', sizeof(name));
            name[ns] = ':';
            bool good = ns <= NAME_NAMESPACE_MAX && rest <= NAME_REST_MAX;
            struct span span = span_of(name, (size_t)(ns + 1 + rest));
            assert_int_equal(!name_check(span), good);
            assert_int_equal(name_namespace(span).len, ns);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_names_are_taken),
        cmocka_unit_test(bad_names_are_refused_with_a_sentence),
        cmocka_unit_test(lengths_are_exact),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
