/* Frames of CPython taken over, with what frames.h knows about them. */
#include "frames.h"

#include "flow.h"
#include "opcodes.h"

#if FL_FRAMES

void fl_place_now(struct fl_place *place, PyObject *called, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames) {
    iframe *i = frame_current();
    place->frame = i;
    place->lasti = i ? frame_at(i) : -1;
    place->code = i ? frame_code(i) : NULL;
    place->direct = i && frame_calls(i, called, args, nargs, kwnames);
}

/* What an instruction that is under way has on the stack, when native code called Python on its behalf: 1 all of it is
 * there; 2 what is called, but not the arguments, which may have been used up; 0 not known. */
static int operands_live(int op) {
    switch (op) {
    case CALL:
    case CALL_KW:
    case PRECALL:
    case FOR_ITER:
    case SEND:
    case LOAD_ATTR:
    case BINARY_OP:
    case BINARY_SUBSCR:
    case COMPARE_OP:
        return 1;
    case BEFORE_WITH:
        return FL_WITH_LIVE;
    case CALL_FUNCTION_EX:
        return 2;
    default:
        return 0;
    }
}

/* What object has this frame's code run because it dies: a finalizer, a weak reference's callback, a generator that is
 * closed. Then what lies on the stack of the frame below may be dead already. */
static int finalizes(iframe *i) {
    if (i->owner == FRAME_OWNED_BY_GENERATOR) {
        PyObject *handled = frame_generator(i)->gi_exc_state.exc_value;
        return handled && PyErr_GivenExceptionMatches(handled, PyExc_GeneratorExit);
    }
    if (PyUnicode_CompareWithASCIIString(frame_code(i)->co_name, "__del__") == 0)
        return 1;
    for (int k = 0; k < 3 && k < frame_code(i)->co_argcount; k++)
        if (frame_local(i, k) && PyWeakref_Check(frame_local(i, k)))
            return 1;
    return 0;
}

/* A copy that goes on at the unit `next`, with sp objects on its stack; -1: as many as the instruction found that is going on. */
static struct fl_frame *copy_frame(struct fl_run *run, iframe *i, int sp, int next) {
    PyCodeObject *code = frame_code(i);
    PyObject *function = frame_function(i);
    struct fl_code *c = fl_code_get(run->st, code);
    struct fl_frame *f = c ? fl_frame_new(run, c, i->f_globals, function) : NULL;
    if (!f)
        return NULL;
    f->at = frame_at(i);
    while (f->at > 0 && c->unit[2 * f->at] == CACHE)
        f->at--;
    int dead = 0, op = f->at < 0 ? UNSUPPORTED : c->unit[2 * f->at];
    if (sp < 0) {
        dead = operands_live(op) == 2 ? 1 + (c->unit[2 * f->at + 1] & 1) : 0;
        sp = operands_live(op) ? c->depth[f->at] : -1;
    }
    if (sp < 0 || sp > code->co_stacksize) {
        fl_stop(run, FL_WHY_OTHER, "a frame in an unexpected state");
        fl_frame_free(f);
        return NULL;
    }
    for (int k = 0; k < c->nlocalsplus + sp - dead; k++)
        f->slots[k] = frame_take(i->localsplus[k]);
    f->sp = sp;
    f->ip = next;
    f->barrier = fl_is_barrier(run, c, i->f_globals);
    return f;
}

/* What follows the instruction f is at. */
static int after(const struct fl_frame *f) {
    return f->at + 1 + fl_caches[f->code->unit[2 * f->at]];
}

static int opcode_at(const struct fl_frame *f, int *arg) {
    int unit = f->at, op = f->code->unit[2 * unit], ext = 0;
    for (int u = unit - 3 < 0 ? 0 : unit - 3; u < unit; u++)
        ext = f->code->unit[2 * u] == EXTENDED_ARG ? ext << 8 | f->code->unit[2 * u + 1] : 0;
    *arg = ext << 8 | f->code->unit[2 * unit + 1];
    return op;
}

/* A call that is going on in native code: where its operands lie, and what follows it. */
struct calling {
    PyObject *callable, *self; /* borrowed */
    PyObject **args;
    PyObject *kwnames;
    Py_ssize_t nargs;
    int operands, next;
};

static int calling_of(struct fl_frame *f, struct calling *c) {
    int arg, op = opcode_at(f, &arg);
    memset(c, 0, sizeof *c);
    c->next = after(f);
    if (op == CALL || op == CALL_KW || op == PRECALL) {
        int named = op == CALL_KW;
        PyObject **base = fl_at(f, arg + 2 + named);
        c->operands = arg + 2 + named;
        c->callable = base[0] ? base[0] : base[1];
        c->self = FL_CALLABLE_FIRST || base[0] ? base[1] : NULL;
        c->args = base + 2;
        int before = f->at - 1; /* KW_NAMES, then perhaps PRECALL, each with its caches */
        if (FL_PRECALL && op == CALL)
            before = f->at - 3;
        while (before > 0 && f->code->unit[2 * before] == EXTENDED_ARG)
            before--;
        if (named)
            c->kwnames = *fl_at(f, 1);
        else if (before >= 0 && f->code->unit[2 * before] == KW_NAMES)
            c->kwnames = PyTuple_GET_ITEM(f->code->code->co_consts, f->code->unit[2 * before + 1]);
        c->nargs = arg - (c->kwnames ? PyTuple_GET_SIZE(c->kwnames) : 0);
        if (op == PRECALL)
            c->next = f->at + 7;
        return 1;
    }
    if (op == CALL_FUNCTION_EX) {
        int keywords = arg & 1;
        c->operands = 3 + keywords;
        c->callable = *fl_at(f, (FL_CALLABLE_FIRST ? 3 : 2) + keywords);
        return 1;
    }
    return 0;
}

static int is_it(PyObject *callable, PyObject *functional) {
    if (!callable)
        return 0;
    if (callable == functional ||
        (PyMethod_Check(callable) && PyMethod_GET_FUNCTION(callable) == functional))
        return 1;
    if (strcmp(Py_TYPE(callable)->tp_name, "functools.partial") != 0)
        return 0;
    PyObject *inner = PyObject_GetAttrString(callable, "func");
    PyErr_Clear();
    Py_XDECREF(inner);
    return inner == functional;
}

/* The instruction is over and gave `value` in place of its operands. */
static void complete(struct fl_frame *f, int operands, int next, PyObject *value) {
    for (int i = 0; i < operands; i++)
        Py_XDECREF(fl_pop(f));
    fl_push(f, Py_NewRef(value));
    f->ip = next;
}

static int has_iterator(struct fl_run *run, const struct calling *c) {
    for (Py_ssize_t i = 0; c->args && i < c->nargs; i++) {
        PyObject *o = c->args[i];
        if (o && (PyGen_CheckExact(o) || fl_kind(run->st, Py_TYPE(o)) == FL_ITER))
            return 1;
    }
    return 0;
}

/* Native code calls the functional, on behalf of an instruction of f: it is done again, for what is left of it. 0; 1: it
 * cannot be. */
static int repeat_native(struct fl_run *run, struct fl_frame *f) {
    struct calling c;
    int arg, op = opcode_at(f, &arg);
    if (op == FOR_ITER) {
        fl_push(f, fl_unknown(run->st));
        f->ip = after(f);
        return 0;
    }
    if (!calling_of(f, &c) || !c.args || !c.callable)
        return 1;
    if (has_iterator(run, &c))
        run->skip = 0;
    PyObject *r = NULL;
    struct fl_frame *top = run->top;
    run->top = f; /* whose call it is */
    if (!c.self)
        r = fl_call(run, c.callable, c.args, c.nargs, c.kwnames);
    run->top = top;
    if (!r)
        return c.self ? 1 : -1;
    Py_DECREF(r);
    run->skip = 0;
    PyObject *u = fl_unknown(run->st);
    if (!u)
        return -1;
    complete(f, c.operands, c.next, u);
    Py_DECREF(u);
    return 0;
}

/* functools.partial with one argument of its own puts that where the callable lies on the stack, while it calls (until 3.13). */
static int is_prefixed(struct fl_run *run, iframe *i, const struct fl_frame *f,
                       const struct calling *c) {
    frame_ref *at = i->localsplus + f->code->nlocalsplus + f->sp - c->operands + 1;
    return c->args && (const void *)run->args == (const void *)at;
}

static int enter_innermost(struct fl_run *run, iframe *i, struct fl_frame *f, PyObject *functional,
                           PyObject *value) {
    struct calling c;
    if (calling_of(f, &c) &&
        (is_it(c.callable, functional) || (c.self && is_it(c.self, functional)) ||
         is_prefixed(run, i, f, &c))) {
        run->skip = 0;
        complete(f, c.operands, c.next, value);
        return 0;
    }
    return repeat_native(run, f);
}

/* --- from a frame to the one that called it ---------------------------------------------------------------- */

/* Native code that takes all a generator has. What it fills with that is not known from then on. */
static int drains(struct fl_run *run, const struct calling *c) {
    const char *name = NULL;
    if (PyType_Check(c->callable) || fl_pure_of(run->st, c->callable) == FL_PURE_ITER)
        return 1;
    PyObject *self = c->self;
    if (Py_TYPE(c->callable) == &PyMethodDescr_Type) {
        name = ((PyMethodDescrObject *)c->callable)->d_method->ml_name;
    } else if (PyCFunction_Check(c->callable)) {
        name = ((PyCFunctionObject *)c->callable)->m_ml->ml_name;
        self = PyCFunction_GET_SELF(c->callable);
    }
    if (!name || !self || !fl_kind(run->st, Py_TYPE(self)))
        return 0;
    if (strcmp(name, "join") == 0)
        return 1;
    return (strcmp(name, "extend") == 0 || strcmp(name, "update") == 0) &&
           fl_poison(run, self) == 0;
}

/* The loop is over. */
static void leave_loop(struct fl_frame *outer, int arg) {
    Py_DECREF(fl_pop(outer));
    outer->ip = after(outer) + arg + FL_FOR_SKIP;
}

/* What zip, which `it` is, makes of the value its iterator `theirs` gave: new reference; NULL without exception: nothing, another
 * one is exhausted. */
static PyObject *zip_item(struct fl_run *run, PyObject *iterators, PyObject *theirs,
                          PyObject *value) {
    PyObject *item = PyTuple_New(PyTuple_GET_SIZE(iterators));
    int before = 1;
    for (Py_ssize_t i = 0; item && i < PyTuple_GET_SIZE(iterators); i++) {
        PyObject *it = PyTuple_GET_ITEM(iterators, i), *one = NULL;
        int rc = 1;
        if (it == theirs) {
            before = 0;
            one = Py_NewRef(value);
        } else if (before) { /* zip has it already */
            one = fl_unknown(run->st);
        } else {
            rc = fl_next(run, it, &one);
        }
        if (!one || rc <= 0)
            Py_CLEAR(item);
        else
            PyTuple_SET_ITEM(item, i, one);
    }
    return item;
}

/* A generator inside zip, enumerate or map (on top of outer's stack) gave a value to a loop: that goes on with the item. 0; -1; 1:
 * something else. */
static int leave_wrapped(struct fl_run *run, struct fl_frame *outer, int arg, PyObject *theirs,
                         PyObject *gen, PyObject *value) {
    PyObject *it = *fl_at(outer, 1), *item = NULL;
    PyTypeObject *type = Py_TYPE(it);
    if (type != &PyZip_Type && type != &PyEnum_Type && type != &PyMap_Type)
        return 1;
    if (!gen) {
        leave_loop(outer, arg);
        return 0;
    }
    PyObject *reduced = PyObject_CallMethod(it, "__reduce__", NULL);
    PyObject *args = reduced && PyTuple_Check(reduced) ? PyTuple_GET_ITEM(reduced, 1) : NULL;
    int rc = args && fl_map_set(&run->forward, theirs, gen) == 0 ? 0 : -1;
    if (rc == 0 && type == &PyZip_Type) {
        item = zip_item(run, args, theirs, value);
    } else if (rc == 0 && type == &PyMap_Type && PyTuple_GET_SIZE(args) == 2) {
        item = fl_call(run, PyTuple_GET_ITEM(args, 0), &value, 1, NULL);
    } else if (rc == 0 && type == &PyEnum_Type) {
        PyObject *one = PyLong_FromLong(1);
        PyObject *next = one ? PyNumber_Add(PyTuple_GET_ITEM(args, 1), one) : NULL;
        PyObject *made =
            next ? PyObject_CallFunctionObjArgs((PyObject *)type, gen, next, NULL) : NULL;
        if (made && fl_mark_owned(run, made) == 0 && fl_map_set(&run->forward, it, made) == 0)
            item = PyTuple_Pack(2, PyTuple_GET_ITEM(args, 1), value);
        Py_XDECREF(one);
        Py_XDECREF(next);
        Py_XDECREF(made);
    } else if (rc == 0) {
        rc = 1;
    }
    Py_XDECREF(reduced);
    if (item) {
        fl_push(outer, item);
        outer->ip = after(outer);
    } else if (rc == 0 && PyErr_Occurred()) {
        rc = -1;
    } else if (rc == 0) {
        leave_loop(outer, arg);
    }
    return rc;
}

/* A generator of the program's that runs (its frame is f) was asked for an item by an instruction of outer. 0, 1, -1. */
static int leave_generator(struct fl_run *run, iframe *i, struct fl_frame **inner, PyObject *value,
                           struct fl_frame *outer) {
    int native = frame_is_entry(i);
    PyObject *running = (PyObject *)frame_generator(i);
    struct calling c;
    int arg, op = opcode_at(outer, &arg);
    if (op == SEND && !native)
        fl_push(outer, Py_NewRef(Py_None)); /* what was sent is gone already */
    int yielded = value && (*inner)->yielded;
    PyObject *gen = NULL;
    if (yielded) {
        gen = fl_gen_new(run, *inner, 1);
        *inner = NULL;
        if (!gen)
            return -1;
    }
    int rc = 1;
    if (op == FOR_ITER && PyGen_CheckExact(*fl_at(outer, 1))) {
        PyObject *theirs = Py_NewRef(*fl_at(outer, 1));
        rc = 0;
        if (yielded) {
            rc = fl_map_set(&run->forward, theirs, gen);
            fl_push(outer, Py_NewRef(value));
            outer->ip = after(outer);
        } else if (value) {
            leave_loop(outer, arg);
        } else {
            rc = -1;
        }
        Py_DECREF(theirs);
    } else if (op == FOR_ITER && value) {
        rc = leave_wrapped(run, outer, arg, running, gen, value);
    } else if (op == SEND) {
        if (yielded)
            rc = fl_map_set(&run->forward, *fl_at(outer, 2), gen);
        else
            rc = value ? 0 : -1;
        if (value)
            complete(outer, yielded || FL_SEND_KEEPS ? 1 : 2, after(outer) + (yielded ? 0 : arg),
                     value);
    } else if (calling_of(outer, &c) && c.nargs > 0 && c.args && PyGen_CheckExact(c.args[0]) &&
               PyCFunction_Check(c.callable) &&
               strcmp(((PyCFunctionObject *)c.callable)->m_ml->ml_name, "next") == 0 && yielded) {
        rc = fl_map_set(&run->forward, c.args[0], gen);
        complete(outer, c.operands, c.next, value);
    } else if (calling_of(outer, &c) && value && c.callable && drains(run, &c)) {
        PyObject *item, *source = c.args && c.nargs > 0 ? c.args[0] : NULL;
        /* Where something is between, all of that is run through, for what else is in it. */
        int wrapped = gen && source && source != running &&
                      fl_kind(run->st, Py_TYPE(fl_see(run, source))) == FL_ITER;
        rc = wrapped ? fl_map_set(&run->forward, running, gen) : 0;
        while (rc == 0 && gen && (rc = fl_next(run, wrapped ? source : gen, &item)) > 0) {
            rc = wrapped && fl_is_unknown(run->st, fl_see(run, source)) ? 2 : 0;
            Py_DECREF(item);
            if (rc == 2)
                break;
        }
        rc = rc == 2 ? 0 : rc;
        PyObject *u = rc == 0 ? fl_unknown(run->st) : NULL;
        rc = u ? 0 : -1;
        if (u)
            complete(outer, c.operands, c.next, u);
        Py_XDECREF(u);
    }
    Py_XDECREF(gen);
    return rc;
}

/* Native code called the frame `i` on behalf of an instruction of outer. */
static int leave_native(struct fl_run *run, iframe *i, PyObject *value, struct fl_frame *outer) {
    struct calling c;
    int arg, op = opcode_at(outer, &arg);
    if (op == LOAD_ATTR || op == LOAD_METHOD) {
        if (op == LOAD_METHOD)
            return 1;
        complete(outer, 1, after(outer), value);
        return 0;
    }
    if (op == BINARY_OP || op == BINARY_SUBSCR || op == COMPARE_OP) {
        complete(outer, 2, after(outer), value);
        return 0;
    }
    if (op == BEFORE_WITH) {
        fl_push(outer, Py_NewRef(value));
        outer->ip = after(outer);
        return 0;
    }
    if (!calling_of(outer, &c) || !c.callable)
        return 1;
    if (c.callable == frame_function(i) ||
        (PyMethod_Check(c.callable) && PyMethod_GET_FUNCTION(c.callable) == frame_function(i))) {
        complete(outer, c.operands, c.next, value);
        return 0;
    }
    if (Py_TYPE(c.callable) == run->st->schedule_type &&
        fl_unwrap(run->st, c.callable) == frame_function(i)) {
        complete(outer, c.operands, c.next, value);
        return 0;
    }
    if (PyType_Check(c.callable) && frame_code(i)->co_argcount > 0 &&
        core_type_lookup((PyTypeObject *)c.callable, run->st->s_init) == frame_function(i) &&
        frame_local(i, 0)) {
        PyObject *self = frame_local(i, 0);
        if (PyCell_Check(self))
            self = PyCell_GET(self);
        if (!self)
            return 1;
        complete(outer, c.operands, c.next, fl_see(run, self));
        return 0;
    }
    return 1;
}

/* Runs f, then those that called it, as far as they can be followed. */
static int follow(struct fl_run *run, iframe *i, struct fl_frame *f, void *base) {
    int rc = 0;
    for (;;) {
        PyObject *value = fl_exec(run, f);
        if (!value && PyErr_ExceptionMatches(run->st->stop))
            break;
        iframe *prev = frame_caller(i);
        int native = frame_is_entry(i);
        if (prev && prev != base && frame_is_init_shim(prev)) {
            if (value)
                Py_SETREF(value, Py_XNewRef(fl_see(run, frame_local(prev, 0))));
            prev = frame_caller(prev);
        }
        if (prev == base && value && f->yielded && i->owner == FRAME_OWNED_BY_GENERATOR) {
            /* A scheduled generator: whoever asks may ask again. */
            Py_DECREF(value);
            fl_push(f, Py_NewRef(Py_None));
            continue;
        }
        if (!prev || prev == base ||
            (i->owner != FRAME_OWNED_BY_GENERATOR && value && f->yielded)) {
            Py_XDECREF(value);
            break;
        }
        if (native && finalizes(i)) {
            Py_XDECREF(value);
            fl_stop(run, FL_WHY_OTHER, "a finalizer");
            break;
        }
        struct fl_frame *outer =
            copy_frame(run, prev, native ? -1 : frame_held(prev), native ? 0 : frame_next(prev));
        rc = outer ? 0 : -1;
        if (outer && i->owner == FRAME_OWNED_BY_GENERATOR)
            rc = leave_generator(run, i, &f, value, outer);
        else if (outer && value && native)
            rc = leave_native(run, i, value, outer);
        if (rc == 1 && value && native && i->owner != FRAME_OWNED_BY_GENERATOR &&
            !PyErr_Occurred()) {
            run->skip = run->at_place;
            rc = repeat_native(run, outer);
        }
        if (outer && value && !native)
            fl_push(outer, Py_NewRef(value));
        if (outer && !value && PyErr_Occurred())
            rc = fl_handle(run, outer) < 0 ? -1 : 0;
        Py_XDECREF(value);
        fl_frame_free(f);
        f = outer;
        i = prev;
        if (rc != 0)
            break;
    }
    fl_frame_free(f);
    return rc;
}

void *fl_frame_base(void) {
    return frame_current();
}

int fl_signals_hold(void) {
    return frame_signals_hold();
}

int fl_signals_pending(void) {
    return frame_signals_pending();
}

/* What its handler raises goes before what went wrong meanwhile. */
int fl_signals_release(int held) {
    if (!held)
        return 0;
    frame_signals_release();
    PyObject *before = PyErr_GetRaisedException();
    if (PyErr_CheckSignals() < 0) {
        Py_XDECREF(before);
        return -1;
    }
    if (before)
        PyErr_SetRaisedException(before);
    return 0;
}

/* While a pass runs, Python code that native code wants to call is not run: it might have effects. */
static PyObject *guarded(PyThreadState *ts, iframe *frame, int throwing) {
    if (fl_session_forbids())
        return frame_refuse(ts, frame);
    return _PyEval_EvalFrameDefault(ts, frame, throwing);
}

/* Nor is a generator of the program's resumed by native code: refused half-way it would be lost. */
static iternextfunc resume;

static PyObject *guarded_next(PyObject *generator) {
    return fl_session_forbids() ? NULL : resume(generator);
}

int fl_guard_begin(struct flow_state *st) {
    PyInterpreterState *interp = PyInterpreterState_Get();
    if (_PyInterpreterState_GetEvalFrameFunc(interp) != _PyEval_EvalFrameDefault)
        return -1; /* a debugger or a compiler is there already */
    _PyInterpreterState_SetEvalFrameFunc(interp, guarded);
    resume = PyGen_Type.tp_iternext;
    PyGen_Type.tp_iternext = guarded_next;
    st->collects = PyGC_Disable();
    return 0;
}

void fl_guard_end(struct flow_state *st) {
    PyGen_Type.tp_iternext = resume;
    if (st->collects)
        PyGC_Enable();
    _PyInterpreterState_SetEvalFrameFunc(PyInterpreterState_Get(), _PyEval_EvalFrameDefault);
}

PyObject *fl_scheduled_generator(struct flow_state *st, void **caller) {
    PyObject *found = NULL;
    iframe *i = frame_current();
    for (int k = 0; i && k < 32; k++, i = frame_caller(i)) {
        int coroutine = frame_code(i)->co_flags & CO_COROUTINE;
        if (i->owner == FRAME_OWNED_BY_GENERATOR && (coroutine || !found) &&
            fl_is_scheduled(st, frame_code(i))) {
            *caller = frame_caller(i);
            found = (PyObject *)frame_generator(i);
        }
    }
    return found;
}

int fl_fork_pass(struct fl_run *run, PyObject *functional, PyObject *value) {
    iframe *i = frame_current();
    if (!i || i == run->base)
        return 1;
    struct fl_frame *f = copy_frame(run, i, -1, 0);
    run->handled = PyErr_GetHandledException();
    int rc = f ? enter_innermost(run, i, f, functional, value) : -1;
    if (rc == 0) {
        rc = follow(run, i, f, run->base);
        f = NULL;
    }
    fl_frame_free(f);
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return rc > 0 ? 1 : 0;
}

PyObject *fl_fork_generator(struct fl_run *run, PyObject *o) {
    PyGenObject *gen = (PyGenObject *)o;
    iframe *i = frame_of_generator(gen);
    int suspended = frame_suspended(gen);
    if (PyAsyncGen_CheckExact(o) && ((PyAsyncGenObject *)o)->ag_running_async)
        suspended = 0; /* it awaits something: what that gives is not known here */
    struct fl_frame *f = !suspended ? NULL : copy_frame(run, i, frame_held(i), frame_resumes(i));
    if (!f)
        return NULL;
    f->barrier = 0; /* as of one that a pass begins */
    return fl_gen_new(run, f, suspended > 0);
}

int fl_fork_suspended(struct fl_run *run, PyObject *o) {
    PyGenObject *gen = (PyGenObject *)o; /* coroutines begin alike */
    if (!PyCoro_CheckExact(o) || frame_suspended(gen) <= 0)
        return 1;
    iframe *i = frame_of_generator(gen);
    struct fl_frame *f = copy_frame(run, i, frame_held(i), frame_resumes(i));
    if (f) {
        run->handled = Py_XNewRef(gen->gi_exc_state.exc_value);
        fl_push(f, Py_NewRef(Py_None));
        Py_XDECREF(fl_exec(run, f));
        fl_frame_free(f);
    }
    PyErr_Clear();
    return f ? 0 : -1;
}

#else

int fl_fork_suspended(struct fl_run *run, PyObject *coroutine) {
    (void)run, (void)coroutine;
    return 1;
}
void fl_place_now(struct fl_place *place, PyObject *called, PyObject *const *args, Py_ssize_t nargs,
                  PyObject *kwnames) {
    (void)called, (void)args, (void)nargs, (void)kwnames;
    memset(place, 0, sizeof *place);
}
void *fl_frame_base(void) {
    return NULL;
}
int fl_signals_hold(void) {
    return 0;
}
int fl_signals_pending(void) {
    return 0;
}
int fl_signals_release(int held) {
    (void)held;
    return 0;
}
int fl_guard_begin(struct flow_state *st) {
    (void)st;
    return -1;
}
void fl_guard_end(struct flow_state *st) {
    (void)st;
}
PyObject *fl_scheduled_generator(struct flow_state *st, void **caller) {
    (void)st, (void)caller;
    return NULL;
}
int fl_fork_pass(struct fl_run *run, PyObject *functional, PyObject *value) {
    (void)run, (void)functional, (void)value;
    return 1;
}
PyObject *fl_fork_generator(struct fl_run *run, PyObject *generator) {
    (void)run, (void)generator;
    return NULL;
}

#endif
