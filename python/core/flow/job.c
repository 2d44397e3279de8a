/* Calls of async functionals. A job is such a call under way on an event loop: the program's own where an async function
 * is scheduled, one in a thread of ours where a plain one is (ergon._coroutines). An Awaited is what the program gets for
 * its call in the first case: a coroutine in all but type. A Ready is what a pass gets: awaiting it gives what is known. */
#include "flow.h"

#include "os/futex.h"

#include <limits.h>
#include <structmember.h>

static struct flow_state *state_of(PyObject *o) {
    PyObject *module = core_module_of(Py_TYPE(o));
    return module ? fl_state_of(module) : NULL;
}

/* --- jobs ------------------------------------------------------------------------------------------------- */

struct fl_job *fl_job_new(struct flow_state *st) {
    return (struct fl_job *)st->job_type->tp_alloc(st->job_type, 0);
}

PyDoc_STRVAR(finish_doc, "finish($self, value, exception, /)\n--\n\n"
                         "The call is over; the first time counts. Any thread.");

static PyObject *job_finish(PyObject *o, PyObject *args) {
    struct fl_job *job = (struct fl_job *)o;
    struct flow_state *st = state_of(o);
    PyObject *value, *exception;
    if (!st || !PyArg_ParseTuple(args, "OO", &value, &exception))
        return NULL;
    if (job->done)
        Py_RETURN_NONE;
    if (exception != Py_None)
        job->exception = Py_NewRef(exception);
    else
        job->value = Py_NewRef(value);
    job->done = 1;
    atomic_fetch_add(&st->finished, 1);
    if (st->sleepers)
        erg_futex_wake(&st->finished, INT_MAX);
    Py_RETURN_NONE;
}

int fl_job_wait(struct flow_state *st, struct fl_job *job, double timeout) {
    uint32_t seen = atomic_load(&st->finished);
    if (job->done)
        return 0;
    st->sleepers++;
    Py_BEGIN_ALLOW_THREADS
        erg_futex_wait(&st->finished, seen, (int64_t)(timeout * 1e9));
    Py_END_ALLOW_THREADS
    st->sleepers--;
    return PyErr_CheckSignals();
}

static int job_traverse(PyObject *o, visitproc visit, void *arg) {
    struct fl_job *job = (struct fl_job *)o;
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(job->value);
    Py_VISIT(job->exception);
    Py_VISIT(job->task);
    return 0;
}

static int job_clear(PyObject *o) {
    struct fl_job *job = (struct fl_job *)o;
    Py_CLEAR(job->value);
    Py_CLEAR(job->exception);
    Py_CLEAR(job->task);
    return 0;
}

static void job_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    job_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyMethodDef job_methods[] = {
    {"finish", job_finish, METH_VARARGS, finish_doc},
    {NULL, NULL, 0, NULL},
};
static PyMemberDef job_members[] = {
    {"task", T_OBJECT, offsetof(struct fl_job, task), 0, NULL},
    {"dropped", T_INT, offsetof(struct fl_job, dropped), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define SLOT(name, function)                                                                       \
    { name, (void *)(function) }
static PyType_Slot job_slots[] = {
    SLOT(Py_tp_dealloc, job_dealloc), SLOT(Py_tp_traverse, job_traverse),
    SLOT(Py_tp_clear, job_clear),     SLOT(Py_tp_methods, job_methods),
    SLOT(Py_tp_members, job_members), {0, NULL},
};
static PyType_Spec job_spec = {
    .name = "ergon._core.Job",
    .basicsize = sizeof(struct fl_job),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = job_slots,
};

/* --- what the program awaits -------------------------------------------------------------------------------- */

struct awaited {
    PyObject_HEAD struct fl_job *job; /* NULL: awaited already */
    PyObject *args, *kwargs;          /* of the call, the program's own; kwargs may be NULL */
    PyObject *inner;                  /* iterator of the job's task, once somebody awaits */
    int pause;                        /* gives the loop a turn although the result is there */
};

PyObject *fl_awaited_new(struct flow_state *st, struct fl_job *job, PyObject *args,
                         PyObject *kwargs, int pause) {
    struct awaited *a = (struct awaited *)st->awaited_type->tp_alloc(st->awaited_type, 0);
    if (!a)
        return NULL;
    a->job = (struct fl_job *)Py_NewRef(job);
    a->args = Py_NewRef(args);
    a->kwargs = Py_XNewRef(kwargs);
    a->pause = pause;
    return (PyObject *)a;
}

/* The job's result for these arguments: new reference; NULL with what it raised. */
static PyObject *result_of(struct flow_state *st, const struct awaited *a) {
    struct fl_job *job = a->job;
    if (job->exception) {
        fl_raise(job->exception);
        return NULL;
    }
    PyObject *helper = PyImport_ImportModule("ergon._functional");
    PyObject *returned = helper ? PyObject_GetAttrString(helper, "Returned") : NULL, *r = NULL;
    (void)st;
    if (returned && (PyObject *)Py_TYPE(job->value) == returned)
        r = PyObject_CallMethod(helper, "incoming", "OOO", job->value, a->args,
                                a->kwargs ? a->kwargs : Py_None);
    else if (returned)
        r = Py_NewRef(job->value);
    Py_XDECREF(returned);
    Py_XDECREF(helper);
    return r;
}

PyObject *fl_awaited_peek(struct fl_run *run, PyObject *o) {
    struct awaited *a = (struct awaited *)o;
    return a->job && a->job->done ? result_of(run->st, a) : fl_unknown(run->st);
}

static int begin(struct awaited *a) {
    if (a->inner)
        return 0;
    if (!a->job->task || a->job->task == Py_None) {
        PyErr_SetString(PyExc_RuntimeError, "the event loop of this call has ended");
        return -1;
    }
    PyObject *method = PyObject_GetAttrString(a->job->task, "__await__");
    a->inner = method ? PyObject_CallNoArgs(method) : NULL;
    Py_XDECREF(method);
    return a->inner ? 0 : -1;
}

/* The call is over: raises StopIteration with the result, or what the call raised. */
static PyObject *end(struct awaited *a) {
    struct flow_state *st = state_of((PyObject *)a);
    PyObject *r = st ? result_of(st, a) : NULL;
    Py_CLEAR(a->job);
    Py_CLEAR(a->inner);
    if (r && !PyTuple_Check(r) && !PyExceptionInstance_Check(r)) {
        PyErr_SetObject(PyExc_StopIteration, r);
    } else if (r) {
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, r);
        if (stop)
            PyErr_SetObject(PyExc_StopIteration, stop);
        Py_XDECREF(stop);
    }
    Py_XDECREF(r);
    return NULL;
}

static PyObject *awaited_next(PyObject *o) {
    struct awaited *a = (struct awaited *)o;
    if (!a->job) {
        PyErr_SetString(PyExc_RuntimeError, "cannot reuse already awaited coroutine");
        return NULL;
    }
    if (a->pause) { /* a bare yield: the loop comes back at its next turn */
        a->pause = 0;
        Py_RETURN_NONE;
    }
    if (a->job->done)
        return end(a);
    if (begin(a) < 0)
        return NULL;
    PyObject *r = Py_TYPE(a->inner)->tp_iternext(a->inner);
    if (r)
        return r;
    if (!a->job->done) /* the task was cancelled before it began, or the loop ends */
        return NULL;
    PyErr_Clear();
    return end(a);
}

static PyObject *awaited_send(PyObject *o, PyObject *value) {
    (void)value;
    return awaited_next(o);
}

static PyObject *awaited_throw(PyObject *o, PyObject *args) {
    struct awaited *a = (struct awaited *)o;
    PyObject *type, *value = NULL, *traceback = NULL;
    if (!PyArg_ParseTuple(args, "O|OO", &type, &value, &traceback))
        return NULL;
    if (a->job && a->inner) {
        PyObject *method = PyObject_GetAttrString(a->inner, "throw");
        PyObject *r = method ? PyObject_CallObject(method, args) : NULL;
        Py_XDECREF(method);
        if (r || !a->job->done)
            return r;
        PyErr_Clear();
        return end(a);
    }
    fl_job_drop(a->job);
    Py_CLEAR(a->job);
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    } else if (PyExceptionClass_Check(type)) {
        PyErr_Restore(Py_NewRef(type), Py_XNewRef(value), NULL);
    } else {
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances of them");
    }
    return NULL;
}

static PyObject *awaited_close(PyObject *o, PyObject *none) {
    struct awaited *a = (struct awaited *)o;
    (void)none;
    fl_job_drop(a->job);
    Py_CLEAR(a->job);
    Py_CLEAR(a->inner);
    Py_RETURN_NONE;
}

static int awaited_traverse(PyObject *o, visitproc visit, void *arg) {
    struct awaited *a = (struct awaited *)o;
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(a->job);
    Py_VISIT(a->args);
    Py_VISIT(a->kwargs);
    Py_VISIT(a->inner);
    return 0;
}

static int awaited_clear(PyObject *o) {
    struct awaited *a = (struct awaited *)o;
    Py_CLEAR(a->job);
    Py_CLEAR(a->args);
    Py_CLEAR(a->kwargs);
    Py_CLEAR(a->inner);
    return 0;
}

static void awaited_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    if (((struct awaited *)o)->job && !((struct awaited *)o)->inner)
        fl_job_drop(((struct awaited *)o)->job); /* nobody ever awaited it */
    awaited_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyMethodDef awaited_methods[] = {
    {"send", awaited_send, METH_O, "Goes on."},
    {"throw", awaited_throw, METH_VARARGS, "Raises an exception where it waits."},
    {"close", awaited_close, METH_NOARGS, "Ends it."},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot awaited_slots[] = {
    SLOT(Py_tp_dealloc, awaited_dealloc), SLOT(Py_tp_traverse, awaited_traverse),
    SLOT(Py_tp_clear, awaited_clear),     SLOT(Py_tp_methods, awaited_methods),
    SLOT(Py_am_await, PyObject_SelfIter), SLOT(Py_tp_iter, PyObject_SelfIter),
    SLOT(Py_tp_iternext, awaited_next),   {0, NULL},
};
static PyType_Spec awaited_spec = {
    .name = "ergon._core.Awaited",
    .basicsize = sizeof(struct awaited),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = awaited_slots,
};

/* --- what a pass awaits --------------------------------------------------------------------------------------- */

struct ready {
    PyObject_HEAD PyObject *value, *exception;
};

PyObject *fl_ready_new(struct flow_state *st, PyObject *value) {
    PyObject *exception = value ? NULL : PyErr_GetRaisedException();
    struct ready *r = (struct ready *)st->ready_type->tp_alloc(st->ready_type, 0);
    if (!r) {
        Py_XDECREF(value);
        Py_XDECREF(exception);
        return NULL;
    }
    r->value = value;
    r->exception = exception;
    return (PyObject *)r;
}

PyObject *fl_ready_peek(PyObject *o) {
    struct ready *r = (struct ready *)o;
    if (r->exception)
        PyErr_SetRaisedException(Py_NewRef(r->exception));
    return Py_XNewRef(r->value);
}

static int ready_traverse(PyObject *o, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(((struct ready *)o)->value);
    Py_VISIT(((struct ready *)o)->exception);
    return 0;
}

static int ready_clear(PyObject *o) {
    Py_CLEAR(((struct ready *)o)->value);
    Py_CLEAR(((struct ready *)o)->exception);
    return 0;
}

static void ready_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    ready_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyType_Slot ready_slots[] = {
    SLOT(Py_tp_dealloc, ready_dealloc),
    SLOT(Py_tp_traverse, ready_traverse),
    SLOT(Py_tp_clear, ready_clear),
    {0, NULL},
};
static PyType_Spec ready_spec = {
    .name = "ergon._core.PassReady",
    .basicsize = sizeof(struct ready),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = ready_slots,
};

int fl_job_register(struct flow_state *st) {
    st->job_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &job_spec, NULL);
    st->awaited_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &awaited_spec, NULL);
    st->ready_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &ready_spec, NULL);
    return st->job_type && st->awaited_type && st->ready_type ? 0 : -1;
}

/* --- ergon._coroutines ---------------------------------------------------------------------------------------- */

static PyObject *host(struct flow_state *st) {
    if (!st->coroutines)
        st->coroutines = PyImport_ImportModule("ergon._coroutines");
    return st->coroutines;
}

int fl_job_start(struct flow_state *st, struct fl_job *job, PyObject *function, PyObject *args,
                 PyObject *kwargs, PyObject *owner) {
    PyObject *r = host(st) ? PyObject_CallMethod(host(st), "start", "OOOOO", job, function, args,
                                                 kwargs ? kwargs : Py_None, owner ? owner : Py_None)
                           : NULL;
    Py_XDECREF(r);
    return r ? 0 : -1;
}

void fl_job_drop(struct fl_job *job) {
    if (!job || job->done)
        return;
    struct flow_state *st = state_of((PyObject *)job);
    PyObject *before = PyErr_GetRaisedException();
    PyObject *r = st && host(st) ? PyObject_CallMethod(host(st), "drop", "O", job) : NULL;
    if (!r)
        PyErr_WriteUnraisable((PyObject *)job);
    Py_XDECREF(r);
    if (before)
        PyErr_SetRaisedException(before);
}

int fl_look_soon(struct flow_state *st, PyObject *owner) {
    PyObject *r = host(st) ? PyObject_CallMethod(host(st), "look_soon", "O", owner) : NULL;
    Py_XDECREF(r);
    return r ? 0 : -1;
}

/* Borrowed; NULL: no loop runs in this thread. */
static PyObject *asked(struct flow_state *st) {
    if (!st->running_loop) {
        PyObject *name = PyUnicode_FromString("asyncio.events");
        PyObject *events = name ? PyImport_GetModule(name) : NULL;
        Py_XDECREF(name);
        if (events)
            st->running_loop = PyObject_GetAttrString(events, "_get_running_loop");
        Py_XDECREF(events);
        PyErr_Clear();
    }
    return st->running_loop;
}

int fl_loop_runs(struct flow_state *st) {
    PyObject *loop = asked(st) ? PyObject_CallNoArgs(st->running_loop) : NULL;
    int rc = loop && loop != Py_None;
    PyErr_Clear();
    Py_XDECREF(loop);
    return rc;
}

int fl_drives_loop(struct flow_state *st, PyCodeObject *code, PyObject *globals) {
    PyObject *known = PyDict_GetItemWithError(st->drives, (PyObject *)code);
    if (known)
        return known == Py_True;
    PyObject *r = host(st) ? PyObject_CallMethod(host(st), "drives", "OO", code, globals) : NULL;
    if (PyDict_GET_SIZE(st->drives) > 4096)
        PyDict_Clear(st->drives);
    int rc = r && PyDict_SetItem(st->drives, (PyObject *)code, r) == 0 ? r == Py_True : -1;
    Py_XDECREF(r);
    return rc;
}
