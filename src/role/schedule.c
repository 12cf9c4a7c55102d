#include "role/schedule.h"

/* One message a nanosecond is the fastest that can be told apart. */
static const double RATE_MAX = 1e9;
static const uint64_t UNITS_A_NS = 1000000; /* 10^15 micro-hertz nanoseconds a message. */

struct schedule schedule_of(uint64_t start_ns, double rate)
{
    double bounded = rate < 0 ? 0 : rate > RATE_MAX ? RATE_MAX : rate;
    return (struct schedule){.start_ns = start_ns, .rate_uhz = (uint64_t)(bounded * 1e6 + 0.5)};
}

uint64_t schedule_due_ns(const struct schedule *schedule, uint64_t k)
{
    if (schedule->rate_uhz == 0) {
        return schedule->start_ns;
    }
    /* Rounded up, so that the message counts as due at the moment it is due. */
    unsigned __int128 units = (unsigned __int128)k * 1000000000u * UNITS_A_NS;
    return schedule->start_ns + (uint64_t)((units + schedule->rate_uhz - 1) / schedule->rate_uhz);
}

uint64_t schedule_due_count(const struct schedule *schedule, uint64_t now_ns)
{
    if (now_ns < schedule->start_ns) {
        return 0;
    }
    if (schedule->rate_uhz == 0) {
        return UINT64_MAX;
    }
    unsigned __int128 elapsed = now_ns - schedule->start_ns;
    return (uint64_t)(elapsed * schedule->rate_uhz / ((uint64_t)1000000000u * UNITS_A_NS)) + 1;
}
