/* Code with slices among its constants (CPython 3.14). Marshal's version 2, the last without references that depend on
 * reference counts, knows no slices: they travel as tuples that begin with a mark, and are put back in every constant of the code
 * and of code inside it. */
#include "code_info.h"

#if CORE_SLICE_CONSTANTS

static const char mark[] = "\x01slice of ergon";

static int is_marked(PyObject *tuple) {
    return PyTuple_GET_SIZE(tuple) == 4 && PyUnicode_CheckExact(PyTuple_GET_ITEM(tuple, 0)) &&
           PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(tuple, 0), mark) == 0;
}

static PyObject *swapped(PyObject *obj, int back);

/* The tuple itself if nothing in it changes. */
static PyObject *swapped_items(PyObject *tuple, int back) {
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    PyObject *made = PyTuple_New(n);
    int changed = 0;
    for (Py_ssize_t i = 0; made && i < n; i++) {
        PyObject *item = swapped(PyTuple_GET_ITEM(tuple, i), back);
        if (!item) {
            Py_CLEAR(made);
            break;
        }
        changed |= item != PyTuple_GET_ITEM(tuple, i);
        PyTuple_SET_ITEM(made, i, item);
    }
    if (!made || changed)
        return made;
    Py_DECREF(made);
    return Py_NewRef(tuple);
}

static PyObject *swapped_code(PyObject *code, int back) {
    PyObject *consts = ((PyCodeObject *)code)->co_consts, *made = NULL;
    PyObject *other = swapped_items(consts, back);
    if (other == consts) {
        made = Py_NewRef(code);
    } else if (other) {
        PyObject *replace = PyObject_GetAttrString(code, "replace");
        PyObject *none = replace ? PyTuple_New(0) : NULL;
        PyObject *kwargs = none ? Py_BuildValue("{s:O}", "co_consts", other) : NULL;
        made = kwargs ? PyObject_Call(replace, none, kwargs) : NULL;
        Py_XDECREF(replace);
        Py_XDECREF(none);
        Py_XDECREF(kwargs);
    }
    Py_XDECREF(other);
    return made;
}

static PyObject *swapped(PyObject *obj, int back) {
    PyObject *made;
    if (!back && PySlice_Check(obj)) {
        PySliceObject *slice = (PySliceObject *)obj;
        return Py_BuildValue("(sOOO)", mark, slice->start, slice->stop, slice->step);
    }
    if (!PyTuple_CheckExact(obj) && !PyCode_Check(obj))
        return Py_NewRef(obj);
    if (back && PyTuple_CheckExact(obj) && is_marked(obj))
        return PySlice_New(PyTuple_GET_ITEM(obj, 1), PyTuple_GET_ITEM(obj, 2),
                           PyTuple_GET_ITEM(obj, 3));
    if (Py_EnterRecursiveCall(" while looking for slices in code"))
        return NULL;
    made = PyCode_Check(obj) ? swapped_code(obj, back) : swapped_items(obj, back);
    Py_LeaveRecursiveCall();
    return made;
}

PyObject *pk_code_without_slices(PyObject *code) {
    return swapped(code, 0);
}

PyObject *pk_code_with_slices(PyObject *code) {
    return swapped(code, 1);
}

#else

PyObject *pk_code_without_slices(PyObject *code) {
    return Py_NewRef(code);
}

PyObject *pk_code_with_slices(PyObject *code) {
    return Py_NewRef(code);
}

#endif
