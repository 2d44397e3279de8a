/* The file that knows how CPython's versions differ; how their frames and bytecode do is known to flow/frames.h,
 * flow/opcodes.h and flow/bytecode.c. Newer names are used everywhere; here they are given to versions that lack
 * them. */
#ifndef ERG_CORE_COMPAT_H
#define ERG_CORE_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if PY_VERSION_HEX < 0x030B0000
#error "Ergon needs CPython 3.11 or newer"
#endif

/* A METH_FASTCALL, METH_KEYWORDS or METH_NOARGS function as a PyMethodDef wants it. */
#define CORE_METHOD(function) ((PyCFunction)(void (*)(void))(function))

/* --- new in 3.12 ------------------------------------------------------------------------------------ */
#if PY_VERSION_HEX < 0x030C0000

/* The raised exception as one object with its traceback attached, taken out of the thread state; NULL when
 * there is none. */
static inline PyObject *PyErr_GetRaisedException(void) {
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_XDECREF(traceback);
    Py_DECREF(type);
    return value;
}

/* Puts it back; takes the reference. */
static inline void PyErr_SetRaisedException(PyObject *exception) {
    PyObject *type = Py_NewRef((PyObject *)Py_TYPE(exception));
    PyErr_Restore(type, exception, PyException_GetTraceback(exception));
}

#endif

/* Sets the exception, which stays as it is: its traceback too. Borrows. */
static inline void core_raise_as_is(PyObject *exception) {
#if PY_VERSION_HEX < 0x030C0000
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), Py_NewRef(exception), NULL);
#else
    PyErr_SetRaisedException(Py_NewRef(exception));
#endif
}

/* --- new in 3.13 ------------------------------------------------------------------------------------ */
#if PY_VERSION_HEX < 0x030D0000

/* 1 and a new reference, 0 and NULL when the key is not there, -1 with an exception. */
static inline int PyDict_GetItemRef(PyObject *dict, PyObject *key, PyObject **result) {
    *result = Py_XNewRef(PyDict_GetItemWithError(dict, key));
    return *result ? 1 : PyErr_Occurred() ? -1 : 0;
}

/* The same for attributes. */
static inline int PyObject_GetOptionalAttr(PyObject *obj, PyObject *name, PyObject **result) {
    return _PyObject_LookupAttr(obj, name, result);
}

static inline int PyObject_GetOptionalAttrString(PyObject *obj, const char *name,
                                                 PyObject **result) {
    PyObject *key = PyUnicode_FromString(name);
    if (!key) {
        *result = NULL;
        return -1;
    }
    int rc = _PyObject_LookupAttr(obj, key, result);
    Py_DECREF(key);
    return rc;
}

static inline PyObject *PyList_GetItemRef(PyObject *list, Py_ssize_t index) {
    return Py_XNewRef(PyList_GetItem(list, index));
}

static inline int Py_IsFinalizing(void) {
    return _Py_IsFinalizing();
}

#endif

/* --- insides of built-in types the serializer is quick with --------------------------------------------- */

/* 1 and *value when the int has at most one digit (its absolute value is below 2^30), else 0. */
static inline int core_long_small(PyObject *obj, long *value) {
#if PY_VERSION_HEX >= 0x030C0000
    PyLongObject *number = (PyLongObject *)obj;
    if (!PyUnstable_Long_IsCompact(number))
        return 0;
    *value = (long)PyUnstable_Long_CompactValue(number);
    return 1;
#else
    PyLongObject *number = (PyLongObject *)obj;
    switch (Py_SIZE(number)) {
    case 0:
        *value = 0;
        return 1;
    case 1:
        *value = (long)number->ob_digit[0];
        return 1;
    case -1:
        *value = -(long)number->ob_digit[0];
        return 1;
    default:
        return 0;
    }
#endif
}

/* Two's complement, little end first, in exactly len bytes. 0 or -1 with OverflowError. */
static inline int core_long_as_bytes(PyObject *obj, unsigned char *bytes, size_t len) {
#if PY_VERSION_HEX >= 0x030D0000
    return _PyLong_AsByteArray((PyLongObject *)obj, bytes, len, 1, 1, 1);
#else
    return _PyLong_AsByteArray((PyLongObject *)obj, bytes, len, 1, 1);
#endif
}

static inline PyObject *core_long_from_bytes(const unsigned char *bytes, size_t len) {
#if PY_VERSION_HEX >= 0x030D0000
    return PyLong_FromNativeBytes(bytes, len, Py_ASNATIVEBYTES_LITTLE_ENDIAN);
#else
    return _PyLong_FromByteArray(bytes, len, 1, 1);
#endif
}

/* A number that stays the same until the type or one of its bases changes; 0 when CPython gives none. */
static inline unsigned int core_type_version(PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyUnstable_Type_AssignVersionTag(type) ? type->tp_version_tag : 0;
#else
    if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) {
        PyObject *name = PyUnicode_InternFromString("__module__");
        if (name)
            (void)_PyType_Lookup(type, name); /* gives it a tag */
        else
            PyErr_Clear();
        Py_XDECREF(name);
        if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG))
            return 0;
    }
    return type->tp_version_tag;
#endif
}

/* `version` came from core_type_version() and the type has not changed since. */
static inline int core_type_version_is(PyTypeObject *type, unsigned int version) {
#if PY_VERSION_HEX < 0x030C0000
    if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG))
        return 0;
#endif
    return version != 0 && type->tp_version_tag == version;
}

/* Instances of the type have a __dict__. */
static inline int core_type_has_dict(PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030C0000
    if (PyType_HasFeature(type, Py_TPFLAGS_MANAGED_DICT))
        return 1;
#endif
    return type->tp_dictoffset != 0;
}

/* What an instance with nothing but a __dict__ and a list of weak references takes. */
static inline Py_ssize_t core_plain_basicsize(PyTypeObject *type) {
    Py_ssize_t size = PyBaseObject_Type.tp_basicsize;
    if (type->tp_dictoffset > 0)
        size += (Py_ssize_t)sizeof(PyObject *);
    if (type->tp_weaklistoffset > 0)
        size += (Py_ssize_t)sizeof(PyObject *);
    return size;
}

/* Only one reference to obj exists, and it is the caller's to know who holds it. */
static inline int core_only_ref(PyObject *obj) {
#ifdef Py_GIL_DISABLED
    (void)obj;
    return 0;
#else
    return Py_REFCNT(obj) == 1;
#endif
}

/* Attribute of the type, without the descriptor protocol; borrowed, NULL without an exception. */
static inline PyObject *core_type_lookup(PyTypeObject *type, PyObject *name) {
    return _PyType_Lookup(type, name);
}

/* A word of ours at a code object, by an index from the first of these, whose argument (or NULL) frees it when the code goes. */
#if PY_VERSION_HEX >= 0x030C0000
#define core_code_extra_index PyUnstable_Eval_RequestCodeExtraIndex
#define core_code_get_extra PyUnstable_Code_GetExtra
#define core_code_set_extra PyUnstable_Code_SetExtra
#else
#define core_code_extra_index _PyEval_RequestCodeExtraIndex
#define core_code_get_extra _PyCode_GetExtra
#define core_code_set_extra _PyCode_SetExtra
#endif

/* Index of the name in the argument of LOAD_ATTR. */
static inline unsigned int core_attr_index(unsigned int arg) {
#if PY_VERSION_HEX >= 0x030C0000
    return arg >> 1;
#else
    return arg;
#endif
}

/* The names of a code object's free variables: new tuple. */
static inline PyObject *core_code_freevars(PyCodeObject *code) {
    return PyCode_GetFreevars(code);
}

/* What PyFunction_New() takes as the docstring of a function of this code: borrowed. */
static inline PyObject *core_code_doc(PyCodeObject *code) {
#if PY_VERSION_HEX >= 0x030E0000
    if (!(code->co_flags & CO_HAS_DOCSTRING))
        return Py_None;
#endif
    PyObject *doc =
        PyTuple_GET_SIZE(code->co_consts) > 0 ? PyTuple_GET_ITEM(code->co_consts, 0) : Py_None;
    return PyUnicode_Check(doc) ? doc : Py_None;
}

/* A function's annotations, which may have to be evaluated first: borrowed dict, or NULL. Where they cannot be evaluated yet
 * *later is the function that will say them, borrowed; else it is NULL. 0 or -1 with an exception. */
static inline int core_function_annotations(PyObject *func, PyObject **dict, PyObject **later) {
    *later = NULL;
    *dict = PyFunction_GetAnnotations(func);
#if PY_VERSION_HEX >= 0x030E0000
    if (*dict && !PyDict_Check(*dict))
        *dict = NULL;
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_Exception)) {
        PyErr_Clear();
        *later = ((PyFunctionObject *)func)->func_annotate;
    }
#endif
    return *dict || !PyErr_Occurred() ? 0 : -1;
}

/* A class's own annotations where its __dict__ has a function that says them instead: new reference. NULL: it has none, or
 * they cannot be evaluated yet. */
static inline PyObject *core_late_annotations(PyTypeObject *cls) {
#if PY_VERSION_HEX >= 0x030E0000
    PyObject *dict = PyType_GetDict(cls), *made = NULL;
    if (PyDict_GetItemString(dict, "__annotate_func__") ||
        PyDict_GetItemString(dict, "__annotations_cache__"))
        made = PyObject_GetAttrString((PyObject *)cls, "__annotations__");
    Py_DECREF(dict);
    if (made && PyDict_Check(made))
        return made;
    Py_XDECREF(made);
    PyErr_Clear();
#else
    (void)cls;
#endif
    return NULL;
}

/* A class's own __dict__: new reference. */
static inline PyObject *core_type_dict(PyTypeObject *type) {
#if PY_VERSION_HEX >= 0x030C0000
    return PyType_GetDict(type);
#else
    return Py_NewRef(type->tp_dict);
#endif
}

/* What a weak reference refers to: new reference, or NULL without an exception. */
static inline PyObject *core_weakref_get(PyObject *ref) {
#if PY_VERSION_HEX >= 0x030D0000
    PyObject *obj;
    return PyWeakref_GetRef(ref, &obj) > 0 ? obj : NULL;
#else
    PyObject *obj = PyWeakref_GetObject(ref);
    return obj && obj != Py_None ? Py_NewRef(obj) : NULL;
#endif
}

/* Moves n references into an empty list. 0; -1: not done (the list is not empty, or no memory). */
static inline int core_list_steal(PyObject *list, PyObject **items, Py_ssize_t n) {
#ifdef Py_GIL_DISABLED
    (void)list, (void)items, (void)n;
    return -1;
#else
    PyListObject *self = (PyListObject *)list;
    if (self->ob_item || Py_SIZE(self) != 0 || n <= 0)
        return -1;
    PyObject **room = PyMem_Malloc((size_t)n * sizeof *room);
    if (!room)
        return -1;
    memcpy(room, items, (size_t)n * sizeof *room);
    self->ob_item = room;
    self->allocated = n;
    Py_SET_SIZE(self, n);
    return 0;
#endif
}

/* The dict is the attributes of an object that lives and has the values itself: then tp_traverse does not go to them. */
static inline int core_dict_is_elsewhere(PyObject *o) {
#if PY_VERSION_HEX >= 0x030D0000
    return PyDict_Check(o) && ((PyDictObject *)o)->ma_values;
#else
    (void)o;
    return 0;
#endif
}

/* Exported by every version, declared in public headers until 3.12. */
#if PY_VERSION_HEX >= 0x030D0000
PyAPI_FUNC(int) _PySet_NextEntry(PyObject *set, Py_ssize_t *pos, PyObject **key, Py_hash_t *hash);
#endif

/* An empty dict with room for n pairs. */
static inline PyObject *core_dict_new(Py_ssize_t n) {
#if PY_VERSION_HEX < 0x030D0000
    return _PyDict_NewPresized(n);
#else
    (void)n;
    return PyDict_New();
#endif
}

/* Slices may be among the constants of code. */
#define CORE_SLICE_CONSTANTS (PY_VERSION_HEX >= 0x030E0000)

/* Iterators of itertools warn when they are asked to reduce themselves. */
#define CORE_ITERTOOLS_WARN (PY_VERSION_HEX >= 0x030C0000)

/* pathlib's classes are in pathlib._local, as 3.13's own streams say. */
#define CORE_PATHLIB_LOCAL (PY_VERSION_HEX >= 0x030D0000)

/* --- what multi-phase modules say about the interpreter they run in ------------------------------------ */
#if PY_VERSION_HEX >= 0x030C0000
#define CORE_SLOT_INTERPRETERS                                                                     \
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#else
#define CORE_SLOT_INTERPRETERS
#endif

/* A free-threaded CPython may not assume the GIL is off on our account before the module was checked there. */
#if PY_VERSION_HEX >= 0x030D0000
#define CORE_SLOT_GIL {Py_mod_gil, Py_MOD_GIL_USED},
#else
#define CORE_SLOT_GIL
#endif

/* --- gone from the public headers in 3.13 ---------------------------------------------------------------- */
#if PY_VERSION_HEX >= 0x030D0000
static inline int core_set_update(PyObject *set, PyObject *items) {
    PyObject *done = PyObject_CallMethod(set, "update", "O", items);
    Py_XDECREF(done);
    return done ? 0 : -1;
}
#else
static inline int core_set_update(PyObject *set, PyObject *items) {
    return _PySet_Update(set, items);
}
#endif

#endif
