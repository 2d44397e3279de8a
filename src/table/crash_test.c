/* Workers killed at random instants, under load, while the owner goes on entering graphs. Runs for a second; ERG_SOAK=n
 * makes it n seconds. A hang shows as the test's time limit. */
#include "os/clock.h"
#include "table/rig.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WORKERS = 3, TASKS = 150, RECORDS = 4000, MOST_PER_DEATH = ERG_BATCH + 2 };

struct world {
    struct rig rig;
    pid_t pid[WORKERS];
    uint32_t number[WORKERS];
    unsigned random;
    uint32_t deaths, lost, graphs;
    _Atomic uint32_t over, bells;
};

static unsigned roll(unsigned *state, unsigned n) {
    return (unsigned)rand_r(state) % n;
}

/* A result whose first and last byte tell its length. */
static void answer(struct erg_member *m, uint32_t index, size_t len) {
    unsigned char *result = erg_record_result_reserve(m, index, len);
    if (result && len)
        result[0] = result[len - 1] = (unsigned char)len;
}

static void task(struct erg_member *m, uint32_t index, unsigned *random) {
    struct erg_record *r = erg_table_record(m->table, index);
    uint32_t own[8], got;
    erg_handle handles[8];
    int n = 0, want = r->user16 == 0 && roll(random, 20) == 0 ? 8 : 0;
    for (; n < want && erg_record_new(m, &own[n]) == 0; n++) {
        handles[n] = erg_record_handle(m->table, own[n]);
        erg_table_record(m->table, own[n])->user16 = 1;
        erg_record_args_reserve(m, own[n], roll(random, 2000));
        if (n > 1)
            erg_record_after_many(m, own[n], handles, (size_t)n);
        erg_record_submit(m, own[n]);
    }
    for (int i = 0; i < n; i++) {
        while (!erg_record_done(m->table, handles[i]))
            if (erg_claim_next(m, &got)) {
                answer(m, got, 500);
                erg_claim_finish(m, got, ERG_OUT_OK);
            } else {
                erg_record_wait(m, handles[i], 1000000);
            }
    }
    for (int i = 0; i < n; i++)
        erg_record_free(m, own[i]);
    answer(m, index, roll(random, 10) == 0 ? roll(random, 300000) : roll(random, 400));
}

/* Between two steps is where a death is worth most. */
static void linger(const char *name) {
    static unsigned seed;
    (void)name;
    if (seed == 0)
        seed = (unsigned)getpid();
    if (rand_r(&seed) % 200 == 0)
        usleep((unsigned)rand_r(&seed) % 300);
}

static void work(struct world *w, uint32_t number, unsigned random) {
    struct erg_member *m;
    struct erg_error err;
    uint32_t index;
    if (random % 4 != 0)
        erg_point_hook = linger;
    if (erg_member_open(w->rig.t, number, &m, &err) < 0)
        _exit(2);
    while (erg_claim_wait(m, &index, 20000, -1) != 0) {
        task(m, index, &random);
        erg_claim_finish(m, index, ERG_OUT_OK);
    }
    erg_member_close(m);
    _exit(0);
}

static void start(struct world *w, int i) {
    struct erg_error err;
    unsigned random = (unsigned)rand_r(&w->random);
    assert_int_equal(erg_member_reserve(w->rig.t, ERG_MEMBER_PROCESS, ERG_QUEUE_BIT(ERG_QUEUE_ANY),
                                        &w->number[i], &err),
                     0);
    w->pid[i] = fork();
    assert_true(w->pid[i] >= 0);
    if (w->pid[i] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failing test leaves nobody behind */
        work(w, w->number[i], random);
    }
}

static void again(void *ctx, uint32_t index) {
    struct world *w = ctx;
    w->lost++;
    erg_record_retry(w->rig.owner, index);
}

static void kill_one(struct world *w) {
    int i = (int)roll(&w->random, WORKERS), status;
    kill(w->pid[i], SIGKILL);
    while (waitpid(w->pid[i], &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    assert_true(WIFSIGNALED(status));
    assert_true(erg_table_recover(w->rig.owner, w->number[i], again, w) >= 0);
    w->deaths++;
    start(w, i);
}

/* Takes completions as another thread of the owner. */
static void *listen_bell(void *arg) {
    struct world *w = arg;
    erg_handle h;
    while (!atomic_load(&w->over)) {
        uint32_t seen = erg_bell_prepare(w->rig.t);
        if (erg_bell_take(w->rig.t, &h))
            atomic_fetch_add(&w->bells, 1);
        else
            erg_bell_wait(w->rig.t, seen, 5000000);
    }
    return NULL;
}

static void one_graph(struct world *w) {
    uint32_t index[TASKS], notified = 0;
    erg_handle handles[TASKS];
    struct erg_member *m = w->rig.owner;
    for (int i = 0; i < TASKS; i++) {
        index[i] = rig_new(&w->rig);
        handles[i] = rig_handle(&w->rig, index[i]);
        size_t len = roll(&w->random, 300);
        memset(erg_record_args_reserve(m, index[i], len), 1, len);
        unsigned shape = roll(&w->random, 8);
        if (i % 5 == 0)
            notified += erg_record_notify(m, handles[i]) == 0;
        if (shape == 0 && i > 0)
            assert_int_equal(erg_record_after_many(m, index[i], handles, (size_t)i), 0);
        else if (shape < 6 && i > 3)
            for (unsigned k = 0; k < shape; k++)
                assert_true(erg_record_after(m, index[i], handles[i - 1 - (int)k % 3]) >= 0);
        erg_record_submit(m, index[i]);
    }
    for (unsigned n = roll(&w->random, 10); n > 0; n--)
        erg_record_cancel(m, handles[roll(&w->random, TASKS)]);
    uint64_t next_kill = erg_clock_ns() + roll(&w->random, 3000000);
    for (int i = 0; i < TASKS;) {
        int code = erg_record_wait(m, handles[i], 200000);
        if (erg_clock_ns() > next_kill) {
            kill_one(w);
            next_kill = erg_clock_ns() + roll(&w->random, 10000000);
        }
        if (code == 0)
            i++;
    }
    for (int i = 0; i < TASKS; i++) {
        struct erg_record *r = erg_table_record(w->rig.t, index[i]);
        if (erg_record_outcome(r) == ERG_OUT_CANCELLED)
            continue; /* a cancelled task ends too */
        assert_int_equal(erg_record_outcome(r), ERG_OUT_OK);
        if (r->result.len > 0) {
            unsigned char *bytes = erg_record_bytes(w->rig.t, r, &r->result);
            assert_int_equal(bytes[0], (unsigned char)r->result.len);
            assert_int_equal(bytes[r->result.len - 1], (unsigned char)r->result.len);
        }
    }
    for (uint32_t spins = 0; atomic_load(&w->bells) < notified; spins++)
        usleep(100);
    atomic_store(&w->bells, 0);
    for (int i = 0; i < TASKS; i++)
        erg_record_free(m, index[i]);
    w->graphs++;
}

static void finish(struct world *w) {
    struct erg_table *t = w->rig.t;
    int status;
    atomic_store(&w->over, 1);
    atomic_store(&t->header->closed, 1);
    erg_member_wake_all(t);
    for (int i = 0; i < WORKERS; i++) {
        while (waitpid(w->pid[i], &status, 0) < 0)
            assert_int_equal(errno, EINTR);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

static void nobody_hangs_when_workers_are_killed(void **state) {
    (void)state;
    struct world *w = calloc(1, sizeof *w);
    pthread_t listener;
    const char *soak = getenv("ERG_SOAK");
    const char *seed = getenv("ERG_SEED");
    uint64_t end = erg_clock_ns() + (soak ? strtoull(soak, NULL, 10) : 1) * 1000000000u;
    w->random = seed ? (unsigned)strtoul(seed, NULL, 10) : (unsigned)getpid();
    fprintf(stderr, "ERG_SEED=%u\n", w->random);
    rig_open(&w->rig, RECORDS);
    w->rig.worker->slot->queues = 0;
    for (int i = 0; i < WORKERS; i++)
        start(w, i);
    pthread_create(&listener, NULL, listen_bell, w);
    do
        one_graph(w);
    while (erg_clock_ns() < end);
    finish(w);
    pthread_join(listener, NULL);
    uint32_t left = rig_count_free(&w->rig);
    fprintf(stderr,
            "%u graphs, %u deaths, %u tasks lost and repeated, %u records not found again\n",
            w->graphs, w->deaths, w->lost, RECORDS - left);
    assert_true(w->deaths > 0);
    assert_true(left <= RECORDS && left + w->deaths * MOST_PER_DEATH >= RECORDS);
    rig_close(&w->rig);
    free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_hangs_when_workers_are_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
