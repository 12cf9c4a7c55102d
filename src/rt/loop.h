/* Loop: waits for sockets and time on behalf of one thread.
 *
 * Descriptors are watched by (kind, id): kind picks a handler from a small table, id is whatever
 * the handler needs to find its object (a slot and a generation, so that a late event for a closed
 * connection is seen to be late). No pointers go into the kernel. The caller drives the turns:
 *
 *   while (running) {
 *       loop_poll(loop, work_left ? 0 : -1);   // events and due timers
 *       ... mail, sweeps, flushes ...
 *   }
 *
 * Runs on its own thread, except loop_wake().
 */
#ifndef RT_LOOP_H
#define RT_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

struct loop;

enum { /* Events, as bits. */
    LOOP_IN = 1,
    LOOP_OUT = 2,
    LOOP_HUP = 4, /* The peer closed its side, or the socket failed. */
};

enum { /* How to watch, as bits. */
    LOOP_WATCH_IN = 1,
    LOOP_WATCH_OUT = 2,
    LOOP_WATCH_EDGE = 4,      /* Tell once per change; otherwise as long as it lasts. */
    LOOP_WATCH_EXCLUSIVE = 8, /* A listener shared by several loops: wake one. */
};

enum { LOOP_KINDS_MAX = 16 };

/* id is the number given to loop_watch(). */
typedef void loop_fn(void *ctx, uint64_t id, uint32_t events);

/* Gives a loop. Returns 0 or negative errno. */
MUST_USE int loop_create(struct loop **ret_loop);
void loop_destroy(struct loop *loop);

/* Names the handler of a kind (0..15). Shares ctx until the loop is destroyed. */
void loop_handle(struct loop *loop, uint8_t kind, loop_fn *fn, void *ctx);

/* Watches fd until loop_unwatch() or close. id: 56 bits. Returns 0 or negative errno. */
MUST_USE int loop_watch(struct loop *loop, int fd, uint8_t kind, uint64_t id, uint32_t how);

/* Changes how fd is watched. Returns 0 or negative errno. */
MUST_USE int loop_rewatch(struct loop *loop, int fd, uint8_t kind, uint64_t id, uint32_t how);
void loop_unwatch(struct loop *loop, int fd);

/* Waits at most timeout_ms (-1: until something happens; always at most until the next timer),
 * then calls handlers and due timers. Returns how many descriptor events there were. */
int loop_poll(struct loop *loop, int timeout_ms);

/* The time at the start of this turn: monotonic. Cheap; the same during the whole turn. */
uint64_t loop_now_ns(const struct loop *loop);
uint64_t loop_now_ms(const struct loop *loop);

/* Makes a waiting loop_poll() return. Any thread, also a signal handler. */
void loop_wake(struct loop *loop);

#endif
