/* What a worker of Python does with a task: load the function (once) and the arguments, call, write the result.
 *
 * Order at the end of a task: result written, arguments dropped, buffers that outlive the task detached, then
 * erg_claim_finish, after which the record and its blocks belong to the submitter again. */
#include "pool.h"

#include <string.h>

static _Thread_local struct pl_worker *current_worker;

struct pl_worker *pl_worker_current(void) {
    return current_worker;
}

/* The number of this thread among those that serve its pool; 0 outside of them. */
PyObject *pl_member_number(PyObject *module, PyObject *args) {
    (void)module;
    (void)args;
    return PyLong_FromUnsignedLong(current_worker ? current_worker->member->number : 0);
}

enum { FUNCTIONS_KEPT = 1024, OBJECTS_KEPT = 64 };

int pl_worker_init(struct pl_worker *worker, struct pool_state *state) {
    memset(worker, 0, sizeof *worker);
    worker->state = state;
    worker->running = ERG_HANDLE_NONE;
    worker->functions = PyDict_New();
    worker->objects = PyDict_New();
    PyObject *errors = PyImport_ImportModule("ergon.errors");
    worker->interrupted = errors ? PyObject_GetAttrString(errors, "TaskInterrupted") : NULL;
    Py_XDECREF(errors);
    return worker->functions && worker->objects && worker->interrupted ? 0 : -1;
}

void pl_worker_fini(struct pl_worker *worker) {
    Py_CLEAR(worker->stale);
    Py_CLEAR(worker->functions);
    Py_CLEAR(worker->objects);
    Py_CLEAR(worker->interrupted);
    PyMem_Free(worker->scratch.buf);
    if (worker->core)
        pl_core_unref(worker->core);
    worker->core = NULL;
}

/* --- functions and shared objects ------------------------------------------------------------------------------ */

PyObject *pl_worker_function(struct pl_worker *worker, uint64_t offset, struct pl_reader *reader,
                             int *fresh) {
    struct erg_fn_head *head = erg_table_at(worker->core->table, offset);
    Py_CLEAR(worker->stale);
    *fresh = 0;
    reader->keep = NULL;
    if (head->uid == worker->last_uid && worker->last_function)
        return worker->last_function;
    PyObject *key = NULL, *function = NULL;
    if (head->stable) {
        if (!(key = PyLong_FromUnsignedLongLong(head->uid)))
            return NULL;
        function = PyDict_GetItemWithError(worker->functions, key);
    }
    if (!function && !PyErr_Occurred() && pl_fn_apply_path(worker, head->path) == 0) {
        pl_reader_init(reader, worker->core, worker->member, head->payload, head->len,
                       PL_READ_TASK);
        function = pl_reader_load(reader);
        if (!head->stable) {
            *fresh = function != NULL;
            return function;
        }
        pl_reader_fini(reader);
        if (function && PyDict_GET_SIZE(worker->functions) >= FUNCTIONS_KEPT) {
            worker->last_function = NULL;
            PyDict_Clear(worker->functions);
        }
        if (function && PyDict_SetItem(worker->functions, key, function) < 0)
            Py_CLEAR(function);
        Py_XDECREF(function); /* the dict has it */
    }
    Py_XDECREF(key);
    if (function) {
        worker->last_uid = head->uid;
        worker->last_function = function;
    }
    return function;
}

struct pl_hold {
    struct pl_hold *next; /* in core->views */
    struct pl_core *core;
    uint64_t head;
    uint32_t number;
};

static void hold_release(PyObject *capsule) {
    struct pl_hold *hold = PyCapsule_GetPointer(capsule, "ergon.hold");
    struct erg_blob_head *head = erg_table_at(hold->core->table, hold->head);
    int others = 0; /* older views that outlived their place in the cache, or newer ones */
    for (struct pl_hold **link = &hold->core->views; *link;) {
        if (*link == hold) {
            *link = hold->next;
            continue;
        }
        others |= (*link)->head == hold->head && (*link)->number == hold->number;
        link = &(*link)->next;
    }
    if (!others && !pl_core_foreign(hold->core))
        atomic_store_explicit(&head->held[hold->number], 0, memory_order_release);
    pl_core_unref(hold->core);
    PyMem_Free(hold);
}

/* Keeps the blob's memory while any view of it lives here. */
static PyObject *hold_new(struct pl_worker *worker, struct erg_blob_head *head, uint64_t offset) {
    struct pl_hold *hold = PyMem_Malloc(sizeof *hold);
    PyObject *capsule = hold ? PyCapsule_New(hold, "ergon.hold", hold_release) : PyErr_NoMemory();
    if (!capsule) {
        PyMem_Free(hold);
        return NULL;
    }
    *hold = (struct pl_hold){worker->core->views, pl_core_ref(worker->core), offset,
                             worker->member->number};
    worker->core->views = hold;
    uint32_t serial = atomic_load(&worker->member->slot->serial);
    atomic_store_explicit(&head->held[hold->number], serial * 2 + !worker->is_process,
                          memory_order_release);
    return capsule;
}

/* Views whose owner let go are dropped, so that the memory can be used again. */
static void drop_dead_objects(struct pl_worker *worker, int all) {
    if (!worker->objects || PyDict_GET_SIZE(worker->objects) == 0)
        return;
    PyObject *keys = PyDict_Keys(worker->objects);
    for (Py_ssize_t i = 0; keys && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i);
        struct erg_blob_head *head =
            erg_table_at(worker->core->table, PyLong_AsUnsignedLongLong(key));
        if ((all || atomic_load_explicit(&head->dead, memory_order_acquire)) &&
            PyDict_DelItem(worker->objects, key) < 0)
            PyErr_Clear();
    }
    Py_XDECREF(keys);
    PyErr_Clear();
}

static PyObject *load_fresh(struct pl_worker *worker, struct erg_blob_head *head,
                            struct pl_reader *outer) {
    struct pl_reader r;
    pl_reader_init(&r, worker->core, worker->member,
                   erg_table_at(worker->core->table, head->offset), head->len, PL_READ_TASK);
    PyObject *object = pl_reader_load(&r);
    if (object && pl_reader_adopt(outer, &r) < 0)
        Py_CLEAR(object);
    pl_reader_fini(&r);
    return object;
}

static PyObject *load_shared(struct pl_worker *worker, struct erg_blob_head *head,
                             uint64_t offset) {
    PyObject *key = PyLong_FromUnsignedLongLong(offset);
    PyObject *object = key ? Py_XNewRef(PyDict_GetItemWithError(worker->objects, key)) : NULL;
    if (!object && !PyErr_Occurred()) {
        drop_dead_objects(worker, PyDict_GET_SIZE(worker->objects) >= OBJECTS_KEPT);
        PyObject *hold = hold_new(worker, head, offset);
        if (hold) {
            struct pl_reader r;
            pl_reader_init(&r, worker->core, worker->member,
                           erg_table_at(worker->core->table, head->offset), head->len,
                           PL_READ_BLOB);
            r.owner = hold;
            object = pl_reader_load(&r);
            pl_reader_fini(&r);
            /* The capsule stands beside the object: an object without buffers is kept by nobody else. */
            PyObject *pair = object ? PyTuple_Pack(2, object, hold) : NULL;
            if (object && (!pair || PyDict_SetItem(worker->objects, key, pair) < 0))
                Py_CLEAR(object);
            Py_XDECREF(pair);
            Py_DECREF(hold);
        }
    } else if (object) {
        Py_SETREF(object, Py_NewRef(PyTuple_GET_ITEM(object, 0)));
    }
    Py_XDECREF(key);
    return object;
}

/* A predecessor's result, in a copy of our own; its exception is raised. */
static PyObject *load_result(struct pl_core *core, uint64_t handle, struct pl_reader *outer) {
    struct erg_record *record = erg_table_record(core->table, ERG_HANDLE_INDEX(handle));
    const char *bytes;
    size_t len;
    enum erg_outcome outcome = pl_result_bytes(core, record, &bytes, &len);
    if (outcome != ERG_OUT_OK && outcome != ERG_OUT_ERROR) {
        pl_raise_outcome(core, record);
        return NULL;
    }
    struct pl_reader r;
    pl_reader_init(&r, core, outer->member, bytes, len, PL_READ_PEEK);
    PyObject *value = pl_reader_load(&r);
    if (value && outcome == ERG_OUT_ERROR) { /* the text came first */
        PyObject *parts = pl_reader_load(&r);
        PyObject *exception = parts ? pl_exception_from_parts(parts) : NULL;
        if (exception)
            PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
        Py_XDECREF(exception);
        Py_XDECREF(parts);
        Py_CLEAR(value);
    }
    if (value && pl_reader_adopt(outer, &r) < 0)
        Py_CLEAR(value);
    pl_reader_fini(&r);
    return value;
}

static PyObject *bad_pid(struct pl_core *core) {
    return core_raise(core->state->module, CORE_EXC_UNPICKLING_ERROR,
                      "a task's bytes name something unknown");
}

PyObject *pl_worker_persistent(void *ctx, PyObject *pid) {
    struct pl_reader *r = ctx;
    struct pl_core *core = r->core;
    struct pl_worker *worker = current_worker;
    if (!PyTuple_Check(pid) || PyTuple_GET_SIZE(pid) != 2 ||
        !PyUnicode_Check(PyTuple_GET_ITEM(pid, 0)) ||
        PyUnicode_GET_LENGTH(PyTuple_GET_ITEM(pid, 0)) != 1)
        return bad_pid(core);
    PyObject *what = PyTuple_GET_ITEM(pid, 1);
    Py_UCS4 kind = PyUnicode_READ_CHAR(PyTuple_GET_ITEM(pid, 0), 0);
    if (kind == 'v')
        return Py_NewRef(what);
    unsigned long long number = PyLong_AsUnsignedLongLong(what);
    if (number == (unsigned long long)-1 && PyErr_Occurred())
        return NULL;
    if (kind == 'f' && number < r->nentries && (r->entries[number].flags & ERG_REF_TASK))
        return load_result(core, r->entries[number].offset, r);
    if (kind == 'h' && worker && number < r->nentries &&
        (r->entries[number].flags & ERG_REF_BLOB)) {
        uint64_t offset = r->entries[number].offset;
        struct erg_blob_head *head = erg_table_at(core->table, offset);
        return head->fresh ? load_fresh(worker, head, r) : load_shared(worker, head, offset);
    }
    return bad_pid(core);
}

/* --- errors ------------------------------------------------------------------------------------------------------ */

static PyObject *errors_call(const char *name, PyObject *arg) {
    PyObject *errors = PyImport_ImportModule("ergon.errors");
    PyObject *made = errors ? PyObject_CallMethod(errors, name, "O", arg) : NULL;
    Py_XDECREF(errors);
    return made;
}

PyObject *pl_exit_as_loss(PyObject *exception) {
    PyObject *code = PyObject_GetAttrString(exception, "code");
    PyObject *text = code ? PyUnicode_FromFormat("the task called sys.exit(%R)", code) : NULL;
    PyObject *lost = text ? errors_call("WorkerLost", text) : NULL;
    Py_XDECREF(code);
    Py_XDECREF(text);
    return lost;
}

static PyObject *traceback_text(PyObject *exception) {
    PyObject *module = PyImport_ImportModule("traceback");
    PyObject *lines =
        module ? PyObject_CallMethod(module, "format_exception", "O", exception) : NULL;
    PyObject *empty = lines ? PyUnicode_FromString("") : NULL;
    PyObject *text = empty ? PyUnicode_Join(empty, lines) : NULL;
    Py_XDECREF(module);
    Py_XDECREF(lines);
    Py_XDECREF(empty);
    if (!text) {
        PyErr_Clear();
        text = PyUnicode_FromFormat("%.200s (its traceback could not be formatted)",
                                    Py_TYPE(exception)->tp_name);
    }
    return text;
}

/* An exception that cannot travel: its name, its words and the reason do. */
static PyObject *stand_in(PyObject *exception, PyObject *text) {
    PyObject *reason = PyErr_GetRaisedException();
    PyObject *errors = PyImport_ImportModule("ergon.errors");
    PyObject *made =
        errors ? PyObject_CallMethod(errors, "unpicklable", "OOO", exception, text, reason) : NULL;
    Py_XDECREF(errors);
    Py_XDECREF(reason);
    return made;
}

int pl_worker_write_error(struct pl_worker *worker, struct pl_writer *w) {
    (void)worker;
    PyObject *exception = PyErr_GetRaisedException();
    if (PyErr_GivenExceptionMatches(exception, PyExc_SystemExit)) {
        PyObject *lost = pl_exit_as_loss(exception);
        if (lost)
            Py_SETREF(exception, lost);
        else
            PyErr_Clear();
    }
    PyObject *text = traceback_text(exception);
    size_t start = w->sink.len;
    int rc = text ? pl_writer_dump(w, text, NULL) : -1;
    size_t middle = w->sink.len;
    PyObject *parts = rc == 0 ? pl_exception_parts(exception) : NULL;
    if (rc == 0 && (!parts || pl_writer_dump(w, parts, "exception") < 0)) {
        w->sink.len = middle;
        PyObject *other = stand_in(exception, text);
        rc = other ? pl_writer_dump(w, other, "exception") : -1;
        Py_XDECREF(other);
    }
    if (rc < 0)
        w->sink.len = start;
    Py_XDECREF(parts);
    Py_XDECREF(text);
    Py_DECREF(exception);
    return rc;
}

enum erg_outcome pl_worker_why_interrupted(const struct erg_record *record) {
    return erg_record_state(record) & ERG_STATE_CANCEL ? ERG_OUT_CANCELLED : ERG_OUT_TIMEOUT;
}

int pl_worker_interrupted(struct pl_worker *worker, struct erg_record *record,
                          enum erg_outcome *outcome) {
    if (!PyErr_ExceptionMatches(worker->interrupted))
        return 0;
    PyErr_Clear();
    *outcome = pl_worker_why_interrupted(record);
    return 1;
}

/* 1 if an import statement is under way in that frame or under it. What is broken off there leaves sub-modules behind that
 * their package, imported anew, does not know: NameErrors in tasks that did nothing wrong. */
static int importing(PyObject *innermost) {
    PyFrameObject *frame = PyFrame_Check(innermost) ? (PyFrameObject *)Py_NewRef(innermost) : NULL;
    int found = 0;
    while (frame) {
        PyCodeObject *code = PyFrame_GetCode(frame);
        found = PyUnicode_CompareWithASCIIString(code->co_filename,
                                                 "<frozen importlib._bootstrap>") == 0;
        Py_DECREF(code);
        PyFrameObject *back = found ? NULL : PyFrame_GetBack(frame);
        Py_DECREF(frame);
        frame = back;
    }
    return found;
}

/* Handler of ERG_INTERRUPT_SIGNAL, called between two bytecodes of the main thread: (signal, frame). */
PyObject *pl_worker_interrupt_handler(PyObject *module, PyObject *args) {
    (void)module;
    struct pl_worker *worker = current_worker;
    if (!worker || worker->running == ERG_HANDLE_NONE ||
        atomic_load_explicit(&worker->member->slot->cancel, memory_order_acquire) !=
            worker->running)
        Py_RETURN_NONE;
    if (PyTuple_Check(args) && PyTuple_GET_SIZE(args) == 2)
        worker->spoiled |= importing(PyTuple_GET_ITEM(args, 1));
    PyErr_SetNone(worker->interrupted);
    return NULL;
}

/* --- one call ------------------------------------------------------------------------------------------------------ */

/* What a functional returned or raised, as it has to travel. Takes result; NULL with an exception that goes the usual way. */
static PyObject *functional_outcome(struct pl_worker *worker, PyObject *function, PyObject *result,
                                    PyObject *args, int flags) {
    if (result && pl_is_fresh(result))
        return result;
    PyObject *raised = result ? NULL : PyErr_GetRaisedException();
    if (raised && PyErr_GivenExceptionMatches(raised, worker->interrupted)) {
        PyErr_SetRaisedException(raised);
        return NULL;
    }
    int fresh = result && Py_REFCNT(result) == 1;
    PyObject *helper = PyImport_ImportModule("ergon._functional"), *sent = NULL;
    PyObject *keywords = flags & PL_HAS_KWARGS ? PyTuple_GET_ITEM(args, 1) : Py_None;
    PyObject *positional = flags & PL_IS_SINGLE    ? PyTuple_Pack(1, args)
                           : flags & PL_HAS_KWARGS ? Py_NewRef(PyTuple_GET_ITEM(args, 0))
                                                   : Py_NewRef(args);
    if (helper && positional && raised)
        sent =
            PyObject_CallMethod(helper, "raised", "OOOO", raised, function, positional, keywords);
    else if (helper && positional)
        sent = PyObject_CallMethod(helper, "sent", "OiOOO", result, fresh, function, positional,
                                   keywords);
    if (!sent && raised) {
        PyErr_Clear();
        PyErr_SetRaisedException(Py_NewRef(raised));
    }
    Py_XDECREF(helper);
    Py_XDECREF(positional);
    Py_XDECREF(raised);
    Py_XDECREF(result);
    return sent;
}

/* A functional could not be called here, or what it returned cannot travel: what has its caller make the call, in the place
 * of the exception that is set. NULL: that is no business of the call's. */
static PyObject *functional_declined(struct pl_worker *worker) {
    if (!PyErr_ExceptionMatches(PyExc_Exception) || PyErr_ExceptionMatches(worker->interrupted))
        return NULL;
    PyErr_Clear();
    PyObject *helper = PyImport_ImportModule("ergon._functional");
    PyObject *declined = helper ? PyObject_CallMethod(helper, "Raised", "O", Py_None) : NULL;
    Py_XDECREF(helper);
    return declined;
}

/* A task's time begins when it is called: not before its function, with the modules that needs, and its arguments are
 * here. Nothing else writes these fields meanwhile; the engine's loop reads them. */
static void clock_hold(struct erg_record *record) {
    if (record->timeout_ns)
        __atomic_store_n(&record->timeout_ns, record->timeout_ns | ERG_TIMEOUT_HELD,
                         __ATOMIC_RELEASE);
}

static void clock_begin(struct erg_record *record) {
    if (!(record->timeout_ns & ERG_TIMEOUT_HELD))
        return;
    __atomic_store_n(&record->start_ns, erg_clock_ns(), __ATOMIC_RELEASE);
    __atomic_store_n(&record->timeout_ns, record->timeout_ns & ~ERG_TIMEOUT_HELD, __ATOMIC_RELEASE);
}

static PyObject *call_by_value(struct pl_worker *worker, struct erg_record *record,
                               struct pl_reader *fn_reader, struct pl_reader *args_reader) {
    int fresh;
    clock_hold(record);
    PyObject *function = pl_worker_function(worker, record->fn, fn_reader, &fresh);
    int flags = pl_payload_flags(args_reader->source.buf);
    if (!function) {
        clock_begin(record);
        return flags & PL_IS_FUNCTIONAL ? functional_declined(worker) : NULL;
    }
    Py_INCREF(function); /* a nested task may clear the cache */
    if (fresh)
        Py_DECREF(function);
    PyObject *args = pl_reader_load(args_reader);
    PyObject *result = NULL;
    if (fresh && !(record->timeout_ns & ERG_TIMEOUT_HELD)) /* as in worker_chunk.c */
        __atomic_store_n(&record->start_ns, erg_clock_ns(), __ATOMIC_RELEASE);
    clock_begin(record);
    if (args && flags & PL_IS_SINGLE)
        result = PyObject_CallOneArg(function, args);
    else if (args && flags & PL_HAS_KWARGS)
        result = PyObject_Call(function, PyTuple_GET_ITEM(args, 0), PyTuple_GET_ITEM(args, 1));
    else if (args)
        result = PyObject_Vectorcall(function, &PyTuple_GET_ITEM(args, 0),
                                     (size_t)PyTuple_GET_SIZE(args), NULL);
    if (args && flags & PL_IS_FUNCTIONAL)
        result = functional_outcome(worker, function, result, args, flags);
    else if (!args && flags & PL_IS_FUNCTIONAL)
        result = functional_declined(worker);
    Py_XDECREF(args);
    if (fresh && !fn_reader->keep && !(flags & PL_IS_FUNCTIONAL))
        Py_XSETREF(worker->stale, function);
    else
        Py_DECREF(function);
    return result;
}

/* Without a result, or where it cannot be written: the exception that is set. */
static enum erg_outcome write_result(struct pl_worker *worker, struct erg_record *record,
                                     PyObject *result, int functional) {
    uint32_t start = record->args.offset ? 0 : (uint32_t)((record->args.len + 7) & ~7ull);
    enum erg_outcome outcome = ERG_OUT_OK;
    PyObject *declined = NULL;
    for (int attempt = 0; attempt < 3; attempt++) {
        struct pl_writer w;
        struct erg_payload payload = {0};
        int rc = pl_writer_init(&w, worker->core, worker->member, record, start, 0);
        w.settle = 1;
        w.keeps_readonly = functional;
        w.hooks.in_band = functional ? PK_AS_IT_IS : PK_WRITABLE; /* the caller's own */
        if (rc == 0 && result) {
            rc = pl_writer_dump(&w, result, "result");
        } else if (rc == 0) {
            outcome = ERG_OUT_ERROR;
            rc = pl_worker_write_error(worker, &w);
        }
        if (rc == 0)
            rc = pl_writer_finish(&w, &payload);
        pl_writer_fini(&w);
        if (rc == 0) {
            record->result = payload;
            Py_XDECREF(declined);
            return outcome;
        }
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_RuntimeError, "the result could not be written");
        if (result && functional && !declined)
            result = declined = functional_declined(worker);
        else
            result = NULL; /* now for the error that is set */
    }
    PyErr_Clear();
    Py_XDECREF(declined);
    record->result.len = 0;
    return ERG_OUT_LOST;
}

/* A predecessor failed: this call ends as it did, with the very bytes, so that a failure that goes down a long chain
 * does not grow. 0 done, -1: it has to be raised instead. */
static int inherit(struct pl_worker *worker, uint32_t index, struct erg_record *failed) {
    const char *bytes;
    size_t len;
    if (pl_result_bytes(worker->core, failed, &bytes, &len) == ERG_OUT_ERROR &&
        (!len || pl_payload_flags(bytes) & ERG_PAYLOAD_REFS))
        return -1;
    unsigned char *copy = erg_record_result_reserve(worker->member, index, len);
    if (!copy)
        return -1;
    memcpy(copy, bytes, len);
    return 0;
}

static enum erg_outcome run_call(struct pl_worker *worker, uint32_t index,
                                 struct erg_record *record) {
    struct pl_reader fn_reader = {.keep = NULL}, args_reader;
    const char *bytes = pl_payload_bytes(worker->core, record, &record->args);
    pl_reader_init(&args_reader, worker->core, worker->member, bytes, record->args.len,
                   pl_payload_flags(bytes) & PL_IS_READONLY ? PL_READ_READONLY : PL_READ_TASK);
    struct erg_record *failed = pl_reader_failed(&args_reader);
    if (failed && inherit(worker, index, failed) == 0) {
        enum erg_outcome outcome = erg_record_outcome(failed);
        return outcome == ERG_OUT_OK ? ERG_OUT_LOST : outcome; /* OK: it was, and was lost since */
    }
    PyObject *result = NULL;
    int functional = pl_payload_flags(bytes) & PL_IS_FUNCTIONAL;
    if (failed)
        Py_XDECREF(pl_call_peek(worker->core, failed)); /* raises */
    else
        result = call_by_value(worker, record, &fn_reader, &args_reader);
    enum erg_outcome outcome;
    if (erg_record_overdue(worker->core->table, erg_record_handle(worker->core->table, index))) {
        PyErr_Clear();
        outcome = ERG_OUT_TIMEOUT; /* nobody wants to know any more */
    } else if (result || !pl_worker_interrupted(worker, record, &outcome))
        outcome = write_result(worker, record, result, functional);
    Py_XDECREF(result);
    pl_reader_fini(&args_reader);
    pl_reader_fini(&fn_reader);
    return outcome;
}

/* --- the loop's operations ------------------------------------------------------------------------------------------ */

static void trace_task(struct pl_worker *worker, struct erg_record *record, uint32_t index,
                       const struct pl_trace_event *before, enum erg_outcome outcome) {
    struct pl_trace_event event = *before;
    event.task = erg_record_handle(worker->core->table, index);
    event.end_ns = erg_clock_ns();
    if (!pl_record_by_reference(record)) { /* objects that stay where they are have no bytes */
        event.bytes_in = record->args.len;
        event.bytes_out = record->result.len;
    }
    event.items = record->kind == ERG_KIND_CHUNK
                      ? atomic_load_explicit(&record->ndone, memory_order_relaxed)
                      : 1;
    event.outcome = outcome;
    pl_trace_record(worker, &event);
}

static uint64_t function_name(struct pl_worker *worker, const struct erg_record *record) {
    if (!record->fn)
        return 0;
    if (pl_record_by_reference(record))
        return pl_fn_name_of(worker->core, worker->member, (PyObject *)(uintptr_t)record->fn);
    struct erg_fn_head *head = erg_table_at(worker->core->table, record->fn);
    return atomic_load_explicit(&head->name, memory_order_acquire);
}

void pl_worker_count(struct pl_worker *worker, uint64_t bytes_in, uint64_t bytes_out) {
    struct erg_member_slot *slot = worker->member->slot; /* only this thread writes there */
    atomic_store_explicit(&slot->bytes_in,
                          atomic_load_explicit(&slot->bytes_in, memory_order_relaxed) + bytes_in,
                          memory_order_relaxed);
    atomic_store_explicit(&slot->bytes_out,
                          atomic_load_explicit(&slot->bytes_out, memory_order_relaxed) + bytes_out,
                          memory_order_relaxed);
}

static void count_call(struct pl_worker *worker, struct erg_record *record) {
    pl_worker_count(
        worker,
        erg_payload_size(pl_payload_bytes(worker->core, record, &record->args), record->args.len),
        record->result.len
            ? erg_payload_size(pl_payload_bytes(worker->core, record, &record->result),
                               record->result.len)
            : 0);
}

/* Lets an exception sent to this thread arrive here. Taking it back with PyThreadState_SetAsyncExc(id, NULL) would leave
 * the interpreter's flag that one is pending set for ever: every thread then looks at each step, and CPython 3.11 loops
 * for ever in a function that is traced or profiled. */
static void swallow_interruption(struct pl_worker *worker) {
    (void)worker;
    PyObject *helper = PyImport_ImportModule("ergon._worker");
    PyObject *done = helper ? PyObject_CallMethod(helper, "breathe", NULL) : NULL;
    if (!done)
        PyErr_Clear();
    Py_XDECREF(done);
    Py_XDECREF(helper);
}

static int op_run(void *ctx, struct erg_member *member, uint32_t index) {
    struct pl_worker *worker = ctx;
    struct erg_record *record = erg_table_record(worker->core->table, index);
    erg_handle outer = worker->running;
    worker->running = erg_record_handle(worker->core->table, index);
    int tracing =
        (int)atomic_load_explicit(&worker->core->table->header->tracing, memory_order_relaxed);
    struct pl_trace_event before = {0};
    if (tracing) {
        before.queued_ns = record->end_ns;
        before.name = function_name(worker, record);
        before.start_ns = erg_clock_ns(); /* the record's own may be when the task before ended */
    }
    enum erg_outcome outcome;
    if (pl_record_by_reference(record))
        outcome = record->kind == ERG_KIND_CHUNK ? pl_worker_run_items(worker, record)
                                                 : pl_worker_run_reference(worker, record);
    else if (record->kind == ERG_KIND_CHUNK)
        outcome = pl_worker_run_chunk(worker, index, record);
    else
        outcome = run_call(worker, index, record);
    if (record->kind == ERG_KIND_CALL && !pl_record_by_reference(record) &&
        (outcome == ERG_OUT_OK || outcome == ERG_OUT_ERROR))
        count_call(worker, record);
    worker->running = outer;
    if (worker->sent) { /* perhaps it came too late, and is for nobody else */
        swallow_interruption(worker);
        worker->sent = 0;
    }
    if (tracing)
        trace_task(worker, record, index, &before, outcome);
    erg_claim_finish(member, index, outcome);
    return worker->spoiled; /* then this process leaves, and another takes its place */
}

static void op_idle_enter(void *ctx) {
    struct pl_worker *worker = ctx;
    Py_CLEAR(worker->stale);
    drop_dead_objects(worker, 0);
    worker->saved = PyEval_SaveThread();
}

static void op_idle_leave(void *ctx) {
    struct pl_worker *worker = ctx;
    PyEval_RestoreThread(worker->saved);
    worker->saved = NULL;
}

/* Processes: the start-up message is a pickled dict for ergon._worker.setup(). Threads share objects as they are. */
static PyObject *call_setup(struct pl_worker *worker) {
    struct pl_core *core = worker->core;
    if (!worker->is_process) {
        PyObject *pair = core->thread_setup;
        return pair ? PyObject_Call(PyTuple_GET_ITEM(pair, 0), PyTuple_GET_ITEM(pair, 1), NULL)
                    : Py_NewRef(Py_None);
    }
    struct erg_table_header *header = core->table->header;
    PyObject *module = PyImport_ImportModule("ergon._worker");
    PyObject *bytes =
        module ? PyBytes_FromStringAndSize(erg_table_at(core->table, header->init_offset),
                                           (Py_ssize_t)header->init_len)
               : NULL;
    PyObject *done = bytes ? PyObject_CallMethod(module, "setup", "O", bytes) : NULL;
    Py_XDECREF(bytes);
    Py_XDECREF(module);
    return done;
}

static int load_setup(struct pl_worker *worker) {
    PyObject *done = call_setup(worker);
    Py_XDECREF(done);
    return done ? 0 : -1;
}

/* Of a traceback: what was raised. Cuts what comes behind it. */
static const char *last_line(const char *text) {
    const char *end = text + strlen(text);
    while (end > text && end[-1] == '\n')
        end--;
    while (end > text && end[-1] != '\n')
        end--;
    return end;
}

static int op_setup(void *ctx, struct erg_member *member, struct erg_error *err) {
    struct pl_worker *worker = ctx;
    worker->member = member;
    if (!worker->core) {
        worker->core = pl_core_attach(worker->state, member);
        worker->is_process = 1;
    }
    current_worker = worker;
    if (worker->core && load_setup(worker) == 0)
        return 0;
    PyObject *exception = PyErr_GetRaisedException();
    PyObject *text = traceback_text(exception);
    const char *words = text ? PyUnicode_AsUTF8(text) : NULL;
    erg_error_set(err, ERG_ELAUNCH, "a worker could not be set up: %s",
                  words ? last_line(words) : "?");
    PyErr_Clear();
    if (worker->core && !worker->is_process && text)
        Py_XSETREF(worker->core->unable, Py_NewRef(text));
    Py_XDECREF(text);
    Py_XDECREF(exception);
    return ERG_ELAUNCH;
}

static void op_teardown(void *ctx, struct erg_member *member) {
    struct pl_worker *worker = ctx;
    (void)member;
    drop_dead_objects(worker, 1);
    if (worker->is_process) { /* the member closes next: nothing of ours may go back through it */
        pl_call_sweep(worker->core, 1);
        pl_fn_clear(worker->core);
        worker->core->gone = 1;
    }
    current_worker = NULL;
}

static const struct erg_worker_ops worker_ops = {
    .setup = op_setup,
    .run = op_run,
    .idle_enter = op_idle_enter,
    .idle_leave = op_idle_leave,
    .teardown = op_teardown,
};

const struct erg_worker_ops *pl_worker_ops(void) {
    return &worker_ops;
}
