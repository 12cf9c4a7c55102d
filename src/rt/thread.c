#include "rt/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

enum {
    THREAD_NAME_MAX = 15,
    CPUS_MAX = 1 << 16,    /* Where asking for a larger mask stops. */
    LISTEN_FDS_START = 3,  /* sd_listen_fds(3). */
    LISTEN_FDS_MAX = 4096, /* What a service manager may claim to have passed. */
};

struct thread {
    pthread_t id;
    thread_fn *fn;
    void *arg;
    char name[THREAD_NAME_MAX + 1];
};

static void *thread_main(void *arg)
{
    struct thread *thread = arg;

    pthread_setname_np(pthread_self(), thread->name);
    thread->fn(thread->arg);
    return NULL;
}

static int set_cpu(pthread_attr_t *attr, int cpu)
{
    if (cpu < 0) {
        return 0;
    }
    size_t size = CPU_ALLOC_SIZE((size_t)cpu + 1);
    cpu_set_t *set = CPU_ALLOC((size_t)cpu + 1);
    if (!set) {
        return -ENOMEM;
    }
    CPU_ZERO_S(size, set);
    CPU_SET_S((size_t)cpu, size, set);
    int r = -pthread_attr_setaffinity_np(attr, size, set);
    CPU_FREE(set);
    return r;
}

int thread_start(const char *name, int cpu, thread_fn *fn, void *arg, struct thread **ret_thread)
{
    pthread_attr_t attr;
    sigset_t blocked, saved;

    int r = -pthread_attr_init(&attr);
    if (r < 0) {
        return r;
    }
    struct thread *thread = mem_zalloc(sizeof(*thread));
    thread->fn = fn;
    thread->arg = arg;
    memcpy(thread->name, name, strnlen(name, THREAD_NAME_MAX));
    r = set_cpu(&attr, cpu);
    if (r == 0) {
        /* The new thread inherits the mask. Faults stay deliverable: they are this thread's. */
        sigfillset(&blocked);
        sigdelset(&blocked, SIGSEGV);
        sigdelset(&blocked, SIGBUS);
        sigdelset(&blocked, SIGFPE);
        sigdelset(&blocked, SIGILL);
        sigdelset(&blocked, SIGABRT);
        sigdelset(&blocked, SIGTRAP);
        pthread_sigmask(SIG_SETMASK, &blocked, &saved);
        r = -pthread_create(&thread->id, &attr, thread_main, thread);
        pthread_sigmask(SIG_SETMASK, &saved, NULL);
    }
    pthread_attr_destroy(&attr);
    if (r < 0) {
        mem_free(thread);
        return r;
    }
    *ret_thread = thread;
    return 0;
}

void thread_join(struct thread *thread)
{
    pthread_join(thread->id, NULL);
    mem_free(thread);
}

uint32_t thread_cpu_count(void)
{
    /* The kernel refuses a mask that is too small for the machine. */
    for (size_t cpus = CPU_SETSIZE; cpus <= CPUS_MAX; cpus *= 2) {
        size_t size = CPU_ALLOC_SIZE(cpus);
        cpu_set_t *set = CPU_ALLOC(cpus);
        if (!set) {
            break;
        }
        int r = sched_getaffinity(0, size, set);
        int count = r == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (count > 0) {
            return (uint32_t)count;
        }
        if (r == 0 || errno != EINVAL) {
            break;
        }
    }
    return 1;
}

int signals_open(int *ret_fd)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    sigset_t set;

    sigemptyset(&set);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        sigaddset(&set, numbers[i]);
    }
    int r = -pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (r < 0) {
        return r;
    }
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR) {
        return -errno;
    }
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    *ret_fd = fd;
    return 0;
}

int signals_take(int fd)
{
    struct signalfd_siginfo info;
    ssize_t got;

    do {
        got = read(fd, &info, sizeof(info));
    } while (got < 0 && errno == EINTR);
    return got == sizeof(info) ? (int)info.ssi_signo : 0;
}

void notify_service(const char *text)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un addr = {.sun_family = AF_UNIX};

    /* '@' stands for the NUL of the abstract name space. */
    if (!path || (path[0] != '/' && path[0] != '@')) {
        return;
    }
    size_t path_len = strlen(path);
    if (path_len < 2 || path_len >= sizeof(addr.sun_path)) {
        return;
    }
    memcpy(addr.sun_path, path, path_len);
    if (path[0] == '@') {
        addr.sun_path[0] = '\0';
    }
    socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path_len);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return;
    }
    /* Nobody to tell when this fails; the manager notices by its own time limit. */
    ssize_t sent;
    do {
        sent = sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&addr, addr_len);
    } while (sent < 0 && errno == EINTR);
    close(fd);
}

/* A decimal number as the service manager writes it; -1 when it is none. */
static long read_number(const char *text)
{
    char *end;

    if (!text || *text < '0' || *text > '9') {
        return -1;
    }
    errno = 0;
    long number = strtol(text, &end, 10);
    return *end || errno ? -1 : number;
}

uint32_t notify_listen_fds(int *fds, uint32_t cap)
{
    uint32_t given_count = 0;
    long pid = read_number(getenv("LISTEN_PID"));
    long count = read_number(getenv("LISTEN_FDS"));

    /* Children must not believe the sockets were meant for them. */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (pid != (long)getpid() || count <= 0 || count > LISTEN_FDS_MAX) {
        return 0;
    }
    for (int fd = LISTEN_FDS_START; fd < LISTEN_FDS_START + (int)count; fd++) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0) {
            continue; /* Promised, but not there. */
        }
        if (given_count == cap) {
            close(fd);
            continue;
        }
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        fds[given_count++] = fd;
    }
    return given_count;
}
