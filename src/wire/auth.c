/* The handshake as auth.h draws it. Both sides collect what was said in `said`: nonces and ephemeral keys of client and
 * server, in that order; the proofs are keyed hashes of a role's word and that. */
#include "wire/auth.h"

#include "wire/frame.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

enum { GREETING = 72 + ERG_AUTH_SESSION, PROOF = 32, SAID = 2 * GREETING };
static const unsigned char magic[8] = {'E', 'R', 'G', 'N', 'a', 'u', 't', '1'};

struct erg_auth {
    enum erg_auth_role role;
    unsigned char key[ERG_AUTH_KEY];
    unsigned char secret[crypto_scalarmult_SCALARBYTES]; /* ephemeral; wiped when it was used */
    unsigned char said[SAID];                            /* the client's greeting, the server's */
    unsigned char out[ERG_AUTH_HANDSHAKE_MAX];
    size_t out_start, out_end;
    unsigned char in[ERG_AUTH_HANDSHAKE_MAX];
    size_t in_len, in_want; /* in_want 0: the handshake is over */
    crypto_secretstream_xchacha20poly1305_state seal, open;
    unsigned char seal_key[32], open_key[32];
};

_Static_assert(crypto_secretstream_xchacha20poly1305_ABYTES == ERG_AUTH_RECORD_EXTRA - 4,
               "records are as long as auth.h says");
_Static_assert(crypto_secretstream_xchacha20poly1305_KEYBYTES == 32 &&
                   crypto_scalarmult_BYTES == 32 && crypto_scalarmult_SCALARBYTES == 32,
               "keys have 32 bytes");

static int refused(struct erg_error *err) {
    return erg_error_set(err, ERG_EACCESS,
                         "the other side does not prove that it has the key: both sides need the "
                         "same key file");
}

/* BLAKE2b of a word and everything said, keyed. `secret` (the X25519 result) may be NULL. */
static void digest(const struct erg_auth *a, const char word[8], const unsigned char *secret,
                   unsigned char out[32]) {
    crypto_generichash_state h;
    crypto_generichash_init(&h, a->key, sizeof a->key, 32);
    crypto_generichash_update(&h, (const unsigned char *)word, 8);
    crypto_generichash_update(&h, a->said, sizeof a->said);
    if (secret) {
        crypto_generichash_update(&h, secret, 32);
    }
    crypto_generichash_final(&h, out, 32);
    sodium_memzero(&h, sizeof h);
}

static void prove(const struct erg_auth *a, enum erg_auth_role role, unsigned char out[PROOF]) {
    digest(a, role == ERG_AUTH_CLIENT ? "clientP" : "serverP", NULL, out);
}

static void say(struct erg_auth *a, const unsigned char *bytes, size_t len) {
    memcpy(a->out + a->out_end, bytes, len);
    a->out_end += len;
}

/* magic, nonce, ephemeral public key, session: into `said` and out. */
static void greet(struct erg_auth *a, const unsigned char *session) {
    unsigned char *at = a->said + (a->role == ERG_AUTH_SERVER ? GREETING : 0);
    memcpy(at, magic, sizeof magic);
    randombytes_buf(at + 8, 32);
    randombytes_buf(a->secret, sizeof a->secret);
    crypto_scalarmult_base(at + 40, a->secret);
    if (session) {
        memcpy(at + 72, session, ERG_AUTH_SESSION);
    }
    say(a, at, GREETING);
}

int erg_auth_new(enum erg_auth_role role, const unsigned char key[ERG_AUTH_KEY],
                 const unsigned char session[ERG_AUTH_SESSION], struct erg_auth **auth) {
    if (sodium_init() < 0) {
        return ERG_ESYSTEM;
    }
    struct erg_auth *a = calloc(1, sizeof *a);
    if (!a) {
        return ERG_ENOMEM;
    }
    a->role = role;
    memcpy(a->key, key, sizeof a->key);
    if (role == ERG_AUTH_CLIENT) {
        greet(a, session);
        a->in_want = GREETING + PROOF;
    } else {
        a->in_want = GREETING;
    }
    *auth = a;
    return 0;
}

void erg_auth_free(struct erg_auth *auth) {
    if (auth) {
        sodium_memzero(auth, sizeof *auth);
        free(auth);
    }
}

size_t erg_auth_pending(const struct erg_auth *auth, const unsigned char **bytes) {
    *bytes = auth->out + auth->out_start;
    return auth->out_end - auth->out_start;
}

void erg_auth_taken(struct erg_auth *auth, size_t bytes) {
    auth->out_start += bytes;
    if (auth->out_start == auth->out_end) {
        auth->out_start = auth->out_end = 0;
    }
}

const unsigned char *erg_auth_session(const struct erg_auth *auth) {
    return auth->said + 72;
}

size_t erg_auth_wants(const struct erg_auth *auth) {
    return auth->in_want - auth->in_len;
}

/* Both greetings are there: a key for each direction. The stream's public header is a hash as well, so that it need
 * not travel. */
static int make_keys(struct erg_auth *a, struct erg_error *err) {
    const unsigned char *peer = a->said + (a->role == ERG_AUTH_CLIENT ? GREETING : 0) + 40;
    unsigned char shared[32], header[32];
    if (crypto_scalarmult(shared, a->secret, peer) != 0) {
        return refused(err); /* a public key that makes every secret zero */
    }
    int client = a->role == ERG_AUTH_CLIENT;
    digest(a, client ? "clientK" : "serverK", shared, a->seal_key);
    digest(a, client ? "serverK" : "clientK", shared, a->open_key);
    digest(a, client ? "clientH" : "serverH", shared, header);
    /* both directions pull a state from key and header; pulling and pushing states are alike */
    crypto_secretstream_xchacha20poly1305_init_pull(&a->seal, header, a->seal_key);
    digest(a, client ? "serverH" : "clientH", shared, header);
    crypto_secretstream_xchacha20poly1305_init_pull(&a->open, header, a->open_key);
    sodium_memzero(shared, sizeof shared);
    sodium_memzero(a->secret, sizeof a->secret);
    sodium_memzero(a->seal_key, sizeof a->seal_key);
    sodium_memzero(a->open_key, sizeof a->open_key);
    return 0;
}

static int check_proof(const struct erg_auth *a, enum erg_auth_role of, const unsigned char *proof,
                       struct erg_error *err) {
    unsigned char right[PROOF];
    prove(a, of, right);
    return sodium_memcmp(right, proof, PROOF) == 0 ? 0 : refused(err);
}

/* A whole message of the handshake is in a->in. */
static int step(struct erg_auth *a, struct erg_error *err) {
    unsigned char proof[PROOF];
    a->in_len = 0;
    if (a->role == ERG_AUTH_CLIENT) {
        memcpy(a->said + GREETING, a->in, GREETING);
        if (memcmp(a->in, magic, sizeof magic) != 0 ||
            check_proof(a, ERG_AUTH_SERVER, a->in + GREETING, err) < 0) {
            return refused(err);
        }
        prove(a, ERG_AUTH_CLIENT, proof);
        say(a, proof, PROOF);
        a->in_want = 0;
        return make_keys(a, err);
    }
    if (a->in_want == GREETING) {
        memcpy(a->said, a->in, GREETING);
        if (memcmp(a->in, magic, sizeof magic) != 0) {
            return refused(err);
        }
        greet(a, a->said + 72);
        prove(a, ERG_AUTH_SERVER, proof);
        say(a, proof, PROOF);
        a->in_want = PROOF;
        return 0;
    }
    a->in_want = 0;
    int status = check_proof(a, ERG_AUTH_CLIENT, a->in, err);
    return status < 0 ? status : make_keys(a, err);
}

int erg_auth_feed(struct erg_auth *a, const unsigned char *bytes, size_t len,
                  struct erg_error *err) {
    if (len > erg_auth_wants(a)) {
        return erg_error_set(err, ERG_EINVALID, "more bytes than the handshake has");
    }
    memcpy(a->in + a->in_len, bytes, len);
    a->in_len += len;
    return a->in_len == a->in_want ? step(a, err) : 0;
}

size_t erg_auth_seal(struct erg_auth *a, const unsigned char *bytes, size_t len,
                     unsigned char *out) {
    erg_put32(out, (uint32_t)len);
    crypto_secretstream_xchacha20poly1305_push(&a->seal, out + 4, NULL, bytes, len, out, 4, 0);
    return len + ERG_AUTH_RECORD_EXTRA;
}

int erg_auth_record_len(const unsigned char first[4], size_t *len, struct erg_error *err) {
    uint32_t plain = erg_get32(first);
    if (plain == 0 || plain > ERG_AUTH_RECORD_MAX) {
        return erg_error_set(err, ERG_EACCESS, "bytes on an authenticated link were changed");
    }
    *len = plain + ERG_AUTH_RECORD_EXTRA;
    return 0;
}

int erg_auth_open(struct erg_auth *a, const unsigned char *record, size_t len, unsigned char *out,
                  size_t *plain, struct erg_error *err) {
    unsigned long long got;
    unsigned char tag;
    if (len < ERG_AUTH_RECORD_EXTRA ||
        crypto_secretstream_xchacha20poly1305_pull(&a->open, out, &got, &tag, record + 4, len - 4,
                                                   record, 4) != 0) {
        return erg_error_set(err, ERG_EACCESS, "bytes on an authenticated link were changed");
    }
    *plain = (size_t)got;
    return 0;
}
