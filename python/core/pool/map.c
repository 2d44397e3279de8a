/* map and amap: all results as one list, in the order of the items. */
#include "pool.h"

enum {
    FIXED_AHEAD =
        4096, /* calls on their way when chunks have a fixed size: keeps records warm, workers busy */
    THREADS_AHEAD = 4, /* times as much for threads: the GIL lets the feeder wait for its turn */
};

static uint32_t next_chunk(const struct pl_job *job) {
    if (job->options.chunksize > 0)
        return job->options.chunksize > UINT32_MAX ? UINT32_MAX : (uint32_t)job->options.chunksize;
    return erg_balance_chunk(&job->balance, job->expected < 0
                                                ? ERG_ITEMS_UNKNOWN
                                                : (uint64_t)(job->expected - job->pulled));
}

static uint32_t ahead(struct pl_job *job) {
    if (job->options.chunksize > 0 || (job->core->by_reference && job->options.timeout > 0))
        return FIXED_AHEAD;
    if (job->core->by_reference)
        return erg_balance_ahead(&job->balance) * THREADS_AHEAD;
    job->balance.beyond = pl_core_beyond(job->core);
    return erg_balance_ahead(&job->balance);
}

/* Takes results that are there. 0, or -1 with the first item's exception. */
static int collect(struct pl_job *job) {
    while (job->head) {
        PyObject *value;
        if (pl_items_take_all(job, job->head, job->list) < 0 ||
            pl_job_read_atoms(job, job->head, job->list) < 0)
            return -1;
        int rc = pl_job_read(job, job->head, &value);
        if (rc == 0)
            return 0;
        if (rc == 2) {
            pl_job_drop(job, NULL, job->head);
            continue;
        }
        if (rc < 0 || !value)
            return -1;
        rc = PyList_Append(job->list, value);
        Py_DECREF(value);
        if (rc < 0)
            return -1;
        job->delivered++;
    }
    return 0;
}

/* The chunk to sleep for: when all are entered, one in the middle, so that there are few wake-ups. */
static struct pl_chunk *wait_for(struct pl_job *job) {
    struct pl_chunk *chunk = job->head;
    uint32_t steps = job->outstanding / 2;
    if (steps > 256)
        steps = 256;
    while (steps-- && chunk && chunk->next && chunk->next->record != ERG_NIL)
        chunk = chunk->next;
    /* One that is done would not make us wait at all, and the worker of the first may need the GIL to end it. */
    if (chunk->record == ERG_NIL)
        return job->head;
    erg_handle handle = erg_record_handle(job->core->table, chunk->record);
    return erg_record_done(job->core->table, handle) || pl_given_up(job->core, handle) ? job->head
                                                                                       : chunk;
}

/* What ended behind a chunk that takes its time keeps nobody busy: then as much is entered as imap would look ahead. */
static int may_feed(struct pl_job *job, uint32_t busy) {
    uint32_t most = ahead(job);
    return job->outstanding < most || (busy < most && (uint64_t)(job->pulled - job->delivered) <
                                                          erg_balance_window(&job->balance));
}

/* Feeds, collects and waits once. 1 all done, 0 go on, -1 exception. */
static int step(struct pl_job *job, double timeout) {
    uint32_t busy = job->stalled ? pl_job_at_work(job) : job->outstanding;
    for (; !job->exhausted && may_feed(job, busy); busy++) {
        int rc = pl_job_feed(job, next_chunk(job));
        if (rc < 0)
            return -1;
        if (rc == 0)
            break;
    }
    if (job->pull_error) {
        PyErr_SetRaisedException(job->pull_error);
        job->pull_error = NULL;
        return -1;
    }
    Py_ssize_t before = job->delivered;
    if (collect(job) < 0)
        return -1;
    job->left = pl_job_report(job) < 0;
    if (job->left)
        return -1;
    if (!job->head && job->exhausted) {
        job->progress_ns = 0;
        return pl_job_report(job) < 0 ? -1 : 1;
    }
    job->stalled = before == job->delivered && job->head;
    if (job->stalled)
        job->left = pl_job_wait(job, wait_for(job), timeout) < 0;
    return job->left ? -1 : 0;
}

/* No code of the caller's runs between two items, so an object that comes twice is the same twice. */
static int from_sequences(PyObject *iterables) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(iterables); i++) {
        PyObject *one = PyTuple_GET_ITEM(iterables, i);
        if (!PyList_CheckExact(one) && !PyTuple_CheckExact(one) && !PyRange_Check(one) &&
            strcmp(Py_TYPE(one)->tp_name, "itertools.repeat") != 0)
            return 0;
    }
    return 1;
}

PyObject *pl_map(struct pl_core *core, PyObject *callable, PyObject *iterables, int star,
                 const struct pl_options *options) {
    struct pl_job *job = pl_job_new(core, callable, iterables, star, options);
    if (!job)
        return NULL;
    job->at_once = from_sequences(iterables);
    job->busy = PL_BUSY;
    int rc = (job->list = PyList_New(0)) ? 0 : -1;
    while (rc == 0)
        rc = step(job, -1);
    PyObject *list = NULL;
    if (rc > 0) {
        list = Py_NewRef(job->list);
        pl_job_free(job);
    } else {
        job->busy = 0;
        /* Ctrl-C, or what a handler raises, stops what runs; the error of an item lets the others' present items end. */
        pl_job_abandon(job, job->left || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt));
    }
    return list;
}

/* --- amap ------------------------------------------------------------------------------------------------------ */

PyObject *pl_amap(struct pl_core *core, PyObject *callable, PyObject *iterables, int star,
                  const struct pl_options *options) {
    struct pl_job *job = pl_job_new(core, callable, iterables, star, options);
    if (!job)
        return NULL;
    job->at_once = from_sequences(iterables);
    uint32_t size = 1;
    if (job->options.chunksize > 0)
        size = next_chunk(job);
    else if (job->expected > 0)
        size = erg_balance_chunk_fixed((uint64_t)job->expected, job->balance.workers);
    job->busy = PL_BUSY;
    int rc = (job->list = PyList_New(0)) ? 1 : -1;
    while (rc > 0)
        rc = pl_job_feed(job, size);
    job->busy = 0;
    if (rc == 0 && job->pull_error) {
        PyErr_SetRaisedException(job->pull_error);
        job->pull_error = NULL;
        rc = -1;
    }
    PyObject *future = rc == 0 ? pl_future_new(core) : NULL;
    if (!future) {
        pl_job_abandon(job, 0);
        return NULL;
    }
    ((struct pl_future *)future)->job = job;
    return future;
}

int pl_job_done(struct pl_job *job) {
    if (job->busy)
        return 0;
    job->busy = PL_BUSY;
    int rc = collect(job);
    if (!job->head && job->exhausted)
        job->progress_ns = 0; /* the last word comes before the future's callbacks */
    if (rc == 0)
        rc = pl_job_report(job);
    if (pl_job_leave(job) < 0)
        return 0; /* cancelled: the future says so */
    if (rc < 0)
        return -1;
    return !job->head && job->exhausted;
}

PyObject *pl_job_take(struct pl_job *job) {
    PyObject *list = job->list;
    job->list = NULL;
    return list;
}

int pl_job_progress(struct pl_job *job, double timeout) {
    if (job->busy || !job->head) {
        Py_BEGIN_ALLOW_THREADS
            pl_nap();
        Py_END_ALLOW_THREADS
        return PyErr_CheckSignals();
    }
    job->busy = PL_BUSY;
    int rc = pl_job_wait(job, wait_for(job), timeout);
    return pl_job_leave(job) < 0 ? 0 : rc;
}

int pl_job_watch(struct pl_job *job, struct pl_future *future) {
    job->watcher = future;
    int done = 0;
    for (struct pl_chunk *chunk = job->head; chunk; chunk = chunk->next) {
        if (chunk->record == ERG_NIL)
            continue;
        int rc = pl_watch(job->core, chunk->record,
                          erg_record_handle(job->core->table, chunk->record), (PyObject *)future);
        if (rc < 0)
            return -1;
        done |= rc;
    }
    return done || !job->head;
}
