/* What callers call. They change the pool's wishes under the engine's lock and ring the bell; the loop does the rest
 * and publishes changes by counting up pool->news, the futex word that waiting callers sleep on. */
#include "engine/private.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/futex.h"
#include "table/arena.h"
#include "table/record.h"

#include <stdlib.h>
#include <string.h>

#define STOP_LIMIT_DEFAULT (30 * SECOND)
#define GRACE_DEFAULT (1 * SECOND)
#define THREADS_LEAVE_NS (1 * SECOND)

static int enter(struct erg_pool *p) {
    if (erg_engine_foreign(p->engine))
        return ERG_EFORKED;
    pthread_mutex_lock(&p->engine->lock);
    return 0;
}

static void leave(struct erg_pool *p, int ring) {
    pthread_mutex_unlock(&p->engine->lock);
    if (ring)
        erg_engine_ring(p->engine);
}

static int foreign_error(struct erg_pool *p, struct erg_error *err) {
    return erg_error_set(
        err, ERG_EFORKED,
        "this pool belongs to process %d, which this process was forked from; open "
        "a new pool here",
        (int)p->engine->owner);
}

/* --- opening --------------------------------------------------------------------------------------------------- */
static int check_spec(const struct erg_runtime *runtime, const struct erg_pool_spec *spec,
                      struct erg_error *err) {
    if (spec->processes < 0 || spec->threads < 0 || spec->places_len < 0 ||
        spec->processes + spec->threads + spec->places_len == 0)
        return erg_error_set(err, ERG_EINVALID,
                             "a pool needs at least one worker, not %d processes and %d threads",
                             spec->processes, spec->threads);
    if (spec->processes > ERG_WORKERS_LIMIT || spec->threads > ERG_WORKERS_LIMIT ||
        spec->processes + spec->threads > ERG_WORKERS_LIMIT)
        return erg_error_set(
            err, ERG_EINVALID,
            "a pool has at most %d workers on this machine, which is what its task "
            "table has room for, not %d processes and %d threads",
            ERG_WORKERS_LIMIT, spec->processes, spec->threads);
    if (spec->processes > 0 && !runtime->zygote_argv)
        return erg_error_set(err, ERG_EUNSUPPORTED, "the %s runtime has no worker processes here",
                             runtime->name);
    if (spec->threads > 0 && !runtime->start_thread)
        return erg_error_set(err, ERG_EUNSUPPORTED, "the %s runtime has no worker threads",
                             runtime->name);
    return 0;
}

static int open_table(struct erg_pool *p, const struct erg_pool_spec *spec, struct erg_error *err) {
    struct erg_table_config config = {.records_max = spec->records_max,
                                      .arena_bytes = spec->arena_bytes};
    uint32_t least = (uint32_t)(spec->processes + spec->threads) * 2 + 64;
    if (least > 256)
        config.members_max = least < ERG_MEMBERS_LIMIT ? least : ERG_MEMBERS_LIMIT;
    int rc = erg_table_create(&config, &p->table, err);
    if (rc != 0)
        return rc;
    p->holder = calloc(1, sizeof *p->holder);
    if (!p->holder) {
        erg_table_close(p->table);
        return erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    }
    p->holder->table = p->table;
    atomic_store(&p->holder->refs, 1);
    uint32_t number;
    rc = erg_member_open(p->table, 0, &p->owner, err);
    if (rc == 0)
        rc = erg_member_reserve(p->table, ERG_MEMBER_CALLER, 0, &number, err);
    if (rc == 0)
        rc = erg_member_open(p->table, number, &p->janitor, err);
    return rc;
}

/* While there are no workers. Puts it in the place of the one before. */
static int put_init(struct erg_pool *p, const void *init, size_t len, struct erg_error *err) {
    struct erg_table_header *h = p->table->header;
    uint64_t offset;
    if (len == 0)
        return 0;
    int rc = erg_arena_alloc(p->owner, len, &offset, err);
    if (rc != 0)
        return rc;
    memcpy(erg_table_at(p->table, offset), init, len);
    if (h->init_len)
        erg_arena_free(p->owner, h->init_offset);
    h->init_offset = offset;
    h->init_len = len;
    return 0;
}

static int open_sched(struct erg_pool *p, struct erg_error *err) {
    uint32_t probes =
        p->stop_limit_ns < 0 ? UINT32_MAX : (uint32_t)((p->stop_limit_ns + SECOND - 1) / SECOND);
    struct erg_sched_config config = {
        .workers_max = p->workers_max, .grace_ns = p->grace_ns, .stalled_probes = probes};
    p->sched = erg_sched_new(&config);
    p->workers = calloc(p->workers_max, sizeof *p->workers);
    if (!p->sched || !p->workers)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    for (uint32_t i = 0; i < p->workers_max; i++) {
        struct worker *w = &p->workers[i];
        *w = (struct worker){.pool = p, .id = i, .pidfd = -1, .kill_at = NEVER};
        w->asked_task = w->killed_task = ERG_HANDLE_NONE;
    }
    erg_sched_add_place(p->sched, (uint32_t)p->want_processes);
    return 0;
}

static void set_fields(struct erg_pool *p, struct erg_engine *e, const struct erg_runtime *runtime,
                       const struct erg_pool_spec *spec) {
    p->engine = e;
    p->runtime = runtime;
    p->user = spec->user;
    p->stop_limit_ns = spec->stop_limit_ns ? spec->stop_limit_ns : STOP_LIMIT_DEFAULT;
    p->grace_ns = spec->grace_ns > 0 ? spec->grace_ns : GRACE_DEFAULT;
    p->max_tasks = spec->max_tasks_per_worker > 0 ? (uint32_t)spec->max_tasks_per_worker : 0;
    p->want_processes = spec->processes;
    p->want_threads = spec->threads;
    p->drops_late = spec->drops_late;
    atomic_store(&p->least_timeout_ns, UINT64_MAX);
    p->opened_at = p->state_at = (int64_t)erg_clock_ns();
    p->sched_at = NEVER;
    p->quiet_tasks = UINT64_MAX;
    p->oom_kills = erg_cpu_oom_kills();
}

static void release(struct erg_pool *p) {
    if (p->holder)
        erg_holder_unref(p->holder);
    if (p->sched)
        erg_sched_free(p->sched);
    free(p->workers);
    free(p->requests);
    free(p);
}

/* The loop sees it from here on. */
static int announce(struct erg_pool *p, struct erg_error *err) {
    struct erg_engine *e = p->engine;
    int rc = enter(p);
    if (rc != 0)
        return foreign_error(p, err);
    if (p->runtime->zygote_argv && !(p->zygote = erg_nursery_get(e, p->runtime)))
        rc = erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    if (rc == 0) {
        p->next = e->pools;
        e->pools = p;
    }
    leave(p, rc == 0);
    return rc;
}

static void ran_elsewhere(void *ctx, const struct erg_elsewhere *run) {
    struct erg_pool *p = ctx;
    p->runtime->task_elsewhere(p->runtime->ctx, p, run);
}

static void asked(void *ctx, const char *place, const unsigned char *bytes, size_t len,
                  void **answer, size_t *answer_len) {
    struct erg_pool *p = ctx;
    p->runtime->asked(p->runtime->ctx, p, place, bytes, len, answer, answer_len);
}

/* The loop knows the pool by now, but nothing of its places yet. */
static int open_remote(struct erg_pool *p, const struct erg_pool_spec *spec,
                       struct erg_error *err) {
    struct erg_remote *remote;
    int rc = erg_remote_new(p->owner, spec, p->engine->bell_fd, &remote, err);
    if (rc != 0)
        return rc;
    if (p->runtime->task_elsewhere)
        erg_remote_on_run(remote, ran_elsewhere, p);
    if (p->runtime->asked)
        erg_remote_on_ask(remote, asked, p);
    if (p->runtime->keeper_argv)
        erg_remote_keep(remote, p->runtime->keeper_argv);
    pthread_mutex_lock(&p->engine->lock);
    p->remote = remote;
    pthread_mutex_unlock(&p->engine->lock);
    return 0;
}

int erg_pool_open(struct erg_engine *e, const struct erg_runtime *runtime,
                  const struct erg_pool_spec *spec, struct erg_pool **out, struct erg_error *err) {
    int rc = check_spec(runtime, spec, err);
    if (rc != 0)
        return rc;
    struct erg_pool *p = calloc(1, sizeof *p);
    if (!p)
        return erg_error_set(err, ERG_ENOMEM, "no memory for a pool");
    set_fields(p, e, runtime, spec);
    rc = open_table(p, spec, err);
    if (rc == 0) {
        p->workers_max = p->table->header->members_max - 2;
        p->table->header->number = spec->number;
        p->table->header->asks = spec->asks;
        rc = put_init(p, spec->init, spec->init_len, err);
    }
    if (rc == 0)
        rc = open_sched(p, err);
    if (rc == 0)
        rc = announce(p, err);
    if (rc != 0) {
        release(p);
        return rc;
    }
    if (spec->places_len > 0)
        rc = open_remote(p, spec, err);
    if (rc == 0)
        rc = erg_threads_start(p, spec->threads, err);
    if (rc != 0) {
        erg_pool_free(p);
        return rc;
    }
    *out = p;
    return 0;
}

/* --- looking ----------------------------------------------------------------------------------------------------- */
struct erg_table *erg_pool_table(struct erg_pool *p) {
    return p->table;
}

struct erg_member *erg_pool_member(struct erg_pool *p) {
    return p->owner;
}

void *erg_pool_user(struct erg_pool *p) {
    return p->user;
}

static void say_broken(const struct erg_pool *p, int code, struct erg_error *err) {
    if (code == ERG_ELOST)
        erg_error_set(err, code, "every host of the pool was lost: %s", p->failure.text);
    else
        erg_error_set(err, code, "no worker comes up, the pool gave up: %s", p->failure.text);
}

int erg_pool_check(struct erg_pool *p, struct erg_error *err) {
    int gate = atomic_load_explicit(&p->gate, memory_order_relaxed);
    if (gate == 0)
        return 0;
    if (gate == ERG_EFORKED || erg_engine_foreign(p->engine))
        return foreign_error(p, err);
    if (gate == ERG_ECLOSED)
        return erg_error_set(err, ERG_ECLOSED, "the pool is closed: restart it, or open another");
    if (enter(p) != 0)
        return foreign_error(p, err);
    say_broken(p, gate, err);
    leave(p, 0);
    return gate;
}

static int threads_up(const struct erg_pool *p) {
    int n = 0;
    for (struct thread_worker *t = p->threads; t; t = t->next)
        n += atomic_load(&t->up) && !atomic_load(&t->left);
    return n;
}

static int processes_up(const struct erg_pool *p) {
    int n = 0;
    for (uint32_t i = 0; i < p->workers_max; i++)
        n += p->workers[i].stage == W_UP && !p->workers[i].dead_at;
    return n;
}

/* Workers at places. */
static int places_up(const struct erg_pool *p) {
    int starting;
    return p->remote ? erg_remote_up(p->remote, &starting) : 0;
}

static void fill_info(const struct erg_pool *p, uint32_t member, struct erg_worker_info *out) {
    struct erg_member_slot *s = erg_table_slot(p->table, member);
    uint32_t depth = atomic_load(&s->depth);
    out->member = member;
    out->task = depth > 0
                    ? atomic_load(&s->claims[(depth > ERG_CLAIMS_MAX ? ERG_CLAIMS_MAX : depth) - 1])
                    : ERG_HANDLE_NONE;
    if (out->task != ERG_HANDLE_NONE && !erg_limits_runs(p, member, out->task))
        out->task = ERG_HANDLE_NONE;
    out->state = out->task != ERG_HANDLE_NONE ? ERG_W_BUSY : ERG_W_IDLE;
    out->tasks = atomic_load(&s->tasks);
    out->busy_ns = atomic_load(&s->busy_ns);
    out->bytes_in = atomic_load(&s->bytes_in);
    out->bytes_out = atomic_load(&s->bytes_out);
}

static struct erg_worker_info process_info(const struct erg_pool *p, const struct worker *w) {
    struct erg_worker_info info = {.task = ERG_HANDLE_NONE};
    if (w->stage == W_UP)
        fill_info(p, w->member, &info);
    info.member = w->member;
    info.kind = ERG_MEMBER_PROCESS;
    info.pid = w->pid;
    if (w->stage != W_UP)
        info.state = ERG_W_STARTING;
    else if (w->stop_asked || w->dead_at)
        info.state = ERG_W_LEAVING;
    else if (w->stopped)
        info.state = ERG_W_STOPPED;
    return info;
}

static struct erg_worker_info thread_info(const struct erg_pool *p, const struct thread_worker *t) {
    struct erg_worker_info info = {.task = ERG_HANDLE_NONE};
    if (atomic_load(&t->up))
        fill_info(p, t->member, &info);
    info.member = t->member;
    info.kind = ERG_MEMBER_THREAD;
    info.pid = p->engine->owner;
    if (!atomic_load(&t->up))
        info.state = ERG_W_STARTING;
    else if (t->stop_asked)
        info.state = ERG_W_LEAVING;
    return info;
}

int erg_pool_workers(struct erg_pool *p, struct erg_worker_info *out, int max) {
    int n = 0;
    if (enter(p) != 0)
        return 0;
    for (uint32_t i = 0; i < p->workers_max; i++) {
        if (p->workers[i].stage == W_NONE || p->workers[i].stray)
            continue;
        if (n < max)
            out[n] = process_info(p, &p->workers[i]);
        n++;
    }
    for (struct thread_worker *t = p->threads; t; t = t->next) {
        if (atomic_load(&t->left))
            continue;
        if (n < max)
            out[n] = thread_info(p, t);
        n++;
    }
    leave(p, 0);
    return n;
}

uint32_t erg_pool_beyond(const struct erg_pool *p) {
    return p->remote ? erg_remote_beyond(p->remote) : 0;
}

int erg_pool_places_up(struct erg_pool *p) {
    int n = 0;
    if (enter(p) == 0) {
        n = places_up(p);
        leave(p, 0);
    }
    return n;
}

int erg_pool_places(struct erg_pool *p, struct erg_place_info *out, int max) {
    int n = 0;
    if (enter(p) != 0)
        return 0;
    if (p->remote)
        n = erg_remote_info(p->remote, out, max);
    leave(p, 0);
    return n;
}

int erg_pool_queue(struct erg_pool *p, const char *const *names, int n, uint32_t *queue,
                   struct erg_error *err) {
    int rc = enter(p);
    if (rc != 0)
        return foreign_error(p, err);
    rc = p->remote ? erg_remote_queue(p->remote, names, n, queue, err)
                   : erg_error_set(err, ERG_ENOTFOUND,
                                   "no host of this pool is called %s: it has none", names[0]);
    leave(p, 0);
    return rc;
}

void erg_pool_counts(struct erg_pool *p, struct erg_pool_counts *out) {
    memset(out, 0, sizeof *out);
    if (enter(p) != 0)
        return;
    *out = p->counts;
    out->workers_up = processes_up(p) + threads_up(p) + places_up(p);
    leave(p, 0);
}

/* --- waiting ------------------------------------------------------------------------------------------------------ */
/* Waits until done(p) is not 0 (lock held when called): that value; ERG_ETIMEOUT; ERG_EINTR; ERG_EFORKED. */
static int wait_for(struct erg_pool *p, int64_t timeout_ns,
                    int (*done)(struct erg_pool *p, long arg), long arg) {
    int64_t end = timeout_ns < 0 ? NEVER : (int64_t)erg_clock_ns() + timeout_ns;
    for (;;) {
        if (enter(p) != 0)
            return ERG_EFORKED;
        uint32_t seen = atomic_load(&p->news);
        int rc = done(p, arg);
        leave(p, 0);
        if (rc != 0)
            return rc;
        int64_t left = end == NEVER ? -1 : end - (int64_t)erg_clock_ns();
        if (end != NEVER && left <= 0)
            return ERG_ETIMEOUT;
        rc = erg_futex_wait(&p->news, seen, left);
        if (rc == ERG_EINTR)
            return rc;
    }
}

static int enough_up(struct erg_pool *p, long count) {
    int starting = 0;
    long up = processes_up(p) + threads_up(p), wanted = p->want_processes + p->want_threads;
    if (p->state != P_OPEN)
        return ERG_ECLOSED;
    if (p->remote) {
        int there = erg_remote_up(p->remote, &starting);
        up += there;
        wanted += starting > 0 ? count : there; /* nobody knows yet how many they will be */
    }
    long needed = count < wanted ? count : wanted;
    if (up >= needed && (up > 0 || !p->remote))
        return 1;
    long hopeless = p->threads_failed + (p->broken ? p->want_processes - processes_up(p) : 0);
    if (hopeless > 0 && wanted - hopeless < needed)
        return ERG_ELAUNCH;
    return p->broken && (!p->remote || p->places_broken) ? erg_pool_broken_code(p) : 0;
}

static int explain(struct erg_pool *p, int rc, const char *what, struct erg_error *err) {
    if (rc >= 0)
        return 0;
    if (rc == ERG_EFORKED)
        return foreign_error(p, err);
    if (rc != ERG_ELAUNCH && rc != ERG_ELOST)
        return erg_error_set(err, rc, "%s: %s", what, erg_strerror(rc));
    if (enter(p) != 0)
        return foreign_error(p, err);
    say_broken(p, rc, err);
    leave(p, 0);
    return rc;
}

int erg_pool_wait_up(struct erg_pool *p, int count, int64_t timeout_ns, struct erg_error *err) {
    return explain(p, wait_for(p, timeout_ns, enough_up, count), "waiting for workers", err);
}

static int is_down(struct erg_pool *p, long arg) {
    (void)arg;
    return p->state == P_OPEN ? ERG_ESTATE : p->state == P_DOWN;
}

/* --- closing ------------------------------------------------------------------------------------------------------- */
int erg_pool_close(struct erg_pool *p) {
    if (enter(p) != 0)
        return ERG_EFORKED;
    int was_open = p->state == P_OPEN;
    if (was_open)
        erg_pool_set_state(p, P_CLOSING, (int64_t)erg_clock_ns());
    leave(p, was_open);
    return 0;
}

int erg_pool_join(struct erg_pool *p, int64_t timeout_ns, struct erg_error *err) {
    int rc = wait_for(p, timeout_ns, is_down, 0);
    if (rc == ERG_ESTATE)
        return erg_error_set(err, rc, "the pool is open: close or terminate it before joining it");
    return explain(p, rc, "waiting for the pool to end", err);
}

/* What worker threads run cannot be killed: ask the runtime, once. */
static void interrupt_threads(struct erg_pool *p) {
    const struct erg_runtime *r = p->runtime;
    enum { MOST = 256 };
    struct erg_worker_info info[MOST];
    int n = erg_pool_workers(p, info, MOST);
    for (int i = 0; i < n && i < MOST; i++)
        if (info[i].kind == ERG_MEMBER_THREAD && info[i].task != ERG_HANDLE_NONE) {
            erg_record_cancel(p->owner, info[i].task);
            if (r->interrupt_thread)
                r->interrupt_thread(r->ctx, p, info[i].member, info[i].task);
        }
}

int erg_pool_terminate(struct erg_pool *p, struct erg_error *err) {
    int rc = enter(p);
    if (rc != 0)
        return foreign_error(p, err);
    int begun = p->state < P_TERMINATING;
    if (begun) {
        erg_pool_set_state(p, P_TERMINATING, (int64_t)erg_clock_ns());
        atomic_store(&p->table->header->closed, 1);
        erg_threads_stop(p, 0);
        erg_sched_terminate(p->sched);
        for (uint32_t i = 0; i < p->workers_max; i++) /* not up yet: unknown to the scheduler */
            if (p->workers[i].stage == W_STARTING)
                p->workers[i].kill_at = 0;
        if (p->remote)
            erg_remote_stop(p->remote, 1);
    }
    leave(p, begun);
    if (begun)
        interrupt_threads(p);
    do /* bounded by the loop, which gives up on what even SIGKILL does not end */
        rc = wait_for(p, -1, is_down, 0);
    while (rc == ERG_EINTR);
    if (rc == ERG_ESTATE)
        rc = 0; /* it has been restarted since, in another thread */
    return explain(p, rc, "terminating the pool", err);
}

int erg_pool_restart(struct erg_pool *p, const void *init, size_t init_len, struct erg_error *err) {
    int rc = enter(p);
    if (rc != 0)
        return foreign_error(p, err);
    if (p->state != P_DOWN) {
        leave(p, 0);
        return erg_error_set(
            err, ERG_ESTATE,
            "a pool can be restarted when it was closed and joined, or terminated");
    }
    if ((rc = put_init(p, init, init_len, err)) != 0) {
        leave(p, 0);
        return rc;
    }
    struct erg_zygote *zygote = p->zygote ? erg_nursery_get(p->engine, p->runtime) : NULL;
    if (zygote)
        p->zygote = zygote;
    atomic_store(&p->table->header->closed, 0);
    atomic_store(&p->gate, 0);
    p->broken = p->places_broken = p->places_were_up = p->threads_failed = 0;
    atomic_store(&p->holder->setups_failed, 0);
    erg_pool_set_state(p, P_OPEN, (int64_t)erg_clock_ns());
    erg_sched_reopen(p->sched);
    erg_sched_resize(p->sched, 0, (uint32_t)p->want_processes);
    int threads = p->want_threads;
    if (p->remote)
        erg_remote_restart(p->remote);
    leave(p, 1);
    return erg_threads_start(p, threads, err);
}

void erg_pool_free(struct erg_pool *p) {
    if (!p)
        return;
    if (erg_engine_foreign(p->engine)) {
        erg_table_close(p->table); /* a private copy by now; the rest goes with the process */
        return;
    }
    erg_pool_terminate(p, NULL);
    erg_completer_stop(p);
    struct erg_engine *e = p->engine;
    pthread_mutex_lock(&e->lock);
    struct erg_remote *remote = p->remote;
    p->remote = NULL;
    pthread_mutex_unlock(&e->lock);
    erg_remote_free(remote);
    pthread_mutex_lock(&e->lock);
    while (p->callbacks > 0) { /* the loop is inside one */
        uint32_t seen = atomic_load(&p->news);
        pthread_mutex_unlock(&e->lock);
        erg_futex_wait(&p->news, seen, 10 * MS);
        pthread_mutex_lock(&e->lock);
    }
    for (struct erg_pool **at = &e->pools; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    erg_threads_leave_behind(p);
    pthread_mutex_unlock(&e->lock);
    erg_engine_ring(e);
    release(p);
}

/* --- changing ------------------------------------------------------------------------------------------------------- */
int erg_pool_resize(struct erg_pool *p, int processes, int threads, struct erg_error *err) {
    if (enter(p) != 0)
        return foreign_error(p, err);
    int want_processes = processes < 0 ? p->want_processes : processes;
    int want_threads = threads < 0 ? p->want_threads : threads;
    int rc = 0;
    if (p->state != P_OPEN)
        rc = erg_error_set(err, ERG_ECLOSED, "the pool is closed: restart it, or open another");
    else if (want_processes + want_threads == 0)
        rc = erg_error_set(err, ERG_EINVALID, "a pool needs at least one worker");
    else if ((uint32_t)(want_processes + want_threads) > p->workers_max)
        rc = erg_error_set(err, ERG_EFULL, "this pool can have at most %u workers", p->workers_max);
    else if (want_processes > 0 && !p->zygote)
        rc = erg_error_set(err, ERG_EUNSUPPORTED, "the %s runtime has no worker processes here",
                           p->runtime->name);
    int more_threads = 0;
    if (rc == 0) {
        more_threads = want_threads - p->want_threads;
        p->want_processes = want_processes;
        p->want_threads = want_threads;
        erg_sched_resize(p->sched, 0, (uint32_t)want_processes);
        if (more_threads < 0)
            erg_threads_stop(p, want_threads);
    }
    leave(p, rc == 0);
    return rc == 0 && more_threads > 0 ? erg_threads_start(p, more_threads, err) : rc;
}

void erg_pool_size(struct erg_pool *p, int *processes, int *threads) {
    *processes = p->want_processes;
    *threads = p->want_threads;
}

/* --- tasks ------------------------------------------------------------------------------------------------------------ */
static int request_interrupt(struct erg_pool *p, uint32_t member, erg_handle task) {
    if (p->requests_len == p->requests_cap) {
        size_t cap = p->requests_cap ? p->requests_cap * 2 : 16;
        struct interrupt_request *grown = realloc(p->requests, cap * sizeof *grown);
        if (!grown)
            return ERG_ENOMEM;
        p->requests = grown;
        p->requests_cap = cap;
    }
    p->requests[p->requests_len++] = (struct interrupt_request){task, member};
    return 2;
}

int erg_pool_cancel(struct erg_pool *p, erg_handle task) {
    if (erg_engine_foreign(p->engine))
        return ERG_EFORKED;
    int rc = erg_record_cancel(p->owner, task);
    if (rc != 2)
        return rc;
    uint64_t state = erg_record_state(erg_table_record(p->table, ERG_HANDLE_INDEX(task)));
    uint32_t member = ERG_STATE_RUNNER(state);
    if (ERG_STATE_GEN(state) != ERG_HANDLE_GEN(task) || ERG_STATE_PHASE(state) != ERG_RUNNING)
        return 0; /* over by now */
    if (erg_table_slot(p->table, member)->kind == ERG_MEMBER_PLACE)
        return p->remote && erg_remote_cancel(p->remote, task) ? 2 : 0;
    if (erg_table_slot(p->table, member)->kind == ERG_MEMBER_THREAD) {
        const struct erg_runtime *r = p->runtime;
        return r->interrupt_thread && r->interrupt_thread(r->ctx, p, member, task) == 1 ? 2 : 0;
    }
    if (enter(p) != 0)
        return ERG_EFORKED;
    rc = request_interrupt(p, member, task);
    leave(p, 1);
    return rc;
}

void erg_pool_expect_timeout(struct erg_pool *p, uint64_t timeout_ns) {
    uint64_t least = atomic_load_explicit(&p->least_timeout_ns, memory_order_relaxed);
    while (timeout_ns > 0 && timeout_ns < least)
        if (atomic_compare_exchange_weak(&p->least_timeout_ns, &least, timeout_ns))
            break;
    if (timeout_ns > 0 && atomic_load_explicit(&p->dozing, memory_order_relaxed) && enter(p) == 0) {
        p->idle_looks = 0;
        p->timeouts_at = 0;
        atomic_store(&p->dozing, 0);
        leave(p, 1);
    }
}
