/* The thread that hands out completions. It is not the loop: what it calls may have to wait for an
 * interpreter's lock for as long as user code pleases, and processes have to be watched meanwhile.
 *
 * It also gives warm memory of the owner's back when the pool has been idle for a while; workers do so for theirs
 * (worker.c). */
#include "engine/private.h"
#include "table/arena.h"
#include "table/bell.h"

#include <signal.h>

enum { BATCH = 256 };

static size_t take(struct erg_table *t, erg_handle *tasks) {
    size_t n = 0;
    while (n < BATCH && erg_bell_take(t, &tasks[n]))
        n++;
    return n;
}

/* Has no task ended since it was asked last? */
static int was_idle(struct erg_table *t, uint64_t *last) {
    uint64_t tasks = 0;
    uint32_t top = atomic_load(&t->header->members_top);
    for (uint32_t m = 0; m < top; m++)
        tasks += atomic_load_explicit(&erg_table_slot(t, m)->tasks, memory_order_relaxed);
    int same = tasks == *last;
    *last = tasks;
    return same;
}

static void *completer_main(void *arg) {
    struct erg_pool *p = arg;
    erg_handle tasks[BATCH];
    uint64_t seen_tasks = UINT64_MAX;
    pthread_setname_np(pthread_self(), "ergon-done");
    for (;;) {
        size_t n = take(p->table, tasks);
        if (n == 0) {
            uint32_t seen = erg_bell_prepare(p->table);
            n = take(p->table, tasks);
            if (n == 0) {
                if (atomic_load(&p->completer_stop))
                    return NULL;
                int rc = erg_bell_wait(p->table, seen, ERG_TRIM_IDLE_NS);
                if (rc == ERG_ECLOSED)
                    return NULL;
                if (rc == ERG_ETIMEOUT && was_idle(p->table, &seen_tasks))
                    erg_arena_trim(p->owner, ERG_TRIM_KEEP_BYTES);
                continue;
            }
        }
        p->on_complete(p->on_complete_ctx, tasks, n);
    }
}

int erg_pool_on_complete(struct erg_pool *p,
                         void (*fn)(void *ctx, const erg_handle *tasks, size_t count), void *ctx,
                         struct erg_error *err) {
    if (erg_engine_foreign(p->engine))
        return erg_pool_check(p, err);
    pthread_mutex_lock(&p->engine->lock);
    int rc = p->on_complete ? ERG_ESTATE : 0;
    if (rc == 0) {
        p->on_complete = fn;
        p->on_complete_ctx = ctx;
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&p->completer, NULL, completer_main, p);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (rc != 0) {
            p->on_complete = NULL;
            rc = erg_error_system(err, rc, "cannot start the thread that hands out completions");
        }
    } else
        erg_error_set(err, rc, "somebody watches completions of this pool already");
    pthread_mutex_unlock(&p->engine->lock);
    return rc;
}

void erg_completer_stop(struct erg_pool *p) {
    if (!p->on_complete)
        return;
    atomic_store(&p->completer_stop, 1);
    erg_bell_ring(p->table);
    pthread_join(p->completer, NULL);
    p->on_complete = NULL;
}
