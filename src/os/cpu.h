/* os/cpu: how many processors there are for us, and how to wait politely on one. */
#ifndef ERG_OS_CPU_H
#define ERG_OS_CPU_H

#include <sched.h>
#include <stdint.h>

/* Processors this process may use: its affinity mask, less where a cgroup's quota (v1 or v2) allows less; at least 1. */
uint32_t erg_cpu_count(void);
/* Bytes of memory of this machine, less where a cgroup limits it. */
uint64_t erg_cpu_memory(void);
/* Processes the kernel has killed because memory ran out: of our cgroup, where the system counts those (v2), else of the
 * machine. Only its growth means anything. */
uint64_t erg_cpu_oom_kills(void);

/* The processor the caller runs on, counted from 1; 0 if the system does not say. A few nanoseconds; may be another
 * one by the time it is looked at. */
static inline uint32_t erg_cpu_here(void) {
    int cpu = sched_getcpu();
    return cpu < 0 ? 0 : (uint32_t)cpu + 1;
}

/* A pause inside a spin loop. */
static inline void erg_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Lets another thread have this processor; returns at once when none wants it. */
static inline void erg_cpu_yield(void) {
    sched_yield();
}

#endif
