/* Passes of a session: when one is worth it, how far it may go, and the functional calls it meets. */
#include "session.h"

enum { STEPS_FIRST = 20000, STEPS_MAX = 2000000, JOBS_GUESSED = 16, GUESSES_MAX = 1000 };
static const size_t BYTES_MAX = 64u << 20, LOOK_BYTES = 64u << 10;

/* Names that the code looks up have other values among the pass's own globals; so for functions of the same module that they
 * name. */
static int names_changed(PyObject *globals, PyObject *now, PyObject *o, int depth) {
    PyCodeObject *code = (PyCodeObject *)o;
    if (depth <= 0)
        return 1;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_names); i++) {
        PyObject *name = PyTuple_GET_ITEM(code->co_names, i);
        PyObject *value = PyDict_GetItem(globals, name);
        if (value != PyDict_GetItem(now, name))
            return 1;
        if (value && PyFunction_Check(value) && PyFunction_GET_GLOBALS(value) == globals &&
            PyFunction_GET_CODE(value) != o &&
            names_changed(globals, now, PyFunction_GET_CODE(value), depth - 1))
            return 1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(code->co_consts); i++) {
        PyObject *inner = PyTuple_GET_ITEM(code->co_consts, i);
        if (PyCode_Check(inner) && names_changed(globals, now, inner, depth - 1))
            return 1;
    }
    return 0;
}

enum { NAMES_DEPTH = 4 };

/* The pass changed something the function may look at: what it would be sent with is not what it will see. */
static int changed_by_pass(struct fl_run *run, PyObject *functional) {
    PyObject *function = ((struct fl_functional *)functional)->function;
    if (!run->forward.used || !PyFunction_Check(function))
        return 0;
    PyObject *globals = PyFunction_GET_GLOBALS(function), *cells = PyFunction_GET_CLOSURE(function);
    PyObject *now = fl_see(run, globals);
    if (now != globals && (!PyDict_CheckExact(now) ||
                           names_changed(globals, now, PyFunction_GET_CODE(function), NAMES_DEPTH)))
        return 1;
    for (Py_ssize_t i = 0; cells && i < PyTuple_GET_SIZE(cells); i++) {
        PyObject *cell = PyTuple_GET_ITEM(cells, i), *inside = PyCell_GET(cell);
        if (fl_map_has(&run->forward, cell) || fl_map_has(&run->owned, cell) ||
            (inside && fl_map_has(&run->forward, inside)))
            return 1;
    }
    return 0;
}

/* A pass takes what is not there yet for something that will not raise: where it did, the next pass finds more. */
int fl_session_arrivals(struct fl_session *s) {
    int held = fl_signals_hold();
    for (struct fl_entry *e = s->oldest; e; e = e->newer) {
        if (e->done || !fl_entry_done(s, e) || e->bytes > LOOK_BYTES)
            continue;
        fl_entry_decode(s, e);
        if (!e->value)
            s->blocked = 1;
    }
    return fl_signals_release(held);
}

/* One pass; run.guesses > 0: one that follows guesses. 0, or not: it could not begin. */
static int one_pass(struct fl_session *s, PyObject *functional, PyObject *value,
                    struct fl_run run) {
    run.st = s->st;
    run.session = s;
    run.limit = STEPS_FIRST;
    run.base = s->base;
    run.args = s->args;
    run.skip = run.at_place = functional ? s->at_place : 0;
    s->passing = 1;
    s->st->passing++;
    s->pass++;
    int rc = 1;
    if (fl_guard_begin(s->st) == 0) {
        rc = functional ? fl_fork_pass(&run, functional, value)
                        : fl_fork_suspended(&run, s->coroutine);
        PyErr_Clear();
        fl_guard_end(s->st);
    }
    s->capped |= run.why == FL_WHY_CAP;
    s->blocked |= run.why == FL_WHY_BRANCH || run.why == FL_WHY_VALUE;
    s->st->passes++;
    s->st->steps += run.steps;
    fl_map_clear(&run.forward);
    fl_map_clear(&run.owned);
    Py_CLEAR(run.handled);
    s->passing = 0;
    s->st->passing--;
    if (!run.guessed)
        s->st->last_why = run.what ? run.what : "the function ends";
    return rc;
}

/* How many calls may be entered on a guess: as many as nobody else has use for. */
static struct fl_run room_for_guesses(struct fl_session *s) {
    int tasks = 0, jobs = 0;
    for (struct fl_entry *e = s->oldest; e; e = e->newer)
        if (!fl_entry_done(s, e))
            *(e->job ? &jobs : &tasks) += 1;
    int workers = s->core ? (int)(s->core->processes + s->core->threads) : 0;
    return (struct fl_run){.guesses = GUESSES_MAX,
                           .room = workers - tasks - (s->awaited && !s->awaited->job),
                           .room_async = s->bold ? JOBS_GUESSED - jobs : 0};
}

int fl_session_pass(struct fl_session *s, PyObject *functional, PyObject *value, int *failed) {
    int held = fl_signals_hold();
    s->blocked = 0;
    s->arrived = 0;
    s->capped = 0;
    s->guessable = 0;
    fl_pure_look(s->st); /* NumPy may have been imported meanwhile */
    int rc = one_pass(s, functional, value, (struct fl_run){0});
    *failed = rc != 0;
    if (rc == 0)
        s->dirty = 0;
    if (rc == 0 && s->guessable && !s->capped && !fl_signals_pending()) {
        struct fl_run run = room_for_guesses(s);
        if (run.room > 0 || run.room_async > 0)
            one_pass(s, functional, value, run);
    }
    return fl_signals_release(held);
}

void fl_session_blocked(struct fl_session *s, int guessable) {
    s->blocked = 1;
    s->guessable |= guessable;
}

int fl_session_more(struct fl_run *run) {
    struct fl_session *s = run->session;
    if (fl_signals_pending())
        return fl_stop(run, FL_WHY_STEPS, "a signal has come");
    if (run->steps >= (s->coroutine ? STEPS_MAX / 10 : STEPS_MAX) ||
        (!s->coroutine && (!s->awaited || fl_entry_done(s, s->awaited))))
        return fl_stop(run, FL_WHY_STEPS, "far ahead");
    run->limit += STEPS_FIRST;
    return 0;
}

/* No more calls of that kind may be under way. */
static int is_full(struct fl_session *s, PyObject *functional) {
    if (s->bytes > BYTES_MAX)
        return 1;
    return ((struct fl_functional *)functional)->is_async ? s->jobs >= FL_JOBS_MAX
                                                          : s->count - s->jobs >= s->cap;
}

/* On a guess a call is entered only where nobody else has use for the worker. */
static int has_room(struct fl_run *run, PyObject *functional) {
    int *room = ((struct fl_functional *)functional)->is_async ? &run->room_async : &run->room;
    return (*room)-- > 0;
}

PyObject *fl_session_ahead(struct fl_run *run, PyObject *functional, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames) {
    struct fl_session *s = run->session;
    struct flow_state *st = s->st;
    if (run->skip) {
        run->skip--;
        return fl_unknown(st);
    }
    if (fl_signals_pending()) {
        fl_stop(run, FL_WHY_STEPS, "a signal has come");
        return NULL;
    }
    if (!s->core && !((struct fl_functional *)functional)->is_async) {
        s->blocked = 1; /* workers start when the function itself calls */
        return fl_unknown(st);
    }
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0), made = 0;
    PyObject *few[8], **flat = total <= 8 ? few : PyMem_New(PyObject *, total), *r = NULL;
    uint64_t site = fl_site_meet(run);
    int unknown = 0;
    struct fl_sig sig;
    s->trusted++; /* serializers may be Python */
    for (; flat && made < total && !unknown; made++)
        if (!(flat[made] = fl_settle(run, args[made], &unknown)))
            break;
    if (!flat || (made < total && !unknown)) {
        if (!flat)
            PyErr_NoMemory();
    } else if (unknown || changed_by_pass(run, functional) ||
               fl_entry_signature(s, run, functional, flat, nargs, kwnames, &sig) < 0) {
        PyErr_Clear();
        s->blocked = 1;
        r = fl_unknown(st);
    } else {
        struct fl_entry *e = fl_entry_find(s, functional, &sig, 1, site);
        if (!e && run->guessed && !has_room(run, functional))
            fl_stop(run, FL_WHY_STEPS, "far ahead on a guess");
        else if (!e && is_full(s, functional))
            fl_stop(run, FL_WHY_CAP, "enough is under way");
        else if (!e && !(e = fl_entry_enter(s, functional, &sig, flat, nargs, kwnames)))
            fl_stop(run, FL_WHY_OTHER, "a call that cannot travel");
        if (e) {
            e->pass = s->pass;
            e->site = site;
            if (fl_entry_done(s, e))
                fl_entry_decode(s, e);
            if (e->exception && !e->here)
                core_raise_as_is(e->exception);
            else if (e->value && !(r = fl_entry_value(s, e, flat, nargs, kwnames)))
                PyErr_Clear(); /* the real function makes the call itself */
            if (!r && !PyErr_Occurred())
                r = fl_unknown(st);
        }
    }
    s->trusted--;
    for (Py_ssize_t i = 0; i < made; i++)
        Py_DECREF(flat[i]);
    if (flat != few)
        PyMem_Free(flat);
    return r;
}

/* --- the real function ------------------------------------------------------------------------------------- */

int fl_session_wants_pass(struct fl_session *s, PyObject *functional) {
    return s->dirty || (s->blocked && s->arrived) ||
           (s->capped && (s->count - s->jobs) * 2 <= s->cap && s->jobs <= FL_JOBS_MAX / 2 &&
            s->bytes <= BYTES_MAX / 2 && !fl_is_cheap((struct fl_functional *)functional));
}
