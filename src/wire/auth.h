/* wire/auth: who is at the other end of a TCP connection, and a sealed channel with them.
 *
 * Both sides hold the same 32-byte key. The handshake has a fixed length and nothing in it is parsed:
 *
 *     client -> server   magic 8 | nonce 32 | ephemeral X25519 key 32 | session 16                           (88)
 *     server -> client   magic 8 | nonce 32 | ephemeral X25519 key 32 | session 16 | proof 32               (120)
 *     client -> server   proof 32                                                                            (32)
 *
 * The session is the client's and says whose agent it wants; the server gives it back. A proof is BLAKE2b keyed with the shared key over the prover's role and everything said so far: it cannot be
 * reflected, replayed or taken from another handshake. Proofs are compared in constant time. Each direction has a
 * key of its own, from the shared key, the X25519 secret and the whole handshake, so that a key lost later opens
 * nothing recorded earlier. After that bytes travel as records: u32 length, and libsodium's secretstream. A wrong byte
 * anywhere ends the link with ERG_EACCESS.
 *
 * Pure state machine, no descriptor; one thread at a time. Key functions read files: any thread. */
#ifndef ERG_WIRE_AUTH_H
#define ERG_WIRE_AUTH_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

enum {
    ERG_AUTH_KEY = 32,
    ERG_AUTH_RECORD_MAX = 64 << 10, /* plain bytes in one record */
    ERG_AUTH_RECORD_EXTRA = 4 + 17, /* what a record adds to them */
    ERG_AUTH_SESSION = 16,
    ERG_AUTH_HANDSHAKE_MAX = 120,
};

struct erg_auth;

enum erg_auth_role { ERG_AUTH_CLIENT, ERG_AUTH_SERVER };

/* The key is copied, and wiped by erg_auth_free. session: the client's; NULL: zeros. 0, ERG_ENOMEM, ERG_ESYSTEM (no
 * randomness). */
int erg_auth_new(enum erg_auth_role role, const unsigned char key[ERG_AUTH_KEY],
                 const unsigned char session[ERG_AUTH_SESSION], struct erg_auth **auth);
void erg_auth_free(struct erg_auth *auth);

/* Bytes of the handshake that wait to be written, and how many were taken. */
size_t erg_auth_pending(const struct erg_auth *auth, const unsigned char **bytes);
void erg_auth_taken(struct erg_auth *auth, size_t bytes);
/* How many bytes of the peer's handshake are still wanted: never read more than these before they were fed. 0: the
 * peer has proved itself. */
size_t erg_auth_wants(const struct erg_auth *auth);
/* At most erg_auth_wants() bytes. ERG_EACCESS: this is not somebody who has the key. */
int erg_auth_feed(struct erg_auth *auth, const unsigned char *bytes, size_t len,
                  struct erg_error *err);

/* The session the client named; the server's to look at once erg_auth_wants() is 0. */
const unsigned char *erg_auth_session(const struct erg_auth *auth);

/* Once erg_auth_wants() is 0. Seals len <= ERG_AUTH_RECORD_MAX bytes into out (len + ERG_AUTH_RECORD_EXTRA). */
size_t erg_auth_seal(struct erg_auth *auth, const unsigned char *bytes, size_t len,
                     unsigned char *out);
/* The length of the record whose first four bytes are given, with them; ERG_EACCESS when it cannot be one. */
int erg_auth_record_len(const unsigned char first[4], size_t *len, struct erg_error *err);
/* Opens one whole record into out; *plain says how many bytes. ERG_EACCESS. */
int erg_auth_open(struct erg_auth *auth, const unsigned char *record, size_t len,
                  unsigned char *out, size_t *plain, struct erg_error *err);

/* --- keys --------------------------------------------------------------------------------------------------- */
/* A key file holds 64 hexadecimal digits and must belong to the caller, with nobody else allowed to read or write it.
 * ERG_EACCESS, ERG_ENOTFOUND, ERG_ECONFIG say what is wrong with it and what to do. */
int erg_auth_key_read(const char *path, unsigned char key[ERG_AUTH_KEY], struct erg_error *err);
/* A fresh random key in a new file of mode 0600, and into key. ERG_EEXISTS when there is one. */
int erg_auth_key_make(const char *path, unsigned char key[ERG_AUTH_KEY], struct erg_error *err);

#endif
