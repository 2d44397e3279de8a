/* From one record that is done to those that wait for it.
 *
 * Whoever brings a record to DONE releases its successors: it closes the list (ERG_EDGE_CLOSED), then takes the
 * edges off one by one. An edge is one bit in the waiting record's `deps`; who clears the last bit makes the record
 * READY, or, if it is a JOIN, brings it to DONE too and releases *its* successors before going on. That is a stack, not
 * a recursion, and it lies in the records themselves (result.link), with top and second in the member's note:
 *
 *     note edge | advance the list's head | clear the bit | hint, or push the JOIN on the stack | note no edge
 *
 * An edge is in a list only while its bit is open, and a record with open bits is never recycled: so the list's
 * next pointer, read before the bit is cleared, is always good. A dead member's notes are enough to go on
 * (erg_release_resume): if the edge it noted is still the list's head it had not advanced; clearing a bit twice changes nothing;
 * a READY record may have missed its hint, and a second hint does no harm. */
#include "table/arena.h"
#include "table/bell.h"
#include "table/inside.h"
#include <limits.h>

#define EDGE_RECORD(edge) ((edge) >> 3)
#define EDGE_SLOT(edge) ((edge)&7u)
#define NOTE(top, below) ((uint64_t)(below) << 32 | (top))
#define DONE_KEEPS (ERG_STATE_NOTIFY | ERG_STATE_CANCEL | ERG_STATE_ORPHAN)

/* --- rings ------------------------------------------------------------------------------------------------- */

/* A ring has room for every record there is, but also holds hints that went stale (cancelled tasks, repeats after a
 * crash). Full means there are some: take the oldest entry out; if it still stands, enter it again at the end. */
static void make_room(struct erg_member *m, struct erg_ring *ring, int completed) {
    struct erg_table *t = m->table;
    struct erg_ring_peek peek;
    if (!erg_ring_peek(t, ring, &peek))
        return;
    struct erg_record *r = &t->records[peek.index];
    uint32_t depth = atomic_load_explicit(&m->slot->depth, memory_order_relaxed);
    if (!m->is_owner && depth < ERG_CLAIMS_MAX)
        atomic_store_explicit(&m->slot->claims[depth], erg_record_handle(t, peek.index),
                              memory_order_release);
    if (!erg_ring_take(t, &peek))
        return;
    uint64_t s = erg_record_state(r);
    int stands = erg_ring_names(&peek, s) &&
                 (completed ? erg_state_tells(s) : ERG_STATE_PHASE(s) == ERG_READY);
    while (stands && !erg_ring_push(t, ring, ERG_HANDLE(peek.index, peek.gen)))
        erg_cpu_relax(); /* others filled the place we made; they make room in turn */
}

static void enter(struct erg_member *m, struct erg_ring *ring, erg_handle handle, int completed) {
    while (!erg_ring_push(m->table, ring, handle))
        make_room(m, ring, completed);
}

void erg_release_hint(struct erg_member *m, uint32_t queue, erg_handle handle) {
    enter(m, &m->table->header->ready[queue], handle, 0);
}

/* --- waking who waits for a record -------------------------------------------------------------------------- */

void erg_release_announce(struct erg_member *m, erg_handle handle) {
    struct erg_record *r = &m->table->records[ERG_HANDLE_INDEX(handle)];
    uint64_t s = erg_record_state(r);
    do {
        if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle) || ERG_STATE_PHASE(s) != ERG_DONE)
            return; /* it was freed meanwhile: nobody waits */
    } while (!atomic_compare_exchange_weak_explicit(&r->state, &s, s | ERG_STATE_NOTIFY,
                                                    memory_order_relaxed, memory_order_relaxed));
    enter(m, &m->table->header->completed, handle, 1);
    erg_bell_ring(m->table);
}

void erg_release_tell(struct erg_member *m, uint32_t index, uint64_t seen) {
    ERG_POINT("done");
    if (seen & ERG_STATE_WAITER) {
        erg_futex_wake(erg_record_futex(&m->table->records[index]), INT_MAX);
        erg_cpu_note_woken(m);
    }
    if (seen & ERG_STATE_NOTIFY) {
        enter(m, &m->table->header->completed, ERG_HANDLE(index, ERG_STATE_GEN(seen)), 1);
        ERG_POINT("done-entered");
        erg_bell_ring(m->table);
    }
}

/* --- the stack ------------------------------------------------------------------------------------------------ */

static void stack_push(struct erg_member *m, uint32_t index) {
    uint64_t note = atomic_load_explicit(&m->slot->releasing, memory_order_relaxed);
    m->table->records[index].result.link = (uint32_t)note;
    atomic_store_explicit(&m->slot->releasing, NOTE(index, (uint32_t)note), memory_order_release);
}

static void stack_pop(struct erg_member *m) {
    uint64_t note = atomic_load_explicit(&m->slot->releasing, memory_order_relaxed);
    uint32_t below = (uint32_t)(note >> 32);
    /* the new top is still RELEASING by us, so its link is ours to read; the old one may be anybody's by now */
    uint32_t second = below == ERG_NIL ? ERG_NIL : m->table->records[below].result.link;
    atomic_store_explicit(&m->slot->releasing, NOTE(below, second), memory_order_release);
}

/* Swaps `seen`, the state of a record that is the caller's alone (others only set flags), for DONE. With successors it
 * goes on the stack first, so that a note of it exists. */
static void swap_done(struct erg_member *m, uint32_t index, uint64_t *seen,
                      enum erg_outcome outcome) {
    struct erg_record *r = &m->table->records[index];
    uint64_t done;
    int pushed = 0;
    do {
        done = (*seen & ~(uint64_t)UINT32_MAX) | (uint64_t)m->number << 16 |
               (uint64_t)outcome << 12 | (*seen & DONE_KEEPS) | ERG_DONE;
        if (*seen & ERG_STATE_SUCC) {
            if (!pushed)
                stack_push(m, index);
            pushed = 1;
            ERG_POINT("release-pushed");
            done |= ERG_STATE_RELEASING;
        }
        /* release: result and bytes are visible to who sees DONE; acquire: the edges of who joined the list */
    } while (!atomic_compare_exchange_weak_explicit(&r->state, seen, done, memory_order_acq_rel,
                                                    memory_order_relaxed));
}

/* The last step of a record that frees itself. */
static void free_orphan(struct erg_member *m, uint32_t index) {
    ERG_POINT("orphan");
    erg_record_drop(m, index);
}

/* Takes the record for itself, as if to run it, because only one may bring it to DONE: its link is then ours to write.
 * `seen` is its state and follows. 0: it has gone on. */
int erg_release_seize(struct erg_member *m, uint32_t index, uint64_t *seen) {
    struct erg_record *r = &m->table->records[index];
    uint32_t gen = ERG_STATE_GEN(*seen);
    for (;;) {
        enum erg_record_phase phase = ERG_STATE_PHASE(*seen);
        if (ERG_STATE_GEN(*seen) != gen || (phase != ERG_WAITING && phase != ERG_READY))
            return 0;
        uint64_t ours = (uint64_t)gen << 32 | (uint64_t)m->number << 16 |
                        (*seen & (DONE_KEEPS | ERG_STATE_WAITER | ERG_STATE_SUCC)) | ERG_RUNNING;
        if (atomic_compare_exchange_weak_explicit(&r->state, seen, ours, memory_order_acq_rel,
                                                  memory_order_acquire)) {
            *seen = ours;
            ERG_POINT("seized");
            return 1;
        }
    }
}

static void complete_join(struct erg_member *m, uint32_t index, uint64_t seen) {
    int ours = ERG_STATE_PHASE(seen) == ERG_RUNNING; /* seized before we died */
    if (!ours && !erg_release_seize(m, index, &seen))
        return;
    swap_done(m, index, &seen, ERG_OUT_OK);
    erg_release_tell(m, index, seen);
    if ((seen & ERG_STATE_ORPHAN) && !(seen & ERG_STATE_SUCC)) /* otherwise the stack sees to it */
        free_orphan(m, index);
}

/* Its own next task, if it has none and can run this. */
static int keep_next(struct erg_member *m, uint32_t queue, erg_handle handle) {
    if (m->is_owner || m->keep == 0 || !(m->queues & ERG_QUEUE_BIT(queue)) ||
        atomic_load_explicit(&m->slot->next, memory_order_relaxed) != ERG_HANDLE_NONE)
        return 0;
    atomic_store_explicit(&m->slot->next, handle, memory_order_release);
    return 1;
}

static void make_ready(struct erg_member *m, uint32_t index, uint32_t gen) {
    struct erg_record *r = &m->table->records[index];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    for (;;) {
        if (ERG_STATE_GEN(s) != gen)
            return;
        uint32_t kind = __atomic_load_n(&r->kind, __ATOMIC_RELAXED);
        uint32_t queue = __atomic_load_n(&r->queue, __ATOMIC_RELAXED) % ERG_QUEUES;
        if (kind == ERG_KIND_JOIN && ERG_STATE_PHASE(s) == ERG_RUNNING &&
            ERG_STATE_RUNNER(s) == m->number) {
            complete_join(m, index, s);
            return;
        }
        if (ERG_STATE_PHASE(s) != ERG_WAITING)
            return; /* cancelled meanwhile (then its canceller released it), or done before we died */
        if (kind == ERG_KIND_JOIN) {
            complete_join(m, index, s);
            return;
        }
        uint64_t ready = s - ERG_WAITING + ERG_READY;
        if (!atomic_compare_exchange_weak_explicit(&r->state, &s, ready, memory_order_acq_rel,
                                                   memory_order_acquire))
            continue;
        ERG_POINT("ready");
        if (!keep_next(m, queue, ERG_HANDLE(index, gen))) {
            erg_release_hint(m, queue, ERG_HANDLE(index, gen));
            m->entered[queue]++;
        }
        return;
    }
}

/* Clears one bit; if it was the last, the record moves on. Repeating it is harmless. */
static void clear_edge(struct erg_member *m, uint32_t edge, uint32_t gen) {
    uint32_t index = EDGE_RECORD(edge);
    struct erg_record *r = &m->table->records[index];
    uint64_t bit = (uint64_t)1 << EDGE_SLOT(edge);
    uint64_t seen = atomic_load_explicit(&r->deps, memory_order_acquire);
    do {
        if ((uint32_t)(seen >> 32) != gen)
            return;
        /* acq_rel: who clears the last bit sees what the others' predecessors wrote, and passes it on */
    } while ((seen & bit) &&
             !atomic_compare_exchange_weak_explicit(&r->deps, &seen, seen & ~bit,
                                                    memory_order_acq_rel, memory_order_acquire));
    ERG_POINT("edge-cleared");
    uint32_t left = (uint32_t)seen & ~(uint32_t)bit;
    if (left & (ERG_DEPS_EDGES | ERG_DEPS_GUARD))
        return;
    if (left & ERG_DEPS_FREED) {
        uint64_t s = erg_record_state(r);
        if (ERG_STATE_GEN(s) == gen) /* else it was recycled before we died */
            erg_store_recycle(m, index, s);
    } else {
        make_ready(m, index, gen);
    }
}

/* The top of the stack has no more successors. */
static void finish_top(struct erg_member *m, uint32_t index) {
    struct erg_record *r = &m->table->records[index];
    uint64_t old =
        atomic_fetch_and_explicit(&r->state, ~(uint64_t)ERG_STATE_RELEASING, memory_order_acq_rel);
    ERG_POINT("release-ended");
    if (old & ERG_STATE_FREED)
        erg_record_retire(m, index, old & ~(uint64_t)ERG_STATE_RELEASING);
    else if (old & ERG_STATE_ORPHAN)
        free_orphan(m, index);
    stack_pop(m);
}

static void release_edge(struct erg_member *m, struct erg_record *r, uint64_t succ) {
    struct erg_member_slot *slot = m->slot;
    uint32_t edge = (uint32_t)succ & ~ERG_EDGE_CLOSED;
    struct erg_record *waiting = &m->table->records[EDGE_RECORD(edge)];
    uint32_t next = atomic_load_explicit(&waiting->edges[EDGE_SLOT(edge)], memory_order_relaxed);
    uint32_t gen = (uint32_t)(atomic_load_explicit(&waiting->deps, memory_order_relaxed) >> 32);
    if (next != ERG_EDGE_NIL)
        __builtin_prefetch(&m->table->records[EDGE_RECORD(next)], 1);
    atomic_store_explicit(&slot->edge, (uint64_t)gen << 32 | edge, memory_order_release);
    ERG_POINT("edge-noted");
    atomic_store_explicit(&r->succ, (succ & ~(uint64_t)UINT32_MAX) | ERG_EDGE_CLOSED | next,
                          memory_order_release);
    ERG_POINT("edge-taken");
    clear_edge(m, edge, gen);
    ERG_POINT("edge-followed");
    atomic_store_explicit(&slot->edge, ERG_EDGE_NONE, memory_order_release);
}

/* Works the stack off. Records of it that are not RELEASING by us any more were finished before we died. */
static void release_all(struct erg_member *m) {
    for (;;) {
        uint32_t top = (uint32_t)atomic_load_explicit(&m->slot->releasing, memory_order_relaxed);
        if (top == ERG_NIL)
            break;
        struct erg_record *r = &m->table->records[top];
        uint64_t s = erg_record_state(r);
        if (ERG_STATE_PHASE(s) != ERG_DONE || ERG_STATE_RUNNER(s) != m->number) {
            stack_pop(m);
        } else if (!(s & ERG_STATE_RELEASING)) {
            if (s & ERG_STATE_FREED)
                erg_record_retire(m, top, s);
            else if (s & ERG_STATE_ORPHAN)
                free_orphan(m, top);
            stack_pop(m);
        } else {
            uint64_t succ = atomic_load_explicit(&r->succ, memory_order_relaxed);
            if (!(succ & ERG_EDGE_CLOSED)) /* acquire: the edges that were linked */
                succ = atomic_fetch_or_explicit(&r->succ, ERG_EDGE_CLOSED, memory_order_acq_rel);
            if (((uint32_t)succ & ~ERG_EDGE_CLOSED) == ERG_EDGE_NIL)
                finish_top(m, top);
            else
                release_edge(m, r, succ);
        }
    }
    for (uint32_t q = 0; q < ERG_QUEUES; q++)
        if (m->entered[q] > 0) {
            erg_wake(m->table, q, m->entered[q]);
            m->entered[q] = 0;
        }
}

void erg_release_done(struct erg_member *m, uint32_t index, enum erg_outcome outcome, int keep) {
    uint64_t seen = atomic_load_explicit(&m->table->records[index].state, memory_order_relaxed);
    erg_lock(&m->release_lock);
    m->keep = keep;
    swap_done(m, index, &seen, outcome);
    erg_release_tell(m, index, seen);
    if (seen & ERG_STATE_SUCC)
        release_all(m);
    else if (seen & ERG_STATE_ORPHAN)
        free_orphan(m, index);
    erg_unlock(&m->release_lock);
}

void erg_release_guard(struct erg_member *m, uint32_t index, uint32_t gen) {
    erg_lock(&m->release_lock);
    m->keep = 0;
    make_ready(m, index, gen);
    release_all(m);
    erg_unlock(&m->release_lock);
}

void erg_release_resume(struct erg_member *m) {
    m->keep = 0;
    uint64_t note = atomic_load_explicit(&m->slot->edge, memory_order_acquire);
    uint32_t top = (uint32_t)atomic_load_explicit(&m->slot->releasing, memory_order_acquire);
    if (top != ERG_NIL) {
        uint64_t s = erg_record_state(&m->table->records[top]);
        if (ERG_STATE_PHASE(s) != ERG_DONE || ERG_STATE_RUNNER(s) != m->number) {
            stack_pop(m); /* noted, but its swap to DONE did not happen, or it is over */
            top = (uint32_t)atomic_load_explicit(&m->slot->releasing, memory_order_relaxed);
        }
    }
    if (note != ERG_EDGE_NONE) {
        uint32_t edge = (uint32_t)note, gen = (uint32_t)(note >> 32);
        struct erg_record *waiting = &m->table->records[EDGE_RECORD(edge)];
        /* Which list it was in is not the top's, if clearing it pushed a JOIN: then that list had advanced. */
        if (top != ERG_NIL) {
            struct erg_record *r = &m->table->records[top];
            uint64_t s = erg_record_state(r), succ = atomic_load(&r->succ);
            if (ERG_STATE_PHASE(s) == ERG_DONE && (s & ERG_STATE_RELEASING) &&
                ERG_STATE_RUNNER(s) == m->number && (uint32_t)succ == (edge | ERG_EDGE_CLOSED)) {
                uint32_t next = atomic_load(&waiting->edges[EDGE_SLOT(edge)]);
                atomic_store(&r->succ, (succ & ~(uint64_t)UINT32_MAX) | ERG_EDGE_CLOSED | next);
            }
        }
        clear_edge(m, edge, gen);
        uint64_t s = erg_record_state(waiting);
        if (ERG_STATE_GEN(s) == gen && ERG_STATE_PHASE(s) == ERG_READY)
            erg_release_hint(m, waiting->queue % ERG_QUEUES, ERG_HANDLE(EDGE_RECORD(edge), gen));
        atomic_store_explicit(&m->slot->edge, ERG_EDGE_NONE, memory_order_release);
    }
    release_all(m);
}
