#include "sched/balance.h"

/* What handing out a chunk costs before anything was measured, and how little of its run it may be. */
enum { HANDOUT_NS = 2000, HANDOUT_SHARE = 50 };
/* What an item read ahead costs beyond its own bytes. */
enum { ITEM_EXTRA_BYTES = 64 };
/* Shares of what is left that a chunk may take near the end: the n-th part of one worker's share. */
enum { TAIL_PARTS = 3, FIXED_PARTS = 16 };
/* A cut must save at least this many times what entering the rest anew costs. */
enum { CUT_GAIN = 4 };

void erg_balance_init(struct erg_balance *b, uint32_t workers) {
    *b = (struct erg_balance){
        .workers = workers ? workers : 1, .boost = 1, .handout_ns = HANDOUT_NS};
}

static uint32_t workers_of(const struct erg_balance *b) {
    return b->workers ? b->workers : 1;
}

static uint64_t at_least_one(uint64_t n) {
    return n ? n : 1;
}

/* Items that take `ns` together. */
static uint64_t items_in(const struct erg_balance *b, int64_t ns) {
    return at_least_one((uint64_t)(ns / (b->item_ns > 0 ? b->item_ns : 1)));
}

uint32_t erg_balance_chunk(const struct erg_balance *b, uint64_t left) {
    if (left == 0)
        return 0;
    if (b->measured == 0)
        return 1;
    uint64_t size = items_in(b, ERG_BALANCE_TARGET_NS);

    if (left != ERG_ITEMS_UNKNOWN) {
        uint64_t share = at_least_one(left / ((uint64_t)workers_of(b) * TAIL_PARTS));
        if (size > share)
            size = share;
    }
    uint64_t worth = items_in(b, b->handout_ns * HANDOUT_SHARE);
    if (size < worth)
        size = worth;
    uint64_t grown = (uint64_t)b->largest * ERG_BALANCE_GROWTH;
    if (size > grown)
        size = grown;
    if (b->item_bytes > 0 && size > ERG_BALANCE_CHUNK_BYTES / b->item_bytes)
        size = at_least_one(ERG_BALANCE_CHUNK_BYTES / b->item_bytes);
    if (size > left)
        size = left;
    return size > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)size;
}

uint32_t erg_balance_chunk_fixed(uint64_t n, uint32_t workers) {
    uint64_t size = at_least_one(n / ((uint64_t)at_least_one(workers) * FIXED_PARTS));
    return size > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)size;
}

uint32_t erg_balance_ahead(const struct erg_balance *b) {
    return workers_of(b) * ERG_BALANCE_AHEAD + b->beyond;
}

/* One value moves the mean by a quarter of the way and is taken for at most four times the mean: a single long item
 * among many short ones (or the first call, which imports) must not turn the rest into chunks of one. */
static int64_t mean(int64_t old, int64_t value) {
    if (value > 4 * old)
        value = 4 * old;
    return old + (value - old + 3) / 4;
}

void erg_balance_measure(struct erg_balance *b, uint32_t items, int64_t run_ns) {
    if (items == 0)
        return;
    int64_t each = run_ns / items;
    if (each < 1)
        each = 1;
    if (b->measured == 0)
        b->item_ns = each;
    else if (
        each <
        b->item_ns) /* it was the guess that was wrong: chunks are too small, which costs at once */
        b->item_ns += (each - b->item_ns) / 2;
    else
        b->item_ns = mean(b->item_ns, each);
    if (b->item_ns < 1)
        b->item_ns = 1;
    b->measured++;
    if (items > b->largest)
        b->largest = items;
}

void erg_balance_entered(struct erg_balance *b, uint32_t items, uint64_t bytes,
                         int64_t handout_ns) {
    if (items == 0)
        return;
    uint64_t each = bytes / items;
    if (each > b->item_bytes)
        b->item_bytes = each; /* memory is bounded by the worst, not by the mean */
    else
        b->item_bytes -= (b->item_bytes - each) / 4;
    if (handout_ns > 0)
        b->handout_ns = mean(b->handout_ns, handout_ns);
    if (b->handout_ns < 1)
        b->handout_ns = 1;
}

uint64_t erg_balance_window(const struct erg_balance *b) {
    uint64_t least = (uint64_t)workers_of(b) * ERG_BALANCE_WINDOW_TASKS;
    uint64_t most = ERG_BALANCE_WINDOW_BYTES / (b->item_bytes + ITEM_EXTRA_BYTES);
    uint64_t chunk = erg_balance_chunk(b, ERG_ITEMS_UNKNOWN);
    uint64_t size = chunk * erg_balance_ahead(b) * b->boost;
    if (size > most)
        size = most;
    return size > least ? size : least;
}

void erg_balance_starved(struct erg_balance *b) {
    if (b->boost < 1u << 20)
        b->boost *= 2;
}

uint32_t erg_balance_cut(const struct erg_balance *b, uint32_t begun, uint32_t left,
                         int64_t run_ns) {
    return left > 0 && run_ns >= erg_balance_cut_from(b, begun, left) ? left - left / 2 : 0;
}

int64_t erg_balance_cut_from(const struct erg_balance *b, uint32_t begun, uint32_t left) {
    double worth = (double)b->handout_ns * CUT_GAIN / (left - left / 2);
    return (double)b->item_ns >= worth ? 0 : (int64_t)(worth * ((double)begun + 1)) + 1;
}
