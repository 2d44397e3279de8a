/* Sessions of scheduled generators and coroutines: each lives as long as that, and is current while it runs. */
#include "session.h"

static void generator_gone(PyObject *capsule) {
    struct fl_session *s = PyCapsule_GetPointer(capsule, "ergon.session");
    fl_session_end(s);
}

static int has_finished(PyObject *generator) {
    int coroutine = PyCoro_CheckExact(generator);
    PyObject *running = PyObject_GetAttrString(generator, coroutine ? "cr_running" : "gi_running");
    PyObject *waits =
        PyObject_GetAttrString(generator, coroutine ? "cr_suspended" : "gi_suspended");
    int rc = running == Py_False && waits == Py_False;
    PyErr_Clear();
    Py_XDECREF(running);
    Py_XDECREF(waits);
    return rc;
}

int fl_sessions_sweep(struct flow_state *st) {
    PyObject *keys = PyObject_CallMethod(st->generators, "keys", NULL);
    PyObject *list = keys ? PySequence_List(keys) : NULL;
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++) {
        PyObject *generator = PyList_GET_ITEM(list, i);
        if (!has_finished(generator))
            continue;
        PyObject *session = PyObject_CallMethod(st->generators, "pop", "OO", generator, Py_None);
        if (!session)
            Py_CLEAR(list);
        Py_XDECREF(session);
    }
    int rc = list ? 0 : -1;
    st->sweep_at = 16 + 2 * (rc == 0 ? PyObject_Size(st->generators) : 0);
    Py_XDECREF(keys);
    Py_XDECREF(list);
    return rc;
}

/* The session of a generator: it lives as long as that. Borrowed; NULL with an exception. */
static struct fl_session *generator_session(struct flow_state *st, PyObject *generator) {
    PyObject *capsule = PyObject_CallMethod(st->generators, "get", "O", generator);
    if (!capsule)
        return NULL;
    if (capsule == Py_None) {
        Py_DECREF(capsule);
        if (PyObject_Size(st->generators) >= st->sweep_at && fl_sessions_sweep(st) < 0)
            return NULL;
        struct fl_session *s = fl_session_new(st);
        capsule = s ? PyCapsule_New(s, "ergon.session", generator_gone) : NULL;
        if (!capsule || PyObject_SetItem(st->generators, generator, capsule) < 0) {
            if (s && !capsule)
                fl_session_end(s);
            Py_XDECREF(capsule);
            return NULL;
        }
    }
    struct fl_session *s = PyCapsule_GetPointer(capsule, "ergon.session");
    Py_DECREF(capsule); /* the dict has it */
    return s;
}

PyObject *fl_session_call_outside(struct flow_state *st, PyObject *functional,
                                  PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    void *caller;
    PyObject *generator = fl_scheduled_generator(st, &caller);
    if (!generator)
        return PyObject_Vectorcall(((struct fl_functional *)functional)->function, args,
                                   (size_t)nargs, kwnames);
    struct fl_session *s = generator_session(st, generator);
    if (!s)
        return NULL;
    Py_INCREF(generator);
    s->base = caller;
    s->coroutine = PyCoro_CheckExact(generator) ? generator : NULL;
    fl_session_make_current(s);
    PyObject *r = fl_session_call(s, functional, args, nargs, kwnames);
    fl_session_make_current(NULL);
    Py_DECREF(generator);
    return r;
}

/* --- scheduled coroutines -------------------------------------------------------------------------------------- */

int fl_session_awaits(const struct fl_session *s) {
    return s->coroutine != NULL;
}

/* The job of this call, begun now or earlier: new reference. *foreseen: earlier. */
static struct fl_job *take_job(struct fl_session *s, PyObject *functional, PyObject *const *args,
                               Py_ssize_t nargs, PyObject *kwnames, int *foreseen) {
    struct fl_sig sig;
    int held = fl_signals_hold();
    int rc = fl_entry_signature(s, NULL, functional, args, nargs, kwnames, &sig);
    if (fl_signals_release(held) < 0 || rc < 0)
        return NULL;
    struct fl_entry *e = fl_entry_find(s, functional, &sig, 0, 0);
    *foreseen = e != NULL;
    if (!e && !(e = fl_entry_enter(s, functional, &sig, args, nargs, kwnames)))
        return NULL;
    fl_entry_unlink(s, e);
    struct fl_job *job = e->job;
    e->job = NULL;
    e->bytes = 0;
    fl_entry_free(s, e);
    return job;
}

PyObject *fl_session_call_async(struct flow_state *st, PyObject *functional, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames) {
    void *caller;
    PyObject *coroutine = fl_scheduled_generator(st, &caller), *tuple, *dict;
    int ours = coroutine && PyCoro_CheckExact(coroutine);
    struct fl_session *s = ours ? generator_session(st, coroutine) : NULL;
    if (!s || (!s->buckets && fl_session_prepare(s) < 0))
        return NULL;
    s->coroutine = coroutine;
    int foreseen;
    st->calls++;
    struct fl_job *job = take_job(s, functional, args, nargs, kwnames, &foreseen);
    if (!job) {
        if (PyErr_ExceptionMatches(PyExc_Exception))
            PyErr_Clear(); /* it is called here, in its turn */
        return NULL;
    }
    fl_session_explain(s, functional, foreseen ? "ran ahead" : "waited for", 0);
    if (foreseen)
        st->hits++;
    else
        s->dirty = 1;
    int late = fl_session_wants_pass(s, functional);
    PyObject *r = NULL;
    if ((!late || fl_look_soon(st, coroutine) == 0) &&
        fl_pack(args, nargs, kwnames, &tuple, &dict) == 0) {
        /* Results that are there take no turn of the loop; others of its tasks want theirs now and then. */
        r = fl_awaited_new(st, job, tuple, dict, late || ++s->quick % 64 == 0);
        Py_DECREF(tuple);
        Py_XDECREF(dict);
    }
    Py_DECREF(job);
    return r;
}

int fl_session_look(struct flow_state *st, PyObject *coroutine) {
    PyObject *capsule = PyObject_CallMethod(st->generators, "get", "O", coroutine);
    if (!capsule || capsule == Py_None || fl_session_current()) {
        Py_XDECREF(capsule);
        return capsule ? 0 : -1;
    }
    struct fl_session *s = PyCapsule_GetPointer(capsule, "ergon.session");
    int rc = fl_session_arrivals(s);
    int wanted =
        s->dirty || (s->blocked && s->arrived) || (s->capped && s->jobs <= FL_JOBS_MAX / 2);
    if (wanted && rc == 0) {
        int failed;
        fl_session_make_current(s);
        rc = fl_session_pass(s, NULL, NULL, &failed);
        fl_session_make_current(NULL);
        s->dirty &= !failed;
    }
    Py_DECREF(capsule);
    return rc < 0 ? -1 : wanted;
}
