#include <string.h>

#include "role/args.h"
#include "tests/support/unit.h"

struct options {
    bool flag;
    const char *text, *choice;
    struct arg_list list;
    uint64_t count, size;
    double rate, time;
};

#define AT(field) offsetof(struct options, field)
static const struct arg table[] = {
    {.help = "A heading"},
    {"flag", ARG_FLAG, AT(flag), NULL, "on", NULL},
    {"text", ARG_TEXT, AT(text), "T", "any", NULL},
    {"choice", ARG_TEXT, AT(choice), "C", "one", "steady|idle-memory"},
    {"list", ARG_LIST, AT(list), "L", "many", NULL},
    {"count", ARG_COUNT, AT(count), "N", "whole", NULL, 1},
    {"size", ARG_SIZE, AT(size), "N", "bytes", NULL},
    {"rate", ARG_RATE, AT(rate), "N", "number", NULL},
    {"time", ARG_TIME, AT(time), "T", "time", NULL},
};

static struct options options;
static struct arg_list rest;
static char err[ARGS_ERR_MAX];

static enum args_result parse(size_t word_count, const char *const *words)
{
    char *argv[32] = {(char *)"tool"};

    memset(&options, 0, sizeof options);
    memset(&rest, 0, sizeof rest);
    memcpy(argv + 1, words, word_count * sizeof *words);
    return args_parse(table, COUNT_OF(table), (int)word_count + 1, argv, &options, &rest, err);
}

#define PARSE(...)                                                                                 \
    parse(sizeof(const char *[]){__VA_ARGS__} / sizeof(const char *), (const char *[]){__VA_ARGS__})

static void every_kind_is_read(void **state)
{
    assert_int_equal(
        PARSE("--flag", "--text", "hello", "--choice=idle-memory", "--list", "a", "--list=b",
            "--count", "18k", "--size", "4k", "--rate", "2.5", "--time", "250ms", "word"),
        ARGS_OK);
    assert_true(options.flag);
    assert_string_equal(options.text, "hello");
    assert_string_equal(options.choice, "idle-memory");
    assert_int_equal(options.list.count, 2);
    assert_string_equal(options.list.items[1], "b");
    assert_int_equal(options.count, 18000);
    assert_int_equal(options.size, 4096);
    assert_true(options.rate == 2.5);
    assert_true(options.time == 0.25);
    assert_int_equal(rest.count, 1);
    assert_string_equal(rest.items[0], "word");
}

static void two_dashes_end_the_flags(void **state)
{
    assert_int_equal(PARSE("--", "--flag", "-x"), ARGS_OK);
    assert_false(options.flag);
    assert_int_equal(rest.count, 2);
    assert_int_equal(PARSE("-"), ARGS_OK);
    assert_int_equal(rest.count, 1);
}

static void help_is_found_anywhere(void **state)
{
    assert_int_equal(PARSE("word", "--help"), ARGS_HELP);
    assert_int_equal(PARSE("-h"), ARGS_HELP);
}

static void a_wrong_flag_names_the_nearest(void **state)
{
    assert_int_equal(PARSE("--cuont", "5"), ARGS_WRONG);
    assert_string_equal(err, "unknown flag --cuont; did you mean --count?");
    assert_int_equal(PARSE("--cho", "x"), ARGS_WRONG);
    assert_string_equal(err, "unknown flag --cho; did you mean --choice?");
    assert_int_equal(PARSE("--sizes=5"), ARGS_WRONG);
    assert_string_equal(err, "unknown flag --sizes; did you mean --size?");
    assert_int_equal(PARSE("--zzzzzzzz"), ARGS_WRONG);
    assert_string_equal(err, "unknown flag --zzzzzzzz; see --help");
}

static void mistakes_are_told_in_a_sentence(void **state)
{
    assert_int_equal(PARSE("--count", "many"), ARGS_WRONG);
    assert_string_equal(
        err, "--count is \"many\"; expected a whole number, e.g. 1000 or 18k, at least 1");
    assert_int_equal(PARSE("--count", "0"), ARGS_WRONG);
    assert_int_equal(PARSE("--count", "1.5"), ARGS_WRONG);
    assert_int_equal(PARSE("--count", "-1"), ARGS_WRONG);
    assert_int_equal(PARSE("--rate", "nan"), ARGS_WRONG);
    assert_int_equal(PARSE("--rate", "0x10"), ARGS_WRONG);
    assert_int_equal(PARSE("--rate", "1e999"), ARGS_WRONG);
    assert_int_equal(PARSE("--time", "5 parsecs"), ARGS_WRONG);
    assert_int_equal(PARSE("--choice", "stead"), ARGS_WRONG);
    assert_string_equal(err, "--choice is \"stead\"; expected one of steady|idle-memory");
    assert_int_equal(PARSE("--choice", ""), ARGS_WRONG);
    assert_int_equal(PARSE("--text"), ARGS_WRONG);
    assert_string_equal(err, "--text needs a value: --text T");
    assert_int_equal(PARSE("--flag=yes"), ARGS_WRONG);
    assert_string_equal(err, "--flag takes no value");
}

static void times_know_their_units(void **state)
{
    static const struct {
        const char *text;
        double seconds;
    } good[] = {{"5", 5}, {"5s", 5}, {"1.5s", 1.5}, {"250ms", 0.25}, {"2m", 120}, {"1h", 3600}};
    double seconds;

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_int_equal(args_read_time(good[i].text, &seconds), 0);
        assert_true(seconds > good[i].seconds * 0.999999 && seconds < good[i].seconds * 1.000001);
    }
    assert_true(args_read_time("", &seconds) < 0);
    assert_true(args_read_time("s", &seconds) < 0);
    assert_true(args_read_time("1..2", &seconds) < 0);
    assert_true(args_read_time("-5s", &seconds) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read),
        cmocka_unit_test(two_dashes_end_the_flags),
        cmocka_unit_test(help_is_found_anywhere),
        cmocka_unit_test(a_wrong_flag_names_the_nearest),
        cmocka_unit_test(mistakes_are_told_in_a_sentence),
        cmocka_unit_test(times_know_their_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
