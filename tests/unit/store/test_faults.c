/* Disks that refuse: writes and syncs that fail, a file that may not grow. LMDB's own calls come here,
 * since this program defines them. */
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/mem.h"
#include "tests/unit/store/store_rig.h"

static _Atomic int sync_err, write_err;
static _Atomic int sync_count;

int fdatasync(int fd)
{
    atomic_fetch_add(&sync_count, 1);
    if (sync_err) {
        errno = sync_err;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

/* LMDB writes whole pages; what is shorter is somebody else's. */
static bool refused(size_t len)
{
    if (write_err && len >= 4096) {
        errno = write_err;
        return true;
    }
    return false;
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return refused(len) ? -1 : syscall(SYS_pwrite64, fd, data, len, at);
}

ssize_t write(int fd, const void *data, size_t len)
{
    return refused(len) ? -1 : syscall(SYS_write, fd, data, len);
}

ssize_t writev(int fd, const struct iovec *iov, int count)
{
    return refused(iov[0].iov_len) ? -1 : syscall(SYS_writev, fd, iov, count);
}

static int open_rig(void **state)
{
    struct rig *rig = mem_zalloc(sizeof(*rig));

    rig_init(rig);
    rig_open(rig);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 1), "before"), 0);
    *state = rig;
    return 0;
}

static int close_rig(void **state)
{
    sync_err = 0;
    write_err = 0;
    rig_fini(*state);
    mem_free(*state);
    return 0;
}

static uint32_t count(struct rig *rig)
{
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_BEGIN, 0, 1000);
    uint32_t found = read->count;

    assert_int_equal(read->letter.err, 0);
    rig_read_free(read);
    return found;
}

static void a_failed_sync_is_never_tried_again(void **state)
{
    struct rig *rig = *state;

    sync_err = EIO;
    int syncs = sync_count;
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 2), "lost"), -EIO);
    assert_int_equal(sync_count, syncs + 1);
    sync_err = 0; /* The kernel now says that all is well, which is what must not be believed. */
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 3), "lost"), -EIO);
    assert_int_equal(sync_count, syncs + 1);
    assert_int_equal(rig->events[STORE_FAILED], 1);
    assert_non_null(strstr(rig->last_event, rig->dir));
    assert_int_equal(count(rig), 1); /* Reads go on. */

    rig_reopen(rig);
    assert_int_equal(count(rig), 1);
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 1), "after"), 0);
    assert_int_equal(count(rig), 2);
}

static void a_write_that_fails_ends_the_writing(void **state)
{
    struct rig *rig = *state;
    struct store_stats stats;

    write_err = EIO;
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 2), "lost"), -EIO);
    write_err = 0;
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 3), "lost"), -EIO);
    assert_int_equal(rig->events[STORE_FAILED], 1);
    assert_int_equal(count(rig), 1);
    store_stats(rig->store, &stats);
    assert_true(stats.failed);
    assert_int_equal(stats.refused, 2);
    assert_int_equal(stats.pending_bytes, 0);
}

static void a_full_disk_refuses_and_recovers(void **state)
{
    struct rig *rig = *state;
    struct store_stats stats;

    write_err = ENOSPC;
    for (uint64_t n = 2; n <= 4; n++) {
        assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, n), "lost"), -ENOSPC);
    }
    store_stats(rig->store, &stats);
    assert_true(stats.full);
    assert_int_equal(rig->events[STORE_FULL], 1);
    assert_int_equal(count(rig), 1);
    write_err = 0;
    assert_int_equal(rig_append(rig, "n:1", rig_offset(rig, 5), "again"), 0);
    assert_int_equal(rig->events[STORE_ROOM_AGAIN], 1);
    assert_int_equal(rig->events[STORE_FAILED], 0);
    assert_int_equal(count(rig), 2);
    rig_reopen(rig);
    assert_int_equal(count(rig), 2);
}

/* The kernel's own refusal, in the middle of a write. */
static void a_file_that_may_not_grow_is_a_full_disk(void **state)
{
    struct rig *rig = *state;
    struct rlimit saved, small;
    uint64_t n = 2;
    int r = 0;

    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &saved), 0);
    small = saved;
    small.rlim_cur = 1 << 20;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (; r == 0 && n < 2000; n += 64) {
        r = rig_append_many(rig, "n:1", rig_offset(rig, n), 64, 1000, &rig_no_limits);
    }
    assert_int_equal(r, -ENOSPC);
    uint32_t kept = count(rig);
    assert_true(kept > 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &saved), 0);
    assert_int_equal(rig_append_many(rig, "n:1", rig_offset(rig, n), 64, 1000, &rig_no_limits), 0);
    rig_reopen(rig);
    assert_int_equal(rig->events[STORE_FAILED], 0);
    struct store_read *read = rig_read(rig, "n:1", STORE_FROM_LAST, 0, 1);
    assert_int_equal(read->pubs[0]->offset, history_start(1) + n + 63);
    rig_read_free(read);
}

static void a_disk_that_is_full_at_the_start_is_a_sentence(void **state)
{
    struct rig *rig = *state;

    rig_close(rig);
    write_err = ENOSPC;
    assert_int_equal(rig_try_open(rig), -ENOSPC);
    assert_non_null(strstr(rig->why, "No space left"));
    assert_non_null(strstr(rig->why, rig->dir));
    write_err = 0;
    rig_open(rig);
    assert_int_equal(count(rig), 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_rig, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_failed_sync_is_never_tried_again),
        CASE(a_write_that_fails_ends_the_writing),
        CASE(a_full_disk_refuses_and_recovers),
        CASE(a_file_that_may_not_grow_is_a_full_disk),
        CASE(a_disk_that_is_full_at_the_start_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
