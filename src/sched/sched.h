/* sched/sched: the scheduler of one pool: events in, actions out.
 *
 * Pure: no descriptor, no clock, no thread, no allocation after erg_sched_new(). The engine's loop thread tells it
 * what happened (erg_sched_on_…), with the time where time matters, and then takes actions until there are none:
 *
 *     erg_sched_on_gone(s, worker, &how, now);
 *     while (erg_sched_next(s, now, &action))
 *         apply(&action);
 *
 * Applying may itself produce events (a start that fails at once): they may be told inside the loop. Actions are
 * not queued but derived from state when asked for, so memory is bounded by the number of workers, an action that
 * has become pointless is never given, and leaving actions untaken for a while does no harm. Every call is O(1)
 * (times the number of places, a handful); resize and terminate are O(workers).
 *
 * Workers are numbered by the engine (member numbers of the table), 0 … workers_max-1; a number may be used again
 * after the worker's on_gone or on_start_failed. Places are numbered in the order they were added: in a pool of
 * processes and threads of this host, one place each.
 *
 * Life of a worker here:
 *
 *     START place ── on_started(worker) ── on_up(worker) ── on_gone(worker)
 *        │                  └── on_start_failed(worker) (also: died before it was up)
 *        └── on_start_failed(ERG_WORKER_NONE) (nothing could be started at all)
 *
 * Interrupting a task (timeout, cancellation): on_interrupt → INTERRUPT; if the task is not over (on_task_over)
 * within grace_ns → KILL; when the worker is gone, on_lost says TIMEOUT or CANCELLED for that task and treats the other
 * tasks of its nest as plainly lost.
 *
 * Not thread-safe: one caller at a time. */
#ifndef ERG_SCHED_SCHED_H
#define ERG_SCHED_SCHED_H

#include "sched/place.h"
#include "sched/retry.h"
#include <stdint.h>

#define ERG_WORKER_NONE UINT32_MAX
#define ERG_SCHED_PLACES_MAX 16

enum erg_action_kind {
    ERG_ACT_START, /* start `count` workers at `place`; each is answered by on_started or on_start_failed */
    ERG_ACT_STOP,        /* ask `worker` to leave after its task */
    ERG_ACT_INTERRUPT,   /* interrupt `task`, which `worker` runs */
    ERG_ACT_KILL,        /* end `worker` now; on_gone must follow */
    ERG_ACT_BREAK_PLACE, /* `place` gives up after `count` failures in a row; others go on */
    ERG_ACT_BREAK_POOL,  /* no place is left: fail every pending task with LaunchError */
    ERG_ACT_WAKE_AT, /* call erg_sched_tick at `at` (replaces the earlier wish; INT64_MAX: no wish) */
};

struct erg_action {
    enum erg_action_kind kind;
    uint32_t place;
    uint32_t worker;
    uint32_t count;
    enum erg_asked why; /* INTERRUPT, KILL */
    uint64_t task;      /* INTERRUPT, KILL: of which task's sake, 0 if none */
    int64_t at;
};

/* Zeros mean the defaults in brackets. */
struct erg_sched_config {
    uint32_t workers_max; /* [256] */
    int64_t grace_ns;     /* from INTERRUPT to KILL [1 s] */
    uint32_t
        stalled_probes; /* probes in a row that find a worker stopped before it is killed [30] */
    uint32_t kills_max; /* see retry.h */
    struct erg_place_limits limits;
};

struct erg_sched; /* opaque */

/* NULL: no memory. */
struct erg_sched *erg_sched_new(const struct erg_sched_config *config);
void erg_sched_free(struct erg_sched *s);

/* Adds a place that shall have `wanted` workers; its number, or -1 if there are ERG_SCHED_PLACES_MAX already. */
int erg_sched_add_place(struct erg_sched *s, uint32_t wanted);
const struct erg_place *erg_sched_place(const struct erg_sched *s, uint32_t place);

/* The next thing to do: 1 and *action, or 0. */
int erg_sched_next(struct erg_sched *s, int64_t now, struct erg_action *action);

/* --- events about workers. A number that does not fit the life above is ignored and gives -1, else 0. --- */
int erg_sched_on_started(struct erg_sched *s, uint32_t place, uint32_t worker);
int erg_sched_on_up(struct erg_sched *s, uint32_t worker, int64_t now);
/* `worker` may be ERG_WORKER_NONE if it had not been named yet. */
int erg_sched_on_start_failed(struct erg_sched *s, uint32_t place, uint32_t worker, int64_t now);
/* Tell the tasks it held first (on_lost), then this. For one that was not up yet it is on_start_failed. */
int erg_sched_on_gone(struct erg_sched *s, uint32_t worker, const struct erg_exit *how,
                      int64_t now);
/* A probe of a busy worker (say once a second) found it stopped (SIGSTOP) or not. */
int erg_sched_on_probe(struct erg_sched *s, uint32_t worker, int stopped);

/* --- events about tasks --- */
/* `task`, run by `worker`, shall end: its time is over (ERG_ASKED_TIMEOUT) or it was cancelled. Asking again while the
 * first request is on its way changes nothing. */
int erg_sched_on_interrupt(struct erg_sched *s, uint32_t worker, uint64_t task, enum erg_asked why,
                           int64_t now);
/* The task that was to be interrupted is over; its worker lives. */
int erg_sched_on_task_over(struct erg_sched *s, uint32_t worker, uint64_t task);
/* `worker` died holding loss->task. loss->asked is filled in here from what was asked of that worker. */
enum erg_verdict erg_sched_on_lost(struct erg_sched *s, uint32_t worker, struct erg_loss *loss,
                                   uint32_t *kills);

/* --- events about the pool ---
 * Closing a pool is no event here: its workers leave as ERG_EXIT_IDLE when nothing is left to do and are not replaced,
 * those that die meanwhile are. */
int erg_sched_resize(struct erg_sched *s, uint32_t place, uint32_t wanted);
/* Kill every worker, also those still starting once they are up; start none. */
void erg_sched_terminate(struct erg_sched *s);
/* Open again after the workers left (ERG_EXIT_IDLE), after terminate or after a break, with as many workers wanted as
 * were set last. */
void erg_sched_reopen(struct erg_sched *s);
/* What time has made due. Cheap; may be called too early or too often. */
void erg_sched_tick(struct erg_sched *s, int64_t now);

#endif
