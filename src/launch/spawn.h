/* launch/spawn: starts a zygote's program.
 *
 * posix_spawn of a fresh program: default signal dispositions, empty signal mask, a session of its own,
 * stdin /dev/null, stdout and stderr the caller's, a socket as descriptor 3, every other descriptor closed.
 */
#ifndef ERG_LAUNCH_SPAWN_H
#define ERG_LAUNCH_SPAWN_H

#include "base/error.h"

#include <sys/types.h>

struct erg_spawned {
    pid_t pid;
    int pidfd; /* -1: the process was gone (and reaped by somebody) before it could be opened */
    int sock;  /* our end, non-blocking; both close-on-exec */
};

/* argv[0] is the program's path. 0, or ERG_ELAUNCH/ERG_ESYSTEM with the reason. The process is a child of this
 * one: it has to be reaped (erg_spawn_reap) when the pidfd says that it ended. Any thread. */
int erg_spawn(char *const *argv, struct erg_spawned *out, struct erg_error *err);

/* Reaps it if it has ended: 1 and *status (wait(2) format); 1 and -1 if somebody else has reaped it; 0 if it lives. */
int erg_spawn_reap(const struct erg_spawned *s, int *status);

/* "exited with status 1", "was killed by signal 9 (SIGKILL)", …: what a wait(2) status says, as the end of a sentence. */
const char *erg_spawn_status_text(int status, char *buffer, size_t size);

#endif
