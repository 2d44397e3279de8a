/* launch/guard: ends a program and all it has started when we can do it no more.
 *
 * What reaches other hosts (ssh, a command) is started in a session of its own, so a group of processes belongs to it.
 * While we live we end that group ourselves. When we are killed, a program that never looks at its input, or a
 * child of it, would run on: the guard is a shell that waits for the end of a pipe only we write to, and then ends the
 * group: after a second in which a program that sees its link end can do so by itself, with SIGTERM, two seconds later with SIGKILL.
 *
 * A guard is started before its program, so that no moment is left out, and is a child of this process. One thread at a time. */
#ifndef ERG_LAUNCH_GUARD_H
#define ERG_LAUNCH_GUARD_H

#include <sys/types.h>

struct erg_guard {
    pid_t pid;     /* 0: there is none */
    int pidfd, fd; /* close-on-exec; -1 */
};
#define ERG_GUARD_NONE ((struct erg_guard){.pid = 0, .pidfd = -1, .fd = -1})

/* 0; negative: there is none, and *guard is NONE. */
int erg_guard_start(struct erg_guard *guard);
/* Whose end it is to see to: the leader of a group. */
void erg_guard_name(struct erg_guard *guard, pid_t leader);
/* Its group is gone, or will be: ends and reaps it. None is fine. */
void erg_guard_end(struct erg_guard *guard);
/* In a forked child: the descriptors are closed, nothing else. */
void erg_guard_forget(struct erg_guard *guard);

#endif
