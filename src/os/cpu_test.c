#include "os/clock.h"
#include "os/cpu.h"
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void counts_what_the_process_may_use(void **state) {
    (void)state;
    uint32_t all = erg_cpu_count();
    assert_true(all >= 1);
    assert_true(all <= (uint32_t)sysconf(_SC_NPROCESSORS_CONF));
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(sched_getcpu(), &one);
        _exit(sched_setaffinity(0, sizeof one, &one) == 0 && erg_cpu_count() == 1 ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void knows_the_memory(void **state) {
    (void)state;
    uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES), page = (uint64_t)sysconf(_SC_PAGESIZE);
    assert_true(erg_cpu_memory() > (uint64_t)16 << 20);
    assert_true(erg_cpu_memory() <= pages * page);
}

static int killing_counts(void) {
    int status;
    uint64_t before = erg_cpu_oom_kills();
    pid_t pid = fork();
    if (pid == 0) {
        pause();
        _exit(0);
    }
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return erg_cpu_oom_kills() != before;
}

/* The machine may run out of memory this very moment: but hardly three times in a row. */
static void a_kill_is_no_lack_of_memory(void **state) {
    (void)state;
    assert_false(killing_counts() && killing_counts() && killing_counts());
}

static void the_clock_never_goes_back(void **state) {
    (void)state;
    uint64_t before = erg_clock_ns();
    for (int i = 0; i < 1000; i++) {
        uint64_t now = erg_clock_ns();
        assert_true(now >= before);
        before = now;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_what_the_process_may_use),
        cmocka_unit_test(knows_the_memory),
        cmocka_unit_test(a_kill_is_no_lack_of_memory),
        cmocka_unit_test(the_clock_never_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
