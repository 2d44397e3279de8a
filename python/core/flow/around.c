/* What surrounds a call: ergon/_around.py says what workers are given for a functional, and what that was made from.
 * Here is looked, at each call, whether all of it still is as it was: some pointers, and the contents of what may change
 * in place. Contents of large things are looked at when a scheduled function begins.
 *
 * Values that could notice are not kept alive: of those the contents are compared, where they are now. */
#include "session.h"

#include <locale.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

extern char **environ;

/* As in _around.py. */
enum witness {
    W_ENTRY,    /* owner[key] is value */
    W_SIZE,     /* owner has as many entries as it had */
    W_TYPE,     /* the class has the version it had */
    W_FUNCTION, /* its code is value, its defaults are key */
    W_CELL,     /* its contents are value */
    W_SMALL,    /* owner[key] has the contents it had */
    W_LARGE,    /* the same, looked at now and then */
};
struct fl_witness {
    enum witness kind;
    PyObject *owner, *key, *value; /* strong; key and value may be NULL */
    uint64_t number;
};
struct fl_around {
    PyObject *sent;  /* what workers are given */
    PyObject *kinds; /* set: types of arguments that were looked into */
    PyObject *
        codes; /* dict: the same of functions by value: address of the code -> function without what it closes over */
    struct fl_witness *list;
    Py_ssize_t n;
    struct fl_sig small, large; /* contents */
    uint64_t process,
        began; /* st->process.version; serial of the session that looked at large ones */
    uint64_t session, pass;  /* looked at in that pass of that session: its serial */
    uint64_t made;           /* counts how often all of this was replaced */
    uint64_t met, sent_with; /* counts kinds; as many there were when `sent` was made */
};

/* --- the process ------------------------------------------------------------------------------------------ */

/* The beginning of a context: its variables are one immutable object, another one after each change. */
struct context {
    PyObject_HEAD PyObject *previous, *variables;
};

static PyObject *context_variables(void) {
    PyObject *context = PyThreadState_Get()->context;
    return context ? ((struct context *)context)->variables : NULL;
}

/* Notes which object it is; held, so that no other can come to lie there. */
static void note(struct flow_state *st, struct fl_sig *sig, unsigned which, PyObject *o) {
    fl_sig_add(sig, (uint64_t)(uintptr_t)o);
    if (st->process.held[which] != o)
        Py_XSETREF(st->process.held[which], Py_XNewRef(o));
}

/* Items may be replaced in place: those that were there are held. */
static void note_list(struct flow_state *st, struct fl_sig *sig, unsigned which, PyObject *list) {
    Py_ssize_t n = list && PyList_Check(list) ? PyList_GET_SIZE(list) : 0;
    PyObject *kept = st->process.held[which + 1];
    int same = kept && PyTuple_GET_SIZE(kept) == n;
    for (Py_ssize_t i = 0; same && i < n; i++)
        same = PyTuple_GET_ITEM(kept, i) == PyList_GET_ITEM(list, i);
    note(st, sig, which, list);
    if (!same) {
        kept = n ? PyList_AsTuple(list) : PyTuple_New(0);
        if (!kept)
            PyErr_Clear(); /* no memory: it has changed the next time as well */
        Py_XSETREF(st->process.held[which + 1], kept);
        st->process.items_changed++;
    }
    fl_sig_add(sig, st->process.items_changed);
}

/* Not held: a file that nobody refers to any more is closed. */
static void note_streams(struct fl_process *p, struct fl_sig *sig) {
    for (int i = 0; i < 2; i++)
        fl_sig_add(sig, (uint64_t)(uintptr_t)(p->spaces[0] && p->streams[i]
                                                  ? PyDict_GetItem(p->spaces[0], p->streams[i])
                                                  : NULL));
}

static void note_folder(struct fl_sig *sig) {
    char text[4096];
    long n = syscall(SYS_getcwd, text, sizeof text);
    fl_sig_add_bytes(sig, text, n > 0 ? (size_t)n : 0);
}

/* setenv() puts another string into the place of the one before, which it does not free. */
static void note_environment(struct fl_sig *sig) {
    uint64_t all = 0;
    for (char **p = environ; p && *p; p++)
        all = (all ^ (uint64_t)(uintptr_t)*p) * UINT64_C(0x9E3779B97F4A7C15);
    fl_sig_add(sig, all);
    fl_sig_add(sig, (uint64_t)(uintptr_t)environ);
}

/* The module's names, borrowed; NULL: not imported. */
static PyObject *imported(const char *module) {
    PyObject *modules = PyImport_GetModuleDict(), *m = PyDict_GetItemString(modules, module);
    return m && PyModule_Check(m) ? PyModule_GetDict(m) : NULL;
}

/* decimal's context can be changed in place. 0 or -1. */
static int read_decimal(struct fl_process *p, PyObject *now) {
    static const char *const parts[] = {"prec", "Emin", "Emax", "capitals", "clamp", "rounding"};
    p->decimal = (struct fl_sig){5, 6};
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        PyObject *part = PyObject_GetAttrString(now, parts[i]);
        if (!part)
            return -1;
        fl_sig_add(&p->decimal, PyLong_Check(part) ? PyLong_AsUnsignedLongLongMask(part)
                                                   : (uint64_t)(uintptr_t)part);
        Py_DECREF(part);
    }
    PyObject *traps = PyObject_GetAttrString(now, "traps");
    PyObject *kept = traps && p->context ? PyObject_GetAttrString(p->context, "traps") : NULL;
    int same = !traps ? -1 : kept ? PyObject_RichCompareBool(traps, kept, Py_EQ) : 0;
    if (same == 0) {
        PyObject *copy = PyObject_CallMethod(now, "copy", NULL);
        if (copy)
            Py_XSETREF(p->context, copy);
        p->traps_changed++;
        same = copy ? 0 : -1;
    }
    fl_sig_add(&p->decimal, p->traps_changed);
    Py_XDECREF(kept);
    Py_XDECREF(traps);
    return same < 0 ? -1 : 0;
}

/* 1: the context is the one read last, bit by bit. One that is written in C consists of its numbers and two pointers; of one
 * in Python, which is smaller, that would say nothing. */
static int is_as_read(const struct fl_process *p, PyObject *now, size_t n) {
    return n >= sizeof p->bits / 4 && n <= sizeof p->bits &&
           memcmp(p->bits, (const char *)now + sizeof(PyObject), n) == 0;
}

static int note_decimal(struct fl_process *p, struct fl_sig *sig) {
    PyObject *now = p->getcontext ? PyObject_CallNoArgs(p->getcontext) : NULL;
    if (!now)
        return p->getcontext ? -1 : 0;
    size_t n = (size_t)Py_TYPE(now)->tp_basicsize - sizeof(PyObject);
    int rc = is_as_read(p, now, n) ? 0 : read_decimal(p, now);
    if (rc == 0 && n <= sizeof p->bits)
        memcpy(p->bits, (const char *)now + sizeof(PyObject), n);
    fl_sig_add(sig, p->decimal.a ^ p->decimal.b);
    Py_DECREF(now);
    return rc;
}

/* What need not be looked at in each call. */
static void look_around(struct flow_state *st) {
    struct fl_process *p = &st->process;
    const char *text = setlocale(LC_ALL, NULL);
    PyObject *decimal = imported("decimal");
    PyObject *get = decimal ? PyDict_GetItemString(decimal, "getcontext") : NULL;
    static const char *const lists[][2] = {{"sys", "path"}, {"warnings", "filters"}};
    static const char *const streams[] = {"stdout", "stderr"};
    fl_notice_look();
    for (int i = 0; i < 2; i++) {
        if ((!p->names[i] && !(p->names[i] = PyUnicode_InternFromString(lists[i][1]))) ||
            (!p->streams[i] && !(p->streams[i] = PyUnicode_InternFromString(streams[i]))))
            break;
        PyObject *space = imported(lists[i][0]);
        if (space != p->spaces[i])
            Py_XSETREF(p->spaces[i], Py_XNewRef(space));
    }
    p->rare = (struct fl_sig){1, 2};
    fl_sig_add_bytes(&p->rare, text ? text : "", text ? strlen(text) : 0);
    fl_sig_add(&p->rare, imported("numpy") != NULL);
    if (get != p->getcontext)
        Py_XSETREF(p->getcontext, Py_XNewRef(get));
    PyErr_Clear();
}

/* st->process.version counts up when something has changed. 0 or -1. */
static int look_at_process(struct fl_session *s) {
    struct flow_state *st = s->st;
    struct fl_process *p = &st->process;
    if (p->looked != s->serial) {
        p->looked = s->serial;
        look_around(st);
    }
    struct fl_sig sig = p->rare;
    note_folder(&sig);
    note_environment(&sig);
    fl_sig_add(&sig, (uint64_t)Py_GetRecursionLimit());
    note(st, &sig, 0, context_variables());
    note_list(st, &sig, 1, p->spaces[0] ? PyDict_GetItem(p->spaces[0], p->names[0]) : NULL);
    note_list(st, &sig, 3, p->spaces[1] ? PyDict_GetItem(p->spaces[1], p->names[1]) : NULL);
    note_streams(p, &sig);
    fl_sig_add(&sig, fl_noticed());
    if (note_decimal(p, &sig) < 0)
        return -1;
    if (sig.a != p->sig.a || sig.b != p->sig.b) {
        p->sig = sig;
        p->version++;
    }
    return 0;
}

void fl_around_moved(struct flow_state *st) {
    st->process.version++;
}

/* --- witnesses ---------------------------------------------------------------------------------------------- */

static PyObject *value_now(const struct fl_witness *w) { /* borrowed, or NULL */
    PyObject *owner = w->owner;
    if (PyFunction_Check(owner))
        return PyUnicode_GET_LENGTH(w->key) == 12 ? PyFunction_GET_DEFAULTS(owner)
                                                  : PyFunction_GET_KW_DEFAULTS(owner);
    PyObject *dict = PyType_Check(owner) ? ((PyTypeObject *)owner)->tp_dict : owner;
    return dict ? PyDict_GetItemWithError(dict, w->key) : NULL;
}

static int holds(const struct fl_witness *w) {
    switch (w->kind) {
    case W_ENTRY:
        return PyDict_GetItemWithError(w->owner, w->key) == w->value;
    case W_SIZE:
        return (uint64_t)PyDict_GET_SIZE(w->owner) == w->number;
    case W_TYPE:
        return core_type_version_is((PyTypeObject *)w->owner, (unsigned)w->number);
    case W_FUNCTION:
        return PyFunction_GET_CODE(w->owner) == w->value &&
               PyFunction_GET_DEFAULTS(w->owner) == w->key;
    case W_CELL:
        return PyCell_GET(w->owner) == w->value;
    case W_SMALL:
    case W_LARGE:
        break;
    }
    return 1;
}

/* What a threading.local holds is this thread's. */
static int is_local(PyObject *value) {
    return value && strcmp(Py_TYPE(value)->tp_name, "_thread._local") == 0;
}

/* 0 or -1. */
static int contents(struct flow_state *st, const struct fl_around *a, enum witness kind,
                    struct fl_sig *sig) {
    *sig = (struct fl_sig){3, 4};
    for (Py_ssize_t i = 0; i < a->n; i++) {
        if (a->list[i].kind != kind)
            continue;
        PyObject *value = Py_XNewRef(value_now(&a->list[i]));
        if (is_local(value))
            Py_SETREF(value, PyObject_GetAttrString(value, "__dict__"));
        int rc = PyErr_Occurred() ? -1 : fl_sig_add_value(st, sig, value);
        Py_XDECREF(value);
        if (rc < 0)
            return -1;
    }
    return 0;
}

static int same(const struct fl_sig *a, const struct fl_sig *b) {
    return a->a == b->a && a->b == b->b;
}

/* 1: all is as it was, 0, -1 (something cannot be pickled any more). Pickling lets other threads in: what they have put here
 * meanwhile is for their calls. */
static int still(struct fl_session *s, struct fl_around *a, uint64_t process) {
    struct fl_sig now;
    uint64_t made = a->made;
    if (a->process != process || a->sent_with != a->met)
        return 0;
    for (Py_ssize_t i = 0; i < a->n; i++)
        if (!holds(&a->list[i]))
            return 0;
    if (contents(s->st, a, W_SMALL, &now) < 0)
        return -1;
    if (a->made != made || !same(&now, &a->small))
        return 0;
    if (a->began == s->serial)
        return 1;
    if (contents(s->st, a, W_LARGE, &now) < 0)
        return -1;
    if (a->made != made || !same(&now, &a->large))
        return 0;
    a->began = s->serial;
    return 1;
}

static void drop_witnesses(struct fl_around *a) {
    struct fl_witness *list = a->list;
    Py_ssize_t n = a->n;
    a->list = NULL;
    a->n = 0;
    while (n > 0) {
        struct fl_witness *w = &list[--n];
        Py_XDECREF(w->owner);
        Py_XDECREF(w->key);
        Py_XDECREF(w->value);
    }
    PyMem_Free(list);
}

static int read_witness(PyObject *from, struct fl_witness *w) {
    int kind;
    PyObject *owner, *key, *value;
    if (!PyTuple_Check(from) || !PyArg_ParseTuple(from, "iOOO", &kind, &owner, &key, &value))
        return -1;
    *w = (struct fl_witness){.kind = (enum witness)kind, .owner = owner};
    if (kind == W_ENTRY || kind == W_SMALL || kind == W_LARGE)
        w->key = key;
    if (kind == W_ENTRY || kind == W_CELL)
        w->value = value;
    if (kind == W_SIZE)
        w->number = (uint64_t)PyDict_GET_SIZE(owner);
    if (kind == W_TYPE)
        w->number = core_type_version((PyTypeObject *)owner);
    if (kind == W_FUNCTION) {
        w->value = PyFunction_GET_CODE(owner);
        w->key = PyFunction_GET_DEFAULTS(owner);
    }
    Py_INCREF(w->owner);
    Py_XINCREF(w->key);
    Py_XINCREF(w->value);
    return 0;
}

static int read_witnesses(struct fl_around *a, PyObject *from) {
    Py_ssize_t n = PyList_Check(from) ? PyList_GET_SIZE(from) : 0;
    drop_witnesses(a);
    a->list = PyMem_Calloc((size_t)n + 1, sizeof *a->list);
    if (!a->list) {
        PyErr_NoMemory();
        return -1;
    }
    for (; a->n < n; a->n++)
        if (read_witness(PyList_GET_ITEM(from, a->n), &a->list[a->n]) < 0)
            return -1;
    return 0;
}

/* --- what workers are given ------------------------------------------------------------------------------------ */

/* All of it is replaced at once: other threads' sessions may make it anew for calls of the same functional meanwhile. */
static void install(struct fl_around *a, const struct fl_around *made) {
    struct fl_around old = *a;
    a->sent = made->sent;
    a->list = made->list;
    a->n = made->n;
    a->small = made->small;
    a->large = made->large;
    a->process = made->process;
    a->began = made->began;
    a->sent_with = made->sent_with;
    a->session = 0;
    a->made++;
    Py_XDECREF(old.sent);
    drop_witnesses(&old);
}

/* New reference. */
static PyObject *make(struct fl_session *s, struct fl_functional *f, uint64_t process) {
    struct flow_state *st = s->st;
    struct fl_around *a = f->around;
    struct fl_around fresh = {.process = process, .began = s->serial, .sent_with = a->met};
    PyThreadState *thread = PyThreadState_Get();
    PyThreadState_EnterTracing(thread); /* profilers do not see us */
    fl_notice_reading(1);
    PyObject *module = PyImport_ImportModule("ergon._around");
    PyObject *codes = module ? PyDict_Values(a->codes) : NULL;
    PyObject *made = codes ? PyObject_CallMethod(module, "make", "OOOO", f->function, a->kinds,
                                                 codes, a->sent ? a->sent : f->function)
                           : NULL;
    Py_XDECREF(codes);
    fl_notice_reading(-1);
    PyThreadState_LeaveTracing(thread);
    Py_XDECREF(module);
    PyObject *sent, *witnesses;
    int rc = made && PyArg_ParseTuple(made, "OO", &sent, &witnesses) ? 0 : -1;
    if (rc == 0)
        rc = read_witnesses(&fresh, witnesses);
    if (rc == 0)
        rc = contents(st, &fresh, W_SMALL, &fresh.small);
    if (rc == 0)
        rc = contents(st, &fresh, W_LARGE, &fresh.large);
    PyObject *r = rc == 0 ? Py_NewRef(sent) : NULL;
    if (r) {
        fresh.sent = Py_NewRef(r);
        install(a, &fresh);
    } else {
        drop_witnesses(&fresh);
        a->made++;
        Py_CLEAR(a->sent);
    }
    Py_XDECREF(made);
    return r;
}

static int new_kind(struct flow_state *st, struct fl_around *a, PyObject *o, int inside);

/* It travels by value, and there may be a new one in each call: to keep it would keep what it closes over. */
static int is_by_value(PyObject *function) {
    PyObject *name = ((PyFunctionObject *)function)->func_qualname;
    return PyUnicode_FindChar(name, '<', 0, PyUnicode_GET_LENGTH(name), 1) >= 0;
}

/* Another one of the same code and globals, with nothing in its cells. New reference. */
static PyObject *hollow(PyObject *function) {
    PyObject *r = PyFunction_New(PyFunction_GET_CODE(function), PyFunction_GET_GLOBALS(function));
    PyObject *cells = PyFunction_GET_CLOSURE(function);
    Py_ssize_t n = r && cells ? PyTuple_GET_SIZE(cells) : 0;
    PyObject *empty = n ? PyTuple_New(n) : NULL;
    for (Py_ssize_t i = 0; empty && i < n; i++) {
        PyObject *cell = PyCell_New(NULL);
        if (!cell)
            Py_CLEAR(empty);
        else
            PyTuple_SET_ITEM(empty, i, cell);
    }
    if (n && (!empty || PyFunction_SetClosure(r, empty) < 0))
        Py_CLEAR(r);
    Py_XDECREF(empty);
    return r;
}

/* 1: its code is a new one, or what it closes over leads to a new kind. */
static int new_function(struct flow_state *st, struct fl_around *a, PyObject *function,
                        int inside) {
    int more = 0;
    PyObject *key = PyLong_FromVoidPtr(PyFunction_GET_CODE(function)); /* which `hollow` holds */
    if (key && PyDict_Contains(a->codes, key) == 0) {
        PyObject *kept = hollow(function);
        more = kept && PyDict_SetItem(a->codes, key, kept) == 0;
        Py_XDECREF(kept);
    }
    Py_XDECREF(key);
    if (PyErr_Occurred())
        PyErr_Clear(); /* no memory: it is tried again in the next call */
    PyObject *cells = PyFunction_GET_CLOSURE(function);
    for (Py_ssize_t i = 0; inside && cells && i < PyTuple_GET_SIZE(cells); i++) {
        PyObject *cell = PyTuple_GET_ITEM(cells, i);
        PyObject *o = PyCell_Check(cell) ? Py_XNewRef(PyCell_GET(cell)) : NULL;
        more |= o ? new_kind(st, a, o, inside - 1) : 0;
        Py_XDECREF(o);
    }
    PyObject *defaults = Py_XNewRef(PyFunction_GET_DEFAULTS(function));
    for (Py_ssize_t i = 0; inside && defaults && i < PyTuple_GET_SIZE(defaults); i++)
        more |= new_kind(st, a, PyTuple_GET_ITEM(defaults, i), inside - 1);
    Py_XDECREF(defaults);
    return more;
}

/* Classes of the program's own among the arguments: their methods may look at anything. 1: there was a new one. */
static int new_kind(struct flow_state *st, struct fl_around *a, PyObject *o, int inside) {
    PyTypeObject *type = Py_TYPE(o);
    PyObject *first = NULL;
    if (inside && PyList_CheckExact(o)) {
        first = PyList_GET_SIZE(o) ? PyList_GET_ITEM(o, 0) : NULL;
    } else if (inside && PyTuple_CheckExact(o)) {
        first = PyTuple_GET_SIZE(o) ? PyTuple_GET_ITEM(o, 0) : NULL;
    } else if (inside && PyDict_CheckExact(o)) {
        PyObject *key;
        Py_ssize_t at = 0;
        if (!PyDict_Next(o, &at, &key, &first))
            first = NULL;
    }
    if (first) {
        Py_INCREF(first); /* the hash of a class may run anything */
        int more = new_kind(st, a, first, inside - 1);
        Py_DECREF(first);
        return more;
    }
    if (PyFunction_Check(o) && is_by_value(o))
        return new_function(st, a, o, inside);
    int itself = PyFunction_Check(o) || PyType_Check(o) || PyContextVar_CheckExact(o);
    PyObject *what = itself ? o : (PyObject *)type;
    if (what == (PyObject *)type && !PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE))
        return 0;
    Py_INCREF(what);
    int known = PySet_Contains(a->kinds, what) > 0;
    if (!known && PySet_Add(a->kinds, what) < 0)
        PyErr_Clear(); /* one whose class cannot be hashed */
    Py_DECREF(what);
    return !known;
}

static int look_at_kinds(struct flow_state *st, struct fl_around *a, PyObject *const *args,
                         Py_ssize_t n) {
    int rc = 0;
    if (PySet_GET_SIZE(a->kinds) > 1000)
        PySet_Clear(a->kinds);
    if (PyDict_GET_SIZE(a->codes) > 1000)
        PyDict_Clear(a->codes);
    for (Py_ssize_t i = 0; i < n; i++)
        rc |= new_kind(st, a, args[i], 3);
    a->met += rc;
    return rc;
}

/* None: no worker can have what it looks at. */
static PyObject *for_workers(struct flow_state *st, PyObject *sent) {
    if (sent != Py_None)
        return sent;
    Py_DECREF(sent);
    PyErr_SetNone(st->need_value);
    return NULL;
}

PyObject *fl_around(struct fl_session *s, PyObject *functional, PyObject *const *args,
                    Py_ssize_t nargs) {
    struct fl_functional *f = (struct fl_functional *)functional;
    struct fl_around *a = f->around;
    if (!a) {
        a = PyMem_Calloc(1, sizeof *a);
        if (!a)
            return PyErr_NoMemory();
        if (!(a->kinds = PySet_New(NULL)) || !(a->codes = PyDict_New())) {
            fl_around_free(a);
            return NULL;
        }
        f->around = a;
    }
    int more = look_at_kinds(s->st, a, args, nargs);
    if (!more && a->sent && s->passing && a->session == s->serial && a->pass == s->pass &&
        a->sent_with == a->met)
        return for_workers(s->st, Py_NewRef(a->sent));
    if (look_at_process(s) < 0)
        return NULL;
    uint64_t process = s->st->process.version; /* of this thread: others count it up for theirs */
    int rc = a->sent && !more ? still(s, a, process) : 0;
    if (rc < 0 && !PyErr_ExceptionMatches(PyExc_Exception))
        return NULL;
    if (rc < 0)
        PyErr_Clear();
    uint64_t made = a->made + (rc <= 0);
    PyObject *sent = rc > 0 ? Py_NewRef(a->sent) : make(s, f, process);
    if (sent && a->made == made) {
        a->session = s->serial;
        a->pass = s->pass;
    }
    return for_workers(s->st, sent);
}

int fl_around_traverse(const struct fl_around *a, visitproc visit, void *arg) {
    if (!a)
        return 0;
    Py_VISIT(a->sent);
    Py_VISIT(a->kinds);
    Py_VISIT(a->codes);
    for (Py_ssize_t i = 0; i < a->n; i++) {
        Py_VISIT(a->list[i].owner);
        Py_VISIT(a->list[i].key);
        Py_VISIT(a->list[i].value);
    }
    return 0;
}

void fl_around_free(struct fl_around *a) {
    if (!a)
        return;
    drop_witnesses(a);
    Py_XDECREF(a->sent);
    Py_XDECREF(a->kinds);
    Py_XDECREF(a->codes);
    PyMem_Free(a);
}
