/* A million C functions that do nothing, through two worker processes: "native SUBMIT-or-MAP" prints seconds a task.
 *
 * submit: entered one by one, at most WINDOW of them not yet looked at, each result looked at in its turn.
 * map: one map over a million items of eight bytes. */
#include <ergon/ergon.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TASKS = 1000000, WINDOW = 1 << 15, REPETITIONS = 5 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static int nothing(struct erg_task *task, const void *input, size_t len) {
    (void)task;
    (void)input;
    (void)len;
    return 0;
}

static int same(struct erg_task *task, const void *input, size_t len) {
    void *result = erg_task_result(task, len);
    if (!result)
        return erg_task_fail(task, ERG_ENOMEM, "no memory for the result");
    memcpy(result, input, len);
    return 0;
}

static int look(struct erg_pool *pool, erg_future future, struct erg_error *err) {
    int rc = erg_result(pool, future, NULL, err);
    erg_release(pool, future);
    return rc;
}

static int submit_all(struct erg_pool *pool, struct erg_error *err) {
    static erg_future futures[WINDOW];
    int rc = 0;
    for (int i = 0; i < TASKS && rc == 0; i++) {
        if (i >= WINDOW)
            rc = look(pool, futures[i % WINDOW], err);
        if (rc == 0)
            rc = erg_submit(pool, nothing, NULL, 0, NULL, &futures[i % WINDOW], err);
    }
    for (int i = 0; i < WINDOW && rc == 0; i++)
        rc = look(pool, futures[i], err);
    return rc;
}

static int map_all(struct erg_pool *pool, struct erg_error *err) {
    uint64_t *items = malloc(TASKS * sizeof *items), *results = calloc(TASKS, sizeof *results);
    int rc = items && results ? 0 : erg_error_set(err, ERG_ENOMEM, "no memory for the items");
    for (uint64_t i = 0; rc == 0 && i < TASKS; i++)
        items[i] = i * 3;
    if (rc == 0)
        rc = erg_map_array(pool, same, items, sizeof *items, TASKS, results, sizeof *results, NULL,
                           err);
    if (rc == 0 && memcmp(items, results, TASKS * sizeof *items) != 0)
        rc = erg_error_set(err, ERG_ECORRUPT, "the results are not the items");
    free(items);
    free(results);
    return rc;
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    int map = argc == 2 && strcmp(argv[1], "map") == 0;
    if (!map && (argc != 2 || strcmp(argv[1], "submit") != 0)) {
        fprintf(stderr, "usage: %s submit | map\n", argv[0]);
        return 2;
    }
    struct erg_error err;
    struct erg_pool *pool;
    int rc = erg_open("local:2", NULL, &pool, &err);
    if (rc == 0)
        rc = erg_wait_workers(pool, 2, -1, &err);
    for (int i = 0; i < REPETITIONS && rc == 0; i++) {
        double start = now();
        rc = map ? map_all(pool, &err) : submit_all(pool, &err);
        if (rc == 0)
            printf("%.4g\n", (now() - start) / TASKS);
    }
    if (rc == 0)
        rc = erg_close(pool, &err);
    if (rc != 0)
        fprintf(stderr, "%s\n", err.text);
    return rc != 0;
}
