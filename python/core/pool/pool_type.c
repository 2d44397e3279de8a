/* Pool: the type ergon.Pool derives from. Each object is a view (a core and options); views share the core. */
#include "pool.h"

#include <structmember.h>

static struct pl_pool *cast(PyObject *obj) {
    return (struct pl_pool *)obj;
}

/* The core, if the pool was opened. */
static struct pl_core *core_of(struct pl_pool *self) {
    if (!self->core)
        PyErr_SetString(PyExc_RuntimeError,
                        "the pool was not opened: __init__ of the base class was not called");
    return self->core;
}

/* A view of a class of Python's: what a task finds in the place of the pool it runs in. */
static PyObject *pool_view(struct pl_core *core) {
    PyObject *module = PyImport_ImportModule("ergon.pool");
    PyObject *type = module ? PyObject_GetAttrString(module, "Pool") : NULL;
    Py_XDECREF(module);
    if (!type)
        return NULL;
    PyObject *self = ((PyTypeObject *)type)->tp_alloc((PyTypeObject *)type, 0);
    Py_DECREF(type);
    if (self)
        cast(self)->core = pl_core_ref(core);
    return self;
}

/* (uid): the pool of that number, in a worker of its or in the process that opened it. */
PyObject *pl_pool_by_uid(PyObject *module, PyObject *arg) {
    unsigned long long uid = PyLong_AsUnsignedLongLong(arg);
    if (PyErr_Occurred())
        return NULL;
    struct pl_worker *worker = pl_worker_current();
    if (worker && worker->core->uid == uid && !worker->core->ending)
        return pool_view(worker->core);
    for (struct pl_core *core = core_state_of(module)->pool->cores; core; core = core->sibling)
        if (core->uid == uid && !core->ending)
            return pool_view(core);
    return core_raise(
        module, CORE_EXC_ERGON_ERROR,
        "a task can use the pool it runs in and pools of its own process; this one "
        "belongs to another process, or has ended: open a pool inside the task instead");
}

static PyObject *pool_reduce(struct pl_pool *self, PyObject *ignored) {
    (void)ignored;
    struct pl_core *core = core_of(self);
    PyObject *by_uid = core ? PyObject_GetAttrString(core->state->module, "_pool_by_uid") : NULL;
    return by_uid ? Py_BuildValue("N(K)", by_uid, (unsigned long long)core->uid) : NULL;
}

static int pool_init(struct pl_pool *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"processes", "threads",      "setup",   "max_tasks", "stop_limit",
                            "grace",     "thread_setup", "preload", "places",    "asked",
                            "stage_in",  "stage_out",    "lineage", NULL};
    int processes, threads, max_tasks = 0, preload = 0;
    Py_buffer setup;
    double stop_limit = 0, grace = 0;
    long long lineage = 0;
    PyObject *thread_setup = Py_None, *places = NULL, *asked = NULL;
    PyObject *stage_in = Py_None, *stage_out = Py_None;
    struct erg_place_spec *specs;
    int nspecs;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiy*|iddOiOOOOL", names, &processes, &threads,
                                     &setup, &max_tasks, &stop_limit, &grace, &thread_setup,
                                     &preload, &places, &asked, &stage_in, &stage_out, &lineage))
        return -1;
    if (pl_places_parse(places, &specs, &nspecs) < 0) {
        PyBuffer_Release(&setup);
        return -1;
    }
    preload = preload < 0 ? 0 : preload > 2 ? 2 : preload;
    struct erg_pool_spec spec = {.processes = processes,
                                 .threads = threads,
                                 .places = specs,
                                 .places_len = nspecs,
                                 .init = setup.buf,
                                 .init_len = (size_t)setup.len,
                                 .max_tasks_per_worker = max_tasks,
                                 .lineage_bytes = lineage,
                                 .stop_limit_ns = (int64_t)(stop_limit * 1e9),
                                 .grace_ns = (int64_t)(grace * 1e9)};
    struct pool_state *state = core_state_of(core_module_of(Py_TYPE(self)))->pool;
    struct pl_core *core = pl_core_new(state, &spec, thread_setup, asked, preload);
    PyBuffer_Release(&setup);
    pl_places_free(specs, nspecs);
    if (!core)
        return -1;
    struct pl_core *old = self->core;
    self->core = core;
    pl_options_clear(&self->options);
    self->options.stage_in = stage_in == Py_None ? NULL : Py_NewRef(stage_in);
    self->options.stage_out = stage_out == Py_None ? NULL : Py_NewRef(stage_out);
    if (old)
        pl_core_unref(old);
    return 0;
}

/* --- maps --------------------------------------------------------------------------------------------------- */

typedef PyObject *(*mapper)(struct pl_core *, PyObject *, PyObject *, int,
                            const struct pl_options *);

/* f, *iterables, **options */
static PyObject *call_mapper(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames, const char *name, mapper map, int flag) {
    struct pl_core *core = core_of(self);
    if (!core)
        return NULL;
    if (nargs < 2)
        return PyErr_Format(PyExc_TypeError, "%s() takes a function and at least one iterable",
                            name);
    if (flag == 1 && map != pl_imap && nargs != 2)
        return PyErr_Format(PyExc_TypeError,
                            "%s() takes a function and one iterable of argument tuples", name);
    struct pl_options options;
    pl_options_copy(&options, &self->options);
    PyObject *iterables = NULL, *result = NULL, *f = NULL;
    if (pl_options_parse(&options, args + nargs, kwnames) == 0 &&
        pl_options_resolve(core, &options) == 0 && (iterables = PyTuple_New(nargs - 1)) &&
        (f = pl_options_staged(core, &options, args[0]))) {
        for (Py_ssize_t i = 1; i < nargs; i++)
            PyTuple_SET_ITEM(iterables, i - 1, Py_NewRef(args[i]));
        result = map(core, f, iterables, flag, &options);
    }
    Py_XDECREF(f);
    Py_XDECREF(iterables);
    pl_options_clear(&options);
    return result;
}

#define MAPPER(function, name, map, flag)                                                          \
    static PyObject *function(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,       \
                              PyObject *kw) {                                                      \
        return call_mapper(self, args, nargs, kw, name, map, flag);                                \
    }
MAPPER(pool_map, "map", pl_map, 0)
MAPPER(pool_starmap, "starmap", pl_map, 1)
MAPPER(pool_amap, "amap", pl_amap, 0)
MAPPER(pool_imap, "imap", pl_imap, 0)
MAPPER(pool_uimap, "uimap", pl_imap, 1)

#define OPTIONS_DOC                                                                                \
    "Options: chunksize (items sent at a time; adapts), timeout (seconds a call may take: "        \
    "TaskTimeout), retries\n"                                                                      \
    "(runs again after a lost worker), readonly (arrays arrive as read-only views, without a "     \
    "copy), pure\n"                                                                                \
    "(a promise: nobody notices when a call is made twice), progress "                             \
    "(True, a label, or a callable), resources ({'kind': 'process' or 'thread'}, {'host': 'name' " \
    "or "                                                                                          \
    "['names']},\n"                                                                                \
    "{'tags': 'gpu'}: who may run it), stage_in (files other hosts get first), stage_out (files "  \
    "they give back)."

PyDoc_STRVAR(
    map_doc,
    "map($self, f, /, *iterables, **options)\n--\n\n"
    "The list ``[f(*items) for items in zip(*iterables)]``; ends with the shortest iterable.\n\n"
    "Raises what the first failing call (in order) raised, WorkerLost, PicklingError, "
    "PoolClosed.\n" OPTIONS_DOC);
PyDoc_STRVAR(starmap_doc, "starmap($self, f, iterable, /, **options)\n--\n\n"
                          "The list ``[f(*args) for args in iterable]``.\n" OPTIONS_DOC);
PyDoc_STRVAR(amap_doc,
             "amap($self, f, /, *iterables, **options)\n--\n\n"
             "A Future of what `map` returns. All items are taken at once.\n" OPTIONS_DOC);
PyDoc_STRVAR(imap_doc, "imap($self, f, /, *iterables, **options)\n--\n\n"
                       "An iterator over the results in order. Looks ahead at most 64 MB of items "
                       "or 4 tasks a worker,\n"
                       "whichever is more, so the iterables may be infinite. A call that raised "
                       "raises at its turn.\n" OPTIONS_DOC);
PyDoc_STRVAR(uimap_doc,
             "uimap($self, f, /, *iterables, **options)\n--\n\n"
             "An iterator over the results in the order they come; else as `imap`.\n" OPTIONS_DOC);

/* --- calls ----------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(
    pipe_doc,
    "pipe($self, f, /, *args, **kwds)\n--\n\n"
    "``f(*args, **kwds)`` in a worker: its result. Every keyword goes to f; options(...) sets the\n"
    "pool's. Raises what f raised, WorkerLost, TaskTimeout, PicklingError, PoolClosed.");

/* Waits for the task and takes it apart. */
static PyObject *finish_task(struct pl_core *core, struct pl_task *task) {
    int rc = pl_wait(core, task->handle, -1);
    if (rc > 1)
        pl_raise_given_up(core, rc);
    if (rc != 1) {
        PyObject *raised = PyErr_GetRaisedException();
        if (pl_core_pool(core))
            erg_pool_cancel(core->pool, task->handle);
        pl_call_orphan(core, task);
        PyErr_SetRaisedException(raised);
        return NULL;
    }
    PyObject *value =
        pl_call_result(core, erg_table_record(core->table, ERG_HANDLE_INDEX(task->handle)));
    if (value) {
        pl_call_free(core, task);
        return value;
    }
    PyObject *raised = PyErr_GetRaisedException();
    pl_call_free(core, task);
    PyErr_SetRaisedException(raised);
    return NULL;
}

static PyObject *pool_pipe(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames) {
    struct pl_core *core = core_of(self);
    if (!core)
        return NULL;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "pipe() takes a function and its arguments");
        return NULL;
    }
    struct pl_task task;
    PyObject *f = pl_options_staged(core, &self->options, args[0]);
    int rc =
        f ? pl_call_submit(core, f, args + 1, nargs - 1, kwnames, &self->options, NULL, &task) : -1;
    Py_XDECREF(f);
    if (rc < 0) {
        if (f)
            Py_CLEAR(task.failed);
        return NULL;
    }
    pl_core_ref(core);
    PyObject *result = finish_task(core, &task);
    pl_core_unref(core);
    return result;
}

static PyObject *submit_future(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kwnames, const struct pl_options *options,
                               PyObject *after) {
    PyObject *f = pl_options_staged(self->core, options, args[0]);
    struct pl_future *future = f ? (struct pl_future *)pl_future_new(self->core) : NULL;
    if (!future) {
        Py_XDECREF(f);
        return NULL;
    }
    struct pl_options ours = *options; /* borrowed */
    ours.stays = 1;
    int rc =
        pl_call_submit(self->core, f, args + 1, nargs - 1, kwnames, &ours, after, &future->task);
    Py_DECREF(f);
    PyObject *failed = rc < 0 ? future->task.failed : NULL;
    if (failed) { /* what it depends on has failed: so has this call */
        future->task.failed = NULL;
        PyErr_Clear();
        pl_future_resolve(future, PL_EXCEPTION, failed);
    } else if (rc < 0 || pl_future_hold(future) < 0) {
        Py_CLEAR(future);
    }
    return (PyObject *)future;
}

PyDoc_STRVAR(apipe_doc, "apipe($self, f, /, *args, **kwds)\n--\n\n"
                        "A Future of ``f(*args, **kwds)``. Every keyword goes to f.");

static PyObject *pool_apipe(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,
                            PyObject *kwnames) {
    if (!core_of(self))
        return NULL;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "apipe() takes a function and its arguments");
        return NULL;
    }
    return submit_future(self, args, nargs, kwnames, &self->options, NULL);
}

PyDoc_STRVAR(
    submit_doc,
    "submit($self, f, /, *args, after=(), resources=None, retries=0, timeout=None, **kwds)\n--\n\n"
    "One node of a graph: a Future of ``f(*args, **kwds)``, run once every Future among the "
    "arguments and\n"
    "in ``after`` is done. A Future among the arguments arrives as its result; if that is an "
    "exception, this\n"
    "call fails with it. Only these four keywords are the pool's.");

/* Splits the four keywords off. rest: names of the others; their values are moved to the front of `values`. */
static int split_keywords(PyObject *const *values, PyObject *kwnames, struct pl_options *options,
                          PyObject **after, PyObject **rest, PyObject **rest_values) {
    Py_ssize_t kept = 0;
    PyObject *names[64];
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_CompareWithASCIIString(name, "after") == 0) {
            *after = values[i];
        } else if (PyUnicode_CompareWithASCIIString(name, "resources") == 0 ||
                   PyUnicode_CompareWithASCIIString(name, "retries") == 0 ||
                   PyUnicode_CompareWithASCIIString(name, "timeout") == 0) {
            PyObject *one = PyTuple_Pack(1, name);
            int rc = one ? pl_options_parse(options, &values[i], one) : -1;
            Py_XDECREF(one);
            if (rc < 0)
                return -1;
        } else if (kept == 64) {
            PyErr_SetString(PyExc_TypeError,
                            "submit() takes at most 64 keywords: use functools.partial for more");
            return -1;
        } else {
            names[kept] = name;
            rest_values[kept++] = values[i];
        }
    }
    if (kept && !(*rest = PyTuple_New(kept)))
        return -1;
    for (Py_ssize_t i = 0; i < kept; i++)
        PyTuple_SET_ITEM(*rest, i, Py_NewRef(names[i]));
    return 0;
}

static PyObject *submit_keywords(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,
                                 PyObject *kwnames) {
    struct pl_options options;
    pl_options_copy(&options, &self->options);
    PyObject *after = NULL, *rest = NULL, *future = NULL, *rest_values[64];
    if (split_keywords(args + nargs, kwnames, &options, &after, &rest, rest_values) == 0 &&
        pl_options_resolve(self->core, &options) == 0) {
        Py_ssize_t nrest = rest ? PyTuple_GET_SIZE(rest) : 0;
        PyObject **all = PyMem_New(PyObject *, nargs + nrest);
        if (all) {
            memcpy(all, args, (size_t)nargs * sizeof *all);
            memcpy(all + nargs, rest_values, (size_t)nrest * sizeof *all);
            future = submit_future(self, all, nargs, rest, &options, after);
            PyMem_Free(all);
        } else {
            PyErr_NoMemory();
        }
    }
    Py_XDECREF(rest);
    pl_options_clear(&options);
    return future;
}

static PyObject *pool_submit(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,
                             PyObject *kwnames) {
    if (!core_of(self))
        return NULL;
    if (nargs < 1) {
        PyErr_SetString(PyExc_TypeError, "submit() takes a function and its arguments");
        return NULL;
    }
    if (kwnames && PyTuple_GET_SIZE(kwnames))
        return submit_keywords(self, args, nargs, kwnames);
    return submit_future(self, args, nargs, NULL, &self->options, NULL);
}

PyDoc_STRVAR(put_doc,
             "put($self, obj, /)\n--\n\n"
             "A handle any task of the pool takes as an argument in the place of obj, which "
             "travels to each\n"
             "worker once, as it is now. Arrays in it arrive as read-only views without a copy.\n\n"
             "Everything else in it is read-only by promise: the tasks of one worker share one "
             "copy, and a\n"
             "list that a task changes stays changed for the next task there, and for no other "
             "worker.\nWhat tasks write to goes among the arguments.");

static PyObject *pool_put(struct pl_pool *self, PyObject *obj) {
    struct pl_core *core = core_of(self);
    return core ? pl_handle_new(core, obj, 0) : NULL;
}

PyDoc_STRVAR(options_doc,
             "options($self, /, **options)\n--\n\n"
             "The same pool with options set for every call through it.\n" OPTIONS_DOC);

static PyObject *pool_options(struct pl_pool *self, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames) {
    struct pl_core *core = core_of(self);
    if (!core)
        return NULL;
    if (nargs)
        return PyErr_Format(PyExc_TypeError, "options() takes keywords only");
    PyTypeObject *type = Py_TYPE(self);
    struct pl_pool *view = cast(type->tp_alloc(type, 0));
    if (!view)
        return NULL;
    view->core = pl_core_ref(core);
    pl_options_copy(&view->options, &self->options);
    if (self->dict && !(view->dict = PyDict_Copy(self->dict)))
        Py_CLEAR(view);
    else if (pl_options_parse(&view->options, args, kwnames) < 0 ||
             pl_options_resolve(core, &view->options) < 0)
        Py_CLEAR(view);
    return (PyObject *)view;
}

/* --- life ------------------------------------------------------------------------------------------------------------ */

/* What a worker may not do with the pool it works for. */
static struct pl_core *own_core(struct pl_pool *self) {
    struct pl_core *core = core_of(self);
    if (!core)
        return NULL;
    if (pl_core_foreign(core)) {
        pl_core_check(core);
        return NULL;
    }
    if (!core->pool) {
        PyErr_SetString(PyExc_RuntimeError, "a task cannot close or change the pool it runs in");
        return NULL;
    }
    return core;
}

/* Ended with the engine, or a forked child's inheritance: there is nothing left to end. */
static int ended(struct pl_pool *self) {
    return self->core && pl_core_foreign(self->core);
}

static PyObject *none_or_raise(struct pl_core *core, int rc, const struct erg_error *err) {
    if (rc < 0 && !PyErr_Occurred())
        core_raise_error(core->state->module, rc, err);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(close_doc,
             "close($self, /)\n--\n\nNo new tasks; those entered are run. join() waits for them.");

static PyObject *pool_close(struct pl_pool *self, PyObject *ignored) {
    (void)ignored;
    if (ended(self))
        Py_RETURN_NONE;
    struct pl_core *core = own_core(self);
    if (!core)
        return NULL;
    core->closing = 1;
    pl_jobs_close(core);
    Py_RETURN_NONE;
}

enum { WAIT_SLICE_NS = 200000000, WAIT_RAISED = 1 };

/* Waits inside of the engine, in slices, so that signals are seen: until wait() gives anything but that its time is over,
 * shutdown() ends the pool, or the timeout (< 0: none) has passed. What wait() gave last, or WAIT_RAISED with an
 * exception. */
static int wait_in_slices(struct pl_pool *self,
                          int (*wait)(struct erg_pool *, int, int64_t, struct erg_error *),
                          int count, double timeout, struct erg_error *err) {
    struct pl_core *core = self->core;
    int64_t deadline = (int64_t)erg_clock_ns() + (int64_t)(timeout * 1e9);
    for (;;) {
        int64_t slice = WAIT_SLICE_NS, left = deadline - (int64_t)erg_clock_ns();
        if (timeout >= 0 && left < slice)
            slice = left < 0 ? 0 : left;
        PyThreadState *saved = pl_engine_enter(core->state);
        int rc = wait(core->pool, count, slice, err);
        pl_engine_leave(core->state, saved);
        if (PyErr_CheckSignals() < 0)
            return WAIT_RAISED;
        if (ended(self) || (rc != ERG_EINTR && (rc != ERG_ETIMEOUT || (timeout >= 0 && left <= 0))))
            return rc;
    }
}

static int join_slice(struct erg_pool *pool, int unused, int64_t slice, struct erg_error *err) {
    (void)unused;
    return erg_pool_join(pool, slice, err);
}

PyDoc_STRVAR(
    join_doc,
    "join($self, timeout=None, *, unsized=True)\n--\n\n"
    "After close() or terminate(): waits until all tasks are done and the workers have gone.\n"
    "Raises TaskTimeout after ``timeout`` seconds, ValueError while the pool is open. Iterators of "
    "imap and\n"
    "uimap that are alive take the rest of their items now; with unsized=False those whose "
    "iterables\n"
    "have no length end instead.");

static PyObject *pool_join(struct pl_pool *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"timeout", "unsized", NULL};
    PyObject *wish = Py_None;
    int unsized = 1;
    if (ended(self))
        Py_RETURN_NONE;
    struct pl_core *core = own_core(self);
    if (!core || !PyArg_ParseTupleAndKeywords(args, kwargs, "|O$p:join", names, &wish, &unsized))
        return NULL;
    double timeout;
    if (pl_seconds(wish, "timeout= is a number of seconds, or None", &timeout) < 0)
        return NULL;
    if (core->closing && pl_jobs_drain(core, unsized) < 0)
        return NULL;
    struct erg_error err = {0};
    int rc = wait_in_slices(self, join_slice, 0, timeout, &err);
    if (rc == WAIT_RAISED)
        return NULL;
    if (ended(self)) /* by shutdown() in another thread */
        Py_RETURN_NONE;
    if (rc == ERG_ESTATE) {
        PyErr_SetString(PyExc_ValueError,
                        "the pool is still open: close() or terminate() it before join()");
        return NULL;
    }
    if (rc == 0)
        pl_call_sweep(core, 1);
    return none_or_raise(core, rc, &err);
}

PyDoc_STRVAR(terminate_doc, "terminate($self, /)\n--\n\nEnds the pool now: tasks not done are "
                            "cancelled, running ones stopped.");

static PyObject *pool_terminate(struct pl_pool *self, PyObject *ignored) {
    (void)ignored;
    if (ended(self))
        Py_RETURN_NONE;
    struct pl_core *core = own_core(self);
    if (!core)
        return NULL;
    struct erg_error err = {0};
    PyThreadState *saved = pl_engine_enter(core->state);
    int rc = erg_pool_terminate(core->pool, &err);
    pl_engine_leave(core->state, saved);
    pl_futures_given_up(core);
    pl_call_sweep(core, 1);
    return none_or_raise(core, rc, &err);
}

PyDoc_STRVAR(restart_doc,
             "_restart($self, setup, /)\n--\n\n"
             "restart(); workers of this machine are told setup, or with b\"\" what those "
             "before were told.");

/* Without the GIL. Other threads may end and restart it as well. */
static int restart(struct erg_pool *pool, PyObject *setup, struct erg_error *err) {
    for (;;) {
        int rc = erg_pool_join(pool, -1, err);
        int open = rc == ERG_ESTATE ? erg_pool_check(pool, NULL) : ERG_ECLOSED;
        if (open == ERG_ELAUNCH || open == ERG_ELOST) /* it is, and broken */
            rc = erg_pool_terminate(pool, err);
        if (rc == 0)
            rc = erg_pool_restart(pool, PyBytes_AS_STRING(setup), (size_t)PyBytes_GET_SIZE(setup),
                                  err);
        if (rc != ERG_ESTATE)
            return rc;
        if (erg_pool_check(pool, NULL) == 0)
            return 0;
    }
}

static PyObject *pool_restart(struct pl_pool *self, PyObject *setup) {
    struct pl_core *core = own_core(self);
    if (!core)
        return NULL;
    if (!PyBytes_Check(setup)) {
        PyErr_SetString(PyExc_TypeError, "setup must be bytes");
        return NULL;
    }
    if (erg_pool_check(core->pool, NULL) == 0 && !core->closing)
        Py_RETURN_NONE;
    if (core->closing && pl_jobs_drain(core, 0) < 0)
        return NULL;
    struct erg_error err = {0};
    pl_core_ref(core);
    PyThreadState *saved = pl_engine_enter(core->state);
    int rc = restart(core->pool, setup, &err);
    pl_engine_leave(core->state, saved);
    if (rc == 0)
        core->closing = 0;
    PyObject *done = none_or_raise(core, rc, &err);
    pl_core_unref(core);
    return done;
}

PyDoc_STRVAR(
    resize_doc,
    "_resize($self, processes, threads, /)\n--\n\nChanges the numbers of workers; -1 keeps one.");

static PyObject *pool_resize(struct pl_pool *self, PyObject *args) {
    int processes, threads;
    struct pl_core *core = own_core(self);
    if (!core || !PyArg_ParseTuple(args, "ii:_resize", &processes, &threads))
        return NULL;
    struct erg_error err = {0};
    PyThreadState *saved = pl_engine_enter(core->state);
    int rc = erg_pool_resize(core->pool, processes, threads, &err);
    pl_engine_leave(core->state, saved);
    if (rc == 0 && pl_core_pool(core))
        erg_pool_size(core->pool, &core->processes, &core->threads);
    return none_or_raise(core, rc, &err);
}

PyDoc_STRVAR(
    wait_up_doc,
    "_wait_up($self, count, timeout, /)\n--\n\n"
    "Waits until that many workers are up: True, False after timeout seconds (below 0: never), "
    "LaunchError.");

static PyObject *pool_wait_up(struct pl_pool *self, PyObject *args) {
    int count;
    double timeout;
    struct pl_core *core = own_core(self);
    if (!core || !PyArg_ParseTuple(args, "id:_wait_up", &count, &timeout))
        return NULL;
    struct erg_error err = {0};
    int rc = wait_in_slices(self, erg_pool_wait_up, count, timeout, &err);
    if (rc == WAIT_RAISED || (ended(self) && pl_core_check(core) < 0))
        return NULL;
    if (rc == ERG_ETIMEOUT)
        Py_RETURN_FALSE;
    return rc < 0 ? pl_raise_broken(core, rc, &err) : Py_NewRef(Py_True);
}

/* --- looking --------------------------------------------------------------------------------------------------------- */

PyDoc_STRVAR(workers_doc, "_workers($self, /)\n--\n\nA dict for each worker.");

static PyObject *pool_workers(struct pl_pool *self, PyObject *ignored) {
    (void)ignored;
    static const char *const states[] = {"starting", "idle", "busy", "stopped", "leaving"};
    struct pl_core *core = own_core(self);
    if (!core)
        return NULL;
    struct erg_worker_info info[ERG_MEMBERS_LIMIT];
    int n = erg_pool_workers(core->pool, info, ERG_MEMBERS_LIMIT);
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < n && i < ERG_MEMBERS_LIMIT; i++) {
        PyObject *one = Py_BuildValue("{sIsssssisKsdsKsK}", "number", info[i].member, "kind",
                                      info[i].kind == ERG_MEMBER_THREAD ? "thread" : "process",
                                      "state", states[info[i].state], "pid", (int)info[i].pid,
                                      "tasks", (unsigned long long)info[i].tasks, "busy_s",
                                      (double)info[i].busy_ns * 1e-9, "bytes_in",
                                      (unsigned long long)info[i].bytes_in, "bytes_out",
                                      (unsigned long long)info[i].bytes_out);
        if (!one || PyList_Append(list, one) < 0)
            Py_CLEAR(list);
        Py_XDECREF(one);
    }
    return list;
}

PyDoc_STRVAR(places_doc, "_places($self, /)\n--\n\nA dict for each host of the pool.");

static PyObject *pool_places(struct pl_pool *self, PyObject *ignored) {
    (void)ignored;
    struct pl_core *core = own_core(self);
    return core ? pl_places_info(core) : NULL;
}

PyDoc_STRVAR(
    counts_doc,
    "_counts($self, /)\n--\n\nWhat happened to workers and tasks since the pool was opened.");

static PyObject *pool_counts(struct pl_pool *self, PyObject *ignored) {
    (void)ignored;
    struct pl_core *core = own_core(self);
    if (!core)
        return NULL;
    struct erg_pool_counts c = {0};
    erg_pool_counts(core->pool, &c);
    return Py_BuildValue(
        "{sKsKsKsKsKsisdsK}", "workers_started", (unsigned long long)c.workers_started,
        "workers_lost", (unsigned long long)c.workers_lost, "tasks_lost",
        (unsigned long long)c.tasks_lost, "tasks_retried", (unsigned long long)c.tasks_retried,
        "tasks_interrupted", (unsigned long long)c.tasks_interrupted, "workers_up", c.workers_up,
        "first_up_s", (double)c.first_up_ns * 1e-9, "memory_bytes",
        (unsigned long long)erg_table_memory(core->table));
}

static PyObject *get_processes(struct pl_pool *self, void *ignored) {
    (void)ignored;
    return core_of(self) ? PyLong_FromLong(self->core->processes) : NULL;
}

static PyObject *get_threads(struct pl_pool *self, void *ignored) {
    (void)ignored;
    return core_of(self) ? PyLong_FromLong(self->core->threads) : NULL;
}

static PyObject *get_closed(struct pl_pool *self, void *ignored) {
    (void)ignored;
    struct pl_core *core = core_of(self);
    if (!core)
        return NULL;
    return PyBool_FromLong(pl_core_foreign(core) || core->closing ||
                           (core->pool && erg_pool_check(core->pool, NULL) < 0));
}

/* --- the type ----------------------------------------------------------------------------------------------------------- */

static int pool_traverse(struct pl_pool *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->options.progress);
    Py_VISIT(self->options.stage_in);
    Py_VISIT(self->options.stage_out);
    Py_VISIT(self->dict);
    return 0;
}

static int pool_clear(struct pl_pool *self) {
    pl_options_clear(&self->options);
    Py_CLEAR(self->dict);
    return 0;
}

static void pool_dealloc(struct pl_pool *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    pool_clear(self);
    if (self->core)
        pl_core_unref(self->core);
    type->tp_free(self);
    Py_DECREF(type);
}

#define FAST(function) CORE_METHOD(function), METH_FASTCALL | METH_KEYWORDS
static PyMethodDef pool_methods[] = {
    {"map", FAST(pool_map), map_doc},
    {"starmap", FAST(pool_starmap), starmap_doc},
    {"amap", FAST(pool_amap), amap_doc},
    {"imap", FAST(pool_imap), imap_doc},
    {"uimap", FAST(pool_uimap), uimap_doc},
    {"pipe", FAST(pool_pipe), pipe_doc},
    {"apipe", FAST(pool_apipe), apipe_doc},
    {"submit", FAST(pool_submit), submit_doc},
    {"put", CORE_METHOD(pool_put), METH_O, put_doc},
    {"options", FAST(pool_options), options_doc},
    {"close", CORE_METHOD(pool_close), METH_NOARGS, close_doc},
    {"join", CORE_METHOD(pool_join), METH_VARARGS | METH_KEYWORDS, join_doc},
    {"terminate", CORE_METHOD(pool_terminate), METH_NOARGS, terminate_doc},
    {"_restart", CORE_METHOD(pool_restart), METH_O, restart_doc},
    {"_resize", CORE_METHOD(pool_resize), METH_VARARGS, resize_doc},
    {"_wait_up", CORE_METHOD(pool_wait_up), METH_VARARGS, wait_up_doc},
    {"__reduce__", CORE_METHOD(pool_reduce), METH_NOARGS,
     "A pickled pool is a handle on the pool a task runs in."},
    {"_workers", CORE_METHOD(pool_workers), METH_NOARGS, workers_doc},
    {"_places", CORE_METHOD(pool_places), METH_NOARGS, places_doc},
    {"_counts", CORE_METHOD(pool_counts), METH_NOARGS, counts_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pool_getset[] = {
    {"processes", (getter)get_processes, NULL, "Worker processes wanted.", NULL},
    {"threads", (getter)get_threads, NULL, "Worker threads wanted.", NULL},
    {"closed", (getter)get_closed, NULL, "Whether it takes no more tasks.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef pool_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct pl_pool, weakrefs), READONLY, NULL},
    {"__dictoffset__", T_PYSSIZET, offsetof(struct pl_pool, dict), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot pool_slots[] = {
    {Py_tp_init, pool_init},
    {Py_tp_dealloc, pool_dealloc},
    {Py_tp_traverse, pool_traverse},
    {Py_tp_clear, pool_clear},
    {Py_tp_methods, pool_methods},
    {Py_tp_getset, pool_getset},
    {Py_tp_members, pool_members},
    {Py_tp_doc, "Base of ergon.Pool."},
    {0, NULL},
};

static PyType_Spec pool_spec = {
    .name = "ergon._core.Pool",
    .basicsize = sizeof(struct pl_pool),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = pool_slots,
};

int pl_pool_register(struct pool_state *state) {
    state->pool_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &pool_spec, NULL);
    return state->pool_type && PyModule_AddType(state->module, state->pool_type) == 0 ? 0 : -1;
}
