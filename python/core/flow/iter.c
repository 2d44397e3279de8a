/* What a pass iterates with: its own generators and list iterators, and private copies of the program's iterators.
 * They are real iterators, so that built-in functions can take from them. */
#include "flow.h"

struct fl_gen {
    PyObject_HEAD struct fl_run *run;
    struct fl_frame *frame; /* NULL: finished or running */
};
struct fl_seq {
    PyObject_HEAD struct fl_run *run;
    PyObject *list; /* the program's; seen anew for every item. NULL: exhausted */
    Py_ssize_t index;
};
struct fl_wrapped {
    PyObject_HEAD struct fl_run *run;
    PyObject *callable;
    int mode;
};

/* --- generators ---------------------------------------------------------------------------------------- */

PyObject *fl_gen_new(struct fl_run *run, struct fl_frame *frame, int started) {
    (void)started;
    struct fl_gen *gen =
        frame ? (struct fl_gen *)run->st->gen_type->tp_alloc(run->st->gen_type, 0) : NULL;
    if (!gen) {
        fl_frame_free(frame);
        return NULL;
    }
    gen->run = run;
    gen->frame = frame;
    return fl_mine(run, (PyObject *)gen);
}

int fl_gen_check(struct flow_state *st, PyObject *o) {
    return Py_TYPE(o) == st->gen_type;
}

PyObject *fl_gen_send(struct fl_run *run, PyObject *o, PyObject *value) {
    struct fl_gen *gen = (struct fl_gen *)o;
    struct fl_frame *frame = gen->frame;
    if (!frame) {
        PyErr_SetNone(PyExc_StopIteration);
        return NULL;
    }
    gen->frame = NULL;
    fl_push(frame, Py_NewRef(value));
    PyObject *result = fl_exec(run, frame);
    if (result && frame->yielded) {
        gen->frame = frame;
        return result;
    }
    fl_frame_free(frame);
    if (result) {
        if (result == Py_None)
            PyErr_SetNone(PyExc_StopIteration);
        else
            PyErr_SetObject(PyExc_StopIteration, result);
        Py_DECREF(result);
    }
    return NULL;
}

/* An item for native code, which may go on to take from it: the program's iterators stay as they are. Steals item. */
static PyObject *handed_out(struct fl_run *run, PyObject *item) {
    PyObject *seen = item ? fl_see(run, item) : NULL;
    if (seen != item)
        Py_SETREF(item, Py_NewRef(seen));
    if (!item || !(PyGen_CheckExact(item) ||
                   (fl_kind(run->st, Py_TYPE(item)) == FL_ITER && !fl_map_has(&run->owned, item))))
        return item;
    PyObject *mine = Py_XNewRef(fl_own(run, item));
    Py_DECREF(item);
    return mine;
}

static PyObject *gen_next(PyObject *o) {
    struct fl_gen *gen = (struct fl_gen *)o;
    return handed_out(gen->run, fl_gen_send(gen->run, o, Py_None));
}

static int gen_traverse(PyObject *o, visitproc visit, void *arg) {
    struct fl_gen *gen = (struct fl_gen *)o;
    Py_VISIT(Py_TYPE(o));
    if (gen->frame) {
        for (int i = 0; i < gen->frame->code->nlocalsplus + gen->frame->sp; i++)
            Py_VISIT(gen->frame->slots[i]);
        Py_VISIT(gen->frame->func);
    }
    return 0;
}

static int gen_clear(PyObject *o) {
    struct fl_gen *gen = (struct fl_gen *)o;
    struct fl_frame *frame = gen->frame;
    gen->frame = NULL;
    fl_frame_free(frame);
    return 0;
}

static void gen_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    gen_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
}

#define SLOT(name, function)                                                                       \
    { name, (void *)(function) }
static PyObject *gen_send(PyObject *o, PyObject *value) {
    return fl_gen_send(((struct fl_gen *)o)->run, o, value);
}

/* What a generator does when it is closed is left out. */
static PyObject *gen_close(PyObject *o, PyObject *none) {
    struct fl_frame *frame = ((struct fl_gen *)o)->frame;
    (void)none;
    ((struct fl_gen *)o)->frame = NULL;
    fl_frame_free(frame);
    Py_RETURN_NONE;
}

static PyMethodDef gen_methods[] = {
    {"send", gen_send, METH_O, NULL},
    {"close", gen_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
static PyType_Slot gen_slots[] = {
    SLOT(Py_tp_methods, gen_methods),
    SLOT(Py_tp_dealloc, gen_dealloc),
    SLOT(Py_tp_traverse, gen_traverse),
    SLOT(Py_tp_clear, gen_clear),
    SLOT(Py_tp_iter, PyObject_SelfIter),
    SLOT(Py_tp_iternext, gen_next),
    {0, NULL},
};
static PyType_Spec gen_spec = {
    .name = "ergon._core.PassGenerator",
    .basicsize = sizeof(struct fl_gen),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = gen_slots,
};

/* --- lists: they may grow while they are iterated -------------------------------------------------------- */

static PyObject *seq_new(struct fl_run *run, PyObject *list, Py_ssize_t index) {
    struct fl_seq *seq = (struct fl_seq *)run->st->seq_type->tp_alloc(run->st->seq_type, 0);
    if (!seq)
        return NULL;
    seq->run = run;
    seq->list = Py_NewRef(list);
    seq->index = index;
    return fl_mine(run, (PyObject *)seq);
}

static PyObject *seq_next(PyObject *o) {
    struct fl_seq *seq = (struct fl_seq *)o;
    PyObject *list = seq->list ? fl_see(seq->run, seq->list) : NULL;
    if (!list)
        return NULL;
    if (fl_is_unknown(seq->run->st, list)) {
        PyErr_SetNone(seq->run->st->need_value);
        return NULL;
    }
    if (PyList_CheckExact(list) && seq->index < PyList_GET_SIZE(list))
        return handed_out(seq->run, Py_NewRef(PyList_GET_ITEM(list, seq->index++)));
    Py_CLEAR(seq->list);
    return NULL;
}

static int seq_traverse(PyObject *o, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(((struct fl_seq *)o)->list);
    return 0;
}

static int seq_clear(PyObject *o) {
    Py_CLEAR(((struct fl_seq *)o)->list);
    return 0;
}

static void seq_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    seq_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyType_Slot seq_slots[] = {
    SLOT(Py_tp_dealloc, seq_dealloc), SLOT(Py_tp_traverse, seq_traverse),
    SLOT(Py_tp_clear, seq_clear),     SLOT(Py_tp_iter, PyObject_SelfIter),
    SLOT(Py_tp_iternext, seq_next),   {0, NULL},
};
static PyType_Spec seq_spec = {
    .name = "ergon._core.PassIterator",
    .basicsize = sizeof(struct fl_seq),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = seq_slots,
};

/* --- functions of the program, for built-in functions to call ---------------------------------------------- */

PyObject *fl_callback(struct fl_run *run, PyObject *callable, int mode) {
    struct fl_wrapped *w =
        (struct fl_wrapped *)run->st->callback_type->tp_alloc(run->st->callback_type, 0);
    if (!w)
        return NULL;
    w->run = run;
    w->callable = Py_NewRef(callable);
    w->mode = mode;
    return (PyObject *)w;
}

static PyObject *callback_call(PyObject *o, PyObject *args, PyObject *kwds) {
    struct fl_wrapped *w = (struct fl_wrapped *)o;
    if (kwds && PyDict_GET_SIZE(kwds)) {
        fl_stop(w->run, FL_WHY_OTHER, "a callback with keywords");
        return NULL;
    }
    PyObject *r =
        fl_call(w->run, w->callable, &PyTuple_GET_ITEM(args, 0), PyTuple_GET_SIZE(args), NULL);
    if (r && w->mode == FL_CALL_KEY && (w->run->approximate || fl_is_unknown(w->run->st, r))) {
        w->run->approximate++;
        Py_SETREF(r, PyLong_FromLong(0));
    } else if (r && (w->mode == FL_CALL_FILTER || w->mode == FL_CALL_REJECT) &&
               fl_is_unknown(w->run->st, r)) {
        w->run->approximate++; /* each item is taken along */
        Py_SETREF(r, PyBool_FromLong(w->mode == FL_CALL_FILTER));
    }
    return r;
}

static int callback_traverse(PyObject *o, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(o));
    Py_VISIT(((struct fl_wrapped *)o)->callable);
    return 0;
}

static int callback_clear(PyObject *o) {
    Py_CLEAR(((struct fl_wrapped *)o)->callable);
    return 0;
}

static void callback_dealloc(PyObject *o) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject_GC_UnTrack(o);
    callback_clear(o);
    type->tp_free(o);
    Py_DECREF(type);
}

static PyType_Slot callback_slots[] = {
    SLOT(Py_tp_dealloc, callback_dealloc),
    SLOT(Py_tp_traverse, callback_traverse),
    SLOT(Py_tp_clear, callback_clear),
    SLOT(Py_tp_call, callback_call),
    {0, NULL},
};
static PyType_Spec callback_spec = {
    .name = "ergon._core.PassCallback",
    .basicsize = sizeof(struct fl_wrapped),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = callback_slots,
};

int fl_iter_register(struct flow_state *st) {
    st->gen_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &gen_spec, NULL);
    st->seq_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &seq_spec, NULL);
    st->callback_type = (PyTypeObject *)PyType_FromModuleAndSpec(st->module, &callback_spec, NULL);
    return st->gen_type && st->seq_type && st->callback_type ? 0 : -1;
}

/* --- copies of the program's iterators ---------------------------------------------------------------------- */

/* Iterators whose copies share nothing that moves. */
static int can_be_rebuilt(PyObject *o) {
    static const char *const names[] = {"list_iterator",
                                        "list_reverseiterator",
                                        "tuple_iterator",
                                        "str_iterator",
                                        "str_ascii_iterator",
                                        "bytes_iterator",
                                        "range_iterator",
                                        "longrange_iterator",
                                        "dict_keyiterator",
                                        "dict_valueiterator",
                                        "dict_itemiterator",
                                        "set_iterator",
                                        "reversed",
                                        "enumerate",
                                        "zip",
                                        "map",
                                        "filter",
                                        "itertools.product",
                                        "itertools.combinations",
                                        "itertools.combinations_with_replacement",
                                        "itertools.permutations",
                                        "itertools.count",
                                        "itertools.repeat",
                                        "itertools.islice",
                                        "itertools.zip_longest",
                                        "itertools.accumulate",
                                        "itertools.starmap",
                                        "itertools.takewhile",
                                        "itertools.dropwhile",
                                        "itertools.compress",
                                        "itertools.filterfalse",
                                        NULL};
    for (int i = 0; names[i]; i++)
        if (strcmp(Py_TYPE(o)->tp_name, names[i]) == 0)
            return 1;
    return 0;
}

/* A tuple of iterables with copies of the iterators in it: new reference; NULL: one of them cannot be copied. */
static PyObject *copy_tuple(struct fl_run *run, PyObject *tuple) {
    PyObject *mine = PyTuple_New(PyTuple_GET_SIZE(tuple));
    for (Py_ssize_t i = 0; mine && i < PyTuple_GET_SIZE(tuple); i++) {
        PyObject *item = fl_see(run, PyTuple_GET_ITEM(tuple, i));
        if (PyIter_Check(item))
            item = fl_own(run, item);
        if (!item ||
            (fl_is_unknown(run->st, item) && !fl_is_unknown(run->st, PyTuple_GET_ITEM(tuple, i))))
            Py_CLEAR(mine);
        else
            PyTuple_SET_ITEM(mine, i, Py_NewRef(item));
    }
    return mine;
}

/* chain(*rest) after the iterators it has in hand: __reduce__ gives them as its state. */
static PyObject *copy_chain(struct fl_run *run, PyObject *reduced) {
    PyObject *state = PyTuple_GET_SIZE(reduced) > 2 ? PyTuple_GET_ITEM(reduced, 2) : NULL,
             *made = NULL;
    if (!state || !PyTuple_Check(state))
        return NULL;
    PyObject *mine = PyTuple_New(PyTuple_GET_SIZE(state));
    for (Py_ssize_t i = 0; mine && i < PyTuple_GET_SIZE(state); i++) {
        PyObject *it = fl_own(run, PyTuple_GET_ITEM(state, i));
        if (!it || fl_is_unknown(run->st, it))
            Py_CLEAR(mine);
        else
            PyTuple_SET_ITEM(mine, i, Py_NewRef(it));
    }
    PyObject *none = mine ? PyTuple_New(0) : NULL;
    made = none ? PyObject_CallObject(PyTuple_GET_ITEM(reduced, 0), none) : NULL;
    PyObject *r = made ? PyObject_CallMethod(made, "__setstate__", "(O)", mine) : NULL;
    if (!r)
        Py_CLEAR(made);
    Py_XDECREF(r);
    Py_XDECREF(none);
    Py_XDECREF(mine);
    return made;
}

static int callback_mode(PyObject *type) {
    if (type == (PyObject *)&PyFilter_Type)
        return FL_CALL_FILTER;
    return PyType_Check(type) &&
                   strcmp(((PyTypeObject *)type)->tp_name, "itertools.filterfalse") == 0
               ? FL_CALL_REJECT
               : FL_CALL_PLAIN;
}

/* Calls what __reduce__ gave, with copies of the iterators among the arguments and callbacks for functions. */
static PyObject *rebuild(struct fl_run *run, PyObject *reduced) {
    PyObject *type = PyTuple_GET_ITEM(reduced, 0), *args = PyTuple_GET_ITEM(reduced, 1);
    PyObject *mine = PyTuple_New(PyTuple_GET_SIZE(args)), *made = NULL;
    for (Py_ssize_t i = 0; mine && i < PyTuple_GET_SIZE(args); i++) {
        PyObject *arg = PyTuple_GET_ITEM(args, i), *now;
        if (PyGen_CheckExact(arg) || fl_kind(run->st, Py_TYPE(arg)) == FL_ITER)
            now = Py_XNewRef(fl_own(run, arg));
        else if (PyCallable_Check(arg) && i == 0)
            now = fl_callback(run, arg, callback_mode(type));
        else if (PyTuple_CheckExact(arg))
            now = copy_tuple(run, arg);
        else
            now = PyIter_Check(arg)
                      ? NULL
                      : Py_NewRef(arg); /* an iterator of the program's is not ours to use up */
        if (!now || fl_is_unknown(run->st, now)) {
            Py_XDECREF(now);
            Py_CLEAR(mine);
            break;
        }
        PyTuple_SET_ITEM(mine, i, now);
    }
    if (mine)
        made = PyObject_CallObject(type, mine);
    if (made && PyTuple_GET_SIZE(reduced) > 2 && PyTuple_GET_ITEM(reduced, 2) != Py_None) {
        PyObject *r =
            PyObject_CallMethod(made, "__setstate__", "(O)", PyTuple_GET_ITEM(reduced, 2));
        if (!r)
            Py_CLEAR(made);
        Py_XDECREF(r);
    }
    Py_XDECREF(mine);
    return made;
}

/* o.__reduce__() without a word: for the iterators of itertools CPython 3.12 and 3.13 warn that it will be gone. */
static PyObject *reduce(PyObject *o) {
    PyObject *filters = NULL, *module = NULL, *name = NULL, *quiet = NULL, *r = NULL;
    int warns = CORE_ITERTOOLS_WARN && strncmp(Py_TYPE(o)->tp_name, "itertools.", 10) == 0;
    if (warns) {
        name = PyUnicode_FromString("warnings");
        module = name ? PyImport_GetModule(name) : NULL;
        filters = module ? PyObject_GetAttrString(module, "filters") : NULL;
        quiet = Py_BuildValue("(sOOOi)", "ignore", Py_None, PyExc_DeprecationWarning, Py_None, 0);
        PyErr_Clear();
        warns = filters && PyList_Check(filters) && quiet && PyList_Insert(filters, 0, quiet) == 0;
        if (!warns)
            goto out;
    }
    r = PyObject_CallMethod(o, "__reduce__", NULL);
    if (warns && PyList_GET_SIZE(filters) > 0 && PyList_GET_ITEM(filters, 0) == quiet) {
        PyObject *error = PyErr_GetRaisedException();
        if (PyList_SetSlice(filters, 0, 1, NULL) < 0)
            PyErr_Clear();
        if (error)
            PyErr_SetRaisedException(error);
    }
out:
    Py_XDECREF(name);
    Py_XDECREF(module);
    Py_XDECREF(filters);
    Py_XDECREF(quiet);
    return r;
}

/* What a sequence's plain iterator gave to be rebuilt from: that goes over an array of NumPy's. */
static int is_of_array(struct flow_state *st, PyObject *reduced) {
    PyObject *args = PyTuple_Check(reduced) && PyTuple_GET_SIZE(reduced) > 1
                         ? PyTuple_GET_ITEM(reduced, 1)
                         : NULL;
    return args && PyTuple_Check(args) && PyTuple_GET_SIZE(args) == 1 && st->ndarray_type &&
           Py_TYPE(PyTuple_GET_ITEM(args, 0)) == st->ndarray_type;
}

PyObject *fl_iter_copy(struct fl_run *run, PyObject *o) {
    if (PyGen_CheckExact(o) || PyCoro_CheckExact(o) || PyAsyncGen_CheckExact(o))
        return fl_fork_generator(run, o);
    int chain = strcmp(Py_TYPE(o)->tp_name, "itertools.chain") == 0;
    int array = Py_TYPE(o) == &PySeqIter_Type;
    if (!chain && !array && !can_be_rebuilt(o))
        return NULL;
    PyObject *reduced = reduce(o), *made = NULL;
    if (!reduced)
        return NULL;
    if (array && !is_of_array(run->st, reduced)) {
        Py_DECREF(reduced);
        return NULL;
    }
    if (chain && PyTuple_Check(reduced)) {
        made = copy_chain(run, reduced);
        Py_DECREF(reduced);
        return made;
    }
    if (PyTuple_Check(reduced) && PyTuple_GET_SIZE(reduced) >= 2 &&
        PyTuple_Check(PyTuple_GET_ITEM(reduced, 1))) {
        PyObject *args = PyTuple_GET_ITEM(reduced, 1);
        PyObject *first = PyTuple_GET_SIZE(args) == 1 ? PyTuple_GET_ITEM(args, 0) : NULL;
        if (strcmp(Py_TYPE(o)->tp_name, "list_iterator") == 0 && first &&
            PyList_CheckExact(first)) {
            Py_ssize_t index =
                PyTuple_GET_SIZE(reduced) > 2 ? PyLong_AsSsize_t(PyTuple_GET_ITEM(reduced, 2)) : 0;
            made = index < 0 && PyErr_Occurred() ? NULL : seq_new(run, first, index);
        } else {
            made = rebuild(run, reduced);
        }
    }
    Py_DECREF(reduced);
    return made;
}

/* --- iterating ------------------------------------------------------------------------------------------------ */

PyObject *fl_iter(struct fl_run *run, PyObject *o) {
    struct flow_state *st = run->st;
    o = fl_see(run, o);
    if (fl_is_unknown(st, o) || Py_TYPE(o) == st->gen_type || Py_TYPE(o) == st->seq_type ||
        PyGen_CheckExact(o))
        return Py_NewRef(o);
    if (PyList_CheckExact(o))
        return seq_new(run, o, 0);
    int kind = fl_kind(st, Py_TYPE(o));
    if (kind == FL_ITER)
        return Py_NewRef(o);
    if (kind)
        return fl_mine(run, PyObject_GetIter(o));
    int found;
    PyObject *it = fl_call_method(run, o, "__iter__", NULL, 0, &found);
    if (!it && !PyErr_Occurred()) {
        if (Py_TYPE(o)->tp_iter || PySequence_Check(o))
            fl_stop(run, FL_WHY_OTHER, "iterates over an object of an unknown type");
        else
            PyErr_Format(PyExc_TypeError, "'%.200s' object is not iterable", Py_TYPE(o)->tp_name);
    }
    return it;
}

int fl_next(struct fl_run *run, PyObject *it, PyObject **value) {
    struct flow_state *st = run->st;
    *value = NULL;
    it = fl_see(run, it);
    if (PyGen_CheckExact(it) ||
        (fl_kind(st, Py_TYPE(it)) == FL_ITER && !fl_map_has(&run->owned, it)))
        it = fl_own(run, it);
    if (!it)
        return -1;
    if (fl_is_unknown(st, it)) {
        *value = fl_unknown(st);
        return *value ? 1 : -1;
    }
    if (Py_TYPE(it) == st->gen_type || Py_TYPE(it) == st->seq_type ||
        fl_kind(st, Py_TYPE(it)) == FL_ITER) {
        unsigned before = run->approximate;
        Py_INCREF(it);
        *value = Py_TYPE(it)->tp_iternext(it);
        Py_DECREF(it);
        if (*value &&
            run->approximate != before) { /* whether this item is one of them is not known */
            run->approximate = before;
            if (fl_poison(run, it) < 0)
                Py_CLEAR(*value);
            else
                Py_SETREF(*value, fl_unknown(st));
        }
    } else {
        int found;
        *value = fl_call_method(run, it, "__next__", NULL, 0, &found);
        if (!*value && !PyErr_Occurred())
            return fl_stop(run, FL_WHY_OTHER, "an iterator of an unknown type");
    }
    if (*value)
        return 1;
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_StopIteration))
        PyErr_Clear();
    if (!PyErr_Occurred())
        return 0;
    if (!fl_absorb(run) ||
        fl_poison(run, it) < 0) /* what comes is not known, and when it ends neither */
        return -1;
    *value = fl_unknown(st);
    return *value ? 1 : -1;
}
