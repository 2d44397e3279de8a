/* engine/engine: the owner's side of everything that is a process.
 *
 * An engine has one loop thread (libuv, all signals blocked in it, never any Python) which starts zygotes and
 * workers, watches them through pidfds, recovers the table when one dies, enforces time limits and replaces what
 * was lost. It is made when the first pool is opened and kept, with its zygotes, for later pools.
 *
 * An engine belongs to the process that made it. In a child forked from that process every call on it or on
 * its pools returns ERG_EFORKED, nothing the child does reaches the parent's pools, and the child can make
 * engines of its own.
 */
#ifndef ERG_ENGINE_ENGINE_H
#define ERG_ENGINE_ENGINE_H

#include "base/error.h"

#include <sys/types.h>

struct erg_engine;

/* Starts an engine: its loop thread runs, no process yet. Any thread. */
int erg_engine_new(struct erg_engine **engine, struct erg_error *err);

/* Terminates pools that are still open (their workers get grace_ns, then SIGKILL), says goodbye to the zygotes,
 * waits until all of these processes are gone and frees everything, pools included: no pool of this engine may
 * be in use in another thread. Bounded by a few seconds whatever the workers do. NULL is fine. In a forked child
 * it only frees what can be freed there. */
void erg_engine_free(struct erg_engine *engine);

/* 1 in a child forked from the process that made the engine (there it is of no use), else 0. */
int erg_engine_foreign(const struct erg_engine *engine);

#endif
