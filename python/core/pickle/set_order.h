/* In which order the items of a set are written: one that depends on their values alone, not on hashes. */
#ifndef ERG_CORE_PICKLE_SET_ORDER_H
#define ERG_CORE_PICKLE_SET_ORDER_H

#include "pickler.h"

struct pk_item {
    PyObject *obj; /* borrowed from the set */
    uint64_t key;
};

/* 1: items has what is in the set, in order; 0: something in it is neither an atom nor a tuple of these. Both arrays
 * have room for all of them; the second is scratch. *atoms: all are atoms, and no bytes (writing bytes may ask
 * the user). Runs no Python code and sets no exception. */
int pk_set_order(PyObject *set, struct pk_item *items, struct pk_item *spare, int *atoms);

#endif
