#include "flow.h"

static uint32_t home(const struct fl_map *map, const void *key) {
    uint64_t h = ((uint64_t)(uintptr_t)key >> 4) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(h >> 32) & map->mask;
}

static uint32_t find(const struct fl_map *map, PyObject *key) {
    uint32_t i = home(map, key);
    while (map->keys[i] && map->keys[i] != key)
        i = (i + 1) & map->mask;
    return i;
}

PyObject *fl_map_get(const struct fl_map *map, PyObject *key) {
    if (!map->used)
        return NULL;
    uint32_t i = find(map, key);
    return map->keys[i] ? map->values[i] : NULL;
}

int fl_map_has(const struct fl_map *map, PyObject *key) {
    return map->used && map->keys[find(map, key)] != NULL;
}

static int grow(struct fl_map *map) {
    struct fl_map bigger = {.mask = map->keys ? map->mask * 2 + 1 : 31, .used = map->used};
    bigger.keys = PyMem_Calloc((size_t)bigger.mask + 1, sizeof *bigger.keys);
    bigger.values = PyMem_Calloc((size_t)bigger.mask + 1, sizeof *bigger.values);
    if (!bigger.keys || !bigger.values) {
        PyMem_Free(bigger.keys);
        PyMem_Free(bigger.values);
        PyErr_NoMemory();
        return -1;
    }
    for (uint32_t i = 0; map->keys && i <= map->mask; i++)
        if (map->keys[i]) {
            uint32_t j = find(&bigger, map->keys[i]);
            bigger.keys[j] = map->keys[i];
            bigger.values[j] = map->values[i];
        }
    PyMem_Free(map->keys);
    PyMem_Free(map->values);
    *map = bigger;
    return 0;
}

int fl_map_set(struct fl_map *map, PyObject *key, PyObject *value) {
    if ((!map->keys || map->used * 2 > map->mask) && grow(map) < 0)
        return -1;
    uint32_t i = find(map, key);
    if (!map->keys[i]) {
        map->keys[i] = Py_NewRef(key);
        map->used++;
    }
    PyObject *old = map->values[i];
    map->values[i] = Py_XNewRef(value);
    Py_XDECREF(old);
    return 0;
}

void fl_map_clear(struct fl_map *map) {
    struct fl_map old = *map;
    memset(map, 0, sizeof *map);
    for (uint32_t i = 0; old.keys && i <= old.mask; i++)
        if (old.keys[i]) {
            Py_DECREF(old.keys[i]);
            Py_XDECREF(old.values[i]);
        }
    PyMem_Free(old.keys);
    PyMem_Free(old.values);
}
