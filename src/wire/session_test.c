#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/link.h"
#include "wire/message.h"
#include "wire/session.h"

enum { TYPE_SMALL = ERG_MSG_TASK, TYPE_BULK = ERG_MSG_VALUE };

/* Numbers that are the same in every run of the same seed. */
static uint64_t seed;
static uint32_t dice(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

/* One end: says numbered messages, and checks that those of the other come in order, each once. Bulk data is a pattern of
 * its number and length. */
struct end {
    struct erg_session *session;
    struct erg_link *link;
    uint64_t small_out, bulk_out, released;
    uint64_t small_in, bulk_in, bulk_begun, dropped;
    int pings, hello_seen, fail_next;
    unsigned char *data;
    struct iovec pieces[3];
};

/* Some messages have heads longer than a frame. */
static int long_heads;
static size_t head_len_of(uint64_t number) {
    static const size_t lens[] = {20, (1 << 20) - 12, (1 << 20) - 11, 20, 2600000};
    return long_heads ? lens[number % 5] : 20;
}

static unsigned char pattern(uint64_t number, size_t at) {
    return (unsigned char)(number * 7 + at / 31); /* can be packed a little */
}

static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct end *e = ctx;
    if (type == ERG_MSG_HELLO) {
        struct erg_msg_hello hello;
        int status = erg_msg_hello_decode(body, len, &hello, err);
        e->hello_seen++;
        return status < 0 ? status : erg_session_resume(e->session, hello.received, err);
    }
    if (type == ERG_MSG_PING) {
        e->pings++;
        return 0;
    }
    if (e->fail_next) {
        e->fail_next = 0;
        return erg_error_set(err, ERG_ECORRUPT, "asked to");
    }
    if (type == TYPE_BULK) { /* a short one of the bulk lane */
        assert_true(erg_get64(body) == e->bulk_in);
        e->bulk_in++;
        e->bulk_begun++;
        return 0;
    }
    assert_int_equal(type, TYPE_SMALL);
    assert_true(len >= 8 && erg_get64(body) == e->small_in);
    for (size_t i = 8; i < len; i++) {
        assert_int_equal(body[i], pattern(e->small_in, i));
    }
    e->small_in++;
    return 0;
}

static int on_bulk(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    struct end *e = ctx;
    (void)err;
    assert_int_equal(type, TYPE_BULK);
    assert_true(head_len == head_len_of(e->bulk_in) && erg_get64(head) == e->bulk_in);
    for (size_t i = 8; i < head_len; i += 1 + head_len / 5000) {
        assert_int_equal(head[i], pattern(e->bulk_in, i));
    }
    assert_int_equal(e->bulk_begun, e->bulk_in); /* once, also when the link breaks meanwhile */
    e->bulk_begun++;
    e->data = malloc(data_len ? data_len : 1);
    size_t a = data_len / 3, b = data_len / 2;
    e->pieces[0] = (struct iovec){e->data, a};
    e->pieces[1] = (struct iovec){e->data + a, b};
    e->pieces[2] = (struct iovec){e->data + a + b, data_len - a - b};
    *to = (struct erg_bulk){.pieces = e->pieces, .n = 3, .user = e->data};
    return 0;
}

static int on_done(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   struct erg_bulk *got, struct erg_error *err) {
    struct end *e = ctx;
    (void)type;
    (void)err;
    (void)head_len;
    uint64_t number = erg_get64(head);
    assert_true(number == e->bulk_in);
    size_t len = got->pieces[0].iov_len + got->pieces[1].iov_len + got->pieces[2].iov_len;
    unsigned char *data = got->user;
    for (size_t i = 0; i < len; i += 1 + len / 5000) {
        assert_int_equal(data[i], pattern(number, i));
    }
    e->bulk_in++;
    free(data);
    return 0;
}

static void on_drop(void *ctx, uint16_t type, struct erg_bulk *got) {
    struct end *e = ctx;
    (void)type;
    e->dropped++;
    free(got->user);
}

static const struct erg_session_ops ops = {on_message, on_bulk, on_done, on_drop};

static void end_init(struct end *e, size_t bound) {
    memset(e, 0, sizeof *e);
    assert_int_equal(erg_session_new(&ops, e, bound, &e->session), 0);
}

static void end_fini(struct end *e) {
    erg_link_free(e->link);
    erg_session_free(e->session);
    assert_true(e->released == e->bulk_out);
    assert_true(e->bulk_begun == e->bulk_in + e->dropped);
}

static void link_up(struct end *e, struct erg_auth *auth) {
    unsigned char hello[128];
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR,
                              .role = ERG_ROLE_CLIENT,
                              .received = erg_session_received(e->session)};
    size_t len = erg_msg_hello_encode(&m, hello);
    assert_int_equal(erg_session_open_link(e->session, hello, len), 0);
    assert_int_equal(erg_link_new(e->session, auth, &e->link), 0);
}

static void link_down(struct end *e) {
    erg_session_close_link(e->session);
    erg_link_free(e->link);
    e->link = NULL;
}

static void both_up(struct end ends[2], int sealed) {
    static const unsigned char key[ERG_AUTH_KEY] = {3};
    struct erg_auth *c = NULL, *s = NULL;
    if (sealed) {
        assert_int_equal(erg_auth_new(ERG_AUTH_CLIENT, key, NULL, &c), 0);
        assert_int_equal(erg_auth_new(ERG_AUTH_SERVER, key, NULL, &s), 0);
    }
    link_up(&ends[0], c);
    link_up(&ends[1], s);
}

/* Moves up to `most` bytes from one end to the other. How many; negative: what the reader said. */
static long move(struct end *from, struct end *to, size_t most, struct erg_error *err) {
    struct iovec out[8], in[2];
    size_t n = erg_link_output(from->link, out, 8), moved = 0;
    for (size_t i = 0; i < n && moved < most; i++) {
        size_t at = 0;
        while (at < out[i].iov_len && moved < most) {
            size_t k = erg_link_room(to->link, in), got = 0;
            assert_true(k >= 1 && in[k - 1].iov_len > 0);
            for (size_t j = 0; j < k; j++) {
                size_t part = out[i].iov_len - at;
                part = part < in[j].iov_len ? part : in[j].iov_len;
                part = part < most - moved ? part : most - moved;
                memcpy(in[j].iov_base, (char *)out[i].iov_base + at, part);
                at += part;
                moved += part;
                got += part;
                if (part < in[j].iov_len) {
                    break;
                }
            }
            int status = erg_link_got(to->link, got, err);
            if (status < 0) {
                return status;
            }
        }
    }
    erg_link_sent(from->link, moved);
    return (long)moved;
}

static void on_release(void *ctx, void *user) {
    struct end *e = ctx;
    e->released++;
    free(user);
}

static void say_small(struct end *e, size_t len) {
    unsigned char *body = malloc(len);
    assert_non_null(body);
    erg_put64(body, e->small_out);
    for (size_t i = 8; i < len; i++) {
        body[i] = pattern(e->small_out, i);
    }
    struct iovec rest = {body + 8, len - 8};
    size_t head = len - 8 <= ERG_SESSION_COPY_MAX && e->small_out % 2 ? 8 : len;
    assert_int_equal(erg_session_send(e->session, ERG_LANE_FIRST, TYPE_SMALL, body, head, &rest,
                                      head < len, NULL, NULL, NULL),
                     0);
    free(body);
    e->small_out++;
}

static void say_bulk(struct end *e, size_t len) {
    size_t head_len = head_len_of(e->bulk_out);
    unsigned char *head = malloc(head_len);
    erg_put64(head, e->bulk_out);
    for (size_t i = 8; i < head_len; i++) {
        head[i] = pattern(e->bulk_out, i);
    }
    unsigned char *data = malloc(len + 1);
    for (size_t i = 0; i < len; i++) {
        data[i] = pattern(e->bulk_out, i);
    }
    struct iovec pieces[4] = {{data, len / 7}, {data + len / 7, 0}, {data + len / 7, len / 2}};
    pieces[3] = (struct iovec){data + len / 7 + len / 2, len - len / 7 - len / 2};
    assert_int_equal(erg_session_send(e->session, ERG_LANE_BULK, TYPE_BULK, head, head_len, pieces,
                                      4, on_release, e, data),
                     0);
    free(head);
    e->bulk_out++;
}

static void settle(struct end ends[2]) {
    for (int idle = 0; idle < 3;) {
        struct erg_error err = {.text = ""};
        long a = move(&ends[0], &ends[1], 1 << 20, &err),
             b = move(&ends[1], &ends[0], 1 << 20, &err);
        if (a < 0 || b < 0) {
            fail_msg("%s", err.text);
        }
        if (a + b == 0) {
            erg_session_tick(ends[0].session);
            erg_session_tick(ends[1].session);
            idle++;
        }
    }
}

static void in_order(void **state) {
    (void)state;
    struct end ends[2];
    end_init(&ends[0], 0);
    end_init(&ends[1], 0);
    say_small(&ends[0], 8); /* before there is a link */
    both_up(ends, 0);
    say_small(&ends[0], 5000);
    say_bulk(&ends[0], 3000000);
    say_bulk(&ends[0], 100); /* not past the large one */
    say_bulk(&ends[1], 17000);
    settle(ends);
    assert_true(ends[1].small_in == 2 && ends[1].bulk_in == 2 && ends[0].bulk_in == 1);
    assert_true(ends[0].released == 2); /* acknowledged */
    assert_int_equal(erg_session_queued(ends[0].session), 0);
    end_fini(&ends[0]);
    end_fini(&ends[1]);
}

/* Heads that need several frames, with and without data, and on both sides of the limit. */
static void heads_of_any_length(void **state) {
    (void)state;
    struct end ends[2];
    long_heads = 1;
    for (int pack = 0; pack < 2; pack++) {
        end_init(&ends[0], 0);
        end_init(&ends[1], 0);
        both_up(ends, 0);
        erg_session_compress(ends[0].session, pack);
        for (int i = 0; i < 15; i++) {
            say_bulk(&ends[0], i < 5 ? 0 : i < 10 ? 100 : 600000);
            say_small(&ends[0], 50);
        }
        settle(ends);
        assert_int_equal(ends[1].bulk_in, 15);
        assert_int_equal(erg_session_queued(ends[0].session), 0);
        unsigned char *head = calloc(1, ERG_SESSION_HEAD_MAX + 1);
        assert_int_equal(erg_session_send(ends[0].session, ERG_LANE_FIRST, TYPE_BULK, head,
                                          ERG_SESSION_HEAD_MAX + 1, NULL, 0, NULL, NULL, NULL),
                         ERG_EINVALID);
        free(head);
        end_fini(&ends[0]);
        end_fini(&ends[1]);
    }
    for (size_t bytes = 1000; bytes < 5500000; bytes += 173000) { /* the end, anywhere */
        end_init(&ends[0], 0);
        end_init(&ends[1], 0);
        both_up(ends, 0);
        for (int i = 0; i < 5; i++) {
            say_bulk(&ends[0], 100000);
        }
        for (size_t moved = 0; moved < bytes;) {
            long n = move(&ends[0], &ends[1], bytes - moved, NULL), back;
            back = move(&ends[1], &ends[0], 100000, NULL);
            assert_true(n >= 0 && back >= 0);
            moved += (size_t)n;
            if (n + back == 0) {
                break;
            }
        }
        end_fini(&ends[0]);
        end_fini(&ends[1]);
    }
    long_heads = 0;
}

/* What was lent is not looked at again, wherever the transfer was; what is short arrives all the same. */
static void what_is_let_go(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes < 1500000; bytes += 1 + bytes / 2) {
        struct end ends[2];
        end_init(&ends[0], 0);
        end_init(&ends[1], 0);
        both_up(ends, 0);
        say_small(&ends[0], 3000);
        say_bulk(&ends[0], 600000);
        say_bulk(&ends[0], 600000);
        say_small(&ends[0], 40);
        say_bulk(&ends[0], 100); /* behind the others, though it is short */
        size_t moved = 0;
        for (long n = 1, back = 1; moved < bytes && n + back > 0; moved += (size_t)n) {
            n = move(&ends[0], &ends[1], bytes - moved, NULL);
            back = move(&ends[1], &ends[0], 100000, NULL);
        }
        assert_int_equal(erg_session_let_go(ends[0].session), 0);
        assert_int_equal(ends[0].released, 3); /* which frees the memory */
        say_small(&ends[0], 17);
        settle(ends);
        assert_int_equal(ends[1].small_in, 3);
        assert_int_equal(erg_session_queued(ends[0].session), 0);
        link_down(&ends[0]);
        link_down(&ends[1]);
        link_up(&ends[0], NULL);
        struct erg_error err;
        assert_true(bytes < 10000 || erg_session_resume(ends[0].session, 0, &err) < 0);
        end_fini(&ends[0]);
        end_fini(&ends[1]);
    }
}

/* A short message does not wait for a long one, but what is in the bulk lane does. */
static void urgent_passes_bulk(void **state) {
    (void)state;
    struct end ends[2];
    end_init(&ends[0], 0);
    end_init(&ends[1], 0);
    both_up(ends, 0);
    say_bulk(&ends[0], 20000000);
    while (!ends[1].bulk_begun) {
        assert_true(move(&ends[0], &ends[1], 70000, NULL) >= 0);
        assert_true(move(&ends[1], &ends[0], 70000, NULL) >= 0);
    }
    say_small(&ends[0], 100);
    size_t waited = 0;
    while (!ends[1].small_in) {
        long moved = move(&ends[0], &ends[1], 70000, NULL);
        assert_true(moved > 0);
        waited += (size_t)moved;
    }
    assert_true(waited < 1200000);
    assert_int_equal(ends[1].bulk_in, 0);
    assert_false(erg_session_writable(ends[0].session) == 0); /* 20 MB of 64 */
    say_bulk(&ends[0], 50000000);
    assert_int_equal(erg_session_writable(ends[0].session), 0);
    settle(ends);
    assert_int_equal(ends[1].bulk_in, 2);
    assert_int_not_equal(erg_session_writable(ends[0].session), 0);
    end_fini(&ends[0]);
    end_fini(&ends[1]);
}

/* Anything is sent in both directions while the link breaks at any byte, again and again. */
static uint64_t soak(int sealed, uint64_t start, int rounds) {
    struct end ends[2];
    seed = start;
    end_init(&ends[0], 1 << 20);
    end_init(&ends[1], 1 << 20);
    both_up(ends, sealed);
    for (int round = 0; round < rounds; round++) {
        struct end *e = &ends[dice(2)];
        switch (dice(8)) {
        case 0:
            say_bulk(e, dice(3) ? dice(40000) : dice(900000));
            break;
        case 1:
        case 2:
            for (uint32_t n = dice(300); n; n--) {
                say_small(e, 8 + dice(dice(10) ? 100 : 60000));
            }
            break;
        case 3:
            erg_session_compress(e->session, (int)dice(2));
            erg_session_send(e->session, ERG_LANE_FIRST, ERG_MSG_PING, "ping", 4, NULL, 0, NULL,
                             NULL, NULL);
            break;
        case 4:
            erg_session_tick(e->session);
            break;
        }
        for (uint32_t n = dice(20); n; n--) {
            uint32_t from = dice(2);
            long moved = move(&ends[from], &ends[!from], 1 + dice(dice(4) ? 300 : 400000), NULL);
            assert_true(moved >= 0);
        }
        if (dice(5) == 0) {
            link_down(&ends[0]);
            link_down(&ends[1]);
            if (dice(2)) {
                say_small(e, 9);
            }
            both_up(ends, sealed);
        }
    }
    settle(ends);
    uint64_t repeated = 0;
    for (int i = 0; i < 2; i++) {
        struct erg_session_counts counts;
        erg_session_counts(ends[i].session, &counts);
        assert_true(ends[i].small_in == ends[!i].small_out && ends[i].bulk_in == ends[!i].bulk_out);
        assert_true(ends[i].released == ends[i].bulk_out);
        assert_int_equal(erg_session_queued(ends[i].session), 0);
        assert_int_equal(erg_session_unsent(ends[i].session), 0);
        repeated += counts.repeated;
    }
    end_fini(&ends[0]);
    end_fini(&ends[1]);
    return repeated;
}

static void breaking_links(void **state) {
    (void)state;
    uint64_t repeated = 0;
    for (uint64_t s = 1; s <= 25; s++) {
        long_heads = s % 3 == 0;
        repeated += soak(0, s * 977, 120);
    }
    long_heads = 0;
    assert_true(repeated > 100); /* or nothing of this was tested */
}

static void breaking_sealed_links(void **state) {
    (void)state;
    uint64_t repeated = 0;
    for (uint64_t s = 1; s <= 8; s++) {
        repeated += soak(1, s * 977, 120);
    }
    assert_true(repeated > 100);
}

/* Ended in the middle of everything: what was lent is given back. */
static void ends_anywhere(void **state) {
    (void)state;
    for (size_t bytes = 0; bytes < 700000; bytes = bytes * 2 + 13) {
        struct end ends[2];
        end_init(&ends[0], 0);
        end_init(&ends[1], 0);
        both_up(ends, 0);
        assert_true(move(&ends[1], &ends[0], 1000, NULL) > 0);
        say_small(&ends[0], 1000);
        say_bulk(&ends[0], 500000);
        say_bulk(&ends[0], 10);
        for (size_t moved = 0; moved < bytes;) {
            long more = move(&ends[0], &ends[1], bytes - moved, NULL);
            assert_true(more >= 0);
            moved += (size_t)more;
            if (!more) {
                break;
            }
        }
        end_fini(&ends[0]);
        end_fini(&ends[1]);
    }
}

static void what_packs_is_packed(void **state) {
    (void)state;
    struct end ends[2];
    struct erg_session_counts counts;
    end_init(&ends[0], 0);
    end_init(&ends[1], 0);
    both_up(ends, 0);
    erg_session_compress(ends[0].session, 1);
    for (int i = 0; i < 20; i++) {
        say_bulk(&ends[0], 300000);
        say_small(&ends[0], 3000);
    }
    settle(ends);
    erg_session_counts(ends[0].session, &counts);
    assert_true(ends[1].bulk_in == 20 && ends[1].small_in == 20);
    assert_true(counts.bytes_out * 4 < counts.raw_out);
    end_fini(&ends[0]);
    end_fini(&ends[1]);
}

/* Frames of a peer that is wrong, one after HELLO: the link ends, and nothing else happens. */
static void nonsense(void **state) {
    (void)state;
    const struct {
        struct erg_frame frame;
        const char *body;
    } wrong[] = {
        {{.len = 4, .type = TYPE_SMALL, .seq = 2}, "abcd"},           /* out of order */
        {{.len = 4, .type = TYPE_SMALL, .seq = 0}, "abcd"},           /* no number */
        {{.len = 4, .type = ERG_MSG_PING, .seq = 1}, "abcd"},         /* a number */
        {{.len = 4, .type = TYPE_SMALL, .seq = 1, .ack = 1}, "abcd"}, /* nothing was sent */
        {{.len = 0, .type = ERG_MSG_HELLO}, ""},                      /* again */
        {{.len = 4, .type = TYPE_BULK, .flags = ERG_FRAME_DATA, .seq = 1}, "abcd"},
        {{.len = 4, .type = TYPE_BULK, .flags = ERG_FRAME_BULK, .seq = 1}, "abcd"},
        {{.len = 12, .type = TYPE_BULK, .flags = ERG_FRAME_BULK, .seq = 1},
         "\1\0\0\0\0\0\0\0\1\0\0"}, /* head and data are not there */
        {{.len = 4, .type = TYPE_SMALL, .flags = ERG_FRAME_LZ4, .seq = 1}, "\1\0\0"},
        {{.len = 5, .type = TYPE_SMALL, .flags = ERG_FRAME_LZ4, .seq = 1}, "\377\377\377\377a"},
        {{.len = 0, .type = TYPE_SMALL, .flags = 64, .seq = 1}, ""},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct end ends[2];
        struct erg_error err;
        unsigned char bytes[64];
        end_init(&ends[0], 0);
        end_init(&ends[1], 0);
        both_up(ends, 0);
        settle(ends);
        erg_frame_encode(&wrong[i].frame, bytes);
        memcpy(bytes + ERG_FRAME_HEADER, wrong[i].body, wrong[i].frame.len);
        assert_int_equal(
            erg_session_input(ends[1].session, bytes, ERG_FRAME_HEADER + wrong[i].frame.len, &err),
            ERG_EPROTOCOL);
        assert_int_equal(err.code, ERG_EPROTOCOL);
        assert_true(ends[1].small_in + ends[1].bulk_in == 0);
        /* and another link does */
        link_down(&ends[0]);
        link_down(&ends[1]);
        both_up(ends, 0);
        say_bulk(&ends[0], 100000);
        settle(ends);
        assert_int_equal(ends[1].bulk_in, 1);
        end_fini(&ends[0]);
        end_fini(&ends[1]);
    }
}

static void wrong_resumption(void **state) {
    (void)state;
    struct end ends[2];
    struct erg_error err;
    unsigned char hello[128], frame[ERG_FRAME_HEADER];
    end_init(&ends[0], 0);
    end_init(&ends[1], 0);
    both_up(ends, 0);
    say_small(&ends[0], 20);
    settle(ends);
    link_down(&ends[0]);
    for (uint64_t claim = 0; claim < 4; claim += 2) { /* it has one frame */
        link_up(&ends[0], NULL);
        struct erg_msg_hello m = {.major = 1, .role = ERG_ROLE_AGENT, .received = claim};
        size_t len = erg_msg_hello_encode(&m, hello);
        erg_frame_encode(&(struct erg_frame){.len = (uint32_t)len, .type = ERG_MSG_HELLO}, frame);
        assert_int_equal(erg_session_input(ends[0].session, frame, sizeof frame, &err), 0);
        assert_int_equal(erg_session_input(ends[0].session, hello, len, &err), ERG_EPROTOCOL);
        link_down(&ends[0]);
    }
    end_fini(&ends[0]);
    end_fini(&ends[1]);
}

/* What the receiver refuses ends the link; the message counts as received. */
static void refusal(void **state) {
    (void)state;
    struct end ends[2];
    struct erg_error err;
    end_init(&ends[0], 0);
    end_init(&ends[1], 0);
    both_up(ends, 0);
    settle(ends);
    ends[1].fail_next = 1;
    say_small(&ends[0], 20);
    ends[1].small_in = 1;
    assert_int_equal(move(&ends[0], &ends[1], 1000, &err), ERG_ECORRUPT);
    assert_int_equal(err.code, ERG_ECORRUPT);
    link_down(&ends[0]);
    link_down(&ends[1]);
    both_up(ends, 0);
    say_small(&ends[0], 20);
    settle(ends); /* although the first end never heard that its bytes were written */
    assert_int_equal(ends[1].small_in, 2);
    end_fini(&ends[0]);
    end_fini(&ends[1]);
}

/* Changed bytes on a sealed link never reach the session. */
static void sealed_links_notice(void **state) {
    (void)state;
    struct end ends[2];
    struct erg_error err;
    end_init(&ends[0], 0);
    end_init(&ends[1], 0);
    both_up(ends, 1);
    settle(ends);
    assert_true(erg_link_trusted(ends[0].link) && erg_link_trusted(ends[1].link));
    say_small(&ends[0], 200);
    struct iovec out[1], in[2];
    assert_int_equal(erg_link_output(ends[0].link, out, 1), 1);
    assert_int_equal(erg_link_room(ends[1].link, in), 1);
    memcpy(in[0].iov_base, out[0].iov_base, out[0].iov_len);
    ((unsigned char *)in[0].iov_base)[40] ^= 1;
    assert_int_equal(erg_link_got(ends[1].link, out[0].iov_len, &err), ERG_EACCESS);
    assert_int_equal(ends[1].small_in, 0);
    end_fini(&ends[0]);
    end_fini(&ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order),
        cmocka_unit_test(urgent_passes_bulk),
        cmocka_unit_test(heads_of_any_length),
        cmocka_unit_test(what_is_let_go),
        cmocka_unit_test(breaking_links),
        cmocka_unit_test(breaking_sealed_links),
        cmocka_unit_test(ends_anywhere),
        cmocka_unit_test(what_packs_is_packed),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(wrong_resumption),
        cmocka_unit_test(refusal),
        cmocka_unit_test(sealed_links_notice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
