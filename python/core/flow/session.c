/* One outermost call of a scheduled function.
 *
 * Every functional call under way is an entry. The real function takes entries out, in its own order; passes look at
 * them, put new ones in, and stamp those they met, so that equal calls are told apart by their order. Entries nobody
 * took are cancelled at the end. */
#include "flow.h"

#include "../pool/pool.h"

#include <string.h>

enum {
    BUCKETS = 1024,
    STEPS_FIRST = 20000,
    STEPS_MAX = 2000000,
    CHEAP_CALLS = 4,
    JOBS_MAX = 10000,
    JOBS_GUESSED = 16,
    GUESSES_MAX = 1000,
    QUICK_CALLS = 64
};
static const size_t BYTES_MAX = 64u << 20, LOOK_BYTES = 64u << 10;
static const double CHEAP = 40e-6, DEAR = 150e-6, SOON = 300e-6;

struct entry {
    struct entry *chain;         /* in its bucket */
    struct entry *older, *newer; /* in order of entering */
    struct fl_sig sig;
    PyObject *functional; /* strong */
    uint64_t site;        /* where it is called; 0: not known */
    struct pl_task task;
    struct fl_job *job;          /* an async functional's, instead of the task; strong */
    PyObject *value, *exception; /* once decoded; strong */
    uint64_t pass;               /* the last one that met it */
    uint64_t entered_ns;
    size_t bytes; /* of the result, once done */
    int done;
    int here; /* what it raised cannot be made here */
};

struct fl_session {
    struct fl_session *outer;
    struct flow_state *st;
    struct pl_core *core;
    PyObject *pool;   /* strong: it keeps core */
    PyObject *helper; /* module ergon._functional; strong, like those that follow */
    PyTypeObject *raised, *returned;
    PyObject *unpickled[2]; /* classes; borrowed */
    void *base;
    struct entry **buckets; /* made with the first call */
    struct entry *oldest, *newest;
    unsigned count, cap; /* of entries; of those that are tasks */
    unsigned jobs;
    PyObject *coroutine; /* whose session it is; borrowed. NULL: not a coroutine's */
    uint64_t rest_until; /* jobs that end before then start no pass */
    size_t bytes;        /* of results nobody took */
    uint64_t pass;
    int passing;
    int trusted;      /* > 0: Python code may run during a pass */
    int dirty;        /* the function made a call no pass had foreseen */
    int blocked;      /* the last pass left something out for want of a result */
    int capped;       /* … or because enough was under way */
    int guessable;    /* … or a way it might have guessed */
    int bold;         /* calls of async functionals are entered on a guess */
    unsigned arrived; /* entries done since the last pass */
    struct entry *awaited;
    struct fl_place place;
    PyObject *const *args; /* of the call that is waited for */
    uint64_t sites[16];    /* bits of the places passes met calls at */
    unsigned at_place;     /* functional calls from this place in a row */
    unsigned quick;       /* calls in a row that were foreseen and done when they were wanted … */
    uint64_t quick_since; /* … since then */
};

static _Thread_local struct fl_session *current_session;

struct fl_session *fl_session_current(void) {
    return current_session;
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

/* --- entries ---------------------------------------------------------------------------------------------- */

static struct entry **bucket_of(struct fl_session *s, const struct fl_sig *sig) {
    return &s->buckets[sig->a % BUCKETS];
}

/* Equal calls from different places are not taken for one another: that would leave the one behind to be made anew when it
 * is its turn, and what depends on it late. */
static uint64_t site_of(const void *code, int unit) {
    return (((uint64_t)(uintptr_t)code ^ (uint64_t)(unsigned)unit << 48) *
            UINT64_C(0x9E3779B97F4A7C15)) |
           1;
}

static int site_met(const struct fl_session *s, uint64_t site) {
    return s->sites[site >> 60] >> (site >> 54 & 63) & 1;
}

static uint64_t meet_site(struct fl_run *run) {
    uint64_t site = run->top ? site_of(run->top->code->code, run->top->at) : 0;
    if (site)
        run->session->sites[site >> 60] |= (uint64_t)1 << (site >> 54 & 63);
    return site;
}

/* Where the real function is; 0: native code calls, and no pass has met that there. CPython 3.11 may be at the PRECALL in front
 * of the call. */
static uint64_t real_site(const struct fl_session *s) {
    if (s->place.direct)
        return site_of(s->place.code, s->place.lasti);
    for (int more = 0; more <= 2; more += 2) {
        uint64_t site = site_of(s->place.code, s->place.lasti + more);
        if (site_met(s, site))
            return site;
    }
    return 0;
}

/* The oldest that is the same call; `unmet`: and that this pass has not met. */
static struct entry *find(struct fl_session *s, PyObject *functional, const struct fl_sig *sig,
                          int unmet, uint64_t site) {
    struct entry *best = NULL;
    for (struct entry *e = *bucket_of(s, sig); e; e = e->chain)
        if (e->sig.a == sig->a && e->sig.b == sig->b && e->functional == functional &&
            (!unmet || e->pass != s->pass) && (!site || !e->site || e->site == site))
            best = e; /* chains begin with the youngest */
    return best;
}

static void unlink_entry(struct fl_session *s, struct entry *e) {
    struct entry **p = bucket_of(s, &e->sig);
    while (*p != e)
        p = &(*p)->chain;
    *p = e->chain;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    s->count--;
    s->jobs -= e->job != NULL;
    s->bytes -= e->bytes;
}

static void entry_free(struct fl_session *s, struct entry *e) {
    fl_job_drop(e->job);
    Py_XDECREF(e->job);
    if (e->task.handle != ERG_HANDLE_NONE) {
        if (!pl_core_foreign(s->core) && !erg_record_done(s->core->table, e->task.handle))
            erg_record_cancel(pl_member(s->core), e->task.handle);
        pl_call_orphan(s->core, &e->task);
    }
    Py_XDECREF(e->functional);
    Py_XDECREF(e->value);
    Py_XDECREF(e->exception);
    PyMem_Free(e);
}

/* Arguments, and the bytes of the function: they hold what it sees of globals, cells and defaults. */
static int signature(struct fl_session *s, struct fl_run *run, PyObject *functional,
                     PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                     struct fl_sig *sig) {
    if (((struct fl_functional *)functional)->is_async)
        return fl_sig_loose(run, s->st, functional, args, nargs, kwnames, sig) == 0 ? 0 : -1;
    if (fl_sig_of(s->st, functional, args, nargs, kwnames, sig) < 0)
        return -1;
    struct pl_fn *fn = pl_fn_get(s->core, ((struct fl_functional *)functional)->function);
    if (!fn)
        return -1;
    if (fn->has_callee) {
        uint64_t words[2];
        memcpy(words, fn->callee.digest, sizeof words);
        sig->a ^= words[0];
        sig->b ^= words[1];
    }
    pl_fn_unref(s->core, fn);
    return 0;
}

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

/* The arguments as a tuple and a dict (NULL for none). 0 or -1. */
static int pack(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **tuple,
                PyObject **dict) {
    Py_ssize_t k = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    *tuple = PyTuple_New(nargs);
    *dict = k ? PyDict_New() : NULL;
    int rc = *tuple && (!k || *dict) ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && i < nargs; i++)
        PyTuple_SET_ITEM(*tuple, i, Py_NewRef(args[i]));
    for (Py_ssize_t i = 0; rc == 0 && i < k; i++)
        rc = PyDict_SetItem(*dict, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]);
    if (rc < 0) {
        Py_CLEAR(*tuple);
        Py_CLEAR(*dict);
    }
    return rc;
}

static struct fl_job *begin_job(struct fl_session *s, PyObject *functional, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *tuple, *dict;
    if (pack(args, nargs, kwnames, &tuple, &dict) < 0)
        return NULL;
    struct fl_job *job = fl_job_new(s->st);
    if (job && fl_job_start(s->st, job, ((struct fl_functional *)functional)->function, tuple, dict,
                            s->coroutine) < 0)
        Py_CLEAR(job);
    Py_DECREF(tuple);
    Py_XDECREF(dict);
    return job;
}

static struct entry *enter(struct fl_session *s, PyObject *functional, const struct fl_sig *sig,
                           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    struct entry *e = PyMem_Calloc(1, sizeof *e);
    if (!e) {
        PyErr_NoMemory();
        return NULL;
    }
    e->task.handle = ERG_HANDLE_NONE;
    struct pl_options options = {.retries = 3, .functional = 1};
    if (((struct fl_functional *)functional)->is_async) {
        e->job = begin_job(s, functional, args, nargs, kwnames);
        if (!e->job) {
            PyMem_Free(e);
            return NULL;
        }
        s->jobs++;
    } else if (pl_call_submit(s->core, ((struct fl_functional *)functional)->function, args, nargs,
                              kwnames, &options, NULL, &e->task) < 0) {
        PyMem_Free(e);
        return NULL;
    }
    e->sig = *sig;
    e->functional = Py_NewRef(functional);
    e->entered_ns = erg_clock_ns();
    struct entry **bucket = bucket_of(s, sig);
    e->chain = *bucket;
    *bucket = e;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
    s->count++;
    s->st->submitted++;
    return e;
}

static size_t result_bytes(struct fl_session *s, struct entry *e) {
    struct erg_record *r = erg_table_record(s->core->table, ERG_HANDLE_INDEX(e->task.handle));
    size_t n = r->result.len;
    if (n < 16 || pl_record_by_reference(r))
        return 0;
    const char *bytes = pl_payload_bytes(s->core, r, &r->result);
    if (pl_payload_flags(bytes) & ERG_PAYLOAD_REFS && erg_record_outcome(r) == ERG_OUT_OK) {
        uint32_t count;
        memcpy(&count, bytes + r->result.len - 4, 4);
        const struct erg_ref *entries = (const struct erg_ref *)(bytes + r->result.len - 4) - count;
        for (uint32_t i = 0; i < count && i < 64; i++) {
            struct erg_ref one;
            memcpy(&one, (const char *)&entries[i], sizeof one);
            n += one.len;
        }
    }
    return n;
}

static int is_done(struct fl_session *s, struct entry *e) {
    if (!e->done && e->job) {
        if (e->job->done) {
            PyObject *value = e->job->value;
            e->done = 1;
            e->bytes = value && PyBytes_Check(value)     ? (size_t)PyBytes_GET_SIZE(value)
                       : value && PyUnicode_Check(value) ? (size_t)PyUnicode_GET_LENGTH(value)
                                                         : 0;
            s->bytes += e->bytes;
            s->arrived++;
        }
    } else if (!e->done && erg_record_done(s->core->table, e->task.handle)) {
        e->done = 1;
        e->bytes = result_bytes(s, e);
        s->bytes += e->bytes;
        s->arrived++;
    }
    return e->done;
}

/* The words are the pool's, not the functional's: nothing ran. WorkerLost of a pool that works is another matter: what
 * ended several workers in this call would end this process as well. */
static int broken(struct fl_session *s, PyObject *exception) {
    PyObject *module = s->st->module;
    struct erg_pool *pool = pl_core_pool(s->core);
    struct erg_error err;
    if ((pool && erg_pool_check(pool, &err) == 0) ||
        !PyErr_GivenExceptionMatches(exception, core_exc_class(module, CORE_EXC_ERGON_ERROR)))
        return 0;
    PyObject *done = PyObject_CallMethod(s->st->host, "_give_up", "O", s->pool);
    if (!done)
        PyErr_Clear(); /* the next session may find the same pool: its calls come here as well */
    Py_XDECREF(done);
    return 1;
}

/* Takes the result out of the record. */
static void decode(struct fl_session *s, struct entry *e) {
    if (e->value || e->exception)
        return;
    if (e->job) {
        e->value = Py_XNewRef(e->job->value);
        e->exception = Py_XNewRef(e->job->exception);
        return;
    }
    struct erg_record *record = erg_table_record(s->core->table, ERG_HANDLE_INDEX(e->task.handle));
    e->value = pl_call_result(s->core, record);
    if (!e->value) {
        e->exception = PyErr_GetRaisedException();
        e->here = broken(s, e->exception);
    } else if (Py_TYPE(e->value) == s->raised) {
        e->exception = PyObject_CallMethod(s->helper, "exception_of", "O", e->value);
        Py_CLEAR(e->value);
        if (!e->exception) { /* it cannot be made here: the call is made here instead */
            e->here = 1;
            e->exception = PyErr_GetRaisedException();
        }
    }
    pl_call_free(s->core, &e->task);
}

/* A pass takes what is not there yet for something that will not raise: where it did, the next pass finds more. */
static void look_for_arrivals(struct fl_session *s) {
    for (struct entry *e = s->oldest; e; e = e->newer) {
        if (e->done || !is_done(s, e) || e->bytes > LOOK_BYTES)
            continue;
        decode(s, e);
        if (!e->value)
            s->blocked = 1;
    }
}

/* The result for a caller with these arguments: new reference. */
static PyObject *value_for(struct fl_session *s, struct entry *e, PyObject *const *args,
                           Py_ssize_t nargs, PyObject *kwnames) {
    if (Py_TYPE(e->value) != s->returned)
        return Py_NewRef(e->value);
    PyObject *tuple = PyTuple_New(nargs), *dict = PyDict_New(), *r = NULL;
    for (Py_ssize_t i = 0; tuple && i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    int rc = tuple && dict ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        rc = PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]);
    if (rc == 0)
        r = PyObject_CallMethod(s->helper, "incoming", "OOO", e->value, tuple, dict);
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    return r;
}

/* --- passes ------------------------------------------------------------------------------------------------ */

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
    for (struct entry *e = s->oldest; e; e = e->newer)
        if (!is_done(s, e))
            *(e->job ? &jobs : &tasks) += 1;
    int workers = s->core ? (int)(s->core->processes + s->core->threads) : 0;
    return (struct fl_run){.guesses = GUESSES_MAX,
                           .room = workers - tasks - (s->awaited && !s->awaited->job),
                           .room_async = s->bold ? JOBS_GUESSED - jobs : 0};
}

static void run_pass(struct fl_session *s, PyObject *functional, PyObject *value, int *failed) {
    s->blocked = 0;
    s->arrived = 0;
    s->capped = 0;
    s->guessable = 0;
    fl_pure_look(s->st); /* NumPy may have been imported meanwhile */
    int rc = one_pass(s, functional, value, (struct fl_run){0});
    *failed = rc != 0;
    if (rc == 0)
        s->dirty = 0;
    if (rc == 0 && s->guessable && !s->capped) {
        struct fl_run run = room_for_guesses(s);
        if (run.room > 0 || run.room_async > 0)
            one_pass(s, functional, value, run);
    }
}

void fl_session_blocked(struct fl_session *s, int guessable) {
    s->blocked = 1;
    s->guessable |= guessable;
}

int fl_session_more(struct fl_run *run) {
    struct fl_session *s = run->session;
    if (run->steps >= (s->coroutine ? STEPS_MAX / 10 : STEPS_MAX) ||
        (!s->coroutine && (!s->awaited || is_done(s, s->awaited))))
        return fl_stop(run, FL_WHY_STEPS, "far ahead");
    run->limit += STEPS_FIRST;
    return 0;
}

/* No more calls of that kind may be under way. */
static int is_full(struct fl_session *s, PyObject *functional) {
    if (s->bytes > BYTES_MAX)
        return 1;
    return ((struct fl_functional *)functional)->is_async ? s->jobs >= JOBS_MAX
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
    if (!s->core && !((struct fl_functional *)functional)->is_async) {
        s->blocked = 1; /* workers start when the function itself calls */
        return fl_unknown(st);
    }
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0), made = 0;
    PyObject *few[8], **flat = total <= 8 ? few : PyMem_New(PyObject *, total), *r = NULL;
    uint64_t site = meet_site(run);
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
               signature(s, run, functional, flat, nargs, kwnames, &sig) < 0) {
        PyErr_Clear();
        s->blocked = 1;
        r = fl_unknown(st);
    } else {
        struct entry *e = find(s, functional, &sig, 1, site);
        if (!e && run->guessed && !has_room(run, functional))
            fl_stop(run, FL_WHY_STEPS, "far ahead on a guess");
        else if (!e && is_full(s, functional))
            fl_stop(run, FL_WHY_CAP, "enough is under way");
        else if (!e && !(e = enter(s, functional, &sig, flat, nargs, kwnames)))
            fl_stop(run, FL_WHY_OTHER, "a call that cannot travel");
        if (e) {
            e->pass = s->pass;
            e->site = site;
            if (is_done(s, e))
                decode(s, e);
            if (e->exception)
                core_raise_as_is(e->exception);
            else
                r = e->value ? value_for(s, e, flat, nargs, kwnames) : fl_unknown(st);
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

static int is_cheap(const struct fl_functional *f) {
    return f->cheap >= CHEAP_CALLS && f->cost < CHEAP && !f->remote_only;
}

static int want_pass(struct fl_session *s, PyObject *functional) {
    return s->dirty || (s->blocked && s->arrived) ||
           (s->capped && (s->count - s->jobs) * 2 <= s->cap && s->jobs <= JOBS_MAX / 2 &&
            s->bytes <= BYTES_MAX / 2 && !is_cheap((struct fl_functional *)functional));
}

/* Calls follow one another so quickly that one of them may be made here, to see what it takes. */
static int worth_trying(struct fl_session *s, struct entry *e, const struct fl_functional *f) {
    if (!is_done(s, e) || f->remote_only || is_cheap(f)) {
        s->quick = 0;
        return 0;
    }
    if (s->quick++ == 0)
        s->quick_since = erg_clock_ns();
    if (s->quick < QUICK_CALLS)
        return 0;
    s->quick = 0;
    return (double)(erg_clock_ns() - s->quick_since) * 1e-9 < QUICK_CALLS * CHEAP;
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
static int wait_for(struct fl_session *s, struct entry *e, PyObject *functional) {
    int failed = 0;
    uint64_t since = erg_clock_ns();
    PyObject *unknown = NULL;
    s->awaited = e;
    int rc = 0;
    while (!is_done(s, e)) {
        look_for_arrivals(s);
        if (!failed && want_pass(s, functional) && !rests(s) &&
            (unknown || (unknown = fl_unknown(s->st)))) {
            uint64_t before = erg_clock_ns();
            run_pass(s, functional, unknown, &failed);
            s->rest_until = s->jobs ? 4 * erg_clock_ns() - 3 * before : 0;
            continue;
        }
        double nap = patience(s, since, failed);
        if (e->job)
            rc = fl_job_wait(s->st, e->job, s->count > s->jobs || rests(s) ? nap : 0.05);
        else if ((rc = pl_wait(s->core, e->task.handle, nap)) == 2)
            rc = (pl_raise_given_up(s->core), -1);
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
    f->cost = f->cost < 0 || f->cost > DEAR || cost > DEAR ? cost : f->cost * 0.9 + cost * 0.1;
    if (cost > DEAR)
        f->cheap = 0;
    return r;
}

/* How often the same place of the program has called in a row: what native code there has had already. */
static void count_place(struct fl_session *s, PyObject *const *args) {
    struct fl_place now;
    fl_place_now(&now, args);
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

static PyObject *outcome(struct fl_session *s, struct entry *e, PyObject *functional,
                         PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    decode(s, e);
    if (e->value)
        return value_for(s, e, args, nargs, kwnames);
    if (e->here || PyErr_GivenExceptionMatches(e->exception, s->unpickled[0]) ||
        PyErr_GivenExceptionMatches(e->exception, s->unpickled[1]))
        return call_here((struct fl_functional *)functional, args, nargs,
                         kwnames); /* it cannot travel */
    fl_raise(e->exception);
    return NULL;
}

static void learn(struct fl_functional *f, const struct entry *e, int alone) {
    double took = (double)(erg_clock_ns() - e->entered_ns) * 1e-9;
    if (took > DEAR)
        f->cheap = 0;
    else if (alone && took < DEAR)
        f->cheap++;
}

/* What any call needs. 0 or -1. */
static int session_prepare(struct fl_session *s) {
    s->buckets = PyMem_Calloc(BUCKETS, sizeof *s->buckets);
    s->helper = PyImport_ImportModule("ergon._functional");
    s->raised = s->helper ? (PyTypeObject *)PyObject_GetAttrString(s->helper, "Raised") : NULL;
    s->returned = s->raised ? (PyTypeObject *)PyObject_GetAttrString(s->helper, "Returned") : NULL;
    s->unpickled[0] = core_exc_class(s->st->module, CORE_EXC_PICKLING_ERROR);
    s->unpickled[1] = core_exc_class(s->st->module, CORE_EXC_UNPICKLING_ERROR);
    if (s->buckets && s->returned && s->unpickled[0] && s->unpickled[1])
        return 0;
    if (!PyErr_Occurred())
        PyErr_NoMemory();
    PyMem_Free(s->buckets);
    s->buckets = NULL;
    Py_CLEAR(s->helper);
    Py_CLEAR(s->raised);
    Py_CLEAR(s->returned);
    return -1;
}

/* The pool is asked for when the first functional is called. 0, also without a pool; -1. */
static int session_open(struct fl_session *s) {
    if (!s->buckets && session_prepare(s) < 0)
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
static void explain_call(struct fl_session *s, PyObject *functional, const char *what,
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
    if (pack(args, nargs, kwnames, &tuple, &dict) < 0)
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
    int rc = pack(args, nargs, kwnames, &tuple, &dict);
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
    if (s->passing) { /* native code of a pass came here by a way we do not know */
        PyErr_SetNone(s->st->stop);
        return NULL;
    }
    if (f->is_async ? !s->buckets && session_prepare(s) < 0 : !s->core && session_open(s) < 0)
        return NULL;
    if (!f->is_async && (!s->core || pl_core_foreign(s->core) || s->core->closing))
        return call_here(f, args, nargs, kwnames);
    if (!f->is_async && is_cheap(f) && s->count == 0) {
        explain_call(s, functional, "ran in place: it is quicker here", 0);
        s->st->inlined++;
        return call_here(f, args, nargs, kwnames);
    }
    count_place(s, args);
    if (signature(s, NULL, functional, args, nargs, kwnames, &sig) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear();
        return call_here(f, args, nargs, kwnames);
    }
    struct entry *e = find(s, functional, &sig, 0, real_site(s));
    int foreseen = e != NULL;
    s->args = args;
    if (foreseen && !e->job && worth_trying(s, e, f)) {
        unlink_entry(s, e);
        e->bytes = 0;
        entry_free(s, e);
        s->st->inlined++;
        PyObject *r = call_here(f, args, nargs, kwnames);
        f->cheap = f->cost < CHEAP ? CHEAP_CALLS : 0;
        return r;
    }
    if (foreseen)
        s->st->hits++;
    else if (!(e = enter(s, functional, &sig, args, nargs, kwnames))) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear();
        return call_here(f, args, nargs, kwnames);
    } else {
        s->dirty = 1;
    }
    uint64_t since = erg_clock_ns();
    int alone = !foreseen && s->count == 1;
    unlink_entry(s, e);
    PyObject *r = NULL;
    int rc = wait_for(s, e, functional);
    explain_call(s, functional, foreseen ? "ran ahead" : "waited for", since);
    if (rc == 0) {
        if (!e->job)
            learn(f, e, alone);
        r = outcome(s, e, functional, args, nargs, kwnames);
        if (r && s->capped && want_pass(s, functional)) {
            int failed;
            run_pass(s, functional, r, &failed);
        }
    }
    e->bytes = 0;
    entry_free(s, e);
    return s->st->record ? recorded(s, functional, args, nargs, kwnames, r) : r;
}

/* --- begin and end ------------------------------------------------------------------------------------------- */

static struct fl_session *session_new(struct flow_state *st) {
    struct fl_session *s = PyMem_Calloc(1, sizeof *s);
    if (!s) {
        PyErr_NoMemory();
        return NULL;
    }
    s->st = st;
    s->base = fl_frame_base();
    s->dirty = 1;
    s->bold = 1;
    return s;
}

enum { CODES_KEPT = 1024 }; /* programs that make functions from text would pile them up */

static void session_end(struct fl_session *s) {
    if (s->st->code_ptrs.used > CODES_KEPT && s->st->passing == 0)
        fl_code_free_all(s->st);
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    while (s->oldest) {
        struct entry *e = s->oldest;
        unlink_entry(s, e);
        s->st->wasted++;
        entry_free(s, e);
    }
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
    struct fl_session *s = session_new(st);
    if (!s)
        return NULL;
    current_session = s;
    PyObject *r = PyObject_Vectorcall(function, args, nargsf, kwnames);
    current_session = NULL;
    session_end(s);
    return r;
}

static void generator_gone(PyObject *capsule) {
    struct fl_session *s = PyCapsule_GetPointer(capsule, "ergon.session");
    session_end(s);
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
        struct fl_session *s = session_new(st);
        capsule = s ? PyCapsule_New(s, "ergon.session", generator_gone) : NULL;
        if (!capsule || PyObject_SetItem(st->generators, generator, capsule) < 0) {
            if (s && !capsule)
                session_end(s);
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
    current_session = s;
    PyObject *r = fl_session_call(s, functional, args, nargs, kwnames);
    current_session = NULL;
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
    if (signature(s, NULL, functional, args, nargs, kwnames, &sig) < 0)
        return NULL;
    struct entry *e = find(s, functional, &sig, 0, 0);
    *foreseen = e != NULL;
    if (!e && !(e = enter(s, functional, &sig, args, nargs, kwnames)))
        return NULL;
    unlink_entry(s, e);
    struct fl_job *job = e->job;
    e->job = NULL;
    e->bytes = 0;
    entry_free(s, e);
    return job;
}

PyObject *fl_session_call_async(struct flow_state *st, PyObject *functional, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames) {
    void *caller;
    PyObject *coroutine = fl_scheduled_generator(st, &caller), *tuple, *dict;
    int ours = coroutine && PyCoro_CheckExact(coroutine);
    struct fl_session *s = ours ? generator_session(st, coroutine) : NULL;
    if (!s || (!s->buckets && session_prepare(s) < 0))
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
    explain_call(s, functional, foreseen ? "ran ahead" : "waited for", 0);
    if (foreseen)
        st->hits++;
    else
        s->dirty = 1;
    int late = want_pass(s, functional);
    PyObject *r = NULL;
    if ((!late || fl_look_soon(st, coroutine) == 0) &&
        pack(args, nargs, kwnames, &tuple, &dict) == 0) {
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
    if (!capsule || capsule == Py_None || current_session) {
        Py_XDECREF(capsule);
        return capsule ? 0 : -1;
    }
    struct fl_session *s = PyCapsule_GetPointer(capsule, "ergon.session");
    look_for_arrivals(s);
    int wanted = s->dirty || (s->blocked && s->arrived) || (s->capped && s->jobs <= JOBS_MAX / 2);
    if (wanted) {
        int failed;
        current_session = s;
        run_pass(s, NULL, NULL, &failed);
        current_session = NULL;
        s->dirty &= !failed;
    }
    Py_DECREF(capsule);
    return wanted;
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
