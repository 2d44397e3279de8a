/* The record of every task's life: each worker appends to a list of blocks of its own in the pool's arena, the owner
 * reads them. Off, it costs one load a task. */
#include "pool.h"

enum { EVENTS = 512 };

struct pl_trace_block {
    uint64_t previous; /* offset of the block before */
    _Atomic uint32_t count;
    uint32_t member;
    struct pl_trace_event events[EVENTS];
};

void pl_trace_record(struct pl_worker *worker, const struct pl_trace_event *event) {
    struct pl_trace_block *block = worker->trace;
    if (!block || atomic_load_explicit(&block->count, memory_order_relaxed) == EVENTS) {
        uint64_t offset;
        struct erg_error err;
        if (erg_arena_alloc(worker->member, sizeof *block, &offset, &err) < 0)
            return; /* no room: the trace has a gap, the program goes on */
        block = erg_table_at(worker->core->table, offset);
        struct erg_member_slot *slot = worker->member->slot;
        block->previous = atomic_load_explicit(&slot->trace, memory_order_relaxed);
        block->member = worker->member->number;
        atomic_store_explicit(&block->count, 0, memory_order_relaxed);
        atomic_store_explicit(&slot->trace, offset, memory_order_release);
        worker->trace = block;
    }
    uint32_t n = atomic_load_explicit(&block->count, memory_order_relaxed);
    block->events[n] = *event;
    atomic_store_explicit(&block->count, n + 1, memory_order_release);
}

/* By enum erg_outcome; a run that was lost and does not end its task stands last. */
static const char *const outcomes[] = {"none", "ok",      "error",  "cancelled",
                                       "lost", "timeout", "retried"};
enum { RETRIED = ERG_OUT_TIMEOUT + 1 };
enum { PLACES_FROM = 10000 }; /* hosts among the numbers of workers, behind all of them */

/* What a dead worker could not record itself, and what ran on other hosts. Pushed by the engine's threads, never taken off before the pool is freed,
 * so that reading needs no lock. */
struct pl_trace_lost {
    struct pl_trace_lost *next;
    uint32_t member;
    uint32_t place; /* it ran at the pool's place of this number, counted from 1; 0: here */
    char host[128];
    struct pl_trace_event event;
};

static void push(struct pl_core *core, struct pl_trace_lost *lost) {
    lost->next = atomic_load_explicit(&core->trace_lost, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(&core->trace_lost, &lost->next, lost,
                                                  memory_order_release, memory_order_relaxed)) {
    }
}

static uint64_t name_of(struct pl_core *core, uint64_t fn) {
    return fn ? atomic_load(&((struct erg_fn_head *)erg_table_at(core->table, fn))->name) : 0;
}

void pl_trace_lost(void *ctx, struct erg_pool *pool, uint32_t member, uint32_t index,
                   enum erg_outcome outcome) {
    (void)ctx;
    struct pl_core *core = erg_pool_user(pool);
    if (!core || !atomic_load_explicit(&core->table->header->tracing, memory_order_relaxed))
        return;
    struct pl_trace_lost *lost = calloc(1, sizeof *lost);
    if (!lost)
        return; /* the trace has a gap, the program goes on */
    struct erg_record *record = erg_table_record(core->table, index);
    lost->member = member;
    lost->event = (struct pl_trace_event){
        .task = erg_record_handle(core->table, index),
        /* else it is no function, but where results begin */
        .name = record->user8 == 0 ? name_of(core, record->fn) : 0,
        .queued_ns = record->end_ns,
        .start_ns = record->start_ns,
        .end_ns = erg_clock_ns(),
        .bytes_in = record->args.len,
        .items = 1,
        .outcome = outcome == ERG_OUT_NONE ? RETRIED : outcome,
    };
    push(core, lost);
}

/* When a run began is not known here: clocks of two hosts differ. So it is taken to have ended when its result came. */
void pl_trace_elsewhere(void *ctx, struct erg_pool *pool, const struct erg_elsewhere *run) {
    (void)ctx;
    struct pl_core *core = erg_pool_user(pool);
    struct pl_trace_lost *one = core ? calloc(1, sizeof *one) : NULL;
    if (!one)
        return; /* the trace has a gap, the program goes on */
    uint64_t now = erg_clock_ns();
    one->place = run->place + 1;
    snprintf(one->host, sizeof one->host, "%s", run->name);
    one->event = (struct pl_trace_event){
        .task = erg_record_handle(core->table, run->index),
        .name = name_of(core, run->fn),
        .queued_ns = run->queued_ns,
        .start_ns = now > run->run_ns ? now - run->run_ns : now,
        .end_ns = now,
        .bytes_in = run->bytes_in,
        .bytes_out = run->bytes_out,
        .items = run->items,
        .outcome = run->outcome == ERG_OUT_NONE ? RETRIED : run->outcome,
    };
    push(core, one);
}

void pl_trace_fini(struct pl_core *core) {
    struct pl_trace_lost *lost = atomic_exchange(&core->trace_lost, NULL);
    while (lost) {
        struct pl_trace_lost *next = lost->next;
        free(lost);
        lost = next;
    }
}

/* (kind, pool, worker, worker name, task, function, items, queued, start, end, bytes in, bytes out, outcome) */
static PyObject *event_tuple(struct pl_core *core, uint32_t member, const char *host,
                             const struct pl_trace_event *e) {
    PyObject *name = pl_fn_name(core, e->name);
    if (!name)
        return NULL;
    PyObject *label;
    if (host)
        label = PyUnicode_FromFormat("host %s", host);
    else if (erg_table_slot(core->table, member)->kind == ERG_MEMBER_THREAD)
        label = PyUnicode_FromFormat("thread %u", member);
    else
        label = PyUnicode_FromFormat("process %u", member);
    return Py_BuildValue(
        "(sKIN"
        "KNIKKKKKs)",
        "task", (unsigned long long)core->uid, member, label, (unsigned long long)e->task, name,
        e->items, (unsigned long long)e->queued_ns, (unsigned long long)e->start_ns,
        (unsigned long long)e->end_ns, (unsigned long long)e->bytes_in,
        (unsigned long long)e->bytes_out, outcomes[e->outcome <= RETRIED ? e->outcome : 0]);
}

static int append(struct pl_core *core, PyObject *list, uint32_t member, const char *host,
                  const struct pl_trace_event *e) {
    if (e->end_ns < core->state->trace_since_ns)
        return 0;
    PyObject *event = event_tuple(core, member, host, e);
    int rc = event ? PyList_Append(list, event) : -1;
    Py_XDECREF(event);
    return rc;
}

int pl_trace_collect(struct pl_core *core, PyObject *list) {
    if (pl_core_foreign(core))
        return 0;
    uint32_t top = atomic_load_explicit(&core->table->header->members_top, memory_order_acquire);
    for (uint32_t m = 0; m < top; m++) {
        uint64_t at =
            atomic_load_explicit(&erg_table_slot(core->table, m)->trace, memory_order_acquire);
        while (at) {
            struct pl_trace_block *block = erg_table_at(core->table, at);
            uint32_t n = atomic_load_explicit(&block->count, memory_order_acquire);
            for (uint32_t i = 0; i < n; i++)
                if (append(core, list, m, NULL, &block->events[i]) < 0)
                    return -1;
            at = block->previous;
        }
    }
    struct pl_trace_lost *lost = atomic_load_explicit(&core->trace_lost, memory_order_acquire);
    for (; lost; lost = lost->next)
        if (append(core, list, lost->place ? PLACES_FROM + lost->place : lost->member,
                   lost->place ? lost->host : NULL, &lost->event) < 0)
            return -1;
    return 0;
}

static struct pool_state *state_of(PyObject *module) {
    return core_state_of(module)->pool;
}

static int set_tracing(struct pool_state *state, int on) {
    state->tracing = on;
    if (on && !state->trace && !(state->trace = PyList_New(0)))
        return -1;
    for (struct pl_core *core = state->cores; core; core = core->sibling) {
        if (pl_core_foreign(core))
            continue;
        atomic_store_explicit(&core->table->header->tracing, (uint32_t)on, memory_order_relaxed);
    }
    return 0;
}

PyObject *pl_trace_start(PyObject *module, PyObject *args) {
    (void)args;
    return set_tracing(state_of(module), 1) < 0 ? NULL : Py_NewRef(Py_None);
}

PyObject *pl_trace_stop(PyObject *module, PyObject *args) {
    (void)args;
    return set_tracing(state_of(module), 0) < 0 ? NULL : Py_NewRef(Py_None);
}

PyObject *pl_trace_events(PyObject *module, PyObject *args) {
    (void)args;
    struct pool_state *state = state_of(module);
    PyObject *list =
        state->trace ? PyList_GetSlice(state->trace, 0, PY_SSIZE_T_MAX) : PyList_New(0);
    for (struct pl_core *core = state->cores; list && core; core = core->sibling)
        if (pl_trace_collect(core, list) < 0)
            Py_CLEAR(list);
    return list;
}

/* Forgets what was recorded up to now: events that ended before are left out from here on. */
PyObject *pl_trace_clear(PyObject *module, PyObject *args) {
    (void)args;
    struct pool_state *state = state_of(module);
    state->trace_since_ns = erg_clock_ns();
    if (state->trace && PyList_SetSlice(state->trace, 0, PY_SSIZE_T_MAX, NULL) < 0)
        return NULL;
    Py_RETURN_NONE;
}
