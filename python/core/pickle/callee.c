/* Functions that travel once: their bytes, and witnesses of everything the bytes were made from.
 *
 * While the callee is pickled the pickler records a witness for each thing it reads that could be different at
 * the next call: a pointer inside a function or cell, an entry of a dict of globals, the version of a type.
 * Anything mutable that lies inside makes the callee unstable, and then nothing is recorded for long. Asking
 * whether the bytes still hold compares pointers; values are held strongly, so an address cannot come back as
 * another object. */
#include <sodium.h>

#include "types.h"

enum witness_kind {
    W_SLOT,  /* *(PyObject **)address inside owner is still value */
    W_ENTRY, /* owner[key] is still value (NULL: still missing) */
    W_SIZE,  /* the dict owner still has this many entries */
    W_TYPE,  /* the type owner still has this version */
};

static struct pk_witness *add(struct pickler *p, enum witness_kind kind, PyObject *owner) {
    struct pk_watch *watch = p->watch;
    if (!watch || !watch->stable)
        return NULL;
    if (watch->n == watch->cap) {
        Py_ssize_t cap = watch->cap ? watch->cap * 2 : 16;
        struct pk_witness *list = PyMem_Realloc(watch->list, (size_t)cap * sizeof *list);
        if (!list) {
            watch->stable = 0; /* pickled anew each time: slower, still right */
            return NULL;
        }
        watch->list = list;
        watch->cap = cap;
    }
    struct pk_witness *w = &watch->list[watch->n++];
    *w = (struct pk_witness){.kind = (uint8_t)kind, .owner = Py_NewRef(owner)};
    return w;
}

void pk_watch_entry(struct pickler *p, PyObject *dict, PyObject *key, PyObject *value) {
    struct pk_witness *w = add(p, W_ENTRY, dict);
    if (!w)
        return;
    w->key = Py_NewRef(key);
    w->value = Py_XNewRef(value);
}

void pk_watch_slot(struct pickler *p, PyObject *owner, PyObject **address) {
    struct pk_witness *w = add(p, W_SLOT, owner);
    if (!w)
        return;
    w->address = address;
    w->value = Py_XNewRef(*address);
}

void pk_watch_size(struct pickler *p, PyObject *dict) {
    struct pk_witness *w = add(p, W_SIZE, dict);
    if (w)
        w->number = PyDict_GET_SIZE(dict);
}

void pk_watch_pairs(struct pickler *p, PyObject *dict) {
    Py_ssize_t pos = 0;
    PyObject *key, *value;
    if (!p->watch)
        return;
    pk_watch_size(p, dict);
    while (PyDict_Next(dict, &pos, &key, &value))
        pk_watch_entry(p, dict, key, value);
}

void pk_watch_excuse(struct pickler *p, PyObject *obj) {
    if (!p->watch || !p->watch->stable)
        return;
    if ((!p->watch->excused && !(p->watch->excused = PyList_New(0))) ||
        PyList_Append(p->watch->excused, obj) < 0) {
        PyErr_Clear();
        p->watch->stable = 0;
    }
}

int pk_watch_excused(struct pickler *p, PyObject *obj) {
    PyObject *list = p->watch->excused;
    for (Py_ssize_t i = 0; list && i < PyList_GET_SIZE(list); i++)
        if (PyList_GET_ITEM(list, i) == obj)
            return 1;
    return 0;
}

/* The keywords of a partial are a dict that somebody might change: watched instead of refused. */
int pk_watch_partial(struct pickler *p, PyObject *partial) {
    PyObject *vars = NULL, *keywords = NULL;
    int rc = PyObject_GetOptionalAttrString(partial, "__dict__", &vars);
    int plain = rc >= 0 && (!vars || (PyDict_Check(vars) && PyDict_GET_SIZE(vars) == 0));
    if (rc >= 0 && vars && plain)
        pk_watch_size(p, vars);
    Py_XDECREF(vars);
    if (rc >= 0 && plain)
        rc = PyObject_GetOptionalAttrString(partial, "keywords", &keywords);
    if (rc > 0 && plain && PyDict_CheckExact(keywords)) {
        pk_watch_pairs(p, keywords);
        pk_watch_excuse(p, keywords);
    } else {
        plain = 0;
    }
    Py_XDECREF(keywords);
    return rc < 0 ? -1 : plain;
}

void pk_watch_type(struct pickler *p, PyTypeObject *type) {
    unsigned int version = p->watch ? pk_type_version(type) : 0;
    if (!version) {
        pk_watch_mutable(p);
        return;
    }
    struct pk_witness *w = add(p, W_TYPE, (PyObject *)type);
    if (w)
        w->number = version;
}

static int holds(const struct pk_witness *w) {
    switch ((enum witness_kind)w->kind) {
    case W_SLOT:
        return *w->address == w->value;
    case W_ENTRY:
        return PyDict_GetItemWithError(w->owner, w->key) == w->value;
    case W_SIZE:
        return PyDict_GET_SIZE(w->owner) == w->number;
    case W_TYPE:
        return core_type_version_is((PyTypeObject *)w->owner, (unsigned int)w->number);
    }
    return 0;
}

int pk_callee_valid(const struct pk_callee *callee) {
    const struct pk_watch *watch = callee->witness;
    if (!callee->stable || !watch)
        return 0;
    for (Py_ssize_t i = 0; i < watch->n; i++)
        if (!holds(&watch->list[i]))
            return 0;
    return 1;
}

static void watch_drop(struct pk_watch *watch) {
    while (watch->n > 0) {
        struct pk_witness w = watch->list[--watch->n];
        Py_XDECREF(w.owner);
        Py_XDECREF(w.key);
        Py_XDECREF(w.value);
    }
    Py_CLEAR(watch->excused);
    PyMem_Free(watch->list);
    watch->list = NULL;
    watch->cap = 0;
}

/* Wraps the user's hook: what goes out of band can change between calls. */
struct watching {
    const struct pk_hooks *hooks;
    struct pk_watch *watch;
};

static int watch_buffer(void *ctx, PyObject *pickle_buffer) {
    struct watching *w = ctx;
    w->watch->stable = 0;
    return w->hooks->buffer(w->hooks->ctx, pickle_buffer);
}

static int watch_ref(void *ctx, PyObject *obj, PyObject **pid) {
    struct watching *w = ctx;
    int rc = w->hooks->ref(w->hooks->ctx, obj, pid);
    if (rc)
        w->watch->stable = 0;
    return rc;
}

int pk_callee_init(PyObject *module, PyObject *callable, const struct pk_hooks *hooks,
                   struct pk_callee *out) {
    memset(out, 0, sizeof *out);
    struct pk_watch *watch = PyMem_Calloc(1, sizeof *watch);
    if (!watch) {
        PyErr_NoMemory();
        return -1;
    }
    watch->stable = 1;
    struct watching ctx = {hooks, watch};
    struct pk_hooks ours = {&ctx, hooks && hooks->buffer ? watch_buffer : NULL,
                            hooks && hooks->ref ? watch_ref : NULL, PK_AS_IT_IS};
    struct pk_bytes_sink sink;
    pk_bytes_sink_init(&sink);
    PyObject *name = PyObject_HasAttrString(callable, "__qualname__")
                         ? PyObject_GetAttrString(callable, "__qualname__")
                         : NULL;
    const char *root = name && PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;
    if (!root)
        PyErr_Clear();
    int rc = pk_dump_watched(module, callable, &sink.base, &ours, PK_BARE, root ? root : "function",
                             watch, 0, NULL);
    Py_XDECREF(name);
    out->bytes = rc == 0 ? pk_bytes_sink_take(&sink) : NULL;
    pk_bytes_sink_fini(&sink);
    if (!out->bytes) {
        watch_drop(watch);
        PyMem_Free(watch);
        return -1;
    }
    Py_CLEAR(watch->excused);
    if (!watch->stable)
        watch_drop(watch);
    out->callable = Py_NewRef(callable);
    out->stable = watch->stable;
    out->witness = watch;
    crypto_generichash(out->digest, sizeof out->digest,
                       (const unsigned char *)PyBytes_AS_STRING(out->bytes),
                       (unsigned long long)PyBytes_GET_SIZE(out->bytes), NULL, 0);
    return 0;
}

void pk_callee_fini(struct pk_callee *callee) {
    struct pk_callee old = *callee;
    memset(callee, 0, sizeof *callee);
    Py_XDECREF(old.callable);
    Py_XDECREF(old.bytes);
    if (old.witness) {
        watch_drop(old.witness);
        PyMem_Free(old.witness);
    }
}

int pk_callee_traverse(const struct pk_callee *callee, visitproc visit, void *arg) {
    const struct pk_watch *watch = callee->witness;
    Py_VISIT(callee->callable);
    Py_VISIT(callee->bytes);
    for (Py_ssize_t i = 0; watch && i < watch->n; i++) {
        Py_VISIT(watch->list[i].owner);
        Py_VISIT(watch->list[i].key);
        Py_VISIT(watch->list[i].value);
    }
    return 0;
}

/* --- for Python: what a pool thinks of a function ----------------------------------------------------------- */

typedef struct {
    PyObject_HEAD struct pk_callee callee;
} Callee;

static PyObject *callee_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"function", NULL};
    PyObject *callable, *module = core_module_of(type);
    if (!module || !PyArg_ParseTupleAndKeywords(args, kwargs, "O:Callee", names, &callable))
        return NULL;
    Callee *self = (Callee *)type->tp_alloc(type, 0);
    if (self && pk_callee_init(module, callable, NULL, &self->callee) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static int callee_traverse(PyObject *op, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(op));
    return pk_callee_traverse(&((Callee *)op)->callee, visit, arg);
}

static int callee_clear(PyObject *op) {
    pk_callee_fini(&((Callee *)op)->callee);
    return 0;
}

static void callee_dealloc(PyObject *op) {
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    callee_clear(op);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyObject *callee_valid(PyObject *op, PyObject *unused) {
    (void)unused;
    return PyBool_FromLong(pk_callee_valid(&((Callee *)op)->callee));
}

static PyObject *get_stable(PyObject *op, void *unused) {
    (void)unused;
    return PyBool_FromLong(((Callee *)op)->callee.stable);
}

static PyObject *get_bytes(PyObject *op, void *unused) {
    (void)unused;
    PyObject *bytes = ((Callee *)op)->callee.bytes;
    return Py_NewRef(bytes ? bytes : Py_None);
}

static PyObject *get_digest(PyObject *op, void *unused) {
    const struct pk_callee *callee = &((Callee *)op)->callee;
    (void)unused;
    return PyBytes_FromStringAndSize((const char *)callee->digest, sizeof callee->digest);
}

PyDoc_STRVAR(callee_doc,
             "Callee(function)\n--\n\n"
             "How a function travels to a pool: its bytes, whether they may be used for later\n"
             "calls (stable), and whether they still say what the function is (valid()).");
PyDoc_STRVAR(valid_doc, "valid($self, /)\n--\n\n"
                        "The bytes may be used again: nothing they were made from has changed.");

static PyMethodDef callee_methods[] = {
    {"valid", callee_valid, METH_NOARGS, valid_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef callee_getset[] = {
    {"stable", get_stable, NULL, "Nothing mutable travels inside.", NULL},
    {"bytes", get_bytes, NULL, "The bare pickle, without header.", NULL},
    {"digest", get_digest, NULL, "BLAKE2b of the bytes: how workers name it.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot callee_slots[] = {
    {Py_tp_doc, (void *)callee_doc}, {Py_tp_new, callee_new},
    {Py_tp_dealloc, callee_dealloc}, {Py_tp_traverse, callee_traverse},
    {Py_tp_clear, callee_clear},     {Py_tp_methods, callee_methods},
    {Py_tp_getset, callee_getset},   {0, NULL},
};

PyType_Spec pk_callee_spec = {
    .name = "ergon._core.Callee",
    .basicsize = sizeof(Callee),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = callee_slots,
};
