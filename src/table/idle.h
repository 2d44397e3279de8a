/* table/idle: how a member that runs out of work wakes whoever feeds a map.
 *
 * A feeder sleeps on the record whose end it waits for. While it does, that record stands in one of the table's few
 * feeder words; a member that begins to look for work in vain takes it out, clears the record's WAITER flag and wakes
 * its sleepers, to all of whom this is a wake-up without a reason, as any may be. A member that finds no feeder pays one look at
 * a cache line. Where more feeders sleep than there are words, and when the member dies half-way, the sleep lasts as long
 * as the caller said: give it a limit.
 *
 * In the owner's process, by any thread; the ringing half (erg_idle_ring) is claim.c's. */
#ifndef ERG_TABLE_IDLE_H
#define ERG_TABLE_IDLE_H

#include "table/record.h"

/* Waits, as erg_record_wait does, until the record is done (0) or more than `known` members that serve one of `queues`
 * (ERG_QUEUE_BIT mask) sleep or spin for work (1). ERG_ETIMEOUT, ERG_EINTR, ERG_ECLOSED. */
int erg_idle_wait(struct erg_member *m, erg_handle handle, uint32_t queues, uint32_t known,
                  int64_t timeout_ns);

#endif
