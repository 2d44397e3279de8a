/* os/shm: anonymous shared memory behind a descriptor. */
#ifndef ERG_OS_SHM_H
#define ERG_OS_SHM_H

#include "base/error.h"
#include <stdint.h>

/* A sparse memory file without a name, close-on-exec, readable and writable by this user only, of `size` bytes for ever. *fd is
 * the caller's. */
int erg_shm_create(const char *label, uint64_t size, int *fd, struct erg_error *err);
/* Maps all of it, shared. NULL with words. */
void *erg_shm_map(int fd, uint64_t size, struct erg_error *err);
/* Makes sure [offset, offset + len) has memory behind it and, where the kernel can, is mapped for writing. 0 or ERG_ENOMEM. */
int erg_shm_populate(int fd, void *base, uint64_t offset, uint64_t len);
/* Gives the memory of [offset, offset + len) back; it reads as zeros. */
void erg_shm_punch(int fd, void *base, uint64_t offset, uint64_t len);
/* The most address space one mapping should take, from the process's limits. */
uint64_t erg_shm_limit(void);

#endif
