/* table/layout: what one host's task table looks like in shared memory.
 *
 * One memfd per pool (no name, so nothing stays behind however everybody dies), sparse, mapped once and whole
 * by every attached process; everything inside is named by offset or index, never by pointer:
 *
 *     header | members[members_max] | ring cells | records[records_max] | extents | arena
 *
 * A *member* is one party that enters or runs tasks: the owner process (member 0), each worker process, each
 * worker thread of the owner. A member belongs to one process; the owner's member may be used by several threads,
 * every other one by a single thread.
 *
 * Every state change is a single compare-and-swap on a word that carries the record's generation, so that nothing
 * stale can ever hit a later user of the same record. What a process may be in the middle of stands either in the
 * record itself (RUNNING or RELEASING by member n) or in the notes of the member's slot, written before the step. A
 * process may therefore be killed between any two instructions: erg_table_recover() reads the notes and finishes or
 * repeats the step. Steps are idempotent: a ring entry is only a hint (the claim that counts is the swap
 * READY -> RUNNING in the record), a dependency is a bit that is cleared, not a count that is lowered.
 *
 * Life of a record (erg_record_phase), all changes in record.c, release.c and claim.c:
 *
 *     FREE -> ENTERED -> WAITING -> READY -> RUNNING -> DONE -> FREE
 *                  \________________^  \        |
 *                                    \  \-> DONE (cancelled before it started; from WAITING too)
 *                                     \_________/ (lost with its runner, and run again)
 *
 * ENTERED: its submitter fills it. WAITING: some predecessor has not finished. READY: in a ready ring, or held as a
 * member's `next`. RUNNING: claimed. DONE: outcome and result are final. Only the submitter frees (JOINs the table made
 * free themselves); the record goes back to FREE with the next generation, so that every old handle is stale, as soon as
 * nobody's list leads to it any more: not before its own successors are released (ERG_STATE_RELEASING) and not before
 * the predecessors it was waiting for have let go of it (open bits in `deps`).
 */
#ifndef ERG_TABLE_LAYOUT_H
#define ERG_TABLE_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define ERG_TABLE_MAGIC 0x3130474f47524555ull
#define ERG_TABLE_VERSION 5u
#define ERG_CACHE_LINE 64

#define ERG_QUEUES                                                                                 \
    16 /* ready rings: ERG_QUEUE_*; from ERG_QUEUE_NAMED on, those of named sets of places */
enum {
    ERG_QUEUE_ANY = 0,
    ERG_QUEUE_PROCESS = 1,
    ERG_QUEUE_THREAD = 2,
    ERG_QUEUE_FIRST = 3,
    ERG_QUEUE_LOCAL = 4, /* for workers of this host only */
    ERG_QUEUE_NAMED = 5
};
#define ERG_QUEUE_BIT(queue) (1u << (queue))

#define ERG_DEPS_INLINE 6 /* predecessors one record can wait for; more go through JOIN records */
#define ERG_INLINE_BYTES 104 /* argument and result bytes that need no arena block */
#define ERG_NIL UINT32_MAX
#define ERG_MEMBER_NOBODY 0xffffu
#define ERG_MEMBERS_LIMIT 1024
#define ERG_WORKERS_LIMIT 1000 /* of one pool; what is left is for those who enter tasks */
#define ERG_CLAIMS_MAX                                                                             \
    512 /* tasks one member can be inside of at once: a task that waits runs others */

enum erg_record_phase { ERG_FREE, ERG_ENTERED, ERG_WAITING, ERG_READY, ERG_RUNNING, ERG_DONE };
enum erg_outcome {
    ERG_OUT_NONE,
    ERG_OUT_OK,
    ERG_OUT_ERROR,
    ERG_OUT_CANCELLED,
    ERG_OUT_LOST,
    ERG_OUT_TIMEOUT
};
enum erg_record_kind {
    ERG_KIND_CALL,
    ERG_KIND_CHUNK,
    ERG_KIND_JOIN, /* waits for its predecessors and is then done, without a runner */
    ERG_KIND_NATIVE,
    ERG_KIND_CONTROL
};

enum erg_call_flags {
    ERG_CALL_STAYS =
        1, /* nobody waits for its result yet: a large one may stay on another host (away.h) */
    ERG_CALL_PURE = 2, /* it may be begun anew elsewhere while it runs */
    /* Set when a worker process that ran it was lost, for whoever asks why: */
    ERG_CALL_KILLED = 4,  /* by a signal that others send; */
    ERG_CALL_CRASHED = 8, /* by itself, or because memory ran out */
    ERG_CALL_ANEW =
        16, /* lost, it is run again without `retries`, as sched/retry.h has it for pure tasks */
};

/* The state word, 64 bits: phase 0-3, flags 4-11, outcome 12-14, runner's member number 16-31 (FREE: who made it so),
 * generation 32-63.
 * Its low half (erg_record_futex) is what waiters sleep on. */
#define ERG_STATE_PHASE(word) ((enum erg_record_phase)((word)&0xfu))
#define ERG_STATE_WAITER 0x10u     /* somebody sleeps on the word: wake on DONE */
#define ERG_STATE_NOTIFY 0x20u     /* push to the completion ring on DONE */
#define ERG_STATE_CANCEL 0x40u     /* cancellation was asked for while it ran */
#define ERG_STATE_SUCC 0x80u       /* somebody is, or was about to be, in the list of successors */
#define ERG_STATE_RELEASING 0x100u /* DONE, but the runner still walks the list of successors */
#define ERG_STATE_FREED 0x200u  /* freed while RELEASING: whoever ends that recycles the record */
#define ERG_STATE_ORPHAN 0x400u /* nobody will free it: whoever finishes it does */
#define ERG_STATE_OVERDUE                                                                          \
    0x800u /* RUNNING for too long in a thread: its submitter waits for it no more */
#define ERG_STATE_OUTCOME(word) ((enum erg_outcome)(((word) >> 12) & 7u))
#define ERG_STATE_RUNNER(word) ((uint32_t)((word) >> 16) & 0xffffu)
#define ERG_STATE_GEN(word) ((uint32_t)((word) >> 32))

/* A handle: index in the low half, generation in the high half. */
typedef uint64_t erg_handle;
#define ERG_HANDLE(index, gen) (((uint64_t)(gen) << 32) | (uint32_t)(index))
#define ERG_HANDLE_INDEX(h) ((uint32_t)(h))
#define ERG_HANDLE_GEN(h) ((uint32_t)((h) >> 32))
#define ERG_HANDLE_NONE UINT64_MAX

/* A payload: inline in the record (offset 0) or a block of the arena (offset from the start of the mapping). */
struct erg_payload {
    uint64_t offset; /* 0: inline */
    uint32_t start;  /* inline: where in inline_bytes; arena: unused */
    uint32_t
        link; /* the table's own, also after DONE: then set members one by one, never the whole */
    uint64_t len;
};

/* Four cache lines. A record belongs to whoever its phase says: ENTERED and DONE the submitter, RUNNING the runner;
 * only the atomic members are touched by others. */
struct erg_record {
    /* line 0: what moves the task through its life, and what it is */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t state;
    /* generation in the high half; low half: bit i = edge i open, bit 8 + i = edge i was used in this life,
     * ERG_DEPS_GUARD while entering, ERG_DEPS_FREED */
    _Atomic uint64_t deps;
    /* generation in the high half; low half: first edge of the list of who waits for this record, or ERG_EDGE_NIL;
     * ERG_EDGE_CLOSED is or-ed in once it is DONE and nobody may join the list any more */
    _Atomic uint64_t succ;
    _Atomic uint32_t edges
        [ERG_DEPS_INLINE]; /* edges[i]: next edge in the list of predecessor i; edge = record * 8 + i */
    _Atomic uint16_t
        submitter; /* FREE: the member whose private store it lies in, or ERG_MEMBER_NOBODY */
    uint8_t kind;
    uint8_t queue;
    uint8_t retries; /* runs still allowed after a loss; the submitter's own */
    uint8_t user8;   /* the submitter's own */
    uint16_t user16; /* the submitter's own */
    uint64_t fn;     /* the submitter's name for what is to be called */
    /* line 1: the task */
    uint64_t start_ns;   /* CLOCK_MONOTONIC, set right after it was claimed; 0 until then */
    uint64_t end_ns;     /* set when finished */
    uint64_t timeout_ns; /* allowed run time, 0: any; | ERG_TIMEOUT_HELD while it does not count */
    /* CHUNK: items [next, end) not yet begun; the runner takes from the front, the submitter may cut off the back.
     * next in the low half, end in the high half. */
    _Atomic uint64_t range;
    _Atomic uint32_t
        ndone; /* CHUNK: items whose results are in the result stream, in order of `first` onwards */
    uint32_t first; /* CHUNK: number of its first item; CALL: enum erg_call_flags */
    struct erg_payload args;
    /* lines 2 and 3 */
    struct erg_payload result;
    unsigned char inline_bytes[ERG_INLINE_BYTES];
};
_Static_assert(sizeof(struct erg_record) == 4 * ERG_CACHE_LINE, "a record is four cache lines");

#define ERG_TIMEOUT_HELD ((uint64_t)1 << 63)

#define ERG_EDGE_CLOSED 0x80000000u
#define ERG_EDGE_NIL 0x7fffffffu
#define ERG_DEPS_EDGES 0x3fu /* the edge bits */
#define ERG_DEPS_USED_SHIFT 8
#define ERG_DEPS_FREED                                                                             \
    0x40000000u /* freed while edges were open: whoever closes the last recycles */
#define ERG_DEPS_GUARD 0x80000000u
#define ERG_RECORDS_LIMIT (1u << 27) /* edge numbers must stay below ERG_EDGE_NIL */

/* Free records travel between members in batches: the first one's lines 1-3 name the others, its edges[0] the next batch
 * of the global stack. */
#define ERG_BATCH 48
struct erg_batch {
    uint32_t count; /* entries of index[] */
    uint32_t index[ERG_BATCH - 1];
};
_Static_assert(sizeof(struct erg_batch) <= 3 * ERG_CACHE_LINE, "a batch lies in lines 1-3");

enum erg_member_kind {
    ERG_MEMBER_NONE,
    ERG_MEMBER_CALLER,
    ERG_MEMBER_PROCESS,
    ERG_MEMBER_THREAD,
    ERG_MEMBER_PLACE /* takes tasks for other hosts, see lease.h; one of each table at most */
};
enum { ERG_STOP_ASKED = 1, ERG_STOP_GIVEN_UP = 2 /* a thread that does not stop: left alone */ };
/* Nothing; a record, while it would run any that is ready; room for one more record. Written by the member itself. */
enum { ERG_WAITS_NOT, ERG_WAITS_HELPING, ERG_WAITS_FOR_ROOM };
enum erg_member_phase { ERG_M_FREE, ERG_M_RESERVED, ERG_M_UP, ERG_M_LEAVING, ERG_M_DEAD };

/* Free records a member keeps for itself; only it writes here. */
struct erg_magazine {
    _Atomic uint32_t count;
    uint32_t index[ERG_BATCH];
};

struct erg_member_slot {
    /* who it is: changes when it comes and goes */
    _Alignas(ERG_CACHE_LINE) _Atomic uint32_t phase; /* enum erg_member_phase */
    uint32_t kind;
    _Atomic int32_t pid;
    _Atomic uint32_t queues; /* bit mask of the ready rings it serves */
    _Atomic uint32_t serial; /* counts the members that had this slot */
    /* its notes: what it holds and what it is in the middle of. Written by the member itself, read by recovery. */
    _Alignas(
        ERG_CACHE_LINE) _Atomic uint32_t depth; /* claims[0..depth) are tasks it is inside of */
    _Atomic uint32_t entered; /* 1 once it has ever taken a record for a task of its own */
    _Atomic uint64_t next;    /* handle it keeps for itself as its next task */
    _Atomic uint64_t
        edge; /* the edge it is clearing: edge number | generation of the waiting record << 32 */
    _Atomic uint64_t
        releasing; /* stack of DONE records whose successors it releases: top | the next << 32 */
    _Atomic uint64_t claims[ERG_CLAIMS_MAX]; /* claims[depth]: the handle it is about to take */
    /* the processor it was last seen on, counted from 1, and a bit for "sleeps in a wait": see wake.c */
    _Alignas(ERG_CACHE_LINE) _Atomic uint32_t cpu;
    /* written by others */
    _Alignas(ERG_CACHE_LINE) _Atomic uint32_t wake; /* futex word of its sleep */
    _Atomic uint32_t stop;                          /* asked to leave after its task: ERG_STOP_* */
    _Atomic uint64_t cancel;                        /* handle whose run should be interrupted */
    _Atomic uint64_t returned; /* stack of arena blocks others freed; 1: closed */
    _Atomic uint64_t fns;      /* functions it published: payload.h; the member's own */
    /* statistics, written by the member itself */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t tasks;
    _Atomic uint64_t busy_ns;
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t bytes_out;
    _Atomic uint64_t trace; /* the runtime's own: where its record of tasks begins */
    _Atomic uint32_t waits; /* what the task it runs waits for inside the pool: ERG_WAITS_* */
    _Alignas(ERG_CACHE_LINE) struct erg_magazine magazines[2];
};

/* Multi-producer multi-consumer ring of handles. A cell holds one, with the lap it counts for, so that filling or
 * emptying it is one swap; head and tail are hints anybody may push forward. A dead producer or consumer leaves
 * nothing half done: see ring.h. */
struct erg_ring_lane {
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t head;
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t tail;
    _Alignas(ERG_CACHE_LINE) uint64_t cells_offset; /* of _Atomic uint64_t cells[mask + 1] */
    uint64_t mask;
    uint32_t shift; /* log2(mask + 1) */
};

/* Every cell that was ever used takes memory, and a ring goes on through all of them. So there is a short lane for
 * everyday use, and one with room for every record, used while the short one is full. */
enum { ERG_RING_LANES = 2, ERG_RING_SHORT_SHIFT = 16 };
struct erg_ring {
    struct erg_ring_lane lane[ERG_RING_LANES];
    uint32_t lanes; /* 1 where the short one has room for every record */
};

/* One extent of the arena, 4 MiB: see arena.c. `holder` changes by swap; the rest is written by the holder. */
#define ERG_EXTENT_BYTES ((uint64_t)4 << 20)
#define ERG_PAGE_BYTES                                                                             \
    ((uint64_t)64 << 10) /* the arena's page: a slab of small blocks, or part of a run */
#define ERG_EXTENT_PAGES 64
struct erg_extent {
    _Alignas(ERG_CACHE_LINE) _Atomic uint32_t
        holder;            /* 0: free; else member number + 1 | ERG_EXTENT_* */
    _Atomic uint32_t live; /* blocks handed out and not come home */
    _Atomic uint32_t run;  /* head of a run of whole extents: how many */
    uint32_t pad;
    _Atomic uint64_t
        pending; /* bit a page: the block that starts there goes when its allocator dies */
    _Atomic uint8_t page[ERG_EXTENT_PAGES]; /* what starts at each page: enum in arena.c */
};
#define ERG_EXTENT_ORPHAN                                                                          \
    0x80000000u /* its member died; the owner gives it back when the last block is freed */

enum { ERG_FEEDERS = 8 };

/* What is told of a place to whoever looks at the table from outside (`ergon top`). Written by the threads of the links, a
 * few times a second. */
struct erg_place_row {
    char name[128]; /* as the user wrote it, cut; NUL-terminated */
    _Atomic uint32_t state, slots, leased, cores;
    _Atomic uint64_t tasks, busy_ns, bytes_in, bytes_out; /* bytes: as the owner sees them */
};

struct erg_table_header {
    uint64_t magic;
    uint32_t version;
    uint32_t members_max;
    uint32_t records_max;
    uint32_t extents_max;
    uint64_t size; /* of the whole mapping */
    uint64_t members_offset, records_offset, extents_offset, arena_offset;
    uint64_t init_offset, init_len; /* the runtime's start-up message for workers, an arena block */
    uint64_t number;                /* of the pool elsewhere that this one stands for, 0: of none */
    uint64_t asks;   /* where workers ask that pool's owner (engine/agent_ask.h), 0: nowhere */
    uint64_t memory; /* bytes the pool may use, likewise */
    uint32_t cores;  /* cores the pool may use (affinity and cgroup quota) when it was made */
    _Atomic uint32_t
        closed; /* no more tasks are accepted; workers leave when the rings are empty */
    _Atomic uint32_t tracing;
    _Atomic uint32_t
        payloads; /* what calls and chunks take and give are payloads (payload.h): recovery may look into them */
    _Atomic uint32_t members_up;  /* how many are ERG_M_UP */
    _Atomic uint32_t members_top; /* one more than the highest number ever reserved */
    _Atomic uint32_t place;       /* the member of kind PLACE, 0: there is none */
    _Atomic uint32_t place_rows_len;
    _Atomic uint64_t place_rows; /* of struct erg_place_row; 0: there are none */
    _Atomic uint32_t wanted;     /* counts what was asked for with erg_away_want */
    /* futex word the owner's waiting callers share, see bell.h: somebody sleeps in bit 0, a count above */
    _Alignas(ERG_CACHE_LINE) _Atomic uint32_t owner_bell;
    /* free records nobody keeps: a stack of batches (first index | tag << 32), and the first one never used */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t free_batches;
    _Atomic uint32_t records_used;
    _Atomic uint32_t extents_hint; /* where to look for a free extent first */
    _Atomic uint32_t extents_top;  /* extents from here on were never used */
    /* who is awake: one bit a member */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t sleeping[ERG_MEMBERS_LIMIT / 64];
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t spinning[ERG_MEMBERS_LIMIT / 64];
    /* records that feeders of maps sleep on, ERG_HANDLE_NONE where none does: idle.h */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t feeders[ERG_FEEDERS];
    struct erg_ring ready[ERG_QUEUES];
    struct erg_ring completed; /* records with NOTIFY that are DONE, whoever submitted them */
};

#endif
