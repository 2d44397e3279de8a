/* The pickler: an object graph → opcodes.
 *
 * It does not recurse. What is still to be done lies on a stack of frames on the heap: a list frame says which
 * list and at which item, a "write" frame holds opcodes that come after what lies above it, and so on. Saving
 * an atom emits its opcodes at once; saving a container or an object emits the beginning and pushes frames for
 * the rest, and pk_run() works them off. So nesting is bounded by memory, user code called on the way
 * (__reduce__ and the like) always runs at a small C depth, and at an error the frames tell the path.
 *
 * A pickler belongs to one pk_dump() call (or one Pickler object) at a time; the GIL is held throughout. */
#ifndef ERG_CORE_PICKLE_PICKLER_H
#define ERG_CORE_PICKLE_PICKLER_H

#include <string.h>

#include "memo.h"
#include "opcodes.h"
#include "room.h"
#include "values.h"

enum {
    PK_CANONICAL =
        1
        << 8, /* besides those of pickle.h: immutable values are written in full each time they are
                              met, so that who shares them with whom does not show (digest.c) */
};

enum pk_frame_kind {
    PK_F_LIST,  /* obj: list, i: next item; n: 1 when MARK was written */
    PK_F_TUPLE, /* obj: tuple, i: next item; prev, n: as struct pk_seq's start, next */
    PK_F_DICT, /* obj: dict, i: position, aux: a value whose key was just saved, prev: position of the pair */
    PK_F_SET, /* obj: list of the items in order, i: next item, aux: the set; prev, n: as of a tuple, if it is a frozenset */
    PK_F_SAVE,  /* obj: to be saved */
    PK_F_DONE,  /* obj: is being saved by the frames above; stays for the path only */
    PK_F_WRITE, /* text: n bytes to write */
    PK_F_MEMO, /* obj: just built; gets its index (or, if something above gave it one, is taken from there) */
    PK_F_GET,    /* obj: is in the memo */
    PK_F_HELPER, /* n: a helper to push */
    PK_F_LATER,  /* obj: a dict; becomes EMPTY_DICT and a frame for its pairs, with these flags */
    PK_F_CALL,   /* call(p, obj): anything else */
    PK_F_NAMES, /* as PK_F_SET, items in any order; prev: where the names of its items begin (name_set.c) */
};

enum {
    PK_FF_ATTRS = 1 << 0,   /* dict: its keys are attributes; in the path `.key` */
    PK_FF_GLOBALS = 1 << 1, /* dict: its keys are globals of a function */
    PK_FF_BUILD = 1 << 2,   /* dict: BUILD comes after it */
    PK_FF_ONCE = 1 << 3,    /* tuple: nobody will look for it by its address */
    PK_FF_REDUCE = 1 << 4,  /* tuple: what __reduce__ returned as arguments */
    PK_FF_QUIET = 1 << 5,   /* save: a container made for this pickle, which nobody can change */
    PK_FF_LEVEL = 1 << 6,   /* tuple: a level ends with it (digest.h) */
};

struct pickler;

struct pk_frame {
    uint8_t kind;
    uint8_t flags;
    uint8_t op; /* set: the opcode at the end */
    uint32_t n;
    PyObject *obj; /* strong or NULL */
    union {
        Py_ssize_t i;
        char text[8];
        int (*call)(struct pickler *p, PyObject *obj);
    };
    PyObject *aux; /* strong or NULL */
    union {
        Py_ssize_t prev;
        const char *label; /* save, done: what the path says, "%U" being aux; NULL: nothing */
    };
};

/* The globals of one module's functions inside one pickle. */
struct pk_globals {
    PyObject *dict;  /* strong: func.__globals__ */
    PyObject *names; /* strong: set of the names already sent */
    uint32_t index;  /* memo index of the dict that stands for it */
};

/* What a callee's bytes depend on; see callee.c. */
struct pk_witness {
    uint8_t kind;
    PyObject *owner; /* strong */
    PyObject *key;   /* strong or NULL */
    PyObject *value; /* strong or NULL: what was there */
    union {
        PyObject **address; /* inside owner */
        Py_ssize_t number;
    };
};
struct pk_watch {
    struct pk_witness *list;
    Py_ssize_t n, cap;
    PyObject
        *excused; /* strong list or NULL: dicts that are watched, or that nobody changes: meeting
                          them makes nothing unstable */
    int stable;   /* cleared when something mutable or not understood is met */
};

struct pickler {
    unsigned char *cur, *lim; /* where the next byte goes, end of the room there */
    struct pk_sink *sink;
    struct pk_state *st;
    const struct pk_hooks *hooks; /* never NULL */
    int flags;
    int proto;
    uint32_t next; /* index the next MEMOIZE gets */
    struct pk_memo memo;
    struct pk_values values;
    int keeps; /* values knows texts by objects, which are in the memo then */
    struct pk_frame *frames;
    Py_ssize_t nframes, capframes;
    struct pk_globals *globals;
    Py_ssize_t nglobals, capglobals;
    struct pk_watch *watch; /* records what a callee depends on (callee.c); NULL otherwise */
    const char *root;
    size_t start; /* sink->len at entry */
    /* Of a Pickler object; borrowed, NULL when not used. */
    PyObject *dispatch_table;
    PyObject *reducer_override;
    PyObject *persistent_id;
    PyObject *done; /* strong; NULL or the set of classes (addresses) whose content was written */
    PyObject *scratch; /* strong; NULL or a dict, shared with the nested ones: save_set.c */
    int nested; /* > 0: inside a scratch dump for ordering or content names: no class ids, no hooks */
};

/* --- dump.c --- */
int pk_pickler_init(struct pickler *p, PyObject *module);
void pk_pickler_reset(
    struct pickler *p); /* forgets what it saw; keeps its memory while that is small */
void pk_pickler_fini(struct pickler *p);
/* One stream into sink; p's memo goes on from what it holds. */
int pk_pickler_dump(struct pickler *p, PyObject *obj, struct pk_sink *sink);
/* What a pickler knows at one moment; it can go back there when what it wrote since then is lost. */
struct pk_mark {
    uint32_t next, nvalues;
    size_t noutlines;
    Py_ssize_t nglobals;
};
struct pk_mark pk_pickler_mark(const struct pickler *p);
void pk_pickler_go_back(struct pickler *p, const struct pk_mark *mark);
/* --- pickler.c --- */
/* Works off frames until only `base` are left. */
int pk_run(struct pickler *p, Py_ssize_t base);
/* Emits obj or its beginning and the frames for the rest. */
int pk_save_object(struct pickler *p, PyObject *obj);
void pk_unwind(struct pickler *p); /* drops all frames */
struct pk_frame *pk_push(struct pickler *p, enum pk_frame_kind kind, PyObject *obj);
int pk_push_save(struct pickler *p, PyObject *obj, const char *label, PyObject *aux);
int pk_push_write(struct pickler *p, const char *bytes, size_t n);
int pk_push_helper(struct pickler *p, enum pk_helper which);
int pk_push_call(struct pickler *p, int (*call)(struct pickler *p, PyObject *obj), PyObject *obj);
int pk_grow(struct pickler *p, size_t need);
int pk_get(struct pickler *p, uint32_t index);
int pk_write_old_put(struct pickler *p); /* protocols before MEMOIZE */
/* Frames for the pairs of a dict that is on the stack already. */
int pk_push_items(struct pickler *p, PyObject *dict, int flags);
/* The same for the items of a list. */
int pk_push_list(struct pickler *p, PyObject *list);
/* The same for a dict that is not there yet when its turn comes: EMPTY_DICT, pairs. */
int pk_push_later(struct pickler *p, PyObject *dict, int flags);
int pk_save_tuple(struct pickler *p, PyObject *obj, int flags);
/* pk_dump() with a recorder of what the bytes depend on, or nested in another dump. */
int pk_dump_watched(PyObject *module, PyObject *obj, struct pk_sink *sink,
                    const struct pk_hooks *hooks, int flags, const char *root,
                    struct pk_watch *watch, int nested, PyObject *scratch);
int pk_dump_protocol(PyObject *module, PyObject *obj, struct pk_sink *sink,
                     const struct pk_hooks *hooks, int flags, const char *root, int protocol);

/* --- sink.c --- */
struct pk_bytes_sink {
    struct pk_sink base;                            /* first: what pk_dump() is given */
    int (*grow)(struct pk_sink *sink, size_t need); /* what base.grow is unless somebody wraps it */
    PyObject *bytes;                                /* NULL while the stream fits below */
    char small[1024];
};
void pk_bytes_sink_init(struct pk_bytes_sink *sink);
PyObject *pk_bytes_sink_take(struct pk_bytes_sink *sink); /* new reference; NULL: exception */
void pk_bytes_sink_fini(struct pk_bytes_sink *sink);

/* --- digest.c, name_set.c: with PK_CANONICAL only --- */
/* 1: obj has a name and that is written; 0: it has none; -1 */
int pk_level_known(struct pickler *p, PyObject *obj);
/* What is written until the close is obj, in full, and may become a name. */
int pk_level_open(struct pickler *p);
int pk_level_close(struct pickler *p, PyObject *obj);
/* The same as known, open and a frame for the close, of a frozen dataclass. */
int pk_level_enter(struct pickler *p, PyObject *obj);
/* obj's state as it is written: without containers that are made anew each time it is asked for. New reference. */
PyObject *pk_level_state(struct pickler *p, PyObject *obj, PyObject *state);
/* PK_MUTABLE (0) or how instances of the type do not change (digest.h), asked once. */
int pk_level_type(struct pickler *p, PyTypeObject *type);
/* obj's digest, made apart from everything else: what sets are ordered by (save_set.c). p need not be canonical; scratch is what
 * canonical picklers share then. New reference. */
PyObject *pk_digest_nested(struct pickler *p, PyObject *obj, PyObject *scratch);
/* 1: a frame for the set's items is pushed, 0: they are not all immutable, -1 */
int pk_name_items(struct pickler *p, PyObject *set, unsigned char op);
int pk_name_next(struct pickler *p, struct pk_frame *f); /* 1: all are done */

/* --- seq.c --- */
struct pk_seq {
    size_t start;  /* where it begins in the sink */
    uint32_t next; /* the pickler's, when it began */
    enum pk_value_kind kind;
    unsigned char op;  /* that makes it of its items */
    int once;          /* nobody will look for it by its address */
    const void *items; /* the first of n PyObject *, of one every `stride` bytes */
    Py_ssize_t n;
    size_t stride;
};
/* The end of a tuple or frozenset whose items are written, in the order of items: the opcode, or, if the pickle has an equal one
 * already, that instead of all that was written since it began. */
int pk_seq_close(struct pickler *p, PyObject *obj, const struct pk_seq *seq);
/* All of a tuple of a few atoms, without a frame. 1: written, 0: it is not one, -1 */
int pk_save_few(struct pickler *p, PyObject *tuple, struct pk_seq *seq);

/* --- save_builtin.c --- */
/* From here on bytes go out of band when the task's user takes buffers. They are copied without the GIL. */
enum { PK_BUFFER_THRESHOLD = 32 * 1024 };
/* 1 and *index if an equal text is in the memo, 0, -1; str and bytes only */
int pk_text_index(struct pickler *p, PyObject *obj, uint32_t *index);
/* obj, which p->memo keeps, was given this index. */
int pk_text_learn(struct pickler *p, PyObject *obj, uint32_t index);
int pk_save_str(struct pickler *p, PyObject *obj);
int pk_save_bytes(struct pickler *p, PyObject *obj);
int pk_save_long(struct pickler *p, PyObject *obj);
int pk_save_bytearray(struct pickler *p, PyObject *obj);
int pk_save_set(struct pickler *p, PyObject *obj);
int pk_write_bytes(struct pickler *p, const char *data, size_t len);
int pk_write_str(struct pickler *p, const char *utf8, size_t len); /* without memo */
/* Protocols 2 and 3 write obj as a call of func with what content (taken over) says. */
int pk_save_old(struct pickler *p, PyObject *obj, const char *func, PyObject *content);

/* obj was just built: it takes the next index, or goes away again when it is in the memo already. */
int pk_memoize_built(struct pickler *p, PyObject *obj);

/* --- save_object.c --- */
/* Instances of the type never change (by its nature; what they contain may). */
int pk_never_changes(struct pk_state *st, PyTypeObject *type);
int pk_save_instance(struct pickler *p, PyObject *obj);
/* Instances of types with this name are written by ergon._reducers if the type is the one known there. */
int pk_wants_reducer(PyTypeObject *type);
/* Frames for the items an iterator gives; for what __reduce__ gave as arguments. */
int pk_push_listitems(struct pickler *p, PyObject *iterator, PyObject *obj);
int pk_push_dictitems(struct pickler *p, PyObject *iterator, PyObject *obj);
int pk_push_args(struct pickler *p, PyObject *args);
/* 0, or -1 with an exception when obj is among its own arguments for ever. */
int pk_check_busy(struct pickler *p, PyObject *obj);
int pk_save_reduced(struct pickler *p, PyObject *value, PyObject *obj);

/* --- save_newobj.c --- */
enum {
    PK_HOW_GENERIC = 1,
    PK_HOW_OURS,
    PK_HOW_REDUCE,
    PK_HOW_DEQUE,
    PK_HOW_ORDERED_DICT,
    PK_HOW_NEWOBJ,
    PK_HOW_PLAIN,
    PK_HOW_EMPTY,
    PK_HOW_SLOTS
};
/* Which way the instances of a type go; -1 with an exception. */
int pk_how_of(struct pk_state *st, PyTypeObject *type);
int pk_save_plain(struct pickler *p, PyObject *obj); /* PLAIN, EMPTY, SLOTS */
/* NEWOBJ; *refused: __getstate__ or __getnewargs__ raised, and nothing was written. */
int pk_save_newobj(struct pickler *p, PyObject *obj, int *refused);
/* Arguments up to here are written in full each time, if all of them are atoms. */
enum { PK_FEW_ARGS = 8 };
/* A tuple of atoms: its items and the opcode, without memo. 1: written, 0: something else is in it, -1 */
int pk_save_atoms(struct pickler *p, PyObject *args);

/* --- save_global.c --- */
int pk_save_global(struct pickler *p, PyObject *obj, PyObject *name);
/* 1: a worker finds obj under *module and *qualname (new references), 0: it does not, -1: exception */
int pk_by_reference(struct pickler *p, PyObject *obj, PyObject *name, PyObject **module,
                    PyObject **qualname);
int pk_write_global(struct pickler *p, PyObject *obj, PyObject *module, PyObject *qualname);
/* Names turn up in many places, as different objects: the interned one is written and goes into the memo. */
int pk_save_name(struct pickler *p, PyObject *name);
int pk_write_helper(struct pickler *p, enum pk_helper which);
int pk_save_module(struct pickler *p, PyObject *obj);
/* 1: the module of this name travels by reference, 0: by value, -1 */
int pk_module_by_reference(struct pk_state *st, PyObject *module, PyObject *name);

/* --- save_function.c, save_class.c, save_std.c, save_buffer.c --- */
int pk_save_function(struct pickler *p, PyObject *obj);
int pk_save_code(struct pickler *p, PyObject *obj);
int pk_save_cell(struct pickler *p, PyObject *obj);
/* A copy of a dict of attributes that does not depend on how they were set: keys in order, names as the interned
 * objects they are; new reference. */
PyObject *pk_canonical(PyObject *dict);
int pk_save_class(struct pickler *p, PyObject *obj);
/* make_class.c: new reference, or NULL with an exception */
PyObject *pk_make_class(struct pk_state *st, PyObject *meta, PyObject *name, PyObject *bases,
                        PyObject *space);
int pk_is_enum(struct pk_state *st, PyTypeObject *cls);
/* class_blob.c: 1: written as kept bytes, 0: write it in full, -1 */
int pk_save_class_blob(struct pickler *p, PyObject *cls);
PyObject *pk_rebuild_class_blob(PyObject *module, PyObject *const *args, Py_ssize_t n);
struct pk_blob *pk_blobs_new(void);
void pk_blobs_clear(struct pk_blob *blobs);
int pk_blobs_traverse(const struct pk_blob *blobs, visitproc visit, void *arg);
int pk_save_std(struct pickler *p, PyObject *obj, int *taken);
int pk_save_buffer(struct pickler *p, PyObject *obj);
int pk_offer_buffer(struct pickler *p, PyObject *pickle_buffer, int *taken);

/* --- callee.c: what the bytes depend on; nothing happens without a watch --- */
void pk_watch_entry(struct pickler *p, PyObject *dict, PyObject *key,
                    PyObject *value); /* NULL: not there */
void pk_watch_slot(struct pickler *p, PyObject *owner, PyObject **address);
void pk_watch_size(struct pickler *p, PyObject *dict);
void pk_watch_pairs(struct pickler *p,
                    PyObject *dict); /* all of them, and that there are no others */
void pk_watch_type(struct pickler *p, PyTypeObject *type);
int pk_watch_partial(struct pickler *p, PyObject *partial); /* 1: all of it is watched now, 0, -1 */

/* --- path.c --- */
/* Turns the exception that is set into what the user sees: PicklingError with the path, or a note. */
void pk_tell_path(struct pickler *p);
/* The path to what is being saved: new string or NULL. */
PyObject *pk_path(struct pickler *p);
/* Sets PicklingError "cannot pickle 'T' object: path: reason". Returns -1. */
int pk_cannot(struct pickler *p, PyObject *obj, const char *reason);

/* --- inline: the parts that run per value --- */

void pk_watch_excuse(struct pickler *p, PyObject *obj);
int pk_watch_excused(struct pickler *p, PyObject *obj);

static inline void pk_watch_mutable(struct pickler *p) {
    if (p->watch)
        p->watch->stable = 0;
}

/* A list or dict was met. */
static inline void pk_watch_container(struct pickler *p, PyObject *obj) {
    if (p->watch && p->watch->stable && !pk_watch_excused(p, obj))
        p->watch->stable = 0;
}

static inline int pk_reserve(struct pickler *p, size_t n) {
    return (size_t)(p->lim - p->cur) >= n ? 0 : pk_grow(p, n);
}

static inline int pk_put(struct pickler *p, unsigned char byte) {
    if (pk_reserve(p, 1) < 0)
        return -1;
    *p->cur++ = byte;
    return 0;
}

static inline int pk_write(struct pickler *p, const void *data, size_t n) {
    if (pk_reserve(p, n) < 0)
        return -1;
    memcpy(p->cur, data, n);
    p->cur += n;
    return 0;
}

static inline void pk_le32(unsigned char *at, uint32_t value) {
    at[0] = (unsigned char)value;
    at[1] = (unsigned char)(value >> 8);
    at[2] = (unsigned char)(value >> 16);
    at[3] = (unsigned char)(value >> 24);
}

static inline void pk_le64(unsigned char *at, uint64_t value) {
    pk_le32(at, (uint32_t)value);
    pk_le32(at + 4, (uint32_t)(value >> 32));
}

/* The opcode that gets what has this index, at `at`, where there are 5 bytes of room: its length. */
static inline size_t pk_get_form(unsigned char *at, uint32_t index) {
    if (index < 256) {
        at[0] = OP_BINGET;
        at[1] = (unsigned char)index;
        return 2;
    }
    at[0] = OP_LONG_BINGET;
    pk_le32(at + 1, index);
    return 5;
}

/* What was just built takes the next index of the memo. */
static inline int pk_write_put(struct pickler *p) {
    if (p->proto < 4)
        return pk_write_old_put(p);
    if (pk_reserve(p, 1) < 0)
        return -1;
    *p->cur++ = OP_MEMOIZE;
    p->next++;
    return 0;
}

/* The same for what is never looked for: in a canonical pickle it takes none, so that it does not matter how often
 * it is written. */
static inline int pk_write_unfound(struct pickler *p) {
    return p->flags & PK_CANONICAL ? pk_put(p, OP_MEMOIZE) : pk_write_put(p);
}

static inline int pk_memoize(struct pickler *p, PyObject *obj) {
    if (p->flags & PK_CANONICAL && !PyList_CheckExact(obj) && !PyDict_CheckExact(obj) &&
        pk_level_type(p, Py_TYPE(obj)))
        return pk_write_unfound(p);
    return pk_write_put(p) < 0 ? -1 : pk_memo_put(&p->memo, obj, p->next - 1);
}

/* 1: obj was met before and is taken from the memo; 0: it was not; -1: exception */
static inline int pk_seen(struct pickler *p, PyObject *obj) {
    uint32_t index;
    if (!pk_memo_find(&p->memo, obj, &index))
        return 0;
    return pk_get(p, index) < 0 ? -1 : 1;
}

static inline int pk_save_small(struct pickler *p, long value) {
    if (pk_reserve(p, 5) < 0)
        return -1;
    unsigned char *at = p->cur;
    if ((unsigned long)value < 256) {
        at[0] = OP_BININT1;
        at[1] = (unsigned char)value;
        p->cur = at + 2;
    } else if ((unsigned long)value < 65536) {
        at[0] = OP_BININT2;
        at[1] = (unsigned char)value;
        at[2] = (unsigned char)(value >> 8);
        p->cur = at + 3;
    } else {
        at[0] = OP_BININT;
        pk_le32(at + 1, (uint32_t)value);
        p->cur = at + 5;
    }
    return 0;
}

static inline int pk_save_int(struct pickler *p, PyObject *obj) {
    long value;
    if (core_long_small(obj, &value) && value == (int32_t)value)
        return pk_save_small(p, value);
    return pk_save_long(p, obj);
}

static inline int pk_save_float(struct pickler *p, PyObject *obj) {
    if (pk_reserve(p, 9) < 0)
        return -1;
    double value = PyFloat_AS_DOUBLE(obj);
    uint64_t bits;
    memcpy(&bits, &value, 8);
    p->cur[0] = OP_BINFLOAT;
    for (int i = 0; i < 8; i++)
        p->cur[1 + i] = (unsigned char)(bits >> (56 - 8 * i));
    p->cur += 9;
    return 0;
}

/* 1: obj was an atom and is written; 0: it is something else; -1: exception */
static inline int pk_save_atom(struct pickler *p, PyObject *obj) {
    PyTypeObject *type = Py_TYPE(obj);
    int rc;
    if (type == &PyUnicode_Type)
        rc = pk_save_str(p, obj);
    else if (type == &PyLong_Type)
        rc = pk_save_int(p, obj);
    else if (type == &PyFloat_Type)
        rc = pk_save_float(p, obj);
    else if (obj == Py_None)
        rc = pk_put(p, OP_NONE);
    else if (type == &PyBool_Type)
        rc = pk_put(p, obj == Py_True ? OP_NEWTRUE : OP_NEWFALSE);
    else if (type == &PyBytes_Type)
        rc = pk_save_bytes(p, obj);
    else
        return 0;
    return rc < 0 ? -1 : 1;
}

static inline int pk_is_atom(PyObject *obj) {
    PyTypeObject *type = Py_TYPE(obj);
    return type == &PyUnicode_Type || type == &PyLong_Type || type == &PyFloat_Type ||
           obj == Py_None || type == &PyBool_Type || type == &PyBytes_Type;
}

/* Emits obj, or its beginning and frames for the rest. 0 or -1. */
static inline int pk_save(struct pickler *p, PyObject *obj) {
    int rc = p->persistent_id ? 0 : pk_save_atom(p, obj);
    return rc ? (rc < 0 ? -1 : 0) : pk_save_object(p, obj);
}

#endif
