/* base/map: numbers to numbers. Open addressing, grows by itself, no key is special. Owned by its user; one thread at a time. */
#ifndef ERG_BASE_MAP_H
#define ERG_BASE_MAP_H

#include <stddef.h>
#include <stdint.h>

struct erg_map_cell {
    uint64_t key, value;
};

/* Zeroed: empty. */
struct erg_map {
    struct erg_map_cell *cells;
    unsigned char *used;
    size_t cap, len; /* cap: 0 or a power of two */
};

void erg_map_fini(struct erg_map *map);
/* Adds or replaces. 0 or ERG_ENOMEM. */
int erg_map_set(struct erg_map *map, uint64_t key, uint64_t value);
/* 1 and *value; 0: not there. */
int erg_map_get(const struct erg_map *map, uint64_t key, uint64_t *value);
/* The same, and it is there no more. */
int erg_map_take(struct erg_map *map, uint64_t key, uint64_t *value);
/* Every pair: start with *at = 0. 1, or 0 at the end. Nothing may be changed meanwhile. */
int erg_map_next(const struct erg_map *map, size_t *at, struct erg_map_cell *cell);

#endif
