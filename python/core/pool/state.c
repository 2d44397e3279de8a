/* State of the room: the engine, made with the first pool and ended at exit, and the cores of the pools opened here. */
#include "pool.h"

#include <string.h>

#define LEAVE_LIMIT_NS 30000000000
#define ENDED_TEXT                                                                                 \
    "the pool was ended by ergon.shutdown() or the exit of the program: open a new one"

/* --- cores -------------------------------------------------------------------------------------------------- */

static struct pl_core *core_alloc(struct pool_state *state) {
    struct pl_core *core = PyMem_Calloc(1, sizeof *core);
    if (!core)
        return (struct pl_core *)PyErr_NoMemory();
    core->refs = core->holds = 1;
    core->state = state;
    if (!(core->watched = PyDict_New())) {
        PyMem_Free(core);
        return NULL;
    }
    core->module = Py_NewRef(state->module);
    return core;
}

void pl_core_bind(struct pl_core *core, struct erg_pool *pool) {
    if (core->pool)
        return;
    core->pool = pool;
    core->table = erg_pool_table(pool);
    core->member = erg_pool_member(pool);
    erg_table_ref(core->table);
    core->bound = 1;
}

PyThreadState *pl_engine_enter(struct pool_state *state) {
    atomic_fetch_add(&state->inside, 1);
    return PyEval_SaveThread();
}

void pl_engine_leave(struct pool_state *state, PyThreadState *saved) {
    atomic_fetch_sub(&state->inside,
                     1); /* first: at the interpreter's end the other call never returns */
    PyEval_RestoreThread(saved);
}

struct pl_core *pl_core_new(struct pool_state *state, const struct erg_pool_spec *spec,
                            PyObject *thread_setup, PyObject *asked, int preload) {
    const struct erg_runtime *runtime = pl_runtime(state, preload);
    struct pl_core *core = runtime ? core_alloc(state) : NULL;
    if (!core)
        return NULL;
    PyObject *path = PySys_GetObject("path");
    core->path = path ? PySequence_List(path) : NULL;
    /* Last: whatever runs Python may let a shutdown() in, which frees the engine. */
    struct erg_engine *engine = PyErr_Occurred() ? NULL : pl_engine(state);
    unsigned generation = state->generation;
    if (!engine) {
        core->gone = 1;
        pl_core_release(core);
        return NULL;
    }
    core->thread_setup = thread_setup == Py_None ? NULL : Py_XNewRef(thread_setup);
    core->asked = asked == Py_None ? NULL : Py_XNewRef(asked);
    core->processes = spec->processes;
    core->threads = spec->threads;
    core->places = spec->places_len;
    core->by_reference = spec->processes == 0 && spec->places_len == 0;
    struct erg_pool_spec full = *spec;
    full.user = core;
    full.drops_late = 1;
    struct erg_error err = {0};
    struct erg_pool *pool;
    PyThreadState *saved = pl_engine_enter(state);
    int rc = erg_pool_open(engine, runtime, &full, &pool, &err);
    pl_engine_leave(state, saved);
    int ended = state->generation != generation; /* by shutdown(): the pool went with the engine */
    if (rc < 0 || ended) {
        if (!ended)
            core_raise_error(state->module, rc, &err);
        else if (!pl_exit_quietly(state))
            core_raise(state->module, CORE_EXC_POOL_CLOSED, "%s", ENDED_TEXT);
        core->gone = 1; /* threads that were started, and come to life only now */
        core->pool = NULL;
        pl_core_release(core);
        return NULL;
    }
    pl_core_bind(core, pool);
    core->generation = generation;
    atomic_store_explicit(&core->table->header->payloads, 1, memory_order_relaxed);
    core->uid = erg_table_number(core->table);
    core->sibling = state->cores;
    state->cores = core;
    if (state->tracing)
        atomic_store_explicit(&core->table->header->tracing, 1, memory_order_relaxed);
    rc = erg_pool_on_complete(pool, pl_future_on_complete, core, &err);
    if (rc < 0 || PyErr_Occurred()) {
        if (!PyErr_Occurred())
            core_raise_error(state->module, rc, &err);
        pl_core_unref(core);
        return NULL;
    }
    return core;
}

struct pl_core *pl_core_attach(struct pool_state *state, struct erg_member *member) {
    struct pl_core *core = core_alloc(state);
    if (!core)
        return NULL;
    core->table = member->table;
    core->member = member;
    erg_table_ref(core->table);
    core->bound = 1;
    core->uid = erg_table_number(core->table);
    return core;
}

struct pl_core *pl_core_ref(struct pl_core *core) {
    core->refs++;
    return core;
}

void pl_core_release(struct pl_core *core) {
    if (--core->holds == 0) {
        PyObject *module = core->module;
        Py_XDECREF(core->watched);
        Py_XDECREF(core->fn_names);
        Py_XDECREF(core->thread_setup);
        Py_XDECREF(core->unable);
        Py_XDECREF(core->asked);
        Py_XDECREF(core->path);
        PyMem_Free(core->orphans);
        PyMem_Free(core->holders);
        pl_trace_fini(core);
        if (core->bound)
            erg_table_unref(core->table);
        PyMem_Free(core);
        Py_DECREF(module); /* the state goes with it */
    }
}

static void core_unlist(struct pl_core *core) {
    for (struct pl_core **link = &core->state->cores; *link; link = &(*link)->sibling)
        if (*link == core) {
            *link = core->sibling;
            return;
        }
}

/* The last user is gone: what the caller never collected is freed, the workers end. */
static _Thread_local int ending_here; /* cores this thread is ending, one inside another */

static void core_end(struct pl_core *core) {
    struct pool_state *state = core->state;
    core->ending = 1;
    state->ending++;
    ending_here++;
    PyObject *raised = PyErr_GetRaisedException();
    if (core->pool && !pl_core_foreign(core)) {
        if (core->state->trace && pl_trace_collect(core, core->state->trace) < 0)
            PyErr_Clear();
        Py_BEGIN_ALLOW_THREADS
            erg_pool_terminate(core->pool, NULL);
        Py_END_ALLOW_THREADS
    }
    pl_call_sweep(core, 1);
    pl_fn_clear(core);
    core_unlist(core);
    struct erg_pool *pool = core->gone ? NULL : core->pool;
    core->gone = 1;
    Py_BEGIN_ALLOW_THREADS
        if (pool)
            erg_pool_free(pool);
        erg_table_unref(core->table);
    Py_END_ALLOW_THREADS
    core->bound = 0;
    state->ending--;
    ending_here--;
    pl_blob_clear(core);
    if (raised)
        PyErr_SetRaisedException(raised);
    pl_core_release(core);
}

static int unref_later(void *core) {
    pl_core_unref(core);
    return 0;
}

void pl_core_unref_aside(struct pl_core *core) {
    if (core->refs > 1)
        pl_core_unref(core);
    else
        Py_AddPendingCall(unref_later, core); /* full: the pool stays until the program ends */
}

void pl_core_unref(struct pl_core *core) {
    if (--core->refs)
        return;
    struct pl_worker *worker = pl_worker_current();
    if (worker && core->pool && worker->core == core) {
        /* A worker thread cannot end its own pool. The main thread can; if it has too much to do, the exit of the program
         * will. */
        core->refs++;
        Py_AddPendingCall(unref_later, core);
        return;
    }
    core->refs++; /* ending it may take and drop references */
    core_end(core);
}

uint32_t pl_core_workers(struct pl_core *core) {
    int n = core->processes + core->threads;
    if (core->places && pl_core_pool(core))
        n += erg_pool_places_up(core->pool);
    return n > 0 ? (uint32_t)n : 1;
}

#define CLOSED_TEXT "the pool is closed and takes no more tasks: restart() it or open a new one"

int pl_exit_quietly(struct pool_state *state) {
    if (!state->exiting || PyThread_get_thread_ident() == state->main_thread)
        return 0;
    PyErr_SetNone(PyExc_SystemExit);
    return 1;
}

PyObject *pl_raise_broken(struct pl_core *core, int rc, const struct erg_error *err) {
    core_raise_error(core->state->module, rc, err);
    if (rc != ERG_ELAUNCH || !core->unable)
        return NULL;
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *errors = PyImport_ImportModule("ergon.errors");
    PyObject *cause =
        errors ? PyObject_CallMethod(errors, "RemoteTraceback", "O", core->unable) : NULL;
    Py_XDECREF(errors);
    PyErr_Clear();
    if (cause)
        PyException_SetCause(raised, cause);
    PyErr_SetRaisedException(raised);
    return NULL;
}

int pl_core_check(struct pl_core *core) {
    PyObject *module = core->state->module;
    if (core->gone) {
        if (pl_exit_quietly(core->state))
            return -1;
        core_raise(module, CORE_EXC_POOL_CLOSED, "%s", ENDED_TEXT);
        return -1;
    }
    if (pl_core_foreign(core)) {
        core_raise(module, CORE_EXC_POOL_CLOSED,
                   "this pool belongs to the process that opened it and was inherited by fork: "
                   "open a new pool here");
        return -1;
    }
    if (!core->pool)
        return 0;
    if (core->closing) {
        core_raise(module, CORE_EXC_POOL_CLOSED, CLOSED_TEXT);
        return -1;
    }
    struct erg_error err = {0};
    int rc = erg_pool_check(core->pool, &err);
    if (rc == 0)
        return 0;
    if (rc == ERG_ECLOSED)
        core_raise(module, CORE_EXC_POOL_CLOSED, CLOSED_TEXT);
    else
        pl_raise_broken(core, rc, &err);
    return -1;
}

/* --- the engine ---------------------------------------------------------------------------------------------------- */

/* 1: *engine is the answer, be it NULL with an exception. */
static int engine_known(struct pool_state *state, struct erg_engine **engine) {
    *engine = NULL;
    if (state->engine && !erg_engine_foreign(state->engine)) {
        *engine = state->engine;
        return 1;
    }
    if (state->exiting && !pl_exit_quietly(state))
        core_raise(state->module, CORE_EXC_POOL_CLOSED,
                   "no pool can be opened any more: the program is ending");
    return state->exiting;
}

struct erg_engine *pl_engine(struct pool_state *state) {
    struct erg_engine *engine;
    if (engine_known(state, &engine))
        return engine;
    PyObject *atexit = PyImport_ImportModule("atexit");
    PyObject *shutdown = atexit ? PyObject_GetAttrString(state->module, "_at_exit") : NULL;
    PyObject *done = shutdown ? PyObject_CallMethod(atexit, "register", "O", shutdown) : NULL;
    Py_XDECREF(shutdown);
    Py_XDECREF(atexit);
    if (!done)
        return NULL;
    Py_DECREF(done);
    /* Another thread was faster, perhaps, or the program is ending by now. */
    if (engine_known(state, &engine))
        return engine;
    struct erg_error err = {0};
    int rc = erg_engine_new(&engine, &err);
    if (rc < 0) {
        core_raise_error(state->module, rc, &err);
        return NULL;
    }
    state->engine = engine;
    return engine;
}

PyDoc_STRVAR(shutdown_doc, "shutdown($module, /)\n--\n\n"
                           "Ends every pool of this process, its workers and the process they come "
                           "from. Happens by itself at exit.\n"
                           "Tasks not done are cancelled. New pools can be opened afterwards.");

/* 0: somebody is inside for good; the engine's memory has to stay, and goes with the process. */
static int everybody_left(struct pool_state *state) {
    uint64_t end = erg_clock_ns() + LEAVE_LIMIT_NS;
    while (atomic_load(&state->inside) > 0) {
        if (erg_clock_ns() > end)
            return 0;
        pl_nap();
    }
    return 1;
}

/* The pools of this process that nobody is ending, held: ends with NULL, for PyMem_Free. NULL with an exception. */
static struct pl_core **hold_cores(struct pool_state *state) {
    size_t count = 0;
    for (struct pl_core *core = state->cores; core; core = core->sibling)
        count++;
    struct pl_core **held = PyMem_Calloc(count + 1, sizeof *held);
    if (!held)
        return (struct pl_core **)PyErr_NoMemory();
    count = 0;
    for (struct pl_core *core = state->cores; core; core = core->sibling)
        if (!core->ending && !pl_core_foreign(core))
            held[count++] = pl_core_ref(core);
    return held;
}

static void drop_cores(struct pl_core **held) {
    for (struct pl_core **core = held; *core; core++)
        pl_core_unref(*core);
    PyMem_Free(held);
}

static int collect_traces(struct pool_state *state) {
    struct pl_core **held = state->trace ? hold_cores(state) : NULL;
    if (!held)
        return PyErr_Occurred() ? -1 : 0;
    for (struct pl_core **core = held; *core; core++)
        if (state->trace && pl_trace_collect(*core, state->trace) < 0)
            PyErr_Clear();
    drop_cores(held);
    return 0;
}

static PyObject *shutdown_engine(PyObject *module, PyObject *args) {
    (void)args;
    struct pool_state *state = core_state_of(module)->pool;
    struct erg_engine *engine = state->engine;
    if (!engine || erg_engine_foreign(engine))
        Py_RETURN_NONE;
    if (collect_traces(state) < 0)
        return NULL;
    while (state->ending > ending_here && state->engine == engine) { /* by other threads; bounded */
        Py_BEGIN_ALLOW_THREADS
            pl_nap();
        Py_END_ALLOW_THREADS
    }
    if (state->engine != engine)
        Py_RETURN_NONE; /* another thread was faster */
    struct pl_core **held = hold_cores(state);
    if (!held)
        return NULL;
    state->engine = NULL; /* from here on nobody else begins or ends anything of it */
    unsigned generation = state->generation++;
    for (struct pl_core **core = held; *core; core++)
        (*core)->gone = 1;
    Py_BEGIN_ALLOW_THREADS
        /* Who waits for a pool's end without the GIL finds it ended, and goes. */
        for (struct pl_core **core = held; *core; core++)
            erg_pool_terminate((*core)->pool, NULL);
        if (everybody_left(state))
            erg_engine_free(engine);
    Py_END_ALLOW_THREADS
    for (struct pl_core *core = state->cores; core; core = core->sibling)
        if (core->generation == generation)
            core->pool = NULL;
    drop_cores(held);
    Py_RETURN_NONE;
}

static PyObject *at_exit(PyObject *module, PyObject *args) {
    struct pool_state *state = core_state_of(module)->pool;
    state->exiting = 1;
    state->main_thread = PyThread_get_thread_ident();
    return shutdown_engine(module, args);
}

/* --- the room ---------------------------------------------------------------------------------------------------------- */

static PyMethodDef methods[] = {
    {"shutdown", shutdown_engine, METH_NOARGS, shutdown_doc},
    {"_leave", pl_leave, METH_O,
     "_leave($module, status, /)\n--\n\nEnds the process at once, with C's files written out."},
    {"_at_exit", at_exit, METH_NOARGS,
     "_at_exit($module, /)\n--\n\nshutdown(), when the interpreter ends."},
    {"_zygote_main", pl_zygote_main, METH_NOARGS,
     "_zygote_main($module, /)\n--\n\nBody of the zygote process."},
    {"_protocol", pl_protocol, METH_NOARGS,
     "_protocol($module, /)\n--\n\nThe version of the protocol between hosts."},
    {"_read_key", pl_read_key, METH_O,
     "_read_key($module, path, /)\n--\n\nThe 32 bytes in a key file; ConfigError and the like."},
    {"_make_key", pl_make_key, METH_O,
     "_make_key($module, path, /)\n--\n\nA new key in a new file, readable by its owner alone."},
    {"_is_local", pl_is_local, METH_O,
     "_is_local($module, host, /)\n--\n\nWhether only this machine reaches that address."},
    {"_server_run", pl_server_run, METH_VARARGS,
     "_server_run($module, host, port, key, idle, announce, argv, tag, python, /)\n--\n\nServes "
     "clients that hold the key."},
    {"_thread_main", pl_thread_main, METH_VARARGS,
     "_thread_main($module, core, member, /)\n--\n\nBody of a worker thread."},
    {"_interrupt", pl_worker_interrupt_handler, METH_VARARGS,
     "_interrupt($module, signal, frame, /)\n--\n\nHandler of the signal that interrupts a task."},
    {"_settled", pl_settled, METH_VARARGS,
     "_settled($module, value, exception, /)\n--\n\nA Future that is done."},
    {"_check_options", CORE_METHOD(pl_check_options), METH_FASTCALL | METH_KEYWORDS,
     "_check_options($module, /, **options)\n--\n\nRaises what map() would raise about its "
     "options."},
    {"_fresh", pl_fresh, METH_O,
     "_fresh($module, box, /)\n--\n\nWhether what stands in the list, alone, is referred to by "
     "nothing else; nor is what "
     "it refers to."},
    {"_shared", pl_shared, METH_O,
     "_shared($module, value, /)\n--\n\nWhat stands in it and is referred to from elsewhere; None "
     "if it cannot be told."},
    {"_pool_by_uid", pl_pool_by_uid, METH_O,
     "_pool_by_uid($module, uid, /)\n--\n\nThe pool a pickled pool stands for."},
    {"_agent_main", pl_agent_main, METH_VARARGS,
     "_agent_main($module, zygote_argv, tag, python, session, lease, /)\n--\n\nBody of an agent's "
     "process."},
    {"_ask_line", pl_ask_line, METH_NOARGS,
     "_ask_line($module, /)\n--\n\n(descriptor, number) of a line from a worker elsewhere to "
     "its pool's owner; None where there is none."},
    {"_member", pl_member_number, METH_NOARGS,
     "_member($module, /)\n--\n\nThe number of this thread among those that serve its pool; "
     "0 outside of them."},
    {"_parse_resource", pl_parse_resource, METH_O,
     "_parse_resource($module, text, /)\n--\n\n(kind, count, options, user, host, port) of a "
     "resource "
     "string; ConfigError."},
    {"trace_start", pl_trace_start, METH_NOARGS,
     "trace_start($module, /)\n--\n\nRecord what becomes of every task."},
    {"trace_stop", pl_trace_stop, METH_NOARGS, "trace_stop($module, /)\n--\n\nRecord no more."},
    {"trace_events", pl_trace_events, METH_NOARGS,
     "trace_events($module, /)\n--\n\nWhat was recorded, as tuples."},
    {"trace_clear", pl_trace_clear, METH_NOARGS,
     "trace_clear($module, /)\n--\n\nForget what was recorded."},
    {NULL, NULL, 0, NULL},
};

struct pool_state *pool_state_new(PyObject *module) {
    struct pool_state *state = PyMem_Calloc(1, sizeof *state);
    if (!state)
        return (struct pool_state *)PyErr_NoMemory();
    state->module = module;
    return state;
}

int pool_exec(PyObject *module) {
    struct pool_state *state = core_state_of(module)->pool;
    if (PyModule_AddFunctions(module, methods) < 0 || pl_buffer_register(state) < 0 ||
        pl_future_register(state) < 0 || pl_handle_register(state) < 0 ||
        pl_imap_register(state) < 0 || pl_pool_register(state) < 0)
        return -1;
    return pk_register_ref_type(module, state->future_type) < 0 ||
                   pk_register_ref_type(module, state->handle_type) < 0
               ? -1
               : 0;
}

int pool_state_traverse(struct pool_state *state, visitproc visit, void *arg) {
    Py_VISIT(state->pool_type);
    Py_VISIT(state->future_type);
    Py_VISIT(state->buffer_type);
    Py_VISIT(state->handle_type);
    Py_VISIT(state->imap_type);
    Py_VISIT(state->trace);
    return 0;
}

void pool_state_clear(struct pool_state *state) {
    Py_CLEAR(state->pool_type);
    Py_CLEAR(state->future_type);
    Py_CLEAR(state->buffer_type);
    Py_CLEAR(state->handle_type);
    Py_CLEAR(state->imap_type);
    Py_CLEAR(state->trace);
}

void pool_state_free(struct pool_state *state) {
    pl_runtime_fini(state);
    PyMem_Free(state);
}
