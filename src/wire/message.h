/* wire/message: what two ends of a link say to each other, as bytes.
 *
 * One struct a message; encode writes it, decode checks every byte and points into the body it was given (no copies,
 * no allocation): what a decoded struct refers to lives as long as the body. Strings are (pointer, length), UTF-8, not
 * NUL-terminated. Numbers are little-endian; times are nanoseconds. Ids of tasks and values are the client's
 * (`erg_handle`s of its table), so that they mean the same to every agent of a session. Who says what:
 *
 *   both     HELLO PING PONG ACK BYE LOG
 *   client   OPEN FUNC BLOB VALUE DROP TASK CANCEL RECALL CUT FETCH PEER ANSWER
 *   agent    READY FAIL RESULT RETURNED CUTTED VALUE STATS ASK PEER FETCHED
 *
 * Agents of one client also speak with each other, on links of their own (engine/agent_peer.h): the one that asks says FETCH,
 * the other BLOB, VALUE and FETCHED.
 *
 * Messages with a payload (FUNC BLOB VALUE TASK RESULT ASK ANSWER) consist of a head, which the functions here encode and
 * decode, and data behind it: the payload's stream and then, one after the other, the bytes of its buffers. When the
 * message came in one piece, decode finds the data behind the head; when it came as bulk (wire/session.h), `data` is
 * NULL and the receiver knows where it let it go. Pure functions, any thread. */
#ifndef ERG_WIRE_MESSAGE_H
#define ERG_WIRE_MESSAGE_H

#include "base/error.h"
#include "wire/frame.h"

#include <stddef.h>
#include <stdint.h>

#define ERG_PROTOCOL_MAJOR 1 /* both must have the same */
#define ERG_PROTOCOL_MINOR 0 /* the lesser of the two is spoken */

enum erg_message_type {
    ERG_MSG_HELLO = ERG_FRAME_HELLO,
    ERG_MSG_ACK = ERG_FRAME_ACK, /* never seen outside the session */
    ERG_MSG_PING = 3,
    ERG_MSG_PONG = 4,
    ERG_MSG_OPEN = ERG_FRAME_NUMBERED, /* from here on: kept until acknowledged */
    ERG_MSG_READY,
    ERG_MSG_FAIL,
    ERG_MSG_FUNC,
    ERG_MSG_BLOB,
    ERG_MSG_VALUE,
    ERG_MSG_DROP,
    ERG_MSG_TASK,
    ERG_MSG_RESULT,
    ERG_MSG_CANCEL,
    ERG_MSG_RECALL,
    ERG_MSG_RETURNED,
    ERG_MSG_CUT,
    ERG_MSG_CUTTED,
    ERG_MSG_FETCH,
    ERG_MSG_PEER,
    ERG_MSG_STATS,
    ERG_MSG_LOG,
    ERG_MSG_ASK,
    ERG_MSG_ANSWER,
    ERG_MSG_BYE,
    ERG_MSG_FETCHED,
    ERG_MSG_TYPES
};
/* "TASK"; "unknown" for what is none. */
const char *erg_message_name(uint16_t type);

struct erg_text {
    const char *bytes;
    size_t len;
};

/* --- payloads ----------------------------------------------------------------------------------------------- */
enum erg_entry_kind {
    ERG_ENTRY_BUFFER = 1, /* len bytes of the data */
    ERG_ENTRY_BLOB = 2,   /* the object sent before as BLOB `id` */
    ERG_ENTRY_VALUE = 3,  /* the result of task `id`: of this agent, or sent before as VALUE */
};
struct erg_entry {
    uint8_t kind;
    uint8_t flags; /* the runtime's own */
    uint16_t user; /* likewise */
    uint64_t id;   /* BLOB, VALUE */
    uint64_t len;  /* BUFFER */
};
enum { ERG_ENTRY_BYTES = 20 };

/* For encoding fill stream_len, entries, n. Decoded: `entries` is NULL and erg_payload_entry() gives each. */
struct erg_msg_payload {
    uint64_t stream_len;
    const struct erg_entry *entries;
    uint32_t n;
    const unsigned char *raw; /* decoded: the entries' bytes */
    const unsigned char
        *data;         /* decoded: the stream, and the buffers behind it; NULL: came as bulk */
    uint64_t data_len; /* of stream and buffers */
};
void erg_msg_payload_entry(const struct erg_msg_payload *payload, uint32_t i,
                           struct erg_entry *out);

/* --- messages ----------------------------------------------------------------------------------------------- */
/* An HEIR says that the client of that session has died: the agent ends, and nothing else follows. */
enum erg_role { ERG_ROLE_CLIENT = 1, ERG_ROLE_AGENT = 2, ERG_ROLE_HEIR = 3 };
struct erg_msg_hello {
    uint16_t major, minor;
    uint8_t role;
    unsigned char session[16]; /* zero from a client: a new one; the agent's says which */
    uint64_t received;         /* erg_session_received() */
    struct erg_text tag;       /* what programs are exchanged: "cp311-linux-x86_64" */
};

struct erg_msg_open {
    uint32_t processes, threads;  /* both 0: a process for each core */
    uint32_t max_tasks;           /* per worker process, 0: any number */
    uint16_t port_low, port_high; /* for data between agents; 0: none, or any */
    int64_t stop_limit_ns, grace_ns;
    int64_t lease_ns;     /* how long the agent lives without a link */
    uint64_t pool;        /* the runtime's number of the client's pool: its tasks may name it */
    struct erg_text name; /* the host, as the user wrote it */
    struct erg_text init; /* the runtime's start-up message for workers */
};
struct erg_msg_ready {
    uint32_t slots, cores;
    int32_t pid;
    uint64_t memory;      /* bytes */
    uint32_t load_1000;   /* load average of the last minute, times 1000 */
    uint16_t port;        /* where other agents reach it, 0: nowhere */
    struct erg_text host; /* its own name */
    struct erg_text python, tag;
};
struct erg_msg_fail { /* the session is over */
    int32_t code;     /* an erg_err */
    struct erg_text text;
};

/* FUNC: a function by its uid. BLOB: a put object. VALUE: the result of a task that ran elsewhere, or the answer to
 * FETCH. They stay until DROP. */
struct erg_msg_func {
    uint64_t uid;
    uint32_t flags;       /* the runtime's own */
    struct erg_text name; /* for messages and traces */
    struct erg_text path; /* the runtime's module search path, if it changed */
    struct erg_msg_payload payload;
};
struct erg_msg_blob {
    uint64_t uid;
    uint64_t fresh; /* the runtime's own */
    uint32_t flags;
    struct erg_msg_payload payload;
};
struct erg_msg_value {
    uint64_t id;
    uint8_t
        outcome; /* enum erg_outcome; ERG_OUT_NONE as the answer to FETCH: it is not there (any more) */
    struct erg_msg_payload payload;
};
enum erg_drop_kind { ERG_DROP_FUNC = 1, ERG_DROP_BLOB = 2, ERG_DROP_VALUE = 3 };
/* DROP, RETURNED, FETCH, FETCHED, CANCEL, RECALL: a number and ids. */
struct erg_msg_ids {
    uint32_t
        what; /* DROP: enum erg_drop_kind; RECALL: how many tasks not begun are wanted back, the ids being those
                      that would suit best; FETCH: 0 for VALUEs that the asker wants itself, else ERG_FETCH_FROM;
                      FETCHED: enum erg_drop_kind, and enum erg_fetch_failure << 8; otherwise 0 */
    uint32_t n;
    const uint64_t *ids;      /* for encoding */
    const unsigned char *raw; /* decoded: erg_msg_id() */
};
static inline uint64_t erg_msg_id(const struct erg_msg_ids *ids, uint32_t i) {
    return erg_get64(ids->raw + 8 * (size_t)i);
}

/* FETCH that tells an agent to get what the ids name from another one, and to say FETCHED when it has it, or will not: the number
 * of that agent (PEER; below 2^28), and enum erg_drop_kind. Its own number: it says FETCHED as soon as it has what was sent to
 * it before. Between agents the number is 0. */
#define ERG_FETCH_FROM(agent, kind) ((uint32_t)(agent) << 4 | (uint32_t)(kind))
#define ERG_FETCH_AGENT(what) ((what) >> 4)
#define ERG_FETCH_KIND(what) ((what)&15u)
#define ERG_FETCH_AGENTS (1u << 28)
enum erg_fetch_failure {
    ERG_FETCH_DONE,
    ERG_FETCH_CUT,     /* that agent cannot be reached, or stopped talking */
    ERG_FETCH_MISSING, /* it has no such thing, or cannot give it away */
};

enum erg_task_flags {
    ERG_TASK_HOLD =
        1, /* the result stays at the agent, as VALUE `id`, when it is large; RESULT says ERG_RESULT_HELD */
};
struct erg_msg_task {
    uint64_t id;
    uint64_t fn;
    uint64_t timeout_ns;
    uint32_t flags;
    uint8_t kind, queue, user8; /* as in struct erg_record */
    uint16_t user16;
    uint32_t first, next, end; /* CHUNK: its first item, and the items to run */
    struct erg_msg_payload args;
};

enum erg_result_flags {
    ERG_RESULT_HELD = 1,    /* the payload is not here: FETCH id */
    ERG_RESULT_PARTIAL = 2, /* CHUNK: more of this task follows */
};
struct erg_msg_result {
    uint64_t id;
    uint8_t outcome; /* enum erg_outcome */
    uint8_t flags;
    uint16_t worker;
    uint64_t begin_ns; /* the agent's clock (see PONG) */
    uint64_t run_ns;
    uint64_t bytes;        /* of the result as it lies at the agent */
    uint32_t first, count; /* CHUNK: the items this is the result of */
    struct erg_msg_payload payload;
};

struct
    erg_msg_cut { /* CUT: items from `items` before the end are wanted back. CUTTED: [from, end) were given */
    uint64_t id;
    uint32_t from, items;
};
/* From an agent: where others may reach it (agent and key are zero). From the client: how to reach another one; with port 0
 * the agent's own number, and the key by which it knows the others. */
struct erg_msg_peer {
    uint64_t agent;
    uint16_t port;
    unsigned char key[32];
    struct erg_text address; /* in figures */
};
struct erg_msg_stats {
    uint32_t idle, busy, queued; /* workers, workers, tasks */
    uint32_t load_1000;
    uint64_t memory_free; /* bytes */
    uint64_t tasks, bytes_in, bytes_out;
};
enum erg_log_level { ERG_LOG_OUTPUT, ERG_LOG_ERROR }; /* what workers write on stdout, on stderr */
struct erg_msg_log {
    uint32_t level; /* enum erg_log_level; others are ignored */
    struct erg_text text;
};
struct erg_msg_ping { /* PING and PONG */
    uint64_t sent_ns; /* the asker's clock, given back as it came */
    uint64_t here_ns; /* PONG: the answerer's clock */
};
/* ASK: something a worker wants to know of its client (a module that is missing); ANSWER: the same id.
 * What the bytes mean is the runtime's business: there are no entries. */
enum erg_answer_flags { ERG_ANSWER_NONE = 1 }; /* nobody there answers questions */
struct erg_msg_ask {
    uint64_t id; /* the agent's */
    uint32_t flags;
    struct erg_msg_payload payload;
};

/* Encoding: erg_msg_X_size() is an upper bound of the head's bytes, erg_msg_X_encode() writes it and returns its
 * length. Decoding: 0 or ERG_EPROTOCOL; `whole` is 1 when data stands behind the head (an unfragmented message), 0 when
 * the bytes are the head alone and data_len is that of the bulk. */
#define ERG_MSG_DECLARE(name)                                                                      \
    size_t erg_msg_##name##_size(const struct erg_msg_##name *m);                                  \
    size_t erg_msg_##name##_encode(const struct erg_msg_##name *m, unsigned char *out);            \
    int erg_msg_##name##_decode(const unsigned char *bytes, size_t len, struct erg_msg_##name *m,  \
                                struct erg_error *err)
#define ERG_MSG_DECLARE_DATA(name)                                                                 \
    size_t erg_msg_##name##_size(const struct erg_msg_##name *m);                                  \
    size_t erg_msg_##name##_encode(const struct erg_msg_##name *m, unsigned char *out);            \
    int erg_msg_##name##_decode(const unsigned char *bytes, size_t len, int whole,                 \
                                uint64_t data_len, struct erg_msg_##name *m,                       \
                                struct erg_error *err)
ERG_MSG_DECLARE(hello);
ERG_MSG_DECLARE(open);
ERG_MSG_DECLARE(ready);
ERG_MSG_DECLARE(fail);
ERG_MSG_DECLARE(ids);
ERG_MSG_DECLARE(cut);
ERG_MSG_DECLARE(peer);
ERG_MSG_DECLARE(stats);
ERG_MSG_DECLARE(log);
ERG_MSG_DECLARE(ping);
ERG_MSG_DECLARE_DATA(func);
ERG_MSG_DECLARE_DATA(blob);
ERG_MSG_DECLARE_DATA(value);
ERG_MSG_DECLARE_DATA(task);
ERG_MSG_DECLARE_DATA(result);
ERG_MSG_DECLARE_DATA(ask);
#undef ERG_MSG_DECLARE
#undef ERG_MSG_DECLARE_DATA

#endif
