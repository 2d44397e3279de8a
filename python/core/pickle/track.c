#include "track.h"

#include <sodium.h>

#include "code_info.h"
#include "pickler.h"

enum { ID_BYTES = 16, PURGE_FROM = 64 };

struct pk_track {
    PyObject *by_address; /* int(address) → (weakref, id, native, bytes it was made from or None) */
    PyObject *by_id;      /* id → weakref */
    Py_ssize_t purge_at;
};

struct pk_track *pk_track_new(void) {
    struct pk_track *track = PyMem_Calloc(1, sizeof *track);
    if (!track) {
        PyErr_NoMemory();
        return NULL;
    }
    track->by_address = PyDict_New();
    track->by_id = PyDict_New();
    track->purge_at = PURGE_FROM;
    if (track->by_address && track->by_id)
        return track;
    pk_track_free(track);
    return NULL;
}

void pk_track_free(struct pk_track *track) {
    if (!track)
        return;
    Py_CLEAR(track->by_address);
    Py_CLEAR(track->by_id);
    PyMem_Free(track);
}

int pk_track_traverse(struct pk_track *track, visitproc visit, void *arg) {
    if (track) {
        Py_VISIT(track->by_address);
        Py_VISIT(track->by_id);
    }
    return 0;
}

/* The object a weak reference refers to, or NULL: new reference. */
static PyObject *alive(PyObject *ref) {
    PyObject *obj = core_weakref_get(ref);
    return obj;
}

/* Forgets classes that are gone, now and then. */
static int purge(struct pk_track *track) {
    if (PyDict_GET_SIZE(track->by_address) < track->purge_at)
        return 0;
    PyObject *entries = PyDict_Copy(track->by_address), *key, *entry;
    Py_ssize_t pos = 0;
    int rc = entries ? 0 : -1;
    while (rc == 0 && PyDict_Next(entries, &pos, &key, &entry)) {
        PyObject *cls = alive(PyTuple_GET_ITEM(entry, 0));
        if (!cls) {
            PyObject *id = PyTuple_GET_ITEM(entry, 1);
            PyObject *ref = PyDict_GetItemWithError(track->by_id, id);
            if (ref == PyTuple_GET_ITEM(entry, 0))
                rc = PyDict_DelItem(track->by_id, id);
            if (rc == 0)
                rc = PyDict_DelItem(track->by_address, key);
        }
        Py_XDECREF(cls);
    }
    Py_XDECREF(entries);
    track->purge_at = PyDict_GET_SIZE(track->by_address) * 2 + PURGE_FROM;
    return rc;
}

/* The entry of a class: borrowed; NULL: none. */
static PyObject *entry_of(struct pk_track *track, PyObject *cls) {
    PyObject *key = PyLong_FromVoidPtr(cls);
    PyObject *entry = key ? PyDict_GetItemWithError(track->by_address, key) : NULL;
    Py_XDECREF(key);
    if (!entry)
        return NULL;
    PyObject *there = alive(PyTuple_GET_ITEM(entry, 0));
    Py_XDECREF(there);
    return there == cls ? entry : NULL;
}

/* A class that is gone lay at this address: its id goes before its entry is written over. */
static int forget(struct pk_track *track, PyObject *key, PyObject *id) {
    PyObject *entry = PyDict_GetItemWithError(track->by_address, key);
    if (!entry)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *old = PyTuple_GET_ITEM(entry, 1);
    int same = PyObject_RichCompareBool(old, id, Py_EQ);
    if (same != 0)
        return same < 0 ? -1 : 0;
    PyObject *ref = PyDict_GetItemWithError(track->by_id, old);
    if (ref != PyTuple_GET_ITEM(entry, 0))
        return PyErr_Occurred() ? -1 : 0;
    return PyDict_DelItem(track->by_id, old);
}

static int enter(struct pk_track *track, PyObject *cls, PyObject *id, int native, PyObject *bytes) {
    PyObject *ref = PyWeakref_NewRef(cls, NULL);
    PyObject *key = ref ? PyLong_FromVoidPtr(cls) : NULL;
    PyObject *entry = key ? PyTuple_Pack(4, ref, id, native ? Py_True : Py_False, bytes) : NULL;
    int rc = -1;
    if (entry && purge(track) == 0 && forget(track, key, id) == 0 &&
        PyDict_SetItem(track->by_address, key, entry) == 0)
        rc = PyDict_SetItem(track->by_id, id, ref);
    Py_XDECREF(ref);
    Py_XDECREF(key);
    Py_XDECREF(entry);
    return rc;
}

static void feed(crypto_generichash_state *hash, PyObject *text) {
    Py_ssize_t len = 0;
    const char *utf8 = text && PyUnicode_Check(text) ? PyUnicode_AsUTF8AndSize(text, &len) : NULL;
    if (!utf8)
        PyErr_Clear();
    crypto_generichash_update(hash, (const unsigned char *)&len, sizeof len);
    if (utf8)
        crypto_generichash_update(hash, (const unsigned char *)utf8, (size_t)len);
}

/* What tells classes apart: names, the code of methods, the types of everything else. */
static int feed_value(struct pk_state *st, crypto_generichash_state *hash, PyObject *value) {
    if (PyFunction_Check(value)) {
        const struct pk_code_info *info =
            pk_code_info_get(st, ((PyFunctionObject *)value)->func_code);
        if (!info)
            return -1;
        crypto_generichash_update(hash, (const unsigned char *)PyBytes_AS_STRING(info->bytes),
                                  (unsigned long long)PyBytes_GET_SIZE(info->bytes));
    } else if (PyUnicode_Check(value)) {
        feed(hash, value);
    } else {
        const char *name = Py_TYPE(value)->tp_name;
        crypto_generichash_update(hash, (const unsigned char *)name, strlen(name));
    }
    return 0;
}

/* Type variables are known by module and name. */
static PyObject *make_variable_id(struct pk_state *st, PyObject *variable) {
    unsigned char digest[ID_BYTES];
    crypto_generichash_state hash;
    crypto_generichash_init(&hash, NULL, 0, sizeof digest);
    PyObject *const names[] = {PK_STR(__module__), PK_STR(__name__)};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *text;
        if (PyObject_GetOptionalAttr(variable, names[i], &text) < 0)
            return NULL;
        feed(&hash, text);
        Py_XDECREF(text);
    }
    crypto_generichash_final(&hash, digest, sizeof digest);
    return PyBytes_FromStringAndSize((const char *)digest, sizeof digest);
}

static PyObject *make_id(struct pk_state *st, PyObject *cls) {
    if (!PyType_Check(cls))
        return make_variable_id(st, cls);
    unsigned char digest[ID_BYTES];
    crypto_generichash_state hash;
    PyObject *dict = core_type_dict((PyTypeObject *)cls), *name, *value;
    Py_ssize_t pos = 0;
    int rc = 0;
    crypto_generichash_init(&hash, NULL, 0, sizeof digest);
    PyObject *qualname = PyObject_GetAttr(cls, PK_STR(__qualname__));
    if (!qualname)
        PyErr_Clear();
    feed(&hash, qualname);
    Py_XDECREF(qualname);
    while (rc == 0 && PyDict_Next(dict, &pos, &name, &value)) {
        feed(&hash, name);
        rc = feed_value(st, &hash, value);
    }
    Py_DECREF(dict);
    crypto_generichash_final(&hash, digest, sizeof digest);
    return rc < 0 ? NULL : PyBytes_FromStringAndSize((const char *)digest, sizeof digest);
}

/* id, or id with a number behind it when another live class has it. */
static PyObject *free_id(struct pk_state *st, PyObject *id) {
    PyObject *candidate = Py_XNewRef(id);
    for (uint32_t i = 1; candidate; i++) {
        PyObject *holder = pk_track_find(st, candidate);
        if (!holder)
            break;
        Py_DECREF(holder);
        unsigned char longer[ID_BYTES + 4];
        memcpy(longer, PyBytes_AS_STRING(id), ID_BYTES);
        pk_le32(longer + ID_BYTES, i);
        Py_SETREF(candidate, PyBytes_FromStringAndSize((const char *)longer, sizeof longer));
    }
    if (candidate && PyErr_Occurred())
        Py_CLEAR(candidate);
    return candidate;
}

PyObject *pk_track_id(struct pk_state *st, PyObject *cls) {
    PyObject *entry = entry_of(st->track, cls);
    if (entry)
        return Py_NewRef(PyTuple_GET_ITEM(entry, 1));
    if (PyErr_Occurred())
        return NULL;
    PyObject *content = make_id(st, cls);
    PyObject *id = content ? free_id(st, content) : NULL;
    Py_XDECREF(content);
    if (id && enter(st->track, cls, id, 1, Py_None) < 0)
        Py_CLEAR(id);
    return id;
}

PyObject *pk_track_find(struct pk_state *st, PyObject *id) {
    PyObject *ref = PyDict_GetItemWithError(st->track->by_id, id);
    return ref ? alive(ref) : NULL;
}

int pk_track_adopt(struct pk_state *st, PyObject *cls, PyObject *id) {
    return enter(st->track, cls, id, 0, Py_None);
}

int pk_track_is_native(struct pk_state *st, PyObject *cls) {
    PyObject *entry = entry_of(st->track, cls);
    return entry && PyTuple_GET_ITEM(entry, 2) == Py_True;
}

int pk_track_same(struct pk_state *st, PyObject *cls, PyObject *bytes) {
    PyObject *entry = entry_of(st->track, cls), *made = entry ? PyTuple_GET_ITEM(entry, 3) : NULL;
    if (!made || !PyBytes_CheckExact(made) || PyBytes_GET_SIZE(made) != PyBytes_GET_SIZE(bytes))
        return 0;
    return memcmp(PyBytes_AS_STRING(made), PyBytes_AS_STRING(bytes),
                  (size_t)PyBytes_GET_SIZE(bytes)) == 0;
}

int pk_track_made_from(struct pk_state *st, PyObject *cls, PyObject *bytes) {
    PyObject *entry = entry_of(st->track, cls);
    if (!entry || PyTuple_GET_ITEM(entry, 2) == Py_True)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *id = Py_NewRef(PyTuple_GET_ITEM(entry, 1));
    int rc = enter(st->track, cls, id, 0, bytes);
    Py_DECREF(id);
    return rc;
}
