/* Workers die at every single step; nobody else may notice more than the task that was running. Each case: a table, a
 * graph of tasks, a worker process that is killed when it passes a given point for the n-th time, recovery, and a second
 * worker that finishes. Afterwards every task is done, none ran twice unless it was reported lost, and every record and
 * every block of the arena is free again. */
#include "os/clock.h"
#include "os/shm.h"
#include "table/payload.h"
#include "table/rig.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS = 40, RECORDS = 400, SUBMITTED = 6 };

static const char *const points[] = {
    "claim-noted",  "claim-taken",   "claimed",       "finish",          "release-pushed",
    "done",         "done-entered",  "bell-promised", "edge-noted",      "edge-taken",
    "ready",        "edge-cleared",  "edge-followed", "release-ended",   "finished",
    "orphan",       "retire",        "store-free",    "store-entered",   "store-batch",
    "submit-ready", "after-bit",     "wake-promised", "sleep-announced", "allocated",
    "extent-taken", "returned",      "seized",        "ring-filled",     "ring-taken",
    "arrived",      "sleep-checked", "store-init",
};
enum { POINTS = sizeof points / sizeof points[0] };

/* What survives of a killed worker. */
struct report {
    _Atomic uint32_t runs[RECORDS]; /* how often each record's task was begun */
    _Atomic uint32_t lost[RECORDS];
    _Atomic uint32_t passed; /* the point was reached often enough to kill */
};

static const char *kill_point;
static int kill_countdown;
static struct report *report;

static void die_at(const char *name) {
    if (strcmp(name, kill_point) == 0 && --kill_countdown == 0) {
        atomic_store(&report->passed, 1);
        kill(getpid(), SIGKILL);
    }
}

/* A task of a task: the worker enters a few of its own, one after another and some in parallel, and runs them itself. */
static void run_nested(struct erg_member *m) {
    uint32_t own[SUBMITTED], got;
    erg_handle handles[SUBMITTED];
    int n = 0;
    for (; n < SUBMITTED && erg_record_new(m, &own[n]) == 0; n++) {
        erg_table_record(m->table, own[n])->user16 = 1; /* not nested further */
        handles[n] = erg_record_handle(m->table, own[n]);
        memset(erg_record_args_reserve(m, own[n], 300), 1, 300);
        if (n > 1)
            erg_record_after(m, own[n], handles[n - 2]);
        erg_record_submit(m, own[n]);
    }
    for (int i = 0; i < n; i++)
        while (!erg_record_done(m->table, handles[i]))
            if (erg_claim_next(m, &got)) {
                atomic_fetch_add(&report->runs[got], 1);
                erg_claim_finish(m, got, ERG_OUT_OK);
            }
    for (int i = 0; i < n; i++)
        erg_record_free(m, own[i]);
}

static void run_worker(struct erg_table *t, uint32_t number) {
    struct erg_member *m;
    struct erg_error err;
    uint32_t index;
    if (erg_member_open(t, number, &m, &err) < 0)
        _exit(2);
    int returned = 0;
    while (erg_claim_wait(m, &index, 1000, 20000000) == 1) {
        struct erg_record *r = erg_table_record(t, index);
        if (!returned++) {
            erg_claim_return(m, index);
            continue;
        }
        atomic_fetch_add(&report->runs[index], 1);
        if (r->user16 == 2)
            run_nested(m);
        memset(erg_record_result_reserve(m, index, 200 + 1000 * (index % 5)), 2, 200);
        erg_claim_finish(m, index, ERG_OUT_OK);
    }
    erg_member_close(m);
    _exit(0);
}

static pid_t start_worker(struct erg_table *t, uint32_t *number, const char *point, int countdown) {
    struct erg_error err;
    assert_int_equal(
        erg_member_reserve(t, ERG_MEMBER_PROCESS, ERG_QUEUE_BIT(ERG_QUEUE_ANY), number, &err), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failing test leaves nobody behind */
        if (point) {
            kill_point = point;
            kill_countdown = countdown;
            erg_point_hook = die_at;
        }
        run_worker(t, *number);
    }
    return pid;
}

static void retry_lost(void *ctx, uint32_t index) {
    struct rig *rig = ctx;
    atomic_fetch_add(&report->lost[index], 1);
    erg_record_retry(rig->owner, index);
}

/* Joins, chains and fans over TASKS records; some notify, some have tasks of their own. */
static void build_graph(struct rig *rig, uint32_t *index, erg_handle *handles) {
    for (int i = 0; i < TASKS; i++) {
        index[i] = rig_new(rig);
        handles[i] = rig_handle(rig, index[i]);
        memset(erg_record_args_reserve(rig->owner, index[i], i * 40), 3, i * 40);
        if (i % 13 == 5)
            erg_table_record(rig->t, index[i])->user16 = 2;
        if (i % 3 == 0)
            erg_record_notify(rig->owner, handles[i]);
        if (i == TASKS - 1 || i % 10 == 9)
            assert_int_equal(erg_record_after_many(rig->owner, index[i], handles, i), 0);
        else if (i > 2)
            assert_true(erg_record_after(rig->owner, index[i], handles[i - 3]) >= 0);
    }
    erg_record_submit_many(rig->owner, index, TASKS);
}

static void reap(pid_t pid, int *status) {
    while (waitpid(pid, status, 0) < 0)
        assert_int_equal(errno, EINTR);
}

static uint64_t arena_live(struct erg_table *t) {
    uint64_t live = 0;
    for (uint32_t i = 0; i < atomic_load(&t->header->extents_top); i++)
        if (atomic_load(&t->extents[i].holder))
            live += atomic_load(&t->extents[i].live);
    return live;
}

/* What a death at this point is allowed to lose for the life of the pool: see store.c. */
static uint32_t records_forgiven(const char *point) {
    return strcmp(point, "store-batch") == 0                                     ? ERG_BATCH
           : strcmp(point, "store-free") == 0 || strcmp(point, "after-bit") == 0 ? 1
                                                                                 : 0;
}

static int kill_once(const char *point, int countdown) {
    struct rig rig;
    uint32_t index[TASKS], number;
    erg_handle handles[TASKS], h;
    int status;
    rig_open(&rig, RECORDS);
    rig.worker->slot->queues = 0; /* it only stands by */
    memset(report, 0, sizeof *report);
    build_graph(&rig, index, handles);
    erg_bell_prepare(rig.t); /* as if somebody slept there, and another worker */
    atomic_store(&rig.worker->slot->queues, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    erg_awake_bit(rig.t->header->sleeping, rig.worker->number, 1);
    pid_t victim = start_worker(rig.t, &number, point, countdown);
    reap(victim, &status);
    int killed = WIFSIGNALED(status) && atomic_load(&report->passed);
    if (killed) {
        int lost = erg_table_recover(rig.owner, number, retry_lost, &rig);
        assert_true(lost >= 0);
        pid_t second = start_worker(rig.t, &number, NULL, 0);
        reap(second, &status);
    }
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (int i = 0; i < TASKS; i++) {
        if (!erg_record_done(rig.t, handles[i]))
            fail_msg("killed at %s, time %d: task %d never ran", point, countdown, i);
        assert_int_equal(erg_record_outcome(erg_table_record(rig.t, index[i])), ERG_OUT_OK);
        uint32_t runs = atomic_load(&report->runs[index[i]]);
        if (runs < 1 || runs > 1 + atomic_load(&report->lost[index[i]]))
            fail_msg("killed at %s, time %d: task %d began %u times and was lost %u times", point,
                     countdown, i, runs, atomic_load(&report->lost[index[i]]));
    }
    uint32_t bells = 0;
    while (erg_bell_take(rig.t, &h))
        bells++;
    assert_int_equal(bells, (TASKS + 2) / 3);
    for (int i = 0; i < TASKS; i++)
        erg_record_free(rig.owner, index[i]);
    uint32_t left = rig_count_free(&rig);
    if (left + records_forgiven(point) < RECORDS || left > RECORDS)
        fail_msg("killed at %s, time %d: %u of %u records left", point, countdown, left, RECORDS);
    erg_arena_trim(rig.owner, 0);
    uint64_t live = arena_live(rig.t);
    if (live > 2) /* a block it had in its hands */
        fail_msg("killed at %s, time %d: %llu blocks left", point, countdown,
                 (unsigned long long)live);
    rig_close(&rig);
    return killed;
}

static void a_death_at_any_step_harms_nobody_else(void **state) {
    (void)state;
    int thorough = getenv("ERG_SOAK") != NULL, hit = 0;
    report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(report != MAP_FAILED);
    for (int p = 0; p < POINTS; p++) {
        int killed = 0;
        for (int n = 1; n < 400; n += thorough || n < 4 ? 1 : n) {
            if (!kill_once(points[p], n))
                break;
            killed++;
        }
        hit += killed > 0;
        if (getenv("ERG_VERBOSE"))
            fprintf(stderr, "%s: killed %d times\n", points[p], killed);
    }
    assert_true(hit >= POINTS - 2); /* each is on the way, but for two that crash_test comes by */
    munmap(report, sizeof *report);
}

/* --- recovery while others work on --------------------------------------------------------------------------- */

static struct rig *meeting;
static const char *meeting_point;
static uint32_t meeting_dead;

/* The other worker stands at a point; the owner recovers the dead one just then. */
static void recover_now(const char *name) {
    if (!meeting_point || strcmp(name, meeting_point) != 0)
        return;
    meeting_point = NULL;
    assert_int_equal(erg_table_recover(meeting->owner, meeting_dead, NULL, NULL), 0);
}

/* Every record can be taken once, and none twice. */
static void assert_each_free_once(struct rig *rig) {
    uint32_t index, n = 0;
    unsigned char seen[RECORDS] = {0};
    while (n <= RECORDS && erg_record_new(rig->owner, &index) == 0) {
        assert_int_equal(seen[index], 0);
        seen[index] = 1;
        n++;
    }
    assert_int_equal(n, RECORDS);
}

/* The dead one had entered, cancelled and freed a task; a worker takes it off its predecessor's list and recycles it. */
static void a_record_another_recycles_is_not_taken_twice(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index;
    rig_open(&rig, RECORDS);
    struct erg_member *dead = rig_member(rig.t, 0);
    uint32_t first = rig_new(&rig);
    erg_handle before = rig_handle(&rig, first);
    assert_int_equal(erg_record_new(dead, &index), 0);
    assert_int_equal(erg_record_after(dead, index, before), 0);
    erg_record_submit(dead, index);
    erg_record_cancel(dead, erg_record_handle(rig.t, index));
    erg_record_free(dead, index);
    erg_record_submit(rig.owner, first);
    meeting = &rig;
    meeting_dead = dead->number;
    meeting_point = "store-free";
    erg_point_hook = recover_now;
    assert_int_equal(rig_run(&rig), 1);
    erg_point_hook = NULL;
    assert_null(meeting_point);
    erg_record_free(rig.owner, first);
    erg_store_flush(rig.worker);
    assert_each_free_once(&rig);
    rig_close(&rig);
}

static uint64_t publish(struct erg_member *m) {
    uint64_t offset;
    assert_int_equal(erg_arena_alloc(m, sizeof(struct erg_fn_head) + 1, &offset, NULL), 0);
    struct erg_fn_head *head = erg_table_at(m->table, offset);
    head->len = 1;
    head->payload[0] = 0;
    erg_fn_publish(m, offset);
    return offset;
}

/* One nobody uses, one that is freed by hand, and one of a task somebody else runs when its submitter dies. */
static void functions_of_the_dead_are_freed_once_nobody_uses_them(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index, got;
    rig_open(&rig, RECORDS);
    struct erg_member *dead = rig_member(rig.t, 0), *next = rig_member(rig.t, 0);
    publish(dead);
    uint64_t by_hand = publish(dead), in_use = publish(dead);
    erg_fn_free(dead, by_hand);
    assert_int_equal(erg_record_new(dead, &index), 0);
    erg_table_record(rig.t, index)->fn = in_use;
    erg_record_submit(dead, index);
    assert_int_equal(erg_claim_next(rig.worker, &got), 1);
    assert_int_equal(arena_live(rig.t), 2);
    uint32_t wanted = atomic_load(&rig.t->header->wanted);
    assert_int_equal(erg_table_recover(rig.owner, dead->number, NULL, NULL), 0);
    assert_true(atomic_load(&rig.t->header->wanted) != wanted); /* what it wanted is looked for */
    assert_int_equal(arena_live(rig.t), 1);
    erg_claim_finish(rig.worker, got, ERG_OUT_OK);
    assert_int_equal(erg_table_recover(rig.owner, next->number, NULL, NULL), 0);
    assert_int_equal(arena_live(rig.t), 0);
    rig_close(&rig);
}

/* Whoever looks at time limits reads start_ns of what is RUNNING: between its being claimed and its clock being read it
 * must not say when an earlier run began. */
static struct erg_record *begun;
static int begins;

static void nothing_begun(const char *name) {
    if (strcmp(name, "claimed") == 0) {
        assert_int_equal(begun->start_ns, 0);
        begins++;
    }
}

static void run_again(void *owner, uint32_t index) {
    erg_record_retry(owner, index);
}

static void a_run_does_not_inherit_the_clock_of_the_one_before(void **state) {
    (void)state;
    struct rig rig;
    uint32_t index, got;
    rig_open(&rig, RECORDS);
    struct erg_member *dead = rig_member(rig.t, ERG_QUEUE_BIT(ERG_QUEUE_ANY));
    index = rig_new(&rig);
    begun = erg_table_record(rig.t, index);
    erg_record_submit(rig.owner, index);
    erg_point_hook = nothing_begun;
    assert_int_equal(erg_claim_next(rig.worker, &got), 1);
    assert_true(begun->start_ns > 0);
    erg_claim_return(rig.worker, got);
    assert_int_equal(erg_claim_next(dead, &got), 1);
    assert_int_equal(erg_table_recover(rig.owner, dead->number, run_again, rig.owner), 1);
    assert_int_equal(erg_claim_next(rig.worker, &got), 1);
    erg_point_hook = NULL;
    assert_int_equal(got, index);
    assert_int_equal(begins, 3);
    erg_claim_finish(rig.worker, got, ERG_OUT_OK);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_does_not_inherit_the_clock_of_the_one_before),
        cmocka_unit_test(a_record_another_recycles_is_not_taken_twice),
        cmocka_unit_test(functions_of_the_dead_are_freed_once_nobody_uses_them),
        cmocka_unit_test(a_death_at_any_step_harms_nobody_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
