/* The zygote's own loop: one thread, three things to watch (orders, the owner's life, its children).
 *
 * Children are reaped only after their process group was swept when they died badly: until then their number
 * cannot be given to anybody else, so a signal to the group hits nobody innocent. */
#include "launch/zygote.h"
#include "launch/will.h"
#include "launch/zygote_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct zygote {
    int sock, owner_pidfd, bell_fd, signal_fd;
    sigset_t old_mask;
    pid_t *children;
    size_t children_len, children_cap;
    int *wills; /* by number; -1 */
    size_t wills_len;
    int dismissed; /* the owner said goodbye */
    pid_t (*fork_fn)(void *ctx);
    void *ctx;
};

static void close_if_open(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void erg_zygote_fail(int sock, const char *text) {
    struct erg_zmsg msg = {.kind = ERG_Z_FAILED, .pid = getpid()};
    snprintf(msg.text, sizeof msg.text, "%s", text);
    erg_zmsg_send(sock, &msg, NULL, 0, 0);
}

void erg_worker_report(struct erg_worker_start *start, const char *failure) {
    if (start->report_fd < 0)
        return;
    struct erg_zmsg msg = {.kind = failure ? ERG_Z_UNABLE : ERG_Z_UP,
                           .member = start->member,
                           .generation = start->generation,
                           .pid = getpid()};
    snprintf(msg.text, sizeof msg.text, "%s", failure ? failure : "");
    erg_zmsg_send(start->report_fd, &msg, NULL, 0, 0);
    close_if_open(&start->report_fd);
}

static int zygote_open(struct zygote *z, struct erg_error *err) {
    if (fcntl(z->sock, F_SETFD, FD_CLOEXEC) != 0)
        return erg_error_system(err, errno, "descriptor %d is no socket to an owner", z->sock);
    sigset_t mask;
    /* The owner's death wakes us if we were stopped, so that we see it; that of the thread that started us hurts nobody. */
    prctl(PR_SET_PDEATHSIG, SIGCONT);
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    /* An ignored SIGCHLD would have the kernel reap the workers and lose their status. */
    signal(SIGCHLD, SIG_DFL);
    sigprocmask(SIG_BLOCK, &mask, &z->old_mask);
    z->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (z->signal_fd < 0)
        return erg_error_system(err, errno, "signalfd failed");
    return 0;
}

static void free_wills(struct zygote *z) {
    for (size_t i = 0; i < z->wills_len; i++)
        close_if_open(&z->wills[i]);
    free(z->wills);
    z->wills = NULL;
    z->wills_len = 0;
}

static void zygote_close(struct zygote *z) {
    close_if_open(&z->signal_fd);
    close_if_open(&z->owner_pidfd);
    close_if_open(&z->bell_fd);
    sigprocmask(SIG_SETMASK, &z->old_mask, NULL);
    free_wills(z);
    free(z->children);
    z->children = NULL;
    z->children_len = 0;
}

static void kill_children(const struct zygote *z) {
    for (size_t i = 0; i < z->children_len; i++) {
        kill(-z->children[i], SIGKILL);
        kill(z->children[i], SIGKILL);
    }
}

/* Room is made before the fork: nothing may fail once the child is there. */
static int reserve_child(struct zygote *z) {
    if (z->children_len < z->children_cap)
        return 0;
    size_t cap = z->children_cap ? z->children_cap * 2 : 16;
    pid_t *grown = realloc(z->children, cap * sizeof *grown);
    if (!grown)
        return -1;
    z->children = grown;
    z->children_cap = cap;
    return 0;
}

static void answer_fork(const struct zygote *z, const struct erg_zmsg *order, pid_t pid) {
    struct erg_zmsg msg = {.kind = ERG_Z_FORKED,
                           .id = order->id,
                           .member = order->member,
                           .generation = order->generation,
                           .pid = pid};
    int pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
    erg_zmsg_send(z->sock, &msg, &pidfd, pidfd >= 0, 0);
    close_if_open(&pidfd);
}

/* The child's half: becomes a process that has nothing of the zygote but what *out names. */
static void become_worker(struct zygote *z, const struct erg_zmsg *order, int table_fd,
                          struct erg_worker_start *out) {
    setpgid(0, 0);
    *out = (struct erg_worker_start){.table_fd = table_fd,
                                     .owner_pidfd = z->owner_pidfd,
                                     .bell_fd = z->bell_fd,
                                     .report_fd = z->sock,
                                     .member = order->member,
                                     .max_tasks = order->max_tasks,
                                     .generation = order->generation};
    z->owner_pidfd = -1;
    z->bell_fd = -1;
    zygote_close(z);
}

/* 1 in the child, 0 in the zygote. */
static int on_fork(struct zygote *z, const struct erg_zmsg *order, int table_fd,
                   struct erg_worker_start *out) {
    pid_t pid = -1;
    errno = ENOMEM;
    if (reserve_child(z) == 0)
        pid = z->fork_fn(z->ctx);
    if (pid == 0) {
        become_worker(z, order, table_fd, out);
        return 1;
    }
    int failure = errno ? errno : EAGAIN;
    close(table_fd);
    if (pid > 0) {
        setpgid(pid, pid); /* both sides do, so that the group exists whoever comes first */
        z->children[z->children_len++] = pid;
    }
    answer_fork(z, order, pid > 0 ? pid : -failure);
    return 0;
}

static void forget_child(struct zygote *z, pid_t pid) {
    for (size_t i = 0; i < z->children_len; i++)
        if (z->children[i] == pid) {
            z->children[i] = z->children[--z->children_len];
            return;
        }
}

static void reap(struct zygote *z) {
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0)
            return;
        pid_t pid = info.si_pid;
        if (info.si_code != CLD_EXITED || info.si_status != 0)
            kill(-pid, SIGKILL);
        int status = 0;
        if (waitpid(pid, &status, 0) != pid)
            return;
        size_t before = z->children_len;
        forget_child(z, pid);
        if (z->children_len == before)
            continue; /* not one of ours: something a library of the runtime started */
        struct erg_zmsg msg = {.kind = ERG_Z_EXITED, .pid = pid, .status = status};
        erg_zmsg_send(z->sock, &msg, NULL, 0, 0);
    }
}

static int on_hello(struct zygote *z, const int *fds, int fds_len) {
    if (fds_len != 2 || z->owner_pidfd >= 0)
        return ERG_EPROTOCOL;
    z->owner_pidfd = fds[0];
    z->bell_fd = fds[1];
    return 0;
}

enum { WILLS_MAX = 1 << 16 };

/* fd: -1: nothing is to be done any more. */
static int on_will(struct zygote *z, uint32_t number, int fd) {
    if (number >= z->wills_len && fd >= 0) {
        size_t len = number < WILLS_MAX ? (size_t)number + 1 : 0;
        int *grown = len ? realloc(z->wills, len * sizeof *grown) : NULL;
        if (!grown) {
            close(fd);
            return len ? 0 : ERG_EPROTOCOL; /* without memory the agent's own patience has to do */
        }
        for (z->wills = grown; z->wills_len < len;)
            z->wills[z->wills_len++] = -1;
        prctl(PR_SET_NAME, "ergon-keeper");
    }
    if (number < z->wills_len) {
        close_if_open(&z->wills[number]);
        z->wills[number] = fd;
    }
    return 0;
}

enum { GO_ON, END, IN_CHILD };

/* One order. Returns what to do, or a negative erg_err. */
static int on_order(struct zygote *z, struct erg_worker_start *out) {
    struct erg_zmsg msg;
    int fds[ERG_ZMSG_FDS], fds_len;
    int rc = erg_zmsg_recv(z->sock, &msg, fds, &fds_len, MSG_DONTWAIT);
    if (rc == ERG_EAGAIN)
        return GO_ON;
    if (rc == ERG_ECLOSED)
        return END;
    if (rc != 0)
        return rc;
    if (msg.kind == ERG_Z_HELLO && on_hello(z, fds, fds_len) == 0)
        return GO_ON;
    if (msg.kind == ERG_Z_FORK && fds_len == 1 && z->owner_pidfd >= 0)
        return on_fork(z, &msg, fds[0], out) ? IN_CHILD : GO_ON;
    if (msg.kind == ERG_Z_WILL && fds_len <= 1)
        return on_will(z, msg.id, fds_len ? fds[0] : -1) < 0 ? ERG_EPROTOCOL : GO_ON;
    while (fds_len > 0)
        close(fds[--fds_len]);
    z->dismissed = msg.kind == ERG_Z_BYE;
    return z->dismissed ? END : ERG_EPROTOCOL;
}

/* The owner is gone: what it left with us before counts, and nothing else does. */
static void take_last_wills(struct zygote *z) {
    struct erg_zmsg msg;
    int fds[ERG_ZMSG_FDS], fds_len;
    while (!z->dismissed && erg_zmsg_recv(z->sock, &msg, fds, &fds_len, MSG_DONTWAIT) == 0) {
        z->dismissed = msg.kind == ERG_Z_BYE;
        if (msg.kind == ERG_Z_WILL && fds_len <= 1) {
            on_will(z, msg.id, fds_len ? fds[0] : -1);
            continue;
        }
        while (fds_len > 0)
            close(fds[--fds_len]);
    }
}

static int serve(struct zygote *z, struct erg_worker_start *out, struct erg_error *err) {
    for (;;) {
        struct pollfd watch[3] = {{.fd = z->sock, .events = POLLIN},
                                  {.fd = z->signal_fd, .events = POLLIN},
                                  {.fd = z->owner_pidfd, .events = POLLIN}};
        if (poll(watch, 3, -1) < 0 && errno != EINTR)
            return erg_error_system(err, errno, "the zygote's poll failed");
        if (watch[2].revents) {
            take_last_wills(z);
            return END;
        }
        if (watch[1].revents) {
            struct signalfd_siginfo drop;
            while (read(z->signal_fd, &drop, sizeof drop) > 0)
                continue;
            reap(z);
        }
        if (!watch[0].revents)
            continue;
        int rc = on_order(z, out);
        if (rc < 0)
            return erg_error_set(err, rc, "the zygote got a message it does not understand: %s",
                                 erg_strerror(rc));
        if (rc != GO_ON)
            return rc;
    }
}

int erg_zygote_serve(int sock, pid_t (*fork_fn)(void *ctx), void *ctx, struct erg_worker_start *out,
                     struct erg_error *err) {
    struct zygote z = {.sock = sock,
                       .owner_pidfd = -1,
                       .bell_fd = -1,
                       .signal_fd = -1,
                       .fork_fn = fork_fn,
                       .ctx = ctx};
    struct erg_error own = {0};
    int rc = zygote_open(&z, &own);
    if (rc == 0) {
        struct erg_zmsg ready = {.kind = ERG_Z_READY, .pid = getpid()};
        rc = erg_zmsg_send(sock, &ready, NULL, 0, 0);
        if (rc == ERG_ECLOSED)
            rc = END;
        else
            rc = rc == 0 ? serve(&z, out, &own)
                         : erg_error_set(&own, rc, "descriptor %d is no socket to an owner", sock);
    }
    if (rc == IN_CHILD)
        return 1;
    kill_children(&z);
    int *wills = z.wills;
    size_t wills_len = rc == END && !z.dismissed ? z.wills_len : 0;
    z.wills = NULL;
    z.wills_len = 0;
    zygote_close(&z);
    if (wills_len) {
        close(sock);
        erg_will_fulfil(wills, wills_len);
    }
    free(wills); /* the descriptors go with the process */
    if (rc >= 0)
        return 0;
    erg_zygote_fail(sock, own.text);
    if (err)
        *err = own;
    return rc;
}
