#include "role/bench_stat.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"

_Static_assert(BENCH_HEAT_ROWS << BENCH_HEAT_BITS >= HIST_BUCKETS, "a row for every bucket");

static const uint64_t BIN_NS_MIN = 100000000;

int bench_shared_create(
    uint64_t client_count, uint32_t lane_count, struct bench_shared **ret_shared)
{
    size_t lanes_at = (sizeof(struct bench_shared) + CACHE_LINE - 1) & ~(size_t)(CACHE_LINE - 1);
    size_t clients_at = lanes_at + (size_t)lane_count * sizeof(struct bench_lane);
    size_t size = clients_at + client_count;
    uint8_t *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED) {
        return -ENOMEM;
    }
    struct bench_shared *shared = (struct bench_shared *)base;
    shared->lanes = (struct bench_lane *)(base + lanes_at);
    shared->lane_count = lane_count;
    shared->clients = base + clients_at;
    shared->client_count = client_count;
    shared->mapped = size;
    shared->bin_ns = BIN_NS_MIN;
    shared->bin_count = 1;
    shared->window_start_ns = UINT64_MAX; /* No message is due that late. */
    *ret_shared = shared;
    return 0;
}

void bench_shared_destroy(struct bench_shared *shared)
{
    if (shared) {
        munmap(shared, shared->mapped);
    }
}

void bench_shared_window(
    struct bench_shared *shared, uint64_t start_ns, uint64_t duration_ns, uint64_t drain_ns)
{
    /* The window decides the width; a drain that lasts longer ends up in the last bin. */
    uint64_t bin_ns = duration_ns / (BENCH_BINS_MAX / 2);
    bin_ns = (bin_ns + BIN_NS_MIN - 1) / BIN_NS_MIN * BIN_NS_MIN;
    bin_ns = bin_ns < BIN_NS_MIN ? BIN_NS_MIN : bin_ns;
    uint64_t count = (duration_ns + drain_ns) / bin_ns + 1;

    shared->bin_ns = bin_ns;
    shared->bin_count = count < BENCH_BINS_MAX ? (uint32_t)count : BENCH_BINS_MAX;
    shared->window_end_ns = start_ns + duration_ns;
    __atomic_store_n(&shared->window_start_ns, start_ns, __ATOMIC_RELEASE);
}

static void add_bins(struct bench_lane *into, const struct bench_lane *from, uint32_t bin_count)
{
    for (uint32_t i = 0; i < bin_count; i++) {
        into->bins[i].deliveries += from->bins[i].deliveries;
        for (uint32_t row = 0; row < BENCH_HEAT_ROWS; row++) {
            into->bins[i].heat[row] += from->bins[i].heat[row];
        }
    }
}

void bench_sum(const struct bench_shared *shared, bool with_hists, struct bench_lane *ret)
{
    memset(ret, 0, with_hists ? sizeof *ret : offsetof(struct bench_lane, missing));
    for (uint32_t i = 0; i < shared->lane_count; i++) {
        const struct bench_lane *lane = &shared->lanes[i];
        ret->opened += BENCH_GET(lane->opened);
        ret->failed += BENCH_GET(lane->failed);
        ret->closed += BENCH_GET(lane->closed);
        ret->received += BENCH_GET(lane->received);
        ret->counted += BENCH_GET(lane->counted);
        ret->twice += BENCH_GET(lane->twice);
        ret->late += BENCH_GET(lane->late);
        ret->other += BENCH_GET(lane->other);
        ret->bytes += BENCH_GET(lane->bytes);
        ret->reads += BENCH_GET(lane->reads);
        ret->cpu_ns += BENCH_GET(lane->cpu_ns);
        uint64_t last_ns = BENCH_GET(lane->last_ns);
        ret->last_ns = last_ns > ret->last_ns ? last_ns : ret->last_ns;
        if (!with_hists) {
            continue;
        }
        ret->missing += lane->missing;
        if (!ret->why[0]) {
            memcpy(ret->why, lane->why, sizeof ret->why);
        }
        hist_merge(&ret->latency, &lane->latency);
        hist_merge(&ret->service, &lane->service);
        hist_merge(&ret->handshake, &lane->handshake);
        add_bins(ret, lane, shared->bin_count);
    }
}

uint64_t bench_heat_low(uint32_t row)
{
    uint32_t index = row << BENCH_HEAT_BITS;
    return index < HIST_BUCKETS ? hist_bucket_low(index) : HIST_VALUE_MAX;
}

double bench_bin_quantile(const struct bench_bin *bin, double quantile)
{
    uint64_t total = 0, seen = 0;

    for (uint32_t row = 0; row < BENCH_HEAT_ROWS; row++) {
        total += bin->heat[row];
    }
    double rank = quantile * (double)total;
    for (uint32_t row = 0; row < BENCH_HEAT_ROWS; row++) {
        uint32_t here = bin->heat[row];
        if (here && (double)(seen + here) >= rank) {
            double low = (double)bench_heat_low(row), high = (double)bench_heat_low(row + 1);
            return low + (high - low) * (rank - (double)seen) / (double)here;
        }
        seen += here;
    }
    return 0;
}
