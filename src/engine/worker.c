/* A worker's loop. While there is work it makes no system call and leaves the runtime's lock alone; only when
 * nothing is there does it let go (idle_enter) and wait. */
#include "engine/worker.h"
#include "engine/forks.h"
#include "os/clock.h"
#include "table/arena.h"
#include "table/claim.h"
#include "table/member.h"
#include "table/record.h"
#include "table/table.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Longer than a sleep and a wake-up take together: two sides that once missed each other would keep missing. */
#define SPIN_NS 200000
#define LOOK_UP_NS 500000000 /* should_leave() is asked so often while idle */
#define HELP_SLICE_MIN_NS 50000
#define HELP_SLICE_MAX_NS 2000000
#define HELP_DEEP 16 /* tasks one inside of the other */

static int asked_to_leave(struct erg_member *m, const struct erg_worker_ops *ops, void *ctx) {
    return atomic_load_explicit(&m->slot->stop, memory_order_relaxed) ||
           (ops->should_leave && ops->should_leave(ctx));
}

/* 1: a task; 0: leave; else look around and wait again. */
static int wait_for_task(struct erg_member *m, uint32_t *index, const struct erg_worker_ops *ops,
                         void *ctx) {
    if (ops->idle_enter)
        ops->idle_enter(ctx);
    int rc = erg_claim_wait(m, index, SPIN_NS, ops->should_leave ? LOOK_UP_NS : ERG_TRIM_IDLE_NS);
    if (rc == ERG_ETIMEOUT && !ops->should_leave) {
        erg_arena_trim(m, ERG_TRIM_KEEP_BYTES);
        rc = erg_claim_wait(m, index, 0, -1);
    }
    if (ops->idle_leave)
        ops->idle_leave(ctx);
    return rc;
}

int erg_worker_loop(struct erg_member *m, uint64_t max_tasks, const struct erg_worker_ops *ops,
                    void *ctx) {
    uint64_t done = 0;
    while (!asked_to_leave(m, ops, ctx)) {
        uint32_t index;
        int rc = erg_claim_next(m, &index);
        if (rc == 0)
            rc = wait_for_task(m, &index, ops, ctx);
        if (rc == ERG_ETIMEOUT || rc == ERG_EINTR)
            continue;
        if (rc != 1)
            return 0; /* told to leave, or this is a forked child in which the table is dead */
        if (ops->run(ctx, m, index) != 0 || ++done == max_tasks)
            return 1;
    }
    return 0;
}

/* Something to run while `task` is waited for: anything, as long as that does not pile up. A worker deep inside of tasks runs
 * only the one it waits for: that one's own come next, and what recurs ends where its recursion does. Who waits for a task that
 * somebody else runs gets it, because that one can go on in the same way. What has predecessors needs those first,
 * whichever they are, and what only others may run needs them to get on. */
static int claim_while_waiting(struct erg_member *m, erg_handle task, uint32_t *index) {
    uint32_t depth = atomic_load_explicit(&m->slot->depth, memory_order_relaxed);
    struct erg_record *r = &m->table->records[ERG_HANDLE_INDEX(task)];
    enum erg_record_phase phase = erg_record_phase(r);
    int ours = m->queues & ERG_QUEUE_BIT(r->queue % ERG_QUEUES);
    if (depth < HELP_DEEP || phase == ERG_WAITING || (phase == ERG_READY && !ours))
        return erg_claim_next(m, index);
    return erg_claim_this(m, task, index);
}

int erg_worker_is_full(const struct erg_member *m, erg_handle task) {
    const struct erg_record *r = &m->table->records[ERG_HANDLE_INDEX(task)];
    return atomic_load_explicit(&m->slot->depth, memory_order_relaxed) >= ERG_CLAIMS_MAX &&
           erg_record_phase(r) < ERG_RUNNING && m->queues & ERG_QUEUE_BIT(r->queue % ERG_QUEUES);
}

static int help(struct erg_member *m, erg_handle task, int64_t timeout_ns,
                const struct erg_worker_ops *ops, void *ctx) {
    int64_t end = timeout_ns < 0 ? INT64_MAX : (int64_t)erg_clock_ns() + timeout_ns;
    int64_t slice = HELP_SLICE_MIN_NS;
    while (!erg_record_done(m->table, task) && !erg_record_overdue(m->table, task)) {
        uint32_t index;
        erg_worker_waits(m, ERG_WAITS_NOT); /* first: what is claimed runs, from that moment on */
        if (claim_while_waiting(m, task, &index) == 1) {
            ops->run(ctx, m, index);
            slice = HELP_SLICE_MIN_NS;
            continue;
        }
        erg_worker_waits(m, ERG_WAITS_HELPING);
        int64_t left = end - (int64_t)erg_clock_ns();
        if (left <= 0)
            return ERG_ETIMEOUT;
        if (ops->idle_enter)
            ops->idle_enter(ctx);
        int rc = erg_record_wait(m, task, left < slice ? left : slice);
        if (ops->idle_leave)
            ops->idle_leave(ctx);
        if (rc == ERG_EINTR || rc == ERG_ECLOSED)
            return rc;
        slice = slice * 2 < HELP_SLICE_MAX_NS ? slice * 2 : HELP_SLICE_MAX_NS;
    }
    return 0;
}

void erg_worker_waits(struct erg_member *m, uint32_t what) {
    atomic_store_explicit(&m->slot->waits, what, memory_order_release);
}

int erg_worker_help(struct erg_member *m, erg_handle task, int64_t timeout_ns,
                    const struct erg_worker_ops *ops, void *ctx) {
    int rc = help(m, task, timeout_ns, ops, ctx);
    erg_worker_waits(m, ERG_WAITS_NOT);
    return rc;
}

static uint64_t tasks_ended(const struct erg_table *t) {
    uint32_t top = atomic_load_explicit(&t->header->members_top, memory_order_acquire);
    uint64_t n = 0;
    for (uint32_t i = 0; i < top; i++)
        n += atomic_load_explicit(&erg_table_slot(t, i)->tasks, memory_order_acquire);
    return n;
}

/* One look from end to end; what moves meanwhile may be missed. */
static int some_may_end(const struct erg_table *t) {
    uint32_t top = atomic_load_explicit(&t->header->members_top, memory_order_acquire);
    uint32_t used = atomic_load_explicit(&t->header->records_used, memory_order_acquire);
    uint32_t served = 0;
    for (uint32_t i = 0; i < top; i++) {
        struct erg_member_slot *slot = erg_table_slot(t, i);
        uint32_t phase = atomic_load_explicit(&slot->phase, memory_order_acquire);
        if ((phase == ERG_M_UP || phase == ERG_M_RESERVED) &&
            atomic_load_explicit(&slot->waits, memory_order_acquire) != ERG_WAITS_FOR_ROOM)
            served |= atomic_load_explicit(&slot->queues, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < used; i++) {
        struct erg_record *r = erg_table_record(t, i);
        uint64_t s = erg_record_state(r);
        struct erg_member_slot *runner = erg_table_slot(t, ERG_STATE_RUNNER(s));
        if (ERG_STATE_PHASE(s) == ERG_RUNNING
                ? atomic_load_explicit(&runner->waits, memory_order_acquire) == ERG_WAITS_NOT
                : ERG_STATE_PHASE(s) == ERG_READY &&
                      (served & ERG_QUEUE_BIT(r->queue % ERG_QUEUES)))
            return 1;
    }
    return 0;
}

int erg_worker_progress(struct erg_table *t) {
    uint64_t before = tasks_ended(t);
    return some_may_end(t) || some_may_end(t) || tasks_ended(t) != before;
}

/* --- worker processes ------------------------------------------------------------------------------------------ */
/* When memory runs out, a worker should go before the program it works for. */
static void volunteer_for_oom(void) {
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    char text[16] = "";
    int now = 0;
    if (fd < 0)
        return;
    ssize_t n = read(fd, text, sizeof text - 1);
    if (n > 0 && sscanf(text, "%d", &now) == 1 && now < 1000) {
        n = snprintf(text, sizeof text, "%d", now + 300 < 1000 ? now + 300 : 1000);
        if (pwrite(fd, text, (size_t)n, 0) < 0)
            now = 0; /* not allowed to: nothing that matters */
    }
    close(fd);
}

static void table_in_child(void *ctx) {
    erg_table_fork_child(ctx);
}

static int serve(struct erg_worker_start *start, struct erg_member *m,
                 const struct erg_worker_ops *ops, void *ctx, struct erg_error *err) {
    int rc = ops->setup ? ops->setup(ctx, m, err) : 0;
    if (rc != 0)
        return rc;
    erg_worker_report(start, NULL);
    erg_worker_loop(m, start->max_tasks, ops, ctx);
    if (ops->teardown)
        ops->teardown(ctx, m);
    return 0;
}

int erg_worker_process_main(const struct erg_worker_start *given, const struct erg_worker_ops *ops,
                            void *ctx) {
    struct erg_worker_start start = *given;
    struct erg_error err = {.text = "cannot watch its owner"};
    struct erg_table *table = NULL;
    struct erg_member *m = NULL;
    volunteer_for_oom();
    close(start.bell_fd);
    int rc = erg_worker_watch_owner(start.owner_pidfd);
    if (rc == 0)
        rc = erg_table_attach(start.table_fd, &table, &err);
    close(start.table_fd);
    struct erg_fork_entry forks = {.child = table_in_child, .ctx = table};
    if (rc == 0)
        rc = erg_forks_add(&forks);
    if (rc == 0) {
        rc = erg_member_open(table, start.member, &m, &err);
        if (rc == 0)
            rc = serve(&start, m, ops, ctx, &err);
        if (m)
            erg_member_close(m);
        erg_forks_remove(&forks);
    }
    if (rc != 0)
        erg_worker_report(&start, err.text[0] ? err.text : erg_strerror(rc));
    if (table)
        erg_table_close(table);
    return rc == 0 ? 0 : 1;
}
