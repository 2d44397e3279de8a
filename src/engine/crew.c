/* Worker processes of a pool, from the order to the end.
 *
 *     NONE ──> WANTED ──> ORDERED ── FORKED ──> STARTING ── UP ──> UP ── gone ──> NONE
 *                            └── zygote died ──> LIMBO ── its slot came up ──^
 *
 * The end of a process is told twice: by its pidfd, at once, and by the zygote, with the status. Either may come
 * first. It counts when the status is there, or when the pidfd said so and the status will not come any more
 * (the zygote is gone) or takes too long.
 *
 * A worker in limbo was ordered from a zygote that died before it answered: the order may have been lost, or the worker
 * may exist without anybody having told us. Its number in the table stays reserved while one could still turn up. */
#include "engine/private.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/process.h"
#include "table/record.h"
#include "table/recover.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#define PROCESS_QUEUES                                                                             \
    (ERG_QUEUE_BIT(ERG_QUEUE_ANY) | ERG_QUEUE_BIT(ERG_QUEUE_PROCESS) |                             \
     ERG_QUEUE_BIT(ERG_QUEUE_FIRST) | ERG_QUEUE_BIT(ERG_QUEUE_LOCAL))
#define STATUS_WAIT_NS (1 * SECOND)
#define LIMBO_NS (500 * MS)
#define STRAY_NS (30 * SECOND)

/* --- finding them ---------------------------------------------------------------------------------------- */
struct worker *erg_crew_by_order(struct erg_engine *e, uint32_t order) {
    for (struct erg_pool *p = e->pools; p; p = p->next)
        for (uint32_t i = 0; i < p->workers_max; i++)
            if (p->workers[i].stage > W_WANTED && p->workers[i].order == order)
                return &p->workers[i];
    return NULL;
}

struct worker *erg_crew_by_pid(struct erg_engine *e, pid_t pid) {
    for (struct erg_pool *p = e->pools; p; p = p->next)
        for (uint32_t i = 0; i < p->workers_max; i++)
            if (p->workers[i].stage >= W_STARTING && p->workers[i].pid == pid)
                return &p->workers[i];
    return NULL;
}

struct worker *erg_crew_by_member(struct erg_pool *p, uint32_t member) {
    for (uint32_t i = 0; i < p->workers_max; i++)
        if (p->workers[i].stage == W_UP && p->workers[i].member == member)
            return &p->workers[i];
    return NULL;
}

int erg_crew_size(const struct erg_pool *p) {
    int n = 0;
    for (uint32_t i = 0; i < p->workers_max; i++)
        n += p->workers[i].stage >= W_STARTING ||
             (p->workers[i].stage != W_NONE && !p->workers[i].stray);
    return n;
}

static struct erg_member_slot *slot_of(const struct worker *w) {
    return erg_table_slot(w->pool->table, w->member);
}

/* Does the slot still belong to it? (One that left in good order has given it back.) */
static int owns_slot(const struct worker *w) {
    struct erg_member_slot *slot = slot_of(w);
    return atomic_load(&slot->serial) == w->serial && atomic_load(&slot->phase) != ERG_M_FREE;
}

/* --- starting -------------------------------------------------------------------------------------------- */
static void forget(struct worker *w) {
    erg_watch_free(w->life);
    struct erg_pool *p = w->pool;
    uint32_t id = w->id;
    *w = (struct worker){.pool = p, .id = id, .pidfd = -1, .kill_at = NEVER};
    w->asked_task = w->killed_task = ERG_HANDLE_NONE;
    erg_pool_news(p);
}

void erg_crew_on_start_failed(struct worker *w, const char *why, int64_t now) {
    struct erg_pool *p = w->pool;
    if (owns_slot(w))
        erg_member_unreserve(p->table, w->member);
    erg_error_set(&p->failure, ERG_ELAUNCH, "%s", why);
    if (!w->stray)
        erg_sched_on_start_failed(p->sched, 0, w->id, now);
    forget(w);
}

static void start_one(struct erg_pool *p, int64_t now) {
    struct worker *w = NULL;
    for (uint32_t i = 0; i < p->workers_max && !w; i++)
        if (p->workers[i].stage == W_NONE)
            w = &p->workers[i];
    int rc =
        w ? erg_member_reserve(p->table, ERG_MEMBER_PROCESS, PROCESS_QUEUES, &w->member,
                               &p->failure)
          : erg_error_set(&p->failure, ERG_EFULL, "a pool has at most %u workers", p->workers_max);
    if (rc != 0) {
        erg_sched_on_start_failed(p->sched, 0, ERG_WORKER_NONE, now);
        return;
    }
    w->serial = atomic_load(&slot_of(w)->serial);
    w->stage = W_WANTED;
    w->order = ++p->engine->next_order;
    erg_sched_on_started(p->sched, 0, w->id);
}

void erg_crew_start(struct erg_pool *p, uint32_t count, int64_t now) {
    while (count-- > 0)
        start_one(p, now);
    erg_crew_send_orders(p, now);
}

void erg_crew_send_orders(struct erg_pool *p, int64_t now) {
    for (uint32_t i = 0; i < p->workers_max; i++) {
        struct worker *w = &p->workers[i];
        if (w->stage != W_WANTED)
            continue;
        struct erg_error err = {0};
        int rc = erg_nursery_order(p->zygote, w, &err);
        if (rc == 0) {
            w->stage = W_ORDERED;
            w->ordered_at = now;
        } else if (rc == ERG_EAGAIN) {
            if (p->due > now + 5 * MS)
                p->due = now + 5 * MS;
            return;
        } else
            erg_crew_on_start_failed(w, err.text, now);
    }
}

static void on_life(void *owner) {
    struct worker *w = owner;
    struct erg_engine *e = w->pool->engine;
    pthread_mutex_lock(&e->lock);
    erg_watch_free(w->life); /* it stays readable: once is enough */
    w->life = NULL;
    w->pidfd = -1;
    w->dead_at = (int64_t)erg_clock_ns();
    pthread_mutex_unlock(&e->lock);
    erg_engine_look(e);
}

void erg_crew_on_forked(struct worker *w, pid_t pid, int pidfd, int64_t now) {
    struct erg_pool *p = w->pool;
    w->pid = pid;
    w->stage = W_STARTING;
    if (pidfd <
        0) /* out of descriptors when it was passed: the zygote has not reaped it, the number is good */
        pidfd = erg_process_open(pid);
    if (pidfd >= 0)
        w->life = erg_watch_new(&p->engine->loop, pidfd, on_life, w);
    w->pidfd = w->life ? pidfd : -1;
    p->counts.workers_started++;
    if (p->state == P_LEAVING) /* it leaves as soon as it is up; but what if it never is? */
        w->kill_at = now + p->grace_ns + ERG_LEAVE_EXTRA_NS;
    if (w->stray || p->state == P_TERMINATING)
        erg_crew_kill(w, ERG_ASKED_NONE, ERG_HANDLE_NONE);
    if (w->up_early)
        erg_crew_on_up(w, now);
    erg_pool_news(p);
}

void erg_crew_on_up(struct worker *w, int64_t now) {
    struct erg_pool *p = w->pool;
    if (w->stage != W_STARTING) {
        w->up_early = w->stage < W_STARTING;
        return;
    }
    w->stage = W_UP;
    w->up_at = now;
    if (!w->stray)
        erg_sched_on_up(p->sched, w->id, now);
    if (!p->counts.first_up_ns)
        p->counts.first_up_ns = now - p->opened_at;
    if (p->state == P_LEAVING)
        erg_crew_stop(w);
    erg_pool_news(p);
}

/* --- asking, killing --------------------------------------------------------------------------------------- */
void erg_crew_stop(struct worker *w) {
    w->stop_asked = 1;
    erg_member_stop(w->pool->table, w->member);
}

static void signal_worker(const struct worker *w, int sig) {
    if (w->pidfd >= 0)
        erg_process_signal(w->pidfd, sig);
    else if (w->pid > 0 && !w->dead_at)
        kill(w->pid, sig);
}

void erg_crew_kill(struct worker *w, enum erg_asked why, erg_handle task) {
    w->killed = 1;
    w->killed_why = why;
    w->killed_task = task;
    signal_worker(w, SIGKILL);
}

/* --- the end ------------------------------------------------------------------------------------------------ */
struct ending {
    struct worker *w;
    int status;
    int lost;       /* tasks */
    int no_memory;  /* the kernel has killed somebody for that meanwhile */
    erg_handle top; /* what it was really running */
    char how[160];  /* "worker 3 (pid 1234) was killed by signal 9 (SIGKILL)" */
    int64_t now;
};

static void describe(struct ending *end) {
    const struct worker *w = end->w;
    struct erg_pool *p = w->pool;
    char text[64];
    const char *more = "";
    if (w->killed && w->killed_why == ERG_ASKED_WORKER)
        more = ", after it had been stopped for too long";
    else if (w->killed && w->killed_task != ERG_HANDLE_NONE)
        more = ", because a task in it would not stop when interrupted";
    else if (end->status == -1)
        more = " (the process it was forked from is gone too)";
    else if (WIFSIGNALED(end->status) && WTERMSIG(end->status) == SIGKILL && !w->killed) {
        uint64_t n = erg_cpu_oom_kills();
        end->no_memory = n > p->oom_kills;
        if (end->no_memory)
            more = ", probably by the kernel because memory ran out";
        p->oom_kills = n;
    }
    snprintf(end->how, sizeof end->how, "worker %u (pid %d) %s%s", w->member, (int)w->pid,
             erg_spawn_status_text(end->status, text, sizeof text), more);
}

/* Its innermost task: what it was really running. */
static erg_handle top_claim(const struct worker *w) {
    struct erg_member_slot *slot = slot_of(w);
    uint32_t depth = atomic_load(&slot->depth);
    for (uint32_t i = depth + 1; i-- > 0;) {
        erg_handle h = i < ERG_CLAIMS_MAX ? atomic_load(&slot->claims[i]) : ERG_HANDLE_NONE;
        if (h != ERG_HANDLE_NONE && erg_limits_runs(w->pool, w->member, h))
            return h;
    }
    return ERG_HANDLE_NONE;
}

static void fail_with(struct erg_pool *p, uint32_t index, enum erg_outcome outcome,
                      const char *text) {
    size_t len = strlen(text);
    unsigned char *to = erg_record_result_reserve(p->owner, index, len);
    if (to)
        memcpy(to, text, len);
    erg_record_fail(p->owner, index, outcome);
}

static void fail_lost(struct ending *end, uint32_t index, enum erg_verdict verdict,
                      uint32_t kills) {
    struct erg_pool *p = end->w->pool;
    char text[ERG_ERROR_TEXT_SIZE];
    switch (verdict) {
    case ERG_VERDICT_FAIL_TIMEOUT:
        snprintf(text, sizeof text,
                 "ran longer than the %.3g s it may, did not stop when interrupted, and was "
                 "killed with worker %u (pid %d)",
                 (double)erg_table_record(p->table, index)->timeout_ns / 1e9, end->w->member,
                 (int)end->w->pid);
        fail_with(p, index, ERG_OUT_TIMEOUT, text);
        return;
    case ERG_VERDICT_FAIL_CANCELLED:
        fail_with(p, index, ERG_OUT_CANCELLED, "was cancelled while it ran");
        return;
    case ERG_VERDICT_FAIL_KILLER:
        snprintf(text, sizeof text, "%s; so were %u workers before that ran this task", end->how,
                 kills > 0 ? kills - 1 : 0);
        break;
    default:
        snprintf(text, sizeof text, "%s", end->how);
    }
    fail_with(p, index, ERG_OUT_LOST, text);
}

/* How a verdict ends the task; ERG_OUT_NONE when it runs again. */
static enum erg_outcome outcome_of(enum erg_verdict verdict) {
    switch (verdict) {
    case ERG_VERDICT_RETRY:
        return ERG_OUT_NONE;
    case ERG_VERDICT_FAIL_TIMEOUT:
        return ERG_OUT_TIMEOUT;
    case ERG_VERDICT_FAIL_CANCELLED:
        return ERG_OUT_CANCELLED;
    default:
        return ERG_OUT_LOST;
    }
}

/* Signals that processes send each other, rather than what a process does to itself. */
static int from_outside(const struct ending *end) {
    int signal = end->status != -1 && WIFSIGNALED(end->status) ? WTERMSIG(end->status) : 0;
    return (signal == SIGKILL && !end->no_memory) || signal == SIGTERM || signal == SIGHUP ||
           signal == SIGINT;
}

static void on_lost(void *ctx, uint32_t index) {
    struct ending *end = ctx;
    struct worker *w = end->w;
    struct erg_pool *p = w->pool;
    struct erg_record *r = erg_table_record(p->table, index);
    uint64_t state = erg_record_state(r);
    erg_handle task = ERG_HANDLE(index, ERG_STATE_GEN(state));
    struct erg_loss loss = {.task = task,
                            .retries = r->retries,
                            .pure = r->kind == ERG_KIND_CALL && (r->first & ERG_CALL_ANEW),
                            .on_top = task == end->top,
                            .cancelled =
                                (state & ERG_STATE_CANCEL) != 0 || p->state == P_TERMINATING};
    if (r->kind == ERG_KIND_CALL && end->status != -1)
        r->first |= from_outside(end) ? ERG_CALL_KILLED : ERG_CALL_CRASHED;
    uint32_t kills = 0;
    enum erg_verdict verdict = erg_sched_on_lost(p->sched, w->id, &loss, &kills);
    end->lost++;
    p->counts.tasks_lost++;
    if (p->runtime->task_lost)
        p->runtime->task_lost(p->runtime->ctx, p, w->member, index, outcome_of(verdict));
    if (verdict != ERG_VERDICT_RETRY) {
        fail_lost(end, index, verdict, kills);
        return;
    }
    p->counts.tasks_retried++;
    if (r->retries > 0 && --r->retries == 0 && r->kind == ERG_KIND_CALL &&
        !(r->first & ERG_CALL_ANEW))
        r->first &= ~(uint32_t)ERG_CALL_STAYS; /* it could not be made again */
    erg_record_retry(p->owner, index);
}

/* What it held is given back or failed; its number is free again. */
static void recover(struct ending *end) {
    struct worker *w = end->w;
    struct erg_pool *p = w->pool;
    if (atomic_load(&slot_of(w)->phase) == ERG_M_RESERVED) {
        erg_member_unreserve(p->table, w->member);
        return;
    }
    end->top = top_claim(w);
    erg_table_recover(p->owner, w->member, on_lost, end);
}

/* By all its workers, those gone and `gone`, which was counted already, included. */
static uint64_t tasks_done(const struct erg_pool *p, const struct worker *gone) {
    uint64_t n = p->tasks_of_gone;
    for (uint32_t i = 0; i < p->workers_max; i++)
        if (p->workers[i].stage == W_UP && &p->workers[i] != gone)
            n += atomic_load(&slot_of(&p->workers[i])->tasks);
    return n;
}

static void tell_scheduler(const struct ending *end, int left_in_order) {
    struct worker *w = end->w;
    struct erg_pool *p = w->pool;
    struct erg_exit how = {.had_task = end->lost > 0, .place_tasks = tasks_done(p, w)};
    if (w->stage != W_UP) {
        erg_error_set(&p->failure, ERG_ELAUNCH, "%s before it was up%s%s", end->how,
                      w->unable[0] ? ": " : "", w->unable);
        erg_sched_on_start_failed(p->sched, 0, w->id, end->now);
        return;
    }
    if (left_in_order || w->stop_asked) {
        how.kind = p->state == P_LEAVING ? ERG_EXIT_IDLE : ERG_EXIT_ASKED;
    } else if (end->status == -1) {
        how.kind = ERG_EXIT_UNKNOWN;
    } else if (WIFSIGNALED(end->status)) {
        how.kind = ERG_EXIT_SIGNAL;
        how.value = WTERMSIG(end->status);
    } else {
        how.kind = ERG_EXIT_CODE;
        how.value = WEXITSTATUS(end->status);
    }
    if (how.kind > ERG_EXIT_IDLE) {
        erg_error_set(&p->failure, ERG_ELAUNCH, "%s", end->how);
        p->counts.workers_lost++;
    }
    erg_sched_on_gone(p->sched, w->id, &how, end->now);
}

void erg_crew_on_exited(struct worker *w, int status, int64_t now) {
    struct ending end = {.w = w, .status = status, .top = ERG_HANDLE_NONE, .now = now};
    int left_in_order = status == 0 && !owns_slot(w);
    describe(&end);
    if (atomic_load(&slot_of(w)->serial) == w->serial) /* nobody else has the number yet */
        w->pool->tasks_of_gone += atomic_load(&slot_of(w)->tasks);
    if (!left_in_order && owns_slot(w))
        recover(&end);
    if (!w->stray)
        tell_scheduler(&end, left_in_order);
    forget(w);
}

/* --- when the zygote is gone --------------------------------------------------------------------------------- */
void erg_crew_on_zygote_gone(struct erg_zygote *z, int was_ready, int64_t now) {
    for (struct erg_pool *p = z->engine->pools; p; p = p->next)
        for (uint32_t i = 0; p->zygote == z && i < p->workers_max; i++) {
            struct worker *w = &p->workers[i];
            if (w->stage != W_ORDERED && (w->stage != W_WANTED || was_ready))
                continue;
            if (!was_ready) {
                erg_crew_on_start_failed(w, z->failure.text, now);
                continue;
            }
            w->stage = W_LIMBO;
            w->ordered_at = now;
        }
}

/* Has one in limbo turned up, or is it time to give it up? */
static void look_in_limbo(struct worker *w, int64_t now) {
    struct erg_pool *p = w->pool;
    struct erg_member_slot *slot = slot_of(w);
    if (owns_slot(w) && atomic_load(&slot->phase) == ERG_M_UP) {
        w->up_early = 1;
        erg_crew_on_forked(w, atomic_load(&slot->pid), -1, now);
        return;
    }
    if (!w->stray && now - w->ordered_at > LIMBO_NS) {
        erg_error_set(&p->failure, ERG_ELAUNCH, "%s", p->zygote->failure.text);
        erg_sched_on_start_failed(p->sched, 0, w->id, now);
        w->stray = 1;
    }
    if (now - w->ordered_at > STRAY_NS || p->state == P_DOWN)
        erg_crew_on_start_failed(w, p->failure.text, now);
    else if (p->due > now + 50 * MS)
        p->due = now + 50 * MS;
}

static void look_at(struct worker *w, int64_t now) {
    struct erg_pool *p = w->pool;
    int zygote_gone = erg_nursery_left(p->zygote, w);
    if (w->stage == W_LIMBO)
        look_in_limbo(w, now);
    /* With the zygote it was forked from, its voice is gone: look at the table instead. */
    else if (w->stage == W_STARTING && zygote_gone && owns_slot(w) &&
             atomic_load(&slot_of(w)->phase) == ERG_M_UP)
        erg_crew_on_up(w, now);
    if (w->stage < W_STARTING)
        return;
    if (w->dead_at && (zygote_gone || now - w->dead_at > STATUS_WAIT_NS)) {
        erg_crew_on_exited(w, -1, now);
        return;
    }
    if (w->dead_at && p->due > w->dead_at + STATUS_WAIT_NS)
        p->due = w->dead_at + STATUS_WAIT_NS + MS;
    if (now >= w->kill_at) {
        w->kill_at = NEVER;
        erg_crew_kill(w, ERG_ASKED_NONE, ERG_HANDLE_NONE);
    }
    if (p->due > w->kill_at)
        p->due = w->kill_at;
}

void erg_crew_look(struct erg_pool *p, int64_t now) {
    for (uint32_t i = 0; i < p->workers_max; i++)
        if (p->workers[i].stage >= W_ORDERED)
            look_at(&p->workers[i], now);
}
