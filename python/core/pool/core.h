/* core/pool/core: the state of the room, a pool as this process sees it, and the options of a call.
 *
 * Everything needs the GIL unless a comment says otherwise. */
#ifndef ERG_CORE_POOL_CORE_H
#define ERG_CORE_POOL_CORE_H

#include "../compat.h"
#include "../pickle/pickle.h"
#include "../state.h"

#include "engine/cut.h"
#include "engine/engine.h"
#include "engine/pool.h"
#include "engine/worker.h"
#include "os/clock.h"
#include "sched/balance.h"
#include "table/arena.h"
#include "table/away.h"
#include "table/bell.h"
#include "table/claim.h"
#include "table/idle.h"
#include "table/member.h"
#include "table/payload.h"
#include "table/range.h"
#include "table/record.h"
#include "table/table.h"

#include <time.h>

struct pool_state {
    PyObject *module; /* borrowed: it owns this */
    PyTypeObject *pool_type, *future_type, *buffer_type, *handle_type, *imap_type;
    struct erg_engine *engine; /* made with the first pool; NULL before and after shutdown */
    struct pl_core *cores;     /* those of pools opened here */
    uint64_t next_uid;
    int ending;                /* cores that are just being ended */
    _Atomic int inside;        /* threads that may touch the engine without holding the GIL */
    unsigned generation;       /* of the engine: shutdown() counts it up */
    int exiting;               /* the interpreter is on its way out */
    unsigned long main_thread; /* then: the one that leads there */
    int tracing;
    uint64_t trace_since_ns;
    PyObject *trace; /* events of pools that are gone; list or NULL */
    struct erg_runtime
        runtimes[3]; /* by what the zygote imports before it forks: ergon/_worker.py */
    char **zygote_argv[3];
};

struct pl_argblock;
struct pl_chunk;
struct pl_hold;
struct pl_future;
struct pl_worker;

/* Between two looks at something another thread is busy with. Without the GIL. */
static inline void pl_nap(void) {
    struct timespec nap = {.tv_nsec = 100000};
    nanosleep(&nap, NULL);
}

/* --- a pool as this process sees it ------------------------------------------------------------------ */

struct pl_fn;
struct pl_orphan;

/* Shared by the Pool objects (views) on one pool, its futures, buffers and handles. Counted under the GIL. */
struct pl_core {
    Py_ssize_t refs; /* users: when none is left the pool ends */
    Py_ssize_t
        holds; /* one for the users, one for each worker thread: when none is left this is freed */
    struct pl_core *sibling; /* in state->cores */
    int gone;                /* the engine was shut down: nothing of it may be touched */
    int bound;               /* a reference of the table is held */
    int ending;              /* the last user is gone: nobody becomes one any more */
    struct pool_state *state;
    /* Strong, and unknown to the collector, which at the end of the interpreter may clear our types, and with them the
     * module and its state, before the objects that still need both. */
    PyObject *module;
    struct erg_pool *pool; /* NULL in a worker: the pool it works for */
    unsigned generation;   /* of the engine it belongs to */
    struct erg_table *table;
    struct erg_member *member; /* tasks are entered through it */
    uint64_t uid;              /* same number in every process */
    int processes, threads;
    int places;          /* hosts */
    int by_reference;    /* only threads: objects go over as they are */
    int closing;         /* close() was called: no new calls, maps that have begun go on */
    struct pl_job *jobs; /* maps and iterators that are alive */
    struct pl_fn *fns;   /* most recently used first */
    struct pl_fn *loose; /* with something mutable inside, the latest first */
    unsigned nfns;
    uint64_t next_uid; /* of functions and put objects */
    PyObject
        *path; /* sys.path as workers know it; its block in the arena, 0: what they started with */
    uint64_t path_offset;
    struct pl_orphan *orphans; /* records whose future is gone */
    uint32_t norphans, orphan_cap, orphan_cursor;
    struct pl_future **holders; /* futures whose tasks keep predecessors alive; borrowed */
    uint32_t nholders, holder_cap, holder_cursor;
    uint32_t freeing;   /* calls being freed, one because of the other */
    PyObject *watched;  /* record index -> Future that wants to hear of its end */
    PyObject *fn_names; /* name of a function -> its place in the arena, for traces */
    PyObject
        *thread_setup; /* (function, arguments) each worker thread calls first; strong or NULL */
    PyObject *unable;  /* the traceback of the latest that raised; strong or NULL */
    PyObject *asked;   /* (place, bytes) -> bytes: what workers elsewhere ask; strong or NULL */
    struct pl_worker *thread_workers;
    _Atomic(struct pl_trace_lost *)
        trace_lost;        /* runs that ended with their worker, newest first */
    struct pl_hold *views; /* of shared objects, that live here */
    struct pl_blob *blobs; /* shared objects whose owner let go while workers still held them */
};

/* A core for a pool it opens, or for the one this process works for. NULL with an exception. */
struct pl_core *pl_core_new(struct pool_state *state, const struct erg_pool_spec *spec,
                            PyObject *thread_setup, PyObject *asked, int preload);
void pl_core_bind(struct pl_core *core, struct erg_pool *pool);
void pl_core_release(struct pl_core *core); /* of a hold */
struct pl_core *pl_core_attach(struct pool_state *state, struct erg_member *member);
struct pl_core *pl_core_ref(struct pl_core *core);
void pl_core_unref(struct pl_core *core);
/* The same in a thread that ending the pool joins: if it is the last reference, the main thread does it. */
void pl_core_unref_aside(struct pl_core *core);
/* 1 in a forked child of the process that made it, and after the end of the engine: hands off. */
static inline int pl_core_foreign(const struct pl_core *core) {
    return core->gone || atomic_load_explicit(&core->table->forked, memory_order_relaxed) != 0;
}
/* The pool, while the engine has it and this process may use it; else NULL: in a worker, in a forked child, after the end. */
static inline struct erg_pool *pl_core_pool(const struct pl_core *core) {
    return pl_core_foreign(core) ? NULL : core->pool;
}
/* In the place of Py_BEGIN_ALLOW_THREADS and its end around calls of the engine: shutdown() waits for who is inside before
 * it frees what they use. Afterwards core->pool may be NULL: ask pl_core_pool again. */
PyThreadState *pl_engine_enter(struct pool_state *state);
void pl_engine_leave(struct pool_state *state, PyThreadState *saved);
/* 0 if tasks may be entered, else -1 with PoolClosed set (closed, or a fork's child), or what pl_raise_broken raises. */
int pl_core_check(struct pl_core *core);
/* LaunchError, because of what the threads' initializer raised if that is known, or WorkerLost: as rc and err of the engine
 * say. NULL. */
PyObject *pl_raise_broken(struct pl_core *core, int rc, const struct erg_error *err);
/* At the interpreter's end daemon threads that still use a pool end without a word, as SystemExit makes them: 1 if it was
 * set, in the place of an exception that says the pool is gone. */
int pl_exit_quietly(struct pool_state *state);

/* Workers that can run tasks by value: here, and at places that are up. */
uint32_t pl_core_workers(struct pl_core *core);

/* Chunks to have on their way besides, for the sake of long links. */
static inline uint32_t pl_core_beyond(const struct pl_core *core) {
    return core->places && !pl_core_foreign(core) && core->pool ? erg_pool_beyond(core->pool) : 0;
}

/* Per call options; pool.options() keeps one. */
struct pl_options {
    Py_ssize_t chunksize; /* 0: adapts */
    double timeout;       /* seconds a task may run, <= 0: any */
    int retries;
    int readonly;
    int pure;       /* a promise: nobody notices a second run */
    int functional; /* results as ergon/_functional.py writes them */
    int stays;      /* nobody waits for the result yet: a large one may stay on another host */
    int queue;      /* ERG_QUEUE_* */
    PyObject
        *hosts; /* tuple of names that are yet to become a queue: pl_options_resolve; or NULL */
    PyObject *progress;             /* strong or NULL */
    PyObject *stage_in, *stage_out; /* as ergon/_stage.py has checked them; strong or NULL */
};
/* The number of seconds given as `what` says, -1 for None and for what is as long as for ever; below 0 it counts as 0. 0; -1
 * with TypeError or ValueError. */
enum { PL_FOREVER_S = 1000000000 };
int pl_seconds(PyObject *value, const char *what, double *seconds);
/* Takes known keywords out of (values, kwnames); an unknown one raises TypeError. 0 or -1. */
int pl_options_parse(struct pl_options *options, PyObject *const *values, PyObject *kwnames);
/* What hosts it means in this pool. 0, or -1 with an exception. */
int pl_options_resolve(struct pl_core *core, struct pl_options *options);
int pl_options_resources(struct pl_options *options, PyObject *resources);
PyObject *pl_check_options(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames);
/* What is entered for f: f itself, or what takes its files to other hosts and back around it. New reference, or NULL
 * with an exception. */
PyObject *pl_options_staged(struct pl_core *core, const struct pl_options *options, PyObject *f);
void pl_options_copy(struct pl_options *to, const struct pl_options *from);
void pl_options_clear(struct pl_options *options);

#endif
