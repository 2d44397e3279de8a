/* Whole streams, and the pickler they are made with: one is kept for the next call. */
#include "pickler.h"

enum { KEEP_FRAMES = 4096, FRAME_MIN = 4 };

static int dump_body(struct pickler *p, PyObject *obj) {
    return pk_save(p, obj) < 0 || pk_run(p, 0) < 0 || pk_put(p, OP_STOP) < 0 ? -1 : 0;
}

static int dump_frame(struct pickler *p, PyObject *obj) {
    if (pk_reserve(p, 11) < 0)
        return -1;
    p->cur[0] = OP_PROTO;
    p->cur[1] = (unsigned char)p->proto;
    if (p->proto < 4) {
        p->cur += 2;
        return dump_body(p, obj);
    }
    p->cur[2] = OP_FRAME;
    p->cur += 11;
    size_t body = (size_t)(p->cur - (unsigned char *)p->sink->buf);
    if (dump_body(p, obj) < 0)
        return -1;
    unsigned char *at = (unsigned char *)p->sink->buf + body;
    size_t n = (size_t)(p->cur - at);
    if (n < FRAME_MIN) {
        memmove(at - 9, at, n);
        p->cur -= 9;
    } else {
        pk_le64(at - 8, n);
    }
    return 0;
}

int pk_pickler_dump(struct pickler *p, PyObject *obj, struct pk_sink *sink) {
    p->sink = sink;
    p->start = sink->len;
    p->cur = p->lim = NULL;
    if (sink->buf) {
        p->cur = (unsigned char *)sink->buf + sink->len;
        p->lim = (unsigned char *)sink->buf + sink->cap;
    }
    int rc = p->flags & PK_BARE ? dump_body(p, obj) : dump_frame(p, obj);
    sink->len = rc < 0 ? p->start : (size_t)(p->cur - (unsigned char *)sink->buf);
    if (rc < 0) {
        pk_tell_path(p);
        pk_unwind(p);
    }
    return rc;
}

static const struct pk_hooks no_hooks;

int pk_pickler_init(struct pickler *p, PyObject *module) {
    memset(p, 0, sizeof *p);
    p->st = pk_state_of(module);
    p->hooks = &no_hooks;
    p->proto = 5;
    return 0;
}

static void drop_globals(struct pickler *p, Py_ssize_t n) {
    while (p->nglobals > n) {
        struct pk_globals *g = &p->globals[--p->nglobals];
        PyObject *dict = g->dict, *names = g->names;
        Py_DECREF(dict);
        Py_DECREF(names);
    }
}

/* --- going back ------------------------------------------------------------------------------------------- */

struct pk_mark pk_pickler_mark(const struct pickler *p) {
    return (struct pk_mark){p->next, p->values.n, p->values.noutlines, p->nglobals};
}

/* Classes whose content was written are those the memo has. */
static void forget_done(struct pickler *p) {
    PyObject *done = p->done, *key;
    if (!done)
        return;
    p->done = PySet_New(NULL);
    PyObject *keys = p->done ? PySequence_List(done) : NULL;
    for (Py_ssize_t i = 0; keys && i < PyList_GET_SIZE(keys); i++) {
        uint32_t index;
        key = PyList_GET_ITEM(keys, i);
        if (pk_memo_find(&p->memo, PyLong_AsVoidPtr(key), &index))
            PySet_Add(p->done, key);
    }
    PyErr_Clear(); /* one that is missing is written again */
    Py_XDECREF(keys);
    Py_DECREF(done);
}

void pk_pickler_go_back(struct pickler *p, const struct pk_mark *mark) {
    PyObject *exception = PyErr_GetRaisedException();
    drop_globals(p, mark->nglobals);
    for (Py_ssize_t i = 0; i < p->nglobals; i++) /* it is not known which were sent before */
        PySet_Clear(p->globals[i].names);
    p->next = mark->next;
    pk_values_trim(&p->values, mark->nvalues, mark->noutlines);
    if (pk_memo_trim(&p->memo, mark->next))
        pk_values_clear(&p->values); /* they are known by objects of the memo */
    forget_done(p);
    PyErr_SetRaisedException(exception);
}

void pk_pickler_reset(struct pickler *p) {
    pk_unwind(p);
    pk_memo_clear(&p->memo);
    pk_values_clear(&p->values);
    p->next = 0;
    Py_CLEAR(p->done);
    Py_CLEAR(p->scratch);
    drop_globals(p, 0);
    if (p->capframes > KEEP_FRAMES) {
        PyMem_Free(p->frames);
        p->frames = NULL;
        p->capframes = 0;
    }
}

void pk_pickler_fini(struct pickler *p) {
    pk_pickler_reset(p);
    pk_memo_fini(&p->memo);
    pk_values_fini(&p->values);
    PyMem_Free(p->frames);
    PyMem_Free(p->globals);
    p->frames = NULL;
    p->globals = NULL;
    p->capframes = p->capglobals = 0;
}

/* The spare pickler, or a new one. */
static struct pickler *take_pickler(PyObject *module) {
    struct pk_state *st = pk_state_of(module);
    struct pickler *p = st->spare;
    st->spare = NULL;
    if (p)
        return p;
    p = PyMem_Malloc(sizeof *p);
    if (!p) {
        PyErr_NoMemory();
        return NULL;
    }
    pk_pickler_init(p, module);
    return p;
}

static void give_pickler(struct pickler *p) {
    struct pk_state *st = p->st;
    pk_pickler_reset(p);
    p->hooks = &no_hooks;
    p->watch = NULL;
    p->nested = 0;
    if (!st->spare) {
        st->spare = p;
        return;
    }
    pk_pickler_fini(p);
    PyMem_Free(p);
}

struct way {
    const struct pk_hooks *hooks;
    int flags;
    const char *root;
    struct pk_watch *watch;
    int nested;
    int protocol;
    PyObject *scratch;
};

static int dump_as(PyObject *module, PyObject *obj, struct pk_sink *sink, const struct way *way) {
    struct pickler *p = take_pickler(module);
    if (!p)
        return -1;
    p->hooks = way->hooks ? way->hooks : &no_hooks;
    p->flags = way->flags;
    p->root = way->root;
    p->watch = way->watch;
    p->nested = way->nested;
    p->proto = way->protocol;
    p->keeps = p->proto < 4;
    p->scratch = Py_XNewRef(way->scratch);
    int rc = pk_pickler_dump(p, obj, sink);
    if (rc < 0) {
        /* Dropping references runs code that may look at the error indicator. */
        PyObject *exception = PyErr_GetRaisedException();
        give_pickler(p);
        PyErr_SetRaisedException(exception);
    } else {
        give_pickler(p);
    }
    return rc;
}

int pk_dump(PyObject *module, PyObject *obj, struct pk_sink *sink, const struct pk_hooks *hooks,
            int flags, const char *root) {
    struct way way = {hooks, flags, root, NULL, 0, 5, NULL};
    return dump_as(module, obj, sink, &way);
}

int pk_dump_protocol(PyObject *module, PyObject *obj, struct pk_sink *sink,
                     const struct pk_hooks *hooks, int flags, const char *root, int protocol) {
    struct way way = {hooks, flags, root, NULL, 0, protocol, NULL};
    return dump_as(module, obj, sink, &way);
}

int pk_dump_watched(PyObject *module, PyObject *obj, struct pk_sink *sink,
                    const struct pk_hooks *hooks, int flags, const char *root,
                    struct pk_watch *watch, int nested, PyObject *scratch) {
    struct way way = {hooks, flags, root, watch, nested, 5, scratch};
    return dump_as(module, obj, sink, &way);
}
