/* engine/native: the runtime of C functions, behind <ergon/ergon.h>.
 *
 *     native_name.c   how a function is named so that every worker finds it, and found there
 *     native_run.c    what a worker does with a task
 *     native_pool.c   erg_init, erg_open ... erg_close: the runtime, its zygote, its threads
 *     native_task.c   erg_submit ... erg_release: single tasks and graphs
 *     native_map.c    erg_map, erg_map_array
 *
 * Layout of payloads (all aligned to 8 bytes):
 *     arguments of a task   user16 handles (erg_handle) of predecessors, then the input
 *     arguments of a chunk  struct chunk_head, a struct chunk_span per item if item_len is CHUNK_VARIES, the items,
 *                           each padded to 8
 *     results of a chunk    a chain of blocks of the arena from chunk_head.stream on: a struct chunk_item and its bytes,
 *                           padded to 8, per item; a chunk_item with len CHUNK_NEXT: go on in the next block.
 *                           record.ndone items of it count, whatever became of the worker that wrote them
 *     result, OK            the function's bytes (of a chunk: nothing)
 *     result, ERROR         int32 code, then the words
 *     result, engine's      words (pool.h)
 */
#ifndef ERG_ENGINE_NATIVE_H
#define ERG_ENGINE_NATIVE_H

#include "engine/pool.h"
#include "table/layout.h"

#include <ergon/ergon.h>
#include <pthread.h>
#include <stdatomic.h>

/* How a function is named: a block in the table's arena, whose offset is record.fn. */
struct native_name {
    uint64_t offset; /* of the function in the object */
    char path[];     /* of the object; empty: the program */
};

struct chunk_head {
    uint32_t count;
    uint32_t guess; /* bytes a result may have, for the size of the first block */
    uint64_t item_len;
    uint64_t stream; /* first block of results, written by the worker */
};
#define CHUNK_VARIES UINT64_MAX

struct chunk_span {
    uint64_t at, len; /* from the end of the spans */
};

struct chunk_block {
    uint64_t next;
    uint64_t size; /* of bytes[] */
    unsigned char bytes[];
};

struct chunk_item {
    int32_t code; /* 0, or what the function failed with: then the bytes are words */
    uint32_t pad;
    uint64_t len;
};
#define CHUNK_NEXT UINT64_MAX
#define NATIVE_PAD(len) (((len) + 7) & ~(uint64_t)7)

/* Where a reader or writer of a stream is. */
struct chunk_cursor {
    struct erg_table *table;
    struct chunk_block *block; /* NULL: before the first */
    uint64_t at;
};
/* The item at the cursor, which moves behind it. Only for items that count. */
const struct chunk_item *erg_native_stream_next(struct chunk_cursor *c,
                                                const struct chunk_head *head);

enum { NATIVE_NAMES = 1024 };

/* The owner's side of a pool; erg_pool_user(). */
struct native_pool {
    struct erg_pool *pool;
    struct erg_engine *engine;
    pthread_mutex_t lock; /* names; orphans */
    struct {
        erg_function *_Atomic function;
        uint64_t name;
    } names[NATIVE_NAMES]; /* open addressing, never removed; `name` is written before `function` */
    int names_len;
    /* By record index: how many tasks that come after it still need its result; RELEASED: its future is given up. */
    _Atomic uint32_t *uses;
    uint32_t records_max;
    /* Futures given up before they were done. */
    erg_handle *orphans;
    size_t orphans_len, orphans_cap, orphans_at;
    _Atomic uint32_t orphans_some;
    struct erg_pool_spec spec;
};
#define NATIVE_RELEASED 0x80000000u

/* native_name.c */
/* The offset of the function's name in the pool's table, entered at first use. 0 (no offset) with *err. */
uint64_t erg_native_name(struct native_pool *np, erg_function *function, struct erg_error *err);
/* In a worker: the function behind a name; NULL with *err. */
erg_function *erg_native_resolve(const struct native_name *name, struct erg_error *err);

/* native_run.c */
extern const struct erg_worker_ops erg_native_ops;
struct erg_native_worker; /* the ctx of the ops: one per worker */
struct erg_native_worker *erg_native_worker_new(void);
void erg_native_worker_free(struct erg_native_worker *w);

/* native_pool.c */
struct native_pool *erg_native_of(struct erg_pool *pool);
int erg_native_initialised(void); /* erg_init was called: functions of the program can be found */

/* native_task.c */
void erg_native_sweep(struct native_pool *np, int all);
/* The error a finished record stands for: 0 if it is OK. */
int erg_native_outcome(struct native_pool *np, uint32_t index, struct erg_error *err);

#endif
