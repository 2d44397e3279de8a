#include "wire/link.h"

#include <stdlib.h>
#include <string.h>

enum {
    RECORD = ERG_AUTH_RECORD_MAX + ERG_AUTH_RECORD_EXTRA,
    GATHER = 64,
};

struct erg_link {
    struct erg_session *session;
    struct erg_auth *auth; /* NULL: plain */
    unsigned char *out;    /* one sealed record on its way */
    size_t out_start, out_end;
    unsigned char *in; /* bytes of the wire */
    size_t in_len;
    unsigned char *plain; /* a record gathered or opened */
};

int erg_link_new(struct erg_session *session, struct erg_auth *auth, struct erg_link **link) {
    struct erg_link *l = calloc(1, sizeof *l);
    if (!l) {
        erg_auth_free(auth);
        return ERG_ENOMEM;
    }
    l->session = session;
    l->auth = auth;
    if (auth) {
        l->out = malloc(RECORD);
        l->in = malloc(RECORD);
        l->plain = malloc(ERG_AUTH_RECORD_MAX);
        if (!l->out || !l->in || !l->plain) {
            erg_link_free(l);
            return ERG_ENOMEM;
        }
    }
    *link = l;
    return 0;
}

void erg_link_free(struct erg_link *link) {
    if (link) {
        erg_auth_free(link->auth);
        free(link->out);
        free(link->in);
        free(link->plain);
        free(link);
    }
}

int erg_link_trusted(const struct erg_link *link) {
    return !link->auth || erg_auth_wants(link->auth) == 0;
}

/* Seals what the session has, up to one record. */
static void seal_more(struct erg_link *l) {
    struct iovec pieces[GATHER];
    size_t n = erg_session_output(l->session, pieces, GATHER), len = 0;
    for (size_t i = 0; i < n && len < ERG_AUTH_RECORD_MAX; i++) {
        size_t part = pieces[i].iov_len, room = ERG_AUTH_RECORD_MAX - len;
        part = part < room ? part : room;
        memcpy(l->plain + len, pieces[i].iov_base, part);
        len += part;
    }
    if (len) {
        /* written as far as the session is concerned: if the link breaks now, it is repeated */
        erg_session_sent(l->session, len);
        l->out_start = 0;
        l->out_end = erg_auth_seal(l->auth, l->plain, len, l->out);
    }
}

size_t erg_link_output(struct erg_link *l, struct iovec *pieces, size_t most) {
    if (!l->auth) {
        return erg_session_output(l->session, pieces, most);
    }
    if (!most) {
        return 0;
    }
    const unsigned char *bytes;
    size_t len = erg_auth_pending(l->auth, &bytes);
    if (len) {
        pieces[0] = (struct iovec){.iov_base = (unsigned char *)bytes, .iov_len = len};
        return 1;
    }
    if (!erg_link_trusted(l)) {
        return 0;
    }
    if (l->out_start == l->out_end) {
        l->out_start = l->out_end = 0;
        seal_more(l);
    }
    if (l->out_start == l->out_end) {
        return 0;
    }
    pieces[0] =
        (struct iovec){.iov_base = l->out + l->out_start, .iov_len = l->out_end - l->out_start};
    return 1;
}

void erg_link_sent(struct erg_link *l, size_t bytes) {
    const unsigned char *pending;
    if (!l->auth) {
        erg_session_sent(l->session, bytes);
    } else if (erg_auth_pending(l->auth, &pending)) {
        erg_auth_taken(l->auth, bytes);
    } else {
        l->out_start += bytes;
    }
}

size_t erg_link_room(struct erg_link *l, struct iovec pieces[2]) {
    if (!l->auth) {
        return erg_session_room(l->session, pieces);
    }
    size_t want = erg_auth_wants(l->auth);
    if (!want) {
        want = RECORD - l->in_len;
    }
    pieces[0] = (struct iovec){.iov_base = l->in + l->in_len, .iov_len = want};
    return 1;
}

int erg_link_got(struct erg_link *l, size_t bytes, struct erg_error *err) {
    if (!l->auth) {
        return erg_session_got(l->session, bytes, err);
    }
    if (erg_auth_wants(l->auth)) {
        return erg_auth_feed(l->auth, l->in, bytes, err);
    }
    l->in_len += bytes;
    size_t used = 0;
    for (;;) {
        size_t len = 0, plain;
        int status = l->in_len - used < 4 ? 0 : erg_auth_record_len(l->in + used, &len, err);
        if (status == 0 && len && l->in_len - used >= len) {
            status = erg_auth_open(l->auth, l->in + used, len, l->plain, &plain, err);
            used += len;
            if (status == 0) {
                status = erg_session_input(l->session, l->plain, plain, err);
            }
            if (status == 0) {
                continue;
            }
        }
        memmove(l->in, l->in + used, l->in_len - used);
        l->in_len -= used;
        return status;
    }
}
