/* What is known about a code object: the stack's depth before each instruction, where each instruction goes on,
 * the handlers of its exception table, and where branches come together again (postdominators). */
#include "flow.h"
#include "opcodes.h"

#include <string.h>

static int is_jump(int op) {
    switch (op) {
    case FOR_ITER:
    case SEND:
    case JUMP_FORWARD:
    case JUMP_BACKWARD:
    case JUMP_BACKWARD_NO_INTERRUPT:
    case JUMP_IF_FALSE_OR_POP:
    case JUMP_IF_TRUE_OR_POP:
    case POP_JUMP_FORWARD_IF_FALSE:
    case POP_JUMP_FORWARD_IF_TRUE:
    case POP_JUMP_FORWARD_IF_NONE:
    case POP_JUMP_FORWARD_IF_NOT_NONE:
        return 1;
    case POP_JUMP_BACKWARD_IF_FALSE:
    case POP_JUMP_BACKWARD_IF_TRUE:
    case POP_JUMP_BACKWARD_IF_NONE:
    case POP_JUMP_BACKWARD_IF_NOT_NONE:
        return -1;
    default:
        return 0;
    }
}

static int goes_back(int op) {
    return op == JUMP_BACKWARD || op == JUMP_BACKWARD_NO_INTERRUPT || is_jump(op) < 0;
}

static int returns(int op) {
    return op == RETURN_VALUE || op == RETURN_CONST;
}

static int never_falls(int op) {
    return op == JUMP_FORWARD || op == JUMP_BACKWARD || op == JUMP_BACKWARD_NO_INTERRUPT ||
           returns(op) || op == RAISE_VARARGS || op == RERAISE;
}

struct work {
    struct fl_code *c;
    int *todo;
    int ntodo;
};

static void reach(struct work *w, int unit, int depth) {
    if (unit < 0 || unit >= w->c->units || w->c->depth[unit] >= 0 || depth < 0)
        return;
    w->c->depth[unit] = (int16_t)depth;
    w->todo[w->ntodo++] = unit;
}

/* One instruction, with its EXTENDED_ARGs, from `unit`: returns the unit of its opcode and *arg. */
static int decode(const struct fl_code *c, int unit, int *op, int *arg) {
    int a = 0;
    for (;;) {
        *op = c->unit[2 * unit];
        a = a << 8 | c->unit[2 * unit + 1];
        if (*op != EXTENDED_ARG || unit + 1 >= c->units)
            break;
        unit++;
    }
    *arg = a;
    return unit;
}

static int flow_one(struct work *w, int unit) {
    struct fl_code *c = w->c;
    int op, arg, depth = c->depth[unit];
    int at = decode(c, unit, &op, &arg);
    for (int u = unit + 1; u <= at; u++)
        c->depth[u] = (int16_t)depth;
    int after = at + 1 + fl_caches[op];
    int target = is_jump(op) ? (goes_back(op) ? after - arg : after + arg) : -1;
    int fall = never_falls(op) ? -1 : after;
    c->succ[0][unit] = fall;
    c->succ[1][unit] = target;
    for (int u = unit + 1; u < after && u < c->units;
         u++) { /* every unit of it leads on the same way */
        c->succ[0][u] = fall;
        c->succ[1][u] = target;
    }
    if (fall >= 0) {
        int e = fl_bytecode_effect(c, at, 0);
        if (e == PY_INVALID_STACK_EFFECT)
            return -1;
        reach(w, fall, depth + e);
    }
    if (target >= 0) {
        int e = fl_bytecode_effect(c, at, 1);
        if (e == PY_INVALID_STACK_EFFECT)
            return -1;
        reach(w, target, depth + e);
    }
    return 0;
}

static int read_varint(const uint8_t **p) {
    int value = **p & 63;
    while (*(*p)++ & 64)
        value = value << 6 | (**p & 63);
    return value;
}

int fl_code_handler(struct fl_code *c, int unit, int *target, int *depth, int *lasti) {
    PyObject *table = c->code->co_exceptiontable;
    const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(table),
                  *end = p + PyBytes_GET_SIZE(table);
    while (p < end) {
        int start = read_varint(&p), size = read_varint(&p), to = read_varint(&p),
            dl = read_varint(&p);
        if (unit >= start && unit < start + size) {
            *target = to;
            *depth = dl >> 1;
            *lasti = dl & 1;
            return 1;
        }
    }
    return 0;
}

static int flow_depths(struct fl_code *c) {
    struct work w = {.c = c, .todo = PyMem_New(int, c->units + 1)};
    if (!w.todo) {
        PyErr_NoMemory();
        return -1;
    }
    int rc = 0;
    reach(&w, 0, 0);
    for (;;) {
        while (rc == 0 && w.ntodo > 0)
            rc = flow_one(&w, w.todo[--w.ntodo]);
        int more = 0;
        PyObject *table = c->code->co_exceptiontable;
        const uint8_t *p = (const uint8_t *)PyBytes_AS_STRING(table),
                      *end = p + PyBytes_GET_SIZE(table);
        while (rc == 0 && p < end) {
            int start = read_varint(&p), size = read_varint(&p), to = read_varint(&p),
                dl = read_varint(&p);
            (void)size;
            if (start < c->units && c->depth[to] < 0) {
                reach(&w, to, (dl >> 1) + (dl & 1) + 1);
                more = 1;
            }
        }
        if (rc < 0 || !more)
            break;
    }
    PyMem_Free(w.todo);
    return rc; /* -1 without an exception: an instruction we do not know */
}

static void code_free(struct fl_code *c) {
    Py_XDECREF(c->code);
    Py_XDECREF(c->bytes);
    PyMem_Free(c->unit);
    PyMem_Free(c->instr);
    PyMem_Free(c->depth);
    PyMem_Free(c->succ[0]);
    PyMem_Free(c->succ[1]);
    PyMem_Free(c->join);
    PyMem_Free(c->spare);
    PyMem_Free(c);
}

static int is_local(PyCodeObject *code) {
    PyObject *mark = PyUnicode_FromString("<locals>");
    int rc = mark ? PyUnicode_Contains(code->co_qualname, mark) : -1;
    Py_XDECREF(mark);
    return rc;
}

static struct fl_code *code_new(struct flow_state *st, PyCodeObject *code) {
    struct fl_code *c = PyMem_Calloc(1, sizeof *c);
    if (!c) {
        PyErr_NoMemory();
        return NULL;
    }
    c->code = (PyCodeObject *)Py_NewRef(code);
    c->bytes = PyCode_GetCode(code);
    if (c->bytes) {
        c->units = (int)(PyBytes_GET_SIZE(c->bytes) / 2);
        c->nlocalsplus = code->co_nlocalsplus;
        c->depth = PyMem_New(int16_t, c->units + 1);
        c->succ[0] = PyMem_New(int32_t, c->units + 1);
        c->succ[1] = PyMem_New(int32_t, c->units + 1);
    }
    if (!c->bytes || fl_bytecode_read(c) < 0 || !c->depth || !c->succ[0] || !c->succ[1]) {
        if (!PyErr_Occurred())
            PyErr_NoMemory();
        code_free(c);
        return NULL;
    }
    for (int i = 0; i <= c->units; i++) {
        c->depth[i] = -1;
        c->succ[0][i] = c->succ[1][i] = -1;
    }
    c->known = -1;
    c->local = is_local(code);
    if (c->local < 0 || flow_depths(c) < 0) {
        if (!PyErr_Occurred())
            PyErr_SetNone(st->stop);
        code_free(c);
        return NULL;
    }
    return c;
}

struct fl_code *fl_code_get(struct flow_state *st, PyCodeObject *code) {
    if (st->last_code && st->last_code->code == code)
        return st->last_code;
    PyObject *found = fl_map_get(&st->code_ptrs, (PyObject *)code);
    if (found)
        return st->last_code = PyCapsule_GetPointer(found, "ergon.code");
    struct fl_code *c = code_new(st, code);
    if (!c)
        return NULL;
    PyObject *capsule = PyCapsule_New(c, "ergon.code", NULL);
    if (!capsule || fl_map_set(&st->code_ptrs, (PyObject *)code, capsule) < 0) {
        Py_XDECREF(capsule);
        code_free(c);
        return NULL;
    }
    Py_DECREF(capsule);
    c->next = st->codes;
    st->codes = c;
    return c;
}

void fl_code_free_all(struct flow_state *st) {
    struct fl_code *c = st->codes;
    st->codes = st->last_code = NULL;
    fl_map_clear(&st->code_ptrs);
    while (c) {
        struct fl_code *next = c->next;
        code_free(c);
        c = next;
    }
}

/* --- where branches join --------------------------------------------------------------------------------
 * Immediate postdominators (Cooper, Harvey and Kennedy) on the graph turned round: the virtual exit, number
 * `units`, follows every return; an instruction that only raises leads nowhere and counts for nothing. */

static void number(const struct fl_code *c, int32_t *order, int *count) {
    /* order[u]: when u is finished in a search backwards from the exit: worked out forwards, by repetition, is dearer; a
     * plain search along reversed edges needs the predecessors. */
    int n = c->units;
    int *first = PyMem_Calloc((size_t)n + 2, sizeof *first), *next = PyMem_New(int, 2 * n + 2);
    int *from = PyMem_New(int, 2 * n + 2), *stack = PyMem_New(int, n + 2),
        *edge = PyMem_New(int, n + 2);
    *count = -1;
    if (first && next && from && stack && edge) {
        int edges = 1; /* 0: end of a list */
        for (int u = 0; u < n; u++) {
            order[u] = -1;
            if (c->depth[u] < 0)
                continue;
            int op, arg;
            decode(c, u, &op, &arg);
            for (int k = 0; k < 3; k++) {
                int to = k < 2 ? c->succ[k][u] : returns(op) ? n : -1;
                if (to < 0)
                    continue;
                from[edges] = u;
                next[edges] = first[to];
                first[to] = edges++;
            }
        }
        order[n] = -1;
        int sp = 0, finished = 0;
        stack[sp] = n;
        edge[sp++] = first[n];
        order[n] = -2;
        while (sp > 0) {
            int e = edge[sp - 1];
            if (e == 0) {
                order[stack[--sp]] = finished++;
                continue;
            }
            edge[sp - 1] = next[e];
            if (order[from[e]] == -1) {
                order[from[e]] = -2;
                stack[sp] = from[e];
                edge[sp++] = first[from[e]];
            }
        }
        *count = finished;
    }
    PyMem_Free(first);
    PyMem_Free(next);
    PyMem_Free(from);
    PyMem_Free(stack);
    PyMem_Free(edge);
}

static int intersect(const int32_t *join, const int32_t *order, int a, int b) {
    while (a != b) {
        while (order[a] < order[b])
            a = join[a];
        while (order[b] < order[a])
            b = join[b];
    }
    return a;
}

static void settle_joins(const struct fl_code *c, const int32_t *order, const int *by_order,
                         int count, int32_t *join) {
    int n = c->units;
    for (int changed = 1; changed;) {
        changed = 0;
        for (int i = count - 2; i >= 0; i--) { /* the exit is last */
            int u = by_order[i], op, arg, best = -1;
            decode(c, u, &op, &arg);
            for (int k = 0; k < 3; k++) {
                int to = k < 2 ? c->succ[k][u] : returns(op) ? n : -1;
                if (to < 0 || order[to] < 0 || join[to] < 0)
                    continue;
                best = best < 0 ? to : intersect(join, order, best, to);
            }
            if (best >= 0 && join[u] != best) {
                join[u] = best;
                changed = 1;
            }
        }
    }
}

static int find_joins(struct fl_code *c) {
    int n = c->units, count = -1;
    int32_t *order = PyMem_New(int32_t, n + 1), *join = PyMem_New(int32_t, n + 1);
    int *by_order = PyMem_New(int, n + 1);
    if (order && join && by_order)
        number(c, order, &count);
    if (count < 0) {
        PyMem_Free(order);
        PyMem_Free(join);
        PyMem_Free(by_order);
        PyErr_NoMemory();
        return -1;
    }
    for (int u = 0; u <= n; u++) {
        join[u] = -1;
        if (order[u] >= 0)
            by_order[order[u]] = u;
    }
    join[n] = n;
    settle_joins(c, order, by_order, count, join);
    PyMem_Free(order);
    PyMem_Free(by_order);
    c->join = join;
    return 0;
}

int fl_code_join(struct fl_code *c, int unit) {
    if (!c->join && find_joins(c) < 0)
        return -2;
    return c->join[unit];
}
