/* Tasks from the worker's side.
 *
 * note claims[depth] | take the hint out of the ring | swap READY -> RUNNING | depth + 1. Killed anywhere in between,
 * the note names the record: recovery enters its hint again if it is still READY, and reports it lost if it is RUNNING
 * by the dead member. The record counts as finished from the swap to DONE on (release.c). */
#include "table/claim.h"
#include "os/clock.h"
#include "table/inside.h"

#define RUN_KEEPS                                                                                  \
    (ERG_STATE_WAITER | ERG_STATE_NOTIFY | ERG_STATE_CANCEL | ERG_STATE_SUCC | ERG_STATE_ORPHAN)
#define GEN_HALF(word) ((word) & ~(uint64_t)UINT32_MAX)

static uint32_t depth_of(struct erg_member *m) {
    return atomic_load_explicit(&m->slot->depth, memory_order_relaxed);
}

static void note_claim(struct erg_member *m, uint32_t depth, uint32_t index, uint64_t state) {
    atomic_store_explicit(&m->slot->claims[depth], ERG_HANDLE(index, ERG_STATE_GEN(state)),
                          memory_order_release);
}

/* READY -> RUNNING by m, which then is inside of it. */
static int win(struct erg_member *m, uint32_t depth, uint32_t index, uint64_t s) {
    struct erg_record *r = &m->table->records[index];
    for (;;) {
        if (ERG_STATE_PHASE(s) != ERG_READY)
            return 0;
        note_claim(m, depth, index, s);
        uint64_t running = GEN_HALF(s) | (uint64_t)m->number << 16 | (s & RUN_KEEPS) | ERG_RUNNING;
        /* acquire: all its submitter and its predecessors wrote */
        if (atomic_compare_exchange_weak_explicit(&r->state, &s, running, memory_order_acq_rel,
                                                  memory_order_acquire))
            break;
    }
    ERG_POINT("claimed");
    erg_cpu_note(m);
    atomic_store_explicit(&m->slot->depth, depth + 1, memory_order_release);
    if (!(m->queues & ERG_QUEUE_BIT(r->queue % ERG_QUEUES))) {
        erg_claim_return(m,
                         index); /* an old hint led to a later task, of a queue we do not serve */
        return 0;
    }
    __atomic_store_n(&r->start_ns, depth == 0 && m->last_ns ? m->last_ns : erg_clock_ns(),
                     __ATOMIC_RELEASE);
    return 1;
}

static int win_next(struct erg_member *m, uint32_t depth, uint32_t *index) {
    erg_handle next = atomic_load_explicit(&m->slot->next, memory_order_relaxed);
    if (next == ERG_HANDLE_NONE)
        return 0;
    *index = ERG_HANDLE_INDEX(next);
    uint64_t s = erg_record_state(&m->table->records[*index]);
    int won = ERG_STATE_GEN(s) == ERG_HANDLE_GEN(next) && win(m, depth, *index, s);
    atomic_store_explicit(&m->slot->next, ERG_HANDLE_NONE, memory_order_release);
    return won;
}

static int win_from(struct erg_member *m, uint32_t depth, struct erg_ring *ring, uint32_t *index) {
    struct erg_table *t = m->table;
    struct erg_ring_peek peek;
    while (erg_ring_peek(t, ring, &peek)) {
        uint64_t s = erg_record_state(&t->records[peek.index]);
        note_claim(m, depth, peek.index, s);
        ERG_POINT("claim-noted");
        if (!erg_ring_take(t, &peek))
            continue;
        ERG_POINT("claim-taken");
        if (erg_ring_names(&peek, s) && win(m, depth, peek.index, s)) {
            *index = peek.index;
            return 1;
        }
    }
    return 0;
}

int erg_claim_next(struct erg_member *m, uint32_t *index) {
    uint32_t depth = depth_of(m);
    if (depth >= ERG_CLAIMS_MAX || atomic_load_explicit(&m->table->forked, memory_order_relaxed))
        return 0;
    if (win_next(m, depth, index))
        return 1;
    for (uint32_t left = m->queues; left;) {
        uint32_t q = 31u - (uint32_t)__builtin_clz(left);
        left &= ~ERG_QUEUE_BIT(q);
        if (win_from(m, depth, &m->table->header->ready[q], index))
            return 1;
    }
    return 0;
}

/* Its hint stays behind in the ring, and is dropped by who comes to it. */
int erg_claim_this(struct erg_member *m, erg_handle task, uint32_t *index) {
    uint32_t depth = depth_of(m);
    if (depth >= ERG_CLAIMS_MAX || atomic_load_explicit(&m->table->forked, memory_order_relaxed))
        return 0;
    *index = ERG_HANDLE_INDEX(task);
    struct erg_record *r = &m->table->records[*index];
    uint64_t s = erg_record_state(r);
    return ERG_STATE_GEN(s) == ERG_HANDLE_GEN(task) && ERG_STATE_PHASE(s) == ERG_READY &&
           m->queues & ERG_QUEUE_BIT(r->queue % ERG_QUEUES) && win(m, depth, *index, s);
}

/* Hands `next` to the others. */
void erg_claim_drop(struct erg_member *m) {
    erg_handle next = atomic_load_explicit(&m->slot->next, memory_order_relaxed);
    if (next == ERG_HANDLE_NONE)
        return;
    uint32_t index = ERG_HANDLE_INDEX(next);
    struct erg_record *r = &m->table->records[index];
    uint64_t s = erg_record_state(r);
    if (ERG_STATE_GEN(s) == ERG_HANDLE_GEN(next) && ERG_STATE_PHASE(s) == ERG_READY) {
        uint32_t queue = r->queue % ERG_QUEUES;
        erg_release_hint(m, queue, next);
        erg_wake(m->table, queue, 1);
    }
    atomic_store_explicit(&m->slot->next, ERG_HANDLE_NONE, memory_order_release);
}

/* --- waiting ------------------------------------------------------------------------------------------------ */

enum { SPINS_PER_LOOK = 16, LOOKS_ALONE = 4 };

static int asked_to_stop(struct erg_member *m) {
    return atomic_load_explicit(&m->slot->stop, memory_order_seq_cst) != 0;
}

static int leaving(struct erg_member *m) {
    return asked_to_stop(m) ||
           atomic_load_explicit(&m->table->header->closed, memory_order_seq_cst) != 0;
}

/* Would we spin where the owner, who gives us work, wants to run? */
static int in_the_way(struct erg_member *m) {
    return erg_cpu_shared(m->table, 0);
}

static int may_spin(struct erg_member *m) {
    struct erg_table *t = m->table;
    uint32_t cores = t->header->cores;
    if (cores <= 1 || in_the_way(m))
        return 0;
    struct erg_member_counts counts;
    erg_member_count(t, ~0u, &counts);
    uint32_t busy = erg_awake_running(t); /* with us */
    uint32_t most = busy <= cores ? cores - busy + 1 : 1;
    return counts.spinning < most;
}

static void stop_spinning(struct erg_member *m) {
    if (!m->spinning)
        return;
    m->spinning = 0;
    erg_awake_bit(m->table->header->spinning, m->number, 0);
}

/* We got a task after having stood ready, spinning or asleep. Producers may have counted on us for more than this one, so
 * once no bit of ours says so any more, see that what is left is somebody else's: whoever that is does the same. */
static int arrived(struct erg_member *m) {
    ERG_POINT("arrived");
    stop_spinning(m);
    for (uint32_t left = m->queues; left; left &= left - 1) {
        uint32_t q = (uint32_t)__builtin_ctz(left);
        struct erg_ring *ring = &m->table->header->ready[q];
        struct erg_ring_peek peek;
        if (erg_ring_peek(m->table, ring, &peek))
            erg_wake(m->table, q, 1 + erg_ring_len(ring));
    }
    return 1;
}

static int claim_spinning(struct erg_member *m, uint32_t *index, uint64_t until) {
    int look = 0;
    do {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            if (erg_claim_next(m, index))
                return 1;
            erg_cpu_relax();
        }
        if (++look >= LOOKS_ALONE)
            erg_cpu_yield(); /* who would give us work may be waiting for this very core */
    } while (!leaving(m) && !in_the_way(m) && erg_clock_ns() < until);
    return 0;
}

/* Says once of each stretch without work that it began: to those who feed maps. */
static void tell_feeders(struct erg_member *m, int *told) {
    if (!*told)
        erg_idle_ring(m->table);
    *told = 1;
}

/* One sleep. 1: a task; 0: look again; else a negative code. */
static int claim_sleeping(struct erg_member *m, uint32_t *index, int64_t left_ns, int *told) {
    struct erg_table_header *h = m->table->header;
    uint32_t seen = atomic_load_explicit(&m->slot->wake, memory_order_acquire);
    erg_awake_bit(h->sleeping, m->number, 1);
    stop_spinning(m);
    tell_feeders(m, told);
    ERG_POINT("sleep-announced");
    int got = erg_claim_next(m, index), code = 0;
    ERG_POINT("sleep-checked");
    if (!got && !leaving(m))
        code = erg_futex_wait(&m->slot->wake, seen, left_ns);
    erg_awake_bit(h->sleeping, m->number, 0);
    return got ? got : code;
}

int erg_claim_wait(struct erg_member *m, uint32_t *index, uint64_t spin_ns, int64_t timeout_ns) {
    if (asked_to_stop(m)) {
        erg_claim_drop(m);
        return 0;
    }
    if (erg_claim_next(m, index))
        return 1;
    if (atomic_load_explicit(&m->table->forked, memory_order_relaxed))
        return ERG_ECLOSED;
    m->last_ns = 0;
    uint64_t now = erg_clock_ns();
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : now + (uint64_t)timeout_ns;
    for (int code = 0, told = 0;; now = erg_clock_ns()) {
        if (spin_ns > 0 && may_spin(m)) {
            uint64_t until = now + spin_ns < deadline ? now + spin_ns : deadline;
            m->spinning = 1;
            erg_awake_bit(m->table->header->spinning, m->number, 1);
            tell_feeders(m, &told);
            if (claim_spinning(m, index, until))
                return arrived(m);
            now = erg_clock_ns();
        }
        if (leaving(m) || code < 0 || now >= deadline) {
            stop_spinning(m);
            if (!asked_to_stop(m) && erg_claim_next(m, index))
                return arrived(m);
            if (leaving(m)) {
                arrived(m); /* elsewhere, but the promise is the same */
                return 0;
            }
            return code < 0 ? code : ERG_ETIMEOUT;
        }
        int64_t left = timeout_ns < 0 ? -1 : (int64_t)(deadline - now);
        code = claim_sleeping(m, index, left, &told);
        if (code == 1 || (!asked_to_stop(m) && erg_claim_next(m, index)))
            return arrived(m);
    }
}

/* --- the end of a task ------------------------------------------------------------------------------------------ */

void erg_claim_finish(struct erg_member *m, uint32_t index, enum erg_outcome outcome) {
    struct erg_member_slot *slot = m->slot;
    struct erg_record *r = &m->table->records[index];
    uint64_t now = erg_clock_ns();
    uint64_t busy = atomic_load_explicit(&slot->busy_ns, memory_order_relaxed);
    uint64_t tasks = atomic_load_explicit(&slot->tasks, memory_order_relaxed);
    uint32_t depth = depth_of(m);
    r->end_ns = now;
    if (depth == 1)
        atomic_store_explicit(&slot->busy_ns, busy + (now - r->start_ns), memory_order_relaxed);
    atomic_store_explicit(&slot->tasks, tasks + 1, memory_order_relaxed);
    m->last_ns = now;
    ERG_POINT("finish");
    erg_release_done(m, index, outcome, !asked_to_stop(m));
    ERG_POINT("finished");
    atomic_store_explicit(&slot->depth, depth - 1, memory_order_release);
}

void erg_claim_return(struct erg_member *m, uint32_t index) {
    struct erg_record *r = &m->table->records[index];
    uint32_t queue = r->queue % ERG_QUEUES;
    erg_record_not_begun(r);
    uint64_t s = atomic_load_explicit(&r->state, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&r->state, &s,
                                                  GEN_HALF(s) | (s & RUN_KEEPS) | ERG_READY,
                                                  memory_order_acq_rel, memory_order_relaxed))
        ;
    ERG_POINT("returned");
    erg_release_hint(m, queue, ERG_HANDLE(index, ERG_STATE_GEN(s)));
    atomic_store_explicit(&m->slot->depth, depth_of(m) - 1, memory_order_release);
    erg_wake(m->table, queue, 1);
}
