#include "launch/spawn.h"
#include "launch/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int prepare_files(posix_spawn_file_actions_t *files, int sock) {
    int rc = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    for (int fd = 1; fd <= 2 && rc == 0; fd++)
        /* One that is closed here would be taken by the next open over there. */
        if (fcntl(fd, F_GETFD) < 0)
            rc = posix_spawn_file_actions_addopen(files, fd, "/dev/null", O_WRONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, sock, ERG_ZYGOTE_FD);
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(files, ERG_ZYGOTE_FD + 1);
    return rc;
}

static int prepare_attributes(posix_spawnattr_t *attr) {
    sigset_t all, none;
    sigfillset(&all);
    sigemptyset(&none);
    int rc = posix_spawnattr_setsigdefault(attr, &all);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(attr, &none);
    if (rc == 0)
        rc = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK |
                                                POSIX_SPAWN_SETSID);
    return rc;
}

/* The socket must not be one of the descriptors that are set up before it is used over there. */
static int move_above(int fd, int least) {
    if (fd >= least)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, least);
    int saved = errno;
    close(fd);
    errno = saved;
    return moved;
}

static int run(char *const *argv, int sock, pid_t *pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    int rc = posix_spawn_file_actions_init(&files);
    if (rc != 0)
        return rc;
    rc = posix_spawnattr_init(&attr);
    if (rc == 0) {
        rc = prepare_files(&files, sock);
        if (rc == 0)
            rc = prepare_attributes(&attr);
        if (rc == 0)
            rc = posix_spawn(pid, argv[0], &files, &attr, argv, environ);
        posix_spawnattr_destroy(&attr);
    }
    posix_spawn_file_actions_destroy(&files);
    return rc;
}

int erg_spawn(char *const *argv, struct erg_spawned *out, struct erg_error *err) {
    int sv[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) != 0)
        return erg_error_system(err, errno, "cannot make a socket pair for worker processes");
    sv[0] = move_above(sv[0], ERG_ZYGOTE_FD + 1);
    sv[1] = move_above(sv[1], ERG_ZYGOTE_FD + 1);
    int rc = sv[0] < 0 || sv[1] < 0 ? errno : 0;
    if (rc == 0 && fcntl(sv[0], F_SETFL, O_NONBLOCK) != 0)
        rc = errno;
    if (rc == 0)
        rc = run(argv, sv[1], &out->pid);
    if (sv[1] >= 0)
        close(sv[1]);
    if (rc != 0) {
        if (sv[0] >= 0)
            close(sv[0]);
        return erg_error_set(err, ERG_ELAUNCH, "cannot start %s for worker processes: %s", argv[0],
                             strerror(rc));
    }
    out->sock = sv[0];
    out->pidfd = (int)syscall(SYS_pidfd_open, out->pid, 0);
    return 0;
}

int erg_spawn_reap(const struct erg_spawned *s, int *status) {
    siginfo_t info;
    int rc;
    *status = -1;
    do {
        memset(&info, 0, sizeof info);
        /* By pidfd: if the program reaps children that are not its own, the number may be another's by now. */
        rc = s->pidfd >= 0 ? waitid(P_PIDFD, (id_t)s->pidfd, &info, WEXITED | WNOHANG)
                           : waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG);
    } while (rc < 0 && errno == EINTR);
    if (rc == 0 && info.si_pid == 0)
        return 0;
    if (rc == 0)
        *status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status & 0x7f;
    return 1;
}

const char *erg_spawn_status_text(int status, char *buffer, size_t size) {
    if (status == -1)
        snprintf(buffer, size, "ended, nobody knows how");
    else if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(buffer, size, "was killed by signal %d%s%s%s", WTERMSIG(status),
                 name ? " (SIG" : "", name ? name : "", name ? ")" : "");
    } else
        snprintf(buffer, size, "exited with status %d", WEXITSTATUS(status));
    return buffer;
}
