/* Instructions that move values: locals, cells, globals, the stack. */
#include "flow.h"
#include "opcodes.h"

static int push_new(struct fl_frame *f, PyObject *o) {
    if (!o)
        return -1;
    fl_push(f, o);
    return 0;
}

static int push_seen(struct fl_run *run, struct fl_frame *f, PyObject *o) {
    fl_push(f, Py_NewRef(fl_see(run, o)));
    return 0;
}

static int op_nop(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)f, (void)arg;
    return 0;
}

static int op_pop_top(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)arg;
    Py_XDECREF(fl_pop(f));
    return 0;
}

static int op_push_null(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run, (void)arg;
    fl_push(f, NULL);
    return 0;
}

static int op_load_fast(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = f->slots[arg];
    if (!o) {
        PyObject *names = f->code->code->co_localsplusnames;
        PyErr_Format(PyExc_UnboundLocalError,
                     "cannot access local variable '%U' where it is not associated with a value",
                     PyTuple_GET_ITEM(names, arg));
        return -1;
    }
    return push_seen(run, f, o);
}

static int op_load_const(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    fl_push(f, Py_NewRef(PyTuple_GET_ITEM(f->code->code->co_consts, arg)));
    return 0;
}

static int op_store_fast(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    PyObject *o = fl_pop(f);
    Py_XSETREF(f->slots[arg], o);
    return 0;
}

static int op_delete_fast(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    Py_CLEAR(f->slots[arg]);
    return 0;
}

static int op_make_cell(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *cell = fl_mine(run, PyCell_New(f->slots[arg]));
    if (!cell)
        return -1;
    Py_XSETREF(f->slots[arg], cell);
    return 0;
}

static int op_load_closure(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    fl_push(f, Py_NewRef(f->slots[arg]));
    return 0;
}

static int op_copy_free_vars(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *closure = f->func ? ((PyFunctionObject *)f->func)->func_closure : NULL;
    if (!closure)
        return fl_stop(run, FL_WHY_OTHER, "a closure without cells");
    int offset = f->code->nlocalsplus - arg;
    for (int i = 0; i < arg; i++)
        Py_XSETREF(f->slots[offset + i], Py_NewRef(PyTuple_GET_ITEM(closure, i)));
    return 0;
}

static int op_load_deref(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *cell = fl_see(run, f->slots[arg]);
    if (!PyCell_Check(cell))
        return push_new(f, fl_unknown(run->st));
    PyObject *o = PyCell_GET(cell);
    if (!o) {
        PyObject *names = f->code->code->co_localsplusnames;
        int local = arg < f->code->code->co_nlocalsplus - f->code->code->co_nfreevars;
        PyErr_Format(local ? PyExc_UnboundLocalError : PyExc_NameError,
                     "cannot access variable '%U'", PyTuple_GET_ITEM(names, arg));
        return -1;
    }
    return push_seen(run, f, o);
}

static int op_store_deref(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *o = fl_pop(f), *cell = fl_own(run, f->slots[arg]);
    int rc = !cell ? -1 : PyCell_Check(cell) ? PyCell_Set(cell, o) : 0;
    Py_XDECREF(o);
    return rc;
}

static int op_delete_deref(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *cell = fl_own(run, f->slots[arg]);
    return !cell ? -1 : PyCell_Check(cell) ? PyCell_Set(cell, NULL) : 0;
}

static int op_load_global(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *name = PyTuple_GET_ITEM(f->code->code->co_names, arg >> 1);
    PyObject *globals = fl_see(run, f->globals), *o = NULL;
    if (fl_is_unknown(run->st, globals))
        return fl_stop(run, FL_WHY_VALUE, "globals that are not known");
    o = PyDict_GetItemWithError(globals, name);
    if (!o && !PyErr_Occurred() && f->builtins && PyDict_Check(f->builtins))
        o = PyDict_GetItemWithError(f->builtins, name);
    if (!o) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_NameError, "name '%U' is not defined", name);
        return -1;
    }
    if (arg & 1 && !FL_CALLABLE_FIRST)
        fl_push(f, NULL);
    push_seen(run, f, o);
    if (arg & 1 && FL_CALLABLE_FIRST)
        fl_push(f, NULL);
    return 0;
}

static int op_store_global(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *name = PyTuple_GET_ITEM(f->code->code->co_names, arg), *o = fl_pop(f);
    PyObject *globals = fl_own(run, f->globals);
    int rc = !globals ? -1
             : PyDict_CheckExact(globals)
                 ? PyDict_SetItem(globals, name, o)
                 : fl_stop(run, FL_WHY_OTHER, "globals that cannot be copied");
    Py_XDECREF(o);
    return rc;
}

static int op_copy(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    PyObject *o = *fl_at(f, arg);
    fl_push(f, Py_XNewRef(o));
    return 0;
}

static int op_swap(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    PyObject **a = fl_at(f, 1), **b = fl_at(f, arg), *o = *a;
    *a = *b;
    *b = o;
    return 0;
}

static int op_load_fast_and_clear(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    fl_push(f, f->slots[arg]);
    f->slots[arg] = NULL;
    return 0;
}

static int op_store_fast_load_fast(struct fl_run *run, struct fl_frame *f, int arg) {
    op_store_fast(run, f, arg >> 4);
    return op_load_fast(run, f, arg & 15);
}

static int op_store_fast_store_fast(struct fl_run *run, struct fl_frame *f, int arg) {
    op_store_fast(run, f, arg >> 4);
    return op_store_fast(run, f, arg & 15);
}

static int op_load_fast_load_fast(struct fl_run *run, struct fl_frame *f, int arg) {
    return op_load_fast(run, f, arg >> 4) < 0 ? -1 : op_load_fast(run, f, arg & 15);
}

/* Modules that are there already. */
static int op_import_name(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *from = fl_pop(f), *level = fl_pop(f), *module = NULL;
    PyObject *name = PyTuple_GET_ITEM(f->code->code->co_names, arg);
    Py_ssize_t size = PyUnicode_GET_LENGTH(name);
    Py_ssize_t dot = PyUnicode_FindChar(name, '.', 0, size, 1);
    if (PyLong_CheckExact(level) && PyLong_AsLong(level) == 0) {
        module = PyImport_GetModule(name);
        if (module && from == Py_None && dot > 0) { /* import a.b gives a */
            PyObject *top = PyUnicode_Substring(name, 0, dot);
            Py_SETREF(module, top ? PyImport_GetModule(top) : NULL);
            Py_XDECREF(top);
        }
    }
    Py_DECREF(from);
    Py_DECREF(level);
    if (!module && !PyErr_Occurred())
        return fl_stop(run, FL_WHY_OTHER, "imports a module that is not there yet");
    return push_new(f, module);
}

static int op_import_from(struct fl_run *run, struct fl_frame *f, int arg) {
    PyObject *module = fl_see(run, *fl_at(f, 1));
    PyObject *name = PyTuple_GET_ITEM(f->code->code->co_names, arg);
    PyObject *dict = PyModule_Check(module) ? PyModule_GetDict(module) : NULL;
    PyObject *o = dict ? PyDict_GetItemWithError(dict, name) : NULL;
    if (!o)
        return fl_stop(run, FL_WHY_OTHER, "imports a module that is not there yet");
    return push_seen(run, f, o);
}

/* Since 3.14 also other things that compilers mention where the program does not. */
static int op_load_assertion_error(struct fl_run *run, struct fl_frame *f, int arg) {
    static const char *const names[] = {[3] = "all", [4] = "any"};
    PyObject *o = arg == 0   ? PyExc_AssertionError
                  : arg == 1 ? PyExc_NotImplementedError
                  : arg == 2 ? (PyObject *)&PyTuple_Type
                  : arg <= 4 ? PyDict_GetItemString(PyEval_GetBuiltins(), names[arg])
                             : NULL;
    if (!o)
        return fl_stop(run, FL_WHY_OTHER, "an instruction that is not run ahead of");
    fl_push(f, Py_NewRef(o));
    return 0;
}

static int op_load_small_int(struct fl_run *run, struct fl_frame *f, int arg) {
    (void)run;
    return push_new(f, PyLong_FromLong(arg));
}

void fl_ops_stack(fl_op *t) {
    t[CACHE] = t[NOP] = t[RESUME] = t[PRECALL] = op_nop;
    t[ASYNC_GEN_WRAP] = op_nop; /* nobody but a pass takes from it */
    t[POP_TOP] = op_pop_top;
    t[PUSH_NULL] = op_push_null;
    t[LOAD_FAST] = op_load_fast;
    t[LOAD_CONST] = op_load_const;
    t[STORE_FAST] = op_store_fast;
    t[DELETE_FAST] = op_delete_fast;
    t[LOAD_FAST_AND_CLEAR] = op_load_fast_and_clear;
    t[STORE_FAST_LOAD_FAST] = op_store_fast_load_fast;
    t[STORE_FAST_STORE_FAST] = op_store_fast_store_fast;
    t[LOAD_FAST_LOAD_FAST] = op_load_fast_load_fast;
    t[MAKE_CELL] = op_make_cell;
    t[LOAD_CLOSURE] = op_load_closure;
    t[COPY_FREE_VARS] = op_copy_free_vars;
    t[LOAD_DEREF] = op_load_deref;
    t[STORE_DEREF] = op_store_deref;
    t[DELETE_DEREF] = op_delete_deref;
    t[LOAD_GLOBAL] = op_load_global;
    t[STORE_GLOBAL] = op_store_global;
    t[COPY] = op_copy;
    t[IMPORT_NAME] = op_import_name;
    t[IMPORT_FROM] = op_import_from;
    t[SWAP] = op_swap;
    t[LOAD_SMALL_INT] = op_load_small_int;
    t[LOAD_ASSERTION_ERROR] = op_load_assertion_error;
}
