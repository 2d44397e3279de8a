#include "sched/place.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define MS INT64_C(1000000)

static struct erg_place fresh(uint32_t wanted) {
    struct erg_place place;
    erg_place_init(&place, NULL, wanted);
    return place;
}

static struct erg_exit died(enum erg_exit_kind kind, int value, int had_task, uint64_t tasks) {
    return (struct erg_exit){
        .kind = kind, .value = value, .had_task = had_task, .place_tasks = tasks};
}

static void test_starts_what_is_wanted_once(void **state) {
    (void)state;
    struct erg_place place = fresh(3);
    assert_int_equal(erg_place_start(&place, 0), 3);
    assert_int_equal(erg_place_start(&place, 0), 0);
    erg_place_on_up(&place);
    assert_int_equal(erg_place_start(&place, 1), 0);
    place.wanted = 5;
    assert_int_equal(erg_place_start(&place, 2), 2);
    assert_int_equal(place.starting, 4);
    assert_true(erg_place_start_at(&place) == INT64_MAX);
}

static void test_back_off_doubles_and_stops_growing(void **state) {
    (void)state;
    struct erg_place place = fresh(1);
    const struct erg_place_limits limits = {.failures_max = 100, .backoff_max_ns = 100 * MS};
    erg_place_init(&place, &limits, 1);
    int64_t now = 0, waits[8];
    for (int i = 0; i < 8; i++) {
        assert_int_equal(erg_place_start(&place, now), 1);
        assert_int_equal(erg_place_on_start_failed(&place, now), 0);
        waits[i] = erg_place_start_at(&place) - now;
        if (waits[i] > 0)
            assert_int_equal(erg_place_start(&place, now + waits[i] - 1), 0);
        now += waits[i];
    }
    const int64_t expected[8] = {0,        20 * MS,  40 * MS,  80 * MS,
                                 100 * MS, 100 * MS, 100 * MS, 100 * MS};
    assert_memory_equal(waits, expected, sizeof waits);
}

static void test_breaks_at_the_limit_and_not_before(void **state) {
    (void)state;
    struct erg_place place = fresh(2);
    int64_t now = 0;
    assert_int_equal(erg_place_start(&place, now), 2);
    assert_int_equal(erg_place_on_start_failed(&place, now), 0);
    assert_int_equal(erg_place_on_start_failed(&place, now), 0);
    for (int i = 2; i < 5; i++) {
        now = erg_place_start_at(&place);
        assert_int_equal(erg_place_start(&place, now), 1); /* one at a time now */
        assert_int_equal(erg_place_on_start_failed(&place, now), i == 4);
    }
    assert_true(place.broken);
    assert_int_equal(erg_place_start(&place, INT64_MAX), 0);
    erg_place_mend(&place);
    assert_int_equal(erg_place_start(&place, now), 2);
}

/* Brings one worker up and lets it die `ways` times; the place counts what that means. */
static void die_often(struct erg_place *place, int times, const struct erg_exit *how,
                      int64_t lifetime) {
    int64_t now = 0;
    for (int i = 0; i < times; i++) {
        int64_t at = erg_place_start_at(place);
        if (at > now && at != INT64_MAX)
            now = at;
        if (erg_place_start(place, now) == 0)
            return;
        erg_place_on_up(place);
        now += lifetime;
        struct erg_exit each = *how;
        each.place_tasks *= (uint64_t)i + 1;
        erg_place_on_gone(place, &each, now - lifetime, 0, now);
    }
}

static void test_which_deaths_are_failures(void **state) {
    (void)state;
    static const struct {
        const char *name;
        struct erg_exit how;
        int64_t lifetime;
        int broken;
    } cases[] = {
        {"exits idle at once", {ERG_EXIT_CODE, 1, 0, 0}, 0, 1},
        {"segfaults idle at once", {ERG_EXIT_SIGNAL, SIGSEGV, 0, 0}, 0, 1},
        {"vanishes at once", {ERG_EXIT_UNKNOWN, 0, 0, 0}, 0, 1},
        {"killed by hand", {ERG_EXIT_SIGNAL, SIGKILL, 0, 0}, 0, 0},
        {"terminated by hand", {ERG_EXIT_SIGNAL, SIGTERM, 0, 0}, 0, 0},
        {"dies with a task", {ERG_EXIT_SIGNAL, SIGSEGV, 1, 0}, 0, 0},
        {"dies idle after finished tasks", {ERG_EXIT_SIGNAL, SIGSEGV, 0, 3}, 0, 0},
        {"dies idle after a long life", {ERG_EXIT_CODE, 1, 0, 0}, INT64_C(10000) * MS, 0},
        {"leaves as asked", {ERG_EXIT_ASKED, 0, 0, 0}, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct erg_place place = fresh(1);
        die_often(&place, 50, &cases[i].how, cases[i].lifetime);
        if (place.broken != cases[i].broken)
            fail_msg("%s: broken is %d", cases[i].name, place.broken);
    }
}

static void test_killing_by_hand_backs_off(void **state) {
    (void)state;
    struct erg_place place = fresh(1);
    const struct erg_exit killed = died(ERG_EXIT_SIGNAL, SIGKILL, 0, 0);
    die_often(&place, 3, &killed, 0);
    assert_int_equal(place.failures, 0);
    assert_int_equal(place.streak, 3);
    /* a finished task ends the row of deaths */
    assert_int_equal(erg_place_start(&place, erg_place_start_at(&place)), 1);
    erg_place_on_up(&place);
    const struct erg_exit worked = died(ERG_EXIT_SIGNAL, SIGKILL, 0, 7);
    erg_place_on_gone(&place, &worked, 0, 0, 1);
    assert_int_equal(place.streak, 1);
}

static void test_those_leaving_are_replaced_at_once(void **state) {
    (void)state;
    struct erg_place place = fresh(2);
    assert_int_equal(erg_place_start(&place, 0), 2);
    erg_place_on_up(&place);
    erg_place_on_up(&place);
    place.leaving = 1; /* it was asked to */
    assert_int_equal(erg_place_surplus(&place), 0);
    assert_int_equal(erg_place_start(&place, 0), 1);
    const struct erg_exit left = died(ERG_EXIT_ASKED, 0, 0, 0);
    assert_int_equal(erg_place_on_gone(&place, &left, 0, 1, 0), 0);
    assert_int_equal(place.leaving, 0);
    erg_place_on_up(&place);
    assert_int_equal(place.up, 2);
    place.wanted = 0;
    assert_int_equal(erg_place_surplus(&place), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_starts_what_is_wanted_once),
        cmocka_unit_test(test_back_off_doubles_and_stops_growing),
        cmocka_unit_test(test_breaks_at_the_limit_and_not_before),
        cmocka_unit_test(test_which_deaths_are_failures),
        cmocka_unit_test(test_killing_by_hand_backs_off),
        cmocka_unit_test(test_those_leaving_are_replaced_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
