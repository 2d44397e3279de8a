/* The owner dies, or forks. */
#include "engine/pool_test_kit.h"

/* --- the owner ------------------------------------------------------------------------------------------------------- */
/* A process that owns a pool with a busy worker, and tells which processes there are. */
static pid_t start_owner(pid_t *zygote, pid_t workers[2]) {
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct erg_pool *pool;
        pid_t all[3];
        if (erg_open("local:2", NULL, &pool, NULL) != 0 || erg_wait_workers(pool, 2, -1, NULL) != 0)
            _exit(1);
        int64_t ns = 60000 * MS;
        erg_future f;
        erg_submit(pool, sleep_deaf, &ns, sizeof ns, NULL, &f, NULL);
        struct erg_worker w[2];
        while (erg_workers(pool, w, 2) != 2 || (!w[0].busy && !w[1].busy))
            doze(MS);
        all[0] = zygote_pid(pool);
        all[1] = worker_pid(pool, 0);
        all[2] = worker_pid(pool, 1);
        if (write(fds[1], all, sizeof all) != sizeof all)
            _exit(2);
        pause();
        _exit(3);
    }
    pid_t all[3];
    close(fds[1]);
    assert_int_equal(read(fds[0], all, sizeof all), sizeof all);
    close(fds[0]);
    *zygote = all[0];
    workers[0] = all[1];
    workers[1] = all[2];
    return pid;
}

static void nobody_outlives_a_killed_owner(void **state) {
    (void)state;
    pid_t zygote, workers[2], owner = start_owner(&zygote, workers);
    kill(owner, SIGKILL);
    waitpid(owner, NULL, 0);
    EVENTUALLY(!is_alive(zygote) && !is_alive(workers[0]) && !is_alive(workers[1]));
}

static void nobody_outlives_a_killed_owner_without_zygote(void **state) {
    (void)state;
    pid_t zygote, workers[2], owner = start_owner(&zygote, workers);
    kill(zygote, SIGKILL);
    kill(owner, SIGKILL);
    waitpid(owner, NULL, 0);
    EVENTUALLY(!is_alive(zygote) && !is_alive(workers[0]) && !is_alive(workers[1]));
}

static void a_forked_child_can_do_no_harm(void **state) {
    (void)state;
    struct erg_pool *pool = open_up("local:1 threads:1", NULL);
    int x = 1;
    erg_future mine = submit(pool, add_one, &x, sizeof x, NULL);
    for (int i = 0; i < 10; i++) {
        pid_t pid = fork();
        if (pid == 0) {
            erg_future f;
            struct erg_error e = {0};
            int bad = erg_submit(pool, add_one, &x, sizeof x, NULL, &f, &e) != ERG_EFORKED;
            bad |= !strstr(e.text, "forked");
            bad |= erg_wait_workers(pool, 1, -1, &e) != ERG_EFORKED;
            bad |= erg_cancel(pool, mine) > 0;
            erg_release(pool, mine);
            bad |= erg_close(pool, &e) != ERG_EFORKED;
            /* It can have pools of its own. */
            struct erg_pool *own;
            bad |= erg_open("local:1", NULL, &own, &e) != 0;
            if (!bad) {
                bad |= erg_submit(own, add_one, &x, sizeof x, NULL, &f, &e) != 0;
                bad |= erg_result(own, f, NULL, &e) != 0;
                bad |= erg_close(own, &e) != 0;
            }
            _exit(bad);
        }
        int status;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
        works(pool);
    }
    assert_int_equal(result_int(pool, mine), 2);
    close_pool(pool);
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(nobody_outlives_a_killed_owner),
        WITH(nobody_outlives_a_killed_owner_without_zygote),
        WITH(a_forked_child_can_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
