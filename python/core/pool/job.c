/* The collecting half of a job: reads results in order, deals with lost workers, cuts chunks for idle ones. */
#include "pool.h"

#include "sched/retry.h"

#include <string.h>

/* --- freeing ------------------------------------------------------------------------------------------------ */

void pl_argblock_unref(struct pl_core *core, struct pl_argblock *args) {
    if (!args || --args->refs)
        return;
    if (args->payload.len && !pl_core_foreign(core))
        pl_payload_free(core, NULL, &args->payload);
    pl_items_free(args->items);
    pl_futures_release(core, &args->futures);
    Py_XDECREF(args->blobs);
    PyMem_Free(args);
}

static void stream_free(struct pl_core *core, uint64_t block) {
    while (block) {
        struct erg_stream_block *b = erg_table_at(core->table, block);
        uint64_t next = b->next;
        erg_arena_free(core->member, block);
        block = next;
    }
}

/* Buffers of items nobody read. */
static void stream_skip(struct pl_core *core, struct pl_chunk *chunk, uint32_t n) {
    while (n--) {
        struct erg_stream_block *b = erg_table_at(core->table, chunk->block);
        while (b->data[chunk->at] == ERG_ITEM_NEXT) {
            chunk->block = b->next;
            chunk->at = 0;
            b = erg_table_at(core->table, chunk->block);
        }
        const char *p = b->data + chunk->at + 1;
        if (b->data[chunk->at] == ERG_ITEM_ATOM) {
            p += 1 + (unsigned char)*p;
        } else {
            uint32_t len;
            memcpy(&len, p, 4);
            p = b->data + ((size_t)(p + 4 - b->data + 7) & ~(size_t)7);
            erg_payload_free_refs(core->member, p, len);
            p += len;
        }
        chunk->at = (size_t)(p - b->data);
    }
}

/* The record is DONE, or there is none. */
void pl_chunk_free(struct pl_core *core, struct pl_chunk *chunk) {
    if (chunk->record != ERG_NIL && !pl_core_foreign(core)) {
        struct erg_record *record = erg_table_record(core->table, chunk->record);
        if (chunk->args) {
            uint32_t ready = atomic_load_explicit(&record->ndone, memory_order_acquire);
            uint64_t first = pl_chunk_stream(record);
            if (ready > chunk->read && first) {
                if (!chunk->block)
                    chunk->block = first;
                stream_skip(core, chunk, ready - chunk->read);
            }
            stream_free(core, first);
            record->args.offset = 0;
            record->args.len = 0;
            erg_record_free(pl_member(core), chunk->record);
        } else {
            struct pl_task task = {.handle = erg_record_handle(core->table, chunk->record)};
            pl_call_free(core, &task);
        }
    }
    pl_argblock_unref(core, chunk->args);
    pl_fn_unref(core, chunk->fn);
    Py_XDECREF(chunk->error);
    pl_futures_release(core, &chunk->futures);
    Py_XDECREF(chunk->blobs);
    PyMem_Free(chunk);
}

void pl_job_drop(struct pl_job *job, struct pl_chunk *previous, struct pl_chunk *chunk) {
    if (previous)
        previous->next = chunk->next;
    else
        job->head = chunk->next;
    if (job->tail == chunk)
        job->tail = previous;
    if (chunk->record != ERG_NIL)
        job->outstanding--;
    pl_chunk_free(job->core, chunk);
}

/* The last word to the display: how many there are, and whether those are all. */
static void end_progress(struct pl_job *job) {
    PyObject *raised = PyErr_GetRaisedException();
    int ok = !raised && job->exhausted && !job->pull_error &&
             (job->expected < 0 || job->delivered == job->expected);
    PyObject *r =
        ok ? PyObject_CallMethod(job->progress, "update", "n", job->delivered) : Py_NewRef(Py_None);
    if (r)
        Py_SETREF(r, PyObject_CallMethod(job->progress, "close", "i", ok));
    if (!r)
        PyErr_WriteUnraisable(job->progress);
    Py_XDECREF(r);
    if (raised)
        PyErr_SetRaisedException(raised);
}

static void job_unlist(struct pl_job *job) {
    for (struct pl_job **link = &job->core->jobs; *link; link = &(*link)->sibling)
        if (*link == job) {
            *link = job->sibling;
            return;
        }
}

/* Its worker may still have to load the function. */
static void chunk_disown(struct pl_job *job, struct pl_chunk *chunk) {
    if ((chunk->fn = job->fn))
        chunk->fn->refs++;
    pl_chunk_orphan(job->core, chunk);
}

void pl_job_free(struct pl_job *job) {
    struct pl_core *core = job->core;
    job_unlist(job);
    pl_jobs_close(core);
    while (job->head) {
        struct pl_chunk *chunk = job->head;
        job->head = chunk->next;
        if (chunk->record != ERG_NIL && !pl_core_foreign(core) &&
            !erg_record_done(core->table, erg_record_handle(core->table, chunk->record)))
            chunk_disown(job, chunk);
        else
            pl_chunk_free(core, chunk);
    }
    if (job->progress)
        end_progress(job);
    Py_ssize_t width = job->iterators ? PyTuple_GET_SIZE(job->iterators) : 0;
    for (Py_ssize_t i = 0; i < width; i++) {
        Py_XDECREF(job->last[i]);
        Py_XDECREF(job->repeated[i]);
    }
    PyMem_Free(job->last);
    PyMem_Free(job->repeated);
    pl_fn_unref(core, job->fn);
    Py_XDECREF(job->callable);
    pl_options_clear(&job->options);
    Py_XDECREF(job->iterators);
    Py_XDECREF(job->source);
    Py_XDECREF(job->pull_error);
    Py_XDECREF(job->progress);
    Py_XDECREF(job->lost);
    Py_XDECREF(job->list);
    PyMem_Free(job);
    pl_core_unref(core);
}

void pl_job_abandon(struct pl_job *job, int interrupt) {
    struct pl_core *core = job->core;
    PyObject *raised = PyErr_GetRaisedException();
    job->exhausted = 1;
    for (struct pl_chunk *chunk = job->head; chunk && !pl_core_foreign(core); chunk = chunk->next) {
        if (chunk->record == ERG_NIL)
            continue;
        struct erg_record *record = erg_table_record(core->table, chunk->record);
        erg_handle handle = erg_record_handle(core->table, chunk->record);
        if (record->kind == ERG_KIND_CHUNK) {
            uint32_t from, to;
            erg_range_cut(record, 0, &from, &to);
        }
        if (interrupt && pl_core_pool(core))
            erg_pool_cancel(core->pool, handle);
        else if (erg_record_phase(record) != ERG_RUNNING)
            erg_record_cancel(pl_member(core), handle);
    }
    if (job->busy) {
        job->abandoned = 1;
        job->watcher = NULL;
    } else {
        pl_job_free(job);
    }
    if (raised)
        PyErr_SetRaisedException(raised);
}

int pl_job_leave(struct pl_job *job) {
    job->busy = 0;
    if (!job->abandoned)
        return 0;
    PyErr_Clear();
    pl_job_free(job);
    return -1;
}

/* --- loss ----------------------------------------------------------------------------------------------------- */

/* How often the item's worker has died by now. */
static int count_loss(struct pl_job *job, Py_ssize_t position) {
    if (!job->lost && !(job->lost = PyDict_New()))
        return -1;
    PyObject *key = PyLong_FromSsize_t(position), *old = NULL;
    long times = 1;
    if (key && PyDict_GetItemRef(job->lost, key, &old) == 1)
        times += PyLong_AsLong(old);
    Py_XDECREF(old);
    PyObject *value = key ? PyLong_FromLong(times) : NULL;
    int rc = value ? PyDict_SetItem(job->lost, key, value) : -1;
    Py_XDECREF(value);
    Py_XDECREF(key);
    return rc < 0 ? -1 : (int)times;
}

/* Items that were at a host when it was lost: nobody knows which of them it had begun, so each of them counts as
 * lost, with the error of the first. *after: the last chunk that was put in. 0 or -1. */
static int lose_items(struct pl_job *job, struct pl_chunk **after, PyObject *error,
                      Py_ssize_t position, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        struct pl_chunk *one = pl_chunk_new(job, *after, position + i);
        if (!one)
            return -1;
        one->error = Py_NewRef(error);
        *after = one;
    }
    return 0;
}

/* The back of a chunk that a host gave away while it ran, and that nobody has taken yet. */
static int enter_rest(struct pl_job *job, struct pl_chunk *chunk, struct erg_record *record) {
    uint32_t ready = atomic_load_explicit(&record->ndone, memory_order_acquire);
    return pl_job_enter(job, chunk, chunk->args, record->first + ready, erg_range_end(record),
                        chunk->position + ready);
}

/* The chunk's worker died, or it was cancelled, with items left: the one it was in the middle of counts as lost
 * (or runs again), those not begun go to another worker. */
static int chunk_lost(struct pl_job *job, struct pl_chunk *chunk, struct erg_record *record) {
    uint64_t range = atomic_load_explicit(&record->range, memory_order_relaxed);
    uint32_t next = (uint32_t)range, end = (uint32_t)(range >> 32);
    uint32_t ready = atomic_load_explicit(&record->ndone, memory_order_acquire);
    uint32_t current = record->first + ready;
    int begun = next > current;
    int again = !begun;
    if (begun) {
        int times = count_loss(job, chunk->position + ready);
        if (times < 0)
            return -1;
        again = times <= job->options.retries || (job->options.pure && times < ERG_KILLS_MAX);
        if (!again) {
            pl_raise_outcome(job->core, record);
            chunk->error = PyErr_GetRaisedException();
        }
    } else if (pl_core_check(job->core) < 0) {
        chunk->error =
            PyErr_GetRaisedException(); /* the pool broke, or was terminated: nobody will run the rest */
        return 0;
    }
    uint32_t from = again ? current : begun ? next : current + 1;
    struct pl_chunk *after = chunk;
    if (begun && !again && next > current + 1 &&
        lose_items(job, &after, chunk->error, chunk->position + ready + 1, next - current - 1) < 0)
        return -1;
    if (end < next)
        end = next;
    if (from >= end)
        return 0;
    if (erg_record_outcome(record) == ERG_OUT_CANCELLED || pl_core_check(job->core) < 0) {
        if (PyErr_Occurred())
            PyErr_Clear();
        pl_raise_outcome(job->core, record);
        Py_XSETREF(chunk->error, PyErr_GetRaisedException());
        return 0;
    }
    return pl_job_enter(job, after, chunk->args, from, end,
                        chunk->position + (from - record->first));
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

static PyObject *load_payload(struct pl_core *core, const char *bytes, size_t len) {
    struct pl_reader r;
    pl_reader_init(&r, core, pl_member(core), bytes, len, PL_READ_RESULT);
    PyObject *value = pl_reader_load(&r);
    pl_reader_fini(&r);
    return value;
}

/* The item at the cursor. NULL with its exception set. */
static PyObject *read_item(struct pl_core *core, struct pl_chunk *chunk) {
    struct erg_stream_block *b = erg_table_at(core->table, chunk->block);
    while (b->data[chunk->at] == ERG_ITEM_NEXT) {
        chunk->block = b->next;
        chunk->at = 0;
        b = erg_table_at(core->table, chunk->block);
    }
    int kind = b->data[chunk->at];
    const char *p = b->data + chunk->at + 1;
    chunk->read++;
    if (kind == ERG_ITEM_ATOM) {
        const char *end = p + 1 + (unsigned char)*p;
        p++;
        PyObject *atom = pl_atom_load(&p, end);
        chunk->at = (size_t)(end - b->data);
        if (!atom && !PyErr_Occurred())
            core_raise(core->state->module, CORE_EXC_UNPICKLING_ERROR, "a result arrived damaged");
        return atom;
    }
    uint32_t len;
    memcpy(&len, p, 4);
    p = b->data + ((size_t)(p + 4 - b->data + 7) & ~(size_t)7);
    chunk->at = (size_t)(p + len - b->data);
    if (kind == ERG_ITEM_ERROR) {
        pl_raise_remote(core, p, len);
        return NULL;
    }
    PyObject *value = load_payload(core, p, len);
    if (!value)
        erg_payload_free_refs(core->member, p, len); /* those it did not come to */
    return value;
}

int pl_job_read_atoms(struct pl_job *job, struct pl_chunk *chunk, PyObject *list) {
    if (chunk->record == ERG_NIL || !chunk->args || chunk->args->items)
        return 0;
    struct pl_core *core = job->core;
    struct erg_record *record = erg_table_record(core->table, chunk->record);
    uint32_t ready = atomic_load_explicit(&record->ndone, memory_order_acquire);
    int rc = 0;
    while (rc == 0 && chunk->read < ready && chunk->block) { /* without: nothing was read yet */
        struct erg_stream_block *b = erg_table_at(core->table, chunk->block);
        const char *p = b->data + chunk->at;
        if (*p != ERG_ITEM_ATOM)
            break;
        const char *end = p + 2 + (unsigned char)p[1];
        p += 2;
        PyObject *atom = pl_atom_load(&p, end);
        if (!atom) { /* the slow way says what is wrong */
            PyErr_Clear();
            break;
        }
        rc = PyList_Append(list, atom);
        Py_DECREF(atom);
        chunk->at = (size_t)(end - b->data);
        chunk->read++;
        job->delivered += rc == 0;
    }
    return rc;
}

/* The chunk is done. */
static void measure(struct pl_job *job, struct pl_chunk *chunk, const struct erg_record *record) {
    uint32_t items = chunk->args ? atomic_load_explicit(&record->ndone, memory_order_acquire) : 1;
    if (chunk->measured || !items || !record->start_ns ||
        (chunk->args && erg_record_outcome(record) != ERG_OUT_OK))
        return;
    chunk->measured = 1;
    erg_balance_measure(&job->balance, items, (int64_t)(record->end_ns - record->start_ns));
}

uint32_t pl_job_at_work(struct pl_job *job) {
    uint32_t n = 0;
    for (struct pl_chunk *chunk = job->head; chunk; chunk = chunk->next) {
        if (chunk->record == ERG_NIL)
            continue;
        struct erg_record *record = erg_table_record(job->core->table, chunk->record);
        if (erg_record_phase(record) == ERG_DONE)
            measure(job, chunk, record);
        else
            n++;
    }
    return n;
}

/* A call that is waited for no more although its thread goes on with it: its turn has come, its record stays behind. */
static int read_overdue(struct pl_job *job, struct pl_chunk *chunk, PyObject **value) {
    struct pl_task task = {.handle = erg_record_handle(job->core->table, chunk->record),
                           .fn = job->fn,
                           .futures = chunk->futures,
                           .blobs = chunk->blobs,
                           .held = 1};
    if (job->fn)
        job->fn->refs++;
    chunk->futures = chunk->blobs = NULL;
    chunk->record = ERG_NIL;
    job->outstanding--;
    pl_call_orphan(job->core, &task);
    *value = NULL;
    pl_raise_given_up(job->core, PL_OVERDUE);
    return 1;
}

static int read_call(struct pl_job *job, struct pl_chunk *chunk, struct erg_record *record,
                     PyObject **value) {
    erg_handle handle = erg_record_handle(job->core->table, chunk->record);
    if (chunk->read)
        return 2;
    if (!erg_record_done(job->core->table, handle))
        return !pl_core_foreign(job->core) && pl_given_up(job->core, handle) == PL_OVERDUE
                   ? read_overdue(job, chunk, value)
                   : 0;
    chunk->read = 1;
    *value = pl_call_result(job->core, record);
    if (pl_record_by_reference(record))
        /* It is the consumer's alone: an exception, whose traceback may lead back to the iterator, is no cycle. */
        pl_record_set_object(record, NULL);
    measure(job, chunk, record);
    return 1;
}

int pl_job_read(struct pl_job *job, struct pl_chunk *chunk, PyObject **value) {
    struct pl_core *core = job->core;
    if (chunk->record == ERG_NIL)
        goto rest;
    struct erg_record *record = erg_table_record(core->table, chunk->record);
    if (!chunk->args)
        return read_call(job, chunk, record, value);
    int done = erg_record_done(core->table, erg_record_handle(core->table, chunk->record));
    uint32_t ready = atomic_load_explicit(&record->ndone, memory_order_acquire);
    if (chunk->read < ready && chunk->args->items) {
        *value = pl_items_take(chunk->args->items, record->first + chunk->read++);
        return 1;
    }
    if (chunk->read < ready) {
        if (!chunk->block)
            chunk->block = pl_chunk_stream(record);
        *value = read_item(core, chunk);
        return 1;
    }
    if (!done)
        return 0;
    enum erg_outcome outcome = erg_record_outcome(record);
    if (!chunk->error && erg_range_end(record) > record->first + ready &&
        (outcome == ERG_OUT_OK ? enter_rest : chunk_lost)(job, chunk, record) < 0)
        return -1;
    measure(job, chunk, record);
    /* From here on only the error is left; the record goes. */
    stream_free(core, pl_chunk_stream(record));
    record->args.offset = 0;
    record->args.len = 0;
    erg_record_free(pl_member(core), chunk->record);
    chunk->record = ERG_NIL;
    job->outstanding--;
rest:
    if (!chunk->error)
        return 2;
    PyObject *error = chunk->error;
    chunk->error = NULL;
    *value = NULL;
    PyErr_SetRaisedException(error);
    return 1;
}

/* --- waiting and balancing -------------------------------------------------------------------------------------- */

enum { SLICE_NS = 10000000, SLICE_SHORT_NS = 1000000 };

/* How long to sleep where nothing wakes us: for what a chunk has ready while it runs, and, with places, for who idles there.
 * Who iterates takes results one by one, in any order, and wants them soon. */
static int64_t slice_of(const struct pl_job *job) {
    return job->list && !job->core->places ? SLICE_NS : SLICE_SHORT_NS;
}

/* Cuts the chunk that has most left, when somebody idles for whom nothing is ready. 1: cut, 0, -1. */
static int job_cut(struct pl_job *job) {
    struct pl_core *core = job->core;
    struct erg_cut best;
    uint32_t from, to;
    int wanted = erg_cut_wanted(&best, core->table, ERG_QUEUE_BIT(job->options.queue));
    job->idle = best.idle;
    job->look_ns = slice_of(job);
    if (!wanted)
        return 0;
    for (struct pl_chunk *chunk = job->head; chunk; chunk = chunk->next)
        if (chunk->record != ERG_NIL &&
            !erg_cut_look(&best, erg_table_record(core->table, chunk->record), chunk))
            break;
    if (!best.record && !best.waiting && !job->exhausted)
        /* imap: nothing may be entered, nothing is left to cut: the window is too small */
        erg_balance_starved(&job->balance);
    if (!erg_cut_take(&best, &job->balance, &from, &to)) {
        job->look_ns = erg_cut_wait(&best, &job->balance, job->look_ns);
        return 0;
    }
    struct pl_chunk *chunk = best.chunk;
    int rc = pl_job_enter(job, chunk, chunk->args, from, to,
                          chunk->position + (from - best.record->first));
    return rc < 0 ? -1 : 1;
}

/* Sleeps until the chunk is done or more idle than were seen to. As pl_wait. */
static int wait_for_idle(struct pl_job *job, erg_handle handle, int64_t slice_ns) {
    struct pl_core *core = job->core;
    int rc;
    Py_BEGIN_ALLOW_THREADS
        rc = erg_idle_wait(core->member, handle, ERG_QUEUE_BIT(job->options.queue), job->idle,
                           slice_ns);
    Py_END_ALLOW_THREADS
    if (rc == ERG_ECLOSED) {
        core_raise_error(core->state->module, rc, NULL);
        return -1;
    }
    int why = rc != 0 ? pl_given_up(core, handle) : 0;
    if (why)
        return why;
    return rc != 0 && PyErr_CheckSignals() < 0 ? -1 : rc == 0;
}

int pl_job_wait(struct pl_job *job, struct pl_chunk *chunk, double timeout) {
    struct pl_worker *worker = pl_worker_current();
    int nested = worker && worker->core == job->core; /* it runs other tasks meanwhile */
    int rc = 1;
    if (chunk && chunk->record != ERG_NIL) {
        erg_handle handle = erg_record_handle(job->core->table, chunk->record);
        int64_t slice = job->look_ns && !nested ? job->look_ns : SLICE_SHORT_NS;
        if (timeout >= 0 && timeout * 1e9 < (double)slice)
            slice = (int64_t)(timeout * 1e9);
        rc = !nested && (job->tail->args || !job->exhausted)
                 ? wait_for_idle(job, handle, slice)
                 : pl_wait(job->core, handle, (double)slice * 1e-9);
    }
    if (rc == PL_LEFT)
        pl_raise_given_up(job->core, rc);
    if (rc == PL_LEFT || rc < 0)
        return -1;
    do
        rc = job_cut(job);
    while (rc > 0);
    return rc;
}

int pl_job_report(struct pl_job *job) {
    if (!job->progress)
        return 0;
    uint64_t now = erg_clock_ns();
    if (now - job->progress_ns < 100000000 && job->delivered != job->expected)
        return 0;
    job->progress_ns = now;
    PyObject *r = PyObject_CallMethod(job->progress, "update", "n", job->delivered);
    Py_XDECREF(r);
    return r ? 0 : -1;
}
