/* The one file that knows how CPython 3.11 … 3.14 differ. Newer names are used everywhere; here they are
 * given to versions that lack them. */
#ifndef ERG_CORE_COMPAT_H
#define ERG_CORE_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030B0000
#error "Ergon needs CPython 3.11 or newer"
#endif

/* A METH_FASTCALL, METH_KEYWORDS or METH_NOARGS function as a PyMethodDef wants it. */
#define CORE_METHOD(function) ((PyCFunction)(void (*)(void))(function))

/* --- new in 3.12 ------------------------------------------------------------------------------------ */
#if PY_VERSION_HEX < 0x030C0000

/* The raised exception as one object with its traceback attached, taken out of the thread state; NULL when
 * there is none. */
static inline PyObject *PyErr_GetRaisedException(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(traceback);
    Py_DECREF(type);
    return value;
}

/* Puts it back; takes the reference. */
static inline void PyErr_SetRaisedException(PyObject *exception) {
    PyObject *type = Py_NewRef((PyObject *)Py_TYPE(exception));
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
}

#endif

/* --- new in 3.13 ------------------------------------------------------------------------------------ */
#if PY_VERSION_HEX < 0x030D0000

/* 1 and a new reference, 0 and NULL when the key is not there, -1 with an exception. */
static inline int PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **result) {
    *result = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *result ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* The same for attributes. */
static inline int PyObject_GetOptionalAttr(PyObject *obj, PyObject *name, PyObject **result) {
    return _PyObject_LookupAttr(obj, name, result);
}

static inline int PyObject_GetOptionalAttrString(PyObject *obj, const char *name,
                                                 PyObject **result) {
    PyObject *key = PyUnicode_FromString(name);
    if (!key) {
        *result = NULL;
        return -1;
    }
    int rc = _PyObject_LookupAttr(obj, key, result);
    Py_DECREF(key);
    return rc;
}

static inline PyObject *PyList_GetItemRef(PyObject *list, Py_ssize_t index) {
    return Py_XNewRef(PyList_GetItem(list, index));
}

static inline int Py_IsFinalizing(void) {
    return _Py_IsFinalizing();
}

#endif

/* --- what multi-phase modules say about the interpreter they run in ------------------------------------ */
#if PY_VERSION_HEX >= 0x030C0000
#define CORE_SLOT_INTERPRETERS                                                                     \
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#else
#define CORE_SLOT_INTERPRETERS
#endif

/* A free-threaded CPython may not assume the GIL is off on our account before the module was checked there. */
#if PY_VERSION_HEX >= 0x030D0000
#define CORE_SLOT_GIL {Py_mod_gil, Py_MOD_GIL_USED},
#else
#define CORE_SLOT_GIL
#endif

#endif
