/* sched/lease: how many tasks to have on their way to a place, and what to ask back of it. Pure; times are nanoseconds.
 *
 * A place with `slots` workers behind a link of round trip `rtt` stays busy as long as the tasks it has cover the time
 * until the next ones can arrive. More than that only makes the end of a job uneven: the window is what keeps the
 * workers busy, and little more. Long tasks are not sent ahead of time at all. */
#ifndef ERG_SCHED_LEASE_H
#define ERG_SCHED_LEASE_H

#include <stdint.h>

enum {
    ERG_LEASE_MOST = 16384,     /* tasks at one place */
    ERG_LEASE_BYTES = 64 << 20, /* of arguments at one place, once its workers have a task each */
    ERG_LEASE_HANDOVER_NS =
        150000,         /* what the hosts themselves take to hand a task on, besides the link */
    ERG_LEASE_ANEW = 4, /* times as long as usual: a task is late */
    ERG_LEASE_ANEW_NS = 100000000, /* and late by no less than this */
};

struct erg_lease {
    uint32_t slots;
    uint32_t leased; /* tasks there */
    uint64_t bytes;  /* of their arguments */
    int64_t mean_ns; /* running mean of a task's time; 0: not known yet */
    int64_t rtt_ns;  /* of the link, smoothed; 0: not known yet */
    uint64_t measured;
};

void erg_lease_init(struct erg_lease *l, uint32_t slots);
void erg_lease_on_sent(struct erg_lease *l, uint64_t bytes);
/* A task came back (run_ns < 0: it did not run), with the bytes it was sent with. */
void erg_lease_on_done(struct erg_lease *l, uint64_t bytes, int64_t run_ns);
void erg_lease_on_rtt(struct erg_lease *l, int64_t rtt_ns);

/* Tasks that should be there. */
uint32_t erg_lease_window(const struct erg_lease *l);
/* How many more may be sent now. */
uint32_t erg_lease_room(const struct erg_lease *l);
/* `idle` workers elsewhere have nothing to do: how many tasks that have not begun to ask back. */
uint32_t erg_lease_recall(const struct erg_lease *l, uint32_t idle);
/* The same for a chunk that runs there for `ran_ns` already: is asking for half of what is left worth it? */
int erg_lease_worth_cut(const struct erg_lease *l, int64_t ran_ns);

/* A pure task has been there for `there_ns`, and somebody elsewhere has nothing to do, where tasks take elsewhere_ns on
 * average (0: not known): is beginning it anew over there worth it? What is begun anew has lost the time it was there, so
 * that has to be a multiple of what tasks usually take: then either the task is long, and little of it was lost, or the
 * place is slow, or stands still. */
int erg_lease_worth_anew(const struct erg_lease *l, int64_t there_ns, int64_t elsewhere_ns);

#endif
