/* Threads, signals and the word with the service manager. */
#ifndef RT_THREAD_H
#define RT_THREAD_H

#include <stdint.h>

#include "base/attr.h"

struct thread;
typedef void thread_fn(void *arg);

/* Starts a thread (name at most 15 bytes; cpu < 0: any). Signals are blocked in it. Gives a handle
 * that must be joined. Returns 0 or negative errno. */
MUST_USE int thread_start(
    const char *name, int cpu, thread_fn *fn, void *arg, struct thread **ret_thread);

/* Takes the handle; waits for the end. */
void thread_join(struct thread *thread);

/* Processors this process may use (affinity mask); at least 1. */
uint32_t thread_cpu_count(void);

/* Blocks SIGTERM, SIGINT, SIGHUP, SIGUSR1 (and ignores SIGPIPE) for the whole process, gives a
 * descriptor that becomes readable when one comes. Call before threads start. */
MUST_USE int signals_open(int *ret_fd);

/* The next signal's number, or 0 when there is none. */
int signals_take(int fd);

/* Tells the service manager (sd_notify protocol): "READY=1", "STOPPING=1", "STATUS=…". Does
 * nothing when NOTIFY_SOCKET is not set. */
void notify_service(const char *text);

/* Sockets handed over by the service manager (LISTEN_FDS): fills fds[], close-on-exec and
 * non-blocking, unsets the variables; returns how many. */
uint32_t notify_listen_fds(int *fds, uint32_t cap);

#endif
