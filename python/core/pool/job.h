/* core/pool/job: maps. A job belongs to its core's list; one thread at a time is inside of it (busy). All under the GIL. */
#ifndef ERG_CORE_POOL_JOB_H
#define ERG_CORE_POOL_JOB_H

#include "call.h"

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
    int left;             /* an exception ended the wait, and no item raised it */
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

#endif
