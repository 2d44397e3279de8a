/* Looking after one pool: everything the loop does for it, done after every event.
 *
 *     OPEN ── close ──> CLOSING ── nothing left to run ──> LEAVING ── all workers gone ──> DOWN
 *       \                   \                                 \                             ^
 *        └──────────────────── terminate ──────────────────────┴──> TERMINATING ── gone ────┘
 *
 * DOWN ── restart ──> OPEN. Breaking (no worker process comes up) is not a state: tasks nobody can run any more are
 * failed, now and as they come, until the pool is closed. */
#include "engine/private.h"
#include "os/clock.h"
#include "os/futex.h"
#include "os/process.h"
#include "table/claim.h"
#include "table/record.h"
#include "table/ring.h"

#include <limits.h>
#include <signal.h>
#include <string.h>

#define ALL_QUEUES ((uint32_t)(((uint64_t)1 << ERG_QUEUES) - 1))
#define TERMINATE_EXTRA_NS (3 * SECOND) /* for the kernel to end what was killed */
enum { DRAIN_BATCH = 20000 };

void erg_pool_news(struct erg_pool *p) {
    atomic_fetch_add(&p->news, 1);
    erg_futex_wake(&p->news, INT_MAX);
}

void erg_pool_set_state(struct erg_pool *p, enum pool_state state, int64_t now) {
    p->state = state;
    p->state_at = now;
    p->quiet_tasks = UINT64_MAX;
    if (state == P_CLOSING || state == P_TERMINATING)
        atomic_store(&p->gate, ERG_ECLOSED);
    erg_pool_news(p);
}

/* --- tasks nobody will run ------------------------------------------------------------------------------------- */
static void due_at(struct erg_pool *p, int64_t at) {
    if (p->due > at)
        p->due = at;
}

static void serve_queues(struct erg_pool *p, uint32_t queues) {
    p->janitor->queues = queues;
    atomic_store(&p->janitor->slot->queues, queues);
}

int erg_pool_drain(struct erg_pool *p, uint32_t queues, enum erg_outcome outcome,
                   const char *text) {
    uint32_t index;
    size_t len = strlen(text);
    int n = 0;
    serve_queues(p, queues);
    while (n < DRAIN_BATCH && erg_claim_next(p->janitor, &index) == 1) {
        unsigned char *to = erg_record_result_reserve(p->janitor, index, len);
        if (to)
            memcpy(to, text, len);
        erg_claim_finish(p->janitor, index, outcome);
        n++;
    }
    serve_queues(p, 0);
    return n == DRAIN_BATCH;
}

static void drain_broken(struct erg_pool *p, int64_t now) {
    if (!p->broken || p->state > P_CLOSING || (p->remote && !p->places_broken))
        return;
    /* With threads about, only what nobody but a process may run is lost. */
    uint32_t queues = p->threads_len > 0 ? ERG_QUEUE_BIT(ERG_QUEUE_PROCESS) : ALL_QUEUES;
    int more = erg_pool_drain(p, queues, ERG_OUT_LOST, p->failure.text);
    due_at(p, more ? now : now + 100 * MS);
}

/* --- the scheduler's actions ------------------------------------------------------------------------------------ */
static void on_kill(struct erg_pool *p, struct worker *w, const struct erg_action *a, int64_t now) {
    if (p->state != P_TERMINATING) {
        erg_limits_kill(w, a->why, a->task);
        return;
    }
    w->kill_at = now + p->grace_ns;
    if (w->pidfd >= 0)
        erg_process_signal(w->pidfd, SIGTERM);
    if (w->stopped || w->pidfd < 0)
        w->kill_at = now;
}

/* Hosts that were there were lost; otherwise nothing came up at all. What the tasks' callers hear, and those of later
 * tasks, is the same. */
int erg_pool_broken_code(const struct erg_pool *p) {
    return p->places_broken && p->places_were_up ? ERG_ELOST : ERG_ELAUNCH;
}

static void break_pool(struct erg_pool *p) {
    p->broken = 1;
    if (p->threads_len == 0 && (!p->remote || p->places_broken) && p->state == P_OPEN)
        atomic_store(&p->gate, erg_pool_broken_code(p));
    erg_pool_news(p);
}

/* A host that was lost is there again. */
static void mend_pool(struct erg_pool *p) {
    p->places_broken = 0;
    if (p->want_processes == 0)
        p->broken = 0;
    int expected = ERG_ELOST;
    if (!atomic_compare_exchange_strong(&p->gate, &expected, 0) && expected == ERG_ELAUNCH)
        atomic_compare_exchange_strong(&p->gate, &expected, 0);
    erg_pool_news(p);
}

/* Places that came up are news; when none is left and nobody else works for the pool, it is broken. */
static void look_at_places(struct erg_pool *p, int64_t now) {
    int starting;
    if (!p->remote || p->state > P_CLOSING)
        return;
    int up = erg_remote_up(p->remote, &starting);
    if (up > 0 && p->places_broken)
        mend_pool(p);
    p->places_were_up |= erg_remote_was_up(p->remote);
    if (up != p->places_up) {
        if (up > 0 && !p->counts.first_up_ns)
            p->counts.first_up_ns = now - p->opened_at;
        p->places_up = up;
        erg_pool_news(p);
    }
    int others =
        (p->want_threads > 0 && !erg_threads_broken(p)) || (p->want_processes > 0 && !p->broken);
    char text[ERG_ERROR_TEXT_SIZE];
    if (up == 0 && starting == 0 && !others && !p->places_broken) {
        erg_error_set(&p->failure, ERG_ELAUNCH, "%s",
                      erg_remote_failures(p->remote, text, sizeof text));
        p->places_broken = 1;
        break_pool(p);
    }
    uint32_t dead = erg_remote_dead_queues(p->remote);
    if (dead &&
        erg_pool_drain(p, dead, ERG_OUT_LOST, erg_remote_failures(p->remote, text, sizeof text)))
        due_at(p, now);
    if (dead)
        due_at(p, now + 100 * MS);
}

/* Threads that cannot be set up run nothing: who asked for a thread is told, and without other workers everybody is. */
static void look_at_threads(struct erg_pool *p, int64_t now) {
    if (p->state > P_CLOSING)
        return;
    erg_threads_reap(p);
    if (!erg_threads_broken(p))
        return;
    int others = (p->want_processes > 0 && !p->broken) || (p->remote && !p->places_broken);
    if (!others && (!p->broken || (p->state == P_OPEN && atomic_load(&p->gate) == 0)))
        break_pool(p);
    int more = erg_pool_drain(p, ERG_QUEUE_BIT(ERG_QUEUE_THREAD), ERG_OUT_LOST, p->failure.text);
    due_at(p, more ? now : now + 100 * MS);
}

static void apply(struct erg_pool *p, const struct erg_action *a, int64_t now) {
    struct worker *w = a->worker < p->workers_max ? &p->workers[a->worker] : NULL;
    switch (a->kind) {
    case ERG_ACT_START:
        erg_crew_start(p, a->count, now);
        break;
    case ERG_ACT_STOP:
        erg_crew_stop(w);
        break;
    case ERG_ACT_INTERRUPT:
        if (w->asked_task == a->task)
            erg_limits_interrupt(w, a->task);
        break;
    case ERG_ACT_KILL:
        on_kill(p, w, a, now);
        break;
    case ERG_ACT_BREAK_PLACE:
    case ERG_ACT_BREAK_POOL:
        break_pool(p);
        break;
    case ERG_ACT_WAKE_AT:
        p->sched_at = a->at;
        break;
    }
}

static void ask_scheduler(struct erg_pool *p, int64_t now) {
    struct erg_action action;
    if (p->sched_at <= now)
        p->sched_at = NEVER; /* this is the wake-up it wished for */
    erg_sched_tick(p->sched, now);
    while (erg_sched_next(p->sched, now, &action))
        apply(p, &action, now);
    due_at(p, p->sched_at);
}

/* --- closing ---------------------------------------------------------------------------------------------------- */
/* Is a member idle? Not inside a task, nor about to be: it notes what it takes out of a ring before it takes it, and is
 * counted inside only some steps later. */
static int is_idle(const struct erg_pool *p, const struct erg_member_slot *s) {
    if (atomic_load(&s->depth) != 0 || atomic_load(&s->next) != ERG_HANDLE_NONE ||
        (uint32_t)atomic_load(&s->releasing) != ERG_NIL)
        return 0;
    erg_handle noted = atomic_load(&s->claims[0]);
    if (noted == ERG_HANDLE_NONE)
        return 1;
    uint64_t state = erg_record_state(erg_table_record(p->table, ERG_HANDLE_INDEX(noted)));
    enum erg_record_phase phase = ERG_STATE_PHASE(state);
    return ERG_STATE_GEN(state) != ERG_HANDLE_GEN(noted) ||
           (phase != ERG_READY && phase != ERG_RUNNING);
}

static int rings_are_empty(const struct erg_pool *p) {
    for (int q = 0; q < ERG_QUEUES; q++)
        if (erg_ring_len(&p->table->header->ready[q]) > 0)
            return 0;
    return 1;
}

/* Is nothing running, ready or about to be? One look cannot tell, since a task may move from a place not looked at yet to
 * one looked at already. It is so if two looks find everybody idle and no task has been finished in between. */
static int is_quiet(struct erg_pool *p) {
    uint64_t tasks = p->tasks_of_gone;
    uint32_t top = atomic_load(&p->table->header->members_top);
    int quiet = rings_are_empty(p);
    if (p->remote) {
        quiet &= erg_remote_leased(p->remote) == 0 && erg_remote_bring_home(p->remote) == 0;
        tasks += erg_remote_finished(p->remote);
    }
    for (uint32_t m = 0; m < top; m++) {
        struct erg_member_slot *s = erg_table_slot(p->table, m);
        tasks += atomic_load(&s->tasks);
        if (atomic_load(&s->phase) >= ERG_M_UP)
            quiet &= is_idle(p, s);
    }
    quiet &= rings_are_empty(p);
    int again = quiet && p->quiet_tasks == tasks;
    p->quiet_tasks = quiet ? tasks : UINT64_MAX;
    return again;
}

static void close_down(struct erg_pool *p, int64_t now) {
    if (!is_quiet(p) && !is_quiet(p)) {
        due_at(p, now + (now - p->state_at < 100 * MS ? MS : 10 * MS));
        return;
    }
    atomic_store(&p->table->header->closed, 1);
    erg_pool_set_state(p, P_LEAVING, now);
    for (uint32_t i = 0; i < p->workers_max; i++) {
        struct worker *w = &p->workers[i];
        if (w->stage == W_UP)
            erg_crew_stop(w);
        if (w->stage >= W_STARTING)
            w->kill_at = now + p->grace_ns + ERG_LEAVE_EXTRA_NS;
    }
    erg_threads_stop(p, 0);
    erg_sched_resize(p->sched, 0, 0);
    if (p->remote)
        erg_remote_stop(p->remote, 0);
}

/* Has everything elsewhere ended? */
static int remote_is_down(const struct erg_pool *p) {
    return !p->remote || erg_remote_down(p->remote);
}

static void abandon(struct erg_pool *p) {
    for (uint32_t i = 0; i < p->workers_max; i++) {
        struct worker *w = &p->workers[i];
        erg_watch_free(w->life);
        *w = (struct worker){.pool = p, .id = i, .pidfd = -1, .kill_at = NEVER};
        w->asked_task = w->killed_task = ERG_HANDLE_NONE;
    }
}

static void terminate(struct erg_pool *p, int64_t now) {
    int more = erg_pool_drain(p, ALL_QUEUES, ERG_OUT_CANCELLED, "the pool was terminated");
    if (more)
        due_at(p, now);
    int processes = erg_crew_size(p), threads = erg_threads_reap(p);
    int late = now - p->state_at > p->grace_ns + TERMINATE_EXTRA_NS;
    if (!more && ((processes == 0 && threads == 0 && remote_is_down(p)) || late)) {
        abandon(p);
        erg_threads_give_up(p);
        erg_pool_drain(p, ALL_QUEUES, ERG_OUT_CANCELLED, "the pool was terminated");
        erg_pool_set_state(p, P_DOWN, now);
        return;
    }
    due_at(p, now + (threads > 0 ? 5 * MS : 50 * MS));
}

static void advance(struct erg_pool *p, int64_t now) {
    switch (p->state) {
    case P_OPEN:
        break;
    case P_CLOSING:
        close_down(p, now);
        break;
    case P_LEAVING:
        if (now - p->state_at > p->grace_ns + ERG_LEAVE_EXTRA_NS && erg_threads_unborn(p))
            erg_threads_leave_behind(p);
        if (erg_crew_size(p) == 0 && erg_threads_reap(p) == 0 && remote_is_down(p))
            erg_pool_set_state(p, P_DOWN, now);
        else
            due_at(p, now + (p->threads_len > 0 ? 5 * MS : 100 * MS));
        break;
    case P_TERMINATING:
        terminate(p, now);
        break;
    case P_DOWN:
        break;
    }
}

void erg_tend(struct erg_pool *p, int64_t now) {
    p->due = NEVER;
    if (p->state != P_DOWN) {
        erg_limits_look(p, now);
        erg_crew_look(p, now);
        ask_scheduler(p, now);
        erg_crew_send_orders(p, now);
        look_at_threads(p, now);
        look_at_places(p, now);
        drain_broken(p, now);
    }
    advance(p, now);
    ask_scheduler(p, now);
}

void erg_tend_all(struct erg_engine *e) {
    struct erg_pool *next;
    for (struct erg_pool *p = e->pools; p; p = next) {
        p->callbacks++; /* stays in the list while we are with it */
        erg_tend(p, (int64_t)erg_clock_ns());
        p->callbacks--;
        next = p->next;
    }
}
