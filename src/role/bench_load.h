/* Bench load: one thread's share of the WebSocket subscribers.
 *
 * Connects them, with a bounded number of handshakes under way, then reads: whole socket buffers at
 * a time into one large buffer, frames taken apart where they lie, one look at the clock for each
 * read. Nothing is allocated for a message. Whether it should go on, start anew or stop is in the
 * shared block; all results are written to the lane.
 */
#ifndef ROLE_BENCH_LOAD_H
#define ROLE_BENCH_LOAD_H

#include <stdint.h>

#include "role/bench_plan.h"
#include "role/bench_stat.h"

/* Returns when shared->stop is set. Runs on a thread of its own. */
void bench_load_run(
    const struct bench_plan *plan, struct bench_shared *shared, uint32_t lane_index);

#endif
