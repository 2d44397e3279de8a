/* table/lease: tasks taken for somebody else: by a member of kind ERG_MEMBER_PLACE, which hands them to other hosts.
 *
 * Where a worker claims one task and runs it, a place takes any number, which come to their end in any order. It lives
 * in the owner's process and dies only with it, so nothing of this is noted for recovery. One thread at a time.
 *
 * What wakes it is the same as for a worker (wake.c), with a difference: members that run tasks themselves come first,
 * and one wake-up stands for any number of tasks. So it looks until nothing is left it can take:
 *
 *     for (;;) {
 *         take while there is room and something is ready
 *         if there is no room: stop (erg_lease_doze is called again when there is)
 *         if (erg_lease_doze(m, queues)) stop: whoever enters a task adds to slot->wake
 *     }
 */
#ifndef ERG_TABLE_LEASE_H
#define ERG_TABLE_LEASE_H

#include "table/member.h"

/* Takes up to `most` READY tasks of the ring `queue` (READY -> RUNNING by m, start_ns set); how many. A chunk is taken
 * whole: its owner sees all its items as begun, so that it cuts nothing off. *left: tasks are left there. */
size_t erg_lease_take(struct erg_member *m, uint32_t queue, uint32_t *indexes, size_t most,
                      int *left);
/* Nothing could be taken from the rings in `queues` (ERG_QUEUE_BIT mask), and more could: wake us when that changes.
 * 1: nothing is there; 0: something came meanwhile, take it. queues 0: there is no room for any; 1, and nobody wakes us. */
int erg_lease_doze(struct erg_member *m, uint32_t queues);
/* The task is done: its result is in place. run_ns: how long it ran there. */
void erg_lease_finish(struct erg_member *m, uint32_t index, enum erg_outcome outcome,
                      uint64_t run_ns);
/* The same, its result being away (away.h): one successor that it made ready, if there is one in `queues`, is taken as
 * erg_lease_take does, so that it may go where the value is. Its index; ERG_NIL: none. */
uint32_t erg_lease_finish_away(struct erg_member *m, uint32_t index, uint64_t run_ns,
                               uint32_t queues);
/* It was not begun there: back to the ring, as if it had not been taken; if it was cancelled meanwhile, its end. */
void erg_lease_return(struct erg_member *m, uint32_t index);

#endif
