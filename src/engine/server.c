/* One thread listens and hears challenges, all at once and each for a few seconds at most; every agent has a thread of its
 * own, which also frees it: that takes as long as its workers take to end. The listening thread reaches into an agent
 * only under the lock and only while it is not over, and joins threads that have nothing left to do. */
#include "engine/server.h"
#include "os/clock.h"
#include "wire/auth.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    GUESTS_MAX = 64, /* connections that have not proved themselves; more wait to be accepted */
    LISTENERS_MAX = 8,
    PROOF_S = 10,
    FULL_PAUSE_MS = 100, /* for descriptors to become free, when there are none for a guest */
};
#define MS ((uint64_t)1000000)
#define SECOND (1000 * MS)

struct guest {
    int fd; /* -1: free */
    struct erg_auth *auth;
    uint64_t until;
};

struct tenant { /* an agent and its thread */
    struct tenant *next;
    struct erg_agent *agent;
    pthread_t thread;
    unsigned char session[ERG_AUTH_SESSION];
    struct server *server;
    int over; /* the agent is being freed: it is nobody's any more. Under the server's lock */
    _Atomic int gone; /* the thread is about to end */
};

struct server {
    const struct erg_server_config *config;
    pthread_mutex_t lock; /* tenants' `over` */
    int listeners[LISTENERS_MAX], n;
    int bell; /* a tenant is gone */
    struct guest guests[GUESTS_MAX];
    struct tenant *tenants;
    uint64_t alone_since; /* 0: somebody is there */
    uint64_t full_until;  /* no descriptor was left: nobody is let in before; 0 */
};

/* --- agents ----------------------------------------------------------------------------------------------------------- */
static void *tenant_main(void *arg) {
    struct tenant *t = arg;
    struct server *s = t->server;
    uint64_t one = 1;
    erg_agent_run(t->agent, NULL);
    pthread_mutex_lock(&s->lock);
    t->over = 1;
    pthread_mutex_unlock(&s->lock);
    erg_agent_free(t->agent);
    atomic_store(&t->gone, 1);
    if (write(s->bell, &one, sizeof one) < 0) {
        return NULL; /* full: it rings already */
    }
    return NULL;
}

/* The server's lock is held. */
static struct tenant *tenant_find(struct server *s, const unsigned char *session) {
    struct tenant *t = s->tenants;
    while (t && (memcmp(t->session, session, sizeof t->session) != 0 || t->over)) {
        t = t->next;
    }
    return t;
}

static struct tenant *tenant_new(struct server *s, const unsigned char *session) {
    struct tenant *t = calloc(1, sizeof *t);
    if (!t) {
        return NULL;
    }
    struct erg_agent_config config = s->config->agent;
    memcpy(config.session, session, sizeof config.session);
    memcpy(t->session, session, sizeof t->session);
    t->server = s;
    if (erg_agent_new(&config, &t->agent, NULL) < 0) {
        free(t);
        return NULL;
    }
    if (pthread_create(&t->thread, NULL, tenant_main, t) != 0) {
        erg_agent_free(t->agent);
        free(t);
        return NULL;
    }
    t->next = s->tenants;
    s->tenants = t;
    return t;
}

/* Those whose thread is about to end; all of them, however long it takes, where `all` is set. */
static void tenants_end(struct server *s, int all) {
    pthread_mutex_lock(&s->lock);
    for (struct tenant *t = s->tenants; all && t; t = t->next) {
        if (!t->over) {
            erg_agent_stop(t->agent);
        }
    }
    pthread_mutex_unlock(&s->lock);
    for (struct tenant **link = &s->tenants; *link;) {
        struct tenant *t = *link;
        if (!all && !atomic_load(&t->gone)) {
            link = &t->next;
            continue;
        }
        *link = t->next;
        pthread_join(t->thread, NULL);
        free(t);
    }
}

/* --- guests ----------------------------------------------------------------------------------------------------------- */
static void guest_leave(struct guest *g) {
    if (g->fd >= 0) {
        close(g->fd);
    }
    erg_auth_free(g->auth);
    g->fd = -1;
    g->auth = NULL;
}

static struct guest *guest_free(struct server *s) {
    for (int i = 0; i < GUESTS_MAX; i++) {
        if (s->guests[i].fd < 0) {
            return &s->guests[i];
        }
    }
    return NULL;
}

static void guest_arrive(struct server *s, int listener, uint64_t now) {
    struct guest *g = guest_free(s);
    int one = 1;
    int fd = g ? accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC) : -1;
    if (fd < 0) {
        /* whoever waits goes on waiting, in the listener's queue */
        if (g && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)) {
            s->full_until = now + FULL_PAUSE_MS * MS;
        }
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    g->fd = fd;
    g->until = now + PROOF_S * SECOND;
    if (erg_auth_new(ERG_AUTH_SERVER, s->config->key, NULL, &g->auth) < 0) {
        guest_leave(g);
    }
}

/* It has proved itself: its agent takes it over. */
static void guest_welcome(struct server *s, struct guest *g) {
    pthread_mutex_lock(&s->lock);
    struct tenant *t = tenant_find(s, erg_auth_session(g->auth));
    if (!t) {
        t = tenant_new(s, erg_auth_session(g->auth));
    }
    if (t) {
        erg_agent_attach(t->agent, g->fd, g->fd, g->auth, NULL);
        g->fd = -1;
        g->auth = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    guest_leave(g);
}

/* As far as its challenge goes without waiting. */
static void guest_step(struct server *s, struct guest *g) {
    for (;;) {
        const unsigned char *bytes;
        unsigned char in[ERG_AUTH_HANDSHAKE_MAX];
        size_t pending = erg_auth_pending(g->auth, &bytes), wants = erg_auth_wants(g->auth);
        if (!pending && !wants) {
            guest_welcome(s, g);
            return;
        }
        ssize_t n = pending ? send(g->fd, bytes, pending, MSG_NOSIGNAL) : recv(g->fd, in, wants, 0);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            guest_leave(g);
            return;
        }
        if (pending) {
            erg_auth_taken(g->auth, (size_t)n);
        } else if (erg_auth_feed(g->auth, in, (size_t)n, NULL) < 0) {
            guest_leave(g);
            return;
        }
    }
}

/* --- listening ---------------------------------------------------------------------------------------------------------- */
static int resolve(const char *host, uint16_t port, struct addrinfo **found) {
    char text[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    snprintf(text, sizeof text, "%u", port);
    return getaddrinfo(host ? host : "127.0.0.1", text, &hints, found);
}

int erg_server_is_local(const char *host) {
    struct addrinfo *found;
    if (resolve(host, 0, &found) != 0) {
        return 0;
    }
    int local = 1;
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            const struct sockaddr_in *in = (const struct sockaddr_in *)a->ai_addr;
            local &= ntohl(in->sin_addr.s_addr) >> 24 == 127;
        } else {
            const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)a->ai_addr;
            local &= a->ai_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
        }
    }
    freeaddrinfo(found);
    return local;
}

static void set_port(struct addrinfo *a, uint16_t port) {
    if (a->ai_family == AF_INET) {
        ((struct sockaddr_in *)a->ai_addr)->sin_port = htons(port);
    } else if (a->ai_family == AF_INET6) {
        ((struct sockaddr_in6 *)a->ai_addr)->sin6_port = htons(port);
    }
}

static uint16_t port_of(int fd) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    if (getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
        return 0;
    }
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port
                                          : ((struct sockaddr_in *)&at)->sin_port);
}

/* On every address the name has, with one port for all. */
static int listen_all(struct server *s, uint16_t *port, struct erg_error *err) {
    const char *host = s->config->host ? s->config->host : "127.0.0.1";
    struct addrinfo *found;
    int why = resolve(host, s->config->port, &found), one = 1, saved = 0;
    if (why != 0) {
        return erg_error_set(err, ERG_ENOTFOUND, "%s: %s", host, gai_strerror(why));
    }
    *port = s->config->port;
    for (struct addrinfo *a = found; a && s->n < LISTENERS_MAX; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            saved = errno;
            continue;
        }
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (a->ai_family == AF_INET6) {
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        }
        set_port(a, *port);
        if (bind(fd, a->ai_addr, a->ai_addrlen) < 0 || listen(fd, 128) < 0) {
            saved = errno;
            close(fd);
            continue;
        }
        *port = port_of(fd);
        s->listeners[s->n++] = fd;
    }
    freeaddrinfo(found);
    return s->n
               ? 0
               : erg_error_system(err, saved, "cannot listen on %s port %u", host, s->config->port);
}

/* Milliseconds until something is due; -1: nothing is. */
static int due_ms(const struct server *s, uint64_t now) {
    uint64_t due = UINT64_MAX;
    for (int i = 0; i < GUESTS_MAX; i++) {
        if (s->guests[i].fd >= 0 && s->guests[i].until < due) {
            due = s->guests[i].until;
        }
    }
    if (s->alone_since && s->config->idle_ns > 0 &&
        s->alone_since + (uint64_t)s->config->idle_ns < due) {
        due = s->alone_since + (uint64_t)s->config->idle_ns;
    }
    if (s->full_until && s->full_until < due) {
        due = s->full_until;
    }
    if (due == UINT64_MAX) {
        return -1;
    }
    uint64_t left = due > now ? (due - now + 999999) / 1000000 : 0;
    return left > 3600000 ? 3600000 : (int)left;
}

/* 1: it is over. */
static int serve_once(struct server *s) {
    struct pollfd polled[2 + LISTENERS_MAX + GUESTS_MAX];
    int n = 0, room = guest_free(s) != NULL && !s->full_until;
    polled[n++] = (struct pollfd){.fd = s->config->stop_fd, .events = POLLIN};
    polled[n++] = (struct pollfd){.fd = s->bell, .events = POLLIN};
    for (int i = 0; i < s->n; i++) {
        polled[n++] = (struct pollfd){.fd = room ? s->listeners[i] : -1, .events = POLLIN};
    }
    int first = n;
    for (int i = 0; i < GUESTS_MAX; i++) {
        const unsigned char *bytes;
        struct guest *g = &s->guests[i];
        short events = g->fd >= 0 && erg_auth_pending(g->auth, &bytes) ? POLLOUT : POLLIN;
        polled[n++] = (struct pollfd){.fd = g->fd, .events = events};
    }
    poll(polled, (nfds_t)n, due_ms(s, erg_clock_ns()));
    uint64_t now = erg_clock_ns(), drop;
    if (polled[0].revents) {
        return 1;
    }
    if (now >= s->full_until) {
        s->full_until = 0;
    }
    if (polled[1].revents && read(s->bell, &drop, sizeof drop) > 0) {
        tenants_end(s, 0);
    }
    for (int i = 0; i < GUESTS_MAX; i++) {
        struct guest *g = &s->guests[i];
        if (g->fd >= 0 && polled[first + i].revents) {
            guest_step(s, g);
        }
        if (g->fd >= 0 && now >= g->until) {
            guest_leave(g);
        }
    }
    for (int i = 0; i < s->n; i++) {
        if (polled[2 + i].revents) {
            guest_arrive(s, s->listeners[i], now);
        }
    }
    if (s->tenants) {
        s->alone_since = 0;
    } else if (!s->alone_since) {
        s->alone_since = now;
    }
    return s->alone_since && s->config->idle_ns > 0 &&
           now >= s->alone_since + (uint64_t)s->config->idle_ns;
}

int erg_server_run(const struct erg_server_config *config, struct erg_error *err) {
    struct server *s = calloc(1, sizeof *s);
    uint16_t port = 0;
    if (!s) {
        return erg_error_set(err, ERG_ENOMEM, "no memory for a server");
    }
    s->config = config;
    pthread_mutex_init(&s->lock, NULL);
    for (int i = 0; i < GUESTS_MAX; i++) {
        s->guests[i].fd = -1;
    }
    s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int status = s->bell < 0 ? erg_error_system(err, errno, "cannot make a server's descriptors")
                             : listen_all(s, &port, err);
    if (status == 0) {
        s->alone_since = erg_clock_ns();
        config->announce(config->ctx, port);
        while (!serve_once(s)) {
        }
    }
    for (int i = 0; i < GUESTS_MAX; i++) {
        guest_leave(&s->guests[i]);
    }
    for (int i = 0; i < s->n; i++) {
        close(s->listeners[i]);
    }
    tenants_end(s, 1);
    if (s->bell >= 0) {
        close(s->bell);
    }
    pthread_mutex_destroy(&s->lock);
    free(s);
    return status;
}
