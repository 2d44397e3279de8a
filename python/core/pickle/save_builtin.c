/* Built-in values: strings, bytes, big ints. Sets have a file of their own. */
#include "pickler.h"

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

/* --- texts and bytes: equal ones are written once --------------------------------------------------------- */

struct text {
    const char *data;
    size_t len;
    PyObject *made; /* strong or NULL: what data is in, if not in the object */
};

/* The UTF-8 of a str, or what is in bytes. */
static int text_of(PyObject *obj, struct text *text) {
    Py_ssize_t len;
    text->made = NULL;
    if (PyBytes_CheckExact(obj)) {
        text->data = PyBytes_AS_STRING(obj);
        len = PyBytes_GET_SIZE(obj);
    } else if (PyUnicode_IS_COMPACT_ASCII(obj)) {
        text->data = (const char *)PyUnicode_1BYTE_DATA(obj);
        len = PyUnicode_GET_LENGTH(obj);
    } else if (!(text->data = PyUnicode_AsUTF8AndSize(obj, &len))) {
        if (!PyErr_ExceptionMatches(PyExc_UnicodeEncodeError))
            return -1;
        PyErr_Clear();
        text->made = PyUnicode_AsEncodedString(obj, "utf-8", "surrogatepass");
        if (!text->made)
            return -1;
        text->data = PyBytes_AS_STRING(text->made);
        len = PyBytes_GET_SIZE(text->made);
    }
    text->len = (size_t)len;
    return 0;
}

/* The text was written at `at`, by write_counted(). */
static int written_there(const unsigned char *at, enum pk_value_kind kind,
                         const struct text *text) {
    int str = kind == PK_V_STR;
    size_t head = 9;
    if (text->len < 256) {
        if (at[0] != (str ? OP_SHORT_BINUNICODE : OP_SHORT_BINBYTES) || at[1] != text->len)
            return 0;
        head = 2;
    } else if (text->len <= UINT32_MAX) {
        if (at[0] != (str ? OP_BINUNICODE : OP_BINBYTES) || pk_read32(at + 1) != text->len)
            return 0;
        head = 5;
    } else if (at[0] != (str ? OP_BINUNICODE8 : OP_BINBYTES8) || pk_read64(at + 1) != text->len) {
        return 0;
    }
    return memcmp(at + head, text->data, text->len) == 0;
}

static int same_object(PyObject *other, PyObject *obj) {
    if (PyUnicode_CheckExact(obj))
        return PyUnicode_CheckExact(other) && PyUnicode_Compare(other, obj) == 0;
    return PyBytes_CheckExact(other) && PyBytes_GET_SIZE(other) == PyBytes_GET_SIZE(obj) &&
           memcmp(PyBytes_AS_STRING(other), PyBytes_AS_STRING(obj),
                  (size_t)PyBytes_GET_SIZE(obj)) == 0;
}

/* The slot of an equal text, or the free one where it belongs; there must be room. */
static inline struct pk_value_slot *find_text(const struct pickler *p, PyObject *obj,
                                              enum pk_value_kind kind, const struct text *text,
                                              uint32_t hash) {
    const struct pk_values *values = &p->values;
    for (uint32_t i = hash & values->mask;; i = (i + 1) & values->mask) {
        struct pk_value_slot *slot = &values->slots[i];
        if (!slot->entry)
            return slot;
        if (slot->hash != hash)
            continue;
        const struct pk_value_entry *entry = &values->entries[slot->entry - 1];
        if (entry->kind != (uint32_t)kind)
            continue;
        const unsigned char *at = (const unsigned char *)p->sink->buf + entry->at;
        if (p->keeps ? same_object((PyObject *)entry->at, obj) : written_there(at, kind, text))
            return slot;
    }
}

static enum pk_value_kind kind_of(PyObject *obj) {
    return PyUnicode_CheckExact(obj) ? PK_V_STR : PK_V_BYTES;
}

/* find_text() for who has nothing yet; NULL: exception. */
static struct pk_value_slot *slot_of(struct pickler *p, PyObject *obj, uint32_t *hash) {
    struct text text;
    if (pk_values_room(&p->values) < 0 || text_of(obj, &text) < 0)
        return NULL;
    *hash = pk_hash(p->st->seed, kind_of(obj), text.data, text.len);
    struct pk_value_slot *slot = find_text(p, obj, kind_of(obj), &text, *hash);
    Py_XDECREF(text.made);
    return slot;
}

int pk_text_index(struct pickler *p, PyObject *obj, uint32_t *index) {
    uint32_t hash;
    if (pk_memo_find(&p->memo, obj, index))
        return 1;
    const struct pk_value_slot *slot = slot_of(p, obj, &hash);
    if (!slot)
        return -1;
    if (slot->entry)
        *index = p->values.entries[slot->entry - 1].index;
    return slot->entry != 0;
}

int pk_text_learn(struct pickler *p, PyObject *obj, uint32_t index) {
    uint32_t hash;
    struct pk_value_slot *slot = slot_of(p, obj, &hash);
    if (slot && !slot->entry)
        pk_values_fill(&p->values, slot, hash, kind_of(obj), (size_t)obj, index);
    return slot ? 0 : -1;
}

static int write_text(struct pickler *p, enum pk_value_kind kind, const struct text *text) {
    return kind == PK_V_STR ? pk_write_str(p, text->data, text->len)
                            : pk_write_bytes(p, text->data, text->len);
}

/* Writes a text or bytes, or which equal one it is. */
static inline int save_text(struct pickler *p, PyObject *obj, enum pk_value_kind kind,
                            const struct text *text, int once) {
    if (p->flags & PK_CANONICAL)
        return write_text(p, kind, text) < 0 ? -1 : pk_write_unfound(p);
    if (pk_values_room(&p->values) < 0)
        return -1;
    uint32_t hash = pk_hash(p->st->seed, kind, text->data, text->len);
    struct pk_value_slot *slot = find_text(p, obj, kind, text, hash);
    if (slot->entry)
        return pk_get(p, p->values.entries[slot->entry - 1].index);
    size_t at = p->keeps ? (size_t)obj : (size_t)(p->cur - (unsigned char *)p->sink->buf);
    if (write_text(p, kind, text) < 0 || pk_write_put(p) < 0 ||
        (!once && pk_memo_put(&p->memo, obj, p->next - 1) < 0))
        return -1; /* what is known by an object has to be kept first */
    pk_values_fill(&p->values, slot, hash, kind, at, p->next - 1);
    return 0;
}

/* Nobody looks for it by its address. */
static int met_once(const struct pickler *p, PyObject *obj) {
    return p->flags & PK_CANONICAL || (core_only_ref(obj) && !p->keeps);
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
    struct text text;
    int rc, once = met_once(p, obj);
    if (!once && (rc = pk_seen(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    if (text_of(obj, &text) < 0)
        return -1;
    rc = save_text(p, obj, PK_V_STR, &text, once);
    Py_XDECREF(text.made);
    return rc;
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
static int write_old_bytes(struct pickler *p, PyObject *obj) {
    Py_ssize_t base = p->nframes, len = PyBytes_GET_SIZE(obj);
    int rc;
    if (len == 0) {
        rc = pk_save_old(p, obj, "builtins.bytes", PyTuple_New(0));
    } else {
        PyObject *text = PyUnicode_DecodeLatin1(PyBytes_AS_STRING(obj), len, NULL);
        rc = pk_save_old(p, obj, "_codecs.encode",
                         text ? Py_BuildValue("(Ns)", text, "latin1") : NULL);
    }
    return rc == 0 ? pk_run(p, base) : rc;
}

static int save_old_bytes(struct pickler *p, PyObject *obj) {
    uint32_t index;
    int rc = pk_text_index(p, obj, &index);
    if (rc)
        return rc < 0 ? -1 : pk_get(p, index);
    Py_INCREF(obj);
    rc = write_old_bytes(p, obj);
    if (rc == 0 && pk_memo_find(&p->memo, obj, &index))
        rc = pk_text_learn(p, obj, index);
    Py_DECREF(obj);
    return rc;
}

static int save_bytes(struct pickler *p, PyObject *obj) {
    int rc, once = met_once(p, obj);
    if (!once && (rc = pk_seen(p, obj)) != 0)
        return rc < 0 ? -1 : 0;
    size_t len = (size_t)PyBytes_GET_SIZE(obj);
    if (p->proto < 4 && len > UINT32_MAX) {
        PyErr_SetString(PyExc_OverflowError, "bytes beyond 4 GiB need protocol 4");
        return -1;
    }
    if (p->proto < 3)
        return save_old_bytes(p, obj);
    if (len >= PK_BUFFER_THRESHOLD && p->hooks->buffer && (p->flags & PK_BARE)) {
        Py_INCREF(obj);
        rc = bytes_out_of_band(p, obj);
        Py_DECREF(obj);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    struct text text = {PyBytes_AS_STRING(obj), len, NULL};
    return save_text(p, obj, PK_V_BYTES, &text, once);
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
    if (len >= PK_BUFFER_THRESHOLD && p->hooks->buffer && (p->flags & PK_BARE)) {
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
