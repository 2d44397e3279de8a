/* launch/daemon: a process that outlives the connections to it.
 *
 * An agent has to go on when the ssh session it was started by breaks. So what ssh starts only *attaches*: it finds the
 * daemon of its session, or becomes the parent of a new one, hands its stdin and stdout over (SCM_RIGHTS), and waits.
 *
 *     ssh ── attaching process ──(descriptors)──> daemon: agent, zygote, workers
 *
 * They meet at a Unix socket in the abstract namespace, named after the user and the session: it has no file that could
 * stay behind however a process dies, its name is taken atomically, and both ends check that the other belongs to the same
 * user. The attaching process ends when its ssh session does, when a later one takes its place, or when the daemon ends.
 * The daemon leads a session of its own, ignores hang-ups, ends on SIGTERM, and otherwise when its `run` returns.
 *
 * What the daemon is belongs to the caller: see the ops. */
#ifndef ERG_LAUNCH_DAEMON_H
#define ERG_LAUNCH_DAEMON_H

#include "base/error.h"

#include <stddef.h>

struct erg_daemon_ops {
    /* In the daemon, once, before anybody is attached; stderr is still the first attaching process's, and gets *err's
     * text when this fails. Other threads of the attaching process do not exist here. */
    int (*make)(void *ctx, struct erg_error *err);
    /* A connection: the descriptors are taken over. From a thread of the daemon's own. */
    int (*attach)(void *ctx, int fd_in, int fd_out, struct erg_error *err);
    /* What the daemon and whatever it starts write on stdout (fd 1) and stderr (2); same thread. NULL: it goes to
     * /dev/null. */
    void (*output)(void *ctx, int fd, const char *bytes, size_t len);
    /* Serves, in the main thread, until it is over. */
    void (*run)(void *ctx);
    /* Ends what make made: after run, when nothing else is called any more. */
    void (*end)(void *ctx);
    /* Makes run return; in a signal handler. */
    void (*stop)(void *ctx);
};

/* Attaches fd_in and fd_out (which it closes) to the daemon of a session; writes the line "ERGON1 ready" to fd_out
 * (launch/reach.h) right before the daemon gets it. Blocks until that connection is over. 0: it came about; ERG_ELAUNCH:
 * the daemon could not be made (its stderr was ours); ERG_EACCESS: somebody else's process has its name; ERG_ESYSTEM.
 * In the daemon this never returns. The calling process must not have other threads that hold locks. */
int erg_daemon_attach(const unsigned char session[16], int fd_in, int fd_out,
                      const struct erg_daemon_ops *ops, void *ctx, struct erg_error *err);

#endif
