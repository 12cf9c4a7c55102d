#include "link/redis_greeting.h"
#include "tests/support/unit.h"

#include <errno.h>
#include <stdio.h>

static const struct redis_credentials everything = {
    .username = "fan", .password = "s3cret", .db = 2, .client_name = "fanout-1"};

static void write_greeting(struct redis_greeting *greeting,
    const struct redis_credentials *credentials, const char *expected)
{
    struct bytes out = {0};

    assert_int_equal(redis_greeting_write(greeting, credentials, &out), 0);
    if (expected) {
        assert_true(span_equal(span_of(out.data, out.len), span_str(expected)));
    }
    bytes_fini(&out);
}

/* Reads replies until one decides; why is of that one. */
static int read_all(const struct redis_credentials *credentials, const char *const *replies,
    size_t count, char *why, size_t cap, uint32_t *ret_version)
{
    struct redis_greeting greeting;
    int r = 0;

    write_greeting(&greeting, credentials, NULL);
    for (size_t i = 0; i < count && r == 0; i++) {
        r = redis_greeting_read(&greeting, span_str(replies[i]), why, cap);
    }
    *ret_version = greeting.version;
    return r;
}

static void says_only_what_is_needed(void **state)
{
    (void)state;
    struct redis_greeting greeting;
    const struct redis_credentials plain = {.password = "", .client_name = "n"};

    write_greeting(&greeting, &everything,
        "*3\r\n$4\r\nAUTH\r\n$3\r\nfan\r\n$6\r\ns3cret\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n"
        "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$8\r\nfanout-1\r\n"
        "*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n");
    write_greeting(&greeting, &plain,
        "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$1\r\nn\r\n*2\r\n$4\r\nINFO\r\n$6\r\nserver\r\n");
}

static void the_version_is_read_from_info(void **state)
{
    (void)state;
    const struct redis_credentials plain = {.client_name = "n"};
    const struct {
        const char *info;
        uint32_t version;
    } cases[] = {
        {"# Server\r\nredis_version:7.0.15\r\nx:1\r\n", 70015},
        {"redis_version:6.2.0", 60200},
        {"redis_version:8.1", 80100},
        {"redis_version:255.255.255", 0},
        {"redis_version:unknown", 0},
        {"", 0},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char info[128], why[256];
        uint32_t version;
        snprintf(info, sizeof(info), "$%zu\r\n%s\r\n", strlen(cases[i].info), cases[i].info);
        const char *const replies[] = {"+OK\r\n", info};
        assert_int_equal(read_all(&plain, replies, 2, why, sizeof(why), &version), 1);
        assert_int_equal(version, cases[i].version);
    }
}

static void what_an_access_list_forbids_is_done_without(void **state)
{
    (void)state;
    char why[256];
    uint32_t version;
    const char *const replies[] = {"+OK\r\n", "+OK\r\n",
        "-NOPERM this user has no permissions to run the 'client|setname' command\r\n",
        "-NOPERM this user has no permissions to run the 'info' command\r\n"};

    assert_int_equal(read_all(&everything, replies, 4, why, sizeof(why), &version), 1);
    assert_int_equal(version, 0);
}

static void refusals_become_sentences_without_secrets(void **state)
{
    (void)state;
    const struct {
        const char *reply, *words;
    } cases[] = {
        {"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "user name or pass"},
        {"-NOAUTH Authentication required.\r\n", "asks for a password"},
        {"-ERR AUTH <password> called without any password configured\r\n", "Redis has none"},
        {"-DENIED Redis is running in protected mode because\r\n", "protected mode"},
        {"-ERR max number of clients reached\r\n", "maximum number of clients"},
        {"-ERR unknown command 'AUTH', with args beginning with: 's3cret'\r\n", "(ERR)"},
        {"-s3cret\r\n", "refuses AUTH"},
        {":1\r\n", "Redis never does"},
    };

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char why[256] = "";
        uint32_t version;
        assert_true(read_all(&everything, &cases[i].reply, 1, why, sizeof(why), &version) < 0);
        if (!strstr(why, cases[i].words) || strstr(why, "s3cret")) {
            fail_msg("%s -> %s", cases[i].reply, why);
        }
    }
}

static void quoted_arguments_are_cut_off_any_error(void **state)
{
    (void)state;
    char text[64];

    redis_error_sentence(
        span_str("-ERR unknown command 'PUBLISH', with args beginning with: 'c' 'payload'\r\n"),
        text, sizeof(text));
    assert_string_equal(text, "Redis answers: ERR unknown command 'PUBLISH'");
    redis_error_sentence(span_str("-\r\n"), text, sizeof(text));
    assert_string_equal(text, "Redis answers: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_only_what_is_needed),
        cmocka_unit_test(the_version_is_read_from_info),
        cmocka_unit_test(what_an_access_list_forbids_is_done_without),
        cmocka_unit_test(refusals_become_sentences_without_secrets),
        cmocka_unit_test(quoted_arguments_are_cut_off_any_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
