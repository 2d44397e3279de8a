/* What built-in code is known to have no effects. */
#include "flow.h"

#include <string.h>

static const char *const builtin_pure[] = {
    "abs",   "ascii", "bin", "chr", "divmod",   "format",     "hash",
    "hex",   "max",   "min", "oct", "ord",      "pow",        "repr",
    "round", "sum",   "all", "any", "callable", "issubclass", NULL};
static const char *const builtin_iter[] = {"sorted", "max", "min", "sum", "all", "any", NULL};
static const char *const functools_pure[] = {"reduce", NULL};
static const char *const clocks[] = {"time",         "time_ns",
                                     "perf_counter", "perf_counter_ns",
                                     "monotonic",    "monotonic_ns",
                                     "process_time", "process_time_ns",
                                     "thread_time",  "thread_time_ns",
                                     "localtime",    "gmtime",
                                     "ctime",        NULL};
static const struct {
    const char *module, *name;
    int kind;
} types[] = {
    {"builtins", "int", FL_ATOM},
    {"builtins", "float", FL_ATOM},
    {"builtins", "complex", FL_ATOM},
    {"builtins", "bool", FL_ATOM},
    {"builtins", "str", FL_ATOM},
    {"builtins", "bytes", FL_ATOM},
    {"builtins", "range", FL_SEQ},
    {"builtins", "slice", FL_SEQ},
    {"builtins", "tuple", FL_SEQ},
    {"builtins", "frozenset", FL_SEQ},
    {"builtins", "list", FL_MUTABLE},
    {"builtins", "dict", FL_MUTABLE},
    {"builtins", "set", FL_MUTABLE},
    {"builtins", "bytearray", FL_MUTABLE},
    {"builtins", "enumerate", FL_ITER},
    {"builtins", "zip", FL_ITER},
    {"builtins", "map", FL_ITER},
    {"builtins", "filter", FL_ITER},
    {"builtins", "reversed", FL_ITER},
    {"collections", "deque", FL_MUTABLE},
    {"collections", "defaultdict", FL_MUTABLE},
    {"collections", "OrderedDict", FL_MUTABLE},
    {"types", "SimpleNamespace", FL_MUTABLE},
    {"collections", "Counter", FL_MUTABLE},
    {"itertools", "chain", FL_ITER},
    {"itertools", "count", FL_ITER},
    {"itertools", "product", FL_ITER},
    {"itertools", "combinations", FL_ITER},
    {"itertools", "permutations", FL_ITER},
    {"itertools", "repeat", FL_ITER},
    {"itertools", "islice", FL_ITER},
    {"itertools", "zip_longest", FL_ITER},
    {"itertools", "accumulate", FL_ITER},
    {"itertools", "starmap", FL_ITER},
    {"itertools", "cycle", FL_ITER},
    {"itertools", "takewhile", FL_ITER},
    {"itertools", "dropwhile", FL_ITER},
    {"itertools", "pairwise", FL_ITER},
    {"itertools", "groupby", FL_ITER},
    {"itertools", "compress", FL_ITER},
    {"itertools", "filterfalse", FL_ITER},
    {"itertools", "_tee", FL_ITER},
    {"itertools", "batched", FL_ITER}, /* since 3.12 */
    {"itertools", "combinations_with_replacement", FL_ITER},
};

static int note(PyObject *dict, PyObject *key, int kind) {
    PyObject *value = key ? PyLong_FromLong(kind) : NULL;
    int rc = value ? PyDict_SetItem(dict, key, value) : -1;
    Py_XDECREF(value);
    return rc;
}

static int note_names(PyObject *dict, const char *module, const char *const *names, int kind) {
    PyObject *m = PyImport_ImportModule(module);
    int rc = m ? 0 : -1;
    for (int i = 0; rc == 0 && names[i]; i++) {
        PyObject *o = PyObject_GetAttrString(m, names[i]);
        rc = note(dict, o, kind);
        Py_XDECREF(o);
    }
    Py_XDECREF(m);
    return rc;
}

static int note_module(PyObject *dict, const char *module, int kind) {
    PyObject *m = PyImport_ImportModule(module), *key, *value;
    Py_ssize_t pos = 0;
    int rc = m ? 0 : -1;
    while (rc == 0 && PyDict_Next(PyModule_GetDict(m), &pos, &key, &value))
        if (PyCFunction_Check(value))
            rc = note(dict, value, kind);
    Py_XDECREF(m);
    return rc;
}

static int note_iterator(PyObject *types_dict, PyObject *iterable) {
    PyObject *it = iterable ? PyObject_GetIter(iterable) : NULL;
    int rc = it ? note(types_dict, (PyObject *)Py_TYPE(it), FL_ITER) : -1;
    Py_XDECREF(it);
    Py_XDECREF(iterable);
    return rc;
}

/* Types without a name of their own: views and iterators. */
static int note_nameless(PyObject *t) {
    static const char *const views[] = {"keys", "values", "items", NULL};
    PyObject *dict = PyDict_New();
    int rc = dict ? 0 : -1;
    for (int i = 0; rc == 0 && views[i]; i++) {
        PyObject *view = PyObject_CallMethod(dict, views[i], NULL);
        rc = view ? note(t, (PyObject *)Py_TYPE(view), FL_SEQ) : -1;
        if (rc == 0)
            rc = note_iterator(t, Py_NewRef(view));
        Py_XDECREF(view);
    }
    Py_XDECREF(dict);
    PyObject *list = PyList_New(0);
    PyObject *back = list ? PyObject_CallMethod(list, "__reversed__", NULL) : NULL;
    rc = rc < 0 || !back ? -1 : note(t, (PyObject *)Py_TYPE(back), FL_ITER);
    Py_XDECREF(back);
    if (rc == 0)
        rc = note_iterator(t, list);
    else
        Py_XDECREF(list);
    PyObject *empty = PyUnicode_New(0, 0);
    PyObject *wide = PyUnicode_FromString("\xc3\xa9\xe2\x82\xac");
    if (rc == 0 && (note_iterator(t, PyTuple_New(0)) < 0 || note_iterator(t, empty) < 0 ||
                    note_iterator(t, wide) < 0 || note_iterator(t, PySet_New(NULL)) < 0 ||
                    note_iterator(t, PyBytes_FromString("")) < 0 ||
                    note_iterator(t, PyObject_CallFunction((PyObject *)&PyRange_Type, "i", 1)) < 0))
        rc = -1;
    PyObject *calls = PyCallIter_New((PyObject *)&PyLong_Type, Py_None); /* iter(f, sentinel) */
    if (rc == 0)
        rc = calls ? note(t, (PyObject *)Py_TYPE(calls), FL_ITER) : -1;
    Py_XDECREF(calls);
    return rc;
}

int fl_pure_init(struct flow_state *st) {
    st->pure = PyDict_New();
    st->pure_types = PyDict_New();
    PyObject *append = PyUnicode_InternFromString("append");
    st->list_append = append ? core_type_lookup(&PyList_Type, append) : NULL;
    Py_XDECREF(append);
    if (!st->pure || !st->pure_types)
        return -1;
    if (note_names(st->pure, "builtins", builtin_pure, FL_PURE) < 0 ||
        note_names(st->pure, "builtins", builtin_iter, FL_PURE_ITER) < 0 ||
        note_names(st->pure, "functools", functools_pure, FL_PURE_ITER) < 0 ||
        note_names(st->pure, "time", clocks, FL_PURE_CLOCK) < 0 ||
        note_module(st->pure, "math", FL_PURE) < 0 || note_nameless(st->pure_types) < 0 ||
        fl_named_init(st) < 0)
        return -1;
    if (note(st->pure_types, (PyObject *)Py_TYPE(Py_None), FL_ATOM) < 0 ||
        note(st->pure_types, (PyObject *)Py_TYPE(Py_Ellipsis), FL_ATOM) < 0 ||
        note(st->pure_types, (PyObject *)Py_TYPE(Py_NotImplemented), FL_ATOM) < 0)
        return -1;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        PyObject *m = PyImport_ImportModule(types[i].module);
        PyObject *type = m ? PyObject_GetAttrString(m, types[i].name) : NULL;
        if (m && !type && PyErr_ExceptionMatches(PyExc_AttributeError)) {
            PyErr_Clear(); /* another version of Python has it */
            Py_DECREF(m);
            continue;
        }
        int rc = note(st->pure_types, type, types[i].kind);
        Py_XDECREF(m);
        Py_XDECREF(type);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* --- NumPy, once it is imported ---------------------------------------------------------------------------- */

static const char *const numpy_not[] = {"save",
                                        "savez",
                                        "savez_compressed",
                                        "savetxt",
                                        "load",
                                        "loadtxt",
                                        "genfromtxt",
                                        "fromfile",
                                        "seterr",
                                        "seterrcall",
                                        "setbufsize",
                                        "geterr",
                                        "vectorize",
                                        "apply_along_axis",
                                        "apply_over_axes",
                                        "frompyfunc",
                                        "fromiter",
                                        "fromfunction",
                                        "piecewise",
                                        "nditer",
                                        "memmap",
                                        "set_printoptions",
                                        "printoptions",
                                        "errstate",
                                        "test",
                                        "info",
                                        "show_config",
                                        NULL};

/* What they are given first is something else afterwards. */
static const char *const numpy_spoils[] = {"copyto",         "put",           "place", "putmask",
                                           "put_along_axis", "fill_diagonal", NULL};

static int listed(const char *const *names, PyObject *name) {
    for (int i = 0; names[i]; i++)
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return 1;
    return 0;
}

static int note_numpy_names(struct flow_state *st, const char *module) {
    PyObject *name = PyUnicode_FromString(module), *m = name ? PyImport_GetModule(name) : NULL;
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    int rc = 0;
    while (m && PyModule_Check(m) && rc == 0 &&
           PyDict_Next(PyModule_GetDict(m), &pos, &key, &value)) {
        if (!PyCallable_Check(value) || listed(numpy_not, key) || PyModule_Check(value))
            continue;
        if (PyType_Check(value)) {
            PyObject *generic = PyObject_GetAttrString(m, "generic");
            if (generic && PyType_Check(generic) &&
                PyType_IsSubtype((PyTypeObject *)value, (PyTypeObject *)generic))
                rc = note(st->pure_types, value, FL_ATOM);
            Py_XDECREF(generic);
            PyErr_Clear();
        } else {
            rc = note(st->pure, value, listed(numpy_spoils, key) ? FL_PURE_SPOILS : FL_PURE_NUMPY);
        }
    }
    Py_XDECREF(name);
    Py_XDECREF(m);
    return rc;
}

static int numpy_look(struct flow_state *st) {
    PyObject *name = PyUnicode_FromString("numpy"), *m = name ? PyImport_GetModule(name) : NULL;
    Py_XDECREF(name);
    PyObject *array = m ? PyObject_GetAttrString(m, "ndarray") : NULL,
             *dtype = m ? PyObject_GetAttrString(m, "dtype") : NULL;
    Py_XDECREF(m);
    if (!array || !dtype) {
        PyErr_Clear();
        Py_XDECREF(array);
        Py_XDECREF(dtype);
        return 0;
    }
    st->numpy_known = 1;
    st->ndarray_type = (PyTypeObject *)array;
    int rc = note(st->pure_types, array, FL_MUTABLE);
    if (rc == 0) /* how arrays are iterated over */
        rc = note(st->pure_types, (PyObject *)&PySeqIter_Type, FL_ITER);
    if (rc == 0)
        rc = note(st->pure_types, dtype, FL_ATOM);
    Py_DECREF(dtype);
    if (rc == 0 && note_numpy_names(st, "numpy") < 0)
        rc = -1;
    return rc;
}

/* NumPy imports some of its modules when they are first used. */
static int numpy_look_inside(struct flow_state *st) {
    static const char *const modules[FL_NUMPY_MODULES] = {"numpy.linalg", "numpy.fft"};
    int found = 0;
    for (int i = 0; i < FL_NUMPY_MODULES; i++) {
        PyObject *modules_now = PyImport_GetModuleDict();
        if (st->numpy_modules >> i & 1 || !PyDict_GetItemString(modules_now, modules[i]))
            continue;
        if (note_numpy_names(st, modules[i]) < 0)
            PyErr_Clear();
        st->numpy_modules |= 1u << i;
        found = 1;
    }
    return found;
}

void fl_pure_look(struct flow_state *st) {
    int found = 0;
    if (!st->numpy_known) {
        if (numpy_look(st) < 0)
            PyErr_Clear();
        found = st->numpy_known;
    }
    if (st->numpy_known && st->numpy_modules != (1u << FL_NUMPY_MODULES) - 1)
        found |= numpy_look_inside(st);
    if (found) /* what was not known before is now */
        memset(&st->seen, 0, sizeof st->seen);
}

int fl_pure_of(struct flow_state *st, PyObject *callable) {
    struct fl_seen *seen = &st->seen.callables[fl_seen_at(callable)];
    if (seen->key != callable) {
        PyObject *kind = PyDict_GetItemWithError(st->pure, callable);
        if (!kind)
            PyErr_Clear();
        seen->value = kind ? (int)PyLong_AsLong(kind) : FL_PURE_NONE;
        seen->key = callable;
    }
    return seen->value;
}

/* --- methods of built-in types ------------------------------------------------------------------------------- */

static const char *const changing[] = {"append",
                                       "extend",
                                       "insert",
                                       "remove",
                                       "pop",
                                       "clear",
                                       "sort",
                                       "reverse",
                                       "add",
                                       "discard",
                                       "update",
                                       "setdefault",
                                       "popitem",
                                       "appendleft",
                                       "popleft",
                                       "extendleft",
                                       "rotate",
                                       "difference_update",
                                       "intersection_update",
                                       "symmetric_difference_update",
                                       "move_to_end",
                                       "__setitem__",
                                       "__delitem__",
                                       "__iadd__",
                                       "fill",
                                       "put",
                                       "resize",
                                       "partition",
                                       "itemset",
                                       "setfield",
                                       "setflags",
                                       "byteswap",
                                       "__setstate__",
                                       "__ior__",
                                       "__isub__",
                                       "__iand__",
                                       "__ixor__",
                                       "__imul__",
                                       "__init__",
                                       "__next__",
                                       NULL};
static const char *const outward[] = {"tofile",        "dump",        "dumps",       "__reduce__",
                                      "__reduce_ex__", "__setattr__", "__delattr__", NULL};

static int method_changes(struct flow_state *st, PyTypeObject *type, const char *name) {
    int kind = fl_kind(st, type);
    for (int i = 0; outward[i]; i++)
        if (strcmp(name, outward[i]) == 0)
            return -1;
    if (kind == FL_ATOM || kind == FL_SEQ)
        return 0;
    for (int i = 0; changing[i]; i++)
        if (strcmp(name, changing[i]) == 0)
            return 1;
    return kind == FL_MUTABLE ? 0 : -1;
}

int fl_method_changes(struct flow_state *st, PyTypeObject *type, const char *name) {
    struct fl_method_seen *seen = &st->seen.methods[fl_seen_at(name)];
    if (seen->type != type || seen->name != name)
        *seen = (struct fl_method_seen){type, name, method_changes(st, type, name)};
    return seen->value;
}

/* --- built-ins that want more than a call ------------------------------------------------------------------------ */

static PyObject *do_next(struct fl_run *run, PyObject *const *args, Py_ssize_t nargs) {
    PyObject *value;
    int rc = nargs > 0 ? fl_next(run, args[0], &value) : -1;
    if (rc > 0)
        return value;
    if (rc == 0 && nargs == 2)
        return Py_NewRef(args[1]);
    if (rc == 0)
        PyErr_SetNone(PyExc_StopIteration);
    return NULL;
}

static PyObject *do_len(struct fl_run *run, PyObject *o) {
    int found;
    o = fl_see(run, o);
    if (fl_is_unknown(run->st, o))
        return fl_unknown(run->st);
    if (fl_kind(run->st, Py_TYPE(o))) {
        Py_ssize_t n = PyObject_Size(o);
        return n < 0 ? NULL : PyLong_FromSsize_t(n);
    }
    PyObject *r = fl_call_method(run, o, "__len__", NULL, 0, &found);
    return r || PyErr_Occurred() ? r : fl_unknown(run->st);
}

static PyObject *do_getattr(struct fl_run *run, PyObject *const *args, Py_ssize_t nargs,
                            int only_has) {
    if (nargs < 2 || !PyUnicode_Check(args[1]))
        return fl_unknown(run->st);
    PyObject *r = fl_getattr(run, fl_see(run, args[0]), args[1]);
    if (r && only_has && !fl_is_unknown(run->st, r))
        Py_SETREF(r, Py_NewRef(Py_True));
    if (!r && (nargs > 2 || only_has) && PyErr_ExceptionMatches(PyExc_AttributeError)) {
        PyErr_Clear();
        return Py_NewRef(only_has ? Py_False : args[2]);
    }
    return r;
}

/* Without a value: delattr. */
static PyObject *do_setattr(struct fl_run *run, PyObject *const *args, Py_ssize_t nargs) {
    if ((nargs != 3 && nargs != 2) || !PyUnicode_Check(args[1])) {
        fl_stop(run, FL_WHY_OTHER, "setattr with an unknown name");
        return NULL;
    }
    PyObject *value = nargs == 3 ? args[2] : NULL;
    return fl_setattr(run, args[0], args[1], value) < 0 ? NULL : Py_NewRef(Py_None);
}

/* iter(f, sentinel). */
static PyObject *do_iter_calls(struct fl_run *run, PyObject *callable, PyObject *sentinel) {
    if (fl_is_unknown(run->st, callable) || fl_is_unknown(run->st, sentinel) ||
        !fl_plain(run, sentinel, 2))
        return fl_unknown(run->st);
    PyObject *call = fl_callback(run, callable, FL_CALL_PLAIN);
    PyObject *it = call ? fl_mine(run, PyCallIter_New(call, sentinel)) : NULL;
    Py_XDECREF(call);
    return it;
}

static PyObject *do_isinstance(struct fl_run *run, PyObject *const *args, Py_ssize_t nargs) {
    if (nargs != 2)
        return fl_unknown(run->st);
    PyObject *o = fl_see(run, args[0]), *type = args[1];
    if (fl_is_unknown(run->st, o) || fl_has_unknown(run, type, 1))
        return fl_unknown(run->st);
    int rc = PyObject_IsInstance(o, type);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

/* super() without arguments looks into its caller's frame. */
static PyObject *do_super(struct fl_run *run, PyObject *const *args, Py_ssize_t nargs) {
    struct fl_frame *f = run->top;
    if (nargs == 2)
        return PyObject_Vectorcall((PyObject *)&PySuper_Type, args, 2, NULL);
    PyObject *names = f ? f->code->code->co_localsplusnames : NULL, *self = f ? f->slots[0] : NULL;
    if (self && PyCell_Check(self))
        self = PyCell_GET(self);
    for (Py_ssize_t i = 0; nargs == 0 && self && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *cell = f->slots[i];
        if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "__class__") == 0 &&
            cell && PyCell_Check(cell) && PyCell_GET(cell)) {
            PyObject *two[2] = {PyCell_GET(cell), fl_see(run, self)};
            if (fl_is_unknown(run->st, two[1]))
                return fl_unknown(run->st);
            return PyObject_Vectorcall((PyObject *)&PySuper_Type, two, 2, NULL);
        }
    }
    fl_stop(run, FL_WHY_OTHER, "super() in an unusual place");
    return NULL;
}

static int named(PyObject *callable, const char *name) {
    return strcmp(((PyCFunctionObject *)callable)->m_ml->ml_name, name) == 0;
}

static PyObject *special_function(struct fl_run *run, PyObject *c, PyObject *const *args,
                                  Py_ssize_t nargs, PyObject *kwnames, int *done) {
    *done = 1;
    if (named(c, "print"))
        return fl_effect(run) < 0 ? NULL : Py_NewRef(Py_None);
    if (named(c, "id"))
        return fl_unknown(run->st);
    if (!kwnames) {
        if (named(c, "next"))
            return do_next(run, args, nargs);
        if (named(c, "iter") && nargs == 1)
            return fl_iter(run, args[0]);
        if (named(c, "iter") && nargs == 2)
            return do_iter_calls(run, args[0], fl_see(run, args[1]));
        if (named(c, "delattr") && nargs == 2)
            return do_setattr(run, args, 2);
        if (named(c, "len") && nargs == 1)
            return do_len(run, args[0]);
        if (named(c, "getattr"))
            return do_getattr(run, args, nargs, 0);
        if (named(c, "hasattr"))
            return do_getattr(run, args, nargs, 1);
        if (named(c, "setattr") && nargs == 3)
            return do_setattr(run, args, nargs);
        if (named(c, "isinstance"))
            return do_isinstance(run, args, nargs);
    }
    *done = 0;
    return NULL;
}

PyObject *fl_special(struct fl_run *run, PyObject *c, PyObject *const *args, Py_ssize_t nargs,
                     PyObject *kwnames, int *done) {
    struct flow_state *st = run->st;
    *done = 1;
    if (c == (PyObject *)&PyType_Type && nargs == 1) {
        PyObject *o = fl_see(run, args[0]);
        return fl_is_unknown(st, o) ? fl_unknown(st) : Py_NewRef((PyObject *)Py_TYPE(o));
    }
    if (c == (PyObject *)&PySuper_Type)
        return do_super(run, args, nargs);
    if (c == (PyObject *)&PyBaseObject_Type && nargs == 0)
        return fl_unknown(st);
    if (c == (PyObject *)&PyBool_Type && nargs == 1) {
        int truth = fl_truth(run, args[0]);
        return truth == -1 ? NULL : truth == -2 ? fl_unknown(st) : PyBool_FromLong(truth);
    }
    if (PyCFunction_Check(c) && PyCFunction_GET_SELF(c) == (PyObject *)&PyTuple_Type &&
        named(c, "__new__") && nargs == 2 && !kwnames && PyType_Check(args[0]) &&
        fl_like_tuple((PyTypeObject *)args[0]) && PyTuple_CheckExact(fl_see(run, args[1])))
        return PyObject_Vectorcall(c, args, 2, NULL);
    *done = 0;
    if (PyCFunction_Check(c) && PyCFunction_GET_SELF(c) &&
        PyModule_Check(PyCFunction_GET_SELF(c))) {
        const char *name = PyModule_GetName(PyCFunction_GET_SELF(c));
        if (name && strcmp(name, "builtins") == 0)
            return special_function(run, c, args, nargs, kwnames, done);
        PyErr_Clear();
    }
    return NULL;
}
