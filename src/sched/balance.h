/* sched/balance: how many items make one chunk of a map, how many chunks and items to have on their way.
 *
 * Used by whoever feeds a map: one struct erg_balance on its stack per map, one caller at a time, all O(1), nothing
 * allocated. Times are nanoseconds.
 *
 * The feeder's loop for n known items (unknown: the same with ERG_ITEMS_UNKNOWN and erg_balance_window):
 *
 *     erg_balance_init(&b, workers);
 *     while (items are left) {
 *         if (chunks outstanding >= erg_balance_ahead(&b))
 *             wait for one chunk to end;
 *         take what has ended: erg_balance_measure(&b, items, run_ns);
 *         enter a chunk of erg_balance_chunk(&b, items left);
 *     }
 *     then, while chunks are outstanding: whenever more workers are idle than chunks are ready, ask
 *         erg_balance_cut() about the running chunk with the most items not begun, cut that many off its back and
 *         enter them anew; if it says 0, look again when that chunk has run for erg_balance_cut_from(), or when
 *         a worker becomes idle. (It costs nothing to look too often.)
 *
 * The first chunks are single items, so that ten tasks of a second each go one by one; what they took
 * sets the size from then on, growing at most ERG_BALANCE_GROWTH-fold per chunk that came back: a chunk
 * aims at ERG_BALANCE_TARGET_NS of work, less towards the end (its share of what is left), never
 * so little that handing it out costs more than a fiftieth of it, never more than ERG_BALANCE_CHUNK_BYTES.
 * Sizes need only be right within a factor, since a chunk that turns out long is cut. */
#ifndef ERG_SCHED_BALANCE_H
#define ERG_SCHED_BALANCE_H

#include <stdint.h>

#define ERG_ITEMS_UNKNOWN UINT64_MAX
#define ERG_BALANCE_TARGET_NS 1000000
#define ERG_BALANCE_GROWTH 16
#define ERG_BALANCE_CHUNK_BYTES (4u << 20)
#define ERG_BALANCE_WINDOW_BYTES (64u << 20) /* of items read ahead by imap */
#define ERG_BALANCE_WINDOW_TASKS 4           /* a worker, if that is more */
#define ERG_BALANCE_AHEAD 4                  /* chunks a worker on their way */

struct erg_balance {
    uint32_t workers;
    uint32_t
        beyond; /* chunks that may be on their way besides, to workers far away; set at any time */
    uint32_t boost;    /* imap: the window's factor, doubled when it starved somebody */
    uint64_t measured; /* chunks measured */
    uint32_t largest;  /* items in the largest chunk that came back */
    int64_t item_ns;   /* running mean of what an item takes */
    int64_t
        handout_ns; /* running mean of what entering and collecting a chunk costs the feeder, apart from its items */
    uint64_t item_bytes;
};

/* workers: those that can run the map's items (0 counts as 1; may be set again when it changes). */
void erg_balance_init(struct erg_balance *b, uint32_t workers);

/* Items in the next chunk, at least 1 (when left is not 0). left: items not yet in a chunk, or ERG_ITEMS_UNKNOWN. */
uint32_t erg_balance_chunk(const struct erg_balance *b, uint64_t left);

/* The same when nobody will be there to measure and feed (all chunks are entered at once): the size to use for
 * all of `n` items. */
uint32_t erg_balance_chunk_fixed(uint64_t n, uint32_t workers);

/* Chunks that may be on their way. */
uint32_t erg_balance_ahead(const struct erg_balance *b);

/* A chunk came back: it had `items` items, ran run_ns in its worker. */
void erg_balance_measure(struct erg_balance *b, uint32_t items, int64_t run_ns);

/* A chunk was entered: its arguments took `bytes`, and entering it took handout_ns beyond fetching and
 * pickling the items (0: not known). */
void erg_balance_entered(struct erg_balance *b, uint32_t items, uint64_t bytes, int64_t handout_ns);

/* imap: items that may be entered and not yet taken by the consumer. */
uint64_t erg_balance_window(const struct erg_balance *b);

/* imap: a worker was idle although the window was full. */
void erg_balance_starved(struct erg_balance *b);

/* Somebody is idle. A chunk has run for run_ns, has begun `begun` items and has `left` items not begun: how many of
 * those to cut off its back (0: not worth it). */
uint32_t erg_balance_cut(const struct erg_balance *b, uint32_t begun, uint32_t left,
                         int64_t run_ns);
/* How long such a chunk must have run for a cut to be worth it, if it begins no other item meanwhile. */
int64_t erg_balance_cut_from(const struct erg_balance *b, uint32_t begun, uint32_t left);

#endif
