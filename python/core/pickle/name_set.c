/* Sets in a canonical pickle whose items are immutable all the way down: each item is named, and the names are sorted.
 * Nothing has to be written twice for that, and nothing is compared. */
#include <stdlib.h>

#include "digest.h"

struct walk {
    PyObject *obj; /* tuple, set or frozenset */
    Py_ssize_t i;
};

/* 1 and the next item, borrowed; 0: that was all */
static int next_item(struct walk *walk, PyObject **item) {
    Py_hash_t hash;
    if (!PyTuple_CheckExact(walk->obj))
        return _PySet_NextEntry(walk->obj, &walk->i, item, &hash);
    if (walk->i >= PyTuple_GET_SIZE(walk->obj))
        return 0;
    *item = PyTuple_GET_ITEM(walk->obj, walk->i++);
    return 1;
}

/* 1: nothing in it has to be looked at; 0: something in it is mutable, or not known not to be; 2: it is a container that
 * was not looked at yet */
static int look(struct pk_hash_sink *self, PyObject *item) {
    uint32_t pure;
    if (pk_is_atom(item))
        return 1;
    if (!PyTuple_CheckExact(item) && !PyFrozenSet_CheckExact(item))
        return 0;
    return pk_memo_find(&self->pure, item, &pure) ? (int)pure : 2;
}

/* Remembers what was found of something; a set may change. */
static int found(struct pk_hash_sink *self, PyObject *obj, uint32_t pure) {
    return PySet_CheckExact(obj) ? 0 : pk_memo_put(&self->pure, obj, pure);
}

/* 1: atoms, tuples and frozensets all the way down, 0, or -1 */
static int is_pure(struct pk_hash_sink *self, PyObject *set) {
    struct walk *stack = NULL;
    size_t n = 0, cap = 0;
    PyObject *item = set;
    int rc = PySet_CheckExact(set) ? 2 : look(self, set);
    if (rc != 2)
        return rc;
    do {
        if (rc == 2) {
            struct walk *bigger = pk_room_for(stack, n, &cap, sizeof *stack);
            if (!bigger) {
                rc = -1;
                break;
            }
            stack = bigger;
            stack[n++] = (struct walk){item, 0};
        }
        if (next_item(&stack[n - 1], &item))
            rc = look(self, item);
        else
            rc = found(self, stack[--n].obj, 1) < 0 ? -1 : 1;
    } while (rc > 0 && n > 0);
    while (rc == 0 && n > 0) /* what contains it is not pure either */
        if (found(self, stack[--n].obj, 0) < 0)
            rc = -1;
    PyMem_Free(stack);
    return rc;
}

int pk_name_items(struct pickler *p, PyObject *set, unsigned char op) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    int rc = is_pure(self, set);
    if (rc <= 0)
        return rc;
    PyObject *items = PySequence_List(set);
    struct pk_frame *f = items ? pk_push(p, PK_F_NAMES, items) : NULL;
    Py_XDECREF(items);
    if (!f)
        return -1;
    f->aux = Py_NewRef(set);
    f->op = op;
    f->prev = (Py_ssize_t)self->nitems;
    return 1;
}

static int compare(const void *a, const void *b) {
    return memcmp(a, b, PK_NAME);
}

static int write_names(struct pickler *p, struct pk_frame *f, size_t n) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    unsigned char head[9] = {PK_OP_NAMES};
    size_t from = (size_t)f->prev;
    qsort(self->items + from, n, PK_NAME, compare);
    pk_le64(head + 1, n);
    self->nitems = from;
    if (pk_write(p, head, sizeof head) < 0 || pk_write(p, self->items + from, n * PK_NAME) < 0 ||
        pk_put(p, f->op) < 0)
        return -1;
    return f->op == OP_FROZENSET ? pk_write_unfound(p) : 0;
}

/* Names are kept as -address → (object, name), beside what save_set.c keeps. */
static PyObject *key_for(PyObject *obj) {
    PyObject *address = PyLong_FromVoidPtr(obj);
    PyObject *key = address ? PyNumber_Negative(address) : NULL;
    Py_XDECREF(address);
    return key;
}

PyObject *pk_kept_name(PyObject *scratch, PyObject *obj) {
    PyObject *key = key_for(obj);
    PyObject *pair = key ? PyDict_GetItemWithError(scratch, key) : NULL;
    Py_XDECREF(key);
    return pair ? PyTuple_GET_ITEM(pair, 1) : NULL;
}

static int keep_for_order(struct pickler *p, PyObject *obj, const unsigned char *name) {
    if (!PyTuple_CheckExact(obj) && !PyFrozenSet_CheckExact(obj))
        return 0;
    PyObject *key = key_for(obj);
    PyObject *pair = key ? Py_BuildValue("(Oy#)", obj, name, (Py_ssize_t)PK_NAME) : NULL;
    int rc = pair ? PyDict_SetItem(p->scratch, key, pair) : -1;
    Py_XDECREF(key);
    Py_XDECREF(pair);
    return rc;
}

int pk_name_next(struct pickler *p, struct pk_frame *f) {
    struct pk_hash_sink *self = pk_hash_sink_of(p);
    PyObject *items = f->obj;
    Py_ssize_t i = f->i;
    if (i > 0) {
        void *names = pk_room_for(self->items, self->nitems, &self->capitems, PK_NAME);
        if (!names)
            return -1;
        self->items = names;
        pk_level_name(p, self->items[self->nitems]);
        if (self->keep &&
            keep_for_order(p, PyList_GET_ITEM(items, i - 1), self->items[self->nitems]) < 0)
            return -1;
        self->nitems++;
    }
    if (i == PyList_GET_SIZE(items))
        return write_names(p, f, (size_t)i) < 0 ? -1 : 1;
    f->i = i + 1;
    return pk_level_open(p) < 0 ? -1 : pk_save(p, PyList_GET_ITEM(items, i));
}
