/* A call's signature: 128 bits of its arguments' bytes. Two calls with the same one are taken for the same call. */
#include "flow.h"

#include "../pickle/pickle.h"

#include <string.h>

static uint64_t mix(uint64_t a, uint64_t b) {
    __uint128_t r =
        (__uint128_t)(a ^ UINT64_C(0xA0761D6478BD642F)) * (b ^ UINT64_C(0xE7037ED1A0B428DB));
    return (uint64_t)r ^ (uint64_t)(r >> 64);
}

void fl_sig_add(struct fl_sig *sig, uint64_t word) {
    sig->a = mix(sig->a ^ word, sig->b);
    sig->b = mix(sig->b + UINT64_C(0x9E3779B97F4A7C15), word ^ (sig->a << 1));
}

enum { LANES = 4, BLOCK = LANES * 16, SPARE_MAX = 1 << 20 };

/* What is long goes into eight sums that do not wait for one another: with a single one the processor would mostly wait for its
 * multiplications. Every pair of words goes into two of them. */
static size_t add_blocks(struct fl_sig *sig, const char *p, size_t n) {
    static const uint64_t key[2 * LANES] = {
        UINT64_C(0x9E3779B97F4A7C15), UINT64_C(0xC2B2AE3D27D4EB4F), UINT64_C(0x165667B19E3779F9),
        UINT64_C(0xD6E8FEB86659FD93), UINT64_C(0x27D4EB2F165667C5), UINT64_C(0xFF51AFD7ED558CCD),
        UINT64_C(0xC4CEB9FE1A85EC53), UINT64_C(0x85EBCA77C2B2AE63),
    };
    uint64_t one[LANES], two[LANES];
    for (unsigned i = 0; i < LANES; i++) {
        one[i] = sig->a ^ key[i];
        two[i] = sig->b ^ key[LANES + i];
    }
    size_t done = 0;
    for (; done + BLOCK <= n; done += BLOCK)
        for (unsigned i = 0; i < LANES; i++) {
            uint64_t word[2];
            memcpy(word, p + done + i * sizeof word, sizeof word);
            one[i] = (one[i] << 25 | one[i] >> 39) + mix(word[0] ^ key[2 * i], word[1] ^ one[i]);
            two[i] =
                (two[i] << 31 | two[i] >> 33) + mix(word[0] ^ two[i], word[1] ^ key[2 * i + 1]);
        }
    for (unsigned i = 0; i < LANES; i++) {
        fl_sig_add(sig, one[i]);
        fl_sig_add(sig, two[i]);
    }
    return done;
}

void fl_sig_add_bytes(struct fl_sig *sig, const char *p, size_t n) {
    fl_sig_add(sig, n);
    if (n >= 4 * BLOCK) {
        size_t done = add_blocks(sig, p, n);
        p += done;
        n -= done;
    }
    for (; n >= 8; p += 8, n -= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        fl_sig_add(sig, word);
    }
    uint64_t rest = 0;
    memcpy(&rest, p, n);
    fl_sig_add(sig, rest);
}

/* 1: done; 0: not an atom. */
static int add_atom(struct fl_sig *sig, PyObject *o) {
    if (o == Py_None || PyBool_Check(o)) {
        fl_sig_add(sig, o == Py_None ? 1 : o == Py_True ? 2 : 3);
        return 1;
    }
    if (PyLong_CheckExact(o)) {
        int overflow;
        long long value = PyLong_AsLongLongAndOverflow(o, &overflow);
        if (overflow)
            return 0;
        fl_sig_add(sig, 4);
        fl_sig_add(sig, (uint64_t)value);
        return 1;
    }
    if (PyFloat_CheckExact(o)) {
        double value = PyFloat_AS_DOUBLE(o);
        uint64_t word;
        memcpy(&word, &value, 8);
        fl_sig_add(sig, 5);
        fl_sig_add(sig, word);
        return 1;
    }
    if (PyUnicode_CheckExact(o) && PyUnicode_IS_COMPACT_ASCII(o)) {
        fl_sig_add(sig, 6);
        fl_sig_add_bytes(sig, (const char *)PyUnicode_1BYTE_DATA(o),
                         (size_t)PyUnicode_GET_LENGTH(o));
        return 1;
    }
    return 0;
}

struct dump {
    struct pk_sink sink;
    struct flow_state *st;
    struct fl_sig *sig;
};

static int grow(struct pk_sink *sink, size_t need) {
    size_t cap = (sink->cap ? sink->cap : 512) * 2;
    while (cap < sink->len + need)
        cap *= 2;
    char *buf = PyMem_Realloc(sink->buf, cap);
    if (!buf) {
        PyErr_NoMemory();
        return -1;
    }
    sink->buf = buf;
    sink->cap = cap;
    return 0;
}

static int take_buffer(void *ctx, PyObject *buffer) {
    struct dump *d = ctx;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE) < 0) {
        PyErr_Clear();
        return 0;
    }
    fl_sig_add(d->sig, 7);
    fl_sig_add_bytes(d->sig, view.buf, (size_t)view.len);
    PyBuffer_Release(&view);
    return 1;
}

static int take_ref(void *ctx, PyObject *obj, PyObject **pid) {
    struct dump *d = ctx;
    if (Py_TYPE(obj) == d->st->unknown_type) {
        PyErr_SetNone(d->st->need_value);
        return -1;
    }
    *pid = PyLong_FromVoidPtr(obj);
    return *pid ? 1 : -1;
}

static int add_object(struct flow_state *st, struct fl_sig *sig, PyObject *o) {
    struct dump d = {.st = st, .sig = sig};
    d.sink.grow = grow;
    d.sink.buf = st->spare.buf; /* whoever comes here meanwhile gets another */
    d.sink.cap = st->spare.cap;
    st->spare.buf = NULL;
    st->spare.cap = 0;
    struct pk_hooks hooks = {.ctx = &d, .buffer = take_buffer, .ref = take_ref};
    int rc = pk_dump(st->module, o, &d.sink, &hooks, PK_BARE | PK_NO_LOCKS, "arguments");
    if (rc == 0) {
        fl_sig_add(sig, 8);
        fl_sig_add_bytes(sig, d.sink.buf, d.sink.len);
    }
    if (d.sink.cap <= SPARE_MAX && !st->spare.buf) {
        st->spare.buf = d.sink.buf;
        st->spare.cap = d.sink.cap;
    } else {
        PyMem_Free(d.sink.buf);
    }
    return rc;
}

int fl_sig_add_value(struct flow_state *st, struct fl_sig *sig, PyObject *o) {
    if (!o)
        fl_sig_add(sig, 10);
    return !o || add_atom(sig, o) ? 0 : add_object(st, sig, o);
}

/* Which object it is, and what is in it if it may change and can be pickled. */
static void add_surrounding(struct flow_state *st, struct fl_sig *sig, PyObject *o) {
    if (o && add_atom(sig, o))
        return;
    fl_sig_add(sig, (uint64_t)(uintptr_t)o);
    if (o && fl_kind(st, Py_TYPE(o)) == FL_MUTABLE && add_object(st, sig, o) < 0)
        PyErr_Clear();
}

/* What the function sees of cells and globals. */
static void add_surroundings(struct flow_state *st, struct fl_sig *sig, PyObject *function) {
    PyObject *cells = PyFunction_GET_CLOSURE(function), *globals = PyFunction_GET_GLOBALS(function);
    PyObject *names = ((PyCodeObject *)PyFunction_GET_CODE(function))->co_names;
    for (Py_ssize_t i = 0; cells && i < PyTuple_GET_SIZE(cells); i++) {
        add_surrounding(st, sig, PyCell_GET(PyTuple_GET_ITEM(cells, i)));
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names); i++) {
        PyObject *o = PyDict_GetItemWithError(globals, PyTuple_GET_ITEM(names, i));
        PyErr_Clear();
        add_surrounding(st, sig, o);
    }
}

int fl_sig_loose(struct fl_run *run, struct flow_state *st, PyObject *functional,
                 PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, struct fl_sig *sig) {
    PyObject *function = ((struct fl_functional *)functional)->function;
    Py_ssize_t k = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    if (fl_sig_of(st, functional, args, nargs, kwnames, sig) < 0) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return -1;
        PyErr_Clear();
        *sig =
            (struct fl_sig){(uint64_t)(uintptr_t)functional, (uint64_t)nargs << 32 | (uint64_t)k};
        for (Py_ssize_t j = 0; j < k; j++)
            add_atom(sig, PyTuple_GET_ITEM(kwnames, j));
        for (Py_ssize_t i = 0; i < nargs + k; i++) {
            if (add_atom(sig, args[i]) || add_object(st, sig, args[i]) == 0)
                continue;
            PyErr_Clear();
            if (run && (fl_kind(st, Py_TYPE(args[i])) || fl_map_has(&run->owned, args[i])))
                return 1;
            fl_sig_add(sig, 9);
            fl_sig_add(sig, (uint64_t)(uintptr_t)args[i]);
        }
    }
    if (PyFunction_Check(function))
        add_surroundings(st, sig, function);
    return 0;
}

int fl_sig_of(struct flow_state *st, PyObject *functional, PyObject *const *args, Py_ssize_t nargs,
              PyObject *kwnames, struct fl_sig *sig) {
    Py_ssize_t k = kwnames ? PyTuple_GET_SIZE(kwnames) : 0, i = 0;
    *sig = (struct fl_sig){(uint64_t)(uintptr_t)functional, (uint64_t)nargs << 32 | (uint64_t)k};
    for (Py_ssize_t j = 0; j < k; j++)
        add_atom(sig, PyTuple_GET_ITEM(kwnames, j));
    struct fl_sig before = *sig;
    while (i < nargs + k && add_atom(sig, args[i]))
        i++;
    if (i == nargs + k)
        return 0;
    *sig = before;
    PyObject *all = PyTuple_New(nargs + k);
    for (i = 0; all && i < nargs + k; i++)
        PyTuple_SET_ITEM(all, i, Py_NewRef(args[i]));
    int rc = all ? add_object(st, sig, all) : -1;
    Py_XDECREF(all);
    return rc;
}
