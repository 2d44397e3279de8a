/* Chunks of a pool whose workers are threads of this process: nothing is pickled. The items of a chunk are references in
 * an array, and so are the results, each where its item was.
 *
 * The block belongs to the chunks that were made of it (a cut makes two of one) and, while it runs one, to the thread. When
 * an item is done, its result takes the place of its first argument; the map takes it out. All of it under the GIL. */
#include "pool.h"

#include <string.h>

enum { ITEMS_MAX = 1 << 16 };

static struct pl_items *items_new(struct pl_job *job, uint32_t most) {
    struct pl_items *items = PyMem_Calloc(1, sizeof *items);
    if (!items)
        return (struct pl_items *)PyErr_NoMemory();
    items->callable = Py_NewRef(job->callable);
    items->width = (uint32_t)PyTuple_GET_SIZE(job->iterators);
    items->star = job->star;
    items->args = PyMem_New(PyObject *, (size_t)most * items->width);
    if (!items->args) {
        pl_items_free(items);
        return (struct pl_items *)PyErr_NoMemory();
    }
    return items;
}

static void drop(PyObject **objects, size_t n) {
    for (size_t i = 0; i < n; i++)
        Py_DECREF(objects[i]);
}

void pl_items_free(struct pl_items *items) {
    if (!items)
        return;
    for (size_t i = 0; i < (size_t)items->count * items->width; i++)
        Py_XDECREF(PL_RESULT_OBJECT(items->args[i]));
    Py_DECREF(items->callable);
    PyMem_Free(items->args);
    PyMem_Free(items);
}

PyObject *pl_items_tuple(const struct pl_items *items, uint32_t item) {
    PyObject *tuple = PyTuple_New(items->width);
    for (uint32_t i = 0; tuple && i < items->width; i++)
        PyTuple_SET_ITEM(tuple, i, Py_NewRef(items->args[(size_t)item * items->width + i]));
    return tuple;
}

int pl_items_take_all(struct pl_job *job, struct pl_chunk *chunk, PyObject *list) {
    if (!chunk->args || !chunk->args->items || chunk->record == ERG_NIL)
        return 0;
    struct erg_record *record = erg_table_record(job->core->table, chunk->record);
    uint32_t ready = atomic_load_explicit(&record->ndone, memory_order_acquire);
    struct pl_items *items = chunk->args->items;
    PyObject **at = items->args + (size_t)(record->first + chunk->read) * items->width;
    for (; chunk->read < ready && !PL_IS_RAISED(*at); at += items->width) {
        PyObject *result = *at;
        if (PyList_Append(list, result) < 0)
            return -1;
        *at = NULL;
        chunk->read++;
        job->delivered++;
        Py_DECREF(result);
    }
    return 0;
}

PyObject *pl_items_take(struct pl_items *items, uint32_t item) {
    PyObject **at = items->args + (size_t)item * items->width, *result = *at;
    *at = NULL;
    if (!PL_IS_RAISED(result))
        return result;
    result = PL_RESULT_OBJECT(result);
    PyErr_SetObject((PyObject *)Py_TYPE(result), result);
    Py_DECREF(result);
    return NULL;
}

/* Most items are of types that hold nothing. */
static int holds(struct pl_core *core, PyObject *obj) {
    PyTypeObject *type = Py_TYPE(obj);
    return type == &PyLong_Type || type == &PyFloat_Type || type == &PyUnicode_Type
               ? 0
               : pl_reference_holds(core, obj);
}

/* As pl_job_pull, which a list needs no call for. */
static inline int pull(struct pl_job *job, PyObject **args) {
    if (!job->source || job->exhausted || job->pulled >= PySequence_Fast_GET_SIZE(job->source))
        return pl_job_pull(job, args);
    args[0] = Py_NewRef(PySequence_Fast_GET_ITEM(job->source, job->pulled));
    job->pulled++;
    return 1;
}

/* Pulls items until there are `most`, or one that has to go by itself: its arguments, the first of which waits for a
 * future, are in the array behind the others then. 1; 0: that was all; 2: such a one; -1: it is not even a call, with an
 * exception. */
static int fill(struct pl_job *job, struct pl_items *items, uint32_t most) {
    while (items->count < most) {
        PyObject **args = items->args + (size_t)items->count * items->width;
        if (!pull(job, args))
            return 0;
        if (items->star) {
            Py_SETREF(args[0], PySequence_Tuple(args[0]));
            if (!args[0])
                return -1;
        }
        for (uint32_t i = 0; i < items->width; i++) {
            int what = holds(job->core, args[i]);
            if (what & PL_HOLDS_FUTURE)
                return 2;
            items->settle |= what;
        }
        items->count++;
    }
    return 1;
}

static int enter(struct pl_job *job, struct pl_items *items, Py_ssize_t position) {
    if (!items->count) {
        pl_items_free(items);
        return 0;
    }
    struct pl_argblock *block = PyMem_Calloc(1, sizeof *block);
    if (!block) {
        pl_items_free(items);
        PyErr_NoMemory();
        return -1;
    }
    *block = (struct pl_argblock){.refs = 1, .count = items->count, .items = items};
    int rc = pl_job_enter(job, job->tail, block, 0, items->count, position);
    pl_argblock_unref(job->core, block);
    return rc;
}

int pl_job_feed_items(struct pl_job *job, uint32_t most) {
    Py_ssize_t position = job->pulled;
    if (job->expected >= position && (Py_ssize_t)most > job->expected - position)
        most = job->expected > position ? (uint32_t)(job->expected - position) : 1;
    if (most > ITEMS_MAX)
        most = ITEMS_MAX;
    struct pl_items *items = items_new(job, most);
    if (!items)
        return -1;
    PyObject *few[8], **alone = few;
    size_t width = items->width;
    int got = fill(job, items, most);
    uint32_t count = items->count;
    if (got == 2 && width > 8 && !(alone = PyMem_New(PyObject *, width))) {
        drop(items->args + (size_t)items->count * width, width);
        pl_items_free(items);
        PyErr_NoMemory();
        return -1;
    }
    if (got == 2)
        memcpy(alone, items->args + (size_t)count * width, width * sizeof *alone);
    PyObject *error = got < 0 ? PyErr_GetRaisedException() : NULL;
    int rc = enter(job, items, position);
    if (error)
        PyErr_SetRaisedException(error);
    if (rc == 0 && got == 2)
        rc = pl_job_feed_call(job, alone);
    else if (rc == 0 && got < 0)
        rc = pl_job_error(job, job->pulled - 1);
    if (got == 2)
        drop(alone, width);
    if (alone != few)
        PyMem_Free(alone);
    return rc < 0 ? -1 : count || got;
}
