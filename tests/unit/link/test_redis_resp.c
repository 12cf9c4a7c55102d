#include "link/redis_resp.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <hiredis/hiredis.h>

#include "base/mem.h"

static const char message[] =
    "*4\r\n$8\r\npmessage\r\n$6\r\nroom:*\r\n$6\r\nroom:1\r\n$7\r\na\r\n\0b\r\n\r\n";

/* Scans it whole; -1 for "needs more" so that each outcome differs. */
static int scan_whole(struct span data, size_t *ret_used)
{
    struct resp_scan scan = {0};
    return resp_scan(&scan, data, ret_used);
}

/* The same must come out when every byte comes alone. */
static int scan_bytewise(struct span data, size_t *ret_used)
{
    struct resp_scan scan = {0};

    for (size_t i = 0; i < data.len; i++) {
        size_t used;
        int r = resp_scan(&scan, span_of(data.data + i, 1), &used);
        if (r != 0) {
            *ret_used = i + 1;
            return r;
        }
    }
    *ret_used = data.len;
    return 0;
}

static int scan(struct span data)
{
    size_t used = 0, used_bytewise = 0;
    int r = scan_whole(data, &used);

    assert_int_equal(r, scan_bytewise(data, &used_bytewise));
    if (r == 1) {
        assert_int_equal(used, data.len);
        assert_int_equal(used_bytewise, data.len);
    }
    return r;
}

static void every_kind_of_reply_is_seen_whole(void **state)
{
    (void)state;
    static const char *const replies[] = {"+OK\r\n", "-ERR no\r\n", ":-42\r\n", "$-1\r\n",
        "$0\r\n\r\n", "*-1\r\n", "*0\r\n", "*2\r\n*1\r\n:1\r\n$1\r\nx\r\n", "+\r\n"};

    for (size_t i = 0; i < COUNT_OF(replies); i++) {
        assert_int_equal(scan(span_str(replies[i])), 1);
    }
    assert_int_equal(scan(span_of(message, sizeof(message) - 1)), 1);
}

static void a_reply_cut_anywhere_needs_more(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(message) - 1; len++) {
        assert_int_equal(scan(span_of(message, len)), 0);
    }
}

static void only_the_first_reply_is_used(void **state)
{
    (void)state;
    size_t used = 0;

    assert_int_equal(scan_whole(span_str("+OK\r\n:1\r\n"), &used), 1);
    assert_int_equal(used, 5);
}

static void bad_grammar_is_refused(void **state)
{
    (void)state;
    static const char *const replies[] = {"HTTP/1.1 400", "%1\r\n", "$-2\r\n", "*-3\r\n", "$x\r\n",
        ":\r\n", ":1\n", "+a\nb\r\n", "+a\rb\r\n", "$1\r\nxy\r\n", "$1\r\nx\ny", ":--1\r\n",
        ":01\r\n", ":-0\r\n", "$01\r\nx\r\n", ":99999999999999999999\r\n",
        ":9999999999999999999\r\n", "*1\r\n\r\n"};

    for (size_t i = 0; i < COUNT_OF(replies); i++) {
        assert_int_equal(scan(span_str(replies[i])), -EPROTO);
    }
}

static void a_peer_cannot_make_us_plan_for_more_than_the_limits(void **state)
{
    (void)state;
    assert_int_equal(scan(span_str("*1048577\r\n")), -E2BIG);
    assert_int_equal(scan(span_str("*999999999999\r\n")), -E2BIG);
    assert_int_equal(scan(span_str("$536870913\r\n")), -E2BIG);
    assert_int_equal(scan(span_str("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n")), 0);
    assert_int_equal(scan(span_str("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n")), -E2BIG);

    /* Lists add up: the outer one promises all there may be, the inner ones more. */
    struct resp_scan many = {0};
    size_t used;
    int r = resp_scan(&many, span_str("*1048575\r\n*2000\r\n"), &used);
    uint32_t count = 2;
    while (r == 0 && count <= RESP_ELEMENTS_MAX) {
        r = resp_scan(&many, span_str(":1\r\n"), &used);
        count += 1;
    }
    assert_int_equal(r, -E2BIG);
    assert_int_equal(count, RESP_ELEMENTS_MAX + 1);

    /* A line without an end. */
    struct resp_scan line = {0};
    uint8_t text[RESP_LINE_MAX];
    memset(text, 'x', sizeof(text));
    assert_int_equal(resp_scan(&line, span_str("+"), &used), 0);
    assert_int_equal(resp_scan(&line, span_of(text, sizeof(text)), &used), 0);
    assert_int_equal(resp_scan(&line, span_str("x"), &used), -E2BIG);
}

static void a_flat_list_is_read_in_place(void **state)
{
    (void)state;
    struct span items[5];

    assert_int_equal(resp_flat(span_of(message, sizeof(message) - 1), items, 5), 4);
    assert_true(span_equal(items[0], span_str("pmessage")));
    assert_true(span_equal(items[2], span_str("room:1")));
    assert_true(span_equal(items[3], span_of("a\r\n\0b\r\n", 7)));

    assert_int_equal(resp_flat(span_str("*3\r\n$-1\r\n:12\r\n+OK\r\n"), items, 5), 3);
    assert_null(items[0].data);
    assert_true(span_equal(items[1], span_str("12")));
    assert_true(span_equal(items[2], span_str("OK")));

    assert_int_equal(resp_flat(span_str("*3\r\n:1\r\n:2\r\n:3\r\n"), items, 2), -EINVAL);
    assert_int_equal(resp_flat(span_str("*1\r\n*0\r\n"), items, 5), -EINVAL);
    assert_int_equal(resp_flat(span_str("*-1\r\n"), items, 5), -EINVAL);
    assert_int_equal(resp_flat(span_str("+OK\r\n"), items, 5), -EINVAL);
}

static void a_judged_reply_is_decoded(void **state)
{
    (void)state;
    struct redisReply *reply = NULL;

    assert_int_equal(resp_decode(span_str("*2\r\n:7\r\n$2\r\nhi\r\n"), &reply), 0);
    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    assert_int_equal(reply->elements, 2);
    assert_int_equal(reply->element[0]->integer, 7);
    assert_string_equal(reply->element[1]->str, "hi");
    freeReplyObject(reply);
}

static void a_command_may_hold_any_bytes(void **state)
{
    (void)state;
    struct bytes out = {0};
    const struct span args[] = {span_str("PUBLISH"), span_str("c"), span_of("\r\n\0", 3)};
    static const char expected[] = "*3\r\n$7\r\nPUBLISH\r\n$1\r\nc\r\n$3\r\n\r\n\0\r\n";

    assert_int_equal(resp_command(&out, args, 3), 0);
    assert_int_equal(out.len, sizeof(expected) - 1);
    assert_memory_equal(out.data, expected, out.len);

    mem_fail_after(0);
    size_t len = out.len;
    int r = 0;
    for (int i = 0; i < 100 && r == 0; i++) {
        len = out.len;
        r = resp_command(&out, args, 3);
    }
    mem_fail_after(-1);
    assert_int_equal(r, -ENOMEM);
    assert_int_equal(out.len, len);
    bytes_fini(&out);
}

/* The nested lists of XREADGROUP are read so, without a copy. */
static void a_reply_is_walked_item_by_item(void **state)
{
    static const char text[] = "*2\r\n$3\r\na\r\n\r\n*3\r\n:-7\r\n$-1\r\n*-1\r\n";
    static const struct {
        char type;
        bool nil;
        size_t count;
        const char *text;
    } expected[] = {{'*', false, 2, ""}, {'$', false, 0, "a\r\n"}, {'*', false, 3, ""},
        {':', false, 0, "-7"}, {'$', true, 0, ""}, {'*', true, 0, ""}};
    struct span rest = span_of(text, 3);
    struct resp_item item;

    (void)state;
    assert_false(resp_next(&rest, &item)); /* Cut short. */
    rest = span_str(text);
    for (size_t i = 0; i < sizeof(expected) / sizeof(*expected); i++) {
        assert_true(resp_next(&rest, &item));
        assert_int_equal(item.type, expected[i].type);
        assert_int_equal(item.nil, expected[i].nil);
        assert_int_equal(item.count, expected[i].count);
        assert_int_equal(item.text.len, strlen(expected[i].text));
        assert_memory_equal(
            item.text.len ? (const char *)item.text.data : "", expected[i].text, item.text.len);
    }
    assert_false(resp_next(&rest, &item));
}

/* More words than one call takes: a commit of a large workflow. */
static void a_command_is_written_word_by_word(void **state)
{
    struct bytes whole = {0}, pieces = {0};
    const struct span words[] = {span_str("SET"), span_str(""), span_of("\0\r\n", 3)};

    (void)state;
    assert_int_equal(resp_command(&whole, words, 3), 0);
    assert_int_equal(resp_command_begin(&pieces, 3), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(resp_command_word(&pieces, words[i]), 0);
    }
    assert_true(span_equal(span_of(whole.data, whole.len), span_of(pieces.data, pieces.len)));
    bytes_fini(&whole);
    bytes_fini(&pieces);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_reply_is_seen_whole),
        cmocka_unit_test(a_reply_cut_anywhere_needs_more),
        cmocka_unit_test(only_the_first_reply_is_used),
        cmocka_unit_test(bad_grammar_is_refused),
        cmocka_unit_test(a_peer_cannot_make_us_plan_for_more_than_the_limits),
        cmocka_unit_test(a_flat_list_is_read_in_place),
        cmocka_unit_test(a_judged_reply_is_decoded),
        cmocka_unit_test(a_command_may_hold_any_bytes),
        cmocka_unit_test(a_reply_is_walked_item_by_item),
        cmocka_unit_test(a_command_is_written_word_by_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
