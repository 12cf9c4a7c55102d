#include "rt/loop.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/check.h"
#include "base/mem.h"
#include "rt/clock.h"
#include "rt/loop_own.h"
#include "rt/wheel.h"

enum {
    EVENTS_MAX = 256,
    ID_BITS = 56,
    KIND_WAKE = 0xff, /* loop_wake()'s descriptor; beyond the kinds a caller may use. */
};

static const uint64_t NS_PER_MS = 1000000;

struct handler {
    loop_fn *fn;
    void *ctx;
};

struct loop {
    int epoll_fd;
    int wake_fd;
    uint64_t now_ns;
    struct handler handlers[LOOP_KINDS_MAX];
    struct resolve *resolves;
    struct wheel wheel;
    struct epoll_event events[EVENTS_MAX];
};

static uint64_t pack(uint8_t kind, uint64_t id)
{
    return (uint64_t)kind << ID_BITS | id;
}

static uint32_t epoll_bits(uint32_t how)
{
    uint32_t bits = 0;

    if (how & LOOP_WATCH_IN) {
        bits |= EPOLLIN;
        /* A peer's half-close is of interest to readers only: to a level-triggered writer it
         * would be news for ever. The kernel refuses it together with EPOLLEXCLUSIVE. */
        if (!(how & LOOP_WATCH_EXCLUSIVE)) {
            bits |= EPOLLRDHUP;
        }
    }
    if (how & LOOP_WATCH_OUT) {
        bits |= EPOLLOUT;
    }
    if (how & LOOP_WATCH_EDGE) {
        bits |= EPOLLET;
    }
    if (how & LOOP_WATCH_EXCLUSIVE) {
        bits |= EPOLLEXCLUSIVE;
    }
    return bits;
}

static int control(struct loop *loop, int op, int fd, uint8_t kind, uint64_t id, uint32_t how)
{
    struct epoll_event event = {.events = epoll_bits(how), .data.u64 = pack(kind, id)};

    return epoll_ctl(loop->epoll_fd, op, fd, &event) == 0 ? 0 : -errno;
}

int loop_create(struct loop **ret_loop)
{
    int r;
    struct loop *loop = mem_zalloc_aligned(sizeof(*loop));

    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0) {
        r = -errno;
        goto fail;
    }
    loop->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->wake_fd < 0) {
        r = -errno;
        goto fail;
    }
    /* By edge: each write is told once, so nobody ever has to read the counter down. */
    r = control(loop, EPOLL_CTL_ADD, loop->wake_fd, KIND_WAKE, 0, LOOP_WATCH_IN | LOOP_WATCH_EDGE);
    if (r < 0) {
        goto fail;
    }
    loop->now_ns = clock_now_ns();
    wheel_init(&loop->wheel, loop->now_ns);
    *ret_loop = loop;
    return 0;

fail:
    loop_destroy(loop);
    return r;
}

void loop_destroy(struct loop *loop)
{
    if (!loop) {
        return;
    }
    if (loop->wake_fd >= 0) {
        close(loop->wake_fd);
    }
    if (loop->epoll_fd >= 0) {
        close(loop->epoll_fd);
    }
    mem_free(loop);
}

void loop_handle(struct loop *loop, uint8_t kind, loop_fn *fn, void *ctx)
{
    CHECK(kind < LOOP_KINDS_MAX);
    loop->handlers[kind] = (struct handler){fn, ctx};
}

int loop_watch(struct loop *loop, int fd, uint8_t kind, uint64_t id, uint32_t how)
{
    CHECK(kind < LOOP_KINDS_MAX && id >> ID_BITS == 0);
    return control(loop, EPOLL_CTL_ADD, fd, kind, id, how);
}

int loop_rewatch(struct loop *loop, int fd, uint8_t kind, uint64_t id, uint32_t how)
{
    CHECK(kind < LOOP_KINDS_MAX && id >> ID_BITS == 0);
    int r = how & LOOP_WATCH_EXCLUSIVE ? -EINVAL : control(loop, EPOLL_CTL_MOD, fd, kind, id, how);
    if (r == -EINVAL) {
        /* The kernel does not modify what is or becomes exclusive. */
        loop_unwatch(loop, fd);
        r = control(loop, EPOLL_CTL_ADD, fd, kind, id, how);
    }
    return r;
}

void loop_unwatch(struct loop *loop, int fd)
{
    /* Fails only when fd is not watched, which is what was asked for. */
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* The time is read afresh: the turn's own may be old by the length of the turn's work. */
static int wait_ms(struct loop *loop, int timeout_ms)
{
    if (timeout_ms == 0) {
        return 0;
    }
    uint64_t next_ns = wheel_next_ns(&loop->wheel);
    if (next_ns == UINT64_MAX) {
        return timeout_ms;
    }
    uint64_t now_ns = clock_now_ns();
    if (next_ns <= now_ns) {
        return 0;
    }
    uint64_t until_ms = (next_ns - now_ns + NS_PER_MS - 1) / NS_PER_MS;
    if (timeout_ms > 0 && (uint64_t)timeout_ms < until_ms) {
        return timeout_ms;
    }
    return until_ms < INT_MAX ? (int)until_ms : INT_MAX;
}

static uint32_t loop_bits(uint32_t events)
{
    uint32_t bits = 0;

    if (events & EPOLLIN) {
        bits |= LOOP_IN;
    }
    if (events & EPOLLOUT) {
        bits |= LOOP_OUT;
    }
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        bits |= LOOP_HUP;
    }
    return bits;
}

int loop_poll(struct loop *loop, int timeout_ms)
{
    int told_count = 0;
    int count = epoll_wait(loop->epoll_fd, loop->events, EVENTS_MAX, wait_ms(loop, timeout_ms));

    CHECK(count >= 0 || errno == EINTR);
    loop->now_ns = clock_now_ns();
    for (int i = 0; i < count; i++) {
        uint64_t data = loop->events[i].data.u64;
        uint8_t kind = (uint8_t)(data >> ID_BITS);
        if (kind == KIND_WAKE) {
            continue;
        }
        struct handler *handler = &loop->handlers[kind];
        CHECK(handler->fn);
        handler->fn(
            handler->ctx, data & ((1ull << ID_BITS) - 1), loop_bits(loop->events[i].events));
        told_count += 1;
    }
    wheel_advance(&loop->wheel, loop->now_ns);
    return told_count;
}

uint64_t loop_now_ns(const struct loop *loop)
{
    return loop->now_ns;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    return loop->now_ns / NS_PER_MS;
}

void loop_wake(struct loop *loop)
{
    int saved_errno = errno; /* May be a signal handler's. */
    uint64_t one = 1;
    ssize_t written = write(loop->wake_fd, &one, sizeof(one));

    (void)written; /* Full means 2^64 - 2 wake-ups are pending: it is awake. */
    errno = saved_errno;
}

struct wheel *loop_wheel(struct loop *loop)
{
    return &loop->wheel;
}

struct resolve **loop_resolves(struct loop *loop)
{
    return &loop->resolves;
}
