/* The engine's own interface: opening what cannot come up, resizing, restarting, sharing. */
#include "engine/native.h"
#include "engine/pool_test_kit.h"
#include "launch/zygote.h"

/* --- the engine's own interface ---------------------------------------------------------------------------------------------- */
static void tasks_can_be_terminated_and_the_pool_restarted(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:1 threads:1", NULL);
    int64_t ns = 60000 * MS;
    erg_future f[10];
    for (int i = 0; i < 10; i++)
        f[i] = submit(pool, sleep_listening, &ns, sizeof ns, NULL);
    struct erg_worker w[2];
    EVENTUALLY(erg_workers(pool, w, 2) == 2 && w[0].busy && w[1].busy);
    assert_int_equal(erg_pool_restart(pool, NULL, 0, &err), ERG_ESTATE);
    assert_int_equal(erg_pool_join(pool, -1, &err), ERG_ESTATE);
    assert_int_equal(erg_pool_terminate(pool, &err), 0);
    for (int i = 0; i < 10; i++) {
        assert_true(erg_done(pool, f[i]));
        expect_failure(pool, f[i], ERG_ECANCELLED, "");
    }
    erg_future g;
    int x = 1;
    assert_int_equal(erg_submit(pool, add_one, &x, sizeof x, NULL, &g, &err), ERG_ECLOSED);
    assert_int_equal(erg_pool_restart(pool, NULL, 0, &err), 0);
    works(pool);
    assert_int_equal(erg_pool_close(pool), 0);
    assert_int_equal(erg_pool_join(pool, -1, &err), 0);
    assert_int_equal(erg_pool_restart(pool, NULL, 0, &err), 0);
    works(pool);
    close_pool(pool);
}

static void resizing(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:1", NULL);
    struct erg_pool_counts c;
    assert_int_equal(erg_pool_resize(pool, 3, 2, &err), 0);
    assert_int_equal(erg_pool_wait_up(pool, 5, -1, &err), 0);
    assert_int_equal(erg_pool_resize(pool, 1, 0, &err), 0);
    EVENTUALLY((erg_pool_counts(pool, &c), c.workers_up == 1));
    works(pool);
    assert_int_equal(erg_pool_resize(pool, 0, 0, &err), ERG_EINVALID);
    assert_int_equal(erg_pool_resize(pool, 0, 1, &err), 0);
    works(pool);
    assert_int_equal(c.workers_lost, 0);
    close_pool(pool);
}

static void workers_are_replaced_after_so_many_tasks(void **state) {
    (void)state;
    struct erg_open_options o = {.tasks_per_worker = 3};
    struct erg_pool *pool = open_pool("local:1", &o);
    int pids[12], changes = 0;
    for (int i = 0; i < 12; i++) {
        pids[i] = result_int(pool, submit(pool, get_pid, NULL, 0, NULL));
        changes += i > 0 && pids[i] != pids[i - 1];
    }
    assert_int_equal(changes, 3);
    struct erg_pool_counts c;
    erg_pool_counts(pool, &c);
    assert_int_equal(c.workers_lost, 0);
    close_pool(pool);
}

static void broken(const char *program, char *argument, const char *words) {
    char *argv[] = {(char *)program, argument, NULL};
    struct erg_runtime runtime = {.name = "broken", .zygote_argv = argv};
    struct erg_engine *engine;
    struct erg_pool *pool;
    assert_int_equal(erg_engine_new(&engine, &err), 0);
    struct erg_pool_spec spec = {.processes = 2};
    assert_int_equal(erg_pool_open(engine, &runtime, &spec, &pool, &err), 0);
    assert_int_equal(erg_pool_wait_up(pool, 1, -1, &err), ERG_ELAUNCH);
    if (!strstr(err.text, words))
        fail_msg("%s", err.text);
    assert_int_equal(erg_pool_check(pool, &err), ERG_ELAUNCH);
    assert_int_equal(erg_pool_terminate(pool, &err), 0);
    erg_engine_free(engine);
}

static void pools_that_cannot_come_up_say_why(void **state) {
    (void)state;
    broken("/nonexistent/program", NULL, "No such file");
    broken("/bin/false", NULL, "exited with status 1 before it was ready");
    broken("/bin/cat", NULL, "exited with status 0 before it was ready");
}

static void workers_that_die_at_once_break_the_pool(void **state) {
    (void)state;
    broken("/proc/self/exe", "--workers-exit", "exited with status 9 before it was up");
    broken("/proc/self/exe", "--workers-unable", "has no shoes");
    broken("/proc/self/exe", "--zygote-unable", "has no bed");
}

static void tasks_of_a_broken_pool_fail(void **state) {
    (void)state;
    char *argv[] = {"/bin/false", NULL};
    struct erg_pool *pool = open_up("local:1", NULL);
    struct native_pool *np = erg_native_of(pool);
    struct native {
        struct native_pool np;
        struct erg_runtime runtime;
    } *n = (struct native *)np;
    n->runtime.zygote_argv = argv; /* from now on none starts */
    kill(zygote_pid(pool), SIGKILL);
    int64_t ns = 60000 * MS;
    erg_future f = submit(pool, sleep_deaf, &ns, sizeof ns, NULL),
               g = submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    erg_future h =
        submit(pool, sum_after, NULL, 0, &(struct erg_task_options){.after = &g, .after_len = 1});
    struct erg_worker w;
    EVENTUALLY(erg_workers(pool, &w, 1) == 1 && w.busy);
    kill((pid_t)w.pid, SIGKILL);
    expect_failure(pool, f, ERG_ELOST, "worker");
    expect_failure(pool, g, ERG_ELOST, "before it was ready");
    expect_failure(pool, h, ERG_ELOST, "before it was ready");
    assert_int_equal(erg_submit(pool, get_pid, NULL, 0, NULL, &f, &err), ERG_ELAUNCH);
    close_pool(pool);
}

static void bad_requests_are_refused(void **state) {
    (void)state;
    struct erg_pool *pool;
    assert_int_equal(erg_open("remote:3", NULL, &pool, &err), ERG_ECONFIG);
    assert_int_equal(erg_open("serial", NULL, &pool, &err), ERG_ECONFIG);
    assert_int_equal(erg_open(" ", NULL, &pool, &err), ERG_ECONFIG);
    pool = open_pool("threads:1", NULL);
    struct erg_task_options o = {.where = ERG_ON_PROCESS};
    erg_future f;
    assert_int_equal(erg_submit(pool, get_pid, NULL, 0, &o, &f, &err), ERG_EINVALID);
    o = (struct erg_task_options){.after = &(erg_future){12345}, .after_len = 1};
    assert_int_equal(erg_submit(pool, get_pid, NULL, 0, &o, &f, &err), ERG_EINVALID);
    assert_int_equal(erg_result(pool, 12345, NULL, &err), ERG_EINVALID);
    assert_int_equal(erg_submit(pool, (erg_function *)(uintptr_t)8, NULL, 0, NULL, &f, &err),
                     ERG_EINVALID);
    erg_release(pool, 12345);
    close_pool(pool);
}

static void pools_of_one_engine_share_a_zygote(void **state) {
    (void)state;
    char *argv[] = {"/proc/self/exe", "--ergon-zygote", NULL};
    struct erg_runtime runtime = {.name = "native", .zygote_argv = argv};
    struct erg_engine *engine;
    struct erg_pool *a, *b;
    assert_int_equal(erg_engine_new(&engine, &err), 0);
    struct erg_pool_spec spec = {.processes = 1};
    assert_int_equal(erg_pool_open(engine, &runtime, &spec, &a, &err), 0);
    assert_int_equal(erg_pool_wait_up(a, 1, -1, &err), 0);
    pid_t zygote = zygote_pid(a);
    erg_pool_free(a);
    assert_int_equal(erg_pool_open(engine, &runtime, &spec, &a, &err), 0);
    assert_int_equal(erg_pool_open(engine, &runtime, &spec, &b, &err), 0);
    assert_int_equal(erg_pool_wait_up(a, 1, -1, &err), 0);
    assert_int_equal(erg_pool_wait_up(b, 1, -1, &err), 0);
    assert_int_equal(zygote_pid(a), zygote);
    assert_int_equal(zygote_pid(b), zygote);
    erg_engine_free(engine); /* with both pools open */
}

/* --- other lives of this program ------------------------------------------------------------------------------------------------ */
static pid_t plain_fork(void *ctx) {
    (void)ctx;
    return fork();
}

static int strange_zygote(const char *what) {
    struct erg_worker_start start;
    if (strcmp(what, "--zygote-unable") == 0) {
        erg_zygote_fail(ERG_ZYGOTE_FD, "it has no bed");
        return 1;
    }
    if (erg_zygote_serve(ERG_ZYGOTE_FD, plain_fork, NULL, &start, NULL) != 1)
        return 0;
    if (strcmp(what, "--workers-unable") == 0)
        erg_worker_report(&start, "it has no shoes");
    return 9;
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    if (argc == 2 && strncmp(argv[1], "--", 2) == 0)
        _exit(strange_zygote(argv[1]));
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(tasks_can_be_terminated_and_the_pool_restarted),
        WITH(resizing),
        WITH(workers_are_replaced_after_so_many_tasks),
        WITH(pools_that_cannot_come_up_say_why),
        WITH(workers_that_die_at_once_break_the_pool),
        WITH(tasks_of_a_broken_pool_fail),
        WITH(bad_requests_are_refused),
        WITH(pools_of_one_engine_share_a_zygote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
