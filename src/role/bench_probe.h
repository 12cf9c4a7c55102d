/* What the measured processes spend, and what machine this is: read from /proc. */
#ifndef ROLE_BENCH_PROBE_H
#define ROLE_BENCH_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

enum { BENCH_PIDS_MAX = 32 };

struct bench_usage {
    uint64_t cpu_ns; /* On a processor, all threads, since they started. */
    uint64_t rss_bytes;
    uint64_t pss_bytes; /* Only when asked for. */
    uint32_t threads;
    uint32_t processes; /* How many of the pids could be read. */
};

/* Adds up pids. with_pss also reads smaps_rollup: it walks the page tables of the process, which
 * disturbs what is measured, so not during a run. */
void bench_usage_read(
    const int *pids, size_t pid_count, bool with_pss, struct bench_usage *ret_usage);

/* Reads "123,456", or "123 456" as pidof prints them, into pids. Returns how many, or -EINVAL (no number, too many), or -ESRCH (no
 * such process). */
MUST_USE int bench_pids_parse(const char *text, int pids[BENCH_PIDS_MAX]);

struct bench_host {
    char kernel[96];    /* "Linux 6.1.0 x86_64" */
    char cpu[96];       /* Model name. */
    char system[96];    /* PRETTY_NAME of os-release. */
    char server[128];   /* The command name of the first measured process; "" when unknown. */
    uint32_t cpu_count; /* That this process may use. */
    uint64_t memory_bytes;
    uint32_t fd_limit;
};

void bench_host_read(const int *pids, size_t pid_count, struct bench_host *ret_host);

#endif
