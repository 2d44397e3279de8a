/* launch/watch_owner: no worker outlives its owner. */
#ifndef ERG_LAUNCH_WATCH_OWNER_H
#define ERG_LAUNCH_WATCH_OWNER_H

#include "base/error.h"

/* Starts a small thread (all signals blocked) that kills this process and the process group it leads as soon as the
 * process behind the pidfd is gone. Takes the descriptor over. 0, ERG_ENOMEM, ERG_ESYSTEM. */
int erg_worker_watch_owner(int owner_pidfd);

#endif
