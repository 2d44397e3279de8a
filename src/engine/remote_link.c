/* The link of one place.
 *
 *     STARTING ── READY ──> UP ── the link broke ──> BROKEN ── resumed ──> UP
 *        \── no connection, no agent ──> FAILED         \── too long, or a new agent ──> LOST
 *     … ── goodbye ──> LEAVING ── everything is gone ──> OFF
 *     LOST ── tried anew after a while, with a session and an agent of its own ── READY ──> UP
 *
 * While it is tried anew it stays LOST: nobody waits for it. It is not tried when the reason would be the same again (a
 * changed key, a refused password). The session lives from STARTING to the end; each attempt to connect is a program of its own. */
#include "engine/remote_inside.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#define PING_NS (1 * SECOND)
#define SILENCE_NS (15 * SECOND) /* a link that says nothing for so long is broken */
#define ATTEMPT_LEAST (3 * SECOND)
#define LEASE_SPARE (5 * SECOND) /* an agent waits that much longer than we try */
#define MUTE_NS (1 * SECOND)     /* for last words to arrive when nothing can be written any more */
#define LOG_PATIENCE_MS 20
#define LOG_DEAF_NS ((int64_t)1000000000) /* after somebody did not read that long */
#define TICK_NS (20 * MS)
#define BACKOFF_FIRST (100 * MS)
#define BACKOFF_MOST (5 * SECOND)
#define GOODBYE_NS (3 * SECOND)
#define SESSION_BOUND ((size_t)256 << 20)
#define AGAIN_MOST                                                                                 \
    (300 * SECOND) /* between attempts to find what was lost; the first wait is reconnect_ns */

static void set_state(struct place *p, enum erg_place_state state, int64_t now) {
    p->state = state;
    p->since = now;
    erg_remote_tell_pool(p->remote);
}

static void watch(struct place *p, int fd, int which, uint32_t events) {
    struct epoll_event e = {.events = events,
                            .data.u64 = (uint64_t)(p->number + 1) * EVENTS + (uint64_t)which};
    epoll_ctl(p->remote->epoll, EPOLL_CTL_ADD, fd, &e);
}

/* --- saying ------------------------------------------------------------------------------------------------------- */

int erg_site_send(struct place *p, enum erg_lane lane, uint16_t type, const void *head,
                  size_t len) {
    p->dirty = 1;
    return erg_session_send(p->session, lane, type, head, len, NULL, 0, NULL, NULL, NULL);
}

int64_t erg_site_lease_ns(const struct place *p) {
    return p->reconnect_ns + LEASE_SPARE;
}

static int queue_open(struct place *p) {
    struct erg_msg_open m = {.processes = p->want_slots,
                             .max_tasks = p->max_tasks,
                             .stop_limit_ns = p->stop_limit_ns,
                             .grace_ns = p->grace_ns,
                             .lease_ns = erg_site_lease_ns(p),
                             .port_low = p->port_low,
                             .port_high = p->port_high,
                             .pool = erg_table_number(p->remote->table),
                             .name = {p->name, strlen(p->name)},
                             .init = {p->init, p->init_len}};
    unsigned char *head = malloc(erg_msg_open_size(&m));
    if (!head)
        return ERG_ENOMEM;
    int code = erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_OPEN, head, erg_msg_open_encode(&m, head));
    free(head);
    return code;
}

static int say_hello(struct place *p) {
    unsigned char head[256];
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR,
                              .minor = ERG_PROTOCOL_MINOR,
                              .role = ERG_ROLE_CLIENT,
                              .received = erg_session_received(p->session),
                              .tag = {p->tag, strlen(p->tag)}};
    memcpy(m.session, p->id, sizeof p->id);
    return erg_session_open_link(p->session, head, erg_msg_hello_encode(&m, head));
}

static void say_ping(struct place *p, int64_t now) {
    unsigned char head[32];
    struct erg_msg_ping m = {.sent_ns = (uint64_t)now};
    erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_PING, head, erg_msg_ping_encode(&m, head));
    p->ping_at = now + PING_NS;
}

/* Nobody reads what we write. Mostly reading tells the same, and better, in a moment; where it does not, the link is
 * broken all the same (look_at_link). The descriptor is watched no longer: it would report this for ever. */
static void fall_mute(struct place *p, int64_t now) {
    if (p->mute_at != NEVER)
        return;
    p->mute_at = now;
    if (p->io.out != p->io.in)
        epoll_ctl(p->remote->epoll, EPOLL_CTL_DEL, p->io.out, NULL);
}

void erg_site_write(struct place *p) {
    p->dirty = 0;
    if (!erg_linkio_up(&p->io) || p->mute_at != NEVER)
        return;
    struct erg_error err;
    if (erg_linkio_flush(&p->io, &err) < 0) {
        fall_mute(p, erg_remote_now());
        return;
    }
    if (p->io.blocked == p->watched_out)
        return;
    int same = p->io.in == p->io.out;
    struct epoll_event e = {.events = (same ? EPOLLIN : 0) | (p->io.blocked ? EPOLLOUT : 0),
                            .data.u64 = (uint64_t)(p->number + 1) * EVENTS +
                                        (uint64_t)(same ? EVENT_IN : EVENT_OUT)};
    epoll_ctl(p->remote->epoll, EPOLL_CTL_MOD, p->io.out, &e);
    p->watched_out = p->io.blocked;
}

/* --- errands ------------------------------------------------------------------------------------------------------ */

static void *errand_main(void *arg) {
    struct errand *e = arg;
    struct erg_remote *r = e->remote;
    pthread_setname_np(pthread_self(), "ergon-reach");
    if (e->spec)
        e->code = erg_reach(e->spec, e->cancel_fd, &e->reached, &e->err);
    else
        erg_reached_close(&e->reached);
    pthread_mutex_lock(&r->lock);
    if (e->spec && e->place) {
        erg_site_on_reached(e, erg_remote_now());
    } else if (e->spec && e->code == 0) { /* found too late */
        pthread_mutex_unlock(&r->lock);
        erg_reached_close(&e->reached);
        pthread_mutex_lock(&r->lock);
    }
    r->errands--;
    uint64_t one = 1;
    ssize_t n = write(r->wake_fd, &one, sizeof one);
    (void)n;
    close(e->cancel_fd);
    free(e);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* To reach the place, or (spec NULL) to leave what was reached. */
static int errand_start(struct place *p, const struct erg_reach_spec *spec) {
    struct errand *e = calloc(1, sizeof *e);
    pthread_t thread;
    pthread_attr_t attr;
    sigset_t all, old;
    if (!e)
        return ERG_ENOMEM;
    e->remote = p->remote;
    if (spec) {
        e->way = *spec;
        e->spec = &e->way;
    }
    e->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (spec)
        e->place = p;
    else
        e->reached = p->reached;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    int rc = e->cancel_fd < 0 ? errno : pthread_create(&thread, &attr, errand_main, e);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        if (!spec) /* then here, however long it takes */
            erg_reached_close(&e->reached);
        if (e->cancel_fd >= 0)
            close(e->cancel_fd);
        free(e);
        return ERG_ELAUNCH;
    }
    p->remote->errands++;
    if (spec)
        p->connecting = e;
    return 0;
}

/* --- the end of things -------------------------------------------------------------------------------------------- */

static void close_link(struct place *p) {
    if (!erg_linkio_up(&p->io))
        return;
    erg_linkio_close(&p->io);
    p->watched_out = 0;
    erg_session_close_link(p->session);
}

/* What the link came from is ended, in a thread of its own. */
static void leave(struct place *p) {
    if (p->connecting) {
        uint64_t one = 1;
        ssize_t n = write(p->connecting->cancel_fd, &one, sizeof one);
        (void)n;
        p->connecting->place = NULL;
        p->connecting = NULL;
    }
    if (p->has_reached)
        errand_start(p, NULL);
    p->has_reached = 0;
}

/* It was lost: when to look for it again. Should the old agent still be there under the same name, it ends when it hears
 * of a session that is not its own, and the attempt after that finds none. */
static void plan_again(struct place *p, int64_t now) {
    if (p->reviving)
        p->again_wait = p->again_wait * 2 < AGAIN_MOST ? p->again_wait * 2 : AGAIN_MOST;
    else
        p->again_wait = p->reconnect_ns < AGAIN_MOST ? p->reconnect_ns : AGAIN_MOST;
    p->reviving = 0;
    p->again_at = p->said_bye || erg_reach_lasting(p->failure.text) ? NEVER : now + p->again_wait;
}

/* It is over with this agent. state: FAILED or LOST. */
static void give_up(struct place *p, enum erg_place_state state, int64_t now, const char *words) {
    char text[ERG_ERROR_TEXT_SIZE - 40];
    size_t named = strlen(p->name); /* what reaches it says so already */
    if (strncmp(words, p->name, named) == 0 && strncmp(words + named, ": ", 2) == 0)
        words += named + 2;
    snprintf(text, sizeof text, "%s", words); /* may be p->failure's own */
    close_link(p);
    leave(p);
    erg_site_forget_asks(p);
    erg_session_free(p->session);
    p->session = NULL;
    p->start_at = NEVER;
    erg_error_set(&p->failure, state == ERG_PLACE_LOST ? ERG_ELOST : ERG_ELAUNCH, "%s: %s", p->name,
                  text);
    if (state == ERG_PLACE_LOST)
        plan_again(p, now);
    set_state(p, state, now);
    char lost[2 * ERG_ERROR_TEXT_SIZE];
    snprintf(lost, sizeof lost, "host %s was lost while the task was there: %s", p->name, text);
    erg_site_lose_tasks(p, ERG_OUT_LOST, lost);
}

/* Both sides count from what they heard last: a link that fell silent has used some of the time. Of a short time that was
 * asked for half is left to try in all the same. */
static int64_t reconnect_until(const struct place *p, int64_t now) {
    int64_t least = now + p->reconnect_ns / 2, until = p->heard_at + p->reconnect_ns;
    return until > least ? until : least;
}

static void on_broken(struct place *p, int64_t now, const char *words) {
    close_link(p);
    leave(p);
    switch (p->state) {
    case ERG_PLACE_STARTING:
        give_up(p, ERG_PLACE_FAILED, now, words);
        break;
    case ERG_PLACE_LOST:
        if (p->reviving)
            give_up(p, ERG_PLACE_LOST, now, words);
        break;
    case ERG_PLACE_UP:
        snprintf(p->failure.text, sizeof p->failure.text, "%s", words);
        set_state(p, ERG_PLACE_BROKEN, now);
        erg_away_unpark(p->remote); /* who waits to fetch something from there need not */
        p->reconnect_until = reconnect_until(p, now);
        p->backoff = BACKOFF_FIRST;
        p->start_at = now + p->backoff;
        break;
    case ERG_PLACE_BROKEN:
        snprintf(p->failure.text, sizeof p->failure.text, "%s", words);
        p->backoff = p->backoff * 2 < BACKOFF_MOST ? p->backoff * 2 : BACKOFF_MOST;
        p->start_at = now + p->backoff;
        break;
    default:
        break;
    }
}

/* --- hearing ------------------------------------------------------------------------------------------------------ */

static int check_hello(struct place *p, const struct erg_msg_hello *m, struct erg_error *err) {
    static const unsigned char none[16];
    if (m->role != ERG_ROLE_AGENT)
        return erg_error_set(err, ERG_EPROTOCOL, "what answers there is no agent");
    if (m->major != ERG_PROTOCOL_MAJOR)
        return erg_error_set(err, ERG_EPROTOCOL,
                             "its Ergon speaks version %u of the protocol, this one version %u",
                             m->major, ERG_PROTOCOL_MAJOR);
    if (p->tag[0] && (m->tag.len != strlen(p->tag) || memcmp(m->tag.bytes, p->tag, m->tag.len)))
        return erg_error_set(err, ERG_EUNSUPPORTED,
                             "it has %.*s and this host %s: both need the same minor version of "
                             "Python and the same platform",
                             (int)m->tag.len, m->tag.bytes, p->tag);
    if (memcmp(m->session, none, 16) != 0 && memcmp(m->session, p->id, 16) != 0)
        return erg_error_set(err, ERG_EPROTOCOL, "its agent belongs to another session");
    return 0;
}

static int on_hello(struct place *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_hello m;
    int code = erg_msg_hello_decode(body, len, &m, err);
    if (code < 0)
        return code;
    if (p->greeted)
        return erg_error_set(err, ERG_EPROTOCOL, "a second greeting");
    code = check_hello(p, &m, err);
    if (code == 0) {
        p->greeted = 1;
        code = erg_session_resume(p->session, m.received, err);
    }
    int64_t now = erg_remote_now();
    if (code < 0) {
        p->doomed = 1;
        char why[160];
        snprintf(why, sizeof why, "%.150s", err->text);
        return p->state == ERG_PLACE_BROKEN
                   ? erg_error_set(err, ERG_ELOST, "its agent has ended meanwhile (%s)", why)
                   : code;
    }
    if (p->state == ERG_PLACE_BROKEN)
        set_state(p, ERG_PLACE_UP, now);
    say_ping(p, now);
    return 0;
}

static void copy_text(char *to, size_t size, struct erg_text text) {
    size_t len = text.len < size - 1 ? text.len : size - 1;
    memcpy(to, text.bytes, len);
    to[len] = '\0';
}

static int on_ready(struct place *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_ready m;
    int code = erg_msg_ready_decode(body, len, &m, err);
    if (code < 0 || (p->state != ERG_PLACE_STARTING && !p->reviving))
        return code;
    if (m.slots > ERG_MEMBERS_LIMIT)
        return erg_error_set(err, ERG_EPROTOCOL, "it claims to have %u workers", m.slots);
    p->slots = m.slots ? m.slots : 1;
    p->cores = m.cores;
    p->pid = m.pid;
    copy_text(p->host, sizeof p->host, m.host);
    copy_text(p->python, sizeof p->python, m.python);
    int64_t rtt = p->lease.rtt_ns;
    erg_lease_init(&p->lease, p->slots);
    p->lease.rtt_ns = rtt;
    p->reviving = 0;
    set_state(p, ERG_PLACE_UP, erg_remote_now());
    return 0;
}

static int on_fail(struct place *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_fail m;
    int code = erg_msg_fail_decode(body, len, &m, err);
    if (code < 0)
        return code;
    char words[ERG_ERROR_TEXT_SIZE];
    copy_text(words, sizeof words, m.text);
    p->doomed = 1;
    return erg_error_set(err, ERG_ECLOSED, "%s", words);
}

static int on_pong(struct place *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_ping m;
    int code = erg_msg_ping_decode(body, len, &m, err);
    int64_t rtt = code == 0 ? (int64_t)((uint64_t)erg_remote_now() - m.sent_ns) : -1;
    if (rtt >= 0 && rtt <= 2 * SILENCE_NS) /* else it gives back what it was not asked */
        erg_lease_on_rtt(&p->lease, rtt);
    return code;
}

/* What workers there write is written here as well. Whoever reads it too slowly loses some: the link does not wait. */
static int on_log(struct place *p, const unsigned char *body, size_t len, struct erg_error *err) {
    struct erg_msg_log m;
    int code = erg_msg_log_decode(body, len, &m, err);
    if (code < 0 || m.level > ERG_LOG_ERROR)
        return code;
    int64_t now = erg_remote_now();
    if (now < p->deaf_until)
        return 0;
    struct pollfd out = {.fd = m.level == ERG_LOG_ERROR ? STDERR_FILENO : STDOUT_FILENO,
                         .events = POLLOUT};
    for (size_t at = 0; at < m.text.len;) {
        ssize_t n = poll(&out, 1, LOG_PATIENCE_MS) > 0
                        ? write(out.fd, m.text.bytes + at, m.text.len - at)
                        : -1;
        if (n < 0) {
            p->deaf_until = now + LOG_DEAF_NS;
            break;
        }
        at += (size_t)n;
    }
    return 0;
}

static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct place *p = ctx;
    if (type == ERG_MSG_HELLO)
        return on_hello(p, body, len, err);
    if (!p->greeted)
        return erg_error_set(err, ERG_EPROTOCOL, "what answers there does not greet");
    switch (type) {
    case ERG_MSG_LOG:
        return on_log(p, body, len, err);
    case ERG_MSG_PONG:
        return on_pong(p, body, len, err);
    case ERG_MSG_READY:
        return on_ready(p, body, len, err);
    case ERG_MSG_ASK:
        return erg_site_on_ask(p, body, len, err);
    case ERG_MSG_FAIL:
        return on_fail(p, body, len, err);
    default:
        return type < ERG_FRAME_NUMBERED ? 0 : erg_site_on_message(p, type, body, len, err);
    }
}

static int on_bulk(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    if (type == ERG_MSG_ASK)
        return erg_site_on_ask_bulk(ctx, data_len, to, err);
    return erg_site_on_bulk(ctx, type, head, head_len, data_len, to, err);
}

static int on_done(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   struct erg_bulk *got, struct erg_error *err) {
    if (type == ERG_MSG_ASK)
        return erg_site_on_ask_done(head, head_len, got, err);
    return erg_site_on_done(ctx, type, head, head_len, got, err);
}

static void on_drop(void *ctx, uint16_t type, struct erg_bulk *got) {
    (void)ctx;
    if (type == ERG_MSG_ASK)
        free(got->user);
    else
        erg_site_on_drop(got);
}

static const struct erg_session_ops session_ops = {on_message, on_bulk, on_done, on_drop};

/* --- connecting --------------------------------------------------------------------------------------------------- */

/* A link that broke: an attempt of which nothing was heard (the first packets were lost, and are repeated ever more rarely)
 * leaves time for others. */
static void try_connect(struct place *p, int64_t now) {
    struct erg_reach_spec way = p->reach;
    int64_t half = (p->reconnect_until - now) / 2;
    if (p->state == ERG_PLACE_BROKEN && way.timeout_ns > half)
        way.timeout_ns = half > ATTEMPT_LEAST ? half : ATTEMPT_LEAST;
    p->start_at = NEVER;
    if (errand_start(p, &way) < 0)
        on_broken(p, now, "no memory, or no thread, to connect with");
}

static int take_link(struct place *p, int64_t now, struct erg_error *err) {
    int in = p->reached.fd_in, out = p->reached.fd_out;
    struct erg_auth *auth = p->reached.auth;
    p->reached.fd_in = p->reached.fd_out = -1;
    p->reached.auth = NULL;
    p->greeted = 0;
    p->heard_at = now;
    p->mute_at = NEVER;
    int code = erg_linkio_open(&p->io, p->session, in, out, auth, err);
    if (code == 0)
        code = say_hello(p);
    if (code < 0)
        return code;
    watch(p, in, EVENT_IN, EPOLLIN);
    if (out != in)
        watch(p, out, EVENT_OUT, 0);
    erg_site_write(p);
    return 0;
}

void erg_site_on_reached(struct errand *e, int64_t now) {
    struct place *p = e->place;
    struct erg_error err = e->err;
    p->connecting = NULL;
    int code = e->code;
    if (code == 0) {
        p->reached = e->reached;
        p->has_reached = 1;
        code = take_link(p, now, &err);
    }
    if (code < 0)
        on_broken(p, now, err.text);
}

/* A new session, and somebody is sent for it. STARTING, or LOST and being tried anew. */
static void begin(struct place *p, int64_t now) {
    p->backoff = 0;
    p->ping_at = p->tick_at = p->mute_at = p->again_at = NEVER;
    p->doomed = 0;
    p->slots = 0;
    p->since = now;
    erg_lease_init(&p->lease, p->want_slots);
    if ((!p->id_given && getrandom(p->id, sizeof p->id, 0) != (ssize_t)sizeof p->id) ||
        erg_session_new(&session_ops, p, SESSION_BOUND, &p->session) < 0 || queue_open(p) < 0) {
        give_up(p, p->reviving ? ERG_PLACE_LOST : ERG_PLACE_FAILED, now, "no memory for a session");
        return;
    }
    try_connect(p, now);
}

void erg_site_start(struct place *p, int64_t now) {
    p->failure = (struct erg_error){0};
    p->said_bye = 0;
    p->reviving = 0;
    set_state(p, ERG_PLACE_STARTING, now);
    begin(p, now);
}

/* The last agent and its session are gone; what reached them may still be on its way out, on its own. */
static void try_again(struct place *p, int64_t now) {
    p->reviving = 1;
    begin(p, now);
}

/* --- events --------------------------------------------------------------------------------------------------------- */

static void read_link(struct place *p, int64_t now) {
    struct erg_error err;
    uint64_t bytes = 0;
    int code = erg_linkio_fill(&p->io, &bytes, &err);
    p->bytes_in += bytes;
    if (bytes > 0) {
        p->heard_at = now;
        if (p->tick_at == NEVER)
            p->tick_at = now + TICK_NS;
    }
    /* What could not be taken has been counted as received: it does not come again over another link. */
    int senseless =
        code < 0 && p->greeted && code != ERG_ECLOSED && code != ERG_ESYSTEM && code != ERG_EACCESS;
    if (code < 0 && (p->doomed || senseless)) {
        p->doomed = 0;
        give_up(p, p->state == ERG_PLACE_STARTING ? ERG_PLACE_FAILED : ERG_PLACE_LOST, now,
                err.text);
    } else if (code < 0) {
        char words[ERG_ERROR_TEXT_SIZE], said[ERG_ERROR_TEXT_SIZE];
        erg_reached_words(&p->reached, said, sizeof said);
        snprintf(words, sizeof words, "%s", said[0] && code == ERG_ECLOSED ? said : err.text);
        on_broken(p, now, words);
    }
}

void erg_site_on_event(struct place *p, int which, uint32_t events, int64_t now) {
    if (which == EVENT_IN && erg_linkio_up(&p->io))
        read_link(p, now);
    if (which == EVENT_OUT && erg_linkio_up(&p->io) && (events & (EPOLLERR | EPOLLHUP)))
        fall_mute(p, now);
    p->dirty = 1;
}

static void look_at_link(struct place *p, int64_t now) {
    if (!erg_linkio_up(&p->io))
        return;
    if (now >= p->tick_at) {
        p->tick_at = NEVER;
        erg_session_tick(p->session);
        p->dirty = 1;
    }
    if (p->greeted && now >= p->ping_at)
        say_ping(p, now);
    if (p->greeted && now - p->heard_at > SILENCE_NS)
        on_broken(p, now, "nothing was heard of it for 15 seconds");
    else if (p->mute_at != NEVER && now - p->mute_at >= MUTE_NS)
        on_broken(p, now, "it reads nothing any more");
}

int64_t erg_site_look(struct place *p, int64_t now) {
    look_at_link(p, now);
    if (p->state == ERG_PLACE_LOST && now >= p->again_at)
        try_again(p, now);
    if ((p->state == ERG_PLACE_STARTING || p->reviving) && now - p->since > p->connect_ns) {
        char words[ERG_ERROR_TEXT_SIZE];
        snprintf(words, sizeof words, "it did not come up within %d seconds",
                 (int)(p->connect_ns / SECOND));
        give_up(p, p->reviving ? ERG_PLACE_LOST : ERG_PLACE_FAILED, now, words);
    }
    if (p->state == ERG_PLACE_BROKEN && now > p->reconnect_until)
        give_up(p, ERG_PLACE_LOST, now, p->failure.text);
    if (p->state == ERG_PLACE_BROKEN && now >= p->start_at)
        try_connect(p, now);
    if (p->state == ERG_PLACE_LEAVING && now - p->since > GOODBYE_NS)
        close_link(p);
    if (p->state == ERG_PLACE_LEAVING && !erg_linkio_up(&p->io)) {
        leave(p);
        erg_site_forget_asks(p);
        erg_session_free(p->session);
        p->session = NULL;
        erg_site_lose_tasks(p, ERG_OUT_CANCELLED,
                            "the pool was closed"); /* what was sent, mostly */
        set_state(p, ERG_PLACE_OFF, now);
    }
    if (now >= p->starved_until)
        p->starved_until = 0; /* and the caller dispatches */
    int64_t due = p->start_at;
    if (p->starved_until && p->starved_until < due)
        due = p->starved_until;
    if (erg_linkio_up(&p->io)) {
        due = p->tick_at < due ? p->tick_at : due;
        due = p->greeted && p->ping_at < due ? p->ping_at : due;
        due = p->mute_at != NEVER && p->mute_at + MUTE_NS < due ? p->mute_at + MUTE_NS : due;
    }
    int64_t ends = p->state == ERG_PLACE_STARTING  ? p->since + p->connect_ns
                   : p->reviving                   ? p->since + p->connect_ns
                   : p->state == ERG_PLACE_LOST    ? p->again_at
                   : p->state == ERG_PLACE_BROKEN  ? p->reconnect_until
                   : p->state == ERG_PLACE_LEAVING ? p->since + GOODBYE_NS
                                                   : NEVER;
    return ends != NEVER && ends < due ? ends + MS : due;
}

void erg_site_bye(struct place *p, int64_t now) {
    if (p->said_bye)
        return;
    p->said_bye = 1;
    p->start_at = NEVER;
    switch (p->state) {
    case ERG_PLACE_UP:
    case ERG_PLACE_STARTING:
    case ERG_PLACE_BROKEN:
        if (erg_linkio_up(&p->io))
            erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_BYE, NULL, 0);
        set_state(p, ERG_PLACE_LEAVING, now);
        erg_site_write(p);
        break;
    case ERG_PLACE_LOST:
        p->again_at = NEVER;
        if (!p->reviving)
            break;
        p->reviving = 0;
        if (erg_linkio_up(&p->io)) { /* an agent may be there, and hears it */
            erg_site_send(p, ERG_LANE_FIRST, ERG_MSG_BYE, NULL, 0);
            set_state(p, ERG_PLACE_LEAVING, now);
            erg_site_write(p);
            break;
        }
        leave(p);
        erg_session_free(p->session);
        p->session = NULL;
        break;
    default:
        break;
    }
}

void erg_site_let_go(struct place *p) {
    if (p->session && erg_session_let_go(p->session) < 0)
        close_link(p);
}

int erg_site_gone(const struct place *p) {
    return !p->connecting && !p->session;
}

void erg_site_abandon(struct place *p) {
    close_link(p);
    leave(p);
}

void erg_site_fini(struct place *p) {
    erg_site_forget_asks(p);
    erg_session_free(p->session);
    p->session = NULL;
    free(p->name);
    free(p->labels);
    free(p->tag);
    free(p->init);
    erg_reach_copy_free(&p->reach);
}
