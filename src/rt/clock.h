/* The clocks. Only rt reads them; everybody else is handed the time. */
#ifndef RT_CLOCK_H
#define RT_CLOCK_H

#include <stdint.h>

/* Monotonic nanoseconds; the simulation's virtual time in tests. Any thread. */
uint64_t clock_now_ns(void);

/* Nanoseconds since 1970. Any thread. */
uint64_t clock_wall_ns(void);

#endif
