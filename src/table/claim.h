/* table/claim: tasks from the worker's side: take one, run it, finish it.
 *
 * `m` is the caller's own member; not the owner's, and only from the thread
 * that is the member. A task that waits for others may claim and run
 * further tasks meanwhile, up to ERG_CLAIMS_MAX deep; they must be finished in reverse order. */
#ifndef ERG_TABLE_CLAIM_H
#define ERG_TABLE_CLAIM_H

#include "table/member.h"

/* Takes a task without waiting: its own `next`, else one from the rings it serves. 1: *index is RUNNING and the
 * caller's, start_ns is set; 0: nothing to do (or ERG_CLAIMS_MAX deep, or a forked child, which must not run
 * tasks a second time). */
int erg_claim_next(struct erg_member *m, uint32_t *index);

/* Takes this task, if it is READY and of a queue the caller serves. As above. */
int erg_claim_this(struct erg_member *m, erg_handle task, uint32_t *index);

/* As erg_claim_next, waiting: spins up to spin_ns (not at all where enough others do), then sleeps. timeout_ns < 0: for ever. 1: a task; 0: asked to stop, or
 * the table is closed and the rings it serves are empty; ERG_ETIMEOUT; ERG_EINTR: a signal arrived; ERG_ECLOSED in a
 * forked child. */
int erg_claim_wait(struct erg_member *m, uint32_t *index, uint64_t spin_ns, int64_t timeout_ns);

/* The task the caller claimed last is done; its result is in place. Sets DONE, wakes who waits, releases the
 * successors: one the caller can run itself becomes its `next`, the others go to the rings. */
void erg_claim_finish(struct erg_member *m, uint32_t index, enum erg_outcome outcome);

/* The caller will not run the task it claimed last: back to the ring, as if it had not been claimed. */
void erg_claim_return(struct erg_member *m, uint32_t index);

#endif
