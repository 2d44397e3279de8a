/* launch/reach_tcp: the TCP half of reach. */
#ifndef ERG_LAUNCH_REACH_TCP_H
#define ERG_LAUNCH_REACH_TCP_H

#include "launch/reach.h"

/* As erg_reach, until `deadline_ns` on the clock. */
int erg_reach_tcp(const struct erg_reach_spec *spec, uint64_t deadline_ns, int cancel_fd,
                  struct erg_reached *out, struct erg_error *err);

/* The challenge on a connected non-blocking socket, as either side: blocks until both have proved themselves. Also for
 * servers, before anything else is read. ERG_EACCESS, ERG_ETIMEOUT, ERG_ECANCELLED, ERG_ESYSTEM. */
int erg_reach_prove(int fd, struct erg_auth *auth, uint64_t deadline_ns, int cancel_fd,
                    struct erg_error *err);

/* Waits for events on fd: 0, ERG_ETIMEOUT, ERG_ECANCELLED. fd -1: only waits. */
int erg_reach_wait(int fd, short events, uint64_t deadline_ns, int cancel_fd);

#endif
