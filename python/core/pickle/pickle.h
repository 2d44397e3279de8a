/* core/pickle: the serializer, as the other rooms of the extension see it.
 *
 * Writes and reads standard pickle opcodes (protocol 5). Everything here needs the GIL (or, on a
 * free-threaded build, an attached thread state); no function keeps state between calls except what
 * lives in the module state. None of them hold a C lock while Python code may run.
 *
 * Two uses:
 *  - `ergon.dumps/loads/...`: whole streams with PROTO and FRAME headers (pickle_module.c);
 *  - tasks: *bare* streams, opcodes up to and including STOP without PROTO/FRAME, written straight into a
 *    sink (shared memory) and read straight from there, many after one another in one buffer.
 */
#ifndef ERG_CORE_PICKLE_H
#define ERG_CORE_PICKLE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>

/* Where a pickler writes. The caller sets buf/cap (both may be 0) and `grow`; the pickler appends at
 * buf + len. grow() must make room for at least `need` more bytes behind len, may move buf, and returns 0,
 * or -1 with a Python exception set; it must neither run Python code nor let go of the GIL. On success
 * buf[0..len) is the stream; on failure len is back at its value at entry (what was written behind it is
 * garbage). */
struct pk_sink {
    char *buf;
    size_t len;
    size_t cap;
    int (*grow)(struct pk_sink *sink, size_t need);
    void *ctx;
};

/* What a pickler may ask its user while it writes. Any member may be NULL. */
/* What a buffer that is not taken is when it is loaded. */
enum pk_in_band {
    PK_AS_IT_IS,  /* bytes if it is read-only, else a bytearray */
    PK_READ_ONLY, /* bytes, which nobody writes to */
    PK_WRITABLE,  /* a bytearray, unless it is one of bytes itself */
};

struct pk_hooks {
    void *ctx;
    /* An out-of-band candidate (a pickle.PickleBuffer). 1: taken, the stream says NEXT_BUFFER
     * (+ READONLY_BUFFER if it is read-only); 2: taken, as a copy that may be written to; 0: write it in
     * band; -1: exception set. */
    int (*buffer)(void *ctx, PyObject *pickle_buffer);
    /* An object whose exact type was registered with pk_register_ref_type() (futures, put handles, pools).
     * 1: *pid is a new reference to a small picklable object, written as a persistent id (BINPERSID);
     * 0: pickle it as any other object; -1: exception set. */
    int (*ref)(void *ctx, PyObject *obj, PyObject **pid);
    enum pk_in_band in_band;
};

enum {
    PK_BARE = 1 << 0,     /* no PROTO, no FRAME */
    PK_BYREF = 1 << 1,    /* never write a class or function by value (what stock pickle does) */
    PK_NO_LOCKS = 1 << 4, /* a lock is refused: it is to be shared, not copied */
    PK_FILES_REOPEN = 1 << 2, /* files travel as name and position instead of as content */
    PK_FILES_RESTORE =
        1 << 3, /* as name, position and content, which is written when it is loaded */
};

/* Appends obj to sink. 0, or -1 with an exception: ergon.errors.PicklingError names the path to the
 * offending object, its type and the reason; exceptions raised by user code (__reduce__ …) pass through with
 * the path added as a note. `root` is the name the path starts with ("args[0]"), NULL for "obj". */
int pk_dump(PyObject *module, PyObject *obj, struct pk_sink *sink, const struct pk_hooks *hooks,
            int flags, const char *root);

/* Where an unpickler reads. buf[pos..len) is read, pos is moved behind the STOP. The bytes must not change
 * while pk_load runs; nothing of them is referenced afterwards (out-of-band buffers come from the hooks). */
struct pk_source {
    const char *buf;
    size_t len;
    size_t pos;
    void *ctx;
    PyObject *(*next_buffer)(void *ctx); /* new reference to a bytes-like object; NULL: exception */
    PyObject *(*persistent)(void *ctx, PyObject *pid); /* new reference; NULL: exception */
    PyObject
        *restrict_to; /* NULL, or a container of "module.qualname" allowed for GLOBAL look-ups */
};

/* One object. Hostile bytes give ergon.errors.UnpicklingError, never a crash. */
PyObject *pk_load(PyObject *module, struct pk_source *source);

/* The same in a worker, for what tasks bring along: the globals of functions by value become what the worker has by now, if
 * there is a keeper (_keep_globals). small: that may take the time to compare all of them. */
PyObject *pk_load_kept(PyObject *module, struct pk_source *source, int small);

/* Ask hooks->ref about objects of exactly this type from now on. 0 or -1. */
int pk_register_ref_type(PyObject *module, PyTypeObject *type);

/* --- functions that travel once ----------------------------------------------------------------------
 * A function, or any other callable, pickled as a task's callee. The bytes may be used again for later calls
 * only while everything they were made from is still the same: the module attribute a by-reference callable
 * was found under; for one by value its code, defaults, keyword defaults, cells and the globals it (and
 * what it takes along by value) refers to, all of them immutable all the way down or themselves such
 * functions, classes unmodified since (type version), or modules. pk_callee records those witnesses. */
struct pk_callee {
    PyObject *callable; /* strong */
    PyObject *bytes;    /* bare stream as a bytes object; strong */
    int stable; /* 1: bytes stay right while pk_callee_valid(); and a worker may load once and call often,
                           because nothing mutable travels inside. 0: pickle anew for every call (or map call),
                           load anew for every task */
    uint8_t digest[16]; /* BLAKE2b-128 of bytes: how workers name it */
    void *witness;      /* private */
};
/* Fills *out; out-of-band buffers and refs as in pk_dump (a callee with such is never stable). 0 or -1. */
int pk_callee_init(PyObject *module, PyObject *callable, const struct pk_hooks *hooks,
                   struct pk_callee *out);
/* 1 if out->bytes still say what callable is, 0 if it must be made anew. Costs a few ns per witness. */
int pk_callee_valid(const struct pk_callee *callee);
void pk_callee_fini(struct pk_callee *callee);
/* For tp_traverse of whoever embeds a pk_callee. */
int pk_callee_traverse(const struct pk_callee *callee, visitproc visit, void *arg);

/* --- module glue: called from module.c --------------------------------------------------------------- */
/* Adds the types and functions of this room (dumps, loads, Pickler, Unpickler, …) to the module. 0 or -1. */
int pk_exec(PyObject *module);
/* The room's part of the module state, which module.c owns: traverse/clear/free it. */
struct pk_state;
struct pk_state *pk_state_new(PyObject *module);
int pk_state_traverse(struct pk_state *state, visitproc visit, void *arg);
void pk_state_clear(struct pk_state *state);
void pk_state_free(struct pk_state *state);

#endif
