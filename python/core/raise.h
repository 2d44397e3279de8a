/* The one place where failures become Python exceptions of ergon.errors.
 *
 * ergon.errors is imported when something is raised for the first time. All functions need the GIL and
 * leave an exception set: if the class itself cannot be had, the exception of that failure. */
#ifndef ERG_CORE_RAISE_H
#define ERG_CORE_RAISE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <ergon/error.h>

/* The classes of ergon.errors, in the order of the table in raise.c. */
enum core_exc {
    CORE_EXC_ERGON_ERROR,
    CORE_EXC_WORKER_LOST,
    CORE_EXC_TASK_TIMEOUT,
    CORE_EXC_TASK_CANCELLED,
    CORE_EXC_POOL_CLOSED,
    CORE_EXC_PICKLING_ERROR,
    CORE_EXC_UNPICKLING_ERROR,
    CORE_EXC_CONFIG_ERROR,
    CORE_EXC_LAUNCH_ERROR,
    CORE_EXC_COUNT
};

/* Borrowed reference to the class, or NULL with an exception set. */
PyObject *core_exc_class(PyObject *module, enum core_exc which);

/* Raises that class with a text in PyUnicode_FromFormat's notation. Always returns NULL. */
PyObject *core_raise(PyObject *module, enum core_exc which, const char *format, ...);

/* Raises what a negative erg_err from libergon means: MemoryError for ERG_ENOMEM, ValueError for
 * ERG_EINVALID, TaskTimeout, PoolClosed, WorkerLost, … `err` gives the words and may be NULL; a prefix such
 * as the name of the resource goes into it where it is made. Always returns NULL. */
PyObject *core_raise_error(PyObject *module, int code, const struct erg_error *err);

#endif
