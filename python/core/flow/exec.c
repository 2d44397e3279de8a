/* The interpreter of a pass: one C function call per Python frame. */
#include "flow.h"
#include "opcodes.h"

enum { DEPTH_MAX = 120 };

void fl_explain(struct flow_state *st, PyCodeObject *code, int unit, const char *what, long much) {
    PyObject *key =
        Py_BuildValue("(Ois)", code->co_filename, PyCode_Addr2Line(code, 2 * unit), what);
    PyObject *before = key ? PyDict_GetItemWithError(st->explain, key) : NULL;
    PyObject *count = PyLong_FromLong((before ? PyLong_AsLong(before) : 0) + much);
    if (!key || !count || PyDict_SetItem(st->explain, key, count) < 0)
        PyErr_Clear();
    Py_XDECREF(key);
    Py_XDECREF(count);
}

/* By the line it happened in, and that of the scheduled code that called it. */
static void explain_stop(struct fl_run *run, const char *what) {
    struct fl_frame *f = run->top;
    fl_explain(run->st, f->code->code, f->at, what, 1);
    int away = f->barrier;
    while (f && f->barrier)
        f = f->caller;
    if (f && away)
        fl_explain(run->st, f->code->code, f->at, what, 1);
}

int fl_stop(struct fl_run *run, enum fl_why why, const char *what) {
    if (!PyErr_Occurred()) {
        run->why = why;
        run->what = what;
        if (run->st->explain && run->top && why != FL_WHY_CAP)
            explain_stop(run, what);
        PyErr_SetNone(run->st->stop);
    }
    return -1;
}

int fl_absorb(struct fl_run *run) {
    if (!PyErr_ExceptionMatches(run->st->need_value))
        return 0;
    PyErr_Clear();
    return 1;
}

struct fl_frame *fl_frame_new(struct fl_run *run, struct fl_code *code, PyObject *globals,
                              PyObject *func) {
    int n = code->nlocalsplus + code->code->co_stacksize + 1;
    struct fl_frame *f = code->spare;
    if (f) { /* nothing is in its slots */
        code->spare = NULL;
        memset(f, 0, sizeof *f);
    } else if (!(f = PyMem_Calloc(1, sizeof *f + (size_t)n * sizeof(PyObject *)))) {
        PyErr_NoMemory();
        return NULL;
    }
    (void)run;
    f->code = code;
    f->globals = Py_NewRef(globals);
    f->func = Py_XNewRef(func);
    f->builtins = func ? ((PyFunctionObject *)func)->func_builtins : PyEval_GetBuiltins();
    Py_XINCREF(f->builtins);
    return f;
}

void fl_frame_free(struct fl_frame *f) {
    if (!f)
        return;
    for (int i = 0; i < f->code->nlocalsplus + f->sp; i++)
        Py_CLEAR(f->slots[i]);
    Py_XDECREF(f->globals);
    Py_XDECREF(f->builtins);
    Py_XDECREF(f->func);
    if (f->code->spare)
        PyMem_Free(f);
    else
        f->code->spare = f;
}

int fl_handle(struct fl_run *run, struct fl_frame *f) {
    int target, depth, lasti;
    if (PyErr_ExceptionMatches(run->st->stop))
        return -1;
    if (PyErr_ExceptionMatches(run->st->need_value)) { /* nobody knew what else to do */
        PyErr_Clear();
        return fl_stop(run, FL_WHY_VALUE, "needs a value that is not there yet");
    }
    if (!fl_code_handler(f->code, f->at, &target, &depth, &lasti))
        return -1;
    PyObject *exception = PyErr_GetRaisedException();
    while (f->sp > depth)
        Py_XDECREF(fl_pop(f));
    if (lasti)
        fl_push(f, PyLong_FromLong(f->at));
    fl_push(f, exception);
    f->ip = target;
    return 0;
}

static const fl_op *table_of(void) {
    static fl_op table[256]; /* constant once it is filled */
    if (!table[LOAD_FAST]) {
        fl_ops_stack(table);
        fl_ops_value(table);
        fl_ops_call(table);
        fl_ops_jump(table);
        fl_ops_build(table);
    }
    return table;
}

/* 0 went on, 1 returned or yielded: the value is on the stack, -1 exception. */
static inline int step(struct fl_run *run, struct fl_frame *f, const fl_op *table) {
    const uint8_t *unit = f->code->unit;
    int at = f->ip, op = unit[2 * at], arg = unit[2 * at + 1];
    while (op == EXTENDED_ARG) {
        at++;
        op = unit[2 * at];
        arg = arg << 8 | unit[2 * at + 1];
    }
    f->at = at;
    f->ip = at + 1 + fl_caches[op];
    switch (op) { /* the most frequent ones, without a call */
    case LOAD_FAST: {
        PyObject *o = f->slots[arg];
        if (!o)
            break;
        if (!PyLong_CheckExact(o)) /* of a number there is no other */
            o = fl_see(run, o);
        fl_push(f, Py_NewRef(o));
        return 0;
    }
    case LOAD_CONST:
        fl_push(f, Py_NewRef(PyTuple_GET_ITEM(f->code->code->co_consts, arg)));
        return 0;
    case LOAD_SMALL_INT:
        fl_push(f, PyLong_FromLong(arg)); /* there for ever: this cannot fail */
        return 0;
    case STORE_FAST: {
        PyObject *old = f->slots[arg];
        f->slots[arg] = fl_pop(f);
        Py_XDECREF(old);
        return 0;
    }
    case POP_TOP:
        Py_XDECREF(fl_pop(f));
        return 0;
    case PUSH_NULL:
        fl_push(f, NULL);
        return 0;
    case JUMP_BACKWARD:
        f->ip -= arg;
        return 0;
    case JUMP_FORWARD:
        f->ip += arg;
        return 0;
    case POP_JUMP_FORWARD_IF_FALSE:
    case POP_JUMP_FORWARD_IF_TRUE:
    case POP_JUMP_BACKWARD_IF_FALSE:
    case POP_JUMP_BACKWARD_IF_TRUE: {
        PyObject *top = *fl_at(f, 1);
        if (!PyBool_Check(top))
            break;
        int when = op == POP_JUMP_FORWARD_IF_TRUE || op == POP_JUMP_BACKWARD_IF_TRUE;
        int back = op == POP_JUMP_BACKWARD_IF_FALSE || op == POP_JUMP_BACKWARD_IF_TRUE;
        if ((top == Py_True) == when)
            f->ip += back ? -arg : arg;
        Py_DECREF(fl_pop(f));
        return 0;
    }
    case BINARY_OP: {
        PyObject *b = *fl_at(f, 1), **at = fl_at(f, 2), *a = *at;
        if (!PyLong_CheckExact(a) || !PyLong_CheckExact(b))
            break;
        PyNumberMethods *m = PyLong_Type.tp_as_number;
        binaryfunc call = arg == 0 || arg == 13    ? m->nb_add
                          : arg == 10 || arg == 23 ? m->nb_subtract
                          : arg == 5 || arg == 18  ? m->nb_multiply
                          : arg == 6 || arg == 19  ? m->nb_remainder
                          : arg == 2 || arg == 15  ? m->nb_floor_divide
                                                   : NULL;
        PyObject *r = call ? call(a, b) : NULL;
        if (!r)
            return call ? -1 : table[op](run, f, arg);
        Py_DECREF(fl_pop(f));
        Py_SETREF(*at, r);
        return 0;
    }
    case COMPARE_OP: {
        PyObject *b = *fl_at(f, 1), **at = fl_at(f, 2), *a = *at;
        if (!PyLong_CheckExact(a) || !PyLong_CheckExact(b))
            break;
        long x, y;
        PyObject *r = (arg & 7) == Py_EQ && core_long_small(a, &x) && core_long_small(b, &y)
                          ? PyBool_FromLong(x == y)
                          : PyLong_Type.tp_richcompare(a, b, arg & 7);
        if (!r)
            return -1;
        Py_DECREF(fl_pop(f));
        Py_SETREF(*at, r);
        return 0;
    }
    case FOR_ITER: { /* over a range that is known to be ours */
        PyObject *it = *fl_at(f, 1), *value;
        if (it != run->range)
            break;
        value = Py_TYPE(it)->tp_iternext(it);
        if (!value) {
            if (PyErr_Occurred())
                return -1;
            Py_DECREF(fl_pop(f));
            f->ip += arg + FL_FOR_SKIP;
            return 0;
        }
        fl_push(f, value);
        return 0;
    }
    case PRECALL:
    case RESUME:
    case NOP:
        return 0;
    default:
        break;
    }
    if (!table[op])
        return fl_stop(run, FL_WHY_OTHER, "an instruction that is not run ahead of");
    return table[op](run, f, arg);
}

PyObject *fl_exec(struct fl_run *run, struct fl_frame *f) {
    const fl_op *table = table_of();
    if (run->depth >= DEPTH_MAX) {
        fl_stop(run, FL_WHY_STEPS, "deep recursion");
        return NULL;
    }
    run->depth++;
    run->barrier += f->barrier;
    struct fl_frame *caller = run->top;
    f->caller = caller;
    run->top = f;
    PyObject *handled = Py_XNewRef(run->handled);
    f->yielded = 0;
    int rc;
    for (;;) {
        rc = ++run->steps > run->limit ? fl_session_more(run) : 0;
        if (rc == 0)
            rc = step(run, f, table);
        if (rc == 0 || (rc < 0 && fl_handle(run, f) == 0))
            continue;
        break;
    }
    Py_XSETREF(run->handled, handled);
    run->barrier -= f->barrier;
    run->top = caller;
    run->depth--;
    return rc < 0 ? NULL : fl_pop(f);
}
