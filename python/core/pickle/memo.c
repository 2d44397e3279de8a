#include "memo.h"

enum { FIRST_LOG2 = 6, KEEP_LOG2 = 14 };

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
    struct pk_memo_slot *old = memo->slots;
    uint32_t old_mask = memo->mask;
    memo->slots = slots;
    memo->mask = ((uint32_t)1 << log2) - 1;
    memo->shift = 64 - log2;
    memo->grown = memo->used > 0;
    for (uint32_t i = 0; old && i <= old_mask; i++) {
        if (!old[i].key)
            continue;
        uint32_t j = pk_memo_home(memo, old[i].key);
        while (slots[j].key)
            j = (j + 1) & memo->mask;
        slots[j] = old[i];
    }
    PyMem_Free(old);
    return 0;
}

static void drop_slot(struct pk_memo_slot *slot) {
    PyObject *key = slot->key;
    slot->key = NULL;
    Py_XDECREF(key);
}

/* Dropping a reference may run any code, which may use this memo again: the table is taken out first. */
static void drop(struct pk_memo *old) {
    if (old->used <= PK_MEMO_TOUCHED && !old->grown) {
        for (uint32_t i = 0; i < old->used; i++)
            drop_slot(&old->slots[old->touched[i]]);
        return;
    }
    for (uint32_t i = 0; old->used > 0 && i <= old->mask; i++) {
        if (old->slots[i].key) {
            old->used--;
            drop_slot(&old->slots[i]);
        }
    }
}

void pk_memo_clear(struct pk_memo *memo) {
    if (!memo->slots || !memo->used)
        return;
    struct pk_memo old = *memo;
    memo->slots = NULL;
    memo->used = 0;
    drop(&old);
    if (!memo->slots && old.shift >= 64 - KEEP_LOG2) {
        memo->slots = old.slots;
        memo->mask = old.mask;
        memo->shift = old.shift;
        memo->used = 0;
        memo->grown = 0;
    } else {
        PyMem_Free(old.slots);
    }
}

int pk_memo_trim(struct pk_memo *memo, uint32_t from) {
    if (!memo->slots || !memo->used)
        return 0;
    struct pk_memo old = *memo;
    memo->slots = PyMem_Calloc((size_t)old.mask + 1, sizeof *old.slots);
    memo->used = 0;
    memo->grown = 1;
    for (uint32_t i = 0; memo->slots && i <= old.mask; i++) {
        struct pk_memo_slot *slot = &old.slots[i];
        if (!slot->key || slot->index >= from)
            continue;
        uint32_t j = pk_memo_home(memo, slot->key);
        while (memo->slots[j].key)
            j = (j + 1) & memo->mask;
        memo->slots[j] = *slot;
        memo->used++;
        slot->key = NULL;
    }
    int all = !memo->slots;
    for (uint32_t i = 0; i <= old.mask; i++)
        drop_slot(&old.slots[i]);
    PyMem_Free(old.slots);
    return all;
}

void pk_memo_fini(struct pk_memo *memo) {
    struct pk_memo old = *memo;
    memo->slots = NULL;
    memo->used = 0;
    if (old.slots)
        drop(&old);
    PyMem_Free(old.slots);
}

int pk_memo_traverse(const struct pk_memo *memo, visitproc visit, void *arg) {
    for (uint32_t i = 0; memo->slots && i <= memo->mask; i++)
        Py_VISIT(memo->slots[i].key);
    return 0;
}
