#include "wire/message.h"

#include "table/layout.h"

#include <string.h>

/* --- writing and reading bodies ---------------------------------------------------------------------------------- */
struct out {
    unsigned char *p;
};
struct in {
    const unsigned char *p, *end;
    int bad; /* something was missing: everything read from then on is zero */
};

static inline void put8(struct out *o, uint8_t v) {
    *o->p++ = v;
}
static inline void put16(struct out *o, uint16_t v) {
    erg_put16(o->p, v);
    o->p += 2;
}
static inline void put32(struct out *o, uint32_t v) {
    erg_put32(o->p, v);
    o->p += 4;
}
static inline void put64(struct out *o, uint64_t v) {
    erg_put64(o->p, v);
    o->p += 8;
}
static inline void put_bytes(struct out *o, const void *bytes, size_t len) {
    if (len) {
        memcpy(o->p, bytes, len);
        o->p += len;
    }
}
static inline void put_text(struct out *o, struct erg_text text) {
    put32(o, (uint32_t)text.len);
    put_bytes(o, text.bytes, text.len);
}

/* The next `len` bytes; NULL when there are fewer. */
static inline const unsigned char *take(struct in *i, uint64_t len) {
    if (len > (uint64_t)(i->end - i->p)) {
        i->bad = 1;
        i->p = i->end;
        return NULL;
    }
    const unsigned char *at = i->p;
    i->p += len;
    return at;
}
static inline uint8_t get8(struct in *i) {
    const unsigned char *at = take(i, 1);
    return at ? *at : 0;
}
static inline uint16_t get16(struct in *i) {
    const unsigned char *at = take(i, 2);
    return at ? erg_get16(at) : 0;
}
static inline uint32_t get32(struct in *i) {
    const unsigned char *at = take(i, 4);
    return at ? erg_get32(at) : 0;
}
static inline uint64_t get64(struct in *i) {
    const unsigned char *at = take(i, 8);
    return at ? erg_get64(at) : 0;
}
static inline void get_bytes(struct in *i, void *to, size_t len) {
    const unsigned char *at = take(i, len);
    if (at) {
        memcpy(to, at, len);
    }
}
static inline struct erg_text get_text(struct in *i) {
    struct erg_text text = {.len = get32(i)};
    text.bytes = (const char *)take(i, text.len);
    if (!text.bytes) {
        text.len = 0;
    }
    return text;
}

static int malformed(struct erg_error *err, uint16_t type, const char *what) {
    return erg_error_set(err, ERG_EPROTOCOL, "a %s message from the peer %s",
                         erg_message_name(type), what);
}
/* All of it was there, and nothing more. */
static inline int get_end(const struct in *i, uint16_t type, struct erg_error *err) {
    if (i->bad) {
        return malformed(err, type, "is too short");
    }
    return i->p == i->end ? 0 : malformed(err, type, "is too long");
}

static const char *const names[ERG_MSG_TYPES] = {
    [ERG_MSG_HELLO] = "HELLO",   [ERG_MSG_ACK] = "ACK",         [ERG_MSG_PING] = "PING",
    [ERG_MSG_PONG] = "PONG",     [ERG_MSG_OPEN] = "OPEN",       [ERG_MSG_READY] = "READY",
    [ERG_MSG_FAIL] = "FAIL",     [ERG_MSG_FUNC] = "FUNC",       [ERG_MSG_BLOB] = "BLOB",
    [ERG_MSG_VALUE] = "VALUE",   [ERG_MSG_DROP] = "DROP",       [ERG_MSG_TASK] = "TASK",
    [ERG_MSG_RESULT] = "RESULT", [ERG_MSG_CANCEL] = "CANCEL",   [ERG_MSG_RECALL] = "RECALL",
    [ERG_MSG_CUT] = "CUT",       [ERG_MSG_CUTTED] = "CUTTED",   [ERG_MSG_RETURNED] = "RETURNED",
    [ERG_MSG_FETCH] = "FETCH",   [ERG_MSG_PEER] = "PEER",       [ERG_MSG_STATS] = "STATS",
    [ERG_MSG_LOG] = "LOG",       [ERG_MSG_ASK] = "ASK",         [ERG_MSG_ANSWER] = "ANSWER",
    [ERG_MSG_BYE] = "BYE",       [ERG_MSG_FETCHED] = "FETCHED",
};

const char *erg_message_name(uint16_t type) {
    return type < ERG_MSG_TYPES && names[type] ? names[type] : "unknown";
}

/* --- payloads ------------------------------------------------------------------------------------------------------ */
/* Messages with data begin with the length of their head, where the data begins when it follows at once. */
static inline size_t payload_size(const struct erg_msg_payload *p) {
    return 12 + (size_t)p->n * ERG_ENTRY_BYTES;
}

static inline void put_payload(struct out *o, const struct erg_msg_payload *p) {
    put64(o, p->stream_len);
    put32(o, p->n);
    for (uint32_t i = 0; i < p->n; i++) {
        const struct erg_entry *e = &p->entries[i];
        put8(o, e->kind);
        put8(o, e->flags);
        put16(o, e->user);
        put64(o, e->id);
        put64(o, e->len);
    }
}

void erg_msg_payload_entry(const struct erg_msg_payload *payload, uint32_t i,
                           struct erg_entry *out) {
    const unsigned char *at = payload->raw + (size_t)i * ERG_ENTRY_BYTES;
    *out = (struct erg_entry){
        .kind = at[0],
        .flags = at[1],
        .user = erg_get16(at + 2),
        .id = erg_get64(at + 4),
        .len = erg_get64(at + 12),
    };
}

/* The last part of a head; the data must be as long as stream and buffers together. */
static inline int get_payload(struct in *i, struct erg_msg_payload *p, uint16_t type,
                              const unsigned char *data, uint64_t data_len, struct erg_error *err) {
    memset(p, 0, sizeof *p);
    p->stream_len = get64(i);
    p->n = get32(i);
    p->raw = take(i, (uint64_t)p->n * ERG_ENTRY_BYTES);
    p->data = data;
    p->data_len = data_len;
    int status = get_end(i, type, err);
    if (status < 0) {
        return status;
    }
    uint64_t left = data_len;
    if (p->stream_len > left) {
        return malformed(err, type, "has less data than it says");
    }
    left -= p->stream_len;
    for (uint32_t k = 0; k < p->n; k++) {
        struct erg_entry e;
        erg_msg_payload_entry(p, k, &e);
        if (e.kind < ERG_ENTRY_BUFFER || e.kind > ERG_ENTRY_VALUE) {
            return malformed(err, type, "has an entry of a kind that does not exist");
        }
        if (e.kind == ERG_ENTRY_BUFFER ? e.len > left : e.len != 0) {
            return malformed(err, type, "has less data than it says");
        }
        left -= e.len;
    }
    return left ? malformed(err, type, "has more data than it says") : 0;
}

struct data {
    const unsigned char *bytes;
    uint64_t len;
};

/* Head and data of a message: what stands in its first four bytes has to agree with how it came. */
static inline int get_head(struct in *i, const unsigned char *bytes, size_t len, int whole,
                           uint64_t data_len, uint16_t type, struct data *data,
                           struct erg_error *err) {
    size_t head = len >= 4 ? erg_get32(bytes) : 0;
    *i = (struct in){.p = bytes, .end = bytes};
    *data = (struct data){NULL, 0};
    if (head < 4 || head > len || (!whole && head != len)) {
        return malformed(err, type, "has a head of a wrong length");
    }
    *i = (struct in){.p = bytes + 4, .end = bytes + head};
    *data = whole ? (struct data){bytes + head, len - head} : (struct data){NULL, data_len};
    return 0;
}

static inline size_t put_head_end(const struct out *o, unsigned char *start) {
    erg_put32(start, (uint32_t)(o->p - start));
    return (size_t)(o->p - start);
}

static inline int outcome_ok(uint8_t outcome) {
    return outcome <= ERG_OUT_TIMEOUT;
}

/* --- links --------------------------------------------------------------------------------------------------------- */
static const char magic[4] = {'E', 'R', 'G', 'N'};

size_t erg_msg_hello_size(const struct erg_msg_hello *m) {
    return 4 + 5 + 16 + 8 + 4 + m->tag.len;
}
size_t erg_msg_hello_encode(const struct erg_msg_hello *m, unsigned char *out) {
    struct out o = {out};
    put_bytes(&o, magic, sizeof magic);
    put16(&o, m->major);
    put16(&o, m->minor);
    put8(&o, m->role);
    put_bytes(&o, m->session, sizeof m->session);
    put64(&o, m->received);
    put_text(&o, m->tag);
    return (size_t)(o.p - out);
}
int erg_msg_hello_decode(const unsigned char *bytes, size_t len, struct erg_msg_hello *m,
                         struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    const unsigned char *start = take(&i, sizeof magic);
    memset(m, 0, sizeof *m);
    if (!start || memcmp(start, magic, sizeof magic) != 0) {
        return erg_error_set(err, ERG_EPROTOCOL,
                             "what answers is not Ergon: its first bytes are something else");
    }
    m->major = get16(&i);
    m->minor = get16(&i);
    if (!i.bad && m->major != ERG_PROTOCOL_MAJOR) {
        return erg_error_set(err, ERG_EPROTOCOL,
                             "the other side speaks version %u of Ergon's protocol, this side %u: "
                             "install the same release of Ergon on both",
                             m->major, ERG_PROTOCOL_MAJOR);
    }
    m->role = get8(&i);
    get_bytes(&i, m->session, sizeof m->session);
    m->received = get64(&i);
    m->tag = get_text(&i);
    if (!i.bad && (m->role < ERG_ROLE_CLIENT || m->role > ERG_ROLE_HEIR)) {
        return malformed(err, ERG_MSG_HELLO, "has a role that does not exist");
    }
    return get_end(&i, ERG_MSG_HELLO, err);
}

size_t erg_msg_ping_size(const struct erg_msg_ping *m) {
    (void)m;
    return 16;
}
size_t erg_msg_ping_encode(const struct erg_msg_ping *m, unsigned char *out) {
    struct out o = {out};
    put64(&o, m->sent_ns);
    put64(&o, m->here_ns);
    return 16;
}
int erg_msg_ping_decode(const unsigned char *bytes, size_t len, struct erg_msg_ping *m,
                        struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->sent_ns = get64(&i);
    m->here_ns = get64(&i);
    return get_end(&i, ERG_MSG_PING, err);
}

/* --- the agent's life ------------------------------------------------------------------------------------------------ */
size_t erg_msg_open_size(const struct erg_msg_open *m) {
    return 3 * 4 + 2 * 2 + 4 * 8 + 4 + m->name.len + 4 + m->init.len;
}
size_t erg_msg_open_encode(const struct erg_msg_open *m, unsigned char *out) {
    struct out o = {out};
    put32(&o, m->processes);
    put32(&o, m->threads);
    put32(&o, m->max_tasks);
    put16(&o, m->port_low);
    put16(&o, m->port_high);
    put64(&o, (uint64_t)m->stop_limit_ns);
    put64(&o, (uint64_t)m->grace_ns);
    put64(&o, (uint64_t)m->lease_ns);
    put64(&o, m->pool);
    put_text(&o, m->name);
    put_text(&o, m->init);
    return (size_t)(o.p - out);
}
int erg_msg_open_decode(const unsigned char *bytes, size_t len, struct erg_msg_open *m,
                        struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->processes = get32(&i);
    m->threads = get32(&i);
    m->max_tasks = get32(&i);
    m->port_low = get16(&i);
    m->port_high = get16(&i);
    m->stop_limit_ns = (int64_t)get64(&i);
    m->grace_ns = (int64_t)get64(&i);
    m->lease_ns = (int64_t)get64(&i);
    m->pool = get64(&i);
    m->name = get_text(&i);
    m->init = get_text(&i);
    return get_end(&i, ERG_MSG_OPEN, err);
}

size_t erg_msg_ready_size(const struct erg_msg_ready *m) {
    return 4 + 4 + 4 + 8 + 4 + 2 + 12 + m->host.len + m->python.len + m->tag.len;
}
size_t erg_msg_ready_encode(const struct erg_msg_ready *m, unsigned char *out) {
    struct out o = {out};
    put32(&o, m->slots);
    put32(&o, m->cores);
    put32(&o, (uint32_t)m->pid);
    put64(&o, m->memory);
    put32(&o, m->load_1000);
    put16(&o, m->port);
    put_text(&o, m->host);
    put_text(&o, m->python);
    put_text(&o, m->tag);
    return (size_t)(o.p - out);
}
int erg_msg_ready_decode(const unsigned char *bytes, size_t len, struct erg_msg_ready *m,
                         struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->slots = get32(&i);
    m->cores = get32(&i);
    m->pid = (int32_t)get32(&i);
    m->memory = get64(&i);
    m->load_1000 = get32(&i);
    m->port = get16(&i);
    m->host = get_text(&i);
    m->python = get_text(&i);
    m->tag = get_text(&i);
    return get_end(&i, ERG_MSG_READY, err);
}

size_t erg_msg_fail_size(const struct erg_msg_fail *m) {
    return 8 + m->text.len;
}
size_t erg_msg_fail_encode(const struct erg_msg_fail *m, unsigned char *out) {
    struct out o = {out};
    put32(&o, (uint32_t)m->code);
    put_text(&o, m->text);
    return (size_t)(o.p - out);
}
int erg_msg_fail_decode(const unsigned char *bytes, size_t len, struct erg_msg_fail *m,
                        struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->code = (int32_t)get32(&i);
    m->text = get_text(&i);
    return get_end(&i, ERG_MSG_FAIL, err);
}

size_t erg_msg_log_size(const struct erg_msg_log *m) {
    return 8 + m->text.len;
}
size_t erg_msg_log_encode(const struct erg_msg_log *m, unsigned char *out) {
    struct out o = {out};
    put32(&o, m->level);
    put_text(&o, m->text);
    return (size_t)(o.p - out);
}
int erg_msg_log_decode(const unsigned char *bytes, size_t len, struct erg_msg_log *m,
                       struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->level = get32(&i);
    m->text = get_text(&i);
    return get_end(&i, ERG_MSG_LOG, err);
}

size_t erg_msg_stats_size(const struct erg_msg_stats *m) {
    (void)m;
    return 4 * 4 + 4 * 8;
}
size_t erg_msg_stats_encode(const struct erg_msg_stats *m, unsigned char *out) {
    struct out o = {out};
    put32(&o, m->idle);
    put32(&o, m->busy);
    put32(&o, m->queued);
    put32(&o, m->load_1000);
    put64(&o, m->memory_free);
    put64(&o, m->tasks);
    put64(&o, m->bytes_in);
    put64(&o, m->bytes_out);
    return (size_t)(o.p - out);
}
int erg_msg_stats_decode(const unsigned char *bytes, size_t len, struct erg_msg_stats *m,
                         struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->idle = get32(&i);
    m->busy = get32(&i);
    m->queued = get32(&i);
    m->load_1000 = get32(&i);
    m->memory_free = get64(&i);
    m->tasks = get64(&i);
    m->bytes_in = get64(&i);
    m->bytes_out = get64(&i);
    return get_end(&i, ERG_MSG_STATS, err);
}

size_t erg_msg_peer_size(const struct erg_msg_peer *m) {
    return 8 + 2 + 32 + 4 + m->address.len;
}
size_t erg_msg_peer_encode(const struct erg_msg_peer *m, unsigned char *out) {
    struct out o = {out};
    put64(&o, m->agent);
    put16(&o, m->port);
    put_bytes(&o, m->key, sizeof m->key);
    put_text(&o, m->address);
    return (size_t)(o.p - out);
}
int erg_msg_peer_decode(const unsigned char *bytes, size_t len, struct erg_msg_peer *m,
                        struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    memset(m, 0, sizeof *m);
    m->agent = get64(&i);
    m->port = get16(&i);
    get_bytes(&i, m->key, sizeof m->key);
    m->address = get_text(&i);
    return get_end(&i, ERG_MSG_PEER, err);
}

/* --- tasks ---------------------------------------------------------------------------------------------------------- */
size_t erg_msg_ids_size(const struct erg_msg_ids *m) {
    return 8 + 8 * (size_t)m->n;
}
size_t erg_msg_ids_encode(const struct erg_msg_ids *m, unsigned char *out) {
    struct out o = {out};
    put32(&o, m->what);
    put32(&o, m->n);
    for (uint32_t k = 0; k < m->n; k++) {
        put64(&o, m->ids[k]);
    }
    return (size_t)(o.p - out);
}
int erg_msg_ids_decode(const unsigned char *bytes, size_t len, struct erg_msg_ids *m,
                       struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->what = get32(&i);
    m->n = get32(&i);
    m->ids = NULL;
    m->raw = take(&i, 8 * (uint64_t)m->n);
    return get_end(&i, ERG_MSG_DROP, err);
}

size_t erg_msg_cut_size(const struct erg_msg_cut *m) {
    (void)m;
    return 16;
}
size_t erg_msg_cut_encode(const struct erg_msg_cut *m, unsigned char *out) {
    struct out o = {out};
    put64(&o, m->id);
    put32(&o, m->from);
    put32(&o, m->items);
    return 16;
}
int erg_msg_cut_decode(const unsigned char *bytes, size_t len, struct erg_msg_cut *m,
                       struct erg_error *err) {
    struct in i = {bytes, bytes + len, 0};
    m->id = get64(&i);
    m->from = get32(&i);
    m->items = get32(&i);
    return get_end(&i, ERG_MSG_CUT, err);
}

size_t erg_msg_task_size(const struct erg_msg_task *m) {
    return 4 + 3 * 8 + 4 + 3 + 2 + 3 * 4 + payload_size(&m->args);
}
size_t erg_msg_task_encode(const struct erg_msg_task *m, unsigned char *out) {
    struct out o = {out + 4};
    put64(&o, m->id);
    put64(&o, m->fn);
    put64(&o, m->timeout_ns);
    put32(&o, m->flags);
    put8(&o, m->kind);
    put8(&o, m->queue);
    put8(&o, m->user8);
    put16(&o, m->user16);
    put32(&o, m->first);
    put32(&o, m->next);
    put32(&o, m->end);
    put_payload(&o, &m->args);
    return put_head_end(&o, out);
}
int erg_msg_task_decode(const unsigned char *bytes, size_t len, int whole, uint64_t data_len,
                        struct erg_msg_task *m, struct erg_error *err) {
    struct in i;
    struct data data;
    int status = get_head(&i, bytes, len, whole, data_len, ERG_MSG_TASK, &data, err);
    if (status < 0) {
        return status;
    }
    m->id = get64(&i);
    m->fn = get64(&i);
    m->timeout_ns = get64(&i);
    m->flags = get32(&i);
    m->kind = get8(&i);
    m->queue = get8(&i);
    m->user8 = get8(&i);
    m->user16 = get16(&i);
    m->first = get32(&i);
    m->next = get32(&i);
    m->end = get32(&i);
    if (m->kind > ERG_KIND_CONTROL || m->queue >= ERG_QUEUES || m->next > m->end) {
        return malformed(err, ERG_MSG_TASK, "describes a task that cannot be");
    }
    return get_payload(&i, &m->args, ERG_MSG_TASK, data.bytes, data.len, err);
}

size_t erg_msg_result_size(const struct erg_msg_result *m) {
    return 4 + 8 + 2 + 2 + 3 * 8 + 2 * 4 + payload_size(&m->payload);
}
size_t erg_msg_result_encode(const struct erg_msg_result *m, unsigned char *out) {
    struct out o = {out + 4};
    put64(&o, m->id);
    put8(&o, m->outcome);
    put8(&o, m->flags);
    put16(&o, m->worker);
    put64(&o, m->begin_ns);
    put64(&o, m->run_ns);
    put64(&o, m->bytes);
    put32(&o, m->first);
    put32(&o, m->count);
    put_payload(&o, &m->payload);
    return put_head_end(&o, out);
}
int erg_msg_result_decode(const unsigned char *bytes, size_t len, int whole, uint64_t data_len,
                          struct erg_msg_result *m, struct erg_error *err) {
    struct in i;
    struct data data;
    int status = get_head(&i, bytes, len, whole, data_len, ERG_MSG_RESULT, &data, err);
    if (status < 0) {
        return status;
    }
    m->id = get64(&i);
    m->outcome = get8(&i);
    m->flags = get8(&i);
    m->worker = get16(&i);
    m->begin_ns = get64(&i);
    m->run_ns = get64(&i);
    m->bytes = get64(&i);
    m->first = get32(&i);
    m->count = get32(&i);
    if (!outcome_ok(m->outcome) || m->outcome == ERG_OUT_NONE) {
        return malformed(err, ERG_MSG_RESULT, "has an outcome that does not exist");
    }
    return get_payload(&i, &m->payload, ERG_MSG_RESULT, data.bytes, data.len, err);
}

/* --- what tasks need -------------------------------------------------------------------------------------------------- */
size_t erg_msg_func_size(const struct erg_msg_func *m) {
    return 4 + 8 + 4 + 8 + m->name.len + m->path.len + payload_size(&m->payload);
}
size_t erg_msg_func_encode(const struct erg_msg_func *m, unsigned char *out) {
    struct out o = {out + 4};
    put64(&o, m->uid);
    put32(&o, m->flags);
    put_text(&o, m->name);
    put_text(&o, m->path);
    put_payload(&o, &m->payload);
    return put_head_end(&o, out);
}
int erg_msg_func_decode(const unsigned char *bytes, size_t len, int whole, uint64_t data_len,
                        struct erg_msg_func *m, struct erg_error *err) {
    struct in i;
    struct data data;
    int status = get_head(&i, bytes, len, whole, data_len, ERG_MSG_FUNC, &data, err);
    if (status < 0) {
        return status;
    }
    m->uid = get64(&i);
    m->flags = get32(&i);
    m->name = get_text(&i);
    m->path = get_text(&i);
    return get_payload(&i, &m->payload, ERG_MSG_FUNC, data.bytes, data.len, err);
}

size_t erg_msg_blob_size(const struct erg_msg_blob *m) {
    return 4 + 8 + 8 + 4 + payload_size(&m->payload);
}
size_t erg_msg_blob_encode(const struct erg_msg_blob *m, unsigned char *out) {
    struct out o = {out + 4};
    put64(&o, m->uid);
    put64(&o, m->fresh);
    put32(&o, m->flags);
    put_payload(&o, &m->payload);
    return put_head_end(&o, out);
}
int erg_msg_blob_decode(const unsigned char *bytes, size_t len, int whole, uint64_t data_len,
                        struct erg_msg_blob *m, struct erg_error *err) {
    struct in i;
    struct data data;
    int status = get_head(&i, bytes, len, whole, data_len, ERG_MSG_BLOB, &data, err);
    if (status < 0) {
        return status;
    }
    m->uid = get64(&i);
    m->fresh = get64(&i);
    m->flags = get32(&i);
    return get_payload(&i, &m->payload, ERG_MSG_BLOB, data.bytes, data.len, err);
}

size_t erg_msg_value_size(const struct erg_msg_value *m) {
    return 4 + 8 + 1 + payload_size(&m->payload);
}
size_t erg_msg_value_encode(const struct erg_msg_value *m, unsigned char *out) {
    struct out o = {out + 4};
    put64(&o, m->id);
    put8(&o, m->outcome);
    put_payload(&o, &m->payload);
    return put_head_end(&o, out);
}
int erg_msg_value_decode(const unsigned char *bytes, size_t len, int whole, uint64_t data_len,
                         struct erg_msg_value *m, struct erg_error *err) {
    struct in i;
    struct data data;
    int status = get_head(&i, bytes, len, whole, data_len, ERG_MSG_VALUE, &data, err);
    if (status < 0) {
        return status;
    }
    m->id = get64(&i);
    m->outcome = get8(&i);
    if (!outcome_ok(m->outcome)) {
        return malformed(err, ERG_MSG_VALUE, "has an outcome that does not exist");
    }
    return get_payload(&i, &m->payload, ERG_MSG_VALUE, data.bytes, data.len, err);
}

size_t erg_msg_ask_size(const struct erg_msg_ask *m) {
    return 4 + 8 + 4 + payload_size(&m->payload);
}
size_t erg_msg_ask_encode(const struct erg_msg_ask *m, unsigned char *out) {
    struct out o = {out + 4};
    put64(&o, m->id);
    put32(&o, m->flags);
    put_payload(&o, &m->payload);
    return put_head_end(&o, out);
}
int erg_msg_ask_decode(const unsigned char *bytes, size_t len, int whole, uint64_t data_len,
                       struct erg_msg_ask *m, struct erg_error *err) {
    struct in i;
    struct data data;
    int status = get_head(&i, bytes, len, whole, data_len, ERG_MSG_ASK, &data, err);
    if (status < 0) {
        return status;
    }
    m->id = get64(&i);
    m->flags = get32(&i);
    return get_payload(&i, &m->payload, ERG_MSG_ASK, data.bytes, data.len, err);
}
