/* How many tasks each of 10,000 workers on 625 hosts should have: what deciding that costs, a million tasks long, in a
 * simulation that only the decisions are timed of. Prints nanoseconds a task (reading the clock taken off), bytes a
 * worker, and the share of the workers' time that was worked. */
#include "sched/cluster_kit.h"

#include <stdio.h>

/* What the two readings of the clock around a decision cost, in nanoseconds. */
static double clock_ns(void) {
    enum { TIMES = 1000000 };
    struct timespec t0, t1;
    uint64_t sum = 0;
    for (int i = 0; i < TIMES; i++) {
        clock_gettime(CLOCK_MONOTONIC, &t0);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        sum += (uint64_t)((t1.tv_sec - t0.tv_sec) * 1000000000 + t1.tv_nsec - t0.tv_nsec);
    }
    return (double)sum / TIMES;
}

int main(void) {
    struct cluster c = {
        .places = 625, .slots = 16, .rtt = 5 * MS, .mean = 20 * MS, .tasks = 1000000};
    struct cluster_outcome out = simulate_cluster(&c);
    double ns = out.ns_a_task - clock_ns();
    if (!out.settled) {
        fprintf(stderr, "tasks were left over, or no memory\n");
        return 1;
    }
    printf("%.2f %.2f %.4f\n", ns > 0 ? ns : 0,
           (double)(c.places * sizeof(struct erg_lease)) / (c.places * c.slots), out.busy);
    return 0;
}
