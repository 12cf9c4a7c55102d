#include "role/bench_probe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "rt/thread.h"

/* Nanoseconds on a processor, thread by thread: /proc/PID/stat counts in hundredths of a second.
 * A thread that ended during the run takes its share along. */
static void add_threads(int pid, struct bench_usage *usage)
{
    char path[96];

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (!dir) {
        return;
    }
    usage->processes += 1;
    for (struct dirent *entry; (entry = readdir(dir));) {
        unsigned long long ns = 0;
        if (!isdigit((unsigned char)entry->d_name[0])) {
            continue;
        }
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", pid, entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file) {
            continue;
        }
        if (fscanf(file, "%llu", &ns) == 1) {
            usage->cpu_ns += ns;
            usage->threads += 1;
        }
        fclose(file);
    }
    closedir(dir);
}

static void add_rss(int pid, struct bench_usage *usage)
{
    char path[64];
    unsigned long long pages = 0;

    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return;
    }
    if (fscanf(file, "%*u %llu", &pages) == 1) {
        usage->rss_bytes += pages * (uint64_t)sysconf(_SC_PAGESIZE);
    }
    fclose(file);
}

static void add_rollup(int pid, struct bench_usage *usage)
{
    char path[64], line[256];

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    if (!file) {
        return;
    }
    while (fgets(line, sizeof line, file)) {
        unsigned long long kib;
        if (sscanf(line, "Rss: %llu", &kib) == 1) {
            usage->rss_bytes += kib * 1024;
        } else if (sscanf(line, "Pss: %llu", &kib) == 1) {
            usage->pss_bytes += kib * 1024;
        }
    }
    fclose(file);
}

void bench_usage_read(
    const int *pids, size_t pid_count, bool with_pss, struct bench_usage *ret_usage)
{
    *ret_usage = (struct bench_usage){0};
    for (size_t i = 0; i < pid_count; i++) {
        add_threads(pids[i], ret_usage);
        if (with_pss) {
            add_rollup(pids[i], ret_usage);
        } else {
            add_rss(pids[i], ret_usage);
        }
    }
}

int bench_pids_parse(const char *text, int pids[BENCH_PIDS_MAX])
{
    int count = 0;

    for (const char *at = text;; at++) {
        char *end;
        if (!isdigit((unsigned char)*at)) {
            return -EINVAL;
        }
        long pid = strtol(at, &end, 10);
        if (pid <= 0 || pid > INT32_MAX || count == BENCH_PIDS_MAX ||
            (*end && *end != ',' && *end != ' ')) {
            return -EINVAL;
        }
        if (kill((pid_t)pid, 0) && errno == ESRCH) {
            return -ESRCH;
        }
        pids[count++] = (int)pid;
        if (!*end) {
            return count;
        }
        at = end;
    }
}

/* The text behind the first `name`, separator and blanks, without quotes and line end. */
static void read_field(const char *path, const char *name, char *out, size_t cap)
{
    char line[512];
    FILE *file = fopen(path, "re");

    if (!file) {
        return;
    }
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name, strlen(name)) != 0) {
            continue;
        }
        const char *value = line + strlen(name);
        value += strspn(value, " \t:=\"");
        snprintf(out, cap, "%.*s", (int)strcspn(value, "\"\n"), value);
        break;
    }
    fclose(file);
}

void bench_host_read(const int *pids, size_t pid_count, struct bench_host *ret_host)
{
    struct utsname name;
    struct rlimit limit;

    *ret_host = (struct bench_host){.cpu_count = thread_cpu_count()};
    if (uname(&name) == 0) {
        snprintf(ret_host->kernel, sizeof ret_host->kernel, "%.20s %.50s %.20s", name.sysname,
            name.release, name.machine);
    }
    read_field("/proc/cpuinfo", "model name", ret_host->cpu, sizeof ret_host->cpu);
    read_field("/etc/os-release", "PRETTY_NAME", ret_host->system, sizeof ret_host->system);
    ret_host->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        ret_host->fd_limit = limit.rlim_cur > UINT32_MAX ? UINT32_MAX : (uint32_t)limit.rlim_cur;
    }
    if (pid_count) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/status", pids[0]);
        read_field(path, "Name", ret_host->server, sizeof ret_host->server);
    }
}
