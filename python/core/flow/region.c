/* A branch whose condition is not known: the pass goes on where its ways come together. What any of them may write is
 * Unknown from then on: local variables, and the objects they visibly change. (Changes made behind the scenes, by a
 * function that is called there, are missed: then a guess may be wrong.) */
#include "flow.h"
#include "opcodes.h"

struct region {
    struct fl_run *run;
    struct fl_frame *f;
    PyObject **roots; /* what lies on the stack there, as far as it is known now: borrowed */
    uint8_t *seen;
    int *todo;
    int ntodo, join;
    PyObject *keep; /* list: the roots met, which must outlive what is written */
};

static void visit(struct region *r, int unit) {
    if (unit >= 0 && unit < r->f->code->units && unit != r->join && !r->seen[unit]) {
        r->seen[unit] = 1;
        r->todo[r->ntodo++] = unit;
    }
}

static const char *const changing[] = {"append",
                                       "extend",
                                       "insert",
                                       "remove",
                                       "pop",
                                       "clear",
                                       "sort",
                                       "reverse",
                                       "add",
                                       "discard",
                                       "update",
                                       "setdefault",
                                       "popitem",
                                       "appendleft",
                                       "popleft",
                                       "extendleft",
                                       "rotate",
                                       "difference_update",
                                       "intersection_update",
                                       "symmetric_difference_update",
                                       "fill",
                                       "write",
                                       "put",
                                       "resize",
                                       NULL};

static int method_changes(struct region *r, PyObject *root, PyObject *name) {
    if (!fl_kind(r->run->st, Py_TYPE(root)) && !PyModule_Check(root) && !PyType_Check(root))
        return 1;
    for (int i = 0; changing[i]; i++)
        if (PyUnicode_CompareWithASCIIString(name, changing[i]) == 0)
            return 1;
    return 0;
}

static PyObject *global_root(struct region *r, PyObject *name) {
    PyObject *globals = fl_see(r->run, r->f->globals);
    PyObject *o = PyDict_Check(globals) ? PyDict_GetItemWithError(globals, name) : NULL;
    PyErr_Clear();
    return o;
}

static PyObject *cell_root(struct region *r, int arg) {
    PyObject *cell = r->f->slots[arg] ? fl_see(r->run, r->f->slots[arg]) : NULL;
    return cell && PyCell_Check(cell) ? PyCell_GET(cell) : NULL;
}

static int poison_root(struct region *r, int at) {
    PyObject *root = at >= 0 ? r->roots[at] : NULL;
    return root ? fl_poison(r->run, root) : 0;
}

static int write_local(struct region *r, int arg, int cell) {
    PyObject *u = fl_unknown(r->run->st);
    if (!u)
        return -1;
    if (!cell) {
        Py_XSETREF(r->f->slots[arg], u);
        return 0;
    }
    PyObject *box = r->f->slots[arg] ? fl_own(r->run, r->f->slots[arg]) : NULL;
    int rc = box && PyCell_Check(box) ? PyCell_Set(box, u) : PyErr_Occurred() ? -1 : 0;
    Py_DECREF(u);
    return rc;
}

static int write_global(struct region *r, PyObject *name) {
    PyObject *globals = fl_own(r->run, r->f->globals), *u = globals ? fl_unknown(r->run->st) : NULL;
    int rc = u && PyDict_CheckExact(globals) ? PyDict_SetItem(globals, name, u) : -1;
    Py_XDECREF(u);
    return rc;
}

/* What one instruction writes; d: depth before it. */
static int writes(struct region *r, int op, int arg, int d) {
    PyObject *names = r->f->code->code->co_names;
    switch (op) {
    case STORE_FAST:
    case DELETE_FAST:
        return write_local(r, arg, 0);
    case LOAD_FAST_AND_CLEAR:
        return write_local(r, arg, 0);
    case STORE_FAST_LOAD_FAST:
        return write_local(r, arg >> 4, 0);
    case STORE_FAST_STORE_FAST:
        return write_local(r, arg >> 4, 0) < 0 ? -1 : write_local(r, arg & 15, 0);
    case STORE_DEREF:
    case DELETE_DEREF:
        return write_local(r, arg, 1);
    case STORE_SLICE:
        return poison_root(r, d - 3);
    case STORE_GLOBAL:
    case DELETE_GLOBAL:
        return write_global(r, PyTuple_GET_ITEM(names, arg));
    case STORE_SUBSCR:
    case DELETE_SUBSCR:
        return poison_root(r, d - 2);
    case STORE_ATTR:
    case DELETE_ATTR:
        return poison_root(r, d - 1);
    case LIST_APPEND:
    case SET_ADD:
    case LIST_EXTEND:
    case SET_UPDATE:
    case DICT_UPDATE:
    case DICT_MERGE:
        return poison_root(r, d - 1 - arg);
    case MAP_ADD:
        return poison_root(r, d - 2 - arg);
    case BINARY_OP:
        return arg >= 13 ? poison_root(r, d - 2) : 0;
    case LOAD_METHOD: {
        PyObject *root = d > 0 ? r->roots[d - 1] : NULL;
        if (root && method_changes(r, root, PyTuple_GET_ITEM(names, arg)))
            return fl_poison(r->run, root);
        return 0;
    }
    case FOR_ITER:
        return poison_root(r, d - 1);
    case YIELD_VALUE:
    case SEND:
    case RETURN_GENERATOR:
        return fl_stop(r->run, FL_WHY_BRANCH, "yields under a condition that is not known");
    default:
        return 0;
    }
}

/* Whatever way is gone, the function returns, and nobody knows what. */
static int go_to_end(struct region *r) {
    struct fl_frame *f = r->f;
    PyObject *u = fl_unknown(r->run->st);
    if (!u)
        return -1;
    while (f->sp > 0)
        Py_XDECREF(fl_pop(f));
    fl_push(f, u);
    f->ip = f->code->units; /* a RETURN_VALUE is there */
    return 0;
}

/* Keeps track of which object an expression began with. */
static void follow(struct region *r, int unit, int op, int arg, int d) {
    PyObject **roots = r->roots;
    switch (op) {
    case LOAD_FAST:
        roots[d] = r->f->slots[arg];
        return;
    case LOAD_FAST_LOAD_FAST:
        roots[d] = r->f->slots[arg >> 4];
        roots[d + 1] = r->f->slots[arg & 15];
        return;
    case STORE_FAST_LOAD_FAST:
        roots[d - 1] = r->f->slots[arg & 15];
        return;
    case LOAD_DEREF:
        roots[d] = cell_root(r, arg);
        return;
    case LOAD_GLOBAL:
        if (arg & 1)
            roots[FL_CALLABLE_FIRST ? d + 1 : d++] = NULL;
        roots[d] = global_root(r, PyTuple_GET_ITEM(r->f->code->code->co_names, arg >> 1));
        return;
    case LOAD_METHOD:
        roots[d] = d > 0 ? roots[d - 1] : NULL;
        return;
    case COPY:
        roots[d] = d - arg >= 0 ? roots[d - arg] : NULL;
        return;
    case SWAP: {
        PyObject *o = roots[d - 1];
        roots[d - 1] = roots[d - arg];
        roots[d - arg] = o;
        return;
    }
    case LOAD_ATTR:
    case BINARY_SUBSCR:
    case STORE_FAST:
    case POP_TOP:
    case LIST_APPEND:
    case PRECALL:
        return;
    default: {
        int e = fl_bytecode_effect(r->f->code, unit, 0);
        int top = d + e;
        if (top > 0 && top <= r->f->code->code->co_stacksize)
            roots[top - 1] =
                op == FOR_ITER || e > 0 || op == CALL || op == BINARY_OP || op == COMPARE_OP
                    ? NULL
                    : roots[top - 1];
    }
    }
}

/* What was put on the stack. */
static int keep_root(struct region *r, int op, int d) {
    if (op != LOAD_FAST && op != LOAD_FAST_LOAD_FAST && op != STORE_FAST_LOAD_FAST &&
        op != LOAD_DEREF && op != LOAD_GLOBAL)
        return 0;
    for (int i = d > 0 ? d - 1 : 0; i < d + 2 && i <= r->f->code->code->co_stacksize; i++)
        if (r->roots[i] && PyList_Append(r->keep, r->roots[i]) < 0)
            return -1;
    return 0;
}

static int walk(struct region *r) {
    struct fl_code *c = r->f->code;
    visit(r, c->succ[0][r->f->at]);
    visit(r, c->succ[1][r->f->at]);
    while (r->ntodo > 0) {
        int unit = r->todo[--r->ntodo];
        visit(r, c->succ[0][unit]);
        visit(r, c->succ[1][unit]);
    }
    int ext = 0;
    for (int unit = 0; unit < c->units; unit++) {
        if (!r->seen[unit] || c->depth[unit] < 0)
            continue;
        int op = c->unit[2 * unit], arg = ext << 8 | c->unit[2 * unit + 1];
        ext = op == EXTENDED_ARG ? arg : 0;
        if (op == EXTENDED_ARG) {
            r->seen[unit + 1] = 1;
            continue;
        }
        if (writes(r, op, arg, c->depth[unit]) < 0)
            return -1;
        follow(r, unit, op, arg, c->depth[unit]);
        if (keep_root(r, op, c->depth[unit]) < 0)
            return -1;
    }
    return 0;
}

/* --- guessing ------------------------------------------------------------------------------------------------ */

/* How many units can be reached from `unit` before `stop`; *back: the branch `at` among them. -1: no memory. */
static int reach(const struct fl_code *c, int unit, int stop, int at, int *back) {
    uint8_t *seen = PyMem_Calloc((size_t)c->units + 1, 1);
    int *todo = PyMem_New(int, c->units + 1), n = 0, count = 0;
    *back = 0;
    for (int next = unit; seen && todo; next = todo[--n]) {
        for (int k = -1; k < 2; k++) {
            int to = k < 0 ? unit : c->succ[k][next];
            if (k < 0 && count)
                continue;
            if (to == at)
                *back = 1;
            if (to < 0 || to >= c->units || to == stop || to == at || seen[to])
                continue;
            seen[to] = 1;
            count++;
            todo[n++] = to;
        }
        if (n == 0)
            break;
    }
    int rc = seen && todo ? count : -1;
    PyMem_Free(seen);
    PyMem_Free(todo);
    return rc;
}

enum { SHORT = 16, LONGER = 4 };

/* Of a branch one way of which leaves the loop or the function: where the other goes on. -1: no such branch. It stays in
 * the loop until that is known to end, and does not take a short way out of the function. */
static int staying_way(const struct fl_code *c, const struct fl_frame *f, int join) {
    int a = c->succ[0][f->at], b = c->succ[1][f->at], back[2];
    if (a < 0 || b < 0 || a >= c->units || b >= c->units || c->depth[a] != f->sp - 1 ||
        c->depth[b] != f->sp - 1)
        return -1;
    int size_a = reach(c, a, join, f->at, &back[0]), size_b = reach(c, b, join, f->at, &back[1]);
    if (size_a < 0 || size_b < 0)
        return -1;
    if (back[0] != back[1])
        return back[0] ? a : b;
    if (back[0] || join != c->units)
        return -1;
    if (size_a < SHORT && size_a * LONGER < size_b)
        return b;
    return size_b < SHORT && size_b * LONGER < size_a ? a : -1;
}

/* 1: the pass goes on as if it knew the way; 0. */
static int guess(struct fl_run *run, struct fl_frame *f, int join) {
    int way = staying_way(f->code, f, join);
    if (way < 0)
        return 0;
    fl_session_blocked(run->session, 1);
    if (run->guesses <= 0)
        return 0;
    run->guesses--;
    run->guessed = 1;
    Py_XDECREF(fl_pop(f));
    f->ip = way;
    return 1;
}

int fl_skip_region(struct fl_run *run, struct fl_frame *f, int drop) {
    struct fl_code *c = f->code;
    (void)drop;
    fl_session_blocked(run->session, 0);
    int join = fl_code_join(c, f->at);
    if (join == -2)
        return -1;
    if (guess(run, f, join))
        return 0;
    if (join < 0 || (join < c->units && c->depth[join] < 0))
        return fl_stop(run, FL_WHY_BRANCH, "what comes next depends on a result");
    struct region r = {.run = run, .f = f, .join = join};
    int size = c->code->co_stacksize + 2;
    r.roots = PyMem_Calloc((size_t)size, sizeof *r.roots);
    r.seen = PyMem_Calloc((size_t)c->units + 1, 1);
    r.todo = PyMem_New(int, c->units + 1);
    int rc = r.roots && r.seen && r.todo ? 0 : -1;
    if (rc < 0)
        PyErr_NoMemory();
    for (int i = 0; rc == 0 && i < f->sp && i < size; i++)
        r.roots[i] = f->slots[c->nlocalsplus + i];
    /* The objects found must outlive what is written. */
    PyObject *keep = rc == 0 ? PyList_New(0) : NULL;
    for (int i = 0; keep && i < c->nlocalsplus + f->sp; i++)
        if (f->slots[i] && PyList_Append(keep, f->slots[i]) < 0)
            Py_CLEAR(keep);
    r.keep = keep;
    rc = keep ? walk(&r) : -1;
    if (rc == 0 && join == c->units)
        rc = go_to_end(&r);
    PyMem_Free(r.roots);
    PyMem_Free(r.seen);
    PyMem_Free(r.todo);
    if (rc == 0 && join < c->units) {
        while (f->sp > c->depth[join])
            Py_XDECREF(fl_pop(f));
        /* What lies above what was there before is one of several values. */
        int from = f->sp < c->depth[f->at] - 1 ? f->sp : c->depth[f->at] - 1;
        for (int i = from < 0 ? 0 : from; i < f->sp; i++)
            Py_XSETREF(f->slots[c->nlocalsplus + i], fl_unknown(run->st));
        while (f->sp < c->depth[join])
            fl_push(f, fl_unknown(run->st));
        f->ip = join;
    }
    Py_XDECREF(keep);
    return rc;
}
