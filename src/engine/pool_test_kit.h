/* What tests with real pools share: functions for tasks, a pool in one line, who is alive, and that nothing is left.
 *
 * A test program is also the zygote and the workers of its pools: TEST_MAIN starts with erg_init. */
#ifndef ERG_ENGINE_POOL_TEST_KIT_H
#define ERG_ENGINE_POOL_TEST_KIT_H

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
static inline int add_one(struct erg_task *task, const void *input, size_t len) {
    int x;
    (void)len;
    memcpy(&x, input, sizeof x);
    int *y = erg_task_result(task, sizeof *y);
    *y = x + 1;
    return 0;
}

static inline int get_pid(struct erg_task *task, const void *input, size_t len) {
    (void)input;
    (void)len;
    pid_t *p = erg_task_result(task, sizeof *p);
    *p = getpid();
    return 0;
}

static inline void doze(int64_t ns) {
    struct timespec t = {ns / 1000000000, ns % 1000000000};
    while (nanosleep(&t, &t) != 0 && errno == EINTR)
        continue;
}

/* Sleeps for the int64_t nanoseconds of its input, deaf to everything. */
static inline int sleep_deaf(struct erg_task *task, const void *input, size_t len) {
    int64_t ns;
    (void)task;
    memcpy(&ns, input, len);
    doze(ns);
    return 0;
}

static inline int sleep_listening(struct erg_task *task, const void *input, size_t len) {
    int64_t ns;
    memcpy(&ns, input, len);
    for (; ns > 0; ns -= MS) {
        if (erg_task_stopped(task))
            return 1;
        doze(MS);
    }
    return 0;
}

static inline int die_by_signal(struct erg_task *task, const void *input, size_t len) {
    int number;
    (void)task;
    memcpy(&number, input, len);
    signal(number, SIG_DFL); /* a sanitizer may have taken it */
    raise(number);
    return 0;
}

static inline int die_by_exit(struct erg_task *task, const void *input, size_t len) {
    (void)task;
    (void)input;
    (void)len;
    _exit(7);
}

/* Input: a path. Dies if it is the first to be there. */
static inline int die_once(struct erg_task *task, const void *input, size_t len) {
    (void)len;
    int fd = open(input, O_CREAT | O_EXCL | O_WRONLY, 0600);
    if (fd >= 0)
        raise(SIGKILL);
    return get_pid(task, NULL, 0);
}

static inline int fail_with_words(struct erg_task *task, const void *input, size_t len) {
    (void)input;
    (void)len;
    return erg_task_fail(task, ERG_ENOTFOUND, "nothing here but %d words", 4);
}

static inline int sum_after(struct erg_task *task, const void *input, size_t len) {
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

/* Input: microseconds to be busy; result the same. */
static inline int busy_us(struct erg_task *task, const void *input, size_t len) {
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

static inline struct erg_pool *open_pool(const char *resources,
                                         const struct erg_open_options *options) {
    struct erg_pool *pool = NULL;
    if (erg_open(resources, options, &pool, &err) != 0)
        fail_msg("%s", err.text);
    return pool;
}

static inline struct erg_pool *open_up(const char *resources,
                                       const struct erg_open_options *options) {
    struct erg_pool *pool = open_pool(resources, options);
    if (erg_wait_workers(pool, 1000, 60000 * MS, &err) != 0)
        fail_msg("%s", err.text);
    return pool;
}

static inline void close_pool(struct erg_pool *pool) {
    if (erg_close(pool, &err) != 0)
        fail_msg("%s", err.text);
}

static inline erg_future submit(struct erg_pool *pool, erg_function *f, const void *in, size_t len,
                                const struct erg_task_options *o) {
    erg_future future;
    if (erg_submit(pool, f, in, len, o, &future, &err) != 0)
        fail_msg("%s", err.text);
    return future;
}

static inline int result_int(struct erg_pool *pool, erg_future future) {
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
static inline void expect_failure(struct erg_pool *pool, erg_future future, int code,
                                  const char *words) {
    int rc = erg_result(pool, future, NULL, &err);
    if (rc != code || !strstr(err.text, words))
        fail_msg("%d \"%s\" instead of %d \"%s\"", rc, rc ? err.text : "", code, words);
    erg_release(pool, future);
}

static inline void works(struct erg_pool *pool) {
    int x = 41;
    assert_int_equal(result_int(pool, submit(pool, add_one, &x, sizeof x, NULL)), 42);
}

static inline pid_t worker_pid(struct erg_pool *pool, int which) {
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
static inline int is_alive(pid_t pid) {
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

static inline int has_mark(const char *pid) {
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

static inline int count_ours(pid_t *first) {
    DIR *d = opendir("/proc");
    int n = 0;
    for (struct dirent *e; d && (e = readdir(d));) {
        pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);
        if (pid <= 0 || pid == getpid() || !has_mark(e->d_name) || !is_alive(pid))
            continue;
        if (first && n == 0)
            *first = pid;
        n++;
    }
    closedir(d);
    return n;
}

static inline pid_t zygote_pid(struct erg_pool *pool) {
    /* The workers' parent. */
    char path[32], text[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)worker_pid(pool, 0));
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = '\0';
    return (pid_t)strtol(strrchr(text, ')') + 4, NULL, 10);
}

static inline int count_fds(void) {
    int n = 0;
    for (int fd = 0; fd < 512; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* So that a test that failed does not disturb the next one. */
static inline void kill_ours(void) {
    pid_t pid;
    for (int i = 0; i < 1000 && count_ours(&pid) > 0; i++)
        kill(pid, SIGKILL);
}

static int fds_before;

static inline int before(void **state) {
    (void)state;
    fds_before = count_fds();
    return 0;
}

/* Nothing is left of a pool that was closed. */
static inline int after(void **state) {
    (void)state;
    EVENTUALLY_OR(count_ours(NULL) == 0, kill_ours());
    EVENTUALLY(count_fds() == fds_before); /* a thread closes its own a moment after it has left */
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, before, after)

/* In main, after erg_init: an argument names the only test to run. */
static inline void begin_tests(int argc, char **argv) {
    if (argc == 2)
        cmocka_set_test_filter(argv[1]);
    snprintf(mark, sizeof mark, "ERGON_POOL_TEST=%d", (int)getpid());
    putenv(mark);
    /* What the loop's library keeps for good is not a leak: have it now. */
    struct erg_engine *engine;
    if (erg_engine_new(&engine, &err) == 0)
        erg_engine_free(engine);
}

#endif
