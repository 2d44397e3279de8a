#include "sched/lease.h"

enum { MEAN_WEIGHT = 64, RTT_WEIGHT = 8 };

void erg_lease_init(struct erg_lease *l, uint32_t slots) {
    *l = (struct erg_lease){.slots = slots ? slots : 1};
}

void erg_lease_on_sent(struct erg_lease *l, uint64_t bytes) {
    l->leased++;
    l->bytes += bytes;
}

/* The first few count fully, so that the mean is right as soon as there is one. */
static int64_t smooth(int64_t mean, int64_t value, uint64_t n, int64_t weight) {
    int64_t w = (int64_t)n < weight ? (int64_t)n : weight;
    return mean + (value - mean) / (w > 0 ? w : 1);
}

void erg_lease_on_done(struct erg_lease *l, uint64_t bytes, int64_t run_ns) {
    if (l->leased > 0)
        l->leased--;
    l->bytes -= bytes < l->bytes ? bytes : l->bytes;
    if (run_ns < 0)
        return;
    if (run_ns == 0)
        run_ns = 1;
    l->mean_ns = smooth(l->mean_ns, run_ns, ++l->measured, MEAN_WEIGHT);
    if (l->mean_ns < 1)
        l->mean_ns = 1;
}

/* Queues on the way make it look longer than it is: what is shorter counts at once. */
void erg_lease_on_rtt(struct erg_lease *l, int64_t rtt_ns) {
    if (rtt_ns < 1)
        rtt_ns = 1;
    if (l->rtt_ns == 0 || rtt_ns < l->rtt_ns)
        l->rtt_ns = rtt_ns;
    else
        l->rtt_ns += (rtt_ns - l->rtt_ns) / RTT_WEIGHT;
}

uint32_t erg_lease_window(const struct erg_lease *l) {
    if (l->measured == 0)
        return l->slots;
    uint64_t gap = (uint64_t)l->rtt_ns + (uint64_t)l->rtt_ns / 2 + ERG_LEASE_HANDOVER_NS;
    uint64_t ahead = (l->slots * gap + (uint64_t)l->mean_ns - 1) / (uint64_t)l->mean_ns;
    /* Less than a hundredth of the time would be gained: then rather a task of a second for somebody who is free. */
    if (gap * 100 < (uint64_t)l->mean_ns)
        ahead = 0;
    uint64_t window = l->slots + ahead;
    return window < ERG_LEASE_MOST ? (uint32_t)window : ERG_LEASE_MOST;
}

uint32_t erg_lease_room(const struct erg_lease *l) {
    uint32_t window = erg_lease_window(l);
    if (l->bytes >= ERG_LEASE_BYTES && l->leased >= l->slots)
        return 0;
    return window > l->leased ? window - l->leased : 0;
}

uint32_t erg_lease_recall(const struct erg_lease *l, uint32_t idle) {
    uint32_t waiting = l->leased > l->slots ? l->leased - l->slots : 0;
    if (waiting == 0 || idle == 0 || l->measured == 0)
        return 0;
    /* They would be begun there before they could be back. */
    int64_t wait_ns = (int64_t)waiting * l->mean_ns / l->slots;
    if (wait_ns < 2 * l->rtt_ns + ERG_LEASE_HANDOVER_NS)
        return 0;
    uint32_t share = (uint32_t)((uint64_t)waiting * idle / (idle + l->slots));
    return share > 0 ? share : 1;
}

int erg_lease_worth_cut(const struct erg_lease *l, int64_t ran_ns) {
    return ran_ns > 2 * l->rtt_ns + ERG_LEASE_HANDOVER_NS && ran_ns > 2 * l->mean_ns;
}

int erg_lease_worth_anew(const struct erg_lease *l, int64_t there_ns, int64_t elsewhere_ns) {
    int64_t here = l->measured ? l->mean_ns : 0;
    if (here && elsewhere_ns / 2 > here) /* they are slower there */
        return 0;
    int64_t usual = here && (elsewhere_ns == 0 || here < elsewhere_ns) ? here : elsewhere_ns;
    return usual > 0 && there_ns - 2 * l->rtt_ns - ERG_LEASE_ANEW_NS > ERG_LEASE_ANEW * usual;
}
