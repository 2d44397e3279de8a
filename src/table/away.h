/* table/away: results that stay where they were made, on another host, until somebody here needs them.
 *
 * The record of such a task is DONE; its result is a struct erg_away instead of a payload. Whoever reads results (the
 * owner's threads, workers that run a successor) looks through erg_record_result, and where that says ERG_OUT_NONE asks
 * for the value (erg_away_want) and waits (erg_away_wait). The place member (lease.h) brings it: it is the only one that
 * settles a value, and it settles every one, as HERE or LOST, before it goes.
 *
 *     THERE ── brought ──> HERE ──┐
 *       │  \── its host died ──> LOST ──> freed with its record, by whoever frees that
 *       └── its record is freed ──> DROPPED ──> freed by the place member
 *
 * Each arrow is one swap, so that exactly one side frees. A reader needs the record to stay for as long as it reads: its own,
 * or a predecessor of the task it runs. All functions may be called by any thread of any process that is attached,
 * except where they say otherwise. */
#ifndef ERG_TABLE_AWAY_H
#define ERG_TABLE_AWAY_H

#include "table/record.h"

enum erg_away_phase { ERG_AWAY_THERE, ERG_AWAY_HERE, ERG_AWAY_LOST, ERG_AWAY_DROPPED };
enum {
    ERG_AWAY_PHASE = 3,  /* of the state: the phase */
    ERG_AWAY_WANTED = 8, /* somebody waits for it, or will */
    ERG_AWAY_NOTIFY =
        16, /* the record is pushed to the completion ring (again) when it is settled */
    ERG_AWAY_HELD =
        32, /* the place member uses the record's arguments: it is not freed before it is settled */
    ERG_AWAY_LEFT = 64, /* the record is about to be freed */
};

struct erg_away {
    _Atomic uint32_t state; /* futex word */
    uint32_t place;         /* the place member's number for where it is */
    erg_handle task;
    uint64_t bytes;       /* of the value with its buffers */
    uint64_t offset, len; /* HERE: its payload, a block; LOST: words, a block or none */
    /* Its task can be run again: what it reads and its arguments, so many bytes, are to be kept while it is THERE. The
     * place member's own to write. */
    _Atomic uint64_t again_bytes;
    /* It was lost with its place, and this task makes it again; 0. Who waits for it and could run that should. */
    _Atomic uint64_t again;
};

/* record.result.start of a result that is one: no inline payload starts there. */
#define ERG_RESULT_AWAY UINT32_MAX

/* NULL: the result is an ordinary one. The record is DONE. */
static inline struct erg_away *erg_record_away(const struct erg_table *t,
                                               const struct erg_record *r) {
    return r->result.start == ERG_RESULT_AWAY && r->result.offset
               ? (struct erg_away *)(t->base + r->result.offset)
               : NULL;
}
static inline enum erg_away_phase erg_away_phase(const struct erg_away *a) {
    return (enum erg_away_phase)(
        atomic_load_explicit(&((struct erg_away *)a)->state, memory_order_acquire) &
        ERG_AWAY_PHASE);
}

/* What a reader finds in a DONE record: its outcome, and the payload (or words). ERG_OUT_NONE: it is away, and not here
 * yet. ERG_OUT_LOST for a value that was lost with its host. */
enum erg_outcome erg_record_result(const struct erg_table *t, const struct erg_record *r,
                                   const unsigned char **bytes, size_t *len);
/* 1: done (or freed), and what it left can be read. */
int erg_record_here(const struct erg_table *t, erg_handle handle);

/* Asks for it. Idempotent. */
void erg_away_want(struct erg_table *t, struct erg_away *a);
/* Waits until it is settled; it was asked for before. 0, ERG_ETIMEOUT, ERG_EINTR, ERG_ECLOSED in a forked child.
 * timeout_ns < 0: for ever. task: the record it is the result of. Nothing is written: with a timeout it may be called although
 * others may free the record meanwhile. Then `away` may hold anything, and the handle tells that there is nothing to wait for. */
int erg_away_wait(struct erg_table *t, erg_handle task, const struct erg_away *away,
                  int64_t timeout_ns);
/* Asks, and has the record pushed to the completion ring once it is settled. 1: it is already; 0. */
int erg_away_notify(struct erg_table *t, struct erg_away *a);

/* By its submitter, before it frees the record or anything of it. 1: it may; 0: the place member still uses what the record
 * owns, try again later. */
int erg_away_leave(struct erg_away *a);

/* --- the place member ------------------------------------------------------------------------------------- */
/* The record, RUNNING by m, gets a result that is away. ERG_ENOMEM. *offset: of its struct. */
int erg_away_new(struct erg_member *m, uint32_t index, uint32_t place, uint64_t bytes,
                 uint64_t *offset);
/* The record and all it owns stays until the value is settled. 0: it is being freed, or is settled. */
int erg_away_hold(struct erg_away *a);
/* It was brought, or lost. 1: payload (or words) are the record's; 0: nobody has it any more, and both the payload and
 * the struct are to be freed by the caller. Once 1, the struct must not be touched. */
int erg_away_settle(struct erg_member *m, uint64_t away, enum erg_away_phase phase, uint64_t offset,
                    uint64_t len);

/* --- table/record.c --------------------------------------------------------------------------------------- */
/* Its record is freed by m. */
void erg_away_drop(struct erg_member *m, struct erg_away *a, uint64_t offset);

#endif
