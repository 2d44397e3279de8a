/* engine/private: what the files of this room know about each other.
 *
 * One lock, engine->lock, guards everything here that is not marked otherwise. The loop thread holds it while it
 * handles an event; callers hold it for a few lines. No runtime callback is called and no wait happens under it, so
 * that fork() (whose handlers take it) never waits long and never inherits it taken.
 *
 *     engine.c    loop thread, list of pools, what a fork does to them (forks.c: the process's list of engines)
 *     nursery.c   the zygotes as the engine sees them: starting, ordering forks, reading answers
 *     crew.c      worker processes of a pool: from the order to the end, and what is lost with one
 *     limits.c    interrupting tasks: time limits, cancellation, workers that stand still
 *     tend.c      looking after one pool: applies the scheduler's actions, closing, terminating, breaking
 *     complete.c  the thread that hands out completions
 *     pool.c      what callers call
 *     threads.c   worker threads
 */
#ifndef ERG_ENGINE_PRIVATE_H
#define ERG_ENGINE_PRIVATE_H

#include "engine/engine.h"
#include "engine/forks.h"
#include "engine/pool.h"
#include "engine/remote.h"
#include "engine/watch.h"
#include "launch/spawn.h"
#include "os/standing.h"
#include "sched/sched.h"
#include "table/member.h"
#include "table/table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define NEVER INT64_MAX
#define ERG_LEAVE_EXTRA_NS (5 * SECOND) /* for a worker that was asked to leave, beyond the grace */

struct erg_engine {
    pthread_mutex_t lock;
    pid_t owner;
    _Atomic int foreign; /* we are a forked child of the owner */
    int owner_pidfd;
    int bell_fd; /* eventfd; written by anybody, read by the loop */
    pthread_t thread;
    uv_loop_t loop;
    uv_timer_t timer;
    struct erg_watch *bell;
    int stopping;
    struct erg_pool *pools;
    struct erg_zygote *zygotes;
    uint32_t next_order;
    int64_t goodbye_at; /* when stopping began */
    struct erg_fork_entry forks;
};

/* A zygote: one for every runtime that was ever asked for a worker process, and for every standing (os/standing.h) that
 * the program had when it opened a pool that is still there. */
enum zygote_state { Z_NONE, Z_STARTING, Z_READY };

struct erg_zygote {
    struct erg_engine *engine;
    const struct erg_runtime *runtime;
    struct erg_standing standing; /* of the program, when its first pool was opened */
    int outdated; /* the program has changed its own since: the next pool gets another */
    enum zygote_state state;
    struct erg_spawned process;
    struct erg_watch *sock, *life;
    int64_t started_at;
    uint32_t generation; /* counts the processes that were this zygote */
    int64_t probe_at;
    int stopped_probes;
    struct erg_error failure; /* its own last words, then why it ended */
    struct erg_zygote *next;
};

enum worker_stage {
    W_NONE,
    W_WANTED,   /* has a member number; the order to fork could not be sent yet */
    W_ORDERED,  /* ordered from the zygote */
    W_LIMBO,    /* ordered from a zygote that has died since: may exist or not */
    W_STARTING, /* exists */
    W_UP,
};

struct worker {
    struct erg_pool *pool;
    uint32_t id;     /* in pool->workers; the scheduler's name for it */
    uint32_t member; /* its number in the table */
    uint32_t serial; /* of the table's slot, to know whether the slot is still its own */
    uint32_t order;  /* unique in the engine */
    uint32_t zygote; /* generation of the zygote it was ordered from */
    enum worker_stage stage;
    int up_early; /* it said UP before the zygote said FORKED */
    int stray;    /* the scheduler has given it up; it is killed if it turns up */
    pid_t pid;
    int pidfd; /* -1; owned by `life` */
    struct erg_watch *life;
    int64_t ordered_at, up_at;
    int64_t dead_at; /* the pidfd said so; its status may still be on the way. 0: alive */
    int64_t kill_at; /* SIGKILL is due; NEVER */
    int stopped;     /* the last probe found it in state T */
    int stop_asked;  /* to leave after its task */
    int killed;      /* by us, and why: */
    enum erg_asked killed_why;
    erg_handle killed_task;
    erg_handle asked_task; /* interrupted, not over yet; ERG_HANDLE_NONE */
    enum erg_asked asked_why;
    char unable[ERG_ERROR_TEXT_SIZE]; /* why it cannot start, in its own words */
};

/* A thread of the owner that serves a pool. Freed by whichever of the two ends last. */
struct thread_worker {
    uint32_t member;
    uint32_t serial;
    _Atomic int up;
    _Atomic int left; /* it touches nothing of the pool's any more */
    _Atomic int refs;
    struct table_holder *holder;
    int bell_fd; /* its own descriptor */
    int stop_asked;
    erg_handle asked_task;
    struct erg_error unable; /* why it could not be set up; written before `left` */
    struct thread_worker *next;
};

/* The table outlives a pool when a thread that will not stop is left behind. */
struct table_holder {
    struct erg_table *table;
    _Atomic int refs;
    _Atomic int setups_failed; /* of threads, in a row */
};

enum pool_state {
    P_OPEN,
    P_CLOSING,     /* no new tasks; runs what is there */
    P_LEAVING,     /* everything is done, workers were asked to leave */
    P_TERMINATING, /* tasks are cancelled, workers killed */
    P_DOWN,        /* no worker is left */
};

struct interrupt_request {
    erg_handle task;
    uint32_t member;
};

struct erg_pool {
    struct erg_engine *engine;
    const struct erg_runtime *runtime;
    struct erg_zygote *zygote; /* NULL without processes */
    struct table_holder *holder;
    struct erg_table *table;
    struct erg_member *owner;   /* member 0 */
    struct erg_member *janitor; /* the loop's own member */
    struct erg_sched *sched;    /* of the worker processes: place 0 */
    struct erg_remote *remote;  /* places elsewhere; NULL: none */
    struct erg_pool *next;
    void *user;
    enum pool_state state;
    _Atomic int gate;      /* what erg_pool_check says */
    _Atomic uint32_t news; /* futex word: counts up with every change somebody may wait for */
    int64_t stop_limit_ns, grace_ns;
    uint32_t max_tasks;
    int want_processes, want_threads, drops_late;
    int broken;               /* no worker process comes up any more */
    struct erg_error failure; /* the latest reason why one did not */
    struct worker *workers;
    uint32_t workers_max;
    struct thread_worker *threads;
    int threads_len;
    int threads_failed; /* so many could not be set up, since the pool was opened */
    int threads_up;     /* when last looked at */
    int places_up;      /* likewise: workers of places */
    int places_broken;  /* none of them is left */
    int places_were_up; /* one was, since the pool was opened */
    struct interrupt_request *requests;
    size_t requests_len, requests_cap;
    _Atomic uint64_t least_timeout_ns; /* UINT64_MAX: no task has one */
    int64_t opened_at, state_at;       /* state_at: when `state` began */
    int64_t probe_at, timeouts_at, sched_at;
    _Atomic int dozing;   /* time limits are looked at once a second only: nothing was running */
    int idle_looks;       /* at time limits, in a row, that found nothing to do */
    int64_t due;          /* when the loop must look again */
    int callbacks;        /* the loop is inside a callback of the runtime, for this pool */
    uint64_t quiet_tasks; /* tasks finished when it was found quiet last; UINT64_MAX: it was not */
    uint64_t tasks_of_gone;
    uint64_t oom_kills; /* erg_cpu_oom_kills when it was asked last */
    struct erg_pool_counts counts;
    /* complete.c */
    void (*on_complete)(void *ctx, const erg_handle *tasks, size_t count);
    void *on_complete_ctx;
    pthread_t completer;
    _Atomic int completer_stop;
};

/* engine.c */
void erg_engine_ring(struct erg_engine *e); /* any thread, async-signal-safe */
void erg_engine_look(
    struct erg_engine *e); /* loop thread, lock not held: what follows every event */

/* nursery.c: loop thread, lock held */
/* Any thread, lock held: for a pool that this thread opens. Its workers have what a child of the thread would have. */
struct erg_zygote *erg_nursery_get(struct erg_engine *e, const struct erg_runtime *runtime);
/* Says goodbye to those that no pool has and none will get. */
void erg_nursery_tidy(struct erg_engine *e);
/* 0: ordered; ERG_EAGAIN: later; else the worker cannot be started, *err says why. */
int erg_nursery_order(struct erg_zygote *z, struct worker *w, struct erg_error *err);
int64_t erg_nursery_probe(struct erg_zygote *z, int64_t now); /* returns when to look again */
void erg_nursery_goodbye(struct erg_zygote *z);
void erg_nursery_free(struct erg_zygote *z);
int erg_nursery_gone(const struct erg_zygote *z);
/* Is the process that this worker was ordered from gone? */
int erg_nursery_left(const struct erg_zygote *z, const struct worker *w);

/* crew.c: loop thread, lock held */
void erg_crew_start(struct erg_pool *p, uint32_t count, int64_t now);
void erg_crew_send_orders(struct erg_pool *p, int64_t now);
void erg_crew_on_forked(struct worker *w, pid_t pid, int pidfd, int64_t now);
void erg_crew_on_up(struct worker *w, int64_t now);
void erg_crew_on_exited(struct worker *w, int status, int64_t now); /* -1: status unknown */
void erg_crew_on_start_failed(struct worker *w, const char *why, int64_t now);
void erg_crew_on_zygote_gone(struct erg_zygote *z, int was_ready, int64_t now);
void erg_crew_kill(struct worker *w, enum erg_asked why, erg_handle task);
void erg_crew_stop(struct worker *w);
int erg_crew_size(const struct erg_pool *p); /* processes there are or may be */
void erg_crew_look(struct erg_pool *p, int64_t now);
struct worker *erg_crew_by_order(struct erg_engine *e, uint32_t order);
struct worker *erg_crew_by_pid(struct erg_engine *e, pid_t pid);
struct worker *erg_crew_by_member(struct erg_pool *p, uint32_t member);

/* limits.c: loop thread, lock held */
void erg_limits_look(struct erg_pool *p, int64_t now);
void erg_limits_interrupt(struct worker *w, erg_handle task);
void erg_limits_kill(struct worker *w, enum erg_asked why, erg_handle task);
int erg_limits_runs(const struct erg_pool *p, uint32_t member, erg_handle task);
char erg_limits_process_state(pid_t pid); /* letter of /proc/PID/stat, 0 if it is gone */

/* tend.c: loop thread, lock held */
void erg_tend(struct erg_pool *p, int64_t now);
void erg_tend_all(struct erg_engine *e);
void erg_pool_set_state(struct erg_pool *p, enum pool_state state, int64_t now);
void erg_pool_news(struct erg_pool *p);
/* Ends ready tasks without running them. 1: there may be more. */
int erg_pool_drain(struct erg_pool *p, uint32_t queues, enum erg_outcome outcome, const char *text);
/* Why nobody will run its tasks: ERG_ELOST or ERG_ELAUNCH. */
int erg_pool_broken_code(const struct erg_pool *p);

/* threads.c */
int erg_threads_start(struct erg_pool *p, int count,
                      struct erg_error *err);        /* caller's thread, lock not held */
void erg_threads_stop(struct erg_pool *p, int keep); /* lock held */
int erg_threads_reap(struct erg_pool *p);            /* lock held; how many are left */
int erg_threads_broken(const struct erg_pool *p);    /* lock held; none could be set up */
int erg_threads_unborn(
    const struct erg_pool *p); /* lock held; all that are left are still in their setup */
struct thread_worker *erg_threads_by_member(struct erg_pool *p, uint32_t member);
void erg_threads_give_up(struct erg_pool *p);
void erg_threads_leave_behind(struct erg_pool *p);
void erg_holder_unref(struct table_holder *h);

/* complete.c */
void erg_completer_stop(struct erg_pool *p); /* lock not held */

#endif
