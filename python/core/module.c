/* ergon._core: wiring only. Each room brings its types and functions in its exec function and keeps its
 * state in its own struct; see state.h for how a room is added. */
#include "state.h"

#include "compat.h"

#include <ergon/ergon.h>

#if CORE_HAVE_PICKLE
#include "pickle/pickle.h"
#endif
#if CORE_HAVE_POOL
#include "pool/pool.h"
#endif
#if CORE_HAVE_FLOW
#include "flow/flow.h"
#endif

static int core_exec(PyObject *module) {
    struct core_state *state = core_state_of(module);
    (void)state;
#if CORE_HAVE_PICKLE
    state->pickle = pk_state_new(module);
    if (!state->pickle || pk_exec(module) < 0)
        return -1;
#endif
#if CORE_HAVE_POOL
    state->pool = pool_state_new(module);
    if (!state->pool || pool_exec(module) < 0)
        return -1;
#endif
#if CORE_HAVE_FLOW
    state->flow = flow_state_new(module);
    if (!state->flow || flow_exec(module) < 0)
        return -1;
#endif
    return 0;
}

static int core_traverse(PyObject *module, visitproc visit, void *arg) {
    struct core_state *state = core_state_of(module);
    for (int i = 0; i < CORE_EXC_COUNT; i++)
        Py_VISIT(state->exceptions[i]);
#if CORE_HAVE_PICKLE
    if (state->pickle) {
        int rc = pk_state_traverse(state->pickle, visit, arg);
        if (rc)
            return rc;
    }
#endif
#if CORE_HAVE_POOL
    if (state->pool) {
        int rc = pool_state_traverse(state->pool, visit, arg);
        if (rc)
            return rc;
    }
#endif
#if CORE_HAVE_FLOW
    if (state->flow) {
        int rc = flow_state_traverse(state->flow, visit, arg);
        if (rc)
            return rc;
    }
#endif
    return 0;
}

static int core_clear(PyObject *module) {
    struct core_state *state = core_state_of(module);
#if CORE_HAVE_FLOW
    if (state->flow)
        flow_state_clear(state->flow);
#endif
#if CORE_HAVE_POOL
    if (state->pool)
        pool_state_clear(state->pool);
#endif
#if CORE_HAVE_PICKLE
    if (state->pickle)
        pk_state_clear(state->pickle);
#endif
    for (int i = 0; i < CORE_EXC_COUNT; i++)
        Py_CLEAR(state->exceptions[i]);
    return 0;
}

static void core_free(void *module) {
    struct core_state *state = core_state_of(module);
    core_clear(module);
#if CORE_HAVE_FLOW
    if (state->flow)
        flow_state_free(state->flow);
    state->flow = NULL;
#endif
#if CORE_HAVE_POOL
    if (state->pool)
        pool_state_free(state->pool);
    state->pool = NULL;
#endif
#if CORE_HAVE_PICKLE
    if (state->pickle)
        pk_state_free(state->pickle);
    state->pickle = NULL;
#endif
    (void)state;
}

PyDoc_STRVAR(version_doc, "version($module, /)\n--\n\n"
                          "The version of libergon inside this module.");

static PyObject *core_version(PyObject *module, PyObject *args) {
    (void)module;
    (void)args;
    return PyUnicode_FromString(erg_version());
}

static PyMethodDef core_methods[] = {
    {"version", core_version, METH_NOARGS, version_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, core_exec},
    CORE_SLOT_INTERPRETERS CORE_SLOT_GIL{0, NULL},
};

struct PyModuleDef core_module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ergon._core",
    .m_doc = "The C side of ergon. Use the names of the package ergon; these here may change.",
    .m_size = sizeof(struct core_state),
    .m_methods = core_methods,
    .m_slots = core_slots,
    .m_traverse = core_traverse,
    .m_clear = core_clear,
    .m_free = core_free,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC PyInit__core(void) {
    return PyModuleDef_Init(&core_module_def);
}
