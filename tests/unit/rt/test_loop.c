#include "rt/loop.h"

#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "rt/clock.h"
#include "rt/timer.h"
#include "tests/support/unit.h"

struct seen {
    uint32_t count;
    uint64_t id;
    uint32_t events;
    struct loop *loop;
    int unwatch_fd;
};

static void see(void *ctx, uint64_t id, uint32_t events)
{
    struct seen *seen = ctx;

    seen->count += 1;
    seen->id = id;
    seen->events = events;
}

static struct loop *new_loop(void)
{
    struct loop *loop = NULL;

    assert_int_equal(loop_create(&loop), 0);
    return loop;
}

static void new_pair(int *fds)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static void put(int fd)
{
    assert_int_equal(write(fd, "x", 1), 1);
}

static void an_event_carries_the_kind_and_all_56_bits_of_the_id(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct seen seen = {0}, other = {0};
    int fds[2];
    new_pair(fds);

    loop_handle(loop, 15, see, &seen);
    loop_handle(loop, 0, see, &other);
    assert_int_equal(loop_watch(loop, fds[0], 15, 0xfedcba98765432ull, LOOP_WATCH_IN), 0);
    assert_int_equal(loop_poll(loop, 0), 0);
    put(fds[1]);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_int_equal(seen.count, 1);
    assert_int_equal(seen.id, 0xfedcba98765432ull);
    assert_int_equal(seen.events, LOOP_IN);
    assert_int_equal(other.count, 0);

    close(fds[0]);
    close(fds[1]);
    loop_destroy(loop);
}

static void by_level_is_told_as_long_as_it_lasts_by_edge_once_per_change(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct seen level = {0}, edge = {0};
    int a[2], b[2];
    new_pair(a);
    new_pair(b);

    loop_handle(loop, 1, see, &level);
    loop_handle(loop, 2, see, &edge);
    assert_int_equal(loop_watch(loop, a[0], 1, 1, LOOP_WATCH_IN), 0);
    assert_int_equal(
        loop_watch(loop, b[0], 2, 2, LOOP_WATCH_IN | LOOP_WATCH_OUT | LOOP_WATCH_EDGE), 0);
    assert_int_equal(loop_poll(loop, 0), 1); /* b can be written to. */
    assert_int_equal(edge.events, LOOP_OUT);
    put(a[1]);
    put(b[1]);
    assert_int_equal(loop_poll(loop, 0), 2);
    assert_int_equal(edge.events, LOOP_IN | LOOP_OUT);
    assert_int_equal(loop_poll(loop, 0), 1);
    assert_int_equal(level.count, 2);
    assert_int_equal(edge.count, 2);
    put(b[1]);
    assert_int_equal(loop_poll(loop, 0), 2);
    assert_int_equal(edge.count, 3);

    close(a[0]);
    close(a[1]);
    close(b[0]);
    close(b[1]);
    loop_destroy(loop);
}

static void the_end_of_the_peer_is_a_hup(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct seen seen = {0};
    int fds[2];
    new_pair(fds);

    loop_handle(loop, 3, see, &seen);
    assert_int_equal(loop_watch(loop, fds[0], 3, 9, LOOP_WATCH_IN | LOOP_WATCH_EDGE), 0);
    close(fds[1]);
    assert_int_equal(loop_poll(loop, -1), 1);
    assert_true(seen.events & LOOP_HUP);
    assert_true(seen.events & LOOP_IN);

    close(fds[0]);
    loop_destroy(loop);
}

static void new_tcp_pair(int *fds)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    fds[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[1], (struct sockaddr *)&addr, len), 0);
    fds[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    assert_true(fds[0] >= 0);
    close(listener);
}

/* What readers rely on that stop after a read that did not fill their buffer, and try no second one:
 * whatever comes after the event, before that read or behind it, the end included, is news. */
static void what_comes_after_an_event_is_another_one_whenever_it_is_read(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        struct loop *loop = new_loop();
        struct seen seen = {0};
        char buf[16];
        int fds[2];
        tcp ? new_tcp_pair(fds) : new_pair(fds);

        loop_handle(loop, 3, see, &seen);
        assert_int_equal(
            loop_watch(loop, fds[0], 3, 9, LOOP_WATCH_IN | LOOP_WATCH_OUT | LOOP_WATCH_EDGE), 0);
        assert_int_equal(loop_poll(loop, 0), 1);
        put(fds[1]);
        assert_int_equal(loop_poll(loop, 1000), 1);
        assert_int_equal(recv(fds[0], buf, sizeof(buf), 0), 1); /* Short. */
        put(fds[1]);
        assert_int_equal(loop_poll(loop, 1000), 1);
        put(fds[1]); /* Between the event and the read. */
        assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
        assert_int_equal(recv(fds[0], buf, sizeof(buf), 0), 2);
        assert_int_equal(loop_poll(loop, 1000), 1);
        assert_true(seen.events & LOOP_HUP);
        assert_int_equal(recv(fds[0], buf, sizeof(buf), 0), 0);

        close(fds[0]);
        close(fds[1]);
        loop_destroy(loop);
    }
}

static void watching_can_change_and_end_also_when_exclusive(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct seen seen = {0};
    int fds[2];
    new_pair(fds);

    loop_handle(loop, 3, see, &seen);
    assert_int_equal(loop_watch(loop, fds[0], 3, 1, LOOP_WATCH_IN | LOOP_WATCH_EXCLUSIVE), 0);
    assert_int_equal(loop_poll(loop, 0), 0);
    assert_int_equal(loop_rewatch(loop, fds[0], 3, 2, LOOP_WATCH_OUT), 0);
    assert_int_equal(loop_poll(loop, 0), 1);
    assert_int_equal(seen.id, 2);
    assert_int_equal(loop_rewatch(loop, fds[0], 3, 3, LOOP_WATCH_IN | LOOP_WATCH_EXCLUSIVE), 0);
    assert_int_equal(loop_poll(loop, 0), 0);
    put(fds[1]);
    assert_int_equal(loop_poll(loop, 0), 1);
    assert_int_equal(seen.id, 3);
    loop_unwatch(loop, fds[0]);
    assert_int_equal(loop_poll(loop, 0), 0);
    loop_unwatch(loop, fds[0]);
    assert_int_equal(loop_watch(loop, -1, 3, 1, LOOP_WATCH_IN), -EBADF);

    close(fds[0]);
    close(fds[1]);
    loop_destroy(loop);
}

static void ring(struct timer *timer, void *ctx)
{
    (void)timer;
    *(uint64_t *)ctx = clock_now_ns();
}

static void waiting_ends_for_the_next_timer(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct timer timer = {0};
    uint64_t rang_ns = 0;

    uint64_t start_ns = clock_now_ns();
    timer_start(loop, &timer, 50, ring, &rang_ns);
    uint32_t turn_count = 0;
    while (!rang_ns) {
        assert_int_equal(loop_poll(loop, -1), 0);
        turn_count += 1;
    }
    assert_true(rang_ns - start_ns >= 50ull * 1000000);
    assert_true(turn_count <= 4); /* It slept; it did not tick. */
    loop_destroy(loop);
}

static void a_timeout_is_an_upper_bound(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct timer timer = {0};
    uint64_t rang_ns = 0;

    timer_start(loop, &timer, 60000, ring, &rang_ns);
    uint64_t start_ns = clock_now_ns();
    assert_int_equal(loop_poll(loop, 20), 0);
    uint64_t end_ns = clock_now_ns();
    assert_true(end_ns - start_ns >= 19ull * 1000000);
    assert_true(end_ns - start_ns < 30000ull * 1000000);
    assert_true(loop_now_ns(loop) >= start_ns && loop_now_ns(loop) <= end_ns);
    assert_int_equal(loop_now_ms(loop), loop_now_ns(loop) / 1000000);
    loop_destroy(loop);
}

static void *wake_later(void *arg)
{
    usleep(20000);
    loop_wake(arg);
    return NULL;
}

static void another_thread_can_wake_it_again_and_again(void **state)
{
    (void)state;
    struct loop *loop = new_loop();

    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, wake_later, loop), 0);
        assert_int_equal(loop_poll(loop, -1), 0); /* A wake-up is not an event of a descriptor. */
        pthread_join(thread, NULL);
    }
    loop_wake(loop);
    loop_wake(loop);
    assert_int_equal(loop_poll(loop, -1), 0);
    uint64_t start_ns = clock_now_ns();
    assert_int_equal(loop_poll(loop, 15), 0); /* Nothing is left of it. */
    assert_true(clock_now_ns() - start_ns >= 10ull * 1000000);
    loop_destroy(loop);
}

static struct loop *signalled_loop;

static void wake_from_signal(int number)
{
    (void)number;
    loop_wake(signalled_loop);
}

static void a_signal_handler_can_wake_it(void **state)
{
    (void)state;
    struct itimerval in_20_ms = {.it_value = {.tv_usec = 20000}};

    signalled_loop = new_loop();
    signal(SIGALRM, wake_from_signal);
    setitimer(ITIMER_REAL, &in_20_ms, NULL);
    assert_int_equal(loop_poll(signalled_loop, -1), 0);
    loop_destroy(signalled_loop);
}

static void more_events_than_a_turn_holds_come_in_the_next(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static int fds[COUNT][2];
    struct loop *loop = new_loop();
    struct seen seen = {0};

    loop_handle(loop, 1, see, &seen);
    for (int i = 0; i < COUNT; i++) {
        new_pair(fds[i]);
        assert_int_equal(
            loop_watch(loop, fds[i][0], 1, (uint64_t)i, LOOP_WATCH_OUT | LOOP_WATCH_EDGE), 0);
    }
    assert_int_equal(loop_poll(loop, -1), 256);
    assert_int_equal(loop_poll(loop, -1), COUNT - 256);
    assert_int_equal(seen.count, COUNT);
    for (int i = 0; i < COUNT; i++) {
        close(fds[i][0]);
        close(fds[i][1]);
    }
    loop_destroy(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_event_carries_the_kind_and_all_56_bits_of_the_id),
        cmocka_unit_test(by_level_is_told_as_long_as_it_lasts_by_edge_once_per_change),
        cmocka_unit_test(the_end_of_the_peer_is_a_hup),
        cmocka_unit_test(what_comes_after_an_event_is_another_one_whenever_it_is_read),
        cmocka_unit_test(watching_can_change_and_end_also_when_exclusive),
        cmocka_unit_test(waiting_ends_for_the_next_timer),
        cmocka_unit_test(a_timeout_is_an_upper_bound),
        cmocka_unit_test(another_thread_can_wake_it_again_and_again),
        cmocka_unit_test(a_signal_handler_can_wake_it),
        cmocka_unit_test(more_events_than_a_turn_holds_come_in_the_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
