/* Names to small numbers: every distinct string is stored once and has the number of its first sight.
 *
 * The table owns its strings until it is freed. One thread. */
#ifndef ERG_CLI_REPORT_INTERN_H
#define ERG_CLI_REPORT_INTERN_H

#include <stddef.h>
#include <stdint.h>

struct erg_intern {
    char **names; /* by number, `count` of them */
    uint32_t count;
    uint32_t names_size;
    uint32_t *slots; /* number + 1, 0 where free; a power of two of them */
    uint32_t slots_size;
};

/* The caller's storage, all zero, is an empty table. */
void erg_intern_fini(struct erg_intern *table);

/* The number of `name`, which is copied when it is new; negative erg_err when memory ran out. */
int64_t erg_intern_put(struct erg_intern *table, const char *name);

#endif
