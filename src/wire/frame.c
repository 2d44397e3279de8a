#include "wire/frame.h"

void erg_frame_encode(const struct erg_frame *frame, unsigned char out[ERG_FRAME_HEADER]) {
    erg_put32(out, frame->len);
    erg_put16(out + 4, frame->type);
    erg_put16(out + 6, frame->flags);
    erg_put64(out + 8, frame->seq);
    erg_put64(out + 16, frame->ack);
}

int erg_frame_decode(const unsigned char in[ERG_FRAME_HEADER], struct erg_frame *frame,
                     struct erg_error *err) {
    const unsigned known = ERG_FRAME_LZ4 | ERG_FRAME_BULK | ERG_FRAME_DATA | ERG_FRAME_MORE;
    struct erg_frame f = {
        .len = erg_get32(in),
        .type = erg_get16(in + 4),
        .flags = erg_get16(in + 6),
        .seq = erg_get64(in + 8),
        .ack = erg_get64(in + 16),
    };
    if (f.len > ERG_FRAME_BODY_MAX) {
        return erg_error_set(err, ERG_EPROTOCOL,
                             "the peer announces a frame of %u bytes, more than the protocol has: "
                             "something other than Ergon writes to this link",
                             f.len);
    }
    int bulk = (f.flags & ERG_FRAME_BULK) != 0, data = (f.flags & ERG_FRAME_DATA) != 0;
    if (f.type == 0 || (f.flags & ~known) || (bulk && data) ||
        ((f.flags & ERG_FRAME_MORE) && !bulk && !data) || ((bulk || data) && f.seq == 0)) {
        return erg_error_set(err, ERG_EPROTOCOL,
                             "the peer sends a frame of type %u with flags %x, which cannot be",
                             f.type, f.flags);
    }
    *frame = f;
    return 0;
}
