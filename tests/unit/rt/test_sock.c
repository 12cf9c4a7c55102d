#include "rt/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "rt/address.h"
#include "rt/loop.h"
#include "tests/support/unit.h"

static const struct sock_listen_options plain = {.backlog = 16};

static char folder[] = "/tmp/rt_sock_XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static int listen_at(const char *address, const struct sock_listen_options *options)
{
    int fd = -1;

    assert_int_equal(sock_listen(address, options, &fd, NULL), 0);
    return fd;
}

static void wait_for(int fd, short events)
{
    struct pollfd pollfd = {.fd = fd, .events = events};

    assert_int_equal(poll(&pollfd, 1, 10000), 1);
}

/* Both ends of a new connection to listen_fd. */
static void connect_to(int listen_fd, const char *address, const char *source_ip, int *fds)
{
    assert_int_equal(sock_connect(address, source_ip, &fds[0]), 0);
    wait_for(listen_fd, POLLIN);
    fds[1] = sock_accept(listen_fd);
    assert_true(fds[1] >= 0);
    wait_for(fds[0], POLLOUT);
    assert_int_equal(sock_connect_result(fds[0]), 0);
}

static void close_both(const int *fds)
{
    sock_close(fds[0]);
    sock_close(fds[1]);
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    assert_int_equal(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

static bool text_is_an_address(const char *text)
{
    struct sockaddr_storage addr;
    socklen_t len;

    return address_parse(text, true, &addr, &len) == 0;
}

static void addresses_are_understood_or_refused(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:80", ":8084", ":0", "localhost:1", "[::1]:65535",
        "[::]:1", "unix:/run/x", "unix:x"};
    static const char *const bad[] = {"", ":", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536",
        "127.0.0.1:-1", "127.0.0.1:1x", "127.0.0.1: 1", "::1:80", "[::1]", "[::1]80", "[]:80",
        "[::1:80", "example.org:80", "unix:", "256.0.0.1:1", "127.0.0.1:4294967297"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(text_is_an_address(good[i]));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(text_is_an_address(bad[i]));
    }
    char text[400] = "unix:/";
    memset(text + 6, 'x', 300);
    assert_false(text_is_an_address(text));
    memset(text, 'x', 300);
    memcpy(text + 300, ":80", 4);
    assert_false(text_is_an_address(text));
}

static void bytes_cross_a_tcp_connection_both_ways(void **state)
{
    (void)state;
    int listen_fd = listen_at("127.0.0.1:0", &plain);
    char address[32], name[SOCK_NAME_MAX], buf[16];
    int fds[2];

    uint16_t port = sock_local_port(listen_fd);
    assert_true(port > 0);
    snprintf(address, sizeof(address), "127.0.0.1:%u", port);
    assert_int_equal(sock_accept(listen_fd), -EAGAIN);
    connect_to(listen_fd, address, NULL, fds);
    assert_int_equal(sock_recv(fds[1], buf, sizeof(buf)), -EAGAIN);
    assert_int_equal(sock_send(fds[0], "hello", 5), 5);
    wait_for(fds[1], POLLIN);
    assert_int_equal(sock_recv(fds[1], buf, sizeof(buf)), 5);
    char wor[] = "wor", ld[] = "ld";
    struct iovec iov[2] = {{wor, 3}, {ld, 2}};
    assert_int_equal(sock_sendv(fds[1], iov, 2), 5);
    wait_for(fds[0], POLLIN);
    assert_int_equal(sock_recv(fds[0], buf, sizeof(buf)), 5);
    assert_memory_equal(buf, "world", 5);
    sock_peer_name(fds[0], name, sizeof(name));
    assert_string_equal(name, address);
    sock_shutdown_write(fds[0]);
    wait_for(fds[1], POLLIN);
    assert_int_equal(sock_recv(fds[1], buf, sizeof(buf)), 0);
    assert_int_equal(sock_send(fds[1], "still", 5), 5);
    close_both(fds);
    sock_close(listen_fd);
}

static void a_listener_on_every_address_names_v4_peers_as_such(void **state)
{
    (void)state;
    int listen_fd = listen_at(":0", &plain);
    char address[32], name[SOCK_NAME_MAX];
    int fds[2];

    snprintf(address, sizeof(address), "localhost:%u", sock_local_port(listen_fd));
    connect_to(listen_fd, address, NULL, fds);
    sock_peer_name(fds[1], name, sizeof(name));
    assert_memory_equal(name, "127.0.0.1:", 10);
    close_both(fds);
    sock_peer_name(listen_fd, name, sizeof(name));
    assert_string_equal(name, "?");
    sock_close(listen_fd);
}

static void a_v6_peer_has_its_name_in_brackets(void **state)
{
    (void)state;
    char address[32], name[SOCK_NAME_MAX];
    int listen_fd, fds[2];

    if (sock_listen("[::1]:0", &plain, &listen_fd, NULL) < 0) {
        skip(); /* A machine without IPv6. */
    }
    snprintf(address, sizeof(address), "[::1]:%u", sock_local_port(listen_fd));
    connect_to(listen_fd, address, NULL, fds);
    sock_peer_name(fds[0], name, sizeof(name));
    assert_string_equal(name, address);
    close_both(fds);
    sock_close(listen_fd);
}

static void options_of_the_listener_are_inherited(void **state)
{
    (void)state;
    struct sock_listen_options options = {
        .backlog = 16, .reuse_port = true, .notsent_lowat = 32768, .user_timeout_ms = 20000};
    int listen_fd = listen_at("127.0.0.1:0", &options);
    char address[32];
    int fds[2];

    snprintf(address, sizeof(address), "127.0.0.1:%u", sock_local_port(listen_fd));
    int second_fd = listen_at(address, &options);
    sock_close(second_fd);
    const char *why = NULL;
    assert_int_equal(sock_listen(address, &plain, &second_fd, &why), -EADDRINUSE);
    assert_string_equal(why, "bind");
    connect_to(listen_fd, address, NULL, fds);
    assert_int_equal(option_of(fds[1], IPPROTO_TCP, TCP_NODELAY), 1);
    assert_int_equal(option_of(fds[1], IPPROTO_TCP, TCP_NOTSENT_LOWAT), 32768);
    assert_int_equal(option_of(fds[1], IPPROTO_TCP, TCP_USER_TIMEOUT), 20000);
    assert_int_equal(option_of(fds[0], IPPROTO_TCP, TCP_NODELAY), 1);
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    close_both(fds);
    sock_close(listen_fd);

    listen_fd = listen_at("127.0.0.1:0", &plain);
    assert_int_equal(sock_adopt(listen_fd, &options), 0);
    assert_int_equal(option_of(listen_fd, IPPROTO_TCP, TCP_USER_TIMEOUT), 20000);
    assert_int_equal(sock_adopt(0x7fffffff, &options), -EBADF);
    sock_close(listen_fd);
}

static void a_deferring_listener_accepts_who_has_spoken_or_waited(void **state)
{
    (void)state;
    struct sock_listen_options options = {.backlog = 16, .defer_accept_s = 1};
    int listen_fd = listen_at("127.0.0.1:0", &options), silent_fd, fd;
    char address[32];

    snprintf(address, sizeof(address), "127.0.0.1:%u", sock_local_port(listen_fd));
    assert_int_equal(sock_connect(address, NULL, &silent_fd), 0);
    struct pollfd out = {.fd = silent_fd, .events = POLLOUT};
    assert_int_equal(poll(&out, 1, 1000), 1);
    assert_int_equal(sock_connect_result(silent_fd), 0);
    assert_int_equal(sock_accept(listen_fd), -EAGAIN);
    assert_int_equal(send(silent_fd, "x", 1, 0), 1);
    struct pollfd in = {.fd = listen_fd, .events = POLLIN};
    assert_int_equal(poll(&in, 1, 1000), 1);
    fd = sock_accept(listen_fd);
    assert_true(fd >= 0);
    sock_close(fd);
    sock_close(silent_fd);

    assert_int_equal(sock_connect(address, NULL, &silent_fd), 0);
    assert_int_equal(poll(&in, 1, 10000), 1);
    fd = sock_accept(listen_fd);
    assert_true(fd >= 0);
    sock_close(fd);
    sock_close(silent_fd);
    sock_close(listen_fd);
}

static void a_connection_comes_from_the_source_asked_for(void **state)
{
    (void)state;
    int listen_fd = listen_at("127.0.0.1:0", &plain);
    char address[32], name[SOCK_NAME_MAX];
    int fds[2];

    snprintf(address, sizeof(address), "127.0.0.1:%u", sock_local_port(listen_fd));
    connect_to(listen_fd, address, "127.0.0.9", fds);
    sock_peer_name(fds[1], name, sizeof(name));
    assert_memory_equal(name, "127.0.0.9:", 10);
    close_both(fds);
    assert_int_equal(sock_connect(address, "not an address", &fds[0]), -EINVAL);
    sock_close(listen_fd);
}

static void nobody_listening_is_refused(void **state)
{
    (void)state;
    int listen_fd = listen_at("127.0.0.1:0", &plain);
    char address[32];
    int fd = -1;

    snprintf(address, sizeof(address), "127.0.0.1:%u", sock_local_port(listen_fd));
    sock_close(listen_fd);
    int r = sock_connect(address, NULL, &fd);
    if (r == 0) {
        wait_for(fd, POLLOUT);
        r = sock_connect_result(fd);
        sock_close(fd);
    }
    assert_int_equal(r, -ECONNREFUSED);
    assert_int_equal(sock_connect("redis.example:6379", NULL, &fd), -EINVAL);
}

static void a_dead_peer_raises_no_signal(void **state)
{
    (void)state;
    int listen_fd = listen_at("127.0.0.1:0", &plain);
    char address[32];
    int fds[2];

    signal(SIGPIPE, SIG_DFL);
    snprintf(address, sizeof(address), "127.0.0.1:%u", sock_local_port(listen_fd));
    connect_to(listen_fd, address, NULL, fds);
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    sock_close(fds[1]);
    wait_for(fds[0], POLLIN);
    char byte[] = "x";
    struct iovec iov = {byte, 1};
    assert_int_equal(sock_send(fds[0], "x", 1), -ECONNRESET);
    assert_int_equal(sock_send(fds[0], "x", 1), -EPIPE);
    assert_int_equal(sock_sendv(fds[0], &iov, 1), -EPIPE);
    sock_close(fds[0]);
    sock_close(listen_fd);
}

static void on_tick(int number)
{
    (void)number;
}

/* A blocking socket and a signal every millisecond: without repeating, this would fail soon. */
static void signals_do_not_interrupt(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = on_tick}; /* No SA_RESTART. */
    struct itimerval each_ms = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
    int fds[2];
    char buf[1];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    sigaction(SIGALRM, &action, NULL);
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 3; i++) {
            usleep(20000);
            (void)!write(fds[1], "x", 1);
        }
        _exit(0);
    }
    setitimer(ITIMER_REAL, &each_ms, NULL);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(sock_recv(fds[0], buf, 1), 1);
    }
    setitimer(ITIMER_REAL, &never, NULL);
    close_both(fds);
}

static void a_stale_unix_socket_is_replaced_a_living_one_is_not(void **state)
{
    (void)state;
    struct sock_listen_options options = {.backlog = 16, .unix_mode = 0660};
    char address[64], name[SOCK_NAME_MAX];
    const char *why = NULL;
    struct stat st;
    int fds[2], other_fd;

    snprintf(address, sizeof(address), "unix:%s/s", folder);
    int listen_fd = listen_at(address, &options);
    assert_int_equal(sock_local_port(listen_fd), 0);
    assert_int_equal(stat(address + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0660);
    connect_to(listen_fd, address, NULL, fds);
    sock_peer_name(fds[0], name, sizeof(name));
    assert_string_equal(name, "unix");
    sock_peer_name(fds[1], name, sizeof(name));
    assert_string_equal(name, "unix");
    close_both(fds);
    assert_int_equal(sock_listen(address, &options, &other_fd, &why), -EADDRINUSE);
    assert_string_equal(why, "bind");
    sock_close(listen_fd);
    listen_fd = listen_at(address, &options); /* The file is still there; nobody listens. */
    sock_close(listen_fd);
    unlink(address + 5);

    /* What is not a socket is left alone. */
    FILE *file = fopen(address + 5, "w");
    assert_non_null(file);
    fclose(file);
    assert_int_equal(sock_listen(address, &options, &other_fd, NULL), -EADDRINUSE);
    assert_int_equal(stat(address + 5, &st), 0);
    unlink(address + 5);
}

struct seen {
    uint32_t events;
};

static void see(void *ctx, uint64_t id, uint32_t events)
{
    (void)id;
    ((struct seen *)ctx)->events |= events;
}

/* The sequence every link goes through. */
static void a_loop_tells_when_a_connection_is_up(void **state)
{
    (void)state;
    int listen_fd = listen_at("127.0.0.1:0", &plain);
    struct loop *loop = NULL;
    struct seen seen = {0};
    char address[32];
    int fd;

    snprintf(address, sizeof(address), "127.0.0.1:%u", sock_local_port(listen_fd));
    assert_int_equal(loop_create(&loop), 0);
    loop_handle(loop, 1, see, &seen);
    assert_int_equal(sock_connect(address, NULL, &fd), 0);
    assert_int_equal(
        loop_watch(loop, fd, 1, 1, LOOP_WATCH_IN | LOOP_WATCH_OUT | LOOP_WATCH_EDGE), 0);
    while (!seen.events) {
        loop_poll(loop, 10000);
    }
    assert_int_equal(seen.events, LOOP_OUT);
    assert_int_equal(sock_connect_result(fd), 0);
    loop_unwatch(loop, fd);
    sock_close(fd);
    sock_close(listen_fd);
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_are_understood_or_refused),
        cmocka_unit_test(bytes_cross_a_tcp_connection_both_ways),
        cmocka_unit_test(a_listener_on_every_address_names_v4_peers_as_such),
        cmocka_unit_test(a_v6_peer_has_its_name_in_brackets),
        cmocka_unit_test(options_of_the_listener_are_inherited),
        cmocka_unit_test(a_deferring_listener_accepts_who_has_spoken_or_waited),
        cmocka_unit_test(a_connection_comes_from_the_source_asked_for),
        cmocka_unit_test(nobody_listening_is_refused),
        cmocka_unit_test(a_dead_peer_raises_no_signal),
        cmocka_unit_test(signals_do_not_interrupt),
        cmocka_unit_test(a_stale_unix_socket_is_replaced_a_living_one_is_not),
        cmocka_unit_test(a_loop_tells_when_a_connection_is_up),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
