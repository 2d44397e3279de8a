/* os/clock: time for measuring and for deadlines. */
#ifndef ERG_OS_CLOCK_H
#define ERG_OS_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC in nanoseconds: the same for all processes of the host. */
uint64_t erg_clock_ns(void);

#endif
