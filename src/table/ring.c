#include "table/ring.h"

#define LAP_MASK 0x7fffffffu
#define CELL_EMPTY(lap) ((uint64_t)(lap) << 1)
#define CELL_FULL(lap, index) ((uint64_t)(index) << 32 | (uint64_t)(lap) << 1 | 1)

static _Atomic uint64_t *cell_at(struct erg_table *t, struct erg_ring *ring, uint64_t position) {
    _Atomic uint64_t *cells = erg_table_at(t, ring->cells_offset);
    return &cells[position & ring->mask];
}

static uint32_t lap_of(const struct erg_ring *ring, uint64_t position) {
    return (uint32_t)(position >> ring->shift) & LAP_MASK;
}

/* Pushes a hint from `from` to at least `to`; release, so that who sees the position sees the cell filled or emptied
 * before it. */
static void advance(_Atomic uint64_t *hint, uint64_t from, uint64_t to) {
    uint64_t seen = from;
    while (seen < to && !atomic_compare_exchange_weak_explicit(
                            hint, &seen, to, memory_order_release, memory_order_relaxed))
        ;
}

/* Fills the cell at `position` if it is empty in that lap. 1: filled; 0: it was filled before, in this lap, so
 * the tail is behind; -1: it still holds an entry of the lap before. */
static int fill(struct erg_table *t, struct erg_ring *ring, uint64_t position, uint32_t index) {
    _Atomic uint64_t *cell = cell_at(t, ring, position);
    uint32_t lap = lap_of(ring, position);
    uint64_t seen = CELL_EMPTY(lap);
    /* seq_cst: the producer's half of the handshake with a consumer going to sleep (wake.c). Its release part publishes
     * the record that `index` names. */
    if (atomic_compare_exchange_strong_explicit(cell, &seen, CELL_FULL(lap, index),
                                                memory_order_seq_cst, memory_order_acquire))
        return 1;
    uint32_t before = (lap - 1) & LAP_MASK;
    return (uint32_t)seen == ((uint32_t)CELL_EMPTY(before) | 1u) ? -1 : 0;
}

size_t erg_ring_push_many(struct erg_table *t, struct erg_ring *ring, const uint32_t *indexes,
                          size_t n) {
    size_t done = 0;
    while (done < n) {
        uint64_t start = atomic_load_explicit(&ring->tail, memory_order_acquire);
        uint64_t position = start;
        int filled = 1;
        while (done < n && (filled = fill(t, ring, position, indexes[done])) == 1) {
            done++;
            position++;
        }
        if (filled == 0)
            position++;
        if (position != start)
            advance(&ring->tail, start, position);
        else if (atomic_load_explicit(&ring->tail, memory_order_acquire) == start)
            break; /* full: the cell under an unmoved tail is a lap behind */
    }
    return done;
}

int erg_ring_push(struct erg_table *t, struct erg_ring *ring, uint32_t index) {
    return (int)erg_ring_push_many(t, ring, &index, 1);
}

int erg_ring_peek(struct erg_table *t, struct erg_ring *ring, struct erg_ring_peek *peek) {
    for (;;) {
        uint64_t position = atomic_load_explicit(&ring->head, memory_order_acquire);
        uint32_t lap = lap_of(ring, position);
        /* seq_cst: the consumer's half of the handshake in wake.c; acquire pairs with fill. */
        uint64_t cell = atomic_load_explicit(cell_at(t, ring, position), memory_order_seq_cst);
        if ((uint32_t)cell == ((uint32_t)CELL_EMPTY(lap) | 1u)) {
            peek->position = position;
            peek->cell = cell;
            peek->index = (uint32_t)(cell >> 32);
            return 1;
        }
        if (cell == CELL_EMPTY(lap)) {
            if (atomic_load_explicit(&ring->head, memory_order_acquire) == position)
                return 0;
        } else {
            advance(&ring->head, position, position + 1); /* taken already: the head is behind */
        }
    }
}

int erg_ring_take(struct erg_table *t, struct erg_ring *ring, const struct erg_ring_peek *peek) {
    uint32_t after = (lap_of(ring, peek->position) + 1) & LAP_MASK;
    uint64_t seen = peek->cell;
    int won = atomic_compare_exchange_strong_explicit(cell_at(t, ring, peek->position), &seen,
                                                      CELL_EMPTY(after), memory_order_acq_rel,
                                                      memory_order_relaxed);
    if (won)
        advance(&ring->head, peek->position, peek->position + 1);
    return won;
}
