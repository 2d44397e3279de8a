/* The type Pickler: pickle.Pickler's interface over our pickler. Subclasses may define persistent_id,
 * reducer_override and dispatch_table, as there. */
#include "types.h"

#include <structmember.h>

typedef struct {
    PyObject_HEAD struct pickler p;
    PyObject *write;
    PyObject *buffer_callback;
    struct pk_hooks hooks;
    int busy;
    int ready;
    PyObject *dict; /* attributes of the instance: dispatch_table and the like */
} Pickler;

static int pickler_init(PyObject *op, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"file", "protocol", "fix_imports", "buffer_callback", "byref", NULL};
    Pickler *self = (Pickler *)op;
    PyObject *file, *protocol = NULL, *callback = NULL;
    int fix_imports = 1, byref = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|Op$Op:Pickler", names, &file, &protocol,
                                     &fix_imports, &callback, &byref))
        return -1;
    PyObject *module = core_module_of(Py_TYPE(op));
    if (!module)
        return -1;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "Pickler.__init__() called while it is pickling");
        return -1;
    }
    struct pk_state *st = pk_state_of(module);
    int proto = pk_protocol(protocol);
    if (proto < 0)
        return -1;
    if (callback && callback != Py_None && proto < 5) {
        PyErr_SetString(PyExc_ValueError, "buffer_callback needs protocol >= 5");
        return -1;
    }
    PyObject *write;
    if (PyObject_GetOptionalAttr(file, PK_STR(write), &write) < 0)
        return -1;
    if (!write) {
        PyErr_SetString(PyExc_TypeError, "file must have a 'write' attribute");
        return -1;
    }
    if (self->ready)
        pk_pickler_fini(&self->p);
    pk_pickler_init(&self->p, module);
    self->ready = 1;
    self->p.proto = proto;
    self->p.keeps = 1;
    self->p.flags = byref ? PK_BYREF : 0;
    Py_XSETREF(self->write, write);
    Py_XSETREF(self->buffer_callback, callback && callback != Py_None ? Py_NewRef(callback) : NULL);
    self->hooks = (struct pk_hooks){0};
    if (self->buffer_callback) {
        self->hooks.ctx = self->buffer_callback;
        self->hooks.buffer = pk_call_buffer;
    }
    self->p.hooks = &self->hooks;
    return 0;
}

static int not_ready(Pickler *self) {
    if (self->ready && !self->busy)
        return 0;
    if (self->busy)
        PyErr_SetString(PyExc_RuntimeError, "this Pickler is pickling already");
    else {
        PyObject *module = core_module_of(Py_TYPE(self));
        if (module)
            core_raise(module, CORE_EXC_PICKLING_ERROR,
                       "Pickler.__init__() was not called by %s.__init__()",
                       Py_TYPE(self)->tp_name);
    }
    return -1;
}

/* What subclasses define; strong references for the time of one dump. */
static int overrides(Pickler *self, PyObject **found) {
    struct pk_state *st = self->p.st;
    PyObject *const names[] = {PK_STR(persistent_id), PK_STR(reducer_override),
                               PK_STR(dispatch_table)};
    for (int i = 0; i < 3; i++) {
        if (PyObject_GetOptionalAttr((PyObject *)self, names[i], &found[i]) < 0)
            return -1;
    }
    self->p.persistent_id = found[0];
    self->p.reducer_override = found[1];
    self->p.dispatch_table = found[2];
    return 0;
}

PyDoc_STRVAR(dump_doc, "dump($self, obj, /)\n--\n\nWrites a pickle of obj to the open file.");

static PyObject *pickler_dump(PyObject *op, PyObject *obj) {
    Pickler *self = (Pickler *)op;
    if (not_ready(self) < 0)
        return NULL;
    PyObject *found[3] = {NULL, NULL, NULL}, *bytes = NULL, *done = NULL;
    struct pk_bytes_sink sink;
    struct pk_mark before = pk_pickler_mark(&self->p);
    pk_bytes_sink_init(&sink);
    self->busy = 1;
    if (overrides(self, found) == 0 && pk_pickler_dump(&self->p, obj, &sink.base) == 0)
        bytes = pk_bytes_sink_take(&sink);
    if (!bytes)
        pk_pickler_go_back(&self->p, &before);
    uint32_t after = self->p.next;
    self->busy = 0;
    self->p.persistent_id = self->p.reducer_override = self->p.dispatch_table = NULL;
    for (int i = 0; i < 3; i++)
        Py_XDECREF(found[i]);
    pk_bytes_sink_fini(&sink);
    if (!bytes)
        return NULL;
    done = PyObject_CallOneArg(self->write, bytes);
    Py_DECREF(bytes);
    if (!done) {
        /* What the file did not take is lost; unless the pickler was used again on the way. */
        if (!self->busy && self->p.next == after) {
            self->busy = 1;
            pk_pickler_go_back(&self->p, &before);
            self->busy = 0;
        }
        return NULL;
    }
    Py_DECREF(done);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(clear_memo_doc,
             "clear_memo($self, /)\n--\n\n"
             "Forgets what was pickled, so that the next dump() writes everything again.");

static PyObject *pickler_clear_memo(PyObject *op, PyObject *unused) {
    Pickler *self = (Pickler *)op;
    (void)unused;
    if (not_ready(self) < 0)
        return NULL;
    pk_pickler_reset(&self->p);
    Py_RETURN_NONE;
}

static PyObject *pickler_get_memo(PyObject *op, void *unused) {
    Pickler *self = (Pickler *)op;
    PyObject *dict = PyDict_New();
    const struct pk_memo *memo = &self->p.memo;
    (void)unused;
    for (uint32_t i = 0; dict && memo->slots && i <= memo->mask; i++) {
        if (!memo->slots[i].key)
            continue;
        PyObject *id = PyLong_FromVoidPtr(memo->slots[i].key);
        PyObject *value = Py_BuildValue("(IO)", memo->slots[i].index, memo->slots[i].key);
        if (!id || !value || PyDict_SetItem(dict, id, value) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(id);
        Py_XDECREF(value);
    }
    return dict;
}

static int pickler_set_memo(PyObject *op, PyObject *value, void *unused) {
    Pickler *self = (Pickler *)op;
    PyObject *id, *entry, *obj;
    Py_ssize_t pos = 0;
    unsigned int index;
    (void)unused;
    if (not_ready(self) < 0)
        return -1;
    if (!value || !PyDict_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "'memo' attribute must be a dict of id: (index, object)");
        return -1;
    }
    Py_INCREF(value);
    pk_pickler_reset(&self->p);
    int rc = 0;
    while (rc == 0 && PyDict_Next(value, &pos, &id, &entry)) {
        if (!PyTuple_Check(entry) || !PyArg_ParseTuple(entry, "IO", &index, &obj)) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "'memo' values must be 2-item tuples");
            rc = -1;
        } else {
            rc = pk_memo_put(&self->p.memo, obj, index);
            if (rc == 0 && (PyUnicode_CheckExact(obj) || PyBytes_CheckExact(obj)))
                rc = pk_text_learn(&self->p, obj, index);
            if (index >= self->p.next)
                self->p.next = index + 1;
        }
    }
    Py_DECREF(value);
    return rc;
}

static int pickler_traverse(PyObject *op, visitproc visit, void *arg) {
    Pickler *self = (Pickler *)op;
    Py_VISIT(Py_TYPE(op));
    Py_VISIT(self->dict);
    Py_VISIT(self->write);
    Py_VISIT(self->buffer_callback);
    return pk_memo_traverse(&self->p.memo, visit, arg);
}

static int pickler_clear(PyObject *op) {
    Pickler *self = (Pickler *)op;
    Py_CLEAR(self->dict);
    Py_CLEAR(self->write);
    Py_CLEAR(self->buffer_callback);
    if (self->ready && !self->busy)
        pk_pickler_reset(&self->p);
    return 0;
}

static void pickler_dealloc(PyObject *op) {
    Pickler *self = (Pickler *)op;
    PyTypeObject *type = Py_TYPE(op);
    PyObject_GC_UnTrack(op);
    pickler_clear(op);
    if (self->ready)
        pk_pickler_fini(&self->p);
    type->tp_free(op);
    Py_DECREF(type);
}

static PyMethodDef pickler_methods[] = {
    {"dump", pickler_dump, METH_O, dump_doc},
    {"clear_memo", pickler_clear_memo, METH_NOARGS, clear_memo_doc},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef pickler_getset[] = {
    {"memo", pickler_get_memo, pickler_set_memo, "What was pickled: {id: (index, object)}, a copy.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    pickler_doc,
    "Pickler(file, protocol=None, fix_imports=True, *, buffer_callback=None, byref=False)\n--\n\n"
    "Writes pickles to an open binary file. Objects written before are written as references.");

static PyMemberDef pickler_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(Pickler, dict), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot pickler_slots[] = {
    {Py_tp_doc, (void *)pickler_doc},
    {Py_tp_init, pickler_init},
    {Py_tp_dealloc, pickler_dealloc},
    {Py_tp_traverse, pickler_traverse},
    {Py_tp_clear, pickler_clear},
    {Py_tp_methods, pickler_methods},
    {Py_tp_getset, pickler_getset},
    {Py_tp_members, pickler_members},
    {0, NULL},
};

PyType_Spec pk_pickler_spec = {
    .name = "ergon._core.Pickler",
    .basicsize = sizeof(Pickler),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = pickler_slots,
};
