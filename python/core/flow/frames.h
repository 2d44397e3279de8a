/* core/flow/frames: the insides of CPython's frames, by version: with bytecode.c all of the pass's interpreter that is not the same
 * for all. FL_FRAMES is 0 where nothing is known: there nothing is run ahead of, and scheduled functions are sequential.
 *
 * Every pointer is borrowed and is good while the frame is on the stack of the calling thread. */
#ifndef ERG_CORE_FLOW_FRAMES_H
#define ERG_CORE_FLOW_FRAMES_H

#include "../compat.h"

#if PY_VERSION_HEX < 0x030F0000 && !defined(Py_GIL_DISABLED)
#define FL_FRAMES 1
#define Py_BUILD_CORE 1
#undef _PyGC_FINALIZED /* which those define again */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-parameter" /* of inline functions in there */
#include <internal/pycore_frame.h>
#include <internal/pycore_runtime.h>
#if PY_VERSION_HEX >= 0x030D0000
#include <internal/pycore_ceval.h>
#endif
#if PY_VERSION_HEX >= 0x030E0000
#include <internal/pycore_genobject.h>
#include <internal/pycore_interpframe.h>
#endif
#pragma GCC diagnostic pop
#undef Py_BUILD_CORE

typedef struct _PyInterpreterFrame iframe;

static inline iframe *frame_current(void) {
#if PY_VERSION_HEX < 0x030D0000
    return PyThreadState_Get()->cframe->current_frame;
#else
    return PyThreadState_Get()->current_frame;
#endif
}

/* What lies in a slot of a frame. Since 3.14 bits of it tell who counts the reference: the frame, or somebody who outlives
 * it; and a slot of the stack may hold a number that is no object. */
#if PY_VERSION_HEX >= 0x030E0000
typedef _PyStackRef frame_ref;

/* Borrowed; NULL: nothing is there, or a number. */
static inline PyObject *frame_object(frame_ref ref) {
    return PyStackRef_IsTaggedInt(ref) ? NULL : (PyObject *)(ref.bits & ~(uintptr_t)Py_TAG_BITS);
}

/* New reference, also to a number; NULL: nothing is there. */
static inline PyObject *frame_take(frame_ref ref) {
    return PyStackRef_IsTaggedInt(ref) ? PyLong_FromSsize_t((Py_ssize_t)ref.bits >> 2)
                                       : Py_XNewRef(frame_object(ref));
}
#else
typedef PyObject *frame_ref;

static inline PyObject *frame_object(frame_ref ref) {
    return ref;
}

static inline PyObject *frame_take(frame_ref ref) {
    return Py_XNewRef(ref);
}
#endif

/* The local variable, an argument's first. */
static inline PyObject *frame_local(iframe *i, int k) {
    return frame_object(i->localsplus[k]);
}

static inline PyCodeObject *frame_code(iframe *i) {
#if PY_VERSION_HEX >= 0x030E0000
    return (PyCodeObject *)frame_object(i->f_executable);
#elif PY_VERSION_HEX < 0x030D0000
    return i->f_code;
#else
    return (PyCodeObject *)i->f_executable;
#endif
}

static inline PyObject *frame_function(iframe *i) {
#if PY_VERSION_HEX < 0x030C0000
    return (PyObject *)i->f_func;
#elif PY_VERSION_HEX < 0x030E0000
    return i->f_funcobj;
#else
    return frame_object(i->f_funcobj);
#endif
}

/* It stands for native code. */
static inline int frame_is_native(iframe *i) {
#if PY_VERSION_HEX < 0x030C0000
    (void)i;
    return 0;
#elif PY_VERSION_HEX < 0x030E0000
    return i->owner == FRAME_OWNED_BY_CSTACK;
#else
    return i->owner >= FRAME_OWNED_BY_INTERPRETER;
#endif
}

/* Native code called it: what called that waits in the middle of an instruction. */
static inline int frame_is_entry(iframe *i) {
#if PY_VERSION_HEX < 0x030C0000
    return i->is_entry;
#else
    return !i->previous || frame_is_native(i->previous);
#endif
}

/* The frame of Python that called it, or NULL. */
static inline iframe *frame_caller(iframe *i) {
    iframe *previous = i->previous;
    while (previous && frame_is_native(previous))
        previous = previous->previous;
    return previous;
}

/* It stands between __init__ and the call of a class, for which that gives its first local. */
static inline int frame_is_init_shim(iframe *i) {
#if PY_VERSION_HEX < 0x030D0000
    (void)i;
    return 0;
#else
    return i->owner == FRAME_OWNED_BY_THREAD && !PyFunction_Check(frame_function(i));
#endif
}

/* The unit of the instruction that is going on, or of a cache behind it. */
static inline int frame_at(iframe *i) {
    return _PyInterpreterFrame_LASTI(i);
}

/* Where it goes on when the frame of Python that it called (without native code in between) returns. */
static inline int frame_next(iframe *i) {
#if PY_VERSION_HEX < 0x030D0000
    return frame_at(i) + 1;
#else
    return frame_at(i) + i->return_offset;
#endif
}

/* Where a suspended generator goes on. */
static inline int frame_resumes(iframe *i) {
#if PY_VERSION_HEX < 0x030D0000
    return frame_at(i) + 1;
#else
    return frame_at(i);
#endif
}

/* How many objects lie on the stack of a frame that waits for another one of Python. */
static inline int frame_held(iframe *i) {
#if PY_VERSION_HEX < 0x030E0000
    return i->stacktop - frame_code(i)->co_nlocalsplus;
#else
    return (int)(i->stackpointer - i->localsplus) - frame_code(i)->co_nlocalsplus;
#endif
}

static inline PyGenObject *frame_generator(iframe *i) {
#if PY_VERSION_HEX < 0x030E0000
    return _PyFrame_GetGenerator(i);
#else
    return _PyGen_GetGeneratorFromFrame(i);
#endif
}

static inline iframe *frame_of_generator(PyGenObject *generator) {
#if PY_VERSION_HEX < 0x030E0000
    return (iframe *)generator->gi_iframe;
#else
    return &generator->gi_iframe;
#endif
}

/* 1: suspended, -1: not begun, 0: neither. */
static inline int frame_suspended(PyGenObject *generator) {
    int state = generator->gi_frame_state;
#if PY_VERSION_HEX >= 0x030D0000
    if (state == FRAME_SUSPENDED_YIELD_FROM)
        return 1;
#endif
    return state == FRAME_SUSPENDED ? 1 : state == FRAME_CREATED ? -1 : 0;
}

/* The frame itself made the call with these arguments of `called`, not native code that the frame called. Until 3.13 the arguments
 * of such a call lie on its stack; later they are copied from there. */
static inline int frame_calls(iframe *i, PyObject *called, PyObject *const *args, Py_ssize_t nargs,
                              PyObject *kwnames) {
#if PY_VERSION_HEX < 0x030E0000
    (void)called, (void)nargs, (void)kwnames;
    frame_ref *from = i->localsplus;
    return args >= from &&
           args < from + frame_code(i)->co_nlocalsplus + frame_code(i)->co_stacksize;
#else
    Py_ssize_t n = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    frame_ref *base = i->localsplus + frame_code(i)->co_nlocalsplus;
    frame_ref *top = i->stackpointer - (kwnames != NULL);
    for (int bound = 0; bound <= (n > 0); bound++) { /* the first of them is a method's own */
        frame_ref *at = top - (n - bound) - 2;
        PyObject *callable = at < base ? NULL : frame_object(at[0]);
        PyObject *self = callable ? frame_object(at[1]) : NULL;
        if (callable && bound && !self && PyMethod_Check(callable)) {
            self = PyMethod_GET_SELF(callable);
            callable = PyMethod_GET_FUNCTION(callable);
        }
        if (callable != called || self != (bound ? args[0] : NULL))
            continue;
        Py_ssize_t k = bound;
        while (k < n && frame_object(at[2 + k - bound]) == args[k])
            k++;
        if (k == n)
            return 1;
    }
    return 0;
#endif
}

/* What an evaluator returns that does not run the frame it was given; an exception is set. The frame goes, a generator is as it
 * was before it was asked. */
static inline PyObject *frame_refuse(PyThreadState *ts, iframe *i) {
#if PY_VERSION_HEX >= 0x030C0000
    if (i->owner !=
        FRAME_OWNED_BY_GENERATOR) /* at its first instruction nothing handles the exception */
        return _PyEval_EvalFrameDefault(ts, i, 1);
    PyGenObject *generator = frame_generator(i);
#if PY_VERSION_HEX < 0x030E0000
    Py_XDECREF(i->localsplus[--i->stacktop]); /* what was sent */
#else
    PyStackRef_XCLOSE(*--i->stackpointer);
#endif
    ts->exc_info = generator->gi_exc_state.previous_item;
    generator->gi_exc_state.previous_item = NULL;
    generator->gi_frame_state = FRAME_SUSPENDED;
#else
    (void)ts, (void)i; /* the caller clears the frame */
#endif
    return NULL;
}

/* Signals wait from here on: Python handles them where its main thread is, and there is none. 1: they do; 0: this is not the
 * thread that handles them, or they wait already. */
static inline int frame_signals_hold(void) {
    if (_PyRuntime.main_thread != PyThread_get_thread_ident())
        return 0;
    _PyRuntime.main_thread = 0;
    return 1;
}

static inline void frame_signals_release(void) {
    _PyRuntime.main_thread = PyThread_get_thread_ident();
}

/* 1: one has come. */
static inline int frame_signals_pending(void) {
#if PY_VERSION_HEX < 0x030D0000
    return _Py_atomic_load_relaxed(&_PyRuntime.ceval.signals_pending) != 0;
#else
    return _Py_eval_breaker_bit_is_set(PyThreadState_Get(), _PY_SIGNALS_PENDING_BIT);
#endif
}

#else
#define FL_FRAMES 0
#endif

#endif
