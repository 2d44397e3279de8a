/* engine/remote: a pool's places on other hosts.
 *
 * To the table they are one member of kind PLACE; here each has a link to an agent, which is reconnected when it breaks,
 * and tasks on their way. Two threads of the pool's own: one sleeps on the member's wake word and sends what becomes
 * ready at once, the other reads the links and watches the time. Neither ever takes the engine's lock: callers may hold
 * it. All functions may be called from any thread unless they say otherwise. */
#ifndef ERG_ENGINE_REMOTE_H
#define ERG_ENGINE_REMOTE_H

#include "base/error.h"
#include "engine/pool.h"

struct erg_remote;

/* The pool's places, and what it wants of their workers, are copied. Starts connecting at once. `owner` is the pool's member 0. bell_fd: an eventfd to be written when
 * something changed that the pool's loop wants to look at; stays the caller's. */
int erg_remote_new(struct erg_member *owner, const struct erg_pool_spec *spec, int bell_fd,
                   struct erg_remote **remote, struct erg_error *err);
/* The program that tells agents of this process's death (launch/will.h), once there are any; must outlive `remote`. */
void erg_remote_keep(struct erg_remote *remote, char *const *keeper_argv);
/* Begins to end: says goodbye to the agents. cancel: tasks that are there are finished as cancelled first; else there
 * must be none. Idempotent. */
void erg_remote_stop(struct erg_remote *remote, int cancel);
/* Who is told of every run that ends while the table is traced: see task_elsewhere in runtime.h. To be called before
 * the first task is entered. */
void erg_remote_on_run(struct erg_remote *remote,
                       void (*fn)(void *ctx, const struct erg_elsewhere *run), void *ctx);
/* Who answers what workers elsewhere ask (engine/agent_ask.h): called by a thread of its own with nothing locked; it sets
 * *answer to malloc'ed bytes, or leaves NULL: nobody knows. To be called before the first task is entered. */
typedef void erg_asked_fn(void *ctx, const char *place, const unsigned char *bytes, size_t len,
                          void **answer, size_t *answer_len);
void erg_remote_on_ask(struct erg_remote *remote, erg_asked_fn *fn, void *ctx);
/* 1 once every agent, program and link is gone. */
int erg_remote_down(const struct erg_remote *remote);
/* After that: connects anew. */
void erg_remote_restart(struct erg_remote *remote);
/* Ends it (waits for that, a few seconds at most) and frees it. NULL is fine. */
void erg_remote_free(struct erg_remote *remote);

/* Tasks that are at a place. */
uint32_t erg_remote_leased(const struct erg_remote *remote);
/* Tasks that should be on their way besides one for each worker. */
uint32_t erg_remote_beyond(const struct erg_remote *remote);
/* Fetches all results that are still elsewhere; how many there are. */
uint32_t erg_remote_bring_home(struct erg_remote *remote);
/* Tasks that ever came back. */
uint64_t erg_remote_finished(const struct erg_remote *remote);
/* Workers of places that are up; *starting: places that may still come up. */
int erg_remote_up(const struct erg_remote *remote, int *starting);
/* Whether a place is up or was, however shortly: one that was lost had been up, one that never was has failed. */
int erg_remote_was_up(const struct erg_remote *remote);
/* Why places are not there, in one sentence for all of them; "" if they are. */
const char *erg_remote_failures(struct erg_remote *remote, char *text, size_t size);
/* The task runs at a place: asks that it be interrupted. 1: asked; 0: it is at none (any more). */
int erg_remote_cancel(struct erg_remote *remote, erg_handle task);
int erg_remote_info(struct erg_remote *remote, struct erg_place_info *out, int max);
/* Queue for tasks that only the places whose name or host matches one of `names` (n of them) may run. ERG_ENOTFOUND
 * when none does, with words; ERG_EFULL when there are too many such sets. */
int erg_remote_queue(struct erg_remote *remote, const char *const *names, int n, uint32_t *queue,
                     struct erg_error *err);
/* Queues (ERG_QUEUE_BIT mask) of such sets of which no place is left. */
uint32_t erg_remote_dead_queues(struct erg_remote *remote);

/* Around fork: lock, unlock in the parent; in the child all descriptors are closed and nothing else may be called. */
void erg_remote_before_fork(struct erg_remote *remote);
void erg_remote_after_fork_parent(struct erg_remote *remote);
void erg_remote_after_fork_child(struct erg_remote *remote);

#endif
