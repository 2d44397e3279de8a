/* Classes by value inside tasks and results.
 *
 * A program maps over instances of its own classes, and each task carries the whole class. So between the
 * processes of a pool a class by value is a call of _pk_class_blob(id, bytes), whose bytes (the class as a pickle
 * of its own) are made once and kept while nothing they were made from changes. Who loads it and knows a class
 * of that id looks no further: it is a class of its own program, or the same bytes made it before.
 *
 * The bytes are kept for a class of this program while its witnesses hold (callee.c), and for a class that came
 * from another process while its type version holds. A class with mutable attributes is written in full each
 * time. Kept are as many classes as the table below has slots; the last one to need a slot has it. */
#include "pickler.h"
#include "track.h"

struct pk_blob {
    struct pk_callee callee; /* of the class; callable NULL: the slot is free */
    unsigned int version;
};

static struct pk_blob *slot_of(struct pk_state *st, PyObject *cls) {
    return &st->blobs[((uintptr_t)cls >> 4 ^ (uintptr_t)cls >> 11) % PK_BLOBS];
}

struct pk_blob *pk_blobs_new(void) {
    return PyMem_Calloc(PK_BLOBS, sizeof(struct pk_blob));
}

void pk_blobs_clear(struct pk_blob *blobs) {
    for (int i = 0; blobs && i < PK_BLOBS; i++)
        if (blobs[i].callee.callable)
            pk_callee_fini(&blobs[i].callee);
}

int pk_blobs_traverse(const struct pk_blob *blobs, visitproc visit, void *arg) {
    for (int i = 0; blobs && i < PK_BLOBS; i++) {
        int rc = blobs[i].callee.callable ? pk_callee_traverse(&blobs[i].callee, visit, arg) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

static int still_right(struct pk_state *st, const struct pk_blob *blob, PyObject *cls) {
    if (blob->callee.callable != cls || !core_type_version_is((PyTypeObject *)cls, blob->version))
        return 0;
    /* A class from elsewhere mostly goes back there, where nobody reads the bytes. */
    return !pk_track_is_native(st, cls) || (blob->callee.stable && pk_callee_valid(&blob->callee));
}

/* The class's bytes: borrowed from the slot; NULL: it has to be written in full, or an exception. */
static PyObject *bytes_of(struct pickler *p, PyObject *cls) {
    struct pk_state *st = p->st;
    struct pk_blob *blob = slot_of(st, cls);
    if (still_right(st, blob, cls))
        return blob->callee.bytes;
    if (blob->callee.callable == cls && !blob->callee.stable &&
        core_type_version_is((PyTypeObject *)cls, blob->version))
        return NULL; /* had something mutable in it, and still has */
    struct pk_blob fresh = {.version = 0};
    if (pk_callee_init(st->module, cls, NULL, &fresh.callee) < 0) {
        if (PyErr_ExceptionMatches(PyExc_Exception))
            PyErr_Clear(); /* comes again, with the path to here, when the class is written in full */
        return NULL;
    }
    fresh.version = pk_type_version((PyTypeObject *)cls);
    struct pk_blob old = *blob;
    *blob = fresh;
    if (old.callee.callable)
        pk_callee_fini(&old.callee);
    blob = slot_of(st, cls); /* dropping the old one may have run anything */
    return still_right(st, blob, cls) ? blob->callee.bytes : NULL;
}

int pk_save_class_blob(struct pickler *p, PyObject *cls) {
    static const char call[] = {OP_TUPLE2, OP_REDUCE};
    if (!(p->flags & PK_BARE) || p->flags & (PK_BYREF | PK_CANONICAL) || p->watch || p->nested)
        return 0;
    PyObject *bytes = Py_XNewRef(bytes_of(p, cls));
    if (!bytes)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *id = pk_track_id(p->st, cls);
    int rc = -1;
    if (id && pk_write_helper(p, PK_HELPER_CLASS_BLOB) == 0 && pk_save(p, id) == 0 &&
        pk_write_bytes(p, PyBytes_AS_STRING(bytes), (size_t)PyBytes_GET_SIZE(bytes)) == 0 &&
        pk_write(p, call, sizeof call) == 0 && pk_memoize(p, cls) == 0)
        rc = 1;
    Py_XDECREF(id);
    Py_DECREF(bytes);
    return rc;
}

/* (id, bytes) */
PyObject *pk_rebuild_class_blob(PyObject *module, PyObject *const *args, Py_ssize_t n) {
    struct pk_state *st = pk_state_of(module);
    if (n != 2 || !PyBytes_CheckExact(args[0]) || !PyBytes_CheckExact(args[1])) {
        PyErr_SetString(PyExc_TypeError, "_pk_class_blob() wants an id and bytes");
        return NULL;
    }
    PyObject *cls = pk_track_find(st, args[0]);
    if (cls && (pk_track_is_native(st, cls) || pk_track_same(st, cls, args[1])))
        return cls;
    Py_XDECREF(cls);
    if (PyErr_Occurred() || Py_EnterRecursiveCall(" while loading a class"))
        return NULL;
    struct pk_source source = {.buf = PyBytes_AS_STRING(args[1]),
                               .len = (size_t)PyBytes_GET_SIZE(args[1])};
    cls = pk_load(module, &source);
    Py_LeaveRecursiveCall();
    if (cls && pk_track_made_from(st, cls, args[1]) < 0)
        Py_CLEAR(cls);
    return cls;
}
