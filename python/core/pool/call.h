/* core/pool/call: callables that travel once, single calls, futures. All under the GIL. */
#ifndef ERG_CORE_POOL_CALL_H
#define ERG_CORE_POOL_CALL_H

#include "core.h"

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
 * 1 done, 0 timed out, PL_LEFT and PL_OVERDUE (below), -1 exception (a signal handler raised). */
int pl_wait(struct pl_core *core, erg_handle handle, double timeout);
/* Whether it is waited for no more although a thread still runs it, that could not be stopped: PL_LEFT, when the pool was
 * terminated; PL_OVERDUE, when its time was over; else 0. The record stays until the thread ends it. */
enum { PL_LEFT = 2, PL_OVERDUE = 3 };
int pl_given_up(struct pl_core *core, erg_handle handle);
void pl_raise_given_up(struct pl_core *core, int why); /* WorkerLost, TaskTimeout */
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

#endif
