/* Calls of a pass, by what is called. */
#include "flow.h"

/* --- Python functions: binding arguments ------------------------------------------------------------------- */

struct binding {
    PyFunctionObject *func;
    PyCodeObject *code;
    struct fl_frame *frame;
    PyObject *extra; /* dict of **keywords, or NULL */
};

static int mismatch(struct binding *b) {
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_TypeError, "%U() got arguments that do not fit", b->func->func_qualname);
    return -1;
}

static int bind_keyword(struct binding *b, PyObject *name, PyObject *value) {
    int total = b->code->co_argcount + b->code->co_kwonlyargcount;
    for (int i = b->code->co_posonlyargcount; i < total; i++) {
        int same =
            PyObject_RichCompareBool(PyTuple_GET_ITEM(b->code->co_localsplusnames, i), name, Py_EQ);
        if (same < 0)
            return -1;
        if (same) {
            if (b->frame->slots[i])
                return mismatch(b);
            b->frame->slots[i] = Py_NewRef(value);
            return 0;
        }
    }
    return b->extra ? PyDict_SetItem(b->extra, name, value) : mismatch(b);
}

static int bind_defaults(struct binding *b, Py_ssize_t given) {
    PyObject *defaults = b->func->func_defaults, *kw = b->func->func_kwdefaults;
    int n = b->code->co_argcount, total = n + b->code->co_kwonlyargcount;
    Py_ssize_t count = defaults ? PyTuple_GET_SIZE(defaults) : 0;
    for (Py_ssize_t i = given < n ? given : n; i < n; i++) {
        if (b->frame->slots[i])
            continue;
        if (i < n - count)
            return mismatch(b);
        b->frame->slots[i] = Py_NewRef(PyTuple_GET_ITEM(defaults, i - (n - count)));
    }
    for (int i = n; i < total; i++) {
        if (b->frame->slots[i])
            continue;
        PyObject *value =
            kw ? PyDict_GetItemWithError(kw, PyTuple_GET_ITEM(b->code->co_localsplusnames, i))
               : NULL;
        if (!value)
            return mismatch(b);
        b->frame->slots[i] = Py_NewRef(value);
    }
    return 0;
}

static int bind(struct fl_run *run, struct binding *b, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames) {
    PyCodeObject *code = b->code;
    PyObject **slots = b->frame->slots;
    int n = code->co_argcount, total = n + code->co_kwonlyargcount;
    for (Py_ssize_t i = 0; i < nargs && i < n; i++)
        slots[i] = Py_NewRef(args[i]);
    if (code->co_flags & CO_VARARGS) {
        PyObject *rest = PyTuple_New(nargs > n ? nargs - n : 0);
        if (!rest)
            return -1;
        for (Py_ssize_t i = n; i < nargs; i++)
            PyTuple_SET_ITEM(rest, i - n, Py_NewRef(args[i]));
        slots[total] = rest;
    } else if (nargs > n) {
        return mismatch(b);
    }
    if (code->co_flags & CO_VARKEYWORDS) {
        b->extra = fl_mine(run, PyDict_New());
        if (!b->extra)
            return -1;
        slots[total + !!(code->co_flags & CO_VARARGS)] = b->extra;
    }
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        if (bind_keyword(b, PyTuple_GET_ITEM(kwnames, i), args[nargs + i]) < 0)
            return -1;
    return bind_defaults(b, nargs);
}

static PyObject *call_function(struct fl_run *run, PyObject *function, PyObject *const *args,
                               Py_ssize_t nargs, PyObject *kwnames) {
    PyFunctionObject *func = (PyFunctionObject *)function;
    PyCodeObject *code = (PyCodeObject *)func->func_code;
    struct fl_code *c = fl_code_get(run->st, code);
    if (!c)
        return NULL;
    struct fl_frame *f = fl_frame_new(run, c, func->func_globals, function);
    if (!f)
        return NULL;
    f->barrier = fl_is_barrier(run, c, func->func_globals);
    struct binding b = {.func = func, .code = code, .frame = f};
    if (bind(run, &b, args, nargs, kwnames) < 0) {
        fl_frame_free(f);
        return NULL;
    }
    PyObject *r = fl_exec(run, f);
    if (r && f->yielded == 2) {
        Py_DECREF(r);
        f->barrier = 0;
        return fl_gen_new(run, f, 0);
    }
    fl_frame_free(f);
    return r;
}

/* --- built-in functions and types ---------------------------------------------------------------------------- */

static int is_function(struct flow_state *st, PyObject *o) {
    return PyFunction_Check(o) || PyMethod_Check(o) || Py_TYPE(o) == st->functional_type ||
           Py_TYPE(o) == st->schedule_type ||
           (PyType_Check(o) && !fl_kind(st, (PyTypeObject *)o) && !PyExceptionClass_Check(o)) ||
           strcmp(Py_TYPE(o)->tp_name, "functools.partial") == 0;
}

/* What the arguments of native code may be to it: it calls them, it iterates over what lies in them. */
enum { TAKES_VALUES = 1 << 4, TAKES_PAIRS = 1 << 5, MODE = TAKES_VALUES - 1 };

/* What native code would do by calling it is not known to be harmless: a pass calls it itself. */
static int needs_watching(struct flow_state *st, PyObject *o) {
    if (is_function(st, o))
        return 1;
    if (!PyCallable_Check(o) || fl_is_unknown(st, o) || Py_TYPE(o) == st->callback_type)
        return 0;
    if (PyType_Check(o))
        return fl_kind(st, (PyTypeObject *)o) != FL_ATOM && !PyExceptionClass_Check(o);
    return fl_pure_of(st, o) != FL_PURE;
}

static int holds_iterator(PyObject *o) {
    if (!PyList_CheckExact(o) && !PyTuple_CheckExact(o))
        return 0;
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); i++)
        if (PyIter_Check(PySequence_Fast_GET_ITEM(o, i)))
            return 1;
    return 0;
}

/* Native code that calls what it is given. */
static int calls_back(struct flow_state *st, PyObject *callable) {
    return PyType_Check(callable) ? fl_kind(st, (PyTypeObject *)callable) == FL_ITER
                                  : fl_pure_of(st, callable) == FL_PURE_ITER;
}

/* A view through which nothing can be written: any argument of NumPy's may be where the result goes. */
static PyObject *read_only(PyObject *array) {
    PyObject *view = PyObject_CallMethod(array, "view", NULL);
    PyObject *r = view ? PyObject_CallMethod(view, "setflags", "i", 0) : NULL;
    if (!r)
        Py_CLEAR(view);
    Py_XDECREF(r);
    return view;
}

/* An argument as native code may have it: new reference; Unknown stays Unknown. */
static PyObject *prepare(struct fl_run *run, PyObject *o, int mode) {
    struct flow_state *st = run->st;
    o = fl_see(run, o);
    if (run->numpy && Py_TYPE(o) == st->ndarray_type)
        return read_only(o);
    if (!(mode & TAKES_VALUES) && needs_watching(st, o))
        return fl_callback(run, o, mode & MODE);
    if (run->numpy && PyCallable_Check(o) && !PyType_Check(o) && Py_TYPE(o) != st->ndarray_type)
        return fl_unknown(st);
    if ((mode & TAKES_PAIRS) && holds_iterator(o))
        return fl_unknown(st);
    if (PyGen_CheckExact(o) || (fl_kind(st, Py_TYPE(o)) == FL_ITER && !fl_map_has(&run->owned, o)))
        return Py_XNewRef(fl_own(run, o));
    if (PyIter_Check(o) && !fl_kind(st, Py_TYPE(o)) && Py_TYPE(o) != st->gen_type &&
        Py_TYPE(o) != st->seq_type) {
        fl_stop(run, FL_WHY_OTHER, "an iterator of an unknown type");
        return NULL;
    }
    return Py_NewRef(o);
}

static int key_mode(PyObject *kwnames, Py_ssize_t i, int mode, PyObject *box) {
    int key = PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), "key") == 0;
    return key && (!(mode & TAKES_VALUES) || (box && PyList_Check(box))) ? FL_CALL_KEY
           : mode & TAKES_VALUES                                         ? TAKES_VALUES
                                                                         : FL_CALL_PLAIN;
}

static int mode_of(struct flow_state *st, PyObject *callable, PyObject *box) {
    if (callable == (PyObject *)&PyFilter_Type)
        return FL_CALL_FILTER;
    if (PyType_Check(callable) &&
        strcmp(((PyTypeObject *)callable)->tp_name, "itertools.filterfalse") == 0)
        return FL_CALL_REJECT;
    int pairs = callable == (PyObject *)&PyDict_Type || (box && PyDict_Check(box));
    return (calls_back(st, callable) ? FL_CALL_PLAIN : TAKES_VALUES) | (pairs ? TAKES_PAIRS : 0);
}

PyObject *fl_call_native(struct fl_run *run, PyObject *callable, PyObject *const *args,
                         Py_ssize_t nargs, PyObject *kwnames, PyObject *box) {
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *few[8], **flat = total <= 8 ? few : PyMem_New(PyObject *, total), *r = NULL;
    Py_ssize_t made = 0;
    int unknown = 0, mode = mode_of(run->st, callable, box);
    int lost = 0;
    unsigned before = run->approximate;
    run->approximate = 0;
    if (!flat)
        return PyErr_NoMemory();
    for (; made < total; made++) {
        flat[made] = prepare(run, args[made],
                             made < nargs ? mode : key_mode(kwnames, made - nargs, mode, box));
        if (!flat[made])
            break;
        unknown |= !box && fl_is_unknown(run->st, flat[made]);
        lost |= (mode & TAKES_PAIRS) && fl_is_unknown(run->st, flat[made]);
    }
    if (box && lost && made == total) {
        unknown = 1;
        if (fl_poison(run, box) < 0)
            PyErr_Clear();
    }
    if (made == total && unknown)
        r = fl_unknown(run->st);
    else if (made == total)
        r = PyObject_Vectorcall(callable, flat, (size_t)nargs, kwnames);
    if (!r && made == total && !PyErr_ExceptionMatches(run->st->stop)) {
        for (Py_ssize_t i = 0; !unknown && i < total; i++)
            unknown = fl_has_unknown(run, flat[i], 3) || PyIter_Check(flat[i]) ||
                      Py_TYPE(flat[i]) == run->st->ndarray_type;
        if (unknown || (box && fl_has_unknown(run, box, 2)) ||
            PyErr_ExceptionMatches(run->st->need_value)) {
            PyErr_Clear();
            if (!box || fl_poison(run, box) == 0)
                r = fl_unknown(run->st);
        }
    }
    if (r && run->approximate) {
        Py_SETREF(r, fl_unknown(run->st));
        if (box && fl_poison(run, box) < 0)
            Py_CLEAR(r);
    }
    run->approximate = before;
    for (Py_ssize_t i = 0; i < made; i++)
        Py_DECREF(flat[i]);
    if (flat != few)
        PyMem_Free(flat);
    return fl_fresh(run, r);
}

static int all_plain(struct fl_run *run, PyObject *const *args, Py_ssize_t n) {
    for (Py_ssize_t i = 0; i < n; i++)
        if (!fl_plain(run, args[i], 4))
            return 0;
    return 1;
}

/* An array whose elements are Python's: what NumPy does with them is anybody's code. */
static int holds_objects(struct flow_state *st, PyObject *o) {
    if (Py_TYPE(o) != st->ndarray_type)
        return 0;
    PyObject *type = PyObject_GetAttrString(o, "dtype");
    PyObject *has = type ? PyObject_GetAttrString(type, "hasobject") : NULL;
    int rc = has != Py_False;
    PyErr_Clear();
    Py_XDECREF(type);
    Py_XDECREF(has);
    return rc;
}

/* A method of a built-in type; self is the pass's view. */
static PyObject *call_builtin_method(struct fl_run *run, PyObject *self, PyObject *callable,
                                     PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    int bound = PyCFunction_Check(callable);
    const char *name = bound ? ((PyCFunctionObject *)callable)->m_ml->ml_name
                             : ((PyMethodDescrObject *)callable)->d_method->ml_name;
    struct flow_state *st = run->st;
    self = fl_see(run, self);
    if (fl_is_unknown(st, self))
        return fl_unknown(st);
    int changes = fl_method_changes(st, Py_TYPE(self), name);
    if (changes < 0) {
        fl_stop(run, FL_WHY_BARRIER, "a method of a built-in type that may have effects");
        return NULL;
    }
    if (changes && !(self = fl_own(run, self)))
        return NULL;
    if (fl_is_unknown(st, self))
        return fl_unknown(st);
    if (!changes && PyUnicode_Check(self) && !all_plain(run, args, nargs))
        return fl_unknown(st);
    int trust = Py_TYPE(self) == st->ndarray_type; /* half of NumPy is Python */
    if ((trust && holds_objects(st, self)) ||
        (strcmp(Py_TYPE(self)->tp_name, "collections.defaultdict") == 0 &&
         (strcmp(name, "__getitem__") == 0 || strcmp(name, "__missing__") == 0))) {
        fl_stop(run, FL_WHY_BARRIER, "a method of a built-in type that may have effects");
        return NULL;
    }
    Py_INCREF(self);
    PyObject *method = bound ? PyObject_GetAttrString(self, name)
                             : Py_TYPE(callable)->tp_descr_get(callable, self, NULL);
    fl_session_trust(run->session, trust);
    run->numpy = trust;
    PyObject *r =
        method ? fl_call_native(run, method, args, nargs, kwnames, changes ? self : NULL) : NULL;
    fl_session_trust(run->session, -trust);
    run->numpy = 0;
    Py_XDECREF(method);
    Py_DECREF(self);
    return r;
}

static PyObject *new_instance(struct fl_run *run, PyTypeObject *type, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *none = PyTuple_New(0);
    PyObject *o = none ? fl_mine(run, PyBaseObject_Type.tp_new(type, none, NULL)) : NULL;
    Py_XDECREF(none);
    PyObject *init = o ? core_type_lookup(type, run->st->s_init) : NULL;
    if (!o || !init || !PyFunction_Check(init))
        return o;
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **flat = PyMem_New(PyObject *, total + 1), *r = NULL;
    if (flat) {
        flat[0] = o;
        for (Py_ssize_t i = 0; i < total; i++)
            flat[i + 1] = args[i];
        r = call_function(run, init, flat, nargs + 1, kwnames);
    }
    PyMem_Free(flat);
    if (!r)
        Py_CLEAR(o);
    Py_XDECREF(r);
    return o;
}

/* By its __new__, which is Python's and calls tuple.__new__ (fl_special). */
static PyObject *new_namedtuple(struct fl_run *run, PyTypeObject *type, PyObject *const *args,
                                Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *made = core_type_lookup(type, run->st->s_new),
             *init = core_type_lookup(type, run->st->s_init);
    PyObject *function = made && Py_TYPE(made) == &PyStaticMethod_Type
                             ? PyObject_GetAttrString(made, "__func__")
                             : NULL;
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject **flat = PyMem_New(PyObject *, total + 1), *r = NULL;
    if (!function || !PyFunction_Check(function) || (init && PyFunction_Check(init))) {
        fl_stop(run, FL_WHY_BARRIER, "a class that is not plain");
    } else if (flat) {
        flat[0] = (PyObject *)type;
        for (Py_ssize_t i = 0; i < total; i++)
            flat[i + 1] = args[i];
        r = call_function(run, function, flat, nargs + 1, kwnames);
    }
    Py_XDECREF(function);
    PyMem_Free(flat);
    return r;
}

static PyObject *call_class(struct fl_run *run, PyTypeObject *type, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames) {
    struct flow_state *st = run->st;
    if (fl_like_tuple(type) && Py_TYPE(type)->tp_call == PyType_Type.tp_call)
        return new_namedtuple(run, type, args, nargs, kwnames);
    if (fl_kind(st, type) ||
        (PyExceptionClass_Check(type) && !PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE))) {
        if (type == &PyUnicode_Type && !all_plain(run, args, nargs))
            return fl_unknown(st);
        if (nargs == 1 && !kwnames && !fl_kind(st, Py_TYPE(fl_see(run, args[0]))) &&
            (type == &PyLong_Type || type == &PyFloat_Type))
            return fl_unknown(st);
        if (nargs == 1 && (type == &PyList_Type || type == &PyTuple_Type || type == &PySet_Type)) {
            PyObject *it = fl_iter(run, args[0]);
            if (!it || fl_is_unknown(st, it))
                return it;
            PyObject *r = fl_call_native(run, (PyObject *)type, &it, 1, kwnames, NULL);
            Py_DECREF(it);
            return r;
        }
        return fl_call_native(run, (PyObject *)type, args, nargs, kwnames, NULL);
    }
    for (Py_ssize_t i = 0; fl_is_getter(type) && i < nargs; i++)
        if (fl_is_unknown(st, fl_see(run, args[i])))
            return fl_unknown(st);
    if (strcmp(type->tp_name, "functools.partial") == 0 || fl_is_getter(type)) /* only keeps it */
        return PyObject_Vectorcall((PyObject *)type, args, (size_t)nargs, kwnames);
    if (fl_user_class(st, type) && Py_TYPE(type)->tp_call == PyType_Type.tp_call)
        return new_instance(run, type, args, nargs, kwnames);
    fl_stop(run, FL_WHY_BARRIER, "a class that is not plain");
    return NULL;
}

static PyObject *call_partial(struct fl_run *run, PyObject *partial, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    PyObject *func = PyObject_GetAttrString(partial, "func"),
             *first = PyObject_GetAttrString(partial, "args");
    PyObject *keywords = PyObject_GetAttrString(partial, "keywords"), *r = NULL;
    if (func && first && keywords) {
        Py_ssize_t nf = PyTuple_GET_SIZE(first), nk = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
        Py_ssize_t mine = PyDict_GET_SIZE(keywords), at = 0;
        PyObject **flat = PyMem_New(PyObject *, nf + nargs + nk + mine + 1), *key, *value;
        PyObject *names = PyList_New(0), *tuple = NULL;
        Py_ssize_t pos = 0;
        for (Py_ssize_t i = 0; flat && i < nf; i++)
            flat[at++] = PyTuple_GET_ITEM(first, i);
        for (Py_ssize_t i = 0; flat && i < nargs; i++)
            flat[at++] = args[i];
        for (Py_ssize_t i = 0; flat && names && i < nk; i++) {
            flat[at++] = args[nargs + i];
            PyList_Append(names, PyTuple_GET_ITEM(kwnames, i));
        }
        while (flat && names && PyDict_Next(keywords, &pos, &key, &value)) {
            if (PySequence_Contains(names, key) == 0) {
                flat[at++] = value;
                PyList_Append(names, key);
            }
        }
        tuple = names && PyList_GET_SIZE(names) ? PyList_AsTuple(names) : NULL;
        if (flat && names && !PyErr_Occurred())
            r = fl_call(run, func, flat, nf + nargs, tuple);
        PyMem_Free(flat);
        Py_XDECREF(names);
        Py_XDECREF(tuple);
    }
    Py_XDECREF(func);
    Py_XDECREF(first);
    Py_XDECREF(keywords);
    return r;
}

/* --- by what is called --------------------------------------------------------------------------------------- */

static PyObject *with_self(struct fl_run *run, PyObject *function, PyObject *self,
                           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames) {
    Py_ssize_t total = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    PyObject *few[8], **flat = total < 8 ? few : PyMem_New(PyObject *, total + 1);
    if (!flat)
        return PyErr_NoMemory();
    flat[0] = fl_see(run, self);
    for (Py_ssize_t i = 0; i < total; i++)
        flat[i + 1] = args[i];
    PyObject *r = fl_call(run, function, flat, nargs + 1, kwnames);
    if (flat != few)
        PyMem_Free(flat);
    return r;
}

/* list.append(x, …) and the like, with an object of that very type. */
static int is_method_call(struct fl_run *run, PyObject *callable, PyObject *const *args,
                          Py_ssize_t nargs) {
    if (Py_TYPE(callable) != &PyMethodDescr_Type || nargs == 0)
        return 0;
    PyTypeObject *type = Py_TYPE(fl_see(run, args[0]));
    return fl_kind(run->st, type) && PyType_IsSubtype(type, PyDescr_TYPE(callable));
}

/* A method of a generator, by name. */
static PyObject *call_generator_method(struct fl_run *run, PyObject *generator, const char *name,
                                       PyObject *const *args, Py_ssize_t nargs) {
    PyObject *mine = PyGen_CheckExact(generator) ? fl_own(run, generator) : generator;
    if (!mine || fl_is_unknown(run->st, mine))
        return Py_XNewRef(mine);
    if (strcmp(name, "send") == 0 && nargs == 1)
        return fl_gen_send(run, mine, args[0]);
    if (strcmp(name, "__next__") == 0 && nargs == 0)
        return fl_gen_send(run, mine, Py_None);
    if (strcmp(name, "close") == 0 && nargs == 0)
        return PyObject_CallMethod(mine, "close", NULL);
    fl_stop(run, FL_WHY_OTHER, "an exception for a generator");
    return NULL;
}

static int is_generator_call(struct fl_run *run, PyObject *callable, PyObject *const *args,
                             Py_ssize_t nargs) {
    if (Py_TYPE(callable) != &PyMethodDescr_Type || nargs == 0)
        return 0;
    PyObject *o = fl_see(run, args[0]);
    return (PyGen_CheckExact(o) || fl_gen_check(run->st, o)) &&
           (PyDescr_TYPE(callable) == &PyGen_Type || PyDescr_TYPE(callable) == run->st->gen_type);
}

/* np.add.reduce and the like. */
static int is_ufunc_method(struct flow_state *st, PyObject *callable) {
    static const char *const names[] = {"reduce", "accumulate", "reduceat", "outer"};
    PyObject *self = PyCFunction_Check(callable) ? PyCFunction_GET_SELF(callable) : NULL;
    if (!self || strcmp(Py_TYPE(self)->tp_name, "numpy.ufunc") != 0 ||
        fl_pure_of(st, self) != FL_PURE_NUMPY)
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(((PyCFunctionObject *)callable)->m_ml->ml_name, names[i]) == 0)
            return 1;
    return 0;
}

static PyObject *call_builtin(struct fl_run *run, PyObject *callable, PyObject *const *args,
                              Py_ssize_t nargs, PyObject *kwnames) {
    struct flow_state *st = run->st;
    int done, pure = fl_pure_of(st, callable);
    PyObject *special = pure ? NULL : fl_special(run, callable, args, nargs, kwnames, &done);
    if (!pure && done)
        return special;
    if (PyCFunction_Check(callable) && PyCFunction_GET_SELF(callable) &&
        fl_gen_check(st, PyCFunction_GET_SELF(callable)))
        return call_generator_method(run, PyCFunction_GET_SELF(callable),
                                     ((PyCFunctionObject *)callable)->m_ml->ml_name, args, nargs);
    if (pure == FL_PURE_CLOCK)
        return fl_unknown(st);
    if (pure ==
        FL_PURE_SPOILS) /* copied, it would have to be known that nobody else has a view of it */
        return nargs > 0 && fl_poison(run, args[0]) < 0 ? NULL : fl_unknown(st);
    if (pure >= FL_PURE_NAMED)
        return fl_named(run, pure, callable, args, nargs, kwnames);
    if (!pure && is_ufunc_method(st, callable))
        pure = FL_PURE_NUMPY;
    if (!pure && PyCFunction_Check(callable) && PyCFunction_GET_SELF(callable)) {
        PyObject *r = fl_named_method(run, callable, args, nargs, kwnames, &done);
        if (done)
            return r;
    }
    if (pure == FL_PURE_NUMPY) {
        PyObject *out = NULL;
        for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
            if (PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, i), "out") == 0)
                out = args[nargs + i];
        if (out && out != Py_None)
            return fl_poison(run, out) < 0 ? NULL : fl_unknown(st);
        for (Py_ssize_t i = 0; i < nargs; i++)
            if (fl_has_unknown(run, args[i], 3) || !fl_plain(run, args[i], 4) ||
                holds_objects(st, args[i]))
                return fl_unknown(st);
    }
    if (pure == FL_PURE && !all_plain(run, args, nargs) && !kwnames)
        return fl_unknown(st);
    if (pure) {
        fl_session_trust(run->session, pure == FL_PURE_NUMPY);
        run->numpy = pure == FL_PURE_NUMPY;
        PyObject *r = fl_call_native(run, callable, args, nargs, kwnames, NULL);
        fl_session_trust(run->session, -(pure == FL_PURE_NUMPY));
        run->numpy = 0;
        return r;
    }
    if (PyCFunction_Check(callable) && PyCFunction_GET_SELF(callable) &&
        fl_kind(st, Py_TYPE(PyCFunction_GET_SELF(callable))))
        return call_builtin_method(run, PyCFunction_GET_SELF(callable), callable, args, nargs,
                                   kwnames);
    if (is_method_call(run, callable, args, nargs))
        return call_builtin_method(run, args[0], callable, args + 1, nargs - 1, kwnames);
    fl_stop(run, FL_WHY_BARRIER, "a call of an unknown function");
    return NULL;
}

static PyObject *call_async(struct fl_run *run, PyObject *functional, PyObject *const *args,
                            Py_ssize_t nargs, PyObject *kwnames) {
    if (fl_session_awaits(run->session)) {
        PyObject *r = fl_session_ahead(run, functional, args, nargs, kwnames);
        return r || !PyErr_ExceptionMatches(run->st->stop) ? fl_ready_new(run->st, r) : NULL;
    }
    struct fl_frame *f = run->top;
    fl_session_trust(run->session, 1);
    int drives = f ? fl_drives_loop(run->st, f->code->code, f->globals) : 1;
    fl_session_trust(run->session, -1);
    if (drives > 0)
        fl_stop(run, FL_WHY_BARRIER, "an event loop of its own");
    return drives ? NULL : fl_session_ahead(run, functional, args, nargs, kwnames);
}

/* Half of NumPy is Python: it is called, not run instruction by instruction. */
static int is_of_numpy(struct flow_state *st, PyObject *function) {
    if (!st->numpy_known)
        return 0;
    int pure = fl_pure_of(st, function);
    return pure == FL_PURE_NUMPY || pure == FL_PURE_SPOILS;
}

PyObject *fl_call(struct fl_run *run, PyObject *callable, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames) {
    struct flow_state *st = run->st;
    callable = fl_see(run, callable);
    PyTypeObject *type = Py_TYPE(callable);
    if (fl_is_unknown(st, callable))
        return fl_unknown(st);
    if (PyCFunction_Check(callable))
        return call_builtin(run, callable, args, nargs, kwnames);
    if (is_generator_call(run, callable, args, nargs))
        return call_generator_method(run, fl_see(run, args[0]),
                                     ((PyMethodDescrObject *)callable)->d_method->ml_name, args + 1,
                                     nargs - 1);
    if (is_method_call(run, callable, args, nargs))
        return call_builtin_method(run, args[0], callable, args + 1, nargs - 1, kwnames);
    if (type == st->functional_type && ((struct fl_functional *)callable)->is_async)
        return call_async(run, callable, args, nargs, kwnames);
    if (type == st->functional_type)
        return fl_session_ahead(run, callable, args, nargs, kwnames);
    if (type == st->schedule_type)
        return fl_call(run, ((struct fl_schedule *)callable)->function, args, nargs, kwnames);
    if (PyFunction_Check(callable))
        return is_of_numpy(st, callable) ? call_builtin(run, callable, args, nargs, kwnames)
                                         : call_function(run, callable, args, nargs, kwnames);
    if (PyMethod_Check(callable))
        return with_self(run, PyMethod_GET_FUNCTION(callable), PyMethod_GET_SELF(callable), args,
                         nargs, kwnames);
    if (type == st->callback_type)
        return PyObject_Vectorcall(callable, args, (size_t)nargs, kwnames);
    if (PyType_Check(callable)) {
        int done;
        PyObject *r = fl_special(run, callable, args, nargs, kwnames, &done);
        return done ? r : call_class(run, (PyTypeObject *)callable, args, nargs, kwnames);
    }
    if (strcmp(type->tp_name, "functools.partial") == 0)
        return call_partial(run, callable, args, nargs, kwnames);
    PyObject *method =
        PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) ? core_type_lookup(type, st->s_call) : NULL;
    if (method && PyFunction_Check(method))
        return with_self(run, method, callable, args, nargs, kwnames);
    int done = 0;
    PyObject *r = kwnames ? NULL : fl_named_object(run, callable, args, nargs, &done);
    if (done)
        return r;
    return call_builtin(run, callable, args, nargs, kwnames);
}
