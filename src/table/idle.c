/* The handshake is the one of wake.c: the feeder enters its word, then counts who idles; the member sets its spinning
 * or sleeping bit, then looks at the words; all of it seq_cst, so one of them sees the other. That the flag changes is what makes
 * a feeder that was between its look and its sleep not fall asleep. */
#include "table/idle.h"
#include "os/clock.h"
#include "table/inside.h"
#include <limits.h>

int erg_idles(struct erg_table *t, uint32_t queues, uint32_t known) {
    struct erg_member_counts counts;
    erg_member_count(t, queues, &counts);
    return counts.sleeping + counts.spinning > known;
}

static _Atomic uint64_t *word_take(struct erg_table *t, erg_handle handle) {
    for (int i = 0; i < ERG_FEEDERS; i++) {
        uint64_t none = ERG_HANDLE_NONE;
        if (atomic_compare_exchange_strong_explicit(&t->header->feeders[i], &none, handle,
                                                    memory_order_seq_cst, memory_order_relaxed))
            return &t->header->feeders[i];
    }
    return NULL;
}

/* Unless somebody took it out already; then it may be another feeder's by now. */
static void word_give(_Atomic uint64_t *word, erg_handle handle) {
    if (word)
        atomic_compare_exchange_strong_explicit(word, &handle, ERG_HANDLE_NONE,
                                                memory_order_relaxed, memory_order_relaxed);
}

void erg_idle_ring(struct erg_table *t) {
    for (int i = 0; i < ERG_FEEDERS; i++) {
        _Atomic uint64_t *word = &t->header->feeders[i];
        if (atomic_load_explicit(word, memory_order_seq_cst) == ERG_HANDLE_NONE)
            continue;
        erg_handle handle = atomic_exchange_explicit(word, ERG_HANDLE_NONE, memory_order_seq_cst);
        if (handle == ERG_HANDLE_NONE)
            continue;
        struct erg_record *r = &t->records[ERG_HANDLE_INDEX(handle)];
        uint64_t s = erg_record_state(r);
        while (ERG_STATE_GEN(s) == ERG_HANDLE_GEN(handle) && (s & ERG_STATE_WAITER))
            if (atomic_compare_exchange_weak_explicit(&r->state, &s,
                                                      s & ~(uint64_t)ERG_STATE_WAITER,
                                                      memory_order_acq_rel, memory_order_acquire)) {
                erg_futex_wake(erg_record_futex(r), INT_MAX);
                break;
            }
    }
}

/* One sleep. 1: somebody idles; else as erg_record_sleep. */
static int sleep_once(struct erg_member *m, erg_handle handle, uint32_t queues, uint32_t known,
                      int64_t left_ns) {
    uint64_t seen;
    if (erg_record_mark(m, handle, &seen))
        return 0;
    _Atomic uint64_t *word = word_take(m->table, handle);
    ERG_POINT("feeder-announced");
    int code = erg_idles(m->table, queues, known) ? 1 : erg_record_sleep(m, handle, seen, left_ns);
    word_give(word, handle);
    return code;
}

int erg_idle_wait(struct erg_member *m, erg_handle handle, uint32_t queues, uint32_t known,
                  int64_t timeout_ns) {
    struct erg_table *t = m->table;
    if (atomic_load_explicit(&t->forked, memory_order_relaxed))
        return ERG_ECLOSED;
    uint64_t now = erg_clock_ns();
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : now + (uint64_t)timeout_ns;
    erg_record_spin(m, handle, now, deadline, queues, known);
    for (;;) {
        if (erg_record_done(t, handle))
            return 0;
        if (erg_record_overdue(t, handle))
            return ERG_ETIMEOUT;
        if (erg_idles(t, queues, known))
            return 1;
        now = erg_clock_ns();
        if (now >= deadline)
            return ERG_ETIMEOUT;
        int code =
            sleep_once(m, handle, queues, known, timeout_ns < 0 ? -1 : (int64_t)(deadline - now));
        if (code != 0)
            return erg_record_done(t, handle) ? 0 : code;
    }
}
