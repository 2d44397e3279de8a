/* Canonical pickles, of which only names are kept (digest.c, name_set.c).
 *
 * A pickler with PK_CANONICAL writes into a pk_hash_sink. Each immutable value it meets (a tuple, a frozenset, an
 * instance of what never changes, a long text) is a level: when it is complete, and longer than a few bytes, its bytes make
 * way for their BLAKE2b, its name. What an object that is met often contains is so written once and named from then on.
 * Whether something is named, and how, depends on its bytes alone, so nobody sees which objects are shared.
 *
 * Indexes of the memo count only what the memo finds again (mutable objects, classes, names). A level in which
 * none was given is written the same way the next time: only then is its name kept. So an object with
 * mutable ones inside is written twice, the second time with references to them.
 *
 * Frozen dataclasses that are compared by value are immutable, too. With object.__setattr__() they can be made to contain themselves: an
 * instance inside itself is written as how many such instances are around it up to that one, and what refers to something outside of
 * itself this way has no name to be kept. */
#ifndef ERG_CORE_PICKLE_DIGEST_H
#define ERG_CORE_PICKLE_DIGEST_H

#include <sodium.h>

#include "pickler.h"

enum {
    PK_NAME = 32,       /* bytes */
    PK_OP_NAME = 0xff,  /* a name follows; none of these opcodes is known to pickle */
    PK_OP_OPEN = 0xfd,  /* an instance around this: how many are between (8 bytes) */
    PK_OP_NAMES = 0xfe, /* how many names (8 bytes), and these, in order */
};

/* What pk_level_type() says. */
enum {
    PK_MUTABLE,
    PK_IMMUTABLE,
    PK_FROZEN_DATACLASS, /* immutable, but for those who know how: it may contain itself */
    PK_DTYPE,            /* of NumPy, with dicts in what it says about itself */
};

struct pk_level {
    size_t start; /* where its bytes begin in the buffer */
    size_t nopen,
        reach;     /* what was open when it began; the first open one that is referred to in it */
    uint32_t next; /* the pickler's, when it began */
    crypto_generichash_state *hash; /* of bytes that have left the buffer; NULL: all are there */
};

struct pk_hash_sink {
    struct pk_sink base;     /* first: what pk_dump() is given */
    char *room;              /* NULL: base.buf is small */
    size_t size;             /* of the name of everything */
    struct pk_level *levels; /* the first is everything */
    size_t nlevels, caplevels;
    struct pk_memo named; /* object → which of names */
    unsigned char (*names)[PK_NAME];
    size_t nnames, capnames;
    struct pk_memo types; /* type → 1: its instances never change; 0: they may */
    PyObject *
        open; /* strong or NULL: address → which of the frozen dataclass instances being written this is */
    struct pk_memo pure; /* tuple or frozenset → 1: of atoms, all the way down; 0: it is not */
    unsigned char (*items)[PK_NAME]; /* names of items, of the sets that are being written */
    size_t nitems, capitems;
    int keep; /* those names are kept in the pickler's scratch: pk_kept_name() */
    char small[1024];
};

static inline struct pk_hash_sink *pk_hash_sink_of(struct pickler *p) {
    return (struct pk_hash_sink *)p->sink;
}

/* What has been written since the last pk_level_open() becomes its name, and goes away. */
void pk_level_name(struct pickler *p, unsigned char *name);
/* The name that obj got as an item of a set, in a pickle with this scratch: borrowed; NULL, perhaps with an exception. */
PyObject *pk_kept_name(PyObject *scratch, PyObject *obj);
/* The array, moved if it has no room for one more of what `size` bytes are each; NULL: MemoryError, and it stays. */
void *pk_room_for(void *array, size_t n, size_t *cap, size_t size);

#endif
