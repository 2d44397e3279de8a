/* Globals: module and name → object. */
#include "unpickler.h"

static int allowed(struct unpickler *u, PyObject *module, PyObject *name) {
    PyObject *full = PyUnicode_FromFormat("%U.%U", module, name);
    int rc = full ? PySequence_Contains(u->source->restrict_to, full) : -1;
    if (rc == 0)
        core_raise(
            u->st->module, CORE_EXC_UNPICKLING_ERROR,
            "global %U is not allowed: add it to restrict= if the sender may be trusted with it",
            full);
    Py_XDECREF(full);
    return rc > 0 ? 0 : -1;
}

/* What _compat_pickle says about a name of Python 2: both are new references. */
static int map_py2(struct pk_state *st, PyObject **module, PyObject **name) {
    if (!st->compat[0]) {
        PyObject *compat = PyImport_ImportModule("_compat_pickle");
        if (!compat)
            return -1;
        st->compat[0] = PyObject_GetAttrString(compat, "NAME_MAPPING");
        st->compat[1] = PyObject_GetAttrString(compat, "IMPORT_MAPPING");
        Py_DECREF(compat);
        if (!st->compat[0] || !st->compat[1])
            return -1;
    }
    PyObject *key = PyTuple_Pack(2, *module, *name), *found;
    if (!key)
        return -1;
    int rc = PyDict_GetItemRef(st->compat[0], key, &found);
    Py_DECREF(key);
    if (rc > 0) {
        if (PyTuple_Check(found) && PyTuple_GET_SIZE(found) == 2) {
            Py_SETREF(*module, Py_NewRef(PyTuple_GET_ITEM(found, 0)));
            Py_SETREF(*name, Py_NewRef(PyTuple_GET_ITEM(found, 1)));
        }
        Py_DECREF(found);
        return 0;
    }
    if (rc == 0 && (rc = PyDict_GetItemRef(st->compat[1], *module, &found)) > 0)
        Py_SETREF(*module, found);
    return rc < 0 ? -1 : 0;
}

static PyObject *module_of(PyObject *name) {
    PyObject *module = PyImport_GetModule(name);
    if (module || PyErr_Occurred())
        return module;
    /* Python 3.13 has pathlib's classes there, and says so in the streams that its own pickle writes. */
    if (!CORE_PATHLIB_LOCAL && PyUnicode_CompareWithASCIIString(name, "pathlib._local") == 0)
        return PyImport_ImportModule("pathlib");
    PyObject *top = PyImport_Import(name);
    if (!top)
        return NULL;
    Py_DECREF(top);
    module = PyImport_GetModule(name);
    if (!module && !PyErr_Occurred())
        PyErr_Format(PyExc_ModuleNotFoundError, "No module named %R", name);
    return module;
}

static PyObject *get_dotted(struct unpickler *u, PyObject *module, PyObject *name) {
    Py_ssize_t n = PyUnicode_GET_LENGTH(name);
    if (u->proto < 4 || PyUnicode_FindChar(name, '.', 0, n, 1) < 0)
        return PyObject_GetAttr(module, name);
    PyObject *holder = Py_NewRef(module);
    for (Py_ssize_t at = 0; holder && at <= n;) {
        Py_ssize_t dot = PyUnicode_FindChar(name, '.', at, n, 1);
        if (dot < 0)
            dot = n;
        PyObject *part = PyUnicode_Substring(name, at, dot);
        PyObject *next = NULL;
        if (part && PyUnicode_CompareWithASCIIString(part, "<locals>") == 0)
            PyErr_Format(PyExc_AttributeError, "Can't get local attribute %R on %R", name, module);
        else if (part)
            next = PyObject_GetAttr(holder, part);
        Py_XDECREF(part);
        Py_SETREF(holder, next);
        at = dot + 1;
    }
    return holder;
}

static PyObject *helper_named(struct pk_state *st, PyObject *module, PyObject *name) {
    if (PyUnicode_Compare(module, st->core_name) != 0)
        return NULL;
    return Py_XNewRef(PyDict_GetItemWithError(st->helper_index, name));
}

static PyObject *find(struct unpickler *u, PyObject *module, PyObject *name) {
    PyObject *found = helper_named(u->st, module, name);
    if (found)
        return found;
    PyObject *holder = module_of(module);
    if (!holder)
        return NULL;
    found = get_dotted(u, holder, name);
    Py_DECREF(holder);
    return found;
}

PyObject *pk_find_class(struct unpickler *u, PyObject *module, PyObject *name) {
    if (u->source->restrict_to && allowed(u, module, name) < 0)
        return NULL;
    if (u->find_class)
        return PyObject_CallFunctionObjArgs(u->find_class, module, name, NULL);
    if (u->proto >= 3 || !u->fix_imports)
        return find(u, module, name);
    PyObject *mapped_module = Py_NewRef(module), *mapped_name = Py_NewRef(name), *found = NULL;
    if (map_py2(u->st, &mapped_module, &mapped_name) == 0)
        found = find(u, mapped_module, mapped_name);
    Py_DECREF(mapped_module);
    Py_DECREF(mapped_name);
    return found;
}

int pk_load_stack_global(struct unpickler *u) {
    if (pk_need(u, 2) < 0)
        return -1;
    PyObject *name = u->stack[--u->sp], *module = u->stack[--u->sp], *found = NULL;
    if (PyUnicode_CheckExact(name) && PyUnicode_CheckExact(module))
        found = pk_find_class(u, module, name);
    else
        pk_bad(u, "STACK_GLOBAL requires str");
    Py_DECREF(name);
    Py_DECREF(module);
    return pk_push_value(u, found);
}

PyObject *pk_read_class(struct unpickler *u) {
    PyObject *names[2] = {NULL, NULL}, *found = NULL;
    for (int i = 0; i < 2; i++) {
        Py_ssize_t len;
        const char *line = i == 0 || names[0] ? pk_read_line(u, &len) : NULL;
        names[i] = line ? PyUnicode_DecodeUTF8(line, len, "strict") : NULL;
    }
    if (names[1])
        found = pk_find_class(u, names[0], names[1]);
    Py_XDECREF(names[0]);
    Py_XDECREF(names[1]);
    return found;
}

int pk_load_global(struct unpickler *u) {
    return pk_push_value(u, pk_read_class(u));
}

int pk_load_extension(struct unpickler *u, unsigned long code) {
    if (code == 0 || code > INT32_MAX)
        return pk_bad(u, "EXT specifies code <= 0");
    PyObject *key = PyLong_FromUnsignedLong(code), *pair;
    if (!key)
        return -1;
    int rc = PyDict_GetItemRef(u->st->ext_inverted, key, &pair);
    Py_DECREF(key);
    if (rc == 0)
        PyErr_Format(PyExc_ValueError, "unregistered extension code %lu", code);
    if (rc <= 0)
        return -1;
    PyObject *found = NULL;
    if (PyTuple_Check(pair) && PyTuple_GET_SIZE(pair) == 2 &&
        PyUnicode_Check(PyTuple_GET_ITEM(pair, 0)) && PyUnicode_Check(PyTuple_GET_ITEM(pair, 1)))
        found = pk_find_class(u, PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1));
    else
        PyErr_SetString(PyExc_ValueError, "_inverted_registry contains a broken entry");
    Py_DECREF(pair);
    return pk_push_value(u, found);
}
