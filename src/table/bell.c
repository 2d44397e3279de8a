#include "table/bell.h"
#include "table/inside.h"
#include <limits.h>

#define SOMEBODY_SLEEPS 1u

int erg_bell_take(struct erg_table *t, erg_handle *handle) {
    struct erg_ring *ring = &t->header->completed;
    struct erg_ring_peek peek;
    while (erg_ring_peek(t, ring, &peek)) {
        if (!erg_ring_take(t, &peek))
            continue;
        struct erg_record *r = &t->records[peek.index];
        uint64_t s = erg_record_state(r);
        /* The flag makes it come once, however many hints a crash left. */
        while (erg_ring_names(&peek, s) && erg_state_tells(s))
            if (atomic_compare_exchange_weak_explicit(&r->state, &s,
                                                      s & ~(uint64_t)ERG_STATE_NOTIFY,
                                                      memory_order_acq_rel, memory_order_acquire)) {
                *handle = ERG_HANDLE(peek.index, ERG_STATE_GEN(s));
                return 1;
            }
    }
    return 0;
}

/* The handshake: a sleeper sets the bit, then looks at what it waits for; a ringer changes that, then looks at the
 * bit. All four are seq_cst, so one of them sees the other. */
uint32_t erg_bell_prepare(struct erg_table *t) {
    return atomic_fetch_or_explicit(&t->header->owner_bell, SOMEBODY_SLEEPS, memory_order_seq_cst) |
           SOMEBODY_SLEEPS;
}

int erg_bell_wait(struct erg_table *t, uint32_t seen, int64_t timeout_ns) {
    if (atomic_load_explicit(&t->forked, memory_order_relaxed))
        return ERG_ECLOSED;
    return erg_futex_wait(&t->header->owner_bell, seen, timeout_ns);
}

void erg_bell_ring(struct erg_table *t) {
    _Atomic uint32_t *bell = &t->header->owner_bell;
    uint32_t seen = atomic_load_explicit(bell, memory_order_seq_cst);
    while (seen & SOMEBODY_SLEEPS)
        if (atomic_compare_exchange_weak_explicit(bell, &seen, (seen + 2) & ~SOMEBODY_SLEEPS,
                                                  memory_order_seq_cst, memory_order_seq_cst)) {
            ERG_POINT("bell-promised");
            erg_futex_wake(bell, INT_MAX);
            return;
        }
}
