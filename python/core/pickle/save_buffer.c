/* PickleBuffer: out of band when somebody takes it, else as the bytes or bytearray it is. */
#include "pickler.h"

int pk_offer_buffer(struct pickler *p, PyObject *pickle_buffer, int *taken) {
    const Py_buffer *view = PyPickleBuffer_GetBuffer(pickle_buffer);
    if (!view)
        return -1;
    int readonly = view->readonly;
    *taken = 0;
    if (!p->hooks->buffer)
        return 0;
    int rc = p->hooks->buffer(p->hooks->ctx, pickle_buffer);
    if (rc <= 0)
        return rc;
    *taken = 1;
    if (pk_put(p, OP_NEXT_BUFFER) < 0)
        return -1;
    return readonly && rc == 1 ? pk_put(p, OP_READONLY_BUFFER) : 0;
}

static int arrives_readonly(const struct pickler *p, const Py_buffer *view) {
    if (p->flags & PK_CANONICAL) /* who may write to it is nothing of the value */
        return 1;
    if (p->hooks->in_band == PK_WRITABLE)
        return view->readonly && view->obj && PyBytes_Check(view->obj);
    return view->readonly || p->hooks->in_band == PK_READ_ONLY;
}

int pk_save_buffer(struct pickler *p, PyObject *obj) {
    int taken;
    pk_watch_mutable(p);
    if (p->proto < 5) {
        core_raise(p->st->module, CORE_EXC_PICKLING_ERROR,
                   "PickleBuffer can only be pickled with protocol >= 5");
        return -1;
    }
    const Py_buffer *view = PyPickleBuffer_GetBuffer(obj);
    if (!view)
        return -1;
    if (!PyBuffer_IsContiguous(view, 'A')) {
        core_raise(p->st->module, CORE_EXC_PICKLING_ERROR,
                   "PickleBuffer can not be pickled when pointing to a non-contiguous buffer");
        return -1;
    }
    if (pk_offer_buffer(p, obj, &taken) < 0)
        return -1;
    if (taken)
        return 0;
    view = PyPickleBuffer_GetBuffer(obj);
    if (!view)
        return -1;
    if (arrives_readonly(p, view)) {
        if (pk_write_bytes(p, view->buf, (size_t)view->len) < 0)
            return -1;
    } else {
        if (pk_reserve(p, (size_t)view->len + 9) < 0)
            return -1;
        *p->cur = OP_BYTEARRAY8;
        pk_le64(p->cur + 1, (uint64_t)view->len);
        memcpy(p->cur + 9, view->buf, (size_t)view->len);
        p->cur += 9 + view->len;
    }
    return pk_memoize(p, obj);
}
