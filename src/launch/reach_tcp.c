#include "launch/reach_tcp.h"

#include "os/clock.h"
#include "wire/auth.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

int erg_reach_wait(int fd, short events, uint64_t deadline_ns, int cancel_fd) {
    for (;;) {
        struct pollfd polled[2] = {{.fd = fd, .events = events},
                                   {.fd = cancel_fd, .events = POLLIN}};
        uint64_t now = erg_clock_ns();
        uint64_t left = deadline_ns > now ? (deadline_ns - now + 999999) / 1000000 : 0;
        int n = poll(polled, 2, left > 60000 ? 60000 : (int)left);
        if (n > 0) {
            return polled[1].revents ? ERG_ECANCELLED : 0;
        }
        if (n == 0 && left <= 60000) {
            return ERG_ETIMEOUT;
        }
    }
}

static int waited(int status, const char *what, struct erg_error *err) {
    if (status == ERG_ETIMEOUT) {
        return erg_error_set(err, ERG_ETIMEOUT, "%s: no answer in time", what);
    }
    return status < 0 ? erg_error_set(err, status, "%s: given up", what) : 0;
}

int erg_reach_prove(int fd, struct erg_auth *auth, uint64_t deadline_ns, int cancel_fd,
                    struct erg_error *err) {
    for (;;) {
        const unsigned char *bytes;
        unsigned char in[ERG_AUTH_HANDSHAKE_MAX];
        size_t pending = erg_auth_pending(auth, &bytes), wants = erg_auth_wants(auth);
        if (!pending && !wants) {
            return 0;
        }
        ssize_t n = pending ? send(fd, bytes, pending, MSG_NOSIGNAL) : recv(fd, in, wants, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            int status = erg_reach_wait(fd, pending ? POLLOUT : POLLIN, deadline_ns, cancel_fd);
            if ((status = waited(status, "the challenge", err)) < 0) {
                return status;
            }
        } else if (n < 0) {
            return erg_error_system(err, errno, "the challenge");
        } else if (n == 0) {
            return erg_error_set(err, ERG_EACCESS,
                                 "the other side closed the connection during the challenge: it "
                                 "has another key, or is no Ergon server");
        } else if (pending) {
            erg_auth_taken(auth, (size_t)n);
        } else {
            int status = erg_auth_feed(auth, in, (size_t)n, err);
            if (status < 0) {
                return status;
            }
        }
    }
}

static int connect_to(const struct addrinfo *to, uint64_t deadline_ns, int cancel_fd, int *fd) {
    int one = 1, failure = 0;
    socklen_t len = sizeof failure;
    *fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0) {
        return ERG_ESYSTEM;
    }
    setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(*fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (connect(*fd, to->ai_addr, to->ai_addrlen) == 0) {
        return 0;
    }
    int status =
        errno == EINPROGRESS ? erg_reach_wait(*fd, POLLOUT, deadline_ns, cancel_fd) : ERG_ESYSTEM;
    if (status == 0) {
        getsockopt(*fd, SOL_SOCKET, SO_ERROR, &failure, &len);
        errno = failure;
        status = failure ? ERG_ESYSTEM : 0;
    }
    if (status < 0) {
        int saved = errno;
        close(*fd);
        errno = saved;
        *fd = -1;
    }
    return status;
}

/* --- names --------------------------------------------------------------------------------------------------------- */
/* The resolver cannot be interrupted and may take minutes: a name is looked up in a thread that is left alone when it takes
 * too long, or nobody wants to know any more. Whichever side is last frees this. */
struct lookup {
    pthread_mutex_t lock;
    int sides; /* that still look at it */
    int done;  /* eventfd: `why` and `found` are there */
    int why;
    struct addrinfo *found;
    char port[8], host[];
};

static void lookup_unref(struct lookup *l) {
    pthread_mutex_lock(&l->lock);
    int left = --l->sides;
    pthread_mutex_unlock(&l->lock);
    if (left) {
        return;
    }
    if (l->found) {
        freeaddrinfo(l->found);
    }
    close(l->done);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static int look_up(const char *host, const char *port, int flags, struct addrinfo **found) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = flags};
    return getaddrinfo(host, port, &hints, found);
}

static void *lookup_main(void *arg) {
    struct lookup *l = arg;
    struct addrinfo *found = NULL;
    uint64_t one = 1;
    pthread_setname_np(pthread_self(), "ergon-lookup");
    int why = look_up(l->host, l->port, AI_ADDRCONFIG, &found);
    if (why != 0) { /* a machine with nothing but loopback has no address of any kind */
        why = look_up(l->host, l->port, 0, &found);
    }
    pthread_mutex_lock(&l->lock);
    l->why = why;
    l->found = why == 0 ? found : NULL;
    pthread_mutex_unlock(&l->lock);
    ssize_t n = write(l->done, &one, sizeof one);
    (void)n; /* nobody else writes there: there is room */
    lookup_unref(l);
    return NULL;
}

static struct lookup *lookup_start(const char *host, const char *port) {
    size_t len = strlen(host) + 1;
    struct lookup *l = calloc(1, sizeof *l + len);
    pthread_t thread;
    sigset_t all, old;
    if (!l) {
        return NULL;
    }
    pthread_mutex_init(&l->lock, NULL);
    memcpy(l->host, host, len);
    snprintf(l->port, sizeof l->port, "%s", port);
    l->sides = 2;
    l->done = eventfd(0, EFD_CLOEXEC);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = l->done < 0 ? errno : pthread_create(&thread, NULL, lookup_main, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        if (l->done >= 0) {
            close(l->done);
        }
        pthread_mutex_destroy(&l->lock);
        free(l);
        return NULL;
    }
    pthread_detach(thread);
    return l;
}

/* The addresses of the spec's host, to be freed with freeaddrinfo. */
static int resolve(const struct erg_reach_spec *spec, uint64_t deadline_ns, int cancel_fd,
                   struct addrinfo **found, struct erg_error *err) {
    char port[8];
    snprintf(port, sizeof port, "%u", spec->port);
    if (look_up(spec->host, port, AI_NUMERICHOST, found) == 0) {
        return 0;
    }
    struct lookup *l = lookup_start(spec->host, port);
    if (!l) {
        return erg_error_set(err, ERG_ELAUNCH, "%s: no memory, or no thread, to look up its name",
                             spec->name);
    }
    int status = erg_reach_wait(l->done, POLLIN, deadline_ns, cancel_fd);
    pthread_mutex_lock(&l->lock);
    if (status == ERG_ETIMEOUT) {
        erg_error_set(err, status, "%s: its name could not be looked up in time", spec->name);
    } else if (status < 0) {
        erg_error_set(err, status, "%s: given up", spec->name);
    } else if (l->why != 0) {
        status = erg_error_set(err, ERG_ELAUNCH, "%s: %s", spec->name, gai_strerror(l->why));
    } else {
        *found = l->found;
        l->found = NULL;
    }
    pthread_mutex_unlock(&l->lock);
    lookup_unref(l);
    return status;
}

/* --- the way ------------------------------------------------------------------------------------------------------- */
int erg_reach_tcp(const struct erg_reach_spec *spec, uint64_t deadline_ns, int cancel_fd,
                  struct erg_reached *out, struct erg_error *err) {
    struct addrinfo *found;
    int fd = -1, status = resolve(spec, deadline_ns, cancel_fd, &found, err);
    if (status < 0) {
        return status;
    }
    status = ERG_ESYSTEM;
    errno = EHOSTUNREACH;
    for (struct addrinfo *a = found; a && status == ERG_ESYSTEM; a = a->ai_next) {
        status = connect_to(a, deadline_ns, cancel_fd, &fd);
    }
    int saved = errno;
    freeaddrinfo(found);
    if (status == ERG_ESYSTEM) {
        return erg_error_set(err, ERG_ELAUNCH, "%s: %s", spec->name, strerror(saved));
    }
    if (status < 0) {
        return waited(status, spec->name, err);
    }
    struct erg_error inner;
    struct erg_auth *auth = NULL;
    status = erg_auth_new(ERG_AUTH_CLIENT, spec->key, spec->session, &auth);
    if (status < 0) {
        erg_error_set(&inner, status, "%s", erg_strerror(status));
    } else {
        status = erg_reach_prove(fd, auth, deadline_ns, cancel_fd, &inner);
    }
    if (status < 0) {
        erg_auth_free(auth);
        close(fd);
        return erg_error_set(err, status, "%s: %s", spec->name, inner.text);
    }
    out->fd_in = out->fd_out = fd;
    out->auth = auth;
    return 0;
}
