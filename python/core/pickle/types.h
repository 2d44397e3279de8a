/* What this room puts into ergon._core: the functions dumps, loads, dump, load, copy, … (pickle_module.c) and
 * the types Pickler (pickler_type.c) and Unpickler (unpickler_type.c). */
#ifndef ERG_CORE_PICKLE_TYPES_H
#define ERG_CORE_PICKLE_TYPES_H

#include "../state.h"
#include "pickler.h"
#include "unpickler.h"

extern PyMethodDef pk_module_methods[];
extern PyType_Spec pk_pickler_spec, pk_unpickler_spec, pk_callee_spec;
int pk_types_add(PyObject *module, struct pk_state *st);

/* Hooks that call a Python callable for buffers: ctx of pk_call_buffer is the callable. */
int pk_call_buffer(void *callback, PyObject *pickle_buffer);

/* Where loads() takes its buffers: an iterator, or NULL. */
struct pk_buffers {
    PyObject *module;
    PyObject *iterator;
};
PyObject *pk_next_of_buffers(void *ctx);

/* The content name of obj, `size` bytes: new reference to bytes, or NULL (digest.c). */
PyObject *pk_digest(PyObject *module, PyObject *obj, Py_ssize_t size);

/* A protocol as users give it: None and negative numbers are the highest. -1 with an exception. */
int pk_protocol(PyObject *given);

#endif
