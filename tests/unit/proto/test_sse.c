#include "proto/sse.h"

#include "tests/support/unit.h"

static void assert_data(const char *text, const char *want)
{
    struct bytes out = {0};

    assert_int_equal(sse_append_data(&out, span_str(text)), 0);
    assert_int_equal(out.len, strlen(want));
    assert_memory_equal(out.data, want, out.len);
    bytes_fini(&out);
}

static void every_line_of_a_text_is_a_field(void **state)
{
    (void)state;
    assert_data("one", "data: one\n");
    assert_data("", "data: \n");
    assert_data("a\nb", "data: a\ndata: b\n");
    assert_data("a\rb", "data: a\ndata: b\n");
    assert_data("a\r\nb", "data: a\ndata: b\n");
    assert_data("a\n\rb", "data: a\ndata: \ndata: b\n");
    assert_data("\n", "data: \ndata: \n");
    assert_data("end\r\n", "data: end\ndata: \n");
    assert_data("end\r", "data: end\ndata: \n");
    /* What looks like a field of its own is not one. */
    assert_data("x\nevent: y\nid: 1\n\ndata: z",
        "data: x\ndata: event: y\ndata: id: 1\ndata: \ndata: data: z\n");
    assert_data(" spaced", "data:  spaced\n");
}

static void json_stays_on_one_line(void **state)
{
    static const char text[] = "{\r\n \"a\":\n[1,\r2]}";
    static const char want[] = "data: {   \"a\": [1, 2]}\n";
    struct bytes out = {0};

    (void)state;
    assert_int_equal(sse_append_json(&out, span_str(text)), 0);
    assert_int_equal(out.len, sizeof(want) - 1);
    assert_memory_equal(out.data, want, out.len);
    bytes_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_of_a_text_is_a_field),
        cmocka_unit_test(json_stays_on_one_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
