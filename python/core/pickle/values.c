#include "values.h"

/* The slots are at most a quarter full, so that few are looked at, and half full where they no longer fit into the nearest caches. */
enum { FIRST = 32, KEEP = 1 << 14, LARGE = 1 << 15 };

static void set_limit(struct pk_values *values) {
    uint64_t size = values->slots ? (uint64_t)values->mask + 1 : 0;
    uint64_t full = size >= LARGE ? size / 2 : size / 4;
    values->limit = full < values->cap ? (uint32_t)full : values->cap;
}

static int grow_slots(struct pk_values *values) {
    uint64_t size = values->slots ? ((uint64_t)values->mask + 1) * 2 : FIRST;
    struct pk_value_slot *slots = size <= UINT32_MAX ? PyMem_Calloc(size, sizeof *slots) : NULL;
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    struct pk_value_slot *old = values->slots;
    uint32_t old_mask = values->mask, mask = (uint32_t)(size - 1);
    for (uint32_t i = 0; old && i <= old_mask; i++) {
        uint32_t j = old[i].hash & mask;
        while (old[i].entry && slots[j].entry)
            j = (j + 1) & mask;
        if (old[i].entry)
            slots[j] = old[i];
    }
    values->slots = slots;
    values->mask = mask;
    PyMem_Free(old);
    return 0;
}

static int grow_entries(struct pk_values *values) {
    size_t cap = values->cap ? (size_t)values->cap * 2 : FIRST;
    struct pk_value_entry *entries =
        cap < UINT32_MAX ? PyMem_Realloc(values->entries, cap * sizeof *entries) : NULL;
    if (!entries) {
        PyErr_NoMemory();
        return -1;
    }
    values->entries = entries;
    values->cap = (uint32_t)cap;
    return 0;
}

int pk_values_grow(struct pk_values *values) {
    if (values->n == values->cap && grow_entries(values) < 0)
        return -1;
    set_limit(values);
    if (values->n >= values->limit && grow_slots(values) < 0)
        return -1;
    set_limit(values);
    return 0;
}

void pk_values_clear(struct pk_values *values) {
    uint32_t size = values->mask + 1, used = values->n;
    values->n = 0;
    values->noutlines = 0;
    if (values->capoutlines > KEEP) {
        PyMem_Free(values->outlines);
        values->outlines = NULL;
        values->capoutlines = 0;
    }
    if (values->capwords > KEEP) {
        PyMem_Free(values->words);
        values->words = NULL;
        values->capwords = 0;
    }
    if (values->cap > KEEP) {
        PyMem_Free(values->entries);
        values->entries = NULL;
        values->cap = 0;
    }
    if (!used) {
        set_limit(values);
        return;
    }
    if (size > KEEP) {
        PyMem_Free(values->slots);
        values->slots = NULL;
        values->mask = 0;
        set_limit(values);
        return;
    }
    memset(values->slots, 0, size * sizeof *values->slots);
    if (size > FIRST && used < size / 16)
        values->mask =
            size / 2 -
            1; /* emptying it takes as long as it is large: the next one may be small, too */
    set_limit(values);
}

void pk_values_trim(struct pk_values *values, uint32_t n, size_t noutlines) {
    if (values->n <= n)
        return;
    struct pk_value_slot *slots = PyMem_Calloc((size_t)values->mask + 1, sizeof *slots);
    if (!slots) {
        pk_values_clear(values); /* what is written again is no error */
        return;
    }
    for (uint32_t i = 0; i <= values->mask; i++) {
        uint32_t j = values->slots[i].hash & values->mask, entry = values->slots[i].entry;
        if (entry == 0 || entry > n)
            continue;
        while (slots[j].entry)
            j = (j + 1) & values->mask;
        slots[j] = values->slots[i];
    }
    PyMem_Free(values->slots);
    values->slots = slots;
    values->n = n;
    values->noutlines = noutlines;
}

void pk_values_fini(struct pk_values *values) {
    PyMem_Free(values->slots);
    PyMem_Free(values->entries);
    PyMem_Free(values->outlines);
    PyMem_Free(values->words);
    *values = (struct pk_values){0};
}
