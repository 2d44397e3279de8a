#include "base/map.h"
#include "base/error.h"
#include <stdlib.h>

enum { LEAST = 16 };

static size_t home(const struct erg_map *map, uint64_t key) {
    key ^= key >> 32;
    key *= 0x9e3779b97f4a7c15u;
    return (size_t)(key >> 20) & (map->cap - 1);
}

/* Where the key is, or the free cell where it would go. The map has a free cell. */
static size_t find(const struct erg_map *map, uint64_t key) {
    size_t i = home(map, key);
    while (map->used[i] && map->cells[i].key != key)
        i = (i + 1) & (map->cap - 1);
    return i;
}

void erg_map_fini(struct erg_map *map) {
    free(map->cells);
    free(map->used);
    *map = (struct erg_map){0};
}

static int grow(struct erg_map *map) {
    struct erg_map bigger = {.cap = map->cap ? map->cap * 2 : LEAST, .len = map->len};
    bigger.cells = malloc(bigger.cap * sizeof *bigger.cells);
    bigger.used = calloc(bigger.cap, 1);
    if (!bigger.cells || !bigger.used) {
        erg_map_fini(&bigger);
        return ERG_ENOMEM;
    }
    for (size_t i = 0; i < map->cap; i++)
        if (map->used[i]) {
            size_t to = find(&bigger, map->cells[i].key);
            bigger.cells[to] = map->cells[i];
            bigger.used[to] = 1;
        }
    free(map->cells);
    free(map->used);
    *map = bigger;
    return 0;
}

int erg_map_set(struct erg_map *map, uint64_t key, uint64_t value) {
    if (map->len * 4 >= map->cap * 3 && grow(map) < 0)
        return ERG_ENOMEM;
    size_t i = find(map, key);
    map->len += !map->used[i];
    map->used[i] = 1;
    map->cells[i] = (struct erg_map_cell){key, value};
    return 0;
}

int erg_map_get(const struct erg_map *map, uint64_t key, uint64_t *value) {
    if (map->cap == 0)
        return 0;
    size_t i = find(map, key);
    if (map->used[i])
        *value = map->cells[i].value;
    return map->used[i];
}

int erg_map_take(struct erg_map *map, uint64_t key, uint64_t *value) {
    if (!erg_map_get(map, key, value))
        return 0;
    size_t hole = find(map, key), mask = map->cap - 1;
    /* What stands behind it and is not at home moves up, so that no search ends early. */
    for (size_t i = (hole + 1) & mask; map->used[i]; i = (i + 1) & mask) {
        size_t at = home(map, map->cells[i].key);
        if (((i - at) & mask) < ((i - hole) & mask))
            continue;
        map->cells[hole] = map->cells[i];
        hole = i;
    }
    map->used[hole] = 0;
    map->len--;
    return 1;
}

int erg_map_next(const struct erg_map *map, size_t *at, struct erg_map_cell *cell) {
    while (*at < map->cap && !map->used[*at])
        ++*at;
    if (*at >= map->cap)
        return 0;
    *cell = map->cells[(*at)++];
    return 1;
}
