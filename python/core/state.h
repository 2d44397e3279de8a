/* What belongs to one instance of the module ergon._core: one pointer per room, each owned here and freed with
 * the module. A room's struct is private to the room; rooms never look into each other's.
 *
 * To add a room NAME: give it `struct NAME_state`, a pointer below, and the five functions module.c calls
 * (state_new, state_traverse, state_clear, state_free, exec); list its sources in NAME/meson.build.
 *
 * Everything here needs the GIL. */
#ifndef ERG_CORE_STATE_H
#define ERG_CORE_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "raise.h"

struct pk_state;
struct pool_state;
struct flow_state;

struct core_state {
    PyObject *exceptions
        [CORE_EXC_COUNT]; /* classes of ergon.errors, looked up when first raised; raise.c */
    struct pk_state *pickle;
    struct pool_state *pool;
    struct flow_state *flow;
};

/* The definition types name in PyType_GetModuleByDef(). */
extern struct PyModuleDef core_module_def;

/* `module` is the module object ergon._core; never fails. */
static inline struct core_state *core_state_of(PyObject *module) {
    return (struct core_state *)PyModule_GetState(module);
}

/* The module a heap type of ours (or a subclass of one) belongs to: borrowed; NULL with TypeError set. */
static inline PyObject *core_module_of(PyTypeObject *type) {
    return PyType_GetModuleByDef(type, &core_module_def);
}

#endif
