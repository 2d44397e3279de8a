/* Private copies. What a pass changes it copies first, one level deep, and from then on sees the copy wherever
 * the original is met (forward). An object that cannot be copied plainly, or whose contents depend on something that
 * is not known, is Unknown from then on. */
#include "flow.h"

enum { COPY_BYTES_MAX = 1 << 20, COPY_ITEMS_MAX = 1 << 20, SETTLE_DEPTH = 200 };

int fl_kind(struct flow_state *st, PyTypeObject *type) {
    struct fl_seen *seen = &st->seen.types[fl_seen_at(type)];
    if (seen->key != type) {
        PyObject *kind = PyDict_GetItemWithError(st->pure_types, (PyObject *)type);
        seen->value = kind ? (int)PyLong_AsLong(kind) : 0;
        seen->key = type;
    }
    return seen->value ? seen->value : fl_like_tuple(type) ? FL_SEQ : 0;
}

int fl_like_tuple(PyTypeObject *type) {
    return type->tp_base == &PyTuple_Type && PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
           type->tp_iter == PyTuple_Type.tp_iter && type->tp_hash == PyTuple_Type.tp_hash &&
           type->tp_richcompare == PyTuple_Type.tp_richcompare &&
           type->tp_getattro == PyObject_GenericGetAttr && !core_type_has_dict(type) &&
           type->tp_as_mapping->mp_subscript == PyTuple_Type.tp_as_mapping->mp_subscript;
}

int fl_user_class(struct flow_state *st, PyTypeObject *type) {
    (void)st;
    return PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
           type->tp_new == PyBaseObject_Type.tp_new && !type->tp_del && !type->tp_finalize &&
           type->tp_itemsize == 0 && core_type_has_dict(type) &&
           type->tp_basicsize <=
               PyBaseObject_Type.tp_basicsize + 2 * (Py_ssize_t)sizeof(PyObject *) &&
           type->tp_basicsize == core_plain_basicsize(type);
}

int fl_mark_owned(struct fl_run *run, PyObject *o) {
    return fl_map_set(&run->owned, o, NULL);
}

PyObject *fl_mine(struct fl_run *run, PyObject *o) {
    if (o && fl_mark_owned(run, o) < 0)
        Py_CLEAR(o);
    return o;
}

/* The memory of an array: 1 its own, or that of an array which is ours; 0 somebody else's. */
static int has_own_memory(struct fl_run *run, PyObject *array) {
    PyObject *base = PyObject_GetAttrString(array, "base");
    int rc = base && (base == Py_None || fl_map_has(&run->owned, base));
    if (!base)
        PyErr_Clear();
    Py_XDECREF(base);
    return rc;
}

PyObject *fl_fresh(struct fl_run *run, PyObject *o) {
    int kind = o && core_only_ref(o) ? fl_kind(run->st, Py_TYPE(o)) : 0;
    if (kind != FL_MUTABLE && kind != FL_ITER)
        return o;
    if (Py_TYPE(o) == run->st->ndarray_type && !has_own_memory(run, o))
        return o;
    return fl_mine(run, o);
}

static PyObject *copy_instance(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject *none = PyTuple_New(0), *dict = PyObject_GenericGetDict(o, NULL), *copy = NULL;
    if (none && dict)
        copy = PyBaseObject_Type.tp_new(type, none, NULL);
    PyObject *twin = copy ? PyObject_GenericGetDict(copy, NULL) : NULL;
    if (copy && (!twin || PyDict_Update(twin, dict) < 0))
        Py_CLEAR(copy);
    Py_XDECREF(none);
    Py_XDECREF(dict);
    Py_XDECREF(twin);
    return copy;
}

static PyObject *copy_namespace(PyObject *o) {
    PyObject *dict = PyObject_GetAttrString(o, "__dict__"), *none = PyTuple_New(0), *copy = NULL;
    if (dict && none)
        copy = PyObject_Call((PyObject *)Py_TYPE(o), none, dict);
    Py_XDECREF(dict);
    Py_XDECREF(none);
    return copy;
}

static PyObject *copy_array(PyObject *o) {
    PyObject *size = PyObject_GetAttrString(o, "nbytes");
    Py_ssize_t n = size ? PyLong_AsSsize_t(size) : -1;
    Py_XDECREF(size);
    if (n < 0 || n > COPY_BYTES_MAX)
        return NULL;
    return PyObject_CallMethod(o, "copy", NULL);
}

/* NULL with or without an exception: cannot be copied. */
static PyObject *copy(struct fl_run *run, PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    if (PyList_CheckExact(o))
        return PyList_GET_SIZE(o) > COPY_ITEMS_MAX ? NULL
                                                   : PyList_GetSlice(o, 0, PyList_GET_SIZE(o));
    if (PyDict_CheckExact(o))
        return PyDict_GET_SIZE(o) > COPY_ITEMS_MAX ? NULL : PyDict_Copy(o);
    if (PySet_CheckExact(o))
        return PySet_New(o);
    if (PyCell_Check(o))
        return PyCell_New(PyCell_GET(o));
    if (PyByteArray_CheckExact(o))
        return PyByteArray_FromObject(o);
    if (type == run->st->ndarray_type)
        return copy_array(o);
    if (fl_kind(run->st, type) == FL_MUTABLE) {
        if (PyType_IsSubtype(type, &PyBaseObject_Type) &&
            strcmp(type->tp_name, "types.SimpleNamespace") == 0)
            return copy_namespace(o);
        fl_session_trust(run->session, 1);
        PyObject *twin = PyObject_CallMethod(o, "copy", NULL);
        fl_session_trust(run->session, -1);
        return twin;
    }
    if (fl_kind(run->st, type) == FL_ITER || PyGen_CheckExact(o) || PyCoro_CheckExact(o) ||
        PyAsyncGen_CheckExact(o))
        return fl_iter_copy(run, o);
    if (fl_user_class(run->st, type))
        return copy_instance(o);
    return NULL;
}

static PyObject *own(struct fl_run *run, PyObject *o) {
    PyObject *twin = copy(run, o);
    if (!twin) {
        if (PyErr_Occurred()) {
            if (PyErr_ExceptionMatches(run->st->stop))
                return NULL;
            PyErr_Clear();
        }
        twin = fl_unknown(run->st);
    }
    if (!twin || fl_map_set(&run->forward, o, twin) < 0 || fl_mark_owned(run, twin) < 0)
        Py_CLEAR(twin);
    Py_XDECREF(twin); /* the maps hold it */
    return twin;
}

static const char *const known_modules[] = {
    "contextlib", "functools",     "collections", "heapq", "bisect",   "copy",     "statistics",
    "fractions",  "decimal",       "types",       "abc",   "string",   "textwrap", "operator",
    "numbers",    "asyncio.locks", "dataclasses", "enum",  "datetime", "calendar", "reprlib",
    "keyword",    "posixpath",     "genericpath", NULL};

static int of_known_module(PyObject *globals) {
    PyObject *name = PyDict_GetItemString(globals, "__name__");
    for (int i = 0; name && PyUnicode_Check(name) && known_modules[i]; i++)
        if (PyUnicode_CompareWithASCIIString(name, known_modules[i]) == 0)
            return 1;
    return 0;
}

int fl_is_barrier(struct fl_run *run, struct fl_code *c, PyObject *globals) {
    if (c->known < 0)
        c->known = of_known_module(globals);
    return !c->local && !c->known && !(c->code->co_flags & CO_COROUTINE) &&
           !fl_is_scheduled(run->st, c->code);
}

int fl_effect(struct fl_run *run) {
    return run->barrier ? fl_stop(run, FL_WHY_BARRIER, "a module-level function has effects") : 0;
}

PyObject *fl_own(struct fl_run *run, PyObject *o) {
    o = fl_see(run, o);
    if (fl_is_unknown(run->st, o) || fl_map_has(&run->owned, o))
        return o;
    if (!PyCell_Check(o) && fl_effect(run) < 0)
        return NULL;
    return own(run, o);
}

int fl_poison(struct fl_run *run, PyObject *o) {
    o = fl_see(run, o);
    if (!o || fl_is_unknown(run->st, o) || fl_kind(run->st, Py_TYPE(o)) == FL_ATOM ||
        PyModule_Check(o) || PyType_Check(o) || PyFunction_Check(o) || PyCFunction_Check(o))
        return 0;
    PyObject *u = fl_unknown(run->st);
    int rc = u ? fl_map_set(&run->forward, o, u) : -1;
    Py_XDECREF(u);
    return rc;
}

/* --- looking inside -------------------------------------------------------------------------------------- */

int fl_has_unknown(struct fl_run *run, PyObject *o, int depth) {
    o = fl_see(run, o);
    if (!o)
        return 0;
    if (fl_is_unknown(run->st, o))
        return 1;
    if (depth <= 0)
        return 0;
    if (PyTuple_Check(o) || PyList_CheckExact(o)) {
        for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(o); i++)
            if (fl_has_unknown(run, PySequence_Fast_GET_ITEM(o, i), depth - 1))
                return 1;
    } else if (PyDict_CheckExact(o)) {
        PyObject *key, *value;
        Py_ssize_t pos = 0;
        while (PyDict_Next(o, &pos, &key, &value))
            if (fl_has_unknown(run, value, depth - 1))
                return 1;
    }
    return 0;
}

enum { PLAIN_ITEMS = 4096 };

static int plain(struct fl_run *run, PyObject *o, int depth, int *left) {
    o = fl_see(run, o);
    if (!o || fl_is_unknown(run->st, o) || o == Py_None)
        return 1;
    int kind = fl_kind(run->st, Py_TYPE(o));
    if (kind == FL_ATOM || Py_TYPE(o) == run->st->gen_type || Py_TYPE(o) == run->st->seq_type)
        return 1;
    if (kind == 0 && PyType_HasFeature(Py_TYPE(o), Py_TPFLAGS_HEAPTYPE))
        return 0;
    if (depth <= 0 || --*left < 0)
        return 0;
    if (PyTuple_CheckExact(o) || PyList_CheckExact(o)) {
        Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
        for (Py_ssize_t i = 0; i < n; i++) {
            PyObject *item = PySequence_Fast_GET_ITEM(o, i);
            if ((PyLong_CheckExact(item) || PyFloat_CheckExact(item) || PyUnicode_CheckExact(item)))
                continue;
            if (!plain(run, item, depth - 1, left))
                return 0;
        }
        return 1;
    }
    if (PyDict_Check(o)) {
        PyObject *key, *value;
        Py_ssize_t pos = 0;
        while (PyDict_Next(o, &pos, &key, &value))
            if (!plain(run, value, depth - 1, left))
                return 0;
        return 1;
    }
    return kind != 0 || PyExceptionInstance_Check(o) || PyType_Check(o) || PyFunction_Check(o) ||
           PyCFunction_Check(o) || PyModule_Check(o);
}

int fl_plain(struct fl_run *run, PyObject *o, int depth) {
    int left = PLAIN_ITEMS;
    return plain(run, o, depth, &left);
}

/* --- settling ------------------------------------------------------------------------------------------------ */

struct settle {
    struct fl_run *run;
    struct fl_map seen;
    int depth, unknown;
};
static PyObject *settle(struct settle *s, PyObject *o);

/* No pass can have changed it. */
static inline int is_constant(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    return type == &PyFloat_Type || type == &PyLong_Type || type == &PyUnicode_Type ||
           o == Py_None || type == &PyBool_Type || type == &PyBytes_Type;
}

/* o or the private copy that may be changed: borrowed. */
static PyObject *changeable(struct settle *s, PyObject *o) {
    return fl_map_has(&s->run->owned, o) ? o : own(s->run, o);
}

static PyObject *settle_list(struct settle *s, PyObject *o) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(o); i++) {
        PyObject *item = PyList_GET_ITEM(o, i), *now;
        if (is_constant(item))
            continue;
        now = settle(s, item);
        if (now && now != item) {
            o = changeable(s, o);
            if (!o || !PyList_CheckExact(o)) {
                Py_DECREF(now);
                s->unknown = 1;
                return Py_XNewRef(o);
            }
            PyList_SetItem(o, i, Py_NewRef(now));
        }
        if (!now)
            return NULL;
        Py_DECREF(now);
        if (s->unknown)
            break;
    }
    return Py_NewRef(o);
}

static PyObject *settle_tuple(struct settle *s, PyObject *o) {
    Py_ssize_t n = PyTuple_GET_SIZE(o);
    PyObject *made = NULL;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *item = PyTuple_GET_ITEM(o, i), *now;
        if (is_constant(item))
            continue;
        now = settle(s, item);
        if (!now) {
            Py_XDECREF(made);
            return NULL;
        }
        if (now != item && !made) {
            made = PyTuple_New(n);
            for (Py_ssize_t j = 0; made && j < n; j++)
                PyTuple_SET_ITEM(made, j, Py_NewRef(PyTuple_GET_ITEM(o, j)));
        }
        if (made)
            PyTuple_SetItem(made, i, Py_NewRef(now));
        Py_DECREF(now);
    }
    return made ? made : Py_NewRef(o);
}

/* Values only: keys are immutable. Returns a borrowed dict, NULL: exception. */
static PyObject *settle_values(struct settle *s, PyObject *dict, PyObject *holder, int *changed) {
    PyObject *keys = PyDict_Keys(dict);
    for (Py_ssize_t i = 0; keys && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i), *value = PyDict_GetItemWithError(dict, key);
        PyObject *now = value ? settle(s, value) : NULL;
        if (!now) {
            Py_CLEAR(keys);
            break;
        }
        if (now != value) {
            if (!*changed) {
                *changed = 1;
                holder = changeable(s, holder);
                if (holder && PyDict_Check(holder))
                    dict = holder;
                else if (holder && !fl_is_unknown(s->run->st, holder)) {
                    dict = PyObject_GenericGetDict(holder, NULL);
                    Py_XDECREF(dict);
                } else {
                    dict = NULL;
                }
            }
            if (!dict || PyDict_SetItem(dict, key, now) < 0) {
                s->unknown = 1;
                PyErr_Clear();
                Py_DECREF(now);
                break;
            }
        }
        Py_DECREF(now);
    }
    Py_XDECREF(keys);
    return keys ? holder : NULL;
}

static PyObject *settle_holder(struct settle *s, PyObject *o) {
    PyObject *dict = PyDict_Check(o) ? Py_NewRef(o) : PyObject_GenericGetDict(o, NULL);
    int changed = 0;
    if (!dict) {
        PyErr_Clear();
        return Py_NewRef(o);
    }
    PyObject *now = settle_values(s, dict, o, &changed);
    Py_DECREF(dict);
    return now ? Py_NewRef(now) : NULL;
}

static PyObject *settle(struct settle *s, PyObject *o) {
    if (is_constant(o))
        return Py_NewRef(o);
    o = fl_see(s->run, o);
    if (fl_is_unknown(s->run->st, o)) {
        s->unknown = 1;
        return Py_NewRef(o);
    }
    PyTypeObject *type = Py_TYPE(o);
    if (s->unknown)
        return Py_NewRef(o);
    int list = PyList_CheckExact(o), tuple = PyTuple_CheckExact(o);
    if (!list && !tuple && !PyDict_Check(o) && !fl_user_class(s->run->st, type) &&
        strcmp(type->tp_name, "types.SimpleNamespace") != 0) {
        /* Other containers are taken as they are, unless something in them may be stale. */
        if (PyTuple_Check(o)) {
            for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o) && !s->unknown; i++) {
                PyObject *now = settle(s, PyTuple_GET_ITEM(o, i));
                if (!now)
                    return NULL;
                s->unknown |= now != PyTuple_GET_ITEM(o, i);
                Py_DECREF(now);
            }
        } else if (strcmp(type->tp_name, "collections.deque") == 0) {
            PyObject *items = PySequence_List(o);
            if (items && fl_has_unknown(s->run, items, 4))
                s->unknown = 1;
            Py_XDECREF(items);
        }
        return Py_NewRef(o);
    }
    if (fl_map_has(&s->seen, o))
        return Py_NewRef(o);
    if (s->depth >= SETTLE_DEPTH) {
        s->unknown = 1;
        return Py_NewRef(o);
    }
    if (fl_map_set(&s->seen, o, NULL) < 0)
        return NULL;
    s->depth++;
    PyObject *now = list ? settle_list(s, o) : tuple ? settle_tuple(s, o) : settle_holder(s, o);
    s->depth--;
    return now;
}

PyObject *fl_settle(struct fl_run *run, PyObject *o, int *unknown) {
    struct settle s = {.run = run};
    PyObject *now = settle(&s, o);
    fl_map_clear(&s.seen);
    if (s.unknown)
        *unknown = 1;
    return now;
}
