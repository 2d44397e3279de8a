/* Bytes of a stranger, at everything of this room that reads bytes: whatever they are, nothing but an error comes of it.
 *
 * Built with -fsanitize=fuzzer this is a libFuzzer target (make fuzz). Otherwise it is a test that makes its own input:
 * good conversations with some bytes changed; it runs for a second, or for as many as its argument says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "wire/link.h"
#include "wire/message.h"
#include "wire/session.h"

struct taker {
    struct erg_session *session;
    struct iovec piece;
    uint64_t messages;
};

static void decode_all(uint16_t type, const unsigned char *b, size_t n, int whole, uint64_t data) {
    union {
        struct erg_msg_open open;
        struct erg_msg_ready ready;
        struct erg_msg_fail fail;
        struct erg_msg_ids ids;
        struct erg_msg_cut cut;
        struct erg_msg_peer peer;
        struct erg_msg_stats stats;
        struct erg_msg_log log;
        struct erg_msg_ping ping;
        struct erg_msg_func func;
        struct erg_msg_blob blob;
        struct erg_msg_value value;
        struct erg_msg_task task;
        struct erg_msg_result result;
        struct erg_msg_ask ask;
    } m;
    struct erg_error err;
    switch (type % 15) {
    case 0:
        erg_msg_open_decode(b, n, &m.open, &err);
        break;
    case 1:
        erg_msg_ready_decode(b, n, &m.ready, &err);
        break;
    case 2:
        erg_msg_fail_decode(b, n, &m.fail, &err);
        break;
    case 3:
        erg_msg_ids_decode(b, n, &m.ids, &err);
        break;
    case 4:
        erg_msg_cut_decode(b, n, &m.cut, &err);
        break;
    case 5:
        erg_msg_peer_decode(b, n, &m.peer, &err);
        break;
    case 6:
        erg_msg_stats_decode(b, n, &m.stats, &err);
        break;
    case 7:
        erg_msg_log_decode(b, n, &m.log, &err);
        break;
    case 8:
        erg_msg_ping_decode(b, n, &m.ping, &err);
        break;
    case 9:
        erg_msg_func_decode(b, n, whole, data, &m.func, &err);
        break;
    case 10:
        erg_msg_blob_decode(b, n, whole, data, &m.blob, &err);
        break;
    case 11:
        erg_msg_value_decode(b, n, whole, data, &m.value, &err);
        break;
    case 12:
        if (erg_msg_task_decode(b, n, whole, data, &m.task, &err) == 0) {
            struct erg_entry e;
            for (uint32_t i = 0; i < m.task.args.n; i++) {
                erg_msg_payload_entry(&m.task.args, i, &e);
            }
        }
        break;
    case 13:
        erg_msg_result_decode(b, n, whole, data, &m.result, &err);
        break;
    default:
        erg_msg_ask_decode(b, n, whole, data, &m.ask, &err);
        break;
    }
}

static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *err) {
    struct taker *t = ctx;
    struct erg_msg_hello hello;
    t->messages++;
    if (type == ERG_MSG_HELLO) {
        int status = erg_msg_hello_decode(body, len, &hello, err);
        return status < 0 ? status : erg_session_resume(t->session, hello.received, err);
    }
    decode_all(type, body, len, 1, 0);
    return 0;
}

static int on_bulk(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   uint64_t data_len, struct erg_bulk *to, struct erg_error *err) {
    struct taker *t = ctx;
    decode_all(type, head, head_len, 0, data_len);
    if (data_len > 1 << 20) {
        return erg_error_set(err, ERG_ENOMEM, "too much");
    }
    t->piece = (struct iovec){malloc(data_len + 1), data_len};
    *to = (struct erg_bulk){&t->piece, 1, NULL};
    return 0;
}

static void on_drop(void *ctx, uint16_t type, struct erg_bulk *got) {
    (void)ctx;
    (void)type;
    free(got->pieces[0].iov_base);
}

static int on_done(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   struct erg_bulk *got, struct erg_error *err) {
    (void)err;
    decode_all(type, head, head_len, 0, got->pieces[0].iov_len);
    on_drop(ctx, type, got);
    return 0;
}

static const struct erg_session_ops ops = {on_message, on_bulk, on_done, on_drop};

static size_t hello_make(unsigned char *out, uint64_t received) {
    struct erg_msg_hello m = {
        .major = ERG_PROTOCOL_MAJOR, .role = ERG_ROLE_AGENT, .received = received};
    return erg_msg_hello_encode(&m, out);
}

/* The first byte says which way in, and in what portions the rest comes. */
static uint64_t take(const unsigned char *bytes, size_t len) {
    static const unsigned char key[ERG_AUTH_KEY];
    struct taker t = {0};
    struct erg_auth *auth = NULL;
    struct erg_link *link;
    unsigned char hello[64];
    if (!len || erg_session_new(&ops, &t, 0, &t.session) < 0) {
        return 0;
    }
    size_t portion = (size_t)1 << (bytes[0] >> 1 & 15);
    if ((bytes[0] & 1) &&
        erg_auth_new(bytes[0] & 2 ? ERG_AUTH_CLIENT : ERG_AUTH_SERVER, key, NULL, &auth)) {
        auth = NULL;
    }
    erg_session_open_link(t.session, hello, hello_make(hello, 0));
    if (erg_link_new(t.session, auth, &link) == 0) {
        struct erg_error err;
        int status = 0;
        for (size_t at = 1; at < len && status == 0;) {
            struct iovec room[2], out[4];
            size_t n = erg_link_room(link, room), got = 0, part;
            for (size_t i = 0; i < n && at < len && got < portion; i++) {
                part = room[i].iov_len < len - at ? room[i].iov_len : len - at;
                part = part < portion - got ? part : portion - got;
                memcpy(room[i].iov_base, bytes + at, part);
                at += part;
                got += part;
                if (part < room[i].iov_len) {
                    break;
                }
            }
            status = erg_link_got(link, got, &err);
            n = erg_link_output(link, out, 4);
            for (size_t i = 0; i < n; i++) {
                erg_link_sent(link, out[i].iov_len);
            }
        }
    }
    erg_link_free(link);
    erg_session_free(t.session);
    return t.messages;
}

#ifdef ERG_LIBFUZZER
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len);
int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t len) {
    take(bytes, len);
    return 0;
}
#else
static uint64_t seed;
static uint32_t dice(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

/* A good conversation, as the bytes one end writes. */
static size_t converse(unsigned char *out, size_t most) {
    static unsigned char data[300000];
    unsigned char hello[64], head[4096];
    struct taker t = {0};
    size_t len = 1;
    out[0] = (unsigned char)(dice(128) << 1);
    erg_session_new(&ops, &t, 0, &t.session);
    erg_session_compress(t.session, (int)dice(2));
    size_t hello_len = hello_make(hello, 0);
    erg_session_open_link(t.session, hello, hello_len);
    erg_session_resume(t.session, 0, NULL);
    for (uint32_t n = 1 + dice(6); n; n--) {
        struct erg_entry entries[3] = {
            {.kind = ERG_ENTRY_BUFFER, .len = dice(2000)},
            {.kind = ERG_ENTRY_BLOB, .id = 3},
            {.kind = ERG_ENTRY_BUFFER, .len = dice(2) ? dice(90000) : 0}};
        struct erg_msg_task task = {.id = seed, .kind = 1, .end = dice(9)};
        task.args =
            (struct erg_msg_payload){.stream_len = dice(300), .entries = entries, .n = dice(4)};
        uint64_t bytes = task.args.stream_len;
        for (uint32_t i = 0; i < task.args.n; i++) {
            bytes += entries[i].len;
        }
        struct iovec piece = {data, bytes};
        size_t head_len = erg_msg_task_encode(&task, head);
        erg_session_send(t.session, dice(2), (uint16_t)(dice(3) ? ERG_MSG_TASK : 16 + dice(30)),
                         head, head_len, &piece, 1, NULL, NULL, NULL);
    }
    struct iovec pieces[16];
    for (size_t n; (n = erg_session_output(t.session, pieces, 16)) > 0;) {
        for (size_t i = 0; i < n; i++) {
            if (pieces[i].iov_len <= most - len) {
                memcpy(out + len, pieces[i].iov_base, pieces[i].iov_len);
                len += pieces[i].iov_len;
            }
            erg_session_sent(t.session, pieces[i].iov_len);
        }
    }
    erg_session_free(t.session);
    return len;
}

int main(int argc, char **argv) {
    enum { MOST = 1 << 20 };
    unsigned char *bytes = malloc(MOST);
    time_t end = time(NULL) + (argc > 1 ? strtol(argv[1], NULL, 10) : 1);
    uint64_t messages = 0, rounds = 0;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    printf("seed %llu\n", (unsigned long long)seed);
    fflush(stdout);
    do {
        size_t len = converse(bytes, MOST);
        for (uint32_t n = dice(4); n; n--) {
            size_t at = dice(4) ? dice(len < 400 ? (uint32_t)len : 400) : dice((uint32_t)len);
            bytes[at] =
                dice(3) ? (unsigned char)(bytes[at] ^ 1u << dice(8)) : (unsigned char)dice(256);
        }
        messages += take(bytes, dice(4) ? len : dice((uint32_t)len));
        rounds++;
    } while (time(NULL) < end);
    free(bytes);
    printf("%llu conversations, %llu messages\n", (unsigned long long)rounds,
           (unsigned long long)messages);
    return messages > rounds ? 0 : 1; /* it has to get past HELLO now and then */
}
#endif
