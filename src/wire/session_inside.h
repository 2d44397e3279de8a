/* wire/session_inside: what session.c (sending) and session_in.c (receiving) share. */
#ifndef ERG_WIRE_SESSION_INSIDE_H
#define ERG_WIRE_SESSION_INSIDE_H

#include "wire/session.h"

enum {
    ERG_CHUNK_BYTES = 32 << 10, /* what small frames are collected in */
    ERG_FRAGMENT_BYTES =
        256 << 10,             /* of bulk data in one frame: what an urgent message may wait for */
    ERG_ACK_BYTES = 256 << 10, /* received, and then the peer is told */
    ERG_ACK_FRAMES = 256,
    ERG_INPUT_BYTES = 64 << 10,
    ERG_PACK_MIN = 512,
};

struct erg_transfer;

/* Bytes to write, in order. A chunk with bytes of its own holds whole frames, the last one's body possibly going on in the
 * chunks behind it, which refer to the sender's memory. */
struct erg_chunk {
    struct erg_chunk *next;
    uint64_t last_seq; /* of the last frame that begins in it, or that it is part of */
    size_t len, cap;
    size_t sent;                 /* written to the present link */
    int transient;               /* not repeated on another link */
    const unsigned char *base;   /* its bytes */
    struct erg_transfer *source; /* whose memory base is; NULL: its own */
    unsigned char bytes[];
};

/* A bulk message on its way into frames; lives until the last chunk that refers to it is gone. */
struct erg_transfer {
    struct erg_transfer *next;
    size_t refs; /* the queue, and chunks */
    uint16_t type;
    int begun;
    uint64_t left; /* data bytes not in frames yet */
    struct iovec *pieces;
    size_t n, piece, offset; /* where the rest begins */
    void (*release)(void *ctx, void *user);
    void *ctx, *user;
    size_t head_len, head_at; /* so much of it is in frames */
    unsigned char head[];     /* then the pieces */
};

/* The bulk message that arrives. */
struct erg_arrival {
    int active;
    uint16_t type;
    uint64_t seq;      /* of its first frame */
    uint64_t data_len; /* of all of it */
    unsigned char *head;
    size_t head_len,
        head_got; /* not all of it yet: the receiver has not been asked, `to` is empty */
    struct erg_bulk to;
    /* where the next byte goes; where the next byte of a frame that is there in whole goes */
    size_t piece, offset;
    uint64_t left;
    size_t kept_piece, kept_offset;
    uint64_t kept_left;
};

struct erg_session {
    struct erg_session_ops ops;
    void *ctx;
    size_t bound;
    int open;    /* a link is there */
    int resumed; /* and says what the peer has */

    /* sending */
    struct erg_chunk *hello;
    struct erg_chunk *first, *last; /* everything framed and not acknowledged */
    struct erg_chunk *cursor;       /* the first with bytes that were not written; NULL: none */
    struct erg_chunk *spare;
    unsigned spares;
    struct erg_transfer *bulk_first, *bulk_last;
    uint64_t seq;        /* the last one given */
    uint64_t acked;      /* the peer has up to here */
    uint64_t lost;       /* frames up to here may be incomplete: they cannot be repeated */
    uint64_t written;    /* the highest seq that was (partly) written to any link */
    uint64_t list_bytes; /* in first..last */
    uint64_t list_unsent;
    uint64_t bulk_left;
    int pack;
    unsigned pack_skip, pack_pause; /* frames to let pass, and how many next time */
    unsigned char *scratch;         /* ERG_FRAME_BODY_MAX, for packing and unpacking */

    /* receiving */
    uint64_t received;
    uint64_t told; /* the ack of the last frame we made */
    uint64_t untold_bytes;
    unsigned char *in;
    size_t in_cap, in_start, in_end;
    struct erg_frame frame; /* the one whose body is being read */
    enum { ERG_IN_HEADER, ERG_IN_BODY, ERG_IN_DATA, ERG_IN_SKIP } in_state;
    size_t in_left; /* DATA, SKIP: bytes of the body that are missing */
    struct erg_arrival arrival;

    struct erg_session_counts counts;
};

/* The peer has every frame up to `ack`. */
void erg_session_acknowledged(struct erg_session *s, uint64_t ack);
unsigned char *erg_session_scratch(struct erg_session *s);

void erg_session_in_open(struct erg_session *s);
/* Forgets what came of a frame in part. */
void erg_session_in_close(struct erg_session *s);
void erg_session_in_fini(struct erg_session *s);

#endif
