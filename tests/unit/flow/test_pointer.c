/* JSON pointers find what RFC 6901 says they do, and nothing else. */
#include "flow/pointer.h"

#include "tests/unit/flow/flow_text.h"

static void assert_points(const char *document, const char *pointer, const char *expected)
{
    json_t *root = json_of(document);
    const json_t *found = pointer_get(root, span_str(pointer));

    if (expected) {
        assert_json(json_incref((json_t *)found), expected);
    } else {
        assert_null(found);
    }
    json_decref(root);
}

static void the_examples_of_the_rfc_are_found(void **state)
{
    (void)state;
    json_t *root = json_loads("{\"foo\":[\"bar\",\"baz\"],\"\":0,\"a/b\":1,\"c%d\":2,\"e^f\":3,"
                              "\"g|h\":4,\"i\\\\j\":5,\"k\\\"l\":6,\" \":7,\"m~n\":8}",
        0, NULL);
    const char *const pointers[] = {
        "/", "/a~1b", "/c%d", "/e^f", "/g|h", "/i\\j", "/k\"l", "/ ", "/m~0n"};

    assert_non_null(root);
    assert_ptr_equal(pointer_get(root, span_str("")), root);
    for (size_t i = 0; i < COUNT_OF(pointers); i++) {
        const json_t *found = pointer_get(root, span_str(pointers[i]));
        assert_true(json_is_integer(found));
        assert_int_equal(json_integer_value(found), i);
    }
    assert_string_equal(json_string_value(pointer_get(root, span_str("/foo/1"))), "baz");
    assert_int_equal(json_array_size(pointer_get(root, span_str("/foo"))), 2);
    json_decref(root);
}

static void an_index_has_one_spelling_and_is_within_the_array(void **state)
{
    (void)state;
    const char *ten = "[0,1,2,3,4,5,6,7,8,9,10]";
    assert_points(ten, "/0", "0");
    assert_points(ten, "/10", "10");
    assert_points(ten, "/11", NULL);
    assert_points(ten, "/01", NULL);
    assert_points(ten, "/00", NULL);
    assert_points(ten, "/-", NULL);
    assert_points(ten, "/-1", NULL);
    assert_points(ten, "/+1", NULL);
    assert_points(ten, "/1a", NULL);
    assert_points(ten, "/", NULL);
    assert_points(ten, "/18446744073709551617", NULL); /* 2^64 + 1. */
}

static void a_name_that_looks_like_an_index_is_a_name_in_an_object(void **state)
{
    (void)state;
    assert_points("{'01':'x','-':'y'}", "/01", "'x'");
    assert_points("{'01':'x','-':'y'}", "/-", "'y'");
}

static void nothing_is_within_a_scalar(void **state)
{
    (void)state;
    assert_points("{'a':'text'}", "/a/0", NULL);
    assert_points("{'a':null}", "/a", "null");
    assert_points("{'a':null}", "/a/b", NULL);
    assert_null(pointer_get(NULL, span_str("/a")));
}

static void tildes_are_undone_once(void **state)
{
    (void)state;
    assert_points("{'~1':1,'/':2}", "/~01", "1");
    assert_points("{'~1':1,'/':2}", "/~1", "2");
    assert_points("{'~~':{'//':3}}", "/~0~0/~1~1", "3");
    assert_points("{'a~b':1}", "/a~0", NULL); /* A beginning is not enough. */
}

/* Long names with tildes are found another way. */
static void a_long_name_with_tildes_is_found(void **state)
{
    (void)state;
    char name[400], pointer[500];
    memset(name, 'x', sizeof(name));
    name[0] = name[398] = '~';
    name[399] = 0;
    memset(pointer, 'x', sizeof(pointer));
    memcpy(pointer, "/~0", 3);
    memcpy(pointer + 400, "~0", 3);
    json_t *root = json_pack("{s:i}", name, 5);

    assert_non_null(root);
    assert_int_equal(json_integer_value(pointer_get(root, span_str(pointer))), 5);
    pointer[200] = 'y';
    assert_null(pointer_get(root, span_str(pointer)));
    json_decref(root);
}

static void what_is_no_pointer_finds_nothing(void **state)
{
    (void)state;
    static const char *const bad[] = {"a", "/a~", "/~2", "/a~x/b", "#/a"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(pointer_valid(span_str(bad[i])));
        assert_points("{'a':1,'a~':2,'~2':3}", bad[i], NULL);
    }
    assert_true(pointer_valid(span_of(NULL, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc_are_found),
        cmocka_unit_test(an_index_has_one_spelling_and_is_within_the_array),
        cmocka_unit_test(a_name_that_looks_like_an_index_is_a_name_in_an_object),
        cmocka_unit_test(nothing_is_within_a_scalar),
        cmocka_unit_test(tildes_are_undone_once),
        cmocka_unit_test(a_long_name_with_tildes_is_found),
        cmocka_unit_test(what_is_no_pointer_finds_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
