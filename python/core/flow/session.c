/* One outermost call of a scheduled function.
 *
 * Every functional call under way is an entry. The real function takes entries out, in its own order; passes look at
 * them, put new ones in, and stamp those they met, so that equal calls are told apart by their order. Entries nobody
 * took are cancelled at the end. */
#include "session.h"

enum { QUICK_CALLS = 64 };
static const double SOON = 300e-6;

static _Thread_local struct fl_session *current_session;

struct fl_session *fl_session_current(void) {
    return current_session;
}

void fl_session_make_current(struct fl_session *s) {
    current_session = s;
}

int fl_session_forbids(void) {
    struct fl_session *s = current_session;
    if (!s || !s->passing || s->trusted)
        return 0;
    PyErr_SetNone(s->st->stop);
    return 1;
}

void fl_session_trust(struct fl_session *s, int change) {
    s->trusted += change;
}

/* Calls follow one another so quickly that one of them may be made here, to see what it takes. */
static int worth_trying(struct fl_session *s, struct fl_entry *e, const struct fl_functional *f) {
    if (!fl_entry_done(s, e) || f->remote_only || fl_is_cheap(f)) {
        s->quick = 0;
        return 0;
    }
    if (s->quick++ == 0)
        s->quick_since = erg_clock_ns();
    if (s->quick < QUICK_CALLS)
        return 0;
    s->quick = 0;
    return (double)(erg_clock_ns() - s->quick_since) * 1e-9 < QUICK_CALLS * FL_CHEAP;
}

/* How long to sleep before looking at the other calls: soon where a pass waits for results, else the longer the longer it
 * has taken so far. */
static double patience(const struct fl_session *s, uint64_t since, int failed) {
    if (failed || !s->count)
        return 0.05;
    double waited = (double)(erg_clock_ns() - since) * 1e-9;
    double pause = s->blocked || waited < 8 * SOON ? SOON : waited / 8;
    return pause < 0.05 ? pause : 0.05;
}

/* Results that come one by one by the thousand do not each start a pass: three times as long as the last took, none. */
static int rests(const struct fl_session *s) {
    return !s->dirty && s->rest_until && erg_clock_ns() < s->rest_until;
}

/* 0 done, -1 exception (a signal). */
static int wait_for(struct fl_session *s, struct fl_entry *e, PyObject *functional) {
    int failed = 0;
    uint64_t since = erg_clock_ns();
    PyObject *unknown = NULL;
    s->awaited = e;
    int rc = 0;
    while (!fl_entry_done(s, e)) {
        if ((rc = fl_session_arrivals(s)) < 0)
            break;
        if (!failed && fl_session_wants_pass(s, functional) && !rests(s) &&
            (unknown || (unknown = fl_unknown(s->st)))) {
            uint64_t before = erg_clock_ns();
            rc = fl_session_pass(s, functional, unknown, &failed);
            s->rest_until = s->jobs ? 4 * erg_clock_ns() - 3 * before : 0;
            if (rc < 0)
                break;
            continue;
        }
        double nap = patience(s, since, failed);
        if (e->job)
            rc = fl_job_wait(s->st, e->job, s->count > s->jobs || rests(s) ? nap : 0.05);
        else if ((rc = pl_wait(s->core, e->task.handle, nap)) > 1)
            rc = (pl_raise_given_up(s->core, rc), -1);
        if (rc < 0)
            break;
        rc = 0;
    }
    s->awaited = NULL;
    Py_XDECREF(unknown);
    return rc;
}

static PyObject *call_here(struct fl_functional *f, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames) {
    uint64_t before = erg_clock_ns();
    PyObject *r = PyObject_Vectorcall(f->function, args, (size_t)nargs, kwnames);
    double cost = (double)(erg_clock_ns() - before) * 1e-9;
    f->cost =
        f->cost < 0 || f->cost > FL_DEAR || cost > FL_DEAR ? cost : f->cost * 0.9 + cost * 0.1;
    if (cost > FL_DEAR)
        f->cheap = 0;
    return r;
}

/* How often the same place of the program has called in a row: what native code there has had already. */
static void count_place(struct fl_session *s, PyObject *functional, PyObject *const *args,
                        Py_ssize_t nargs, PyObject *kwnames) {
    struct fl_place now;
    fl_place_now(&now, functional, args, nargs, kwnames);
    s->at_place = now.frame == s->place.frame && now.lasti == s->place.lasti ? s->at_place + 1 : 1;
    s->place = now;
}

/* Raises it as the functional's frames would have: the exception raised first there has the one handled here as its context. */
void fl_raise(PyObject *exception) {
    PyObject *handled = PyErr_GetHandledException(), *last = Py_NewRef(exception), *next;
    int met = handled == exception;
    while (!met && (next = PyException_GetContext(last))) {
        Py_SETREF(last, next);
        met = last == handled;
    }
    if (handled && !met)
        PyException_SetContext(last, Py_NewRef(handled));
    Py_DECREF(last);
    Py_XDECREF(handled);
    PyErr_SetRaisedException(Py_NewRef(exception));
}

static PyObject *outcome(struct fl_session *s, struct fl_entry *e, PyObject *functional,
                         PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int held = fl_signals_hold();
    fl_entry_decode(s, e);
    PyObject *r = e->value ? fl_entry_value(s, e, args, nargs, kwnames) : NULL;
    if (fl_signals_release(held) < 0) {
        Py_XDECREF(r);
        return NULL;
    }
    if (e->value) {
        if (r || !PyErr_ExceptionMatches(PyExc_Exception))
            return r;
        PyErr_Clear();
        e->here = 1;
    }
    if (e->here || PyErr_GivenExceptionMatches(e->exception, s->unpickled[0]) ||
        PyErr_GivenExceptionMatches(e->exception, s->unpickled[1]))
        return call_here((struct fl_functional *)functional, args, nargs,
                         kwnames); /* it cannot travel */
    fl_raise(e->exception);
    return NULL;
}

static void learn(struct fl_functional *f, const struct fl_entry *e, int alone) {
    double took = (double)(erg_clock_ns() - e->entered_ns) * 1e-9;
    if (took > FL_DEAR)
        f->cheap = 0;
    else if (alone && took < FL_DEAR)
        f->cheap++;
}

/* What any call needs. 0 or -1. */
int fl_session_prepare(struct fl_session *s) {
    int held = fl_signals_hold();
    s->buckets = PyMem_Calloc(FL_BUCKETS, sizeof *s->buckets);
    s->helper = PyImport_ImportModule("ergon._functional");
    s->raised = s->helper ? (PyTypeObject *)PyObject_GetAttrString(s->helper, "Raised") : NULL;
    s->returned = s->raised ? (PyTypeObject *)PyObject_GetAttrString(s->helper, "Returned") : NULL;
    if (s->returned) {
        s->unpickled[0] = core_exc_class(s->st->module, CORE_EXC_PICKLING_ERROR);
        s->unpickled[1] = core_exc_class(s->st->module, CORE_EXC_UNPICKLING_ERROR);
    }
    int complete = s->buckets && s->returned && s->unpickled[0] && s->unpickled[1];
    if (!complete && !PyErr_Occurred())
        PyErr_NoMemory();
    if (fl_signals_release(held) == 0 && complete)
        return 0;
    PyMem_Free(s->buckets);
    s->buckets = NULL;
    Py_CLEAR(s->helper);
    Py_CLEAR(s->raised);
    Py_CLEAR(s->returned);
    return -1;
}

/* The pool is asked for when the first functional is called. 0, also without a pool; -1. */
static int session_open(struct fl_session *s) {
    if (!s->buckets && fl_session_prepare(s) < 0)
        return -1;
    s->core = fl_pool_core(s->st);
    if (!s->core)
        return PyErr_Occurred() ? -1 : 0;
    if (s->core
            ->by_reference) { /* threads alone share objects: a call's arguments would be no snapshot */
        s->core = NULL;
        return 0;
    }
    s->pool = s->st->pool; /* as long as the session lasts */
    s->st->pool = NULL;
    s->cap = 4u * (unsigned)(s->core->processes + s->core->threads) + 64;
    return 0;
}

/* What became of a call, by the line it is made in. */
void fl_session_explain(struct fl_session *s, PyObject *functional, const char *what,
                        uint64_t since) {
    PyFrameObject *frame = s->st->explain ? PyEval_GetFrame() : NULL;
    PyCodeObject *code = frame ? PyFrame_GetCode(frame) : NULL;
    if (code) {
        int unit = PyFrame_GetLasti(frame) / 2;
        PyObject *name = PyObject_GetAttrString(functional, "__name__");
        const char *text = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
        char calls[120];
        PyErr_Clear();
        snprintf(calls, sizeof calls, "calls %s", text ? text : "a functional");
        fl_explain(s->st, code, unit, calls, 1);
        fl_explain(s->st, code, unit, what, 1);
        if (since)
            fl_explain(s->st, code, unit, "microseconds waited",
                       (long)((erg_clock_ns() - since) / 1000));
        Py_XDECREF(name);
    }
    Py_XDECREF(code);
}

PyObject *fl_watched(PyObject *by, PyObject *functional, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames) {
    PyObject *tuple, *dict;
    if (fl_pack(args, nargs, kwnames, &tuple, &dict) < 0)
        return NULL;
    PyObject *r = PyObject_CallFunctionObjArgs(by, functional, tuple, dict ? dict : Py_None, NULL);
    Py_DECREF(tuple);
    Py_XDECREF(dict);
    return r;
}

/* Tells check mode what became of a call; r or the exception that is set. Takes and returns r. */
static PyObject *recorded(struct fl_session *s, PyObject *functional, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames, PyObject *r) {
    PyObject *tuple, *dict, *exception = r ? NULL : PyErr_GetRaisedException();
    int rc = fl_pack(args, nargs, kwnames, &tuple, &dict);
    if (rc == 0) {
        struct fl_session *inside = current_session;
        PyObject *told =
            PyObject_CallFunctionObjArgs(s->st->record, functional, tuple, dict ? dict : Py_None,
                                         r ? r : Py_None, exception ? exception : Py_None, NULL);
        current_session = inside;
        Py_XDECREF(told);
        Py_DECREF(tuple);
        Py_XDECREF(dict);
    }
    if (PyErr_Occurred())
        PyErr_WriteUnraisable(functional);
    if (exception)
        PyErr_SetRaisedException(exception);
    return r;
}

PyObject *fl_session_call(struct fl_session *s, PyObject *functional, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames) {
    struct fl_functional *f = (struct fl_functional *)functional;
    struct fl_sig sig;
    s->st->calls++;
    if (PyThreadState_Get()->c_tracefunc && !f->is_async &&
        !s->passing) /* who traces wants to see every line */
        return call_here(f, args, nargs, kwnames);
    if (s->passing) { /* native code of a pass came here by a way we do not know */
        PyErr_SetNone(s->st->stop);
        return NULL;
    }
    if (f->is_async ? !s->buckets && fl_session_prepare(s) < 0 : !s->core && session_open(s) < 0)
        return NULL;
    if (!f->is_async && (!s->core || pl_core_foreign(s->core) || s->core->closing))
        return call_here(f, args, nargs, kwnames);
    if (!f->is_async && fl_is_cheap(f) && s->count == 0) {
        fl_session_explain(s, functional, "ran in place: it is quicker here", 0);
        s->st->inlined++;
        return call_here(f, args, nargs, kwnames);
    }
    count_place(s, functional, args, nargs, kwnames);
    int held = fl_signals_hold();
    int rc = fl_entry_signature(s, NULL, functional, args, nargs, kwnames, &sig);
    if (fl_signals_release(held) < 0)
        return NULL;
    if (rc < 0) {
        int unseen = PyErr_ExceptionMatches(s->st->need_value);
        if (!unseen && !PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear();
        fl_session_explain(s, functional,
                           unseen ? "ran in place: it looks at what only this process has"
                                  : "ran in place: its arguments cannot be pickled",
                           0);
        s->st->inlined++;
        return call_here(f, args, nargs, kwnames);
    }
    struct fl_entry *e = fl_entry_find(s, functional, &sig, 0, fl_site_real(s));
    int foreseen = e != NULL;
    s->args = args;
    if (foreseen && !e->job && worth_trying(s, e, f)) {
        fl_entry_unlink(s, e);
        e->bytes = 0;
        fl_entry_free(s, e);
        s->st->inlined++;
        PyObject *r = call_here(f, args, nargs, kwnames);
        f->cheap = f->cost < FL_CHEAP ? FL_CHEAP_CALLS : 0;
        return r;
    }
    held = foreseen ? 0 : fl_signals_hold();
    if (!foreseen)
        e = fl_entry_enter(s, functional, &sig, args, nargs, kwnames);
    if (fl_signals_release(held) < 0)
        return NULL; /* if it was entered, it is among those that are cancelled in the end */
    if (foreseen)
        s->st->hits++;
    else if (!e) {
        if (!PyErr_ExceptionMatches(PyExc_Exception) ||
            (f->resources && PyErr_ExceptionMatches(PyExc_ValueError)))
            return NULL; /* the latter: the pool has no such host */
        PyErr_Clear();
        return call_here(f, args, nargs, kwnames);
    } else {
        s->dirty = 1;
    }
    uint64_t since = erg_clock_ns();
    int alone = !foreseen && s->count == 1;
    fl_entry_unlink(s, e);
    PyObject *r = NULL;
    rc = wait_for(s, e, functional);
    fl_session_explain(s, functional, foreseen ? "ran ahead" : "waited for", since);
    if (rc == 0) {
        if (!e->job)
            learn(f, e, alone);
        r = outcome(s, e, functional, args, nargs, kwnames);
        if (r && s->capped && fl_session_wants_pass(s, functional)) {
            int failed;
            if (fl_session_pass(s, functional, r, &failed) < 0)
                Py_CLEAR(r);
        }
    }
    e->bytes = 0;
    fl_entry_free(s, e);
    return s->st->record ? recorded(s, functional, args, nargs, kwnames, r) : r;
}

/* --- begin and end ------------------------------------------------------------------------------------------- */

struct fl_session *fl_session_new(struct flow_state *st) {
    struct fl_session *s = PyMem_Calloc(1, sizeof *s);
    if (!s) {
        PyErr_NoMemory();
        return NULL;
    }
    s->st = st;
    s->serial = ++st->sessions;
    s->base = fl_frame_base();
    s->dirty = 1;
    s->bold = 1;
    return s;
}

enum { CODES_KEPT = 1024 }; /* programs that make functions from text would pile them up */

void fl_session_end(struct fl_session *s) {
    if (s->st->code_ptrs.used > CODES_KEPT && s->st->passing == 0)
        fl_code_free_all(s->st);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    while (s->oldest) {
        struct fl_entry *e = s->oldest;
        fl_entry_unlink(s, e);
        s->st->wasted++;
        fl_entry_free(s, e);
    }
    Py_XDECREF(s->sent);
    Py_XDECREF(s->pool);
    Py_XDECREF(s->helper);
    Py_XDECREF(s->raised);
    Py_XDECREF(s->returned);
    PyMem_Free(s->buckets);
    PyMem_Free(s);
    PyErr_Restore(type, value, traceback);
}

PyObject *fl_session_run(struct flow_state *st, PyObject *function, PyObject *const *args,
                         size_t nargsf, PyObject *kwnames) {
    if (current_session || pl_worker_current() || !st->enabled)
        return PyObject_Vectorcall(function, args, nargsf, kwnames);
    struct fl_session *s = fl_session_new(st);
    if (!s)
        return NULL;
    current_session = s;
    PyObject *r = PyObject_Vectorcall(function, args, nargsf, kwnames);
    current_session = NULL;
    fl_session_end(s);
    return r;
}

struct pl_core *fl_pool_core(struct flow_state *st) {
    if (!st->host && !(st->host = PyImport_ImportModule("ergon._schedule")))
        return NULL;
    PyObject *pool = PyObject_CallMethod(st->host, "_pool", NULL);
    if (!pool)
        return NULL;
    Py_XSETREF(st->pool, pool);
    if (pool == Py_None)
        return NULL;
    struct pl_core *core = ((struct pl_pool *)pool)->core;
    return core && !core->closing && !pl_core_foreign(core) ? core : NULL;
}
