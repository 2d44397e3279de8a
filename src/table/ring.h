/* table/ring: a bounded queue of handles, many producers, many consumers, any of which may die at any instruction.
 *
 * A cell is one 64-bit word: lap (16 bits) | generation (its low 20 bits) | record index (27) | full (1). Position p belongs to
 * cell p & mask in lap p >> shift. Filling swaps (lap, empty) for (lap, full); emptying swaps (lap, full) for (lap + 1,
 * empty). That one swap is the whole operation: head and tail only say where to look, and whoever finds one behind
 * pushes it on. So nobody waits for anybody, and a process that dies leaves at worst a head or tail one behind.
 *
 * That is a lane. A ring has two: the long one takes what the short one has no room for, and then everything until it is
 * empty again, so that the order stays (but for entries made while it empties).
 *
 * What is in a ring is a hint: a consumer must still win the record itself, and drops hints whose record has gone
 * on. */
#ifndef ERG_TABLE_RING_H
#define ERG_TABLE_RING_H

#include "table/table.h"

/* 1: entered; 0: the ring is full. */
int erg_ring_push(struct erg_table *t, struct erg_ring *ring, erg_handle handle);
/* Enters up to n; returns how many. Other producers may come in between. */
size_t erg_ring_push_many(struct erg_table *t, struct erg_ring *ring, const erg_handle *handles,
                          size_t n);

/* Looking and taking are two steps so that a consumer can note what it is about to take. */
struct erg_ring_peek {
    struct erg_ring_lane *lane;
    uint64_t position, cell;
    uint32_t index;
    uint32_t gen; /* as far as the cell holds it */
};
#define ERG_RING_GEN(gen) ((gen)&0xfffffu)
/* 1: the oldest entry; 0: the ring is empty. */
int erg_ring_peek(struct erg_table *t, struct erg_ring *ring, struct erg_ring_peek *peek);
/* Does the entry speak of the life of its record that `state` shows? */
static inline int erg_ring_names(const struct erg_ring_peek *peek, uint64_t state) {
    return ERG_RING_GEN(ERG_STATE_GEN(state)) == peek->gen;
}
/* 1: it is the caller's; 0: somebody else took it. */
int erg_ring_take(struct erg_table *t, const struct erg_ring_peek *peek);

static inline uint64_t erg_lane_len(const struct erg_ring_lane *lane) {
    uint64_t head =
        atomic_load_explicit(&((struct erg_ring_lane *)lane)->head, memory_order_relaxed);
    uint64_t tail =
        atomic_load_explicit(&((struct erg_ring_lane *)lane)->tail, memory_order_relaxed);
    return tail > head ? tail - head : 0;
}
/* How many entries there are, more or less. */
static inline uint64_t erg_ring_len(const struct erg_ring *ring) {
    uint64_t n = erg_lane_len(&ring->lane[0]);
    return ring->lanes > 1 ? n + erg_lane_len(&ring->lane[1]) : n;
}

#endif
