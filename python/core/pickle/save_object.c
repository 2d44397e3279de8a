/* Instances: the reduce protocol. Those whose class says nothing about it go another way (save_newobj.c). */
#include "pickler.h"

/* How often an object may turn up again while its own arguments are written (see pk_check_busy). */
enum { MAX_REENTRY = 8 };

/* --- what __reduce__ returns -------------------------------------------------------------------------------- */

struct reduced {
    PyObject *func, *args, *state, *listitems, *dictitems, *setter; /* borrowed; NULL: absent */
};

static int bad_reduce(struct pickler *p, PyObject *obj, const char *what) {
    if (obj)
        return pk_cannot(p, obj, what);
    core_raise(p->st->module, CORE_EXC_PICKLING_ERROR, "%s", what);
    return -1;
}

static int read_reduced(struct pickler *p, PyObject *value, PyObject *obj, struct reduced *r) {
    if (!PyTuple_Check(value))
        return bad_reduce(p, obj, "__reduce__ must return a string or tuple");
    Py_ssize_t n = PyTuple_GET_SIZE(value);
    if (n < 2 || n > 6)
        return bad_reduce(p, obj, "tuple returned by __reduce__ must contain 2 through 6 elements");
    PyObject **field[] = {&r->func, &r->args, &r->state, &r->listitems, &r->dictitems, &r->setter};
    for (Py_ssize_t i = 0; i < 6; i++) {
        PyObject *item = i < n ? PyTuple_GET_ITEM(value, i) : NULL;
        *field[i] = item == Py_None ? NULL : item;
    }
    if (!r->func || !PyCallable_Check(r->func))
        return bad_reduce(p, obj,
                          "first item of the tuple returned by __reduce__ must be callable");
    if (!r->args || !PyTuple_Check(r->args))
        return bad_reduce(p, obj,
                          "second item of the tuple returned by __reduce__ must be a tuple");
    if (r->listitems && !PyIter_Check(r->listitems))
        return bad_reduce(p, obj,
                          "fourth element of the tuple returned by __reduce__ must be an iterator");
    if (r->dictitems && !PyIter_Check(r->dictitems))
        return bad_reduce(p, obj,
                          "fifth element of the tuple returned by __reduce__ must be an iterator");
    if (r->setter && !PyCallable_Check(r->setter))
        return bad_reduce(p, obj,
                          "sixth element of the tuple returned by __reduce__ must be a function");
    return 0;
}

/* Frames for MARK, items, opcode. */
static int push_items_of(struct pickler *p, PyObject *items, unsigned char op, PyObject *owner) {
    struct pk_frame *f = pk_push(p, PK_F_SET, items);
    if (!f)
        return -1;
    f->aux = Py_XNewRef(owner);
    f->op = op;
    return pk_push_write(p, (char[]){OP_MARK}, 1);
}

int pk_push_listitems(struct pickler *p, PyObject *iterator, PyObject *obj) {
    PyObject *items = PySequence_List(iterator);
    if (!items)
        return -1;
    int rc = PyList_GET_SIZE(items) ? push_items_of(p, items, OP_APPENDS, obj) : 0;
    Py_DECREF(items);
    return rc;
}

int pk_push_dictitems(struct pickler *p, PyObject *iterator, PyObject *obj) {
    PyObject *flat = PyList_New(0), *pair;
    int rc = flat ? 0 : -1;
    while (rc == 0 && (pair = PyIter_Next(iterator))) {
        if (!PyTuple_Check(pair) || PyTuple_GET_SIZE(pair) != 2)
            rc = bad_reduce(p, obj, "dict items iterator must return 2-tuples");
        else if (PyList_Append(flat, PyTuple_GET_ITEM(pair, 0)) < 0 ||
                 PyList_Append(flat, PyTuple_GET_ITEM(pair, 1)) < 0)
            rc = -1;
        Py_DECREF(pair);
    }
    if (rc == 0 && PyErr_Occurred())
        rc = -1;
    if (rc == 0 && PyList_GET_SIZE(flat) > 0)
        rc = push_items_of(p, flat, OP_SETITEMS, obj);
    Py_XDECREF(flat);
    return rc;
}

static int push_state(struct pickler *p, const struct reduced *r, PyObject *obj) {
    if (!r->state)
        return 0;
    if (r->setter) {
        static const char after[] = {OP_TUPLE2, OP_REDUCE, OP_POP};
        if (pk_push_write(p, after, sizeof after) < 0 ||
            pk_push_save(p, r->state, ".<state>", NULL) < 0 || !pk_push(p, PK_F_GET, obj) ||
            pk_push_save(p, r->setter, ".<state setter>", NULL) < 0)
            return -1;
        return 0;
    }
    PyObject *state = obj ? pk_level_state(p, obj, r->state) : Py_NewRef(r->state);
    int rc = state && pk_push_write(p, (char[]){OP_BUILD}, 1) == 0
                 ? pk_push_save(p, state, NULL, NULL)
                 : -1;
    Py_XDECREF(state);
    if (rc == 0)
        p->frames[p->nframes - 1].flags = PK_FF_ATTRS;
    return rc;
}

/* --- arguments that contain the object itself ---------------------------------------------------------------
 * An object whose arguments lead back to it can only be written if they come to an end, because a class or a
 * function on the way got into the memo. Else it would go on for ever, so the frames are asked. */
int pk_check_busy(struct pickler *p, PyObject *obj) {
    int found = 0;
    if (p->nframes < 256)
        return 0;
    for (Py_ssize_t i = p->nframes - 1, seen = 0; i >= 0 && seen < 512; i--, seen++) {
        const struct pk_frame *f = &p->frames[i];
        if (f->kind == PK_F_MEMO && f->obj == obj && ++found > MAX_REENTRY)
            return pk_cannot(p, obj, "it is among the arguments that its own __reduce__ returns");
    }
    return 0;
}

/* --- writing it ------------------------------------------------------------------------------------------------ */

enum make { MAKE_REDUCE, MAKE_NEWOBJ, MAKE_NEWOBJ_EX };

/* Which opcode stands for calling func. 0.. or -1 */
static int make_of(struct pickler *p, PyObject *func) {
    struct pk_state *st = p->st;
    PyObject *name;
    if (PyFunction_Check(func))
        name = Py_NewRef(((PyFunctionObject *)func)->func_name);
    else if (PyType_Check(func) || PyCFunction_Check(func))
        return MAKE_REDUCE;
    else if (PyObject_GetOptionalAttr(func, PK_STR(__name__), &name) < 0)
        return -1;
    int make = MAKE_REDUCE;
    if (name && PyUnicode_Check(name)) {
        if (PyUnicode_Compare(name, PK_STR(__newobj__)) == 0)
            make = MAKE_NEWOBJ;
        else if (PyUnicode_Compare(name, PK_STR(__newobj_ex__)) == 0)
            make = MAKE_NEWOBJ_EX;
    }
    Py_XDECREF(name);
    return make;
}

static int check_new_class(struct pickler *p, PyObject *cls, PyObject *obj) {
    struct pk_state *st = p->st;
    if (!PyType_Check(cls))
        return bad_reduce(p, obj, "args[0] from __newobj__ args has no __new__");
    if (!obj)
        return 0;
    PyObject *own = PyObject_GetAttr(obj, PK_STR(__class__));
    if (!own)
        return -1;
    int same = own == cls;
    Py_DECREF(own);
    return same ? 0 : bad_reduce(p, obj, "args[0] from __newobj__ args has the wrong class");
}

int pk_push_args(struct pickler *p, PyObject *args) {
    struct pk_frame *f;
    if (pk_push_save(p, args, NULL, NULL) < 0)
        return -1;
    f = &p->frames[p->nframes - 1];
    f->flags = PK_FF_REDUCE;
    return 0;
}

static int push_newobj(struct pickler *p, const struct reduced *r, PyObject *obj) {
    if (PyTuple_GET_SIZE(r->args) < 1)
        return bad_reduce(p, obj, "__newobj__ arglist is empty");
    PyObject *cls = PyTuple_GET_ITEM(r->args, 0);
    if (check_new_class(p, cls, obj) < 0 || pk_push_write(p, (char[]){(char)OP_NEWOBJ}, 1) < 0)
        return -1;
    PyObject *rest = PyTuple_GetSlice(r->args, 1, PyTuple_GET_SIZE(r->args));
    int rc = rest ? pk_push_args(p, rest) : -1;
    Py_XDECREF(rest);
    return rc < 0 ? -1 : pk_push_save(p, cls, ".__class__", NULL);
}

/* Without the opcode: partial(cls.__new__, cls, *args, **kwargs)(). */
static int push_old_newobj_ex(struct pickler *p, PyObject *cls, PyObject *args, PyObject *kwargs) {
    static const char call[] = {OP_EMPTY_TUPLE, OP_REDUCE};
    PyObject *functools = PyImport_ImportModule("functools");
    PyObject *partial = functools ? PyObject_GetAttrString(functools, "partial") : NULL;
    PyObject *new = partial ? PyObject_GetAttrString(cls, "__new__") : NULL;
    PyObject *first = new ? PyTuple_Pack(2, new, cls) : NULL;
    PyObject *all = first ? PySequence_Concat(first, args) : NULL;
    PyObject *made = all ? PyObject_Call(partial, all, kwargs) : NULL;
    int rc =
        made && pk_push_write(p, call, sizeof call) == 0 ? pk_push_save(p, made, NULL, NULL) : -1;
    Py_XDECREF(functools);
    Py_XDECREF(partial);
    Py_XDECREF(new);
    Py_XDECREF(first);
    Py_XDECREF(all);
    Py_XDECREF(made);
    return rc;
}

static int push_newobj_ex(struct pickler *p, const struct reduced *r, PyObject *obj) {
    if (PyTuple_GET_SIZE(r->args) != 3)
        return bad_reduce(p, obj, "length of the NEWOBJ_EX argument tuple must be exactly 3");
    PyObject *cls = PyTuple_GET_ITEM(r->args, 0), *args = PyTuple_GET_ITEM(r->args, 1);
    PyObject *kwargs = PyTuple_GET_ITEM(r->args, 2);
    if (check_new_class(p, cls, obj) < 0)
        return -1;
    if (!PyTuple_Check(args))
        return bad_reduce(p, obj, "second item from NEWOBJ_EX argument tuple must be a tuple");
    if (!PyDict_Check(kwargs))
        return bad_reduce(p, obj, "third item from NEWOBJ_EX argument tuple must be a dict");
    if (p->proto < 4)
        return push_old_newobj_ex(p, cls, args, kwargs);
    if (pk_push_write(p, (char[]){(char)OP_NEWOBJ_EX}, 1) < 0 ||
        pk_push_save(p, kwargs, ".__getnewargs_ex__()[1]", NULL) < 0 || pk_push_args(p, args) < 0)
        return -1;
    return pk_push_save(p, cls, ".__class__", NULL);
}

/* A call of something in the memo with a few atoms is written without frames.
 * 1: written, 0: it is not one, -1 */
static int save_short(struct pickler *p, const struct reduced *r, PyObject *obj) {
    uint32_t index;
    if (p->persistent_id || !PyTuple_CheckExact(r->args) ||
        PyTuple_GET_SIZE(r->args) > PK_FEW_ARGS || !pk_memo_find(&p->memo, r->func, &index))
        return 0;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(r->args); i++)
        if (!pk_is_atom(PyTuple_GET_ITEM(r->args, i)))
            return 0;
    if (pk_get(p, index) < 0 || pk_save_atoms(p, r->args) < 0)
        return -1;
    if (p->flags & PK_CANONICAL && PyTuple_GET_SIZE(r->args) > 0 && pk_write_unfound(p) < 0)
        return -1;
    return pk_put(p, OP_REDUCE) < 0 || pk_memoize_built(p, obj) < 0 ? -1 : 1;
}

int pk_save_reduced(struct pickler *p, PyObject *value, PyObject *obj) {
    if (PyUnicode_Check(value))
        return pk_save_global(p, obj, value);
    struct reduced r;
    pk_watch_mutable(p);
    if (read_reduced(p, value, obj, &r) < 0 || (obj && pk_check_busy(p, obj) < 0))
        return -1;
    int make = make_of(p, r.func);
    if (make < 0 || push_state(p, &r, obj) < 0)
        return -1;
    if (r.dictitems && pk_push_dictitems(p, r.dictitems, obj) < 0)
        return -1;
    if (r.listitems && pk_push_listitems(p, r.listitems, obj) < 0)
        return -1;
    if (make == MAKE_REDUCE && obj) {
        int rc = save_short(p, &r, obj);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    if (obj && !pk_push(p, PK_F_MEMO, obj))
        return -1;
    if (make == MAKE_NEWOBJ)
        return push_newobj(p, &r, obj);
    if (make == MAKE_NEWOBJ_EX)
        return push_newobj_ex(p, &r, obj);
    if (pk_push_write(p, (char[]){OP_REDUCE}, 1) < 0 || pk_push_args(p, r.args) < 0)
        return -1;
    return pk_push_save(p, r.func, ".__reduce__()", NULL);
}

/* object.__reduce_ex__ refuses with a TypeError "cannot pickle …": ours says where. */
static int refused(struct pickler *p, PyObject *obj) {
    if (!PyErr_ExceptionMatches(PyExc_TypeError))
        return -1;
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *text = PyObject_Str(exception);
    const char *utf8 = text ? PyUnicode_AsUTF8(text) : NULL;
    if (!utf8 || strncmp(utf8, "cannot pickle", 13) != 0) {
        Py_XDECREF(text);
        PyErr_SetRaisedException(exception);
        return -1;
    }
    const char *reason =
        "its type says nothing about how to write it (no __reduce__, no __getstate__)";
    const char *own = strstr(utf8, ": ");
    pk_cannot(p, obj, own ? own + 2 : reason);
    Py_DECREF(text);
    PyObject *ours = PyErr_GetRaisedException();
    PyException_SetCause(ours, exception);
    PyErr_SetRaisedException(ours);
    return -1;
}

/* What deque.__reduce__ says, which looks for slots again each time. */
static PyObject *deque_reduction(PyObject *obj) {
    PyObject *bound = PyObject_GetAttrString(obj, "maxlen");
    PyObject *items = bound ? PyObject_GetIter(obj) : NULL;
    PyObject *value = NULL;
    if (items)
        value = bound == Py_None ? Py_BuildValue("O()OO", Py_TYPE(obj), Py_None, items)
                                 : Py_BuildValue("O(()O)OO", Py_TYPE(obj), bound, Py_None, items);
    Py_XDECREF(bound);
    Py_XDECREF(items);
    return value;
}

/* The same of an OrderedDict. */
static PyObject *ordered_dict_reduction(struct pickler *p, PyObject *obj) {
    struct pk_state *st = p->st;
    PyObject *vars = PyObject_GenericGetDict(obj, NULL);
    PyObject *view = vars ? PyObject_CallMethodNoArgs(obj, PK_STR(items)) : NULL;
    PyObject *items = view ? PyObject_GetIter(view) : NULL;
    PyObject *state = vars && PyDict_GET_SIZE(vars) > 0 ? vars : Py_None;
    PyObject *value = items ? Py_BuildValue("O()OOO", Py_TYPE(obj), state, Py_None, items) : NULL;
    Py_XDECREF(vars);
    Py_XDECREF(view);
    Py_XDECREF(items);
    return value;
}

static PyObject *call_reduce(struct pickler *p, PyObject *obj, int how) {
    struct pk_state *st = p->st;
    PyObject *method;
    if (how == PK_HOW_DEQUE)
        return deque_reduction(obj);
    if (how == PK_HOW_ORDERED_DICT)
        return ordered_dict_reduction(p, obj);
    if (how == PK_HOW_REDUCE && (method = core_type_lookup(Py_TYPE(obj), PK_STR(__reduce__)))) {
        Py_INCREF(method);
        PyObject *result = PyObject_CallOneArg(method, obj);
        Py_DECREF(method);
        return result;
    }
    if (PyObject_GetOptionalAttr(obj, PK_STR(__reduce_ex__), &method) < 0)
        return NULL;
    PyObject *value;
    if (method) {
        PyObject *proto = PyLong_FromLong(p->proto);
        value = proto ? PyObject_CallOneArg(method, proto) : NULL;
        Py_XDECREF(proto);
    } else {
        if (PyObject_GetOptionalAttr(obj, PK_STR(__reduce__), &method) < 0)
            return NULL;
        if (!method) {
            pk_cannot(p, obj, "it has neither __reduce_ex__ nor __reduce__");
            return NULL;
        }
        value = PyObject_CallNoArgs(method);
    }
    Py_DECREF(method);
    return value;
}

/* A callee that carries one of these stays stable; what they contain is looked at when it is written. */
int pk_never_changes(struct pk_state *st, PyTypeObject *type) {
    static const char *const names[] = {"complex",
                                        "range",
                                        "slice",
                                        "types.GenericAlias",
                                        "types.UnionType",
                                        "datetime.date",
                                        "datetime.time",
                                        "datetime.datetime",
                                        "datetime.timezone",
                                        "decimal.Decimal",
                                        "datetime.timedelta",
                                        "re.Pattern",
                                        "_collections._tuplegetter",
                                        "collections._tuplegetter",
                                        "operator.itemgetter",
                                        "operator.attrgetter",
                                        "operator.methodcaller",
                                        "ellipsis",
                                        "NotImplementedType",
                                        "method_descriptor",
                                        "wrapper_descriptor",
                                        "builtin_function_or_method"};
    /* A class statement may use the name of a built-in type, but not one with a dot. */
    int ours = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
               !PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE) && !strchr(type->tp_name, '.');
    for (size_t i = 0; !ours && i < Py_ARRAY_LENGTH(names); i++)
        if (strcmp(type->tp_name, names[i]) == 0)
            return 1;
    if (pk_is_enum(st, type))
        return 1;
    PyObject *module = NULL;
    int rc = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
             PyObject_GetOptionalAttr((PyObject *)type, PK_STR(__module__), &module) > 0 &&
             PyUnicode_Check(module) &&
             (PyUnicode_CompareWithASCIIString(module, "typing") == 0 ||
              PyUnicode_CompareWithASCIIString(module, "dataclasses") == 0);
    PyErr_Clear();
    Py_XDECREF(module);
    return rc;
}

/* --- objects of the standard library that pickle refuses (ergon/_reducers.py) -------------------------------- */

static int load_reducers(struct pk_state *st) {
    if (st->reducers)
        return 0;
    PyObject *module = PyImport_ImportModule("ergon._reducers");
    PyObject *found = module ? PyObject_GetAttrString(module, "REDUCERS") : NULL;
    PyObject *named = found ? PyObject_GetAttrString(module, "reducer_for") : NULL;
    Py_XDECREF(module);
    int rc = named && PyDict_CheckExact(found) ? 0 : -1;
    if (rc == 0 && !st->reducers) { /* the import may have let somebody else do it */
        st->reducers = Py_NewRef(found);
        st->reducer_for = Py_NewRef(named);
    }
    Py_XDECREF(found);
    Py_XDECREF(named);
    return rc;
}

/* These can be pickled otherwise, but not well. */
int pk_wants_reducer(PyTypeObject *type) {
    static const char *const names[] = {"super",
                                        "WeakSet",
                                        "WeakKeyDictionary",
                                        "WeakValueDictionary",
                                        "WeakMethod",
                                        "weakref.ProxyType", /* what it says is its target's */
                                        "weakref.CallableProxyType",
                                        "pairwise",
                                        "partialmethod",
                                        "NewType",
                                        "_TemporaryFileWrapper",
                                        "_TemporaryFileCloser",
                                        "ParamSpec", /* of 3.11, in Python; then in C: */
                                        "TypeVarTuple",
                                        "typing.ParamSpec",
                                        "typing.TypeVarTuple"};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++)
        if (strcmp(type->tp_name, names[i]) == 0)
            return 1;
    return 0;
}

static int is_lock(PyTypeObject *type) {
    return strcmp(type->tp_name, "_thread.lock") == 0 ||
           strcmp(type->tp_name, "_thread.RLock") == 0;
}

/* What a reducer of ours says: new reference; NULL without an exception: there is none for the type. */
static PyObject *our_reduction(struct pickler *p, PyObject *obj) {
    PyObject *reducer, *type = (PyObject *)Py_TYPE(obj);
    if (load_reducers(p->st) < 0 || PyDict_GetItemRef(p->st->reducers, type, &reducer) < 0)
        return NULL;
    if (!reducer && !(reducer = PyObject_CallOneArg(p->st->reducer_for, obj)))
        return NULL;
    int files = p->flags & PK_FILES_REOPEN ? 1 : p->flags & PK_FILES_RESTORE ? 2 : 0;
    if (p->hooks->ref)
        files |= 4; /* TASK */
    if (p->flags & PK_NO_LOCKS && is_lock(Py_TYPE(obj))) {
        Py_XDECREF(reducer);
        PyErr_SetString(PyExc_TypeError, "cannot pickle: a lock guards memory of this process");
        return NULL;
    }
    PyObject *value =
        reducer == Py_None ? NULL : PyObject_CallFunction(reducer, "Oii", obj, p->proto, files);
    Py_DECREF(reducer);
    return value;
}

/* object.__reduce_ex__ refused: one of our reducers, or the refusal in our words. */
static PyObject *second_try(struct pickler *p, PyObject *obj) {
    if (p->flags & PK_BYREF || !PyErr_ExceptionMatches(PyExc_TypeError))
        return NULL;
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *value = our_reduction(p, obj);
    if (value || PyErr_Occurred()) {
        Py_DECREF(exception);
        return value;
    }
    PyErr_SetRaisedException(exception);
    return NULL;
}

static int is_numpy_array(PyTypeObject *type) {
    while (type && strcmp(type->tp_name, "numpy.ndarray") != 0)
        type = type->tp_base;
    return type != NULL;
}

/* The content of an array of NumPy's, for a name of it: new reference; NULL without an exception: it is written as it says itself. */
static PyObject *array_content(PyObject *obj) {
    PyObject *module = PyImport_ImportModule("ergon._reducers");
    PyObject *value = module ? PyObject_CallMethod(module, "array_of_numpy", "(O)", obj) : NULL;
    Py_XDECREF(module);
    if (value == Py_None)
        Py_CLEAR(value);
    return value;
}

/* What @functional and @schedule make: the standard library's pickle takes those of the main program by name, as functions. */
static int is_decorated(PyTypeObject *type) {
    return strcmp(type->tp_name, "ergon._core.Functional") == 0 ||
           strcmp(type->tp_name, "ergon._core.Schedule") == 0;
}

static PyObject *reduction(struct pickler *p, PyObject *obj, int how) {
    PyTypeObject *type = Py_TYPE(obj);
    if (p->flags & PK_CANONICAL && is_numpy_array(type)) {
        PyObject *value = array_content(obj);
        if (value || PyErr_Occurred())
            return value;
    }
    /* An array's own way is a copy; ours is a buffer, where buffers are taken. */
    if (!(p->flags & PK_BYREF) &&
        (how == PK_HOW_OURS || (p->hooks->buffer && strcmp(type->tp_name, "array.array") == 0))) {
        PyObject *value = our_reduction(p, obj);
        if (value || PyErr_Occurred())
            return value;
    }
    PyObject *value = !(p->flags & PK_BYREF) && is_decorated(type)
                          ? PyObject_CallMethod(obj, "_by_value", NULL)
                          : call_reduce(p, obj, how);
    return value ? value : second_try(p, obj);
}

/* A weak proxy of what the stream has already arrives as one. Any other stands for its object, as in pickle: nothing
 * else would keep that alive there. New reference to that object, or NULL. */
static PyObject *stood_for(struct pickler *p, PyObject *obj) {
    uint32_t index;
    PyObject *target = PyWeakref_CheckProxy(obj) ? core_weakref_get(obj) : NULL;
    if (target && pk_memo_find(&p->memo, target, &index))
        Py_CLEAR(target);
    return target;
}

int pk_save_instance(struct pickler *p, PyObject *obj) {
    PyObject *target = stood_for(p, obj);
    if (target) {
        int rc = pk_push_save(p, target, NULL, NULL);
        Py_DECREF(target);
        return rc;
    }
    if (p->nested && Py_TYPE(obj)->tp_hash == PyBaseObject_Type.tp_hash) {
        PyErr_SetString(PyExc_TypeError, "instances compared by identity have no order");
        return -1;
    }
    int how = pk_how_of(p->st, Py_TYPE(obj));
    if (how < 0)
        return -1;
    PyObject *value = NULL;
    if (how >= PK_HOW_NEWOBJ) {
        int no = 0;
        if (!p->watch || !pk_never_changes(p->st, Py_TYPE(obj)))
            pk_watch_mutable(p);
        int rc = how == PK_HOW_NEWOBJ ? pk_save_newobj(p, obj, &no) : pk_save_plain(p, obj);
        if (!no)
            return rc;
        value = second_try(p, obj);
    } else {
        value = reduction(p, obj, how);
    }
    if (!value)
        return refused(p, obj);
    int stable = p->watch && p->watch->stable && pk_never_changes(p->st, Py_TYPE(obj));
    if (p->watch && p->watch->stable && strcmp(Py_TYPE(obj)->tp_name, "functools.partial") == 0)
        stable = pk_watch_partial(p, obj);
    if (stable < 0) {
        Py_DECREF(value);
        return -1;
    }
    int rc = pk_save_reduced(p, value, obj);
    Py_DECREF(value);
    if (stable)
        p->watch->stable = 1;
    return rc;
}
