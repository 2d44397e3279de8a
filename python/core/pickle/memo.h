/* The pickler's memo: object identity → index. Open addressing by pointer, linear probing, grown at half load.
 * Keys are strong references, so that an address cannot be used again while the memo lives. Indexes are given
 * by the pickler (they count MEMOIZE opcodes), because an object that nobody can meet again takes an index
 * without taking a slot. */
#ifndef ERG_CORE_PICKLE_MEMO_H
#define ERG_CORE_PICKLE_MEMO_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

struct pk_memo_slot {
    PyObject *key; /* strong; NULL: free */
    uint32_t index;
};

enum { PK_MEMO_TOUCHED = 64 };

struct pk_memo {
    struct pk_memo_slot *slots; /* NULL until the first insertion */
    uint32_t mask;              /* number of slots - 1 */
    uint32_t shift;             /* 64 - log2(number of slots) */
    uint32_t used;
    uint8_t grown; /* since it was empty: touched says nothing */
    uint16_t
        touched[PK_MEMO_TOUCHED]; /* the slots filled first: emptying a big table that few used */
};

/* Room for twice as many. 0, or -1 with MemoryError. */
int pk_memo_grow(struct pk_memo *memo);
/* Drops all entries; keeps the table while it is small. */
void pk_memo_clear(struct pk_memo *memo);
/* Drops the entries with this index or a greater one. 1: there was no memory to do that in, and all are gone. */
int pk_memo_trim(struct pk_memo *memo, uint32_t from);
/* Drops all entries and the table. */
void pk_memo_fini(struct pk_memo *memo);
int pk_memo_traverse(const struct pk_memo *memo, visitproc visit, void *arg);

static inline uint32_t pk_memo_home(const struct pk_memo *memo, const void *key) {
    return (uint32_t)((((uint64_t)(uintptr_t)key >> 4) * UINT64_C(0x9E3779B97F4A7C15)) >>
                      memo->shift);
}

/* 1 and *index when key is there, else 0. */
static inline int pk_memo_find(const struct pk_memo *memo, PyObject *key, uint32_t *index) {
    if (!memo->slots)
        return 0;
    for (uint32_t i = pk_memo_home(memo, key);; i = (i + 1) & memo->mask) {
        const struct pk_memo_slot *slot = &memo->slots[i];
        if (slot->key == key) {
            *index = slot->index;
            return 1;
        }
        if (!slot->key)
            return 0;
    }
}

/* Adds key, or gives it another index. 0, or -1 with MemoryError. */
static inline int pk_memo_put(struct pk_memo *memo, PyObject *key, uint32_t index) {
    if ((!memo->slots || memo->used * 2 > memo->mask) && pk_memo_grow(memo) < 0)
        return -1;
    for (uint32_t i = pk_memo_home(memo, key);; i = (i + 1) & memo->mask) {
        struct pk_memo_slot *slot = &memo->slots[i];
        if (!slot->key) {
            slot->key = Py_NewRef(key);
            slot->index = index;
            if (memo->used < PK_MEMO_TOUCHED)
                memo->touched[memo->used] = (uint16_t)i;
            memo->used++;
            return 0;
        }
        if (slot->key == key) {
            slot->index = index;
            return 0;
        }
    }
}

#endif
