/* Schedule and Functional: callables around a function that look like it. */
#include "flow.h"

#include "../pool/pool.h"

#include <structmember.h>

/* Both types begin alike. */
struct wrapper {
    PyObject_HEAD PyObject *function, *dict, *weakrefs;
    vectorcallfunc vectorcall;
};

static struct flow_state *state_of(PyObject *self) {
    PyObject *module = core_module_of(Py_TYPE(self));
    return module ? fl_state_of(module) : NULL;
}

/* *blocks 1: inside a scheduled function that is none of asyncio's: the call gives its result. */
static PyObject *call_async(PyObject *self, struct fl_session *session, PyObject *const *args,
                            size_t nargsf, PyObject *kwnames, int *blocks) {
    struct flow_state *st = state_of(self);
    PyObject *plain = ((struct wrapper *)self)->function;
    *blocks = 0;
    if (!st)
        return NULL;
    if (pl_worker_current() || !st->enabled)
        return PyObject_Vectorcall(plain, args, nargsf, kwnames);
    if (fl_loop_runs(st)) {
        PyObject *r =
            session ? NULL
                    : fl_session_call_async(st, self, args, PyVectorcall_NARGS(nargsf), kwnames);
        return r || PyErr_Occurred() ? r : PyObject_Vectorcall(plain, args, nargsf, kwnames);
    }
    PyFrameObject *frame = PyEval_GetFrame();
    PyCodeObject *code = frame ? PyFrame_GetCode(frame) : NULL;
    PyObject *globals = code ? PyEval_GetGlobals() : NULL;
    int drives = globals ? fl_drives_loop(st, code, globals) : 1;
    Py_XDECREF(code);
    if (drives < 0)
        return NULL;
    *blocks = !drives && (session || fl_scheduled_generator(st, &(void *){NULL}));
    return *blocks ? NULL : PyObject_Vectorcall(plain, args, nargsf, kwnames);
}

static PyObject *functional_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf,
                                       PyObject *kwnames) {
    struct fl_session *session = fl_session_current();
    if (((struct fl_functional *)self)->here_only)
        return PyObject_Vectorcall(((struct wrapper *)self)->function, args, nargsf, kwnames);
    if (((struct fl_functional *)self)->is_async) {
        int blocks;
        PyObject *r = call_async(self, session, args, nargsf, kwnames, &blocks);
        if (!blocks)
            return r;
    }
    if (!session) {
        struct flow_state *st = state_of(self);
        if (st && st->watch && !pl_worker_current())
            return fl_watched(st->watch, self, args, PyVectorcall_NARGS(nargsf), kwnames);
        if (st && st->has_generators && st->enabled && !pl_worker_current())
            return fl_session_call_outside(st, self, args, PyVectorcall_NARGS(nargsf), kwnames);
        return PyObject_Vectorcall(((struct wrapper *)self)->function, args, nargsf, kwnames);
    }
    return fl_session_call(session, self, args, PyVectorcall_NARGS(nargsf), kwnames);
}

static PyObject *schedule_vectorcall(PyObject *self, PyObject *const *args, size_t nargsf,
                                     PyObject *kwnames) {
    PyObject *function = ((struct wrapper *)self)->function;
    if (fl_session_current() || pl_worker_current())
        return PyObject_Vectorcall(function, args, nargsf, kwnames);
    struct flow_state *st = state_of(self);
    if (st && st->both)
        return fl_watched(st->both, self, args, PyVectorcall_NARGS(nargsf), kwnames);
    return st ? fl_session_run(st, function, args, nargsf, kwnames) : NULL;
}

static PyObject *wrapper_new(PyTypeObject *type, PyObject *args, PyObject *kwds) {
    PyObject *function;
    static char *names[] = {"function", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwds, "O", names, &function))
        return NULL;
    if (!PyCallable_Check(function))
        return PyErr_Format(PyExc_TypeError, "'%.100s' object is not callable",
                            Py_TYPE(function)->tp_name);
    struct wrapper *self = (struct wrapper *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->function = Py_NewRef(function);
    struct flow_state *st = state_of((PyObject *)self);
    int functional = st && PyType_IsSubtype(type, st->functional_type);
    self->vectorcall = functional ? functional_vectorcall : schedule_vectorcall;
    int flags =
        PyFunction_Check(function) ? ((PyCodeObject *)PyFunction_GET_CODE(function))->co_flags : 0;
    if (functional) {
        ((struct fl_functional *)self)->cost = -1;
        ((struct fl_functional *)self)->retries = FL_RETRIES;
        ((struct fl_functional *)self)->here_only = !!(flags & (CO_ASYNC_GENERATOR | CO_GENERATOR));
        ((struct fl_functional *)self)->is_async = !!(flags & CO_COROUTINE);
    } else if (st && flags & (CO_GENERATOR | CO_COROUTINE)) {
        st->has_generators = 1;
    }
    if (!functional && st && PyFunction_Check(function) &&
        core_code_set_extra(PyFunction_GET_CODE(function), st->mark, st) < 0)
        Py_CLEAR(self);
    return (PyObject *)self;
}

static PyObject *wrapper_get(PyObject *self, PyObject *obj, PyObject *type) {
    (void)type;
    return !obj || obj == Py_None ? Py_NewRef(self) : PyMethod_New(self, obj);
}

/* What the wrapper has not, its function may have: __code__, __defaults__, … */
static PyObject *wrapper_getattr(PyObject *self, PyObject *name) {
    struct wrapper *w = (struct wrapper *)self;
    if (PyUnicode_GET_LENGTH(name) == 7 && PyUnicode_CompareWithASCIIString(name, "__doc__") == 0 &&
        !(w->dict && PyDict_Contains(w->dict, name) > 0))
        return PyObject_GetAttr(w->function, name); /* which this class would hide with its own */
    PyObject *r = PyObject_GenericGetAttr(self, name);
    if (r || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return r;
    PyObject *why = PyErr_GetRaisedException();
    r = PyObject_GetAttr(w->function, name);
    if (r || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        Py_DECREF(why);
        return r;
    }
    PyErr_Clear();
    PyErr_SetRaisedException(why);
    return NULL;
}

/* What a function is made of is changed in the function; names and words in both. */
static int wrapper_setattr(PyObject *self, PyObject *name, PyObject *value) {
    static const char *const made_of[] = {"__code__",   "__defaults__",    "__kwdefaults__",
                                          "__name__",   "__qualname__",    "__doc__",
                                          "__module__", "__annotations__", NULL};
    PyObject *function = ((struct wrapper *)self)->function;
    for (int i = 0; PyFunction_Check(function) && made_of[i]; i++) {
        if (PyUnicode_CompareWithASCIIString(name, made_of[i]) != 0)
            continue;
        PyObject *before = PyFunction_GET_CODE(function);
        if (PyObject_SetAttr(function, name, value) < 0)
            return -1;
        if (i >= 3)
            break;
        struct flow_state *st = state_of(self);
        int scheduled =
            before != PyFunction_GET_CODE(function) && st && Py_TYPE(self) == st->schedule_type;
        return scheduled ? core_code_set_extra(PyFunction_GET_CODE(function), st->mark, st) : 0;
    }
    return PyObject_GenericSetAttr(self, name, value);
}

static PyObject *wrapper_repr(PyObject *self) {
    return PyObject_Repr(((struct wrapper *)self)->function);
}

/* What was set on the wrapper and is not its function's: a dict, or None. */
static PyObject *own_attributes(struct wrapper *w) {
    static const char *const like[] = {
        "__module__",      "__name__",    "__qualname__",    "__doc__",
        "__annotations__", "__wrapped__", "__type_params__", NULL};
    PyObject *found = w->dict ? PyDict_Copy(w->dict) : NULL, *key, *value;
    PyObject *inner =
        PyFunction_Check(w->function) ? ((PyFunctionObject *)w->function)->func_dict : NULL;
    Py_ssize_t at = 0;
    for (int i = 0; found && like[i]; i++)
        if (PyDict_DelItemString(found, like[i]) < 0)
            PyErr_Clear();
    while (found && inner && PyDict_Next(inner, &at, &key, &value))
        if (PyDict_GetItem(found, key) == value && PyDict_DelItem(found, key) < 0)
            PyErr_Clear();
    if (found && PyDict_GET_SIZE(found) == 0)
        Py_CLEAR(found);
    return found ? found : Py_NewRef(Py_None);
}

/* What the dotted name leads to from the module: new reference or NULL with an exception. */
static PyObject *find_dotted(PyObject *module, PyObject *name) {
    PyObject *dot = PyUnicode_FromString("."), *parts = dot ? PyUnicode_Split(name, dot, -1) : NULL;
    PyObject *found = parts ? Py_NewRef(module) : NULL;
    for (Py_ssize_t i = 0; found && i < PyList_GET_SIZE(parts); i++)
        Py_SETREF(found, PyObject_GetAttr(found, PyList_GET_ITEM(parts, i)));
    Py_XDECREF(dot);
    Py_XDECREF(parts);
    return found;
}

/* By name where that leads back here, else with the function. by_value: so are those of the main program. */
static PyObject *reduce(PyObject *self, int by_value) {
    PyObject *module = PyObject_GetAttrString(self, "__module__"),
             *name = PyObject_GetAttrString(self, "__qualname__");
    PyObject *m = module && PyUnicode_Check(module) ? PyImport_GetModule(module) : NULL;
    PyObject *found = NULL, *r = NULL;
    if (m && name && PyUnicode_Check(name))
        found = by_value ? PyObject_GetAttr(m, name) : find_dotted(m, name);
    PyErr_Clear();
    int main = module && PyUnicode_Check(module) &&
               PyUnicode_CompareWithASCIIString(module, "__main__") == 0;
    if (found == self && !(main && by_value))
        r = Py_NewRef(name);
    else
        r = Py_BuildValue("(O(O)N)", (PyObject *)Py_TYPE(self), ((struct wrapper *)self)->function,
                          own_attributes((struct wrapper *)self));
    Py_XDECREF(module);
    Py_XDECREF(name);
    Py_XDECREF(m);
    Py_XDECREF(found);
    return r;
}

static PyObject *wrapper_reduce(PyObject *self, PyObject *none) {
    (void)none;
    return reduce(self, 0);
}

static PyObject *wrapper_by_value(PyObject *self, PyObject *none) {
    (void)none;
    return reduce(self, 1);
}

static int is_functional(PyObject *self) {
    return ((struct wrapper *)self)->vectorcall == functional_vectorcall;
}

static int wrapper_traverse(PyObject *self, visitproc visit, void *arg) {
    struct wrapper *w = (struct wrapper *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(w->function);
    Py_VISIT(w->dict);
    if (is_functional(self))
        Py_VISIT(((struct fl_functional *)self)->resources);
    return is_functional(self)
               ? fl_around_traverse(((struct fl_functional *)self)->around, visit, arg)
               : 0;
}

static int wrapper_clear(PyObject *self) {
    struct wrapper *w = (struct wrapper *)self;
    if (is_functional(self)) {
        struct fl_around *around = ((struct fl_functional *)self)->around;
        ((struct fl_functional *)self)->around = NULL;
        Py_CLEAR(((struct fl_functional *)self)->resources);
        fl_around_free(around);
    }
    Py_CLEAR(w->function);
    Py_CLEAR(w->dict);
    return 0;
}

static void wrapper_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (((struct wrapper *)self)->weakrefs)
        PyObject_ClearWeakRefs(self);
    wrapper_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

PyObject *fl_unwrap(struct flow_state *st, PyObject *o) {
    return Py_TYPE(o) == st->schedule_type ? ((struct wrapper *)o)->function : o;
}

static PyMemberDef functional_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(struct wrapper, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct wrapper, weakrefs), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct wrapper, vectorcall), READONLY, NULL},
    {"_function", T_OBJECT_EX, offsetof(struct wrapper, function), READONLY, NULL},
    {"_here_only", T_INT, offsetof(struct fl_functional, here_only), 0, NULL},
    {"_remote_only", T_INT, offsetof(struct fl_functional, remote_only), 0, NULL},
    {"_is_async", T_INT, offsetof(struct fl_functional, is_async), READONLY, NULL},
    {"_retries", T_INT, offsetof(struct fl_functional, retries), 0, NULL},
    {"_timeout", T_DOUBLE, offsetof(struct fl_functional, timeout), 0, NULL},
    {"_resources", T_OBJECT, offsetof(struct fl_functional, resources), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyMemberDef schedule_members[] = {
    {"__dictoffset__", T_PYSSIZET, offsetof(struct wrapper, dict), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(struct wrapper, weakrefs), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(struct wrapper, vectorcall), READONLY, NULL},
    {"_function", T_OBJECT_EX, offsetof(struct wrapper, function), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};
static PyMethodDef methods[] = {
    {"__reduce__", CORE_METHOD(wrapper_reduce), METH_NOARGS, NULL},
    {"_by_value", CORE_METHOD(wrapper_by_value), METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyGetSetDef getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyDoc_STRVAR(
    functional_doc,
    "Functional(function)\n--\n\n"
    "What @ergon.functional makes of a function: called like it and looking like it (names, "
    "docstring,\n"
    "attributes, code). Inside a scheduled function calls of it are made ahead, in workers; "
    "elsewhere it\n"
    "just calls the function. TypeError for what is not callable.");
PyDoc_STRVAR(
    schedule_doc,
    "Schedule(function)\n--\n\n"
    "What @ergon.schedule makes of a function: called like it and looking like it. A call runs "
    "the\n"
    "function with calls of functionals made ahead, in workers; results, exceptions and output "
    "are those\n"
    "of sequential execution. TypeError for what is not callable.");

#define SLOT(name, function)                                                                       \
    { name, (void *)(function) }
#define SLOTS(doc, members)                                                                        \
    {                                                                                              \
        SLOT(Py_tp_new, wrapper_new), SLOT(Py_tp_dealloc, wrapper_dealloc),                        \
            SLOT(Py_tp_traverse, wrapper_traverse), SLOT(Py_tp_clear, wrapper_clear),              \
            SLOT(Py_tp_call, PyVectorcall_Call), SLOT(Py_tp_descr_get, wrapper_get),               \
            SLOT(Py_tp_repr, wrapper_repr), SLOT(Py_tp_getattro, wrapper_getattr),                 \
            SLOT(Py_tp_setattro, wrapper_setattr), SLOT(Py_tp_members, members),                   \
            SLOT(Py_tp_doc, doc), SLOT(Py_tp_methods, methods), SLOT(Py_tp_getset, getset), {      \
            0, NULL                                                                                \
        }                                                                                          \
    }
static PyType_Slot functional_slots[] = SLOTS(functional_doc, functional_members);
static PyType_Slot schedule_slots[] = SLOTS(schedule_doc, schedule_members);
static PyType_Spec functional_spec = {
    .name = "ergon._core.Functional",
    .basicsize = sizeof(struct fl_functional),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = functional_slots,
};
static PyType_Spec schedule_spec = {
    .name = "ergon._core.Schedule",
    .basicsize = sizeof(struct fl_schedule),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = schedule_slots,
};

int fl_types_register(struct flow_state *st) {
    st->functional_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &functional_spec, NULL);
    st->schedule_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &schedule_spec, NULL);
    return st->functional_type && st->schedule_type &&
                   PyModule_AddType(st->module, st->functional_type) == 0 &&
                   PyModule_AddType(st->module, st->schedule_type) == 0
               ? 0
               : -1;
}
