/* Bench sender: one connection that publishes, over HTTP, Redis or WebSocket, and what it was not yet
 * answered. Runs on the thread of bench_send.c; what its senders share is in a set.
 */
#ifndef ROLE_BENCH_SENDER_H
#define ROLE_BENCH_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/bytes.h"
#include "role/bench_plan.h"
#include "role/bench_send.h"
#include "role/client_conn.h"
#include "role/client_http.h"
#include "role/client_redis.h"
#include "role/client_ws.h"

struct bench_pending;

struct bench_sender_set {
    const struct bench_plan *plan;
    struct bench_send_totals *totals; /* Answers and errors are counted here. */
    const uint32_t *listeners;        /* How many clients hear each channel. */
    struct client_hub hub;
    struct bytes scratch;
    char head_lines[2048];
    struct http_header headers[ARGS_LIST_MAX]; /* For WebSocket senders. */
    size_t header_count;
    uint32_t up_count;
    int ready; /* Read by the main thread: as bench_send_ready(); -1 is set here. */
};

struct bench_sender {
    struct bench_sender_set *set; /* NULL: not opened. */
    uint32_t index;
    bool up;
    uint32_t *seqs; /* Next sequence number of each channel. */
    struct bench_pending *pending;
    uint32_t pending_head, pending_count;
    struct client_http http;
    struct client_redis redis;
    struct client_ws ws;
};

/* The --header lines, for both kinds of request. Returns 0 or -EINVAL. */
MUST_USE int bench_sender_headers(struct bench_sender_set *set);

/* Connects. Returns 0 or negative errno; to be closed in either case. */
MUST_USE int bench_sender_open(
    struct bench_sender *sender, struct bench_sender_set *set, uint32_t index);

/* May it publish, or does it have enough on its way? */
bool bench_sender_free(const struct bench_sender *sender);

void bench_sender_publish(struct bench_sender *sender, uint32_t channel, struct span payload,
    uint64_t now_ns, bool measured);

/* Fine when it was not opened. */
void bench_sender_close(struct bench_sender *sender);

#endif
