/* Functions by value: code, the globals they refer to, cells, and what was set on them.
 *
 * A function is written in two steps, because what it refers to may lead back to it. First the function
 * itself, with empty cells and a dict of globals that has nothing but the module's name: nothing in that can
 * contain the function. Then, with the function in the memo, the contents of its cells, its globals (only
 * those not sent before: all functions of one module in a pickle share one dict), its defaults and
 * attributes. */
#include "code_info.h"
#include "pickler.h"

/* --- code and cells ------------------------------------------------------------------------------------------ */

static int write_tuple_op(struct pickler *p, Py_ssize_t n) {
    static const unsigned char ops[] = {OP_EMPTY_TUPLE, OP_TUPLE1, OP_TUPLE2, OP_TUPLE3};
    return pk_put(p, n > 3 ? OP_TUPLE : ops[n]);
}

int pk_save_code(struct pickler *p, PyObject *obj) {
    static const char call[] = {OP_TUPLE2, OP_REDUCE};
    int rc = pk_seen(p, obj);
    if (rc)
        return rc < 0 ? -1 : 0;
    const struct pk_code_info *info = pk_code_info_get(p->st, obj);
    if (!info || pk_write_helper(p, PK_HELPER_CODE) < 0 ||
        pk_save_small(p, PY_VERSION_HEX >> 16) < 0 ||
        pk_write_bytes(p, PyBytes_AS_STRING(info->bytes), (size_t)PyBytes_GET_SIZE(info->bytes)) <
            0 ||
        pk_write(p, call, sizeof call) < 0)
        return -1;
    return pk_memoize(p, obj);
}

/* Contents that cannot lead anywhere are given when the cell is made. */
static int goes_in_at_once(PyObject *contents) {
    return pk_is_atom(contents);
}

/* Writes the cell; *open says whether its contents have still to come. */
static int write_cell(struct pickler *p, PyObject *cell, int *open) {
    *open = 0;
    int rc = pk_seen(p, cell);
    if (rc)
        return rc < 0 ? -1 : 0;
    PyObject *contents = PyCell_GET(cell);
    if (p->watch)
        pk_watch_slot(p, cell, &((PyCellObject *)cell)->ob_ref);
    if (pk_write_helper(p, PK_HELPER_CELL) < 0)
        return -1;
    int at_once = contents && goes_in_at_once(contents);
    *open = contents && !at_once;
    if (at_once) {
        Py_INCREF(contents);
        rc = pk_save_atom(p, contents);
        Py_DECREF(contents);
    }
    if (rc < 0 || write_tuple_op(p, at_once ? 1 : 0) < 0 || pk_put(p, OP_REDUCE) < 0)
        return -1;
    return pk_memoize(p, cell);
}

/* Frames that fill a cell, which is in the memo. */
static int push_contents(struct pickler *p, PyObject *cell, PyObject *name) {
    static const char call[] = {OP_TUPLE2, OP_REDUCE, OP_POP};
    if (pk_push_write(p, call, sizeof call) < 0 ||
        pk_push_save(p, PyCell_GET(cell), name ? "'s variable " : ".cell_contents", name) < 0 ||
        !pk_push(p, PK_F_GET, cell))
        return -1;
    return pk_push_helper(p, PK_HELPER_CELL_SET);
}

int pk_save_cell(struct pickler *p, PyObject *obj) {
    int open;
    pk_watch_mutable(p);
    if (write_cell(p, obj, &open) < 0)
        return -1;
    return open ? push_contents(p, obj, NULL) : 0;
}

/* The tuple of cells; frames for their contents are pushed. */
static int write_closure(struct pickler *p, PyFunctionObject *func) {
    PyObject *closure = func->func_closure;
    if (!closure)
        return pk_put(p, OP_NONE);
    Py_ssize_t n = PyTuple_GET_SIZE(closure);
    PyObject *names = core_code_freevars((PyCodeObject *)func->func_code);
    if (!names || (n > 3 && pk_put(p, OP_MARK) < 0)) {
        Py_XDECREF(names);
        return -1;
    }
    int rc = 0;
    for (Py_ssize_t i = 0; rc == 0 && i < n; i++) {
        int open;
        PyObject *cell = PyTuple_GET_ITEM(closure, i);
        PyObject *name = i < PyTuple_GET_SIZE(names) ? PyTuple_GET_ITEM(names, i) : NULL;
        rc = write_cell(p, cell, &open);
        if (rc == 0 && open)
            rc = push_contents(p, cell, name);
    }
    Py_DECREF(names);
    return rc < 0 ? -1 : write_tuple_op(p, n);
}

/* --- globals -------------------------------------------------------------------------------------------------- */

static struct pk_globals *find_globals(struct pickler *p, PyObject *dict) {
    for (Py_ssize_t i = 0; i < p->nglobals; i++)
        if (p->globals[i].dict == dict)
            return &p->globals[i];
    return NULL;
}

static struct pk_globals *add_globals(struct pickler *p, PyObject *dict) {
    if (p->nglobals == p->capglobals) {
        Py_ssize_t cap = p->capglobals ? p->capglobals * 2 : 4;
        struct pk_globals *bigger = PyMem_Realloc(p->globals, (size_t)cap * sizeof *bigger);
        if (!bigger) {
            PyErr_NoMemory();
            return NULL;
        }
        p->globals = bigger;
        p->capglobals = cap;
    }
    PyObject *names = PySet_New(NULL);
    if (!names)
        return NULL;
    struct pk_globals *g = &p->globals[p->nglobals++];
    *g = (struct pk_globals){Py_NewRef(dict), names, p->next};
    return g;
}

/* Pairs every dict of globals starts with. */
static int write_global_basics(struct pickler *p, PyObject *dict) {
    struct pk_state *st = p->st;
    PyObject *const names[] = {PK_STR(__name__), PK_STR(__package__)};
    for (size_t i = 0; i < Py_ARRAY_LENGTH(names); i++) {
        PyObject *value;
        if (PyDict_GetItemRef(dict, names[i], &value) < 0)
            return -1;
        int rc = 0;
        if (value && PyUnicode_CheckExact(value))
            rc = pk_save_name(p, names[i]) < 0 || pk_save_name(p, value) < 0 ||
                         pk_put(p, OP_SETITEM) < 0
                     ? -1
                     : 0;
        Py_XDECREF(value);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* The dict that stands for the function's globals. */
static int write_globals(struct pickler *p, PyObject *dict) {
    struct pk_globals *g = find_globals(p, dict);
    if (g)
        return pk_get(p, g->index);
    if (!add_globals(p, dict) || pk_put(p, OP_EMPTY_DICT) < 0 || pk_write_put(p) < 0)
        return -1;
    return write_global_basics(p, dict);
}

/* Submodules a function reaches through a package among its globals: imported before it runs. */
static int write_submodules(struct pickler *p, PyObject *package, PyObject *chain) {
    static const char call[] = {OP_TUPLE1, OP_REDUCE, OP_POP};
    PyObject *name = PyModule_GetNameObject(package);
    int rc = name ? 0 : -1;
    for (Py_ssize_t i = 1; rc == 0 && i < PyTuple_GET_SIZE(chain); i++) {
        PyObject *longer = PyUnicode_FromFormat("%U.%U", name, PyTuple_GET_ITEM(chain, i));
        Py_SETREF(name, longer);
        PyObject *module = NULL;
        if (!name || PyDict_GetItemRef(PyImport_GetModuleDict(), name, &module) < 0)
            rc = -1;
        if (rc < 0 || !module)
            break;
        if (pk_write_helper(p, PK_HELPER_IMPORT) < 0 || pk_save_name(p, name) < 0 ||
            pk_write(p, call, sizeof call) < 0)
            rc = -1;
        Py_DECREF(module);
    }
    Py_XDECREF(name);
    return rc;
}

static int write_chains(struct pickler *p, const struct pk_code_info *info, PyObject *dict) {
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(info->chains); i++) {
        PyObject *chain = PyTuple_GET_ITEM(info->chains, i), *value;
        if (PyDict_GetItemRef(dict, PyTuple_GET_ITEM(chain, 0), &value) < 0)
            return -1;
        int rc = value && PyModule_Check(value) ? write_submodules(p, value, chain) : 0;
        Py_XDECREF(value);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* The same for packages that are variables of an enclosing function. */
static int write_cell_chains(struct pickler *p, const struct pk_code_info *info,
                             PyFunctionObject *func) {
    if (PyTuple_GET_SIZE(info->cell_chains) == 0 || !func->func_closure)
        return 0;
    PyObject *names = core_code_freevars((PyCodeObject *)func->func_code);
    int rc = names ? 0 : -1;
    for (Py_ssize_t i = 0; rc == 0 && i < PyTuple_GET_SIZE(info->cell_chains); i++) {
        PyObject *chain = PyTuple_GET_ITEM(info->cell_chains, i);
        Py_ssize_t at = PySequence_Index(names, PyTuple_GET_ITEM(chain, 0));
        if (at < 0 || at >= PyTuple_GET_SIZE(func->func_closure)) {
            PyErr_Clear(); /* a variable of the nested code itself */
            continue;
        }
        PyObject *value = PyCell_GET(PyTuple_GET_ITEM(func->func_closure, at));
        if (value && PyModule_Check(value)) {
            Py_INCREF(value);
            rc = write_submodules(p, value, chain);
            Py_DECREF(value);
        }
    }
    Py_XDECREF(names);
    return rc;
}

/* The globals the function refers to that are not in the pickle yet: new dict or NULL. */
static PyObject *new_globals(struct pickler *p, const struct pk_code_info *info, PyObject *dict,
                             PyObject *sent) {
    struct pk_state *st = p->st;
    PyObject *fresh = PyDict_New();
    for (Py_ssize_t i = 0; fresh && i < PyTuple_GET_SIZE(info->names); i++) {
        PyObject *name = PyTuple_GET_ITEM(info->names, i), *value = NULL;
        int rc = PyDict_GetItemRef(dict, name, &value);
        if (p->watch && rc >= 0)
            pk_watch_entry(p, dict, name, value);
        if (rc > 0 && (rc = PySet_Contains(sent, name)) == 0 && name != PK_STR(__name__))
            rc = PyDict_SetItem(fresh, name, value) < 0 || PySet_Add(sent, name) < 0 ? -1 : 0;
        Py_XDECREF(value);
        if (rc < 0)
            Py_CLEAR(fresh);
    }
    return fresh;
}

/* The function is in the memo. */
static int save_globals(struct pickler *p, PyObject *func) {
    PyObject *dict = ((PyFunctionObject *)func)->func_globals;
    const struct pk_code_info *info =
        pk_code_info_get(p->st, ((PyFunctionObject *)func)->func_code);
    if (!info)
        return -1;
    if (write_cell_chains(p, info, (PyFunctionObject *)func) < 0)
        return -1;
    if (PyTuple_GET_SIZE(info->names) == 0)
        return 0;
    struct pk_globals *g = find_globals(p, dict);
    uint32_t index = g->index;
    PyObject *fresh = new_globals(p, info, dict, g->names);
    int rc = fresh ? write_chains(p, info, dict) : -1;
    if (rc == 0 && PyDict_GET_SIZE(fresh) > 0 &&
        (pk_push_write(p, (char[]){OP_POP}, 1) < 0 || pk_get(p, index) < 0 ||
         pk_push_items(p, fresh, PK_FF_GLOBALS) < 0))
        rc = -1;
    Py_XDECREF(fresh);
    return rc;
}

/* --- what was set on it ------------------------------------------------------------------------------------------ */

/* A dict of annotations or keyword defaults: its pairs count, not the dict. */
static int save_quiet(struct pickler *p, PyObject *dict) {
    int rc = pk_seen(p, dict);
    if (rc)
        return rc < 0 ? -1 : 0;
    if (pk_put(p, OP_EMPTY_DICT) < 0 || pk_memoize(p, dict) < 0)
        return -1;
    pk_watch_pairs(p, dict);
    return pk_push_items(p, dict, 0);
}

struct attributes {
    enum pk_string name[7];
    PyObject *value[7]; /* borrowed from the function */
    int n;
};

static void attribute(struct attributes *a, enum pk_string name, PyObject *value) {
    a->name[a->n] = name;
    a->value[a->n++] = value;
}

static int same_text(PyObject *a, PyObject *b) {
    return a == b || (PyUnicode_CheckExact(a) && b && PyUnicode_CheckExact(b) &&
                      PyUnicode_Compare(a, b) == 0);
}

/* What making the function from its code has not set already. */
static int list_attributes(PyFunctionObject *f, struct attributes *a) {
    PyCodeObject *code = (PyCodeObject *)f->func_code;
    a->n = 0;
    if (f->func_defaults)
        attribute(a, PK_STR___defaults__, f->func_defaults);
    if (f->func_kwdefaults)
        attribute(a, PK_STR___kwdefaults__, f->func_kwdefaults);
    PyObject *annotations, *later;
    if (core_function_annotations((PyObject *)f, &annotations, &later) < 0)
        return -1;
    if (annotations && PyDict_GET_SIZE(annotations) > 0)
        attribute(a, PK_STR___annotations__, annotations);
    if (later)
        attribute(a, PK_STR___annotate__, later);
    if (PyUnicode_Compare(f->func_name, code->co_name) != 0)
        attribute(a, PK_STR___name__, f->func_name);
    PyObject *doc = core_code_doc(code);
    if (f->func_doc && !same_text(f->func_doc, doc))
        attribute(a, PK_STR___doc__, f->func_doc);
    return 0;
}

/* BUILD with (dict, attributes): pairs for __dict__, and attributes to be set. */
static int save_attributes(struct pickler *p, PyObject *func) {
    static const char end[] = {OP_SETITEMS, (char)OP_TUPLE2, OP_BUILD};
    struct pk_state *st = p->st;
    PyFunctionObject *f = (PyFunctionObject *)func;
    struct attributes a;
    if (list_attributes(f, &a) < 0)
        return -1;
    int has_dict = f->func_dict && PyDict_GET_SIZE(f->func_dict) > 0;
    if (a.n == 0 && !has_dict)
        return 0;
    if (pk_push_write(p, end, sizeof end) < 0)
        return -1;
    for (int i = a.n - 1; i >= 0; i--) {
        PyObject *name = st->str[a.name[i]], *value = a.value[i];
        int rc = PyDict_CheckExact(value) ? pk_push_call(p, save_quiet, value)
                                          : pk_push_save(p, value, ".", name);
        if (rc < 0 || pk_push_save(p, name, NULL, NULL) < 0)
            return -1;
    }
    if (pk_push_write(p, (char[]){OP_EMPTY_DICT, OP_MARK}, 2) < 0)
        return -1;
    if (!has_dict)
        return pk_push_write(p, (char[]){OP_NONE}, 1);
    pk_watch_pairs(p, f->func_dict);
    PyObject *dict = pk_canonical(f->func_dict);
    int rc = dict && pk_put(p, OP_EMPTY_DICT) == 0 ? pk_push_items(p, dict, PK_FF_ATTRS) : -1;
    Py_XDECREF(dict);
    return rc;
}

/* --- the whole ----------------------------------------------------------------------------------------------------- */

/* The guard against recursion that repr() of a data class keeps in a cell is empty between calls. */
static void excuse_guards(struct pickler *p, PyFunctionObject *f) {
    struct pk_state *st = p->st;
    PyObject *name = PyDict_GetItemWithError(f->func_globals, PK_STR(__name__));
    if (!f->func_closure || !name || !PyUnicode_Check(name) ||
        (PyUnicode_CompareWithASCIIString(name, "dataclasses") != 0 &&
         PyUnicode_CompareWithASCIIString(name, "reprlib") != 0))
        return;
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(f->func_closure); i++) {
        PyObject *value = PyCell_GET(PyTuple_GET_ITEM(f->func_closure, i));
        if (value && PySet_CheckExact(value))
            pk_watch_excuse(p, value);
    }
}

static int save_by_value(struct pickler *p, PyObject *obj) {
    static const char call[] = {OP_TUPLE, OP_REDUCE};
    PyFunctionObject *f = (PyFunctionObject *)obj;
    if (p->watch) {
        PyObject *annotations,
            *later; /* asking may make a dict of a tuple, or of what a function says */
        if (core_function_annotations(obj, &annotations, &later) < 0)
            return -1;
        excuse_guards(p, f);
        pk_watch_slot(p, obj, &f->func_code);
        pk_watch_slot(p, obj, &f->func_defaults);
        pk_watch_slot(p, obj, &f->func_kwdefaults);
        pk_watch_slot(p, obj, &f->func_annotations);
        pk_watch_slot(p, obj, &f->func_dict);
        pk_watch_slot(p, obj, &f->func_doc);
        pk_watch_slot(p, obj, &f->func_name);
    }
    if (pk_push_call(p, save_attributes, obj) < 0 || pk_push_call(p, save_globals, obj) < 0)
        return -1;
    if (pk_write_helper(p, PK_HELPER_FUNCTION) < 0 || pk_put(p, OP_MARK) < 0 ||
        pk_save_code(p, f->func_code) < 0 || write_globals(p, f->func_globals) < 0 ||
        write_closure(p, f) < 0 || pk_save_name(p, f->func_qualname) < 0)
        return -1;
    int rc = f->func_module && PyUnicode_CheckExact(f->func_module)
                 ? pk_save_name(p, f->func_module)
                 : pk_put(p, OP_NONE);
    if (rc < 0 || pk_write(p, call, sizeof call) < 0)
        return -1;
    return pk_memoize(p, obj);
}

int pk_save_function(struct pickler *p, PyObject *obj) {
    PyObject *module, *qualname;
    int rc = pk_by_reference(p, obj, NULL, &module, &qualname);
    if (rc < 0)
        return -1;
    if (rc == 0 && p->flags & PK_BYREF)
        return pk_save_global(p, obj, NULL); /* says what is wrong */
    if (rc == 0)
        return save_by_value(p, obj);
    rc = pk_write_global(p, obj, module, qualname);
    Py_DECREF(module);
    Py_DECREF(qualname);
    return rc;
}
