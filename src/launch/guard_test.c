/* What was started for a link, and what that has started, is gone when it is closed, and when we were killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch/reach.h"

enum { LIMIT_MS = 20000 };

/* Says its own number and a child's; neither looks at its input, and both ignore what asks for their end. */
#define DEAF(to)                                                                                   \
    "trap '' TERM HUP; sleep 41 & echo $$ $! >" to "; echo ERGON1 ready; sleep 42; true"

static void gone(pid_t pid) {
    for (int ms = 0; kill(pid, 0) == 0; ms += 10) {
        assert_true(ms < LIMIT_MS);
        while (waitpid(-1, NULL, WNOHANG) > 0) /* orphans come to us */
            ;
        usleep(10000);
    }
}

static int reach(struct erg_reached *r, char *command) {
    struct erg_error err;
    char *const argv[] = {(char[]){"sh"}, (char[]){"-c"}, command, NULL};
    struct erg_reach_spec spec = {.kind = ERG_REACH_EXEC, .name = "exec:deaf", .argv = argv};
    return erg_reach(&spec, -1, r, &err);
}

/* What it has said. */
static void read_numbers(int fd, pid_t *program, pid_t *child) {
    char line[64] = "";
    assert_true(read(fd, line, sizeof line - 1) > 0);
    assert_int_equal(sscanf(line, "%d %d", program, child), 2);
}

static void with_its_children(void **state) {
    (void)state;
    struct erg_reached r;
    char path[] = "/tmp/ergon-guard-XXXXXX", command[256];
    int fd = mkstemp(path);
    pid_t program, child;
    snprintf(command, sizeof command, DEAF("%s"), path);
    assert_int_equal(reach(&r, command), 0);
    read_numbers(fd, &program, &child);
    assert_int_equal(kill(child, 0), 0);
    pid_t guard = r.guard.pid;
    erg_reached_close(&r);
    assert_int_equal(kill(guard, 0), -1); /* reaped */
    gone(program);
    gone(child);
    close(fd);
    unlink(path);
}

/* The program has ended by itself, its child has not. */
static void what_it_left(void **state) {
    (void)state;
    struct erg_reached r;
    char path[] = "/tmp/ergon-guard-XXXXXX", command[256], line[64] = "";
    int fd = mkstemp(path), child = 0;
    snprintf(command, sizeof command, "sleep 43 >/dev/null 2>&1 & echo $! >%s; echo ERGON1 ready",
             path);
    assert_int_equal(reach(&r, command), 0);
    assert_true(read(fd, line, sizeof line - 1) > 0);
    assert_int_equal(sscanf(line, "%d", &child), 1);
    struct pollfd p = {.fd = r.pidfd, .events = POLLIN};
    assert_int_equal(poll(&p, 1, LIMIT_MS), 1);
    erg_reached_close(&r);
    gone(child);
    close(fd);
    unlink(path);
}

static void when_we_are_killed(void **state) {
    (void)state;
    int said[2];
    pid_t program, child;
    assert_int_equal(pipe(said), 0);
    pid_t owner = fork();
    assert_true(owner >= 0);
    if (owner == 0) {
        struct erg_reached r;
        char command[256];
        snprintf(command, sizeof command, DEAF("/proc/%d/fd/%d"), getpid(), said[1]);
        if (reach(&r, command) == 0)
            pause();
        _exit(1);
    }
    close(said[1]);
    read_numbers(said[0], &program, &child);
    close(said[0]);
    usleep(20000); /* the guard has heard whom it guards, or will read it all the same */
    kill(owner, SIGKILL);
    gone(program);
    gone(child);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_its_children),
        cmocka_unit_test(what_it_left),
        cmocka_unit_test(when_we_are_killed),
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
