/* core/pool: pools, futures and maps for Python, on the engine's tables.
 *
 * Shared by the files of this room alone, which include this header; module.c sees the glue at the end. By concept there
 * are core.h, payload.h, call.h, job.h and worker.h; what has few words is here. Everything needs the GIL unless a comment
 * says otherwise.
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

#include "call.h"
#include "core.h"
#include "job.h"
#include "payload.h"
#include "worker.h"

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
PyObject *pl_member_number(PyObject *module, PyObject *args); /* worker.c */
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
/* What to pickle in the place of an exception: itself, or, with what led to it, a tuple. New reference. */
PyObject *pl_exception_parts(PyObject *exception);
/* The exception again. New reference; NULL with an exception about the failure. */
PyObject *pl_exception_from_parts(PyObject *parts);

/* --- fresh.c --- */
/* 1: nothing but the result, to which the caller has the only reference, refers to it and to what it refers to; so a copy cannot
 * be told from it. 0: something else does, or it cannot be told (functions, views of memory). Raises nothing. */
int pl_is_fresh(PyObject *result);
PyObject *pl_fresh(PyObject *module, PyObject *box); /* of what is in a list of one */
/* List of those inside it, and not itself, that something else refers to as well; None: it cannot be told. */
PyObject *pl_shared(PyObject *module, PyObject *result);

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
