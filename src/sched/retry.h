/* sched/retry: what becomes of a task whose worker died or was ended while the task ran.
 *
 * The rule, in this order:
 *   1. its run was ended on purpose (timeout, cancellation): FAIL with that reason, never again;
 *   2. it was cancelled meanwhile: FAIL as cancelled;
 *   3. the submitter allows runs after a loss (`retries`, counted down by whoever holds the record): RETRY;
 *   4. it is pure: RETRY, until it was there `kills_max` times when its worker died;
 *   5. FAIL. It had begun and may have had effects, also if it only waited below another task in its worker's nest
 *      of claims.
 *
 * Rule 4 counts a task as there whether it ran or only waited: a waiting one may be what enters the killer
 * anew each time. The table of counts has a fixed size; what is pushed out is forgotten, which costs a few more
 * runs: a killer comes back at once and is counted again. O(1) per call, no allocation. Not thread-safe.
 */
#ifndef ERG_SCHED_RETRY_H
#define ERG_SCHED_RETRY_H

#include <stdint.h>

enum { ERG_RETRY_MEMORY = 256, ERG_RETRY_WAYS = 4, ERG_KILLS_MAX = 3 };

enum erg_verdict {
    ERG_VERDICT_RETRY,
    ERG_VERDICT_FAIL_LOST,    /* WorkerLost */
    ERG_VERDICT_FAIL_KILLER,  /* WorkerLost; its workers died `kills` times while it ran: say so */
    ERG_VERDICT_FAIL_TIMEOUT, /* TaskTimeout */
    ERG_VERDICT_FAIL_CANCELLED, /* TaskCancelled */
};

/* Why a worker was interrupted or killed by us; NONE: it died by itself. */
enum erg_asked {
    ERG_ASKED_NONE,
    ERG_ASKED_TIMEOUT, /* for this task's time was over */
    ERG_ASKED_CANCEL,  /* for this task was cancelled */
    ERG_ASKED_WORKER, /* for a reason that is not this task's: stopped too long, another task of its nest, terminate */
};

struct erg_loss {
    uint64_t task;    /* its handle: any 64-bit name that stays the same over its retries */
    uint32_t retries; /* runs the submitter still allows */
    int pure;         /* running it twice does no harm */
    int on_top;       /* it was what the worker really ran, not an outer claim that waited */
    int cancelled;    /* somebody asked for its cancellation */
    enum erg_asked asked;
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

/* Decides once for every loss. *kills (may be NULL): how many of its workers died, this one
 * included. */
enum erg_verdict erg_retry_decide(struct erg_retry *retry, const struct erg_loss *loss,
                                  uint32_t *kills);

#endif
