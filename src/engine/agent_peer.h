/* engine/agent_peer: what an agent gives to other agents of its client, and takes from them, without its client in between.
 *
 * An agent listens only when its client says so with a range of ports, on one address: the one by which the client reached
 * it. Whoever connects proves with a key, which the client makes and hands to both over its own links, that the same client
 * sent it, before anything else is read (wire/auth.h); everything after that is sealed. The one that connected asks for
 * values and objects (FETCH), which go from arena to socket to arena. What does not come, for whatever reason, is said to
 * the client (FETCHED), which then passes it on itself.
 *
 * A link that says nothing for a few seconds while something is expected of it is given up; one that nobody needs is
 * closed. None is ever waited for. agent->lock is held around every function here. */
#ifndef ERG_ENGINE_AGENT_PEER_H
#define ERG_ENGINE_AGENT_PEER_H

#include "engine/agent_inside.h"

#include <poll.h>

enum { ERG_PEERS_MAX = 64, ERG_PEERS_POLLS = ERG_PEERS_MAX + 1 };

/* Listens on the first free port of the range and tells the client where. What goes wrong is printed at the client: data
 * goes through it then. */
void erg_peers_listen(struct erg_agent *a, uint16_t low, uint16_t high);
/* Closes every link, and the port. What is on its way to others is let go. */
void erg_peers_close(struct erg_agent *a);

/* From the client: PEER, and FETCH from another agent. */
int erg_peers_on_peer(struct erg_agent *a, const unsigned char *body, size_t len,
                      struct erg_error *err);
int erg_peers_fetch(struct erg_agent *a, const struct erg_msg_ids *ids);

/* The descriptors to be polled, at most ERG_PEERS_POLLS of them, and what poll said of them. */
size_t erg_peers_poll(const struct erg_agent *a, struct pollfd *fds);
void erg_peers_serve(struct erg_agent *a, const struct pollfd *fds, size_t n);
/* When to serve at the latest; INT64_MAX. */
int64_t erg_peers_due(const struct erg_agent *a);

#endif
