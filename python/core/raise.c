#include "raise.h"

#include "state.h"

static const char *const exc_names[CORE_EXC_COUNT] = {
    [CORE_EXC_ERGON_ERROR] = "ErgonError",           [CORE_EXC_WORKER_LOST] = "WorkerLost",
    [CORE_EXC_TASK_TIMEOUT] = "TaskTimeout",         [CORE_EXC_TASK_CANCELLED] = "TaskCancelled",
    [CORE_EXC_POOL_CLOSED] = "PoolClosed",           [CORE_EXC_PICKLING_ERROR] = "PicklingError",
    [CORE_EXC_UNPICKLING_ERROR] = "UnpicklingError", [CORE_EXC_CONFIG_ERROR] = "ConfigError",
    [CORE_EXC_LAUNCH_ERROR] = "LaunchError",
};

PyObject *core_exc_class(PyObject *module, enum core_exc which) {
    PyObject **slot = &core_state_of(module)->exceptions[which];
    if (*slot)
        return *slot;
    PyObject *errors = PyImport_ImportModule("ergon.errors");
    if (!errors)
        return NULL;
    PyObject *found = PyObject_GetAttrString(errors, exc_names[which]);
    Py_DECREF(errors);
    if (found && !*slot)
        *slot = found;
    else
        Py_XDECREF(found); /* failed, or the import let somebody else fill the slot */
    return found ? *slot : NULL;
}

PyObject *core_raise(PyObject *module, enum core_exc which, const char *format, ...) {
    va_list args;
    va_start(args, format);
    PyObject *text = PyUnicode_FromFormatV(format, args);
    va_end(args);
    PyObject *class = text ? core_exc_class(module, which) : NULL;
    if (class)
        PyErr_SetObject(class, text);
    Py_XDECREF(text);
    return NULL;
}

/* Codes that have a class of ergon.errors. */
static int exc_of_code(int code, enum core_exc *which) {
    switch (code) {
    case ERG_ETIMEOUT:
        *which = CORE_EXC_TASK_TIMEOUT;
        return 1;
    case ERG_ECLOSED:
        *which = CORE_EXC_POOL_CLOSED;
        return 1;
    case ERG_ELOST:
        *which = CORE_EXC_WORKER_LOST;
        return 1;
    case ERG_ECANCELLED:
        *which = CORE_EXC_TASK_CANCELLED;
        return 1;
    case ERG_ELAUNCH:
        *which = CORE_EXC_LAUNCH_ERROR;
        return 1;
    case ERG_ECONFIG:
        *which = CORE_EXC_CONFIG_ERROR;
        return 1;
    default:
        return 0;
    }
}

PyObject *core_raise_error(PyObject *module, int code, const struct erg_error *err) {
    const char *text = err && err->text[0] ? err->text : erg_strerror(code);
    enum core_exc which;
    if (exc_of_code(code, &which))
        return core_raise(module, which, "%s", text);
    switch (code) {
    case ERG_ENOMEM:
        PyErr_SetString(PyExc_MemoryError, text);
        return NULL;
    case ERG_EINVALID:
        PyErr_SetString(PyExc_ValueError, text);
        return NULL;
    case ERG_EINTR:
        if (PyErr_CheckSignals() < 0)
            return NULL;
        break;
    default:
        break;
    }
    return core_raise(module, CORE_EXC_ERGON_ERROR, "%s", text);
}
