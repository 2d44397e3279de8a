/* Exceptions between processes.
 *
 * Pickle rebuilds an exception by calling its class with exception.args. For classes with an __init__ of their own that
 * is wrong as often as not: the arguments of __init__ are seldom those of Exception. Where nothing but
 * BaseException's way of pickling would be used, the class, args and attributes travel and the object is put together
 * without __init__. */
#include "pool.h"

/* 1 if the class inherits `name` unchanged from `base`, -1 exception. */
static int inherits(PyTypeObject *type, PyTypeObject *base, const char *name) {
    PyObject *own = PyObject_GetAttrString((PyObject *)type, name);
    PyObject *theirs = own ? PyObject_GetAttrString((PyObject *)base, name) : NULL;
    int same = theirs ? own == theirs : -1;
    Py_XDECREF(own);
    Py_XDECREF(theirs);
    return same;
}

/* The nearest class written in C. */
static PyTypeObject *native_base(PyTypeObject *type) {
    while (type->tp_flags & Py_TPFLAGS_HEAPTYPE)
        type = type->tp_base;
    return type;
}

PyObject *pl_exception_parts(PyObject *exception) {
    PyTypeObject *type = Py_TYPE(exception), *base = (PyTypeObject *)PyExc_BaseException;
    if (type->tp_init == native_base(type)->tp_init)
        return Py_NewRef(exception);
    int plain = inherits(type, base, "__reduce__");
    if (plain > 0)
        plain = inherits(type, base, "__reduce_ex__");
    if (plain > 0)
        plain = inherits(type, base, "__setstate__");
    if (plain < 0)
        return NULL;
    if (!plain)
        return Py_NewRef(exception);
    PyObject *args = PyObject_GetAttrString(exception, "args");
    PyObject *dict = args ? PyObject_GetAttrString(exception, "__dict__") : NULL;
    PyObject *parts = dict ? PyTuple_Pack(3, type, args, dict) : NULL;
    Py_XDECREF(args);
    Py_XDECREF(dict);
    return parts;
}

PyObject *pl_exception_from_parts(PyObject *parts) {
    if (PyExceptionInstance_Check(parts))
        return Py_NewRef(parts);
    PyObject *class, *args, *dict;
    if (!PyTuple_Check(parts) || PyTuple_GET_SIZE(parts) != 3 ||
        !PyExceptionClass_Check(class = PyTuple_GET_ITEM(parts, 0)) ||
        !PyTuple_Check(args = PyTuple_GET_ITEM(parts, 1)) ||
        !PyDict_Check(dict = PyTuple_GET_ITEM(parts, 2))) {
        PyErr_Format(PyExc_TypeError, "'%.100s' object is no exception", Py_TYPE(parts)->tp_name);
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)class;
    PyObject *made = type->tp_new(type, args, NULL);
    if (made && !PyExceptionInstance_Check(made)) {
        PyErr_Format(PyExc_TypeError, "%.100s.__new__ made no exception", type->tp_name);
        Py_CLEAR(made);
    }
    if (made && native_base(type)->tp_init(made, args, NULL) < 0)
        Py_CLEAR(made);
    PyObject *attributes = made ? PyObject_GetAttrString(made, "__dict__") : NULL;
    if (made && (!attributes || PyDict_Update(attributes, dict) < 0))
        Py_CLEAR(made);
    Py_XDECREF(attributes);
    return made;
}
