#include "base/error.h"
#include "os/clock.h"
#include "os/futex.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void does_not_sleep_on_another_value(void **state) {
    (void)state;
    _Atomic uint32_t word = 1;
    assert_int_equal(erg_futex_wait(&word, 2, -1), 0);
}

static void gives_up_when_time_is_over(void **state) {
    (void)state;
    _Atomic uint32_t word = 1;
    uint64_t before = erg_clock_ns();
    assert_int_equal(erg_futex_wait(&word, 1, 2000000), ERG_ETIMEOUT);
    assert_true(erg_clock_ns() - before >= 2000000);
    assert_int_equal(erg_futex_wait(&word, 1, 0), ERG_ETIMEOUT);
}

static void *waker(void *arg) {
    _Atomic uint32_t *word = arg;
    while (erg_futex_wake(word, 1) == 0)
        ;
    return NULL;
}

static void a_sleeper_is_woken(void **state) {
    (void)state;
    _Atomic uint32_t word = 1;
    pthread_t thread;
    assert_int_equal(erg_futex_wake(&word, 1), 0);
    pthread_create(&thread, NULL, waker, &word);
    assert_int_equal(erg_futex_wait(&word, 1, -1), 0);
    pthread_join(thread, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(does_not_sleep_on_another_value),
        cmocka_unit_test(gives_up_when_time_is_over),
        cmocka_unit_test(a_sleeper_is_woken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
