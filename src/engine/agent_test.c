/* Agents and clients at the two ends of a link, one of them written here. What lies over a link must not hurt: agents that answer nonsense to a real pool, and clients that say nonsense to a real
 * agent. Some of what they say is right, so that the nonsense gets far. Seeds are fixed: what fails, fails again. */
#include "engine/place_test_kit.h"

#include "engine/linkio.h"
#include "engine/server.h"
#include "launch/reach.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/session.h"

#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

/* --- chance ------------------------------------------------------------------------------------------------------- */
static uint64_t dice_state;

static uint32_t dice(uint32_t below) {
    dice_state = dice_state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(dice_state >> 33) % below;
}

static int one_in(uint32_t n) {
    return dice(n) == 0;
}

/* Numbers near the edges, and others. */
static uint32_t odd_number(uint32_t usual) {
    static const uint32_t edges[] = {
        0, 1, 2, 7, 255, 65535, 1u << 20, INT32_MAX, UINT32_MAX - 1, UINT32_MAX};
    if (!one_in(3))
        return usual;
    return one_in(2) ? edges[dice(sizeof edges / sizeof *edges)] : usual + dice(5) - 2;
}

static void flip(unsigned char *bytes, size_t len) {
    for (uint32_t n = one_in(2) ? 1 : dice(8); n > 0 && len > 0; n--)
        bytes[dice((uint32_t)len)] ^= (unsigned char)(1u << dice(8));
}

/* --- either side ---------------------------------------------------------------------------------------------------- */
enum { KNOWN = 256 };

struct known { /* a task that was sent to us */
    uint64_t id;
    uint32_t first, end;
    int chunk, hold;
};

struct side {
    struct erg_session *session;
    struct erg_linkio io;
    int is_agent, over, greeted, ready, pings;
    int results;            /* that came */
    uint32_t fetched, done; /* FETCHED that came; of which it has what it fetched */
    uint16_t port;          /* where the agent said that others reach it */
    unsigned odds;          /* one message in so many is nonsense */
    struct known known[KNOWN];
    uint32_t n;
};

static void send_on(struct side *s, enum erg_lane lane, uint16_t type, const unsigned char *head,
                    size_t len, const void *data, size_t data_len) {
    struct iovec piece = {(void *)data, data_len};
    erg_session_send(s->session, lane, type, head, len, &piece, data_len > 0, NULL, NULL, NULL);
}

/* As it is, whoever says it. */
static void say(struct side *s, uint16_t type, const unsigned char *head, size_t len,
                const void *data, size_t data_len) {
    send_on(s, ERG_LANE_FIRST, type, head, len, data, data_len);
}

/* Now and then as it should not be, where the side lies. */
static void send_bytes(struct side *s, uint16_t type, unsigned char *head, size_t len,
                       const void *data, size_t data_len) {
    int honest = s->odds == UINT32_MAX;
    if (!honest && one_in(s->odds * 2))
        flip(head, len);
    send_on(s, !honest && one_in(4) ? ERG_LANE_BULK : ERG_LANE_FIRST, type, head, len, data,
            data_len);
}

/* --- an agent that lies --------------------------------------------------------------------------------------------- */
static void lie_result(struct side *s, const struct known *k) {
    static unsigned char data[70000];
    unsigned char head[4096];
    struct erg_entry entries[4] = {{0}};
    struct erg_msg_result m = {.id = k->id, .outcome = ERG_OUT_OK, .run_ns = dice(1000000)};
    size_t len = FRONT + sizeof(int64_t);
    memset(data, 0, sizeof data);
    if (k->chunk) { /* items, as run_chunk makes them */
        uint32_t count = one_in(s->odds) ? dice(3000) : k->end - k->first;
        len = 0;
        for (uint32_t i = 0; i < count; i++, len += 6) {
            data[len] = ERG_ITEM_ATOM;
            data[len + 1] = 4;
        }
        m.first = k->first + count;
        m.count = count;
    }
    if (one_in(s->odds)) {
        m.outcome = (uint8_t)dice(8);
        m.flags = (uint8_t)dice(4);
        m.first = odd_number(m.first);
        m.run_ns = (uint64_t)odd_number(5) << dice(33);
        len = one_in(2) ? len : dice(sizeof data);
    }
    m.payload.stream_len = len;
    if (one_in(s->odds)) {
        m.payload.n = 1 + dice(4);
        m.payload.entries = entries;
        for (uint32_t i = 0; i < m.payload.n; i++) {
            entries[i].kind = (uint8_t)(1 + (one_in(4) ? dice(3) : 0));
            entries[i].flags = (uint8_t)dice(32);
            entries[i].len = entries[i].kind == ERG_ENTRY_BUFFER ? dice(10000) : 0;
            len += entries[i].len;
        }
        len = len < sizeof data ? len : sizeof data;
    }
    if (one_in(s->odds))
        flip(data, len);
    m.bytes = len;
    if (!k->chunk && k->hold && one_in(2)) { /* it stays here */
        m.flags |= ERG_RESULT_HELD;
        m.payload = (struct erg_msg_payload){0};
        m.bytes = 1 << 20;
        len = 0;
    }
    send_bytes(s, ERG_MSG_RESULT, head, erg_msg_result_encode(&m, head), data, len);
}

static void lie_otherwise(struct side *s, const struct known *k) {
    unsigned char head[512];
    uint64_t ids[3] = {k->id, s->known[dice(s->n)].id, dice(1000)};
    struct erg_msg_ids back = {.n = dice(4), .ids = ids};
    struct erg_msg_cut cut = {.id = k->id,
                              .from = odd_number(k->first + dice(k->end - k->first + 2)),
                              .items = odd_number(3)};
    struct erg_msg_ready ready = {.slots = odd_number(2), .cores = odd_number(2)};
    struct erg_msg_ping pong = {.sent_ns = (uint64_t)odd_number(1) << dice(33)};
    struct erg_msg_ids fetched = {.what = dice(5) | dice(4) << 8, .n = dice(4), .ids = ids};
    struct erg_msg_peer peer = {.port = (uint16_t)dice(3), .address = {"127.0.0.1", dice(10)}};
    switch (dice(7)) {
    case 5:
        send_bytes(s, ERG_MSG_FETCHED, head, erg_msg_ids_encode(&fetched, head), NULL, 0);
        break;
    case 6:
        send_bytes(s, ERG_MSG_PEER, head, erg_msg_peer_encode(&peer, head), NULL, 0);
        break;
    case 0:
        send_bytes(s, ERG_MSG_RETURNED, head, erg_msg_ids_encode(&back, head), NULL, 0);
        break;
    case 1:
        send_bytes(s, ERG_MSG_CUTTED, head, erg_msg_cut_encode(&cut, head), NULL, 0);
        break;
    case 2:
        send_bytes(s, ERG_MSG_READY, head, erg_msg_ready_encode(&ready, head), NULL, 0);
        break;
    case 3:
        send_bytes(s, ERG_MSG_PONG, head, erg_msg_ping_encode(&pong, head), NULL, 0);
        break;
    default:
        memset(head, 0, 64);
        send_bytes(s, (uint16_t)(ERG_FRAME_NUMBERED + dice(30)), head, dice(64), NULL, 0);
        break;
    }
}

/* Results that are said to have stayed are asked for: they are there, or not, or something else is. */
static void lie_value(struct side *s, uint64_t id) {
    static unsigned char data[70000];
    unsigned char head[4096];
    size_t len = one_in(3) ? 0 : FRONT + sizeof(int64_t);
    struct erg_msg_value m = {.id = one_in(s->odds) ? dice(1000) : id,
                              .outcome = len ? ERG_OUT_OK : ERG_OUT_NONE};
    memset(data, 0, sizeof data);
    if (one_in(s->odds)) {
        m.outcome = (uint8_t)dice(8);
        len = dice(sizeof data);
        flip(data, len);
    }
    m.payload.stream_len = len;
    send_bytes(s, ERG_MSG_VALUE, head, erg_msg_value_encode(&m, head), data, len);
}

static void agent_heard(struct side *s, uint16_t type, const unsigned char *body, size_t len,
                        int whole, uint64_t data_len) {
    struct erg_msg_task m;
    unsigned char head[256];
    if (type == ERG_MSG_OPEN) {
        struct erg_msg_ready ready = {.slots = 2, .cores = 2, .host = {"liar", 4}};
        say(s, ERG_MSG_READY, head, erg_msg_ready_encode(&ready, head), NULL, 0);
    }
    s->over |= type == ERG_MSG_BYE;
    struct erg_msg_ids wanted;
    if (type == ERG_MSG_FETCH && erg_msg_ids_decode(body, len, &wanted, NULL) == 0)
        for (uint32_t i = 0; i < wanted.n; i++)
            lie_value(s, erg_msg_id(&wanted, i));
    if (type != ERG_MSG_TASK || erg_msg_task_decode(body, len, whole, data_len, &m, NULL) < 0)
        return;
    struct known k = {m.id, m.first, m.end, m.kind == ERG_KIND_CHUNK, m.flags & ERG_TASK_HOLD};
    s->known[s->n++ % KNOWN] = k;
    while (one_in(s->odds))
        lie_otherwise(s, one_in(2) ? &k : &s->known[dice(s->n < KNOWN ? s->n : KNOWN)]);
    lie_result(s, &k);
    while (one_in(s->odds)) /* once more, or for another */
        lie_result(s, &s->known[dice(s->n < KNOWN ? s->n : KNOWN)]);
}

/* --- the link, of either -------------------------------------------------------------------------------------------- */
static int on_message(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                      struct erg_error *error) {
    struct side *s = ctx;
    struct erg_msg_hello m;
    if (type == ERG_MSG_HELLO) {
        int code = erg_msg_hello_decode(body, len, &m, error);
        s->greeted = 1;
        return code < 0 ? code : erg_session_resume(s->session, m.received, error);
    }
    s->over |= type == ERG_MSG_FAIL;
    s->ready |= type == ERG_MSG_READY;
    s->pings += type == ERG_MSG_PING;
    s->results += type == ERG_MSG_RESULT;
    struct erg_msg_peer peer;
    struct erg_msg_ids ids;
    if (type == ERG_MSG_PEER && erg_msg_peer_decode(body, len, &peer, error) == 0)
        s->port = peer.port;
    if (type == ERG_MSG_FETCHED && erg_msg_ids_decode(body, len, &ids, error) == 0) {
        s->fetched += ids.n;
        s->done += ids.what >> 8 == ERG_FETCH_DONE ? ids.n : 0;
    }
    if (s->is_agent)
        agent_heard(s, type, body, len, 1, 0);
    return 0;
}

static int on_bulk(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   uint64_t data_len, struct erg_bulk *to, struct erg_error *error) {
    (void)ctx, (void)type, (void)head, (void)head_len, (void)error;
    struct iovec *piece = malloc(sizeof *piece + data_len);
    if (!piece)
        return ERG_ENOMEM;
    *piece = (struct iovec){piece + 1, data_len};
    *to = (struct erg_bulk){piece, 1, NULL};
    return 0;
}

static int on_done(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                   struct erg_bulk *got, struct erg_error *error) {
    struct side *s = ctx;
    (void)error;
    if (s->is_agent)
        agent_heard(s, type, head, head_len, 0, got->pieces->iov_len);
    free(got->pieces);
    return 0;
}

static void on_drop(void *ctx, uint16_t type, struct erg_bulk *got) {
    (void)ctx, (void)type;
    free(got->pieces);
}

static int side_open(struct side *s, int in, int out, struct erg_auth *auth,
                     const unsigned char *id) {
    static const struct erg_session_ops ops = {on_message, on_bulk, on_done, on_drop};
    unsigned char hello[256];
    struct erg_msg_hello m = {.major = ERG_PROTOCOL_MAJOR,
                              .role = s->is_agent ? ERG_ROLE_AGENT : ERG_ROLE_CLIENT,
                              .tag = {"letters", 7}};
    if (id)
        memcpy(m.session, id, sizeof m.session);
    if (erg_session_new(&ops, s, 0, &s->session) < 0 ||
        erg_linkio_open(&s->io, s->session, in, out, auth, NULL) < 0)
        return -1;
    return erg_session_open_link(s->session, hello, erg_msg_hello_encode(&m, hello));
}

/* Reads and writes for a while; 0 once the other side is gone. */
static int side_turn(struct side *s, int ms) {
    if (erg_linkio_flush(&s->io, NULL) < 0)
        return 0;
    struct pollfd p[2] = {{.fd = s->io.in, .events = POLLIN},
                          {.fd = s->io.blocked ? s->io.out : -1, .events = POLLOUT}};
    if (poll(p, 2, ms) > 0 && p[0].revents && erg_linkio_fill(&s->io, NULL, NULL) < 0)
        return 0;
    erg_session_tick(s->session);
    return erg_linkio_flush(&s->io, NULL) >= 0;
}

static void side_close(struct side *s) {
    erg_linkio_close(&s->io);
    erg_session_free(s->session);
}

static int liar_main(const char *seed) {
    static struct side s = {.is_agent = 1};
    dice_state = strtoull(seed, NULL, 10);
    s.odds = 4 + dice(60);
    signal(SIGPIPE, SIG_IGN);
    alarm(5); /* tasks it never answered are lost then */
    if (write(1, "ERGON1 ready\n", 13) != 13 || side_open(&s, 0, 1, NULL, NULL) < 0)
        return 1;
    while (!s.over && side_turn(&s, 1000))
        continue;
    side_close(&s);
    return 0;
}

/* Whatever the liars say: every task ends, what local workers did is right, and the pool closes. */
static void lie_to_a_pool(unsigned seed) {
    enum { TASKS = 60, CHUNKS = 12, ITEMS = 200 };
    char liars[2][64];
    const char *arguments[2] = {liars[0], liars[1]};
    erg_handle tasks[TASKS], chunks[CHUNKS];
    struct places s = {0};
    for (int i = 0; i < 2; i++)
        snprintf(liars[i], sizeof liars[i], "--place-liar=%u", 2 * seed + (unsigned)i);
    places_open(&s, 1, arguments, 2);
    places_up(&s, 3);
    uint64_t add = function(&s, '+');
    for (int i = 0; i < CHUNKS; i++)
        chunks[i] = chunk_go(&s, add, 0, ITEMS);
    for (int i = 0; i < TASKS; i++) {
        uint32_t index = task_make(&s, add, &(struct order){.number = i}, i % 5 == 0,
                                   i % 10 ? 100 : 40000, &tasks[i - (i > 0)], i % 4 == 1);
        erg_table_record(s.t, index)->retries = (uint8_t)(i % 3);
        /* what others need stays, perhaps; some is begun anew when it is late */
        erg_table_record(s.t, index)->first = i % 4 == 0   ? ERG_CALL_STAYS
                                              : i % 4 == 3 ? ERG_CALL_PURE
                                                           : 0;
        tasks[i] = task_go(&s, index);
    }
    for (int i = 0; i < TASKS; i++)
        task_wait(&s, tasks[i]);
    for (int i = 0; i < TASKS; i++)
        task_free(&s, tasks[i]);
    for (int i = 0; i < CHUNKS; i++) {
        enum erg_outcome outcome = task_wait(&s, chunks[i]);
        struct erg_record *r = erg_table_record(s.t, ERG_HANDLE_INDEX(chunks[i]));
        uint32_t done = atomic_load(&r->ndone), end = erg_range_end(r);
        assert_true(outcome != ERG_OUT_NONE);
        assert_true(end <= ITEMS && done <= end);
        uint32_t n = 0; /* what is said to be there is there */
        for (uint64_t at = r->user8 == ERG_USER8_STREAM ? r->fn : 0; at;) {
            const struct erg_stream_block *b = erg_table_at(s.t, at);
            struct erg_item item;
            for (size_t pos = 0; erg_item_at(b, pos, &item) == 1; pos = item.next)
                n++;
            at = b->next;
        }
        assert_int_equal(n, done);
        task_free(&s, chunks[i]);
    }
    places_close(&s);
}

static void agents_that_lie(void **state) {
    (void)state;
    const char *more = getenv("ERGON_FUZZ_ROUNDS");
    unsigned rounds = more ? (unsigned)atoi(more) : 8;
    for (unsigned seed = 1; seed <= rounds; seed++) {
        print_message("seed %u\n", seed);
        lie_to_a_pool(seed);
    }
}

/* --- a client that lies --------------------------------------------------------------------------------------------- */
static void client_says(struct side *s, uint32_t round) {
    static unsigned char data[40000];
    unsigned char head[4096];
    struct erg_entry entries[4] = {{0}};
    uint64_t ids[3] = {1 + dice(round + 1), dice(9), 1ull << dice(64)};
    struct erg_msg_ids some = {.what = dice(5), .n = dice(4), .ids = ids};
    struct erg_msg_payload p = {.stream_len = FRONT + sizeof(struct order), .entries = entries};
    size_t len = FRONT + sizeof(struct order);
    int odd = one_in(s->odds);
    memset(data, 0, sizeof data);
    p.n = one_in(4) ? dice(3) : 0;
    for (uint32_t i = 0; i < p.n; i++) {
        int elsewhere = one_in(s->odds);
        entries[i] = (struct erg_entry){
            .kind = (uint8_t)(elsewhere ? ERG_ENTRY_BLOB + dice(2) : ERG_ENTRY_BUFFER),
            .flags = (uint8_t)(odd ? dice(256) : 0),
            .id = elsewhere ? 1 + dice(round + 1) : 0,
            .len = elsewhere ? 0 : 1 + dice(9000)};
        len += entries[i].len;
    }
    struct erg_msg_func func = {.uid = odd ? dice(3) : 1, .payload = p};
    struct erg_msg_blob blob = {.uid = 1 + dice(round + 1), .payload = p};
    struct erg_msg_value value = {
        .id = 1 + dice(round + 1), .outcome = (uint8_t)(odd ? dice(7) : ERG_OUT_OK), .payload = p};
    struct erg_msg_task task = {.id = odd ? dice(9) : 1000 + round, .fn = 1, .args = p};
    struct erg_msg_cut cut = {.id = 1000 + dice(round + 1), .items = odd_number(5)};
    struct erg_msg_ids fetch = {.what = ERG_FETCH_FROM(dice(3), dice(5)), .n = dice(4), .ids = ids};
    struct erg_msg_peer peer = {
        .agent = dice(3), .port = (uint16_t)dice(3), .address = {"127.0.0.1", dice(10)}};
    if (one_in(4)) {
        task.kind = ERG_KIND_CHUNK;
        task.first = task.next = odd ? odd_number(3) : 3;
        task.end = odd ? odd_number(50) % 100000 : 50;
    }
    switch (dice(11)) {
    case 9:
        send_bytes(s, ERG_MSG_FETCH, head, erg_msg_ids_encode(&fetch, head), NULL, 0);
        break;
    case 10:
        send_bytes(s, ERG_MSG_PEER, head, erg_msg_peer_encode(&peer, head), NULL, 0);
        break;
    case 0:
        send_bytes(s, ERG_MSG_FUNC, head, erg_msg_func_encode(&func, head), data, len);
        break;
    case 1:
        send_bytes(s, ERG_MSG_BLOB, head, erg_msg_blob_encode(&blob, head), data, len);
        break;
    case 2:
        send_bytes(s, ERG_MSG_VALUE, head, erg_msg_value_encode(&value, head), data, len);
        break;
    case 3:
        send_bytes(s,
                   (uint16_t)(one_in(2)   ? ERG_MSG_DROP
                              : one_in(2) ? ERG_MSG_CANCEL
                                          : ERG_MSG_RECALL),
                   head, erg_msg_ids_encode(&some, head), NULL, 0);
        break;
    case 4:
        send_bytes(s, ERG_MSG_CUT, head, erg_msg_cut_encode(&cut, head), NULL, 0);
        break;
    default:
        send_bytes(s, ERG_MSG_TASK, head, erg_msg_task_encode(&task, head), data, len);
        break;
    }
}

static void say_first_with(struct side *s, char letter, int64_t grace_ns, uint16_t port) {
    static unsigned char data[FRONT + 1];
    unsigned char head[512];
    struct erg_msg_open open = {
        .processes = 1, .grace_ns = grace_ns, .port_low = port, .port_high = port};
    struct erg_msg_func func = {.uid = 1, .payload = {.stream_len = sizeof data}};
    data[FRONT] = (unsigned char)letter;
    say(s, ERG_MSG_OPEN, head, erg_msg_open_encode(&open, head), NULL, 0);
    say(s, ERG_MSG_FUNC, head, erg_msg_func_encode(&func, head), data, sizeof data);
}

static void say_first(struct side *s, char letter, int64_t grace_ns) {
    say_first_with(s, letter, grace_ns, 0);
}

static void *agent_thread(void *agent) {
    erg_agent_run(agent, NULL);
    return NULL;
}

static void lie_to_an_agent(unsigned seed) {
    struct erg_agent_config config = {
        .runtime = &place_runtime, .tag = "letters", .python = "C", .one_link = 1};
    static const unsigned char id[16] = {1};
    static struct side s;
    struct erg_agent *agent;
    pthread_t thread;
    int fds[2];
    memset(&s, 0, sizeof s);
    dice_state = seed;
    s.odds = 4 + dice(60);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(erg_agent_new(&config, &agent, &err), 0);
    erg_agent_attach(agent, fds[0], fds[0], NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, agent_thread, agent), 0);
    assert_int_equal(side_open(&s, fds[1], fds[1], NULL, id), 0);
    say_first(&s, '+', MS);
    int up = 1;
    for (uint32_t round = 0; round < 300 && up && !s.over; round++) {
        client_says(&s, round);
        up = side_turn(&s, (int)dice(2));
    }
    while (up && !s.over && dice(8) > 0)
        up = side_turn(&s, 5);
    side_close(&s);
    pthread_join(thread, NULL);
    erg_agent_free(agent);
}

static void clients_that_lie(void **state) {
    (void)state;
    const char *more = getenv("ERGON_FUZZ_ROUNDS");
    unsigned rounds = more ? (unsigned)atoi(more) : 8;
    for (unsigned seed = 1; seed <= rounds; seed++) {
        print_message("seed %u\n", seed);
        lie_to_an_agent(seed);
    }
}

/* --- clients that are slow, or gone --------------------------------------------------------------------------------- */
/* A frame of ours takes long to arrive: meanwhile the agent says that it lives, and does not take us for dead. */
static void an_agent_says_that_it_lives(void **state) {
    (void)state;
    struct erg_agent_config config = {
        .runtime = &place_runtime, .tag = "letters", .python = "C", .one_link = 1};
    static const unsigned char id[16] = {2};
    struct side s = {.odds = UINT32_MAX};
    struct erg_agent *agent;
    pthread_t thread;
    int fds[2];
    unsigned char header[ERG_FRAME_HEADER];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(erg_agent_new(&config, &agent, &err), 0);
    erg_agent_attach(agent, fds[0], fds[0], NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, agent_thread, agent), 0);
    assert_int_equal(side_open(&s, fds[1], fds[1], NULL, id), 0);
    say_first(&s, '+', MS);
    while (!s.ready)
        assert_true(side_turn(&s, 100));
    erg_frame_encode(&(struct erg_frame){.len = 100000, .type = ERG_MSG_TASK, .seq = 3, .ack = 0},
                     header);
    assert_int_equal(write(fds[1], header, sizeof header), sizeof header);
    int before_that = s.pings;
    int64_t until = (int64_t)erg_clock_ns() + 30000 * MS;
    while (s.pings < before_that + 2 && (int64_t)erg_clock_ns() < until) {
        struct pollfd p = {.fd = fds[1], .events = POLLIN};
        if (poll(&p, 1, 1000) > 0)
            assert_true(erg_linkio_fill(&s.io, NULL, &err) >= 0);
    }
    assert_int_equal(s.pings, before_that + 2);
    side_close(&s);
    pthread_join(thread, NULL);
    erg_agent_free(agent);
}

/* --- other agents that lie ------------------------------------------------------------------------------------------ */
static const unsigned char peers_key[32] = {9};

/* A port nobody has just now, or (listening not NULL) one that is ours. */
static uint16_t some_port(int *listening) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    if (listening) {
        assert_int_equal(listen(fd, 8), 0);
        *listening = fd;
    } else {
        close(fd);
    }
    return ntohs(at.sin_port);
}

static void introduce(struct side *s, uint64_t agent, uint16_t port) {
    unsigned char head[256];
    struct erg_msg_peer m = {.agent = agent, .port = port, .address = {"127.0.0.1", 9}};
    memcpy(m.key, peers_key, sizeof m.key);
    send_bytes(s, ERG_MSG_PEER, head, erg_msg_peer_encode(&m, head), NULL, 0);
}

static void fetch_from(struct side *s, uint32_t agent, uint32_t kind, uint64_t id) {
    unsigned char head[64];
    struct erg_msg_ids m = {.what = agent || kind ? ERG_FETCH_FROM(agent, kind) : 0, .n = 1};
    m.ids = &id;
    send_bytes(s, ERG_MSG_FETCH, head, erg_msg_ids_encode(&m, head), NULL, 0);
}

static void give_thing(struct side *s, uint16_t type, uint64_t id, size_t len) {
    static unsigned char data[200000];
    unsigned char head[256];
    struct erg_msg_value value = {.id = id, .outcome = ERG_OUT_OK, .payload = {.stream_len = len}};
    struct erg_msg_blob blob = {.uid = id, .payload = {.stream_len = len}};
    size_t n = type == ERG_MSG_VALUE ? erg_msg_value_encode(&value, head)
                                     : erg_msg_blob_encode(&blob, head);
    send_bytes(s, type, head, n, data, len);
}

/* Somebody who has the key, or has not, asks an agent, and sends it what it did not ask for. */
static void ask_nonsense(struct side *s, uint32_t rounds) {
    int up = 1;
    for (uint32_t i = 0; i < rounds && up; i++) {
        if (one_in(3))
            give_thing(s, one_in(2) ? ERG_MSG_VALUE : ERG_MSG_BLOB, dice(9), 1 + dice(100000));
        else if (one_in(8))
            client_says(s, i);
        else
            fetch_from(s, one_in(9), 2 + dice(2), dice(9));
        up = side_turn(s, 1);
    }
    side_close(s);
}

static void knock(uint16_t port, const unsigned char key[32], uint32_t rounds) {
    static struct side s;
    struct erg_reached r;
    struct erg_reach_spec spec = {
        .kind = ERG_REACH_TCP, .name = "a peer", .host = "127.0.0.1", .port = port, .key = key};
    memset(&s, 0, sizeof s);
    s.odds = one_in(2) ? UINT32_MAX : 6;
    int code = erg_reach(&spec, -1, &r, &err);
    assert_int_equal(code, memcmp(key, peers_key, 32) == 0 ? 0 : ERG_EACCESS);
    if (code < 0)
        return;
    assert_int_equal(side_open(&s, r.fd_in, r.fd_out, r.auth, NULL), 0);
    ask_nonsense(&s, rounds);
}

/* More than an agent has links for come and say nothing more: those that came first make room. */
static void crowd_in(struct side *s, uint16_t port) {
    enum { CROWD = 70 };
    static struct side crowd[CROWD];
    struct erg_reached r;
    struct erg_reach_spec spec = {.kind = ERG_REACH_TCP,
                                  .name = "a peer",
                                  .host = "127.0.0.1",
                                  .port = port,
                                  .key = peers_key};
    for (int i = 0; i < CROWD; i++) {
        memset(&crowd[i], 0, sizeof crowd[i]);
        if (erg_reach(&spec, -1, &r, &err) < 0)
            fail_msg("%d: %s", i, err.text);
        assert_int_equal(side_open(&crowd[i], r.fd_in, r.fd_out, r.auth, NULL), 0);
        while (!crowd[i].greeted)
            assert_true(side_turn(&crowd[i], 100));
        assert_true(side_turn(s, 0));
    }
    for (int i = 0; i < CROWD; i++)
        side_close(&crowd[i]);
}

/* An agent connects to us, and is told what it did not ask for, or in a way that it cannot use. */
static void lie_to_one_that_asks(int listener, uint16_t type, uint64_t id) {
    static struct side s;
    struct erg_auth *auth;
    memset(&s, 0, sizeof s);
    s.odds = one_in(2) ? UINT32_MAX : 4;
    s.is_agent = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(erg_auth_new(ERG_AUTH_SERVER, peers_key, NULL, &auth), 0);
    assert_int_equal(side_open(&s, fd, fd, auth, NULL), 0);
    while (!s.greeted && side_turn(&s, 100))
        continue;
    if (one_in(2))
        give_thing(&s, type, id + one_in(2), 1 + dice(100000));
    else
        ask_nonsense(&s, dice(5));
    if (erg_linkio_up(&s.io)) {
        side_turn(&s, 10);
        side_close(&s);
    }
}

/* Of whatever others say, nothing reaches the client but that something could not be fetched. */
static void other_agents_that_lie(void **state) {
    (void)state;
    static const unsigned char id[16] = {5}, wrong[32] = {10};
    struct erg_agent_config config = {
        .runtime = &place_runtime, .tag = "letters", .python = "C", .one_link = 1};
    struct side s = {.odds = UINT32_MAX};
    struct erg_agent *agent;
    pthread_t thread;
    int fds[2], listener;
    uint16_t lying = some_port(&listener);
    const char *more = getenv("ERGON_FUZZ_ROUNDS");
    uint32_t rounds = more ? (uint32_t)atoi(more) : 12;
    dice_state = 11;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(erg_agent_new(&config, &agent, &err), 0);
    erg_agent_attach(agent, fds[0], fds[0], NULL, NULL);
    assert_int_equal(pthread_create(&thread, NULL, agent_thread, agent), 0);
    assert_int_equal(side_open(&s, fds[1], fds[1], NULL, id), 0);
    say_first_with(&s, '+', MS, some_port(NULL));
    while (!s.ready)
        assert_true(side_turn(&s, 100));
    assert_true(s.port > 0);
    introduce(&s, 0, 0);
    introduce(&s, 2, lying);
    introduce(&s, 3, some_port(NULL)); /* nobody is there */
    for (uint64_t i = 1; i <= 4; i++)
        give_thing(&s, i % 2 ? ERG_MSG_VALUE : ERG_MSG_BLOB, i, 90000);
    for (int k = 0; k < 3; k++)
        assert_true(side_turn(&s, 1));
    crowd_in(&s, s.port);
    for (uint32_t i = 0; i < rounds; i++) {
        for (int k = 0; k < 3; k++)
            assert_true(side_turn(&s, 1));
        knock(s.port, one_in(4) ? wrong : peers_key, dice(40));
        uint16_t type = one_in(2) ? ERG_MSG_VALUE : ERG_MSG_BLOB;
        fetch_from(&s, 2 + one_in(4), type == ERG_MSG_VALUE ? ERG_DROP_VALUE : ERG_DROP_BLOB,
                   100 + i);
        assert_true(side_turn(&s, 1));
        struct pollfd p = {.fd = listener, .events = POLLIN};
        if (poll(&p, 1, 100) > 0)
            lie_to_one_that_asks(listener, type, 100 + i);
    }
    while (s.fetched < rounds)
        assert_true(side_turn(&s, 100));
    assert_true(s.done < rounds);
    unsigned char head[256], data[FRONT + sizeof(struct order)] = {0};
    struct erg_msg_task task = {.id = 1000, .fn = 1, .args = {.stream_len = sizeof data}};
    send_bytes(&s, ERG_MSG_TASK, head, erg_msg_task_encode(&task, head), data, sizeof data);
    while (s.results == 0)
        assert_true(side_turn(&s, 100));
    assert_false(s.over);
    side_close(&s);
    pthread_join(thread, NULL);
    erg_agent_free(agent);
    close(listener);
}

static const unsigned char server_key[32] = {7};

struct host {
    struct erg_server_config config;
    pthread_t thread;
    int said[2];
    uint16_t port;
};

static void announce(void *ctx, uint16_t port) {
    struct host *h = ctx;
    if (write(h->said[1], &port, sizeof port) < 0)
        fail_msg("a pipe is broken");
}

static void *host_main(void *arg) {
    struct host *h = arg;
    erg_server_run(&h->config, NULL);
    return NULL;
}

static void visit(struct host *h, struct side *s, const unsigned char *id) {
    struct erg_reached r;
    struct erg_reach_spec spec = {.kind = ERG_REACH_TCP,
                                  .name = "tcp://here",
                                  .host = "127.0.0.1",
                                  .port = h->port,
                                  .key = server_key,
                                  .session = id};
    if (erg_reach(&spec, -1, &r, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(side_open(s, r.fd_in, r.fd_out, r.auth, id), 0);
}

/* Somebody's workers take seconds to end: whoever comes meanwhile is let in all the same. */
static void leaving_holds_up_nobody(void **state) {
    (void)state;
    static const unsigned char first[16] = {3}, second[16] = {4};
    struct host h = {.config = {.key = server_key,
                                .agent = {.runtime = &place_runtime, .tag = "letters"},
                                .announce = announce,
                                .stop_fd = eventfd(0, EFD_CLOEXEC)}};
    struct side a = {.odds = UINT32_MAX}, b = {.odds = UINT32_MAX};
    unsigned char head[256], data[FRONT + sizeof(struct order)] = {0};
    struct order nap = {.number = 60000 * MS};
    h.config.ctx = &h;
    h.config.agent.python = "C";
    assert_int_equal(pipe(h.said), 0);
    assert_int_equal(pthread_create(&h.thread, NULL, host_main, &h), 0);
    assert_int_equal(read(h.said[0], &h.port, sizeof h.port), sizeof h.port);
    visit(&h, &a, first);
    say_first(&a, 'd', 30000 * MS);
    memcpy(data + FRONT, &nap, sizeof nap);
    struct erg_msg_task task = {.id = 1, .fn = 1, .args = {.stream_len = sizeof data}};
    send_bytes(&a, ERG_MSG_TASK, head, erg_msg_task_encode(&task, head), data, sizeof data);
    while (!a.ready)
        assert_true(side_turn(&a, 100));
    int64_t since = (int64_t)erg_clock_ns();
    while ((int64_t)erg_clock_ns() < since + 300 * MS) /* the task has begun by then */
        assert_true(side_turn(&a, 50));
    assert_true(count_ours(NULL) > 0);
    say(&a, ERG_MSG_BYE, NULL, 0, NULL, 0);
    while (side_turn(&a, 100))
        continue;
    side_close(&a);
    visit(&h, &b, second);
    while (!b.greeted)
        assert_true(side_turn(&b, 100));
    assert_true(count_ours(NULL) > 0); /* the first one's are still there */
    kill_ours();
    side_close(&b);
    uint64_t one = 1;
    assert_int_equal(write(h.config.stop_fd, &one, sizeof one), sizeof one);
    pthread_join(h.thread, NULL);
    close(h.config.stop_fd);
    close(h.said[0]);
    close(h.said[1]);
}

int main(int argc, char **argv) {
    place_program(argc, argv);
    if (argc == 2 && strncmp(argv[1], "--place-liar=", 13) == 0)
        _exit(liar_main(argv[1] + 13));
    begin_tests(argc, argv);
    const struct CMUnitTest tests[] = {
        WITH(agents_that_lie),         WITH(clients_that_lie),
        WITH(other_agents_that_lie),   WITH(an_agent_says_that_it_lives),
        WITH(leaving_holds_up_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
