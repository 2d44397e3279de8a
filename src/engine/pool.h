/* engine/pool: worker processes and threads around one task table.
 *
 * The owner enters tasks straight into the pool's table (table/record.h, through erg_pool_member()); workers
 * take them from there. This interface is everything else: bringing workers up, replacing the dead, time limits,
 * cancelling what runs, closing.
 *
 * Threads: every function may be called from any thread of the owner unless it says otherwise; erg_pool_free
 * and erg_engine_free only when no other thread uses the pool. In a forked child of the owner all return
 * ERG_EFORKED (or NULL, 0) at once.
 *
 * What becomes of tasks (record.outcome, set by the worker or, where marked *, by the engine):
 *   ERG_OUT_OK, ERG_OUT_ERROR   result is what the runtime wrote
 *   ERG_OUT_LOST*               its worker died and retries are used up, or the pool broke; the result is one
 *                               sentence as plain text, not NUL-terminated: "worker 3 (pid 1234) was killed by
 *                               signal 9 (SIGKILL)"
 *   ERG_OUT_TIMEOUT(*)          ran longer than timeout_ns; text as above if the engine had to kill its worker
 *   ERG_OUT_CANCELLED(*)        likewise
 * An interrupted task that ends by itself is finished by its worker: CANCELLED when ERG_STATE_CANCEL is set in
 * its state, else TIMEOUT.
 */
#ifndef ERG_ENGINE_POOL_H
#define ERG_ENGINE_POOL_H

#include "base/error.h"
#include "engine/engine.h"
#include "engine/runtime.h"
#include "engine/worker.h"
#include "launch/reach.h"
#include "table/layout.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct erg_table;
struct erg_member;
struct erg_pool;

/* A place on another host, or a process of its own beside us: see remote.h. Everything is copied. */
struct erg_place_spec {
    const char *name; /* as the user wrote it: every word about it names it so */
    const char *
        host; /* what resources={"host": …} may call it besides, names with a line feed between them; or NULL */
    int slots; /* workers; 0: what it has cores */
    uint16_t port_low,
        port_high; /* where its agent may listen for the other places' agents; 0: nowhere */
    struct erg_reach_spec reach; /* how to get there; name, session and timeout are filled in */
    const char *tag;             /* what the agent must have as well, see agent.h; NULL: anything */
    const void *init;            /* start-up message for its workers */
    size_t init_len;
    int64_t connect_ns; /* for the first connection; 0: 60 s */
    int64_t
        reconnect_ns; /* how long a broken link may stay broken before its tasks count as lost; 0: 30 s */
};

enum erg_place_state {
    ERG_PLACE_OFF,      /* not wanted */
    ERG_PLACE_STARTING, /* connecting for the first time */
    ERG_PLACE_UP,
    ERG_PLACE_BROKEN, /* the link is; connecting again */
    ERG_PLACE_FAILED, /* it did not come up */
    ERG_PLACE_LOST,   /* it was up, and will not be again */
    ERG_PLACE_LEAVING,
};

struct erg_place_info {
    char name[256], host[128], python[64];
    enum erg_place_state state;
    uint32_t slots, cores, leased;
    int32_t pid; /* of the agent, over there */
    int64_t rtt_ns, mean_ns;
    uint64_t tasks, tasks_lost, bytes_in, bytes_out, busy_ns;
    uint64_t bytes_direct;           /* that came straight from other places */
    char words[ERG_ERROR_TEXT_SIZE]; /* FAILED, LOST: why */
};

/* What a pool is to be. Zeroed fields take the defaults. */
struct erg_pool_spec {
    int processes;                       /* worker processes; */
    int threads;                         /* worker threads */
    const struct erg_place_spec *places; /* agents elsewhere */
    int places_len;                      /* one of the three must be positive */
    const void *
        init; /* start-up message for workers, copied into the table; see erg_table_header.init_* */
    size_t init_len;
    int64_t
        stop_limit_ns; /* a worker stopped (SIGSTOP) for so long is killed; default 30 s, negative: never */
    int64_t grace_ns;         /* between an interruption and SIGKILL; default 1 s */
    int max_tasks_per_worker; /* a worker process is replaced after so many tasks; 0: never */
    int drops_late; /* a task whose time is over in a thread that cannot be stopped is overdue
                             (erg_record_overdue), which whoever enters tasks has to see to */
    int64_t
        lineage_bytes; /* of arguments kept at most to make results again that are lost with their place; 0: an
                              eighth of the memory there is; negative: none */
    uint64_t number;      /* what its tasks call it, when it stands for a pool elsewhere; else 0 */
    uint64_t asks;        /* erg_ask_connect(), for its workers; 0: nobody is to be asked */
    uint32_t records_max; /* 0: the table's default */
    uint64_t arena_bytes; /* 0: the table's default */
    void *user;           /* the runtime's own: erg_pool_user() */
};

/* Opens a pool and returns at once: workers come up in the background, tasks may be entered right away. */
int erg_pool_open(struct erg_engine *engine, const struct erg_runtime *runtime,
                  const struct erg_pool_spec *spec, struct erg_pool **pool, struct erg_error *err);

struct erg_table *erg_pool_table(struct erg_pool *pool);
struct erg_member *erg_pool_member(struct erg_pool *pool); /* member 0 */
void *erg_pool_user(struct erg_pool *pool);

/* May tasks be entered? 0; ERG_ECLOSED; ERG_ELAUNCH with the reason after the pool broke; ERG_EFORKED. Costs
 * one load: meant to be called before every submission. */
int erg_pool_check(struct erg_pool *pool, struct erg_error *err);

/* Waits until `count` workers are up (all that are wanted if fewer). timeout_ns < 0: no limit. 0, ERG_ETIMEOUT,
 * ERG_EINTR when a signal handler ran in this thread, ERG_ELAUNCH with the reason when the pool broke. */
int erg_pool_wait_up(struct erg_pool *pool, int count, int64_t timeout_ns, struct erg_error *err);

/* No new tasks from now on (erg_pool_check says ERG_ECLOSED); those entered are run. Idempotent. */
int erg_pool_close(struct erg_pool *pool);

/* After close or terminate: waits until every task is done and every worker gone. Errors as erg_pool_wait_up;
 * ERG_ESTATE when the pool is open. May be called again after ERG_EINTR or ERG_ETIMEOUT. */
int erg_pool_join(struct erg_pool *pool, int64_t timeout_ns, struct erg_error *err);

/* Closes, cancels every task that is not done (outcome CANCELLED, those running as well: their workers get
 * grace_ns to stop, then SIGKILL) and waits until the worker processes are gone, a bounded time. A worker
 * thread that will not stop is left behind: it touches only the table, which it keeps a reference of. Idempotent. */
int erg_pool_terminate(struct erg_pool *pool, struct erg_error *err);

/* Makes a closed or terminated and joined pool usable again, with fresh workers, which get init_len bytes of init as their
 * start-up message (those of this machine; none: the one they had). ERG_ESTATE while open, ERG_ENOMEM. */
int erg_pool_restart(struct erg_pool *pool, const void *init, size_t init_len,
                     struct erg_error *err);

/* Terminates if need be and frees. The pool may not be used in any thread. NULL is fine. */
void erg_pool_free(struct erg_pool *pool);

/* Changes the number of workers; surplus ones leave after their task. Negative: leave that number as it is. */
int erg_pool_resize(struct erg_pool *pool, int processes, int threads, struct erg_error *err);

/* The numbers wanted now. */
void erg_pool_size(struct erg_pool *pool, int *processes, int *threads);

/* Cancels a task, wherever it is. 1: it had not begun, it is done with outcome CANCELLED. 2: it runs, its worker
 * has been asked to interrupt it and, if a process, is killed and replaced when it does not stop within grace_ns.
 * 0: it was done already, or runs in a thread that cannot be interrupted (it goes on). Negative: erg_err. */
int erg_pool_cancel(struct erg_pool *pool, erg_handle task);

/* To be called once for every submission (or batch) whose records have timeout_ns set: the least of them. The
 * loop thread keeps an eye on run times only after that. Costs one load when a shorter one was announced. */
void erg_pool_expect_timeout(struct erg_pool *pool, uint64_t timeout_ns);

/* Whoever watches records finish: `fn` is called with handles of records that had ERG_STATE_NOTIFY set, from
 * a thread of the pool's own (all signals blocked; started by this call; not the loop thread, so fn may block, for
 * instance on an interpreter's lock). One call at a time; handles in order of completion. The first call sets it,
 * later ones return ERG_ESTATE. */
int erg_pool_on_complete(struct erg_pool *pool,
                         void (*fn)(void *ctx, const erg_handle *tasks, size_t count), void *ctx,
                         struct erg_error *err);

enum erg_worker_state {
    ERG_W_STARTING, /* asked for, not up yet */
    ERG_W_IDLE,
    ERG_W_BUSY,
    ERG_W_STOPPED, /* by SIGSTOP or a debugger */
    ERG_W_LEAVING,
};

struct erg_worker_info {
    uint32_t member;
    enum erg_member_kind kind;
    enum erg_worker_state state;
    pid_t pid;       /* 0: not known yet; the owner's own for threads */
    erg_handle task; /* what it runs, ERG_HANDLE_NONE */
    uint64_t tasks;  /* finished by it */
    uint64_t busy_ns;
    uint64_t bytes_in, bytes_out;
};

/* Tasks that its places should have on their way besides one for each worker, because links are long. One load. */
uint32_t erg_pool_beyond(const struct erg_pool *pool);
/* Workers of its places that are up. */
int erg_pool_places_up(struct erg_pool *pool);
/* The pool's places, likewise. */
int erg_pool_places(struct erg_pool *pool, struct erg_place_info *out, int max);
/* The queue of tasks that only the named places may run, as erg_remote_queue (remote.h). */
int erg_pool_queue(struct erg_pool *pool, const char *const *names, int n, uint32_t *queue,
                   struct erg_error *err);

/* Fills at most `max` entries, returns how many workers there are (may be more than max). */
int erg_pool_workers(struct erg_pool *pool, struct erg_worker_info *out, int max);

struct erg_pool_counts {
    uint64_t workers_started; /* processes, since the pool was opened */
    uint64_t workers_lost;    /* died without being asked to */
    uint64_t tasks_lost;      /* that many losses of running tasks, */
    uint64_t tasks_retried;   /* of which so many were run again */
    uint64_t tasks_interrupted;
    int workers_up;
    int64_t first_up_ns; /* from open to the first worker up; 0: none yet */
};
void erg_pool_counts(struct erg_pool *pool, struct erg_pool_counts *out);

/* A worker thread's place in the pool, asked for inside erg_runtime.start_thread. It stays valid until
 * erg_pool_thread_main was called with it, even if the pool is freed before the thread gets that far. */
struct thread_worker;
struct thread_worker *erg_pool_thread_seat(struct erg_pool *pool, uint32_t member);
/* Body of a worker thread: serves the pool until told to leave, then takes its leave of the pool. Called once for each seat
 * whose thread was started, as the last use of it; ops NULL: leaves at once. */
int erg_pool_thread_main(struct thread_worker *seat, const struct erg_worker_ops *ops, void *ctx);

#endif
