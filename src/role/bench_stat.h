/* Bench statistics: one lane a load thread, all lanes in memory shared between the processes.
 *
 * A lane has one writer and is read by whoever shows progress; its counters are plain words that
 * are read relaxed, so a reader may see them a few events apart. The histograms are merged after
 * the writers have stopped.
 */
#ifndef ROLE_BENCH_STAT_H
#define ROLE_BENCH_STAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/hist.h"

enum {
    BENCH_BINS_MAX = 480,
    BENCH_HEAT_BITS = 4,   /* Histogram steps in one row of the heat map, as a power of two. */
    BENCH_HEAT_ROWS = 160, /* Four an octave: 64 ns .. 70 min. */
    BENCH_LANES_MAX = 256,
    BENCH_WHY_MAX = 120,
};

enum bench_client_state {
    BENCH_CLIENT_WAITING,
    BENCH_CLIENT_OPEN,
    BENCH_CLIENT_SLOW, /* Open, and will never read. */
    BENCH_CLIENT_FAILED,
    BENCH_CLIENT_CLOSED, /* Was open; the server ended it. */
};

/* What arrived during one slice of the run. */
struct bench_bin {
    uint64_t deliveries;
    uint32_t heat[BENCH_HEAT_ROWS];
};

struct bench_lane {
    uint64_t opened, failed, closed; /* Clients. */
    uint64_t received;               /* Stamped messages, warm-up and duplicates too. */
    uint64_t counted;                /* Of the measured window, first copies. */
    uint64_t twice, late;            /* By sequence number, over the whole run. */
    uint64_t other;                  /* Data messages without a stamp: notices, strangers. */
    uint64_t bytes;                  /* Read from sockets. */
    uint64_t reads;
    uint64_t last_ns; /* When the last measured message came. */
    uint64_t cpu_ns;  /* Of this thread. */
    /* From here on read only when the writer has stopped. */
    uint64_t missing;
    char why[BENCH_WHY_MAX]; /* The first failure of a client, as a sentence. */
    struct hist latency;     /* From the due time. */
    struct hist service;     /* From the actual send. */
    struct hist handshake;   /* From connect() to 101. */
    struct bench_bin bins[BENCH_BINS_MAX];
} CACHE_ALIGNED;

/* Shared by the parent and the load processes. */
struct bench_shared {
    uint64_t window_start_ns; /* Messages due in [start, end) are measured; never: UINT64_MAX. */
    uint64_t window_end_ns;
    uint64_t bin_ns;
    uint32_t bin_count;
    uint32_t lane_count;
    uint32_t round; /* Connect storm: clients close and connect anew when it rises. */
    bool stop;
    uint64_t client_count;
    uint8_t *clients; /* enum bench_client_state of each. */
    struct bench_lane *lanes;
    size_t mapped; /* Bytes of the whole mapping. */
};

/* Flags and counters that another thread or process reads: whole, in no particular order. */
#define BENCH_SET(place, value) __atomic_store_n(&(place), (value), __ATOMIC_RELAXED)
#define BENCH_GET(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define BENCH_ADD(place, value) BENCH_SET(place, (place) + (value))

/* Gives the block, zeroed, shared with processes forked later. Returns 0 or -ENOMEM. */
MUST_USE int bench_shared_create(
    uint64_t client_count, uint32_t lane_count, struct bench_shared **ret_shared);
void bench_shared_destroy(struct bench_shared *shared);

/* Cuts the window and the drain after it into bins of at least 100 ms. Before any message. */
void bench_shared_window(
    struct bench_shared *shared, uint64_t start_ns, uint64_t duration_ns, uint64_t drain_ns);

/* A measured message came. Everything the hot path writes down. */
static inline void bench_lane_take(struct bench_lane *lane, const struct bench_shared *shared,
    uint64_t now_ns, uint64_t due_ns, uint64_t late_ns)
{
    uint64_t latency = now_ns > due_ns ? now_ns - due_ns : 0;
    uint64_t bin_index = (now_ns - shared->window_start_ns) / shared->bin_ns;
    struct bench_bin *bin =
        &lane->bins[bin_index < shared->bin_count ? bin_index : shared->bin_count - 1];

    hist_record(&lane->latency, latency);
    hist_record(&lane->service, latency > late_ns ? latency - late_ns : 0);
    BENCH_ADD(bin->deliveries, 1);
    bin->heat[hist_index(latency) >> BENCH_HEAT_BITS] += 1;
    BENCH_ADD(lane->counted, 1);
    BENCH_SET(lane->last_ns, now_ns);
}

/* Adds up the counters of all lanes; with_hists also the histograms and bins. */
void bench_sum(const struct bench_shared *shared, bool with_hists, struct bench_lane *ret);

/* Lower edge of a row of the heat map, nanoseconds. */
uint64_t bench_heat_low(uint32_t row);

/* The quantile of one bin, read off its rows with linear interpolation; 0 when empty. */
double bench_bin_quantile(const struct bench_bin *bin, double quantile);

#endif
