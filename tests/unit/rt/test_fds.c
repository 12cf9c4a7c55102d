/* Each test runs in a child process of its own, whose limit is low and whose descriptors do not
 * matter to anybody. */
#include "rt/fds.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/attr.h"
#include "tests/support/unit.h"

enum { LIMIT = 200 };

/* In a child a failed cmocka assertion has nowhere to go; the status says the line. */
#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

static void in_a_child(void (*test)(void))
{
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit limit;
        MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
        limit.rlim_cur = LIMIT;
        MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
        test();
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* ---- */

/* ThreadSanitizer knows one table a process and takes equal numbers for one descriptor. */
const char *__tsan_default_suppressions(void);
const char *__tsan_default_suppressions(void)
{
    return "race:fill_own_table\n";
}

static int shared_fd;
static pthread_barrier_t both_full;

static void *fill_own_table(void *arg)
{
    uint32_t *ret_count = arg;
    int fd;

    MUST(fds_own_table(&shared_fd, 1) == 0);
    while ((fd = eventfd(0, EFD_CLOEXEC)) >= 0) {
        *ret_count += 1;
    }
    MUST(errno == EMFILE);
    pthread_barrier_wait(&both_full); /* Both are full at the same time. */
    uint64_t one = 1;
    MUST(write(shared_fd, &one, sizeof(one)) == sizeof(one));
    return NULL;
}

static void fill_two_tables(void)
{
    pthread_t threads[2];
    uint32_t counts[2] = {0};
    uint64_t sum;

    shared_fd = eventfd(0, EFD_CLOEXEC);
    int unshared_fd = eventfd(0, EFD_CLOEXEC);
    MUST(shared_fd >= 0 && unshared_fd >= 0);
    pthread_barrier_init(&both_full, NULL, 2);
    for (int i = 0; i < 2; i++) {
        MUST(pthread_create(&threads[i], NULL, fill_own_table, &counts[i]) == 0);
    }
    for (int i = 0; i < 2; i++) {
        MUST(pthread_join(threads[i], NULL) == 0);
    }
    MUST(counts[0] > LIMIT / 2 && counts[1] > LIMIT / 2);
    /* Ours is as it was; the kept descriptor meant the same thing to all. */
    MUST(is_open(unshared_fd));
    MUST(read(shared_fd, &sum, sizeof(sum)) == sizeof(sum) && sum == 2);
}

static void two_threads_together_open_more_than_the_limit(void **state)
{
    (void)state;
    in_a_child(fill_two_tables);
}

static void *keep_some(void *arg)
{
    int *fds = arg;
    /* In no order, one of the first three, one twice, one that is not open. */
    int keep[] = {fds[7], fds[2], 1, fds[2], LIMIT - 1};

    MUST(fds_own_table(keep, COUNT_OF(keep)) == 0);
    for (int i = 0; i < 10; i++) {
        MUST(is_open(fds[i]) == (i == 2 || i == 7));
    }
    MUST(is_open(0) && is_open(1) && is_open(2));
    return NULL;
}

static void keep_some_in_a_thread(void)
{
    int fds[10];
    pthread_t thread;

    for (int i = 0; i < 10; i++) {
        fds[i] = eventfd(0, EFD_CLOEXEC);
        MUST(fds[i] >= 0);
    }
    MUST(pthread_create(&thread, NULL, keep_some, fds) == 0);
    MUST(pthread_join(thread, NULL) == 0);
    for (int i = 0; i < 10; i++) {
        MUST(is_open(fds[i]));
    }
}

static void only_what_is_kept_stays_open_and_only_there(void **state)
{
    (void)state;
    in_a_child(keep_some_in_a_thread);
}

static void *keep_nothing(void *arg)
{
    int *pipe_fds = arg;

    MUST(fds_own_table(NULL, 0) == 0);
    MUST(!is_open(pipe_fds[0]) && !is_open(pipe_fds[1]));
    pause();
    return NULL;
}

/* A table's forgotten copy of a write end would keep the reader waiting for ever. */
static void see_the_end_of_a_pipe(void)
{
    int pipe_fds[2];
    pthread_t thread;
    char byte;

    MUST(pipe(pipe_fds) == 0);
    MUST(pthread_create(&thread, NULL, keep_nothing, pipe_fds) == 0);
    usleep(50000);
    close(pipe_fds[1]);
    alarm(10);
    MUST(read(pipe_fds[0], &byte, 1) == 0);
}

static void a_table_of_its_own_does_not_hold_others_peers_up(void **state)
{
    (void)state;
    in_a_child(see_the_end_of_a_pipe);
}

static void use_the_spare(void)
{
    struct fds_spare spare = {0}, none = {0};
    int fd;

    fds_spare_hold(&spare);
    int spare_fd = spare.fd;
    MUST(spare_fd > 0 && is_open(spare_fd));
    fds_spare_hold(&spare);
    MUST(spare.fd == spare_fd);
    while ((fd = eventfd(0, EFD_CLOEXEC)) >= 0) {
    }
    fds_spare_hold(&none);
    MUST(none.fd == -1);
    fds_spare_release(&spare);
    MUST(spare.fd == -1);
    fd = eventfd(0, EFD_CLOEXEC);
    MUST(fd == spare_fd);
    fds_spare_release(&spare);
    MUST(is_open(fd));
    close(fd);
    fds_spare_hold(&spare);
    MUST(spare.fd == spare_fd);
}

static void the_spare_gives_room_for_one_more(void **state)
{
    (void)state;
    in_a_child(use_the_spare);
}

static void raise_it(void)
{
    struct rlimit limit;

    uint32_t count = fds_raise_limit();
    MUST(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    MUST(limit.rlim_cur == limit.rlim_max);
    MUST(count == limit.rlim_cur || count == UINT32_MAX);
    MUST(count > LIMIT);
}

static void the_limit_is_raised_to_the_hard_one(void **state)
{
    (void)state;
    in_a_child(raise_it);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_threads_together_open_more_than_the_limit),
        cmocka_unit_test(only_what_is_kept_stays_open_and_only_there),
        cmocka_unit_test(a_table_of_its_own_does_not_hold_others_peers_up),
        cmocka_unit_test(the_spare_gives_room_for_one_more),
        cmocka_unit_test(the_limit_is_raised_to_the_hard_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
