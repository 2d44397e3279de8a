/* A sink that ends as a bytes object: short streams stay in the struct, longer ones are written where the
 * bytes object will have them. */
#include "pickler.h"

static int grow(struct pk_sink *sink, size_t need) {
    struct pk_bytes_sink *self = (struct pk_bytes_sink *)sink;
    if (need > (size_t)PY_SSIZE_T_MAX / 4 || sink->len > (size_t)PY_SSIZE_T_MAX / 4) {
        PyErr_NoMemory();
        return -1;
    }
    size_t cap = sink->len + sink->len / 2;
    if (cap < sink->len + need)
        cap = sink->len + need;
    cap += 1024;
    if (!self->bytes) {
        self->bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)cap);
        if (!self->bytes)
            return -1;
        memcpy(PyBytes_AS_STRING(self->bytes), self->small, sink->len);
    } else if (_PyBytes_Resize(&self->bytes, (Py_ssize_t)cap) < 0) {
        sink->buf = self->small;
        sink->len = 0;
        sink->cap = sizeof self->small;
        return -1;
    }
    sink->buf = PyBytes_AS_STRING(self->bytes);
    sink->cap = cap;
    return 0;
}

void pk_bytes_sink_init(struct pk_bytes_sink *sink) {
    sink->base = (struct pk_sink){sink->small, 0, sizeof sink->small, grow, NULL};
    sink->grow = grow;
    sink->bytes = NULL;
}

PyObject *pk_bytes_sink_take(struct pk_bytes_sink *sink) {
    if (!sink->bytes)
        return PyBytes_FromStringAndSize(sink->small, (Py_ssize_t)sink->base.len);
    PyObject *bytes = sink->bytes;
    sink->bytes = NULL;
    if (_PyBytes_Resize(&bytes, (Py_ssize_t)sink->base.len) < 0)
        return NULL;
    return bytes;
}

void pk_bytes_sink_fini(struct pk_bytes_sink *sink) {
    Py_CLEAR(sink->bytes);
}
