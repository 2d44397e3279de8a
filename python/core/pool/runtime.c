/* How workers of Python come into being.
 *
 * Processes: the engine starts the zygote, a fresh interpreter that imports nothing but this module (its command line
 * comes from ergon._worker.zygote_argv()); it forks the workers, which set themselves up from the pool's start-up message.
 * Pools that ask for it share a second or third zygote, which imports what is heavy before it forks, once for all workers.
 * Threads: ergon._worker.start_thread() makes a daemon threading.Thread that calls pl_thread_main(). */
#include "pool.h"

#include <unistd.h>

/* --- in the zygote ---------------------------------------------------------------------------------------------- */

static pid_t python_fork(void *ctx) {
    (void)ctx;
    PyOS_BeforeFork();
    pid_t pid = fork();
    if (pid == 0)
        PyOS_AfterFork_Child();
    else
        PyOS_AfterFork_Parent();
    return pid;
}

static int worker_process(PyObject *module, const struct erg_worker_start *start) {
    struct pl_worker worker;
    if (pl_worker_init(&worker, core_state_of(module)->pool) < 0)
        return 1;
    int status = erg_worker_process_main(start, pl_worker_ops(), &worker);
    pl_worker_fini(&worker);
    return status;
}

PyObject *pl_zygote_main(PyObject *module, PyObject *args) {
    (void)args;
    struct erg_worker_start start;
    struct erg_error err = {0};
    int rc = erg_zygote_serve(ERG_ZYGOTE_FD, python_fork, NULL, &start, &err);
    if (rc < 0)
        return core_raise_error(module, rc, &err);
    return PyLong_FromLong(rc == 1 ? worker_process(module, &start) : 0);
}

PyObject *pl_leave(PyObject *module, PyObject *status) {
    (void)module;
    int code = (int)PyLong_AsLong(status);
    if (PyErr_Occurred())
        return NULL;
    fflush(NULL);
    _exit(code);
}

/* --- threads ------------------------------------------------------------------------------------------------------- */

/* Called while the pool opens or grows: its core is there before it is. */
static int start_thread(void *ctx, struct erg_pool *pool, uint32_t member) {
    struct pool_state *state = ctx;
    struct pl_core *core = erg_pool_user(pool);
    PyGILState_STATE gil = PyGILState_Ensure();
    pl_core_bind(core, pool);
    core->holds++;
    PyObject *helper = PyImport_ImportModule("ergon._worker");
    PyObject *started =
        helper ? PyObject_CallMethod(
                     helper, "start_thread", "KKI", (unsigned long long)(uintptr_t)core,
                     (unsigned long long)(uintptr_t)erg_pool_thread_seat(pool, member), member)
               : NULL;
    int rc = 0;
    if (!started) {
        PyErr_WriteUnraisable(state->module);
        pl_core_release(core);
        rc = ERG_ELAUNCH;
    }
    Py_XDECREF(started);
    Py_XDECREF(helper);
    PyGILState_Release(gil);
    return rc;
}

/* (addresses of the core and of the seat, member number): the body of a worker thread, which holds the core. */
PyObject *pl_thread_main(PyObject *module, PyObject *args) {
    unsigned long long address, place;
    unsigned int member;
    if (!PyArg_ParseTuple(args, "KKI", &address, &place, &member))
        return NULL;
    struct pl_core *core = (struct pl_core *)(uintptr_t)address;
    struct thread_worker *seat = (struct thread_worker *)(uintptr_t)place;
    struct pl_worker worker;
    int rc = pl_worker_init(&worker, core_state_of(module)->pool);
    if (rc < 0 || core->gone) { /* gone: the pool ended before this thread got its first turn */
        erg_pool_thread_main(seat, NULL, NULL);
        pl_worker_fini(&worker);
        pl_core_release(core);
        return rc < 0 ? NULL : Py_NewRef(Py_None);
    }
    worker.core = core;
    worker.thread_id = PyThread_get_thread_ident();
    worker.sibling = core->thread_workers;
    worker.number = member;
    core->thread_workers = &worker;
    erg_pool_thread_main(seat, pl_worker_ops(), &worker);
    for (struct pl_worker **link = &core->thread_workers; *link; link = &(*link)->sibling)
        if (*link == &worker) {
            *link = worker.sibling;
            break;
        }
    worker.core = NULL;
    pl_worker_fini(&worker);
    pl_core_release(core);
    Py_RETURN_NONE;
}

/* An exception for the thread, if it still runs the task. It takes effect at the next bytecode: a thread that sits
 * in a library's code goes on until that returns. */
static int interrupt_thread(void *ctx, struct erg_pool *pool, uint32_t member, erg_handle task) {
    (void)ctx;
    struct pl_core *core = erg_pool_user(pool);
    if (Py_IsFinalizing())
        return 0;
    PyGILState_STATE gil = PyGILState_Ensure();
    int asked = 0;
    for (struct pl_worker *w = core->thread_workers; w && !asked; w = w->sibling)
        if (w->number == member && w->running == task) {
            asked = w->sent = PyThreadState_SetAsyncExc(w->thread_id, w->interrupted) == 1;
        }
    PyGILState_Release(gil);
    return asked;
}

/* --- the engine's view ------------------------------------------------------------------------------------------------ */

static void argv_free(char **argv) {
    for (char **p = argv; p && *p; p++)
        PyMem_Free(*p);
    PyMem_Free(argv);
}

char **pl_argv_make(PyObject *list) {
    Py_ssize_t n = PyList_GET_SIZE(list);
    char **argv = PyMem_Calloc((size_t)n + 1, sizeof *argv);
    if (!argv)
        return (char **)PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < n; i++) {
        PyObject *bytes;
        if (!PyUnicode_FSConverter(PyList_GET_ITEM(list, i), &bytes)) {
            argv_free(argv);
            return NULL;
        }
        size_t size = (size_t)PyBytes_GET_SIZE(bytes) + 1;
        if ((argv[i] = PyMem_Malloc(size)))
            memcpy(argv[i], PyBytes_AS_STRING(bytes), size);
        Py_DECREF(bytes);
        if (!argv[i]) {
            argv_free(argv);
            return (char **)PyErr_NoMemory();
        }
    }
    return argv;
}

const struct erg_runtime *pl_runtime(struct pool_state *state, int preload) {
    struct erg_runtime *runtime = &state->runtimes[preload];
    if (runtime->name)
        return runtime;
    const struct erg_runtime *plain = preload ? pl_runtime(state, 0) : runtime;
    if (!plain)
        return NULL;
    PyObject *helper = PyImport_ImportModule("ergon._worker");
    PyObject *list = helper ? PyObject_CallMethod(helper, "zygote_argv", "i", preload) : NULL;
    char **argv = list ? pl_argv_make(list) : NULL;
    Py_XDECREF(list);
    Py_XDECREF(helper);
    if (!argv)
        return NULL;
    if (runtime->name) { /* another thread was faster */
        argv_free(argv);
        return runtime;
    }
    state->zygote_argv[preload] = argv;
    *runtime = (struct erg_runtime){.name = "python",
                                    .zygote_argv = argv,
                                    .keeper_argv = preload ? plain->zygote_argv : argv,
                                    .start_thread = start_thread,
                                    .interrupt_thread = interrupt_thread,
                                    .task_lost = pl_trace_lost,
                                    .task_elsewhere = pl_trace_elsewhere,
                                    .asked = pl_asked,
                                    .ctx = state};
    return runtime;
}

void pl_runtime_fini(struct pool_state *state) {
    for (int i = 0; i < 3; i++) {
        argv_free(state->zygote_argv[i]);
        state->zygote_argv[i] = NULL;
        state->runtimes[i].name = NULL;
    }
}
