#include "rt/clock.h"

#include "rt/sim/world.h"

uint64_t clock_now_ns(void)
{
    return world()->now_ns;
}

uint64_t clock_wall_ns(void)
{
    struct sim *sim = world();

    return sim->wall_ns + sim->now_ns;
}
