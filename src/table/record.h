/* table/record: tasks from the submitter's side: enter, order, submit, wait, cancel, free.
 *
 * `m` is always the caller's own member; any thread of its process may call. A record
 * that was taken with erg_record_new belongs to its submitter until erg_record_free. Handles stay safe to use for ever:
 * a stale one counts as done. Nothing here makes a system call except to wake or to sleep. */
#ifndef ERG_TABLE_RECORD_H
#define ERG_TABLE_RECORD_H

#include "table/member.h"

/* A free record, ERG_ENTERED: everything zero except edges and bytes, kind ERG_KIND_CALL, queue ERG_QUEUE_ANY.
 * ERG_EFULL when records_max are outstanding. */
int erg_record_new(struct erg_member *m, uint32_t *index);

static inline uint64_t erg_record_state(const struct erg_record *r) {
    return atomic_load_explicit(&((struct erg_record *)r)->state, memory_order_acquire);
}
static inline uint32_t erg_record_gen(const struct erg_record *r) {
    return ERG_STATE_GEN(erg_record_state(r));
}
static inline enum erg_record_phase erg_record_phase(const struct erg_record *r) {
    return ERG_STATE_PHASE(erg_record_state(r));
}
/* ERG_OUT_NONE before it is DONE. */
static inline enum erg_outcome erg_record_outcome(const struct erg_record *r) {
    return ERG_STATE_OUTCOME(erg_record_state(r));
}
static inline erg_handle erg_record_handle(const struct erg_table *t, uint32_t index) {
    return ERG_HANDLE(index, erg_record_gen(erg_table_record(t, index)));
}

/* Room for `len` bytes of arguments, inline if they fit, else an arena block (the payload says which); sets args.len
 * to len. Called again it moves: what was written is not kept. NULL: no memory. */
unsigned char *erg_record_args_reserve(struct erg_member *m, uint32_t index, size_t len);
/* The same for the result, by the runner; inline behind the arguments if it fits, never over them (a lost task can run
 * again). A result block left behind by an earlier run is freed. */
unsigned char *erg_record_result_reserve(struct erg_member *m, uint32_t index, size_t len);
/* Where the bytes are. */
static inline unsigned char *erg_record_bytes(const struct erg_table *t, const struct erg_record *r,
                                              const struct erg_payload *p) {
    return p->offset ? t->base + p->offset : (unsigned char *)r->inline_bytes + p->start;
}

/* --- order ------------------------------------------------------------------------------------------- */
/* The record, still ENTERED, waits for `pred` (of any submitter). 1: pred is done already, no edge needed; 0: edge made;
 * ERG_EFULL: ERG_DEPS_INLINE edges are there. Successors run whatever pred's outcome is; the runner looks. */
int erg_record_after(struct erg_member *m, uint32_t index, erg_handle pred);
/* The same for any number, through JOIN records where needed. ERG_EFULL: no record for a JOIN was free; edges made so
 * far stay. Call it at most once per record, with all its predecessors. */
int erg_record_after_many(struct erg_member *m, uint32_t index, const erg_handle *preds, size_t n);

/* Its fields are complete: it runs as soon as its predecessors are done, on a member that serves `queue`. Wakes a
 * sleeping worker where none is awake to take it. */
void erg_record_submit(struct erg_member *m, uint32_t index);
/* The same for many: one pass over the rings, one decision whom to wake. */
void erg_record_submit_many(struct erg_member *m, const uint32_t *indexes, size_t n);

/* --- completion ---------------------------------------------------------------------------------------- */
/* 1 if it is done (or was freed), with the result visible to the caller. */
static inline int erg_record_done(const struct erg_table *t, erg_handle handle) {
    uint64_t s = erg_record_state(erg_table_record(t, ERG_HANDLE_INDEX(handle)));
    return ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle) || ERG_STATE_PHASE(s) == ERG_DONE;
}
/* 1 while it runs although its time is over and its runner cannot be stopped (erg_record_set_overdue): a result that comes
 * yet is nobody's. */
static inline int erg_record_overdue(const struct erg_table *t, erg_handle handle) {
    uint64_t s = erg_record_state(erg_table_record(t, ERG_HANDLE_INDEX(handle)));
    return ERG_STATE_GEN(s) == ERG_HANDLE_GEN(handle) && ERG_STATE_PHASE(s) == ERG_RUNNING &&
           (s & ERG_STATE_OVERDUE) != 0;
}
/* Makes it so, if `runner` runs it: who waits for it is woken, and NOTIFY is obeyed as if it were done. It stays its
 * runner's until that finishes it; until then it may not be freed. m: the caller's own member. */
void erg_record_set_overdue(struct erg_member *m, erg_handle handle, uint32_t runner);
int erg_record_wait_slow(struct erg_member *m, erg_handle handle, int64_t timeout_ns);
/* Waits: spins while cores are free, then sleeps. timeout_ns < 0: for ever. 0; ERG_ETIMEOUT, also when it is overdue; ERG_EINTR when a signal
 * arrived (look at it, then call again); ERG_ECLOSED in a forked child. Any number of threads may wait. */
static inline int erg_record_wait(struct erg_member *m, erg_handle handle, int64_t timeout_ns) {
    return erg_record_done(m->table, handle) ? 0 : erg_record_wait_slow(m, handle, timeout_ns);
}
/* Push it to the completion ring (bell.h) once it is DONE or overdue. 1: it is already, and will not be pushed; 0. */
int erg_record_notify(struct erg_member *m, erg_handle handle);

/* 1: it had not started, is DONE with ERG_OUT_CANCELLED now and its successors are released; 2: it runs, its CANCEL
 * flag and its runner's slot->cancel are set; 0: it is done (or still ENTERED). */
int erg_record_cancel(struct erg_member *m, erg_handle handle);

/* By its submitter, once DONE (or still ENTERED: then as if it had never been). Frees argument and result blocks the
 * record still owns. The index must not be used afterwards. */
void erg_record_free(struct erg_member *m, uint32_t index);
/* The same for a DONE record that was submitted by a member that has died: with the buffers of its payloads. A chunk's arguments
 * may be another's as well: recovery sees to them. */
void erg_record_drop(struct erg_member *m, uint32_t index);
/* By its submitter, while ENTERED, its result in place: DONE with that outcome, without having been run. */
void erg_record_settle(struct erg_member *m, uint32_t index, enum erg_outcome outcome);

/* --- decisions of recovery: only inside erg_table_recover's callback, or for a member known to be dead ------ */
/* RUNNING by a dead member -> READY again. */
void erg_record_retry(struct erg_member *m, uint32_t index);
/* RUNNING by a dead member -> DONE with the given outcome, successors released. */
void erg_record_fail(struct erg_member *m, uint32_t index, enum erg_outcome outcome);

#endif
