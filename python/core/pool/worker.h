/* core/pool/worker: what a worker does with a record. A worker is its thread's own; all under the GIL. */
#ifndef ERG_CORE_POOL_WORKER_H
#define ERG_CORE_POOL_WORKER_H

#include "payload.h"

/* --- worker.c, worker_chunk.c ------------------------------------------------------------------------------ */
struct pl_worker {
    struct pool_state *state;
    struct pl_core *core;
    struct erg_member *member;
    PyThreadState *saved;
    PyObject *functions; /* uid -> callable */
    uint64_t last_uid;
    uint64_t path_seen;      /* pl_fn_head.path applied last */
    PyObject *stale;         /* of the chunk before, yet to be freed; strong */
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

#endif
