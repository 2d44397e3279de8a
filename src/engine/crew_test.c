/* Workers and zygotes die in every way; tasks and pools go on. */
#include "engine/pool_test_kit.h"

/* --- dying --------------------------------------------------------------------------------------------------------- */
static void killed_idle_workers_are_replaced(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:2", NULL);
    pid_t a = worker_pid(pool, 0), b = worker_pid(pool, 1);
    kill(a, SIGKILL);
    kill(b, SIGKILL);
    works(pool);
    for (int i = 0; i < 2; i++)
        EVENTUALLY(worker_pid(pool, i) != 0 && worker_pid(pool, i) != a &&
                   worker_pid(pool, i) != b);
    close_pool(pool);
}

static void dying_tasks_say_how(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:2", NULL);
    int s = SIGKILL;
    expect_failure(pool, submit(pool, die_by_signal, &s, sizeof s, NULL), ERG_ELOST,
                   "was killed by signal 9 (SIGKILL)");
    s = SIGSEGV;
    expect_failure(pool, submit(pool, die_by_signal, &s, sizeof s, NULL), ERG_ELOST,
                   "was killed by signal 11 (SIGSEGV)");
    s = SIGTERM;
    expect_failure(pool, submit(pool, die_by_signal, &s, sizeof s, NULL), ERG_ELOST, "SIGTERM");
    expect_failure(pool, submit(pool, die_by_exit, NULL, 0, NULL), ERG_ELOST,
                   "exited with status 7");
    works(pool);
    close_pool(pool);
}

static void retries_run_it_again(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:2", NULL);
    char path[] = "/tmp/ergon-test-XXXXXX";
    close(mkstemp(path));
    unlink(path);
    struct erg_task_options o = {.retries = 1};
    assert_true(result_int(pool, submit(pool, die_once, path, sizeof path, &o)) > 0);
    unlink(path);
    int s = SIGKILL;
    expect_failure(pool, submit(pool, die_by_signal, &s, sizeof s, &o), ERG_ELOST, "SIGKILL");
    close_pool(pool);
}

static void only_the_running_task_is_lost(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:1", NULL);
    int64_t ns = 10000 * MS;
    erg_future long_one = submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    enum { N = 500 };
    erg_future f[N];
    for (int i = 0; i < N; i++)
        f[i] = submit(pool, add_one, &i, sizeof i, NULL);
    struct erg_worker w;
    EVENTUALLY(erg_workers(pool, &w, 1) == 1 && w.busy);
    kill((pid_t)w.pid, SIGKILL);
    expect_failure(pool, long_one, ERG_ELOST, "signal 9");
    for (int i = 0; i < N; i++)
        assert_int_equal(result_int(pool, f[i]), i + 1);
    close_pool(pool);
}

static void workers_killed_while_they_start(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:2", NULL);
    for (int i = 0; i < 4; i++) {
        struct erg_worker w[2];
        EVENTUALLY(erg_workers(pool, w, 2) >= 1 && w[0].pid);
        kill((pid_t)w[0].pid, SIGKILL);
        EVENTUALLY(!is_alive((pid_t)w[0].pid));
    }
    works(pool);
    close_pool(pool);
}

static void workers_survive_their_zygote(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:2", NULL);
    pid_t zygote = zygote_pid(pool), a = worker_pid(pool, 0);
    kill(zygote, SIGKILL);
    EVENTUALLY(!is_alive(zygote));
    works(pool);
    assert_true(worker_pid(pool, 0) == a);
    /* Now there is nobody to tell how it died, and a new zygote is needed. */
    int64_t ns = 10000 * MS;
    erg_future f[2];
    for (int i = 0; i < 2; i++)
        f[i] = submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    struct erg_worker w[2];
    EVENTUALLY(erg_workers(pool, w, 2) == 2 && w[0].busy && w[1].busy);
    kill((pid_t)w[0].pid, SIGKILL);
    kill((pid_t)w[1].pid, SIGKILL);
    for (int i = 0; i < 2; i++)
        expect_failure(pool, f[i], ERG_ELOST, "worker");
    works(pool);
    EVENTUALLY(worker_pid(pool, 1) != 0);
    close_pool(pool);
}

static void zygote_killed_at_any_time(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        struct erg_pool *pool = open_pool("local:2", NULL);
        pid_t zygote = 0;
        EVENTUALLY(count_ours(&zygote) > 0);
        doze(i * 100000);
        kill(zygote, SIGKILL); /* maybe a worker: the list has no order */
        works(pool);
        if (erg_wait_workers(pool, 2, 60000 * MS, &err) != 0)
            fail_msg("%s", err.text);
        close_pool(pool);
    }
}

static void killing_at_random_loses_nothing_that_may_be_retried(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:2", NULL);
    enum { N = 3000 };
    static erg_future f[N];
    struct erg_task_options o = {.retries = 255};
    uint32_t us = 300;
    for (int i = 0; i < N; i++)
        f[i] = submit(pool, busy_us, &us, sizeof us, &o);
    unsigned seed = 1;
    for (int i = 0; i < 40; i++) {
        doze((rand_r(&seed) % 20000) * 1000);
        pid_t pid = worker_pid(pool, rand_r(&seed) % 2);
        if (pid)
            kill(pid, SIGKILL);
    }
    for (int i = 0; i < N; i++)
        assert_int_equal(result_int(pool, f[i]), 300);
    close_pool(pool);
}

static void stopped_workers_count_as_lost(void **state) {
    (void)state;
    struct erg_open_options o = {.stop_limit_ns = 2000 * MS};
    struct erg_pool *pool = open_up("local:1", &o);
    pid_t pid = worker_pid(pool, 0);
    int64_t ns = 60000 * MS;
    erg_future f = submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    struct erg_worker w;
    EVENTUALLY(erg_workers(pool, &w, 1) == 1 && w.busy);
    kill(pid, SIGSTOP);
    expect_failure(pool, f, ERG_ELOST, "stopped");
    works(pool);
    assert_true(worker_pid(pool, 0) != pid);
    close_pool(pool);
}

static void stopped_idle_workers_hold_nothing_up(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:2", NULL);
    kill(worker_pid(pool, 0), SIGSTOP);
    for (int i = 0; i < 100; i++)
        works(pool);
    erg_abort(pool);
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(killed_idle_workers_are_replaced),
        WITH(dying_tasks_say_how),
        WITH(retries_run_it_again),
        WITH(only_the_running_task_is_lost),
        WITH(workers_killed_while_they_start),
        WITH(workers_survive_their_zygote),
        WITH(zygote_killed_at_any_time),
        WITH(killing_at_random_loses_nothing_that_may_be_retried),
        WITH(stopped_workers_count_as_lost),
        WITH(stopped_idle_workers_hold_nothing_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
