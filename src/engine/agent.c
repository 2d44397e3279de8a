/* The life of an agent: links that come and go, the pool, the end.
 *
 *     NEW ── OPEN came ──> OPENING ── the first worker is up ──> READY ── BYE, lease, failure ──> OVER
 *                              \── none comes up: FAIL ─────────────────────────────────────────^
 *
 * Two threads: the one in erg_agent_run reads the link and watches the time; the pool's completion thread sends what
 * is done, at once. Whoever finds the link stuck leaves the rest to the first. */
#include "engine/agent_inside.h"
#include "engine/agent_peer.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define MS ((int64_t)1000000)
#define SECOND (1000 * MS)
#define LEASE_DEFAULT (30 * SECOND)
#define LEASE_CLOSED (10 * SECOND) /* after a link that the client's own end has closed */
#define FRESH_NS                                                                                   \
    (8 * SECOND) /* a client that was well speaks every second, on a busy machine a little later */
#define HANGUP_MS                                                                                  \
    200 /* what carried the link and died lets go of both directions, this close together */
#define SILENCE_NS (15 * SECOND) /* of a client that says something every second */
#define PING_NS (2 * SECOND) /* a client whose link is full of its own data hears that we live */
#define TICK_NS (20 * MS) /* what arrived is acknowledged so long after, if nothing else is sent */
#define OPENING_LOOK_NS (2 * MS)   /* are workers up? */
#define LAST_WORDS_NS (2 * SECOND) /* for a FAIL to be written */
#define SESSION_BOUND ((size_t)256 << 20)
#define LOG_PART 4096
#define LOG_BOUND (1 << 20)

static int64_t now_ns(void) {
    return (int64_t)erg_clock_ns();
}

void erg_agent_ring(struct erg_agent *a) {
    uint64_t one = 1;
    int saved = errno;
    ssize_t n = write(a->bell, &one, sizeof one);
    (void)n; /* full: it rings already */
    errno = saved;
}

void erg_agent_stop(struct erg_agent *a) {
    atomic_store(&a->stopped, 1);
    erg_agent_ring(a);
}

static struct erg_text text_of(const char *s) {
    return (struct erg_text){s, strlen(s)};
}

/* --- what it says --------------------------------------------------------------------------------------------- */

static void say(struct erg_agent *a, uint16_t type, const void *head, size_t len) {
    erg_session_send(a->session, ERG_LANE_FIRST, type, head, len, NULL, 0, NULL, NULL, NULL);
}

static void over(struct erg_agent *a, int result) {
    a->stage = AGENT_OVER;
    a->result = result;
}

/* The client is told why, and it is over. */
static void fail(struct erg_agent *a, const struct erg_error *err) {
    unsigned char head[ERG_ERROR_TEXT_SIZE + 64];
    struct erg_msg_fail m = {.code = err->code, .text = text_of(err->text)};
    say(a, ERG_MSG_FAIL, head, erg_msg_fail_encode(&m, head));
    a->failure = *err;
    over(a, err->code);
}

static uint32_t load_1000(void) {
    double load = 0;
    return getloadavg(&load, 1) == 1 ? (uint32_t)(load * 1000) : 0;
}

static void say_ready(struct erg_agent *a) {
    char host[256] = "";
    unsigned char head[1024];
    gethostname(host, sizeof host - 1);
    struct erg_msg_ready m = {.slots = a->slots,
                              .cores = erg_cpu_count(),
                              .pid = getpid(),
                              .memory = erg_cpu_memory(),
                              .load_1000 = load_1000(),
                              .port = a->port,
                              .host = text_of(host),
                              .python = text_of(a->python),
                              .tag = text_of(a->tag)};
    say(a, ERG_MSG_READY, head, erg_msg_ready_encode(&m, head));
}

void erg_agent_log(struct erg_agent *a, uint32_t level, const char *bytes, size_t len) {
    unsigned char head[LOG_PART + 64];
    while (len) {
        size_t part = len < LOG_PART ? len : LOG_PART;
        struct erg_msg_log m = {.level = level, .text = {bytes, part}};
        pthread_mutex_lock(&a->lock);
        if (erg_session_unsent(a->session) < LOG_BOUND)
            say(a, ERG_MSG_LOG, head, erg_msg_log_encode(&m, head));
        pthread_mutex_unlock(&a->lock);
        bytes += part;
        len -= part;
    }
    erg_agent_ring(a);
}

static int say_hello(struct erg_agent *a) {
    unsigned char head[256];
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR,
                              .minor = ERG_PROTOCOL_MINOR,
                              .role = ERG_ROLE_AGENT,
                              .received = erg_session_received(a->session),
                              .tag = text_of(a->tag)};
    memcpy(m.session, a->id, sizeof a->id);
    return erg_session_open_link(a->session, head, erg_msg_hello_encode(&m, head));
}

/* --- what it hears -------------------------------------------------------------------------------------------- */

static int is_zero(const unsigned char id[16]) {
    static const unsigned char zero[16];
    return memcmp(id, zero, sizeof zero) == 0;
}

static int check_hello(struct erg_agent *a, const struct erg_msg_hello *m, struct erg_error *err) {
    if (m->role != ERG_ROLE_CLIENT && m->role != ERG_ROLE_HEIR)
        return erg_error_set(err, ERG_EPROTOCOL, "an agent was linked to what is no client");
    if (m->major != ERG_PROTOCOL_MAJOR)
        return erg_error_set(err, ERG_EPROTOCOL,
                             "the client speaks version %u of the protocol, the agent version %u: "
                             "install the same version of Ergon on both hosts",
                             m->major, ERG_PROTOCOL_MAJOR);
    if (m->tag.len != strlen(a->tag) || memcmp(m->tag.bytes, a->tag, m->tag.len) != 0)
        return erg_error_set(err, ERG_EUNSUPPORTED,
                             "the client is %.*s and this host has %s: both need the same minor "
                             "version of Python and the same platform",
                             (int)m->tag.len, m->tag.bytes, a->tag);
    if (!is_zero(a->id) && memcmp(a->id, m->session, sizeof a->id) != 0)
        return erg_error_set(err, ERG_EACCESS, "this agent belongs to another session");
    return 0;
}

static int on_hello(struct erg_agent *a, const unsigned char *body, size_t len,
                    struct erg_error *err) {
    struct erg_msg_hello m;
    int code = erg_msg_hello_decode(body, len, &m, err);
    if (code < 0 || a->greeted)
        return code < 0 ? code : erg_error_set(err, ERG_EPROTOCOL, "a second greeting");
    struct erg_error why;
    a->greeted = 1;
    code = check_hello(a, &m, &why);
    if (code < 0 && a->stage == AGENT_NEW) {
        erg_session_resume(a->session, 0, err);
        fail(a, &why);
        return 0;
    }
    if (code < 0) { /* somebody else: ours may come back */
        *err = why;
        return code;
    }
    if (m.role == ERG_ROLE_HEIR) { /* nobody comes back */
        over(a, 0);
        return 0;
    }
    memcpy(a->id, m.session, sizeof a->id);
    return erg_session_resume(a->session, m.received, err);
}

/* The client's answer is nothing we need: it asks on its own how far away we are. */
static void say_ping(struct erg_agent *a) {
    unsigned char head[32];
    struct erg_msg_ping m = {.sent_ns = (uint64_t)now_ns()};
    say(a, ERG_MSG_PING, head, erg_msg_ping_encode(&m, head));
    a->ping_at = now_ns() + PING_NS;
}

static int on_ping(struct erg_agent *a, const unsigned char *body, size_t len,
                   struct erg_error *err) {
    struct erg_msg_ping m;
    unsigned char head[32];
    if (erg_msg_ping_decode(body, len, &m, err) < 0)
        return ERG_EPROTOCOL;
    m.here_ns = (uint64_t)now_ns();
    say(a, ERG_MSG_PONG, head, erg_msg_ping_encode(&m, head));
    a->ping_at = now_ns() + PING_NS;
    return 0;
}

static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct erg_agent *a = ctx;
    if (type == ERG_MSG_HELLO)
        return on_hello(a, body, len, err);
    if (!a->greeted)
        return erg_error_set(err, ERG_EPROTOCOL, "a client that does not greet");
    if (type == ERG_MSG_PING)
        return on_ping(a, body, len, err);
    if (type < ERG_FRAME_NUMBERED || a->stage == AGENT_OVER)
        return 0;
    if (type == ERG_MSG_ANSWER)
        return erg_asks_on_message(a->asks, body, len, err);
    return erg_agent_on_message(a, type, body, len, err);
}

static int on_bulk(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    if (type == ERG_MSG_ANSWER)
        return erg_asks_on_bulk(data_len, to, err);
    return erg_agent_on_bulk(ctx, type, head, head_len, data_len, to, err);
}

static int on_done(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   struct erg_bulk *got, struct erg_error *err) {
    struct erg_agent *a = ctx;
    if (type == ERG_MSG_ANSWER)
        return erg_asks_on_done(a->asks, head, head_len, got, err);
    return erg_agent_on_done(ctx, type, head, head_len, got, err);
}

static void on_drop(void *ctx, uint16_t type, struct erg_bulk *got) {
    (void)ctx;
    if (type == ERG_MSG_ANSWER)
        free(got->user);
    else
        erg_agent_on_drop(got);
}

static const struct erg_session_ops session_ops = {on_message, on_bulk, on_done, on_drop};

/* --- the pool --------------------------------------------------------------------------------------------------- */

static int open_table(struct erg_agent *a, struct erg_error *err) {
    a->table = erg_pool_table(a->pool);
    a->m = erg_pool_member(a->pool);
    a->tasks_bytes = a->table->header->records_max * sizeof *a->tasks;
    void *tasks = mmap(NULL, a->tasks_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (tasks == MAP_FAILED)
        return erg_error_system(err, errno, "no memory for an agent");
    a->tasks = tasks;
    return erg_pool_on_complete(a->pool, erg_agent_on_complete, a, err);
}

int erg_agent_open_pool(struct erg_agent *a, const struct erg_msg_open *open,
                        struct erg_error *ignored) {
    (void)ignored; /* what fails here is told to the client; the link is as good as before */
    struct erg_error err;
    uint32_t slots = open->processes + open->threads;
    if (slots == 0)
        slots = erg_cpu_count();
    if (open->lease_ns > 0)
        a->lease_ns = open->lease_ns;
    a->slots = slots;
    size_t named = open->name.len < sizeof a->name - 1 ? open->name.len : sizeof a->name - 1;
    memcpy(a->name, open->name.bytes, named);
    a->name[named] = '\0';
    struct erg_pool_spec spec = {.processes = (int)slots,
                                 .arena_bytes = a->arena_bytes,
                                 .init = open->init.bytes,
                                 .init_len = open->init.len,
                                 .stop_limit_ns = open->stop_limit_ns,
                                 .grace_ns = open->grace_ns,
                                 .max_tasks_per_worker = (int)open->max_tasks,
                                 .number = open->pool};
    int code = erg_asks_new(a, &a->asks, &err);
    if (code == 0) {
        spec.asks = erg_asks_name(a->asks);
        code =
            slots > ERG_MEMBERS_LIMIT / 2
                ? erg_error_set(&err, ERG_EINVALID, "an agent can have at most %d workers, not %u",
                                ERG_MEMBERS_LIMIT / 2, slots)
                : erg_pool_open(a->engine, a->runtime, &spec, &a->pool, &err);
    }
    if (code == 0)
        code = open_table(a, &err);
    if (code < 0)
        fail(a, &err);
    else
        a->stage = AGENT_OPENING;
    if (code == 0)
        erg_peers_listen(a, open->port_low, open->port_high);
    return 0;
}

/* Lock held. */
static void look_at_workers(struct erg_agent *a) {
    struct erg_error err;
    int code = erg_pool_wait_up(a->pool, 1, 0, &err);
    if (code == ERG_ETIMEOUT || code == ERG_EINTR)
        return;
    if (code < 0) {
        fail(a, &err);
        return;
    }
    a->stage = AGENT_READY;
    say_ready(a);
}

/* --- links ------------------------------------------------------------------------------------------------------ */

int erg_agent_attach(struct erg_agent *a, int fd_in, int fd_out, struct erg_auth *auth,
                     struct erg_error *err) {
    (void)err;
    pthread_mutex_lock(&a->lock);
    int old_in = a->next_in, old_out = a->next_out;
    struct erg_auth *old = a->next_auth;
    a->next_in = fd_in;
    a->next_out = fd_out;
    a->next_auth = auth;
    pthread_mutex_unlock(&a->lock);
    erg_agent_ring(a);
    if (old_out >= 0 && old_out != old_in)
        close(old_out);
    if (old_in >= 0)
        close(old_in);
    erg_auth_free(old);
    return 0;
}

/* The stream has ended. Did the client close it (it has died, or comes back at once), and not the network, ssh or its
 * server, which the client may need its whole time to replace? Its own end is known by three signs: it was well to the
 * last, what it said last came in order, and what carries the link still takes what we say: ssh passes the end of its
 * input on and waits, whereas a carrier that dies lets go of both directions. Blocks for HANGUP_MS at most: there is
 * nobody to serve. */
static int client_closed(const struct erg_agent *a) {
    struct pollfd out = {.fd = a->io.out};
    if (!a->greeted || now_ns() - a->heard_at > FRESH_NS)
        return 0;
    return poll(&out, 1, HANGUP_MS) == 0;
}

/* code: why. */
static void close_link(struct erg_agent *a, int code) {
    if (!erg_linkio_up(&a->io))
        return;
    a->patience_ns = a->one_link ? 0 : a->lease_ns;
    if (a->stage == AGENT_NEW && a->patience_ns > LEASE_CLOSED)
        a->patience_ns = LEASE_CLOSED; /* nobody has opened anything here that could be lost */
    if (code == ERG_ECLOSED && a->patience_ns > LEASE_CLOSED && client_closed(a))
        a->patience_ns = LEASE_CLOSED;
    erg_linkio_close(&a->io);
    erg_session_close_link(a->session);
    a->alone_since = code == ERG_ETIMEOUT ? a->heard_at : now_ns(); /* as the client counts */
}

static void take_link(struct erg_agent *a) {
    if (a->next_in < 0)
        return;
    close_link(a, 0);
    int in = a->next_in, out = a->next_out;
    struct erg_auth *auth = a->next_auth;
    a->next_in = a->next_out = -1;
    a->next_auth = NULL;
    a->greeted = 0;
    a->heard_at = now_ns();
    a->ping_at = a->heard_at + PING_NS;
    if (erg_linkio_open(&a->io, a->session, in, out, auth, NULL) == 0 && say_hello(a) < 0)
        close_link(a, ERG_ENOMEM);
}

static void write_link(struct erg_agent *a) {
    int code = erg_linkio_up(&a->io) ? erg_linkio_flush(&a->io, NULL) : 0;
    if (code < 0)
        close_link(a, code);
}

static void read_link(struct erg_agent *a) {
    struct erg_error err;
    uint64_t bytes = 0;
    int code = erg_linkio_fill(&a->io, &bytes, &err);
    if (bytes > 0) {
        a->heard_at = now_ns();
        a->tick_at = a->heard_at + TICK_NS;
    }
    if (a->batch_len)
        erg_agent_submit(a);
    /* A client whose messages make no sense would send the same again over its next link. */
    if (code < 0 && code != ERG_ECLOSED && code != ERG_ESYSTEM && code != ERG_EACCESS &&
        a->greeted && a->stage != AGENT_OVER)
        fail(a, &err);
    else if (code < 0)
        close_link(a, code);
}

/* --- serving ------------------------------------------------------------------------------------------------------ */

enum { POLL_BELL, POLL_IN, POLL_OUT, POLLS };

/* Lock held. How long to sleep, in milliseconds; -1: until something happens. */
static int timeout_ms(const struct erg_agent *a) {
    int64_t now = now_ns(), due = INT64_MAX;
    if (a->stage == AGENT_OPENING)
        due = now + OPENING_LOOK_NS;
    if (erg_linkio_up(&a->io) && a->tick_at && a->tick_at < due)
        due = a->tick_at;
    if (erg_linkio_up(&a->io) && a->heard_at + SILENCE_NS < due)
        due = a->heard_at + SILENCE_NS;
    if (erg_linkio_up(&a->io) && a->greeted && a->ping_at < due)
        due = a->ping_at;
    if (!erg_linkio_up(&a->io) && a->alone_since + a->patience_ns < due)
        due = a->alone_since + a->patience_ns;
    if (a->stage == AGENT_OVER && due > now + LAST_WORDS_NS)
        due = now + LAST_WORDS_NS;
    int64_t peers = erg_peers_due(a);
    due = peers < due ? peers : due;
    if (due == INT64_MAX)
        return -1;
    return due <= now ? 0 : (int)((due - now) / MS) + 1;
}

static void look_at_clock(struct erg_agent *a) {
    int64_t now = now_ns();
    if (a->stage == AGENT_OPENING)
        look_at_workers(a);
    if (erg_linkio_up(&a->io) && a->tick_at && now >= a->tick_at) {
        a->tick_at = 0;
        erg_session_tick(a->session);
    }
    if (erg_linkio_up(&a->io) && now >= a->heard_at + SILENCE_NS)
        close_link(a, ERG_ETIMEOUT);
    if (erg_linkio_up(&a->io) && a->greeted && now >= a->ping_at)
        say_ping(a);
    if (!erg_linkio_up(&a->io) && a->stage != AGENT_OVER &&
        now >= a->alone_since + a->patience_ns) {
        erg_error_set(&a->failure, ERG_ETIMEOUT, "the client was gone for longer than the lease");
        over(a, ERG_ETIMEOUT);
    }
    if (atomic_load(&a->stopped) && a->stage != AGENT_OVER) {
        erg_error_set(&a->failure, ERG_ECLOSED, "the agent was stopped");
        over(a, ERG_ECLOSED);
    }
}

static void serve_once(struct erg_agent *a) {
    struct pollfd fds[POLLS + ERG_PEERS_POLLS] = {
        [POLL_BELL] = {.fd = a->bell, .events = POLLIN},
        [POLL_IN] = {.fd = a->io.in, .events = POLLIN},
        [POLL_OUT] = {.fd = a->io.blocked ? a->io.out : -1, .events = POLLOUT},
    };
    size_t peers = erg_peers_poll(a, fds + POLLS);
    int wait = timeout_ms(a);
    pthread_mutex_unlock(&a->lock);
    poll(fds, POLLS + peers, wait);
    pthread_mutex_lock(&a->lock);
    uint64_t drop;
    if (fds[POLL_BELL].revents && read(a->bell, &drop, sizeof drop) < 0)
        drop = 0; /* somebody else's spurious wake-up */
    if (fds[POLL_IN].revents && erg_linkio_up(&a->io))
        read_link(a);
    erg_peers_serve(a, fds + POLLS, peers);
    take_link(a);
    look_at_clock(a);
    write_link(a);
}

/* A FAIL shall reach the client. */
static void last_words(struct erg_agent *a) {
    int64_t until = now_ns() + LAST_WORDS_NS;
    while (a->result < 0 && erg_linkio_up(&a->io) && erg_session_queued(a->session) > 0 &&
           now_ns() < until)
        serve_once(a);
}

int erg_agent_run(struct erg_agent *a, struct erg_error *err) {
    pthread_mutex_lock(&a->lock);
    a->alone_since = now_ns();
    take_link(a);
    write_link(a);
    while (a->stage != AGENT_OVER)
        serve_once(a);
    last_words(a);
    close_link(a, 0);
    int result = a->result;
    if (err && result < 0)
        *err = a->failure;
    pthread_mutex_unlock(&a->lock);
    return result;
}

/* --- life --------------------------------------------------------------------------------------------------------- */

int erg_agent_new(const struct erg_agent_config *config, struct erg_agent **out,
                  struct erg_error *err) {
    struct erg_agent *a = calloc(1, sizeof *a);
    if (!a)
        return erg_error_set(err, ERG_ENOMEM, "no memory for an agent");
    pthread_mutex_init(&a->lock, NULL);
    a->runtime = config->runtime;
    a->io = ERG_LINKIO_NONE;
    a->next_in = a->next_out = -1;
    a->lease_ns = a->patience_ns = config->lease_ns > 0 ? config->lease_ns : LEASE_DEFAULT;
    a->one_link = config->one_link;
    a->arena_bytes = config->arena_bytes;
    memcpy(a->id, config->session, sizeof a->id);
    strncpy(a->tag, config->tag ? config->tag : "", sizeof a->tag - 1);
    strncpy(a->python, config->python ? config->python : "", sizeof a->python - 1);
    a->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int code = a->bell < 0 ? erg_error_system(err, errno, "cannot make an agent's descriptors") : 0;
    if (code == 0)
        code = erg_session_new(&session_ops, a, SESSION_BOUND, &a->session);
    if (code == 0)
        code = erg_engine_new(&a->engine, err);
    if (code < 0) {
        erg_agent_free(a);
        return code;
    }
    *out = a;
    return 0;
}

void erg_agent_free(struct erg_agent *a) {
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    close_link(a, 0);
    a->closing = 1;
    pthread_mutex_unlock(&a->lock);
    erg_agent_attach(a, -1, -1, NULL, NULL);
    if (a->pool)
        erg_pool_terminate(a->pool, NULL);
    char *folder = erg_asks_free(a->asks);
    a->asks = NULL;
    erg_peers_close(a);
    erg_session_free(a->session); /* what it kept lies in the pool's table */
    erg_engine_free(a->engine);
    if (folder) /* the workers have gone */
        erg_folder_remove(folder);
    free(folder);
    erg_map_fini(&a->by_id);
    erg_map_fini(&a->funcs);
    erg_map_fini(&a->blobs);
    erg_map_fini(&a->values);
    erg_map_fini(&a->dropped);
    erg_map_fini(&a->giving);
    if (a->tasks)
        munmap(a->tasks, a->tasks_bytes);
    if (a->bell >= 0)
        close(a->bell);
    pthread_mutex_destroy(&a->lock);
    free(a);
}
