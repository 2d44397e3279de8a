#include "table/away.h"
#include "os/clock.h"
#include "table/bell.h"
#include "table/inside.h"
#include "table/payload.h"

#include <limits.h>

enum erg_outcome erg_record_result(const struct erg_table *t, const struct erg_record *r,
                                   const unsigned char **bytes, size_t *len) {
    enum erg_outcome outcome = erg_record_outcome(r);
    const struct erg_away *a = erg_record_away(t, r);
    if (!a) {
        *bytes = erg_record_bytes(t, r, &r->result);
        *len = (size_t)r->result.len;
        return outcome;
    }
    *bytes = (const unsigned char *)"";
    *len = 0;
    enum erg_away_phase phase = erg_away_phase(a);
    if (phase != ERG_AWAY_HERE && phase != ERG_AWAY_LOST)
        return ERG_OUT_NONE;
    if (a->offset) {
        *bytes = t->base + a->offset;
        *len = (size_t)a->len;
    }
    return phase == ERG_AWAY_HERE ? outcome : ERG_OUT_LOST;
}

int erg_record_here(const struct erg_table *t, erg_handle handle) {
    const struct erg_record *r = erg_table_record(t, ERG_HANDLE_INDEX(handle));
    uint64_t s = erg_record_state(r);
    if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle))
        return 1;
    if (ERG_STATE_PHASE(s) != ERG_DONE)
        return 0;
    const struct erg_away *a = erg_record_away(t, r);
    return !a || erg_away_phase(a) != ERG_AWAY_THERE;
}

/* Sets a flag while it is THERE; its state before, or after it was settled. */
static uint32_t flag(struct erg_away *a, uint32_t bits) {
    uint32_t s = atomic_load_explicit(&a->state, memory_order_acquire);
    while ((s & ERG_AWAY_PHASE) == ERG_AWAY_THERE && (s & bits) != bits &&
           !atomic_compare_exchange_weak_explicit(&a->state, &s, s | bits, memory_order_acq_rel,
                                                  memory_order_acquire))
        ;
    return s;
}

static void ask(struct erg_table *t, uint32_t before) {
    if ((before & ERG_AWAY_PHASE) != ERG_AWAY_THERE || (before & ERG_AWAY_WANTED))
        return;
    uint32_t place = atomic_load(&t->header->place);
    atomic_fetch_add(&t->header->wanted, 1);
    if (place)
        erg_member_wake(t, place);
}

void erg_away_want(struct erg_table *t, struct erg_away *a) {
    ask(t, flag(a, ERG_AWAY_WANTED));
}

int erg_away_wait(struct erg_table *t, erg_handle task, const struct erg_away *away,
                  int64_t timeout_ns) {
    struct erg_away *a = (struct erg_away *)away; /* for the types' sake: nothing is written */
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : erg_clock_ns() + (uint64_t)timeout_ns;
    for (;;) {
        uint32_t s = atomic_load_explicit(&a->state, memory_order_acquire);
        /* In this order: what is read from a block that was freed is not slept on. */
        if ((s & ERG_AWAY_PHASE) != ERG_AWAY_THERE || erg_record_here(t, task))
            return 0;
        if (atomic_load_explicit(&t->forked, memory_order_relaxed))
            return ERG_ECLOSED;
        uint64_t now = timeout_ns < 0 ? 0 : erg_clock_ns();
        if (now >= deadline)
            return ERG_ETIMEOUT;
        int code = erg_futex_wait(&a->state, s, timeout_ns < 0 ? -1 : (int64_t)(deadline - now));
        if (code < 0)
            return erg_record_here(t, task) ? 0 : code;
    }
}

/* Sets `bits` while it is THERE, unless `unless` is set. */
static int flag_unless(struct erg_away *a, uint32_t bits, uint32_t unless) {
    uint32_t s = atomic_load_explicit(&a->state, memory_order_acquire);
    do
        if ((s & ERG_AWAY_PHASE) != ERG_AWAY_THERE || (s & unless))
            return 0;
    while (!atomic_compare_exchange_weak_explicit(&a->state, &s, s | bits, memory_order_acq_rel,
                                                  memory_order_acquire));
    return 1;
}

int erg_away_leave(struct erg_away *a) {
    return flag_unless(a, ERG_AWAY_LEFT, ERG_AWAY_HELD) || erg_away_phase(a) != ERG_AWAY_THERE;
}

int erg_away_hold(struct erg_away *a) {
    return flag_unless(a, ERG_AWAY_HELD, ERG_AWAY_LEFT);
}

int erg_away_notify(struct erg_table *t, struct erg_away *a) {
    uint32_t before = flag(a, ERG_AWAY_WANTED | ERG_AWAY_NOTIFY);
    ask(t, before);
    return (before & ERG_AWAY_PHASE) != ERG_AWAY_THERE;
}

int erg_away_new(struct erg_member *m, uint32_t index, uint32_t place, uint64_t bytes,
                 uint64_t *offset) {
    struct erg_record *r = &m->table->records[index];
    if (erg_arena_alloc(m, sizeof(struct erg_away), offset, NULL) < 0)
        return ERG_ENOMEM;
    struct erg_away *a = erg_table_at(m->table, *offset);
    *a = (struct erg_away){
        .place = place, .task = erg_record_handle(m->table, index), .bytes = bytes};
    r->result.offset = *offset;
    r->result.start = ERG_RESULT_AWAY;
    r->result.len = 0;
    return 0;
}

int erg_away_settle(struct erg_member *m, uint64_t away, enum erg_away_phase phase, uint64_t offset,
                    uint64_t len) {
    struct erg_away *a = erg_table_at(m->table, away);
    erg_handle task = a->task;
    uint32_t s = atomic_load_explicit(&a->state, memory_order_acquire);
    if ((s & ERG_AWAY_PHASE) == ERG_AWAY_DROPPED)
        return 0;
    a->offset = offset;
    a->len = len;
    do {
        if ((s & ERG_AWAY_PHASE) == ERG_AWAY_DROPPED)
            return 0;
        /* release: the payload is visible to who sees HERE */
    } while (!atomic_compare_exchange_weak_explicit(&a->state, &s, s | phase, memory_order_acq_rel,
                                                    memory_order_acquire));
    erg_futex_wake(&a->state,
                   INT_MAX); /* an address, even if the block is somebody else's by now */
    if (s & ERG_AWAY_NOTIFY)
        erg_release_announce(m, task);
    return 1;
}

void erg_away_drop(struct erg_member *m, struct erg_away *a, uint64_t offset) {
    uint32_t s = atomic_load_explicit(&a->state, memory_order_acquire);
    while ((s & ERG_AWAY_PHASE) == ERG_AWAY_THERE)
        if (atomic_compare_exchange_weak_explicit(&a->state, &s, s | ERG_AWAY_DROPPED,
                                                  memory_order_acq_rel, memory_order_acquire))
            return; /* the place member frees it */
    if ((s & ERG_AWAY_PHASE) == ERG_AWAY_HERE)
        erg_payload_free_refs(m, erg_table_at(m->table, a->offset), a->len);
    if (a->offset)
        erg_arena_free(m, a->offset);
    erg_arena_free(m, offset);
}
