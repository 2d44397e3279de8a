/* table/inside: what the files of this room share with one another and with nobody else. */
#ifndef ERG_TABLE_INSIDE_H
#define ERG_TABLE_INSIDE_H

#include "os/cpu.h"
#include "os/futex.h"
#include "table/point.h"
#include "table/record.h"
#include "table/ring.h"

#define ERG_EDGE_NONE UINT64_MAX /* slot->edge: in the middle of no edge */
#define ERG_RELEASING_NONE UINT64_MAX

/* Locks of one process's threads (never of several processes): a futex with 0 free, 1 taken, 2 taken and wanted. */
void erg_lock_slow(_Atomic uint32_t *lock);
static inline void erg_lock(_Atomic uint32_t *lock) {
    uint32_t seen = 0;
    if (!atomic_compare_exchange_strong_explicit(lock, &seen, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        erg_lock_slow(lock);
}
static inline void erg_unlock(_Atomic uint32_t *lock) {
    if (atomic_exchange_explicit(lock, 0, memory_order_release) == 2)
        erg_futex_wake(lock, 1);
}

/* The half of the state word that waiters sleep on: phase, flags, outcome, runner. */
static inline _Atomic uint32_t *erg_record_futex(struct erg_record *r) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return (_Atomic uint32_t *)&r->state + 1;
#else
    return (_Atomic uint32_t *)&r->state;
#endif
}

/* --- store.c: free records --------------------------------------------------------------------------- */
int erg_store_take(struct erg_member *m, uint32_t *index);
/* The record goes back to FREE with the next generation, if its state is still `seen`. 1; 0: somebody else did. */
int erg_store_recycle(struct erg_member *m, uint32_t index, uint64_t seen);
/* Hands all free records of the member to everybody. */
void erg_store_flush(struct erg_member *m);
/* Recovery: a FREE record nobody has. */
void erg_store_give(struct erg_member *m, uint32_t index);

/* A DONE or ENTERED record nobody needs: recycles it, at once or when the last edge that leads to it is cleared. */
void erg_record_retire(struct erg_member *m, uint32_t index, uint64_t seen);

/* Is there a word to be told of a record in this state? */
static inline int erg_state_tells(uint64_t s) {
    return (s & ERG_STATE_NOTIFY) &&
           (ERG_STATE_PHASE(s) == ERG_DONE ||
            (ERG_STATE_PHASE(s) == ERG_RUNNING && (s & ERG_STATE_OVERDUE)));
}

/* --- record.c: the steps of a wait ------------------------------------------------------------------- */
/* 1 when it is done. queues: it ends, too, when erg_idles(t, queues, known). */
int erg_record_spin(struct erg_member *m, erg_handle handle, uint64_t now, uint64_t deadline,
                    uint32_t queues, uint32_t known);
/* Sets the WAITER flag; *seen is what to sleep on. 1: it is done. */
int erg_record_mark(struct erg_member *m, erg_handle handle, uint64_t *seen);
int erg_record_sleep(struct erg_member *m, erg_handle handle, uint64_t seen, int64_t left_ns);

/* --- idle.c ---------------------------------------------------------------------------------------------- */
/* More than `known` members that serve one of `queues` have no work. */
int erg_idles(struct erg_table *t, uint32_t queues, uint32_t known);
/* Wakes the feeders that sleep: the caller's spinning or sleeping bit is set. */
void erg_idle_ring(struct erg_table *t);

/* --- wake.c: who is awake ------------------------------------------------------------------------------ */
/* n tasks were entered into the ring `queue`: wakes as many as are needed to take them. */
void erg_wake(struct erg_table *t, uint32_t queue, size_t n);
void erg_wake_one(struct erg_table *t, uint32_t number);
int erg_awake_bit(_Atomic uint64_t *bits, uint32_t number, int on);
/* Members that run tasks at the moment, more or less. */
uint32_t erg_awake_running(struct erg_table *t);

/* Who shares a processor with whom: hints, so that nobody spins where the one it waits for would have to run. */
void erg_cpu_note(struct erg_member *m);        /* we are awake, here */
void erg_cpu_note_asleep(struct erg_member *m); /* we go to sleep until a record is done */
void erg_cpu_note_woken(struct erg_member *m);  /* we woke such a sleeper of the owner's */
/* Member `number` was last seen awake on the very processor we run on. */
int erg_cpu_shared(struct erg_table *t, uint32_t number);
/* The same of any worker (of the first 63) that does not sleep. */
int erg_cpu_shared_with_taker(struct erg_table *t);

/* --- release.c: from one record to those that wait for it ---------------------------------------------- */
/* Enters the READY record into the ring `queue`; never fails. */
void erg_release_hint(struct erg_member *m, uint32_t queue, erg_handle handle);
/* A record that is the caller's alone (RUNNING by it, or ENTERED) -> DONE: waiters are woken, successors released. With
 * keep, one successor the caller can run may stay with it as slot->next. */
void erg_release_done(struct erg_member *m, uint32_t index, enum erg_outcome outcome, int keep);
/* Wakes who waits for the record, whose state was `seen`; with NOTIFY it goes into the completion ring. */
void erg_release_tell(struct erg_member *m, uint32_t index, uint64_t seen);
/* The DONE record with NOTIFY (or as good as that) goes into the completion ring. */
void erg_release_announce(struct erg_member *m, erg_handle handle);
/* WAITING or READY -> RUNNING by m, to be brought to DONE without being run. 1; 0: it has gone on. */
int erg_release_seize(struct erg_member *m, uint32_t index, uint64_t *seen);
/* The submitter cleared the guard and no edge is open: WAITING -> READY, or on for a JOIN. */
void erg_release_guard(struct erg_member *m, uint32_t index, uint32_t gen);
/* What a dead member left undone of the above; m is made from its slot (recover.c). */
void erg_release_resume(struct erg_member *m);

/* --- claim.c ---------------------------------------------------------------------------------------------- */
/* Hands slot->next to the others. */
void erg_claim_drop(struct erg_member *m);

/* --- arena.c ---------------------------------------------------------------------------------------------- */
/* The member's private bookkeeping. */
int erg_arena_open(struct erg_member *m, struct erg_error *err);
void erg_arena_close(struct erg_member *m);
/* Every extent of member `number`, who is gone or going, belongs to the owner from now on; the free ones nobody. m frees for it:
 * the owner's member after a death, the member's own when it leaves. */
void erg_arena_orphan(struct erg_member *m, uint32_t number);

/* --- view.c ------------------------------------------------------------------------------------------------- */
void erg_view_init(struct erg_table *t);
void erg_view_fini(struct erg_table *t);

/* Before a record becomes READY again: who looks at time limits must not take the time of its last run for that of the
 * next one in the moment between its being claimed and its start_ns being set. */
static inline void erg_record_not_begun(struct erg_record *r) {
    __atomic_store_n(&r->start_ns, 0, __ATOMIC_RELEASE);
}

#endif
