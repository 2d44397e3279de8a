/* Instructions that build and take apart containers, strings and functions. */
#include "flow.h"
#include "opcodes.h"

static PyObject *take_tuple(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *tuple = PyTuple_New(n);
    for (int i = n - 1; i >= 0; i--) {
        PyObject *o = fl_pop(f);
        if (tuple)
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(fl_see(run, o)));
        Py_DECREF(o);
    }
    return tuple;
}

static int push(struct fl_frame *f, PyObject *o) {
    if (!o)
        return -1;
    fl_push(f, o);
    return 0;
}

static int op_build_tuple(struct fl_run *run, struct fl_frame *f, int n) {
    return push(f, take_tuple(run, f, n));
}

static int op_build_list(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *tuple = take_tuple(run, f, n), *list = tuple ? PySequence_List(tuple) : NULL;
    Py_XDECREF(tuple);
    return push(f, fl_mine(run, list));
}

static int op_build_set(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *tuple = take_tuple(run, f, n), *set = tuple ? PySet_New(tuple) : NULL;
    Py_XDECREF(tuple);
    if (!set && fl_absorb(run))
        return push(f, fl_unknown(run->st));
    return push(f, fl_mine(run, set));
}

static int op_build_map(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *flat = take_tuple(run, f, 2 * n), *map = PyDict_New();
    for (int i = 0; flat && map && i < n; i++)
        if (PyDict_SetItem(map, PyTuple_GET_ITEM(flat, 2 * i), PyTuple_GET_ITEM(flat, 2 * i + 1)) <
            0)
            Py_CLEAR(map);
    Py_XDECREF(flat);
    if (!map && fl_absorb(run))
        return push(f, fl_unknown(run->st));
    return push(f, fl_mine(run, map));
}

static int op_build_const_key_map(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *keys = fl_pop(f), *values = take_tuple(run, f, n), *map = PyDict_New();
    for (int i = 0; values && map && i < n; i++)
        if (PyDict_SetItem(map, PyTuple_GET_ITEM(keys, i), PyTuple_GET_ITEM(values, i)) < 0)
            Py_CLEAR(map);
    Py_DECREF(keys);
    Py_XDECREF(values);
    return push(f, fl_mine(run, map));
}

static int op_build_slice(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *parts = take_tuple(run, f, n), *r = NULL;
    if (parts && fl_has_unknown(run, parts, 1))
        r = fl_unknown(run->st);
    else if (parts)
        r = PySlice_New(PyTuple_GET_ITEM(parts, 0), PyTuple_GET_ITEM(parts, 1),
                        n == 3 ? PyTuple_GET_ITEM(parts, 2) : NULL);
    Py_XDECREF(parts);
    return push(f, r);
}

static int op_build_string(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *parts = take_tuple(run, f, n), *empty = PyUnicode_New(0, 0), *r = NULL;
    if (parts && fl_has_unknown(run, parts, 1))
        r = fl_unknown(run->st);
    else if (parts && empty)
        r = PyUnicode_Join(empty, parts);
    Py_XDECREF(parts);
    Py_XDECREF(empty);
    return push(f, r);
}

static int op_format_value(struct fl_run *run, struct fl_frame *f, int flags) {
    PyObject *spec = flags & 4 ? fl_pop(f) : NULL, *o = fl_pop(f), *value = fl_see(run, o),
             *r = NULL;
    if (fl_is_unknown(run->st, value) || (spec && fl_is_unknown(run->st, spec)) ||
        !fl_plain(run, value, 4)) {
        r = fl_unknown(run->st);
    } else {
        PyObject *text = (flags & 3) == 1   ? PyObject_Str(value)
                         : (flags & 3) == 2 ? PyObject_Repr(value)
                         : (flags & 3) == 3 ? PyObject_ASCII(value)
                                            : Py_NewRef(value);
        r = text ? PyObject_Format(text, spec) : NULL;
        Py_XDECREF(text);
        if (!r && fl_absorb(run))
            r = fl_unknown(run->st);
    }
    Py_DECREF(o);
    Py_XDECREF(spec);
    return push(f, r);
}

static int op_format_simple(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return op_format_value(run, f, 0);
}

static int op_format_with_spec(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    return op_format_value(run, f, 4);
}

static int op_convert_value(struct fl_run *run, struct fl_frame *f, int how) {
    PyObject *o = fl_pop(f), *value = fl_see(run, o), *r;
    if (fl_is_unknown(run->st, value) || !fl_plain(run, value, 4))
        r = fl_unknown(run->st);
    else
        r = how == 1   ? PyObject_Str(value)
            : how == 2 ? PyObject_Repr(value)
                       : PyObject_ASCII(value);
    if (!r && fl_absorb(run))
        r = fl_unknown(run->st);
    Py_DECREF(o);
    return push(f, r);
}

/* The container `arg` below the top, to change: borrowed; Unknown, NULL exception. */
static PyObject *below(struct fl_run *run, struct fl_frame *f, int arg) {
    return fl_own(run, *fl_at(f, arg));
}

static int settle_change(struct fl_run *run, PyObject *box, int rc) {
    if (rc >= 0)
        return 0;
    return fl_absorb(run) ? fl_poison(run, box) : -1;
}

static int op_list_append(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *list = below(run, f, arg);
    int rc = !list ? -1 : PyList_Check(list) ? PyList_Append(list, fl_see(run, o)) : 0;
    Py_DECREF(o);
    return rc;
}

static int op_set_add(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *set = below(run, f, arg);
    int rc = !set               ? -1
             : PySet_Check(set) ? settle_change(run, set, PySet_Add(set, fl_see(run, o)))
                                : 0;
    Py_DECREF(o);
    return rc;
}

static int op_map_add(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *value = fl_pop(f), *key = fl_pop(f), *map = below(run, f, arg);
    int rc =
        !map ? -1
        : PyDict_Check(map)
            ? settle_change(run, map, PyDict_SetItem(map, fl_see(run, key), fl_see(run, value)))
            : 0;
    Py_DECREF(value);
    Py_DECREF(key);
    return rc;
}

/* A list of what can be iterated; Unknown; NULL. */
static PyObject *listed(struct fl_run *run, PyObject *o) {
    PyObject *it = fl_iter(run, o),
             *list = it && !fl_is_unknown(run->st, it) ? PyList_New(0) : Py_XNewRef(it), *value;
    int rc = 1;
    while (it && list && PyList_CheckExact(list) && (rc = fl_next(run, it, &value)) > 0) {
        int was_unknown = fl_is_unknown(run->st, fl_see(run, it));
        if (was_unknown) {
            Py_SETREF(list, value);
            break;
        }
        rc = PyList_Append(list, value);
        Py_DECREF(value);
        if (rc < 0)
            break;
    }
    if (rc < 0)
        Py_CLEAR(list);
    Py_XDECREF(it);
    return list;
}

static int op_list_extend(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *items = listed(run, o), *list = items ? below(run, f, arg) : NULL;
    int rc = -1;
    if (list && PyList_Check(list))
        rc = fl_is_unknown(run->st, items)
                 ? fl_poison(run, list)
                 : PyList_SetSlice(list, PyList_GET_SIZE(list), PyList_GET_SIZE(list), items);
    else if (list)
        rc = 0;
    Py_DECREF(o);
    Py_XDECREF(items);
    return rc;
}

static int op_set_update(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *items = listed(run, o), *set = items ? below(run, f, arg) : NULL;
    int rc = -1;
    if (set && PySet_Check(set))
        rc = fl_is_unknown(run->st, items) ? fl_poison(run, set)
                                           : settle_change(run, set, core_set_update(set, items));
    else if (set)
        rc = 0;
    Py_DECREF(o);
    Py_XDECREF(items);
    return rc;
}

static int op_dict_update(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *other = fl_see(run, o), *map = below(run, f, arg);
    int rc = -1;
    if (map && PyDict_Check(map))
        rc = fl_is_unknown(run->st, other) ? fl_poison(run, map)
             : PyDict_Check(other)         ? PyDict_Update(map, other)
                                   : fl_stop(run, FL_WHY_OTHER, "a mapping of an unknown type");
    else if (map)
        rc = 0;
    Py_DECREF(o);
    return rc;
}

static int op_list_to_tuple(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)arg;
    PyObject *list = fl_pop(f), *seen = fl_see(run, list);
    PyObject *r = PyList_Check(seen) ? PyList_AsTuple(seen) : Py_NewRef(seen);
    Py_DECREF(list);
    return push(f, r);
}

static int push_unknowns(struct fl_run *run, struct fl_frame *f, int n) {
    for (int i = 0; i < n; i++)
        if (push(f, fl_unknown(run->st)) < 0)
            return -1;
    return 0;
}

static int op_unpack_sequence(struct fl_run *run, struct fl_frame *f, int n) {
    PyObject *o = fl_pop(f), *items = listed(run, o);
    Py_DECREF(o);
    if (!items)
        return -1;
    int rc = 0;
    if (fl_is_unknown(run->st, items)) {
        rc = push_unknowns(run, f, n);
    } else if (PyList_GET_SIZE(items) != n) {
        PyErr_Format(PyExc_ValueError, "expected %d values to unpack", n);
        rc = -1;
    } else {
        for (int i = n - 1; i >= 0; i--)
            fl_push(f, Py_NewRef(fl_see(run, PyList_GET_ITEM(items, i))));
    }
    Py_DECREF(items);
    return rc;
}

static int op_unpack_ex(struct fl_run *run, struct fl_frame *f, int arg) {
    int before = arg & 0xFF, after = arg >> 8;
    PyObject *o = fl_pop(f), *items = listed(run, o);
    Py_DECREF(o);
    if (!items)
        return -1;
    int rc = 0;
    if (fl_is_unknown(run->st, items)) {
        rc = push_unknowns(run, f, before + after + 1);
    } else if (PyList_GET_SIZE(items) < before + after) {
        PyErr_SetString(PyExc_ValueError, "not enough values to unpack");
        rc = -1;
    } else {
        Py_ssize_t n = PyList_GET_SIZE(items);
        for (int i = 0; i < after; i++)
            fl_push(f, Py_NewRef(fl_see(run, PyList_GET_ITEM(items, n - 1 - i))));
        rc = push(f, fl_mine(run, PyList_GetSlice(items, before, n - after)));
        for (int i = before - 1; rc == 0 && i >= 0; i--)
            fl_push(f, Py_NewRef(fl_see(run, PyList_GET_ITEM(items, i))));
    }
    Py_DECREF(items);
    return rc;
}

/* By the bit that MAKE_FUNCTION has for it. */
static int set_function_part(PyObject *function, int bit, PyObject *o) {
    return bit == 8   ? PyFunction_SetClosure(function, o)
           : bit == 2 ? PyFunction_SetKwDefaults(function, o)
           : bit == 1 ? PyFunction_SetDefaults(function, o)
                      : 0;
}

static int op_make_function(struct fl_run *run, struct fl_frame *f, int flags) {
    PyObject *code = fl_pop(f), *function = PyFunction_New(code, f->globals), *o;
    Py_DECREF(code);
    int rc = function ? 0 : -1;
    for (int bit = 8; bit; bit >>= 1) {
        if (!(flags & bit))
            continue;
        o = fl_pop(f);
        if (rc == 0)
            rc = set_function_part(function, bit, o);
        Py_DECREF(o);
    }
    if (rc < 0)
        Py_CLEAR(function);
    return push(f, fl_mine(run, function));
}

static int op_set_function_attribute(struct fl_run *run, struct fl_frame *f, int bit) {
    (void)run;
    PyObject *function = fl_pop(f), *o = fl_pop(f);
    int rc = set_function_part(function, bit, o);
    Py_DECREF(o);
    fl_push(f, function);
    return rc;
}

void fl_ops_build(fl_op *t) {
    t[BUILD_TUPLE] = op_build_tuple;
    t[BUILD_LIST] = op_build_list;
    t[BUILD_SET] = op_build_set;
    t[BUILD_MAP] = op_build_map;
    t[BUILD_CONST_KEY_MAP] = op_build_const_key_map;
    t[BUILD_SLICE] = op_build_slice;
    t[BUILD_STRING] = op_build_string;
    t[FORMAT_VALUE] = op_format_value;
    t[FORMAT_SIMPLE] = op_format_simple;
    t[FORMAT_WITH_SPEC] = op_format_with_spec;
    t[CONVERT_VALUE] = op_convert_value;
    t[SET_FUNCTION_ATTRIBUTE] = op_set_function_attribute;
    t[LIST_APPEND] = op_list_append;
    t[SET_ADD] = op_set_add;
    t[MAP_ADD] = op_map_add;
    t[LIST_EXTEND] = op_list_extend;
    t[SET_UPDATE] = op_set_update;
    t[DICT_UPDATE] = t[DICT_MERGE] = op_dict_update;
    t[LIST_TO_TUPLE] = op_list_to_tuple;
    t[UNPACK_SEQUENCE] = op_unpack_sequence;
    t[UNPACK_EX] = op_unpack_ex;
    t[MAKE_FUNCTION] = op_make_function;
}
