/* table/layout: what one host's task table looks like in shared memory.
 *
 * One memfd per pool (no name, so nothing stays behind however everybody dies), sparse, mapped once and whole
 * by every attached process; everything inside is named by offset or index, never by pointer:
 *
 *     header | members[members_max] | ready rings | completion rings | records[records_max] | extents | arena
 *
 * A *member* is one party that enters or runs tasks: the owner process (member 0), each worker process, each
 * worker thread of the owner. A member belongs to one process; the owner's member may be used by several threads.
 *
 * Every state change is a single atomic store or compare-and-swap, and each is preceded by a note in the
 * member's own slot that says what it is about to do (claim, next, releasing). A process may therefore be killed
 * between any two instructions: erg_table_recover() reads the notes and finishes or repeats the step. Steps are
 * idempotent: a ring entry is only a hint (record index + generation; the claim that counts is the CAS
 * READY -> RUNNING in the record), a dependency is a bit that is cleared, not a count that is lowered.
 *
 * Life of a record (erg_record_phase), all changes in record.c:
 *
 *     FREE -> ENTERED -> WAITING -> READY -> RUNNING -> DONE -> FREE
 *                  \________________^  \        ^
 *                                       \-> DONE (cancelled before it started)
 *
 * ENTERED: its submitter fills it. WAITING: some predecessor has not finished. READY: in a ready ring, or held as a
 * member's `next`. RUNNING: claimed. DONE: outcome and result are final. Only the submitter frees, after which
 * the generation counts up and every old handle is stale.
 */
#ifndef ERG_TABLE_LAYOUT_H
#define ERG_TABLE_LAYOUT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define ERG_TABLE_MAGIC 0x3130474f47524555ull
#define ERG_TABLE_VERSION 1u
#define ERG_CACHE_LINE 64

#define ERG_QUEUES 4 /* ready rings: ERG_QUEUE_* */
enum { ERG_QUEUE_ANY = 0, ERG_QUEUE_PROCESS = 1, ERG_QUEUE_THREAD = 2, ERG_QUEUE_FIRST = 3 };

#define ERG_DEPS_INLINE 6   /* predecessors one record can wait for; more go through ERG_KIND_JOIN records */
#define ERG_INLINE_BYTES 88 /* argument and result bytes that need no arena block */
#define ERG_NIL UINT32_MAX

enum erg_record_phase { ERG_FREE, ERG_ENTERED, ERG_WAITING, ERG_READY, ERG_RUNNING, ERG_DONE };
enum erg_outcome { ERG_OUT_NONE, ERG_OUT_OK, ERG_OUT_ERROR, ERG_OUT_CANCELLED, ERG_OUT_LOST, ERG_OUT_TIMEOUT };
enum erg_record_kind { ERG_KIND_CALL, ERG_KIND_CHUNK, ERG_KIND_JOIN, ERG_KIND_NATIVE, ERG_KIND_CONTROL };

/* The state word: phase in bits 0-3, flags, runner's member number in bits 16-31. It is also the futex word. */
#define ERG_STATE_PHASE(word) ((word) & 0xfu)
#define ERG_STATE_WAITER 0x10u  /* somebody sleeps on the word: wake on DONE */
#define ERG_STATE_NOTIFY 0x20u  /* push to the submitter's completion ring on DONE */
#define ERG_STATE_CANCEL 0x40u  /* cancellation was asked for */
#define ERG_STATE_RUNNER(word) ((word) >> 16)

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
    uint32_t pad;
    uint64_t len;
};

struct erg_record {
    /* line 0: everything that changes while the task lives */
    _Alignas(ERG_CACHE_LINE) _Atomic uint32_t state;
    uint32_t gen;
    _Atomic uint64_t deps;   /* generation in the high half; low half: bit i = edge i open, bit 31 = guard while entering */
    _Atomic uint32_t succ;   /* list of edges to whoever waits for this record: edge number, ERG_EDGE_CLOSED set once it is released */
    uint32_t edges[ERG_DEPS_INLINE]; /* edges[i]: next edge in the list of predecessor i; edge number = record * 8 + i */
    uint16_t submitter;
    uint8_t kind;
    uint8_t queue;
    uint8_t outcome;
    uint8_t retries; /* runs still allowed after a loss */
    uint16_t user16; /* the submitter's own */
    /* line 1: the task */
    uint64_t fn;         /* the submitter's name for what is to be called */
    uint64_t start_ns;   /* CLOCK_MONOTONIC, set when claimed */
    uint64_t end_ns;
    uint64_t timeout_ns; /* allowed run time, 0: any */
    /* CHUNK: items [next, end) not yet begun; the runner takes from the front, the submitter may cut off the back.
     * next in the low half, end in the high half. */
    _Atomic uint64_t range;
    _Atomic uint32_t ndone; /* CHUNK: items whose results are in the result stream, in order of `first` onwards */
    uint32_t first;         /* CHUNK: number of its first item */
    struct erg_payload args;
    struct erg_payload result;
    unsigned char inline_bytes[ERG_INLINE_BYTES];
};

#define ERG_EDGE_CLOSED 0x80000000u
#define ERG_EDGE_NIL 0x7fffffffu
#define ERG_DEPS_GUARD 0x80000000u
#define ERG_RECORDS_LIMIT (1u << 27) /* edge numbers must stay below ERG_EDGE_NIL */

/* Worker stages, in erg_member.stage: what recovery may assume about its claim. */
enum erg_stage { ERG_STAGE_IDLE, ERG_STAGE_RUNNING, ERG_STAGE_FINISHING };

enum erg_member_kind { ERG_MEMBER_NONE, ERG_MEMBER_CALLER, ERG_MEMBER_PROCESS, ERG_MEMBER_THREAD };
enum erg_member_phase { ERG_M_FREE, ERG_M_RESERVED, ERG_M_UP, ERG_M_LEAVING, ERG_M_DEAD };

struct erg_member_slot {
    /* line 0: written by the member itself */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t claim;     /* handle it is about to take, or holds */
    _Atomic uint64_t next;      /* handle it keeps for itself as its next task */
    _Atomic uint64_t releasing; /* edge number | generation of the waiting record << 32, while that bit is cleared */
    _Atomic uint32_t stage;
    _Atomic uint32_t phase;     /* enum erg_member_phase */
    uint32_t kind;
    int32_t pid;
    uint32_t queues;            /* bit mask of the ready rings it serves */
    uint32_t depth;             /* nested run loops: tasks it runs while a task of its own waits */
    /* line 1: written by others */
    _Alignas(ERG_CACHE_LINE) _Atomic uint32_t wake;       /* futex word of its sleep */
    _Atomic uint32_t stop;      /* asked to leave after its task */
    _Atomic uint64_t cancel;    /* handle whose run should be interrupted */
    _Atomic uint64_t returned;  /* stack of arena blocks others freed */
    /* line 2: statistics */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t tasks;
    _Atomic uint64_t busy_ns;
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t bytes_out;
};

/* Multi-producer multi-consumer ring of handles. An entry counts for lap n only if its lap tag says so, so a dead
 * producer or consumer leaves nothing half done: see ring.h. */
struct erg_ring {
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t head;
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t tail;
    uint64_t cells_offset; /* of _Atomic uint64_t cells[mask + 1] */
    uint64_t mask;
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
    _Atomic uint32_t closed;        /* no more tasks are accepted; workers leave when the rings are empty */
    _Atomic uint32_t tracing;
    _Atomic uint32_t owner_bell;    /* futex word the owner's waiting callers share: idle worker, chunk to split … */
    /* free records nobody keeps in a private list: tagged stack, and the first one never used */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t free_records;
    _Atomic uint32_t records_used;
    /* who is awake: one bit a member */
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t sleeping[16];
    _Alignas(ERG_CACHE_LINE) _Atomic uint64_t spinning[16];
    struct erg_ring ready[ERG_QUEUES];
    struct erg_ring completed; /* of member 0; workers that submit wait on their records */
};

#define ERG_MEMBERS_LIMIT 1024

#endif
