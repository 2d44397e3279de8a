/* Filling containers and making instances.
 *
 * A plain instance is written as class, NEWOBJ, a dict, BUILD. When the dict holds nothing yet, nobody else has
 * it, BUILD follows and the class has nothing to say about state or attributes, the pairs go straight from the
 * stack into the instance and the dict is never filled. */
#include "unpickler.h"

/* --- lists ----------------------------------------------------------------------------------------------------------- */

static int append_to_other(struct unpickler *u, PyObject *target, Py_ssize_t from) {
    struct pk_state *st = u->st;
    PyObject *method;
    if (PyObject_GetOptionalAttr(target, PK_STR(extend), &method) < 0)
        return -1;
    if (method) {
        PyObject *items = PyList_New(u->sp - from);
        for (Py_ssize_t i = from; items && i < u->sp; i++)
            PyList_SET_ITEM(items, i - from, Py_NewRef(u->stack[i]));
        PyObject *done = items ? PyObject_CallOneArg(method, items) : NULL;
        Py_XDECREF(items);
        Py_DECREF(method);
        Py_XDECREF(done);
        if (!done)
            return -1;
        pk_drop_to(u, from);
        return 0;
    }
    method = PyObject_GetAttr(target, PK_STR(append));
    int rc = method ? 0 : -1;
    for (Py_ssize_t i = from; rc == 0 && i < u->sp; i++) {
        PyObject *done = PyObject_CallOneArg(method, u->stack[i]);
        rc = done ? 0 : -1;
        Py_XDECREF(done);
    }
    Py_XDECREF(method);
    pk_drop_to(u, from);
    return rc;
}

/* The class of a list that was just made says nothing of its own about attributes or extend(). */
static int extends_as_list(struct pk_state *st, PyObject *obj) {
    PyTypeObject *type = Py_TYPE(obj);
    return PyList_Check(obj) && PyList_GET_SIZE(obj) == 0 &&
           type->tp_getattro == PyObject_GenericGetAttr &&
           core_type_lookup(type, PK_STR(extend)) == core_type_lookup(&PyList_Type, PK_STR(extend));
}

/* Values from `from` on go into the list below them. */
int pk_load_appends(struct unpickler *u, Py_ssize_t from) {
    if (from - u->fence < 1)
        return pk_bad(u, "the stack of values is empty");
    Py_ssize_t n = u->sp - from;
    PyObject *list = u->stack[from - 1];
    if (!PyList_CheckExact(list) && !extends_as_list(u->st, list))
        return n ? append_to_other(u, list, from) : 0;
    if (n == 1 && PyList_CheckExact(list)) {
        int rc = PyList_Append(list, u->stack[from]);
        pk_drop_to(u, from);
        return rc;
    }
    if (core_list_steal(list, u->stack + from, n) == 0) {
        u->sp = from;
        return 0;
    }
    PyErr_Clear();
    int rc = 0;
    for (Py_ssize_t i = from; rc == 0 && i < u->sp; i++)
        rc = PyList_Append(list, u->stack[i]);
    pk_drop_to(u, from);
    return rc;
}

/* --- instances ---------------------------------------------------------------------------------------------------------- */

/* Nothing says how state is set: it goes into __dict__ (as BUILD does, whatever __setattr__ says) or into slots. */
enum { HOW_UNKNOWN, HOW_GENERIC, HOW_PLAIN, HOW_SLOTS };

static int judge(struct pk_state *st, PyTypeObject *type) {
    if (type->tp_getattro != PyObject_GenericGetAttr ||
        core_type_lookup(type, PK_STR(__setstate__)))
        return HOW_GENERIC;
    return core_type_has_dict(type) ? HOW_PLAIN : HOW_SLOTS;
}

static int how_of(struct pk_state *st, PyTypeObject *type) {
    struct pk_type_note *note = pk_type_slot(st->load_notes, type);
    if (note->type == type && core_type_version_is(type, note->version))
        return note->how;
    int how = judge(st, type);
    note->type = type;
    note->version = pk_type_version(type);
    note->how = (uint8_t)how;
    return how;
}

/* Replaces a name by the interned string equal to it. The same string object comes again and again from the
 * memo, so what was found for it is kept. */
static int intern(struct unpickler *u, PyObject **name) {
    if (!u->interned && !(u->interned = PyMem_Calloc(PK_INTERNED, sizeof *u->interned))) {
        PyErr_NoMemory();
        return -1;
    }
    struct pk_interned *slot = &u->interned[((uintptr_t)*name >> 5) % PK_INTERNED];
    if (slot->raw != *name) {
        PyObject *canonical = Py_NewRef(*name);
        PyUnicode_InternInPlace(&canonical);
        Py_XSETREF(slot->raw, Py_NewRef(*name));
        Py_XSETREF(slot->canonical, canonical);
    }
    Py_SETREF(*name, Py_NewRef(slot->canonical));
    return 0;
}

/* The pairs from `from` on become attributes of obj. */
static int set_pairs(struct unpickler *u, PyObject *obj, Py_ssize_t from) {
    PyTypeObject *type = Py_TYPE(obj);
    for (Py_ssize_t i = from; i < u->sp; i += 2) {
        PyObject *key = u->stack[i];
        if (PyUnicode_CheckExact(key)) {
            if (!PyUnicode_CHECK_INTERNED(key) && intern(u, &u->stack[i]) < 0)
                return -1;
            key = u->stack[i];
            PyObject *descr = core_type_lookup(type, key);
            if (!descr || !Py_TYPE(descr)->tp_descr_set) {
                if (PyObject_GenericSetAttr(obj, key, u->stack[i + 1]) < 0)
                    return -1;
                continue;
            }
        }
        PyObject *dict = PyObject_GenericGetDict(obj, NULL);
        int rc = dict ? PyObject_SetItem(dict, key, u->stack[i + 1]) : -1;
        Py_XDECREF(dict);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* 1: the pairs went into the instance, BUILD is done; 0: not possible; -1 */
static int build_directly(struct unpickler *u, PyObject *dict, Py_ssize_t from) {
    if (u->cur >= u->end || *u->cur != OP_BUILD || from - 2 < u->fence || !core_only_ref(dict))
        return 0;
    PyObject *obj = u->stack[from - 2];
    if (how_of(u->st, Py_TYPE(obj)) != HOW_PLAIN)
        return 0;
    u->cur++;
    int rc = set_pairs(u, obj, from);
    pk_drop_to(u, from - 1);
    return rc < 0 ? -1 : 1;
}

int pk_load_setitems(struct unpickler *u, Py_ssize_t from) {
    Py_ssize_t n = u->sp - from;
    if (from - u->fence < 1)
        return pk_bad(u, "the stack of values is empty");
    if (n % 2)
        return pk_bad(u, "odd number of items for SETITEMS");
    PyObject *dict = u->stack[from - 1];
    int rc = 0;
    if (PyDict_CheckExact(dict)) {
        if (PyDict_GET_SIZE(dict) == 0 && (rc = build_directly(u, dict, from)) != 0)
            return rc < 0 ? -1 : 0;
        for (Py_ssize_t i = from; rc == 0 && i < u->sp; i += 2)
            rc = PyDict_SetItem(dict, u->stack[i], u->stack[i + 1]);
    } else {
        for (Py_ssize_t i = from; rc == 0 && i < u->sp; i += 2)
            rc = PyObject_SetItem(dict, u->stack[i], u->stack[i + 1]);
    }
    pk_drop_to(u, from);
    return rc;
}

int pk_load_additems(struct unpickler *u) {
    Py_ssize_t from = pk_pop_mark(u);
    if (from < 0)
        return -1;
    if (from - u->fence < 1)
        return pk_bad(u, "the stack of values is empty");
    PyObject *set = u->stack[from - 1];
    int rc = 0;
    if (PySet_CheckExact(set)) {
        for (Py_ssize_t i = from; rc == 0 && i < u->sp; i++)
            rc = PySet_Add(set, u->stack[i]);
    } else {
        PyObject *method = PyObject_GetAttr(set, u->st->str[PK_STR_add]);
        rc = method ? 0 : -1;
        for (Py_ssize_t i = from; rc == 0 && i < u->sp; i++) {
            PyObject *done = PyObject_CallOneArg(method, u->stack[i]);
            rc = done ? 0 : -1;
            Py_XDECREF(done);
        }
        Py_XDECREF(method);
    }
    pk_drop_to(u, from);
    return rc;
}

static int new_instance(struct unpickler *u, PyObject *cls, PyObject *args, PyObject *kwargs) {
    if (!PyType_Check(cls)) {
        core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR,
                   "NEWOBJ class argument must be a type, not %.200s", Py_TYPE(cls)->tp_name);
        return -1;
    }
    PyTypeObject *type = (PyTypeObject *)cls;
    if (!type->tp_new) {
        core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR,
                   "NEWOBJ class argument '%.200s' doesn't have __new__", type->tp_name);
        return -1;
    }
    if (!PyTuple_Check(args))
        return pk_bad(u, "NEWOBJ expected an arg tuple");
    PyObject *obj = type->tp_new(type, args, kwargs);
    if (!obj)
        return -1;
    return pk_push_value(u, obj);
}

int pk_load_newobj(struct unpickler *u) {
    if (pk_need(u, 2) < 0)
        return -1;
    PyObject *args = u->stack[--u->sp], *cls = u->stack[--u->sp];
    int rc = new_instance(u, cls, args, NULL);
    Py_DECREF(args);
    Py_DECREF(cls);
    return rc;
}

int pk_load_newobj_ex(struct unpickler *u) {
    if (pk_need(u, 3) < 0)
        return -1;
    PyObject *kwargs = u->stack[--u->sp], *args = u->stack[--u->sp], *cls = u->stack[--u->sp];
    int rc = PyDict_Check(kwargs) ? new_instance(u, cls, args, kwargs)
                                  : pk_bad(u, "NEWOBJ_EX expected a dict of keyword arguments");
    Py_DECREF(kwargs);
    Py_DECREF(args);
    Py_DECREF(cls);
    return rc;
}

int pk_load_reduce(struct unpickler *u) {
    if (pk_need(u, 2) < 0)
        return -1;
    PyObject *args = u->stack[--u->sp], *func = u->stack[--u->sp], *obj = NULL;
    if (PyTuple_Check(args))
        obj = PyObject_Call(func, args, NULL);
    else
        PyErr_Format(PyExc_TypeError, "argument list must be a tuple, not %.200s",
                     Py_TYPE(args)->tp_name);
    Py_DECREF(args);
    Py_DECREF(func);
    return pk_push_value(u, obj);
}

/* --- BUILD ----------------------------------------------------------------------------------------------------------------- */

static int update_dict(struct pk_state *st, PyObject *obj, PyObject *state) {
    PyObject *dict = PyObject_GetAttr(obj, st->str[PK_STR___dict__]), *key, *value;
    Py_ssize_t pos = 0;
    int rc = dict ? 0 : -1;
    while (rc == 0 && PyDict_Next(state, &pos, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        if (PyUnicode_CheckExact(key))
            PyUnicode_InternInPlace(&key);
        rc = PyObject_SetItem(dict, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
    }
    Py_XDECREF(dict);
    return rc;
}

static int set_slots(PyObject *obj, PyObject *slots) {
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    while (PyDict_Next(slots, &pos, &key, &value)) {
        Py_INCREF(key);
        Py_INCREF(value);
        int rc = PyObject_SetAttr(obj, key, value);
        Py_DECREF(key);
        Py_DECREF(value);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Gives obj its state; both stay the caller's. */
static int build(struct unpickler *u, PyObject *obj, PyObject *state) {
    struct pk_state *st = u->st;
    PyObject *setstate = NULL, *slots = NULL;
    if (how_of(st, Py_TYPE(obj)) == HOW_GENERIC &&
        PyObject_GetOptionalAttr(obj, PK_STR(__setstate__), &setstate) < 0)
        return -1;
    if (setstate) {
        PyObject *done = PyObject_CallOneArg(setstate, state);
        Py_DECREF(setstate);
        Py_XDECREF(done);
        return done ? 0 : -1;
    }
    if (PyTuple_Check(state) && PyTuple_GET_SIZE(state) == 2) {
        slots = PyTuple_GET_ITEM(state, 1);
        state = PyTuple_GET_ITEM(state, 0);
    }
    if (state != Py_None) {
        if (!PyDict_Check(state))
            return pk_bad(u, "state is not a dictionary");
        if (update_dict(st, obj, state) < 0)
            return -1;
    }
    if (!slots || slots == Py_None)
        return 0;
    if (!PyDict_Check(slots))
        return pk_bad(u, "slot state is not a dictionary");
    return set_slots(obj, slots);
}

int pk_load_build(struct unpickler *u) {
    if (pk_need(u, 2) < 0)
        return -1;
    PyObject *state = u->stack[--u->sp];
    int rc = build(u, u->stack[u->sp - 1], state);
    Py_DECREF(state);
    return rc;
}

/* --- instances of protocol 0 and 1 --------------------------------------------------------------------------------------------- */

static PyObject *instantiate(struct unpickler *u, PyObject *cls, PyObject *args) {
    struct pk_state *st = u->st;
    if (PyTuple_GET_SIZE(args) == 0 && PyType_Check(cls)) {
        PyObject *method;
        if (PyObject_GetOptionalAttr(cls, PK_STR(__getinitargs__), &method) < 0)
            return NULL;
        if (!method)
            return PyObject_CallMethodOneArg(cls, PK_STR(__new__), cls);
        Py_DECREF(method);
    }
    return PyObject_CallObject(cls, args);
}

static PyObject *take_args(struct unpickler *u, Py_ssize_t from) {
    PyObject *args = PyTuple_New(u->sp - from);
    if (!args)
        return NULL;
    for (Py_ssize_t i = from; i < u->sp; i++)
        PyTuple_SET_ITEM(args, i - from, u->stack[i]);
    u->sp = from;
    return args;
}

int pk_load_obj(struct unpickler *u) {
    Py_ssize_t from = pk_pop_mark(u);
    if (from < 0)
        return -1;
    if (u->sp - from < 1)
        return pk_bad(u, "the stack of values is empty");
    PyObject *args = take_args(u, from + 1);
    PyObject *cls = u->stack[--u->sp];
    PyObject *obj = args ? instantiate(u, cls, args) : NULL;
    Py_DECREF(cls);
    Py_XDECREF(args);
    return pk_push_value(u, obj);
}

int pk_load_inst(struct unpickler *u) {
    Py_ssize_t from = pk_pop_mark(u);
    if (from < 0)
        return -1;
    PyObject *cls = pk_read_class(u);
    PyObject *args = cls ? take_args(u, from) : NULL;
    PyObject *obj = args ? instantiate(u, cls, args) : NULL;
    Py_XDECREF(cls);
    Py_XDECREF(args);
    return pk_push_value(u, obj);
}
