/* Functions of the standard library that change the process itself, in ways that are felt by code that does not name them:
 * which rights new files get, what a number looks like, what time it is. Asking the system at each call whether anything has
 * changed would take microseconds; so their calls are counted. A function is a constant table's entry: the pointer in it is
 * replaced by that of a function that calls the one before, which nobody can see but by what is counted. */
#include "flow.h"

#include <string.h>

typedef PyObject *(*two_args)(PyObject *, PyObject *);
typedef PyObject *(*three_args)(PyObject *, void *, void *);
typedef PyObject *(*four_args)(PyObject *, PyObject *const *, Py_ssize_t, PyObject *);
typedef PyObject *(*three_fast)(PyObject *, PyObject *const *, Py_ssize_t);

static struct {
    const char *module, *name;
    PyCFunction before; /* NULL: not met yet */
} noticed[] = {
    {"posix", "umask", NULL},
    {"resource", "setrlimit", NULL},
    {"resource", "prlimit", NULL},
    {"_locale", "setlocale", NULL},
    {"time", "tzset", NULL},
    {"sys", "set_int_max_str_digits", NULL},
    {"_socket", "setdefaulttimeout", NULL},
    {"_csv", "register_dialect", NULL},
    {"_csv", "unregister_dialect", NULL},
    {"_csv", "field_size_limit", NULL},
};
enum { NOTICED = sizeof noticed / sizeof *noticed };

static _Atomic uint64_t calls;
static Py_ssize_t modules_seen = -1;
static _Thread_local int reading; /* some of them only tell what there is */

static PyObject *counted(PyObject *result) {
    if (!reading)
        calls++;
    return result;
}

#define BY_NUMBER(n)                                                                               \
    static PyObject *two_##n(PyObject *self, PyObject *arg) {                                      \
        return counted(((two_args)noticed[n].before)(self, arg));                                  \
    }                                                                                              \
    static PyObject *keywords_##n(PyObject *self, void *args, void *kwargs) {                      \
        return counted(((three_args)(void (*)(void))noticed[n].before)(self, args, kwargs));       \
    }                                                                                              \
    static PyObject *fast_##n(PyObject *self, PyObject *const *args, Py_ssize_t nargs) {           \
        return counted(((three_fast)(void (*)(void))noticed[n].before)(self, args, nargs));        \
    }                                                                                              \
    static PyObject *all_##n(PyObject *self, PyObject *const *args, Py_ssize_t nargs,              \
                             PyObject *names) {                                                    \
        return counted(((four_args)(void (*)(void))noticed[n].before)(self, args, nargs, names));  \
    }
BY_NUMBER(0)
BY_NUMBER(1)
BY_NUMBER(2)
BY_NUMBER(3)
BY_NUMBER(4)
BY_NUMBER(5)
BY_NUMBER(6)
BY_NUMBER(7)
BY_NUMBER(8)
BY_NUMBER(9)
#define OF_NUMBER(n)                                                                               \
    {                                                                                              \
        two_##n, (PyCFunction)(void (*)(void))keywords_##n, (PyCFunction)(void (*)(void))fast_##n, \
            (PyCFunction)(void (*)(void))all_##n                                                   \
    }
static const PyCFunction instead[NOTICED][4] = {
    OF_NUMBER(0), OF_NUMBER(1), OF_NUMBER(2), OF_NUMBER(3), OF_NUMBER(4),
    OF_NUMBER(5), OF_NUMBER(6), OF_NUMBER(7), OF_NUMBER(8), OF_NUMBER(9),
};

/* By how it is called; -1: in a way that is not known. */
static int convention(int flags) {
    switch (flags &
            (METH_VARARGS | METH_KEYWORDS | METH_NOARGS | METH_O | METH_FASTCALL | METH_METHOD)) {
    case METH_NOARGS:
    case METH_O:
    case METH_VARARGS:
        return 0;
    case METH_VARARGS | METH_KEYWORDS:
        return 1;
    case METH_FASTCALL:
        return 2;
    case METH_FASTCALL | METH_KEYWORDS:
        return 3;
    default:
        return -1;
    }
}

static void notice(int n, PyObject *function) {
    PyMethodDef *def = ((PyCFunctionObject *)function)->m_ml;
    int how = convention(def->ml_flags);
    if (how < 0)
        return;
    noticed[n].before = def->ml_meth;
    def->ml_meth = instead[n][how];
}

void fl_notice_look(void) {
    PyObject *modules = PyImport_GetModuleDict();
    if (PyDict_GET_SIZE(modules) == modules_seen)
        return;
    modules_seen = PyDict_GET_SIZE(modules);
    for (int n = 0; n < NOTICED; n++) {
        if (noticed[n].before)
            continue;
        PyObject *module = PyDict_GetItemString(modules, noticed[n].module);
        PyObject *dict = module && PyModule_Check(module) ? PyModule_GetDict(module) : NULL;
        PyObject *function = dict ? PyDict_GetItemString(dict, noticed[n].name) : NULL;
        if (function && PyCFunction_CheckExact(function) &&
            strcmp(((PyCFunctionObject *)function)->m_ml->ml_name, noticed[n].name) == 0) {
            notice(n, function);
            calls++; /* it may have been called before */
        }
    }
}

void fl_notice_reading(int change) {
    reading += change;
}

uint64_t fl_noticed(void) {
    return calls;
}
