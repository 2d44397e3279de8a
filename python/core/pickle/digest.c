/* The name of a value: BLAKE2b of its canonical pickle, which goes into the hash as it is written and is never
 * there as a whole. */
#include "digest.h"

#include <stdlib.h>

#include "types.h"

enum {
    PIECE = 16 * 1024,
    MUCH = 4096, /* of one level: goes into its hash */
    SHORT = 64,  /* is not worth a name */
};

/* What all names begin with: those of another way to make them are others. */
static const char version[] = "ergon.pickle.digest 4\n";

void *pk_room_for(void *array, size_t n, size_t *cap, size_t size) {
    if (n < *cap)
        return array;
    size_t wanted = *cap ? *cap * 2 : 16;
    void *bigger = PyMem_Realloc(array, wanted * size);
    if (bigger)
        *cap = wanted;
    else
        PyErr_NoMemory();
    return bigger;
}

/* --- levels ------------------------------------------------------------------------------------------------- */

static struct pk_level *top(struct pk_hash_sink *self) {
    return &self->levels[self->nlevels - 1];
}

static size_t size_of(const struct pk_hash_sink *self, const struct pk_level *level) {
    return level == self->levels ? self->size : PK_NAME;
}

/* Puts the uppermost level's bytes, up to len, into its hash. */
static int flush(struct pk_hash_sink *self, size_t len) {
    struct pk_level *level = top(self);
    if (!level->hash) {
        level->hash = aligned_alloc(64, (sizeof *level->hash + 63) / 64 * 64);
        if (!level->hash) {
            PyErr_NoMemory();
            return -1;
        }
        crypto_generichash_init(level->hash, NULL, 0, size_of(self, level));
    }
    crypto_generichash_update(level->hash, (const unsigned char *)self->base.buf + level->start,
                              len - level->start);
    return 0;
}

/* The name of the uppermost level, which is at its end. */
static void finish(struct pk_hash_sink *self, size_t len, unsigned char *name) {
    struct pk_level *level = top(self);
    const unsigned char *bytes = (const unsigned char *)self->base.buf + level->start;
    size_t size = size_of(self, level);
    if (level->hash) {
        crypto_generichash_update(level->hash, bytes, len - level->start);
        crypto_generichash_final(level->hash, name, size);
        free(level->hash);
    } else {
        crypto_generichash(name, size, bytes, len - level->start, NULL, 0);
    }
    self->nlevels--;
}

static size_t length(struct pickler *p) {
    return (size_t)(p->cur - (unsigned char *)p->sink->buf);
}

/* A level that begins at start. */
static int push(struct pk_hash_sink *self, size_t start, uint32_t next) {
    struct pk_level *levels =
        pk_room_for(self->levels, self->nlevels, &self->caplevels, sizeof *levels);
    if (!levels)
        return -1;
    self->levels = levels;
    size_t nopen = self->open ? (size_t)PyDict_GET_SIZE(self->open) : 0;
    levels[self->nlevels++] = (struct pk_level){start, nopen, SIZE_MAX, next, NULL};
    return 0;
}

int pk_level_open(struct pickler *p) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    size_t len = length(p);
    if (len - top(self)->start >= MUCH) {
        if (flush(self, len) < 0)
            return -1;
        len = top(self)->start;
        p->cur = (unsigned char *)self->base.buf + len;
    }
    return push(self, len, p->next);
}

/* What was referred to in a level that has ended. */
static void pass_reach(struct pk_hash_sink *self, size_t reach) {
    if (self->nlevels > 0 && reach < top(self)->reach)
        top(self)->reach = reach;
}

void pk_level_name(struct pickler *p, unsigned char *name) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    size_t len = length(p), reach = top(self)->reach;
    p->cur = (unsigned char *)self->base.buf + top(self)->start;
    finish(self, len, name);
    pass_reach(self, reach);
}

static int write_name(struct pickler *p, const unsigned char *name) {
    return pk_put(p, PK_OP_NAME) < 0 ? -1 : pk_write(p, name, PK_NAME);
}

static int keep_name(struct pk_hash_sink *self, PyObject *obj, const unsigned char *name) {
    void *names = pk_room_for(self->names, self->nnames, &self->capnames, PK_NAME);
    if (!names)
        return -1;
    self->names = names;
    if (pk_memo_put(&self->named, obj, (uint32_t)self->nnames) < 0)
        return -1;
    memcpy(self->names[self->nnames++], name, PK_NAME);
    return 0;
}

/* --- frozen dataclasses ------------------------------------------------------------------------------------- */

static int end_open(struct pk_hash_sink *self, PyObject *obj) {
    PyObject *key = PyLong_FromVoidPtr(obj);
    int rc = key ? PyDict_DelItem(self->open, key) : -1;
    Py_XDECREF(key);
    return rc;
}

int pk_level_enter(struct pickler *p, PyObject *obj) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    if (!self->open && !(self->open = PyDict_New()))
        return -1;
    size_t nopen = (size_t)PyDict_GET_SIZE(self->open);
    PyObject *key = PyLong_FromVoidPtr(obj), *number = NULL;
    int rc = key ? PyDict_GetItemRef(self->open, key, &number) : -1;
    if (rc > 0) {
        unsigned char reference[9] = {PK_OP_OPEN};
        size_t which = PyLong_AsSize_t(number);
        pass_reach(self, which);
        pk_le64(reference + 1, nopen - which);
        rc = pk_write(p, reference, sizeof reference) < 0 ? -1 : 1;
    } else if (rc == 0 && pk_level_open(p) == 0 && (number = PyLong_FromSize_t(nopen))) {
        rc = PyDict_SetItem(self->open, key, number) < 0 || pk_push_call(p, pk_level_close, obj) < 0
                 ? -1
                 : 0;
    } else {
        rc = -1;
    }
    Py_XDECREF(key);
    Py_XDECREF(number);
    return rc;
}

PyObject *pk_level_state(struct pickler *p, PyObject *obj, PyObject *state) {
    int type = p->flags & PK_CANONICAL ? pk_level_type(p, Py_TYPE(obj)) : PK_MUTABLE;
    if (type == PK_FROZEN_DATACLASS && PyList_CheckExact(state))
        return PyList_AsTuple(state);
    if (type != PK_DTYPE || !PyTuple_CheckExact(state))
        return Py_NewRef(state);
    Py_ssize_t n = PyTuple_GET_SIZE(state);
    PyObject *made = PyTuple_New(n);
    for (Py_ssize_t i = 0; made && i < n; i++) {
        PyObject *item = PyTuple_GET_ITEM(state, i), *pairs = NULL;
        if (PyDict_CheckExact(item) && (pairs = PyDict_Items(item)))
            PyTuple_SET_ITEM(made, i, PyList_AsTuple(pairs));
        else if (!PyDict_CheckExact(item))
            PyTuple_SET_ITEM(made, i, Py_NewRef(item));
        Py_XDECREF(pairs);
        if (!PyTuple_GET_ITEM(made, i))
            Py_CLEAR(made);
    }
    return made;
}

/* Only its container has it, and the frame: it is met again only if all of the container is. */
static int met_once(PyObject *obj) {
#ifdef Py_GIL_DISABLED
    (void)obj;
    return 0;
#else
    return Py_REFCNT(obj) <= 2;
#endif
}

int pk_level_close(struct pickler *p, PyObject *obj) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    struct pk_level *level = top(self);
    if (self->open && pk_level_type(p, Py_TYPE(obj)) == PK_FROZEN_DATACLASS &&
        end_open(self, obj) < 0)
        return -1;
    size_t reach = level->reach;
    if (!level->hash && length(p) - level->start <= SHORT) {
        self->nlevels--;
        pass_reach(self, reach);
        return 0;
    }
    unsigned char name[PK_NAME];
    int same = level->next == p->next && reach >= level->nopen;
    pk_level_name(p, name);
    if (same && !met_once(obj) && keep_name(self, obj, name) < 0)
        return -1;
    return write_name(p, name);
}

int pk_level_known(struct pickler *p, PyObject *obj) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    uint32_t index;
    if (!pk_memo_find(&self->named, obj, &index))
        return 0;
    return write_name(p, self->names[index]) < 0 ? -1 : 1;
}

/* Values of the standard library whose classes are written in Python. */
static int is_library_value(struct pk_state *st, PyTypeObject *type) {
    static const struct {
        const char *module, *name;
    } values[] = {
        {"fractions", "Fraction"},      {"uuid", "UUID"},
        {"pathlib", "PurePosixPath"},   {"pathlib", "PureWindowsPath"},
        {"pathlib", "PosixPath"},       {"pathlib", "WindowsPath"},
        {"ipaddress", "IPv4Address"},   {"ipaddress", "IPv6Address"},
        {"ipaddress", "IPv4Network"},   {"ipaddress", "IPv6Network"},
        {"ipaddress", "IPv4Interface"}, {"ipaddress", "IPv6Interface"},
    };
    for (size_t i = 0; i < Py_ARRAY_LENGTH(values); i++) {
        PyObject *module;
        if (strcmp(type->tp_name, values[i].name) != 0)
            continue;
        int rc = PyObject_GetOptionalAttr((PyObject *)type, PK_STR(__module__), &module);
        const char *text = rc > 0 && PyUnicode_Check(module) ? PyUnicode_AsUTF8(module) : NULL;
        size_t n = strlen(values[i].module); /* pathlib is a package in newer versions */
        int found = text && strncmp(text, values[i].module, n) == 0 && (!text[n] || text[n] == '.');
        PyErr_Clear();
        Py_XDECREF(module);
        return found;
    }
    return 0;
}

/* Named tuples, and subclasses of other immutable types that add no place to keep anything in. */
static int adds_nothing(PyTypeObject *type) {
    static PyTypeObject *const bases[] = {&PyTuple_Type,     &PyUnicode_Type, &PyLong_Type,
                                          &PyFrozenSet_Type, &PyFloat_Type,   &PyBytes_Type};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(bases); i++)
        if (PyType_IsSubtype(type, bases[i]))
            return type->tp_dictoffset == 0 && type->tp_basicsize == bases[i]->tp_basicsize &&
                   type->tp_itemsize == bases[i]->tp_itemsize;
    return 0;
}

/* NumPy's scalars and dtypes, not what a class statement made of them, nor records, which change. */
static uint32_t numpy_value(PyTypeObject *type) {
    if (strncmp(type->tp_name, "numpy.", 6) != 0)
        return PK_MUTABLE;
    int record = strstr(type->tp_name, "oid") || strstr(type->tp_name, "record");
    for (PyTypeObject *base = type; base; base = base->tp_base) {
        if (strcmp(base->tp_name, "numpy.dtype") == 0)
            return PK_DTYPE;
        if (strcmp(base->tp_name, "numpy.generic") == 0)
            return record ? PK_MUTABLE : PK_IMMUTABLE;
    }
    return PK_MUTABLE;
}

/* The class itself was made by @dataclass(frozen=True), with its __eq__: a subclass of one may set what it likes. */
static int is_frozen_dataclass(PyTypeObject *type) {
    PyObject *dict = core_type_dict(type), *flag = NULL;
    PyObject *params = dict ? PyDict_GetItemString(dict, "__dataclass_params__") : NULL;
    int rc = params != NULL;
    for (int i = 0; rc && i < 2; i++) {
        rc = PyObject_GetOptionalAttrString(params, i ? "eq" : "frozen", &flag) > 0 &&
             flag == Py_True;
        Py_CLEAR(flag);
    }
    PyErr_Clear();
    Py_XDECREF(dict);
    return rc;
}

int pk_level_type(struct pickler *p, PyTypeObject *type) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    uint32_t never;
    if (pk_memo_find(&self->types, (PyObject *)type, &never))
        return (int)never;
    if (pk_never_changes(p->st, type) || is_library_value(p->st, type) || adds_nothing(type))
        never = PK_IMMUTABLE;
    else
        never = is_frozen_dataclass(type) ? PK_FROZEN_DATACLASS : numpy_value(type);
    if (pk_memo_put(&self->types, (PyObject *)type, never) < 0)
        PyErr_Clear(); /* it is asked again */
    return (int)never;
}

/* --- the sink ----------------------------------------------------------------------------------------------- */

/* Makes room by hashing what the uppermost level has there; those below it have little. */
static int grow(struct pk_sink *sink, size_t need) {
    struct pk_hash_sink *self = (struct pk_hash_sink *)sink;
    if (sink->len - top(self)->start >= MUCH || self->nlevels == 1) {
        if (flush(self, sink->len) < 0)
            return -1;
        sink->len = top(self)->start;
    }
    if (need <= sink->cap - sink->len)
        return 0;
    size_t cap = sink->cap * 2 < PIECE ? PIECE : sink->cap * 2;
    if (cap - sink->len < need)
        cap = sink->len + need;
    char *room = PyMem_Realloc(self->room, cap);
    if (!room) {
        PyErr_NoMemory();
        return -1;
    }
    if (!self->room)
        memcpy(room, self->small, sink->len);
    self->room = sink->buf = room;
    sink->cap = cap;
    return 0;
}

static int start(struct pk_hash_sink *self, size_t size) {
    memset(self, 0, offsetof(struct pk_hash_sink, small));
    self->base = (struct pk_sink){self->small, 0, sizeof self->small, grow, NULL};
    self->size = size;
    memcpy(self->small, version, sizeof version - 1);
    self->base.len = sizeof version - 1;
    return push(self, 0, 0);
}

/* Dropping references runs code that may look at the error indicator. */
static void end(struct pk_hash_sink *self) {
    PyObject *exception = PyErr_GetRaisedException();
    while (self->nlevels > 0)
        free(self->levels[--self->nlevels].hash);
    pk_memo_fini(&self->named);
    pk_memo_fini(&self->types);
    pk_memo_fini(&self->pure);
    Py_CLEAR(self->open);
    PyMem_Free(self->levels);
    PyMem_Free(self->names);
    PyMem_Free(self->items);
    PyMem_Free(self->room);
    if (exception)
        PyErr_SetRaisedException(exception);
}

static PyObject *digest(PyObject *module, PyObject *obj, size_t size, const struct pickler *outer,
                        PyObject *scratch) {
    unsigned char name[crypto_generichash_BYTES_MAX];
    struct pk_hash_sink sink;
    int rc = start(&sink, size);
    sink.keep =
        outer && (!(outer->flags & PK_CANONICAL) || ((struct pk_hash_sink *)outer->sink)->keep);
    if (rc == 0)
        rc = pk_dump_watched(module, obj, &sink.base, NULL, PK_BARE | PK_CANONICAL,
                             outer ? outer->root : NULL, NULL, outer ? outer->nested + 1 : 0,
                             scratch);
    if (rc == 0)
        finish(&sink, sink.base.len, name);
    end(&sink);
    return rc < 0 ? NULL : PyBytes_FromStringAndSize((const char *)name, (Py_ssize_t)size);
}

PyObject *pk_digest_nested(struct pickler *p, PyObject *obj, PyObject *scratch) {
    return digest(p->st->module, obj, PK_NAME, p, scratch);
}

PyObject *pk_digest(PyObject *module, PyObject *obj, Py_ssize_t size) {
    if (size < (Py_ssize_t)crypto_generichash_BYTES_MIN ||
        size > (Py_ssize_t)crypto_generichash_BYTES_MAX)
        return PyErr_Format(PyExc_ValueError, "size must be %d to %d bytes",
                            (int)crypto_generichash_BYTES_MIN, (int)crypto_generichash_BYTES_MAX);
    return digest(module, obj, (size_t)size, NULL, NULL);
}
