/* Built-in values: strings, bytes, big ints, sets. */
#include "set_order.h"

/* From here on bytes go out of band when the task's user takes buffers. */
enum { BUFFER_THRESHOLD = 32 * 1024 };

/* From here on texts (code points) and bytes have names of their own in canonical pickles. */
enum { NAMED_FROM = 1024 };

/* Opcode and length of a counted string: one byte, four or eight, whichever suffices. */
static int write_counted(struct pickler *p, const char *data, size_t len, unsigned char op1,
                         unsigned char op4, unsigned char op8) {
    if (pk_reserve(p, len + 9) < 0)
        return -1;
    unsigned char *at = p->cur;
    if (len < 256) {
        at[0] = op1;
        at[1] = (unsigned char)len;
        at += 2;
    } else if (len <= UINT32_MAX) {
        at[0] = op4;
        pk_le32(at + 1, (uint32_t)len);
        at += 5;
    } else {
        at[0] = op8;
        pk_le64(at + 1, len);
        at += 9;
    }
    memcpy(at, data, len);
    p->cur = at + len;
    return 0;
}

int pk_write_str(struct pickler *p, const char *utf8, size_t len) {
    if (p->proto < 4) {
        unsigned char head[5] = {OP_BINUNICODE};
        if (len > UINT32_MAX) {
            PyErr_SetString(PyExc_OverflowError, "a string beyond 4 GiB needs protocol 4");
            return -1;
        }
        pk_le32(head + 1, (uint32_t)len);
        return pk_write(p, head, sizeof head) < 0 ? -1 : pk_write(p, utf8, len);
    }
    return write_counted(p, utf8, len, OP_SHORT_BINUNICODE, OP_BINUNICODE, OP_BINUNICODE8);
}

int pk_write_bytes(struct pickler *p, const char *data, size_t len) {
    return write_counted(p, data, len, OP_SHORT_BINBYTES, OP_BINBYTES, OP_BINBYTES8);
}

static int write_surrogates(struct pickler *p, PyObject *obj) {
    PyErr_Clear();
    PyObject *utf8 = PyUnicode_AsEncodedString(obj, "utf-8", "surrogatepass");
    if (!utf8)
        return -1;
    int rc = pk_write_str(p, PyBytes_AS_STRING(utf8), (size_t)PyBytes_GET_SIZE(utf8));
    Py_DECREF(utf8);
    return rc;
}

/* In a canonical pickle, a text or bytes long enough to have a name. */
static int save_named(struct pickler *p, PyObject *obj,
                      int (*save)(struct pickler *p, PyObject *obj)) {
    int rc = pk_level_known(p, obj);
    if (rc)
        return rc < 0 ? -1 : 0;
    return pk_level_open(p) < 0 || save(p, obj) < 0 ? -1 : pk_level_close(p, obj);
}

static int save_str(struct pickler *p, PyObject *obj) {
    int once = pk_alone(p, obj);
    if (!once) {
        int rc = pk_seen(p, obj);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    int rc;
    if (PyUnicode_IS_COMPACT_ASCII(obj)) {
        rc = pk_write_str(p, (const char *)PyUnicode_1BYTE_DATA(obj),
                          (size_t)PyUnicode_GET_LENGTH(obj));
    } else {
        Py_ssize_t len;
        const char *utf8 = PyUnicode_AsUTF8AndSize(obj, &len);
        if (utf8)
            rc = pk_write_str(p, utf8, (size_t)len);
        else
            rc = PyErr_ExceptionMatches(PyExc_UnicodeEncodeError) ? write_surrogates(p, obj) : -1;
    }
    return rc < 0 ? -1 : pk_memoize_once(p, obj, once);
}

int pk_save_str(struct pickler *p, PyObject *obj) {
    if (p->flags & PK_CANONICAL && PyUnicode_GET_LENGTH(obj) >= NAMED_FROM)
        return save_named(p, obj, save_str);
    return save_str(p, obj);
}

/* Large bytes of a task: out of band through a helper that makes bytes again. 1: taken, 0, -1 */
static int bytes_out_of_band(struct pickler *p, PyObject *obj) {
    PyObject *buffer = PyPickleBuffer_FromObject(obj);
    if (!buffer)
        return -1;
    int taken = 0;
    int rc = p->hooks->buffer(p->hooks->ctx, buffer);
    if (rc > 0) {
        static const char after[] = {OP_TUPLE1, OP_REDUCE};
        pk_watch_mutable(p);
        taken = 1;
        if (pk_write_helper(p, PK_HELPER_BYTES) < 0 || pk_put(p, OP_NEXT_BUFFER) < 0 ||
            pk_put(p, OP_READONLY_BUFFER) < 0 || pk_write(p, after, sizeof after) < 0 ||
            pk_memoize(p, obj) < 0)
            rc = -1;
    }
    Py_DECREF(buffer);
    return rc < 0 ? -1 : taken;
}

int pk_save_old(struct pickler *p, PyObject *obj, const char *func, PyObject *content) {
    if (!content)
        return -1;
    const char *dot = strrchr(func, '.');
    PyObject *name = PyUnicode_FromStringAndSize(func, dot - func);
    PyObject *module = name ? PyImport_Import(name) : NULL;
    PyObject *callable = module ? PyObject_GetAttrString(module, dot + 1) : NULL;
    PyObject *value = callable ? PyTuple_Pack(2, callable, content) : NULL;
    int rc = value ? pk_save_reduced(p, value, obj) : -1;
    Py_XDECREF(name);
    Py_XDECREF(module);
    Py_XDECREF(callable);
    Py_DECREF(content);
    Py_XDECREF(value);
    return rc;
}

/* Python 2 knows bytes only as the encoding of a string; written at once, atoms push no frames. */
static int save_old_bytes(struct pickler *p, PyObject *obj) {
    Py_ssize_t base = p->nframes, len = PyBytes_GET_SIZE(obj);
    Py_INCREF(obj);
    int rc;
    if (len == 0) {
        rc = pk_save_old(p, obj, "builtins.bytes", PyTuple_New(0));
    } else {
        PyObject *text = PyUnicode_DecodeLatin1(PyBytes_AS_STRING(obj), len, NULL);
        rc = pk_save_old(p, obj, "_codecs.encode",
                         text ? Py_BuildValue("(Ns)", text, "latin1") : NULL);
    }
    if (rc == 0)
        rc = pk_run(p, base);
    Py_DECREF(obj);
    return rc;
}

static int save_bytes(struct pickler *p, PyObject *obj) {
    int once = pk_alone(p, obj);
    if (!once) {
        int rc = pk_seen(p, obj);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    size_t len = (size_t)PyBytes_GET_SIZE(obj);
    if (p->proto < 3)
        return save_old_bytes(p, obj);
    if (p->proto < 4 && len > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "bytes beyond 4 GiB need protocol 4");
        return -1;
    }
    if (len >= BUFFER_THRESHOLD && p->hooks->buffer && (p->flags & PK_BARE)) {
        Py_INCREF(obj);
        int rc = bytes_out_of_band(p, obj);
        Py_DECREF(obj);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    if (pk_write_bytes(p, PyBytes_AS_STRING(obj), len) < 0)
        return -1;
    return pk_memoize_once(p, obj, once);
}

int pk_save_bytes(struct pickler *p, PyObject *obj) {
    if (p->flags & PK_CANONICAL && PyBytes_GET_SIZE(obj) >= NAMED_FROM)
        return save_named(p, obj, save_bytes);
    return save_bytes(p, obj);
}

int pk_save_bytearray(struct pickler *p, PyObject *obj) {
    pk_watch_mutable(p);
    if (p->proto < 5) {
        return pk_save_old(
            p, obj, "builtins.bytearray",
            Py_BuildValue("(y#)", PyByteArray_AS_STRING(obj), PyByteArray_GET_SIZE(obj)));
    }
    size_t len = (size_t)PyByteArray_GET_SIZE(obj);
    if (len >= BUFFER_THRESHOLD && p->hooks->buffer && (p->flags & PK_BARE)) {
        PyObject *buffer = PyPickleBuffer_FromObject(obj);
        int rc = buffer ? p->hooks->buffer(p->hooks->ctx, buffer) : -1;
        Py_XDECREF(buffer);
        if (rc < 0)
            return -1;
        if (rc > 0) {
            static const char after[] = {OP_NEXT_BUFFER, OP_TUPLE1, OP_REDUCE};
            PyObject *type = (PyObject *)&PyByteArray_Type;
            if (pk_save(p, type) < 0 || pk_write(p, after, sizeof after) < 0)
                return -1;
            return pk_memoize(p, obj);
        }
        len = (size_t)PyByteArray_GET_SIZE(obj);
    }
    if (pk_reserve(p, len + 9) < 0)
        return -1;
    *p->cur = OP_BYTEARRAY8;
    pk_le64(p->cur + 1, len);
    memcpy(p->cur + 9, PyByteArray_AS_STRING(obj), len);
    p->cur += 9 + len;
    return pk_memoize(p, obj);
}

/* Ints beyond 31 bits: two's complement, little end first, as few bytes as hold the sign. */
int pk_save_long(struct pickler *p, PyObject *obj) {
    int overflow;
    long long value = PyLong_AsLongLongAndOverflow(obj, &overflow);
    if (!overflow) {
        if (value == -1 && PyErr_Occurred())
            return -1;
        if (value == (int32_t)value)
            return pk_save_small(p, (long)value);
    }
    size_t bits = _PyLong_NumBits(obj);
    if (bits == (size_t)-1 && PyErr_Occurred())
        return -1;
    size_t len = bits / 8 + 1;
    if (pk_reserve(p, len + 5) < 0)
        return -1;
    unsigned char *at = p->cur + (len < 256 ? 2 : 5);
    if (core_long_as_bytes(obj, at, len) < 0)
        return -1;
    /* A negative power of 256 over two needs no byte of its own for the sign. */
    if (len > 1 && at[len - 1] == 0xff && (at[len - 2] & 0x80)) {
        size_t shorter = len - 1;
        if (len >= 256 && shorter < 256) {
            memmove(p->cur + 2, at, shorter);
            at = p->cur + 2;
        }
        len = shorter;
    }
    if (len < 256) {
        p->cur[0] = OP_LONG1;
        p->cur[1] = (unsigned char)len;
    } else if (len <= INT32_MAX) {
        p->cur[0] = OP_LONG4;
        pk_le32(p->cur + 1, (uint32_t)len);
    } else {
        PyErr_SetString(PyExc_OverflowError, "int too large to pickle");
        return -1;
    }
    p->cur = at + len;
    return 0;
}

/* --- sets: written in an order that depends on their values alone --------------------------------------------- */

enum { SCRATCH_LIMIT = 1 << 16, SCRATCH_DEPTH = 64 };

/* A sink that gives up: what takes more than this is not worth an order. */
static int grow_little(struct pk_sink *sink, size_t need) {
    struct pk_bytes_sink *self = (struct pk_bytes_sink *)sink;
    if (sink->len + need > SCRATCH_LIMIT) {
        PyErr_SetString(PyExc_ValueError, "too large to be ordered by");
        return -1;
    }
    return self->grow(sink, need);
}

static PyObject *make_scratch(struct pickler *p, PyObject *obj) {
    PyObject *made = NULL;
    struct pk_bytes_sink sink;
    if (p->nested >= SCRATCH_DEPTH) {
        PyErr_SetString(PyExc_ValueError, "nested too deep to be ordered by");
        return NULL;
    }
    if (p->flags & PK_CANONICAL)
        return pk_digest_nested(p, obj);
    pk_bytes_sink_init(&sink);
    sink.base.grow = grow_little;
    if (pk_dump_watched(p->st->module, obj, &sink.base, NULL, PK_BARE, p->root, NULL, p->nested + 1,
                        p->scratch) == 0)
        made = pk_bytes_sink_take(&sink);
    pk_bytes_sink_fini(&sink);
    return made;
}

/* Sets in sets would be written twice at each level, which is more than anybody can wait for: what was made is kept
 * until the whole pickle is done, as address → (object, bytes, or None where none could be made). */
PyObject *pk_scratch(struct pickler *p, PyObject *obj) {
    if (!p->scratch && !(p->scratch = PyDict_New()))
        return NULL;
    PyObject *key = PyLong_FromVoidPtr(obj);
    PyObject *kept = key ? PyDict_GetItemWithError(p->scratch, key) : NULL;
    PyObject *made = kept ? Py_NewRef(PyTuple_GET_ITEM(kept, 1)) : NULL;
    if (key && !kept && !PyErr_Occurred()) {
        made = make_scratch(p, obj);
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

enum { FEW = 32 };

static int push_items(struct pickler *p, PyObject *set, PyObject *items, unsigned char op) {
    struct pk_frame *f;
    if (pk_put(p, OP_MARK) < 0 || !(f = pk_push(p, PK_F_SET, items)))
        return -1;
    f->aux = Py_NewRef(set);
    f->n = op;
    return 0;
}

/* Ordered items: written at once when nothing of the user's can run meanwhile. 1: written, 2: frames pushed, -1 */
static int write_items(struct pickler *p, PyObject *set, const struct pk_item *items, int atoms,
                       unsigned char op) {
    Py_ssize_t n = PySet_GET_SIZE(set);
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
    return pk_put(p, op) < 0 ? -1 : 1;
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

/* Replaces items by the same in the order of their pickles. */
static int sort_by_pickle(struct pickler *p, PyObject *items) {
    Py_ssize_t n = PyList_GET_SIZE(items);
    PyObject *pairs = PyList_New(n);
    if (!pairs)
        return -1;
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *bytes = pk_scratch(p, PyList_GET_ITEM(items, i));
        PyObject *index = bytes ? PyLong_FromSsize_t(i) : NULL;
        PyObject *pair = index ? PyTuple_Pack(2, bytes, index) : NULL;
        Py_XDECREF(bytes);
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

static PyObject *ordered_items(struct pickler *p, PyObject *set) {
    PyObject *items = PySequence_List(set);
    if (!items || PyList_GET_SIZE(items) < 2)
        return items;
    int rc = sort_by_pickle(p, items);
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
    if (rc == 1 && frozen)
        return pk_memoize_once(p, obj, pk_alone(p, obj));
    if (rc == 0 && p->flags & PK_CANONICAL)
        rc = pk_name_items(p, obj, op);
    if (rc)
        return rc < 0 ? -1 : 0;
    PyObject *items = ordered_items(p, obj);
    rc = items ? push_items(p, obj, items, op) : -1;
    Py_XDECREF(items);
    return rc;
}
