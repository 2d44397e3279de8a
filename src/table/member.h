/* table/member: one party's private handle on the table: owner, worker process or worker thread.
 *
 * Opened by the process and thread that *is* the member. Tasks are claimed and finished by that thread alone (and never
 * through the owner's member, number 0). Everything else, entering and ordering tasks, waiting, freeing, the arena, may
 * be done by any thread of the process at any time: those calls lock where they must. */
#ifndef ERG_TABLE_MEMBER_H
#define ERG_TABLE_MEMBER_H

#include "table/table.h"

struct erg_arena; /* arena.c */

struct erg_member {
    struct erg_table *table;
    uint32_t number;
    uint32_t queues;
    struct erg_member_slot *slot;
    struct erg_arena *arena;
    uint64_t warm_most;           /* free memory its arena keeps; more is given back at once */
    struct erg_member *sibling;   /* next in table->opened */
    uint64_t last_ns;             /* when its last task ended, 0 once it waited since */
    uint32_t magazine;            /* which of slot->magazines is in use */
    int is_owner;                 /* needs no notes: when it dies, everything ends */
    int keep;                     /* release: one successor may stay with us as slot->next */
    uint32_t entered[ERG_QUEUES]; /* release: hints entered that nobody was woken for yet */
    int spinning;                 /* its bit in header->spinning is set */
    int closed;
    _Atomic uint32_t lock;         /* free records */
    _Atomic uint32_t release_lock; /* notes of release.c */
    _Atomic uint32_t arena_lock;   /* arena */
};

/* Takes a free slot for a member of the given kind (enum erg_member_kind) that will serve the rings in `queues`
 * (ERG_QUEUE_BIT mask), before its process is started. Owner's process only. ERG_EFULL when members_max are there. */
int erg_member_reserve(struct erg_table *table, uint32_t kind, uint32_t queues, uint32_t *number,
                       struct erg_error *err);
/* Gives a reserved slot back whose process never came up. Owner's process only. */
void erg_member_unreserve(struct erg_table *table, uint32_t number);

/* Called by the process and thread that is the member; sets pid and phase UP. The handle lives until
 * erg_member_close; the owner's (number 0) until the table's memory is gone, so that blocks which outlive the pool can
 * still be freed through it. ERG_ESTATE when the slot was not reserved. */
int erg_member_open(struct erg_table *table, uint32_t number, struct erg_member **out,
                    struct erg_error *err);

/* Leaves: hands back its `next` task, its free records and its warm memory; the slot is free for another. Blocks of its
 * arena that are still in use go to the owner. The caller must not be inside a task. */
void erg_member_close(struct erg_member *member);

/* Asks a member to leave after its present task (erg_claim_wait returns 0). */
void erg_member_stop(struct erg_table *table, uint32_t number);
/* Wakes it out of its sleep, for instance so that it looks at header->closed. */
void erg_member_wake(struct erg_table *table, uint32_t number);
void erg_member_wake_all(struct erg_table *table);

/* How many members that serve one of `queues` are up, and how many of those sleep or spin for work. */
struct erg_member_counts {
    uint32_t up, sleeping, spinning;
};
void erg_member_count(struct erg_table *table, uint32_t queues, struct erg_member_counts *out);

#endif
