/* Built-in values: strings, bytes, big ints. Sets have a file of their own. */
#include "pickler.h"

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
