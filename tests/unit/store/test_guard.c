/* A fault in a mapped file is an answer inside the guard, and what it always was outside. */
#include "store/guard.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/unit/store/store_rig.h"

/* A page of a file that is not that long: touching it is SIGBUS. */
static volatile uint8_t *page_without_file(void)
{
    char path[] = "/tmp/fanout-guard-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    volatile uint8_t *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(page != MAP_FAILED);
    close(fd);
    return page;
}

static int touch(void *arg)
{
    volatile uint8_t *page = arg;

    return page[0] == 0 ? 1 : 2;
}

static int give_seven(void *arg)
{
    (void)arg;
    return 7;
}

static int assert_like_lmdb(void *arg)
{
    (void)arg;
    guard_fail();
    return 0;
}

static void a_fault_inside_is_an_answer(void **state)
{
    (void)state;
    volatile uint8_t *page = page_without_file();

    assert_int_equal(guard_install(), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(guard_run(touch, (void *)page), -EFAULT);
        assert_int_equal(guard_run(give_seven, NULL), 7);
    }
    assert_int_equal(guard_run(touch, (void *)(uintptr_t)8), -EFAULT);
    assert_int_equal(guard_run(assert_like_lmdb, NULL), -EFAULT);
    guard_fail(); /* Outside it does nothing. */
    guard_remove();
    munmap((void *)page, 4096);
}

static void former(int number)
{
    _exit(number == SIGBUS ? 55 : 56);
}

static int status_of(void (*fn)(volatile uint8_t *page))
{
    volatile uint8_t *page = page_without_file();
    int status;

    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGBUS, former);
        fn(page);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    munmap((void *)page, 4096);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void fault_outside(volatile uint8_t *page)
{
    if (guard_install() == 0 && guard_run(give_seven, NULL) == 7) {
        _exit(page[0]);
    }
}

static void fault_after_removal(volatile uint8_t *page)
{
    if (guard_install() == 0 && guard_install() == 0) {
        guard_remove();
        guard_remove();
        _exit(page[0]);
    }
}

static void a_fault_outside_reaches_whoever_was_there_before(void **state)
{
    (void)state;
    assert_int_equal(status_of(fault_outside), 55);
    assert_int_equal(status_of(fault_after_removal), 55);
}

/* As when the disk loses what it had: the process lives, the answers say so. */
static void pages_that_vanish_under_an_open_store_are_answers(void **state)
{
    (void)state;
    int status;

    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rig rig;
        char path[300];
        rig_init(&rig);
        rig_open(&rig);
        assert_int_equal(
            rig_append_many(&rig, "n:1", rig_offset(&rig, 1), 2000, 500, &rig_no_limits), 0);
        snprintf(path, sizeof(path), "%s/data.mdb", rig.dir);
        assert_int_equal(truncate(path, 8192), 0);
        struct store_read *read = rig_read(&rig, "n:1", STORE_FROM_BEGIN, 0, 100);
        int read_err = read->letter.err;
        rig_read_free(read);
        int append_err = rig_append(&rig, "n:1", rig_offset(&rig, 2001), "x");
        bool told = rig.events[STORE_DAMAGED] == 1 && rig.events[STORE_FAILED] == 1;
        rig_fini(&rig);
        _exit(read_err == -EIO && append_err == -EIO && told ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fault_inside_is_an_answer),
        cmocka_unit_test(a_fault_outside_reaches_whoever_was_there_before),
        cmocka_unit_test(pages_that_vanish_under_an_open_store_are_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
