/* Schedule: when each message of an open-loop run is due.
 *
 * Message k is due at start + k / rate, computed from k alone: rounding does not add up over a
 * run, and a sender that fell behind still knows when each message should have gone. That due time
 * is what latency is measured from, so a stall of the sender counts (no coordinated omission).
 */
#ifndef ROLE_SCHEDULE_H
#define ROLE_SCHEDULE_H

#include <stdint.h>

struct schedule {
    uint64_t start_ns;
    uint64_t rate_uhz; /* Messages per 10^6 seconds; 0: everything is due at once. */
};

/* rate: messages a second; 0 or less means without pause. */
struct schedule schedule_of(uint64_t start_ns, double rate);

/* When message k (from 0) is due. */
uint64_t schedule_due_ns(const struct schedule *schedule, uint64_t k);

/* How many messages are due at now_ns; UINT64_MAX without a pause. */
uint64_t schedule_due_count(const struct schedule *schedule, uint64_t now_ns);

#endif
