#include "table/lease.h"
#include "os/clock.h"
#include "table/inside.h"

#define RUN_KEEPS                                                                                  \
    (ERG_STATE_WAITER | ERG_STATE_NOTIFY | ERG_STATE_CANCEL | ERG_STATE_SUCC | ERG_STATE_ORPHAN)
#define GEN_HALF(word) ((word) & ~(uint64_t)UINT32_MAX)

/* READY -> RUNNING by m. */
static int win(struct erg_member *m, uint32_t index, uint32_t queue, uint64_t s) {
    struct erg_record *r = &m->table->records[index];
    do {
        if (ERG_STATE_PHASE(s) != ERG_READY)
            return 0;
        /* acquire: all its submitter and its predecessors wrote */
    } while (!atomic_compare_exchange_weak_explicit(
        &r->state, &s, GEN_HALF(s) | (uint64_t)m->number << 16 | (s & RUN_KEEPS) | ERG_RUNNING,
        memory_order_acq_rel, memory_order_acquire));
    if (r->queue % ERG_QUEUES != queue) { /* an old hint led to a later task, of another queue */
        erg_lease_return(m, index);
        return 0;
    }
    return 1;
}

/* No item is left to be cut off: range's low half, the next item, becomes its end. */
static void begin_all(struct erg_record *r) {
    uint64_t seen = atomic_load_explicit(&r->range, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&r->range, &seen, (seen >> 32) * 0x100000001ull,
                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

size_t erg_lease_take(struct erg_member *m, uint32_t queue, uint32_t *indexes, size_t most,
                      int *left) {
    struct erg_table *t = m->table;
    struct erg_ring *ring = &t->header->ready[queue];
    struct erg_ring_peek peek;
    size_t n = 0;
    uint64_t now = 0;
    while ((*left = erg_ring_peek(t, ring, &peek)) && n < most) {
        uint64_t s = erg_record_state(&t->records[peek.index]);
        if (!erg_ring_take(t, &peek))
            continue;
        if (!erg_ring_names(&peek, s) || !win(m, peek.index, queue, s))
            continue;
        struct erg_record *r = &t->records[peek.index];
        __atomic_store_n(&r->start_ns, now ? now : (now = erg_clock_ns()), __ATOMIC_RELEASE);
        if (r->kind == ERG_KIND_CHUNK)
            begin_all(r);
        indexes[n++] = peek.index;
    }
    return n;
}

int erg_lease_doze(struct erg_member *m, uint32_t queues) {
    struct erg_table_header *h = m->table->header;
    atomic_store_explicit(&m->slot->queues, queues, memory_order_relaxed);
    erg_awake_bit(h->sleeping, m->number, queues != 0);
    for (uint32_t q = 0; q < ERG_QUEUES; q++) {
        struct erg_ring_peek peek;
        if ((queues & ERG_QUEUE_BIT(q)) && erg_ring_peek(m->table, &h->ready[q], &peek)) {
            erg_awake_bit(h->sleeping, m->number, 0);
            return 0;
        }
    }
    return 1;
}

static void finish(struct erg_member *m, uint32_t index, enum erg_outcome outcome, uint64_t run_ns,
                   int keep) {
    struct erg_member_slot *slot = m->slot;
    m->table->records[index].end_ns = erg_clock_ns();
    atomic_fetch_add_explicit(&slot->tasks, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->busy_ns, run_ns, memory_order_relaxed);
    erg_release_done(m, index, outcome, keep);
}

void erg_lease_finish(struct erg_member *m, uint32_t index, enum erg_outcome outcome,
                      uint64_t run_ns) {
    finish(m, index, outcome, run_ns, 0);
}

uint32_t erg_lease_finish_away(struct erg_member *m, uint32_t index, uint64_t run_ns,
                               uint32_t queues) {
    m->queues = queues;
    finish(m, index, ERG_OUT_OK, run_ns, 1);
    m->queues = 0;
    erg_handle next = atomic_load_explicit(&m->slot->next, memory_order_relaxed);
    if (next == ERG_HANDLE_NONE)
        return ERG_NIL;
    atomic_store_explicit(&m->slot->next, ERG_HANDLE_NONE, memory_order_relaxed);
    uint32_t kept = ERG_HANDLE_INDEX(next);
    struct erg_record *r = &m->table->records[kept];
    uint64_t s = erg_record_state(r);
    if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(next) || !win(m, kept, r->queue % ERG_QUEUES, s))
        return ERG_NIL; /* cancelled meanwhile */
    r->start_ns = erg_clock_ns();
    if (r->kind == ERG_KIND_CHUNK)
        begin_all(r);
    return kept;
}

void erg_lease_return(struct erg_member *m, uint32_t index) {
    struct erg_record *r = &m->table->records[index];
    uint32_t queue = r->queue % ERG_QUEUES;
    if (r->kind == ERG_KIND_CHUNK) {
        uint64_t range = atomic_load_explicit(&r->range, memory_order_relaxed);
        while (!atomic_compare_exchange_weak_explicit(&r->range, &range, GEN_HALF(range) | r->first,
                                                      memory_order_relaxed, memory_order_relaxed))
            ; /* the owner may cut it at this very moment */
    }
    erg_record_not_begun(r);
    uint64_t s = atomic_load_explicit(&r->state, memory_order_relaxed);
    do {
        if (s & ERG_STATE_CANCEL) {
            erg_lease_finish(m, index, ERG_OUT_CANCELLED, 0);
            return;
        }
    } while (!atomic_compare_exchange_weak_explicit(&r->state, &s,
                                                    GEN_HALF(s) | (s & RUN_KEEPS) | ERG_READY,
                                                    memory_order_acq_rel, memory_order_relaxed));
    erg_release_hint(m, queue, ERG_HANDLE(index, ERG_STATE_GEN(s)));
    erg_wake(m->table, queue, 1);
}
