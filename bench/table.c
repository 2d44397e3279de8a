/* What the steps of the task table cost, in nanoseconds an operation, and the memory of its arena in GB/s. The best of
 * a few runs each, because other programs on the machine only ever add. */
#include "os/clock.h"
#include "os/shm.h"
#include "table/arena.h"
#include "table/claim.h"
#include "table/range.h"
#include "table/record.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS = 100000, ROUNDS = 7, CALLS = 20000, WORKERS = 2, SPIN_NS = 200000 };

struct bench {
    struct erg_table *t;
    struct erg_member *owner, *worker;
    uint32_t *index;
};

static void must(int ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "bench/table: %s\n", what);
    exit(1);
}

static uint64_t least(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static void line(const char *what, double value, const char *unit) {
    printf("%-64s %10.1f %s\n", what, value, unit);
}

/* --- one thread ------------------------------------------------------------------------------------------------- */

static void steps(struct bench *b) {
    uint64_t enter = UINT64_MAX, run = UINT64_MAX, leave = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t t0 = erg_clock_ns();
        for (int i = 0; i < TASKS; i++) {
            must(erg_record_new(b->owner, &b->index[i]) == 0, "no record");
            erg_record_submit(b->owner, b->index[i]);
        }
        uint64_t t1 = erg_clock_ns();
        uint32_t got;
        while (erg_claim_next(b->worker, &got))
            erg_claim_finish(b->worker, got, ERG_OUT_OK);
        uint64_t t2 = erg_clock_ns();
        for (int i = 0; i < TASKS; i++)
            erg_record_free(b->owner, b->index[i]);
        uint64_t t3 = erg_clock_ns();
        enter = least(enter, t1 - t0);
        run = least(run, t2 - t1);
        leave = least(leave, t3 - t2);
    }
    line("a record taken and submitted", (double)enter / TASKS, "ns");
    line("claimed and finished", (double)run / TASKS, "ns");
    line("freed", (double)leave / TASKS, "ns");
}

static void chain(struct bench *b) {
    uint64_t make = UINT64_MAX, run = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t t0 = erg_clock_ns();
        for (int i = 0; i < TASKS; i++) {
            must(erg_record_new(b->owner, &b->index[i]) == 0, "no record");
            if (i > 0)
                erg_record_after(b->owner, b->index[i], erg_record_handle(b->t, b->index[i - 1]));
        }
        erg_record_submit_many(b->owner, b->index, TASKS);
        uint64_t t1 = erg_clock_ns();
        uint32_t got;
        while (erg_claim_next(b->worker, &got))
            erg_claim_finish(b->worker, got, ERG_OUT_OK);
        uint64_t t2 = erg_clock_ns();
        for (int i = 0; i < TASKS; i++)
            erg_record_free(b->owner, b->index[i]);
        make = least(make, t1 - t0);
        run = least(run, t2 - t1);
    }
    line("entered with one edge", (double)make / TASKS, "ns");
    line("claimed and finished, releasing the next", (double)run / TASKS, "ns");
}

static void ranges(struct bench *b) {
    uint32_t index, item;
    must(erg_record_new(b->owner, &index) == 0, "no record");
    struct erg_record *r = erg_table_record(b->t, index);
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        erg_range_set(r, 0, TASKS);
        uint64_t t0 = erg_clock_ns();
        while (erg_range_take(r, &item))
            ;
        best = least(best, erg_clock_ns() - t0);
    }
    line("the next item of a chunk", (double)best / TASKS, "ns");
    erg_record_free(b->owner, index);
}

/* --- with worker processes ----------------------------------------------------------------------------------------- */

static void work(struct erg_table *shared, uint32_t number) {
    struct erg_table *t;
    struct erg_member *m;
    uint32_t index;
    if (erg_table_attach(erg_table_fd(shared), &t, NULL) < 0 ||
        erg_member_open(t, number, &m, NULL) < 0)
        _exit(1);
    while (erg_claim_wait(m, &index, SPIN_NS, -1) == 1)
        erg_claim_finish(m, index, ERG_OUT_OK);
    erg_member_close(m);
    _exit(0);
}

static int by_size(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void round_trips(struct bench *b) {
    static uint64_t took[CALLS];
    for (int i = 0; i < CALLS; i++) {
        uint32_t index;
        uint64_t t0 = erg_clock_ns();
        must(erg_record_new(b->owner, &index) == 0, "no record");
        erg_handle h = erg_record_handle(b->t, index);
        erg_record_submit(b->owner, index);
        must(erg_record_wait(b->owner, h, -1) == 0, "a wait failed");
        erg_record_free(b->owner, index);
        took[i] = erg_clock_ns() - t0;
    }
    qsort(took, CALLS, sizeof took[0], by_size);
    line("one call and its result, median", (double)took[CALLS / 2], "ns");
    line("  of ten thousand: one in ten faster than", (double)took[CALLS / 10], "ns");
}

static void throughput(struct bench *b, int many) {
    uint64_t best = UINT64_MAX;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t t0 = erg_clock_ns();
        for (int i = 0; i < TASKS; i++) {
            must(erg_record_new(b->owner, &b->index[i]) == 0, "no record");
            if (!many)
                erg_record_submit(b->owner, b->index[i]);
            else if (i % 64 == 63 || i == TASKS - 1)
                erg_record_submit_many(b->owner, b->index + i / 64 * 64, (size_t)(i % 64 + 1));
        }
        for (int i = 0; i < TASKS; i++)
            must(erg_record_wait(b->owner, erg_record_handle(b->t, b->index[i]), -1) == 0,
                 "a wait failed");
        best = least(best, erg_clock_ns() - t0);
        for (int i = 0; i < TASKS; i++)
            erg_record_free(b->owner, b->index[i]);
    }
    line(many ? "a task through 2 processes, submitted 64 at a time"
              : "a task through 2 processes, submitted one by one",
         (double)best / TASKS, "ns");
}

static void processes(struct bench *b) {
    pid_t pids[WORKERS];
    uint32_t number;
    for (int i = 0; i < WORKERS; i++) {
        must(erg_member_reserve(b->t, ERG_MEMBER_PROCESS, 1, &number, NULL) == 0, "no slot");
        pids[i] = fork();
        must(pids[i] >= 0, "cannot fork");
        if (pids[i] == 0)
            work(b->t, number);
    }
    round_trips(b);
    throughput(b, 0);
    throughput(b, 1);
    atomic_store(&b->t->header->closed, 1);
    erg_member_wake_all(b->t);
    for (int i = 0; i < WORKERS; i++)
        waitpid(pids[i], NULL, 0);
}

/* --- memory ----------------------------------------------------------------------------------------------------------- */

static void blocks(struct bench *b) {
    static const uint64_t sizes[] = {64, 4096, 65536, 2000000};
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        uint64_t offset, best = UINT64_MAX;
        for (int round = 0; round < ROUNDS; round++) {
            uint64_t t0 = erg_clock_ns();
            for (int i = 0; i < 1000; i++) {
                must(erg_arena_alloc(b->owner, sizes[k], &offset, NULL) == 0, "no memory");
                erg_arena_free(b->owner, offset);
            }
            best = least(best, erg_clock_ns() - t0);
        }
        char what[80];
        snprintf(what, sizeof what, "a warm block of %llu bytes taken and freed",
                 (unsigned long long)sizes[k]);
        line(what, (double)best / 1000, "ns");
    }
}

static double gb_per_s(uint64_t bytes, uint64_t ns) {
    return ns ? (double)bytes / (double)ns : 0;
}

static void big_memory(struct bench *b) {
    enum { BYTES = 200000000 };
    uint64_t offset, fresh = UINT64_MAX, copy = UINT64_MAX, touch = UINT64_MAX;
    uint64_t view_read = UINT64_MAX, view_write = UINT64_MAX, view_end = UINT64_MAX;
    uint64_t again = UINT64_MAX;
    char *source = malloc(BYTES);
    must(source != NULL, "no memory");
    memset(source, 1, BYTES);
    for (int round = 0; round < 3; round++) {
        erg_arena_trim(b->owner, 0);
        uint64_t t0 = erg_clock_ns();
        must(erg_arena_alloc(b->owner, BYTES, &offset, NULL) == 0, "no memory");
        uint64_t t1 = erg_clock_ns();
        erg_arena_copy(erg_table_at(b->t, offset), source, BYTES);
        uint64_t t2 = erg_clock_ns();
        fresh = least(fresh, t1 - t0);
        copy = least(copy, t2 - t1);
        volatile char *view = erg_arena_map_private(b->t, offset, BYTES);
        uint64_t sum = 0;
        for (size_t i = 0; i < BYTES; i += 4096)
            sum += (uint64_t)view[i];
        uint64_t t4 = erg_clock_ns();
        for (size_t i = 0; i < BYTES; i += 4096)
            view[i] = 2;
        uint64_t t5 = erg_clock_ns();
        must(sum == (BYTES + 4095) / 4096, "the view shows something else");
        view_read = least(view_read, t4 - t2);
        view_write = least(view_write, t5 - t4);
        uint64_t t6 = erg_clock_ns();
        erg_arena_unmap_private(b->t, (void *)view, BYTES);
        view_end = least(view_end, erg_clock_ns() - t6);
        struct erg_table *other;
        must(erg_table_attach(erg_table_fd(b->t), &other, NULL) == 0, "cannot attach");
        t0 = erg_clock_ns();
        for (size_t i = 0; i < BYTES; i += 4096)
            sum += *(volatile char *)erg_table_at(other, offset + i);
        touch = least(touch, erg_clock_ns() - t0);
        erg_table_close(other);
        erg_arena_free(b->owner, offset);
        t0 = erg_clock_ns();
        must(erg_arena_alloc(b->owner, BYTES, &offset, NULL) == 0, "no memory");
        again = least(again, erg_clock_ns() - t0);
        erg_arena_free(b->owner, offset);
    }
    line("200 MB fresh", gb_per_s(BYTES, fresh), "GB/s");
    line("200 MB warm", (double)again, "ns");
    line("200 MB copied in", gb_per_s(BYTES, copy), "GB/s");
    line("200 MB seen by another process for the first time", gb_per_s(BYTES, touch), "GB/s");
    line("200 MB as a private view, mapped and read", gb_per_s(BYTES, view_read), "GB/s");
    line("200 MB, the view's end", (double)view_end, "ns");
    line("200 MB of it written, page by page", gb_per_s(BYTES, view_write), "GB/s");
    free(source);
}

int main(void) {
    struct bench b = {0};
    struct erg_error err;
    uint32_t number;
    b.index = calloc(TASKS, sizeof *b.index);
    must(b.index != NULL, "no memory");
    must(erg_table_create(NULL, &b.t, &err) == 0, err.text);
    must(erg_member_open(b.t, 0, &b.owner, &err) == 0, err.text);
    must(erg_member_reserve(b.t, ERG_MEMBER_THREAD, 1, &number, &err) == 0, err.text);
    must(erg_member_open(b.t, number, &b.worker, &err) == 0, err.text);
    steps(&b);
    chain(&b);
    ranges(&b);
    blocks(&b);
    big_memory(&b);
    erg_member_close(b.worker);
    processes(&b);
    erg_table_close(b.t);
    free(b.index);
    return 0;
}
