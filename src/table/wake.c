/* Who is awake, and whom to wake.
 *
 * Waking a sleeper costs the waker a system call and the sleeper tens of microseconds, so nobody is woken while a
 * member spins who would take the task. Two handshakes keep every task from being overlooked; each is a pair of
 * seq_cst operations on both sides, so that at least one side sees the other:
 *
 *     producer                          consumer
 *     enter the hint (ring cell)        set sleeping bit / clear spinning bit
 *     look at spinning and sleeping     look at the ring cells
 *
 * A consumer that stops spinning because it got a task looks at the rings once more after clearing its bit and
 * wakes another where something is left (claim.c). Who clears a sleeping bit has promised to wake that member;
 * if it dies in between, recovery wakes everybody. */
#include "table/inside.h"
#include <limits.h>

#define ASLEEP 0x80000000u

static uint32_t words_used(struct erg_table *t) {
    uint32_t top = atomic_load_explicit(&t->header->members_top, memory_order_relaxed);
    return (top + 63) / 64;
}

static int serves(struct erg_table *t, uint32_t number, uint32_t queues) {
    return (atomic_load_explicit(&t->members[number].queues, memory_order_relaxed) & queues) != 0;
}

int erg_awake_bit(_Atomic uint64_t *bits, uint32_t number, int on) {
    uint64_t bit = (uint64_t)1 << (number % 64);
    uint64_t old = on ? atomic_fetch_or_explicit(&bits[number / 64], bit, memory_order_seq_cst)
                      : atomic_fetch_and_explicit(&bits[number / 64], ~bit, memory_order_seq_cst);
    return (old & bit) != 0;
}

void erg_wake_one(struct erg_table *t, uint32_t number) {
    struct erg_member_slot *slot = &t->members[number];
    atomic_fetch_add_explicit(&slot->wake, 1, memory_order_release);
    erg_futex_wake(&slot->wake, INT_MAX);
}

static uint32_t count_bits(struct erg_table *t, _Atomic uint64_t *bits, uint32_t queues) {
    uint32_t n = 0;
    for (uint32_t w = 0; w < words_used(t); w++) {
        uint64_t word = atomic_load_explicit(&bits[w], memory_order_seq_cst);
        for (; word; word &= word - 1)
            n += (uint32_t)serves(t, w * 64 + (uint32_t)__builtin_ctzll(word), queues);
    }
    return n;
}

void erg_wake(struct erg_table *t, uint32_t queue, size_t n) {
    struct erg_table_header *h = t->header;
    uint32_t spinning = count_bits(t, h->spinning, ERG_QUEUE_BIT(queue));
    if (spinning >= n)
        return;
    n -= spinning;
    uint32_t place = atomic_load_explicit(&h->place, memory_order_relaxed);
    for (uint32_t w = 0; w < words_used(t) && n > 0; w++) {
        uint64_t word = atomic_load_explicit(&h->sleeping[w], memory_order_seq_cst);
        for (; word && n > 0; word &= word - 1) {
            uint32_t number = w * 64 + (uint32_t)__builtin_ctzll(word);
            if (number == place || !serves(t, number, ERG_QUEUE_BIT(queue)) ||
                !erg_awake_bit(h->sleeping, number, 0))
                continue;
            ERG_POINT("wake-promised");
            erg_wake_one(t, number);
            n--;
        }
    }
    /* What is left goes to other hosts. */
    if (n > 0 && place && serves(t, place, ERG_QUEUE_BIT(queue)) &&
        erg_awake_bit(h->sleeping, place, 0))
        erg_wake_one(t, place);
}

uint32_t erg_awake_running(struct erg_table *t) {
    struct erg_table_header *h = t->header;
    uint32_t up = atomic_load_explicit(&h->members_up, memory_order_relaxed), idle = 0;
    uint32_t place = atomic_load_explicit(&h->place, memory_order_relaxed);
    for (uint32_t w = 0; w < words_used(t); w++)
        idle += (uint32_t)__builtin_popcountll(
            atomic_load_explicit(&h->sleeping[w], memory_order_relaxed) |
            atomic_load_explicit(&h->spinning[w], memory_order_relaxed));
    if (place &&
        (atomic_load_explicit(&h->sleeping[place / 64], memory_order_relaxed) >> (place % 64) & 1))
        idle--; /* it runs nothing here: nor is it counted among those that are up */
    return up > idle ? up - idle : 0;
}

/* --- sharing a processor ------------------------------------------------------------------------------------
 * When other programs keep the remaining processors busy, the system puts a worker it wakes beside the caller that
 * woke it. Whoever spins there keeps the other from running until its time slice ends, so each looks where
 * the other was last seen, and sleeps at once if that is here. Nothing depends on these notes being right. */

void erg_cpu_note(struct erg_member *m) {
    uint32_t here = erg_cpu_here();
    if (atomic_load_explicit(&m->slot->cpu, memory_order_relaxed) != here)
        atomic_store_explicit(&m->slot->cpu, here, memory_order_relaxed);
}

void erg_cpu_note_asleep(struct erg_member *m) {
    atomic_store_explicit(&m->slot->cpu, erg_cpu_here() | ASLEEP, memory_order_relaxed);
}

/* It will come to where it fell asleep, and has to wait there until we leave. */
void erg_cpu_note_woken(struct erg_member *m) {
    uint32_t word = erg_cpu_here() | ASLEEP;
    atomic_compare_exchange_strong_explicit(&m->table->members[0].cpu, &word, word & ~ASLEEP,
                                            memory_order_relaxed, memory_order_relaxed);
}

int erg_cpu_shared(struct erg_table *t, uint32_t number) {
    uint32_t here = erg_cpu_here();
    return here != 0 && atomic_load_explicit(&t->members[number].cpu, memory_order_relaxed) == here;
}

int erg_cpu_shared_with_taker(struct erg_table *t) {
    uint32_t top = atomic_load_explicit(&t->header->members_top, memory_order_relaxed);
    uint64_t asleep = atomic_load_explicit(&t->header->sleeping[0], memory_order_relaxed);
    for (uint32_t i = 1; i < top && i < 64; i++)
        if (!(asleep >> i & 1) && erg_cpu_shared(t, i))
            return 1;
    return 0;
}

void erg_member_count(struct erg_table *t, uint32_t queues, struct erg_member_counts *out) {
    out->up = 0;
    uint32_t top = atomic_load_explicit(&t->header->members_top, memory_order_relaxed);
    for (uint32_t i = 0; i < top; i++)
        if (atomic_load_explicit(&t->members[i].phase, memory_order_relaxed) == ERG_M_UP)
            out->up += (uint32_t)serves(t, i, queues);
    out->sleeping = count_bits(t, t->header->sleeping, queues);
    out->spinning = count_bits(t, t->header->spinning, queues);
}

void erg_member_wake(struct erg_table *t, uint32_t number) {
    erg_awake_bit(t->header->sleeping, number, 0);
    erg_wake_one(t, number);
}

void erg_member_wake_all(struct erg_table *t) {
    uint32_t top = atomic_load_explicit(&t->header->members_top, memory_order_relaxed);
    for (uint32_t i = 0; i < top; i++)
        erg_member_wake(t, i);
}

void erg_member_stop(struct erg_table *t, uint32_t number) {
    atomic_store_explicit(&t->members[number].stop, ERG_STOP_ASKED, memory_order_seq_cst);
    erg_member_wake(t, number);
}

void erg_lock_slow(_Atomic uint32_t *lock) {
    for (int i = 0; i < 100; i++) {
        uint32_t seen = 0;
        if (atomic_compare_exchange_weak_explicit(lock, &seen, 1, memory_order_acquire,
                                                  memory_order_relaxed))
            return;
        erg_cpu_relax();
    }
    while (atomic_exchange_explicit(lock, 2, memory_order_acquire) != 0)
        erg_futex_wait(lock, 2, -1);
}

#ifdef ERG_TESTING
void (*erg_point_hook)(const char *name);
#endif
