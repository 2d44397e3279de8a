/* wire/session: messages in order, each exactly once, over a link that may break and come back.
 *
 * A session outlives its links. It frames messages, numbers the frames, keeps what the peer has not acknowledged,
 * drops what arrives twice, and after a break repeats what is missing. It is a pure state machine: bytes in,
 * messages out; no descriptor, no clock, no thread. One thread at a time may use it.
 *
 * A link's life, on both sides alike (wire/link.h does the reading and writing):
 *   1. erg_session_open_link(): the HELLO the caller made is the first thing to be written; nothing else is yet.
 *   2. The peer's HELLO arrives as a message. The caller checks it and calls erg_session_resume() with the peer's
 *      `received`: frames from there on are written again, and then new ones.
 *   3. erg_session_close_link() when the link broke: sent and unacknowledged frames wait for the next link. A
 *      message whose data had arrived in part goes on where it stopped.
 *
 * Large data is never copied: it is written from where the sender keeps it, and read to where the receiver wants it.
 *
 * Order: messages of lane ERG_LANE_BULK arrive in the order they were sent, and after every message sent before them
 * in any lane. Messages of lane ERG_LANE_FIRST arrive in their order too, but may pass bulk ones. So: what relies on an
 * earlier bulk message goes into the bulk lane itself, however small. Data above ERG_SESSION_COPY_MAX, or a head that no
 * single frame has room for, makes a message a bulk one whatever lane it was given (erg_session_is_bulk). */
#ifndef ERG_WIRE_SESSION_H
#define ERG_WIRE_SESSION_H

#include "base/error.h"
#include "wire/frame.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct erg_session;

enum erg_lane { ERG_LANE_FIRST, ERG_LANE_BULK };

/* Data up to so many bytes is copied into the message; above it travels by reference. */
#define ERG_SESSION_COPY_MAX ((size_t)16 << 10)
/* A head may have so many: those of a payload with three million buffers. */
#define ERG_SESSION_HEAD_MAX ((size_t)64 << 20)
/* Would a message like this become a bulk one in whatever lane? */
static inline int erg_session_is_bulk(size_t head_len, uint64_t data_len) {
    return data_len > ERG_SESSION_COPY_MAX || head_len + data_len > ERG_FRAME_BODY_MAX;
}

/* Where the data of a message is to go: `n` pieces, together exactly as long as the data. The array and the memory
 * belong to the receiver and stay until done() or drop(). */
struct erg_bulk {
    struct iovec *pieces;
    size_t n;
    void *user; /* the receiver's own */
};

/* What a session tells its owner; called inside erg_session_got() and erg_session_input(). They may send on the
 * session, not free it. Each returns 0, or a negative erg_err that ends the link (erg_session_got returns it). */
struct erg_session_ops {
    /* A whole message; the bytes are the session's and gone after the call. */
    int (*message)(void *ctx, uint16_t type, const unsigned char *body, size_t len,
                   struct erg_error *err);
    /* A message with bulk data begins; says where the data shall go. data_len may be 0. NULL: none is expected,
     * and the link ends with ERG_EPROTOCOL. */
    int (*bulk)(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                uint64_t data_len, struct erg_bulk *to, struct erg_error *err);
    /* All of it is there. */
    int (*done)(void *ctx, uint16_t type, const unsigned char *head, size_t head_len,
                struct erg_bulk *got, struct erg_error *err);
    /* It will never be: the session is freed. */
    void (*drop)(void *ctx, uint16_t type, struct erg_bulk *got);
};

/* bound: bytes queued and unacknowledged above which erg_session_writable() says no; 0: 64 MiB. */
int erg_session_new(const struct erg_session_ops *ops, void *ctx, size_t bound,
                    struct erg_session **session);
/* Releases everything, NULL is fine. */
void erg_session_free(struct erg_session *session);

/* --- links ---------------------------------------------------------------------------------------------- */
/* A fresh link; `hello` (an encoded HELLO, see message.h, whose `received` is erg_session_received()) is copied and
 * written first. ERG_ENOMEM, ERG_ESTATE when a link is open. */
int erg_session_open_link(struct erg_session *session, const void *hello, size_t len);
/* The peer has every frame up to `received`. ERG_EPROTOCOL when that was never sent or was given up already. */
int erg_session_resume(struct erg_session *session, uint64_t received, struct erg_error *err);
void erg_session_close_link(struct erg_session *session);
/* The highest seq received. */
uint64_t erg_session_received(const struct erg_session *session);

/* --- sending ---------------------------------------------------------------------------------------------- */
/* Sends a message: a head and, behind it, data. Up to ERG_SESSION_COPY_MAX bytes the data is copied; above that the
 * pieces are written from where they are. release(ctx, user) (may be NULL) is called once: before this returns, when the
 * peer has them all, or when the session is freed. The array itself is copied. Types below ERG_FRAME_NUMBERED take no data
 * and are not repeated after a break: PING and PONG. 0; ERG_ENOMEM; ERG_EINVALID when the head is longer than
 * ERG_SESSION_HEAD_MAX. After an error nothing was sent and release has not been called. */
int erg_session_send(struct erg_session *session, enum erg_lane lane, uint16_t type,
                     const void *head, size_t head_len, const struct iovec *data, size_t n,
                     void (*release)(void *ctx, void *user), void *ctx, void *user);

/* From now on no memory of the caller's is read any more: bulk messages that wait are dropped, one that was begun stays
 * unfinished, and release is called for all. What was sent short still goes out, and so does what is sent from now on: a
 * BYE, for a link that breaks now is rarely resumed (ERG_ESTATE: the peer lacks what is not there any more). 0, or ERG_ENOMEM: then close the link. */
int erg_session_let_go(struct erg_session *session);

/* 0 while more than the bound is queued or unacknowledged: messages are taken all the same, but who makes bulk should
 * wait. */
int erg_session_writable(const struct erg_session *session);
/* Bytes queued or unacknowledged; of which not written to a link yet. */
uint64_t erg_session_queued(const struct erg_session *session);
uint64_t erg_session_unsent(const struct erg_session *session);
/* Pack bodies above 512 bytes with LZ4, as long as it pays (it stops trying for a while when it does not). */
void erg_session_compress(struct erg_session *session, int on);
/* To be called now and then (tens of milliseconds) while the link is idle: the peer shall hear what arrived. */
void erg_session_tick(struct erg_session *session);

/* --- bytes ------------------------------------------------------------------------------------------------ */
/* What to write next, at most `most` pieces: how many there are, 0 when there is nothing. They stay valid until
 * erg_session_sent(), which says how many bytes of them were written (any number, also 0). */
size_t erg_session_output(struct erg_session *session, struct iovec *pieces, size_t most);
void erg_session_sent(struct erg_session *session, size_t bytes);

/* Where to read to: one or two pieces, the first where bulk data that is due belongs, the last in the session's own
 * buffer; then how many bytes were read into them. 0, ERG_EPROTOCOL, ERG_ENOMEM, or what an op returned: the link
 * has to be closed; the session itself is as good as before. */
size_t erg_session_room(struct erg_session *session, struct iovec pieces[2]);
int erg_session_got(struct erg_session *session, size_t bytes, struct erg_error *err);
/* The same for bytes that lie elsewhere: they are copied. */
int erg_session_input(struct erg_session *session, const void *bytes, size_t len,
                      struct erg_error *err);

struct erg_session_counts {
    uint64_t frames_out, frames_in, bytes_out, bytes_in;
    uint64_t raw_out;  /* bytes_out as they would be without packing */
    uint64_t repeated; /* frames written again after a break */
    uint64_t dropped;  /* frames that had arrived before */
};
void erg_session_counts(const struct erg_session *session, struct erg_session_counts *out);

#endif
