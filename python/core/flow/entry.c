/* Calls under way: entered by passes and by the real function, told apart by what is called, with which arguments, where. */
#include "session.h"

#include <string.h>

static struct fl_entry **bucket_of(struct fl_session *s, const struct fl_sig *sig) {
    return &s->buckets[sig->a % FL_BUCKETS];
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

uint64_t fl_site_meet(struct fl_run *run) {
    uint64_t site = run->top ? site_of(run->top->code->code, run->top->at) : 0;
    if (site)
        run->session->sites[site >> 60] |= (uint64_t)1 << (site >> 54 & 63);
    return site;
}

/* Where the real function is; 0: native code calls, and no pass has met that there. CPython 3.11 may be at the PRECALL in front
 * of the call. */
uint64_t fl_site_real(const struct fl_session *s) {
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
struct fl_entry *fl_entry_find(struct fl_session *s, PyObject *functional, const struct fl_sig *sig,
                               int unmet, uint64_t site) {
    struct fl_entry *best = NULL;
    for (struct fl_entry *e = *bucket_of(s, sig); e; e = e->chain)
        if (e->sig.a == sig->a && e->sig.b == sig->b && e->functional == functional &&
            (!unmet || e->pass != s->pass) && (!site || !e->site || e->site == site))
            best = e; /* chains begin with the youngest */
    return best;
}

void fl_entry_unlink(struct fl_session *s, struct fl_entry *e) {
    struct fl_entry **p = bucket_of(s, &e->sig);
    while (*p != e)
        p = &(*p)->chain;
    *p = e->chain;
    *(e->older ? &e->older->newer : &s->oldest) = e->newer;
    *(e->newer ? &e->newer->older : &s->newest) = e->older;
    s->count--;
    s->jobs -= e->job != NULL;
    s->bytes -= e->bytes;
}

void fl_entry_free(struct fl_session *s, struct fl_entry *e) {
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

/* What a function carries along beside its bytes: the contents of large buffers, and which shared objects. */
static void add_refs(const struct fl_session *s, const struct pl_fn *fn, struct fl_sig *sig) {
    if (!fn->offset)
        return;
    const struct erg_fn_head *head = erg_table_at(s->core->table, fn->offset);
    uint32_t n;
    const struct erg_ref *refs = erg_payload_refs(head->payload, (size_t)head->len, &n);
    for (uint32_t i = 0; i < n; i++) {
        struct erg_ref one;
        memcpy(&one, (const char *)&refs[i], sizeof one); /* nothing aligns them */
        if (erg_ref_is_buffer(&one))
            fl_sig_add_bytes(sig, erg_table_at(s->core->table, one.offset), (size_t)one.len);
        else
            fl_sig_add(sig, one.offset);
    }
}

/* Arguments, and the bytes of the function: they hold what it sees of globals, cells and defaults. */
int fl_entry_signature(struct fl_session *s, struct fl_run *run, PyObject *functional,
                       PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
                       struct fl_sig *sig) {
    if (((struct fl_functional *)functional)->is_async)
        return fl_sig_loose(run, s->st, functional, args, nargs, kwnames, sig) == 0 ? 0 : -1;
    if (fl_sig_of(s->st, functional, args, nargs, kwnames, sig) < 0)
        return -1;
    Py_ssize_t k = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    PyObject *sent = fl_around(s, functional, args, nargs + k);
    struct pl_fn *fn = sent ? pl_fn_get(s->core, sent) : NULL;
    Py_XSETREF(s->sent, sent);
    if (!fn)
        return -1;
    if (fn->has_callee) {
        uint64_t words[2];
        memcpy(words, fn->callee.digest, sizeof words);
        sig->a ^= words[0];
        sig->b ^= words[1];
        add_refs(s, fn, sig);
    }
    pl_fn_unref(s->core, fn);
    return 0;
}

/* The arguments as a tuple and a dict (NULL for none). 0 or -1. */
int fl_pack(PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **tuple,
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
    if (fl_pack(args, nargs, kwnames, &tuple, &dict) < 0)
        return NULL;
    struct fl_job *job = fl_job_new(s->st);
    if (job && fl_job_start(s->st, job, ((struct fl_functional *)functional)->function, tuple, dict,
                            s->coroutine) < 0)
        Py_CLEAR(job);
    Py_DECREF(tuple);
    Py_XDECREF(dict);
    return job;
}

/* Fills options with where the functional may run, and enters the call. 0 or -1; the caller clears options. */
static int submit(struct fl_session *s, PyObject *functional, PyObject *const *args,
                  Py_ssize_t nargs, PyObject *kwnames, struct pl_options *options,
                  struct pl_task *task) {
    PyObject *resources = ((struct fl_functional *)functional)->resources;
    PyObject *sent = Py_NewRef(s->sent);
    int rc = 0;
    if (resources &&
        (pl_options_resources(options, resources) < 0 || pl_options_resolve(s->core, options) < 0))
        rc = -1;
    if (rc == 0)
        rc = pl_call_submit(s->core, sent, args, nargs, kwnames, options, NULL, task);
    Py_DECREF(sent);
    return rc;
}

struct fl_entry *fl_entry_enter(struct fl_session *s, PyObject *functional,
                                const struct fl_sig *sig, PyObject *const *args, Py_ssize_t nargs,
                                PyObject *kwnames) {
    struct fl_entry *e = PyMem_Calloc(1, sizeof *e);
    if (!e) {
        PyErr_NoMemory();
        return NULL;
    }
    e->task.handle = ERG_HANDLE_NONE;
    struct fl_functional *f = (struct fl_functional *)functional;
    struct pl_options options = {.retries = f->retries, .timeout = f->timeout, .functional = 1};
    if (((struct fl_functional *)functional)->is_async) {
        e->job = begin_job(s, functional, args, nargs, kwnames);
        if (!e->job) {
            PyMem_Free(e);
            return NULL;
        }
        s->jobs++;
    } else if (submit(s, functional, args, nargs, kwnames, &options, &e->task) < 0) {
        pl_options_clear(&options);
        PyMem_Free(e);
        return NULL;
    }
    pl_options_clear(&options);
    e->sig = *sig;
    e->functional = Py_NewRef(functional);
    e->entered_ns = erg_clock_ns();
    struct fl_entry **bucket = bucket_of(s, sig);
    e->chain = *bucket;
    *bucket = e;
    e->older = s->newest;
    *(s->newest ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
    s->count++;
    s->st->submitted++;
    return e;
}

static size_t result_bytes(struct fl_session *s, struct fl_entry *e) {
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

int fl_entry_done(struct fl_session *s, struct fl_entry *e) {
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

/* Somebody killed its workers, as often as it may be made again; it is as good as any call, and is made here. What ended
 * workers by itself, or for want of memory, would end this process as well: that stays WorkerLost. */
static int killed(const struct fl_entry *e, const struct erg_record *record) {
    return erg_record_outcome(record) == ERG_OUT_LOST &&
           ((struct fl_functional *)e->functional)->retries > 0 &&
           (record->first & (ERG_CALL_KILLED | ERG_CALL_CRASHED)) == ERG_CALL_KILLED;
}

/* The words are the pool's, not the functional's: nothing ran. WorkerLost of a pool that works is another matter. */
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
void fl_entry_decode(struct fl_session *s, struct fl_entry *e) {
    if (e->value || e->exception)
        return;
    if (e->job) {
        e->value = Py_XNewRef(e->job->value);
        e->exception = Py_XNewRef(e->job->exception);
        return;
    }
    struct erg_record *record = erg_table_record(s->core->table, ERG_HANDLE_INDEX(e->task.handle));
    int returned = erg_record_outcome(record) == ERG_OUT_OK;
    e->value = pl_call_result(s->core, record);
    if (!e->value) {
        int failed =
            PyErr_ExceptionMatches(PyExc_Exception); /* what it returned cannot be had here */
        e->exception = PyErr_GetRaisedException();
        e->here = (returned && failed) || killed(e, record) || broken(s, e->exception);
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

/* The result for a caller with these arguments: new reference. NULL: the call has to be made here. */
PyObject *fl_entry_value(struct fl_session *s, struct fl_entry *e, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames) {
    if (!PyType_IsSubtype(Py_TYPE(e->value), s->returned))
        return Py_NewRef(e->value);
    PyObject *tuple = PyTuple_New(nargs), *dict = PyDict_New(), *r = NULL;
    for (Py_ssize_t i = 0; tuple && i < nargs; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
    int rc = tuple && dict ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        rc = PyDict_SetItem(dict, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]);
    if (rc == 0)
        r = PyObject_CallMethod(s->helper, "incoming", "OOOO", e->value, tuple, dict,
                                ((struct fl_functional *)e->functional)->function);
    Py_XDECREF(tuple);
    Py_XDECREF(dict);
    return r;
}
