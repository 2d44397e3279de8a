#include "cli/report/summary.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUN(pid, tid, name, ts, dur, args)                                                         \
    "{\"ph\":\"X\",\"pid\":" #pid ",\"tid\":" #tid ",\"name\":\"" name "\",\"ts\":" #ts            \
    ",\"dur\":" #dur ",\"args\":{" args "}}"

static void make(struct erg_trace *t, struct erg_summary *s, const char *text) {
    memset(t, 0, sizeof *t);
    memset(s, 0, sizeof *s);
    assert_int_equal(erg_trace_read(t, text, strlen(text), NULL), 0);
    assert_int_equal(erg_summary_make(s, t, NULL), 0);
}

static void done(struct erg_trace *t, struct erg_summary *s) {
    erg_summary_fini(s);
    erg_trace_fini(t);
}

/* The parts of the budget are all there is. */
static void assert_adds_up(const struct erg_summary *s) {
    const struct erg_summary_budget *b = &s->budget;
    assert_float_equal(b->busy + b->startup + b->between + b->idle + b->uneven + b->tail,
                       s->available, s->available * 1e-9 + 1e-9);
}

static void nothing(void **state) {
    (void)state;
    struct erg_trace t;
    struct erg_summary s;
    make(&t, &s, "[]");
    assert_float_equal(s.tasks, 0, 0);
    assert_float_equal(s.end - s.origin, 0, 0);
    assert_adds_up(&s);
    done(&t, &s);
}

static void two_workers(void **state) {
    (void)state;
    struct erg_trace t;
    struct erg_summary s;
    /* worker 1: 10-20, 25-35; worker 2: 10-30, then nothing more. The first task was queued at 4. */
    make(&t, &s,
         "[" RUN(1, 1, "f", 10, 10, "\"wait_us\":6,\"items\":3") "," RUN(
             1, 2, "f", 10, 20, "\"wait_us\":6,\"bytes_in\":5") "," RUN(1, 1, "g", 25, 10,
                                                                        "\"wait_us\":1") "]");
    assert_float_equal(s.origin, 4, 1e-9);
    assert_float_equal(s.end, 35, 1e-9);
    assert_float_equal(s.tasks, 3, 0);
    assert_float_equal(s.items, 5, 0);
    assert_float_equal(s.total, 40, 1e-9);
    assert_float_equal(s.workers[1].bytes_in, 5, 0);
    assert_float_equal(s.workers[0].bytes_in + s.workers[1].bytes_out, 0, 0);
    assert_float_equal(s.available, 62, 1e-9);
    assert_float_equal(s.budget.busy, 40, 1e-9);
    assert_float_equal(s.budget.startup, 12, 1e-9);
    assert_float_equal(s.budget.between, 1, 1e-9); /* 24-25: it waited, worker 1 was free */
    assert_float_equal(s.budget.uneven, 4, 1e-9);  /* 20-24 */
    assert_float_equal(s.budget.tail, 5, 1e-9);    /* 30-35, worker 2 */
    assert_adds_up(&s);
    assert_string_equal(t.functions.names[s.functions[0].function], "f");
    assert_float_equal(s.functions[0].median, 20, 1e-9);
    assert_float_equal(s.functions[0].waited, 6, 1e-9);
    assert_float_equal(s.functions[1].total, 10, 1e-9);
    assert_int_equal(s.slowest_count, 3);
    assert_float_equal(t.tasks[s.slowest[0]].lasted, 20, 1e-9);
    done(&t, &s);
}

static void a_worker_that_comes_late(void **state) {
    (void)state;
    struct erg_trace t;
    struct erg_summary s;
    /* Four tasks queued at 0; worker 1 runs two, 10-30; worker 2 comes up at 20 and runs two, 20-40. */
    make(&t, &s,
         "[" RUN(1, 1, "f", 10, 10, "\"wait_us\":10") "," RUN(
             1, 1, "f", 20, 10,
             "\"wait_us\":20") "," RUN(1, 2, "f", 20, 10,
                                       "\"wait_us\":20") "," RUN(1, 2, "f", 30, 10,
                                                                 "\"wait_us\":30") "]");
    assert_float_equal(s.budget.startup, 2 * 10 + 10, 1e-9);
    assert_float_equal(s.budget.between, 0, 1e-9);
    assert_float_equal(s.budget.tail, 10, 1e-9);
    assert_adds_up(&s);
    done(&t, &s);
}

static void a_task_inside_a_task_counts_once(void **state) {
    (void)state;
    struct erg_trace t;
    struct erg_summary s;
    make(&t, &s, "[" RUN(1, 1, "inner", 2, 3, "") "," RUN(1, 1, "outer", 0, 10, "") "]");
    assert_float_equal(s.workers[0].busy, 10, 1e-9);
    assert_float_equal(s.budget.busy, 10, 1e-9);
    assert_float_equal(s.total, 13, 1e-9);
    assert_adds_up(&s);
    done(&t, &s);
}

static void pools_are_there_from_their_first_task_to_their_last(void **state) {
    (void)state;
    struct erg_trace t;
    struct erg_summary s;
    make(&t, &s, "[" RUN(1, 1, "f", 0, 10, "") "," RUN(2, 1, "f", 1000, 10, "") "]");
    assert_float_equal(s.available, 20, 1e-9);
    assert_float_equal(s.budget.busy, 20, 1e-9);
    assert_float_equal(s.end - s.origin, 1010, 1e-9);
    done(&t, &s);
}

/* Any set of tasks: what the parts say and the whole agree, and no part is negative. */
static void random_runs_add_up(void **state) {
    (void)state;
    uint64_t seed = 88172645463325252u;
    for (int round = 0; round < 200; round++) {
        struct erg_trace t = {0};
        struct erg_summary s = {0};
        char *text = NULL;
        size_t len = 0;
        FILE *out = open_memstream(&text, &len);
        fputs("[", out);
        for (int i = 0; i < round; i++) {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            fprintf(out,
                    "%s{\"ph\":\"X\",\"name\":\"f%d\",\"pid\":%d,\"tid\":%d,\"ts\":%d,\"dur\":%d,"
                    "\"args\":{\"wait_us\":%d}}",
                    i ? "," : "", (int)(seed >> 5 & 7), (int)(seed >> 10 & 3),
                    (int)(seed >> 20 & 7), (int)(seed >> 30 & 1023), (int)(seed >> 40 & 63),
                    (int)(seed >> 50 & 31) - 8);
        }
        fputs("]", out);
        fclose(out);
        assert_int_equal(erg_trace_read(&t, text, len, NULL), 0);
        assert_int_equal(erg_summary_make(&s, &t, NULL), 0);
        assert_adds_up(&s);
        const struct erg_summary_budget *b = &s.budget;
        assert_true(b->busy >= 0 && b->startup >= 0 && b->between >= 0 && b->idle >= 0 &&
                    b->uneven >= 0 && b->tail >= 0);
        double runs = 0, bins = 0;
        for (uint32_t i = 0; i < s.functions_count; i++) {
            runs += s.functions[i].runs;
        }
        for (uint32_t i = 0; i < s.histogram.bins; i++) {
            bins += s.histogram.runs[i];
        }
        assert_float_equal(runs, round, 0);
        assert_float_equal(bins, round, 0);
        done(&t, &s);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(two_workers),
        cmocka_unit_test(a_worker_that_comes_late),
        cmocka_unit_test(a_task_inside_a_task_counts_once),
        cmocka_unit_test(pools_are_there_from_their_first_task_to_their_last),
        cmocka_unit_test(random_runs_add_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
