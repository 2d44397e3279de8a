/* Functions of the standard library in C that a pass runs by what they mean: those of module operator are instructions by
 * another name, heapq and bisect change a list they are given, others make iterators of the program's iterators or call what they
 * were made from. None of them may go to the program's own objects. */
#include "flow.h"

#include <string.h>

enum meaning {
    BINARY, /* number: BINARY_OP's */
    COMPARE,
    UNARY,
    IDENTITY,
    TRUTH,
    NEGATION,
    CONTAINS,
    GET,
    SET,
    DELETE,
    CALLS,
    CHANGES, /* its first argument: a list */
    SEARCHES,
    COMPARES, /* cmp_to_key */
    SPLITS,   /* tee */
};

static const struct {
    const char *module, *name;
    uint8_t meaning, number, nargs;
} functions[] = {
    {"_operator", "add", BINARY, 0, 2},
    {"_operator", "and_", BINARY, 1, 2},
    {"_operator", "floordiv", BINARY, 2, 2},
    {"_operator", "lshift", BINARY, 3, 2},
    {"_operator", "matmul", BINARY, 4, 2},
    {"_operator", "mul", BINARY, 5, 2},
    {"_operator", "mod", BINARY, 6, 2},
    {"_operator", "or_", BINARY, 7, 2},
    {"_operator", "pow", BINARY, 8, 2},
    {"_operator", "rshift", BINARY, 9, 2},
    {"_operator", "sub", BINARY, 10, 2},
    {"_operator", "truediv", BINARY, 11, 2},
    {"_operator", "xor", BINARY, 12, 2},
    {"_operator", "iadd", BINARY, 13, 2},
    {"_operator", "iand", BINARY, 14, 2},
    {"_operator", "ifloordiv", BINARY, 15, 2},
    {"_operator", "ilshift", BINARY, 16, 2},
    {"_operator", "imatmul", BINARY, 17, 2},
    {"_operator", "imul", BINARY, 18, 2},
    {"_operator", "imod", BINARY, 19, 2},
    {"_operator", "ior", BINARY, 20, 2},
    {"_operator", "ipow", BINARY, 21, 2},
    {"_operator", "irshift", BINARY, 22, 2},
    {"_operator", "isub", BINARY, 23, 2},
    {"_operator", "itruediv", BINARY, 24, 2},
    {"_operator", "ixor", BINARY, 25, 2},
    {"_operator", "concat", BINARY, 0, 2},
    {"_operator", "iconcat", BINARY, 13, 2},
    {"_operator", "lt", COMPARE, Py_LT, 2},
    {"_operator", "le", COMPARE, Py_LE, 2},
    {"_operator", "eq", COMPARE, Py_EQ, 2},
    {"_operator", "ne", COMPARE, Py_NE, 2},
    {"_operator", "gt", COMPARE, Py_GT, 2},
    {"_operator", "ge", COMPARE, Py_GE, 2},
    {"_operator", "neg", UNARY, FL_NEGATIVE, 1},
    {"_operator", "pos", UNARY, FL_POSITIVE, 1},
    {"_operator", "inv", UNARY, FL_INVERT, 1},
    {"_operator", "invert", UNARY, FL_INVERT, 1},
    {"_operator", "abs", UNARY, FL_ABSOLUTE, 1},
    {"_operator", "is_", IDENTITY, 0, 2},
    {"_operator", "is_not", IDENTITY, 1, 2},
    {"_operator", "is_none", IDENTITY, 0, 1}, /* these two and some of heapq's since 3.14 */
    {"_operator", "is_not_none", IDENTITY, 1, 1},
    {"_operator", "truth", TRUTH, 0, 1},
    {"_operator", "not_", NEGATION, 0, 1},
    {"_operator", "contains", CONTAINS, 0, 2},
    {"_operator", "getitem", GET, 0, 2},
    {"_operator", "setitem", SET, 0, 3},
    {"_operator", "delitem", DELETE, 0, 2},
    {"_operator", "call", CALLS, 0, 0},
    {"_operator", "index", SEARCHES, 0, 0},
    {"_operator", "countOf", SEARCHES, 0, 0},
    {"_operator", "indexOf", SEARCHES, 0, 0},
    {"_operator", "length_hint", SEARCHES, 0, 0},
    {"_heapq", "heappush", CHANGES, 0, 0},
    {"_heapq", "heappop", CHANGES, 0, 0},
    {"_heapq", "heapify", CHANGES, 0, 0},
    {"_heapq", "heappushpop", CHANGES, 0, 0},
    {"_heapq", "heapreplace", CHANGES, 0, 0},
    {"_heapq", "_heappop_max", CHANGES, 0, 0},
    {"_heapq", "_heapreplace_max", CHANGES, 0, 0},
    {"_heapq", "_heapify_max", CHANGES, 0, 0},
    {"_heapq", "heappush_max", CHANGES, 0, 0},
    {"_heapq", "heappop_max", CHANGES, 0, 0},
    {"_heapq", "heapify_max", CHANGES, 0, 0},
    {"_heapq", "heappushpop_max", CHANGES, 0, 0},
    {"_heapq", "heapreplace_max", CHANGES, 0, 0},
    {"_bisect", "insort_left", CHANGES, 0, 0},
    {"_bisect", "insort_right", CHANGES, 0, 0},
    {"_bisect", "bisect_left", SEARCHES, 0, 0},
    {"_bisect", "bisect_right", SEARCHES, 0, 0},
    {"_functools", "cmp_to_key", COMPARES, 0, 1},
    {"itertools", "tee", SPLITS, 0, 0},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

int fl_named_init(struct flow_state *st) {
    for (int i = 0; i < FUNCTIONS; i++) {
        PyObject *m = PyImport_ImportModule(functions[i].module);
        PyObject *o = m ? PyObject_GetAttrString(m, functions[i].name) : NULL;
        PyObject *number = o ? PyLong_FromLong(FL_PURE_NAMED + i) : NULL;
        int rc = number ? PyDict_SetItem(st->pure, o, number) : 0;
        Py_XDECREF(m);
        Py_XDECREF(o);
        Py_XDECREF(number);
        if (PyErr_Occurred()) {
            if (!PyErr_ExceptionMatches(PyExc_AttributeError) &&
                !PyErr_ExceptionMatches(PyExc_ImportError))
                return -1;
            PyErr_Clear(); /* this Python has it not, or not in C */
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

static PyObject *truth(struct fl_run *run, PyObject *o, int inverted) {
    int truth = fl_truth(run, o);
    return truth == -1   ? NULL
           : truth == -2 ? fl_unknown(run->st)
                         : PyBool_FromLong(truth ^ inverted);
}

static PyObject *identity(struct fl_run *run, PyObject *a, PyObject *b, int inverted) {
    return fl_is_unknown(run->st, a) || fl_is_unknown(run->st, b)
               ? fl_unknown(run->st)
               : PyBool_FromLong((a == b) ^ inverted);
}

static PyObject *none(int rc) {
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

/* It changes the list it is given first, and compares what lies in it. */
static PyObject *changes(struct fl_run *run, PyObject *callable, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *list = nargs > 0 ? fl_own(run, args[0]) : NULL;
    if (!list && !PyErr_Occurred())
        fl_stop(run, FL_WHY_OTHER, "a list given by name");
    if (!list || fl_is_unknown(run->st, list))
        return Py_XNewRef(list);
    if (!PyList_CheckExact(list)) {
        fl_stop(run, FL_WHY_BARRIER, "changes a sequence of an unknown type");
        return NULL;
    }
    PyObject *r = fl_call_native(run, callable, args, nargs, kwnames, list);
    if (r && fl_has_unknown(run, list, 1) && fl_poison(run, list) < 0)
        Py_CLEAR(r);
    return r;
}

/* A key whose comparisons call the program's function. */
static PyObject *compares(struct fl_run *run, PyObject *callable, PyObject *function) {
    PyObject *call = fl_is_unknown(run->st, function) ? fl_unknown(run->st)
                                                      : fl_callback(run, function, FL_CALL_PLAIN);
    PyObject *r = !call                          ? NULL
                  : fl_is_unknown(run->st, call) ? Py_NewRef(call)
                                                 : PyObject_Vectorcall(callable, &call, 1, NULL);
    Py_XDECREF(call);
    return r;
}

static PyObject *splits(struct fl_run *run, PyObject *callable, PyObject *const *args,
                        Py_ssize_t nargs) {
    PyObject *it = fl_iter(run, args[0]);
    if (!it || fl_is_unknown(run->st, it))
        return it;
    PyObject *flat[2] = {it, nargs > 1 ? args[1] : NULL};
    PyObject *r = fl_call_native(run, callable, flat, nargs, NULL, NULL);
    Py_DECREF(it);
    for (Py_ssize_t i = 0; r && PyTuple_CheckExact(r) && i < PyTuple_GET_SIZE(r); i++)
        if (fl_mark_owned(run, PyTuple_GET_ITEM(r, i)) < 0)
            Py_CLEAR(r);
    return r;
}

static PyObject *searches(struct fl_run *run, PyObject *callable, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames) {
    for (Py_ssize_t i = 0; i < nargs; i++)
        if (!fl_plain(run, args[i], 4))
            return fl_unknown(run->st);
    return fl_call_native(run, callable, args, nargs, kwnames, NULL);
}

PyObject *fl_named(struct fl_run *run, int pure, PyObject *callable, PyObject *const *args,
                   Py_ssize_t nargs, PyObject *kwnames) {
    int i = pure - FL_PURE_NAMED, number = functions[i].number, meaning = functions[i].meaning;
    PyObject *a = nargs > 0 ? fl_see(run, args[0]) : NULL,
             *b = nargs > 1 ? fl_see(run, args[1]) : NULL;
    if ((functions[i].nargs && (functions[i].nargs != nargs || kwnames)) ||
        (!a && meaning != CHANGES)) {
        fl_stop(run, FL_WHY_OTHER, "a call of a built-in function in an unusual way");
        return NULL;
    }
    switch ((enum meaning)meaning) {
    case BINARY:
        return fl_binary(run, a, b, number);
    case COMPARE:
        return fl_compare(run, a, b, number);
    case UNARY:
        return fl_unary(run, a, (enum fl_unary_op)number);
    case IDENTITY:
        return identity(run, a, nargs > 1 ? b : Py_None, number);
    case TRUTH:
        return truth(run, a, 0);
    case NEGATION:
        return truth(run, a, 1);
    case CONTAINS:
        return fl_contains(run, a, b, 0);
    case GET:
        return fl_subscript(run, a, b);
    case SET:
        return none(fl_set_item(run, a, b, fl_see(run, args[2])));
    case DELETE:
        return none(fl_set_item(run, a, b, NULL));
    case CALLS:
        return fl_call(run, a, args + 1, nargs - 1, kwnames);
    case CHANGES:
        return changes(run, callable, args, nargs, kwnames);
    case COMPARES:
        return compares(run, callable, a);
    case SPLITS:
        if (nargs <= 2 && !kwnames)
            return splits(run, callable, args, nargs);
        break;
    case SEARCHES:
        return searches(run, callable, args, nargs, kwnames);
    }
    fl_stop(run, FL_WHY_OTHER, "a call of a built-in function in an unusual way");
    return NULL;
}

/* --- methods ------------------------------------------------------------------------------------------------- */

/* Of iterables of which it is known that nothing of the program's is used up by going over them. */
static PyObject *chain(struct fl_run *run, PyObject *callable, PyObject *o) {
    PyObject *list = PyTuple_CheckExact(o) ? fl_mine(run, PySequence_List(o)) : Py_NewRef(o);
    PyObject *it = list ? fl_iter(run, list) : NULL, *r = NULL;
    if (it && PyGen_CheckExact(it))
        Py_SETREF(it, Py_XNewRef(fl_own(run, it)));
    if (it && fl_is_unknown(run->st, it))
        r = Py_NewRef(it);
    else if (it && (Py_TYPE(it) == run->st->gen_type || Py_TYPE(it) == run->st->seq_type))
        r = fl_mine(run, PyObject_Vectorcall(callable, &it, 1, NULL));
    else if (it)
        fl_stop(run, FL_WHY_OTHER, "chains what an iterator of an unknown type gives");
    Py_XDECREF(list);
    Py_XDECREF(it);
    return r;
}

PyObject *fl_named_method(struct fl_run *run, PyObject *callable, PyObject *const *args,
                          Py_ssize_t nargs, PyObject *kwnames, int *done) {
    PyObject *self = PyCFunction_GET_SELF(callable);
    const char *name = ((PyCFunctionObject *)callable)->m_ml->ml_name;
    *done = 1;
    if (PyType_Check(self) && nargs == 1 && !kwnames) {
        const char *of = ((PyTypeObject *)self)->tp_name;
        if (strcmp(of, "itertools.chain") == 0 && strcmp(name, "from_iterable") == 0)
            return chain(run, callable, fl_see(run, args[0]));
    }
    *done = 0;
    return NULL;
}

/* --- objects that are called --------------------------------------------------------------------------------- */

int fl_is_getter(PyTypeObject *type) {
    return strcmp(type->tp_name, "operator.itemgetter") == 0 ||
           strcmp(type->tp_name, "operator.attrgetter") == 0 ||
           strcmp(type->tp_name, "operator.methodcaller") == 0;
}

/* o.a.b for "a.b". */
static PyObject *attribute(struct fl_run *run, PyObject *o, PyObject *path) {
    PyObject *names = PyUnicode_Check(path) ? PyObject_CallMethod(path, "split", "s", ".") : NULL;
    PyObject *r = names ? Py_NewRef(o) : NULL;
    for (Py_ssize_t i = 0; r && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = Py_NewRef(PyList_GET_ITEM(names, i));
        PyUnicode_InternInPlace(&name);
        Py_SETREF(r, fl_getattr(run, fl_see(run, r), name));
        Py_DECREF(name);
    }
    Py_XDECREF(names);
    return r;
}

static PyObject *get_one(struct fl_run *run, PyObject *o, PyObject *what, int item) {
    PyObject *r = item ? fl_subscript(run, o, what) : attribute(run, o, what),
             *seen = fl_see(run, r);
    if (seen != r)
        Py_SETREF(r, Py_NewRef(seen));
    return r;
}

static PyObject *get_all(struct fl_run *run, PyObject *o, PyObject *parts, int item) {
    Py_ssize_t n = PyTuple_GET_SIZE(parts);
    if (n == 1)
        return get_one(run, o, PyTuple_GET_ITEM(parts, 0), item);
    PyObject *r = PyTuple_New(n);
    for (Py_ssize_t i = 0; r && i < n; i++) {
        PyObject *one = get_one(run, o, PyTuple_GET_ITEM(parts, i), item);
        if (one)
            PyTuple_SET_ITEM(r, i, one);
        else
            Py_CLEAR(r);
    }
    return r;
}

/* o.name(*rest), parts: name and rest. */
static PyObject *call_by_name(struct fl_run *run, PyObject *o, PyObject *parts) {
    PyObject *method = fl_getattr(run, o, PyTuple_GET_ITEM(parts, 0));
    PyObject *r = method ? fl_call(run, fl_see(run, method), &PyTuple_GET_ITEM(parts, 1),
                                   PyTuple_GET_SIZE(parts) - 1, NULL)
                         : NULL;
    Py_XDECREF(method);
    return r;
}

static PyObject *call_getter(struct fl_run *run, PyObject *getter, PyObject *o) {
    const char *type = Py_TYPE(getter)->tp_name;
    PyObject *reduced = PyObject_CallMethod(getter, "__reduce__", NULL), *r = NULL;
    PyObject *parts =
        reduced && PyTuple_GET_SIZE(reduced) == 2 ? PyTuple_GET_ITEM(reduced, 1) : NULL;
    if (fl_is_unknown(run->st, o))
        r = fl_unknown(run->st);
    else if (!parts || PyTuple_GET_ITEM(reduced, 0) != (PyObject *)Py_TYPE(getter) ||
             !PyTuple_Check(parts) || PyTuple_GET_SIZE(parts) < 1)
        fl_stop(run, FL_WHY_OTHER, "a method called with keywords, by name");
    else if (strcmp(type, "operator.methodcaller") == 0)
        r = call_by_name(run, o, parts);
    else
        r = get_all(run, o, parts, strcmp(type, "operator.itemgetter") == 0);
    Py_XDECREF(reduced);
    return r;
}

PyObject *fl_named_object(struct fl_run *run, PyObject *callable, PyObject *const *args,
                          Py_ssize_t nargs, int *done) {
    PyObject *o = nargs == 1 ? fl_see(run, args[0]) : NULL;
    *done = 1;
    if (o && fl_is_getter(Py_TYPE(callable)))
        return call_getter(run, callable, o);
    if (o && strcmp(Py_TYPE(callable)->tp_name, "functools.KeyWrapper") == 0)
        return PyObject_Vectorcall(callable, &o, 1, NULL);
    *done = 0;
    return NULL;
}
