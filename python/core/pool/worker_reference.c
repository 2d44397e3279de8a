/* What a worker thread does with a task whose objects are the caller's own: settles the arguments, calls, leaves the
 * result in the record; of a chunk, in its block. Everything under the GIL. */
#include "pool.h"

enum { SETTLED_DEPTH = 8 }; /* containers inside containers that are looked into */

/* PL_HOLDS_*: whether a handle or, whatever else, a future stands in it, however deep. */
static int holds(struct pl_core *core, PyObject *obj, int depth) {
    if (Py_TYPE(obj) == core->state->handle_type)
        return PL_HOLDS_HANDLE;
    if (Py_TYPE(obj) == core->state->future_type)
        return PL_HOLDS_FUTURE;
    int found = 0;
    if (depth == 0)
        return 0;
    if (PyTuple_CheckExact(obj) || PyList_CheckExact(obj)) { /* no Python code runs here */
        for (Py_ssize_t i = 0; !(found & PL_HOLDS_FUTURE) && i < PySequence_Fast_GET_SIZE(obj); i++)
            found |= holds(core, PySequence_Fast_GET_ITEM(obj, i), depth - 1);
    } else if (PyDict_CheckExact(obj)) {
        PyObject *key, *value;
        Py_ssize_t pos = 0;
        while (!(found & PL_HOLDS_FUTURE) && PyDict_Next(obj, &pos, &key, &value))
            found |= holds(core, value, depth - 1);
    }
    return found;
}

int pl_reference_holds(struct pl_core *core, PyObject *obj) {
    return holds(core, obj, SETTLED_DEPTH);
}

static PyObject *settled(struct pl_core *core, PyObject *obj, int depth);

/* Waiting for a future lets other threads change the list meanwhile: we settle what it was when we came. */
static PyObject *settled_items(struct pl_core *core, PyObject *obj, int depth) {
    PyObject *was = PySequence_Tuple(obj);
    Py_ssize_t n = was ? PyTuple_GET_SIZE(was) : 0;
    PyObject *copy = !was ? NULL : PyTuple_CheckExact(obj) ? PyTuple_New(n) : PyList_New(n);
    for (Py_ssize_t i = 0; copy && i < n; i++) {
        PyObject *item = settled(core, PyTuple_GET_ITEM(was, i), depth);
        if (!item)
            Py_CLEAR(copy);
        else if (PyTuple_CheckExact(obj))
            PyTuple_SET_ITEM(copy, i, item);
        else
            PyList_SET_ITEM(copy, i, item);
    }
    Py_XDECREF(was);
    return copy;
}

static PyObject *settled_dict(struct pl_core *core, PyObject *dict, int depth) {
    PyObject *copy = PyDict_Copy(dict), *key, *value;
    Py_ssize_t pos = 0;
    while (copy && PyDict_Next(copy, &pos, &key, &value)) { /* ours: only values change */
        PyObject *item = settled(core, value, depth);
        if (!item || PyDict_SetItem(copy, key, item) < 0)
            Py_CLEAR(copy);
        Py_XDECREF(item);
    }
    return copy;
}

/* The argument with results and put objects in the place of futures and handles; itself when there are none: objects
 * go to threads as they are. New reference. */
static PyObject *settled(struct pl_core *core, PyObject *obj, int depth) {
    if (Py_TYPE(obj) == core->state->handle_type)
        return pl_handle_check(obj, core) < 0 ? NULL : Py_NewRef(pl_handle_object(obj));
    if (Py_TYPE(obj) == core->state->future_type) {
        struct pl_future *future = (struct pl_future *)obj;
        if (pl_future_wait(future, -1) < 0)
            return NULL;
        if (future->status == PL_VALUE)
            return Py_NewRef(future->result);
        PyErr_SetObject((PyObject *)Py_TYPE(future->result), future->result);
        return NULL;
    }
    if (!holds(core, obj, depth))
        return Py_NewRef(obj);
    if (PyDict_CheckExact(obj))
        return settled_dict(core, obj, depth - 1);
    return settled_items(core, obj, depth - 1);
}

/* What the call raised, sys.exit() as what it is to others; of an interruption *outcome says why. NULL then. */
static PyObject *raised(struct pl_worker *worker, struct erg_record *record,
                        enum erg_outcome *outcome) {
    if (pl_worker_interrupted(worker, record, outcome))
        return NULL;
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *lost = PyErr_GivenExceptionMatches(exception, PyExc_SystemExit)
                         ? pl_exit_as_loss(exception)
                         : NULL;
    if (lost)
        Py_SETREF(exception, lost);
    PyErr_Clear();
    return exception;
}

enum erg_outcome pl_worker_run_reference(struct pl_worker *worker, struct erg_record *record) {
    PyObject *callable, *args, *kwargs, *after, *result = NULL;
    pl_record_objects(record, &callable, &args, &kwargs, &after);
    PyObject *first =
        after ? settled_items(worker->core, after, SETTLED_DEPTH) : Py_NewRef(Py_None);
    PyObject *a = first ? settled_items(worker->core, args, SETTLED_DEPTH) : NULL;
    Py_XDECREF(first);
    PyObject *k = a && kwargs ? settled_dict(worker->core, kwargs, SETTLED_DEPTH) : NULL;
    Py_INCREF(callable); /* the owner may give the task up and free it meanwhile */
    if (a && (k || !kwargs))
        result = PyObject_Call(callable, a, k);
    Py_DECREF(callable);
    Py_XDECREF(a);
    Py_XDECREF(k);
    enum erg_outcome outcome = ERG_OUT_OK;
    if (erg_record_overdue(worker->core->table, worker->running)) {
        PyErr_Clear();
        Py_CLEAR(result); /* nobody wants to know any more */
        outcome = ERG_OUT_TIMEOUT;
    } else if (!result && (result = raised(worker, record, &outcome))) {
        outcome = ERG_OUT_ERROR;
    }
    pl_record_set_object(record, result);
    return outcome;
}

/* --- chunks --------------------------------------------------------------------------------------- */

enum { LOOK_EVERY = 16, YIELD_NS = 5000000 };

/* A function in C never comes to where the interpreter lets other threads in: we do, between two items. */
static void let_others_in(uint64_t *since) {
    uint64_t now = erg_clock_ns();
    if (now - *since < YIELD_NS)
        return;
    Py_BEGIN_ALLOW_THREADS
    Py_END_ALLOW_THREADS
    *since = erg_clock_ns();
}

/* As erg_range_take, without its locked instruction: cuts are made by threads that hold the GIL, as we do. */
static int take(struct erg_record *record, uint32_t *item) {
    uint64_t range = atomic_load_explicit(&record->range, memory_order_relaxed);
    *item = (uint32_t)range;
    if (*item >= (uint32_t)(range >> 32))
        return 0;
    atomic_store_explicit(&record->range, range + 1, memory_order_relaxed);
    return 1;
}

enum { STACK_WIDTH = 8 };

/* Calls with room in front of the arguments: a bound method needs it for its object. */
static PyObject *call_item(const struct pl_items *items, PyObject *const *args) {
    PyObject *few[STACK_WIDTH + 1];
    if (items->width > STACK_WIDTH)
        return PyObject_Vectorcall(items->callable, args, items->width, NULL);
    for (uint32_t i = 0; i < items->width; i++)
        few[i + 1] = args[i];
    return PyObject_Vectorcall(items->callable, few + 1,
                               items->width | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static PyObject *run_item(struct pl_worker *worker, const struct pl_items *items, uint32_t item) {
    PyObject **args = items->args + (size_t)item * items->width;
    if (!items->settle)
        return items->star ? PyObject_Call(items->callable, args[0], NULL) : call_item(items, args);
    PyObject *tuple = items->star ? Py_NewRef(args[0]) : pl_items_tuple(items, item);
    if (tuple)
        Py_SETREF(tuple, settled_items(worker->core, tuple, SETTLED_DEPTH));
    PyObject *result = tuple ? PyObject_Call(items->callable, tuple, NULL) : NULL;
    Py_XDECREF(tuple);
    return result;
}

enum erg_outcome pl_worker_run_items(struct pl_worker *worker, struct erg_record *record) {
    struct pl_argblock *block = pl_record_block(record);
    struct pl_items *items = block->items;
    enum erg_outcome outcome = ERG_OUT_OK;
    uint64_t since = erg_clock_ns();
    uint32_t item, done = 0;
    block->refs++; /* the owner may give the task up and free it meanwhile */
    while (!worker->sent && take(record, &item)) {
        PyObject *result = run_item(worker, items, item);
        if (!result) {
            if (!(result = raised(worker, record, &outcome)))
                break;
            result = PL_RAISED(result);
        }
        PyObject **args = items->args + (size_t)item * items->width, *first = args[0];
        args[0] = result;
        /* release: for a reader that does not hold the GIL when it looks how far we are */
        atomic_store_explicit(&record->ndone, ++done, memory_order_release);
        Py_DECREF(first);
        for (uint32_t i = 1; i < items->width; i++)
            Py_CLEAR(args[i]);
        if (done % LOOK_EVERY == 0)
            let_others_in(&since);
    }
    if (worker->sent && outcome == ERG_OUT_OK && erg_range_left(record)) /* no bytecode saw it */
        outcome = pl_worker_why_interrupted(record);
    pl_argblock_unref(worker->core, block);
    return outcome;
}
