#include "room.h"

#include <sodium.h>

#include "../state.h"
#include "code_info.h"
#include "pickler.h"
#include "track.h"
#include "types.h"

struct pk_state *pk_state_of(PyObject *module) {
    return core_state_of(module)->pickle;
}

static const char *const strings[PK_STR_COUNT] = {
#define X(name) [PK_STR_##name] = #name,
    PK_STRINGS(X)
#undef X
};

static int copyreg_parts(struct pk_state *st) {
    PyObject *copyreg = PyImport_ImportModule("copyreg");
    if (!copyreg)
        return -1;
    st->dispatch_table = PyObject_GetAttrString(copyreg, "dispatch_table");
    st->ext_registry = PyObject_GetAttrString(copyreg, "_extension_registry");
    st->ext_inverted = PyObject_GetAttrString(copyreg, "_inverted_registry");
    Py_DECREF(copyreg);
    if (!st->dispatch_table || !st->ext_registry || !st->ext_inverted)
        return -1;
    if (PyDict_CheckExact(st->dispatch_table) && PyDict_CheckExact(st->ext_registry) &&
        PyDict_CheckExact(st->ext_inverted))
        return 0;
    PyErr_SetString(PyExc_RuntimeError, "copyreg's tables should be dicts");
    return -1;
}

struct pk_state *pk_state_new(PyObject *module) {
    struct pk_state *st = PyMem_Calloc(1, sizeof *st);
    if (!st) {
        PyErr_NoMemory();
        return NULL;
    }
    st->module = module;
    randombytes_buf(&st->seed, sizeof st->seed);
    for (int i = 0; i < PK_STR_COUNT; i++)
        if (!(st->str[i] = PyUnicode_InternFromString(strings[i])))
            goto fail;
    st->empty_tuple = PyTuple_New(0);
    st->core_name = PyUnicode_InternFromString("ergon._core");
    st->by_value = PySet_New(NULL);
    st->ref_types = PySet_New(NULL);
    st->helper_index = PyDict_New();
    st->track = pk_track_new();
    st->blobs = pk_blobs_new();
    st->code_slot = pk_code_slot_new();
    if (st->empty_tuple && st->core_name && st->by_value && st->ref_types && st->helper_index &&
        st->track && st->blobs && st->code_slot >= 0 && copyreg_parts(st) == 0)
        return st;
fail:
    pk_state_free(st);
    return NULL;
}

int pk_state_traverse(struct pk_state *st, visitproc visit, void *arg) {
    for (int i = 0; i < PK_HELPER_COUNT; i++)
        Py_VISIT(st->helper[i]);
    Py_VISIT(st->helper_index);
    Py_VISIT(st->dispatch_table);
    Py_VISIT(st->ext_registry);
    Py_VISIT(st->ext_inverted);
    Py_VISIT(st->reducers);
    Py_VISIT(st->reducer_for);
    Py_VISIT(st->by_value);
    Py_VISIT(st->keeper);
    Py_VISIT(st->due_globals);
    Py_VISIT(st->ref_types);
    Py_VISIT(st->main_names);
    Py_VISIT(st->compat[0]);
    Py_VISIT(st->compat[1]);
    Py_VISIT(st->pickler_type);
    Py_VISIT(st->unpickler_type);
    Py_VISIT(st->enum_meta);
    int rc = pk_blobs_traverse(st->blobs, visit, arg);
    return rc ? rc : pk_track_traverse(st->track, visit, arg);
}

void pk_state_clear(struct pk_state *st) {
    for (int i = 0; i < PK_HELPER_COUNT; i++)
        Py_CLEAR(st->helper[i]);
    Py_CLEAR(st->helper_index);
    Py_CLEAR(st->dispatch_table);
    Py_CLEAR(st->ext_registry);
    Py_CLEAR(st->ext_inverted);
    Py_CLEAR(st->reducers);
    Py_CLEAR(st->reducer_for);
    Py_CLEAR(st->by_value);
    Py_CLEAR(st->keeper);
    Py_CLEAR(st->due_globals);
    Py_CLEAR(st->ref_types);
    Py_CLEAR(st->main_names);
    Py_CLEAR(st->compat[0]);
    Py_CLEAR(st->compat[1]);
    Py_CLEAR(st->pickler_type);
    Py_CLEAR(st->unpickler_type);
    Py_CLEAR(st->enum_meta);
    pk_blobs_clear(st->blobs);
}

void pk_state_free(struct pk_state *st) {
    pk_state_clear(st);
    for (int i = 0; i < PK_STR_COUNT; i++)
        Py_CLEAR(st->str[i]);
    Py_CLEAR(st->empty_tuple);
    Py_CLEAR(st->core_name);
    pk_track_free(st->track);
    PyMem_Free(st->blobs);
    if (st->spare) {
        pk_pickler_fini(st->spare);
        PyMem_Free(st->spare);
    }
    PyMem_Free(st);
}

int pk_register_ref_type(PyObject *module, PyTypeObject *type) {
    return PySet_Add(pk_state_of(module)->ref_types, (PyObject *)type);
}

static int collect_helpers(PyObject *module, struct pk_state *st) {
    if (PyModule_AddFunctions(module, pk_rebuild_methods) < 0)
        return -1;
    for (int i = 0; i < PK_HELPER_COUNT; i++) {
        st->helper[i] = PyObject_GetAttrString(module, pk_helper_names[i]);
        if (!st->helper[i] ||
            PyDict_SetItemString(st->helper_index, pk_helper_names[i], st->helper[i]) < 0)
            return -1;
    }
    return 0;
}

int pk_exec(PyObject *module) {
    struct pk_state *st = pk_state_of(module);
    if (collect_helpers(module, st) < 0 || PyModule_AddFunctions(module, pk_module_methods) < 0)
        return -1;
    return pk_types_add(module, st);
}
