/* The object behind an array whose memory lies in the arena of a pool. */
#include "pool.h"

struct pl_buffer {
    PyObject_HEAD struct pl_core *core;
    struct erg_member *member; /* frees go through it */
    uint64_t offset, len;
    void *data;
    PyObject *keep;
    int readonly;
    enum pl_buffer_kind kind;
};

PyObject *pl_buffer_new(struct pl_core *core, struct erg_member *member, uint64_t offset,
                        uint64_t len, int readonly, enum pl_buffer_kind kind, PyObject *keep) {
    void *data;
    if (kind == PL_BUFFER_MAPPED) {
        data = erg_arena_map_private(core->table, offset, len);
        if (!data)
            return PyErr_NoMemory();
    } else {
        data = erg_table_at(core->table, offset);
    }
    PyTypeObject *type = core->state->buffer_type;
    struct pl_buffer *self = (struct pl_buffer *)type->tp_alloc(type, 0);
    if (!self) {
        if (kind == PL_BUFFER_MAPPED)
            erg_arena_unmap_private(core->table, data, len);
        return NULL;
    }
    self->core = pl_core_ref(core);
    self->member = member;
    self->offset = offset;
    self->len = len;
    self->data = data;
    self->readonly = readonly;
    self->kind = kind;
    self->keep = Py_XNewRef(keep);
    return (PyObject *)self;
}

void pl_buffer_take(PyObject *buffer) {
    struct pl_buffer *self = (struct pl_buffer *)buffer;
    if (self->kind == PL_BUFFER_LENT)
        self->kind = PL_BUFFER_OWNED;
}

uint64_t pl_buffer_offset(PyObject *buffer) {
    return ((struct pl_buffer *)buffer)->offset;
}

int pl_buffer_detach(PyObject *buffer) {
    struct pl_buffer *self = (struct pl_buffer *)buffer;
    if (self->kind != PL_BUFFER_MAPPED)
        return 0;
    /* Writing to a page of a private mapping makes it our own. */
    for (uint64_t at = 0; at < self->len; at += 4096) {
        volatile char *page = (char *)self->data + at;
        *page = *page;
    }
    return 1;
}

static void buffer_dealloc(struct pl_buffer *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->kind == PL_BUFFER_MAPPED)
        erg_arena_unmap_private(self->core->table, self->data, self->len);
    else if (self->kind == PL_BUFFER_OWNED && !pl_core_foreign(self->core))
        erg_arena_free(self->member, self->offset);
    Py_XDECREF(self->keep);
    pl_core_unref(self->core);
    type->tp_free(self);
    Py_DECREF(type);
}

static int buffer_get(struct pl_buffer *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->data, (Py_ssize_t)self->len,
                             self->readonly, flags);
}

static PyType_Slot buffer_slots[] = {
    {Py_tp_dealloc, buffer_dealloc},
    {Py_bf_getbuffer, buffer_get},
    {Py_tp_doc, "Memory of a task's large argument or result."},
    {0, NULL},
};

static PyType_Spec buffer_spec = {
    .name = "ergon._core.Buffer",
    .basicsize = sizeof(struct pl_buffer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = buffer_slots,
};

int pl_buffer_register(struct pool_state *state) {
    state->buffer_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &buffer_spec, NULL);
    return state->buffer_type ? 0 : -1;
}
