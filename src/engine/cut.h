/* engine/cut: which chunk of a map gives some of its items to somebody who idles. Used by whoever feeds a map, native
 * or of Python, each with chunks of its own kind:
 *
 *     struct erg_cut best;
 *     if (erg_cut_wanted(&best, table, queues))
 *         for (each chunk of the map that is on its way)
 *             if (!erg_cut_look(&best, its record, chunk))
 *                 break;
 *     n = erg_cut_take(&best, &balance, &from, &to);   // enter items [from, to) of best.chunk anew
 *
 * and again as long as n is not 0: several may idle. Then erg_cut_wait() says how long to sleep (with erg_idle_wait, which ends
 * when more than best.idle idle) before a cut may be worth it that was not now.
 * By the submitter of the records, one thread at a time. */
#ifndef ERG_ENGINE_CUT_H
#define ERG_ENGINE_CUT_H

#include "sched/balance.h"
#include "table/member.h"

struct erg_cut {
    struct erg_record *record; /* of the running chunk with the most items not begun; NULL: none */
    void *chunk;               /* the caller's */
    uint32_t left;             /* those items */
    uint32_t idle;             /* members with nothing to do */
    uint32_t waiting;          /* chunks that wait to be taken: whoever idles takes those first */
};

/* Begins a look. 1 if a member that serves `queues` (ERG_QUEUE_BIT mask) has nothing to do. */
int erg_cut_wanted(struct erg_cut *best, struct erg_table *table, uint32_t queues);
/* 0: there is no need to look at others. */
int erg_cut_look(struct erg_cut *best, struct erg_record *record, void *chunk);
/* Cuts it. How many items are the caller's now, 0 where it is not worth it or nothing is there to cut. */
uint32_t erg_cut_take(const struct erg_cut *best, const struct erg_balance *balance, uint32_t *from,
                      uint32_t *to);
/* Nanoseconds; never more than most_ns. */
int64_t erg_cut_wait(const struct erg_cut *best, const struct erg_balance *balance,
                     int64_t most_ns);

#endif
