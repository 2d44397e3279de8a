/* Tasks that shall end before they are done, and workers that stand still.
 *
 * A worker is killed for the sake of one task, and the next one it takes must not suffer for it. Between looking
 * and killing the worker could go on; so it is stopped first, looked at while it cannot move, and then killed or
 * let go. */
#include "engine/private.h"
#include "os/clock.h"
#include "os/process.h"
#include "table/record.h"
#include "table/ring.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { STOP_TRIES = 40, STOP_PAUSE_NS = 250 * 1000 };
#define STOP_ITSELF_NS (20 * MS) /* what a thread is given to come to its next step */

char erg_limits_process_state(pid_t pid) {
    char path[32], text[256];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = '\0';
    const char *end = strrchr(text, ')'); /* the name before it may contain anything */
    return end && end[1] == ' ' ? end[2] : 0;
}

int erg_limits_runs(const struct erg_pool *p, uint32_t member, erg_handle task) {
    uint64_t s = erg_record_state(erg_table_record(p->table, ERG_HANDLE_INDEX(task)));
    return ERG_STATE_GEN(s) == ERG_HANDLE_GEN(task) && ERG_STATE_PHASE(s) == ERG_RUNNING &&
           ERG_STATE_RUNNER(s) == member;
}

/* --- interrupting ------------------------------------------------------------------------------------------ */
void erg_limits_interrupt(struct worker *w, erg_handle task) {
    struct erg_pool *p = w->pool;
    atomic_store(&erg_table_slot(p->table, w->member)->cancel, task);
    p->counts.tasks_interrupted++;
    if (w->pidfd >= 0)
        erg_process_signal(w->pidfd, ERG_INTERRUPT_SIGNAL);
}

static void ask(struct worker *w, erg_handle task, enum erg_asked why, int64_t now) {
    if (w->asked_task != ERG_HANDLE_NONE)
        return; /* one at a time: the next is found by the next look */
    w->asked_task = task;
    w->asked_why = why;
    erg_sched_on_interrupt(w->pool->sched, w->id, task, why, now);
}

static void forget_what_is_over(struct erg_pool *p) {
    for (uint32_t i = 0; i < p->workers_max; i++) {
        struct worker *w = &p->workers[i];
        if (w->stage != W_UP || w->asked_task == ERG_HANDLE_NONE ||
            erg_limits_runs(p, w->member, w->asked_task))
            continue;
        erg_sched_on_task_over(p->sched, w->id, w->asked_task);
        w->asked_task = ERG_HANDLE_NONE;
    }
}

/* 1: the process does not move any more. */
static int stop_process(const struct worker *w) {
    if (w->pidfd < 0 || erg_process_signal(w->pidfd, SIGSTOP) != 0)
        return 0;
    for (int i = 0; i < STOP_TRIES; i++) {
        char state = erg_limits_process_state(w->pid);
        if (state == 'T' || state == 't' || state == 'Z' || state == 'X' || state == 0)
            return 1;
        nanosleep(&(struct timespec){.tv_nsec = STOP_PAUSE_NS}, NULL);
    }
    return 0; /* hangs in the kernel: it will take no other task either */
}

void erg_limits_kill(struct worker *w, enum erg_asked why, erg_handle task) {
    struct erg_pool *p = w->pool;
    int for_a_task = why == ERG_ASKED_TIMEOUT || why == ERG_ASKED_CANCEL;
    if (for_a_task && stop_process(w) && !erg_limits_runs(p, w->member, task)) {
        /* It came to an end this very moment. The scheduler thinks of the worker as dead: have it leave instead. */
        erg_process_signal(w->pidfd, SIGCONT);
        w->asked_task = ERG_HANDLE_NONE;
        erg_crew_stop(w);
        return;
    }
    erg_crew_kill(w, why, for_a_task ? task : ERG_HANDLE_NONE);
}

/* --- requests and time limits -------------------------------------------------------------------------------- */
static void take_requests(struct erg_pool *p, int64_t now) {
    size_t kept = 0;
    for (size_t i = 0; i < p->requests_len; i++) {
        struct interrupt_request r = p->requests[i];
        struct worker *w = erg_crew_by_member(p, r.member);
        if (!w || !erg_limits_runs(p, r.member, r.task))
            continue;
        if (w->asked_task == ERG_HANDLE_NONE)
            ask(w, r.task, ERG_ASKED_CANCEL, now);
        else if (w->asked_task != r.task)
            p->requests[kept++] = r;
    }
    p->requests_len = kept;
    if (kept > 0 && p->due > now + 50 * MS)
        p->due = now + 50 * MS;
}

/* A worker thread's task: the runtime is asked, outside the lock. It is asked once. */
static void interrupt_thread(struct erg_pool *p, struct thread_worker *t, erg_handle task) {
    const struct erg_runtime *r = p->runtime;
    if (t->asked_task == task || !r->interrupt_thread)
        return;
    t->asked_task = task;
    uint32_t member = t->member;
    atomic_store(&erg_table_slot(p->table, member)->cancel, task);
    p->counts.tasks_interrupted++;
    p->callbacks++;
    pthread_mutex_unlock(&p->engine->lock);
    r->interrupt_thread(r->ctx, p, member, task);
    pthread_mutex_lock(&p->engine->lock);
    p->callbacks--;
    erg_pool_news(p);
}

/* The task's time is over since `limit`. Returns when to look at it again. A thread that is asked stops at its next
 * step, unless it sits in a library's code: then it is waited for no more. */
static int64_t time_over(struct erg_pool *p, uint32_t member, erg_handle task, int64_t limit,
                         int64_t now) {
    struct worker *w = erg_crew_by_member(p, member);
    if (w) {
        ask(w, task, ERG_ASKED_TIMEOUT, now);
        return NEVER;
    }
    struct thread_worker *t = erg_threads_by_member(p, member);
    if (!t || erg_record_overdue(p->table, task))
        return NEVER;
    /* Of two tasks, one inside the other, each would be asked in turn. */
    if (p->drops_late && (t->asked_task == task || now > limit + 10 * STOP_ITSELF_NS)) {
        erg_record_set_overdue(p->janitor, task, member);
        return NEVER;
    }
    interrupt_thread(p, t, task);
    return p->drops_late ? now + STOP_ITSELF_NS : NEVER;
}

/* When the task has to be over; NEVER without a limit. The record may become another task's while it is read: whoever
 * asks looks again afterwards whether it was the same all the time, and throws the answer away if not. */
__attribute__((noinline, no_sanitize("thread"))) static int64_t
limit_of(const struct erg_record *r) {
    uint64_t allowed = __atomic_load_n(&r->timeout_ns, __ATOMIC_ACQUIRE);
    uint64_t start = __atomic_load_n(&r->start_ns, __ATOMIC_ACQUIRE);
    if (allowed == 0 || allowed > INT64_MAX / 2) /* or held: see ERG_TIMEOUT_HELD */
        return NEVER;
    return start ? (int64_t)(start + allowed) : NEVER; /* 0: claimed this very moment */
}

/* Looks at what a member runs; returns when the first limit of what is not over yet is due. *busy: it runs something. */
static int64_t check_member(struct erg_pool *p, uint32_t member, int64_t now, int *busy) {
    struct erg_member_slot *slot = erg_table_slot(p->table, member);
    int64_t next = NEVER;
    if (atomic_load(&slot->phase) != ERG_M_UP)
        return NEVER;
    uint32_t depth = atomic_load(&slot->depth);
    for (uint32_t i = 0; i < depth && i < ERG_CLAIMS_MAX; i++) {
        erg_handle task = atomic_load(&slot->claims[i]);
        if (task == ERG_HANDLE_NONE || !erg_limits_runs(p, member, task))
            continue;
        *busy = 1;
        int64_t at = limit_of(erg_table_record(p->table, ERG_HANDLE_INDEX(task)));
        if (at == NEVER)
            continue;
        if (!erg_limits_runs(p, member, task))
            continue; /* what was read may be another task's */
        if (at <= now)
            at = time_over(p, member, task, at, now);
        if (at < next)
            next = at;
    }
    return next;
}

/* A task that begins right after a look is over at the earliest its own limit later: so nothing is missed by looking
 * again after the least limit in use. With nothing running there is nothing to miss, except what begins: then once a
 * second is enough, since whoever enters a task with a limit makes the loop look (erg_pool_expect_timeout). */
static void check_timeouts(struct erg_pool *p, int64_t now) {
    uint64_t least = atomic_load(&p->least_timeout_ns);
    if (least == UINT64_MAX) {
        atomic_store(&p->dozing, 1);
        return;
    }
    if (now >= p->timeouts_at) {
        int busy = 0;
        int64_t next = now + (least > (uint64_t)SECOND ? SECOND : (int64_t)least);
        uint32_t top = atomic_load(&p->table->header->members_top);
        for (uint32_t m = 1; m < top; m++) {
            int64_t at = check_member(p, m, now, &busy);
            next = at < next ? at : next;
        }
        int waiting = 0;
        for (int q = 0; q < ERG_QUEUES; q++)
            waiting |= erg_ring_len(&p->table->header->ready[q]) > 0;
        p->idle_looks = busy || waiting ? 0 : p->idle_looks + 1;
        atomic_store(&p->dozing, p->idle_looks > 3);
        if (p->idle_looks > 3)
            next = now + SECOND;
        p->timeouts_at = next > now + MS ? next : now + MS;
    }
    if (p->due > p->timeouts_at)
        p->due = p->timeouts_at;
}

/* --- workers that stand still ---------------------------------------------------------------------------------- */
static void probe(struct erg_pool *p, int64_t now) {
    if (p->due > p->probe_at && now < p->probe_at)
        p->due = p->probe_at;
    if (now < p->probe_at)
        return;
    p->probe_at = now + SECOND;
    if (p->due > p->probe_at)
        p->due = p->probe_at;
    for (uint32_t i = 0; i < p->workers_max; i++) {
        struct worker *w = &p->workers[i];
        if (w->stage != W_UP || w->dead_at)
            continue;
        char state = erg_limits_process_state(w->pid);
        w->stopped = state == 'T'; /* not 't': a debugger may take its time */
        erg_sched_on_probe(p->sched, w->id, w->stopped);
    }
    /* A wake-up may have gone to a worker that was stopped before it could take the task. */
    for (int q = 0; q < ERG_QUEUES; q++)
        if (erg_ring_len(&p->table->header->ready[q]) > 0) {
            erg_member_wake_all(p->table);
            break;
        }
}

void erg_limits_look(struct erg_pool *p, int64_t now) {
    forget_what_is_over(p);
    take_requests(p, now);
    check_timeouts(p, now);
    probe(p, now);
}
