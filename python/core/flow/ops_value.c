/* Instructions that compute: operators, comparison, subscripts, attributes. */
#include "flow.h"
#include "opcodes.h"

typedef PyObject *(*binary_fn)(PyObject *, PyObject *);

static PyObject *power(PyObject *a, PyObject *b) {
    return PyNumber_Power(a, b, Py_None);
}
static PyObject *power_in_place(PyObject *a, PyObject *b) {
    return PyNumber_InPlacePower(a, b, Py_None);
}

static const struct {
    binary_fn call;
    const char *name, *reflected;
} operators[26] = {
    {PyNumber_Add, "__add__", "__radd__"},
    {PyNumber_And, "__and__", "__rand__"},
    {PyNumber_FloorDivide, "__floordiv__", "__rfloordiv__"},
    {PyNumber_Lshift, "__lshift__", "__rlshift__"},
    {PyNumber_MatrixMultiply, "__matmul__", "__rmatmul__"},
    {PyNumber_Multiply, "__mul__", "__rmul__"},
    {PyNumber_Remainder, "__mod__", "__rmod__"},
    {PyNumber_Or, "__or__", "__ror__"},
    {power, "__pow__", "__rpow__"},
    {PyNumber_Rshift, "__rshift__", "__rrshift__"},
    {PyNumber_Subtract, "__sub__", "__rsub__"},
    {PyNumber_TrueDivide, "__truediv__", "__rtruediv__"},
    {PyNumber_Xor, "__xor__", "__rxor__"},
    {PyNumber_InPlaceAdd, "__iadd__", NULL},
    {PyNumber_InPlaceAnd, "__iand__", NULL},
    {PyNumber_InPlaceFloorDivide, "__ifloordiv__", NULL},
    {PyNumber_InPlaceLshift, "__ilshift__", NULL},
    {PyNumber_InPlaceMatrixMultiply, "__imatmul__", NULL},
    {PyNumber_InPlaceMultiply, "__imul__", NULL},
    {PyNumber_InPlaceRemainder, "__imod__", NULL},
    {PyNumber_InPlaceOr, "__ior__", NULL},
    {power_in_place, "__ipow__", NULL},
    {PyNumber_InPlaceRshift, "__irshift__", NULL},
    {PyNumber_InPlaceSubtract, "__isub__", NULL},
    {PyNumber_InPlaceTrueDivide, "__itruediv__", NULL},
    {PyNumber_InPlaceXor, "__ixor__", NULL},
};

/* Operators of the user's classes, in the order Python tries them. */
static PyObject *user_binary(struct fl_run *run, PyObject *a, PyObject *b, int op) {
    int found;
    PyObject *r = NULL;
    if (op >= 13) {
        r = fl_call_method(run, a, operators[op].name, &b, 1, &found);
        if (r != Py_NotImplemented && (r || PyErr_Occurred()))
            return r;
        Py_XDECREF(r);
        op -= 13;
    }
    r = fl_call_method(run, a, operators[op].name, &b, 1, &found);
    if (r != Py_NotImplemented && (r || PyErr_Occurred()))
        return r;
    Py_XDECREF(r);
    r = fl_call_method(run, b, operators[op].reflected, &a, 1, &found);
    if (r && r == Py_NotImplemented)
        Py_CLEAR(r);
    return r || PyErr_Occurred() ? r : fl_unknown(run->st);
}

PyObject *fl_binary(struct fl_run *run, PyObject *a, PyObject *b, int op) {
    struct flow_state *st = run->st;
    int ka = fl_kind(st, Py_TYPE(a));
    if (fl_is_unknown(st, a) || fl_is_unknown(st, b)) {
        if (op >= 13 && ka == FL_MUTABLE && fl_poison(run, a) < 0)
            return NULL;
        return fl_unknown(st);
    }
    if (!ka || !fl_kind(st, Py_TYPE(b)))
        return user_binary(run, a, b, op);
    if (op >= 13 && ka == FL_MUTABLE) {
        a = fl_own(run, a);
        if (!a || fl_is_unknown(st, a))
            return Py_XNewRef(a);
    }
    if ((op % 13 == 6) && !fl_plain(run, b, 3))
        return fl_unknown(st);
    PyObject *r = operators[op].call(a, b);
    if (!r && (fl_absorb(run) || fl_has_unknown(run, b, 2) || fl_has_unknown(run, a, 2))) {
        PyErr_Clear();
        if (op >= 13 && ka == FL_MUTABLE && fl_poison(run, a) < 0)
            return NULL;
        return fl_unknown(st);
    }
    return fl_fresh(run, r);
}

static int op_binary_op(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *b = fl_pop(f), *a = fl_pop(f), *r;
    if ((PyLong_CheckExact(a) || PyFloat_CheckExact(a)) &&
        (PyLong_CheckExact(b) || PyFloat_CheckExact(b)))
        r = operators[arg].call(a, b);
    else
        r = fl_binary(run, fl_see(run, a), fl_see(run, b), arg);
    Py_DECREF(a);
    Py_DECREF(b);
    if (!r)
        return -1;
    fl_push(f, r);
    return 0;
}

static const struct {
    PyObject *(*call)(PyObject *);
    const char *name;
} unaries[] = {
    [FL_NEGATIVE] = {PyNumber_Negative, "__neg__"},
    [FL_POSITIVE] = {PyNumber_Positive, "__pos__"},
    [FL_INVERT] = {PyNumber_Invert, "__invert__"},
    [FL_ABSOLUTE] = {PyNumber_Absolute, "__abs__"},
};

PyObject *fl_unary(struct fl_run *run, PyObject *o, enum fl_unary_op op) {
    int found;
    if (fl_is_unknown(run->st, o) || fl_kind(run->st, Py_TYPE(o)))
        return fl_fresh(run, unaries[op].call(o));
    PyObject *r = fl_call_method(run, o, unaries[op].name, NULL, 0, &found);
    return r || PyErr_Occurred() ? r : fl_unknown(run->st);
}

static int unary(struct fl_run *run, struct fl_frame *f, enum fl_unary_op op) {
    PyObject *a = fl_pop(f), *r = fl_unary(run, fl_see(run, a), op);
    Py_DECREF(a);
    if (!r)
        return -1;
    fl_push(f, r);
    return 0;
}

static int op_negative(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return unary(run, f, FL_NEGATIVE);
}
static int op_positive(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return unary(run, f, FL_POSITIVE);
}
static int op_invert(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return unary(run, f, FL_INVERT);
}

static int op_not(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *a = fl_pop(f);
    int truth = fl_truth(run, a);
    Py_DECREF(a);
    if (truth == -1)
        return -1;
    fl_push(f, truth == -2 ? fl_unknown(run->st) : Py_NewRef(truth ? Py_False : Py_True));
    return 0;
}

static int op_to_bool(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *a = fl_pop(f);
    int truth = fl_truth(run, a);
    Py_DECREF(a);
    if (truth == -1)
        return -1;
    fl_push(f, truth == -2 ? fl_unknown(run->st) : Py_NewRef(truth ? Py_True : Py_False));
    return 0;
}

static const char *const comparisons[] = {"__lt__", "__le__", "__eq__",
                                          "__ne__", "__gt__", "__ge__"};
static const int mirrored[] = {Py_GT, Py_GE, Py_EQ, Py_NE, Py_LT, Py_LE};

PyObject *fl_compare(struct fl_run *run, PyObject *a, PyObject *b, int op) {
    struct flow_state *st = run->st;
    if (fl_is_unknown(st, a) || fl_is_unknown(st, b))
        return fl_unknown(st);
    PyObject *r = NULL;
    if (fl_plain(run, a, 6) && fl_plain(run, b, 6)) {
        r = PyObject_RichCompare(a, b, op);
        if (!r && (fl_absorb(run) || fl_has_unknown(run, a, 4) || fl_has_unknown(run, b, 4))) {
            PyErr_Clear();
            r = fl_unknown(st);
        }
        return r;
    }
    int found;
    r = fl_call_method(run, a, comparisons[op], &b, 1, &found);
    if (!r && !PyErr_Occurred())
        r = fl_call_method(run, b, comparisons[mirrored[op]], &a, 1, &found);
    if (!r && !PyErr_Occurred()) {
        if ((op == Py_EQ || op == Py_NE) &&
            (Py_TYPE(a)->tp_richcompare == PyBaseObject_Type.tp_richcompare))
            return PyBool_FromLong((a == b) == (op == Py_EQ));
        r = fl_unknown(st);
    }
    return r;
}

static int op_compare(struct fl_run *run, struct fl_frame *f, int flags) {
    int arg = flags & 7;
    PyObject *b = fl_pop(f), *a = fl_pop(f), *r;
    if (Py_TYPE(a) == Py_TYPE(b) &&
        (PyLong_CheckExact(a) || PyFloat_CheckExact(a) || PyUnicode_CheckExact(a)))
        r = PyObject_RichCompare(a, b, arg);
    else
        r = fl_compare(run, fl_see(run, a), fl_see(run, b), arg);
    Py_DECREF(a);
    Py_DECREF(b);
    if (!r)
        return -1;
    fl_push(f, r);
    return flags & 8 && !PyBool_Check(r) ? op_to_bool(run, f, 0) : 0;
}

static int op_is(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *b = fl_pop(f), *a = fl_pop(f), *sa = fl_see(run, a), *sb = fl_see(run, b);
    PyObject *r = fl_is_unknown(run->st, sa) || fl_is_unknown(run->st, sb)
                      ? fl_unknown(run->st)
                      : PyBool_FromLong((sa == sb) ^ arg);
    Py_DECREF(a);
    Py_DECREF(b);
    fl_push(f, r);
    return r ? 0 : -1;
}

PyObject *fl_contains(struct fl_run *run, PyObject *box, PyObject *item, int inverted) {
    struct flow_state *st = run->st;
    int found, kind = fl_kind(st, Py_TYPE(box));
    if (fl_is_unknown(st, box) || fl_is_unknown(st, item))
        return fl_unknown(st);
    if (kind && kind != FL_ITER && (fl_plain(run, box, 3) || PyDict_Check(box))) {
        int in = PySequence_Contains(box, item);
        return in >= 0 ? PyBool_FromLong(in ^ inverted) : fl_absorb(run) ? fl_unknown(st) : NULL;
    }
    PyObject *r = fl_call_method(run, box, "__contains__", &item, 1, &found);
    int truth = r ? fl_truth(run, r) : -2;
    Py_XDECREF(r);
    return truth == -1 || PyErr_Occurred() ? NULL
           : truth == -2                   ? fl_unknown(st)
                                           : PyBool_FromLong(truth ^ inverted);
}

static int op_contains(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *box = fl_pop(f), *item = fl_pop(f);
    PyObject *r = fl_contains(run, fl_see(run, box), fl_see(run, item), arg);
    Py_DECREF(box);
    Py_DECREF(item);
    if (!r)
        return -1;
    fl_push(f, r);
    return 0;
}

/* A defaultdict makes what is missing. */
static PyObject *missing(struct fl_run *run, PyObject *o, PyObject *key) {
    PyObject *factory = PyObject_GetAttrString(o, "default_factory");
    if (!factory)
        return NULL;
    PyObject *made = NULL;
    if (factory == Py_None) {
        PyErr_SetObject(PyExc_KeyError, key);
    } else if ((o = fl_own(run, o))) {
        made =
            fl_is_unknown(run->st, o) ? fl_unknown(run->st) : fl_call(run, factory, NULL, 0, NULL);
        if (made && PyDict_Check(o) && PyDict_SetItem(o, key, made) < 0)
            Py_CLEAR(made);
    }
    Py_DECREF(factory);
    return made;
}

PyObject *fl_subscript(struct fl_run *run, PyObject *o, PyObject *key) {
    struct flow_state *st = run->st;
    if (fl_is_unknown(st, o) || fl_is_unknown(st, key))
        return fl_unknown(st);
    int found, kind = fl_kind(st, Py_TYPE(o));
    if (!kind) {
        if (PyType_Check(o)) /* list[int] */
            return PyObject_GetItem(o, key);
        PyObject *r = fl_call_method(run, o, "__getitem__", &key, 1, &found);
        if (!r && !PyErr_Occurred())
            fl_stop(run, FL_WHY_OTHER, "a subscript of an object of an unknown type");
        return r;
    }
    if (PyDict_Check(o) && !PyDict_CheckExact(o) &&
        strcmp(Py_TYPE(o)->tp_name, "collections.defaultdict") == 0) {
        PyObject *value = PyDict_GetItemWithError(o, key);
        if (value || PyErr_Occurred())
            return Py_XNewRef(value);
        return missing(run, o, key);
    }
    int trust = PyDict_Check(o) && !PyDict_CheckExact(o); /* Counter.__missing__ is Python */
    fl_session_trust(run->session, trust);
    PyObject *r = PyObject_GetItem(o, key);
    fl_session_trust(run->session, -trust);
    if (!r && (fl_absorb(run) || fl_has_unknown(run, key, 2))) {
        PyErr_Clear();
        r = fl_unknown(st);
    }
    return fl_fresh(run, r);
}

static int op_subscr(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *key = fl_pop(f), *o = fl_pop(f);
    PyObject *r = fl_subscript(run, fl_see(run, o), fl_see(run, key));
    Py_DECREF(key);
    Py_DECREF(o);
    if (!r)
        return -1;
    fl_push(f, Py_NewRef(fl_see(run, r)));
    Py_DECREF(r);
    return 0;
}

/* The slice from two values on the stack; Unknown; NULL. */
static PyObject *pop_slice(struct fl_run *run, struct fl_frame *f) {
    PyObject *stop = fl_pop(f), *start = fl_pop(f);
    PyObject *r =
        fl_is_unknown(run->st, fl_see(run, stop)) || fl_is_unknown(run->st, fl_see(run, start))
            ? fl_unknown(run->st)
            : PySlice_New(fl_see(run, start), fl_see(run, stop), NULL);
    Py_DECREF(stop);
    Py_DECREF(start);
    return r;
}

/* What op does, with a slice of two values instead of a key. */
static int with_slice(struct fl_run *run, struct fl_frame *f,
                      int (*op)(struct fl_run *run, struct fl_frame *f, int arg)) {
    PyObject *slice = pop_slice(run, f);
    if (!slice)
        return -1;
    fl_push(f, slice);
    return op(run, f, 0);
}

static int op_binary_slice(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return with_slice(run, f, op_subscr);
}

int fl_set_item(struct fl_run *run, PyObject *o, PyObject *key, PyObject *value) {
    struct flow_state *st = run->st;
    o = fl_see(run, o);
    key = fl_see(run, key);
    if (fl_is_unknown(st, o))
        return 0;
    if (!fl_kind(st, Py_TYPE(o))) {
        PyObject *args[2] = {key, value};
        int found;
        PyObject *r = fl_call_method(run, o, value ? "__setitem__" : "__delitem__", args,
                                     value ? 2 : 1, &found);
        if (!r && !PyErr_Occurred())
            return fl_stop(run, FL_WHY_OTHER, "assigns to an item of an object of an unknown type");
        Py_XDECREF(r);
        return PyErr_Occurred() ? -1 : 0;
    }
    o = fl_own(run, o);
    if (!o || fl_is_unknown(st, o))
        return o ? 0 : -1;
    if (fl_has_unknown(run, key, 2) ||
        (Py_TYPE(o) == st->ndarray_type && value && fl_has_unknown(run, value, 2)))
        return fl_poison(run, o);
    int rc = value ? PyObject_SetItem(o, key, fl_see(run, value)) : PyObject_DelItem(o, key);
    if (rc < 0 && (fl_absorb(run) || (value && fl_has_unknown(run, value, 2)))) {
        PyErr_Clear();
        rc = fl_poison(run, o);
    }
    return rc;
}

static int op_store_subscr(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *key = fl_pop(f), *o = fl_pop(f), *value = fl_pop(f);
    int rc = fl_set_item(run, o, key, value);
    Py_DECREF(key);
    Py_DECREF(o);
    Py_DECREF(value);
    return rc;
}

static int op_store_slice(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return with_slice(run, f, op_store_subscr);
}

static int op_delete_subscr(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *key = fl_pop(f), *o = fl_pop(f);
    int rc = fl_set_item(run, o, key, NULL);
    Py_DECREF(key);
    Py_DECREF(o);
    return rc;
}

static PyObject *name_of(struct fl_frame *f, int arg) {
    return PyTuple_GET_ITEM(f->code->code->co_names, arg);
}

static int op_load_attr(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *r = fl_getattr(run, fl_see(run, o), name_of(f, arg));
    Py_DECREF(o);
    if (!r)
        return -1;
    fl_push(f, Py_NewRef(fl_see(run, r)));
    Py_DECREF(r);
    return 0;
}

/* The method of a built-in type, not bound: borrowed; NULL: there is another way. */
static PyObject *plain_method(struct fl_run *run, PyObject *o, PyObject *name) {
    PyTypeObject *type = Py_TYPE(o);
    if (type == &PyList_Type && name == run->st->s_append)
        return run->st->list_append;
    if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) || type->tp_dictoffset ||
        type->tp_getattro != PyObject_GenericGetAttr || !fl_kind(run->st, type))
        return NULL;
    PyObject *method = core_type_lookup(type, name);
    return method && Py_TYPE(method) == &PyMethodDescr_Type ? method : NULL;
}

/* What will be called, without an object of its own: takes r. */
static int push_callable(struct fl_run *run, struct fl_frame *f, PyObject *r) {
    if (!FL_CALLABLE_FIRST)
        fl_push(f, NULL);
    fl_push(f, Py_NewRef(fl_see(run, r)));
    if (FL_CALLABLE_FIRST)
        fl_push(f, NULL);
    Py_DECREF(r);
    return 0;
}

static int op_load_method(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *top = fl_see(run, *fl_at(f, 1)), *method = plain_method(run, top, name_of(f, arg));
    if (method) { /* the method below its object */
        PyObject **at = fl_at(f, 1);
        Py_INCREF(top);
        Py_SETREF(*at, Py_NewRef(method));
        fl_push(f, top);
        return 0;
    }
    PyObject *o = fl_pop(f), *r = fl_getattr(run, fl_see(run, o), name_of(f, arg));
    Py_DECREF(o);
    return r ? push_callable(run, f, r) : -1;
}

/* super().name, in one instruction. */
static int op_load_super_attr(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *self = fl_pop(f), *class = fl_pop(f), *super = fl_pop(f), *r = NULL;
    PyObject *two[2] = {class, fl_see(run, self)};
    if (fl_is_unknown(run->st, two[1]))
        r = fl_unknown(run->st);
    else if (super != (PyObject *)&PySuper_Type)
        fl_stop(run, FL_WHY_OTHER, "super() in an unusual place");
    else
        Py_SETREF(super, PyObject_Vectorcall((PyObject *)&PySuper_Type, two, 2, NULL));
    if (!r && super && !PyErr_Occurred())
        r = fl_getattr(run, super, name_of(f, arg >> 2));
    Py_DECREF(self);
    Py_DECREF(class);
    Py_XDECREF(super);
    if (!r)
        return -1;
    if (arg & 1)
        return push_callable(run, f, r);
    fl_push(f, r);
    return 0;
}

static int op_store_attr(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *value = fl_pop(f);
    int rc = fl_setattr(run, o, name_of(f, arg), value);
    Py_DECREF(o);
    Py_DECREF(value);
    return rc;
}

static int op_delete_attr(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f);
    int rc = fl_setattr(run, o, name_of(f, arg), NULL);
    Py_DECREF(o);
    return rc;
}

void fl_ops_value(fl_op *t) {
    t[BINARY_OP] = op_binary_op;
    t[UNARY_NEGATIVE] = op_negative;
    t[UNARY_POSITIVE] = op_positive;
    t[UNARY_INVERT] = op_invert;
    t[UNARY_NOT] = op_not;
    t[COMPARE_OP] = op_compare;
    t[IS_OP] = op_is;
    t[CONTAINS_OP] = op_contains;
    t[BINARY_SUBSCR] = op_subscr;
    t[STORE_SUBSCR] = op_store_subscr;
    t[BINARY_SLICE] = op_binary_slice;
    t[STORE_SLICE] = op_store_slice;
    t[TO_BOOL] = op_to_bool;
    t[LOAD_SUPER_ATTR] = op_load_super_attr;
    t[DELETE_SUBSCR] = op_delete_subscr;
    t[LOAD_ATTR] = op_load_attr;
    t[LOAD_METHOD] = op_load_method;
    t[STORE_ATTR] = op_store_attr;
    t[DELETE_ATTR] = op_delete_attr;
}
