/* Tasks and graphs of C functions on processes and threads. */
#include "engine/pool_test_kit.h"

/* --- running ------------------------------------------------------------------------------------------------------ */
static void tasks_run_on(const char *resources) {
    struct erg_pool *pool = open_pool(resources, NULL);
    enum { N = 2000 };
    erg_future f[N];
    for (int i = 0; i < N; i++)
        f[i] = submit(pool, add_one, &i, sizeof i, NULL);
    for (int i = 0; i < N; i++)
        assert_int_equal(result_int(pool, f[i]), i + 1);
    close_pool(pool);
}

static void processes_run_tasks(void **state) {
    (void)state;
    tasks_run_on("local:2");
}

static void threads_run_tasks(void **state) {
    (void)state;
    tasks_run_on("threads:2");
}

static void mixed_pools_run_tasks_where_they_are_wanted(void **state) {
    (void)state;
    tasks_run_on("local:1 threads:1");
    struct erg_pool *pool = open_pool("local:1 threads:1", NULL);
    struct erg_task_options o = {.where = ERG_ON_PROCESS};
    for (int i = 0; i < 50; i++) {
        o.where = ERG_ON_PROCESS;
        assert_int_not_equal(result_int(pool, submit(pool, get_pid, NULL, 0, &o)), getpid());
        o.where = ERG_ON_THREAD;
        assert_int_equal(result_int(pool, submit(pool, get_pid, NULL, 0, &o)), getpid());
    }
    close_pool(pool);
}

static void failures_carry_their_words(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:1", NULL);
    expect_failure(pool, submit(pool, fail_with_words, NULL, 0, NULL), ERG_ENOTFOUND,
                   "but 4 words");
    works(pool);
    close_pool(pool);
}

static void graphs_wait_for_their_edges(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:2", NULL);
    enum { N = 100 };
    erg_future f[N];
    for (int i = 0; i < N; i++)
        f[i] = submit(pool, add_one, &i, sizeof i, NULL);
    struct erg_task_options o = {.after = f, .after_len = N};
    erg_future all = submit(pool, sum_after, NULL, 0, &o);
    for (int i = 0; i < N; i++)
        erg_release(pool, f[i]); /* given up while it is still needed */
    assert_int_equal(result_int(pool, all), N * (N + 1) / 2);
    /* A chain of sums: 1, 1, 1 ... */
    int zero = 0;
    erg_future last = submit(pool, add_one, &zero, sizeof zero, NULL);
    for (int i = 0; i < 1000; i++) {
        erg_future next = submit(pool, sum_after, NULL, 0,
                                 &(struct erg_task_options){.after = &last, .after_len = 1});
        erg_release(pool, last);
        last = next;
    }
    assert_int_equal(result_int(pool, last), 1);
    close_pool(pool);
}

static void a_failed_task_fails_what_comes_after(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:2", NULL);
    erg_future bad = submit(pool, fail_with_words, NULL, 0, NULL);
    struct erg_task_options o = {.after = &bad, .after_len = 1};
    erg_future next = submit(pool, sum_after, NULL, 0, &o);
    o.after = &next;
    erg_future last = submit(pool, sum_after, NULL, 0, &o);
    erg_release(pool, bad);
    expect_failure(pool, next, ERG_ENOTFOUND, "but 4 words");
    expect_failure(pool, last, ERG_ENOTFOUND, "but 4 words");
    close_pool(pool);
}

static void close_runs_everything(void **state) {
    (void)state;
    struct erg_pool *pool = open_pool("local:2", NULL);
    char path[] = "/tmp/ergon-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    erg_future last;
    int64_t ns = 2 * MS;
    last = submit(pool, sleep_deaf, &ns, sizeof ns, NULL);
    for (int i = 0; i < 50; i++) {
        erg_future next = submit(pool, sleep_deaf, &ns, sizeof ns,
                                 &(struct erg_task_options){.after = &last, .after_len = 1});
        erg_release(pool, last);
        last = next;
    }
    /* Says by dying that it was run: at the very end of a chain, when the other worker idles. */
    submit(pool, die_once, path, sizeof path,
           &(struct erg_task_options){.after = &last, .after_len = 1, .retries = 3});
    close_pool(pool);
    assert_int_equal(unlink(path), 0);
}

/* Input: nothing, or a path: appends a byte to that file. */
static int link_of_a_chain(struct erg_task *task, const void *input, size_t len) {
    if (len == 0)
        return 0;
    int fd = open(input, O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0 || write(fd, "x", 1) != 1)
        return erg_task_fail(task, ERG_ESYSTEM, "cannot write: %s", strerror(errno));
    close(fd);
    return 0;
}

/* A pool that is closed right after submitting: no worker may leave while a chain goes on. */
static void closing_at_once_runs_every_chain(void **state) {
    (void)state;
    enum { ROUNDS = 40, CHAINS = 5, LINKS = 30 };
    char path[] = "/tmp/ergon-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (int round = 0; round < ROUNDS; round++) {
        struct erg_pool *pool = open_pool(round % 2 ? "threads:3" : "local:3", NULL);
        for (int c = 0; c < CHAINS; c++) {
            erg_future last = submit(pool, link_of_a_chain, NULL, 0, NULL);
            for (int i = 1; i < LINKS; i++) {
                struct erg_task_options o = {.after = &last, .after_len = 1};
                int end = i == LINKS - 1;
                erg_future next = submit(pool, link_of_a_chain, path, end ? sizeof path : 0, &o);
                erg_release(pool, last);
                last = next;
            }
        }
        close_pool(pool);
        assert_int_equal(lseek(fd, 0, SEEK_END), (round + 1) * CHAINS);
    }
    close(fd);
    unlink(path);
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(processes_run_tasks),
        WITH(threads_run_tasks),
        WITH(mixed_pools_run_tasks_where_they_are_wanted),
        WITH(failures_carry_their_words),
        WITH(graphs_wait_for_their_edges),
        WITH(a_failed_task_fails_what_comes_after),
        WITH(close_runs_everything),
        WITH(closing_at_once_runs_every_chain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
