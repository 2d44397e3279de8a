/* core/pool: pools, futures and maps for Python, on the engine's tables.
 *
 * Shared by the files of this room alone; module.c sees the glue at the end. Everything needs the GIL unless a
 * comment says otherwise.
 *
 *   state.c        module state, start and end of the engine
 *   payload.c      arguments and results as bytes and buffers in shared memory
 *   buffer_type.c  the object behind an array whose memory lies in the arena
 *   function.c     callables that travel once
 *   call.c         one call: encode, submit, decode, free
 *   future_type.c  Future
 *   job.c          many calls: chunks of items, cutting, loss, collection
 *   job_items.c    chunks whose items go by reference
 *   map.c          map and amap; imap_type.c imap and uimap
 *   pool_type.c    Pool
 *   handle_type.c  Handle (put)
 *   worker.c       what a worker does with a record; worker_chunk.c the same for chunks, worker_reference.c by reference;
 *                  fresh.c what results refer to
 *   runtime.c      how workers of Python come into being
 *   server.c       servers and their keys
 */
#ifndef ERG_CORE_POOL_H
#define ERG_CORE_POOL_H

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
    unsigned nfns;
    uint64_t next_uid; /* of functions and put objects */
    PyObject
        *path; /* sys.path as workers know it; its block in the arena, 0: what they started with */
    uint64_t path_offset;
    struct pl_orphan *orphans; /* records whose future is gone */
    uint32_t norphans, orphan_cap, orphan_cursor;
    struct pl_future **holders; /* futures whose tasks keep predecessors alive; borrowed */
    uint32_t nholders, holder_cap, holder_cursor;
    PyObject *watched;  /* record index -> Future that wants to hear of its end */
    PyObject *fn_names; /* name of a function -> its place in the arena, for traces */
    PyObject
        *thread_setup; /* (function, arguments) each worker thread calls first; strong or NULL */
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
/* 0 if tasks may be entered, else -1 with PoolClosed set (closed, or a fork's child). */
int pl_core_check(struct pl_core *core);
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
    int functional; /* results as ergon/_functional.py writes them */
    int stays;      /* nobody waits for the result yet: a large one may stay on another host */
    int queue;      /* ERG_QUEUE_* */
    PyObject
        *hosts; /* tuple of names that are yet to become a queue: pl_options_resolve; or NULL */
    PyObject *progress;             /* strong or NULL */
    PyObject *stage_in, *stage_out; /* as ergon/_stage.py has checked them; strong or NULL */
};
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

/* --- payload.c ------------------------------------------------------------------------------------------
 * A payload in shared memory, see table/payload.h: here the stream is a bare pickle, and these are flags of ours. */
enum {
    PL_HAS_KWARGS = 2,
    PL_IS_SINGLE = 4,
    PL_IS_STAR = 8,
    PL_IS_READONLY = 16,
    PL_IS_FUNCTIONAL =
        32 /* what it gives back keeps identity and exceptions whole: ergon/_functional.py */
};

/* Measured: through map, arrays of 16 and 32 KB take half the time or less out of band, and at 10 KB it makes no difference;
 * nor does copying or mapping from 256 KB to 1 MB. bench/arrays.py has rows on either side of both, through pipe. */
#define PL_OUT_OF_BAND_MIN (12 * 1024)
#define PL_COPY_MAX                                                                                \
    (1024 * 1024) /* shared buffers up to here are copied, larger ones mapped copy-on-write */

/* Private memory for what is copied elsewhere afterwards; reused. */
struct pl_scratch {
    char *buf;
    size_t cap;
};
struct pl_writer {
    struct pk_sink sink;
    struct pk_hooks hooks;
    struct pl_core *core;
    struct erg_member *member;
    struct erg_record *record; /* its inline bytes are used while they do; NULL: arena only */
    uint32_t inline_start;
    uint64_t block; /* arena block written to, 0 while inline */
    struct erg_ref *entries;
    uint32_t nentries, entry_cap;
    struct erg_ref few[2];
    uint32_t entry_flags; /* added to every entry */
    PyObject *futures;    /* list of futures met among the arguments, or NULL; strong, and held */
    PyObject *failed;     /* the exception of one that had failed already, or NULL; strong */
    PyObject *blobs;      /* list of Handles met, or NULL; strong: they live as long as the task */
    int settle;           /* results: futures are waited for */
    int keeps_readonly;   /* what is read-only arrives so */
    struct pl_scratch *scratch;
};
/* 0 or -1. `head` is the flag byte. */
int pl_writer_init(struct pl_writer *writer, struct pl_core *core, struct erg_member *member,
                   struct erg_record *record, uint32_t inline_start, int head);
/* Writes to scratch memory instead; only the entries' buffers go to the arena. */
int pl_writer_init_scratch(struct pl_writer *writer, struct pl_core *core,
                           struct erg_member *member, struct pl_scratch *scratch);
/* Another task the payload's task has to come after: a future. 0 or -1. */
int pl_writer_after(struct pl_writer *writer, PyObject *future);
int pl_writer_dump(struct pl_writer *writer, PyObject *obj, const char *root);
/* Writes the entries and gives the payload to *out. After 0 the writer owns nothing in the arena any more. */
int pl_writer_finish(struct pl_writer *writer, struct erg_payload *out);
/* Forgets entries from number `from` on and frees their blocks. */
void pl_writer_drop_entries(struct pl_writer *writer, uint32_t from);
void pl_writer_fini(struct pl_writer *writer); /* always; frees blocks unless finished */
int pl_sink_grow(struct pk_sink *sink, size_t need);

enum pl_read_mode {
    PL_READ_TASK,     /* arguments of the task that runs here: private and writable */
    PL_READ_READONLY, /* the same, as read-only views */
    PL_READ_RESULT,   /* the caller's own from now on */
    PL_READ_PEEK,     /* somebody else's result: copies */
    PL_READ_BLOB,     /* a put object: read-only views that keep the blob */
};
struct pl_reader {
    struct pk_source source;
    struct pl_core *core;
    struct erg_member *member;
    struct erg_ref *entries;
    uint32_t nentries, next;
    enum pl_read_mode mode;
    PyObject *keep;  /* list of buffers handed out in TASK modes, or NULL */
    PyObject *owner; /* PL_READ_BLOB: what keeps the memory; borrowed */
};
void pl_reader_init(struct pl_reader *reader, struct pl_core *core, struct erg_member *member,
                    const char *bytes, size_t len, enum pl_read_mode mode);
PyObject *pl_reader_load(struct pl_reader *reader);
/* After the task dropped its arguments: what it still holds becomes its own. */
void pl_reader_fini(struct pl_reader *reader);
/* Buffers of an object loaded inside the arguments (a predecessor's result) end with the task as well. 0 or -1. */
int pl_reader_adopt(struct pl_reader *reader, struct pl_reader *inner);
/* The first predecessor that did not succeed, or NULL. */
struct erg_record *pl_reader_failed(struct pl_reader *reader);
int pl_payload_flags(const char *bytes);
const char *pl_payload_bytes(struct pl_core *core, const struct erg_record *record,
                             const struct erg_payload *payload);
/* Frees block and entries of a payload of a record. */
void pl_payload_free(struct pl_core *core, struct erg_record *record, struct erg_payload *payload);

#define PL_ATOM_MAX 80 /* bytes a stream of one atom takes at most; atom.h */

/* --- buffer_type.c ------------------------------------------------------------------------------------- */
enum pl_buffer_kind { PL_BUFFER_LENT, PL_BUFFER_OWNED, PL_BUFFER_MAPPED };
/* A bytes-like object over arena memory. LENT: the task's while it runs; OWNED: freed with the object;
 * MAPPED: private copy-on-write mapping, unmapped with the object. `keep` is held (may be NULL). */
PyObject *pl_buffer_new(struct pl_core *core, struct erg_member *member, uint64_t offset,
                        uint64_t len, int readonly, enum pl_buffer_kind kind, PyObject *keep);
void pl_buffer_take(PyObject *buffer); /* LENT -> OWNED */
uint64_t pl_buffer_offset(PyObject *buffer);
/* MAPPED: every page becomes its own, so that the block may be used for something else. 1, or 0: not mapped. */
int pl_buffer_detach(PyObject *buffer);
int pl_buffer_register(struct pool_state *state);

/* --- function.c ------------------------------------------------------------------------------------------ */
/* Ours: counted by the tasks that use it. */
struct pl_fn {
    struct pl_fn *next;
    Py_ssize_t refs;
    struct pk_callee callee;
    int has_callee;
    uint64_t offset; /* of the head; 0 by reference */
    uint64_t uid;
    PyObject *object;  /* by reference: the callable itself; strong */
    PyObject *handles; /* list of put handles it refers to */
};
/* A counted reference; NULL with an exception. */
struct pl_fn *pl_fn_get(struct pl_core *core, PyObject *callable);
/* A name for something that travels once: unique in the pool. */
uint64_t pl_uid(struct pl_core *core, struct erg_member *member);
/* What a trace calls a callable: where in the arena its name is, 0 when that cannot be; and the name there. */
uint64_t pl_fn_name_of(struct pl_core *core, struct erg_member *member, PyObject *callable);
PyObject *pl_fn_name(struct pl_core *core, uint64_t offset);
void pl_fn_unref(struct pl_core *core, struct pl_fn *fn);
void pl_fn_clear(struct pl_core *core);
/* In a worker, before a function is loaded: sys.path as it was when the function was first met. 0 or -1. */
int pl_fn_apply_path(struct pl_worker *worker, uint64_t offset);

/* --- call.c ----------------------------------------------------------------------------------------------- */
/* One entered task, before and after. */
struct pl_task {
    erg_handle handle;
    struct pl_fn *fn;
    PyObject *futures; /* predecessors: list or NULL */
    int held;          /* they are counted in the futures' dependents */
    PyObject *failed;  /* exception of a predecessor that had failed already, or NULL */
    PyObject *blobs;
};
/* Enters a call; `after` is NULL or a sequence of futures. 0 or -1. notify: as in erg_record_notify. */
int pl_call_submit(struct pl_core *core, PyObject *callable, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, const struct pl_options *options,
                   PyObject *after, struct pl_task *task);
/* The same for a function already there (by reference: callable), without `after`; no check whether the pool is open. */
int pl_call_submit_with(struct pl_core *core, struct pl_fn *fn, PyObject *callable, PyObject *args,
                        const struct pl_options *options, struct pl_task *task);
/* Counts the futures of a list as needed by an entered task; the task is done: their records may go. */
void pl_futures_hold(PyObject *futures);
void pl_futures_release(struct pl_core *core, PyObject **futures);
int pl_link_predecessors(struct pl_core *core, struct erg_member *member, uint32_t index,
                         struct pl_task *task);
/* Result of a finished record: new reference; NULL with the task's exception set. */
PyObject *pl_call_result(struct pl_core *core, struct erg_record *record);
/* Frees record, argument blocks, the function's count, predecessors. The record is DONE. */
void pl_call_free(struct pl_core *core, struct pl_task *task);
/* Frees it later, when it is DONE: what a future that goes away does. */
void pl_call_orphan(struct pl_core *core, struct pl_task *task);
void pl_call_sweep(struct pl_core *core, int all);
/* Waits without the GIL; in a worker of the same pool runs other tasks meanwhile. timeout < 0: for ever.
 * 1 done, 0 timed out, 2 given up (below), -1 exception (a signal handler raised). */
int pl_wait(struct pl_core *core, erg_handle handle, double timeout);
/* 1: a thread still runs it that did not stop when the pool was terminated. */
int pl_given_up(struct pl_core *core, erg_handle handle);
void pl_raise_given_up(struct pl_core *core);
/* Sets WorkerLost, TaskTimeout, TaskCancelled as the outcome says; text from the result. */
void pl_raise_outcome(struct pl_core *core, struct erg_record *record);
/* Raises the exception of an error payload: two streams, the traceback's text and the exception. */
void pl_raise_remote(struct pl_core *core, const char *bytes, size_t len);
/* The same without taking anything over: the record stays as it is. */
PyObject *pl_call_peek(struct pl_core *core, struct erg_record *record);
/* A DONE record's outcome and bytes, as erg_record_result; a result that stayed on another host is fetched, without the
 * GIL. Never ERG_OUT_NONE, but in a forked child. */
enum erg_outcome pl_result_bytes(struct pl_core *core, const struct erg_record *record,
                                 const char **bytes, size_t *len);
/* By reference: the record's objects, borrowed; and its result, stolen. */
int pl_record_by_reference(const struct erg_record *record);
void pl_record_objects(struct erg_record *record, PyObject **callable, PyObject **args,
                       PyObject **kwargs, PyObject **after);
void pl_record_set_object(struct erg_record *record, PyObject *result);
/* The same of a chunk: its block, borrowed. */
void pl_record_set_block(struct erg_record *record, struct pl_argblock *block);
struct pl_argblock *pl_record_block(const struct erg_record *record);
int pl_record_new(struct pl_core *core, struct erg_member *member, uint32_t *index);
void pl_record_options(struct pl_core *core, struct erg_record *record,
                       const struct pl_options *options);
/* A chunk nobody will read any more, freed when it is DONE. */
void pl_chunk_orphan(struct pl_core *core, struct pl_chunk *chunk);
/* The member tasks of this thread are entered through. */
struct erg_member *pl_member(struct pl_core *core);

/* --- future_type.c ----------------------------------------------------------------------------------------- */
enum { PL_PENDING, PL_VALUE, PL_EXCEPTION, PL_CANCELLED };
struct pl_job;
struct pl_future {
    PyObject_HEAD struct pl_core *core;
    struct pl_task task;
    PyObject *result; /* value or exception */
    PyObject *callbacks;
    PyObject *weakrefs;
    struct pl_job *job;  /* amap: many records, one future */
    uint32_t holder;     /* place in core->holders, ERG_NIL */
    uint32_t dependents; /* entered tasks that will read the record: it stays until they are done */
    int status;
};
PyObject *pl_future_new(struct pl_core *core);
PyObject *pl_settled(PyObject *module, PyObject *args);
int pl_future_check(struct pool_state *state, PyObject *obj);
/* Takes the result out of the record if it is done. 1 done, 0 not yet, -1 exception. */
int pl_future_poll(struct pl_future *future);
/* 1 done, 0 timed out, -1 exception set (a signal). */
int pl_future_wait(struct pl_future *future, double timeout);
int pl_future_hold(struct pl_future *future); /* its predecessors are let go when it ran; 0 or -1 */
/* The future hears of the record's end. 1: it is done already, 0, -1 exception. */
int pl_watch(struct pl_core *core, uint32_t index, erg_handle handle, PyObject *future);
/* The pool was terminated: those somebody wants to hear of, whose thread did not stop, end as lost. */
void pl_futures_given_up(struct pl_core *core);
int pl_future_register(struct pool_state *state);
/* Engine's completions; takes the GIL itself. */
void pl_future_on_complete(void *ctx, const erg_handle *handles, size_t n);
void pl_future_resolve(struct pl_future *future, int status, PyObject *result); /* steals result */

/* --- job.c, job_feed.c -----------------------------------------------------------------------------------
 * A job is the calls of one map. Its items are entered in chunks, one record each, in order; a chunk of one item
 * is an ordinary call. Chunk payload: flag byte, at 4 the number of items, at 8 a uint32 offset for each item, then
 * the items' streams (one for each iterable). Result stream: see worker_chunk.c. */
struct pl_argblock {
    Py_ssize_t refs;
    struct erg_payload payload;
    uint32_t count;
    PyObject *futures, *blobs;
    struct pl_items *items; /* by reference: then there is no payload; or NULL */
};
struct pl_chunk {
    struct pl_chunk *next;
    struct pl_argblock *args; /* NULL: a call; its own arguments are in the record */
    uint32_t record;          /* ERG_NIL: no record (any more), only `error` is left */
    Py_ssize_t position;      /* number of its first item in the job */
    uint32_t read;            /* items already handed over */
    int measured;             /* job->balance knows how long it ran */
    uint64_t block;           /* of the result stream, being read */
    size_t at;                /* where in it */
    PyObject *error;          /* comes after the items that are done: the one that was lost */
    struct pl_fn *fn;         /* once its job is gone: the record still names it; or NULL */
    PyObject *futures, *blobs;
};
enum { PL_BUSY = 1, PL_BUSY_DRAINED = 2 /* by join(): soon over */ };
struct pl_job {
    struct pl_core *core;
    struct pl_job *sibling; /* in core->jobs */
    struct pl_fn *fn;       /* by value */
    PyObject *callable;     /* by reference */
    struct pl_options options;
    PyObject *iterators; /* tuple */
    PyObject *source;    /* the one list or tuple items come from, or NULL */
    int star;            /* items are argument tuples */
    int at_once; /* all items are taken within one call, from sequences: what repeats travels once */
    int exhausted;        /* nothing left to pull */
    PyObject *pull_error; /* what an iterable raised */
    int raised;           /* … and was handed over */
    int busy;             /* a thread is inside it: PL_BUSY_*; 0: nobody is */
    int abandoned;        /* given up meanwhile: whoever is inside frees it */
    Py_ssize_t expected;  /* items if known, else -1 */
    Py_ssize_t pulled, delivered;
    uint32_t outstanding; /* chunks with a record */
    int stalled;          /* map: it had to wait for the first */
    uint32_t idle;   /* members without work when somebody looked last; 0 once work was entered */
    int64_t look_ns; /* how long to sleep at most before the next look; 0: nobody looked yet */
    struct pl_chunk *head, *tail;
    struct erg_balance balance;
    PyObject *progress;
    uint64_t progress_ns;
    PyObject *lost;            /* position -> times its worker died */
    PyObject **last;           /* per iterable: the item before, strong */
    PyObject **repeated;       /* per iterable: Handle of that item once it came twice, strong */
    PyObject *list;            /* results so far of map and amap */
    struct pl_future *watcher; /* borrowed */
};
struct pl_job *pl_job_new(struct pl_core *core, PyObject *callable, PyObject *iterables, int star,
                          const struct pl_options *options);
/* Pulls and enters one chunk of at most `most` items. 1, 0: exhausted, -1 exception. What an iterable raises is kept
 * in pull_error and counts as exhausted. */
int pl_job_feed(struct pl_job *job, uint32_t most);
/* The next item's arguments, one of each iterable, new references. 1, or 0 when there is none. */
int pl_job_pull(struct pl_job *job, PyObject **items);
/* One item: a call. 0 or -1. */
int pl_job_feed_call(struct pl_job *job, PyObject **items);
/* An item that could not even be sent: its exception, which is set, takes its turn. 0, or -1 when it is more than that. */
int pl_job_error(struct pl_job *job, Py_ssize_t position);
/* Enters chunk->args [from, to) as a record of its own behind `after`. 0 or -1. */
int pl_job_enter(struct pl_job *job, struct pl_chunk *after, struct pl_argblock *args,
                 uint32_t from, uint32_t to, Py_ssize_t position);
/* The next result of the chunk. 1: *value (new reference), or NULL with the item's exception set; 0: not there yet; 2: all
 * are read, the chunk can be taken out; -1: exception that is not the item's. */
int pl_job_read(struct pl_job *job, struct pl_chunk *chunk, PyObject **value);
/* Appends what a chunk that was read from before has ready, as long as it is atoms (atom.h), to the list. 0 or -1. */
int pl_job_read_atoms(struct pl_job *job, struct pl_chunk *chunk, PyObject *list);
void pl_job_drop(struct pl_job *job, struct pl_chunk *previous, struct pl_chunk *chunk);
/* Chunks that are not done; of the others the balance knows from now on. */
uint32_t pl_job_at_work(struct pl_job *job);
/* Waits a while for the chunk, less when somebody begins to idle, then cuts running ones for who idles. 0 or -1. */
int pl_job_wait(struct pl_job *job, struct pl_chunk *chunk, double timeout);
/* The pool was closed: ends it in the engine as soon as no map has items left to enter. */
void pl_jobs_close(struct pl_core *core);
/* Enters what closed iterators have left, so that the pool can end; of iterables without a length only if asked for,
 * else those iterators end. 0 or -1. */
int pl_jobs_drain(struct pl_core *core, int unsized);
int pl_job_report(struct pl_job *job); /* progress, now and then; 0 or -1 */
/* map and amap. done: 1 the list is complete, 0 not yet, -1 exception set. */
int pl_job_done(struct pl_job *job);
int pl_job_progress(struct pl_job *job, double timeout);
PyObject *pl_job_take(struct pl_job *job);
int pl_job_watch(struct pl_job *job, struct pl_future *future); /* 1: done already, 0, -1 */
/* What has not begun never begins; what runs is interrupted if asked for, and its result dropped. Frees job; if another
 * thread is inside, that one does. Who is inside itself calls pl_job_leave first. */
void pl_job_abandon(struct pl_job *job, int interrupt);
/* The caller is inside no more. 0; -1: the job was given up meanwhile and is gone, and an exception of it is cleared. */
int pl_job_leave(struct pl_job *job);
void pl_job_free(struct pl_job *job);
/* An empty chunk behind `after` (NULL: the first). NULL with an exception. */
struct pl_chunk *pl_chunk_new(struct pl_job *job, struct pl_chunk *after, Py_ssize_t position);
void pl_chunk_free(struct pl_core *core, struct pl_chunk *chunk);
void pl_argblock_unref(struct pl_core *core, struct pl_argblock *args);

/* --- job_items.c ---
 * Items of a chunk by reference, and what became of them. */
struct pl_items {
    PyObject *callable;
    /* `width` for each item; strong. Of one that is done the first is its result, marked if it was raised (PL_RAISED) and
     * NULL once it was taken; the others are NULL. */
    PyObject **args;
    uint32_t count, width;
    int star;   /* an item is the tuple of its arguments */
    int settle; /* handles stand in some of them */
};
#define PL_RAISED(exception) ((PyObject *)((uintptr_t)(exception) | 1))
#define PL_IS_RAISED(result) ((uintptr_t)(result)&1)
#define PL_RESULT_OBJECT(result) ((PyObject *)((uintptr_t)(result) & ~(uintptr_t)1))
/* As pl_job_feed, for a pool of threads. */
int pl_job_feed_items(struct pl_job *job, uint32_t most);
void pl_items_free(struct pl_items *items); /* NULL is none */
/* An item's arguments as a tuple; its result, which is the caller's then: NULL with the item's exception. */
PyObject *pl_items_tuple(const struct pl_items *items, uint32_t item);
PyObject *pl_items_take(struct pl_items *items, uint32_t item);
/* Appends what the chunk has ready, up to an exception, to the list, if it is one of these. 0 or -1. */
int pl_items_take_all(struct pl_job *job, struct pl_chunk *chunk, PyObject *list);

PyObject *pl_map(struct pl_core *core, PyObject *callable, PyObject *iterables, int star,
                 const struct pl_options *options);
PyObject *pl_amap(struct pl_core *core, PyObject *callable, PyObject *iterables, int star,
                  const struct pl_options *options);
PyObject *pl_imap(struct pl_core *core, PyObject *callable, PyObject *iterables, int unordered,
                  const struct pl_options *options);
int pl_imap_register(struct pool_state *state);

/* Where the result stream of a chunk begins, 0: nowhere yet. */
static inline uint64_t pl_chunk_stream(const struct erg_record *record) {
    return record->user8 == ERG_USER8_STREAM ? record->fn : 0;
}
/* --- handle_type.c ----------------------------------------------------------------------------------------- */
/* A snapshot of obj. fresh: every task gets a writable copy of its own; else tasks of one worker share a view. */
PyObject *pl_handle_new(struct pl_core *core, PyObject *obj, int fresh);
uint64_t pl_handle_head(PyObject *handle); /* where its erg_blob_head is; 0 with an exception */
/* 0 if it is good for calls of this pool, else -1 with PicklingError. */
int pl_handle_check(PyObject *handle, struct pl_core *core);
PyObject *pl_handle_object(PyObject *handle); /* by reference pools: the object; borrowed or NULL */
int pl_handle_register(struct pool_state *state);
void pl_blob_sweep(struct pl_core *core);
void pl_blob_clear(struct pl_core *core); /* the pool is gone, and its memory */

/* --- pool_type.c --- */
struct pl_pool {
    PyObject_HEAD struct pl_core *core; /* NULL before __init__ */
    struct pl_options options;
    PyObject *weakrefs, *dict;
};
PyObject *pl_ask_line(PyObject *module, PyObject *args);
void pl_asked(void *ctx, struct erg_pool *pool, const char *place, const unsigned char *bytes,
              size_t len, void **answer, size_t *answer_len);
PyObject *pl_pool_by_uid(PyObject *module, PyObject *uid);
PyObject *pl_parse_resource(PyObject *module, PyObject *text); /* options.c */
int pl_pool_register(struct pool_state *state);

/* --- places.c --- */
/* A list of dicts (python/ergon/_places.py) or NULL; to be freed with pl_places_free. 0 or -1. */
int pl_places_parse(PyObject *list, struct erg_place_spec **specs, int *n);
void pl_places_free(struct erg_place_spec *specs, int n);
/* A dict for each place. */
PyObject *pl_places_info(struct pl_core *core);
PyObject *pl_agent_main(PyObject *module, PyObject *args);

/* --- exception.c --- */
/* What to pickle in the place of an exception: itself, or (class, args, attributes). New reference. */
PyObject *pl_exception_parts(PyObject *exception);
/* The exception again. New reference; NULL with an exception about the failure. */
PyObject *pl_exception_from_parts(PyObject *parts);

/* --- fresh.c --- */
/* 1: nothing but the result, to which the caller has the only reference, refers to it and to what it refers to; so a copy cannot
 * be told from it. 0: something else does, or it cannot be told (functions, views of memory). Raises nothing. */
int pl_is_fresh(PyObject *result);
PyObject *pl_fresh(PyObject *module, PyObject *box); /* of what is in a list of one */

/* --- worker.c, worker_chunk.c ------------------------------------------------------------------------------ */
struct pl_worker {
    struct pool_state *state;
    struct pl_core *core;
    struct erg_member *member;
    PyThreadState *saved;
    PyObject *functions; /* uid -> callable */
    uint64_t last_uid;
    uint64_t path_seen;      /* pl_fn_head.path applied last */
    PyObject *last_function; /* borrowed from functions */
    PyObject *objects;       /* offset of a shared object -> (the object, what keeps its memory) */
    PyObject *interrupted;   /* ergon.errors.TaskInterrupted */
    erg_handle running;      /* what an interruption must be meant for */
    struct pl_scratch scratch;
    struct pl_trace_block *trace;
    int is_process;
    /* threads */
    struct pl_worker *sibling; /* in core->thread_workers */
    unsigned long thread_id;
    int sent;    /* an interruption is on its way to this thread */
    int spoiled; /* a module was left half imported: no other task may meet that */
    uint32_t number;
};
/* Of this thread; NULL outside tasks. */
struct pl_worker *pl_worker_current(void);
const struct erg_worker_ops *pl_worker_ops(void);
int pl_worker_init(struct pl_worker *worker, struct pool_state *state);
void pl_worker_fini(struct pl_worker *worker);
/* The function a record names: borrowed if *fresh is 0, else a new reference whose buffers are in `reader`. */
PyObject *pl_worker_function(struct pl_worker *worker, uint64_t offset, struct pl_reader *reader,
                             int *fresh);
void pl_worker_count(struct pl_worker *worker, uint64_t bytes_in,
                     uint64_t bytes_out); /* for stats */
enum erg_outcome pl_worker_run_chunk(struct pl_worker *worker, uint32_t index,
                                     struct erg_record *record);
/* --- worker_reference.c --- */
enum { PL_HOLDS_HANDLE = 1, PL_HOLDS_FUTURE = 2 };
/* What stands in the object, a few containers deep, that is settled before a function sees it: PL_HOLDS_*; with a future
 * perhaps not all. */
int pl_reference_holds(struct pl_core *core, PyObject *obj);
enum erg_outcome pl_worker_run_reference(struct pl_worker *worker, struct erg_record *record);
enum erg_outcome pl_worker_run_items(struct pl_worker *worker, struct erg_record *record);

/* sys.exit() in a task ends the task, not the worker and not the caller. New reference, or NULL. */
PyObject *pl_exit_as_loss(PyObject *exception);
enum erg_outcome pl_worker_why_interrupted(const struct erg_record *record);
/* The exception that is set becomes the payload's two streams: traceback text, exception. Clears it. 0, -1. */
int pl_worker_write_error(struct pl_worker *worker, struct pl_writer *writer);
/* 1 if the exception that is set is the one interruptions raise: cleared, *outcome says why. */
int pl_worker_interrupted(struct pl_worker *worker, struct erg_record *record,
                          enum erg_outcome *outcome);
/* Persistent ids inside a payload; ctx is its reader. */
PyObject *pl_worker_persistent(void *reader, PyObject *pid);
PyObject *pl_worker_interrupt_handler(PyObject *module, PyObject *args);

/* --- trace.c ------------------------------------------------------------------------------------------------- */
struct pl_trace_event {
    uint64_t task, name, queued_ns, start_ns, end_ns, bytes_in, bytes_out;
    uint32_t items, outcome;
};
void pl_trace_record(struct pl_worker *worker, const struct pl_trace_event *event);
/* A worker died in the middle of a task. By the engine's loop thread, without the GIL. */
void pl_trace_elsewhere(void *ctx, struct erg_pool *pool, const struct erg_elsewhere *run);
void pl_trace_lost(void *ctx, struct erg_pool *pool, uint32_t member, uint32_t index,
                   enum erg_outcome outcome);
void pl_trace_fini(struct pl_core *core);
/* Appends the pool's events to the list; 0 or -1. */
int pl_trace_collect(struct pl_core *core, PyObject *list);
PyObject *pl_trace_start(PyObject *module, PyObject *args);
PyObject *pl_trace_stop(PyObject *module, PyObject *args);
PyObject *pl_trace_events(PyObject *module, PyObject *args);
PyObject *pl_trace_clear(PyObject *module, PyObject *args);

/* --- runtime.c --------------------------------------------------------------------------------------------- */
const struct erg_runtime *pl_runtime(struct pool_state *state,
                                     int preload); /* NULL with an exception */
void pl_runtime_fini(struct pool_state *state);
PyObject *pl_zygote_main(PyObject *module, PyObject *args);
/* A list of strings as a command line; freed entry by entry with PyMem_Free. NULL with an exception. */
char **pl_argv_make(PyObject *list);

/* --- server.c ------------------------------------------------------------------------------------------ */
PyObject *pl_protocol(PyObject *module, PyObject *args);
PyObject *pl_read_key(PyObject *module, PyObject *path);
PyObject *pl_make_key(PyObject *module, PyObject *path);
PyObject *pl_is_local(PyObject *module, PyObject *host);
PyObject *pl_server_run(PyObject *module, PyObject *args);
PyObject *pl_thread_main(PyObject *module, PyObject *args);
PyObject *pl_leave(PyObject *module, PyObject *status);

/* --- module glue, called from module.c ------------------------------------------------------------------- */
struct pool_state *pool_state_new(PyObject *module);
int pool_exec(PyObject *module);
int pool_state_traverse(struct pool_state *state, visitproc visit, void *arg);
void pool_state_clear(struct pool_state *state);
void pool_state_free(struct pool_state *state);
struct erg_engine *
pl_engine(struct pool_state *state); /* made when needed; NULL with an exception */

#include "atom.h"

#endif
