/* Design: one thread polls the listener and the workers' sockets. Reading a question ends in erg_session_send under the
 * agent's lock; an answer is put into the socket's queue by whoever reads the link, and the thread is woken to write it.
 * Locks: the agent's before ours; the thread takes the agent's while it holds neither. A socket lives in `conns` and is
 * closed by the thread alone, so ids name sockets by a serial that is never used again. */
#include "engine/agent_ask.h"
#include "engine/agent_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 64, CONNS_MAX = 4096 };
enum { FULL_MS = 100 }; /* without descriptors the listener is left alone for so long */

/* An answer on its way to a worker: head and bytes in one piece. */
struct parcel {
    struct parcel *next;
    size_t len, at;
    unsigned char bytes[];
};

struct conn {
    int fd;
    uint32_t serial;
    struct erg_ask_head head; /* of the question that is being read */
    size_t have;              /* bytes of head and question */
    unsigned char *body;
    struct parcel *first, *last;
};

struct erg_asks {
    struct erg_agent *agent;
    uint64_t name;
    int listener, bell;
    pthread_t thread;
    int running;
    _Atomic int stop;
    pthread_mutex_t lock; /* conns (their array and queues), folder */
    char *folder;
    struct conn *conns;
    size_t n, cap;
    uint32_t serial;
};

/* --- the meeting place ------------------------------------------------------------------------------------------- */

static socklen_t meeting(uint64_t name, struct sockaddr_un *at) {
    memset(at, 0, sizeof *at);
    at->sun_family = AF_UNIX;
    int len = snprintf(at->sun_path + 1, sizeof at->sun_path - 1, "ergon-ask-%u-%016llx",
                       (unsigned)geteuid(), (unsigned long long)name);
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)len);
}

static int same_user(int fd) {
    struct ucred who;
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == geteuid();
}

int erg_ask_connect(uint64_t name) {
    struct sockaddr_un at;
    socklen_t len = meeting(name, &at);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&at, len) == 0 && same_user(fd))
        return fd;
    int saved = errno ? errno : EACCES;
    close(fd);
    errno = saved;
    return -1;
}

static void ring(int bell) {
    uint64_t one = 1;
    ssize_t n = write(bell, &one, sizeof one);
    (void)n; /* full: it rings already */
}

/* --- sockets; lock held where conns change ----------------------------------------------------------------------- */

static void conn_close(struct conn *c) {
    close(c->fd);
    free(c->body);
    while (c->first) {
        struct parcel *p = c->first;
        c->first = p->next;
        free(p);
    }
}

static void conn_remove(struct erg_asks *s, size_t i) {
    pthread_mutex_lock(&s->lock);
    conn_close(&s->conns[i]);
    s->conns[i] = s->conns[--s->n];
    pthread_mutex_unlock(&s->lock);
}

static int conn_add(struct erg_asks *s, int fd) {
    int code = 0;
    pthread_mutex_lock(&s->lock);
    if (s->n == s->cap) {
        size_t cap = s->cap ? s->cap * 2 : 16;
        struct conn *grown = cap <= CONNS_MAX ? realloc(s->conns, cap * sizeof *grown) : NULL;
        if (grown) {
            s->conns = grown;
            s->cap = cap;
        } else {
            code = ERG_ENOMEM;
        }
    }
    if (code == 0)
        s->conns[s->n++] = (struct conn){.fd = fd, .serial = ++s->serial};
    pthread_mutex_unlock(&s->lock);
    return code;
}

/* 1: somebody knocks whom we have no descriptor for. */
static int take_conns(struct erg_asks *s) {
    int fd;
    while ((fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0)
        if (!same_user(fd) || conn_add(s, fd) < 0)
            close(fd);
    return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
}

/* --- questions ------------------------------------------------------------------------------------------------------ */

static void release(void *ctx, void *user) {
    (void)ctx;
    free(user);
}

/* All of it is there. Takes the body over. */
static void pass_on(struct erg_asks *s, struct conn *c) {
    struct erg_agent *a = s->agent;
    unsigned char *body = c->body;
    struct erg_msg_ask m = {.id = (uint64_t)c->serial << 32 | c->head.number,
                            .payload = {.stream_len = c->head.len, .data_len = c->head.len}};
    struct iovec piece = {body, c->head.len};
    unsigned char head[128];
    c->body = NULL;
    c->have = 0;
    pthread_mutex_lock(&a->lock);
    size_t len = erg_msg_ask_encode(&m, head);
    int code = a->session ? erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_ASK, head, len,
                                             &piece, 1, release, NULL, body)
                          : ERG_ECLOSED;
    pthread_mutex_unlock(&a->lock);
    if (code < 0) {
        free(body);
        erg_asks_answer(s, m.id, ERG_ANSWER_NONE, NULL, 0);
    }
    erg_agent_ring(a);
}

/* Whether it is a folder this agent's workers may name: an absolute path that ends in the agent's number. */
static int is_ours(const struct erg_asks *s, const char *path, size_t len) {
    char end[32];
    size_t n = (size_t)snprintf(end, sizeof end, "-%016llx", (unsigned long long)s->name);
    return len > n && path[0] == '/' && strlen(path) == len && strcmp(path + len - n, end) == 0;
}

/* Answered with one byte when the folder is remembered, and else as by nobody. */
static void take_folder(struct erg_asks *s, struct conn *c) {
    uint64_t id = (uint64_t)c->serial << 32 | c->head.number;
    char *path = strndup((const char *)c->body, c->head.len), *old = NULL;
    int good = path && is_ours(s, path, c->head.len);
    free(c->body);
    c->body = NULL;
    c->have = 0;
    pthread_mutex_lock(&s->lock);
    if (good) {
        old = s->folder;
        s->folder = path;
    }
    pthread_mutex_unlock(&s->lock);
    free(good ? old : path);
    erg_asks_answer(s, id, good ? 0 : ERG_ANSWER_NONE, "y", good ? 1 : 0);
}

/* 0: nothing more is there; -1: the worker has gone, or talks nonsense. */
static int conn_read(struct erg_asks *s, struct conn *c) {
    for (;;) {
        int in_head = c->have < sizeof c->head;
        void *to =
            in_head ? (unsigned char *)&c->head + c->have : c->body + (c->have - sizeof c->head);
        size_t most = sizeof c->head + (in_head ? 0 : c->head.len) - c->have;
        ssize_t n = read(c->fd, to, most);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (n <= 0)
            return -1;
        c->have += (size_t)n;
        if (c->have == sizeof c->head && !c->body) {
            if (c->head.len == 0 || c->head.len > ERG_ASK_MOST || !(c->body = malloc(c->head.len)))
                return -1;
        } else if (c->body && c->have == sizeof c->head + c->head.len) {
            if (c->head.flags & ERG_ASK_FOLDER)
                take_folder(s, c);
            else
                pass_on(s, c);
        }
    }
}

/* --- answers -------------------------------------------------------------------------------------------------------- */

void erg_asks_answer(struct erg_asks *s, uint64_t id, uint32_t flags, const void *bytes,
                     size_t len) {
    struct erg_ask_head head = {.len = (uint32_t)len, .number = (uint32_t)id, .flags = flags};
    struct parcel *p = malloc(sizeof *p + sizeof head + len);
    if (!p)
        return; /* the worker's connection will end with the agent, which has no memory */
    *p = (struct parcel){.len = sizeof head + len};
    memcpy(p->bytes, &head, sizeof head);
    if (len)
        memcpy(p->bytes + sizeof head, bytes, len);
    pthread_mutex_lock(&s->lock);
    struct conn *c = NULL;
    for (size_t i = 0; i < s->n && !c; i++)
        if (s->conns[i].serial == (uint32_t)(id >> 32))
            c = &s->conns[i];
    if (c && c->last)
        c->last->next = p;
    else if (c)
        c->first = p;
    if (c)
        c->last = p;
    pthread_mutex_unlock(&s->lock);
    if (!c)
        free(p);
    ring(s->bell);
}

/* 0, or -1: the worker has gone. */
static int conn_write(struct erg_asks *s, struct conn *c) {
    int code = 0;
    pthread_mutex_lock(&s->lock);
    while (c->first && code == 0) {
        struct parcel *p = c->first;
        ssize_t n = send(c->fd, p->bytes + p->at, p->len - p->at, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            code = errno == EAGAIN || errno == EWOULDBLOCK ? 1 : -1;
            break;
        }
        p->at += (size_t)n;
        if (p->at < p->len)
            continue;
        c->first = p->next;
        if (!c->first)
            c->last = NULL;
        free(p);
    }
    pthread_mutex_unlock(&s->lock);
    return code < 0 ? -1 : 0;
}

int erg_asks_on_message(struct erg_asks *s, const unsigned char *body, size_t len,
                        struct erg_error *err) {
    struct erg_msg_ask m;
    int code = erg_msg_ask_decode(body, len, 1, 0, &m, err);
    if (code == 0 && s)
        erg_asks_answer(s, m.id, m.flags, m.payload.data, (size_t)m.payload.data_len);
    return code;
}

struct arriving {
    struct iovec piece;
    unsigned char bytes[];
};

int erg_asks_on_bulk(uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    if (data_len > ERG_ASK_MOST)
        return erg_error_set(err, ERG_EPROTOCOL, "an answer that is too long");
    struct arriving *in = malloc(sizeof *in + (size_t)data_len);
    if (!in)
        return erg_error_set(err, ERG_ENOMEM, "no memory for an answer");
    in->piece = (struct iovec){in->bytes, (size_t)data_len};
    *to = (struct erg_bulk){&in->piece, 1, in};
    return 0;
}

int erg_asks_on_done(struct erg_asks *s, const unsigned char *head, size_t head_len,
                     struct erg_bulk *got, struct erg_error *err) {
    struct erg_msg_ask m;
    struct arriving *in = got->user;
    int code = erg_msg_ask_decode(head, head_len, 0, in->piece.iov_len, &m, err);
    if (code == 0 && s)
        erg_asks_answer(s, m.id, m.flags, in->bytes, in->piece.iov_len);
    free(in);
    return code;
}

/* --- the thread ------------------------------------------------------------------------------------------------------- */

static size_t gather(struct erg_asks *s, int listen, struct pollfd *fds) {
    fds[0] = (struct pollfd){.fd = s->bell, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = listen ? s->listener : -1, .events = POLLIN};
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n; i++)
        fds[i + 2] = (struct pollfd){.fd = s->conns[i].fd,
                                     .events = POLLIN | (s->conns[i].first ? POLLOUT : 0)};
    size_t n = s->n;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static void *asks_main(void *arg) {
    struct erg_asks *s = arg;
    struct pollfd *fds = malloc((CONNS_MAX + 2) * sizeof *fds);
    uint64_t drop;
    int full = 0;
    pthread_setname_np(pthread_self(), "ergon-asks");
    while (fds && !atomic_load(&s->stop)) {
        size_t n = gather(s, !full, fds);
        if (poll(fds, n + 2, full ? FULL_MS : -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents && read(s->bell, &drop, sizeof drop) < 0)
            drop = 0; /* somebody else's spurious wake-up */
        for (size_t i = n;
             i-- > 0;) { /* backwards: what is removed leaves the place to one that was looked at */
            int code = 0;
            if (fds[i + 2].revents & (POLLIN | POLLHUP | POLLERR))
                code = conn_read(s, &s->conns[i]);
            if (code == 0)
                code = conn_write(s, &s->conns[i]);
            if (code < 0)
                conn_remove(s, i);
        }
        full = fds[1].revents && take_conns(s);
    }
    free(fds);
    return NULL;
}

/* --- life --------------------------------------------------------------------------------------------------------------- */

static int listen_at(struct erg_asks *s) {
    struct sockaddr_un at;
    do {
        if (getrandom(&s->name, sizeof s->name, 0) != (ssize_t)sizeof s->name)
            return -1;
    } while (s->name == 0);
    socklen_t len = meeting(s->name, &at);
    s->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    s->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return s->listener < 0 || s->bell < 0 || bind(s->listener, (struct sockaddr *)&at, len) < 0 ||
                   listen(s->listener, BACKLOG) < 0
               ? -1
               : 0;
}

int erg_asks_new(struct erg_agent *agent, struct erg_asks **out, struct erg_error *err) {
    struct erg_asks *s = calloc(1, sizeof *s);
    if (!s)
        return erg_error_set(err, ERG_ENOMEM, "no memory for an agent");
    pthread_mutex_init(&s->lock, NULL);
    s->agent = agent;
    s->listener = s->bell = -1;
    int code = listen_at(s) < 0 ? erg_error_system(err, errno, "cannot make an agent's socket") : 0;
    if (code == 0) {
        sigset_t all, old;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        int rc = pthread_create(&s->thread, NULL, asks_main, s);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        s->running = rc == 0;
        code = rc == 0 ? 0 : erg_error_system(err, rc, "cannot start an agent's thread");
    }
    if (code < 0) {
        erg_asks_free(s);
        return code;
    }
    *out = s;
    return 0;
}

uint64_t erg_asks_name(const struct erg_asks *asks) {
    return asks->name;
}

char *erg_asks_free(struct erg_asks *s) {
    if (!s)
        return NULL;
    atomic_store(&s->stop, 1);
    if (s->running) {
        ring(s->bell);
        pthread_join(s->thread, NULL);
    }
    for (size_t i = 0; i < s->n; i++)
        conn_close(&s->conns[i]);
    free(s->conns);
    if (s->listener >= 0)
        close(s->listener);
    if (s->bell >= 0)
        close(s->bell);
    pthread_mutex_destroy(&s->lock);
    char *folder = s->folder;
    free(s);
    return folder;
}
