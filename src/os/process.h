/* os/process: process handles. */
#ifndef ERG_OS_PROCESS_H
#define ERG_OS_PROCESS_H

#include <stdint.h>

/* A descriptor that becomes readable when the process ends, close-on-exec; or a negative erg_err (ERG_ENOTFOUND: there is none). */
int erg_process_open(int32_t pid);
/* Sends a signal through it: 0, ERG_ENOTFOUND when it is gone already, ERG_EACCESS. */
int erg_process_signal(int pidfd, int signal);
/* Closes every descriptor from `first` on. Async-signal-safe where the kernel has close_range. */
void erg_process_close_from(int first);

#endif
