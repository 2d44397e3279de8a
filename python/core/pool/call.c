/* One call: encode and enter it, wait, decode what became of it, free it.
 *
 * By value the record's arguments are a payload: the one argument (PL_IS_SINGLE), the tuple of arguments, or
 * (arguments, keywords) with PL_HAS_KWARGS. By reference (only threads work for the pool) the inline bytes are two
 * object pointers, the record's fn is a third and the result a fourth; the record counts them. */
#include "pool.h"

#include <string.h>

/* How long all records are in use by calls that are done before entering one more is given up. */
#define FULL_NS UINT64_C(5000000000)

/* --- by reference ------------------------------------------------------------------------------------- */

struct objects {
    PyObject *args, *kwargs;
    PyObject *after;  /* futures it comes after, a list or tuple, or NULL */
    PyObject *result; /* value, or exception for ERG_OUT_ERROR */
};

static struct objects *record_objects(struct erg_record *record) {
    return (struct objects *)record->inline_bytes;
}

/* A future among the arguments of a by-reference task, looked for up to eight containers deep. */
static int reference_met(struct pl_core *core, PyObject *obj, struct pl_task *task) {
    if (Py_TYPE(obj) != core->state->future_type)
        return 0;
    struct pl_future *future = (struct pl_future *)obj;
    if (future->status == PL_PENDING && (future->core != core || future->job) &&
        pl_future_wait(future, -1) < 0)
        return -1;
    if (future->status == PL_VALUE)
        return 0;
    if (future->status != PL_PENDING) {
        Py_XSETREF(task->failed, Py_NewRef(future->result));
        PyErr_SetObject((PyObject *)Py_TYPE(future->result), future->result);
        return -1;
    }
    if (!task->futures && !(task->futures = PyList_New(0)))
        return -1;
    return PyList_Append(task->futures, obj);
}

static int references_in(struct pl_core *core, PyObject *container, struct pl_task *task,
                         int deeper);

/* Holds the item: waiting for a future lets other threads change what it stands in. */
static int references_of(struct pl_core *core, PyObject *item, struct pl_task *task, int deeper) {
    Py_INCREF(item);
    int rc = reference_met(core, item, task);
    if (rc == 0 && deeper)
        rc = references_in(core, item, task, deeper - 1);
    Py_DECREF(item);
    return rc;
}

static int references_in(struct pl_core *core, PyObject *container, struct pl_task *task,
                         int deeper) {
    int rc = 0;
    if (PyDict_CheckExact(container)) {
        PyObject *key, *value;
        Py_ssize_t pos = 0;
        while (rc == 0 && PyDict_Next(container, &pos, &key, &value))
            rc = references_of(core, value, task, deeper);
        return rc;
    }
    if (!PyTuple_CheckExact(container) && !PyList_CheckExact(container))
        return 0;
    for (Py_ssize_t i = 0; rc == 0 && i < PySequence_Fast_GET_SIZE(container); i++)
        rc = references_of(core, PySequence_Fast_GET_ITEM(container, i), task, deeper);
    return rc;
}

static int encode_reference(struct pl_core *core, struct erg_record *record, PyObject *callable,
                            PyObject *args, PyObject *kwargs, struct pl_task *task) {
    if (references_in(core, args, task, 8) < 0 ||
        (kwargs && references_in(core, kwargs, task, 8) < 0))
        return -1;
    struct objects *o = record_objects(record);
    o->args = Py_NewRef(args);
    o->kwargs = Py_XNewRef(kwargs);
    o->after = o->result = NULL;
    record->args.start = 0; /* the engine's own words, if it ends the task, go behind the objects */
    record->args.len = sizeof *o;
    record->fn = (uint64_t)(uintptr_t)Py_NewRef(callable);
    record->user8 = ERG_USER8_BY_REFERENCE;
    return 0;
}

static void free_reference(struct erg_record *record) {
    struct objects o = *record_objects(record);
    PyObject *callable = (PyObject *)(uintptr_t)record->fn;
    memset(record_objects(record), 0, sizeof o);
    record->fn = 0;
    record->user8 = 0;
    Py_XDECREF(callable);
    Py_XDECREF(o.args);
    Py_XDECREF(o.kwargs);
    Py_XDECREF(o.after);
    Py_XDECREF(o.result);
}

int pl_record_by_reference(const struct erg_record *record) {
    return record->user8 == ERG_USER8_BY_REFERENCE;
}

void pl_record_objects(struct erg_record *record, PyObject **callable, PyObject **args,
                       PyObject **kwargs, PyObject **after) {
    *callable = (PyObject *)(uintptr_t)record->fn;
    *args = record_objects(record)->args;
    *kwargs = record_objects(record)->kwargs;
    *after = record_objects(record)->after;
}

void pl_record_set_object(struct erg_record *record, PyObject *result) {
    Py_XSETREF(record_objects(record)->result, result);
}

/* Of a chunk the record names the block, which its chunk holds; the callable for traces. */
void pl_record_set_block(struct erg_record *record, struct pl_argblock *block) {
    memcpy(record->inline_bytes, &block, sizeof block);
    record->args.start = 0;
    record->args.len = sizeof block;
    record->fn = (uint64_t)(uintptr_t)block->items->callable;
    record->user8 = ERG_USER8_BY_REFERENCE;
}

struct pl_argblock *pl_record_block(const struct erg_record *record) {
    struct pl_argblock *block;
    memcpy(&block, record->inline_bytes, sizeof block);
    return block;
}

/* --- by value ------------------------------------------------------------------------------------------ */

/* task->fn is there. */
static int encode_value(struct pl_core *core, struct erg_member *member, struct erg_record *record,
                        PyObject *args, PyObject *kwargs, const struct pl_options *options,
                        PyObject *after, struct pl_task *task) {
    int single = !kwargs && PyTuple_GET_SIZE(args) == 1;
    int head = (single ? PL_IS_SINGLE : 0) | (kwargs ? PL_HAS_KWARGS : 0) |
               (options->readonly ? PL_IS_READONLY : 0) |
               (options->functional ? PL_IS_FUNCTIONAL : 0);
    struct pl_writer w;
    int rc = pl_writer_init(&w, core, member, record, 0, head);
    if (rc == 0) {
        w.hooks.in_band = options->readonly ? PK_READ_ONLY : PK_AS_IT_IS;
        w.entry_flags = options->retries > 0 || options->pure
                            ? ERG_REF_SHARED
                            : 0; /* a second run finds them untouched */
        if (single) {
            rc = pl_writer_dump(&w, PyTuple_GET_ITEM(args, 0), "args[0]");
        } else if (!kwargs) {
            rc = pl_writer_dump(&w, args, "args");
        } else {
            PyObject *both = PyTuple_Pack(2, args, kwargs);
            rc = both ? pl_writer_dump(&w, both, "(args, kwargs)") : -1;
            Py_XDECREF(both);
        }
    }
    for (Py_ssize_t i = 0; rc == 0 && after && i < PySequence_Fast_GET_SIZE(after); i++)
        rc = pl_writer_after(&w, PySequence_Fast_GET_ITEM(after, i));
    if (rc == 0)
        rc = pl_writer_finish(&w, &record->args);
    task->failed = Py_XNewRef(w.failed);
    if (rc == 0) {
        task->futures = Py_XNewRef(w.futures);
        pl_futures_hold(task->futures); /* before the writer lets go of them */
        task->held = task->futures != NULL;
        task->blobs = Py_XNewRef(w.blobs);
    }
    pl_writer_fini(&w);
    record->fn = task->fn->offset;
    return rc;
}

/* --- entering ------------------------------------------------------------------------------------------- */

struct erg_member *pl_member(struct pl_core *core) {
    struct pl_worker *worker = pl_worker_current();
    return worker && worker->core == core && worker->is_process ? worker->member : core->member;
}

/* What after= was given, as a list or tuple of futures. New reference; NULL: exception. */
static PyObject *after_list(struct pl_core *core, PyObject *after) {
    if (pl_future_check(core->state, after))
        return PyTuple_Pack(1, after);
    PyObject *list = PySequence_Fast(after, "after= takes a Future or an iterable of Futures");
    for (Py_ssize_t i = 0; list && i < PySequence_Fast_GET_SIZE(list); i++) {
        PyObject *item = PySequence_Fast_GET_ITEM(list, i);
        if (!pl_future_check(core->state, item)) {
            PyErr_Format(PyExc_TypeError, "after= takes Futures, not %.100s",
                         Py_TYPE(item)->tp_name);
            Py_CLEAR(list);
            break;
        }
    }
    return list;
}

/* By reference: they join the futures met among the arguments, and the worker finds them in the record. */
static int after_reference(struct pl_core *core, struct erg_record *record, PyObject *after,
                           struct pl_task *task) {
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(after); i++)
        if (reference_met(core, PySequence_Fast_GET_ITEM(after, i), task) < 0)
            return -1;
    record_objects(record)->after = Py_NewRef(after);
    return 0;
}

void pl_futures_hold(PyObject *futures) {
    for (Py_ssize_t i = 0; futures && i < PyList_GET_SIZE(futures); i++)
        ((struct pl_future *)PyList_GET_ITEM(futures, i))->dependents++;
}

void pl_futures_release(struct pl_core *core, PyObject **futures) {
    PyObject *list = *futures;
    *futures = NULL;
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        struct pl_future *future = (struct pl_future *)PyList_GET_ITEM(list, i);
        if (--future->dependents == 0 && future->status != PL_PENDING &&
            future->task.handle != ERG_HANDLE_NONE)
            pl_call_orphan(core, &future->task); /* it may be overdue */
    }
    Py_XDECREF(list);
}

int pl_link_predecessors(struct pl_core *core, struct erg_member *member, uint32_t index,
                         struct pl_task *task) {
    Py_ssize_t n = task->futures ? PyList_GET_SIZE(task->futures) : 0;
    if (!n)
        return 0;
    erg_handle few[16] = {0}, *preds = few;
    if (n > 16 && !(preds = PyMem_New(erg_handle, n))) {
        PyErr_NoMemory();
        return -1;
    }
    size_t count = 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        erg_handle pred = ((struct pl_future *)PyList_GET_ITEM(task->futures, i))->task.handle;
        if (pred != ERG_HANDLE_NONE) /* else it is done: a thread is taking its result over */
            preds[count++] = pred;
    }
    int rc = erg_record_after_many(member, index, preds, count);
    if (preds != few)
        PyMem_Free(preds);
    if (rc < 0) {
        core_raise_error(core->state->module, rc, NULL);
        return -1;
    }
    return 0;
}

/* All records are in use since `since`. Waits a moment; -1 with an exception when that is pointless. */
static int wait_for_record(struct pl_core *core, uint64_t *since) {
    Py_BEGIN_ALLOW_THREADS
        erg_bell_wait(core->table, erg_bell_prepare(core->table),
                      1000000); /* nobody rings for a free record */
    Py_END_ALLOW_THREADS
    if (PyErr_CheckSignals() < 0)
        return -1;
    if (core->gone)
        return pl_core_check(core);
    uint64_t now = erg_clock_ns();
    if (now - *since < FULL_NS)
        return 0;
    *since = now;
    if (erg_worker_progress(core->table))
        return 0;
    core_raise(core->state->module, CORE_EXC_ERGON_ERROR,
               "all %u calls the pool has room for are done and nobody takes their results: take "
               "some, or drop their futures",
               (unsigned)core->table->header->records_max);
    return -1;
}

static int record_wait(struct pl_core *core, struct erg_member *member, uint32_t *index) {
    uint64_t since = erg_clock_ns();
    for (;;) {
        pl_call_sweep(core, 1);
        int rc = erg_record_new(member, index);
        if (rc >= 0)
            return 0;
        if (rc != ERG_EFULL) {
            core_raise_error(core->state->module, rc, NULL);
            return -1;
        }
        if (wait_for_record(core, &since) < 0)
            return -1;
    }
}

/* A record; when all are in use, waits for some to come free, as long as that can happen. */
int pl_record_new(struct pl_core *core, struct erg_member *member, uint32_t *index) {
    if (erg_record_new(member, index) >= 0)
        return 0;
    struct pl_worker *worker = pl_worker_current();
    if (!worker || worker->core != core)
        return record_wait(core, member, index);
    erg_worker_waits(worker->member, ERG_WAITS_FOR_ROOM);
    int rc = record_wait(core, member, index);
    erg_worker_waits(worker->member, ERG_WAITS_NOT);
    return rc;
}

static PyObject *keywords(PyObject *const *values, PyObject *kwnames) {
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = 0; dict && i < PyTuple_GET_SIZE(kwnames); i++)
        if (PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0)
            Py_CLEAR(dict);
    return dict;
}

static PyObject *tuple_of(PyObject *const *items, Py_ssize_t n) {
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(items[i]));
    return tuple;
}

void pl_record_options(struct pl_core *core, struct erg_record *record,
                       const struct pl_options *options) {
    record->queue = (uint8_t)options->queue;
    record->retries = options->retries > 255 ? 255 : (uint8_t)options->retries;
    if (options->timeout > 0) {
        record->timeout_ns = (uint64_t)(options->timeout * 1e9) + 1;
        if (pl_core_pool(core))
            erg_pool_expect_timeout(core->pool, record->timeout_ns);
    }
    if (options->stays && !core->by_reference)
        record->first |= ERG_CALL_STAYS;
    if (options->functional)
        record->first |= ERG_CALL_PURE;
    if (options->pure && record->kind == ERG_KIND_CALL)
        record->first |= ERG_CALL_PURE | ERG_CALL_ANEW;
    if (atomic_load_explicit(&core->table->header->tracing, memory_order_relaxed))
        record->end_ns = erg_clock_ns(); /* when it was entered, until it ends */
}

static int submit(struct pl_core *core, PyObject *callable, PyObject *args, PyObject *kwargs,
                  const struct pl_options *options, PyObject *after, struct pl_task *task) {
    struct erg_member *member = pl_member(core);
    uint32_t index;
    if (pl_record_new(core, member, &index) < 0)
        return -1;
    task->handle = erg_record_handle(core->table, index);
    struct erg_record *record = erg_table_record(core->table, index);
    int rc;
    if (core->by_reference) {
        rc = encode_reference(core, record, callable, args, kwargs, task);
        if (rc == 0 && after)
            rc = after_reference(core, record, after, task);
    } else {
        rc = encode_value(core, member, record, args, kwargs, options, after, task);
    }
    if (rc == 0 && task->futures && !task->held) {
        pl_futures_hold(task->futures);
        task->held = 1;
    }
    if (rc == 0)
        rc = pl_link_predecessors(core, member, index, task);
    if (rc == 0) {
        pl_record_options(core, record, options);
        erg_record_submit(member, index);
    }
    return rc;
}

int pl_call_submit_with(struct pl_core *core, struct pl_fn *fn, PyObject *callable, PyObject *args,
                        const struct pl_options *options, struct pl_task *task) {
    *task = (struct pl_task){.handle = ERG_HANDLE_NONE, .fn = fn};
    int rc = submit(core, callable, args, NULL, options, NULL, task);
    task->fn = NULL; /* the caller's */
    if (rc < 0)
        pl_call_free(core, task);
    return rc;
}

int pl_call_submit(struct pl_core *core, PyObject *callable, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames, const struct pl_options *options,
                   PyObject *after, struct pl_task *task) {
    *task = (struct pl_task){.handle = ERG_HANDLE_NONE};
    if (pl_core_check(core) < 0)
        return -1;
    if (core->norphans)
        pl_call_sweep(core, 0);
    PyObject *tuple = tuple_of(args, nargs), *dict = NULL, *first = NULL;
    int rc = tuple ? 0 : -1;
    if (rc == 0 && after && after != Py_None && !(first = after_list(core, after)))
        rc = -1;
    if (rc == 0 && kwnames && PyTuple_GET_SIZE(kwnames) &&
        !(dict = keywords(args + nargs, kwnames)))
        rc = -1;
    if (rc == 0 && !core->by_reference && !(task->fn = pl_fn_get(core, callable)))
        rc = -1;
    if (rc == 0)
        rc = submit(core, callable, tuple, dict, options, first, task);
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    Py_XDECREF(first);
    if (rc < 0) {
        PyObject *failed = Py_XNewRef(task->failed); /* the caller may want to know */
        pl_call_free(core, task);
        task->failed = failed;
    }
    return rc;
}

/* --- what became of it ------------------------------------------------------------------------------------ */

enum { HELP_SLICE_NS = 20000000 };

/* A value that was asked for. Should it be made again by a task that nobody else is there to run, a worker that waits
 * runs it. As erg_away_wait; a timeout may come early. */
static int away_wait(struct pl_core *core, erg_handle task, const struct erg_away *away,
                     int64_t timeout_ns) {
    struct pl_worker *worker = pl_worker_current();
    int helps = worker && worker->core == core, rc = 0;
    if (helps) {
        erg_handle again =
            atomic_load_explicit(&((struct erg_away *)away)->again, memory_order_acquire);
        if (timeout_ns < 0 || timeout_ns > HELP_SLICE_NS)
            timeout_ns = HELP_SLICE_NS;
        if (again && !erg_record_done(core->table, again))
            rc = erg_worker_help(worker->member, again, timeout_ns, pl_worker_ops(), worker);
        if (rc < 0)
            return rc;
    }
    Py_BEGIN_ALLOW_THREADS
        rc = erg_away_wait(core->table, task, away, timeout_ns);
    Py_END_ALLOW_THREADS
    return rc;
}

enum erg_outcome pl_result_bytes(struct pl_core *core, const struct erg_record *record,
                                 const char **bytes, size_t *len) {
    struct erg_away *away = erg_record_away(core->table, record);
    if (away && erg_away_phase(away) == ERG_AWAY_THERE) {
        erg_handle task = away->task;
        int rc;
        erg_away_want(core->table, away);
        do
            rc = away_wait(core, task, away, -1);
        while (rc == ERG_EINTR || rc == ERG_ETIMEOUT);
    }
    return erg_record_result(core->table, record, (const unsigned char **)bytes, len);
}

/* Text of the engine's; a payload that was being written when the worker died is none of it. */
static int is_text(const unsigned char *bytes, size_t len) {
    return len > 0 && len < 1000 && bytes[0] >= ' ';
}

void pl_raise_outcome(struct pl_core *core, struct erg_record *record) {
    enum core_exc which;
    const char *words;
    if (core->gone && pl_exit_quietly(core->state))
        return;
    const unsigned char *text;
    size_t len;
    struct erg_error err = {0};
    switch (erg_record_result(core->table, record, &text, &len)) {
    case ERG_OUT_CANCELLED:
        which = CORE_EXC_TASK_CANCELLED;
        words = "the task was cancelled";
        break;
    case ERG_OUT_TIMEOUT:
        which = CORE_EXC_TASK_TIMEOUT;
        words = "the task ran longer than its timeout";
        break;
    default:
        if (pl_core_pool(core) && erg_pool_check(core->pool, &err) == ERG_ELAUNCH) {
            /* Text of the engine's is about this task; a record by reference has no room for any. */
            struct erg_error own = {0};
            if (!pl_record_by_reference(record) && is_text(text, len))
                erg_error_set(&own, ERG_ELAUNCH, "%.*s", (int)len, text);
            pl_raise_broken(core, ERG_ELAUNCH, own.text[0] ? &own : &err);
            return;
        }
        which = CORE_EXC_WORKER_LOST;
        words = "the worker that ran the task died";
    }
    if (!pl_record_by_reference(record) && is_text(text, len)) {
        PyObject *str = PyUnicode_DecodeUTF8((const char *)text, (Py_ssize_t)len, "replace");
        if (str)
            core_raise(core->state->module, which, "%U", str);
        Py_XDECREF(str);
        return;
    }
    core_raise(core->state->module, which, "%s", words);
}

/* The exception as it was raised, its traceback over there as the cause. */
static void raise_with_trace(struct pl_core *core, PyObject *exception, PyObject *text) {
    (void)core;
    PyObject *errors = PyImport_ImportModule("ergon.errors");
    PyObject *cause = errors ? PyObject_CallMethod(errors, "RemoteTraceback", "O", text) : NULL;
    Py_XDECREF(errors);
    if (!cause)
        return;
    PyObject *module = PyImport_ImportModule("ergon._exceptions");
    PyObject *done =
        module ? PyObject_CallMethod(module, "add_traceback", "OO", exception, cause) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(done);
    Py_DECREF(cause);
    if (!done)
        return;
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
}

/* The exception could not be made here: one that carries its traceback takes its place. */
static void raise_unloadable(struct pl_core *core, PyObject *text) {
    PyObject *reason = PyErr_GetRaisedException();
    PyObject *errors = PyImport_ImportModule("ergon.errors");
    PyObject *stand_in =
        errors ? PyObject_CallMethod(errors, "RemoteError", "OO", text, reason) : NULL;
    Py_XDECREF(errors);
    Py_XDECREF(reason);
    if (stand_in)
        raise_with_trace(core, stand_in, text);
    Py_XDECREF(stand_in);
}

void pl_raise_remote(struct pl_core *core, const char *bytes, size_t len) {
    struct pl_reader r;
    pl_reader_init(&r, core, pl_member(core), bytes, len, PL_READ_RESULT);
    PyObject *text = pl_reader_load(&r);
    PyObject *parts = text ? pl_reader_load(&r) : NULL;
    pl_reader_fini(&r);
    PyObject *exception = parts ? pl_exception_from_parts(parts) : NULL;
    Py_XDECREF(parts);

    if (exception)
        raise_with_trace(core, exception, text);
    else if (text)
        raise_unloadable(core, text);
    Py_XDECREF(exception);
    Py_XDECREF(text);
}

static PyObject *reference_result(struct pl_core *core, struct erg_record *record,
                                  enum erg_outcome outcome) {
    PyObject *object = record_objects(record)->result;
    if (outcome == ERG_OUT_OK && object)
        return Py_NewRef(object);
    if (outcome == ERG_OUT_ERROR && object)
        PyErr_SetObject((PyObject *)Py_TYPE(object), object);
    else
        pl_raise_outcome(core, record);
    return NULL;
}

static PyObject *call_result(struct pl_core *core, struct erg_record *record,
                             enum pl_read_mode mode) {
    if (pl_record_by_reference(record))
        return reference_result(core, record, erg_record_outcome(record));
    const char *bytes;
    size_t len;
    enum erg_outcome outcome = pl_result_bytes(core, record, &bytes, &len);
    if (outcome == ERG_OUT_ERROR) {
        pl_raise_remote(core, bytes, len);
        return NULL;
    }
    if (outcome != ERG_OUT_OK) {
        pl_raise_outcome(core, record);
        return NULL;
    }
    struct pl_reader r;
    pl_reader_init(&r, core, pl_member(core), bytes, len, mode);
    PyObject *value = pl_reader_load(&r);
    pl_reader_fini(&r);
    return value;
}

PyObject *pl_call_result(struct pl_core *core, struct erg_record *record) {
    return call_result(core, record, PL_READ_RESULT);
}

PyObject *pl_call_peek(struct pl_core *core, struct erg_record *record) {
    return call_result(core, record, PL_READ_PEEK);
}

/* --- freeing ----------------------------------------------------------------------------------------------- */

static void task_clear(struct pl_core *core, struct pl_task *task) {
    struct pl_fn *fn = task->fn;
    PyObject *futures = task->futures, *blobs = task->blobs, *failed = task->failed;
    int held = task->held;
    memset(task, 0, sizeof *task);
    task->handle = ERG_HANDLE_NONE;
    pl_fn_unref(core, fn);
    if (held)
        pl_futures_release(core, &futures);
    Py_XDECREF(futures);
    Py_XDECREF(blobs);
    Py_XDECREF(failed);
}

enum { FREE_DEEP = 100 };

struct pl_orphan {
    struct pl_task task;
    struct pl_chunk *chunk;
};

static int orphan_add(struct pl_core *core, struct pl_orphan orphan);

/* Its arguments are being used to make its result again. */
static int kept(struct pl_core *core, const struct erg_record *record) {
    struct erg_away *away =
        pl_record_by_reference(record) ? NULL : erg_record_away(core->table, record);
    return away && !erg_away_leave(away);
}

void pl_call_free(struct pl_core *core, struct pl_task *task) {
    if (task->handle != ERG_HANDLE_NONE && !pl_core_foreign(core) &&
        kept(core, erg_table_record(core->table, ERG_HANDLE_INDEX(task->handle)))) {
        orphan_add(core, (struct pl_orphan){.task = *task});
        memset(task, 0, sizeof *task);
        task->handle = ERG_HANDLE_NONE;
        return;
    }
    if (task->handle != ERG_HANDLE_NONE && !pl_core_foreign(core)) {
        uint32_t index = ERG_HANDLE_INDEX(task->handle);
        struct erg_record *record = erg_table_record(core->table, index);
        if (pl_record_by_reference(record)) {
            free_reference(record);
        } else {
            /* Only a payload that was finished has entries to look for. */
            enum erg_outcome outcome = erg_record_outcome(record);
            if (record->args.len)
                pl_payload_free(core, record, &record->args);
            if ((outcome == ERG_OUT_OK || outcome == ERG_OUT_ERROR) &&
                !erg_record_away(core->table, record)) /* that frees itself with the record */
                pl_payload_free(core, record, &record->result);
        }
        erg_record_free(pl_member(core), index);
    }
    task_clear(core, task);
}

static int orphan_add(struct pl_core *core, struct pl_orphan orphan) {
    if (core->norphans == core->orphan_cap) {
        uint32_t cap = core->orphan_cap ? core->orphan_cap * 2 : 64;
        struct pl_orphan *grown = PyMem_Realloc(core->orphans, cap * sizeof *grown);
        if (!grown)
            return -1; /* the record stays taken until the pool ends: better than freeing what still runs */
        core->orphans = grown;
        core->orphan_cap = cap;
    }
    core->orphans[core->norphans++] = orphan;
    return 0;
}

void pl_call_orphan(struct pl_core *core, struct pl_task *task) {
    int gone = task->handle == ERG_HANDLE_NONE || pl_core_foreign(core);
    /* It may have held the last of a long chain. */
    if (gone || (core->freeing < FREE_DEEP && erg_record_done(core->table, task->handle))) {
        core->freeing++;
        pl_call_free(core, task);
        core->freeing--;
        return;
    }
    orphan_add(core, (struct pl_orphan){.task = *task});
    memset(task, 0, sizeof *task);
    task->handle = ERG_HANDLE_NONE;
}

void pl_chunk_orphan(struct pl_core *core, struct pl_chunk *chunk) {
    struct pl_orphan orphan = {.chunk = chunk};
    orphan.task.handle = erg_record_handle(core->table, chunk->record);
    orphan_add(core, orphan);
}

void pl_call_sweep(struct pl_core *core, int all) {
    for (uint32_t budget = all ? core->norphans : 2; budget && core->norphans; budget--) {
        if (core->orphan_cursor >= core->norphans)
            core->orphan_cursor = 0;
        struct pl_orphan orphan = core->orphans[core->orphan_cursor];
        if (!pl_core_foreign(core) && !erg_record_done(core->table, orphan.task.handle)) {
            core->orphan_cursor++;
            continue;
        }
        core->orphans[core->orphan_cursor] = core->orphans[--core->norphans];
        if (orphan.chunk)
            pl_chunk_free(core, orphan.chunk);
        else
            pl_call_free(core, &orphan.task);
    }
}

/* --- waiting --------------------------------------------------------------------------------------------------- */

enum {
    WAIT_SLICE_NS = 500000000
}; /* a signal that came just before the sleep is seen after so long */

int pl_given_up(struct pl_core *core, erg_handle handle) {
    uint64_t s = erg_record_state(erg_table_record(core->table, ERG_HANDLE_INDEX(handle)));
    if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle) || ERG_STATE_PHASE(s) != ERG_RUNNING)
        return 0;
    struct erg_member_slot *slot = erg_table_slot(core->table, (uint32_t)ERG_STATE_RUNNER(s));
    if (atomic_load_explicit(&slot->stop, memory_order_acquire) == ERG_STOP_GIVEN_UP)
        return PL_LEFT;
    return s & ERG_STATE_OVERDUE ? PL_OVERDUE : 0;
}

void pl_raise_given_up(struct pl_core *core, int why) {
    if (why == PL_OVERDUE)
        core_raise(core->state->module, CORE_EXC_TASK_TIMEOUT,
                   "the task ran longer than its timeout; the thread that runs it sits in a "
                   "library's code, is busy until that returns, and its result is lost");
    else
        core_raise(
            core->state->module, CORE_EXC_WORKER_LOST,
            "the pool was terminated, but the thread that ran the task did not stop: it sits in a "
            "library's code, and its result is lost");
}

/* It is done, its result on another host. Without the GIL another thread may take the result over and free it: it is
 * asked for before that, and only looked at from then on. */
static int wait_for_value(struct pl_core *core, erg_handle handle, int64_t slice) {
    if (erg_record_here(core->table, handle))
        return 0;
    struct erg_record *record = erg_table_record(core->table, ERG_HANDLE_INDEX(handle));
    struct erg_away *away = erg_record_away(core->table, record);
    if (!away)
        return 0;
    erg_away_want(core->table, away);
    return away_wait(core, handle, away, slice);
}

int pl_wait(struct pl_core *core, erg_handle handle, double timeout) {
    struct pl_worker *worker = pl_worker_current();
    int nested = worker && worker->core == core;
    int64_t deadline = timeout < 0 ? INT64_MAX : (int64_t)erg_clock_ns() + (int64_t)(timeout * 1e9);
    if (erg_record_here(core->table, handle))
        return 1;
    for (;;) {
        int64_t slice = WAIT_SLICE_NS;
        if (timeout >= 0) {
            int64_t left = deadline - (int64_t)erg_clock_ns();
            slice = left < 0 ? 0 : left < slice ? left : slice;
        }
        int rc;
        if (erg_record_done(core->table, handle)) {
            rc = wait_for_value(core, handle, slice);
        } else if (nested && erg_worker_is_full(worker->member, handle)) {
            PyErr_Format(PyExc_RecursionError, "%d calls of the pool wait one inside of the other",
                         ERG_CLAIMS_MAX);
            return -1;
        } else if (nested) {
            rc = erg_worker_help(worker->member, handle, slice, pl_worker_ops(), worker);
        } else {
            Py_BEGIN_ALLOW_THREADS
                rc = erg_record_wait(core->member, handle, slice);
            Py_END_ALLOW_THREADS
        }
        if (erg_record_here(core->table, handle))
            return 1;
        int why = pl_given_up(core, handle);
        if (why)
            return why;
        if (rc == ERG_ECLOSED) {
            core_raise_error(core->state->module, rc, NULL);
            return -1;
        }
        if (PyErr_CheckSignals() < 0)
            return -1;
        if (timeout >= 0 && (int64_t)erg_clock_ns() >= deadline)
            return 0;
    }
}
