#include "launch/guard.h"

#include "base/error.h"
#include "launch/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { REAP_MS = 1000 };

/* The first line names the group; what comes next is the end. */
static char script[] = "read -r group || exit\n"
                       "read -r never\n"
                       "sleep 1\n"
                       "kill -s TERM -- \"-$group\" || exit\n"
                       "sleep 2\n"
                       "kill -s KILL -- \"-$group\"\n";

static int prepare(posix_spawn_file_actions_t *files, posix_spawnattr_t *attr, int in) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int rc = posix_spawn_file_actions_adddup2(files, in, 0);
    for (int fd = 1; fd <= 2 && rc == 0; fd++)
        rc = posix_spawn_file_actions_addopen(files, fd, "/dev/null", O_WRONLY, 0);
    rc = rc ? rc : posix_spawn_file_actions_addclosefrom_np(files, 3);
    rc = rc ? rc : posix_spawnattr_setsigdefault(attr, &all);
    rc = rc ? rc : posix_spawnattr_setsigmask(attr, &none);
    /* whoever ends our group or our terminal's does not end this one */
    return rc ? rc
              : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                                   POSIX_SPAWN_SETSID);
}

static int spawn_shell(int in, pid_t *pid) {
    static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};
    static char name[] = "sh", option[] = "-c", title[] = "ergon-guard";
    char *const argv[] = {name, option, script, title, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&attr);
    if (!rc) {
        rc = prepare(&files, &attr, in);
        rc = rc ? rc : posix_spawn(pid, "/bin/sh", &files, &attr, argv, (char **)environment);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

int erg_guard_start(struct erg_guard *g) {
    int low[2], in;
    *g = ERG_GUARD_NONE;
    if (pipe2(low, O_CLOEXEC) < 0)
        return ERG_ESYSTEM;
    in = fcntl(low[0], F_DUPFD_CLOEXEC, 3); /* above the numbers that are set up over there */
    g->fd = fcntl(low[1], F_DUPFD_CLOEXEC, 3);
    close(low[0]);
    close(low[1]);
    int rc = in < 0 || g->fd < 0 ? EMFILE : spawn_shell(in, &g->pid);
    if (in >= 0)
        close(in);
    if (rc) {
        if (g->fd >= 0)
            close(g->fd);
        *g = ERG_GUARD_NONE;
        return ERG_ELAUNCH;
    }
    g->pidfd = (int)syscall(SYS_pidfd_open, g->pid, 0);
    return 0;
}

void erg_guard_name(struct erg_guard *g, pid_t leader) {
    char line[32];
    int len = snprintf(line, sizeof line, "%ld\n", (long)leader);
    if (g->fd < 0)
        return;
    ssize_t n =
        write(g->fd, line, (size_t)len); /* it fits; a guard that was killed guards no more */
    (void)n;
}

void erg_guard_forget(struct erg_guard *g) {
    if (g->fd >= 0)
        close(g->fd);
    if (g->pidfd >= 0)
        close(g->pidfd);
    *g = ERG_GUARD_NONE;
}

void erg_guard_end(struct erg_guard *g) {
    const struct erg_spawned s = {.pid = g->pid, .pidfd = g->pidfd, .sock = -1};
    int status;
    if (g->pid > 0 && !erg_spawn_reap(&s, &status)) {
        kill(g->pid, SIGKILL); /* ours and not reaped: the number is still its own */
        for (int waited = 0; !erg_spawn_reap(&s, &status) && waited < REAP_MS; waited++) {
            struct pollfd p = {.fd = g->pidfd, .events = POLLIN};
            poll(&p, 1, 1);
        }
    }
    erg_guard_forget(g);
}
