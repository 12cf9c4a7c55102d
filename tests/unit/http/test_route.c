#include "http/route.h"

#include <string.h>

#include "tests/support/unit.h"

static void a(struct http_exchange *x)
{
    (void)x;
}

static void b(struct http_exchange *x)
{
    (void)x;
}

static const struct route rows[] = {
    {"/health", ROUTE_GET, a},
    {"/channels/{}", ROUTE_POST, a},
    {"/channels/{}", ROUTE_DELETE, b},
    {"/channels/{}/history", ROUTE_GET, b},
    {"/", ROUTE_GET, b},
    {0},
};

static struct route_match find(enum http_method method, const char *path)
{
    return route_find(rows, method, span_str(path));
}

static void a_path_finds_its_row(void **state)
{
    (void)state;
    assert_ptr_equal(find(HTTP_METHOD_GET, "/health").route, &rows[0]);
    assert_ptr_equal(find(HTTP_METHOD_HEAD, "/health").route, &rows[0]);
    assert_ptr_equal(find(HTTP_METHOD_GET, "/").route, &rows[4]);
    assert_ptr_equal(find(HTTP_METHOD_POST, "/channels/x").route, &rows[1]);
    assert_ptr_equal(find(HTTP_METHOD_DELETE, "/channels/x").route, &rows[2]);
}

static void a_segment_of_any_content_is_handed_over_raw(void **state)
{
    (void)state;
    struct route_match found = find(HTTP_METHOD_GET, "/channels/room%3Ax%2fy/history");

    assert_ptr_equal(found.route, &rows[3]);
    assert_true(span_equal(found.params[0], span_str("room%3Ax%2fy")));
}

static void nothing_but_the_whole_path_matches(void **state)
{
    static const char *const paths[] = {"/healthz", "/health/", "//health", "/health/x", "health",
        "/channels", "/channels/", "/channels//history", "/channels/x/history/", "/Health", ""};
    (void)state;
    for (size_t i = 0; i < COUNT_OF(paths); i++) {
        struct route_match found = find(HTTP_METHOD_GET, paths[i]);
        assert_null(found.route);
        assert_int_equal(found.methods, 0);
    }
}

static void another_method_is_told_which_are_served(void **state)
{
    (void)state;
    char allow[64];
    struct route_match found = find(HTTP_METHOD_PUT, "/channels/x");

    assert_null(found.route);
    size_t len = route_allow(found.methods, allow, sizeof(allow));
    assert_int_equal(len, strlen("POST, DELETE"));
    assert_memory_equal(allow, "POST, DELETE", len);
    len = route_allow(find(HTTP_METHOD_POST, "/health").methods, allow, sizeof(allow));
    assert_memory_equal(allow, "GET, HEAD", len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_path_finds_its_row),
        cmocka_unit_test(a_segment_of_any_content_is_handed_over_raw),
        cmocka_unit_test(nothing_but_the_whole_path_matches),
        cmocka_unit_test(another_method_is_told_which_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
