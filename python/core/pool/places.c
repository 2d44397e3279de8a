/* Places as Python describes them, and the body of an agent's process. */
#include "pool.h"

#include "engine/agent.h"
#include "engine/agent_ask.h"
#include "launch/daemon.h"
#include "wire/message.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* --- places -------------------------------------------------------------------------------------------------- */

static void argv_free(char **argv) {
    for (char **p = argv; p && *p; p++)
        PyMem_Free(*p);
    PyMem_Free(argv);
}

static char **argv_of(PyObject *list) {
    Py_ssize_t n = PyList_Check(list) ? PyList_GET_SIZE(list) : 0;
    char **argv = PyMem_Calloc((size_t)n + 1, sizeof *argv);
    for (Py_ssize_t i = 0; argv && i < n; i++) {
        PyObject *bytes;
        if (!PyUnicode_FSConverter(PyList_GET_ITEM(list, i), &bytes)) {
            argv_free(argv);
            return NULL;
        }
        size_t size = (size_t)PyBytes_GET_SIZE(bytes) + 1;
        if ((argv[i] = PyMem_Malloc(size)))
            memcpy(argv[i], PyBytes_AS_STRING(bytes), size);
        Py_DECREF(bytes);
    }
    return argv ? argv : (char **)PyErr_NoMemory();
}

/* The value stays alive with the dict. */
static int text_of(PyObject *dict, const char *key, const char **out) {
    PyObject *value = PyDict_GetItemString(dict, key);
    *out = NULL;
    if (!value || value == Py_None)
        return 0;
    return (*out = PyUnicode_AsUTF8(value)) ? 0 : -1;
}

static int bytes_of(PyObject *dict, const char *key, const void **out, size_t *len) {
    PyObject *value = PyDict_GetItemString(dict, key);
    char *bytes;
    Py_ssize_t n;
    *out = NULL;
    *len = 0;
    if (!value || value == Py_None)
        return 0;
    if (PyBytes_AsStringAndSize(value, &bytes, &n) < 0)
        return -1;
    *out = bytes;
    *len = (size_t)n;
    return 0;
}

static int number_of(PyObject *dict, const char *key, double *out) {
    PyObject *value = PyDict_GetItemString(dict, key);
    *out = value && value != Py_None ? PyFloat_AsDouble(value) : 0;
    return PyErr_Occurred() ? -1 : 0;
}

/* data_ports: (first, last) or None. */
static int ports_of(PyObject *dict, uint16_t *low, uint16_t *high) {
    PyObject *value = PyDict_GetItemString(dict, "data_ports");
    if (!value || value == Py_None)
        return 0;
    if (!PyTuple_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "data_ports of a place is a pair of numbers");
        return -1;
    }
    return PyArg_ParseTuple(value, "HH", low, high) ? 0 : -1;
}

static int one_place(PyObject *dict, struct erg_place_spec *s) {
    static const char *const kinds[] = {"exec", "ssh", "tcp"};
    const char *kind;
    const void *key, *session;
    size_t key_len, session_len;
    double slots, port, connect, reconnect;
    PyObject *argv = PyDict_GetItemString(dict, "argv");
    if (text_of(dict, "name", &s->name) < 0 || text_of(dict, "label", &s->host) < 0 ||
        text_of(dict, "tag", &s->tag) < 0 || text_of(dict, "kind", &kind) < 0 ||
        text_of(dict, "host", &s->reach.host) < 0 || text_of(dict, "user", &s->reach.user) < 0 ||
        text_of(dict, "config", &s->reach.config) < 0 ||
        text_of(dict, "password", &s->reach.password) < 0 ||
        text_of(dict, "command", &s->reach.command) < 0 ||
        text_of(dict, "seed", &s->reach.seed) < 0 ||
        bytes_of(dict, "init", &s->init, &s->init_len) < 0 ||
        bytes_of(dict, "script", &s->reach.script, &s->reach.script_len) < 0 ||
        ports_of(dict, &s->port_low, &s->port_high) < 0 ||
        bytes_of(dict, "key", &key, &key_len) < 0 ||
        bytes_of(dict, "session", &session, &session_len) < 0 ||
        number_of(dict, "slots", &slots) < 0 || number_of(dict, "port", &port) < 0 ||
        number_of(dict, "connect", &connect) < 0 || number_of(dict, "reconnect", &reconnect) < 0)
        return -1;
    int found = -1;
    for (int i = 0; kind && i < 3; i++)
        if (strcmp(kind, kinds[i]) == 0)
            found = i;
    if (!s->name || found < 0 || (key && key_len != 32) || (session && session_len != 16)) {
        PyErr_SetString(PyExc_ValueError,
                        "a place needs a name and a kind: 'exec', 'ssh' or 'tcp'");
        return -1;
    }
    if (argv && argv != Py_None && !(s->reach.argv = argv_of(argv)))
        return -1;
    s->reach.kind = (enum erg_reach_kind)found;
    s->reach.port = (uint16_t)port;
    s->reach.key = key;
    s->reach.session = session;
    s->slots = (int)slots;
    s->connect_ns = (int64_t)(connect * 1e9);
    s->reconnect_ns = (int64_t)(reconnect * 1e9);
    return 0;
}

void pl_places_free(struct erg_place_spec *specs, int n) {
    for (int i = 0; i < n; i++)
        argv_free((char **)specs[i].reach.argv);
    PyMem_Free(specs);
}

int pl_places_parse(PyObject *list, struct erg_place_spec **out, int *n) {
    *out = NULL;
    *n = 0;
    if (!list || list == Py_None)
        return 0;
    if (!PyList_Check(list) || PyList_GET_SIZE(list) > 10000) {
        PyErr_SetString(PyExc_TypeError, "places is a list of dicts");
        return -1;
    }
    int count = (int)PyList_GET_SIZE(list);
    struct erg_place_spec *specs = PyMem_Calloc((size_t)count + 1, sizeof *specs);
    if (!specs) {
        PyErr_NoMemory();
        return -1;
    }
    for (int i = 0; i < count; i++)
        if (!PyDict_Check(PyList_GET_ITEM(list, i)) ||
            one_place(PyList_GET_ITEM(list, i), &specs[i]) < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_TypeError, "places is a list of dicts");
            pl_places_free(specs, count);
            return -1;
        }
    *out = specs;
    *n = count;
    return 0;
}

/* What another machine says about itself may be in any encoding, and cut anywhere. */
static PyObject *text(void *bytes) {
    return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "replace");
}

static PyObject *place_dict(const struct erg_place_info *p) {
    static const char *const states[] = {"off",    "starting", "up",     "broken",
                                         "failed", "lost",     "leaving"};
    return Py_BuildValue(
        "{sO&sO&sO&sssIsIsIsisdsdsKsKsKsKsKsdsO&}", "name", text, p->name, "host", text, p->host,
        "python", text, p->python, "state", states[p->state], "slots", p->slots, "cores", p->cores,
        "leased", p->leased, "pid", (int)p->pid, "rtt_s", (double)p->rtt_ns * 1e-9, "mean_s",
        (double)p->mean_ns * 1e-9, "tasks", (unsigned long long)p->tasks, "tasks_lost",
        (unsigned long long)p->tasks_lost, "bytes_in", (unsigned long long)p->bytes_in, "bytes_out",
        (unsigned long long)p->bytes_out, "bytes_direct", (unsigned long long)p->bytes_direct,
        "busy_s", (double)p->busy_ns * 1e-9, "words", text, p->words);
}

PyObject *pl_places_info(struct pl_core *core) {
    struct erg_pool *pool = pl_core_pool(core);
    int n = pool ? erg_pool_places(pool, NULL, 0) : 0;
    struct erg_place_info *info = PyMem_Calloc((size_t)n + 1, sizeof *info);
    if (!info)
        return PyErr_NoMemory();
    if (n > 0)
        n = erg_pool_places(pool, info, n);
    PyObject *list = PyList_New(0);
    for (int i = 0; list && i < n; i++) {
        PyObject *one = place_dict(&info[i]);
        if (!one || PyList_Append(list, one) < 0)
            Py_CLEAR(list);
        Py_XDECREF(one);
    }
    PyMem_Free(info);
    return list;
}

/* --- questions ------------------------------------------------------------------------------------------------- */

/* In the thread that hears them. The core lives: ending it waits for that thread. */
void pl_asked(void *ctx, struct erg_pool *pool, const char *place, const unsigned char *bytes,
              size_t len, void **answer, size_t *answer_len) {
    (void)ctx;
    struct pl_core *core = erg_pool_user(pool);
    if (!core->asked || Py_IsFinalizing())
        return;
    PyGILState_STATE gil = PyGILState_Ensure();
    pl_core_ref(core);
    PyObject *asked = Py_NewRef(core->asked);
    PyObject *found =
        PyObject_CallFunction(asked, "sy#", place, (const char *)bytes, (Py_ssize_t)len);
    if (found && PyBytes_Check(found) && PyBytes_GET_SIZE(found) > 0 &&
        (*answer = malloc((size_t)PyBytes_GET_SIZE(found)))) {
        *answer_len = (size_t)PyBytes_GET_SIZE(found);
        memcpy(*answer, PyBytes_AS_STRING(found), *answer_len);
    } else if (!found) {
        PyErr_WriteUnraisable(asked);
    }
    Py_XDECREF(found);
    Py_DECREF(asked);
    pl_core_unref_aside(core); /* ending the pool means to join this thread */
    PyGILState_Release(gil);
}

PyObject *pl_ask_line(PyObject *module, PyObject *args) {
    (void)module;
    (void)args;
    struct pl_worker *worker = pl_worker_current();
    uint64_t name = worker && worker->core ? worker->core->table->header->asks : 0;
    if (name == 0)
        Py_RETURN_NONE;
    int fd = erg_ask_connect(name);
    return fd < 0 ? PyErr_SetFromErrno(PyExc_OSError)
                  : Py_BuildValue("(iK)", fd, (unsigned long long)name);
}

/* --- an agent's process ----------------------------------------------------------------------------------------- */

struct host {
    struct erg_agent_config config;
    struct erg_agent *agent;
    int code;
    struct erg_error err;
};

static int host_make(void *ctx, struct erg_error *err) {
    struct host *h = ctx;
    return erg_agent_new(&h->config, &h->agent, err);
}

static int host_attach(void *ctx, int fd_in, int fd_out, struct erg_error *err) {
    struct host *h = ctx;
    return erg_agent_attach(h->agent, fd_in, fd_out, NULL, err);
}

static void host_output(void *ctx, int fd, const char *bytes, size_t len) {
    struct host *h = ctx;
    erg_agent_log(h->agent, fd == 2 ? ERG_LOG_ERROR : ERG_LOG_OUTPUT, bytes, len);
}

static void host_run(void *ctx) {
    struct host *h = ctx;
    h->code = erg_agent_run(h->agent, &h->err);
}

static void host_end(void *ctx) {
    struct host *h = ctx;
    erg_agent_free(h->agent);
    h->agent = NULL;
}

static void host_stop(void *ctx) {
    struct host *h = ctx;
    erg_agent_stop(h->agent);
}

/* Without a daemon: this process is the agent, and lives as long as its link. */
static int serve_here(struct host *h, struct erg_error *err) {
    int in = fcntl(0, F_DUPFD_CLOEXEC, 3), out = fcntl(1, F_DUPFD_CLOEXEC, 3);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0 || out < 0 || null < 0)
        return erg_error_system(err, errno, "cannot use standard input and output as a link");
    dup2(null, 0);
    dup2(2, 1); /* what workers print must not get into the link */
    close(null);
    if (write(out, "ERGON1 ready\n", 13) != 13)
        return erg_error_set(err, ERG_ECLOSED, "nobody listens on standard output");
    h->config.one_link = 1;
    int code = host_make(h, err);
    if (code == 0)
        code = host_attach(h, in, out, err);
    if (code == 0)
        host_run(h);
    host_end(h);
    if (code == 0 && h->code < 0 && h->code != ERG_ETIMEOUT)
        *err = h->err;
    return code < 0 ? code : h->code == ERG_ETIMEOUT ? 0 : h->code;
}

/* (argv of the zygote, tag, python, session or None, lease in seconds) */
PyObject *pl_agent_main(PyObject *module, PyObject *args) {
    PyObject *list;
    struct host h = {.code = 0};
    const char *session;
    Py_ssize_t session_len;
    double lease;
    if (!PyArg_ParseTuple(args, "O!ssz#d", &PyList_Type, &list, &h.config.tag, &h.config.python,
                          &session, &session_len, &lease))
        return NULL;
    if (session && session_len != 16) {
        PyErr_SetString(PyExc_ValueError, "a session's name has 16 bytes");
        return NULL;
    }
    char **argv = argv_of(list);
    if (!argv)
        return NULL;
    struct erg_runtime runtime = {.name = "python", .zygote_argv = argv};
    struct erg_error err = {0};
    static const struct erg_daemon_ops ops = {.make = host_make,
                                              .attach = host_attach,
                                              .output = host_output,
                                              .run = host_run,
                                              .end = host_end,
                                              .stop = host_stop};
    h.config.runtime = &runtime;
    h.config.lease_ns = (int64_t)(lease * 1e9);
    int code;
    Py_BEGIN_ALLOW_THREADS
        if (session) {
            memcpy(h.config.session, session, 16);
            code = erg_daemon_attach(h.config.session, 0, 1, &ops, &h, &err);
        } else {
            code = serve_here(&h, &err);
        }
    Py_END_ALLOW_THREADS
    argv_free(argv);
    if (code < 0)
        return core_raise_error(module, code, &err);
    Py_RETURN_NONE;
}
