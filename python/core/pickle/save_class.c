/* Classes by value.
 *
 * As with functions, in two steps: a skeleton (metaclass, name, bases, slots) that contains nothing which could
 * lead back to the class, then, with the class in the memo, everything in its __dict__. Enums get their members
 * with the skeleton, because an enum cannot grow. Every class that travels by value carries an id, so that one
 * sent twice is one class there, and one coming home is the class it was (track.c). */
#include "pickler.h"
#include "track.h"

int pk_is_enum(struct pk_state *st, PyTypeObject *cls) {
    if (!st->enum_meta) {
        PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "enum");
        if (!module)
            return 0;
        PyObject *meta = PyObject_GetAttrString(module, "EnumMeta");
        if (!meta || !PyType_Check(meta)) {
            Py_XDECREF(meta);
            PyErr_Clear();
            return 0;
        }
        st->enum_meta = (PyTypeObject *)meta;
    }
    return PyType_IsSubtype(Py_TYPE(cls), st->enum_meta);
}

/* Descriptors that making the class makes again. */
static int made_by_type(PyTypeObject *cls, PyObject *value) {
    if (Py_TYPE(value) != &PyGetSetDescr_Type && Py_TYPE(value) != &PyMemberDescr_Type)
        return 0;
    return PyDescr_TYPE(value) == cls;
}

static int is_one_of(PyObject *name, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (PyUnicode_CompareWithASCIIString(name, names[i]) == 0)
            return 1;
    return 0;
}

/* Names the skeleton has, or that are found again from the rest. */
static int made_elsewhere(PyObject *name, int of_enum) {
    static const char *const always[] = {"__module__", "__slots__",           "__orig_bases__",
                                         "_abc_impl",  "__abstractmethods__", "__slotnames__"};
    static const char *const enums[] = {"_member_names_",
                                        "_member_map_",
                                        "_member_type_",
                                        "_value2member_map_",
                                        "_unhashable_values_",
                                        "_hashable_values_",
                                        "_unhashable_values_map_",
                                        "_new_member_",
                                        "_use_args_",
                                        "_value_repr_",
                                        "__new_member__",
                                        "_generate_next_value_",
                                        "_flag_mask_",
                                        "_all_bits_",
                                        "_singles_mask_",
                                        "_boundary_",
                                        "_inverted_"};
    if (is_one_of(name, always, Py_ARRAY_LENGTH(always)))
        return 1;
    return of_enum && is_one_of(name, enums, Py_ARRAY_LENGTH(enums));
}

/* Equal names are one object where the compiler made them, and several after they were loaded. */
static PyObject *as_name(PyObject *obj) {
    Py_INCREF(obj);
    if (PyUnicode_CheckExact(obj) && PyUnicode_GET_LENGTH(obj) < 64 && PyUnicode_IsIdentifier(obj))
        PyUnicode_InternInPlace(&obj);
    return obj;
}

PyObject *pk_canonical(PyObject *dict) {
    PyObject *names = PyDict_Keys(dict), *made = PyDict_New();
    if (!names || !made || PyList_Sort(names) < 0) {
        if (names && made && PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Clear(); /* names that are not strings */
            Py_DECREF(names);
            Py_DECREF(made);
            return Py_NewRef(dict);
        }
        Py_CLEAR(made);
    }
    for (Py_ssize_t i = 0; made && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = as_name(PyList_GET_ITEM(names, i));
        PyObject *value = PyDict_GetItemWithError(dict, name);
        value = value ? as_name(value) : NULL;
        if (!value || PyDict_SetItem(made, name, value) < 0)
            Py_CLEAR(made);
        Py_DECREF(name);
        Py_XDECREF(value);
    }
    Py_XDECREF(names);
    return made;
}

/* Functions first: code is what another version of Python refuses, in words that say so, before it meets what its
 * standard library knows differently. New reference; takes attrs. */
static PyObject *functions_first(PyObject *attrs) {
    PyObject *made = PyDict_New(), *name, *value;
    for (int others = 0; made && others < 2; others++) {
        Py_ssize_t pos = 0;
        while (made && PyDict_Next(attrs, &pos, &name, &value))
            if (PyFunction_Check(value) == !others && PyDict_SetItem(made, name, value) < 0)
                Py_CLEAR(made);
    }
    Py_DECREF(attrs);
    return made;
}

static int drop(PyObject *dict, const char *name) {
    return PyDict_GetItemString(dict, name) ? PyDict_DelItemString(dict, name) : 0;
}

/* Annotations that are evaluated late (CPython 3.14) are sent evaluated; the function that says them only where that
 * failed and they are NULL. Whether somebody asked for them before makes no difference. */
static int settle_annotations(struct pk_state *st, PyObject *attrs, PyObject *annotations) {
    PyObject *function = PyDict_GetItemString(attrs, "__annotate_func__");
    if (drop(attrs, "__annotations_cache__") < 0 ||
        ((annotations || function == Py_None) && drop(attrs, "__annotate_func__") < 0))
        return -1;
    if (!annotations || PyDict_GET_SIZE(annotations) == 0)
        return 0;
    return PyDict_SetItem(attrs, PK_STR(__annotations__), annotations);
}

/* New dict of what the second step sets. */
static PyObject *class_attributes(struct pk_state *st, PyTypeObject *cls) {
    PyObject *annotations =
        core_late_annotations(cls); /* may run code: before the dict is gone through */
    PyObject *dict = core_type_dict(cls), *attrs = PyDict_New(), *members = NULL;
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    int of_enum = pk_is_enum(st, cls);
    if (of_enum)
        members = PyDict_GetItemWithError(dict, PK_STR(_member_map_));
    while (attrs && PyDict_Next(dict, &pos, &name, &value)) {
        if (made_by_type(cls, value) || (PyUnicode_Check(name) && made_elsewhere(name, of_enum)))
            continue;
        if (members && PyDict_Contains(members, name) > 0)
            continue;
        if (PyUnicode_Check(name) && value == Py_None &&
            PyUnicode_CompareWithASCIIString(name, "__doc__") == 0)
            continue;
        if (of_enum && PyUnicode_Check(name) &&
            PyUnicode_CompareWithASCIIString(name, "__new__") == 0)
            continue; /* EnumType's own: looks members up */
        if (PyDict_SetItem(attrs, name, value) < 0)
            Py_CLEAR(attrs);
    }
    Py_DECREF(dict);
    if (attrs && settle_annotations(st, attrs, annotations) < 0)
        Py_CLEAR(attrs);
    Py_XDECREF(annotations);
    PyObject *ordered = attrs ? pk_canonical(attrs) : NULL;
    Py_XDECREF(attrs);
    return ordered ? functions_first(ordered) : NULL;
}

/* {name: value} of an enum's members, aliases too; with `extra` the attributes its __init__ gave them. */
static PyObject *enum_members(struct pk_state *st, PyTypeObject *cls, int extra) {
    static const char *const own[] = {"_value_", "_name_", "__objclass__", "_sort_order_"};
    PyObject *dict = core_type_dict(cls), *made = PyDict_New();
    PyObject *members = PyDict_GetItemWithError(dict, PK_STR(_member_map_)), *name, *member;
    Py_ssize_t pos = 0;
    while (made && members && PyDict_Next(members, &pos, &name, &member)) {
        PyObject *value;
        if (!extra) {
            value = PyObject_GetAttrString(member, "_value_");
        } else {
            PyObject *vars = PyObject_GenericGetDict(member, NULL);
            value = vars ? PyDict_Copy(vars) : NULL;
            for (size_t i = 0; value && i < Py_ARRAY_LENGTH(own); i++)
                if (PyDict_GetItemString(value, own[i]))
                    PyDict_DelItemString(value, own[i]);
            Py_XDECREF(vars);
            if (value && PyDict_GET_SIZE(value) == 0) {
                Py_DECREF(value);
                continue;
            }
        }
        if (!value || PyDict_SetItem(made, name, value) < 0)
            Py_CLEAR(made);
        Py_XDECREF(value);
    }
    Py_DECREF(dict);
    return made;
}

/* A name, as the one object all equal names are written as: new reference. */
static PyObject *interned_attr(PyObject *obj, PyObject *attr) {
    PyObject *name = PyObject_GetAttr(obj, attr);
    if (name && PyUnicode_CheckExact(name))
        PyUnicode_InternInPlace(&name);
    return name;
}

/* The namespace the skeleton is made with. */
static PyObject *skeleton_namespace(struct pk_state *st, PyTypeObject *cls) {
    PyObject *const names[] = {PK_STR(__module__), PK_STR(__slots__), PK_STR(__orig_bases__)};
    PyObject *dict = core_type_dict(cls), *made = PyDict_New();
    for (size_t i = 0; made && i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *value = Py_XNewRef(PyDict_GetItemWithError(dict, names[i]));
        if (value && PyUnicode_CheckExact(value))
            PyUnicode_InternInPlace(&value);
        if (value && PyDict_SetItem(made, names[i], value) < 0)
            Py_CLEAR(made);
        Py_XDECREF(value);
    }
    Py_DECREF(dict);
    if (!made)
        return NULL;
    PyObject *qualname = interned_attr((PyObject *)cls, PK_STR(__qualname__));
    if (!qualname || PyDict_SetItem(made, PK_STR(__qualname__), qualname) < 0)
        Py_CLEAR(made);
    Py_XDECREF(qualname);
    return made;
}

/* Classes in the order of their names, so that the stream does not depend on addresses. */
static void sort_by_name(PyObject *list) {
    PyObject *key = PyObject_GetAttrString((PyObject *)&PyType_Type, "__repr__");
    PyObject *sort = key ? PyObject_GetAttrString(list, "sort") : NULL;
    PyObject *kwargs = sort ? Py_BuildValue("{s:O}", "key", key) : NULL;
    PyObject *none = PyTuple_New(0);
    PyObject *result = kwargs && none ? PyObject_Call(sort, none, kwargs) : NULL;
    if (!result)
        PyErr_Clear();
    Py_XDECREF(key);
    Py_XDECREF(sort);
    Py_XDECREF(kwargs);
    Py_XDECREF(none);
    Py_XDECREF(result);
}

/* [classes registered with an ABC], or NULL without an exception. */
static PyObject *abc_registry(PyTypeObject *cls) {
    PyObject *abc = PyDict_GetItemString(PyImport_GetModuleDict(), "_abc");
    PyObject *impl = NULL;
    if (!abc || PyObject_GetOptionalAttrString((PyObject *)cls, "_abc_impl", &impl) <= 0)
        return NULL;
    Py_DECREF(impl);
    PyObject *dump = PyObject_CallMethod(abc, "_get_dump", "O", cls);
    PyObject *refs = dump ? PyTuple_GetItem(dump, 0) : NULL;
    PyObject *list = refs && PySet_Check(refs) && PySet_GET_SIZE(refs) > 0 ? PyList_New(0) : NULL;
    PyObject *iterator = list ? PyObject_GetIter(refs) : NULL, *ref;
    while (iterator && (ref = PyIter_Next(iterator))) {
        PyObject *target = PyObject_CallNoArgs(ref);
        if (!target || (target != Py_None && PyList_Append(list, target) < 0))
            PyErr_Clear();
        Py_XDECREF(target);
        Py_DECREF(ref);
    }
    Py_XDECREF(iterator);
    Py_XDECREF(dump);
    if (list)
        sort_by_name(list);
    return list;
}

/* A container made here: nobody can change it. */
static int push_own(struct pickler *p, PyObject *obj, const char *label) {
    if (pk_push_save(p, obj, label, NULL) < 0)
        return -1;
    p->frames[p->nframes - 1].flags |= PK_FF_QUIET;
    return 0;
}

static int save_extra(struct pickler *p, PyTypeObject *cls) {
    PyObject *extra;
    if (pk_is_enum(p->st, cls)) {
        extra = enum_members(p->st, cls, 1);
        if (extra && PyDict_GET_SIZE(extra) == 0)
            Py_CLEAR(extra);
    } else {
        extra = abc_registry(cls);
    }
    if (!extra)
        return PyErr_Occurred() ? -1 : pk_push_write(p, (char[]){OP_NONE}, 1);
    int rc = push_own(p, extra, NULL);
    Py_DECREF(extra);
    return rc;
}

static int add_abstract(struct pk_state *st, PyTypeObject *cls, PyObject *attrs) {
    PyObject *dict = core_type_dict(cls);
    PyObject *names = PyDict_GetItemWithError(dict, PK_STR(__abstractmethods__));
    int rc = names ? PyDict_SetItem(attrs, PK_STR(__abstractmethods__), names) : 0;
    Py_DECREF(dict);
    return rc;
}

/* Dicts that class statements make and nobody changes afterwards. */
static void excuse(struct pickler *p, PyObject *attrs) {
    static const char *const names[] = {"__annotations__", "__dataclass_fields__",
                                        "_field_defaults", "__annotations_cache__"};
    for (size_t i = 0; p->watch && i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *value = PyDict_GetItemString(attrs, names[i]);
        if (value)
            pk_watch_excuse(p, value);
    }
}

/* Second step: CLASS_SET(class, id, attributes, extra); the class is in the memo and on the stack. */
static int save_content(struct pickler *p, PyObject *obj) {
    static const char call[] = {OP_TUPLE, OP_REDUCE, OP_POP};
    PyTypeObject *cls = (PyTypeObject *)obj;
    uint32_t index = 0;
    if (!p->done && !(p->done = PySet_New(NULL)))
        return -1;
    PyObject *key = PyLong_FromVoidPtr(obj);
    int rc = key ? PySet_Contains(p->done, key) : -1;
    if (rc == 0)
        rc = PySet_Add(p->done, key);
    else if (rc > 0)
        rc = 1;
    Py_XDECREF(key);
    if (rc)
        return rc < 0 ? -1 : 0;
    PyObject *attrs = class_attributes(p->st, cls);
    PyObject *id = attrs ? pk_track_id(p->st, obj) : NULL;
    rc = -1;
    if (attrs)
        excuse(p, attrs);
    pk_memo_find(&p->memo, obj, &index);
    if (id && add_abstract(p->st, cls, attrs) == 0 && pk_push_write(p, call, sizeof call) == 0 &&
        save_extra(p, cls) == 0 && pk_write_helper(p, PK_HELPER_CLASS_SET) == 0 &&
        pk_put(p, OP_MARK) == 0 && pk_get(p, index) == 0 && pk_save(p, id) == 0 &&
        pk_put(p, OP_EMPTY_DICT) == 0)
        rc = pk_push_items(p, attrs, PK_FF_ATTRS);
    Py_XDECREF(attrs);
    Py_XDECREF(id);
    return rc;
}

/* First step: CLASS(metaclass, name, bases, namespace, id[, members]). */
static int save_skeleton(struct pickler *p, PyObject *obj) {
    static const char call[] = {OP_TUPLE, OP_REDUCE};
    struct pk_state *st = p->st;
    PyTypeObject *cls = (PyTypeObject *)obj;
    PyObject *space = skeleton_namespace(st, cls), *id = space ? pk_track_id(st, obj) : NULL;
    PyObject *name = id ? interned_attr(obj, PK_STR(__name__)) : NULL;
    PyObject *members = name && pk_is_enum(st, cls) ? enum_members(st, cls, 0) : NULL;
    int rc = -1;
    if (name && !PyErr_Occurred() && pk_push_call(p, save_content, obj) == 0 &&
        pk_push(p, PK_F_MEMO, obj) && pk_push_write(p, call, sizeof call) == 0 &&
        (!members || push_own(p, members, ".__members__") == 0) &&
        pk_push_save(p, id, NULL, NULL) == 0 && push_own(p, space, NULL) == 0 &&
        pk_push_save(p, cls->tp_bases, ".__bases__", NULL) == 0 &&
        pk_push_save(p, name, NULL, NULL) == 0 &&
        pk_push_save(p, (PyObject *)Py_TYPE(cls), ".__class__", NULL) == 0 &&
        pk_write_helper(p, members ? PK_HELPER_ENUM : PK_HELPER_CLASS) == 0)
        rc = pk_put(p, OP_MARK);
    Py_XDECREF(space);
    Py_XDECREF(id);
    Py_XDECREF(name);
    Py_XDECREF(members);
    return rc;
}

/* type(None) and its like have no name to be found under. 1: written, 0, -1 */
static int save_singleton_type(struct pickler *p, PyObject *obj) {
    static const char call[] = {OP_TUPLE1, OP_REDUCE};
    PyObject *instance = NULL;
    if (obj == (PyObject *)Py_TYPE(Py_None))
        instance = Py_None;
    else if (obj == (PyObject *)Py_TYPE(Py_Ellipsis))
        instance = Py_Ellipsis;
    else if (obj == (PyObject *)Py_TYPE(Py_NotImplemented))
        instance = Py_NotImplemented;
    if (!instance)
        return 0;
    Py_ssize_t base = p->nframes;
    if (pk_save_object(p, (PyObject *)&PyType_Type) < 0 ||
        (instance == Py_None ? pk_put(p, OP_NONE) : pk_save_object(p, instance)) < 0 ||
        pk_run(p, base) < 0 || pk_write(p, call, sizeof call) < 0 || pk_memoize(p, obj) < 0)
        return -1;
    return 1;
}

static int is_of_ctypes(PyTypeObject *cls) {
    PyObject *mro = Py_TYPE(cls) != &PyType_Type ? Py_TYPE(cls)->tp_mro : NULL;
    for (Py_ssize_t i = 0; mro && i < PyTuple_GET_SIZE(mro); i++)
        if (strncmp(((PyTypeObject *)PyTuple_GET_ITEM(mro, i))->tp_name, "_ctypes.", 8) == 0)
            return 1;
    return 0;
}

/* Types of the interpreter that have no name anywhere, and those of ctypes, which are more than their namespace: known
 * to ergon._reducers. 1: written, 0, -1 */
static int save_nameless(struct pickler *p, PyObject *obj) {
    if (PyType_HasFeature((PyTypeObject *)obj, Py_TPFLAGS_HEAPTYPE) &&
        !PyType_HasFeature((PyTypeObject *)obj, Py_TPFLAGS_IMMUTABLETYPE) &&
        !is_of_ctypes((PyTypeObject *)obj))
        return 0;
    PyObject *module = PyImport_ImportModule("ergon._reducers");
    PyObject *value = module ? PyObject_CallMethod(module, "nameless", "O", obj) : NULL;
    Py_XDECREF(module);
    int rc = value ? 0 : -1;
    if (value && value != Py_None)
        rc = pk_save_reduced(p, value, obj) < 0 ? -1 : 1;
    Py_XDECREF(value);
    return rc;
}

/* Types of the interpreter that only module types has a name for. 1: written, 0, -1 */
static int save_from_types(struct pickler *p, PyObject *obj) {
    PyObject *types = PyImport_ImportModule("types"), *name, *value;
    if (!types)
        return -1;
    PyObject *dict = PyModule_GetDict(types);
    Py_ssize_t pos = 0;
    int rc = 0;
    while (rc == 0 && PyDict_Next(dict, &pos, &name, &value)) {
        if (value != obj || !PyUnicode_CheckExact(name))
            continue;
        PyObject *module = PyModule_GetNameObject(types);
        Py_INCREF(name);
        rc = module && pk_write_global(p, obj, module, name) == 0 ? 1 : -1;
        Py_DECREF(name);
        Py_XDECREF(module);
    }
    Py_DECREF(types);
    return rc;
}

int pk_save_class(struct pickler *p, PyObject *obj) {
    PyObject *module, *qualname;
    int rc = save_singleton_type(p, obj);
    if (rc)
        return rc < 0 ? -1 : 0;
    rc = pk_by_reference(p, obj, NULL, &module, &qualname);
    if (rc < 0)
        return -1;
    if (rc > 0) {
        rc = pk_write_global(p, obj, module, qualname);
        Py_DECREF(module);
        Py_DECREF(qualname);
        return rc;
    }
    if (!PyType_HasFeature((PyTypeObject *)obj, Py_TPFLAGS_HEAPTYPE) &&
        (rc = save_from_types(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    if (!(p->flags & PK_BYREF) && (rc = save_nameless(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    if (p->flags & PK_BYREF || !PyType_HasFeature((PyTypeObject *)obj, Py_TPFLAGS_HEAPTYPE))
        return pk_save_global(p, obj, NULL); /* says what is wrong */
    rc = pk_save_class_blob(p, obj);
    if (rc)
        return rc < 0 ? -1 : 0;
    pk_watch_type(p, (PyTypeObject *)obj);
    return save_skeleton(p, obj);
}
