/* Pools with real processes: they come up, run, die in every way, and leave nothing behind. */
#include "engine/native.h"
#include "engine/pool.h"
#include "launch/zygote.h"
#include "os/clock.h"

#include <ergon/ergon.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MS ((int64_t)1000000)

/* --- what tasks do ----------------------------------------------------------------------------------------- */
static int add_one(struct erg_task *task, const void *input, size_t len) {
    int x;
    (void)len;
    memcpy(&x, input, sizeof x);
    int *y = erg_task_result(task, sizeof *y);
    *y = x + 1;
    return 0;
}

static int get_pid(struct erg_task *task, const void *input, size_t len) {
    (void)input;
    (void)len;
    pid_t *p = erg_task_result(task, sizeof *p);
    *p = getpid();
    return 0;
}

static void doze(int64_t ns) {
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

/* Sleeps for the int64_t nanoseconds of its input, deaf to everything. */
static int sleep_deaf(struct erg_task *task, const void *input, size_t len) {
    int64_t ns;
    (void)task;
    memcpy(&ns, input, len);
    doze(ns);
    return 0;
}

static int sleep_listening(struct erg_task *task, const void *input, size_t len) {
    int64_t ns;
    memcpy(&ns, input, len);
    for (; ns > 0; ns -= MS) {
        if (erg_task_stopped(task))
            return 1;
        doze(MS);
    }
    return 0;
}

static int die_by_signal(struct erg_task *task, const void *input, size_t len) {
    int number;
    (void)task;
    memcpy(&number, input, len);
    signal(number, SIG_DFL); /* a sanitizer may have taken it */
    raise(number);
    return 0;
}

static int die_by_exit(struct erg_task *task, const void *input, size_t len) {
    (void)task;
    (void)input;
    (void)len;
    _exit(7);
}

/* Input: a path. Dies if it is the first to be there. */
static int die_once(struct erg_task *task, const void *input, size_t len) {
    (void)len;
    int fd = open(input, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0)
        raise(SIGKILL);
    return get_pid(task, NULL, 0);
}

static int fail_with_words(struct erg_task *task, const void *input, size_t len) {
    (void)input;
    (void)len;
    return erg_task_fail(task, ERG_ENOTFOUND, "nothing here but %d words", 4);
}

static int sum_after(struct erg_task *task, const void *input, size_t len) {
    int *sum = erg_task_result(task, sizeof *sum);
    (void)input;
    (void)len;
    *sum = 0;
    for (size_t i = 0;; i++) {
        struct erg_bytes b = erg_task_after(task, i);
        int x;
        if (!b.data)
            return 0;
        memcpy(&x, b.data, sizeof x);
        *sum += x;
    }
}

/* Items: strings. "bad" fails, "die" kills the worker; else the string twice. */
static int twice(struct erg_task *task, const void *input, size_t len) {
    if (len == 3 && memcmp(input, "bad", 3) == 0)
        return erg_task_fail(task, 0, "a bad item");
    if (len == 3 && memcmp(input, "die", 3) == 0)
        raise(SIGKILL);
    char *out = erg_task_result(task, len);
    memcpy(out, input, len);
    out = erg_task_result(task, 2 * len); /* asking again starts over */
    memcpy(out, input, len);
    memcpy(out + len, input, len);
    return 0;
}

/* Input: microseconds to be busy; result the same. */
static int busy_us(struct erg_task *task, const void *input, size_t len) {
    uint32_t us;
    memcpy(&us, input, sizeof us);
    (void)len;
    uint64_t end = erg_clock_ns() + us * 1000ull;
    while (erg_clock_ns() < end)
        continue;
    memcpy(erg_task_result(task, sizeof us), &us, sizeof us);
    return 0;
}

/* --- helpers --------------------------------------------------------------------------------------------------- */
static struct erg_error err;

static struct erg_pool *open_pool(const char *resources, const struct erg_open_options *options) {
    struct erg_pool *pool = NULL;
    if (erg_open(resources, options, &pool, &err) != 0)
        fail_msg("%s", err.text);
    return pool;
}

static struct erg_pool *open_up(const char *resources, const struct erg_open_options *options) {
    struct erg_pool *pool = open_pool(resources, options);
    if (erg_wait_workers(pool, 1000, 60000 * MS, &err) != 0)
        fail_msg("%s", err.text);
    return pool;
}

static void close_pool(struct erg_pool *pool) {
    if (erg_close(pool, &err) != 0)
        fail_msg("%s", err.text);
}

static erg_future submit(struct erg_pool *pool, erg_function *f, const void *in, size_t len,
                         const struct erg_task_options *o) {
    erg_future future;
    if (erg_submit(pool, f, in, len, o, &future, &err) != 0)
        fail_msg("%s", err.text);
    return future;
}

static int result_int(struct erg_pool *pool, erg_future future) {
    struct erg_bytes b;
    int x;
    if (erg_result(pool, future, &b, &err) != 0)
        fail_msg("%s", err.text);
    assert_int_equal(b.len, sizeof x);
    memcpy(&x, b.data, sizeof x);
    erg_release(pool, future);
    return x;
}

/* The task fails with this code and a text with these words. */
static void expect_failure(struct erg_pool *pool, erg_future future, int code, const char *words) {
    int rc = erg_result(pool, future, NULL, &err);
    if (rc != code || !strstr(err.text, words))
        fail_msg("%d \"%s\" instead of %d \"%s\"", rc, rc ? err.text : "", code, words);
    erg_release(pool, future);
}

static void works(struct erg_pool *pool) {
    int x = 41;
    assert_int_equal(result_int(pool, submit(pool, add_one, &x, sizeof x, NULL)), 42);
}

static pid_t worker_pid(struct erg_pool *pool, int which) {
    struct erg_worker w[64];
    int n = erg_workers(pool, w, 64);
    for (int i = 0; i < n; i++)
        if (w[i].is_process && w[i].up && which-- == 0)
            return (pid_t)w[i].pid;
    return 0;
}

/* Until cond, at most 20 s (a limit, not a measurement). */
#define EVENTUALLY(cond) EVENTUALLY_OR(cond, (void)0)
#define EVENTUALLY_OR(cond, otherwise)                                                             \
    do {                                                                                           \
        int64_t until = (int64_t)erg_clock_ns() + 20000 * MS;                                      \
        while (!(cond)) {                                                                          \
            if ((int64_t)erg_clock_ns() > until) {                                                 \
                otherwise;                                                                         \
                fail_msg("never: %s", #cond);                                                      \
            }                                                                                      \
            doze(MS);                                                                              \
        }                                                                                          \
    } while (0)

/* Alive and not just waiting to be reaped by somebody else. */
static int is_alive(pid_t pid) {
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    char *end = strrchr(text, ')');
    return end && end[2] != 'Z' && end[2] != 'X';
}

/* Processes started by this run of the tests, alive: they carry a mark in their environment. */
static char mark[64];

static int has_mark(const char *pid) {
    static char text[1 << 16];
    char path[300];
    snprintf(path, sizeof path, "/proc/%s/environ", pid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    text[n > 0 ? n : 0] = '\0';
    for (char *at = text; at < text + n; at += strlen(at) + 1)
        if (strcmp(at, mark) == 0)
            return 1;
    return 0;
}

static int count_ours(pid_t *first) {
    DIR *d = opendir("/proc");
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        pid_t pid = (pid_t)atoi(e->d_name);
        if (pid <= 0 || pid == getpid() || !has_mark(e->d_name) || !is_alive(pid))
            continue;
        if (first && n == 0)
            *first = pid;
        n++;
    }
    closedir(d);
    return n;
}

static pid_t zygote_pid(struct erg_pool *pool) {
    /* The workers' parent. */
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)worker_pid(pool, 0));
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    return (pid_t)atoi(strrchr(text, ')') + 4);
}

static int count_fds(void) {
    int n = 0;
    for (int fd = 0; fd < 512; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* So that a test that failed does not disturb the next one. */
static void kill_ours(void) {
    pid_t pid;
    for (int i = 0; i < 1000 && count_ours(&pid) > 0; i++)
        kill(pid, SIGKILL);
}

static int fds_before;

static int before(void **state) {
    (void)state;
    fds_before = count_fds();
    return 0;
}

/* Nothing is left of a pool that was closed. */
static int after(void **state) {
    (void)state;
    EVENTUALLY_OR(count_ours(NULL) == 0, kill_ours());
    EVENTUALLY(count_fds() == fds_before); /* a thread closes its own a moment after it has left */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

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

/* --- maps -------------------------------------------------------------------------------------------------------- */
static void maps_of_arrays(void **state) {
    (void)state;
    enum { N = 200000 };
    int *in = malloc(N * sizeof *in), *out = calloc(N, sizeof *out);
    for (int i = 0; i < N; i++)
        in[i] = i;
    struct erg_pool *pool = open_pool("local:2", NULL);
    if (erg_map_array(pool, add_one, in, sizeof *in, N, out, sizeof *out, NULL, &err) != 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < N; i++)
        assert_int_equal(out[i], i + 1);
    assert_int_equal(erg_map_array(pool, add_one, in, sizeof *in, 0, out, sizeof *out, NULL, &err),
                     0);
    assert_int_equal(erg_map_array(pool, add_one, in, sizeof *in, 10, out, 8, NULL, &err),
                     ERG_EINVALID);
    close_pool(pool);
    free(in);
    free(out);
}

static void maps_of_anything(void **state) {
    (void)state;
    enum { N = 1000 };
    static char text[N][40];
    struct erg_bytes items[N];
    for (int i = 0; i < N; i++) {
        snprintf(text[i], sizeof text[i], "%0*d", 1 + i % 30, i);
        items[i] = (struct erg_bytes){text[i], strlen(text[i])};
    }
    items[500] = (struct erg_bytes){"bad", 3};
    items[700] = (struct erg_bytes){NULL, 0};
    struct erg_pool *pool = open_pool("local:1 threads:1", NULL);
    struct erg_results *results;
    assert_int_equal(erg_map(pool, twice, items, N, NULL, &results, &err), ERG_ETASK);
    assert_non_null(strstr(err.text, "item 500: a bad item"));
    for (size_t i = 0; i < N; i++) {
        struct erg_bytes b;
        int rc = erg_results_get(results, i, &b, &err);
        assert_int_equal(rc, i == 500 ? ERG_ETASK : 0);
        if (rc != 0)
            continue;
        assert_int_equal(b.len, 2 * items[i].len);
        if (b.len > 0) {
            assert_memory_equal(b.data, items[i].data, items[i].len);
            assert_memory_equal((const char *)b.data + items[i].len, items[i].data, items[i].len);
        }
    }
    assert_int_equal(erg_results_get(results, N, NULL, &err), ERG_EINVALID);
    erg_results_free(results);
    close_pool(pool);
}

static void a_deadly_item_costs_itself_only(void **state) {
    (void)state;
    enum { N = 5000 };
    struct erg_bytes items[N];
    for (int i = 0; i < N; i++)
        items[i] = (struct erg_bytes){"item", 4};
    items[3000] = (struct erg_bytes){"die", 3};
    struct erg_pool *pool = open_pool("local:2", NULL);
    struct erg_results *results;
    assert_int_equal(erg_map(pool, twice, items, N, NULL, &results, &err), ERG_ELOST);
    assert_non_null(strstr(err.text, "item 3000: worker"));
    for (size_t i = 0; i < N; i++)
        if (i != 3000)
            assert_int_equal(erg_results_get(results, i, NULL, &err), 0);
    erg_results_free(results);
    works(pool);
    close_pool(pool);
}

static void uneven_maps_use_all_workers(void **state) {
    (void)state;
    /* One long item first, many short ones behind: whoever has the long one must not hold others back. */
    enum { N = 400 };
    uint32_t in[N], out[N];
    for (int i = 0; i < N; i++)
        in[i] = i == 0 ? 100000 : 250;
    struct erg_pool *pool = open_up("threads:2", NULL);
    if (erg_map_array(pool, busy_us, in, sizeof in[0], N, out, sizeof out[0], NULL, &err) != 0)
        fail_msg("%s", err.text);
    assert_memory_equal(in, out, sizeof in);
    struct erg_worker w[2];
    assert_int_equal(erg_workers(pool, w, 2), 2);
    assert_true(w[0].tasks > 0 && w[1].tasks > 0);
    close_pool(pool);
}

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
    assert_int_equal(erg_pool_restart(pool, &err), ERG_ESTATE);
    assert_int_equal(erg_pool_join(pool, -1, &err), ERG_ESTATE);
    assert_int_equal(erg_pool_terminate(pool, &err), 0);
    for (int i = 0; i < 10; i++) {
        assert_true(erg_done(pool, f[i]));
        expect_failure(pool, f[i], ERG_ECANCELLED, "");
    }
    erg_future g;
    int x = 1;
    assert_int_equal(erg_submit(pool, add_one, &x, sizeof x, NULL, &g, &err), ERG_ECLOSED);
    assert_int_equal(erg_pool_restart(pool, &err), 0);
    works(pool);
    assert_int_equal(erg_pool_close(pool), 0);
    assert_int_equal(erg_pool_join(pool, -1, &err), 0);
    assert_int_equal(erg_pool_restart(pool, &err), 0);
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

#define WITH(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    if (argc == 2 && strncmp(argv[1], "--", 2) == 0)
        _exit(strange_zygote(argv[1]));
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    snprintf(mark, sizeof mark, "ERGON_POOL_TEST=%d", (int)getpid());
    putenv(mark);
    /* What the loop's library keeps for good is not a leak: have it now. */
    struct erg_engine *engine;
    if (erg_engine_new(&engine, &err) == 0)
        erg_engine_free(engine);
    const struct CMUnitTest tests[] = {
        WITH(processes_run_tasks),
        WITH(threads_run_tasks),
        WITH(mixed_pools_run_tasks_where_they_are_wanted),
        WITH(failures_carry_their_words),
        WITH(graphs_wait_for_their_edges),
        WITH(a_failed_task_fails_what_comes_after),
        WITH(close_runs_everything),
        WITH(maps_of_arrays),
        WITH(maps_of_anything),
        WITH(a_deadly_item_costs_itself_only),
        WITH(uneven_maps_use_all_workers),
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
        WITH(nobody_outlives_a_killed_owner),
        WITH(nobody_outlives_a_killed_owner_without_zygote),
        WITH(a_forked_child_can_do_no_harm),
        WITH(time_limits),
        WITH(time_limits_in_threads),
        WITH(neighbours_of_a_killed_task_are_unharmed),
        WITH(cancelling),
        WITH(abort_does_not_wait_for_tasks),
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
