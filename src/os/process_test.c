#include "base/error.h"
#include "os/process.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void a_handle_tells_when_its_process_ends(void **state) {
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0)
        for (;;)
            pause();
    int fd = erg_process_open(pid);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&ended, 1, 0), 0);
    assert_int_equal(erg_process_signal(fd, 0), 0);
    assert_int_equal(erg_process_signal(fd, 12345), ERG_EINVALID);
    assert_int_equal(erg_process_signal(fd, SIGKILL), 0);
    assert_int_equal(poll(&ended, 1, 20000), 1);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(erg_process_signal(fd, SIGKILL), ERG_ENOTFOUND);
    close(fd);
    assert_int_equal(erg_process_open(pid), ERG_ENOTFOUND);
}

static void closes_all_from_a_number_on(void **state) {
    (void)state;
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        int low = fcntl(0, F_DUPFD, 100), high = fcntl(0, F_DUPFD, 200);
        if (low != 100 || high < 200)
            _exit(1);
        erg_process_close_from(101);
        _exit(fcntl(low, F_GETFD) >= 0 && fcntl(high, F_GETFD) < 0 && errno == EBADF ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handle_tells_when_its_process_ends),
        cmocka_unit_test(closes_all_from_a_number_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
