/* Windows are as large as the link asks for and no larger; a simulated cluster stays busy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/lease.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define US INT64_C(1000)
#define MS (1000 * US)

static struct erg_lease measured(uint32_t slots, int64_t rtt, int64_t mean) {
    struct erg_lease l;
    erg_lease_init(&l, slots);
    erg_lease_on_rtt(&l, rtt);
    for (int i = 0; i < 100; i++) {
        erg_lease_on_sent(&l, 100);
        erg_lease_on_done(&l, 100, mean);
    }
    assert_int_equal(l.leased, 0);
    assert_int_equal(l.bytes, 0);
    return l;
}

static void a_window_covers_the_link(void **state) {
    (void)state;
    struct erg_lease l;
    erg_lease_init(&l, 8);
    assert_int_equal(erg_lease_window(&l), 8); /* nothing is known: a task for each worker */
    l = measured(8, 20 * MS, 1 * MS);
    assert_in_range(erg_lease_window(&l), 8 + 8 * 20, 8 + 8 * 40);
    l = measured(8, 100 * US, 10000 * MS);
    assert_int_equal(erg_lease_window(&l), 8); /* long tasks are not sent ahead of time */
    l = measured(8, 100 * MS, 1 * US);
    assert_int_equal(erg_lease_window(&l), ERG_LEASE_MOST);
}

static void bytes_bound_what_is_ahead(void **state) {
    (void)state;
    struct erg_lease l = measured(4, 20 * MS, 1 * MS);
    for (int i = 0; i < 4; i++)
        erg_lease_on_sent(&l, ERG_LEASE_BYTES);
    assert_int_equal(erg_lease_room(&l), 0);
    for (int i = 0; i < 4; i++)
        erg_lease_on_done(&l, ERG_LEASE_BYTES, 1 * MS);
    assert_true(erg_lease_room(&l) > 0);
}

static void a_queue_on_the_way_does_not_count_as_distance(void **state) {
    (void)state;
    struct erg_lease l;
    erg_lease_init(&l, 1);
    erg_lease_on_rtt(&l, 10 * MS);
    erg_lease_on_rtt(&l, 1 * MS);
    assert_int_equal(l.rtt_ns, 1 * MS);
    erg_lease_on_rtt(&l, 9 * MS);
    assert_in_range(l.rtt_ns, 1 * MS, 3 * MS);
}

static void what_waits_is_asked_back_for_idle_workers(void **state) {
    (void)state;
    struct erg_lease l = measured(4, 1 * MS, 100 * MS);
    for (int i = 0; i < 12; i++)
        erg_lease_on_sent(&l, 10);
    assert_int_equal(erg_lease_recall(&l, 0), 0);
    assert_int_equal(erg_lease_recall(&l, 4), 4); /* half of what waits for as many workers */
    l = measured(4, 300 * MS, 1 * MS);
    for (int i = 0; i < 12; i++)
        erg_lease_on_sent(&l, 10);
    assert_int_equal(erg_lease_recall(&l, 4), 0); /* begun before it could be back */
}

/* --- a simulated cluster ------------------------------------------------------------------------------------------
 * Places with workers behind links; tasks of random length. Events in a heap by time. */

struct event {
    int64_t at;
    uint32_t place;
    int arrives; /* 1: a task at the place; 0: a result here */
    int64_t run;
};
struct heap {
    struct event *e;
    size_t n, cap;
};

static void push(struct heap *h, struct event e) {
    if (h->n == h->cap) {
        h->cap = h->cap ? h->cap * 2 : 1024;
        h->e = realloc(h->e, h->cap * sizeof *h->e);
        assert_non_null(h->e);
    }
    size_t i = h->n++;
    for (; i > 0 && h->e[(i - 1) / 2].at > e.at; i = (i - 1) / 2)
        h->e[i] = h->e[(i - 1) / 2];
    h->e[i] = e;
}

static struct event pop(struct heap *h) {
    struct event top = h->e[0], last = h->e[--h->n];
    size_t i = 0;
    for (size_t k; (k = 2 * i + 1) < h->n; i = k) {
        if (k + 1 < h->n && h->e[k + 1].at < h->e[k].at)
            k++;
        if (h->e[k].at >= last.at)
            break;
        h->e[i] = h->e[k];
    }
    h->e[i] = last;
    return top;
}

struct cluster {
    uint32_t places, slots;
    int64_t rtt, mean;
    uint64_t tasks;
};
struct outcome {
    double busy;      /* share of the workers' time until the last task was handed out */
    double ns_a_task; /* what deciding cost */
    uint32_t most;    /* leased at one place */
};

static struct outcome simulate(const struct cluster *c) {
    struct erg_lease *lease = calloc(c->places, sizeof *lease);
    int64_t *free_at = calloc((size_t)c->places * c->slots, sizeof *free_at);
    struct heap heap = {0};
    struct outcome out = {0};
    uint64_t left = c->tasks, deciding = 0;
    int64_t now = 0, drained = 0, work = 0;
    unsigned seed = 3;
    for (uint32_t p = 0; p < c->places; p++) {
        erg_lease_init(&lease[p], c->slots);
        erg_lease_on_rtt(&lease[p], c->rtt);
        push(&heap, (struct event){.at = 0, .place = p, .run = -1});
    }
    while (heap.n > 0) {
        struct event e = pop(&heap);
        now = e.at;
        struct erg_lease *l = &lease[e.place];
        if (e.arrives) { /* the worker that is free first */
            int64_t *w = &free_at[(size_t)e.place * c->slots], *best = w;
            for (uint32_t i = 1; i < c->slots; i++)
                best = w[i] < *best ? &w[i] : best;
            int64_t begin = *best > now ? *best : now;
            *best = begin + e.run;
            push(&heap, (struct event){*best + c->rtt / 2, e.place, 0, e.run});
            continue;
        }
        struct timespec t0, t1;
        clock_gettime(CLOCK_MONOTONIC, &t0);
        if (e.run >= 0)
            erg_lease_on_done(l, 100, e.run);
        uint32_t room = erg_lease_room(l);
        clock_gettime(CLOCK_MONOTONIC, &t1);
        deciding += (uint64_t)((t1.tv_sec - t0.tv_sec) * 1000000000 + t1.tv_nsec - t0.tv_nsec);
        for (; room > 0 && left > 0; room--, left--) {
            int64_t run = c->mean / 2 + (int64_t)(rand_r(&seed) % 1000) * c->mean / 1000;
            erg_lease_on_sent(l, 100);
            work += run;
            push(&heap, (struct event){now + c->rtt / 2, e.place, 1, run});
            drained = now;
        }
        out.most = l->leased > out.most ? l->leased : out.most;
    }
    out.busy = (double)work / ((double)(drained + c->rtt) * c->places * c->slots);
    out.ns_a_task = (double)deciding / (double)c->tasks;
    for (uint32_t p = 0; p < c->places; p++) {
        assert_int_equal(lease[p].leased, 0);
        assert_int_equal(lease[p].bytes, 0);
    }
    free(heap.e);
    free(lease);
    free(free_at);
    return out;
}

static void workers_stay_busy_behind_a_slow_link(void **state) {
    (void)state;
    struct cluster c = {.places = 1, .slots = 8, .rtt = 20 * MS, .mean = 1 * MS, .tasks = 100000};
    struct outcome out = simulate(&c);
    assert_true(out.busy > 0.95);
    assert_true(out.most < 8 * 64); /* the shortest task made the mean, for a moment */
}

static void ten_thousand_workers_and_a_million_tasks(void **state) {
    (void)state;
    struct cluster c = {
        .places = 625, .slots = 16, .rtt = 5 * MS, .mean = 20 * MS, .tasks = 1000000};
    struct outcome out = simulate(&c);
    print_message("10,000 workers, 1,000,000 tasks: %.0f ns a task to decide, %zu bytes a place, "
                  "%.1f %% busy\n",
                  out.ns_a_task, sizeof(struct erg_lease), out.busy * 100);
    assert_true(out.busy > 0.9);
    assert_true(out.most < 16 * 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_covers_the_link),
        cmocka_unit_test(bytes_bound_what_is_ahead),
        cmocka_unit_test(a_queue_on_the_way_does_not_count_as_distance),
        cmocka_unit_test(what_waits_is_asked_back_for_idle_workers),
        cmocka_unit_test(workers_stay_busy_behind_a_slow_link),
        cmocka_unit_test(ten_thousand_workers_and_a_million_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
