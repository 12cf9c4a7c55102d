/* Process: what the system says of us. */
#ifndef RT_PROCESS_H
#define RT_PROCESS_H

#include <stdint.h>

struct process_usage {
    double cpu_seconds; /* User and system, all threads. */
    uint64_t resident_bytes;
    uint64_t virtual_bytes;
    int64_t open_fds; /* Of this thread's table; -1: the system does not say it cheaply. */
    uint64_t max_fds;
};

/* Any thread; a few system calls. What cannot be read is 0. */
void process_usage_read(struct process_usage *ret_usage);

#endif
