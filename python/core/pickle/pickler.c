#include "digest.h"

enum { MAX_FRAMES = 1 << 23 };

/* --- memory ----------------------------------------------------------------------------------------- */

int pk_grow(struct pickler *p, size_t need) {
    struct pk_sink *sink = p->sink;
    sink->len = sink->buf ? (size_t)(p->cur - (unsigned char *)sink->buf) : 0;
    if (sink->grow(sink, need) < 0)
        return -1;
    p->cur = (unsigned char *)sink->buf + sink->len;
    p->lim = (unsigned char *)sink->buf + sink->cap;
    return 0;
}

static int grow_frames(struct pickler *p) {
    if (p->capframes >= MAX_FRAMES) {
        PyErr_SetString(PyExc_RecursionError,
                        "nested beyond all bounds: does a __reduce__ make new objects for ever?");
        return -1;
    }
    Py_ssize_t cap = p->capframes ? p->capframes * 2 : 64;
    struct pk_frame *frames = PyMem_Realloc(p->frames, (size_t)cap * sizeof *frames);
    if (!frames) {
        PyErr_NoMemory();
        return -1;
    }
    p->frames = frames;
    p->capframes = cap;
    return 0;
}

struct pk_frame *pk_push(struct pickler *p, enum pk_frame_kind kind, PyObject *obj) {
    if (p->nframes == p->capframes && grow_frames(p) < 0)
        return NULL;
    struct pk_frame *f = &p->frames[p->nframes++];
    f->kind = (uint8_t)kind;
    f->flags = 0;
    f->op = 0;
    f->n = 0;
    f->obj = Py_XNewRef(obj);
    f->i = 0;
    f->aux = NULL;
    f->label = NULL;
    return f;
}

static void pop(struct pickler *p) {
    struct pk_frame *f = &p->frames[--p->nframes];
    PyObject *obj = f->obj, *aux = f->aux;
    Py_XDECREF(obj);
    Py_XDECREF(aux);
}

void pk_unwind(struct pickler *p) {
    while (p->nframes > 0)
        pop(p);
}

int pk_push_save(struct pickler *p, PyObject *obj, const char *label, PyObject *aux) {
    struct pk_frame *f = pk_push(p, PK_F_SAVE, obj);
    if (!f)
        return -1;
    f->label = label;
    f->aux = Py_XNewRef(aux);
    return 0;
}

int pk_push_write(struct pickler *p, const char *bytes, size_t n) {
    struct pk_frame *f = pk_push(p, PK_F_WRITE, NULL);
    if (!f)
        return -1;
    memcpy(f->text, bytes, n);
    f->n = (uint32_t)n;
    return 0;
}

int pk_push_helper(struct pickler *p, enum pk_helper which) {
    struct pk_frame *f = pk_push(p, PK_F_HELPER, NULL);
    if (!f)
        return -1;
    f->n = which;
    return 0;
}

int pk_push_call(struct pickler *p, int (*call)(struct pickler *p, PyObject *obj), PyObject *obj) {
    struct pk_frame *f = pk_push(p, PK_F_CALL, obj);
    if (!f)
        return -1;
    f->call = call;
    return 0;
}

/* --- the memo --------------------------------------------------------------------------------------- */

int pk_get(struct pickler *p, uint32_t index) {
    if (pk_reserve(p, 5) < 0)
        return -1;
    p->cur += pk_get_form(p->cur, index);
    return 0;
}

int pk_write_old_put(struct pickler *p) {
    uint32_t index = p->next++;
    if (pk_reserve(p, 5) < 0)
        return -1;
    if (index < 256) {
        p->cur[0] = OP_BINPUT;
        p->cur[1] = (unsigned char)index;
        p->cur += 2;
    } else {
        p->cur[0] = OP_LONG_BINPUT;
        pk_le32(p->cur + 1, index);
        p->cur += 5;
    }
    return 0;
}

/* Ends what is written as opcodes `popping` when obj turned up in the memo meanwhile (it contains itself):
 * 1 and it is taken from the memo; 0: nothing done; -1: exception. */
static int taken_from_memo(struct pickler *p, PyObject *obj, unsigned char popping, int times) {
    uint32_t index;
    if (!pk_memo_find(&p->memo, obj, &index))
        return 0;
    for (int i = 0; i < times; i++)
        if (pk_put(p, popping) < 0)
            return -1;
    return pk_get(p, index) < 0 ? -1 : 1;
}

/* --- frames ----------------------------------------------------------------------------------------- */

/* Saves the items of a list or tuple from the frame's on; of a list of one item (no MARK) only that. 1: all of them are
 * written, 0: one of them pushed frames, -1 */
static inline int save_items(struct pickler *p, PyObject *items, int list, int single) {
    Py_ssize_t depth = p->nframes, i = p->frames[depth - 1].i;
    while (i < (list ? PyList_GET_SIZE(items) : PyTuple_GET_SIZE(items)) && !(single && i)) {
        PyObject *item = list ? PyList_GET_ITEM(items, i) : PyTuple_GET_ITEM(items, i);
        int rc = p->persistent_id ? 0 : pk_save_atom(p, item);
        i++;
        if (rc > 0)
            continue;
        p->frames[depth - 1].i = i;
        if (rc < 0 || pk_save_object(p, item) < 0)
            return -1;
        if (p->nframes != depth)
            return 0;
    }
    return 1;
}

static int step_list(struct pickler *p, struct pk_frame *f) {
    uint32_t marked = f->n;
    int none = f->i == 0 && PyList_GET_SIZE(f->obj) == 0; /* somebody has emptied it meanwhile */
    int rc = save_items(p, f->obj, 1, !marked);
    if (rc <= 0)
        return rc;
    if (pk_put(p, marked ? OP_APPENDS : none ? OP_POP : OP_APPEND) < 0)
        return -1;
    pop(p);
    return 0;
}

/* What is written into that frame is looked for by its address when the outline of what contains it is made. */
static int in_sequence(const struct pickler *p, Py_ssize_t frame) {
    return p->keeps || (frame >= 0 &&
                        (p->frames[frame].kind == PK_F_TUPLE || p->frames[frame].kind == PK_F_SET));
}

static struct pk_seq tuple_seq(PyObject *tuple, int once) {
    static const unsigned char ops[] = {OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    return (struct pk_seq){.kind = PK_V_TUPLE,
                           .op = n > 3 ? OP_TUPLE : ops[n - 1],
                           .once = once,
                           .items = &PyTuple_GET_ITEM(tuple, 0),
                           .n = n,
                           .stride = sizeof(PyObject *)};
}

/* The end of a tuple: recursive ones came into the memo through what they contain. */
static int end_tuple(struct pickler *p, const struct pk_frame *f) {
    PyObject *tuple = f->obj;
    int once = f->flags & PK_FF_ONCE;
    struct pk_seq seq = tuple_seq(tuple, once && !in_sequence(p, p->nframes - 2));
    if (p->flags & PK_CANONICAL)
        return pk_put(p, seq.op) < 0 ? -1 : pk_write_unfound(p);
    if (!once) {
        int rc = seq.n > 3 ? taken_from_memo(p, tuple, OP_POP_MARK, 1)
                           : taken_from_memo(p, tuple, OP_POP, (int)seq.n);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    seq.start = (size_t)f->prev;
    seq.next = f->n;
    return pk_seq_close(p, tuple, &seq);
}

static int step_tuple(struct pickler *p, struct pk_frame *f) {
    PyObject *tuple = f->obj;
    Py_ssize_t depth = p->nframes;
    int flags = f->flags, rc = save_items(p, tuple, 0, 0);
    if (rc <= 0)
        return rc;
    if (end_tuple(p, &p->frames[depth - 1]) < 0)
        return -1;
    if (flags & PK_FF_LEVEL && pk_level_close(p, tuple) < 0)
        return -1;
    pop(p);
    return 0;
}

static int dict_changed(void) {
    PyErr_SetString(PyExc_RuntimeError, "dictionary changed size during iteration");
    return -1;
}

/* The value of the pair whose key is written. 1: it pushed frames, 0: done, -1 */
static int save_value(struct pickler *p, Py_ssize_t depth, PyObject *value) {
    int rc = p->persistent_id ? 0 : pk_save_atom(p, value);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (pk_save_object(p, value) < 0)
        return -1;
    return p->nframes != depth;
}

static int end_dict(struct pickler *p, Py_ssize_t depth) {
    struct pk_frame *f = &p->frames[depth - 1];
    if (PyDict_GET_SIZE(f->obj) != (Py_ssize_t)f->n)
        return dict_changed();
    if (pk_reserve(p, 2) < 0)
        return -1;
    *p->cur++ = f->n == 1 ? OP_SETITEM : OP_SETITEMS;
    if (f->flags & PK_FF_BUILD)
        *p->cur++ = OP_BUILD;
    pop(p);
    return 0;
}

static int step_dict(struct pickler *p, struct pk_frame *f) {
    Py_ssize_t depth = p->nframes, pos = f->i;
    PyObject *dict = f->obj, *key, *value;
    if (f->aux) {
        value = f->aux;
        f->aux = NULL;
        int rc = save_value(p, depth, value);
        Py_DECREF(value);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    if (PyDict_GET_SIZE(dict) != (Py_ssize_t)p->frames[depth - 1].n)
        return dict_changed();
    for (Py_ssize_t prev = pos; PyDict_Next(dict, &pos, &key, &value); prev = pos) {
        int large = PyBytes_CheckExact(key) && PyBytes_GET_SIZE(key) >= PK_BUFFER_THRESHOLD;
        int rc = p->persistent_id || large ? 0 : pk_save_atom(p, key);
        if (rc > 0 && (rc = pk_save_atom(p, value)) > 0 && !p->persistent_id)
            continue;
        f = &p->frames[depth - 1];
        f->i = pos;
        f->prev = prev;
        if (rc < 0)
            return -1;
        if (pk_is_atom(key) && !p->persistent_id && !large) {
            if (pk_save_object(p, value) < 0)
                return -1;
        } else {
            f->aux = Py_NewRef(value);
            if (pk_save(p, key) < 0)
                return -1;
            if (p->nframes == depth)
                return 0; /* comes back for the value */
        }
        if (p->nframes != depth)
            return 0;
        if (PyDict_GET_SIZE(dict) != (Py_ssize_t)f->n)
            return dict_changed();
    }
    return end_dict(p, depth);
}

static int end_frozenset(struct pickler *p, const struct pk_frame *f) {
    int rc = taken_from_memo(p, f->aux, OP_POP_MARK, 1);
    if (rc)
        return rc < 0 ? -1 : 0;
    struct pk_seq seq = {.start = (size_t)f->prev,
                         .next = f->n,
                         .kind = PK_V_FROZENSET,
                         .op = OP_FROZENSET,
                         .items = ((PyListObject *)f->obj)->ob_item,
                         .n = PyList_GET_SIZE(f->obj),
                         .stride = sizeof(PyObject *)};
    return pk_seq_close(p, f->aux, &seq);
}

static int step_set(struct pickler *p, struct pk_frame *f) {
    Py_ssize_t depth = p->nframes;
    int rc = save_items(p, f->obj, 1, 0);
    if (rc <= 0)
        return rc;
    f = &p->frames[depth - 1];
    if (f->op != OP_FROZENSET)
        rc = pk_put(p, f->op);
    else if (p->flags & PK_CANONICAL)
        rc = pk_put(p, OP_FROZENSET) < 0 ? -1 : pk_write_unfound(p);
    else
        rc = end_frozenset(p, f);
    if (rc < 0)
        return -1;
    pop(p);
    return 0;
}

static int step_names(struct pickler *p, struct pk_frame *f) {
    int rc = pk_name_next(p, f);
    if (rc > 0)
        pop(p);
    return rc;
}

static int step_save(struct pickler *p, struct pk_frame *f) {
    PyObject *obj = f->obj;
    int flags = f->flags;
    f->kind = PK_F_DONE;
    if (flags & PK_FF_REDUCE && PyTuple_CheckExact(obj) && !p->persistent_id)
        return pk_save_tuple(p, obj, PK_FF_REDUCE);
    Py_ssize_t depth = p->nframes;
    int stable = p->watch ? p->watch->stable : 0;
    int rc = pk_save(p, obj);
    if (flags & PK_FF_QUIET && p->watch)
        p->watch->stable = stable;
    if (rc == 0 && flags & PK_FF_ATTRS && PyDict_CheckExact(obj) && p->nframes == depth + 1)
        p->frames[depth].flags |= PK_FF_ATTRS;
    return rc;
}

int pk_memoize_built(struct pickler *p, PyObject *obj) {
    if (p->flags & PK_CANONICAL && pk_level_type(p, Py_TYPE(obj)))
        return pk_write_unfound(p);
    int rc = taken_from_memo(p, obj, OP_POP, 1);
    return rc < 0 || (rc == 0 && pk_memoize(p, obj) < 0) ? -1 : 0;
}

static int step_memo(struct pickler *p, struct pk_frame *f) {
    if (pk_memoize_built(p, f->obj) < 0)
        return -1;
    pop(p);
    return 0;
}

static int step_get(struct pickler *p, struct pk_frame *f) {
    uint32_t index = 0;
    if (!pk_memo_find(&p->memo, f->obj, &index)) {
        PyErr_SetString(PyExc_SystemError, "pickler: an object is missing from the memo");
        return -1;
    }
    if (pk_get(p, index) < 0)
        return -1;
    pop(p);
    return 0;
}

static int step_simple(struct pickler *p, struct pk_frame *f) {
    int rc = 0;
    if (f->kind == PK_F_WRITE)
        rc = pk_write(p, f->text, f->n);
    else if (f->kind == PK_F_HELPER)
        rc = pk_write_helper(p, (enum pk_helper)f->n);
    if (rc == 0)
        pop(p);
    return rc;
}

static int step_call(struct pickler *p, struct pk_frame *f) {
    /* The call pushes frames: its own goes first. */
    int (*call)(struct pickler *, PyObject *) = f->call;
    PyObject *obj = f->obj;
    p->nframes--;
    int rc = call(p, obj);
    Py_XDECREF(obj);
    return rc;
}

/* --- the beginning of each kind of object ----------------------------------------------------------------- */

static int save_list(struct pickler *p, PyObject *obj) {
    int rc = pk_seen(p, obj);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (pk_put(p, OP_EMPTY_LIST) < 0 || pk_memoize(p, obj) < 0)
        return -1;
    return pk_push_list(p, obj);
}

int pk_push_list(struct pickler *p, PyObject *list) {
    Py_ssize_t n = PyList_GET_SIZE(list);
    if (n == 0)
        return 0;
    if (n > 1 && pk_put(p, OP_MARK) < 0)
        return -1;
    struct pk_frame *f = pk_push(p, PK_F_LIST, list);
    if (!f)
        return -1;
    f->n = n > 1;
    return 0;
}

static int save_dict(struct pickler *p, PyObject *obj) {
    int rc = pk_seen(p, obj);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (pk_put(p, OP_EMPTY_DICT) < 0 || pk_memoize(p, obj) < 0)
        return -1;
    return pk_push_items(p, obj, 0);
}

int pk_push_items(struct pickler *p, PyObject *dict, int flags) {
    Py_ssize_t n = PyDict_GET_SIZE(dict);
    if (n == 0)
        return flags & PK_FF_BUILD ? pk_put(p, OP_BUILD) : 0;
    if (n > 1 && pk_put(p, OP_MARK) < 0)
        return -1;
    struct pk_frame *f = pk_push(p, PK_F_DICT, dict);
    if (!f)
        return -1;
    f->n = (uint32_t)n;
    f->flags = (uint8_t)flags;
    return 0;
}

int pk_push_later(struct pickler *p, PyObject *dict, int flags) {
    struct pk_frame *f = pk_push(p, PK_F_LATER, dict);
    if (!f)
        return -1;
    f->flags = (uint8_t)flags;
    return 0;
}

static int step_later(struct pickler *p, struct pk_frame *f) {
    PyObject *dict = f->obj;
    int flags = f->flags;
    p->nframes--; /* its reference is ours now */
    int rc = pk_put(p, OP_EMPTY_DICT) < 0 ? -1 : pk_push_items(p, dict, flags);
    Py_DECREF(dict);
    return rc;
}

/* Short arguments are written in full each time: a name for them would take longer than they do. */
static int save_args(struct pickler *p, PyObject *args) {
    if (PyTuple_GET_SIZE(args) > PK_FEW_ARGS || p->flags & PK_CANONICAL)
        return 0;
    return pk_save_atoms(p, args);
}

int pk_save_tuple(struct pickler *p, PyObject *obj, int flags) {
    Py_ssize_t n = PyTuple_GET_SIZE(obj);
    if (n == 0)
        return pk_put(p, OP_EMPTY_TUPLE);
    int canonical = p->flags & PK_CANONICAL, level = canonical && !(flags & PK_FF_REDUCE);
    int once = core_only_ref(obj), rc = 0;
    if (flags & PK_FF_REDUCE && (rc = save_args(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    rc = level ? pk_level_known(p, obj) : canonical || once ? 0 : pk_seen(p, obj);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (level && pk_level_open(p) < 0)
        return -1;
    struct pk_seq seq = tuple_seq(obj, once && !in_sequence(p, p->nframes - 1));
    seq.start = (size_t)(p->cur - (unsigned char *)p->sink->buf);
    seq.next = p->next;
    if (!canonical && (rc = pk_save_few(p, obj, &seq)) != 0)
        return rc < 0 ? -1 : 0;
    if (n > 3 && pk_put(p, OP_MARK) < 0)
        return -1;
    struct pk_frame *f = pk_push(p, PK_F_TUPLE, obj);
    if (!f)
        return -1;
    f->flags = (uint8_t)(flags | (once ? PK_FF_ONCE : 0) | (level ? PK_FF_LEVEL : 0));
    f->prev = (Py_ssize_t)seq.start;
    f->n = seq.next;
    return 0;
}

/* Hooks of a Pickler object or of the pool come before our own ways. 1: taken, 0, -1 */
static int save_persistent(struct pickler *p, PyObject *obj, PyObject *pid) {
    (void)obj;
    int rc = -1;
    if (pk_push_write(p, (char[]){OP_BINPERSID}, 1) == 0 && pk_push_save(p, pid, NULL, NULL) == 0)
        rc = 1;
    Py_DECREF(pid);
    return rc;
}

static int ask_ref(struct pickler *p, PyObject *obj) {
    struct pk_state *st = p->st;
    if (!p->hooks->ref || PySet_GET_SIZE(st->ref_types) == 0)
        return 0;
    int rc = PySet_Contains(st->ref_types, (PyObject *)Py_TYPE(obj));
    if (rc <= 0)
        return rc;
    PyObject *pid = NULL;
    rc = p->hooks->ref(p->hooks->ctx, obj, &pid);
    if (rc <= 0)
        return rc;
    pk_watch_mutable(p);
    return save_persistent(p, obj, pid);
}

static int ask_persistent_id(struct pickler *p, PyObject *obj) {
    PyObject *pid = PyObject_CallOneArg(p->persistent_id, obj);
    if (!pid)
        return -1;
    if (pid == Py_None) {
        Py_DECREF(pid);
        return 0;
    }
    /* The id itself is written without asking about it, as pickle does. */
    PyObject *asking = p->persistent_id;
    p->persistent_id = NULL;
    Py_ssize_t base = p->nframes;
    int rc = pk_save(p, pid);
    if (rc == 0)
        rc = pk_run(p, base);
    p->persistent_id = asking;
    Py_DECREF(pid);
    return rc < 0 || pk_put(p, OP_BINPERSID) < 0 ? -1 : 1;
}

static int ask_override(struct pickler *p, PyObject *obj) {
    PyObject *reduced = PyObject_CallOneArg(p->reducer_override, obj);
    if (!reduced)
        return -1;
    int rc = 0;
    if (reduced != Py_NotImplemented)
        rc = pk_save_reduced(p, reduced, obj) < 0 ? -1 : 1;
    Py_DECREF(reduced);
    return rc;
}

static int ask_dispatch_table(struct pickler *p, PyObject *obj) {
    PyObject *table = p->dispatch_table ? p->dispatch_table : p->st->dispatch_table;
    PyObject *type = (PyObject *)Py_TYPE(obj), *reducer;
    if (PyDict_CheckExact(table)) {
        if (PyDict_GetItemRef(table, type, &reducer) <= 0)
            return PyErr_Occurred() ? -1 : 0;
    } else if (!(reducer = PyObject_GetItem(table, type))) {
        if (!PyErr_ExceptionMatches(PyExc_KeyError))
            return -1;
        PyErr_Clear();
        return 0;
    }
    PyObject *reduced = PyObject_CallOneArg(reducer, obj);
    Py_DECREF(reducer);
    if (!reduced)
        return -1;
    int rc = pk_save_reduced(p, reduced, obj) < 0 ? -1 : 1;
    Py_DECREF(reduced);
    return rc;
}

/* What is neither an atom nor list, tuple, dict; obj is not in the memo. */
static int save_other(struct pickler *p, PyObject *obj) {
    PyTypeObject *type = Py_TYPE(obj);
    int rc;
    if (type == &PySet_Type || type == &PyFrozenSet_Type)
        return pk_save_set(p, obj);
    if (type == &PyByteArray_Type)
        return pk_save_bytearray(p, obj);
    if (type == &PyPickleBuffer_Type)
        return pk_save_buffer(p, obj);
    if ((rc = ask_ref(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    if (p->reducer_override && (rc = ask_override(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    if (type == &PyType_Type)
        return pk_save_class(p, obj);
    if (type == &PyFunction_Type)
        return pk_save_function(p, obj);
    if ((rc = ask_dispatch_table(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    if (PyType_Check(obj))
        return pk_save_class(p, obj);
    int taken = 0;
    if (pk_save_std(p, obj, &taken) < 0)
        return -1;
    return taken ? 0 : pk_save_instance(p, obj);
}

/* In a canonical pickle, what is never found in the memo. 1: written by its name; 0: it is to be written in full, and
 * a frame for the end of it is pushed; -1 */
static int begin_level(struct pickler *p, PyObject *obj) {
    int rc = pk_level_known(p, obj);
    if (rc)
        return rc;
    if (pk_level_type(p, Py_TYPE(obj)) == PK_FROZEN_DATACLASS)
        return pk_level_enter(p, obj);
    return pk_level_open(p) < 0 ? -1 : pk_push_call(p, pk_level_close, obj);
}

static int save_any(struct pickler *p, PyObject *obj) {
    int rc;
    PyTypeObject *type = Py_TYPE(obj);
    if (type == &PyTuple_Type)
        return pk_save_tuple(p, obj, 0);
    if (type == &PyList_Type || type == &PyDict_Type) {
        pk_watch_container(p, obj);
        return type == &PyDict_Type ? save_dict(p, obj) : save_list(p, obj);
    }
    int alone = p->flags & PK_CANONICAL && (type == &PyFrozenSet_Type || pk_level_type(p, type));
    if (!alone && (rc = pk_seen(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    if (alone && (rc = begin_level(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    Py_INCREF(obj); /* its container may drop it while user code runs */
    rc = save_other(p, obj);
    Py_DECREF(obj);
    return rc;
}

int pk_save_object(struct pickler *p, PyObject *obj) {
    if (!p->persistent_id)
        return save_any(p, obj);
    Py_INCREF(obj);
    int rc = ask_persistent_id(p, obj);
    if (rc == 0)
        rc = pk_save_atom(p, obj);
    if (rc == 0)
        rc = save_any(p, obj);
    Py_DECREF(obj);
    return rc < 0 ? -1 : 0;
}

static int step(struct pickler *p) {
    struct pk_frame *f = &p->frames[p->nframes - 1];
    switch ((enum pk_frame_kind)f->kind) {
    case PK_F_LIST:
        return step_list(p, f);
    case PK_F_TUPLE:
        return step_tuple(p, f);
    case PK_F_DICT:
        return step_dict(p, f);
    case PK_F_SET:
        return step_set(p, f);
    case PK_F_SAVE:
        return step_save(p, f);
    case PK_F_MEMO:
        return step_memo(p, f);
    case PK_F_GET:
        return step_get(p, f);
    case PK_F_CALL:
        return step_call(p, f);
    case PK_F_LATER:
        return step_later(p, f);
    case PK_F_NAMES:
        return step_names(p, f);
    case PK_F_DONE:
    case PK_F_WRITE:
    case PK_F_HELPER:
        break;
    }
    return step_simple(p, f);
}

int pk_run(struct pickler *p, Py_ssize_t base) {
    while (p->nframes > base)
        if (step(p) < 0)
            return -1;
    return 0;
}
