#include "role/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/unit.h"

/* What a child process with this command line and one variable wrote and how it ended. */
struct outcome {
    char text[65536]; /* stdout and stderr. */
    int code;
};

static struct outcome run(const char *variable, const char *flags)
{
    static struct outcome outcome;
    char role[] = "config", *argv[16] = {role}, *copy = strdup(flags), *rest = NULL;
    int argc = 1, ends[2], status = 0;
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        argv[argc] = word;
        argc += 1;
    }
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        clearenv();
        if (variable) {
            putenv(strdup(variable));
        }
        int code = role_config(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    close(ends[1]);
    size_t len = 0;
    ssize_t got;
    while ((got = read(ends[0], outcome.text + len, sizeof outcome.text - 1 - len)) > 0) {
        len += (size_t)got;
    }
    outcome.text[len] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    free(copy);
    return outcome;
}

static void check_is_silent_when_all_is_well(void **state)
{
    (void)state;
    struct outcome o = run("PORT=9000", "--check --shards 2");
    assert_string_equal(o.text, "");
    assert_int_equal(o.code, 0);
}

static void faults_end_with_2(void **state)
{
    (void)state;
    struct outcome o = run("PORT=x", "--check");
    assert_string_equal(o.text, "env PORT: port is \"x\"; expected a port from 0 to 65535\n");
    assert_int_equal(o.code, 2);
    o = run(NULL, "--json --yaml");
    assert_string_equal(
        o.text, "fanout config: expected one of --check, --json, --yaml and --doc\n");
    assert_int_equal(o.code, 2);
}

static void warnings_leave_the_exit_code_alone(void **state)
{
    (void)state;
    struct outcome o = run("FANOUT_ZEBRA=1", "--check");
    assert_string_equal(o.text, "warning: env FANOUT_ZEBRA: not a known option, ignored\n");
    assert_int_equal(o.code, 0);
}

static void each_output_has_its_form(void **state)
{
    (void)state;
    struct outcome o = run("ADDR=:8081", "");
    assert_non_null(strstr(o.text, "listen                               :8081"));
    o = run("ADDR=:8081", "--json");
    assert_non_null(
        strstr(o.text, "\"listen\": {\"value\": [\":8081\"], \"source\": \"env ADDR\"}"));
    o = run("ADDR=:8081", "--yaml");
    assert_non_null(strstr(o.text, "listen: [\":8081\"] # env ADDR\n"));
    o = run(NULL, "--doc");
    assert_non_null(strstr(o.text, "# Configuration\n"));
    o = run(NULL, "--help");
    assert_non_null(strstr(o.text, "Usage: fanout config"));
    assert_non_null(strstr(o.text, "--shards NUMBER"));
    assert_int_equal(o.code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(check_is_silent_when_all_is_well),
        cmocka_unit_test(faults_end_with_2),
        cmocka_unit_test(warnings_leave_the_exit_code_alone),
        cmocka_unit_test(each_output_has_its_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
