/* Worker threads of the owner. They cannot be killed: a pool that is freed while one is still inside a task leaves it
 * behind with a reference of the table, and the thread closes the table when it gets that far. */
#include "engine/private.h"
#include "os/clock.h"
#include "table/member.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define THREAD_QUEUES                                                                              \
    (ERG_QUEUE_BIT(ERG_QUEUE_ANY) | ERG_QUEUE_BIT(ERG_QUEUE_THREAD) |                              \
     ERG_QUEUE_BIT(ERG_QUEUE_FIRST) | ERG_QUEUE_BIT(ERG_QUEUE_LOCAL))
enum { SETUPS_MAX = 5 }; /* in a row: as many as a worker process has (sched/place.c) */

void erg_holder_unref(struct table_holder *h) {
    if (atomic_fetch_sub(&h->refs, 1) != 1)
        return;
    erg_table_close(h->table);
    free(h);
}

static void thread_unref(struct thread_worker *t) {
    if (atomic_fetch_sub(&t->refs, 1) != 1)
        return;
    if (t->bell_fd >= 0)
        close(t->bell_fd);
    erg_holder_unref(t->holder);
    free(t);
}

static struct thread_worker *thread_new(struct erg_pool *p, struct erg_error *err) {
    struct thread_worker *t = calloc(1, sizeof *t);
    if (!t) {
        erg_error_set(err, ERG_ENOMEM, "no memory for a worker thread");
        return NULL;
    }
    if (erg_member_reserve(p->table, ERG_MEMBER_THREAD, THREAD_QUEUES, &t->member, err) != 0) {
        free(t);
        return NULL;
    }
    t->holder = p->holder;
    atomic_fetch_add(&p->holder->refs, 1);
    t->asked_task = ERG_HANDLE_NONE;
    t->bell_fd = fcntl(p->engine->bell_fd, F_DUPFD_CLOEXEC, 3);
    atomic_store(&t->refs, 2); /* the pool's and the thread's */
    return t;
}

static void add(struct erg_pool *p, struct thread_worker *t) {
    pthread_mutex_lock(&p->engine->lock);
    t->next = p->threads;
    p->threads = t;
    p->threads_len++;
    pthread_mutex_unlock(&p->engine->lock);
}

static void take_out(struct erg_pool *p, struct thread_worker *t) {
    for (struct thread_worker **at = &p->threads; *at; at = &(*at)->next)
        if (*at == t) {
            *at = t->next;
            p->threads_len--;
            return;
        }
}

static int start_one(struct erg_pool *p, struct erg_error *err) {
    struct thread_worker *t = thread_new(p, err);
    if (!t)
        return err ? err->code : ERG_ELAUNCH;
    add(p, t);
    int rc = p->runtime->start_thread(p->runtime->ctx, p, t->member);
    if (rc == 0)
        return 0;
    pthread_mutex_lock(&p->engine->lock);
    take_out(p, t);
    erg_member_unreserve(p->table, t->member);
    pthread_mutex_unlock(&p->engine->lock);
    thread_unref(t);
    thread_unref(t); /* there is no thread */
    return erg_error_set(err, ERG_ELAUNCH, "cannot start a worker thread: %s", erg_strerror(rc));
}

int erg_threads_start(struct erg_pool *p, int count, struct erg_error *err) {
    if (count > 0 && !p->runtime->start_thread)
        return erg_error_set(err, ERG_EUNSUPPORTED, "the %s runtime has no worker threads",
                             p->runtime->name);
    struct erg_error own = {0};
    for (int i = 0; i < count; i++) {
        int rc = start_one(p, &own);
        if (rc == 0)
            continue;
        if (err)
            *err = own;
        return rc;
    }
    return 0;
}

struct thread_worker *erg_threads_by_member(struct erg_pool *p, uint32_t member) {
    for (struct thread_worker *t = p->threads; t; t = t->next)
        if (t->member == member && !atomic_load(&t->left))
            return t;
    return NULL;
}

static int asked_to_stop(const struct erg_pool *p) {
    int n = 0;
    for (struct thread_worker *t = p->threads; t; t = t->next)
        n += t->stop_asked;
    return n;
}

void erg_threads_stop(struct erg_pool *p, int keep) {
    int surplus = p->threads_len - asked_to_stop(p) - keep;
    for (struct thread_worker *t = p->threads; t && surplus > 0; t = t->next) {
        if (t->stop_asked)
            continue;
        t->stop_asked = 1;
        erg_member_stop(p->table, t->member);
        surplus--;
    }
}

/* Not before as many failed as are wanted: they are started one after the other. */
int erg_threads_broken(const struct erg_pool *p) {
    return p->threads_failed > 0 && p->threads_failed >= p->want_threads && p->threads_len == 0;
}

int erg_threads_unborn(const struct erg_pool *p) {
    for (struct thread_worker *t = p->threads; t; t = t->next)
        if (atomic_load(&t->up))
            return 0;
    return p->threads_len > 0;
}

static void note_failure(struct erg_pool *p, const struct thread_worker *t) {
    if (t->unable.code == 0 || p->state > P_CLOSING)
        return;
    p->failure = t->unable;
    p->threads_failed++;
    erg_pool_news(p);
}

int erg_threads_reap(struct erg_pool *p) {
    struct thread_worker *next;
    int up = 0;
    for (struct thread_worker *t = p->threads; t; t = next) {
        next = t->next;
        if (!atomic_load(&t->left)) {
            up += atomic_load(&t->up);
            continue;
        }
        take_out(p, t);
        note_failure(p, t);
        thread_unref(t);
    }
    if (up != p->threads_up) { /* somebody may wait for them to come, or to go */
        p->threads_up = up;
        if (up > 0 && !p->counts.first_up_ns)
            p->counts.first_up_ns = (int64_t)erg_clock_ns() - p->opened_at;
        erg_pool_news(p);
    }
    return p->threads_len;
}

/* They were asked to leave, and are waited for no more: who waits for what they run shall not either. */
void erg_threads_give_up(struct erg_pool *p) {
    for (struct thread_worker *t = p->threads; t; t = t->next)
        if (!atomic_load(&t->left))
            atomic_store(&erg_table_slot(p->table, t->member)->stop, ERG_STOP_GIVEN_UP);
}

/* What is left when the pool goes: threads that would not stop. */
void erg_threads_leave_behind(struct erg_pool *p) {
    while (p->threads) {
        struct thread_worker *t = p->threads;
        take_out(p, t);
        thread_unref(t);
    }
}

static void ring(const struct thread_worker *t) {
    uint64_t one = 1;
    ssize_t n = write(t->bell_fd, &one, sizeof one);
    (void)n; /* full: it rings already */
}

struct thread_worker *erg_pool_thread_seat(struct erg_pool *p, uint32_t member) {
    pthread_mutex_lock(&p->engine->lock);
    struct thread_worker *t = erg_threads_by_member(p, member);
    pthread_mutex_unlock(&p->engine->lock);
    return t;
}

/* A worker process that cannot be set up is started anew a few times; a thread tries again itself. What is wrong with
 * all of them is found out by all of them together. */
static int set_up(struct thread_worker *t, struct erg_member *m, const struct erg_worker_ops *ops,
                  void *ctx, struct erg_error *err) {
    int rc = 0;
    for (int tries = 1; ops->setup && (rc = ops->setup(ctx, m, err)) != 0; tries++) {
        int failed = atomic_fetch_add(&t->holder->setups_failed, 1) + 1;
        if ((failed >= SETUPS_MAX && tries > 1) || atomic_load(&m->slot->stop))
            return rc;
    }
    atomic_store(&t->holder->setups_failed, 0);
    return 0;
}

int erg_pool_thread_main(struct thread_worker *t, const struct erg_worker_ops *ops, void *ctx) {
    struct erg_member *m = NULL;
    struct erg_error err = {0};
    int rc = ops ? erg_member_open(t->holder->table, t->member, &m, &err) : ERG_ESTATE;
    if (rc == 0)
        rc = set_up(t, m, ops, ctx, &err);
    if (rc == 0) {
        atomic_store(&t->up, 1);
        ring(t);
        erg_worker_loop(m, 0, ops, ctx);
        if (ops->teardown)
            ops->teardown(ctx, m);
    }
    if (m)
        erg_member_close(m);
    if (rc != 0 && ops)
        erg_error_set(&t->unable, ERG_ELAUNCH, "%s", err.text);
    atomic_store(&t->left, 1);
    ring(t);
    thread_unref(t);
    return rc;
}
