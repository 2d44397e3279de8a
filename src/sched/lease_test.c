/* Windows are as large as the link asks for and no larger; a simulated cluster stays busy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sched/cluster_kit.h"

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

static void workers_stay_busy_behind_a_slow_link(void **state) {
    (void)state;
    struct cluster c = {.places = 1, .slots = 8, .rtt = 20 * MS, .mean = 1 * MS, .tasks = 100000};
    struct cluster_outcome out = simulate_cluster(&c);
    assert_true(out.settled);
    assert_true(out.busy > 0.95);
    assert_true(out.most < 8 * 64); /* the shortest task made the mean, for a moment */
}

static void ten_thousand_workers_and_a_million_tasks(void **state) {
    (void)state;
    struct cluster c = {
        .places = 625, .slots = 16, .rtt = 5 * MS, .mean = 20 * MS, .tasks = 1000000};
    struct cluster_outcome out = simulate_cluster(&c);
    print_message("10,000 workers, 1,000,000 tasks: %.0f ns a task to decide, %zu bytes a place, "
                  "%.1f %% busy\n",
                  out.ns_a_task, sizeof(struct erg_lease), out.busy * 100);
    assert_true(out.settled);
    assert_true(out.busy > 0.9);
    assert_true(out.most < 16 * 4);
}

static void what_is_late_is_begun_anew(void **state) {
    (void)state;
    struct erg_lease l = measured(2, 1 * MS, 10 * MS);
    assert_false(erg_lease_worth_anew(&l, 30 * MS, 10 * MS));
    assert_false(erg_lease_worth_anew(&l, 130 * MS, 10 * MS)); /* late, but only a little */
    assert_true(erg_lease_worth_anew(&l, 200 * MS, 10 * MS));
    assert_true(erg_lease_worth_anew(&l, 200 * MS, 0));         /* nobody knows how long there */
    assert_false(erg_lease_worth_anew(&l, 2000 * MS, 25 * MS)); /* they are slower */
    l = measured(2, 1 * MS, 1000 * MS);
    assert_true(erg_lease_worth_anew(&l, 200 * MS, 10 * MS)); /* always slow */
    assert_false(erg_lease_worth_anew(&l, 2000 * MS, 1000 * MS));
    erg_lease_init(&l, 2); /* nothing has come back from there yet */
    assert_false(erg_lease_worth_anew(&l, 3600000 * MS, 0));
    assert_true(erg_lease_worth_anew(&l, 200 * MS, 10 * MS));
}

/* --- a job's end, simulated: workers of `places` hosts take tasks one by one; host 0 becomes slow half-way --- */
enum { HOSTS = 4, WORKERS = 8, TASKS = 400 };
struct running {
    int64_t begun, ends; /* of the worker's task; 0: none */
    int moved;           /* it was begun anew */
    int stuck;           /* its own was: it gets no other until that is over */
};

/* When all is done; *anew: how many were begun anew. With a task `every` times as long as the others now and then. */
static int64_t simulate_end(int slow, int leaves, int every, int *anew) {
    struct running w[HOSTS * WORKERS] = {0};
    struct erg_lease lease[HOSTS];
    int left = TASKS, again = 0, done = 0;
    int64_t now = 0;
    for (int h = 0; h < HOSTS; h++)
        erg_lease_init(&lease[h], WORKERS);
    for (*anew = 0; done < TASKS; now += MS) {
        for (int i = 0; i < HOSTS * WORKERS; i++) {
            int host = i / WORKERS;
            if (w[i].begun && now >= w[i].ends) {
                erg_lease_on_done(&lease[host], 0, now - w[i].begun);
                w[i].begun = 0;
                done++;
            }
            if (w[i].begun || w[i].stuck || left + again == 0)
                continue;
            int64_t takes = 10 * MS * (every && left % every == 0 ? 100 : 1);
            w[i].moved = again > 0;
            again -= w[i].moved;
            left -= !w[i].moved;
            w[i].begun = now + 1;
            w[i].ends = now + takes * (host == 0 && done > TASKS / 2 ? slow : 1);
            erg_lease_on_sent(&lease[host], 0);
        }
        int idle = 0;
        for (int i = WORKERS; i < HOSTS * WORKERS; i++)
            idle += !w[i].begun;
        for (int i = 0; i < WORKERS && leaves && idle > again && left == 0; i++)
            if (w[i].begun && !w[i].moved &&
                erg_lease_worth_anew(&lease[0], now - w[i].begun, lease[1].mean_ns)) {
                erg_lease_on_done(&lease[0], 0, -1);
                w[i].begun = 0;
                w[i].stuck = 1;
                again++;
                (*anew)++;
            }
    }
    return now;
}

static void a_slow_host_does_not_hold_up_the_end(void **state) {
    (void)state;
    int anew;
    int64_t even = simulate_end(1, 1, 0, &anew);
    assert_int_equal(anew, 0); /* nothing is late where all are alike */
    int64_t waits = simulate_end(1000, 0, 0, &anew);
    int64_t leaves = simulate_end(1000, 1, 0, &anew);
    assert_in_range(anew, 1, WORKERS);
    print_message("end of a job: %lld ms, with a slow host %lld ms, begun anew %lld ms\n",
                  (long long)(even / MS), (long long)(waits / MS), (long long)(leaves / MS));
    assert_true(leaves < waits / 10);
    /* tasks that are long by themselves lose little by it */
    waits = simulate_end(1, 0, 37, &anew);
    leaves = simulate_end(1, 1, 37, &anew);
    assert_true(leaves < waits + waits / 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_window_covers_the_link),
        cmocka_unit_test(bytes_bound_what_is_ahead),
        cmocka_unit_test(a_queue_on_the_way_does_not_count_as_distance),
        cmocka_unit_test(what_waits_is_asked_back_for_idle_workers),
        cmocka_unit_test(workers_stay_busy_behind_a_slow_link),
        cmocka_unit_test(ten_thousand_workers_and_a_million_tasks),
        cmocka_unit_test(what_is_late_is_begun_anew),
        cmocka_unit_test(a_slow_host_does_not_hold_up_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
