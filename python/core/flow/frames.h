/* core/flow/frames: the insides of CPython's frames, by version: with bytecode.c all of the pass's interpreter that is not the same
 * for all. FL_FRAMES is 0 where nothing is known: there nothing is run ahead of, and scheduled functions are sequential.
 *
 * Every pointer is borrowed and is good while the frame is on the stack of the calling thread. */
#ifndef ERG_CORE_FLOW_FRAMES_H
#define ERG_CORE_FLOW_FRAMES_H

#include "../compat.h"

#if PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED)
#define FL_FRAMES 1
#define Py_BUILD_CORE 1
#include <internal/pycore_frame.h>
#undef Py_BUILD_CORE

typedef struct _PyInterpreterFrame iframe;

static inline iframe *frame_current(void) {
#if PY_VERSION_HEX < 0x030D0000
    return PyThreadState_Get()->cframe->current_frame;
#else
    return PyThreadState_Get()->current_frame;
#endif
}

static inline PyCodeObject *frame_code(iframe *i) {
#if PY_VERSION_HEX < 0x030D0000
    return i->f_code;
#else
    return (PyCodeObject *)i->f_executable;
#endif
}

static inline PyObject *frame_function(iframe *i) {
#if PY_VERSION_HEX < 0x030C0000
    return (PyObject *)i->f_func;
#else
    return i->f_funcobj;
#endif
}

/* Native code called it: what called that waits in the middle of an instruction. */
static inline int frame_is_entry(iframe *i) {
#if PY_VERSION_HEX < 0x030C0000
    return i->is_entry;
#else
    return !i->previous || i->previous->owner == FRAME_OWNED_BY_CSTACK;
#endif
}

/* The frame of Python that called it, or NULL. */
static inline iframe *frame_caller(iframe *i) {
    iframe *previous = i->previous;
#if PY_VERSION_HEX >= 0x030C0000
    while (previous && previous->owner == FRAME_OWNED_BY_CSTACK)
        previous = previous->previous;
#endif
    return previous;
}

/* It stands between __init__ and the call of a class, for which that gives its first local. */
static inline int frame_is_init_shim(iframe *i) {
#if PY_VERSION_HEX < 0x030D0000
    (void)i;
    return 0;
#else
    return i->owner == FRAME_OWNED_BY_THREAD && !PyFunction_Check(i->f_funcobj);
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

/* 1: suspended, -1: not begun, 0: neither. */
static inline int frame_suspended(PyGenObject *generator) {
    int state = generator->gi_frame_state;
#if PY_VERSION_HEX >= 0x030D0000
    if (state == FRAME_SUSPENDED_YIELD_FROM)
        return 1;
#endif
    return state == FRAME_SUSPENDED ? 1 : state == FRAME_CREATED ? -1 : 0;
}

/* What an evaluator returns that does not run the frame it was given; an exception is set. The frame goes, a generator is as it
 * was before it was asked. */
static inline PyObject *frame_refuse(PyThreadState *ts, iframe *i) {
#if PY_VERSION_HEX >= 0x030C0000
    if (i->owner !=
        FRAME_OWNED_BY_GENERATOR) /* at its first instruction nothing handles the exception */
        return _PyEval_EvalFrameDefault(ts, i, 1);
    PyGenObject *generator = _PyFrame_GetGenerator(i);
    Py_XDECREF(i->localsplus[--i->stacktop]); /* what was sent */
    ts->exc_info = generator->gi_exc_state.previous_item;
    generator->gi_exc_state.previous_item = NULL;
    generator->gi_frame_state = FRAME_SUSPENDED;
#else
    (void)ts, (void)i; /* the caller clears the frame */
#endif
    return NULL;
}

#else
#define FL_FRAMES 0
#endif

#endif
