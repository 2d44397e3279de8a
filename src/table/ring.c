#include "table/ring.h"
#include "table/point.h"

#define LAP_SHIFT 48
#define LAP_MASK 0xffffu
#define INDEX_MASK 0x7ffffffu
#define FULL 1u
#define CELL_EMPTY(lap) ((uint64_t)(lap) << LAP_SHIFT)
#define CELL_LAP(cell) ((uint32_t)((cell) >> LAP_SHIFT))

static uint64_t cell_full(uint32_t lap, erg_handle handle) {
    return CELL_EMPTY(lap) | (uint64_t)ERG_RING_GEN(ERG_HANDLE_GEN(handle)) << 28 |
           (uint64_t)ERG_HANDLE_INDEX(handle) << 1 | FULL;
}

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
static int fill(struct erg_table *t, struct erg_ring *ring, uint64_t position, erg_handle handle) {
    _Atomic uint64_t *cell = cell_at(t, ring, position);
    uint32_t lap = lap_of(ring, position);
    uint64_t seen = CELL_EMPTY(lap);
    /* seq_cst: the producer's half of the handshake with a consumer going to sleep (wake.c). Its release part publishes
     * the record that the handle names. */
    if (atomic_compare_exchange_strong_explicit(cell, &seen, cell_full(lap, handle),
                                                memory_order_seq_cst, memory_order_acquire))
        return 1;
    return (seen & FULL) && CELL_LAP(seen) == ((lap - 1) & LAP_MASK) ? -1 : 0;
}

size_t erg_ring_push_many(struct erg_table *t, struct erg_ring *ring, const erg_handle *handles,
                          size_t n) {
    size_t done = 0;
    while (done < n) {
        uint64_t start = atomic_load_explicit(&ring->tail, memory_order_acquire);
        uint64_t position = start;
        int filled = 1;
        while (done < n && (filled = fill(t, ring, position, handles[done])) == 1) {
            done++;
            position++;
        }
        ERG_POINT("ring-filled");
        if (filled == 0)
            position++;
        if (position != start)
            advance(&ring->tail, start, position);
        else if (atomic_load_explicit(&ring->tail, memory_order_acquire) == start)
            break; /* full: the cell under an unmoved tail is a lap behind */
    }
    return done;
}

int erg_ring_push(struct erg_table *t, struct erg_ring *ring, erg_handle handle) {
    return (int)erg_ring_push_many(t, ring, &handle, 1);
}

int erg_ring_peek(struct erg_table *t, struct erg_ring *ring, struct erg_ring_peek *peek) {
    for (;;) {
        uint64_t position = atomic_load_explicit(&ring->head, memory_order_acquire);
        uint32_t lap = lap_of(ring, position);
        /* seq_cst: the consumer's half of the handshake in wake.c; acquire pairs with fill. */
        uint64_t cell = atomic_load_explicit(cell_at(t, ring, position), memory_order_seq_cst);
        if ((cell & FULL) && CELL_LAP(cell) == lap) {
            peek->position = position;
            peek->cell = cell;
            peek->index = (uint32_t)(cell >> 1) & INDEX_MASK;
            peek->gen = ERG_RING_GEN((uint32_t)(cell >> 28));
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
    ERG_POINT("ring-taken");
    if (won)
        advance(&ring->head, peek->position, peek->position + 1);
    return won;
}
