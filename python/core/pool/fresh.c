/* Whether a functional's result came into being in its call, all of it: then nobody could tell it from a copy, and it travels
 * as it is. What holds a reference stands in the result, or it does not: references are counted. An object with a single one
 * was met through it; of others it is noted how many have been met. Nothing here runs code of the user's. */
#include "pool.h"

#include "base/map.h"

#include <datetime.h>
#include <string.h>

struct walk {
    PyObject **todo; /* borrowed: the result holds them */
    size_t count, room;
    struct erg_map open; /* object -> references that were not met yet */
    size_t missing;      /* objects that have such references */
};

/* 1: no copy could be told from it, or it never is copied. */
static inline int is_atom(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (type == &PyFloat_Type || type == &PyLong_Type || type == &PyUnicode_Type ||
        type == &PyBytes_Type || type == &PyBool_Type || o == Py_None)
        return 1;
    if (type == &PyTuple_Type)
        return PyTuple_GET_SIZE(o) == 0;
    if (type == &PyList_Type || type == &PyDict_Type)
        return 0;
    if (type == &PyCFunction_Type) {
        PyObject *self = PyCFunction_GET_SELF(o);
        return !self || PyModule_CheckExact(self);
    }
    return type == &PyComplex_Type || type == &PyRange_Type || PyType_Check(o) ||
           type == &PyModule_Type || type == &PyCode_Type || o == Py_Ellipsis ||
           o == Py_NotImplemented;
}

static int push(struct walk *w, PyObject *o) {
    if (w->count == w->room) {
        size_t room = w->room ? w->room * 2 : 64;
        PyObject **todo = PyMem_Realloc(w->todo, room * sizeof(PyObject *));
        if (!todo)
            return -1;
        w->todo = todo;
        w->room = room;
    }
    w->todo[w->count++] = o;
    return 0;
}

/* A reference to o was met. -1: no memory. */
static int meet(struct walk *w, PyObject *o) {
    if (core_only_ref(o))
        return push(w, o);
    uint64_t left, key = (uint64_t)(uintptr_t)o;
    if (erg_map_get(&w->open, key, &left)) {
        w->missing -= left == 1;
        return left && erg_map_set(&w->open, key, left - 1) < 0 ? -1 : 0;
    }
    w->missing++;
    return erg_map_set(&w->open, key, (uint64_t)Py_REFCNT(o) - 1) < 0 ? -1 : push(w, o);
}

static int visit(PyObject *o, void *walk) {
    return is_atom(o) ? 0 : meet(walk, o);
}

static int is_of(PyTypeObject *type, const char *name, const char *other) {
    for (; type; type = type->tp_base)
        if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
            (strcmp(type->tp_name, name) == 0 || strcmp(type->tp_name, other) == 0))
            return 1;
    return 0;
}

/* What a time refers to, the collector does not know. That of UTC there is once, and those by name as good as. */
static int meet_zone(struct walk *w, PyObject *o) {
    if (!PyDateTimeAPI)
        PyDateTime_IMPORT;
    if (!PyDateTimeAPI) {
        PyErr_Clear();
        return -1;
    }
    PyObject *zone = PyDateTime_Check(o) ? PyDateTime_DATE_GET_TZINFO(o)
                     : PyTime_Check(o)   ? PyDateTime_TIME_GET_TZINFO(o)
                                         : Py_None;
    if (zone == Py_None || zone == PyDateTime_TimeZone_UTC ||
        strcmp(Py_TYPE(zone)->tp_name, "zoneinfo.ZoneInfo") == 0)
        return 0;
    return meet(w, zone);
}

/* An array that has its own memory, and numbers in it. */
static int is_plain_array(PyObject *array) {
    if (strcmp(Py_TYPE(array)->tp_name, "numpy.ndarray") != 0)
        return 0;
    PyObject *base = PyObject_GetAttrString(array, "base");
    PyObject *dtype = base == Py_None ? PyObject_GetAttrString(array, "dtype") : NULL;
    PyObject *objects = dtype ? PyObject_GetAttrString(dtype, "hasobject") : NULL;
    int rc = objects == Py_False;
    Py_XDECREF(base);
    Py_XDECREF(dtype);
    Py_XDECREF(objects);
    PyErr_Clear();
    return rc;
}

/* 0: what it refers to was met; else it cannot be told. */
static int enter(struct walk *w, PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (type == &PyList_Type || type == &PyTuple_Type) {
        PyObject **items = PySequence_Fast_ITEMS(o);
        for (Py_ssize_t i = 0, n = Py_SIZE(o); i < n; i++)
            if (!is_atom(items[i]) && meet(w, items[i]) < 0)
                return -1;
        return 0;
    }
    if (type == &PyFunction_Type || type == &PyMemoryView_Type)
        return -1;
    if (core_dict_is_elsewhere(o))
        return -1;
    if (type != &PyDict_Type && type != &PySet_Type && is_of(type, "numpy.ndarray", "numpy.void"))
        return is_plain_array(o) ? 0 : -1;
    if (is_of(type, "datetime.datetime", "datetime.time") && meet_zone(w, o) < 0)
        return -1;
    return PyObject_IS_GC(o) && type->tp_traverse ? type->tp_traverse(o, visit, w) : 0;
}

/* 0: all of it was met; else it cannot be told. */
static int follow(struct walk *w, PyObject *result) {
    int rc = push(w, result);
    while (rc == 0 && w->count)
        rc = enter(w, w->todo[--w->count]);
    PyMem_Free(w->todo);
    return rc;
}

int pl_is_fresh(PyObject *result) {
    if (is_atom(result))
        return 1;
    if (!core_only_ref(result))
        return 0;
    struct walk w = {0};
    int rc = follow(&w, result);
    erg_map_fini(&w.open);
    return rc == 0 && w.missing == 0;
}

PyObject *pl_fresh(PyObject *module, PyObject *box) {
    (void)module;
    if (!PyList_CheckExact(box) || PyList_GET_SIZE(box) != 1) {
        PyErr_SetString(PyExc_TypeError, "a list of one object is needed");
        return NULL;
    }
    return PyBool_FromLong(pl_is_fresh(PyList_GET_ITEM(box, 0)));
}

PyObject *pl_shared(PyObject *module, PyObject *result) {
    (void)module;
    struct walk w = {0};
    if (is_atom(result))
        return PyList_New(0);
    if (follow(&w, result) != 0) {
        erg_map_fini(&w.open);
        Py_RETURN_NONE;
    }
    PyObject *found = PyList_New(0);
    struct erg_map_cell cell;
    for (size_t at = 0; found && erg_map_next(&w.open, &at, &cell);)
        if (cell.value && PyList_Append(found, (PyObject *)(uintptr_t)cell.key) < 0)
            Py_CLEAR(found);
    erg_map_fini(&w.open);
    return found;
}
