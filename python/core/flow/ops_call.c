/* Instructions that call. */
#include "flow.h"
#include "opcodes.h"

static int op_kw_names(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    f->kwnames = PyTuple_GET_ITEM(f->code->code->co_consts, arg);
    return 0;
}

/* list.append, its object and the item lie on the stack. */
static int append(struct fl_run *run, struct fl_frame *f) {
    PyObject *list = fl_own(run, *fl_at(f, 2));
    if (!list)
        return -1;
    PyObject *result = fl_is_unknown(run->st, list) ? fl_unknown(run->st) : Py_NewRef(Py_None);
    if (!result)
        return -1;
    if (result == Py_None && PyList_Append(list, fl_see(run, *fl_at(f, 1))) < 0) {
        Py_DECREF(result);
        return -1;
    }
    for (int i = 0; i < 3; i++)
        Py_DECREF(fl_pop(f));
    fl_push(f, result);
    return 0;
}

/* n arguments on the stack, above the callable. */
static int call(struct fl_run *run, struct fl_frame *f, int n, PyObject *kwnames) {
    PyObject **base = fl_at(f, n + 2), *callable = base[0] ? base[0] : base[1];
    int method = FL_CALLABLE_FIRST ? base[1] != NULL : base[0] != NULL;
    PyObject **args = method ? base + 1 : base + 2;
    Py_ssize_t count = method ? n + 1 : n;
    if (callable == run->st->list_append && n == 1 && count == 2 && !kwnames)
        return append(run, f);
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *seen = fl_see(run, args[i]);
        if (seen != args[i])
            Py_SETREF(args[i], Py_NewRef(seen));
    }
    PyObject *r =
        fl_call(run, callable, args, count - (kwnames ? PyTuple_GET_SIZE(kwnames) : 0), kwnames);
    if (!r)
        return -1;
    for (int i = 0; i < n + 2; i++)
        Py_XDECREF(fl_pop(f));
    fl_push(f, Py_NewRef(fl_see(run, r)));
    Py_DECREF(r);
    return 0;
}

static int op_call(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *kwnames = f->kwnames;
    f->kwnames = NULL;
    return call(run, f, n, kwnames);
}

static int op_call_kw(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *kwnames = fl_pop(f);
    int rc = call(run, f, n, kwnames);
    Py_DECREF(kwnames);
    return rc;
}

/* Calls with a tuple (or list) and a dict. */
static PyObject *call_with(struct fl_run *run, PyObject *callable, PyObject *args,
                           PyObject *kwargs) {
    PyObject *tuple = PySequence_Tuple(args);
    Py_ssize_t n = tuple ? PyTuple_GET_SIZE(tuple) : 0, k = kwargs ? PyDict_GET_SIZE(kwargs) : 0;
    PyObject **flat = PyMem_New(PyObject *, n + k + 1), *names = k ? PyTuple_New(k) : NULL,
             *r = NULL;
    if (tuple && flat && (!k || names)) {
        for (Py_ssize_t i = 0; i < n; i++)
            flat[i] = fl_see(run, PyTuple_GET_ITEM(tuple, i));
        PyObject *key, *value;
        Py_ssize_t pos = 0, i = 0;
        while (k && i < k && PyDict_Next(kwargs, &pos, &key, &value)) {
            PyTuple_SET_ITEM(names, i, Py_NewRef(key));
            flat[n + i++] = fl_see(run, value);
        }
        r = fl_call(run, callable, flat, n, names);
    } else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    Py_XDECREF(tuple);
    Py_XDECREF(names);
    PyMem_Free(flat);
    return r;
}

static int op_call_function_ex(struct fl_run *run, struct fl_frame *f, int flags) {
    PyObject *kwargs = flags & 1 ? fl_pop(f) : NULL, *args = fl_pop(f), *r = NULL;
    if (FL_CALLABLE_FIRST)
        Py_XDECREF(fl_pop(f)); /* the NULL above the callable */
    PyObject *callable = fl_pop(f);
    PyObject *seen = fl_see(run, args), *keywords = fl_see(run, kwargs);
    if (fl_is_unknown(run->st, seen) || (keywords && fl_is_unknown(run->st, keywords))) {
        r = fl_unknown(run->st);
    } else if (!PyTuple_CheckExact(seen) && !PyList_CheckExact(seen)) {
        PyObject *it = fl_iter(run, seen);
        PyObject *list = it && !fl_is_unknown(run->st, it) ? PySequence_List(it) : NULL;
        if (list)
            r = call_with(run, callable, list, keywords);
        else if (it && (fl_is_unknown(run->st, it) || fl_absorb(run)))
            r = fl_unknown(run->st);
        Py_XDECREF(it);
        Py_XDECREF(list);
    } else {
        r = call_with(run, callable, seen, keywords);
    }
    Py_XDECREF(kwargs);
    Py_DECREF(args);
    Py_DECREF(callable);
    if (!r)
        return -1;
    if (!FL_CALLABLE_FIRST)
        Py_XDECREF(fl_pop(f)); /* the NULL below the callable */
    fl_push(f, Py_NewRef(fl_see(run, r)));
    Py_DECREF(r);
    return 0;
}

void fl_ops_call(fl_op *t) {
    t[KW_NAMES] = op_kw_names;
    t[CALL] = op_call;
    t[CALL_KW] = op_call_kw;
    t[CALL_FUNCTION_EX] = op_call_function_ex;
}
