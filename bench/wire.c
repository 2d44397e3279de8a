/* What the wire costs without any wire: nanoseconds to frame and encode a small task or result at one end and to take it
 * apart at the other, and gigabytes a second of bulk data, beside memcpy. One thread; both ends in one process.
 *
 *     build/bench/bench_wire */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "table/layout.h"
#include "wire/link.h"
#include "wire/message.h"

enum { ROUNDS = 200, BATCH = 5000, BULK_BYTES = 256 << 20 };

struct end {
    struct erg_session *session;
    uint64_t got, sum;
    struct iovec piece;
};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct end *e = ctx;
    struct erg_msg_task task;
    struct erg_msg_result result;
    struct erg_msg_hello hello;
    int status = 0;
    switch (type) {
    case ERG_MSG_HELLO:
        status = erg_msg_hello_decode(body, len, &hello, err);
        return status < 0 ? status : erg_session_resume(e->session, hello.received, err);
    case ERG_MSG_TASK:
        status = erg_msg_task_decode(body, len, 1, 0, &task, err);
        e->sum += task.id + task.args.data[0];
        break;
    case ERG_MSG_RESULT:
        status = erg_msg_result_decode(body, len, 1, 0, &result, err);
        e->sum += result.id + result.payload.data[0];
        break;
    }
    e->got++;
    return status;
}

static int on_bulk(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    struct end *e = ctx;
    (void)type;
    (void)head;
    (void)head_len;
    (void)err;
    e->piece.iov_len = data_len;
    *to = (struct erg_bulk){.pieces = &e->piece, .n = 1};
    return 0;
}

static int on_done(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   struct erg_bulk *got, struct erg_error *err) {
    struct end *e = ctx;
    (void)type;
    (void)head;
    (void)head_len;
    (void)got;
    (void)err;
    e->got++;
    return 0;
}

/* Writes what one end has to the other, as a read and a write on descriptors would. */
static void move(struct end *from, struct end *to) {
    struct iovec out[8], in[2];
    for (size_t n; (n = erg_session_output(from->session, out, 8)) > 0;) {
        for (size_t i = 0; i < n; i++) {
            for (size_t at = 0; at < out[i].iov_len;) {
                size_t k = erg_session_room(to->session, in), got = 0;
                for (size_t j = 0; j < k && at < out[i].iov_len; j++) {
                    size_t part = out[i].iov_len - at;
                    part = part < in[j].iov_len ? part : in[j].iov_len;
                    memcpy(in[j].iov_base, (char *)out[i].iov_base + at, part);
                    at += part;
                    got += part;
                }
                if (erg_session_got(to->session, got, NULL) < 0) {
                    exit(1);
                }
            }
            erg_session_sent(from->session, out[i].iov_len);
        }
    }
}

static void greet(struct end ends[2]) {
    static const struct erg_session_ops ops = {on_message, on_bulk, on_done, NULL};
    unsigned char hello[64];
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR, .role = ERG_ROLE_CLIENT};
    size_t len = erg_msg_hello_encode(&m, hello);
    for (int i = 0; i < 2; i++) {
        memset(&ends[i], 0, sizeof ends[i]);
        erg_session_new(&ops, &ends[i], (size_t)1 << 30, &ends[i].session);
        erg_session_open_link(ends[i].session, hello, len);
    }
    move(&ends[0], &ends[1]);
    move(&ends[1], &ends[0]);
}

static void small(struct end ends[2], uint16_t type, const char *name) {
    static const char data[40] = "forty bytes of arguments or of a result";
    double send = 0, receive = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double start = now();
        for (uint64_t i = 0; i < BATCH; i++) {
            struct erg_msg_task task = {
                .id = i, .fn = 7, .end = 1, .args = {.stream_len = sizeof data}};
            struct erg_msg_result result = {.id = i,
                                            .outcome = ERG_OUT_OK,
                                            .run_ns = 9,
                                            .payload = {.stream_len = sizeof data}};
            unsigned char head[512]; /* as remote_task.c and agent_task.c send theirs */
            size_t len = type == ERG_MSG_TASK ? erg_msg_task_encode(&task, head)
                                              : erg_msg_result_encode(&result, head);
            struct iovec piece = {(void *)(uintptr_t)data, sizeof data};
            erg_session_send(ends[0].session, ERG_LANE_FIRST, type, head, len, &piece, 1, NULL,
                             NULL, NULL);
        }
        double middle = now();
        move(&ends[0], &ends[1]);
        move(&ends[1], &ends[0]);
        double end = now();
        send += middle - start;
        receive += end - middle;
    }
    double each = 1e9 / ((double)ROUNDS * BATCH);
    printf("%-8s encode %5.0f ns   copy and decode %5.0f ns   both %5.0f ns\n", name, send * each,
           receive * each, (send + receive) * each);
}

static void bulk(struct end ends[2]) {
    char *from = malloc(BULK_BYTES);
    ends[1].piece.iov_base = malloc(BULK_BYTES);
    memset(from, 'b', BULK_BYTES);
    memset(ends[1].piece.iov_base, 0, BULK_BYTES);
    double best = 1e9, plain = 1e9;
    for (int r = 0; r < 5; r++) {
        double start = now();
        struct iovec piece = {from, BULK_BYTES};
        erg_session_send(ends[0].session, ERG_LANE_BULK, ERG_MSG_VALUE, "head", 4, &piece, 1, NULL,
                         NULL, NULL);
        move(&ends[0], &ends[1]);
        move(&ends[1], &ends[0]);
        double took = now() - start;
        best = took < best ? took : best;
        start = now();
        memcpy(ends[1].piece.iov_base, from, BULK_BYTES);
        took = now() - start;
        plain = took < plain ? took : plain;
    }
    printf("bulk     %.2f GB/s   memcpy %.2f GB/s   ratio %.2f\n", BULK_BYTES / best / 1e9,
           BULK_BYTES / plain / 1e9, plain / best);
    free(from);
    free(ends[1].piece.iov_base);
}

int main(void) {
    struct end ends[2];
    greet(ends);
    small(ends, ERG_MSG_TASK, "task");
    small(ends, ERG_MSG_RESULT, "result");
    bulk(ends);
    if (ends[1].got != 2ull * ROUNDS * BATCH + 5) {
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        erg_session_free(ends[i].session);
    }
    return 0;
}
