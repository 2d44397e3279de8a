#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "table/layout.h"
#include "wire/message.h"

#define TEXT(s)                                                                                    \
    { s, sizeof(s) - 1 }

static unsigned char space[1 << 16];

/* Every shorter body is refused, and one that is too long. */
#define CHECK_LENGTHS(name, len)                                                                   \
    do {                                                                                           \
        struct erg_msg_##name other;                                                               \
        for (size_t k = 0; k < (len); k++) {                                                       \
            unsigned char *part = malloc(k ? k : 1); /* sanitizers see its end */                  \
            memcpy(part, space, k);                                                                \
            assert_int_equal(erg_msg_##name##_decode(part, k, &other, NULL), ERG_EPROTOCOL);       \
            free(part);                                                                            \
        }                                                                                          \
        space[len] = 0;                                                                            \
        assert_int_equal(erg_msg_##name##_decode(space, (len) + 1, &other, NULL), ERG_EPROTOCOL);  \
    } while (0)

#define SAME_TEXT(a, b)                                                                            \
    do {                                                                                           \
        assert_int_equal((a).len, (b).len);                                                        \
        assert_memory_equal((a).bytes, (b).bytes, (b).len);                                        \
    } while (0)

static void links(void **state) {
    (void)state;
    struct erg_msg_hello h = {.major = ERG_PROTOCOL_MAJOR,
                              .minor = 3,
                              .role = ERG_ROLE_AGENT,
                              .session = {1, 2, 3},
                              .received = 99,
                              .tag = TEXT("cp311-linux-x86_64")},
                         h2;
    size_t len = erg_msg_hello_encode(&h, space);
    assert_int_equal(len, erg_msg_hello_size(&h));
    assert_int_equal(erg_msg_hello_decode(space, len, &h2, NULL), 0);
    assert_int_equal(h2.minor, 3);
    assert_int_equal(h2.role, ERG_ROLE_AGENT);
    assert_int_equal(h2.received, 99);
    assert_memory_equal(h2.session, h.session, 16);
    SAME_TEXT(h2.tag, h.tag);
    CHECK_LENGTHS(hello, len);
    struct erg_error err;
    space[4]++; /* another major version */
    assert_int_equal(erg_msg_hello_decode(space, len, &h2, &err), ERG_EPROTOCOL);
    assert_non_null(strstr(err.text, "same release"));
    space[0] = 'S'; /* "SSH-2.0…" */
    assert_int_equal(erg_msg_hello_decode(space, len, &h2, &err), ERG_EPROTOCOL);
    assert_non_null(strstr(err.text, "not Ergon"));

    struct erg_msg_ping p = {.sent_ns = 5, .here_ns = 6}, p2;
    len = erg_msg_ping_encode(&p, space);
    assert_int_equal(erg_msg_ping_decode(space, len, &p2, NULL), 0);
    assert_true(p2.sent_ns == 5 && p2.here_ns == 6);
    CHECK_LENGTHS(ping, len);
}

static void lives(void **state) {
    (void)state;
    struct erg_msg_open o = {.processes = 3,
                             .threads = 2,
                             .max_tasks = 7,
                             .port_low = 5000,
                             .port_high = 65535,
                             .stop_limit_ns = -1,
                             .grace_ns = 1000000000,
                             .lease_ns = 30000000000,
                             .name = TEXT("ssh://a"),
                             .init = TEXT("init")},
                        o2;
    size_t len = erg_msg_open_encode(&o, space);
    assert_int_equal(len, erg_msg_open_size(&o));
    assert_int_equal(erg_msg_open_decode(space, len, &o2, NULL), 0);
    assert_true(o2.stop_limit_ns == -1 && o2.lease_ns == o.lease_ns && o2.port_high == 65535);
    assert_true(o2.processes == 3 && o2.threads == 2 && o2.max_tasks == 7);
    SAME_TEXT(o2.name, o.name);
    SAME_TEXT(o2.init, o.init);
    CHECK_LENGTHS(open, len);

    struct erg_msg_ready r = {.slots = 8,
                              .cores = 4,
                              .pid = 77,
                              .memory = 1ull << 40,
                              .load_1000 = 250,
                              .port = 81,
                              .host = TEXT("a"),
                              .python = TEXT("3.11.2"),
                              .tag = TEXT("t")},
                         r2;
    len = erg_msg_ready_encode(&r, space);
    assert_int_equal(len, erg_msg_ready_size(&r));
    assert_int_equal(erg_msg_ready_decode(space, len, &r2, NULL), 0);
    assert_true(r2.slots == 8 && r2.memory == r.memory && r2.port == 81 && r2.pid == 77);
    SAME_TEXT(r2.python, r.python);
    CHECK_LENGTHS(ready, len);

    struct erg_msg_fail f = {.code = ERG_ELAUNCH, .text = TEXT("no Python here")}, f2;
    len = erg_msg_fail_encode(&f, space);
    assert_int_equal(len, erg_msg_fail_size(&f));
    assert_int_equal(erg_msg_fail_decode(space, len, &f2, NULL), 0);
    assert_int_equal(f2.code, ERG_ELAUNCH);
    SAME_TEXT(f2.text, f.text);
    CHECK_LENGTHS(fail, len);

    struct erg_msg_log l = {.level = 1, .text = TEXT("x")}, l2;
    len = erg_msg_log_encode(&l, space);
    assert_int_equal(len, erg_msg_log_size(&l));
    assert_int_equal(erg_msg_log_decode(space, len, &l2, NULL), 0);
    SAME_TEXT(l2.text, l.text);
    CHECK_LENGTHS(log, len);

    struct erg_msg_stats s = {1, 2, 3, 4, 5, 6, 7, 8}, s2;
    len = erg_msg_stats_encode(&s, space);
    assert_int_equal(len, erg_msg_stats_size(&s));
    assert_int_equal(erg_msg_stats_decode(space, len, &s2, NULL), 0);
    assert_memory_equal(&s, &s2, sizeof s);
    CHECK_LENGTHS(stats, len);

    struct erg_msg_peer e = {.agent = 4, .port = 9, .key = {7}, .address = TEXT("10.0.0.1")}, e2;
    len = erg_msg_peer_encode(&e, space);
    assert_int_equal(len, erg_msg_peer_size(&e));
    assert_int_equal(erg_msg_peer_decode(space, len, &e2, NULL), 0);
    assert_memory_equal(e.key, e2.key, 32);
    SAME_TEXT(e2.address, e.address);
    CHECK_LENGTHS(peer, len);
}

static void numbers(void **state) {
    (void)state;
    uint64_t ids[] = {1, UINT64_MAX, 3};
    struct erg_msg_ids m = {.what = ERG_DROP_BLOB, .n = 3, .ids = ids}, m2;
    size_t len = erg_msg_ids_encode(&m, space);
    assert_int_equal(len, erg_msg_ids_size(&m));
    assert_int_equal(erg_msg_ids_decode(space, len, &m2, NULL), 0);
    assert_true(m2.what == ERG_DROP_BLOB && m2.n == 3 && erg_msg_id(&m2, 1) == UINT64_MAX);
    CHECK_LENGTHS(ids, len);
    erg_put32(space + 4, UINT32_MAX);
    assert_int_equal(erg_msg_ids_decode(space, len, &m2, NULL), ERG_EPROTOCOL);

    struct erg_msg_cut c = {.id = 8, .from = 2, .items = 3}, c2;
    len = erg_msg_cut_encode(&c, space);
    assert_int_equal(erg_msg_cut_decode(space, len, &c2, NULL), 0);
    assert_true(c2.id == 8 && c2.from == 2 && c2.items == 3);
    CHECK_LENGTHS(cut, len);
}

static const struct erg_entry some[] = {
    {.kind = ERG_ENTRY_BUFFER, .flags = 2, .len = 10},
    {.kind = ERG_ENTRY_VALUE, .id = 0x100000007},
    {.kind = ERG_ENTRY_BLOB, .id = 5, .user = 65535},
    {.kind = ERG_ENTRY_BUFFER},
};
static const struct erg_msg_payload payload = {.stream_len = 6, .entries = some, .n = 4};

static void check_payload(const struct erg_msg_payload *p, const unsigned char *data) {
    assert_ptr_equal(p->data, data);
    assert_true(p->stream_len == 6 && p->n == 4 && p->data_len == 16);
    for (uint32_t i = 0; i < p->n; i++) {
        struct erg_entry e;
        erg_msg_payload_entry(p, i, &e);
        assert_int_equal(e.kind, some[i].kind);
        assert_int_equal(e.flags, some[i].flags);
        assert_int_equal(e.user, some[i].user);
        assert_true(e.id == some[i].id && e.len == some[i].len);
    }
}

/* In one piece, as bulk, and with every way of being cut. */
#define CHECK_DATA(name, m, field)                                                                 \
    do {                                                                                           \
        size_t len = erg_msg_##name##_encode(&(m), space);                                         \
        assert_int_equal(len, erg_msg_##name##_size(&(m)));                                        \
        struct erg_msg_##name out;                                                                 \
        memset(space + len, 'd', 16);                                                              \
        assert_int_equal(erg_msg_##name##_decode(space, len + 16, 1, 0, &out, NULL), 0);           \
        check_payload(&out.field, space + len);                                                    \
        assert_int_equal(erg_msg_##name##_decode(space, len, 0, 16, &out, NULL), 0);               \
        check_payload(&out.field, NULL);                                                           \
        assert_int_equal(erg_msg_##name##_decode(space, len, 0, 15, &out, NULL), ERG_EPROTOCOL);   \
        assert_int_equal(erg_msg_##name##_decode(space, len, 0, 17, &out, NULL), ERG_EPROTOCOL);   \
        for (size_t k = 0; k < len + 16; k++) {                                                    \
            unsigned char *part = malloc(k ? k : 1);                                               \
            memcpy(part, space, k);                                                                \
            assert_int_equal(erg_msg_##name##_decode(part, k, 1, 0, &out, NULL), ERG_EPROTOCOL);   \
            assert_int_equal(erg_msg_##name##_decode(part, k, 0, 16, &out, NULL),                  \
                             k == len ? 0 : ERG_EPROTOCOL);                                        \
            free(part);                                                                            \
        }                                                                                          \
    } while (0)

static void payloads(void **state) {
    (void)state;
    struct erg_msg_task t = {.id = 1,
                             .fn = 2,
                             .timeout_ns = 3,
                             .flags = ERG_TASK_HOLD,
                             .kind = ERG_KIND_CHUNK,
                             .queue = 1,
                             .user8 = 4,
                             .user16 = 5,
                             .first = 6,
                             .next = 7,
                             .end = 8,
                             .args = payload},
                        t2;
    CHECK_DATA(task, t, args);
    assert_int_equal(erg_msg_task_decode(space, erg_msg_task_size(&t), 0, 16, &t2, NULL), 0);
    assert_true(t2.id == 1 && t2.fn == 2 && t2.timeout_ns == 3 && t2.flags == ERG_TASK_HOLD);
    assert_true(t2.kind == ERG_KIND_CHUNK && t2.queue == 1 && t2.user8 == 4 && t2.user16 == 5);
    assert_true(t2.first == 6 && t2.next == 7 && t2.end == 8);
    t.next = 9;
    size_t len = erg_msg_task_encode(&t, space);
    assert_int_equal(erg_msg_task_decode(space, len, 0, 16, &t2, NULL), ERG_EPROTOCOL);

    struct erg_msg_result r = {.id = 1,
                               .outcome = ERG_OUT_ERROR,
                               .flags = ERG_RESULT_HELD,
                               .worker = 300,
                               .begin_ns = 4,
                               .run_ns = 5,
                               .bytes = 6,
                               .first = 7,
                               .count = 8,
                               .payload = payload},
                          r2;
    CHECK_DATA(result, r, payload);
    assert_int_equal(erg_msg_result_decode(space, erg_msg_result_size(&r), 0, 16, &r2, NULL), 0);
    assert_true(r2.outcome == ERG_OUT_ERROR && r2.worker == 300 && r2.run_ns == 5 && r2.count == 8);
    assert_true(r2.flags == ERG_RESULT_HELD && r2.begin_ns == 4 && r2.bytes == 6 && r2.first == 7);
    r.outcome = 0;
    len = erg_msg_result_encode(&r, space);
    assert_int_equal(erg_msg_result_decode(space, len, 0, 16, &r2, NULL), ERG_EPROTOCOL);

    struct erg_msg_func f = {.uid = 9, .name = TEXT("f"), .path = TEXT("p"), .payload = payload};
    CHECK_DATA(func, f, payload);
    struct erg_msg_blob b = {.uid = 9, .fresh = 1, .flags = 2, .payload = payload};
    CHECK_DATA(blob, b, payload);
    struct erg_msg_value v = {.id = 9, .outcome = ERG_OUT_OK, .payload = payload};
    CHECK_DATA(value, v, payload);
    struct erg_msg_ask s = {.id = 9, .flags = 1, .payload = payload};
    CHECK_DATA(ask, s, payload);
}

static void wrong_entries(void **state) {
    (void)state;
    const struct erg_entry wrong[] = {
        {.kind = 0},
        {.kind = 4},
        {.kind = ERG_ENTRY_BUFFER, .len = 17},
        {.kind = ERG_ENTRY_BUFFER, .len = UINT64_MAX},
        {.kind = ERG_ENTRY_BLOB, .len = 1},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct erg_msg_value v = {.payload = {.entries = &wrong[i], .n = 1}}, v2;
        size_t len = erg_msg_value_encode(&v, space);
        assert_int_equal(erg_msg_value_decode(space, len, 0, 16, &v2, NULL), ERG_EPROTOCOL);
    }
}

static void names(void **state) {
    (void)state;
    for (uint16_t t = ERG_MSG_OPEN; t < ERG_MSG_TYPES; t++) {
        assert_string_not_equal(erg_message_name(t), "unknown");
    }
    assert_string_equal(erg_message_name(0), "unknown");
    assert_string_equal(erg_message_name(ERG_MSG_TYPES), "unknown");
    assert_string_equal(erg_message_name(9), "unknown");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links),    cmocka_unit_test(lives),         cmocka_unit_test(numbers),
        cmocka_unit_test(payloads), cmocka_unit_test(wrong_entries), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
