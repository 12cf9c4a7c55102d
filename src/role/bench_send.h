/* Bench senders: publish on an open-loop schedule over HTTP, Redis or WebSocket.
 *
 * One thread of its own owns all publishing connections. It is handed one run after the other (the
 * warm-up, then the measured window); each message gets the time it is due as its stamp, so what
 * waits here because every connection is busy is part of the latency that clients see.
 */
#ifndef ROLE_BENCH_SEND_H
#define ROLE_BENCH_SEND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "role/bench_plan.h"
#include "role/bench_stat.h"

struct bench_send;

/* Of the measured run, except where it says so. The counters may be read while the senders run, the
 * rest after bench_send_stop() or when bench_send_ready() told of a failure. */
struct bench_send_totals {
    uint64_t sent_ever;   /* Warm-up too. */
    uint64_t errors_ever; /* Refused or lost publications, warm-up too. */
    uint64_t sent;
    uint64_t accepted;             /* The server said yes (or took it, where it says nothing). */
    uint64_t expected;             /* Deliveries that the accepted ones should cause. */
    uint64_t unsent;               /* Due, and no connection was free until the end of the run. */
    uint64_t behind_max;           /* Most messages due and not sent at one time. */
    char why[BENCH_WHY_MAX];       /* The first error, as a sentence. */
    struct hist late;              /* From due to sent. */
    struct hist answer;            /* From sent to answered. */
    uint32_t bins[BENCH_BINS_MAX]; /* Sent, by the bins of the shared block. */
};

/* Starts the thread and connects. Returns 0 or negative errno. */
MUST_USE int bench_send_create(
    const struct bench_plan *plan, const struct bench_shared *shared, struct bench_send **ret_send);

/* 0: still connecting, 1: ready, -1: it cannot be, totals->why says why. */
int bench_send_ready(const struct bench_send *send);

/* How many clients listen to each channel, channel_count of them; copied. Before a measured run. */
void bench_send_listeners(struct bench_send *send, const uint32_t *listeners);

/* Publishes from start_ns (a little ahead) for duration_ns; the last run must be over. */
void bench_send_run(
    struct bench_send *send, uint64_t start_ns, uint64_t duration_ns, bool measured);

/* The run is over, and no answer is missing (or was given up after two seconds). */
bool bench_send_idle(const struct bench_send *send);

const struct bench_send_totals *bench_send_totals(const struct bench_send *send);

/* Stops the thread; the totals are final. NULL is fine. */
void bench_send_stop(struct bench_send *send);

/* Stops the thread, closes all. NULL is fine. */
void bench_send_destroy(struct bench_send *send);

#endif
