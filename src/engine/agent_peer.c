/* A link between two agents is a session of its own (wire/session.h) that is never resumed: what breaks is over.
 *
 *     who asks:    connecting ── connected ──> proving ── HELLO ──> asking ── nothing wanted for long ──> closed
 *     who serves:  accepted ─────────────────> proving ── HELLO ──> serving ── nothing asked for long ──> closed
 *
 * Links are closed in erg_peers_serve alone, never while their session is at work: whoever finds one unusable marks it
 * `over`. A wish is something that is to be fetched over a link; each is answered to the client once. */
#include "engine/agent_peer.h"
#include "engine/peer_address.h"
#include "os/clock.h"
#include "wire/auth.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define GREETING_NS (4 * SECOND) /* from the first packet to HELLO */
#define SILENCE_NS (5 * SECOND)  /* of somebody who has something to send */
#define IDLE_NS (10 * SECOND)    /* a link that nobody uses; the one that asks closes it first */
#define TICK_NS (20 * MS)
#define FULL_NS (100 * MS) /* without descriptors the port is left alone for so long */
enum { MANY = ERG_PEERS_MAX * 3 / 4 };
#define TURN_BYTES ((size_t)4 << 20) /* written to one link before others have their turn */

struct wish {
    struct wish *next;
    uint64_t id;
    uint32_t kind; /* enum erg_drop_kind */
};

struct peer {
    struct erg_agent *agent;
    struct erg_session *session;
    struct erg_linkio io;
    int fd;     /* while connecting; else -1 */
    int serves; /* it asks us */
    int greeted;
    int over;        /* to be closed */
    uint32_t number; /* of the agent that is asked */
    int64_t since, moved_at, tick_at;
    uint64_t unsent; /* when last looked at */
    struct wish *wishes;
};

/* Another agent, as the client described it. */
struct known {
    struct known *next;
    uint32_t number;
    uint16_t port;
    unsigned char key[ERG_AUTH_KEY];
    char address[64];
};

struct erg_peers {
    int listener; /* -1 */
    int has_key;
    uint32_t own;       /* number */
    int64_t full_until; /* INT64_MAX: it is not */
    unsigned char key[ERG_AUTH_KEY];
    struct known *known;
    struct peer *links[ERG_PEERS_MAX];
    int n;
};

static int64_t now_ns(void) {
    return (int64_t)erg_clock_ns();
}

static struct erg_peers *peers_of(struct erg_agent *a) {
    if (!a->peers && (a->peers = calloc(1, sizeof *a->peers)))
        *a->peers = (struct erg_peers){.listener = -1, .full_until = INT64_MAX};
    return a->peers;
}

/* --- what the client hears ---------------------------------------------------------------------------------------- */

static void say_fetched(struct erg_agent *a, uint32_t kind, uint64_t id,
                        enum erg_fetch_failure why) {
    unsigned char head[64];
    struct erg_msg_ids m = {.what = kind | (uint32_t)why << 8, .n = 1, .ids = &id};
    erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_FETCHED, head,
                     erg_msg_ids_encode(&m, head), NULL, 0, NULL, NULL, NULL);
}

/* The link's wish, if it is one, is over. 1: it was one. */
static int answer(struct peer *p, uint32_t kind, uint64_t id, enum erg_fetch_failure why) {
    for (struct wish **link = &p->wishes; *link; link = &(*link)->next) {
        struct wish *w = *link;
        if (w->kind != kind || w->id != id)
            continue;
        *link = w->next;
        free(w);
        say_fetched(p->agent, kind, id, why);
        return 1;
    }
    return 0;
}

static int is_wished(const struct peer *p, uint32_t kind, uint64_t id) {
    const struct wish *w = p->wishes;
    while (w && (w->kind != kind || w->id != id))
        w = w->next;
    return w != NULL;
}

/* --- what links say ------------------------------------------------------------------------------------------------ */

static int say_hello(struct peer *p) {
    unsigned char head[256];
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR,
                              .minor = ERG_PROTOCOL_MINOR,
                              .role = p->serves ? ERG_ROLE_AGENT : ERG_ROLE_CLIENT,
                              .tag = {p->agent->tag, strlen(p->agent->tag)}};
    return erg_session_open_link(p->session, head, erg_msg_hello_encode(&m, head));
}

static int ask_for(struct peer *p, const struct wish *w) {
    unsigned char head[64];
    struct erg_msg_ids m = {.what = ERG_FETCH_FROM(0, w->kind), .n = 1, .ids = &w->id};
    return erg_session_send(p->session, ERG_LANE_FIRST, ERG_MSG_FETCH, head,
                            erg_msg_ids_encode(&m, head), NULL, 0, NULL, NULL, NULL);
}

static int on_hello(struct peer *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_hello m;
    int code = erg_msg_hello_decode(body, len, &m, err);
    if (code < 0)
        return code;
    if (p->greeted || m.major != ERG_PROTOCOL_MAJOR ||
        m.role != (p->serves ? ERG_ROLE_CLIENT : ERG_ROLE_AGENT))
        return erg_error_set(err, ERG_EPROTOCOL, "what is at the other end is no agent of ours");
    p->greeted = 1;
    code = erg_session_resume(p->session, m.received, err);
    for (const struct wish *w = p->wishes; w && code == 0; w = w->next)
        code = ask_for(p, w);
    return code;
}

/* Somebody wants something of ours. */
static int give(struct peer *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_agent *a = p->agent;
    struct erg_msg_ids ids;
    int code = erg_msg_ids_decode(body, len, &ids, err);
    uint32_t kind = code == 0 ? ERG_FETCH_KIND(ids.what) : 0;
    if (code == 0 && kind != ERG_DROP_VALUE && kind != ERG_DROP_BLOB)
        code = erg_error_set(err, ERG_EPROTOCOL, "an agent wants what nobody fetches");
    for (uint32_t i = 0; code == 0 && i < ids.n; i++) {
        uint64_t id = erg_msg_id(&ids, i);
        code = erg_agent_give(a, p->session, kind, id);
        if (code != ERG_ENOTFOUND)
            continue;
        unsigned char head[64];
        struct erg_msg_ids no = {
            .what = kind | (uint32_t)ERG_FETCH_MISSING << 8, .n = 1, .ids = &id};
        code = erg_session_send(p->session, ERG_LANE_FIRST, ERG_MSG_FETCHED, head,
                                erg_msg_ids_encode(&no, head), NULL, 0, NULL, NULL, NULL);
    }
    return code;
}

static int on_missing(struct peer *p, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct erg_msg_ids ids;
    int code = erg_msg_ids_decode(body, len, &ids, err);
    for (uint32_t i = 0; code == 0 && i < ids.n; i++)
        answer(p, ERG_FETCH_KIND(ids.what), erg_msg_id(&ids, i), ERG_FETCH_MISSING);
    return code;
}

/* What is on its way: 0 if it is what was asked for. */
static int name_of(struct peer *p, uint16_t type, const unsigned char *head, size_t len, int whole,
                   uint64_t data_len, uint32_t *kind, uint64_t *id, struct erg_error *err) {
    union {
        struct erg_msg_value value;
        struct erg_msg_blob blob;
    } m;
    int code = ERG_EPROTOCOL;
    if (type == ERG_MSG_VALUE && !p->serves) {
        code = erg_msg_value_decode(head, len, whole, data_len, &m.value, err);
        *kind = ERG_DROP_VALUE;
        *id = code == 0 ? m.value.id : 0;
        if (code == 0 && (m.value.outcome != ERG_OUT_OK || m.value.payload.stream_len == 0))
            code = ERG_EPROTOCOL;
    } else if (type == ERG_MSG_BLOB && !p->serves) {
        code = erg_msg_blob_decode(head, len, whole, data_len, &m.blob, err);
        *kind = ERG_DROP_BLOB;
        *id = code == 0 ? m.blob.uid : 0;
    }
    if (code == 0 && is_wished(p, *kind, *id))
        return 0;
    return erg_error_set(err, ERG_EPROTOCOL, "an agent sends %s nobody asked for",
                         erg_message_name(type));
}

static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct peer *p = ctx;
    uint32_t kind;
    uint64_t id;
    if (type == ERG_MSG_HELLO)
        return on_hello(p, body, len, err);
    if (!p->greeted)
        return erg_error_set(err, ERG_EPROTOCOL, "an agent that does not greet");
    if (type < ERG_FRAME_NUMBERED)
        return 0;
    if (type == ERG_MSG_FETCH && p->serves)
        return give(p, body, len, err);
    if (type == ERG_MSG_FETCHED && !p->serves)
        return on_missing(p, body, len, err);
    int code = name_of(p, type, body, len, 1, 0, &kind, &id, err);
    if (code == 0 && !erg_agent_has(p->agent, kind, id))
        code = erg_agent_on_message(p->agent, type, body, len, err);
    if (code == 0)
        answer(p, kind, id, ERG_FETCH_DONE);
    return code;
}

static int on_bulk(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    struct peer *p = ctx;
    uint32_t kind;
    uint64_t id;
    if (!p->greeted)
        return erg_error_set(err, ERG_EPROTOCOL, "an agent that does not greet");
    int code = name_of(p, type, head, head_len, 0, data_len, &kind, &id, err);
    return code < 0 ? code : erg_agent_on_bulk(p->agent, type, head, head_len, data_len, to, err);
}

static int on_done(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   struct erg_bulk *got, struct erg_error *err) {
    struct peer *p = ctx;
    uint32_t kind;
    uint64_t id, data_len = 0;
    for (size_t i = 0; i < got->n; i++)
        data_len += got->pieces[i].iov_len;
    int code = name_of(p, type, head, head_len, 0, data_len, &kind, &id, err);
    if (code < 0 || erg_agent_has(p->agent, kind, id))
        erg_agent_on_drop(got); /* the client has sent it meanwhile, and tasks may read that one */
    else
        code = erg_agent_on_done(p->agent, type, head, head_len, got, err);
    if (code == 0)
        answer(p, kind, id, ERG_FETCH_DONE);
    return code;
}

static void on_drop(void *ctx, uint16_t type, struct erg_bulk *got) {
    (void)ctx;
    (void)type;
    erg_agent_on_drop(got);
}

static const struct erg_session_ops session_ops = {on_message, on_bulk, on_done, on_drop};

/* --- links ------------------------------------------------------------------------------------------------------------ */

/* There are many: the one that has been idle for longest goes, when links are next looked at. */
static void make_room(struct erg_peers *s) {
    struct peer *idle = NULL;
    for (int i = 0; i < s->n; i++) {
        struct peer *p = s->links[i];
        if (p->greeted && !p->over && !p->wishes && erg_session_queued(p->session) == 0 &&
            (!idle || p->moved_at < idle->moved_at))
            idle = p;
    }
    if (idle)
        idle->over = 1;
}

static struct peer *link_new(struct erg_agent *a, int fd, int serves, uint32_t number) {
    struct erg_peers *s = a->peers;
    int one = 1;
    if (s->n >= MANY)
        make_room(s);
    struct peer *p = s->n < ERG_PEERS_MAX ? calloc(1, sizeof *p) : NULL;
    if (!p || erg_session_new(&session_ops, p, 0, &p->session) < 0) {
        free(p);
        close(fd);
        return NULL;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    p->agent = a;
    p->io = ERG_LINKIO_NONE;
    p->fd = fd;
    p->serves = serves;
    p->number = number;
    p->since = p->moved_at = now_ns();
    p->tick_at = INT64_MAX;
    s->links[s->n++] = p;
    return p;
}

static void link_free(struct peer *p) {
    erg_linkio_close(&p->io);
    if (p->fd >= 0)
        close(p->fd);
    while (p->wishes)
        answer(p, p->wishes->kind, p->wishes->id, ERG_FETCH_CUT);
    erg_session_free(p->session); /* what was being sent is let go */
    free(p);
}

/* The connection stands: the proofs come first, and nothing else is read before. */
static void link_begin(struct peer *p, const unsigned char key[ERG_AUTH_KEY]) {
    struct erg_auth *auth = NULL;
    int fd = p->fd;
    p->fd = -1;
    if (erg_auth_new(p->serves ? ERG_AUTH_SERVER : ERG_AUTH_CLIENT, key, NULL, &auth) < 0) {
        close(fd);
        p->over = 1;
        return;
    }
    p->over = erg_linkio_open(&p->io, p->session, fd, fd, auth, NULL) < 0 || say_hello(p) < 0;
    p->io.most = TURN_BYTES;
}

static struct known *known_find(struct erg_peers *s, uint32_t number) {
    struct known *k = s->known;
    while (k && k->number != number)
        k = k->next;
    return k;
}

static int resolve(const char *address, uint16_t port, struct addrinfo **found) {
    char text[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    snprintf(text, sizeof text, "%u", port);
    return getaddrinfo(address, text, &hints, found);
}

static struct peer *link_to(struct erg_agent *a, uint32_t number) {
    struct erg_peers *s = a->peers;
    struct known *k = known_find(s, number);
    struct addrinfo *found;
    for (int i = 0; i < s->n; i++)
        if (!s->links[i]->serves && s->links[i]->number == number && !s->links[i]->over)
            return s->links[i];
    if (!k || resolve(k->address, k->port, &found) != 0)
        return NULL;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int bad =
        fd < 0 || (connect(fd, found->ai_addr, found->ai_addrlen) < 0 && errno != EINPROGRESS);
    freeaddrinfo(found);
    if (bad && fd >= 0)
        close(fd);
    return bad ? NULL : link_new(a, fd, 0, number);
}

static void connected(struct peer *p) {
    int error = 0;
    socklen_t len = sizeof error;
    struct known *k = known_find(p->agent->peers, p->number);
    if (!k || getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0 || error)
        p->over = 1;
    else
        link_begin(p, k->key);
}

int erg_peers_fetch(struct erg_agent *a, const struct erg_msg_ids *ids) {
    uint32_t kind = ERG_FETCH_KIND(ids->what), number = ERG_FETCH_AGENT(ids->what);
    struct erg_peers *s = peers_of(a);
    int own = s && s->own == number && number != 0;
    struct peer *p = s && !own ? link_to(a, number) : NULL;
    for (uint32_t i = 0; i < ids->n; i++) {
        uint64_t id = erg_msg_id(ids, i);
        if (own) { /* whether what the client has just sent is here */
            say_fetched(a, kind, id,
                        erg_agent_has(a, kind, id) ? ERG_FETCH_DONE : ERG_FETCH_MISSING);
            continue;
        }
        if (p && is_wished(p, kind, id))
            continue; /* what was asked for twice is answered once: when it is here, or will not be */
        struct wish *w = p ? malloc(sizeof *w) : NULL;
        if (!w) {
            say_fetched(a, kind, id, ERG_FETCH_CUT);
            continue;
        }
        if (!p->wishes)
            p->moved_at = now_ns();
        *w = (struct wish){.next = p->wishes, .id = id, .kind = kind};
        p->wishes = w;
        if (p->greeted && ask_for(p, w) < 0)
            p->over = 1;
    }
    return 0;
}

int erg_peers_on_peer(struct erg_agent *a, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct erg_msg_peer m;
    int code = erg_msg_peer_decode(body, len, &m, err);
    struct erg_peers *s = code == 0 ? peers_of(a) : NULL;
    if (code < 0 || !s)
        return code;
    if (m.port == 0) {
        memcpy(s->key, m.key, sizeof s->key);
        s->own = (uint32_t)m.agent;
        s->has_key = 1;
        return 0;
    }
    struct known *k = known_find(s, (uint32_t)m.agent);
    if (k || m.address.len >= sizeof k->address || m.agent == 0 || m.agent >= ERG_FETCH_AGENTS ||
        !(k = calloc(1, sizeof *k)))
        return 0; /* what is wanted of it cannot be had, and is said so then */
    k->number = (uint32_t)m.agent;
    k->port = m.port;
    memcpy(k->key, m.key, sizeof k->key);
    memcpy(k->address, m.address.bytes, m.address.len);
    k->next = s->known;
    s->known = k;
    return 0;
}

/* --- serving ------------------------------------------------------------------------------------------------------------ */

size_t erg_peers_poll(const struct erg_agent *a, struct pollfd *fds) {
    const struct erg_peers *s = a->peers;
    size_t n = 0;
    if (!s)
        return 0;
    int open = s->has_key && s->n < ERG_PEERS_MAX && s->full_until == INT64_MAX;
    fds[n++] = (struct pollfd){.fd = open ? s->listener : -1, .events = POLLIN};
    for (int i = 0; i < s->n; i++) {
        const struct peer *p = s->links[i];
        fds[n++] = p->fd >= 0 ? (struct pollfd){.fd = p->fd, .events = POLLOUT}
                              : (struct pollfd){.fd = p->io.in,
                                                .events = POLLIN | (p->io.blocked ? POLLOUT : 0)};
    }
    return n;
}

static void take_links(struct erg_agent *a, int64_t now) {
    struct erg_peers *s = a->peers;
    int fd = 0;
    while (s->n < ERG_PEERS_MAX &&
           (fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        struct peer *p = link_new(a, fd, 1, 0);
        if (p)
            link_begin(p, s->key);
    }
    if (fd < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        s->full_until = now + FULL_NS;
}

static void link_read(struct peer *p, int64_t now) {
    uint64_t bytes = 0;
    if (erg_linkio_fill(&p->io, &bytes, NULL) < 0)
        p->over = 1;
    if (bytes > 0) {
        p->moved_at = now;
        if (p->tick_at == INT64_MAX)
            p->tick_at = now + TICK_NS;
    }
}

/* Until when it may go on as it is. */
static int64_t patience(const struct peer *p) {
    if (!p->greeted)
        return p->since + GREETING_NS;
    if (p->wishes || erg_session_queued(p->session) > 0)
        return p->moved_at + (p->serves ? IDLE_NS : SILENCE_NS);
    return p->moved_at + (p->serves ? 2 * IDLE_NS : IDLE_NS);
}

static void link_look(struct peer *p, int64_t now) {
    if (now >= p->tick_at) {
        p->tick_at = INT64_MAX;
        erg_session_tick(p->session);
    }
    if (erg_linkio_up(&p->io) && erg_linkio_flush(&p->io, NULL) < 0)
        p->over = 1;
    uint64_t unsent = erg_session_unsent(p->session);
    if (unsent != p->unsent)
        p->moved_at = now;
    p->unsent = unsent;
    if (now >= patience(p))
        p->over = 1;
}

void erg_peers_serve(struct erg_agent *a, const struct pollfd *fds, size_t n) {
    struct erg_peers *s = a->peers;
    int64_t now = now_ns();
    if (!s)
        return;
    for (size_t i = 1; i < n; i++) {
        struct peer *p = s->links[i - 1];
        if (!fds[i].revents || p->over)
            continue;
        if (p->fd >= 0)
            connected(p);
        else if (fds[i].revents & (POLLIN | POLLHUP | POLLERR))
            link_read(p, now);
    }
    if (n > 0 && fds[0].revents)
        take_links(a, now);
    if (now >= s->full_until)
        s->full_until = INT64_MAX;
    for (int i = s->n; i-- > 0;) {
        struct peer *p = s->links[i];
        if (!p->over)
            link_look(p, now);
        if (!p->over)
            continue;
        s->links[i] = s->links[--s->n];
        link_free(p);
    }
}

int64_t erg_peers_due(const struct erg_agent *a) {
    const struct erg_peers *s = a->peers;
    int64_t due = s ? s->full_until : INT64_MAX;
    for (int i = 0; s && i < s->n; i++) {
        int64_t at = patience(s->links[i]);
        at = s->links[i]->tick_at < at ? s->links[i]->tick_at : at;
        at = s->links[i]->over ? 0 : at;
        due = at < due ? at : due;
    }
    return due;
}

/* --- the port --------------------------------------------------------------------------------------------------------- */

/* By which of its addresses the client reached this host. What connects it may be a socket of our own, or ssh, which says
 * so; else it is a command on the same machine, as far as anybody knows. */
static void own_address(const struct erg_agent *a, char *out, size_t size) {
    struct sockaddr_storage at;
    socklen_t len = sizeof at;
    const char *ssh = getenv("SSH_CONNECTION");
    snprintf(out, size, "127.0.0.1");
    if (getsockname(a->io.in, (struct sockaddr *)&at, &len) == 0 &&
        (at.ss_family == AF_INET || at.ss_family == AF_INET6)) {
        char text[64];
        if (getnameinfo((struct sockaddr *)&at, len, text, sizeof text, NULL, 0, NI_NUMERICHOST) ==
            0)
            snprintf(out, size, "%s", text);
    } else if (ssh) {
        char text[64];
        if (sscanf(ssh, "%*s %*s %63s", text) == 1)
            snprintf(out, size, "%s", text);
    }
    erg_peer_address_plain(out);
}

static int listen_at(const char *address, uint16_t port) {
    struct addrinfo *found;
    int one = 1;
    if (resolve(address, port, &found) != 0)
        return -1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd >= 0 && (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 64) < 0)) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    return fd;
}

void erg_peers_listen(struct erg_agent *a, uint16_t low, uint16_t high) {
    struct erg_peers *s = low > 0 ? peers_of(a) : NULL;
    char address[64];
    if (!s)
        return;
    own_address(a, address, sizeof address);
    uint32_t port = low;
    for (; port <= high && s->listener < 0; port++)
        s->listener = listen_at(address, (uint16_t)port);
    unsigned char head[ERG_ERROR_TEXT_SIZE];
    if (s->listener < 0) {
        char words[256];
        int n = snprintf(words, sizeof words,
                         "ergon: host %.100s: none of its data_ports %u-%u is free on %s: data for "
                         "other hosts goes through the client\n",
                         a->name, low, high, address);
        struct erg_msg_log m = {.level = ERG_LOG_ERROR, .text = {words, (size_t)n}};
        erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_LOG, head,
                         erg_msg_log_encode(&m, head), NULL, 0, NULL, NULL, NULL);
        return;
    }
    a->port = (uint16_t)(port - 1);
    struct erg_msg_peer m = {.port = a->port, .address = {address, strlen(address)}};
    erg_session_send(a->session, ERG_LANE_FIRST, ERG_MSG_PEER, head, erg_msg_peer_encode(&m, head),
                     NULL, 0, NULL, NULL, NULL);
}

void erg_peers_close(struct erg_agent *a) {
    struct erg_peers *s = a->peers;
    if (!s)
        return;
    while (s->n > 0)
        link_free(s->links[--s->n]);
    while (s->known) {
        struct known *k = s->known;
        s->known = k->next;
        explicit_bzero(k, sizeof *k);
        free(k);
    }
    if (s->listener >= 0)
        close(s->listener);
    explicit_bzero(s, sizeof *s);
    free(s);
    a->peers = NULL;
}
