/* engine/runtime: what workers host.
 *
 * The engine knows processes, threads and the task table; what a task *is* belongs to a runtime. Two ship:
 * Python (python/core/pool) and native functions (engine/native.c). A runtime says how a fresh program is
 * started that becomes the zygote of its worker processes, and how a worker thread of this process is started.
 *
 * Ownership: the struct, its argv and its ctx belong to the runtime and live as long as the engine that was
 * given them. Two pools share a zygote when they were opened with the same `struct erg_runtime *`.
 */
#ifndef ERG_ENGINE_RUNTIME_H
#define ERG_ENGINE_RUNTIME_H

#include "table/layout.h"

#include <stdint.h>

struct erg_pool;

/* The signal a running task of a worker process is interrupted with, after slot.cancel was set to its handle.
 * Ignored by default, so a process without a handler (a worker still starting, a grandchild) is not harmed.
 * The runtime's handler compares slot.cancel with the slot's current claim and does nothing if they differ. */
#define ERG_INTERRUPT_SIGNAL SIGURG

/* A run at a place. `fn`: what record.fn was when the task was sent (for a chunk it is something else by then). */
struct erg_elsewhere {
    uint32_t place;   /* its number among the pool's */
    const char *name; /* as the user wrote it */
    uint32_t index, items;
    enum erg_outcome outcome; /* ERG_OUT_NONE: lost, and run again */
    uint64_t fn;
    uint64_t queued_ns, run_ns; /* run_ns: as the host measured it */
    uint64_t bytes_in, bytes_out;
};

struct erg_runtime {
    const char *name; /* for messages: "python", "native" */

    /* The zygote: argv[0] is the program's path (no PATH search), NULL-terminated. It gets a
     * socket as descriptor 3 and must call erg_zygote_serve(3, ...). NULL: this runtime has no processes. */
    char *const *zygote_argv;

    /* The same for the keeper of a pool with places on other hosts (launch/will.h): it forks nobody, so it may load less.
     * NULL: such pools have none, and agents find out by themselves that their client has died. */
    char *const *keeper_argv;

    /* Starts a thread of this process that calls erg_pool_thread_main() with the member's seat. Called by
     * erg_pool_open/resize in the caller's thread, with no lock of the engine held. 0 or a negative erg_err.
     * NULL: this runtime has no threads. */
    int (*start_thread)(void *ctx, struct erg_pool *pool, uint32_t member);

    /* Interrupts what the worker thread `member` runs, if it still runs `task`. 1: asked; 0: cannot be done
     * (the task goes on). Called by erg_pool_cancel in the caller's thread, and by the loop thread when a
     * task's time is over; no lock of the engine held. NULL: never can. */
    int (*interrupt_thread)(void *ctx, struct erg_pool *pool, uint32_t member, erg_handle task);

    /* The worker process `member` died while it ran the task in record `index`, which ends with `outcome`, or
     * with ERG_OUT_NONE runs again. For records of what happened: called by the loop thread with the engine's
     * lock held, so it neither waits nor calls the engine. NULL: nobody wants to know. */
    void (*task_lost)(void *ctx, struct erg_pool *pool, uint32_t member, uint32_t index,
                      enum erg_outcome outcome);

    /* While the table is traced: a task ended at a place on another host. Called with the places' lock held and the
     * record not yet done, so it neither waits nor calls the engine. NULL: nobody wants to know. */
    void (*task_elsewhere)(void *ctx, struct erg_pool *pool, const struct erg_elsewhere *run);

    /* A worker at the place of that name asks (engine/agent_ask.h): sets *answer to malloc'ed bytes, or leaves NULL:
     * nobody knows. Called by a thread of the places' own with nothing locked; may take its time. NULL: nobody answers. */
    void (*asked)(void *ctx, struct erg_pool *pool, const char *place, const unsigned char *bytes,
                  size_t len, void **answer, size_t *answer_len);

    void *ctx;
};

#endif
