/* Callables that travel once: a stable one is pickled when it is first met and lies in the arena until nobody uses
 * it; every task names it by offset. What a callable depends on is checked before each use (pk_callee_valid).
 *
 * One with something mutable inside is pickled anew for every call, and loaded anew by every task. Mostly it says the same
 * as the last time: then the task names the place of that one, and nothing travels to a host that has it. */
#include "pool.h"

#include <string.h>

enum { FNS_KEPT = 64, LOOSE_KEPT = 8, LOOSE_SHARE = 8 /* of the memory, at most */ };

static void fn_free(struct pl_core *core, struct pl_fn *fn) {
    if (fn->offset && !pl_core_foreign(core)) {
        erg_fn_free(core->member, fn->offset);
    }
    if (fn->has_callee)
        pk_callee_fini(&fn->callee);
    Py_XDECREF(fn->handles);
    PyMem_Free(fn);
}

void pl_fn_unref(struct pl_core *core, struct pl_fn *fn) {
    if (fn && --fn->refs == 0)
        fn_free(core, fn);
}

/* Nobody else's in the pool, ever: a member's number may have been another process's, which counted from 1 as well. */
uint64_t pl_uid(struct pl_core *core, struct erg_member *member) {
    uint64_t serial = atomic_load(&member->slot->serial) & ((1u << 18) - 1);
    return ((uint64_t)member->number << 18 | serial) << 36 |
           (++core->next_uid & (((uint64_t)1 << 36) - 1));
}

/* What pk_callee_init met besides bytes. */
static int fn_publish(struct pl_core *core, struct pl_fn *fn, struct pl_writer *w) {
    char *bytes;
    Py_ssize_t len;
    if (PyBytes_AsStringAndSize(fn->callee.bytes, &bytes, &len) < 0)
        return -1;
    size_t pad = -(size_t)(len + 1) & 7, table = w->nentries * sizeof(struct erg_ref);
    size_t total = 1 + (size_t)len + (w->nentries ? pad + table + 4 : 0);
    struct erg_error err;
    uint64_t offset;
    int rc = erg_arena_alloc(w->member, sizeof(struct erg_fn_head) + total, &offset, &err);
    if (rc < 0) {
        core_raise_error(core->state->module, rc, &err);
        return -1;
    }
    struct erg_fn_head *head = erg_table_at(core->table, offset);
    head->uid = pl_uid(core, w->member);
    head->stable = (uint32_t)fn->callee.stable;
    head->path = core->path_offset;
    atomic_init(&head->name, 0);
    head->len = total;
    head->payload[0] = w->nentries ? ERG_PAYLOAD_REFS : 0;
    memcpy(head->payload + 1, bytes, (size_t)len);
    if (w->nentries) {
        char *at = head->payload + 1 + len;
        memset(at, 0, pad);
        memcpy(at + pad, w->entries, table);
        memcpy(at + pad + table, &w->nentries, 4);
        w->nentries = 0; /* the head owns them */
    }
    erg_fn_publish(w->member, offset);
    fn->offset = offset;
    fn->uid = head->uid;
    return 0;
}

/* What a trace calls a callable; a new reference. */
static PyObject *callable_name(PyObject *callable) {
    PyObject *name;
    if (PyObject_GetOptionalAttrString(callable, "__qualname__", &name) < 0)
        PyErr_Clear();
    if (name && !PyUnicode_Check(name))
        Py_CLEAR(name);
    return name ? name : PyObject_Repr((PyObject *)Py_TYPE(callable));
}

/* In the arena, for as long as the pool: whoever reads the trace finds it there. */
static uint64_t name_publish(struct pl_core *core, struct erg_member *member, PyObject *name) {
    Py_ssize_t len;
    uint64_t offset = 0;
    const char *text = PyUnicode_AsUTF8AndSize(name, &len);
    if (!text ||
        erg_arena_alloc(member, sizeof(struct erg_string) + (size_t)len, &offset, NULL) < 0)
        return 0;
    struct erg_string *head = erg_table_at(core->table, offset);
    head->len = (uint64_t)len;
    memcpy(head->bytes, text, (size_t)len);
    return offset;
}

uint64_t pl_fn_name_of(struct pl_core *core, struct erg_member *member, PyObject *callable) {
    PyObject *name = callable_name(callable), *known = NULL;
    uint64_t offset = 0;
    if (name && (core->fn_names || (core->fn_names = PyDict_New())) &&
        PyDict_GetItemRef(core->fn_names, name, &known) == 0 &&
        (offset = name_publish(core, member, name)) != 0 &&
        (known = PyLong_FromUnsignedLongLong(offset)))
        PyDict_SetItem(core->fn_names, name, known);
    else if (known)
        offset = PyLong_AsUnsignedLongLong(known);
    PyErr_Clear(); /* a task without a name in the trace is no reason to fail */
    Py_XDECREF(known);
    Py_XDECREF(name);
    return offset;
}

PyObject *pl_fn_name(struct pl_core *core, uint64_t offset) {
    if (!offset)
        return PyUnicode_FromString("");
    struct erg_string *head = erg_table_at(core->table, offset);
    return PyUnicode_DecodeUTF8(head->bytes, (Py_ssize_t)head->len, "replace");
}

/* What was imported since the pool was opened may come from folders workers do not know. */
static int path_publish(struct pl_core *core, PyObject *path) {
    PyObject *bytes = PyObject_CallMethod(core->state->module, "dumps", "O", path);
    if (!bytes)
        return -1;
    struct erg_error err;
    uint64_t offset;
    size_t len = (size_t)PyBytes_GET_SIZE(bytes);
    int rc = erg_arena_alloc(pl_member(core), sizeof(struct erg_string) + len, &offset, &err);
    if (rc < 0) {
        core_raise_error(core->state->module, rc, &err);
    } else {
        struct erg_string *head = erg_table_at(core->table, offset);
        head->len = len;
        memcpy(head->bytes, PyBytes_AS_STRING(bytes), len);
        core->path_offset = offset; /* the one before stays: tasks may name it */
        Py_XSETREF(core->path, PySequence_List(path));
    }
    Py_DECREF(bytes);
    return rc < 0 || !core->path ? -1 : 0;
}

static int path_check(struct pl_core *core) {
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    if (!path || !PyList_Check(path) || !core->pool)
        return 0;
    if (!core->path)
        return (core->path = PySequence_List(path)) ? 0 : -1;
    int same = PyObject_RichCompareBool(path, core->path, Py_EQ);
    return same < 0 ? -1 : same ? 0 : path_publish(core, path);
}

int pl_fn_apply_path(struct pl_worker *worker, uint64_t offset) {
    if (!offset || offset == worker->path_seen || !worker->is_process)
        return 0;
    struct erg_string *head = erg_table_at(worker->core->table, offset);
    PyObject *helper = PyImport_ImportModule("ergon._worker");
    PyObject *bytes = helper ? PyBytes_FromStringAndSize(head->bytes, (Py_ssize_t)head->len) : NULL;
    PyObject *done = bytes ? PyObject_CallMethod(helper, "set_path", "O", bytes) : NULL;
    Py_XDECREF(bytes);
    Py_XDECREF(helper);
    Py_XDECREF(done);
    worker->path_seen = offset;
    return done ? 0 : -1;
}

static struct pl_fn *fn_make(struct pl_core *core, PyObject *callable) {
    struct pl_fn *fn = PyMem_Calloc(1, sizeof *fn);
    if (!fn)
        return (struct pl_fn *)PyErr_NoMemory();
    fn->refs = 1;
    struct pl_writer w;
    if (path_check(core) < 0) {
        PyMem_Free(fn);
        return NULL;
    }
    int rc = pl_writer_init(&w, core, pl_member(core), NULL, 0, 0);
    if (rc == 0) {
        w.entry_flags = ERG_REF_SHARED;
        rc = pk_callee_init(core->state->module, callable, &w.hooks, &fn->callee);
        fn->has_callee = rc == 0;
    }
    if (rc == 0 && w.futures) {
        PyErr_SetString(PyExc_TypeError,
                        "a function cannot carry a pending Future in its closure or globals: "
                        "pass the Future as an argument");
        rc = -1;
    }
    if (rc == 0)
        rc = fn_publish(core, fn, &w);
    if (rc == 0)
        fn->handles = Py_XNewRef(w.blobs);
    pl_writer_fini(&w);
    if (rc < 0) {
        fn_free(core, fn);
        return NULL;
    }
    return fn;
}

/* Same bytes as one that is kept: share its place, so that workers know it already. */
static struct pl_fn *fn_same(struct pl_core *core, struct pl_fn *fn) {
    for (struct pl_fn *old = core->fns; old; old = old->next)
        if (memcmp(old->callee.digest, fn->callee.digest, sizeof fn->callee.digest) == 0)
            return old;
    return NULL;
}

static void fns_trim(struct pl_core *core) {
    struct pl_fn **link = &core->fns;
    for (unsigned i = 0; *link && i < FNS_KEPT; i++)
        link = &(*link)->next;
    while (*link) {
        struct pl_fn *fn = *link;
        *link = fn->next;
        core->nfns--;
        pl_fn_unref(core, fn);
    }
}

/* --- callables with something mutable inside ------------------------------------------------------------------- */

/* Digests are the same: are the buffers, and what else they refer to? */
static int same_refs(struct pl_core *core, const struct pl_fn *a, const struct pl_fn *b) {
    const struct erg_fn_head *x = erg_table_at(core->table, a->offset);
    const struct erg_fn_head *y = erg_table_at(core->table, b->offset);
    uint32_t n, m;
    const struct erg_ref *p = erg_payload_refs(x->payload, x->len, &n);
    const struct erg_ref *q = erg_payload_refs(y->payload, y->len, &m);
    int same = x->len == y->len && x->path == y->path && n == m;
    for (uint32_t i = 0; i < n && same; i++) {
        same = erg_ref_is_buffer(&p[i]) == erg_ref_is_buffer(&q[i]) && p[i].len == q[i].len;
        if (same && erg_ref_is_buffer(&p[i]))
            same = memcmp(erg_table_at(core->table, p[i].offset),
                          erg_table_at(core->table, q[i].offset), (size_t)p[i].len) == 0;
        else
            same = same && p[i].offset == q[i].offset;
    }
    return same;
}

static uint64_t fn_bytes(struct pl_core *core, const struct pl_fn *fn) {
    const struct erg_fn_head *head = erg_table_at(core->table, fn->offset);
    return erg_payload_size(head->payload, (size_t)head->len);
}

/* The latest, as many as may be kept; tasks that name others keep them. */
static void loose_trim(struct pl_core *core) {
    struct pl_fn **link = &core->loose;
    uint64_t bytes = 0, most = core->table->header->memory / LOOSE_SHARE;
    for (unsigned i = 0; *link && i < LOOSE_KEPT; i++) {
        bytes += fn_bytes(core, *link);
        if (bytes > most)
            break;
        link = &(*link)->next;
    }
    struct pl_fn *rest = *link;
    *link = NULL;
    while (rest) {
        struct pl_fn *next = rest->next;
        pl_fn_unref(core, rest);
        rest = next;
    }
}

/* Takes the caller's reference; returns another, to a callable that says the same. */
static struct pl_fn *loose_share(struct pl_core *core, struct pl_fn *fn) {
    struct pl_fn *old = core->loose;
    while (old && memcmp(old->callee.digest, fn->callee.digest, sizeof fn->callee.digest) != 0)
        old = old->next;
    if (old) {
        int same;
        old->refs++;
        Py_BEGIN_ALLOW_THREADS
            ;
            same = same_refs(core, old, fn);
        Py_END_ALLOW_THREADS;
        pl_fn_unref(core, same ? fn : old);
        if (same)
            return old;
    }
    Py_CLEAR(
        fn->callee.callable); /* it is not asked for again, and shall not live on for our sake */
    Py_CLEAR(fn->callee.bytes);
    fn->next = core->loose;
    core->loose = fn;
    fn->refs++;
    loose_trim(core);
    return fn;
}

static struct pl_fn *fn_find(struct pl_core *core, PyObject *callable) {
    struct pl_fn **link = &core->fns, *fn;
    for (; (fn = *link); link = &fn->next) {
        if (fn->callee.callable != callable)
            continue;
        *link = fn->next; /* to the front, or out */
        if (pk_callee_valid(&fn->callee)) {
            fn->next = core->fns;
            core->fns = fn;
            fn->refs++;
            return fn;
        }
        core->nfns--;
        pl_fn_unref(core, fn);
        break;
    }
    if (!(fn = fn_make(core, callable)))
        return NULL;
    if (!fn->callee.stable)
        return core->places ? loose_share(core, fn)
                            : fn; /* here a look at all of it costs more than it saves */
    struct pl_fn *same = fn_same(core, fn);
    if (same) {
        /* Keep the newer witness: it is about the object the caller uses now. */
        struct pk_callee newer = fn->callee;
        fn->callee = same->callee;
        same->callee = newer;
        same->refs++;
        pl_fn_unref(core, fn);
        return same;
    }
    fn->next = core->fns;
    core->fns = fn;
    fn->refs++;
    if (++core->nfns > FNS_KEPT)
        fns_trim(core);
    return fn;
}

struct pl_fn *pl_fn_get(struct pl_core *core, PyObject *callable) {
    struct pl_fn *fn = fn_find(core, callable);
    if (fn && atomic_load_explicit(&core->table->header->tracing, memory_order_relaxed)) {
        struct erg_fn_head *head = erg_table_at(core->table, fn->offset);
        if (!atomic_load_explicit(&head->name, memory_order_relaxed))
            atomic_store_explicit(&head->name, pl_fn_name_of(core, pl_member(core), callable),
                                  memory_order_release);
    }
    return fn;
}

void pl_fn_clear(struct pl_core *core) {
    while (core->loose) {
        struct pl_fn *fn = core->loose;
        core->loose = fn->next;
        pl_fn_unref(core, fn);
    }
    while (core->fns) {
        struct pl_fn *fn = core->fns;
        core->fns = fn->next;
        pl_fn_unref(core, fn);
    }
    core->nfns = 0;
}
