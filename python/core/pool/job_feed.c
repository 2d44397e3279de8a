/* The feeding half of a job: pulls items from the iterables, pickles them into chunks, enters those. */
#include "pool.h"

#include <string.h>

enum { CHUNK_ITEMS_MAX = 1 << 16 };

/* --- making ------------------------------------------------------------------------------------------------ */

static int job_iterators(struct pl_job *job, PyObject *iterables) {
    Py_ssize_t n = PyTuple_GET_SIZE(iterables);
    job->expected = -1;
    if (!(job->iterators = PyTuple_New(n)))
        return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *one = PyTuple_GET_ITEM(iterables, i), *iterator = PyObject_GetIter(one);
        if (!iterator)
            return -1;
        PyTuple_SET_ITEM(job->iterators, i, iterator);
        if (!PyObject_HasAttrString(one, "__len__"))
            continue;
        Py_ssize_t size = PyObject_Size(one);
        if (size < 0)
            PyErr_Clear();
        else if (job->expected < 0 || size < job->expected)
            job->expected = size;
    }
    if (n == 1 && (PyList_CheckExact(PyTuple_GET_ITEM(iterables, 0)) ||
                   PyTuple_CheckExact(PyTuple_GET_ITEM(iterables, 0))))
        job->source = Py_NewRef(PyTuple_GET_ITEM(iterables, 0));
    return 0;
}

static int job_progress_new(struct pl_job *job) {
    PyObject *wish = job->options.progress;
    if (!wish || wish == Py_False || wish == Py_None)
        return 0;
    PyObject *module = PyImport_ImportModule("ergon.progress");
    PyObject *total = job->expected < 0 ? Py_NewRef(Py_None) : PyLong_FromSsize_t(job->expected);
    if (module && total)
        job->progress = PyObject_CallMethod(module, "make", "OO", wish, total);
    Py_XDECREF(module);
    Py_XDECREF(total);
    return job->progress ? 0 : -1;
}

struct pl_job *pl_job_new(struct pl_core *core, PyObject *callable, PyObject *iterables, int star,
                          const struct pl_options *options) {
    if (pl_core_check(core) < 0)
        return NULL;
    if (PyTuple_GET_SIZE(iterables) == 0) {
        PyErr_SetString(PyExc_TypeError, "map needs at least one iterable");
        return NULL;
    }
    if (!PyCallable_Check(callable)) {
        PyErr_Format(PyExc_TypeError, "'%.100s' object is not callable",
                     Py_TYPE(callable)->tp_name);
        return NULL;
    }
    struct pl_job *job = PyMem_Calloc(1, sizeof *job);
    if (!job)
        return (struct pl_job *)PyErr_NoMemory();
    pl_call_sweep(core, 1); /* what maps before left behind */
    job->core = pl_core_ref(core);
    job->busy = PL_BUSY; /* no join() of another thread may take items of what is not ready */
    job->sibling = core->jobs;
    core->jobs = job;
    job->star = star;
    pl_options_copy(&job->options, options);
    erg_balance_init(&job->balance, pl_core_workers(core));
    size_t width = (size_t)PyTuple_GET_SIZE(iterables);
    job->last = PyMem_Calloc(width, sizeof *job->last);
    job->repeated = PyMem_Calloc(width, sizeof *job->repeated);
    int rc = job->last && job->repeated ? job_iterators(job, iterables) : (PyErr_NoMemory(), -1);
    if (rc == 0)
        rc = job_progress_new(job);
    if (rc == 0 && core->by_reference)
        job->callable = Py_NewRef(callable);
    else if (rc == 0 && !(job->fn = pl_fn_get(core, callable)))
        rc = -1;
    if (rc < 0) {
        pl_job_free(job);
        return NULL;
    }
    job->busy = 0;
    return job;
}

/* --- closing ----------------------------------------------------------------------------------------- */

void pl_jobs_close(struct pl_core *core) {
    if (!core->closing || !core->pool || pl_core_foreign(core))
        return;
    for (struct pl_job *job = core->jobs; job; job = job->sibling)
        if (!job->exhausted)
            return;
    erg_pool_close(core->pool);
}

/* The first map that has items left and is not busy in another thread; *others: some are. */
static struct pl_job *idle_job(struct pl_core *core, int *others) {
    *others = 0;
    for (struct pl_job *job = core->jobs; job; job = job->sibling) {
        if (job->exhausted)
            continue;
        if (!job->busy)
            return job;
        *others = 1;
    }
    return NULL;
}

int pl_jobs_drain(struct pl_core *core, int unsized) {
    int others;
    for (;;) {
        struct pl_job *job = idle_job(core, &others);
        if (!job && !others)
            break;
        if (!job) {
            Py_BEGIN_ALLOW_THREADS
                pl_nap();
            Py_END_ALLOW_THREADS
        } else if (job->expected < 0 && !unsized) {
            job->exhausted = 1;
        } else {
            job->busy = PL_BUSY_DRAINED;
            int rc = pl_job_feed(job, job->options.chunksize > 0 ? (uint32_t)job->options.chunksize
                                                                 : 64);
            if (pl_job_leave(job) == 0 && rc < 0)
                return -1;
        }
        if (PyErr_CheckSignals() < 0)
            return -1;
    }
    pl_jobs_close(core);
    return 0;
}

/* --- pulling ------------------------------------------------------------------------------------------------ */

int pl_job_pull(struct pl_job *job, PyObject **items) {
    if (job->exhausted)
        return 0;
    if (job->source) {
        if (job->pulled < PySequence_Fast_GET_SIZE(job->source)) {
            items[0] = Py_NewRef(PySequence_Fast_GET_ITEM(job->source, job->pulled));
            job->pulled++;
            return 1;
        }
        job->exhausted = 1;
        return 0;
    }
    Py_ssize_t n = PyTuple_GET_SIZE(job->iterators);
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *iterator = PyTuple_GET_ITEM(job->iterators, i);
        if ((items[i] = Py_TYPE(iterator)->tp_iternext(iterator)))
            continue;
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_StopIteration))
            PyErr_Clear();
        job->pull_error = PyErr_GetRaisedException();
        job->exhausted = 1;
        while (i--)
            Py_DECREF(items[i]);
        return 0;
    }
    job->pulled++;
    return 1;
}

/* An argument that is the very object of the item before travels once from then on. New reference. */
static PyObject *job_repeat(struct pl_job *job, Py_ssize_t which, PyObject *item) {
    if (job->last[which] != item) {
        Py_XSETREF(job->last[which], Py_NewRef(item));
        Py_CLEAR(job->repeated[which]);
        return Py_NewRef(item);
    }
    char scratch[PL_ATOM_MAX];
    if (!job->at_once || job->core->by_reference || pl_atom_dump(item, scratch) ||
        Py_TYPE(item) == job->core->state->handle_type ||
        Py_TYPE(item) == job->core->state->future_type)
        return Py_NewRef(item);
    if (!job->repeated[which] &&
        !(job->repeated[which] = pl_handle_new(job->core, item, !job->options.readonly)))
        return NULL;
    return Py_NewRef(job->repeated[which]);
}

static PyObject *job_arguments(struct pl_job *job, PyObject **items) {
    Py_ssize_t n = PyTuple_GET_SIZE(job->iterators);
    if (job->star)
        return PySequence_Tuple(items[0]);
    PyObject *tuple = PyTuple_New(n);
    for (Py_ssize_t i = 0; tuple && i < n; i++) {
        PyObject *item = job_repeat(job, i, items[i]);
        if (!item)
            Py_CLEAR(tuple);
        else
            PyTuple_SET_ITEM(tuple, i, item);
    }
    return tuple;
}

static void items_drop(PyObject **items, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++)
        Py_DECREF(items[i]);
}

/* --- entering -------------------------------------------------------------------------------------------------- */

struct pl_chunk *pl_chunk_new(struct pl_job *job, struct pl_chunk *after, Py_ssize_t position) {
    struct pl_chunk *chunk = PyMem_Calloc(1, sizeof *chunk);
    if (!chunk)
        return (struct pl_chunk *)PyErr_NoMemory();
    chunk->record = ERG_NIL;
    chunk->position = position;
    if (after) {
        chunk->next = after->next;
        after->next = chunk;
    } else {
        chunk->next = job->head;
        job->head = chunk;
    }
    if (!chunk->next)
        job->tail = chunk;
    return chunk;
}

static int watch_chunk(struct pl_job *job, struct pl_chunk *chunk) {
    if (!job->watcher)
        return 0;
    return pl_watch(job->core, chunk->record, erg_record_handle(job->core->table, chunk->record),
                    (PyObject *)job->watcher) < 0
               ? -1
               : 0;
}

/* The exception that is set, if it is about the item; NULL: it stays set, being about the program. */
static PyObject *item_error(void) {
    return PyErr_ExceptionMatches(PyExc_Exception) && !PyErr_ExceptionMatches(PyExc_MemoryError)
               ? PyErr_GetRaisedException()
               : NULL;
}

int pl_job_error(struct pl_job *job, Py_ssize_t position) {
    PyObject *error = item_error();
    struct pl_chunk *chunk = error ? pl_chunk_new(job, job->tail, position) : NULL;
    if (!chunk) {
        Py_XDECREF(error);
        return -1;
    }
    chunk->error = error;
    return 0;
}

int pl_job_feed_call(struct pl_job *job, PyObject **items) {
    struct pl_core *core = job->core;
    PyObject *args = job_arguments(job, items);
    struct pl_chunk *chunk = args ? pl_chunk_new(job, job->tail, job->pulled - 1) : NULL;
    if (!chunk) {
        Py_XDECREF(args);
        return args ? -1 : pl_job_error(job, job->pulled - 1);
    }
    struct pl_task task;
    int rc = pl_call_submit_with(core, job->fn, job->callable, args, &job->options, &task);
    Py_DECREF(args);
    if (rc < 0) {
        chunk->error = item_error();
        return chunk->error ? 0 : -1;
    }
    chunk->record = ERG_HANDLE_INDEX(task.handle);
    struct erg_record *record = erg_table_record(core->table, chunk->record);
    if (!core->by_reference)
        erg_balance_entered(
            &job->balance, 1,
            erg_payload_size(pl_payload_bytes(core, record, &record->args), record->args.len), 0);
    chunk->futures = task.futures;
    chunk->blobs = task.blobs;
    job->idle = 0;
    job->outstanding++;
    return watch_chunk(job, chunk);
}

int pl_job_enter(struct pl_job *job, struct pl_chunk *after, struct pl_argblock *args,
                 uint32_t from, uint32_t to, Py_ssize_t position) {
    struct pl_core *core = job->core;
    struct erg_member *member = pl_member(core);
    uint32_t index;
    if (pl_record_new(core, member, &index) < 0)
        return -1;
    struct pl_chunk *chunk = pl_chunk_new(job, after, position);
    if (!chunk) {
        erg_record_free(member, index);
        return -1;
    }
    struct erg_record *record = erg_table_record(core->table, index);
    record->kind = ERG_KIND_CHUNK;
    if (args->items) {
        pl_record_set_block(record, args);
    } else {
        record->fn = job->fn->offset;
        record->args = args->payload;
        record->user16 = (uint16_t)PyTuple_GET_SIZE(job->iterators);
    }
    erg_range_set(record, from, to);
    pl_record_options(core, record, &job->options);
    record->retries = 0; /* what a loss means for the items is decided here */
    chunk->args = args;
    args->refs++;
    chunk->record = index;
    job->outstanding++;
    int rc = 0;
    if (args->futures) {
        struct pl_task task = {.futures = args->futures};
        rc = pl_link_predecessors(core, member, index, &task);
    }
    job->idle = 0;
    erg_record_submit(member, index);
    return rc < 0 ? -1 : watch_chunk(job, chunk);
}

static int dump_item(struct pl_job *job, struct pl_writer *w, PyObject **items, uint32_t number) {
    Py_ssize_t n = PyTuple_GET_SIZE(job->iterators);
    uint32_t at[2] = {(uint32_t)w->sink.len, w->nentries};
    memcpy(w->sink.buf + 8 + 8 * (size_t)number, at, 8);
    for (Py_ssize_t i = 0; i < n; i++) {
        size_t atom = !job->star && w->sink.cap - w->sink.len >= PL_ATOM_MAX
                          ? pl_atom_dump(items[i], w->sink.buf + w->sink.len)
                          : 0;
        if (atom) { /* nothing to be gained from its coming twice */
            w->sink.len += atom;
            continue;
        }
        PyObject *item = job->star ? PySequence_Tuple(items[i]) : job_repeat(job, i, items[i]);
        int rc = item ? pl_writer_dump(w, item, n == 1 ? "args[0]" : "args") : -1;
        Py_XDECREF(item);
        if (rc < 0) { /* as if it had never been there */
            pl_writer_drop_entries(w, at[1]);
            w->sink.len = at[0];
            return -1;
        }
    }
    return 0;
}

/* Entries are bytes that wait, too: a chunk of arrays ends early. */
static int chunk_full(const struct pl_writer *w) {
    if (w->sink.len > ERG_BALANCE_CHUNK_BYTES)
        return 1;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < w->nentries; i++)
        bytes += w->entries[i].len;
    return bytes >= ERG_BALANCE_CHUNK_BYTES / 4;
}

/* Pulls up to `most` items into the writer; *count says how many. Ends before an item that cannot be written, with
 * its exception in *error. -1: exception that ends the job. */
static int fill_chunk(struct pl_job *job, struct pl_writer *w, uint32_t most, uint32_t *count,
                      PyObject **error) {
    size_t head = 8 + 8 * (size_t)most;
    if (w->sink.cap < head + 64 && pl_sink_grow(&w->sink, head + 16 * (size_t)most) < 0)
        return -1;
    memset(w->sink.buf + 1, 0, 7);
    w->sink.len = head;
    Py_ssize_t width = PyTuple_GET_SIZE(job->iterators);
    PyObject *few[8], **items = width <= 8 ? few : PyMem_New(PyObject *, width);
    int rc = items ? 0 : (PyErr_NoMemory(), -1);
    for (*count = 0; rc == 0 && *count < most && !chunk_full(w); (*count)++) {
        if (!pl_job_pull(job, items))
            break;
        rc = dump_item(job, w, items, *count);
        items_drop(items, width);
        if (rc < 0)
            break;
    }
    if (items != few)
        PyMem_Free(items);
    memcpy(w->sink.buf + 4, count, 4);
    if (rc < 0 && !(*error = item_error()))
        return -1;
    return 0;
}

static int feed_chunk(struct pl_job *job, uint32_t most) {
    struct pl_core *core = job->core;
    PyObject *error = NULL;
    struct pl_argblock *args = PyMem_Calloc(1, sizeof *args);
    if (!args) {
        PyErr_NoMemory();
        return -1;
    }
    args->refs = 1;
    struct pl_writer w;
    Py_ssize_t position = job->pulled;
    int head = (job->star ? PL_IS_STAR : 0) | (job->options.readonly ? PL_IS_READONLY : 0) |
               (job->options.pure ? (int)ERG_PAYLOAD_PURE : 0);
    int rc = pl_writer_init(&w, core, pl_member(core), NULL, 0, head);
    if (rc == 0) {
        w.hooks.in_band = job->options.readonly ? PK_READ_ONLY : PK_AS_IT_IS;
        w.entry_flags = job->options.retries > 0 || job->options.pure ? ERG_REF_SHARED : 0;
        rc = fill_chunk(job, &w, most, &args->count, &error);
    }
    if (rc == 0 && args->count)
        rc = pl_writer_finish(&w, &args->payload);
    if (rc == 0) {
        args->futures = Py_XNewRef(w.futures);
        pl_futures_hold(args->futures);
        args->blobs = Py_XNewRef(w.blobs);
    }
    pl_writer_fini(&w);
    if (rc == 0 && args->count) {
        uint64_t bytes =
            erg_payload_size(pl_payload_bytes(core, NULL, &args->payload), args->payload.len);
        erg_balance_entered(&job->balance, args->count, bytes, 0);
        rc = pl_job_enter(job, job->tail, args, 0, args->count, position);
        rc = rc < 0 ? -1 : 1;
    }
    pl_argblock_unref(core, args);
    if (rc >= 0 && error) {
        PyErr_SetRaisedException(error);
        return pl_job_error(job, job->pulled - 1) < 0 ? -1 : 1;
    }
    Py_XDECREF(error);
    return rc;
}

static int job_feed(struct pl_job *job, uint32_t most) {
    if (most > CHUNK_ITEMS_MAX)
        most = CHUNK_ITEMS_MAX;
    if (most > 1 && !(job->options.timeout > 0))
        return job->core->by_reference ? pl_job_feed_items(job, most) : feed_chunk(job, most);
    Py_ssize_t width = PyTuple_GET_SIZE(job->iterators);
    PyObject *few[8], **items = width <= 8 ? few : PyMem_New(PyObject *, width);
    if (!items) {
        PyErr_NoMemory();
        return -1;
    }
    int rc = pl_job_pull(job, items);
    if (rc) {
        rc = pl_job_feed_call(job, items) < 0 ? -1 : 1;
        items_drop(items, width);
    }
    if (items != few)
        PyMem_Free(items);
    return rc;
}

int pl_job_feed(struct pl_job *job, uint32_t most) {
    if (job->exhausted)
        return 0;
    if (job->core->gone)
        return pl_core_check(job->core); /* raises */
    struct erg_error err = {0};
    int rc = job->core->pool ? erg_pool_check(job->core->pool, &err) : 0;
    if (rc < 0) { /* terminated, or broken: close() leaves it open for those that have begun */
        core_raise_error(job->core->state->module, rc, &err);
        return -1;
    }
    rc = job_feed(job, most);
    if (job->exhausted && job->core->closing)
        pl_jobs_close(job->core);
    return rc;
}
