/* engine/worker: the loop a worker runs, in a forked process or in a thread of the owner.
 *
 * A worker process: the zygote's erg_zygote_serve() (launch/zygote.h) returns in the forked child with a
 * struct erg_worker_start; the runtime sets itself up and calls erg_worker_process_main(), which attaches the
 * table, becomes the member, watches the owner, tells the engine that it is up, and runs tasks until told to leave.
 */
#ifndef ERG_ENGINE_WORKER_H
#define ERG_ENGINE_WORKER_H

#include "base/error.h"
#include "launch/watch_owner.h"
#include "launch/zygote.h"
#include "table/layout.h"

#include <stdint.h>

struct erg_table;
struct erg_member;

/* Memory kept warm for the next task goes back to the system, but for so much, when there was none for so long. */
#define ERG_TRIM_IDLE_NS 5000000000
#define ERG_TRIM_KEEP_BYTES ((uint64_t)32 << 20)

/* The runtime's part of the loop. All are called in the worker's thread. */
struct erg_worker_ops {
    /* Called once when the member is open, before it counts as up: read the start-up message
     * (erg_table_header.init_offset/init_len), import what is needed. 0, or negative: the worker leaves as one
     * that could not start, with *err as the reason. May be NULL. */
    int (*setup)(void *ctx, struct erg_member *member, struct erg_error *err);

    /* Executes the claimed record: reads its arguments, writes its result, calls erg_claim_finish(). Returns 0 to go
     * on, 1 to leave after this task (the process counts as gone in good order). */
    int (*run)(void *ctx, struct erg_member *member, uint32_t index);

    /* Around every sleep; also around the spinning before it. May be NULL. (Python: release and take the GIL.) */
    void (*idle_enter)(void *ctx);
    void (*idle_leave)(void *ctx);

    /* Asked between tasks and a few times a second while idle: 1 to leave. May be NULL. (Python: pending
     * signals.) */
    int (*should_leave)(void *ctx);

    /* Called once when the loop has ended, before the member is closed. May be NULL. */
    void (*teardown)(void *ctx, struct erg_member *member);
};

/* The whole life of a worker process after the fork. Takes over the descriptors in *start. Returns the exit status
 * the process should end with (0: in good order); the reason of a failure to start has then been told to
 * the engine. */
int erg_worker_process_main(const struct erg_worker_start *start, const struct erg_worker_ops *ops,
                            void *ctx);

/* Just the loop, for a member that is open: takes and runs tasks until told to leave. max_tasks 0: any number.
 * 0 when asked to leave, 1 when max_tasks were done or run() said so. A task that waits for others calls
 * erg_worker_help() instead. */
int erg_worker_loop(struct erg_member *member, uint64_t max_tasks, const struct erg_worker_ops *ops,
                    void *ctx);

/* 1: the member is inside of as many tasks as it can be, and nobody has begun `task`, which it might: it would wait for that for ever
 * where nobody else does. */
int erg_worker_is_full(const struct erg_member *member, erg_handle task);

/* For run() of a task that waits for records of the very table it runs in: runs other tasks until `task` is done or overdue.
 * 0; ERG_ETIMEOUT; ERG_EINTR when a signal handler ran; ERG_ECLOSED when the worker was asked to leave at once;
 * ERG_EFULL when waits are nested too deep to run another task inside (sleeps for it instead of failing unless
 * timeout_ns is over). */
int erg_worker_help(struct erg_member *member, erg_handle task, int64_t timeout_ns,
                    const struct erg_worker_ops *ops, void *ctx);

/* Says what the task this member runs waits for: ERG_WAITS_*. By the member's own thread. */
void erg_worker_waits(struct erg_member *member, uint32_t what);

/* Whether any record may yet become done by itself: one runs in a member that waits for nothing inside the pool, or is ready
 * where somebody will take it. Of a pool that works the answer is 1; a task may begin or end while we look, so 0 counts only
 * where nothing has moved for long. */
int erg_worker_progress(struct erg_table *table);

#endif
