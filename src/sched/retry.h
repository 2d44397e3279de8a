/* sched/retry: what becomes of a task whose worker died or was ended while the task ran.
 *
 * The rule, in this order:
 *   1. its run was ended on purpose (timeout, cancellation): FAIL with that reason, never again;
 *   2. it was cancelled meanwhile, or the pool is being torn down: FAIL as cancelled;
 *   3. the submitter allows runs after a loss (`retries`, counted down by whoever holds the record): RETRY;
 *   4. the task is pure: RETRY until it has been on top in `kills_max` dying workers: then it is taken for the
 *      killer and fails;
 *   5. it was only waiting, below another task in the worker's nest of claims, and never killed
 *      anything: still FAIL, since it had begun and may have had effects.
 *
 * How often a task killed its worker is remembered here, by handle, in a small table of fixed size; what is
 * pushed out of it is forgotten, which costs a few more runs and never an endless loop in practice: a killer
 * comes back at once and is found again. O(1) per call, no allocation. Not thread-safe. */
#ifndef ERG_SCHED_RETRY_H
#define ERG_SCHED_RETRY_H

#include <stdint.h>

enum { ERG_RETRY_MEMORY = 256, ERG_RETRY_WAYS = 4, ERG_KILLS_MAX = 3 };

enum erg_verdict {
    ERG_VERDICT_RETRY,
    ERG_VERDICT_FAIL_LOST, /* WorkerLost */
    ERG_VERDICT_FAIL_KILLER, /* WorkerLost; the text should say that this task killed `kills` workers */
    ERG_VERDICT_FAIL_TIMEOUT,   /* TaskTimeout */
    ERG_VERDICT_FAIL_CANCELLED, /* TaskCancelled */
};

/* Why the engine interrupted or killed the task's worker; NONE when it died by itself. */
enum erg_asked { ERG_ASKED_NONE, ERG_ASKED_TIMEOUT, ERG_ASKED_CANCEL, ERG_ASKED_STALLED };

struct erg_loss {
    uint64_t task;        /* its handle: any 64-bit name that stays the same over its retries */
    uint32_t retries;     /* runs the submitter still allows */
    int pure;             /* running it twice does no harm */
    int on_top;           /* it was what the worker really ran, not an outer claim that waited */
    int cancelled;        /* somebody asked for its cancellation */
    enum erg_asked asked; /* this task's run was ended on purpose */
};

struct erg_retry {
    struct erg_retry_entry {
        uint64_t task;
        uint32_t kills;
        uint32_t age; /* `clock` at its last kill */
    } entries[ERG_RETRY_MEMORY];
    uint32_t clock;
    uint32_t kills_max;
};

/* kills_max 0: ERG_KILLS_MAX. */
void erg_retry_init(struct erg_retry *retry, uint32_t kills_max);

/* Decides once for every loss. *kills (may be NULL): workers this task has killed, this one included. */
enum erg_verdict erg_retry_decide(struct erg_retry *retry, const struct erg_loss *loss,
                                  uint32_t *kills);

#endif
