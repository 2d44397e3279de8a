/* By reference: what a worker can import is written as module and name. */
#include "pickler.h"

static int is_main(struct pk_state *st, PyObject *module) {
    return PyUnicode_Compare(module, PK_STR(__main__)) == 0 ||
           PyUnicode_Compare(module, PK_STR(__mp_main__)) == 0;
}

/* 1, 0, -1: the module, or a package it lies in, was registered for pickling by value. */
static int wanted_by_value(struct pk_state *st, PyObject *module) {
    if (PySet_GET_SIZE(st->by_value) == 0)
        return 0;
    PyObject *name = Py_NewRef(module);
    for (;;) {
        int rc = PySet_Contains(st->by_value, name);
        Py_ssize_t n = PyUnicode_GET_LENGTH(name);
        Py_ssize_t dot = rc ? -1 : PyUnicode_FindChar(name, '.', 0, n, -1);
        PyObject *parent = dot > 0 ? PyUnicode_Substring(name, 0, dot) : NULL;
        Py_DECREF(name);
        if (!parent)
            return rc ? rc : PyErr_Occurred() ? -1 : 0;
        name = parent;
    }
}

static int importable(struct pk_state *st, PyObject *module);

/* a.b.c without a spec of its own, put into sys.modules by the importable a.b: importing a.b.c does the same. */
static int made_by_parent(struct pk_state *st, PyObject *module) {
    PyObject *name = PyModule_GetNameObject(module);
    if (!name) {
        PyErr_Clear();
        return 0;
    }
    Py_ssize_t n = PyUnicode_GET_LENGTH(name);
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, n, -1);
    PyObject *outer = dot > 0 ? PyUnicode_Substring(name, 0, dot) : NULL, *parent = NULL,
             *there = NULL;
    int rc = dot > 0 && !outer ? -1 : 0;
    if (outer && PyDict_GetItemRef(PyImport_GetModuleDict(), outer, &parent) > 0 &&
        PyDict_GetItemRef(PyImport_GetModuleDict(), name, &there) > 0 && there == module)
        rc = importable(st, parent);
    Py_DECREF(name);
    Py_XDECREF(outer);
    Py_XDECREF(parent);
    Py_XDECREF(there);
    return rc;
}

/* A module object that an import statement elsewhere would find too: 1, 0, -1. */
static int importable(struct pk_state *st, PyObject *module) {
    if (!PyModule_CheckExact(module))
        return 1;
    PyObject *spec;
    if (PyDict_GetItemRef(PyModule_GetDict(module), PK_STR(__spec__), &spec) < 0)
        return -1;
    int rc = spec && spec != Py_None;
    Py_XDECREF(spec);
    return rc ? 1 : made_by_parent(st, module);
}

/* One step of a dotted name: new reference; NULL without an exception when it is not there. */
static PyObject *get_part(PyObject *holder, PyObject *name) {
    PyObject *found = NULL;
    if (PyModule_CheckExact(holder)) {
        if (PyDict_GetItemRef(PyModule_GetDict(holder), name, &found) < 0)
            PyErr_Clear();
        if (found)
            return found;
    }
    if (PyObject_GetOptionalAttr(holder, name, &found) < 0)
        PyErr_Clear(); /* a module's __getattr__ may raise anything */
    return found;
}

/* What module.qualname is there: new reference; NULL: nothing, perhaps with an exception. */
static PyObject *resolve(PyObject *module, PyObject *qualname) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(qualname);
    if (PyUnicode_FindChar(qualname, '.', 0, n, 1) < 0)
        return get_part(module, qualname);
    PyObject *holder = Py_NewRef(module);
    for (Py_ssize_t at = 0; holder && at <= n;) {
        Py_ssize_t dot = PyUnicode_FindChar(qualname, '.', at, n, 1);
        if (dot < 0)
            dot = n;
        PyObject *part = PyUnicode_Substring(qualname, at, dot);
        PyObject *next = part ? get_part(holder, part) : NULL;
        Py_XDECREF(part);
        Py_DECREF(holder);
        holder = next;
        at = dot + 1;
    }
    return holder;
}

/* The module of sys.modules, or imported now; new reference; NULL without an exception: there is none. */
static PyObject *module_named(PyObject *name) {
    PyObject *module = NULL;
    if (PyDict_GetItemRef(PyImport_GetModuleDict(), name, &module) < 0)
        return NULL;
    if (module || PyUnicode_GET_LENGTH(name) == 0)
        return module;
    module = PyImport_Import(name);
    if (!module && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Clear();
    Py_XDECREF(module); /* of a.b, a was returned */
    PyDict_GetItemRef(PyImport_GetModuleDict(), name, &module);
    return module;
}

/* For objects that do not say: the loaded module that has obj under this name; new reference or NULL. */
static PyObject *search_modules(struct pk_state *st, PyObject *obj, PyObject *qualname) {
    PyObject *modules = PyDict_Copy(PyImport_GetModuleDict());
    if (!modules)
        return NULL;
    Py_ssize_t pos = 0;
    PyObject *name, *module, *found = NULL;
    while (!found && !PyErr_Occurred() && PyDict_Next(modules, &pos, &name, &module)) {
        if (!PyUnicode_Check(name) || is_main(st, name) || module == Py_None)
            continue;
        PyObject *there = resolve(module, qualname);
        if (there == obj)
            found = Py_NewRef(name);
        Py_XDECREF(there);
    }
    Py_DECREF(modules);
    return found;
}

static PyObject *qualname_of(struct pk_state *st, PyObject *obj) {
    PyObject *name;
    if (PyFunction_Check(obj))
        return Py_NewRef(((PyFunctionObject *)obj)->func_qualname);
    if (PyObject_GetOptionalAttr(obj, PK_STR(__qualname__), &name) < 0)
        return NULL;
    if (!name && PyObject_GetOptionalAttr(obj, PK_STR(__name__), &name) < 0)
        return NULL;
    return name;
}

static PyObject *module_name_of(struct pk_state *st, PyObject *obj, PyObject *qualname) {
    PyObject *name;
    if (PyFunction_Check(obj))
        name = Py_XNewRef(((PyFunctionObject *)obj)->func_module);
    else if (PyObject_GetOptionalAttr(obj, PK_STR(__module__), &name) < 0)
        return NULL;
    if (name && name != Py_None)
        return name;
    Py_XDECREF(name);
    return search_modules(st, obj, qualname);
}

static void watch_entry(struct pickler *p, PyObject *module, PyObject *qualname, PyObject *obj) {
    if (p->watch && PyModule_Check(module) &&
        PyUnicode_FindChar(qualname, '.', 0, PyUnicode_GET_LENGTH(qualname), 1) < 0)
        pk_watch_entry(p, PyModule_GetDict(module), qualname, obj);
}

int pk_by_reference(struct pickler *p, PyObject *obj, PyObject *name, PyObject **module_out,
                    PyObject **qualname_out) {
    struct pk_state *st = p->st;
    PyObject *qualname = name ? Py_NewRef(name) : qualname_of(st, obj);
    if (!qualname)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *module = PyUnicode_Check(qualname) ? module_name_of(st, obj, qualname) : NULL;
    int rc = PyErr_Occurred() ? -1 : 0;
    if (module && PyUnicode_Check(module)) {
        if (p->flags & PK_BYREF || p->nested)
            rc = 1;
        else if (!is_main(st, module) && (rc = wanted_by_value(st, module)) >= 0)
            rc = rc == 0;
    }
    if (rc > 0 && !p->nested) {
        PyObject *holder = module_named(module);
        PyObject *found = holder ? resolve(holder, qualname) : NULL;
        rc = PyErr_Occurred() ? -1 : found == obj;
        if (rc > 0 && !(p->flags & PK_BYREF))
            rc = is_main(st, module) ? 0 : importable(st, holder);
        if (rc > 0)
            watch_entry(p, holder, qualname, obj);
        Py_XDECREF(found);
        Py_XDECREF(holder);
    }
    if (rc > 0 && PyUnicode_CompareWithASCIIString(module, "pathlib._local") == 0) {
        /* Where Python 3.13 has what all versions know as pathlib's. */
        PyObject *known = PyUnicode_InternFromString("pathlib");
        if (known)
            Py_SETREF(module, known);
        else
            rc = -1;
    }
    if (rc > 0) {
        *module_out = module;
        *qualname_out = qualname;
    } else {
        Py_XDECREF(module);
        Py_DECREF(qualname);
    }
    return rc;
}

/* copyreg.add_extension() gave the name a number. 1: written, 0, -1 */
static int write_extension(struct pickler *p, PyObject *module, PyObject *qualname) {
    PyObject *pair = PyTuple_Pack(2, module, qualname), *code;
    if (!pair)
        return -1;
    int rc = PyDict_GetItemRef(p->st->ext_registry, pair, &code);
    Py_DECREF(pair);
    if (rc <= 0)
        return rc;
    long number = PyLong_AsLong(code);
    Py_DECREF(code);
    if (number <= 0 || number > INT32_MAX)
        return PyErr_Occurred() ? -1 : 0;
    unsigned char op[5] = {OP_EXT4};
    pk_le32(op + 1, (uint32_t)number);
    if (number < 256)
        op[0] = OP_EXT1;
    else if (number < 65536)
        op[0] = OP_EXT2;
    return pk_write(p, op, number < 256 ? 2 : number < 65536 ? 3 : 5) < 0 ? -1 : 1;
}

int pk_save_name(struct pickler *p, PyObject *name) {
    if (!PyUnicode_CheckExact(name)) {
        PyErr_SetString(PyExc_TypeError, "the name of a global must be a plain string");
        return -1;
    }
    Py_INCREF(name);
    PyUnicode_InternInPlace(&name);
    Py_INCREF(name); /* two references: not taken for a string that nobody else has */
    int rc = pk_save_str(p, name);
    Py_DECREF(name);
    Py_DECREF(name);
    return rc;
}

/* GLOBAL of protocols 2 and 3: two lines; a dotted name is an attribute of what is before the dot. */
static int write_old_global(struct pickler *p, PyObject *obj, PyObject *module,
                            PyObject *qualname) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(qualname);
    Py_ssize_t dot = PyUnicode_FindChar(qualname, '.', 0, n, -1);
    if (dot > 0) {
        PyObject *outer = PyUnicode_Substring(qualname, 0, dot);
        PyObject *last = PyUnicode_Substring(qualname, dot + 1, n);
        PyObject *holder = module_named(module), *owner = NULL;
        if (outer && last && holder)
            owner = resolve(holder, outer);
        PyObject *content = owner ? PyTuple_Pack(2, owner, last) : NULL;
        int rc = content ? pk_save_old(p, obj, "builtins.getattr", content) : -1;
        Py_XDECREF(outer);
        Py_XDECREF(last);
        Py_XDECREF(holder);
        Py_XDECREF(owner);
        return rc;
    }
    Py_ssize_t len, len2;
    const char *line = PyUnicode_AsUTF8AndSize(module, &len);
    const char *line2 = line ? PyUnicode_AsUTF8AndSize(qualname, &len2) : NULL;
    if (!line2 || pk_put(p, OP_GLOBAL) < 0 || pk_write(p, line, (size_t)len) < 0 ||
        pk_put(p, '\n') < 0 || pk_write(p, line2, (size_t)len2) < 0 || pk_put(p, '\n') < 0)
        return -1;
    return pk_memoize(p, obj);
}

int pk_write_global(struct pickler *p, PyObject *obj, PyObject *module, PyObject *qualname) {
    if (PyDict_GET_SIZE(p->st->ext_registry) > 0) {
        int rc = write_extension(p, module, qualname);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    if (p->proto < 4)
        return write_old_global(p, obj, module, qualname);
    if (pk_save_name(p, module) < 0 || pk_save_name(p, qualname) < 0 ||
        pk_put(p, OP_STACK_GLOBAL) < 0)
        return -1;
    return pk_memoize(p, obj);
}

static int not_found(struct pickler *p, PyObject *obj, PyObject *name) {
    struct pk_state *st = p->st;
    PyObject *qualname = name ? Py_NewRef(name) : qualname_of(st, obj);
    PyObject *module = qualname ? module_name_of(st, obj, qualname) : NULL;
    PyErr_Clear();
    PyObject *text =
        module ? PyUnicode_FromFormat("it is not found as %S.%S, so nobody else can import it",
                                      module, qualname)
               : PyUnicode_FromFormat("no loaded module has it under the name %S",
                                      qualname ? qualname : Py_None);
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    if (utf8)
        pk_cannot(p, obj, utf8);
    Py_XDECREF(text);
    Py_XDECREF(module);
    Py_XDECREF(qualname);
    return -1;
}

int pk_save_global(struct pickler *p, PyObject *obj, PyObject *name) {
    PyObject *module, *qualname;
    if (!obj)
        return pk_cannot(p, Py_None, "a reducer returned a name without an object");
    int flags = p->flags;
    p->flags |= PK_BYREF; /* whoever asks for a global has no other way */
    int rc = pk_by_reference(p, obj, name, &module, &qualname);
    p->flags = flags;
    if (rc <= 0)
        return rc < 0 ? -1 : not_found(p, obj, name);
    rc = pk_write_global(p, obj, module, qualname);
    Py_DECREF(module);
    Py_DECREF(qualname);
    return rc;
}

int pk_write_helper(struct pickler *p, enum pk_helper which) {
    struct pk_state *st = p->st;
    PyObject *helper = st->helper[which];
    int rc = pk_seen(p, helper);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (p->proto < 4) {
        PyObject *old = PyUnicode_FromString(pk_helper_names[which]);
        rc = old ? write_old_global(p, helper, st->core_name, old) : -1;
        Py_XDECREF(old);
        return rc;
    }
    const char *name = pk_helper_names[which];
    if (pk_save_name(p, st->core_name) < 0 || pk_write_str(p, name, strlen(name)) < 0 ||
        pk_put(p, OP_STACK_GLOBAL) < 0)
        return -1;
    return pk_memoize(p, helper);
}

/* --- modules ---------------------------------------------------------------------------------------------- */

static PyObject *module_state(struct pk_state *st, PyObject *module) {
    PyObject *vars = PyDict_Copy(PyModule_GetDict(module));
    static const char *const not_ours[] = {"__builtins__", "__loader__", "__spec__"};
    for (size_t i = 0; vars && i < Py_ARRAY_LENGTH(not_ours); i++) {
        if (PyDict_GetItemString(vars, not_ours[i]) && PyDict_DelItemString(vars, not_ours[i]) < 0)
            Py_CLEAR(vars);
    }
    (void)st;
    return vars;
}

/* The empty module is in the memo and on the stack. */
static int save_module_content(struct pickler *p, PyObject *module) {
    PyObject *vars = module_state(p->st, module);
    if (!vars)
        return -1;
    int rc = pk_put(p, OP_EMPTY_DICT);
    if (rc == 0)
        rc = pk_push_items(p, vars, PK_FF_ATTRS | PK_FF_BUILD);
    Py_DECREF(vars);
    return rc;
}

int pk_module_by_reference(struct pk_state *st, PyObject *module, PyObject *name) {
    PyObject *there;
    if (PyDict_GetItemRef(PyImport_GetModuleDict(), name, &there) < 0)
        return -1;
    int by_ref = there == module;
    Py_XDECREF(there);
    if (!by_ref || is_main(st, name))
        return by_ref;
    by_ref = wanted_by_value(st, name);
    return by_ref < 0 ? -1 : by_ref ? 0 : importable(st, module);
}

int pk_save_module(struct pickler *p, PyObject *obj) {
    PyObject *name = PyModule_GetNameObject(obj);
    int rc = -1, by_ref = name ? pk_module_by_reference(p->st, obj, name) : -1;
    if (!name)
        return -1;
    static const char call[] = {OP_TUPLE1, OP_REDUCE};
    if (by_ref >= 0 && pk_write_helper(p, by_ref ? PK_HELPER_IMPORT : PK_HELPER_MODULE) == 0 &&
        pk_save_name(p, name) == 0 && pk_write(p, call, sizeof call) == 0 &&
        pk_memoize(p, obj) == 0) {
        if (!by_ref)
            pk_watch_mutable(p);
        rc = by_ref ? 0 : save_module_content(p, obj);
    }
    Py_DECREF(name);
    return rc;
}
