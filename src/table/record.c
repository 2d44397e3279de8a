/* Tasks from the submitter's side. The protocol between submitter, runners and releasers is told in layout.h (life of
 * a record) and release.c (order). */
#include "table/record.h"
#include "os/clock.h"
#include "table/arena.h"
#include "table/away.h"
#include "table/inside.h"
#include "table/payload.h"
#include <string.h>

#define GEN_HALF(word) ((word) & ~(uint64_t)UINT32_MAX)

/* --- entering ---------------------------------------------------------------------------------------- */

int erg_record_new(struct erg_member *m, uint32_t *index) {
    erg_lock(&m->lock);
    int code = erg_store_take(m, index);
    erg_unlock(&m->lock);
    if (code < 0)
        return code;
    if (!atomic_load_explicit(&m->slot->entered, memory_order_relaxed))
        atomic_store_explicit(&m->slot->entered, 1, memory_order_relaxed);
    return 0;
}

static unsigned char *reserve(struct erg_member *m, struct erg_record *r, struct erg_payload *p,
                              uint32_t start, size_t len) {
    if (p->offset) {
        uint64_t old = p->offset;
        p->offset = 0;
        erg_arena_free(m, old);
    }
    p->start = 0;
    p->len = 0;
    if (len <= ERG_INLINE_BYTES && start <= ERG_INLINE_BYTES - len) {
        p->start = start;
        p->len = len;
        return r->inline_bytes + start;
    }
    uint64_t offset;
    if (erg_arena_alloc(m, len, &offset, NULL) < 0)
        return NULL;
    p->offset = offset;
    p->len = len;
    return erg_table_at(m->table, offset);
}

unsigned char *erg_record_args_reserve(struct erg_member *m, uint32_t index, size_t len) {
    struct erg_record *r = &m->table->records[index];
    return reserve(m, r, &r->args, 0, len);
}

unsigned char *erg_record_result_reserve(struct erg_member *m, uint32_t index, size_t len) {
    struct erg_record *r = &m->table->records[index];
    uint32_t behind = r->args.offset ? 0 : (uint32_t)(r->args.start + r->args.len + 7) & ~7u;
    return reserve(m, r, &r->result, behind, len);
}

/* --- order ---------------------------------------------------------------------------------------------- */

/* Marks pred so that its runner looks at the list when it finishes. 0: it is done or gone. */
static int mark_has_successors(struct erg_record *pred, uint32_t gen) {
    uint64_t s = atomic_load_explicit(&pred->state, memory_order_acquire);
    for (;;) {
        if (ERG_STATE_GEN(s) != gen || ERG_STATE_PHASE(s) == ERG_DONE)
            return 0;
        if (s & ERG_STATE_SUCC)
            return 1;
        if (atomic_compare_exchange_weak_explicit(&pred->state, &s, s | ERG_STATE_SUCC,
                                                  memory_order_acquire, memory_order_acquire))
            return 1;
    }
}

/* Puts the edge into pred's list. 0: the list is closed, pred is done. */
static int link_edge(struct erg_record *r, uint32_t slot, uint32_t edge, struct erg_record *pred,
                     uint32_t gen) {
    uint64_t seen = atomic_load_explicit(&pred->succ, memory_order_acquire);
    do {
        if ((uint32_t)(seen >> 32) != gen || (seen & ERG_EDGE_CLOSED))
            return 0;
        atomic_store_explicit(&r->edges[slot], (uint32_t)seen, memory_order_relaxed);
        /* release: the edge's next pointer and the waiting record's bit, for who takes the list */
    } while (!atomic_compare_exchange_weak_explicit(&pred->succ, &seen, GEN_HALF(seen) | edge,
                                                    memory_order_acq_rel, memory_order_acquire));
    return 1;
}

int erg_record_after(struct erg_member *m, uint32_t index, erg_handle handle) {
    struct erg_record *r = &m->table->records[index];
    struct erg_record *pred = &m->table->records[ERG_HANDLE_INDEX(handle)];
    uint32_t gen = ERG_HANDLE_GEN(handle);
    uint64_t deps = atomic_load_explicit(&r->deps, memory_order_relaxed);
    uint32_t used = ((uint32_t)deps >> ERG_DEPS_USED_SHIFT) & ERG_DEPS_EDGES;
    if (!mark_has_successors(pred, gen))
        return 1;
    if (used == ERG_DEPS_EDGES)
        return ERG_EFULL;
    uint32_t slot = (uint32_t)__builtin_ctz(~used);
    uint64_t bits = ((uint64_t)1 << slot) | ((uint64_t)1 << (slot + ERG_DEPS_USED_SHIFT));
    /* Before the edge is in the list: its bit may be cleared at once. A slot is used once in a life of the
     * record, so that clearing its bit a second time (recovery) can never hit another edge. */
    atomic_fetch_or_explicit(&r->deps, bits, memory_order_relaxed);
    ERG_POINT("after-bit"); /* marked, and in no list yet */
    if (link_edge(r, slot, index * 8 + slot, pred, gen))
        return 0;
    atomic_fetch_and_explicit(&r->deps, ~bits, memory_order_relaxed);
    return 1;
}

/* JOINs being filled: level 0 takes predecessors, level k + 1 takes full JOINs of level k. */
enum { JOIN_LEVELS = 28 };
struct join_tree {
    struct erg_member *m;
    uint32_t open[JOIN_LEVELS]; /* ERG_NIL: none */
};

static void join_submit(struct erg_member *m, uint32_t join) {
    atomic_fetch_or_explicit(&m->table->records[join].state, ERG_STATE_ORPHAN,
                             memory_order_relaxed);
    erg_record_submit(m, join);
}

static int tree_add(struct join_tree *tree, int level, erg_handle pred) {
    struct erg_member *m = tree->m;
    for (; level < JOIN_LEVELS; level++) {
        int code;
        if (tree->open[level] == ERG_NIL) {
            code = erg_record_new(m, &tree->open[level]);
            if (code < 0)
                return code;
            m->table->records[tree->open[level]].kind = ERG_KIND_JOIN;
        }
        code = erg_record_after(m, tree->open[level], pred);
        if (code != ERG_EFULL)
            return code < 0 ? code : 0;
        /* full: it goes one level up, and a fresh one takes its place; then pred is added again */
        uint32_t full = tree->open[level];
        erg_handle handle = erg_record_handle(m->table, full);
        tree->open[level] = ERG_NIL;
        join_submit(m, full);
        code = tree_add(tree, level, pred);
        if (code < 0)
            return code;
        pred = handle;
    }
    return ERG_EFULL;
}

/* Hangs what the tree gathered on the record, lowest level first. */
static int tree_close(struct join_tree *tree, uint32_t index, int code) {
    for (int level = 0; level < JOIN_LEVELS; level++) {
        uint32_t join = tree->open[level];
        if (join == ERG_NIL)
            continue;
        tree->open[level] = ERG_NIL;
        erg_handle handle = erg_record_handle(tree->m->table, join);
        join_submit(tree->m, join);
        int more = 0;
        for (int above = level + 1; above < JOIN_LEVELS; above++)
            more |= tree->open[above] != ERG_NIL;
        int result =
            more ? tree_add(tree, level + 1, handle) : erg_record_after(tree->m, index, handle);
        if (result < 0 && code == 0)
            code = result;
    }
    return code < 0 ? code : 0;
}

int erg_record_after_many(struct erg_member *m, uint32_t index, const erg_handle *preds, size_t n) {
    int code = 0;
    if (n <= ERG_DEPS_INLINE) {
        for (size_t i = 0; i < n && code >= 0; i++)
            code = erg_record_after(m, index, preds[i]);
        return code < 0 ? code : 0;
    }
    struct join_tree tree = {.m = m};
    for (int level = 0; level < JOIN_LEVELS; level++)
        tree.open[level] = ERG_NIL;
    for (size_t i = 0; i < n && code >= 0; i++)
        if (!erg_record_done(m->table, preds[i]))
            code = tree_add(&tree, 0, preds[i]);
    return tree_close(&tree, index, code);
}

/* --- submitting ----------------------------------------------------------------------------------------------- */

/* 1: it is READY and its hint must be entered; 0: it waits, or went on by itself (a JOIN). */
static int publish(struct erg_member *m, uint32_t index) {
    struct erg_record *r = &m->table->records[index];
    uint64_t deps = atomic_load_explicit(&r->deps, memory_order_relaxed);
    uint32_t gen = (uint32_t)(deps >> 32);
    if ((uint32_t)deps == ERG_DEPS_GUARD && r->kind != ERG_KIND_JOIN) {
        /* no edge was ever made, so nobody else touches deps */
        atomic_store_explicit(&r->deps, GEN_HALF(deps), memory_order_relaxed);
        /* an addition, because others may set flags; release: everything the submitter wrote */
        atomic_fetch_add_explicit(&r->state, ERG_READY - ERG_ENTERED, memory_order_release);
        return 1;
    }
    atomic_fetch_add_explicit(&r->state, ERG_WAITING - ERG_ENTERED, memory_order_release);
    /* acq_rel: publishes the record to whoever clears the last bit; or, if that is us, sees the predecessors' results */
    deps = atomic_fetch_and_explicit(&r->deps, ~(uint64_t)ERG_DEPS_GUARD, memory_order_acq_rel);
    if ((deps & ERG_DEPS_EDGES) == 0) {
        if (deps & ERG_DEPS_FREED)
            erg_store_recycle(m, index, erg_record_state(r));
        else
            erg_release_guard(m, index, gen);
    }
    return 0;
}

void erg_record_submit(struct erg_member *m, uint32_t index) {
    uint32_t queue = m->table->records[index].queue % ERG_QUEUES;
    erg_cpu_note(m);
    if (publish(m, index)) {
        ERG_POINT("submit-ready");
        erg_release_hint(m, queue, erg_record_handle(m->table, index));
        erg_wake(m->table, queue, 1);
    }
}

enum { SUBMIT_GROUP = 64 };

static void enter_group(struct erg_member *m, uint32_t queue, const erg_handle *ready, size_t n) {
    size_t done = erg_ring_push_many(m->table, &m->table->header->ready[queue], ready, n);
    for (; done < n; done++)
        erg_release_hint(m, queue, ready[done]);
    erg_wake(m->table, queue, n);
}

void erg_record_submit_many(struct erg_member *m, const uint32_t *indexes, size_t n) {
    erg_handle ready[SUBMIT_GROUP];
    size_t waiting = 0;
    uint32_t queue = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t own = m->table->records[indexes[i]].queue % ERG_QUEUES;
        if (waiting == SUBMIT_GROUP || (waiting > 0 && own != queue)) {
            enter_group(m, queue, ready, waiting);
            waiting = 0;
        }
        queue = own;
        if (publish(m, indexes[i]))
            ready[waiting++] = erg_record_handle(m->table, indexes[i]);
    }
    if (waiting > 0)
        enter_group(m, queue, ready, waiting);
}

/* --- completion ------------------------------------------------------------------------------------------------ */

/* How long a waiter spins: longer than a sleep and a wake-up take together, else two sides that once missed each
 * other keep missing; briefly where every core has a runner already. */
enum { WAIT_SPIN_NS = 200000, WAIT_SPIN_BUSY_NS = 5000, SPINS_PER_LOOK = 32, LOOKS_ALONE = 2 };

/* Whoever runs the task, or is awake to take it, was last seen on this very core: it has to have it. */
static int in_the_way(struct erg_table *t, erg_handle handle) {
    uint64_t s = erg_record_state(&t->records[ERG_HANDLE_INDEX(handle)]);
    if (ERG_STATE_PHASE(s) == ERG_RUNNING)
        return erg_cpu_shared(t, (uint32_t)ERG_STATE_RUNNER(s));
    return ERG_STATE_PHASE(s) == ERG_READY && erg_cpu_shared_with_taker(t);
}

int erg_record_spin(struct erg_member *m, erg_handle handle, uint64_t now, uint64_t deadline,
                    uint32_t queues, uint32_t known) {
    struct erg_table *t = m->table;
    erg_cpu_note(m);
    uint32_t cores = t->header->cores;
    if (cores <= 1)
        return 0;
    uint64_t end = now + (erg_awake_running(t) > cores ? WAIT_SPIN_BUSY_NS : WAIT_SPIN_NS);
    for (int look = 0; now < end && now < deadline; look++, now = erg_clock_ns()) {
        for (int i = 0; i < SPINS_PER_LOOK; i++) {
            if (erg_record_done(t, handle))
                return 1;
            erg_cpu_relax();
        }
        if (in_the_way(t, handle) || (queues && erg_idles(t, queues, known)))
            return 0;
        if (look >= LOOKS_ALONE)
            erg_cpu_yield(); /* one that comes from elsewhere may have been put here, too */
    }
    return 0;
}

int erg_record_mark(struct erg_member *m, erg_handle handle, uint64_t *seen) {
    struct erg_record *r = &m->table->records[ERG_HANDLE_INDEX(handle)];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    while (ERG_STATE_GEN(s) == ERG_HANDLE_GEN(handle) && ERG_STATE_PHASE(s) != ERG_DONE)
        if ((s & ERG_STATE_WAITER) ||
            atomic_compare_exchange_weak_explicit(&r->state, &s, s | ERG_STATE_WAITER,
                                                  memory_order_acquire, memory_order_acquire)) {
            *seen = s | ERG_STATE_WAITER;
            return 0;
        }
    return 1;
}

int erg_record_sleep(struct erg_member *m, erg_handle handle, uint64_t seen, int64_t left_ns) {
    struct erg_record *r = &m->table->records[ERG_HANDLE_INDEX(handle)];
    erg_cpu_note_asleep(m);
    ERG_POINT("wait-marked");
    int code = erg_futex_wait(erg_record_futex(r), (uint32_t)seen, left_ns);
    erg_cpu_note(m);
    return code;
}

int erg_record_wait_slow(struct erg_member *m, erg_handle handle, int64_t timeout_ns) {
    struct erg_table *t = m->table;
    if (timeout_ns == 0)
        return erg_record_done(t, handle) ? 0 : ERG_ETIMEOUT;
    if (atomic_load_explicit(&t->forked, memory_order_relaxed))
        return ERG_ECLOSED;
    uint64_t now = erg_clock_ns();
    uint64_t deadline = timeout_ns < 0 ? UINT64_MAX : now + (uint64_t)timeout_ns, seen;
    if (erg_record_spin(m, handle, now, deadline, 0, 0))
        return 0;
    while (!erg_record_mark(m, handle, &seen)) {
        int64_t left = -1;
        if (seen & ERG_STATE_OVERDUE)
            return ERG_ETIMEOUT;
        if (timeout_ns >= 0) {
            now = erg_clock_ns();
            if (now >= deadline)
                return ERG_ETIMEOUT;
            left = (int64_t)(deadline - now);
        }
        int code = erg_record_sleep(m, handle, seen, left);
        if (erg_record_done(t, handle))
            return 0;
        if (code < 0)
            return code;
    }
    return 0;
}

int erg_record_notify(struct erg_member *m, erg_handle handle) {
    struct erg_record *r = &m->table->records[ERG_HANDLE_INDEX(handle)];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    for (;;) {
        if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle) || ERG_STATE_PHASE(s) == ERG_DONE ||
            (ERG_STATE_PHASE(s) == ERG_RUNNING && (s & ERG_STATE_OVERDUE)))
            return 1;
        if ((s & ERG_STATE_NOTIFY) ||
            atomic_compare_exchange_weak_explicit(&r->state, &s, s | ERG_STATE_NOTIFY,
                                                  memory_order_release, memory_order_acquire))
            return 0;
    }
}

void erg_record_set_overdue(struct erg_member *m, erg_handle handle, uint32_t runner) {
    uint32_t index = ERG_HANDLE_INDEX(handle);
    struct erg_record *r = &m->table->records[index];
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    do {
        if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle) || ERG_STATE_PHASE(s) != ERG_RUNNING ||
            ERG_STATE_RUNNER(s) != runner || (s & ERG_STATE_OVERDUE))
            return;
    } while (!atomic_compare_exchange_weak_explicit(&r->state, &s, s | ERG_STATE_OVERDUE,
                                                    memory_order_acq_rel, memory_order_acquire));
    erg_release_tell(m, index, s);
}

/* For recovery, should we die between taking the record and ending it: it is then a lost task like any other. */
static void note_claim(struct erg_member *m, erg_handle handle) {
    uint32_t depth = atomic_load_explicit(&m->slot->depth, memory_order_relaxed);
    if (!m->is_owner && depth < ERG_CLAIMS_MAX)
        atomic_store_explicit(&m->slot->claims[depth], handle, memory_order_release);
}

int erg_record_cancel(struct erg_member *m, erg_handle handle) {
    uint32_t index = ERG_HANDLE_INDEX(handle);
    struct erg_record *r = &m->table->records[index];
    for (;;) {
        uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
        enum erg_record_phase phase = ERG_STATE_PHASE(s);
        if (ERG_STATE_GEN(s) != ERG_HANDLE_GEN(handle))
            return 0;
        if (phase == ERG_WAITING || phase == ERG_READY) {
            note_claim(m, handle);
            if (!erg_release_seize(m, index, &s))
                continue;
            erg_release_done(m, index, ERG_OUT_CANCELLED, 0);
            return 1;
        } else if (phase == ERG_RUNNING) {
            if (!atomic_compare_exchange_weak_explicit(&r->state, &s, s | ERG_STATE_CANCEL,
                                                       memory_order_release, memory_order_relaxed))
                continue;
            atomic_store_explicit(&m->table->members[ERG_STATE_RUNNER(s)].cancel, handle,
                                  memory_order_release);
            return 2;
        } else {
            return 0;
        }
    }
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

void erg_record_retire(struct erg_member *m, uint32_t index, uint64_t seen) {
    struct erg_record *r = &m->table->records[index];
    uint64_t deps = atomic_load_explicit(&r->deps, memory_order_acquire);
    /* Still in some predecessor's list (it was cancelled): whoever takes it off there recycles it. */
    while (deps & (ERG_DEPS_EDGES | ERG_DEPS_GUARD))
        if (atomic_compare_exchange_weak_explicit(&r->deps, &deps, deps | ERG_DEPS_FREED,
                                                  memory_order_acq_rel, memory_order_acquire))
            return;
    ERG_POINT("retire");
    erg_store_recycle(m, index, seen);
}

static void free_payload(struct erg_member *m, struct erg_payload *p) {
    uint64_t offset = p->offset;
    if (offset) {
        p->offset = 0;
        erg_arena_free(m, offset);
    }
}

static void free_refs(struct erg_member *m, const struct erg_record *r,
                      const struct erg_payload *p) {
    const void *bytes = p->offset ? erg_table_at(m->table, p->offset) : r->inline_bytes + p->start;
    if (p->len > 0)
        erg_payload_free_refs(m, bytes, p->len);
}

void erg_record_drop(struct erg_member *m, uint32_t index) {
    struct erg_record *r = &m->table->records[index];
    enum erg_outcome outcome = ERG_STATE_OUTCOME(erg_record_state(r));
    if (atomic_load_explicit(&m->table->header->payloads, memory_order_relaxed)) {
        if (r->kind == ERG_KIND_CALL) {
            free_refs(m, r, &r->args);
            if ((outcome == ERG_OUT_OK || outcome == ERG_OUT_ERROR) &&
                !erg_record_away(m->table, r))
                free_refs(m, r, &r->result);
        } else if (r->kind == ERG_KIND_CHUNK) {
            r->args.offset = 0;
        }
    }
    erg_record_free(m, index);
}

void erg_record_free(struct erg_member *m, uint32_t index) {
    struct erg_record *r = &m->table->records[index];
    free_payload(m, &r->args);
    struct erg_away *away = erg_record_away(m->table, r);
    if (away) {
        uint64_t offset = r->result.offset;
        r->result.offset = 0;
        erg_away_drop(m, away, offset);
    } else {
        free_payload(m, &r->result);
    }
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    while (s & ERG_STATE_RELEASING)
        if (atomic_compare_exchange_weak_explicit(&r->state, &s, s | ERG_STATE_FREED,
                                                  memory_order_acq_rel, memory_order_acquire))
            return; /* its runner still walks its list, and recycles it afterwards */
    if (ERG_STATE_PHASE(s) == ERG_ENTERED && (s & ERG_STATE_SUCC)) {
        erg_release_done(m, index, ERG_OUT_CANCELLED, 0);
        s = erg_record_state(r);
    }
    if (ERG_DEPS_GUARD & atomic_load_explicit(&r->deps, memory_order_relaxed))
        atomic_fetch_and_explicit(&r->deps, ~(uint64_t)ERG_DEPS_GUARD, memory_order_acq_rel);
    erg_record_retire(m, index, s);
}

void erg_record_settle(struct erg_member *m, uint32_t index, enum erg_outcome outcome) {
    struct erg_record *r = &m->table->records[index];
    atomic_fetch_and_explicit(&r->deps, ~(uint64_t)ERG_DEPS_GUARD, memory_order_acq_rel);
    erg_release_done(m, index, outcome, 0);
}

/* --- decisions of recovery ------------------------------------------------------------------------------------------ */

void erg_record_retry(struct erg_member *m, uint32_t index) {
    struct erg_record *r = &m->table->records[index];
    erg_record_not_begun(r);
    uint64_t s = atomic_load_explicit(&r->state, memory_order_acquire);
    const uint64_t keeps = ERG_STATE_WAITER | ERG_STATE_NOTIFY | ERG_STATE_SUCC | ERG_STATE_ORPHAN;
    do {
        if (ERG_STATE_PHASE(s) != ERG_RUNNING)
            return;
    } while (!atomic_compare_exchange_weak_explicit(&r->state, &s,
                                                    GEN_HALF(s) | (s & keeps) | ERG_READY,
                                                    memory_order_acq_rel, memory_order_acquire));
    uint32_t queue = r->queue % ERG_QUEUES;
    erg_release_hint(m, queue, ERG_HANDLE(index, ERG_STATE_GEN(s)));
    erg_wake(m->table, queue, 1);
}

void erg_record_fail(struct erg_member *m, uint32_t index, enum erg_outcome outcome) {
    uint64_t s = erg_record_state(&m->table->records[index]);
    if (ERG_STATE_PHASE(s) == ERG_RUNNING)
        erg_release_done(m, index, outcome, 0);
}
