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
