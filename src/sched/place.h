/* sched/place: how many workers one place should have, has, and may start now.
 *
 * A place is somewhere workers run: the worker processes of this host, the worker threads of this process, an agent,
 * a rank. It counts; it knows no worker by name and no clock: `now` comes in as an argument (nanoseconds that
 * never go back). Every call is O(1) and nothing is allocated, so there is neither init failure nor fini.
 *
 * Workers that die at once must not be started for ever. Three numbers govern that:
 *
 *   failures  starts in a row that came to nothing: the worker did not come up, or came up and died young without
 *             having had a task. At `failures_max` the place is broken: nothing is started there any more.
 *   streak    deaths in a row without any progress, including those somebody outside caused with a signal. It governs
 *             the back-off, and while it is not 0 one worker is tried at a time.
 *   progress  any task finished at the place, or a worker that reached `settle_ns`: both numbers are 0 again.
 *
 * A worker that dies *with* a task in its hands is no failure of the place: that task is retried or failed, each
 * a bounded number of times, so such deaths cannot go on for ever. It is replaced at once.
 *
 * Not thread-safe: belongs to whoever owns the scheduler. */
#ifndef ERG_SCHED_PLACE_H
#define ERG_SCHED_PLACE_H

#include <stdint.h>

/* How a worker ended. */
enum erg_exit_kind {
    ERG_EXIT_ASKED, /* left because it was asked to, or because it had run as many tasks as it may */
    ERG_EXIT_IDLE, /* left because the pool is closed and nothing was left to do: needs no successor */
    ERG_EXIT_CODE,    /* exited by itself with `value` */
    ERG_EXIT_SIGNAL,  /* killed by signal `value` */
    ERG_EXIT_UNKNOWN, /* gone; whoever could have told the status is gone too */
};

struct erg_exit {
    enum erg_exit_kind kind;
    int value;
    int had_task; /* it held at least one task when it died */
    uint64_t
        place_tasks; /* tasks finished at this place so far, by all its workers, dead ones too */
};

/* Zeros mean the defaults in brackets. */
struct erg_place_limits {
    uint32_t failures_max; /* [5] */
    int64_t
        backoff_min_ns; /* wait after the second death in a row, doubled with each more [20 ms] */
    int64_t backoff_max_ns; /* [5 s] */
    int64_t settle_ns;      /* a worker that lived this long is no failure [10 s] */
};

struct erg_place {
    struct erg_place_limits limits;
    uint32_t wanted;
    uint32_t starting; /* START was said, neither up nor failed yet */
    uint32_t up;
    uint32_t leaving; /* of `up`: asked to leave */
    uint32_t failures;
    uint32_t streak;
    uint64_t tasks;   /* place_tasks at the last death */
    int64_t start_at; /* no start before this time */
    int broken;
};

void erg_place_init(struct erg_place *place, const struct erg_place_limits *limits,
                    uint32_t wanted);

/* How many workers to start now; the caller does start them: they count as starting. 0 while backing off. */
uint32_t erg_place_start(struct erg_place *place, int64_t now);

/* When to ask again, if the place has fewer workers than wanted only because it backs off; INT64_MAX otherwise. */
int64_t erg_place_start_at(const struct erg_place *place);

/* How many of those up (and not leaving already) are too many. */
uint32_t erg_place_surplus(const struct erg_place *place);

void erg_place_on_up(struct erg_place *place);

/* A start came to nothing. 1: the place just broke. */
int erg_place_on_start_failed(struct erg_place *place, int64_t now);

/* A worker that was up is gone. 1: the place just broke. */
int erg_place_on_gone(struct erg_place *place, const struct erg_exit *how, int64_t up_since,
                      int was_leaving, int64_t now);

/* Whoever was wrong is believed to be right again (restart): forget failures. */
void erg_place_mend(struct erg_place *place);

#endif
