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

/* a op b of ints that have one digit each: new reference. NULL: it has to be found out in another way. */
static inline PyObject *small_binary(PyObject *a, PyObject *b, int op) {
    long x, y;
    if (!PyLong_CheckExact(a) || !PyLong_CheckExact(b) || !core_long_small(a, &x) ||
        !core_long_small(b, &y))
        return NULL;
    switch (op) {
    case 0: /* BINARY_OP's numbers: and in place */
    case 13:
        return PyLong_FromLong(x + y);
    case 10:
    case 23:
        return PyLong_FromLong(x - y);
    case 5:
    case 18:
        return PyLong_FromLong(x * y);
    case 6:
    case 19:
        return y > 0 ? PyLong_FromLong(x % y + (x % y < 0 ? y : 0)) : NULL;
    case 2:
    case 15:
        return y > 0 ? PyLong_FromLong(x / y - (x % y < 0)) : NULL;
    default:
        return NULL;
    }
}

/* 1, 0; -1: it has to be found out in another way. */
static inline int small_compare(PyObject *a, PyObject *b, int op) {
    long x, y;
    if (!PyLong_CheckExact(a) || !PyLong_CheckExact(b) || !core_long_small(a, &x) ||
        !core_long_small(b, &y))
        return -1;
    return op == Py_LT   ? x < y
           : op == Py_LE ? x <= y
           : op == Py_EQ ? x == y
           : op == Py_NE ? x != y
           : op == Py_GT ? x > y
                         : x >= y;
}

static inline PyObject *load(struct fl_run *run, PyObject *o) {
    return Py_NewRef(PyLong_CheckExact(o) ? o : fl_see(run, o)); /* of a number there is no other */
}

/* Runs until the frame returns or yields (1: the value is on the stack), or raises what it does not handle (-1). What is
 * most frequent is done here, without a call, on copies of where the frame stands; `other` is everything else. */
static int go(struct fl_run *run, struct fl_frame *f, const fl_op *table) {
    const struct fl_instr *code = f->code->instr, *i;
    PyObject **slots = f->slots, **base = slots + f->code->nlocalsplus, **sp = base + f->sp, *o;
    int ip = f->ip, arg, truth, rc;
    for (;;) {
        i = code + ip;
        arg = i->arg;
        f->at = ip + i->ext;
        ip += i->skip;
        if (++run->steps > run->limit && fl_session_more(run) < 0) {
            f->sp = (int)(sp - base);
            return -1; /* no exception that anybody handles */
        }
        switch (i->op) {
        case LOAD_FAST_LOAD_FAST:
            if (!slots[arg >> 4] || !slots[arg & 15])
                goto other;
            *sp++ = load(run, slots[arg >> 4]);
            *sp++ = load(run, slots[arg & 15]);
            continue;
        case LOAD_FAST:
            if (!slots[arg])
                goto other;
            *sp++ = load(run, slots[arg]);
            continue;
        case LOAD_CONST:
            *sp++ = Py_NewRef(PyTuple_GET_ITEM(f->code->code->co_consts, arg));
            continue;
        case LOAD_SMALL_INT:
            *sp++ = PyLong_FromLong(arg); /* there for ever: this cannot fail */
            continue;
        case STORE_FAST:
            o = slots[arg];
            slots[arg] = *--sp;
            *sp = NULL;
            Py_XDECREF(o);
            continue;
        case POP_TOP:
            o = *--sp;
            *sp = NULL;
            Py_XDECREF(o);
            continue;
        case PUSH_NULL:
            *sp++ = NULL;
            continue;
        case JUMP_BACKWARD:
            ip -= arg;
            continue;
        case JUMP_FORWARD:
            ip += arg;
            continue;
        case POP_JUMP_FORWARD_IF_FALSE:
        case POP_JUMP_FORWARD_IF_TRUE:
        case POP_JUMP_BACKWARD_IF_FALSE:
        case POP_JUMP_BACKWARD_IF_TRUE:
            o = sp[-1];
            if (!PyBool_Check(o))
                goto other;
            *--sp = NULL;
            Py_DECREF(o);
            if ((o == Py_True) ==
                (i->op == POP_JUMP_FORWARD_IF_TRUE || i->op == POP_JUMP_BACKWARD_IF_TRUE))
                ip += i->op == POP_JUMP_FORWARD_IF_TRUE || i->op == POP_JUMP_FORWARD_IF_FALSE
                          ? arg
                          : -arg;
            continue;
        case BINARY_OP:
            if (!(o = small_binary(sp[-2], sp[-1], arg)))
                goto other;
            Py_DECREF(*--sp);
            *sp = NULL;
            Py_SETREF(sp[-1], o);
            continue;
        case COMPARE_OP:
            if ((truth = small_compare(sp[-2], sp[-1], arg & 7)) < 0)
                goto other;
            Py_DECREF(*--sp);
            *sp = NULL;
            Py_SETREF(sp[-1], Py_NewRef(truth ? Py_True : Py_False));
            continue;
        case FOR_ITER: /* over a range that is known to be ours */
            if (sp[-1] != run->range || !(o = Py_TYPE(sp[-1])->tp_iternext(sp[-1])))
                goto other; /* also when it is through: it says so again */
            *sp++ = o;
            continue;
        case TO_BOOL:
            if (!PyBool_Check(sp[-1]))
                goto other;
            continue;
        case PRECALL:
        case RESUME:
        case NOP:
            continue;
        default:
            break;
        }
    other:
        f->ip = ip;
        f->sp = (int)(sp - base);
        rc = table[i->op] ? table[i->op](run, f, arg)
                          : fl_stop(run, FL_WHY_OTHER, "an instruction that is not run ahead of");
        if (rc > 0 || (rc < 0 && fl_handle(run, f) < 0))
            return rc;
        ip = f->ip;
        sp = base + f->sp;
    }
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
    int rc = go(run, f, table);
    Py_XSETREF(run->handled, handled);
    run->barrier -= f->barrier;
    run->top = caller;
    run->depth--;
    return rc < 0 ? NULL : fl_pop(f);
}
