/* Servers, keys, the protocol's version: Python lends its process and says how workers are started; C does the rest,
 * without the GIL. */
#include "pool.h"

#include "engine/server.h"
#include "wire/auth.h"
#include "wire/message.h"

#include <errno.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

PyObject *pl_protocol(PyObject *module, PyObject *args) {
    (void)module;
    (void)args;
    return PyLong_FromLong(ERG_PROTOCOL_MAJOR);
}

PyObject *pl_read_key(PyObject *module, PyObject *path) {
    unsigned char key[ERG_AUTH_KEY];
    struct erg_error err;
    PyObject *bytes;
    if (!PyUnicode_FSConverter(path, &bytes))
        return NULL;
    int status = erg_auth_key_read(PyBytes_AS_STRING(bytes), key, &err);
    Py_DECREF(bytes);
    return status < 0 ? core_raise_error(module, status, &err)
                      : PyBytes_FromStringAndSize((const char *)key, sizeof key);
}

PyObject *pl_make_key(PyObject *module, PyObject *path) {
    unsigned char key[ERG_AUTH_KEY];
    struct erg_error err;
    PyObject *bytes;
    if (!PyUnicode_FSConverter(path, &bytes))
        return NULL;
    int status = erg_auth_key_make(PyBytes_AS_STRING(bytes), key, &err);
    Py_DECREF(bytes);
    return status < 0 ? core_raise_error(module, status, &err)
                      : PyBytes_FromStringAndSize((const char *)key, sizeof key);
}

/* A runtime that has worker processes only, started with a list of strings; lives as long as the process. */
static int runtime_make(struct erg_runtime *runtime, PyObject *argv) {
    if (!PyList_Check(argv)) {
        PyErr_SetString(PyExc_TypeError, "expected a list of strings");
        return -1;
    }
    char **made = pl_argv_make(argv);
    if (!made)
        return -1;
    *runtime = (struct erg_runtime){.name = "python", .zygote_argv = made};
    return 0;
}

static int stop_fd = -1; /* for the signal handler of a process that is a server and nothing else */

static void on_stop(int signal) {
    (void)signal;
    uint64_t one = 1;
    int saved = errno;
    if (write(stop_fd, &one, sizeof one) < 0)
        errno = saved;
    errno = saved;
}

static void announce(void *ctx, uint16_t port) {
    PyGILState_STATE gil = PyGILState_Ensure();
    PyObject *done = PyObject_CallFunction(ctx, "i", (int)port);
    if (!done)
        PyErr_WriteUnraisable(ctx);
    Py_XDECREF(done);
    PyGILState_Release(gil);
}

PyObject *pl_server_run(PyObject *module, PyObject *args) {
    static struct erg_runtime runtime;
    struct erg_server_config config = {.agent = {.runtime = &runtime}, .announce = announce};
    struct erg_error err;
    PyObject *argv;
    const char *key;
    Py_ssize_t len;
    double idle;
    int port;
    if (!PyArg_ParseTuple(args, "ziy#dOOss", &config.host, &port, &key, &len, &idle, &config.ctx,
                          &argv, &config.agent.tag, &config.agent.python))
        return NULL;
    if (len != ERG_AUTH_KEY || port < 0 || port > 65535) {
        PyErr_SetString(PyExc_ValueError, "a key has 32 bytes, a port is a number up to 65535");
        return NULL;
    }
    config.port = (uint16_t)port;
    config.key = (const unsigned char *)key;
    config.idle_ns = (int64_t)(idle * 1e9);
    if (runtime_make(&runtime, argv) < 0)
        return NULL;
    stop_fd = config.stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    struct sigaction act = {.sa_handler = on_stop}, before[2];
    sigaction(SIGINT, &act, &before[0]);
    sigaction(SIGTERM, &act, &before[1]);
    int status;
    Py_BEGIN_ALLOW_THREADS
        ;
        status = erg_server_run(&config, &err);
    Py_END_ALLOW_THREADS;
    sigaction(SIGINT, &before[0], NULL);
    sigaction(SIGTERM, &before[1], NULL);
    close(stop_fd);
    stop_fd = -1;
    return status < 0 ? core_raise_error(module, status, &err) : PyLong_FromLong(0);
}

PyObject *pl_is_local(PyObject *module, PyObject *host) {
    (void)module;
    const char *text = PyUnicode_AsUTF8(host);
    return text ? PyBool_FromLong(erg_server_is_local(text)) : NULL;
}
