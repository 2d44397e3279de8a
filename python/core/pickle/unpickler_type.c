/* The type Unpickler: pickle.Unpickler's interface over our unpickler, and reading from files.
 *
 * A file that can seek is read in chunks and put back to the byte after STOP; from any other exactly the bytes
 * of the pickle are taken, a frame at a time. */
#include "types.h"

#include <structmember.h>

enum { CHUNK = 64 * 1024 };

typedef struct {
    PyObject_HEAD struct unpickler u; /* must stay the second member: see self_of() */
    PyObject *file, *read, *readline;
    PyObject *buffers; /* iterator or NULL */
    PyObject *restrict_to;
    PyObject *encoding, *errors;
    PyObject *persistent_load; /* while loading */
    unsigned char *room;
    size_t caproom;
    int seekable;
    int busy, ready;
    PyObject *dict; /* attributes of the instance: persistent_load and the like */
} Unpickler;

static Unpickler *self_of(struct unpickler *u) {
    return (Unpickler *)((char *)u - offsetof(Unpickler, u));
}

/* Appends data to what is left. */
static int append(Unpickler *self, PyObject *data) {
    struct unpickler *u = &self->u;
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return -1;
    if (view.len == 0) { /* the end of the file */
        PyBuffer_Release(&view);
        return -1;
    }
    size_t left = (size_t)(u->end - u->cur), need = left + (size_t)view.len;
    unsigned char *room = self->room;
    u->consumed += (size_t)(u->cur - u->start);
    if (left)
        memmove(room, u->cur, left);
    if (need > self->caproom) {
        room = PyMem_Realloc(self->room, need + CHUNK);
        if (!room) {
            PyBuffer_Release(&view);
            PyErr_NoMemory();
            return -1;
        }
        self->room = room;
        self->caproom = need + CHUNK;
    }
    if (view.len > 0) /* room is NULL at an end of file before the first byte */
        memcpy(room + left, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    u->start = u->cur = room;
    u->end = room + need;
    return 0;
}

static int refill(struct unpickler *u, size_t need) {
    Unpickler *self = self_of(u);
    if (need == 0 && !self->seekable) {
        PyObject *line = PyObject_CallNoArgs(self->readline);
        int rc = line ? append(self, line) : -1;
        Py_XDECREF(line);
        return rc;
    }
    do {
        size_t want = need ? need - (size_t)(u->end - u->cur) : 1;
        if (self->seekable && want < CHUNK)
            want = CHUNK;
        if (want >
            ((size_t)1 << 30)) /* a length that a broken stream claims: as far as there is data */
            want = (size_t)1 << 30;
        PyObject *data = PyObject_CallFunction(self->read, "n", (Py_ssize_t)want);
        int rc = data ? append(self, data) : -1;
        Py_XDECREF(data);
        if (rc < 0)
            return -1;
    } while (need ? (size_t)(u->end - u->cur) < need
                  : !memchr(u->cur, '\n', (size_t)(u->end - u->cur)));
    return 0;
}

/* Gives back to the file what was read behind the STOP. */
static int give_back(Unpickler *self) {
    Py_ssize_t left = self->u.end - self->u.cur;
    self->u.cur = self->u.start = self->u.end = self->room;
    self->u.consumed = 0;
    if (!self->seekable || left == 0)
        return 0;
    PyObject *done = PyObject_CallMethod(self->file, "seek", "ni", -left, 1);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static int is_seekable(PyObject *file) {
    PyObject *answer = PyObject_CallMethod(file, "seekable", NULL);
    int rc = answer ? PyObject_IsTrue(answer) : 0;
    Py_XDECREF(answer);
    if (rc > 0) {
        PyObject *place = PyObject_CallMethod(file, "tell", NULL);
        rc = place != NULL;
        Py_XDECREF(place);
    }
    PyErr_Clear();
    return rc > 0;
}

static int set_file(Unpickler *self, PyObject *file) {
    PyObject *readline = PyObject_GetAttrString(file, "readline");
    PyObject *read = readline ? PyObject_GetAttrString(file, "read") : NULL;
    if (!read) {
        Py_XDECREF(readline);
        if (PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_SetString(PyExc_TypeError, "file must have 'read' and 'readline' attributes");
        return -1;
    }
    Py_XSETREF(self->file, Py_NewRef(file));
    Py_XSETREF(self->read, read);
    Py_XSETREF(self->readline, readline);
    self->seekable = is_seekable(file);
    return 0;
}

static int set_encoding(Unpickler *self, PyObject *encoding, PyObject *errors) {
    if (encoding) {
        const char *name = PyUnicode_AsUTF8(encoding);
        if (!name)
            return -1;
        self->u.as_bytes = strcmp(name, "bytes") == 0;
        Py_XSETREF(self->encoding, Py_NewRef(encoding));
        self->u.encoding = self->encoding;
    }
    if (errors) {
        Py_XSETREF(self->errors, Py_NewRef(errors));
        if (!(self->u.errors = PyUnicode_AsUTF8(self->errors)))
            return -1;
    }
    return 0;
}

static int unpickler_init(PyObject *op, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"file",    "fix_imports", "encoding", "errors",
                            "buffers", "restrict",    NULL};
    Unpickler *self = (Unpickler *)op;
    PyObject *file, *encoding = NULL, *errors = NULL, *buffers = NULL, *allowed = NULL;
    int fix_imports = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$pUUOO:Unpickler", names, &file, &fix_imports,
                                     &encoding, &errors, &buffers, &allowed))
        return -1;
    PyObject *module = core_module_of(Py_TYPE(op));
    if (!module)
        return -1;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "Unpickler.__init__() called while it is loading");
        return -1;
    }
    if (self->ready)
        pk_unpickler_fini(&self->u);
    pk_unpickler_init(&self->u, pk_state_of(module));
    self->ready = 1;
    self->u.refill = refill;
    self->u.fix_imports = fix_imports;
    if (set_encoding(self, encoding, errors) < 0 || set_file(self, file) < 0)
        return -1;
    PyObject *iterator = buffers && buffers != Py_None ? PyObject_GetIter(buffers) : NULL;
    if (PyErr_Occurred())
        return -1;
    Py_XSETREF(self->buffers, iterator);
    Py_XSETREF(self->restrict_to, allowed && allowed != Py_None ? Py_NewRef(allowed) : NULL);
    return 0;
}

static PyObject *next_buffer(void *ctx) {
    Unpickler *self = ctx;
    struct pk_buffers buffers = {self->u.st->module, self->buffers};
    return pk_next_of_buffers(&buffers);
}

static PyObject *persistent(void *ctx, PyObject *pid) {
    Unpickler *self = ctx;
    return PyObject_CallOneArg(self->persistent_load, pid);
}

static int not_ready(Unpickler *self) {
    if (self->ready && self->file && !self->busy)
        return 0;
    PyObject *module = core_module_of(Py_TYPE(self));
    if (self->busy)
        PyErr_SetString(PyExc_RuntimeError, "this Unpickler is loading already");
    else if (module)
        core_raise(module, CORE_EXC_UNPICKLING_ERROR,
                   "Unpickler.__init__() was not called by %s.__init__()", Py_TYPE(self)->tp_name);
    return -1;
}

/* find_class of a subclass: strong reference or NULL. */
static PyObject *own_find_class(Unpickler *self) {
    struct pk_state *st = self->u.st;
    PyObject *mine = core_type_lookup(Py_TYPE(self), PK_STR(find_class));
    if (mine == core_type_lookup(st->unpickler_type, PK_STR(find_class)) &&
        !(self->dict && PyDict_GetItemWithError(self->dict, PK_STR(find_class))))
        return NULL;
    return PyObject_GetAttr((PyObject *)self, PK_STR(find_class));
}

PyDoc_STRVAR(load_doc,
             "load($self, /)\n--\n\nReads one pickle from the file: the object it describes.");

static PyObject *unpickler_load(PyObject *op, PyObject *unused) {
    Unpickler *self = (Unpickler *)op;
    (void)unused;
    if (not_ready(self) < 0)
        return NULL;
    struct pk_state *st = self->u.st;
    if (PyObject_GetOptionalAttr(op, PK_STR(persistent_load), &self->persistent_load) < 0)
        return NULL;
    PyObject *find_class = own_find_class(self);
    if (!find_class && PyErr_Occurred()) {
        Py_CLEAR(self->persistent_load);
        return NULL;
    }
    struct pk_source source = {.ctx = self,
                               .next_buffer = next_buffer,
                               .persistent = self->persistent_load ? persistent : NULL,
                               .restrict_to = self->restrict_to};
    self->u.find_class = find_class;
    self->u.cur = self->u.start = self->u.end = self->room;
    self->busy = 1;
    PyObject *obj = pk_unpickler_load(&self->u, &source);
    PyObject *exception = obj ? NULL : PyErr_GetRaisedException();
    self->u.find_class = NULL;
    self->u.source = NULL;
    Py_CLEAR(self->persistent_load);
    Py_XDECREF(find_class);
    if (give_back(self) < 0) {
        if (exception)
            PyErr_Clear();
        else
            Py_CLEAR(obj);
    }
    self->busy = 0;
    if (exception)
        PyErr_SetRaisedException(exception);
    return obj;
}

PyDoc_STRVAR(find_class_doc, "find_class($self, module_name, global_name, /)\n--\n\n"
                             "The object a stream names. Subclasses override this to allow less.");

static PyObject *unpickler_find_class(PyObject *op, PyObject *const *args, Py_ssize_t n) {
    Unpickler *self = (Unpickler *)op;
    if (n != 2 || !PyUnicode_Check(args[0]) || !PyUnicode_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "find_class(module_name, global_name) takes two strings");
        return NULL;
    }
    if (!self->ready) {
        PyErr_SetString(PyExc_RuntimeError, "Unpickler.__init__() was not called");
        return NULL;
    }
    struct pk_source *before = self->u.source, none = {0};
    PyObject *override = self->u.find_class;
    if (!before)
        self->u.source = &none;
    self->u.find_class = NULL;
    PyObject *found = pk_find_class(&self->u, args[0], args[1]);
    self->u.find_class = override;
    self->u.source = before;
    return found;
}

static PyObject *unpickler_get_memo(PyObject *op, void *unused) {
    Unpickler *self = (Unpickler *)op;
    PyObject *dict = PyDict_New();
    (void)unused;
    for (size_t i = 0; dict && i < self->u.capmemo; i++) {
        if (!self->u.memo[i])
            continue;
        PyObject *key = PyLong_FromSize_t(i);
        if (!key || PyDict_SetItem(dict, key, self->u.memo[i]) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(key);
    }
    return dict;
}

static int unpickler_set_memo(PyObject *op, PyObject *value, void *unused) {
    Unpickler *self = (Unpickler *)op;
    PyObject *key, *obj;
    Py_ssize_t pos = 0;
    (void)unused;
    if (not_ready(self) < 0)
        return -1;
    if (!value || !PyDict_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "'memo' attribute must be a dict of index: object");
        return -1;
    }
    pk_unpickler_fini(&self->u);
    self->u.nmemo = 0;
    while (PyDict_Next(value, &pos, &key, &obj)) {
        size_t index = PyLong_Check(key) ? PyLong_AsSize_t(key) : (size_t)-1;
        if (index > UINT32_MAX) {
            PyErr_SetString(PyExc_TypeError, "memo key must be non-negative integers.");
            return -1;
        }
        if (pk_memo_set(&self->u, index, obj) < 0)
            return -1;
    }
    return 0;
}

static int unpickler_traverse(PyObject *op, visitproc visit, void *arg) {
    Unpickler *self = (Unpickler *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->dict);
    Py_VISIT(self->file);
    Py_VISIT(self->read);
    Py_VISIT(self->readline);
    Py_VISIT(self->buffers);
    Py_VISIT(self->restrict_to);
    for (size_t i = 0; i < self->u.capmemo; i++)
        Py_VISIT(self->u.memo[i]);
    return 0;
}

static int unpickler_clear(PyObject *op) {
    Unpickler *self = (Unpickler *)op;
    Py_CLEAR(self->dict);
    Py_CLEAR(self->file);
    Py_CLEAR(self->read);
    Py_CLEAR(self->readline);
    Py_CLEAR(self->buffers);
    Py_CLEAR(self->restrict_to);
    if (self->ready && !self->busy)
        pk_unpickler_fini(&self->u);
    return 0;
}

static void unpickler_dealloc(PyObject *op) {
    Unpickler *self = (Unpickler *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    unpickler_clear(op);
    Py_CLEAR(self->encoding);
    Py_CLEAR(self->errors);
    PyMem_Free(self->room);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef unpickler_methods[] = {
    {"load", unpickler_load, METH_NOARGS, load_doc},
    {"find_class", CORE_METHOD(unpickler_find_class), METH_FASTCALL, find_class_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef unpickler_getset[] = {
    {"memo", unpickler_get_memo, unpickler_set_memo,
     "What the stream has put aside: {index: object}, a copy.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    unpickler_doc,
    "Unpickler(file, *, fix_imports=True, encoding='ASCII', errors='strict', buffers=None,\n"
    "          restrict=None)\n--\n\n"
    "Reads pickles from an open binary file.");

static PyMemberDef unpickler_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Unpickler, dict), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot unpickler_slots[] = {
    {Py_tp_doc, (void *)unpickler_doc},
    {Py_tp_init, unpickler_init},
    {Py_tp_dealloc, unpickler_dealloc},
    {Py_tp_traverse, unpickler_traverse},
    {Py_tp_clear, unpickler_clear},
    {Py_tp_methods, unpickler_methods},
    {Py_tp_getset, unpickler_getset},
    {Py_tp_members, unpickler_members},
    {0, NULL},
};

PyType_Spec pk_unpickler_spec = {
    .name = "ergon._core.Unpickler",
    .basicsize = sizeof(Unpickler),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = unpickler_slots,
};
