/* wire/frame: the unit that travels on a link.
 *
 * A frame is a header of 24 bytes, little-endian, and a body:
 *
 *     u32 length of the body | u16 type | u16 flags | u64 seq | u64 ack
 *
 * seq counts the frames of one direction from 1; 0 marks frames that are neither kept nor repeated (HELLO, PING,
 * PONG, ACK). ack is the highest seq received so far. A message is one frame, or, when it brings bulk data, several:
 * the first has ERG_FRAME_BULK and its body begins with the u64 length of the data and the u32 length of the head
 * that follows; the rest of the body, and the bodies of further frames of the same type with ERG_FRAME_DATA, are
 * the data, in order. A head that is longer than a frame goes on in such frames too, and the data begins with a frame of its
 * own behind it. All but the last have ERG_FRAME_MORE. Frames of other messages may come in between, so that a
 * large transfer holds up nothing.
 *
 * Pure functions, any thread. */
#ifndef ERG_WIRE_FRAME_H
#define ERG_WIRE_FRAME_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    ERG_FRAME_HEADER = 24,
    ERG_FRAME_BODY_MAX = 1 << 20,
    ERG_FRAME_BULK_PREFIX = 12, /* data length and head length, in front of the head */
    ERG_FRAME_HELLO = 1,        /* types the session itself knows */
    ERG_FRAME_ACK = 2,          /* empty: the header says it all */
    ERG_FRAME_NUMBERED = 16,    /* types from here on have a seq */
};

enum erg_frame_flags {
    ERG_FRAME_LZ4 = 1,  /* the body is u32 raw length and an LZ4 block */
    ERG_FRAME_BULK = 2, /* first frame of a message with bulk data */
    ERG_FRAME_DATA = 4, /* a later one */
    ERG_FRAME_MORE = 8, /* and not the last */
};

struct erg_frame {
    uint32_t len;
    uint16_t type;
    uint16_t flags;
    uint64_t seq;
    uint64_t ack;
};

void erg_frame_encode(const struct erg_frame *frame, unsigned char out[ERG_FRAME_HEADER]);

/* 0, or ERG_EPROTOCOL when the header cannot be one (length, flags that exclude each other, type 0). */
int erg_frame_decode(const unsigned char in[ERG_FRAME_HEADER], struct erg_frame *frame,
                     struct erg_error *err);

/* Little-endian numbers at any address. */
static inline void erg_put16(unsigned char *p, uint16_t v) {
    p[0] = (unsigned char)v;
    p[1] = (unsigned char)(v >> 8);
}
static inline void erg_put32(unsigned char *p, uint32_t v) {
    erg_put16(p, (uint16_t)v);
    erg_put16(p + 2, (uint16_t)(v >> 16));
}
static inline void erg_put64(unsigned char *p, uint64_t v) {
    erg_put32(p, (uint32_t)v);
    erg_put32(p + 4, (uint32_t)(v >> 32));
}
static inline uint16_t erg_get16(const unsigned char *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t erg_get32(const unsigned char *p) {
    return erg_get16(p) | (uint32_t)erg_get16(p + 2) << 16;
}
static inline uint64_t erg_get64(const unsigned char *p) {
    return erg_get32(p) | (uint64_t)erg_get32(p + 4) << 32;
}

#endif
