/* Protocol 0: numbers and strings as lines of text. */
#include "unpickler.h"

const char *pk_read_line(struct unpickler *u, Py_ssize_t *len) {
    const unsigned char *end =
        u->end > u->cur ? memchr(u->cur, '\n', (size_t)(u->end - u->cur)) : NULL;
    if (!end && u->refill && u->refill(u, 0) == 0)
        end = memchr(u->cur, '\n', (size_t)(u->end - u->cur));
    if (!end) {
        if (PyErr_Occurred())
            return NULL;
        core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR, "pickle data was truncated");
        return NULL;
    }
    const char *line = (const char *)u->cur;
    *len = end - u->cur;
    u->cur = end + 1;
    return line;
}

PyObject *pk_decode_py2(struct unpickler *u, const char *data, Py_ssize_t len) {
    if (u->as_bytes)
        return PyBytes_FromStringAndSize(data, len);
    if (!u->encoding)
        return PyUnicode_DecodeASCII(data, len, u->errors);
    const char *encoding = PyUnicode_AsUTF8(u->encoding);
    return encoding ? PyUnicode_Decode(data, len, encoding, u->errors) : NULL;
}

static PyObject *text_int(const char *line, Py_ssize_t len) {
    if (len == 2 && memcmp(line, "00", 2) == 0)
        Py_RETURN_FALSE;
    if (len == 2 && memcmp(line, "01", 2) == 0)
        Py_RETURN_TRUE;
    PyObject *text = PyUnicode_DecodeASCII(line, len, "strict");
    PyObject *value = text ? PyLong_FromUnicodeObject(text, 0) : NULL;
    Py_XDECREF(text);
    return value;
}

static PyObject *text_long(const char *line, Py_ssize_t len) {
    if (len > 0 && line[len - 1] == 'L')
        len--;
    PyObject *text = PyUnicode_DecodeASCII(line, len, "strict");
    PyObject *value = text ? PyLong_FromUnicodeObject(text, 0) : NULL;
    Py_XDECREF(text);
    return value;
}

static PyObject *text_float(const char *line, Py_ssize_t len) {
    PyObject *text = PyUnicode_DecodeASCII(line, len, "strict");
    PyObject *value = text ? PyFloat_FromString(text) : NULL;
    Py_XDECREF(text);
    return value;
}

static PyObject *text_string(struct unpickler *u, const char *line, Py_ssize_t len) {
    if (len < 2 || line[0] != line[len - 1] || (line[0] != '\'' && line[0] != '"')) {
        core_raise(u->st->module, CORE_EXC_UNPICKLING_ERROR,
                   "the STRING opcode argument must be quoted");
        return NULL;
    }
    PyObject *bytes = PyBytes_DecodeEscape(line + 1, len - 2, NULL, 0, NULL);
    if (!bytes)
        return NULL;
    PyObject *value = pk_decode_py2(u, PyBytes_AS_STRING(bytes), PyBytes_GET_SIZE(bytes));
    Py_DECREF(bytes);
    return value;
}

int pk_load_text(struct unpickler *u, unsigned char op) {
    Py_ssize_t len;
    const char *line = pk_read_line(u, &len);
    if (!line)
        return -1;
    switch (op) {
    case OP_INT:
        return pk_push_value(u, text_int(line, len));
    case OP_LONG:
        return pk_push_value(u, text_long(line, len));
    case OP_FLOAT:
        return pk_push_value(u, text_float(line, len));
    case OP_UNICODE:
        return pk_push_value(u, PyUnicode_DecodeRawUnicodeEscape(line, len, NULL));
    default:
        return pk_push_value(u, text_string(u, line, len));
    }
}
