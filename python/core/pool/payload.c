/* Arguments and results as bytes and buffers in shared memory.
 *
 * A writer pickles straight into the record's inline bytes and moves to an arena block when they are full. Large
 * buffers go out of band into blocks of their own, listed as entries behind the stream. A payload belongs to the
 * record it stands in; its entries belong to it until a reader marks them taken. */
#include "pool.h"

#include <string.h>

/* --- writing ----------------------------------------------------------------------------------------- */

static int writer_arena_error(struct pl_writer *w, int rc, const struct erg_error *err) {
    core_raise_error(w->core->state->module, rc, err);
    return -1;
}

int pl_sink_grow(struct pk_sink *sink, size_t need) {
    struct pl_writer *w = sink->ctx;
    size_t cap = sink->cap * 2;
    if (cap < sink->len + need)
        cap = sink->len + need;
    if (cap < 512)
        cap = 512;
    uint64_t block;
    struct erg_error err;
    int rc = erg_arena_alloc(w->member, cap, &block, &err);
    if (rc < 0)
        return writer_arena_error(w, rc, &err);
    char *buf = erg_table_at(w->core->table, block);
    if (sink->len)
        memcpy(buf, sink->buf, sink->len);
    if (w->block)
        erg_arena_free(w->member, w->block);
    w->block = block;
    sink->buf = buf;
    sink->cap = cap;
    return 0;
}

static struct erg_ref *writer_entry(struct pl_writer *w) {
    if (w->nentries == w->entry_cap) {
        uint32_t cap = w->entry_cap * 2;
        struct erg_ref *grown = PyMem_Malloc(cap * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            return NULL;
        }
        memcpy(grown, w->entries, w->nentries * sizeof *grown);
        if (w->entries != w->few)
            PyMem_Free(w->entries);
        w->entries = grown;
        w->entry_cap = cap;
    }
    struct erg_ref *entry = &w->entries[w->nentries++];
    memset(entry, 0, sizeof *entry);
    return entry;
}

/* A large buffer: one copy into a warm block, without the GIL. */
static int hook_buffer(void *ctx, PyObject *pickle_buffer) {
    struct pl_writer *w = ctx;
    const Py_buffer *view = PyPickleBuffer_GetBuffer(pickle_buffer);
    if (!view)
        return -1;
    if (view->len < PL_OUT_OF_BAND_MIN || !PyBuffer_IsContiguous(view, 'A'))
        return 0;
    uint64_t offset;
    struct erg_error err;
    int rc;
    Py_BEGIN_ALLOW_THREADS
        /* pending until pl_writer_finish: should we die before, recovery frees it */
        rc = (w->record ? erg_arena_alloc_pending : erg_arena_alloc)(w->member, (uint64_t)view->len,
                                                                     &offset, &err);
        if (rc >= 0)
            erg_arena_copy(erg_table_at(w->core->table, offset), view->buf, (size_t)view->len);
    Py_END_ALLOW_THREADS
    if (rc < 0)
        return writer_arena_error(w, rc, &err);
    struct erg_ref *entry = writer_entry(w);
    if (!entry) {
        erg_arena_free(w->member, offset);
        return -1;
    }
    entry->offset = offset;
    entry->len = (uint64_t)view->len;
    entry->flags = w->entry_flags;
    if (w->keeps_readonly)
        return 1;
    return 2; /* a copy is its receiver's own, as everywhere where arguments are pickled */
}

static int keep_in(PyObject **list, PyObject *obj) {
    if (!*list && !(*list = PyList_New(0)))
        return -1;
    return PyList_Append(*list, obj);
}

/* A future among the arguments: its value if it is known here, else a reference to its record. */
static int ref_future(struct pl_writer *w, struct pl_future *future, PyObject **pid) {
    if (future->core != w->core || future->job || future->status != PL_PENDING || w->settle) {
        int rc = pl_future_wait(future, -1);
        if (rc < 0)
            return -1;
        if (future->status == PL_VALUE) {
            *pid = Py_BuildValue("(sO)", "v", future->result);
            return *pid ? 1 : -1;
        }
        Py_XSETREF(w->failed, Py_NewRef(future->result));
        PyErr_SetObject((PyObject *)Py_TYPE(future->result), future->result);
        return -1;
    }
    if (future->task.handle == ERG_HANDLE_NONE) { /* another thread is taking its result over */
        if (pl_future_wait(future, -1) < 0)
            return -1;
        return ref_future(w, future, pid);
    }
    struct erg_ref *entry = writer_entry(w);
    if (!entry)
        return -1;
    entry->flags = ERG_REF_TASK | ERG_REF_SHARED | ERG_REF_TAKEN; /* nothing of ours to free */
    entry->offset = future->task.handle;
    future->dependents++; /* from now on: whoever asks for its result meanwhile takes a copy */
    if (keep_in(&w->futures, (PyObject *)future) < 0) {
        future->dependents--;
        return -1;
    }
    *pid = Py_BuildValue("(sI)", "f", w->nentries - 1);
    return *pid ? 1 : -1;
}

int pl_writer_after(struct pl_writer *w, PyObject *future) {
    PyObject *pid = NULL;
    int rc = ref_future(w, (struct pl_future *)future, &pid);
    Py_XDECREF(pid);
    return rc < 0 ? -1 : 0;
}

enum { LOOK_BACK = 8 }; /* entries looked at for the same object: a map's repeated arguments */

/* A put object among the arguments. */
static int ref_handle(struct pl_writer *w, PyObject *handle, PyObject **pid) {
    uint64_t head = pl_handle_head(handle);
    if (!head)
        return -1;
    for (uint32_t i = w->nentries; i > 0 && w->nentries - i < LOOK_BACK; i--)
        if ((w->entries[i - 1].flags & ERG_REF_BLOB) && w->entries[i - 1].offset == head) {
            *pid = Py_BuildValue("(sI)", "h", i - 1);
            return *pid ? 1 : -1;
        }
    if (keep_in(&w->blobs, handle) < 0)
        return -1;
    struct erg_ref *entry = writer_entry(w);
    if (!entry)
        return -1;
    entry->flags = ERG_REF_BLOB | ERG_REF_SHARED | ERG_REF_TAKEN;
    entry->offset = head;
    *pid = Py_BuildValue("(sI)", "h", w->nentries - 1);
    return *pid ? 1 : -1;
}

static int hook_ref(void *ctx, PyObject *obj, PyObject **pid) {
    struct pl_writer *w = ctx;
    struct pool_state *state = w->core->state;
    if (Py_TYPE(obj) == state->future_type)
        return ref_future(w, (struct pl_future *)obj, pid);
    if (Py_TYPE(obj) == state->handle_type) {
        return pl_handle_check(obj, w->core) < 0 ? -1 : ref_handle(w, obj, pid);
    }
    return 0;
}

int pl_writer_init(struct pl_writer *w, struct pl_core *core, struct erg_member *member,
                   struct erg_record *record, uint32_t inline_start, int head) {
    w->core = core;
    w->member = member;
    w->record = record;
    w->inline_start = inline_start;
    w->block = 0;
    w->entries = w->few;
    w->nentries = 0;
    w->entry_cap = sizeof w->few / sizeof w->few[0];
    w->entry_flags = 0;
    w->futures = w->blobs = w->failed = NULL;
    w->settle = 0;
    w->keeps_readonly = 0;
    w->scratch = NULL;
    w->hooks = (struct pk_hooks){.ctx = w, .buffer = hook_buffer, .ref = hook_ref};
    w->sink = (struct pk_sink){.grow = pl_sink_grow, .ctx = w};
    if (record && inline_start < ERG_INLINE_BYTES) {
        w->sink.buf = (char *)record->inline_bytes + inline_start;
        w->sink.cap = ERG_INLINE_BYTES - inline_start;
    }
    if (w->sink.cap < 8 && pl_sink_grow(&w->sink, 512) < 0)
        return -1;
    w->sink.buf[0] = (char)head;
    w->sink.len = 1;
    return 0;
}

static int grow_scratch(struct pk_sink *sink, size_t need) {
    size_t cap = sink->cap * 2 < sink->len + need ? sink->len + need : sink->cap * 2;
    char *grown = PyMem_Realloc(sink->buf, cap);
    if (!grown) {
        PyErr_NoMemory();
        return -1;
    }
    sink->buf = grown;
    sink->cap = cap;
    return 0;
}

int pl_writer_init_scratch(struct pl_writer *w, struct pl_core *core, struct erg_member *member,
                           struct pl_scratch *scratch) {
    *w = (struct pl_writer){
        .core = core, .member = member, .entries = w->few, .entry_cap = 2, .scratch = scratch};
    w->hooks =
        (struct pk_hooks){.ctx = w, .buffer = hook_buffer, .ref = hook_ref, .in_band = PK_WRITABLE};
    /* Ours while we write: pickling may run a task that writes as well. */
    w->sink =
        (struct pk_sink){.buf = scratch->buf, .cap = scratch->cap, .grow = grow_scratch, .ctx = w};
    *scratch = (struct pl_scratch){0};
    w->settle = 1;
    if (w->sink.cap < 256 && grow_scratch(&w->sink, 4096) < 0)
        return -1;
    w->sink.buf[0] = 0;
    w->sink.len = 1;
    return 0;
}

int pl_writer_dump(struct pl_writer *w, PyObject *obj, const char *root) {
    if (w->sink.cap - w->sink.len >= PL_ATOM_MAX) {
        size_t n = pl_atom_dump(obj, w->sink.buf + w->sink.len);
        if (n) {
            w->sink.len += n;
            return 0;
        }
    }
    return pk_dump(w->core->state->module, obj, &w->sink, &w->hooks, PK_BARE, root);
}

int pl_writer_finish(struct pl_writer *w, struct erg_payload *out) {
    struct pk_sink *sink = &w->sink;
    for (uint32_t i = 0; i < w->nentries; i++)
        if (!(w->entries[i].flags & ERG_REF_TAKEN))
            erg_arena_settle(w->core->table, w->entries[i].offset);
    if (w->nentries) {
        size_t pad = -sink->len & 7, table = w->nentries * sizeof(struct erg_ref);
        if (sink->cap - sink->len < pad + table + 4 && sink->grow(sink, pad + table + 4) < 0)
            return -1;
        sink->buf[0] |= ERG_PAYLOAD_REFS;
        memset(sink->buf + sink->len, 0, pad);
        memcpy(sink->buf + sink->len + pad, w->entries, table);
        memcpy(sink->buf + sink->len + pad + table, &w->nentries, 4);
        sink->len += pad + table + 4;
    }
    out->offset = w->block;
    out->start = w->block ? 0 : w->inline_start;
    out->len = sink->len;
    w->block = 0;
    w->nentries = 0;
    return 0;
}

void pl_writer_drop_entries(struct pl_writer *w, uint32_t from) {
    for (uint32_t i = from; i < w->nentries; i++)
        if (!(w->entries[i].flags & ERG_REF_TAKEN))
            erg_arena_free(w->member, w->entries[i].offset);
    w->nentries = from;
}

void pl_writer_fini(struct pl_writer *w) {
    if (w->block)
        erg_arena_free(w->member, w->block);
    if (w->scratch && !w->scratch->buf && w->sink.cap <= (1 << 20))
        *w->scratch = (struct pl_scratch){w->sink.buf, w->sink.cap};
    else if (w->scratch)
        PyMem_Free(w->sink.buf); /* one huge result does not hold memory for ever */
    pl_writer_drop_entries(w, 0);
    if (w->entries != w->few)
        PyMem_Free(w->entries);
    pl_futures_release(w->core, &w->futures);
    Py_XDECREF(w->failed);
    Py_XDECREF(w->blobs);
}

/* --- reading ----------------------------------------------------------------------------------------- */

int pl_payload_flags(const char *bytes) {
    return (unsigned char)bytes[0];
}

static PyObject *copy_buffer(struct pl_reader *r, struct erg_ref *entry) {
    PyObject *copy = PyByteArray_FromStringAndSize(NULL, (Py_ssize_t)entry->len);
    if (!copy)
        return NULL;
    const void *from = erg_table_at(r->core->table, entry->offset);
    Py_BEGIN_ALLOW_THREADS
        erg_arena_copy(PyByteArray_AS_STRING(copy), from, entry->len);
    Py_END_ALLOW_THREADS
    return copy;
}

static PyObject *task_buffer(struct pl_reader *r, struct erg_ref *entry, int readonly,
                             enum pl_buffer_kind kind) {
    PyObject *buffer =
        pl_buffer_new(r->core, pl_member(r->core), entry->offset, entry->len, readonly, kind, NULL);
    if (buffer && (r->keep || (r->keep = PyList_New(0))) && PyList_Append(r->keep, buffer) == 0)
        return buffer;
    Py_XDECREF(buffer);
    return NULL;
}

static PyObject *reader_next_buffer(void *ctx) {
    struct pl_reader *r = ctx;
    struct erg_ref *entry = NULL;
    /* References to tasks and put objects stand among the buffers. */
    while (r->next < r->nentries) {
        entry = &r->entries[r->next++];
        if (erg_ref_is_buffer(entry))
            break;
        entry = NULL;
    }
    if (!entry)
        return core_raise(r->core->state->module, CORE_EXC_UNPICKLING_ERROR,
                          "the stream asks for more buffers than travelled with it");
    uint32_t flags = atomic_load_explicit(&entry->flags, memory_order_relaxed);
    switch (r->mode) {
    case PL_READ_RESULT:
        atomic_fetch_or_explicit(&entry->flags, ERG_REF_TAKEN, memory_order_relaxed);
        return pl_buffer_new(r->core, pl_member(r->core), entry->offset, entry->len, 0,
                             PL_BUFFER_OWNED, NULL);
    case PL_READ_BLOB:
        return pl_buffer_new(r->core, pl_member(r->core), entry->offset, entry->len, 1,
                             PL_BUFFER_LENT, r->owner);
    case PL_READ_READONLY:
        if (!(flags & ERG_REF_SHARED))
            return task_buffer(r, entry, 1, PL_BUFFER_LENT);
        break;
    case PL_READ_TASK:
        if (!(flags & ERG_REF_SHARED))
            return task_buffer(r, entry, 0, PL_BUFFER_LENT);
        break;
    case PL_READ_PEEK:
        break;
    }
    if (entry->len <= PL_COPY_MAX)
        return copy_buffer(r, entry);
    return task_buffer(r, entry, 0, PL_BUFFER_MAPPED);
}

void pl_reader_init(struct pl_reader *r, struct pl_core *core, struct erg_member *member,
                    const char *bytes, size_t len, enum pl_read_mode mode) {
    r->core = core;
    r->member = member;
    r->entries = erg_payload_refs(bytes, len, &r->nentries);
    r->next = 0;
    r->mode = mode;
    r->keep = r->owner = NULL;
    r->source = (struct pk_source){.buf = bytes,
                                   .len = len,
                                   .pos = 1,
                                   .ctx = r,
                                   .next_buffer = reader_next_buffer,
                                   .persistent = pl_worker_persistent};
}

PyObject *pl_reader_load(struct pl_reader *r) {
    const char *p = r->source.buf + r->source.pos;
    PyObject *atom = pl_atom_load(&p, r->source.buf + r->source.len);
    if (atom) {
        r->source.pos = (size_t)(p - r->source.buf);
        return atom;
    }
    if (PyErr_Occurred())
        return NULL;
    PyObject *module = r->core->state->module;
    if (r->mode != PL_READ_TASK)
        return pk_load(module, &r->source);
    uint64_t size = r->source.len;
    for (uint32_t i = 0; i < r->nentries; i++)
        size += r->entries[i].len;
    return pk_load_kept(module, &r->source, size <= PL_COMPARED_MAX);
}

/* A buffer somebody still refers to outlives the task: a mapped one gets pages of its own, a lent one leaves the
 * payload and goes its own way. */
static void buffer_outlives(struct pl_reader *r, PyObject *buffer) {
    if (pl_buffer_detach(buffer))
        return;
    uint64_t offset = pl_buffer_offset(buffer);
    for (uint32_t k = 0; k < r->nentries; k++)
        if (r->entries[k].offset == offset) {
            atomic_fetch_or_explicit(&r->entries[k].flags, ERG_REF_TAKEN, memory_order_relaxed);
            pl_buffer_take(buffer);
            return;
        }
}

void pl_reader_fini(struct pl_reader *r) {
    for (Py_ssize_t i = 0; r->keep && i < PyList_GET_SIZE(r->keep); i++)
        if (Py_REFCNT(PyList_GET_ITEM(r->keep, i)) > 1)
            buffer_outlives(r, PyList_GET_ITEM(r->keep, i));
    Py_CLEAR(r->keep);
}

/* The buffers of an object loaded inside the task's arguments end with the task as well. */
int pl_reader_adopt(struct pl_reader *r, struct pl_reader *inner) {
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && inner->keep && i < PyList_GET_SIZE(inner->keep); i++)
        rc = r->keep || (r->keep = PyList_New(0))
                 ? PyList_Append(r->keep, PyList_GET_ITEM(inner->keep, i))
                 : -1;
    Py_CLEAR(inner->keep);
    return rc;
}

struct erg_record *pl_reader_failed(struct pl_reader *r) {
    struct erg_table *table = r->core->table;
    for (uint32_t i = 0; i < r->nentries; i++) { /* all are asked for before one is waited for */
        if (!(r->entries[i].flags & ERG_REF_TASK))
            continue;
        struct erg_away *away =
            erg_record_away(table, erg_table_record(table, ERG_HANDLE_INDEX(r->entries[i].offset)));
        if (away)
            erg_away_want(table, away);
    }
    for (uint32_t i = 0; i < r->nentries; i++) {
        if (!(r->entries[i].flags & ERG_REF_TASK))
            continue;
        struct erg_record *record = erg_table_record(table, ERG_HANDLE_INDEX(r->entries[i].offset));
        const char *bytes;
        size_t len;
        if (pl_result_bytes(r->core, record, &bytes, &len) != ERG_OUT_OK)
            return record;
    }
    return NULL;
}

/* --- freeing ----------------------------------------------------------------------------------------- */

const char *pl_payload_bytes(struct pl_core *core, const struct erg_record *record,
                             const struct erg_payload *payload) {
    if (payload->offset)
        return erg_table_at(core->table, payload->offset);
    return (const char *)record->inline_bytes + payload->start;
}

void pl_payload_free(struct pl_core *core, struct erg_record *record, struct erg_payload *payload) {
    struct erg_payload gone = *payload;
    const char *bytes = gone.len ? pl_payload_bytes(core, record, payload) : NULL;
    /* First: if we are killed in the middle of it, nobody frees it a second time. */
    payload->offset = 0;
    payload->len = 0;
    atomic_signal_fence(memory_order_seq_cst);
    if (bytes)
        erg_payload_free_refs(core->member, bytes, gone.len);
    if (gone.offset)
        erg_arena_free(core->member, gone.offset);
}
