/* Objects of the interpreter and the standard library that say nothing, or too little, about how to write
 * them: methods, descriptors, mapping proxies, singletons of dataclasses. */
#include "pickler.h"
#include "track.h"

/* Written as a call; what is called and its arguments are all there is to it, so a callee stays stable. */
static int save_call(struct pickler *p, PyObject *obj, PyObject *func, PyObject *args) {
    int stable = p->watch ? p->watch->stable : 0;
    PyObject *value = args && func ? PyTuple_Pack(2, func, args) : NULL;
    int rc = value ? pk_save_reduced(p, value, obj) : -1;
    Py_XDECREF(value);
    Py_XDECREF(args);
    if (p->watch)
        p->watch->stable = stable;
    return rc;
}

/* `random.random`, `numpy.random.rand`, …: methods of an object that their module keeps to itself, and gives out as
 * functions. Written as what the module gives: who loads them has the module's object of there, not a copy that draws the
 * same numbers as all other copies. 1 written, 0 it is none of those, -1. */
static int save_function_of_module(struct pickler *p, PyObject *obj, PyObject *self,
                                   PyObject *name) {
    PyObject *module = NULL, *found = NULL, *modname = NULL;
    if (!self || PyModule_Check(self) || PyType_Check(self) || !PyUnicode_CheckExact(name))
        return 0;
    if (PyObject_GetOptionalAttrString((PyObject *)Py_TYPE(self), "__module__", &modname) < 0)
        return -1;
    if (modname && PyUnicode_CheckExact(modname))
        module =
            Py_XNewRef(PyDict_GetItemWithError(PyImport_GetModuleDict(), modname)); /* borrowed */
    if (module && PyModule_Check(module))
        found = Py_XNewRef(PyDict_GetItemWithError(PyModule_GetDict(module), name));
    int rc = PyErr_Occurred() ? -1 : 0;
    if (found && found == obj && rc == 0) {
        PyObject *getattr = PyDict_GetItemString(PyEval_GetBuiltins(), "getattr");
        rc = getattr && save_call(p, obj, getattr, PyTuple_Pack(2, module, name)) == 0 ? 1 : -1;
    }
    Py_XDECREF(found);
    Py_XDECREF(module);
    Py_XDECREF(modname);
    return rc;
}

static int save_builtin_method(struct pickler *p, PyObject *obj) {
    PyObject *name = PyUnicode_FromString(((PyCFunctionObject *)obj)->m_ml->ml_name);
    int rc = name ? save_function_of_module(p, obj, PyCFunction_GET_SELF(obj), name) : -1;
    Py_XDECREF(name);
    return rc;
}

/* Bound methods: getattr(self, name) where that gives the same again, else made of function and self. */
static int save_method(struct pickler *p, PyObject *obj) {
    PyObject *func = PyMethod_GET_FUNCTION(obj), *self = PyMethod_GET_SELF(obj);
    PyObject *name, *found = NULL;
    if (PyObject_GetOptionalAttrString(func, "__name__", &name) < 0)
        return -1;
    int same = 0, of_module = name ? save_function_of_module(p, obj, self, name) : 0;
    if (of_module) {
        Py_XDECREF(name);
        return of_module < 0 ? -1 : 0;
    }
    if (name && PyUnicode_CheckExact(name)) {
        PyTypeObject *holder = PyType_Check(self) ? (PyTypeObject *)self : Py_TYPE(self);
        found = core_type_lookup(holder, name);
        if (found && Py_TYPE(found) == &PyClassMethod_Type)
            found = PyType_Check(self) ? func : NULL;
        same = found == func;
    }
    int rc;
    if (same) {
        PyObject *getattr = PyDict_GetItemString(PyEval_GetBuiltins(), "getattr");
        rc = getattr ? save_call(p, obj, getattr, PyTuple_Pack(2, self, name)) : -1;
    } else {
        rc = save_call(p, obj, (PyObject *)&PyMethod_Type, PyTuple_Pack(2, func, self));
    }
    Py_XDECREF(name);
    return rc;
}

static int save_wrapped(struct pickler *p, PyObject *obj) {
    PyObject *func = PyObject_GetAttrString(obj, "__func__");
    if (!func)
        return -1;
    int rc = save_call(p, obj, (PyObject *)Py_TYPE(obj), PyTuple_Pack(1, func));
    Py_DECREF(func);
    return rc;
}

static int save_property(struct pickler *p, PyObject *obj) {
    static const char *const names[] = {"fget", "fset", "fdel", "__doc__"};
    PyObject *args = PyTuple_New(4);
    for (int i = 0; args && i < 4; i++) {
        PyObject *value = PyObject_GetAttrString(obj, names[i]);
        if (!value)
            Py_CLEAR(args);
        else
            PyTuple_SET_ITEM(args, i, value);
    }
    return save_call(p, obj, (PyObject *)Py_TYPE(obj), args);
}

static int take_mapping(PyObject *obj, void *arg) {
    *(PyObject **)arg = obj;
    return 1;
}

/* The dict a proxy shows, borrowed; NULL: it shows something else, or a class, whose dict nobody may have. */
static PyObject *proxied_dict(struct pk_state *st, PyObject *proxy) {
    PyObject *mapping = NULL;
    Py_TYPE(proxy)->tp_traverse(proxy, take_mapping, &mapping);
    if (!mapping || !PyDict_CheckExact(mapping) || PyDict_GET_SIZE(mapping) == 0 ||
        PyDict_GetItemWithError(mapping, PK_STR(__module__)))
        mapping = NULL;
    return mapping;
}

static int save_mapping_proxy(struct pickler *p, PyObject *obj) {
    PyObject *shown = proxied_dict(p->st, obj);
    if (shown)
        return save_call(p, obj, (PyObject *)&PyDictProxy_Type, PyTuple_Pack(1, shown));
    PyObject *copy = PyDict_New();
    if (!copy || PyDict_Update(copy, obj) < 0) {
        Py_XDECREF(copy);
        return -1;
    }
    if (PyDict_GET_SIZE(copy) == 0)
        pk_watch_excuse(p, copy);
    int rc = save_call(p, obj, (PyObject *)&PyDictProxy_Type, Py_BuildValue("(O)", copy));
    Py_DECREF(copy);
    return rc;
}

/* Singletons that are compared by identity: 1: written as an attribute of their module, 0, -1 */
static int save_dataclass_singleton(struct pickler *p, PyObject *obj) {
    static const char *const names[] = {"MISSING",        "KW_ONLY",
                                        "_FIELD",         "_FIELD_CLASSVAR",
                                        "_FIELD_INITVAR", "_HAS_DEFAULT_FACTORY"};
    PyObject *module = PyDict_GetItemString(PyImport_GetModuleDict(), "dataclasses");
    for (size_t i = 0; module && i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *there = PyDict_GetItemString(PyModule_GetDict(module), names[i]);
        if (there != obj)
            continue;
        PyObject *name = PyUnicode_InternFromString(names[i]);
        PyObject *module_name = name ? PyModule_GetNameObject(module) : NULL;
        int rc = module_name ? pk_write_global(p, obj, module_name, name) : -1;
        Py_XDECREF(name);
        Py_XDECREF(module_name);
        return rc < 0 ? -1 : 1;
    }
    return 0;
}

/* functools.cached_property holds a lock in some versions: made again from its function. 1, 0, -1 */
static int save_cached_property(struct pickler *p, PyObject *obj) {
    PyObject *func = PyObject_GetAttrString(obj, "func");
    PyObject *name = func ? PyObject_GetAttrString(obj, "attrname") : NULL;
    PyObject *state = name ? Py_BuildValue("{s:O}", "attrname", name) : NULL;
    PyObject *value = state ? Py_BuildValue("(O(O)O)", Py_TYPE(obj), func, state) : NULL;
    int rc = value ? pk_save_reduced(p, value, obj) : -1;
    Py_XDECREF(func);
    Py_XDECREF(name);
    Py_XDECREF(state);
    Py_XDECREF(value);
    return rc < 0 ? -1 : 1;
}

/* lru_cache wrappers: lru_cache(maxsize, typed)(function), with an empty cache. 1, 0, -1 */
static int save_lru_cache(struct pickler *p, PyObject *obj) {
    PyObject *module, *qualname;
    int rc = pk_by_reference(p, obj, NULL, &module, &qualname);
    if (rc > 0) {
        rc = pk_write_global(p, obj, module, qualname);
        Py_DECREF(module);
        Py_DECREF(qualname);
        return rc < 0 ? -1 : 1;
    }
    if (rc < 0 || p->flags & PK_BYREF)
        return rc;
    PyObject *functools = PyImport_ImportModule("functools");
    PyObject *decorator = functools ? PyObject_GetAttrString(functools, "lru_cache") : NULL;
    PyObject *func = decorator ? PyObject_GetAttrString(obj, "__wrapped__") : NULL;
    PyObject *given = func ? PyObject_CallMethod(obj, "cache_parameters", NULL) : NULL;
    PyObject *size = given ? PyMapping_GetItemString(given, "maxsize") : NULL;
    PyObject *typed = size ? PyMapping_GetItemString(given, "typed") : NULL;
    static const char call1[] = {OP_TUPLE1, OP_REDUCE}, call2[] = {(char)OP_TUPLE2, OP_REDUCE};
    rc = -1;
    if (typed && pk_push(p, PK_F_MEMO, obj) && pk_push_write(p, call1, 2) == 0 &&
        pk_push_save(p, func, ".__wrapped__", NULL) == 0 && pk_push_write(p, call2, 2) == 0 &&
        pk_push_save(p, typed, NULL, NULL) == 0 && pk_push_save(p, size, NULL, NULL) == 0)
        rc = pk_push_save(p, decorator, NULL, NULL) < 0 ? -1 : 1;
    Py_XDECREF(functools);
    Py_XDECREF(decorator);
    Py_XDECREF(func);
    Py_XDECREF(given);
    Py_XDECREF(size);
    Py_XDECREF(typed);
    return rc;
}

static int is_from(PyObject *obj, const char *module, const char *name) {
    PyObject *there = PyDict_GetItemString(PyImport_GetModuleDict(), module);
    return there && PyModule_Check(there) &&
           PyDict_GetItemString(PyModule_GetDict(there), name) == (PyObject *)Py_TYPE(obj);
}

/* typing.TypeVar that cannot be imported: TYPEVAR(name, constraints, bound, covariant, contravariant, id). */
static int save_type_variable(struct pickler *p, PyObject *obj) {
    PyObject *module, *qualname;
    int rc = pk_by_reference(p, obj, NULL, &module, &qualname);
    if (rc > 0) {
        rc = pk_write_global(p, obj, module, qualname);
        Py_DECREF(module);
        Py_DECREF(qualname);
        return rc < 0 ? -1 : 1;
    }
    if (rc < 0 || p->flags & PK_BYREF)
        return rc;
    static const char *const names[] = {"__name__",      "__constraints__",   "__bound__",
                                        "__covariant__", "__contravariant__", "__module__"};
    PyObject *args = PyTuple_New(7);
    for (int i = 0; args && i < 6; i++) {
        PyObject *value = PyObject_GetAttrString(obj, names[i]);
        if (value)
            PyTuple_SET_ITEM(args, i, value);
        else
            Py_CLEAR(args);
    }
    PyObject *id = args ? pk_track_id(p->st, obj) : NULL;
    if (id)
        PyTuple_SET_ITEM(args, 6, id);
    else
        Py_CLEAR(args);
    rc = save_call(p, obj, p->st->helper[PK_HELPER_TYPEVAR], args);
    return rc < 0 ? -1 : 1;
}

/* Types of the standard library that are known by name. 1: written, 0: not one of them, -1 */
static int save_named(struct pickler *p, PyObject *obj) {
    const char *name = Py_TYPE(obj)->tp_name;
    if (*name != 'f' && *name != 'c' && *name != 'T' && *name != 't' && *name != '_')
        return 0; /* of most types that is enough */
    if (strcmp(name, "functools._lru_cache_wrapper") == 0)
        return save_lru_cache(p, obj);
    if (strcmp(name, "cached_property") == 0 &&
        PyType_HasFeature(Py_TYPE(obj), Py_TPFLAGS_HEAPTYPE)) {
        if (is_from(obj, "functools", name))
            return save_cached_property(p, obj);
    }
    if (strcmp(name, "TypeVar") == 0 || strcmp(name, "typing.TypeVar") == 0)
        return is_from(obj, "typing", "TypeVar") ? save_type_variable(p, obj) : 0;
    if (strcmp(name, "_FIELD_BASE") == 0 || strcmp(name, "_MISSING_TYPE") == 0 ||
        strcmp(name, "_KW_ONLY_TYPE") == 0 || strcmp(name, "_HAS_DEFAULT_FACTORY_CLASS") == 0)
        return save_dataclass_singleton(p, obj);
    return 0;
}

int pk_save_std(struct pickler *p, PyObject *obj, int *taken) {
    PyTypeObject *type = Py_TYPE(obj);
    *taken = 1;
    if (PyModule_Check(obj))
        return pk_save_module(p, obj);
    if (type == &PyCFunction_Type) {
        int rc = p->flags & PK_BYREF ? 0 : save_builtin_method(p, obj);
        *taken = rc != 0;
        return rc < 0 ? -1 : 0;
    }
    if (!(p->flags & PK_BYREF)) {
        if (type == &PyMethod_Type)
            return save_method(p, obj);
        if (type == &PyCode_Type)
            return pk_save_code(p, obj);
        if (type == &PyCell_Type)
            return pk_save_cell(p, obj);
        if (type == &PyStaticMethod_Type || type == &PyClassMethod_Type)
            return save_wrapped(p, obj);
        if (type == &PyProperty_Type)
            return save_property(p, obj);
        if (type == &PyDictProxy_Type)
            return save_mapping_proxy(p, obj);
        int rc = save_named(p, obj);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    *taken = 0;
    return 0;
}
