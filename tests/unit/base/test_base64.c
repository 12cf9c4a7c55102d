#include "base/base64.h"

#include <errno.h>

#include "base/mem.h"
#include "tests/support/unit.h"

static void check(const char *plain, const char *encoded)
{
    struct bytes out = {0}, back = {0};

    assert_int_equal(base64_encode(&out, plain, strlen(plain)), 0);
    assert_int_equal(out.len, strlen(encoded));
    assert_memory_equal(out.data ? out.data : (uint8_t *)"", encoded, out.len);
    assert_int_equal(base64_decode(&back, encoded, strlen(encoded)), 0);
    assert_true(span_equal(span_of(back.data, back.len), span_str(plain)));
    bytes_fini(&out);
    bytes_fini(&back);
}

static void the_examples_of_the_rfc_go_both_ways(void **state)
{
    (void)state;
    check("", "");
    check("f", "Zg==");
    check("fo", "Zm8=");
    check("foo", "Zm9v");
    check("foob", "Zm9vYg==");
    check("fooba", "Zm9vYmE=");
    check("foobar", "Zm9vYmFy");
}

static void every_byte_survives(void **state)
{
    (void)state;
    uint8_t all[256];
    for (int i = 0; i < 256; i++) {
        all[i] = (uint8_t)i;
    }
    for (size_t len = 0; len <= sizeof all; len++) {
        struct bytes out = {0}, back = {0};
        assert_int_equal(base64_encode(&out, all, len), 0);
        assert_int_equal(base64_decode(&back, out.data, out.len), 0);
        assert_true(span_equal(span_of(back.data, back.len), span_of(all, len)));
        bytes_fini(&out);
        bytes_fini(&back);
    }
}

static void a_second_spelling_is_refused_and_leaves_no_trace(void **state)
{
    (void)state;
    const char *const bad[] = {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=Zg=", "Zg=v", "Zm9v\n",
        "====", "Zm-_", "Z g=", "Zg==Zg==", "a===", "Zg= "};
    struct bytes out = {0};
    assert_int_equal(bytes_append_str(&out, "before"), 0);
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(base64_decode(&out, bad[i], strlen(bad[i])), -EBADMSG);
        assert_int_equal(out.len, 6);
    }
    bytes_fini(&out);
}

static void without_memory_nothing_is_appended(void **state)
{
    (void)state;
    struct bytes out = {0};
    mem_fail_after(0);
    assert_int_equal(base64_encode(&out, "foo", 3), -ENOMEM);
    assert_int_equal(base64_decode(&out, "Zm9v", 4), -ENOMEM);
    mem_fail_after(-1);
    assert_int_equal(out.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_examples_of_the_rfc_go_both_ways),
        cmocka_unit_test(every_byte_survives),
        cmocka_unit_test(a_second_spelling_is_refused_and_leaves_no_trace),
        cmocka_unit_test(without_memory_nothing_is_appended),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
