/* How many tasks each of 10,000 workers on 625 hosts should have: what deciding that costs, a million tasks long, in a
 * simulation that only the decisions are timed of. Prints nanoseconds a task (reading the clock twice included), bytes a
 * worker, and the share of the workers' time that was worked. */
#include "sched/cluster_kit.h"

#include <stdio.h>

int main(void) {
    struct cluster c = {
        .places = 625, .slots = 16, .rtt = 5 * MS, .mean = 20 * MS, .tasks = 1000000};
    struct cluster_outcome out = simulate_cluster(&c);
    if (!out.settled) {
        fprintf(stderr, "tasks were left over, or no memory\n");
        return 1;
    }
    printf("%.2f %.2f %.4f\n", out.ns_a_task,
           (double)(c.places * sizeof(struct erg_lease)) / (c.places * c.slots), out.busy);
    return 0;
}
