/* wire/link: a session's bytes on one link, plain or sealed.
 *
 * What comes from ssh's stdin/stdout or a Unix socket is plain: the session's own bytes. What comes from TCP is sealed:
 * a mutual challenge first (wire/auth.h), then every byte encrypted and authenticated. Whoever owns the descriptors
 * (engine/agent.c, engine/remote.c) reads and writes as the link says and need not know which it is. Pure state
 * machine, one thread at a time. The session must outlive the link. */
#ifndef ERG_WIRE_LINK_H
#define ERG_WIRE_LINK_H

#include "wire/auth.h"
#include "wire/session.h"

struct erg_link;

/* auth: NULL for a plain link; otherwise taken over (also on failure). The caller opens the session's link itself
 * (erg_session_open_link), before or after this. 0, ERG_ENOMEM. */
int erg_link_new(struct erg_session *session, struct erg_auth *auth, struct erg_link **link);
/* Does not touch the session. NULL is fine. */
void erg_link_free(struct erg_link *link);

/* As erg_session_output/sent/room/got, for the bytes on the wire. erg_link_got: ERG_EACCESS when the peer does not
 * hold the key, ERG_EPROTOCOL when its bytes make no sense: close the connection without a word. */
size_t erg_link_output(struct erg_link *link, struct iovec *pieces, size_t most);
void erg_link_sent(struct erg_link *link, size_t bytes);
size_t erg_link_room(struct erg_link *link, struct iovec pieces[2]);
int erg_link_got(struct erg_link *link, size_t bytes, struct erg_error *err);

/* 1 once the peer has proved itself (a plain link: from the start). */
int erg_link_trusted(const struct erg_link *link);

#endif
