#include "launch/daemon.h"

#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 8,
    PATIENCE_S = 10,     /* for the few bytes either side has to say */
    CONNECT_TRIES = 500, /* while somebody else makes the daemon */
    LISTENER = 3,        /* its descriptor in the daemon */
    SPARES = 3,          /* descriptors a connection needs: its own, and the two it brings */
    FULL_PAUSE_MS = 100, /* when there are none at all */
};

/* --- the meeting place ------------------------------------------------------------------------------------------------ */
static socklen_t meeting(const unsigned char session[16], struct sockaddr_un *at) {
    char *to = at->sun_path + 1;
    memset(at, 0, sizeof *at);
    at->sun_family = AF_UNIX;
    int len = snprintf(to, sizeof at->sun_path - 1, "ergon-agent-%u-", (unsigned)geteuid());
    for (int i = 0; i < 16; i++) {
        len += snprintf(to + len, 3, "%02x", session[i]);
    }
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

/* Does the process at the other end belong to the same user? */
static int same_user(int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == geteuid();
}

/* The process at the other end goes on, should it have been stopped: it is to hear of something. */
static void wake(int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid > 1) {
        kill(who.pid, SIGCONT);
    }
}

static void be_patient(int fd) {
    struct timeval limit = {.tv_sec = PATIENCE_S};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int send_pair(int sock, int fd_in, int fd_out) {
    char byte = 'L';
    int fds[2] = {fd_in, fd_out};
    struct iovec piece = {&byte, 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof fds)];
    } control = {0};
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fds);
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    return sendmsg(sock, &message, MSG_NOSIGNAL) == 1 ? 0 : -1;
}

static int receive_pair(int sock, int fds[2]) {
    char byte;
    struct iovec piece = {&byte, 1};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &piece,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof control.bytes};
    if (recvmsg(sock, &message, MSG_CMSG_CLOEXEC) != 1) {
        return -1;
    }
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    if (!c || c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) {
        return -1;
    }
    size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(c), (n < 2 ? n : 2) * sizeof(int));
    if (n != 2) {
        if (n == 1) {
            close(fds[0]);
        }
        return -1;
    }
    return 0;
}

/* --- the daemon --------------------------------------------------------------------------------------------------------- */
struct daemon {
    const struct erg_daemon_ops *ops;
    void *ctx;
    int listener;
    int output[2]; /* what is written on stdout and stderr is read here; -1 */
    int attached;  /* the connection of who attached last, -1 */
    int over;      /* an end of a pipe whose other end is closed when run has returned */
    int spares
        [SPARES]; /* kept so that a client finds its agent again when tasks have left no descriptor */
    int full;     /* not even those could be had */
};

/* For the signal handler; a daemon is the only thing in its process. */
static struct daemon *the_daemon;

static void on_term(int signal) {
    (void)signal;
    int saved = errno;
    the_daemon->ops->stop(the_daemon->ctx);
    errno = saved;
}

static void spares_take(struct daemon *d) {
    for (int i = 0; i < SPARES; i++) {
        if (d->spares[i] < 0) {
            d->spares[i] = fcntl(0, F_DUPFD_CLOEXEC, 0); /* /dev/null */
        }
    }
}

static void spares_give(struct daemon *d) {
    for (int i = 0; i < SPARES; i++) {
        if (d->spares[i] >= 0) {
            close(d->spares[i]);
        }
        d->spares[i] = -1;
    }
}

static void take_connection(struct daemon *d) {
    struct erg_error err;
    spares_give(d);
    int fds[2], sock = accept4(d->listener, NULL, NULL, SOCK_CLOEXEC);
    d->full = sock < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM);
    if (sock < 0) {
        return;
    }
    be_patient(sock);
    if (!same_user(sock) || send(sock, "K", 1, MSG_NOSIGNAL) != 1 || receive_pair(sock, fds) < 0) {
        close(sock);
        return;
    }
    if (d->ops->attach(d->ctx, fds[0], fds[1], &err) < 0) {
        close(sock);
        return;
    }
    if (d->attached >= 0) {
        wake(d->attached);
        close(d->attached); /* ends the process that attached before */
    }
    d->attached = sock;
}

static void *serve_connections(void *arg) {
    struct daemon *d = arg;
    for (;;) {
        struct pollfd polled[5] = {{.fd = d->listener, .events = POLLIN},
                                   {.fd = d->output[0], .events = POLLIN},
                                   {.fd = d->output[1], .events = POLLIN},
                                   {.fd = d->attached, .events = POLLIN},
                                   {.fd = d->over, .events = POLLIN}};
        /* who wants in waits in the listener's queue */
        polled[0].fd = d->full ? -1 : d->listener;
        int n = poll(polled, 5, d->full ? FULL_PAUSE_MS : -1);
        d->full = 0;
        if (n < 0) {
            continue;
        }
        for (int i = 0; i < 2; i++) {
            char bytes[4096];
            ssize_t n = polled[1 + i].revents ? read(d->output[i], bytes, sizeof bytes) : 0;
            if (n > 0) {
                d->ops->output(d->ctx, 1 + i, bytes, (size_t)n);
            }
        }
        if (polled[4].revents) {
            return NULL;
        }
        if (polled[3].revents) { /* it says nothing any more: it is gone */
            close(d->attached);
            d->attached = -1;
        }
        if (polled[0].revents) {
            take_connection(d);
            spares_take(d);
        }
    }
}

static void prepare_signals(void) {
    static const int ignored[] = {SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTTIN, SIGTTOU, SIGTSTP};
    struct sigaction act = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int s = 1; s < NSIG; s++) {
        sigaction(s, &act, NULL);
    }
    act.sa_handler = SIG_IGN;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        sigaction(ignored[i], &act, NULL);
    }
    act.sa_handler = on_term;
    act.sa_flags = SA_RESTART;
    sigaction(SIGTERM, &act, NULL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* stdout and stderr become pipes of our own, so that nobody who writes there is hurt when a connection breaks. */
static int prepare_output(struct daemon *d) {
    for (int i = 0; i < 2; i++) {
        int fds[2] = {-1, -1};
        if (d->ops->output && pipe2(fds, O_CLOEXEC) < 0) {
            return -1;
        }
        int to = d->ops->output ? fds[1] : open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (to < 0 || dup2(to, 1 + i) < 0) {
            return -1;
        }
        close(to);
        d->output[i] = fds[0];
    }
    return 0;
}

/* The text of what went wrong, for whoever attached first: stderr is still theirs. */
static void complain(const char *text) {
    struct iovec pieces[] = {{(char *)text, strlen(text)}, {(char[]){"\n"}, 1}};
    if (writev(2, pieces, 2) < 0) {
        return;
    }
}

static void daemon_main(int listener, const struct erg_daemon_ops *ops, void *ctx) {
    struct daemon d = {.ops = ops,
                       .ctx = ctx,
                       .listener = LISTENER,
                       .output = {-1, -1},
                       .attached = -1,
                       .spares = {-1, -1, -1}};
    struct erg_error err = {.text = "cannot set up an agent's process"};
    pthread_t thread;
    int over[2] = {-1, -1};
    the_daemon = &d;
    setsid();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0) {
        _exit(1);
    }
    if (listener == LISTENER ? fcntl(listener, F_SETFD, FD_CLOEXEC) < 0
                             : dup3(listener, LISTENER, O_CLOEXEC) < 0) {
        _exit(1);
    }
    erg_process_close_from(LISTENER + 1);
    listen(LISTENER, BACKLOG); /* anew: whoever connects sees this process */
    prctl(PR_SET_NAME, "ergon-agent");
    if (ops->make(ctx, &err) < 0) {
        complain(err.text);
        _exit(1);
    }
    prepare_signals(); /* not before: stop needs what make made */
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL); /* for the main thread alone */
    if (prepare_output(&d) < 0 || pipe2(over, O_CLOEXEC) < 0) {
        complain(err.text);
        _exit(1);
    }
    d.over = over[0];
    spares_take(&d);
    if (pthread_create(&thread, NULL, serve_connections, &d) != 0) {
        complain(err.text);
        _exit(1);
    }
    sigprocmask(SIG_UNBLOCK, &term, NULL);
    ops->run(ctx);
    close(over[1]);
    pthread_join(thread, NULL);
    close(LISTENER); /* who wants this session from now on makes another one */
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    ops->end(ctx);
    if (d.attached >= 0) {
        wake(d.attached);
    }
    _exit(0);
}

/* 1: there is one now; 0: somebody else was faster. */
static int make_daemon(const struct sockaddr_un *at, socklen_t len,
                       const struct erg_daemon_ops *ops, void *ctx, struct erg_error *err) {
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (sock < 0) {
        return erg_error_system(err, errno, "cannot make a socket for an agent");
    }
    if (bind(sock, (const struct sockaddr *)at, len) < 0) {
        int status = errno == EADDRINUSE
                         ? 0
                         : erg_error_system(err, errno, "cannot make a socket for an agent");
        close(sock);
        return status;
    }
    pid_t pid = listen(sock, BACKLOG) < 0 ? -1 : fork();
    if (pid == 0) {
        daemon_main(sock, ops, ctx);
    }
    int saved = errno;
    close(sock);
    return pid < 0 ? erg_error_system(err, saved, "cannot start an agent") : 1;
}

/* --- attaching ------------------------------------------------------------------------------------------------------------ */
/* A connection to the daemon, which is made if there is none. */
static int connect_daemon(const unsigned char session[16], const struct erg_daemon_ops *ops,
                          void *ctx, struct erg_error *err) {
    struct sockaddr_un at;
    socklen_t len = meeting(session, &at);
    int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), status = 0;
    if (sock < 0) {
        return erg_error_system(err, errno, "cannot make a socket");
    }
    for (int i = 0; i < CONNECT_TRIES && status >= 0; i++) {
        if (connect(sock, (struct sockaddr *)&at, len) == 0) {
            if (same_user(sock)) {
                wake(sock);
                return sock;
            }
            status = erg_error_set(err, ERG_EACCESS,
                                   "a process of another user has the name of this agent's socket");
        } else if (errno != ECONNREFUSED) {
            status = erg_error_system(err, errno, "cannot reach the agent's process");
        } else if ((status = make_daemon(&at, len, ops, ctx, err)) == 0) {
            const struct timespec nap = {.tv_nsec = 2000000};
            nanosleep(&nap, NULL); /* somebody has bound the name and will listen in a moment */
        }
    }
    close(sock);
    return status < 0 ? status
                      : erg_error_set(err, ERG_ELAUNCH, "the agent's process does not listen");
}

static int write_all(int fd, const char *bytes, size_t len) {
    while (len) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, 1000 * PATIENCE_S);
        } else if (n < 0 && errno != EINTR) {
            return -1;
        } else if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

/* Until the daemon lets go of the connection, or whoever started us is gone: then nobody writes to fd_in any more, and
 * nobody reads stderr. */
static void wait_over(int sock, int fd_in) {
    for (;;) {
        struct pollfd polled[3] = {
            {.fd = sock, .events = POLLIN}, {.fd = fd_in, .events = 0}, {.fd = 2, .events = 0}};
        if (poll(polled, 3, -1) < 0 && errno != EINTR) {
            return;
        }
        if (polled[0].revents || (polled[1].revents & (POLLHUP | POLLERR | POLLNVAL)) ||
            (polled[2].revents & (POLLHUP | POLLERR))) {
            return;
        }
    }
}

int erg_daemon_attach(const unsigned char session[16], int fd_in, int fd_out,
                      const struct erg_daemon_ops *ops, void *ctx, struct erg_error *err) {
    static const char ready[] = "ERGON1 ready\n";
    char word;
    int status = 0;
    int sock = connect_daemon(session, ops, ctx, err);
    if (sock < 0) {
        return sock;
    }
    be_patient(sock);
    if (recv(sock, &word, 1, 0) != 1) {
        status = erg_error_set(err, ERG_ELAUNCH, "the agent's process ended, or does not answer");
    } else if (write_all(fd_out, ready, sizeof ready - 1) < 0 ||
               send_pair(sock, fd_in, fd_out) < 0) {
        status = erg_error_system(err, errno, "cannot hand the connection to the agent's process");
    }
    close(fd_out); /* the daemon's now: when it closes it, the other side shall see that */
    if (status == 0) {
        wait_over(sock, fd_in);
    }
    close(fd_in);
    close(sock);
    return status;
}
