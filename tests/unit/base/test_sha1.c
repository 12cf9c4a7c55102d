#include "base/sha1.h"

#include <stdio.h>
#include <string.h>

#include "tests/support/unit.h"

static void check(const void *data, size_t len, const char *want)
{
    uint8_t hash[SHA1_BYTES];
    char text[2 * SHA1_BYTES + 1];

    sha1(data, len, hash);
    for (int i = 0; i < SHA1_BYTES; i++) {
        snprintf(text + 2 * i, 3, "%02x", hash[i]);
    }
    assert_string_equal(text, want);
}

static void the_published_examples_come_out(void **state)
{
    (void)state;
    const char *two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    check(NULL, 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    check(two_blocks, strlen(two_blocks), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
}

/* 55 bytes leave just room for the length in the last block, 56 do not. */
static void the_padding_is_right_on_both_sides_of_a_block(void **state)
{
    (void)state;
    char text[64];
    memset(text, 'a', sizeof text);
    check(text, 55, "c1c8bbdc22796e28c0e15163d20899b65621d65a");
    check(text, 56, "c2db330f6083854c99d4b5bfb6e8f29f201be699");
    check(text, 64, "0098ba824b5c16427bd7a1122a5a442a25ec644d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_published_examples_come_out),
        cmocka_unit_test(the_padding_is_right_on_both_sides_of_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
