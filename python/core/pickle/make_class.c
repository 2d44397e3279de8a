/* Making the skeleton of a class that came by value.
 *
 * Its content follows and says everything about it, so nothing is to happen now that happened when the class
 * statement ran: hooks that bases define (__init_subclass__) may have effects elsewhere, want keywords nobody knows any more,
 * or look for attributes that are not there yet. type.__new__ calls such a hook whatever one tells it. So the class is
 * made with an empty base instead, and given its own bases afterwards, where the layouts allow that. A
 * metaclass whose call refuses what the class statement gave it is passed by. */
#include "pickler.h"

/* Python code that type.__new__ would call for a new subclass; those of module typing only compute what comes
 * along anyway. */
static int has_hook(struct pk_state *st, PyObject *bases) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(bases); i++) {
        PyObject *base = PyTuple_GET_ITEM(bases, i);
        PyObject *hook = PyType_Check(base)
                             ? core_type_lookup((PyTypeObject *)base, PK_STR(__init_subclass__))
                             : NULL;
        if (!hook || Py_TYPE(hook) != &PyClassMethod_Type)
            continue;
        PyObject *func = PyObject_GetAttr(hook, PK_STR(__func__));
        PyObject *module =
            func && PyFunction_Check(func) ? ((PyFunctionObject *)func)->func_module : NULL;
        int found = func && PyFunction_Check(func) &&
                    !(module && PyUnicode_Check(module) &&
                      PyUnicode_CompareWithASCIIString(module, "typing") == 0);
        Py_XDECREF(func);
        PyErr_Clear();
        if (found)
            return 1;
    }
    return 0;
}

/* meta(name, bases, space), or, when that refuses, type.__new__(meta, name, bases, space). */
static PyObject *call_meta(PyObject *meta, PyObject *name, PyObject *bases, PyObject *space) {
    PyObject *copy = PyDict_Copy(space); /* making a class may put things into its namespace */
    PyObject *cls = copy ? PyObject_CallFunctionObjArgs(meta, name, bases, copy, NULL) : NULL;
    Py_XDECREF(copy);
    if (cls || meta == (PyObject *)&PyType_Type || !PyErr_ExceptionMatches(PyExc_TypeError))
        return cls;
    PyObject *exception = PyErr_GetRaisedException();
    copy = PyDict_Copy(space);
    PyObject *args = copy ? PyTuple_Pack(3, name, bases, copy) : NULL;
    if (args)
        cls = PyType_Type.tp_new((PyTypeObject *)meta, args, NULL);
    Py_XDECREF(args);
    Py_XDECREF(copy);
    if (cls) {
        Py_DECREF(exception);
        return cls;
    }
    PyErr_Clear();
    PyErr_SetRaisedException(exception); /* what the metaclass says is what counts */
    return NULL;
}

/* The class, made without its bases at first; NULL without an exception: it does not go that way. */
static PyObject *make_around_hooks(struct pk_state *st, PyObject *meta, PyObject *name,
                                   PyObject *bases, PyObject *space) {
    PyObject *bare = PyObject_CallFunction((PyObject *)&PyType_Type, "s(){}", "_Bare");
    PyObject *instead = bare ? PyTuple_Pack(1, bare) : NULL;
    PyObject *cls = instead ? call_meta(meta, name, instead, space) : NULL;
    if (cls && (!PyType_Check(cls) || PyObject_SetAttr(cls, PK_STR(__bases__), bases) < 0))
        Py_CLEAR(cls);
    Py_XDECREF(bare);
    Py_XDECREF(instead);
    if (!cls && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear();
    return cls;
}

PyObject *pk_make_class(struct pk_state *st, PyObject *meta, PyObject *name, PyObject *bases,
                        PyObject *space) {
    if (!PyType_IsSubtype((PyTypeObject *)meta, &PyType_Type)) {
        PyErr_Format(PyExc_TypeError, "'%.200s' is not a metaclass",
                     ((PyTypeObject *)meta)->tp_name);
        return NULL;
    }
    PyObject *cls = has_hook(st, bases) ? make_around_hooks(st, meta, name, bases, space) : NULL;
    return cls || PyErr_Occurred() ? cls : call_meta(meta, name, bases, space);
}
