/* Handle: an object that was put into the pool's memory once and can be an argument of any number of tasks.
 *
 * A worker that loads it keeps the loaded object and says so in the head's bit set; memory goes back when the
 * handle is gone and no worker holds a view any more. Tasks hold the handles among their arguments, so a handle is
 * never gone while a task that takes it can still start. */
#include "pool.h"

struct pl_handle {
    PyObject_HEAD struct pl_core *core;
    uint64_t head;    /* offset of its pl_blob_head, 0 by reference */
    PyObject *object; /* by reference */
};

/* A handle that is gone while workers still hold views. */
struct pl_blob {
    struct pl_blob *next;
    uint64_t head;
};

void pl_blob_sweep(struct pl_core *core) {
    for (struct pl_blob **link = &core->blobs; *link;) {
        struct pl_blob *blob = *link;
        if (erg_blob_held(core->table, blob->head)) {
            link = &blob->next;
            continue;
        }
        *link = blob->next;
        erg_blob_free(core->member, blob->head);
        PyMem_Free(blob);
    }
}

void pl_blob_clear(struct pl_core *core) {
    while (core->blobs) {
        struct pl_blob *blob = core->blobs;
        core->blobs = blob->next;
        PyMem_Free(blob);
    }
}

PyObject *pl_handle_new(struct pl_core *core, PyObject *obj, int fresh) {
    if (pl_core_check(core) < 0)
        return NULL;
    pl_blob_sweep(core);
    PyTypeObject *type = core->state->handle_type;
    struct pl_handle *self = (struct pl_handle *)type->tp_alloc(type, 0);
    if (!self)
        return NULL;
    self->core = pl_core_ref(core);
    if (core->by_reference) {
        self->object = Py_NewRef(obj);
        return (PyObject *)self;
    }
    struct pl_writer w;
    struct erg_payload payload;
    struct erg_error err;
    struct erg_member *member = pl_member(core);
    size_t head_size = erg_blob_head_size(core->table);
    int rc = pl_writer_init(&w, core, member, NULL, 0, 0);
    w.entry_flags = ERG_REF_SHARED;
    w.hooks.in_band = fresh ? PK_AS_IT_IS : PK_READ_ONLY;
    w.settle = 1;
    if (rc == 0)
        rc = pl_writer_dump(&w, obj, "put(obj)");
    if (rc == 0)
        rc = pl_writer_finish(&w, &payload);
    pl_writer_fini(&w);
    if (rc == 0 && (rc = erg_arena_alloc(member, head_size, &self->head, &err)) < 0) {
        self->head = 0;
        core_raise_error(core->state->module, rc, &err);
    }
    if (rc < 0) {
        Py_DECREF(self);
        return NULL;
    }
    struct erg_blob_head *head = erg_table_at(core->table, self->head);
    memset(head, 0, head_size);
    head->uid = pl_uid(core, member);
    head->offset = payload.offset;
    head->len = payload.len;
    head->fresh = (uint32_t)fresh;
    return (PyObject *)self;
}

uint64_t pl_handle_head(PyObject *handle) {
    struct pl_handle *self = (struct pl_handle *)handle;
    if (!self->head)
        PyErr_SetString(PyExc_TypeError,
                        "this handle belongs to a pool of threads: it cannot leave the process");
    return self->head;
}

int pl_handle_check(PyObject *handle, struct pl_core *core) {
    if (((struct pl_handle *)handle)->core == core)
        return 0;
    core_raise(core->state->module, CORE_EXC_PICKLING_ERROR,
               "this handle was put() into another pool: put() the object into this one");
    return -1;
}

PyObject *pl_handle_object(PyObject *handle) {
    return ((struct pl_handle *)handle)->object;
}

static void handle_dealloc(struct pl_handle *self) {
    PyTypeObject *type = Py_TYPE(self);
    struct pl_core *core = self->core;
    if (self->head && !pl_core_foreign(core)) {
        struct erg_blob_head *head = erg_table_at(core->table, self->head);
        atomic_store_explicit(&head->dead, 1, memory_order_release);
        struct pl_blob *blob =
            erg_blob_held(core->table, self->head) ? PyMem_Malloc(sizeof *blob) : NULL;
        if (blob) {
            blob->head = self->head;
            blob->next = core->blobs;
            core->blobs = blob;
        } else if (!erg_blob_held(core->table, self->head)) {
            erg_blob_free(core->member, self->head);
        }
    }
    Py_XDECREF(self->object);
    if (core)
        pl_core_unref(core);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *handle_repr(struct pl_handle *self) {
    return PyUnicode_FromFormat("<ergon put handle at %p>", self);
}

static PyType_Slot handle_slots[] = {
    {Py_tp_dealloc, handle_dealloc},
    {Py_tp_repr, handle_repr},
    {Py_tp_doc, "What Pool.put() returns: stands for the object wherever a task takes an argument. "
                "The object travels\n"
                "to each worker once; tasks see it read-only where it is an array, and should not "
                "modify it elsewhere."},
    {0, NULL},
};

static PyType_Spec handle_spec = {
    .name = "ergon._core.Handle",
    .basicsize = sizeof(struct pl_handle),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = handle_slots,
};

int pl_handle_register(struct pool_state *state) {
    state->handle_type =
        (PyTypeObject *)PyType_FromModuleAndSpec(state->module, &handle_spec, NULL);
    return state->handle_type && PyModule_AddType(state->module, state->handle_type) == 0 ? 0 : -1;
}
