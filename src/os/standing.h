/* os/standing: what a process passes on to those it starts: whose rights it has, how much it may use, and where and
 * how urgently it runs. Of the last two (processors, nice value, scheduling policy) every thread has its own. */
#ifndef ERG_OS_STANDING_H
#define ERG_OS_STANDING_H

#include <stdint.h>

struct erg_standing_thread {
    unsigned char processors[1024]; /* a bit for each: up to 8192 */
    int32_t nice, policy, priority;
};

struct erg_standing {
    uint32_t users[3], groups[3]; /* real, effective, saved */
    uint64_t others;              /* a digest of the supplementary groups */
    uint64_t limits[16][2];       /* soft and hard, by RLIMIT_ number */
    uint64_t root[2];             /* device and inode of "/" */
    struct erg_standing_thread thread;
};

/* Those of the calling thread. Takes some microseconds, and never fails: what cannot be read is as if it never changed. */
void erg_standing_read(struct erg_standing *out);
/* 1: they are the same. */
int erg_standing_same(const struct erg_standing *a, const struct erg_standing *b);
int erg_standing_thread_same(const struct erg_standing_thread *a,
                             const struct erg_standing_thread *b);
/* The calling thread runs where and how that says, as far as it may. There may be no way back. */
void erg_standing_take(const struct erg_standing_thread *thread);

#endif
