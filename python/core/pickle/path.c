/* Where in the object an error happened, read off the frames. */
#include "pickler.h"

enum { MAX_KEY = 60, MAX_PARTS = 40 };

/* How a key is written in a path: only values whose repr() runs no user code. */
static PyObject *key_text(PyObject *key) {
    PyTypeObject *type = Py_TYPE(key);
    if (type != &PyUnicode_Type && type != &PyLong_Type && type != &PyFloat_Type &&
        type != &PyBytes_Type && type != &PyBool_Type && key != Py_None)
        return PyUnicode_FromFormat("<%s>", type->tp_name);
    PyObject *text = PyObject_Repr(key);
    if (text && PyUnicode_GET_LENGTH(text) > MAX_KEY) {
        PyObject *head = PyUnicode_Substring(text, 0, MAX_KEY);
        Py_SETREF(text, head ? PyUnicode_FromFormat("%U…", head) : NULL);
        Py_XDECREF(head);
    }
    return text;
}

static PyObject *dict_part(const struct pk_frame *f) {
    PyObject *key = NULL, *value;
    Py_ssize_t pos = f->prev;
    if (!PyDict_Next(f->obj, &pos, &key, &value))
        return PyUnicode_FromString("");
    if (f->aux)
        return PyUnicode_FromFormat("'s key <%s>", Py_TYPE(key)->tp_name);
    if (f->flags & PK_FF_ATTRS && PyUnicode_Check(key))
        return PyUnicode_FromFormat(".%U", key);
    if (f->flags & PK_FF_GLOBALS && PyUnicode_Check(key))
        return PyUnicode_FromFormat("'s global %U", key);
    PyObject *text = key_text(key);
    PyObject *part = text ? PyUnicode_FromFormat("[%U]", text) : NULL;
    Py_XDECREF(text);
    return part;
}

static PyObject *index_part(const struct pk_frame *f) {
    const char *before = f->flags & PK_FF_REDUCE ? ".__reduce__()[1]" : "";
    return PyUnicode_FromFormat("%s[%zd]", before, f->i - 1);
}

static PyObject *set_part(const struct pk_frame *f) {
    Py_ssize_t i = f->i - 1;
    if (f->op == OP_APPENDS)
        return PyUnicode_FromFormat("[%zd]", i);
    if (f->op != OP_SETITEMS)
        return PyUnicode_FromString(".<item of the set>");
    PyObject *text = key_text(PyList_GET_ITEM(f->obj, i & ~(Py_ssize_t)1));
    PyObject *part = text ? PyUnicode_FromFormat("[%U]", text) : NULL;
    Py_XDECREF(text);
    return part;
}

/* New string, empty where the frame adds nothing; NULL: exception. */
static PyObject *part_of(const struct pk_frame *f) {
    switch ((enum pk_frame_kind)f->kind) {
    case PK_F_LIST:
    case PK_F_TUPLE:
        return index_part(f);
    case PK_F_DICT:
        return dict_part(f);
    case PK_F_SET:
    case PK_F_NAMES:
        return set_part(f);
    case PK_F_DONE:
        if (f->label && f->aux)
            return PyUnicode_FromFormat("%s%S", f->label, f->aux);
        return PyUnicode_FromString(f->label ? f->label : "");
    default:
        return PyUnicode_FromString("");
    }
}

static int has_started(const struct pk_frame *f) {
    switch ((enum pk_frame_kind)f->kind) {
    case PK_F_LIST:
    case PK_F_TUPLE:
    case PK_F_SET:
    case PK_F_NAMES:
        return f->i > 0;
    case PK_F_DICT:
        return f->i > 0;
    case PK_F_DONE:
        return 1;
    default:
        return 0;
    }
}

PyObject *pk_path(struct pickler *p) {
    PyObject *parts = PyList_New(0), *empty = PyUnicode_FromString("");
    PyObject *first = PyUnicode_FromString(p->root ? p->root : "obj"), *path = NULL;
    int rc = parts && empty && first ? PyList_Append(parts, first) : -1;
    Py_ssize_t skip_from = p->nframes, skip_to = p->nframes;
    if (p->nframes > MAX_PARTS) {
        skip_from = MAX_PARTS / 2;
        skip_to = p->nframes - MAX_PARTS / 2;
    }
    for (Py_ssize_t i = 0; rc == 0 && i < p->nframes; i++) {
        PyObject *part;
        if (i == skip_from) {
            i = skip_to - 1;
            part = PyUnicode_FromString(" … ");
        } else {
            part = has_started(&p->frames[i]) ? part_of(&p->frames[i]) : Py_NewRef(empty);
        }
        rc = part ? PyList_Append(parts, part) : -1;
        Py_XDECREF(part);
    }
    if (rc == 0)
        path = PyUnicode_Join(empty, parts);
    Py_XDECREF(parts);
    Py_XDECREF(empty);
    Py_XDECREF(first);
    return path;
}

int pk_cannot(struct pickler *p, PyObject *obj, const char *reason) {
    /* Formatting needs a clear error indicator. */
    PyErr_Clear();
    PyObject *path = pk_path(p);
    if (path)
        core_raise(p->st->module, CORE_EXC_PICKLING_ERROR, "cannot pickle '%s' object: %U: %s",
                   Py_TYPE(obj)->tp_name, path, reason);
    Py_XDECREF(path);
    return -1;
}

static int add_note(PyObject *exception, PyObject *note) {
    PyObject *result = PyObject_CallMethod(exception, "add_note", "O", note);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* What recurses without end in somebody's __reduce__ or __getattribute__ cannot be pickled. */
static void too_deep(struct pickler *p, PyObject *cause) {
    PyObject *path = pk_path(p);
    if (path)
        core_raise(p->st->module, CORE_EXC_PICKLING_ERROR,
                   "cannot pickle %U: RecursionError: %S (deep recursion: does a __reduce__ or "
                   "__getattribute__ in it call itself?)",
                   path, cause);
    Py_XDECREF(path);
    PyObject *exception = PyErr_GetRaisedException();
    if (exception && path) {
        PyException_SetCause(exception, Py_NewRef(cause));
        PyException_SetContext(exception, Py_NewRef(cause));
    }
    PyErr_SetRaisedException(exception);
}

void pk_tell_path(struct pickler *p) {
    PyObject *exception = PyErr_GetRaisedException();
    if (!exception)
        return;
    if (Py_IS_TYPE(exception, (PyTypeObject *)PyExc_RecursionError) && p->nested > 0) {
        PyErr_SetRaisedException(exception); /* save_set.c knows more about it */
        return;
    }
    if (Py_IS_TYPE(exception, (PyTypeObject *)PyExc_RecursionError)) {
        too_deep(p, exception);
        Py_DECREF(exception);
        return;
    }
    PyObject *ours = core_exc_class(p->st->module, CORE_EXC_PICKLING_ERROR);
    if (ours && (PyObject *)Py_TYPE(exception) != ours &&
        PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_Exception)) {
        PyObject *path = pk_path(p);
        PyObject *note = path ? PyUnicode_FromFormat("while pickling %U", path) : NULL;
        if (note)
            (void)add_note(exception, note);
        Py_XDECREF(path);
        Py_XDECREF(note);
    }
    PyErr_Clear();
    PyErr_SetRaisedException(exception);
}
