#include "unpickler.h"

/* MOST_BYTES: what the longest opcode of run_common() takes, without the string behind it. */
enum { MOST_BYTES = 10, MEMO_SLACK = 1 << 20 };

int pk_bad(struct unpickler *u, const char *text) {
    core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR, "not a valid pickle at byte %zd: %s",
               (Py_ssize_t)(u->consumed + (size_t)(u->cur - u->start)), text);
    return -1;
}

int pk_more(struct unpickler *u, size_t need) {
    if ((size_t)(u->end - u->cur) >= need)
        return 0;
    if (u->refill && u->refill(u, need) == 0)
        return 0;
    if (!PyErr_Occurred())
        core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR,
                   "pickle data was truncated at byte %zd",
                   (Py_ssize_t)(u->consumed + (size_t)(u->end - u->start)));
    return -1;
}

/* --- stacks and memo ------------------------------------------------------------------------------------------ */

int pk_unpickler_grow(struct unpickler *u) {
    Py_ssize_t cap = u->cap ? u->cap * 2 : 64;
    PyObject **stack = PyMem_Realloc(u->stack, (size_t)cap * sizeof *stack);
    if (!stack) {
        PyErr_NoMemory();
        return -1;
    }
    u->stack = stack;
    u->cap = cap;
    return 0;
}

void pk_drop_to(struct unpickler *u, Py_ssize_t sp) {
    while (u->sp > sp) {
        PyObject *obj = u->stack[--u->sp];
        Py_DECREF(obj);
    }
}

static int push_mark(struct unpickler *u) {
    if (u->nmarks == u->capmarks) {
        Py_ssize_t cap = u->capmarks ? u->capmarks * 2 : 32;
        Py_ssize_t *marks = PyMem_Realloc(u->marks, (size_t)cap * sizeof *marks);
        if (!marks) {
            PyErr_NoMemory();
            return -1;
        }
        u->marks = marks;
        u->capmarks = cap;
    }
    u->marks[u->nmarks++] = u->fence;
    u->fence = u->sp;
    return 0;
}

Py_ssize_t pk_pop_mark(struct unpickler *u) {
    if (u->nmarks == 0)
        return pk_bad(u, "could not find MARK");
    Py_ssize_t from = u->fence;
    u->fence = u->marks[--u->nmarks];
    return from;
}

static int grow_memo(struct unpickler *u, size_t index) {
    if (index > u->consumed + (size_t)(u->end - u->start) + u->nmemo + MEMO_SLACK)
        return pk_bad(u, "memo index far beyond the length of the stream");
    size_t cap = u->capmemo ? u->capmemo : 32;
    while (cap <= index)
        cap *= 2;
    PyObject **memo = PyMem_Realloc(u->memo, cap * sizeof *memo);
    if (!memo) {
        PyErr_NoMemory();
        return -1;
    }
    memset(memo + u->capmemo, 0, (cap - u->capmemo) * sizeof *memo);
    u->memo = memo;
    u->capmemo = cap;
    return 0;
}

int pk_memo_set(struct unpickler *u, size_t index, PyObject *obj) {
    if (index >= u->capmemo && grow_memo(u, index) < 0)
        return -1;
    PyObject *old = u->memo[index];
    u->memo[index] = Py_NewRef(obj);
    if (!old)
        u->nmemo++;
    Py_XDECREF(old);
    return 0;
}

static int memo_get(struct unpickler *u, size_t index) {
    if (index >= u->capmemo || !u->memo[index]) {
        core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR, "Memo value not found at index %zu",
                   index);
        return -1;
    }
    return pk_push_value(u, Py_NewRef(u->memo[index]));
}

static int memoize(struct unpickler *u) {
    if (pk_need(u, 1) < 0)
        return -1;
    return pk_memo_set(u, u->nmemo, u->stack[u->sp - 1]);
}

/* --- values ----------------------------------------------------------------------------------------------------- */

static inline int is_ascii(const unsigned char *data, size_t len) {
    uint64_t all = 0, word;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, data + i, 8);
        all |= word;
    }
    for (; i < len; i++)
        all |= data[i];
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

static PyObject *make_str(const unsigned char *data, size_t len) {
    if (len > 1 && len < 256 && is_ascii(data, len)) {
        PyObject *str = PyUnicode_New((Py_ssize_t)len, 127);
        if (str)
            memcpy(PyUnicode_1BYTE_DATA(str), data, len);
        return str;
    }
    return PyUnicode_DecodeUTF8((const char *)data, (Py_ssize_t)len, "surrogatepass");
}

/* len bytes are there; returns them and moves behind. */
static inline const unsigned char *take(struct unpickler *u, size_t len) {
    if (pk_more(u, len) < 0)
        return NULL;
    const unsigned char *data = u->cur;
    u->cur += len;
    return data;
}

enum counted { STR, BYTES, PY2, BYTEARRAY };

static PyObject *make_counted(struct unpickler *u, enum counted what, const unsigned char *data,
                              size_t len) {
    switch (what) {
    case STR:
        return make_str(data, len);
    case BYTES:
        return PyBytes_FromStringAndSize((const char *)data, (Py_ssize_t)len);
    case BYTEARRAY:
        return PyByteArray_FromStringAndSize((const char *)data, (Py_ssize_t)len);
    case PY2:
        break;
    }
    return pk_decode_py2(u, (const char *)data, (Py_ssize_t)len);
}

/* A string whose length stands before it in `width` bytes. */
static inline int load_counted(struct unpickler *u, enum counted what, size_t width) {
    const unsigned char *at = take(u, width);
    if (!at)
        return -1;
    uint64_t len = width == 1 ? *at : width == 4 ? pk_get_le32(at) : pk_get_le64(at);
    if (len > (uint64_t)PY_SSIZE_T_MAX)
        return pk_bad(u, "a string longer than memory");
    if (pk_more(u, (size_t)len) < 0)
        return -1;
    const unsigned char *data = u->cur;
    u->cur += len;
    return pk_push_value(u, make_counted(u, what, data, (size_t)len));
}

static inline double big_endian_double(const unsigned char *at) {
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | at[i];
    double value;
    memcpy(&value, &bits, 8);
    return value;
}

static int load_float(struct unpickler *u) {
    const unsigned char *at = take(u, 8);
    if (!at)
        return -1;
    return pk_push_value(u, PyFloat_FromDouble(big_endian_double(at)));
}

static int load_small(struct unpickler *u, size_t width) {
    const unsigned char *at = take(u, width);
    if (!at)
        return -1;
    long value = width == 1   ? (long)at[0]
                 : width == 2 ? (long)(at[0] | at[1] << 8)
                              : (long)(int32_t)pk_get_le32(at);
    return pk_push_value(u, PyLong_FromLong(value));
}

static int load_long(struct unpickler *u, size_t width) {
    const unsigned char *at = take(u, width);
    if (!at)
        return -1;
    size_t len = width == 1 ? *at : pk_get_le32(at);
    if (width == 4 && len > INT32_MAX)
        return pk_bad(u, "LONG pickle has negative byte count");
    const unsigned char *data = take(u, len);
    if (!data)
        return -1;
    return pk_push_value(u, len ? core_long_from_bytes(data, len) : PyLong_FromLong(0));
}

/* --- containers --------------------------------------------------------------------------------------------------- */

static int load_tuple(struct unpickler *u, Py_ssize_t from) {
    Py_ssize_t n = u->sp - from;
    PyObject *tuple = PyTuple_New(n);
    if (!tuple)
        return -1;
    for (Py_ssize_t i = 0; i < n; i++)
        PyTuple_SET_ITEM(tuple, i, u->stack[from + i]);
    u->sp = from;
    return pk_push_value(u, tuple);
}

static int load_short_tuple(struct unpickler *u, Py_ssize_t n) {
    return pk_need(u, n) < 0 ? -1 : load_tuple(u, u->sp - n);
}

static int load_marked(struct unpickler *u, unsigned char op) {
    Py_ssize_t from = pk_pop_mark(u);
    if (from < 0)
        return -1;
    if (op == OP_TUPLE)
        return load_tuple(u, from);
    if (op == OP_APPENDS)
        return pk_load_appends(u, from);
    if (op == OP_SETITEMS)
        return pk_load_setitems(u, from);
    if (op == OP_POP_MARK) {
        pk_drop_to(u, from);
        return 0;
    }
    if (op == OP_LIST) {
        if (load_tuple(u, from) < 0)
            return -1;
        PyObject *tuple = u->stack[--u->sp], *list = PySequence_List(tuple);
        Py_DECREF(tuple);
        return pk_push_value(u, list);
    }
    if (op == OP_FROZENSET) {
        if (load_tuple(u, from) < 0)
            return -1;
        PyObject *tuple = u->stack[--u->sp], *set = PyFrozenSet_New(tuple);
        Py_DECREF(tuple);
        return pk_push_value(u, set);
    }
    /* OP_DICT: pairs of a dict that does not exist yet */
    if ((u->sp - from) % 2)
        return pk_bad(u, "odd number of items for DICT");
    PyObject *dict = PyDict_New();
    for (Py_ssize_t i = from; dict && i < u->sp; i += 2)
        if (PyDict_SetItem(dict, u->stack[i], u->stack[i + 1]) < 0)
            Py_CLEAR(dict);
    pk_drop_to(u, from);
    return pk_push_value(u, dict);
}

static int load_pop(struct unpickler *u) {
    if (u->sp == u->fence && u->nmarks > 0) /* POP takes a mark too */
        return pk_pop_mark(u) < 0 ? -1 : 0;
    if (pk_need(u, 1) < 0)
        return -1;
    PyObject *obj = u->stack[--u->sp];
    Py_DECREF(obj);
    return 0;
}

/* --- hooks ---------------------------------------------------------------------------------------------------------- */

static int load_persistent(struct unpickler *u, PyObject *pid) {
    if (!pid)
        return -1;
    PyObject *obj = NULL;
    if (u->source->persistent)
        obj = u->source->persistent(u->source->ctx, pid);
    else
        pk_bad(u,
               "A load persistent id instruction was encountered, but no persistent_load function "
               "was specified.");
    Py_DECREF(pid);
    return pk_push_value(u, obj);
}

static int load_binpersid(struct unpickler *u) {
    if (pk_need(u, 1) < 0)
        return -1;
    return load_persistent(u, u->stack[--u->sp]);
}

static int load_persid(struct unpickler *u) {
    Py_ssize_t len;
    const char *line = pk_read_line(u, &len);
    if (!line)
        return -1;
    PyObject *pid = PyUnicode_DecodeASCII(line, len, "strict");
    if (!pid && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return pk_bad(u, "persistent IDs in protocol 0 must be ASCII strings");
    }
    return load_persistent(u, pid);
}

static int load_next_buffer(struct unpickler *u) {
    if (!u->source->next_buffer)
        return pk_bad(
            u, "pickle stream refers to out-of-band data but no *buffers* argument was given");
    return pk_push_value(u, u->source->next_buffer(u->source->ctx));
}

static int load_readonly_buffer(struct unpickler *u) {
    if (pk_need(u, 1) < 0)
        return -1;
    PyObject *view = PyMemoryView_FromObject(u->stack[u->sp - 1]);
    if (!view)
        return -1;
    if (PyMemoryView_GET_BUFFER(view)->readonly) {
        Py_DECREF(view);
        return 0;
    }
    PyObject *readonly = PyObject_CallMethod(view, "toreadonly", NULL);
    Py_DECREF(view);
    if (!readonly)
        return -1;
    Py_SETREF(u->stack[u->sp - 1], readonly);
    return 0;
}

/* --- the loop --------------------------------------------------------------------------------------------------------- */

static int load_proto(struct unpickler *u) {
    const unsigned char *at = take(u, 1);
    if (!at)
        return -1;
    if (*at > 5) {
        PyErr_Format(PyExc_ValueError, "unsupported pickle protocol: %d", *at);
        return -1;
    }
    u->proto = *at;
    return 0;
}

static int load_frame(struct unpickler *u) {
    const unsigned char *at = take(u, 8);
    if (!at)
        return -1;
    uint64_t len = pk_get_le64(at);
    if (len > (uint64_t)PY_SSIZE_T_MAX)
        return pk_bad(u, "a frame longer than memory");
    return pk_more(u, (size_t)len);
}

static int load_indexed(struct unpickler *u, size_t width, int put) {
    const unsigned char *at = take(u, width);
    if (!at)
        return -1;
    size_t index = width == 1 ? *at : pk_get_le32(at);
    if (!put)
        return memo_get(u, index);
    return pk_need(u, 1) < 0 ? -1 : pk_memo_set(u, index, u->stack[u->sp - 1]);
}

static int load_text_indexed(struct unpickler *u, int put) {
    Py_ssize_t len;
    const char *line = pk_read_line(u, &len);
    if (!line)
        return -1;
    char digits[24], *rest;
    if (len <= 0 || len >= (Py_ssize_t)sizeof digits)
        return pk_bad(u, "bad memo index");
    memcpy(digits, line, (size_t)len);
    digits[len] = 0;
    long index = strtol(digits, &rest, 10);
    if (*rest) {
        PyErr_Format(PyExc_ValueError, "invalid literal for int() with base 10: '%s'", digits);
        return -1;
    }
    if (index < 0) {
        PyErr_SetString(PyExc_ValueError,
                        put ? "PUT argument must be non-negative" : "negative memo index");
        return -1;
    }
    if (!put)
        return memo_get(u, (size_t)index);
    return pk_need(u, 1) < 0 ? -1 : pk_memo_set(u, (size_t)index, u->stack[u->sp - 1]);
}

static int load_ext(struct unpickler *u, size_t width) {
    const unsigned char *at = take(u, width);
    if (!at)
        return -1;
    unsigned long code = 0;
    for (size_t i = 0; i < width; i++)
        code |= (unsigned long)at[i] << (8 * i);
    return pk_load_extension(u, code);
}

static int load_rare(struct unpickler *u, unsigned char op) {
    switch (op) {
    case OP_PROTO:
        return load_proto(u);
    case OP_FRAME:
        return load_frame(u);
    case OP_EXT1:
        return load_ext(u, 1);
    case OP_EXT2:
        return load_ext(u, 2);
    case OP_EXT4:
        return load_ext(u, 4);
    case OP_NEWOBJ_EX:
        return pk_load_newobj_ex(u);
    case OP_NEXT_BUFFER:
        return load_next_buffer(u);
    case OP_READONLY_BUFFER:
        return load_readonly_buffer(u);
    case OP_PERSID:
        return load_persid(u);
    case OP_BINPERSID:
        return load_binpersid(u);
    case OP_GLOBAL:
        return pk_load_global(u);
    case OP_GET:
        return load_text_indexed(u, 0);
    case OP_PUT:
        return load_text_indexed(u, 1);
    case OP_INST:
        return pk_load_inst(u);
    case OP_OBJ:
        return pk_load_obj(u);
    case OP_LONG4:
        return load_long(u, 4);
    case OP_BINSTRING:
        return load_counted(u, PY2, 4);
    case OP_SHORT_BINSTRING:
        return load_counted(u, PY2, 1);
    case OP_BINUNICODE8:
        return load_counted(u, STR, 8);
    case OP_BINBYTES8:
        return load_counted(u, BYTES, 8);
    case OP_BYTEARRAY8:
        return load_counted(u, BYTEARRAY, 8);
    case OP_FLOAT:
    case OP_INT:
    case OP_LONG:
    case OP_STRING:
    case OP_UNICODE:
        return pk_load_text(u, op);
    case OP_DUP:
        return pk_need(u, 1) < 0 ? -1 : pk_push_value(u, Py_NewRef(u->stack[u->sp - 1]));
    default:
        break;
    }
    core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR, "invalid load key, '\\x%02x' at byte %zd.",
               op, (Py_ssize_t)(u->cur - 1 - u->start));
    return -1;
}

static inline int load_op(struct unpickler *u, unsigned char op) {
    switch (op) {
    case OP_NONE:
        return pk_push_value(u, Py_NewRef(Py_None));
    case OP_NEWTRUE:
        return pk_push_value(u, Py_NewRef(Py_True));
    case OP_NEWFALSE:
        return pk_push_value(u, Py_NewRef(Py_False));
    case OP_BININT1:
        return load_small(u, 1);
    case OP_BININT2:
        return load_small(u, 2);
    case OP_BININT:
        return load_small(u, 4);
    case OP_LONG1:
        return load_long(u, 1);
    case OP_BINFLOAT:
        return load_float(u);
    case OP_SHORT_BINUNICODE:
        return load_counted(u, STR, 1);
    case OP_BINUNICODE:
        return load_counted(u, STR, 4);
    case OP_SHORT_BINBYTES:
        return load_counted(u, BYTES, 1);
    case OP_BINBYTES:
        return load_counted(u, BYTES, 4);
    case OP_MEMOIZE:
        return memoize(u);
    case OP_BINGET:
        return load_indexed(u, 1, 0);
    case OP_LONG_BINGET:
        return load_indexed(u, 4, 0);
    case OP_BINPUT:
        return load_indexed(u, 1, 1);
    case OP_LONG_BINPUT:
        return load_indexed(u, 4, 1);
    case OP_MARK:
        return push_mark(u);
    case OP_EMPTY_TUPLE:
        return pk_push_value(u, Py_NewRef(u->st->empty_tuple));
    case OP_TUPLE1:
        return load_short_tuple(u, 1);
    case OP_TUPLE2:
        return load_short_tuple(u, 2);
    case OP_TUPLE3:
        return load_short_tuple(u, 3);
    case OP_EMPTY_LIST:
        return pk_push_value(u, PyList_New(0));
    case OP_EMPTY_DICT:
        return pk_push_value(u, PyDict_New());
    case OP_EMPTY_SET:
        return pk_push_value(u, PySet_New(NULL));
    case OP_TUPLE:
    case OP_APPENDS:
    case OP_SETITEMS:
    case OP_POP_MARK:
    case OP_LIST:
    case OP_DICT:
    case OP_FROZENSET:
        return load_marked(u, op);
    case OP_APPEND:
        return pk_need(u, 2) < 0 ? -1 : pk_load_appends(u, u->sp - 1);
    case OP_SETITEM:
        return pk_need(u, 3) < 0 ? -1 : pk_load_setitems(u, u->sp - 2);
    case OP_ADDITEMS:
        return pk_load_additems(u);
    case OP_POP:
        return load_pop(u);
    case OP_NEWOBJ:
        return pk_load_newobj(u);
    case OP_BUILD:
        return pk_load_build(u);
    case OP_REDUCE:
        return pk_load_reduce(u);
    case OP_STACK_GLOBAL:
        return pk_load_stack_global(u);
    default:
        return load_rare(u, op);
    }
}

/* The opcodes that are met most, with everything in local variables: goes on while opcodes are of these kinds
 * and the stack has room; the general loop does the rest. 0 or -1 */
static int run_common(struct unpickler *u) {
    const unsigned char *cur = u->cur, *end = u->end - MOST_BYTES;
    PyObject **at = u->stack + u->sp, **full = u->stack + u->cap, **floor = u->stack + u->fence;
    PyObject *obj = Py_None;
    for (int more = 1; more && cur < end && at < full;) {
        switch (*cur) {
        case OP_BININT1:
            obj = PyLong_FromLong(cur[1]);
            cur += 2;
            break;
        case OP_BININT2:
            obj = PyLong_FromLong(cur[1] | cur[2] << 8);
            cur += 3;
            break;
        case OP_BININT:
            obj = PyLong_FromLong((int32_t)pk_get_le32(cur + 1));
            cur += 5;
            break;
        case OP_BINFLOAT:
            obj = PyFloat_FromDouble(big_endian_double(cur + 1));
            cur += 9;
            break;
        case OP_NONE:
            obj = Py_NewRef(Py_None);
            cur++;
            break;
        case OP_SHORT_BINUNICODE:
            if ((size_t)(u->end - cur - 2) < cur[1]) {
                more = 0;
                continue;
            }
            obj = make_str(cur + 2, cur[1]);
            cur += 2 + cur[1];
            break;
        case OP_SHORT_BINBYTES:
            if ((size_t)(u->end - cur - 2) < cur[1]) {
                more = 0;
                continue;
            }
            obj = PyBytes_FromStringAndSize((const char *)cur + 2, cur[1]);
            cur += 2 + cur[1];
            break;
        case OP_BINGET:
            if (cur[1] >= u->capmemo || !u->memo[cur[1]]) {
                more = 0;
                continue;
            }
            obj = Py_NewRef(u->memo[cur[1]]);
            cur += 2;
            break;
        case OP_MEMOIZE:
            if (at == floor || u->nmemo >= u->capmemo || u->memo[u->nmemo]) {
                more = 0;
                continue;
            }
            u->memo[u->nmemo++] = Py_NewRef(at[-1]);
            cur++;
            continue;
        default:
            more = 0;
            continue;
        }
        if (!obj)
            break;
        *at++ = obj;
    }
    u->cur = cur;
    u->sp = at - u->stack;
    return obj ? 0 : -1;
}

static PyObject *run(struct unpickler *u) {
    for (;;) {
        if (u->stack && u->end - u->cur > MOST_BYTES && run_common(u) < 0)
            return NULL;
        if (u->cur >= u->end && (!u->refill || u->refill(u, 1) < 0)) {
            if (PyErr_Occurred())
                return NULL;
            PyErr_SetString(PyExc_EOFError, "Ran out of input");
            return NULL;
        }
        unsigned char op = *u->cur++;
        if (op == OP_STOP)
            break;
        if (load_op(u, op) < 0)
            return NULL;
    }
    if (pk_need(u, 1) < 0)
        return NULL;
    return u->stack[--u->sp];
}

int pk_unpickler_init(struct unpickler *u, struct pk_state *st) {
    memset(u, 0, sizeof *u);
    u->st = st;
    u->fix_imports = 1;
    u->errors = "strict";
    return 0;
}

/* --- weak references ----------------------------------------------------------------------------------------- */

/* Of the innermost load of this thread: NULL: there is none; None, borrowed: it made none; else a list, strong. */
static _Thread_local PyObject *weak_made;

int pk_weak_made(PyObject *keeper) {
    if (!weak_made) /* another unpickler than this one */
        return 0;
    if (weak_made == Py_None) {
        PyObject *list = PyList_New(0);
        if (!list)
            return -1;
        weak_made = list;
    }
    return PyList_Append(weak_made, keeper);
}

/* The load has ended; takes obj and made. */
static PyObject *settle(PyObject *obj, PyObject *made) {
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *module = obj ? PyImport_ImportModule("ergon._weak") : NULL;
    PyObject *done = module ? PyObject_CallMethod(module, "settle", "OO", obj, made) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(done);
    if (!done)
        Py_CLEAR(obj);
    Py_DECREF(made);
    if (exception)
        PyErr_SetRaisedException(exception);
    return obj;
}

PyObject *pk_unpickler_load(struct unpickler *u, struct pk_source *source) {
    PyObject *outer = weak_made;
    weak_made = Py_None;
    u->source = source;
    if (source->buf) {
        u->start = (const unsigned char *)source->buf + source->pos;
        u->cur = u->start;
        u->end = (const unsigned char *)source->buf + source->len;
    }
    u->proto = u->base_proto;
    u->nmarks = 0;
    u->fence = 0;
    PyObject *obj = run(u);
    if (source->buf)
        source->pos = (size_t)(u->cur - (const unsigned char *)source->buf);
    if (!obj && !PyErr_Occurred())
        PyErr_SetString(PyExc_SystemError, "unpickler: an error without an exception");
    PyObject *made = weak_made;
    weak_made = outer;
    if (made && made != Py_None)
        obj = settle(obj, made);
    if (u->sp > 0) {
        PyObject *exception = PyErr_GetRaisedException();
        pk_drop_to(u, 0);
        if (exception)
            PyErr_SetRaisedException(exception);
    }
    return obj;
}

void pk_unpickler_fini(struct unpickler *u) {
    pk_drop_to(u, 0);
    for (size_t i = 0; u->nmemo > 0 && i < u->capmemo; i++) {
        PyObject *obj = u->memo[i];
        u->memo[i] = NULL;
        Py_XDECREF(obj);
    }
    for (int i = 0; u->interned && i < PK_INTERNED; i++) {
        Py_XDECREF(u->interned[i].raw);
        Py_XDECREF(u->interned[i].canonical);
    }
    PyMem_Free(u->interned);
    PyMem_Free(u->stack);
    PyMem_Free(u->marks);
    PyMem_Free(u->memo);
    u->stack = NULL;
    u->marks = NULL;
    u->memo = NULL;
    u->interned = NULL;
    u->cap = u->capmarks = 0;
    u->capmemo = 0;
}

PyObject *pk_load(PyObject *module, struct pk_source *source) {
    struct unpickler u;
    pk_unpickler_init(&u, pk_state_of(module));
    u.base_proto = 5; /* what a bare stream is written in */
    PyObject *obj = pk_unpickler_load(&u, source);
    if (u.nmemo > 0) {
        PyObject *exception = obj ? NULL : PyErr_GetRaisedException();
        pk_unpickler_fini(&u);
        if (exception)
            PyErr_SetRaisedException(exception);
    } else {
        pk_unpickler_fini(&u);
    }
    return obj;
}
