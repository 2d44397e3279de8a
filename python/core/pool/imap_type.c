/* The iterators of imap (in order) and uimap (as results come).
 *
 * Items are taken from the iterables ahead of the consumer, as many as erg_balance_window allows, and entered in
 * chunks whose size follows what items take. An iterable that raises ends the items; its exception comes after the
 * results of the items before it. */
#include "pool.h"

struct pl_imap {
    PyObject_HEAD struct pl_job *job; /* NULL once at the end */
    int unordered;
};

/* Items entered and not yet taken by the consumer. */
static uint64_t in_flight(const struct pl_job *job) {
    return (uint64_t)(job->pulled - job->delivered);
}

static int fill_window(struct pl_job *job) {
    while (!job->exhausted) {
        job->balance.beyond = pl_core_beyond(job->core);
        uint64_t window = erg_balance_window(&job->balance), now = in_flight(job);
        uint32_t most = job->options.chunksize > 0
                            ? (uint32_t)job->options.chunksize
                            : erg_balance_chunk(&job->balance, ERG_ITEMS_UNKNOWN);
        if (job->outstanding && now + (job->options.chunksize > 0 ? 1 : most) > window)
            return 0;
        int rc = pl_job_feed(job, most);
        if (rc <= 0)
            return rc;
    }
    return 0;
}

/* A result that is there, of the first chunk or of any. 1, 0 none yet, 2 none will come, -1 exception. */
static int take(struct pl_imap *self, PyObject **value) {
    struct pl_job *job = self->job;
    struct pl_chunk *previous = NULL, *chunk = job->head;
    while (chunk) {
        int rc = pl_job_read(job, chunk, value);
        if (rc == 2) {
            struct pl_chunk *next = chunk->next;
            pl_job_drop(job, previous, chunk);
            chunk = next;
            continue;
        }
        if (rc)
            return rc;
        if (!self->unordered)
            return 0;
        previous = chunk;
        chunk = chunk->next;
    }
    return !job->head && job->exhausted ? 2 : 0;
}

static void end(struct pl_imap *self) {
    struct pl_job *job = self->job;
    self->job = NULL;
    if (!job)
        return;
    if (job->busy == PL_BUSY) /* that is us */
        job->busy = 0;
    pl_job_abandon(job, 0);
}

/* The end of the items: StopIteration, or what the iterable raised. */
static PyObject *finish(struct pl_imap *self) {
    self->job->progress_ns = 0;
    if (pl_job_report(self->job) < 0) {
        end(self);
        return NULL;
    }
    PyObject *error = self->job->pull_error;
    self->job->pull_error = NULL;
    end(self);
    if (error)
        PyErr_SetRaisedException(error);
    return NULL;
}

static PyObject *imap_step(struct pl_imap *self, double timeout, int *again) {
    struct pl_job *job = self->job;
    PyObject *value = NULL;
    *again = 0;
    int rc = fill_window(job) < 0 ? -1 : take(self, &value);
    if (rc == 2)
        return finish(self);
    if (rc == 1) {
        job->delivered++;
        if (pl_job_report(job) < 0)
            Py_CLEAR(value);
        return value;
    }
    if (rc == 0)
        rc = pl_job_wait(job, job->head, timeout);
    if (rc < 0) {
        end(self);
        return NULL;
    }
    *again = 1;
    return NULL;
}

/* timeout < 0: none. */
static PyObject *imap_get(struct pl_imap *self, double timeout) {
    int64_t deadline = timeout < 0 ? 0 : (int64_t)erg_clock_ns() + (int64_t)(timeout * 1e9);
    while (self->job) {
        if (self->job->busy == PL_BUSY_DRAINED) { /* by join() in another thread */
            Py_BEGIN_ALLOW_THREADS
                pl_nap();
            Py_END_ALLOW_THREADS
            if (PyErr_CheckSignals() < 0)
                return NULL;
            continue;
        }
        if (self->job->busy) {
            PyErr_SetString(PyExc_ValueError,
                            "the iterator is being advanced in another thread already");
            return NULL;
        }
        double left = timeout < 0 ? -1 : (double)(deadline - (int64_t)erg_clock_ns()) * 1e-9;
        struct pl_job *job = self->job;
        int again;
        job->busy = PL_BUSY;
        PyObject *value = imap_step(self, left < 0 ? timeout < 0 ? -1 : 0 : left, &again);
        if (self->job)
            self->job->busy = 0;
        if (!again)
            return value;
        if (timeout >= 0 && left <= 0)
            return core_raise(self->job->core->state->module, CORE_EXC_TASK_TIMEOUT,
                              "the next result is not there yet");
    }
    return NULL;
}

static PyObject *imap_next(struct pl_imap *self) {
    return imap_get(self, -1);
}

PyDoc_STRVAR(
    next_doc,
    "next($self, timeout=None)\n--\n\n"
    "The next result, waiting at most ``timeout`` seconds; TaskTimeout if it is not there by then\n"
    "(the iterator goes on). Raises StopIteration at the end and what the item raised.");

static PyObject *imap_next_method(struct pl_imap *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"timeout", NULL};
    PyObject *wish = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:next", names, &wish))
        return NULL;
    double timeout;
    if (pl_seconds(wish, "timeout= is a number of seconds, or None", &timeout) < 0)
        return NULL;
    PyObject *value = imap_get(self, timeout);
    if (!value && !PyErr_Occurred())
        PyErr_SetNone(PyExc_StopIteration);
    return value;
}

PyObject *pl_imap(struct pl_core *core, PyObject *callable, PyObject *iterables, int unordered,
                  const struct pl_options *options) {
    struct pl_job *job = pl_job_new(core, callable, iterables, 0, options);
    if (!job)
        return NULL;
    job->busy = PL_BUSY;
    int rc = fill_window(job);
    job->busy = 0;
    if (rc < 0) {
        pl_job_abandon(job, 0);
        return NULL;
    }
    PyTypeObject *type = core->state->imap_type;
    struct pl_imap *self = (struct pl_imap *)type->tp_alloc(type, 0);
    if (!self) {
        pl_job_abandon(job, 0);
        return NULL;
    }
    self->job = job;
    self->unordered = unordered;
    return (PyObject *)self;
}

static int imap_traverse(struct pl_imap *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    if (self->job) {
        Py_VISIT(self->job->callable);
        Py_VISIT(self->job->iterators);
        Py_VISIT(self->job->source);
    }
    return 0;
}

static void imap_dealloc(struct pl_imap *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    end(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMethodDef imap_methods[] = {
    {"next", CORE_METHOD(imap_next_method), METH_VARARGS | METH_KEYWORDS, next_doc},
    {"__class_getitem__", Py_GenericAlias, METH_O | METH_CLASS,
     "MapIterator[int], in annotations: its results are ints."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot imap_slots[] = {
    {Py_tp_dealloc, imap_dealloc},
    {Py_tp_traverse, imap_traverse},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, imap_next},
    {Py_tp_methods, imap_methods},
    {Py_tp_doc, "Results of an imap or uimap, as they come."},
    {0, NULL},
};

static PyType_Spec imap_spec = {
    .name = "ergon._core.MapIterator",
    .basicsize = sizeof(struct pl_imap),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = imap_slots,
};

int pl_imap_register(struct pool_state *state) {
    state->imap_type = (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &imap_spec, NULL);
    return state->imap_type && PyModule_AddType(state->module, state->imap_type) == 0 ? 0 : -1;
}
