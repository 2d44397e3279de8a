/* How many primes are there below a limit? Counted in segments by every core, added up in a tree of tasks, with a
 * worker killed in the middle of it.
 *
 *     cc -O2 -o primes primes.c $(pkg-config --cflags --libs ergon)
 *     ./primes [limit [resources]]          for instance: ./primes 100000000 "local:4 threads:2"
 */
#include <ergon/ergon.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

enum { SEGMENTS = 64 };

struct segment {
    uint64_t from, to;
};

/* --- what runs in the workers -------------------------------------------------------------------------------- */

/* Input: a struct segment. Result: the number of primes in [from, to), a uint64_t. */
static int count_primes(struct erg_task *task, const void *input, size_t len) {
    struct segment s;
    if (len != sizeof s)
        return erg_task_fail(task, ERG_EINVALID, "a segment has %zu bytes, not %zu", sizeof s, len);
    memcpy(&s, input, sizeof s);
    uint64_t *count = erg_task_result(task, sizeof *count);
    unsigned char *composite = count ? calloc(s.to - s.from + 1, 1) : NULL;
    if (!composite)
        return erg_task_fail(task, ERG_ENOMEM, "no memory for a segment");
    for (uint64_t p = 2; p * p < s.to; p++) {
        uint64_t first = (s.from + p - 1) / p * p;
        if (first < p * p)
            first = p * p;
        for (uint64_t n = first; n < s.to; n += p)
            composite[n - s.from] = 1;
    }
    *count = 0;
    for (uint64_t n = s.from < 2 ? 2 : s.from; n < s.to; n++)
        *count += !composite[n - s.from];
    free(composite);
    return 0;
}

/* No input. Result: the sum of what the tasks it comes after found. */
static int add(struct erg_task *task, const void *input, size_t len) {
    (void)input;
    (void)len;
    uint64_t *sum = erg_task_result(task, sizeof *sum);
    if (!sum)
        return erg_task_fail(task, ERG_ENOMEM, "no memory for a sum");
    *sum = 0;
    for (size_t i = 0;; i++) {
        struct erg_bytes part = erg_task_after(task, i);
        uint64_t n;
        if (!part.data)
            return 0;
        memcpy(&n, part.data, sizeof n);
        *sum += n;
    }
}

/* --- what uses them -------------------------------------------------------------------------------------------- */

static struct segment segments[SEGMENTS];

static void make_segments(uint64_t limit) {
    for (uint64_t i = 0; i < SEGMENTS; i++)
        segments[i] = (struct segment){limit / SEGMENTS * i,
                                       i + 1 < SEGMENTS ? limit / SEGMENTS * (i + 1) : limit};
}

/* A map: one call for all segments. */
static int by_map(struct erg_pool *pool, uint64_t *total, struct erg_error *err) {
    uint64_t counts[SEGMENTS];
    int rc = erg_map_array(pool, count_primes, segments, sizeof segments[0], SEGMENTS, counts,
                           sizeof counts[0], NULL, err);
    *total = 0;
    for (int i = 0; rc == 0 && i < SEGMENTS; i++)
        *total += counts[i];
    return rc;
}

/* Kills a worker process that is busy, as long as `last` is not done. Threads are not in danger. */
static void kill_a_worker(struct erg_pool *pool, erg_future last) {
    struct erg_worker workers[64];
    while (!erg_done(pool, last)) {
        int n = erg_workers(pool, workers, 64), processes = 0;
        for (int i = 0; i < n && i < 64; i++) {
            processes += workers[i].is_process;
            if (!workers[i].is_process || !workers[i].busy)
                continue;
            printf("killing worker process %lld\n", (long long)workers[i].pid);
            kill((pid_t)workers[i].pid, SIGKILL);
            return;
        }
        if (processes == 0)
            return;
    }
}

/* A graph: a task for each segment, and a tree of sums over them. Tasks start when what they come after is done; nobody
 * waits in between. Whatever dies with a worker is run again. */
static int by_graph(struct erg_pool *pool, uint64_t *total, struct erg_error *err) {
    erg_future level[SEGMENTS];
    struct erg_task_options options = {.retries = 3};
    int rc = 0;
    for (int i = 0; i < SEGMENTS && rc == 0; i++)
        rc = erg_submit(pool, count_primes, &segments[i], sizeof segments[i], &options, &level[i],
                        err);
    for (int width = SEGMENTS; width > 1 && rc == 0; width /= 2)
        for (int i = 0; i < width / 2 && rc == 0; i++) {
            erg_future pair[2] = {level[2 * i], level[2 * i + 1]};
            options.after = pair;
            options.after_len = 2;
            rc = erg_submit(pool, add, NULL, 0, &options, &level[i], err);
            erg_release(pool, pair[0]);
            erg_release(pool, pair[1]);
        }
    struct erg_bytes sum;
    if (rc == 0) {
        kill_a_worker(pool, level[0]);
        rc = erg_result(pool, level[0], &sum, err);
    }
    if (rc == 0)
        memcpy(total, sum.data, sizeof *total);
    return rc;
}

int main(int argc, char **argv) {
    erg_init(&argc, &argv);
    uint64_t limit = argc > 1 ? strtoull(argv[1], NULL, 10) : 20000000, map = 0, graph = 0;
    struct erg_error err;
    struct erg_pool *pool;
    make_segments(limit);
    if (erg_open(argc > 2 ? argv[2] : "local", NULL, &pool, &err) != 0) {
        fprintf(stderr, "primes: %s\n", err.text);
        return 1;
    }
    int rc = by_map(pool, &map, &err);
    if (rc == 0)
        rc = by_graph(pool, &graph, &err);
    if (rc == 0)
        rc = erg_close(pool, &err);
    else
        erg_abort(pool);
    if (rc != 0) {
        fprintf(stderr, "primes: %s\n", err.text);
        return 1;
    }
    printf("%llu primes below %llu by the map, %llu by the graph\n", (unsigned long long)map,
           (unsigned long long)limit, (unsigned long long)graph);
    return map == graph ? 0 : 1;
}
