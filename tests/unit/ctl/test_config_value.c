#include <errno.h>

#include "ctl/config_list.h"
#include "ctl/config_value.h"
#include "tests/support/unit.h"

static void sizes_have_binary_units(void **state)
{
    (void)state;
    const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"0", 0}, {"512", 512}, {"16k", 16384}, {"16KiB", 16384}, {"1 MiB", 1 << 20},
        {"2g", 2ull << 30}, {"3TiB", 3ull << 40}, {"7B", 7}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t bytes = 1;
        assert_int_equal(config_parse_size(span_str(cases[i].text), &bytes), 0);
        assert_int_equal(bytes, cases[i].bytes);
    }
}

static void sizes_that_could_mean_two_things_are_refused(void **state)
{
    (void)state;
    const char *const cases[] = {"", "k", "1KB", "1 MB", "-1", "1.5k", "0x10", "1kk", "1k ",
        "18446744073709551616", "18446744073709551615k"};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        uint64_t bytes = 42;
        assert_int_equal(config_parse_size(span_str(cases[i]), &bytes), -EINVAL);
        assert_int_equal(bytes, 42);
    }
}

static void durations_need_a_unit_except_zero(void **state)
{
    (void)state;
    uint64_t ms = 1;
    assert_int_equal(config_parse_duration(span_str("0"), &ms), 0);
    assert_int_equal(ms, 0);
    assert_int_equal(config_parse_duration(span_str("250ms"), &ms), 0);
    assert_int_equal(ms, 250);
    assert_int_equal(config_parse_duration(span_str("25s"), &ms), 0);
    assert_int_equal(ms, 25000);
    assert_int_equal(config_parse_duration(span_str("10m"), &ms), 0);
    assert_int_equal(ms, 600000);
    assert_int_equal(config_parse_duration(span_str("1h"), &ms), 0);
    assert_int_equal(ms, 3600000);
    const char *const cases[] = {"", "25", "5 parsecs", "s", "-1s", "1s2"};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(config_parse_duration(span_str(cases[i]), &ms), -EINVAL);
    }
}

static void addresses_are_host_and_port(void **state)
{
    (void)state;
    const struct {
        const char *text;
        const char *host;
        int port;
    } good[] = {{":8084", "", 8084}, {"a.b:1", "a.b", 1}, {"[::1]:9000", "::1", 9000},
        {"[fe80::1%eth0]:0", "fe80::1%eth0", 0}, {"10.0.0.1:65535", "10.0.0.1", 65535}};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct span host;
        uint16_t port;
        assert_int_equal(config_parse_host_port(span_str(good[i].text), &host, &port), 0);
        assert_true(span_equal(host, span_str(good[i].host)));
        assert_int_equal(port, good[i].port);
    }
    const char *const bad[] = {"", "a", ":", ":x", ":65536", "::1:80", "[::1]", "[x]:80", "a b:1",
        "[::1:80", "a/b:80", "a@b:80"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct span host;
        uint16_t port;
        assert_int_equal(config_parse_host_port(span_str(bad[i]), &host, &port), -EINVAL);
    }
}

static void a_list_with_one_bad_address_changes_nothing(void **state)
{
    (void)state;
    struct config_listens listens = {0};
    assert_int_equal(config_listens_parse(span_str(":1, unix:/run/x"), &listens), 0);
    assert_int_equal(config_listens_parse(span_str(":2,nope"), &listens), -EINVAL);
    assert_int_equal(listens.count, 2);
    assert_string_equal(listens.items[1].unix_path, "/run/x");
    config_listens_fini(&listens);
}

static void a_socket_path_must_fit_its_address(void **state)
{
    (void)state;
    struct config_listens listens = {0};
    char path[5 + 109] = "unix:";
    memset(path + 5, 'x', 108);
    assert_int_equal(config_listens_parse(span_of(path, 5 + 107), &listens), 0);
    assert_int_equal(config_listens_parse(span_of(path, 5 + 108), &listens), -EINVAL);
    config_listens_fini(&listens);
}

static void patterns_overlap_when_one_channel_matches_both(void **state)
{
    (void)state;
    const struct {
        const char *a, *b;
        bool overlap;
    } cases[] = {{"room:*", "room:*", true}, {"room:*", "room:a*", true}, {"a:*", "b:*", false},
        {"*:x", "room:*", true}, {"room:a", "room:*", true}, {"room:a", "room:b", false},
        {"room:a", "room:a", true}, {"*", "anything", true}, {"a*z", "a*y", false},
        {"ab*bc", "abc", false}, {"ab*bc", "abbc", true}, {"a*", "ab*", true}, {"*a", "*ba", true}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        assert_int_equal(config_patterns_overlap(cases[i].a, cases[i].b), cases[i].overlap);
        assert_int_equal(config_patterns_overlap(cases[i].b, cases[i].a), cases[i].overlap);
    }
}

static void a_mapping_names_one_star_and_a_namespace(void **state)
{
    (void)state;
    struct config_mappings mappings = {0};
    const char *const good[] = {
        "orders:*=orders:{1}", "a*z=x:{1}:y", "news=news:all", "all:*=all:one"};
    const char *const bad[] = {"", "orders:*", "=x:y", "a*b*=x:{1}", "a?=x:y", "[a]=x:y", "a\\=x:y",
        "a=noname", "a=:x", "a=x:", "a=X:y", "a=x:{1}", "a*=x:{1}{1}", "a*={1}:x"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(config_mappings_parse(span_str(good[i]), &mappings), 0);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_int_equal(config_mappings_parse(span_str(bad[i]), &mappings), -EINVAL);
    }
    assert_int_equal(mappings.count, COUNT_OF(good));
    config_mappings_fini(&mappings);
}

static void every_default_is_what_its_own_text_form_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_option_count; i++) {
        const struct config_option *option = &config_options[i];
        _Alignas(8) char field[64] = {0};
        struct bytes text = {0};
        assert_true(config_type_size(option->type) <= sizeof field);
        if (!option->preset) {
            continue;
        }
        assert_int_equal(config_value_parse(option, span_str(option->preset), field), 0);
        assert_int_equal(config_value_format(option, field, &text), 0);
        /* 60s reads better in the table than 1m. */
        if (strcmp(option->preset, "60s") != 0) {
            assert_true(span_equal(span_of(text.data, text.len), span_str(option->preset)));
        }
        config_value_fini(option, field);
        bytes_fini(&text);
    }
}

static void quotes_escape_what_would_confuse_a_terminal(void **state)
{
    (void)state;
    struct bytes out = {0};
    assert_int_equal(config_quote(span_str("a\"\x1b[0m\xff\xc3\xa9"), &out), 0);
    assert_true(span_equal(span_of(out.data, out.len), span_str("\"a\\\"\\x1b[0m\\xff\xc3\xa9\"")));
    out.len = 0;
    char text[100];
    memset(text, 'x', sizeof text);
    assert_int_equal(config_quote(span_of(text, sizeof text), &out), 0);
    assert_int_equal(out.len, 60 + 2 + 3);
    bytes_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_have_binary_units),
        cmocka_unit_test(sizes_that_could_mean_two_things_are_refused),
        cmocka_unit_test(durations_need_a_unit_except_zero),
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test(a_list_with_one_bad_address_changes_nothing),
        cmocka_unit_test(a_socket_path_must_fit_its_address),
        cmocka_unit_test(patterns_overlap_when_one_channel_matches_both),
        cmocka_unit_test(a_mapping_names_one_star_and_a_namespace),
        cmocka_unit_test(every_default_is_what_its_own_text_form_says),
        cmocka_unit_test(quotes_escape_what_would_confuse_a_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
