#include "cli/report/intern.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static uint64_t hash_of(const char *name) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (; *name; name++) {
        hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
    }
    return hash ^ hash >> 32;
}

/* The slot that holds `name`, or the free one where it belongs. */
static uint32_t *slot_of(const struct erg_intern *table, const char *name) {
    uint32_t mask = table->slots_size - 1;
    uint32_t at = (uint32_t)hash_of(name) & mask;
    while (table->slots[at] && strcmp(table->names[table->slots[at] - 1], name) != 0) {
        at = (at + 1) & mask;
    }
    return &table->slots[at];
}

static int grow(struct erg_intern *table) {
    uint32_t size = table->slots_size ? table->slots_size * 2 : 64;
    char **names = realloc(table->names, size / 2 * sizeof *names);
    if (!names) {
        return ERG_ENOMEM;
    }
    table->names = names;
    uint32_t *slots = calloc(size, sizeof *slots);
    if (!slots) {
        return ERG_ENOMEM;
    }
    free(table->slots);
    table->slots = slots;
    table->slots_size = size;
    table->names_size = size / 2;
    for (uint32_t i = 0; i < table->count; i++) {
        *slot_of(table, table->names[i]) = i + 1;
    }
    return 0;
}

int64_t erg_intern_put(struct erg_intern *table, const char *name) {
    if (table->count == table->names_size) {
        int rc = grow(table);
        if (rc < 0) {
            return rc;
        }
    }
    uint32_t *slot = slot_of(table, name);
    if (!*slot) {
        char *copy = strdup(name);
        if (!copy) {
            return ERG_ENOMEM;
        }
        table->names[table->count++] = copy;
        *slot = table->count;
    }
    return *slot - 1;
}

void erg_intern_fini(struct erg_intern *table) {
    for (uint32_t i = 0; i < table->count; i++) {
        free(table->names[i]);
    }
    free(table->names);
    free(table->slots);
    memset(table, 0, sizeof *table);
}
