/* Single tasks and graphs.
 *
 * A record is freed when its future is released and nobody that comes after it needs its result any more: uses[] counts
 * the latter, and has RELEASED set by the former; whoever makes the word exactly RELEASED frees. */
#include "engine/native.h"
#include "table/record.h"
#include "table/table.h"

#include <stdlib.h>
#include <string.h>

static struct erg_member *member_of(struct native_pool *np) {
    return erg_pool_member(np->pool);
}

static struct erg_table *table_of(struct native_pool *np) {
    return erg_pool_table(np->pool);
}

static int is_current(struct native_pool *np, erg_future future) {
    uint32_t index = ERG_HANDLE_INDEX(future);
    if (index >= np->records_max)
        return 0;
    uint64_t s = erg_record_state(erg_table_record(table_of(np), index));
    return ERG_STATE_GEN(s) == ERG_HANDLE_GEN(future) && ERG_STATE_PHASE(s) >= ERG_WAITING;
}

/* --- freeing ----------------------------------------------------------------------------------------------------- */
/* Frees the record and lets go of its predecessors, which may be freed by that in turn: a list, not a recursion. It runs
 * through uses[], which nobody else looks at any more for records that are in it. */
static void free_records(struct native_pool *np, uint32_t index) {
    struct erg_table *t = table_of(np);
    atomic_store(&np->uses[index], ERG_NIL);
    while (index != ERG_NIL) {
        struct erg_record *r = erg_table_record(t, index);
        const erg_handle *after = (const void *)erg_record_bytes(t, r, &r->args);
        uint32_t next = atomic_load(&np->uses[index]);
        for (uint32_t i = 0; i < r->user16; i++) {
            uint32_t pred = ERG_HANDLE_INDEX(after[i]);
            if (atomic_fetch_sub(&np->uses[pred], 1) != (NATIVE_RELEASED | 1))
                continue;
            atomic_store(&np->uses[pred], next);
            next = pred;
        }
        erg_record_free(member_of(np), index);
        index = next;
    }
}

static void give_up(struct native_pool *np, uint32_t index) {
    if (atomic_fetch_or(&np->uses[index], NATIVE_RELEASED) == 0)
        free_records(np, index);
}

static void adopt(struct native_pool *np, erg_future future) {
    pthread_mutex_lock(&np->lock);
    if (np->orphans_len == np->orphans_cap) {
        size_t cap = np->orphans_cap ? np->orphans_cap * 2 : 64;
        erg_handle *grown = realloc(np->orphans, cap * sizeof *grown);
        if (!grown) { /* it stays until the pool is closed */
            pthread_mutex_unlock(&np->lock);
            return;
        }
        np->orphans = grown;
        np->orphans_cap = cap;
    }
    np->orphans[np->orphans_len++] = future;
    atomic_store(&np->orphans_some, 1);
    pthread_mutex_unlock(&np->lock);
}

/* Frees orphans that are done: a few at a time, going round. */
void erg_native_sweep(struct native_pool *np, int all) {
    pthread_mutex_lock(&np->lock);
    for (size_t looked = 0; np->orphans_len > 0 && (all ? looked <= np->orphans_len : looked < 4);
         looked++) {
        if (np->orphans_at >= np->orphans_len)
            np->orphans_at = 0;
        erg_handle future = np->orphans[np->orphans_at];
        if (!erg_record_done(table_of(np), future)) {
            np->orphans_at++;
            continue;
        }
        np->orphans[np->orphans_at] = np->orphans[--np->orphans_len];
        give_up(np, ERG_HANDLE_INDEX(future));
    }
    if (np->orphans_len == 0)
        atomic_store(&np->orphans_some, 0);
    pthread_mutex_unlock(&np->lock);
}

void erg_release(struct erg_pool *pool, erg_future future) {
    struct native_pool *np = erg_native_of(pool);
    if (erg_engine_foreign(np->engine) || !is_current(np, future))
        return;
    if (erg_record_done(table_of(np), future))
        give_up(np, ERG_HANDLE_INDEX(future));
    else
        adopt(np, future);
}

/* --- submitting --------------------------------------------------------------------------------------------------- */
static int check_after(struct native_pool *np, const struct erg_task_options *o,
                       struct erg_error *err) {
    if (o->after_len > UINT16_MAX)
        return erg_error_set(err, ERG_EINVALID, "a task can come after at most %d others, not %zu",
                             UINT16_MAX, o->after_len);
    for (size_t i = 0; i < o->after_len; i++)
        if (!is_current(np, o->after[i]))
            return erg_error_set(err, ERG_EINVALID,
                                 "future %zu of those the task is to come after has been released",
                                 i);
    return 0;
}

static void set_options(struct native_pool *np, struct erg_record *r,
                        const struct erg_task_options *o) {
    r->retries = (uint8_t)(o->retries < UINT8_MAX ? o->retries : UINT8_MAX);
    r->queue = (uint8_t)o->where;
    if (o->timeout_ns > 0) {
        r->timeout_ns = (uint64_t)o->timeout_ns;
        erg_pool_expect_timeout(np->pool, r->timeout_ns);
    }
}

static int fill(struct native_pool *np, uint32_t index, const void *input, size_t len,
                const struct erg_task_options *o, struct erg_error *err) {
    size_t after_len = o ? o->after_len : 0, skip = after_len * sizeof(erg_handle);
    unsigned char *args = erg_record_args_reserve(member_of(np), index, skip + len);
    if (!args)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a task's input of %zu bytes", len);
    if (len > 0)
        memcpy(args + skip, input, len);
    if (!o)
        return 0;
    struct erg_record *r = erg_table_record(table_of(np), index);
    set_options(np, r, o);
    if (after_len == 0)
        return 0;
    memcpy(args, o->after, skip);
    int rc = erg_record_after_many(member_of(np), index, o->after, after_len);
    if (rc < 0)
        return erg_error_set(err, rc, "too many tasks and unreleased futures: release some");
    r->user16 = (uint16_t)after_len;
    for (size_t i = 0; i < after_len; i++)
        atomic_fetch_add(&np->uses[ERG_HANDLE_INDEX(o->after[i])], 1);
    return 0;
}

static int check_where(struct native_pool *np, const struct erg_task_options *o,
                       struct erg_error *err) {
    if (o->where == ERG_ON_PROCESS && np->spec.processes == 0)
        return erg_error_set(err, ERG_EINVALID,
                             "the task is to run on a process, but the pool has only threads");
    if (o->where == ERG_ON_THREAD && np->spec.threads == 0)
        return erg_error_set(err, ERG_EINVALID,
                             "the task is to run on a thread, but the pool has only processes");
    if (o->where > ERG_ON_THREAD)
        return erg_error_set(err, ERG_EINVALID, "where=%d is no place a task can run",
                             (int)o->where);
    return check_after(np, o, err);
}

int erg_submit(struct erg_pool *pool, erg_function *function, const void *input, size_t len,
               const struct erg_task_options *o, erg_future *future, struct erg_error *err) {
    struct native_pool *np = erg_native_of(pool);
    int rc = erg_pool_check(pool, err);
    if (rc == 0 && o)
        rc = check_where(np, o, err);
    if (rc != 0)
        return rc;
    uint64_t name = erg_native_name(np, function, err);
    if (!name)
        return err ? err->code : ERG_EINVALID;
    if (atomic_load_explicit(&np->orphans_some, memory_order_relaxed))
        erg_native_sweep(np, 0);
    struct erg_member *m = member_of(np);
    uint32_t index;
    if (erg_record_new(m, &index) != 0)
        return erg_error_set(err, ERG_EFULL,
                             "%u tasks and unreleased futures are there: release some",
                             np->records_max);
    struct erg_record *r = erg_table_record(table_of(np), index);
    r->kind = ERG_KIND_NATIVE;
    r->fn = name;
    r->user16 = 0;
    atomic_store_explicit(&np->uses[index], 0, memory_order_relaxed);
    rc = fill(np, index, input, len, o, err);
    if (rc != 0) {
        erg_record_free(m, index);
        return rc;
    }
    erg_handle handle = erg_record_handle(table_of(np), index);
    erg_record_submit(m, index);
    if (future)
        *future = handle;
    else
        erg_release(pool, handle);
    return 0;
}

/* --- waiting ------------------------------------------------------------------------------------------------------- */
static int stale(struct erg_error *err) {
    return erg_error_set(err, ERG_EINVALID, "this future has been released, or is of another pool");
}

int erg_done(struct erg_pool *pool, erg_future future) {
    struct native_pool *np = erg_native_of(pool);
    return ERG_HANDLE_INDEX(future) >= np->records_max || erg_record_done(table_of(np), future);
}

int erg_wait(struct erg_pool *pool, erg_future future, int64_t timeout_ns, struct erg_error *err) {
    struct native_pool *np = erg_native_of(pool);
    if (erg_engine_foreign(np->engine))
        return erg_pool_check(pool, err);
    if (!is_current(np, future))
        return stale(err);
    int rc = erg_record_wait(member_of(np), future, timeout_ns);
    return rc == 0 ? 0 : erg_error_set(err, rc, "waiting for a task: %s", erg_strerror(rc));
}

int erg_native_outcome(struct native_pool *np, uint32_t index, struct erg_error *err) {
    struct erg_table *t = table_of(np);
    struct erg_record *r = erg_table_record(t, index);
    const char *words = (const char *)erg_record_bytes(t, r, &r->result);
    int len = r->result.len < ERG_ERROR_TEXT_SIZE ? (int)r->result.len : ERG_ERROR_TEXT_SIZE;
    int32_t code = ERG_ETASK;
    switch (erg_record_outcome(r)) {
    case ERG_OUT_OK:
        return 0;
    case ERG_OUT_ERROR:
        if (len < (int)sizeof code)
            return erg_error_set(err, ERG_ETASK,
                                 "the task failed, and there was no memory to say why");
        memcpy(&code, words, sizeof code);
        return erg_error_set(err, code, "%.*s", len - (int)sizeof code, words + sizeof code);
    case ERG_OUT_LOST:
        return erg_error_set(err, ERG_ELOST, "%.*s", len, words);
    case ERG_OUT_TIMEOUT:
        return erg_error_set(err, ERG_ETIMEOUT, "the task %.*s", len, words);
    default:
        return len > 0
                   ? erg_error_set(err, ERG_ECANCELLED, "%.*s", len, words)
                   : erg_error_set(err, ERG_ECANCELLED, "the task was cancelled before it began");
    }
}

int erg_result(struct erg_pool *pool, erg_future future, struct erg_bytes *result,
               struct erg_error *err) {
    struct native_pool *np = erg_native_of(pool);
    int rc;
    do
        rc = erg_wait(pool, future, -1, err);
    while (rc == ERG_EINTR);
    if (rc == 0)
        rc = erg_native_outcome(np, ERG_HANDLE_INDEX(future), err);
    if (rc != 0 || !result)
        return rc;
    struct erg_table *t = table_of(np);
    struct erg_record *r = erg_table_record(t, ERG_HANDLE_INDEX(future));
    *result = (struct erg_bytes){erg_record_bytes(t, r, &r->result), r->result.len};
    return 0;
}

int erg_cancel(struct erg_pool *pool, erg_future future) {
    struct native_pool *np = erg_native_of(pool);
    return is_current(np, future) ? erg_pool_cancel(pool, future) : 0;
}
