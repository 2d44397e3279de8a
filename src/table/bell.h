/* table/bell: what the owner's waiting threads sleep on when they wait for more than one thing: completions of
 * records with NOTIFY, and whatever else the owner's process rings it for. Workers ring it for completions only:
 * one that merely runs out of work does so after every single call, and would pay for a wake-up each time.
 *
 *     seen = erg_bell_prepare(t);            // announce the sleep first …
 *     if (nothing is there) erg_bell_wait(t, seen, timeout);   // … then look once more, then sleep
 */
#ifndef ERG_TABLE_BELL_H
#define ERG_TABLE_BELL_H

#include "table/member.h"

/* The next completed record with NOTIFY: 1, or 0 when there is none. Each is handed out once, to whichever thread
 * asks first. Owner's process only. */
int erg_bell_take(struct erg_table *t, erg_handle *handle);

uint32_t erg_bell_prepare(struct erg_table *t);
/* Sleeps until the bell rings (at once if it did since `seen`). 0, ERG_ETIMEOUT, ERG_EINTR, ERG_ECLOSED in a forked child. */
int erg_bell_wait(struct erg_table *t, uint32_t seen, int64_t timeout_ns);
/* Wakes them all; a plain load when nobody sleeps. */
void erg_bell_ring(struct erg_table *t);

#endif
