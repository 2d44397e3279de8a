/* Streams of one atom, written and read without the pickler: the bulk of what tiny tasks carry. The opcodes are
 * pickle's own, so either side may use the full pickler instead. */
#ifndef ERG_CORE_POOL_ATOM_H
#define ERG_CORE_POOL_ATOM_H

#include <Python.h>
#include <string.h>

#include "pool.h"

/* PL_ATOM_MAX bytes at `out`; 0: not an atom. */
static inline size_t pl_atom_dump(PyObject *obj, char *out) {
    if (obj == Py_None) {
        memcpy(out, "N.", 2);
        return 2;
    }
    if (PyBool_Check(obj)) {
        out[0] = obj == Py_True ? '\x88' : '\x89';
        out[1] = '.';
        return 2;
    }
    if (PyLong_CheckExact(obj)) {
        int overflow;
        long value = PyLong_AsLongAndOverflow(obj, &overflow);
        if (overflow || value < INT32_MIN || value > INT32_MAX)
            return 0;
        if (value >= 0 && value < 256) {
            out[0] = 'K';
            out[1] = (char)value;
            out[2] = '.';
            return 3;
        }
        if (value >= 0 && value < 65536) {
            out[0] = 'M';
            out[1] = (char)value;
            out[2] = (char)(value >> 8);
            out[3] = '.';
            return 4;
        }
        int32_t narrow = (int32_t)value;
        out[0] = 'J';
        memcpy(out + 1, &narrow, 4);
        out[5] = '.';
        return 6;
    }
    if (PyFloat_CheckExact(obj)) {
        uint64_t bits;
        double value = PyFloat_AS_DOUBLE(obj);
        memcpy(&bits, &value, 8);
        bits = __builtin_bswap64(bits);
        out[0] = 'G';
        memcpy(out + 1, &bits, 8);
        out[9] = '.';
        return 10;
    }
    if (PyUnicode_CheckExact(obj) && PyUnicode_IS_COMPACT_ASCII(obj) &&
        PyUnicode_GET_LENGTH(obj) <= 64) {
        size_t len = (size_t)PyUnicode_GET_LENGTH(obj);
        out[0] = '\x8c';
        out[1] = (char)len;
        memcpy(out + 2, PyUnicode_1BYTE_DATA(obj), len);
        out[2 + len] = '.';
        return len + 3;
    }
    return 0;
}

static inline PyObject *pl_atom_load(const char **p, const char *end) {
    const unsigned char *s = (const unsigned char *)*p;
    size_t left = (size_t)(end - *p);
    if (left < 2)
        return NULL;
    if (s[1] == '.' && (s[0] == 'N' || s[0] == 0x88 || s[0] == 0x89)) {
        *p += 2;
        return Py_NewRef(s[0] == 'N' ? Py_None : s[0] == 0x88 ? Py_True : Py_False);
    }
    if (left >= 3 && s[0] == 'K' && s[2] == '.') {
        *p += 3;
        return PyLong_FromLong(s[1]);
    }
    if (left >= 4 && s[0] == 'M' && s[3] == '.') {
        *p += 4;
        return PyLong_FromLong(s[1] | s[2] << 8);
    }
    if (left >= 6 && s[0] == 'J' && s[5] == '.') {
        int32_t value;
        memcpy(&value, s + 1, 4);
        *p += 6;
        return PyLong_FromLong(value);
    }
    if (left >= 10 && s[0] == 'G' && s[9] == '.') {
        uint64_t bits;
        memcpy(&bits, s + 1, 8);
        bits = __builtin_bswap64(bits);
        double value;
        memcpy(&value, &bits, 8);
        *p += 10;
        return PyFloat_FromDouble(value);
    }
    if (s[0] == 0x8c && left >= 3u + s[1] && s[1] <= 64 && s[2 + s[1]] == '.') {
        size_t len = s[1];
        for (size_t i = 0; i < len; i++)
            if (s[2 + i] & 0x80)
                return NULL;
        PyObject *text = PyUnicode_New((Py_ssize_t)len, 127);
        if (!text)
            return NULL;
        memcpy(PyUnicode_1BYTE_DATA(text), s + 2, len);
        *p += len + 3;
        return text;
    }
    return NULL;
}

#endif
