#include "launch/zygote_msg.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int sv[2];

static int open_pair(void **state) {
    (void)state;
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv);
}

static int close_pair(void **state) {
    (void)state;
    close(sv[0]);
    if (sv[1] >= 0)
        close(sv[1]);
    return 0;
}

static int count_fds(void) {
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void fields_and_descriptors_arrive(void **state) {
    (void)state;
    struct erg_zmsg out = {
        .kind = ERG_Z_FORK, .id = 7, .member = 3, .generation = 9, .pid = -12, .status = 5};
    memset(out.text, 'x', sizeof out.text);
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(erg_zmsg_send(sv[0], &out, pipe_fds, 2, 0), 0);
    struct erg_zmsg in;
    int fds[ERG_ZMSG_FDS], n;
    assert_int_equal(erg_zmsg_recv(sv[1], &in, fds, &n, 0), 0);
    assert_int_equal(in.kind, ERG_Z_FORK);
    assert_int_equal(in.id, 7);
    assert_int_equal(in.member, 3);
    assert_int_equal(in.generation, 9);
    assert_int_equal(in.pid, -12);
    assert_int_equal(in.status, 5);
    assert_int_equal(strlen(in.text), ERG_ZMSG_TEXT - 1);
    assert_int_equal(n, 2);
    assert_int_equal(write(fds[1], "!", 1), 1);
    char c;
    assert_int_equal(read(pipe_fds[0], &c, 1), 1);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    close(fds[0]);
    close(fds[1]);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void empty_and_closed_are_told_apart(void **state) {
    (void)state;
    struct erg_zmsg in;
    int fds[ERG_ZMSG_FDS], n;
    assert_int_equal(erg_zmsg_recv(sv[0], &in, fds, &n, MSG_DONTWAIT), ERG_EAGAIN);
    struct erg_zmsg last = {.kind = ERG_Z_BYE};
    assert_int_equal(erg_zmsg_send(sv[1], &last, NULL, 0, 0), 0);
    close(sv[1]);
    sv[1] = -1;
    assert_int_equal(erg_zmsg_recv(sv[0], &in, fds, &n, MSG_DONTWAIT), 0);
    assert_int_equal(in.kind, ERG_Z_BYE);
    assert_int_equal(erg_zmsg_recv(sv[0], &in, fds, &n, MSG_DONTWAIT), ERG_ECLOSED);
    assert_int_equal(erg_zmsg_send(sv[0], &last, NULL, 0, 0), ERG_ECLOSED);
}

/* The last words of a peer that did not listen any more are heard. */
static void words_before_a_reset_arrive(void **state) {
    (void)state;
    struct erg_zmsg words = {.kind = ERG_Z_FAILED, .text = "why"}, in, order = {.kind = ERG_Z_FORK};
    int fds[ERG_ZMSG_FDS], n;
    assert_int_equal(erg_zmsg_send(sv[0], &order, NULL, 0, 0), 0);
    assert_int_equal(erg_zmsg_send(sv[1], &words, NULL, 0, 0), 0);
    close(sv[1]);
    sv[1] = -1;
    assert_int_equal(erg_zmsg_recv(sv[0], &in, fds, &n, 0), 0);
    assert_string_equal(in.text, "why");
    assert_int_equal(erg_zmsg_recv(sv[0], &in, fds, &n, 0), ERG_ECLOSED);
}

static void full_socket_says_again(void **state) {
    (void)state;
    struct erg_zmsg msg = {.kind = ERG_Z_BYE};
    int rc, sent = 0;
    while ((rc = erg_zmsg_send(sv[0], &msg, NULL, 0, MSG_DONTWAIT)) == 0)
        sent++;
    assert_int_equal(rc, ERG_EAGAIN);
    assert_true(sent > 50); /* orders for as many workers may wait for a zygote that is not ready */
}

enum { FDS_MOST = 6 };

/* With descriptor 0, n times. */
static void send_with(const void *bytes, size_t len, int n) {
    struct iovec iov = {(void *)bytes, len};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * FDS_MOST)];
    } control = {0};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n > 0) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)n);
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)n);
        memset(CMSG_DATA(c), 0, sizeof(int) * (size_t)n);
    }
    assert_int_equal(sendmsg(sv[0], &header, 0), (int)len);
}

static void send_raw(const void *bytes, size_t len, int fd) {
    send_with(bytes, len, fd >= 0);
}

static void nonsense_is_refused_and_leaks_nothing(void **state) {
    (void)state;
    struct erg_zmsg good = {.kind = ERG_Z_BYE}, in;
    int fds[ERG_ZMSG_FDS], n;
    /* A sent message has the right magic: take it from there. */
    assert_int_equal(erg_zmsg_send(sv[0], &good, NULL, 0, 0), 0);
    assert_int_equal(erg_zmsg_recv(sv[1], &good, fds, &n, 0), 0);
    int before = count_fds();
    char big[sizeof good + 1] = {0};
    memcpy(big, &good, sizeof good);
    send_raw(big, sizeof big, 0);
    assert_int_equal(erg_zmsg_recv(sv[1], &in, fds, &n, 0), ERG_EPROTOCOL);
    send_raw(&good, sizeof good - 1, 0);
    assert_int_equal(erg_zmsg_recv(sv[1], &in, fds, &n, 0), ERG_EPROTOCOL);
    struct erg_zmsg bad = good;
    bad.kind = ERG_Z_KINDS;
    send_raw(&bad, sizeof bad, 0);
    assert_int_equal(erg_zmsg_recv(sv[1], &in, fds, &n, 0), ERG_EPROTOCOL);
    bad = good;
    bad.magic ^= 1;
    send_raw(&bad, sizeof bad, 0);
    assert_int_equal(erg_zmsg_recv(sv[1], &in, fds, &n, 0), ERG_EPROTOCOL);
    assert_int_equal(n, 0);
    assert_int_equal(count_fds(), before);
}

/* Random bytes, messages with some bytes changed, cut or too long ones, with any number of descriptors. */
static void whatever_comes_is_checked(void **state) {
    (void)state;
    const char *given = getenv("ERG_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
    fprintf(stderr, "ERG_SEED=%u\n", seed);
    struct erg_zmsg good = {.kind = ERG_Z_BYE}, in;
    int fds[ERG_ZMSG_FDS], n, taken = 0, refused = 0;
    assert_int_equal(erg_zmsg_send(sv[0], &good, NULL, 0, 0), 0);
    assert_int_equal(erg_zmsg_recv(sv[1], &good, fds, &n, 0), 0);
    int before = count_fds();
    for (int i = 0; i < 20000; i++) {
        unsigned char bytes[2 * sizeof good];
        for (size_t k = 0; k < sizeof bytes; k++)
            bytes[k] = (unsigned char)rand_r(&seed);
        if (rand_r(&seed) % 4) {
            memcpy(bytes, &good, offsetof(struct erg_zmsg, id));
            bytes[offsetof(struct erg_zmsg, kind)] = (unsigned char)(rand_r(&seed) % 12);
        }
        size_t len =
            rand_r(&seed) % 2 ? sizeof good : 1 + (size_t)rand_r(&seed) % (sizeof bytes - 1);
        send_with(bytes, len, rand_r(&seed) % (FDS_MOST + 1));
        int rc = erg_zmsg_recv(sv[1], &in, fds, &n, 0);
        if (rc == 0) {
            taken++;
            assert_in_range(in.kind, 1, ERG_Z_KINDS - 1);
            assert_non_null(memchr(in.text, 0, sizeof in.text));
            assert_in_range(n, 0, ERG_ZMSG_FDS);
            while (n > 0)
                close(fds[--n]);
        } else {
            refused++;
            assert_int_equal(rc, ERG_EPROTOCOL);
            assert_int_equal(n, 0);
        }
    }
    assert_true(taken > 0 && refused > 0);
    assert_int_equal(count_fds(), before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fields_and_descriptors_arrive, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(empty_and_closed_are_told_apart, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(words_before_a_reset_arrive, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(full_socket_says_again, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(whatever_comes_is_checked, open_pair, close_pair),
        cmocka_unit_test_setup_teardown(nonsense_is_refused_and_leaks_nothing, open_pair,
                                        close_pair),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
