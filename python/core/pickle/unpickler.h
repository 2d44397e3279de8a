/* The unpickler: opcodes → objects.
 *
 * A loop over opcodes with a value stack, a stack of marks and a memo, all on the heap; nothing recurses.
 * Bytes are not trusted: every length is checked against what is left, every pop against the last mark, memo
 * indexes against the length of the stream, and types before anything is done to an object directly. What the
 * globals in the stream do when called is another matter: restrict_to says which are allowed.
 *
 * Belongs to one pk_load() call (or one Unpickler object) at a time; the GIL is held throughout. */
#ifndef ERG_CORE_PICKLE_UNPICKLER_H
#define ERG_CORE_PICKLE_UNPICKLER_H

#include <string.h>

#include "opcodes.h"
#include "room.h"

struct unpickler {
    const unsigned char *cur, *end;
    PyObject **stack; /* strong */
    Py_ssize_t sp, cap;
    Py_ssize_t fence;  /* values below belong to an earlier mark */
    Py_ssize_t *marks; /* fences to return to */
    Py_ssize_t nmarks, capmarks;
    PyObject **memo; /* strong; NULL: free */
    size_t capmemo, nmemo;
    const unsigned char *start;
    struct pk_state *st;
    struct pk_source *source;
    PyObject *find_class; /* of an Unpickler subclass: borrowed, or NULL */
    PyObject *encoding;   /* for strings of Python 2; NULL: ASCII */
    const char *errors;   /* how to decode them */
    int as_bytes;         /* encoding="bytes" */
    int fix_imports;      /* names of Python 2 are mapped in protocols below 3 */
    int proto;
    int base_proto; /* of streams that do not say theirs */
    /* Reads more of the stream: moves what is left to a new place and makes at least `need` bytes be there, or a
     * whole line when need is 0. 0, or -1 (with an exception, or without one at the end of the file). NULL: all
     * of the stream is there. */
    int (*refill)(struct unpickler *u, size_t need);
    size_t consumed; /* bytes before `start` that were read earlier */
    struct pk_interned
        *interned; /* names of attributes met (load_object.c); NULL until the first */
};

/* A name as the stream has it, and the interned string equal to it: both strong. */
struct pk_interned {
    PyObject *raw, *canonical;
};
enum { PK_INTERNED = 32 };

/* --- unpickler.c --- */
int pk_unpickler_init(struct unpickler *u, struct pk_state *st);
void pk_unpickler_fini(struct unpickler *u);
/* One object; the memo goes on from what it holds. */
PyObject *pk_unpickler_load(struct unpickler *u, struct pk_source *source);
int pk_unpickler_grow(struct unpickler *u);
/* Sets UnpicklingError with a text and where in the stream. Returns -1. */
int pk_bad(struct unpickler *u, const char *text);
int pk_memo_set(struct unpickler *u, size_t index, PyObject *obj);
/* Takes what lies above the last mark: its first index, or -1. */
Py_ssize_t pk_pop_mark(struct unpickler *u);
void pk_drop_to(struct unpickler *u, Py_ssize_t sp);

/* The stream this thread is loading made a weak reference that keeps its object until the end of it (ergon/_weak.py). */
int pk_weak_made(PyObject *keeper);

/* --- load_object.c --- */
int pk_load_build(struct unpickler *u);
int pk_load_newobj(struct unpickler *u);
int pk_load_newobj_ex(struct unpickler *u);
int pk_load_reduce(struct unpickler *u);
int pk_load_appends(struct unpickler *u, Py_ssize_t from);
int pk_load_setitems(struct unpickler *u, Py_ssize_t from);
int pk_load_additems(struct unpickler *u);
int pk_load_inst(struct unpickler *u);
int pk_load_obj(struct unpickler *u);

/* --- load_global.c --- */
PyObject *pk_find_class(struct unpickler *u, PyObject *module, PyObject *name);
PyObject *pk_read_class(struct unpickler *u); /* named by the next two lines */
int pk_load_global(struct unpickler *u);
int pk_load_stack_global(struct unpickler *u);
int pk_load_extension(struct unpickler *u, unsigned long code);

/* --- load_text.c: protocol 0 --- */
int pk_load_text(struct unpickler *u, unsigned char op);
/* The line at cur without its end; *len; moves behind it. NULL with an exception. */
const char *pk_read_line(struct unpickler *u, Py_ssize_t *len);
PyObject *pk_decode_py2(struct unpickler *u, const char *data, Py_ssize_t len);

/* `need` bytes lie before end: 0, or -1 with UnpicklingError. */
int pk_more(struct unpickler *u, size_t need);

/* Takes the reference. 0 or -1. */
static inline int pk_push_value(struct unpickler *u, PyObject *obj) {
    if (!obj)
        return -1;
    if (u->sp == u->cap && pk_unpickler_grow(u) < 0) {
        Py_DECREF(obj);
        return -1;
    }
    u->stack[u->sp++] = obj;
    return 0;
}

/* n values lie above the last mark: 0, or -1 with an exception. */
static inline int pk_need(struct unpickler *u, Py_ssize_t n) {
    return u->sp - u->fence >= n ? 0 : pk_bad(u, "the stack of values is empty");
}

static inline uint32_t pk_get_le32(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t pk_get_le64(const unsigned char *at) {
    return (uint64_t)pk_get_le32(at) | (uint64_t)pk_get_le32(at + 4) << 32;
}

#endif
