/* Future: what becomes of one call, or of all calls of an amap.
 *
 * The result lies in the task table until somebody asks for it: then it is taken over here and the record is free.
 * Nobody has to wait in the background for that. Only a future with callbacks is watched: its record is pushed to
 * the completion ring, and the engine's completion thread takes the result and calls them. */
#include "pool.h"

#include <structmember.h>

static struct pl_future *cast(PyObject *obj) {
    return (struct pl_future *)obj;
}

static struct pl_future *future_alloc(PyTypeObject *type) {
    struct pl_future *self = cast(type->tp_alloc(type, 0));
    if (self) {
        self->task.handle = ERG_HANDLE_NONE;
        self->holder = ERG_NIL;
    }
    return self;
}

/* (value, exception or None): a future that is done. It has no core. */
PyObject *pl_settled(PyObject *module, PyObject *args) {
    PyObject *value, *exception;
    if (!PyArg_ParseTuple(args, "OO:_settled", &value, &exception))
        return NULL;
    struct pl_future *self = future_alloc(core_state_of(module)->pool->future_type);
    if (!self)
        return NULL;
    self->status = exception == Py_None ? PL_VALUE : PL_EXCEPTION;
    self->result = Py_NewRef(exception == Py_None ? value : exception);
    return (PyObject *)self;
}

PyObject *pl_future_new(struct pl_core *core) {
    struct pl_future *self = future_alloc(core->state->future_type);
    if (!self)
        return NULL;
    self->core = pl_core_ref(core);
    return (PyObject *)self;
}

int pl_future_check(struct pool_state *state, PyObject *obj) {
    return Py_TYPE(obj) == state->future_type;
}

/* --- predecessors a task keeps alive ------------------------------------------------------------------ */

static void holder_leave(struct pl_future *self) {
    if (self->holder == ERG_NIL)
        return;
    struct pl_core *core = self->core;
    struct pl_future *last = core->holders[--core->nholders];
    core->holders[self->holder] = last;
    last->holder = self->holder;
    self->holder = ERG_NIL;
}

/* Of a future whose record is done; NULL: its result is an ordinary one, or was taken over. */
static struct erg_away *away_of(const struct pl_future *self) {
    if (self->task.handle == ERG_HANDLE_NONE)
        return NULL;
    struct erg_table *table = self->core->table;
    return erg_record_away(table, erg_table_record(table, ERG_HANDLE_INDEX(self->task.handle)));
}

/* Its result is on another host, and should that be lost, it is made again from what it read. */
static int may_run_again(const struct pl_future *self) {
    const struct erg_away *away = away_of(self);
    return away && erg_away_phase(away) == ERG_AWAY_THERE &&
           atomic_load_explicit(&((struct erg_away *)away)->again_bytes, memory_order_relaxed) > 0;
}

/* Two at a time: those that ran let go of their predecessors although nobody asked for their result. */
static void holders_sweep(struct pl_core *core) {
    for (int i = 0; i < 2 && core->nholders; i++) {
        if (core->holder_cursor >= core->nholders)
            core->holder_cursor = 0;
        struct pl_future *future = core->holders[core->holder_cursor];
        if (!erg_record_done(core->table, future->task.handle) || may_run_again(future)) {
            core->holder_cursor++;
            continue;
        }
        holder_leave(future);
        future->task.held = 0;
        pl_futures_release(core, &future->task.futures); /* may free the future itself */
    }
}

int pl_future_hold(struct pl_future *self) {
    struct pl_core *core = self->core;
    if (!self->task.futures)
        return 0;
    holders_sweep(core);
    if (core->nholders == core->holder_cap) {
        uint32_t cap = core->holder_cap ? core->holder_cap * 2 : 64;
        struct pl_future **grown = PyMem_Realloc(core->holders, cap * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            return -1;
        }
        core->holders = grown;
        core->holder_cap = cap;
    }
    self->holder = core->nholders;
    core->holders[core->nholders++] = self;
    return 0;
}

/* --- the end ---------------------------------------------------------------------------------------------- */

static void run_callback(PyObject *callback, struct pl_future *self) {
    PyObject *r = PyObject_CallOneArg(callback, (PyObject *)self);
    if (!r)
        PyErr_WriteUnraisable(callback);
    Py_XDECREF(r);
}

void pl_future_resolve(struct pl_future *self, int status, PyObject *result) {
    self->status = status;
    self->result = result;
    PyObject *callbacks = self->callbacks;
    self->callbacks = NULL;
    for (Py_ssize_t i = 0; callbacks && i < PyList_GET_SIZE(callbacks); i++)
        run_callback(PyList_GET_ITEM(callbacks, i), self);
    Py_XDECREF(callbacks);
}

/* The exception that is set becomes the result. */
static void resolve_raised(struct pl_future *self, int cancelled) {
    PyObject *exception = PyErr_GetRaisedException();
    pl_future_resolve(self, cancelled ? PL_CANCELLED : PL_EXCEPTION, exception);
}

/* It is done and needs no word of it: completions of records that were freed since are never told. One record, or
 * all of a job's. */
static void unwatch(struct pl_future *self, uint32_t index) {
    PyObject *watched = self->core->watched, *found = NULL;
    PyObject *key = PyLong_FromUnsignedLong(index);
    if (key && PyDict_GetItemRef(watched, key, &found) == 1 && found == (PyObject *)self)
        PyDict_DelItem(watched, key);
    PyErr_Clear();
    Py_XDECREF(found);
    Py_XDECREF(key);
}

static void unwatch_job(struct pl_future *self) {
    PyObject *keys = PyDict_Keys(self->core->watched);
    for (Py_ssize_t i = 0; keys && i < PyList_GET_SIZE(keys); i++)
        unwatch(self, (uint32_t)PyLong_AsUnsignedLong(PyList_GET_ITEM(keys, i)));
    PyErr_Clear();
    Py_XDECREF(keys);
}

static int poll_job(struct pl_future *self) {
    int rc = pl_job_done(self->job);
    if (rc == 0)
        return 0;
    struct pl_job *job = self->job;
    PyObject *list = rc > 0 ? pl_job_take(job) : NULL;
    if (self->status != PL_PENDING) { /* somebody else was faster while Python code ran */
        Py_XDECREF(list);
        PyErr_Clear();
        return 1;
    }
    self->job = NULL;
    Py_INCREF(self);
    PyObject *raised = PyErr_GetRaisedException();
    if (job->watcher)
        unwatch_job(self);
    if (raised)
        PyErr_SetRaisedException(raised);
    if (list)
        pl_future_resolve(self, PL_VALUE, list);
    else
        resolve_raised(self, 0);
    pl_job_free(job);
    Py_DECREF(self);
    return 1;
}

/* Its thread goes on with it, so the record stays until that ends; and until those that entered tasks still have to look at
 * what became of it. */
static int poll_given_up(struct pl_future *self, int why) {
    holder_leave(self);
    Py_INCREF(self);
    if (self->callbacks)
        unwatch(self, ERG_HANDLE_INDEX(self->task.handle));
    if (!self->dependents)
        pl_call_orphan(self->core, &self->task);
    pl_raise_given_up(self->core, why);
    resolve_raised(self, 0);
    Py_DECREF(self);
    return 1;
}

/* Done, with a result that nobody needed so far and that is still on another host. */
static int ended_elsewhere(const struct pl_future *self) {
    return self->status == PL_PENDING && !self->job && self->task.handle != ERG_HANDLE_NONE &&
           !pl_core_foreign(self->core) && erg_record_done(self->core->table, self->task.handle) &&
           !erg_record_here(self->core->table, self->task.handle);
}

int pl_future_poll(struct pl_future *self) {
    if (self->status != PL_PENDING)
        return 1;
    if (self->job)
        return poll_job(self);
    struct pl_core *core = self->core;
    struct pl_task task = self->task;
    if (task.handle == ERG_HANDLE_NONE)
        return 0;
    if (!erg_record_done(core->table, task.handle)) {
        int why = pl_core_foreign(core) ? 0 : pl_given_up(core, task.handle);
        return why ? poll_given_up(self, why) : 0;
    }
    if (!erg_record_here(core->table, task.handle)) { /* on another host: now it is needed */
        erg_away_want(core->table, away_of(self));
        return 0;
    }
    /* Whoever comes in while user code unpickles finds the task gone and waits for the status. */
    holder_leave(self);
    memset(&self->task, 0, sizeof self->task);
    self->task.handle = ERG_HANDLE_NONE;
    Py_INCREF(self);
    if (self->callbacks)
        unwatch(self, ERG_HANDLE_INDEX(task.handle));
    struct erg_record *record = erg_table_record(core->table, ERG_HANDLE_INDEX(task.handle));
    int cancelled = erg_record_outcome(record) == ERG_OUT_CANCELLED;
    /* Entered tasks may still have to read it: then it stays until they are done, and this is a copy. */
    int needed = self->dependents > 0;
    PyObject *value = needed ? pl_call_peek(core, record) : pl_call_result(core, record);
    PyObject *raised = value ? NULL : PyErr_GetRaisedException();
    if (needed && self->dependents) {
        if (task.held)
            pl_futures_release(core, &task.futures);
        task.held = 0;
        self->task = task;
    } else {
        pl_call_free(core, &task);
    }
    pl_future_resolve(self,
                      value       ? PL_VALUE
                      : cancelled ? PL_CANCELLED
                                  : PL_EXCEPTION,
                      value ? value : raised);
    Py_DECREF(self);
    return 1;
}

void pl_futures_given_up(struct pl_core *core) {
    PyObject *futures = PyDict_Values(core->watched);
    for (Py_ssize_t i = 0; futures && i < PyList_GET_SIZE(futures); i++)
        if (pl_future_poll((struct pl_future *)PyList_GET_ITEM(futures, i)) < 0)
            PyErr_Clear();
    Py_XDECREF(futures);
    PyErr_Clear();
}

int pl_future_wait(struct pl_future *self, double timeout) {
    int64_t deadline = timeout < 0 ? INT64_MAX : (int64_t)erg_clock_ns() + (int64_t)(timeout * 1e9);
    for (;;) {
        int rc = pl_future_poll(self);
        if (rc)
            return rc;
        double left = timeout < 0 ? -1 : (double)(deadline - (int64_t)erg_clock_ns()) * 1e-9;
        if (timeout >= 0 && left <= 0)
            return 0;
        if (self->job) {
            rc = pl_job_progress(self->job, left);
        } else if (self->task.handle == ERG_HANDLE_NONE) { /* being decoded in another thread */
            Py_BEGIN_ALLOW_THREADS
                pl_nap();
            Py_END_ALLOW_THREADS
            rc = PyErr_CheckSignals();
        } else {
            rc = pl_wait(self->core, self->task.handle, left);
        }
        if (rc < 0)
            return -1;
    }
}

/* A reference to the result, or NULL with the exception raised. */
static PyObject *outcome(struct pl_future *self) {
    if (self->status == PL_VALUE)
        return Py_NewRef(self->result);
    /* Raised again and again, an exception must not pile up the tracebacks of all who asked. */
    PyObject *exception = Py_NewRef(self->result);
    PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
    Py_DECREF(exception);
    return NULL;
}

/* --- methods ------------------------------------------------------------------------------------------------- */

static int timeout_arg(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, const char *name,
                       double *timeout) {
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    *timeout = -1;
    if (nargs + nkw > 1) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most 1 argument (%zd given)", name,
                     nargs + nkw);
        return -1;
    }
    if (nkw && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "timeout") != 0) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'", name,
                     PyTuple_GET_ITEM(kwnames, 0));
        return -1;
    }
    if (nargs + nkw == 0)
        return 0;
    return pl_seconds(args[0], "timeout= is a number of seconds, or None", timeout);
}

static int wait_or_raise(struct pl_future *self, double timeout) {
    int rc = pl_future_wait(self, timeout);
    if (rc == 0)
        core_raise(self->core->state->module, CORE_EXC_TASK_TIMEOUT, "the result is not there yet");
    return rc > 0 ? 0 : -1;
}

PyDoc_STRVAR(
    result_doc,
    "result($self, timeout=None)\n--\n\n"
    "The call's result; waits for it at most ``timeout`` seconds (None: for ever).\n\n"
    "Raises what the call raised, TaskTimeout when it is not done in time, TaskCancelled when\n"
    "it was cancelled, WorkerLost when its worker died. `get` is the same.");

static PyObject *future_result(struct pl_future *self, PyObject *const *args, Py_ssize_t nargs,
                               PyObject *kw) {
    double timeout;
    if (timeout_arg(args, nargs, kw, "result", &timeout) < 0 || wait_or_raise(self, timeout) < 0)
        return NULL;
    return outcome(self);
}

PyDoc_STRVAR(
    exception_doc,
    "exception($self, timeout=None)\n--\n\n"
    "The exception the call raised, or None; waits like `result`. Raises TaskCancelled if it\n"
    "was cancelled.");

static PyObject *future_exception(struct pl_future *self, PyObject *const *args, Py_ssize_t nargs,
                                  PyObject *kw) {
    double timeout;
    if (timeout_arg(args, nargs, kw, "exception", &timeout) < 0 || wait_or_raise(self, timeout) < 0)
        return NULL;
    if (self->status == PL_CANCELLED)
        return outcome(self);
    return Py_NewRef(self->status == PL_EXCEPTION ? self->result : Py_None);
}

PyDoc_STRVAR(wait_doc,
             "wait($self, timeout=None)\n--\n\n"
             "Waits until the call is done or ``timeout`` seconds are over. Returns None.");

static PyObject *future_wait_method(struct pl_future *self, PyObject *const *args, Py_ssize_t nargs,
                                    PyObject *kw) {
    double timeout;
    if (timeout_arg(args, nargs, kw, "wait", &timeout) < 0 || pl_future_wait(self, timeout) < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(done_doc, "done($self, /)\n--\n\nWhether the call has ended, in whatever way.");

static PyObject *future_done(struct pl_future *self, PyObject *ignored) {
    (void)ignored;
    if (ended_elsewhere(self))
        Py_RETURN_TRUE;
    int rc = pl_future_poll(self);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

PyDoc_STRVAR(ready_doc, "ready($self, /)\n--\n\nThe same as `done`, under multiprocessing's name.");
PyDoc_STRVAR(get_doc,
             "get($self, timeout=None)\n--\n\nThe same as `result`, under multiprocessing's name.");
PyDoc_STRVAR(successful_doc,
             "successful($self, /)\n--\n\n"
             "Whether the call ended without an exception. Raises ValueError if it has not ended.");

static PyObject *future_successful(struct pl_future *self, PyObject *ignored) {
    (void)ignored;
    if (ended_elsewhere(self))
        Py_RETURN_TRUE; /* an exception does not stay there */
    int rc = pl_future_poll(self);
    if (rc < 0)
        return NULL;
    if (!rc) {
        PyErr_SetString(PyExc_ValueError, "the call has not ended: use wait() or done() first");
        return NULL;
    }
    return PyBool_FromLong(self->status == PL_VALUE);
}

PyDoc_STRVAR(running_doc, "running($self, /)\n--\n\nWhether a worker is executing the call now.");

static PyObject *future_running(struct pl_future *self, PyObject *ignored) {
    (void)ignored;
    if (ended_elsewhere(self))
        Py_RETURN_FALSE;
    if (pl_future_poll(self) < 0)
        return NULL;
    if (self->status != PL_PENDING || self->job || self->task.handle == ERG_HANDLE_NONE)
        return PyBool_FromLong(self->status == PL_PENDING);
    struct erg_record *record =
        erg_table_record(self->core->table, ERG_HANDLE_INDEX(self->task.handle));
    return PyBool_FromLong(erg_record_phase(record) == ERG_RUNNING);
}

PyDoc_STRVAR(cancel_doc, "cancel($self, /)\n--\n\n"
                         "Cancels the call: True if it will not deliver a result. One that has not "
                         "begun never begins; one that\n"
                         "runs in a worker process is interrupted, and the worker is replaced if "
                         "it does not stop; one that runs\n"
                         "in a thread gets an exception, where it can be reached. False if it has "
                         "ended or cannot be stopped.");

static PyObject *future_cancel(struct pl_future *self, PyObject *ignored) {
    (void)ignored;
    struct pl_core *core = self->core;
    if (ended_elsewhere(self))
        Py_RETURN_FALSE;
    if (pl_future_poll(self) < 0)
        return NULL;
    if (self->status == PL_CANCELLED)
        Py_RETURN_TRUE;
    if (self->status != PL_PENDING)
        Py_RETURN_FALSE;
    if (self->job) {
        struct pl_job *job = self->job;
        self->job = NULL;
        if (job->watcher)
            unwatch_job(self);
        pl_job_abandon(job, 1);
        core_raise(core->state->module, CORE_EXC_TASK_CANCELLED, "the map was cancelled");
        resolve_raised(self, 1);
        Py_RETURN_TRUE;
    }
    erg_handle handle = self->task.handle;
    if (handle == ERG_HANDLE_NONE)
        Py_RETURN_FALSE;
    struct erg_pool *pool = pl_core_pool(core);
    PyThreadState *saved = pl_engine_enter(core->state);
    int rc = pool ? erg_pool_cancel(pool, handle) : erg_record_cancel(pl_member(core), handle);
    pl_engine_leave(core->state, saved);
    if (rc == 1 && pl_future_poll(self) < 0)
        return NULL;
    return PyBool_FromLong(rc > 0);
}

PyDoc_STRVAR(cancelled_doc, "cancelled($self, /)\n--\n\nWhether the call was cancelled.");

static PyObject *future_cancelled(struct pl_future *self, PyObject *ignored) {
    (void)ignored;
    if (ended_elsewhere(self))
        Py_RETURN_FALSE;
    if (pl_future_poll(self) < 0)
        return NULL;
    return PyBool_FromLong(self->status == PL_CANCELLED);
}

/* The record, or each record of the job, will be pushed to the completion ring. */
static int watch(struct pl_future *self) {
    struct pl_core *core = self->core;
    if (self->job)
        return pl_job_watch(self->job, self);
    if (self->task.handle == ERG_HANDLE_NONE)
        return 0;
    return pl_watch(core, ERG_HANDLE_INDEX(self->task.handle), self->task.handle, (PyObject *)self);
}

/* It is done, but its result is on another host: the word comes with that. */
static int told_later(struct pl_core *core, erg_handle handle) {
    if (erg_record_here(core->table, handle))
        return 0;
    struct erg_record *record = erg_table_record(core->table, ERG_HANDLE_INDEX(handle));
    struct erg_away *away = erg_record_away(core->table, record);
    return away && erg_away_notify(core->table, away) == 0;
}

int pl_watch(struct pl_core *core, uint32_t index, erg_handle handle, PyObject *future) {
    PyObject *key = PyLong_FromUnsignedLong(index);
    int rc = key ? PyDict_SetItem(core->watched, key, future) : -1;
    if (rc == 0 && erg_record_notify(pl_member(core), handle) == 1 && !told_later(core, handle)) {
        rc = PyDict_DelItem(core->watched, key);
        Py_DECREF(key);
        return rc < 0 ? -1 : 1;
    }
    Py_XDECREF(key);
    return rc;
}

PyDoc_STRVAR(add_done_callback_doc, "add_done_callback($self, callback, /)\n--\n\n"
                                    "Calls ``callback(future)`` when the call has ended, at once "
                                    "if it has; from a thread of the pool's.\n"
                                    "Exceptions of callbacks are reported and ignored.");

static PyObject *future_add_done_callback(struct pl_future *self, PyObject *callback) {
    if (!PyCallable_Check(callback))
        return PyErr_Format(PyExc_TypeError, "a callback must be callable, not %.100s",
                            Py_TYPE(callback)->tp_name);
    if (pl_future_poll(self) < 0)
        return NULL;
    if (self->status != PL_PENDING) {
        run_callback(callback, self);
        Py_RETURN_NONE;
    }
    int first = !self->callbacks;
    if (first && !(self->callbacks = PyList_New(0)))
        return NULL;
    if (PyList_Append(self->callbacks, callback) < 0)
        return NULL;
    if (first) {
        int rc = watch(self);
        if (rc < 0 || (rc == 1 && pl_future_poll(self) < 0))
            return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *future_await(struct pl_future *self) {
    PyObject *module = PyImport_ImportModule("ergon._async");
    PyObject *iterator = module ? PyObject_CallMethod(module, "iterate", "O", self) : NULL;
    Py_XDECREF(module);
    return iterator;
}

static PyObject *future_repr(struct pl_future *self) {
    static const char *const words[] = {"pending", "done", "failed", "cancelled"};
    return PyUnicode_FromFormat("<ergon.Future %s at %p>", words[self->status], self);
}

/* --- completions ------------------------------------------------------------------------------------------------ */

void pl_future_on_complete(void *ctx, const erg_handle *handles, size_t n) {
    struct pl_core *core = ctx;
    if (Py_IsFinalizing())
        return;
    PyGILState_STATE gil = PyGILState_Ensure();
    pl_core_ref(core);
    for (size_t i = 0; i < n; i++) {
        PyObject *key = PyLong_FromUnsignedLong(ERG_HANDLE_INDEX(handles[i])), *future = NULL;
        if (key && core->watched && PyDict_GetItemRef(core->watched, key, &future) == 1) {
            /* Without a handle its result was taken over already; another handle is a later task's. */
            if (cast(future)->job || cast(future)->task.handle == handles[i] ||
                cast(future)->task.handle == ERG_HANDLE_NONE)
                PyDict_DelItem(core->watched, key);
            if (ended_elsewhere(cast(future)) && watch(cast(future)) == 0)
                Py_CLEAR(future); /* once more when its result is here */
            else if (pl_future_poll(cast(future)) < 0)
                PyErr_WriteUnraisable(future);
        }
        Py_XDECREF(future);
        Py_XDECREF(key);
        if (PyErr_Occurred())
            PyErr_WriteUnraisable(NULL);
    }
    pl_core_unref_aside(core);
    PyGILState_Release(gil);
}

/* --- the type ----------------------------------------------------------------------------------------------------- */

static int future_traverse(struct pl_future *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->result);
    Py_VISIT(self->callbacks);
    Py_VISIT(self->task.futures);
    Py_VISIT(self->task.blobs);
    return 0;
}

static int future_clear(struct pl_future *self) {
    Py_CLEAR(self->result);
    Py_CLEAR(self->callbacks);
    return 0;
}

static void future_dealloc(struct pl_future *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    if (self->core) {
        holder_leave(self);
        if (self->job)
            pl_job_abandon(self->job, 0);
        pl_call_orphan(self->core, &self->task);
    }
    future_clear(self);
    if (self->core)
        pl_core_unref(self->core);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef future_methods[] = {
    {"result", CORE_METHOD(future_result), METH_FASTCALL | METH_KEYWORDS, result_doc},
    {"get", CORE_METHOD(future_result), METH_FASTCALL | METH_KEYWORDS, get_doc},
    {"exception", CORE_METHOD(future_exception), METH_FASTCALL | METH_KEYWORDS, exception_doc},
    {"wait", CORE_METHOD(future_wait_method), METH_FASTCALL | METH_KEYWORDS, wait_doc},
    {"done", CORE_METHOD(future_done), METH_NOARGS, done_doc},
    {"ready", CORE_METHOD(future_done), METH_NOARGS, ready_doc},
    {"running", CORE_METHOD(future_running), METH_NOARGS, running_doc},
    {"successful", CORE_METHOD(future_successful), METH_NOARGS, successful_doc},
    {"cancel", CORE_METHOD(future_cancel), METH_NOARGS, cancel_doc},
    {"cancelled", CORE_METHOD(future_cancelled), METH_NOARGS, cancelled_doc},
    {"add_done_callback", CORE_METHOD(future_add_done_callback), METH_O, add_done_callback_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     "Future[int], in annotations: of a call that gives an int."},
    {NULL, NULL, 0, NULL},
};

static PyMemberDef future_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct pl_future, weakrefs), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(future_doc, "What becomes of a call: made by apipe, amap and submit.\n\n"
                         "Awaitable; has the methods of concurrent.futures.Future and of "
                         "multiprocessing's AsyncResult.\n"
                         "As an argument of another call it stands for its result, which travels "
                         "from worker to worker.");

static PyType_Slot future_slots[] = {
    {Py_tp_dealloc, future_dealloc}, {Py_tp_traverse, future_traverse}, {Py_tp_clear, future_clear},
    {Py_tp_methods, future_methods}, {Py_tp_members, future_members},   {Py_tp_repr, future_repr},
    {Py_am_await, future_await},     {Py_tp_doc, (void *)future_doc},   {0, NULL},
};

static PyType_Spec future_spec = {
    .name = "ergon.Future",
    .basicsize = sizeof(struct pl_future),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = future_slots,
};

int pl_future_register(struct pool_state *state) {
    state->future_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &future_spec, NULL);
    return state->future_type && PyModule_AddType(state->module, state->future_type) == 0 ? 0 : -1;
}
