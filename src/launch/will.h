/* launch/will: what is to be said to agents on other hosts when their client has died.
 *
 * An agent whose link ends cannot know whether its client has died or only lost the network, so it waits for as long as a
 * client may try to come back. A client therefore leaves a *will* with a process of its own that outlives it (the
 * keeper): how each agent is reached, and the session it belongs to. When the client is gone the keeper goes there once
 * more and says so (ERG_ROLE_HEIR, wire/message.h), and the agent ends at once, whatever state the client's link was in.
 *
 *     client   erg_keeper_start    erg_keeper_tell (for each agent, anew when it changes)    erg_keeper_end
 *     keeper   a zygote (launch/zygote.h) that is never asked to fork; erg_will_fulfil when its owner has died
 *
 * A will is a file without a name that only the two processes have. */
#ifndef ERG_LAUNCH_WILL_H
#define ERG_LAUNCH_WILL_H

#include "launch/reach.h"
#include "launch/spawn.h"

#include <stddef.h>
#include <stdint.h>

/* --- in the client: one thread at a time --- */
struct erg_keeper {
    struct erg_spawned process; /* pid 0: there is none */
};
#define ERG_KEEPER_NONE ((struct erg_keeper){{.pid = 0, .pidfd = -1, .sock = -1}})

/* argv: of a zygote. 0, ERG_ELAUNCH, ERG_ESYSTEM. */
int erg_keeper_start(struct erg_keeper *keeper, char *const *argv, struct erg_error *err);
/* What is to be done for agent `number`: spec (its session is whose agent it is), the tag of the client's programs, and for
 * how long it is to be tried. spec NULL: nothing any more. 0; ERG_EAGAIN: later; ERG_ECLOSED: the keeper is gone;
 * ERG_ENOMEM, ERG_ESYSTEM. */
int erg_keeper_tell(struct erg_keeper *keeper, uint32_t number, const struct erg_reach_spec *spec,
                    const char *tag, int64_t limit_ns);
/* Its socket has something to say. 1: it is gone, and *keeper is NONE. */
int erg_keeper_look(struct erg_keeper *keeper);
/* Nothing is to be done any more: ends and reaps it. None is fine. */
void erg_keeper_end(struct erg_keeper *keeper);
/* In a forked child: the descriptors are closed, nothing else. */
void erg_keeper_forget(struct erg_keeper *keeper);

/* --- on either side --- */
/* The spec as a file without a name: its descriptor, or ERG_ENOMEM, ERG_ESYSTEM. */
int erg_will_write(const struct erg_reach_spec *spec, const char *tag, int64_t limit_ns);

struct erg_will {
    struct erg_reach_spec spec; /* what it points to lies in `bytes`, argv excepted */
    const char *tag;
    int64_t limit_ns;
    unsigned char *bytes;
    size_t len;
};
/* 0, ERG_EPROTOCOL, ERG_ENOMEM, ERG_ESYSTEM; the descriptor stays the caller's. */
int erg_will_read(int fd, struct erg_will *will);
void erg_will_free(struct erg_will *will);

/* --- in the keeper --- */
/* Fulfils them, all at once; returns when that is done or was given up. Descriptors below 0 are skipped. */
void erg_will_fulfil(const int *fds, size_t n);

#endif
