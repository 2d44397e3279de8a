/* Tasks that shall end before they are done. */
#include "engine/pool_test_kit.h"

/* --- ending tasks --------------------------------------------------------------------------------------------------------- */
static void time_limits(void **state) {
    (void)state;
    struct erg_open_options options = {.grace_ns = 100 * MS};
    struct erg_pool *pool = open_up("local:2", &options);
    struct erg_task_options o = {.timeout_ns = 50 * MS};
    int64_t ns = 60000 * MS, brief = 5 * MS;
    pid_t a = worker_pid(pool, 0), b = worker_pid(pool, 1);
    expect_failure(pool, submit(pool, sleep_listening, &ns, sizeof ns, &o), ERG_ETIMEOUT,
                   "ran out of time and stopped");
    assert_true(is_alive(a) && is_alive(b));
    expect_failure(pool, submit(pool, sleep_deaf, &ns, sizeof ns, &o), ERG_ETIMEOUT,
                   "longer than the 0.05 s");
    assert_true(is_alive(a) != is_alive(b));
    erg_future f = submit(pool, sleep_deaf, &brief, sizeof brief, &o);
    assert_int_equal(erg_result(pool, f, NULL, &err), 0);
    erg_release(pool, f);
    close_pool(pool);
}

static void time_limits_in_threads(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("threads:1", NULL);
    struct erg_task_options o = {.timeout_ns = 50 * MS};
    int64_t ns = 60000 * MS;
    expect_failure(pool, submit(pool, sleep_listening, &ns, sizeof ns, &o), ERG_ETIMEOUT,
                   "ran out of time and stopped");
    works(pool);
    close_pool(pool);
}

static void neighbours_of_a_killed_task_are_unharmed(void **state) {
    (void)state;
    struct erg_open_options options = {.grace_ns = 20 * MS};
    struct erg_pool *pool = open_up("local:1", &options);
    struct erg_task_options o = {.timeout_ns = 10 * MS};
    int64_t ns = 60000 * MS, brief = MS / 2;
    for (int round = 0; round < 5; round++) {
        erg_future before[20], deaf, behind[20];
        for (int i = 0; i < 20; i++)
            before[i] = submit(pool, sleep_deaf, &brief, sizeof brief, NULL);
        deaf = submit(pool, sleep_deaf, &ns, sizeof ns, &o);
        for (int i = 0; i < 20; i++)
            behind[i] = submit(pool, sleep_deaf, &brief, sizeof brief, NULL);
        expect_failure(pool, deaf, ERG_ETIMEOUT, "did not stop");
        for (int i = 0; i < 20; i++) {
            assert_int_equal(erg_result(pool, before[i], NULL, &err), 0);
            assert_int_equal(erg_result(pool, behind[i], NULL, &err), 0);
            erg_release(pool, before[i]);
            erg_release(pool, behind[i]);
        }
    }
    close_pool(pool);
}

/* Tasks that end at about the moment their worker would be killed: the one the worker takes next must not be hit. */
static void a_kill_that_comes_late_hits_nobody_else(void **state) {
    (void)state;
    struct erg_open_options options = {.grace_ns = 3 * MS};
    struct erg_pool *pool = open_up("local:2", &options);
    struct erg_task_options o = {.timeout_ns = 2 * MS};
    enum { N = 20, INNOCENT = 10 };
    unsigned seed = 1;
    uint32_t us = 20;
    for (int round = 0; round < 12; round++) {
        erg_future late[N], next[N][INNOCENT];
        for (int i = 0; i < N; i++) {
            int64_t ns = 4 * MS + rand_r(&seed) % (3 * MS);
            late[i] = submit(pool, sleep_deaf, &ns, sizeof ns, &o);
            for (int k = 0; k < INNOCENT; k++)
                next[i][k] = submit(pool, busy_us, &us, sizeof us, NULL);
        }
        for (int i = 0; i < N; i++) {
            int rc = erg_result(pool, late[i], NULL, &err);
            assert_true(rc == 0 || rc == ERG_ETIMEOUT);
            erg_release(pool, late[i]);
            for (int k = 0; k < INNOCENT; k++)
                assert_int_equal(result_int(pool, next[i][k]), 20);
        }
    }
    close_pool(pool);
}

static void cancelling(void **state) {
    (void)state;
    struct erg_open_options options = {.grace_ns = 50 * MS};
    struct erg_pool *pool = open_up("local:1", &options);
    int64_t ns = 60000 * MS;
    struct erg_worker w;
    erg_future running = submit(pool, sleep_listening, &ns, sizeof ns, NULL);
    erg_future waiting = submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    EVENTUALLY(erg_workers(pool, &w, 1) == 1 && w.busy);
    pid_t pid = worker_pid(pool, 0);
    assert_int_equal(erg_cancel(pool, waiting), 1);
    expect_failure(pool, waiting, ERG_ECANCELLED, "before it began");
    assert_int_equal(erg_cancel(pool, running), 2);
    erg_wait(pool, running, -1, &err);
    assert_int_equal(erg_cancel(pool, running), 0);
    expect_failure(pool, running, ERG_ECANCELLED, "while it ran");
    assert_true(worker_pid(pool, 0) == pid);
    running = submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    EVENTUALLY(erg_workers(pool, &w, 1) == 1 && w.busy);
    assert_int_equal(erg_cancel(pool, running), 2);
    expect_failure(pool, running, ERG_ECANCELLED, "while it ran");
    works(pool);
    assert_true(worker_pid(pool, 0) != pid);
    close_pool(pool);
}

static void abort_does_not_wait_for_tasks(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:2", NULL);
    int64_t ns = 3600 * 1000 * MS;
    for (int i = 0; i < 100; i++)
        submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    struct erg_worker w[2];
    EVENTUALLY(erg_workers(pool, w, 2) == 2 && w[0].busy && w[1].busy);
    erg_abort(pool);
    /* While it starts, too. */
    pool = open_pool("local:2", NULL);
    erg_abort(pool);
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(time_limits),
        WITH(time_limits_in_threads),
        WITH(neighbours_of_a_killed_task_are_unharmed),
        WITH(a_kill_that_comes_late_hits_nobody_else),
        WITH(cancelling),
        WITH(abort_does_not_wait_for_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
