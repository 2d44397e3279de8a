/* Instances whose class leaves it to object.__reduce_ex__ how they are written.
 *
 * What that function does ("make it with __new__ and these arguments, append these items, give it this state") is
 * done here without the tuples, iterators and calls it takes there. Which of the ways below a type's
 * instances go is found out once per version of the type:
 *
 *   PLAIN, SLOTS, EMPTY  __new__ without arguments, then the __dict__, the slots, or nothing
 *   NEWOBJ               the same with what __getnewargs__, __getstate__, items of a list or dict say
 *   DEQUE, ORDERED_DICT  what their __reduce__ says, known here
 *   REDUCE               the class has a __reduce__: it is called, without the detour over __reduce_ex__
 *   OURS                 ergon._reducers is asked first
 *   GENERIC              __reduce_ex__ is called (save_object.c)
 *
 * A __dict__ is written without a memo entry: BUILD copies the pairs, so nobody can meet the dict that was on
 * the stack again. The same goes for the tuple of arguments, which is made here. */
#include "pickler.h"

/* --- which way --------------------------------------------------------------------------------------------- */

static int inherits(struct pk_state *st, PyTypeObject *type, enum pk_string name) {
    PyObject *own = core_type_lookup(type, st->str[name]);
    return own == core_type_lookup(&PyBaseObject_Type, st->str[name]);
}

/* Attributes are found as object finds them; a __getattr__ for those not found does not matter. */
static int finds_as_object(struct pk_state *st, PyTypeObject *type) {
    if (type->tp_getattro == PyObject_GenericGetAttr)
        return 1;
    PyObject *found = core_type_lookup(type, PK_STR(__getattribute__));
    return found && Py_TYPE(found) == &PyWrapperDescr_Type &&
           ((PyWrapperDescrObject *)found)->d_wrapped == (void *)PyObject_GenericGetAttr;
}

/* A method that can be called with the instance as its argument; absent ones can too. */
static int plain_method(struct pk_state *st, PyTypeObject *type, enum pk_string name) {
    PyObject *method = core_type_lookup(type, st->str[name]);
    return !method || PyType_HasFeature(Py_TYPE(method), Py_TPFLAGS_METHOD_DESCRIPTOR);
}

/* How many slots copyreg says are to be saved; -1 with an exception. The list stays with the class. */
static Py_ssize_t count_slots(PyTypeObject *type) {
    PyObject *copyreg = PyImport_ImportModule("copyreg");
    PyObject *names = copyreg ? PyObject_CallMethod(copyreg, "_slotnames", "O", type) : NULL;
    Py_XDECREF(copyreg);
    if (!names)
        return -1;
    Py_ssize_t n = PyList_Check(names) ? PyList_GET_SIZE(names) : 0;
    Py_DECREF(names);
    return n;
}

static int judge_newobj(struct pk_state *st, PyTypeObject *type) {
    int list = PyType_IsSubtype(type, &PyList_Type), dict = PyType_IsSubtype(type, &PyDict_Type);
    int args = core_type_lookup(type, PK_STR(__getnewargs__)) != NULL;
    int own_state = !inherits(st, type, PK_STR___getstate__);
    if (!type->tp_new || core_type_lookup(type, PK_STR(__getnewargs_ex__)) ||
        !plain_method(st, type, PK_STR___getnewargs__) ||
        !plain_method(st, type, PK_STR___getstate__))
        return PK_HOW_GENERIC;
    Py_ssize_t slots = PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) ? count_slots(type) : 0;
    if (slots < 0)
        return -1;
    Py_ssize_t known = core_plain_basicsize(type) + slots * (Py_ssize_t)sizeof(PyObject *);
    int larger = type->tp_itemsize != 0 || type->tp_basicsize > known;
    if (larger && !args && !list && !dict && !own_state)
        return PK_HOW_GENERIC; /* something in C that its dict and slots say nothing about: refused */
    if (larger || args || list || dict || own_state)
        return PK_HOW_NEWOBJ;
    if (slots)
        return PK_HOW_SLOTS;
    return core_type_has_dict(type) ? PK_HOW_PLAIN : PK_HOW_EMPTY;
}

/* Types of collections whose instances have nothing but items (and a __dict__, OrderedDict); 0: another type. */
static int judge_collection(PyTypeObject *type) {
    if (PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE) &&
        !PyType_HasFeature(type, Py_TPFLAGS_IMMUTABLETYPE))
        return 0; /* a class statement's */
    if (type == &PyODict_Type)
        return PK_HOW_ORDERED_DICT;
    return strcmp(type->tp_name, "collections.deque") == 0 ? PK_HOW_DEQUE : 0;
}

/* Classes of the standard library, written in Python, whose instances belong to this process and do not say so: the
 * module of reducers decides. */
static int belongs_here(PyTypeObject *type) {
    static const char *const names[] = {"Thread",      "Popen", "Future",
                                        "FileHandler", "CDLL",  "_ConnectionBase"};
    for (Py_ssize_t i = 0; type->tp_mro && i < PyTuple_GET_SIZE(type->tp_mro); i++) {
        PyTypeObject *base = (PyTypeObject *)PyTuple_GET_ITEM(type->tp_mro, i);
        for (size_t n = 0; n < Py_ARRAY_LENGTH(names); n++)
            if (strcmp(base->tp_name, names[n]) == 0)
                return 1;
    }
    return 0;
}

/* Exceptions that are more than their arguments and __dict__, or are not made of these (ergon/_exceptions.py). 1, 0, -1 */
static int is_odd_exception(PyTypeObject *type) {
    PyTypeObject *native = type;
    if (!PyType_FastSubclass(type, Py_TPFLAGS_BASE_EXC_SUBCLASS))
        return 0;
    while (PyType_HasFeature(native, Py_TPFLAGS_HEAPTYPE))
        native = native->tp_base;
    if (native->tp_basicsize != (Py_ssize_t)sizeof(PyBaseExceptionObject) ||
        type->tp_init != native->tp_init || type->tp_new != native->tp_new)
        return 1;
    Py_ssize_t slots = type == native ? 0 : count_slots(type);
    return slots < 0 ? -1 : slots > 0;
}

static int judge(struct pk_state *st, PyTypeObject *type) {
    if (pk_wants_reducer(type))
        return PK_HOW_OURS;
    if (!finds_as_object(st, type) || PyType_IsSubtype(type, &PyType_Type) ||
        !inherits(st, type, PK_STR___class__) || !inherits(st, type, PK_STR___reduce_ex__))
        return PK_HOW_GENERIC;
    int odd = belongs_here(type) ? 1 : is_odd_exception(type);
    if (odd)
        return odd < 0 ? -1 : PK_HOW_OURS;
    int collection = judge_collection(type);
    if (collection)
        return collection;
    if (!inherits(st, type, PK_STR___reduce__))
        return plain_method(st, type, PK_STR___reduce__) ? PK_HOW_REDUCE : PK_HOW_GENERIC;
    return judge_newobj(st, type);
}

int pk_how_of(struct pk_state *st, PyTypeObject *type) {
    struct pk_type_note *note = pk_type_slot(st->save_notes, type);
    if (note->type == type && core_type_version_is(type, note->version))
        return note->how;
    int how = judge(st, type);
    if (how < 0)
        return -1;
    note->type = type;
    note->version = pk_type_version(type);
    note->how = (uint8_t)how;
    return how;
}

/* --- state ------------------------------------------------------------------------------------------------- */

/* {slot: value} of the slots that are set: new dict, or NULL. */
static PyObject *slot_values(struct pk_state *st, PyObject *obj) {
    PyObject *names = core_type_lookup(Py_TYPE(obj), PK_STR(__slotnames__));
    PyObject *values = PyDict_New();
    for (Py_ssize_t i = 0; values && names && i < PyList_GET_SIZE(names); i++) {
        PyObject *value, *name = PyList_GET_ITEM(names, i);
        if (PyObject_GetOptionalAttr(obj, name, &value) < 0 ||
            (value && PyDict_SetItem(values, name, value) < 0))
            Py_CLEAR(values);
        Py_XDECREF(value);
    }
    return values;
}

/* (dict or None, {slot: value}) BUILD, or the dict alone when no slot is set. */
static int save_slots(struct pickler *p, PyObject *obj, PyObject *dict) {
    static const char end[] = {(char)OP_TUPLE2, OP_BUILD};
    PyObject *values = slot_values(p->st, obj);
    if (!values)
        return -1;
    int rc, flags = PK_FF_ATTRS, has_dict = dict && PyDict_GET_SIZE(dict) > 0;
    if (PyDict_GET_SIZE(values) == 0) {
        rc = !has_dict                      ? 0
             : pk_put(p, OP_EMPTY_DICT) < 0 ? -1
                                            : pk_push_items(p, dict, flags | PK_FF_BUILD);
    } else if (pk_push_write(p, end, sizeof end) < 0) {
        rc = -1;
    } else if (has_dict) {
        rc = pk_push_later(p, values, flags) < 0 || pk_put(p, OP_EMPTY_DICT) < 0
                 ? -1
                 : pk_push_items(p, dict, flags);
    } else {
        rc = pk_put(p, OP_NONE) < 0 || pk_put(p, OP_EMPTY_DICT) < 0
                 ? -1
                 : pk_push_items(p, values, flags);
    }
    Py_DECREF(values);
    return rc;
}

/* What object.__getstate__ would give, and BUILD. */
static int save_state(struct pickler *p, PyObject *obj, int slots) {
    PyTypeObject *type = Py_TYPE(obj);
    if (!core_type_has_dict(type))
        return slots ? save_slots(p, obj, NULL) : 0;
    PyObject *dict = PyObject_GenericGetDict(obj, NULL);
    if (!dict)
        return -1;
    int rc = 0;
    if (slots)
        rc = save_slots(p, obj, dict);
    else if (PyDict_GET_SIZE(dict) > 0)
        rc = pk_put(p, OP_EMPTY_DICT) < 0 ? -1 : pk_push_items(p, dict, PK_FF_ATTRS | PK_FF_BUILD);
    Py_DECREF(dict);
    return rc;
}

static int save_state_later(struct pickler *p, PyObject *obj) {
    PyObject *names = core_type_lookup(Py_TYPE(obj), p->st->str[PK_STR___slotnames__]);
    return save_state(p, obj, names && PyList_Check(names) && PyList_GET_SIZE(names) > 0);
}

/* A frame for the state that the class's own __getstate__ gave. */
static int push_given_state(struct pickler *p, PyObject *obj, PyObject *given) {
    if (given == Py_None)
        return 0;
    PyObject *state = pk_level_state(p, obj, given);
    int rc = state && pk_push_write(p, (char[]){OP_BUILD}, 1) == 0
                 ? pk_push_save(p, state, NULL, NULL)
                 : -1;
    Py_XDECREF(state);
    if (rc == 0)
        p->frames[p->nframes - 1].flags = PK_FF_ATTRS;
    return rc;
}

/* What the class's method of this name says about obj: new reference; NULL: exception. */
static PyObject *ask(struct pk_state *st, PyObject *obj, enum pk_string name) {
    PyObject *method = Py_XNewRef(core_type_lookup(Py_TYPE(obj), st->str[name]));
    if (!method) /* somebody changed the class meanwhile */
        return PyErr_Format(PyExc_TypeError, "cannot pickle %.200s: its class lost its %U",
                            Py_TYPE(obj)->tp_name, st->str[name]);
    PyObject *answer = PyObject_CallOneArg(method, obj);
    Py_DECREF(method);
    return answer;
}

/* --- items ------------------------------------------------------------------------------------------------- */

static int push_list(struct pickler *p, PyObject *obj) {
    if (Py_TYPE(obj)->tp_iter != PyList_Type.tp_iter) {
        PyObject *iterator = PyObject_GetIter(obj);
        int rc = iterator ? pk_push_listitems(p, iterator, obj) : -1;
        Py_XDECREF(iterator);
        return rc;
    }
    return PyList_GET_SIZE(obj) ? pk_push_list(p, obj) : 0;
}

static int push_dict(struct pickler *p, PyObject *obj) {
    struct pk_state *st = p->st;
    PyObject *own = core_type_lookup(Py_TYPE(obj), PK_STR(items));
    if (own == core_type_lookup(&PyDict_Type, PK_STR(items)))
        return pk_push_items(p, obj, 0);
    PyObject *items = PyObject_CallMethodNoArgs(obj, PK_STR(items));
    PyObject *iterator = items ? PyObject_GetIter(items) : NULL;
    int rc = iterator ? pk_push_dictitems(p, iterator, obj) : -1;
    Py_XDECREF(items);
    Py_XDECREF(iterator);
    return rc;
}

/* The instance is in the memo and on the stack. */
static int newobj_items(struct pickler *p, PyObject *obj) {
    if (PyList_Check(obj))
        return push_list(p, obj);
    return PyDict_Check(obj) ? push_dict(p, obj) : 0;
}

/* --- __new__ with arguments --------------------------------------------------------------------------------- */

int pk_save_atoms(struct pickler *p, PyObject *args) {
    static const unsigned char ops[] = {OP_EMPTY_TUPLE, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    Py_ssize_t n = PyTuple_GET_SIZE(args);
    for (Py_ssize_t i = 0; i < n; i++)
        if (!pk_is_atom(PyTuple_GET_ITEM(args, i)))
            return 0;
    if (n > 3 && pk_put(p, OP_MARK) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < n; i++)
        if (pk_save_atom(p, PyTuple_GET_ITEM(args, i)) < 0)
            return -1;
    return pk_put(p, n > 3 ? OP_TUPLE : ops[n]) < 0 ? -1 : 1;
}

static PyObject *new_args(struct pickler *p, PyObject *obj) {
    struct pk_state *st = p->st;
    if (!core_type_lookup(Py_TYPE(obj), PK_STR(__getnewargs__)))
        return Py_NewRef(st->empty_tuple);
    PyObject *args = ask(st, obj, PK_STR___getnewargs__);
    if (args && !PyTuple_Check(args)) {
        PyErr_Format(PyExc_TypeError, "__getnewargs__ should return a tuple, not '%.200s'",
                     Py_TYPE(args)->tp_name);
        Py_CLEAR(args);
    }
    return args;
}

/* Frames for all of it: its class or its arguments are not what can be written at once. */
static int push_newobj(struct pickler *p, PyObject *obj, PyObject *args) {
    PyObject *own = PyTuple_GetSlice(args, 0, PyTuple_GET_SIZE(args));
    int rc = -1;
    if (own && pk_check_busy(p, obj) == 0 && pk_push_call(p, newobj_items, obj) == 0 &&
        pk_push(p, PK_F_MEMO, obj) && pk_push_write(p, (char[]){(char)OP_NEWOBJ}, 1) == 0 &&
        pk_push_args(p, own) == 0)
        rc = pk_push_save(p, (PyObject *)Py_TYPE(obj), ".__class__", NULL);
    Py_XDECREF(own);
    return rc;
}

/* state: what __getstate__ gave; NULL: the class has none of its own. */
static int save_newobj(struct pickler *p, PyObject *obj, PyObject *args, PyObject *state) {
    struct pk_state *st = p->st;
    PyTypeObject *type = Py_TYPE(obj);
    uint32_t index = 0;
    int rc = 0, items = PyList_Check(obj) || PyDict_Check(obj), after = 0;
    int at_once = !p->persistent_id && PyTuple_CheckExact(args) &&
                  pk_memo_find(&p->memo, (PyObject *)type, &index);
    for (Py_ssize_t i = 0; at_once && i < PyTuple_GET_SIZE(args); i++)
        at_once = pk_is_atom(PyTuple_GET_ITEM(args, i));
    if (state)
        rc = push_given_state(p, obj, state);
    else if (core_type_has_dict(type) || core_type_lookup(type, PK_STR(__slotnames__)))
        after = at_once && !items;
    if (rc == 0 && !state && !after)
        rc = pk_push_call(p, save_state_later, obj);
    if (rc < 0)
        return -1;
    if (!at_once)
        return push_newobj(p, obj, args);
    if (pk_get(p, index) < 0 || pk_save_atoms(p, args) < 0 || pk_put(p, OP_NEWOBJ) < 0 ||
        pk_memoize_built(p, obj) < 0)
        return -1;
    return after ? save_state_later(p, obj) : newobj_items(p, obj);
}

int pk_save_newobj(struct pickler *p, PyObject *obj, int *refused) {
    struct pk_state *st = p->st;
    PyObject *state = NULL, *args = NULL;
    if (!inherits(st, Py_TYPE(obj), PK_STR___getstate__))
        state = ask(st, obj, PK_STR___getstate__);
    if (!PyErr_Occurred())
        args = new_args(p, obj);
    *refused = !args;
    int rc = args ? save_newobj(p, obj, args, state) : -1;
    Py_XDECREF(args);
    Py_XDECREF(state);
    return rc;
}

/* --- plain instances --------------------------------------------------------------------------------------- */

static int plain_head(struct pickler *p, PyObject *obj, int how) {
    if (pk_reserve(p, 4) < 0)
        return -1;
    *p->cur++ = OP_EMPTY_TUPLE;
    *p->cur++ = OP_NEWOBJ;
    if (pk_memoize(p, obj) < 0)
        return -1;
    return save_state(p, obj, how == PK_HOW_SLOTS);
}

/* The class is on the stack. */
static int after_class(struct pickler *p, PyObject *obj) {
    uint32_t index;
    if (pk_memo_find(&p->memo, obj, &index)) /* an attribute of its class: came along with it */
        return pk_put(p, OP_POP) < 0 ? -1 : pk_get(p, index);
    int how = pk_how_of(p->st, Py_TYPE(obj));
    return how < 0 ? -1 : plain_head(p, obj, how);
}

int pk_save_plain(struct pickler *p, PyObject *obj) {
    PyObject *type = (PyObject *)Py_TYPE(obj);
    uint32_t index;
    if (!p->persistent_id && pk_memo_find(&p->memo, type, &index))
        return pk_get(p, index) < 0 ? -1 : after_class(p, obj);
    if (pk_push_call(p, after_class, obj) < 0)
        return -1;
    return pk_push_save(p, type, ".__class__", NULL);
}
