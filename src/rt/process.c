#include "rt/process.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static double seconds(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static void read_memory(struct process_usage *usage)
{
    unsigned long long pages = 0, resident = 0;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

    if (fd >= 0) {
        close(fd);
    }
    if (len <= 0) {
        return;
    }
    text[len] = 0;
    if (sscanf(text, "%llu %llu", &pages, &resident) == 2) {
        usage->virtual_bytes = pages * page;
        usage->resident_bytes = resident * page;
    }
}

/* Linux 6.2 and newer count the descriptors in the size of the directory. Reading 100,000 entries
 * one by one instead would hold up a whole shard. */
static int64_t count_fds(void)
{
    struct stat stat_of;

    return stat("/proc/thread-self/fd", &stat_of) == 0 && stat_of.st_size > 0 ? stat_of.st_size
                                                                              : -1;
}

void process_usage_read(struct process_usage *ret_usage)
{
    struct rusage usage;
    struct rlimit limit;

    memset(ret_usage, 0, sizeof(*ret_usage));
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        ret_usage->cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    }
    read_memory(ret_usage);
    ret_usage->open_fds = count_fds();
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        ret_usage->max_fds = (uint64_t)limit.rlim_cur;
    }
}
