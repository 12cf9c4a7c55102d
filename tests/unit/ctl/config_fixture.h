/* What every test of the configuration does: load from a text, an environment and a command line,
 * and look at the sentences that come back. */
#ifndef TESTS_UNIT_CTL_CONFIG_FIXTURE_H
#define TESTS_UNIT_CTL_CONFIG_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "ctl/config.h"
#include "tests/support/unit.h"

enum { FIXTURE_WORDS_MAX = 16 };

struct fixture {
    struct config *config;
    struct config_report report;
    int result;
    char path[32]; /* Of the file, when there is one. */
};

/* Splits on blanks; the text is cut up. */
static inline int fixture_words(char *text, char **words, int count)
{
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        assert_true(count < FIXTURE_WORDS_MAX);
        words[count] = word;
        count += 1;
    }
    words[count] = NULL;
    return count;
}

/* Flags and variables are separated by blanks; text NULL: no file. */
static inline struct fixture fixture_load(const char *text, const char *env, const char *flags)
{
    struct fixture f = {.path = "/tmp/fanout-test-XXXXXX"};
    char role[] = "serve", config_flag[] = "--config";
    char *argv[FIXTURE_WORDS_MAX + 3] = {role}, *variables[FIXTURE_WORDS_MAX + 1];
    char *flag_text = strdup(flags), *env_text = strdup(env);
    int argc = 1;
    if (text) {
        int fd = mkstemp(f.path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        close(fd);
        argv[1] = config_flag;
        argv[2] = f.path;
        argc = 3;
    }
    argc = fixture_words(flag_text, argv, argc);
    fixture_words(env_text, variables, 0);
    f.result = config_load(CONFIG_SERVE, argc, argv, variables, &f.config, &f.report);
    if (text) {
        unlink(f.path);
    }
    free(flag_text);
    free(env_text);
    return f;
}

static inline struct fixture fixture_text(const char *text)
{
    struct fixture f = {0};
    f.result = config_load_text("fanout.yaml", text, strlen(text), &f.config, &f.report);
    return f;
}

static inline void fixture_fini(struct fixture *f)
{
    config_free(f->config);
    config_report_fini(&f->report);
}

/* The text of a file has exactly these faults, a line each. */
static inline void assert_lines(const struct config_lines *lines, const char *expected)
{
    struct bytes all = {0};
    for (uint32_t i = 0; i < lines->count; i++) {
        assert_int_equal(bytes_appendf(&all, "%s\n", lines->items[i]), 0);
    }
    assert_int_equal(bytes_append_byte(&all, '\0'), 0);
    assert_string_equal((char *)all.data, expected);
    bytes_fini(&all);
}

static inline void assert_faults(const char *text, const char *expected)
{
    struct fixture f = fixture_text(text);
    assert_lines(&f.report.faults, expected);
    assert_int_equal(f.result, -22);
    assert_null(f.config);
    fixture_fini(&f);
}

static inline char *fixture_print(const struct config *config, enum config_format format)
{
    struct bytes out = {0};
    assert_int_equal(config_print(config, format, &out), 0);
    assert_int_equal(bytes_append_byte(&out, '\0'), 0);
    return (char *)out.data;
}

/* The line of `fanout config` for this key says value and source. */
static inline void assert_value(
    const struct fixture *f, const char *key, const char *value, const char *source)
{
    assert_int_equal(f->result, 0);
    char *text = fixture_print(f->config, CONFIG_TEXT);
    char *expected = NULL;
    assert_true(asprintf(&expected, "%-36s %-24s %s\n", key, value, source) > 0);
    if (!strstr(text, expected)) {
        char *line = strstr(text, key);
        fail_msg("expected %sfound    %.*s", expected, line ? (int)strcspn(line, "\n") : 0, line);
    }
    free(expected);
    free(text);
}

#endif
