#include "flow.h"

#include "../pickle/pickle.h"

struct flow_state *fl_state_of(PyObject *module) {
    return core_state_of(module)->flow;
}

PyDoc_STRVAR(stats_doc, "_flow_stats($module, /)\n--\n\n"
                        "Counts since the program began: functional calls of scheduled functions, "
                        "how many of them a pass\n"
                        "had entered before, passes and the instructions they ran.");

static PyObject *stats(PyObject *module, PyObject *none) {
    (void)none;
    struct flow_state *st = fl_state_of(module);
    return Py_BuildValue("{sKsKsKsKsKsKsKss}", "calls", st->calls, "foreseen", st->hits, "here",
                         st->inlined, "entered", st->submitted, "unused", st->wasted, "passes",
                         st->passes, "steps", st->steps, "last_pass_ended",
                         st->last_why ? st->last_why : "");
}

PyDoc_STRVAR(enable_doc,
             "_flow_enable($module, on, /)\n--\n\n"
             "Whether scheduled functions are run ahead of; returns what was set before.");

static PyObject *enable(PyObject *module, PyObject *on) {
    struct flow_state *st = fl_state_of(module);
    int truth = PyObject_IsTrue(on), before = st->enabled;
    if (truth < 0)
        return NULL;
    st->enabled = truth;
    return PyBool_FromLong(before);
}

PyDoc_STRVAR(
    explain_doc,
    "_flow_explain($module, on, /)\n--\n\n"
    "What happened at which line since it was last asked for; None if nothing was recorded.");

static PyObject *explain(PyObject *module, PyObject *on) {
    struct flow_state *st = fl_state_of(module);
    int truth = PyObject_IsTrue(on);
    PyObject *fresh = truth > 0 ? PyDict_New() : NULL, *before = st->explain;
    if (truth < 0 || (truth && !fresh))
        return NULL;
    st->explain = fresh;
    return before ? before : Py_NewRef(Py_None);
}

PyDoc_STRVAR(look_doc, "_flow_look($module, coroutine, /)\n--\n\n"
                       "Looks for calls ahead of a scheduled coroutine that is suspended; whether "
                       "there was anything to look for.");

static PyObject *look(PyObject *module, PyObject *coroutine) {
    int rc = fl_session_look(fl_state_of(module), coroutine);
    return rc < 0 ? NULL : PyBool_FromLong(rc);
}

PyDoc_STRVAR(
    watch_doc,
    "_flow_watch($module, watch, record, both, /)\n--\n\n"
    "Check mode: watch(functional, args, kwargs) makes the calls outside of scheduled functions; "
    "record(functional,\nargs, kwargs, result, exception) is told of those inside; both(scheduled, "
    "args, kwargs) makes the calls of\nscheduled functions. None: as ever. kwargs may be None.");

static void set_hook(PyObject **hook, PyObject *to) {
    Py_XSETREF(*hook, to == Py_None ? NULL : Py_NewRef(to));
}

static PyObject *watch(PyObject *module, PyObject *args) {
    struct flow_state *st = fl_state_of(module);
    PyObject *watch, *record, *both;
    if (!PyArg_ParseTuple(args, "OOO", &watch, &record, &both))
        return NULL;
    set_hook(&st->watch, watch);
    set_hook(&st->record, record);
    set_hook(&st->both, both);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(sweep_doc,
             "_flow_sweep($module, /)\n--\n\n"
             "Lets go of the calls of scheduled generators and coroutines that have finished.");

static PyObject *sweep(PyObject *module, PyObject *none) {
    (void)none;
    return fl_sessions_sweep(fl_state_of(module)) < 0 ? NULL : Py_NewRef(Py_None);
}

PyDoc_STRVAR(moved_doc, "_flow_moved($module, /)\n--\n\n"
                        "What workers begin with is something else from now on.");

static PyObject *moved(PyObject *module, PyObject *none) {
    (void)none;
    fl_notice_look();
    fl_around_moved(fl_state_of(module));
    Py_RETURN_NONE;
}

PyDoc_STRVAR(noticed_doc,
             "_flow_noticed($module, /)\n--\n\n"
             "Counts calls of functions that change what is felt all over the process.");

static PyObject *noticed(PyObject *module, PyObject *none) {
    (void)module;
    (void)none;
    fl_notice_look();
    return PyLong_FromUnsignedLongLong(fl_noticed());
}

static PyMethodDef functions[] = {
    {"_flow_noticed", noticed, METH_NOARGS, noticed_doc},
    {"_flow_moved", moved, METH_NOARGS, moved_doc},
    {"_flow_sweep", sweep, METH_NOARGS, sweep_doc},
    {"_flow_watch", watch, METH_VARARGS, watch_doc},
    {"_flow_look", look, METH_O, look_doc},
    {"_flow_explain", explain, METH_O, explain_doc},
    {"_flow_stats", stats, METH_NOARGS, stats_doc},
    {"_flow_enable", enable, METH_O, enable_doc},
    {NULL, NULL, 0, NULL},
};

static int intern(PyObject **to, const char *text) {
    *to = PyUnicode_InternFromString(text);
    return *to ? 0 : -1;
}

int flow_exec(PyObject *module) {
    struct flow_state *st = fl_state_of(module);
    st->enabled = 1;
    st->mark = core_code_extra_index(NULL);
    if (st->mark < 0) {
        PyErr_SetString(PyExc_RuntimeError, "no room left at code objects (co_extra)");
        return -1;
    }
    st->drives = PyDict_New();
    if (!st->drives || fl_unknown_register(st) < 0 || fl_iter_register(st) < 0 ||
        fl_types_register(st) < 0 || fl_job_register(st) < 0 || fl_pure_init(st) < 0 ||
        pk_register_ref_type(module, st->unknown_type) < 0)
        return -1;
    if (intern(&st->s_aenter, "__aenter__") < 0 || intern(&st->s_aexit, "__aexit__") < 0 ||
        intern(&st->s_enter, "__enter__") < 0 || intern(&st->s_exit, "__exit__") < 0 ||
        intern(&st->s_init, "__init__") < 0 || intern(&st->s_new, "__new__") < 0 ||
        intern(&st->s_call, "__call__") < 0 ||
        intern(&st->s_getattribute, "__getattribute__") < 0 || intern(&st->s_append, "append") < 0)
        return -1;
    PyObject *weakref = PyImport_ImportModule("weakref");
    st->generators = weakref ? PyObject_CallMethod(weakref, "WeakKeyDictionary", NULL) : NULL;
    Py_XDECREF(weakref);
    if (!st->generators)
        return -1;
    return PyModule_AddFunctions(module, functions);
}

struct flow_state *flow_state_new(PyObject *module) {
    struct flow_state *st = PyMem_Calloc(1, sizeof *st);
    if (!st)
        PyErr_NoMemory();
    else
        st->module = module;
    return st;
}

int flow_state_traverse(struct flow_state *st, visitproc visit, void *arg) {
    Py_VISIT(st->unknown_type);
    Py_VISIT(st->gen_type);
    Py_VISIT(st->seq_type);
    Py_VISIT(st->callback_type);
    Py_VISIT(st->functional_type);
    Py_VISIT(st->schedule_type);
    Py_VISIT(st->job_type);
    Py_VISIT(st->awaited_type);
    Py_VISIT(st->ready_type);
    Py_VISIT(st->coroutines);
    Py_VISIT(st->running_loop);
    Py_VISIT(st->drives);
    Py_VISIT(st->need_value);
    Py_VISIT(st->stop);
    Py_VISIT(st->pure);
    Py_VISIT(st->pure_types);
    Py_VISIT(st->ndarray_type);
    Py_VISIT(st->generators);
    Py_VISIT(st->host);
    Py_VISIT(st->explain);
    Py_VISIT(st->watch);
    Py_VISIT(st->record);
    Py_VISIT(st->both);
    Py_VISIT(st->pool);
    Py_VISIT(st->process.getcontext);
    Py_VISIT(st->process.context);
    Py_VISIT(st->process.spaces[0]);
    Py_VISIT(st->process.spaces[1]);
    for (unsigned i = 0; i < sizeof st->process.held / sizeof *st->process.held; i++)
        Py_VISIT(st->process.held[i]);
    return 0;
}

void flow_state_clear(struct flow_state *st) {
    Py_CLEAR(st->unknown_type);
    Py_CLEAR(st->gen_type);
    Py_CLEAR(st->seq_type);
    Py_CLEAR(st->callback_type);
    Py_CLEAR(st->functional_type);
    Py_CLEAR(st->schedule_type);
    Py_CLEAR(st->job_type);
    Py_CLEAR(st->awaited_type);
    Py_CLEAR(st->ready_type);
    Py_CLEAR(st->coroutines);
    Py_CLEAR(st->running_loop);
    Py_CLEAR(st->drives);
    Py_CLEAR(st->need_value);
    Py_CLEAR(st->stop);
    Py_CLEAR(st->pure);
    Py_CLEAR(st->pure_types);
    Py_CLEAR(st->ndarray_type);
    Py_CLEAR(st->generators);
    Py_CLEAR(st->host);
    Py_CLEAR(st->explain);
    Py_CLEAR(st->watch);
    Py_CLEAR(st->record);
    Py_CLEAR(st->both);
    Py_CLEAR(st->pool);
    Py_CLEAR(st->process.getcontext);
    Py_CLEAR(st->process.context);
    for (int i = 0; i < 2; i++) {
        Py_CLEAR(st->process.spaces[i]);
        Py_CLEAR(st->process.names[i]);
        Py_CLEAR(st->process.streams[i]);
    }
    for (unsigned i = 0; i < sizeof st->process.held / sizeof *st->process.held; i++)
        Py_CLEAR(st->process.held[i]);
    Py_CLEAR(st->s_aenter);
    Py_CLEAR(st->s_aexit);
    Py_CLEAR(st->s_enter);
    Py_CLEAR(st->s_exit);
    Py_CLEAR(st->s_init);
    Py_CLEAR(st->s_new);
    Py_CLEAR(st->s_call);
    Py_CLEAR(st->s_getattribute);
    Py_CLEAR(st->s_append);
    fl_code_free_all(st);
}

void flow_state_free(struct flow_state *st) {
    flow_state_clear(st);
    PyMem_Free(st->spare.buf);
    PyMem_Free(st);
}
