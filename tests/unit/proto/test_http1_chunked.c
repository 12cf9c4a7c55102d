#include "proto/http1_chunked.h"

#include <errno.h>

#include "tests/support/unit.h"

/* Decodes with pieces of `step` bytes. Returns the last result; *ret_used counts bytes of text. */
static int decode(struct span text, size_t step, struct bytes *body, size_t *ret_used)
{
    struct http1_chunked chunked = {0};
    size_t at = 0;
    int got = 0;

    body->len = 0;
    while (at < text.len && (got == 0 || got == 2)) {
        size_t piece_end = at + step < text.len ? at + step : text.len;
        do {
            struct span piece;
            size_t used;
            got = http1_chunked_feed(&chunked, text.data + at, piece_end - at, &used, &piece);
            at += used;
            if (got == 2) {
                assert_int_equal(bytes_append(body, piece.data, piece.len), 0);
            }
        } while (got == 2 && at < piece_end);
    }
    *ret_used = at;
    return got;
}

static void chunks_join_however_they_are_cut(void **state)
{
    (void)state;
    const char *text = "5\r\nhello\r\n06;name=\"v\";x\r\n world\r\n0\r\nA: "
                       "b\r\nContent-Lengt:\r\nContent-Length2:\r\n\r\nnext";
    struct bytes body = {0};
    size_t used;
    for (size_t step = 1; step <= strlen(text); step++) {
        assert_int_equal(decode(span_str(text), step, &body, &used), 1);
        assert_true(span_equal(span_of(body.data, body.len), span_str("hello world")));
        assert_int_equal(used, strlen(text) - 4);
    }
    bytes_fini(&body);
}

static void what_could_be_read_in_two_ways_is_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"\r\n", "g\r\n", "-1\r\n", "+5\r\n", "0x5\r\n", " 5\r\n", "5 \r\n",
        "5\n", "5\r5", "1\r\nab", "1\r\na\n", "1\r\na\r\r", "0\r\n\n", "0\r\n a: b\r\n\r\n",
        "0\r\nno colon\r\n\r\n", "0\r\n: v\r\n\r\n", "0\r\na : b\r\n\r\n", "0\r\na: b\n\r\n",
        "0\r\na: \x01\r\n\r\n", "0\r\ncontent-length: 1\r\n\r\n",
        "0\r\nA: b\r\nTransfer-Encoding:\r\n\r\n", "5;\x01\r\n", "5;a\n", "ffffffffffffffff\r\n",
        "0000000000000005\r\n"};
    struct bytes body = {0};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        size_t used;
        assert_int_equal(decode(span_str(bad[i]), 1, &body, &used), -EBADMSG);
        assert_int_equal(decode(span_str(bad[i]), 100, &body, &used), -EBADMSG);
    }
    bytes_fini(&body);
}

static void extensions_and_trailers_are_bounded_over_the_whole_body(void **state)
{
    (void)state;
    struct bytes text = {0}, body = {0};
    size_t used;
    for (int i = 0; i < HTTP1_CHUNK_EXT_BYTES_MAX / 10 + 1; i++) {
        assert_int_equal(bytes_append_str(&text, "1;123456789\r\na\r\n"), 0);
    }
    assert_int_equal(decode(span_of(text.data, text.len), 7, &body, &used), -EBADMSG);

    text.len = 0;
    assert_int_equal(bytes_append_str(&text, "0\r\n"), 0);
    for (int i = 0; i < HTTP1_TRAILER_BYTES_MAX / 10 + 1; i++) {
        assert_int_equal(bytes_append_str(&text, "name: val\r\n"), 0);
    }
    assert_int_equal(decode(span_of(text.data, text.len), 100, &body, &used), -EBADMSG);
    assert_true(used <= HTTP1_TRAILER_BYTES_MAX + 2048);
    bytes_fini(&text);
    bytes_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_join_however_they_are_cut),
        cmocka_unit_test(what_could_be_read_in_two_ways_is_refused),
        cmocka_unit_test(extensions_and_trailers_are_bounded_over_the_whole_body),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
