#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "engine/server.h"
#include "launch/reach.h"
#include "wire/link.h"
#include "wire/message.h"

static const unsigned char key[32] = {5}, other_key[32] = {6};

struct server {
    struct erg_server_config config;
    struct erg_runtime runtime;
    pthread_t thread;
    int status, said[2];
    uint16_t port;
};

static void announce(void *ctx, uint16_t port) {
    struct server *s = ctx;
    assert_int_equal(write(s->said[1], &port, sizeof port), sizeof port);
}

static void *serve(void *arg) {
    struct server *s = arg;
    s->status = erg_server_run(&s->config, NULL);
    return NULL;
}

static void start(struct server *s, int64_t idle_ns) {
    memset(s, 0, sizeof *s);
    assert_int_equal(pipe(s->said), 0);
    s->runtime.name = "none";
    s->config =
        (struct erg_server_config){.key = key,
                                   .idle_ns = idle_ns,
                                   .agent = {.runtime = &s->runtime, .tag = "t", .python = ""},
                                   .announce = announce,
                                   .ctx = s,
                                   .stop_fd = eventfd(0, EFD_CLOEXEC)};
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
    assert_int_equal(read(s->said[0], &s->port, sizeof s->port), sizeof s->port);
}

static void finish(struct server *s, int stop) {
    uint64_t one = 1;
    if (stop) {
        assert_int_equal(write(s->config.stop_fd, &one, sizeof one), sizeof one);
    }
    pthread_join(s->thread, NULL);
    assert_int_equal(s->status, 0);
    close(s->config.stop_fd);
    close(s->said[0]);
    close(s->said[1]);
}

/* --- a client ------------------------------------------------------------------------------------------------------- */
struct client {
    struct erg_session *session;
    struct erg_link *link;
    struct erg_reached reached;
    unsigned char id[16];
    int greeted, failed;
};

static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct client *c = ctx;
    struct erg_msg_hello m;
    if (type != ERG_MSG_HELLO) {
        c->failed += type == ERG_MSG_FAIL;
        return 0;
    }
    int status = erg_msg_hello_decode(body, len, &m, err);
    if (status < 0) {
        return status;
    }
    assert_memory_equal(m.session, c->id, 16);
    c->greeted++;
    return erg_session_resume(c->session, m.received, err);
}

static int reach(struct server *s, struct client *c, const unsigned char *with) {
    struct erg_error err;
    struct erg_reach_spec spec = {.kind = ERG_REACH_TCP,
                                  .name = "tcp://here",
                                  .host = "127.0.0.1",
                                  .port = s->port,
                                  .key = with,
                                  .session = c->id};
    return erg_reach(&spec, -1, &c->reached, &err);
}

static void flush(struct client *c) {
    struct iovec out[4];
    for (size_t n; (n = erg_link_output(c->link, out, 4)) > 0;) {
        ssize_t sent = writev(c->reached.fd_out, out, (int)n);
        assert_true(sent > 0);
        erg_link_sent(c->link, (size_t)sent);
    }
}

/* Reads until the other side has greeted `times`; 0 when it hung up. */
static int greet(struct client *c, int times) {
    struct erg_error err;
    while (c->greeted < times) {
        struct iovec in[2];
        struct pollfd p = {.fd = c->reached.fd_in, .events = POLLIN};
        flush(c);
        assert_int_equal(poll(&p, 1, 20000), 1);
        size_t n = erg_link_room(c->link, in);
        ssize_t got = readv(c->reached.fd_in, in, (int)n);
        if (got <= 0) {
            return 0;
        }
        assert_int_equal(erg_link_got(c->link, (size_t)got, &err), 0);
    }
    flush(c);
    return 1;
}

static void open_link(struct server *s, struct client *c, const char *tag) {
    static const struct erg_session_ops ops = {.message = on_message};
    unsigned char hello[128];
    if (!c->session) {
        assert_int_equal(erg_session_new(&ops, c, 0, &c->session), 0);
    }
    assert_int_equal(reach(s, c, key), 0);
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR,
                              .role = ERG_ROLE_CLIENT,
                              .received = erg_session_received(c->session),
                              .tag = {tag, strlen(tag)}};
    memcpy(m.session, c->id, sizeof m.session);
    size_t len = erg_msg_hello_encode(&m, hello);
    assert_int_equal(erg_session_open_link(c->session, hello, len), 0);
    assert_int_equal(erg_link_new(c->session, c->reached.auth, &c->link), 0);
    c->reached.auth = NULL;
}

static void close_link(struct client *c) {
    erg_session_close_link(c->session);
    erg_link_free(c->link);
    erg_reached_close(&c->reached);
    c->link = NULL;
}

static void goodbye(struct client *c) {
    erg_session_send(c->session, ERG_LANE_FIRST, ERG_MSG_BYE, NULL, 0, NULL, 0, NULL, NULL, NULL);
    flush(c);
    close_link(c);
    erg_session_free(c->session);
}

/* --- tests ------------------------------------------------------------------------------------------------------------ */
static void clients_come_and_go(void **state) {
    (void)state;
    struct server s;
    struct client a = {.id = {1}}, b = {.id = {2}}, stranger = {.id = {1}};
    start(&s, 0);
    open_link(&s, &a, "t");
    open_link(&s, &b, "t");
    assert_int_equal(greet(&a, 1), 1);
    assert_int_equal(greet(&b, 1), 1);
    /* who has another key gets nothing, and disturbs nobody */
    assert_int_equal(reach(&s, &stranger, other_key), ERG_EACCESS);
    /* frames of the session it had before count: the agent is the same */
    erg_session_send(a.session, ERG_LANE_FIRST, ERG_MSG_STATS, "", 0, NULL, 0, NULL, NULL, NULL);
    flush(&a);
    usleep(50000);
    close_link(&a);
    open_link(&s, &a, "t");
    assert_int_equal(greet(&a, 2), 1);
    goodbye(&a);
    goodbye(&b);
    finish(&s, 1);
}

static void the_silent_hold_up_nobody(void **state) {
    (void)state;
    enum { SILENT = 30 };
    struct server s;
    struct client c = {.id = {3}};
    int silent[SILENT];
    start(&s, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(s.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (int i = 0; i < SILENT; i++) {
        silent[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(silent[i], (struct sockaddr *)&at, sizeof at), 0);
        assert_int_equal(send(silent[i], "ERGNauth1", (size_t)(i % 9), MSG_NOSIGNAL), i % 9);
    }
    open_link(&s, &c, "t");
    assert_int_equal(greet(&c, 1), 1);
    goodbye(&c);
    /* what is no greeting of ours is hung up on */
    char junk[88] = "GET / HTTP/1.1", byte;
    assert_int_equal(send(silent[0], junk, sizeof junk, MSG_NOSIGNAL), sizeof junk);
    assert_int_equal(recv(silent[0], &byte, 1, 0), 0);
    for (int i = 0; i < SILENT; i++) {
        close(silent[i]);
    }
    finish(&s, 1);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* No descriptor is left: who comes waits, without work for anybody, and is let in when there is one again. */
static void without_descriptors(void **state) {
    (void)state;
    enum { LIMIT = 128 };
    struct server s;
    struct client c = {.id = {5}};
    struct rlimit before, few = {LIMIT, 0};
    int fill[LIMIT], n = 0;
    start(&s, 0);
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_port = htons(s.port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int guest = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    getrlimit(RLIMIT_NOFILE, &before);
    few.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (n < LIMIT && (fill[n] = dup(guest)) >= 0) {
        n++;
    }
    assert_int_equal(connect(guest, (struct sockaddr *)&at, sizeof at), 0);
    double cpu = cpu_seconds();
    usleep(500000);
    assert_true(cpu_seconds() - cpu < 0.25);
    for (int i = 0; i < n; i++) {
        close(fill[i]);
    }
    setrlimit(RLIMIT_NOFILE, &before);
    open_link(&s, &c, "t");
    assert_int_equal(greet(&c, 1), 1);
    goodbye(&c);
    char junk[88] = "GET / HTTP/1.1", byte; /* the one that waited is heard, too */
    assert_int_equal(send(guest, junk, sizeof junk, MSG_NOSIGNAL), sizeof junk);
    assert_int_equal(recv(guest, &byte, 1, 0), 0);
    close(guest);
    finish(&s, 1);
}

static void idle(void **state) {
    (void)state;
    struct server s;
    struct client c = {.id = {4}};
    start(&s, 300000000);
    open_link(&s, &c, "t");
    assert_int_equal(greet(&c, 1), 1);
    usleep(400000); /* somebody is there */
    assert_int_equal(pthread_tryjoin_np(s.thread, NULL) != 0, 1);
    goodbye(&c);
    finish(&s, 0);
}

static void addresses(void **state) {
    (void)state;
    assert_int_equal(erg_server_is_local(NULL), 1);
    assert_int_equal(erg_server_is_local("127.0.0.1"), 1);
    assert_int_equal(erg_server_is_local("localhost"), 1);
    assert_int_equal(erg_server_is_local("::1"), 1);
    assert_int_equal(erg_server_is_local("0.0.0.0"), 0);
    assert_int_equal(erg_server_is_local("::"), 0);
    assert_int_equal(erg_server_is_local("192.0.2.1"), 0);
    assert_int_equal(erg_server_is_local("no-such-host.invalid"), 0);
    struct server s;
    struct erg_error err;
    start(&s, 0);
    struct erg_server_config again = s.config;
    again.port = s.port;
    assert_true(erg_server_run(&again, &err) < 0); /* taken */
    assert_non_null(strstr(err.text, "in use"));
    again.host = "no-such-host.invalid";
    assert_int_equal(erg_server_run(&again, &err), ERG_ENOTFOUND);
    finish(&s, 1);
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_come_and_go), cmocka_unit_test(the_silent_hold_up_nobody),
        cmocka_unit_test(without_descriptors), cmocka_unit_test(idle),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
