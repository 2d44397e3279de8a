/* What `ergon top` sees: the task tables of running programs, read from outside.
 *
 * A pool's table is shared memory without a name; the kernel shows it among the descriptors of its owner, where the same
 * user (and root) may open it. It is read with pread, not mapped: nothing is written, nothing is allocated, and the program
 * notices nothing. What is read is a moment's picture without locks: counts are exact, states may be a little apart. */
#ifndef ERG_CLI_TOP_H
#define ERG_CLI_TOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { ERG_TOP_TEXT = 160, ERG_TOP_WORKERS = 1024, ERG_TOP_PLACES = 4096 };

enum erg_top_state { ERG_TOP_STARTING, ERG_TOP_IDLE, ERG_TOP_BUSY, ERG_TOP_LEAVING };

struct erg_top_worker {
    uint32_t number, serial;
    uint32_t kind; /* enum erg_member_kind */
    int32_t pid;
    enum erg_top_state state;
    uint64_t tasks, busy_ns, bytes_in, bytes_out;
    uint64_t running_ns; /* how long its task runs already */
};

struct erg_top_place {
    char name[128];
    uint32_t state; /* enum erg_place_state */
    uint32_t slots, leased, cores;
    uint64_t tasks, busy_ns, bytes_in, bytes_out;
};

struct erg_top_pool {
    int32_t pid; /* the owner */
    uint64_t inode;
    char program[ERG_TOP_TEXT];
    uint64_t queued;                              /* ready, and nobody took them yet */
    uint64_t tasks, bytes_in, bytes_out, busy_ns; /* of all workers there are now */
    uint64_t memory_bytes;
    uint32_t records_used;
    bool closed;
    size_t workers_len;
    struct erg_top_worker *workers;
    size_t places_len;
    struct erg_top_place *places; /* other hosts, in the order the pool was given them */
};

struct erg_top {
    uint64_t now_ns;
    size_t pools_len;
    struct erg_top_pool *pools;
};

/* All pools this user may see, or those of one process (pid 0: all). 0 or a negative erg_err. */
int erg_top_read(int32_t pid, struct erg_top *top, struct erg_error *err);
void erg_top_free(struct erg_top *top);

/* The same pool, or worker of it, in another picture; NULL when it was not there. */
const struct erg_top_pool *erg_top_find(const struct erg_top *top, const struct erg_top_pool *pool);
const struct erg_top_worker *erg_top_worker_find(const struct erg_top_pool *pool,
                                                 const struct erg_top_worker *worker);

#endif
