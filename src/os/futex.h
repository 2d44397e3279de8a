/* os/futex: sleeping on a 32-bit word that processes share. */
#ifndef ERG_OS_FUTEX_H
#define ERG_OS_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* Sleeps while *word == expected. timeout_ns < 0: for ever. 0: woken, or the word was different (check again: wake-ups
 * may be spurious); ERG_ETIMEOUT; ERG_EINTR. */
int erg_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ns);
/* Wakes up to n sleepers; returns how many it woke. Async-signal-safe. */
int erg_futex_wake(const _Atomic uint32_t *word, int n);

#endif
