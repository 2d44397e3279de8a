/* What a dead member left behind, in the order of its notes: the record order in release.c and claim.c says why each is
 * enough. Recovery acts in the dead member's name (a `struct erg_member` made from its slot), so that what it
 * does is what the dead one would have done next. If the owner dies meanwhile there is nobody left to care. */
#include "table/recover.h"
#include "table/arena.h"
#include "table/bell.h"
#include "table/inside.h"
#include "table/payload.h"
#include <limits.h>
#include <stdlib.h>

/* A record the dead member may have claimed, finished or only taken the hint of. */
static void repair_claim(struct erg_member *ghost, erg_handle handle) {
    struct erg_table *t = ghost->table;
    uint32_t index = ERG_HANDLE_INDEX(handle);
    if (handle == ERG_HANDLE_NONE)
        return;
    struct erg_record *r = &t->records[index];
    uint64_t s = erg_record_state(r);
    if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle))
        return;
    if (ERG_STATE_PHASE(s) == ERG_READY) {
        erg_release_hint(ghost, r->queue % ERG_QUEUES, handle);
    } else if (ERG_STATE_PHASE(s) == ERG_DONE) {
        erg_futex_wake(erg_record_futex(r), INT_MAX);
        if (s & ERG_STATE_NOTIFY)
            while (!erg_ring_push(t, &t->header->completed, handle))
                erg_cpu_relax();
        if (!(s & ERG_STATE_RELEASING) && (s & ERG_STATE_ORPHAN) &&
            ERG_STATE_RUNNER(s) == ghost->number)
            erg_record_drop(ghost, index);
    }
}

/* Is it one of the tasks the dead member was running? */
static int was_running(struct erg_member *ghost, erg_handle handle) {
    if (handle == ERG_HANDLE_NONE)
        return 0;
    uint64_t s = erg_record_state(&ghost->table->records[ERG_HANDLE_INDEX(handle)]);
    return ERG_STATE_GEN(s) == ERG_HANDLE_GEN(handle) && ERG_STATE_PHASE(s) == ERG_RUNNING &&
           ERG_STATE_RUNNER(s) == ghost->number;
}

/* A JOIN of the dead member: it goes on by itself, once its guard is gone. */
static void finish_submit(struct erg_member *owner, uint32_t index, uint64_t s) {
    struct erg_record *r = &owner->table->records[index];
    uint64_t deps = atomic_load(&r->deps);
    do {
        if ((uint32_t)(deps >> 32) != ERG_STATE_GEN(s))
            return; /* it ended meanwhile, and is somebody else's by now */
    } while (!atomic_compare_exchange_weak(&r->deps, &deps, deps & ~(uint64_t)ERG_DEPS_GUARD));
    if (ERG_STATE_PHASE(s) == ERG_WAITING && (deps & ERG_DEPS_EDGES) == 0)
        erg_release_guard(owner, index, ERG_STATE_GEN(s));
}

/* Had the dead member freed the record, that was in the state s? Then whoever takes it off its last list recycles it,
 * may have done so already, and somebody else may have it. */
static int was_freed(const struct erg_record *r, uint64_t s) {
    uint64_t deps = atomic_load(&((struct erg_record *)r)->deps);
    return (s & ERG_STATE_FREED) || (deps & ERG_DEPS_FREED) ||
           (uint32_t)(deps >> 32) != ERG_STATE_GEN(s);
}

/* A record the dead member had submitted. */
static void disown(struct erg_member *owner, uint32_t dead, uint32_t index) {
    struct erg_record *r = &owner->table->records[index];
    for (;;) {
        uint64_t s = erg_record_state(r);
        switch (ERG_STATE_PHASE(s)) {
        case ERG_WAITING:
        case ERG_READY:
            if (s & ERG_STATE_ORPHAN) {
                finish_submit(owner, index, s);
                return;
            }
            erg_record_cancel(owner, ERG_HANDLE(index, ERG_STATE_GEN(s)));
            continue;
        case ERG_RUNNING:                      /* whoever runs it frees it at the end */
            if (ERG_STATE_RUNNER(s) == dead) { /* it had only seized it */
                erg_record_fail(owner, index, ERG_OUT_LOST);
                continue;
            }
            if (!atomic_compare_exchange_weak(&r->state, &s, s | ERG_STATE_ORPHAN))
                continue;
            erg_record_cancel(owner, ERG_HANDLE(index, ERG_STATE_GEN(s)));
            return;
        case ERG_DONE:
            if (!(s & ERG_STATE_ORPHAN) && !was_freed(r, s))
                erg_record_drop(owner, index);
            return;
        case ERG_ENTERED:
            if (!was_freed(r, s))
                erg_record_free(owner, index);
            return;
        case ERG_FREE:
            return;
        }
    }
}

/* --- arguments of chunks of the dead ----------------------------------------------------------------------------- */

/* Several chunks may take items of the same block, and one of them may still run: then it is looked at again after the next
 * death. */
static void note_args(struct erg_table *t, const struct erg_record *r) {
    if (r->kind != ERG_KIND_CHUNK || !r->args.offset || !atomic_load(&t->header->payloads))
        return;
    for (size_t i = 0; i < t->args_len; i++)
        if (t->args[i].offset == r->args.offset)
            return;
    struct erg_payload *grown = realloc(t->args, (t->args_len + 1) * sizeof *grown);
    if (!grown)
        return; /* it stays taken until the pool ends */
    t->args = grown;
    t->args[t->args_len++] = r->args;
}

static int args_in_use(struct erg_table *t, uint64_t offset) {
    uint32_t top = atomic_load(&t->header->records_used);
    for (uint32_t i = 0; i < top; i++) {
        const struct erg_record *r = &t->records[i];
        uint64_t s = erg_record_state(r);
        if (ERG_STATE_PHASE(s) == ERG_RUNNING && (s & ERG_STATE_ORPHAN) &&
            r->kind == ERG_KIND_CHUNK && r->args.offset == offset)
            return 1;
    }
    return 0;
}

static void free_args(struct erg_member *owner) {
    struct erg_table *t = owner->table;
    size_t kept = 0;
    for (size_t i = 0; i < t->args_len; i++) {
        struct erg_payload p = t->args[i];
        if (args_in_use(t, p.offset)) {
            t->args[kept++] = p;
            continue;
        }
        erg_payload_free_refs(owner, erg_table_at(t, p.offset), p.len);
        erg_arena_free(owner, p.offset);
    }
    t->args_len = kept;
}

static void keep_free(struct erg_member *owner, uint32_t index) {
    atomic_store(&owner->table->records[index].submitter, (uint16_t)owner->number);
    erg_lock(&owner->lock);
    erg_store_give(owner, index);
    erg_unlock(&owner->lock);
}

/* Everything the dead member had submitted, and free records it had not put away yet. */
static void sweep_records(struct erg_member *owner, uint32_t dead) {
    struct erg_table *t = owner->table;
    uint32_t used = atomic_load(&t->header->records_used);
    for (uint32_t i = 0; i < used; i++) {
        struct erg_record *r = &t->records[i];
        if (r->submitter != dead)
            continue;
        uint64_t s = erg_record_state(r);
        if (ERG_STATE_PHASE(s) > ERG_ENTERED)
            note_args(t, r);
        if (ERG_STATE_PHASE(s) != ERG_FREE)
            disown(owner, dead, i);
        else if (ERG_STATE_RUNNER(s) == dead) /* else another member is just putting it away */
            keep_free(owner, i);
    }
}

/* Free records of its magazines: whatever is FREE there was its own. (One it was just taking is ENTERED already and
 * found by the sweep.) Before the sweep, which would not know which of them were given on since. */
static void empty_magazines(struct erg_member *owner, struct erg_member_slot *slot) {
    for (int i = 0; i < 2; i++) {
        uint32_t n = atomic_load(&slot->magazines[i].count);
        atomic_store(&slot->magazines[i].count, 0);
        for (uint32_t k = 0; k < n && k < ERG_BATCH; k++) {
            uint32_t index = slot->magazines[i].index[k];
            if (erg_record_phase(&owner->table->records[index]) == ERG_FREE)
                keep_free(owner, index);
        }
    }
}

/* --- functions of the dead ---------------------------------------------------------------------------------------- */

/* What tasks of dead submitters that still run may be using. */
enum { USED_MOST = 64 };
struct used {
    int n, any; /* any: more than can be told */
    uint64_t fn[USED_MOST];
};

static void find_used(struct erg_table *t, struct used *used) {
    uint32_t top = atomic_load(&t->header->records_used);
    for (uint32_t i = 0; i < top; i++) {
        const struct erg_record *r = &t->records[i];
        uint64_t s = erg_record_state(r);
        if (ERG_STATE_PHASE(s) != ERG_RUNNING || !(s & ERG_STATE_ORPHAN) ||
            r->kind == ERG_KIND_JOIN)
            continue;
        if (r->kind == ERG_KIND_CALL && used->n < USED_MOST)
            used->fn[used->n++] = r->fn;
        else
            used->any = 1;
    }
}

static int is_used(const struct used *used, uint64_t fn) {
    for (int i = 0; i < used->n; i++)
        if (used->fn[i] == fn)
            return 1;
    return used->any;
}

/* Its tasks that had not begun were cancelled, so nobody begins to use one. Those in use are looked at again after
 * the next death. */
static void free_functions(struct erg_member *owner, struct erg_member_slot *slot) {
    struct erg_table *t = owner->table;
    struct used used = {0};
    uint64_t kept = 0, at = t->graves, next = atomic_exchange(&slot->fns, 0);
    if (!at && !next)
        return;
    find_used(t, &used);
    while (at || next) {
        if (!at) {
            at = next;
            next = 0;
        }
        struct erg_fn_head *head = erg_table_at(t, at);
        uint64_t below = atomic_load(&head->next);
        if (is_used(&used, at)) {
            atomic_store(&head->next, kept);
            kept = at;
        } else {
            erg_payload_free_refs(owner, head->payload, head->len);
            erg_arena_free(owner, at);
        }
        at = below;
    }
    t->graves = kept;
}

static int bury(struct erg_table *t, uint32_t dead) {
    struct erg_member_slot *slot = &t->members[dead];
    uint32_t phase = atomic_load(&slot->phase);
    if (dead == 0 || dead >= t->header->members_max || phase == ERG_M_FREE || phase == ERG_M_DEAD)
        return 0;
    atomic_store(&slot->phase, ERG_M_DEAD);
    if (phase == ERG_M_UP)
        atomic_fetch_sub(&t->header->members_up, 1);
    erg_awake_bit(t->header->sleeping, dead, 0);
    erg_awake_bit(t->header->spinning, dead, 0);
    return 1;
}

static void repair(struct erg_member *ghost, uint32_t depth) {
    struct erg_member_slot *slot = ghost->slot;
    erg_release_resume(ghost);
    for (uint32_t i = 0; i <= depth && i < ERG_CLAIMS_MAX; i++)
        repair_claim(ghost, atomic_load(&slot->claims[i]));
    erg_claim_drop(ghost);
}

static int report(struct erg_member *ghost, uint32_t depth, void (*lost)(void *ctx, uint32_t index),
                  void *ctx) {
    int n = 0;
    for (uint32_t i = 0; i <= depth && i < ERG_CLAIMS_MAX; i++) {
        erg_handle handle = atomic_load(&ghost->slot->claims[i]);
        if (!was_running(ghost, handle))
            continue;
        n++;
        uint32_t index = ERG_HANDLE_INDEX(handle);
        if (lost && !(erg_record_state(&ghost->table->records[index]) & ERG_STATE_ORPHAN))
            lost(ctx, index);
        if (was_running(ghost, handle)) /* not decided, or nobody is left to decide */
            erg_record_fail(ghost, index, ERG_OUT_LOST);
    }
    return n;
}

int erg_table_recover(struct erg_member *owner, uint32_t dead,
                      void (*lost)(void *ctx, uint32_t index), void *ctx) {
    struct erg_table *t = owner->table;
    if (!bury(t, dead))
        return ERG_ESTATE;
    struct erg_member_slot *slot = &t->members[dead];
    struct erg_member ghost = {.table = t, .number = dead, .slot = slot};
    ghost.queues = atomic_load(&slot->queues);
    uint32_t depth = atomic_load(&slot->depth);
    ghost.magazine = atomic_load(&slot->magazines[0].count) > 0 ? 0 : 1;
    repair(&ghost, depth);
    int n = report(&ghost, depth, lost, ctx);
    atomic_store(&slot->depth, 0);
    empty_magazines(owner, slot);
    sweep_records(owner, dead);
    erg_arena_orphan(owner, dead);
    free_functions(owner, slot);
    free_args(owner);
    atomic_store(&slot->queues, 0);
    atomic_store(&slot->phase, ERG_M_FREE);
    /* It may have marked a result as wanted, and not said so. */
    atomic_fetch_add(&t->header->wanted, 1);
    erg_member_wake_all(
        t); /* it may have promised somebody a wake-up, or entered tasks and told nobody */
    erg_bell_ring(t);
    return n;
}
