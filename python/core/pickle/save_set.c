/* Sets: written in an order that depends on their values alone.
 *
 * Sets of atoms, and of tuples of atoms, are ordered without writing anything (set_order.c). Other items get keys, and are
 * ordered by these. An item's key is its pickle, made apart from everything else. Where that would be long, or has to order
 * sets itself (which would write everything inside once more for each level), it is the item's digest: a
 * canonical pickle names the items of all the sets in it on one way through, however deep they lie, and those names are
 * kept for when their turn comes. Which of the two an item has is seen from its value alone. */
#include "digest.h"
#include "set_order.h"

enum { SCRATCH_LIMIT = 1 << 16, SCRATCH_DEPTH = 64 };

/* --- keys -------------------------------------------------------------------------------------------------- */

/* A sink that gives up. */
static int grow_little(struct pk_sink *sink, size_t need) {
    struct pk_bytes_sink *self = (struct pk_bytes_sink *)sink;
    if (sink->len + need > SCRATCH_LIMIT) {
        PyErr_SetString(PyExc_ValueError, "too large to be ordered by");
        return -1;
    }
    return self->grow(sink, need);
}

/* The item's pickle. */
static PyObject *plain_key(struct pickler *p, PyObject *obj) {
    PyObject *made = NULL;
    struct pk_bytes_sink sink;
    pk_bytes_sink_init(&sink);
    sink.base.grow = grow_little;
    if (pk_dump_watched(p->st->module, obj, &sink.base, NULL, PK_BARE, p->root, NULL, p->nested + 1,
                        NULL) == 0)
        made = pk_bytes_sink_take(&sink);
    pk_bytes_sink_fini(&sink);
    return made;
}

/* What canonical pickles keep for the time of this plain one: borrowed. */
static PyObject *canonical_scratch(struct pickler *p) {
    PyObject *dict = PyDict_GetItemWithError(p->scratch, Py_None);
    if (dict || PyErr_Occurred())
        return dict;
    dict = PyDict_New();
    int rc = dict ? PyDict_SetItem(p->scratch, Py_None, dict) : -1;
    Py_XDECREF(dict);
    return rc < 0 ? NULL : dict;
}

/* The name that obj has as an item of a set, if all in it is immutable; else its digest. */
static PyObject *digest_key(struct pickler *p, PyObject *obj) {
    PyObject *scratch = canonical_scratch(p), *name;
    if (!scratch)
        return NULL;
    if (PyTuple_CheckExact(obj) || PyFrozenSet_CheckExact(obj)) {
        if ((name = pk_kept_name(scratch, obj)) || PyErr_Occurred())
            return Py_XNewRef(name);
        PyObject *alone = PyTuple_Pack(1, obj), *set = alone ? PyFrozenSet_New(alone) : NULL;
        PyObject *whole = set ? pk_digest_nested(p, set, scratch) : NULL;
        Py_XDECREF(alone);
        Py_XDECREF(set);
        Py_XDECREF(whole);
        if (!whole)
            return NULL;
        if ((name = pk_kept_name(scratch, obj)) || PyErr_Occurred())
            return Py_XNewRef(name);
    }
    return pk_digest_nested(p, obj, scratch);
}

static PyObject *make_key(struct pickler *p, PyObject *obj) {
    if (p->flags & PK_CANONICAL) {
        if (p->nested < SCRATCH_DEPTH)
            return pk_digest_nested(p, obj, p->scratch);
        p->st->deep_sets = 1;
        PyErr_SetString(PyExc_RecursionError, "nested too deep to be ordered by");
        return NULL;
    }
    PyObject *made = plain_key(p, obj);
    if (made || !PyErr_ExceptionMatches(PyExc_Exception))
        return made;
    PyErr_Clear();
    return digest_key(p, obj);
}

/* What was made is kept until the whole pickle is done, as address → (object, bytes, or None where none could be made). */
static PyObject *key_of(struct pickler *p, PyObject *obj) {
    if (!p->scratch && !(p->scratch = PyDict_New()))
        return NULL;
    PyObject *key = PyLong_FromVoidPtr(obj);
    PyObject *kept = key ? PyDict_GetItemWithError(p->scratch, key) : NULL;
    PyObject *made = kept ? Py_NewRef(PyTuple_GET_ITEM(kept, 1)) : NULL;
    if (key && !kept && !PyErr_Occurred()) {
        made = make_key(p, obj);
        PyObject *exception = made ? NULL : PyErr_GetRaisedException();
        PyObject *pair = PyTuple_Pack(2, obj, made ? made : Py_None);
        if (!pair || PyDict_SetItem(p->scratch, key, pair) < 0)
            Py_CLEAR(made);
        Py_XDECREF(pair);
        if (exception)
            PyErr_SetRaisedException(exception);
    } else if (made == Py_None) {
        Py_CLEAR(made);
        PyErr_SetString(PyExc_ValueError, "cannot be ordered by");
    }
    Py_XDECREF(key);
    return made;
}

/* --- writing ----------------------------------------------------------------------------------------------- */

enum { FEW = 32 };

static int push_items(struct pickler *p, PyObject *set, PyObject *items, unsigned char op) {
    size_t start = (size_t)(p->cur - (unsigned char *)p->sink->buf);
    struct pk_frame *f;
    if (pk_put(p, OP_MARK) < 0 || !(f = pk_push(p, PK_F_SET, items)))
        return -1;
    f->aux = Py_NewRef(set);
    f->op = op;
    f->prev = (Py_ssize_t)start;
    f->n = p->next;
    return 0;
}

/* What comes after the items of a set of atoms. */
static int end_atoms(struct pickler *p, PyObject *set, const struct pk_item *items, size_t start,
                     uint32_t next, unsigned char op) {
    if (op != OP_FROZENSET)
        return pk_put(p, op);
    if (p->flags & PK_CANONICAL)
        return pk_put(p, op) < 0 ? -1 : pk_write_unfound(p);
    struct pk_seq seq = {.start = start,
                         .next = next,
                         .kind = PK_V_FROZENSET,
                         .op = op,
                         .items = items,
                         .n = PySet_GET_SIZE(set),
                         .stride = sizeof *items};
    return pk_seq_close(p, set, &seq);
}

/* Ordered items: written at once when nothing of the user's can run meanwhile. 1: written, 2: frames pushed, -1 */
static int write_items(struct pickler *p, PyObject *set, const struct pk_item *items, int atoms,
                       unsigned char op) {
    Py_ssize_t n = PySet_GET_SIZE(set);
    size_t start = (size_t)(p->cur - (unsigned char *)p->sink->buf);
    uint32_t next = p->next;
    if (!atoms || p->persistent_id) {
        PyObject *list = PyList_New(n);
        for (Py_ssize_t i = 0; list && i < n; i++)
            PyList_SET_ITEM(list, i, Py_NewRef(items[i].obj));
        int rc = list ? push_items(p, set, list, op) : -1;
        Py_XDECREF(list);
        return rc < 0 ? -1 : 2;
    }
    if (pk_put(p, OP_MARK) < 0)
        return -1;
    for (Py_ssize_t i = 0; i < n; i++)
        if (pk_save_atom(p, items[i].obj) < 0)
            return -1;
    return end_atoms(p, set, items, start, next, op) < 0 ? -1 : 1;
}

/* Sets of atoms and of tuples of atoms. 1: written, 2: frames pushed, 0: there is something else in it, -1 */
static int save_simple(struct pickler *p, PyObject *set, unsigned char op) {
    Py_ssize_t n = PySet_GET_SIZE(set);
    struct pk_item few[2 * FEW], *items = few;
    if (n > FEW && !(items = PyMem_Malloc(2 * (size_t)n * sizeof *items))) {
        PyErr_NoMemory();
        return -1;
    }
    int atoms, rc = pk_set_order(set, items, items + n, &atoms);
    if (rc)
        rc = write_items(p, set, items, atoms, op);
    if (items != few)
        PyMem_Free(items);
    return rc;
}

/* Replaces items by the same in the order of their keys. */
static int sort_by_key(struct pickler *p, PyObject *items) {
    Py_ssize_t n = PyList_GET_SIZE(items);
    PyObject *pairs = PyList_New(n);
    if (!pairs)
        return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *key = key_of(p, PyList_GET_ITEM(items, i));
        PyObject *index = key ? PyLong_FromSsize_t(i) : NULL;
        PyObject *pair = index ? PyTuple_Pack(2, key, index) : NULL;
        Py_XDECREF(key);
        Py_XDECREF(index);
        if (!pair) {
            Py_DECREF(pairs);
            return -1;
        }
        PyList_SET_ITEM(pairs, i, pair);
    }
    PyObject *sorted = NULL;
    if (PyList_Sort(pairs) == 0 && (sorted = PyList_New(n))) {
        for (Py_ssize_t i = 0; i < n; i++) {
            Py_ssize_t from = PyLong_AsSsize_t(PyTuple_GET_ITEM(PyList_GET_ITEM(pairs, i), 1));
            PyList_SET_ITEM(sorted, i, Py_NewRef(PyList_GET_ITEM(items, from)));
        }
        int rc = PyList_SetSlice(items, 0, n, sorted);
        Py_DECREF(sorted);
        Py_DECREF(pairs);
        return rc;
    }
    Py_DECREF(pairs);
    return -1;
}

/* Sets too deep in each other to be ordered: 1, and the exception is for the caller of dumps() or digest(). */
static int refused_depth(struct pickler *p, PyObject *set) {
    struct pk_state *st = p->st;
    int refused = st->deep_sets && PyErr_ExceptionMatches(PyExc_RecursionError);
    if (p->nested > 0)
        return refused;
    st->deep_sets = 0;
    if (refused)
        pk_cannot(p, set,
                  "sets nested more than 64 deep, with objects in the innermost ones, "
                  "cannot be ordered; use lists or tuples for some of them");
    return refused;
}

static PyObject *ordered_items(struct pickler *p, PyObject *set) {
    PyObject *items = PySequence_List(set);
    if (!items || PyList_GET_SIZE(items) < 2)
        return items;
    if (p->nested && !(p->flags & PK_CANONICAL)) {
        PyErr_SetString(PyExc_ValueError, "a key that has to order sets itself");
        Py_DECREF(items);
        return NULL;
    }
    int rc = sort_by_key(p, items);
    if (rc < 0 && refused_depth(p, set)) {
        Py_DECREF(items);
        return NULL;
    }
    /* Objects that are compared by identity, or cannot be pickled at all, keep the order they have; the error
     * comes again, with its path, when they are written. */
    if (rc < 0 && PyErr_ExceptionMatches(PyExc_Exception))
        PyErr_Clear();
    else if (rc < 0)
        Py_CLEAR(items);
    return items;
}

int pk_save_set(struct pickler *p, PyObject *obj) {
    int frozen = Py_TYPE(obj) == &PyFrozenSet_Type;
    if (p->proto < 4) {
        PyObject *items = ordered_items(p, obj);
        return pk_save_old(p, obj, frozen ? "builtins.frozenset" : "builtins.set",
                           items ? Py_BuildValue("(N)", items) : NULL);
    }
    if (!frozen) {
        pk_watch_container(p, obj);
        if (pk_put(p, OP_EMPTY_SET) < 0 || pk_memoize(p, obj) < 0)
            return -1;
        if (PySet_GET_SIZE(obj) == 0)
            return 0;
    }
    unsigned char op = frozen ? OP_FROZENSET : OP_ADDITEMS;
    int rc = save_simple(p, obj, op);
    if (rc == 0 && p->flags & PK_CANONICAL)
        rc = pk_name_items(p, obj, op);
    if (rc)
        return rc < 0 ? -1 : 0;
    PyObject *items = ordered_items(p, obj);
    rc = items ? push_items(p, obj, items, op) : -1;
    Py_XDECREF(items);
    return rc;
}
