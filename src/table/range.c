#include "table/range.h"

#define RANGE(next, end) ((uint64_t)(end) << 32 | (next))

uint32_t erg_range_take_many(struct erg_record *r, uint32_t most, uint32_t *from) {
    /* relaxed throughout: the items themselves were published with the record, and both sides only divide numbers */
    uint64_t seen = atomic_load_explicit(&r->range, memory_order_relaxed);
    for (;;) {
        uint32_t next = (uint32_t)seen, end = (uint32_t)(seen >> 32);
        if (next >= end || most == 0)
            return 0;
        uint32_t n = end - next < most ? end - next : most;
        if (atomic_compare_exchange_weak_explicit(&r->range, &seen, RANGE(next + n, end),
                                                  memory_order_relaxed, memory_order_relaxed)) {
            *from = next;
            return n;
        }
    }
}

int erg_range_take(struct erg_record *r, uint32_t *item) {
    return (int)erg_range_take_many(r, 1, item);
}

uint32_t erg_range_cut(struct erg_record *r, unsigned keep_percent, uint32_t *from, uint32_t *to) {
    uint64_t seen = atomic_load_explicit(&r->range, memory_order_relaxed);
    for (;;) {
        uint32_t next = (uint32_t)seen, end = (uint32_t)(seen >> 32);
        if (next >= end || keep_percent >= 100)
            return 0;
        uint32_t left = end - next;
        uint32_t keep = (uint32_t)(((uint64_t)left * keep_percent + 99) / 100);
        if (keep == left)
            return 0;
        if (atomic_compare_exchange_weak_explicit(&r->range, &seen, RANGE(next, next + keep),
                                                  memory_order_relaxed, memory_order_relaxed)) {
            *from = next + keep;
            *to = end;
            return left - keep;
        }
    }
}
