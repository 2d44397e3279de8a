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

static _Atomic uint64_t *cell_at(struct erg_table *t, struct erg_ring_lane *lane,
                                 uint64_t position) {
    _Atomic uint64_t *cells = erg_table_at(t, lane->cells_offset);
    return &cells[position & lane->mask];
}

static uint32_t lap_of(const struct erg_ring_lane *lane, uint64_t position) {
    return (uint32_t)(position >> lane->shift) & LAP_MASK;
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
static int fill(struct erg_table *t, struct erg_ring_lane *lane, uint64_t position,
                erg_handle handle) {
    _Atomic uint64_t *cell = cell_at(t, lane, position);
    uint32_t lap = lap_of(lane, position);
    uint64_t seen = CELL_EMPTY(lap);
    /* seq_cst: the producer's half of the handshake with a consumer going to sleep (wake.c). Its release part publishes
     * the record that the handle names. */
    if (atomic_compare_exchange_strong_explicit(cell, &seen, cell_full(lap, handle),
                                                memory_order_seq_cst, memory_order_acquire))
        return 1;
    return (seen & FULL) && CELL_LAP(seen) == ((lap - 1) & LAP_MASK) ? -1 : 0;
}

static size_t lane_push(struct erg_table *t, struct erg_ring_lane *lane, const erg_handle *handles,
                        size_t n) {
    size_t done = 0;
    while (done < n) {
        uint64_t start = atomic_load_explicit(&lane->tail, memory_order_acquire);
        uint64_t position = start;
        int filled = 1;
        while (done < n && (filled = fill(t, lane, position, handles[done])) == 1) {
            done++;
            position++;
        }
        ERG_POINT("ring-filled");
        if (filled == 0)
            position++;
        if (position != start)
            advance(&lane->tail, start, position);
        else if (atomic_load_explicit(&lane->tail, memory_order_acquire) == start)
            break; /* full: the cell under an unmoved tail is a lap behind */
    }
    return done;
}

size_t erg_ring_push_many(struct erg_table *t, struct erg_ring *ring, const erg_handle *handles,
                          size_t n) {
    size_t done = 0;
    if (ring->lanes == 1 || erg_lane_len(&ring->lane[1]) == 0)
        done = lane_push(t, &ring->lane[0], handles, n);
    if (done < n && ring->lanes > 1)
        done += lane_push(t, &ring->lane[1], handles + done, n - done);
    return done;
}

int erg_ring_push(struct erg_table *t, struct erg_ring *ring, erg_handle handle) {
    return (int)erg_ring_push_many(t, ring, &handle, 1);
}

static int lane_peek(struct erg_table *t, struct erg_ring_lane *lane, struct erg_ring_peek *peek) {
    for (;;) {
        uint64_t position = atomic_load_explicit(&lane->head, memory_order_acquire);
        uint32_t lap = lap_of(lane, position);
        /* seq_cst: the consumer's half of the handshake in wake.c; acquire pairs with fill. */
        uint64_t cell = atomic_load_explicit(cell_at(t, lane, position), memory_order_seq_cst);
        if ((cell & FULL) && CELL_LAP(cell) == lap) {
            peek->lane = lane;
            peek->position = position;
            peek->cell = cell;
            peek->index = (uint32_t)(cell >> 1) & INDEX_MASK;
            peek->gen = ERG_RING_GEN((uint32_t)(cell >> 28));
            return 1;
        }
        if (cell == CELL_EMPTY(lap)) {
            if (atomic_load_explicit(&lane->head, memory_order_acquire) == position)
                return 0;
        } else {
            advance(&lane->head, position, position + 1); /* taken already: the head is behind */
        }
    }
}

int erg_ring_peek(struct erg_table *t, struct erg_ring *ring, struct erg_ring_peek *peek) {
    return lane_peek(t, &ring->lane[0], peek) ||
           (ring->lanes > 1 && lane_peek(t, &ring->lane[1], peek));
}

int erg_ring_take(struct erg_table *t, const struct erg_ring_peek *peek) {
    struct erg_ring_lane *lane = peek->lane;
    uint32_t after = (lap_of(lane, peek->position) + 1) & LAP_MASK;
    uint64_t seen = peek->cell;
    int won = atomic_compare_exchange_strong_explicit(cell_at(t, lane, peek->position), &seen,
                                                      CELL_EMPTY(after), memory_order_acq_rel,
                                                      memory_order_relaxed);
    ERG_POINT("ring-taken");
    if (won)
        advance(&lane->head, peek->position, peek->position + 1);
    return won;
}
