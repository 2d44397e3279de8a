/* What the serializer knows about a code object, found once and kept with it (co_extra): the globals it and
 * the code nested in it refer to, and its bytes. */
#ifndef ERG_CORE_PICKLE_CODE_INFO_H
#define ERG_CORE_PICKLE_CODE_INFO_H

#include "room.h"

struct pk_code_info {
    PyObject *names; /* tuple: names of globals in the order of their first use */
    PyObject *
        chains; /* tuple of tuples (global, attribute, attribute, …): loads that may name submodules */
    PyObject *cell_chains; /* the same, beginning with a free variable */
    PyObject *bytes;       /* the code object marshalled, the same bytes in every process */
};

/* Borrowed from the code object, which must be kept alive meanwhile; NULL with an exception. */
const struct pk_code_info *pk_code_info_get(struct pk_state *st, PyObject *code);

/* Where co_extra of code objects has room for us; -1 with an exception. */
Py_ssize_t pk_code_slot_new(void);

/* The code as marshal can write it, and what it was: the same object where nothing has to change. New references. */
PyObject *pk_code_without_slices(PyObject *code);
PyObject *pk_code_with_slices(PyObject *code);

#endif
