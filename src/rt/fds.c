#include "rt/fds.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

uint32_t fds_raise_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return 1024;
    }
    if (limit.rlim_cur < limit.rlim_max) {
        struct rlimit raised = {limit.rlim_max, limit.rlim_max};
        if (setrlimit(RLIMIT_NOFILE, &raised) == 0) {
            limit = raised;
        }
    }
    return limit.rlim_cur < UINT32_MAX ? (uint32_t)limit.rlim_cur : UINT32_MAX;
}

static int compare_ints(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

int fds_own_table(const int *keep, uint32_t keep_count)
{
    int r = 0;
    int *sorted = mem_alloc((keep_count + 1) * sizeof(*sorted));

    if (keep_count) {
        memcpy(sorted, keep, keep_count * sizeof(*sorted));
        qsort(sorted, keep_count, sizeof(*sorted), compare_ints);
    }
    if (unshare(CLONE_FILES) != 0) {
        r = -errno;
        goto done;
    }
    /* The gaps between what is kept. Whatever stayed open here by mistake would keep its peer
     * waiting for an end that never comes, since this copy holds the connection up. */
    unsigned first = STDERR_FILENO + 1;
    for (uint32_t i = 0; i < keep_count && r == 0; i++) {
        if (sorted[i] < (int)first) {
            continue;
        }
        if ((unsigned)sorted[i] > first && close_range(first, (unsigned)sorted[i] - 1, 0) != 0) {
            r = -errno;
        }
        first = (unsigned)sorted[i] + 1;
    }
    if (r == 0 && close_range(first, ~0u, 0) != 0) {
        r = -errno;
    }

done:
    mem_free(sorted);
    return r;
}

/* 0 counts as none, so that a zeroed struct holds nothing. */
void fds_spare_hold(struct fds_spare *spare)
{
    if (spare->fd <= 0) {
        spare->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
}

void fds_spare_release(struct fds_spare *spare)
{
    if (spare->fd > 0) {
        close(spare->fd);
    }
    spare->fd = -1;
}
