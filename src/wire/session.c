/* Sending.
 *
 * Short messages become frames at once, in chunks that several frames share. Bulk messages wait in a queue and become
 * frames only as fast as the link takes them, so that whatever is sent meanwhile has to wait for one fragment at most.
 * Frames stay in the list first..last until they are acknowledged:
 *
 *     first ......... cursor ......... last      bulk_first ... bulk_last
 *     written, not     framed, not               not framed
 *     acknowledged     written
 *
 * After a break the cursor goes back to the first frame the peer does not have. */
#include "wire/session_inside.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

/* --- chunks ------------------------------------------------------------------------------------------------ */
static struct erg_chunk *chunk_new(struct erg_session *s, size_t cap) {
    struct erg_chunk *c;
    if (cap == ERG_CHUNK_BYTES && s->spare) {
        c = s->spare;
        s->spare = c->next;
        s->spares--;
    } else {
        c = malloc(sizeof *c + cap);
        if (!c) {
            return NULL;
        }
    }
    memset(c, 0, sizeof *c);
    c->cap = cap;
    c->base = c->bytes;
    return c;
}

static void transfer_unref(struct erg_transfer *t) {
    if (--t->refs == 0) {
        if (t->release) {
            t->release(t->ctx, t->user);
        }
        free(t);
    }
}

static void chunk_free(struct erg_session *s, struct erg_chunk *c) {
    if (c->source) {
        transfer_unref(c->source);
    }
    if (c->cap == ERG_CHUNK_BYTES && s->spares < 4) {
        c->next = s->spare;
        s->spare = c;
        s->spares++;
    } else {
        free(c);
    }
}

static void list_push(struct erg_session *s, struct erg_chunk *c) {
    if (s->last) {
        s->last->next = c;
    } else {
        s->first = c;
    }
    s->last = c;
}

/* `len` bytes more of chunk c, the last one, are to be written. */
static void list_grew(struct erg_session *s, struct erg_chunk *c, size_t len) {
    c->len += len;
    s->list_bytes += len;
    s->list_unsent += len;
    if (!s->cursor) {
        s->cursor = c;
    }
}

/* Gives up what is acknowledged. A chunk that still has room stays as the last one, empty. */
static void list_reap(struct erg_session *s) {
    while (s->first && s->first != s->cursor && s->first->last_seq <= s->acked) {
        struct erg_chunk *c = s->first;
        s->list_bytes -= c->len;
        if (c == s->last && !c->transient && !c->source) {
            c->len = c->sent = 0;
            return;
        }
        s->first = c->next;
        if (!s->first) {
            s->last = NULL;
        }
        chunk_free(s, c);
    }
}

/* The last chunk with room for `need` bytes; a fresh one, of at least `size` bytes, where it has none. */
static struct erg_chunk *list_room(struct erg_session *s, size_t need, size_t size) {
    struct erg_chunk *c = s->last;
    if (c && !c->transient && !c->source && c->cap - c->len >= need) {
        return c;
    }
    c = chunk_new(s, need > size ? need : size);
    if (c) {
        c->last_seq = s->seq;
        list_push(s, c);
    }
    return c;
}

/* --- frames ------------------------------------------------------------------------------------------------- */
static void header(struct erg_session *s, unsigned char *at, uint16_t type, unsigned flags,
                   size_t len) {
    struct erg_frame f = {
        .len = (uint32_t)len,
        .type = type,
        .flags = (uint16_t)flags,
        .seq = type >= ERG_FRAME_NUMBERED ? ++s->seq : 0,
        .ack = s->received,
    };
    s->told = s->received;
    s->untold_bytes = 0;
    s->counts.frames_out++;
    erg_frame_encode(&f, at);
}

unsigned char *erg_session_scratch(struct erg_session *s) {
    if (!s->scratch) {
        s->scratch = malloc(ERG_FRAME_BODY_MAX);
    }
    return s->scratch;
}

/* Packs len bytes into `to` (room for len): the packed length with its prefix, or 0 where it does not pay. */
static size_t pack(struct erg_session *s, const unsigned char *bytes, size_t len,
                   unsigned char *to) {
    if (!s->pack || len <= ERG_PACK_MIN) {
        return 0;
    }
    if (s->pack_skip) {
        s->pack_skip--;
        return 0;
    }
    size_t most = len - len / 8 - 4;
    int packed = LZ4_compress_default((const char *)bytes, (char *)to + 4, (int)len, (int)most);
    if (packed <= 0) {
        s->pack_pause = s->pack_pause < 32 ? 2 * s->pack_pause + 1 : 63;
        s->pack_skip = s->pack_pause;
        return 0;
    }
    s->pack_pause = 0;
    erg_put32(to, (uint32_t)len);
    return (size_t)packed + 4;
}

/* The body of `len` bytes lies in chunk c behind a header's room, at its end: makes the frame of it. */
static void frame_close(struct erg_session *s, struct erg_chunk *c, uint16_t type, unsigned flags,
                        size_t len) {
    unsigned char *at = c->bytes + c->len, *body = at + ERG_FRAME_HEADER;
    s->counts.raw_out += ERG_FRAME_HEADER + len;
    size_t packed = 0;
    if (s->pack && len > ERG_PACK_MIN && erg_session_scratch(s)) {
        packed = pack(s, body, len, s->scratch);
        if (packed) {
            memcpy(body, s->scratch, packed);
            len = packed;
            flags |= ERG_FRAME_LZ4;
        }
    }
    header(s, at, type, flags, len);
    c->last_seq = s->seq;
    list_grew(s, c, ERG_FRAME_HEADER + len);
}

/* A short frame that is not repeated. */
static int frame_transient(struct erg_session *s, uint16_t type, const void *body, size_t len) {
    struct erg_chunk *c = chunk_new(s, ERG_FRAME_HEADER + len);
    if (!c) {
        return ERG_ENOMEM;
    }
    c->transient = 1;
    if (len) {
        memcpy(c->bytes + ERG_FRAME_HEADER, body, len);
    }
    header(s, c->bytes, type, 0, len);
    s->counts.raw_out += ERG_FRAME_HEADER + len;
    c->last_seq = s->seq;
    list_push(s, c);
    list_grew(s, c, ERG_FRAME_HEADER + len);
    return 0;
}

/* --- bulk ---------------------------------------------------------------------------------------------------- */
/* Copies the next `len` bytes of the data. */
static void transfer_copy(struct erg_transfer *t, unsigned char *to, size_t len) {
    size_t piece = t->piece, offset = t->offset;
    while (len) {
        size_t part = t->pieces[piece].iov_len - offset;
        if (part > len) {
            part = len;
        }
        if (part) {
            memcpy(to, (unsigned char *)t->pieces[piece].iov_base + offset, part);
        }
        to += part;
        len -= part;
        offset += part;
        if (offset == t->pieces[piece].iov_len) {
            piece++;
            offset = 0;
        }
    }
    t->piece = piece;
    t->offset = offset;
}

/* Puts chunks that refer to the next `len` bytes into the list. The chunks were allocated before. */
static void transfer_refer(struct erg_session *s, struct erg_transfer *t, struct erg_chunk *chunks,
                           size_t len) {
    while (len) {
        size_t part = t->pieces[t->piece].iov_len - t->offset;
        if (part > len) {
            part = len;
        }
        if (part) {
            struct erg_chunk *c = chunks;
            chunks = c->next;
            c->next = NULL;
            c->base = (unsigned char *)t->pieces[t->piece].iov_base + t->offset;
            c->source = t;
            c->last_seq = s->seq;
            t->refs++;
            list_push(s, c);
            list_grew(s, c, part);
        }
        len -= part;
        t->offset += part;
        if (t->offset == t->pieces[t->piece].iov_len) {
            t->piece++;
            t->offset = 0;
        }
    }
}

/* Chunks for the pieces that `len` bytes from here on lie in; NULL: no memory. */
static int refer_prepare(struct erg_session *s, const struct erg_transfer *t, size_t len,
                         struct erg_chunk **chunks) {
    size_t offset = t->offset;
    *chunks = NULL;
    for (size_t i = t->piece; len; i++, offset = 0) {
        size_t part = t->pieces[i].iov_len - offset;
        if (!part) {
            continue;
        }
        struct erg_chunk *c = chunk_new(s, 0);
        if (!c) {
            while (*chunks) {
                c = *chunks;
                *chunks = c->next;
                free(c);
            }
            return ERG_ENOMEM;
        }
        c->next = *chunks;
        *chunks = c;
        len -= part < len ? part : len;
    }
    return 0;
}

/* How much of the head the next frame gets: all of it where one frame has room for that. */
static size_t transfer_head_part(const struct erg_transfer *t) {
    size_t left = t->head_len - t->head_at;
    int split = t->head_len > ERG_FRAME_BODY_MAX - ERG_FRAME_BULK_PREFIX;
    return split && left > ERG_FRAGMENT_BYTES ? ERG_FRAGMENT_BYTES : left;
}

/* What a frame's body begins with: the prefix, where the message begins, and `part` bytes of its head. */
static void transfer_put_head(struct erg_transfer *t, unsigned char *body, size_t part) {
    if (!t->begun) {
        erg_put64(body, t->left);
        erg_put32(body + 8, (uint32_t)t->head_len);
        body += ERG_FRAME_BULK_PREFIX;
    }
    if (part) {
        memcpy(body, t->head + t->head_at, part);
    }
    t->head_at += part;
    t->begun = 1;
}

/* The next frame of the first bulk message. A head that needs several has them for itself. */
static int transfer_frame(struct erg_session *s) {
    struct erg_transfer *t = s->bulk_first;
    size_t part = transfer_head_part(t), head = (t->begun ? 0 : ERG_FRAME_BULK_PREFIX) + part;
    size_t len = t->left < ERG_FRAGMENT_BYTES ? (size_t)t->left : ERG_FRAGMENT_BYTES;
    if (part && t->head_len > ERG_FRAME_BODY_MAX - ERG_FRAME_BULK_PREFIX) {
        len = 0;
    } else if (head + len > ERG_FRAME_BODY_MAX) {
        len = ERG_FRAME_BODY_MAX - head;
    }
    int packing = s->pack && !s->pack_skip && head + len > ERG_PACK_MIN;
    struct erg_chunk *c, *refs = NULL;
    c = list_room(s, ERG_FRAME_HEADER + head + (packing ? len : 0), 0);
    if (!c || (!packing && refer_prepare(s, t, len, &refs) < 0)) {
        return ERG_ENOMEM;
    }
    unsigned char *body = c->bytes + c->len + ERG_FRAME_HEADER;
    unsigned flags = t->begun ? ERG_FRAME_DATA : ERG_FRAME_BULK;
    if (head) {
        transfer_put_head(t, body, part);
    }
    t->left -= len;
    s->bulk_left -= len + part;
    int whole = !t->left && t->head_at == t->head_len;
    flags |= whole ? 0 : ERG_FRAME_MORE;
    if (packing) {
        transfer_copy(t, body + head, len);
        frame_close(s, c, t->type, flags, head + len);
    } else {
        if (s->pack_skip) {
            s->pack_skip--;
        }
        header(s, body - ERG_FRAME_HEADER, t->type, flags, head + len);
        s->counts.raw_out += ERG_FRAME_HEADER + head + len;
        c->last_seq = s->seq;
        list_grew(s, c, ERG_FRAME_HEADER + head);
        transfer_refer(s, t, refs, len);
    }
    if (whole) {
        s->bulk_first = t->next;
        if (!s->bulk_first) {
            s->bulk_last = NULL;
        }
        transfer_unref(t);
    }
    return 0;
}

/* data_len bytes in the pieces; where they are short they are copied as well, so that they can wait in the queue. */
static struct erg_transfer *transfer_new(uint16_t type, const void *head, size_t head_len,
                                         const struct iovec *data, size_t n, size_t data_len) {
    int copy = data_len <= ERG_SESSION_COPY_MAX;
    size_t align = _Alignof(struct iovec), extra = copy ? 1 : n;
    size_t pieces = (sizeof(struct erg_transfer) + head_len + align - 1) / align * align;
    struct erg_transfer *t = malloc(pieces + extra * sizeof(struct iovec) + (copy ? data_len : 0));
    if (!t) {
        return NULL;
    }
    memset(t, 0, sizeof *t);
    t->refs = 1;
    t->type = type;
    t->left = data_len;
    t->head_len = head_len;
    if (head_len) {
        memcpy(t->head, head, head_len);
    }
    t->pieces = (struct iovec *)((unsigned char *)t + pieces);
    t->n = extra;
    if (!copy) {
        memcpy(t->pieces, data, n * sizeof *data);
        return t;
    }
    unsigned char *to = (unsigned char *)(t->pieces + 1);
    t->pieces[0] = (struct iovec){.iov_base = to, .iov_len = data_len};
    for (size_t i = 0; i < n; i++) {
        if (data[i].iov_len) {
            memcpy(to, data[i].iov_base, data[i].iov_len);
            to += data[i].iov_len;
        }
    }
    return t;
}

/* --- sending ------------------------------------------------------------------------------------------------- */
static int send_short(struct erg_session *s, uint16_t type, const void *head, size_t head_len,
                      const struct iovec *data, size_t n, size_t data_len) {
    struct erg_chunk *c = list_room(s, ERG_FRAME_HEADER + head_len + data_len, ERG_CHUNK_BYTES);
    if (!c) {
        return ERG_ENOMEM;
    }
    unsigned char *to = c->bytes + c->len + ERG_FRAME_HEADER;
    if (head_len) {
        memcpy(to, head, head_len);
        to += head_len;
    }
    for (size_t i = 0; i < n; i++) {
        if (data[i].iov_len) {
            memcpy(to, data[i].iov_base, data[i].iov_len);
            to += data[i].iov_len;
        }
    }
    frame_close(s, c, type, 0, head_len + data_len);
    return 0;
}

int erg_session_send(struct erg_session *s, enum erg_lane lane, uint16_t type, const void *head,
                     size_t head_len, const struct iovec *data, size_t n,
                     void (*release)(void *ctx, void *user), void *ctx, void *user) {
    uint64_t data_len = 0;
    for (size_t i = 0; i < n; i++) {
        data_len += data[i].iov_len;
    }
    if (head_len >
            (type < ERG_FRAME_NUMBERED ? (size_t)ERG_FRAME_BODY_MAX : ERG_SESSION_HEAD_MAX) ||
        (type < ERG_FRAME_NUMBERED && data_len)) {
        return ERG_EINVALID;
    }
    int by_copy = data_len <= ERG_SESSION_COPY_MAX;
    int whole = !erg_session_is_bulk(head_len, data_len);
    int status = 0;
    if (type < ERG_FRAME_NUMBERED) {
        status = frame_transient(s, type, head, head_len);
    } else if (whole && (lane == ERG_LANE_FIRST || !s->bulk_first)) {
        status = send_short(s, type, head, head_len, data, n, (size_t)data_len);
    } else {
        struct erg_transfer *t = transfer_new(type, head, head_len, data, n, (size_t)data_len);
        if (!t) {
            return ERG_ENOMEM;
        }
        if (!by_copy) {
            t->release = release;
            t->ctx = ctx;
            t->user = user;
        }
        if (s->bulk_last) {
            s->bulk_last->next = t;
        } else {
            s->bulk_first = t;
        }
        s->bulk_last = t;
        s->bulk_left += data_len + head_len;
    }
    if (status == 0 && by_copy && release) {
        release(ctx, user);
    }
    return status;
}

/* The rest of a chunk that refers to the caller's memory, as bytes of our own. NULL: no memory. */
static struct erg_chunk *chunk_own(const struct erg_chunk *c) {
    size_t rest = c->len - c->sent;
    struct erg_chunk *own = malloc(sizeof *own + rest);
    if (own) {
        *own =
            (struct erg_chunk){.next = c->next, .last_seq = c->last_seq, .len = rest, .cap = rest};
        own->base = own->bytes;
        memcpy(own->bytes, c->base + c->sent, rest);
    }
    return own;
}

int erg_session_let_go(struct erg_session *s) {
    struct erg_chunk *before = NULL;
    int status = 0;
    while (s->bulk_first) {
        struct erg_transfer *t = s->bulk_first;
        s->bulk_first = t->next;
        transfer_unref(t);
    }
    s->bulk_last = NULL;
    s->bulk_left = 0;
    for (struct erg_chunk *c = s->first; c; before = c, c = c->next) {
        struct erg_chunk *own = c->source && c->sent < c->len ? chunk_own(c) : NULL;
        if (c->source && c->sent > 0) {
            s->lost = c->last_seq;
        }
        if (own) {
            s->list_bytes -= c->sent;
            *(before ? &before->next : &s->first) = own;
            s->last = s->last == c ? own : s->last;
            s->cursor = s->cursor == c ? own : s->cursor;
            chunk_free(s, c);
            c = own;
        } else if (c->source) { /* written, or there is no memory */
            status = c->sent < c->len ? ERG_ENOMEM : status;
            transfer_unref(c->source);
            c->source = NULL;
            c->transient = 1; /* there is nothing behind it, and no room for more */
            s->list_unsent -= c->len - c->sent;
            c->sent = c->len;
        }
    }
    return status;
}

int erg_session_writable(const struct erg_session *s) {
    return s->list_bytes + s->bulk_left <= s->bound;
}
uint64_t erg_session_queued(const struct erg_session *s) {
    return s->list_bytes + s->bulk_left;
}
uint64_t erg_session_unsent(const struct erg_session *s) {
    return s->list_unsent + s->bulk_left;
}
void erg_session_compress(struct erg_session *s, int on) {
    s->pack = on;
    s->pack_skip = s->pack_pause = 0;
}

void erg_session_tick(struct erg_session *s) {
    if (s->resumed && s->told != s->received) {
        frame_transient(s, ERG_FRAME_ACK, NULL, 0); /* no memory: next time */
    }
}

/* --- bytes out ------------------------------------------------------------------------------------------------- */
size_t erg_session_output(struct erg_session *s, struct iovec *pieces, size_t most) {
    size_t n = 0;
    if (!s->open || !most) {
        return 0;
    }
    if (s->hello) {
        pieces[n++] = (struct iovec){.iov_base = s->hello->bytes + s->hello->sent,
                                     .iov_len = s->hello->len - s->hello->sent};
    }
    if (!s->resumed) {
        return n;
    }
    if (s->untold_bytes >= ERG_ACK_BYTES || s->received - s->told >= ERG_ACK_FRAMES) {
        erg_session_tick(s);
    }
    while (s->bulk_first && s->list_unsent < ERG_FRAGMENT_BYTES && transfer_frame(s) == 0) {
    }
    for (struct erg_chunk *c = s->cursor; c && n < most; c = c->next) {
        if (c->sent < c->len) {
            pieces[n++] = (struct iovec){.iov_base = (unsigned char *)c->base + c->sent,
                                         .iov_len = c->len - c->sent};
        }
    }
    return n;
}

void erg_session_sent(struct erg_session *s, size_t bytes) {
    s->counts.bytes_out += bytes;
    if (s->hello) {
        size_t left = s->hello->len - s->hello->sent, part = bytes < left ? bytes : left;
        s->hello->sent += part;
        bytes -= part;
        if (s->hello->sent == s->hello->len) {
            free(s->hello);
            s->hello = NULL;
        }
    }
    while (s->cursor) {
        struct erg_chunk *c = s->cursor;
        size_t left = c->len - c->sent, part = bytes < left ? bytes : left;
        c->sent += part;
        s->list_unsent -= part;
        bytes -= part;
        if (part && c->last_seq > s->written) {
            s->written = c->last_seq;
        }
        if (c->sent < c->len) {
            break;
        }
        s->cursor = c->next;
    }
    list_reap(s);
}

/* --- links ----------------------------------------------------------------------------------------------------- */
int erg_session_open_link(struct erg_session *s, const void *hello, size_t len) {
    if (s->open) {
        return ERG_ESTATE;
    }
    struct erg_chunk *c = malloc(sizeof *c + ERG_FRAME_HEADER + len);
    if (!c) {
        return ERG_ENOMEM;
    }
    memset(c, 0, sizeof *c);
    erg_frame_encode(&(struct erg_frame){.len = (uint32_t)len, .type = ERG_FRAME_HELLO}, c->bytes);
    memcpy(c->bytes + ERG_FRAME_HEADER, hello, len);
    c->len = ERG_FRAME_HEADER + len;
    s->hello = c;
    s->open = 1;
    s->resumed = 0;
    erg_session_in_open(s);
    return 0;
}

void erg_session_acknowledged(struct erg_session *s, uint64_t ack) {
    if (ack > s->acked) {
        s->acked = ack;
        list_reap(s);
    }
}

/* Where in a chunk of its own bytes the first frame above `seq` begins. */
static size_t frame_after(const struct erg_chunk *c, uint64_t seq) {
    size_t at = 0;
    while (at + ERG_FRAME_HEADER <= c->len && erg_get64(c->bytes + at + 8) <= seq) {
        at += ERG_FRAME_HEADER + erg_get32(c->bytes + at);
    }
    return at < c->len ? at : c->len;
}

int erg_session_resume(struct erg_session *s, uint64_t received, struct erg_error *err) {
    if (!s->open || s->resumed) {
        return erg_error_set(err, ERG_ESTATE, "no link waits to be resumed");
    }
    if (received < s->lost) {
        return erg_error_set(err, ERG_ESTATE, "what the peer lacks has been given up");
    }
    /* bytes of a write that failed half-way may have arrived all the same: all that has a number may be there */
    if (received < s->acked || received > s->seq) {
        return erg_error_set(err, ERG_EPROTOCOL,
                             "the peer claims to have %llu frames of this session, but it has "
                             "acknowledged %llu of %llu",
                             (unsigned long long)received, (unsigned long long)s->acked,
                             (unsigned long long)s->seq);
    }
    s->counts.repeated += s->written > received ? s->written - received : 0;
    /* everything counts as unsent, what was acknowledged meanwhile goes, and what is for one link only is skipped */
    s->cursor = NULL;
    for (struct erg_chunk *c = s->first; c; c = c->next) {
        c->sent = c->transient ? c->len : 0;
    }
    erg_session_acknowledged(s, received);
    s->list_unsent = 0;
    for (struct erg_chunk *c = s->first; c; c = c->next) {
        if (!c->transient && !c->source && c->len) {
            c->sent = frame_after(c, received);
        }
        s->list_unsent += c->len - c->sent;
        if (!s->cursor && c->sent < c->len) {
            s->cursor = c;
        }
    }
    s->resumed = 1;
    return 0;
}

void erg_session_close_link(struct erg_session *s) {
    if (!s->open) {
        return;
    }
    s->open = s->resumed = 0;
    free(s->hello);
    s->hello = NULL;
    erg_session_in_close(s);
}

int erg_session_new(const struct erg_session_ops *ops, void *ctx, size_t bound,
                    struct erg_session **session) {
    struct erg_session *s = calloc(1, sizeof *s);
    if (!s) {
        return ERG_ENOMEM;
    }
    s->in_cap = ERG_INPUT_BYTES;
    s->in = malloc(s->in_cap);
    if (!s->in) {
        free(s);
        return ERG_ENOMEM;
    }
    s->ops = *ops;
    s->ctx = ctx;
    s->bound = bound ? bound : (size_t)64 << 20;
    *session = s;
    return 0;
}

void erg_session_free(struct erg_session *s) {
    if (!s) {
        return;
    }
    erg_session_close_link(s);
    while (s->first) {
        struct erg_chunk *c = s->first;
        s->first = c->next;
        chunk_free(s, c);
    }
    while (s->bulk_first) {
        struct erg_transfer *t = s->bulk_first;
        s->bulk_first = t->next;
        transfer_unref(t);
    }
    while (s->spare) {
        struct erg_chunk *c = s->spare;
        s->spare = c->next;
        free(c);
    }
    erg_session_in_fini(s);
    free(s->scratch);
    free(s);
}

void erg_session_counts(const struct erg_session *s, struct erg_session_counts *out) {
    *out = s->counts;
}
