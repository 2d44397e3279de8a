/* Attributes, and what else goes by the class of an object: methods in Python, truth. */
#include "flow.h"

static int is_python(PyObject *o) {
    return PyFunction_Check(o);
}

PyObject *fl_call_method(struct fl_run *run, PyObject *o, const char *name, PyObject *const *args,
                         Py_ssize_t nargs, int *found) {
    *found = 0;
    PyObject *key = PyUnicode_InternFromString(name);
    PyObject *method = key ? core_type_lookup(Py_TYPE(o), key) : NULL;
    Py_XDECREF(key);
    if (!method || !is_python(method) || nargs > 3)
        return NULL;
    *found = 1;
    PyObject *flat[4] = {o};
    for (Py_ssize_t i = 0; i < nargs; i++)
        flat[i + 1] = args[i];
    Py_INCREF(method);
    PyObject *r = fl_call(run, method, flat, nargs + 1, NULL);
    Py_DECREF(method);
    return r;
}

int fl_truth(struct fl_run *run, PyObject *o) {
    struct flow_state *st = run->st;
    o = fl_see(run, o);
    if (o == Py_True)
        return 1;
    if (o == Py_False || o == Py_None)
        return 0;
    if (fl_is_unknown(st, o))
        return -2;
    int truth, found;
    if (fl_kind(st, Py_TYPE(o))) {
        truth = PyObject_IsTrue(o);
        return truth < 0 && fl_absorb(run) ? -2 : truth;
    }
    PyObject *r = fl_call_method(run, o, "__bool__", NULL, 0, &found);
    if (!r && !PyErr_Occurred())
        r = fl_call_method(run, o, "__len__", NULL, 0, &found);
    if (!r && PyErr_Occurred())
        return -1;
    if (!r) {
        PyTypeObject *t = Py_TYPE(o);
        if (PyFunction_Check(o) || PyType_Check(o) || PyModule_Check(o) ||
            (!(t->tp_as_number && t->tp_as_number->nb_bool) &&
             !(t->tp_as_mapping && t->tp_as_mapping->mp_length) &&
             !(t->tp_as_sequence && t->tp_as_sequence->sq_length)))
            return 1;
        return -2;
    }
    truth = fl_is_unknown(st, r) ? -2 : PyObject_IsTrue(r);
    Py_DECREF(r);
    return truth;
}

static PyObject *unknown_attribute(struct fl_run *run, const char *what) {
    fl_stop(run, FL_WHY_OTHER, what);
    return NULL;
}

/* An object of a class in Python, or of any type that looks attributes up in the ordinary way. */
static PyObject *ordinary(struct fl_run *run, PyObject *o, PyObject *name) {
    PyObject *found = core_type_lookup(Py_TYPE(o), name);
    if (found && Py_TYPE(found) == &PyProperty_Type) {
        PyObject *getter = PyObject_GetAttrString(found, "fget");
        PyObject *r = getter && is_python(getter) ? fl_call(run, getter, &o, 1, NULL) : NULL;
        if (!r && !PyErr_Occurred())
            unknown_attribute(run, "a property that is not Python's");
        Py_XDECREF(getter);
        return r;
    }
    if (found && !is_python(found) && Py_TYPE(found)->tp_descr_get &&
        PyType_HasFeature(Py_TYPE(found), Py_TPFLAGS_HEAPTYPE) &&
        Py_TYPE(found) != run->st->functional_type && Py_TYPE(found) != run->st->schedule_type)
        return unknown_attribute(run, "a descriptor of an unknown type");
    return PyObject_GenericGetAttr(o, name);
}

PyObject *fl_getattr(struct fl_run *run, PyObject *o, PyObject *name) {
    struct flow_state *st = run->st;
    if (PyGen_CheckExact(o) && !(o = fl_own(run, o)))
        return NULL;
    PyTypeObject *type = Py_TYPE(o);
    if (fl_is_unknown(st, o))
        return fl_unknown(st);
    if (fl_kind(st, type) || PyModule_Check(o) || PyType_Check(o) || PyFunction_Check(o) ||
        PyMethod_Check(o) || PyCFunction_Check(o) || type == &PySuper_Type) {
        PyObject *r = PyObject_GetAttr(o, name);
        if (type == st->ndarray_type)
            r = fl_fresh(run, r);
        return r;
    }
    if (type->tp_getattro == PyObject_GenericGetAttr)
        return ordinary(run, o, name);
    if (core_type_lookup(type, st->s_getattribute) !=
        core_type_lookup(&PyBaseObject_Type, st->s_getattribute))
        return unknown_attribute(run, "an object that looks attributes up itself");
    PyObject *r = ordinary(run, o, name); /* the class has __getattr__ */
    if (r || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return r;
    PyErr_Clear();
    int found;
    r = fl_call_method(run, o, "__getattr__", &name, 1, &found);
    return r || PyErr_Occurred()
               ? r
               : unknown_attribute(run, "an object that looks attributes up itself");
}

int fl_setattr(struct fl_run *run, PyObject *o, PyObject *name, PyObject *value) {
    o = fl_see(run, o);
    if (fl_is_unknown(run->st, o))
        return 0;
    PyTypeObject *type = Py_TYPE(o);
    if (PyFunction_Check(o) && fl_map_has(&run->owned, o)) { /* functools.wraps does it */
        value = value ? fl_see(run, value) : NULL;
        return value && fl_is_unknown(run->st, value) ? 0 : PyObject_GenericSetAttr(o, name, value);
    }
    if (PyModule_Check(o) || PyType_Check(o) || PyFunction_Check(o) ||
        type->tp_setattro != PyObject_GenericSetAttr)
        return fl_stop(run, FL_WHY_BARRIER,
                       "changes an attribute of a module, a class or a function");
    PyObject *found = core_type_lookup(type, name);
    if (found && Py_TYPE(found) == &PyProperty_Type) {
        PyObject *setter = PyObject_GetAttrString(found, value ? "fset" : "fdel"),
                 *args[2] = {o, value};
        PyObject *r =
            setter && is_python(setter) ? fl_call(run, setter, args, value ? 2 : 1, NULL) : NULL;
        Py_XDECREF(setter);
        if (!r && !PyErr_Occurred())
            return fl_stop(run, FL_WHY_OTHER, "a property that is not Python's");
        Py_XDECREF(r);
        return r ? 0 : -1;
    }
    if (found && Py_TYPE(found)->tp_descr_set &&
        PyType_HasFeature(Py_TYPE(found), Py_TPFLAGS_HEAPTYPE))
        return fl_stop(run, FL_WHY_OTHER, "a descriptor of an unknown type");
    o = fl_own(run, o);
    if (!o || fl_is_unknown(run->st, o))
        return o ? 0 : -1;
    return PyObject_GenericSetAttr(o, name, value ? fl_see(run, value) : NULL);
}
