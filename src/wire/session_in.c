/* Receiving.
 *
 * Bytes are read into `in` and taken apart there; only bulk data, once its frame's header was seen, is read straight to
 * where it belongs. A frame counts as received when all of it is there: after a break the peer repeats it from its
 * beginning, and data that had come of it is written over. */
#include "wire/session_inside.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

static size_t least(uint64_t a, uint64_t b) {
    return (size_t)(a < b ? a : b);
}

static int nonsense(struct erg_error *err, const struct erg_frame *f, const char *why) {
    return erg_error_set(err, ERG_EPROTOCOL, "the peer sends a frame (type %u, number %llu) %s",
                         f->type, (unsigned long long)f->seq, why);
}

/* --- the bulk message that arrives ----------------------------------------------------------------------------- */
static void arrival_end(struct erg_session *s) {
    s->arrival.active = 0;
    free(s->arrival.head);
    s->arrival.head = NULL;
}

/* How far the bytes from here on may be written at once. */
static size_t arrival_piece(struct erg_arrival *a) {
    while (a->piece < a->to.n && a->offset == a->to.pieces[a->piece].iov_len) {
        a->piece++;
        a->offset = 0;
    }
    return a->piece < a->to.n ? a->to.pieces[a->piece].iov_len - a->offset : 0;
}

static unsigned char *arrival_at(const struct erg_arrival *a) {
    return (unsigned char *)a->to.pieces[a->piece].iov_base + a->offset;
}

static void arrival_moved(struct erg_arrival *a, size_t len) {
    a->offset += len;
    a->left -= len;
}

/* len <= a->left */
static void arrival_copy(struct erg_arrival *a, const unsigned char *bytes, size_t len) {
    while (len) {
        size_t part = least(arrival_piece(a), len);
        memcpy(arrival_at(a), bytes, part);
        arrival_moved(a, part);
        bytes += part;
        len -= part;
    }
}

static void arrival_keep(struct erg_arrival *a) {
    a->kept_piece = a->piece;
    a->kept_offset = a->offset;
    a->kept_left = a->left;
}

static void arrival_back(struct erg_arrival *a) {
    a->piece = a->kept_piece;
    a->offset = a->kept_offset;
    a->left = a->kept_left;
}

/* The head is there: the receiver says where the data goes. */
static int arrival_ask(struct erg_session *s, struct erg_error *err) {
    struct erg_arrival *a = &s->arrival;
    int status = s->ops.bulk(s->ctx, a->type, a->head, a->head_len, a->data_len, &a->to, err);
    uint64_t room = 0;
    for (size_t i = 0; status >= 0 && i < a->to.n; i++) {
        room += a->to.pieces[i].iov_len;
    }
    if (status >= 0 && room != a->data_len) {
        if (s->ops.drop) {
            s->ops.drop(s->ctx, a->type, &a->to);
        }
        status = erg_error_set(err, ERG_EINVALID, "room for %llu bytes where %llu arrive",
                               (unsigned long long)room, (unsigned long long)a->data_len);
    }
    if (status < 0) {
        arrival_end(s);
        return status;
    }
    a->active = 1;
    arrival_keep(a);
    return 0;
}

/* `len` more bytes of the head, which is the rest of it or the whole frame. */
static int arrival_head(struct erg_session *s, const unsigned char *bytes, size_t len,
                        struct erg_error *err) {
    struct erg_arrival *a = &s->arrival;
    if (len) {
        memcpy(a->head + a->head_got, bytes, len);
    }
    a->head_got += len;
    return a->head_got == a->head_len ? arrival_ask(s, err) : 0;
}

static int arrival_lacks_head(const struct erg_arrival *a) {
    return a->active && a->head_got < a->head_len;
}

/* The first frame of a bulk message, with `there` bytes of its head. If the link broke within this very frame, the receiver
 * has been asked already. */
static int arrival_begin(struct erg_session *s, const unsigned char *prefix, size_t there,
                         struct erg_error *err) {
    struct erg_arrival *a = &s->arrival;
    const struct erg_frame *f = &s->frame;
    uint64_t data_len = erg_get64(prefix);
    size_t head_len = erg_get32(prefix + 8);
    const unsigned char *head = prefix + ERG_FRAME_BULK_PREFIX;
    if (a->active) {
        if (a->seq != f->seq || a->type != f->type || a->data_len != data_len ||
            a->head_len != head_len || there != head_len || arrival_lacks_head(a) ||
            memcmp(a->head, head, head_len) != 0) {
            return nonsense(err, f, "in the middle of another transfer");
        }
        arrival_back(a);
        return 0;
    }
    if (!s->ops.bulk) {
        return nonsense(err, f, "with bulk data, which is not expected here");
    }
    memset(a, 0, sizeof *a);
    a->head = malloc(head_len ? head_len : 1);
    if (!a->head) {
        return erg_error_set(err, ERG_ENOMEM, "no memory for a message of %zu bytes", head_len);
    }
    a->active = 1;
    a->type = f->type;
    a->seq = f->seq;
    a->head_len = head_len;
    a->data_len = a->left = data_len;
    return arrival_head(s, head, there, err);
}

/* --- frames ---------------------------------------------------------------------------------------------------- */
static void frame_received(struct erg_session *s) {
    s->counts.frames_in++;
    s->in_state = ERG_IN_HEADER;
    if (s->frame.seq) {
        s->received = s->frame.seq;
        s->untold_bytes += ERG_FRAME_HEADER + s->frame.len;
    }
}

/* All bytes of a frame with bulk data are where they belong. */
static int data_received(struct erg_session *s, struct erg_error *err) {
    struct erg_arrival *a = &s->arrival;
    int whole = a->left == 0 && !arrival_lacks_head(a), more = s->frame.flags & ERG_FRAME_MORE;
    if (whole == (more != 0)) {
        return nonsense(err, &s->frame, "that ends a transfer too early or too late");
    }
    frame_received(s);
    arrival_keep(a);
    if (!whole) {
        return 0;
    }
    int status = 0;
    struct erg_bulk got = a->to;
    unsigned char *head = a->head;
    size_t head_len = a->head_len;
    a->active = 0; /* it is the receiver's from here on, whatever the answer */
    a->head = NULL;
    status = s->ops.done(s->ctx, s->frame.type, head, head_len, &got, err);
    free(head);
    return status;
}

/* The header that was read makes sense here; what is its body? */
static int header_received(struct erg_session *s, struct erg_error *err) {
    struct erg_frame *f = &s->frame;
    if ((f->type == ERG_FRAME_HELLO) != !s->resumed) {
        return nonsense(err, f,
                        s->resumed ? "that belongs to the beginning of a link"
                                   : "before it said HELLO: something else is talking");
    }
    if ((f->type >= ERG_FRAME_NUMBERED) != (f->seq != 0)) {
        return nonsense(err, f, "that is numbered wrongly");
    }
    if (f->ack > s->seq) {
        return nonsense(err, f, "acknowledging what was never sent");
    }
    if (s->resumed) {
        erg_session_acknowledged(s, f->ack);
    }
    s->in_state = ERG_IN_BODY;
    if (!f->seq) {
        return 0;
    }
    if (f->seq <= s->received) {
        s->counts.dropped++;
        s->in_left = f->len;
        s->in_state = ERG_IN_SKIP;
        return 0;
    }
    if (f->seq != s->received + 1) {
        return nonsense(err, f, "out of order");
    }
    const struct erg_arrival *a = &s->arrival;
    if (f->flags & ERG_FRAME_DATA) {
        if (!a->active || a->type != f->type || a->seq == f->seq) {
            return nonsense(err, f, "of a transfer that was not begun");
        }
        if (!(f->flags & ERG_FRAME_LZ4) && !arrival_lacks_head(a)) {
            if (f->len > a->left) {
                return nonsense(err, f, "longer than its transfer");
            }
            s->in_left = f->len;
            s->in_state = ERG_IN_DATA;
        }
    }
    return 0;
}

/* How much of its head is in a first frame with a body of `len` bytes. */
static int head_here(const struct erg_session *s, const unsigned char *prefix, size_t len,
                     size_t *here, struct erg_error *err) {
    const struct erg_frame *f = &s->frame;
    size_t head = erg_get32(prefix + 8), rest = len - ERG_FRAME_BULK_PREFIX;
    *here = head < rest ? head : rest;
    if (head > rest && (!(f->flags & ERG_FRAME_MORE) || head > ERG_SESSION_HEAD_MAX)) {
        return nonsense(err, f, "that is shorter than its head");
    }
    if (rest - *here > erg_get64(prefix)) {
        return nonsense(err, f, "longer than its transfer");
    }
    return 0;
}

/* A body that is there in whole, unpacked. */
static int body_received(struct erg_session *s, const unsigned char *body, size_t len,
                         struct erg_error *err) {
    struct erg_frame *f = &s->frame;
    if (arrival_lacks_head(&s->arrival) && (f->flags & ERG_FRAME_DATA)) {
        if (len > s->arrival.head_len - s->arrival.head_got) {
            return nonsense(err, f, "longer than its head");
        }
        int status = arrival_head(s, body, len, err);
        return status < 0 ? status : data_received(s, err);
    }
    if (f->flags & ERG_FRAME_DATA) {
        if (len > s->arrival.left) {
            return nonsense(err, f, "longer than its transfer");
        }
        arrival_copy(&s->arrival, body, len);
        return data_received(s, err);
    }
    if (f->flags & ERG_FRAME_BULK) {
        size_t head = 0;
        int status = len < ERG_FRAME_BULK_PREFIX ? nonsense(err, f, "that is shorter than its head")
                                                 : head_here(s, body, len, &head, err);
        if (status >= 0) {
            status = arrival_begin(s, body, head, err);
        }
        if (status < 0) {
            return status;
        }
        head += ERG_FRAME_BULK_PREFIX;
        arrival_copy(&s->arrival, body + head, len - head);
        return data_received(s, err);
    }
    frame_received(s);
    return f->type == ERG_FRAME_ACK ? 0 : s->ops.message(s->ctx, f->type, body, len, err);
}

static int body_unpack(struct erg_session *s, const unsigned char *body, struct erg_error *err) {
    size_t len = s->frame.len, raw = len >= 4 ? erg_get32(body) : 0;
    if (raw == 0 || raw > ERG_FRAME_BODY_MAX) {
        return nonsense(err, &s->frame, "packed wrongly");
    }
    unsigned char *to = erg_session_scratch(s);
    if (!to) {
        return erg_error_set(err, ERG_ENOMEM, "no memory to unpack a message");
    }
    if (LZ4_decompress_safe((const char *)body + 4, (char *)to, (int)(len - 4), (int)raw) !=
        (int)raw) {
        return nonsense(err, &s->frame, "packed wrongly");
    }
    /* what the receiver sends meanwhile may be packed in the same scratch memory */
    s->scratch = NULL;
    int status = body_received(s, to, raw, err);
    free(s->scratch);
    s->scratch = to;
    return status;
}

/* --- the buffer -------------------------------------------------------------------------------------------------- */
/* 1: `need` bytes are there. 0: not yet, but they will fit. */
static int buffer_has(struct erg_session *s, size_t need, struct erg_error *err) {
    size_t have = s->in_end - s->in_start;
    if (have >= need) {
        return 1;
    }
    if (s->in_start) {
        memmove(s->in, s->in + s->in_start, have);
        s->in_start = 0;
        s->in_end = have;
    }
    if (need > s->in_cap) {
        unsigned char *more = realloc(s->in, need);
        if (!more) {
            return erg_error_set(err, ERG_ENOMEM, "no memory for a message of %zu bytes", need);
        }
        s->in = more;
        s->in_cap = need;
    }
    return 0;
}

/* The body of a frame that is taken from the buffer. As buffer_has; 1: it was dealt with. */
static int body_step(struct erg_session *s, struct erg_error *err) {
    struct erg_frame *f = &s->frame;
    size_t need = f->len, head = 0;
    int direct = (f->flags & ERG_FRAME_BULK) && !(f->flags & ERG_FRAME_LZ4);
    if (direct) { /* only its head; the data goes where it belongs */
        if (f->len < ERG_FRAME_BULK_PREFIX) {
            return nonsense(err, f, "that is shorter than its head");
        }
        int there = buffer_has(s, ERG_FRAME_BULK_PREFIX, err);
        if (there <= 0) {
            return there;
        }
        there = head_here(s, s->in + s->in_start, f->len, &head, err);
        if (there < 0) {
            return there;
        }
        need = ERG_FRAME_BULK_PREFIX + head;
    }
    int there = buffer_has(s, need, err);
    if (there <= 0) {
        return there;
    }
    const unsigned char *body = s->in + s->in_start;
    s->in_start += need;
    int status;
    if (direct) {
        status = arrival_begin(s, body, head, err);
        s->in_left = f->len - need;
        s->in_state = ERG_IN_DATA;
    } else if (f->flags & ERG_FRAME_LZ4) {
        status = body_unpack(s, body, err);
    } else {
        status = body_received(s, body, need, err);
    }
    return status < 0 ? status : 1;
}

/* Deals with what is in the buffer as far as possible. */
static int parse(struct erg_session *s, struct erg_error *err) {
    int status = 1;
    while (status > 0 && s->open) {
        size_t have = s->in_end - s->in_start, part = least(have, s->in_left);
        switch (s->in_state) {
        case ERG_IN_HEADER:
            status = buffer_has(s, ERG_FRAME_HEADER, err);
            if (status > 0) {
                status = erg_frame_decode(s->in + s->in_start, &s->frame, err);
                s->in_start += ERG_FRAME_HEADER;
                status = status < 0 ? status : header_received(s, err);
                status = status < 0 ? status : 1;
            }
            break;
        case ERG_IN_BODY:
            status = body_step(s, err);
            break;
        case ERG_IN_SKIP:
            s->in_start += part;
            s->in_left -= part;
            if (s->in_left) {
                status = 0;
            } else {
                s->in_state = ERG_IN_HEADER;
            }
            break;
        case ERG_IN_DATA:
            arrival_copy(&s->arrival, s->in + s->in_start, part);
            s->in_start += part;
            s->in_left -= part;
            if (s->in_left) {
                status = 0;
            } else {
                status = data_received(s, err);
                status = status < 0 ? status : 1;
            }
            break;
        }
    }
    if (s->in_start == s->in_end) {
        s->in_start = s->in_end = 0;
    }
    return status < 0 ? status : 0;
}

size_t erg_session_room(struct erg_session *s, struct iovec pieces[2]) {
    size_t n = 0, room = s->in_cap - s->in_end;
    if (s->in_state == ERG_IN_DATA) {
        /* the buffer is empty: what it had is there already */
        size_t part = arrival_piece(&s->arrival), direct = least(part, s->in_left);
        pieces[n++] = (struct iovec){.iov_base = arrival_at(&s->arrival), .iov_len = direct};
        if (direct < s->in_left) {
            return n;
        }
        if (s->frame.flags & ERG_FRAME_MORE) {
            room = 4096; /* the next header, and as little of its data as possible */
        }
    }
    pieces[n++] = (struct iovec){.iov_base = s->in + s->in_end, .iov_len = room};
    return n;
}

int erg_session_got(struct erg_session *s, size_t bytes, struct erg_error *err) {
    if (!s->open) {
        return erg_error_set(err, ERG_ECLOSED, "the link is closed");
    }
    s->counts.bytes_in += bytes;
    if (s->in_state == ERG_IN_DATA) {
        size_t direct = least(arrival_piece(&s->arrival), s->in_left);
        size_t part = least(direct, bytes);
        arrival_moved(&s->arrival, part);
        s->in_left -= part;
        bytes -= part;
    }
    s->in_end += bytes;
    return parse(s, err);
}

int erg_session_input(struct erg_session *s, const void *bytes, size_t len, struct erg_error *err) {
    const unsigned char *from = bytes;
    do {
        struct iovec pieces[2];
        size_t n = erg_session_room(s, pieces), taken = 0;
        for (size_t i = 0; i < n && len; i++) {
            size_t part = least(pieces[i].iov_len, len);
            memcpy(pieces[i].iov_base, from, part);
            from += part;
            len -= part;
            taken += part;
        }
        int status = erg_session_got(s, taken, err);
        if (status < 0) {
            return status;
        }
    } while (len && s->open);
    return 0;
}

void erg_session_in_open(struct erg_session *s) {
    s->in_state = ERG_IN_HEADER;
    s->in_start = s->in_end = 0;
    s->in_left = 0;
}

void erg_session_in_close(struct erg_session *s) {
    if (s->arrival.active) {
        arrival_back(&s->arrival);
    }
    erg_session_in_open(s);
}

void erg_session_in_fini(struct erg_session *s) {
    if (s->arrival.active) {
        if (s->ops.drop && !arrival_lacks_head(&s->arrival)) {
            s->ops.drop(s->ctx, s->arrival.type, &s->arrival.to);
        }
        arrival_end(s);
    }
    free(s->in);
}

uint64_t erg_session_received(const struct erg_session *s) {
    return s->received;
}
