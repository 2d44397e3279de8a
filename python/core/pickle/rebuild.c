/* What streams call while they are loaded: the other half of save_function.c and save_class.c. These are
 * functions of ergon._core, found there by name; changing what one takes breaks streams that exist. All check
 * what they are given, because bytes can say anything. */
#include "code_info.h"
#include "pickler.h"
#include "track.h"

#include <marshal.h>

const char *const pk_helper_names[PK_HELPER_COUNT] = {
    [PK_HELPER_CODE] = "_pk_code",
    [PK_HELPER_CELL] = "_pk_cell",
    [PK_HELPER_CELL_SET] = "_pk_cell_set",
    [PK_HELPER_FUNCTION] = "_pk_function",
    [PK_HELPER_CLASS] = "_pk_class",
    [PK_HELPER_CLASS_SET] = "_pk_class_set",
    [PK_HELPER_ENUM] = "_pk_enum",
    [PK_HELPER_MODULE] = "_pk_module",
    [PK_HELPER_IMPORT] = "_pk_import",
    [PK_HELPER_NEW] = "_pk_new",
    [PK_HELPER_CLASS_BLOB] = "_pk_class_blob",
    [PK_HELPER_TYPEVAR] = "_pk_typevar",
    [PK_HELPER_BYTES] = "_pk_bytes",
};

static int nargs_between(const char *name, Py_ssize_t n, Py_ssize_t least, Py_ssize_t most) {
    if (n >= least && n <= most)
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd arguments, got %zd", name, least, most, n);
    return -1;
}

static int want(const char *name, PyObject *obj, PyTypeObject *type) {
    if (PyObject_TypeCheck(obj, type))
        return 0;
    PyErr_Format(PyExc_TypeError, "%s() wants a %s, got a %s", name, type->tp_name,
                 Py_TYPE(obj)->tp_name);
    return -1;
}

static PyObject *rebuild_code(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    if (nargs_between("_pk_code", n, 2, 2) < 0 || want("_pk_code", args[0], &PyLong_Type) < 0 ||
        want("_pk_code", args[1], &PyBytes_Type) < 0)
        return NULL;
    long version = PyLong_AsLong(args[0]);
    if (version == -1 && PyErr_Occurred())
        return NULL;
    if (version != PY_VERSION_HEX >> 16)
        return core_raise(
            module, CORE_EXC_UNPICKLING_ERROR,
            "this stream carries code compiled by Python %d.%d, which Python %d.%d cannot "
            "run: use the same version on both sides, or let the function be imported",
            (int)(version >> 8), (int)(version & 255), PY_MAJOR_VERSION, PY_MINOR_VERSION);
    PyObject *code =
        PyMarshal_ReadObjectFromString(PyBytes_AS_STRING(args[1]), PyBytes_GET_SIZE(args[1]));
    if (code && want("_pk_code", code, &PyCode_Type) < 0)
        Py_CLEAR(code);
    PyObject *whole = code ? pk_code_with_slices(code) : NULL;
    Py_XDECREF(code);
    return whole;
}

static PyObject *rebuild_cell(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (nargs_between("_pk_cell", n, 0, 1) < 0)
        return NULL;
    return PyCell_New(n ? args[0] : NULL);
}

static PyObject *rebuild_cell_set(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (nargs_between("_pk_cell_set", n, 2, 2) < 0 ||
        want("_pk_cell_set", args[0], &PyCell_Type) < 0 || PyCell_Set(args[0], args[1]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* A closure must fit the code, or running it reads outside: new reference, NULL with an exception. */
static int check_closure(PyObject *code, PyObject *closure) {
    Py_ssize_t want_n = PyCode_GetNumFree((PyCodeObject *)code);
    Py_ssize_t got = closure == Py_None ? 0 : -1;
    if (PyTuple_CheckExact(closure)) {
        got = PyTuple_GET_SIZE(closure);
        for (Py_ssize_t i = 0; i < got; i++)
            if (!PyCell_Check(PyTuple_GET_ITEM(closure, i)))
                got = -1;
    }
    if (got == want_n)
        return 0;
    PyErr_Format(PyExc_ValueError, "_pk_function() wants a closure of %zd cells", want_n);
    return -1;
}

/* --- what globals are in a worker ----------------------------------------------------------------------------------- */

/* Functions of tasks are loaded one by one, each with globals of its own, and those with something mutable inside are loaded
 * again and again. What tasks do to a global, and what an initializer sets, is to be seen by those that come later, as if
 * each module had one dict: ergon/_worker.py knows what is there by now. A function's globals follow it in the stream: they
 * are looked at when the stream ends. */
PyObject *pk_keep_globals(PyObject *module, PyObject *keeper) {
    struct pk_state *st = pk_state_of(module);
    Py_XSETREF(st->keeper, Py_NewRef(keeper));
    Py_RETURN_NONE;
}

static int note_globals(struct pk_state *st, PyObject *globals) {
    if (st->due_globals)
        return PyList_Append(st->due_globals, globals);
    return 0;
}

PyObject *pk_load_kept(PyObject *module, struct pk_source *source, int small) {
    struct pk_state *st = pk_state_of(module);
    if (!st->keeper)
        return pk_load(module, source);
    PyObject *outer = st->due_globals; /* one load may lead to another */
    st->kept_small = small;
    PyObject *due = st->due_globals = PyList_New(0);
    PyObject *loaded = due ? pk_load(module, source) : NULL;
    st->due_globals = outer;
    for (Py_ssize_t i = 0; loaded && i < PyList_GET_SIZE(due); i++) {
        PyObject *done = PyObject_CallFunction(st->keeper, "OO", PyList_GET_ITEM(due, i),
                                               small ? Py_True : Py_False);
        if (!done)
            Py_CLEAR(loaded);
        Py_XDECREF(done);
    }
    Py_XDECREF(due);
    return loaded;
}

/* The same for the attributes of a class that came before, at once: they are about to be set. 0 or -1. */
static int keep_attributes(struct pk_state *st, PyObject *cls, PyObject *attributes) {
    if (!st->due_globals || !st->keeper)
        return 0;
    PyObject *done = PyObject_CallFunction(st->keeper, "OOO", attributes,
                                           st->kept_small ? Py_True : Py_False, cls);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

static PyObject *rebuild_function(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    struct pk_state *st = pk_state_of(module);
    if (nargs_between("_pk_function", n, 5, 5) < 0 ||
        want("_pk_function", args[0], &PyCode_Type) < 0 ||
        want("_pk_function", args[1], &PyDict_Type) < 0 ||
        want("_pk_function", args[3], &PyUnicode_Type) < 0 || check_closure(args[0], args[2]) < 0)
        return NULL;
    /* The import system looks them up there. */
    PyObject *builtins = PyUnicode_FromString("__builtins__");
    int rc = builtins ? PyDict_Contains(args[1], builtins) : -1;
    if (rc == 0)
        rc = PyDict_SetItem(args[1], builtins, PyEval_GetBuiltins());
    Py_XDECREF(builtins);
    if (rc < 0 || note_globals(st, args[1]) < 0)
        return NULL;
    PyObject *func = PyFunction_NewWithQualName(args[0], args[1], args[3]);
    if (!func)
        return NULL;
    if (args[2] != Py_None && PyFunction_SetClosure(func, args[2]) < 0)
        Py_CLEAR(func);
    if (func && (PyObject_SetAttrString(func, "__module__", args[4]) < 0 ||
                 pk_main_function(st, func, args[4], args[3]) < 0))
        Py_CLEAR(func);
    return func;
}

static PyObject *rebuild_module(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (nargs_between("_pk_module", n, 1, 1) < 0 ||
        want("_pk_module", args[0], &PyUnicode_Type) < 0)
        return NULL;
    PyObject *made = PyModule_NewObject(args[0]);
    if (made && PyModule_AddObjectRef(made, "__builtins__", PyEval_GetBuiltins()) < 0)
        Py_CLEAR(made);
    return made;
}

static PyObject *rebuild_import(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (nargs_between("_pk_import", n, 1, 1) < 0 ||
        want("_pk_import", args[0], &PyUnicode_Type) < 0)
        return NULL;
    PyObject *found = PyImport_GetModule(args[0]);
    if (found || PyErr_Occurred())
        return found;
    PyObject *top = PyImport_Import(args[0]);
    if (!top)
        return NULL;
    Py_DECREF(top);
    found = PyImport_GetModule(args[0]);
    if (!found && !PyErr_Occurred())
        PyErr_Format(PyExc_ModuleNotFoundError, "No module named %R", args[0]);
    return found;
}

static PyObject *rebuild_new(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (nargs_between("_pk_new", n, 1, 1) < 0 || want("_pk_new", args[0], &PyType_Type) < 0)
        return NULL;
    return PyObject_CallMethod((PyObject *)&PyBaseObject_Type, "__new__", "O", args[0]);
}

static PyObject *rebuild_bytes(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    (void)module;
    if (nargs_between("_pk_bytes", n, 1, 1) < 0)
        return NULL;
    if (PyBytes_CheckExact(args[0]))
        return Py_NewRef(args[0]);
    if (!PyObject_CheckBuffer(args[0])) {
        PyErr_SetString(PyExc_TypeError, "_pk_bytes() wants a buffer");
        return NULL;
    }
    return PyBytes_FromObject(args[0]);
}

/* --- classes ---------------------------------------------------------------------------------------------------- */

/* A class already here that the stream means: new reference; NULL: none, or an exception. */
static PyObject *known_class(struct pk_state *st, PyObject *id) {
    if (!PyBytes_CheckExact(id))
        return NULL;
    return pk_track_find(st, id);
}

static PyObject *adopt(struct pk_state *st, PyObject *cls, PyObject *id) {
    if (cls && PyType_Check(cls) && PyBytes_CheckExact(id) && pk_track_adopt(st, cls, id) < 0)
        Py_CLEAR(cls);
    return cls;
}

/* (meta, name, bases, namespace, id) */
static PyObject *rebuild_class(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    struct pk_state *st = pk_state_of(module);
    if (nargs_between("_pk_class", n, 5, 5) < 0 || want("_pk_class", args[0], &PyType_Type) < 0 ||
        want("_pk_class", args[1], &PyUnicode_Type) < 0 ||
        want("_pk_class", args[2], &PyTuple_Type) < 0 ||
        want("_pk_class", args[3], &PyDict_Type) < 0)
        return NULL;
    PyObject *cls = known_class(st, args[4]);
    if (cls || PyErr_Occurred())
        return cls;
    return adopt(st, pk_make_class(st, args[0], args[1], args[2], args[3]), args[4]);
}

static PyObject *prepare_enum(PyObject *meta, PyObject *name, PyObject *bases, PyObject *space,
                              PyObject *members) {
    PyObject *prepared = PyObject_CallMethod(meta, "__prepare__", "OO", name, bases);
    PyObject *key, *value;
    for (int round = 0; prepared && round < 2; round++) {
        Py_ssize_t pos = 0;
        PyObject *from = round ? members : space;
        while (prepared && PyDict_Next(from, &pos, &key, &value))
            if (PyObject_SetItem(prepared, key, value) < 0)
                Py_CLEAR(prepared);
    }
    return prepared;
}

/* (meta, name, bases, namespace, id, members) */
static PyObject *rebuild_enum(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    struct pk_state *st = pk_state_of(module);
    if (nargs_between("_pk_enum", n, 6, 6) < 0 || want("_pk_enum", args[0], &PyType_Type) < 0 ||
        want("_pk_enum", args[1], &PyUnicode_Type) < 0 ||
        want("_pk_enum", args[2], &PyTuple_Type) < 0 ||
        want("_pk_enum", args[3], &PyDict_Type) < 0 || want("_pk_enum", args[5], &PyDict_Type) < 0)
        return NULL;
    PyObject *cls = known_class(st, args[4]);
    if (cls || PyErr_Occurred())
        return cls;
    PyObject *space = prepare_enum(args[0], args[1], args[2], args[3], args[5]);
    cls = space ? PyObject_CallMethod(args[0], "__new__", "OOOO", args[0], args[1], args[2], space)
                : NULL;
    Py_XDECREF(space);
    return adopt(st, cls, args[4]);
}

static int set_attributes(PyObject *cls, PyObject *attrs) {
    PyObject *name, *value;
    Py_ssize_t pos = 0;
    while (PyDict_Next(attrs, &pos, &name, &value)) {
        /* type.__setattr__: metaclasses that watch assignments saw the class when it was made. */
        if (PyType_Type.tp_setattro(cls, name, value) < 0)
            return -1;
    }
    return 0;
}

/* A class loaded before loses what its sender has deleted since. Public names only: the others may be made by
 * the metaclass here. */
static int delete_others(PyObject *cls, PyObject *attrs) {
    PyObject *dict = core_type_dict((PyTypeObject *)cls), *names = PyDict_Keys(dict);
    int rc = names ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i);
        PyObject *value = PyDict_GetItemWithError(dict, name);
        if (!value || !PyUnicode_Check(name) || PyUnicode_GET_LENGTH(name) == 0 ||
            PyUnicode_READ_CHAR(name, 0) == '_' || Py_TYPE(value) == &PyMemberDescr_Type)
            continue;
        int there = PyDict_Contains(attrs, name);
        if (there <= 0)
            rc = there < 0 ? -1 : PyType_Type.tp_setattro(cls, name, NULL);
    }
    Py_XDECREF(names);
    Py_DECREF(dict);
    return rc;
}

static int set_members(PyObject *cls, PyObject *extra) {
    PyObject *name, *vars;
    Py_ssize_t pos = 0;
    while (PyDict_Next(extra, &pos, &name, &vars)) {
        PyObject *member = PyObject_GetItem(cls, name);
        PyObject *dict = member ? PyObject_GenericGetDict(member, NULL) : NULL;
        int rc = dict && PyDict_Check(vars) ? PyDict_Update(dict, vars) : -1;
        Py_XDECREF(member);
        Py_XDECREF(dict);
        if (rc < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "_pk_class_set() got a broken enum");
            return -1;
        }
    }
    return 0;
}

static int register_all(PyObject *cls, PyObject *classes) {
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(classes); i++) {
        PyObject *done = PyObject_CallMethod(cls, "register", "O", PyList_GET_ITEM(classes, i));
        if (!done)
            return -1;
        Py_DECREF(done);
    }
    return 0;
}

/* (class, id, attributes, extra): nothing happens to a class of this process's own code. */
static PyObject *rebuild_class_set(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    if (nargs_between("_pk_class_set", n, 4, 4) < 0 ||
        want("_pk_class_set", args[0], &PyType_Type) < 0 ||
        want("_pk_class_set", args[2], &PyDict_Type) < 0)
        return NULL;
    if (!PyType_HasFeature((PyTypeObject *)args[0], Py_TPFLAGS_HEAPTYPE)) {
        PyErr_SetString(PyExc_TypeError, "_pk_class_set() wants a class made by a class statement");
        return NULL;
    }
    if (pk_track_is_native(pk_state_of(module), args[0]))
        Py_RETURN_NONE;
    if (keep_attributes(pk_state_of(module), args[0], args[2]) < 0 ||
        set_attributes(args[0], args[2]) < 0)
        return NULL;
    if (!PyDict_Check(args[3]) && !pk_is_enum(pk_state_of(module), (PyTypeObject *)args[0]) &&
        delete_others(args[0], args[2]) < 0)
        return NULL;
    if (PyDict_Check(args[3]) && set_members(args[0], args[3]) < 0)
        return NULL;
    if (PyList_Check(args[3]) && register_all(args[0], args[3]) < 0)
        return NULL;
    if (pk_main_class(pk_state_of(module), args[0]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* (name, constraints, bound, covariant, contravariant, module, id) */
static PyObject *rebuild_typevar(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    struct pk_state *st = pk_state_of(module);
    if (nargs_between("_pk_typevar", n, 7, 7) < 0 ||
        want("_pk_typevar", args[0], &PyUnicode_Type) < 0 ||
        want("_pk_typevar", args[1], &PyTuple_Type) < 0 ||
        want("_pk_typevar", args[6], &PyBytes_Type) < 0)
        return NULL;
    PyObject *made = known_class(st, args[6]);
    if (made || PyErr_Occurred())
        return made;
    PyObject *typing = PyImport_ImportModule("typing");
    PyObject *type = typing ? PyObject_GetAttrString(typing, "TypeVar") : NULL;
    PyObject *name = PyTuple_Pack(1, args[0]);
    PyObject *call = name ? PySequence_Concat(name, args[1]) : NULL;
    PyObject *kwargs = Py_BuildValue("{s:O,s:O,s:O}", "bound", args[2], "covariant", args[3],
                                     "contravariant", args[4]);
    if (type && call && kwargs)
        made = PyObject_Call(type, call, kwargs);
    if (made && (PyObject_SetAttrString(made, "__module__", args[5]) < 0 ||
                 pk_track_adopt(st, made, args[6]) < 0))
        Py_CLEAR(made);
    Py_XDECREF(typing);
    Py_XDECREF(type);
    Py_XDECREF(name);
    Py_XDECREF(call);
    Py_XDECREF(kwargs);
    return made;
}

#define HELPER(name, function)                                                                     \
    { name, CORE_METHOD(function), METH_FASTCALL, NULL }

PyMethodDef pk_rebuild_methods[] = {
    HELPER("_pk_code", rebuild_code),
    HELPER("_pk_cell", rebuild_cell),
    HELPER("_pk_cell_set", rebuild_cell_set),
    HELPER("_pk_function", rebuild_function),
    HELPER("_pk_class", rebuild_class),
    HELPER("_pk_class_set", rebuild_class_set),
    HELPER("_pk_enum", rebuild_enum),
    HELPER("_pk_module", rebuild_module),
    HELPER("_pk_import", rebuild_import),
    HELPER("_pk_new", rebuild_new),
    HELPER("_pk_bytes", rebuild_bytes),
    HELPER("_pk_typevar", rebuild_typevar),
    HELPER("_pk_class_blob", pk_rebuild_class_blob),
    {NULL, NULL, 0, NULL},
};
