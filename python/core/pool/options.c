/* The pool's own keywords: map(..., chunksize=, timeout=, …) and pool.options(...). */
#include "pool.h"

#include "engine/resource.h"

#include <string.h>

static int bad(const char *what, PyObject *value) {
    PyErr_Format(PyExc_ValueError, "%s, not %R", what, value);
    return -1;
}

/* A value of a kind that cannot be one is a TypeError, as of any function. */
static int bad_type(const char *what, PyObject *value) {
    PyErr_Format(PyExc_TypeError, "%s, not %.200R", what, value);
    return -1;
}

/* The exception that is set, if it is about the value and not about the program, becomes one that says what is expected. */
static int bad_number(const char *what, PyObject *value) {
    if (PyErr_ExceptionMatches(PyExc_OverflowError)) {
        PyErr_Clear();
        PyErr_Format(PyExc_ValueError, "%s; this number is too large", what);
        return -1;
    }
    if (!PyErr_ExceptionMatches(PyExc_TypeError))
        return -1;
    PyErr_Clear();
    return bad_type(what, value);
}

static int set_count(PyObject *value, const char *what, Py_ssize_t *out) {
    if (value == Py_None) {
        *out = 0;
        return 0;
    }
    Py_ssize_t n = PyNumber_AsSsize_t(value, PyExc_OverflowError);
    if (n == -1 && PyErr_Occurred())
        return bad_number(what, value);
    if (n < 0)
        return bad(what, value);
    *out = n;
    return 0;
}

int pl_seconds(PyObject *value, const char *what, double *out) {
    *out = -1;
    if (value == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1 && PyErr_Occurred())
        return bad_number(what, value);
    if (seconds != seconds)
        return bad(what, value);
    *out = seconds > PL_FOREVER_S ? -1 : seconds < 0 ? 0 : seconds;
    return 0;
}

static int set_timeout(struct pl_options *o, PyObject *value) {
    static const char *const what = "timeout= is a number of seconds above 0, or None";
    if (pl_seconds(value, what, &o->timeout) < 0)
        return -1;
    if (o->timeout == 0)
        return bad(what, value);
    return 0;
}

static int set_kind(struct pl_options *o, PyObject *value) {
    if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "process") == 0)
        o->queue = ERG_QUEUE_PROCESS;
    else if (PyUnicode_Check(value) && PyUnicode_CompareWithASCIIString(value, "thread") == 0)
        o->queue = ERG_QUEUE_THREAD;
    else
        return bad("resources={'kind': ...} is 'process' or 'thread'", value);
    return 0;
}

static int set_hosts(struct pl_options *o, PyObject *value) {
    PyObject *names = PyUnicode_Check(value) ? PyTuple_Pack(1, value) : PySequence_Tuple(value);
    Py_ssize_t n = names ? PyTuple_GET_SIZE(names) : 0;
    int good = n > 0 && n <= 64;
    for (Py_ssize_t i = 0; good && i < n; i++)
        good = PyUnicode_Check(PyTuple_GET_ITEM(names, i));
    if (!good) {
        PyErr_Clear();
        Py_XDECREF(names);
        return bad("resources={'host': ...} is a name, or a list of at most 64 of them", value);
    }
    Py_XSETREF(o->hosts, names);
    return 0;
}

int pl_options_resources(struct pl_options *o, PyObject *resources) {
    if (resources == Py_None) {
        o->queue = ERG_QUEUE_ANY;
        Py_CLEAR(o->hosts);
        return 0;
    }
    if (!PyDict_Check(resources)) {
        PyErr_Format(PyExc_TypeError,
                     "resources= is a dict such as {'kind': 'process'}, not %.100s",
                     Py_TYPE(resources)->tp_name);
        return -1;
    }
    PyObject *key, *value;
    Py_ssize_t pos = 0;
    while (PyDict_Next(resources, &pos, &key, &value)) {
        const char *name = PyUnicode_Check(key) ? PyUnicode_AsUTF8(key) : "";
        if (!name)
            return -1;
        int rc;
        if (strcmp(name, "kind") == 0) {
            rc = set_kind(o, value);
        } else if (strcmp(name, "host") == 0 || strcmp(name, "tags") == 0) {
            rc = set_hosts(o, value);
        } else {
            PyErr_Format(PyExc_ValueError,
                         "resources= knows the keys 'host' (a name or a list of names), 'tags' and "
                         "'kind' ('process' or 'thread'), not %R",
                         key);
            rc = -1;
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

enum { HOSTS_MAX = 64 };

/* Workers on hosts are processes. A worker does not know what else its pool has. */
static int check_kind(struct pl_core *core, const struct pl_options *o) {
    const char *kind = NULL;
    if (!pl_core_pool(core))
        return 0;
    if (o->queue == ERG_QUEUE_THREAD && core->threads == 0)
        kind = "thread";
    else if (o->queue == ERG_QUEUE_PROCESS && core->processes == 0 && core->places == 0)
        kind = "process";
    if (!kind)
        return 0;
    PyErr_Format(PyExc_ValueError,
                 "resources={'kind': '%s'}: no worker of this pool is a %s; leave it out, or open "
                 "a pool that has both, such as Pool('local:2', 'threads:2')",
                 kind, kind);
    return -1;
}

int pl_options_resolve(struct pl_core *core, struct pl_options *o) {
    if (!o->hosts)
        return check_kind(core, o);
    const char *names[HOSTS_MAX];
    Py_ssize_t n = PyTuple_GET_SIZE(o->hosts);
    struct erg_error err = {0};
    uint32_t queue = ERG_QUEUE_LOCAL;
    for (Py_ssize_t i = 0; i < n; i++)
        if (!(names[i] = PyUnicode_AsUTF8(PyTuple_GET_ITEM(o->hosts, i))))
            return -1;
    struct erg_pool *pool = pl_core_pool(core);
    int local = n == 1 && strcmp(names[0], "local") == 0 && core->processes + core->threads > 0;
    if (!local && !pool) {
        PyErr_SetString(PyExc_ValueError,
                        "resources={'host': ...} is for the process that opened the pool");
        return -1;
    }
    if (!local && erg_pool_queue(pool, names, (int)n, &queue, &err) < 0) {
        PyErr_SetString(PyExc_ValueError, err.text);
        return -1;
    }
    o->queue = (int)queue;
    Py_CLEAR(o->hosts);
    return 0;
}

/* ergon._stage's `name` of `arguments`; a new reference. */
static PyObject *stage(const char *name, PyObject *arguments) {
    PyObject *module = arguments ? PyImport_ImportModule("ergon._stage") : NULL;
    PyObject *function = module ? PyObject_GetAttrString(module, name) : NULL;
    PyObject *made = function ? PyObject_Call(function, arguments, NULL) : NULL;
    Py_XDECREF(function);
    Py_XDECREF(module);
    Py_XDECREF(arguments);
    return made;
}

static int set_files(PyObject **to, const char *option, PyObject *value) {
    PyObject *names = NULL;
    if (value != Py_None && !(names = stage("checked", Py_BuildValue("(sO)", option, value))))
        return -1;
    Py_XSETREF(*to, names);
    return 0;
}

PyObject *pl_options_staged(struct pl_core *core, const struct pl_options *o, PyObject *f) {
    if (!o->stage_in && !o->stage_out)
        return Py_NewRef(f);
    return stage("staged", Py_BuildValue("(OOOO)", f, o->stage_in ? o->stage_in : Py_None,
                                         o->stage_out ? o->stage_out : Py_None,
                                         core->asked ? core->asked : Py_None));
}

static int set_option(struct pl_options *o, PyObject *name, PyObject *value) {
    Py_ssize_t n;
    if (PyUnicode_CompareWithASCIIString(name, "chunksize") == 0)
        return set_count(value, "chunksize= is a number of items, at least 1, or None",
                         &o->chunksize);
    if (PyUnicode_CompareWithASCIIString(name, "timeout") == 0)
        return set_timeout(o, value);
    if (PyUnicode_CompareWithASCIIString(name, "retries") == 0) {
        if (set_count(value, "retries= is a number of runs, at least 0, or None", &n) < 0)
            return -1;
        o->retries = n > 255 ? 255 : (int)n;
        return 0;
    }
    if (PyUnicode_CompareWithASCIIString(name, "readonly") == 0)
        return (o->readonly = PyObject_IsTrue(value)) < 0 ? -1 : 0;
    if (PyUnicode_CompareWithASCIIString(name, "pure") == 0)
        return (o->pure = PyObject_IsTrue(value)) < 0 ? -1 : 0;
    if (PyUnicode_CompareWithASCIIString(name, "progress") == 0) {
        Py_XSETREF(o->progress, Py_NewRef(value));
        return 0;
    }
    if (PyUnicode_CompareWithASCIIString(name, "stage_in") == 0)
        return set_files(&o->stage_in, "stage_in", value);
    if (PyUnicode_CompareWithASCIIString(name, "stage_out") == 0)
        return set_files(&o->stage_out, "stage_out", value);
    if (PyUnicode_CompareWithASCIIString(name, "resources") == 0)
        return pl_options_resources(o, value);
    PyErr_Format(
        PyExc_TypeError,
        "unknown option '%U': the pool's options are chunksize, timeout, retries, "
        "readonly, pure, progress, "
        "resources, stage_in, stage_out (keywords for the function go through functools.partial)",
        name);
    return -1;
}

int pl_options_parse(struct pl_options *o, PyObject *const *values, PyObject *kwnames) {
    for (Py_ssize_t i = 0; kwnames && i < PyTuple_GET_SIZE(kwnames); i++)
        if (set_option(o, PyTuple_GET_ITEM(kwnames, i), values[i]) < 0)
            return -1;
    return 0;
}

/* (**options): TypeError or ValueError as map() would raise them. */
PyObject *pl_check_options(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
                           PyObject *kwnames) {
    (void)module;
    struct pl_options options = {0};
    int rc = pl_options_parse(&options, args + nargs, kwnames);
    pl_options_clear(&options);
    return rc < 0 ? NULL : Py_NewRef(Py_None);
}

void pl_options_copy(struct pl_options *to, const struct pl_options *from) {
    *to = *from;
    Py_XINCREF(to->progress);
    Py_XINCREF(to->hosts);
    Py_XINCREF(to->stage_in);
    Py_XINCREF(to->stage_out);
}

void pl_options_clear(struct pl_options *o) {
    Py_CLEAR(o->progress);
    Py_CLEAR(o->hosts);
    Py_CLEAR(o->stage_in);
    Py_CLEAR(o->stage_out);
}

PyObject *pl_parse_resource(PyObject *module, PyObject *text) {
    const char *string = PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;
    if (!string) {
        if (!PyErr_Occurred())
            PyErr_Format(PyExc_TypeError, "a resource is a string such as 'local:4', not %.100s",
                         Py_TYPE(text)->tp_name);
        return NULL;
    }
    static const char *const kinds[] = {"serial", "local", "threads", "ssh", "tcp", "exec"};
    struct erg_resource resource;
    struct erg_error err = {0};
    int rc = erg_resource_parse(string, &resource, &err);
    if (rc < 0)
        return core_raise_error(module, rc, &err);
    PyObject *options = PyDict_New();
    for (int i = 0; options && i < resource.options_len; i++) {
        PyObject *value = PyUnicode_FromString(resource.options[i].value);
        if (!value || PyDict_SetItemString(options, resource.options[i].key, value) < 0)
            Py_CLEAR(options);
        Py_XDECREF(value);
    }
    if (!options)
        return NULL;
    return Py_BuildValue("(siNzzi)", kinds[resource.kind], resource.count, options, resource.user,
                         resource.host, resource.port);
}
