/* dumps, loads, dump, load, copy and what belongs to them. */
#include "track.h"
#include "types.h"
#include "unpickler.h"

enum { HIGHEST = 5, LOWEST = 2 };

int pk_protocol(PyObject *given) {
    if (!given || given == Py_None)
        return HIGHEST;
    long protocol = PyLong_AsLong(given);
    if (protocol == -1 && PyErr_Occurred())
        return -1;
    if (protocol < 0)
        return HIGHEST;
    if (protocol <= HIGHEST)
        return protocol < LOWEST ? LOWEST : (int)protocol;
    PyErr_Format(PyExc_ValueError, "pickle protocol must be <= %d", HIGHEST);
    return -1;
}

int pk_call_buffer(void *callback, PyObject *pickle_buffer) {
    PyObject *answer = PyObject_CallOneArg(callback, pickle_buffer);
    if (!answer)
        return -1;
    int in_band = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return in_band < 0 ? -1 : !in_band;
}

PyObject *pk_next_of_buffers(void *ctx) {
    struct pk_buffers *buffers = ctx;
    PyObject *next = buffers->iterator ? PyIter_Next(buffers->iterator) : NULL;
    if (!next && !PyErr_Occurred())
        core_raise(buffers->module, CORE_EXC_UNPICKLING_ERROR, "%s",
                   buffers->iterator ? "not enough out-of-band buffers"
                                     : "pickle stream refers to out-of-band data but no *buffers* "
                                       "argument was given");
    return next;
}

/* --- arguments: names[i] may be given by position for i < npos, by keyword for all ----------------------------- */

static int parse(const char *func, const char *const *names, int count, int npos, int needed,
                 PyObject *const *args, Py_ssize_t n, PyObject *kwnames, PyObject **values) {
    if (n > npos) {
        PyErr_Format(PyExc_TypeError, "%s() takes at most %d positional arguments (%zd given)",
                     func, npos, n);
        return -1;
    }
    for (int i = 0; i < count; i++)
        values[i] = i < n ? args[i] : NULL;
    Py_ssize_t nkw = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    for (Py_ssize_t k = 0; k < nkw; k++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, k);
        int i = 0;
        while (i < count && PyUnicode_CompareWithASCIIString(name, names[i]) != 0)
            i++;
        if (i == count || values[i]) {
            PyErr_Format(PyExc_TypeError,
                         i == count ? "%s() got an unexpected keyword argument %R"
                                    : "%s() got multiple values for argument %R",
                         func, name);
            return -1;
        }
        values[i] = args[n + k];
    }
    for (int i = 0; i < needed; i++) {
        if (!values[i]) {
            PyErr_Format(PyExc_TypeError, "%s() missing required argument '%s'", func, names[i]);
            return -1;
        }
    }
    return 0;
}

/* --- dumps ----------------------------------------------------------------------------------------------------------- */

struct dump_options {
    int protocol;
    int flags;
    struct pk_hooks hooks;
};

/* What is to be done with files: a flag, or -1. */
static int read_files(PyObject *files) {
    if (!files || files == Py_None)
        return 0;
    const char *const names[] = {"content", "reopen", "restore"};
    const int flags[] = {0, PK_FILES_REOPEN, PK_FILES_RESTORE};
    for (size_t i = 0; PyUnicode_Check(files) && i < Py_ARRAY_LENGTH(names); i++)
        if (PyUnicode_CompareWithASCIIString(files, names[i]) == 0)
            return flags[i];
    PyErr_Format(PyExc_ValueError, "files must be 'content', 'reopen' or 'restore', not %R", files);
    return -1;
}

static int read_dump_options(PyObject *protocol, PyObject *callback, PyObject *byref,
                             PyObject *files, struct dump_options *o) {
    *o = (struct dump_options){.protocol = pk_protocol(protocol)};
    if (o->protocol < 0)
        return -1;
    if (callback && callback != Py_None) {
        if (o->protocol < 5) {
            PyErr_SetString(PyExc_ValueError, "buffer_callback needs protocol >= 5");
            return -1;
        }
        o->hooks.ctx = callback;
        o->hooks.buffer = pk_call_buffer;
    }
    int by = byref && byref != Py_None ? PyObject_IsTrue(byref) : 0;
    if (by < 0)
        return -1;
    int flag = read_files(files);
    o->flags = (by ? PK_BYREF : 0) | flag;
    return flag < 0 ? -1 : 0;
}

static PyObject *dump_bytes(PyObject *module, PyObject *obj, const struct dump_options *o) {
    struct pk_bytes_sink sink;
    pk_bytes_sink_init(&sink);
    PyObject *bytes = NULL;
    if (pk_dump_protocol(module, obj, &sink.base, &o->hooks, o->flags, NULL, o->protocol) == 0)
        bytes = pk_bytes_sink_take(&sink);
    pk_bytes_sink_fini(&sink);
    return bytes;
}

PyDoc_STRVAR(
    dumps_doc,
    "dumps($module, /, obj, protocol=None, *, buffer_callback=None, byref=None, files=None)\n--\n\n"
    "The pickle of obj as bytes.\n\n"
    "What a process elsewhere can import is written by reference, everything else (functions and\n"
    "classes of __main__, lambdas, closures, nested classes) by value; byref=True writes all of "
    "them\n"
    "by reference, as pickle does. Protocols 0 and 1 are written as 2. buffer_callback takes "
    "out-of-band buffers as in pickle.dumps. Open files travel as their content (files='content'); "
    "with\n"
    "'reopen' they are opened again by name, at the same position, and with 'restore' what was in "
    "them "
    "is\n"
    "written to them first.");

static PyObject *core_dumps(PyObject *module, PyObject *const *args, Py_ssize_t n,
                            PyObject *kwnames) {
    static const char *const names[] = {"obj", "protocol", "buffer_callback", "byref", "files"};
    PyObject *v[5];
    struct dump_options options;
    if (parse("dumps", names, 5, 2, 1, args, n, kwnames, v) < 0 ||
        read_dump_options(v[1], v[2], v[3], v[4], &options) < 0)
        return NULL;
    return dump_bytes(module, v[0], &options);
}

PyDoc_STRVAR(dump_doc, "dump($module, /, obj, file, protocol=None, *, buffer_callback=None, "
                       "byref=None, files=None)\n--\n\n"
                       "Writes the pickle of obj to an open binary file. See dumps().");

static PyObject *core_dump(PyObject *module, PyObject *const *args, Py_ssize_t n,
                           PyObject *kwnames) {
    static const char *const names[] = {"obj",   "file", "protocol", "buffer_callback",
                                        "byref", "files"};
    struct pk_state *st = pk_state_of(module);
    PyObject *v[6], *write;
    struct dump_options options;
    if (parse("dump", names, 6, 3, 2, args, n, kwnames, v) < 0 ||
        read_dump_options(v[2], v[3], v[4], v[5], &options) < 0)
        return NULL;
    write = PyObject_GetAttr(v[1], PK_STR(write));
    if (!write) {
        if (PyErr_ExceptionMatches(PyExc_AttributeError))
            PyErr_SetString(PyExc_TypeError, "file must have a 'write' attribute");
        return NULL;
    }
    PyObject *bytes = dump_bytes(module, v[0], &options);
    PyObject *done = bytes ? PyObject_CallOneArg(write, bytes) : NULL;
    Py_DECREF(write);
    Py_XDECREF(bytes);
    if (!done)
        return NULL;
    Py_DECREF(done);
    Py_RETURN_NONE;
}

/* --- loads ------------------------------------------------------------------------------------------------------------- */

struct load_options {
    PyObject *buffers, *restrict_to, *encoding, *errors, *fix_imports; /* borrowed or NULL */
};

static PyObject *absent(PyObject *given) {
    return given == Py_None ? NULL : given;
}

static int apply(const struct load_options *o, struct unpickler *u) {
    if (o->fix_imports && (u->fix_imports = PyObject_IsTrue(o->fix_imports)) < 0)
        return -1;
    if (o->encoding) {
        const char *name = PyUnicode_AsUTF8(o->encoding);
        if (!name)
            return -1;
        u->as_bytes = strcmp(name, "bytes") == 0;
        u->encoding = o->encoding;
    }
    if (o->errors && !(u->errors = PyUnicode_AsUTF8(o->errors)))
        return -1;
    return 0;
}

static PyObject *load_bytes(PyObject *module, const char *data, size_t len, size_t *used,
                            const struct load_options *o) {
    struct pk_buffers buffers = {module, NULL};
    struct unpickler u;
    pk_unpickler_init(&u, pk_state_of(module));
    if (apply(o, &u) < 0)
        return NULL;
    if (o->buffers && !(buffers.iterator = PyObject_GetIter(o->buffers)))
        return NULL;
    struct pk_source source = {.buf = data,
                               .len = len,
                               .ctx = &buffers,
                               .next_buffer = pk_next_of_buffers,
                               .restrict_to = o->restrict_to};
    PyObject *obj = pk_unpickler_load(&u, &source);
    PyObject *exception = obj ? NULL : PyErr_GetRaisedException();
    pk_unpickler_fini(&u);
    Py_XDECREF(buffers.iterator);
    if (exception)
        PyErr_SetRaisedException(exception);
    if (used)
        *used = source.pos;
    return obj;
}

PyDoc_STRVAR(
    loads_doc,
    "loads($module, data, /, *, buffers=None, restrict=None, fix_imports=True, encoding='ASCII',\n"
    "      errors='strict')\n--\n\n"
    "The object whose pickle is data (any bytes-like object, any protocol).\n\n"
    "restrict is a container of the globals a stream may name, such as "
    "{'collections.OrderedDict'};\n"
    "without it a stream can call anything, so load only what you trust.");

static PyObject *core_loads(PyObject *module, PyObject *const *args, Py_ssize_t n,
                            PyObject *kwnames) {
    static const char *const names[] = {"data",        "buffers",  "restrict",
                                        "fix_imports", "encoding", "errors"};
    PyObject *v[6];
    Py_buffer view;
    if (parse("loads", names, 6, 1, 1, args, n, kwnames, v) < 0)
        return NULL;
    struct load_options options = {absent(v[1]), absent(v[2]), v[4], v[5], v[3]};
    if (PyBytes_CheckExact(v[0]))
        return load_bytes(module, PyBytes_AS_STRING(v[0]), (size_t)PyBytes_GET_SIZE(v[0]), NULL,
                          &options);
    if (PyObject_GetBuffer(v[0], &view, PyBUF_SIMPLE) < 0)
        return NULL;
    PyObject *obj = load_bytes(module, view.buf, (size_t)view.len, NULL, &options);
    PyBuffer_Release(&view);
    return obj;
}

PyDoc_STRVAR(
    load_doc,
    "load($module, file, /, *, buffers=None, restrict=None, fix_imports=True, encoding='ASCII',\n"
    "     errors='strict')\n--\n\n"
    "Reads one pickle from an open binary file. See loads().");

static PyObject *core_load(PyObject *module, PyObject *args, PyObject *kwargs) {
    struct pk_state *st = pk_state_of(module);
    PyObject *unpickler = PyObject_Call((PyObject *)st->unpickler_type, args, kwargs);
    PyObject *obj = unpickler ? PyObject_CallMethod(unpickler, "load", NULL) : NULL;
    Py_XDECREF(unpickler);
    return obj;
}

PyDoc_STRVAR(copy_doc, "copy($module, obj, /)\n--\n\n"
                       "A copy of obj made by pickling it.");

static PyObject *core_copy(PyObject *module, PyObject *obj) {
    struct pk_bytes_sink sink;
    struct pk_source source = {0};
    pk_bytes_sink_init(&sink);
    PyObject *made = NULL;
    if (pk_dump(module, obj, &sink.base, NULL, PK_BARE, NULL) == 0) {
        source.buf = sink.base.buf;
        source.len = sink.base.len;
        made = pk_load(module, &source);
    }
    pk_bytes_sink_fini(&sink);
    return made;
}

PyDoc_STRVAR(
    digest_doc,
    "digest($module, /, obj, *, size=32)\n--\n\n"
    "The name of a value: BLAKE2b of what it consists of, the same in every process.\n\n"
    "Which immutable objects are shared, the order of sets and the interning of strings "
    "do not change\n"
    "it; 1, 1.0 and True differ, and so do dicts with another order. What is shared is gone "
    "through once.");

static PyObject *core_digest(PyObject *module, PyObject *const *args, Py_ssize_t n,
                             PyObject *kwnames) {
    static const char *const names[] = {"obj", "size"};
    PyObject *v[2];
    if (parse("digest", names, 2, 1, 1, args, n, kwnames, v) < 0)
        return NULL;
    Py_ssize_t size = v[1] ? PyLong_AsSsize_t(v[1]) : 32;
    if (size == -1 && PyErr_Occurred())
        return NULL;
    return pk_digest(module, v[0], size);
}

/* --- by value ----------------------------------------------------------------------------------------------------------- */

static PyObject *name_of_module(PyObject *module) {
    if (PyModule_Check(module))
        return PyModule_GetNameObject(module);
    PyErr_Format(PyExc_ValueError, "Input should be a module object, got %S instead", module);
    return NULL;
}

PyDoc_STRVAR(register_doc, "register_pickle_by_value($module, module, /)\n--\n\n"
                           "From now on functions and classes of this module travel by value.");

static PyObject *core_register(PyObject *module, PyObject *arg) {
    struct pk_state *st = pk_state_of(module);
    PyObject *name = name_of_module(arg), *there = NULL;
    if (!name)
        return NULL;
    if (PyDict_GetItemRef(PyImport_GetModuleDict(), name, &there) == 0)
        PyErr_Format(
            PyExc_ValueError,
            "%R was not imported correctly, have you used an `import` statement to access it?",
            arg);
    Py_XDECREF(there);
    int rc = PyErr_Occurred() ? -1 : PySet_Add(st->by_value, name);
    Py_DECREF(name);
    if (rc < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(unregister_doc, "unregister_pickle_by_value($module, module, /)\n--\n\n"
                             "Takes register_pickle_by_value() back.");

static PyObject *core_unregister(PyObject *module, PyObject *arg) {
    struct pk_state *st = pk_state_of(module);
    PyObject *name = name_of_module(arg);
    if (!name)
        return NULL;
    int rc = PySet_Discard(st->by_value, name);
    Py_DECREF(name);
    if (rc == 0)
        PyErr_Format(PyExc_ValueError, "%R is not registered for pickle by value", arg);
    if (rc <= 0)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(registered_doc, "by_value_modules($module, /)\n--\n\n"
                             "The names of the modules registered for pickling by value.");

static PyObject *core_registered(PyObject *module, PyObject *unused) {
    (void)unused;
    return PySet_New(pk_state_of(module)->by_value);
}

PyDoc_STRVAR(importable_doc, "importable($module, obj, /)\n--\n\n"
                             "Whether obj (a class, function or module) travels by reference.");

static PyObject *core_importable(PyObject *module, PyObject *obj) {
    struct pickler p;
    PyObject *module_name, *qualname;
    pk_pickler_init(&p, module);
    if (PyModule_Check(obj)) {
        PyObject *name = PyModule_GetNameObject(obj);
        int by_ref = name ? pk_module_by_reference(p.st, obj, name) : -1;
        Py_XDECREF(name);
        return by_ref < 0 ? NULL : PyBool_FromLong(by_ref);
    }
    int rc = pk_by_reference(&p, obj, NULL, &module_name, &qualname);
    if (rc > 0) {
        Py_DECREF(module_name);
        Py_DECREF(qualname);
    }
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

PyDoc_STRVAR(track_id_doc, "_track_id($module, obj, /)\n--\n\n"
                           "The id under which an object that is known by identity travels.");

static PyObject *core_track_id(PyObject *module, PyObject *obj) {
    return pk_track_id(pk_state_of(module), obj);
}

PyDoc_STRVAR(track_find_doc, "_track_find($module, id, /)\n--\n\n"
                             "The object of this process that goes by the id, or None.");

static PyObject *core_track_find(PyObject *module, PyObject *id) {
    PyObject *found = PyBytes_Check(id) ? pk_track_find(pk_state_of(module), id) : NULL;
    if (!found && !PyErr_Occurred())
        Py_RETURN_NONE;
    return found;
}

PyDoc_STRVAR(track_adopt_doc, "_track_adopt($module, obj, id, /)\n--\n\n"
                              "From now on obj, made from a stream, goes by the id.");

static PyObject *core_track_adopt(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    if (n != 2 || !PyBytes_Check(args[1]))
        return PyErr_Format(PyExc_TypeError, "_track_adopt() wants an object and an id");
    if (pk_track_adopt(pk_state_of(module), args[0], args[1]) < 0)
        return NULL;
    Py_RETURN_NONE;
}

/* A sink that takes so many bytes and no more. */
static int refuse(struct pk_sink *sink, size_t need) {
    (void)sink;
    (void)need;
    PyErr_SetString(PyExc_OverflowError, "too large");
    return -1;
}

PyDoc_STRVAR(fits_doc, "_fits($module, obj, limit, /)\n--\n\n"
                       "Whether obj can be pickled in so many bytes.");

static PyObject *core_fits(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    size_t limit = n == 2 ? PyLong_AsSize_t(args[1]) : (size_t)-1;
    if (limit == (size_t)-1) {
        return PyErr_Occurred()
                   ? NULL
                   : PyErr_Format(PyExc_TypeError, "_fits() wants an object and a number of bytes");
    }
    struct pk_sink sink = {PyMem_Malloc(limit), 0, limit, refuse, NULL};
    if (!sink.buf)
        return PyErr_NoMemory();
    int rc = pk_dump(module, args[0], &sink, NULL, PK_BARE, NULL);
    PyMem_Free(sink.buf);
    if (rc < 0 && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    PyErr_Clear();
    return PyBool_FromLong(rc == 0);
}

PyDoc_STRVAR(weak_made_doc,
             "_weak_made($module, keeper, /)\n--\n\n"
             "The stream that is being loaded made a weak reference that keeps its object.");

static PyObject *core_weak_made(PyObject *module, PyObject *keeper) {
    (void)module;
    if (pk_weak_made(keeper) < 0)
        return NULL;
    Py_RETURN_NONE;
}

#define KEYWORDS METH_FASTCALL | METH_KEYWORDS

PyMethodDef pk_module_methods[] = {
    {"dumps", CORE_METHOD(core_dumps), KEYWORDS, dumps_doc},
    {"dump", CORE_METHOD(core_dump), KEYWORDS, dump_doc},
    {"loads", CORE_METHOD(core_loads), KEYWORDS, loads_doc},
    {"load", CORE_METHOD(core_load), METH_VARARGS | METH_KEYWORDS, load_doc},
    {"copy", core_copy, METH_O, copy_doc},
    {"register_pickle_by_value", core_register, METH_O, register_doc},
    {"unregister_pickle_by_value", core_unregister, METH_O, unregister_doc},
    {"digest", CORE_METHOD(core_digest), KEYWORDS, digest_doc},
    {"importable", core_importable, METH_O, importable_doc},
    {"_keep_globals", pk_keep_globals, METH_O,
     "_keep_globals($module, keeper, /)\n--\n\nkeeper(globals, small) is called with the globals "
     "of "
     "each function that tasks bring along."},
    {"_note_main", pk_note_main, METH_O,
     "_note_main($module, names, /)\n--\n\nFrom now on weak references to functions and classes of "
     "the main module that come by value are put there, by their qualified names."},
    {"_track_id", core_track_id, METH_O, track_id_doc},
    {"_track_find", core_track_find, METH_O, track_find_doc},
    {"_track_adopt", CORE_METHOD(core_track_adopt), METH_FASTCALL, track_adopt_doc},
    {"_fits", CORE_METHOD(core_fits), METH_FASTCALL, fits_doc},
    {"_weak_made", core_weak_made, METH_O, weak_made_doc},
    {"by_value_modules", core_registered, METH_NOARGS, registered_doc},
    {NULL, NULL, 0, NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, const char *name, PyTypeObject **slot) {
    PyObject *type = PyType_FromModuleAndSpec(module, spec, NULL);
    if (!type || PyModule_AddObjectRef(module, name, type) < 0) {
        Py_XDECREF(type);
        return -1;
    }
    if (slot)
        *slot = (PyTypeObject *)type;
    else
        Py_DECREF(type);
    return 0;
}

int pk_types_add(PyObject *module, struct pk_state *st) {
    if (add_type(module, &pk_pickler_spec, "Pickler", &st->pickler_type) < 0 ||
        add_type(module, &pk_unpickler_spec, "Unpickler", &st->unpickler_type) < 0)
        return -1;
    return add_type(module, &pk_callee_spec, "Callee", NULL);
}
