/* A chunk: items one after another, each result published before the next item begins.
 *
 * The submitter may read finished results, cut off the end, or find the worker dead, at any time: what counts is
 * record.ndone (results complete) and record.range (items begun), both moved by single atomic steps. */
#include "pool.h"

#include <string.h>

struct stream {
    struct pl_worker *worker;
    struct erg_record *record;
    struct erg_stream_block *block;
    size_t used;
    uint64_t bytes_in, bytes_out; /* for the statistics */
};

static int stream_block(struct stream *s, size_t size) {
    uint64_t offset;
    struct erg_error err;
    int rc =
        erg_arena_alloc(s->worker->member, sizeof(struct erg_stream_block) + size, &offset, &err);
    if (rc < 0) {
        core_raise_error(s->worker->state->module, rc, &err);
        return -1;
    }
    struct erg_stream_block *block = erg_table_at(s->worker->core->table, offset);
    block->next = 0;
    block->size = size;
    atomic_init(&block->used, 0);
    if (s->block) {
        s->block->data[s->used] = ERG_ITEM_NEXT;
        s->block->next = offset;
    } else {
        s->record->fn = offset;
        atomic_signal_fence(memory_order_release);
        s->record->user8 = ERG_USER8_STREAM;
    }
    s->block = block;
    s->used = 0;
    return 0;
}

/* Room for n more bytes and the mark that the stream goes on elsewhere. */
static int stream_room(struct stream *s, size_t n) {
    if (s->block && s->block->size - s->used > n)
        return 0;
    size_t size = s->block ? s->block->size * 2 : 16 * (size_t)erg_range_left(s->record) + 240;
    if (size > (1 << 20))
        size = 1 << 20;
    return stream_block(s, size > n ? size : n + 1);
}

static int put_payload(struct stream *s, int kind, struct pl_writer *w) {
    struct erg_payload payload;
    uint32_t nentries = w->nentries;
    if (pl_writer_finish(w, &payload) < 0)
        return -1;
    uint32_t len = (uint32_t)payload.len;
    w->nentries = nentries; /* still ours until they are in the stream */
    if (payload.len > UINT32_MAX / 2) {
        PyErr_SetString(PyExc_OverflowError,
                        "one result of a map is limited to 2 GB of pickled bytes (arrays do not "
                        "count): return it from pipe() instead");
        return -1;
    }
    if (stream_room(s, payload.len + 16) < 0)
        return -1;
    char *at = s->block->data + s->used;
    at[0] = (char)kind;
    memcpy(at + 1, &len, 4);
    size_t start = (s->used + 5 + 7) & ~(size_t)7;
    memcpy(s->block->data + start, w->sink.buf, payload.len);
    s->bytes_out += erg_payload_size(w->sink.buf, payload.len);
    s->used = start + payload.len;
    w->nentries = 0;
    return 0;
}

/* The value, or the exception that is set. Never fails for good: the last resort is an error about the error. */
static int put_item(struct stream *s, PyObject *value) {
    if (value) {
        char *at;
        size_t n;
        if (stream_room(s, PL_ATOM_MAX + 2) == 0 &&
            (at = s->block->data + s->used, n = pl_atom_dump(value, at + 2))) {
            at[0] = ERG_ITEM_ATOM;
            at[1] = (char)n;
            s->used += n + 2;
            s->bytes_out += n;
            return 0;
        }
    }
    for (int attempt = 0; attempt < 3; attempt++) {
        struct pl_writer w;
        int rc =
            pl_writer_init_scratch(&w, s->worker->core, s->worker->member, &s->worker->scratch);
        if (rc == 0)
            rc = value ? pl_writer_dump(&w, value, "result") : pl_worker_write_error(s->worker, &w);
        if (rc == 0)
            rc = put_payload(s, value ? ERG_ITEM_STREAM : ERG_ITEM_ERROR, &w);
        pl_writer_fini(&w);
        if (rc == 0)
            return 0;
        value = NULL;
    }
    return -1;
}

/* The item written last is complete. */
static void publish(struct stream *s, uint32_t done) {
    atomic_store_explicit(&s->block->used, s->used, memory_order_release);
    atomic_store_explicit(&s->record->ndone, done, memory_order_release);
}

/* Calls the function for one item. */
static PyObject *run_item(PyObject *function, struct pl_reader *r, uint32_t width, int star) {
    PyObject *few[9], **args = width <= 8 ? few : PyMem_New(PyObject *, width + 1);
    if (!args)
        return PyErr_NoMemory();
    uint32_t n = 0;
    PyObject *result = NULL;
    while (n < width && (args[n + 1] = pl_reader_load(r)))
        n++;
    if (n == width && star)
        result = PyObject_Call(function, args[1], NULL);
    else if (n == width)
        result =
            PyObject_Vectorcall(function, args + 1, width | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    while (n)
        Py_DECREF(args[n--]);
    if (args != few)
        PyMem_Free(args);
    return result;
}

static enum erg_outcome run_items(struct stream *s, PyObject *function, const char *bytes,
                                  size_t len) {
    struct pl_worker *worker = s->worker;
    struct erg_record *record = s->record;
    int flags = pl_payload_flags(bytes);
    uint32_t item, done = 0;
    enum erg_outcome outcome = ERG_OUT_OK;
    struct pl_reader r;
    pl_reader_init(&r, worker->core, worker->member, bytes, len,
                   flags & PL_IS_READONLY ? PL_READ_READONLY : PL_READ_TASK);
    while (outcome == ERG_OUT_OK && erg_range_take(record, &item)) {
        uint32_t at[2];
        memcpy(at, bytes + 8 + 8 * (size_t)item, 8);
        r.source.pos = at[0];
        r.next = at[1];
        PyObject *value = run_item(function, &r, record->user16, flags & PL_IS_STAR);
        s->bytes_in += r.source.pos - at[0];
        for (uint32_t i = at[1]; i < r.next; i++)
            s->bytes_in += r.entries[i].len;
        if (!value && pl_worker_interrupted(worker, record, &outcome))
            break;
        if (put_item(s, value) < 0) {
            PyErr_Clear();
            outcome = ERG_OUT_LOST;
        }
        Py_XDECREF(value);
        if (r.keep)
            pl_reader_fini(&r);
        if (outcome == ERG_OUT_OK)
            publish(s, ++done);
    }
    pl_reader_fini(&r);
    return outcome;
}

enum erg_outcome pl_worker_run_chunk(struct pl_worker *worker, uint32_t index,
                                     struct erg_record *record) {
    (void)index;
    struct stream s = {.worker = worker, .record = record};
    const char *bytes = pl_payload_bytes(worker->core, record, &record->args);
    struct pl_reader fn_reader = {.keep = NULL};
    int fresh = 0;
    PyObject *function = pl_worker_function(worker, record->fn, &fn_reader, &fresh);
    enum erg_outcome outcome = ERG_OUT_OK;
    if (function) {
        Py_INCREF(function); /* a nested task may clear the cache */
        if (fresh) /* chunks are as long as their items take, not what it took to load: or they would be of one item each */
            __atomic_store_n(&record->start_ns, erg_clock_ns(), __ATOMIC_RELEASE);
        outcome = run_items(&s, function, bytes, record->args.len);
        Py_DECREF(function);
        if (fresh && !fn_reader.keep) /* nor to free */
            Py_XSETREF(worker->stale, function);
        else if (fresh)
            Py_DECREF(function);
    } else if (!pl_worker_interrupted(worker, record, &outcome)) {
        /* The function did not load: that is every item's error. */
        PyObject *reason = PyErr_GetRaisedException();
        uint32_t item, done = 0;
        while (erg_range_take(record, &item)) {
            PyErr_SetRaisedException(Py_NewRef(reason));
            if (put_item(&s, NULL) < 0)
                break;
            publish(&s, ++done);
        }
        PyErr_Clear();
        Py_XDECREF(reason);
    }
    pl_reader_fini(&fn_reader);
    pl_worker_count(worker, s.bytes_in, s.bytes_out);
    return outcome;
}
