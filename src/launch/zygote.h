/* launch/zygote: the process that worker processes are forked from.
 *
 * A zygote is a fresh program (spawned, never forked from the user's process, whose threads and locks it has
 * therefore never seen) that has loaded what workers need and waits on descriptor 3 for orders. It is the
 * parent of its workers: it forks them, hands the owner a pidfd of each, and reaps them and reports their status.
 * It has its own session, so a terminal's Ctrl-C reaches neither it nor the workers. When its owner is gone,
 * or hangs up, it kills the workers' process groups and ends. (A zygote that was given wills, see launch/will.h, fulfils
 * them first, unless its owner said goodbye: it is the keeper of a pool with places on other hosts, and never forks.) When the zygote dies, workers run on; they
 * watch the owner themselves.
 */
#ifndef ERG_LAUNCH_ZYGOTE_H
#define ERG_LAUNCH_ZYGOTE_H

#include "base/error.h"

#include <stdint.h>
#include <sys/types.h>

#define ERG_ZYGOTE_FD 3

/* What a forked worker starts life with; it owns the descriptors (all close-on-exec). */
struct erg_worker_start {
    int table_fd;        /* the pool's shared memory */
    int owner_pidfd;     /* the owner's process: gone when readable */
    int bell_fd;         /* eventfd: a write makes the owner's loop look */
    int report_fd;       /* the owner is told here that it is up, or why it is not; closed then */
    uint32_t member;     /* who in the table it is */
    uint32_t max_tasks;  /* leave after so many; 0: never */
    uint32_t generation; /* the owner's count of workers started under this number */
};

/* Serves the owner on `sock`. fork_fn must behave as fork(2) does (Python: with its before/after hooks); its child
 * has default signal handling as the zygote had, own process group, nothing of the zygote's descriptors.
 *   1  in a forked worker: *out is filled; nothing else of the zygote is left
 *   0  in the zygote, when the owner is gone or said goodbye: end the process
 *   <0 in the zygote: it cannot go on, *err says why (the owner has been told if it still listens) */
int erg_zygote_serve(int sock, pid_t (*fork_fn)(void *ctx), void *ctx, struct erg_worker_start *out,
                     struct erg_error *err);

/* A worker's first and last word to the owner on start->report_fd, which is closed: NULL: it is up; else why it
 * cannot be. */
void erg_worker_report(struct erg_worker_start *start, const char *failure);

/* For a zygote that cannot come up (an import fails): tells the owner why, in words; it becomes part of the
 * LaunchError. The process should exit afterwards. */
void erg_zygote_fail(int sock, const char *text);

#endif
