/* Scans bytecode for the globals it refers to. Instructions are two bytes in every version we run on; inline
 * caches are zeros in co_code, and zero is no opcode that matters here. */
#include "code_info.h"

#include <marshal.h>

/* Version 2 of marshal's format writes no back references, which depend on reference counts. */
enum { MARSHAL_VERSION = 2, MAX_CHAIN = 6 };

struct opcodes {
    int load_global, store_global, delete_global, load_name, store_name, load_attr, load_method;
    int extended_arg, from_dict_or_globals, load_deref;
};

static int opcode_of(PyObject *opmap, const char *name) {
    PyObject *number = PyDict_GetItemString(opmap, name);
    return number ? (int)PyLong_AsLong(number) : -1;
}

static int find_opcodes(struct opcodes *ops) {
    PyObject *module = PyImport_ImportModule("opcode");
    PyObject *opmap = module ? PyObject_GetAttrString(module, "opmap") : NULL;
    Py_XDECREF(module);
    if (!opmap)
        return -1;
    ops->load_global = opcode_of(opmap, "LOAD_GLOBAL");
    ops->store_global = opcode_of(opmap, "STORE_GLOBAL");
    ops->delete_global = opcode_of(opmap, "DELETE_GLOBAL");
    ops->load_name = opcode_of(opmap, "LOAD_NAME");
    ops->store_name = opcode_of(opmap, "STORE_NAME");
    ops->load_attr = opcode_of(opmap, "LOAD_ATTR");
    ops->load_method = opcode_of(opmap, "LOAD_METHOD");
    ops->extended_arg = opcode_of(opmap, "EXTENDED_ARG");
    ops->from_dict_or_globals = opcode_of(opmap, "LOAD_FROM_DICT_OR_GLOBALS");
    ops->load_deref = opcode_of(opmap, "LOAD_DEREF");
    Py_DECREF(opmap);
    return PyErr_Occurred() ? -1 : 0;
}

struct scan {
    PyObject *names;  /* dict used as an ordered set */
    PyObject *chains; /* the same, of tuples */
    PyObject *cell_chains;
    struct opcodes ops;
};

static int add_name(PyObject *set, PyObject *name) {
    return PyDict_SetItem(set, name, Py_None);
}

/* The attributes loaded right after a global. */
struct chain {
    PyObject *part[MAX_CHAIN]; /* borrowed from the code object */
    int n;
    int of_cell; /* it begins with a free variable */
};

static int end_chain(struct scan *s, struct chain *c) {
    int rc = 0;
    if (c->n > 1) {
        PyObject *tuple = PyTuple_New(c->n);
        for (int i = 0; tuple && i < c->n; i++)
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(c->part[i]));
        rc = tuple ? add_name(c->of_cell ? s->cell_chains : s->chains, tuple) : -1;
        Py_XDECREF(tuple);
    }
    c->n = 0;
    return rc;
}

static PyObject *name_at(PyObject *names, unsigned int index) {
    return index < (unsigned int)PyTuple_GET_SIZE(names) ? PyTuple_GET_ITEM(names, index) : NULL;
}

/* Name an instruction loads or stores as a global; NULL: it does not. */
static PyObject *global_of(const struct opcodes *ops, int op, unsigned int arg, PyObject *names,
                           PyObject *stored) {
    if (op == ops->load_global)
        return name_at(names, arg >> 1);
    if (op == ops->store_global || op == ops->delete_global || op == ops->from_dict_or_globals)
        return name_at(names, arg);
    if (op == ops->load_name) {
        PyObject *name = name_at(names, arg);
        return name && PySet_Contains(stored, name) == 0 ? name : NULL;
    }
    return NULL;
}

static int scan_bytes(struct scan *s, PyCodeObject *code, PyObject *bytes, PyObject *stored) {
    PyObject *names = code->co_names;
    const unsigned char *at = (const unsigned char *)PyBytes_AS_STRING(bytes);
    const unsigned char *end = at + PyBytes_GET_SIZE(bytes);
    const struct opcodes *ops = &s->ops;
    struct chain chain = {.n = 0};
    unsigned int extended = 0;
    for (; at + 1 < end; at += 2) {
        int op = at[0];
        if (op == 0)
            continue; /* a cache entry */
        unsigned int arg = extended << 8 | at[1];
        extended = op == ops->extended_arg ? arg : 0;
        if (op == ops->extended_arg)
            continue;
        if ((op == ops->load_attr || op == ops->load_method) && chain.n > 0) {
            PyObject *name = name_at(names, op == ops->load_attr ? core_attr_index(arg) : arg);
            if (name && chain.n < MAX_CHAIN)
                chain.part[chain.n++] = name;
            continue;
        }
        if (end_chain(s, &chain) < 0)
            return -1;
        PyObject *name = global_of(ops, op, arg, names, stored);
        if (op == ops->load_deref) {
            chain.part[0] = name_at(code->co_localsplusnames, arg);
            chain.n = chain.part[0] != NULL;
            chain.of_cell = 1;
        } else if (name) {
            chain.part[0] = name;
            chain.n = 1;
            chain.of_cell = 0;
            if (add_name(s->names, name) < 0)
                return -1;
        } else if (op == ops->store_name && (name = name_at(names, arg))) {
            if (PySet_Add(stored, name) < 0)
                return -1;
        }
    }
    return end_chain(s, &chain);
}

static int scan_code(struct scan *s, PyCodeObject *code) {
    PyObject *bytes = PyObject_GetAttrString((PyObject *)code, "co_code");
    PyObject *stored = bytes ? PySet_New(NULL) : NULL;
    int rc = stored ? scan_bytes(s, code, bytes, stored) : -1;
    Py_XDECREF(stored);
    Py_XDECREF(bytes);
    if (rc < 0 || Py_EnterRecursiveCall(" while scanning nested code"))
        return -1;
    for (Py_ssize_t i = 0; rc == 0 && i < PyTuple_GET_SIZE(code->co_consts); i++) {
        PyObject *nested = PyTuple_GET_ITEM(code->co_consts, i);
        if (PyCode_Check(nested))
            rc = scan_code(s, (PyCodeObject *)nested);
    }
    Py_LeaveRecursiveCall();
    return rc;
}

static void info_free(void *extra) {
    struct pk_code_info *info = extra;
    if (!info)
        return;
    Py_XDECREF(info->names);
    Py_XDECREF(info->chains);
    Py_XDECREF(info->cell_chains);
    Py_XDECREF(info->bytes);
    PyMem_Free(info);
}

static struct pk_code_info *info_new(PyObject *code) {
    struct pk_code_info *info = PyMem_Calloc(1, sizeof *info);
    if (!info) {
        PyErr_NoMemory();
        return NULL;
    }
    struct scan s = {.names = PyDict_New(), .chains = PyDict_New(), .cell_chains = PyDict_New()};
    if (s.names && s.chains && s.cell_chains && find_opcodes(&s.ops) == 0 &&
        scan_code(&s, (PyCodeObject *)code) == 0) {
        info->names = PySequence_Tuple(s.names);
        info->chains = PySequence_Tuple(s.chains);
        info->cell_chains = PySequence_Tuple(s.cell_chains);
        PyObject *bare = pk_code_without_slices(code);
        info->bytes = bare ? PyMarshal_WriteObjectToString(bare, MARSHAL_VERSION) : NULL;
        Py_XDECREF(bare);
    }
    Py_XDECREF(s.names);
    Py_XDECREF(s.chains);
    Py_XDECREF(s.cell_chains);
    if (!info->names || !info->chains || !info->cell_chains || !info->bytes) {
        info_free(info);
        return NULL;
    }
    return info;
}

Py_ssize_t pk_code_slot_new(void) {
    Py_ssize_t slot = core_code_extra_index(info_free);
    if (slot < 0)
        PyErr_SetString(PyExc_RuntimeError, "no room is left in code objects (co_extra)");
    return slot;
}

const struct pk_code_info *pk_code_info_get(struct pk_state *st, PyObject *code) {
    void *extra = NULL;
    if (core_code_get_extra(code, st->code_slot, &extra) < 0)
        return NULL;
    if (extra)
        return extra;
    struct pk_code_info *info = info_new(code);
    if (!info)
        return NULL;
    /* Making it may have let another thread make one too, which somebody may be reading. */
    if (core_code_get_extra(code, st->code_slot, &extra) == 0 && extra) {
        info_free(info);
        return extra;
    }
    if (core_code_set_extra(code, st->code_slot, info) < 0) {
        info_free(info);
        return NULL;
    }
    return info;
}
