#include "memo.h"

enum { FIRST_LOG2 = 6, KEEP_LOG2 = 13 };

int pk_memo_grow(struct pk_memo *memo) {
    uint32_t log2 = memo->slots ? 65 - memo->shift : FIRST_LOG2;
    if (log2 > 31) {
        PyErr_NoMemory();
        return -1;
    }
    struct pk_memo_slot *slots = PyMem_Calloc((size_t)1 << log2, sizeof *slots);
    if (!slots) {
        PyErr_NoMemory();
        return -1;
    }
    struct pk_memo bigger = {slots, ((uint32_t)1 << log2) - 1, 64 - log2, memo->used};
    for (uint32_t i = 0; memo->slots && i <= memo->mask; i++) {
        if (!memo->slots[i].key)
            continue;
        uint32_t j = pk_memo_home(&bigger, memo->slots[i].key);
        while (slots[j].key)
            j = (j + 1) & bigger.mask;
        slots[j] = memo->slots[i];
    }
    PyMem_Free(memo->slots);
    *memo = bigger;
    return 0;
}

/* Dropping a reference may run any code, which may use this memo again: the table is taken out first. */
static void drop(struct pk_memo_slot *slots, uint32_t mask, uint32_t used) {
    for (uint32_t i = 0; used > 0 && i <= mask; i++) {
        if (!slots[i].key)
            continue;
        PyObject *key = slots[i].key;
        slots[i].key = NULL;
        used--;
        Py_DECREF(key);
    }
}

void pk_memo_clear(struct pk_memo *memo) {
    struct pk_memo old = *memo;
    if (!old.slots || !old.used)
        return;
    *memo = (struct pk_memo){0};
    drop(old.slots, old.mask, old.used);
    if (!memo->slots && old.shift >= 64 - KEEP_LOG2) {
        old.used = 0;
        *memo = old;
    } else {
        PyMem_Free(old.slots);
    }
}

void pk_memo_fini(struct pk_memo *memo) {
    struct pk_memo old = *memo;
    *memo = (struct pk_memo){0};
    if (old.slots)
        drop(old.slots, old.mask, old.used);
    PyMem_Free(old.slots);
}

int pk_memo_traverse(const struct pk_memo *memo, visitproc visit, void *arg) {
    for (uint32_t i = 0; memo->slots && i <= memo->mask; i++)
        Py_VISIT(memo->slots[i].key);
    return 0;
}
