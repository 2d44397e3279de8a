/* engine/peer_address: what an agent's address means to other agents.
 *
 * An agent says under which address it listens (agent_peer.c); whether another one can get there depends on what kind of address
 * that is. Pure; any thread. */
#ifndef ERG_ENGINE_PEER_ADDRESS_H
#define ERG_ENGINE_PEER_ADDRESS_H

#include <stddef.h>

enum erg_peer_scope {
    ERG_PEER_NOWHERE,   /* no address of anybody: unspecified, multicast, or not to be read */
    ERG_PEER_SAME_HOST, /* loopback; or of one link, with a name of an interface that only its own host knows (fe80::1%eth0) */
    ERG_PEER_ANYWHERE,
};

/* Of a numeric address, as getnameinfo writes them. */
enum erg_peer_scope erg_peer_scope(const char *address);

/* An IPv4 address that is dressed as one of IPv6 (::ffff:10.0.0.2), as sockets that serve both give it, becomes itself. */
void erg_peer_address_plain(char *address);

#endif
