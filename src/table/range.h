/* table/range: the items of a CHUNK record: its runner takes them from the front one by one, its submitter may cut
 * off the back for somebody else. Both may do so at any time; an item goes to exactly one of them. */
#ifndef ERG_TABLE_RANGE_H
#define ERG_TABLE_RANGE_H

#include "table/layout.h"

/* Before submitting: items [from, to). */
static inline void erg_range_set(struct erg_record *r, uint32_t from, uint32_t to) {
    r->first = from;
    atomic_store_explicit(&r->ndone, 0, memory_order_relaxed);
    atomic_store_explicit(&r->range, (uint64_t)to << 32 | from, memory_order_relaxed);
}
/* Items not begun. */
static inline uint32_t erg_range_left(const struct erg_record *r) {
    uint64_t v = atomic_load_explicit(&((struct erg_record *)r)->range, memory_order_relaxed);
    uint32_t next = (uint32_t)v, end = (uint32_t)(v >> 32);
    return end > next ? end - next : 0;
}
/* Where it ends now: the first item that is not its own. */
static inline uint32_t erg_range_end(const struct erg_record *r) {
    return (
        uint32_t)(atomic_load_explicit(&((struct erg_record *)r)->range, memory_order_relaxed) >>
                  32);
}
/* The runner's next item: 1, or 0 when none is left. */
int erg_range_take(struct erg_record *r, uint32_t *item);
/* The runner takes up to `most` items at once: [*from, *from + n); returns n. */
uint32_t erg_range_take_many(struct erg_record *r, uint32_t most, uint32_t *from);
/* Cuts the back off what is not begun; the runner keeps keep_percent of it, rounded up. Returns how many items
 * [*from, *to) are the caller's now; 0: nothing to cut. */
uint32_t erg_range_cut(struct erg_record *r, unsigned keep_percent, uint32_t *from, uint32_t *to);

#endif
