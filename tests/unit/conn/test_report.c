/* A server with one client, whose log is read from a file. */
#include "conn/report.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "conn/server.h"
#include "rt/clock.h"
#include "rt/loop.h"
#include "tests/support/unit.h"

enum { MANY = REPORT_BURST + 107 };

struct desk {
    struct core_settings settings;
    struct conn_options options;
    struct gauge gauge;
    struct loop *loop;
    struct conn_server *server;
    struct client *client;
    int peer, log_fd, stderr_fd;
};

static int set_up(void **state)
{
    struct desk *desk = mem_zalloc_aligned(sizeof(*desk));
    const struct conn_ports ports = {0};
    char path[] = "/tmp/fanout-test-report-XXXXXX";
    int pair[2];

    desk->settings.shard_count = desk->settings.ns_count = 1;
    desk->options.loop_kind_listener = 1;
    assert_int_equal(loop_create(&desk->loop), 0);
    const struct conn_setup setup = {.loop = desk->loop,
        .settings = &desk->settings,
        .options = &desk->options,
        .ports = &ports,
        .gauge = &desk->gauge};
    assert_int_equal(conn_server_create(&setup, &desk->server), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    desk->peer = pair[1];
    desk->client = client_open(desk->server, pair[0]);
    assert_non_null(desk->client);
    desk->log_fd = mkstemp(path);
    assert_true(desk->log_fd >= 0);
    unlink(path);
    desk->stderr_fd = dup(STDERR_FILENO);
    dup2(desk->log_fd, STDERR_FILENO);
    *state = desk;
    return 0;
}

static int tear_down(void **state)
{
    struct desk *desk = *state;

    dup2(desk->stderr_fd, STDERR_FILENO);
    close(desk->stderr_fd);
    close(desk->log_fd);
    close(desk->peer);
    conn_server_destroy(desk->server);
    loop_destroy(desk->loop);
    mem_free(desk);
    return 0;
}

static int lines_with(const struct desk *desk, const char *what)
{
    static char text[256 * 1024];
    long len = pread(desk->log_fd, text, sizeof(text) - 1, 0);
    int count = 0;

    assert_true(len >= 0);
    text[len] = 0;
    for (const char *at = text; (at = strstr(at, what)); at++) {
        count++;
    }
    return count;
}

static void pass(const struct desk *desk, uint64_t ms)
{
    for (uint64_t end = clock_now_ns() + ms * 1000000; clock_now_ns() < end;) {
        loop_poll(desk->loop, 20);
        conn_server_tick(desk->server);
    }
}

static void when_many_do_so_at_once_the_first_are_named_and_the_rest_counted(void **state)
{
    struct desk *desk = *state;

    for (int i = 0; i < MANY; i++) {
        report_slow(desk->server, desk->client, true);
    }
    report_slow(desk->server, desk->client, false);
    report_cut_slow(desk->server, desk->client);
    assert_int_equal(lines_with(desk, "ev=conn.slow conn="), REPORT_BURST);
    assert_int_equal(lines_with(desk, "ev=conn.recovered conn="), 1);
    assert_int_equal(lines_with(desk, "ev=conn.cut conn="), 1);
    conn_server_tick(desk->server);
    assert_int_equal(lines_with(desk, "_more"), 0);
    pass(desk, 1100);
    assert_int_equal(lines_with(desk, "ev=conn.slow_more count=107 "), 1);
    assert_int_equal(lines_with(desk, "_more"), 1);
    report_slow(desk->server, desk->client, true);
    assert_int_equal(lines_with(desk, "ev=conn.slow conn="), REPORT_BURST + 1);
}

static void what_an_operator_cuts_is_always_named(void **state)
{
    struct desk *desk = *state;

    for (int i = 0; i < MANY; i++) {
        report_cut(desk->server, desk->client, "an operator");
    }
    assert_int_equal(lines_with(desk, "ev=conn.cut conn="), MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            when_many_do_so_at_once_the_first_are_named_and_the_rest_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_an_operator_cuts_is_always_named, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
