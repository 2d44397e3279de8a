/* Exceptions between processes: ergon/_exceptions.py says what travels with one. */
#include "pool.h"

/* Nothing led to it that would have to travel, too. */
static int stands_alone(PyObject *exception) {
    const PyBaseExceptionObject *self = (const PyBaseExceptionObject *)exception;
    return !self->cause && !self->context && !self->suppress_context &&
           !PyObject_TypeCheck(exception, (PyTypeObject *)PyExc_BaseExceptionGroup);
}

static PyObject *call(const char *function, PyObject *arg) {
    PyObject *module = PyImport_ImportModule("ergon._exceptions");
    PyObject *made = module ? PyObject_CallMethod(module, function, "(O)", arg) : NULL;
    Py_XDECREF(module);
    return made;
}

PyObject *pl_exception_parts(PyObject *exception) {
    return stands_alone(exception) ? Py_NewRef(exception) : call("parts", exception);
}

PyObject *pl_exception_from_parts(PyObject *parts) {
    PyObject *made = PyTuple_Check(parts) ? call("whole", parts) : Py_NewRef(parts);
    if (made && !PyExceptionInstance_Check(made)) {
        PyErr_Format(PyExc_TypeError, "'%.100s' object is no exception", Py_TYPE(made)->tp_name);
        Py_CLEAR(made);
    }
    return made;
}
