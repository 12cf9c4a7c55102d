#include "rt/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/unit.h"

struct seen {
    char name[16];
    bool term_blocked, fault_blocked;
    cpu_set_t cpus;
};

static void look_around(void *arg)
{
    struct seen *seen = arg;
    sigset_t blocked;

    pthread_getname_np(pthread_self(), seen->name, sizeof(seen->name));
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    seen->term_blocked = sigismember(&blocked, SIGTERM);
    seen->fault_blocked = sigismember(&blocked, SIGSEGV);
    sched_getaffinity(0, sizeof(seen->cpus), &seen->cpus);
}

static int a_cpu_of_ours(void)
{
    cpu_set_t cpus;
    int cpu = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(cpus), &cpus), 0);
    while (!CPU_ISSET(cpu, &cpus)) {
        cpu += 1;
    }
    return cpu;
}

static void a_thread_has_its_name_its_cpu_and_no_signals(void **state)
{
    (void)state;
    struct thread *thread = NULL;
    struct seen seen = {0};
    sigset_t before, after;
    int cpu = a_cpu_of_ours();

    pthread_sigmask(SIG_SETMASK, NULL, &before);
    assert_int_equal(thread_start("a-name-far-too-long", cpu, look_around, &seen, &thread), 0);
    thread_join(thread);
    assert_string_equal(seen.name, "a-name-far-too-");
    assert_true(seen.term_blocked);
    assert_false(seen.fault_blocked);
    assert_int_equal(CPU_COUNT(&seen.cpus), 1);
    assert_true(CPU_ISSET(cpu, &seen.cpus));
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));

    assert_int_equal(thread_start("any", -1, look_around, &seen, &thread), 0);
    thread_join(thread);
    assert_int_equal((uint32_t)CPU_COUNT(&seen.cpus), thread_cpu_count());
}

static void a_cpu_that_does_not_exist_is_an_error(void **state)
{
    (void)state;
    struct thread *thread = NULL;
    struct seen seen = {0};

    assert_true(thread_start("x", 4000, look_around, &seen, &thread) < 0);
    assert_null(thread);
    assert_true(thread_cpu_count() >= 1);
}

static void signals_become_readable(void **state)
{
    (void)state;
    int fd = -1;
    sigset_t saved;

    pthread_sigmask(SIG_SETMASK, NULL, &saved);
    assert_int_equal(signals_open(&fd), 0);
    assert_int_equal(signals_take(fd), 0);
    kill(getpid(), SIGTERM);
    kill(getpid(), SIGHUP);
    int first = signals_take(fd), second = signals_take(fd);
    assert_int_equal(first + second, SIGTERM + SIGHUP);
    assert_int_equal(signals_take(fd), 0);
    raise(SIGPIPE); /* Ignored, or the test ends here. */
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

/* A service manager's end at this path; '@' is abstract. */
static int manager_at(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    memcpy(addr.sun_path, path, strlen(path));
    if (path[0] == '@') {
        addr.sun_path[0] = '\0';
    }
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    return fd;
}

static void expect_notice(const char *path)
{
    char buf[64] = "";
    int fd = manager_at(path);

    setenv("NOTIFY_SOCKET", path, 1);
    notify_service("READY=1\nSTATUS=ok");
    assert_int_equal(recv(fd, buf, sizeof(buf), 0), 17);
    assert_memory_equal(buf, "READY=1\nSTATUS=ok", 17);
    close(fd);
}

static void the_service_manager_hears_by_path_and_by_abstract_name(void **state)
{
    (void)state;
    char folder[] = "/tmp/rt_thread_XXXXXX";
    char path[64];

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/notify", folder);
    expect_notice(path);
    unlink(path);
    rmdir(folder);
    snprintf(path, sizeof(path), "@rt_thread_%d", (int)getpid());
    expect_notice(path);

    /* Nobody there, nonsense, nothing: no failure, no signal. */
    notify_service("READY=1");
    setenv("NOTIFY_SOCKET", "nonsense", 1);
    notify_service("READY=1");
    setenv("NOTIFY_SOCKET", "", 1);
    notify_service("READY=1");
    unsetenv("NOTIFY_SOCKET");
    notify_service("READY=1");
}

/* In a child whose descriptors 3, 4, 5 are sockets; pid 0 stands for the child's own. */
static int listen_fds_in_child(long pid, const char *count, uint32_t cap)
{
    pid_t child = fork();
    if (child == 0) {
        char text[24];
        int fds[3] = {-1, -1, -1};
        for (int fd = 3; fd < 6; fd++) {
            int made = socket(AF_UNIX, SOCK_STREAM, 0);
            if (dup2(made, fd) != fd) {
                _exit(100);
            }
        }
        snprintf(text, sizeof(text), "%ld", pid ? pid : (long)getpid());
        setenv("LISTEN_PID", text, 1);
        setenv("LISTEN_FDS", count, 1);
        setenv("LISTEN_FDNAMES", "a:b", 1);
        uint32_t got = notify_listen_fds(fds, cap);
        if (getenv("LISTEN_PID") || getenv("LISTEN_FDS") || getenv("LISTEN_FDNAMES")) {
            _exit(101);
        }
        for (uint32_t i = 0; i < got; i++) {
            if (fds[i] != 3 + (int)i || !(fcntl(fds[i], F_GETFD) & FD_CLOEXEC) ||
                !(fcntl(fds[i], F_GETFL) & O_NONBLOCK)) {
                _exit(102);
            }
        }
        if (got && got < 3 && got == cap && fcntl(3 + (int)cap, F_GETFD) >= 0) {
            _exit(103); /* What does not fit must not stay open. */
        }
        _exit((int)got);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void sockets_handed_over_are_taken_when_meant_for_us(void **state)
{
    (void)state;
    assert_int_equal(listen_fds_in_child(0, "2", 3), 2);
    assert_int_equal(listen_fds_in_child(0, "3", 2), 2);
    assert_int_equal(listen_fds_in_child(getpid(), "2", 3), 0); /* The parent's. */
    assert_int_equal(listen_fds_in_child(0, "", 3), 0);
    assert_int_equal(listen_fds_in_child(0, "-1", 3), 0);
    assert_int_equal(listen_fds_in_child(0, "2x", 3), 0);
    assert_int_equal(listen_fds_in_child(0, "99999999999999999999", 3), 0);
    int fds[1];
    assert_int_equal(notify_listen_fds(fds, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thread_has_its_name_its_cpu_and_no_signals),
        cmocka_unit_test(a_cpu_that_does_not_exist_is_an_error),
        cmocka_unit_test(signals_become_readable),
        cmocka_unit_test(the_service_manager_hears_by_path_and_by_abstract_name),
        cmocka_unit_test(sockets_handed_over_are_taken_when_meant_for_us),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
