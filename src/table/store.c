/* Free records.
 *
 * A member keeps up to two magazines of them in its slot, where recovery finds them if it dies; whole magazines go to
 * and come from a global stack, so that most takes and frees touch nothing shared. A batch of the stack is named by its
 * first record, whose body lists the others; the stack's head carries a tag that counts up with every change, so
 * that a slow pop cannot succeed on a head that only looks the same. Records never used are handed out in numeric order.
 *
 * If a member dies inside the two stores that move a magazine to or from the stack, those up to 48 records are
 * not found again while the pool lives, and neither is one it was just about to put away for another; everything else
 * is (recover.c). */
#include "table/inside.h"
#include <string.h>

#define HEAD(index, tag) ((uint64_t)(tag) << 32 | (index))

static struct erg_batch *batch_at(struct erg_table *t, uint32_t index) {
    return (struct erg_batch *)((unsigned char *)&t->records[index] + ERG_CACHE_LINE);
}

static void batch_push(struct erg_table *t, const uint32_t *indexes, uint32_t n) {
    _Atomic uint64_t *head = &t->header->free_batches;
    struct erg_batch *batch = batch_at(t, indexes[0]);
    batch->count = n - 1;
    memcpy(batch->index, indexes + 1, (n - 1) * sizeof indexes[0]);
    for (uint32_t i = 0; i < n; i++)
        atomic_store_explicit(&t->records[indexes[i]].submitter, ERG_MEMBER_NOBODY,
                              memory_order_relaxed);
    uint64_t seen = atomic_load_explicit(head, memory_order_relaxed);
    do
        atomic_store_explicit(&t->records[indexes[0]].edges[0], (uint32_t)seen,
                              memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(head, &seen, HEAD(indexes[0], (seen >> 32) + 1),
                                                  memory_order_release, memory_order_relaxed));
}

static int batch_pop(struct erg_table *t, struct erg_magazine *magazine) {
    _Atomic uint64_t *head = &t->header->free_batches;
    uint64_t seen = atomic_load_explicit(head, memory_order_acquire);
    uint32_t index, below;
    do {
        index = (uint32_t)seen;
        if (index == ERG_NIL)
            return 0;
        /* may be rubbish if somebody popped and reused it meanwhile; then the tag has moved on and the swap fails */
        below = atomic_load_explicit(&t->records[index].edges[0], memory_order_relaxed);
    } while (!atomic_compare_exchange_weak_explicit(head, &seen, HEAD(below, (seen >> 32) + 1),
                                                    memory_order_acquire, memory_order_acquire));
    struct erg_batch *batch = batch_at(t, index);
    uint32_t n = batch->count;
    memcpy(magazine->index + 1, batch->index, n * sizeof magazine->index[0]);
    magazine->index[0] = index;
    atomic_store_explicit(&magazine->count, n + 1, memory_order_release);
    return 1;
}

static int take_unused(struct erg_table *t, struct erg_magazine *magazine) {
    struct erg_table_header *h = t->header;
    uint32_t first = atomic_load_explicit(&h->records_used, memory_order_relaxed), n;
    do {
        n = h->records_max - first < ERG_BATCH ? h->records_max - first : ERG_BATCH;
        if (n == 0)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&h->records_used, &first, first + n,
                                                    memory_order_relaxed, memory_order_relaxed));
    for (uint32_t i = 0; i < n; i++) /* taken from the end, so that they come in ascending order */
        magazine->index[i] = first + n - 1 - i;
    atomic_store_explicit(&magazine->count, n, memory_order_release);
    return 1;
}

/* As its submitter gets it; `gen` is in the high half. Nobody looks at a free record's fields, but recovery does at those of
 * an ENTERED one: so this comes first. */
static void init(struct erg_record *r, uint64_t gen) {
    atomic_store_explicit(&r->deps, gen | ERG_DEPS_GUARD, memory_order_relaxed);
    atomic_store_explicit(&r->succ, gen | ERG_EDGE_NIL, memory_order_relaxed);
    __atomic_store_n(&r->kind, (uint8_t)ERG_KIND_CALL, __ATOMIC_RELAXED);
    __atomic_store_n(&r->queue, (uint8_t)ERG_QUEUE_ANY, __ATOMIC_RELAXED);
    r->retries = 0;
    r->user8 = 0;
    r->user16 = 0;
    r->fn = 0;
    r->start_ns = 0;
    r->end_ns = 0;
    r->timeout_ns = 0;
    atomic_store_explicit(&r->range, 0, memory_order_relaxed);
    atomic_store_explicit(&r->ndone, 0, memory_order_relaxed);
    r->first = 0;
    memset(&r->args, 0, sizeof r->args);
    memset(&r->result, 0, sizeof r->result);
}

int erg_store_take(struct erg_member *m, uint32_t *index) {
    struct erg_magazine *magazine = &m->slot->magazines[m->magazine];
    uint32_t n = atomic_load_explicit(&magazine->count, memory_order_relaxed);
    if (n == 0) {
        m->magazine ^= 1;
        magazine = &m->slot->magazines[m->magazine];
        n = atomic_load_explicit(&magazine->count, memory_order_relaxed);
        if (n == 0 && !batch_pop(m->table, magazine) && !take_unused(m->table, magazine))
            return ERG_EFULL;
        n = atomic_load_explicit(&magazine->count, memory_order_relaxed);
    }
    if (n > 2)
        __builtin_prefetch(&m->table->records[magazine->index[n - 3]], 1);
    *index = magazine->index[n - 1];
    struct erg_record *r = &m->table->records[*index];
    uint64_t gen = ERG_STATE_GEN(atomic_load_explicit(&r->state, memory_order_relaxed));
    if (gen == 0) /* never used before; 0 stays out of handles so that none of them is 0 */
        gen = 1;
    init(r, gen << 32);
    ERG_POINT("store-init");
    atomic_store_explicit(&r->submitter, (uint16_t)m->number, memory_order_relaxed);
    atomic_store_explicit(&r->state, gen << 32 | ERG_ENTERED, memory_order_release);
    ERG_POINT("store-entered");
    /* only now: until then recovery finds it here, from then on by its submitter */
    atomic_store_explicit(&magazine->count, n - 1, memory_order_release);
    return 0;
}

void erg_store_give(struct erg_member *m, uint32_t index) {
    struct erg_magazine *magazine = &m->slot->magazines[m->magazine];
    uint32_t n = atomic_load_explicit(&magazine->count, memory_order_relaxed);
    if (n == ERG_BATCH) {
        m->magazine ^= 1;
        magazine = &m->slot->magazines[m->magazine];
        n = atomic_load_explicit(&magazine->count, memory_order_relaxed);
        if (n == ERG_BATCH) {
            atomic_store_explicit(&magazine->count, 0, memory_order_release);
            ERG_POINT("store-batch");
            batch_push(m->table, magazine->index, n);
            n = 0;
        }
    }
    magazine->index[n] = index;
    atomic_store_explicit(&magazine->count, n + 1, memory_order_release);
}

int erg_store_recycle(struct erg_member *m, uint32_t index, uint64_t seen) {
    struct erg_record *r = &m->table->records[index];
    uint32_t gen = ERG_STATE_GEN(seen) + 1;
    if (gen == 0)
        gen = 1;
    /* It says who puts it away: its submitter may have died, and recovery must not take it from under us.
     * release: what we did to the record comes before its next life */
    if (!atomic_compare_exchange_strong_explicit(
            &r->state, &seen, (uint64_t)gen << 32 | (uint64_t)m->number << 16 | ERG_FREE,
            memory_order_acq_rel, memory_order_relaxed))
        return 0;
    ERG_POINT("store-free");
    erg_lock(&m->lock);
    atomic_store_explicit(&r->submitter, (uint16_t)m->number, memory_order_relaxed);
    erg_store_give(m, index);
    erg_unlock(&m->lock);
    return 1;
}

void erg_store_flush(struct erg_member *m) {
    erg_lock(&m->lock);
    for (int i = 0; i < 2; i++) {
        struct erg_magazine *magazine = &m->slot->magazines[i];
        uint32_t n = atomic_load_explicit(&magazine->count, memory_order_relaxed);
        atomic_store_explicit(&magazine->count, 0, memory_order_release);
        if (n > 0)
            batch_push(m->table, magazine->index, n);
    }
    erg_unlock(&m->lock);
}
