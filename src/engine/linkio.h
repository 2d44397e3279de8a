/* engine/linkio: reading and writing the descriptors of one link, without waiting.
 *
 * Owns the descriptors and the struct erg_link on them, not the session. One thread at a time. */
#ifndef ERG_ENGINE_LINKIO_H
#define ERG_ENGINE_LINKIO_H

#include "wire/link.h"

struct erg_linkio {
    int in, out; /* -1: there is none; may be the same */
    struct erg_link *link;
    struct erg_session *session; /* the link's */
    int blocked;                 /* not everything could be written: wait until `out` is writable */
    int packing;                 /* the link is slow: bodies are packed */
    size_t
        most; /* so many bytes are written at once at most, then it counts as blocked; 0: any number */
    uint64_t behind_since,
        behind_bytes; /* when it last began to be behind, 0: it is not; written since */
};

#define ERG_LINKIO_NONE ((struct erg_linkio){.in = -1, .out = -1})

/* Takes the descriptors over and makes them non-blocking. auth as in erg_link_new. */
int erg_linkio_open(struct erg_linkio *io, struct erg_session *session, int in, int out,
                    struct erg_auth *auth, struct erg_error *err);
/* Closes both. Fine if there is none. */
void erg_linkio_close(struct erg_linkio *io);
static inline int erg_linkio_up(const struct erg_linkio *io) {
    return io->in >= 0;
}
/* Writes what there is; sets blocked. 0, ERG_ECLOSED when the other side is gone, ERG_ESYSTEM. */
int erg_linkio_flush(struct erg_linkio *io, struct erg_error *err);
/* Reads what is there, but not for ever. 0: nothing is left; 1: there may be more; ERG_ECLOSED at the end of the
 * stream; else what erg_link_got says. *bytes (may be NULL) counts up by what was read. */
int erg_linkio_fill(struct erg_linkio *io, uint64_t *bytes, struct erg_error *err);

#endif
