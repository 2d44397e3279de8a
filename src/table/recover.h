/* table/recover: what the owner does when a member died. */
#ifndef ERG_TABLE_RECOVER_H
#define ERG_TABLE_RECOVER_H

#include "table/record.h"

/* `dead` is a member whose process is gone for good (killed and reaped, or its pidfd is readable). Finishes or repeats
 * whatever it was in the middle of: successors are released, hints re-entered, waiters woken. Tasks it was running are
 * handed to `lost`, outermost first, which decides for each: erg_record_retry or erg_record_fail. Records it had
 * submitted are cancelled and freed (still running ones: asked to stop, and freed when they end). Its free records and the free part of its
 * arena go back, blocks in use go to the owner. The slot is free afterwards.
 * By the owner's process only, one recovery at a time; other threads and members go on meanwhile.
 * Returns how many tasks were lost, or ERG_ESTATE when the slot holds no member. */
int erg_table_recover(struct erg_member *owner, uint32_t dead,
                      void (*lost)(void *ctx, uint32_t index), void *ctx);

#endif
